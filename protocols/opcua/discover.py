"""Asks an OPC UA server for everything below a node, in batches and several requests at once; must not decide what it means.

What the answers mean is decided in protocols/opcua/nodes.py.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path as FilePath
from typing import Any, TypeVar

from asyncua import Client, ua

from protocols.discovery import Found, Path, Told, without_password
from protocols.healing import Broken
from protocols.opcua import codec, nodes
from protocols.opcua.failures import FAILURES, words
from protocols.opcua.nodes import Browsed, DataType, Node, TypeNode
from protocols.opcua.patience import within
from protocols.opcua.security import secure, sign_in
from twin.errors import BadRequest, DeviceFault, NotFound, TwinloopError, Unavailable
from twin.plant import Device

ASYNCUA_S = 60.0  # asyncua's own limit; every request here has a shorter one of its own
OPENING = 2  # time-outs that connecting, security and signing in may take together
CLOSE_S = 1.0  # how long a farewell to the server may take
BROWSE_MAX = 200  # nodes of one Browse where the server states no limit: an answer of some 50 kB
READ_MAX = 1000  # attributes of one Read where it states none: what Siemens controllers take at once
OUTSTANDING = 4  # requests on the wire: the server works on one while others travel
REFERENCES_MAX = 1000  # of one node in one answer; more come by BrowseNext
TYPES_MAX = 10_000  # data types and reference types asked about
LEVELS_MAX = 64  # of type hierarchies, and of the way up from a node to the root

_HIERARCHY = {"i=35": False, "i=47": False, "i=46": True}  # Organizes, HasComponent, HasProperty: is it a property
HAS_SUBTYPE = "i=45"
HAS_PROPERTY = "i=46"
HIERARCHICAL = "i=33"
SERVER_LIMITS = {"browse": "i=11710", "read": "i=11705"}  # MaxNodesPerBrowse, MaxNodesPerRead; Part 5, 6.3.11
_MASK = ua.BrowseResultMask
_RESULT = int(_MASK.ReferenceTypeId | _MASK.NodeClass | _MASK.BrowseName | _MASK.DisplayName | _MASK.TypeDefinition)
_TOO_MUCH = frozenset(
    {
        "BadTooManyOperations", "BadResponseTooLarge", "BadRequestTooLarge", "BadEncodingLimitsExceeded",
        "BadTcpMessageTooLarge", "BadOutOfMemory", "BadTooManyArguments",
    }
)  # fmt: skip

Item = TypeVar("Item")
Answer = TypeVar("Answer")


@dataclass(frozen=True, slots=True)
class Wanted:
    """What is to be found: `under` a NodeId or a path of browse names, "" for everything; nodes at most."""

    under: str = ""
    limit: int = 100_000


async def discover(device: Device, wanted: Wanted, told: Told, pki: FilePath | None = None) -> Found:
    """
    Raises:
        Unavailable: the server does not answer, or not in time.
        DeviceFault: it answers with an error.
        NotFound, BadRequest: there is no such node; `under` is no address.
    """
    async with _session(device, pki) as client:
        walk = _Walk(client, wanted, float(device.settings["timeout_s"]), told)
        browsed = await walk.run()
    return nodes.found(browsed)


@asynccontextmanager
async def _session(device: Device, pki: FilePath | None) -> AsyncIterator[Client]:
    client, timeout_s = Client(device.endpoint, timeout=ASYNCUA_S), float(device.settings["timeout_s"])
    try:
        try:
            async with within(OPENING * timeout_s):
                await secure(client, device, pki)
                await client.connect_socket()
                await client.send_hello()
                await client.open_secure_channel()
                await client.create_session()
                await sign_in(client, device, pki)
        except (Broken, *FAILURES) as failure:
            raise Unavailable(f"{without_password(device.endpoint)}: {words(failure)}") from failure
        yield client
    finally:
        await _leave(client)


async def _leave(client: Client) -> None:
    """Say goodbye as far as the server listens; leave nothing behind here."""
    try:
        async with within(CLOSE_S):
            await client.uaclient.close_session(True)
            await client.close_secure_channel()
    except FAILURES:
        pass  # the server is gone, or never let us in
    finally:
        client.disconnect_socket()


class _Walk:
    """One search through one session."""

    def __init__(self, client: Client, wanted: Wanted, timeout_s: float, told: Told) -> None:
        self._session = client.uaclient.session
        self._wanted = wanted
        self._timeout_s = timeout_s
        self._told = told
        self._size = {"browse": BROWSE_MAX, "read": READ_MAX}
        self._turn = asyncio.Semaphore(OUTSTANDING)
        self._references: dict[str, bool] = dict(_HIERARCHY)
        self._nodes: dict[str, Node] = {}
        self._complete = True
        self._unbrowsed = 0

    async def run(self) -> Browsed:
        await self._read_limits()
        await self._read_reference_types()
        root, path = await self._root()
        await self._browse_all(root)
        found = self._nodes
        await self._read_attributes(list(found.values()))
        await self._read_details(list(found.values()))
        types = await self._read_types({n.type_definition for n in found.values() if not n.is_variable})
        data_types = await self._read_data_types({n.data_type for n in found.values() if n.data_type})
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
        current, path = nodes.OBJECTS, Path(())
        for name in filter(None, under.split("/")):
            (children,) = await self._children([current])
            match = next((c for c in children or () if c.BrowseName.Name == name), None)
            if match is None:
                known = sorted({str(c.BrowseName.Name) for c in children or ()})
                raise NotFound(
                    f"{'/'.join(path) or 'Objects'} has no {name!r}",
                    f"there are: {', '.join(known[:20])}" if known else "nothing lies there",
                )
            current, path = match.NodeId.to_string(), (*path, name)
        self._keep_root(current, path)
        return [current], path

    async def _root_by_id(self, under: str) -> tuple[list[str], Path]:
        (name,) = await self._read([(under, ua.AttributeIds.BrowseName)])
        if name.Value is None or name.Value.Value is None:
            raise NotFound(f"the server knows no node {under}", "look it up without --under")
        names, current = [str(name.Value.Value.Name)], under
        for _ in range(LEVELS_MAX):  # upwards, so that paths are those of a search from the top
            (parents,) = await self._children([current], ua.BrowseDirection.Inverse)
            parent = next(iter(parents or ()), None)
            if parent is None or parent.NodeId.to_string() in (nodes.OBJECTS, "i=84"):
                break
            current = parent.NodeId.to_string()
            names.insert(0, str(parent.BrowseName.Name))
        self._keep_root(under, tuple(names))
        return [under], tuple(names)

    def _keep_root(self, identity: str, path: Path) -> None:
        if path == ():
            raise BadRequest("--under names nothing", "give a NodeId or a path such as Plant/Line1")

    # --- browsing ----------------------------------------------------------------------------------------------------

    async def _browse_all(self, roots: Sequence[str]) -> None:
        """Level by level, each node once however many ways lead to it."""
        seen = set(roots)
        level = list(roots)
        while level and self._complete:
            following: list[str] = []
            for parent, references in zip(level, await self._children(level), strict=True):
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

    async def _children(
        self, identities: Sequence[str], direction: Any = ua.BrowseDirection.Forward, reference: str = HIERARCHICAL
    ) -> list[list[Any] | None]:
        """References of each node; None where the server refuses."""
        mask = 0 if reference == HAS_SUBTYPE else nodes.OBJECT_CLASS | nodes.VARIABLE_CLASS

        async def ask(part: Sequence[str]) -> list[list[Any] | None]:
            request = ua.BrowseParameters()
            request.RequestedMaxReferencesPerNode = REFERENCES_MAX
            request.NodesToBrowse = [
                ua.BrowseDescription(
                    ua.NodeId.from_string(i), direction, ua.NodeId.from_string(reference), True, mask, _RESULT
                )
                for i in part
            ]
            return await self._completed(await self._session.browse(request))

        return await self._in_batches("browse", identities, ask)

    async def _completed(self, results: Sequence[Any]) -> list[list[Any] | None]:
        """Browse results with what continuation points still hold. Limited by what the server has."""
        found: list[list[Any] | None] = [list(r.References or ()) if r.StatusCode.is_good() else None for r in results]
        waiting = {i: r.ContinuationPoint for i, r in enumerate(results) if r.ContinuationPoint}
        while waiting:
            request = ua.BrowseNextParameters()
            request.ReleaseContinuationPoints = False
            request.ContinuationPoints = list(waiting.values())
            rows, waiting = list(waiting), {}
            for row, result in zip(rows, await self._session.browse_next(request), strict=False):
                if not result.StatusCode.is_good():
                    self._unbrowsed += 1
                    continue
                kept = found[row]
                if kept is not None:
                    kept += result.References or ()
                    # A server that goes on for ever is stopped like one that has too much.
                    if result.ContinuationPoint and len(kept) <= self._wanted.limit:
                        waiting[row] = result.ContinuationPoint
        return found

    # --- reading -----------------------------------------------------------------------------------------------------

    async def _read(self, wanted: Sequence[tuple[str, Any]]) -> list[Any]:
        """DataValues of (node, attribute) pairs."""

        async def ask(part: Sequence[tuple[str, Any]]) -> list[Any]:
            request = ua.ReadParameters()
            request.TimestampsToReturn = ua.TimestampsToReturn.Neither
            request.NodesToRead = [ua.ReadValueId(ua.NodeId.from_string(i), a) for i, a in part]
            return list(await self._session.read(request))

        return await self._in_batches("read", wanted, ask)

    async def _in_batches(
        self, service: str, items: Sequence[Item], ask: Callable[[Sequence[Item]], Awaitable[list[Answer]]]
    ) -> list[Answer]:
        """Answers in the order of the items; what is too much for the server at once is asked in halves."""
        size = self._size[service]

        async def answer(part: Sequence[Item]) -> list[Answer]:
            answers = await self._answered(service, part, ask)
            # Some servers silently answer fewer items than were asked for (node-opcua#281).
            rest = part[len(answers) :]
            middle = (len(rest) + 1) // 2
            for half in (rest[:middle], rest[middle:]):
                if half:
                    answers += await answer(half)
            return answers[: len(part)]

        parts = [items[i : i + size] for i in range(0, len(items), size)]
        try:
            async with asyncio.TaskGroup() as tasks:
                asked = [tasks.create_task(answer(part)) for part in parts]
        except* TwinloopError as group:
            raise _first(group) from group
        return [one for task in asked for one in task.result()]

    async def _answered(
        self, service: str, part: Sequence[Item], ask: Callable[[Sequence[Item]], Awaitable[list[Answer]]]
    ) -> list[Answer]:
        """One request's answers; [] when it was too much at once.

        Raises:
            DeviceFault, Unavailable: the server refuses even one, or does not answer.
        """
        try:
            async with self._turn, within(self._timeout_s):
                answers = await ask(part)
        except ua.UaStatusCodeError as fault:
            name = ua.StatusCode(fault.code).name
            if len(part) == 1 or name not in _TOO_MUCH:
                raise DeviceFault(f"the server answers {name} to a {service}", "its log may say why") from fault
            self._size[service] = min(self._size[service], (len(part) + 1) // 2)
            return []
        except FAILURES as failure:
            raise Unavailable(f"no answer to a {service}: {words(failure)}", "try a longer --timeout") from failure
        if not answers and len(part) == 1:
            raise DeviceFault(f"the server answers nothing to a {service}", "it breaks OPC UA Part 4")
        return answers

    async def _read_limits(self) -> None:
        answers = await self._read([(node, ua.AttributeIds.Value) for node in SERVER_LIMITS.values()])
        for service, answer in zip(SERVER_LIMITS, answers, strict=True):
            limit = None if answer.Value is None else answer.Value.Value
            if isinstance(limit, int) and limit > 0:
                self._size[service] = min(limit, self._size[service])

    async def _read_reference_types(self) -> None:
        """Subtypes of the references that are followed: companion specifications have their own."""
        level = list(_HIERARCHY)
        for _ in range(LEVELS_MAX):
            following = []
            for parent, references in zip(level, await self._children(level, reference=HAS_SUBTYPE), strict=True):
                for reference in references or ():
                    identity = reference.NodeId.to_string()
                    if identity not in self._references and len(self._references) < TYPES_MAX:
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
        for node, answer in zip(open_ones, await self._read([(n.identity, ids.Value) for n in open_ones]), strict=True):
            if answer.Value is not None and answer.Value.VariantType is not ua.VariantType.Null:
                node.seen = int(answer.Value.VariantType.value), bool(answer.Value.is_array)

    async def _read_told(self, wanted: Sequence[tuple[str, Any]], what: str) -> list[Any]:
        """In pieces, so that progress is seen."""
        answers: list[Any] = []
        step = OUTSTANDING * self._size["read"]
        for start in range(0, len(wanted), step):
            answers += await self._read(wanted[start : start + step])
            self._told(len(self._nodes), f"nodes, {len(answers)} of {len(wanted)} {what}")
        return answers

    async def _read_details(self, found: Sequence[Node]) -> None:
        """What the Properties of variables say of them."""
        details = [n for n in found if n.is_detail and n.name in nodes.DETAILS and n.parent in self._nodes]
        answers = await self._read_told([(n.identity, ua.AttributeIds.Value) for n in details], "details read")
        for node, answer in zip(details, answers, strict=True):
            value = None if answer.Value is None else _plain(answer.Value.Value)
            if value is not None:
                self._nodes[node.parent].details[node.name] = value

    async def _read_types(self, identities: set[str]) -> dict[str, TypeNode]:
        wanted = sorted(i for i in identities if i)[:TYPES_MAX]
        answers = await self._read([(i, ua.AttributeIds.BrowseName) for i in wanted])
        named = zip(wanted, (a.Value.Value if a.Value is not None else None for a in answers), strict=True)
        return {i: TypeNode(str(n.Name), int(n.NamespaceIndex)) for i, n in named if n is not None}

    async def _read_data_types(self, identities: set[str]) -> dict[str, DataType]:
        """Every data type in use, down to its built-in type, with the names of enumerations."""
        parents: dict[str, str] = {}
        level = sorted(i for i in identities if _built_in(i) is None)[:TYPES_MAX]
        for _ in range(LEVELS_MAX):
            if not level:
                break
            answers = await self._children(level, ua.BrowseDirection.Inverse, HAS_SUBTYPE)
            for identity, references in zip(level, answers, strict=True):
                parents[identity] = references[0].NodeId.to_string() if references else ""
            level = sorted({p for p in parents.values() if p and _built_in(p) is None} - parents.keys())
        named = await self._read_types(identities)
        chains = {i: _chain(i, parents) for i in identities}
        enumerations = sorted(i for i, chain in chains.items() if nodes.ENUMERATION in chain and i in parents)
        values = await self._read_enumerations(enumerations)
        return {
            i: DataType(named[i].name if i in named else i, _built_in(chain[-1]) or 0, values.get(i, ()))
            for i, chain in chains.items()
        }

    async def _read_enumerations(self, identities: Sequence[str]) -> dict[str, tuple[tuple[int, str], ...]]:
        found: dict[str, tuple[tuple[int, str], ...]] = {}
        properties: list[tuple[str, str]] = []
        for identity, references in zip(
            identities, await self._children(identities, reference=HAS_PROPERTY), strict=True
        ):
            for reference in references or ():
                if reference.BrowseName.Name in ("EnumStrings", "EnumValues"):
                    properties.append((identity, reference.NodeId.to_string()))
        answers = await self._read([(i, ua.AttributeIds.Value) for _, i in properties])
        for (identity, _), answer in zip(properties, answers, strict=True):
            said = None if answer.Value is None else _plain(answer.Value.Value)
            found[identity] = nodes.named_values(said) or found.get(identity, ())
        rest = [i for i in identities if not found.get(i)]
        definitions = await self._read([(i, ua.AttributeIds.DataTypeDefinition) for i in rest])
        for identity, answer in zip(rest, definitions, strict=True):
            said = None if answer.Value is None else answer.Value.Value
            fields = getattr(said, "Fields", None)
            if isinstance(said, ua.EnumDefinition) and fields:
                found[identity] = tuple((int(f.Value), str(f.Name)) for f in fields)
        return found


def _is_elsewhere(expanded: Any) -> bool:
    """Whether an ExpandedNodeId leads to another server, or names its namespace in a way that no address can."""
    return isinstance(expanded, ua.ExpandedNodeId) and bool(expanded.ServerIndex or expanded.NamespaceUri)


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    first = group.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first


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


def _plain(said: Any) -> Any:
    """Values of details without the library's types: ranges and units as pairs, names as texts."""
    if isinstance(said, ua.Range):
        return float(said.Low), float(said.High)
    if isinstance(said, ua.EUInformation):
        return int(said.UnitId), str(said.DisplayName.Text or "")
    if isinstance(said, list):
        return [_plain(s) for s in said]
    if isinstance(said, ua.LocalizedText):
        return str(said.Text or "")
    if isinstance(said, ua.EnumValueType):
        return int(said.Value), str(said.DisplayName.Text or "")
    return None


def _built_in(identity: str) -> int | None:
    """The number of a built-in type, or of one of the abstract ones among them; None for a type derived from one."""
    number = identity.removeprefix("i=")
    if number == identity or not number.isdigit():
        return None
    return int(number) if int(number) <= nodes.BUILT_IN_MAX or int(number) == 50 else None


def _chain(identity: str, parents: dict[str, str]) -> list[str]:
    """A data type and those it comes from, the built-in one last."""
    chain = [identity]
    while (parent := parents.get(chain[-1])) and len(chain) < LEVELS_MAX:
        chain.append(parent)
    return chain
