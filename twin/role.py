"""Roles of people and programs and what each may do: one table (IEC 62443-3-3, SR 2.1).

Must not know who has a role, or how they signed in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum


class Role(StrEnum):
    """What somebody is to the plant."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    SUPERVISOR = "supervisor"
    ENGINEER = "engineer"
    ADMIN = "admin"
    AUDITOR = "auditor"


class Act(StrEnum):
    """What a right is given for; every route of the API names one."""

    SEE = "see"  # the plant, its history, commands, the ledger; ask in SQL
    SIMULATE = "simulate"  # what-ifs and branches: nothing of it reaches the plant, but it takes the machine's time
    COMMAND = "command"  # submit, operate, cancel, settle; hold a lease; stop
    ACKNOWLEDGE = "acknowledge"  # alarms: acknowledge, confirm, comment, reset, shelve for a while
    SUPPRESS = "suppress"  # alarms: suppress, and shelve for longer
    SERVICE = "service"  # alarms: out of service, and back
    EDIT = "edit"  # the graph, and models in service
    KEEP = "keep"  # back-ups, import into history, registries on the chain
    AUDIT = "audit"  # recompute evidence, anchor it now
    OVERSEE = "oversee"  # who has an account, a session or a token
    ADMINISTER = "administer"  # give and take accounts, sessions and tokens of others


@dataclass(frozen=True, slots=True)
class Rights:
    """`approves`: as whom it may approve what others want, where a policy asks for an approver of that role."""

    may: frozenset[Act]
    approves: frozenset[Role] = frozenset()


_LOOK = frozenset({Act.SEE, Act.SIMULATE})
_RUN = _LOOK | {Act.COMMAND, Act.ACKNOWLEDGE, Act.AUDIT}
_BUILD = _RUN | {Act.SUPPRESS, Act.SERVICE, Act.EDIT, Act.KEEP}
RIGHTS: Mapping[Role, Rights] = {
    Role.VIEWER: Rights(frozenset({Act.SEE})),
    Role.OPERATOR: Rights(_RUN, frozenset({Role.OPERATOR})),
    Role.SUPERVISOR: Rights(_RUN | {Act.SUPPRESS}, frozenset({Role.OPERATOR, Role.SUPERVISOR})),
    Role.ENGINEER: Rights(_BUILD, frozenset({Role.OPERATOR, Role.ENGINEER})),
    Role.ADMIN: Rights(frozenset(Act), frozenset({Role.OPERATOR, Role.SUPERVISOR, Role.ENGINEER, Role.ADMIN})),
    Role.AUDITOR: Rights(frozenset({Act.SEE, Act.AUDIT, Act.OVERSEE})),
}
APPROVERS = tuple(r for r in Role if any(r in rights.approves for rights in RIGHTS.values()))
"""The roles that a policy may ask for."""


def may(role: Role, act: Act) -> bool:
    return act in RIGHTS[role].may


def who_may(act: Act) -> tuple[Role, ...]:
    return tuple(r for r in Role if may(r, act))


def who_approves(approver: Role) -> tuple[Role, ...]:
    """Roles that may approve where a policy asks for `approver`."""
    return tuple(r for r in Role if approver in RIGHTS[r].approves)
