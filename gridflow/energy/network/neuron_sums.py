"""Sums over neurons, and over data, at particles, by the engine that the run has chosen (`gridflow.sums.door`):

    f_oj = Σ_i c_io σ(b_i·x_j),    p_io = Σ_j r_oj σ(b_i·x_j),    g_i = Σ_j (Σ_o u_io r_oj) σ'(b_i·x_j) x_j

    numpy   matrix products, block by block of neurons, and σ elementwise
    numba   `gridflow.energy.network.activation`, neurons shared out among threads, with the same bits for any number of them
    keops   the formula of the activation, on a GPU where there is one

Directions b are (n, n_dim), coefficients c and u (n, n_outputs), residuals r (n_outputs, n_data), columns x (n_dim, n_data).
"""

from collections.abc import Callable
from functools import lru_cache, reduce
from math import ceil

import numpy as np

from gridflow.energy.network.activation import ACTIVATIONS, NUMBERS, activate_all, predict_compiled, pull_back_compiled
from gridflow.errors import require
from gridflow.space.factor import Array
from gridflow.sums.choice import chosen_engine
from gridflow.sums.definition import ENTRIES
from gridflow.sums.door import by_engine
from gridflow.sums.keops import KeOpsUnavailable, Reduction
from gridflow.sums.pairs import SHARED_PAIRS
from gridflow.threads import share_out, threads_allowed

ROWS = 1024
"""Neurons of a partial sum over neurons, at least: the same for any number of threads, and so are its bits."""
PARTIAL_SUMS = 256
"""At most, each of the size of the prediction."""
NAMES = {number: name for name, number in NUMBERS.items()}


def predict(kind: int, directions: Array, coefficients: Array, columns: Array) -> Array:
    """f, (n_outputs, n_data). kind : number of the activation. Raises InputError for an engine that was insisted on."""
    check_formula(kind)
    return by_engine(
        len(directions) * columns.shape[1],
        keops=lambda precision: predict_by_keops(kind, directions, coefficients, columns, precision),
        numpy=lambda: predict_by_numpy(kind, directions, coefficients, columns),
        numba=lambda: predict_by_numba(kind, directions, coefficients, columns),
    )


def pull_back(kind: int, directions: Array, outer: Array, residual: Array, columns: Array) -> tuple[Array, Array]:
    """p, (n, n_outputs), and g, (n, n_dim). Raises InputError for an engine that was insisted on."""
    check_formula(kind)
    return by_engine(
        len(directions) * columns.shape[1],
        keops=lambda precision: pull_back_by_keops(kind, directions, outer, residual, columns, precision),
        numpy=lambda: pull_back_by_numpy(kind, directions, outer, residual, columns),
        numba=lambda: pull_back_by_numba(kind, directions, outer, residual, columns),
    )


def predict_by_numba(kind: int, directions: Array, coefficients: Array, columns: Array) -> Array:
    """Partial sums over ROWS neurons or more, added in their order."""
    size = max(ROWS, ceil(len(directions) / PARTIAL_SUMS))
    starts = range(0, len(directions), size)
    parts = np.zeros((len(starts), coefficients.shape[1], columns.shape[1]))

    def work(first: int, last: int) -> None:
        for k in range(first, last):
            rows = slice(starts[k], starts[k] + size)
            parts[k] = predict_compiled(kind, directions[rows], coefficients[rows], columns)

    shared(work, len(starts), len(directions) * columns.shape[1])
    return reduce(np.add, parts, np.zeros(parts.shape[1:]))


def pull_back_by_numba(kind: int, directions: Array, outer: Array, residual: Array, columns: Array) -> tuple[Array, Array]:
    """Row by row."""
    if threads_allowed() == 1:
        found: tuple[Array, Array] = pull_back_compiled(kind, directions, outer, residual, columns)
        return found
    pulled, along = np.empty(outer.shape), np.empty(directions.shape)

    def work(first: int, last: int) -> None:
        rows = slice(first, last)
        pulled[rows], along[rows] = pull_back_compiled(kind, directions[rows], outer[rows], residual, columns)

    shared(work, len(directions), len(directions) * columns.shape[1])
    return pulled, along


