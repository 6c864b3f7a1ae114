"""Whose request goes next on a shared connection; no socket, and the clock is a number."""

from __future__ import annotations

import random

import pytest

from protocols.modbus.turns import Ask, Seat, Turns

TIMEOUT_S = 1.0


class Bench:
    """Seats on one connection; what was late and lost."""

    def __init__(self, ids: bool = True, quiet_s: float = 0.0) -> None:
        self.turns = Turns(ids, quiet_s)
        self.late: list[int] = []

    def seat(self, unit: int, outstanding: int = 1, delay_s: float = 0.0, polls: int = 0) -> Seat:
        seat = Seat(unit, TIMEOUT_S, outstanding, delay_s, lambda reason: None, lambda: self.late.append(unit))
        seat.polls.extend(ask() for _ in range(polls))
        self.turns.add(seat)
        return seat

    def units(self, now: float) -> list[int]:
        """The units that are asked now."""
        return [ask.seat.unit for ask in self.turns.next(now) if ask.seat is not None]

    def answer(self, now: float, pdu: bytes = b"\x03\x02\0\0") -> None:
        """The oldest request is answered."""
        oldest = self.turns.under_way[0]
        assert oldest.seat is not None
        assert self.turns.answered(oldest.first, oldest.seat.unit, pdu, now) is not None


def ask(requests: int = 1) -> Ask:
    return Ask([b"\x03\0\0\0\1"] * requests, lambda index, outcome: None)


def test_units_are_asked_in_turn_one_at_a_time() -> None:
    bench = Bench()
    for unit in (1, 2, 3):
        bench.seat(unit, polls=2)
    asked = []
    for step in range(6):
        asked += bench.units(step)
        assert bench.units(step) == [], "one under way"
        bench.answer(step)
    assert asked == [1, 2, 3, 1, 2, 3]


def test_a_command_goes_before_the_polls_of_all_units() -> None:
    bench = Bench()
    bench.seat(1, polls=3)
    second = bench.seat(2, polls=3)
    assert bench.units(0) == [1]
    second.urgent.append(ask())
    second.urgent.append(ask())
    bench.answer(0)
    assert bench.units(0) == [2]
    bench.answer(0)
    assert bench.units(0) == [2]
    bench.answer(0)
    assert bench.units(0) == [1]


def test_as_many_are_under_way_as_the_most_modest_of_the_units_allows() -> None:
    bench = Bench()
    bench.seat(1, outstanding=4, polls=9)
    assert len(bench.turns.next(0)) == 4
    modest = bench.seat(2, outstanding=2)
    bench.answer(0)
    assert bench.turns.next(0) == []
    bench.turns.remove(modest)
    assert len(bench.turns.next(0)) == 1


def test_a_slow_unit_leaves_room_for_the_others() -> None:
    bench = Bench()
    bench.seat(1, outstanding=3, polls=9)
    quick = bench.seat(2, outstanding=3)
    assert bench.units(0) == [1, 1], "one place is left"
    quick.polls.append(ask())
    assert bench.units(1) == [2]


def test_a_large_burst_is_not_overtaken_for_ever() -> None:
    bench = Bench()
    small, large = bench.seat(1, 4, polls=3), bench.seat(2, 4)
    large.polls.append(ask(4))
    assert bench.units(0) == [1], "then the large one waits for room"
    assert bench.units(0) == []
    bench.answer(0)
    assert bench.units(0) == [2]
    small.urgent.append(ask())
    assert bench.units(0) == []
    for index in range(4):
        bench.turns.answered(bench.turns.under_way[0].first + index, 2, b"\x03", 0)
    assert bench.units(0) == [1, 1, 1]


def test_a_silent_unit_does_not_hold_the_turn_of_the_others() -> None:
    bench = Bench()
    dead, live = bench.seat(1, polls=5), bench.seat(2, polls=5)
    assert bench.units(0.0) == [1]
    assert bench.turns.expired(0.5) == []
    assert len(bench.turns.expired(1.0)) == 1
    assert (dead.silent, live.silent, bench.turns.unanswered) == (1, 0, 1)
    assert bench.units(1.0) == [2, 1], "both: the one that keeps silent does not count"
    newer, oldest = bench.turns.under_way
    bench.turns.answered(newer.first, 2, b"\x03", 1.1)
    assert bench.turns.unanswered == 0, "the connection is good"
    assert bench.units(1.1) == [2]
    assert oldest in bench.turns.under_way, "asked once at a time"
    bench.turns.answered(oldest.first, 1, b"\x03", 1.2)
    assert dead.silent == 0


def test_without_ids_one_is_under_way_whoever_keeps_silent() -> None:
    bench = Bench(ids=False)
    bench.seat(1, outstanding=8, polls=2)
    bench.seat(2, outstanding=8, polls=2)
    assert bench.units(0) == [1]
    bench.turns.expired(1.0)
    for now in (1.0, 1.1):
        assert len(bench.turns.next(now)) == (now == 1.0)


