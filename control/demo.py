"""The demonstration: a fleet and a server as two processes; and its check, which runs the whole loop once.

Must not reach into either process: it uses what any user has, the command line's client and the files.
"""

from __future__ import annotations

import json
import queue
import re
import subprocess
import sys
import tempfile
import threading
import time
from contextlib import ExitStack
from pathlib import Path
from typing import IO, Any, Self

import httpx

from control import offline, show
from control.client import Client
from twin.errors import Unavailable

PLANT = "water"
START_S = 60.0  # two cores, cold imports and a compiled EPANET: usually 10
STOP_S = 20.0
LIVE_S = 45.0
COMMAND_S = 30.0
WHATIF_S = 60.0
ANCHORED_S = 40.0
MEASURE_S = 3.0
POLL_S = 0.25
CHECK_SPEED = 60.0
WHATIF = {"scenarios": ["pump_335.status=off for 4h"], "limits": ["tank_1.level<3"], "horizon_s": 14_400.0}
LAST_VALUES = (
    "SELECT point, arg_max(value, source_time) AS value, arg_max(text, source_time) AS text, epoch_ns(max(source_time)) AS at "
    "FROM history WHERE batch <= {batch} GROUP BY point ORDER BY point"
)


class Child:
    """One of our processes. It ends when we do, however we do: it watches its stdin."""

    def __init__(self, words: list[str], errors: IO[str] | None) -> None:
        self.words = words
        self.process = subprocess.Popen(
            [sys.executable, "-m", "control", *words, "--lifeline"],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True, start_new_session=True,
        )  # fmt: skip

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def first_line(self) -> dict[str, Any]:
        """What it says once it is ready.

        Raises:
            Unavailable: it ended, or took longer than START_S.
        """
        lines: queue.Queue[str] = queue.Queue()
        stdout = self.process.stdout
        assert stdout is not None
        threading.Thread(target=lambda: lines.put(stdout.readline()), daemon=True).start()
        try:
            line = lines.get(timeout=START_S)
        except queue.Empty:
            raise Unavailable(f"`twinloop {self.words[0]}` was not ready after {START_S:g} s") from None
        if not line:
            raise Unavailable(f"`twinloop {self.words[0]}` ended with {self.process.wait()}", "its messages are above")
        found: dict[str, Any] = json.loads(line)
        return found

    def stop(self) -> int:
        """Ask it to end, wait, and say how it ended."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            return self.process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            self.process.kill()
            return self.process.wait()
        finally:
            for pipe in (self.process.stdin, self.process.stdout):
                if pipe is not None:
                    pipe.close()


def run(data: Path, port: int, speed: float, seed: int) -> None:
    """Fleet and server until Ctrl-C or until one of them ends."""
    with ExitStack() as stack:
        show.err.print("starting the simulated devices …")
        fleet = stack.enter_context(Child(fleet_words(speed, seed), None))
        endpoints = fleet.first_line()["endpoints"]
        show.err.print("starting the server …")
        server = stack.enter_context(Child(server_words(data, port, endpoints), None))
        server.first_line()
        show.err.print(f"Plant time runs {speed:g} times as fast as yours. Ctrl-C stops everything.")
        try:
            while fleet.process.poll() is None and server.process.poll() is None:
                time.sleep(POLL_S)
            show.err.print("one of the two processes ended; stopping the other")
        except KeyboardInterrupt:
            show.err.print("stopping …")


def check(seed: int) -> dict[str, Any]:
    """The whole loop once on free ports, as one summary; `ok` only if all of it held."""
    begun = time.monotonic()
    summary: dict[str, Any] = {"points": 0, "live": 0, "changes_per_s": 0.0, "whatif": {}, "command": {}, "audit": {}}
    problems: list[str] = []
    children: list[Child] = []
    with ExitStack() as stack:
        data = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="twinloop-check-")))
        errors = stack.enter_context((data / "messages.log").open("w+"))
        try:
            _loop(data, seed, stack, errors, children, summary, problems)
        except (Unavailable, httpx.HTTPError) as error:
            problems.append(str(error))
            errors.seek(0)
            show.err.print(errors.read()[-4000:], markup=False)
        for child in reversed(children):
            code = child.stop()
            if code != 0:
                problems.append(f"`twinloop {child.words[0]}` ended with {code}")
        summary["audit"] |= _audited(data, problems)
    summary["problems"] = problems
    summary["elapsed_s"] = round(time.monotonic() - begun, 1)
    summary["ok"] = not problems
    return summary


def _loop(
    data: Path,
    seed: int,
    stack: ExitStack,
    errors: IO[str],
    children: list[Child],
    summary: dict[str, Any],
    problems: list[str],
) -> None:
    fleet = stack.enter_context(Child(fleet_words(CHECK_SPEED, seed), errors))
    children.append(fleet)
    endpoints = fleet.first_line()["endpoints"]
    server = stack.enter_context(Child(server_words(data, 0, endpoints), errors))
    children.append(server)
    server.first_line()
    client = Client(data)
    summary["points"], summary["live"] = _wait_live(client)
    if summary["live"] < summary["points"]:
        problems.append(f"{summary['points'] - summary['live']} points are not live")
    summary["changes_per_s"] = _changes_per_s(client)
    summary["whatif"] = _whatif(client, problems)
    summary["command"] = _command(client, problems)
    _wait_anchored(client, problems)
    before = client.get(f"/commands/{summary['command']['id']}")
    entries = client.get("/audit", last=1)["size"]
    client.close()
    children.remove(server)
    if server.stop() != 0:
        problems.append("the server did not stop cleanly")
    last_batch = int(offline.ask(data, "SELECT coalesce(max(batch), -1) FROM history", 1)["rows"][0][0])
    values = _last_values(data, last_batch)
    again = stack.enter_context(Child(server_words(data, 0, endpoints), errors))
    children.append(again)
    again.first_line()
    client = Client(data)
    same = {
        "command": client.get(f"/commands/{before['id']}") == before,
        "values": _last_values(data, last_batch) == values,
        "entries": client.get("/audit", last=1)["size"] >= entries,
        "live": _wait_live(client)[1] == summary["points"],
    }
    client.close()
    summary["restart"] = same
    problems.extend(f"after the restart: {name} is not the same" for name, held in same.items() if not held)


def fleet_words(speed: float, seed: int) -> list[str]:
    free = {
        "scada": "opc.tcp://127.0.0.1:0/twinloop",
        "plc": "modbus://127.0.0.1:0/1",
        "pressures": "mqtt://127.0.0.1:0",
    }
    words = ["fleet", PLANT, "--speed", str(speed), "--seed", str(seed), "--start", "6h"]
    return words + [word for device, endpoint in free.items() for word in ("--endpoint", f"{device}={endpoint}")]


def server_words(data: Path, port: int, endpoints: dict[str, str]) -> list[str]:
    words = ["up", PLANT, "--data", str(data), "--port", str(port)]
    return words + [word for device, endpoint in endpoints.items() for word in ("--endpoint", f"{device}={endpoint}")]


def _wait_live(client: Client) -> tuple[int, int]:
    """(points bound to devices, how many of them are good), once all are or LIVE_S is over."""
    end = time.monotonic() + LIVE_S
    while True:
        sql = "SELECT count(*), count(*) FILTER (quality >> 30 = 0) FROM points WHERE device <> ''"
        points, live = client.post("/query", {"sql": sql})["rows"][0]
        if points == live or time.monotonic() > end:
            return points, live
        time.sleep(POLL_S)


def _changes_per_s(client: Client) -> float:
    def changes() -> float:
        text = httpx.get(f"{client.url}/metrics", trust_env=False).text
        found = re.search(r"^twinloop_changes_total (\S+)", text, re.MULTILINE)
        return float(found.group(1)) if found else 0.0

    first, begun = changes(), time.monotonic()
    time.sleep(MEASURE_S)
    return round((changes() - first) / (time.monotonic() - begun), 1)


def _whatif(client: Client, problems: list[str]) -> dict[str, Any]:
    run = client.post("/whatif", WHATIF)
    end = time.monotonic() + WHATIF_S
    while run["state"] == "running" and time.monotonic() < end:
        time.sleep(POLL_S)
        run = client.get(f"/whatif/{run['id']}")
    if run["state"] != "done":
        problems.append(f"the what-if is {run['state']}: {run['error']}")
        return {"state": run["state"]}
    result = run["result"]
    scenario = result["outcomes"][1]
    difference = scenario["differences"]["tank_1.level.final"]
    return {
        "scenario": scenario["name"], "replications": result["replications"], "wall_s": round(result["wall_s"], 2),
        "tank_1_level_difference_m": round(difference["mean"], 3), "half_width_m": round(difference["half_width"], 3),
        "p_tank_1_below_3_m": scenario["limits"][0]["probability"][-1],
    }  # fmt: skip


def _command(client: Client, problems: list[str]) -> dict[str, Any]:
    body = {"key": "demo-check", "point": "pump_335.status", "value": 0.0, "reason": "demo check"}
    begun = time.monotonic()
    record = client.post("/commands", body)
    while not record["final"] and time.monotonic() < begun + COMMAND_S:
        time.sleep(POLL_S / 5)
        record = client.get(f"/commands/{record['id']}")
    if record["status"] != "CONFIRMED":
        problems.append(f"the command is {record['status']}: {record['transitions'][-1]['detail']}")
    if client.post("/commands", body)["id"] != record["id"]:
        problems.append("the same key gave another command")
    took_s = (record["transitions"][-1]["time"] - record["transitions"][0]["time"]) / 1000
    return {
        "id": record["id"], "point": record["point"], "value": record["value"], "status": record["status"],
        "observed": record["observed"], "took_s": round(took_s, 3),
    }  # fmt: skip


def _wait_anchored(client: Client, problems: list[str]) -> None:
    size = client.get("/audit", last=1)["size"]
    end = time.monotonic() + ANCHORED_S
    while client.get("/audit", last=1)["anchored"] < size:
        if time.monotonic() > end:
            problems.append(f"entry {size} was not anchored in {ANCHORED_S:g} s")
            return
        time.sleep(POLL_S)


def _last_values(data: Path, batch: int) -> list[Any]:
    found: list[Any] = offline.ask(data, LAST_VALUES.format(batch=batch), 10_000)["rows"]
    return [[str(cell) for cell in row] for row in found]


def _audited(data: Path, problems: list[str]) -> dict[str, Any]:
    if not (data / "ledger").is_dir():
        return {"ok": False}
    found = offline.verify(data)
    problems.extend(f"audit: {p['place']}: {p['what']}" for p in found["problems"])
    return {
        "entries": found["entries"], "anchors": found["anchors_checked"], "chain": found["chain"],
        "history_batches": found["history"]["batches"], "ok": found["ok"],
    }  # fmt: skip
