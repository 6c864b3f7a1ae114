"""`twinloop alarm …`: what is wrong, what people do about it, how well the alarms work; decides nothing."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Any

import typer

from control import show, show_alarm
from control.cli_command import Account, asking
from control.client import Client
from control.places import data_folder

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Ids = Annotated[list[str] | None, typer.Argument(help="Alarms by id, such as tank_1.level:high.")]
Reason = Annotated[str, typer.Option(help="Why; kept in the ledger.")]
TwinOption = Annotated[str, typer.Option("--twin", help="All that it fits of this twin and its parts, instead of ids.")]
Priorities = Annotated[str, typer.Option(help="Only these: high, medium, low, journal; several with commas.")]
Since = Annotated[str, typer.Option("--from", help="From this moment: 2026-11-21T06:00Z, or -8h.")]
Until = Annotated[str, typer.Option("--to", help="Before this moment.")]

alarm_app = typer.Typer(no_args_is_help=True, help="Alarms: what is wrong, who saw it, and how well they work.")


@alarm_app.command("list")
def list_(
    state: Annotated[
        str,
        typer.Option(
            help="open, active, unacknowledged, shelved, suppressed, out_of_service, unsure, blind, silent, retained or all."
        ),
    ] = "open",
    twin: Annotated[str, typer.Option(help="Only of this twin and its parts.")] = "",
    priority: Priorities = "",
    from_: Since = "",
    to: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many.")] = 500,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Alarms as they stand, the most urgent first."""
    query = _given(state=state, twin=twin, priority=priority, to=to, limit=limit, **{"from": from_})
    found = Client(data_folder(data)).get("/alarms", **query)
    show.as_json(found) if json_ else show_alarm.listed(found)


@alarm_app.command("show")
def show_(
    alarm: Annotated[str, typer.Argument(help="Its id, such as tank_1.level:high.")],
    data: Data = None,
    json_: Json = False,
) -> None:
    """One alarm: its state, its newest steps, what it means and what to do."""
    found = Client(data_folder(data)).get(f"/alarms/{_quoted(alarm)}")
    show.as_json(found) if json_ else show_alarm.detail(found)


