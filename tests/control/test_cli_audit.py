"""`twinloop audit` against a real server with a real witness: levels of each entry, alarms, proofs that travel."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from control import cli
from ledger.log import Log
from tests.control.command_site import CommandSite, command_site
from tests.plant.site import until

ROOT = Path(__file__).parents[2]
Run = Callable[..., tuple[int, str, str]]


class Witness:
    """A witness in a process of its own, on a port of its own for all its lives."""

    def __init__(self, folder: Path, log_key: str) -> None:
        self._folder, self._log_key = folder, log_key
        self.line = ""
        self._process: subprocess.Popen[str] | None = None

    def start(self) -> str:
        port = self.line.partition(" ")[0].rpartition(":")[2] or "0"
        words = ["witness", str(self._folder), "--name", "witness.example/w1", "--log", self._log_key, "--port", port]
        self._process = subprocess.Popen(
            [sys.executable, "-m", "ledger", *words],
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT)},
        )
        assert self._process.stdout is not None
        self.line = self._process.stdout.readline().strip()
        threading.Thread(target=self._process.stdout.read, daemon=True).start()
        return self.line

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @property
    def vkey(self) -> str:
        return self.line.partition(" ")[2]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[CommandSite, Witness]]:
    folder = tmp_path_factory.mktemp("audit")
    made: list[Witness] = []

    def witnessed(data: Path) -> None:
        with Log.open(data / "ledger", "twinloop.local/works"):
            key = (data / "ledger" / "key.pub").read_text().strip()
        made.append(Witness(folder / "witness", key))
        (data / "ledger" / "witnesses").write_text(made[0].start() + "\n")

    try:
        with command_site(folder, prepare=witnessed) as site:
            yield site, made[0]
    finally:
        made[0].kill()


@pytest.fixture
def run(works: tuple[CommandSite, Witness], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout, stderr) of `twinloop audit WORDS`."""

    def twinloop(*words: str) -> tuple[int, str, str]:
        monkeypatch.setattr(sys, "argv", ["twinloop", "audit", *words, "--data", str(works[0].site.data)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        said = capsys.readouterr()
        return int(ended.value.code or 0), said.out, said.err

    return twinloop


def stranger(*words: str) -> tuple[int, str]:
    """`python -m ledger` somewhere else, where nothing of the server is."""
    done = subprocess.run(
        [sys.executable, "-m", "ledger", *words],
        check=False,
        capture_output=True,
        text=True,
        cwd="/",
        env={"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)},
        timeout=60,
    )
    return done.returncode, done.stdout + done.stderr


def head_of(run: Run) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(run("show", "--last", "50", "--json")[1])
    return found


def metric(site: CommandSite, name: str) -> float:
    text = httpx.get(f"{site.client.url}/metrics").text
    return float(next(line.rpartition(" ")[2] for line in text.splitlines() if line.startswith(name)))


@pytest.fixture(scope="module")
def command(works: tuple[CommandSite, Witness]) -> str:
    """Id of a command that was carried out."""
    site, _ = works
    site.show({"tank.level": 2.0})
    asked = {"key": "k1", "point": "pump.status", "value": 1.0, "reason": "to prove it"}
    identity: str = site.client.post("/commands", asked)["id"]
    site.status(identity, "CONFIRMED")
    return identity


def reached(run: Run, level: str, size: int) -> dict[str, Any]:
    def look() -> dict[str, Any]:
        run("anchor")
        return head_of(run)

    return until(look, lambda head: head[level] >= size, 30)


def test_every_entry_says_each_level_for_itself(run: Run, works: tuple[CommandSite, Witness], command: str) -> None:
    size = head_of(run)["size"]
    reached(run, "anchored", size)
    head = reached(run, "witnessed", size)
    sizes = {"recorded": head["size"]} | {level: head[level] for level in ("checkpointed", "witnessed", "anchored")}
    for entry in head["entries"]:
        assert entry["levels"] == [level for level, reach in sizes.items() if entry["index"] < reach]
    assert head["entries"][-1]["levels"] == ["recorded", "checkpointed", "witnessed", "anchored"]
    assert (head["chain"], head["witness_alarm"], head["anchor_alarm"]) == ("embedded", "", "")
    assert [(w["name"], w["failure"], w["conflict"]) for w in head["witnesses"]] == [("witness.example/w1", "", False)]
    assert metric(works[0], "twinloop_entries_witnessed") >= size
    code, out, _ = run("show", "--last", "50")
    assert code == 0
    assert "checkpointed, witnessed, anchored" in out
    assert "witness witness.example/w1:" in out


def test_a_witness_that_is_away_is_told_and_what_it_has_not_seen_is_anchored_and_not_witnessed(
    run: Run, works: tuple[CommandSite, Witness]
) -> None:
    site, witness = works
    witness.kill()
    site.client.post("/commands", {"key": "k2", "point": "pump.status", "value": 0.0, "reason": "unseen"})
    before = head_of(run)
    head = reached(run, "anchored", before["size"])
    newest = next(entry for entry in head["entries"] if entry["index"] == before["size"] - 1)
    assert newest["levels"] == ["recorded", "checkpointed", "anchored"]
    until(lambda: head_of(run)["witnesses"][0]["failure"], bool, 20)
    assert metric(site, 'twinloop_witness_failing_seconds{witness="witness.example/w1"}') > 0
    assert metric(site, "twinloop_witness_alarm") == 0.0  # not yet: it may be a restart
    assert "not for" in run("show")[1]
    witness.start()
    reached(run, "witnessed", before["size"])
    assert metric(site, 'twinloop_witness_failing_seconds{witness="witness.example/w1"}') == 0.0


def test_a_command_is_proved_to_a_stranger_who_has_the_bundle_alone(
    run: Run, works: tuple[CommandSite, Witness], command: str, tmp_path: Path
) -> None:
    key = (works[0].site.data / "ledger" / "key.pub").read_text().strip()
    size = head_of(run)["size"]
    reached(run, "anchored", size)
    reached(run, "witnessed", size)
    file = tmp_path / "command.json"
    assert run("prove", "--command", command, "-o", str(file))[0] == 0
    code, out = stranger("verify-bundle", str(file), "--key", key, "--witness", works[1].vkey)
    assert code == 0, out
    for said in (
        f"proof of    command {command}",
        '"status": "CONFIRMED"',
        f"of command {command} are all here",
        "checked     witness.example/w1 cosigned that checkpoint at 20",
        "NOT CHECKED whether chain",
        "NOT CHECKED whether what was recorded is true",
        "\nverified",
    ):
        assert said in out
    bundle = json.loads(file.read_text())
    steps = works[0].client.get(f"/commands/{command}")["transitions"]
    assert len(bundle["entries"]) >= len(steps)
    bundle["entries"].pop(1)
    file.write_text(json.dumps(bundle))
    assert stranger("verify-bundle", str(file), "--key", key)[0] == 3


def test_a_reading_is_proved_with_the_batch_that_it_is_in(
    run: Run, works: tuple[CommandSite, Witness], tmp_path: Path
) -> None:
    reached(run, "anchored", head_of(run)["size"])
    file = tmp_path / "reading.json"

    def proved() -> int:
        return run("prove", "--point", "tank.level", "--with-data", "-o", str(file))[0]

    until(proved, lambda code: code == 0, 20)  # its batch is recorded within a second
    code, out = stranger("verify-bundle", str(file))
    assert code == 0, out
    assert "reading     tank.level = 2.0, status 0x00000000, at 20" in out
    assert "their SHA-256 is the recorded one" in out
    batch = json.loads(file.read_text())["about"]["batch"]
    assert run("prove", "--batch", str(batch), "-o", str(file))[0] == 0
    code, out = stranger("verify-bundle", str(file))
    assert (code, "NOT CHECKED the rows of batch" in out) == (0, True)


def written() -> list[list[str]]:
    """The words after `twinloop audit` of every line of the guide that makes a proof."""
    lines = (ROOT / "docs" / "evidence.md").read_text().splitlines()
    return [shlex.split(line, comments=True)[2:] for line in lines if line.startswith("twinloop audit prove")]


@pytest.mark.parametrize("words", written(), ids=" ".join)
def test_the_guide_to_a_stranger_works_as_it_is_written(
    run: Run, works: tuple[CommandSite, Witness], command: str, tmp_path: Path, words: list[str]
) -> None:
    key = (works[0].site.data / "ledger" / "key.pub").read_text().strip()
    file = str(tmp_path / "proof.json")
    here = {"019f…": command, "7": "0", "tank_1.level": "tank.level", "-15m": "-0.1s", "proof.json": file}
    said = [here.get(word, word) for word in words]
    until(lambda: run(*said)[0], lambda code: code == 0, 20)
    code, out = stranger("verify-bundle", file, "--key", key)
    assert code == 0, out


@pytest.mark.parametrize(
    ("words", "code"),
    [
        ((), 2),
        (("3", "--command", "x"), 2),
        (("--at", "now"), 2),
        (("--batch", "3", "--at", "now"), 2),
        (("--point", "tank.level", "--at", "teatime"), 2),
        (("--command", "nobody"), 4),
        (("--point", "tank.colour"), 4),
        (("--batch", "123456"), 4),
        (("999999",), 4),
    ],
)
def test_a_proof_of_nothing_or_of_what_is_not_there_says_so(run: Run, words: tuple[str, ...], code: int) -> None:
    assert run("prove", *words)[0] == code


def test_the_same_proofs_come_from_the_files_of_a_stopped_server(
    run: Run, works: tuple[CommandSite, Witness], command: str, tmp_path: Path
) -> None:
    site, witness = works
    online = tmp_path / "online.json"
    assert run("prove", "--command", command, "-o", str(online))[0] == 0
    assert site.site.server is not None
    assert site.site.server.stop() == 0
    for words in (("--command", command), ("--point", "tank.level", "--with-data"), ("0",)):
        file = tmp_path / "offline.json"
        assert run("prove", *words, "-o", str(file))[0] == 0
        assert stranger("verify-bundle", str(file), "--witness", witness.vkey)[0] == 0
    code, out = stranger("verify", str(site.site.data / "ledger"), "--witness", witness.vkey)
    assert code == 0, out
    size = int(re.search(r"recorded +(\d+)", out)[1])  # type: ignore[index]
    for level in ("checkpointed", "witnessed", "anchored"):  # the stop brought all of it to every level
        assert re.search(rf"{level} +{size} entries", out), out
    code, out, _ = run("verify", "--witness", witness.vkey)
    words = out.split()
    assert code == 0
    assert f"recorded {size}, checkpointed {size}, witnessed {size}, anchored {size}" in " ".join(words)
    assert "witnessed not checked (--witness)" in " ".join(run("verify")[1].split())
