"""The twin at an MQTT broker: states, wishes that become commands, and healing; heard and asked by mosquitto's own clients."""

from __future__ import annotations

import asyncio
import os
import random
import shutil
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import orjson
import pytest

from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt.sparkplug import Source, encode_state
from protocols.mqtt.sparkplug_link import SparkplugLink
from protocols.mqtt.sparkplug_metrics import Metric
from tests.control.served_plant import FIRST, Works, works
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import Cable, RecordingSink, device, point, running, until
from twin.errors import BadPlant
from twin.quality import BAD_NO_COMMUNICATION, GOOD

CLIENTS = ("mosquitto_sub", "mosquitto_pub")


@pytest.fixture
async def broker(tmp_path: Path) -> AsyncIterator[Mosquitto]:
    if missing := [name for name in CLIENTS if shutil.which(name) is None]:
        assert not os.environ.get("CI"), f"{missing} are missing, and CI must not skip these tests"
        pytest.skip("mosquitto-clients is not installed")
    (tmp_path / "broker").mkdir()
    broker = Mosquitto(tmp_path / "broker")
    broker.start()
    yield broker
    broker.kill()


def serve(broker: Mosquitto, port: int = 0, **settings: Any) -> str:
    lines = [f"{key} = {orjson.dumps(value).decode()}" for key, value in {"every_s": 0.05, **settings}.items()]
    endpoint = f'endpoint = "mqtt://127.0.0.1:{port or broker.port}"'
    return "\n".join(["", "[[serve]]", 'protocol = "mqtt"', endpoint, *lines, ""])


class Heard:
    """What mosquitto_sub prints: topic, whether it was retained, payload."""

    def __init__(self) -> None:
        self.lines: list[tuple[str, bool, bytes]] = []

    def take(self, line: bytes) -> None:
        *topic, retained, payload = line.decode().rstrip("\n").split(" ")
        self.lines.append((" ".join(topic), retained == "1", bytes.fromhex(payload)))

    def on(self, topic: str) -> list[Any]:
        return [orjson.loads(payload) for at, _, payload in self.lines if at == topic]

    def newest(self, topic: str) -> Any:
        return (self.on(topic) or [{}])[-1]


@asynccontextmanager
async def listening(broker: Mosquitto, topics: str) -> AsyncIterator[Heard]:
    """mosquitto_sub, subscribed: it hears its own first line."""
    heard = Heard()
    words = ["-p", str(broker.port), "-q", "1", "-t", topics, "-t", "are/you/there", "-F", "%t %r %x"]
    process = await asyncio.create_subprocess_exec("mosquitto_sub", *words, stdout=asyncio.subprocess.PIPE)
    assert process.stdout is not None
    reading = asyncio.create_task(_read(process.stdout, heard))
    try:
        for _ in range(100):
            await said(broker, "are/you/there", "1")
            if heard.on("are/you/there"):
                break
        yield heard
    finally:
        process.terminate()
        await process.wait()
        await reading


async def _read(lines: asyncio.StreamReader, heard: Heard) -> None:
    async for line in lines:
        heard.take(line)


async def said(broker: Mosquitto, topic: str, message: str, *more: str) -> None:
    words = ["-p", str(broker.port), "-q", "1", "-t", topic, "-m", message, *more]
    process = await asyncio.create_subprocess_exec("mosquitto_pub", *words)
    assert await process.wait() == 0


def shown(heard: Heard, prefix: str = "twinloop") -> dict[str, Any]:
    return {name: heard.newest(f"{prefix}/{name.replace('.', '/', 1)}").get("value") for name in FIRST}


def held(site: Works) -> dict[str, Any]:
    """What the twin holds, as JSON has it: 0 and 1 are equal to false and true."""
    return {name: "auto" if name == "pump.mode" else site.value(name) for name in FIRST}


