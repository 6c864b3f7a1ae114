"""The same statement asked of now, of a past instant and of a what-if, of a real server that is killed in between."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from control.offline import ask
from tests.plant.site import live, site, until
from twin.when import parse_when_ns

LEVELS = "SELECT name, value FROM {} WHERE name LIKE 'tank_%.level' ORDER BY name"


@pytest.mark.timeout(170)
def test_now_then_and_what_if_answer_the_same_statement(tmp_path: Path) -> None:
    with site(tmp_path) as plant:
        plant.start_fleet(240.0)
        client = plant.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1])

        def rows(source: str, **moment: str) -> list[list[object]]:
            found: list[list[object]] = client.post("/query", {"sql": LEVELS.format(source), **moment})["rows"]
            return found

        # The future first: what-if from a branch of now, then the branch's own values again.
        client.post("/branches", {"name": "start"})
        start = rows("branch('start')")
        asked: dict[str, Any] = {
            "scenarios": ["pump_335.status=off for 4h"],
            "branch": "start",
            "goal": "min energy_kwh",
        }
        run = client.post("/whatif", asked)
        until(lambda: client.get(f"/whatif/{run['id']}"), lambda r: r["state"] == "done")
        result = client.get(f"/whatif/{run['id']}")["result"]
        assert result["choice"]["resolved"] and result["choice"]["name"] == asked["scenarios"][0]
        drafts = [(d["point"], d["value"], d["at_s"]) for d in result["outcomes"][1]["drafts"]]
        assert drafts == [("pump_335.status", 0.0, 0.0), ("pump_335.status", 1.0, 14_400.0)]
        begin = rows(f"branch('{run['id']}/1', moment := '0s')")
        assert [(name, pytest.approx(value, abs=0.05)) for name, value in begin] == [tuple(r) for r in start]
        kept, dropped = rows(f"branch('{run['id']}/0')"), rows(f"branch('{run['id']}/1')")
        assert dropped[0][1] < kept[0][1]  # type: ignore[operator]
        assert rows("points", branch=f"{run['id']}/1") == dropped

        # Then: a moment is the same whenever and however it is asked, before and after the server was killed.
        [[taken]] = client.post("/query", {"sql": "SELECT max(source_time) FROM history WHERE point = 'tank_1.level'"})[
            "rows"
        ]
        moment = f"{taken}Z"
        until(lambda: rows("points"), lambda now: now != rows(f"at('{moment}')"))
        before = rows(f"at('{moment}')")
        assert rows("points", at=moment) == before
        client.post("/branches", {"name": "then", "at": moment})
        assert rows("branch('then')") == before
        assert client.get("/branches/then")["taken"] == pytest.approx(parse_when_ns(moment, 0, "") / 1e6)
        plant.kill_server()
        client = plant.start_server()
        assert rows(f"at('{moment}')") == before
        plant.stop()
        offline = ask(plant.data, LEVELS.format(f"at('{moment}')"), 10)
        assert [list(r) for r in offline["rows"]] == before
