"""A page that is opened as usual leaves nothing in the browser's own console, signed in or not."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, expect

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
