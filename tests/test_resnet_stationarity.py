"""S3 Theorems 3 and 4 as numbers: conditions (5) and (11) by their definitions, and modes that carry the loss."""

from pathlib import Path

import numpy as np
import pytest
from helpers import case_of

import gridflow
from gridflow.energy.network.inputs import GaussHermiteInputs, NormalInputs, UniformInputs
from gridflow.energy.resnet.spec import ResNet
from gridflow.energy.resnet.stationarity import ResNetStationarity
from gridflow.energy.resnet.teacher import ResNetTeacher, TeacherResNet
from gridflow.errors import InputError
from gridflow.space.densities import Normal, Uniform
from gridflow.space.grid import Grid
from gridflow.space.line import Interval
from gridflow.space.mixture import Component

HERE = Path()
DATA = GaussHermiteInputs(count=6, deviation=1.5)
BETWEEN = UniformInputs(count=9, bounds=(-2.0, 1.5))
PLANE = NormalInputs(count=9, covariance=[[1.0, 0.3], [0.3, 0.5]], seed=2)
MATRIX = ["t11", "t12", "t21", "t22"]


def line(name, cells, bounds=(-1.5, 1.2)):
    return Interval(bounds=bounds, cells=cells).factor(name)


AB = Grid([line("a", 8), line("b", 7)])
DEPTH = Grid([line("a", 9), line("depth", 5, (0.0, 1.0))], {"depth": (None, np.zeros(1))})
FOUR = [line(name, n) for name, n in zip(MATRIX, (5, 4, 6, 4), strict=True)]


def density(**means):
    """A normal density in every named factor, uniform in the depth."""
    return [Component({n: Uniform() if m is None else Normal(m, 0.15) for n, m in means.items()})]


def student(model, grid, data=DATA, inputs=BETWEEN, statements=("condition", "modes"), **teacher):
    """A bound network that has these statements."""
    weights = [n for n in (f.name for f in grid.factors) if n != "depth"]
    spec = ResNet(
        model, ResNetTeacher(inputs=data, **teacher), sorted(weights), "depth" if "depth" in grid.order else None,
        stationarity=ResNetStationarity(list(statements), inputs=inputs),
    )  # fmt: skip
    return spec.load(HERE).bind(grid)


ENSEMBLE = student("ensemble", AB, density=density(a=0.3, b=-0.2))
CASES = {
    "ensemble": (ENSEMBLE, AB),
    "ensemble of a network": (student("ensemble", AB, networks=[TeacherResNet([[[0.5]], [[-0.7]]])]), AB),
    "ensemble in the plane": (
        student("ensemble", Grid(FOUR), PLANE, None, density=density(t11=0.1, t12=-0.4, t21=0.3, t22=0.2)),
        Grid(FOUR),
    ),
    "linear": (student("linear", DEPTH, density=density(a=0.4, depth=None)), DEPTH),
    "linear without depth": (student("linear", Grid([line("a", 9)]), density=density(a=0.4)), Grid([line("a", 9)])),
    "linear in the plane": (
        student("linear", Grid(FOUR), PLANE, None, density=density(t11=0.1, t12=-0.4, t21=0.3, t22=0.2)),
        Grid(FOUR),
    ),
}


def random_mass(grid, rng):
    mass = rng.random(grid.shape)
    return mass / mass.sum()


def numbers(network, grid, mass):
    return network.diagnose(mass / grid.volume, network.evaluate(mass))


def on_axes(grid, mass, *names):
    """Masses with the axes in the order of the names."""
    return np.transpose(mass, [grid.order.index(name) for name in names])


