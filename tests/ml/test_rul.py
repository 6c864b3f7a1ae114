"""Remaining life: pumps that wear as we know, cut before they fail; and turbofans of C-MAPSS where the data are there."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.model_file import read, write
from ml.records import DataSet, Record
from ml.rul import RulOptions, evaluate, train
from ml.rul_model import NETWORK, RIDGE, LifeModel, Margins, averaging, fit_margins
from ml.rul_network import LEVELS
from ml.rul_runs import restarted, telling, truncated
from ml.tables import Roles, read_column
from ml.tables import read as read_table
from ml.training import Cancelled, Course
from twin.errors import BadRequest

QUICK = RulOptions(
    cap=60.0, settings=("speed",), conditions=2, windows=(5, 15), means=(4, 12), window=0, folds=3, steps=400, members=1,
    starts=0, width=32,
)  # fmt: skip
PLAIN = replace(QUICK, model="ridge")


def pumps(count: int, seed: int) -> DataSet:
    """Wear grows ever faster until it is 1; heat and vibration show it, each in its own way at two speeds."""
    rng, records = np.random.default_rng(seed), []
    for k in range(count):
        life = int(rng.integers(60, 160))
        left = np.arange(life)[::-1]
        wear = np.exp(-left / rng.uniform(18, 22))
        speed = rng.integers(0, 2, life) * 50.0
        heat = 40 + speed + (3 + speed / 25) * wear + rng.normal(0, 0.4, life)
        shake = 2 - 0.5 * wear**0.5 + speed / 10 + rng.normal(0, 0.06, life)
        hours = 10.0 + 2.0 * np.arange(life)
        steady = np.full(life, 7.0)
        records.append(
            Record(f"pump_{k}", np.arange(1.0, life + 1), np.column_stack([speed, heat, shake, hours, steady]))
        )
    return DataSet(("speed", "heat", "shake", "hours", "steady"), tuple(records))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def learned() -> LifeModel:
    return LifeModel.from_file(train(pumps(60, 1), QUICK, 7, Course()))


def test_the_network_goes_live_because_it_beats_the_ridge_on_pumps_it_never_saw() -> None:
    trial = evaluate(pumps(60, 1), QUICK, (3,), Course(), *truncated(pumps(200, 2), 5))
    figures = trial.seeds[0].figures
    assert trial.model == NETWORK and trial.floor_model == RIDGE
    assert figures["rmse"] < 0.95 * trial.floor["rmse"] and figures["rmse"] < 9
    assert figures["coverage"] >= 0.87 and figures["width"] < 25 and figures["unknown"] == 0
    assert figures["rmse_uncapped"] > figures["rmse"]
    raw = trial.seeds[0].raw
    truth = np.minimum(raw["left"], 60.0)
    assert np.sqrt(np.mean((np.array(raw["life"]) - truth) ** 2)) == pytest.approx(figures["rmse"])


def test_a_model_comes_back_from_its_file_and_the_same_seed_gives_the_same_bits(tmp_path: Path) -> None:
    data = pumps(20, 1)
    quick = replace(QUICK, steps=40, model="network", window=9)
    file = train(data, quick, 4, Course())
    write(tmp_path / "m", file)
    assert read(tmp_path / "m").hash == file.hash == train(data, quick, 4, Course()).hash
    assert train(data, quick, 5, Course()).hash != file.hash
    one, other = (LifeModel.from_file(f).of(data)[3] for f in (file, read(tmp_path / "m")))
    assert np.array_equal(one.life, other.life) and np.array_equal(one.high, other.high)
    assert file.manifest.feature_hash == LifeModel.from_file(file).features.hash()


@pytest.mark.parametrize("window", [0, 9])
def test_served_sample_by_sample_it_tells_what_the_whole_record_does(window: int) -> None:
    data = pumps(20, 1)
    model = LifeModel.from_file(train(data, replace(QUICK, steps=10, window=window, model="network"), 4, Course()))
    fleet = model.features  # the columns it was trained on, without hours
    two = [data.having(fleet.columns).records[k] for k in (0, 1)]
    whole, state = model.of(data), model.start(2)
    for t in range(50):
        values = np.stack([r.values[t] for r in two])
        live = model.told(state.step(np.array([r.time_s[t] for r in two]), values))
        for k in (0, 1):
            assert live.life[k] == pytest.approx(whole[k].life[t], abs=1e-3)  # float32 by batches of another size
            assert live.low[k] <= live.life[k] <= live.high[k]


def test_no_value_in_a_window_is_no_life_and_a_value_never_seen_is_told_unsure(learned: LifeModel) -> None:
    record = pumps(1, 9).having(learned.features.columns).records[0].between(0, 50)
    blind, odd, patchy = (record.values.copy() for _ in range(3))
    blind[20:, 1] = np.nan
    odd[40:, 1] += 200.0
    patchy[::2, 2] = np.nan
    data = DataSet(learned.features.columns, tuple(replace(record, values=v) for v in (blind, odd, patchy)))
    dark, strange, some = learned.of(data)
    assert np.isfinite(dark.life[:34]).all() and np.isnan(dark.life[35:]).all() and np.isnan(dark.high[35:]).all()
    assert not dark.sure[35:].any()
    assert strange.sure[:40].mean() > 0.9 and not strange.sure[40:].any()
    assert np.isfinite(some.life[2:]).all()


def test_a_pump_first_met_in_mid_life_is_not_taken_for_a_young_one() -> None:
    whole = pumps(100, 6)
    met = DataSet(whole.columns, tuple(r.between(len(r) - 45, len(r) - 15) for r in whole.records))
    error = []
    for starts in (0, 2):
        options = replace(QUICK, windows=(5, 15, 60), model="network", starts=starts)
        told = LifeModel.from_file(train(pumps(40, 1), options, 2, Course())).of(met)
        error.append(float(np.mean([abs(t.life[-1] - 15.0) for t in told])))
    assert error[1] < 0.8 * error[0] and error[1] < 6


def test_runs_cut_or_started_later_keep_their_days_and_what_was_left() -> None:
    data = pumps(30, 3)
    data = replace(data, records=(*data.records[1:], data.records[0].between(0, 5)))
    cut, left = truncated(data, 1)
    again = restarted(data, 2, np.random.default_rng(1))
    assert len(again.records) == 58  # the run of five samples has no later start
    for run, short, days in zip(data.records, cut.records, left, strict=True):
        assert 5 <= len(short) <= len(run) and days == len(run) - len(short)
    for late in again.records:
        run = data.records[data.devices.index(late.device)]
        assert 5 <= len(late) < len(run) and np.array_equal(run.values[-len(late) :], late.values)


def test_columns_that_count_time_or_tell_nothing_are_left_out_by_name() -> None:
    used, others = telling(pumps(20, 1), ("speed",), 2, 60.0)
    assert used.columns == ("speed", "heat", "shake") and others == ("hours", "steady")
    file = train(pumps(20, 1), PLAIN, 0, Course())
    assert file.manifest.metrics["left_out"] == ["hours", "steady"] and file.manifest.columns == used.columns


@pytest.mark.parametrize(
    ("data", "said"),
    [
        (pumps(9, 1), "9 runs to failure.*10 or more"),
        (pumps(12, 1).having(("speed", "steady", "hours")), "none of speed, steady, hours"),
        (
            DataSet(("x",), tuple(Record(f"p{k}", np.arange(3.0), np.ones((3, 1))) for k in range(12))),
            "p0 has 3 samples",
        ),
        (
            DataSet(("x",), tuple(Record(f"p{k}", np.arange(9.0), np.full((9, 1), np.nan)) for k in range(12))),
            "p0: x has no value at all",
        ),
        (DataSet(("x",), tuple(Record("p", np.arange(9.0), np.ones((9, 1))) for _ in range(12))), "several runs"),
    ],
)
def test_data_that_teach_nothing_are_refused_with_the_place(data: DataSet, said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        train(data, PLAIN, 0, Course())


def test_wrong_columns_labels_and_options_are_refused(learned: LifeModel) -> None:
    with pytest.raises(BadRequest, match="no column 'heat'"):
        learned.of(pumps(2, 1).having(("speed", "shake")))
    test, left = truncated(pumps(12, 2), 0)
    with pytest.raises(BadRequest, match="11 labels for 12 test records"):
        evaluate(pumps(12, 1), PLAIN, (0,), Course(), test, left[1:])
    with pytest.raises(BadRequest, match=r"cap = 0"):
        RulOptions(cap=0)
    with pytest.raises(BadRequest, match="longer than the window of 200"):
        train(pumps(12, 1), replace(QUICK, window=200), 0, Course())


def test_another_unit_than_in_training_is_refused() -> None:
    data = replace(pumps(12, 1), units=("rpm", "degC", "mm/s", "h", ""))
    model = LifeModel.from_file(train(data, PLAIN, 0, Course()))
    model.of(data)
    with pytest.raises(BadRequest, match=r"heat.*degF.*degC"):
        model.of(replace(data, units=("rpm", "degF", "mm/s", "h", "")))


def test_a_training_tells_how_far_it_is_and_stops_when_asked() -> None:
    shares: list[float] = []
    course = Course(lambda share, words: shares.append(share))
    train(pumps(12, 1), replace(QUICK, steps=40), 0, course)
    assert shares == sorted(shares) and shares[0] == 0.0 and shares[-1] == 1.0
    course.cancel.set()
    with pytest.raises(Cancelled):
        train(pumps(12, 1), QUICK, 0, course)


def test_margins_hold_in_each_group_of_lives_though_the_noise_differs() -> None:
    rng = np.random.default_rng(0)

    def asked(runs: int) -> tuple[np.ndarray, np.ndarray]:
        life = rng.uniform(0, 100, (runs, 20))
        truth = life + rng.normal(0, 1 + life / 5)
        return np.stack([life, life - 5, life + 5]), truth

    margins = fit_margins(*asked(300), 0.9)
    (life, low, high), truth = asked(3000)
    wide = margins.of(life)
    held = (low - wide <= truth) & (truth <= high + wide)
    for first, last in ((0, 30), (35, 65), (70, 100)):
        assert held[(life > first) & (life < last)].mean() == pytest.approx(0.9, abs=0.04)
    assert np.isinf(fit_margins(*asked(8), 0.9).width).all()
    assert Margins(np.array([5.0]), np.array([1.0, 2.0])).of(np.array([4.0, 5.0])).tolist() == [1.0, 2.0]
    assert np.mean(LEVELS) == pytest.approx(0.5)


def test_a_training_leaves_the_number_of_threads_as_it_was_and_asks_for_one() -> None:
    seen: list[int] = []
    torch.set_num_threads(2)
    try:
        train(pumps(12, 1), replace(QUICK, steps=2), 0, Course(lambda *_: seen.append(torch.get_num_threads())))
        assert 1 in seen and torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)


def test_margins_count_with_the_averaging_of_networks_that_are_asked_only_in_service() -> None:
    rng = np.random.default_rng(3)

    def asked(runs: int, members: int) -> tuple[np.ndarray, np.ndarray]:
        truth = rng.uniform(0, 100, (runs, 20))
        common = truth + rng.normal(0, 4, truth.shape)
        return common + rng.normal(0, 6, (members, *truth.shape)), truth

    def told(apart: np.ndarray) -> np.ndarray:
        life = apart.mean(axis=0)
        return np.stack([life, life - 5, life + 5])

    apart, truth = asked(2000, 2)
    closer = averaging(apart, truth, 10)
    assert closer == pytest.approx(np.sqrt((16 + 36 / 10) / (16 + 36 / 2)), abs=0.02)
    assert averaging(apart[:1], truth, 5) == 1.0 and averaging(truth[None], truth, 5) == 1.0
    held = []
    for each in (1.0, closer):
        margins = fit_margins(told(apart), truth, 0.9, each)
        ten, later = asked(2000, 10)
        life, low, high = told(ten)
        held.append(float(np.mean((low - margins.of(life) <= later) & (later <= high + margins.of(life)))))
    assert held[0] > 0.95 and held[1] == pytest.approx(0.9, abs=0.015)


def turbofans(name: str) -> Path:
    folder = os.environ.get("TWINLOOP_DATA")
    if not folder or not (Path(folder) / "cmapss" / name).is_file():
        pytest.skip("TWINLOOP_DATA names no folder with cmapss/ of NASA's turbofans")
    return Path(folder) / "cmapss" / name


ENGINES = Roles(time="uptime", device="machine_number")
SETTINGS = ("setting_1", "setting_2", "setting_3")


def test_turbofans_held_out_of_the_training_set() -> None:
    data = read_table(turbofans("train_FD001.csv.gz"), ENGINES)
    trial = evaluate(data.of(data.devices[:50]), replace(RulOptions(), steps=150), (0,), Course())
    assert trial.seeds[0].figures["rmse"] < 25 and "sensor_01" in trial.seeds[0].raw["metrics"]["left_out"]


@pytest.mark.soak
@pytest.mark.timeout(1800)
@pytest.mark.parametrize(
    ("name", "conditions", "bar"),
    [("FD001", 1, 12.6), ("FD002", 6, 12.3)],
)
def test_turbofans_of_nasa_within_the_bar(name: str, conditions: int, bar: float) -> None:
    data, test = (read_table(turbofans(f"{part}_{name}.csv.gz"), ENGINES) for part in ("train", "test"))
    left = read_column(turbofans(f"RUL_{name}.txt"))
    options = RulOptions(settings=SETTINGS, conditions=conditions)
    trial = evaluate(data, options, range(5), Course(), test, left)
    assert trial.mean("rmse") <= bar and 0.87 <= trial.mean("coverage") <= 0.93
