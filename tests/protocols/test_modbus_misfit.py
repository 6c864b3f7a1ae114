"""A value that a register can never hold is told before anything is sent, with the values that fit."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from protocols.catalog import PROTOCOLS
from protocols.modbus.misfit import misfit
from twin.plantfile import load_plant

WATER = load_plant(
    Path(__file__).parents[2] / "scenarios" / "water", {name: entry.rules for name, entry in PROTOCOLS.items()}
)
SPEED = WATER.point("pump_335.speed")  # % in tenths


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (92.5, ""),
        (0.0, ""),
        (92.589, "its register holds whole numbers only; 92.5 and 92.6 % fit"),
        (7000.0, "7000 % is 70000 in the register: "),
    ],
)
def test_it_says_what_fits(value: float, said: str) -> None:
    found = misfit(SPEED, value)
    assert found.startswith(said) if said else found == ""


def test_a_float_register_holds_any_number() -> None:
    assert misfit(replace(SPEED, address="holding:0:float32"), 92.589) == ""
