"""An alarm that stands for a prediction is called that wherever it stands; times of predictions are the plant's."""

from __future__ import annotations

import re
from typing import Any
from urllib.parse import quote

import pytest
from playwright.sync_api import Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site, until

pytestmark = chromium.NEEDED


def of_predictions(client: Client) -> list[Any]:
    return [a for a in client.get("/alarms")["alarms"] if a["condition"].startswith("predicted ") and a["active"]]


@pytest.fixture(scope="module")
def predicted(plant: tuple[Site, Client]) -> str:
    """The alarm of a tank that will run low, since both pumps stand."""
    client = plant[1]
    for pump in ("pump_335", "pump_10"):
        client.post("/commands", {"key": pump, "point": f"{pump}.status", "value": "off", "reason": "until it is low"})
    found = until(lambda: of_predictions(client), bool, 120)
    return str(found[0]["id"])


def test_the_banner_and_the_table_say_that_it_is_predicted(page: Page, predicted: str) -> None:
    expect(page.get_by_test_id("banner-alarm")).to_contain_text("predicted", timeout=15_000)
    page.goto(page.url.split("#")[0] + f"#/alarms?alarm={quote(predicted)}")
    expect(page.locator(f'[data-testid="alarm-row"][data-alarm="{predicted}"]')).to_contain_text("predicted")


def test_its_detail_says_that_it_is_not_there_yet_how_likely_and_when(page: Page, predicted: str) -> None:
    words = page.get_by_test_id("alarm-predicted")
    expect(words).to_contain_text("not there yet")
    expect(words).to_contain_text("plant time")
    words.get_by_role("link", name="Look-ahead").click()
    expect(page).to_have_url(re.compile("limit="))


def test_the_look_ahead_says_which_clock_its_times_are_of(page: Page) -> None:
    expect(page.get_by_test_id("ahead-clock")).to_contain_text("plant time, now day")
    expect(page.get_by_test_id("ahead-state")).to_contain_text("wall time")


def test_the_browser_never_complained(signed_in: tuple[Page, list[str]]) -> None:
    assert signed_in[1] == []
