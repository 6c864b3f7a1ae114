"""What devices call their units, in our symbols; what could mean two things means nothing."""

from __future__ import annotations

import pytest

from protocols.said_units import AMBIGUOUS, SYMBOL_OF_CODE, unit_of_code, unit_of_text
from twin.units import UNITS


def code_number(code: str) -> int:
    """A UnitId: the code's letters as one number (OPC UA Part 8, 5.6.3.3)."""
    return int.from_bytes(code.encode(), "big")


@pytest.mark.parametrize(
    ("code", "number", "unit"),
    [
        ("CEL", 4408652, ("degC", 1.0)), ("MQH", 5067080, ("m3/h", 1.0)), ("BAR", 4342098, ("bar", 1.0)),
        ("MPA", 5066817, ("kPa", 1000.0)), ("P1", 20529, ("%", 1.0)), ("81", 14385, ("H", 1.0)),
        ("C62", 4404786, ("", 1.0)),
    ],
)  # fmt: skip
def test_common_codes_are_understood(code: str, number: int, unit: tuple[str, float]) -> None:
    assert code_number(code) == number and unit_of_code(number) == unit


def test_every_code_leads_to_a_unit_that_a_model_can_name() -> None:
    assert [c for c, (symbol, factor) in SYMBOL_OF_CODE.items() if not UNITS[symbol].dtdl or factor <= 0] == []


@pytest.mark.parametrize("number", [0, -1, 2**31 - 1, 2**24, code_number("ZZZ")])
def test_other_numbers_mean_nothing(number: int) -> None:
    assert unit_of_code(number) is None


@pytest.mark.parametrize(
    ("said", "unit"),
    [
        ("°C", ("degC", 1.0)), ("m³/h", ("m3/h", 1.0)), (" kW·h ", ("kWh", 1.0)), ("l/s", ("L/s", 1.0)),
        ("kΩ", ("kOhm", 1.0)), ("µm", ("um", 1.0)), ("N·m", ("Nm", 1.0)), ("degreeCelsius", ("degC", 1.0)),
        ("U/min", ("rpm", 1.0)), ("MPa", ("kPa", 1000.0)), ("mH2O", ("kPa", 9.80665)), ("percent", ("%", 1.0)),
        ("MW", ("MW", 1.0)), ("mW", ("mW", 1.0)), ("furlong", None), ("", ("", 1.0)),
    ],
)  # fmt: skip
def test_texts_are_understood_as_makers_write_them(said: str, unit: tuple[str, float] | None) -> None:
    assert unit_of_text(said) == unit


@pytest.mark.parametrize("said", sorted(AMBIGUOUS))
def test_a_letter_that_may_be_a_temperature_or_not_means_nothing(said: str) -> None:
    assert unit_of_text(said) is None


def test_every_symbol_of_ours_is_understood_in_a_unit_that_a_model_can_name() -> None:
    for symbol in UNITS.keys() - AMBIGUOUS:
        found = unit_of_text(symbol)
        assert found is not None and UNITS[found[0]].dtdl and UNITS[found[0]].dimension == UNITS[symbol].dimension
