"""`twinloop fleet`: a plant's devices as simulated ones, what goes wrong with them, and what is true; decides nothing."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any
from urllib.parse import urlsplit

import orjson
import typer

from control import show
from control.compiled import prepare
from control.places import endpoints, plant_folder
from control.stopping import stop_on_signals, stop_with_stdin
from twin.errors import BadRequest

if TYPE_CHECKING:
    from protocols.faults import Schedule
    from scenarios.fleet import Fleet
    from twin.plant import Plant

FAULTS_PER_MINUTE, FAULT_MINUTES = 6.0, 30.0


def fleet(
    plant: Annotated[str, typer.Argument(help="Folder of a plant, or the name of a shipped one (water, bottling).")],
    speed: Annotated[float, typer.Option(help="Seconds of plant time per second.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, help="Seed of noise and demand.")] = 1,
    start: Annotated[str | None, typer.Option(help="Plant time of day at the start, such as 6h or 14h30m.")] = None,
    endpoint: Annotated[
        list[str] | None, typer.Option("--endpoint", help="device=endpoint, or @FILE with a JSON object; repeatable.")
    ] = None,
    free_ports: Annotated[bool, typer.Option("--free-ports", help="Let every device take a free port.")] = False,
    broker: Annotated[bool, typer.Option(help="Embed an MQTT broker where the plant expects one.")] = True,
    pki: Annotated[Path | None, typer.Option(help="Folder of certificates of the simulated devices.")] = None,
    make: Annotated[
        str | None, typer.Option(help="Write the plant first, into a new folder: DEVICESxPOINTS, such as 200x100.")
    ] = None,
    activity: Annotated[
        float, typer.Option(min=0.0, max=1.0, help="Share of the numbers that change in a second; no use with a model.")
    ] = 0.2,
    faults: Annotated[
        str | None, typer.Option(help="What goes wrong: SEED[:FAULTS A MINUTE[:MINUTES]], or a CSV file of faults.")
    ] = None,
    fault_log: Annotated[Path | None, typer.Option(help="Where faults are told, instead of stdout.")] = None,
    rest_after: Annotated[
        str | None, typer.Option(help="Let the plant stand still after so long, such as 90s; its devices stay.")
    ] = None,
    truth: Annotated[
        Path | None, typer.Option(help="JSON file of what every device shows: at rest, and at the end.")
    ] = None,
    lifeline: Annotated[bool, typer.Option(hidden=True)] = False,
) -> None:
    """Serve a plant's devices as simulated ones, on real sockets."""
    from control.logs import configure

    prepare(show.err.print)
    from control.plants import read_plant
    from scenarios.fleet import run_fleet
    from scenarios.works import write_works
    from twin.when import parse_duration_s

    if make is not None:
        write_works(Path(plant), *_size(make))
    made = read_plant(plant_folder(plant), endpoints(endpoint or []))
    asked = {d.id: _free(d.endpoint) for d in made.devices} if free_ports else {}
    schedule = None if faults is None else _schedule(faults, made)
    start_s = None if start is None else parse_duration_s(start, "--start")
    rest_s = None if rest_after is None else parse_duration_s(rest_after, "--rest-after")
    telling = _Telling(truth, fault_log)

    def ready(found: Mapping[str, str]) -> None:
        show.err.print(f"{len(made.points)} points of {made.name} on {len(found)} devices, {speed:g} × plant time")
        show.as_json({"endpoints": dict(found)})

    async def host() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        if lifeline:
            stop_with_stdin(stop)
        await run_fleet(
            made, clock=time.time_ns, seed=seed, stop=stop, endpoints=asked, speed=speed, start_s=start_s,
            activity=activity, broker=broker, pki=pki, faults=schedule, rest_after_s=rest_s, on_ready=ready,
            on_event=telling.event, on_fleet=telling.hosted.append,
        )  # fmt: skip

    configure()
    # The standard loop: asyncua's server writes to clients that are gone, which uvloop answers with an exception.
    asyncio.run(host())
    telling.say_truth()


@dataclass(frozen=True, slots=True)
class _Telling:
    """Where a fleet's truth and its faults are told."""

    truth: Path | None
    fault_log: Path | None
    hosted: list[Fleet] = field(default_factory=list)

    def say_truth(self) -> None:
        if self.truth is not None and self.hosted:
            draft = self.truth.with_name(self.truth.name + ".new")
            draft.write_bytes(orjson.dumps(self.hosted[0].truth()))
            draft.replace(self.truth)

    def event(self, happened: Mapping[str, Any]) -> None:
        if happened["event"] == "rest":
            self.say_truth()
        line = {"at": time.time_ns() // 1_000_000, **happened}
        if self.fault_log is None:
            show.as_json(line)
            return
        with self.fault_log.open("ab") as file:
            file.write(orjson.dumps(line) + b"\n")


def _size(text: str) -> tuple[int, int]:
    """
    Raises:
        BadRequest: not DEVICESxPOINTS.
    """
    devices, _, points = text.partition("x")
    if not (devices.isdecimal() and points.isdecimal()):
        raise BadRequest(f"--make {text!r}", "write it as DEVICESxPOINTS, such as 200x100")
    return int(devices), int(points)


def _free(endpoint: str) -> str:
    """The same on a free port of this machine; a serial line has none."""
    parts = urlsplit(endpoint)
    user, at, _ = parts.netloc.rpartition("@")
    return parts._replace(netloc=f"{user}{at}127.0.0.1:0").geturl() if parts.hostname else endpoint


def _schedule(text: str, plant: Plant) -> Schedule:
    """
    Raises:
        BadRequest: neither seed and rates nor a sheet that holds.
    """
    from protocols.faults import read_sheet, seeded

    if Path(text).is_file():
        return read_sheet(Path(text).read_text("utf-8-sig"), plant)
    words = text.split(":")
    try:
        rates = [float(word) for word in words[1:]]
        number = int(words[0])
        if number < 0 or len(rates) > 2:
            raise ValueError
    except ValueError:
        raise BadRequest(
            f"--faults {text!r}", "write SEED, SEED:FAULTS_A_MINUTE or SEED:FAULTS_A_MINUTE:MINUTES, or name a CSV file"
        ) from None
    per_minute = rates[0] if rates else FAULTS_PER_MINUTE
    minutes = rates[1] if len(rates) == 2 else FAULT_MINUTES
    return seeded(plant, number, per_minute, minutes * 60)
