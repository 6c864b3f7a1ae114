"""The twin at an MQTT broker: says the newest states, takes wishes as commands; must not know the plant's own devices.

What is said and how wishes are read is a voice's business (voice.py, sparkplug_voice.py). A wish never touches a value.
"""

from __future__ import annotations

import asyncio
import logging
import random
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from protocols.healing import Broken, heal
from protocols.link import Clock, LinkState, WriteOutcome
from protocols.mqtt import entrance
from protocols.mqtt.client import Client
from protocols.mqtt.codec import SPARKPLUG, parse_endpoint
from protocols.mqtt.device import NobodyListens
from protocols.mqtt.messages import Messages
from protocols.mqtt.outbox import Outbox
from protocols.mqtt.packets import Options
from protocols.mqtt.session import BrokerSession
from protocols.mqtt.sparkplug import Source
from protocols.mqtt.sparkplug_metrics import SEQUENCE
from protocols.mqtt.sparkplug_voice import SparkplugVoice
from protocols.mqtt.voice import PlainVoice, Saying, Spoken, Unfit, Voice, Wish
from protocols.served import Asked, Guest, Shown, TwinView
from twin.errors import TwinloopError
from twin.plant import Plant, Serving
from twin.points import Point
from twin.role import Role

PUMP_S = 0.05  # as often as the twin hands states over
SLICE = 500  # points of one go: some 5 ms of JSON
IN_FLIGHT_MAX = 100  # messages that wait for the broker's acknowledgement
SEND_S = 10.0  # a broker that takes no byte for so long is stuck
FAREWELL_S = 1.0  # for our last word to reach the broker when we go
COMMANDS_MAX = 100  # wishes under way; more are told to come later
FOLLOW_S = 120.0  # how long a command is followed to its end: longer than any default deadline and feedback
ANSWERED_MAX = 1_000  # wishes with an id whose repetition is known
CLIENT_ID_BITS = 48
log = logging.getLogger("twinloop.northbound")


