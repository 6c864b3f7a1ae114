"""What rules owe: a real receiver that dies and comes back, refusals, limits, commands, and a restart in between."""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from control.alarm_store import Delivery
from tests.control.alarm_site import AlarmSite, alarm_site, plant
from tests.control.plants import until
from twin.alarm import Doing, Priority, Rule
from twin.alarms import Step
from twin.errors import Conflict, Interlocked, NotFound, Unavailable


@dataclass
class Receiver:
    """A real HTTP server on a port of its own, which it keeps when it comes back."""

    port: int = 0
    status: int = 200
    heard: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    server: ThreadingHTTPServer | None = None

    def start(self) -> None:
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                receiver.heard.append((self.headers["Idempotency-Key"], body))
                self.send_response(receiver.status)
                self.end_headers()

            def log_message(self, *_: object) -> None:
                return

        self.server = ThreadingHTTPServer(("127.0.0.1", self.port), Handler)
        self.port = self.server.server_port
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def stop(self) -> None:
        if self.server is not None:
            self.server.shutdown()
            self.server.server_close()
            self.server = None


@pytest.fixture
def receiver() -> Any:
    made = Receiver()
    made.start()
    yield made
    made.stop()


def webhook(receiver: Receiver, **more: Any) -> Rule:
    quick: dict[str, Any] = {"backoff_s": 0.05, "backoff_max_s": 0.1, "attempts": 1000, "timeout_s": 2.0}
    return Rule("call", Doing.WEBHOOK, url=f"http://127.0.0.1:{receiver.port}/alarms", **{**quick, **more})


async def state(site: AlarmSite, wanted: str, count: int = 1) -> list[Delivery]:
    return await until(lambda: site.rules.deliveries("", wanted, 100), lambda found: len(found) == count)  # type: ignore[return-value,arg-type]


async def test_a_webhook_is_told_once_of_each_step_with_all_that_it_needs(tmp_path: Path, receiver: Receiver) -> None:
    rule = webhook(receiver, on=frozenset({"active", "cleared"}))
    async with alarm_site(tmp_path, plant(2, [rule])) as site:
        site.say(11.0, 0)
        site.say(1.0, 0)
        await state(site, "done", 2)
    heard = dict(receiver.heard)
    assert sorted(heard) == ["tanks:call:1", "tanks:call:2"] and len(receiver.heard) == 2
    body = heard["tanks:call:1"]
    assert (body["alarm"], body["step"], body["value"], body["priority"]) == ("t0.level:high", "active", 11.0, "low")


async def test_a_receiver_that_dies_and_comes_back_hears_everything(tmp_path: Path, receiver: Receiver) -> None:
    async with alarm_site(tmp_path, plant(5, [webhook(receiver)])) as site:
        site.say(11.0, 0)
        await state(site, "done")
        receiver.stop()
        site.say(11.0, 1, 2, 3, 4)
        await until(
            lambda: site.rules.deliveries("", "waiting", 9), lambda d: len(d) == 4 and all(x.attempts for x in d)
        )  # type: ignore[arg-type,attr-defined]
        receiver.start()
        done = await state(site, "done", 5)
        assert max(d.attempts for d in done) > 1
    assert sorted(body["twin"] for _, body in receiver.heard) == ["t0", "t1", "t2", "t3", "t4"]


async def test_what_is_owed_survives_a_restart(tmp_path: Path, receiver: Receiver) -> None:
    receiver.stop()
    described = plant(1, [webhook(receiver)])
    async with alarm_site(tmp_path, described) as site:
        site.say(11.0, 0)
        await state(site, "waiting")
    receiver.start()
    async with alarm_site(tmp_path, described, good=False) as site:
        await state(site, "done")
    assert [key for key, _ in receiver.heard] == ["tanks:call:1"]


