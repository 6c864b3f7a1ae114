"""Handlers of what is asked of alarms: they parse, ask and answer, and decide nothing; and their rows of the table of routes.

What people do with alarms is in alarm_verbs.py.
"""

from __future__ import annotations

import asyncio
import csv
import io
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterable, Iterator, Sequence
from contextlib import aclosing
from dataclasses import asdict, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from starlette.responses import StreamingResponse

from control.alarm_store import COLUMNS, Delivery, Taken, Wanted
from control.api import exporting
from control.api import wire_alarm as wire
from control.api.alarm_verbs import ALARMS, SPAN_MAX_NS, record_of, subtree_of
from control.api.route import Call, Route
from twin.alarm import PRIORITIES, RANK, SHARES
from twin.alarm_statistics import priority_check
from twin.alarms import State, Step
from twin.errors import BadRequest
from twin.lists import listed
from twin.role import Act

if TYPE_CHECKING:
    from control.api.part import Parts

LISTED_MAX = 5_000  # alarms or steps of one answer: 3 MB
EXPORT_MAX = 1_000_000  # rows of one CSV: 150 MB
EXPORT_PAGE = 1_000  # rows of it at a time
SPAN_DEFAULT = "-24h"
TIME_SPAN = ("from", "to")
FILTERS = ("twin", "priority", *TIME_SPAN)

STATES: dict[str, Callable[[State], bool]] = {
    "open": lambda s: s.told and s.owed,
    "active": lambda s: s.told and s.active,
    "unacknowledged": lambda s: s.told and not s.acked,
    "shelved": lambda s: s.until is not None,
    "suppressed": lambda s: s.suppressed or s.designed,
    "out_of_service": lambda s: s.out_of_service,
    "unsure": lambda s: s.unsure,
    "silent": lambda s: not s.told,
    "retained": lambda s: s.retained,
    "all": lambda s: True,
}
"""What `state` may ask for; `open`, the first, is what an operator has before them."""
BLIND = "blind"
"""Beside those: nobody can tell whether their condition holds."""
UNASKED = ("open", "active", "unacknowledged")
"""Those leave the journal out, unless its priority is named."""


# --- what is asked ---------------------------------------------------------------------------------------------------


async def alarms(parts: Parts, call: Call) -> wire.AlarmList:
    state = call.query.get("state", "open")
    if state not in STATES and state != BLIND:
        raise BadRequest(f"state={state!r}", f"one of {', '.join((*STATES, BLIND))}")
    limit = int(call.number("limit", 500, 1, LISTED_MAX))
    book, plan = parts.alarms.book, parts.alarms.plan
    twins, priorities = _subtree(parts, call), _words(call, "priority", PRIORITIES)
    if state in UNASKED and not priorities:
        priorities = frozenset(SHARES)
    start, end = call.span(parts.clock())
    found = [
        row for row in _of_state(parts, state)
        if (twins is None or plan.definitions[row].twin in twins)
        and (not priorities or plan.definitions[row].priority in priorities)
        and (start is None or (book.state(row).active_at or 0) >= start)
        and (end is None or (book.state(row).active_at or 0) < end)
    ]  # fmt: skip
    found.sort(key=lambda row: _urgency(book.state(row), RANK[plan.definitions[row].priority]), reverse=True)
    return wire.AlarmList(
        [record_of(parts, row) for row in found[:limit]], len(found), parts.alarms.flooded, parts.alarms.rate_10min,
        parts.alarms.waiting, parts.alarms.newest, parts.alarms.plan.settings.shelve_operator_s,
    )  # fmt: skip


def _of_state(parts: Parts, state: str) -> list[int]:
    book = parts.alarms.book
    if state == BLIND:
        return list(map(int, np.flatnonzero(book.conditions.blind)))
    rows = range(len(parts.alarms.plan.definitions)) if state == "all" else list(book.retained)
    return [row for row in rows if STATES[state](book.state(row))]


def _urgency(state: State, rank: int) -> tuple[bool, bool, int, int]:
    return state.active and not state.acked, state.active or not state.acked, rank, state.active_at or 0


