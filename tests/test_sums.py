"""The one door to sums over pairs: every kernel by every engine against the definition, and who chooses the engine."""

import threading
import tomllib
from concurrent.futures import ThreadPoolExecutor
from typing import get_args

import numpy as np
import pytest
from helpers import ORNSTEIN_UHLENBECK, case_of

import gridflow
from gridflow.case.case import load_case
from gridflow.errors import InputError
from gridflow.particles.integrator import RungeKutta2
from gridflow.sums import choice, door, keops
from gridflow.sums.choice import CURRENT, Reductions, Use, handed_on, reductions
from gridflow.sums.distance import OfDistance
from gridflow.sums.keops import KeOpsUnavailable
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Kernel, Laplace, Polynomial, Riesz
from gridflow.sums.laws import Bessel, Cosine, Exponential, Law, Logarithmic, Morse, PowerLaw
from gridflow.sums.powers import MollifiedLogarithm
from gridflow.sums.probe import Probe
from gridflow.sums.sliced import distance_sums_sliced, slice_directions, slice_errors
from gridflow.threads import blas_threads
from tests.reference import formulas
from tests.reference import pairs as reference

LINE, PLANE, SPACE = np.zeros(1), np.zeros(2), np.zeros(3)
CIRCLE, TORUS, MIXED = np.array([2.0]), np.array([1.0, 6.3]), np.array([0.0, 6.3])
EVERYWHERE = [
    Gaussian(0.7),
    Laplace(0.4),
    InverseMultiquadric(0.7),
    Riesz(1.0),
    Riesz(0.5),
    Polynomial(3),
    Polynomial(1),
    PowerLaw(attraction=4.0, repulsion=2.0),
    PowerLaw(repulsion=-0.5),
    PowerLaw(attraction=3.0, repulsion=0.5, softening=0.1),
    Logarithmic(),
    Logarithmic(softening=0.3),
    MollifiedLogarithm(0.3),
    Morse(),
    Exponential(0.8),
]
CASES = [(kernel, lengths) for kernel in EVERYWHERE for lengths in (LINE, PLANE, SPACE)]
CASES += [(Bessel(length=0.7, dimension=d), np.zeros(d)) for d in (1, 3)]
CASES += [(Gaussian(b), lengths) for b in (0.1, 0.4, 2.0) for lengths in (CIRCLE, TORUS, MIXED)]
CASES += [(Cosine(), CIRCLE), (Cosine(wavenumber=3), CIRCLE)]
FEW = [(Gaussian(0.7), PLANE), (PowerLaw(repulsion=-0.5), PLANE)]
"""What is compiled by pykeops in every run of the tests: ten seconds for each, once."""


def name(value):
    if isinstance(value, np.ndarray):
        return "×".join(f"circle {length}" if length else "line" for length in value)
    return str(value)


def arrays(lengths, rng, count=40):
    """Points and sources, five of which coincide, and weights."""
    points, sources = rng.standard_normal((count, lengths.size)), rng.standard_normal((30, lengths.size))
    sources[:5] = points[:5]
    return points, sources, rng.random(30)


def summed(engine, kernel, lengths, data, gradient=True, precision="float64"):
    with reductions(Reductions(engine=engine, precision=precision)):
        return kernel.sum(*data, lengths, gradient)


def assert_close(found, expected, tolerance):
    """Relative to the largest value, or gradient; that of a nearly constant kernel is as exact as the values."""
    scale = [np.abs(a).max() for a in expected]
    for one, two in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, two, rtol=tolerance, atol=tolerance * (scale[0] if two.ndim == 1 else max(scale)))


def test_every_kernel_is_tried():
    classes = {c for union in (Kernel, Law) for c in get_args(union)}
    assert {type(kernel) for kernel, _ in CASES} == classes | {MollifiedLogarithm}


