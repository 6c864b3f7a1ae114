"""Leases as a book of who may command what: every rule without a clock or a device."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest

from control.command import Priority
from control.lease import (
    LEASES_OF_HOLDER_MAX,
    TRANSITIONS,
    Lease,
    LeaseBook,
    LeaseRequest,
    LeaseStatus,
    admitted,
    as_body,
    author_of_reverts,
    ended,
    recovered,
    reserved,
    reverts,
    targets_of,
    yields,
)
from tests.control.plants import plant
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound, NotPermitted, Reserved
from twin.plant import Twin

S = 1_000_000_000
PLANT = replace(plant("modbus://127.0.0.1:1/1"), twins=(Twin("pump", "dtmi:test:Pump;1", "Pump", None),))


def lease(*targets: str, holder: str = "anna", now: int = 0, ident: str = "l1", **more: object) -> Lease:
    asked = LeaseRequest(f"key {ident}", targets or ("pump.speed",), **more)  # type: ignore[arg-type]
    return admitted(asked, holder, ident, PLANT, now)


def test_a_twin_means_all_its_points_that_commands_may_change() -> None:
    assert targets_of(PLANT, ["pump"]) == ("pump.mode", "pump.speed", "pump.status")
    assert targets_of(PLANT, ["pump", "pump.speed", "far.status"])[0] == "far.status"


@pytest.mark.parametrize(
    ("targets", "more", "error", "says"),
    [
        (("pump.running",), {}, BadRequest, "not writable"),
        (("pomp",), {}, NotFound, "'pomp' is neither"),
        ((), {}, BadRequest, "without targets"),
        (("pump.speed",), {"ttl_s": 0.5}, BadRequest, "ttl_s 0.5"),
        (("pump.speed",), {"ttl_s": 301.0}, BadRequest, "ttl_s 301"),
        (("pump.speed",), {"ttl_s": float("nan")}, BadRequest, "ttl_s nan"),
        (("pump.speed",), {"priority": Priority.EMERGENCY}, BadRequest, "class emergency"),
        (("pump.speed",), {"revert": {"pump.status": 0.0}}, BadRequest, "does not hold"),
        (("pump.speed",), {"reason": "r" * 1001}, BadRequest, "1001 characters"),
    ],
)
def test_a_lease_that_can_never_be_held_is_refused_with_its_reason(
    targets: tuple[str, ...], more: dict[str, object], error: type[Exception], says: str
) -> None:
    with pytest.raises(error, match=says):
        admitted(LeaseRequest("k", targets, **more), "anna", "l1", PLANT, 0)  # type: ignore[arg-type]


def test_equal_requests_under_other_keys_are_the_same_request() -> None:
    assert lease(ident="a").asked == lease(ident="b").asked
    assert lease().asked != lease(ttl_s=31.0).asked


def test_while_a_lease_is_held_others_are_told_by_whom_and_until_when() -> None:
    book = LeaseBook()
    held = lease(ttl_s=30.0)
    assert book.take(held, 0) == (held,)
    assert book.against("pump.speed", "anna") is None
    assert book.against("pump.status", "bob") is None
    in_way = book.against("pump.speed", "bob")
    assert in_way == held
    error = reserved(held, "pump.speed", 10 * S)
    assert "anna holds pump.speed by lease l1, for another 20 s" in error.message


def test_what_the_server_reverts_or_compensates_passes_every_lease() -> None:
    book = LeaseBook()
    old = lease(ident="old", holder="bob", revert={"pump.speed": 0.0})
    book.take(lease(), 0)
    assert book.against("pump.speed", author_of_reverts(old)) is None
    assert book.against("pump.speed", "group:g1") is None


def test_a_lease_over_a_lease_is_a_conflict_even_for_its_holder_and_takes_nothing() -> None:
    book = LeaseBook()
    book.take(lease(), 0)
    for holder in ("bob", "anna"):
        with pytest.raises(Reserved, match="anna holds"):
            book.take(lease("pump", holder=holder, ident="l2"), 0)
    assert book.of_point("pump.status") is None
    assert [x.id for x in book.active] == ["l1"]


def test_a_strictly_more_urgent_lease_preempts_and_nothing_is_left_of_the_old_one() -> None:
    book = LeaseBook()
    old = lease("pump", priority=Priority.SCHEDULE, revert={"pump.speed": 0.0})
    book.take(old, 0)
    gone, new = book.take(lease(holder="bob", ident="l2", priority=Priority.OPERATOR), 5)
    assert (gone.id, gone.status, new.id) == ("l1", LeaseStatus.PREEMPTED, "l2")
    assert gone.steps[-1].by == "bob"
    assert book.of_point("pump.status") is None  # the whole lease has ended
    assert book.expire(1_000 * S)[0].id == "l2"  # the preempted one does not expire as well


def test_only_a_strictly_more_urgent_command_ends_a_lease() -> None:
    held = lease(priority=Priority.SCHEDULE)
    assert yields(held, Priority.OPERATOR) and yields(held, Priority.EMERGENCY)
    assert not yields(held, Priority.SCHEDULE) and not yields(held, Priority.OPTIMISER)
    book = LeaseBook()
    book.take(held, 0)
    gone = book.preempt(held, 7, "command c1 of bob", "bob")
    assert gone.status is LeaseStatus.PREEMPTED and not book.active


def test_a_heartbeat_gives_the_whole_time_anew_and_its_loss_ends_the_lease() -> None:
    book = LeaseBook()
    book.take(lease(ttl_s=10.0), 0)
    assert book.next_expiry() == 10 * S
    assert book.beat("l1", "anna", 8 * S).until == 18 * S
    assert book.expire(18 * S) == ()
    (gone,) = book.expire(18 * S + 1)
    assert gone.status is LeaseStatus.EXPIRED
    assert "no heartbeat for 10.0 s" in gone.steps[-1].detail
    assert book.next_expiry() is None
    with pytest.raises(NotFound, match="no lease 'l1' is held"):
        book.beat("l1", "anna", 19 * S)


def test_only_the_holder_keeps_and_releases_a_lease_unless_somebody_may_release_others() -> None:
    book = LeaseBook()
    book.take(lease(), 0)
    with pytest.raises(NotPermitted, match="is anna's"):
        book.beat("l1", "bob", 0)
    with pytest.raises(NotPermitted, match="is anna's"):
        book.release("l1", "bob", 0)
    gone = book.release("l1", "carla", 0, others=True)
    assert (gone.status, gone.steps[-1].by) == (LeaseStatus.RELEASED, "carla")
    with pytest.raises(NotFound):
        book.release("l1", "anna", 0)


def test_what_is_reverted_has_the_same_key_each_time_and_is_of_class_safety() -> None:
    held = lease("pump", revert={"pump.status": 0.0, "pump.speed": 30.0})
    asked = reverts(held)
    assert [(r.key, r.value, r.priority) for r in asked] == [
        ("revert:0", 30.0, Priority.SAFETY),
        ("revert:1", 0.0, Priority.SAFETY),
    ]
    assert reverts(held) == asked
    assert author_of_reverts(held) == "lease:l1"


def test_after_a_restart_every_lease_has_its_whole_time_anew() -> None:
    book = LeaseBook()
    held = lease(ttl_s=10.0)
    book.restore([held], 500 * S)
    assert book.expire(510 * S) == ()
    assert book.against("pump.speed", "bob") is not None
    assert book.expire(510 * S + 1)[0].id == "l1"
    assert recovered(held, 3).beaten_at == 3


def test_a_program_that_never_releases_is_stopped_at_the_limit() -> None:
    book = LeaseBook()
    points = tuple(f"p{n}" for n in range(LEASES_OF_HOLDER_MAX + 1))
    for n, point in enumerate(points[:-1]):
        book.take(replace(lease(ident=f"l{n}"), targets=(point,)), 0)
    with pytest.raises(LimitExceeded, match="anna holds 100 leases"):
        book.take(replace(lease(ident="more"), targets=(points[-1],)), 0)
    book.take(replace(lease(ident="bobs", holder="bob"), targets=(points[-1],)), 0)


def test_the_life_of_a_lease_is_a_table() -> None:
    for status, following in TRANSITIONS.items():
        if status is LeaseStatus.ACTIVE:
            continue
        assert not following
        gone = ended(lease(), status, 1, "why")
        assert gone.final
        for later in LeaseStatus:
            with pytest.raises(Conflict, match=f"lease l1 is {status}: why"):
                ended(gone, later, 2, "")


def test_a_record_says_who_holds_what_since_when_and_until_when() -> None:
    body = as_body(lease("pump.speed", ttl_s=2.0, revert={"pump.speed": 30.0}, reason="tuning"))
    assert body["holder"] == "anna" and body["targets"] == ["pump.speed"] and body["revert"] == {"pump.speed": 30.0}
    assert (body["since"], body["until"]) == (0.0, 2000.0)
    assert as_body(ended(lease(), LeaseStatus.RELEASED, 1, ""))["until"] is None


@pytest.mark.parametrize("seed", range(50))
def test_no_point_is_ever_held_twice(seed: int) -> None:
    chance = random.Random(seed)
    book = LeaseBook()
    ended_ids: set[str] = set()
    now = 0
    for n in range(200):
        now += chance.randrange(3 * S)
        held = {x.id: x for x in book.active}
        for gone in book.expire(now):
            ended_ids.add(gone.id)
        match chance.choice(("take", "take", "beat", "release", "preempt")):
            case "take":
                targets = tuple(sorted(chance.sample(["a", "b", "c", "d"], chance.randint(1, 3))))
                priority = chance.choice([Priority.SAFETY, Priority.OPERATOR, Priority.SCHEDULE])
                asked = lease(ident=f"l{n}", holder=chance.choice("xyz"), now=now, ttl_s=5.0, priority=priority)
                try:
                    kept = book.take(replace(asked, targets=targets), now)
                except Reserved:
                    continue
                ended_ids |= {x.id for x in kept[:-1]}
                assert all(x.priority > priority for x in kept[:-1])
            case "beat" if book.active:
                book.beat(book.active[0].id, book.active[0].holder, now)
            case "release" if book.active:
                ended_ids.add(book.release(chance.choice(book.active).id, "", now, others=True).id)
            case "preempt" if book.active:
                ended_ids.add(book.preempt(chance.choice(book.active), now, "", "").id)
        points = [p for x in book.active for p in x.targets]
        assert len(points) == len(set(points)), f"seed {seed}, step {n}"
        assert not ended_ids & {x.id for x in book.active}
        assert all(book.of_point(p) in book.active for p in points)
        assert {x for x in held if x not in ended_ids} <= {x.id for x in book.active}
