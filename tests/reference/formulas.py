"""The language of pykeops in NumPy, as far as kernels use it: sums of a formula over pairs; memory for all pairs."""

import re

import numpy as np


class Pairs(np.ndarray):
    """Values for all pairs, (n_points, n_sources, dimension), whose `|` is the scalar product."""

    def __or__(self, other):
        return (self * other).sum(axis=2, keepdims=True)


def if_else(condition, first, second):
    return np.where(condition >= 0, first, second).view(Pairs)


def concatenation(first, second):
    shape = np.broadcast_shapes(first.shape[:2], second.shape[:2])
    return np.concatenate([np.broadcast_to(a, (*shape, a.shape[2])) for a in (first, second)], axis=2).view(Pairs)


FUNCTIONS = {
    "Exp": np.exp,
    "Log": np.log,
    "Sqrt": np.sqrt,
    "Square": np.square,
    "Cos": np.cos,
    "Sin": np.sin,
    "Abs": np.abs,
    "Sign": np.sign,
    "Step": lambda a: (a >= 0) * np.ones_like(a),
    "Atan": np.arctan,
    "Inv": lambda a: 1 / a,
    "Rsqrt": lambda a: 1 / np.sqrt(a),
    "ReLU": lambda a: np.maximum(a, 0),
    "IfElse": if_else,
    "IntCst": float,
    "SqDist": lambda a, b: ((a - b) ** 2).sum(axis=2, keepdims=True),
    "Elem": lambda a, k: a[..., k : k + 1],
    "Mod": lambda a, n, d: a - n * np.floor((a - d) / n),
    "Concat": concatenation,
}


def reduction(text, arguments, values):
    """Σ_j of a formula, (n_points, dimension of the formula), with arguments declared as for pykeops."""
    names = {}
    for argument, value in zip(arguments, values, strict=True):
        name, kind, size = re.fullmatch(r"(\w+) = (Vi|Vj|Pm)\((\d+)\)", argument).groups()
        assert np.shape(value)[-1] == int(size)
        names[name] = value[{"Vi": (slice(None), None), "Vj": (None,), "Pm": (None, None)}[kind]].view(Pairs)
    with np.errstate(over="ignore", divide="ignore", invalid="ignore"):  # in what a condition leaves out
        return np.asarray(eval(text, {"__builtins__": {}, **FUNCTIONS}, names).sum(axis=1))
