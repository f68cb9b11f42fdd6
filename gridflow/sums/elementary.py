"""Elementary functions of sums, compiled so that loops over them vectorise."""

from math import e, log, log2, sqrt
from typing import Any

import numpy as np
from numba import extending, njit, types

from gridflow.compiled import kernel

intrinsic: Any = extending.intrinsic
REORDER = {"reassoc", "contract", "arcp", "nsz"}
"""Compiled sums may be reordered, so that they vectorise; non-finite numbers keep their meaning."""
compiled: Any = kernel(fastmath=REORDER, nogil=True)
inlined: Any = njit(fastmath=REORDER, nogil=True, error_model="numpy", inline="always")
"""For scalar functions, and for sums with a function among their arguments: a cached function that calls them contains them."""


@intrinsic
def bits_of(typing_context, x):
    """The bits of a double as an integer."""
    return types.int64(types.float64), bitcast


@intrinsic
def from_bits(typing_context, x):
    """The double of these bits."""
    return types.float64(types.int64), bitcast


def bitcast(context, builder, signature, arguments):
    return builder.bitcast(arguments[0], context.get_value_type(signature.return_type))


MANTISSA, ONE, TWO52 = (1 << 52) - 1, 1023 << 52, 1075 << 52
"""Bits of a double: the mantissa, 1.0, and 2⁵², to which an integer below is added by setting its bits."""
ROUND = 1.5 * 2.0**52
"""Adding and subtracting it rounds to an integer, which the lowest bits of the sum are."""
LN2, LOG2E, ROOT_TWO = log(2.0), log2(e), sqrt(2.0)
LOWEST = -865.0
"""Below it 2^y stays at 2^−865 = 4e−261: nothing that a sum notices, and far from subnormal numbers, which are slow."""
EXP2_COEFFICIENTS = (
    7.0725862145606216e-09,
    1.020590594966105e-07,
    1.3215442586429446e-06,
    1.5252672922171308e-05,
    0.00015403530441738847,
    0.001333355820079878,
    0.009618129107606887,
    0.05550410866465165,
    0.24022650695910097,
    0.6931471805599462,
)
"""2^f = 1 + f·q(f) for |f| ≤ ½: the Taylor series of q, shortened to degree 9 by Chebyshev polynomials; relative error 6e−16."""


REACH = 1000.0
"""Of the exponents y of 2^y: the bits of 2^1024 are those of other numbers."""


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def exp2(y):
    """2^y of |y| ≤ REACH: relative error 1e−15 beside that of y itself."""
    whole = y + ROUND
    f = y - (whole - ROUND)
    value = EXP2_COEFFICIENTS[0]
    for k in range(1, 10):
        value = value * f + EXP2_COEFFICIENTS[k]
    return from_bits(bits_of(value * f + 1.0) + (bits_of(whole) << 52))


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def exp2_decaying(y):
    """2^y for y ≤ 0: relative error 1e−15 beside that of y itself, 2^0 = 1, and loops that vectorise.

    y is split into a whole number, which goes to the exponent, and f; sums must not be reordered here.
    """
    return exp2(LOWEST if y < LOWEST else y)  # what is no number stays one that is none


@inlined
def exp_decaying(x):
    """e^x for x ≤ 0, by a power of two."""
    return exp2_decaying(x * LOG2E)


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def exp_and_less_one(x):
    """e^x and e^x − 1 for x ≤ 0, with all digits where x is small: 2^n(2^f − 1) + (2^n − 1), of which 2^f − 1 = f·q(f)."""
    y = x * LOG2E
    y = LOWEST if y < LOWEST else y
    whole = y + ROUND
    f = y - (whole - ROUND)
    value = EXP2_COEFFICIENTS[0]
    for k in range(1, 10):
        value = value * f + EXP2_COEFFICIENTS[k]
    scale = from_bits(ONE + (bits_of(whole) << 52))
    return scale * (value * f + 1.0), scale * (value * f) + (scale - 1.0)


ROOT_HALF = 0x3FE6A09E667F3BCD
"""Bits of √½."""
LOG_COEFFICIENTS = (
    0.14616449685043406,
    0.15331721600556042,
    0.18182889125261723,
    0.2222221113479508,
    0.28571428625975487,
    0.39999999999899505,
    0.666666666666667,
    2.0,
)
"""log m = s·Σ c_k s^(2k) with s = (m − 1)/(m + 1), m in [√½, √2): 2 artanh s, shortened to degree 7 in s² by interpolation at
Chebyshev's points; relative error 5e−18."""


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def log1p_of_share(u):
    """log(1 + u) for 0 ≤ u ≤ 1, with all digits where u is small: the mantissa 1 + u, halved where it is above √2."""
    halved = u > ROOT_TWO - 1.0
    s = (u - 1.0) / (u + 3.0) if halved else u / (u + 2.0)
    square = s * s
    series = LOG_COEFFICIENTS[0]
    for k in range(1, 8):
        series = series * square + LOG_COEFFICIENTS[k]
    return (LN2 if halved else 0.0) + s * series


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def log2_and_inverse(x):
    """log₂ x and 1/x for 1e−300 ≤ x ≤ 1e300, by one division: relative errors 1e−15.

    The exponent is split off so that the mantissa is around one, where the logarithm is small; sums must not be reordered here.
    """
    bits = bits_of(x) + (ONE - ROOT_HALF)
    mantissa = from_bits((bits & MANTISSA) + ROOT_HALF)
    above = mantissa + 1.0
    inverse = 1.0 / (above * x)
    s = (mantissa - 1.0) * (inverse * x)
    square = s * s
    series = LOG2E * LOG_COEFFICIENTS[0]
    for k in range(1, 8):
        series = series * square + LOG2E * LOG_COEFFICIENTS[k]
    return (from_bits((bits >> 52) | TWO52) - (2.0**52 + 1023.0)) + s * series, inverse * above


@inlined
def power_and_inverse(base, exponent):
    """base^exponent and 1/base for 1e−300 ≤ base ≤ 1e300: relative error 1e−13 of powers up to 10^±301, then 10^−301 or ∞."""
    log2, inverse = log2_and_inverse(base)
    y = exponent * log2
    value = exp2(-REACH if y < -REACH else y)
    return (np.inf if y > REACH else value), inverse
