"""Twins, relationships and graph files over HTTP and the command line, on a real server whose device is dead."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from typer.testing import CliRunner

from control.cli import app
from control.client import Client
from control.errors import codes
from control.identity import TOKEN_FILE
from tests.control.graph_plant import SITE, TANK, VALVE, write
from tests.control.test_api import hear, opened, subscribed
from tests.plant.site import Site, rows, site, until

LARGE = 12_000  # twins: more than a megabyte of a file


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client]]:
    folder = tmp_path_factory.mktemp("twins")
    with site(folder) as made:
        client = made.start_server(str(write(folder / "depot")))
        yield made, client
        client.close()


@pytest.fixture(scope="module")
def client(running: tuple[Site, Client]) -> Client:
    return running[1]


@pytest.fixture(scope="module")
def http(running: tuple[Site, Client]) -> Iterator[httpx.Client]:
    token = (running[0].data / TOKEN_FILE).read_text()
    headers = {"Authorization": f"Bearer {token}"}
    with httpx.Client(base_url=f"{running[1].url}/api/v1", headers=headers, trust_env=False, timeout=60) as made:
        yield made


def valve(http: httpx.Client, identity: str, **more: Any) -> httpx.Response:
    return http.post("/twins", json={"id": identity, "interface": VALVE, **more})


def test_a_twin_is_created_read_changed_and_deleted(http: httpx.Client, client: Client) -> None:
    made = valve(http, "life", at=[1, 2.5], properties={"serial": "X1"})
    assert (made.status_code, made.headers["location"]) == (201, "/api/v1/twins/life")
    assert (made.json()["origin"], made.json()["name"], made.json()["at"]) == ("api", "life", [1, 2.5])
    assert rows(client, "SELECT text FROM points WHERE name = 'life.serial'") == [["X1"]]
    read = http.get("/twins/life")
    assert read.headers["etag"] == made.headers["etag"] == read.json()["etag"]
    assert http.get("/twins/life", headers={"If-None-Match": read.headers["etag"]}).status_code == 304
    patch = {"name": "Nine", "at": None, "properties": {"serial": None, "turns": 4}}
    content = json.dumps(patch).encode()
    merge = {"Content-Type": "application/merge-patch+json", "If-Match": read.headers["etag"]}
    changed = http.patch("/twins/life", content=content, headers=merge)
    assert changed.status_code == 200
    found = changed.json()
    assert (found["name"], found["at"], found["properties"]["turns"]["value"]) == ("Nine", None, 4)
    assert found["properties"]["serial"]["value"] is None
    late = http.patch("/twins/life", content=content, headers=merge)
    assert (late.status_code, late.json()["code"]) == (412, "precondition_failed")
    assert http.delete("/twins/life", headers={"If-Match": '"old"'}).status_code == 412
    assert http.delete("/twins/life", headers={"If-Match": changed.headers["etag"]}).status_code == 204
    assert http.get("/twins/life").status_code == 404
    assert rows(client, "SELECT count(*) FROM twins WHERE id = 'life'") == [[0]]
    assert rows(client, "SELECT count(*) FROM points WHERE twin = 'life'") == [[0]]


def test_the_very_next_question_sees_an_edit(http: httpx.Client, client: Client) -> None:
    for n in range(10):
        assert valve(http, f"seen_{n}", properties={"turns": n}).status_code == 201
        found = rows(
            client,
            f"SELECT p.value FROM points p JOIN twins t ON t.id = p.twin WHERE t.id = 'seen_{n}' AND property = 'turns'",
        )
        assert found == [[n]]
    assert http.put("/twins/seen_0/relationships/guards/tank_1").status_code == 201
    assert rows(client, "SELECT id FROM downstream_of('seen_0', hops := 1)") == [["tank_1"]]


def test_relationships_are_made_once_and_ended_once(http: httpx.Client) -> None:
    valve(http, "guard")
    path = "/twins/guard/relationships/guards/tank_2"
    tag = http.get("/twins/guard").headers["etag"]
    assert [http.put(path).status_code, http.put(path).status_code] == [201, 200]
    assert http.get("/twins/guard").headers["etag"] != tag
    assert http.delete(path, headers={"If-Match": tag}).status_code == 412
    assert [http.delete(path).status_code, http.delete(path).status_code] == [204, 404]
    theirs = http.delete("/twins/tank_1/relationships/feeds/tank_2")
    assert (theirs.status_code, theirs.json()["hint"]) == (422, "edit plant.toml and restart")
    assert http.put("/twins/guard/relationships/guards/site").status_code == 400


def test_all_that_is_wrong_with_a_twin_is_said_with_its_place(http: httpx.Client) -> None:
    answer = valve(http, "wrong", properties={"serial": 1, "turns": "many"})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_graph")
    assert [m.partition(":")[0] for m in answer.json()["mistakes"]] == ["properties.serial", "properties.turns"]
    assert http.get("/twins/wrong").status_code == 404


def test_pages_hold_every_twin_once_while_others_come_and_go(http: httpx.Client) -> None:
    for n in range(20):
        valve(http, f"page_{n:02}")
    wanted = {"interface": VALVE, "limit": 3}
    found: list[str] = []
    cursor = ""
    gone = {"page_01", "page_15"}
    while True:
        page = http.get("/twins", params={**wanted, "cursor": cursor}).json()
        found += [t["id"] for t in page["twins"]]
        cursor = page["next"]
        if cursor is None:
            break
        if len(found) == 6 * 3:
            for identity in gone:
                http.delete(f"/twins/{identity}")
            valve(http, "aaa_before")
    assert found == sorted(set(found))
    assert {f"page_{n:02}" for n in range(20)} - set(found) <= gone
    assert "aaa_before" not in found
    assert all(t["kind"] == "Tank" for t in http.get("/twins", params={"kind": "Tank"}).json()["twins"])


@pytest.mark.parametrize("cursor", ["x", "!!!", "e30", "W10", "WzEsMiwzXQ", "%00"])
def test_a_cursor_of_another_filter_or_of_nobody_is_a_bad_request(http: httpx.Client, cursor: str) -> None:
    assert http.get("/twins", params={"cursor": cursor}).status_code == 400
    real = http.get("/twins", params={"limit": 1}).json()["next"]
    assert http.get("/twins", params={"cursor": real}).status_code == 200
    assert http.get("/twins", params={"cursor": real, "kind": "Tank"}).status_code == 400


def test_a_thing_description_names_the_new_twin_and_the_server(http: httpx.Client, client: Client) -> None:
    valve(http, "thing")
    found = http.get("/twins/thing/thing").json()
    assert found["id"] == "urn:twinloop:depot:thing"
    assert found["base"] == f"{client.url}/"


async def test_the_socket_says_that_the_plant_is_another_one_and_sends_its_new_points(client: Client) -> None:
    async with opened(client) as socket:
        await subscribed(socket, client)
        await hear(socket, "snapshot")
        body = {"id": "told", "interface": VALVE, "properties": {"turns": 5}}
        await asyncio.to_thread(client.post, "/twins", body)
        event = await hear(socket, "event")
        while event["kind"] != "plant":
            event = await hear(socket, "event")
        assert event["body"]["revision"] > 0
        point = next(
            p["id"] for p in (await asyncio.to_thread(client.get, "/plant"))["points"] if p["name"] == "told.turns"
        )
        delta = await hear(socket, "delta")
        while point.to_bytes(4, "little") not in delta["columns"]["point"]:
            delta = await hear(socket, "delta")


def graph(http: httpx.Client, document: Any, **query: str) -> httpx.Response:
    return http.post("/graph", params=query, content=json.dumps(document).encode())


def test_a_dry_run_changes_nothing_and_tells_what_the_import_then_does(http: httpx.Client) -> None:
    twins = [{"$dtId": f"bulk_{n}", "$metadata": {"$model": VALVE}, "turns": n} for n in range(3)]
    document = {"digitalTwinsGraph": {"digitalTwins": twins}}
    plan = graph(http, document, dry_run="true").json()
    assert (plan["state"], plan["result"]["applies"]) == ("done", True)
    assert plan["result"]["difference"]["twins"]["added"] == ["bulk_0", "bulk_1", "bulk_2"]
    assert http.get("/twins/bulk_0").status_code == 404
    done = graph(http, document).json()
    assert done["result"]["counts"] == plan["result"]["counts"]
    assert http.get("/twins/bulk_2").json()["properties"]["turns"]["value"] == 2
    again = graph(http, document, dry_run="true").json()
    assert set(again["result"]["counts"]["twins"].values()) == {0}


def test_an_import_with_one_mistake_does_nothing_at_all(http: httpx.Client) -> None:
    twins = [
        {"$dtId": "half_1", "$metadata": {"$model": VALVE}},
        {"$dtId": "half_2", "$metadata": {"$model": "dtmi:x;1"}},
    ]
    answer = graph(http, {"digitalTwinsGraph": {"digitalTwins": twins}})
    assert (answer.status_code, answer.json()["code"]) == (400, "bad_graph")
    assert "digitalTwins[1].$metadata" in answer.json()["mistakes"][0]
    assert http.get("/twins/half_1").status_code == 404
    for query in ({"mode": "both"}, {"dry_run": "maybe"}):
        assert graph(http, {}, **query).status_code == 400


def test_interfaces_come_with_a_file_and_stay_as_they_were_published(http: httpx.Client) -> None:
    model = {
        "@context": "dtmi:dtdl:context;3", "@id": "dtmi:test:Gauge;1", "@type": "Interface",
        "contents": [{"@type": "Property", "name": "dial", "schema": "string"}],
    }  # fmt: skip
    twin = {"$dtId": "gauge", "$metadata": {"$model": "dtmi:test:Gauge;1"}, "dial": "round"}
    document = {"digitalTwinsGraph": {"digitalTwins": [twin]}, "digitalTwinsModels": [model]}
    assert graph(http, document).status_code == 200
    assert http.get("/twins/gauge").json()["properties"]["dial"]["value"] == "round"
    model["contents"] = []
    del twin["dial"]
    answer = graph(http, document)
    assert (answer.status_code, answer.json()["hint"]) == (422, "publish it with the next version number")


def test_a_large_import_goes_on_by_itself_and_ends_as_one_edit(http: httpx.Client, client: Client) -> None:
    twins = [
        {"$dtId": f"large_{n}", "$metadata": {"$model": VALVE}, "serial": f"S{n:030}", "turns": n} for n in range(LARGE)
    ]
    started = graph(http, {"digitalTwinsGraph": {"digitalTwins": twins}})
    assert started.status_code == 202
    path = started.headers["location"].removeprefix("/api/v1")
    assert graph(http, {}).status_code == 429
    done = until(lambda: http.get(path).json(), lambda run: run["state"] != "running")
    assert (done["state"], done["progress"], done["error"]) == ("done", 1.0, None)
    assert rows(client, "SELECT count(*) FROM twins WHERE id LIKE 'large_%'") == [[LARGE]]
    assert rows(client, "SELECT sum(value) FROM points WHERE twin LIKE 'large_%'") == [[sum(range(LARGE))]]
    exported = http.get("/graph").json()
    assert len(exported["digitalTwinsGraph"]["digitalTwins"]) > LARGE
    for n in (0, LARGE - 1):
        assert http.delete(f"/twins/large_{n}").status_code == 204


def test_a_cancelled_import_leaves_no_trace(http: httpx.Client, client: Client) -> None:
    twins = [{"$dtId": f"stop_{n}", "$metadata": {"$model": VALVE}, "serial": "x" * 90} for n in range(LARGE)]
    started = graph(http, {"digitalTwinsGraph": {"digitalTwins": twins}}).json()
    http.delete(f"/graph/imports/{started['id']}")
    run = until(lambda: http.get(f"/graph/imports/{started['id']}").json(), lambda r: r["state"] != "running")
    count = rows(client, "SELECT count(*) FROM twins WHERE id LIKE 'stop_%'")[0][0]
    assert (run["state"], count) in (("cancelled", 0), ("done", LARGE))


@dataclass(frozen=True, slots=True)
class Ended:
    returncode: int
    stdout: str


def cli(running: tuple[Site, Client], *words: str) -> Ended:
    """The command line in this process."""
    done = CliRunner().invoke(app, [*words, "--data", str(running[0].data)])
    error = done.exception
    code = done.exit_code if error is None or isinstance(error, SystemExit) else codes(error).exit
    return Ended(code, done.stdout)


def test_the_command_line_does_the_same_and_its_exit_codes_tell(running: tuple[Site, Client], tmp_path: Path) -> None:
    made = cli(running, "twin", "create", "by_hand", "dtmi:test:Valve;1", "--at", "1,2", "--set", "serial=Q7", "--json")
    assert (made.returncode, json.loads(made.stdout)["properties"]["serial"]["value"]) == (0, "Q7")
    assert cli(running, "twin", "create", "by_hand", VALVE).returncode == 5
    assert cli(running, "twin", "set", "by_hand", "turns=3", "--name", "Hand").returncode == 0
    assert cli(running, "twin", "set", "by_hand", "turns=4", "--if-match", '"old"').returncode == 5
    assert cli(running, "twin", "set", "tank_1", "level=4").returncode == 6
    assert cli(running, "twin", "link", "by_hand", "guards", "tank_1").returncode == 0
    shown = cli(running, "twin", "show", "by_hand").stdout
    assert all(part in shown for part in ("Hand", "Q7", "by_hand guards tank_1"))
    listed = json.loads(cli(running, "twin", "list", "--kind", "Site", "--json").stdout)
    assert [(t["id"], t["interface"]) for t in listed] == [("site", SITE)]
    file = tmp_path / "graph.json"
    assert cli(running, "graph", "export", str(file)).returncode == 0
    assert cli(running, "twin", "unlink", "by_hand", "guards", "tank_1").returncode == 0
    assert cli(running, "twin", "delete", "by_hand").returncode == 0
    assert cli(running, "twin", "show", "by_hand").returncode == 4
    planned = cli(running, "graph", "import", str(file), "--dry-run")
    assert planned.returncode == 0
    assert "twins: 1 added, 0 removed, 0 changed" in planned.stdout
    assert cli(running, "graph", "import", str(file)).returncode == 0
    assert "by_hand guards tank_1" in cli(running, "twin", "show", "by_hand").stdout
    document = json.loads(file.read_text())
    document["twinloop"]["twins"]["tank_1"]["at"] = [7, 7]
    file.write_text(json.dumps(document))
    assert cli(running, "graph", "import", str(file), "--dry-run").returncode == 1
    assert cli(running, "graph", "import", str(file)).returncode == 6
    assert TANK in json.dumps(document)
