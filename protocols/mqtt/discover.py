"""Listens at a broker for a while; must not decide what the messages mean (protocols/mqtt/offered.py does)."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path as FilePath

from protocols.discovery import Found, Told, without_password
from protocols.healing import Broken
from protocols.mqtt import codec
from protocols.mqtt.client import Client
from protocols.mqtt.messages import Messages
from protocols.mqtt.offered import Heard
from protocols.mqtt.packets import Filter, Options
from protocols.mqtt.session import BrokerSession
from protocols.pki import Pki, ssl_context_client
from twin.errors import BadRequest, Unavailable
from twin.plant import Device

CLIENT_ID_BITS = 48  # of chance in a client id: two of one id would throw each other out
PROGRESS_S = 0.5
QOS = 0  # what is missed is said again; a search owes nobody an acknowledgement


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to listen to and for how long; values at most."""

    under: str = ""
    listen_s: float = 10.0
    limit: int = 100_000


async def discover(
    device: Device, wanted: Wanted, told: Told, chance: random.Random, pki: FilePath | None = None
) -> Found:
    """
    Raises:
        Unavailable: no connection, or the broker does not take us.
        BadRequest: `under` is no topic.
    """
    heard = Heard(str(device.settings["format"]), wanted.limit)
    refused = await listen(device, filters(wanted.under), wanted.listen_s, heard, told, chance, pki)
    if refused:
        raise Unavailable(f"the broker refuses to subscribe {', '.join(refused)}", "may this user read it?")
    levels = tuple(part for part in wanted.under.strip("/").split("/") if part and part not in "+#")
    return heard.found(levels)


def filters(under: str) -> list[str]:
    """The topic itself and all below it; everything but the broker's own `$SYS` when nothing is named."""
    prefix = under.removesuffix("#").rstrip("/")
    if not prefix:
        return ["#"]
    if "#" in prefix or "\0" in prefix:
        raise BadRequest(f"--under {under!r} is no topic", "write a prefix such as site/hall_2")
    return [prefix, f"{prefix}/#"]


async def listen(
    device: Device,
    topics: Sequence[str],
    listen_s: float,
    heard: Heard,
    told: Told,
    chance: random.Random,
    pki: FilePath | None,
) -> dict[str, str]:
    """Everything that comes in that time goes to `heard`; returns the topics that the broker refused."""
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
        session.start()
        loop = asyncio.get_running_loop()
        end = loop.time() + listen_s
        while (left := end - loop.time()) > 0:
            await asyncio.wait((session.lost,), timeout=min(PROGRESS_S, left))
            told(heard.messages, f"messages of {len(heard)} topics, {max(0.0, end - loop.time()):.0f} s to go")
            if session.lost.done():
                raise Broken(session.lost.result().words)
        return refused
    except Broken as failure:
        raise Unavailable(f"{without_password(device.endpoint)}: {failure}", "is it running?") from failure
    finally:
        await session.close()
