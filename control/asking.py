"""What may be asked of the plant as it is, each from its texts to work for a thread; must not know runs or HTTP."""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from typing import Any

from control.lookahead import sample_every_s
from sim.answers import Answers
from sim.experiment import Progress
from sim.question import Question, check
from sim.runner import Runner
from sim.scenario import parse_scenario
from sim.whatif import Now, job_of
from twin.errors import BadRequest

Work = Callable[[Runner, Answers, Progress, threading.Event], dict[str, Any]]
"""Answers as plain values. Blocks for as long as that takes; raises Cancelled when the event is set."""

Asking = Callable[[Now], Work]
"""Raises what is wrong with the question or the plant's state, within milliseconds; the work may begin after it."""


def comparison(scenarios: Sequence[str], horizon_s: float, seed: int, asked: Question) -> Asking:
    """Scenarios with the plant left as it is.

    Raises:
        BadRequest: there is none, or one is not understood.
    """
    if not scenarios:
        raise BadRequest("no scenario", "write at least one, such as pump_335.status=off for 4h")
    options = [parse_scenario(text) for text in scenarios]

    def asking(now: Now) -> Work:
        job = job_of(now, options, asked, horizon=horizon_s, every=sample_every_s(horizon_s), seed=seed)
        check(job, asked)

        def work(runner: Runner, answers: Answers, progress: Progress, cancel: threading.Event) -> dict[str, Any]:
            return answers.answer(job, asked, runner, progress=progress, cancel=cancel).to_json()

        return work

    return asking
