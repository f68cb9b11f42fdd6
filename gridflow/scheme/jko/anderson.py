"""Anderson mixing, which accelerates a fixed-point iteration and keeps its fixed point (Anderson 1965; Walker and Ni 2011)."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from gridflow.scheme.jko.passes import mixed, mixing_pass
from gridflow.space.factor import Array

Single = NDArray[np.float32]
WINDOW = 3
"""Steps of the history; its coefficients are distrusted beyond a sum of 20."""
COEFFICIENTS_MAX = 20.0


class Anderson:
    """Mixing of type II: the combination of the last steps that makes the residual smallest in a weighted norm.

    total : sums over all slabs of a grid
    history : (2, k, shape of a step) for k ≤ WINDOW, differences of steps, and differences of points plus those, in any order;
        kept from one JKO step to the next, in single precision: half the memory to read, and a relative error of the correction
        of 1e−7
    """

    def __init__(self, total: Callable[[Array], Array], history: Single | None = None) -> None:
        self.total, self.oldest = total, 0
        self.kept = 0 if history is None else history.shape[1]
        self.shape: tuple[int, ...] = () if history is None else history.shape[2:]
        self.buffer: Single | None = None
        if history is not None:
            self.buffer = np.empty((2, WINDOW, history[0, 0].size), np.float32)
            self.buffer[:, : self.kept] = history.reshape(2, self.kept, -1)
        self.last: tuple[Array, Array] | None = None

    @property
    def history(self) -> Single | None:
        """What `__init__` takes; None where there is none."""
        return self.buffer[:, : self.kept].reshape(2, self.kept, *self.shape) if self.buffer is not None and self.kept else None

    def next(self, point: Array, step: Array, weight: Array) -> Array:
        """The next point, of the shape of all three: after `step` from `point`, in the norm with the given weights."""
        proposal = point + step
        if self.last is not None:
            self.remember(proposal, step, *self.last)
        self.last, self.shape = (proposal, step), step.shape
        if self.kept == 0 or self.buffer is None:
            return proposal
        changes, moves = self.buffer[0, : self.kept], self.buffer[1, : self.kept]
        products = np.empty((self.kept + 1, self.kept))
        mixing_pass(changes, step.ravel(), weight.ravel(), products)
        products = self.total(products)
        scale = 1 / np.sqrt(np.maximum(products.diagonal(), 1e-300))
        gram = np.tril(products[:-1]) * scale[:, None] * scale
        gram += np.tril(gram, -1).T + 1e-10 * np.eye(len(gram))
        coefficients = np.linalg.solve(gram, products[-1] * scale) * scale
        if not np.abs(coefficients).sum() < COEFFICIENTS_MAX:
            self.kept = 0
            return proposal
        mixture = proposal.ravel().copy()
        mixed(mixture, coefficients, moves)
        return mixture.reshape(point.shape)

    def remember(self, proposal: Array, step: Array, last_proposal: Array, last_step: Array) -> None:
        """Put the differences to the last call in the place of the oldest ones."""
        if self.buffer is None:
            self.buffer = np.empty((2, WINDOW, step.size), np.float32)
        if self.kept < WINDOW:
            place, self.kept, self.oldest = self.kept, self.kept + 1, 0
        else:
            place, self.oldest = self.oldest, (self.oldest + 1) % WINDOW
        self.buffer[0, place] = step.ravel() - last_step.ravel()
        self.buffer[1, place] = proposal.ravel() - last_proposal.ravel()
