"""Branches: forks of now, of a past moment as it was known, and of a what-if's future; the live twin never notices."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from control.asking import Kind
from control.branches import BRANCHES_MAX, Branches
from control.live import LiveTwin
from control.whatif import Run, State, WhatIfs
from sim.runner import Runner
from tests.control.plants import plant
from tests.control.test_live import SECOND, Clock
from twin import quality
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound
from twin.history import History
from twin.readings import Readings
from twin.store import Store


@dataclass
class Bench:
    live: LiveTwin
    branches: Branches
    whatifs: WhatIfs
    clock: Clock

    def read(self, name: str, value: float, after_s: float = 1.0, late_s: float = 0.0) -> int:
        """A reading `after_s` later; its source time lies `late_s` before."""
        self.clock.now += int(after_s * SECOND)
        source = self.clock.now - int(late_s * SECOND)
        self.live.readings(Readings.of([self.live.plant.point(name).id], [value], self.clock.now, source_time=source))
        return source

    def value(self, branch: str, name: str = "pump.speed", after: str = "") -> tuple[float, str]:
        columns, i = self.branches.moment(branch, after).columns, self.live.plant.point(name).id
        return float(columns.value[i]), quality.name(int(columns.quality[i]))


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    described, clock = plant("modbus://127.0.0.1:1/1"), Clock()
    with Store(tmp_path / "history.duckdb") as store:
        history = History(store, described.points.column("name").to_pylist(), lambda _: None)
        live = LiveTwin(described, 1, history, clock)
        whatifs = WhatIfs(live, Runner(1), clock, lambda: "run")
        yield Bench(live, Branches(live, whatifs, clock), whatifs, clock)
        history.close()


def at(time: int) -> str:
    return str(np.datetime64(time, "ns")) + "Z"


async def test_a_branch_of_now_goes_its_own_way(bench: Bench) -> None:
    bench.read("pump.speed", 50.0)
    await bench.branches.create("lab", "", "", {"pump.speed": 80}, "try")
    assert bench.value("lab") == (80.0, "Good")
    bench.read("pump.speed", 60.0)
    assert bench.value("lab") == (80.0, "Good")
    bench.branches.set("lab", {"pump.speed": 81.5})
    assert bench.value("lab") == (81.5, "Good")
    assert bench.live.table.columns.value[bench.live.plant.point("pump.speed").id] == 60.0
    assert bench.branches.get("lab").changed == {"pump.speed": 81.5}


async def test_a_branch_of_the_past_holds_what_was_true_then_and_what_was_known_then_differs(bench: Bench) -> None:
    first = bench.read("pump.speed", 10.0)
    second = bench.read("pump.speed", 20.0)
    late = bench.read("pump.speed", 15.0, after_s=60, late_s=60.5)  # between the two, heard a minute later
    between = (late + second) // 2
    await bench.branches.create("true", at(between), "", {}, "")
    await bench.branches.create("believed", at(between), at(second), {}, "")
    await bench.branches.create("earlier", at(first), "", {}, "")
    assert [bench.value(name)[0] for name in ("true", "believed", "earlier")] == [15.0, 10.0, 10.0]
    assert bench.branches.get("true").taken_at == between


async def test_a_value_whose_quality_fell_later_was_good_at_the_time(bench: Bench) -> None:
    read = bench.read("pump.speed", 10.0)
    bench.clock.now += 60 * SECOND
    bench.live.sweep()
    bench.clock.now += SECOND
    await bench.branches.create("then", at(read + SECOND), "", {}, "")
    await bench.branches.create("after", "-1s", "", {}, "")
    assert bench.value("then") == (10.0, "Good")
    assert bench.value("after") == (10.0, "UncertainLastUsableValue")


@pytest.mark.parametrize(
    ("name", "when", "values", "kind"),
    [
        ("1st", "", {}, BadRequest),
        ("a/b", "", {}, BadRequest),
        ("lab", "yesterday", {}, BadRequest),
        ("lab", "+1h", {}, BadRequest),
        ("lab", "", {"pump.sped": 1}, NotFound),
        ("lab", "", {"pump.speed": "fast"}, BadRequest),
        ("lab", "", {"pump.speed": 1e9}, BadRequest),
        ("lab", "", {"pump.status": 0.5}, BadRequest),
    ],
)
async def test_a_branch_that_cannot_be_says_why_and_is_not_made(
    bench: Bench, name: str, when: str, values: dict[str, Any], kind: type[Exception]
) -> None:
    bench.read("pump.speed", 50.0)
    with pytest.raises(kind) as caught:
        await bench.branches.create(name, when, "", values, "")
    assert str(caught.value)
    assert bench.branches.all() == []


async def test_values_are_set_all_or_none(bench: Bench) -> None:
    bench.read("pump.speed", 50.0)
    await bench.branches.create("lab", "", "", {}, "")
    with pytest.raises(BadRequest):
        bench.branches.set("lab", {"pump.speed": 70, "pump.status": "perhaps"})
    assert bench.value("lab")[0] == 50.0


async def test_names_are_taken_once_and_room_is_limited(bench: Bench) -> None:
    await bench.branches.create("b0", "", "", {}, "")
    with pytest.raises(Conflict, match="b0"):
        await bench.branches.create("b0", "", "", {}, "")
    for n in range(1, BRANCHES_MAX):
        await bench.branches.create(f"b{n}", "", "", {}, "")
    with pytest.raises(LimitExceeded, match=f"{BRANCHES_MAX}"):
        await bench.branches.create("one_more", "", "", {}, "")
    bench.branches.delete("b3")
    await bench.branches.create("one_more", "", "", {}, "")
    with pytest.raises(NotFound, match="did you mean b"):
        bench.branches.get("b")


async def test_a_what_if_is_a_branch_at_every_moment_it_simulated(bench: Bench) -> None:
    """Simulated points hold the median and say so; what is not simulated is no longer good."""
    bench.read("pump.speed", 50.0)
    bench.read("pump.status", 1.0)
    fan = [[40.0, 20.0], [45.0, 25.0], [50.0, 30.0], [55.0, 35.0], [60.0, 40.0]]
    outcomes = [{"name": "baseline", "fans": {}}, {"name": "slow", "fans": {"pump.speed": fan}}]
    run = Run("run", Kind.COMPARE, "", None, bench.clock.now, bench.live.snapshot(), State.DONE)
    run.result = {"times_s": [0.0, 3600.0], "outcomes": outcomes}
    bench.whatifs._runs["run"] = run
    assert bench.value("run/1", after="+30m") == (40.0, "UncertainSimulatedValue")
    assert bench.value("run/slow") == (30.0, "UncertainSimulatedValue")
    assert bench.value("run/0") == (50.0, "UncertainLastUsableValue")
    assert bench.value("run/1", "pump.status") == (1.0, "UncertainLastUsableValue")
    moment = bench.branches.moment("run/1", "+30m").columns
    assert moment.source_time[bench.live.plant.point("pump.speed").id] == bench.clock.now + 1800 * SECOND
    with pytest.raises(BadRequest, match="3600 s ahead"):
        bench.branches.moment("run/1", "2h")
    with pytest.raises(NotFound, match=r"1 \(slow\)"):
        bench.branches.moment("run/7", "")
