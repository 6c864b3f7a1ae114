"""`twinloop chain` and `twinloop audit anchor` against a real server with its embedded chain."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from control import cli
from tests.control.command_site import CommandSite, command_site

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest.fixture
def run(works: CommandSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout) of `twinloop WORDS`."""

    def twinloop(*words: str) -> tuple[int, str]:
        monkeypatch.setattr(sys, "argv", ["twinloop", *words, "--data", str(works.site.data)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return twinloop


def test_a_device_is_registered_shown_and_revoked(run: Run, tmp_path: Path) -> None:
    key, why = tmp_path / "key.pem", tmp_path / "why.txt"
    key.write_text("a public key")
    why.write_text("stolen")
    assert run("chain", "show", "device", "plc")[0] == 4  # the registry itself is not there yet
    code, out = run("chain", "register-device", "plc", "--key", str(key), "--json")
    entry = json.loads(out)["entry"]
    assert code == 0
    code, out = run("chain", "show", "device", "plc", "--json")
    found = json.loads(out)
    assert (code, found["key"], found["revoked_s"]) == (0, hashlib.sha256(b"a public key").hexdigest(), 0)
    assert run("chain", "show", "device", "other")[0] == 4
    assert run("chain", "register-device", "plc", "--key", str(key))[0] == 6  # the contract takes it once
    assert run("chain", "revoke-device", "plc", "--reason", str(why))[0] == 0
    assert json.loads(run("chain", "show", "device", "plc", "--json")[1])["revoked_s"] > 0
    head = json.loads(run("audit", "show", "--kind", "registry", "--json")[1])
    assert [e["body"]["step"] for e in head["entries"]] == ["revoke_device", "register_device"]
    assert head["entries"][1]["index"] == entry


def test_a_data_set_and_a_model_are_recorded_by_their_hashes(run: Run, tmp_path: Path) -> None:
    for name in ("raw.csv", "clean.csv", "how.md", "report.md"):
        (tmp_path / name).write_text(name)
    raw, clean, how, report = (str(tmp_path / n) for n in ("raw.csv", "clean.csv", "how.md", "report.md"))
    assert run("chain", "notarise", clean, "--provenance", how, "--source", raw)[0] == 6  # of what is not notarised
    assert run("chain", "notarise", raw, "--provenance", how)[0] == 0
    assert run("chain", "notarise", clean, "--provenance", how, "--source", raw)[0] == 0
    assert json.loads(run("chain", "show", "data_set", clean, "--json")[1])["sources"] == 1
    model = hashlib.sha256(b"model").hexdigest()
    assert run("chain", "certify-model", model, "--data-set", clean, "--evaluation", report)[0] == 0
    assert run("chain", "stage-model", model, "--stage", "live")[0] == 0
    assert json.loads(run("chain", "show", "model", model, "--json")[1])["stage"] == "live"
    assert run("chain", "certify-model", "12", "--data-set", clean, "--evaluation", report)[0] == 2
    assert run("chain", "notarise", str(tmp_path / "gone"), "--provenance", how)[0] == 2


def test_an_anchor_on_demand_takes_in_all_that_is_checkpointed(run: Run) -> None:
    code, out = run("audit", "anchor", "--json")
    head = json.loads(out)
    assert (code, head["failure"], head["anchor_alarm"]) == (0, "", "")
    assert head["anchored"] >= head["checkpointed"] > 0
