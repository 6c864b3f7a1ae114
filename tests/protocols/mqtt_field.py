"""A field around one mosquitto: links, simulated devices and somebody who publishes whatever a test likes."""

from __future__ import annotations

import random
import time
from collections.abc import Sequence
from pathlib import Path

from protocols.mqtt.client import Client
from protocols.mqtt.device import MqttDevice
from protocols.mqtt.link import MqttLink
from protocols.mqtt.messages import Message
from protocols.mqtt.packets import Filter, Options
from protocols.mqtt.session import BrokerSession
from tests.protocols.mosquitto import Mosquitto
from tests.protocols.protocol_bench import RecordingSink, Wished, device, point, seeded
from twin.points import Point

LEVEL = point(0, "plant/tank/level", low=0.0, high=10.0)
FLOW = point(1, "plant/line#/flow")
SPEED = point(2, "plant/line#/speed/actual", "integer")
PUMP = point(3, "plant/pump", "boolean", writable=True)
SETPOINT = point(4, "plant/setpoint#/wanted", writable=True, scale=2.0)
POINTS = (LEVEL, FLOW, SPEED, PUMP, SETPOINT)
START = {0: 2.5, 1: 10.0, 2: 1450.0, 3: 1.0, 4: 6.0}


class Field(Mosquitto):
    """Everybody at one broker."""

    def link(
        self,
        sink: RecordingSink,
        points: Sequence[Point] = POINTS,
        port: int = 0,
        chance: random.Random | None = None,
        **more: object,
    ) -> MqttLink:
        at = device("mqtt", f"mqtt://127.0.0.1:{port or self.port}", **more)
        return MqttLink(at, points, sink, time.time_ns, chance or seeded())

    def device(self, wished: Wished, points: Sequence[Point] = POINTS, **more: object) -> MqttDevice:
        return MqttDevice(device("mqtt", self.endpoint, **more), points, wished, time.time_ns)

    async def talker(self, name: str = "talker") -> BrokerSession:
        session = BrokerSession(self.endpoint, Client(Options(name)), lambda messages: None)
        await session.open(4.0)
        return session

    async def listener(self, heard: list[Message], topic: str = "#") -> BrokerSession:
        session = BrokerSession(self.endpoint, Client(Options("listener")), heard.extend)
        await session.open(4.0)
        await session.subscribe([Filter(topic, 1)], 4.0)
        session.start()
        return session


def field(folder: Path, config: str = "allow_anonymous true\n") -> Field:
    made = Field(folder, config)
    made.start()
    return made
