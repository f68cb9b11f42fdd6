"""Names of the dataset: its numbers per saved time with units, and everything that a factor may not be called."""

RECORDS: dict[str, tuple[str, str]] = {
    # name: (units, long name); one number per saved time
    "energy": ("1", "energy E, or free energy E + D*integral(rho log rho) where the temperature D is positive"),
    "dissipation": ("1", "rate of decrease of the energy by the discrete flow"),
    "mass": ("1", "integral of the density"),
    "boundary_mass": ("1", "mass in the outermost cell layer of every no-flux factor"),
    "density_min": ("1", "smallest density in all steps so far"),
    "steps": ("1", "time steps so far"),
    "time_step": ("1", "last time step"),
    "error_w1": ("1", "W1 distance to the exact solution"),
    "error_l1": ("1", "L1 distance to the exact solution"),
}
INTEGERS = {"steps"}
RESERVED = {*RECORDS, "time", "density", "cell_volume", "bounds", "records"}
RESERVED |= {"data", "output", "input", "input_component", "target", "prediction", "data_weight"}
"""Names of the dataset, which no factor may have."""
