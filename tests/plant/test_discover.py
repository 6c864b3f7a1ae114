"""From an unknown device to a live twin: what `twinloop discover` writes goes live as it is, every point of it."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
import time
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from control.cli import app
from control.errors import codes
from protocols.catalog import PROTOCOLS
from tests.peers.node_server import node_server
from tests.plant.site import live, rows, site, until
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.opcua_site import site as opcua_site
from tests.protocols.protocol_bench import Cable, RecordingSink, running, seeded
from tests.protocols.protocol_bench import until as until_heard
from tests.protocols.test_discover_modbus import CHAIN, registers, unit
from tests.protocols.test_discover_mqtt import said
from twin.errors import Unavailable
from twin.plantfile import load_plant

LIVE_S = 30.0


def call(*words: str | Path) -> tuple[list[dict[str, Any]], str]:
    """The command as people call it: its JSON lines, and what it says on stderr."""
    done = CliRunner().invoke(app, [*map(str, words), "--json"])
    if done.exception is not None:
        raise done.exception
    return [json.loads(line) for line in done.stdout.splitlines()], done.stderr


async def twinloop(*words: str | Path) -> dict[str, Any]:
    """In a thread: the command has an event loop of its own, and the device answers on ours."""
    (found,), _ = await asyncio.to_thread(call, *words)
    return found


async def goes_live(folder: Path) -> dict[str, tuple[float, str]]:
    """Every link of the plant runs until each point has a good value; name -> (value, text)."""
    plant = load_plant(folder, {name: e.rules for name, e in PROTOCOLS.items()})
    points = [p for p in plant.points if p.device]
    sink = RecordingSink()
    async with AsyncExitStack() as ending:
        for device in plant.devices:
            own = plant.points_of_device(device.id)
            link = PROTOCOLS[device.protocol].link(device, own, sink, time.time_ns, seeded(), None)
            await ending.enter_async_context(running(link))
        good = lambda: all(sink.quality(p.id) == 0 for p in points)  # noqa: E731
        await until_heard(good, "every point is good", LIVE_S)
    return {p.name: (sink.latest[p.id][0], sink.texts.get(p.id, "")) for p in points}


async def discovered(folder: Path, endpoint: str, *words: str) -> tuple[dict[str, Any], dict[str, tuple[float, str]]]:
    outcome = await twinloop("discover", endpoint, "-o", folder, *words)
    assert (await twinloop("check", folder))["mistakes"] == []
    points = await goes_live(folder)
    assert len(points) == outcome["values"]
    return outcome, points


async def test_an_opcua_server_goes_live_and_is_known_again(tmp_path: Path) -> None:
    plant = tmp_path / "found"
    async with opcua_site() as server:
        outcome, points = await discovered(plant, server.endpoint, "--device", "plc")
        again = await twinloop("discover", server.endpoint, "-o", plant)
    assert points["Plant_Line_1_Pump_2.Flow"][0] == 12.5 and points["Plant_Tank.Mode"][1] == "Auto_mode"
    assert points["Plant_Tank.Built"][1] == "2020-01-01T00:00:00.000000Z"
    assert outcome["skipped"]
    # The device is known by its endpoint, whatever people called it.
    assert (again["device"], again["added"], again["gone"], again["changed"]) == ("plc", [], [], [])


async def test_a_server_of_the_plant_that_was_found_is_up(tmp_path: Path) -> None:
    async with opcua_site() as server:
        outcome = await twinloop("discover", server.endpoint, "-o", tmp_path / "found")

        def is_up() -> None:
            with site(tmp_path) as running_site:
                client = running_site.start_server(plant=str(tmp_path / "found"))
                seen = until(lambda: live(client), lambda seen: seen[0] == seen[1] > 0, LIVE_S)
                assert seen[0] == outcome["values"]
                part = "SELECT count(*) FROM relationships WHERE name = 'contains'"
                assert rows(client, part) == [[outcome["things"] - 1]]

        await asyncio.to_thread(is_up)


async def test_a_node_opcua_server_goes_live(tmp_path: Path) -> None:
    async with node_server(items=60, machines=5) as server:
        outcome, points = await discovered(tmp_path / "found", server.endpoint)
    assert outcome["values"] == 60 + 4 + 15
    assert points["Machines_Machine1.Temperature"][0] == 21.0 and points["Machines_Machine0.Running"][0] == 1.0


async def test_a_protected_server_is_searched_once_it_is_trusted(tmp_path: Path) -> None:
    """As a user with a password over an encrypted channel; the settings that it took are the plant's."""
    plant, pki = tmp_path / "found", tmp_path / "pki"
    words = ("-o", plant, "--security", "SignAndEncrypt", "--policy", "Basic256Sha256", "--pki", pki)
    options = {"modes": "SignAndEncrypt", "policies": "Basic256Sha256", "users": "anna:secret", "anonymous": "false"}
    await twinloop("certs", "init", "--pki", pki)
    async with node_server(items=6, **options) as server:
        endpoint = server.endpoint.replace("://", "://anna:secret@")
        with pytest.raises(Unavailable, match="twinloop certs trust") as failed:
            await twinloop("discover", endpoint, *words)
        assert "secret" not in str(failed.value) and not plant.exists()
        (kept,) = (pki / "rejected").iterdir()
        await twinloop("certs", "trust", kept, "--pki", pki)
        outcome = await twinloop("discover", endpoint, *words)
    assert outcome["values"] == 6 + 4
    device = load_plant(plant, {name: e.rules for name, e in PROTOCOLS.items()}).devices[0]
    assert (device.settings["security"], device.settings["policy"]) == ("SignAndEncrypt", "Basic256Sha256")
    assert (plant / "plant.toml").stat().st_mode & 0o077 == 0


