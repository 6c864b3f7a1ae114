"""The HTTP routes as one table, from which the Starlette routes and the OpenAPI document are made.

Handlers parse, ask the part that knows, and answer; they decide nothing.
"""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec
from starlette.responses import Response

from control import graph_runs
from control.api import (
    history_routes,
    lookahead_routes,
    prediction_routes,
    session_routes,
    twin_routes,
    wire,
    wire_access,
    wire_lookahead,
    wire_prediction,
)
from control.api.access_routes import ACCESS_ROUTES
from control.api.alarm_routes import ALARM_ROUTES
from control.api.audit_routes import AUDIT_ROUTES
from control.api.chain_routes import CHAIN_ROUTES
from control.api.erase_routes import ERASE_ROUTES
from control.api.learned_routes import LEARNED_ROUTES
from control.api.operations_routes import OPERATIONS_ROUTES
from control.api.part import Parts
from control.api.past_routes import PAST_ROUTES
from control.api.route import API, Call, Route
from control.api.verbs import VERB_ROUTES
from control.api.view_routes import VIEW_ROUTES
from control.api.whatif_routes import WHATIF_ROUTES
from control.branches import Branch
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


async def branches(parts: Parts, _: Call) -> list[wire.BranchInfo]:
    return [_branch(b) for b in parts.branches.all()]


async def branch(parts: Parts, call: Call) -> wire.BranchInfo:
    return _branch(parts.branches.get(call.path["name"]))


async def create_branch(parts: Parts, call: Call) -> wire.BranchInfo:
    asked: wire.BranchRequest = call.body
    return _branch(await parts.branches.create(asked.name, asked.at, asked.known, asked.values, asked.note))


async def set_in_branch(parts: Parts, call: Call) -> wire.BranchInfo:
    return _branch(parts.branches.set(call.path["name"], call.body))


async def delete_branch(parts: Parts, call: Call) -> wire.BranchInfo:
    return _branch(parts.branches.delete(call.path["name"]))


