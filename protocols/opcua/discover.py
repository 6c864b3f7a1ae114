"""Asks an OPC UA server for everything below a node, in batches and several requests at once; must not decide what it means.

What the answers mean is decided in protocols/opcua/nodes.py.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any

from asyncua import Client, ua

from protocols.discovery import Found, Path, Told, path_text, text_path, without_password
from protocols.healing import Broken
from protocols.link import Clock
from protocols.opcua import codec, nodes
from protocols.opcua.asking import HAS_SUBTYPE, Asking
from protocols.opcua.channel import close, open_channel
from protocols.opcua.datatypes import plain_detail, read_data_types, read_types
from protocols.opcua.failures import FAILURES, words
from protocols.opcua.nodes import Browsed, Node
from twin.errors import NotFound, Unavailable
from twin.plant import Device

OPENING = 2  # time-outs that connecting, security and signing in may take together
REFERENCE_TYPES_MAX = 10_000  # subtypes of those that are followed
LEVELS_MAX = 64  # of type hierarchies, and of the way up from a node to the root

ROOT = "i=84"
_HIERARCHY = {"i=35": False, "i=47": False, "i=46": True}  # Organizes, HasComponent, HasProperty: is it a property


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found: `under` a NodeId or a path of browse names, "" for everything; nodes at most."""

    under: str = ""
    limit: int = 100_000


async def discover(device: Device, wanted: Wanted, told: Told, clock: Clock, pki: FilePath | None = None) -> Found:
    """
    Raises:
        Unavailable: the server does not answer, or not in time.
        DeviceFault: it answers with an error.
        NotFound: there is no such node.
    """
    async with _session(device, pki, clock) as client:
        walk = _Walk(client, wanted, float(device.settings["timeout_s"]), told)
        browsed = await walk.run()
    return nodes.found(browsed)


@asynccontextmanager
async def _session(device: Device, pki: FilePath | None, clock: Clock) -> AsyncIterator[Client]:
    timeout_s = float(device.settings["timeout_s"])
    try:
        channel, _ = await open_channel(device, pki, clock, OPENING * timeout_s, timeout_s, None)
    except (Broken, *FAILURES) as failure:
        raise Unavailable(f"{without_password(device.endpoint)}: {words(failure)}") from failure
    try:
        yield channel.client
    finally:
        await close(channel.client, farewell=True)


