"""When to ask a broker whether it lives, and when to give it up; pure: every time is an argument, in s of one clock."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

ASK_AFTER = 0.75  # of the keep-alive: our PINGREQ must be there before the broker's patience (3.1.2.10) begins to count
LOOK_EVERY = 0.25  # of the keep-alive


class Step(Enum):
    WAIT = "wait"
    ASK = "ask"
    GIVE_UP = "give up"


@dataclass(slots=True)
class Silence:
    """Both directions must have carried something within the keep-alive; a question must be answered in `answer_s`."""

    keepalive_s: float
    answer_s: float
    _asked_at_s: float | None = None

    def step(self, now_s: float, heard_s: float, sent_s: float) -> Step:
        """`heard_s`, `sent_s`: when the last bytes came and went."""
        asked = self._asked_at_s
        if asked is not None and heard_s < asked:
            return Step.GIVE_UP if now_s - asked >= self.answer_s else Step.WAIT
        self._asked_at_s = None
        if now_s - min(heard_s, sent_s) < ASK_AFTER * self.keepalive_s:
            return Step.WAIT
        self._asked_at_s = now_s
        return Step.ASK

    @property
    def look_s(self) -> float:
        """How long to wait before the next step."""
        return LOOK_EVERY * min(self.keepalive_s, self.answer_s)
