"""The bottling line: its files, its devices as PackML machines on OPC UA, and what-ifs from its live state."""

from __future__ import annotations

import json
import threading
from dataclasses import replace
from pathlib import Path

import asyncua
import numpy as np
import pytest

from scenarios.bottling import crew_or_belt
from scenarios.layout_mover import LayoutMover
from scenarios.observe import observe, snapshot_of
from sim.kernel.assembly import assemble
from sim.kernel.compiler import kernel_of
from sim.kernel.ensemble import Ask, pairs, replicate
from sim.kernel.names import Names
from sim.live import FRESH, start
from sim.model import model_mistakes
from sim.question import Question
from sim.runner import Runner
from sim.scenario import parse_scenario
from sim.whatif import Now, compare, job_of
from tests.scenarios.bottling import FOLDER, bottling, fleet_of
from tests.scenarios.test_fleet import until
from twin.errors import BadRequest
from twin.plant import Plant
from twin.quality import is_good

NOW = 1_700_000_000_000_000_000
HOUR_S = 3600.0
STOPPED, SUSPENDED, EXECUTE, STOPPING, ABORTED, CLEARING, HOLDING, HELD = 2, 5, 6, 7, 9, 1, 10, 11
MACHINES = ("filler", "labeller", "packer")


@pytest.fixture(scope="module")
def plant() -> Plant:
    return bottling()


def value(plant: Plant, mover: LayoutMover, elapsed_s: float, name: str) -> float:
    snapshot = observe(plant, mover, elapsed_s, NOW)
    return float(snapshot.columns.value[plant.point(name).id])


# --- files -----------------------------------------------------------------------------------------------------------


def test_the_model_of_the_line_has_no_mistakes(plant: Plant) -> None:
    assert model_mistakes(plant) == []


@pytest.mark.parametrize("path", sorted((FOLDER / "interfaces").glob("*.json")), ids=lambda p: p.stem)
def test_an_interface_says_what_each_of_its_values_is(path: Path) -> None:
    document = json.loads(path.read_text())
    assert document["description"]
    assert all(c["displayName"] for c in document["contents"])


def test_every_point_of_the_line_is_told_by_the_layout(plant: Plant) -> None:
    snapshot = observe(plant, LayoutMover(plant, 1), HOUR_S, NOW)
    silent = [p.name for p in plant.points if p.device and not np.isfinite(snapshot.columns.value[p.id])]
    assert silent == []
    assert all(is_good(int(snapshot.columns.quality[p.id])) for p in plant.points if p.device)


# --- devices ---------------------------------------------------------------------------------------------------------


def test_the_same_seed_moves_the_line_alike(plant: Plant) -> None:
    one, other, third = (observe(plant, LayoutMover(plant, seed), 2 * HOUR_S, NOW).columns for seed in (1, 1, 2))
    assert np.array_equal(one.value, other.value, equal_nan=True)
    assert not np.array_equal(one.value, third.value, equal_nan=True)


def test_a_filler_that_is_stopped_finishes_its_crate_and_the_line_starves(plant: Plant) -> None:
    mover = LayoutMover(plant, 4)
    # Its crate has just been loaded: the filler is not done with it a second later.
    loaded = next(s for s in range(600, 660) if value(plant, mover, s, "filler.status.StateCurrentTime") < 1)
    assert mover.command(plant.point("filler.command.Run"), 0.0)
    assert value(plant, mover, loaded + 1, "filler.status.StateCurrent") == STOPPING
    assert value(plant, mover, loaded + 1, "filler.status.Running") == 1
    assert value(plant, mover, loaded + 20, "filler.status.StateCurrent") == STOPPED
    assert value(plant, mover, loaded + 20, "filler.status.Running") == 0
    assert value(plant, mover, 1200, "packer.status.StateCurrent") == SUSPENDED
    assert value(plant, mover, 1200, "packer.status.Starved") == 1
    packed = value(plant, mover, 1200, "line.packed")
    assert value(plant, mover, 2400, "line.packed") == packed
    assert mover.command(plant.point("filler.command.Run"), 1.0)
    assert value(plant, mover, 3600, "line.packed") > packed


