"""The fleet on real sockets, seen by clients that are not ours: values arrive, commands act, nothing remains."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import threading
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from urllib.parse import urlsplit

import asyncua
import paho.mqtt.client as paho
import pytest
from pymodbus.client import AsyncModbusTcpClient

from scenarios.fleet import PUBLISH_S, run_fleet
from twin.errors import BadRequest
from twin.plant import Plant

FREE_PORTS = {
    "scada": "opc.tcp://127.0.0.1:0/twinloop",
    "plc": "modbus://127.0.0.1:0/1",
    "pressures": "mqtt://127.0.0.1:0",
}
WAIT_S = 10.0
COIL_PUMP_335 = DISCRETE_PUMP_335 = 1


@contextlib.asynccontextmanager
async def running(plant: Plant, speed: float = 60.0) -> AsyncIterator[dict[str, str]]:
    """A fleet on free ports; gives the endpoints."""
    stop, ready = asyncio.Event(), asyncio.Event()
    endpoints: dict[str, str] = {}

    def on_ready(found: object) -> None:
        endpoints.update(found)  # type: ignore[call-overload]
        ready.set()

    fleet = asyncio.create_task(
        run_fleet(
            plant, clock=time.time_ns, seed=1, stop=stop, endpoints=FREE_PORTS, speed=speed, start_s=8 * 3600.0,
            on_ready=on_ready,
        )
    )  # fmt: skip
    waiting = asyncio.create_task(ready.wait())
    await asyncio.wait({fleet, waiting}, timeout=WAIT_S, return_when=asyncio.FIRST_COMPLETED)
    try:
        if fleet.done():
            await fleet
        assert ready.is_set()
        yield endpoints
    finally:
        waiting.cancel()
        stop.set()
        await asyncio.wait_for(fleet, WAIT_S)


async def until(check: Callable[[], Awaitable[bool]]) -> None:
    """Wait for a condition of the plant; the time limit is the test's failure."""
    async with asyncio.timeout(WAIT_S):
        while not await check():
            await asyncio.sleep(0.05)


async def test_a_command_on_modbus_stops_the_pump_and_opc_ua_shows_the_flow_gone(plant: Plant) -> None:
    async with running(plant) as endpoints:
        port = urlsplit(endpoints["plc"]).port
        plc = AsyncModbusTcpClient("127.0.0.1", port=port)
        assert await plc.connect()
        async with asyncua.Client(endpoints["scada"]) as scada:
            river = scada.get_node("ns=2;s=pipe_60.flow")
            assert await river.read_value() > 500

            async def stands() -> bool:
                return not (await plc.read_discrete_inputs(DISCRETE_PUMP_335, count=1, device_id=1)).bits[0]

            assert not await stands()
            answer = await plc.write_coil(COIL_PUMP_335, False, device_id=1)
            assert not answer.isError()
            await until(stands)

            async def dry() -> bool:
                return bool(abs(await river.read_value()) < 1)

            await until(dry)
            await asyncio.sleep(2 * PUBLISH_S)
            assert not (await plc.read_coils(COIL_PUMP_335, count=1, device_id=1)).bits[0]
        plc.close()


async def test_a_write_that_the_plant_cannot_obey_is_refused_by_the_plc(plant: Plant) -> None:
    async with running(plant) as endpoints:
        plc = AsyncModbusTcpClient("127.0.0.1", port=urlsplit(endpoints["plc"]).port)
        assert await plc.connect()
        assert (await plc.write_register(1, 2000, device_id=1)).isError()  # 200 % of the nominal speed
        assert (await plc.read_holding_registers(1, count=1, device_id=1)).registers == [1000]
        plc.close()


async def test_the_plants_clock_runs_as_fast_as_asked(plant: Plant) -> None:
    async with running(plant, speed=120.0) as endpoints, asyncua.Client(endpoints["scada"]) as scada:
        node = scada.get_node("ns=2;s=network.clock")
        first = await node.read_data_value()
        await asyncio.sleep(4 * PUBLISH_S)
        second = await node.read_data_value()
        wall_s = (second.SourceTimestamp - first.SourceTimestamp).total_seconds()
        assert 8 * 3600 <= first.Value.Value < 9 * 3600
        assert second.Value.Value - first.Value.Value == pytest.approx(120 * wall_s, abs=60)


async def test_all_pressures_arrive_over_mqtt_with_their_time_and_quality(plant: Plant) -> None:
    async with running(plant) as endpoints:
        parts = urlsplit(endpoints["pressures"])
        heard: dict[str, dict[str, object]] = {}
        client = paho.Client(paho.CallbackAPIVersion.VERSION2)
        client.on_message = lambda _c, _u, message: heard.update({message.topic: json.loads(message.payload)})
        client.on_connect = lambda c, *_: c.subscribe("net3/#")
        client.connect("127.0.0.1", parts.port or 0)
        client.loop_start()

        async def all_heard() -> bool:
            return len(heard) == 92

        await until(all_heard)
        client.loop_stop()
        client.disconnect()
        sample = heard["net3/junction_15"]
        assert sample["quality"] == 0 and math.isfinite(float(str(sample["value"]))) and "time" in sample


async def test_a_fleet_that_stopped_leaves_no_thread_and_no_task(plant: Plant) -> None:
    before = asyncio.all_tasks()
    async with running(plant):
        pass
    await asyncio.sleep(0)
    assert [t.name for t in threading.enumerate() if t.name.startswith("mover")] == []
    assert {t.get_name() for t in asyncio.all_tasks() - before} == set()


async def test_a_fleet_that_cannot_be_says_why(plant: Plant) -> None:
    async def begin(of: Plant, **more: object) -> None:
        await run_fleet(of, clock=time.time_ns, seed=1, stop=asyncio.Event(), **more)  # type: ignore[arg-type]

    with pytest.raises(BadRequest, match="no device pcl"):
        await begin(plant, endpoints={"pcl": "modbus://127.0.0.1:0/1"})
    with pytest.raises(BadRequest, match="speed"):
        await begin(plant, speed=0.0)
    with pytest.raises(BadRequest, match="kind 'none'"):
        await begin(replace(plant, model={"kind": "none"}))
