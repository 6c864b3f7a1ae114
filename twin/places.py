"""Where things stand in a plant's files, so that a mistake can name its line; must not know what a plant means."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass, field

from twin.errors import BadPlant, Mistake

_TABLE = re.compile(r"^\s*(\[\[?)\s*([\w.\"-]+)\s*\]\]?")
_KEY = re.compile(r"^\s*(\"[^\"]+\"|[\w.-]+)\s*=")
_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]:,\n]|[^\s{}\[\]:,"]+')
JsonPath = tuple[str | int, ...]
MISTAKES_MAX = 1_000  # more than anybody reads; a large sheet with one wrong column has one a row


@dataclass(slots=True)
class Mistakes:
    """Collects every mistake once, so that all are reported at once."""

    found: list[Mistake] = field(default_factory=list)
    _seen: set[Mistake] = field(default_factory=set)

    def add(self, file: str, line: int, message: str, fix: str) -> None:
        """
        Raises:
            BadPlant: with this there are MISTAKES_MAX.
        """
        mistake = Mistake(file, line, message, fix)
        if mistake in self._seen:
            return
        self._seen.add(mistake)
        self.found.append(mistake)
        if len(self.found) >= MISTAKES_MAX:
            raise BadPlant(
                [*self.found, Mistake(file, line, f"{MISTAKES_MAX} mistakes: stopped here", "mend these first")]
            )


class TomlLines:
    """Line numbers of tables and keys in a TOML text (tomllib keeps none). Lines count from 1."""

    def __init__(self, text: str) -> None:
        self._tables: dict[tuple[str, int], int] = {}
        self._keys: dict[tuple[str, int, str], int] = {}
        counts: dict[str, int] = {}
        table, index = "", 0
        for number, line in enumerate(text.splitlines(), 1):
            header, key = _TABLE.match(line), _KEY.match(line)
            if header:
                table = header.group(2)
                index = counts.get(table, 0) if header.group(1) == "[[" else 0
                counts[table] = index + 1
                self._tables[table, index] = number
            elif key:
                self._keys[table, index, key.group(1).strip('"')] = number

    def of(self, table: str, index: int = 0, key: str = "") -> int:
        """The key's line, else its table's, else 1."""
        return self._keys.get((table, index, key)) or self._tables.get((table, index)) or 1


class JsonLines:
    """Line numbers of all values in a JSON text that has been read without error. Lines count from 1."""

    def __init__(self, text: str, renamed: Callable[[str], str] = str) -> None:
        """
        Args:
            renamed: what keys were called when the text was read.
        """
        self._lines: dict[JsonPath, int] = {(): 1}
        path: list[str | int] = []  # the last part: a key, or the index of the element that comes next
        line, is_key = 1, False
        for token in _JSON_TOKEN.findall(text):
            if token == "\n":
                line += 1
            elif token in ("{", "["):
                self._lines.setdefault(tuple(path), line)
                path.append("" if token == "{" else 0)
                is_key = token == "{"
            elif token in ("}", "]"):
                path.pop()
                is_key = False
            elif token == ",":
                last = path[-1]
                is_key = isinstance(last, str)
                path[-1] = "" if isinstance(last, str) else last + 1
            elif token == ":":
                is_key = False
            elif is_key:
                path[-1] = renamed(json.loads(token))
                self._lines[tuple(path)] = line
            else:
                self._lines.setdefault(tuple(path), line)

    def of(self, path: JsonPath) -> int:
        """The line of what stands at the path, else of the innermost thing around it."""
        while path not in self._lines:
            path = path[:-1]
        return self._lines[path]


def json_path(path: JsonPath) -> str:
    """`contents[2].schema`, "" for the whole document."""
    return "".join(f"[{p}]" if isinstance(p, int) else f".{p}" for p in path).lstrip(".")


def line_of(text: str, near: str, after: int = 1) -> int:
    """The line, from line `after` on, where `near` first stands as a value, else as anything, else `after`."""
    start = 0
    for _ in range(after - 1):
        start = text.find("\n", start) + 1 or len(text)
    if near:
        for pattern in (re.compile(r":\s*" + re.escape(near)), re.compile(re.escape(near))):
            found = pattern.search(text, start)
            if found:
                return text.count("\n", 0, found.start()) + 1
    return after
