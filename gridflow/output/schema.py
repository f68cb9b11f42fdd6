"""Names, units and long names of the variables of a dataset, and everything that a factor may not be called."""

RECORDS: dict[str, tuple[str, str]] = {
    # name: (units, long name); one number per saved time
    "energy": ("1", "energy E, or free energy E + D*integral(rho log rho) where the temperature D is positive"),
    "dissipation": ("1", "rate of decrease of the energy by the discrete flow"),
    "mass": ("1", "integral of the density"),
    "boundary_mass": ("1", "mass in the outermost cell layer of every no-flux factor that is not frozen"),
    "density_min": ("1", "smallest density in all steps so far"),
    "steps": ("1", "time steps so far"),
    "time_step": ("1", "last time step"),
    "iterations": ("1", "inner iterations so far"),
    "constr_even": ("1", "stopping quantity norm(b*Ka - q)/norm(q) of the last JKO step"),
    "constr_odd": ("1", "stopping quantity norm(a*Kb - p)/norm(q) of the last JKO step"),
    "duality_gap": ("1", "bound on the suboptimality of the last exact JKO step"),
    "step_w2": ("1", "Wasserstein distance W2 moved in the last exact JKO step"),
    "noise_level": ("1", "standard deviation beta of the injected noise"),
    "peclet": ("1", "Peclet number, root mean square of the drift over that of diffusion: 1 at rest"),
    "cell_peclet": ("1", "cell Peclet number |difference of xi|/D, root mean square over the mass"),
    "fitted_share": ("1", "share of fitted implicit steps in the steps there, the rest being transport and diffusion split"),
    "temperature": ("1", "temperature D of a flow that is annealed"),
    "gibbs_distance": ("1", "L1 distance to the Gibbs density exp(-xi/D)/Z of the density itself"),
    "free_energy_gap": ("1", "D*KL to that Gibbs density; where E is convex, at least the free energy above its minimum"),
    "viscous_work": ("1", "bound on the energy added so far by the viscosity that lets mass slide along kinks"),
    "injected_dissipation": ("1", "mean of |grad xi|^2 at positions displaced by the injected noise"),
    "error_w1": ("1", "W1 distance to the exact solution"),
    "error_l1": ("1", "L1 distance to the exact solution"),
}
INTEGERS = {"steps", "iterations"}
JKO_REPORTS = {"iterations", "constr_even", "constr_odd", "duality_gap", "step_w2"}
TEMPERATURE_REPORTS = {"gibbs_distance", "free_energy_gap", "temperature"}
REPORTS = JKO_REPORTS | {"noise_level", "injected_dissipation", "peclet", "cell_peclet", "fitted_share", "viscous_work"}
REPORTS |= TEMPERATURE_REPORTS
"""Records that only some schemes have, and flows with a temperature. Those of some energies are their `diagnostics`
(`gridflow.energy.base`)."""
VARIABLES: dict[str, tuple[str, str]] = {
    # name: (units, long name)
    "time": ("1", "mean-field time"),
    "density": ("1", "probability density with respect to the volume"),
    "cell_volume": ("1", "cell volume"),
    "input": ("1", "network inputs"),
    "target": ("1", "network targets"),
    "input_mean": ("1", "shift of the inputs: those of the data were input*input_scale + input_mean"),
    "input_scale": ("1", "scale of the inputs"),
    "target_mean": ("1", "shift of targets and predictions: those of the data were target*target_scale + target_mean"),
    "target_scale": ("1", "scale of targets and predictions"),
    "data_weight": ("1", "weights of the data, sum 1"),
    "prediction": ("1", "network predictions"),
    # of what `gridflow.output.remap` makes from them
    "lat": ("degrees_north", "latitude"),
    "lon": ("degrees_east", "longitude"),
    "cell_area": ("1", "area of the box"),
}
RESERVED = {*RECORDS, *VARIABLES, "bounds", "records", "data", "output", "input_component"}
"""Names of the dataset, which no factor may have."""


def attributes_of(name: str) -> dict[str, str]:
    """Units and long name of a variable."""
    units, long_name = VARIABLES[name]
    return {"units": units, "long_name": long_name}


def name_of_key(key: str) -> str:
    """The name in a dataset of a key of a case, of letters, digits and underscores as CF wants it: "flow_temperature"."""
    return key.replace(".", "_")