class MqttFace:
    """See protocols.served.Face."""

    def __init__(self, serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> None:
        settings = serving.settings
        at = parse_endpoint(serving.endpoint)
        self.endpoint = serving.endpoint.rpartition("://")[0] + f"://{at.host}:{at.port}"
        self._serving, self._view, self._clock, self._pki = serving, view, clock, pki
        self._chance = random.Random(clock())  # for back-off and client ids only
        self._outbox = Outbox(int(float(settings["every_s"]) * 1e9))
        self._voice = _voice(serving, clock)
        self._guest = Guest(f"mqtt:{serving.id}", Role.OPERATOR if settings["writes"] == "operator" else Role.VIEWER)
        self._shown = Shown(settings["points"])
        self._plant: Plant | None = None
        self._points: Mapping[int, Point] = {}
        self._goodbyes: list[Saying] = []
        self._session: BrokerSession | None = None
        self._answered: dict[tuple[int, str], Saying | None] = {}
        self._commands: set[asyncio.Task[None]] = set()
        self._running: asyncio.Task[Any] | None = None

    async def start(self) -> None:
        self._view.figures.state = f"connecting to {self.endpoint}"

    async def run(self) -> None:
        self._running = asyncio.current_task()
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._follow())
            tasks.create_task(heal(self._serving.id, _Told(self._view, self.endpoint), self._chance, self._live))

    async def stop(self) -> None:
        """Once it has said goodbye."""
        running = [task for task in (self._running, *self._commands) if task is not None]
        for task in self._commands:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # --- what is said ------------------------------------------------------------------------------------------------

    async def _follow(self) -> None:
        async for states in self._view.states():
            if states.plant is not self._plant:
                self._bind(states.plant)
            self._view.figures.dropped += self._outbox.hold(states)

    def _bind(self, plant: Plant) -> None:
        ids = np.flatnonzero(self._shown.of(plant.points)).astype(np.int32)
        points = plant.points.some(ids)
        self._outbox.forget(np.array(sorted(self._points.keys() - set(ids.tolist())), np.int32))
        self._plant, self._points = plant, {point.id: point for point in points}
        self._goodbyes += self._voice.bind(points)

    async def _live(self, online: Callable[[], None]) -> None:
        settings, voice = self._serving.settings, self._voice
        at = parse_endpoint(self._serving.endpoint)
        options = Options(
            f"twinloop-{self._serving.id}-{self._chance.getrandbits(CLIENT_ID_BITS):012x}", str(settings["version"]),
            int(settings["keepalive_s"]), user=at.user, password=at.password, will=voice.will(self._clock()),
        )  # fmt: skip
        shown, trust = (settings["user_certificate"], settings["user_key"]), bool(settings["system_trust"])
        tls = await asyncio.to_thread(entrance.tls, self._serving.endpoint, self._pki, shown, trust)
        session = BrokerSession(self._serving.endpoint, Client(options), self._take, tls)
        timeout_s = float(settings["timeout_s"])
        try:
            await session.open(timeout_s)
            refused = await session.subscribe(voice.filters(), timeout_s)
            if refused:
                log.warning("serving %s: the broker refuses %s", self._serving.id, ", ".join(sorted(refused)))
            self._session = session
            online()
            session.start()
            await self._pump(session, timeout_s)
        finally:
            self._session = None
            if not session.lost.done():
                for saying in voice.farewell(self._clock()):
                    await session.publish(saying.topic, saying.payload, saying.qos, saying.retain, FAREWELL_S)
            await session.close()

    async def _pump(self, session: BrokerSession, timeout_s: float) -> None:
        """Say what is new until the connection breaks.

        Raises:
            Broken: always, with the reason.
        """
        voice, outbox = self._voice, self._outbox
        while not session.lost.done():
            if voice.greeted and not voice.listener:
                raise Broken("the primary host is offline")
            if voice.listener and self._plant is not None:
                if not voice.greeted:
                    await self._publish(session, voice.greeting(self._spoken(outbox.known), self._clock()), timeout_s)
                    outbox.anew()
                goodbyes, self._goodbyes = self._goodbyes, []
                await self._publish(session, goodbyes, timeout_s)
                await self._tell(session, timeout_s)
            await asyncio.wait((session.lost,), timeout=PUMP_S)
        raise Broken(session.lost.result().words)

    async def _tell(self, session: BrokerSession, timeout_s: float) -> None:
        while self._voice.greeted and self._voice.listener and not session.lost.done():
            ids = self._outbox.due(self._clock(), SLICE)
            if not len(ids):
                return
            if not await self._publish(session, self._voice.say(self._spoken(ids), self._clock()), timeout_s):
                self._outbox.again(ids)
                return

    def _spoken(self, ids: NDArray[np.int32]) -> list[Spoken]:
        box = self._outbox
        columns = (ids.tolist(), box.value[ids].tolist(), box.quality[ids].tolist(), box.source_time[ids].tolist())
        return [
            Spoken(self._points[i], value, box.text.get(i), quality, stamp)
            for i, value, quality, stamp in zip(*columns, strict=True)
            if i in self._points
        ]

    async def _publish(self, session: BrokerSession, sayings: Sequence[Saying], timeout_s: float) -> bool:
        """Whether the broker took all of them. What goes at QoS 0 keeps its order: edge nodes' messages have numbers."""
        taken = True
        for some in (sayings[at : at + IN_FLIGHT_MAX] for at in range(0, len(sayings), IN_FLIGHT_MAX)):
            for saying in some:
                if not saying.qos:
                    taken = await _sent(session, saying) and taken
            asked = [session.publish(s.topic, s.payload, s.qos, s.retain, timeout_s) for s in some if s.qos]
            outcomes = {verdict.outcome for verdict in await asyncio.gather(*asked)}
            taken = taken and not {WriteOutcome.NOT_SENT, WriteOutcome.UNKNOWN} & outcomes
        return taken

    # --- what is asked for -------------------------------------------------------------------------------------------

    def _take(self, messages: Messages) -> None:
        for message in messages:
            for asked in self._voice.hear(message.topic, message.payload, message.retained):
                self._take_one(asked)

    def _take_one(self, asked: Wish | Unfit) -> None:
        if isinstance(asked, Unfit):
            self._refuse(asked, asked.detail)
            return
        key = (asked.point.id, asked.identity)
        if asked.identity and key in self._answered:  # said twice: MQTT delivers at least once
            self._send(self._answered[key])
            return
        if len(self._commands) >= COMMANDS_MAX:
            self._refuse(asked, f"{COMMANDS_MAX} commands are under way; ask again later")
            return
        if asked.identity:
            self._answered[key] = None
            if len(self._answered) > ANSWERED_MAX:
                del self._answered[next(iter(self._answered))]
        task = asyncio.create_task(self._command(asked), name=f"{self._serving.id} command")
        self._commands.add(task)
        task.add_done_callback(self._commands.discard)

    async def _command(self, wish: Wish) -> None:
        asked = Asked(wish.point.name, wish.value, wish.reason, wish.priority)
        try:
            state = await self._view.command(asked, self._guest)
            self._answer(wish, self._voice.answer(wish, state, ""))
            if not state.final:
                state = await self._view.follow(state.id, self._guest, FOLLOW_S)
                self._answer(wish, self._voice.answer(wish, state, ""))
        except TwinloopError as refusal:
            self._refuse(wish, str(refusal))

    def _refuse(self, asked: Wish | Unfit, detail: str) -> None:
        self._view.figures.refused += 1
        self._answer(asked, self._voice.answer(asked, None, detail))

    def _answer(self, asked: Wish | Unfit, saying: Saying | None) -> None:
        if isinstance(asked, Wish) and (asked.point.id, asked.identity) in self._answered:
            self._answered[asked.point.id, asked.identity] = saying
        self._send(saying)

    def _send(self, saying: Saying | None) -> None:
        """An answer, where there still is somebody to say it to; it must not wait for the broker."""
        if saying is not None and self._session is not None:
            self._session.send(saying.topic, saying.payload, saying.retain)


