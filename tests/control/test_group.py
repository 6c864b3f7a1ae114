"""Groups step by step: what is done next, for every way in which members can end; no device, no clock."""

from __future__ import annotations

import random
from collections.abc import Mapping

import pytest

from control.command import FINAL, UNSENT, Command, Priority, Status, Terms, Transition, moved
from control.command import TRANSITIONS as COMMAND_TRANSITIONS
from control.group import (
    MEMBERS_MAX,
    TOOK_EFFECT,
    TRANSITIONS,
    WAIT,
    Group,
    GroupRequest,
    GroupStatus,
    MemberRequest,
    Next,
    Team,
    admitted,
    as_body,
    author_of_undos,
    next_steps,
    requests,
    undo_request,
)
from control.group import moved as group_moved
from twin.errors import BadRequest, Conflict, Refused

# The shortest life to each status.
WAY: Mapping[Status, tuple[Status, ...]] = {
    Status.AWAITING_APPROVAL: (Status.AWAITING_APPROVAL,),
    Status.SCHEDULED: (Status.SCHEDULED,),
    Status.QUEUED: (Status.QUEUED,),
    Status.SENT: (Status.QUEUED, Status.SENT),
    Status.ACKNOWLEDGED: (Status.QUEUED, Status.SENT, Status.ACKNOWLEDGED),
    Status.UNKNOWN: (Status.QUEUED, Status.SENT, Status.UNKNOWN),
    Status.CONFIRMED: (Status.QUEUED, Status.SENT, Status.ACKNOWLEDGED, Status.CONFIRMED),
    Status.FAILED: (Status.QUEUED, Status.SENT, Status.ACKNOWLEDGED, Status.FAILED),
    Status.REFUSED: (Status.QUEUED, Status.SENT, Status.REFUSED),
    Status.SUPERSEDED: (Status.QUEUED, Status.SENT, Status.ACKNOWLEDGED, Status.SUPERSEDED),
    Status.EXPIRED: (Status.QUEUED, Status.EXPIRED),
    Status.CANCELLED: (Status.SCHEDULED, Status.CANCELLED),
}


def group(order: str = "sequence", undos: tuple[float | str | None, ...] = (0.0, "previous", None)) -> Group:
    members = tuple(MemberRequest(f"p{n}", 10.0 + n, undo) for n, undo in enumerate(undos))  # type: ignore[arg-type]
    asked = GroupRequest("k", members, order)  # type: ignore[arg-type]
    return admitted(asked, "anna", "g1", {"p0": 5.0, "p1": 6.0, "p2": 7.0, "p3": 8.0}.get, 0)


def command(step: int, status: Status) -> Command:
    first, terms = Transition(Status.DRAFT, 0, "submitted", "anna"), Terms(30.0, group="g1", step=step)
    made = Command(
        f"c{step}", f"k{step}", "anna", f"p{step}", 1.0, Priority.OPERATOR, 9, "", Status.DRAFT, (first,), None, terms
    )
    for reached in WAY[status]:
        made = moved(made, reached, 1, f"it was {reached}")
    return made


def members(*statuses: Status) -> list[Command]:
    return [command(n, s) for n, s in enumerate(statuses)]


def undo(step: int, status: Status) -> dict[int, Command]:
    return {step: command(step, status)}


C, F, Q = Status.CONFIRMED, Status.FAILED, Status.QUEUED
SCHEDULED, UNKNOWN = Status.SCHEDULED, Status.UNKNOWN


def test_in_sequence_the_next_goes_when_the_one_before_is_confirmed() -> None:
    first = next_steps(group(), members(SCHEDULED, SCHEDULED, SCHEDULED), {})
    assert [c.id for c in first.queue] == ["c0"]
    for status in (Q, Status.SENT, Status.ACKNOWLEDGED, UNKNOWN):
        assert next_steps(group(), members(status, SCHEDULED, SCHEDULED), {}) == WAIT
    assert [c.id for c in next_steps(group(), members(C, SCHEDULED, SCHEDULED), {}).queue] == ["c1"]


def test_together_all_go_at_once() -> None:
    found = next_steps(group("together"), members(SCHEDULED, SCHEDULED, SCHEDULED), {})
    assert [c.id for c in found.queue] == ["c0", "c1", "c2"]


@pytest.mark.parametrize("order", ["sequence", "together"])
def test_nothing_goes_while_an_approval_is_missing(order: str) -> None:
    waiting = members(SCHEDULED, SCHEDULED, Status.AWAITING_APPROVAL)
    assert next_steps(group(order), waiting, {}) == WAIT


@pytest.mark.parametrize("order", ["sequence", "together"])
def test_a_group_is_confirmed_when_every_member_is(order: str) -> None:
    found = next_steps(group(order), members(C, C, C), {})
    assert found == Next(GroupStatus.CONFIRMED, "all 3 are")