class _Walk:
    """One search through one session."""

    def __init__(self, client: Client, wanted: Wanted, timeout_s: float, told: Told) -> None:
        self._asking = Asking(client, timeout_s)
        self._wanted = wanted
        self._told = told
        self._references: dict[str, bool] = dict(_HIERARCHY)
        self._nodes: dict[str, Node] = {}
        self._complete = True
        self._unbrowsed = 0

    async def run(self) -> Browsed:
        await self._asking.learn_limits()
        await self._read_reference_types()
        root, path = await self._root()
        await self._browse_all(root)
        found = self._nodes
        await self._read_attributes(list(found.values()))
        await self._read_details(list(found.values()))
        types = await read_types(self._asking, {n.type_definition for n in found.values() if not n.is_variable})
        data_types = await read_data_types(self._asking, {n.data_type for n in found.values() if n.data_type})
        return Browsed(path, found, types, data_types, path, self._complete, self._remarks())

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if not self._complete:
            remarks.append(f"stopped at {self._wanted.limit} nodes; raise --limit, or look at one part with --under")
        if self._unbrowsed:
            remarks.append(f"{self._unbrowsed} nodes were not browsed: the server refused")
        return tuple(remarks)

    # --- where to begin ----------------------------------------------------------------------------------------------

    async def _root(self) -> tuple[list[str], Path]:
        """The nodes to begin below, and the path of what lies directly below them."""
        under = self._wanted.under.strip()
        if not under:
            return [nodes.OBJECTS], ()
        try:
            codec.check_address(under, "double", False)
        except ValueError:
            return await self._root_by_path(under)
        return await self._root_by_id(under)

    async def _root_by_path(self, under: str) -> tuple[list[str], Path]:
        current, path = nodes.OBJECTS, text_path(under.strip("/"))
        for depth, name in enumerate(path):
            (children,) = await self._asking.children([current])
            match = next((c for c in children or () if c.BrowseName.Name == name), None)
            if match is None:
                known = sorted({str(c.BrowseName.Name) for c in children or ()})
                raise NotFound(
                    f"{path_text(path[:depth]) or 'Objects'} has no {name!r}",
                    f"there are: {', '.join(known[:20])}" if known else "nothing lies there",
                )
            current = match.NodeId.to_string()
        return [current], path

    async def _root_by_id(self, under: str) -> tuple[list[str], Path]:
        (name,) = await self._asking.read([(under, ua.AttributeIds.BrowseName)])
        if name.Value is None or name.Value.Value is None:
            raise NotFound(f"the server knows no node {under}", "look it up without --under")
        names, current, seen = [str(name.Value.Value.Name)], under, {under}
        for _ in range(LEVELS_MAX):  # upwards, so that paths are those of a search from the top
            (parents,) = await self._asking.children([current], ua.BrowseDirection.Inverse)
            parent: Any = next(iter(parents or ()), None)
            if parent is None or parent.NodeId.to_string() in (nodes.OBJECTS, ROOT, *seen):
                break
            current = parent.NodeId.to_string()
            seen.add(current)
            names.insert(0, str(parent.BrowseName.Name))
        return [under], tuple(names)

    # --- browsing ----------------------------------------------------------------------------------------------------

    async def _browse_all(self, roots: Sequence[str]) -> None:
        """Level by level, each node once however many ways lead to it."""
        seen = set(roots)
        level = list(roots)
        while level and self._complete:
            following: list[str] = []
            for parent, references in zip(level, await self._asking.children(level), strict=True):
                if references is None:
                    self._unbrowsed += 1
                    continue
                for reference in references:
                    node = self._node(parent, reference)
                    if node is None or node.identity in seen:
                        continue
                    if len(self._nodes) >= self._wanted.limit:
                        self._complete = False
                        break
                    seen.add(node.identity)
                    self._nodes[node.identity] = node
                    # A Property has no children (Part 3, 5.6.2), and a detail's would not matter.
                    if not (node.is_property or node.type_definition == nodes.PROPERTY_TYPE):
                        following.append(node.identity)
            level = following
            self._told(len(self._nodes), "nodes browsed")

    def _node(self, parent: str, reference: Any) -> Node | None:
        """None for what is not followed: other kinds of reference, other servers, the server's own nodes."""
        is_property = self._references.get(reference.ReferenceTypeId.to_string())
        expanded = reference.NodeId
        if is_property is None or _is_elsewhere(expanded):
            return None
        if parent == nodes.OBJECTS and expanded.NamespaceIndex == 0:
            return None  # Server, Aliases, Locations: about the server, not about the plant; --under asks for them
        return Node(
            identity=expanded.to_string(),
            parent=parent,
            namespace=int(reference.BrowseName.NamespaceIndex or 0),
            name=str(reference.BrowseName.Name or ""),
            node_class=int(reference.NodeClass),
            type_definition=reference.TypeDefinition.to_string() if reference.TypeDefinition else "",
            display=str(reference.DisplayName.Text or ""),
            is_property=is_property,
        )

    async def _read_reference_types(self) -> None:
        """Subtypes of the references that are followed: companion specifications have their own."""
        level = list(_HIERARCHY)
        for _ in range(LEVELS_MAX):
            following = []
            for parent, references in zip(
                level, await self._asking.children(level, reference=HAS_SUBTYPE), strict=True
            ):
                for reference in references or ():
                    identity = reference.NodeId.to_string()
                    if identity not in self._references and len(self._references) < REFERENCE_TYPES_MAX:
                        self._references[identity] = self._references[parent]
                        following.append(identity)
            level = following
            if not level:
                return

    async def _read_attributes(self, found: Sequence[Node]) -> None:
        ids = ua.AttributeIds
        wanted: list[tuple[str, Any]] = []
        plan: list[tuple[Node, str]] = []
        for node in found:
            if node.is_detail:
                continue
            for attribute, place in _ATTRIBUTES if node.is_variable else _ATTRIBUTES[:1]:
                wanted.append((node.identity, attribute))
                plan.append((node, place))
        for (node, place), answer in zip(plan, await self._read_told(wanted, "attributes read"), strict=True):
            _SETTERS[place](node, answer)
        open_ones = [n for n in found if n.is_variable and not n.is_detail and n.is_open and not n.refused]
        for node, answer in zip(
            open_ones, await self._asking.read([(n.identity, ids.Value) for n in open_ones]), strict=True
        ):
            if answer.Value is not None and answer.Value.VariantType is not ua.VariantType.Null:
                node.seen = int(answer.Value.VariantType.value), bool(answer.Value.is_array)

    async def _read_told(self, wanted: Sequence[tuple[str, Any]], what: str) -> list[Any]:
        """In pieces, so that progress is seen."""
        answers: list[Any] = []
        step = self._asking.reads_at_once
        for start in range(0, len(wanted), step):
            answers += await self._asking.read(wanted[start : start + step])
            self._told(len(self._nodes), f"nodes, {len(answers)} of {len(wanted)} {what}")
        return answers

    async def _read_details(self, found: Sequence[Node]) -> None:
        """What the Properties of variables say of them."""
        details = [n for n in found if n.is_detail and n.name in nodes.DETAILS and n.parent in self._nodes]
        answers = await self._read_told([(n.identity, ua.AttributeIds.Value) for n in details], "details read")
        for node, answer in zip(details, answers, strict=True):
            value = None if answer.Value is None else plain_detail(answer.Value.Value)
            if value is not None:
                self._nodes[node.parent].details[node.name] = value