async def test_every_state_is_published_retained_with_time_quality_and_unit(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker, prefix="works/one")) as site:
        async with listening(broker, "works/one/#") as heard:
            await until(lambda: shown(heard, "works/one") == held(site), "all values are there")
            level = heard.newest("works/one/tank/level")
            assert (level["quality"], level["unit"], "status" in level) == ("good", "m", False)
            await site.plc.show({"tank.level": 4.5})
            await until(lambda: heard.newest("works/one/tank/level")["value"] == 4.5, "a change follows")
            assert heard.newest("works/one/tank/level")["time"] > level["time"]
        async with listening(broker, "works/one/#") as later:
            await until(lambda: shown(later, "works/one")["tank.level"] == 4.5, "the broker keeps the newest")
            assert all(retained for topic, retained, _ in later.lines[:5] if topic.startswith("works"))
            assert (b"online", True) in [(p, r) for t, r, p in later.lines if t == "works/one/status"]
        assert site.stations["mqtt"].view.figures.state.startswith("online at mqtt://127.0.0.1")


async def test_only_the_chosen_points_are_shown_and_no_oftener_than_allowed(broker: Mosquitto, tmp_path: Path) -> None:
    more = serve(broker, points=["tank.*", "*.speed"], every_s=0.4)
    async with works(tmp_path, more) as site, listening(broker, "twinloop/#") as heard:
        begun = time.monotonic()
        for n in range(40):
            await site.plc.show({"tank.level": 1.0 + n / 100})
            await asyncio.sleep(0.02)
        await until(lambda: heard.newest("twinloop/tank/level").get("value", 0) > 1.385, "the newest is never lost")
        told = len(heard.on("twinloop/tank/level"))
        assert told <= (time.monotonic() - begun) / 0.4 + 3  # the retained one, the first, and one when it ended
        assert {topic for topic, _, _ in heard.lines} <= {
            "twinloop/tank/level", "twinloop/pump/speed", "twinloop/status", "are/you/there",
        }  # fmt: skip
        assert site.stations["mqtt"].view.figures.dropped > 0


async def test_a_wish_becomes_a_command_that_the_plant_confirms(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker, writes="operator")) as site, listening(broker, "twinloop/#") as heard:
        wish = {"value": True, "id": "w1", "reason": "start of shift"}
        await said(broker, "twinloop/pump/status/set", orjson.dumps(wish).decode())
        await until(lambda: heard.newest("twinloop/pump/status/set/result").get("final") is True, "it ends")
        answers = heard.on("twinloop/pump/status/set/result")
        assert [a["status"] for a in answers] == ["SENT", "CONFIRMED"] and {a["id"] for a in answers} == {"w1"}
        command = await site.newest()
        assert (command.author, command.value, command.reason) == ("mqtt:mqtt", 1.0, "start of shift")
        assert site.plc.writes == [("pump.status", 1.0)]
        await until(lambda: heard.newest("twinloop/pump/running")["value"] is True, "the plant reports it")
        for value in ("false", '"hand"', "12.5"):
            property = {"false": "status", '"hand"': "mode", "12.5": "speed"}[value]
            await said(broker, f"twinloop/pump/{property}/set", value)
        await until(lambda: len(site.plc.writes) == 4, "bare values are wishes too")
        assert sorted(site.plc.writes[1:]) == [("pump.mode", 2.0), ("pump.speed", 12.5), ("pump.status", 0.0)]


async def test_a_wish_said_twice_is_one_command(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker, writes="operator")) as site, listening(broker, "twinloop/#") as heard:
        for _ in range(3):
            await said(broker, "twinloop/pump/speed/set", '{"value": 55, "id": "once"}')
        await until(lambda: heard.newest("twinloop/pump/speed/set/result").get("final") is True, "it ends")
        await said(broker, "twinloop/pump/speed/set", '{"value": 55, "id": "once"}')
        await until(lambda: len(heard.on("twinloop/pump/speed/set/result")) >= 3, "it is answered again")
        assert len({a["command"] for a in heard.on("twinloop/pump/speed/set/result")}) == 1
        assert site.plc.writes == [("pump.speed", 55.0)]


