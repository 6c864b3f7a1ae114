"""An FMU in a plant: it follows what the plant tells it, forks bit for bit, and fails with a name."""

from __future__ import annotations

import gc
import math
import sys
from pathlib import Path

import pytest

from sim.kernel.assembly import assemble
from sim.kernel.faults import Fault
from sim.kernel.world import pack
from sim.layout import Layout
from sim.opaque.component import Stepped, Ties
from sim.opaque.fmu import Fmu
from sim.spec import Constant, Misspelt, Port, Signal
from tests.sim.opaque.fmus import tank_fmu
from tests.sim.opaque.plants import run, tank_class, tank_plant, told
from twin.errors import BadRequest, Refused, Unavailable

ALL = ("level", "tank.wear", "tank.steps")


def settled(level: float, inflow: float, seconds: float, k: float = 0.1, area: float = 2.0) -> float:
    """Level of the tests' tank after a constant inflow, by hand."""
    return inflow / k + (level - inflow / k) * math.exp(-k * seconds / area)


def by_hand(level: float, pieces: list[tuple[float, float]]) -> float:
    """Its level after (inflow, seconds) in turn; it wears with what came in."""
    total = 0.0
    for inflow, seconds in pieces:
        level = settled(level, inflow, seconds, 0.1 * (1 + 0.001 * total))
        total += inflow * seconds
    return level


def test_the_level_is_what_a_calculation_by_hand_gives(tank: Path) -> None:
    going = run(tank_plant(tank), 30.0)
    assert told(going, ALL) == [pytest.approx(by_hand(1.0, [(0.2, 10.0)] * 3), rel=1e-12), pytest.approx(6.0), 3.0]
    going.close()


def test_an_inflow_that_changes_between_two_steps_counts_from_that_moment(tank: Path) -> None:
    going = run(tank_plant(tank), 30.0, (13.5, "inflow", 0.6))
    pieces = [(0.2, 10.0), (0.2, 3.5), (0.6, 6.5), (0.6, 10.0)]
    assert told(going, ALL[:1]) == [pytest.approx(by_hand(1.0, pieces), rel=1e-12)]
    going.close()


def test_an_fmu_that_can_only_be_stepped_evenly_sees_it_at_its_next_step(tmp_path: Path) -> None:
    going = run(tank_plant(tank_fmu(tmp_path, 2, even=True)), 30.0, (13.5, "inflow", 0.6))
    pieces = [(0.2, 10.0), (0.2, 10.0), (0.6, 10.0)]
    assert told(going, ("level", "tank.steps")) == [pytest.approx(by_hand(1.0, pieces), rel=1e-12), 3.0]
    going.close()


def test_parameters_first_values_and_switches_reach_it(tank: Path) -> None:
    going = run(tank_plant(tank, first=4.0, area=1.0), 10.0, (0.0, "tank.gate", 0.0))
    assert told(going, ("level",)) == [pytest.approx(settled(4.0, 0.0, 10.0, area=1.0), rel=1e-12)]
    going.close()


@pytest.mark.parametrize("replay", [False, True], ids=["its own state", "its inputs again"])
def test_a_forked_run_goes_on_bit_for_bit(tank: Path, replay: bool) -> None:
    plant = tank_plant(tank, first=3.0, replay=replay)
    live = run(plant, 47.0, (33.3, "inflow", 0.7))
    state, before = live.snapshot(), told(live, ALL)
    live.run(200.0)
    fork = run(plant, 200.0, state=state, fresh=0)
    assert told(fork, ALL) == told(live, ALL) != before
    again = run(plant, 200.0, (60.0, "inflow", 0.0), state=state, fresh=0)
    assert told(again, ("level",)) < told(live, ("level",))
    for going in (live, fork, again):
        going.close()


def test_a_start_with_other_chance_keeps_the_models_state(tank: Path) -> None:
    plant = tank_plant(tank)
    live = run(plant, 45.0)
    state = live.aged()
    live.run(100.0)
    fork = run(plant, 100.0, state=state, fresh=2)
    assert told(fork, ALL) == pytest.approx(told(live, ALL), rel=1e-12)
    for going in (live, fork):
        going.close()


def test_a_start_from_measured_values_begins_the_model_with_them(tank: Path) -> None:
    plant = tank_plant(tank, first=2.5)
    live = run(plant, 45.0)
    state = live.aged()
    assert state.opaque.keys() == {"tank"}
    measured = type(state)(state.plan, state.ints, state.floats)
    fork = run(plant, 65.0, state=measured, fresh=2)
    assert told(fork, ("level",)) == [pytest.approx(by_hand(2.5, [(0.2, 10.0), (0.2, 10.0)]), rel=1e-9)]
    with pytest.raises(Refused, match="the state holds nothing of tank, the FMU"):
        run(plant, 55.0, state=measured, fresh=0)
    for going in (live, fork):
        going.close()


def test_a_plant_that_nothing_is_planned_in_yet_begins_like_a_fresh_one(tank: Path) -> None:
    plant = tank_plant(tank, first=2.5)
    measured = run(plant, 40.0, state=pack(assemble(plant, seed=3).world), fresh=2)
    fresh = run(plant, 40.0)
    assert told(measured, ALL) == told(fresh, ALL)
    for going in (measured, fresh):
        going.close()