async def alarm(parts: Parts, call: Call) -> wire.AlarmDetail:
    row = parts.alarms.book.row(call.path["id"])
    d = parts.alarms.plan.definitions[row]
    steps = await parts.alarms.history(Wanted(alarm=d.id))
    return wire.AlarmDetail(
        record_of(parts, row), d.condition.deadband, d.on_delay_s, d.off_delay_s, d.terms.shelve_max_s, d.terms.ack,
        d.terms.confirm, d.terms.latch, d.cause, d.consequence, d.response, d.suppress_when.text if d.suppress_when else "",
        [_step(s) for s in steps],
    )  # fmt: skip


async def history(parts: Parts, call: Call) -> list[wire.AlarmStep]:
    return [_step(s) for s in await parts.alarms.history(_wanted(parts, call))]


async def export(parts: Parts, call: Call) -> StreamingResponse:
    """CSV, newest first, page by page."""
    pages = _pages(parts, _wanted(parts, call))
    exporting.begin()
    head = await anext(pages)  # begun at once, so that its end is reached even when the client is gone already
    headers = {"content-disposition": 'attachment; filename="alarms.csv"'}
    return StreamingResponse(_rest(head, pages), 200, headers, "text/csv; charset=utf-8")


async def _pages(parts: Parts, wanted: Wanted) -> AsyncGenerator[str, None]:
    """Each made a text on a thread: a million rows keep nobody waiting."""
    try:
        yield _csv([("time_utc", *COLUMNS)])
        before, left = wanted.before, EXPORT_MAX
        while left > 0:
            steps = await parts.alarms.history(replace(wanted, before=before, limit=min(EXPORT_PAGE, left)))
            if not steps:
                return
            yield await asyncio.to_thread(_csv, _lines(steps))
            before, left = steps[-1].n, left - len(steps)
    finally:
        exporting.end()


async def _rest(head: str, pages: AsyncGenerator[str, None]) -> AsyncIterator[str]:
    async with aclosing(pages):
        yield head
        async for page in pages:
            yield page


async def statistics(parts: Parts, call: Call) -> wire.AlarmStatistics:
    start, end = call.span(parts.clock(), SPAN_DEFAULT)
    assert start is not None
    end = parts.clock() if end is None else end
    if not 0 < end - start <= SPAN_MAX_NS:
        raise BadRequest("from and to", "give a span of more than nothing and of at most a year")
    found = await parts.alarms.statistics(start, end)
    configured = priority_check(d.priority for d in parts.alarms.plan.definitions)
    body = asdict(found)
    for key in ("by_priority", "shares"):
        del body[key]
    body |= {"start": start / 1e6, "end": end / 1e6}
    body["priorities"] = [
        wire.AlarmPriorityShare(p.value, *configured[p][:2], found.by_priority[p], found.shares[p], SHARES[p])
        for p in SHARES
    ]
    body["floods"] = [
        wire.AlarmFlood(f.start / 1e6, None if f.end is None else f.end / 1e6, f.count) for f in found.floods
    ]
    body["standing"] = [wire.AlarmStanding(s.alarm, s.since / 1e6) for s in found.standing]
    return msgspec.convert(body, wire.AlarmStatistics, from_attributes=True)


async def rollup(parts: Parts, _: Call) -> list[wire.AlarmRollup]:
    return [
        wire.AlarmRollup(r.twin, **r.counts, worst=r.worst, priority=r.priority.value if r.priority else "")
        for r in await parts.alarms.rollup()
    ]


async def rules(parts: Parts, call: Call) -> wire.AlarmRulesInfo:
    limit = int(call.number("limit", 100, 1, LISTED_MAX))
    counts = await parts.alarm_rules.counts()
    found = await parts.alarm_rules.deliveries(call.query.get("rule", ""), call.query.get("state", "dead"), limit)
    return wire.AlarmRulesInfo(
        [
            wire.AlarmRuleInfo(
                r.id, r.doing.value, sorted(r.on),
                *(counts.get(r.id, {}).get(s, 0) for s in ("waiting", "done", "dead", "limited")),
            )
            for r in parts.alarms.plan.rules
        ],
        [_delivery(d) for d in found],
    )  # fmt: skip


