"""A federation over real sockets: what leaves a site, who is let in, who is put out, and that it goes on whatever dies."""

from __future__ import annotations

import asyncio
import contextlib
import dataclasses
import json
import multiprocessing
import os
import signal
import socket
import struct
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect
from websockets.typing import Subprotocol

from control import certs
from control.api.wire import SUBPROTOCOL, Ping, Problem
from control.api.wire_federation import (
    FederationJoin,
    FederationOutcome,
    FederationPart,
    FederationPlan,
    FederationRound,
)
from control.federation import checked_url, from_coordinator, from_site, secret_of, to_bytes
from control.federation_server import ADDRESS_FILE, STATE_FILE, TOKEN_FILE, Config, coordinate
from control.federation_site import Joining, Member
from ml import masking, model_file
from ml.federated import Plan
from ml.federated_rounds import Limits, Rounds
from ml.federated_site import Own, Site
from ml.model_file import CODE
from ml.records import DataSet
from ml.registry import Registry
from ml.training import Cancelled, Course
from protocols.pki import Pki
from tests.ml.sites import COLUMNS, OPTIONS, UNITS, a_site, federated
from twin.errors import (
    BadRequest,
    Conflict,
    Denied,
    LimitExceeded,
    NotFound,
    Refused,
    TwinloopError,
    Unavailable,
    WrongUnit,
)

PLAN = Plan(COLUMNS, UNITS, OPTIONS, rounds=0)
OPEN = dataclasses.replace(PLAN, secure=False)
FORK = multiprocessing.get_context("forkserver")
FORK.set_forkserver_preload(
    [__name__, "control.cli", "control.learning", "control.models", "ml.tables", "torch._dynamo"]
)


async def until(holds: Callable[[], bool], deadline_s: float = 40.0) -> None:
    end = time.monotonic() + deadline_s
    while not holds():
        assert time.monotonic() < end
        await asyncio.sleep(0.01)


