"""How many files a new part touches: a copy of the package gets one of each kind, through the registries, and solves cases.

A part is a module, or an entry in the module of its kind, and the lines that register it. Case, test and changelog are beside it.
"""

import json
import os
import shutil
import subprocess
import sys
from math import exp
from pathlib import Path

import pytest
from helpers import ORNSTEIN_UHLENBECK, QUADRATIC

import gridflow

MEAN = '''"""E = ½(∫x dρ − target)² on one line: the mean relaxes like e^{−t}."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gridflow.energy.base import ROUNDOFF, BoundEnergy, Energy, Evaluation, ParticleEnergy, ParticleEvaluation
from gridflow.energy.table import EnergyTable


class Mean(EnergyTable, frozen=True, forbid_unknown_fields=True, tag="mean", tag_field="kind"):
    """target : where the mean goes."""

    target: float = 0.0

    def load(self, directory: Path) -> "MeanEnergy":
        return MeanEnergy(self.target)


@dataclass(frozen=True)
class MeanEnergy(Energy):
    target: float

    def bind(self, grid):
        return BoundMean(grid.factors[0].points, self.target)

    def particles(self, factors):
        return MeanParticles(self.target)


class BoundMean(BoundEnergy):
    convex = True

    def __init__(self, x, target):
        self.x, self.target = x, target

    def evaluate(self, mass):
        gap = float(mass @ self.x) - self.target
        return Evaluation(gap**2 / 2, gap * self.x, ROUNDOFF * (1 + gap**2))


class MeanParticles(ParticleEnergy):
    def __init__(self, target):
        self.target = target

    def evaluate(self, points, weights, batch=None):
        gap = float(weights @ points[:, 0]) - self.target
        return ParticleEvaluation(gap**2 / 2, np.full(points.shape, gap), first_variation=gap * points[:, 0])
'''

DECAY = '''"""∂ρ/∂t = −rate·ρ: mass is lost."""

import numpy as np

from gridflow.flow.term import Advance, FlowTerm


class Decay(FlowTerm[float]):
    key = "decay"
    keeps_mass = False
    lowers_energy = False
    splits = True
    weighs = True

    @property
    def acts(self):
        return self.spec > 0

    def advance(self, point, time):
        return Advance(point.density * np.exp(-self.spec * time))

    def growth(self, xi, weights):
        return np.full(weights.shape, -self.spec)
'''

EULER = '''"""Explicit Euler steps of fixed length with upwind fluxes of first order."""

from typing import ClassVar

import numpy as np
from msgspec import Struct

from gridflow.scheme.base import State
from gridflow.scheme.finite_volume.transport import Transport


class Euler(Struct, frozen=True, forbid_unknown_fields=True, tag="euler", tag_field="kind"):
    tau: float

    label: ClassVar[str] = "explicit Euler"
    knows: ClassVar[frozenset[str]] = frozenset()
    step_key: ClassVar[str | None] = "scheme.tau"

    def init(self, problem):
        problem.check(self.knows, self.label, 'use scheme.kind = "finite-volume"')
        return EulerStepper(self, problem)


class EulerStepper:
    energy_decreases = False
    conserves_mass = True
    reports = ()

    def __init__(self, scheme, problem):
        self.scheme, self.problem, self.transport = scheme, problem, Transport(problem, order=1)

    def start(self, density, time=0.0, dt=np.inf):
        return self.transport.state(density, time, self.scheme.tau)

    def dissipation(self, density, evaluation, time=0.0):
        return self.transport.dissipation(density, evaluation)

    def report(self, state):
        return {}

    def warnings(self, state):
        return []

    def step(self, state, dt_max, interval=np.inf):
        dt, view = min(self.scheme.tau, dt_max), self.transport.view
        after = np.empty(view)
        self.transport.stage(after, None, state.density.reshape(view), state.evaluation.potential.reshape(view), dt)
        new = self.transport.state(after.reshape(state.density.shape), state.time + dt, self.scheme.tau)
        return State(**{**vars(new), "density_min": min(state.density_min, new.density_min)})
'''