@pytest.mark.parametrize("ended", sorted(FINAL - {Status.CONFIRMED}))
def test_a_member_that_ends_otherwise_stops_the_group_and_cancels_what_was_not_sent(ended: Status) -> None:
    found = next_steps(group(), members(C, ended, SCHEDULED), {})
    assert found.to is GroupStatus.COMPENSATING
    assert found.detail.startswith(f"step 2 (p1) is {ended}: it was {ended}")
    assert [c.id for c in found.cancel] == ["c2"]
    assert not found.queue and not found.undo


def compensating(order: str = "sequence", undos: tuple[float | str | None, ...] = (0.0, "previous", None)) -> Group:
    return group_moved(group(order, undos), GroupStatus.COMPENSATING, 1, "step 3 failed")


@pytest.mark.parametrize("ended", sorted(FINAL))
def test_only_what_a_device_took_is_compensated(ended: Status) -> None:
    found = next_steps(compensating(undos=(0.0,)), members(ended), {})
    assert found.undo == ((0,) if ended in TOOK_EFFECT else ())


def test_in_sequence_it_is_undone_in_reverse_one_at_a_time() -> None:
    group_ = compensating(undos=(0.0, 1.0, 2.0))
    done = members(C, C, F)
    assert next_steps(group_, done, {}).undo == (2,)
    assert next_steps(group_, done, undo(2, Q)) == WAIT
    assert next_steps(group_, done, undo(2, C)).undo == (1,)
    assert next_steps(group_, done, undo(2, C) | undo(1, C)).undo == (0,)
    assert next_steps(group_, done, undo(2, C) | undo(1, C) | undo(0, C)).to is GroupStatus.COMPENSATED


def test_together_no_compensation_waits_for_another_or_for_an_unsettled_member() -> None:
    group_ = compensating("together", (0.0, 1.0, 2.0))
    assert next_steps(group_, members(C, UNKNOWN, F), {}).undo == (2, 0)
    assert next_steps(group_, members(C, UNKNOWN, F), undo(2, UNKNOWN) | undo(0, C)) == WAIT
    assert next_steps(group_, members(C, C, F), undo(2, UNKNOWN) | undo(0, C)).undo == (1,)


@pytest.mark.parametrize("order", ["sequence", "together"])
def test_an_unknown_member_is_compensated_only_once_it_is_settled(order: str) -> None:
    group_ = group_moved(group(order, (0.0,)), GroupStatus.CANCELLING, 1, "cancelled", "bob")
    assert next_steps(group_, members(UNKNOWN), {}) == WAIT
    assert next_steps(group_, members(C), {}).undo == (0,)
    assert next_steps(group_, members(F), {}).undo == (0,)


def test_a_step_without_a_compensation_stays_and_the_record_says_so() -> None:
    found = next_steps(compensating(undos=(None, 0.0)), members(C, Status.REFUSED), {})
    assert found.to is GroupStatus.COMPENSATED
    assert found.detail == "nothing to compensate; step 1 (p0) stays: no compensation was declared"


@pytest.mark.parametrize("ended", sorted(FINAL - {Status.CONFIRMED}))
def test_a_compensation_that_does_not_come_about_fails_the_group_after_the_others(ended: Status) -> None:
    group_ = compensating(undos=(0.0, 1.0))
    assert next_steps(group_, members(C, F), undo(1, ended)).undo == (0,)
    found = next_steps(group_, members(C, F), undo(1, ended) | undo(0, C))
    assert found.to is GroupStatus.FAILED
    assert f"step 2 (p1) is {ended}" in found.detail


def test_a_cancelled_group_ends_cancelled_and_only_a_running_one_can_be() -> None:
    cancelling = group_moved(group(), GroupStatus.CANCELLING, 1, "cancelled", "bob")
    found = next_steps(cancelling, members(C, Q, SCHEDULED), {})
    assert [c.id for c in found.cancel] == ["c1", "c2"]
    done = members(C, Status.CANCELLED, Status.CANCELLED)
    assert next_steps(cancelling, done, {}).undo == (0,)
    assert next_steps(cancelling, done, undo(0, C)).to is GroupStatus.CANCELLED
    with pytest.raises(Conflict, match="is COMPENSATING and cannot become CANCELLING: step 3 failed"):
        group_moved(compensating(), GroupStatus.CANCELLING, 2, "")


def test_previous_is_what_the_point_reports_at_submission_and_must_be_good() -> None:
    assert [m.undo for m in group().members] == [0.0, 6.0, None]
    asked = GroupRequest("k", (MemberRequest("p0", 1.0, "previous"),))
    with pytest.raises(Refused, match="p0 reports no good value"):
        admitted(asked, "anna", "g1", lambda _: None, 0)


