"""Signing in in a real browser, over TLS: by a password, by a provider of identities, and what the page says when it fails."""

from __future__ import annotations

import socket
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from control import certs
from control.accounts import Accounts
from control.client import Client
from control.demo import server_words
from protocols.pki import Pki
from tests.peers.oidc_provider import CLIENT, SECRET, Provider, provider
from tests.plant import chromium
from tests.plant.site import site
from twin.role import Role

PASSWORD = "eleven pumps"
SETTINGS = """
[oidc]
name = "Works ID"
issuer = "{issuer}"
client_id = "{client}"
client_secret_file = "oidc-secret"
redirect = "https://localhost:{port}/login/oidc/done"
[oidc.roles]
"plant-operators" = "operator"
"""
pytestmark = chromium.NEEDED
Served = tuple[str, Client, Provider]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    """A server with TLS whose devices are all dead: its address by name, a client, the provider."""
    with provider() as works_id, site(tmp_path_factory.mktemp("page")) as made:
        with socket.create_server(("127.0.0.1", 0)) as free:
            port = free.getsockname()[1]
        made.data.mkdir()
        (made.data / "server.toml").write_text(SETTINGS.format(issuer=works_id.url, client=CLIENT, port=port))
        (made.data / "oidc-secret").write_text(SECRET)
        certs.init(
            Pki(made.data / "pki"), certs.identity("Page", "", None, ["localhost"]), 2048, 30, False, datetime.now(UTC)
        )
        Accounts(made.data, time.time_ns).add("sue", PASSWORD, Role.SUPERVISOR)
        dead = {"scada": "opc.tcp://127.0.0.1:9/x", "plc": "modbus://127.0.0.1:9/1", "pressures": "mqtt://127.0.0.1:9"}
        made.server = made._child([*server_words(made.data, port, dead), "--tls"])
        made.server.first_line()
        with Client(made.data) as client:
            yield f"https://localhost:{port}", client, works_id


@pytest.fixture
def page(browser: Browser) -> Iterator[Page]:
    """A browser that nobody has signed in with; it fails the test when the page broke its own policy."""
    complaints: list[str] = []

    def hear(message: ConsoleMessage) -> None:
        if "Content Security Policy" in message.text or "Trusted" in message.text:
            complaints.append(message.text)

    context = browser.new_context(ignore_https_errors=True, viewport=chromium.SIZE)
    made = context.new_page()
    made.on("console", hear)
    made.on("pageerror", lambda error: complaints.append(str(error)))
    yield made
    context.close()
    assert complaints == []


def test_an_account_signs_in_by_its_password_and_out_again(page: Page, served: Served) -> None:
    page.goto(served[0])
    expect(page.get_by_test_id("signed-out")).to_be_visible()
    page.get_by_test_id("account").fill("sue")
    page.get_by_test_id("password").fill("eleven bumps")
    page.get_by_test_id("sign-in").click()
    expect(page.get_by_test_id("error")).to_contain_text("no such account, or another password")
    page.get_by_test_id("password").fill(PASSWORD)
    page.keyboard.press("Enter")
    expect(page.get_by_test_id("who")).to_contain_text("sue, supervisor", timeout=20_000)
    (cookie,) = page.context.cookies()
    assert (cookie["name"], cookie["secure"], cookie["httpOnly"], cookie["sameSite"]) == (
        "__Host-twinloop_session", True, True, "Strict",
    )  # fmt: skip
    assert page.evaluate("document.cookie") == ""


def test_somebody_whom_a_provider_knows_comes_by_its_button(page: Page, served: Served) -> None:
    page.goto(served[0])
    expect(page.get_by_test_id("sign-in-provider")).to_have_text("Sign in with Works ID")
    page.get_by_test_id("sign-in-provider").click()
    expect(page.get_by_test_id("who")).to_contain_text("oidc:anna, operator", timeout=20_000)
    assert {c["name"] for c in page.context.cookies()} == {"__Host-twinloop_session"}


def test_a_provider_that_vouches_for_nobody_leads_back_with_a_reason(page: Page, served: Served) -> None:
    works_id = served[2]
    works_id.groups = ["strangers"]
    try:
        page.goto(served[0])
        page.get_by_test_id("sign-in-provider").click()
        expect(page.get_by_test_id("error")).to_contain_text("You could not be signed in")
    finally:
        works_id.groups = ["plant-operators"]
    page.get_by_test_id("sign-in-provider").click()
    expect(page.get_by_test_id("who")).to_contain_text("oidc:anna", timeout=20_000)


def test_whoever_is_put_out_sees_the_page_where_one_signs_in(page: Page, served: Served) -> None:
    page.goto(served[0])
    page.get_by_test_id("account").fill("sue")
    page.get_by_test_id("password").fill(PASSWORD)
    page.get_by_test_id("sign-in").click()
    expect(page.get_by_test_id("who")).to_contain_text("sue", timeout=20_000)
    served[1].patch("/accounts/sue", {"role": "viewer"})
    expect(page.get_by_test_id("who")).to_contain_text("sue, viewer", timeout=20_000)
    served[1].delete("/sessions?account=sue")
    expect(page.get_by_test_id("signed-out")).to_be_visible(timeout=20_000)
