"""Who may do what: judges a caller by the table of twin/role.py, and who may approve whose command; pure.

Must not know how a caller signed in, nor HTTP.
"""

from __future__ import annotations

from control.command import Command, Status
from control.identity import Caller
from twin.errors import NotPermitted
from twin.role import RIGHTS, Act, Role, may, who_approves, who_may


def permit(caller: Caller, act: Act) -> None:
    """
    Raises:
        NotPermitted: the caller's role is not given that right.
    """
    if not may(caller.role, act):
        raise NotPermitted(
            f"{caller.name} is {caller.role} and may not {act}", f"it takes one of: {', '.join(who_may(act))}"
        )


def permit_invitation(caller: Caller) -> None:
    """A login link signs in as somebody else, so only who can read the token's file may ask for one.

    Raises:
        NotPermitted.
    """
    if not caller.owner:
        raise NotPermitted(f"{caller.name} may not make login links", "run `twinloop login` on the server's machine")


def permit_approval(caller: Caller, command: Command) -> None:
    """Approve or reject: by rank, and never the author's own command, by whatever way either came in.

    Raises:
        NotPermitted.
    """
    wanted = Role(command.terms.approver) if command.terms.approver else Role.OPERATOR
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
