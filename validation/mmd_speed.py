"""Milliseconds of one evaluation of an MMD.

On 512 × 512 cells of the plane (quick: 256 × 256), by FFT and, for the Gaussian, by matrix products; and the velocity of 10⁴
particles in the plane (quick: 2000) towards as many samples: the sums over the targets alone, and the whole evaluation with the
particles' own. Best of five. The claims keep the Gaussian kernel and −|x − y|; the table in the log has all kernels.

Times are measured on the machine at hand, on as many threads as it gives; they have no band.
"""

import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from gridflow.energy.interaction.convolution import operator
from gridflow.energy.mmd.particles import MMDParticles
from gridflow.energy.mmd.target import Samples
from gridflow.space.grid import Grid
from gridflow.space.line import Interval
from gridflow.sums.kernels import Gaussian, InverseMultiquadric, Laplace, Polynomial, Riesz
from validation.claim import Claim

REPEATS = 5
KERNELS = (Gaussian(1.0), Laplace(1.0), InverseMultiquadric(1.0), Riesz(1.0), Riesz(0.5), Polynomial(3))
KEPT = {Gaussian(1.0): "gaussian", Riesz(1.0): "riesz"}


def milliseconds(call: Callable[[], object]) -> float:
    call()
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def reproduce(directory: Path, quick: bool) -> list[Claim]:
    cells, particles = (256, 2_000) if quick else (512, 10_000)
    rng = np.random.default_rng(1)
    factors = tuple(Interval(bounds=(-5.0, 5.0), cells=cells).factor(n) for n in ("x", "y"))
    grid = Grid(list(factors))
    mass = rng.standard_normal(grid.shape) / grid.size
    points, sources = rng.standard_normal((2, particles, 2))
    weights, lengths = np.full(particles, 1 / particles), np.zeros(2)
    print(f"{'kernel':<30}{f'{cells}² cells':>15}{'targets alone':>18}{'whole evaluation':>18}   [ms], {particles} particles")
    claims = []
    for kernel in KERNELS:
        apply = operator(kernel, grid).apply
        energy = MMDParticles(kernel, factors, [], Samples(sources, weights))
        on_grid = milliseconds(lambda apply=apply: apply(mass))
        targets = milliseconds(lambda kernel=kernel: kernel.sum(points, sources, weights, lengths))
        whole = milliseconds(lambda energy=energy: energy.evaluate(points, weights))
        print(f"{kernel!s:<30}{on_grid:>15.1f}{targets:>18.0f}{whole:>18.0f}")
        if kernel in KEPT:
            claims += [speed_claim(KEPT[kernel], "grid", f"on {cells}² cells", on_grid)]
            claims += [speed_claim(KEPT[kernel], "particles", f"of {particles} particles and as many samples", whole)]
    return claims


def speed_claim(kernel: str, kind: str, size: str, value: float) -> Claim:
    says = "The first variation of an MMD costs a fast transform on a grid, and all pairs for particles."
    name = f"mmd-speed-{kernel}-{kind}"
    return Claim(name, "gridflow", says, f"milliseconds of one evaluation {size}, {kernel} kernel", value)