def _branch(branch: Branch) -> wire.BranchInfo:
    return wire.BranchInfo(branch.name, branch.made_at / 1e6, branch.taken_at / 1e6, branch.note, dict(branch.changed))


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
    Route(
        "GET",
        f"{API}/twins",
        twin_routes.twins,
        "Twins in order of id",
        wire.TwinPage,
        query=("interface", "kind", "limit", "cursor"),
    ),
    Route(
        "POST",
        f"{API}/twins",
        twin_routes.create,
        "Create a twin",
        wire.TwinRecord,
        wire.TwinRequest,
        status=201,
        act=Act.EDIT,
    ),
    Route("GET", f"{API}/twins/{{id}}", twin_routes.twin, "One twin, its values and relationships", wire.TwinRecord),
    Route(
        "PATCH",
        f"{API}/twins/{{id}}",
        twin_routes.patch,
        "Change a twin by JSON merge patch",
        wire.TwinRecord,
        dict[str, Any],
        act=Act.EDIT,
    ),
    Route("DELETE", f"{API}/twins/{{id}}", twin_routes.delete, "Delete a twin", None, status=204, act=Act.EDIT),
    Route("GET", f"{API}/twins/{{id}}/thing", twin_routes.thing, "A twin as a W3C Thing Description", dict),
    Route(
        "PUT",
        f"{API}/twins/{{id}}/relationships/{{name}}/{{target}}",
        twin_routes.link,
        "Relate a twin to another",
        wire.TwinRelationship,
        act=Act.EDIT,
    ),
    Route(
        "DELETE",
        f"{API}/twins/{{id}}/relationships/{{name}}/{{target}}",
        twin_routes.unlink,
        "End a relationship",
        None,
        status=204,
        act=Act.EDIT,
    ),
    Route("GET", f"{API}/graph", twin_routes.export_graph, "The graph as a file of Azure Digital Twins Explorer", dict),
    Route(
        "GET",
        f"{API}/graph/layout",
        twin_routes.layout,
        "Where every twin stands in the picture of the graph",
        wire.GraphPicture,
    ),
    Route(
        "POST",
        f"{API}/graph",
        twin_routes.import_,
        "Import a graph file, or say what it would change",
        wire.ImportInfo,
        dict[str, Any],
        query=("dry_run", "mode"),
        raw=True,
        body_max=graph_runs.BODY_MAX,
        act=Act.EDIT,
    ),
    Route("GET", f"{API}/graph/imports/{{id}}", twin_routes.import_run, "One import and its result", wire.ImportInfo),
    Route(
        "DELETE",
        f"{API}/graph/imports/{{id}}",
        twin_routes.cancel_import,
        "Cancel an import",
        wire.ImportInfo,
        act=Act.EDIT,
    ),
    Route(
        "GET",
        f"{API}/graph/problems",
        twin_routes.problems,
        "Additions that no longer fit the plant folder",
        list[wire.GraphProblem],
    ),
    Route("GET", f"{API}/points/{{name}}", point, "One point as it is now", dict),
    Route(
        "POST",
        f"{API}/session",
        session_routes.sign_in,
        "Sign in with an account",
        wire.Session,
        wire.SessionRequest,
        act=None,
    ),
    Route(
        "GET",
        f"{API}/sign-in",
        session_routes.ways,
        "How somebody may sign in here",
        wire_access.SignInWays,
        act=None,
    ),
    Route("GET", f"{API}/session", session_routes.who, "Who is signed in, and what the role may do", wire.Who),
    Route("DELETE", f"{API}/session", session_routes.sign_out, "Sign out", wire_access.SignedOut),
    *ACCESS_ROUTES,
    Route("POST", f"{API}/ticket", session_routes.ticket, "A one-time ticket for the WebSocket", wire.Ticket),
    Route(
        "POST", f"{API}/login-link", session_routes.login_link, "A new one-time login link", dict, wire.LoginLinkRequest
    ),
    Route("POST", f"{API}/query", run_query, "One SELECT over the twin", wire.QueryResult, wire.QueryRequest),
    Route("GET", f"{API}/branches", branches, "Forks of the twin, newest first", list[wire.BranchInfo]),
    Route(
        "POST",
        f"{API}/branches",
        create_branch,
        "Fork the twin",
        wire.BranchInfo,
        wire.BranchRequest,
        status=201,
        act=Act.SIMULATE,
    ),
    Route("GET", f"{API}/branches/{{name}}", branch, "One fork", wire.BranchInfo),
    Route(
        "PATCH",
        f"{API}/branches/{{name}}",
        set_in_branch,
        "Set values in a fork",
        wire.BranchInfo,
        dict[str, Any],
        act=Act.SIMULATE,
    ),
    Route("DELETE", f"{API}/branches/{{name}}", delete_branch, "Delete a fork", wire.BranchInfo, act=Act.SIMULATE),
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
    *VERB_ROUTES,
    Route(
        "GET",
        f"{API}/predictions",
        prediction_routes.predictions,
        "Predictions of commands, newest first, and their track record",
        wire_prediction.Predictions,
        query=("limit",),
    ),
    Route(
        "GET",
        f"{API}/commands/{{id}}/prediction",
        prediction_routes.prediction,
        "What was predicted of a command, and how it fared",
        wire_prediction.PredictionRecord,
    ),
    *WHATIF_ROUTES,
    *LEARNED_ROUTES,
    *AUDIT_ROUTES,
    *CHAIN_ROUTES,
    *ERASE_ROUTES,
    *OPERATIONS_ROUTES,
    *VIEW_ROUTES,
    *ALARM_ROUTES,
    *PAST_ROUTES,
    Route(
        "GET",
        f"{API}/lookahead",
        lookahead_routes.lookahead,
        "The newest forecast of the standing look-ahead, and the alarms it predicts",
        wire_lookahead.LookaheadState,
    ),
    Route(
        "GET",
        f"{API}/lookahead/alarms",
        lookahead_routes.predicted_alarms,
        "Predicted alarms and what became of them, newest first",
        list[wire_lookahead.PredictedAlarm],
        query=("limit",),
    ),
    Route(
        "GET",
        f"{API}/lookahead/scores",
        lookahead_routes.scores,
        "How forecasts fared, newest first, and the track record",
        wire_lookahead.LookaheadScores,
        query=("limit",),
    ),
    Route(
        "POST",
        f"{API}/lookahead/shelve",
        lookahead_routes.shelve,
        "Hear nothing of the predicted alarms of a limit for a while",
        wire_lookahead.ShelfRecord,
        wire_lookahead.ShelfRequest,
        act=Act.COMMAND,
    ),
    Route(
        "POST",
        f"{API}/lookahead/unshelve",
        lookahead_routes.unshelve,
        "Hear of them again",
        None,
        wire_lookahead.LimitNamed,
        status=204,
        act=Act.COMMAND,
    ),
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
