"""A command on a water network is predicted, done in its truth, and the prediction is scored against what was read."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from pathlib import Path

import pytest

from control import prediction
from control import preflight as module
from control.command import Priority, Status, Terms
from control.evidence import PREDICTION, PREDICTION_SCORE
from control.ground import LiveGround
from control.prediction_store import Kept
from control.preflight import Preflight, as_body
from control.score import Outcome
from protocols.link import LinkState
from tests.control.plants import bench, serve_pump, until
from tests.control.waterworks import SPEED, works
from twin.errors import LimitExceeded, Refused, Unavailable
from twin.interlock import Judgement, Ruling
from twin.policy import Policy
from twin.policy import Preflight as Mode

pytestmark = pytest.mark.usefixtures("typed_events")

POLICY = Policy(preflight=Mode.REFUSE, horizon_s=3600.0, limits=("tank_1.level<3", "tank_1.level<0.5"))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Due predictions are looked for all the time; a few replications show everything but narrow intervals."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(prediction, "REPLICATIONS_MIN", 16)
    monkeypatch.setattr(prediction, "REPLICATIONS_MAX", 16)


async def scored(preflight: Preflight, identity: str = "c1") -> Kept:
    kept = await until(lambda: preflight.of(identity), lambda found: found is not None and found[1] is not None)
    assert isinstance(kept, tuple)
    return kept


async def test_a_stopped_pump_is_predicted_done_and_scored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prediction, "REPLICATIONS_MAX", 64)
    async with works(tmp_path) as plant, plant.scoring() as preflight:
        made = await preflight.predict(plant.command(), POLICY)
        level = next(e for e in made.effects if e.name == "tank_1.level")
        assert level.unit == "m" and level.high < 0, "without the pump the tank falls"
        near, far = made.risks
        assert near.probability >= near.baseline and far.probability == 0.0
        assert made.held["pump_335.status"].value == 1.0 and made.started["tank_1.level"] is not None
        plant.send()
        plant.go(1800)
        kept = await preflight.of("c1")
        assert kept is not None and kept[1] is None, "half the horizon tells nothing yet"
        plant.go(1860)
        made, score = await scored(preflight)
        assert score is not None and score.outcome is Outcome.SCORED, score
        assert score.readings == 3 * 48 and score.coverage is not None and score.coverage > 0.6
        tank = next(p for p in score.points if p.point == "tank_1.level")
        assert tank.observed == pytest.approx(tank.expected, abs=0.3)
        assert tank.loss is not None and tank.persistence is not None and tank.loss < tank.persistence
        assert [x.violated for x in score.limits] == [near.probability > 0.5, False]
        summary = await preflight.summary()
        assert (summary.made, summary.waiting, summary.scored) == (1, 0, 1)
        assert summary.coverage == score.coverage
        await until(lambda: plant.entries(PREDICTION_SCORE), lambda found: found == ["c1"])
        assert plant.entries(PREDICTION) == ["c1"]
        body = as_body((made, score))
        assert body["score"]["coverage"] == score.coverage and body["made_at"] == made.made_at / 1e6


async def test_the_same_command_and_state_give_the_same_prediction(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        preflight = plant.preflight()
        assert await preflight.predict(plant.command(), POLICY, kept=False) == await preflight.predict(
            plant.command(), POLICY, kept=False
        )
        assert await preflight.newest(10) == []


async def test_another_hand_on_the_plant_ends_the_comparison_early(tmp_path: Path) -> None:
    async with works(tmp_path) as plant, plant.scoring() as preflight:
        await preflight.predict(plant.command(), POLICY)
        plant.send()
        plant.go(900)
        assert plant.mover.command(plant.plant.point("pump_10.status"), 1.0)
        plant.go(120)
        _, score = await scored(preflight)
        assert score is not None and score.outcome is Outcome.CENSORED
        assert score.detail == "pump_10.status was set to 1"
        assert 840 <= score.until_s <= 1020


async def test_a_command_that_was_not_sent_or_not_done_has_no_score(tmp_path: Path) -> None:
    async with works(tmp_path) as plant, plant.scoring() as preflight:
        await preflight.predict(plant.command(identity="refused"), POLICY)
        await preflight.predict(plant.command(identity="failed"), POLICY)
        await preflight.predict(plant.command(identity="lost"), POLICY)
        plant.end("refused", Status.REFUSED)
        plant.end("failed", Status.SENT, Status.ACKNOWLEDGED, Status.FAILED)
        del plant.commands["lost"]
        plant.go(3700)
        for identity, words in (("refused", "was not sent"), ("failed", "did not do it"), ("lost", "never recorded")):
            _, score = await scored(preflight, identity)
            assert score is not None and score.outcome is Outcome.UNSCORED and words in score.detail


async def test_predictions_are_taken_up_again_after_a_stop_and_recorded_once(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        await plant.preflight().predict(plant.command(), POLICY)  # nobody was there to bring it into the ledger
        plant.send()
        plant.go(3700)
        async with plant.scoring() as preflight:
            _, score = await scored(preflight)
            assert score is not None and score.outcome is Outcome.SCORED
            await until(lambda: plant.store.unaudited(9), lambda rows: rows == [])
        plant.store.audited([(None, "c1")], [(None, "c1")])  # type: ignore[list-item] # as a crash before it was noted
        assert len(plant.store.unaudited(9)) == 1
        async with plant.scoring():
            await until(lambda: plant.store.unaudited(9), lambda rows: rows == [])
        assert plant.entries(PREDICTION) == ["c1"] and plant.entries(PREDICTION_SCORE) == ["c1"]


async def test_what_the_model_cannot_set_or_the_twin_does_not_know_is_said(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        preflight = plant.preflight()
        with pytest.raises(Refused, match=r"the model cannot set tank_1\.level"):
            await preflight.predict(plant.command("tank_1.level", 1.0), POLICY)
        told = await preflight.judge(plant.command("tank_1.level", 1.0), POLICY)
        assert not told.allowed and "could not predict" in told.detail
        assert (await preflight.judge(plant.command("tank_1.level", 1.0), replace(POLICY, preflight=Mode.WARN))).allowed
        plant.elapsed_s += 600 * SPEED  # ten minutes without a reading
        plant.live.sweep()
        with pytest.raises(Refused, match="not known well enough"):
            await preflight.predict(plant.command(), POLICY)
        looks = iter((True, True, False))
        told = await preflight.judge(plant.command(), POLICY, lambda: next(looks))
        assert not told.allowed and "not known well enough" in told.detail
        assert next(looks, None) is None, "it waited for a state to start from"


async def test_the_verdict_follows_the_policy(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        preflight = plant.preflight()
        certain = replace(POLICY, limits=("tank_1.level<40",))
        helpful = await preflight.judge(plant.command("pump_10.status", 1.0), certain)
        assert helpful.allowed, f"what raises a tank that is too low must go: {helpful.detail}"
        refused = await preflight.judge(plant.command(), certain)
        assert refused == Judgement(False, refused.detail, (), (Ruling("preflight", False, refused.detail),))
        assert refused.detail.startswith("pre-flight refuses: P(tank_1.level<40 within 1 h) = 1.00 (")
        assert (await preflight.judge(plant.command(), replace(certain, preflight=Mode.WARN))).allowed


async def test_a_command_for_later_is_predicted_for_later(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        preflight = plant.preflight()
        clock_s = float(plant.live.table.columns.value[plant.plant.point("network.clock").id])
        on_its_clock = plant.command(terms=Terms(30.0, at_plant_s=clock_s + 1200))
        made = await preflight.predict(on_its_clock, POLICY)
        assert made.at_s == pytest.approx(1200) and made.horizon_s == pytest.approx(4800)
        level, without = made.fans["tank_1.level"], made.without["tank_1.level"]
        before = [k for k, t in enumerate(made.times_s) if t <= 1200]
        assert [level[2][k] for k in before] == [without[2][k] for k in before]
        on_ours = plant.command(terms=Terms(30.0, at=plant.now + 10 * 10**9))
        assert (await preflight.predict(on_ours, POLICY)).at_s == pytest.approx(600, rel=0.01), "60 times as fast"
        conditional = plant.command(terms=Terms(30.0, when="tank_1.level > 9 m"))
        assert (await preflight.predict(conditional, POLICY)).assumed == "as if tank_1.level > 9 m held now"
        with pytest.raises(LimitExceeded, match="forecasts reach 7 d"):
            await preflight.predict(plant.command(terms=Terms(30.0, at_plant_s=clock_s + 8 * 86_400)), POLICY)


async def test_too_many_predictions_and_slow_ones_are_turned_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with works(tmp_path) as plant:
        preflight = plant.preflight()
        monkeypatch.setattr(module, "WAITING_MAX", 2)
        asked = [preflight.predict(plant.command(identity=f"c{n}"), POLICY) for n in range(3)]
        found = await asyncio.gather(*asked, return_exceptions=True)
        assert [type(x) for x in found].count(LimitExceeded) == 1
        monkeypatch.setattr(module, "TIMEOUT_S", 0.01)
        with pytest.raises(Unavailable, match="no prediction within"):
            await preflight.predict(plant.command(), POLICY)
        monkeypatch.setattr(module, "TIMEOUT_S", 30.0)
        await preflight.predict(plant.command(), POLICY)  # the next one goes as ever


async def test_the_oldest_unscored_prediction_makes_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async with works(tmp_path) as plant:
        preflight = plant.preflight()
        monkeypatch.setattr(module, "PENDING_MAX", 1)
        for n in range(2):
            await preflight.predict(plant.command(identity=f"c{n}"), POLICY)
        (_, newer), (_, older) = await preflight.newest(10)
        assert newer is None
        assert older is not None and older.detail.startswith("predictions_overflow")


@pytest.mark.parametrize("mode", [Mode.WARN, Mode.REFUSE])
async def test_a_command_that_nobody_can_predict_goes_where_the_policy_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mode: Mode
) -> None:
    monkeypatch.setattr(LiveGround, "policy", lambda *_: Policy(preflight=mode))
    monkeypatch.setattr(LiveGround, "is_stop", lambda *_: True)
    pump = await serve_pump()
    async with bench(tmp_path, pump) as plc:
        await until(lambda: plc.live.states["plc"], lambda s: s is LinkState.ONLINE)
        emergency = await plc.submit(value=0.0, key="now", priority=Priority.EMERGENCY)
        assert Status.DRAFT not in [t.status for t in emergency.transitions], "an emergency waits for no forecast"
        await plc.until(emergency.id, "CONFIRMED")
        command = await plc.submit(key="later")
        assert command.status is Status.DRAFT
        ended = await until(lambda: plc.commands.get(command.id), lambda c: c.final)
        steps = [(t.status, t.detail) for t in ended.transitions]
        assert steps[1][1] == "pre-flight could not predict: this server runs no simulations"
        assert [s for s, _ in steps[1:]] == (
            [Status.QUEUED, Status.SENT, Status.ACKNOWLEDGED, Status.CONFIRMED]
            if mode is Mode.WARN
            else [Status.REFUSED]
        )
        written = [value for _, value in plc.pump.writes]
        assert written == ([0.0, 1.0] if mode is Mode.WARN else [0.0])
    await pump.served.stop()
