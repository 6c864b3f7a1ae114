"""Handlers of the look-ahead: they parse, ask and answer, and decide nothing."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from control.api import wire_lookahead as wire
from control.api.route import API, Call, Route
from control.lookahead_alarms import Quiet, Shelf
from control.lookout import alarm_body, forecast_body
from twin.lookahead import Lookahead
from twin.role import Act

if TYPE_CHECKING:
    from control.api.part import Parts

LISTED_MAX = 1_000
NOTHING = Lookahead()


async def lookahead(parts: Parts, _: Call) -> wire.LookaheadState:
    at_work = parts.lookout
    asked, made = at_work.asked or NOTHING, at_work.forecast
    return wire.LookaheadState(
        at_work.state.value,
        at_work.why,
        at_work.since / 1e6,
        asked.every_s,
        asked.horizon_s,
        asked.p_min,
        asked.p_clear,
        asked.off_delay_s,
        at_work.limits,
        msgspec.convert(at_work.turns, wire.TurnsTaken, from_attributes=True),
        None if made is None else msgspec.convert(forecast_body(made), wire.ForecastRecord),
        msgspec.convert([alarm_body(a) for a in at_work.standing], list[wire.PredictedAlarm]),
        at_work.passed_now,
        [_quiet(q) for q in at_work.quiet],
        [_shelf(s) for s in at_work.shelves],
    )


async def predicted_alarms(parts: Parts, call: Call) -> list[wire.PredictedAlarm]:
    found = await parts.lookout.alarms(int(call.number("limit", 100, 1, LISTED_MAX)))
    return msgspec.convert([alarm_body(a) for a in found], list[wire.PredictedAlarm])


async def scores(parts: Parts, call: Call) -> wire.LookaheadScores:
    found = await parts.lookout.scores(int(call.number("limit", 20, 1, LISTED_MAX)))
    return wire.LookaheadScores(
        msgspec.convert(await parts.lookout.summary(), wire.LookaheadSummary, from_attributes=True),
        [
            wire.ForecastScore(
                s.forecast, s.made_at / 1e6, s.outcome.value, s.detail, s.scored_at / 1e6, s.until_s
            )
            for s in found
        ],
    )  # fmt: skip


async def shelve(parts: Parts, call: Call) -> wire.ShelfRecord:
    asked: wire.ShelfRequest = call.body
    return _shelf(await parts.lookout.shelve(asked.limit, asked.for_s, call.caller.name, asked.reason))


async def unshelve(parts: Parts, call: Call) -> None:
    asked: wire.LimitNamed = call.body
    await parts.lookout.unshelve(asked.limit, call.caller.name)


def _shelf(shelf: Shelf) -> wire.ShelfRecord:
    return wire.ShelfRecord(shelf.limit, shelf.until / 1e6, shelf.by, shelf.reason)


def _quiet(found: Quiet) -> wire.QuietLimit:
    alarm = found.alarm
    again = msgspec.convert(alarm.again, wire.PassedAgain, from_attributes=True)
    return wire.QuietLimit(alarm.limit, alarm.status.value, alarm.ended_clock_s, found.armed_s, again)


LOOKAHEAD_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/lookahead",
        lookahead,
        "The newest forecast of the standing look-ahead, and the alarms it predicts",
        wire.LookaheadState,
    ),
    Route(
        "GET",
        f"{API}/lookahead/alarms",
        predicted_alarms,
        "Predicted alarms and what became of them, newest first",
        list[wire.PredictedAlarm],
        query=("limit",),
    ),
    Route(
        "GET",
        f"{API}/lookahead/scores",
        scores,
        "How forecasts fared, newest first, and the track record",
        wire.LookaheadScores,
        query=("limit",),
    ),
    Route(
        "POST",
        f"{API}/lookahead/shelve",
        shelve,
        "Hear nothing of the predicted alarms of a limit for a while",
        wire.ShelfRecord,
        wire.ShelfRequest,
        act=Act.COMMAND,
    ),
    Route(
        "POST",
        f"{API}/lookahead/unshelve",
        unshelve,
        "Hear of them again",
        None,
        wire.LimitNamed,
        status=204,
        act=Act.COMMAND,
    ),
)
