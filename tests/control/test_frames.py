"""Frames of one moment: what is shared, what a filter leaves of them, and that an edit of the plant gives twins more."""

from __future__ import annotations

import dataclasses
import time
from typing import Any, cast

import msgpack
import numpy as np
import pytest

from control.api import wire
from control.api.frames import Frames, Wanted, wanted
from control.api.sent_columns import wire_columns
from control.live import LiveTwin
from tests.control.sockets import Unkept, plant_of
from twin.columns import Columns
from twin.graph import TwinGraph
from twin.history import History
from twin.plant import Plant
from twin.points import Point
from twin.readings import Readings


@pytest.fixture
def live() -> LiveTwin:
    return LiveTwin(plant_of(3, 2), 7, cast(History, Unkept()), time.time_ns)


def move(live: LiveTwin, *ids: int) -> None:
    live.readings(Readings.of(np.array(ids, np.int32), np.ones(len(ids)), time.time_ns()))


def read(data: bytes) -> dict[str, Any]:
    return cast(dict[str, Any], msgpack.unpackb(data))


def points(data: bytes) -> list[int]:
    return cast(list[int], np.frombuffer(read(data)["columns"]["point"], "<u4").tolist())


def test_a_frame_is_made_once_for_all_who_need_it_at_a_moment(live: LiveTwin) -> None:
    frames = Frames(live, time.perf_counter)
    move(live, 0)
    first = frames.since(0, Wanted(), 1)
    assert frames.since(0, Wanted(), 1) is first and frames.made == 1
    assert frames.since(0, Wanted(twins=frozenset({"t2"})), 1) is not first
    assert frames.since(0, Wanted(), 2) is not first
    move(live, 1)
    assert points(frames.since(0, Wanted(), 2).messages[-1]) == [0, 1]


def test_nothing_is_sent_where_nothing_of_what_was_asked_for_happened_and_the_head_moves_on(live: LiveTwin) -> None:
    frames, of = Frames(live, time.perf_counter), Wanted(points=frozenset({4}), events=frozenset({"audit"}))
    move(live, 0)
    live.feed.announce("link", 0, {})
    assert frames.since(0, of, 1).messages == () and frames.since(0, of, 1).head == live.feed.seq
    live.feed.announce("audit", 0, {})
    closed = [read(m)["t"] for m in frames.since(0, of, 2).messages]
    assert closed == ["event", "heartbeat"]


def test_a_twin_that_an_edit_gave_more_points_is_sent_with_them(live: LiveTwin) -> None:
    frames = Frames(live, time.perf_counter)
    of = wanted(wire.Sub(twins=["t0"]), live.plant)
    assert points(frames.snapshot(of, 1).messages[0]) == [0, 1, 2, 3]  # t1 is its part
    old = live.plant
    more = Point(old.points.size, "t1.more", "t1", "more", "double", "m", "", "")
    live.adopt(dataclasses.replace(old, points=old.points.changed([more], [])), np.array([0], np.int32))
    move(live, more.id, 5)
    assert points(frames.snapshot(of, 2).messages[0]) == [0, 1, 2, 3, more.id]
    assert points(frames.since(0, of, 2).messages[-1]) == [more.id]


def test_the_graph_of_a_plant_is_made_once_however_many_filters_need_it(
    live: LiveTwin, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Plant] = []
    make = TwinGraph.__init__

    def counted(graph: TwinGraph, plant: Plant) -> None:
        made.append(plant)
        make(graph, plant)

    monkeypatch.setattr(TwinGraph, "__init__", counted)
    frames = Frames(live, time.perf_counter)
    for twins in ({"t0"}, {"t1"}, {"t0", "t2"}, {"t2"}):
        frames.snapshot(Wanted(twins=frozenset(twins)), 1)
    assert made == [live.plant]
    live.adopt(dataclasses.replace(live.plant), np.empty(0, np.int32))
    frames.snapshot(Wanted(twins=frozenset({"t0"})), 2)
    assert len(made) == 2


class Looked(dict[int, str]):
    """Counts how often somebody looks for one."""

    times = 0

    def __contains__(self, key: object) -> bool:
        self.times += 1
        return super().__contains__(key)


@pytest.mark.parametrize(("ids", "texts"), [(1_000, [3, 999, 1_500]), (2, [*range(2_000)]), (0, []), (5, [])])
def test_texts_cost_as_much_as_there_are_rows_or_texts_whichever_are_fewer(ids: int, texts: list[int]) -> None:
    columns = Columns.empty(2_000)
    columns.text = Looked({i: f"text {i}" for i in texts})
    sent = wire_columns(columns, np.arange(ids, dtype=np.int32))
    assert sent.text == {str(i): f"text {i}" for i in texts if i < ids}
    assert columns.text.times <= min(ids, len(texts))


def test_a_position_is_good_while_its_events_are_kept(live: LiveTwin) -> None:
    frames = Frames(live, time.perf_counter)
    move(live, 0)
    assert frames.resumable(wire.Position(7, 1)) == 1
    assert frames.resumable(None) is None
    assert frames.resumable(wire.Position(6, 1)) is None
    assert frames.resumable(wire.Position(7, 2)) is None
    assert frames.resumable(wire.Position(7, -1)) is None
