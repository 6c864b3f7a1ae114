"""The look-ahead at work on a water network: EPANET is the truth, the clock goes when told."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from control import lookahead_look
from control import lookout as module
from control.evidence import LOOKAHEAD
from control.lookahead_alarms import Alarm, Status
from control.lookahead_audit import check_steps, read_steps
from control.lookahead_store import LookaheadStore
from control.lookout import Lookout, State, forecast_body
from control.score import Outcome
from protocols.link import LinkState
from sim.engine import WaterJob
from sim.job import Block, Job, Where
from sim.kernel.faults import Fault
from sim.runner import Cancelled, Runner
from tests.control.plants import until
from tests.control.waterworks import Works, works
from twin.errors import BadRequest, NotFound
from twin.lookahead import Lookahead

pytestmark = pytest.mark.usefixtures("typed_events")

ASKED = Lookahead(every_s=0.02, horizon_s=3600.0, replications=20, p_min=0.5, p_clear=0.2)


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is looked at all the time."""
    monkeypatch.setattr(module, "LOOK_EVERY_S", 0.01)
    monkeypatch.setattr(module, "YIELD_POLL_S", 0.01)
    monkeypatch.setattr(module, "AGAIN_S", 0.02)


def level(plant: Works) -> float:
    return float(plant.live.table.columns.value[plant.plant.point("tank_1.level").id])


def ask(plant: Works, below_m: float = 0.3, **more: Any) -> str:
    """A limit so much below the level of now."""
    limit = f"tank_1.level<{level(plant) - below_m:.2f}"
    plant.live.plant = replace(plant.plant, lookahead=replace(ASKED, limits=(limit,), **more))
    return limit


@asynccontextmanager
async def looking(
    plant: Works, data: Path, busy: Callable[[], str] = lambda: "", runner: Runner | None = None
) -> AsyncIterator[Lookout]:
    store, numbers = LookaheadStore(data / "lookahead.sqlite"), count()
    stamp = plant.now
    made = Lookout(
        plant.live,
        runner or plant.runner,
        store,
        plant.evidence,
        plant.clock,
        lambda: f"{stamp:x}-{next(numbers)}",
        busy,
    )
    task = asyncio.create_task(made.run())
    try:
        yield made
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)
        store.close()


async def ended(made: Lookout, status: Status) -> Alarm:
    found = await until(lambda: made.alarms(1), lambda a: bool(a) and a[0].status is status)
    assert isinstance(found, list)
    alarm: Alarm = found[0]
    return alarm


def steps(plant: Works) -> list[object]:
    """Oldest first."""
    return [e.body["step"] for _, e in plant.evidence.entries(1000, LOOKAHEAD)][::-1]


def told(plant: Works) -> list[object]:
    """Whether each predicted alarm that was announced is of a shelved limit."""
    return [e.body["shelved"] for e in plant.live.feed.events_since(0) if e.kind == "predicted_alarm"]


async def test_a_low_tank_is_predicted_comes_and_is_in_the_ledger(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        limit = ask(plant)
        assert plant.mover.command(plant.plant.point("pump_335.status"), 0.0)
        plant.go(60)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.standing, lambda found: len(found) == 1)  # type: ignore[arg-type]
            (alarm,) = made.standing
            said = alarm.first
            assert alarm.limit == limit and said.probability >= 0.5 and made.state is State.CURRENT
            assert said.at_s is not None and said.clock_s < said.at_s < said.clock_s + 3600
            assert made.forecast is not None and forecast_body(made.forecast)["fans"]["tank_1.level"]
            while level(plant) >= float(limit.split("<")[1]):
                plant.go(60)
                await until(lambda: made.turns.made, lambda n, before=made.turns.made: n > before)  # type: ignore[misc,operator]
            came = await ended(made, Status.CAME)
            assert came.id == alarm.id and came.timed and came.lead_s is not None and came.lead_s > 300
            assert came.ended_clock_s == pytest.approx(said.at_s, abs=600)
            await until(lambda: made.passed_now, lambda found: found == [limit])
            await until(lambda: steps(plant), lambda found: found == ["predicted", "came"])
        entries = dict(plant.evidence.entries(1000))
        assert check_steps(read_steps(tmp_path / "lookahead.sqlite"), entries) == []


async def test_people_come_first_and_what_was_left_out_is_counted(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant)
        people = ["a what-if is running"]
        async with looking(plant, tmp_path, lambda: people[0]) as made:
            await until(lambda: made.turns.yielded, lambda n: n >= 2)  # type: ignore[operator]
            assert (made.turns.made, made.state, made.why) == (0, State.WAITING, "a what-if is running")
            people[0] = ""
            await until(lambda: made.state, lambda s: s is State.CURRENT)
            assert made.why == "" and made.turns.made >= 1


class Slow(Runner):
    """Workers that are never done, until they are told to stop."""

    def __init__(self) -> None:
        super().__init__(0)
        self.running = self.most = 0

    def run(self, job: Job, first: int, count: int, cancel: threading.Event | None = None) -> Iterator[Block]:
        self.running += 1
        self.most = max(self.most, self.running)
        assert cancel is not None and cancel.wait(10)
        self.running -= 1
        raise Cancelled
        yield  # a generator, as the runner's own


