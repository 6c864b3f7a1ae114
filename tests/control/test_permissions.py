"""Who may do what: every role has its rights, approval goes by rank, and nobody approves an own command or twice."""

from __future__ import annotations

import pytest

from control.api.routes import ROUTES
from control.command import Command, Priority, Status, Terms, Transition, moved
from control.identity import LINK, TOKEN, Caller
from control.permissions import permit, permit_approval, permit_invitation, person
from twin.errors import NotPermitted
from twin.role import APPROVERS, RIGHTS, Act, Role, may, who_approves, who_may

NOW = 10**18
ANYBODY_MAY = {"ticket", "run_query", "sign_out", "login_link"}
"""Handlers that change nothing of the plant, or judge by themselves."""


def awaiting(author: str, approver: str) -> Command:
    status = Status.AWAITING_APPROVAL
    return Command(
        "c1", "k", author, "pump.status", 1.0, Priority.OPERATOR, NOW, "", status,
        (Transition(status, NOW, "submitted", author),), None, Terms(30.0, approvals=2, approver=approver),
    )  # fmt: skip


def who(name: str, role: Role) -> Caller:
    return Caller(name, role, account=True)


def test_every_role_has_a_row_and_sees() -> None:
    assert set(RIGHTS) == set(Role)
    assert all(may(role, Act.SEE) for role in Role)


def test_viewers_and_auditors_command_nothing_and_all_others_do() -> None:
    assert set(who_may(Act.COMMAND)) == {Role.OPERATOR, Role.SUPERVISOR, Role.ENGINEER, Role.ADMIN}
    with pytest.raises(NotPermitted, match="otto is viewer and may not command"):
        permit(who("otto", Role.VIEWER), Act.COMMAND)
    permit(LINK, Act.COMMAND)
    permit(TOKEN, Act.COMMAND)


@pytest.mark.parametrize(
    ("approver", "allowed"),
    [
        (Role.OPERATOR, {Role.OPERATOR, Role.SUPERVISOR, Role.ENGINEER, Role.ADMIN}),
        (Role.SUPERVISOR, {Role.SUPERVISOR, Role.ADMIN}),
        (Role.ENGINEER, {Role.ENGINEER, Role.ADMIN}),
        (Role.ADMIN, {Role.ADMIN}),
    ],
)
def test_who_may_approve_goes_by_rank(approver: Role, allowed: set[Role]) -> None:
    assert set(who_approves(approver)) == allowed
    command = awaiting("anna", approver)
    for role in Role:
        if role in allowed:
            permit_approval(who("otto", role), command)
        else:
            with pytest.raises(NotPermitted, match=r"may not approve or reject"):
                permit_approval(who("otto", role), command)


def test_a_plant_can_ask_only_for_roles_that_somebody_can_have() -> None:
    assert APPROVERS == (Role.OPERATOR, Role.SUPERVISOR, Role.ENGINEER, Role.ADMIN)
    assert all(who_approves(role) for role in APPROVERS)


@pytest.mark.parametrize("author", ["anna", "opcua:anna"])
def test_nobody_approves_an_own_command_by_whatever_way_it_came_in(author: str) -> None:
    with pytest.raises(NotPermitted, match="cannot approve"):
        permit_approval(who("anna", Role.ADMIN), awaiting(author, "supervisor"))
    assert person(author) == "anna"


def test_two_approvals_are_those_of_two_people() -> None:
    once = moved(awaiting("anna", "supervisor"), Status.AWAITING_APPROVAL, NOW + 1, "approved", by="otto")
    with pytest.raises(NotPermitted, match="has approved"):
        permit_approval(who("otto", Role.SUPERVISOR), once)
    permit_approval(who("emma", Role.SUPERVISOR), once)


def test_only_who_reads_the_token_file_makes_links_for_others() -> None:
    permit_invitation(TOKEN)
    for caller in (LINK, who("root", Role.ADMIN)):
        with pytest.raises(NotPermitted, match="twinloop login"):
            permit_invitation(caller)


def test_no_route_that_changes_something_is_open_to_those_who_only_look() -> None:
    for route in ROUTES:
        name = route.handler.__name__
        if route.method == "GET":
            assert route.act is Act.SEE, name
        elif name not in ANYBODY_MAY:
            assert route.act is None if name == "sign_in" else route.act not in (None, Act.SEE), name
