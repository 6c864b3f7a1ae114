"""All alarms of a plant together: first out, shelves that end, suppression by design, forecasts, restarts, counts."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from twin import quality
from twin.alarm import AlarmPlan, Condition, Definition, Kind, Priority, Terms
from twin.alarm_book import AlarmBook, Change
from twin.alarm_rollup import rollup
from twin.alarms import Said, State, Step
from twin.columns import Columns
from twin.errors import NotFound
from twin.expression import parse
from twin.plant import Plant, Relationship, Twin
from twin.points import Point, Points

S = 1_000_000_000
POINTS = tuple(
    Point(n, f"{twin}.{prop}", twin, prop, kind, "", "plc", "")
    for n, (twin, prop, kind) in enumerate(
        [("pump", "flow", "double"), ("pump", "running", "boolean"), ("tank", "level", "double")]
    )
)
HIGH = Condition(Kind.LIMIT, "hi", 1, 10.0)
FLOW = Definition("pump.flow:high", "high", "pump.flow", "pump", Priority.HIGH, HIGH, group="g")
LEVEL = Definition("tank.level:high", "high", "tank.level", "tank", Priority.LOW, HIGH, group="g")


class Desk:
    """The book and its columns; time in seconds."""

    def __init__(
        self, *definitions: Definition, states: dict[str, State] | None = None, code: int = quality.GOOD
    ) -> None:
        self.columns = Columns.empty(3)
        self.columns.quality[:] = code
        self.columns.value[:] = 0.0
        self.book = AlarmBook(AlarmPlan(definitions), {p.name: p.id for p in POINTS}, 3, 0, states or {})
        self.begun = self.book.begin(self.columns, 0)

    def say(self, at_s: float, code: int = 0, **values: float) -> list[str]:
        ids = [{"flow": 0, "running": 1, "level": 2}[name] for name in values]
        self.columns.value[ids] = list(values.values())
        self.columns.quality[ids] = code
        self.columns.source_time[ids] = int(at_s * S)
        return self.words(self.book.changed(np.array(ids, np.int32), self.columns, int(at_s * S)))

    def wait(self, at_s: float) -> list[str]:
        return self.words(self.book.tick(self.columns, int(at_s * S)))

    def do(self, row: int, step: Step, at_s: float, **more: object) -> list[str]:
        return self.words(self.book.say(row, Said(step, int(at_s * S), "anna", "why", **more)))  # type: ignore[arg-type]

    @staticmethod
    def words(changes: list[Change]) -> list[str]:
        return [f"{c.definition.twin} {c.said.step}{' rings' if c.rings else ''}" for c in changes]


def test_the_first_of_a_group_is_marked_until_the_group_is_quiet_and_acknowledged() -> None:
    desk = Desk(FLOW, LEVEL)
    desk.say(1, flow=11)
    desk.say(2, level=11)
    assert desk.book.state(0).first_out and not desk.book.state(1).first_out
    desk.say(3, flow=0, level=0)
    desk.say(4, level=11)
    assert not desk.book.state(1).first_out  # nobody acknowledged the first yet
    desk.say(5, level=0)
    for row in (0, 1):
        desk.do(row, Step.ACKNOWLEDGED, 6)
    desk.say(7, level=11)
    assert desk.book.state(1).first_out


def test_in_one_delivery_the_source_says_which_came_first() -> None:
    desk = Desk(FLOW, LEVEL)
    desk.columns.value[[0, 2]] = 11.0
    desk.columns.source_time[[0, 2]] = (5 * S, 4 * S)
    assert desk.words(desk.book.changed(np.array([0, 2], np.int32), desk.columns, 6 * S))[0].startswith("tank")
    assert desk.book.state(1).first_out and not desk.book.state(0).first_out


def test_what_is_kept_silent_is_not_the_first_of_its_group() -> None:
    desk = Desk(FLOW, LEVEL)
    desk.do(0, Step.SUPPRESSED, 1)
    desk.say(2, flow=11)
    desk.say(3, level=11)
    assert not desk.book.state(0).first_out and desk.book.state(1).first_out


def test_a_timed_shelf_ends_by_itself_and_what_is_active_then_rings() -> None:
    desk = Desk(FLOW)
    desk.do(0, Step.SHELVED, 1, until=10 * S)
    assert desk.say(2, flow=11) == ["pump active"]
    assert desk.book.next_time() == 10 * S
    assert desk.wait(9.99) == [] and desk.wait(10) == ["pump unshelved rings"]


def test_a_one_shot_shelf_ends_when_the_alarm_clears_or_at_its_time() -> None:
    desk = Desk(FLOW)
    desk.say(1, flow=11)
    desk.do(0, Step.SHELVED, 2, until=100 * S, one_shot=True)
    assert desk.say(3, flow=0) == ["pump cleared", "pump unshelved"]
    desk.do(0, Step.SHELVED, 4, until=100 * S, one_shot=True)
    assert desk.wait(100) == ["pump unshelved"]


def test_a_flow_that_is_missing_is_no_alarm_of_a_pump_that_stands() -> None:
    names = {p.name: p for p in POINTS}
    stands = parse("not pump.running", names)
    low = replace(FLOW, condition=Condition(Kind.LIMIT, "lo", -1, 1.0), suppress_when=stands)
    desk = Desk(low)
    assert desk.words(desk.begun) == ["pump designed_out", "pump active"]
    assert desk.say(2, running=1) == ["pump designed_in rings"]
    assert desk.say(3, flow=5) == ["pump cleared"]
    assert desk.say(4, flow=0, running=0) == ["pump designed_out", "pump active"]
    # What cannot be told keeps nothing silent that can.
    assert desk.say(5, code=quality.BAD, running=0) == ["pump designed_in rings"]


def test_a_link_that_takes_an_alarm_and_what_suppresses_it_brings_nothing_back() -> None:
    names = {p.name: p for p in POINTS}
    low = replace(FLOW, condition=Condition(Kind.LIMIT, "lo", -1, 1.0), suppress_when=parse("not pump.running", names))
    desk = Desk(low)
    assert desk.say(1, code=quality.BAD, flow=0, running=0) == ["pump unsure"]
    assert desk.say(2, running=0) == []  # it still stands
    assert desk.say(3, code=quality.BAD, running=0) == []
    assert desk.say(4, flow=0) == ["pump sure", "pump designed_in rings"]  # no flow, and nobody knows why
    assert desk.say(5, running=0) == ["pump designed_out"]
    assert desk.say(6, code=quality.BAD, flow=0, running=0) == ["pump unsure"]
    assert desk.say(7, flow=0, running=1) == ["pump designed_in rings", "pump sure"]


@pytest.mark.parametrize("off_delay_s", [0.0, 5.0])
def test_a_pump_that_starts_has_its_on_delay_to_bring_its_flow(off_delay_s: float) -> None:
    names = {p.name: p for p in POINTS}
    low = replace(
        FLOW, condition=Condition(Kind.LIMIT, "lo", -1, 1.0), suppress_when=parse("not pump.running", names),
        on_delay_s=15.0, off_delay_s=off_delay_s,
    )  # fmt: skip
    desk = Desk(low)
    assert desk.words(desk.begun) == ["pump designed_out"]
    assert desk.wait(15) == ["pump active"]
    assert desk.say(20, running=1) == []  # not told yet: the delay begins anew
    assert desk.say(21, flow=5) + desk.wait(27) == ["pump cleared", "pump designed_in"]
    assert desk.say(30, flow=0, running=0) == ["pump designed_out"]
    assert desk.wait(45) == ["pump active"]
    assert desk.say(50, running=1) == [] and desk.book.next_time() == 65 * S
    assert desk.wait(64.9) == [] and desk.wait(65) == ["pump designed_in rings"]  # it brings none
    assert desk.say(66, running=0) == ["pump designed_out"]
    assert desk.say(67, running=1) == [] and desk.say(68, running=0) == []
    assert desk.wait(90) == []  # it stood again before the delay was over
    assert desk.say(91, running=1) == []
    assert desk.say(92, code=quality.BAD, flow=0, running=1) == ["pump unsure"]
    assert desk.wait(120) == []  # nobody can tell
    assert desk.say(121, flow=0) == ["pump sure", "pump designed_in rings"]


def test_a_start_that_knows_nothing_yet_brings_back_nothing_that_was_suppressed() -> None:
    names = {p.name: p for p in POINTS}
    low = replace(FLOW, condition=Condition(Kind.LIMIT, "lo", -1, 1.0), suppress_when=parse("not pump.running", names))
    kept = State(active=True, acked=False, designed=True, occurrence=1)
    desk = Desk(low, states={low.id: kept}, code=quality.BAD)
    assert desk.words(desk.begun) == ["pump unsure"]
    assert desk.say(1, running=0) == []
    assert desk.say(2, flow=0) == ["pump sure"]


def test_an_expression_is_an_alarm_as_soon_as_a_point_of_it_changes() -> None:
    names = {p.name: p for p in POINTS}
    both = Condition(Kind.GIVEN, "when", expression=parse("pump.running and tank.level > 5", names))
    desk = Desk(replace(LEVEL, condition=both))
    assert desk.say(1, running=1) == [] and desk.say(2, level=6) == ["tank active rings"]
    assert desk.say(3, code=quality.BAD, level=6) == ["tank unsure"]
    assert desk.say(4, level=1) == ["tank sure", "tank cleared"]


def test_a_predicted_alarm_doubts_when_nobody_looks_ahead_any_more() -> None:
    desk = Desk(replace(LEVEL, condition=Condition(Kind.GIVEN, "predicted", ahead="tank.level<1")))

    def tell(truth: bool | None, at_s: int) -> list[str]:
        return desk.words(desk.book.predicted({"tank.level<1": truth}, desk.columns, at_s * S))

    assert tell(False, 1) == [] and tell(True, 2) == ["tank active rings"] and tell(True, 3) == []
    assert tell(None, 4) == ["tank unsure"]
    assert tell(True, 5) == ["tank sure"] and tell(False, 6) == ["tank cleared"]


def test_after_a_restart_it_is_active_and_unsure_and_shelves_go_on() -> None:
    before = State(active=True, acked=True, occurrence=3)
    shelved = State(shelf=Desk(FLOW).book.state(0).shelf, suppressed=True)
    desk = Desk(FLOW, LEVEL, states={FLOW.id: before, LEVEL.id: shelved})
    assert desk.words(desk.begun) == ["pump unsure", "pump sure", "pump cleared"]  # a good reading was there at once
    desk = Desk(replace(FLOW, off_delay_s=5), states={FLOW.id: before})
    assert desk.words(desk.begun) == ["pump unsure", "pump sure"] and desk.book.state(0).acked
    assert desk.wait(5) == ["pump cleared"]


def test_journal_alarms_ring_for_nobody() -> None:
    assert Desk(replace(FLOW, priority=Priority.JOURNAL)).say(1, flow=11) == ["pump active"]


def test_an_unknown_alarm_is_answered_with_the_nearest() -> None:
    with pytest.raises(NotFound) as error:
        Desk(FLOW).book.row("pump.flow:hihg")
    assert "pump.flow:high" in error.value.hint


def test_points_that_the_api_added_have_no_alarms_and_disturb_none() -> None:
    desk = Desk(FLOW)
    desk.columns = desk.columns.grown(6)
    assert desk.book.changed(np.array([4, 5], np.int32), desk.columns, S) == []


def test_counts_and_the_worst_go_up_the_parts() -> None:
    twins = tuple(Twin(i, "dtmi:x;1", i, None) for i in ("site", "hall", "pump", "tank"))
    parts = tuple(Relationship(a, "contains", b) for a, b in (("hall", "pump"), ("site", "hall"), ("site", "tank")))
    plant = Plant("p", "P", "", {}, (), twins, parts, Points.of(POINTS), (), None, {})
    desk = Desk(FLOW, LEVEL, replace(LEVEL, id="tank.level:x", priority=Priority.MEDIUM))
    desk.say(1, flow=11, level=11)
    desk.do(0, Step.ACKNOWLEDGED, 2)
    desk.do(1, Step.REMOVED, 2)
    desk.say(3, code=quality.BAD, flow=11)
    found = {
        r.twin: r for r in rollup(plant, desk.book.plan.definitions, desk.book.retained, desk.book.conditions.blind)
    }
    assert set(found) == {"site", "hall", "pump", "tank"}
    assert found["hall"].counts == found["pump"].counts and found["hall"].worst == "acked_active"
    assert found["hall"].priority is Priority.HIGH and found["hall"].counts["blind"] == 1
    site = found["site"].counts
    assert (site["high"], site["medium"], site["low"], site["unacked"], site["out_of_service"]) == (1, 1, 0, 1, 1)
    assert found["site"].worst == "unacked_active" and found["site"].priority is Priority.HIGH


def test_a_latched_alarm_counts_until_it_is_reset() -> None:
    desk = Desk(replace(FLOW, terms=Terms(latch=True)))
    desk.say(1, flow=11)
    desk.say(2, flow=0)
    desk.do(0, Step.ACKNOWLEDGED, 3)
    assert desk.book.retained
    desk.do(0, Step.RESET, 4)
    assert not desk.book.retained


def test_who_is_renamed_is_so_in_alarms_that_are_over_as_well() -> None:
    desk = Desk(FLOW, LEVEL)
    desk.say(1, flow=11, level=11)
    for row in (0, 1):
        desk.do(row, Step.ACKNOWLEDGED, 2)
    desk.say(3, flow=0)
    assert 0 not in desk.book.retained and 1 in desk.book.retained
    desk.book.rename("anna", "(erased 7)")
    assert [desk.book.state(row).acked_by for row in (0, 1)] == ["(erased 7)"] * 2
    assert desk.book.retained[1] == desk.book.state(1)
