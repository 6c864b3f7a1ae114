"""The dispatcher against a random plant: whatever comes, whatever breaks and wherever it crashes, nothing untrue is said.

A failing seed is the test's number: run it alone by `pytest tests/control/test_dispatcher_model.py -k "ends[17]"`.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from dataclasses import replace
from itertools import count

import pytest

from control import command, dispatcher
from control.board import Board
from control.command import Command, Status, Transition
from control.confirmation import Finding
from control.dispatcher import Dispatcher
from control.gate import Gate
from control.orders import Orders
from control.queue import Line
from protocols.link import WriteOutcome
from tests.control.command_happenings import run
from tests.control.command_yard import Wrong
from twin.interlock import ALLOWED

SEEDS = 500
SEEDS_OF_FAULT = 300  # within so many each fault below shows; most do within five


@pytest.mark.parametrize("seed", range(SEEDS))
def test_every_command_is_recorded_first_happens_once_and_ends(seed: int) -> None:
    run(seed)


# --- the model itself is tried: each of these faults must be found ---------------------------------------------------

Fault = Callable[[pytest.MonkeyPatch], None]


def _resent_after_a_restart(patch: pytest.MonkeyPatch) -> None:
    def recovered(left: Command, now: int) -> Command:
        return command.moved(left, Status.QUEUED, now, "again") if left.status is Status.SENT else left

    patch.setattr(dispatcher, "recovered", recovered)


def _resent_after_a_time_out(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(command._STATUS_OF_OUTCOME, WriteOutcome.UNKNOWN, Status.QUEUED)


def _written_before_it_is_kept(patch: pytest.MonkeyPatch) -> None:
    def hold(self: Dispatcher, held: Command, orders: Orders) -> None:
        if held.status is not Status.SENT:
            orders.kept[held.id] = held
        self._board.hold(held)

    patch.setattr(Dispatcher, "_hold", hold)


def _sent_while_the_last_is_unknown(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "unsettled", lambda self, held: False)


def _interlocks_asked_at_submission_only(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "judge_now", lambda self, held, now, orders: ALLOWED)


def _no_pace(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Gate, "earliest", lambda self, held, point: 0)


def _pace_forgotten_by_a_restart(patch: pytest.MonkeyPatch) -> None:
    begin = Dispatcher.begin
    patch.setattr(Dispatcher, "begin", lambda self, left, sent, now: begin(self, left, (), now))


def _emergencies_wait_in_line(patch: pytest.MonkeyPatch) -> None:
    following = Line.next

    def patient(self: Line, may_go: Callable[[str], bool], now: int, emergencies_only: bool) -> str | None:
        return None if emergencies_only else following(self, may_go, now, False)

    patch.setattr(Line, "next", patient)


def _last_come_first_served(patch: pytest.MonkeyPatch) -> None:
    enter, numbers = Line.enter, count(10**18, -1)
    patch.setattr(Line, "enter", lambda self, held, entered, order: enter(self, held, next(numbers), order))


def _two_writers(patch: pytest.MonkeyPatch) -> None:
    send = Dispatcher._send

    def hurried(self: Dispatcher, *values: object) -> None:
        send(self, *values)  # type: ignore[arg-type]
        values[1].writing.clear()  # type: ignore[attr-defined]

    patch.setattr(Dispatcher, "_send", hurried)


def _a_link_that_heals_wakes_nobody(patch: pytest.MonkeyPatch) -> None:
    def link(self: Dispatcher, device: str, online: bool, now: int) -> Orders:
        self._board.line(device).online = online
        return Orders()

    patch.setattr(Dispatcher, "link", link)


def _deadlines_are_told_once(patch: pytest.MonkeyPatch) -> None:
    at, told = Board.at, set[tuple[int, object, str]]()

    def once(self: Board, time: int, kind: object, what: str) -> None:
        if (id(self), kind, what) not in told or kind != 0:
            told.add((id(self), kind, what))
            at(self, time, kind, what)  # type: ignore[arg-type]

    patch.setattr(Board, "at", once)


def _keys_are_forgotten_with_the_command(patch: pytest.MonkeyPatch) -> None:
    submit = Dispatcher.submit
    patch.setattr(
        Dispatcher,
        "submit",
        lambda self, asked, author, name, before, now: submit(self, asked, author, name, None, now),
    )


def _one_person_approves_twice(patch: pytest.MonkeyPatch) -> None:
    def approvers(self: Command) -> tuple[str, ...]:
        steps = zip(self.transitions, self.transitions[1:], strict=False)
        return tuple(f"{n}" for n, (a, b) in enumerate(steps) if a.status is Status.AWAITING_APPROVAL and b.by)

    patch.setattr(Command, "approvers", property(approvers))


def _whatever_is_read_confirms(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(
        dispatcher,
        "found",
        lambda quest, held, rule, value, now: Finding(Status.CONFIRMED, "") if value is not None else None,
    )


def _late_commands_are_sent(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Dispatcher, "_expire", lambda self, held, now, orders: None)
    patch.setattr(dispatcher, "send_by", lambda held, now: now + 10**13)


def _a_refusal_moves_on(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(command._STATUS_OF_OUTCOME, WriteOutcome.REFUSED, Status.ACKNOWLEDGED)


def _the_past_is_rewritten(patch: pytest.MonkeyPatch) -> None:
    moved = command.moved

    def forgetful(held: Command, status: Status, now: int, detail: str, *values: object, **more: object) -> Command:
        new = moved(held, status, now, detail, *values, **more)  # type: ignore[arg-type]
        first = Transition(new.transitions[0].status, now, "rewritten")
        return replace(new, transitions=(first, *new.transitions[1:]))

    patch.setattr(dispatcher, "moved", forgetful)


FAULTS: list[Fault] = [
    _resent_after_a_restart,
    _resent_after_a_time_out,
    _written_before_it_is_kept,
    _sent_while_the_last_is_unknown,
    _interlocks_asked_at_submission_only,
    _no_pace,
    _pace_forgotten_by_a_restart,
    _emergencies_wait_in_line,
    _last_come_first_served,
    _two_writers,
    _a_link_that_heals_wakes_nobody,
    _deadlines_are_told_once,
    _keys_are_forgotten_with_the_command,
    _one_person_approves_twice,
    _whatever_is_read_confirms,
    _late_commands_are_sent,
    _a_refusal_moves_on,
    _the_past_is_rewritten,
]


@pytest.mark.parametrize("fault", FAULTS, ids=lambda f: f.__name__.strip("_"))
def test_the_model_finds_this_fault(fault: Fault, monkeypatch: pytest.MonkeyPatch) -> None:
    fault(monkeypatch)
    for seed in range(SEEDS_OF_FAULT):
        try:
            run(seed)
        except (Wrong, sqlite3.IntegrityError) as found:
            print(f"seed {seed}: {found.args[0]}")
            return
    pytest.fail("no seed found it")
