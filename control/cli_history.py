"""The commands of history in files and of back-ups: parse words, ask, print; must not decide anything."""

from __future__ import annotations

import contextlib
import dataclasses
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated

import typer

from control import show
from control.places import data_folder
from twin.when import parse_when_ns

history_app = typer.Typer(no_args_is_help=True, help="History in and out of Parquet files.")

Json = Annotated[bool, typer.Option("--json", help="Print one JSON document.")]
Data = Annotated[Path | None, typer.Option("--data", help="Data folder of the server; found below var/ when left out.")]
Told = Callable[[int, int], None]
LAST_NS = 9_200_000_000_000_000_000  # the year 2261: what fits 64 bits


@history_app.command("export")
def history_export(
    file: Annotated[Path, typer.Argument(help="Parquet file to write; it must not exist.")],
    start: Annotated[str, typer.Option("--from", help="First source time, such as 2026-05-01T06:00Z or -2h.")] = "",
    end: Annotated[str, typer.Option("--to", help="Source time at which to stop.")] = "",
    point: Annotated[list[str] | None, typer.Option(help="Only this point; may be given again.")] = None,
    tier: Annotated[str, typer.Option(help="raw, 1s, 1min or 1h.")] = "raw",
    data: Data = None,
    json_: Json = False,
) -> None:
    """Write history to a Parquet file, with or without a running server."""
    from control.history_files import export_history
    from twin.parquet import Asked

    now = time.time_ns()
    first = parse_when_ns(start, now, "--from") if start else 0
    last = parse_when_ns(end, now, "--to") if end else LAST_NS
    asked = Asked(tier, first, last, tuple(point or ()))
    with _bar("exporting") as told:
        found = export_history(data_folder(data), file, asked, told)
    show.as_json(found) if json_ else show.out.print(
        f"{found['rows']} rows of {tier} in {file}, {found['bytes']} bytes"
    )


@history_app.command("import")
def history_import(
    file: Annotated[Path, typer.Argument(help="Parquet file with the columns of an export of raw history.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say what would be taken; take nothing.")] = False,
    data: Data = None,
    json_: Json = False,
) -> None:
    """Take rows that history does not hold from a Parquet file, with or without a running server."""
    from control.history_files import import_history

    with _bar("importing") as told:
        found = import_history(data_folder(data), file, dry_run, told)
    if json_:
        show.as_json(dataclasses.asdict(found))
        return
    verb = "would be" if dry_run else "were"
    show.out.print(
        f"{found.new} rows {verb} taken; {found.held} held before, {found.expired} older than history is kept"
    )


def backup(
    folder: Annotated[Path, typer.Argument(help="New folder for the copy.")], data: Data = None, json_: Json = False
) -> None:
    """Copy the data folder, while the server runs or not; the copy is a data folder itself."""
    from control.history_files import back_up

    with _bar("copying") as told:
        found = back_up(data_folder(data), folder, told)
    if json_:
        show.as_json(found)
        return
    show.out.print(f"{folder}: {found['copied_bytes']} bytes")
    show.err.print(f"check it with: twinloop audit verify --data {folder}")


def restore(
    backup: Annotated[Path, typer.Argument(help="A folder made by `twinloop backup`.")],
    data: Annotated[Path, typer.Option("--data", help="New data folder.")],
    json_: Json = False,
) -> None:
    """Check a back-up and copy it to a new data folder."""
    from control import history_files

    with _bar("copying") as told:
        found = history_files.restore(backup, data, told)
    show.as_json(found) if json_ else show.out.print(
        f"{data}: {found['copied_bytes']} bytes, {found['entries']} entries"
    )


@contextlib.contextmanager
def _bar(word: str) -> Iterator[Told]:
    """Progress on stderr."""
    from rich.progress import Progress

    with Progress(console=show.err, transient=True) as progress:
        bar = progress.add_task(word, total=None)
        yield lambda done, total: progress.update(bar, completed=done, total=total or None)
