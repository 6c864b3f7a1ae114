"""Reads graph files: twins, relationships and models out of JSON, with every mistake and its line.

Must not know plants or what becomes of the graph. The form is that of twin/graphfile.py.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin.dtdl import declared, read_interfaces
from twin.errors import Mistake, Notice
from twin.graphfile import FILE_VERSION, NAME_PROPERTY, OURS, Graph, GraphRelationship, GraphTwin
from twin.interface import NAME, Field, Interface
from twin.models import is_a, join
from twin.nearest import nearest
from twin.page import Page
from twin.places import JsonPath, json_path
from twin.schema import Misfit, settle

_SYSTEM = frozenset({"$dtId", "$etag", "$metadata", "$lastUpdateTime", "$conformance"})
_ENDS = ("$sourceId", "$relationshipName", "$targetId")


@dataclass(frozen=True, slots=True)
class GraphRead:
    """What a file says; `graph` is None while there is a mistake."""

    graph: Graph | None
    mistakes: tuple[Mistake, ...]
    notices: tuple[Notice, ...]


def read_graph(text: str, file: str = "graph.json", known: Mapping[str, Interface] | None = None) -> GraphRead:
    """The graph in a file's text.

    Args:
        known: Interfaces that its twins may be of beside those in the file, with all they inherit; an Interface of the
            file takes the place of a known one of the same id.
    """
    page = Page(file, text)
    document = page.read()
    if document is None and page.mistakes:
        return GraphRead(None, tuple(page.mistakes), ())
    graph = _Reading(page, known or {}).graph(document)
    return GraphRead(None if page.mistakes else graph, tuple(page.mistakes), tuple(page.notices))


@dataclass(slots=True)
class _Reading:
    page: Page
    known: Mapping[str, Interface]

    def graph(self, document: Any) -> Graph:
        said = self._part({"": document}, "", ())
        info = self._part(said, "digitalTwinsFileInfo", ())
        if info and info.get("fileVersion") != FILE_VERSION:
            path = ("digitalTwinsFileInfo", "fileVersion")
            self._mistake(path, f"fileVersion {info.get('fileVersion')!r}", f"only {FILE_VERSION} is known")
        for key in said.keys() - {"digitalTwinsFileInfo", "digitalTwinsGraph", "digitalTwinsModels", OURS}:
            self.page.notice((key,), f"part {key!r} is not known", "it is left out")
        own = self._own_models(said)
        models = self._joined(own)
        ours = self._part(self._part(said, OURS, ()), "twins", (OURS,))
        inside = self._part(said, "digitalTwinsGraph", ())
        twins = self._twins(inside, models, ours)
        for twin_id in ours.keys() - twins.keys():
            self._mistake((OURS, "twins", twin_id), f"{twin_id!r} is no twin of this file", "remove it")
        return Graph(twins, self._relationships(inside, twins, models), {i.id: i for i in own})

    # --- models ------------------------------------------------------------------------------------------------------

    def _joined(self, own: list[Interface]) -> Mapping[str, Interface]:
        """Known Interfaces and those of the file, with all they inherit."""
        ids = {i.id for i in own}
        others = [declared(i) for i in self.known.values() if i.id not in ids]
        joined = join([*own, *others], {self.page.file: self.page.text})
        self.page.mistakes += (m for m in joined.mistakes if m.file == self.page.file)
        self.page.notices += (n for n in joined.notices if n.file == self.page.file)
        return joined.interfaces

    def _own_models(self, said: dict[str, Any]) -> list[Interface]:
        listed = said.get("digitalTwinsModels", [])
        if not isinstance(listed, list):
            self._mistake(("digitalTwinsModels",), "digitalTwinsModels is not a list", "use [ … ]")
            return []
        return read_interfaces(self.page, listed, ("digitalTwinsModels",))

    # --- twins -------------------------------------------------------------------------------------------------------

    def _twins(
        self, said: dict[str, Any], models: Mapping[str, Interface], ours: dict[str, Any]
    ) -> dict[str, GraphTwin]:
        twins: dict[str, GraphTwin] = {}
        for element, path in self.page.elements(said, ("digitalTwinsGraph",), "digitalTwins"):
            identity = element.get("$dtId")
            if not isinstance(identity, str) or not NAME.match(identity):
                fix = "letters, digits and _, letter first; points are named twin.property"
                self._mistake((*path, "$dtId"), f"$dtId {identity!r}", fix)
                continue
            if identity in twins:
                self._mistake(path, f"twin {identity} stands twice", "keep one of them")
                continue
            metadata = self._part(element, "$metadata", path)
            model = metadata.get("$model")
            interface = models.get(model) if isinstance(model, str) else None
            if interface is None:
                fix = nearest(str(model), models) or "add it to digitalTwinsModels"
                self._mistake((*path, "$metadata"), f"{identity} is of unknown Interface {model}", fix)
                continue
            properties: dict[str, Any] = {}
            self._properties(element, path, "", interface, properties)
            about = self._part(ours, identity, (OURS, "twins"))
            # A Property `name` names the twin, unless our own part does.
            name = about["name"] if "name" in about else properties.pop(NAME_PROPERTY, "")
            place = self._place(about.get("at"), (OURS, "twins", identity, "at"))
            twins[identity] = GraphTwin(
                identity, interface.id, name if isinstance(name, str) else "", place, properties
            )
        return twins

    def _properties(
        self, said: dict[str, Any], path: JsonPath, prefix: str, interface: Interface, found: dict[str, Any]
    ) -> None:
        for key, value in said.items():
            if key in _SYSTEM:
                continue
            place, name = (*path, key), f"{prefix}{key}"
            if not prefix and key in interface.components:
                if isinstance(value, dict):
                    self._properties(value, place, f"{key}.", interface, found)
                else:
                    self._mistake(place, f"component {key} is not an object", 'use { "$metadata": {}, … }')
                continue
            field = interface.fields.get(name)
            if field is None:
                fix = nearest(name, interface.fields) or f"declare it in {interface.id}"
                self._mistake(place, f"{interface.kind} has no Property {name!r}", fix)
            elif field.kind == "Telemetry":
                self.page.notice(place, f"{name} is Telemetry", "a graph holds Properties; it is left out")
            else:
                self._value(field, value, place, found)

    def _value(self, field: Field, value: Any, path: JsonPath, found: dict[str, Any]) -> None:
        try:
            found[field.name] = settle(field.schema, value)
        except Misfit as misfit:
            self._mistake(path, f"{field.name}: {misfit}", "give what the Interface says")

    def _place(self, said: Any, path: JsonPath) -> tuple[float, float] | None:
        if said is None:
            return None
        if isinstance(said, list) and len(said) == 2 and all(type(c) in (int, float) for c in said):
            return float(said[0]), float(said[1])
        self._mistake(path, f"at = {said!r}", "give two numbers: [x, y]")
        return None

    # --- relationships -----------------------------------------------------------------------------------------------

    def _relationships(
        self, said: dict[str, Any], twins: Mapping[str, GraphTwin], models: Mapping[str, Interface]
    ) -> dict[tuple[str, str, str], GraphRelationship]:
        found: dict[tuple[str, str, str], GraphRelationship] = {}
        for element, path in self.page.elements(said, ("digitalTwinsGraph",), "relationships"):
            ends = tuple(str(element.get(k, "")) for k in _ENDS)
            source, name, target = ends
            for key, end in (("$sourceId", source), ("$targetId", target)):
                if end not in twins:
                    self._mistake((*path, key), f"{key} {end!r} is no twin", nearest(end, twins) or "declare the twin")
            if source not in twins or target not in twins:
                continue
            properties = self._relationship_properties(element, path, twins[source], name, twins[target], models)
            relationship = GraphRelationship(source, name, target, properties, str(element.get("$relationshipId", "")))
            if relationship.key in found:
                self._mistake(path, f"{source} {name} {target} stands twice", "keep one of them")
            found[relationship.key] = relationship
        return found

    def _relationship_properties(
        self,
        said: dict[str, Any],
        path: JsonPath,
        source: GraphTwin,
        name: str,
        target: GraphTwin,
        models: Mapping[str, Interface],
    ) -> dict[str, Any]:
        interface = models[source.interface]
        rule = interface.relationships.get(name)
        if rule is None:
            fix = nearest(name, interface.relationships) or f"declare it in {interface.id}"
            self._mistake((*path, "$relationshipName"), f"{interface.kind} has no relationship {name!r}", fix)
            return {}
        if rule.target is not None and not is_a(target.interface, rule.target, models):
            message = f"{name} leads to {rule.target}, but {target.id} is {target.interface}"
            self._mistake((*path, "$targetId"), message, "choose another target or Interface")
        fields = {f.name: f for f in rule.properties}
        found: dict[str, Any] = {}
        for key, value in said.items():
            if key.startswith("$"):
                continue
            if key in fields:
                self._value(fields[key], value, (*path, key), found)
            else:
                fix = nearest(key, fields) or f"declare it in {interface.id}"
                self._mistake((*path, key), f"relationship {name} has no property {key!r}", fix)
        return found

    # --- parts -------------------------------------------------------------------------------------------------------

    def _part(self, said: dict[str, Any], key: str, path: JsonPath) -> dict[str, Any]:
        """The object under a key; {} when there is none."""
        inner = said.get(key, {})
        if isinstance(inner, dict):
            return inner
        place = (*path, key) if key else path
        self._mistake(place, f"{key or 'the document'} is not an object", "use { … }")
        return {}

    def _mistake(self, path: JsonPath, message: str, fix: str) -> None:
        where = json_path(path)
        self.page.mistake(path, f"{where}: {message}" if where else message, fix)
