"""What anybody may send, whatever it means: every name once, and texts that people can read; pure.

msgspec takes the last of two fields of one name: one reader approves `"value": 1`, another carries out `"value": 9`.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from typing import Any

import msgpack

from control.texts import check_texts
from ledger.strict_json import NESTING_MAX, bounded, once
from twin.errors import BadRequest

_HINTS = re.compile(
    rb"\\u00[0189]|\\u007f|\\u20[26]|\\[bfr]|\x7f|\xc2[\x80-\x9f]|\xe2\x80[\xaa-\xae]|\xe2\x81[\xa6-\xa9]",
    re.IGNORECASE,
)
"""How each control character (control/texts.py) looks in UTF-8 JSON, among others: JSON has no bare ones below U+0020."""

_read_json = json.JSONDecoder(object_pairs_hook=once).decode


def check_depth(raw: bytes) -> None:
    """Before anything is read: an EVM in the same process raises Python's own limit.

    Raises:
        BadRequest: it nests deeper than anything that is taken.
    """
    if raw.count(b"[") + raw.count(b"{") > NESTING_MAX:
        try:
            bounded(raw.decode("utf-8", "replace"))
        except ValueError:
            raise BadRequest("the body nests too deep", "docs/wire.md says what is taken") from None


def check_json(raw: bytes) -> None:
    """`raw` is JSON that msgspec has read: 4 µs for a command, some 50 ms for a megabyte.

    Raises:
        BadRequest: a name stands twice in an object, or a text has control characters; the message names it.
    """
    given = _once(lambda: _read_json(raw.decode()))
    if _HINTS.search(raw):
        check_texts(given)


def check_msgpack(raw: bytes) -> None:
    """`raw` is msgpack that msgspec has read. Raises BadRequest when a name stands twice in a map."""
    _once(lambda: msgpack.unpackb(raw, object_pairs_hook=once, strict_map_key=False, use_list=False))


def _once(read: Callable[[], Any]) -> Any:
    try:
        return read()
    except (ValueError, TypeError, RecursionError) as error:  # TypeError: a map as a name
        raise BadRequest(f"what was sent is not clear: {error}", "say each name once") from None


def check_query(items: Sequence[tuple[str, str]]) -> None:
    """
    Raises:
        BadRequest: a parameter stands twice: no reader of two agrees with every other.
    """
    seen: set[str] = set()
    for name, _ in items:
        if name in seen:
            raise BadRequest(f"query parameter {name[:80]!r} stands twice", "give it once; lists go with commas")
        seen.add(name)
