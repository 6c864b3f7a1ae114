"""Reads DTDL documents, v2 and v3, into Interfaces; says what is wrong and what is not supported; must not know plants.

Source: Digital Twins Definition Language v2 and v3. One document holds an Interface or a list of them, and Interfaces
may be written inside others.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import Any

from twin.dtdl_rules import (
    CONTENTS,
    EXTENSIONS,
    INTERFACE_ID_MAX,
    RESERVED,
    UNSUPPORTED_CONTEXT,
    VERSIONS,
    Version,
    extension_of,
)
from twin.dtdl_schema import Schemas, named_schemas
from twin.errors import Mistake, Notice
from twin.interface import CommandRule, Component, Field, Interface, RelationshipRule, kind_of
from twin.page import Page
from twin.places import JsonPath
from twin.schema import Member, Schema, has_array, is_numeric, point_type
from twin.units import DIMENSIONS_OF_SEMANTIC
from twin.words import in_english

QUANTITATIVE = EXTENSIONS["quantitativeTypes"]
NESTED_MAX = 10  # Interfaces inside one another, as deep as `extends` may go


@dataclass(frozen=True, slots=True)
class Parsed:
    """What one document holds, usable or not."""

    interfaces: tuple[Interface, ...]
    mistakes: tuple[Mistake, ...]
    notices: tuple[Notice, ...]


def parse(text: str, file: str) -> Parsed:
    """Every Interface in a document, with every mistake and notice, each with its line."""
    page = Page(file, text)
    document = page.read()
    if document is None and page.mistakes:
        return Parsed((), tuple(page.mistakes), ())
    found = read_interfaces(page, document, ())
    return Parsed(tuple(found), tuple(page.mistakes), tuple(page.notices))


def read_interfaces(page: Page, said: Any, path: JsonPath) -> list[Interface]:
    """The Interfaces of a document, or of the part of one that stands at `path`; what is wrong goes to the page."""
    found: list[Interface] = []
    for index, part in enumerate(said if isinstance(said, list) else [said]):
        place: JsonPath = (*path, index) if isinstance(said, list) else path
        if isinstance(part, dict):
            _Reader(page, found).interface(part, place, (), 0)
        else:
            page.mistake(place, "an Interface is a JSON object", 'start with { "@context": …, "@type": "Interface" }')
    return found


@dataclass(slots=True)
class _Contents:
    """The contents of one Interface, by kind, as they are read."""

    fields: dict[str, Field]
    relationships: dict[str, RelationshipRule]
    components: dict[str, Component]
    commands: dict[str, CommandRule]

    def holds(self, name: str) -> bool:
        return any(name in d for d in (self.fields, self.relationships, self.components, self.commands))


@dataclass(slots=True)
class _Reader:
    page: Page
    found: list[Interface]

    def interface(self, said: dict[str, Any], path: JsonPath, contexts: tuple[str, ...], depth: int) -> str | None:
        """Adds the Interface, and those written inside it, to `found`; gives its id."""
        page = self.page
        contexts = self._contexts(said, path, contexts)
        version = VERSIONS.get(contexts[0]) if contexts else None
        if version is None:
            return None
        if page.types(said, path, ("Interface",))[0] != "Interface":
            page.mistake((*path, "@type"), f"@type is {said.get('@type')!r}", '"Interface" is what a document holds')
        identity = self._identity(said, path, version)
        if identity is None:
            return None
        if depth > NESTED_MAX:
            page.mistake(path, f"Interfaces lie more than {NESTED_MAX} deep in one another", "write them side by side")
            return None
        self._check_size(said, path, version)
        extends = self._references(said, path, "extends", contexts, depth)
        if version.extends_max is not None and len(extends) > version.extends_max:
            fix = f"DTDL v{version.number} allows {version.extends_max}; DTDL v3 allows more"
            page.mistake((*path, "extends"), f"extends {len(extends)} Interfaces", fix)
        schemas = Schemas(page, named_schemas(said, path))
        contents = self._contents(said, path, schemas, contexts, depth)
        shared = self._shared(said, path, schemas)
        words = page.words(said, path, "Interface")
        interface = Interface(
            id=identity,
            name=in_english(words.display, kind_of(identity)),
            extends=extends,
            fields=contents.fields,
            relationships=contents.relationships,
            file=page.file,
            components=contents.components,
            commands=contents.commands,
            schemas=shared,
            semantic=page.types(said, path, ("Interface",))[1],
            contexts=tuple(c for c in contexts[1:] if extension_of(c) is not QUANTITATIVE),
            own=self._own(said, contents),
            words=words,
            version=version.number,
            line=page.lines.of(path),
        )
        self.found.append(interface)
        self._use(contexts)
        return identity

    def _own(self, said: dict[str, Any], contents: _Contents) -> tuple[str, ...]:
        names = (e.get("name") for e in _dicts(said.get("contents")))
        return tuple(dict.fromkeys(n for n in names if isinstance(n, str) and contents.holds(n)))

    def _contexts(self, said: dict[str, Any], path: JsonPath, around: tuple[str, ...]) -> tuple[str, ...]:
        """The language's context first, then its extensions'; () when the language is not one of ours."""
        context = said.get("@context")
        listed = context if isinstance(context, list) else [] if context is None else [context]
        if context is None and around:
            self._use(around)
            return around
        place = (*path, "@context")
        language = next((c for c in listed if isinstance(c, str) and UNSUPPORTED_CONTEXT.fullmatch(c)), None)
        if language not in VERSIONS:
            shown = "is no DTDL" if language is None else f"is a version of DTDL that is not supported: {language}"
            self.page.mistake(place, f"@context {context!r} {shown}", f"use {' or '.join(VERSIONS)}")
            return ()
        if listed[0] != language:
            meaning = f"it is read all the same; DTDL wants {language} first, and other readers may refuse it"
            self.page.notice(place, "the language's context is not the first", meaning)
        contexts = (language, *(c for c in listed if isinstance(c, str) and c != language))
        for other in contexts[1:]:
            known = extension_of(other)
            if known is None:
                self.page.notice(place, f"context {other} is not known", "what it adds has no effect here")
            elif known.meaning:
                self.page.notice(place, f"extension {other}", known.meaning)
        if len(contexts) != len(listed):
            self.page.notice(place, "a context that is no text", "terms that it defines are not read")
        self._use(contexts)
        return contexts

    def _use(self, contexts: tuple[str, ...]) -> None:
        self.page.version = VERSIONS[contexts[0]]
        self.page.extensions = tuple(e for c in contexts[1:] if (e := extension_of(c)) is not None)

    def _identity(self, said: dict[str, Any], path: JsonPath, version: Version) -> str | None:
        identity = said.get("@id")
        place = (*path, "@id")
        if not isinstance(identity, str) or not version.dtmi.fullmatch(identity):
            self.page.mistake(place, f"@id {identity!r} is not a DTMI", "use the form dtmi:company:area:Name;1")
            return None
        if len(identity) > INTERFACE_ID_MAX:
            self.page.mistake(
                place, f"@id has {len(identity)} characters", f"an Interface's has {INTERFACE_ID_MAX} at most"
            )
        self.page.claim(identity, path)
        if identity.startswith(RESERVED):
            self.page.mistake(place, f"@id {identity} is reserved for the language", "begin with your own name")
        return identity

    def _check_size(self, said: dict[str, Any], path: JsonPath, version: Version) -> None:
        if len(self.page.text) <= version.size_max // 4:  # no character takes more than 4 bytes
            return
        size = len(json.dumps(said, ensure_ascii=False).encode(errors="replace"))
        if size > version.size_max:
            self.page.mistake(path, f"an Interface of {size} bytes", f"DTDL allows {version.size_max}; split it")

    def _references(
        self, said: dict[str, Any], path: JsonPath, key: str, contexts: tuple[str, ...], depth: int
    ) -> tuple[str, ...]:
        """Ids of Interfaces under a key: named, or written in place."""
        value = said.get(key)
        listed = value if isinstance(value, list) else [] if value is None else [value]
        found: list[str] = []
        for index, inner in enumerate(listed):
            place = (*path, key, index) if isinstance(value, list) else (*path, key)
            identity = self._reference(inner, place, contexts, depth)
            if identity in found:
                self.page.mistake(place, f"{identity} stands twice in {key}", "keep one of them")
            elif identity is not None:
                found.append(identity)
        return tuple(found)

    def _reference(self, said: Any, path: JsonPath, contexts: tuple[str, ...], depth: int) -> str | None:
        said = self.page.one(said)
        if isinstance(said, dict) and set(said) != {"@id"}:
            identity = self.interface(said, path, contexts, depth + 1)
            self._use(contexts)
            return identity
        name = said.get("@id") if isinstance(said, dict) else said
        if self.page.is_dtmi(name):
            return str(name)
        self.page.mistake(path, f"{str(name)[:80]!r} names no Interface", "write its DTMI")
        return None

    # --- contents ----------------------------------------------------------------------------------------------------

    def _contents(
        self, said: dict[str, Any], path: JsonPath, schemas: Schemas, contexts: tuple[str, ...], depth: int
    ) -> _Contents:
        page, contents = self.page, _Contents({}, {}, {}, {})
        for element, place in page.elements(said, path, "contents"):
            kind, semantic = page.types(element, place, CONTENTS)
            name = page.name(element, place, kind or "an element")
            if not kind:
                page.mistake(place, f"{name} has @type {element.get('@type')!r}", f"one of {', '.join(CONTENTS)}")
            elif name is None:
                continue
            elif contents.holds(name):
                page.mistake(place, f"{name} is declared twice", "keep one of them")
            elif kind == "Relationship":
                contents.relationships[name] = self._relationship(element, place, name, semantic, schemas)
            elif kind == "Command":
                contents.commands[name] = self._command(element, place, name, semantic, schemas)
            elif kind == "Component":
                inner = self._reference(element.get("schema"), (*place, "schema"), contexts, depth)
                if inner is not None:
                    words = page.words(element, place, "Component")
                    contents.components[name] = Component(name, inner, semantic, words)
            else:
                field = self._field(element, place, kind, name, semantic, schemas)
                if field is not None:
                    contents.fields[name] = field
        return contents

    def _field(
        self,
        said: dict[str, Any],
        path: JsonPath,
        kind: str,
        name: str,
        semantic: tuple[str, ...],
        schemas: Schemas,
    ) -> Field | None:
        page = self.page
        schema = schemas.read(said.get("schema"), (*path, "schema"))
        if schema is None:
            return None
        if kind == "Property" and not page.version.arrays_in_properties and has_array(schema):
            fix = "make it Telemetry, or write the Interface in DTDL v3"
            page.mistake((*path, "schema"), f"{name}: a Property holds no Array in DTDL v2", fix)
        measured = [s for s in semantic if s in DIMENSIONS_OF_SEMANTIC]
        unit = schemas.unit(said, path, schema, semantic)
        if measured and not is_numeric(schema) and not measured[0].endswith("Vector"):
            page.mistake((*path, "schema"), f"{name}: {measured[0]} is a number", "use a numeric schema")
        elif measured and "unit" not in said and not measured[0].endswith("Vector"):
            page.notice(path, f"{name}: {measured[0]} without unit", "its values are taken without a unit")
        writable = kind == "Property" and page.flag(said, path, "writable")
        words = page.words(said, path, kind)
        return Field(name, kind, point_type(schema), unit, writable, schema, semantic, "", words)

    def _relationship(
        self, said: dict[str, Any], path: JsonPath, name: str, semantic: tuple[str, ...], schemas: Schemas
    ) -> RelationshipRule:
        page = self.page
        target = self.page.one(said.get("target"))
        if target is not None and not page.is_dtmi(target):
            page.mistake((*path, "target"), f"target {target!r} is not a DTMI", "name an Interface, or leave it out")
            target = None
        least, most = self._multiplicity(said, path)
        properties: dict[str, Field] = {}
        found = page.elements(said, path, "properties")
        limit = page.version.relationship_properties_max
        if limit is not None and len(found) > limit:
            page.mistake((*path, "properties"), f"{len(found)} properties", f"DTDL v2 allows {limit}")
        for element, place in found:
            kind, types = page.types(element, place, ("Property",))
            inner = page.name(element, place, "Property")
            if kind != "Property":
                page.mistake(place, f"{inner} has @type {element.get('@type')!r}", "a Relationship has Properties only")
            elif inner in properties:
                page.mistake(place, f"{inner} is declared twice", "keep one of them")
            elif inner is not None and (field := self._field(element, place, "Property", inner, types, schemas)):
                properties[inner] = field
        if properties:
            page.notice((*path, "properties"), f"properties of relationship {name}", "kept; no point is made of them")
        return RelationshipRule(
            name, target, least, most, tuple(properties.values()), page.flag(said, path, "writable"), semantic,
            page.words(said, path, "Relationship"),
        )  # fmt: skip

    def _multiplicity(self, said: dict[str, Any], path: JsonPath) -> tuple[int | None, int | None]:
        page, limit = self.page, self.page.version.multiplicity_max
        least, most = said.get("minMultiplicity"), said.get("maxMultiplicity")
        if least is not None and (isinstance(least, bool) or least != 0):
            page.mistake((*path, "minMultiplicity"), f"minMultiplicity {least!r}", "DTDL allows 0 only")
            least = None
        if most is None:
            return least, None
        if isinstance(most, bool) or not isinstance(most, int) or most < 1 or most > (limit or most):
            fix = f"a whole number from 1{f' to {limit}' if limit else ''}"
            page.mistake((*path, "maxMultiplicity"), f"maxMultiplicity {most!r}", fix)
            return least, None
        return least, most

    def _command(
        self, said: dict[str, Any], path: JsonPath, name: str, semantic: tuple[str, ...], schemas: Schemas
    ) -> CommandRule:
        page = self.page
        payloads: dict[str, Member | None] = {}
        for key, kind in (("request", "CommandRequest"), ("response", "CommandResponse")):
            inner = said.get(key)
            payloads[key] = None if inner is None else schemas.member(inner, (*path, key), kind)
        page.notice(path, f"Command {name}", "kept and exported, not callable: commands go to writable Properties")
        if "commandType" in said:
            page.notice((*path, "commandType"), "commandType", "DTDL gives it no meaning any more; it is left out")
        return CommandRule(name, payloads["request"], payloads["response"], semantic, page.words(said, path, "Command"))

    def _shared(self, said: dict[str, Any], path: JsonPath, schemas: Schemas) -> tuple[Schema, ...]:
        found: list[Schema] = []
        for element, place in self.page.elements(said, path, "schemas"):
            if "@id" not in element:
                self.page.mistake(place, "a shared schema without @id", "give it one, or move it to where it is used")
            schema = schemas.read(element, place, (str(element.get("@id")),))
            if schema is not None:
                found.append(schema)
        return tuple(found)


def _dicts(said: Any) -> list[dict[str, Any]]:
    listed = said if isinstance(said, list) else [said]
    return [e for e in listed if isinstance(e, dict)]


def declared(interface: Interface) -> Interface:
    """The Interface with its own contents only: what `parse` gave."""
    own = set(interface.own)
    return replace(
        interface,
        fields={k: v for k, v in interface.fields.items() if k in own},
        relationships={k: v for k, v in interface.relationships.items() if k in own},
        components={k: v for k, v in interface.components.items() if k in own},
        commands={k: v for k, v in interface.commands.items() if k in own},
    )
