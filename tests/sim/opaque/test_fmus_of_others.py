"""FMUs that a tool of others builds from a Python class, for FMI 2 and 3: they step, and fork by repetition."""

from __future__ import annotations

import importlib.util
import os
import subprocess
import sys
from pathlib import Path

import pytest

from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.fmu import Fmu
from sim.spec import Constant, Port, Signal
from tests.sim.opaque.plants import run, told
from twin.errors import Refused

KETTLE = """
from {tool} import {base}, {causality} as Causality, {number} as Number

class Kettle({base}):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
        self.time, self.power, self.heat = 0.0, 1.0, 20.0
        {extra}
        self.register_variable(Number("power", causality=Causality.input))
        self.register_variable(Number("heat", causality=Causality.output))

    def do_step(self, current_time, step_size):
        self.heat += (self.power - 0.01 * (self.heat - 20.0)) * step_size
        return True
"""
TIME = (
    'from pythonfmu3 import Fmi3Variability as V; self.register_variable(Number("time", '
    "causality=Causality.independent, variability=V.continuous))"
)
TOOLS = {
    "pythonfmu": {"base": "Fmi2Slave", "causality": "Fmi2Causality", "number": "Real", "extra": "pass"},
    "pythonfmu3": {"base": "Fmi3Slave", "causality": "Fmi3Causality", "number": "Float64", "extra": TIME},
}


@pytest.fixture(scope="module", params=TOOLS)
def kettle(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    tool: str = request.param
    if importlib.util.find_spec(tool) is None:
        if os.environ.get("CI"):
            pytest.fail(f"{tool} is needed to build the FMU")
        pytest.skip(f"{tool} is not installed")
    folder = tmp_path_factory.mktemp(tool)
    script = folder / f"kettle_{tool}.py"  # both import it into this process, by its name
    script.write_text(KETTLE.format(tool=tool, **TOOLS[tool]))
    subprocess.run(
        [sys.executable, "-m", tool, "build", "-f", str(script), "-d", str(folder)],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder / "Kettle.fmu"


def kitchen(path: Path, *, replay: bool) -> Layout:
    class Kettle(Stepped):
        model = Fmu(str(path), replay=replay)
        step = Constant(5.0)
        power, heat = Port(Signal), Port(Signal)
        ties = Ties(reads={"power": power}, writes={"heat": heat})

    plant = Layout("kitchen")
    plant.add(Kettle, "kettle", power=plant.signal("power", 2.0), heat=plant.signal("heat"))
    return plant


def by_hand(pieces: list[tuple[float, float]]) -> float:
    heat = 20.0
    for power, seconds in pieces:
        heat += (power - 0.01 * (heat - 20.0)) * seconds
    return heat


def test_it_steps_as_its_class_says(kettle: Path) -> None:
    going = run(kitchen(kettle, replay=False), 20.0, (12.0, "power", 0.5))
    pieces = [(2.0, 5.0), (2.0, 5.0), (2.0, 2.0), (0.5, 3.0), (0.5, 5.0)]
    assert told(going, ("heat",)) == [pytest.approx(by_hand(pieces), rel=1e-12)]
    with pytest.raises(Refused, match=r"Kettle\.fmu cannot save its state.*replay=True"):
        going.snapshot()
    going.close()


def test_repeating_its_inputs_forks_it_bit_for_bit(kettle: Path) -> None:
    plant = kitchen(kettle, replay=True)
    live = run(plant, 33.0, (12.0, "power", 0.5))
    state = live.snapshot()
    live.run(80.0)
    fork = run(plant, 80.0, state=state, fresh=0)
    assert told(fork, ("heat",)) == told(live, ("heat",))
    for each in (live, fork):
        each.close()
