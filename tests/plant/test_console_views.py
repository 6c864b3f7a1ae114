"""Saved views, the map of keys, themes and handover notes in a real browser, on a server whose devices are all dead."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import site

pytestmark = chromium.NEEDED
DEAD = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
GROUND = "getComputedStyle(document.body).backgroundColor"


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    with site(tmp_path_factory.mktemp("views")) as made, made.start_server(**DEAD) as client:
        for name, role in (("sue", "supervisor"), ("olga", "operator")):
            client.post("/accounts", {"name": name, "password": "eleven pumps", "role": role})
        yield client


@pytest.fixture(scope="module")
def sue(browser: Browser, client: Client) -> Page:
    return chromium.signed_in_as(browser, client, "sue")


def test_what_is_shown_is_saved_for_all_by_a_supervisor_and_opened_by_key(
    sue: Page, browser: Browser, client: Client
) -> None:
    sue.goto(f"{client.url}/#/trends?points=tank_1.level&range=3600")
    expect(sue.get_by_test_id("trend-chart-tank_1.level")).to_be_visible()
    sue.keyboard.press("v")
    sue.get_by_test_id("views-name").fill("tank 1, an hour")
    sue.get_by_test_id("views-shared").check()
    sue.get_by_test_id("views-save").click()
    expect(sue.get_by_test_id("saved-view")).to_contain_text("tank 1, an hour")
    olga = chromium.signed_in_as(browser, client, "olga")
    olga.keyboard.press("v")
    expect(olga.get_by_test_id("views-shared")).to_be_disabled()
    expect(olga.get_by_test_id("view-delete")).to_be_disabled()
    olga.get_by_role("link", name="tank 1, an hour").click()
    expect(olga.get_by_test_id("trend-chart-tank_1.level")).to_be_visible()
    expect(olga.get_by_test_id("views-menu")).to_have_count(0)
    olga.context.close()


def test_a_view_is_renamed_deleted_and_had_back(sue: Page) -> None:
    sue.get_by_test_id("view-rename").click()
    sue.get_by_test_id("view-new-name").fill("tank 1")
    sue.keyboard.press("Enter")
    expect(sue.get_by_role("link", name="tank 1", exact=True)).to_be_visible()
    sue.get_by_test_id("view-delete").click()
    expect(sue.get_by_test_id("saved-view")).to_have_count(0)
    sue.get_by_test_id("views-undo").click()
    expect(sue.get_by_test_id("saved-view")).to_have_count(1)


def test_the_view_that_opens_first_does_so_where_none_is_named(sue: Page, client: Client) -> None:
    sue.get_by_test_id("view-first").click()
    expect(sue.get_by_test_id("view-first")).to_have_attribute("aria-pressed", "true")
    sue.keyboard.press("Escape")
    expect(sue.get_by_test_id("views-menu")).to_have_count(0)
    sue.goto(f"{client.url}/#/audit")
    sue.reload()
    expect(sue.get_by_test_id("tab-audit")).to_have_attribute("aria-current", "page")
    sue.goto("about:blank")
    sue.goto(client.url)
    expect(sue.get_by_test_id("trend-chart-tank_1.level")).to_be_visible(timeout=15_000)


def test_the_map_of_keys_is_of_this_view_and_keeps_the_focus_until_it_is_closed(sue: Page) -> None:
    sue.keyboard.press("?")
    keys = sue.get_by_test_id("keys")
    expect(keys).to_contain_text("Backspace")
    sue.keyboard.press("1")  # not while a dialog is open
    expect(sue.get_by_test_id("tab-trends")).to_have_attribute("aria-current", "page")
    sue.keyboard.press("Escape")
    expect(keys).to_have_count(0)


def test_the_emergency_stop_can_be_pressed_while_a_menu_is_open(sue: Page) -> None:
    sue.keyboard.press("v")
    expect(sue.get_by_test_id("views-menu")).to_be_visible()
    sue.get_by_test_id("stop").click()
    expect(sue.get_by_test_id("stop-panel")).to_be_visible()
    expect(sue.get_by_test_id("views-menu")).to_have_count(0)
    sue.keyboard.press("Escape")
    expect(sue.get_by_test_id("stop-panel")).to_be_hidden()


def test_a_theme_is_chosen_kept_and_there_before_the_first_drawing(sue: Page, client: Client) -> None:
    light = sue.evaluate(GROUND)
    sue.keyboard.press("?")
    sue.get_by_test_id("theme-dark").click()
    sue.keyboard.press("Escape")
    dark = sue.evaluate(GROUND)
    assert light != dark
    sue.reload(wait_until="commit")
    expect(sue.locator("html")).to_have_attribute("data-theme", "dark")
    expect(sue.get_by_test_id("who")).to_be_visible()
    assert sue.evaluate(GROUND) == dark
    sue.keyboard.press("?")
    sue.get_by_test_id("theme-system").click()
    sue.keyboard.press("Escape")
    assert sue.evaluate(GROUND) == light
    sue.emulate_media(color_scheme="dark")
    expect(sue.locator("html")).to_have_attribute("data-theme", "dark")
    sue.emulate_media(color_scheme="light")


def test_a_note_for_the_next_shift_is_kept_with_its_author(sue: Page) -> None:
    sue.keyboard.press("9")
    sue.get_by_test_id("operations-notes").click()
    sue.get_by_test_id("note-text").fill("pump 10 is loud; look at it in the morning")
    sue.get_by_test_id("note-add").click()
    expect(sue.get_by_test_id("notes")).to_contain_text("sue")
    expect(sue.get_by_test_id("notes")).to_contain_text("pump 10 is loud")