async def test_a_look_under_way_makes_way_for_people(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant)
        people, runner = [""], Slow()
        async with looking(plant, tmp_path, lambda: people[0], runner) as made:
            await until(lambda: runner.running, lambda n: n == 1)
            people[0] = "a command is being predicted"
            await until(lambda: runner.running, lambda n: n == 0)
            await until(lambda: made.turns.yielded, lambda n: n >= 1)  # type: ignore[operator]
            assert made.why == "a command is being predicted" and made.forecast is None
        assert runner.most == 1, "never two at once"


async def test_a_turn_that_is_not_ready_in_time_is_counted_and_not_queued(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant, every_s=0.001)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.turns.made, lambda n: n >= 2)  # type: ignore[operator]
            assert made.turns.late >= made.turns.made - 1


async def test_when_the_plant_is_not_known_it_says_so_and_goes_on_when_it_is(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.state, lambda s: s is State.CURRENT)
            known = made.since
            plant.elapsed_s += 600 * 60  # ten minutes without a reading
            plant.live.sweep()
            await until(lambda: made.state, lambda s: s is State.STALE)
            await until(lambda: made.turns.refused, lambda n: n >= 1)  # type: ignore[operator]
            assert "not known well enough" in made.why and known <= made.since < plant.now
            plant.go(60)
            await until(lambda: made.state, lambda s: s is State.CURRENT)
            assert made.why == ""


async def test_a_link_that_dies_makes_the_forecast_stale_at_once(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant, every_s=86_400.0)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.state, lambda s: s is State.CURRENT)
            plant.live.link_state(plant.plant.point("tank_1.level").device, LinkState.OFFLINE, "no answer")
            await until(lambda: made.state, lambda s: s is State.STALE)
            assert "tank_1.level is BadNoCommunication" in made.why, made.why


async def test_a_settable_point_that_is_set_makes_the_forecast_stale_and_calls_for_another(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "SOON_S", 0.05)
    async with works(tmp_path) as plant:
        ask(plant, every_s=86_400.0)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.turns.made, lambda n: n == 1)
            monkeypatch.setattr(module, "SOON_TURNS", 0)
            assert plant.mover.command(plant.plant.point("pump_335.status"), 0.0)
            plant.go(1)
            await until(lambda: made.turns.made, lambda n: n == 2)
            events = [e.body for e in plant.live.feed.events_since(0) if e.kind == "lookahead"]
            said = [(body["state"], body["why"]) for body in events]
            assert ("stale", "pump_335.status was set to 0") in said, said
            assert made.forecast is not None and made.forecast.held["pump_335.status"].value == 0.0
            await until(lambda: (made.state, made.why), lambda found: found == (State.CURRENT, ""))


async def test_a_component_that_fails_is_a_failed_turn_and_no_unknown_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise Fault("filler (Machine.work) started job with a time that is negative", "give 0 or more")

    async with works(tmp_path) as plant:
        ask(plant)
        monkeypatch.setattr(lookahead_look, "replicate", fails)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.turns.failed, lambda n: n >= 1)  # type: ignore[operator]
            assert made.turns.refused == 0
            assert made.why == (
                "a replication failed: filler (Machine.work) started job with a time that is negative: give 0 or more"
            )


async def test_a_light_look_on_threads_goes_on_beside_what_people_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(WaterJob, "where", Where.THREADS)
    monkeypatch.setattr(module, "LIGHT_S", 60.0)
    async with works(tmp_path) as plant:
        ask(plant)
        people = ["a what-if is running"]
        async with looking(plant, tmp_path, lambda: people[0]) as made:
            await until(lambda: made.turns.yielded, lambda n: n >= 1)  # type: ignore[operator]
            assert made.turns.made == 0, "what it costs is not known yet"
            people[0] = ""
            await until(lambda: made.turns.made, lambda n: n >= 1)  # type: ignore[operator]
            people[0], before = "a what-if is running", made.turns.made
            await until(lambda: made.turns.made, lambda n: n >= before + 3)  # type: ignore[operator]


async def test_a_fault_of_the_model_ends_no_server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError

    async with works(tmp_path) as plant:
        ask(plant)
        with monkeypatch.context() as patched:
            patched.setattr(lookahead_look, "job_of", broken)
            async with looking(plant, tmp_path) as made:
                await until(lambda: made.turns.failed, lambda n: n >= 2)  # type: ignore[operator]
                assert "something went wrong" in made.why and made.state is State.WAITING


async def test_forecasts_meet_their_future_across_a_stop(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant, below_m=30.0)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.turns.made, lambda n: n >= 1)  # type: ignore[operator]
        plant.go(3660)
        async with looking(plant, tmp_path) as made:
            scores = await until(lambda: made.scores(9), bool)
            assert isinstance(scores, list) and scores[0].outcome is Outcome.SCORED, scores
            found = await made.summary()
        tank = next(p for p in found.points if p.point == "tank_1.level")
        assert found.scored == 1 and tank.whole.readings == 60
        assert tank.whole.crps is not None and tank.whole.persistence is not None
        assert tank.whole.crps < tank.whole.persistence, "nearer than 'it stays as it is'"
        assert found.limits.count == 4 and found.limits.brier == 0.0, "kept, and said so, by every quarter"


