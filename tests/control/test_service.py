"""Models in service: who answers for which twin, what is believed of an answer, and who goes when it is worse."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from control import learning
from control.service import Said, Service, State
from control.service_score import PAIRS_MAX, Score, _keep, _kept
from ml.contest import Verdict
from ml.forecast import ForecastOptions
from ml.model_file import ModelFile
from ml.records import DataSet, Record
from ml.registry import Registry
from ml.rul import RulOptions
from ml.stages import Contest, Stage, Watch
from ml.training import Course
from twin import quality
from twin.learned import Learned

SECOND = 1_000_000_000
TWINS = tuple(f"pump_{n}" for n in range(1, 11))
ROW = Learned("soon", "forecast", TWINS, ("flow",), ("L/s",), 1.0, ("flow",), (2.0, 5.0), first=0)
NO_PAST = (np.empty(0, np.int64), np.empty((0, len(TWINS), 1)))
WON = Contest(Verdict(1.0, 0.1, 0.001, 9, True, "won"), "", "data")


def flows(rows: int, seed: int = 1, offset: float = 50.0) -> NDArray[np.float64]:
    """(T, D): a tide with a little noise, each pump at another time of it."""
    t = np.arange(rows)[:, None]
    tide = 10 * np.sin(t / 20 + np.arange(len(TWINS)))
    return offset + tide + 0.2 * np.random.default_rng(seed).standard_normal((rows, len(TWINS)))


@pytest.fixture(scope="module")
def trained() -> ModelFile:
    return _trained(1)


def _trained(seed: int, unit: str = "L/s", step_s: float = 1.0, values: NDArray[np.float64] | None = None) -> ModelFile:
    values = flows(1_500, seed) if values is None else values
    records = tuple(Record(t, step_s * np.arange(1_500.0), values[:, [d]]) for d, t in enumerate(TWINS))
    options = ForecastOptions(lookback=20, horizon=10, network="none")
    return learning.train("forecast", learning.Material(DataSet(("flow",), records, (unit,))), options, seed, Course())


def spoiled(model: ModelFile) -> ModelFile:
    """The same, told far too high."""
    weights = model.tensors["ridge.weights"].copy()
    weights[:, -1] += 1.0  # a spread of the data
    return ModelFile(
        dataclasses.replace(model.manifest, parent=model.hash), {**model.tensors, "ridge.weights": weights}
    )


def registry(folder: Path, *models: ModelFile) -> Registry:
    """The first is live, the others are in it."""
    made = Registry(folder / "models")
    for n, model in enumerate(models):
        made.add(model, "soon", "tester", "test", n)
    made.promote(models[0].hash, None, "tester", "the first", 9)
    return made


def promote(made: Registry, model: ModelFile, steps: int) -> None:
    for _ in range(steps):
        best = made.champion("forecast", "soon")
        assert best is not None
        made.promote(model.hash, dataclasses.replace(WON, champion=best.model), "tester", "test", 10, share=0.5)


def serve(made: Service, values: NDArray[np.float64], first: int = 0) -> list[Said]:
    return [made.sample((first + k) * SECOND, row[:, None]) for k, row in enumerate(values)]


def service(made: Registry, row: Learned = ROW) -> Service:
    return Service(row, made, lambda samples, before_ns: NO_PAST)


def names(said: Said) -> list[str]:
    """Whose answer each twin shows."""
    last = len(ROW.answers) - 1
    return [said.texts[d * len(ROW.answers) + last] for d in range(len(TWINS))]


def test_without_a_model_nothing_is_said_and_the_row_says_how_to_get_one(tmp_path: Path) -> None:
    said = serve(service(Registry(tmp_path / "models")), flows(2))[-1]
    assert said.state is State.NO_MODEL and "twinloop train forecast --scope soon" in said.why
    assert np.isnan(said.values).all() and not quality.good_mask(said.codes[:, :6]).any()


def test_a_forecast_comes_true_within_its_interval_and_is_good_only_once_the_memory_is_full(
    tmp_path: Path, trained: ModelFile
) -> None:
    values = flows(200, seed=7)
    said = serve(service(registry(tmp_path, trained)), values)
    assert said[5].state is State.FILLING and not quality.good_mask(said[5].codes[:, :6]).any()
    assert said[50].state is State.SERVING
    told = np.array([s.values[:, :3] for s in said[50:190]])  # (T, D, 3): two seconds ahead
    truth = values[52:192]
    assert np.abs(told[:, :, 0] - truth).mean() < 1.0
    held = (told[:, :, 1] <= truth) & (truth <= told[:, :, 2])
    assert 0.8 < held.mean() < 0.98
    assert said[150].standing.error < 0.1 and 0.75 < said[150].standing.held <= 1.0


def test_a_missing_value_is_never_answered_as_good(tmp_path: Path, trained: ModelFile) -> None:
    values = flows(90)
    values[40:, 3] = np.nan
    said = serve(service(registry(tmp_path, trained)), values)[-1]
    assert np.isnan(said.values[3, :6]).all()
    assert (said.codes[3, :6] == quality.BAD_NO_DATA).all()
    assert quality.good_mask(said.codes[4]).all()


def test_an_answer_is_not_good_from_the_first_sample_that_was_not_measured(tmp_path: Path, trained: ModelFile) -> None:
    values = flows(90)
    values[80:, 3] = np.nan
    said = serve(service(registry(tmp_path, trained)), values)
    assert quality.good_mask(said[79].codes[3]).all()
    assert not quality.good_mask(said[80].codes[3, :6]).any() and np.isnan(said[80].values[3, :6]).all()


def test_a_remaining_life_ends_with_the_last_measurement(tmp_path: Path) -> None:
    chance = np.random.default_rng(1)
    runs = []
    for k in range(12):
        left = np.arange(150 + 5 * k)[::-1]
        wear = np.column_stack([np.exp(-left / 60), np.exp(-left / 40)]) + 0.02 * chance.standard_normal((len(left), 2))
        runs.append(Record(f"run_{k}", np.arange(float(len(left))), wear))
    data = DataSet(("wear", "heat"), tuple(runs), ("mm", "K"))
    options = RulOptions(model="ridge", folds=3)
    made = learning.train("rul", learning.Material(data), options, 1, Course())
    row = dataclasses.replace(ROW, task="rul", columns=("wear", "heat"), units=("mm", "K"), tell=(), ahead_s=())
    running = service(registry(tmp_path, made), row)
    for k in range(250):
        now = np.tile(runs[0].values[min(k, 120)], (len(TWINS), 1))
        now[0] = np.nan if k >= 240 else now[0]  # its device is dead
        now[1, 1] = np.nan if k >= 240 else now[1, 1]
        said = running.sample(k * SECOND, now)
        if k == 239:
            assert quality.good_mask(said.codes).all()
    assert (said.codes[0, :3] == quality.BAD_NO_DATA).all() and np.isnan(said.values[0, :3]).all()
    assert (said.codes[1, :3] == quality.UNCERTAIN_SUBNORMAL).all() and np.isfinite(said.values[1, :3]).all()
    assert quality.good_mask(said.codes[2]).all()


def test_a_model_file_that_lacks_a_part_is_refused_and_stops_nothing(tmp_path: Path, trained: ModelFile) -> None:
    tensors = {name: t for name, t in trained.tensors.items() if name != "ridge.weights"}
    said = serve(service(registry(tmp_path, ModelFile(trained.manifest, tensors))), flows(3))[-1]
    assert said.state is State.REFUSED and "ridge.weights" in said.why


def test_a_record_that_was_changed_is_said_as_long_as_it_is_and_the_models_go_on(
    tmp_path: Path, trained: ModelFile
) -> None:
    made = registry(tmp_path, trained)
    running = service(made)
    serve(running, flows(40))
    path, whole = made.folder / "record.jsonl", (made.folder / "record.jsonl").read_bytes()
    path.write_bytes(whole.replace(b"tester", b"taster"))
    for said in serve(running, flows(3), 40):
        assert said.state is State.DAMAGED and "line 1: it was changed" in said.why
        assert quality.good_mask(said.codes).all()
    path.write_bytes(whole)
    assert serve(running, flows(1), 43)[-1].state is State.SERVING


def test_a_first_model_that_is_rolled_back_leaves_nobody_who_answers(tmp_path: Path, trained: ModelFile) -> None:
    made = registry(tmp_path, trained)
    running = service(made)
    assert serve(running, flows(40))[-1].state is State.SERVING
    made.roll_back(trained.hash, "tester", "it is wrong", 11)
    said = serve(running, flows(1), 40)[-1]
    assert said.state is State.NO_MODEL and not quality.good_mask(said.codes[:, :6]).any()
    assert set(said.texts.values()) == {""}


def test_what_lies_outside_of_what_training_saw_is_uncertain(tmp_path: Path, trained: ModelFile) -> None:
    values = flows(90)
    values[60:, 2] *= 1000.0
    said = serve(service(registry(tmp_path, trained)), values)[-1]
    assert (said.codes[2, :6] == quality.UNCERTAIN_ENGINEERING_UNITS_EXCEEDED).all()
    assert quality.good_mask(said.codes[1]).all()


def test_history_fills_the_memory_so_that_the_first_answer_after_a_start_is_whole(
    tmp_path: Path, trained: ModelFile
) -> None:
    values = flows(101)
    asked: list[tuple[int, int]] = []

    def past(samples: int, before_ns: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        asked.append((samples, before_ns))
        first = before_ns // SECOND - samples
        return np.arange(first, first + samples) * SECOND, values[first : first + samples, :, None]

    made = registry(tmp_path, trained)
    fresh = Service(ROW, made, past).sample(100 * SECOND, values[100][:, None])
    running = serve(service(made), values)[-1]
    assert asked == [(20, 100 * SECOND)]
    means = [0, 3]  # intervals have adapted a little in the one that runs for longer
    np.testing.assert_allclose(fresh.values[:, means], running.values[:, means], atol=1e-3)
    assert fresh.state is State.SERVING and quality.good_mask(fresh.codes).all()


WRONG = [
    ("unit", "flow is in L/s, the model knows it in m3/h"),
    ("step", "the model was trained on rows every 5 s"),
    ("columns", "the model looks at flow"),
    ("ahead", "samples ahead"),
]


@pytest.mark.parametrize(("what", "said"), WRONG)
def test_a_model_that_does_not_fit_the_row_is_refused_and_answers_nothing(
    tmp_path: Path, trained: ModelFile, what: str, said: str
) -> None:
    model, row = trained, ROW
    if what == "unit":
        model = _trained(1, unit="m3/h")
    elif what == "step":
        model = _trained(1, step_s=5.0)
    elif what == "columns":
        row = dataclasses.replace(ROW, columns=("speed",), tell=("speed",))
    else:
        row = dataclasses.replace(ROW, ahead_s=(50.0,))
    found = serve(service(registry(tmp_path, model), row), flows(30))[-1]
    assert found.state is State.REFUSED and said in found.why
    assert not quality.good_mask(found.codes[:, :-1]).any()


def test_a_shadow_is_shown_to_nobody_and_a_canary_to_its_share(tmp_path: Path, trained: ModelFile) -> None:
    other = _trained(2)
    made = registry(tmp_path, trained, other)
    running = service(made)
    assert set(names(serve(running, flows(1))[-1])) == {trained.hash[:12]}
    promote(made, other, 1)
    assert not serve(running, flows(1), 1)[-1].texts  # nothing changed for anybody
    promote(made, other, 1)
    canaries = list(serve(running, flows(1), 2)[-1].texts.values())
    assert 2 <= len(canaries) <= 8 and set(canaries) == {other.hash[:12]}
    promote(made, other, 1)
    assert len(serve(running, flows(1), 3)[-1].texts) == len(TWINS) - len(canaries)
    assert running.champion == other.hash


def test_a_canary_that_is_worse_in_service_is_rolled_back_by_itself(tmp_path: Path, trained: ModelFile) -> None:
    bad = spoiled(trained)
    made = registry(tmp_path, trained, bad)
    promote(made, bad, 2)
    said = serve(service(made), flows(900, seed=5))
    assert made.find(bad.hash).stage is Stage.ROLLED_BACK
    assert made.record()[-1].by == "twinloop" and "evidence" in made.record()[-1].why
    assert said[-1].model == trained.hash


def test_a_champion_that_is_worse_than_the_one_before_gives_way_to_it(tmp_path: Path, trained: ModelFile) -> None:
    bad = spoiled(trained)
    made = registry(tmp_path, trained, bad)
    promote(made, bad, 3)
    assert made.find(bad.hash).stage is Stage.LIVE
    said = serve(service(made), flows(900, seed=5))
    assert made.find(bad.hash).stage is Stage.ROLLED_BACK
    assert said[-1].model == trained.hash


def test_a_rival_that_is_silent_about_half_of_the_pumps_is_no_better_for_it(tmp_path: Path, trained: ModelFile) -> None:
    other = _trained(2)
    made = registry(tmp_path, trained, other)
    promote(made, other, 2)
    score = Score(ROW, made)
    score.now(trained, [made.find(trained.hash), made.find(other.hash)])
    values = flows(900, seed=5)
    gone = False
    for k in range(890):
        exact = np.repeat(np.stack([values[k + 2], values[k + 5]], axis=1), 3, axis=1)  # (D, 6): two and five ahead
        champion = np.column_stack([exact + 2.0, np.zeros(len(TWINS))])  # always a quarter of a spread too high
        rival = np.column_stack([exact, np.zeros(len(TWINS))])
        rival[::2, :6] = np.nan
        gone |= score.after(values[k][:, None], {trained.hash: champion, other.hash: rival}, k)
    assert gone and made.find(other.hash).stage is Stage.ROLLED_BACK


def test_a_model_as_good_as_the_champion_stays(tmp_path: Path, trained: ModelFile) -> None:
    other = _trained(2)
    made = registry(tmp_path, trained, other)
    promote(made, other, 2)
    serve(service(made), flows(900, seed=5))
    assert made.find(other.hash).stage is Stage.CANARY


def test_evidence_against_a_canary_outlives_a_restart(tmp_path: Path, trained: ModelFile) -> None:
    bad = spoiled(trained)
    made = registry(tmp_path, trained, bad)
    promote(made, bad, 2)
    for part in range(5):  # no single run is long enough
        serve(service(made), flows(180, seed=5 + part), 1_000 * part)
    assert made.find(bad.hash).stage is Stage.ROLLED_BACK


def hasty(rows: int, seed: int, offset: float = 50.0) -> NDArray[np.float64]:
    """(T, D): samples that hardly know each other, so that few of them tell much."""
    return offset + np.random.default_rng(seed).standard_normal((rows, len(TWINS)))


def test_inputs_unlike_those_of_training_are_drift(tmp_path: Path) -> None:
    running = service(registry(tmp_path, _trained(1, values=hasty(1_500, 1))))
    assert serve(running, hasty(450, 2))[-1].standing.drifted == ()
    assert "flow" in serve(running, hasty(800, 3, offset=51.0), 450)[-1].standing.drifted


def test_forecasts_that_fail_more_than_they_used_to_are_drift(tmp_path: Path) -> None:
    running = service(registry(tmp_path, _trained(1, values=hasty(1_500, 1))))
    assert serve(running, hasty(600, 2))[-1].standing.drifted == ()
    wild = 50.0 + 2.0 * (hasty(600, 3) - 50.0)
    assert "errors" in serve(running, wild, 600)[-1].standing.drifted


def test_a_file_of_evidence_that_cannot_be_read_begins_anew(tmp_path: Path) -> None:
    path = tmp_path / "watch-soon.json"
    _keep(path, {"a b": Watch(pairs=PAIRS_MAX)})
    assert _kept(path)["a b"].pairs == PAIRS_MAX
    path.write_text('{"a b": 3}')
    assert _kept(path) == {}
