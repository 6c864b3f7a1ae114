"""The auditor's side of erased persons: entries with names where they can be opened, and what stores may say instead.

A store that was told to forget a person calls them "(erased N)", where N is the index of the entry that says so. Must
not know any store.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from control.audit_index import ERASED_NAME
from control.authors import is_person
from control.entry_kinds import renamed
from control.evidence import ERASURE, opened
from ledger.entry import JSON, Entry
from ledger.personal import SALTS, Salts, is_sealed

_ALIAS = re.compile(r"\(erased (\d{1,18})\)")


def alias(index: int) -> str:
    """What stores call a person whose erasure is entry `index`: each another, so that keys of theirs never meet."""
    return f"(erased {index})"


def is_alias(name: str) -> bool:
    return _ALIAS.fullmatch(name) is not None


def subjects_of(known: Iterable[str], name: str) -> list[str]:
    """Everything that stands for one account: by itself, and through each face (`opcua:ann`)."""
    through = re.compile(rf"[\w.-]+:{re.escape(name)}")
    return [subject for subject in known if subject == name or through.fullmatch(subject)]


class Persons:
    """Args: the ledger's folder, and its entries as recorded."""

    def __init__(self, directory: Path, entries: Mapping[int, Entry]) -> None:
        self._salts = Salts(directory, read_only=True)
        self.missing = not (directory / SALTS).exists() and any(
            is_sealed(word) for entry in entries.values() for word in entry.body.values()
        )
        self._erased = {i: str(e.body.get("person", "")) for i, e in entries.items() if e.kind == ERASURE}

    def entries(self, recorded: Mapping[int, Entry]) -> dict[int, Entry]:
        """With names; "(erased)" for who cannot be opened."""
        return {index: opened(entry, self._salts) for index, entry in recorded.items()}

    def named(self, said: str) -> str:
        """What a store says of a person, as `entries` would: "(erased)" only where an entry says so."""
        if self.missing and is_person(said):
            return ERASED_NAME  # nobody's name can be compared
        found = _ALIAS.fullmatch(said)
        if found is None or int(found[1]) not in self._erased:
            return said
        # While an erasure is under way the stores forget first.
        return self._salts.opened(self._erased[int(found[1])]) or ERASED_NAME

    def body(self, kind: str, said: Mapping[str, JSON]) -> Mapping[str, JSON]:
        """A body as a store would have it recorded, named likewise."""
        return renamed(kind, said, self.named)

    def problems(self) -> list[dict[str, str]]:
        """No file of secrets, and erasures after which the person can still be opened: a kill came in between."""
        if self.missing:
            what = "is missing: no name in the ledger can be read, and none was compared"
            return [{"place": f"ledger/{SALTS}", "what": what, "hint": "restore it from a copy"}]
        told = "says that somebody was erased, whose name can still be read"
        return [
            {"place": f"ledger, entry {index}", "what": told, "hint": "`twinloop audit erase` that name again"}
            for index, person in self._erased.items() if self._salts.opened(person) is not None
        ]  # fmt: skip

    def close(self) -> None:
        self._salts.close()