@pytest.mark.parametrize(("kernel", "lengths"), CASES, ids=name)
def test_compiled_sums_are_the_definition(kernel, lengths, rng):
    """Round-off of 30 terms; powers have a relative error of 1e−13."""
    data = arrays(lengths, rng)
    expected = summed("numpy", kernel, lengths, data)
    assert_close(summed("numba", kernel, lengths, data), expected, 1e-12)
    np.testing.assert_allclose(summed("numba", kernel, lengths, data, gradient=False)[0], expected[0], rtol=1e-12)


@pytest.mark.parametrize(("kernel", "lengths"), CASES, ids=name)
def test_the_definition_is_one(kernel, lengths, rng):
    """The gradient by central differences of the values; the values of Gaussians and radial kernels by the reference."""
    points, sources, weights = arrays(lengths, rng)
    apart = np.linalg.norm(points[:, None] - sources, axis=2).min(axis=1) > 0.05  # kernels have kinks where points coincide
    points = points[apart]
    assert len(points) >= 5
    values, gradient = summed("numpy", kernel, lengths, (points, sources, weights))
    step = 1e-5
    for k in range(lengths.size):
        shift = step * np.eye(lengths.size)[k]
        ahead, behind = (summed("numpy", kernel, lengths, (points + s * shift, sources, weights))[0] for s in (1, -1))
        noise = 1e-5 * np.abs(gradient).max() + 1e-15 * np.abs(values).max() / step
        np.testing.assert_allclose((ahead - behind) / (2 * step), gradient[:, k], rtol=1e-5, atol=noise)
    if isinstance(kernel, Gaussian):
        np.testing.assert_allclose(values, reference.gaussian_sum(points, sources, weights, kernel.bandwidth, lengths)[0])
    elif not isinstance(kernel, Cosine | Exponential):
        np.testing.assert_allclose(values, reference.kernel_sum(kernel, points, sources, weights)[0])


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize(("kernel", "lengths"), CASES, ids=name)
def test_formulas_are_the_definition(kernel, lengths, precision, rng, monkeypatch):
    """As they are written, evaluated by NumPy: what pykeops compiles takes ten seconds for each."""
    monkeypatch.setattr(keops.Reduction, "__call__", lambda self, *values: formulas.reduction(*self.recipe[:2], values))
    monkeypatch.setattr(choice, "known_probe", lambda: Probe(True, "cpu"))
    data, tolerance = arrays(lengths, rng), {"float64": 1e-12, "float32": 2e-5}[precision]
    expected = summed("numpy", kernel, lengths, data)
    assert_close(summed("keops", kernel, lengths, data, precision=precision), expected, tolerance)
    found = summed("keops", kernel, lengths, data, gradient=False, precision=precision)
    assert_close(found[:1], expected[:1], tolerance)


