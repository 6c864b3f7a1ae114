"""Searches decisions that serve a goal best, by Optuna (extra `optimise`); must not know backends.

Every trial runs with the same chance, so trials differ by their decisions only. The winner is then compared with the
base on other chance: the best of many trials looks better than it is.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

from sim.beliefs import parse_range
from sim.experiment import Progress, answer, replicate
from sim.job import Job
from sim.kpi import passed_s, values
from sim.question import Question, check
from sim.result import Goal, Result, parse_goal, plain
from sim.runner import Runner
from sim.scenario import BASELINE, Intervention, Limit, Scenario, parse_limit
from sim.whatif import Base, job_of, lent
from twin.errors import BadRequest, Unavailable

TRIALS_MAX = 2_000
DECISIONS_MAX = 20
TRIALS, REPLICATIONS, RISK = 60, 128, 0.05
BELIEVED = 4  # times the replications of a trial, for the comparison of the winner with the base

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

    def to_json(self) -> dict[str, Any]:
        """Values that any JSON encoder takes."""
        result = self.result.to_json()
        return {
            "decisions": dict(self.decisions), "seen": plain(self.seen), "trials": self.trials, "result": result,
            "plan": result["plan"],
        }  # fmt: skip

    def __str__(self) -> str:
        found = ", ".join(f"{name} = {value}" for name, value in self.decisions.items())
        return f"best of {self.trials} trials: {found}\n{self.result}"


@dataclass(frozen=True, slots=True)
class Search:
    """What is searched, and how long.

    Attributes:
        decisions: what may be set from the start on, and from where to where.
        limits, risk: a trial in which a limit is passed more often than `risk` is not taken.
        replications: of a trial.
    """

    decisions: Mapping[str, Decision]
    goal: Goal
    limits: tuple[Limit, ...] = ()
    risk: float = RISK
    trials: int = TRIALS
    replications: int = REPLICATIONS

    @property
    def corners(self) -> tuple[Scenario, ...]:
        """All decisions at their one and at their other end: what no model takes is found with them."""
        return tuple(_setting({name: d[end] for name, d in self.decisions.items()}, f"end {end}") for end in (0, -1))

    def check(self) -> None:
        """
        Raises:
            Unavailable: Optuna is not installed. BadRequest: too few or too many decisions or trials, or no such risk.
        """
        _optuna()
        if not 1 <= len(self.decisions) <= DECISIONS_MAX or not 1 <= self.trials <= TRIALS_MAX:
            count = f"{len(self.decisions)} decisions, {self.trials} trials"
            raise BadRequest(count, f"1 … {DECISIONS_MAX}, 1 … {TRIALS_MAX}")
        if not 0 <= self.risk < 1:
            raise BadRequest(f"a risk of {self.risk:g}", "a share from 0 to below 1, such as 0.05")

    def job(self, base: Base, horizon: str | float, seed: int, **asked: Any) -> Job:
        """A job that the trials are variants of.

        Raises:
            Unavailable, BadRequest: as `check`, or a decision that cannot be. LimitExceeded: too much memory.
            Refused: as `sim.whatif.compare`.
        """
        self.check()
        question = Question(BELIEVED * self.replications, limits=self.limits, goal=self.goal)
        job = job_of(base, self.corners, question, horizon=horizon, seed=seed, **asked)
        check(job, question)
        return job


def optimise(
    base: Base, decisions: Mapping[str, Decision], *, goal: str, horizon: str | float, trials: int = TRIALS,
    replications: int = REPLICATIONS, limits: Sequence[str] = (), risk: float = RISK, seed: int = 1,
    runner: Runner | None = None, progress: Progress | None = None, cancel: threading.Event | None = None,
    **asked: Any,
) -> Optimum:  # fmt: skip
    """Decisions from the start on that serve the goal best.

    Args:
        decisions, limits, risk: as `Search`.
        asked: more of `sim.whatif.job_of`.

    Raises:
        Unavailable: Optuna is not installed.
        BadRequest: no decision, too many trials, or none keeps the limits.
    """
    wanted = Search(decisions, parse_goal(goal), tuple(map(parse_limit, limits)), risk, trials, replications)
    job = wanted.job(base, horizon, seed, **asked)
    judge = wanted.job(base, horizon, seed + 1, **asked)
    with lent(runner) as hired:
        return search(job, judge, wanted, hired, progress=progress, cancel=cancel)


def search(
    job: Job, judge: Job, wanted: Search, runner: Runner, *, progress: Progress | None = None,
    cancel: threading.Event | None = None,
) -> Optimum:  # fmt: skip
    """Tries with the chance of `job`; compares the winner with the base on that of `judge`. Blocks for its whole time.

    Raises:
        BadRequest: no trial keeps the limits. Cancelled: `cancel` was set. Refused: as `sim.whatif.compare`.
    """
    optuna = _optuna()
    planned = (wanted.trials + BELIEVED) * wanted.replications
    known: dict[str, float | None] = {}

    def tried(trial: Any) -> float:
        told = None if progress is None else partial(_onward, progress, trial.number * wanted.replications, planned)
        chosen = {name: _suggested(trial, name, decision) for name, decision in wanted.decisions.items()}
        key = json.dumps(chosen, sort_keys=True)
        if key not in known:
            known[key] = _score(job.asking([_setting(chosen)]), wanted, runner, told, cancel)
        score = known[key]
        if score is None:
            raise optuna.TrialPruned
        return score

    study = optuna.create_study(direction="maximize", sampler=optuna.samplers.TPESampler(seed=job.seed % 2**32))
    study.optimize(tried, n_trials=wanted.trials)
    if all(score is None for score in known.values()):
        raise BadRequest(f"none of {wanted.trials} trials keeps the limits", "widen the decisions, or allow more risk")
    best = study.best_trial
    count = BELIEVED * wanted.replications
    asked = Question(count, kpis=(wanted.goal.kpi,), limits=wanted.limits, goal=wanted.goal)
    last = None if progress is None else partial(_onward, progress, wanted.trials * wanted.replications, planned)
    both = judge.asking([BASELINE, _setting(dict(best.params))])
    result = answer(both, asked, runner, progress=last, cancel=cancel)
    return Optimum(dict(best.params), wanted.goal.sign * float(best.value), wanted.trials, result)


def _onward(progress: Progress, before: int, planned: int, done: int, _: int) -> None:
    """The progress of one trial as that of the whole search."""
    progress(before + done, planned)


def _score(
    job: Job, wanted: Search, runner: Runner, progress: Progress | None, cancel: threading.Event | None
) -> float | None:
    """How well the job's only scenario serves the goal; None when it passes a limit too often."""
    block, _ = replicate(job, Question(wanted.replications), runner, progress, cancel)
    for limit in wanted.limits:
        if float((passed_s(job, block, 0, limit) <= job.horizon_s).mean()) > wanted.risk:
            return None
    return wanted.goal.sign * float(values(job, block, 0, wanted.goal.kpi).mean())


