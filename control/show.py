"""What the command line prints: data to stdout, progress and errors to stderr; must not fetch anything."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any

from rich.console import Console
from rich.table import Table

from twin.quality import name as quality_name

PIPE_WIDTH = 240  # columns of a table that no terminal bounds
out = Console(highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPE_WIDTH)
err = Console(stderr=True, highlight=False, emoji=False, soft_wrap=True)


NO_WRAP = frozenset({"id", "entry", "index", "status"})  # columns that people copy from


def as_json(value: Any) -> None:
    """One JSON line on stdout."""
    sys.stdout.write(json.dumps(value, ensure_ascii=False, default=str) + "\n")
    sys.stdout.flush()


def table(columns: Sequence[str], rows: Iterable[Sequence[Any]], empty: str) -> None:
    """A table, or one sentence when there is nothing."""
    made = Table(box=None, header_style="bold", pad_edge=False)
    for name in columns:
        made.add_column(name, overflow="fold", no_wrap=name in NO_WRAP)
    count = 0
    for row in rows:
        made.add_row(*("" if cell is None else str(cell) for cell in row))
        count += 1
    if count:
        out.print(made)
    else:
        err.print(empty)


def moment(time_ms: float | None) -> str:
    """Local time to the second."""
    return "" if time_ms is None else datetime.fromtimestamp(time_ms / 1000).astimezone().isoformat(" ", "seconds")


def command(record: Mapping[str, Any]) -> None:
    """One command and its life: who, why, when, and what was seen."""
    out.print(f"command {record['id']}  [bold]{record['status']}[/bold]  {record['point']} = {record['value']:g}")
    out.print(f"  by {record['author']} as {record['priority']}, key {record['key']}", markup=False)
    if record["reason"]:
        out.print(f"  because: {record['reason']}", markup=False)
    if record["approvals"]:
        given = ", ".join(record["approved_by"]) or "nobody yet"
        out.print(f"  approval by {record['approvals']} of role {record['approver']}: {given}", markup=False)
    if record["waits_for"]:
        out.print(f"  waits for {record['waits_for']}, until {moment(record['deadline'])}", markup=False)
    for step in record["transitions"]:
        who = f" [{step['by']}]" if step["by"] else ""
        out.print(f"  {moment(step['time'])}  {step['status']:<17}{who} {step['detail']}", markup=False)
        for sight in step["seen"]:
            out.print(f"      saw {_sight(sight)}", markup=False)


def _sight(seen: Mapping[str, Any]) -> str:
    shown = seen["text"] if seen["text"] is not None else "no value" if seen["value"] is None else f"{seen['value']:g}"
    age = "" if seen["age_s"] is None else f", {seen['age_s']:.1f} s old"
    return f"{seen['point']} = {shown} ({seen['quality']}{age})"


def check(found: Mapping[str, Any]) -> None:
    """What a command would meet."""
    if found["allowed"]:
        needs = f"; before it is sent it needs {' and '.join(found['needs'])}" if found["needs"] else ""
        out.print(f"would be taken: {found['status']}{needs}", markup=False)
        if found["detail"]:
            out.print(f"  {found['detail']}", markup=False)
    else:
        out.print(f"would be refused: {found['detail']}", markup=False)
    for sight in found["seen"]:
        out.print(f"  saw {_sight(sight)}", markup=False)


def lease(record: Mapping[str, Any]) -> None:
    """Who holds what, and its life."""
    out.print(f"lease {record['id']}  [bold]{record['status']}[/bold]  {', '.join(record['targets'])}")
    out.print(
        f"  held by {record['holder']} as {record['priority']}, last heard {moment(record['beat'])}", markup=False
    )
    if record["until"] is not None:
        out.print(f"  ends at {moment(record['until'])} without a heartbeat, every {record['ttl_s']:g} s", markup=False)
    if record["revert"]:
        set_ = ", ".join(f"{p} = {v:g}" for p, v in record["revert"].items())
        out.print(f"  if its holder is lost: {set_}", markup=False)
    _life(record)


def group(record: Mapping[str, Any]) -> None:
    """Its members with their commands, and its life."""
    out.print(f"group {record['id']}  [bold]{record['status']}[/bold]  in {record['order']} by {record['author']}")
    rows = [
        (n, m["point"], f"{m['value']:g}", m["command"], m["status"], "" if m["undo"] is None else f"{m['undo']:g}",
         m["compensation"], m["compensation_status"])
        for n, m in enumerate(record["members"], 1)
    ]  # fmt: skip
    table(("step", "point", "value", "command", "is", "undo", "compensation", "is"), rows, "")
    _life(record)


def _life(record: Mapping[str, Any]) -> None:
    if record["reason"]:
        out.print(f"  because: {record['reason']}", markup=False)
    for step in record["steps"]:
        who = f" [{step['by']}]" if step["by"] else ""
        out.print(f"  {moment(step['time'])}  {step['status']:<13}{who} {step['detail']}", markup=False)


def stop(answer: Mapping[str, Any]) -> None:
    """Each command of a stop, and what could not be commanded."""
    commands(answer["commands"])
    for problem in answer["problems"]:
        err.print(f"{problem['point']}: {problem['error']['message']}", markup=False)


def commands(records: Iterable[Mapping[str, Any]]) -> None:
    """One line a command."""
    columns = ("id", "submitted", "point", "value", "priority", "status", "author", "waits for or why")
    rows = [
        (
            r["id"],
            moment(r["transitions"][0]["time"]),
            r["point"],
            f"{r['value']:g}",
            r["priority"],
            r["status"],
            r["author"],
            r["waits_for"] or r["transitions"][-1]["detail"],
        )
        for r in records
    ]
    table(columns, rows, "no commands")


def audit(entries: Iterable[Mapping[str, Any]]) -> None:
    """One line an entry; the body's short form."""
    rows = [(e["index"], moment(e["time"]), e["kind"], _reached(e["levels"]), _gist(e["body"])) for e in entries]
    table(("entry", "time", "kind", "evidence", "body"), rows, "no entries yet")


def _reached(levels: Sequence[str]) -> str:
    """Every level by its name; `recorded` alone where that is all."""
    return ", ".join(levels[1:]) or "recorded only"


def _gist(body: Mapping[str, Any]) -> str:
    if "point" in body and "quality" in body:
        return f"{body['point']} = {body['text'] or body['value']} {quality_name(body['quality'])}"
    if "status" in body and "point" in body:
        return f"{body['author']}: {body['point']} = {body['value']:g} {body['status']}, {body['detail']}"
    if "moves" in body:
        moves = ", ".join(f"{m['model'][:12]} is {m['stage']}" for m in body["moves"])
        return f"{body['by']}: {moves} ({body['task']}), {body['why']}"
    return ", ".join(f"{k} {str(v)[:20]}" for k, v in body.items())
