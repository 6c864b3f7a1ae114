"""`twinloop command` and `twinloop stop`: send, follow, approve, show; prints what the server says and decides nothing."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from control import show, show_prediction
from control.client import POLL_S, Client
from control.command_value import as_said
from control.places import data_folder
from twin.errors import BadRequest

PASSWORD = "TWINLOOP_PASSWORD"
command_app = typer.Typer(no_args_is_help=True, help="Send commands and follow their life.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Account = Annotated[
    str,
    typer.Option(
        envvar="TWINLOOP_ACCOUNT",
        help=f"Act as this account; its password is asked for, or taken from {PASSWORD}. Left out: as cli.",
    ),
]
Point = Annotated[str, typer.Argument(help="A writable point, such as pump_335.status.")]
Value = Annotated[str, typer.Argument(help="A number, on/off, or the name of an enum's value.")]
Identity = Annotated[str, typer.Argument(help="Id of the command.")]
Key = Annotated[str | None, typer.Option(help="Idempotency key; a new one is made and printed when left out.")]
Unit = Annotated[str | None, typer.Option(help="Unit of the value; refused when it is not the point's.")]
Priority = Annotated[str, typer.Option(help="emergency, safety, operator, schedule or optimiser.")]
Deadline = Annotated[str, typer.Option(help="How long it may wait to be sent once nothing else holds it, such as 30s.")]
Latest = Annotated[str, typer.Option(help="Last moment to send it, such as +10m or 2026-11-21T06:00:00Z.")]
At = Annotated[str, typer.Option(help="Not before 06:00, +30m, 2026-11-21T06:00:00Z or 'plant 06:00'.")]
When = Annotated[str, typer.Option(help="Not before this holds, such as 'tank_1.level > 3 m'.")]
WaitFor = Annotated[str, typer.Option(help="How long --at and --when are waited for, such as 2h.")]
Revision = Annotated[int | None, typer.Option(help="Only if the point is still at this revision.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the record.")]
Wait = Annotated[bool, typer.Option(help="Follow it to its end.")]


@command_app.command("send")
def send(
    point: Point,
    value: Value,
    unit: Unit = None,
    key: Key = None,
    priority: Priority = "operator",
    deadline: Deadline = "30s",
    latest: Latest = "",
    at: At = "",
    when: When = "",
    wait_for: WaitFor = "1d",
    revision: Revision = None,
    select: Annotated[bool, typer.Option("--select", help="Only reserve the point; `operate` follows.")] = False,
    reason: Reason = "",
    wait: Wait = True,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Submit a command and follow it until the process confirms it (exit code 0) or it ends otherwise (1)."""
    with asking(data, account) as client:
        body = _body(client, point, value, unit, key, priority, deadline, latest, at, when, wait_for, revision, reason)
        record = client.post("/commands", {**body, "select": select})
        if select:
            record = _follow(client, record, frozenset({"DRAFT"}))
        elif wait:
            record = _follow(client, record)
    show.as_json(record) if json_ else show.command(record)
    if select:
        raise typer.Exit(0 if record["status"] == "SELECTED" else 1)
    raise typer.Exit(0 if record["status"] == "CONFIRMED" or not wait else 1)


