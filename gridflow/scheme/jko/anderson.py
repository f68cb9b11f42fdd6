"""Anderson mixing, which accelerates a fixed-point iteration and keeps its fixed point (Anderson 1965; Walker and Ni 2011)."""

from dataclasses import dataclass, field

import numpy as np

from gridflow.space.factor import Array

WINDOW = 4
"""Steps of the history; its coefficients are distrusted beyond a sum of 20."""
COEFFICIENTS_MAX = 20.0


@dataclass
class Anderson:
    """Mixing of type II: the combination of the last steps that makes the residual smallest in a weighted norm.

    changes : differences of steps; moves : differences of points plus those; both are kept from one JKO step to the next
    """

    changes: list[Array] = field(default_factory=list)
    moves: list[Array] = field(default_factory=list)
    last: tuple[Array, Array] | None = None

    def next(self, point: Array, step: Array, weight: Array) -> Array:
        """The next point, of the shape of all three: after `step` from `point`, in the norm with the given weights."""
        if self.last is not None:
            change = step - self.last[1]
            self.changes = [*self.changes, change][-WINDOW:]
            self.moves = [*self.moves, point - self.last[0] + change][-WINDOW:]
        self.last = (point, step)
        proposal = point + step
        if not self.changes:
            return proposal
        weighted = [c * weight for c in self.changes]
        gram = np.array([[np.vdot(w, c) for c in self.changes] for w in weighted])
        scale = 1 / np.sqrt(np.maximum(gram.diagonal(), 1e-300))
        gram = gram * scale[:, None] * scale + 1e-10 * np.eye(len(gram))
        coefficients = np.linalg.solve(gram, np.array([np.vdot(w, step) for w in weighted]) * scale) * scale
        if not np.abs(coefficients).sum() < COEFFICIENTS_MAX:
            self.changes, self.moves = [], []
            return proposal
        for coefficient, move in zip(coefficients, self.moves, strict=True):
            proposal -= coefficient * move
        return proposal
