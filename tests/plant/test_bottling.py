"""The bottling line as a whole site: its machines live, commands act on them, and what-ifs start from the line as it is."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from control.cli import app
from control.client import Client
from tests.plant.site import Site, live, rows, site, until
from twin.errors import BadRequest

SPEED = 60.0


def test_the_line_comes_up_a_what_if_starts_from_it_and_a_stopped_filler_starves_it(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        made.start_any_fleet(["bottling", "--speed", f"{SPEED:g}", "--free-ports", "--seed", "3"])
        client = made.start_server("bottling")
        points, good = until(lambda: live(client), lambda found: found[0] == found[1])
        assert points == good == 62

        asked = {"scenarios": ["crew.size=2"], "horizon_s": 14_400, "replications": 32, "seed": 5}
        run = client.followed("/whatif", client.post("/whatif", asked), "simulating")
        result = run["result"]
        assert result["state_hash"]
        packed = result["outcomes"][0]["kpis"]["line.packed.final"]["mean"]
        now = rows(client, "SELECT value FROM points WHERE name = 'line.packed'")[0][0]
        assert now < packed < now + 4 * 330

        _ask_more_than_pairs(client)
        _the_best_is_submitted_as_a_command(made, client)

        body = {"point": "filler.command.Run", "value": 0, "reason": "test", "key": "stop"}
        dry = client.post("/commands?dry_run=true&predict=true", body)
        (effect,) = [e for e in dry["prediction"]["effects"] if e["name"] == "line.packed"]
        assert effect["high"] < -100  # in an hour without the filler
        sent = client.post("/commands", body)
        done = until(lambda: client.get(f"/commands/{sent['id']}"), lambda c: c["status"] in ("CONFIRMED", "FAILED"))
        assert done["status"] == "CONFIRMED"
        starved = "SELECT value FROM points WHERE name = 'packer.status.Starved'"
        until(lambda: rows(client, starved)[0][0], lambda value: value == 1.0)
        assert made.stop() == [0, 0]


def _done(client: Client, path: str, **asked: Any) -> dict[str, Any]:
    run = client.followed("/whatif", client.post(f"/whatif{path}", {"horizon_s": 7200, **asked}), "simulating")
    assert (run["state"], run["kind"]) == ("done", path[1:] or "compare"), run["error"]
    result: dict[str, Any] = run["result"]
    return result


def _ask_more_than_pairs(client: Client) -> None:
    """Rankings, a tornado and a search of the line as it is; the list tells them apart."""
    options = [f"labeller.reject={share}" for share in (0.2, 0.3, 0.4, 0.5)]
    ranked = _done(client, "/rank", scenarios=[*options, "crew.size=3"], goal="max line.packed.final", delta=40)
    assert [o["name"] for o in ranked["options"] if not o["survived"]]
    assert ranked["options"][-1]["name"] in options and ranked["resolved"]
    spent = _done(client, "/rank", scenarios=options, goal="max line.packed.final", method="ocba", budget=320)
    assert spent["best"] == "baseline" and spent["replications"] <= 320 and spent["plan"]["drafts"] == []
    ranges = ["labeller.reject=0.01..0.4", "crew.size=1..1"]
    bars = _done(client, "/tornado", ranges=ranges, kpi="line.packed.final", replications=16)["bars"]
    assert [bar["parameter"] for bar in bars] == ["labeller.reject", "crew.size"]
    assert bars[0]["high"]["mean"] < -50 and bars[0]["high"]["resolved"] and not bars[1]["high"]["resolved"]
    found = _done(client, "/optimise", ranges=["labeller.reject=0.0..0.5"], goal="max line.packed.final", trials=6,
                  replications=8)  # fmt: skip
    assert found["trials"] == 6 and 0 <= found["decisions"]["labeller.reject"] <= 0.5
    long = {"scenarios": ["crew.size=3"], "goal": "max line.packed.final", "delta": 1e-6, "budget": 100_000}
    begun = client.post("/whatif/rank", long)
    heard = until(lambda: client.get(f"/whatif/{begun['id']}"), lambda r: r["left_s"] is not None)
    assert 0 < heard["progress"] < 1 and heard["left_s"] > 0
    client.delete(f"/whatif/{begun['id']}")
    ended = until(lambda: client.get(f"/whatif/{begun['id']}"), lambda r: r["state"] != "running")
    assert (ended["state"], ended["result"]) == ("cancelled", None)
    assert {run["kind"] for run in client.get("/whatif")} == {"compare", "rank", "tornado", "optimise"}
    with pytest.raises(BadRequest, match=r"crew\.size=9"):
        client.post("/whatif/tornado", {"ranges": ["crew.size=1..9"], "kpi": "line.packed.final"})
    with pytest.raises(BadRequest, match="9 scenarios"):
        client.post("/whatif", {"scenarios": [f"labeller.reject=0.{n}" for n in range(1, 10)]})


def _the_best_is_submitted_as_a_command(made: Site, client: Client) -> None:
    words = ["--data", str(made.data)]
    speed = client.get("/points/filler.command.MachSpeed")["value"]
    with_goal = ["--goal", "min line.packed.final", "--horizon", "1h", "--replications", "16", "--json"]
    cli = CliRunner()
    told = cli.invoke(app, ["whatif", "filler.command.MachSpeed=0.5", *with_goal, *words])
    assert told.exit_code == 0, told.output
    (run,) = [r for r in client.get("/whatif") if r["about"] == "filler.command.MachSpeed=0.5"]
    plan = client.get(f"/whatif/{run['id']}/plan")
    (order,) = plan["commands"]
    assert (order["key"], order["value"]) == (f"whatif-{run['id']}-1", 0.5)
    alone = cli.invoke(app, ["whatif", "submit", run["id"], *words])
    assert isinstance(alone.exception, BadRequest), "nobody agreed"
    assert client.get("/commands", point="filler.command.MachSpeed")["commands"] == []
    for _ in range(2):  # the second time it is the same command
        sent = cli.invoke(app, ["whatif", "submit", run["id"], "--yes", *words])
        assert sent.exit_code == 0, sent.output
    (command,) = client.get("/commands", point="filler.command.MachSpeed")["commands"]
    assert command["reason"].startswith(f"what-if {run['id']}: min line.packed.final")
    _confirmed(client, command)
    _confirmed(client, client.post("/commands", {"key": "back", "point": "filler.command.MachSpeed", "value": speed}))


def _confirmed(client: Client, command: dict[str, Any]) -> None:
    ended = until(lambda: client.get(f"/commands/{command['id']}"), lambda c: c["final"])
    assert ended["status"] == "CONFIRMED"
