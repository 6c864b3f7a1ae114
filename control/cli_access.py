"""`twinloop session` and `twinloop token`: who is signed in, and what programs sign in with; decides nothing."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
from control.client import Client
from control.places import data_folder
from control.tokens import DAYS, DAYS_MAX
from twin.errors import BadRequest
from twin.lists import listed
from twin.role import Act, Role

session_app = typer.Typer(no_args_is_help=True, help="Who is signed in.")
token_app = typer.Typer(no_args_is_help=True, help="Tokens of programs: what they may do, and until when.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
As = Annotated[str, typer.Option("--as", help="Do it as this account; its password is read from TWINLOOP_PASSWORD.")]


@session_app.command("list")
def sessions(data: Data = None, json_: Json = False) -> None:
    """Everybody who is signed in, from where, since when and when last seen."""
    with Client(data_folder(data)) as client:
        found = client.get("/sessions", all="true")
    if json_:
        show.as_json(found)
        return
    columns = ("id", "name", "role", "by", "peer", "since", "seen", "agent")
    rows = [[s[c] if c not in ("since", "seen") else _moment(s[c]) for c in columns] for s in found]
    show.table(columns, rows, "nobody is signed in")


@session_app.command("revoke")
def revoke(
    session: Annotated[str, typer.Argument(help="Its id, as `session list` shows it.")] = "",
    account: Annotated[str, typer.Option(help="All of this name.")] = "",
    everybody: Annotated[bool, typer.Option("--all", help="All there are.")] = False,
    data: Data = None,
) -> None:
    """End a session, those of a name, or all: its sockets close within a second."""
    if sum(map(bool, (session, account, everybody))) != 1:
        raise BadRequest("which sessions?", "give an id, or --account, or --all")
    with Client(data_folder(data)) as client:
        if session:
            client.delete(f"/sessions/{session}")
            ended = 1
        else:
            which = "all=true" if everybody else f"account={account}"
            ended = client.delete(f"/sessions?{which}")["ended"]
    show.err.print(f"{ended} ended")


@token_app.command("add")
def add(
    name: Annotated[str, typer.Argument(help="What it is for: 1 … 40 letters, digits, _ . and -.")],
    may: Annotated[str, typer.Option(help=f"Rights separated by commas, of {', '.join(Act)}.")] = Act.SEE.value,
    points: Annotated[
        list[str] | None, typer.Option(help="Only points whose names begin so; may be given several times.")
    ] = None,
    days: Annotated[float, typer.Option(help=f"How long it is good; at most {DAYS_MAX}.")] = DAYS,
    account: Annotated[str, typer.Option(help="Whose it is: it may no more than the account, and ends with it.")] = "",
    role: Annotated[
        str, typer.Option(help=f"Without an account: as which role; operator, or another of {', '.join(Role)}.")
    ] = "",
    as_: As = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Make a token and print its secret, which is shown this once."""
    rights = listed(may)
    body = {
        "name": name, "may": rights, "points": points or [], "days": days, "account": account, "role": role,
    }  # fmt: skip
    with _client(data, as_) as client:
        made = client.post("/tokens", body)
    if json_:
        show.as_json(made)
        return
    show.out.print(made["secret"], markup=False)
    token = made["token"]
    show.err.print(
        f"token {token['id']} of {token['account'] or 'cli'} may {', '.join(token['may'])} until {_moment(token['until'])}",
        markup=False,
    )


@token_app.command("list")
def tokens(as_: As = "", data: Data = None, json_: Json = False) -> None:
    """All tokens without their secrets; as an account, its own."""
    with _client(data, as_) as client:
        found = client.get("/tokens", all="false" if as_ else "true")
    if json_:
        show.as_json(found)
        return
    rows = [
        (
            t["id"], t["name"], t["account"] or "cli", ", ".join(t["may"]), ", ".join(t["points"]),
            "over" if t["over"] else _moment(t["until"]), "never" if t["used"] is None else _moment(t["used"]),
        )
        for t in found
    ]  # fmt: skip
    show.table(
        ("id", "name", "of", "may", "points", "until", "used"), rows, "no tokens; `twinloop token add` makes one"
    )


@token_app.command("revoke")
def revoke_token(
    token: Annotated[str, typer.Argument(help="Its id, as `token list` shows it.")], as_: As = "", data: Data = None
) -> None:
    """Revoke a token: it is good for nothing at once, and its sockets close within a second."""
    with _client(data, as_) as client:
        client.delete(f"/tokens/{token}")
    show.err.print(f"{token} is revoked", markup=False)


def _client(data: Path | None, account: str) -> Client:
    folder = data_folder(data)
    if not account:
        return Client(folder)
    if "TWINLOOP_PASSWORD" not in os.environ:
        raise BadRequest(f"no password for {account}", "put it into TWINLOOP_PASSWORD")
    return Client(folder, account, os.environ["TWINLOOP_PASSWORD"])


def _moment(ms: Any) -> str:
    return f"{datetime.fromtimestamp(float(ms) / 1e3, UTC):%Y-%m-%d %H:%M}Z"
