"""σ' of every activation, elementwise in NumPy: the definition of the compiled slopes and of the jets of residual networks."""

import numpy as np
from scipy.special import expit

from gridflow.energy.network.activation import LEAK

DERIVATIVES = {
    "relu": lambda z: (z > 0).astype(float),
    "leaky-relu": lambda z: np.where(z > 0, 1.0, LEAK * (z < 0)),
    "tanh": lambda z: 1 - np.tanh(z) ** 2,
    "sigmoid": lambda z: expit(z) * expit(-z),
    "softplus": expit,
    "arctan": lambda z: 1 / (1 + z**2),
    "gaussian": lambda z: -z * np.exp(-(z**2) / 2),
    "quadratic": lambda z: 2 * z,
    "identity": np.ones_like,
}
