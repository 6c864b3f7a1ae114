"""The routes of twins, relationships and the graph as a whole: parse, ask the running graph, answer; decide nothing."""

from __future__ import annotations

import asyncio
from typing import Any, Literal

from starlette.responses import Response

from control import graph_runs, graph_view
from control.api import wire
from control.api.part import Parts
from control.api.problem import error_body
from control.api.route import API, Call, Reply, Route
from control.graph_change import label, place
from control.graph_export import exported
from control.graph_runs import ImportRun
from control.graph_words import words_of
from control.whatif import State
from twin.plant import Relationship, Twin
from twin.role import Act
from twin.thing import thing_description


async def twins(parts: Parts, call: Call) -> wire.TwinPage:
    wanted = graph_view.Filter(call.query.get("interface", ""), call.query.get("kind", ""))
    limit = int(call.number("limit", 100, 1, graph_view.TWINS_MAX))
    return graph_view.page(parts.plant, wanted, limit, call.query.get("cursor", ""))


async def twin(parts: Parts, call: Call) -> Reply:
    found = _record(parts, call.path["id"])
    asked = _tags(call, "if-none-match")
    if asked is not None and (found.etag in asked or "*" in asked):
        return Reply(None, 304, {"ETag": found.etag})
    return Reply(found, headers={"ETag": found.etag})


async def create(parts: Parts, call: Call) -> Reply:
    asked: wire.TwinRequest = call.body
    made = Twin(asked.id, asked.interface, label(asked.name, asked.id), place(asked.at))
    await parts.graph.create(made, asked.properties, call.caller.name)
    found = _record(parts, asked.id)
    return Reply(found, headers={"ETag": found.etag, "Location": f"/api/v1/twins/{asked.id}"})


async def patch(parts: Parts, call: Call) -> Reply:
    identity = call.path["id"]
    await parts.graph.patch(identity, call.body, _tags(call, "if-match"), call.caller.name)
    found = _record(parts, identity)
    return Reply(found, headers={"ETag": found.etag})


async def delete(parts: Parts, call: Call) -> Reply:
    await parts.graph.delete(call.path["id"], _tags(call, "if-match"), call.caller.name)
    return Reply()


async def link(parts: Parts, call: Call) -> Reply:
    asked = _relationship(call)
    is_new = await parts.graph.link(asked, _tags(call, "if-match"), call.caller.name)
    by = "api" if asked in parts.plant.added.relationships else "plant"
    return Reply(wire.TwinRelationship(asked.source, asked.name, asked.target, by), 201 if is_new else 200)


async def unlink(parts: Parts, call: Call) -> Reply:
    await parts.graph.unlink(_relationship(call), _tags(call, "if-match"), call.caller.name)
    return Reply()


async def thing(parts: Parts, call: Call) -> dict[str, Any]:
    return await asyncio.to_thread(thing_description, parts.plant, call.path["id"], call.base_url)


async def export_graph(parts: Parts, _: Call) -> Reply:
    """Of one moment; it is encoded on a thread while it is sent."""
    columns = parts.live.table.columns.copy()
    return Reply(stream=exported(parts.plant, columns))


async def layout(parts: Parts, _: Call) -> Response:
    return Response(await parts.shown.picture(parts.plant), media_type="application/json")


async def import_(parts: Parts, call: Call) -> Reply:
    dry_run = call.flag("dry_run")
    replaces = call.choice("mode", {"merge": False, "replace": True})
    run = await parts.imports.start(call.body, dry_run, replaces, call.caller.name)
    if run.state is State.RUNNING:
        return Reply(_import(run), 202, {"Location": f"/api/v1/graph/imports/{run.id}"})
    return Reply(_import(run))


async def import_run(parts: Parts, call: Call) -> wire.ImportInfo:
    return _import(parts.imports.get(call.path["id"]))


async def cancel_import(parts: Parts, call: Call) -> wire.ImportInfo:
    return _import(parts.imports.cancel(call.path["id"]))


def _import(run: ImportRun) -> wire.ImportInfo:
    mode: Literal["merge", "replace"] = "replace" if run.replaces else "merge"
    error = None if run.failure is None else error_body(run.failure)
    return wire.ImportInfo(
        run.id, run.state.value, run.progress, run.started_at / 1e6, run.dry_run, mode, run.result, error
    )


async def problems(parts: Parts, _: Call) -> list[wire.GraphProblem]:
    return [wire.GraphProblem(words_of(a.edit), a.message, a.fix) for a in parts.graph.set_aside]


def _record(parts: Parts, identity: str) -> wire.TwinRecord:
    return graph_view.record(parts.plant, parts.live.table.columns, parts.commands.desired, identity)


def _relationship(call: Call) -> Relationship:
    return Relationship(call.path["id"], call.path["name"], call.path["target"])


def _tags(call: Call, header: str) -> frozenset[str] | None:
    """The ETags of a condition, None without one; weak ones are compared as strong (RFC 9110, 13.1)."""
    said = call.headers.get(header)
    return None if said is None else frozenset(t.strip().removeprefix("W/") for t in said.split(","))


TWIN_ROUTES: tuple[Route, ...] = (
    Route(
        "GET",
        f"{API}/twins",
        twins,
        "Twins in order of id",
        wire.TwinPage,
        query=("interface", "kind", "limit", "cursor"),
    ),
    Route(
        "POST",
        f"{API}/twins",
        create,
        "Create a twin",
        wire.TwinRecord,
        wire.TwinRequest,
        status=201,
        act=Act.EDIT,
    ),
    Route("GET", f"{API}/twins/{{id}}", twin, "One twin, its values and relationships", wire.TwinRecord),
    Route(
        "PATCH",
        f"{API}/twins/{{id}}",
        patch,
        "Change a twin by JSON merge patch",
        wire.TwinRecord,
        dict[str, Any],
        act=Act.EDIT,
    ),
    Route("DELETE", f"{API}/twins/{{id}}", delete, "Delete a twin", None, status=204, act=Act.EDIT),
    Route("GET", f"{API}/twins/{{id}}/thing", thing, "A twin as a W3C Thing Description", dict),
    Route(
        "PUT",
        f"{API}/twins/{{id}}/relationships/{{name}}/{{target}}",
        link,
        "Relate a twin to another",
        wire.TwinRelationship,
        act=Act.EDIT,
    ),
    Route(
        "DELETE",
        f"{API}/twins/{{id}}/relationships/{{name}}/{{target}}",
        unlink,
        "End a relationship",
        None,
        status=204,
        act=Act.EDIT,
    ),
    Route("GET", f"{API}/graph", export_graph, "The graph as a file of Azure Digital Twins Explorer", dict),
    Route(
        "GET",
        f"{API}/graph/layout",
        layout,
        "Where every twin stands in the picture of the graph",
        wire.GraphPicture,
    ),
    Route(
        "POST",
        f"{API}/graph",
        import_,
        "Import a graph file, or say what it would change",
        wire.ImportInfo,
        dict[str, Any],
        query=("dry_run", "mode"),
        raw=True,
        body_max=graph_runs.BODY_MAX,
        act=Act.EDIT,
    ),
    Route("GET", f"{API}/graph/imports/{{id}}", import_run, "One import and its result", wire.ImportInfo),
    Route(
        "DELETE",
        f"{API}/graph/imports/{{id}}",
        cancel_import,
        "Cancel an import",
        wire.ImportInfo,
        act=Act.EDIT,
    ),
    Route(
        "GET",
        f"{API}/graph/problems",
        problems,
        "Additions that no longer fit the plant folder",
        list[wire.GraphProblem],
    ),
)
