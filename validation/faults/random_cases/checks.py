"""What must hold for every case: runs a trial, and says in words what does not."""

import re
import tempfile
import traceback
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import xarray

from gridflow import Case, InputError, simulate, solve
from gridflow.errors import SolveError
from gridflow.progress import Progress
from gridflow.scheme.balance import PATH, Balance
from gridflow.scheme.finite_volume.scheme import FiniteVolume
from validation.faults.random_cases.cases import Trial, parts_of

MASS_ERROR = 1e-12
"""DESIGN §8, of every scheme."""
PARTICLES = 8
UNKNOWN = ("dissipation", "constr_even", "constr_odd")
"""Numbers that need not be finite where a step of JKO did not converge: of the next step, and of the last one. (The Péclet
number is infinite where a drift meets a uniform density.)"""
ASYMMETRY = 1e-6
"""Of the density: round-off, which unstable flows raise by some powers of ten in a short time."""


@dataclass
class Outcome:
    """status : of the run, without its numbers; violations : sentences; statuses : of what was done beside it"""

    status: str
    violations: list[str] = field(default_factory=list)
    warnings: list[str] = field(default_factory=list)


class Watching(Progress):
    """Keeps the states of a run; presses Ctrl-C in a step if told so."""

    def __init__(self, stop: int = 0) -> None:
        self.states, self.stop = [], stop

    def update(self, state, steps, mass_error):
        self.states.append(state)
        if steps == self.stop:
            raise KeyboardInterrupt


def without_numbers(text: str) -> str:
    """The first line of a message, with its numbers and names left out."""
    first = text.splitlines()[0] if text else ""
    return re.sub(r"'[xyz]'|\b[xyz]\b", "…", re.sub(r"[-+]?\d[\d.]*(e[-+]?\d+)?", "…", first))[:110]


def outcome_of(trial: Trial) -> Outcome:
    """Solves the case and looks at what comes out. Exceptions other than InputError and SolveError are violations."""
    try:
        return looked_at(trial)
    except InputError as error:
        return Outcome(f"InputError: {without_numbers(str(error))}")
    except Exception as error:  # of any kind: that is what is looked for
        where = traceback.extract_tb(error.__traceback__)[-1]
        place = f"{Path(where.filename).name}:{where.name}"
        return Outcome("exception", [f"{type(error).__name__} in {place}: {without_numbers(str(error))}"])


def looked_at(trial: Trial) -> Outcome:
    case = Case.from_dict(trial.table)
    watching = Watching()
    dataset = solve(case, progress=watching)
    status = dataset.attrs["status"]
    found = Outcome(without_numbers(status), violations_of(case, dataset, watching))
    found.warnings = [without_numbers(line) for line in dataset.attrs.get("warnings", "").splitlines()]
    if trial.twice == "threads":
        found.violations += by_threads(trial, dataset, solve(case, threads=2))
    if trial.twice == "resume" and watching.states:
        number = 1 + round(trial.share * (len(watching.states) - 1))
        found.violations += of_resumed(trial, dataset, resumed(case, number))
    if trial.twice == "mirrored" and status == "completed":
        found.violations += not_mirrored(trial, dataset)
    if trial.twice == "particles":
        found.violations += of_particles(case)
    return found


def not_mirrored(trial: Trial, dataset: xarray.Dataset) -> list[str]:
    """Whether the density from the start the other way round is not the density the other way round."""
    (component,) = trial.table["initial"]
    turned = {"x": {"kind": "weights", "values": component["density"]["x"]["values"][::-1]}}
    other = solve(Case.from_dict(trial.table | {"initial": [{"density": turned}]}))
    if other.sizes["time"] != dataset.sizes["time"]:
        return ["mirrored: another status"]
    one, two = dataset["density"].to_numpy(), other["density"].to_numpy()[..., ::-1]
    return ["mirrored: another density"] if abs(one - two).max() > ASYMMETRY * one.max() else []


