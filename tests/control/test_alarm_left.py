"""How alarms were left, read from the file of a server that has stopped."""

from __future__ import annotations

import contextlib
from pathlib import Path

from control.alarm_read import AlarmReader
from control.alarm_store import AlarmStore, Taken
from control.alarm_table import left_table
from ledger import sqlite_read
from twin.alarms import State


def step(n: int, alarm: str, priority: str) -> Taken:
    twin = alarm.partition(".")[0]
    return Taken(n, n * 10, alarm, alarm.rpartition(":")[0], twin, priority, "active", True, "", "", 9.0, None, n)


def test_each_alarm_stands_as_in_its_newest_step_and_by_its_id_where_none_is_kept(tmp_path: Path) -> None:
    store = AlarmStore(tmp_path / "alarms.sqlite")
    states = {
        "t1.level:high": State(active=True, acked=False, occurrence=2, active_at=20),
        "t0.level:low": State(occurrence=1, acked_by="anna"),
    }
    store.save(states, [step(1, "t1.level:high", "low"), step(2, "t1.level:high", "high")], ())
    store.close()
    with contextlib.closing(AlarmReader(sqlite_read.connect(tmp_path / "alarms.sqlite"))) as reader:
        table = left_table(reader.standing())
    columns = ["id", "row", "point", "twin", "priority", "state", "active", "occurrence", "condition", "blind"]
    assert [list(row.values()) for row in table.select(columns).to_pylist()] == [
        ["t0.level:low", "low", "t0.level", "t0", None, "normal", False, 1, None, None],
        ["t1.level:high", "high", "t1.level", "t1", "high", "unacknowledged", True, 2, None, None],
    ]