@pytest.mark.parametrize(
    ("kernel", "lengths"), [*FEW, *(pytest.param(*case, marks=pytest.mark.slow) for case in CASES)], ids=name
)
@pytest.mark.parametrize("gradient", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_keops_sums_are_the_definition(kernel, lengths, gradient, rng):
    data = arrays(lengths, rng)
    found, expected = summed("keops", kernel, lengths, data, gradient), summed("numpy", kernel, lengths, data)
    assert_close(found[: 1 + gradient], expected[: 1 + gradient], 1e-12)


@pytest.mark.slow
@pytest.mark.parametrize(("kernel", "lengths"), FEW, ids=name)
def test_keops_in_single_precision(kernel, lengths, rng):
    data = arrays(lengths, rng)
    assert_close(summed("keops", kernel, lengths, data, precision="float32"), summed("numpy", kernel, lengths, data), 1e-5)


@pytest.mark.parametrize("kernel", [Gaussian(0.7), Laplace(0.4), Riesz(0.5), Polynomial(3)], ids=str)
def test_four_dimensions_and_more_sources_than_a_block(kernel, rng):
    points, sources, weights = rng.standard_normal((7, 4)), rng.standard_normal((2000, 4)), rng.random(2000)
    for dim in (4, 2):
        data = points[:, :dim], sources[:, :dim], weights
        assert_close(summed("numba", kernel, np.zeros(dim), data), summed("numpy", kernel, np.zeros(dim), data), 1e-12)


@pytest.mark.parametrize(("kernel", "lengths"), [(Gaussian(0.3), SPACE), (Riesz(0.5), PLANE), (Gaussian(0.4), TORUS)], ids=name)
def test_threads_do_not_change_a_bit(kernel, lengths, rng):
    points, sources = rng.standard_normal((501, lengths.size)), rng.standard_normal((400, lengths.size))
    found = []
    for threads in (1, 2, 3):
        with blas_threads(threads), reductions(Reductions(engine="numba")) as use:
            found.append(kernel.sum(points, sources, np.ones(400), lengths))
        assert use.text == f"numba float64 {threads} thread{'s' if threads > 1 else ''}"
    for other in found[1:]:
        np.testing.assert_array_equal(other[0], found[0][0])
        np.testing.assert_array_equal(other[1], found[0][1])


def test_sums_of_nothing_are_zero():
    empty, some = np.zeros((0, 2)), np.ones((3, 2))
    for engine in ("numpy", "numba"):
        assert summed(engine, Gaussian(1.0), PLANE, (empty, some, np.ones(3)))[1].shape == (0, 2)
        np.testing.assert_array_equal(summed(engine, Gaussian(1.0), PLANE, (some, empty, np.ones(0)))[0], 0.0)


def test_arrays_that_do_not_fit_are_refused():
    with pytest.raises(InputError, match=r"weights \(4,\)"):
        Gaussian(1.0).sum(np.ones((3, 2)), np.ones((5, 2)), np.ones(4), PLANE)


# ------------------------------------------------------------------------------------------------------------ the choice
DISCREPANCY = {
    **{k: v for k, v in ORNSTEIN_UHLENBECK.items() if k not in ("exact", "flow")},
    "space": {n: {"kind": "interval", "bounds": [-3.0, 3.0], "cells": 16} for n in ("x", "y")},
    "time": {"stop": 0.1, "save": 2},
    "particles": {"counts": [8, 16, 64], "integrator": {"kind": "rk2", "step": 0.05}},
}
NORMAL = {"density": {n: {"kind": "normal", "mean": 0.5, "deviation": 0.5} for n in ("x", "y")}}
DISCREPANCY |= {
    "initial": [{"density": {n: {"kind": "normal", "mean": -0.5, "deviation": 0.4} for n in ("x", "y")}}],
    "energy": {"kind": "mmd", "kernel": {"kind": "laplace", "bandwidth": 1.0}, "target": [NORMAL]},
}


def discrepancy(**changes):
    return case_of(DISCREPANCY).replace({f"reductions.{k}": v for k, v in changes.items()})


@pytest.fixture(autouse=True)
def no_choice_in_the_environment(monkeypatch):
    monkeypatch.delenv(choice.VARIABLE, raising=False)
    choice.warn_once.cache_clear()


def test_the_defaults_are_visible_and_mistakes_are_errors():
    case = discrepancy()
    assert tomllib.loads(case.text())["reductions"] == {"engine": "auto", "precision": "float64"}
    for changes, match in [
        ({"engine": "abacus"}, "auto, keops, numba, numpy"),
        ({"precision": "float16"}, "float32, float64"),
        ({"engin": "numba"}, "did you mean 'engine'"),
        ({"engine": "numba", "precision": "float32"}, "computes in float64"),
    ]:
        with pytest.raises(InputError, match=match):
            discrepancy(**changes)


def test_runs_say_what_they_used_and_runs_without_sums_say_nothing():
    run = RungeKutta2(0.05)
    for engine in ("numba", "numpy"):
        found = gridflow.simulate(discrepancy(engine=engine), 16, integrator=run)
        assert found.reductions == ("numba float64 1 thread" if engine == "numba" else "numpy float64")
        assert "reductions" not in gridflow.solve(discrepancy(engine=engine)).attrs  # on a grid by FFT
    both = gridflow.simulate(discrepancy(), 16, integrator=run, threads=2)
    assert both.reductions == "numba float64 2 threads"
    graded = {"space.x.grading": {"focus": 0.0, "ratio": 2.0}}
    assert gridflow.solve(discrepancy().replace(graded)).attrs["reductions"] == "numba float64 1 thread"


def test_engines_agree_on_a_run():
    one, two = (gridflow.simulate(discrepancy(engine=e), 32, integrator=RungeKutta2(0.05)).points for e in ("numba", "numpy"))
    np.testing.assert_allclose(one, two, rtol=1e-11, atol=1e-11)
    assert np.abs(one[-1] - one[0]).max() > 1e-3


def test_a_choice_ends_with_its_block_however_that_ends():
    before = CURRENT.get()

    def fail_within():
        with reductions(Reductions(engine="numpy")):
            with reductions(Reductions(engine="numba")):
                assert choice.chosen_engine() == "numba"
            assert choice.chosen_engine() == "numpy"
            raise RuntimeError("on purpose")

    with pytest.raises(RuntimeError, match="on purpose"):
        fail_within()
    assert CURRENT.get() is before
    assert choice.chosen_engine() == "auto"


def test_threads_have_choices_of_their_own_and_hand_them_on():
    meeting, seen = threading.Barrier(2), {}

    def work(engine):
        with reductions(Reductions(engine=engine)):
            meeting.wait(10)
            with ThreadPoolExecutor(1, **handed_on()) as pool:
                seen[engine] = (choice.chosen_engine(), pool.submit(choice.chosen_engine).result())
            meeting.wait(10)

    threads = [threading.Thread(target=work, args=[e]) for e in ("numpy", "numba")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert seen == {"numpy": ("numpy", "numpy"), "numba": ("numba", "numba")}
    assert choice.chosen_engine() == "auto"


def test_what_a_part_of_a_run_used_is_said_by_the_whole():
    outer = Use(Reductions())
    inner = Use(Reductions(), outer)
    inner.record("numba float64 1 thread")
    outer.record("numpy float64")
    assert inner.text == "numba float64 1 thread"
    assert outer.attributes == {"reductions": "numba float64 1 thread; numpy float64"}
    assert Use(Reductions()).attributes == {}


def test_the_environment_chooses_where_the_case_does_not(monkeypatch):
    monkeypatch.setenv(choice.VARIABLE, "numpy")
    assert choice.engine(10**9) == "numpy"
    with reductions(Reductions(engine="numba")):
        assert choice.engine(10**9) == "numba"
    monkeypatch.setenv(choice.VARIABLE, "abacus")
    with pytest.raises(InputError, match="numpy or numba or keops"):
        choice.engine(1)


@pytest.fixture
def machine(monkeypatch):
    """A machine whose driver and probe are as the test says."""

    def of(driver, probe):
        monkeypatch.setattr(choice, "cuda_library", lambda: driver)
        monkeypatch.setattr(choice, "known_probe", lambda: probe)

    return of


def test_auto_takes_a_gpu_for_many_pairs(machine):
    machine(None, Probe(False))
    assert choice.engine(choice.GPU_PAIRS) == "numba"
    machine("libcuda.so.1", Probe(True, "gpu"))
    assert choice.engine(choice.GPU_PAIRS) == "keops"
    assert choice.engine(choice.GPU_PAIRS - 1) == "numba"
    machine("libcuda.so.1", Probe(True, "cpu"))
    assert choice.engine(choice.GPU_PAIRS) == "numba"


def test_a_probe_that_fails_is_said_once_under_auto_and_refused_where_keops_is_insisted_on(machine):
    machine("libcuda.so.1", Probe(False, reason="the probe crashed with signal SIGSEGV"))
    with pytest.warns(RuntimeWarning, match="SIGSEGV.*on the CPU instead"):
        assert choice.engine(choice.GPU_PAIRS) == "numba"
    assert choice.engine(choice.GPU_PAIRS) == "numba"  # a second warning would be an error here
    with pytest.raises(InputError, match="gridflow doctor"):
        summed("keops", Gaussian(1.0), PLANE, arrays(PLANE, np.random.default_rng(0)))


def test_a_formula_that_fails_later_is_treated_likewise(machine, monkeypatch, rng):
    machine("libcuda.so.1", Probe(True, "gpu"))
    monkeypatch.setattr(choice, "GPU_PAIRS", 1)

    def broken(self, *_):
        raise KeOpsUnavailable("no compiler")

    monkeypatch.setattr(Gaussian, "by_keops", broken)
    data = arrays(PLANE, rng)
    with pytest.warns(RuntimeWarning, match="no compiler"):
        found = summed("auto", Gaussian(1.0), PLANE, data)
    np.testing.assert_array_equal(found[0], summed("numba", Gaussian(1.0), PLANE, data)[0])
    with pytest.raises(InputError, match="no compiler"):
        summed("keops", Gaussian(1.0), PLANE, data)


def test_kernels_without_a_formula_are_summed_by_numpy_or_not_at_all(rng):
    own = OfDistance(lambda r: np.cos(r), lambda r: -np.sin(r))
    for kernel in (own, Bessel(length=1.0)):
        with reductions(Reductions()) as use:
            kernel.sum(*arrays(PLANE, rng), PLANE)
        assert use.text == "numpy float64"
        with pytest.raises(InputError, match="numpy, which alone has it"):
            summed("keops", kernel, PLANE, arrays(PLANE, rng))


# ------------------------------------------------------------------------------------------------------------ by sorting
@pytest.mark.parametrize("kernel", [Laplace(0.4), Laplace(1e-3), Laplace(50.0), Riesz(1.0)], ids=str)
def test_sums_by_sorting_are_sums_over_pairs(kernel, rng):
    points, sources, weights = rng.standard_normal((60, 1)), rng.standard_normal((50, 1)), rng.standard_normal(50)
    sources[10:20] = sources[:10]  # sources that coincide, and points that coincide with them
    points[:15] = sources[5:20]
    for places in (points, points[:1], points + 100.0, points - 100.0):
        with reductions(Reductions()) as use:
            found = kernel.sum(places, sources, weights, LINE)
        assert use.text == "float64 without pairs"
        expected = summed("numpy", kernel, LINE, (places, sources, weights))
        scale = np.abs(weights).sum() * (1 + 100 * isinstance(kernel, Riesz))
        np.testing.assert_allclose(found[0], expected[0], rtol=1e-12, atol=1e-14 * scale)
        np.testing.assert_allclose(found[1], expected[1], rtol=1e-12, atol=1e-14 * scale / getattr(kernel, "bandwidth", 1.0))


@pytest.mark.parametrize("lengths", [LINE, CIRCLE], ids=name)
@pytest.mark.parametrize("bandwidth", [0.05, 0.4, 3.0])
def test_sums_through_waves_are_sums_over_pairs(lengths, bandwidth, rng):
    """To round-off of the sum of all weights, gradients to that over the bandwidth; where waves are many, pairs are summed."""
    points, sources, weights = 7 + rng.standard_normal((900, 1)), 7 + rng.standard_normal((1100, 1)), rng.standard_normal(1100)
    with reductions(Reductions()) as use:
        found = Gaussian(bandwidth).sum(points, sources, weights, lengths)
    assert use.text == ("float64 without pairs" if bandwidth > 0.1 or lengths.any() else "numba float64 1 thread")
    expected = summed("numpy", Gaussian(bandwidth), lengths, (points, sources, weights))
    total = np.abs(weights).sum()
    np.testing.assert_allclose(found[0], expected[0], atol=2e-15 * total)
    np.testing.assert_allclose(found[1], expected[1], atol=5e-15 * total / bandwidth)


@pytest.mark.parametrize("law", [{"kind": "power", "exponent": 1.5}, {"kind": "entropy"}], ids=["power", "entropy"])
@pytest.mark.parametrize("light", [1 / 3000, 1e-12, 1e-18, 0.0])
def test_particles_of_an_internal_energy_have_densities_with_all_digits(law, light, rng):
    """A particle far from all others, among so many that waves would be faster."""
    energy = load_case("porous-medium").replace({"exact": None, "energy.law": law}).problem().particles
    points, weights = 0.1 * rng.standard_normal((3000, 1)), np.full(3000, 1 / 3000)
    points[0], weights[0] = 3.0, light
    found = energy.evaluate(points, weights)
    with reductions(Reductions(engine="numpy")):
        expected = energy.evaluate(points, weights)
    assert np.isfinite(found.gradient).all()
    assert found.value == pytest.approx(expected.value, rel=1e-12)
    scale = np.abs(expected.gradient).max()
    np.testing.assert_allclose(found.gradient, expected.gradient, rtol=1e-9, atol=1e-12 * scale)
    heavy = weights > 0  # at the others densities are below the smallest numbers
    np.testing.assert_allclose(found.first_variation[heavy], expected.first_variation[heavy], rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("kernel", [Riesz(1.0), PowerLaw(attraction=2.0)], ids=["distance", "square"])
def test_moments_are_about_the_sources_that_weigh_something(kernel, rng):
    """Weights of both signs that nearly cancel; and most sources far away, without weight."""
    sources = rng.standard_normal((400, 1))
    signed = rng.standard_normal(400)
    signed -= signed.mean() - 1e-9
    light = np.where(np.arange(400) < 50, 1.0, 0.0)
    far = sources + 1e7 * (light == 0)[:, None]
    for places, weights in ((sources, signed), (far, light)):
        points = sources[:60]
        found = kernel.sum(points, places, weights, LINE)
        expected = summed("numpy", kernel, LINE, (points, places, weights))
        scale = np.abs(weights).sum()
        np.testing.assert_allclose(found[0], expected[0], atol=1e-13 * scale)
        np.testing.assert_allclose(found[1], expected[1], atol=1e-13 * scale)


def test_a_distant_sum_of_exponentials_has_all_its_digits(rng):
    """Far from all sources nothing is left but a sum whose digits all count: nothing was subtracted."""
    sources, weights = rng.random((400, 1)), rng.random(400)
    places = np.array([[-30.0], [31.0]])
    found = summed("auto", Laplace(0.1), LINE, (places, sources, weights))
    assert_close(found, summed("numpy", Laplace(0.1), LINE, (places, sources, weights)), 1e-12)
    assert 0 < found[0].max() < 1e-100
    assert door.pair_sum(Laplace(0.1), places, sources, weights)[0] == pytest.approx(found[0], rel=1e-15)


# --------------------------------------------------------------------------------------------------------------- slices
def slice_gaps(points, sources, weights, count, seeds):
    """s_P − s and |g_P − g| of random directions, (n_seeds, n_points) each."""
    dim = points.shape[1]
    expected = summed("numpy", Riesz(1.0), np.zeros(dim), (points, sources, weights))
    found = [distance_sums_sliced(points, sources, weights, slice_directions(dim, count, seed)) for seed in range(seeds)]
    return np.stack([s - expected[0] for s, _ in found]), np.stack([np.linalg.norm(g - expected[1], axis=1) for _, g in found])


@pytest.mark.parametrize("dim", [3, 5])
def test_slices_of_one_pair_err_as_stated(dim, rng):
    """Their mean square over 2000 draws, known to some 4 %: random directions are unbiased and have the stated variance."""
    point, source = rng.standard_normal((2, 1, dim))
    values, slopes = slice_gaps(point, source, np.ones(1), 7, 2000)
    distance, stated = float(np.linalg.norm(point - source)), slice_errors(dim, 7)
    assert np.sqrt((values**2).mean()) / distance == pytest.approx(stated[0], rel=0.1)
    assert np.sqrt((slopes**2).mean()) == pytest.approx(stated[1], rel=0.1)
    assert abs(values.mean()) / distance <= 4 * stated[0] / np.sqrt(2000)


def test_slices_of_a_cloud_err_less_than_stated(rng):
    points, sources, weights = rng.standard_normal((20, 3)), rng.standard_normal((50, 3)), rng.standard_normal(50)
    values, slopes = slice_gaps(points, sources, weights, 16, 200)
    reach = np.linalg.norm(points[:, None] - sources, axis=2) @ np.abs(weights)
    stated = slice_errors(3, 16)
    assert (np.sqrt((values**2).mean(axis=0)) <= 1.1 * stated[0] * reach).all()  # of 200 draws
    assert (np.sqrt((slopes**2).mean(axis=0)) <= 1.1 * stated[1] * np.abs(weights).sum()).all()


def test_slices_of_the_plane_are_spaced_and_err_by_their_angle(rng):
    count, angle = 64, np.pi / 128
    places = np.stack([np.cos(np.linspace(0, 7, 500)), np.sin(np.linspace(0, 7, 500))], axis=1)
    for seed in range(3):
        value, gradient = distance_sums_sliced(places, np.zeros((1, 2)), np.ones(1), slice_directions(2, count, seed))
        assert 0.1 * angle**2 <= np.abs(value + 1).max() <= 0.5 * angle**2
        assert np.linalg.norm(gradient + places, axis=1).max() <= 1.01 * angle


def test_the_gradient_of_slices_is_that_of_their_sum(rng):
    points, sources, weights = rng.standard_normal((5, 3)), rng.standard_normal((9, 3)), rng.random(9)
    directions, step = slice_directions(3, 12, 0), 1e-7
    gradient = distance_sums_sliced(points, sources, weights, directions)[1]
    for k in range(3):
        shift = step * np.eye(3)[k]
        ends = [distance_sums_sliced(points + s * shift, sources, weights, directions)[0] for s in (1, -1)]
        np.testing.assert_allclose((ends[0] - ends[1]) / (2 * step), gradient[:, k], atol=1e-6)


def test_slices_have_the_same_bits_on_any_number_of_threads(rng):
    kernel, data = Riesz(slices=21), (rng.standard_normal((30, 3)), rng.standard_normal((30, 3)), np.ones(30))
    found = []
    for threads in (1, 3):
        with blas_threads(threads), reductions(Reductions()) as use:
            found.append(kernel.sum(*data, SPACE))
        assert use.text == "float64 without pairs"
    np.testing.assert_array_equal(found[0][1], found[1][1])
    np.testing.assert_array_equal(found[0][0], found[1][0])


def test_particles_of_a_sliced_energy_are_near_those_of_all_pairs():
    """64 slices of the plane err by a share (π/128)²/2 of E, and by π/128 of a velocity."""
    exact = discrepancy().replace({"energy.kernel": {"kind": "riesz"}})
    sliced = exact.replace({"energy.kernel": {"kind": "riesz", "slices": 64}})
    one, two = (gridflow.simulate(c, 64, integrator=RungeKutta2(0.05), times=[0.0, 0.5]) for c in (exact, sliced))
    assert np.abs(one.points[-1] - one.points[0]).max() > 0.1
    assert np.abs(one.points - two.points).max() <= 0.5 * np.pi / 128
    assert two.reductions == "float64 without pairs"
    with pytest.raises(InputError, match="slices are for exponent = 1"):
        exact.replace({"energy.kernel": {"kind": "riesz", "exponent": 0.5, "slices": 8}})
