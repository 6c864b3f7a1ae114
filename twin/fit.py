"""Whether a relationship fits the Interfaces of its ends; must not know where it was written or who asks."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from twin.interface import Interface
from twin.models import is_a
from twin.nearest import nearest
from twin.plant import Relationship, Twin


@dataclass(frozen=True, slots=True)
class Unfit:
    """What does not fit: `part` is `source`, `name`, `target`, or "" for the whole; what it is, how to mend it."""

    part: str
    message: str
    fix: str


def missing_ends(relationship: Relationship, twins: Mapping[str, Twin]) -> Iterator[Unfit]:
    """Ends that are no twin."""
    for part, end in (("source", relationship.source), ("target", relationship.target)):
        if end not in twins:
            yield Unfit(part, f"{part} {end!r} is no twin", nearest(end, twins) or "declare the twin")


def unfit(
    relationship: Relationship, count: int, twins: Mapping[str, Twin], interfaces: Mapping[str, Interface]
) -> Unfit | None:
    """What its source's Interface does not allow; None where it fits, or where an end is missing.

    Args:
        count: how many relationships of this name its source has, with this one.
    """
    source, target = twins.get(relationship.source), twins.get(relationship.target)
    interface = interfaces.get(source.interface) if source else None
    if interface is None:
        return None
    name = relationship.name
    rule = interface.relationships.get(name)
    if rule is None:
        fix = nearest(name, interface.relationships) or f"declare it in {interface.file or interface.id}"
        return Unfit("name", f"{interface.kind} has no relationship {name!r}", fix)
    if rule.most is not None and count > rule.most:
        message = f"{relationship.source} has more than {rule.most} relationships {name!r}"
        return Unfit("", message, "remove one, or raise maxMultiplicity")
    if rule.target and target and not is_a(target.interface, rule.target, interfaces):
        message = f"{name} leads to {rule.target}, but {target.id} is {target.interface}"
        return Unfit("target", message, "choose another target or Interface")
    return None
