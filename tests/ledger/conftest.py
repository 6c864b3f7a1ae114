"""Logs to test with: made afresh in a temporary directory, some with anchors."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import settings

from ledger.anchors import Anchorer
from ledger.entry import Entry, encode
from ledger.log import Log

# A shared machine may be slow at any moment, and found examples belong in a test, not in a hidden folder.
settings.register_profile("ledger", deadline=None, database=None)
settings.load_profile("ledger")


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


@pytest.fixture
def log(tmp_path: Path) -> Iterator[Log]:
    with Log.open(tmp_path / "evidence") as opened:
        yield opened


@pytest.fixture
def ten(tmp_path: Path) -> Path:
    """A closed log of ten entries under a checkpoint."""
    with Log.open(tmp_path / "ten") as made:
        made.append([payload(number) for number in range(10)])
        made.checkpoint()
    return tmp_path / "ten"


@pytest.fixture(scope="session")
def anchored_once(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A closed log of nine entries, anchored at 3, 6 and 9. Not to be written to: copy it."""
    directory = tmp_path_factory.mktemp("anchored")
    with Log.open(directory) as made, Anchorer(directory) as anchorer:
        for start in (0, 3, 6):
            made.append([payload(number) for number in range(start, start + 3)])
            head = made.head()
            anchorer.anchor(head.size, head.root)
        made.checkpoint()
    return directory
