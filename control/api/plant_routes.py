"""Handlers of the plant as it is: the whole of it, one point, and questions in SQL; they parse, ask and answer."""

from __future__ import annotations

from typing import Any

from starlette.responses import Response

from control.api import wire
from control.api.part import Parts
from control.api.route import API, Call, Route
from control.questions import Question
from twin.columns import NEVER
from twin.quality import is_good
from twin.quality import name as quality_name


async def plant(parts: Parts, _: Call) -> Response:
    return Response(await parts.shown.info(parts.plant), media_type="application/json")


async def point(parts: Parts, call: Call) -> dict[str, Any]:
    found = parts.plant.point(call.path["name"])
    columns = parts.live.table.columns
    good = is_good(int(columns.quality[found.id]))
    value, read = float(columns.value[found.id]), int(columns.source_time[found.id])
    return {
        "point": found.name,
        "value": value if value == value else None,
        "text": columns.text.get(found.id),
        "unit": found.unit,
        "good": good,
        "quality": quality_name(int(columns.quality[found.id])),
        "source_time": None if read == NEVER else read / 1e6,
        "revision": int(columns.revision[found.id]),
        "desired": parts.commands.desired.get(found.id),
    }


async def run_query(parts: Parts, call: Call) -> wire.QueryResult:
    """On a consistent moment of the columns, off the event loop; what the caller did before is in it."""
    asked: wire.QueryRequest = call.body
    answer = await parts.questions.ask(Question(asked.sql, asked.limit, asked.at, asked.known, asked.branch))
    rows = [list(row) for row in answer.rows]
    return wire.QueryResult(answer.columns, rows, answer.truncated, answer.elapsed_ms)


PLANT_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/plant",
        plant,
        "The plant: devices, twins with their places, relationships, points",
        wire.PlantInfo,
    ),
    Route("GET", f"{API}/points/{{name}}", point, "One point as it is now", dict),
    Route("POST", f"{API}/query", run_query, "One SELECT over the twin", wire.QueryResult, wire.QueryRequest),
)