def test_an_answer_that_nobody_waits_for_is_late_for_its_unit() -> None:
    bench = Bench()
    bench.seat(1, polls=1)
    bench.seat(2)
    (asked,) = bench.turns.next(0)
    bench.turns.expired(1.0)
    assert bench.turns.answered(asked.first, 1, b"\x03", 1.1) is None
    assert bench.turns.answered(999, 2, b"\x03", 1.1) is None
    assert bench.turns.answered(999, 77, b"\x03", 1.1) is None, "a unit that nobody knows: told to somebody"
    assert bench.late[:2] == [1, 2] and len(bench.late) == 3


def test_an_answer_of_another_unit_answers_nobody() -> None:
    bench = Bench()
    bench.seat(1, polls=1)
    (asked,) = bench.turns.next(0)
    assert bench.turns.answered(asked.first, 9, b"\x03", 0) is None
    assert bench.turns.answered(asked.first, 1, b"\x03", 0) == (asked, 0)


@pytest.mark.parametrize("said", [0, 255])
def test_a_device_that_is_no_gateway_may_answer_with_its_own_unit(said: int) -> None:
    bench = Bench()
    bench.seat(said, polls=1)
    (asked,) = bench.turns.next(0)
    assert bench.turns.answered(asked.first, 1, b"\x03", 0) == (asked, 0)


def test_an_answer_is_taken_once() -> None:
    bench = Bench()
    bench.seat(1, polls=1)
    (asked,) = bench.turns.next(0)
    assert bench.turns.answered(asked.first, 1, b"\x03", 0) == (asked, 0)
    assert bench.turns.answered(asked.first, 1, b"\x03", 0) is None
    assert bench.late == [1]


def test_a_gateway_that_speaks_for_a_unit_does_not_make_it_alive() -> None:
    bench = Bench()
    seat = bench.seat(1, polls=3)
    for step in range(3):
        bench.turns.next(step)
        bench.answer(step, b"\x83\x0b")
        assert seat.silent == step + 1
    assert bench.turns.unanswered == 0


def test_a_unit_that_wants_to_be_left_alone_is() -> None:
    bench = Bench()
    bench.seat(1, outstanding=8, delay_s=0.5, polls=3)
    assert bench.units(0) == [1], "one at a time, too"
    bench.answer(0.1)
    assert bench.units(0.2) == []
    assert bench.turns.wake_at(0.2) == 0.6
    assert bench.units(0.6) == [1]


def test_a_serial_line_is_quiet_between_two_frames() -> None:
    bench = Bench(ids=False, quiet_s=0.25)
    bench.seat(1, polls=2)
    assert bench.units(0) == [1]
    assert bench.turns.answered(None, 1, b"\x03\x02\0\0", 1.0) is not None
    assert bench.units(1.2) == []
    assert bench.units(1.25) == [1]


def test_a_frame_without_id_is_meant_for_the_unit_and_function_that_were_asked() -> None:
    bench = Bench(ids=False)
    bench.seat(7, polls=1)
    assert not bench.turns.is_meant(7, b"\x03")
    bench.turns.next(0)
    assert bench.turns.is_meant(7, b"\x03\x02") and bench.turns.is_meant(7, b"\x83\x02")
    assert not bench.turns.is_meant(8, b"\x03\x02") and not bench.turns.is_meant(7, b"\x04\x02")


def test_who_leaves_takes_everything_along() -> None:
    bench = Bench()
    seat = bench.seat(1, polls=3)
    seat.urgent.append(ask())
    bench.turns.next(0)
    assert len(bench.turns.remove(seat)) == 4
    assert bench.turns.under_way == () and seat.under_way == 0
    assert bench.turns.remove(seat) == []


def test_a_withdrawn_command_is_not_sent() -> None:
    bench = Bench()
    seat, command = bench.seat(1), ask()
    seat.urgent.append(command)
    bench.turns.withdraw(seat, command)
    assert bench.turns.next(0) == [] and not command.sent


def test_no_two_under_way_share_an_id_however_long_it_goes_on() -> None:
    chance = random.Random(3)
    bench = Bench()
    seat = bench.seat(1, outstanding=64)
    stuck = ask()
    seat.polls.append(stuck)
    bench.turns.next(0)
    for step in range(20_000):
        seat.polls.append(ask(chance.randint(1, 16)))
        (asked,) = bench.turns.next(step * 1e-5)
        ids = range(asked.first, asked.first + len(asked.pdus))
        assert stuck.first not in ids and ids[0] > 0 and ids[-1] <= 0xFFFF
        for number in ids:
            assert bench.turns.answered(number, 1, b"\x03", step * 1e-5) == (asked, number - asked.first)
    assert bench.turns.under_way == (stuck,)
