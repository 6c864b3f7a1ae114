"""`twinloop branch`: forks of the twin from the command line; decides nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from control import show
from control.client import Client
from control.places import data_folder
from twin.errors import BadRequest

branch_app = typer.Typer(no_args_is_help=True, help="Forks of the twin: ask and change them, the plant never notices.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Name = Annotated[str, typer.Argument(help="A letter, then letters, digits, . _ or -.")]
Set = Annotated[list[str] | None, typer.Option("--set", help="A value in the branch: point=value, in the twin's unit.")]


@branch_app.command("create")
def create(
    name: Name,
    at: Annotated[str, typer.Option(help="A past moment instead of now: 2026-11-21T06:00Z, or -15m.")] = "",
    known: Annotated[str, typer.Option(help="… as it was known at this moment.")] = "",
    set_: Set = None,
    note: Annotated[str, typer.Option(help="What it is for.")] = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Fork the twin as it is now or was at a past moment."""
    body = {"name": name, "at": at, "known": known, "values": values(set_ or []), "note": note}
    _show(Client(data_folder(data)).post("/branches", body), json_)


@branch_app.command("set")
def set_values(
    name: Name,
    pairs: Annotated[list[str], typer.Argument(help="point=value, in the twin's unit.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """Set values in a branch."""
    _show(Client(data_folder(data)).patch(f"/branches/{quote(name, safe='')}", values(pairs)), json_)


@branch_app.command("list")
def list_(data: Data = None, json_: Json = False) -> None:
    """All branches, newest first."""
    found = Client(data_folder(data)).get("/branches")
    if json_:
        show.as_json(found)
        return
    rows = [(b["name"], show.moment(b["taken"]), show.moment(b["made"]), _shown(b["values"]), b["note"]) for b in found]
    show.table(
        ("id", "moment", "made", "set in it", "note"), rows, "no branches; make one with `twinloop branch create`"
    )


@branch_app.command("delete")
def delete(name: Name, data: Data = None, json_: Json = False) -> None:
    """Delete a branch."""
    found = Client(data_folder(data)).delete(f"/branches/{quote(name, safe='')}")
    show.as_json(found) if json_ else show.err.print(f"deleted {found['name']}")


def values(pairs: list[str]) -> dict[str, Any]:
    """`point=value` texts as a mapping; a value is JSON where it is, on/off a switch, else text.

    Raises:
        BadRequest: no `=`.
    """
    found: dict[str, Any] = {}
    for pair in pairs:
        point, equals, text = pair.partition("=")
        if not equals:
            raise BadRequest(f"{pair!r} is no point=value", "write it as tank_1.level=3.2")
        try:
            found[point] = json.loads(text)
        except ValueError:
            found[point] = {"on": True, "off": False}.get(text, text)
    return found


def _show(branch: dict[str, Any], json_: bool) -> None:
    if json_:
        show.as_json(branch)
        return
    show.out.print(f"branch {branch['name']} of {show.moment(branch['taken'])}  {_shown(branch['values'])}")
    show.err.print(f"ask it: twinloop query \"SELECT name, value FROM branch('{branch['name']}')\"")


def _shown(values: dict[str, Any]) -> str:
    return ", ".join(f"{point} = {value}" for point, value in values.items())
