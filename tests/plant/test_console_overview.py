"""The overview in a real browser on a whole site: from the whole plant down to an address by keyboard alone, and up again."""

from __future__ import annotations

from playwright.sync_api import Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site, until

pytestmark = chromium.NEEDED


def level(page: Page, number: int) -> None:
    expect(page.get_by_test_id("overview")).to_have_attribute("data-level", str(number))


def test_the_whole_plant_is_told_by_figures_with_normal_ranges_limits_and_alarms(page: Page) -> None:
    page.keyboard.press("o")
    level(page, 1)
    figure = page.get_by_test_id("figure-tank_1.level")
    expect(figure.locator("svg").first).to_have_attribute(
        "aria-label", "normal 3.00 to 9.30, target 6.00, lolo 1.00, lo 3.00, hihi 9.60"
    )
    expect(page.get_by_test_id("area-station")).to_contain_text("Discharge")
    expect(page.get_by_test_id("area-kind:Tank").get_by_test_id("alarm-counts")).to_have_attribute("data-active", "0")
    page.wait_for_timeout(2_500)
    chromium.picture(page, "overview")


def test_an_alarm_is_counted_where_it_is(page: Page, plant: tuple[Site, Client]) -> None:
    plant[1].post("/commands", {"key": "o", "point": "pump_335.status", "value": 0.0, "reason": "see the alarms"})
    until(lambda: plant[1].get("/alarms", state="active")["total"], lambda total: total > 0, 90)
    active = page.locator('[data-testid^="area-"] [data-testid="alarm-counts"]:not([data-active="0"])')
    expect(active).not_to_have_count(0)


def test_the_keyboard_goes_down_to_an_address_and_up_again(page: Page) -> None:
    page.get_by_test_id("area-kind:Tank").focus()
    page.keyboard.press("Enter")
    level(page, 2)
    assert "area=kind" in page.url
    expect(page.get_by_test_id("part-tank_1")).to_be_visible()
    page.wait_for_timeout(300)
    page.get_by_test_id("part-tank_1").focus()
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowLeft")
    page.keyboard.press("Enter")
    level(page, 3)
    expect(page.get_by_test_id("level-alarms")).to_contain_text("lolo 1 m")
    page.wait_for_timeout(300)
    expect(page.get_by_test_id("to-support")).to_be_focused()
    chromium.picture(page, "overview-twin")
    page.keyboard.press("Enter")
    level(page, 4)
    expect(page.get_by_test_id("level-support")).to_contain_text("ns=2;s=tank_1.level")
    expect(page.get_by_test_id("rationale")).to_contain_text("the town loses pressure")
    for above in (3, 2, 1):
        page.keyboard.press("Escape" if above == 2 else "Backspace")
        level(page, above)


def test_a_level_can_be_linked_to_and_a_place_that_is_gone_is_said(page: Page) -> None:
    base = page.url.split("#")[0]
    page.goto(base + "#/overview?area=station&twin=station&level=4")
    level(page, 4)
    expect(page.get_by_test_id("crumb-2")).to_contain_text("station", ignore_case=True)
    page.get_by_test_id("crumb-1").click()
    level(page, 1)
    page.goto(base + "#/overview?twin=nothing")
    expect(page.get_by_test_id("overview")).to_contain_text("no part of the plant now")


def test_the_browser_never_complained(signed_in: tuple[Page, list[str]]) -> None:
    assert signed_in[1] == []
