"""Units convert within a dimension and refuse across."""

from __future__ import annotations

import pytest

from twin.units import UNITS, conversion


@pytest.mark.parametrize(
    ("source", "target", "value", "result"),
    [("cm", "m", 250.0, 2.5), ("L/s", "m3/h", 10.0, 36.0), ("degC", "K", 20.0, 293.15), ("degF", "degC", 212.0, 100.0),
     ("psi", "kPa", 1.0, 6.894757293168), ("%", "", 50.0, 0.5), ("mH2O", "kPa", 10.0, 98.0665)],
)  # fmt: skip
def test_values_convert(source: str, target: str, value: float, result: float) -> None:
    scale, offset = conversion(UNITS[source], UNITS[target])
    assert value * scale + offset == pytest.approx(result, rel=1e-12)


def test_values_of_two_dimensions_do_not_convert() -> None:
    with pytest.raises(ValueError, match="'m' measures length, 's' measures time"):
        conversion(UNITS["m"], UNITS["s"])
