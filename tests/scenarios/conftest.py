"""Net3 as a plant, and its truth, for the tests of the scenarios."""

from __future__ import annotations

from pathlib import Path

import pytest

from protocols.catalog import PROTOCOLS
from twin.plant import Plant
from twin.plantfile import load_plant


@pytest.fixture(scope="session")
def plant() -> Plant:
    folder = Path(__file__).parents[2] / "scenarios" / "water"
    return load_plant(folder, {name: entry.rules for name, entry in PROTOCOLS.items()})
