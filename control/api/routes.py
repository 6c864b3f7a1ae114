"""The HTTP routes as one table, from which the Starlette routes and the OpenAPI document are made.

Handlers parse, ask the part that knows, and answer; they decide nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from control.api import history_routes, wire
from control.api.access_routes import ACCESS_ROUTES
from control.api.alarm_routes import ALARM_ROUTES
from control.api.audit_routes import AUDIT_ROUTES
from control.api.branch_routes import BRANCH_ROUTES
from control.api.chain_routes import CHAIN_ROUTES
from control.api.erase_routes import ERASE_ROUTES
from control.api.learned_routes import LEARNED_ROUTES
from control.api.lookahead_routes import LOOKAHEAD_ROUTES
from control.api.operations_routes import OPERATIONS_ROUTES
from control.api.part import Parts
from control.api.past_routes import PAST_ROUTES
from control.api.prediction_routes import PREDICTION_ROUTES
from control.api.route import API, Call, Route
from control.api.session_routes import SESSION_ROUTES
from control.api.twin_routes import TWIN_ROUTES
from control.api.verbs import VERB_ROUTES
from control.api.view_routes import VIEW_ROUTES
from control.api.whatif_routes import WHATIF_ROUTES
from control.questions import Question
from twin.columns import NEVER
from twin.errors import BadRequest
from twin.quality import is_good
from twin.quality import name as quality_name
from twin.role import Act

TREND_MAX = 5_000  # points of one trend: more than a screen has columns


async def plant(parts: Parts, _: Call) -> Response:
    return Response(await parts.shown.info(parts.plant), media_type="application/json")


async def point(parts: Parts, call: Call) -> dict[str, Any]:
    found = parts.plant.point(call.path["name"])
    columns = parts.live.table.columns
    good = is_good(int(columns.quality[found.id]))
    value, read = float(columns.value[found.id]), int(columns.source_time[found.id])
    return {
        "point": found.name, "value": value if value == value else None, "text": columns.text.get(found.id),
        "unit": found.unit, "good": good, "quality": quality_name(int(columns.quality[found.id])),
        "source_time": None if read == NEVER else read / 1e6, "revision": int(columns.revision[found.id]),
        "desired": parts.commands.desired.get(found.id),
    }  # fmt: skip


async def run_query(parts: Parts, call: Call) -> wire.QueryResult:
    """On a consistent moment of the columns, off the event loop; what the caller did before is in it."""
    asked: wire.QueryRequest = call.body
    answer = await parts.questions.ask(Question(asked.sql, asked.limit, asked.at, asked.known, asked.branch))
    rows = [list(row) for row in answer.rows]
    return wire.QueryResult(answer.columns, rows, answer.truncated, answer.elapsed_ms)


async def trend(parts: Parts, call: Call) -> wire.Trend:
    point = parts.plant.point(call.query.get("point", ""))
    start, end = call.span(parts.clock(), "-1h", "+1m")
    assert start is not None and end is not None
    most = int(call.number("max", 2_000, 2, TREND_MAX))
    await asyncio.wrap_future(parts.live.history.flush())
    drawn = await asyncio.to_thread(parts.store.trend, point.name, max(0, start), end, most)
    return wire.Trend(
        point.name,
        point.unit,
        [t / 1e6 for t, _, _ in drawn.rows],
        [v if is_good(q) and v is not None else None for _, v, q in drawn.rows],
        [q for _, _, q in drawn.rows],
        drawn.tier,
        drawn.whole,
    )


ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/plant",
        plant,
        "The plant: devices, twins with their places, relationships, points",
        wire.PlantInfo,
    ),
    Route("GET", f"{API}/points/{{name}}", point, "One point as it is now", dict),
    Route("POST", f"{API}/query", run_query, "One SELECT over the twin", wire.QueryResult, wire.QueryRequest),
    Route(
        "GET",
        f"{API}/history",
        trend,
        "One point over time",
        wire.Trend,
        query=("point", "from", "to", "max"),
        needs=("point",),
    ),
    Route(
        "GET",
        f"{API}/history/export",
        history_routes.export_history,
        "History as a Parquet file",
        bytes,
        query=("tier", "from", "to", "points"),
    ),
    Route(
        "POST",
        f"{API}/history/import",
        history_routes.import_rows,
        "Take one part of an export, as an Arrow IPC stream, into history",
        wire.ImportedRows,
        bytes,
        query=("dry_run",),
        raw=True,
        body_max=history_routes.PART_BYTES_MAX,
        act=Act.KEEP,
    ),
    Route(
        "POST",
        f"{API}/backup",
        history_routes.start_backup,
        "Copy the data folder while the server runs",
        wire.BackupRun,
        wire.BackupRequest,
        status=202,
        act=Act.KEEP,
    ),
    Route("GET", f"{API}/backup", history_routes.backup, "The newest back-up and how far it is", wire.BackupRun),
    *SESSION_ROUTES,
    *TWIN_ROUTES,
    *BRANCH_ROUTES,
    *PREDICTION_ROUTES,
    *LOOKAHEAD_ROUTES,
    *ACCESS_ROUTES,
    *VERB_ROUTES,
    *WHATIF_ROUTES,
    *LEARNED_ROUTES,
    *AUDIT_ROUTES,
    *CHAIN_ROUTES,
    *ERASE_ROUTES,
    *OPERATIONS_ROUTES,
    *VIEW_ROUTES,
    *ALARM_ROUTES,
    *PAST_ROUTES,
)


def parse_body(route: Route, raw: bytes) -> Any:
    """
    Raises:
        BadRequest: not JSON, or not of the route's type; the message names the field.
    """
    if route.raw:
        return raw
    if route.takes is None:
        return None
    try:
        return msgspec.json.decode(raw or b"{}", type=route.takes)
    except msgspec.ValidationError as error:
        wanted = "JSON object" if route.takes.__name__ == "dict" else route.takes.__name__
        raise BadRequest(f"the body is not a {wanted}: {error}", "/openapi.json and docs/wire.md say what is") from None
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"the body is not JSON: {error}", "send application/json") from None
