"""`twinloop discover`: words to a search, its progress and its outcome to words; decides nothing."""

from __future__ import annotations

import asyncio
import random
import re
import signal
import sys
import threading
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, cast
from urllib.parse import urlsplit

import typer

from control import show
from control.discover_names import plain
from twin.errors import BadRequest, NotFound, TwinloopError, Unavailable
from twin.nearest import nearest
from twin.sheet import PLANT_FILE
from twin.when import parse_duration_s

if TYPE_CHECKING:
    from protocols.discovery import Found, Told
    from twin.plant import Device
    from twin.rules import Setting

    Search = Callable[[Told], Awaitable[Found]]

_NO_NAME = re.compile(r"[\d.]*|localhost|.*:.*")  # addresses, and what every machine calls itself

PROTOCOL_OF_SCHEME = {
    "opc.tcp": "opcua", "modbus": "modbus", "modbus+rtu": "modbus", "modbus+serial": "modbus", "mqtt": "mqtt",
    "mqtts": "mqtt",
}  # fmt: skip
GONE = {"mqtt": "not heard"}  # silence is no proof
SHOWN_MAX = 40  # lines of one kind; --json has all
PROGRESS_S = 0.5
LIMIT = 100_000  # a large site; a server without end is not searched for ever

Endpoint = Annotated[
    str, typer.Argument(help="opc.tcp://host:port, modbus://host:port/unit or mqtt://host:port; user:password@ too.")
]
Output = Annotated[
    Path | None, typer.Option("--output", "-o", help="Plant folder; named like the device when left out.")
]
DeviceId = Annotated[str, typer.Option("--device", help="Id of the device; made from the host when left out.")]
Under = Annotated[
    str, typer.Option(help="Only what lies there: NodeId or path of browse names (OPC UA), prefix of topics (MQTT).")
]
Limit = Annotated[int, typer.Option(min=1, help="At most so many nodes (OPC UA), cells (Modbus) or topics (MQTT).")]
Update = Annotated[bool, typer.Option("--update", help="Write the difference into a plant that exists.")]
Prune = Annotated[bool, typer.Option("--prune", help="With --update: remove rows of what is gone.")]
DryRun = Annotated[bool, typer.Option("--dry-run", help="Write nothing, not even a new plant.")]
Timeout = Annotated[str, typer.Option(help="How long to wait for one answer; the protocol's default when left out.")]
Set = Annotated[
    list[str] | None, typer.Option("--set", help="A setting of the device as in plant.toml: key=value; repeatable.")
]
Pki = Annotated[Path | None, typer.Option("--pki", help="Folder of certificates (see `twinloop certs`).")]
Security = Annotated[str, typer.Option(help="OPC UA: None, Sign or SignAndEncrypt.")]
Policy = Annotated[str, typer.Option(help="OPC UA: algorithms of a channel that signs.")]
Listen = Annotated[str, typer.Option("--for", help="MQTT: how long to listen.")]
Rebirth = Annotated[bool, typer.Option("--rebirth", help="Sparkplug: ask edge nodes that speak to be born again.")]
Units = Annotated[str, typer.Option(help="Modbus: units such as 1-10,20 instead of the endpoint's.")]
Registers = Annotated[str, typer.Option(help="Modbus: addresses of each table to look at.")]
Stride = Annotated[
    int, typer.Option(min=1, help="Modbus: where blocks are refused, every so many cells are asked for.")
]
Requests = Annotated[int, typer.Option(min=1, help="Modbus: requests to one unit at most.")]
Delay = Annotated[str, typer.Option(help="Modbus: leave the device alone for so long between two requests.")]


@dataclass(frozen=True, slots=True)
class _Asked:
    """What people said, apart from the endpoint."""

    under: str
    limit: int
    listen_s: float
    rebirth: bool
    registers: str
    stride: int
    requests: int
    pki: Path | None


