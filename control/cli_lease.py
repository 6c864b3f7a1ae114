"""`twinloop lease`: take, keep and release the exclusive right to command; prints what the server says, decides nothing."""

from __future__ import annotations

import secrets
import time
from typing import Annotated, Any
from urllib.parse import quote

import typer

from control import show
from control.cli_command import Account, Data, Json, Reason, asking
from control.command_value import as_said
from twin.errors import BadRequest
from twin.when import parse_duration_s

BEATS_OF_TTL = 3  # a heartbeat that is lost, and one more, do no harm
lease_app = typer.Typer(no_args_is_help=True, help="Hold points, so that nobody else commands them.")
Targets = Annotated[list[str], typer.Argument(help="Points, or twins: then all their writable points.")]
Identity = Annotated[str, typer.Argument(help="Id of the lease.")]
Ttl = Annotated[str, typer.Option(help="How long it lives without a heartbeat: 1s … 5m.")]
Class = Annotated[
    str, typer.Option("--class", help="safety, operator, schedule or optimiser; who is more urgent preempts it.")
]
Revert = Annotated[
    list[str] | None, typer.Option("--revert", help="point=value to command when the heartbeat is lost; repeatable.")
]
Key = Annotated[str | None, typer.Option(help="Idempotency key; a new one is made when left out.")]


@lease_app.command("take")
def take(
    targets: Targets,
    ttl: Ttl = "30s",
    class_: Class = "operator",
    revert: Revert = None,
    reason: Reason = "",
    key: Key = None,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Take a lease and leave: somebody must `beat` it in time, or it ends and reverts."""
    with asking(data, account) as client:
        found = client.post("/leases", _body(targets, ttl, class_, revert, reason, key))
    _show(found, json_)


@lease_app.command("hold")
def hold(
    targets: Targets,
    ttl: Ttl = "30s",
    class_: Class = "operator",
    revert: Revert = None,
    reason: Reason = "",
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Take a lease and keep it until Ctrl-C, which releases it. Exit code 1 when it ends otherwise."""
    with asking(data, account) as client:
        found = client.post("/leases", _body(targets, ttl, class_, revert, reason, None))
        _show(found, json_)
        address = _address(found["id"])
        try:
            while found["until"] is not None:
                time.sleep(found["ttl_s"] / BEATS_OF_TTL)
                found = client.post(f"{address}/beat")
        except KeyboardInterrupt:
            found = client.post(f"{address}/release")
    show.err.print(f"{found['status'].lower()}: {found['steps'][-1]['detail']}", markup=False)
    raise typer.Exit(0 if found["status"] == "RELEASED" else 1)


@lease_app.command("beat")
def beat(identity: Identity, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """Heartbeat: the lease has its whole time anew."""
    with asking(data, account) as client:
        _show(client.post(f"{_address(identity)}/beat"), json_)


@lease_app.command("release")
def release(
    identity: Identity,
    revert: Annotated[bool, typer.Option("--revert", help="Command what was declared for a lost heartbeat.")] = False,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Release a lease; a supervisor may release what others hold."""
    with asking(data, account) as client:
        _show(client.post(f"{_address(identity)}/release", {"revert": revert}), json_)


@lease_app.command("list")
def list_(
    limit: Annotated[int, typer.Option(help="How many, newest first.")] = 20,
    open_: Annotated[bool, typer.Option("--open", help="Only those that are held.")] = False,
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Who holds what, since when, and when its holder was last heard."""
    with asking(data, account) as client:
        found = client.get("/leases", limit=limit, open=str(open_).lower())
    if json_:
        show.as_json(found)
        return
    rows = [
        (x["id"], x["status"], x["holder"], x["priority"], ", ".join(x["targets"]), show.moment(x["since"]),
         show.moment(x["beat"]), x["steps"][-1]["detail"])
        for x in found
    ]  # fmt: skip
    show.table(("id", "status", "holder", "class", "holds", "since", "last heard", "why"), rows, "no leases")


@lease_app.command("show")
def show_(identity: Identity, account: Account = "", data: Data = None, json_: Json = False) -> None:
    """One lease and its life."""
    with asking(data, account) as client:
        _show(client.get(_address(identity)), json_)


def _body(
    targets: list[str], ttl: str, class_: str, revert: list[str] | None, reason: str, key: str | None
) -> dict[str, Any]:
    return {
        "key": key or secrets.token_hex(8), "targets": targets, "ttl_s": parse_duration_s(ttl, "--ttl"),
        "priority": class_, "revert": dict(_pair(text) for text in revert or []), "reason": reason,
    }  # fmt: skip


def _pair(text: str) -> tuple[str, float | str]:
    point, equals, value = text.partition("=")
    if not equals:
        raise BadRequest(f"--revert {text!r} is no point=value", "write it as pump_335.status=off")
    return point, as_said(value)


def _address(identity: str) -> str:
    return f"/leases/{quote(identity, safe='')}"


def _show(lease: dict[str, Any], json_: bool) -> None:
    show.as_json(lease) if json_ else show.lease(lease)
