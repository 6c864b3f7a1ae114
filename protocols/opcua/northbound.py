"""The twin as an OPC UA server: values, history, writes and methods for SCADA and PLC clients; must not know devices.

A client's write never touches a value: it becomes a command, and the value changes when the plant reports it.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import replace
from datetime import datetime
from ipaddress import ip_address
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import numpy as np
from asyncua import ua

from protocols.believe import enum_of
from protocols.link import Clock
from protocols.opcua import codec, raw_history
from protocols.opcua import served_model as model
from protocols.opcua.faults import EXPECTED, status_of
from protocols.opcua.guests import OPERATIONS_MAX, Door, GuestServer
from protocols.opcua.raw_history import Missing, Raw
from protocols.opcua.security import serve_securely
from protocols.opcua.served_nodes import WRITE, Nodes, data_value
from protocols.pki import Pki
from protocols.served import Asked, CommandState, Guest, Shown, States, TwinView
from twin.errors import LimitExceeded
from twin.past import Past, Span
from twin.plant import Plant, Serving
from twin.points import Point
from twin.role import Act, may

POINTS_MAX = 50_000  # with its properties a point takes some 20 KB in asyncua's address space
BATCH = 20  # values written before clients and the server's other threads have a turn: about 1 ms
CLIENTS_EVERY_S = 1.0
DEADLINE_DEFAULT_S = 30.0
_CODES = ua.StatusCodes
log = logging.getLogger("twinloop.northbound")


class OpcUaFace:
    """See protocols.served.Face; also the Services of its sessions."""

    def __init__(self, serving: Serving, view: TwinView, clock: Clock, pki: Path | None) -> None:
        self.endpoint = serving.endpoint
        self._settings, self._view, self._clock, self._pki = serving.settings, view, clock, pki
        self._shown = Shown(serving.settings["points"])
        self._points: dict[int, Point] = {}
        self._plant: Plant = view.plant
        self._server = GuestServer(self, Door(view, serving.settings["anonymous"]), serving.settings["clients"])
        self._nodes: Nodes | None = None

    async def start(self) -> None:
        server, parts = self._server, urlsplit(self.endpoint)
        await server.init()
        server.set_endpoint(self.endpoint)
        server.socket_address = (parts.hostname, parts.port)
        server.set_server_name(f"Twinloop {self._plant.name}")
        await server.set_application_uri(f"urn:twinloop:server:{self._plant.id}")
        await serve_securely(server, self._modes(parts.hostname), self._settings["policies"], self._pki, self._clock)
        anonymous = [] if self._settings["anonymous"] == "none" else [ua.AnonymousIdentityToken]
        server.set_identity_tokens([*anonymous, ua.UserNameIdentityToken])
        await _say_limits(server)
        namespace = await server.register_namespace(f"urn:twinloop:{self._plant.id}")
        self._nodes = Nodes(server.iserver.aspace, namespace)
        await self._show(self._plant)
        await server.start()
        self.endpoint = parts._replace(netloc=f"{parts.hostname}:{server.bserver.port}").geturl()
        self._view.figures.state = f"listening at {self.endpoint}"

    async def run(self) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(self._count())
            async for states in self._view.states():
                if states.plant is not self._plant:
                    await self._show(states.plant)
                await self._take(states)

    async def stop(self) -> None:
        await self._server.stop()

    def _modes(self, host: str | None) -> tuple[str, ...]:
        """What the plant file asks for; else encrypted, and open too where only this machine can connect."""
        asked: tuple[str, ...] = self._settings["security"]
        if asked:
            return asked
        local = host == "localhost" or _is_loopback(host)
        certified = self._pki is not None and Pki(self._pki).own_certificate_path.exists()
        return tuple(m for m, offered in (("SignAndEncrypt", certified or not local), ("None", local)) if offered)

    async def _count(self) -> None:
        while True:
            self._view.figures.clients = len(self._server.iserver.guests)
            await asyncio.sleep(CLIENTS_EVERY_S)

    # --- what is shown -------------------------------------------------------------------------------------------

    async def _show(self, plant: Plant) -> None:
        assert self._nodes is not None
        mask = self._shown.of(plant.points)
        count = int(mask.sum())
        if count > POINTS_MAX:
            fix = 'choose some by points = ["…"] of the [[serve]]'
            raise LimitExceeded(f"{count} points; OPC UA serves at most {POINTS_MAX}", fix)
        points = plant.points.some(np.flatnonzero(mask).astype(np.int32))
        await self._nodes.show(plant, points)
        self._points = {p.id: p for p in points}
        self._plant = plant

    async def _take(self, states: States) -> None:
        assert self._nodes is not None
        now = codec.moment(self._clock())
        rows = zip(
            states.point.tolist(), states.value.tolist(), states.quality.tolist(), states.source_time.tolist(),
            strict=True,
        )  # fmt: skip
        for n, (point, value, quality, time) in enumerate(rows, 1):
            if point in self._points:
                kind = self._nodes.variant_type(point)
                said = data_value(kind, value, quality, states.text.get(point), codec.moment(time), now)
                await self._nodes.write(point, said)
            if n % BATCH == 0:
                await asyncio.sleep(0)

    def seen(self, item: Any, value: Any, guest: Guest) -> Any:
        nodes = self._nodes
        if nodes is None or item.NodeId not in nodes.points:
            return value
        if item.AttributeId == ua.AttributeIds.Value and value.ServerTimestamp is not None:
            # The twin is told of every change, so what it holds is as of now (Part 4, 7.7.4).
            now = codec.moment(self._clock())
            return ua.DataValue(value.Value, value.StatusCode, value.SourceTimestamp, now)
        if item.AttributeId == ua.AttributeIds.UserAccessLevel and not may(guest.role, Act.COMMAND):
            return ua.DataValue(ua.Variant(value.Value.Value & ~WRITE, ua.VariantType.Byte))
        return value

    # --- writes and methods --------------------------------------------------------------------------------------

    async def write(self, item: Any, guest: Guest) -> int:
        status = await self._write(item, guest)
        if status != _CODES.GoodCompletesAsynchronously:
            self._view.figures.refused += 1
        return status

    async def _write(self, item: Any, guest: Guest) -> int:
        point = self._point(item.NodeId)
        if point is None:
            known = item.NodeId in self._server.iserver.aspace
            return int(_CODES.BadNotWritable if known else _CODES.BadNodeIdUnknown)
        if item.AttributeId != ua.AttributeIds.Value or not point.writable:
            return int(_CODES.BadNotWritable)
        if not may(guest.role, Act.COMMAND):
            return int(_CODES.BadUserAccessDenied)
        if item.IndexRange or (item.Value.StatusCode is not None and item.Value.StatusCode.value):
            return int(_CODES.BadWriteNotSupported)
        value = self._value(point, item.Value.Value)
        if isinstance(value, int):
            return value
        try:
            await self._view.command(Asked(point.name, value[0]), guest)
        except EXPECTED as error:
            return status_of(error)
        return int(_CODES.GoodCompletesAsynchronously)

    def _value(self, point: Point, variant: Any) -> tuple[float] | int:
        """(number in the twin's unit,), or the status code of a refusal."""
        assert self._nodes is not None
        wanted = self._nodes.variant_type(point.id)
        if variant is None or variant.VariantType is not wanted or variant.is_array or wanted is ua.VariantType.String:
            return int(_CODES.BadTypeMismatch)
        value = float(variant.Value)
        listed = point.type != "enum" or enum_of(point).index_of(value) is not None
        if not (point.low <= value <= point.high and listed):
            return int(_CODES.BadOutOfRange)
        return (value,)

    def _point(self, node: Any) -> Point | None:
        point = None if self._nodes is None else self._nodes.points.get(node)
        return None if point is None else self._points.get(point)

    async def call(self, request: Any, guest: Guest) -> Any:
        result = ua.CallMethodResult()
        try:
            method, given = self._method(request)
            if method == model.FOLLOW:
                state = await self._view.follow(given[0], guest, given[1])
            else:
                state = await self._command(request.ObjectId, given, guest)
        except ua.uaerrors.UaStatusCodeError as refusal:
            result.StatusCode = ua.StatusCode(refusal.code)
        except EXPECTED as error:
            log.info("%s is refused: %s", guest.author, error)
            result.StatusCode = ua.StatusCode(status_of(error))
        else:
            result.StatusCode = ua.StatusCode()
            result.OutputArguments = _outputs(state)
            result.InputArgumentResults = [ua.StatusCode() for _ in request.InputArguments]
            return result
        self._view.figures.refused += 1
        return result

    def _method(self, request: Any) -> tuple[str, list[Any]]:
        """The method's name and its arguments as Python values; of another type than declared they are refused."""
        assert self._nodes is not None
        ours = request.MethodId.NamespaceIndex == self._nodes.id(model.PLANT).NamespaceIndex
        identity = request.MethodId.Identifier
        if ours and identity == model.FOLLOW:
            declared: tuple[model.Argument, ...] = model.IN_FOLLOW
        elif ours and str(identity).rpartition("/")[2] == model.COMMAND and request.ObjectId in self._nodes.twins:
            declared, identity = model.IN_COMMAND, model.COMMAND
        else:
            raise ua.uaerrors.BadMethodInvalid
        given = request.InputArguments or []
        if len(given) != len(declared):
            few = len(given) < len(declared)
            raise ua.uaerrors.BadArgumentsMissing if few else ua.uaerrors.BadTooManyArguments
        for argument, variant in zip(declared, given, strict=True):
            if argument.type != model.VARIANT and variant.VariantType.value != argument.type:
                raise ua.uaerrors.BadTypeMismatch
        plain = [v if a.type == model.VARIANT else v.Value for a, v in zip(declared, given, strict=True)]
        return identity, plain

    async def _command(self, node: Any, given: list[Any], guest: Guest) -> CommandState:
        assert self._nodes is not None
        name, variant, reason, priority, deadline_s, wait_s = given
        point = self._point(self._nodes.id(f"{self._nodes.twins[node]}.{name}"))
        if point is None:
            raise ua.uaerrors.BadNotFound
        if not point.writable:
            raise ua.uaerrors.BadNotWritable
        if not may(guest.role, Act.COMMAND):
            raise ua.uaerrors.BadUserAccessDenied
        value = self._value(point, variant)
        if isinstance(value, int):
            raise ua.uaerrors.UaStatusCodeError(value)
        asked = Asked(point.name, value[0], reason or "", priority or "operator", deadline_s or DEADLINE_DEFAULT_S)
        state = await self._view.command(asked, guest)
        return await self._view.follow(state.id, guest, wait_s) if wait_s else state

    # --- history -------------------------------------------------------------------------------------------------

    async def history(self, details: Any, item: Any) -> Any:
        result = ua.HistoryReadResult()
        point = self._point(item.NodeId)
        if point is None:
            result.StatusCode = ua.StatusCode(_CODES.BadNodeIdUnknown)
            return result
        if not isinstance(details, ua.ReadRawModifiedDetails) or details.IsReadModified:
            result.StatusCode = ua.StatusCode(_CODES.BadHistoryOperationUnsupported)
            return result

        async def read(span: Span) -> list[Past]:
            return await self._view.history(point.name, span)

        asked = Raw(_given(details.StartTime), _given(details.EndTime), details.NumValuesPerNode, details.ReturnBounds)
        try:
            page = await raw_history.answer(asked, item.ContinuationPoint or b"", read)
        except EXPECTED as error:
            result.StatusCode = ua.StatusCode(status_of(error))
            return result
        result.HistoryData = ua.HistoryData()
        result.HistoryData.DataValues = [self._past(point, past) for past in page.values]
        result.ContinuationPoint = page.continuation or None
        result.StatusCode = ua.StatusCode(_CODES.Good if page.values else _CODES.GoodNoData)
        return result

    def _past(self, point: Point, past: Past | Missing) -> Any:
        at = codec.moment(past.time)
        if isinstance(past, Missing):
            return ua.DataValue(StatusCode=ua.StatusCode(_CODES.BadBoundNotFound), SourceTimestamp=at)
        assert self._nodes is not None
        kind = self._nodes.variant_type(point.id)
        return replace(data_value(kind, past.value, past.quality, past.text, at, at), ServerTimestamp=None)


async def _say_limits(server: GuestServer) -> None:
    """What a request may hold, for clients that ask first."""
    capabilities = "Server_ServerCapabilities_OperationLimits_MaxNodesPer"
    for name in ("Write", "MethodCall", "HistoryReadData"):
        node = server.get_node(ua.NodeId(getattr(ua.ObjectIds, capabilities + name)))
        await node.write_value(ua.Variant(OPERATIONS_MAX, ua.VariantType.UInt32))
    history = ua.NodeId(ua.ObjectIds.HistoryServerCapabilities_AccessHistoryDataCapability)
    if history in server.iserver.aspace:
        await server.get_node(history).write_value(True)


def _given(time: datetime | None) -> int | None:
    """ns since 1970 UTC; the start of OPC UA's count of time stands for no time at all (Part 11, 6.5.3)."""
    if time is None or time.replace(tzinfo=None) <= ua.get_win_epoch().replace(tzinfo=None):
        return None
    return codec.nanoseconds(time)


def _is_loopback(host: str | None) -> bool:
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return False


def _outputs(state: CommandState) -> list[Any]:
    kinds = ua.VariantType
    return [
        ua.Variant(state.id, kinds.String), ua.Variant(state.status, kinds.String),
        ua.Variant(state.final, kinds.Boolean), ua.Variant(state.detail, kinds.String),
    ]  # fmt: skip