MATERN = '''@inlined
def matern(weight: float, squared: float, rate: float) -> tuple[float, float]:
    s = rate * np.sqrt(squared)
    decay = weight * exp_decaying(-s)
    return (1.0 + s) * decay, -rate * rate * decay


@compiled
def matern_sum(points: Array, sources: Array, weights: Array, rate: float, gradient: bool) -> Sums:
    return radial_sum(matern, points, sources, weights, rate, gradient)


class Matern(PairKernel, frozen=True, forbid_unknown_fields=True, tag="matern", tag_field="kind"):
    """(1 + r/bandwidth) exp(−r/bandwidth)."""

    bandwidth: Bandwidth

    def radial(self, squared: Array) -> Array:
        s = np.sqrt(squared) / self.bandwidth
        return (1 + s) * np.exp(-s)

    @property
    def formula(self) -> Formula:
        return Formula("(IntCst(1) + p * Sqrt({s})) * Exp(-p * Sqrt({s}))", "-Square(p) * Exp(-p * Sqrt({s}))")

    @property
    def numbers(self) -> tuple[float, ...]:
        return (1 / self.bandwidth,)

    def rows(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        return matern_sum(points, sources, weights, *self.numbers, gradient)


'''

DRIFT = '''class Drift(Exact, frozen=True, forbid_unknown_fields=True, tag="drift", tag_field="kind"):
    """V = slope·x: translation."""

    needs: ClassVar[str] = "one interval, normal components, a linear potential"

    def solution_of(self, problem: Problem) -> Callable[[float], Array]:
        components, (_, slope, _) = normals(self, problem), potential_coefficients(self, problem)
        return lambda t: normal_masses(affine(components, 1.0, -slope * t), problem.grid.factors[0])


'''

TWO_SIDED = '''"""Intervals whose cells are smallest at both walls."""

from typing import ClassVar

import numpy as np
from msgspec import Struct

from gridflow.space.coordinate import face_distances
from gridflow.space.factor import Cells
from gridflow.space.line import LineFactor


class TwoSided(Struct, frozen=True, forbid_unknown_fields=True, tag="two-sided", tag_field="kind"):
    bounds: tuple[float, float]
    cells: Cells
    units: str = "1"

    resolution_key: ClassVar[str | None] = "cells"

    @property
    def size(self):
        return self.cells

    def factor(self, name):
        (lower, upper), s = self.bounds, np.linspace(-1.0, 1.0, 2 * self.cells + 1)
        places = (lower + upper) / 2 + (upper - lower) / 2 * s * (1.25 - 0.25 * s**2)
        points = places[1::2]
        edges = np.concatenate([[lower], (points[1:] + points[:-1]) / 2, [upper]])
        return LineFactor(name, "two-sided", self.units, points, np.diff(edges), edges, face_distances(points, edges, 0.0))
'''

PARTS = {
    "factor": (
        2,
        {
            "space/two_sided.py": TWO_SIDED,
            "space/specs.py": [
                ("import Sphere\n", "import Sphere\nfrom gridflow.space.two_sided import TwoSided\n"),
                ("FactorSpec = ", "FactorSpec = TwoSided | "),
            ],
        },
    ),
    "energy": (
        2,
        {
            "energy/mean.py": MEAN,
            "energy/sum.py": [
                (
                    "from gridflow.energy.mmd.mmd import MMD\n",
                    "from gridflow.energy.mean import Mean\nfrom gridflow.energy.mmd.mmd import MMD\n",
                ),
                ("EnergyPart = Network", "EnergyPart = Mean | Network"),
            ],
        },
    ),
    "flow term": (
        2,
        {
            "flow/decay.py": DECAY,
            "flow/flow.py": [
                ("from gridflow.flow.diffusion", "from gridflow.flow.decay import Decay\nfrom gridflow.flow.diffusion"),
                ("= (ReactionTerm, ", "= (Decay, ReactionTerm, "),
                ("    temperature: Annotated", "    decay: float = 0.0\n    temperature: Annotated"),
            ],
        },
    ),
    "scheme": (
        2,
        {
            "scheme/euler.py": EULER,
            "scheme/specs.py": [
                ("from gridflow.scheme.exact_jko", "from gridflow.scheme.euler import Euler\nfrom gridflow.scheme.exact_jko"),
                ("SchemeSpec = ", "SchemeSpec = Euler | "),
            ],
        },
    ),
    "kernel": (1, {"sums/kernels.py": [("Radial = ", MATERN + "Radial = Matern | ")]}),
    "activation": (
        1,
        {
            "energy/network/activation.py": [
                ("ACTIVATIONS = {\n", 'ACTIVATIONS = {\n    "sine": Activation(np.sin, lambda z: (np.sin(z), np.cos(z))),\n')
            ]
        },
    ),
    "exact solution": (1, {"exact/linear.py": [("LinearSolution = ", DRIFT + "LinearSolution = Drift | ")]}),
}
"""By kind: the files that may be touched at most, and new files as text, old ones as (text, what takes its place)."""

