"""Models in a real browser: how one in service fares, its forecasts against what came, a retraining; and no models."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, expect

from control.client import Client
from protocols.catalog import PROTOCOLS
from tests.plant import chromium
from tests.plant.site import site, until
from tests.plant.test_learned import first_model, pumping, row, write_plant
from twin.plantfile import load_plant

pytestmark = chromium.NEEDED


NOISE = 1.0  # L/s: without it a forecast has no band


class Pumps:
    """The device behind the plant, moving in a thread of its own."""

    def __init__(self, folder: Path) -> None:
        self._plant = load_plant(folder, {name: entry.rules for name, entry in PROTOCOLS.items()})
        self._ready, self._stop = threading.Event(), asyncio.Event()
        self.endpoint = ""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()), daemon=True)

    async def _run(self) -> None:
        async with pumping(self._plant, NOISE) as served:
            self.endpoint = served.endpoint
            self._ready.set()
            await self._stop.wait()

    def __enter__(self) -> Pumps:
        self._thread.start()
        assert self._ready.wait(30)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Client, str]]:
    folder = tmp_path_factory.mktemp("models")
    plant = write_plant(folder / "pumps")
    first_model(folder / "data", NOISE)
    with site(folder) as made, Pumps(plant) as pumps:
        client = made.start_server(str(plant), plc=pumps.endpoint)
        until(lambda: row(client)["error"], lambda error: error is not None)
        yield client, made.login
        client.close()


@pytest.fixture(scope="module")
def page(client: tuple[Client, str], browser: Browser) -> Page:
    page = browser.new_page(viewport=chromium.SIZE)
    page.goto(client[1])
    expect(page.get_by_test_id("who")).to_be_visible(timeout=15_000)
    return page


def test_a_model_in_service_shows_its_state_champion_and_forecasts_against_what_came(
    page: Page, client: tuple[Client, str]
) -> None:
    page.wait_for_timeout(12_000)  # so that there is something to compare
    page.keyboard.press("m")
    expect(page.get_by_test_id("model-state")).to_have_attribute("data-state", "serving")
    champion = client[0].get("/learned")[0]["model"]
    expect(page.get_by_test_id("model-stages")).to_contain_text(champion[:12])
    expect(page.get_by_test_id("model-chart").locator("canvas")).to_be_visible(timeout=15_000)
    page.goto(page.url.split("#")[0] + "#/models?model=soon&point=pump_3.flow&ahead=0.5&range=30")
    expect(page.get_by_test_id("model-chart")).to_contain_text("pump_3.flow", timeout=15_000)
    expect(page.get_by_test_id("model-calibration").locator("tbody tr")).to_have_count(2)
    expect(page.get_by_test_id("trend-fared")).to_contain_text("inside its band")
    chromium.picture(page, "models")


def test_a_viewer_cannot_train_and_is_told_why(page: Page) -> None:
    # A login link without an account is an operator, who may not.
    expect(page.get_by_test_id("training-start")).to_be_disabled()
    expect(page.get_by_test_id("training-hindrance")).to_contain_text("may not train models")


def test_an_engineer_starts_a_retraining_and_stops_it(page: Page, client: tuple[Client, str]) -> None:
    client[0].post("/accounts", {"name": "eva", "password": "eleven pumps", "role": "engineer"})
    browser = page.context.browser
    assert browser is not None
    eva = browser.new_context(viewport={"width": 1280, "height": 720}).new_page()
    eva.goto(client[0].url + client[0].post("/login-link", {"account": "eva"})["path"])
    expect(eva.get_by_test_id("who")).to_contain_text("eva, engineer")
    eva.get_by_test_id("tab-models").click()
    eva.get_by_test_id("training-reason").fill("browser test")
    eva.get_by_test_id("training-start").click()
    expect(eva.get_by_test_id("training")).to_contain_text("browser test")
    if eva.get_by_test_id("training-stop").is_visible():
        eva.get_by_test_id("training-stop").click()
    expect(eva.get_by_test_id("training")).not_to_have_attribute("data-course", "running", timeout=30_000)
    eva.context.close()
