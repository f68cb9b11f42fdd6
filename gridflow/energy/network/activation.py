"""Activations σ, and the compiled sums of particles, O(n_particles·n_data·n_dim) without temporaries of that size.

    f_jo = Σ_i c_io σ(b_i·x_j),    p_io = Σ_j r_jo σ(b_i·x_j),    g_i = Σ_j (Σ_o u_io r_jo) σ'(b_i·x_j) x_j

A new activation is one entry of `ACTIVATIONS`. The sums take one neuron at a time: its pre-activations for all data fit the
first-level cache, and every inner loop runs along the data. (`gridflow.energy.network.neuron_sums` chooses the engine.)
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import reduce
from typing import Any, Literal, TypeAlias

import numpy as np
import scipy
from numba import njit

from gridflow.compiled import inner, kernel
from gridflow.space.factor import Array
from gridflow.sums.elementary import REORDER, exp_and_less_one, exp_decaying, log1p_of_share

Jet = Callable[[Array], tuple[Array, Array]]
"""z → σ(z), σ'(z); z may be overwritten."""


@dataclass(frozen=True)
class Activation:
    """One σ.

    value : σ, elementwise
    compiled : one number z → σ(z), σ'(z), for `njit`; particles of a network need it; σ'(0) = 0 at a kink, as S2 §9 has it
    is_smooth : σ' is continuous
    jet, curvature : σ with σ', and σ'', elementwise, where σ is smooth with σ(0) = 0: what residual networks admit (S3 §3.2)
    average : (z, a) → E σ(z + a n), n standard normal, in closed form; `HERMITE` nodes suffice for smooth σ
    slopes : σ' for z < 0 and for z > 0, where both are constant and σ(0) = 0
    formula : σ and σ' of {z} in the language of pykeops, for sums on GPUs
    """

    value: Callable[[Array], Array]
    compiled: Callable[[float], tuple[float, float]] | None = None
    is_smooth: bool = True
    jet: Jet | None = None
    curvature: Callable[[Array], Array] | None = None
    average: Callable[[Array, Array], Array] | None = None
    slopes: tuple[float, float] | None = None
    formula: tuple[str, str] | None = None


LEAK = 0.01
"""Slope of the leaky ReLU on the negative side (Maas, Hannun and Ng 2013)."""
HERMITE = 40
"""Nodes of the quadrature over displacements: beyond round-off for smooth σ and amplitudes of order one."""


def compiled_relu(z):
    return (z, 1.0) if z > 0.0 else (0.0 * z, 0.0)


def compiled_leaky_relu(z):
    return z if z > 0.0 else LEAK * z, 1.0 if z > 0.0 else (LEAK if z < 0.0 else 0.0)


def compiled_tanh(z):
    small, less = exp_and_less_one(-2.0 * abs(z))
    inverse = 1.0 / (2.0 + less)
    size = -less * inverse
    return size if z >= 0.0 else -size, 4.0 * small * inverse * inverse


def compiled_sigmoid(z):
    small = exp_decaying(-abs(z))  # ≤ 1: no overflow
    return (1.0 if z >= 0.0 else small) / (1.0 + small), small / ((1.0 + small) * (1.0 + small))


def compiled_softplus(z):
    small = exp_decaying(-abs(z))
    return max(z, 0.0) + log1p_of_share(small), (1.0 if z >= 0.0 else small) / (1.0 + small)


def compiled_gaussian(z):
    value = exp_decaying(-0.5 * z * z)
    return value, -z * value


def pair_arctan(z):
    """For numbers and arrays."""
    return np.arctan(z), 1.0 / (1.0 + z * z)


def pair_quadratic(z):
    """For numbers and arrays."""
    return z * z, 2.0 * z


def average_relu(z: Array, amplitude: Array) -> Array:
    """E max(z + a n, 0)."""
    a = np.maximum(amplitude, 1e-300)
    with np.errstate(over="ignore"):
        return a * np.exp(-((z / a) ** 2) / 2) / np.sqrt(2 * np.pi) + z * scipy.special.ndtr(z / a)


