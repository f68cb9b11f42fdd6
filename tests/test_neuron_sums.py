"""Sums over neurons and data at particles: every engine beside the definition, threads, and what runs say of them."""

import numpy as np
import pytest
from helpers import QUADRATIC, case_of
from reference import formulas
from reference.activation import DERIVATIVES

from gridflow.energy.network import neuron_sums
from gridflow.energy.network.activation import ACTIVATIONS, NUMBERS, Activation
from gridflow.energy.network.neuron_sums import predict, pull_back
from gridflow.errors import InputError
from gridflow.particles.integrator import RungeKutta2
from gridflow.particles.simulation import simulate
from gridflow.sums import choice, keops
from gridflow.sums.choice import Reductions, reductions
from gridflow.sums.probe import Probe
from gridflow.threads import blas_threads

N, N_DATA, DIM, OUTPUTS = 2300, 70, 3, 2
"""More neurons than a partial sum takes, and more pairs than one thread takes by itself."""


@pytest.fixture
def network(rng):
    """Directions, coefficients, residuals, columns; one neuron without direction, at the kink of every datum."""
    directions = rng.standard_normal((N, DIM))
    directions[5] = 0.0
    shapes = (N, OUTPUTS), (OUTPUTS, N_DATA), (DIM, N_DATA)
    return (directions, *(rng.standard_normal(shape) for shape in shapes))


def definition(name, directions, outer, residual, columns):
    """(f, p, g) as they are written, at some of the neurons for p and g."""
    z = directions @ columns
    value, slope = ACTIVATIONS[name].value(z), DERIVATIVES[name](z)
    return outer.T @ value, value @ residual.T, ((outer @ residual) * slope) @ columns.T


def summed(name, network, engine, threads=1, precision="float64"):
    """(f, p, g) by an engine, and what it says that it used."""
    directions, outer, residual, columns = network
    with blas_threads(threads), reductions(Reductions(engine, precision)) as use:
        f = predict(NUMBERS[name], directions, outer, columns)
        return (f, *pull_back(NUMBERS[name], directions, outer, residual, columns)), use.text


def assert_close(found, expected, tolerance):
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=0, atol=tolerance * np.abs(other).max())


@pytest.mark.parametrize("engine", ["numpy", "numba"])
@pytest.mark.parametrize("name", NUMBERS)
def test_sums_are_the_definition(name, engine, network):
    """To the round-off of sums of 2300 terms."""
    found, used = summed(name, network, engine)
    assert_close(found, definition(name, *network), 1e-13)
    assert used.startswith(engine)


def test_many_neurons_make_no_more_partial_sums(network, monkeypatch):
    """As many as PARTIAL_SUMS predictions are held at a time; with ROWS = 1 there would be one for each of 2300 neurons."""
    parts, plain = [], neuron_sums.predict_compiled
    monkeypatch.setattr(neuron_sums, "ROWS", 1)
    monkeypatch.setattr(neuron_sums, "predict_compiled", lambda *arguments: parts.append(1) or plain(*arguments))
    found, _ = summed("tanh", network, "numba")
    assert_close(found, definition("tanh", *network), 1e-13)
    assert 200 < len(parts) <= neuron_sums.PARTIAL_SUMS


@pytest.mark.parametrize("precision", ["float64", "float32"])
@pytest.mark.parametrize("name", NUMBERS)
def test_formulas_are_the_definition(name, precision, network, monkeypatch):
    """As they are written, evaluated by NumPy: what pykeops compiles takes ten seconds for each."""
    monkeypatch.setattr(keops.Reduction, "__call__", lambda self, *values: formulas.reduction(*self.recipe[:2], values))
    monkeypatch.setattr(choice, "known_probe", lambda: Probe(True, "cpu"))
    small = (network[0][:90], network[1][:90], *network[2:])
    found, used = summed(name, small, "keops", precision=precision)
    assert_close(found, definition(name, *small), {"float64": 1e-13, "float32": 1e-4}[precision])
    assert used.startswith("keops")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_keops_sums_are_the_definition(name, network):
    pytest.importorskip("pykeops")
    assert_close(summed(name, network, "keops")[0], definition(name, *network), 1e-13)


@pytest.mark.parametrize("name", ["relu", "tanh"])
def test_threads_do_not_change_a_bit(name, network):
    one, two = (summed(name, network, "numba", threads)[0] for threads in (1, 2))
    for a, b in zip(one, two, strict=True):
        np.testing.assert_array_equal(a, b)


def test_an_activation_without_a_formula_is_refused_where_keops_is_insisted_on(network, monkeypatch):
    monkeypatch.setitem(ACTIVATIONS, "tanh", Activation(np.tanh, ACTIVATIONS["tanh"].compiled))
    monkeypatch.setattr(choice, "known_probe", lambda: Probe(True, "gpu"))
    with pytest.raises(InputError, match="'tanh', which has no formula"):
        summed("tanh", network, "keops")


def test_runs_of_networks_say_what_they_used():
    case = case_of(QUADRATIC, exact=None)
    run = simulate(case, 64, times=[0.0, 0.1], integrator=RungeKutta2(0.05))
    assert run.reductions == "numba float64 1 thread"
    other = simulate(case.replace({"reductions.engine": "numpy"}), 64, times=[0.0, 0.1], integrator=RungeKutta2(0.05))
    assert other.reductions == "numpy float64"
    np.testing.assert_allclose(other.points, run.points, rtol=0, atol=1e-13)