async def test_a_command_that_nobody_foresaw_ends_the_comparison(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.turns.made, lambda n: n >= 1)  # type: ignore[operator]
        plant.go(900)
        assert plant.mover.command(plant.plant.point("pump_10.status"), 1.0)
        plant.go(2760)
        async with looking(plant, tmp_path) as made:
            scores = await until(lambda: made.scores(9), bool)
            assert isinstance(scores, list)
            assert scores[0].outcome is Outcome.CENSORED and scores[0].detail == "pump_10.status was set to 1"
            assert 840 <= scores[0].until_s <= 1020


async def test_what_was_predicted_stands_after_a_stop_and_is_recorded_once(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant)
        assert plant.mover.command(plant.plant.point("pump_335.status"), 0.0)
        plant.go(60)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.standing, lambda found: len(found) == 1)  # type: ignore[arg-type]
            (alarm,) = made.standing
            await until(lambda: steps(plant), lambda found: found == ["predicted"])
        store = LookaheadStore(tmp_path / "lookahead.sqlite")
        store.audited([(None, 1)])  # type: ignore[list-item] # as a crash before it was noted
        store.close()
        people = "nobody looks"
        async with looking(plant, tmp_path, lambda: people) as made:
            await until(lambda: made.standing, lambda found: [a.id for a in found] == [alarm.id])  # type: ignore[attr-defined]
            await until(lambda: [r.entry for r in read_steps(tmp_path / "lookahead.sqlite")], lambda e: None not in e)  # type: ignore[operator]
        assert steps(plant) == ["predicted"]


async def test_a_limit_can_be_shelved_for_a_while_and_is_predicted_all_the_same(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        limit = ask(plant)
        assert plant.mover.command(plant.plant.point("pump_335.status"), 0.0)
        plant.go(60)
        async with looking(plant, tmp_path) as made:
            with pytest.raises(NotFound, match=r"no limit tank_9\.level<1"):
                await made.shelve("tank_9.level<1", 60.0, "anna", "")
            with pytest.raises(BadRequest, match="for_s 90000"):
                await made.shelve(limit, 90_000.0, "anna", "")
            with pytest.raises(NotFound, match="is not shelved"):
                await made.unshelve(limit, "anna")
            shelf = await made.shelve(limit.replace("<", " < "), 60.0, "anna", "being emptied")
            assert (shelf.limit, shelf.by, shelf.reason) == (limit, "anna", "being emptied")
            await until(lambda: made.standing, lambda found: len(found) == 1)  # type: ignore[arg-type]
            await until(lambda: told(plant), lambda found: found == [True])
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.shelves, lambda found: found == [shelf])
            plant.go(61 * 60)  # a minute of ours
            await until(lambda: made.shelves, lambda found: found == [])
            await until(lambda: "unshelved" in steps(plant), bool)
        assert steps(plant)[:1] == ["shelved"]


async def test_a_predicted_alarm_of_a_limit_that_was_taken_away_does_not_stand_for_ever(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        ask(plant)
        assert plant.mover.command(plant.plant.point("pump_335.status"), 0.0)
        plant.go(60)
        async with looking(plant, tmp_path) as made:
            await until(lambda: made.alarms(1), lambda found: len(found) == 1)  # type: ignore[arg-type]
        ask(plant, below_m=30.0)
        async with looking(plant, tmp_path) as made:
            lapsed = await ended(made, Status.LAPSED)
            assert lapsed.detail == "the plant has no such limit any more" and made.standing == []


async def test_a_plant_that_asks_for_nothing_is_not_looked_at(tmp_path: Path) -> None:
    async with works(tmp_path) as plant:
        plant.live.plant = replace(plant.plant, lookahead=None)
        async with looking(plant, tmp_path) as made:
            assert made.state is State.OFF and made.forecast is None


def test_a_step_that_is_changed_or_removed_is_found() -> None:
    from control.lookahead_audit import Row
    from control.lookahead_store import Step
    from ledger.entry import Entry

    step = Step(1, 5, '{"step":"came"}')
    entry = Entry(LOOKAHEAD, 5, {"n": 1, "sha256": step.sha256, "step": "came"})
    assert check_steps([Row(step, 7)], {7: entry}) == []
    assert "not what the ledger recorded" in check_steps([Row(replace(step, body="{}"), 7)], {7: entry})[0]["what"]
    assert "it holds no predicted alarm" in check_steps([], {7: entry})[0]["what"]
    later = Row(Step(2, 6, "{}"), 9)
    found = check_steps([later], {7: entry, 9: Entry(LOOKAHEAD, 6, {"n": 2, "sha256": later.step.sha256})})
    assert [p["what"] for p in found] == ["it is gone from lookahead.sqlite"]
    assert check_steps([Row(step, None)], {}) == [], "as a crash leaves it"
