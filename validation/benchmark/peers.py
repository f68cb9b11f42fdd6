"""The same problems by other programs, each imported where it is used; where one is missing there is no number.

Their compilation is left out, as ours is: a first call is not measured.
"""

from collections.abc import Callable, Iterator
from importlib.util import find_spec

import numpy as np

from gridflow.space.factor import Array
from validation.benchmark import problems
from validation.benchmark.measure import Point, cpu_seconds

EULER_SHARE = 0.2
"""Step of the explicit peer over h²: its limit in the plane is 0.25."""


def installed(module: str) -> bool:
    """Whether a program is there."""
    return find_spec(module) is not None


def fokker_planck_pde(name: str, cells: int) -> Iterator[Point]:
    """py-pde: central differences and explicit Euler steps (Runge–Kutta takes four stages for a step 1.4 times as long)."""
    if not installed("pde"):
        return
    import numba
    import pde

    numba.set_num_threads(1)  # from 256² on it takes all
    width = 2 * problems.SIDE / cells
    grid = pde.CartesianGrid([[-problems.SIDE, problems.SIDE]] * 2, cells)
    x, y = np.moveaxis(grid.cell_coords, -1, 0)
    equation = pde.PDE({"c": "laplace(c) + x * d_dx(c) + y * d_dy(c) + 2 * c"}, bc={"derivative": 0})
    start = pde.ScalarField(grid, problems.fokker_planck_density(x, y))
    dt = EULER_SHARE * width**2
    stepper = pde.EulerSolver(equation).make_stepper(start, dt=dt)
    stepper(start.copy(), 0, 2 * dt)
    state = start.copy()
    seconds = cpu_seconds(lambda: stepper(state, 0, problems.TIME))
    exact = problems.fokker_planck_exact(np.linspace(-problems.SIDE, problems.SIDE, cells + 1))
    yield Point(name, "py-pde", cells, seconds, float(np.abs(state.data * width**2 - exact).sum()))


def jko_step_ott(coordinates: Array, potential: Array, masses: Array, tau: float, epsilon: float) -> Callable[[], object] | None:
    """One entropic JKO step of potential + ½ entropy in the plane by the Sinkhorn iteration of ott-jax on a grid.

    ∫V dq + ½∫q log q is ½KL(q | e^{−2V}): a soft marginal of weight τ, which ott-jax takes as tau_b = τ/(τ + ε).
    """
    if not installed("ott"):
        return None
    import jax
    from ott.geometry.grid import Grid
    from ott.problems.linear.linear_problem import LinearProblem
    from ott.solvers.linear.sinkhorn import Sinkhorn

    jax.config.update("jax_enable_x64", True)
    geometry = Grid(x=[coordinates, coordinates], epsilon=epsilon)
    target = np.exp(-2 * (potential - potential.min())).ravel()
    problem = LinearProblem(geometry, masses.ravel(), target, tau_a=1.0, tau_b=tau / (tau + epsilon))
    solve = jax.jit(Sinkhorn(threshold=1e-6, max_iterations=20_000))
    return lambda: solve(problem).f.block_until_ready()


def jko_step_pot(coordinates: Array, potential: Array, masses: Array, tau: float, epsilon: float) -> Callable[[], object] | None:
    """The same by the unbalanced Sinkhorn iteration of POT on a dense kernel."""
    if not installed("ot"):
        return None
    import ot

    points = np.stack(np.meshgrid(coordinates, coordinates, indexing="ij"), axis=-1).reshape(-1, 2)
    cost = ((points[:, None] - points) ** 2).sum(axis=-1)
    target = np.exp(-2 * (potential - potential.min())).ravel()
    marginals = (float("inf"), tau)
    options = {"numItermax": 20_000, "stopThr": 1e-6}
    return lambda: ot.unbalanced.sinkhorn_unbalanced(masses.ravel(), target, cost, epsilon, marginals, **options)


def gaussian_sum_keops(points: Array, weights: Array, bandwidth: float) -> Callable[[], object] | None:
    """Sum of Gaussians at the points themselves, and its gradient, by pykeops, in one reduction."""
    from gridflow.sums.keops import KeOpsUnavailable
    from gridflow.sums.kernels import Gaussian

    def call() -> object:
        return Gaussian(bandwidth).by_keops(points, points, weights, True, "float64")

    try:
        call()
    except KeOpsUnavailable:
        return None
    return call
