"""Trends in a real browser: any span, zoom and back, several points, events, forecasts, files and the table."""

from __future__ import annotations

import csv
import re
import struct
from pathlib import Path

from playwright.sync_api import Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site, until

pytestmark = chromium.NEEDED
POINTS = "tank_1.level,tank_2.level,pump_335.flow"


def show(page: Page, words: str) -> None:
    page.goto(page.url.split("#")[0] + f"#/trends?{words}")


def point_at(page: Page, chart: str, share: float) -> None:
    """Puts the pointer into a chart, so far from its left edge."""
    over = page.get_by_test_id(f"trend-chart-{chart}").locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    over.hover(position={"x": box["width"] * share, "y": box["height"] / 2})


def test_points_of_one_unit_share_a_chart_and_one_cursor_tells_all(page: Page, plant: tuple[Site, Client]) -> None:
    plant[1].post("/commands", {"key": "t1", "point": "pump_335.status", "value": "off", "reason": "trend test"})
    show(page, f"points={POINTS}&range=300&charts=unit")
    expect(page.get_by_test_id("trend-chart-tank_1.level").locator("canvas")).to_be_visible()
    expect(page.get_by_test_id("trend-chart-tank_1.level")).to_contain_text("tank_2.level")
    expect(page.get_by_test_id("trend-chart-pump_335.flow").locator("canvas")).to_be_visible()
    page.wait_for_timeout(1_000)
    point_at(page, "pump_335.flow", 0.995)
    for name in POINTS.split(","):
        expect(page.get_by_test_id(f"trend-read-{name}")).to_contain_text("good")


def test_a_command_of_a_point_that_is_shown_stands_on_the_time_axis_and_in_the_list(page: Page) -> None:
    event = page.locator('[data-testid="trend-event"][data-sign="command"]')
    expect(event.first).to_contain_text("pump_335.status = 0", timeout=15_000)
    page.get_by_test_id("trend-happened").uncheck()
    expect(page.get_by_test_id("trend-events")).to_have_count(0)
    page.get_by_test_id("trend-happened").check()


def test_zoom_by_drag_and_keys_is_kept_in_the_address_and_goes_back(page: Page) -> None:
    over = page.get_by_test_id("trend-chart-tank_1.level").locator(".u-over")
    box = over.bounding_box()
    assert box is not None
    y = box["y"] + box["height"] / 2
    page.mouse.move(box["x"] + box["width"] * 0.6, y)
    page.mouse.down()
    page.mouse.move(box["x"] + box["width"] * 0.9, y, steps=4)
    page.mouse.up()
    expect(page).to_have_url(re.compile(r"from=\d+&to=\d+"))
    first = page.url
    page.get_by_test_id("trend-charts").focus()
    page.keyboard.press("ArrowLeft")
    expect(page).not_to_have_url(first)
    page.keyboard.press("Backspace")
    expect(page).to_have_url(first)
    page.get_by_test_id("trend-back").click()
    expect(page).to_have_url(re.compile("range=300"))


def test_any_span_can_be_asked_for(page: Page) -> None:
    page.get_by_test_id("trend-from-to").click()
    page.get_by_test_id("trend-from").fill("2026-01-02T03:00:00")
    page.get_by_test_id("trend-to").fill("2026-01-02T02:00:00")
    expect(page.get_by_test_id("trend-show")).to_be_disabled()
    page.get_by_test_id("trend-to").fill("2026-01-02T04:00:00")
    page.get_by_test_id("trend-show").click()
    expect(page.get_by_test_id("trend-chart-tank_1.level")).to_contain_text("No readings in this time")
    page.get_by_test_id("trend-back").click()


def test_the_look_ahead_continues_a_trend_as_a_band(page: Page, plant: tuple[Site, Client]) -> None:
    until(lambda: plant[1].get("/lookahead")["forecast"], lambda made: made is not None)
    page.reload()
    page.get_by_test_id("trend-forecast").select_option("ahead")
    page.get_by_test_id("trend-yesterday").check()
    expect(page.get_by_test_id("trend-fared").first).to_contain_text("forecast", timeout=15_000)
    page.wait_for_timeout(3_000)
    point_at(page, "pump_335.flow", 0.9)
    chromium.picture(page, "trends")


def test_what_is_shown_is_given_as_a_table_a_spreadsheet_and_a_picture(page: Page, tmp_path: Path) -> None:
    with page.expect_download() as sheet:
        page.get_by_test_id("trend-csv").click()
    assert sheet.value.suggested_filename.startswith("trends-raw-")
    sheet.value.save_as(tmp_path / "t.csv")
    rows = list(csv.DictReader((tmp_path / "t.csv").open()))
    assert {r["point"] for r in rows} == set(POINTS.split(","))
    assert {r["data"] for r in rows} == {"raw"}
    with page.expect_download() as drawn:
        page.get_by_test_id("trend-png").click()
    drawn.value.save_as(tmp_path / "t.png")
    width, height = struct.unpack(">II", (tmp_path / "t.png").read_bytes()[16:24])
    charts = (
        page.get_by_test_id("trend-charts").locator("canvas").evaluate_all("all => all.map(c => [c.width, c.height])")
    )
    assert len(charts) == 2
    assert width >= max(w for w, _ in charts)
    assert height > sum(h for _, h in charts) + 100, "legends, title and key stand around the charts"
    page.get_by_test_id("trend-as-table").check()
    expect(page.get_by_test_id("trend-table").locator("tbody tr")).to_have_count(24)
    expect(page.get_by_test_id("trend-table")).to_contain_text("tank_2.level, m")


def test_the_browser_never_complained(signed_in: tuple[Page, list[str]]) -> None:
    assert signed_in[1] == []