@pytest.mark.parametrize("name", CASES)
def test_modes_are_orthonormal_and_carry_the_loss(name, rng):
    """∫e_i e_k dV = δ_ik, Σ(s_i c_i)² = 2E and |c_i| ≤ √(2E)/s_i for any masses: a wrong sign or constant breaks the sum."""
    network, grid = CASES[name]
    modes = network.stationarity.parts[1]
    mass = random_mass(grid, rng)
    inner = network.stationarity.weight_masses(mass)
    volume = network.stationarity.weight_masses(grid.volume)
    np.testing.assert_allclose(modes.functions.T * volume @ modes.functions, np.eye(modes.singular.size), atol=1e-8)
    loss = network.evaluate(mass).value
    assert ((modes.singular * modes.coefficients(inner)) ** 2).sum() == pytest.approx(2 * loss, rel=1e-9)
    assert 0 < numbers(network, grid, mass)["mode_ratio_max"] <= 1 + 1e-9


def test_condition_5_is_its_definition(rng):
    """∫X^2_θ(x)(ρ − ρ*)dθ by a loop over the cells, at inputs that are no data."""
    factors = {f.name: f for f in AB.factors}
    teacher = np.outer(*(Normal(mean, 0.15).masses(factors[name]) for name, mean in (("a", 0.3), ("b", -0.2))))
    mass = random_mass(AB, rng)
    left = on_axes(AB, mass, "a", "b") - teacher / teacher.sum()
    x = BETWEEN.points()[0][:, 0]
    total = np.zeros(len(x))
    for i, a in enumerate(factors["a"].points):
        for k, b in enumerate(factors["b"].points):
            state = x + np.tanh(a * x) / 2
            total += left[i, k] * (state + np.tanh(b * state) / 2)
    assert numbers(ENSEMBLE, AB, mass)["condition_defect"] == pytest.approx(np.abs(total).max(), rel=1e-12)


def test_condition_11_is_its_definition(rng):
    """∫σ(θx)(∫ρ dε − ∫ρ* dε)dθ."""
    network, grid = CASES["linear"]
    line_a = next(f for f in grid.factors if f.name == "a")
    teacher = Normal(0.4, 0.15).masses(line_a)
    mass = random_mass(grid, rng)
    left = on_axes(grid, mass, "depth", "a").sum(axis=0) - teacher / teacher.sum()
    total = left @ np.tanh(np.outer(line_a.points, BETWEEN.points()[0][:, 0]))
    assert numbers(network, grid, mass)["condition_defect"] == pytest.approx(np.abs(total).max(), rel=1e-12)


def test_without_inputs_of_its_own_the_condition_is_that_of_the_data(rng):
    network = student("ensemble", AB, inputs=None, density=density(a=0.3, b=-0.2))
    mass = random_mass(AB, rng)
    defects = network.predict(mass) - network.data.targets
    found = numbers(network, AB, mass)
    assert found["condition_defect"] == pytest.approx(np.abs(defects).max(), rel=1e-12)
    bound = np.sqrt(2 * network.evaluate(mass).value / network.data.weights)
    assert (np.abs(defects[:, 0]) <= bound).all()


@pytest.mark.parametrize("name", ["ensemble", "linear"])
def test_the_condition_holds_at_the_teacher_and_nowhere_else(name, rng):
    """Zero to round-off at ρ = ρ*; moving a share s of the mass elsewhere makes it s times a number that is not small."""
    network, grid = CASES[name]
    means = {"a": 0.3, "b": -0.2} if name == "ensemble" else {"a": 0.4, "depth": None}
    teacher = np.ones(1)
    for factor in grid.factors:
        masses = factor.volumes if means[factor.name] is None else Normal(means[factor.name], 0.15).masses(factor)
        teacher = np.multiply.outer(teacher, masses / masses.sum())
    teacher = teacher[0]
    found = numbers(network, grid, teacher)
    assert found["condition_defect"] <= 1e-14
    assert found["undetermined_defect"] <= 1e-8  # round-off 1e−16 over the smallest singular value that counts
    other = random_mass(grid, rng)
    away = numbers(network, grid, other)["condition_defect"]
    assert away > 1e-2
    mixed = numbers(network, grid, 0.9 * teacher + 0.1 * other)["condition_defect"]
    assert mixed == pytest.approx(0.1 * away, rel=1e-10)


