"""Who may do what: judges a caller by the table of twin/role.py, and who may approve whose command; pure.

Must not know how a caller signed in, nor HTTP.
"""

from __future__ import annotations

from collections.abc import Iterable

from control.command import Command, Status
from control.identity import Caller
from twin.errors import NotPermitted
from twin.role import RIGHTS, Act, Role, may, who_approves, who_may


def permit(caller: Caller, act: Act) -> None:
    """
    Raises:
        NotPermitted: the caller's role is not given that right, or its token is not made for it.
    """
    if caller.owner:
        return
    if not may(caller.role, act):
        raise NotPermitted(
            f"{caller.name} is {caller.role} and may not {act}", f"it takes one of: {', '.join(who_may(act))}"
        )
    if caller.acts is not None and act not in caller.acts:
        raise NotPermitted(
            f"this token may not {act}", f"it was made for: {', '.join(sorted(caller.acts))}; make another one"
        )


def acts_of(caller: Caller) -> frozenset[Act]:
    """All that it may."""
    given = frozenset(Act) if caller.owner else RIGHTS[caller.role].may
    return given if caller.acts is None else given & caller.acts


def permit_points(caller: Caller, points: Iterable[str] | None) -> None:
    """A token that was made for some points touches these only.

    Args:
        points: what is asked for; None when that cannot be told, as of a statement in SQL.

    Raises:
        NotPermitted.
    """
    if not caller.points:
        return
    if points is None:
        raise NotPermitted(
            "this token is for some points only, and this is about more", "docs/security.md says what works"
        )
    for point in points:
        if not point.startswith(caller.points):
            raise NotPermitted(f"this token is not for {point[:80]}", f"it was made for: {', '.join(caller.points)}")


def permit_person(caller: Caller, account: str) -> None:
    """Change what is one's own; of others it takes who administers them. No program by its token.

    Raises:
        NotPermitted.
    """
    if caller.token:
        raise NotPermitted("a token cannot change who may do what", "sign in as a person")
    if not (caller.account and caller.name == account):
        permit(caller, Act.ADMINISTER)


def permit_invitation(caller: Caller) -> None:
    """A login link signs in as somebody else, so only who can read the token's file may ask for one.

    Raises:
        NotPermitted.
    """
    if not caller.owner:
        raise NotPermitted(f"{caller.name} may not make login links", "run `twinloop login` on the server's machine")


def permit_shelf(caller: Caller, for_s: float, operator_s: float) -> None:
    """An operator shelves an alarm for a while, a supervisor for longer (ISA-18.2, 5.3: authorised and limited).

    Raises:
        NotPermitted.
    """
    if for_s > operator_s and not may(caller.role, Act.SUPPRESS):
        raise NotPermitted(
            f"{caller.name} is {caller.role} and may not shelve for {for_s:g} s",
            f"{operator_s:g} s at most, or it takes one of: {', '.join(who_may(Act.SUPPRESS))}",
        )


def permit_approval(caller: Caller, command: Command) -> None:
    """Approve or reject: by rank, and never the author's own command, by whatever way either came in.

    Raises:
        NotPermitted.
    """
    wanted = Role(command.terms.approver) if command.terms.approver else Role.OPERATOR
    if caller.token:
        raise NotPermitted("a token approves and rejects nothing", "it takes a person who has signed in")
    if wanted not in RIGHTS[caller.role].approves:
        raise NotPermitted(
            f"{caller.name} is {caller.role} and may not approve or reject command {command.id}",
            f"it takes one of: {', '.join(who_approves(wanted))}",
        )
    if person(caller.name) == person(command.author):
        raise NotPermitted(
            f"{caller.name} asked for command {command.id} and cannot approve or reject it",
            "somebody else must; its author can cancel it",
        )
    if command.status is Status.AWAITING_APPROVAL and person(caller.name) in map(person, command.approvers):
        raise NotPermitted(f"{caller.name} has approved command {command.id} already", "another person must, too")


def person(author: str) -> str:
    """Who is behind an author: `opcua:anna` and `anna` are one person with one account, and so is `ANNA`."""
    return author.rpartition(":")[2].casefold()