@command_app.command("select")
def select(
    point: Point,
    value: Value,
    unit: Unit = None,
    key: Key = None,
    deadline: Deadline = "30s",
    revision: Revision = None,
    reason: Reason = "",
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Reserve a point for a command; `twinloop command operate ID` sends it. Exit code 0 when it is selected."""
    send(
        point, value, unit, key, "operator", deadline, "", "", "", "1d", revision, True, reason, False, account, data,
        json_,
    )  # fmt: skip


@command_app.command("check")
def check(
    point: Point,
    value: Value,
    unit: Unit = None,
    priority: Priority = "operator",
    deadline: Deadline = "30s",
    at: At = "",
    when: When = "",
    revision: Revision = None,
    select: Annotated[bool, typer.Option("--select", help="As a selection.")] = False,
    predict: Annotated[bool, typer.Option("--predict", help="Ask the model what it would do.")] = False,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Say what a command would meet now, without sending or recording it. Exit code 0 when it would be taken."""
    with asking(data, account) as client:
        body = _body(client, point, value, unit, "check", priority, deadline, "", at, when, "1d", revision, "")
        asked = f"/commands?dry_run=true&predict={str(predict).lower()}"
        found = client.post(asked, {**body, "select": select})
    if json_:
        show.as_json(found)
    else:
        show.check(found)
        if found.get("prediction") is not None:
            show_prediction.whole(found["prediction"])
    raise typer.Exit(0 if found["allowed"] else 6)


@command_app.command("operate")
def operate(
    identity: Identity, wait: Wait = True, account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Send what was selected, and follow it to its end."""
    with asking(data, account) as client:
        record = client.post(f"{_address(identity)}/operate")
        if wait:
            record = _follow(client, record)
    show.as_json(record) if json_ else show.command(record)
    raise typer.Exit(0 if record["status"] == "CONFIRMED" or not wait else 1)


@command_app.command("approve")
def approve(
    identity: Identity, reason: Reason = "", account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Approve what somebody else wants; it takes the role that the plant asks for."""
    _step(identity, "approve", {"reason": reason}, account, data, json_)


@command_app.command("reject")
def reject(
    identity: Identity, reason: Reason = "", account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Refuse what somebody else wants; it takes the role that could approve it."""
    _step(identity, "reject", {"reason": reason}, account, data, json_)


@command_app.command("cancel")
def cancel(
    identity: Identity, reason: Reason = "", account: Account = "", data: Data = None, json_: Json = False
) -> None:
    """Cancel a command that was not sent yet."""
    _step(identity, "cancel", {"reason": reason}, account, data, json_)


@command_app.command("settle")
def settle(
    identity: Identity,
    status: Annotated[str, typer.Argument(help="CONFIRMED or FAILED, as you saw it at the plant.")],
    reason: Annotated[str, typer.Option(help="What you saw; kept in the record.")],
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Say how an UNKNOWN command ended, when nothing can be read back."""
    _step(identity, "settle", {"status": status.upper(), "reason": reason}, account, data, json_)


@command_app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    status: Annotated[str, typer.Option(help="Only these, such as QUEUED,SENT.")] = "",
    point: Annotated[str, typer.Option(help="Only for this point.")] = "",
    author: Annotated[str, typer.Option(help="Only of this author.")] = "",
    open_: Annotated[bool, typer.Option("--open", help="Only those that have not ended.")] = False,
    cursor: Annotated[str, typer.Option(help="`next` of the page before.")] = "",
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Newest commands first."""
    wanted = {"limit": limit, "status": status, "point": point, "author": author, "cursor": cursor}
    with asking(data, account) as client:
        page = client.get("/commands", **wanted, open=str(open_).lower())
    if json_:
        show.as_json(page)
        return
    show.commands(page["commands"])
    if page["next"]:
        show.err.print(f"there are older ones: --cursor {page['next']}")


@command_app.command("show")
def show_(identity: Identity, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """One command: who, why, when, and what was seen."""
    with asking(data, account) as client:
        record = client.get(_address(identity))
    if json_:
        show.as_json(record)
        return
    show.command(record)
    if record.get("prediction") is not None:
        show_prediction.whole(record["prediction"])


@command_app.command("watch")
def watch(identity: Identity, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """Follow a command to its end. Exit code 0 when it is confirmed."""
    with asking(data, account) as client:
        record = _follow(client, client.get(_address(identity)))
    show.as_json(record) if json_ else show.command(record)
    raise typer.Exit(0 if record["status"] == "CONFIRMED" else 1)


def stop(
    identity: Annotated[str, typer.Argument(help="Id of the stop; not needed when the plant has one.")] = "",
    reason: Reason = "",
    wait: Wait = True,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Emergency stop: command every point of it at once, without asking. Lists the stops when there are several."""
    with asking(data, account) as client:
        if not identity:
            found = client.get("/stop")
            if len(found) != 1:
                rows = [(s["id"], s["name"], ", ".join(f"{p}={v:g}" for p, v in s["set"].items())) for s in found]
                show.as_json(found) if json_ else show.table(("id", "name", "sets"), rows, "the plant has no stop")
                raise BadRequest(
                    f"{len(found)} stops", "name one: twinloop stop ID" if found else "plant.toml declares them"
                )
            identity = found[0]["id"]
        answer = client.post(f"/stop/{quote(identity, safe='')}", {"key": secrets.token_hex(8), "reason": reason})
        if wait:
            answer["commands"] = [_follow(client, r) for r in answer["commands"]]
    show.as_json(answer) if json_ else show.stop(answer)
    well = not answer["problems"] and all(c["status"] == "CONFIRMED" or not wait for c in answer["commands"])
    raise typer.Exit(0 if well else 1)


def _body(
    client: Client,
    point: str,
    value: str,
    unit: str | None,
    key: str | None,
    priority: str,
    deadline: str,
    latest: str,
    at: str,
    when: str,
    wait_for: str,
    revision: int | None,
    reason: str,
) -> dict[str, Any]:
    """What the words mean; moments become absolute here, so that the request can be repeated."""
    from control.schedule import parse_moment
    from twin.when import parse_duration_s, parse_when_ns

    now = time.time_ns()
    body: dict[str, Any] = {
        "key": key or secrets.token_hex(8), "point": point, "value": as_said(value), "unit": unit, "priority": priority,
        "deadline_s": parse_duration_s(deadline, "--deadline"), "reason": reason, "when": when, "revision": revision,
        "wait_s": parse_duration_s(wait_for, "--wait-for"),
    }  # fmt: skip
    if latest:
        body["latest"] = parse_when_ns(latest, now, "--latest") / 1e6
    if at:
        moment = parse_moment(at, now, _plant_clock_s(client) if at.strip().startswith("plant") else None)
        body["at"] = None if moment.at is None else moment.at / 1e6
        body["at_plant_s"] = moment.at_plant_s
    return body


def _plant_clock_s(client: Client) -> float | None:
    """What the plant's own clock shows; None when it has none, or nobody can tell."""
    name = client.get("/plant")["clock"]
    found = client.get(f"/points/{quote(name, safe='')}") if name else None
    return found["value"] if found and found["good"] else None


def _step(identity: str, verb: str, body: dict[str, Any], account: str, data: Path | None, json_: bool) -> None:
    with asking(data, account) as client:
        record = client.post(f"{_address(identity)}/{verb}", body)
    show.as_json(record) if json_ else show.command(record)


def _follow(client: Client, record: dict[str, Any], while_in: frozenset[str] = frozenset()) -> dict[str, Any]:
    """Until it is final, or in no status of `while_in`; UNKNOWN is waited for, too: it is being read back."""
    shown = 0
    while True:
        for step in record["transitions"][shown:]:
            show.err.print(f"{step['status']:<17} {step['detail']}", markup=False)
        shown = len(record["transitions"])
        if record["final"] or (while_in and record["status"] not in while_in):
            return record
        time.sleep(POLL_S)
        record = client.get(_address(record["id"]))


@contextmanager
def asking(data: Path | None, account: str) -> Iterator[Client]:
    """The server, as the account; one session for one run of the command line."""
    with Client(data_folder(data), account, _password() if account else "") as client:
        yield client


def _password() -> str:
    if PASSWORD in os.environ:
        return os.environ[PASSWORD]
    if not sys.stdin.isatty():
        raise BadRequest("no password", f"set {PASSWORD}, or run it in a terminal")
    return str(typer.prompt("Password", hide_input=True, err=True))


def _address(identity: str) -> str:
    return f"/commands/{quote(identity, safe='')}"
