"""A TCP relay in front of a device that fails as cables do: cut, slow, stuck, half-open, noisy; knows no protocol."""

from __future__ import annotations

import asyncio
import contextlib
import random
from dataclasses import dataclass, field

from protocols.faults import NO_TROUBLE, Trouble

PIECE_BYTES = 65_536  # read at once: a whole answer of any device here, mostly
# Held back for a slow or stuck cable, each way of one connection; past it the sender is made to wait, as TCP does.
HELD_PIECES_MAX = 64
CONNECT_S = 2.0  # the device is on this machine
CLOSE_S = 2.0


_Held = asyncio.Queue[tuple[float, bytes]]  # pieces on their way, each with the loop's time when it may leave


@dataclass(eq=False)
class _Connection:
    """Both ends of one connection through the cable, and whether anything of it was lost or spoilt."""

    writers: tuple[asyncio.StreamWriter, asyncio.StreamWriter]
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    harmed: bool = False

    def reset(self) -> None:
        for writer in self.writers:
            writer.transport.abort()


class Cable:
    """Listens where the device is said to be and relays to where it really is.

    Args:
        target: host and port of the device; asked anew for each connection.
    """

    def __init__(self, target: tuple[str, int], chance: random.Random) -> None:
        self.target = target
        self.port = 0
        self._chance = chance
        self._trouble = NO_TROUBLE
        self._moves = asyncio.Event()
        self._moves.set()
        self._listener: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._answering: set[asyncio.Task[None]] = set()

    async def start(self, host: str, port: int) -> None:
        """
        Raises:
            OSError: the port is taken.
        """
        self._listener = await asyncio.start_server(self._accept, host, port)
        self.port = self._listener.sockets[0].getsockname()[1]

    async def stop(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        listener.close()
        for connection in tuple(self._connections):
            connection.reset()
        tasks = [*self._answering, *(t for c in self._connections for t in c.tasks)]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._connections.clear()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(CLOSE_S):
                await listener.wait_closed()

    def suffer(self, trouble: Trouble) -> None:
        """From now on the cable is like this."""
        before, self._trouble = self._trouble, trouble
        if trouble.stalled:
            self._moves.clear()
        else:
            self._moves.set()
        healed = (before.silent and not trouble.silent) or (before.garbage > 0 and trouble.garbage == 0)
        for connection in tuple(self._connections):
            if trouble.dropped or (healed and connection.harmed):
                connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._answering.add(task)
        try:
            if self._trouble.dropped or self._listener is None:
                writer.transport.abort()
                return
            try:
                async with asyncio.timeout(CONNECT_S):
                    there, back = await asyncio.open_connection(*self.target)
            except (OSError, TimeoutError):  # the device is down: its cable says so
                writer.transport.abort()
                return
            await self._relay(_Connection((writer, back)), reader, there)
        except asyncio.CancelledError:
            return  # we stop; asyncio would log a cancelled conversation as an error
        finally:
            self._answering.discard(task)

    async def _relay(self, connection: _Connection, reader: asyncio.StreamReader, there: asyncio.StreamReader) -> None:
        """Until either end closes: then the other one is closed too."""
        near, far = connection.writers
        self._connections.add(connection)
        if self._trouble.dropped:  # cut while we connected
            connection.reset()
        out, back = _Held(HELD_PIECES_MAX), _Held(HELD_PIECES_MAX)
        leaving = [
            asyncio.create_task(self._leave(connection, out, far, spoil=False), name="cable out"),
            asyncio.create_task(self._leave(connection, back, near, spoil=True), name="cable back"),
        ]
        entering = [asyncio.create_task(self._enter(*way), name="cable in") for way in ((reader, out), (there, back))]
        connection.tasks = leaving + entering
        try:
            await asyncio.wait(leaving, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in connection.tasks:
                task.cancel()
            await asyncio.gather(*connection.tasks, return_exceptions=True)
            near.close()
            far.close()
            self._connections.discard(connection)

    async def _enter(self, source: asyncio.StreamReader, held: _Held) -> None:
        """One way in: each piece with the moment when it may leave. An empty piece says that the end closed."""
        loop = asyncio.get_running_loop()
        due = 0.0
        with contextlib.suppress(OSError):
            while data := await source.read(PIECE_BYTES):
                now = self._trouble
                wait_s = now.latency_s + (now.jitter_s * self._chance.random() if now.jitter_s else 0.0)
                due = max(due, loop.time() + wait_s)
                await held.put((due, data))
        await held.put((due, b""))

    async def _leave(self, connection: _Connection, held: _Held, sink: asyncio.StreamWriter, spoil: bool) -> None:
        """One way out, in order, until the other end closed or this one is gone."""
        loop = asyncio.get_running_loop()
        while True:
            due, data = await held.get()
            if due > loop.time():
                await asyncio.sleep(due - loop.time())
            await self._moves.wait()
            if not data:
                return
            now = self._trouble
            if now.silent:
                connection.harmed = True
                continue
            if spoil and now.garbage and self._chance.random() < now.garbage:
                connection.harmed = True
                data = self._chance.randbytes(len(data))
            try:
                sink.write(data)
                await sink.drain()
            except OSError:
                return
