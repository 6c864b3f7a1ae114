"""The plant as it was, and what happened in it, as they travel; must not know how they are found. Times are ms since 1970."""

from __future__ import annotations

import msgspec

from control.api.wire import Columns


class PastAlarm(msgspec.Struct, frozen=True):
    """An alarm that was active then. `since`: when it came.

    `acked`: somebody had acknowledged that it came, or the plant asks nobody to. `value`: null where it came with none.
    `silent`: it was shelved, suppressed or out of service: nobody was told of it.
    """

    alarm: str
    twin: str
    point: str
    priority: str
    since: float
    value: float | None
    acked: bool
    silent: bool


class PastCommand(msgspec.Struct, frozen=True):
    """A command that was not over then, and how far it was."""

    id: str
    point: str
    value: float | None
    author: str
    status: str
    since: float


class PlantState(msgspec.Struct, frozen=True):
    """GET /api/v1/state: every point that had been read, as of `at`, by what was known at `known`.

    The bytes of `columns` are base64 in JSON. `alarms` and `commands` at most 500 each, the newest first.
    """

    at: float
    known: float
    columns: Columns
    alarms: list[PastAlarm]
    commands: list[PastCommand]


class Happening(msgspec.Struct, frozen=True):
    """An entry of the ledger as one thing that happened: a step of an alarm or command, an edit, a start …

    `subject`: the alarm, edit or task; `detail` of an alarm is its priority. `twins` and `points` that it touches.
    """

    entry: int
    time: float
    kind: str
    action: str
    by: str
    subject: str
    command: str
    value: float | None
    outcome: str
    reason: str
    detail: str
    twins: list[str]
    points: list[str]


class Happenings(msgspec.Struct, frozen=True):
    """GET /api/v1/happenings: newest first; `next` is `before` of the page after, null when this is the last."""

    happenings: list[Happening]
    next: int | None
