"""Handlers of looking back: the plant at a moment, and what happened in a span; they parse, ask and answer, decide nothing."""

from __future__ import annotations

import asyncio
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import numpy as np

from control import happenings
from control.api import wire_past as wire
from control.api.part import POINTS_MAX
from control.api.route import API, Call, Route
from control.api.sent_columns import wire_columns
from control.branches import instant
from twin.columns import NEVER
from twin.errors import BadRequest, LimitExceeded
from twin.lists import listed

if TYPE_CHECKING:
    from control.api.part import Parts

HAPPENINGS_MAX = 1_000  # of one answer: 0.4 MB
LAST = 2**62  # above every entry


async def state(parts: Parts, call: Call) -> wire.PlantState:
    """Of the plant as it is now: points that are gone are not told."""
    if len(parts.plant.points) > POINTS_MAX:
        raise LimitExceeded(
            f"{len(parts.plant.points)} points; {POINTS_MAX} are the limit", "ask POST /api/v1/query with `at`"
        )
    now = parts.clock()
    at, known = (instant(call.query.get(name, ""), now, name) for name in ("at", "known"))
    await asyncio.wrap_future(parts.live.history.flush())
    return await asyncio.to_thread(_state, parts, at, known)


def _state(parts: Parts, at: int, known: int) -> wire.PlantState:
    columns = parts.branches.state_of(at, known).columns
    ids = np.flatnonzero(columns.source_time != NEVER).astype(np.int32)
    index, then = parts.evidence.index, min(at, known)  # of alarms and commands nothing is known before it happens
    unasked = {d.id for d in parts.alarms.plan.definitions if not d.terms.ack}
    alarms, commands = happenings.active_then(index, then, unasked), happenings.open_then(index, then)
    return wire.PlantState(
        at / 1e6, known / 1e6, wire_columns(columns, ids),
        [wire.PastAlarm(**_in_ms(a, "since")) for a in alarms],
        [wire.PastCommand(**_in_ms(c, "since")) for c in commands],
    )  # fmt: skip


async def happened(parts: Parts, call: Call) -> wire.Happenings:
    start, end = call.span(parts.clock(), "-1h", "now")
    assert start is not None and end is not None
    kinds = listed(call.query.get("kind", "")) or list(happenings.KINDS)
    if wrong := sorted(set(kinds) - set(happenings.KINDS)):
        raise BadRequest(f"kind={wrong[0]!r}", f"one of {', '.join(happenings.KINDS)}")
    limit = int(call.number("limit", 200, 1, HAPPENINGS_MAX))
    before = int(call.number("before", LAST, 0, LAST))
    span = happenings.Span(kinds, start, end, before, limit)
    found = await asyncio.to_thread(happenings.happened, parts.evidence.index, span)
    return wire.Happenings(
        [wire.Happening(**_in_ms(h, "time")) for h in found], found[-1].entry if len(found) == limit else None
    )


def _in_ms(told: happenings.Happened | happenings.ActiveThen | happenings.OpenThen, key: str) -> dict[str, Any]:
    body = asdict(told)
    return {**body, key: body[key] / 1e6}


PAST_ROUTES: tuple[Route, ...] = (
    Route("GET", f"{API}/state", state, "The whole plant as it was at a moment", wire.PlantState, query=("at", "known")),
    Route("GET", f"{API}/happenings", happened, "What happened in a span, newest first", wire.Happenings,
          query=("from", "to", "kind", "limit", "before")),
)  # fmt: skip
