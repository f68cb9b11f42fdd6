"""Exponentials and logarithms in compiled loops, which vectorise: relative error 4e−16. Exponents may be kept apart."""

from decimal import Decimal, localcontext
from math import factorial, log
from typing import Any

from numba import njit

from gridflow.sums.elementary import ROUND, bits_of, from_bits

inlined: Any = njit(fastmath={"contract"}, nogil=True, error_model="numpy", forceinline=True)

LOG2 = log(2.0)
LOG2_HIGH = float.fromhex("0x1.62e42feep-1")
with localcontext(prec=50):
    LOG2_LOW = float(Decimal(2).ln() - Decimal(LOG2_HIGH))
"""log 2 in two parts, the first of 32 bits: its product with an exponent is exact."""
EXP_COEFFICIENTS = tuple(1.0 / factorial(k) for k in range(12, -1, -1))
"""e^x for |x| ≤ log(2)/2: the next term is below 2e−16."""
LOG_COEFFICIENTS = tuple(2.0 / (2 * k + 1) for k in range(11, -1, -1))
"""log m = Σ c_k s^(2k+1) with s = (m − 1)/(m + 1) ≤ 0.172 for m between √½ and √2."""
ROUND_BITS = 0x4338 << 48
ROOT_HALF_BITS = 0x3FE6A09E667F3BCD
"""Bits of ROUND = 1.5·2⁵² and of √½."""


@inlined
def power_of_two(k):
    """2^k of an integer k in [−1022, 1024), zero below, infinite above."""
    return from_bits((min(max(k, -1023), 1024) + 1023) << 52)


@inlined
def scaled_exponential(x):
    """(k, e^x/2^k) with an integer k and a number between √½ and √2."""
    whole = x * (1 / LOG2) + ROUND
    k = whole - ROUND
    rest = (x - k * LOG2_HIGH) - k * LOG2_LOW
    value = EXP_COEFFICIENTS[0]
    for i in range(1, 13):
        value = value * rest + EXP_COEFFICIENTS[i]
    return bits_of(whole) - ROUND_BITS, value


@inlined
def logarithm(x, k):
    """log(2^k x) of a normal positive number and an integer; not a number where x is none."""
    bits = bits_of(x)
    exponent = (bits - ROOT_HALF_BITS) >> 52
    m = from_bits(bits - (exponent << 52))
    s = (m - 1.0) / (m + 1.0)
    square = s * s
    series = LOG_COEFFICIENTS[0]
    for i in range(1, 12):
        series = series * square + LOG_COEFFICIENTS[i]
    e = float(exponent + k)
    return e * LOG2_HIGH + (s * series + e * LOG2_LOW) + 0.0 * x