@alarm_app.command()
def history(
    alarm: Annotated[str, typer.Option(help="Only of this alarm.")] = "",
    twin: Annotated[str, typer.Option(help="Only of this twin and its parts.")] = "",
    priority: Priorities = "",
    step: Annotated[str, typer.Option(help="Only these steps: active, cleared, acknowledged …; with commas.")] = "",
    by: Annotated[str, typer.Option(help="Only what this person did.")] = "",
    from_: Since = "",
    to: Until = "",
    limit: Annotated[int, typer.Option(min=1, max=5000, help="How many, newest first.")] = 50,
    csv: Annotated[bool, typer.Option("--csv", help="All of them as CSV.")] = False,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Steps of alarms, newest first."""
    query = _given(alarm=alarm, twin=twin, priority=priority, step=step, by=by, to=to, **{"from": from_})
    client = Client(data_folder(data))
    if csv:
        client.download("/alarms/export", sys.stdout.buffer, lambda _: None, **query)
        return
    found = client.get("/alarms/history", limit=limit, **query)
    show.as_json(found) if json_ else show_alarm.steps(found)


@alarm_app.command()
def ack(
    alarms: Ids = None, reason: Reason = "", twin: TwinOption = "", account: Account = "", data: Data = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Acknowledge: somebody has seen it."""
    _verb("acknowledge", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def confirm(
    alarms: Ids = None, reason: Reason = "", twin: TwinOption = "", account: Account = "", data: Data = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Confirm that what it asked for is done."""
    _verb("confirm", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def comment(
    alarm: Annotated[str, typer.Argument(help="Its id.")], text: Annotated[str, typer.Argument(help="What to say.")],
    account: Account = "", data: Data = None, json_: Json = False,
) -> None:  # fmt: skip
    """Say something of an alarm."""
    _verb("comment", [alarm], text, "", account, data, json_)


@alarm_app.command()
def reset(
    alarms: Ids = None, reason: Reason = "", twin: TwinOption = "", account: Account = "", data: Data = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Let latched alarms go, once they are acknowledged and over."""
    _verb("reset", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def shelve(
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    alarms: Ids = None,
    duration: Annotated[str, typer.Option("--for", help="How long: 30m, 8h.")] = "1h",
    one_shot: Annotated[bool, typer.Option("--one-shot", help="Only until it clears, if that is sooner.")] = False,
    twin: TwinOption = "",
    account: Account = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Hear nothing of alarms for a while; they come back by themselves."""
    from twin.when import parse_duration_s

    _verb("shelve", alarms, reason, twin, account, data, json_, for_s=parse_duration_s(duration, "--for"),
          one_shot=one_shot)  # fmt: skip


@alarm_app.command()
def unshelve(
    alarms: Ids = None, reason: Reason = "", twin: TwinOption = "", account: Account = "", data: Data = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Hear of them again."""
    _verb("unshelve", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def suppress(
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    alarms: Ids = None, twin: TwinOption = "", account: Account = "", data: Data = None, json_: Json = False,
) -> None:  # fmt: skip
    """Suppress alarms until somebody ends it; a supervisor's right."""
    _verb("suppress", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def unsuppress(
    alarms: Ids = None, reason: Reason = "", twin: TwinOption = "", account: Account = "", data: Data = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """End that."""
    _verb("unsuppress", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def remove(
    reason: Annotated[str, typer.Option(help="Why; kept in the ledger.")],
    alarms: Ids = None, twin: TwinOption = "", account: Account = "", data: Data = None, json_: Json = False,
) -> None:  # fmt: skip
    """Take alarms out of service; an engineer's right."""
    _verb("remove", alarms, reason, twin, account, data, json_)


@alarm_app.command("return")
def return_(
    alarms: Ids = None, reason: Reason = "", twin: TwinOption = "", account: Account = "", data: Data = None,
    json_: Json = False,
) -> None:  # fmt: skip
    """Put them back into service."""
    _verb("return", alarms, reason, twin, account, data, json_)


@alarm_app.command()
def stats(from_: Since = "-24h", to: Until = "", data: Data = None, json_: Json = False) -> None:
    """Rates, floods, bad actors, chattering, fleeting and standing alarms (EEMUA 191, ISA-18.2)."""
    found = Client(data_folder(data)).get("/alarms/statistics", **_given(to=to, **{"from": from_}))
    show.as_json(found) if json_ else show_alarm.statistics(found)


@alarm_app.command()
def rollup(data: Data = None, json_: Json = False) -> None:
    """Alarms counted up the parts of the plant."""
    found = Client(data_folder(data)).get("/alarms/rollup")
    if json_:
        show.as_json(found)
        return
    heads = ("twin", "high", "medium", "low", "journal", "unacked", "shelved", "suppressed", "out_of_service", "blind",
             "worst", "priority")  # fmt: skip
    show.table(heads, [[r[h] for h in heads] for r in found], "nothing to say of any twin")


@alarm_app.command()
def rules(
    rule: Annotated[str, typer.Option(help="Only of this rule.")] = "",
    state: Annotated[str, typer.Option(help="Deliveries that are waiting, done, dead or limited.")] = "dead",
    retry: Annotated[str, typer.Option(help="Try this dead letter again.")] = "",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Rules of alarms, how they fare, and what they gave up."""
    client = Client(data_folder(data))
    if retry:
        client.post("/alarms/rules/retry", {"id": retry})
    found = client.get("/alarms/rules", **_given(rule=rule, state=state))
    show.as_json(found) if json_ else show_alarm.rules(found)


def _verb(
    verb: str, alarms: list[str] | None, reason: str, twin: str, account: str, data: Path | None, json_: bool, **more: Any
) -> None:  # fmt: skip
    body = {"alarms": alarms or [], "reason": reason, "twin": twin, **more}
    with asking(data, account) as client:
        found = client.post(f"/alarms/{verb}", body)
    show.as_json(found) if json_ else show_alarm.outcomes(found)
    if any(o["problem"] for o in found["outcomes"]):
        raise typer.Exit(5)


def _given(**query: Any) -> dict[str, Any]:
    return {key: value for key, value in query.items() if value != ""}


def _quoted(text: str) -> str:
    from urllib.parse import quote

    return quote(text, safe="")
