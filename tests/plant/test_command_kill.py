"""The server is killed while commands run: what it acknowledged is there and ends, and no value is written twice.

The devices count each write in a process of their own; they lose answers, break connections and refuse now and then.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import multiprocessing
import os
import random
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path
from typing import Any

import pytest

from control import offline
from control.client import Client
from control.command import Command, Status
from control.command_store import CommandStore
from control.places import COMMANDS_FILE
from tests.plant.counting import Counting, Manners, counting
from tests.plant.racks import DEAD_PORT, point, write_plant
from tests.plant.site import rows, until
from twin.errors import Conflict, Reserved, Unavailable

SERVER = multiprocessing.get_context("forkserver")  # a clean process to start servers from, with all modules loaded
SERVER.set_forkserver_preload(["control.app", "control.stopping", "uvloop", "tests.plant.test_command_kill"])
DEVICES, REGISTERS, CLIENTS = 4, 120, 4
MANNERS = Manners(swallow=0.01, hang_up=0.01, refuse=0.02, drop=0.01, late=0.05, late_s=0.3)
WITHIN_S = 1.0
STARTING, LOADED_S = 0.2, 1.0
"""So many of the kills fall while the server starts; the others come within LOADED_S of its first request."""
START_S = 0.35  # a start takes that long, of a process that has all modules loaded
READY_S = 60.0
CHOSEN = 12  # registers of each device that must be selected before they are operated
RULES = f"""
[[policy]]
points = {[f"rack_*.c{n}" for n in range(CHOSEN)]}
select = true
select_timeout_s = 2.0

