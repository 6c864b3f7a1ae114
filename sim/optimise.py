"""Searches decisions that serve a goal best, by Optuna (extra `optimise`); must not know backends.

Every trial runs with the same chance, so trials differ by their decisions only. The winner is then compared with the
base on other chance: the best of many trials looks better than it is.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from sim.experiment import replicate
from sim.kpi import values
from sim.question import Question
from sim.result import Result, parse_goal
from sim.runner import Runner
from sim.scenario import Intervention, Scenario, parse_limit
from sim.whatif import Base, compare, job_of, lent
from twin.errors import BadRequest, Unavailable

TRIALS_MAX = 2_000
DECISIONS_MAX = 20

Decision = tuple[float, float] | tuple[int, int] | Sequence[str]
"""Bounds of a number, bounds of a whole number (both int), or the states to choose from."""


@dataclass(frozen=True, slots=True)
class Optimum:
    """The best decisions found, and how they do on chance that the search never saw.

    Attributes:
        seen: goal's mean in the search; `result` is what to believe.
    """

    decisions: Mapping[str, float | str]
    seen: float
    trials: int
    result: Result


def optimise(
    base: Base, decisions: Mapping[str, Decision], *, goal: str, horizon: str | float, trials: int = 60,
    replications: int = 128, limits: Sequence[str] = (), risk: float = 0.05, seed: int = 1,
    runner: Runner | None = None, **asked: Any,
) -> Optimum:  # fmt: skip
    """Decisions from the start on that serve the goal best.

    Args:
        decisions: what may be set, and from where to where.
        limits, risk: a trial in which a limit is passed more often than `risk` is not taken.
        asked: more of `sim.whatif.job_of`.

    Raises:
        Unavailable: Optuna is not installed.
        BadRequest: no decision, too many trials, or none keeps the limits.
    """
    optuna = _optuna()
    if not 1 <= len(decisions) <= DECISIONS_MAX or not 1 <= trials <= TRIALS_MAX:
        raise BadRequest(f"{len(decisions)} decisions, {trials} trials", f"1 … {DECISIONS_MAX}, 1 … {TRIALS_MAX}")
    wanted, parsed = parse_goal(goal), tuple(map(parse_limit, limits))
    job = job_of(base, (), Question(limits=parsed, goal=wanted), horizon=horizon, seed=seed, **asked)
    passing = [f"{x.point}.{'min' if x.sign == '<' else 'max'}" for x in parsed]
    known: dict[str, float | None] = {}

    with lent(runner) as hired:

        def tried(trial: Any) -> float:
            chosen = {name: _suggested(trial, name, decision) for name, decision in decisions.items()}
            key = json.dumps(chosen, sort_keys=True)
            if key not in known:
                some = job.asking([_setting(chosen)])
                block, _ = replicate(some, Question(replications), hired)
                shares = []
                for limit, name in zip(parsed, passing, strict=True):
                    extreme = values(some, block, 0, name)
                    shares.append(float((extreme < limit.value if limit.sign == "<" else extreme > limit.value).mean()))
                kept = all(share <= risk for share in shares)
                known[key] = wanted.sign * float(values(some, block, 0, wanted.kpi).mean()) if kept else None
            score = known[key]
            if score is None:
                raise optuna.TrialPruned
            return score

        study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=seed % 2**32))
        study.optimize(tried, n_trials=trials)
        if all(score is None for score in known.values()):
            raise BadRequest(f"none of {trials} trials keeps the limits", "widen the decisions, or allow more risk")
        best = study.best_trial
        option = _setting(dict(best.params))
        result = compare(
            base, [option], horizon=horizon, kpis=[wanted.kpi], goal=goal, limits=limits, replications=4 * replications,
            seed=seed + 1, runner=hired, **asked,
        )  # fmt: skip
    return Optimum(dict(best.params), wanted.sign * float(best.value), trials, result)


def _suggested(trial: Any, name: str, decision: Decision) -> float | str:
    low, high = decision[0], decision[-1]
    if isinstance(low, str):
        return str(trial.suggest_categorical(name, list(decision)))
    if isinstance(low, int) and isinstance(high, int):
        return int(trial.suggest_int(name, low, high))
    return float(trial.suggest_float(name, low, high))


def _setting(chosen: Mapping[str, float | str]) -> Scenario:
    steps = (Intervention(0.0, n, v if isinstance(v, str) else float(v)) for n, v in chosen.items())
    return Scenario("best", tuple(steps))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise Unavailable("Optuna is not installed", "pip install 'twinloop[optimise]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
