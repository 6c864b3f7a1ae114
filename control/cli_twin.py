"""`twinloop twin` and `twinloop graph`: the running graph from the command line; decides nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from control import show
from control.cli_branch import values
from control.client import Client, as_error
from control.places import data_folder
from twin.errors import BadRequest, NotFound

twin_app = typer.Typer(no_args_is_help=True, help="Twins, relationships and kept values of a running server.")
graph_app = typer.Typer(no_args_is_help=True, help="The whole graph as a file of Azure Digital Twins Explorer.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Id = Annotated[str, typer.Argument(help="A twin's id.")]
At = Annotated[str, typer.Option(help="Its place in the drawing: x,y.")]
IfMatch = Annotated[str, typer.Option(help="Only when the twin still has this ETag, as `twin show --json` gives it.")]
Relation = Annotated[str, typer.Argument(help="Name of a relationship that the source's Interface declares.")]
PAGE = 1_000


@twin_app.command("list")
def list_(
    interface: Annotated[str, typer.Option(help="Only of this Interface.")] = "",
    kind: Annotated[str, typer.Option(help="Only of this kind, such as Tank.")] = "",
    limit: Annotated[int, typer.Option(help="How many at most.")] = 1_000,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Twins in order of id."""
    client = Client(data_folder(data))
    found: list[dict[str, Any]] = []
    cursor = ""
    while len(found) < limit:
        count = min(PAGE, limit - len(found))
        page = client.get("/twins", interface=interface, kind=kind, limit=count, cursor=cursor)
        found += page["twins"]
        cursor = page["next"] or ""
        if not cursor:
            break
    if json_:
        show.as_json(found)
        return
    rows = [(t["id"], t["kind"], t["name"], t["origin"]) for t in found]
    show.table(("id", "kind", "name", "origin"), rows, "no twin")
    if cursor:
        show.err.print(f"only the first {limit}; ask for more with --limit")


@twin_app.command("show")
def show_(identity: Id, data: Data = None, json_: Json = False) -> None:
    """One twin: its values and relationships."""
    _show(Client(data_folder(data)).get(_path(identity)), json_)


@twin_app.command("create")
def create(
    identity: Id,
    interface: Annotated[str, typer.Argument(help="Its Interface: dtmi:…, or a kind of which there is one, Tank.")],
    name: Annotated[str, typer.Option(help="What it is called; its id when left out.")] = "",
    at: At = "",
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A value to keep: property=value, JSON or else text.")
    ] = None,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Create a twin."""
    client = Client(data_folder(data))
    body: dict[str, Any] = {
        "id": identity,
        "interface": _interface(client, interface),
        "properties": values(set_ or []),
    }
    if name:
        body["name"] = name
    if at:
        body["at"] = _place(at)
    _show(client.post("/twins", body), json_)


@twin_app.command("set")
def set_values(
    identity: Id,
    pairs: Annotated[
        list[str] | None, typer.Argument(help="property=value, JSON or else text; property=null forgets the value.")
    ] = None,
    name: Annotated[str, typer.Option(help="A new name.")] = "",
    at: At = "",
    if_match: IfMatch = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Change kept values, the name or the place of a twin."""
    patch: dict[str, Any] = {"properties": values(pairs or [])}
    if name:
        patch["name"] = name
    if at:
        patch["at"] = _place(at)
    _show(Client(data_folder(data)).patch(_path(identity), patch, if_match), json_)


@twin_app.command("delete")
def delete(identity: Id, if_match: IfMatch = "", data: Data = None) -> None:
    """Delete a twin, and every relationship that starts or ends at it."""
    Client(data_folder(data)).delete(_path(identity), if_match)
    show.err.print(f"deleted {identity}")


@twin_app.command("link")
def link(source: Id, relationship: Relation, target: Id, data: Data = None, json_: Json = False) -> None:
    """Relate a twin to another."""
    made = Client(data_folder(data)).put(_ends(source, relationship, target))
    show.as_json(made) if json_ else show.out.print(f"{source} {relationship} {target}")


@twin_app.command("unlink")
def unlink(source: Id, relationship: Relation, target: Id, data: Data = None) -> None:
    """End a relationship."""
    Client(data_folder(data)).delete(_ends(source, relationship, target))
    show.err.print(f"ended {source} {relationship} {target}")


