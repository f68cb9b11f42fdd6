"""Convex losses ℓ(f, y) and ∂ℓ/∂f, elementwise. Vector outputs sum over components."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import scipy

from gridflow.energy.network.data import Data
from gridflow.space.factor import Array


@dataclass(frozen=True)
class Loss:
    """ℓ and ∂ℓ/∂f of (f, y), arrays of one shape. quadratic : whether ℓ = ½(∂ℓ/∂f)²"""

    value: Callable[[Array, Array], Array]
    derivative: Callable[[Array, Array], Array]
    quadratic: bool = False

    def evaluate(self, data: Data, prediction: Array) -> tuple[float, Array]:
        """(Σ_j μ_j ℓ(f_j, y_j), the residual μ_j ∂ℓ/∂f_j) of a prediction; it and the residual are (n_data, n_outputs)."""
        weights = data.weights[:, None]
        if self.quadratic:
            slope = self.derivative(prediction, data.targets)
            residual = weights * slope
            return 0.5 * float(np.vdot(residual, slope)), residual
        value = float((weights * self.value(prediction, data.targets)).sum())
        return value, weights * self.derivative(prediction, data.targets)


def huber(f: Array, y: Array) -> Array:
    """½|f − y|² up to |f − y| = 1, and linear beyond."""
    distance = np.abs(f - y)
    return np.where(distance <= 1, distance**2 / 2, distance - 0.5)


LOSSES = {
    "squared": Loss(lambda f, y: (f - y) ** 2 / 2, lambda f, y: f - y, quadratic=True),
    "logistic": Loss(lambda f, y: np.logaddexp(0.0, -y * f), lambda f, y: -y * scipy.special.expit(-y * f)),  # labels y = ±1
    "huber": Loss(huber, lambda f, y: np.clip(f - y, -1.0, 1.0)),
}