def test_an_fmu_that_cannot_save_its_state_says_so(tmp_path: Path) -> None:
    live = run(tank_plant(tank_fmu(tmp_path, 2, forks=False)), 20.0)
    with pytest.raises(Refused, match=r"tank2\.fmu cannot save its state.*canGetAndSetFMUstate.*replay=True"):
        live.snapshot()
    live.close()


def test_a_state_of_another_fmu_is_refused(tank: Path) -> None:
    live = run(tank_plant(tank), 20.0)
    with pytest.raises(Refused, match="the state of tank is of another"):
        run(tank_plant(tank, k=0.2), 30.0, state=live.snapshot(), fresh=0)
    live.close()


def test_an_fmu_that_fails_stops_the_run_with_its_own_words(tank: Path, capfd: pytest.CaptureFixture[str]) -> None:
    words = r"tank \(Tank, the FMU tank\d\.fmu\) failed: fmi\dDoStep: error: the level is -[\d.]+ m, at 20"
    with pytest.raises(Fault, match=words):
        run(tank_plant(tank), 100.0, (10.0, "inflow", -2.0))
    assert capfd.readouterr().out == ""


def test_an_fmu_for_another_machine_is_told_before_it_runs(tmp_path: Path) -> None:
    plant = tank_plant(tank_fmu(tmp_path, 2, platform="win64"))
    with pytest.raises(Unavailable, match=r"tank2\.fmu has binaries for .*, this is \w+.*export it"):
        run(plant, 1.0)


def test_an_fmu_that_a_process_can_have_once_is_had_once(tmp_path: Path) -> None:
    plant = tank_plant(tank_fmu(tmp_path, 3, once=True))
    first = run(plant, 10.0)
    with pytest.raises(Unavailable, match=r"tank3\.fmu can be instantiated once in a process, and is"):
        run(plant, 10.0)
    first.close()
    run(plant, 10.0).close()


def test_without_the_extra_the_message_names_it(tank: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    copy = tmp_path / "copy.fmu"
    copy.write_bytes(tank.read_bytes())
    monkeypatch.setitem(sys.modules, "fmpy", None)
    with pytest.raises(Unavailable, match=r"twinloop\[fmi\]"):
        tank_plant(copy)


def test_what_is_no_fmu_is_told_when_it_is_placed(tmp_path: Path) -> None:
    with pytest.raises(BadRequest, match=r"there is no FMU .*gone\.fmu"):
        tank_plant(tmp_path / "gone.fmu")
    (tmp_path / "text.fmu").write_text("not a zip")
    with pytest.raises(BadRequest, match=r"text\.fmu cannot be used: .*zip"):
        tank_plant(tmp_path / "text.fmu")


def test_unknown_names_are_told_with_the_nearest(tank: Path) -> None:
    with pytest.raises(BadRequest, match="no parameter 'aera'"):
        tank_plant(tank, aera=3.0)

    class Wrong(Stepped):
        model = Fmu(str(tank))
        q = Port(Signal)
        ties = Ties(reads={"inflw": q})

    plant = Layout()
    with pytest.raises(Misspelt, match=r"t: Wrong reads 'inflw'.*has no such variable.*inflow"):
        plant.add(Wrong, "t", q=plant.signal("q"))

    class Output(Wrong):
        ties = Ties(reads={"level": Wrong.q})

    with pytest.raises(Misspelt, match="reads 'level'"):
        plant.add(Output, "t", q=plant.entity("q"))


def test_a_component_without_a_model_is_told() -> None:
    class Empty(Stepped):
        pass

    with pytest.raises(Misspelt, match="t: Empty names no model"):
        Layout().add(Empty, "t")


def test_instances_are_freed_when_the_run_is_closed(tank: Path) -> None:
    def loaded() -> bool:
        lines = Path("/proc/self/maps").read_text().splitlines()
        return any("twinloop-fmu-" in line and line.endswith("tank.so") for line in lines)

    if not Path("/proc/self/maps").exists():
        pytest.skip("no /proc here")
    gc.collect()
    before = loaded()
    going = [run(tank_plant(tank), 20.0, replication=r) for r in range(3)]
    assert loaded()
    for each in going:
        each.close()
    assert loaded() == before


def test_many_replications_of_one_fmu_do_not_disturb_each_other(tank: Path) -> None:
    plant = tank_plant(tank)
    alone = [told(run(plant, 50.0, (20.0, "inflow", q)), ALL) for q in (0.1, 0.5)]
    beside = [run(plant, 20.0, (20.0, "inflow", q)) for q in (0.1, 0.5)]
    for at in (30.0, 40.0, 50.0):
        for each in beside:
            each.run(at)
    assert [told(each, ALL) for each in beside] == alone
    for each in beside:
        each.close()


def test_a_step_is_a_number_that_a_scenario_can_change(tank: Path) -> None:
    going = run(tank_plant(tank), 40.0, (20.0, "tank.step.value", 5.0))
    assert told(going, ("tank.steps",)) == [6.0]  # 10, 20, 25, 30, 35, 40
    assert tank_class(Fmu(str(tank))).step.numbers == (10.0,)
    assert Constant(10.0).numbers == (10.0,)
    going.close()
