"""One ledger entry as a value and as canonical bytes: the same entry is the same bytes, for ever.

Must not know files, hashes or what an entry means to a plant.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

from ledger.errors import EntryError, EntryTooLarge

JSON: TypeAlias = "bool | int | float | str | list[JSON] | dict[str, JSON] | None"

VERSION = 2  # 2: whoever is named is a salted hash, and bodies are as docs/evidence.md has them. Nothing else differs.
VERSIONS = (1, 2)
ENTRY_BYTES_MAX = 65_535  # C2SP tlog-tiles prefixes an entry with a uint16 length
TIME_NS_MAX = 2**63 - 1  # an int64, as every reader of the log has it
DEPTH_MAX = 32  # far beyond any body we write; keeps every reader's recursion finite
CHAIN_KIND = "chain"  # says at which contract the log is anchored from then on: the verifier looks for its receipts
_FIELDS = {"v", "kind", "time_ns", "body"}


@dataclass(frozen=True)
class Entry:
    """What happened (`kind`), when (`time_ns`, Unix nanoseconds, UTC) and its particulars (`body`)."""

    kind: str
    time_ns: int
    body: Mapping[str, JSON]
    version: int = VERSION


def encode(entry: Entry) -> bytes:
    """The canonical bytes: UTF-8 JSON, keys sorted, no spaces, floats by `repr`.

    Raises EntryError naming the key that JSON cannot hold, EntryTooLarge above 65,535 bytes.
    """
    if not isinstance(entry.kind, str) or not entry.kind:
        raise EntryError(f"kind: expected a non-empty text, got {entry.kind!r}")
    if not isinstance(entry.time_ns, int) or isinstance(entry.time_ns, bool) or not 0 <= entry.time_ns <= TIME_NS_MAX:
        raise EntryError(f"time_ns: expected whole nanoseconds since 1970, before 2262, got {entry.time_ns!r}")
    if entry.version not in VERSIONS:
        raise EntryError(f"version {entry.version!r} cannot be written here, {VERSION} is the newest")
    if not isinstance(entry.body, Mapping):
        raise EntryError(f"body: expected an object of names and values, got a {type(entry.body).__name__}")
    body = entry.body if _is_plain(entry.body, 1) else _plain(entry.body, "body", 1)
    fields = {"v": entry.version, "kind": entry.kind, "time_ns": entry.time_ns, "body": body}
    try:
        text = json.dumps(fields, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        data = text.encode("utf-8")
    except ValueError as error:  # a lone surrogate, or an integer of more than 4,300 digits
        raise EntryError(f"entry {entry.kind!r} has a value that JSON cannot hold: {error}") from error
    if len(data) > ENTRY_BYTES_MAX:
        raise EntryTooLarge(
            f"entry {entry.kind!r} is {len(data):,} bytes, the limit is {ENTRY_BYTES_MAX:,}: "
            "record a hash of the large part and keep the part itself elsewhere"
        )
    return data


def decode(data: bytes) -> Entry:
    """The entry in these bytes; only what `encode` writes is accepted, so two readers cannot read two things."""
    if len(data) > ENTRY_BYTES_MAX:
        raise EntryTooLarge(f"{len(data):,} bytes are no entry, the limit is {ENTRY_BYTES_MAX:,}")
    try:
        fields = json.loads(data.decode("utf-8"))
    except (ValueError, RecursionError) as error:
        raise EntryError(f"not an entry: {error}") from error
    if not isinstance(fields, dict) or set(fields) != _FIELDS:
        raise EntryError(f"not an entry: expected an object with the keys {', '.join(sorted(_FIELDS))}")
    if type(fields["v"]) is not int or fields["v"] not in VERSIONS:
        raise EntryError(f"entry version {fields['v']!r} is not known here (this program reads up to {VERSION})")
    if not isinstance(fields["body"], dict):
        raise EntryError("not an entry: body is not an object")
    entry = Entry(fields["kind"], fields["time_ns"], fields["body"], fields["v"])
    if encode(entry) != data:
        raise EntryError("not an entry: the bytes are not in canonical form")
    return entry


def _is_plain(value: object, depth: int) -> bool:
    """Whether JSON takes it as it is; `_plain`, slower, says what is wrong or makes it so."""
    kind = type(value)
    if kind is str or kind is int or kind is bool or value is None:
        return True
    if kind is float:
        return math.isfinite(value)  # type: ignore[arg-type]
    if depth > DEPTH_MAX:
        return False
    if kind is dict:
        assert isinstance(value, dict)
        return all(type(key) is str and _is_plain(item, depth + 1) for key, item in value.items())
    return kind is list and all(_is_plain(item, depth + 1) for item in value)  # type: ignore[attr-defined]


def _plain(value: object, path: str, depth: int) -> JSON:
    if depth > DEPTH_MAX:
        raise EntryError(f"{path}: nested deeper than {DEPTH_MAX} levels")
    match value:
        case None | bool() | int() | str():
            return value
        case float():
            if not math.isfinite(value):
                raise EntryError(f"{path}: {value!r} is not a number that JSON can hold; record null and say why")
            return value
        case Mapping():
            for key in value:
                if not isinstance(key, str):
                    raise EntryError(f"{path}: the key {key!r} is not a text")
            return {key: _plain(item, f"{path}.{key}", depth + 1) for key, item in value.items()}
        case list() | tuple():
            return [_plain(item, f"{path}[{number}]", depth + 1) for number, item in enumerate(value)]
    raise EntryError(f"{path}: a {type(value).__name__} cannot be recorded; use text, numbers, lists and objects")
