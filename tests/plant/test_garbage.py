"""Devices that talk garbage on every protocol: it is counted, kept with its reason, and stops nothing else."""

from __future__ import annotations

import asyncio
import json
import math
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import paho.mqtt.client as mqtt
import pytest
from asyncua import Server, ua

from protocols.mqtt.broker import EmbeddedBroker
from tests.plant.site import rows, site

WAIT_S = 30.0
PLANT = """
[plant]
id = "garbage"
[[device]]
id = "ua"
protocol = "opcua"
endpoint = "opc.tcp://127.0.0.1:4840/garbage"
[[device]]
id = "plc"
protocol = "modbus"
endpoint = "modbus://127.0.0.1:5020/1"
poll_s = 0.1
timeout_s = 0.5
[[device]]
id = "mq"
protocol = "mqtt"
endpoint = "mqtt://127.0.0.1:1883"
prefix = "site"
"""
SENSORS = {
    "ua_good": ("ua", "ns=2;s=good"),
    "ua_text": ("ua", "ns=2;s=text"),
    "ua_nan": ("ua", "ns=2;s=nan"),
    "ua_high": ("ua", "ns=2;s=high"),
    "ua_gone": ("ua", "ns=2;s=gone"),
    "plc_good": ("plc", "holding:0:float32"),
    "plc_nan": ("plc", "holding:10:float32"),
    "plc_high": ("plc", "holding:20:uint16"),
    "plc_gone": ("plc", "holding:90:uint16"),
    "mq_good": ("mq", "site/good"),
    "mq_bad": ("mq", "site/bad"),
}
SENSOR = {
    "@context": "dtmi:dtdl:context;3",
    "@id": "dtmi:test:Sensor;1",
    "@type": "Interface",
    "contents": [{"@type": "Telemetry", "name": "value", "schema": "double"}],
}


def write_plant(folder: Path) -> Path:
    twins = "".join(f'[[twin]]\nid = "{name}"\ninterface = "dtmi:test:Sensor;1"\n' for name in SENSORS)
    lines = [f"{name}.value,{device},{address},double,,1,r,no,0,100" for name, (device, address) in SENSORS.items()]
    (folder / "interfaces").mkdir(parents=True)
    (folder / "interfaces" / "Sensor.json").write_text(json.dumps(SENSOR))
    (folder / "plant.toml").write_text(PLANT + twins)
    (folder / "points.csv").write_text(
        "point,device,address,type,unit,scale,access,audit,low,high\n" + "\n".join(lines)
    )
    return folder


@asynccontextmanager
async def opcua_server() -> AsyncIterator[tuple[str, Callable[[float], Awaitable[None]]]]:
    """Nodes with the wrong type, NaN, out of range; one the plant expects is missing."""
    server = Server()
    await server.init()
    server.set_endpoint("opc.tcp://127.0.0.1:0/garbage")
    await server.register_namespace("garbage")
    nodes = {}
    for name, value in {"good": 1.0, "text": "hello", "nan": math.nan, "high": 1e9}.items():
        nodes[name] = await server.nodes.objects.add_variable(ua.NodeId(name, 2), name, value)
    async with server:
        port = server.bserver._server.sockets[0].getsockname()[1]
        yield f"opc.tcp://127.0.0.1:{port}/garbage", nodes["good"].write_value


