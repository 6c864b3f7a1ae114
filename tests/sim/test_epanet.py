"""EPANET as a component: it agrees with WNTR's own runs, from any state, at any time of day, several at once."""

from __future__ import annotations

import platform
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest

from sim.epanet import LINK_QUANTITIES, NODE_QUANTITIES, Hydraulics, LinkInput
from sim.epanet_library import library
from twin.errors import BadRequest, Refused, Unavailable

NETWORK = Path(__file__).parents[2] / "scenarios" / "water" / "net3.inp"
RIVER_ONLY = {"335": LinkInput(True), "10": LinkInput(False), "330": LinkInput(False)}
LEVELS_M = {"1": 3.99288, "2": 7.1628, "3": 8.8392}


def levels_m(water: Hydraulics) -> np.ndarray:
    return water.read("node", list(water.tanks.values()), NODE_QUANTITIES["level"])


def flow_l_s(water: Hydraulics, link: str) -> float:
    water.solve()
    return float(water.read("link", water.links([link]), LINK_QUANTITIES["flow"])[0])


def test_tanks_follow_wntrs_own_simulator_within_a_millimetre_over_a_day() -> None:
    from wntr.library.model_library import ModelLibrary
    from wntr.network import WaterNetworkModel
    from wntr.sim import EpanetSimulator

    network = WaterNetworkModel(ModelLibrary().get_filepath("Net3"))
    for name in list(network.control_name_list):
        network.remove_control(name)
    network.options.time.duration = 24 * 3600
    network.options.time.hydraulic_timestep = network.options.time.report_timestep = 300
    with tempfile.TemporaryDirectory() as folder:
        truth = EpanetSimulator(network).run_sim(file_prefix=str(Path(folder) / "run"))
    expected = truth.node["pressure"][["1", "2", "3"]]

    water = Hydraulics(NETWORK, 300)
    water.start(0, LEVELS_M, RIVER_ONLY)
    for hour in range(25):
        water.advance(hour * 3600)
        assert levels_m(water) == pytest.approx(expected.loc[hour * 3600].to_numpy(), abs=1e-3), f"hour {hour}"


def test_a_run_started_in_the_middle_of_the_day_continues_the_same_day() -> None:
    whole, late = Hydraulics(NETWORK, 300), Hydraulics(NETWORK, 300)
    whole.start(0, LEVELS_M, RIVER_ONLY)
    whole.advance(9.5 * 3600)
    late.start(9.5 * 3600, dict(zip(whole.tanks, levels_m(whole), strict=True)), RIVER_ONLY)
    for hour in range(1, 15):
        whole.advance((9.5 + hour) * 3600)
        late.advance(hour * 3600)
        assert levels_m(late) == pytest.approx(levels_m(whole), abs=1e-3)
        assert late.clock_s == whole.clock_s


def test_two_networks_in_one_process_do_not_disturb_each_other() -> None:
    alone, other = Hydraulics(NETWORK, 300), Hydraulics(NETWORK, 60)
    alone.start(0, LEVELS_M, RIVER_ONLY)
    alone.advance(6 * 3600)
    expected = levels_m(alone)
    alone.start(0, LEVELS_M, RIVER_ONLY)
    other.start(0, {"1": 9.0}, {"335": LinkInput(False)})
    for hour in range(1, 7):
        alone.advance(hour * 3600)
        other.set_demand_multiplier(1.5)
        other.advance(hour * 3600)
    assert np.array_equal(levels_m(alone), expected)


def test_a_run_depends_on_nothing_that_ran_before_it() -> None:
    water = Hydraulics(NETWORK, 300)
    water.start(3600, LEVELS_M, RIVER_ONLY)
    water.advance(4 * 3600)
    first = levels_m(water)
    water.set_demand_multiplier(2.0)
    water.set_link("335", LinkInput(True, 0.7))
    water.advance(30 * 3600)
    water.start(3600, LEVELS_M, RIVER_ONLY)
    water.advance(4 * 3600)
    assert np.array_equal(levels_m(water), first)


