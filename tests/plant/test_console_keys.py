"""Keys, dialogs and failures in a real browser: no key reaches through what is open, and a server that fails is not pressed."""

from __future__ import annotations

import pytest
from playwright.sync_api import Page, Route, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site

pytestmark = chromium.NEEDED

COURSES_AT_ONCE = 4


def at(page: Page, address: str) -> None:
    page.goto(page.url.split("#")[0] + address)


def test_escape_takes_back_an_armed_stop_and_leaves_the_level(page: Page) -> None:
    at(page, "#/overview?area=station")
    overview = page.get_by_test_id("overview")
    expect(overview).to_have_attribute("data-level", "2")
    page.get_by_test_id("stop").click()
    expect(page.get_by_test_id("stop-panel")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("stop-panel")).to_have_count(0)
    expect(overview).to_have_attribute("data-level", "2")
    page.keyboard.press("Escape")
    expect(overview).to_have_attribute("data-level", "1")


@pytest.mark.parametrize("how", ["Escape", "✕"])
def test_a_dialog_keeps_its_keys_and_gives_the_focus_back(page: Page, how: str) -> None:
    at(page, "#/overview?area=station")
    page.get_by_test_id("views-open").focus()
    page.keyboard.press("Enter")
    menu = page.get_by_test_id("views-menu")
    expect(menu).to_be_visible()
    page.keyboard.press("ArrowDown")
    assert menu.evaluate("menu => menu.contains(document.activeElement)")
    if how == "Escape":
        page.keyboard.press("Escape")
    else:
        menu.get_by_label("Close").click()
    expect(menu).to_have_count(0)
    expect(page.get_by_test_id("overview")).to_have_attribute("data-level", "2")
    expect(page.get_by_test_id("views-open")).to_be_focused()


def test_keys_of_a_view_stay_away_from_a_dialog(page: Page) -> None:
    at(page, "#/plant")
    page.get_by_test_id("keys-open").click()
    page.keyboard.press("g")
    expect(page.get_by_test_id("page-drawing")).to_have_attribute("aria-pressed", "true")
    page.keyboard.press("Escape")
    expect(page.get_by_test_id("keys")).to_have_count(0)
    page.keyboard.press("g")
    expect(page.get_by_test_id("page-graph")).to_have_attribute("aria-pressed", "true")


def test_a_history_that_fails_is_asked_for_again_only_after_a_pause(page: Page) -> None:
    asked: list[str] = []

    def fail(route: Route) -> None:
        asked.append(route.request.url)
        route.fulfill(
            status=500, content_type="application/json", body='{"code": "internal", "message": "no", "hint": ""}'
        )

    page.route("**/api/v1/history?*", fail)
    at(page, "#/plant")
    page.keyboard.press("o")
    expect(page.get_by_test_id("overview")).to_contain_text("no")
    page.wait_for_timeout(3_000)  # four times a second it would be a dozen for each figure
    assert 0 < len(asked) <= COURSES_AT_ONCE
    page.unroute("**/api/v1/history?*")


def test_a_run_that_the_server_does_not_have_is_said_to_be_lost(page: Page) -> None:
    at(page, "#/whatif?run=gone")
    expect(page.get_by_test_id("whatif-lost")).to_contain_text("This run is lost")
    expect(page.get_by_test_id("whatif-run")).to_be_enabled()


def test_who_may_not_simulate_is_told_so(page: Page, plant: tuple[Site, Client]) -> None:
    client = plant[1]
    client.post("/accounts", {"name": "vera", "password": "seven valves", "role": "viewer"})
    assert page.context.browser is not None
    vera = page.context.browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    vera.goto(client.url + client.post("/login-link", {"account": "vera"})["path"])
    expect(vera.get_by_test_id("who")).to_contain_text("vera, viewer")
    vera.get_by_test_id("tab-whatif").click()
    expect(vera.get_by_test_id("whatif-run")).to_be_disabled()
    expect(vera.get_by_test_id("whatif-hindrance")).to_contain_text("The role viewer may not simulate.")
    chromium.picture(vera, "whatif-viewer")
    vera.context.close()


def test_a_week_of_trends_says_which_days(page: Page) -> None:
    at(page, "#/trends?points=tank_1.level,pump_335.running&range=604800")
    expect(page.get_by_test_id("trend-chart-tank_1.level").locator("canvas")).to_be_visible(timeout=15_000)
    page.wait_for_timeout(500)
    chromium.picture(page, "trends-week")
