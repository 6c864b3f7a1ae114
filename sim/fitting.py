"""Distributions fitted to what was seen, ages of what still goes on included: maximum likelihood; pure.

Standard errors are of the logarithm's curvature at the maximum, carried over to the parameter (delta method).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import optimize, special

from sim.spec import Constant, Distribution, Exponential, LogLogistic, LogNormal, Triangular, Uniform, Weibull
from twin.errors import BadRequest

DURATIONS_MIN = 5  # fewer tell a mean at best
STEP = 1e-4  # of a logarithm, for the curvature

Numbers = NDArray[np.float64]
LogDensity = Callable[[Numbers, Numbers], Numbers]
"""(times, parameters) -> logarithm of density or of survival, of the same shape as the times."""


@dataclass(frozen=True, slots=True)
class Fit:
    """A distribution and how sure its parameters are.

    Attributes:
        errors: standard errors by parameter; nan where the likelihood has no smooth maximum.
        aic: Akaike's criterion: smaller is better, by 2 hardly, by 10 clearly.
        ended, going: how many durations, and how many ages of what went on.
    """

    distribution: Distribution
    errors: Mapping[str, float]
    aic: float
    ended: int
    going: int


def _exponential(x: Numbers, p: Numbers) -> Numbers:
    found: Numbers = -np.log(p[0]) - x / p[0]
    return found


def _exponential_survival(x: Numbers, p: Numbers) -> Numbers:
    found: Numbers = -x / p[0]
    return found


def _weibull(x: Numbers, p: Numbers) -> Numbers:
    z = np.log(x / p[0])
    found: Numbers = np.log(p[1] / p[0]) + (p[1] - 1) * z - np.exp(p[1] * z)
    return found


def _weibull_survival(x: Numbers, p: Numbers) -> Numbers:
    survival: Numbers = -((x / p[0]) ** p[1])
    return survival


def _log_logistic(x: Numbers, p: Numbers) -> Numbers:
    z = p[1] * np.log(x / p[0])
    found: Numbers = np.log(p[1]) - np.log(x) + z - 2 * np.logaddexp(0.0, z)
    return found


def _log_logistic_survival(x: Numbers, p: Numbers) -> Numbers:
    survival: Numbers = -np.logaddexp(0.0, p[1] * np.log(x / p[0]))
    return survival


def _log_normal(x: Numbers, p: Numbers) -> Numbers:
    z = np.log(x / p[0]) / p[1]
    found: Numbers = -np.log(x * p[1]) - 0.5 * z * z - 0.5 * math.log(2 * math.pi)
    return found


def _log_normal_survival(x: Numbers, p: Numbers) -> Numbers:
    survival: Numbers = special.log_ndtr(-np.log(x / p[0]) / p[1])
    return survival


SMOOTH: Mapping[type[Distribution], tuple[LogDensity, LogDensity]] = {
    Exponential: (_exponential, _exponential_survival),
    Weibull: (_weibull, _weibull_survival),
    LogLogistic: (_log_logistic, _log_logistic_survival),
    LogNormal: (_log_normal, _log_normal_survival),
}


def fit(kind: type[Distribution], ended: Sequence[float], going: Sequence[float] = ()) -> Fit:
    """The likeliest distribution of that kind.

    Args:
        ended: whole durations.
        going: ages of what has not ended: it lasts longer than that.

    Raises:
        BadRequest: too few, or none that is positive; a kind that cannot be fitted so.
    """
    x, ages = np.asarray(ended, np.float64), np.asarray(going, np.float64)
    if len(x) < DURATIONS_MIN:
        raise BadRequest(f"{len(x)} durations", f"at least {DURATIONS_MIN} that ended")
    if not (np.isfinite(x).all() and np.isfinite(ages).all() and (x > 0).all() and (ages >= 0).all()):
        raise BadRequest("a duration that is no positive number", "take those out; ages are 0 or more")
    ages = ages[ages > 0]
    if kind not in SMOOTH:
        return _bounded(kind, x, ages)
    density, survival = SMOOTH[kind]

    def loss(logs: Numbers) -> float:
        p = np.exp(logs)
        with np.errstate(over="ignore", invalid="ignore"):
            total = float(density(x, p).sum() + (survival(ages, p).sum() if len(ages) else 0.0))
        return -total if math.isfinite(total) else 1e300

    begin = np.log(_guess(kind, x, ages))
    found = optimize.minimize(
        loss, begin, method="Nelder-Mead", options={"xatol": 1e-8, "fatol": 1e-10, "maxiter": 4000}
    )
    logs = np.asarray(found.x, np.float64)
    numbers = np.exp(logs)
    errors = np.sqrt(np.diag(np.linalg.inv(_curvature(loss, logs)))) * numbers
    told = dict(zip(kind.keys, errors.tolist(), strict=True))
    return Fit(kind(*numbers.tolist()), told, 2 * float(found.fun) + 2 * len(numbers), len(x), len(going))


def best_fit(ended: Sequence[float], going: Sequence[float] = ()) -> tuple[Fit, ...]:
    """All kinds with a smooth likelihood, the likeliest (Akaike) first."""
    return tuple(sorted((fit(kind, ended, going) for kind in SMOOTH), key=lambda f: f.aic))


def _guess(kind: type[Distribution], x: Numbers, ages: Numbers) -> Numbers:
    mean = float(x.sum() + ages.sum()) / len(x)
    if kind is Exponential:
        return np.array([mean])
    sd = max(0.05, float(np.log(x).std()))
    shape = {Weibull: 1.2 / sd, LogLogistic: 1.8 / sd, LogNormal: sd}[kind]
    return np.array([mean if kind is Weibull else float(np.median(np.concatenate([x, ages]))), shape])


def _curvature(loss: Callable[[Numbers], float], at: Numbers) -> Numbers:
    """Second derivatives, shape (n, n)."""
    n = len(at)
    steps = np.eye(n) * STEP
    found = np.empty((n, n))
    for i in range(n):
        for j in range(n):
            signs = ((1, 1, 1), (1, -1, -1), (-1, 1, -1), (-1, -1, 1))
            found[i, j] = sum(s * loss(at + a * steps[i] + b * steps[j]) for a, b, s in signs) / (4 * STEP * STEP)
    return found


def _bounded(kind: type[Distribution], x: Numbers, ages: Numbers) -> Fit:
    """Kinds with ends: the ends are the extremes seen; there is no smooth maximum and so no standard error."""
    if len(ages):
        raise BadRequest(f"ages for a {kind.__name__}", "take Exponential, Weibull, LogLogistic or LogNormal")
    low, high, mean = float(x.min()), float(x.max()), float(x.mean())
    if kind is Constant:
        made: Distribution = Constant(mean)
        errors = {"value": float(x.std(ddof=1)) / math.sqrt(len(x))}
        return Fit(made, errors, math.inf, len(x), 0)
    if kind is Uniform:
        made = Uniform(low, high)
        log_likelihood = -len(x) * math.log(max(high - low, 1e-300))
    elif kind is Triangular:
        made = Triangular(low, min(high, max(low, 3 * mean - low - high)), high)
        log_likelihood = -math.inf  # the extremes have density 0 under it
    else:
        raise BadRequest(f"a {kind.__name__} cannot be fitted", f"one of {', '.join(k.__name__ for k in SMOOTH)}")
    return Fit(made, dict.fromkeys(kind.keys, math.nan), 2 * len(kind.keys) - 2 * log_likelihood, len(x), 0)
