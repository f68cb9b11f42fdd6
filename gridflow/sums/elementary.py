"""Elementary functions of sums, compiled so that loops over them vectorise."""

from math import factorial, log
from typing import Any

from numba import extending, njit, types

from gridflow.compiled import kernel

intrinsic: Any = extending.intrinsic
REORDER = {"reassoc", "contract", "arcp", "nsz"}
"""Compiled sums may be reordered, so that they vectorise; non-finite numbers keep their meaning."""
compiled: Any = kernel(fastmath=REORDER, nogil=True)
inlined: Any = njit(fastmath=REORDER, nogil=True, error_model="numpy", inline="always")
"""For scalar functions, and for sums with a function among their arguments: a cached function that calls them contains them."""

EXP_SQUARINGS = 8
EXP_COEFFICIENTS = tuple(1.0 / factorial(k) for k in range(10, -1, -1))


@inlined
def exp_decaying(x):
    """e^x for x ≤ 0 as (Taylor polynomial of e^(x/256))^256: relative error 1e−12, and loops that vectorise.

    Below −64 it stays at e^−64 = 2e−28, which is below the round-off of any sum of kernels.
    """
    y = max(x, -64.0) / 2.0**EXP_SQUARINGS
    value = EXP_COEFFICIENTS[0]
    for k in range(1, 11):
        value = value * y + EXP_COEFFICIENTS[k]
    for _ in range(EXP_SQUARINGS):
        value *= value
    return value


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


LOG_COEFFICIENTS = tuple(2.0 / (log(2.0) * (2 * k + 1)) for k in range(14, -1, -1))
"""log₂ m = s·Σ c_k s^(2k) with s = (m − 1)/(m + 1) ≤ 1/3 for m in [1, 2): the next term is below 1e−15."""
POWER_COEFFICIENTS = tuple(log(2.0) ** k / factorial(k) for k in range(12, -1, -1))
"""2^f for |f| ≤ ½: the next term is below 1e−15."""
MANTISSA, ONE, TWO52 = (1 << 52) - 1, 1023 << 52, 1075 << 52
"""Bits of a double: the mantissa, 1.0, and 2⁵², to which an integer below is added by setting its bits."""
ROUND = 1.5 * 2.0**52
"""Adding and subtracting it rounds to an integer."""


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