async def test_what_may_not_be_wished_is_refused_and_nothing_is_written(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker, writes="operator")) as site, listening(broker, "twinloop/#") as heard:

        def answer(property: str) -> str:
            return str(heard.newest(f"twinloop/{property}/set/result").get("detail", ""))

        for property, value in (
            ("pump/speed", "121"),
            ("tank/level", "1"),
            ("pump/status", "1"),
            ("pump/mode", '"fast"'),
            ("pump/nothing", "1"),
            ("pump/speed", '{"value": 1, "priority": "now"}'),
            ("pump/speed", "high"),
        ):
            before = len(heard.on(f"twinloop/{property}/set/result"))
            await said(broker, f"twinloop/{property}/set", value)
            topic = f"twinloop/{property}/set/result"
            await until(lambda topic=topic, n=before: len(heard.on(topic)) > n, f"{property} {value} is answered")  # type: ignore[misc]
            assert heard.newest(topic)["status"] == "REFUSED"
        assert "121" in str(heard.on("twinloop/pump/speed/set/result")[0]) and "JSON" in answer("pump/speed")
        await said(broker, "twinloop/pump/speed/set", "1", "-r")
        await until(lambda: site.plc.writes == [("pump.speed", 1.0)], "what is said now is taken")
        assert site.stations["mqtt"].view.figures.refused == 7


async def test_without_writes_a_wish_is_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker)) as site, listening(broker, "twinloop/#") as heard:
        await said(broker, "twinloop/pump/status/set", "true")
        await site.plc.show({"tank.level": 5.0})
        await until(lambda: heard.newest("twinloop/tank/level").get("value") == 5.0, "the twin is alive")
        assert site.plc.writes == [] and heard.on("twinloop/pump/status/set/result") == []


async def test_a_link_that_goes_down_is_seen(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker)) as site, listening(broker, "twinloop/#") as heard:
        await site.plc.served.stop()
        await until(lambda: heard.newest("twinloop/tank/level").get("quality") == "bad", "the value is bad")
        bad = heard.newest("twinloop/tank/level")
        assert (bad["value"], bad["status"]) == (3.25, BAD_NO_COMMUNICATION)


async def test_a_restarted_broker_gets_everything_again(broker: Mosquitto, tmp_path: Path) -> None:
    async with works(tmp_path, serve(broker)) as site:
        figures = site.stations["mqtt"].view.figures
        await until(lambda: figures.clients == 1, "it is there")
        broker.kill()  # it keeps nothing on disk
        await until(lambda: figures.clients == 0, "the loss is noticed")
        await site.plc.show({"tank.level": 6.5})
        broker.start()
        async with listening(broker, "twinloop/#") as heard:
            await until(
                lambda: shown(heard) == held(site) and shown(heard)["tank.level"] == 6.5, "all values are there again"
            )
            assert (b"online") in [p for t, _, p in heard.lines if t == "twinloop/status"]


async def test_the_broker_says_that_we_are_gone(broker: Mosquitto, tmp_path: Path) -> None:
    async with Cable(broker.port) as cable, listening(broker, "twinloop/status") as heard:

        def states() -> list[bytes]:
            return [payload for topic, _, payload in heard.lines if topic == "twinloop/status"]

        async with works(tmp_path, serve(broker, cable.port)):
            await until(lambda: states() == [b"online"], "it is there")
            cable.cut()
            await until(lambda: states() == [b"online", b"offline", b"online"], "it went and came back")
        await until(lambda: states()[-1] == b"offline", "it says that it goes")


# --- as an edge node -------------------------------------------------------------------------------------------------

NAMES = ("pump.status", "pump.running", "pump.speed", "pump.starts", "tank.level")
ADDRESSES = tuple(
    point(i, f"spBv1.0/twinloop/works/{name.replace('.', '#', 1)}", type, writable=True)
    for i, (name, type) in enumerate(zip(NAMES, ("boolean", "boolean", "double", "integer", "double"), strict=True))
)


def another_host(broker: Mosquitto, sink: RecordingSink) -> SparkplugLink:
    """A link of ours stands for a host: what it makes of edge nodes is tested against others elsewhere."""
    at = device("mqtt", broker.endpoint, format="sparkplug", reorder_s=0.2, rebirth_s=1.0, host_id="scada")
    return SparkplugLink(at, ADDRESSES, sink, time.time_ns, random.Random(3))


def edge(broker: Mosquitto, port: int = 0, **more: Any) -> str:
    return serve(broker, port, format="sparkplug", node_id="works", writes="operator", **more)


