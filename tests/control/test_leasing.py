"""Leases at work beside the dispatcher: who is kept out, who preempts, and that a lost holder's points revert."""

from __future__ import annotations

from dataclasses import replace

import pytest

from control.command import Priority, Status
from control.lease import Lease, LeaseRequest, LeaseStatus
from control.leasing import Leasing
from control.orders import Orders
from tests.control.desk_ground import SECOND, Table
from twin.errors import BadRequest, Conflict, NotFound, OutOfRange, Refused, Reserved
from twin.policy import FREE

SPEED, STATUS = "pump.speed", "pump.status"


class Held(Table):
    """A table with leases."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.leasing = Leasing(self.desk, self.new_id)

    def take(
        self, *targets: str, holder: str = "anna", key: str = "k", before: Lease | None = None, **more: object
    ) -> Lease:
        asked = LeaseRequest(key, targets or (SPEED,), **more)  # type: ignore[arg-type]
        lease, orders = self.leasing.take(asked, holder, f"l-{key}", self.ground.plant, before, self.now)
        self.took(orders)
        return lease

    def tick(self) -> Orders:
        return self.took(self.leasing.tick(self.now))


def test_others_are_kept_out_while_the_holder_commands() -> None:
    held = Held()
    held.take()
    with pytest.raises(Reserved, match=r"anna holds .* by lease l-k"):
        held.submit(SPEED, 50.0, "bob")
    held.submit(STATUS, 1.0, "bob")
    held.submit(SPEED, 60.0, "anna")
    assert (SPEED, 60.0) not in held.written  # one writer a device
    held.confirm(held.sent[0])
    assert held.written == [(STATUS, 1.0), (SPEED, 60.0)]


def test_a_strictly_more_urgent_command_preempts_the_lease_as_it_is_sent() -> None:
    held = Held()
    held.online("plc", False)
    lease = held.take(revert={SPEED: 0.0})
    held.submit(SPEED, 50.0, "bob", priority=Priority.SAFETY)
    assert held.leasing.book.get(lease.id) is not None  # nothing was sent yet
    orders = held.online("plc")
    (gone,) = orders.leases.values()
    assert gone.status is LeaseStatus.PREEMPTED and "is safety" in gone.steps[-1].detail
    assert held.written == [(SPEED, 50.0)]  # and nothing is reverted


def test_an_emergency_goes_whoever_holds_a_lease() -> None:
    held = Held()
    held.take(STATUS, priority=Priority.SAFETY)
    held.submit(STATUS, 0.0, "bob", priority=Priority.EMERGENCY)
    assert held.written == [(STATUS, 0.0)]
    assert not held.leasing.book.active


def test_a_command_submitted_before_the_lease_is_refused_when_its_turn_comes() -> None:
    held = Held()
    held.online("plc", False)
    bobs = held.submit(SPEED, 50.0, "bob")
    held.take()
    held.online("plc")
    assert held.status(bobs.id) is Status.REFUSED
    assert held.commands[bobs.id].transitions[-1].detail == "lease l-k holds pump.speed"
    assert held.written == []


def test_a_point_that_somebody_else_has_selected_cannot_be_leased() -> None:
    held = Held()
    held.submit(SPEED, 50.0, "bob", select=True)
    held.ground.policies[SPEED] = replace(FREE, select=True)
    with pytest.raises(Reserved, match="bob has selected"):
        held.take()
    held.take(SPEED, holder="bob")


def test_when_the_heartbeat_is_lost_the_points_go_where_they_were_promised_to_go() -> None:
    held = Held()
    held.take("pump.speed", "pump.status", ttl_s=10.0, revert={SPEED: 30.0, STATUS: 0.0})
    held.now += 10 * SECOND
    assert not held.tick().leases
    held.now += 1
    orders = held.tick()
    (gone,) = orders.leases.values()
    assert gone.status is LeaseStatus.EXPIRED
    assert gone.steps[-1].detail == "no heartbeat for 10.0 s; 2 reverts commanded"
    assert [(c.author, c.key, c.priority) for c in orders.kept.values()] == [
        ("lease:l-k", "revert:0", Priority.SAFETY),
        ("lease:l-k", "revert:1", Priority.SAFETY),
    ]
    held.confirm(held.sent[0])
    assert held.written == [(SPEED, 30.0), (STATUS, 0.0)]


def test_a_revert_takes_the_place_of_what_the_lost_holder_still_had_in_the_queue() -> None:
    held = Held()
    held.online("plc", False)
    held.take(ttl_s=10.0, revert={SPEED: 30.0})
    annas = held.submit(SPEED, 90.0, "anna")
    held.now += 11 * SECOND
    held.tick()
    held.online("plc")
    assert held.status(annas.id) is Status.SUPERSEDED
    assert held.written == [(SPEED, 30.0)]


def test_a_revert_waits_for_the_device_and_for_nobodys_lease() -> None:
    held = Held()
    held.online("plc", False)
    held.take(ttl_s=10.0, revert={SPEED: 30.0})
    held.now += 11 * SECOND
    held.tick()
    held.take(holder="bob", key="k2", ttl_s=300.0)
    bobs = held.submit(SPEED, 70.0, "bob", deadline_s=300.0)
    held.now += 200 * SECOND
    held.online("plc")
    held.confirm(held.sent[0])
    assert held.written == [(SPEED, 30.0), (SPEED, 70.0)]
    assert held.sent[1] == bobs.id
    assert held.leasing.book.active[0].holder == "bob"


def test_interlocks_hold_for_reverts_too_and_policies_that_ask_people_do_not() -> None:
    held = Held()
    held.take(SPEED, STATUS, ttl_s=10.0, revert={SPEED: 30.0, STATUS: 0.0})
    held.ground.policies[SPEED] = replace(FREE, approvals=1, select=True)
    held.ground.forbidden[STATUS] = "interlock dry does not hold"
    held.now += 11 * SECOND
    orders = held.tick()
    states = {c.point: c.status for c in orders.kept.values()}
    assert states == {SPEED: Status.SENT, STATUS: Status.REFUSED}


def test_a_release_reverts_only_when_asked_to() -> None:
    for revert, written in ((False, []), (True, [(SPEED, 30.0)])):
        held = Held()
        lease = held.take(revert={SPEED: 30.0})
        gone, orders = held.leasing.release(lease.id, "anna", held.now, others=False, revert=revert)
        held.took(orders)
        assert gone.status is LeaseStatus.RELEASED
        assert held.written == written


def test_the_same_key_and_body_is_the_same_lease_for_ever() -> None:
    held = Held()
    lease = held.take()
    held.now += 5 * SECOND
    held.leasing.book.beat(lease.id, "anna", held.now)
    assert held.take(before=lease).beaten_at == held.now
    gone, _ = held.leasing.release(lease.id, "anna", held.now, others=False, revert=False)
    assert held.take(before=gone) == gone
    with pytest.raises(Conflict, match="was used for another lease"):
        held.take(before=gone, ttl_s=31.0)


@pytest.mark.parametrize(("value", "error"), [(500.0, OutOfRange), (float("inf"), BadRequest)])
def test_a_revert_that_could_never_be_commanded_is_refused_when_the_lease_is_taken(
    value: float, error: type[Exception]
) -> None:
    held = Held()
    with pytest.raises(error):
        held.take(revert={SPEED: value})
    assert not held.leasing.book.active


def test_a_revert_to_a_point_whose_commands_need_approval_is_no_way_around_it() -> None:
    held = Held()
    held.ground.policies[SPEED] = replace(FREE, approvals=1)
    with pytest.raises(Refused, match="would need approval"):
        held.take(revert={SPEED: 30.0})
    held.take()


def test_a_point_that_an_edit_took_away_does_not_keep_the_others_from_their_revert() -> None:
    held = Held()
    held.take(SPEED, STATUS, ttl_s=10.0, revert={SPEED: 30.0, STATUS: 0.0})
    held.ground.gone.add(SPEED)
    held.now += 11 * SECOND
    (gone,) = held.tick().leases.values()
    assert "1 reverts commanded; pump.speed is not reverted: no point is called" in gone.steps[-1].detail
    assert held.written == [(STATUS, 0.0)]
    with pytest.raises(NotFound):
        held.leasing.book.beat(gone.id, "anna", held.now)
