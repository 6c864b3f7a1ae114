"""Which points a call is about, for tokens that are made for some points only; must not know what calls do.

What is not in the table is about more than can be told: such a token may not ask for it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from control.api.part import Parts
from control.identity import Caller
from control.permissions import permit_points
from twin.lists import listed

Given = Mapping[str, Any]


def _one(given: Given) -> Iterable[str] | None:
    return [str(given.get("point", ""))]


def _submitted(given: Given) -> Iterable[str] | None:
    return None if given.get("when") else _one(given)  # a condition tells of the points in it


def _listed(given: Given) -> Iterable[str] | None:
    return listed(str(given.get("points", ""))) or None


def _members(given: Given) -> Iterable[str] | None:
    members = given.get("members")
    return [str(m.get("point", "")) for m in members if isinstance(m, dict)] if isinstance(members, list) else [""]


def _leased(given: Given) -> Iterable[str] | None:
    targets, revert = given.get("targets"), given.get("revert")
    return [*(map(str, targets) if isinstance(targets, list) else [""]), *(revert if isinstance(revert, dict) else ())]


POINTS: Mapping[str, Callable[[Given], Iterable[str] | None]] = {
    "point": lambda given: [str(given.get("name", ""))],
    "trend": _one,
    "export_history": _listed,
    "submit": _submitted,
    "check": _submitted,
    "submit_group": _members,
    "take": _leased,
    "who": lambda _: (),
    "revoke_token": lambda _: (),
}
BY_COMMAND = frozenset({"command", "operate", "cancel", "prediction"})
"""Those that name a command: its point counts."""
SCOPED = frozenset(POINTS) | BY_COMMAND


async def permit_scope(parts: Parts, caller: Caller, name: str, given: Given) -> None:
    """
    Args:
        name: of the route, or the verb.
        given: path, query and body in one.

    Raises:
        NotPermitted: the caller's token is not for it. NotFound: no such command.
    """
    if not caller.points:
        return
    if name in BY_COMMAND:
        permit_points(caller, [(await parts.commands.get(str(given.get("id", "")))).point])
        return
    permit_points(caller, POINTS[name](given) if name in POINTS else None)
