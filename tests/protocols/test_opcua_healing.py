"""The OPC UA link over bad wires: against node-opcua behind a cable, nothing is lost and nothing is left behind."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
import time
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio

from protocols import certificate as x
from protocols.healing import Backoff
from protocols.link import LinkState
from protocols.opcua.channel import Channel
from protocols.opcua.link import OpcUaLink
from tests.peers.node_server import NodeServer, node_server
from tests.protocols.pki_bench import folder
from tests.protocols.protocol_bench import Cable, RecordingSink, device, point, running, seeded, until
from tests.protocols.test_opcua_peer import EXACT, ITEMS, POINTS, QUICK, History, link_to, run_changes

pytestmark = pytest.mark.asyncio(loop_scope="module")

GROWTH_MAX = 300_000  # bytes over 150 reconnects: 2 kB each would show; what pools and caches take settles before


@pytest_asyncio.fixture(loop_scope="module", scope="module")
async def server() -> AsyncIterator[NodeServer]:
    async with node_server(items=ITEMS) as found:
        yield found


@pytest.mark.parametrize("cuts", [80, pytest.param(400, marks=pytest.mark.soak)])
async def test_many_cuts_leave_no_task_no_memory_and_no_session(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, cuts: int
) -> None:
    caplog.set_level(logging.CRITICAL)  # two records a cut would be kept
    monkeypatch.setattr(Backoff, "next_s", lambda self: 0.002)
    sink, points = RecordingSink(), [*POINTS[:23], point(23, "ns=1;s=nowhere")]
    async with Cable(server.port) as cable:
        async with running(link_to(server, sink, points, port=cable.port)):
            settled, tasks = 0, 0
            for cut in range(cuts + 1):
                await until(lambda: sink.online and len(sink.latest) == len(points), f"all is read after {cut} cuts")
                sink.batches.clear()
                sink.states[:] = sink.states[-1:]
                if cut == cuts // 4:
                    tracemalloc.start()
                    gc.collect()
                    settled, tasks = tracemalloc.get_traced_memory()[0], len(asyncio.all_tasks())
                if cut < cuts:
                    sink.latest.clear()
                    cable.cut()
            gc.collect()
            grown = tracemalloc.get_traced_memory()[0] - settled
            tracemalloc.stop()
            assert grown < GROWTH_MAX
            assert abs(len(asyncio.all_tasks()) - tasks) <= 4, "those of the cable come and go"
            assert await server.ask(do="count") == {"sessions": 1, "subscriptions": 1}
        assert await server.ask(do="count") == {"sessions": 0, "subscriptions": 0}
    assert len(sink.letters) == 1, "the node that is nowhere is told once"


class Spoiled(Cable):
    """A cable that spoils one answer when the test says so."""

    spoil = False

    async def _carry(self, source: Any, sink: Any, answers: bool) -> None:
        if answers:
            write = sink.write

            def spoiling(data: bytes) -> None:
                if self.spoil:
                    self.spoil = False
                    data = random.Random(3).randbytes(len(data))
                write(data)

            sink.write = spoiling
        await super()._carry(source, sink, answers)


async def test_garbage_on_the_wire_costs_a_connection_and_nothing_else(server: NodeServer) -> None:
    sink = History()
    begun = (await server.ask(do="sent"))["steps"]
    async with Spoiled(server.port) as cable, running(link_to(server, sink, port=cable.port)):
        await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
        await until(lambda: sink.metrics.get("lag_ms") is not None, "the heart beats")
        await server.ask(do="rate", changes_per_s=2_000)
        cable.spoil = True
        await until(lambda: LinkState.OFFLINE in sink.states and sink.online, "the link has healed")
        steps = await run_changes(server, sink, 2_000, 1_000)
        for n in EXACT:
            assert sorted(set(sink.changes_of(n))) == list(range(begun[n], steps[n] + 1))


async def test_a_server_that_moves_to_another_address_is_found_by_its_name(
    server: NodeServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    lookup = asyncio.BaseEventLoop.getaddrinfo
    at = "127.0.0.1"

    async def names(self: Any, host: Any, port: Any, **more: Any) -> Any:
        return await lookup(self, at if host == "plc.plant" else host, port, **more)

    monkeypatch.setattr(asyncio.BaseEventLoop, "getaddrinfo", names)
    sink = RecordingSink()
    async with Cable(server.port) as old:
        endpoint = f"opc.tcp://plc.plant:{old.port}/peer"
        link = OpcUaLink(device("opcua", endpoint, **QUICK), POINTS[:5], sink, time.time_ns, seeded())
        async with Cable(server.port) as moved, running(link):
            await until(lambda: len(sink.latest) == 5, "all is read")
            assert moved._server is not None and old._server is not None
            moved._server.close()
            moved._server = await asyncio.start_server(moved._accept, "127.0.0.2", old.port)
            at = "127.0.0.2"
            old._server.close()
            old.cut()
            await until(lambda: LinkState.OFFLINE in sink.states and sink.online, "the link has healed")
            await server.ask(do="set", node="s=item.0", value=5.5)
            await until(lambda: sink.value(0) == 5.5, "values flow")


async def test_keys_are_renewed_under_load_and_a_sealed_session_goes_on_after_a_cut(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    renewed: list[float] = []
    renew = Channel.renew

    async def note(self: Channel) -> None:
        await renew(self)
        renewed.append(time.monotonic())

    monkeypatch.setattr("protocols.opcua.channel.CHANNEL_LIFE_MS", 4_000)
    monkeypatch.setattr(Channel, "renew", note)
    pki, sink = folder(tmp_path, "twin"), History()
    options = {"items": ITEMS, "modes": "SignAndEncrypt", "policies": "Basic256Sha256", "pki": tmp_path / "node"}
    async with node_server(**options) as server, Cable(server.port) as cable:
        shown = tmp_path / "node" / "server" / "own" / "certs" / "certificate.pem"
        pki.take("trusted", x.read(shown.read_bytes()))
        settings = {**QUICK, "security": "SignAndEncrypt"}
        at = device("opcua", f"opc.tcp://127.0.0.1:{cable.port}/peer", **settings)
        async with running(OpcUaLink(at, POINTS, sink, time.time_ns, seeded(), pki.folder)):
            await until(lambda: len(sink.latest) == ITEMS, "every item is read once")
            await server.ask(do="rate", changes_per_s=3_000)
            await until(lambda: len(renewed) >= 2, "keys are renewed while changes flow")
            assert LinkState.OFFLINE not in sink.states
            cable.cut()
            await until(lambda: LinkState.OFFLINE in sink.states and sink.online, "the link has healed")
            steps = await run_changes(server, sink, 3_000, 1_000)
            for n in EXACT:
                assert sorted(set(sink.changes_of(n))) == list(range(steps[n] + 1))
    assert sink.letters == []
