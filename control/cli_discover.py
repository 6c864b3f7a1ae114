"""`twinloop discover`: words to a search, its progress and its outcome to words; decides nothing."""

from __future__ import annotations

import asyncio
import re
import sys
import time
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import urlsplit

import typer

from control import show
from control.discover_names import plain
from protocols.catalog import PROTOCOLS
from protocols.discovery import Found, Told
from twin.errors import BadRequest
from twin.interface import NAME
from twin.plant import Device

PROTOCOL_OF_SCHEME = {"opc.tcp": "opcua", "modbus": "modbus", "mqtt": "mqtt", "mqtts": "mqtt"}
SHOWN_MAX = 40  # lines of one kind; --json has all
PROGRESS_S = 0.5
LIMIT = 100_000  # values or nodes: a large site; a server without end is not searched for ever
NAME_OF_LIMIT = "nodes (OPC UA), registers and bits (Modbus) or values (MQTT)"

Search = Callable[[Told], Awaitable[Found]]


def discover(
    endpoint: Annotated[
        str,
        typer.Argument(help="opc.tcp://host:port, modbus://host:port/unit or mqtt://host:port; user:password@ too."),
    ],
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Plant folder; named like the device when left out.")
    ] = None,
    device: Annotated[str, typer.Option(help="Id of the device; made from the host when left out.")] = "",
    under: Annotated[
        str, typer.Option(help="Only what lies there: a NodeId or a path of browse names; a topic prefix.")
    ] = "",
    limit: Annotated[int, typer.Option(min=1, help=f"At most so many {NAME_OF_LIMIT}.")] = LIMIT,
    update: Annotated[bool, typer.Option("--update", help="Write the difference into a plant that exists.")] = False,
    prune: Annotated[bool, typer.Option("--prune", help="With --update: remove rows of what is gone.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Write nothing, not even a new plant.")] = False,
    timeout: Annotated[str, typer.Option(help="How long to wait for one answer, such as 4s.")] = "4s",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document.")] = False,
) -> None:
    """Look at what a device offers and write a plant from it; the next time, say what has changed.

    A plant that exists is only compared, unless --update is given; what people changed in it stays.
    """
    from control import discover as search
    from twin.when import parse_duration_s

    if prune and not update:
        raise BadRequest("--prune without --update", "add --update, or leave it out")
    found_device = _device(endpoint, device, {"timeout_s": parse_duration_s(timeout, "--timeout")})
    folder = output or Path(found_device.id)
    found = _run(_search(found_device, under, limit))
    target, outcome = search.compare(folder, found_device, found, prune)
    if not dry_run and (target.plant is None or update):
        outcome = search.write_out(target, outcome)
    document = search.as_document(outcome, folder)
    show.as_json(document) if json_ else _say(document, update)


def _device(endpoint: str, identity: str, settings: Mapping[str, Any]) -> Device:
    scheme = urlsplit(endpoint).scheme
    protocol = PROTOCOL_OF_SCHEME.get(scheme)
    if protocol is None:
        raise BadRequest(
            f"{endpoint!r} is no endpoint", f"begin it with {', '.join(f'{s}://' for s in PROTOCOL_OF_SCHEME)}"
        )
    rules = PROTOCOLS[protocol].rules
    try:
        rules.check_endpoint(endpoint)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    host = urlsplit(endpoint).hostname or ""
    made = identity or plain(f"{protocol} {host}" if re.fullmatch(r"[\d.:]+|localhost", host) else host.split(".")[0])
    if not NAME.match(made):
        raise BadRequest(f"--device {made!r}", "use letters, digits and _, a letter first")
    return Device(made, protocol, endpoint, {k: s.default for k, s in rules.settings.items()} | dict(settings))


def _search(device: Device, under: str, limit: int) -> Search:
    from protocols.opcua.discover import Wanted
    from protocols.opcua.discover import discover as search_opcua

    return lambda told: search_opcua(device, Wanted(under, limit), told)


def _run(search: Search) -> Found:
    """One search with its progress on stderr; Ctrl-C ends it before anything is written."""
    progress = _Progress()

    async def main() -> Found:
        return await search(progress.told)

    try:
        return asyncio.run(main())
    finally:
        progress.end()


class _Progress:
    """A line on stderr that is written over on a terminal, and a few lines elsewhere."""

    def __init__(self) -> None:
        self._begun = self._said = time.monotonic()
        self._is_terminal = sys.stderr.isatty()
        self._last = ""

    def told(self, count: int, what: str) -> None:
        now = time.monotonic()
        rate = count / max(now - self._begun, 1e-9)
        self._last = f"{count} {what}, {rate:.0f}/s"
        if now - self._said >= PROGRESS_S:
            self._said = now
            self._write(self._last)

    def end(self) -> None:
        if self._last:
            self._write(self._last)
            if self._is_terminal:
                sys.stderr.write("\n")

    def _write(self, text: str) -> None:
        with suppress(BrokenPipeError):
            sys.stderr.write(f"\r\x1b[K{text}" if self._is_terminal else f"{text}\n")
            sys.stderr.flush()


def _say(document: Mapping[str, Any], update: bool) -> None:
    """The outcome in words: what was found, what differs, what was written."""
    where = f"{document['values']} values of {document['things']} things at {document['endpoint']}"
    show.out.print(where, markup=False, soft_wrap=True)
    if not document["new"]:
        _lines("added", document["added"], lambda a: f"{a['address']}  {a['path']}")
        _lines("gone", document["gone"], lambda g: f"{g['address']}  {g['path']}  {g['point']}")
        _lines("changed", document["changed"], _changed)
    _lines("not read", document["skipped"], lambda s: f"{s['address']}  {s['path']}: {s['reason']}")
    for remark in document["remarks"]:
        show.err.print(remark, markup=False)
    differs = document["added"] or document["gone"] or document["changed"]
    if document["written"]:
        show.out.print(f"wrote {document['folder']}; look at it with: twinloop check {document['folder']}")
    elif not document["new"] and not differs:
        show.out.print("no difference")
    elif not document["new"] and not update:
        show.out.print("nothing written; --update takes it over, --prune with it removes what is gone")


def _changed(change: Mapping[str, Any]) -> str:
    kept = f" ({change['kept']})" if change["kept"] else ""
    before, after = change["before"] or "none", change["after"] or "none"
    return f"{change['address']}  {change['path']}: {change['what']} {before} -> {after}{kept}"


def _lines(title: str, entries: list[Any], text: Callable[[Any], str]) -> None:
    if not entries:
        return
    show.out.print(f"{title}: {len(entries)}")
    for entry in entries[:SHOWN_MAX]:
        show.out.print(f"  {text(entry)}", markup=False, soft_wrap=True)
    if len(entries) > SHOWN_MAX:
        show.out.print(f"  … and {len(entries) - SHOWN_MAX} more; --json has all")