def test_a_machine_breaks_waits_for_the_crew_and_is_repaired(plant: Plant) -> None:
    mover = LayoutMover(plant, 2)
    assert mover.command(plant.point("crew.size"), 0.0)
    seen: list[set[float]] = []
    points = [plant.point(f"{machine}.status.StateCurrent").id for machine in MACHINES]
    for turn in range(1, 600):
        if turn == 400:
            assert mover.command(plant.point("crew.size"), 1.0)
        measured = mover.advance(turn * 60.0)
        seen.append(set(snapshot_of(plant, measured, mover, NOW).columns.value[points].tolist()))
    assert ABORTED in set.union(*seen[:399])
    assert CLEARING not in set.union(*seen[:399])  # nobody comes
    assert EXECUTE not in seen[398]  # and one machine that stands stops the line
    repairs = [turn for turn, states in enumerate(seen) if CLEARING in states]
    assert repairs[0] == 399
    assert any(states == {EXECUTE} for states in seen[repairs[0] :])


def test_maintenance_starts_the_life_of_a_machine_anew(plant: Plant) -> None:
    mover = LayoutMover(plant, 4)
    age_s = value(plant, mover, 1800, "filler.admin.AccTimeSinceReset")
    assert age_s > 1000
    assert mover.command(plant.point("filler.command.UnitMode"), 2.0)
    assert value(plant, mover, 1810, "filler.status.StateCurrent") in (HOLDING, HELD)
    assert value(plant, mover, 1810, "filler.status.UnitModeCurrent") == 2
    assert value(plant, mover, 3000, "filler.status.UnitModeCurrent") == 1
    assert mover.settings()[plant.point("filler.command.UnitMode").id] == 1
    assert value(plant, mover, 3000, "filler.admin.AccTimeSinceReset") < age_s


def test_what_a_machine_cannot_do_is_refused_by_its_controller(plant: Plant) -> None:
    mover = LayoutMover(plant, 1)
    assert not mover.command(plant.point("filler.command.MachSpeed"), 9.0)
    assert not mover.command(plant.point("filler.command.UnitMode"), 3.0)
    assert not mover.command(plant.point("crew.size"), 1.5)
    assert not mover.command(plant.point("filler.status.Running"), 1.0)


def test_a_faster_filler_fills_more(plant: Plant) -> None:
    one, other = LayoutMover(plant, 3), LayoutMover(plant, 3)
    assert other.command(plant.point("filler.command.MachSpeed"), 7.5)
    count = "filler.admin.ProdProcessedCount"
    assert value(plant, other, 300, "filler.status.CurMachSpeed") == pytest.approx(7.5)
    assert value(plant, other, 600, count) > value(plant, one, 600, count)


async def test_the_machines_speak_opc_ua_and_obey(plant: Plant) -> None:
    async with fleet_of(plant, speed=60.0) as endpoints, asyncua.Client(endpoints["filler_plc"]) as filler:
        state = filler.get_node("ns=2;s=filler.status.StateCurrent")
        run = filler.get_node("ns=2;s=filler.command.Run")
        before = len([t for t in threading.enumerate() if t.name.startswith("mover")])
        assert before == 1
        await run.write_value(asyncua.ua.DataValue(asyncua.ua.Variant(False, asyncua.ua.VariantType.Boolean)))

        async def stopped() -> bool:
            return bool(await state.read_value() in (STOPPED, ABORTED, CLEARING))

        await until(stopped)
        async with asyncua.Client(endpoints["packer_plc"]) as packer:
            starved = packer.get_node("ns=2;s=packer.status.Starved")
            await until(starved.read_value)  # type: ignore[arg-type]


# --- what-ifs --------------------------------------------------------------------------------------------------------


