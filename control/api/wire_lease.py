"""Messages about leases and groups of commands, as wire.py; must not know how they are carried out."""

from __future__ import annotations

from typing import Literal

import msgspec

from control.api.wire import PriorityName


class LifeStep(msgspec.Struct, frozen=True):
    """One step in the life of a lease or a group: `detail` says why, `by` who, "" for the server itself."""

    status: str
    time: float
    detail: str
    by: str


class LeaseRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/leases. The same key with the same body gets the same lease for ever.

    `targets` are points, or ids of twins: then all their writable points. Without a heartbeat for `ttl_s` (1 … 300) the
    lease ends and the points of `revert` are commanded to their values, in class safety. `priority` is the lease's class:
    who is strictly more urgent preempts it.
    """

    key: str
    targets: list[str]
    ttl_s: float = 30.0
    priority: Literal["safety", "operator", "schedule", "optimiser"] = "operator"
    revert: dict[str, float | str] = {}
    reason: str = ""


class LeaseName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lease is meant."""

    id: str


class LeaseEnd(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/leases/{id}/release. `revert` commands what was declared for a lost heartbeat."""

    revert: bool = False


class LeaseRelease(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which lease is released, and whether its points are reverted."""

    id: str
    revert: bool = False


class LivesWanted(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which leases or groups, newest first; `open` leaves out what has ended."""

    limit: int = 100
    open: bool = False


class LeaseRecord(msgspec.Struct, frozen=True):
    """Who holds what: `targets` are points, `since` when it was taken, `beat` when its holder was last heard.

    It ends at `until` if nothing is heard by then; null once it has ended. `steps` tell how.
    """

    id: str
    key: str
    holder: str
    status: str
    targets: list[str]
    priority: str
    ttl_s: float
    revert: dict[str, float]
    reason: str
    since: float
    beat: float
    until: float | None
    steps: list[LifeStep]


class GroupMember(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One command of a group. `compensation` undoes it: a value, `previous` for what the point reports now, or null."""

    point: str
    value: float | str
    unit: str | None = None
    compensation: float | str | None = None


class GroupRequest(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """POST /api/v1/groups. The same key with the same body gets the same group for ever.

    In `sequence` a member is sent when the one before is CONFIRMED, `together` all at once. When one does not come about,
    the others are cancelled, and what took effect is compensated, the last first.
    """

    key: str
    members: list[GroupMember]
    order: Literal["sequence", "together"] = "sequence"
    priority: PriorityName = "operator"
    deadline_s: float = 30.0
    reason: str = ""


class GroupName(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Which group is meant, with a reason for what is done to it: it is kept."""

    id: str
    reason: str = ""


class GroupMemberRecord(msgspec.Struct, frozen=True):
    """`command` and `compensation` are ids of commands; null where there is none. `undo` is what compensates it."""

    point: str
    value: float
    undo: float | None
    command: str | None
    status: str | None
    compensation: str | None
    compensation_status: str | None


class GroupRecord(msgspec.Struct, frozen=True):
    """A group, its members in order of steps, and all that happened to it."""

    id: str
    key: str
    author: str
    status: str
    final: bool
    order: str
    priority: str
    deadline_s: float
    reason: str
    members: list[GroupMemberRecord]
    steps: list[LifeStep]
