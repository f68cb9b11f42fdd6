"""Sums over pairs on a GPU: every kernel against the definition, in both precisions, and what "auto" chooses there."""

import json
import subprocess
import sys

import numpy as np
import pytest

from gridflow.space.sphere import Sphere
from gridflow.sums import choice, probe
from gridflow.sums.choice import Reductions, reductions
from gridflow.sums.geodesic import Ball, log_sum
from gridflow.sums.keops import gpu_available
from gridflow.sums.kernels import Gaussian
from tests.reference import geodesic as reference
from tests.test_sums import CASES, PLANE, arrays, assert_close, name, summed

pytestmark = pytest.mark.gpu


def test_the_probe_finds_the_gpu():
    assert probe.probe() == probe.Probe(True, "gpu")
    assert gpu_available()


@pytest.mark.parametrize(("kernel", "lengths"), CASES, ids=name)
def test_sums_on_a_gpu_are_the_definition(kernel, lengths, rng):
    data = arrays(lengths, rng)
    found, expected = summed("keops", kernel, lengths, data), summed("numpy", kernel, lengths, data)
    assert_close(found, expected, 1e-12)
    np.testing.assert_allclose(summed("keops", kernel, lengths, data, gradient=False)[0], expected[0], rtol=1e-12)


@pytest.mark.parametrize(("kernel", "lengths"), CASES, ids=name)
def test_single_precision_on_a_gpu(kernel, lengths, rng):
    """1e−7 times some ten operations, and differences of coordinates that cancel: points that coincide are 1e−7 apart or not."""
    data = arrays(lengths, rng)
    assert_close(summed("keops", kernel, lengths, data, precision="float32"), summed("numpy", kernel, lengths, data), 2e-5)


def test_auto_takes_the_gpu_above_its_size(rng):
    count = int(choice.GPU_PAIRS**0.5) + 1
    points, weights = rng.standard_normal((count, 2)), rng.random(count) / count
    with reductions(Reductions()) as use:
        found = Gaussian(0.5).sum(points, points, weights, PLANE)
    assert use.text == "keops gpu float64"
    assert_close(found, summed("numba", Gaussian(0.5), PLANE, (points, points, weights)), 1e-12)


@pytest.mark.parametrize(("precision", "tolerance"), [("float64", 1e-11), ("float32", 2e-3)])
def test_sums_of_logarithms_on_a_gpu(precision, tolerance, rng):
    """Round-off of a field of 300, divided by nothing: its logarithms keep absolute digits."""
    mesh = Sphere(level=3).factor("b")
    field, epsilon = 300 * mesh.image[:, :1] + rng.normal(size=(mesh.size, 1)), 1.5 * float(mesh.volumes.max())
    with reductions(Reductions(engine="keops", precision=precision)) as use:
        found = log_sum(Ball.of(mesh.image), field, epsilon)
    np.testing.assert_allclose(found, reference.log_sum(mesh.image, field, epsilon), atol=tolerance)
    assert use.text == f"keops gpu {precision}"


def test_the_doctor_finds_the_gpu():
    done = subprocess.run([sys.executable, "-m", "gridflow.cli", "doctor", "--json"], capture_output=True, text=True, check=False)
    states = {finding["name"]: finding["state"] for finding in json.loads(done.stdout)}
    assert states["gpu"] == states["keops"] == "works"
    assert done.returncode == 0
