"""Milliseconds of one evaluation of an MMD, on one thread.

    OPENBLAS_NUM_THREADS=1 python validation/mmd_speed.py

On 512 × 512 cells of the plane, by FFT and, for the Gaussian, by matrix products; and the velocity of 10⁴ particles in the plane
towards 10⁴ samples: the sums over the targets alone, and the whole evaluation with the particles' own. Best of five.
"""

import time

import numpy as np

from gridflow.energy.convolution import operator
from gridflow.energy.kernels import Gaussian, InverseMultiquadric, Laplace, Polynomial, Riesz
from gridflow.energy.mmd_particles import MMDParticles, Samples, kernel_sum
from gridflow.space.factor import Interval
from gridflow.space.grid import Grid

CELLS = 512
PARTICLES = 10_000
REPEATS = 5
KERNELS = (Gaussian(1.0), Laplace(1.0), InverseMultiquadric(1.0), Riesz(1.0), Riesz(0.5), Polynomial(3))


def milliseconds(call):
    call()
    best = np.inf
    for _ in range(REPEATS):
        start = time.perf_counter()
        call()
        best = min(best, time.perf_counter() - start)
    return 1e3 * best


def main():
    rng = np.random.default_rng(1)
    factors = tuple(Interval(bounds=(-5.0, 5.0), cells=CELLS).factor(n) for n in ("x", "y"))
    grid = Grid(list(factors))
    mass = rng.standard_normal(grid.shape) / grid.size
    points, sources = rng.standard_normal((2, PARTICLES, 2))
    weights, lengths = np.full(PARTICLES, 1 / PARTICLES), np.zeros(2)
    print(f"{'kernel':<30}{f'{CELLS}² cells':>15}{'targets alone':>18}{'whole evaluation':>18}   [ms]")
    for kernel in KERNELS:
        apply = operator(kernel, grid).apply
        particles = MMDParticles(kernel, factors, [], Samples(sources, weights))
        on_grid = milliseconds(lambda apply=apply: apply(mass))
        targets = milliseconds(lambda kernel=kernel: kernel_sum(kernel, points, sources, weights, lengths))
        whole = milliseconds(lambda particles=particles: particles.evaluate(points, weights))
        print(f"{kernel!s:<30}{on_grid:>15.1f}{targets:>18.0f}{whole:>18.0f}")


if __name__ == "__main__":
    main()
