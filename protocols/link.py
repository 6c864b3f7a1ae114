"""What every link is and says: three verbs, a state and a sink for what it hears; must not know any one protocol."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from twin.points import Point
from twin.readings import Readings

Clock = Callable[[], int]
"""Now in ns since 1970 UTC."""


class LinkState(StrEnum):
    """Where a link stands. Only ONLINE delivers readings."""

    CONNECTING = "connecting"
    ONLINE = "online"
    OFFLINE = "offline"
    STOPPED = "stopped"


class WriteOutcome(StrEnum):
    """What is known of a write. UNKNOWN: bytes may have left and no answer came; the device may have acted."""

    ACCEPTED = "accepted"
    REFUSED = "refused"
    NOT_SENT = "not_sent"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Verdict:
    """The device's answer to a write; `detail` carries its status code or the reason in words."""

    outcome: WriteOutcome
    detail: str = ""


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """Something a device said that could not be believed, kept with the raw bytes (at most RAW_MAX) and the reason.

    Attributes:
        device: device id.
        point: point name when the address was understood, else "".
        address: topic, register or node it came from.
        reason: one of `decode`, `type`, `nan`, `range`, `enum`, `schema`, `unknown_address`, `truncated`, `overflow`,
            `source_time`.
        detail: the reason in words.
        raw: the bytes as received.
        received_time: ns since 1970 UTC.
        source_time: when the source took it, ns since 1970 UTC; None where that is not known or not believed.
    """

    device: str
    point: str
    address: str
    reason: str
    detail: str
    raw: bytes
    received_time: int
    source_time: int | None = None


RAW_MAX = 4096  # bytes of one dead letter kept: a whole Modbus frame, the head of a large MQTT payload


class Sink(Protocol):
    """Where a link puts what it hears. Called on the event loop's thread only; never blocks."""

    def readings(self, batch: Readings) -> None: ...

    def dead_letter(self, letter: DeadLetter) -> None: ...

    def heard(self, device_id: str) -> None:
        """The device proved to be alive and its subscriptions valid: its unchanged values still hold.

        For links that are told of changes only. One that polls confirms each value by reading it.
        """

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None: ...

    def metric(self, device_id: str, name: str, value: float) -> None:
        """A figure of the link itself; all but `lag_ms` and `queued` count up from the start of the link.

        `lag_ms` (a heartbeat, or a whole polling cycle), `queued` (what waits in the link's own queue), `reconnects`,
        `dropped` (messages that found a full queue), `rejected` (values not believed), `letters_held` (of those, the
        ones over the limit of dead letters), `late_answers` (answers that came after their time-out).
        """


class Link(Protocol):
    """A connection to one device that heals itself for as long as `run` runs."""

    async def run(self) -> None:
        """Connect, deliver, reconnect with back-off; ends only by cancellation, leaving nothing behind."""

    async def write(self, point: Point, value: float, timeout_s: float) -> Verdict:
        """Write one value given in the twin's unit. Never raises for what a device does."""

    async def read(self, point: Point, timeout_s: float) -> Readings | None:
        """Ask the device itself now (not a cache); also goes to the sink. None: no usable answer."""


@dataclass(slots=True)
class Backoff:
    """Full-jitter exponential back-off: waits are uniform in [half, whole] of a doubling step.

    Attributes:
        chance: source of the jitter, injected so that runs replay.
    """

    chance: random.Random
    first_s: float = 0.25
    max_s: float = 10.0
    step_s: float = 0.0

    def next_s(self) -> float:
        self.step_s = min(self.max_s, self.step_s * 2 or self.first_s)
        return self.chance.uniform(self.step_s / 2, self.step_s)

    def reset(self) -> None:
        self.step_s = 0.0
