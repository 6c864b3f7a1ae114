"""What the model says of a command before it is sent, and what the plant's policy makes of it; pure: runs no simulation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import msgspec

from control.observed import Held
from sim.plant_job import HORIZON_MAX_S
from sim.plant_model import PlantModel, step_s
from sim.result import Outcome, Result
from sim.scenario import Intervention, Limit, Scenario
from sim.statistics import Difference
from twin.errors import LimitExceeded, Refused, TwinloopError
from twin.interlock import Judgement, Ruling
from twin.policy import Policy, Preflight

SAMPLES = 48  # sample times over the horizon: as many as a fan chart shows
SAMPLE_MIN_S = 60.0
REPLICATIONS_MIN, REPLICATIONS_MAX = 64, 200  # 5 and 95 % quantiles want 200; 64 still tell 5 % of risk from 20 %
STEPS_MAX = 10_000  # model steps of one scenario: 200 replications of 4 h of Net3 took 0.8 s on two idle workers
Fan = tuple[tuple[float, ...], ...]
"""Five rows, the quantiles 5, 25, 50, 75, 95 %, of one value a sample time."""


@dataclass(frozen=True, slots=True)
class Risk:
    """The probability that a limit is violated by the horizon.

    Attributes:
        probability, low, high: with the command, and its 95 % Wilson interval.
        baseline: without the command.
        worse: the command makes a violation likelier; or earlier; or, where neither tells, deeper.
        by: the probability with the command by each sample time.
    """

    limit: str
    probability: float
    low: float
    high: float
    baseline: float
    worse: bool
    by: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Effect:
    """What the command changes of a figure at the horizon: mean of the paired differences, with its 95 % interval."""

    name: str
    unit: str
    mean: float
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Prediction:
    """A forecast of the plant with a command and without it, from the same state and with the same chance.

    Attributes:
        command: its id.
        made_at: when the snapshot was taken, ns since 1970 UTC.
        clock_s: the plant's own time then.
        horizon_s: how far it looks, in the plant's time.
        at_s: when the command acts, after the start.
        assumed: what of its schedule could not be foreseen, "" for nothing.
        held: every settable point of the model that was known at the start.
        started: what the outputs read at the start; None where that was not good.
        noise: standard deviation of an output's instrument, in its unit, where the model states one.
        times_s: sample times after the start, the start included.
        fans, without: output -> its quantiles at those times, with the command and without it; empty once dropped.
    """

    command: str
    point: str
    value: float
    made_at: int
    clock_s: float
    horizon_s: float
    at_s: float
    assumed: str
    seed: int
    replications: int
    state_hash: str
    model_hash: str
    risks: tuple[Risk, ...]
    effects: tuple[Effect, ...]
    held: Mapping[str, Held]
    started: Mapping[str, float | None]
    noise: Mapping[str, float]
    units: Mapping[str, str]
    times_s: tuple[float, ...]
    fans: Mapping[str, Fan]
    without: Mapping[str, Fan]


@dataclass(frozen=True, slots=True)
class Question:
    """What is simulated for one command."""

    scenario: Scenario
    at_s: float
    horizon_s: float
    sample_every_s: float
    replications: int
    seed: int
    assumed: str = ""


def question(
    identity: str, point: str, value: float, at_s: float, assumed: str, policy: Policy, model: PlantModel
) -> Question:
    """The command as an intervention, and how it is looked at.

    Args:
        at_s: when it acts, after now, in the plant's time.

    Raises:
        Refused: the model cannot set the point.
        LimitExceeded: it acts too far ahead.
    """
    if point not in model.sets:
        can = ", ".join(model.sets) or "nothing"
        raise Refused(
            f"the model cannot set {point}, so what the command does cannot be predicted",
            f'it sets {can}: add `sets` to [[model.element]] or a row [[model.set]], or write preflight = "off" for this point',
        )
    horizon_s = at_s + policy.horizon_s
    if horizon_s > HORIZON_MAX_S:
        raise LimitExceeded(
            f"the command acts in {span(at_s)}; forecasts reach {span(HORIZON_MAX_S)} at most",
            "submit it nearer to its time",
        )
    steps = horizon_s / step_s(model)
    return Question(
        scenario=Scenario("command", (Intervention(at_s, point, value),)),
        at_s=at_s,
        horizon_s=horizon_s,
        sample_every_s=min(horizon_s, max(SAMPLE_MIN_S, horizon_s / SAMPLES)),
        replications=int(min(REPLICATIONS_MAX, max(REPLICATIONS_MIN, STEPS_MAX / steps))),
        seed=int.from_bytes(hashlib.sha256(identity.encode()).digest()[:8], "big") >> 1,
        assumed=assumed,
    )


def prediction_of(
    identity: str,
    asked: Question,
    result: Result,
    limits: Sequence[Limit],
    held: Mapping[str, Held],
    started: Mapping[str, float | None],
    noise: Mapping[str, float],
) -> Prediction:
    """What an experiment says of the command: its first scenario is the one with the command."""
    (done,) = result.scenarios
    step = asked.scenario.interventions[0]
    assert step.value is not None
    return Prediction(
        command=identity,
        point=step.point,
        value=float(step.value),
        made_at=result.taken_at,
        clock_s=result.clock_s,
        horizon_s=asked.horizon_s,
        at_s=asked.at_s,
        assumed=asked.assumed,
        seed=result.seed,
        replications=result.replications,
        state_hash=result.state_hash,
        model_hash=result.model_hash,
        risks=tuple(_risk(limit, n, done, result.baseline) for n, limit in enumerate(limits)),
        effects=_effects(done, result.units),
        held=held,
        started=started,
        noise=noise,
        units=result.units,
        times_s=result.times_s,
        fans={name: _rounded(rows) for name, rows in done.fans.items()},
        without={name: _rounded(rows) for name, rows in result.baseline.fans.items()},
    )


def _risk(limit: Limit, n: int, done: Outcome, base: Outcome) -> Risk:
    with_, without = done.limits[n], base.limits[n]
    change = done.differences[f"{limit.point}.final"]
    deeper = _resolved(change) * (-1.0 if limit.downward else 1.0)
    # By the horizon both may be certain, and at a limit that is violated now both are so at once.
    key = (with_.probability[-1], sum(with_.probability), deeper)
    worse = key > (without.probability[-1], sum(without.probability), 0.0)
    return Risk(
        str(limit),
        with_.probability[-1],
        with_.low[-1],
        with_.high[-1],
        without.probability[-1],
        worse,
        tuple(_short(p) for p in with_.probability),
    )


def _resolved(change: Difference) -> float:
    return change.mean if change.resolved else 0.0


def _effects(done: Outcome, units: Mapping[str, str]) -> tuple[Effect, ...]:
    named = [(name, unit, done.differences[f"{name}.final"]) for name, unit in units.items()]
    if "energy_kwh" in done.differences:  # only a network's model tells it
        named.append(("energy_kwh", "kWh", done.differences["energy_kwh"]))
    return tuple(Effect(n, u, d.mean, d.mean - d.half_width, d.mean + d.half_width) for n, u, d in named)


def _rounded(rows: Fan) -> Fan:
    return tuple(tuple(_short(x) for x in row) for row in rows)


def _short(value: float) -> float:
    """Six digits: more than any instrument gives, and a third of the bytes."""
    return float(f"{value:.6g}")


# --- what the policy makes of it -----------------------------------------------------------------------------------------


def bad(prediction: Prediction, policy: Policy) -> tuple[Risk, ...]:
    """The risks for which the command is warned of or refused.

    The absolute probability counts, so that many small steps cannot add up unseen. Yet only what the command makes
    worse: where a limit is violated anyway, whatever helps must still be possible.
    """
    return tuple(r for r in prediction.risks if r.probability > policy.risk_max and r.worse)


def verdict(prediction: Prediction, policy: Policy) -> Judgement:
    """Whether the command may go on; the detail says every risk that speaks against it, or else the largest one."""
    against = bad(prediction, policy)
    ahead = span(prediction.horizon_s)
    if not against:
        largest = sorted(prediction.risks, key=lambda r: -r.probability)[:1]
        said = "; ".join(_said(r, ahead) for r in largest) or f"predicted {ahead} ahead, no limits given"
        return _judged(True, f"pre-flight: {said}{_noted(prediction)}")
    said = f"{'; '.join(_said(r, ahead) for r in against)}; {policy.risk_max:g} is the most{_noted(prediction)}"
    if policy.preflight is Preflight.REFUSE:
        return _judged(False, f"pre-flight refuses: {said}")
    return _judged(True, f"pre-flight warns: {said}")


def unpredicted(error: TwinloopError, policy: Policy) -> Judgement:
    """What becomes of a command that could not be predicted: nothing is refused for the want of a warning."""
    detail = f"pre-flight could not predict: {error.message}"
    return _judged(policy.preflight is not Preflight.REFUSE, detail)


def _judged(allowed: bool, detail: str) -> Judgement:
    return Judgement(allowed, detail, verdicts=(Ruling("preflight", allowed, detail),))


def _said(risk: Risk, ahead: str) -> str:
    return (
        f"P({risk.limit} within {ahead}) = {risk.probability:.2f} ({risk.low:.2f} … {risk.high:.2f}), "
        f"without the command {risk.baseline:.2f}"
    )


def _noted(prediction: Prediction) -> str:
    return f" ({prediction.assumed})" if prediction.assumed else ""


def span(seconds: float) -> str:
    """`2 h`, `1.5 h`, `13 min`, `90 s`, `7 d`: the largest unit that leaves a short number."""
    for unit, size, least_s in (("d", 86_400.0, 86_400.0), ("h", 3600.0, 3600.0), ("min", 60.0, 120.0)):
        if seconds >= least_s and round(seconds / size, 1) * size == seconds:
            return f"{seconds / size:g} {unit}"
    return f"{seconds:g} s" if seconds < 120 else f"{seconds / 60:.0f} min"


# --- as text -------------------------------------------------------------------------------------------------------------


def split(prediction: Prediction) -> tuple[str, str]:
    """(body, fans) as JSON: the fans are most of it, and may be dropped; the body keeps their hash."""
    fans = msgspec.json.encode([prediction.fans, prediction.without], order="sorted")
    body = msgspec.to_builtins(replace(prediction, fans={}, without={}))
    body["fans_sha256"] = hashlib.sha256(fans).hexdigest()
    return msgspec.json.encode(body, order="sorted").decode(), fans.decode()


def join(body: str, fans: str | None) -> Prediction:
    """The prediction of `split`; without its fans where they are gone."""
    made = msgspec.json.decode(body, type=Prediction)
    if fans is None:
        return made
    both = msgspec.json.decode(fans, type=tuple[dict[str, Fan], dict[str, Fan]])
    return replace(made, fans=both[0], without=both[1])
