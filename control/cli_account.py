"""`twinloop account`: who may use the server and the faces of the twin (docs/security.md); decides nothing.

Where a server runs it is asked, else the file is changed; the ledger has an entry of each change in either case.
"""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from control import show
from control.client import Client
from control.places import data_folder
from twin.errors import BadRequest, Unavailable
from twin.role import Role

if TYPE_CHECKING:
    from control.accounts import Accounts
    from ledger.entry import JSON

account_app = typer.Typer(no_args_is_help=True, help="Accounts of people, and of SCADA and PLC clients.")
Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Name = Annotated[str, typer.Argument(help="1 … 64 letters, digits, _ . @ and -.")]


@account_app.command("add")
def add(
    name: Name,
    role: Annotated[
        str, typer.Option(help=f"One of {', '.join(Role)}; docs/security.md says what each may do.")
    ] = Role.VIEWER.value,
    data: Data = None,
) -> None:
    """Add an account; its password is asked for, or read from stdin when that is no terminal."""
    wanted = _role(role)
    folder = data_folder(None) if data is None else data  # one that the first start will use may not be there yet
    password = _password("Password")
    folder.mkdir(parents=True, exist_ok=True)
    body = {"name": name, "password": password, "role": role}
    _either(
        folder, lambda c: c.post("/accounts", body), lambda a: a.add(name, password, wanted),
        {"what": "account added", "user": name, "role": role},
    )  # fmt: skip
    show.err.print(f"{name} may sign in as {role}", markup=False)


@account_app.command("list")
def list_(data: Data = None, json_: Json = False) -> None:
    """All accounts and their roles."""
    found = _accounts(data_folder(data)).all()
    if json_:
        show.as_json([{"name": a.name, "role": a.role.value, "disabled": a.disabled} for a in found])
        return
    show.table(
        ("name", "role", "disabled"),
        [(a.name, a.role.value, "yes" if a.disabled else "") for a in found],
        "no accounts; `twinloop account add` makes one",
    )


@account_app.command("remove")
def remove(name: Name, data: Data = None) -> None:
    """Remove an account, its sessions, tokens and own views: whoever is signed in with it is out at once."""
    folder = data_folder(data)

    def in_files(_: Accounts) -> None:
        from control.access import remove_stopped  # brings argon2

        remove_stopped(folder, name)

    _either(
        folder, lambda c: c.delete(f"/accounts/{name}"), in_files, {"what": "account removed", "user": name},
    )  # fmt: skip
    show.err.print(f"{name} is removed", markup=False)


@account_app.command("role")
def role(
    name: Name, role: Annotated[str, typer.Argument(help=f"One of {', '.join(Role)}.")], data: Data = None
) -> None:
    """Give an account another role; it counts at once."""
    wanted = _role(role)
    _change(data, name, {"role": role}, lambda a: a.change(name, role=wanted))
    show.err.print(f"{name} is {role}", markup=False)


@account_app.command("disable")
def disable(name: Name, data: Data = None) -> None:
    """Let an account in no more, and keep it: its sessions end at once, its tokens are good for nothing."""
    _change(data, name, {"disabled": True}, lambda a: a.change(name, disabled=True))
    show.err.print(f"{name} is disabled", markup=False)


@account_app.command("enable")
def enable(name: Name, data: Data = None) -> None:
    """Let a disabled account in again."""
    _change(data, name, {"disabled": False}, lambda a: a.change(name, disabled=False))
    show.err.print(f"{name} may sign in again", markup=False)


@account_app.command("password")
def password(
    name: Name,
    own: Annotated[bool, typer.Option("--own", help="With the old password, as the account itself.")] = False,
    data: Data = None,
) -> None:
    """Give an account another password, asked for or read from stdin; its sessions end at once."""
    folder = data_folder(data)
    if own:
        old = _password("Old password", confirm=False)
        new = _password("New password")
        with Client(folder, name, old) as client:
            client.post("/password", {"old": old, "new": new})
    else:
        new = _password("New password")
        _change(data, name, {"password": new}, lambda a: a.change(name, password=new))
    show.err.print(f"{name} has another password", markup=False)


def _role(text: str) -> Role:
    if text not in list(Role):
        raise BadRequest(f"role {text!r}", f"one of {', '.join(Role)}")
    return Role(text)


def _password(words: str, confirm: bool = True) -> str:
    if sys.stdin.isatty():
        return str(typer.prompt(words, hide_input=True, confirmation_prompt=confirm, err=True))
    return sys.stdin.readline().rstrip("\r\n")


def _change(data: Path | None, name: str, body: dict[str, Any], in_file: Callable[[Accounts], object]) -> None:
    said = {"what": "account changed", "user": name} | body | ({"password": "another"} if "password" in body else {})
    _either(data_folder(data), lambda c: c.patch(f"/accounts/{name}", body), in_file, said)


def _either(
    folder: Path, asked: Callable[[Client], object], in_file: Callable[[Accounts], object], said: dict[str, JSON]
) -> None:
    """By the server that runs on the folder, or in its file where none does, with an entry that says so."""
    try:
        client = Client(folder)
    except Unavailable:
        _record(folder, in_file, said)
        return
    with client:
        try:
            asked(client)
        except Unavailable:  # it was killed: its address stayed behind
            _record(folder, in_file, said)


def _record(folder: Path, in_file: Callable[[Accounts], object], said: dict[str, JSON]) -> None:
    from control import stopped  # these bring the ledger
    from control.evidence import ACCESS
    from control.identity import TOKEN

    body = {"by": TOKEN.name, **said}
    stopped.record(folder, ACCESS, body, time.time_ns(), lambda: in_file(_accounts(folder)))


def _accounts(folder: Path) -> Accounts:
    from control.accounts import Accounts  # brings argon2

    return Accounts(folder, time.time_ns)
