"""A broker inside the process, for demonstrations without one; must not be used for more (it cannot take floods)."""

from __future__ import annotations

import asyncio
import ipaddress
import socket

from amqtt.broker import Broker
from amqtt.errors import BrokerError

STOP_S = 5.0


class EmbeddedBroker:
    """amqtt on loopback, open to everybody there. Known good up to about 1,000 messages/s."""

    def __init__(self, host: str = "127.0.0.1", port: int = 0) -> None:
        if host != "localhost" and not ipaddress.ip_address(host).is_loopback:
            raise ValueError(
                f"the embedded broker asks nobody for a password, so it listens on loopback only, not {host}"
            )
        self.host = host
        self.port = port
        self._broker: Broker | None = None

    @property
    def endpoint(self) -> str:
        return f"mqtt://{self.host}:{self.port}"

    async def start(self) -> None:
        """
        Raises:
            OSError: the port is taken.
        """
        if self.port == 0:
            self.port = _free_port(self.host)
        broker = Broker(
            {
                "listeners": {"default": {"type": "tcp", "bind": f"{self.host}:{self.port}"}},
                "plugins": {"amqtt.plugins.authentication.AnonymousAuthPlugin": {"allow_anonymous": True}},
            }
        )
        try:
            await broker.start()
        except BrokerError as failure:
            raise OSError(str(failure)) from failure
        self._broker = broker

    async def stop(self) -> None:
        broker, self._broker = self._broker, None
        if broker is not None:
            async with asyncio.timeout(STOP_S):
                await broker.shutdown()


def _free_port(host: str) -> int:
    """A port that is free now; amqtt does not tell which one it took."""
    with socket.socket() as probe:
        probe.bind((host, 0))
        port: int = probe.getsockname()[1]
        return port
