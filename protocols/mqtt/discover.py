"""Listens at a broker for a while; must not decide what the messages mean (protocols/mqtt/offered.py does)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Protocol

from protocols.discovery import Found, Told, without_password
from protocols.healing import Broken
from protocols.link import Clock
from protocols.mqtt import codec
from protocols.mqtt import sparkplug_metrics as metrics
from protocols.mqtt.births import Births
from protocols.mqtt.client import Client
from protocols.mqtt.codec import SPARKPLUG
from protocols.mqtt.messages import Messages
from protocols.mqtt.offered import Heard
from protocols.mqtt.packets import Filter, Options
from protocols.mqtt.session import BrokerSession
from protocols.pki import Pki, ssl_context_client
from twin.errors import BadRequest, Unavailable
from twin.plant import Device

CLIENT_ID_BITS = 48  # of chance in a client id: two of one id would throw each other out
PROGRESS_S = 0.5
REBIRTH_AFTER = 0.3  # of the time is left for edge nodes to show that they are there
QOS = 0  # what is missed is said again; a search owes nobody an acknowledgement


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to listen to and for how long; topics or metrics at most.

    Attributes:
        rebirth: ask Sparkplug edge nodes that speak to be born again: births are said once and not kept.
    """

    under: str = ""
    listen_s: float = 10.0
    limit: int = 100_000
    rebirth: bool = False


class Listener(Protocol):
    """Whoever makes something of what is heard."""

    messages: int

    def __len__(self) -> int: ...

    def take(self, topic: str, payload: bytes, retained: bool) -> None: ...


async def discover(
    device: Device, wanted: Wanted, told: Told, clock: Clock, chance: random.Random, pki: FilePath | None = None
) -> Found:
    """
    Raises:
        Unavailable: no connection, or the broker does not take us.
        BadRequest: `under` is no topic.
    """
    form = str(device.settings["format"])
    if form == SPARKPLUG:
        births = Births(wanted.under, wanted.limit)
        async with _heard(device, [births.filter], births, chance, pki) as session:
            await _wait(session, REBIRTH_AFTER * wanted.listen_s, births, told)
            if wanted.rebirth:
                for edge in births.unborn():
                    session.send(edge.topic("CMD"), rebirth_command(clock() // 1_000_000))
            await _wait(session, (1 - REBIRTH_AFTER) * wanted.listen_s, births, told)
        return births.found()
    heard = Heard(form, wanted.limit)
    async with _heard(device, filters(wanted.under), heard, chance, pki) as session:
        await _wait(session, wanted.listen_s, heard, told)
    return heard.found(tuple(part for part in wanted.under.strip("/").split("/") if part and part not in "+#"))


def filters(under: str) -> list[str]:
    """The topic itself and all below it; everything but the broker's own `$SYS` when nothing is named."""
    prefix = under.removesuffix("#").rstrip("/")
    if not prefix:
        return ["#"]
    if "#" in prefix or "\0" in prefix:
        raise BadRequest(f"--under {under!r} is no topic", "write a prefix such as site/hall_2")
    return [prefix, f"{prefix}/#"]


def rebirth_command(now_ms: int) -> bytes:
    """The NCMD that asks an edge node for its birth (Sparkplug 3.0.0, 6.4.21)."""
    return metrics.encode([metrics.Metric(metrics.REBIRTH, datatype=metrics.BOOLEAN, value=True)], now_ms)


@asynccontextmanager
async def _heard(
    device: Device, topics: Sequence[str], heard: Listener, chance: random.Random, pki: FilePath | None
) -> AsyncIterator[BrokerSession]:
    """A session that hands everything on."""
    settings, at = device.settings, codec.parse_endpoint(device.endpoint)

    def take(messages: Messages) -> None:
        for message in messages:
            heard.take(message.topic.decode(errors="replace"), message.payload, message.retained)

    name = f"twinloop-discover-{chance.getrandbits(CLIENT_ID_BITS):012x}"
    options = Options(name, str(settings["version"]), int(settings["keepalive_s"]), user=at.user, password=at.password)
    tls = ssl_context_client(None if pki is None else Pki(pki), system=True) if at.secure else None
    session = BrokerSession(device.endpoint, Client(options), take, tls)
    timeout_s = float(settings["timeout_s"])
    try:
        await session.open(timeout_s)
        refused = await session.subscribe([Filter(topic, QOS) for topic in topics], timeout_s)
        if refused:
            raise Unavailable(f"the broker refuses to subscribe {', '.join(refused)}", "may this user read it?")
        session.start()
        yield session
    except Broken as failure:
        raise Unavailable(f"{without_password(device.endpoint)}: {failure}", "is it running?") from failure
    finally:
        await session.close()


async def _wait(session: BrokerSession, listen_s: float, heard: Listener, told: Told) -> None:
    """
    Raises:
        Broken: the connection ended.
    """
    loop = asyncio.get_running_loop()
    end = loop.time() + listen_s
    while (left := end - loop.time()) > 0:
        await asyncio.wait((session.lost,), timeout=min(PROGRESS_S, left))
        told(heard.messages, f"messages, {len(heard)} sources, {max(0.0, end - loop.time()):.0f} s to go")
        if session.lost.done():
            raise Broken(session.lost.result().words)
