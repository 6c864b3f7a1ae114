"""`twinloop account`: who may use the server and the faces of the twin (docs/security.md); decides nothing."""

from __future__ import annotations

import sys
import time
from pathlib import Path
from typing import Annotated

import typer

from control import show
from control.accounts import Accounts
from control.places import data_folder
from twin.errors import BadRequest
from twin.role import Role

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
    if role not in list(Role):
        raise BadRequest(f"role {role!r}", f"one of {', '.join(Role)}")
    folder = data_folder(None) if data is None else data  # one that the first start will use may not be there yet
    if sys.stdin.isatty():
        password = typer.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        password = sys.stdin.readline().rstrip("\r\n")
    folder.mkdir(parents=True, exist_ok=True)
    Accounts(folder, time.time_ns).add(name, password, Role(role))
    show.err.print(f"{name} may sign in as {role}", markup=False)


@account_app.command("list")
def list_(data: Data = None, json_: Json = False) -> None:
    """All accounts and their roles."""
    found = Accounts(data_folder(data), time.time_ns).all()
    if json_:
        show.as_json([{"name": a.name, "role": a.role.value} for a in found])
        return
    show.table(
        ("name", "role"), [(a.name, a.role.value) for a in found], "no accounts; `twinloop account add` makes one"
    )


@account_app.command("remove")
def remove(name: Name, data: Data = None) -> None:
    """Remove an account: who is signed in with it may look until the connection ends, and command nothing more."""
    Accounts(data_folder(data), time.time_ns).remove(name)
    show.err.print(f"{name} is removed", markup=False)
