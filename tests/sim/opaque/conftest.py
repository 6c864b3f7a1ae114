"""The tests' own FMU, made once."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.sim.opaque.fmus import tank_fmu


@pytest.fixture(scope="session", params=[2, 3], ids=["FMI 2", "FMI 3"])
def tank(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tank_fmu(tmp_path_factory.mktemp("fmu"), request.param)