def _voice(serving: Serving, clock: Clock) -> Voice:
    settings = serving.settings
    writes = settings["writes"] == "operator"
    if settings["format"] == SPARKPLUG:
        edge = Source(str(settings["group_id"]), str(settings["node_id"] or serving.id))
        # Another number than that of the run before: its will may still be on its way.
        return SparkplugVoice(edge, str(settings["primary_host"] or ""), writes, clock() // 1_000_000_000 % SEQUENCE)
    return PlainVoice(str(settings["prefix"]).rstrip("/"), int(settings["qos"]), bool(settings["retain"]), writes)


async def _sent(session: BrokerSession, saying: Saying) -> bool:
    """At QoS 0, once there is room; False when the connection is gone.

    Raises:
        Broken: there is no room for too long.
    """
    try:
        async with asyncio.timeout(SEND_S):
            while not session.send(saying.topic, saying.payload, saying.retain):
                if session.lost.done():
                    return False
                await asyncio.sleep(PUMP_S)
    except TimeoutError:
        raise Broken("the broker does not take what we say") from None
    return True


class _Told(NobodyListens):
    """Where the connection stands, as the face's figures."""

    def __init__(self, view: TwinView, endpoint: str) -> None:
        self._figures, self._endpoint = view.figures, endpoint

    def link_state(self, device_id: str, state: LinkState, detail: str) -> None:
        self._figures.state = f"{state} at {self._endpoint}" + (f": {detail}" if detail else "")
        self._figures.clients = int(state is LinkState.ONLINE)
