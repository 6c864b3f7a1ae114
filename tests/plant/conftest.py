"""The whole site and the browser that tests of the console share: one of each for a file."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page, expect

from control.client import Client
from tests.plant import chromium
from tests.plant.site import Site, live, site, until


@pytest.fixture(scope="module")
def plant(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Site, Client]]:
    """The water plant, sixty times faster than life, with every point good."""
    with site(tmp_path_factory.mktemp("site")) as running:
        running.start_fleet(speed=60)
        client = running.start_server()
        until(lambda: live(client), lambda found: found[0] == found[1])
        yield running, client
        client.close()


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with chromium.launched() as found:
        yield found


@pytest.fixture(scope="module")
def signed_in(plant: tuple[Site, Client], browser: Browser) -> tuple[Page, list[str]]:
    """One page, signed in by the printed link, and everything the browser complained about."""
    page = browser.new_page(viewport=chromium.SIZE)
    complaints = chromium.complaints_of(page)
    page.goto(plant[0].login)
    expect(page.get_by_test_id("live-count")).to_be_visible(timeout=15_000)
    return page, complaints


@pytest.fixture(scope="module")
def page(signed_in: tuple[Page, list[str]]) -> Page:
    return signed_in[0]