class Federation:
    """A coordinator in this loop, and what it said."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.said, self.url, self.stop = folder, list[str](), "", asyncio.Event()
        self.task: asyncio.Task[dict[str, Any]] | None = None

    @property
    def token(self) -> str:
        return (self.folder / TOKEN_FILE).read_text().strip()

    def member(self, n: int, data: DataSet | None = None, site: str = "", **said: Any) -> Member:
        joining = Joining(**{"url": self.url, "site": site or f"s{n}", "token": self.token, "patience_s": 20.0, **said})
        return Member(joining, a_site(n) if data is None else data, Course(), lambda words: None)

    async def heard(self, words: str) -> None:
        await until(lambda: any(words in line for line in self.said))


@contextlib.asynccontextmanager
async def serving(folder: Path, plan: Plan = PLAN, port: int = 0, **said: Any) -> AsyncIterator[Federation]:
    made = Federation(folder)
    limits = Limits(**{"sites": plan.sites_min, "wait_s": 30.0, "answer_s": 30.0, **said.pop("limits", {})})
    config = Config(
        **{"plan": plan, "limits": limits, "folder": folder, "host": "127.0.0.1", "port": port, "pki": None, **said}
    )

    async def run() -> dict[str, Any]:
        with coordinate(config, lambda share, words: made.said.append(words), made.stop) as at_work:
            return await at_work.run(lambda url: setattr(made, "url", url))

    made.task = asyncio.create_task(run())
    try:
        await until(lambda: bool(made.url) or made.task.done())  # type: ignore[union-attr]
        yield made
    finally:
        made.stop.set()
        with contextlib.suppress(TwinloopError):
            await made.task


async def all_of(*members: Member) -> list[Own]:
    return [own for own, _ in await asyncio.gather(*(asyncio.to_thread(m.run) for m in members))]


async def test_three_sites_make_one_model_and_each_judges_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as federation:
        found = await all_of(*(federation.member(n, a_site(n, 600, devices=4)) for n in range(3)))
        assert federation.task is not None
        told = await federation.task
    common = model_file.read(tmp_path / "model.safetensors")
    assert told["done"] and told["model"] == common.hash and set(told["sites"]) == {"s0", "s1", "s2"}
    assert common.manifest.settings["federated"]["sites"] == ["s0", "s1", "s2"]
    plain, _ = federated(PLAN, {f"s{n}": Site(PLAN, a_site(n, 600, devices=4)) for n in range(3)})
    assert np.allclose(common.tensors["ridge.weights"], plain.tensors["ridge.weights"], rtol=0, atol=1e-10)
    for n, own in enumerate(found):
        assert own.model.manifest.parent == common.hash
        assert told["sites"][f"s{n}"]["reason"] == own.reason and "the champion: gain" in own.reason
    assert not (tmp_path / STATE_FILE).exists()


# --- what leaves a site --------------------------------------------------------------------------------------------------


class Wire:
    """Between a site and the coordinator: keeps every byte that the site sends."""

    def __init__(self, port: int) -> None:
        self._listener, self._to, self.sent = socket.create_server(("127.0.0.1", 0)), port, bytearray()
        self.port = self._listener.getsockname()[1]
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        site, _ = self._listener.accept()
        with site, socket.create_connection(("127.0.0.1", self._to)) as there:
            back = threading.Thread(target=self._pass, args=(there, site, None), daemon=True)
            back.start()
            self._pass(site, there, self.sent)
            back.join(10.0)

    def _pass(self, source: socket.socket, target: socket.socket, kept: bytearray | None) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65_536):
                if kept is not None:
                    kept += data
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)

    def messages(self) -> tuple[bytes, list[bytes]]:
        """The head of HTTP, and the payload of each frame with the masking of RFC 6455 taken off."""
        head, _, rest = bytes(self.sent).partition(b"\r\n\r\n")
        found: list[bytes] = []
        while rest:
            kind, size, place = rest[0], rest[1] & 0x7F, 2
            if size > 125:
                place = 4 if size == 126 else 10
                (size,) = struct.unpack(">H" if size == 126 else ">Q", rest[2:place])
            key, body = rest[place : place + 4], rest[place + 4 : place + 4 + size]
            if kind & 0x0F in (0, 1, 2):
                pad = np.frombuffer(key * (size // 4 + 1), np.uint8)[:size]
                plain = (np.frombuffer(body, np.uint8) ^ pad).tobytes()
                found.append(plain) if kind & 0x0F else found.append(found.pop() + plain)
            rest = rest[place + 4 + size :]
        return head, found


@pytest.mark.parametrize(
    "plan", [OPEN, dataclasses.replace(OPEN, scaling="common"), PLAN], ids=["open", "common", "masked"]
)
async def test_no_row_and_no_value_leaves_a_site_however_many_it_has(tmp_path: Path, plan: Plan) -> None:
    sizes = []
    for rows in (700, 2_100):
        async with serving(tmp_path / str(rows), dataclasses.replace(plan, sites_min=3)) as federation:
            wire = Wire(int(federation.url.rpartition(":")[2]))
            data = a_site(0, rows)
            watched = federation.member(0, data, url=f"ws://127.0.0.1:{wire.port}", open_=True)
            await all_of(watched, *(federation.member(n, open_=True) for n in (1, 2)))
            await federation.heard("s2: ")
        head, messages = wire.messages()
        said = [from_site(m) for m in messages]
        parts = [m for m in said if isinstance(m, FederationPart)]
        assert [type(m) for m in said if m not in parts] == [FederationJoin, FederationOutcome] and len(parts) == 6
        values = data.stacked().reshape(-1)
        scaled = (data.stacked() - data.stacked()[: int(0.6 * rows)].mean(0)) / data.stacked()[: int(0.6 * rows)].std(0)
        told = np.sort(np.concatenate([
            masking.decoded(masking.from_bytes(p.numbers, len(p.numbers) // masking.WIDTH)) for p in parts
        ]))  # fmt: skip
        for secret in (values, scaled.reshape(-1)):
            near = told[np.clip(np.searchsorted(told, secret), 0, len(told) - 1)]
            below = told[np.clip(np.searchsorted(told, secret) - 1, 0, len(told) - 1)]
            gap = np.minimum(np.abs(near - secret), np.abs(below - secret)) / np.maximum(np.abs(secret), 1e-6)
            assert (gap < 1e-12).sum() == 0
        whole = head + b"".join(messages)
        for value in values:
            for form in (struct.pack("<d", value), struct.pack(">d", value), repr(float(value)).encode(),
                         masking.to_bytes(masking.encoded(np.array([value])))):  # fmt: skip
                assert form not in whole
        sizes.append(len(wire.sent))
    assert abs(sizes[1] - sizes[0]) < 200  # the words of its verdict


# --- who is let in -------------------------------------------------------------------------------------------------------


async def test_nobody_takes_part_without_the_token_and_nothing_is_plain_beyond_this_machine(tmp_path: Path) -> None:
    async with serving(tmp_path) as federation:
        with pytest.raises(Denied, match="token"):
            await all_of(federation.member(0, token="x" * 43))
        assert (tmp_path / TOKEN_FILE).stat().st_mode & 0o077 == 0
    with pytest.raises(Refused, match="not encrypted"):
        checked_url("ws://plant.works.local:8090")
    with pytest.raises(BadRequest, match="no address"):
        checked_url("plant:8090")
    async with serving(tmp_path / "b", host="0.0.0.0") as federation:
        assert federation.task is not None
        with pytest.raises(Refused, match="without encryption"):
            await federation.task


def test_a_secret_comes_from_a_file_of_its_owner_or_the_environment(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "token"
    with pytest.raises(NotFound):
        secret_of(file)
    file.write_text("0123456789abcdef\n")
    file.chmod(0o644)
    with pytest.raises(Refused, match="chmod 600"):
        secret_of(file)
    file.chmod(0o600)
    assert secret_of(file) == "0123456789abcdef"
    file.write_text("short")
    with pytest.raises(BadRequest, match="16 or more"):
        secret_of(file)
    monkeypatch.setenv("TOKEN_OF_TEST", "fedcba9876543210")
    assert secret_of(None, "TOKEN_OF_TEST") == "fedcba9876543210" and secret_of(None, "NOT_THERE") == ""


async def test_beyond_this_machine_sites_believe_only_the_certificate_that_they_trust(tmp_path: Path) -> None:
    ours, theirs = Pki(tmp_path / "ours"), Pki(tmp_path / "theirs")
    wanted = certs.identity("coordinator", "", "", ("127.0.0.1",))
    certs.init(ours, wanted, 2048, 30, False, datetime.now(UTC))
    (tmp_path / "theirs/trusted").mkdir(parents=True)
    async with serving(tmp_path / "state", host="127.0.0.1", pki=ours.folder) as federation:
        assert federation.url.startswith("wss://")
        with pytest.raises(Refused, match="is not believed"):
            await all_of(federation.member(0, pki=theirs.folder))
        certs.trust(theirs, str(ours.own_certificate_path), False)
        found = await all_of(*(federation.member(n, pki=theirs.folder, secret="only the sites know") for n in range(3)))
    assert len({own.model.manifest.parent for own in found}) == 1


async def test_a_site_with_another_secret_is_found_out_by_the_others(tmp_path: Path) -> None:
    async with serving(tmp_path, limits={"wait_s": 1.0}) as federation:
        tasks = [asyncio.to_thread(federation.member(n, secret=f"the sites' secret {n // 2}").run) for n in range(3)]
        found = await asyncio.gather(*tasks, return_exceptions=True)
    assert any(isinstance(e, Refused) and "is not proven" in str(e) for e in found)
    assert not any(isinstance(e, tuple) for e in found)


async def test_a_site_does_not_give_what_the_coordinator_would_see_unless_it_agrees(tmp_path: Path) -> None:
    async with serving(tmp_path, OPEN) as federation:
        with pytest.raises(Refused, match="agree to it with --open"):
            await all_of(federation.member(0))
        other = dataclasses.replace(a_site(1), units=("m", "l/s"))
        with pytest.raises(WrongUnit, match="flow is in l/s"):
            await all_of(federation.member(1, other, open_=True))
        await federation.heard("flow is in l/s")


# --- who is put out ------------------------------------------------------------------------------------------------------


class Stranger:
    """A program that speaks the protocol by hand."""

    def __init__(self, federation: Federation, site: str) -> None:
        self._link = connect(
            federation.url,
            additional_headers={"Authorization": f"Bearer {federation.token}"},
            proxy=None,
            max_size=None,
            subprotocols=[Subprotocol(SUBPROTOCOL)],
        )
        self.next()
        plan = self.next()
        assert isinstance(plan, FederationPlan)
        self.send(FederationJoin(site, CODE, plan.hash, [], 500, 0.0, os.urandom(32), b""))

    def send(self, message: Any) -> None:
        self._link.send(to_bytes(message))

    def next(self, kind: type[Any] = object) -> Any:
        """The next message of a kind, or the end of the connection in words."""
        while True:
            try:
                found = from_coordinator(self._link.recv(timeout=10))
            except ConnectionClosed:
                return "closed"
            if isinstance(found, kind | Problem):
                return found


async def test_old_answers_wrong_shapes_and_nonsense_put_a_site_out_and_the_others_finish(tmp_path: Path) -> None:
    plan = dataclasses.replace(OPEN, sites_min=3)
    async with serving(tmp_path, plan, limits={"sites": 6}) as federation:
        good = [asyncio.create_task(asyncio.to_thread(federation.member(n, open_=True).run)) for n in range(3)]
        await federation.heard("s2 is there")
        bad = [await asyncio.to_thread(Stranger, federation, name) for name in ("old", "wide", "wild")]
        four = masking.to_bytes(masking.encoded(np.ones(4)))
        said, newest = [], 0
        for one, answer in zip(bad, (lambda n: FederationPart(n - 1, four, 0.0), lambda n: FederationPart(n, four + four, 0.0),
                                     lambda n: Ping()), strict=True):  # fmt: skip
            while (asked := await asyncio.to_thread(one.next, FederationRound)).round <= newest:
                pass  # asked before the one before was put out
            newest = asked.round
            one.send(answer(newest))
            said.append(await asyncio.to_thread(one.next, Problem))
        assert "which nobody asks of it" in said[0].message and "bytes instead of" in said[1].message
        assert said[2].code == "bad_request" and "no message" in said[2].message
        await asyncio.gather(*good)
        await federation.heard("asked again of")
    assert {"s0", "s1", "s2"} == set(
        model_file.read(tmp_path / "model.safetensors").manifest.settings["federated"]["sites"]
    )
    assert any("old is put out" in line for line in federation.said)


async def test_a_site_that_does_not_answer_is_put_out_in_time(tmp_path: Path) -> None:
    async with serving(
        tmp_path, dataclasses.replace(OPEN, sites_min=2), limits={"sites": 3, "answer_s": 1.5}
    ) as federation:
        slow = await asyncio.to_thread(Stranger, federation, "slow")
        good = [asyncio.create_task(asyncio.to_thread(federation.member(n, open_=True).run)) for n in range(2)]
        said = await asyncio.to_thread(slow.next, Problem)
        assert said.code == LimitExceeded.code and "no answer within 1.5 s" in said.message
        await asyncio.gather(*good)
    assert any("slow is put out" in line for line in federation.said)


async def test_wild_values_never_leave_a_site(tmp_path: Path) -> None:
    wild = a_site(3)
    wild.records[0].values[::7] = [3e14, 1.0]
    async with serving(tmp_path, dataclasses.replace(PLAN, scaling="common")) as federation:
        good = [asyncio.create_task(asyncio.to_thread(federation.member(n).run)) for n in range(3)]
        with pytest.raises(Conflict, match="a site s0 already"):
            await federation.heard("s0 is there")
            await all_of(federation.member(0, a_site(3)))
        await asyncio.gather(*good)
    async with serving(tmp_path / "b", dataclasses.replace(PLAN, scaling="common"), limits={"sites": 4}) as federation:
        good = [asyncio.create_task(asyncio.to_thread(federation.member(n).run)) for n in range(3)]
        with pytest.raises(Refused, match=r"mean: number \d"):
            await all_of(federation.member(3, wild))
        await federation.heard("s3 says: mean: number")
        await asyncio.gather(*good)


# --- what dies -----------------------------------------------------------------------------------------------------------


async def test_a_coordinator_that_is_stopped_goes_on_and_the_sites_wait_for_it(tmp_path: Path) -> None:
    plan = dataclasses.replace(PLAN, rounds=3, steps=1)
    async with serving(tmp_path, plan) as first:
        members = [asyncio.create_task(asyncio.to_thread(first.member(n).run)) for n in range(3)]
        await first.heard("ridge, held-out error")
        first.stop.set()
        assert first.task is not None and (await first.task)["done"] is False
    assert (tmp_path / STATE_FILE).is_file()
    async with serving(tmp_path, dataclasses.replace(plan, seed=9)) as other:
        assert other.task is not None
        with pytest.raises(Conflict, match="of another plan"):
            await other.task
    async with serving(tmp_path, plan, port=int(first.url.rpartition(":")[2])) as again:
        await asyncio.gather(*members)
        assert again.task is not None
        await again.task
    assert any("goes on after round" in line for line in again.said) and not any(
        "means of" in line for line in again.said
    )
    assert model_file.read(tmp_path / "model.safetensors").manifest.settings["federated"]["sites"] == ["s0", "s1", "s2"]


async def test_a_bug_of_the_coordinator_ends_it_at_once_and_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with serving(tmp_path) as federation:
        monkeypatch.setattr(Rounds, "part", lambda *_: 1 / 0)
        members = [asyncio.create_task(asyncio.to_thread(federation.member(n, patience_s=0.2).run)) for n in range(3)]
        assert federation.task is not None
        with pytest.raises(ZeroDivisionError):
            await federation.task
        found = await asyncio.gather(*members, return_exceptions=True)
        federation.task = asyncio.create_task(asyncio.sleep(0, {}))
    assert all(isinstance(e, Unavailable) for e in found)


async def test_a_site_that_is_stopped_by_its_people_gives_nothing_more(tmp_path: Path) -> None:
    async with serving(tmp_path) as federation:
        member = federation.member(0)
        task = asyncio.create_task(asyncio.to_thread(member.run))
        await federation.heard("s0 is there")
        member.course.cancel.set()
        with pytest.raises(Cancelled):
            await task
        await federation.heard("s0 is gone")


def test_without_a_coordinator_a_site_says_so_when_its_patience_ends() -> None:
    member = Member(Joining("ws://127.0.0.1:9", "a", "x" * 20, patience_s=0.1), a_site(0), Course(), lambda words: None)
    with pytest.raises(Unavailable, match="does not answer"):
        member.run()


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (("join", "ws://127.0.0.1:9", "s.csv", "--site", "a", "--out", "m"), 2, "no token"),
        (("join", "ws://plant.works.local:9", "s.csv", "--site", "a", "--out", "m"), 6, "not encrypted"),
        (("join", "ws://127.0.0.1:9", "s.csv", "--site", "a", "--token-file", "token"), 2, "nowhere to put the model"),
        (("join", "ws://127.0.0.1:9", "s.csv", "--site", "a", "--token-file", "token", "--out", "m"), 4, "no file"),
        (("serve", "--columns", "flow", "--sites", "3", "--sites-min", "4"), 2, "--sites 3 with --sites-min 4"),
        (("serve", "--columns", "flow", "--sites-min", "2"), 2, "know the other's part"),
        (("serve", "--columns", "flow", "--set", "horzon=3"), 2, "horizon"),
        (
            ("serve", "--columns", "flow", "--state", "state", "--host", "0.0.0.0", "--port", "0"),
            6,
            "without encryption",
        ),
    ],
)
def test_mistakes_in_words_are_named_with_the_right_exit_code(
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    words: Any,
    code: int,
    said: str,
) -> None:
    from control import cli

    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("TWINLOOP_FEDERATION_TOKEN", raising=False)
    Path("token").write_text("0123456789abcdef")
    Path("token").chmod(0o600)
    monkeypatch.setattr(sys, "argv", ["twinloop", "federate", *words])
    with pytest.raises(SystemExit) as left:
        cli.main()
    assert left.value.code == code and said in capsys.readouterr().err


def work(folder: str, name: str, words: list[str]) -> None:
    """In a process of its own: the command line, its two outputs in files."""
    from control import cli

    os.chdir(folder)
    for number, kind in ((1, "out"), (2, "err")):
        os.dup2(os.open(f"{name}.{kind}", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), number)
    sys.argv = ["twinloop", "federate", *words]
    cli.main()


@contextlib.contextmanager
def processes(folder: Path) -> Iterator[Any]:
    made: dict[str, Any] = {}

    def start(name: str, *words: object) -> Any:
        made[name] = FORK.Process(target=work, args=(str(folder), name, [str(w) for w in words]), daemon=True)
        made[name].start()
        return made[name]

    try:
        yield start
    finally:
        for process in made.values():
            process.kill()
            process.join(10.0)


async def test_four_sites_as_processes_finish_when_one_of_them_is_killed_in_a_round(tmp_path: Path) -> None:
    for n in range(4):
        data = a_site(n, 500, devices=3)
        rows = [
            f"{t:g},{r.device},{v[0]!r},{v[1]!r}"
            for r in data.records
            for t, v in zip(r.time_s, r.values.tolist(), strict=True)
        ]
        (tmp_path / f"s{n}.csv").write_text("\n".join(["t,tank,level,flow", *rows]) + "\n")
    with processes(tmp_path) as start:
        server = start(
            "serve", "serve", "--columns", "level,flow", "--sites", 4, "--rounds", 0, "--set", "lookback=24",
            "--set", "horizon=6", "--port", 0, "--state", "state", "--json",
        )  # fmt: skip
        await until((tmp_path / "state" / ADDRESS_FILE).is_file, 100.0)
        url = json.loads((tmp_path / "state" / ADDRESS_FILE).read_text())["url"]

        def a_member(n: int) -> Any:
            return start(
                f"s{n}", "join", url, f"s{n}.csv", "--site", f"s{n}", "--token-file", "state/token", "--time", "t",
                "--device", "tank", "--registry", f"models{n}", "--json",
            )  # fmt: skip

        def said(words: str) -> bool:
            return words in (tmp_path / "serve.err").read_text()

        lost = a_member(3)
        await until(lambda: said("s3 is there"), 100.0)
        os.kill(lost.pid, signal.SIGSTOP)  # it is asked with the others, and dies before it answers
        sites = [a_member(n) for n in range(3)]
        await until(lambda: all(said(f"s{n} is there") for n in range(3)), 100.0)
        os.kill(lost.pid, signal.SIGKILL)
        for process in (*sites, lost, server):
            await asyncio.to_thread(process.join, 100.0)
        assert [p.exitcode for p in (*sites, lost, server)] == [0, 0, 0, -signal.SIGKILL, 0]
        assert said("s3 is gone") and said("asked again of 3 sites")
    told = json.loads((tmp_path / "serve.out").read_text())
    assert (
        told["done"]
        and set(told["sites"]) == {"s0", "s1", "s2"}
        and "s3 is gone" in (tmp_path / "serve.err").read_text()
    )
    for n in range(3):
        own = json.loads((tmp_path / f"s{n}.out").read_text())
        registry = Registry(tmp_path / f"models{n}")
        kept = registry.read(registry.find(own["model"]).model)
        assert own["common"] == told["model"] and own["better"] == (kept.manifest.parent == told["model"])
        assert {"seen.runs", "drift.quantiles"} <= set(kept.tensors)
