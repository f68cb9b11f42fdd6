"""Activation functions σ(z) and their derivatives; σ'(0) = 0 for the ReLU, as S2 §9 has it."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from scipy.special import expit

from gridflow.space.factor import Array


@dataclass(frozen=True)
class Activation:
    """σ and σ', elementwise.

    is_smooth : σ' is continuous; compiled : its number in `gridflow.energy.network.neurons.activate`, which particles of a
    network need
    """

    value: Callable[[Array], Array]
    derivative: Callable[[Array], Array]
    is_smooth: bool = True
    compiled: int | None = None


LEAK = 0.01
"""Slope of the leaky ReLU on the negative side (Maas, Hannun and Ng 2013)."""

ACTIVATIONS = {
    "relu": Activation(lambda z: np.maximum(z, 0.0), lambda z: (z > 0).astype(float), is_smooth=False, compiled=0),
    "leaky-relu": Activation(
        lambda z: np.where(z > 0, z, LEAK * z), lambda z: np.where(z > 0, 1.0, LEAK * (z < 0)), is_smooth=False, compiled=1
    ),
    "tanh": Activation(np.tanh, lambda z: 1 - np.tanh(z) ** 2, compiled=2),
    "sigmoid": Activation(expit, lambda z: expit(z) * expit(-z), compiled=3),
    "softplus": Activation(lambda z: np.logaddexp(0.0, z), expit, compiled=4),
    "arctan": Activation(np.arctan, lambda z: 1 / (1 + z**2), compiled=5),
    "gaussian": Activation(lambda z: np.exp(-(z**2) / 2), lambda z: -z * np.exp(-(z**2) / 2), compiled=6),
    "quadratic": Activation(np.square, lambda z: 2 * z, compiled=7),
    "identity": Activation(lambda z: z.copy(), np.ones_like, compiled=8),
}