def test_a_vanilla_teacher_is_a_point_of_its_ensemble():
    """ρ* = δ_θ* with θ* at a cell: ρ = ρ* obeys (5)."""
    first, second = AB.factors
    theta = {first.name: float(first.points[5]), second.name: float(second.points[2])}
    network = student("ensemble", AB, networks=[TeacherResNet([[[theta["a"]]], [[theta["b"]]]])])
    mass = np.zeros(AB.shape)
    mass[5, 2] = 1.0
    assert numbers(network, AB, mass)["condition_defect"] <= 1e-15
    mass[5, 2], mass[5, 3] = 0.0, 1.0
    assert numbers(network, AB, mass)["condition_defect"] > 1e-2


def test_only_the_marginal_over_the_depth_is_determined(rng):
    """S3 Theorem 4: neurons at other depths, the same θ: every number stays, also where ρ is far from ρ*."""
    network, grid = CASES["linear"]
    mass = random_mass(grid, rng)
    moved = np.flip(mass, axis=grid.order.index("depth"))
    first, second = numbers(network, grid, mass), numbers(network, grid, moved)
    assert first == pytest.approx(second, rel=1e-9)
    assert np.abs(moved - mass).sum() > 0.1


def test_the_numbers_of_the_ensemble_fall_in_its_dataset():
    """ensemble-resnet-2 on a coarse grid: the condition between the data falls with √E, and more modes are determined."""
    case = gridflow.load_case("ensemble-resnet-2").replace({"space.theta_0.cells": 32, "space.theta_1.cells": 32})
    dataset = gridflow.solve(case)
    assert float(dataset["condition_defect"][-1]) < float(dataset["condition_defect"][0]) / 2
    assert (dataset["mode_ratio_max"] <= 1 + 1e-9).all()
    assert int(dataset["determined_modes"][-1]) >= int(dataset["determined_modes"][0])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"model": "quadratic", "depth": "depth"}, "a quadratic ResNet"),
        ({"loss": "huber"}, "the squared loss"),
        ({"stationarity": ResNetStationarity(["condition"], inputs=PLANE)}, "another dimension"),
    ],
)
def test_what_the_source_does_not_cover_is_refused(changes, message):
    spec = ResNet("linear", ResNetTeacher(inputs=DATA, density=density(a=0.0)), ["a"], stationarity=ResNetStationarity(["modes"]))
    fields = {name: getattr(spec, name) for name in spec.__struct_fields__}
    with pytest.raises(InputError, match=message):
        ResNet(**(fields | changes)).load(HERE)


def test_data_without_a_teacher_and_sums_are_refused(tmp_path):
    (tmp_path / "x.csv").write_text("x,y\n1,2\n2,3\n")
    energy = {
        "kind": "resnet",
        "model": "linear",
        "weights": ["a"],
        "data": {"kind": "file", "file": "x.csv", "inputs": ["x"], "targets": ["y"]},
        "stationarity": {"statements": ["modes"]},
    }
    table = {
        "title": "linear",
        "space": {"a": {"kind": "interval", "bounds": [-1.0, 1.0], "cells": 8}},
        "energy": energy,
        "initial": [{"density": {"a": {"kind": "uniform"}}}],
        "scheme": {"kind": "finite-volume"},
        "time": {"stop": 1.0},
    }
    with pytest.raises(InputError, match="data without a teacher"):
        case_of(table).energy.load(tmp_path)
    with pytest.raises(InputError, match="stationarity in a sum"):
        case_of({**table, "energy": {"kind": "sum", "parts": [energy]}})


def test_modes_beyond_memory_are_refused(monkeypatch):
    monkeypatch.setattr("gridflow.energy.network.defects.MODES_BYTES", 1000)
    with pytest.raises(InputError, match=r"\"modes\" on 56 weight vectors × 6 data"):
        student("ensemble", AB, density=density(a=0.3, b=-0.2))