def _is_elsewhere(expanded: Any) -> bool:
    """Whether an ExpandedNodeId leads to another server, or names its namespace in a way that no address can."""
    return isinstance(expanded, ua.ExpandedNodeId) and bool(expanded.ServerIndex or expanded.NamespaceUri)


def _set_description(node: Node, answer: Any) -> None:
    said = None if answer.Value is None else answer.Value.Value
    node.description = str(getattr(said, "Text", None) or "")


def _set_data_type(node: Node, answer: Any) -> None:
    if answer.Value is None or answer.Value.Value is None:
        node.refused = answer.StatusCode.name if answer.StatusCode is not None else "no data type"
    else:
        node.data_type = answer.Value.Value.to_string()


def _set_rank(node: Node, answer: Any) -> None:
    if answer.Value is not None and isinstance(answer.Value.Value, int):
        node.value_rank = int(answer.Value.Value)


def _set_access(node: Node, answer: Any) -> None:
    if answer.Value is not None and isinstance(answer.Value.Value, int):
        node.access = int(answer.Value.Value)


def _limit_access(node: Node, answer: Any) -> None:
    """What this user may do of what anybody may; a server that does not say restricts nobody."""
    if answer.Value is not None and isinstance(answer.Value.Value, int):
        node.access &= int(answer.Value.Value)


_ATTRIBUTES = (
    (ua.AttributeIds.Description, "description"),
    (ua.AttributeIds.DataType, "data_type"),
    (ua.AttributeIds.ValueRank, "rank"),
    (ua.AttributeIds.AccessLevel, "access"),
    (ua.AttributeIds.UserAccessLevel, "user_access"),
)
_SETTERS: dict[str, Callable[[Node, Any], None]] = {
    "description": _set_description,
    "data_type": _set_data_type,
    "rank": _set_rank,
    "access": _set_access,
    "user_access": _limit_access,
}
