"""A person who worked at a plant is erased from a running server: nothing names them any more, and every proof holds."""

from __future__ import annotations

import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx
import pytest

from control import offline
from control.accounts import Accounts
from control.client import Client
from control.erasing import erase_stopped
from ledger.bundle import verify_bundle
from tests.plant.site import Site, rows, site, until
from twin.errors import Conflict, NotFound
from twin.role import Role

DEAD = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
NAME, PASSWORD = "zara.quill", "a long password"
WHO = "SELECT DISTINCT kind, action FROM audit WHERE 'zara.quill' IN (actor, author) ORDER BY kind, action"


def signed_in(url: str, account: str) -> httpx.Client:
    person = httpx.Client(base_url=f"{url}/api/v1", trust_env=False)
    refused = person.post("/session", json={"account": account, "password": "another one"})
    assert refused.status_code == 401
    session = person.post("/session", json={"account": account, "password": PASSWORD}).raise_for_status().json()
    person.headers["Authorization"] = f"Bearer {session['secret']}"
    return person


def a_shift(person: httpx.Client) -> str:
    """A command that nobody could carry out, and a lease; then they go home."""
    asked = {"key": "k1", "point": "pump_335.speed", "value": 90.0, "deadline_s": 0.2, "reason": "quieter"}
    command = str(person.post("/commands", json=asked).raise_for_status().json()["id"])
    lease = person.post("/leases", json={"key": "l1", "targets": ["pump_335"]}).raise_for_status().json()
    until(lambda: person.get(f"/commands/{command}").json(), lambda found: found["final"])
    person.post(f"/leases/{lease['id']}/release", json={}).raise_for_status()
    person.delete("/session").raise_for_status()
    return command


def files_that_name(folder: Path) -> list[str]:
    return [str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file() and NAME.encode() in p.read_bytes()]


@pytest.mark.timeout(170)
def test_a_person_is_erased_while_the_server_runs_and_after_it_was_killed(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        plant.data.mkdir(exist_ok=True)
        accounts = Accounts(plant.data, time.time_ns)
        for name, role in ((NAME, Role.OPERATOR), ("otto", Role.OPERATOR), ("boss", Role.ADMIN)):
            accounts.add(name, PASSWORD, role)
        client = plant.start_server(**DEAD)
        command = a_shift(signed_in(client.url, NAME))
        until(
            lambda: rows(client, WHO), lambda found: ["lease", "RELEASED"] in found and ["command", "EXPIRED"] in found
        )
        told = rows(client, WHO)
        assert {kind for kind, _ in told} == {"access", "command", "lease", "login"}
        shown = client.get("/audit", by=NAME, twin="pump_335", last=500)
        assert {e["kind"] for e in shown["entries"]} == {"command", "lease"}
        index = client.get("/audit", command=command, last=1)["entries"][0]["index"]
        before = until(lambda: proof(client, index), lambda found: found is not None)
        assert verify_bundle(before).ok

        erased(plant, client, accounts)
        until(lambda: verify_bundle(proof(client, index)).ok, lambda ok: ok)
        assert verify_bundle(before).ok
        client.close()
        plant.kill_server()
        assert files_that_name(plant.data) == []
        report = offline.verify(plant.data)
        assert report["ok"], report["problems"]
        found = offline.ask(plant.data, "SELECT DISTINCT actor FROM audit WHERE twin = 'pump_335' AND actor <> ''", 9)
        assert found["rows"] == [["(erased)"]]
        accounts.remove("otto")
        for step in STEPS:
            killed_in_between(plant.data, step, tmp_path)
        stopped(plant.data)


STEPS = (
    "ledger.log.Log.append", "ledger.log.Log.checkpoint", "control.command_store.CommandStore.rename",
    "control.lookahead_store.LookaheadStore.rename", "control.alarm_store.AlarmStore.rename",
    "control.view_store.ViewStore.rename", "control.erasing.forget_index", "ledger.personal.Salts.erase",
    "control.erasing.left",
)  # fmt: skip
"""What an erasure does, in order."""
KILLED = """
import os, signal, sys, time
from pathlib import Path
from unittest.mock import patch
from control.erasing import erase_stopped
with patch(sys.argv[2], lambda *_: os.kill(os.getpid(), signal.SIGKILL)):
    erase_stopped(Path(sys.argv[1]), "otto", "root", time.time_ns())
"""


def killed_in_between(data: Path, step: str, folder: Path) -> None:
    """On a copy, before one step: what is unfinished is told, nothing else is wrong, and the next erasure does the rest."""
    copy = Path(shutil.copytree(data, folder / step))
    ran = subprocess.run([sys.executable, "-c", KILLED, str(copy), step], check=False, timeout=60)
    assert ran.returncode == -signal.SIGKILL, step
    said, whole = step != STEPS[0], step == STEPS[-1]  # in the ledger already; the salt is gone
    problems = offline.verify(copy)["problems"]
    assert [p["what"].partition(",")[0] for p in problems] == ["says that somebody was erased"] * (said and not whole)
    if not whole:
        assert erase_stopped(copy, "otto", "root", time.time_ns()).subjects == ["otto"], step
    with pytest.raises(NotFound):
        erase_stopped(copy, "otto", "root", time.time_ns())
    report = offline.verify(copy)
    assert report["ok"], (step, report["problems"])
    found = offline.ask(copy, "SELECT count(*) FROM audit WHERE 'otto' IN (actor, author)", 9)
    assert found["rows"] == [[0]], step


def proof(client: Client, index: int) -> Any:
    try:
        return client.get("/audit/proof", entry=index)
    except NotFound:
        return None


def erased(plant: Site, client: Client, accounts: Accounts) -> None:
    """By an admin, once the account is gone."""
    assert files_that_name(plant.data) != []
    with pytest.raises(Conflict, match="there is an account"):
        client.post("/audit/erase", {"subject": NAME})
    accounts.remove(NAME)
    for account, status in (("otto", 403), ("boss", 200)):
        person = signed_in(client.url, account)
        assert person.post("/audit/erase", json={"subject": NAME}).status_code == status
    with pytest.raises(NotFound):
        client.post("/audit/erase", {"subject": NAME})
    assert rows(client, WHO) == []
    erasure = client.get("/audit", kind="erasure", last=9)["entries"]
    assert [(e["body"]["person"], e["body"]["by"]) for e in erasure] == [("(erased)", "boss")]
    mine = client.get("/commands", limit=9)["commands"]
    assert [c["author"] for c in mine] == [f"(erased {erasure[0]['index']})"]


def stopped(data: Path) -> None:
    """The same without a server."""
    done = erase_stopped(data, "otto", "root", time.time_ns())
    assert done.subjects == ["otto"]
    with pytest.raises(NotFound):
        erase_stopped(data, "otto", "root", time.time_ns())
    report = offline.verify(data)
    assert report["ok"], report["problems"]
    found = offline.ask(data, "SELECT DISTINCT actor, outcome FROM audit WHERE kind = 'login' ORDER BY ALL", 9)
    assert found["rows"] == [["(erased)", ""], ["(erased)", "was refused"], ["boss", ""], ["boss", "was refused"]]
