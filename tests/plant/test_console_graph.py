"""The graph in a real browser on a whole site: boxes open and close, neighbours and paths are marked, edits show."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site

pytestmark = chromium.NEEDED


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
    chromium.picture(page, "graph")
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
