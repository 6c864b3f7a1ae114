"""`twinloop models serving|retrain`: the models at work in a running server; decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
from control.client import Client
from control.places import data_folder

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]


def serving(data: Data = None, json_: Json = False) -> None:
    """Every learned row of the running plant: which model answers, how its forecasts fare, what has drifted."""
    rows = Client(data_folder(data)).get("/learned")
    if json_:
        show.as_json(rows)
        return
    head = ("row", "task", "twins", "state", "model", "known", "ms", "error", "held", "drifted", "retraining")
    cells = [
        (r["id"], r["task"], r["twins"], r["state"], r["model"][:12], r["known"], _number(r["took_ms"], ".1f"),
         _number(r["error"], ".3g"), _number(r["held"], ".0%"), ", ".join(r["drifted"]), _training(r))
        for r in rows
    ]  # fmt: skip
    show.table(head, cells, "the plant has no [[learned]] row; see docs/plant.md")
    for row in rows:
        if row["why"]:
            show.out.print(f"{row['id']}: {row['why']}", markup=False)


def retrain(
    row: Annotated[str, typer.Argument(help="Id of a learned row of the plant.")],
    stop: Annotated[bool, typer.Option("--cancel", help="Stop the training that waits or runs.")] = False,
    reason: Annotated[str, typer.Option("--reason", help="Why; kept in the record and the ledger.")] = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Train a row's model anew on the plant's history, in a process of the server's; see `twinloop models serving`.

    Trains on the older part of what the row's `learn` names; if the new model beats the champion on the newest part, it
    becomes a shadow.
    """
    client = Client(data_folder(data))
    path = f"/learned/{row}/training"
    found = client.delete(path) if stop else client.post(path, {"reason": reason})
    if json_:
        show.as_json(found)
        return
    show.out.print(f"{found['row']}: {found['course']}, {found['words']}", markup=False)


def _training(row: dict[str, Any]) -> str:
    newest = row["training"]
    if newest is None:
        return str(row["retrain"])
    done = f"{newest['share']:.0%} " if newest["course"] == "running" else ""
    return f"{newest['course']} {done}{newest['words']}"


def _number(value: float | None, form: str) -> str:
    return "" if value is None else format(value, form)