def jet_tanh(z: Array) -> tuple[Array, Array]:
    """In place: fresh memory costs more than the arithmetic."""
    value = np.tanh(z, out=z)
    slope = value * value
    return value, np.subtract(1.0, slope, out=slope)


LEAKS = f"IntCst({round(1 / LEAK)})"
BELOW = "(IntCst(1) - Step({z}))"
ABOVE = "(IntCst(1) - Step(-{z}))"
"""1 for z < 0 and for z > 0, else 0, for pykeops; SMALL and LOGISTIC : e^−|z| and 1/(1 + e^−z)."""
SMALL = "Exp(-Abs({z}))"
LOGISTIC = f"(IfElse({{z}}, IntCst(1), {SMALL}) / (IntCst(1) + {SMALL}))"
TANH = "(Sign({z}) * (IntCst(1) - Exp(-IntCst(2) * Abs({z}))) / (IntCst(1) + Exp(-IntCst(2) * Abs({z}))))"
ACTIVATIONS = {
    "relu": Activation(
        lambda z: np.maximum(z, 0.0),
        compiled_relu,
        is_smooth=False,
        average=average_relu,
        slopes=(0.0, 1.0),
        formula=("ReLU({z})", ABOVE),
    ),
    "leaky-relu": Activation(
        lambda z: np.where(z > 0, z, LEAK * z),
        compiled_leaky_relu,
        is_smooth=False,
        average=lambda z, a: (1 - LEAK) * average_relu(z, a) + LEAK * z,
        slopes=(LEAK, 1.0),
        formula=(f"ReLU({{z}}) - ReLU(-{{z}}) / {LEAKS}", f"{ABOVE} + {BELOW} / {LEAKS}"),
    ),
    "tanh": Activation(
        np.tanh,
        compiled_tanh,
        jet=jet_tanh,
        curvature=lambda z: -2 * np.tanh(z) * (1 - np.tanh(z) ** 2),
        formula=(TANH, f"IntCst(1) - Square({TANH})"),
    ),
    "sigmoid": Activation(
        lambda z: scipy.special.expit(z), compiled_sigmoid, formula=(LOGISTIC, f"{SMALL} / Square(IntCst(1) + {SMALL})")
    ),
    "softplus": Activation(
        lambda z: np.logaddexp(0.0, z), compiled_softplus, formula=(f"ReLU({{z}}) + Log(IntCst(1) + {SMALL})", LOGISTIC)
    ),
    "arctan": Activation(
        np.arctan,
        pair_arctan,
        jet=pair_arctan,
        curvature=lambda z: -2 * z / (1 + z * z) ** 2,
        formula=("Atan({z})", "Inv(IntCst(1) + Square({z}))"),
    ),
    "gaussian": Activation(
        lambda z: np.exp(-(z**2) / 2),
        compiled_gaussian,
        formula=("Exp(-Square({z}) / IntCst(2))", "-{z} * Exp(-Square({z}) / IntCst(2))"),
    ),
    "quadratic": Activation(
        np.square,
        pair_quadratic,
        jet=pair_quadratic,
        curvature=lambda z: np.full(z.shape, 2.0),
        formula=("Square({z})", "IntCst(2) * {z}"),
    ),
    "identity": Activation(
        lambda z: z.copy(),
        lambda z: (z, 1.0),
        jet=lambda z: (z, np.ones_like(z)),
        curvature=np.zeros_like,
        formula=("{z}", "IntCst(1)"),
    ),
}
ActivationName: TypeAlias = Literal[tuple(ACTIVATIONS)]  # type: ignore[valid-type]
"""What a case may name."""
JETS = {name: sigma.jet for name, sigma in ACTIVATIONS.items() if sigma.jet is not None}
CURVATURES = {name: sigma.curvature for name, sigma in ACTIVATIONS.items() if sigma.curvature is not None}