@pytest.mark.parametrize(
    ("asked", "says"),
    [
        (GroupRequest("", (MemberRequest("p0", 1.0),)), "the key has 0"),
        (GroupRequest("k", ()), "a group of 0"),
        (GroupRequest("k", (MemberRequest("p0", 1.0),) * (MEMBERS_MAX + 1)), "a group of 101"),
        (GroupRequest("k", (MemberRequest("p0", 1.0),), priority=Priority.EMERGENCY), "class emergency"),
        (GroupRequest("k", (MemberRequest("p0", 1.0),) * 2, "together"), "p0 is commanded twice"),
        (GroupRequest("k", (MemberRequest("p0", 1.0),), reason="r" * 1001), "the reason has 1001"),
    ],
)
def test_a_group_that_can_never_work_is_refused(asked: GroupRequest, says: str) -> None:
    with pytest.raises(BadRequest, match=says):
        admitted(asked, "anna", "g1", lambda _: 0.0, 0)


def test_members_and_compensations_have_the_same_keys_each_time() -> None:
    assert [r.key for r in requests(group())] == ["group:g1/0", "group:g1/1", "group:g1/2"]
    asked = undo_request(group(), 1)
    assert (asked.key, asked.point, asked.value, asked.priority) == ("undo:1", "p1", 6.0, Priority.SAFETY)
    assert asked.reason == "compensates step 2 (p1) of group g1"
    assert author_of_undos(group()) == "group:g1"
    with pytest.raises(Conflict, match="nothing compensates step 3"):
        undo_request(group(), 2)


def test_the_record_shows_every_step_with_its_command_and_compensation() -> None:
    shown = as_body(Team(compensating(), dict(enumerate(members(C, F, Status.CANCELLED))), undo(1, Q)))
    assert shown["members"][1] == {  # type: ignore[index]
        "point": "p1", "value": 11.0, "undo": 6.0, "command": "c1", "status": "FAILED",
        "compensation": "c1", "compensation_status": "QUEUED",
    }  # fmt: skip
    assert [s["status"] for s in shown["steps"]] == ["RUNNING", "COMPENSATING"]  # type: ignore[attr-defined]


@pytest.mark.parametrize("seed", range(100))
def test_every_group_ends_and_leaves_nothing_undone_that_a_device_took(seed: int) -> None:
    """Whatever members and compensations do, asked again from their statuses alone, as after a crash at any moment."""
    chance = random.Random(seed)
    size = chance.randint(1, 4)
    group_ = group(chance.choice(["sequence", "together"]), tuple(chance.choice([0.0, None]) for _ in range(size)))
    own = members(*[chance.choice([SCHEDULED, Status.AWAITING_APPROVAL]) for _ in range(size)])
    undos: dict[int, Command] = {}
    for _ in range(500):
        found = next_steps(group_, own, undos)
        for c in found.queue:
            assert not any(x.status is Status.AWAITING_APPROVAL for x in own)
            own[c.terms.step] = moved(c, Status.QUEUED, 1, "its turn")
        for c in found.cancel:
            assert c.status in UNSENT
            own[c.terms.step] = moved(c, Status.CANCELLED, 1, "the group stopped")
        for n in found.undo:
            assert n not in undos and own[n].status in TOOK_EFFECT
            undos[n] = command(n, Q)
        if found.to is not None:
            group_ = group_moved(group_, found.to, 1, found.detail)
        if group_.final:
            break
        if group_.status is GroupStatus.RUNNING and chance.random() < 0.02:
            group_ = group_moved(group_, GroupStatus.CANCELLING, 1, "cancelled", "bob")
        if found == WAIT:
            _something_happens(chance, own, undos)
    assert group_.final, f"seed {seed}: {group_.status} {[c.status for c in own]}"
    assert all(c.final for c in (*own, *undos.values()))
    if group_.status is GroupStatus.CONFIRMED:
        assert all(c.status is C for c in own) and not undos
    else:
        took = {n for n, c in enumerate(own) if c.status in TOOK_EFFECT and group_.members[n].undo is not None}
        assert set(undos) == took


def _something_happens(chance: random.Random, own: list[Command], undos: dict[int, Command]) -> None:
    """One open command goes one step on, any that its table allows and that somebody other than the group decides."""
    everything: list[tuple[list[Command] | dict[int, Command], int]] = [(own, n) for n in range(len(own))]
    everything += [(undos, n) for n in undos]
    open_ = [(where, n) for where, n in everything if not where[n].final and where[n].status is not SCHEDULED]
    where, n = chance.choice(open_)
    following = sorted(COMMAND_TRANSITIONS[where[n].status] - {Status.QUEUED, where[n].status})
    where[n] = moved(where[n], chance.choice(following), 1, "it happened", by="carla")


def test_the_life_of_a_group_is_a_table() -> None:
    reached = {s for following in TRANSITIONS.values() for s in following}
    assert reached == set(GroupStatus) - {GroupStatus.RUNNING, GroupStatus.REFUSED}  # these two are beginnings
