"""A fleet with faults, seen by clients that are not ours: each fault does what the table says, and is told."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import asyncua
import pytest
from asyncua import ua
from pymodbus.client import AsyncModbusTcpClient

from control.plants import RULES
from protocols.faults import KINDS, Fault, Kind, Schedule
from scenarios.fleet import Fleet, run_fleet
from scenarios.works import write_works
from tests.protocols.protocol_bench import until
from twin.errors import Unavailable
from twin.plant import Plant
from twin.plantfile import load_plant
from twin.quality import BAD_SENSOR_FAILURE

OPCUA, MQTT, MODBUS = "device_001", "device_002", "device_003"
FREE = {OPCUA: "opc.tcp://127.0.0.1:0/works", MQTT: "mqtt://127.0.0.1:0", MODBUS: "modbus://127.0.0.1:0/1"}
WAIT_S = 10.0
READY_S = 60.0  # the first one of a process reads the standard address space
LONG_S = 600.0  # a fault that lasts longer than any test


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Plant:
    folder = tmp_path_factory.mktemp("works") / "plant"
    write_works(folder, 3, 12)
    return load_plant(folder, RULES)


@dataclass
class Running:
    fleet: Fleet
    endpoints: dict[str, str] = field(default_factory=dict)
    events: list[dict[str, Any]] = field(default_factory=list)

    def port(self, device: str) -> int:
        port = urlsplit(self.endpoints[device]).port
        assert port is not None
        return port

    def told(self, kind: Kind) -> list[str]:
        return [e["is"] for e in self.events if e.get("kind") == kind]


def fault(kind: Kind, device: str, start_s: float = 0.0, end_s: float = LONG_S, *points: str, **said: float) -> Fault:
    parameters = {name: p.default for name, p in KINDS[kind].parameters.items()} | said
    return Fault(start_s, end_s, kind, device, points, parameters)


@contextlib.asynccontextmanager
async def running(plant: Plant, *faults: Fault, activity: float = 0.0, **more: Any) -> AsyncIterator[Running]:
    stop, ready, box, events = asyncio.Event(), asyncio.Event(), list[Fleet](), list[dict[str, Any]]()
    endpoints: dict[str, str] = {}
    task = asyncio.create_task(
        run_fleet(
            plant, clock=time.time_ns, seed=1, stop=stop, endpoints=FREE, activity=activity,
            faults=Schedule.of(faults), on_ready=lambda found: (endpoints.update(found), ready.set()),
            on_event=lambda e: events.append(dict(e)), on_fleet=box.append, **more,
        )
    )  # fmt: skip
    await until(lambda: ready.is_set() or task.done(), "the fleet is ready", READY_S)
    try:
        if task.done():
            await task
        yield Running(box[0], endpoints, events)
    finally:
        stop.set()
        await asyncio.wait_for(task, WAIT_S)


@contextlib.asynccontextmanager
async def plc(site: Running) -> AsyncIterator[AsyncModbusTcpClient]:
    client = AsyncModbusTcpClient("127.0.0.1", port=site.port(MODBUS), timeout=2, retries=0)
    assert await client.connect()
    try:
        yield client
    finally:
        client.close()


async def test_a_device_behind_its_cable_answers_as_without_one(works: Plant) -> None:
    async with running(works) as site, plc(site) as client:
        assert not (await client.read_coils(0, count=1, device_id=1)).isError()
        async with asyncua.Client(site.endpoints[OPCUA]) as ua_client:
            assert await ua_client.get_node("ns=2;s=device_001_m1.product").read_value() == "product 1"


async def test_a_restarted_device_is_away_and_comes_back_on_its_port_with_its_values(works: Plant) -> None:
    async with running(works, fault(Kind.RESTART, OPCUA, 0.0, 1.5)) as site:
        await until(lambda: site.told(Kind.RESTART) == ["begins"], "the restart begins")
        with pytest.raises((OSError, asyncio.TimeoutError, ConnectionError)):
            async with asyncua.Client(site.endpoints[OPCUA], timeout=1):
                pass
        await until(lambda: site.told(Kind.RESTART) == ["begins", "over"], "the restart is over")
        async with asyncua.Client(site.endpoints[OPCUA]) as client:
            node = client.get_node("ns=2;s=device_001_m1.temperature")
            shown = site.fleet.truth()["device_001_m1.temperature"]
            async with asyncio.timeout(WAIT_S):
                while (await node.read_data_value(raise_on_bad_status=False)).StatusCode.value:
                    await asyncio.sleep(0.05)
            assert await node.read_value() == shown


async def test_a_device_that_refuses_takes_nothing_and_says_so(works: Plant) -> None:
    async with running(works, fault(Kind.REFUSE_WRITES, MODBUS), fault(Kind.REFUSE_WRITES, OPCUA)) as site:
        before = dict(site.fleet.settings())
        async with plc(site) as client:
            assert (await client.write_register(0, 777, device_id=1)).isError()
        async with asyncua.Client(site.endpoints[OPCUA]) as client:
            node = client.get_node("ns=2;s=device_001_m1.setpoint")
            with pytest.raises(ua.UaStatusCodeError, match="BadUserAccessDenied"):
                await node.write_value(ua.DataValue(ua.Variant(12.5, ua.VariantType.Double)))
        assert site.fleet.settings() == before


async def test_a_bad_quality_is_told_with_its_code(works: Plant) -> None:
    bad = fault(Kind.BAD_QUALITY, OPCUA, 0.0, LONG_S, "device_001_m1.speed")
    async with running(works, bad) as site, asyncua.Client(site.endpoints[OPCUA]) as client:
        codes: dict[str, int] = {}
        async with asyncio.timeout(WAIT_S):
            while codes.get("speed") != BAD_SENSOR_FAILURE:
                for name in ("speed", "power"):
                    node = client.get_node(f"ns=2;s=device_001_m1.{name}")
                    codes[name] = (await node.read_data_value(raise_on_bad_status=False)).StatusCode.value
                await asyncio.sleep(0.05)
        assert codes["power"] == 0


async def test_a_device_that_loses_its_news_says_the_old_until_it_is_over(works: Plant) -> None:
    async with running(works, fault(Kind.LOSE, MODBUS, 0.0, 2.0), activity=1.0) as site:
        ids = works.points.where("device", MODBUS)
        await until(lambda: site.told(Kind.LOSE) == ["begins"], "the fault begins")
        said = site.fleet.said[ids].tolist()
        await until(lambda: site.fleet.shown[ids].tolist() != said, "the truth moves on")
        assert site.fleet.said[ids].tolist() == said
        await until(lambda: site.fleet.said[ids].tolist() != said, "it says what is true again")


async def test_a_plant_at_rest_keeps_its_values_and_its_devices(works: Plant) -> None:
    async with running(works, activity=1.0, rest_after_s=0.2) as site:
        await until(lambda: any(e["event"] == "rest" for e in site.events), "it rests")
        truth = site.fleet.truth()
        assert truth.keys() == {p.name for p in works.points if p.device}
        said = site.fleet.values_said
        await until(lambda: site.fleet.values_said > said + 20, "its devices go on")
        assert site.fleet.truth() == truth


async def test_a_port_that_is_taken_is_named_with_its_device(works: Plant) -> None:
    blocker = await asyncio.start_server(lambda _r, w: w.close(), "127.0.0.1", 0)
    port = blocker.sockets[0].getsockname()[1]
    async with blocker:
        with pytest.raises(Unavailable, match=f"{MODBUS} cannot be served at .*{port}"):
            await run_fleet(
                works, clock=time.time_ns, seed=1, stop=asyncio.Event(),
                endpoints={**FREE, MODBUS: f"modbus://127.0.0.1:{port}/1"},
            )  # fmt: skip
