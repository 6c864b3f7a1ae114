"""Who may do what: every role has its rights, approval goes by rank, and nobody approves an own command or twice."""

from __future__ import annotations

from pathlib import Path

import pytest

from control.api.routes import ROUTES
from control.api.scope import SCOPED
from control.api.verbs import VERBS
from control.command import Command, Priority, Status, Terms, Transition, moved
from control.identity import LINK, TOKEN, Caller
from control.permissions import acts_of, permit, permit_approval, permit_invitation, permit_points, person
from control.settings import KEYS
from tests.control.rights_of_routes import OF_ROUTE, OF_VERB
from twin.errors import NotPermitted
from twin.role import APPROVERS, RIGHTS, Act, Role, may, who_approves, who_may

NOW = 10**18


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


def test_every_route_and_every_verb_has_a_row_and_is_as_it_says() -> None:
    routes = {f"{r.method} {r.path}": r.act for r in ROUTES}
    assert set(routes) == set(OF_ROUTE), "say in tests/control/rights_of_routes.py who may"
    judges_itself = {"POST /api/v1/login-link"}
    for name, act in routes.items():
        if name not in judges_itself:
            assert OF_ROUTE[name] == (None if act is None else set(who_may(act))), name
    verbs = {v.name: v.act for v in VERBS}
    assert set(verbs) == set(OF_VERB), "say in tests/control/rights_of_routes.py who may"
    assert {n: set(who_may(a)) for n, a in verbs.items()} == OF_VERB


def test_what_changes_something_is_open_to_nobody_who_only_looks() -> None:
    own = {
        "POST /api/v1/ticket", "POST /api/v1/query", "DELETE /api/v1/session", "POST /api/v1/password",
        "DELETE /api/v1/sessions", "DELETE /api/v1/sessions/{id}", "POST /api/v1/tokens", "DELETE /api/v1/tokens/{id}",
        "POST /api/v1/session", "POST /api/v1/views", "PUT /api/v1/views/startup", "DELETE /api/v1/views/{id}",
        "PATCH /api/v1/views/{id}", "POST /api/v1/views/{id}/restore",
        "POST /api/v1/oidc/logout",  # the provider's signature is asked for
    }  # fmt: skip
    for name, roles in OF_ROUTE.items():
        if not name.startswith("GET ") and name not in own:
            assert roles is not None and Role.VIEWER not in roles, name


def test_a_token_does_what_its_role_and_its_scope_both_allow() -> None:
    narrow = Caller("historian:anna", Role.OPERATOR, token="t", acts=frozenset({Act.SEE, Act.EDIT}))
    permit(narrow, Act.SEE)
    with pytest.raises(NotPermitted, match="this token may not command"):
        permit(narrow, Act.COMMAND)
    with pytest.raises(NotPermitted, match="is operator and may not edit"):
        permit(narrow, Act.EDIT)
    assert acts_of(narrow) == {Act.SEE}
    with pytest.raises(NotPermitted, match="takes a person"):
        permit_approval(narrow, awaiting("otto", "operator"))
    assert person("historian:anna") == "anna", "nobody approves an own command by a token"


def test_a_token_for_some_points_touches_no_other() -> None:
    narrow = Caller("x:anna", Role.OPERATOR, token="t", points=("tank_1.", "pump_3"))
    permit_points(narrow, ["tank_1.level", "pump_335.status"])
    permit_points(LINK, None)
    for points in (["tank_1.level", "tank_2.level"], ["tank_1"], None):
        with pytest.raises(NotPermitted):
            permit_points(narrow, points)


def test_what_a_token_for_some_points_may_ask_exists() -> None:
    names = {r.name for r in ROUTES} | {v.name for v in VERBS}
    assert names >= SCOPED


def test_the_owner_of_the_data_folder_may_everything_but_approve_as_others() -> None:
    assert acts_of(TOKEN) == frozenset(Act)
    with pytest.raises(NotPermitted, match="may not approve"):
        permit_approval(TOKEN, awaiting("anna", "supervisor"))


def test_the_table_of_rights_in_the_guide_is_that_of_the_code() -> None:
    guide = Path("docs/security.md").read_text()
    for role in Role:
        cells = ["yes" if may(role, act) else "" for act in Act]
        approves = ", ".join(f"`{r}`" for r in Role if r in RIGHTS[role].approves)
        row = f"| `{role}` | {' | '.join([*cells, approves])} |"
        assert " ".join(row.split()) in [" ".join(line.split()) for line in guide.splitlines()], row


def test_every_setting_of_the_server_is_in_the_guide() -> None:
    guide = Path("docs/security.md").read_text()
    for table, keys in KEYS.items():
        assert f"[{table}]" in guide
        assert [k for k in keys if f"`{k}`" not in guide and f"[{table}.{k}]" not in guide] == []
