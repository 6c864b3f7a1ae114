"""The server is killed while twins are made and changed: every edit that was answered is there afterwards."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from control import offline
from control.client import Client
from tests.control.graph_plant import VALVE, write
from tests.plant.site import site, until
from twin.errors import NotFound, TwinloopError

ROUNDS = 3


def edit_until_dead(client: Client, seed: int, known: dict[str, int | None], doubtful: set[str]) -> None:
    """Create, change and delete twins as fast as answers come: `known` is what was answered."""
    chance = random.Random(seed)
    for n in range(100_000):
        alive = [i for i, value in known.items() if value is not None and i not in doubtful]
        what = chance.choice(["create", "create", "set", "set", "delete"]) if len(alive) > 3 else "create"
        identity = f"v{seed}_{n}" if what == "create" else chance.choice(alive)
        doubtful.add(identity)
        try:
            if what == "create":
                client.post("/twins", {"id": identity, "interface": VALVE, "properties": {"turns": n}})
            elif what == "set":
                client.patch(f"/twins/{identity}", {"properties": {"turns": n}})
            else:
                client.delete(f"/twins/{identity}")
        except TwinloopError:
            return
        known[identity] = None if what == "delete" else n
        doubtful.discard(identity)


def turns(client: Client, identity: str) -> Any:
    try:
        return client.get(f"/twins/{identity}")["properties"]["turns"]["value"]
    except NotFound:
        return None


@pytest.mark.timeout(240)
def test_a_killed_server_has_every_edit_that_it_answered_and_one_entry_for_each(tmp_path: Path) -> None:
    plant = str(write(tmp_path / "depot"))
    known: dict[str, int | None] = {}
    doubtful: set[str] = set()  # what was under way when the server died: done or not done
    chance = random.Random(5)
    with site(tmp_path) as made:
        for round_ in range(ROUNDS):
            client = made.start_server(plant)
            assert {i: turns(client, i) for i in known if i not in doubtful} == {
                i: value for i, value in known.items() if i not in doubtful
            }
            editing = threading.Thread(target=edit_until_dead, args=(client, round_, known, doubtful))
            before = len(known)
            editing.start()
            until(lambda b=before: len(known) - b, lambda n: n > 5)  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.5))  # the kill falls anywhere
            made.kill_server()
            editing.join()
            client.close()
        client = made.start_server(plant)
        assert {i: turns(client, i) for i in known if i not in doubtful} == {
            i: value for i, value in known.items() if i not in doubtful
        }
        entries = client.get("/audit", last=1000, kind="graph")["entries"]
        numbers = [e["body"]["edit"] for e in entries]
        assert sorted(numbers) == list(range(1, len(numbers) + 1))
        assert client.get("/graph/problems") == []
        client.close()
        assert made.server is not None
        assert made.server.stop() == 0
    report = offline.verify(made.data)
    assert report["ok"], report["problems"]
