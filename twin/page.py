"""One document while it is read: where in it mistakes and notices stand; must not know what the document means."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import Any

from twin.dtdl_rules import (
    COMMENT_MAX,
    DESCRIPTION_MAX,
    DISPLAY_MAX,
    DTMI_MAX,
    KEYS,
    NEWEST,
    SAME_TYPE,
    Extension,
    Version,
    plain_key,
    term_of,
)
from twin.errors import Mistake, Notice
from twin.interface import NAME
from twin.nearest import nearest
from twin.places import JsonLines, JsonPath, line_of
from twin.units import DIMENSIONS_OF_SEMANTIC
from twin.words import DEFAULT_LANGUAGE, LocalText, Words

DEPTH_MAX = 100  # the language allows some twenty levels
_BRACKETS = re.compile(r'"(?:[^"\\]|\\.)*"?|[{}\[\]]')
TEXT_MAX = 64 << 20  # characters of one file: far more than the largest published ontology in one piece


@dataclass
class Page:
    """Collects what is wrong and what is not supported in one text, each with its line."""

    file: str
    text: str
    mistakes: list[Mistake] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)
    version: Version = NEWEST
    extensions: tuple[Extension, ...] = ()
    _ids: dict[str, JsonPath] = field(default_factory=dict)

    @cached_property
    def lines(self) -> JsonLines:
        return JsonLines(self.text, plain_key)

    def read(self) -> Any:
        """The text's JSON value; None when it has none, which is then a mistake."""
        try:
            if len(self.text) > TEXT_MAX:
                raise ValueError(f"{len(self.text)} characters; {TEXT_MAX} are the limit")
            if _depth(self.text) > DEPTH_MAX:
                raise ValueError(f"nested deeper than {DEPTH_MAX}")
            return json.loads(self.text, object_pairs_hook=self._object)
        except json.JSONDecodeError as error:
            found = Mistake(self.file, error.lineno, f"not JSON: {error.msg}", "mend the syntax at this line")
        except (ValueError, RecursionError) as error:
            found = Mistake(self.file, 1, f"not readable: {error}", "make it smaller and less deep")
        self.mistakes.append(found)
        return None

    def _object(self, pairs: list[tuple[str, Any]]) -> Any:
        """One JSON object, its keys as plain terms; JSON-LD's `{"@value": 3}` is the value itself."""
        made: dict[str, Any] = {}
        for key, value in pairs:
            plain = plain_key(key)
            if plain in made:
                line = line_of(self.text, f'"{key}"')
                self.mistakes.append(Mistake(self.file, line, f"key {key!r} stands twice in one object", "keep one"))
            made[plain] = value
        if "@value" not in made:
            return made
        value, language = made["@value"], made.get("@language")
        return {language: value} if isinstance(language, str) and isinstance(value, str) else value

    def mistake(self, path: JsonPath, message: str, fix: str) -> None:
        found = Mistake(self.file, self.lines.of(path), message, fix)
        if found not in self.mistakes:
            self.mistakes.append(found)

    def notice(self, path: JsonPath, what: str, meaning: str) -> None:
        found = Notice(self.file, self.lines.of(path), what, meaning)
        if found not in self.notices:
            self.notices.append(found)

    # --- what every element has ---------------------------------------------------------------------------------------

    def types(self, element: dict[str, Any], path: JsonPath, allowed: Iterable[str]) -> tuple[str, tuple[str, ...]]:
        """(the one of `allowed` that it is, "" for none, its semantic types); says what is wrong or not known."""
        said = element.get("@type")
        listed = said if isinstance(said, list) else [] if said is None else [said]
        names = [term_of(t) for t in listed if isinstance(t, str)]
        kinds = [k for k in allowed if k in names or any(k in SAME_TYPE.get(n, ()) for n in names)]
        if len(names) != len(listed):
            self.mistake((*path, "@type"), f"@type {said!r} is not text", "write the names of types")
        if len(kinds) > 1:
            self.mistake(
                (*path, "@type"), f"@type {said!r} is several things at once", f"keep one of {', '.join(kinds)}"
            )
        semantic = tuple(n for n in names if n not in allowed and n not in SAME_TYPE)
        for name in semantic:
            if name not in DIMENSIONS_OF_SEMANTIC and not any(name in e.types for e in self.extensions):
                hint = nearest(name, [*DIMENSIONS_OF_SEMANTIC, *(t for e in self.extensions for t in e.types)])
                self.notice(
                    (*path, "@type"), f"type {name} is not known", hint or "kept for export, without effect here"
                )
        return kinds[0] if kinds else "", semantic

    def words(self, element: dict[str, Any], path: JsonPath, kind: str) -> Words:
        """Names and descriptions, and the keys of extensions; unknown keys are named."""
        identity = element.get("@id", "")
        if kind != "Interface" and identity and not self.is_dtmi(identity):
            self.mistake((*path, "@id"), f"@id {identity!r} is not a DTMI", "use the form dtmi:company:area:name;1")
            identity = ""
        if kind != "Interface" and identity:
            self.claim(identity, path)
        comment = element.get("comment", "")
        if not isinstance(comment, str) or len(comment) > COMMENT_MAX:
            self.mistake(
                (*path, "comment"), "comment is not a text in limits", f"text of at most {COMMENT_MAX} characters"
            )
            comment = ""
        return Words(
            self._local(element, path, "displayName", DISPLAY_MAX),
            self._local(element, path, "description", DESCRIPTION_MAX),
            comment,
            "" if kind == "Interface" else str(identity),
            self._extra(element, path, kind),
        )

    def _extra(self, element: dict[str, Any], path: JsonPath, kind: str) -> tuple[tuple[str, str], ...]:
        kept: list[tuple[str, str]] = []
        for key in element.keys() - KEYS[kind]:
            if key == "@graph":
                self.mistake((*path, key), "@graph has no place in DTDL", "remove it")
                continue
            if key == "@context":
                self.notice(
                    (*path, key), "a context inside an element", "what it adds is not known here: name it above"
                )
                continue
            meaning = next((e.meaning for e in self.extensions if key in e.keys), None)
            if meaning:
                kept.append((key, json.dumps(element[key], sort_keys=True, separators=(",", ":"))))
                self.notice((*path, key), f"{key} belongs to a language extension", meaning)
            else:
                hint = nearest(key, [k for k in KEYS[kind] if not k.startswith("@")])
                meaning = f"{hint} It is left out" if hint else "it is left out"
                self.notice((*path, key), f"{kind} has no key {key!r}", meaning)
        return tuple(sorted(kept))

    def _local(self, element: dict[str, Any], path: JsonPath, key: str, limit: int) -> LocalText:
        said = element.get(key)
        if said is None:
            return ()
        if isinstance(said, list) and all(isinstance(part, dict) for part in said):
            said = {language: text for part in said for language, text in part.items()}
        pairs = said if isinstance(said, dict) else {DEFAULT_LANGUAGE: said}
        for language, text in pairs.items():
            if not isinstance(text, str):
                self.mistake((*path, key), f"{key} {text!r} is not text", 'write text, or { "en": text }')
                return ()
            if len(text) > limit:
                place = (*path, key, language) if isinstance(said, dict) else (*path, key)
                self.mistake(place, f"{key} has {len(text)} characters", f"at most {limit}")
        return tuple(pairs.items())

    def name(self, element: dict[str, Any], path: JsonPath, what: str) -> str | None:
        """The element's name when the language allows it."""
        name = element.get("name")
        if name is None:
            self.mistake(path, f"{what} without name", 'add "name": …')
        elif not isinstance(name, str) or not NAME.match(name):
            self.mistake(
                (*path, "name"), f"name {name!r} is not allowed in DTDL", "letters, digits and _, letter first"
            )
        elif len(name) > self.version.name_max:
            limit = f"DTDL v{self.version.number} allows {self.version.name_max}"
            self.mistake((*path, "name"), f"the name {name[:40]}… has {len(name)} characters", limit)
        else:
            return name
        return None

    def flag(self, element: dict[str, Any], path: JsonPath, key: str) -> bool:
        said = element.get(key, False)
        if not isinstance(said, bool):
            self.mistake((*path, key), f"{key} {said!r} is neither true nor false", "write true or false")
        return said is True

    def elements(self, element: dict[str, Any], path: JsonPath, key: str) -> list[tuple[dict[str, Any], JsonPath]]:
        """The objects under a key that holds one object or a list of them, with their paths."""
        said = element.get(key)
        if said is None:
            return []
        listed = said if isinstance(said, list) else [said]
        found = []
        for index, inner in enumerate(listed):
            place = (*path, key, index) if isinstance(said, list) else (*path, key)
            if isinstance(inner, dict):
                found.append((inner, place))
            else:
                self.mistake(place, f"{str(inner)[:80]!r} in {key} is not an object", "use { … }")
        return found

    def claim(self, identity: str, path: JsonPath) -> None:
        """An id belongs to one element; reading the same element again claims nothing new."""
        first = self._ids.setdefault(identity, path)
        if first != path:
            where = f"line {self.lines.of(first)} has it already"
            self.mistake((*path, "@id"), f"@id {identity} is used twice", where)

    def one(self, said: Any) -> Any:
        """The value itself of what may be a list of one, which JSON-LD does not tell apart."""
        return said[0] if isinstance(said, list) and len(said) == 1 else said

    def is_dtmi(self, said: Any) -> bool:
        return isinstance(said, str) and len(said) <= DTMI_MAX and self.version.dtmi.fullmatch(said) is not None


def _depth(text: str) -> int:
    """How deep brackets nest outside of strings. The parser's own guard is the interpreter's, which libraries raise."""
    depth = deepest = 0
    for found in _BRACKETS.finditer(text):
        match found[0][0]:
            case "{" | "[":
                depth += 1
                deepest = max(deepest, depth)
            case "}" | "]":
                depth -= 1
    return deepest
