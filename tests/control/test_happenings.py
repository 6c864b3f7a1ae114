"""What happened in a span and what was going on at a moment, by the index of the ledger."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from control.happenings import KINDS, Happened, Span, active_then, happened, open_then
from tests.control.test_audit_index import NIGHT, Works, command

ALWAYS = 2**62


@pytest.fixture
def works(tmp_path: Path) -> Iterator[Works]:
    made = Works(tmp_path)
    yield made
    made.close()


def at(second: int) -> int:
    return NIGHT + second * 10**9


def alarm(works: Works, step: str, second: int, name: str = "tank_1.level:low", **more: Any) -> None:
    body = {"n": second, "alarm": name, "point": "tank_1.level", "twin": "tank_1", "priority": "high", "step": step,
            "rings": step == "active", "by": "", "reason": "", "value": 2.5, "until_ns": None, "occurrence": 1}  # fmt: skip
    works.record("alarm", {**body, **more}, second)


def found(works: Works, kinds: tuple[str, ...] = KINDS, **more: Any) -> list[Happened]:
    asked = {"kinds": kinds, "start": at(0), "end": at(1000), "before": ALWAYS, "limit": 100, **more}
    return happened(works.index, Span(**asked))


def test_an_alarm_is_active_from_its_coming_to_its_clearing_and_acknowledged_in_between(works: Works) -> None:
    alarm(works, "active", 10)
    alarm(works, "acknowledged", 20, by="ann", value=None)
    alarm(works, "unsure", 25)
    alarm(works, "cleared", 30, value=3.5)
    alarm(works, "active", 40, value=2.4)
    alarm(works, "gone", 50)
    seen = {s: [(a.alarm, a.acked, a.value, (a.since - NIGHT) // 10**9) for a in active_then(works.index, at(s))]
            for s in (9, 10, 26, 30, 41, 50)}  # fmt: skip
    low = "tank_1.level:low"
    assert seen == {9: [], 10: [(low, False, 2.5, 10)], 26: [(low, True, 2.5, 10)], 30: [],
                    41: [(low, False, 2.4, 40)], 50: []}  # fmt: skip


def test_an_alarm_that_came_without_a_value_has_none_of_an_earlier_coming(works: Works) -> None:
    alarm(works, "active", 10)
    alarm(works, "cleared", 20)
    alarm(works, "active", 30, value=None)
    assert [a.value for a in active_then(works.index, at(31))] == [None]


def test_for_an_alarm_that_nobody_is_asked_to_acknowledge_nothing_is_owed(works: Works) -> None:
    alarm(works, "active", 10)
    alarm(works, "active", 11, name="tank_2.level:low")
    seen = active_then(works.index, at(12), {"tank_2.level:low"})
    assert {a.alarm: a.acked for a in seen} == {"tank_1.level:low": False, "tank_2.level:low": True}


def test_a_command_is_open_until_it_is_over(works: Works) -> None:
    works.record("command", command("pump_335.speed", "ann", by="ann"), 10)
    works.record("command", command("pump_335.speed", "ann", 1, "SENT"), 12)
    works.record("command", command("pump_335.speed", "ann", 2, "CONFIRMED"), 14)
    seen = {s: [(c.id, c.author, c.status) for c in open_then(works.index, at(s))] for s in (9, 11, 13, 14)}
    assert seen == {
        9: [],
        11: [("c-pump_335.speed", "ann", "QUEUED")],
        13: [("c-pump_335.speed", "ann", "SENT")],
        14: [],
    }


def test_happenings_come_newest_first_by_kind_span_and_page(works: Works) -> None:
    alarm(works, "active", 10)
    works.record("command", command("pump_335.speed", "ann", by="ann"), 20)
    works.record("login", {"user": "ann", "role": "operator", "by": "password", "peer": "192.0.2.1"}, 25)
    works.record("graph", {"edit": 1, "author": "eve", "count": 2, "sha256": "0",
                           "changes": ["+ twin pump_9 dtmi:x;1", "+ relationship pump_9 feeds tank_1"]}, 30)  # fmt: skip
    assert [(h.kind, h.action, h.by) for h in found(works)] == [
        ("graph", "edited", "eve"), ("command", "QUEUED", "ann"), ("alarm", "active", ""),
    ]  # fmt: skip
    assert found(works)[0].twins == ["pump_9", "tank_1"] and found(works)[1].points == ["pump_335.speed"]
    assert [h.kind for h in found(works, ("alarm", "graph"), start=at(10), end=at(30))] == ["alarm"]
    page = found(works, limit=2)
    assert [h.kind for h in found(works, before=page[-1].entry)] == ["alarm"]
