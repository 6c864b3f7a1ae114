"""When a new training is called for, and what its process makes of a plant's history."""

from __future__ import annotations

import asyncio
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from control import learning, retraining
from control.inference import Inference
from control.places import MODELS
from control.retrainer import history, options, run
from control.retraining import Course, Order, Retrainings, due
from ml import recurrent_training
from ml.forecast import ForecastOptions
from ml.registry import AUTOMATIC, Registry
from ml.stages import Stage
from ml.training import Course as Training
from tests.control.test_plant_data import START, S, Said, a_history
from twin.errors import BadRequest
from twin.learned import Learned, Retraining, When
from twin.quality import GOOD

torch.set_num_threads(1)  # as the process of a retraining does
DAY = 86_400 * 10**9
PUMPS = ("pump_0", "pump_1", "pump_2", "pump_3", "pump_4")
ROW = Learned("soon", "forecast", PUMPS, ("flow",), ("L/s",), 1.0, ("flow",), (5.0,), first=0)


@pytest.mark.parametrize(
    ("when", "age_days", "drifted", "why"),
    [
        (When.NEVER, 99, ("flow",), ""),
        (When.TIME, 0.5, ("flow",), ""),
        (When.TIME, 1.5, (), "86400 s after the last one"),
        (When.DRIFT, 1.5, (), ""),
        (When.DRIFT, 0.5, ("flow",), ""),  # a day apart: what drifts goes on to drift until the new one is live
        (When.DRIFT, 1.5, ("flow", "errors"), "drift of flow, errors"),
    ],
)
def test_drift_or_time_calls_for_a_training_and_never_too_soon_after_the_last(
    when: When, age_days: float, drifted: tuple[str, ...], why: str
) -> None:
    assert due(Retraining(when), 0, int(age_days * DAY), drifted) == why


def flows(seconds: int, pump: int, level: float = 50.0) -> list[Said]:
    chance = np.random.default_rng(pump)
    tide = level + 10 * np.sin(np.arange(seconds) / 20 + pump) + 0.2 * chance.standard_normal(seconds)
    return [(t, float(v), GOOD) for t, v in enumerate(tide)]


def order(data: Path, row: Learned = ROW, seconds: int = 900, hold: int = 200) -> Order:
    return Order(str(data), row, START, START + (seconds - hold) * S, START + seconds * S, "drift of flow")


def quietly(share: float, words: str) -> None:
    assert 0.0 <= share <= 1.0 and words


