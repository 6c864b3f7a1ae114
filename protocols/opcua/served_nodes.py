"""Puts the nodes of served_model.py into an asyncua server and keeps their values; must not know where values come from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from asyncua import ua
from asyncua.server.address_space import AddressSpace, AttributeValue, NodeData

from protocols.opcua import codec, unece
from protocols.opcua import served_model as model
from protocols.opcua.served_model import Kind, Node, Reference, Space
from twin import quality
from twin.plant import Plant
from twin.points import Point

_READ = ua.AccessLevel.CurrentRead.mask
POINT_ACCESS = _READ | ua.AccessLevel.HistoryRead.mask
WRITE = ua.AccessLevel.CurrentWrite.mask
_A = ua.AttributeIds
_V = ua.VariantType


class Nodes:
    """Our namespace in a server's address space."""

    def __init__(self, aspace: AddressSpace, namespace: int) -> None:
        self._aspace, self._namespace = aspace, namespace
        self._space = Space()
        self._ids: dict[int, Any] = {}  # NodeId of every point
        self._types: dict[int, Any] = {}  # Variant type of every point
        self.points: dict[Any, int] = {}  # point id by NodeId
        self.twins: dict[Any, str] = {}  # twin by NodeId of its object

    def id(self, identity: model.Id) -> Any:
        return ua.NodeId(identity, 0 if isinstance(identity, int) else self._namespace)

    async def show(self, plant: Plant, points: Iterable[Point]) -> None:
        """Make the nodes those of this plant; what is the same stays, with its subscriptions."""
        shown = model.space_of(plant, points)
        gone, added, lost, more = model.changes(self._space, shown)
        for reference in lost:
            self._unlink(reference)
        for identity in gone:
            await self._remove(identity)
        for node in added:
            self._add(node)
        for reference in more:
            self._link(self.id(reference.source), self.id(reference.by), self.id(reference.target))
        self._space = shown
        self._ids = {n.point: self.id(n.id) for n in shown.nodes.values() if n.point >= 0}
        self._types = {n.point: _variant_type(n) for n in shown.nodes.values() if n.point >= 0}
        self.points = {node: point for point, node in self._ids.items()}
        self.twins = {self.id(n.id): n.id for n in shown.nodes.values() if n.parent == model.PLANT}

    def variant_type(self, point: int) -> Any:
        return self._types[point]

    async def write(self, point: int, value: Any) -> None:
        """A DataValue that the twin has for the point; points without a node are passed over."""
        node = self._ids.get(point)
        if node is not None:
            await self._aspace.write_attribute_value(node, _A.Value, value)

    # --- nodes ---------------------------------------------------------------------------------------------------

    def _add(self, node: Node) -> None:
        data = NodeData(self.id(node.id))
        name = ua.QualifiedName(node.name, 0 if node.standard else self._namespace)
        attributes: dict[Any, Any] = {
            _A.NodeId: ua.Variant(data.nodeid, _V.NodeId),
            _A.NodeClass: ua.Variant(ua.NodeClass(node.kind.value), _V.Int32),
            _A.BrowseName: ua.Variant(name, _V.QualifiedName),
            _A.DisplayName: ua.Variant(ua.LocalizedText(node.display or node.name), _V.LocalizedText),
            _A.Description: ua.Variant(ua.LocalizedText(node.text), _V.LocalizedText),
            _A.WriteMask: ua.Variant(0, _V.UInt32),
            _A.UserWriteMask: ua.Variant(0, _V.UInt32),
            **self._of_kind(node),
        }
        data.attributes = {key: AttributeValue(ua.DataValue(value)) for key, value in attributes.items()}
        if node.kind is Kind.VARIABLE:
            data.attributes[_A.Value] = AttributeValue(self._first_value(node))
        self._aspace[data.nodeid] = data
        parent = self.id(node.parent)
        self._link(parent, self.id(node.by), data.nodeid)
        if node.type:
            self._refer(data.nodeid, ua.NodeId(ua.ObjectIds.HasTypeDefinition), self.id(node.type), True)
        if node.rule:
            self._refer(data.nodeid, self.id(model.HAS_MODELLING_RULE), self.id(node.rule), True)

    def _of_kind(self, node: Node) -> dict[Any, Any]:
        no, yes = ua.Variant(False, _V.Boolean), ua.Variant(True, _V.Boolean)
        if node.kind is Kind.OBJECT:
            return {_A.EventNotifier: ua.Variant(0, _V.Byte)}
        if node.kind is Kind.METHOD:
            return {_A.Executable: yes, _A.UserExecutable: yes}
        if node.kind is Kind.REFERENCE_TYPE:
            inverse = ua.LocalizedText(f"inverse of {node.name}")
            return {_A.IsAbstract: no, _A.Symmetric: no, _A.InverseName: ua.Variant(inverse, _V.LocalizedText)}
        if node.kind is not Kind.VARIABLE:
            return {_A.IsAbstract: no}
        access = (POINT_ACCESS if node.point >= 0 else _READ) | (WRITE if node.writable and node.point >= 0 else 0)
        several = node.constant is not None and isinstance(node.constant, tuple | model.Names)
        return {
            _A.DataType: ua.Variant(self.id(node.data), _V.NodeId),
            _A.ValueRank: ua.Variant(1 if several else -1, _V.Int32),
            _A.AccessLevel: ua.Variant(access, _V.Byte),
            _A.UserAccessLevel: ua.Variant(access, _V.Byte),
            _A.MinimumSamplingInterval: ua.Variant(0.0, _V.Double),
            _A.Historizing: ua.Variant(node.point >= 0, _V.Boolean),
        }

    def _first_value(self, node: Node) -> Any:
        if node.constant is not None:
            return ua.DataValue(_constant(node.constant))
        # Typed from the start: the server checks what comes later against it.
        waiting = quality.BAD_WAITING_FOR_INITIAL_DATA if node.point >= 0 else quality.GOOD
        return ua.DataValue(ua.Variant(None, _V.Null), ua.StatusCode(waiting))

    async def _remove(self, identity: str) -> None:
        node_id = self.id(identity)
        data = self._aspace[node_id]
        if identity in self._space.nodes and self._space.nodes[identity].point >= 0:
            # Who monitors it hears that it is gone.
            status = ua.StatusCode(ua.StatusCodes.BadNodeIdUnknown)
            await self._aspace.write_attribute_value(node_id, _A.Value, ua.DataValue(StatusCode=status))
        for reference in data.references:
            other = self._aspace.get(reference.NodeId)
            if other is not None:
                other.references = [r for r in other.references if r.NodeId != node_id]
        values = data.attributes.get(_A.Value)
        for handle in list(values.datachange_callbacks) if values is not None else ():
            self._aspace.delete_datachange_callback(handle)
        del self._aspace[node_id]

    # --- references ----------------------------------------------------------------------------------------------

    def _link(self, source: Any, by: Any, target: Any) -> None:
        self._refer(source, by, target, True)
        self._refer(target, by, source, False)

    def _refer(self, source: Any, by: Any, target: Any, forward: bool) -> None:
        described = self._aspace[target]
        reference = ua.ReferenceDescription(
            ReferenceTypeId=by,
            IsForward=forward,
            NodeId=target,
            BrowseName=_said(described, _A.BrowseName),
            DisplayName=_said(described, _A.DisplayName),
            NodeClass=_said(described, _A.NodeClass),
        )
        definition = ua.NodeId(ua.ObjectIds.HasTypeDefinition)
        found = next((r.NodeId for r in described.references if r.ReferenceTypeId == definition), None)
        if found is not None:
            reference.TypeDefinition = found
        self._aspace[source].references.append(reference)

    def _unlink(self, reference: Reference) -> None:
        source, by, target = self.id(reference.source), self.id(reference.by), self.id(reference.target)
        for here, there, forward in ((source, target, True), (target, source, False)):
            data = self._aspace[here]
            data.references = [
                r for r in data.references
                if not (r.NodeId == there and r.ReferenceTypeId == by and r.IsForward is forward)
            ]  # fmt: skip


