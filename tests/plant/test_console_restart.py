"""A console that stays open while its server is killed, its plant is edited, and the server comes back."""

from __future__ import annotations

import shutil
from pathlib import Path
from urllib.parse import urlsplit

import httpx
from playwright.sync_api import expect

from scenarios import water
from tests.plant import chromium
from tests.plant.site import live, site, until

pytestmark = chromium.NEEDED


def test_values_stand_under_their_names_after_a_restart_with_another_order_of_points(tmp_path: Path) -> None:
    """Ids of points are of one life of the server: by the old ones every value would stand under another name."""
    plant = tmp_path / "plant"
    shutil.copytree(water.__path__[0], plant)
    with site(tmp_path) as made, chromium.launched() as browser:
        made.start_fleet(speed=60)
        client = made.start_server(str(plant))
        until(lambda: live(client), lambda n: n[0] == n[1])
        page = browser.new_context(viewport=chromium.SIZE).new_page()
        page.goto(made.login)
        page.goto(f"{client.url}/#/plant?twin=tank_2")
        level = page.get_by_test_id("point-value-tank_2.level")
        expect(level).to_contain_text(" m", timeout=15_000)
        page.evaluate("window.held = true")

        page.context.set_offline(True)
        made.kill_server()
        table = plant / "points.csv"
        head, *rows = table.read_text("utf-8").splitlines()
        table.write_text("\n".join([head, *reversed(rows)]) + "\n", "utf-8")
        expect(page.get_by_test_id("stale-bar")).to_be_visible(timeout=10_000)
        again = made.start_server(str(plant), urlsplit(client.url).port or 0)
        until(lambda: live(again), lambda n: n[0] == n[1])
        # Sessions end with the server: another tab of the same browser has signed in meanwhile.
        cookies = httpx.get(made.login, trust_env=False).cookies
        page.context.add_cookies([{"name": n, "value": v, "url": again.url} for n, v in cookies.items()])
        page.context.set_offline(False)
        expect(page.get_by_test_id("stale-bar")).to_be_hidden(timeout=20_000)
        expect(level).to_contain_text(" m", timeout=15_000)

        value = again.get("/points/tank_2.level")["value"]
        shown = float(level.inner_text().split()[0])
        assert abs(shown - value) < 0.5, f"the level reads {shown} m, it is {value} m"
        assert page.evaluate("window.held") is True, "the page went on; it was not loaded anew"
        expect(page.get_by_test_id("outdated")).to_have_count(0)

        made.kill_server()
        made.start_server(str(plant), urlsplit(client.url).port or 0)
        expect(page.get_by_test_id("signed-out")).to_be_visible(timeout=20_000)
        expect(level).to_have_count(0)
