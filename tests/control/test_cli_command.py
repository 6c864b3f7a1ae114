"""`twinloop command` and `twinloop stop` against a real server with a real PLC: two people, every verb, what is printed."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest

from control import cli
from tests.control.command_site import PASSWORD, CommandSite, command_site

Run = Callable[..., tuple[int, str]]


@pytest.fixture(scope="module")
def works(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CommandSite]:
    with command_site(tmp_path_factory.mktemp("cli")) as made:
        yield made


@pytest.fixture
def run(works: CommandSite, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Run:
    """(exit code, stdout) of `twinloop WORDS` as an account, or as nobody in particular."""

    def twinloop(*words: str, account: str = "") -> tuple[int, str]:
        monkeypatch.setenv("TWINLOOP_ACCOUNT", account)
        monkeypatch.setenv("TWINLOOP_PASSWORD", PASSWORD)
        monkeypatch.setattr(sys, "argv", ["twinloop", *words, "--data", str(works.site.data)])
        with pytest.raises(SystemExit) as ended:
            cli.main()
        return int(ended.value.code or 0), capsys.readouterr().out

    return twinloop


def test_a_command_is_followed_until_the_process_confirms_it(run: Run) -> None:
    code, out = run("command", "send", "pump.status", "on", "--reason", "tank 1 is low", account="anna")
    assert code == 0
    assert "CONFIRMED" in out
    assert "by anna as operator" in out
    assert "because: tank 1 is low" in out
    assert "saw tank.level = 3.25 (Good" in out
    code, out = run("command", "send", "pump.status", "off", "--unit", "", "--json")
    assert code == 0
    assert json.loads(out)["author"] == "cli"


def test_a_point_is_selected_then_operated(run: Run, works: CommandSite) -> None:
    checked, out = run("command", "check", "pump.mode", "hand", "--select")
    assert checked == 0
    assert "would be taken: SELECTED; before it is sent it needs selection" in out
    code, out = run("command", "select", "pump.mode", "hand", "--json", account="anna")
    record = json.loads(out)
    assert (code, record["status"]) == (0, "SELECTED")
    assert "waits for" in run("command", "show", record["id"])[1]
    code, out = run("command", "operate", record["id"], account="anna")
    assert code == 0
    assert "[anna] operated" in out
    assert ("pump.mode", 2.0) in works.plc.writes


def test_what_needs_a_second_person_goes_when_that_person_says_so(run: Run, works: CommandSite) -> None:
    _, out = run("command", "send", "pump.speed", "64", "--no-wait", "--json", account="anna")
    waiting = json.loads(out)["id"]
    code, out = run("command", "list", "--open", "--status", "awaiting_approval", "--author", "anna", account="otto")
    assert code == 0
    assert waiting in out
    code, out = run("command", "approve", waiting, "--reason", "I am at the pump", account="sven")
    assert code == 0
    assert "approval by 1 of role supervisor: sven" in out
    code, out = run("command", "watch", waiting, "--json")
    steps = json.loads(out)["transitions"]
    assert (code, steps[-1]["status"]) == (0, "CONFIRMED")
    assert "I am at the pump" in steps[1]["detail"]


def test_what_is_rejected_or_cancelled_ends_with_its_reason(run: Run) -> None:
    for verb, who, status in (("reject", "sven", "REFUSED"), ("cancel", "anna", "CANCELLED")):
        _, out = run("command", "send", "pump.speed", "65", "--no-wait", "--json", account="anna")
        code, out = run("command", verb, json.loads(out)["id"], "--reason", "the pipe leaks", account=who)
        assert code == 0
        assert status in out
        assert "the pipe leaks" in out


def test_a_command_waits_for_its_time_and_its_condition(run: Run) -> None:
    words = ("command", "send", "pump.status", "off", "--no-wait", "--json", "--wait-for", "2h")
    _, out = run(*words, "--at", "+1h")
    later: dict[str, Any] = json.loads(out)
    assert later["status"] == "SCHEDULED"
    assert later["at"] > later["transitions"][0]["time"]
    assert run("command", "cancel", later["id"])[0] == 0
    code, out = run(*words[:4], "--when", "tank.level > 1 m", "--json")
    done = json.loads(out)
    assert (code, done["status"], done["when"]) == (0, "CONFIRMED", "tank.level > 1 m")
    assert "SCHEDULED" in [t["status"] for t in done["transitions"]]


def test_a_stop_is_named_and_asks_nothing(run: Run, works: CommandSite) -> None:
    code, out = run("stop", "pump", "--reason", "smoke", account="anna")
    assert code == 0
    assert "emergency" in out
    assert "CONFIRMED" in out
    code, out = run("stop", "all", "--no-wait", "--json")
    answer = json.loads(out)
    assert (code, len(answer["commands"]), answer["problems"]) == (0, 2, [])
    works.client.post(f"/commands/{answer['commands'][1]['id']}/cancel")


def test_a_login_link_signs_in_as_the_account_that_was_named(run: Run) -> None:
    code, out = run("login", "--account", "emma")
    assert code == 0
    url = out.strip()
    with httpx.Client(trust_env=False) as browser:
        assert browser.get(url).status_code == 303
        assert browser.get(f"{url.partition('/login')[0]}/api/v1/session").json()["name"] == "emma"
    assert run("login", "--account", "nobody")[0] == 6
