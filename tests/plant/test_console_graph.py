"""The graph in a real browser on a whole site: boxes open and close, neighbours and paths are marked, edits show."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Page, expect, sync_playwright

from control.client import Client
from tests.plant.site import Site, live, site, until
from tests.plant.test_console import FLAGS, chromium, picture

pytestmark = [
    pytest.mark.skipif(chromium is None, reason="Debian's chromium is not installed"),
    pytest.mark.timeout(170),
]


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client]]:
    with site(tmp_path_factory.mktemp("site")) as running:
        running.start_fleet(speed=60)
        client = running.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1])
        yield running, client
        client.close()


@pytest.fixture(scope="module")
def signed_in(plant: tuple[Site, Client]) -> Iterator[tuple[Page, list[str]]]:
    complaints: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=FLAGS.split())
        page = browser.new_page(viewport={"width": 1280, "height": 720})
        page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.goto(plant[0].login)
        expect(page.get_by_test_id("live-count")).to_be_visible(timeout=15_000)
        yield page, complaints
        browser.close()


@pytest.fixture
def page(signed_in: tuple[Page, list[str]]) -> Page:
    return signed_in[0]


def opened(page: Page, twin: str, state: str) -> None:
    expect(page.get_by_test_id(f"node-{twin}")).to_have_attribute("data-open", state)


def test_the_graph_is_a_page_of_the_plant_and_a_box_opens_and_closes(page: Page) -> None:
    page.keyboard.press("1")
    page.keyboard.press("g")
    opened(page, "network", "true")
    opened(page, "station", "false")
    expect(page.get_by_test_id("node-pump_335")).to_have_count(0)
    page.get_by_test_id("node-station").press("Enter")
    page.get_by_test_id("node-station").press("Enter")
    opened(page, "station", "true")
    expect(page.get_by_test_id("node-pump_335")).to_have_attribute("data-look", "good")
    page.get_by_test_id("node-station").press("Enter")
    expect(page.get_by_test_id("node-pump_335")).to_have_count(0)


def test_neighbours_upstream_and_downstream_are_marked_and_a_path_is_told(page: Page) -> None:
    base = page.url.split("#")[0]
    page.goto(base + "#/plant?page=graph&twin=tank_1&hops=2")
    expect(page.get_by_test_id("graph-said")).to_contain_text("twins within 2 hops both ways")
    expect(page.locator('[data-testid="node-tank_1"]')).to_have_attribute("data-marked", "true")
    page.wait_for_timeout(300)
    picture(page, "graph")
    marked = page.locator('[data-marked="true"]').count()
    page.get_by_test_id("graph-way").select_option("down")
    assert "way=down" in page.url
    assert page.locator('[data-marked="true"]').count() <= marked
    page.get_by_test_id("graph-path").click()
    page.get_by_test_id("node-tank_2").press("Enter")
    expect(page.get_by_test_id("graph-said")).to_contain_text("Tank 1 →")
    expect(page.get_by_test_id("graph-said")).to_contain_text("→ Tank 2")


def test_a_new_twin_is_in_the_graph_without_a_reload(page: Page, plant: tuple[Site, Client]) -> None:
    page.goto(page.url.split("#")[0] + "#/plant?page=graph")
    expect(page.get_by_test_id("node-network")).to_be_visible()
    first = plant[1].get("/graph/layout")["revision"]
    plant[1].post("/twins", {"id": "valve_9", "interface": "dtmi:twinloop:water:Junction;1", "name": "Valve 9"})
    expect(page.get_by_test_id("node-valve_9")).to_be_visible(timeout=15_000)
    assert plant[1].get("/graph/layout")["revision"] != first


def test_the_browser_never_complained(signed_in: tuple[Page, list[str]]) -> None:
    assert signed_in[1] == []
