"""Chance as arithmetic: counted random numbers and distributions, one uniform a draw; run as it is and compiled.

Philox4x32-10: Salmon et al., "Parallel random numbers: as easy as 1, 2, 3", SC 2011; the words are its known answers'.
One uniform a draw through the inverse survival function gives common random numbers, and remainders of any age.
"""

from __future__ import annotations

import math
import operator

U64 = operator.pos  # in the kernel an unsigned word of 64 bits; here it changes nothing

EXPONENTIAL, CONSTANT, UNIFORM, WEIBULL, LOG_LOGISTIC, LOG_NORMAL, TRIANGULAR = range(7)
"""Kinds of distributions; their parameters a, b and c are in the order of `sim.spec`."""
TINY = 2.0**-52


def philox(x0: int, x1: int, x2: int, x3: int, k0: int, k1: int) -> tuple[int, int, int, int]:
    """Four words of 32 bits from a counter of four and a key of two; of arrays of uint64, word by word."""
    low = U64(0xFFFFFFFF)
    half = U64(32)
    a = U64(x0)
    b = U64(x1)
    c = U64(x2)
    d = U64(x3)
    key = U64(k0)
    other = U64(k1)
    for _ in range(10):
        p = U64(0xD2511F53) * a
        q = U64(0xCD9E8D57) * c
        a = (q >> half) ^ b ^ key
        b = q & low
        c = (p >> half) ^ d ^ other
        d = p & low
        key = (key + U64(0x9E3779B9)) & low
        other = (other + U64(0xBB67AE85)) & low
    return a, b, c, d


def unit(high: int, low: int) -> float:
    """In (0, 1), 52 bits, never an end of it; of arrays too."""
    return ((((high >> U64(6)) << U64(26)) | (low >> U64(6))) + 0.5) * 2.220446049250313e-16


def inverse(kind: int, a: float, b: float, c: float, u: float) -> float:
    """What is exceeded with probability `u`."""
    if kind == EXPONENTIAL:
        return -a * math.log(u)
    if kind == CONSTANT:
        return a
    if kind == UNIFORM:
        return b - (b - a) * u
    if kind == WEIBULL:
        return a * math.pow(-math.log(u), 1.0 / b)
    if kind == LOG_LOGISTIC:
        return a * math.pow((1.0 - u) / u, 1.0 / b)
    if kind == LOG_NORMAL:
        return a * math.exp(-b * normal_quantile(u))
    # A triangle: above its mode when less than the right part of it is asked for.
    if c - a <= 0.0:
        return a
    right = (c - b) / (c - a)
    if u <= right:
        return c - math.sqrt(max(0.0, u * (c - a) * (c - b)))
    return a + math.sqrt(max(0.0, (1.0 - u) * (c - a) * (b - a)))


def survival(kind: int, a: float, b: float, c: float, x: float) -> float:
    """Probability of more than `x`, x >= 0."""
    if kind == EXPONENTIAL:
        return math.exp(-x / a)
    if kind == CONSTANT:
        return 1.0 if x < a else 0.0
    if kind == UNIFORM:
        return 1.0 if x <= a else 0.0 if x >= b else (b - x) / (b - a)
    if kind == WEIBULL:
        return math.exp(-math.pow(x / a, b))
    if kind == LOG_LOGISTIC:
        return 1.0 / (1.0 + math.pow(x / a, b))
    if kind == LOG_NORMAL:
        if x <= 0.0 or b <= 0.0:
            return 1.0 if x < a else 0.0
        return 0.5 * math.erfc(math.log(x / a) / b / 1.4142135623730951)
    if x <= a:
        return 1.0
    if x >= c:
        return 0.0
    if x <= b:
        return 1.0 - (x - a) * (x - a) / ((c - a) * (b - a))
    return (c - x) * (c - x) / ((c - a) * (c - b))


def remaining(kind: int, a: float, b: float, c: float, age: float, u: float) -> float:
    """How much longer, exceeded with probability `u`, when `age` has passed already; 0 past the longest possible."""
    if kind == EXPONENTIAL:
        return inverse(kind, a, b, c, u)  # no age
    alive = survival(kind, a, b, c, age)
    if alive <= 0.0:
        return 0.0
    return max(0.0, inverse(kind, a, b, c, max(u * alive, 1e-300)) - age)


def normal_quantile(p: float) -> float:
    """Standard normal quantile, to about 1e-16 relative (Wichura, algorithm AS 241, PPND16)."""
    q = p - 0.5
    if abs(q) <= 0.425:
        r = 0.180625 - q * q
        top = 2.5090809287301226727e3
        for k in (3.3430575583588128105e4, 6.7265770927008700853e4, 4.5921953931549871457e4, 1.3731693765509461125e4,
                  1.9715909503065514427e3, 1.3314166789178437745e2, 3.3871328727963666080e0):  # fmt: skip
            top = top * r + k
        bottom = 5.2264952788528545610e3
        for k in (2.8729085735721942674e4, 3.9307895800092710610e4, 2.1213794301586595867e4, 5.3941960214247511077e3,
                  6.8718700749205790830e2, 4.2313330701600911252e1, 1.0):  # fmt: skip
            bottom = bottom * r + k
        return q * top / bottom
    r = p if q < 0.0 else 1.0 - p
    r = math.sqrt(-math.log(max(r, 1e-300)))
    if r <= 5.0:
        r -= 1.6
        top = 7.74545014278341407640e-4
        for k in (2.27238449892691845833e-2, 2.41780725177450611770e-1, 1.27045825245236838258e0,
                  3.64784832476320460504e0, 5.76949722146069140550e0, 4.63033784615654529590e0,
                  1.42343711074968357734e0):  # fmt: skip
            top = top * r + k
        bottom = 1.05075007164441684324e-9
        for k in (5.47593808499534494600e-4, 1.51986665636164571966e-2, 1.48103976427480074590e-1,
                  6.89767334985100004550e-1, 1.67638483018380384940e0, 2.05319162663775882187e0, 1.0):  # fmt: skip
            bottom = bottom * r + k
    else:
        r -= 5.0
        top = 2.01033439929228813265e-7
        for k in (2.71155556874348757815e-5, 1.24266094738807843860e-3, 2.65321895265761230930e-2,
                  2.96560571828504891230e-1, 1.78482653991729133580e0, 5.46378491116411436990e0,
                  6.65790464350110377720e0):  # fmt: skip
            top = top * r + k
        bottom = 2.04426310338993978564e-15
        for k in (1.42151175831644588870e-7, 1.84631831751005468180e-5, 7.86869131145613259100e-4,
                  1.48753612908506148525e-2, 1.36929880922735805310e-1, 5.99832206555887937690e-1, 1.0):  # fmt: skip
            bottom = bottom * r + k
    return -top / bottom if q < 0.0 else top / bottom