def test_a_what_if_from_the_live_line_is_the_same_for_one_and_two_threads(plant: Plant) -> None:
    mover = LayoutMover(plant, 1)
    begin = start(plant, mover.model, observe(plant, mover, 3 * HOUR_S, NOW))
    assembly = assemble(mover.model.layout, seed=1)
    reading = Names(assembly).reading("packer.made")
    kernel = kernel_of(mover.model.layout.types)
    states = [begin.sample(7, r) for r in range(40)]
    ask = Ask(HOUR_S, pairs([(reading.kind, reading.index)]), np.empty(0), pairs([]), fresh=FRESH)
    one, two = (replicate(kernel, assembly, ask, 0, 40, threads=n, states=states).figures for n in (1, 2))
    assert np.array_equal(one, two)
    packed = value(plant, mover, 3 * HOUR_S, "line.packed")
    assert (one > packed).all()
    assert (one < packed + 330).all()  # 5.5 crates a minute is more than it can


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("filler.command.UnitMode=Maintenence", "is never 'Maintenence' .did you mean Maintenance"),
        ("filler.command.UnitMode=Manual", "filler.command.UnitMode=3"),
        ("filler.command.MachSpeed=9", "take 0 … 7.5"),
        ("filler.status.Running=off", "filler.status.Running"),
        ("run filler.mantain", "did you mean filler.maintain"),
    ],
)
def test_a_what_if_that_cannot_be_is_refused_with_its_fix(plant: Plant, text: str, said: str) -> None:
    snapshot = observe(plant, LayoutMover(plant, 1), HOUR_S, NOW)
    with pytest.raises(BadRequest, match=said):
        job_of(Now(plant, snapshot), [text], Question(), horizon=HOUR_S)


def test_maintenance_is_asked_for_by_the_name_of_its_mode_or_by_its_command(plant: Plant) -> None:
    snapshot = observe(plant, LayoutMover(plant, 1), HOUR_S, NOW)
    asked = (
        "filler.command.UnitMode=Maintenance at 10m",
        "filler.command.UnitMode=2 at 10m",
        "run filler.maintain at 10m",
    )
    runner = Runner(workers=0)
    result = compare(
        Now(plant, snapshot), [parse_scenario(text, f"{n}") for n, text in enumerate(asked)], runner=runner,
        horizon=HOUR_S, seed=1, replications=8,
    )  # fmt: skip
    runner.close()
    one, other, third = (outcome.kpis["line.packed.final"] for outcome in result.scenarios)
    assert one == other == third != result.baseline.kpis["line.packed.final"]
    assert result.backend == "kernel"


def test_a_what_if_follows_whether_a_machine_is_down(plant: Plant) -> None:
    snapshot = observe(plant, LayoutMover(plant, 1), HOUR_S, NOW)
    runner = Runner(workers=0)
    result = compare(
        Now(plant, snapshot), ["run filler.fail at 10m"], runner=runner, horizon=1200.0, every=60.0, seed=1,
        replications=8, follow=["filler.status.Down"], limits=["filler.status.Down>0"],
    )  # fmt: skip
    runner.close()
    broken = result.scenarios[0]
    assert broken.limits[0].probability[-1] == 1.0, "told to break"
    assert broken.fans["filler.status.Down"][2][11] == 1.0, "a minute later it is down in most futures"


@pytest.mark.parametrize(
    ("shown", "said"),
    [
        ({"brokn": True, "*": False}, "filler.health is never 'brokn'"),
        ({"broken": True}, "map says nothing of up, repair, due, service"),
        ({"broken": "often", "*": False}, "filler.status.Down is never 'often'"),
    ],
)
def test_a_figure_of_a_state_says_what_its_point_shows_of_each(
    plant: Plant, shown: dict[str, object], said: str
) -> None:
    rows = [{**row, "map": shown} if row.get("figure") == "*.health" else row for row in plant.model["read"]]
    mistakes = model_mistakes(replace(plant, model={**plant.model, "read": rows}))
    assert any(said in mistake for mistake in mistakes), mistakes


def test_the_script_prints_what_each_option_gives(capsys: pytest.CaptureFixture[str]) -> None:
    crew_or_belt.main()
    lines = capsys.readouterr().out.splitlines()
    assert [line.split("  ")[0] for line in lines[1:5]] == [name for name, _ in crew_or_belt.OPTIONS]
    assert all("line.packed.final" in line for line in lines[1:5])
    assert "256 pairs" in lines[-1]
