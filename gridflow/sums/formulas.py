"""Sums over pairs by pykeops: the formula that a kernel declares, made into one reduction for s and its gradient.

Formulas are in the language of pykeops, of

    x, y, w   a point, a source, its weight
    p         the numbers of the kernel (`PairKernel.numbers`)
    s         r² = |x − y|², at least t; or 1 + x·y
    t         what stands for r² = 0: where two points coincide the gradient is 0

Powers are written Exp(a * Log(s)) or s * s: `Powf`, and `Pow` on GPUs, have single precision.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from math import ceil, pi, sqrt
from typing import Literal

import numpy as np

from gridflow.space.factor import Array
from gridflow.sums.keops import Reduction
from gridflow.sums.pairs import Sums

SMALLEST = {"float64": 1e-200, "float32": 1e-30}
"""t by precision."""
WINDINGS = 9.0
"""Images of a periodic Gaussian farther than so many bandwidths are below round-off, exp(−9²/2) = 3e−18."""
ROUNDOFF_EXPONENT = 40.0
"""e^−40 is below round-off: terms of a periodic Gaussian beyond it are left out."""
SYMBOLS = {"distance": "(ReLU(SqDist(x, y) - t) + t)", "product": "(IntCst(1) + (x | y))", "difference": "(x - y)"}


@dataclass(frozen=True)
class Formula:
    """value : k; slope : (dk/dr)/r of a function of r², and dk/ds of one of s = 1 + x·y.

    of : which of both, or "difference" for s = x − y on a line
    singular : where two points coincide k is 0 (t), because it is infinite, or so that it is 0 exactly
    """

    value: str
    slope: str
    of: Literal["distance", "product", "difference"] = "distance"
    singular: bool = False

    def reduced(self, gradient: bool) -> str:
        """w·k, and behind it w·∂k/∂x."""
        direction = {"distance": " * (x - y)", "product": " * y", "difference": ""}[self.of]
        guarded = "IfElse({{s}} - IntCst(2) * t, {}, t)" if self.singular else "({})"
        value, slope = (guarded.format(text).replace("{s}", SYMBOLS[self.of]) for text in (self.value, self.slope))
        return f"w * Concat({value}, {slope}{direction})" if gradient else f"w * {value}"


@lru_cache(maxsize=256)
def reduction(text: str, dim: int, others: tuple[tuple[str, int], ...]) -> Reduction:
    """A reduction, whose formula is looked up or compiled when it is first used. others : names and sizes of numbers in it."""
    arguments = [f"x = Vi({dim})", f"y = Vj({dim})", "w = Vj(1)", *(f"{name} = Pm({size})" for name, size in others)]
    return Reduction(text, arguments, "Sum")


def formula_sum(
    formula: Formula, points: Array, sources: Array, weights: Array, numbers: Array, gradient: bool, precision: str
) -> Sums:
    """(s, g) by pykeops, all pairs. Raises KeOpsUnavailable."""
    return reduced(formula.reduced(gradient), points, sources, weights, {"p": numbers}, precision)


def reduced(text: str, points: Array, sources: Array, weights: Array, numbers: dict[str, Array], precision: str) -> Sums:
    """The reduction of a formula in a precision; its results as float64. Without a gradient its columns are 0."""
    numbers = {**numbers, "t": np.array([SMALLEST[precision]])}
    used = {name: value for name, value in numbers.items() if re.search(rf"\b{name}\b", text)}
    call = reduction(text, points.shape[1], tuple((name, value.size) for name, value in used.items()))
    arrays = [points, sources, weights[:, None], *used.values()]
    found = call(*(np.ascontiguousarray(a, dtype=precision) for a in arrays)).astype(float)
    gradient = found[:, 1:] if found.shape[1] > 1 else np.zeros(points.shape)
    return np.ascontiguousarray(found[:, 0]), np.ascontiguousarray(gradient)


def wound_formula_sum(
    points: Array, sources: Array, weights: Array, bandwidth: float, lengths: Array, gradient: bool, precision: str
) -> Sums:
    """(s, g) of a Gaussian that winds around circles, all pairs. Raises KeOpsUnavailable.

    Along a circle the sum over images, or the Fourier series, whichever has fewer terms:

        Σ_n exp(−(d + nL)²/(2σ²)) = (σ√(2π)/L)(1 + 2Σ_m exp(−2π²m²σ²/L²) cos(2πmd/L))
    """
    values, slopes, constants = [], [], [0.0]
    for k, length in enumerate(lengths):
        value, slope, more = along(k, len(constants), bandwidth, float(length))
        values.append(f"({value})")
        slopes.append(f"({slope})")
        constants += more
    text = " * ".join(values)
    for k in range(len(values) if gradient else 0):
        text = f"Concat({text}, {' * '.join([*values[:k], slopes[k], *values[k + 1 :]])})"
    numbers = {"p": np.array([0.5 / bandwidth**2]), "c": np.array(constants)}
    return reduced(f"w * {text}", points, sources, weights, numbers, precision)


def along(k: int, start: int, bandwidth: float, length: float) -> tuple[str, str, list[float]]:
    """κ and κ' of factor k as formulas, and the constants in them, which are c from `start` on."""
    d = f"(Elem(x, {k}) - Elem(y, {k}))"
    if length == 0:
        return f"Exp(-p * Square({d}))", f"-IntCst(2) * p * {d} * Exp(-p * Square({d}))", []
    images = max(0, ceil(WINDINGS * bandwidth / length - 0.5))
    waves = ceil(sqrt(ROUNDOFF_EXPONENT / 2) * length / (pi * bandwidth))
    first, second = f"Elem(c, {start})", f"Elem(c, {start + 1})"
    if 2 * images + 1 <= waves:
        nearest = f"Mod({d}, {first}, {second})"
        places = [f"({nearest} + IntCst({turn}) * {first})" for turn in range(-images, images + 1)]
        value = " + ".join(f"Exp(-p * Square({q}))" for q in places)
        slope = " + ".join(f"-IntCst(2) * p * {q} * Exp(-p * Square({q}))" for q in places)
        return value, slope, [length, -length / 2]
    numbers = np.arange(waves + 1)
    heights = bandwidth * sqrt(2 * pi) / length * np.exp(-2 * (pi * numbers * bandwidth / length) ** 2) * np.where(numbers, 2, 1)
    turns = [f"(IntCst({m}) * {first} * {d})" for m in numbers]
    weights = [f"Elem(c, {start + 1 + m})" for m in numbers]
    value = " + ".join([weights[0], *(f"{a} * Cos({q})" for a, q in zip(weights[1:], turns[1:], strict=True))])
    slope = " + ".join(f"-{a} * IntCst({m}) * {first} * Sin({turns[m]})" for m, a in enumerate(weights) if m > 0)
    return value, slope, [2 * pi / length, *heights]