def discover(
    endpoint: Endpoint,
    output: Output = None,
    device: DeviceId = "",
    under: Under = "",
    limit: Limit = LIMIT,
    update: Update = False,
    prune: Prune = False,
    dry_run: DryRun = False,
    timeout: Timeout = "",
    settings: Set = None,
    pki: Pki = None,
    security: Security = "",
    policy: Policy = "",
    listen: Listen = "10s",
    rebirth: Rebirth = False,
    units: Units = "",
    registers: Registers = "0-9999",
    stride: Stride = 10,
    requests: Requests = 20_000,
    delay: Delay = "",
    json_: Annotated[bool, typer.Option("--json", help="Print one JSON document a device.")] = False,
) -> None:
    """Look at what a device offers and write a plant from it; the next time, say what has changed.

    A plant that exists is only compared, unless --update is given; what people changed in it stays.
    """
    from control import discover as search
    from protocols.mqtt.codec import SPARKPLUG
    from protocols.mqtt.sparkplug import NAMESPACE

    if prune and not update:
        raise BadRequest("--prune without --update", "add --update, or leave it out")
    said = _settings(settings or [], {"security": security, "policy": policy})
    if under.split("/")[0] == NAMESPACE and endpoint.startswith("mqtt"):
        said.setdefault("format", SPARKPLUG)
    said |= _durations({"timeout_s": ("--timeout", timeout), "request_delay_s": ("--delay", delay)})
    (listen_s,) = _durations({"": ("--for", listen)}).values()
    asked = _Asked(under, limit, float(listen_s), rebirth, registers, stride, requests, pki)
    devices = _devices(endpoint, device, units, said)
    folder = output or Path(device or devices[0].id)
    how = _How(folder, update or not (folder / PLANT_FILE).exists(), prune, dry_run, json_)
    for one in devices:
        try:
            _discover(search.known(folder, one, bool(device), said), asked, how)
        except (Unavailable, NotFound) as failure:
            if len(devices) == 1:
                raise
            show.err.print(f"{one.id}: {failure.message}", markup=False)  # the other units may be there


@dataclass(frozen=True, slots=True)
class _How:
    """What becomes of what is found; `write` also where there is no plant yet."""

    folder: Path
    write: bool
    prune: bool
    dry_run: bool
    json: bool


def _discover(device: Device, asked: _Asked, how: _How) -> None:
    from control import discover as search

    found = _run(_search(device, asked))
    source = replace(device, settings={**device.settings, **found.settings})
    target, outcome = search.compare(how.folder, source, found, how.prune)
    if how.write and not how.dry_run:
        outcome = search.write_out(target, outcome)
    document = search.as_document(outcome, how.folder)
    show.as_json(document) if how.json else _say(document)


def _durations(texts: Mapping[str, tuple[str, str]]) -> dict[str, str]:
    """Seconds as text, of the options that were given."""
    return {key: str(parse_duration_s(text, option)) for key, (option, text) in texts.items() if text}


def _settings(pairs: Sequence[str], more: Mapping[str, str]) -> dict[str, str]:
    found = {key: value for key, value in more.items() if value}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise BadRequest(f"--set {pair!r}", "write it as key=value")
        found[key] = value
    return found


def _devices(endpoint: str, identity: str, units: str, said: Mapping[str, str]) -> list[Device]:
    """The device that is meant; of Modbus one for each unit."""
    from protocols.catalog import PROTOCOLS
    from protocols.modbus.probing import parse_units
    from twin.interface import NAME
    from twin.plant import Device

    protocol = PROTOCOL_OF_SCHEME.get(urlsplit(endpoint).scheme)
    if protocol is None:
        offer = ", ".join(f"{scheme}://" for scheme in PROTOCOL_OF_SCHEME)
        raise BadRequest(f"{endpoint!r} is no endpoint", f"begin it with one of {offer}")
    if units and protocol != "modbus":
        raise BadRequest("--units without Modbus", "leave it out")
    rules = PROTOCOLS[protocol].rules
    try:
        numbers = parse_units(units) if units else ()
        rules.check_endpoint(endpoint)
    except ValueError as error:
        raise BadRequest(str(error)) from None
    host = urlsplit(endpoint).hostname or ""
    name = identity or plain(f"{protocol} {host}" if _NO_NAME.fullmatch(host) else host.split(".")[0])
    if not NAME.match(name):
        raise BadRequest(f"--device {name!r}", "use letters, digits and _, a letter first")
    settings = _checked(protocol, endpoint, said)
    if not numbers:
        return [Device(name, protocol, endpoint, settings)]
    base, query = endpoint.partition("?")[0].rpartition("/")[0], endpoint.partition("?")[1:]
    places = {number: f"{base}/{number}{''.join(query)}" for number in numbers}
    return [Device(name if len(places) == 1 else f"{name}_{n}", protocol, at, settings) for n, at in places.items()]


