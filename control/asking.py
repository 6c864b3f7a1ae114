"""What may be asked of the plant as it is, each from its texts to work for a thread; must not know runs or HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from control.lookahead import sample_every_s
from sim.answers import Answers
from sim.beliefs import parse_beliefs
from sim.experiment import Progress
from sim.optimise import Search, search
from sim.question import Question, check
from sim.runner import Runner
from sim.scenario import parse_scenario
from sim.selection import Contest, check_contest, rank
from sim.sensitivity import arms, check_tornado, ends, swing
from sim.whatif import Now, job_of
from twin.errors import BadRequest

Work = Callable[[Runner, Answers, Progress, threading.Event], dict[str, Any]]
"""Answers as plain values. Blocks for as long as that takes; raises Cancelled when the event is set."""


class Kind(StrEnum):
    COMPARE = "compare"
    RANK = "rank"
    TORNADO = "tornado"
    OPTIMISE = "optimise"


@dataclass(frozen=True, slots=True)
class Asking:
    """A question that is understood.

    Attributes:
        about: what is asked, in one line.
        prepare: raises what is wrong with the question or the plant's state, within milliseconds; the work may begin
            after it.
    """

    kind: Kind
    about: str
    prepare: Callable[[Now], Work]


def comparison(scenarios: Sequence[str], horizon_s: float, seed: int, asked: Question) -> Asking:
    """Scenarios with the plant left as it is.

    Raises:
        BadRequest: there is none, or one is not understood.
    """
    if not scenarios:
        raise BadRequest("no scenario", "write at least one, such as pump_335.status=off for 4h")
    options = [parse_scenario(text) for text in scenarios]

    def prepare(now: Now) -> Work:
        job = job_of(now, options, asked, horizon=horizon_s, every=sample_every_s(horizon_s), seed=seed)
        check(job, asked)

        def work(runner: Runner, answers: Answers, progress: Progress, cancel: threading.Event) -> dict[str, Any]:
            return answers.answer(job, asked, runner, progress=progress, cancel=cancel).to_json()

        return work

    return Asking(Kind.COMPARE, " · ".join(scenarios), prepare)


def ranking(scenarios: Sequence[str], horizon_s: float, seed: int, asked: Contest) -> Asking:
    """Which of many scenarios, and of leaving the plant as it is, serves the goal best.

    Raises:
        BadRequest: there is none, or one is not understood.
    """
    if not scenarios:
        raise BadRequest("no scenario", "write at least one; the plant left as it is takes part by itself")
    options = [parse_scenario(text) for text in scenarios]
    asked.check(1 + len(options))
    question = Question(goal=asked.goal)

    def prepare(now: Now) -> Work:
        job = job_of(now, options, question, horizon=horizon_s, every=sample_every_s(horizon_s), seed=seed)
        check_contest(job, asked)

        def work(runner: Runner, _: Answers, progress: Progress, cancel: threading.Event) -> dict[str, Any]:
            return rank(job, asked, runner, progress=progress, cancel=cancel).to_json()

        return work

    return Asking(Kind.RANK, f"{asked.goal}: {' · '.join(scenarios)}", prepare)


def sensitivity(ranges: Sequence[str], horizon_s: float, seed: int, asked: Question) -> Asking:
    """Which parameters matter to the question's figure.

    Raises:
        BadRequest: a range is not understood, or there are none or too many.
    """
    swung = ends(parse_beliefs(ranges))
    scenarios = arms(swung)

    def prepare(now: Now) -> Work:
        job = job_of(now, scenarios, asked, horizon=horizon_s, every=sample_every_s(horizon_s), seed=seed)
        check_tornado(job, asked)

        def work(runner: Runner, _: Answers, progress: Progress, cancel: threading.Event) -> dict[str, Any]:
            return swing(job, swung, asked, runner, progress=progress, cancel=cancel).to_json()

        return work

    return Asking(Kind.TORNADO, f"{asked.kpis[0]}: {' · '.join(ranges)}", prepare)


def optimisation(ranges: Sequence[str], horizon_s: float, seed: int, wanted: Search) -> Asking:
    """Which decisions, each within its range, serve the goal best.

    Args:
        ranges: the decisions as they were written.

    Raises:
        BadRequest: too few or too many, or trials or a risk that cannot be. Unavailable: Optuna is not installed.
    """
    wanted.check()

    def prepare(now: Now) -> Work:
        every = sample_every_s(horizon_s)
        # The winner is judged on chance that the search never saw.
        tried, judge = (wanted.job(now, horizon_s, each, every=every) for each in (seed, seed + 1))

        def work(runner: Runner, _: Answers, progress: Progress, cancel: threading.Event) -> dict[str, Any]:
            return search(tried, judge, wanted, runner, progress=progress, cancel=cancel).to_json()

        return work

    return Asking(Kind.OPTIMISE, f"{wanted.goal}: {' · '.join(ranges)}", prepare)
