"""Types of an OPC UA server, as far as a search needs them: names, built-in types, named values of enumerations."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from asyncua import ua

from protocols.opcua import nodes
from protocols.opcua.asking import HAS_SUBTYPE, Asking
from protocols.opcua.nodes import DataType, TypeNode

TYPES_MAX = 10_000  # data types and object types asked about
LEVELS_MAX = 64  # of type hierarchies
HAS_PROPERTY = "i=46"
DECIMAL = 50  # a built-in type of its own, far from the others (Part 6, 5.1.10)


async def read_types(asking: Asking, identities: set[str]) -> dict[str, TypeNode]:
    wanted = sorted(i for i in identities if i)[:TYPES_MAX]
    answers = await asking.read([(i, ua.AttributeIds.BrowseName) for i in wanted])
    named = zip(wanted, (a.Value.Value if a.Value is not None else None for a in answers), strict=True)
    return {i: TypeNode(str(n.Name), int(n.NamespaceIndex)) for i, n in named if n is not None}


async def read_data_types(asking: Asking, identities: set[str]) -> dict[str, DataType]:
    """Every data type in use, down to its built-in type, with the names of enumerations."""
    parents: dict[str, str] = {}
    level = sorted(i for i in identities if _built_in(i) is None)[:TYPES_MAX]
    for _ in range(LEVELS_MAX):
        if not level:
            break
        answers = await asking.children(level, ua.BrowseDirection.Inverse, HAS_SUBTYPE)
        for identity, references in zip(level, answers, strict=True):
            parents[identity] = references[0].NodeId.to_string() if references else ""
        level = sorted({p for p in parents.values() if p and _built_in(p) is None} - parents.keys())
    named = await read_types(asking, identities)
    chains = {i: _chain(i, parents) for i in identities}
    enumerations = sorted(i for i, chain in chains.items() if nodes.ENUMERATION in chain and i in parents)
    values = await _read_enumerations(asking, enumerations)
    return {
        i: DataType(named[i].name if i in named else i, _built_in(chain[-1]) or 0, values.get(i, ()))
        for i, chain in chains.items()
    }


async def _read_enumerations(asking: Asking, identities: Sequence[str]) -> dict[str, tuple[tuple[int, str], ...]]:
    found: dict[str, tuple[tuple[int, str], ...]] = {}
    properties: list[tuple[str, str]] = []
    for identity, references in zip(identities, await asking.children(identities, reference=HAS_PROPERTY), strict=True):
        for reference in references or ():
            if reference.BrowseName.Name in ("EnumStrings", "EnumValues"):
                properties.append((identity, reference.NodeId.to_string()))
    answers = await asking.read([(i, ua.AttributeIds.Value) for _, i in properties])
    for (identity, _), answer in zip(properties, answers, strict=True):
        said = None if answer.Value is None else plain_detail(answer.Value.Value)
        found[identity] = nodes.named_values(said) or found.get(identity, ())
    rest = [i for i in identities if not found.get(i)]
    definitions = await asking.read([(i, ua.AttributeIds.DataTypeDefinition) for i in rest])
    for identity, answer in zip(rest, definitions, strict=True):
        said = None if answer.Value is None else answer.Value.Value
        fields = getattr(said, "Fields", None)
        if isinstance(said, ua.EnumDefinition) and fields:
            found[identity] = tuple((int(f.Value), str(f.Name)) for f in fields)
    return found


def plain_detail(said: Any) -> Any:
    """Values of details without the library's types: ranges and units as pairs, names as texts."""
    if isinstance(said, ua.Range):
        return float(said.Low), float(said.High)
    if isinstance(said, ua.EUInformation):
        return int(said.UnitId), str(said.DisplayName.Text or "")
    if isinstance(said, list):
        return [plain_detail(s) for s in said]
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
    return int(number) if int(number) <= nodes.BUILT_IN_MAX or int(number) == DECIMAL else None


def _chain(identity: str, parents: dict[str, str]) -> list[str]:
    """A data type and those it comes from, the built-in one last."""
    chain = [identity]
    while (parent := parents.get(chain[-1])) and len(chain) < LEVELS_MAX:
        chain.append(parent)
    return chain