def normal_average(name: str, z: Array, amplitude: Array) -> Array:
    """E σ(z + a n), n standard normal; amplitudes a broadcast against z."""
    sigma = ACTIVATIONS[name]
    if sigma.average is not None:
        return sigma.average(z, amplitude)
    nodes, weights = np.polynomial.hermite_e.hermegauss(HERMITE)
    total = np.zeros_like(z)
    for node, weight in zip(nodes, weights / weights.sum(), strict=True):
        total += weight * sigma.value(z + amplitude * node)
    return total


NUMBERS = {name: number for number, name in enumerate(n for n, sigma in ACTIVATIONS.items() if sigma.compiled is not None)}
"""Activations with a compiled form, by their number in `activate`."""


def branch_of(number: int, scalar: Any, others: Any) -> Any:
    """`activate` for one more activation, inlined into one chain of branches outside the loops."""
    scalar = njit(fastmath=REORDER, nogil=True, error_model="numpy")(scalar)

    @njit(inline="always")
    def activate(kind, z, value, slope):
        if kind == number:
            for j in range(z.size):
                value[j], slope[j] = scalar(z[j])
        else:
            others(kind, z, value, slope)

    return activate


@njit(inline="always")
def activate_none(kind, z, value, slope):
    raise ValueError("an activation without a number in gridflow.energy.network.activation.NUMBERS")


activate = reduce(lambda others, item: branch_of(item[1], ACTIVATIONS[item[0]].compiled, others), NUMBERS.items(), activate_none)
"""(kind, z, value, slope): σ(z) and σ'(z), elementwise, of the activation with the number `kind`."""


@inner(fastmath=REORDER, nogil=True)
def dot(direction, columns, z):
    """z_j = b·x_j for columns (n_dim, n_data)."""
    for j in range(z.size):
        z[j] = direction[0] * columns[0, j]
    for d in range(1, direction.size):
        b = direction[d]
        for j in range(z.size):
            z[j] += b * columns[d, j]


@kernel(fastmath=REORDER, nogil=True)
def activate_all(kind, z, value, slope):
    """`activate`, for Python."""
    activate(kind, z, value, slope)


@kernel(fastmath=REORDER, nogil=True)
def predict_compiled(kind, directions, coefficients, columns):
    """f, (n_outputs, n_data), from directions (n, n_dim), coefficients (n, n_outputs), columns (n_dim, n_data)."""
    n_data = columns.shape[1]
    prediction = np.zeros((coefficients.shape[1], n_data))
    z, value, slope = np.empty(n_data), np.empty(n_data), np.empty(n_data)
    for i in range(directions.shape[0]):
        dot(directions[i], columns, z)
        activate(kind, z, value, slope)
        for o in range(coefficients.shape[1]):
            c = coefficients[i, o]
            for j in range(n_data):
                prediction[o, j] += c * value[j]
    return prediction


@kernel(fastmath=REORDER, nogil=True)
def pull_back_compiled(kind, directions, outer, residual, columns):
    """p, (n, n_outputs), and g, (n, n_dim), from outer = u (n, n_outputs) and residual r (n_outputs, n_data)."""
    n_data = columns.shape[1]
    pulled, along = np.zeros(outer.shape), np.zeros(directions.shape)
    z, value, slope, mixed = np.empty(n_data), np.empty(n_data), np.empty(n_data), np.empty(n_data)
    for i in range(directions.shape[0]):
        dot(directions[i], columns, z)
        activate(kind, z, value, slope)
        mixed[:] = 0.0
        for o in range(outer.shape[1]):
            u, total = outer[i, o], 0.0
            for j in range(n_data):
                total += residual[o, j] * value[j]
                mixed[j] += u * residual[o, j] * slope[j]
            pulled[i, o] = total
        for d in range(directions.shape[1]):
            total = 0.0
            for j in range(n_data):
                total += mixed[j] * columns[d, j]
            along[i, d] = total
    return pulled, along
