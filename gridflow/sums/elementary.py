"""Elementary functions of sums, compiled so that loops over them vectorise."""

from math import e, factorial, log, log2
from typing import Any

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
LOG2E = log2(e)
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


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def exp2_decaying(y):
    """2^y for y ≤ 0: relative error 1e−15 beside that of y itself, 2^0 = 1, and loops that vectorise.

    y is split into a whole number, which goes to the exponent, and f; sums must not be reordered here.
    """
    y = LOWEST if y < LOWEST else y  # what is no number stays one that is none
    whole = y + ROUND
    f = y - (whole - ROUND)
    value = EXP2_COEFFICIENTS[0]
    for k in range(1, 10):
        value = value * f + EXP2_COEFFICIENTS[k]
    return from_bits(bits_of(value * f + 1.0) + (bits_of(whole) << 52))


@inlined
def exp_decaying(x):
    """e^x for x ≤ 0, by a power of two."""
    return exp2_decaying(x * LOG2E)


LOG_COEFFICIENTS = tuple(2.0 / (log(2.0) * (2 * k + 1)) for k in range(14, -1, -1))
"""log₂ m = s·Σ c_k s^(2k) with s = (m − 1)/(m + 1) ≤ 1/3 for m in [1, 2): the next term is below 1e−15."""
POWER_COEFFICIENTS = tuple(log(2.0) ** k / factorial(k) for k in range(12, -1, -1))
"""2^f for |f| ≤ ½: the next term is below 1e−15."""


@njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)
def power(base, exponent):
    """base^exponent of a normal positive number: relative error 1e−13 up to e^±300.

    Exponents are split off and put back in the bits of the numbers; sums must not be reordered here.
    """
    bits = bits_of(base)
    mantissa = from_bits((bits & MANTISSA) | ONE)
    s = (mantissa - 1.0) / (mantissa + 1.0)
    square = s * s
    series = LOG_COEFFICIENTS[0]
    for k in range(1, 15):
        series = series * square + LOG_COEFFICIENTS[k]
    y = exponent * ((from_bits((bits >> 52) | TWO52) - (2.0**52 + 1023.0)) + s * series)
    whole = y + ROUND
    f = y - (whole - ROUND)
    value = POWER_COEFFICIENTS[0]
    for k in range(1, 13):
        value = value * f + POWER_COEFFICIENTS[k]
    return value * from_bits((bits_of(whole) + 1023) << 52)
