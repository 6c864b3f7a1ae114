"""`twinloop group`: several commands as one, all of them or those that took effect undone; decides nothing."""

from __future__ import annotations

import json
import secrets
import sys
import time
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from control import show
from control.cli_command import Account, Data, Deadline, Json, Priority, Reason, Wait, asking
from control.client import POLL_S, Client
from control.command_value import as_said
from twin.errors import BadRequest
from twin.when import parse_duration_s

group_app = typer.Typer(
    no_args_is_help=True, help="Commands that belong together: all of them, or what was done is undone."
)
Identity = Annotated[str, typer.Argument(help="Id of the group.")]


@group_app.command("send")
def send(
    members: Annotated[
        list[str],
        typer.Argument(help="point=value, or point=value/compensation; the compensation is a value or `previous`."),
    ],
    together: Annotated[bool, typer.Option("--together", help="All at once instead of one after the other.")] = False,
    key: Annotated[str | None, typer.Option(help="Idempotency key; a new one is made when left out.")] = None,
    priority: Priority = "operator",
    deadline: Deadline = "30s",
    reason: Reason = "",
    wait: Wait = True,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Submit a group and follow it. Exit code 0 when every member is confirmed."""
    body = {
        "key": key or secrets.token_hex(8), "members": [_member(m) for m in members],
        "order": "together" if together else "sequence", "priority": priority,
        "deadline_s": parse_duration_s(deadline, "--deadline"), "reason": reason,
    }  # fmt: skip
    _submit(body, wait, account, data, json_)


@group_app.command("send-file")
def send_file(
    file: Annotated[Path, typer.Argument(help="A GroupRequest as JSON; - for stdin.")],
    wait: Wait = True,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """As send, with the group read from a file, which is kept with its key so that it can be sent again."""
    try:
        body = json.loads(sys.stdin.read() if str(file) == "-" else file.read_text())
    except ValueError as error:
        raise BadRequest(f"{file}: {error}", "give a GroupRequest as JSON, see docs/wire.md") from None
    _submit(body, wait, account, data, json_)


@group_app.command("cancel")
def cancel(
    identity: Identity, reason: Reason = "", account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Stop a group and compensate what took effect."""
    _step(identity, "cancel", reason, account, data, json_)


@group_app.command("approve")
def approve(
    identity: Identity, reason: Reason = "", account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Approve every member that awaits it."""
    _step(identity, "approve", reason, account, data, json_)


@group_app.command("reject")
def reject(
    identity: Identity, reason: Reason = "", account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Refuse a group that awaits approval: nothing of it is sent."""
    _step(identity, "reject", reason, account, data, json_)


@group_app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    open_: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Newest groups first."""
    with asking(data, account) as client:
        found = client.get("/groups", limit=limit, open=str(open_).lower())
    if json_:
        show.as_json(found)
        return
    rows = [
        (g["id"], show.moment(g["steps"][0]["time"]), g["status"], g["author"], g["order"],
         ", ".join(f"{m['point']}={m['value']:g}" for m in g["members"]), g["steps"][-1]["detail"])
        for g in found
    ]  # fmt: skip
    show.table(("id", "submitted", "status", "author", "order", "members", "why"), rows, "no groups")


@group_app.command("show")
def show_(identity: Identity, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """One group, its members and its life."""
    with asking(data, account) as client:
        _show(client.get(_address(identity)), json_)


@group_app.command("watch")
def watch(identity: Identity, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """Follow a group to its end. Exit code 0 when it is confirmed."""
    with asking(data, account) as client:
        found = _follow(client, client.get(_address(identity)))
    _show(found, json_)
    raise typer.Exit(0 if found["status"] == "CONFIRMED" else 1)


def _submit(body: Any, wait: bool, account: str, data: Path | None, json_: bool) -> None:
    with asking(data, account) as client:
        found = client.post("/groups", body)
        if wait:
            found = _follow(client, found)
    _show(found, json_)
    raise typer.Exit(0 if found["status"] == "CONFIRMED" or not wait else 1)


def _step(identity: str, verb: str, reason: str, account: str, data: Path | None, json_: bool) -> None:
    with asking(data, account) as client:
        _show(client.post(f"{_address(identity)}/{verb}", {"reason": reason}), json_)


def _follow(client: Client, group: dict[str, Any]) -> dict[str, Any]:
    """Until it is final; one that is in doubt is waited for, too."""
    shown = 0
    while True:
        for step in group["steps"][shown:]:
            show.err.print(f"{step['status']:<13} {step['detail']}", markup=False)
        shown = len(group["steps"])
        if group["final"]:
            return group
        time.sleep(POLL_S)
        group = client.get(_address(group["id"]))


def _member(text: str) -> dict[str, Any]:
    """`pump_335.speed=80/previous`.

    Raises:
        BadRequest: no `=`.
    """
    point, equals, said = text.partition("=")
    value, slash, undo = said.partition("/")
    if not equals:
        raise BadRequest(f"{text!r} is no point=value", "write it as pump_335.status=on/off")
    return {"point": point, "value": as_said(value), "compensation": as_said(undo) if slash else None}


def _address(identity: str) -> str:
    return f"/groups/{quote(identity, safe='')}"


def _show(group: dict[str, Any], json_: bool) -> None:
    show.as_json(group) if json_ else show.group(group)