async def test_a_sparkplug_host_sees_the_twin_and_commands_it(broker: Mosquitto, tmp_path: Path) -> None:
    sink = RecordingSink()
    link = another_host(broker, sink)
    async with running(link), works(tmp_path, edge(broker)) as site:
        await until(lambda: [sink.value(i) for i in range(5)] == [site.value(n) for n in NAMES], "births are read")
        await link.write(ADDRESSES[2], 55.0, 2.0)
        await until(lambda: site.plc.writes == [("pump.speed", 55.0)], "the command is carried out")
        await until(lambda: sink.value(2) == 55.0, "the host sees what the plant reports")
        assert (await site.newest()).author == "mqtt:mqtt"
        await site.plc.served.stop()
        await until(lambda: (sink.quality(4) or GOOD) >> 31 == 1, "a bad value is bad there, too")
        assert sink.value(4) == site.value("tank.level") == FIRST["tank.level"]


async def test_a_host_that_comes_late_gets_births_and_a_lost_twin_is_dead_to_it(
    broker: Mosquitto, tmp_path: Path
) -> None:
    sink = RecordingSink()
    async with Cable(broker.port) as cable, works(tmp_path, edge(broker, cable.port)) as site:
        await until(lambda: site.stations["mqtt"].view.figures.clients == 1, "it is there")
        async with running(another_host(broker, sink)):
            await until(lambda: len(sink.latest) == len(NAMES), "it is asked for a rebirth")
            cable.cut()
            await until(lambda: sink.quality(4) == BAD_NO_COMMUNICATION, "its will is read")
            await until(lambda: sink.quality(4) == GOOD, "it is born again")


async def test_without_its_primary_host_the_edge_node_is_silent(broker: Mosquitto, tmp_path: Path) -> None:
    topic = "spBv1.0/STATE/boss"
    async with works(tmp_path, edge(broker, primary_host="boss")) as site, listening(broker, "spBv1.0/#") as heard:

        def kinds() -> list[str]:
            return [at.split("/")[2] for at, _, _ in heard.lines if at.startswith("spBv1.0/twinloop/")]

        await until(lambda: site.stations["mqtt"].view.figures.clients == 1, "it is there")
        assert kinds() == []
        await said(broker, topic, encode_state(True, 10).decode(), "-r")
        await until(lambda: "DBIRTH" in kinds(), "it speaks when the host is there")
        await said(broker, topic, encode_state(False, 11).decode(), "-r")
        await until(lambda: kinds()[-1] == "NDEATH", "it goes when the host goes")
        await said(broker, topic, encode_state(True, 12).decode(), "-r")
        await until(lambda: kinds()[-1] == "DBIRTH", "and comes back")


async def test_garbage_on_its_topics_changes_nothing(broker: Mosquitto, tmp_path: Path) -> None:
    chance = random.Random(5)
    async with works(tmp_path, edge(broker)) as site, listening(broker, "spBv1.0/#") as heard:
        await until(lambda: any("NBIRTH" in t for t, _, _ in heard.lines) or bool(site), "it is there")
        whole = spm.encode([Metric("speed", None, spm.DOUBLE, 9.0)], 1)
        for size in range(0, len(whole), 4):
            payload = bytes(b ^ chance.choice([0, 255]) for b in whole[:size])
            (tmp_path / "noise").write_bytes(payload)
            words = ["-p", str(broker.port), "-t", Source("twinloop", "works", "pump").topic("CMD"), "-f"]
            process = await asyncio.create_subprocess_exec("mosquitto_pub", *words, str(tmp_path / "noise"))
            await process.wait()
        assert site.plc.writes == [] and site.stations["mqtt"].view.figures.clients == 1


# --- the plant file --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("line", "word"),
    [
        ('prefix = "a/#"', "prefix"), ('node_id = "a/b"', "Sparkplug id"), ('group_id = "+"', "Sparkplug id"),
        ('writes = "all"', "writes"), ("timeout_s = 0.0", "timeout_s"), ('prefx = "a"', "prefix"),
    ],
)  # fmt: skip
async def test_mistakes_are_said_with_their_place(broker: Mosquitto, tmp_path: Path, line: str, word: str) -> None:
    with pytest.raises(BadPlant) as caught:
        async with works(tmp_path, serve(broker) + line + "\n"):
            pass
    assert word in str(caught.value)
