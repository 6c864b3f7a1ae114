"""Operations in a real browser: how the server fares, a back-up, sessions, accounts and tokens, each by its role."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site

pytestmark = chromium.NEEDED


@pytest.fixture(scope="module")
def plant(plant: tuple[Site, Client]) -> tuple[Site, Client]:
    for name, role in (("ada", "admin"), ("sue", "supervisor"), ("olga", "operator")):
        plant[1].post("/accounts", {"name": name, "password": "eleven pumps", "role": role})
    return plant


@pytest.fixture(scope="module")
def ada(browser: Browser, plant: tuple[Site, Client]) -> Page:
    return chromium.signed_in_as(browser, plant[1], "ada")


@pytest.fixture(scope="module")
def olga(browser: Browser, plant: tuple[Site, Client]) -> Page:
    return chromium.signed_in_as(browser, plant[1], "olga")


def test_links_queues_and_health_are_seen(ada: Page, olga: Page, plant: tuple[Site, Client]) -> None:
    found = plant[1].get("/operations")
    assert found["fault"] == "" and found["clients"] == 2 and found["sizes"]["history"] > 0 and found["free_bytes"] > 0
    assert {q["name"] for q in found["queues"]} > {"commands for plc", "readings for history"}
    assert found["tiers"][0] == {"name": "raw", "kept_s": None}
    ada.keyboard.press("9")
    expect(ada.get_by_test_id("operations-links")).to_contain_text("plc")
    expect(ada.get_by_test_id("operations-links").locator("tbody tr")).to_have_count(3)
    expect(ada.get_by_test_id("operations-health")).to_contain_text("ready")
    expect(ada.get_by_test_id("operations-clients")).to_contain_text("2 WebSockets open")
    expect(ada.get_by_test_id("operations-ledger")).to_contain_text("checkpointed")
    expect(ada.get_by_test_id("operations-queues")).to_contain_text("readings for history")
    chromium.picture(ada, "operations")


def test_a_back_up_is_made_while_the_server_runs(ada: Page, olga: Page, tmp_path: Path) -> None:
    ada.get_by_test_id("backup-folder").fill("somewhere")
    expect(ada.get_by_test_id("backup-start")).to_be_disabled()
    ada.get_by_test_id("backup-folder").fill(str(tmp_path / "copy"))
    ada.get_by_test_id("backup-start").click()
    expect(ada.get_by_test_id("backup-state")).to_have_attribute("data-state", "done", timeout=30_000)
    assert (tmp_path / "copy" / "history.duckdb").is_file()
    olga.get_by_test_id("tab-operations").click()
    expect(olga.get_by_test_id("backup-folder")).to_be_disabled()
    expect(olga.get_by_test_id("backup-start")).to_be_disabled()


def test_an_admin_ends_sessions_and_adds_and_disables_accounts(ada: Page, plant: tuple[Site, Client]) -> None:
    secret = plant[1].post("/session", {"account": "sue", "password": "eleven pumps"})["secret"]
    assert secret
    ada.get_by_test_id("operations-people").click()
    row = ada.get_by_test_id("operations-sessions").locator("tr").filter(has_text="sue")
    expect(row).to_have_count(1)
    row.get_by_test_id("session-end").click()
    expect(row).to_have_count(0)
    ada.get_by_test_id("account-name").fill("vera")
    ada.get_by_test_id("account-password").fill("eleven pumps")
    ada.get_by_test_id("account-add").click()
    vera = ada.get_by_test_id("account-vera")
    expect(vera).to_contain_text("may sign in")
    vera.get_by_test_id("account-disable").click()
    expect(vera).to_contain_text("disabled")


def test_a_token_is_given_shown_once_and_revoked(ada: Page) -> None:
    ada.get_by_test_id("token-name").fill("report")
    ada.get_by_test_id("token-give").click()
    expect(ada.get_by_test_id("token-secret")).to_contain_text(re.compile(r"Secret of report, shown once: \S{20,}"))
    row = ada.get_by_test_id("operations-tokens").locator("tr").filter(has_text="report")
    row.get_by_test_id("token-end").click()
    expect(row).to_have_count(0)


def test_an_operator_sees_only_own_sessions(olga: Page) -> None:
    olga.get_by_test_id("operations-people").click()
    expect(olga.get_by_test_id("operations-sessions")).to_contain_text("olga")
    expect(olga.get_by_test_id("operations-sessions")).not_to_contain_text("ada")
    expect(olga.get_by_test_id("operations-accounts")).to_have_count(0)
    expect(olga.get_by_test_id("operations-tokens")).to_be_visible()