@graph_app.command("export")
def export(file: Annotated[str, typer.Argument(help="File to write; - for stdout.")] = "-", data: Data = None) -> None:
    """Write the whole graph: twins with their values, relationships, Interfaces."""
    text = Client(data_folder(data)).get_bytes("/graph")
    if file == "-":
        sys.stdout.write(text.decode() + "\n")
    else:
        Path(file).write_bytes(text)
        show.err.print(f"wrote {file}")


@graph_app.command("import")
def import_(
    file: Annotated[Path, typer.Argument(help="A graph file.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only say what would change.")] = False,
    replace: Annotated[
        bool, typer.Option("--replace", help="What the API made and the file does not hold goes, too.")
    ] = False,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Add a graph file to the running graph, all of it or nothing. Ctrl-C cancels."""

    if not file.is_file():
        raise NotFound(f"{file} is no file", "name a graph file")
    client = Client(data_folder(data))
    mode = "replace" if replace else "merge"
    run = client.send("/graph", file.read_bytes(), dry_run=str(dry_run).lower(), mode=mode)
    run = client.followed("/graph/imports", run, "importing")
    show.as_json(run) if json_ else _plan(run)
    if run["error"]:
        raise as_error(run["error"])
    raise typer.Exit(0 if run["state"] == "done" and run["result"]["applies"] else 1)


@graph_app.command("problems")
def problems(data: Data = None, json_: Json = False) -> None:
    """Additions that no longer fit the plant folder."""
    found = Client(data_folder(data)).get("/graph/problems")
    if json_:
        show.as_json(found)
        return
    show.table(("what", "problem", "what to do"), [(p["what"], p["message"], p["fix"]) for p in found], "no problem")


def _plan(run: dict[str, Any]) -> None:
    result = run["result"]
    if result is None:
        return
    for name, kinds in result["difference"].items():
        rows = [*(("+", i, "") for i in kinds["added"]), *(("-", i, "") for i in kinds["removed"])]
        rows += [
            ("~", c["id"], f"{d['path']}: {d['before']} → {d['after']}") for c in kinds["changed"] for d in c["changes"]
        ]
        counts = result["counts"][name]
        show.out.print(f"{name}: {counts['added']} added, {counts['removed']} removed, {counts['changed']} changed")
        if rows:
            show.table(("", "id", "change"), rows, "")
    for word in ("mistakes", "refused", "notices"):
        for line in result[word]:
            show.err.print(f"{word}: {line}", markup=False)
        if result["totals"][word] > len(result[word]):
            show.err.print(f"{word}: {result['totals'][word]} in all")


def _show(twin: dict[str, Any], json_: bool) -> None:
    if json_:
        show.as_json(twin)
        return
    show.out.print(f"[bold]{twin['id']}[/bold]  {twin['kind']}  {twin['name']}  ({twin['origin']})  {twin['etag']}")
    rows = [
        (name, p["value"], p["unit"], p["quality"], show.moment(p["source_time"]), "kept" if p["kept"] else "")
        for name, p in twin["properties"].items()
    ]
    show.table(("property", "value", "unit", "quality", "since", ""), rows, "no property")
    for r in (*twin["relationships"], *twin["relationships_in"]):
        show.out.print(f"{r['source']} {r['name']} {r['target']}")


def _interface(client: Client, said: str) -> str:
    """
    Raises:
        NotFound: no twin, or twins of several Interfaces, are of this kind.
    """
    if said.startswith("dtmi:"):
        return said
    sql = "SELECT DISTINCT interface FROM twins WHERE kind = '{}'".format(said.replace("'", "''"))
    found = client.post("/query", {"sql": sql})["rows"]
    if len(found) != 1:
        raise NotFound(f"{len(found)} Interfaces of twins are of kind {said!r}", "give the Interface's id, dtmi:…")
    return str(found[0][0])


def _place(text: str) -> list[float]:
    try:
        x, y = (float(part) for part in text.split(","))
    except ValueError:
        raise BadRequest(f"--at {text!r}", "write it as x,y") from None
    return [x, y]


def _path(identity: str) -> str:
    return f"/twins/{quote(identity, safe='')}"


def _ends(source: str, relationship: str, target: str) -> str:
    return f"{_path(source)}/relationships/{quote(relationship, safe='')}/{quote(target, safe='')}"
