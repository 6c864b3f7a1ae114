"""What can be asked of leases and of groups of commands, as rows of the table of verbs; decides nothing."""

from __future__ import annotations

from typing import Any

from control.api import wire, wire_lease
from control.api.asked import check_unit
from control.api.command_verbs import PAGE_MAX, Verb
from control.api.part import Parts
from control.api.route import API
from control.command import Priority
from control.command_value import number_of
from control.group import GroupRequest, MemberRequest
from control.group import as_body as group_body
from control.identity import Caller
from control.lease import LeaseRequest
from control.lease import as_body as lease_body
from control.permissions import permit_approval
from twin.errors import BadRequest
from twin.role import RIGHTS, Act, Role

Record = dict[str, Any]
PREVIOUS = "previous"


async def take(parts: Parts, caller: Caller, asked: wire_lease.LeaseRequest) -> Record:
    revert = {name: number_of(parts.plant.point(name), value) for name, value in asked.revert.items()}
    request = LeaseRequest(
        asked.key, tuple(asked.targets), asked.ttl_s, Priority[asked.priority.upper()], revert, asked.reason
    )
    return lease_body(await parts.leases.take(request, caller.name))


async def beat(parts: Parts, caller: Caller, asked: wire_lease.LeaseName) -> Record:
    return lease_body(await parts.leases.beat(asked.id, caller.name))


async def release(parts: Parts, caller: Caller, asked: wire_lease.LeaseRelease) -> Record:
    """Whoever may approve as a supervisor may release what others hold: a holder may be stuck."""
    others = Role.SUPERVISOR in RIGHTS[caller.role].approves
    return lease_body(await parts.leases.release(asked.id, caller.name, others=others, revert=asked.revert))


async def lease(parts: Parts, _: Caller, asked: wire_lease.LeaseName) -> Record:
    return lease_body(await parts.leases.get(asked.id))


async def leases(parts: Parts, _: Caller, asked: wire_lease.LivesWanted) -> list[Record]:
    limit = _limit(asked)
    found = parts.leases.held()[::-1][:limit] if asked.open else await parts.leases.newest(limit)
    return [lease_body(x) for x in found]


async def submit_group(parts: Parts, caller: Caller, asked: wire_lease.GroupRequest) -> Record:
    members = tuple(_member(parts, m) for m in asked.members)
    priority = Priority[asked.priority.upper()]
    request = GroupRequest(asked.key, members, asked.order, priority, asked.deadline_s, asked.reason)
    return group_body(await parts.groups.submit(request, caller.name))


def _member(parts: Parts, asked: wire_lease.GroupMember) -> MemberRequest:
    point = parts.plant.point(asked.point)
    if asked.unit is not None:
        check_unit(point, asked.unit, asked.value)
    undo = asked.compensation
    said = undo if undo is None or undo == PREVIOUS else number_of(point, undo)
    return MemberRequest(asked.point, number_of(point, asked.value), said)  # type: ignore[arg-type]


async def cancel_group(parts: Parts, caller: Caller, asked: wire_lease.GroupName) -> Record:
    return group_body(await parts.groups.cancel(asked.id, caller.name, asked.reason))


async def approve_group(parts: Parts, caller: Caller, asked: wire_lease.GroupName) -> Record:
    """Every member that awaits it; nothing is approved unless all of them may be."""
    members = await parts.groups.awaiting(asked.id)
    for command in members:
        permit_approval(caller, command)
    for command in members:
        await parts.commands.approve(command.id, caller.name, asked.reason)
    return group_body(await parts.groups.get(asked.id))


async def reject_group(parts: Parts, caller: Caller, asked: wire_lease.GroupName) -> Record:
    """The first member that awaits approval: the group ends with it."""
    command = (await parts.groups.awaiting(asked.id))[0]
    permit_approval(caller, command)
    await parts.commands.reject(command.id, caller.name, asked.reason)
    return group_body(await parts.groups.get(asked.id))


async def group(parts: Parts, _: Caller, asked: wire_lease.GroupName) -> Record:
    return group_body(await parts.groups.get(asked.id))


async def groups(parts: Parts, _: Caller, asked: wire_lease.LivesWanted) -> list[Record]:
    limit = _limit(asked)
    found = parts.groups.open()[::-1][:limit] if asked.open else await parts.groups.newest(limit)
    return [group_body(team) for team in found]


def _limit(asked: wire_lease.LivesWanted) -> int:
    if not 1 <= asked.limit <= PAGE_MAX:
        raise BadRequest(f"limit={asked.limit}", f"give a number in 1 … {PAGE_MAX}")
    return asked.limit


_LEASE, _GROUP = wire_lease.LeaseRecord, wire_lease.GroupRecord
_LEASES, _GROUPS = f"{API}/leases", f"{API}/groups"
LEASE_VERBS: tuple[Verb, ...] = (
    Verb(
        "take", take, wire_lease.LeaseRequest, _LEASE, "Take the exclusive right to command some points", Act.COMMAND,
        "POST", _LEASES, wire_lease.LeaseRequest, status=201,
    ),
    Verb(
        "leases", leases, wire_lease.LivesWanted, list[wire_lease.LeaseRecord], "Leases, newest first", Act.SEE, "GET",
        _LEASES, query=("limit", "open"),
    ),
    Verb("lease", lease, wire_lease.LeaseName, _LEASE, "One lease", Act.SEE, "GET", f"{_LEASES}/{{id}}"),
    Verb(
        "beat", beat, wire_lease.LeaseName, _LEASE, "Heartbeat of a lease: it has its whole time anew", Act.COMMAND,
        "POST", f"{_LEASES}/{{id}}/beat",
    ),
    Verb(
        "release", release, wire_lease.LeaseRelease, _LEASE, "Release a lease", Act.COMMAND, "POST",
        f"{_LEASES}/{{id}}/release", wire_lease.LeaseEnd,
    ),
    Verb(
        "submit_group", submit_group, wire_lease.GroupRequest, _GROUP, "Submit several commands as one", Act.COMMAND,
        "POST", _GROUPS, wire_lease.GroupRequest, status=202,
    ),
    Verb(
        "groups", groups, wire_lease.LivesWanted, list[wire_lease.GroupRecord], "Groups, newest first", Act.SEE, "GET",
        _GROUPS, query=("limit", "open"),
    ),
    Verb("group", group, wire_lease.GroupName, _GROUP, "One group and its members", Act.SEE, "GET", f"{_GROUPS}/{{id}}"),
    *(
        Verb(
            handler.__name__, handler, wire_lease.GroupName, _GROUP, summary, Act.COMMAND, "POST",
            f"{_GROUPS}/{{id}}/{handler.__name__.removesuffix('_group')}", wire.Reason,
        )
        for handler, summary in (
            (cancel_group, "Stop a group and compensate what took effect"),
            (approve_group, "Approve every member of a group that awaits it"),
            (reject_group, "Refuse a group that awaits approval"),
        )
    ),
)  # fmt: skip
