"""A simulated OPC UA device: a real server with one node a point; must not know how the values come about."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from asyncua import Server, ua
from asyncua.crypto.permission_rules import User, UserRole
from asyncua.server.address_space import AttributeService

from protocols.believe import Unbelievable, twin_value, wire_value
from protocols.link import Clock
from protocols.opcua import codec
from protocols.opcua.security import serve_securely
from protocols.opcua.standard import LightServer
from protocols.served import OnWrite
from twin.plant import Device
from twin.points import Point
from twin.quality import BAD_OUT_OF_RANGE, BAD_WAITING_FOR_INITIAL_DATA, GOOD

NAMESPACES_MAX = 64  # namespaces that the points' addresses may use on one simulated device


class OpcUaDevice:
    """See protocols.served.ServedDevice. A structured value is served as the text of its canonical JSON."""

    def __init__(
        self, device: Device, points: Sequence[Point], on_write: OnWrite, clock: Clock, pki: Path | None = None
    ) -> None:
        self.endpoint = device.endpoint
        self._settings = device.settings
        self._pki = pki
        self._points = {point.id: point for point in points}
        self._nodes = {point.id: ua.NodeId.from_string(point.address) for point in points}
        self._types = {point.id: ua.VariantType[codec.node_type(point)] for point in points}
        self._on_write = on_write
        self._clock = clock
        self._server: Server | None = None

    async def start(self) -> None:
        name, password = codec.credentials(self.endpoint)
        server = Server(iserver=LightServer(user_manager=_Users(name, password)))
        await server.init()
        parts = urlsplit(self.endpoint)
        server.set_endpoint(parts._replace(netloc=parts.netloc.rpartition("@")[2]).geturl())
        server.socket_address = (parts.hostname, parts.port)
        server.set_server_name("Twinloop simulated device")
        policies = (codec.policy_name(self._settings),)
        await serve_securely(server, (self._settings["security"],), policies, self._pki, self._clock)
        if name is not None:
            server.set_identity_tokens([ua.UserNameIdentityToken])
        elif self._settings["user_certificate"] is not None:
            server.set_identity_tokens([ua.X509IdentityToken])
        await self._add_nodes(server)
        server.iserver.attribute_service = _Gate(
            server.iserver.attribute_service, {self._nodes[i]: p for i, p in self._points.items()}, self._on_write
        )
        await server.start()
        self._server = server
        users, at, _ = parts.netloc.rpartition("@")
        self.endpoint = parts._replace(netloc=f"{users}{at}{parts.hostname}:{server.bserver.port}").geturl()

    async def stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            await server.stop()
            # asyncua leaves the sessions of clients that are gone to their time-outs, with two tasks each.
            for session in tuple(server.iserver._external_sessions.values()):
                await session.close_session(True)

    async def publish(self, values: Mapping[int, float | str], source_time: int, quality: Mapping[int, int]) -> None:
        if self._server is None:
            return
        taken_at, now = codec.moment(source_time), codec.moment(self._clock())
        space = self._server.iserver.aspace
        for point_id, value in values.items():
            variant, status = self._said(self._points[point_id], value, quality.get(point_id, GOOD))
            await space.write_attribute_value(
                self._nodes[point_id],
                ua.AttributeIds.Value,
                ua.DataValue(variant, ua.StatusCode(status), SourceTimestamp=taken_at, ServerTimestamp=now),
            )

    def _said(self, point: Point, value: float | str, status: int) -> tuple[Any, int]:
        """The node's Variant and status code. A Double carries NaN, and a link must not believe it; others cannot."""
        kind = self._types[point.id]
        if isinstance(value, str):
            return ua.Variant(value, kind), status
        wire = wire_value(point, value)
        if kind is ua.VariantType.Double:
            return ua.Variant(wire, kind), status
        try:
            return ua.Variant(codec.variant_value(kind.name, round(wire)), kind), status
        except (ValueError, OverflowError):
            return ua.Variant(None, ua.VariantType.Null), BAD_OUT_OF_RANGE

    async def _add_nodes(self, server: Server) -> None:
        highest = max((int(node.NamespaceIndex) for node in self._nodes.values()), default=0)
        for index in range(2, min(highest, NAMESPACES_MAX) + 1):
            await server.register_namespace(f"urn:twinloop:simulated:{index}")
        folder = server.nodes.objects
        waiting = ua.StatusCode(BAD_WAITING_FOR_INITIAL_DATA)
        for point_id, point in self._points.items():
            node_id, kind = self._nodes[point_id], self._types[point_id]
            empty: Any = "" if kind is ua.VariantType.String else codec.variant_value(kind.name, 0.0)
            name = ua.QualifiedName(point.name, node_id.NamespaceIndex)
            node = await folder.add_variable(node_id, name, ua.Variant(empty, kind), datatype=ua.NodeId(kind.value))
            if point.writable:
                await node.set_writable()
            if kind is not ua.VariantType.String:
                await node.write_value(ua.DataValue(ua.Variant(empty, kind), waiting))


class _Users:
    """Whom the device knows: the one user that its endpoint names, else everybody. Nobody is its administrator."""

    def __init__(self, name: str | None, password: str | None) -> None:
        self._known = None if name is None else _said_by(name, password)

    def get_user(
        self, iserver: Any, username: str | None = None, password: str | None = None, certificate: Any = None
    ) -> Any:
        if self._known is None or hmac.compare_digest(self._known, _said_by(username, password)):
            return User(role=UserRole.User)
        return None


def _said_by(name: str | None, password: str | None) -> bytes:
    return f"{name or ''}\0{password or ''}".encode()


class _Gate:
    """Stands before the server's attribute service and asks `on_write` about every value that a client writes."""

    def __init__(self, service: AttributeService, point_of_node: Mapping[Any, Point], on_write: OnWrite) -> None:
        self._service = service
        self._point_of_node = point_of_node
        self._on_write = on_write

    def read(self, params: Any) -> Any:
        return self._service.read(params)

    async def write(self, params: Any, user: Any = None) -> list[Any]:
        return [await self._write_one(item, user) for item in params.NodesToWrite]

    async def _write_one(self, item: Any, user: Any) -> Any:
        point = self._point_of_node.get(item.NodeId)
        external = user is not None and user.role != UserRole.Admin
        if external and point is not None and point.writable and item.AttributeId == ua.AttributeIds.Value:
            refusal = self._verdict(point, item.Value)
            if refusal is not None:
                return ua.StatusCode(refusal)
        one = ua.WriteParameters()
        one.NodesToWrite = [item]
        (status,) = await (self._service.write(one) if user is None else self._service.write(one, user=user))
        return status

    def _verdict(self, point: Point, data_value: Any) -> int | None:
        """The status code of a refusal, or None when the device takes the value."""
        variant = data_value.Value
        if variant is None or variant.VariantType is not ua.VariantType[codec.node_type(point)]:
            return int(ua.StatusCodes.BadTypeMismatch)
        try:
            value, text = twin_value(point, variant.Value)
        except Unbelievable as doubt:
            too_far = doubt.reason in ("range", "nan")
            return int(ua.StatusCodes.BadOutOfRange if too_far else ua.StatusCodes.BadTypeMismatch)
        if (text is not None and point.type != "enum") or not self._on_write(point, value):
            return int(ua.StatusCodes.BadUserAccessDenied)
        return None
