"""What must change for one graph to become another; must not know files, plants or who changes them."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from twin.dtdl_export import export_interface
from twin.graphfile import Graph, GraphRelationship, GraphTwin
from twin.interface import Interface

T = TypeVar("T")
K = TypeVar("K")


@dataclass(frozen=True, slots=True)
class Change:
    """One value before and after; None where there was or will be none."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that stays and changes."""

    id: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Parts:
    """Ids of what comes and goes, and what changes; each in order of id."""

    added: tuple[str, ...]
    removed: tuple[str, ...]
    changed: tuple[Changed, ...]

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.removed or self.changed)

    def to_json(self) -> dict[str, Any]:
        return {
            "added": list(self.added),
            "removed": list(self.removed),
            "changed": [
                {"id": c.id, "changes": [{"path": d.path, "before": d.before, "after": d.after} for d in c.changes]}
                for c in self.changed
            ],
        }


@dataclass(frozen=True, slots=True)
class Difference:
    """Between two graphs."""

    twins: Parts
    relationships: Parts
    models: Parts

    @property
    def is_empty(self) -> bool:
        return self.twins.is_empty and self.relationships.is_empty and self.models.is_empty

    def to_json(self) -> dict[str, Any]:
        """`{"twins": {"added", "removed", "changed"}, "relationships": …, "models": …}`."""
        return {
            "twins": self.twins.to_json(),
            "relationships": self.relationships.to_json(),
            "models": self.models.to_json(),
        }


def difference(current: Graph, wanted: Graph, *, keep_models: bool = True) -> Difference:
    """What must change for `current` to become `wanted`.

    What the wanted twin does not say stays as it is: a name, a place, a property that is left out.

    Args:
        keep_models: Interfaces that the wanted graph does not hold stay; files may leave known ones out.
    """
    models = current.models if not keep_models else {i: m for i, m in current.models.items() if i in wanted.models}
    return Difference(
        _parts(current.twins, wanted.twins, lambda i: i, _twin_changes),
        _parts(current.relationships, wanted.relationships, " ".join, _relationship_changes),
        _parts(models, wanted.models, lambda i: i, _model_changes),
    )


def _parts(
    before: Mapping[K, T], after: Mapping[K, T], named: Callable[[K], str], changes: Callable[[T, T], Iterable[Change]]
) -> Parts:
    both = [(named(k), tuple(changes(before[k], after[k]))) for k in before.keys() & after.keys()]
    return Parts(
        tuple(sorted(named(k) for k in after.keys() - before.keys())),
        tuple(sorted(named(k) for k in before.keys() - after.keys())),
        tuple(Changed(identity, found) for identity, found in sorted(both, key=lambda b: b[0]) if found),
    )


def _twin_changes(before: GraphTwin, after: GraphTwin) -> Iterable[Change]:
    if before.interface != after.interface:
        yield Change("interface", before.interface, after.interface)
    if after.name and before.name != after.name:
        yield Change("name", before.name or None, after.name)
    if after.at is not None and before.at != after.at:
        yield Change("at", None if before.at is None else list(before.at), list(after.at))
    yield from _said(before.properties, after.properties, "properties.")


def _relationship_changes(before: GraphRelationship, after: GraphRelationship) -> Iterable[Change]:
    return _said(before.properties, after.properties, "properties.")


def _model_changes(before: Interface, after: Interface) -> Iterable[Change]:
    """By part of the document; of its contents, each by name."""
    if before == after:
        return
    old, new = export_interface(before), export_interface(after)
    for key in sorted(old.keys() | new.keys() - {"contents"}):
        if key != "contents" and old.get(key) != new.get(key):
            yield Change(key, old.get(key), new.get(key))
    contents = [{c["name"]: c for c in document.get("contents", [])} for document in (old, new)]
    for name in sorted(contents[0].keys() | contents[1].keys()):
        if contents[0].get(name) != contents[1].get(name):
            yield Change(f"contents.{name}", contents[0].get(name), contents[1].get(name))


def _said(before: Mapping[str, Any], after: Mapping[str, Any], prefix: str) -> Iterable[Change]:
    for path in sorted(after):
        if before.get(path) != after[path]:
            yield Change(f"{prefix}{path}", before.get(path), after[path])
