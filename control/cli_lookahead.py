"""`twinloop lookahead …`: what is coming, what became of it, how good the forecasts were; decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from control import show, show_lookahead
from control.client import Client
from control.places import data_folder

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
LimitArgument = Annotated[str, typer.Argument(help="One of the look-ahead's limits, such as 'tank_1.level<1'.")]

lookahead_app = typer.Typer(
    invoke_without_command=True, help="What the standing look-ahead sees coming, and how far it can be trusted."
)


@lookahead_app.callback()
def lookahead(context: typer.Context, data: Data = None, json_: Json = False) -> None:
    """The newest forecast: every limit's probability and time, and the alarms that are predicted."""
    if context.invoked_subcommand is not None:
        return
    found = Client(data_folder(data)).get("/lookahead")
    show.as_json(found) if json_ else show_lookahead.state(found)


@lookahead_app.command()
def alarms(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many, newest first.")] = 50,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Predicted alarms and what became of each: came, cleared, lapsed; and limits that were passed unforeseen."""
    found = Client(data_folder(data)).get("/lookahead/alarms", limit=limit)
    show.as_json(found) if json_ else show_lookahead.alarms(found)


@lookahead_app.command()
def score(
    limit: Annotated[int, typer.Option(min=1, max=1000, help="How many single scores, newest first.")] = 20,
    data: Data = None,
    json_: Json = False,
) -> None:
    """How good the forecasts were: bands, CRPS against no change, Brier score with its reliability, alarms that came."""
    found = Client(data_folder(data)).get("/lookahead/scores", limit=limit)
    show.as_json(found) if json_ else show_lookahead.track(found["summary"])


@lookahead_app.command()
def shelve(
    limit: LimitArgument,
    duration: Annotated[str, typer.Option("--for", help="How long, at most a day: 30m, 8h.")] = "1h",
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")] = "",
    data: Data = None,
) -> None:
    """Hear nothing of the predicted alarms of a limit for a while; they are predicted and scored all the same."""
    from twin.when import parse_duration_s

    body = {"limit": limit, "for_s": parse_duration_s(duration, "--for"), "reason": reason}
    shelf = Client(data_folder(data)).post("/lookahead/shelve", body)
    show.out.print(f"{shelf['limit']} is shelved until {show.moment(shelf['until'])}", markup=False)


@lookahead_app.command()
def unshelve(limit: LimitArgument, data: Data = None) -> None:
    """Hear of them again."""
    Client(data_folder(data)).post("/lookahead/unshelve", {"limit": limit})
    show.out.print(f"{limit} is no longer shelved", markup=False)
