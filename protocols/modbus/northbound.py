"""The twin as a Modbus TCP device, by a map; must not know the plant's own devices.

Modbus carries no quality: what is not good does not look good (setting `bad`). A client's write becomes a command; the
cells change when the plant reports it.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from protocols.link import Clock
from protocols.modbus import image as cells
from protocols.modbus.address import parse_endpoint
from protocols.modbus.codec import BadFrame, DeviceException, Frame, FrameParser, frame
from protocols.modbus.image import Image, Written
from protocols.modbus.map import Aspect, Row, read_map
from protocols.modbus.turns import ANY_UNIT
from protocols.served import Asked, Guest, States, TwinView
from twin import errors
from twin.plant import Serving
from twin.points import Point
from twin.quality import is_good
from twin.role import Role

IDLE_S = 300.0  # a client that asks nothing for so long is gone; masters poll every few seconds
SPARED_S = 10.0  # a client that was silent for longer makes room for a new one when all places are taken
STRANGE_EVERY_S = 60.0  # between two lines of the log about clients that send no Modbus
SEND_S = 10.0  # a client that takes no byte for so long is stuck
READ_BYTES = 4096  # some twenty requests
GATEWAY_FAILED = 11
_EXCEPTION_OF: tuple[tuple[type[Exception], int], ...] = (
    (errors.BadRequest, cells.ILLEGAL_VALUE),
    (errors.NotFound, cells.ILLEGAL_ADDRESS),
    (errors.LimitExceeded, cells.BUSY),
    (errors.Unavailable, cells.BUSY),
    (errors.TwinloopError, cells.FAILURE),
)
log = logging.getLogger("twinloop.northbound")


class ModbusFace:
    """See protocols.served.Face."""

    def __init__(self, serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> None:
        self.endpoint = serving.endpoint
        self._at = parse_endpoint(serving.endpoint)
        self._settings, self._view = serving.settings, view
        rows = [row for _, row in read_map(Path(view.plant.folder) / serving.settings["map"])[0]]
        self._image = Image(rows, serving.settings["bad"])
        self._rows_of: Mapping[int, list[Row]] = {}
        self._points: dict[str, Point] = {}
        self._plant: Any = None
        self._beats = 0
        self._server: asyncio.Server | None = None
        self._open: dict[asyncio.Task[Any], float] = {}  # clients, and since when they are silent
        self._strange, self._strange_told_at = 0, -STRANGE_EVERY_S

    async def start(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._at.host, self._at.port)
        port = self._server.sockets[0].getsockname()[1]
        host = f"[{self._at.host}]" if ":" in self._at.host else self._at.host
        self.endpoint = f"modbus://{host}:{port}/{self._at.unit}"
        self._view.figures.state = f"listening at {self.endpoint}"

    async def run(self) -> None:
        async for states in self._view.states():
            if states.plant is not self._plant:
                self._bind(states)
            self._take(states)
            self._beat()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        for task in self._open:
            task.cancel()
        await asyncio.gather(*self._open, return_exceptions=True)
        await server.wait_closed()

    # --- what is shown -------------------------------------------------------------------------------------------

    def _bind(self, states: States) -> None:
        """Rows to points by name: an edited plant may have new ones, and lack old ones, which are bad from now on."""
        plant = states.plant
        named = {row.point: plant.point_of_name.get(row.point) for row in self._image.rows if row.point}
        self._points = {name: point for name, point in named.items() if point is not None}
        rows_of: dict[int, list[Row]] = {}
        for row in self._image.rows:
            point = named.get(row.point)
            if point is not None:
                rows_of.setdefault(point.id, []).append(row)
            elif row.aspect is Aspect.VALUE:
                self._image.show(row, float("nan"), None, False)
        self._rows_of, self._plant = rows_of, plant

    def _take(self, states: States) -> None:
        columns = (states.point.tolist(), states.value.tolist(), states.quality.tolist())
        for point, value, quality in zip(*columns, strict=True):
            for row in self._rows_of.get(point, ()):
                if row.aspect is Aspect.VALUE:
                    self._image.show(row, value, states.text.get(point), is_good(quality))
                else:
                    said = float(is_good(quality)) if row.aspect is Aspect.GOOD else float(quality)
                    self._image.show(row, said, None, True)

    def _beat(self) -> None:
        self._beats = (self._beats + 1) % 0x8000
        for row in self._image.rows:
            if row.aspect is Aspect.HEARTBEAT:
                self._image.show(row, float(self._beats), None, True)

    # --- clients -------------------------------------------------------------------------------------------------

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        figures = self._view.figures
        try:
            if len(self._open) >= self._settings["clients"] and not self._makes_room():
                figures.refused += 1
                return
            self._open[task] = asyncio.get_running_loop().time()
            figures.clients = len(self._open)
            await self._converse(task, reader, writer)
        except (OSError, TimeoutError, asyncio.CancelledError):
            return  # gone, silent, or we stop
        except BadFrame as error:
            self._strange += 1
            now = asyncio.get_running_loop().time()
            if now >= self._strange_told_at + STRANGE_EVERY_S:
                self._strange_told_at = now
                log.info("%d clients so far sent no Modbus, the last one: %s", self._strange, error.detail)
        finally:
            self._open.pop(task, None)
            figures.clients = len(self._open)
            writer.close()

    def _makes_room(self) -> bool:
        """Masters that were cut off without a word hold places for ever: the one silent for longest goes."""
        task, heard_at = min(self._open.items(), key=lambda item: item[1])
        if asyncio.get_running_loop().time() - heard_at < SPARED_S:
            return False
        del self._open[task]
        task.cancel()
        return True

    async def _converse(
        self, task: asyncio.Task[Any], reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        parser = FrameParser()
        peer = str(writer.get_extra_info("peername")[0])
        while data := await asyncio.wait_for(reader.read(READ_BYTES), IDLE_S):
            self._open[task] = math.inf  # a client that waits for an answer is not silent
            parser.feed(data)
            while (asked := parser.next_frame()) is not None:
                writer.write(frame(asked.transaction, asked.unit, await self._answer(asked, peer)))
            self._open[task] = asyncio.get_running_loop().time()
            await asyncio.wait_for(writer.drain(), SEND_S)

    async def _answer(self, asked: Frame, peer: str) -> bytes:
        function = asked.pdu[0]
        try:
            if asked.unit != self._at.unit and asked.unit not in ANY_UNIT:
                raise DeviceException(GATEWAY_FAILED)
            wanted = cells.request(asked.pdu)
            if isinstance(wanted, Written):
                await self._write(wanted, peer)
                return cells.answer_to_write(asked.pdu)
            return cells.answer_to_read(function, self._image.read(*wanted))
        except DeviceException as refusal:
            if function not in cells.TABLE_OF_READ:
                self._view.figures.refused += 1
            return cells.refusal(function, refusal.code)

    async def _write(self, written: Written, peer: str) -> None:
        """Every value becomes a command.

        Raises:
            DeviceException: refused; commands for values before the refused one stand.
        """
        settings = self._settings
        if settings["writes"] != "operator" or (settings["writers"] and peer not in settings["writers"]):
            raise DeviceException(cells.ILLEGAL_FUNCTION)
        meant = [(self._points.get(row.point), value) for row, value in self._image.meant(written)]
        for point, value in meant:
            if point is None or not point.writable:
                raise DeviceException(cells.ILLEGAL_ADDRESS)
            if not point.low <= value <= point.high:
                raise DeviceException(cells.ILLEGAL_VALUE)
        guest = Guest(f"modbus:{peer}", Role.OPERATOR)
        for point, value in meant:
            assert point is not None
            await self._command(point, value, guest)

    async def _command(self, point: Point, value: float, guest: Guest) -> None:
        wait_s = self._settings["wait_s"]
        try:
            state = await self._view.command(Asked(point.name, value), guest)
            if wait_s:
                state = await self._view.follow(state.id, guest, wait_s)
        except errors.TwinloopError as error:
            log.info("%s for %s is refused: %s", guest.author, point.name, error)
            raise DeviceException(next(c for kind, c in _EXCEPTION_OF if isinstance(error, kind))) from None
        if wait_s and state.status != "CONFIRMED":
            raise DeviceException(cells.FAILURE if state.final else cells.ACKNOWLEDGE)