def resumed(case: Case, number: int) -> xarray.Dataset:
    """The dataset of a run that was interrupted in a step, and resumed."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.nc"
        solve(case, path, progress=Watching(number)).close()
        with solve(case, path, resume=True) as dataset:
            return dataset.load()


def differences(one: xarray.Dataset, two: xarray.Dataset, what: str) -> list[str]:
    """Variables that are not the same to the last bit."""
    if one.attrs["status"] != two.attrs["status"]:
        return [f"{what}: another status"]
    names = [str(n) for n in one.variables if not np.array_equal(one[n].to_numpy(), two[n].to_numpy(), equal_nan=numeric(one[n]))]
    return [f"{what}: {', '.join(names)} not the same to the last bit"] if names else []


def by_threads(trial: Trial, one: xarray.Dataset, two: xarray.Dataset) -> list[str]:
    """What differs by the number of threads. Products of matrices by BLAS, of networks and on surfaces, are rounded otherwise."""
    kinds = {f["kind"] for f in trial.table["space"].values()} | {part["kind"] for part in parts_of(trial.table["energy"])}
    if trial.table["scheme"]["kind"] == "finite-volume" and not kinds & {"sphere", "ellipsoid", "network", "resnet", "mmd"}:
        return differences(one, two, "two threads")
    return near(one, two, "two threads")


def of_resumed(trial: Trial, one: xarray.Dataset, two: xarray.Dataset) -> list[str]:
    """What a resumed run does not repeat to the last bit; a Poisson problem in two dimensions remembers its last solutions."""
    energy = trial.table["energy"]
    iterates = len(trial.table["space"]) > 1 and (energy["kind"] == "sobolev" or "certificates" in energy)
    return near(one, two, "resumed") if iterates else differences(one, two, "resumed")


def near(one: xarray.Dataset, two: xarray.Dataset, what: str) -> list[str]:
    """Whether densities at the same times differ by more than round-off may make them. (The last one may be of another time.)"""
    count = min(one.sizes["time"], two.sizes["time"])
    count = int(np.cumprod(one["time"].to_numpy()[:count] == two["time"].to_numpy()[:count]).sum())
    gap = abs(one["density"][:count].to_numpy() - two["density"][:count].to_numpy()).max()
    return [f"{what}: another density"] if gap > ASYMMETRY * float(one["density"].max()) else []


def numeric(variable: xarray.DataArray) -> bool:
    return variable.dtype.kind == "f"


def violations_of(case: Case, dataset: xarray.Dataset, watching: Watching) -> list[str]:
    """What is wrong with a dataset."""
    attrs, found = dataset.attrs, []
    completed = attrs["status"] in ("completed", "steady")
    for name, variable in dataset.variables.items():
        unknown = (name in UNKNOWN and not completed) or name == "peclet"
        if "time" in variable.dims and not unknown and not np.isfinite(variable.to_numpy()).all():
            found.append(f"{name} is not finite")
    if not (dataset["density"].to_numpy() >= 0).all() or float(dataset["density_min"].min()) < 0:
        found.append("a negative density")
    mass = dataset["mass"].to_numpy()
    if "mass_free" not in attrs and not abs(mass / mass[0] - 1).max() <= MASS_ERROR:
        found.append("the mass changes")
    if not abs(mass[0] - 1) <= MASS_ERROR:
        found.append("the initial mass is not 1")
    found += energy_violations(dataset) + convention_violations(dataset)
    if not re.match("completed|steady|unconverged: |failed: ", attrs["status"]):
        found.append(f"the status {attrs['status']}")
    return found + balance_violations(case, watching)


def energy_violations(dataset: xarray.Dataset) -> list[str]:
    """Of the claim that the energy does not increase."""
    attrs, energy, steps = dataset.attrs, dataset["energy"].to_numpy(), dataset["steps"].to_numpy()
    if not attrs["energy_decreases"].startswith("guaranteed"):
        return []
    work = dataset["viscous_work"].to_numpy() if "viscous_work" in dataset else np.zeros(len(energy))
    roundoff, found = attrs["energy_roundoff"], []
    if attrs["energy_rise_max"] > roundoff + work[-1]:
        found.append("the energy rises in a step, though it is claimed not to")
    if (np.diff(energy) > np.diff(steps) * roundoff + np.diff(work)).any():
        found.append("the energy rises between saves, though it is claimed not to")
    fall = energy[0] - energy[-1]
    if (dataset["dissipation"].to_numpy() < -roundoff - 1e-9 * abs(fall)).any() and not work.any():
        found.append("a negative dissipation, though the energy is claimed to fall")
    return found


def convention_violations(dataset: xarray.Dataset) -> list[str]:
    """Of the CF conventions: names, units and bounds."""
    found = [] if str(dataset.attrs.get("Conventions", "")).startswith("CF-") else ["no Conventions"]
    for name in ("density", "cell_volume", "energy", "time"):
        if not {"units", "long_name"} <= set(dataset[name].attrs):
            found.append(f"{name} without units and long_name")
    return found


def balance_violations(case: Case, watching: Watching) -> list[str]:
    """−dE/dt by the first variation along the path, and by the dissipation (`gridflow.scheme.balance`)."""
    problem = case.problem()
    stepper = case.scheme.init(problem)
    state = stepper.start(problem.start / problem.grid.volume)
    balance = Balance(stepper, problem.flow.temperature, problem.grid.volume, problem.bound.smooth)
    balance.start(state)
    for after in watching.states:
        balance.after_step(state, after)
        state = after
    balance.after_save(state)
    coarse = isinstance(case.scheme, FiniteVolume) and case.scheme.accuracy > 1 and balance.worst.says != PATH  # as asked for
    return [f"the balance of the energy: {balance.worst.says}"] if balance.worst.ratio > 1 and not coarse else []


def of_particles(case: Case) -> list[str]:
    """The same case with a few particles; what is refused, or cannot go on, is said by an error."""
    try:
        run = simulate(case, PARTICLES, seed=1)
    except (InputError, SolveError):
        return []
    found = []
    if not (np.isfinite(run.points).all() and np.isfinite(run.energy).all()):
        found.append("particles: not finite")
    if not (run.weights >= 0).all():
        found.append("particles: a negative weight")
    return found
