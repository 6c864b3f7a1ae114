"""A running site is backed up in a storm of commands and readings: the copy fits its ledger, and a server goes on from it."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from control import offline
from control.cli_history import LAST_NS
from control.client import Client
from control.erasing import erase_stopped
from control.history_files import back_up, export_history, import_history, restore
from tests.plant.site import Site, live, rows, site, until
from twin.errors import BadRequest, Conflict, NotFound, TwinloopError
from twin.parquet import Asked

SILENT = lambda done, total: None  # noqa: E731
ALL = Asked("raw", 0, LAST_NS, ())


def storm(client: Client, stop: threading.Event, taken: list[str]) -> None:
    """Commands as fast as they are answered."""
    for n in range(100_000):
        if stop.is_set():
            return
        body = {"key": f"storm-{n}", "point": "pump_335.speed", "value": 90.0 + n % 10, "deadline_s": 60.0}
        try:
            taken.append(client.post("/commands", body)["id"])
        except TwinloopError:
            return


def goes_on(folder: Path, plant: Site, taken: list[str]) -> None:
    """A server on the copy: it has what was acknowledged before the back-up, and in the end everything fits."""
    old, plant.data = plant.data, folder
    client = plant.start_server()
    until(lambda: live(client), lambda found: found[0] == found[1])
    known = {c["id"] for c in client.get("/commands", limit=1000)["commands"]}
    assert set(taken[-900:]) <= known
    unsettled = "SELECT count(*) FROM commands WHERE status IN ('QUEUED', 'SENT', 'UNKNOWN', 'ACKNOWLEDGED')"
    until(lambda: rows(client, unsettled), lambda left: left == [[0]])
    client.close()
    assert plant.server is not None
    assert plant.server.stop() == 0
    report = offline.verify(folder)
    assert report["ok"], report["problems"]
    # The persons of the copy can be erased there, and the original stays as it was.
    assert erase_stopped(folder, "cli", "root", time.time_ns()).subjects == ["cli"]
    assert offline.verify(folder)["ok"]
    people = "SELECT DISTINCT author FROM audit WHERE kind = 'command'"
    assert offline.ask(folder, people, 9)["rows"] == [["(erased)"]]
    plant.data = old


@pytest.mark.timeout(240)
def test_a_back_up_in_the_middle_of_a_storm_is_whole_and_a_server_goes_on_from_it(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        plant.start_fleet(speed=60)
        client = plant.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1])
        stop, taken = threading.Event(), []  # type: ignore[var-annotated]
        storming = threading.Thread(target=storm, args=(client, stop, taken))
        storming.start()
        copies = []
        for n in range(3):
            until(lambda m=n: len(taken), lambda count, m=n: count > 30 * (m + 1))  # type: ignore[misc]
            before = list(taken)
            run = back_up(plant.data, tmp_path / f"copy-{n}", SILENT)
            assert run["entries"] > 30
            copies.append((tmp_path / f"copy-{n}", before))
        with pytest.raises(Conflict, match="exists"):
            back_up(plant.data, tmp_path / "copy-0", SILENT)
        stop.set()
        storming.join()
        for folder, _ in copies:
            report = offline.verify(folder)
            assert report["ok"], report["problems"]
            assert report["anchors_checked"] >= 0
            assert report["history"]["batches"] + report["history"]["waiting"] > 0
            private = [p.name for p in folder.rglob("*") if p.is_file() and p.stat().st_mode & 0o077]
            assert private == []
        counted = "SELECT count(DISTINCT entry), max(entry), max(author) FILTER (WHERE kind = 'command') FROM audit"
        found = offline.ask(copies[-1][0], counted, 9)["rows"]
        assert found == [[report["entries"], report["entries"] - 1, "cli"]]
        assert not list(tmp_path.glob(".copy*"))
        parquet_both_ways(plant, client, tmp_path)
        client.close()
        assert plant.server is not None
        assert plant.server.stop() == 0
        goes_on(*[copies[-1][0], plant, copies[-1][1]])
        stopped(plant.data, tmp_path)


def parquet_both_ways(plant: Site, client: Client, folder: Path) -> None:
    """Over HTTP: out, in again without anything new, and what cannot be taken is named."""
    out = export_history(plant.data, folder / "all.parquet", ALL, SILENT)
    assert out["rows"] > 100
    found = import_history(plant.data, folder / "all.parquet", False, SILENT)
    assert (found.new, found.held, found.expired) == (0, out["rows"], 0)
    hours = export_history(plant.data, folder / "hours.parquet", Asked("1h", 0, LAST_NS, ("tank_1.level",)), SILENT)
    assert hours["rows"] >= 1
    with pytest.raises(BadRequest, match="no column 'value'"):
        import_history(plant.data, folder / "hours.parquet", False, SILENT)
    with pytest.raises(NotFound, match="no point 'tank_9"):
        export_history(plant.data, folder / "no.parquet", Asked("raw", 0, LAST_NS, ("tank_9.level",)), SILENT)
    with pytest.raises(Conflict, match="exists"):
        export_history(plant.data, folder / "all.parquet", ALL, SILENT)
    assert not (folder / "no.parquet").exists()
    changed = rows(client, "SELECT count(*) FROM history_1min WHERE point = 'tank_1.level' AND min <= max")
    assert changed[0][0] >= 1


def cli(*words: str) -> Any:
    done = subprocess.run(
        [sys.executable, "-m", "control", *words, "--json"], capture_output=True, text=True, check=True, timeout=100
    )
    return json.loads(done.stdout)


def stopped(data: Path, folder: Path) -> None:
    """Without a server, by the command line: back-up, restore, export, and import into the ledger, too."""
    cli("backup", str(folder / "cold"), "--data", str(data))
    restore(folder / "cold", folder / "restored", SILENT)
    out = cli("history", "export", str(folder / "cold.parquet"), "--data", str(folder / "restored"))
    with offline.open_history(folder / "restored") as store:
        kept = store.cursor().execute("SELECT count(*) FROM readings").fetchall()[0][0]
        dropped = store.cursor().execute("SELECT rows FROM batches WHERE batch = 0").fetchall()[0][0]
    assert out["rows"] == kept
    # An empty history of the same points, as after a new start elsewhere.
    with offline.Store(folder / "restored" / "history.duckdb") as store:
        store.cursor().execute("DELETE FROM readings WHERE batch = 0; DELETE FROM batches WHERE batch = 0")
    assert not offline.verify(folder / "restored")["ok"]
    words = ("history", "import", str(folder / "cold.parquet"), "--data", str(folder / "restored"))
    assert cli(*words, "--dry-run")["new"] == dropped
    assert cli(*words)["new"] == dropped
    assert cli(*words)["new"] == 0
    found = offline.verify(folder / "restored")
    assert (found["history"]["waiting"], [p["place"] for p in found["problems"]]) == (0, ["history batch 0"])
