"""What is asked of the model for a command, what its answer means, and how it is kept."""

from __future__ import annotations

import hashlib
import sqlite3
from dataclasses import replace
from pathlib import Path

import msgspec
import pytest

from control import prediction_store, show_prediction
from control.api.wire_prediction import PredictionRecord
from control.plants import read_plant
from control.prediction import (
    REPLICATIONS_MAX,
    REPLICATIONS_MIN,
    bad,
    join,
    prediction_of,
    question,
    span,
    split,
    unpredicted,
    verdict,
)
from control.prediction_check import check_predictions, read_predictions
from control.prediction_store import PredictionStore
from control.preflight import as_body
from control.score import score, summary, unscored
from ledger.entry import Entry
from sim.model import Model, read_model
from sim.result import Figure, LimitRisk, Outcome, Result
from sim.scenario import BASELINE, Intervention, Limit
from sim.statistics import Difference
from tests.control.predicted import LEVEL, PUMP, at, clock_to, prediction, risk, track
from twin.errors import Refused, Unavailable
from twin.policy import Policy
from twin.policy import Preflight as Mode

REFUSE = Policy(preflight=Mode.REFUSE, horizon_s=7200.0, limits=(f"{LEVEL}<2",), risk_max=0.05)
WARN = replace(REFUSE, preflight=Mode.WARN)


@pytest.fixture(scope="module")
def model() -> Model:
    return read_model(read_plant(Path(__file__).parents[2] / "scenarios" / "water", {}))


def test_a_likely_violation_refuses_or_warns_in_words_that_people_can_weigh() -> None:
    made = prediction(horizon_s=7200.0, risks=(risk(0.31, 0.02),))
    refused = verdict(made, REFUSE)
    assert not refused.allowed
    assert refused.detail == (
        "pre-flight refuses: P(tank.level<2 within 2 h) = 0.31 (0.15 … 0.62), without the command 0.02; 0.05 is the most"
    )
    warned = verdict(made, WARN)
    assert warned.allowed and warned.detail.startswith("pre-flight warns: P(tank.level<2 within 2 h)")


def test_a_small_risk_lets_the_command_go_and_says_the_largest() -> None:
    made = prediction(horizon_s=7200.0, risks=(risk(0.01), risk(0.04, limit=f"{LEVEL}>9")))
    found = verdict(made, REFUSE)
    assert found.allowed and found.detail.startswith("pre-flight: P(tank.level>9 within 2 h) = 0.04")
    assert verdict(prediction(risks=()), REFUSE).allowed


def test_a_limit_that_is_violated_anyway_stops_only_what_makes_it_worse() -> None:
    helps, harms = risk(0.9, 1.0, worse=False), risk(1.0, 0.9, worse=True)
    assert bad(prediction(risks=(helps,)), REFUSE) == ()
    assert bad(prediction(risks=(harms,)), REFUSE) == (harms,)


def test_what_cannot_be_predicted_is_refused_only_where_the_policy_refuses() -> None:
    error = Unavailable("no prediction within 30 s", "")
    assert not unpredicted(error, REFUSE).allowed
    told = unpredicted(error, WARN)
    assert told.allowed and told.detail == "pre-flight could not predict: no prediction within 30 s"


def answer(curves: tuple[tuple[float, ...], tuple[float, ...]], final: Difference) -> Result:
    """One limit, `tank.level<2`: its curve with the command and without it, and what changes at the horizon."""
    still = Difference(0.0, 0.0, 0.5, False)
    outcomes = [
        Outcome(
            name, (), {LEVEL: ((1.0, 1.0),) * 5}, {"energy_kwh": Figure(1.0, (1.0,) * 5, 0.1)},
            {} if name == BASELINE.name else {f"{LEVEL}.final": final, "energy_kwh": still},
            (LimitRisk(f"{LEVEL}<2", curve, curve, curve),),
        )
        for name, curve in ((BASELINE.name, curves[1]), ("command", curves[0]))
    ]  # fmt: skip
    return Result(
        "test", 1, 0.0, "s", "m", "b", 1, 2, "fixed", 60.0, None, (0.0, 60.0), {LEVEL: "m"}, tuple(outcomes), 0.0
    )


