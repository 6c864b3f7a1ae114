"""A whole site whose server shows its twin to node-opcua, an OPC UA client by others, and to a Modbus master."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control.client import Client
from control.demo import server_words
from tests.peers.node_client import NodeClient, node_client
from tests.plant.site import Site, live, rows, site, until
from tests.protocols.protocol_bench import free_port

PASSWORD = "eleven pumps"
LEVEL, STATUS, PUMP = "ns=2;s=tank_1.level", "ns=2;s=pump_335.status", "ns=2;s=pump_335"
COMMAND = "ns=2;s=dtmi:twinloop:water:Pump;1/Command"


def account(data: Path, name: str, role: str) -> None:
    words = [sys.executable, "-m", "control", "account", "add", name, "--role", role, "--data", str(data)]
    subprocess.run(words, input=f"{PASSWORD}\n", text=True, check=True, capture_output=True)


def start(plant: Site, endpoint: str) -> tuple[Client, str]:
    """A server that serves by OPC UA, and where."""
    words = [*server_words(plant.data, 0, plant.endpoints), "--serve", f"opcua={endpoint}"]
    plant.server = plant._child(words)
    served = plant.server.first_line()["serve"]["opcua"]
    client = Client(plant.data)
    until(lambda: live(client), lambda found: found[0] == found[1])
    return client, served


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client, str]]:
    folder = tmp_path_factory.mktemp("site")
    with site(folder) as plant:
        plant.start_fleet(speed=60)
        plant.data.mkdir()
        account(plant.data, "anna", "operator")
        account(plant.data, "otto", "viewer")
        client, endpoint = start(plant, "opc.tcp://127.0.0.1:0/twinloop")
        yield plant, client, endpoint
        client.close()


def call(client: NodeClient, *given: Any) -> Any:
    kinds = ("String", "Boolean", "String", "String", "Double", "Double")
    inputs = [{"dataType": k, "value": v} for k, v in zip(kinds, given, strict=True)]
    return client.ask(do="call", object=PUMP, method=COMMAND, arguments=inputs)


def test_a_foreign_client_finds_types_values_and_quality(served: tuple[Site, Client, str]) -> None:
    _, server, endpoint = served
    with node_client(endpoint) as client:
        found = client.ask(do="browse", node="ns=2;s=tank_1")
        assert {"level", "pressure"} & {r["name"] for r in found}
        assert [r["node"] for r in found if r["name"] == "Tank"] == ["ns=2;s=dtmi:twinloop:water:Tank;1"]
        level = client.ask(do="read", node=LEVEL)
        (held,) = rows(server, "SELECT value, epoch_ms(source_time) FROM points WHERE name = 'tank_1.level'")
        assert (level["type"], level["status"]) == ("Double", "Good")
        assert abs(level["value"] - held[0]) < 0.5
        assert abs(level["source"] - held[1]) < 10_000
        names = rows(server, "SELECT name FROM points WHERE device <> '' ORDER BY name")
        assert len(names) > 100
        bad = [n for (n,) in names if client.ask(do="read", node=f"ns=2;s={n}")["status"] != "Good"]
        assert bad == []


def test_history_read_gives_what_query_gives(served: tuple[Site, Client, str]) -> None:
    _, server, endpoint = served
    sql = (
        "SELECT epoch_ns(source_time) // 1000000, value, quality_name FROM history WHERE point = 'tank_1.level' AND NOT noticed "
        "ORDER BY source_time"
    )
    until(lambda: len(rows(server, sql)), lambda count: count > 20)
    held = rows(server, sql)
    with node_client(endpoint) as client:
        found = client.ask(do="history", node=LEVEL, start=held[0][0], end=held[-1][0], most=7)
    assert found["pages"] >= len(held) // 7
    asked = [row for row in held if row[0] < held[-1][0]]
    assert found["values"] == [[t, pytest.approx(v), q] for t, v, q in asked]


def test_a_write_and_a_call_are_commands_that_the_devices_confirm(served: tuple[Site, Client, str]) -> None:
    _, server, endpoint = served
    with node_client(endpoint, user="anna", password=PASSWORD, monitor=STATUS) as client:
        assert client.ask(do="write", node=STATUS, type="Boolean", value=False) == {
            "status": "GoodCompletesAsynchronously"
        }
        record = until(lambda: server.get("/commands", limit=1)["commands"][0], lambda c: c["final"])
        assert (record["author"], record["status"]) == ("opcua:anna", "CONFIRMED")
        until(lambda: client.ask(do="monitored")[STATUS].get("value"), lambda v: v is False)
        done = call(client, "status", True, "shift change", "", 20.0, 20.0)
        assert (done["status"], done["outputs"][1:3]) == ("Good", ["CONFIRMED", True])
        assert server.get(f"/commands/{done['outputs'][0]}")["reason"] == "shift change"
    entries = [e["body"] for e in server.get("/audit", last=50, kind="command")["entries"]]
    assert ("opcua:anna", "CONFIRMED") in {(e["author"], e["status"]) for e in entries}


@pytest.mark.parametrize("who", [{}, {"user": "otto", "password": PASSWORD}])
def test_who_may_only_look_changes_nothing(served: tuple[Site, Client, str], who: dict[str, str]) -> None:
    _, server, endpoint = served
    before = server.get("/commands", limit=1)
    with node_client(endpoint, **who) as client:
        assert client.ask(do="write", node=STATUS, type="Boolean", value=False) == {"status": "BadUserAccessDenied"}
        assert call(client, "status", False, "", "", 20.0, 0.0)["status"] == "BadUserAccessDenied"
    assert server.get("/commands", limit=1) == before


def test_the_figures_of_the_face_are_points_and_metrics(served: tuple[Site, Client, str]) -> None:
    _, server, endpoint = served
    sql = "SELECT value, text FROM points WHERE name IN ('opcua.clients', 'opcua.state') ORDER BY name"
    with node_client(endpoint):
        until(lambda: rows(server, sql), lambda found: found == [[1.0, None], [None, f"listening at {endpoint}"]])
        assert server.get("/plant")["servings"] == [
            {"id": "opcua", "protocol": "opcua", "endpoint": "opc.tcp://127.0.0.1:0/twinloop"}
        ]
        clients = 'twinloop_serving_clients{serving="opcua"} 1.0'  # told once a second: the last test's may still count
        until(lambda: httpx.get(f"{server.url}/metrics", trust_env=False).text, lambda metrics: clients in metrics)


@pytest.mark.timeout(240)
def test_a_killed_server_is_found_again_by_its_clients(tmp_path: Path) -> None:
    endpoint = f"opc.tcp://127.0.0.1:{free_port()}/twinloop"
    with site(tmp_path) as plant:
        plant.start_fleet(speed=60)
        server, _ = start(plant, endpoint)
        with node_client(endpoint, monitor=LEVEL) as client:
            first = until(lambda: client.ask(do="monitored")[LEVEL], lambda said: said["changes"] > 2)
            plant.kill_server()
            server.close()
            until(lambda: client.ask(do="life")["lost"], lambda n: n > 0)
            server, _ = start(plant, endpoint)
            until(lambda: client.ask(do="life")["restored"], lambda n: n > 0)
            said = until(
                lambda: client.ask(do="monitored")[LEVEL],
                lambda said: said["changes"] > first["changes"] + 2 and said["status"] == "Good",
            )
            assert isinstance(said["value"], float)
        server.close()
        assert plant.server is not None
        assert plant.server.stop() == 0
