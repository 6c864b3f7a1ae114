"""The example script runs as written and says what an engineer wants to know."""

from __future__ import annotations

import pytest

from scenarios.water import pump_trip


def test_the_script_prints_differences_and_risks_of_both_options(capsys: pytest.CaptureFixture[str]) -> None:
    pump_trip.main()
    lines = capsys.readouterr().out.splitlines()
    assert any(line.startswith("pump 335 trips") and "tank_1.level.final" in line for line in lines)
    assert any(line.startswith("lake pump helps") and "P(tank_1.level<1)" in line for line in lines)
    assert "64 pairs" in lines[-1]