async def test_after_the_last_attempt_it_is_a_dead_letter_that_can_be_tried_again(
    tmp_path: Path, receiver: Receiver
) -> None:
    receiver.status = 503
    async with alarm_site(tmp_path, plant(1, [webhook(receiver, attempts=3)])) as site:
        site.say(11.0, 0)
        (dead,) = await state(site, "dead")
        assert (dead.attempts, dead.detail, len(receiver.heard)) == (3, "answered 503", 3)
        receiver.status = 200
        await site.rules.retry(dead.id)
        (done,) = await state(site, "done")
        assert done.id == dead.id and {key for key, _ in receiver.heard} == {f"tanks:{dead.id}"}
        with pytest.raises(Conflict, match="is done"):
            await site.rules.retry(dead.id)
        with pytest.raises(NotFound):
            await site.rules.retry("call:99")


async def test_a_refusal_is_final_at_once(tmp_path: Path, receiver: Receiver) -> None:
    receiver.status = 404
    async with alarm_site(tmp_path, plant(1, [webhook(receiver)])) as site:
        site.say(11.0, 0)
        (dead,) = await state(site, "dead")
        assert dead.attempts == 1 and len(receiver.heard) == 1


async def test_more_than_a_rule_may_do_is_kept_and_not_done(tmp_path: Path, receiver: Receiver) -> None:
    async with alarm_site(tmp_path, plant(5, [webhook(receiver, at_most=2, per_s=3600.0)])) as site:
        site.say(11.0, *range(5))
        await state(site, "done", 2)
        limited = await state(site, "limited", 3)
        assert limited[0].detail == "more than 2 in 3600 s" and len(receiver.heard) == 2
    async with alarm_site(tmp_path, plant(5, [webhook(receiver, at_most=2, per_s=3600.0)])) as site:
        site.say(1.0, 0)
        site.say(11.0, 0)
        await state(site, "limited", 4)


async def test_a_rule_acts_on_its_alarms_its_priorities_and_what_people_are_told(
    tmp_path: Path, receiver: Receiver
) -> None:
    rules = [
        webhook(receiver, alarms=frozenset({"t1.level:high"})),
        Rule("urgent", Doing.WEBHOOK, priorities=frozenset({Priority.HIGH}), url="http://127.0.0.1:9/"),
    ]
    async with alarm_site(tmp_path, plant(2, rules)) as site:
        site.say(11.0, 0, 1)
        (done,) = await state(site, "done")
        assert json.loads(done.body)["alarm"] == "t1.level:high"
        await site.alarms.say([1], lambda _: site.alarms.said(Step.SUPPRESSED, "sven", "works"))
        site.say(1.0, 1)
        site.say(11.0, 1)
        await until(site.words, lambda w: w[-1] == "t1 active")
        assert (await site.rules.counts()) == {"call": {"done": 1}}


async def test_a_command_of_a_rule_has_one_key_is_tried_again_and_bows_to_an_interlock(tmp_path: Path) -> None:
    asked: list[tuple[str, str, float]] = []
    away = [True]

    async def submit(key: str, point: str, value: float, reason: str, deadline_s: float) -> object:
        asked.append((key, point, value))
        if point == "b.x":
            raise Interlocked("it would run dry")
        if away[0]:
            away[0] = False
            raise Unavailable("nothing can be audited")
        return "c1"

    sets = (("a.x", 1.0), ("b.x", 0.0))
    rule = Rule("stop", Doing.SET, sets=sets, backoff_s=0.05, backoff_max_s=0.05)
    async with alarm_site(tmp_path, plant(1, [rule]), submit) as site:
        site.say(11.0, 0)
        (dead,) = await state(site, "dead")
        assert dead.detail == "b.x: it would run dry" and dead.attempts == 2
    assert asked == [("alarm:stop:1:a.x", "a.x", 1.0), ("alarm:stop:1:b.x", "b.x", 0.0)] * 2


async def test_what_a_rule_of_an_older_plant_owes_is_given_up(tmp_path: Path, receiver: Receiver) -> None:
    receiver.stop()
    async with alarm_site(tmp_path, plant(1, [webhook(receiver)])) as site:
        site.say(11.0, 0)
        await state(site, "waiting")
    async with alarm_site(tmp_path, plant(1), good=False) as site:
        (dead,) = await state(site, "dead")
        assert dead.detail == "the plant has no such rule any more"
