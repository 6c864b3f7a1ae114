"""Alarms and their steps as tables of SQL: `alarms` and `alarm_history`; must not know who asks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pyarrow as pa

from control.alarm_read import Standing
from control.alarm_record import condition_words, word
from control.alarm_store import Taken
from twin.alarm import AlarmPlan
from twin.alarm_book import AlarmBook
from twin.alarms import State

HISTORY_MAX = 100_000  # the newest steps are the table `alarm_history`: a second of work, and only when it is asked for
NAMED = "alarm"  # in a statement: it may ask for one of the tables
MOMENT = pa.timestamp("ns")


def states(book: AlarmBook) -> tuple[list[State], list[bool]]:
    """Of one moment, to be made a table on a thread: how each stands, and where nobody can tell."""
    return [book.state(row) for row in range(len(book.plan.definitions))], book.conditions.blind.tolist()


def alarm_table(plan: AlarmPlan, found: tuple[Sequence[State], Sequence[bool]]) -> pa.Table:
    """One row an alarm, in the plant's order."""
    standing, blind = found
    definitions = plan.definitions
    texts = {
        "id": [d.id for d in definitions],
        "row": [d.row for d in definitions],
        "point": [d.point for d in definitions],
        "twin": [d.twin for d in definitions],
        "priority": [d.priority.value for d in definitions],
        "condition": [condition_words(d.condition) for d in definitions],
        "message": [d.message for d in definitions],
    }
    return _table(texts, standing, blind)


def left_table(found: Sequence[Standing]) -> pa.Table:
    """The same of alarms as a server left them, without the plant: NULL where only that could tell."""
    unknown = [None] * len(found)
    texts: dict[str, Sequence[str | None]] = {
        "id": [s.id for s in found],
        "row": [s.id.rpartition(":")[2] for s in found],
        "point": [s.point or s.id.rpartition(":")[0] for s in found],
        "twin": [s.twin or s.id.partition(".")[0] for s in found],
        "priority": [s.priority or None for s in found],
        "condition": unknown,
        "message": unknown,
    }
    return _table(texts, [s.state for s in found], unknown)


def _table(
    texts: Mapping[str, Sequence[str | None]], standing: Sequence[State], blind: Sequence[bool | None]
) -> pa.Table:
    said = {
        "state": [word(s) for s in standing],
        "acked_by": [s.acked_by for s in standing],
        "comment": [s.comment for s in standing],
    }
    flags = ("active", "acked", "confirmed", "latched", "unsure", "told", "first_out")
    times = {"active_at": "active_at", "cleared_at": "cleared_at", "acked_at": "acked_at", "shelved_until": "until"}
    return pa.table(
        {
            **{name: pa.array(column, pa.string()) for name, column in {**texts, **said}.items()},
            **{name: pa.array([getattr(s, name) for s in standing], pa.bool_()) for name in flags},
            "blind": pa.array(blind, pa.bool_()),
            **{name: pa.array([getattr(s, key) for s in standing], MOMENT) for name, key in times.items()},
            "occurrence": pa.array([s.occurrence for s in standing], pa.int64()),
            "value": pa.array([s.value for s in standing], pa.float64()),
        }
    )


def step_table(steps: Sequence[Taken]) -> pa.Table:
    """One row a step, newest first."""
    texts = ("alarm", "point", "twin", "priority", "step", "by", "reason")
    return pa.table(
        {
            "n": pa.array([s.n for s in steps], pa.int64()),
            "time": pa.array([s.time for s in steps], MOMENT),
            **{name: pa.array([getattr(s, name) for s in steps], pa.string()) for name in texts},
            "rings": pa.array([s.rings for s in steps], pa.bool_()),
            "value": pa.array([s.value for s in steps], pa.float64()),
            "until": pa.array([s.until for s in steps], MOMENT),
            "occurrence": pa.array([s.occurrence for s in steps], pa.int64()),
        }
    )
