"""Units convert within a dimension and refuse across; the guide lists them all."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from twin.units import DIMENSIONS_OF_SEMANTIC, SPELLINGS, UNIT_OF_DTDL, UNITS, Unit, conversion, semantic_complaint

GUIDE = Path(__file__).parents[2] / "docs/plant.md"


@pytest.mark.parametrize(
    ("source", "target", "value", "result"),
    [("cm", "m", 250.0, 2.5), ("L/s", "m3/h", 10.0, 36.0), ("degC", "K", 20.0, 293.15), ("degF", "degC", 212.0, 100.0),
     ("psi", "kPa", 1.0, 6.894757293168), ("%", "", 50.0, 0.5), ("mH2O", "kPa", 10.0, 98.0665),
     ("gpm", "L/min", 1.0, 3.785411784), ("hp", "W", 1.0, 745.6998715822702), ("acre", "m2", 1.0, 4046.8564224),
     ("kn", "km/h", 1.0, 1.852), ("BTU", "J", 1.0, 1055.05585262), ("TR", "kW", 1.0, 3.5168528420667),
     ("floz", "mL", 1.0, 29.5735295625), ("lbf", "N", 1.0, 4.4482216152605), ("KiB", "bit", 1.0, 8192.0),
     ("MiB/s", "KiB/s", 1.0, 1024.0), ("inHg", "hPa", 1.0, 33.86389), ("fc", "lx", 1.0, 10.763910416709722),
     ("turn", "deg", 1.0, 360.0), ("rpm", "deg/s", 1.0, 6.0), ("kWh/a", "W", 8.766, 1.0), ("mAh", "C", 1.0, 3.6),
     ("slug", "kg", 1.0, 14.593902937206), ("dB", "bel", 10.0, 1.0), ("degC", "degF", -40.0, -40.0)],
)  # fmt: skip
def test_values_convert(source: str, target: str, value: float, result: float) -> None:
    scale, offset = conversion(UNITS[source], UNITS[target])
    assert value * scale + offset == pytest.approx(result, rel=1e-12)


def test_values_of_two_dimensions_do_not_convert() -> None:
    with pytest.raises(ValueError, match="'m' measures length, 's' measures time"):
        conversion(UNITS["m"], UNITS["s"])


@given(st.sampled_from(sorted(UNITS)), st.sampled_from(sorted(UNITS)), st.floats(-1e6, 1e6))
def test_a_conversion_there_and_back_changes_nothing(source: str, target: str, value: float) -> None:
    there, back = UNITS[source], UNITS[target]
    if there.dimension != back.dimension:
        with pytest.raises(ValueError):
            conversion(there, back)
        return
    scale, offset = conversion(there, back)
    again, shift = conversion(back, there)
    assert (value * scale + offset) * again + shift == pytest.approx(value, rel=1e-9, abs=1e-9)


def test_symbols_and_names_stand_for_one_unit_each() -> None:
    assert len(UNITS) == len({u.dtdl or u.symbol for u in UNITS.values()})
    assert all(u.factor > 0 for u in UNITS.values())
    assert len(UNIT_OF_DTDL) == 240, "as many as the quantitative types extension names"


def test_every_dimension_that_a_semantic_type_wants_has_units() -> None:
    known = {u.dimension for u in UNITS.values()}
    assert [d for ds in DIMENSIONS_OF_SEMANTIC.values() for d in ds if d not in known] == []


def test_a_semantic_type_refuses_units_of_another_dimension() -> None:
    assert semantic_complaint("Temperature", UNITS["degF"]) == ""
    assert semantic_complaint("Colour", UNITS["m"]) == ""
    assert semantic_complaint("IonizingRadiationDose", UNITS["mSv"]) == ""
    said = semantic_complaint("Temperature", UNITS["m"])
    assert said == "Temperature is measured in temperature, metre measures length"


def guide_row(dimension: str, units: list[Unit]) -> str:
    shown = [
        (f"`{u.symbol}`" if u.symbol else "empty") + (f" (`{u.dtdl}`)" if u.dtdl and u.dtdl != u.symbol else "")
        for u in units
    ]
    return f"| {dimension} | {', '.join(shown)} |"


def test_the_guide_lists_every_unit() -> None:
    ordered = sorted(
        UNITS.values(), key=lambda u: list(dict.fromkeys(v.dimension for v in UNITS.values())).index(u.dimension)
    )
    rows = [guide_row(d, list(us)) for d, us in groupby(ordered, lambda u: u.dimension)]
    text = GUIDE.read_text()
    assert [r for r in rows if r not in text] == [], "write these rows into docs/plant.md"


def test_litres_have_two_spellings_and_one_unit() -> None:
    assert SPELLINGS["l/min"] is UNITS["L/min"] and SPELLINGS["ml"] is UNITS["mL"]
    assert "lx" in UNITS and set(UNITS) <= set(SPELLINGS)