[[pacing]]
devices = ["plc_0"]
gap_s = 0.005
"""
OPEN = "SELECT count(*) FROM commands WHERE status NOT IN ('CONFIRMED','REFUSED','EXPIRED','CANCELLED','SUPERSEDED','FAILED')"
NEVER_ACTED = {Status.REFUSED, Status.EXPIRED, Status.CANCELLED}


# --- the server ------------------------------------------------------------------------------------------------------


def serve_for_ever(plant: Path, data: Path, told: Connection, messages: int) -> None:
    """As `twinloop up` does it, in a process that was forked just now."""
    import uvloop

    from control import app
    from control.logs import configure
    from control.stopping import stop_on_signals

    os.dup2(messages, 2)
    configure()

    async def run() -> None:
        stop = asyncio.Event()
        stop_on_signals(stop)
        config = app.Config(plant, data, "127.0.0.1", 0, {}, 0)
        await app.serve(config, lambda url, login, served: told.send_bytes(b"ready"), stop)

    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(run())


@dataclass
class Servers:
    """One server after the other on the same data folder."""

    plant: Path
    data: Path
    messages: int
    process: ForkServerProcess | None = None
    said: Connection | None = None

    def start(self) -> ForkServerProcess:
        from multiprocessing.reduction import DupFd

        self.said, telling = SERVER.Pipe(duplex=False)
        self.process = SERVER.Process(
            target=_serve, args=(self.plant, self.data, telling, DupFd(self.messages)), daemon=False
        )
        self.process.start()
        telling.close()
        return self.process

    def ready(self) -> None:
        assert self.said is not None and self.process is not None
        assert self.said.poll(READY_S), "the server did not start"
        self.said.recv_bytes()

    def stop(self) -> None:
        """No server is left, whatever went wrong: one that stays would keep this process from ending."""
        if self.process is not None and self.process.is_alive():
            self.end(signal.SIGKILL)

    def end(self, number: signal.Signals) -> int | None:
        assert self.said is not None and self.process is not None and self.process.pid is not None
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.process.pid, number)
        self.process.join()
        self.said.close()
        return self.process.exitcode


def _serve(plant: Path, data: Path, told: Connection, messages: Any) -> None:
    serve_for_ever(plant, data, told, messages.detach())


# --- the clients -----------------------------------------------------------------------------------------------------


@dataclass
class Operator:
    """One client: what it asked for, what was answered, and what it does not know the answer of."""

    number: int
    chance: random.Random
    values: Mapping[str, itertools.count[int]]
    asked: dict[str, dict[str, Any]] = field(default_factory=dict)
    taken: dict[str, str] = field(default_factory=dict)  # key -> id, once it was acknowledged
    doubtful: list[str] = field(default_factory=list)
    chosen: list[str] = field(default_factory=list)  # keys of selections that were not operated yet
    wrong: list[str] = field(default_factory=list)
    done: Counter[str] = field(default_factory=Counter)

    def work(self, client: Client, until_told: threading.Event) -> None:
        """As fast as answers come, until the server is gone."""
        try:
            while not until_told.is_set():
                self._step(client)
        except Unavailable:
            return
        finally:
            client.close()

    def _step(self, client: Client) -> None:
        throw = self.chance.random()
        if self.doubtful:  # nobody knows whether it was taken: asking again is what a key is for
            self._submit(client, self.doubtful[0], "again after a lost answer")
        elif throw < 0.7 or not self.taken:
            self._submit(client, self._new(), "new")
        elif throw < 0.8:
            self._submit(client, self.chance.choice(list(self.taken)), "again")
        elif throw < 0.85 and self.chosen:
            self._operate(client)
        elif throw < 0.88:
            self._submit_other(client, self.chance.choice(list(self.taken)))
        else:
            self._cancel(client)

    def _new(self) -> str:
        key = f"{self.number}-{len(self.asked)}"
        rack = DEVICES if self.chance.random() < 0.03 else self.chance.randrange(DEVICES)
        register = self.chance.randrange(self.number, REGISTERS, CLIENTS)  # each has its own
        name = point(rack, register)
        chosen = register < CHOSEN
        classes = {"emergency": 0 if chosen else 1, "safety": 3, "operator": 20, "schedule": 3, "optimiser": 3}
        priority = self.chance.choices(list(classes), list(classes.values()))
        deadline_s = self.chance.choice([0.1, 0.5, 3.0])
        self.asked[key] = {
            "key": key, "point": name, "value": next(self.values[name]), "priority": priority[0],
            "deadline_s": deadline_s, "select": chosen,
        }  # fmt: skip
        return key

    def _submit(self, client: Client, key: str, what: str) -> None:
        if key not in self.doubtful:
            self.doubtful.append(key)
        try:
            identity = client.post("/commands", self.asked[key])["id"]
        except Reserved:  # an answer, too: another selection of this point is open
            self.doubtful.remove(key)
            self.done["reserved"] += 1
            return
        self.doubtful.remove(key)
        if self.asked[key]["select"] and key not in self.taken:
            self.chosen.append(key)
        if self.taken.setdefault(key, identity) != identity:
            self.wrong.append(f"key {key} gave {self.taken[key]} and {identity}")
        self.done[what] += 1

    def _submit_other(self, client: Client, key: str) -> None:
        try:
            client.post("/commands", {**self.asked[key], "value": 0})
            self.wrong.append(f"key {key} was taken for another value")
        except Conflict:
            self.done["conflict"] += 1

    def _operate(self, client: Client) -> None:
        try:
            client.post(f"/commands/{self.taken[self.chosen.pop()]}/operate")
            self.done["operated"] += 1
        except Conflict:
            self.done["too late to operate"] += 1

    def _cancel(self, client: Client) -> None:
        key = list(self.taken)[-self.chance.randint(1, min(5, len(self.taken)))]
        try:
            client.post(f"/commands/{self.taken[key]}/cancel")
            self.done["cancelled"] += 1
        except Conflict:
            self.done["too late to cancel"] += 1


# --- the test --------------------------------------------------------------------------------------------------------


@dataclass
class Site:
    """Devices, operators and servers of one run."""

    devices: Counting
    servers: Servers
    operators: list[Operator]
    chance: random.Random

    def killed(self) -> None:
        """One server from its start to its end."""
        self.servers.start()
        if self.chance.random() < STARTING:
            time.sleep(self.chance.uniform(0, START_S))
            self.servers.end(signal.SIGKILL)
            return
        self.servers.ready()
        told = threading.Event()
        threads = [threading.Thread(target=o.work, args=(Client(self.servers.data), told)) for o in self.operators]
        for thread in threads:
            thread.start()
        time.sleep(self.chance.uniform(0, LOADED_S))
        self.servers.end(signal.SIGKILL)
        told.set()
        for thread in threads:
            thread.join()

    def settled(self) -> dict[str, Command]:
        """Every command by its id, once all have ended on a server that is left alone."""
        self.servers.start()
        self.servers.ready()
        client = Client(self.servers.data)
        for operator in self.operators:
            while operator.doubtful:
                operator._submit(client, operator.doubtful[0], "again after a lost answer")
        until(lambda: rows(client, OPEN), lambda left: left == [[0]])
        client.close()
        assert self.servers.end(signal.SIGTERM) == 0
        store = CommandStore(self.servers.data / COMMANDS_FILE)
        found = {c.id: c for c in store.newest(10**9)}
        store.close()
        return found


def rounds(folder: Path, kills: int, seed: int) -> None:
    """Kill `kills` times, then look at everything."""
    chance = random.Random(seed)
    with counting(folder, DEVICES, seed, MANNERS) as devices, (folder / "messages.log").open("w") as messages:
        plant = write_plant(
            folder / "plant", [*devices.ports, DEAD_PORT], REGISTERS, WITHIN_S, RULES, poll_s=0.2, timeout_s=0.5
        )
        racks = itertools.product(range(DEVICES + 1), range(REGISTERS))
        values = {point(*r): itertools.count(1) for r in racks}
        operators = [Operator(n, random.Random(f"{seed} {n}"), values) for n in range(CLIENTS)]
        site = Site(devices, Servers(plant, folder / "data", messages.fileno()), operators, chance)
        try:
            for _ in range(kills):
                site.killed()
            found = site.settled()
        finally:
            site.servers.stop()
        check(found, operators, devices)
    done = sum((o.done for o in operators), Counter[str]())
    print(kills, "kills", dict(done), dict(Counter(c.status.value for c in found.values())), len(devices.writes()))
    assert done["new"] > 10 * kills and done["again after a lost answer"] > kills / 10
    assert report_ok(folder / "data") == []


def report_ok(data: Path) -> list[Any]:
    problems: list[Any] = offline.verify(data)["problems"]
    return problems


def check(found: Mapping[str, Command], operators: list[Operator], devices: Counting) -> None:
    writes = Counter((point(w.device, w.register), w.value) for w in devices.writes())
    assert [o.wrong for o in operators if o.wrong] == []
    assert {k: n for k, n in writes.items() if n > 1} == {}, "a value was written twice"
    lost = [key for o in operators for key, identity in o.taken.items() if identity not in found]
    assert lost == [], "an acknowledged command is not there"
    assert [c for c in found.values() if not c.final] == []
    ours = {
        (str(o.asked[k]["point"]), int(o.asked[k]["value"])): found[i] for o in operators for k, i in o.taken.items()
    }
    assert len(ours) == len(found), "a command that nobody asked for, or one twice"
    assert [w for w in writes if w not in ours] == [], "written, and nobody asked for it"
    for key, command in ours.items():
        assert (command.point, command.value) == (key[0], float(key[1]))
        assert wrong(command, writes[key]) == "", command


def wrong(command: Command, times: int) -> str:
    """What the number of writes has against the command's life, "" for nothing."""
    steps = [t.status for t in command.transitions]
    if command.status is Status.CONFIRMED and times != 1:
        return "confirmed, and never written"
    if command.status in NEVER_ACTED and times:
        return "ended without an effect, and was written"
    if times and Status.SELECTED in steps and not any(t.detail == "operated" for t in command.transitions):
        return "written, and nobody operated it"
    if times and Status.SENT not in steps:
        return "written before it was recorded"
    if Status.ACKNOWLEDGED in steps and not times:
        return "acknowledged, and never written"
    return ""


def killed(folder: Path, kills: int, seed: int) -> None:
    """In a process of its own, whose fork server has loaded what a server needs: a start takes a third of a second."""
    program = (
        "import sys; from pathlib import Path; from tests.plant.test_command_kill import rounds; "
        "rounds(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))"
    )
    # One thread of BLAS: the fork server must have none of its own.
    environment = os.environ | {"OPENBLAS_NUM_THREADS": "1"}
    done = subprocess.run(
        [sys.executable, "-c", program, str(folder), str(kills), str(seed)],
        capture_output=True, text=True, check=False, env=environment,
    )  # fmt: skip
    print(done.stdout)
    messages = folder / "messages.log"
    said = messages.read_text()[-4000:] if messages.exists() else ""
    assert done.returncode == 0, done.stderr[-6000:] + said


@pytest.mark.timeout(240)
def test_a_server_killed_under_load_loses_no_command_and_doubles_no_write(tmp_path: Path) -> None:
    killed(tmp_path, 15, 3)


@pytest.mark.soak
def test_a_server_killed_two_hundred_times_loses_no_command_and_doubles_no_write(tmp_path: Path) -> None:
    killed(tmp_path, 200, 4)
