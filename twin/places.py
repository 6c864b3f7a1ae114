"""Where things stand in a plant's files, so that a mistake can name its line; must not know what a plant means."""

from __future__ import annotations

import re
from dataclasses import dataclass, field

from twin.errors import Mistake

_TABLE = re.compile(r"^\s*(\[\[?)\s*([\w.\"-]+)\s*\]\]?")
_KEY = re.compile(r"^\s*(\"[^\"]+\"|[\w.-]+)\s*=")


@dataclass(slots=True)
class Mistakes:
    """Collects every mistake, so that all are reported at once."""

    found: list[Mistake] = field(default_factory=list)

    def add(self, file: str, line: int, message: str, fix: str) -> None:
        mistake = Mistake(file, line, message, fix)
        if mistake not in self.found:
            self.found.append(mistake)


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


def line_of(text: str, near: str) -> int:
    """The line where `near` first stands as a value, else as anything, else 1."""
    if near:
        for pattern in (re.compile(r":\s*" + re.escape(near)), re.compile(re.escape(near))):
            found = pattern.search(text)
            if found:
                return text.count("\n", 0, found.start()) + 1
    return 1
