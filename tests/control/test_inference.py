"""Answers on their way into the twin: at which moments, of which quality, and what becomes of them when none come."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray

from control import inference
from control.inference import Inference
from control.live import LiveTwin
from control.questions import Question
from control.service import Said, State
from control.service_score import Standing
from twin import quality
from twin.history import History
from twin.learned import Learned
from twin.plant import Plant
from twin.points import Point, Points
from twin.query import Answer
from twin.readings import Readings
from twin.store import Store

TWINS = ("pump_1", "pump_2", "pump_3")
ROW = Learned("soon", "forecast", TWINS, ("flow",), ("L/s",), 0.1, ("flow",), (1.0,), first=3)
GOOD, BAD = quality.GOOD, quality.BAD_NO_DATA
NS = 1_000_000_000


def a_plant() -> Plant:
    flows = [Point(k, f"{t}.flow", t, "flow", "double", "L/s", "plc", str(k)) for k, t in enumerate(TWINS)]
    return Plant("p", "p", "", {}, (), (), (), Points.of([*flows, *ROW.points()]), (), None, {}, learned=(ROW,))


class Model:
    """Stands in for the models in service: answers with the flow and one more and less."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, NDArray[np.float64]]] = []
        self.wrong: Exception | None = None
        self.takes_s = 0.0

    def sample(self, time_ns: int, values: NDArray[np.float64]) -> Said:
        self.asked.append((time_ns, values))
        time.sleep(self.takes_s)
        if self.wrong is not None:
            raise self.wrong
        told = np.column_stack([values, values - 1.0, values + 1.0, np.full(len(values), np.nan)])
        codes = np.where(np.isfinite(told), GOOD, BAD).astype(np.uint32)
        codes[:, 3] = GOOD
        texts = {4 * k + 3: "abc" for k in range(len(TWINS))} if len(self.asked) == 1 else {}
        return Said(told, codes, texts, State.SERVING, "", "abcdef", Standing(0.25, 0.9, ("flow",)))


@asynccontextmanager
async def at_work(folder: Path) -> AsyncIterator[tuple[LiveTwin, Inference, Model]]:
    plant = a_plant()
    with Store(folder / "history.duckdb") as store:
        history = History(store, plant.points.column("name").to_pylist(), lambda *_: None)
        live = LiveTwin(plant, 1, history, time.time_ns)
        live.readings(Readings.of([0, 1], [10.0, 20.0], time.time_ns()))  # pump_3 was never read

        async def ask(question: Question) -> Answer:
            raise AssertionError(question)

        made, model = Inference(live, folder, ask, time.time_ns), Model()
        work: Any = made.works["soon"]
        work.service = model
        running = asyncio.create_task(made.run())
        try:
            yield live, made, model
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)
            await asyncio.to_thread(history.close)


async def holds(what: Callable[[], object], wait_s: float = 20.0) -> None:
    async with asyncio.timeout(wait_s):
        while not what():
            await asyncio.sleep(0.01)


def read(live: LiveTwin, name: str) -> tuple[float, int, str | None]:
    point, columns = live.plant.point(name).id, live.table.columns
    return float(columns.value[point]), int(columns.quality[point]), columns.text.get(point)


async def test_each_sample_is_of_a_moment_of_the_row_and_its_answers_carry_it(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (live, made, model):
        await holds(lambda: len(model.asked) >= 3)
        moments = [moment for moment, _ in model.asked]
        assert all(moment % (NS // 10) == 0 for moment in moments) and moments == sorted(set(moments))
        assert np.array_equal(model.asked[0][1], [[10.0], [20.0], [np.nan]], equal_nan=True)
        answer = live.plant.point("pump_2.soon_flow_1s").id
        assert int(live.table.columns.source_time[answer]) in moments
        assert read(live, "pump_2.soon_flow_1s_high") == (21.0, GOOD, None)
        assert read(live, "pump_3.soon_flow_1s")[1] == BAD
        assert read(live, "pump_1.soon_model")[1:] == (GOOD, "abc")
        assert read(live, "soon.state")[2] == "serving" and read(live, "soon.drift")[2] == "flow"
        assert read(live, "soon.known")[0] == 2.0 and read(live, "soon.held")[0] == pytest.approx(90.0)
        assert made.drifted("soon") == ("flow",)


async def test_a_value_that_is_no_longer_good_is_no_input(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (live, _, model):
        live.readings(Readings.of([0], [11.0], time.time_ns(), quality.UNCERTAIN_LAST_USABLE))
        before = len(model.asked)
        await holds(lambda: len(model.asked) > before + 1)
        assert np.isnan(model.asked[-1][1][0, 0]) and model.asked[-1][1][1, 0] == 20.0


async def test_a_model_that_fails_takes_the_good_from_its_answers_and_is_tried_again(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (live, _, model):
        await holds(lambda: read(live, "pump_1.soon_flow_1s")[1] == GOOD)
        model.wrong = KeyError("a tensor")
        await holds(lambda: str(read(live, "soon.state")[2]).startswith("failed: "))
        model.wrong = ValueError("a matrix has no inverse")
        await holds(lambda: "inverse" in str(read(live, "soon.state")[2]))
        await holds(lambda: read(live, "pump_1.soon_flow_1s")[1] == quality.UNCERTAIN_LAST_USABLE)
        assert read(live, "pump_1.soon_flow_1s")[0] == 10.0
        assert read(live, "soon.state")[2] == "failed: a matrix has no inverse"
        model.wrong = None
        await holds(lambda: read(live, "pump_1.soon_flow_1s")[1] == GOOD and read(live, "soon.state")[2] == "serving")


async def test_answers_that_do_not_come_in_time_are_no_longer_good_and_samples_are_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(inference, "LATE_LEAST_S", 0.2)
    async with at_work(tmp_path) as (live, made, model):
        await holds(lambda: read(live, "pump_1.soon_flow_1s")[1] == GOOD)
        model.takes_s = 1.0
        await holds(lambda: read(live, "pump_1.soon_flow_1s")[1] == quality.UNCERTAIN_LAST_USABLE)
        assert str(read(live, "soon.state")[2]).startswith("late: a sample takes more than")
        model.takes_s = 0.0
        await holds(lambda: read(live, "pump_1.soon_flow_1s")[1] == GOOD)
        assert read(live, "pump_1.soon_model")[1:] == (GOOD, "abc")  # told again, though it is the same
        await holds(lambda: made.works["soon"].skipped > 0)  # counted when the next one is due


async def test_nothing_is_sampled_twice_when_the_clock_is_set_back(tmp_path: Path) -> None:
    async with at_work(tmp_path) as (_, made, model):
        await holds(lambda: len(model.asked) >= 2)
        made._clock = lambda: time.time_ns() - 2 * NS
        await asyncio.sleep(0)
        before = model.asked[-1][0]
        await holds(lambda: model.asked[-1][0] > before)
        moments = [moment for moment, _ in model.asked]
        assert moments == sorted(set(moments))