async def retry(parts: Parts, call: Call) -> wire.AlarmDelivery:
    asked: wire.AlarmRetry = call.body
    return _delivery(await parts.alarm_rules.retry(asked.id))


# --- forms -----------------------------------------------------------------------------------------------------------


def _step(s: Taken) -> wire.AlarmStep:
    until = None if s.until is None else s.until / 1e6
    return wire.AlarmStep(
        s.n, s.time / 1e6, s.alarm, s.point, s.twin, s.priority, s.step, s.rings, s.by, s.reason, s.value, until,
        s.occurrence,
    )  # fmt: skip


def _delivery(d: Delivery) -> wire.AlarmDelivery:
    return wire.AlarmDelivery(
        d.id, d.rule, d.n, d.time / 1e6, d.state, d.attempts, d.next_at / 1e6, d.detail, msgspec.json.decode(d.body)
    )


def _wanted(parts: Parts, call: Call) -> Wanted:
    start, end = call.span(parts.clock())
    before = call.query.get("before")
    return Wanted(
        call.query.get("alarm", ""), _subtree(parts, call), _words(call, "priority", PRIORITIES),
        _words(call, "step", (*Step, "flood", "flood_over")), call.query.get("by", ""), start, end,
        None if before is None else int(call.number("before", 0, 0, 2**53)),
        int(call.number("limit", 200, 1, LISTED_MAX)),
    )  # fmt: skip


def _words(call: Call, key: str, known: Sequence[str]) -> frozenset[str]:
    """A list with commas."""
    found = frozenset(listed(call.query.get(key, "")))
    if wrong := sorted(found - set(map(str, known))):
        raise BadRequest(f"{key}={wrong[0]!r}", f"one of {', '.join(map(str, known))}")
    return found


def _subtree(parts: Parts, call: Call) -> frozenset[str] | None:
    twin = call.query.get("twin")
    return None if not twin else subtree_of(parts, twin)


def _lines(steps: Sequence[Taken]) -> Iterator[Sequence[object]]:
    for s in steps:
        yield datetime.fromtimestamp(s.time / 1e9, UTC).isoformat(timespec="milliseconds"), *asdict(s).values()


def _csv(rows: Iterable[Sequence[object]]) -> str:
    """Texts that a spreadsheet would take for formulas are written as texts."""
    out = io.StringIO()
    writer = csv.writer(out)
    for row in rows:
        writer.writerow(
            [f"'{c}" if isinstance(c, str) and c[:1] in ("=", "+", "-", "@", "\t", "\r") else c for c in row]
        )
    return out.getvalue()


ALARM_ROUTES: tuple[Route, ...] = (
    Route("GET", ALARMS, alarms, "Alarms as they stand, the most urgent first", wire.AlarmList,
          query=("state", "limit", *FILTERS)),
    Route("GET", f"{ALARMS}/history", history, "Steps of alarms, newest first", list[wire.AlarmStep],
          query=("alarm", "step", "by", "before", "limit", *FILTERS)),
    Route("GET", f"{ALARMS}/export", export, "Steps of alarms as CSV, newest first", bytes,
          query=("alarm", "step", "by", "before", "limit", *FILTERS)),
    Route("GET", f"{ALARMS}/statistics", statistics, "How well the alarm system works (EEMUA 191, ISA-18.2)",
          wire.AlarmStatistics, query=TIME_SPAN),
    Route("GET", f"{ALARMS}/rollup", rollup, "Alarms counted up the parts of the plant", list[wire.AlarmRollup]),
    Route("GET", f"{ALARMS}/rules", rules, "Rules of alarms and what they owe", wire.AlarmRulesInfo,
          query=("rule", "state", "limit")),
    Route("POST", f"{ALARMS}/rules/retry", retry, "Try a dead letter again", wire.AlarmDelivery, wire.AlarmRetry,
          act=Act.KEEP),
    Route("GET", f"{ALARMS}/{{id}}", alarm, "One alarm, its newest steps and its rationalisation", wire.AlarmDetail),
)  # fmt: skip