@pytest.mark.parametrize(
    ("with_it", "without", "final", "worse"),
    [
        ((0.0, 0.3), (0.0, 0.1), 0.0, True),  # likelier
        ((0.0, 0.1), (0.0, 0.3), 0.0, False),
        ((0.5, 1.0), (0.1, 1.0), 0.0, True),  # earlier
        ((0.1, 1.0), (0.5, 1.0), -1.0, False),
        ((1.0, 1.0), (1.0, 1.0), -1.0, True),  # deeper
        ((1.0, 1.0), (1.0, 1.0), 1.0, False),
        ((1.0, 1.0), (1.0, 1.0), 0.0, False),  # it changes nothing
    ],
)
def test_worse_is_likelier_or_earlier_or_deeper(
    model: Model, with_it: tuple[float, float], without: tuple[float, float], final: float, worse: bool
) -> None:
    change = Difference(final, 0.1, 0.5, abs(final) > 0.1)
    asked = question("c1", "pump_335.status", 0.0, 0.0, "", REFUSE, model)
    made = prediction_of("c1", asked, answer((with_it, without), change), (Limit(LEVEL, "<", 2.0),), {}, {}, {})
    (found,) = made.risks
    assert found.worse is worse
    assert (found.probability, found.baseline, found.by) == (with_it[-1], without[-1], with_it)
    level, energy = made.effects
    assert (level.name, level.unit, level.mean) == (LEVEL, "m", final) and energy.unit == "kWh"


def test_the_model_is_asked_for_the_command_at_its_time_with_its_own_seed(model: Model) -> None:
    asked = question("c1", "pump_335.status", 0.0, 600.0, "", REFUSE, model)
    assert asked.scenario.interventions == (Intervention(600.0, "pump_335.status", 0.0),)
    assert asked.horizon_s == 7800.0 and asked.replications == REPLICATIONS_MAX
    assert asked.seed == question("c1", "pump_335.status", 1.0, 0.0, "", REFUSE, model).seed < 2**63
    assert asked.seed != question("c2", "pump_335.status", 0.0, 0.0, "", REFUSE, model).seed
    week = question("c1", "pump_335.status", 0.0, 0.0, "", replace(REFUSE, horizon_s=7 * 86_400.0), model)
    assert week.replications == REPLICATIONS_MIN
    with pytest.raises(Refused, match=r"the model cannot set junction_1\.pressure"):
        question("c1", "junction_1.pressure", 0.0, 0.0, "", REFUSE, model)


def test_spans_are_said_shortly() -> None:
    assert [span(s) for s in (45.0, 90.0, 5400.0, 7200.0, 86_400.0 * 7, 777.0)] == [
        "45 s", "90 s", "1.5 h", "2 h", "7 d", "13 min",
    ]  # fmt: skip


def test_a_prediction_comes_back_from_its_text_and_its_fans_may_be_dropped() -> None:
    made = prediction()
    body, fans = split(made)
    assert join(body, fans) == made
    assert join(body, None) == replace(made, fans={}, without={})
    assert msgspec.json.decode(body)["fans_sha256"] == hashlib.sha256(fans.encode()).hexdigest()


def test_predictions_and_scores_survive_a_restart(tmp_path: Path) -> None:
    path = tmp_path / "predictions.sqlite"
    store = PredictionStore(path)
    first, second = prediction(), prediction(command="c2")
    store.save(first)
    store.save(second)
    found = score(first, at(2), clock_to(450), {LEVEL: track((50, 3.0)), PUMP: track((3, 0.0))}, at(999))
    store.settle(found)
    store.settle(unscored(first, "too late", at(1000)))  # the first stands
    store.close()
    store = PredictionStore(path)
    assert store.of("c1") == (first, found)
    assert store.newest(10) == [(second, None), (first, found)]
    assert store.waiting() == [second] and store.counts() == (2, 1) and store.scores(10) == [found]
    assert [(u.command, u.needs_prediction, u.needs_score) for u in store.unaudited(9)] == [
        ("c1", True, True),
        ("c2", True, False),
    ]
    store.audited([(4, "c1"), (5, "c2")], [(6, "c1")])
    assert store.unaudited(9) == []
    store.close()


def entry(kind: str, identity: str, text: str) -> Entry:
    return Entry(kind, 1, {"id": identity, "sha256": hashlib.sha256(text.encode()).hexdigest()})


