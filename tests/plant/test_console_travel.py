"""Time travel in a real browser on a whole site: the plant before a command, stepping to it, and what differs since."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest
from playwright.sync_api import Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site, until

pytestmark = chromium.NEEDED


@pytest.fixture(scope="module")
def stopped(plant: tuple[Site, Client]) -> dict[str, Any]:
    """Pump 335 was running, and a command stopped it; and another one was refused."""
    client = plant[1]
    asked = {"key": "travel", "point": "pump_335.status", "value": 0.0, "reason": "less water"}
    record = client.post("/commands", asked)
    until(lambda: client.get("/points/pump_335.running")["value"], lambda running: running == 0.0, 20)
    return until(lambda: client.get(f"/commands/{record['id']}"), lambda c: c["status"] == "CONFIRMED", 20)


def asked_at(command: dict[str, Any]) -> float:
    return float(command["transitions"][0]["time"])


def moment(at: float) -> re.Pattern[str]:
    """Of a time in ms, whichever way half of one is rounded."""
    return re.compile(f"^({math.floor(at)}|{math.ceil(at)})$")


def travel(page: Page, **words: object) -> None:
    page.goto("about:blank")
    page.go_back()
    page.goto(page.url.split("#")[0] + "#/travel?" + "&".join(f"{k}={v}" for k, v in words.items()))
    page.reload()
    expect(page.get_by_test_id("past-bar")).to_be_visible(timeout=15_000)


def test_the_plant_before_a_command_is_shown_as_it_was_and_nothing_can_be_commanded_there(
    page: Page, stopped: dict[str, Any]
) -> None:
    travel(page, at=asked_at(stopped) - 20, range=900, twin="pump_335")
    running = page.get_by_test_id("point-value-pump_335.running")
    expect(running).to_have_text("running")
    expect(page.get_by_test_id("past-bar")).to_contain_text("PAST")
    expect(page.get_by_role("button", name=re.compile("^Command"))).to_have_count(0)
    page.get_by_test_id("to-now").click()
    expect(running).to_have_text("stopped")
    page.keyboard.press("1")
    expect(page.get_by_role("button", name=re.compile("^Command"))).to_have_count(0)
    page.get_by_test_id("twin-pump_335").press("Enter")
    expect(page.get_by_role("button", name=re.compile("^Command"))).not_to_have_count(0)


def test_a_step_goes_to_the_command_and_tells_who_did_what_and_what_became_of_it(
    page: Page, stopped: dict[str, Any]
) -> None:
    travel(page, at=asked_at(stopped) - 20, range=900, twin="pump_335")
    expect(page.locator('[data-testid="travel-mark"][data-lane="done"]')).to_have_count(1)
    page.keyboard.press("]")
    detail = page.get_by_test_id("mark-detail")
    expect(detail).to_contain_text("pump_335.status = off: CONFIRMED")
    expect(detail).to_contain_text("less water")
    expect(page.get_by_test_id("past-bar")).to_have_attribute("data-at", moment(asked_at(stopped)))
    page.wait_for_timeout(300)
    chromium.picture(page, "travel")


def test_it_plays_and_as_it_was_known_then_is_another_question(page: Page, stopped: dict[str, Any]) -> None:
    start = asked_at(stopped) - 20
    travel(page, at=start, range=900, twin="pump_335")
    page.get_by_test_id("play-10").click()
    expect(page.get_by_test_id("point-value-pump_335.running")).to_have_text("stopped", timeout=15_000)
    if page.get_by_test_id("play-10").get_attribute("aria-pressed") == "true":
        page.get_by_test_id("play-10").click()
    page.get_by_test_id("as-known").check()
    expect(page.get_by_test_id("past-bar")).to_be_visible()
    expect(page).to_have_url(re.compile("known=then"))


def test_two_moments_are_held_against_each_other(page: Page, stopped: dict[str, Any]) -> None:
    travel(page, at=asked_at(stopped) - 20, range=900)
    page.get_by_test_id("set-a").click()
    page.get_by_test_id("to-now").click()
    page.get_by_test_id("set-b").click()
    page.get_by_test_id("page-difference").click()
    row = page.locator('[data-testid="difference-row"][data-point="pump_335.running"]')
    page.get_by_test_id("difference-filter").fill("335 running")
    expect(row).to_contain_text("running")
    expect(row).to_contain_text("stopped")
    expect(page.get_by_test_id("difference-row")).to_have_count(1)
    expect(page.get_by_test_id("difference-between")).to_contain_text("pump_335.status = 0: CONFIRMED")
    page.get_by_test_id("difference-filter").fill("")
    page.wait_for_timeout(300)
    chromium.picture(page, "difference")
    with page.expect_download() as download:
        page.get_by_test_id("difference-csv").click()
    text = download.value.path().read_text()
    assert re.search(r"^pump_335\.running,pump_335,,value,running,stopped,-1,", text, re.MULTILINE), text[:500]


def test_a_moment_is_forked_and_a_what_if_asked_of_it(page: Page, plant: tuple[Site, Client]) -> None:
    page.get_by_test_id("fork").click()
    expect(page.get_by_test_id("whatif-branch")).to_contain_text("then-")
    assert plant[1].get("/branches")[0]["note"] == "forked in the console's time travel"
    page.get_by_test_id("whatif-from").select_option("")
    page.get_by_test_id("whatif-hold").click()
    expect(page.get_by_test_id("whatif-branch")).to_contain_text("now-")
    held = page.get_by_test_id("whatif-from").input_value()
    assert plant[1].get("/branches")[0]["name"] == held
    page.get_by_test_id("whatif-forget").click()
    expect(page.get_by_test_id("whatif-branch")).to_be_hidden()
    assert held not in [b["name"] for b in plant[1].get("/branches")]
    page.get_by_test_id("whatif-scenario").fill("pump_10.status=on for 1h")
    page.get_by_test_id("whatif-from").select_option(index=1)
    page.get_by_test_id("whatif-run").click()
    expect(page.get_by_test_id("whatif-result")).to_be_visible(timeout=30_000)
    assert plant[1].get("/whatif")[0]["request"]["branch"].startswith("then-")


def test_the_browser_never_complained(signed_in: tuple[Page, list[str]]) -> None:
    assert signed_in[1] == []
