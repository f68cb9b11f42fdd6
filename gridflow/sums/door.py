"""The one door to sums over pairs: Σ_j w_j k(x_i, y_j) and its gradient in x_i, by the engine that the run has chosen.

    numpy   `by_numpy`     the definition, block by block
    numba   `by_structure`   where the kernel has a sum in O(n log n), else
            `by_numba`     compiled, rows shared out among threads, with the same bits for any number of them
    keops   `by_keops`     pykeops, on a GPU where there is one

What was used is recorded for the dataset (`gridflow.sums.choice`). Sums of logarithms on surfaces have the same engines
(`gridflow.sums.geodesic`).
"""

from collections.abc import Callable
from typing import Protocol, TypeVar

import numpy as np

from gridflow.errors import require
from gridflow.memory import FORCED, Comparison
from gridflow.space.factor import Array
from gridflow.sums import choice
from gridflow.sums.keops import KeOpsUnavailable, device
from gridflow.sums.pairs import Sums, contiguous

Result = TypeVar("Result")
PAIRS_MAX = 10**12
"""Of one sum without a GPU, a quarter of an hour; a step of a run has several."""


class PairSum(Protocol):
    """k(x, y) as the engines sum it. points : (n_points, n_dim); sources : (n_sources, n_dim); weights : (n_sources,).

    All return (s, g): (n_points,), (n_points, n_dim).
    """

    def by_numpy(self, points: Array, sources: Array, weights: Array) -> Sums:
        """The definition."""

    def by_numba(self, points: Array, sources: Array, weights: Array, gradient: bool) -> Sums:
        """Compiled. Without `gradient` g may be anything."""

    def by_keops(self, points: Array, sources: Array, weights: Array, gradient: bool, precision: choice.Precision) -> Sums:
        """By pykeops. Raises KeOpsUnavailable."""

    def by_structure(self, points: Array, sources: Array, weights: Array) -> Sums | None:
        """Without all pairs, or None where there is no such sum or it is slower."""


def pair_sum(
    kernel: PairSum, points: Array, sources: Array, weights: Array, gradient: bool = True, relative: bool = False
) -> Sums:
    """(s, g), of scattered points. Raises InputError for an engine that was insisted on and does not work.

    relative : over all pairs, with an error relative to each sum where no terms cancel; sums without pairs may err by round-off
        of Σ|w| at every point alike
    """
    check_shapes(points, sources, weights)
    points, sources, weights = contiguous(points, sources, weights)
    if len(points) == 0 or len(sources) == 0:
        return np.zeros(len(points)), np.zeros(points.shape)
    if not relative and choice.chosen_engine() in ("auto", "numba"):
        found = kernel.by_structure(points, sources, weights)
        if found is not None:
            choice.record("float64 without pairs")
            return found
    return by_engine(
        len(points) * len(sources),
        keops=lambda precision: kernel.by_keops(points, sources, weights, gradient, precision),
        numpy=lambda: kernel.by_numpy(points, sources, weights),
        numba=lambda: kernel.by_numba(points, sources, weights, gradient),
    )


def by_engine(
    pairs: int, keops: Callable[[choice.Precision], Result], numpy: Callable[[], Result], numba: Callable[[], Result]
) -> Result:
    """What the engine for so many pairs returns, which is recorded; numba takes the place of a keops that does not work.

    Raises InputError for an engine that was insisted on and does not work.
    """
    engine = choice.engine(pairs)
    if engine == "keops":
        precision = choice.precision()
        try:
            found = keops(precision)
        except KeOpsUnavailable as error:
            choice.fall_back(error)
        else:
            choice.record(f"keops {device()} {precision}")
            return found
    received, fix = f"a sum over {pairs:.1e} pairs by {engine}", "use fewer particles, samples or cells, or a GPU" + FORCED
    require(pairs <= PAIRS_MAX or Comparison.lifted, received, f"at most {PAIRS_MAX:.0e}: some 1e9 take a second", fix)
    if engine == "numpy":
        choice.record("numpy float64")
        return numpy()
    choice.record(f"numba float64 {choice.threads_text()}")
    return numba()


def numpy_alone(kernel: str) -> None:
    """To be called where NumPy alone computes a sum. Raises InputError where another engine was insisted on."""
    chosen = choice.chosen_engine()
    received, fix = f"reductions.engine = {chosen!r} for {kernel}", "choose engine = 'auto'"
    require(chosen in ("auto", "numpy"), received, "numpy, which alone has it", fix)
    choice.record("numpy float64")


def check_shapes(points: Array, sources: Array, weights: Array) -> None:
    """Raises InputError for arrays that do not fit: compiled loops read beyond them."""
    fit = points.ndim == sources.ndim == 2 and points.shape[1] == sources.shape[1] and weights.shape == (len(sources),)
    received = f"a sum over pairs of points {points.shape}, sources {sources.shape} and weights {weights.shape}"
    require(fit, received, "(n_points, n_dim), (n_sources, n_dim) and (n_sources,)", "pass arrays of these shapes")
