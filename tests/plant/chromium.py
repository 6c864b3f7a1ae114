"""Debian's chromium: how the browser tests start it, sign in, hear what it complains of, and take pictures."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from control.client import Client

PATH = shutil.which("chromium") or shutil.which("chromium-browser")
if PATH is None and os.environ.get("CI"):
    raise RuntimeError("chromium is missing: .ci/run installs it")
INSTALLED = pytest.mark.skipif(PATH is None, reason="Debian's chromium is not installed")
"""Mark of a single test that uses it."""
NEEDED = [INSTALLED, pytest.mark.timeout(170)]
"""`pytestmark` of a module whose tests use it."""
PICTURES = os.environ.get("TWINLOOP_PICTURES")
"""Folder for screenshots: `make pictures` writes those of the README and the guides."""
SIZE: Any = {"width": 1280, "height": 720}
_FLAGS = (
    "--no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --disable-dev-shm-usage"
)


@contextmanager
def launched(*more: str) -> Iterator[Browser]:
    """Args: more: flags besides the usual ones."""
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=PATH, args=[*_FLAGS.split(), *more])
        yield found
        found.close()


def complaints_of(page: Page) -> list[str]:
    """Errors and warnings of the page from now on, as they come."""
    found: list[str] = []
    hear(page, found)
    return found


def hear(page: Page, complaints: list[str]) -> None:
    """Errors and warnings of several pages in one list."""
    page.on("console", lambda m: complaints.append(m.text) if m.type in ("error", "warning") else None)
    page.on("pageerror", lambda error: complaints.append(str(error)))


def signed_in_as(browser: Browser, client: Client, account: str) -> Page:
    """A page of its own for an account, in a context of its own."""
    page = browser.new_context(viewport=SIZE, color_scheme="light").new_page()
    page.goto(client.url + client.post("/login-link", {"account": account})["path"])
    expect(page.get_by_test_id("who")).to_contain_text(account, timeout=15_000)
    return page


def picture(page: Page, name: str) -> None:
    if PICTURES:
        page.screenshot(path=str(Path(PICTURES) / f"{name}.png"))
