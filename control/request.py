"""What a caller asks for: a command as parsed at the edge, and the text by which two requests are the same; pure."""

from __future__ import annotations

import msgspec

from control.command import Priority


class Request(msgspec.Struct, frozen=True):
    """A command as asked for.

    Attributes:
        key: idempotency key, the author's own.
        value: in the point's unit.
        deadline_s: how long it may wait to be sent once nothing else holds it back.
        latest: last moment at which it may be sent, ns since 1970 UTC.
        select: only reserve the point; `operate` follows.
        revision: of the point, as the author last saw it: another one refuses the command.
        at: not before this moment, ns since 1970 UTC.
        at_plant_s: not before the plant's own clock shows this.
        when: not before this expression over the twin holds.
        wait_s: how long `at`, `at_plant_s` and `when` are waited for.
    """

    key: str
    point: str
    value: float
    priority: Priority = Priority.OPERATOR
    deadline_s: float = 30.0
    reason: str = ""
    latest: int | None = None
    select: bool = False
    revision: int | None = None
    at: int | None = None
    at_plant_s: float | None = None
    when: str = ""
    wait_s: float = 86_400.0


def body(request: Request) -> str:
    """Canonical JSON of all but the key."""
    return msgspec.json.encode(msgspec.structs.replace(request, key=""), order="sorted").decode()
