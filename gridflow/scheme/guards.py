"""What no step of any scheme may do: the checks of the time loop. A step that fails one ends the run before it.

Schemes keep to all of this by themselves; the checks are for what no scheme foresees, faults of schemes among it.
"""

from math import ceil

import numpy as np

from gridflow.errors import SolveError
from gridflow.scheme.base import State, Stepper

MASS_ERROR_MAX = 1e-12
"""Relative mass error that no step may exceed: all schemes conserve mass up to summation round-off."""
WORK = "viscous_work"
"""Key of the report of what a viscosity has added to the energy so far, as it may."""
MORE_STEPS = 2
"""Times as many steps as the last one suggests: steps become shorter too."""
OTHERWISE = "this is a fault of the scheme: use another scheme.kind"


def check_step(before: State, after: State, change: float, stepper: Stepper, cooling: float) -> float:
    """The relative mass error of a step, 0 where the mass is part of the solution; change : of the mass since the start.

    cooling : by how much the temperature fell. E + D∫ρ log ρ has to fall for one D between those of the ends of the step: that is
    so where it falls in all parts of a step at their mean D, and the entropy changes one way. With ΔF = F₁ − F₀, F of its time,
    ΔF + (D₀ − D₁)S is the change at D₁ for the entropy S of the start, and at D₀ for that of the end.

    Raises SolveError for a step that does not go on in time, or to a state that no solution has.
    """
    mass_error = change if stepper.conserves_mass else 0.0
    time = f"at time {before.time:.6g}"
    if not after.time > before.time:
        stop = 0.99999 * before.time  # of six digits that is before the time
        raise SolveError(
            f"step underflow {time}: a step of {before.dt:.1e} is below the round-off {np.spacing(before.time):.1e} of the time;"
            f" end before, with --set time.stop={stop:.6g}, or use wider cells: velocities are too large here"
        )
    if not np.isfinite(change):
        raise SolveError(f"non-finite density after a step {time}; {OTHERWISE}")
    if not after.density_min >= 0:
        raise SolveError(f"a negative density {after.density_min:.2e}, at least 0 is right, after a step {time}; {OTHERWISE}")
    if not mass_error <= MASS_ERROR_MAX:
        raise SolveError(f"relative mass error {mass_error:.2e}, above {MASS_ERROR_MAX:g}, after a step {time}; {OTHERWISE}")
    allowed = after.rise_roundoff + after.reports.get(WORK, 0.0) - before.reports.get(WORK, 0.0)
    rise = after.free_energy - before.free_energy + cooling * min(before.entropy, after.entropy)
    if stepper.energy_decreases and not rise <= allowed:
        raise SolveError(
            f"the energy rose by {rise:.2e}, above its round-off {allowed:.1e}, in a step {time}, though this scheme claims that"
            f" it falls; {OTHERWISE}, or correct value and first_variation of an energy of your own"
        )
    return mass_error


def steps_done(steps: int, last: float, time: float, stop: float) -> str:
    """The message of a run that has done all steps that it may; last : length of the last one."""
    enough = MORE_STEPS * (steps + ceil((stop - time) / last))
    return (
        f"{steps} steps done at time {time:.6g} of {stop:g}; raise time.max_steps: steps as long as the last one, {last:.1e},"
        f" need --set time.max_steps={enough}"
    )
