"""`twinloop command predictions` and `prediction`: what was predicted of commands and how it fared; decides nothing."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import typer

from control import show
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
    show.table(columns, [_row(p) for p in found["predictions"]], "nothing was predicted yet")
    show.err.print(_track(found["summary"]))


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
    show.out.print(
        f"command {found['command']}  {found['point']} = {found['value']:g}  made {show.moment(found['made_at'])}, "
        f"{found['horizon_s'] / 3600:g} h ahead, {found['replications']} pairs, seed {found['seed']}"
        f"{'  (' + found['assumed'] + ')' if found['assumed'] else ''}"
    )
    for r in found["risks"]:
        span = f"{r['low']:.2f} … {r['high']:.2f}"
        show.out.print(f"  P({r['limit']}) = {r['probability']:.2f} ({span}), without the command {r['baseline']:.2f}")
    for e in found["effects"]:
        show.out.print(f"  {e['name']} {e['mean']:+.3g} {e['unit']} ({e['low']:+.3g} … {e['high']:+.3g})")
    _score(found["score"])


def _score(score: dict[str, Any] | None) -> None:
    if score is None:
        show.out.print("  waits for its horizon")
        return
    coverage = (
        "" if score["coverage"] is None else f"  {_percent(score['coverage'])} of {score['readings']} in the band"
    )
    show.out.print(f"  [bold]{score['outcome']}[/bold]{coverage}  {score['detail']}")
    for p in score["points"]:
        observed = "not read" if p["observed"] is None else f"{p['observed']:+.3g}"
        show.out.print(f"    {p['point']}: {p['expected']:+.3g} expected, {observed} {p['unit']} observed")
    for x in score["limits"]:
        became = {True: "violated", False: "kept", None: "not known"}[x["violated"]]
        show.out.print(f"    {x['limit']}: P = {x['probability']:.2f}, {became}")


def _row(made: dict[str, Any]) -> tuple[Any, ...]:
    worst = max(made["risks"], key=lambda r: r["probability"], default=None)
    score = made["score"]
    return (
        made["command"],
        show.moment(made["made_at"]),
        f"{made['point']} = {made['value']:g}",
        f"{made['horizon_s'] / 3600:g} h",
        "" if worst is None else f"{worst['limit']}: {worst['probability']:.2f}",
        "" if worst is None else f"{worst['baseline']:.2f}",
        "waiting" if score is None else score["outcome"],
        "" if score is None or score["coverage"] is None else _percent(score["coverage"]),
    )


def _track(summary: dict[str, Any]) -> str:
    parts = [f"{summary['made']} predictions: {summary['scored']} scored, {summary['censored']} cut short, "
             f"{summary['unscored']} without an outcome, {summary['waiting']} waiting"]  # fmt: skip
    if summary["coverage"] is not None:
        parts.append(f"{_percent(summary['coverage'])} of readings in the 90 % band")
    if summary["brier"] is not None:
        parts.append(
            f"Brier {summary['brier']:.3f} over {summary['limits']} limits ({summary['brier_base']:.3f} by rate)"
        )
    if summary["beats_persistence"] is not None:
        parts.append(f"{_percent(summary['beats_persistence'])} nearer than no change")
    return "; ".join(parts)


def _percent(share: float) -> str:
    return f"{100 * share:.0f} %"