@pytest.mark.parametrize(
    ("tampering", "problem"),
    [
        ("", None),
        (
            "UPDATE predictions SET body = replace(body, '0.2', '0.01')",
            "the prediction is not what the ledger recorded",
        ),
        ("UPDATE predictions SET fans = replace(fans, '3.0', '2.5')", "its fans are not those that were predicted"),
        ("UPDATE predictions SET fans = NULL", None),
        (
            "UPDATE predictions SET score = replace(score, '\"violated\":false', '\"violated\":true')",
            "the score is not what the ledger recorded",
        ),
        ("UPDATE predictions SET score = NULL", "the score is not what the ledger recorded"),
        ("DELETE FROM predictions WHERE command = 'c1'", "the prediction is gone from predictions.sqlite"),
        ("DELETE FROM predictions", "predictions.sqlite holds no prediction; the ledger does"),
    ],
)
def test_a_changed_prediction_or_score_is_found(tmp_path: Path, tampering: str, problem: str | None) -> None:
    path = tmp_path / "predictions.sqlite"
    store = PredictionStore(path)
    for identity in ("c1", "c2", "new"):
        store.save(prediction(command=identity))
    found = score(prediction(), at(2), clock_to(450), {LEVEL: track((50, 3.0)), PUMP: track((3, 0.0))}, at(999))
    store.settle(found)
    store.audited([(0, "c1"), (2, "c2")], [(1, "c1")])
    store.close()
    c1, c2, _ = read_predictions(path)
    entries = {
        0: entry("prediction", "c1", c1.body),
        1: entry("prediction.score", "c1", c1.score or ""),
        2: entry("prediction", "c2", c2.body),
    }
    database = sqlite3.connect(path, isolation_level=None)
    database.executescript(tampering)
    database.close()
    problems = [p["what"] for p in check_predictions(read_predictions(path), entries)]
    assert (problems[0] if problems else None) == problem


def test_a_command_predicted_again_has_the_newer_prediction(tmp_path: Path) -> None:
    store = PredictionStore(tmp_path / "predictions.sqlite")
    store.save(prediction())
    store.audited([(4, "c1")], [])
    store.save(prediction(seed=8))
    assert store.counts() == (1, 1)
    (row,) = store.unaudited(9)
    assert row.prediction.seed == 8
    store.close()


def test_only_the_newest_fans_of_scored_predictions_are_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction_store, "FANS_KEPT", 1)
    store = PredictionStore(tmp_path / "predictions.sqlite")
    for n in range(4):
        store.save(prediction(command=f"c{n}"))
        if n != 1:
            store.settle(unscored(prediction(command=f"c{n}"), "not sent", at(999)))
    with_fans = {made.command for made, _ in store.newest(9) if made.fans}
    assert with_fans == {"c1", "c3"}  # the newest, and what waits for its score
    store.close()


def test_a_prediction_is_printed_with_its_risks_effects_and_score(capsys: pytest.CaptureFixture[str]) -> None:
    found = score(prediction(), at(2), clock_to(450), {LEVEL: track((50, 3.0)), PUMP: track((3, 0.0))}, at(999))
    show_prediction.whole(as_body((prediction(assumed="as if it were approved now"), found)))
    printed = " ".join(capsys.readouterr().out.split())
    assert "P(tank.level<2) = 0.20 (0.10 … 0.40), without the command 0.00" in printed
    assert "(as if it were approved now)" in printed
    assert "tank.level -3 m (-3.2 … -2.8)" in printed
    assert "scored 100 % of 4 in the band" in printed
    assert "tank.level: -3 expected, -3 m observed" in printed and "tank.level<2: P = 0.20, kept" in printed
    assert show_prediction.row(as_body((prediction(), found), whole=False))[4:] == (
        "tank.level<2: 0.20", "0.00", "scored", "100 %",
    )  # fmt: skip
    track_record = msgspec.to_builtins(summary(2, 1, [found]))
    assert show_prediction.track(track_record) == (
        "2 predictions: 1 scored, 0 cut short, 0 without an outcome, 1 waiting; 100 % of readings in the 90 % band; "
        "Brier 0.040 over 1 limits (0.000 by rate); 100 % nearer than no change"
    )


def test_what_the_api_gives_is_of_its_type() -> None:
    found = score(prediction(), at(2), clock_to(450), {LEVEL: track((50, 3.0))}, at(999))
    whole = msgspec.convert(as_body((prediction(), found)), PredictionRecord)
    assert whole.score is not None and whole.score.coverage == 1.0 and whole.fans[LEVEL][0][0] == 1.0
    assert msgspec.convert(as_body((prediction(), None), whole=False), PredictionRecord).fans == {}
