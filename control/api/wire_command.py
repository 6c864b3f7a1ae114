"""Messages about commands and emergency stops, as wire.py; must not know how they are carried out."""

from __future__ import annotations

from typing import Literal

import msgspec

from control.api.wire import ErrorBody, PriorityName
from control.api.wire_prediction import PredictionRecord


class CommandRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/commands. The same key with the same body gets the same answer for ever.

    A value of an enum may be given by its name; `unit` is checked against the point's. `select` only reserves the point.
    It is sent not before `at` (ms since 1970, or ISO 8601), not before the plant's clock shows `at_plant_s`, not before
    the expression `when` holds, and not after `latest`; for the first three it waits at most `wait_s`.
    """

    key: str
    point: str
    value: float | str
    unit: str | None = None
    priority: PriorityName = "operator"
    deadline_s: float = 30.0
    reason: str = ""
    latest: float | str | None = None
    select: bool = False
    revision: int | None = None
    at: float | str | None = None
    at_plant_s: float | None = None
    when: str = ""
    wait_s: float = 86_400.0


class CommandName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which command is meant, with a reason for what is done to it: it is kept."""

    id: str
    reason: str = ""


class CommandOutcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """How an UNKNOWN command ended, as a person saw it."""

    id: str
    status: Literal["CONFIRMED", "FAILED"]
    reason: str


class Outcome(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/commands/{id}/settle: how an UNKNOWN command ended, as a person saw it."""

    status: Literal["CONFIRMED", "FAILED"]
    reason: str


class CommandsWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which commands, newest first; `status` are words separated by commas, `open` leaves out what has ended."""

    limit: int = 100
    cursor: str = ""
    status: str = ""
    point: str = ""
    author: str = ""
    open: bool = False


class Seen(msgspec.Struct, frozen=True):
    """What was looked at for a step; `quality` in words, `age_s` null where nobody could say it is old."""

    point: str
    value: float | None
    text: str | None
    quality: str
    age_s: float | None


class CommandTransition(msgspec.Struct, frozen=True):
    """One step: `detail` says why, `by` who, "" for the server itself, `seen` what was looked at."""

    status: str
    time: float
    detail: str
    by: str
    seen: list[Seen]


class CommandRecord(msgspec.Struct, frozen=True):
    """One command and all that happened to it: who, why, when and what was seen. `final` statuses never change again.

    `deadline` is the last moment of the waiting it is in now, `waits_for` what it waits for (only in answers, not in
    events). `approvals` people of the role `approver` must approve, `approved_by` have. `prediction`, without its bands,
    is in the answer of one command.
    """

    id: str
    key: str
    point: str
    value: float
    priority: str
    deadline: float
    reason: str
    author: str
    status: str
    final: bool
    observed: float | None
    approvals: int
    approver: str
    approved_by: list[str]
    select: bool
    revision: int | None
    latest: float | None
    at: float | None
    at_plant_s: float | None
    when: str
    group: str
    transitions: list[CommandTransition]
    waits_for: str = ""
    prediction: PredictionRecord | None = None


class CommandPage(msgspec.Struct, frozen=True):
    """GET /api/v1/commands, newest first; `next` is the cursor of the next page, null after the last."""

    commands: list[CommandRecord]
    next: str | None


class CommandCheck(msgspec.Struct, frozen=True):
    """What a command would meet now: nothing was recorded or sent.

    `status` is where it would begin, `detail` why it would be refused or what is warned of, `needs` what its way asks for
    before it is sent, `prediction` what the plant's model says of it, where the policy asks for one.
    """

    allowed: bool
    status: str
    detail: str
    seen: list[Seen]
    needs: list[str]
    prediction: PredictionRecord | None = None


class Nothing(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A call that needs no body."""


class StopInfo(msgspec.Struct, frozen=True):
    """An emergency stop of the plant: every point and what it is set to."""

    id: str
    name: str
    set: dict[str, float]


class StopRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/stop/{id}. The same key is the same stop; without one each call is a new one."""

    key: str = ""
    reason: str = ""


class StopName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which stop is meant; see StopRequest."""

    id: str
    key: str = ""
    reason: str = ""


class StopProblem(msgspec.Struct, frozen=True):
    """A point that could not be commanded, and why; the others were."""

    point: str
    error: ErrorBody


class StopAnswer(msgspec.Struct, frozen=True):
    """One emergency command for every point of the stop."""

    id: str
    name: str
    commands: list[CommandRecord]
    problems: list[StopProblem]
