"""A page that is opened as usual leaves nothing in the browser's own console, signed in or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Route, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import site

pytestmark = chromium.NEEDED
DEAD = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with site(tmp_path_factory.mktemp("quiet")) as made, made.start_server(**DEAD) as client:
        yield client


def test_who_is_not_signed_in_is_asked_to_without_an_error(browser: Browser, client: Client) -> None:
    page = browser.new_page(viewport=chromium.SIZE)
    complaints = chromium.complaints_of(page)
    page.goto(client.url)
    expect(page.get_by_test_id("signed-out")).to_be_visible(timeout=15_000)
    page.wait_for_load_state("networkidle")
    assert complaints == []
    page.close()


def test_operations_before_the_first_back_up_asks_for_nothing_that_is_not_there(
    browser: Browser, client: Client
) -> None:
    page = browser.new_page(viewport=chromium.SIZE)
    complaints = chromium.complaints_of(page)
    page.goto(client.url + client.post("/login-link")["path"])
    page.get_by_test_id("tab-operations").click(timeout=15_000)
    expect(page.get_by_text("None since the server started.")).to_be_visible()
    assert client.get("/operations")["backup"] is None
    assert complaints == []
    page.close()


def test_the_counts_of_a_plant_with_many_devices_stay_on_the_screen(browser: Browser, client: Client) -> None:
    page = browser.new_page(viewport=chromium.SIZE)

    def with_more(route: Route) -> None:
        plant = route.fetch().json()
        first = plant["devices"][0]
        plant["devices"] += [first | {"id": f"a_device_with_a_long_name_{n}"} for n in range(12)]
        route.fulfill(json=plant)

    page.route("**/api/v1/plant", with_more)
    page.goto(client.url + client.post("/login-link")["path"])
    expect(page.get_by_test_id("link-count")).to_contain_text("of 15 links online", timeout=15_000)
    expect(page.get_by_text("and 13 more")).to_be_visible()
    expect(page.get_by_test_id("live-count")).to_be_in_viewport(ratio=1)
    assert page.evaluate("document.documentElement.scrollWidth") <= chromium.SIZE["width"]
    page.close()


def test_two_alarms_with_one_limit_are_two_marks_of_the_overview(browser: Browser, client: Client) -> None:
    page = browser.new_page(viewport=chromium.SIZE)
    complaints = chromium.complaints_of(page)

    def twice(route: Route) -> None:
        found = route.fetch().json()
        found["alarms"] += [a | {"id": f"{a['id']}_too", "row": f"{a['row']}_too"} for a in found["alarms"]]
        route.fulfill(json=found)

    page.route("**/api/v1/alarms?*", twice)
    page.goto(client.url + client.post("/login-link")["path"])
    page.get_by_test_id("tab-overview").click(timeout=15_000)
    page.get_by_test_id("area-kind:Tank").click()
    expect(page.get_by_test_id("overview")).to_have_attribute("data-level", "2")
    assert complaints == []
    page.close()
