"""Edits of a running plant's graph: what may be added, changed and removed, every mistake at once; pure.

Must not know files, servers, or the values of points. What the plant folder says is under change control: edits add to
it and change what they added.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace

from twin.dtdl import declared
from twin.errors import BadRequest, Conflict, Flaw, LimitExceeded, NotFound, Refused, TwinloopError, flawed
from twin.fit import missing_ends, unfit
from twin.graph import ONE_WHOLE, PART_OF, circle_of_parts, second_wholes
from twin.interface import NAME, Field, Interface
from twin.models import join
from twin.nearest import nearest
from twin.plant import Added, Plant, Relationship, Twin
from twin.points import Point
from twin.pointsheet import value_schema

ROWS_MAX = 4_000_000  # of the point table, retired ones too: some 200 MB
BY_FOLDER = "edit plant.toml and restart"


@dataclass(frozen=True, slots=True)
class AddInterface:
    """An Interface with its own contents only. One that is there already must say the same. `path`: where it stood."""

    interface: Interface
    path: str = ""


@dataclass(frozen=True, slots=True)
class AddTwin:
    """A twin, with a point for every Property and Telemetry of its Interface."""

    twin: Twin
    path: str = ""


@dataclass(frozen=True, slots=True)
class ChangeTwin:
    """The twin of this id becomes this one; its Interface stays."""

    twin: Twin
    path: str = ""


@dataclass(frozen=True, slots=True)
class RemoveTwin:
    """A twin, its points, and every relationship that starts or ends at it."""

    id: str
    path: str = ""


@dataclass(frozen=True, slots=True)
class AddRelationship:
    """One between any two twins; the same again does nothing."""

    relationship: Relationship
    path: str = ""


@dataclass(frozen=True, slots=True)
class RemoveRelationship:
    relationship: Relationship
    path: str = ""


@dataclass(frozen=True, slots=True)
class KeepPoint:
    """A Property that no device reports gets a point, so that people can keep its value; there already: nothing."""

    twin: str
    property: str
    path: str = ""


Edit = AddInterface | AddTwin | ChangeTwin | RemoveTwin | AddRelationship | RemoveRelationship | KeepPoint


def edited(plant: Plant, edits: Iterable[Edit]) -> Plant:
    """The plant after all of the edits, one after the other.

    Points are only added after those there are, and retired: ids stay.

    Raises:
        BadGraph: several mistakes, each with its place; a single one is raised as its own kind (NotFound, Conflict,
            Refused, BadRequest, LimitExceeded).
    """
    made, flaws = tried(plant, edits)
    if flaws:
        raise flawed(flaws)
    return made


@dataclass(frozen=True, slots=True)
class SetAside:
    """An edit that does not fit the plant any more: it is kept, and without effect."""

    edit: Edit
    message: str
    fix: str


def fitting(plant: Plant, edits: Sequence[Edit]) -> tuple[Plant, tuple[SetAside, ...]]:
    """The plant after those of the edits that fit it, and the others: a plant folder may change between two starts."""
    left = {str(n): replace(edit, path=str(n)) for n, edit in enumerate(edits)}
    aside: list[SetAside] = []
    while True:  # ends: each round takes at least one edit away
        made, flaws = tried(plant, left.values())
        if not flaws:
            return made, tuple(aside)
        for flaw in flaws:
            for place in [flaw.path.partition(".")[0]] if flaw.path else list(left):
                if place in left:
                    aside.append(SetAside(replace(left.pop(place), path=""), flaw.message, flaw.fix))


def tried(plant: Plant, edits: Iterable[Edit]) -> tuple[Plant, Sequence[Flaw]]:
    """As `edited`, with the mistakes beside what the edits without them make; no plant to go on with when there are some."""
    working = _Working(plant)
    for edit in edits:
        working.take(edit)
    return working.plant(), working.flaws


def kept_point(twin: str, of: Field, identity: int = 0) -> Point:
    """A point that no device reports."""
    return Point(identity, f"{twin}.{of.name}", twin, of.name, of.type, of.unit, "", "", schema=value_schema(of))


@dataclass(slots=True)
class _Working:
    """The graph while edits are taken; `flaws` are what is wrong with them."""

    before: Plant
    flaws: list[Flaw] = field(default_factory=list)
    interfaces: dict[str, Interface] = field(init=False)
    twins: dict[str, Twin] = field(init=False)
    relationships: dict[Relationship, str] = field(init=False)  # -> path of the edit that added it
    links: frozenset[str] = field(init=False)
    new_interfaces: dict[str, AddInterface] = field(default_factory=dict)
    new_twins: dict[str, None] = field(default_factory=dict)  # in order of their points
    new_kept: dict[tuple[str, str], Field] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)  # twins that had points before
    new_relationships: dict[Relationship, None] = field(default_factory=dict)
    added_twins: set[str] = field(init=False)
    is_joined: bool = True
    added_relationships: set[Relationship] = field(init=False)

    def __post_init__(self) -> None:
        plant = self.before
        self.interfaces = dict(plant.interfaces)
        self.twins = dict(plant.twin_of_id)
        self.relationships = dict.fromkeys(plant.relationships, "")
        self.links = frozenset(plant.device_of_id)
        self.added_twins = set(plant.added.twins)
        self.added_relationships = set(plant.added.relationships)

    def take(self, edit: Edit) -> None:
        if not (self.is_joined or isinstance(edit, AddInterface)):
            self._join()
        match edit:
            case AddInterface():
                self._add_interface(edit)
            case AddTwin(twin, path):
                self._add_twin(twin, path)
            case ChangeTwin(twin, path):
                self._change_twin(twin, path)
            case RemoveTwin(identity, path):
                self._remove_twin(identity, path)
            case AddRelationship(relationship, path):
                self._add_relationship(relationship, path)
            case RemoveRelationship(relationship, path):
                self._remove_relationship(relationship, path)
            case KeepPoint():
                self._keep(edit)

    def flaw(self, path: str, message: str, fix: str, kind: type[TwinloopError] = BadRequest) -> None:
        self.flaws.append(Flaw(path, message, fix, kind))

    # --- Interfaces --------------------------------------------------------------------------------------------------

    def _add_interface(self, edit: AddInterface) -> None:
        known = self.before.interfaces.get(edit.interface.id)
        if known is None:
            self.new_interfaces[edit.interface.id] = edit
            self.is_joined = False
        elif not _same(known, edit.interface):
            ours = known.id in self.before.added.interfaces
            fix = "publish it with the next version number" + ("" if ours else f", or {BY_FOLDER}")
            self.flaw(edit.path, f"Interface {known.id} is there already and says something else", fix, Refused)

    def _join(self) -> None:
        """What is known has been joined before; joined again, it would find its own names inherited."""
        self.is_joined = True
        new = {i: e.interface for i, e in self.new_interfaces.items()}
        paths = {e.interface.file: e.path for e in self.new_interfaces.values()}
        joined = join([*new.values(), *self.before.interfaces.values()], {})
        for wrong in joined.mistakes:
            if wrong.file in paths:
                self.flaw(paths[wrong.file], wrong.message, wrong.fix)
        self.interfaces = {**self.before.interfaces, **{i: joined.interfaces[i] for i in new}}

    # --- twins -------------------------------------------------------------------------------------------------------

    def _add_twin(self, twin: Twin, path: str) -> None:
        if twin.id in self.links:
            self.flaw(_in(path, "id"), f"{twin.id!r} is the id of a device", "choose another id", Conflict)
        elif twin.id in self.twins:
            self.flaw(_in(path, "id"), f"twin {twin.id!r} exists", "change it, or choose another id", Conflict)
        elif not NAME.match(twin.id):
            self.flaw(_in(path, "id"), f"twin id {twin.id!r}", "use letters, digits and _, letter first")
        elif twin.interface not in self.interfaces:
            fix = nearest(twin.interface, self.interfaces) or "add that Interface"
            self.flaw(_in(path, "interface"), f"{twin.id} is of unknown Interface {twin.interface}", fix)
        else:
            self.twins[twin.id] = twin
            self.added_twins.add(twin.id)
            self.new_twins[twin.id] = None

    def _own_twin(self, identity: str, path: str) -> Twin | None:
        """The twin, where it is there and may be changed."""
        found = self.twins.get(identity)
        if found is None:
            self.flaw(path, f"no twin is called {identity!r}", nearest(identity, self.twins) or "create it", NotFound)
        elif identity not in self.added_twins:
            self.flaw(path, f"twin {identity} belongs to the plant folder", BY_FOLDER, Refused)
        else:
            return found
        return None

    def _change_twin(self, twin: Twin, path: str) -> None:
        found = self._own_twin(twin.id, path)
        if found is None:
            return
        if twin.interface != found.interface:
            fix = "delete the twin and create it anew"
            self.flaw(_in(path, "interface"), f"{twin.id} is of {found.interface}, which stays", fix, Refused)
        else:
            self.twins[twin.id] = twin

    def _remove_twin(self, identity: str, path: str) -> None:
        if self._own_twin(identity, path) is None:
            return
        del self.twins[identity]
        self.added_twins.discard(identity)
        if identity in self.new_twins:
            del self.new_twins[identity]
        else:
            self.gone.add(identity)

    def _keep(self, edit: KeepPoint) -> None:
        twin = self.twins.get(edit.twin)
        if twin is None:
            fix = nearest(edit.twin, self.twins) or "create it"
            self.flaw(edit.path, f"no twin is called {edit.twin!r}", fix, NotFound)
            return
        interface = self.interfaces.get(twin.interface)
        of = interface.fields.get(edit.property) if interface is not None else None
        name = f"{edit.twin}.{edit.property}"
        if interface is None or of is None:
            kind = twin.interface if interface is None else interface.kind
            fix = nearest(edit.property, interface.fields if interface else ()) or "declare it in the Interface"
            self.flaw(edit.path, f"{kind} has no Property {edit.property!r}", fix, NotFound)
        elif of.kind == "Telemetry":
            self.flaw(edit.path, f"{name} is Telemetry, and no device reports it", "keep Properties only", Refused)
        elif edit.twin not in self.new_twins and self.before.points.id_of(name) is None:
            self.new_kept[edit.twin, edit.property] = of

    # --- relationships -----------------------------------------------------------------------------------------------

    def _add_relationship(self, relationship: Relationship, path: str) -> None:
        if relationship not in self.relationships:
            self.relationships[relationship] = path
            self.added_relationships.add(relationship)
            self.new_relationships[relationship] = None

    def _remove_relationship(self, relationship: Relationship, path: str) -> None:
        words = f"{relationship.source} {relationship.name} {relationship.target}"
        if relationship not in self.relationships:
            self.flaw(path, f"no relationship {words}", "see the twin's relationships", NotFound)
        elif relationship not in self.added_relationships:
            self.flaw(path, f"relationship {words} belongs to the plant folder", BY_FOLDER, Refused)
        else:
            del self.relationships[relationship]
            self.added_relationships.discard(relationship)
            self.new_relationships.pop(relationship, None)

    def _check_relationships(self) -> None:
        counts: Counter[tuple[str, str]] = Counter()
        for r in self.relationships:
            counts[r.source, r.name] += 1
        for relationship in self.new_relationships:
            path = self.relationships[relationship]
            missing = list(missing_ends(relationship, self.twins))
            for wrong in missing:
                self.flaw(_in(path, wrong.part), wrong.message, wrong.fix, NotFound)
            if not missing and relationship.source in self.links:
                self.flaw(path, f"{relationship.source} is a link, which has no relationships", "use a twin", Refused)
            misfit = unfit(relationship, counts[relationship.source, relationship.name], self.twins, self.interfaces)
            if misfit is not None:
                self.flaw(_in(path, misfit.part), misfit.message, misfit.fix)
        if any(r.name in PART_OF for r in self.new_relationships):
            for another, first in second_wholes(self.relationships):
                new, old = (another, first) if another in self.new_relationships else (first, another)
                if new in self.new_relationships:
                    self.flaw(self.relationships[new], f"{new.target} is a part of {old.source} already", ONE_WHOLE)
            circle = circle_of_parts(self.relationships)
            if circle:
                shown = " → ".join([*(r.source for r in circle), circle[0].source])
                path = next((self.relationships[r] for r in circle if r in self.new_relationships), "")
                self.flaw(path, f"parts form a circle: {shown}", "remove one of these")

    # --- the result --------------------------------------------------------------------------------------------------

    def plant(self) -> Plant:
        if self.gone:
            ended = [r for r in self.relationships if r.source in self.gone or r.target in self.gone]
            for relationship in ended:
                if relationship not in self.new_relationships:
                    del self.relationships[relationship]
                    self.added_relationships.discard(relationship)
        if not self.is_joined:
            self._join()
        self._check_relationships()
        retired = self.before.points.among("twin", self.gone) if self.gone else ()
        more = list(self._new_points())
        if self.before.points.size + len(more) > ROWS_MAX:
            fix = "add less; rows of deleted twins come back with a restart"
            self.flaw("", f"{self.before.points.size + len(more)} points; {ROWS_MAX} are the limit", fix, LimitExceeded)
        points = self.before.points
        added = self.before.added
        kept = added.kept | {f"{twin}.{name}" for twin, name in self.new_kept if twin not in self.added_twins}
        return replace(
            self.before,
            interfaces=self.interfaces,
            twins=tuple(self.twins.values()),
            relationships=tuple(self.relationships),
            points=points.changed(more, retired) if more or len(retired) else points,
            added=Added(
                added.interfaces.union(self.new_interfaces),
                frozenset(self.added_twins),
                frozenset(self.added_relationships),
                kept,
            ),
        )

    def _new_points(self) -> Iterator[Point]:
        identity = self.before.points.size
        for twin in self.new_twins:
            for of in self.interfaces[self.twins[twin].interface].fields.values():
                yield kept_point(twin, of, identity)
                identity += 1
        for (twin, _), of in self.new_kept.items():
            if twin not in self.gone:
                yield kept_point(twin, of, identity)
                identity += 1


def additions(plant: Plant) -> Sequence[Edit]:
    """The edits that lead from the plant folder to this plant."""
    return (
        *(AddInterface(declared(plant.interfaces[i])) for i in sorted(plant.added.interfaces)),
        *(AddTwin(plant.twin_of_id[i]) for i in plant.twin_ids if i in plant.added.twins),
        *(AddRelationship(r) for r in plant.relationships if r in plant.added.relationships),
        *(KeepPoint(*name.split(".", 1)) for name in sorted(plant.added.kept)),
    )


def _same(known: Interface, said: Interface) -> bool:
    return declared(known) == said


def _in(path: str, part: str) -> str:
    return f"{path}.{part}" if path and part else path or part
