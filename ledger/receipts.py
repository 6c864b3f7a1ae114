"""Anchor receipts: what a chain answered when it recorded a root, one JSON line each in `anchors.jsonl`.

Must not know chains or trees; reads lines, and checks only that they follow on each other.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any

from ledger.errors import AnchorError
from ledger.files import ANCHORS


@dataclass(frozen=True)
class Receipt:
    """Anchor `number` (from 0) of a contract: the log had `root` at `size` entries, recorded in `block`.

    `block_time_s` is the block's own clock, Unix seconds (it runs ahead while anchors are less than a second apart,
    because blocks of one chain never share a second). Roots, hashes and addresses are hex with 0x.
    """

    number: int
    size: int
    root: str
    block: int
    block_time_s: int
    tx_hash: str
    log_index: int
    gas_used: int
    chain_id: int
    contract: str

    def root_bytes(self) -> bytes:
        return bytes.fromhex(self.root.removeprefix("0x"))

    def line(self) -> str:
        return json.dumps(asdict(self), sort_keys=True) + "\n"


def once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """For JSON: a name that stands twice means one thing to one reader and another to the next. Raises ValueError."""
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("a name stands twice in one object")
    return found


_TEXTS = {"root": 32, "tx_hash": 32, "contract": 20}  # bytes of each hex field
_NAMES = {field.name for field in fields(Receipt)}


def parse_receipt(value: Any) -> Receipt:
    """The receipt in a JSON object. Raises AnchorError naming the field."""
    if not isinstance(value, dict) or set(value) != _NAMES:
        raise AnchorError(f"not an anchor receipt: expected an object with the fields {', '.join(sorted(_NAMES))}")
    for name, field in value.items():
        if name in _TEXTS:
            if not _is_hex(field, _TEXTS[name]):
                raise AnchorError(f"anchor receipt: {name} is not {_TEXTS[name]} bytes of hex with 0x")
        elif not isinstance(field, int) or isinstance(field, bool) or field < 0:
            raise AnchorError(f"anchor receipt: {name} is not a count")
    return Receipt(**value)


def read_receipts(directory: Path) -> tuple[list[Receipt], int]:
    """The receipts of a log in order, and the length in bytes of the whole lines that hold them.

    What follows the last newline was being written when the process ended and was never acknowledged.
    Raises AnchorError with the line number for any other line that is no receipt or does not follow.
    """
    path = directory / ANCHORS
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        return [], 0
    except OSError as error:
        raise AnchorError(f"{path} cannot be read: {error.strerror}") from error
    whole = data[: data.rfind(b"\n") + 1]
    receipts: list[Receipt] = []
    for number, line in enumerate(whole.split(b"\n")[:-1], 1):
        try:
            receipt = parse_receipt(json.loads(line, object_pairs_hook=once))
        except (ValueError, RecursionError, AnchorError) as error:
            raise AnchorError(f"{path}, line {number}: {error}; restore the line from the chain or a copy") from error
        if receipt.number != len(receipts) or (receipts and receipt.size <= receipts[-1].size):
            raise AnchorError(
                f"{path}, line {number}: anchor {receipt.number} of size {receipt.size} does not follow "
                "the line before it; restore the file from the chain or a copy"
            )
        receipts.append(receipt)
    return receipts, len(whole)


def _is_hex(value: object, length: int) -> bool:
    if not isinstance(value, str) or not value.startswith("0x") or value != value.lower():
        return False
    try:
        return len(bytes.fromhex(value[2:])) == length and len(value) == 2 + 2 * length
    except ValueError:
        return False