def test_the_pump_stops_runs_and_turns_slower_when_told() -> None:
    water = Hydraulics(NETWORK, 300)
    water.start(6 * 3600, LEVELS_M, RIVER_ONLY)
    full_l_s = flow_l_s(water, "335")
    water.set_link("335", LinkInput(False))
    assert flow_l_s(water, "335") == 0
    water.set_link("335", LinkInput(True, 0.9))
    assert 0 < flow_l_s(water, "335") < full_l_s
    water.set_link("335", LinkInput(True))
    assert flow_l_s(water, "335") == pytest.approx(full_l_s, rel=1e-3)


def test_without_any_supply_the_tanks_run_empty_and_stay_there() -> None:
    water = Hydraulics(NETWORK, 300)
    water.start(6 * 3600, LEVELS_M, {**RIVER_ONLY, "335": LinkInput(False)})
    water.advance(24 * 3600)
    lows_m = [low for low, _ in water.level_limits_m.values()]
    assert levels_m(water) == pytest.approx(lows_m, abs=1e-3)


def test_a_full_tank_stays_full_and_takes_no_more() -> None:
    water = Hydraulics(NETWORK, 300)
    highs_m = {name: high for name, (_, high) in water.level_limits_m.items()}
    water.start(8 * 3600, {name: high + 0.02 for name, high in highs_m.items()}, RIVER_ONLY)
    water.advance(3600)
    assert (levels_m(water) <= np.array(list(highs_m.values())) + 1e-3).all()


def test_a_doubled_demand_multiplier_doubles_what_customers_draw() -> None:
    water = Hydraulics(NETWORK, 300)
    water.start(8 * 3600, LEVELS_M, RIVER_ONLY)
    nominal_l_s = water.demand_l_s()
    water.set_demand_multiplier(2.0)
    assert water.demand_l_s() == pytest.approx(2 * nominal_l_s, rel=1e-6)


def test_tank_inflow_is_what_the_level_says() -> None:
    water = Hydraulics(NETWORK, 60)
    water.start(2 * 3600, LEVELS_M, RIVER_ONLY)
    water.solve()
    inflow_l_s = water.read("node", [water.tanks["3"]], NODE_QUANTITIES["inflow"])[0]
    before_m = levels_m(water)[2]
    water.advance(60)
    area_m2 = np.pi / 4 * 49.9872**2
    assert (levels_m(water)[2] - before_m) * area_m2 == pytest.approx(inflow_l_s * 60 / 1000, rel=0.01)


def test_a_network_in_use_keeps_nothing_on_the_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.chdir(tmp_path)
    water = Hydraulics(NETWORK, 300)
    water.start(0, LEVELS_M, RIVER_ONLY)
    water.advance(3600)
    assert not list(tmp_path.iterdir())
    water.close()
    assert not list(tmp_path.iterdir())


def test_an_unknown_link_is_named() -> None:
    with pytest.raises(BadRequest, match="no link '999'"):
        Hydraulics(NETWORK, 300).set_link("999", LinkInput(True))


def test_a_process_that_runs_water_loads_the_library_and_nothing_else_of_wntr() -> None:
    code = (
        "import sys; from pathlib import Path; from sim.epanet import Hydraulics; "
        f"Hydraulics(Path({str(NETWORK)!r}), 300); sys.exit(bool({{'wntr', 'pandas', 'matplotlib'}} & sys.modules.keys()))"
    )
    assert subprocess.run([sys.executable, "-c", code], cwd=NETWORK.parents[2], check=False).returncode == 0


def test_what_epanet_refuses_is_said_in_its_own_words(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="EPANET error 302: cannot open input file"):
        Hydraulics(tmp_path / "none.inp", 300)


def test_a_machine_for_which_wntr_has_no_library_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    library.cache_clear()
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    monkeypatch.setattr(sys, "platform", "linux")
    with pytest.raises(Unavailable, match=r"no EPANET 2\.2 for linux on aarch64"):
        Hydraulics(NETWORK, 300)
