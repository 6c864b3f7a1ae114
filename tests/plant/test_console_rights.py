"""What a role may not do is closed, and why stands in words that need no pointer, on a server whose devices are all dead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import site

pytestmark = chromium.NEEDED
DEAD = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with site(tmp_path_factory.mktemp("rights")) as made, made.start_server(**DEAD) as client:
        for name, role in (("vera", "viewer"), ("otto", "auditor")):
            client.post("/accounts", {"name": name, "password": "eleven pumps", "role": role})
        yield client


@pytest.fixture(scope="module")
def vera(browser: Browser, client: Client) -> Page:
    return chromium.signed_in_as(browser, client, "vera")


def show(page: Page, client: Client, place: str) -> None:
    page.goto(f"{client.url}/#/{place}")


def test_a_viewer_cannot_type_a_note_that_cannot_be_kept(vera: Page, client: Client) -> None:
    show(vera, client, "operations?part=notes")
    expect(vera.get_by_test_id("note-text")).to_be_disabled()
    expect(vera.get_by_test_id("note-why")).to_have_text("The role viewer may not write handover notes.")


def test_the_emergency_stop_says_for_whom_it_is_not(vera: Page) -> None:
    expect(vera.get_by_test_id("stop")).to_be_disabled()
    expect(vera.get_by_test_id("stop-hindrance")).to_have_text("not for the role viewer")


def test_why_nothing_can_be_anchored_or_forked_is_seen_without_a_pointer(vera: Page, client: Client) -> None:
    show(vera, client, "audit")
    expect(vera.get_by_test_id("audit-anchor")).to_be_disabled()
    expect(vera.get_by_test_id("audit-hindrance")).to_contain_text("may not anchor or check history")
    show(vera, client, "travel")
    expect(vera.get_by_test_id("fork-hindrance")).to_be_visible()


def test_an_auditor_sees_everybody_and_reads_once_why_nothing_can_be_changed(browser: Browser, client: Client) -> None:
    otto = chromium.signed_in_as(browser, client, "otto")
    show(otto, client, "operations?part=people")
    expect(otto.get_by_test_id("sessions-end-all")).to_be_disabled()
    expect(otto.get_by_test_id("account-name")).to_be_disabled()
    expect(otto.get_by_text("The role auditor may not change accounts")).to_have_count(1)
    otto.context.close()