def shared(work: Callable[[int, int], None], count: int, pairs: int) -> None:
    """The work, by several threads where there is enough of it."""
    share_out(work, count) if pairs >= SHARED_PAIRS else work(0, count)


def predict_by_numpy(kind: int, directions: Array, coefficients: Array, columns: Array) -> Array:
    """By the definition."""
    total = np.zeros((coefficients.shape[1], columns.shape[1]))
    for rows in blocks_of(directions, columns):
        total += coefficients[rows].T @ activated(kind, directions[rows] @ columns)[0]
    return total


def pull_back_by_numpy(kind: int, directions: Array, outer: Array, residual: Array, columns: Array) -> tuple[Array, Array]:
    """By the definition."""
    pulled, along = np.empty(outer.shape), np.empty(directions.shape)
    for rows in blocks_of(directions, columns):
        value, slope = activated(kind, directions[rows] @ columns)
        pulled[rows] = value @ residual.T
        along[rows] = ((outer[rows] @ residual) * slope) @ columns.T
    return pulled, along


def blocks_of(directions: Array, columns: Array) -> list[slice]:
    """Neurons whose values for all data are ENTRIES numbers."""
    step = max(1, ENTRIES // max(columns.shape[1], 1))
    return [slice(k, k + step) for k in range(0, len(directions), step)]


def activated(kind: int, z: Array) -> tuple[Array, Array]:
    """σ(z) and σ'(z), elementwise."""
    value, slope = np.empty(z.shape), np.empty(z.shape)
    activate_all(kind, z.ravel(), value.ravel(), slope.ravel())
    return value, slope


# --------------------------------------------------------------------------------------------------------------- by pykeops
def check_formula(kind: int) -> None:
    """Raises InputError where keops was insisted on for an activation without a formula."""
    received = f"reductions.engine = 'keops' for the activation {NAMES[kind]!r}, which has no formula"
    without = ACTIVATIONS[NAMES[kind]].formula is None and chosen_engine() == "keops"
    require(not without, received, "numpy or numba", "choose engine = 'auto'")


def formulas(kind: int) -> tuple[str, str]:
    """σ and σ' of z = b·x. Raises KeOpsUnavailable for an activation without them."""
    formula = ACTIVATIONS[NAMES[kind]].formula
    if formula is None:
        raise KeOpsUnavailable(f"the activation {NAMES[kind]!r} has no formula")
    value, slope = (f"({text.replace('{z}', '(b | x)')})" for text in formula)
    return value, slope


def predict_by_keops(kind: int, directions: Array, coefficients: Array, columns: Array, precision: str) -> Array:
    """The sum over neurons, one row for each datum. Raises KeOpsUnavailable."""
    value, _ = formulas(kind)
    call = reduction(f"c * {value}", (("x", "Vi", len(columns)), ("b", "Vj", len(columns)), ("c", "Vj", coefficients.shape[1])))
    return np.ascontiguousarray(reduced(call, precision, columns.T, directions, coefficients).T)


def pull_back_by_keops(
    kind: int, directions: Array, outer: Array, residual: Array, columns: Array, precision: str
) -> tuple[Array, Array]:
    """Both sums over data at once, one row for each neuron. Raises KeOpsUnavailable."""
    value, slope = formulas(kind)
    dim, outputs = len(columns), len(residual)
    arguments = (("b", "Vi", dim), ("u", "Vi", outputs), ("x", "Vj", dim), ("r", "Vj", outputs))
    call = reduction(f"Concat(r * {value}, (u | r) * {slope} * x)", arguments)
    found = reduced(call, precision, directions, outer, columns.T, residual.T)
    return np.ascontiguousarray(found[:, :outputs]), np.ascontiguousarray(found[:, outputs:])


@lru_cache(maxsize=64)
def reduction(text: str, arguments: tuple[tuple[str, str, int], ...]) -> Reduction:
    """A reduction, whose formula is looked up or compiled when it is first used. arguments : name, kind and dimension of each."""
    return Reduction(text, [f"{name} = {kind}({dim})" for name, kind, dim in arguments], "Sum")


def reduced(call: Reduction, precision: str, *values: Array) -> Array:
    """The reduction in a precision, its result as float64."""
    return call(*(np.ascontiguousarray(value, dtype=precision) for value in values)).astype(float)
