"""Results kept by the content of what was asked: state, model, question and seed; must not know how they are computed."""

from __future__ import annotations

import hashlib
import json
import threading
from collections import OrderedDict

from sim.experiment import Progress, answer
from sim.job import Job
from sim.question import Question, asked_as
from sim.result import Result
from sim.runner import Runner
from sim.versions import versions

ANSWERS_MAX = 64  # results of some 100 kB; the one unused longest goes


class Answers:
    """The same question from the same state is computed once. May be shared by threads."""

    def __init__(self, most: int = ANSWERS_MAX) -> None:
        self._most = most
        self._kept: OrderedDict[str, Result] = OrderedDict()
        self._lock = threading.Lock()
        self.hits = 0

    def answer(
        self, job: Job, asked: Question, runner: Runner, *, progress: Progress | None = None,
        cancel: threading.Event | None = None,
    ) -> Result:  # fmt: skip
        """As `sim.experiment.answer`; at once when it is known."""
        key = content_key(job, asked)
        with self._lock:
            known = self._kept.get(key)
            if known is not None:
                self._kept.move_to_end(key)
                self.hits += 1
                return known
        made = answer(job, asked, runner, progress=progress, cancel=cancel)
        with self._lock:
            self._kept[key] = made
            while len(self._kept) > self._most:
                self._kept.popitem(last=False)
        return made


def content_key(job: Job, asked: Question) -> str:
    """SHA-256 over everything that decides the result; not over the backend, for both give the same bits."""
    origin = job.origin
    # Ages in hand count from the moment of the snapshot, so that it matters too.
    content = [origin.plant, origin.taken_at, origin.state_hash, origin.model_hash, asked_as(job, asked), versions()]
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