async def test_a_modbus_unit_goes_live(tmp_path: Path) -> None:
    words = ("--device", "sunny", "--registers", "0-499")
    async with unit(registers((10, range(100, 130)), (40000, CHAIN))) as port:
        _, points = await discovered(tmp_path / "found", f"modbus://127.0.0.1:{port}/1", *words)
    assert points["sunny_holding_registers.register_12"][0] == 102.0
    assert points["sunny_inverter.W"][0] == -100.0 and points["sunny_inverter.St"][1] == "mppt"
    assert points["sunny_inverter.A"][0] == pytest.approx(21.5)
    assert points["sunny_common.SN"][1] == "4711"


async def test_several_units_are_devices_of_one_plant(tmp_path: Path) -> None:
    words = ("--device", "bus", "--units", "1-3", "--registers", "0-99")
    async with unit(registers((0, range(20))), units=(1, 3)) as port:
        found, told = await asyncio.to_thread(
            call, "discover", f"modbus://127.0.0.1:{port}/1", "-o", tmp_path / "found", *words
        )
    assert [one["device"] for one in found] == ["bus_1", "bus_3"]
    assert "bus_2: " in told  # it is not there, and does not stop the others
    assert (await twinloop("check", tmp_path / "found"))["devices"] == 2


async def test_topics_of_a_broker_go_live(tmp_path: Path) -> None:
    broker, stop = Mosquitto(tmp_path), asyncio.Event()
    broker.start()
    async with AsyncExitStack() as ending:
        ending.callback(broker.stop)
        talking = asyncio.create_task(said(broker, stop))
        ending.push_async_callback(lambda: asyncio.gather(talking))
        ending.callback(stop.set)
        words = ("--for", "3s", "--under", "site/pump")
        _, points = await discovered(tmp_path / "found", broker.endpoint, *words)
    assert points == {"site_pump.speed": (12.0, ""), "site_pump.on": (1.0, "")}


async def test_a_search_that_is_interrupted_leaves_nothing_behind(tmp_path: Path) -> None:
    async with opcua_site() as server, Cable(server.server.bserver.port) as cable:
        cable.swallow = True
        words = ("discover", f"opc.tcp://127.0.0.1:{cable.port}/", "-o", str(tmp_path / "found"), "--timeout", "60s")
        process = await asyncio.create_subprocess_exec(sys.executable, "-m", "control", *words)
        await until_heard(lambda: bool(cable._writers), "the search has reached the server", LIVE_S)
        process.send_signal(signal.SIGINT)
        assert await process.wait() == 130
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("http://127.0.0.1",), 2),
        (("opc.tcp://127.0.0.1:1", "--prune"), 2),
        (("opc.tcp://127.0.0.1:1", "--set", "colour=red"), 2),
        (("opc.tcp://127.0.0.1:1", "--set", "queue_size=many"), 2),
        (("opc.tcp://127.0.0.1:1", "--policy", "Basic256Sha256"), 2),
        (("opc.tcp://127.0.0.1:1", "--units", "1"), 2),
        (("modbus://127.0.0.1:1/1", "--registers", "9-1"), 2),
        (("opc.tcp://127.0.0.1:1", "--timeout", "1s"), 7),
    ],
)
def test_mistakes_of_people_are_named_with_their_code(tmp_path: Path, words: tuple[str, ...], code: int) -> None:
    with pytest.raises(Exception) as failed:
        call("discover", *words, "-o", tmp_path / "none")
    assert codes(failed.value).exit == code and not (tmp_path / "none").exists()