@asynccontextmanager
async def modbus_server() -> AsyncIterator[str]:
    """Good, NaN and too-high registers; an exception for unknown ones; every tenth answer is cut in the middle."""
    cells = {0: struct.pack(">f", 42.0), 10: struct.pack(">f", math.nan), 20: struct.pack(">H", 5000)}
    asked = 0

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal asked
        try:
            while True:
                head = await reader.readexactly(12)
                transaction, _, _, unit, function, start, count = struct.unpack(">HHHBBHH", head)
                asked += 1
                data = cells.get(start)
                known = data is not None and count * 2 == len(data)
                body = (
                    struct.pack(">BBB", unit, function, count * 2) + (data or b"")
                    if known
                    else bytes((unit, function | 0x80, 2))
                )
                frame = struct.pack(">HHH", transaction, 0, len(body)) + body
                if asked % 10 == 0:
                    writer.write(frame[: len(frame) // 2])
                    break
                writer.write(b"\xff" * 40 if asked % 17 == 0 else frame)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    async with server:
        yield f"modbus://127.0.0.1:{server.sockets[0].getsockname()[1]}/1"


async def rows_until(client: Any, sql: str, holds: Callable[[list[list[Any]]], bool]) -> list[list[Any]]:
    end = time.monotonic() + WAIT_S
    while True:
        found = await asyncio.to_thread(rows, client, sql)
        if holds(found):
            return found
        assert time.monotonic() < end, found
        await asyncio.sleep(0.1)


async def say(publisher: mqtt.Client, topic: str, payload: bytes) -> None:
    """Publish at QoS 1; the broker runs on this loop, so only another thread may wait for it."""
    sent = publisher.publish(topic, payload, 1)
    await asyncio.to_thread(sent.wait_for_publish, 5)
    assert sent.is_published()


@pytest.mark.timeout(150)
async def test_garbage_on_every_protocol_is_kept_with_its_reason_and_stops_nothing(tmp_path: Path) -> None:
    plant = write_plant(tmp_path / "plant")
    broker = EmbeddedBroker("127.0.0.1", 0)
    await broker.start()
    async with opcua_server() as (ua_endpoint, write_good), modbus_server() as modbus_endpoint:
        publisher = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2)
        publisher.connect("127.0.0.1", int(broker.endpoint.rpartition(":")[2]))
        publisher.loop_start()
        with site(tmp_path) as running:
            client = await asyncio.to_thread(
                running.start_server, str(plant), ua=ua_endpoint, plc=modbus_endpoint, mq=broker.endpoint
            )
            await rows_until(
                client, "SELECT count(*) FROM points WHERE name LIKE '%.online' AND value = 1", lambda r: r == [[3]]
            )
            garbage: list[tuple[str, bytes]] = [
                ("site/bad", b'{"value": "seven"}'), ("site/bad", b'{"value": NaN}'), ("site/bad", b'{"value": 1e12}'),
                ("site/bad", b'{"value": 7'), ("site/bad", b"\xc1\xc1\xff"), ("site/bad", b'{"value": true}'),
                ("site/bad", b"[]"), ("site/bad", b'{"value": 1, "time": "yesterday"}'), ("site/nobody", b'{"value": 1}'),
                ("site/bad", b""), ("site/bad", b'{"value": ' + b"9" * 5000 + b"}"),
            ]  # fmt: skip
            for topic, payload in garbage:
                await say(publisher, topic, payload)
            wanted = [
                ["mq", "decode"], ["mq", "range"], ["mq", "type"], ["mq", "unknown_address"],
                ["plc", "nan"], ["plc", "range"], ["plc", "truncated"], ["plc", "unknown_address"],
                ["ua", "nan"], ["ua", "range"], ["ua", "type"], ["ua", "unknown_address"],
            ]  # fmt: skip
            reasons = "SELECT DISTINCT device, reason FROM dead_letters ORDER BY ALL"
            found = await rows_until(client, reasons, lambda r: all(w in r for w in wanted))
            print(found)
            for n in range(3):  # everything else goes on
                await write_good(float(n + 2))
                await say(publisher, "site/good", json.dumps({"value": n + 5}).encode())
                await rows_until(
                    client,
                    "SELECT name, value FROM points WHERE name IN ('ua_good.value', 'mq_good.value', 'plc_good.value') "
                    "AND quality >> 30 = 0 ORDER BY name",
                    lambda r, n=n: (
                        r == [["mq_good.value", n + 5.0], ["plc_good.value", 42.0], ["ua_good.value", n + 2.0]]
                    ),  # type: ignore[misc]
                )
            bad = await asyncio.to_thread(
                rows,
                client,
                "SELECT name FROM points WHERE device <> '' AND name NOT LIKE '%good%' AND quality >> 30 = 0",
            )
            assert bad == [], "a value that was rejected looks good"
            counted = await asyncio.to_thread(
                rows, client, "SELECT value FROM points WHERE name LIKE '%.rejected' ORDER BY name"
            )
            assert all(value[0] > 0 for value in counted)
            kept = await asyncio.to_thread(
                rows, client, "SELECT octet_length(raw) FROM dead_letters WHERE device = 'mq' AND reason = 'decode'"
            )
            assert any(size[0] for size in kept), "the raw bytes are kept"
            assert running.server is not None
            assert running.server.process.poll() is None
            client.close()
        publisher.loop_stop()
    await broker.stop()