SCRIPT = """
import json, sys
import gridflow
from gridflow.particles.integrator import RungeKutta2

tables, found = json.load(sys.stdin), {}
for name, table in tables.items():
    case = gridflow.Case.from_dict(table)
    dataset = gridflow.solve(case)
    run = gridflow.simulate(case, 64, seed=1, sampling="sobol", integrator=RungeKutta2(0.02))
    x = dataset[next(iter(table["space"]))]
    found[name] = {
        "status": dataset.attrs["status"],
        "mass": float(dataset["mass"][-1]),
        "mean": float((dataset["density"][-1] * dataset["cell_volume"] * x).sum() / dataset["mass"][-1]),
        "mass of particles": float(run.weights_at(-1).sum()),
        "mean of particles": float(run.weights_at(-1) @ run.points[-1][:, 0] / run.weights_at(-1).sum()),
        "energy": [float(e) for e in dataset["energy"][[0, -1]]],
        "error": float(dataset["error_l1"][-1]) if "error_l1" in dataset else 0.0,
    }
print(json.dumps(found))
"""

PLAIN = {k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")}
NETWORK = {k: v for k, v in QUADRATIC.items() if k != "exact"}
CASES = {
    "factor": {**PLAIN, "space": {"x": {"kind": "two-sided", "bounds": [-4.0, 4.0], "cells": 64}}},
    "energy": {**PLAIN, "energy": {"kind": "mean", "target": 0.5}},
    "flow term": {**PLAIN, "flow": {"decay": 0.7}},
    "scheme": {**PLAIN, "scheme": {"kind": "euler", "tau": 0.01}},
    "kernel": {**PLAIN, "energy": {"kind": "mmd", "kernel": {"kind": "matern", "bandwidth": 1.0}, "target": PLAIN["initial"]}},
    "activation": {**NETWORK, "energy": {**NETWORK["energy"], "activation": "sine"}},
    "exact solution": {
        **PLAIN,
        "energy": {"kind": "potential", "terms": {"x": {"kind": "linear", "slope": 0.5}}},
        "exact": {"kind": "drift"},
    },
}
CASES["kernel"]["initial"] = [{"density": {"x": {"kind": "normal", "mean": 0.8, "deviation": 0.4}}}]


@pytest.fixture(scope="module")
def found(tmp_path_factory):
    """What the extended copy finds, by kind of part."""
    copy = tmp_path_factory.mktemp("extended")
    package = Path(gridflow.__file__).parent
    shutil.copytree(package, copy / "gridflow", ignore=shutil.ignore_patterns("__pycache__"))
    for _, files in PARTS.values():
        for name, change in files.items():
            path = copy / "gridflow" / name
            if isinstance(change, str):
                assert not path.exists(), name
                path.write_text(change, encoding="utf-8")
                continue
            text = path.read_text(encoding="utf-8")
            for old, new in change:
                assert text.count(old) == 1, f"{name} has {old!r} {text.count(old)} times"
                text = text.replace(old, new)
            path.write_text(text, encoding="utf-8")
    environment = {**os.environ, "PYTHONPATH": str(copy)}
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT], input=json.dumps(CASES), capture_output=True, text=True, env=environment, cwd=copy
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


@pytest.mark.parametrize("kind", PARTS)
def test_a_new_part_touches_few_files(kind):
    budget, files = PARTS[kind]
    assert len(files) <= budget


@pytest.mark.parametrize("kind", CASES)
def test_a_new_part_runs(kind, found):
    """On the grid and as particles, to its end."""
    assert found[kind]["status"] == "completed"
    if kind != "flow term":
        assert found[kind]["mass"] == pytest.approx(1, abs=1e-12)
        assert found[kind]["energy"][1] < found[kind]["energy"][0]


def test_the_new_energy_has_its_flow(found):
    """m(t) = c + (m(0) − c)e^{−t}, c = ½, m(0) = −0.8: the mean of a translation is exact on the grid, of order 2 in time."""
    expected = 0.5 - 1.3 * exp(-0.4)
    assert found["energy"]["mean"] == pytest.approx(expected, abs=1e-3)
    assert found["energy"]["mean of particles"] == pytest.approx(expected, abs=2e-2)  # of 64 particles at the start


def test_the_new_term_takes_its_mass(found):
    """e^{−0.7t} exactly, on the grid and in the weights of particles (order 2 in time)."""
    expected = exp(-0.7 * 0.4)
    assert found["flow term"]["mass"] == pytest.approx(expected, rel=1e-12)
    assert found["flow term"]["mass of particles"] == pytest.approx(expected, rel=1e-6)


def test_the_new_exact_solution_is_measured(found):
    """A translation of a density of deviation 0.4 by half of that, on cells of an eighth: of order (h/σ)² = 0.1 times the way."""
    assert found["exact solution"]["error"] < 0.05
