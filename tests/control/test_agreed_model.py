"""Leases and groups against a random plant: whatever breaks and wherever it crashes, no point is held twice, no revert and
no compensation is lost or doubled, and everything ends.

A failing seed is the test's number: run it alone by `pytest tests/control/test_agreed_model.py -k "ends[17]"`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from control import group, lease, leasing
from control.command import Command, Status
from control.gate import Gate
from control.group import Group, Team
from control.grouping import Grouping
from control.lease import Lease, LeaseBook
from control.leasing import Leasing
from control.orders import Orders
from tests.control.agreed_model import run
from tests.control.command_yard import Wrong

SEEDS = 200
SEEDS_OF_FAULT = 100  # within so many each fault below shows; most do within five


@pytest.mark.parametrize("seed", range(SEEDS))
def test_leases_and_groups_keep_their_word_and_everything_ends(seed: int) -> None:
    run(seed)


def test_the_model_does_what_it_is_there_for() -> None:
    ends: set[str] = set()
    for seed in range(SEEDS):
        model = run(seed, steps=60)
        ends |= {f"lease {x.status}" for x in model.leases.values()}
        ends |= {f"group {g.status}" for g in model.groups.values()}
        if len(ends) == 8:
            return
    assert ends == {}, "some end was never reached"


# --- the model itself is tried: each of these faults must be found ---------------------------------------------------

Fault = Callable[[pytest.MonkeyPatch], None]


def _leases_are_asked_for_at_submission_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "judge_now", lambda self, held, now, orders: self.judge(held, now))


def _leases_are_never_asked_for(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseBook, "against", lambda self, point, author: None)


def _a_held_point_is_taken_again(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseBook, "of_point", lambda self, point: None)


def _reverts_are_forgotten(patch: pytest.MonkeyPatch) -> None:
    ended = Leasing._ended
    patch.setattr(Leasing, "_ended", lambda self, held, now, revert: ended(self, held, now, False))


def _a_preempted_lease_reverts(patch: pytest.MonkeyPatch) -> None:
    preempt = LeaseBook.preempt

    def late(self: LeaseBook, held: Lease, now: int, detail: str, by: str) -> Lease:
        gone = preempt(self, held, now, detail, by)
        step = replace(gone.steps[-1], status=lease.LeaseStatus.EXPIRED)
        return replace(gone, steps=(*gone.steps[:-1], step))

    patch.setattr(LeaseBook, "preempt", late)


def _a_restart_gives_no_time(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lease, "recovered", lambda held, now: held)


def _a_heartbeat_is_not_heard(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(LeaseBook, "beat", lambda self, identity, by, now: self.get(identity))


def _a_release_forgets_the_points(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(leasing, "reverts", lambda held: ())


def _groups_are_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Grouping, "begin", lambda self, teams, orders, now: None)


def _all_steps_go_at_once(patch: pytest.MonkeyPatch) -> None:
    def turn(asked: Group, members: list[Command]) -> tuple[Command, ...]:
        return tuple(c for c in members if c.status is Status.SCHEDULED)

    patch.setattr(group, "_whose_turn", turn)


def _a_group_that_stops_sends_the_rest(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group, "_unsent", lambda members: ())


def _what_is_in_doubt_is_left_as_it_is(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group, "TOOK_EFFECT", frozenset({Status.CONFIRMED}))


def _a_refused_step_is_undone(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(group, "TOOK_EFFECT", frozenset({Status.CONFIRMED, Status.FAILED, Status.REFUSED}))


def _a_failed_compensation_is_not_told(patch: pytest.MonkeyPatch) -> None:
    end = group._end
    patch.setattr(group, "_end", lambda asked, members, undos: end(asked, members, {}))


def _groups_are_kept_after_their_members(patch: pytest.MonkeyPatch) -> None:
    submit = Grouping.submit

    def late(self: Grouping, *values: object) -> tuple[Team, Orders]:
        team, orders = submit(self, *values)  # type: ignore[arg-type]
        orders.groups.clear()
        return team, orders

    patch.setattr(Grouping, "submit", late)


FAULTS: list[Fault] = [
    _leases_are_asked_for_at_submission_only,
    _leases_are_never_asked_for,
    _a_held_point_is_taken_again,
    _reverts_are_forgotten,
    _a_preempted_lease_reverts,
    _a_restart_gives_no_time,
    _a_heartbeat_is_not_heard,
    _a_release_forgets_the_points,
    _groups_are_forgotten_by_a_restart,
    _all_steps_go_at_once,
    _a_group_that_stops_sends_the_rest,
    _what_is_in_doubt_is_left_as_it_is,
    _a_refused_step_is_undone,
    _a_failed_compensation_is_not_told,
    _groups_are_kept_after_their_members,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__.strip("_"))
def test_the_model_finds_this_fault(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    for seed in range(SEEDS_OF_FAULT):
        try:
            run(seed)
        except Wrong as found:
            print(f"seed {seed}: {found.args[0]}")
            return
    pytest.fail("no seed found it")
