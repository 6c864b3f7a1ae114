"""`twinloop command predictions` and `prediction`: what was predicted of commands and how it fared; decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control import show, show_prediction
from control.client import Client
from control.places import data_folder

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]


def predictions(
    limit: Annotated[int, typer.Option(min=1, max=500, help="How many, newest first.")] = 20,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Predictions of commands, newest first, and how far they could be trusted so far."""
    found = Client(data_folder(data)).get("/predictions", limit=limit)
    if json_:
        show.as_json(found)
        return
    columns = ("command", "made", "set", "horizon", "worst risk", "without", "outcome", "in band")
    show.table(columns, [show_prediction.row(p) for p in found["predictions"]], "nothing was predicted yet")
    show.err.print(show_prediction.track(found["summary"]))


def prediction(
    command: Annotated[str, typer.Argument(help="Id of a command.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """What was predicted of one command, and how it fared."""
    found = Client(data_folder(data)).get(f"/commands/{command}/prediction")
    if json_:
        show.as_json(found)
        return
    show_prediction.whole(found)
