"""When a scheduled command goes, and how moments are written: wall clock, the plant's own clock, conditions."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from control.command import Command, Priority, Status, Terms, Transition, moved
from control.schedule import LOOK_EVERY_S, Moment, clock_seen, due, next_look, parse_moment, send_by, too_late
from twin.errors import BadRequest
from twin.interlock import ALLOWED, Judgement

S = 1_000_000_000
NOW = int(datetime(2026, 11, 21, 14, 30, tzinfo=UTC).timestamp()) * S
HOUR = 3600 * S


def command(clock_s: float | None = None, **terms: object) -> Command:
    first = Transition(Status.DRAFT, NOW, "submitted", "anna")
    made = Command(
        "c1", "k", "anna", "pump.speed", 1.0, Priority.OPERATOR, NOW, "", Status.DRAFT, (first,), None,
        Terms(30.0, **terms),  # type: ignore[arg-type]
    )  # fmt: skip
    seen = () if clock_s is None else (clock_seen("network.clock", clock_s, 0),)
    return moved(made, Status.SCHEDULED, NOW, "waits for its time", seen=seen)


@pytest.mark.parametrize(
    ("text", "moment"),
    [
        ("15:00", Moment(at=NOW + HOUR // 2)),
        ("06:00", Moment(at=NOW + 15 * HOUR + HOUR // 2)),
        ("14:30", Moment(at=NOW + 24 * HOUR)),  # now is over: tomorrow
        ("14:30:05", Moment(at=NOW + 5 * S)),
        ("+30m", Moment(at=NOW + HOUR // 2)),
        ("2026-11-21T15:30:00Z", Moment(at=NOW + HOUR)),
        ("2026-11-21T16:30+01:00", Moment(at=NOW + HOUR)),
        ("plant 06:00", Moment(at_plant_s=86_400.0 + 6 * 3600)),
        ("plant 12:00", Moment(at_plant_s=12 * 3600.0)),
        ("plant +2h", Moment(at_plant_s=10 * 3600.0)),
    ],
)
def test_moments_are_written_as_people_say_them(text: str, moment: Moment) -> None:
    assert parse_moment(text, NOW, clock_s=8 * 3600.0) == moment


def test_a_time_of_the_plants_day_is_the_next_one_however_long_its_clock_has_run() -> None:
    three_days = 3 * 86_400.0
    assert parse_moment("plant 07:00", NOW, three_days + 8 * 3600.0) == Moment(at_plant_s=three_days + 31 * 3600.0)


@pytest.mark.parametrize("text", ["", "25:00", "6", "soon", "plant", "plant 25:00", "plant soon", "plant -1h", "+x"])
def test_what_is_no_moment_is_told_with_the_form(text: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse_moment(text, NOW, 0.0)
    assert caught.value.hint


def test_a_plant_without_a_clock_has_no_plant_time() -> None:
    with pytest.raises(BadRequest, match="the plant's clock cannot be told"):
        parse_moment("plant 06:00", NOW, None)


def test_a_command_for_a_moment_goes_at_that_moment_exactly() -> None:
    waiting = command(at=NOW + HOUR)
    assert due(waiting, None, NOW + HOUR - 1).detail == "its time comes in 0 s"
    assert due(waiting, None, NOW) == Judgement(False, "its time comes in 3600 s")
    assert due(waiting, None, NOW + HOUR) == ALLOWED
    assert next_look(waiting, NOW) == NOW + HOUR
    assert next_look(waiting, NOW + HOUR) is None


def test_the_plants_clock_decides_for_plant_time_and_nothing_goes_while_it_cannot_be_told() -> None:
    waiting = command(at_plant_s=100.0)
    assert due(waiting, None, NOW).detail == "the plant's clock cannot be told"
    assert due(waiting, 99.0, NOW).detail == "its time comes in 1 s of the plant's clock"
    assert due(waiting, 100.0, NOW) == ALLOWED
    assert next_look(waiting, NOW) == NOW + int(LOOK_EVERY_S * S)


def test_a_condition_is_waited_for_and_what_was_seen_last_is_told() -> None:
    waiting = command(when="tank.level > 3 m")
    no = Judgement(False, "tank.level is 2.9 m", (clock_seen("tank.level", 2.9, 0),))
    assert due(waiting, None, NOW, no) == no
    assert due(waiting, None, NOW, ALLOWED) == ALLOWED
    assert next_look(waiting, NOW) == NOW + int(LOOK_EVERY_S * S)


def test_a_condition_is_not_asked_before_its_moment_has_come() -> None:
    waiting = command(at=NOW + HOUR, when="tank.level > 3 m")
    assert not due(waiting, None, NOW, ALLOWED).allowed
    assert next_look(waiting, NOW) == NOW + HOUR
    assert next_look(waiting, NOW + 2 * HOUR) == NOW + 2 * HOUR + int(LOOK_EVERY_S * S)


def test_a_command_without_a_condition_ignores_conditions() -> None:
    assert due(command(at=NOW), None, NOW, Judgement(False, "no")) == ALLOWED


def test_the_deadline_counts_from_its_moment_not_from_when_somebody_looked() -> None:
    waiting = command(at=NOW + HOUR)
    assert send_by(waiting, NOW + HOUR + 20 * S) == NOW + HOUR + 30 * S
    assert send_by(command(when="x"), NOW + 5 * S) == NOW + 35 * S
    assert send_by(command(at_plant_s=1.0), NOW + 5 * S) == NOW + 35 * S
    assert send_by(command(at=NOW, latest=NOW + S), NOW) == NOW + S


def test_a_moment_that_passed_while_nobody_was_there_is_not_made_up_for() -> None:
    waiting = command(at=NOW + HOUR)
    assert too_late(waiting, None, NOW + HOUR + 30 * S) == ""
    said = too_late(waiting, None, NOW + HOUR + 31 * S)
    assert said == "its time came 31 s ago, when nobody could send it; its deadline was 30 s"


def test_the_age_of_a_plant_moment_is_told_from_how_fast_the_plants_clock_runs() -> None:
    waiting = command(clock_s=1_000.0, at_plant_s=61_000.0)  # at 60 s a second it comes after 1,000 s
    assert too_late(waiting, 61_000.0 + 60 * 29, NOW + 1_029 * S) == ""
    assert too_late(waiting, 61_000.0 + 60 * 32, NOW + 1_032 * S).startswith("its time came 32 s ago")


@pytest.mark.parametrize("clock_s", [None, 900.0])
def test_a_plants_clock_that_was_set_back_or_cannot_be_told_makes_nothing_late(clock_s: float | None) -> None:
    waiting = command(clock_s=1_000.0, at_plant_s=800.0)
    assert too_late(waiting, clock_s, NOW + HOUR) == ""


def test_a_condition_that_holds_now_is_never_late() -> None:
    assert too_late(command(at=NOW, when="tank.level > 3 m"), None, NOW + HOUR) == ""
