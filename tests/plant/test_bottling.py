"""The bottling line as a whole site: its machines live, commands act on them, and what-ifs start from the line as it is."""

from __future__ import annotations

from pathlib import Path

from tests.plant.site import live, rows, site, until

SPEED = 60.0


def test_the_line_comes_up_a_what_if_starts_from_it_and_a_stopped_filler_starves_it(tmp_path: Path) -> None:
    with site(tmp_path) as made:
        made.start_any_fleet(["bottling", "--speed", f"{SPEED:g}", "--free-ports", "--seed", "3"])
        client = made.start_server("bottling")
        points, good = until(lambda: live(client), lambda found: found[0] == found[1])
        assert points == good == 56

        asked = {"scenarios": ["crew.size=2"], "horizon_s": 14_400, "replications": 32, "seed": 5}
        run = client.followed("/whatif", client.post("/whatif", asked), "simulating")
        result = run["result"]
        assert result["state_hash"]
        packed = result["outcomes"][0]["kpis"]["line.packed.final"]["mean"]
        now = rows(client, "SELECT value FROM points WHERE name = 'line.packed'")[0][0]
        assert now < packed < now + 4 * 330

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