def parse_decisions(texts: Sequence[str]) -> dict[str, Decision]:
    """`crew.size=1..3` are whole numbers, `filler.speed=0.5..1.5` or `1..3.0` any between.

    Raises:
        BadRequest: not of that form, the wrong way round, or something comes twice.
    """
    found: dict[str, Decision] = {}
    for text in texts:
        name, low, high = parse_range(text)
        if name in found:
            raise BadRequest(f"{name} has two ranges", "give it one")
        if float(low) > float(high):
            raise BadRequest(f"{name} from {low} to {high}", "give the lower end first")
        whole = low.lstrip("-").isdigit() and high.lstrip("-").isdigit()
        found[name] = (int(low), int(high)) if whole else (float(low), float(high))
    return found


def _suggested(trial: Any, name: str, decision: Decision) -> float | str:
    low, high = decision[0], decision[-1]
    if isinstance(low, str):
        return str(trial.suggest_categorical(name, list(decision)))
    if isinstance(low, int) and isinstance(high, int):
        return int(trial.suggest_int(name, low, high))
    return float(trial.suggest_float(name, low, high))


def _setting(chosen: Mapping[str, float | str], name: str = "best") -> Scenario:
    steps = (Intervention(0.0, n, v if isinstance(v, str) else float(v)) for n, v in chosen.items())
    return Scenario(name, tuple(steps))


def _optuna() -> Any:
    try:
        import optuna
    except ImportError:
        raise Unavailable("Optuna is not installed", "pip install 'twinloop[optimise]'") from None
    optuna.logging.set_verbosity(optuna.logging.WARNING)
    return optuna
