"""From what changed to what is to be written: three sides become edits of a plant; pure, must not know files."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

from control.discover_difference import ROW_ASPECTS, Bound, Change, Difference
from control.discover_draft import Draft, Known, Row, draft, interface_field, range_in
from control.discover_names import named
from control.discover_said import Said, number
from protocols.discovery import Found, FoundValue, Path, path_text
from twin.graph import PART_OF
from twin.interface import Field, Interface
from twin.plant import Plant
from twin.units import UNITS

SHARED = "kept: other points of the Interface have the same property; change them together by hand"


INHERITED = "kept: its Interface inherits the property, which is not writable"
CELLS = (*ROW_ASPECTS, "address")


@dataclass(frozen=True, slots=True)
class Edits:
    """What is to be written into the plant of one device.

    Attributes:
        cells: of points.csv, by point and column.
        removed: points whose rows go; twins that go with them.
        replaced: Properties to declare anew, by Interface; `opened` those that become writable.
    """

    difference: Difference
    draft: Draft
    cells: Mapping[str, Mapping[str, str]] = field(default_factory=dict)
    removed: tuple[str, ...] = ()
    removed_twins: tuple[str, ...] = ()
    replaced: Mapping[str, tuple[Field, ...]] = field(default_factory=dict)
    opened: Mapping[str, tuple[str, ...]] = field(default_factory=dict)


def merged(
    device: str,
    found: Found,
    plant: Plant | None,
    before: Mapping[str, Said],
    rows: Mapping[str, Bound],
    change: Difference,
    prune: bool,
) -> Edits:
    """The edits that a difference asks for.

    Args:
        before, rows: what the device said last and the plant's rows of it, by address.
    """
    values = {v.address: v for v in found.values}
    known = _known(device, found, plant, before, rows)
    wanted = [values[a] for a in change.added if a in values]
    made = draft(device, found, wanted, known)
    applied = _Applying(plant, values, rows)
    changed = applied.take(change.changed) if plant is not None else change.changed
    removed = tuple(g.point for g in change.gone if g.point) if prune else ()
    return Edits(
        replace(change, changed=tuple(changed)),
        made,
        applied.cells,
        removed,
        _left_empty(plant, removed) if plant is not None else (),
        applied.replaced,
        applied.opened,
    )


# --- what the plant knows --------------------------------------------------------------------------------------------


def _known(
    device: str, found: Found, plant: Plant | None, before: Mapping[str, Said], rows: Mapping[str, Bound]
) -> Known:
    if plant is None:
        return Known()
    links = {d.id for d in plant.devices}
    twins = {t.id: t.interface for t in plant.twins if t.id not in links}
    return Known(
        twins=twins,
        twin_of=_twin_of(found, plant, before, rows, twins),
        interfaces=plant.interfaces,
        contains=frozenset((r.source, r.target) for r in plant.relationships if r.name in PART_OF),
        points=frozenset(p for p in plant.point_of_name),
        taken=frozenset((*twins, *links)),
    )


def _twin_of(
    found: Found, plant: Plant, before: Mapping[str, Said], rows: Mapping[str, Bound], twins: Mapping[str, str]
) -> dict[Path, str]:
    """The twin of each thing: where its points are, else what contains its parts, else what its name would give."""
    thing_of = {v.address: v.thing for v in found.values} | {a: s.thing_path for a, s in before.items()}
    votes: dict[Path, Counter[str]] = {}
    for address, row in rows.items():
        twin = row.point.partition(".")[0]
        if address in thing_of and twin in twins:
            votes.setdefault(thing_of[address], Counter())[twin] += 1
    twin_of = {path: count.most_common(1)[0][0] for path, count in votes.items()}
    paths = sorted({t.path for t in found.things} | set(votes), key=len, reverse=True)
    whole = {r.target: r.source for r in plant.relationships if r.name in PART_OF}
    for path in paths:  # the deepest first, so that names given by people are followed upwards
        inner = twin_of.get(path)
        around = path[:-1]
        if inner is not None and around and around not in twin_of and whole.get(inner) in twins:
            twin_of[around] = whole[inner]
    if before:
        ids = named((path_text(p), "_".join(p)) for p in paths if p)
        used = set(twin_of.values())
        for path in paths:
            name = ids.get(path_text(path), "")
            if path not in twin_of and name in twins and name not in used:
                twin_of[path] = name
    return twin_of


def _left_empty(plant: Plant, removed: Sequence[str]) -> tuple[str, ...]:
    """Twins that lose their last point, and those that then contain nothing; what else is tied to a twin keeps it."""
    gone = set(removed)
    points: Counter[str] = Counter(p.twin for p in plant.points if p.name not in gone)
    touched = {name.partition(".")[0] for name in removed}
    tied = {end for r in plant.relationships if r.name not in PART_OF for end in (r.source, r.target)}
    parts = {(r.source, r.target) for r in plant.relationships if r.name in PART_OF}
    empty: set[str] = set()
    while touched:
        now = {t for t in touched if not points[t] and t not in tied and not any(s == t for s, _ in parts)}
        empty |= now
        touched = {source for source, target in parts if target in now}
        parts = {(s, t) for s, t in parts if t not in now}
    return tuple(sorted(empty))


# --- what the device changed -----------------------------------------------------------------------------------------


@dataclass(slots=True)
class _Applying:
    """What the device changed, as cells and Properties of the plant."""

    plant: Plant | None
    values: Mapping[str, FoundValue]
    rows: Mapping[str, Bound]
    cells: dict[str, dict[str, str]] = field(default_factory=dict)
    replaced: dict[str, tuple[Field, ...]] = field(default_factory=dict)
    opened: dict[str, tuple[str, ...]] = field(default_factory=dict)

    def take(self, changes: Sequence[Change]) -> list[Change]:
        """The same changes; those that the plant does not take over say why."""
        plant, kept = self.plant, dict[Change, str]()
        anew: dict[tuple[str, str], list[Change]] = {}
        for change in changes:
            if not change.point or change.kept or plant is None:
                continue
            point = plant.point(change.point)
            interface = plant.interfaces[plant.twin(point.twin).interface]
            if change.what in ("type", "values") or (change.what == "unit" and _other_dimension(change)):
                anew.setdefault((interface.id, point.property), []).append(change)
            elif change.what != "access" or self._may_be(change.after, interface, point.property):
                self._put(change)
            else:
                kept[change] = INHERITED
        for (identity, name), asked in anew.items():
            if plant is not None and self._agree(plant.interfaces[identity], name, asked):
                self._declare(plant.interfaces[identity], name, asked)
            else:
                kept |= dict.fromkeys(asked, SHARED)
        for name, changed in self.cells.items():
            self._convert_range(name, changed)
        return [replace(c, kept=kept.get(c, c.kept)) for c in changes]

    def _put(self, change: Change) -> None:
        if change.what in CELLS:
            self.cells.setdefault(change.point, {})[change.what] = change.after

    def _may_be(self, access: str, interface: Interface, name: str) -> bool:
        """Whether the Property may have this access, or can be made to have it."""
        if access == "rw" and not interface.fields[name].writable:
            if name not in interface.own:
                return False
            self.opened[interface.id] = (*self.opened.get(interface.id, ()), name)
        return True

    def _agree(self, interface: Interface, name: str, asked: Sequence[Change]) -> bool:
        """Whether a Property may be declared anew: it is the Interface's own, and every point of it changes alike."""
        assert self.plant is not None
        heirs = any(interface.id in i.extends for i in self.plant.interfaces.values())
        if name not in interface.own or heirs:
            return False
        known = self.plant.point_of_name
        twins = (t.id for t in self.plant.twins if t.interface == interface.id)
        bound = {f"{t}.{name}" for t in twins if f"{t}.{name}" in known}
        alike = {(self.values[c.address].schema, self.values[c.address].unit) for c in asked}
        return bound == {c.point for c in asked} and len(alike) == 1

    def _declare(self, interface: Interface, name: str, asked: Sequence[Change]) -> None:
        value, there = self.values[asked[0].address], interface.fields[name]
        writable = there.writable or value.writable
        made = interface_field(name, value.schema, value.unit, writable, there.words)
        self.replaced[interface.id] = (*self.replaced.get(interface.id, ()), made)
        for change in asked:
            self._put(change)

    def _convert_range(self, point: str, changed: dict[str, str]) -> None:
        """Ranges stand in the Interface's unit, the device's in its own."""
        found = (self.values[a] for a, r in self.rows.items() if r.point == point and a in self.values)
        value = next(found, None)
        if value is None or self.plant is None or not {"low", "high"} & changed.keys():
            return
        low, high = range_in(value, self.plant.point(point).unit)
        for what, bound in (("low", low), ("high", high)):
            if what in changed:
                changed[what] = number(bound)


def _other_dimension(change: Change) -> bool:
    return UNITS[change.before].dimension != UNITS[change.after].dimension


def cells_of(row: Row, device: str) -> dict[str, str]:
    """A new row of points.csv."""
    value = row.value
    return {
        "point": row.point, "device": device, "address": value.address, "type": value.type, "unit": row.unit,
        "scale": number(value.scale, 1.0), "access": row.access, "audit": "", "low": number(row.low),
        "high": number(row.high),
    }  # fmt: skip