def data_value(kind: Any, value: float, status: int, text: str | None, source: datetime, server: datetime) -> Any:
    """A reading as the DataValue of a variable whose Variant type is `kind`.

    A value that the type cannot carry goes out as BadOutOfRange without it.
    """
    variant, code = variant_of(kind, value, status, text)
    return ua.DataValue(variant, ua.StatusCode(code), SourceTimestamp=source, ServerTimestamp=server)


def variant_of(kind: Any, value: float, status: int, text: str | None) -> tuple[Any, int]:
    """(Variant, status code). Bad readings carry no value (Part 4, 7.7.1)."""
    nothing = ua.Variant(None, _V.Null)
    if status >> 31:
        return nothing, status
    if kind is _V.String:
        return (nothing, quality.BAD) if text is None else (ua.Variant(text, kind), status)
    if math.isnan(value):
        return nothing, quality.BAD
    if kind is _V.Double:
        return ua.Variant(value, kind), status
    try:
        return ua.Variant(codec.variant_value(kind.name, value), kind), status
    except ValueError:
        return nothing, quality.BAD_OUT_OF_RANGE


def _said(data: NodeData, attribute: Any) -> Any:
    value = data.attributes[attribute].value
    assert value is not None and value.Value is not None
    return value.Value.Value


def _variant_type(node: Node) -> Any:
    return _V.Int32 if isinstance(node.data, str) else _V(node.data)


def _constant(constant: model.Constant) -> Any:
    match constant:
        case model.Span():
            return ua.Variant(ua.Range(Low=constant.low, High=constant.high), _V.ExtensionObject)
        case model.Unit():
            unit = ua.EUInformation()
            unit.NamespaceUri = unece.UNECE_URI
            unit.UnitId = unece.unit_id(constant.symbol)
            unit.DisplayName = ua.LocalizedText(constant.symbol)
            unit.Description = ua.LocalizedText(constant.symbol)
            return ua.Variant(unit, _V.ExtensionObject)
        case model.Names() if constant.counted:
            return ua.Variant([ua.LocalizedText(text) for _, _, text in constant.values], _V.LocalizedText)
        case model.Names():
            listed = [
                ua.EnumValueType(Value=code, DisplayName=ua.LocalizedText(text), Description=ua.LocalizedText(name))
                for code, name, text in constant.values
            ]
            return ua.Variant(listed, _V.ExtensionObject)
        case _:
            return ua.Variant([_argument(a) for a in constant], _V.ExtensionObject)


def _argument(argument: model.Argument) -> Any:
    made = ua.Argument()
    made.Name, made.Description = argument.name, ua.LocalizedText(argument.text)
    made.DataType, made.ValueRank = ua.NodeId(argument.type), -1
    return made