def test_a_first_model_is_trained_for_what_the_row_tells_and_waits_for_people(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(recurrent_training, "PASSES", 1)
    a_history(tmp_path, {f"{p}.flow": flows(900, k) for k, p in enumerate(PUMPS)})
    model, words = run(order(tmp_path), quietly)
    registry = Registry(tmp_path / MODELS)
    assert registry.find(model).stage is Stage.TRAINED and "twinloop models promote" in words
    settings = registry.read(model).manifest.settings
    assert (settings["horizon"], settings["lookback"], settings["step_s"]) == (5, 96, 1.0)
    assert registry.record()[0].by == AUTOMATIC and registry.record()[0].why == "drift of flow"


def test_a_model_of_the_new_times_beats_that_of_the_old_ones_and_becomes_a_shadow(tmp_path: Path) -> None:
    old, new = tmp_path / "old", tmp_path / "new"
    old.mkdir(), new.mkdir()
    a_history(old, {f"{p}.flow": [(t, 50.0 + v % 3, q) for t, v, q in flows(900, k)] for k, p in enumerate(PUMPS)})
    a_history(new, {f"{p}.flow": flows(900, k) for k, p in enumerate(PUMPS)})
    registry = Registry(new / MODELS)
    given = learning.Material(history(order(old), quietly))
    made = learning.train("forecast", given, ForecastOptions(horizon=5, network="none"), 1, Training())
    first = registry.add(made, "soon", "tester", "of old", 1).model
    registry.promote(first, None, "tester", "the first", 2)
    model, words = run(order(new), quietly)
    assert registry.find(model).stage is Stage.SHADOW and "beats the champion" in words
    assert registry.read(model).manifest.parent == first
    again, words = run(replace_end(order(new)), quietly)
    assert again != model and registry.find(again).stage in (Stage.TRAINED, Stage.SHADOW)


def replace_end(asked: Order) -> Order:
    return Order(asked.data, asked.row, asked.begin + 10 * S, asked.split, asked.end, asked.why)


def test_a_retrained_detector_is_judged_by_anomalies_planted_into_what_was_held_out(tmp_path: Path) -> None:
    row = replace(ROW, id="health", task="anomaly", tell=(), ahead_s=())
    a_history(tmp_path, {f"{p}.flow": flows(6_000, k) for k, p in enumerate(PUMPS)})
    registry = Registry(tmp_path / MODELS)
    first, _ = run(order(tmp_path, row, 6_000, 3_000), quietly)
    registry.promote(first, None, "tester", "the first", 2)
    model, words = run(replace_end(order(tmp_path, row, 6_000, 3_000)), quietly)
    assert model != first and ("stays behind" in words or "is a shadow" in words) and "units" in words


def test_too_little_history_is_said(tmp_path: Path) -> None:
    a_history(tmp_path, {f"{p}.flow": flows(60, k) for k, p in enumerate(PUMPS)})
    with pytest.raises(BadRequest, match="windows of 96 \\+ 5 rows to learn from"):
        run(order(tmp_path, seconds=60, hold=20), quietly)
    assert not Registry(tmp_path / MODELS).lives()


def test_a_new_model_is_made_as_the_champion_was() -> None:
    assert options(ROW, None).horizon == 5
    assert options(replace(ROW, task="anomaly", tell=(), ahead_s=()), None).memory == 60


class Still:
    """Stands in for the models at work: one row, and what has drifted."""

    def __init__(self, row: Learned) -> None:
        self.row, self.now, self.told = row, (), list[str]()

    def rows(self) -> tuple[Learned, ...]:
        return (self.row,)

    def drifted(self, row: str) -> tuple[str, ...]:
        return self.now

    def tell_training(self, row: str, percent: float, words: str) -> None:
        self.told.append(words)


async def test_drift_calls_for_a_training_whose_failure_is_told_and_not_tried_again_at_once(tmp_path: Path) -> None:
    now = [START]
    at_work: Any = Still(replace(ROW, retraining=Retraining(When.DRIFT, 600.0, 3_600.0, 720.0)))
    made = Retrainings(_as_inference(at_work), tmp_path, lambda: now[0])
    running = asyncio.create_task(made.run())
    at_work.now = ("flow",)
    made._called.set()
    await asyncio.sleep(0)
    assert not made.newest  # it has only just begun
    now[0] += 601 * S
    made._called.set()
    async with asyncio.timeout(60):  # a process that begins
        while made.newest.get("soon") is None or made.newest["soon"].course is Course.RUNNING:
            await asyncio.sleep(0.02)
    ended = made.newest["soon"]
    assert ended.course is Course.FAILED and "no server runs" in ended.words  # there is no history
    assert ended.why == "drift of flow" and at_work.told[-1].startswith("failed: ")
    before = made.newest["soon"]
    now[0] += 300 * S
    made._look()
    assert made.newest["soon"] is before
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        ((sys.executable, "-c", "print('a word of a library')"), "what nobody understands"),
        ((sys.executable, "-c", "print('x' * 100_000)"), "what nobody understands"),
        ((sys.executable, "-c", "raise SystemExit(3)"), "ended with 3"),
        (("/nowhere/python",), "no process for it"),
    ],
)
async def test_whatever_its_process_does_a_training_fails_alone(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, command: tuple[str, ...], words: str
) -> None:
    monkeypatch.setattr(retraining, "COMMAND", command)
    made = Retrainings(_as_inference(Still(ROW)), tmp_path, lambda: START)
    running = asyncio.create_task(made.run())
    asked = made.ask("soon", "a test")
    async with asyncio.timeout(30):
        while asked.course is Course.RUNNING:
            await asyncio.sleep(0.02)
    assert asked.course is Course.FAILED and words in asked.words
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


def _as_inference(still: Any) -> Inference:
    found: Inference = still
    return found
