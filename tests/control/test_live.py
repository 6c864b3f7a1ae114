"""The live twin lets quality fall when it must, and never makes an old value look good."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from control.live import STALE_AFTER_S, LiveTwin
from protocols.link import DeadLetter, LinkState
from tests.control.plants import plant
from twin import quality
from twin.columns import NEVER
from twin.history import History
from twin.query import Queries
from twin.readings import Readings
from twin.store import Store

pytestmark = pytest.mark.usefixtures("typed_events")

SECOND = 10**9


@dataclass
class Clock:
    now: int = 1_000 * SECOND

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def live(tmp_path: Path, clock: Clock) -> Iterator[LiveTwin]:
    described = plant("modbus://127.0.0.1:1/1")
    with Store(tmp_path / "history.duckdb") as store:
        history = History(store, [p.name for p in described.points], lambda _: None)
        yield LiveTwin(described, 1, history, clock)
        history.close()


def read(live: LiveTwin, clock: Clock, point: int = 1, value: float = 1.0) -> None:
    live.readings(Readings.of([point], [value], clock()))


def code(live: LiveTwin, point: int = 1) -> int:
    return int(live.table.columns.quality[point])


def test_a_value_nobody_confirms_becomes_stale_and_keeps_its_age(live: LiveTwin, clock: Clock) -> None:
    read(live, clock)
    received = live.table.columns.received_time[1]
    clock.now += int(STALE_AFTER_S * SECOND)
    assert live.sweep() == 0
    clock.now += 1
    assert live.sweep() == 1
    assert code(live) == quality.UNCERTAIN_LAST_USABLE
    assert live.table.columns.value[1] == 1.0
    assert live.table.columns.received_time[1] == received
    assert live.sweep() == 0


def test_a_device_that_is_heard_keeps_its_unchanged_values_fresh(live: LiveTwin, clock: Clock) -> None:
    read(live, clock)
    for _ in range(30):
        clock.now += SECOND
        live.heard("plc")
        live.sweep()
    assert code(live) == quality.GOOD


def test_values_that_grew_stale_while_we_were_away_hold_again_once_the_device_is_heard(
    live: LiveTwin, clock: Clock
) -> None:
    read(live, clock)
    clock.now += 60 * SECOND
    live.sweep()
    live.heard("plc")
    assert code(live) == quality.GOOD
    live.readings(Readings.of([1], [1.0], clock(), quality.UNCERTAIN_LAST_USABLE))
    live.heard("plc")
    assert code(live) == quality.UNCERTAIN_LAST_USABLE, "the device itself said so"


def test_a_stale_value_of_a_link_that_broke_is_not_good_by_being_heard(live: LiveTwin, clock: Clock) -> None:
    read(live, clock)
    clock.now += 60 * SECOND
    live.sweep()
    live.link_state("plc", LinkState.OFFLINE, "cable")
    live.heard("plc")
    assert code(live) == quality.BAD_NO_COMMUNICATION


def test_being_heard_does_not_make_a_bad_value_young(live: LiveTwin, clock: Clock) -> None:
    live.readings(Readings.of([1], [1.0], clock(), quality.BAD_SENSOR_FAILURE))
    before = live.table.columns.received_time[1]
    clock.now += SECOND
    live.heard("plc")
    assert live.table.columns.received_time[1] == before


def test_a_broken_link_makes_every_value_of_its_device_bad_and_no_other(live: LiveTwin, clock: Clock) -> None:
    for point in (0, 1, 3):
        read(live, clock, point)
    live.link_state("plc", LinkState.ONLINE, "")
    live.link_state("plc", LinkState.OFFLINE, "cable")
    assert {code(live, 0), code(live, 1)} == {quality.BAD_NO_COMMUNICATION}
    assert code(live, 3) == quality.GOOD
    assert live.table.columns.value[1] == 1.0


def test_the_same_reading_again_after_a_break_is_good_again(live: LiveTwin, clock: Clock) -> None:
    reading = Readings.of([1], [1.0], clock(), source_time=clock() - SECOND)
    live.readings(reading)
    live.link_state("plc", LinkState.OFFLINE, "cable")
    clock.now += SECOND
    live.readings(reading)
    assert code(live) == quality.GOOD


def test_a_point_never_read_is_not_made_to_look_as_if_it_had_been(live: LiveTwin) -> None:
    live.link_state("plc", LinkState.OFFLINE, "cable")
    assert code(live) == quality.BAD_WAITING_FOR_INITIAL_DATA
    assert live.table.columns.source_time[1] == NEVER


@pytest.mark.parametrize(
    ("reason", "wanted"),
    [
        ("range", quality.BAD_OUT_OF_RANGE),
        ("nan", quality.BAD_SENSOR_FAILURE),
        ("type", quality.BAD),
        ("decode", quality.BAD),
    ],
)
def test_a_rejected_reading_leaves_the_old_value_bad(live: LiveTwin, clock: Clock, reason: str, wanted: int) -> None:
    read(live, clock)
    live.dead_letter(DeadLetter("plc", "pump.running", "discrete:0", reason, "why", b"\xff", clock()))
    assert code(live) == wanted
    assert live.table.columns.value[1] == 1.0
    clock.now += 1
    read(live, clock, value=0.0)
    assert code(live) == quality.GOOD


def test_a_rejected_reading_from_before_the_newest_one_says_nothing_of_it(live: LiveTwin, clock: Clock) -> None:
    """A server that was unreachable hands over what it had queued after the link has asked for the value of now."""
    read(live, clock)
    late = DeadLetter("plc", "pump.running", "discrete:0", "range", "", b"", clock.now + 5, clock.now - SECOND)
    live.dead_letter(late)
    assert code(live) == quality.GOOD and live.counts["dead_letters"] == 1
    live.dead_letter(replace(late, source_time=clock.now))
    assert code(live) == quality.BAD_OUT_OF_RANGE


def test_a_dead_letter_is_answered_by_sql_with_its_bytes(live: LiveTwin, clock: Clock) -> None:
    live.dead_letter(DeadLetter("plc", "", "site/x", "unknown_address", "nobody", b"\x00\xff", clock()))
    live.history.flush().result(10)
    answer = Queries(live.history.store).run({}, "SELECT device, address, reason, raw FROM dead_letters", 5)
    assert answer.rows == [("plc", "site/x", "unknown_address", b"\x00\xff")]


def test_what_was_known_before_a_restart_is_shown_but_not_as_good(live: LiveTwin, clock: Clock) -> None:
    last = Readings.of([0, 1], [1.0, 0.0], clock(), [quality.GOOD, quality.BAD_TIMEOUT], [5, 6])
    live.restore(last, clock())
    assert (code(live, 0), code(live, 1)) == (quality.UNCERTAIN_LAST_USABLE, quality.BAD_TIMEOUT)
    assert live.table.columns.value[:2].tolist() == [1.0, 0.0]
    assert np.all(live.table.columns.received_time[:2] == NEVER)
    live.readings(Readings.of([0], [1.0], clock(), source_time=5))
    assert code(live, 0) == quality.GOOD


def test_nothing_looks_good_of_the_time_between_a_crash_and_the_restart(live: LiveTwin, clock: Clock) -> None:
    read(live, clock)
    live.history.flush().result(10)
    store, crashed = live.history.store, clock.now
    clock.now += 7_200 * SECOND
    last, heard_until = store.latest({p.name: p.id for p in live.plant.points}, clock()), store.last_received()
    assert last is not None and heard_until == crashed
    live.restore(last, heard_until)
    clock.now += 10 * SECOND
    read(live, clock)
    live.history.flush().result(10)
    found = {
        then: store.state_at(store.cursor(), then, clock.now).quality.tolist()
        for then in (crashed - 1, crashed, crashed + 3_600 * SECOND, clock.now - 1, clock.now)
    }
    unsure = [quality.UNCERTAIN_LAST_USABLE]
    assert list(found.values()) == [[], unsure, unsure, unsure, [quality.GOOD]]


def test_a_fall_in_quality_is_a_change_in_history_with_the_time_it_was_noticed(live: LiveTwin, clock: Clock) -> None:
    read(live, clock)
    clock.now += 100 * SECOND
    live.sweep()
    live.history.flush().result(10)
    sql = "SELECT quality_name, epoch_ns(received_time) FROM history ORDER BY received_time"
    rows = Queries(live.history.store).run({}, sql, 5).rows
    assert rows == [("Good", 1_000 * SECOND), ("UncertainLastUsableValue", 1_100 * SECOND)]


def test_a_link_announces_a_change_once_and_wakes_whoever_waits(live: LiveTwin) -> None:
    woken: list[str] = []
    live.on_link_change = woken.append
    for _ in range(3):
        live.link_state("plc", LinkState.ONLINE, "")
    assert woken == ["plc"]
    assert [e.body["state"] for e in live.feed.events_since(0)] == ["online"]