def _checked(protocol: str, endpoint: str, said: Mapping[str, str]) -> dict[str, Any]:
    """All settings of a device, those said in the place of defaults."""
    from protocols.catalog import PROTOCOLS

    rules = PROTOCOLS[protocol].rules
    found: dict[str, Any] = {key: setting.default for key, setting in rules.settings.items()}
    for key, text in said.items():
        setting = rules.settings.get(key)
        if setting is None:
            raise BadRequest(f"{protocol} has no setting {key!r}", nearest(key, rules.settings))
        found[key] = _setting(key, text, setting)
    for clash in rules.check_settings(endpoint, found):
        raise BadRequest(clash.message, clash.fix)
    return found


def _setting(key: str, text: str, setting: Setting) -> bool | int | float | str:
    try:
        value = {"true": True, "false": False}[text] if setting.type is bool else setting.type(text)
    except (KeyError, ValueError):
        raise BadRequest(f"{key}={text} is not a {setting.type.__name__}", setting.help) from None
    if setting.choices and value not in setting.choices:
        raise BadRequest(f"{key}={text}", f"one of {', '.join(setting.choices)}")
    if isinstance(value, int | float) and not setting.low <= value <= setting.high:
        raise BadRequest(f"{key}={text} is outside {setting.low:g} … {setting.high:g}", setting.help)
    return cast("bool | int | float | str", value)


def _search(device: Device, asked: _Asked) -> Search:
    """The search of the device's protocol. Its library is imported here, so that other commands stay quick."""
    if device.protocol == "opcua":
        from protocols.opcua import discover as opcua

        nodes = opcua.Wanted(asked.under, asked.limit)
        return lambda told: opcua.discover(device, nodes, told, time.time_ns, asked.pki)
    if device.protocol == "mqtt":
        from protocols.mqtt import discover as mqtt

        topics = mqtt.Wanted(asked.under, asked.listen_s, asked.limit, asked.rebirth)
        return lambda told: mqtt.discover(device, topics, told, time.time_ns, random.Random(), asked.pki)
    from protocols.modbus import discover as modbus
    from protocols.modbus.probing import parse_span

    try:
        first, last = parse_span(asked.registers)
    except ValueError as error:
        raise BadRequest(f"--registers: {error}") from None
    cells = modbus.Wanted(first, last, asked.stride, limit=asked.limit, requests_max=asked.requests)
    return lambda told: modbus.discover(device, cells, told, time.time_ns)


def _run(search: Search) -> Found:
    """One search with its progress on stderr; Ctrl-C ends it before anything is written."""
    progress = _Progress()
    interrupts: list[int] = []

    async def main() -> Found:
        task = asyncio.current_task()
        assert task is not None
        stop = task.cancel

        def interrupted() -> None:
            interrupts.append(signal.SIGINT)
            stop()

        if threading.current_thread() is threading.main_thread():  # no other hears signals
            asyncio.get_running_loop().add_signal_handler(signal.SIGINT, interrupted)
        return await search(progress.told)

    try:
        return asyncio.run(main())
    except (TwinloopError, OSError, asyncio.CancelledError, BaseExceptionGroup):
        if interrupts:  # whatever broke off broke off because we end
            raise KeyboardInterrupt from None
        raise
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


def _say(document: Mapping[str, Any]) -> None:
    """The outcome in words: what was found, what differs, what was written."""
    where = f"{document['values']} values of {document['things']} things at {document['endpoint']}"
    show.out.print(where, markup=False, soft_wrap=True)
    if not document["new"]:
        _lines("added", document["added"], lambda a: f"{a['address']}  {a['path']}")
        _lines(
            GONE.get(document["protocol"], "gone"),
            document["gone"],
            lambda g: f"{g['address']}  {g['path']}  {g['point']}",
        )
        _lines("changed", document["changed"], _changed)
    _lines("not read", document["skipped"], lambda s: f"{s['address']}  {s['path']}: {s['reason']}")
    for remark in document["remarks"]:
        show.err.print(remark, markup=False)
    differs = document["added"] or document["gone"] or document["changed"]
    if document["written"]:
        show.out.print(f"wrote {document['folder']}; look at it with: twinloop check {document['folder']}")
    elif not document["new"] and not differs:
        show.out.print("no difference")
    elif not document["new"]:
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
