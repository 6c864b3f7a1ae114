"""A proof that travels: one JSON object that shows an entry is in the log, checkable without us.

Must not know chains or the writer; `verify_bundle` needs nothing but the object (and the key the reader trusts).
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.entry import Entry, decode
from ledger.errors import AnchorError, EntryError, LogDamaged, NoteError, NotFound
from ledger.keys import load_verifier
from ledger.merkle import Tree, leaf_hash, verify_consistency, verify_inclusion
from ledger.note import Checkpoint, Verifier, open_checkpoint, parse_verifier
from ledger.problems import Problem
from ledger.reader import read_checkpoint, read_payloads, require_log
from ledger.receipts import Receipt, parse_receipt, read_receipts

if TYPE_CHECKING:
    from ledger.log import Log

FORMAT = "twinloop-proof-1"
_ASK = "ask for the proof again"
_FIELDS = {
    "format",
    "index",
    "entry",
    "inclusion_proof",
    "checkpoint",
    "public_key",
    "anchor",
    "consistency_proof",
}


@dataclass(frozen=True)
class BundleReport:
    """What a bundle proves. `entry` is None when its bytes are no entry of ours; `anchor` when there is none.

    The anchor is a receipt that agrees with the log; whether the chain has it is for the chain to say.
    """

    index: int
    size: int
    key: str | None
    entry: Entry | None
    anchor: Receipt | None
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


def prove(log_dir: Path | str, index: int) -> dict[str, Any]:
    """The bundle for entry `index`, from the files alone. Raises NotFound, LogDamaged, NoteError."""
    directory = Path(log_dir)
    require_log(directory)
    receipts, _ = read_receipts(directory)
    verifier = load_verifier(directory)
    checkpoint, note = read_checkpoint(directory, verifier)
    _refuse_outside(index, checkpoint)
    tree, entry = Tree(), b""
    for number, payload in enumerate(islice(read_payloads(directory), checkpoint.size)):
        tree.append(leaf_hash(payload))
        if number == index:
            entry = payload
    if tree.size < checkpoint.size or tree.root() != checkpoint.root:
        raise LogDamaged(
            f"{directory}: the log is not the one its checkpoint signs; run `python -m ledger verify {directory}`"
        )
    return _bundle(tree, index, entry, checkpoint, note, verifier, receipts)


def prove_from(log: Log, index: int, receipts: Sequence[Receipt]) -> dict[str, Any]:
    """The bundle for entry `index` of an open log, at once: its tree is in memory. Raises NotFound."""
    checkpoint, note = log.signed_note()
    _refuse_outside(index, checkpoint)
    return _bundle(log, index, log.read(index), checkpoint, note, log.verifier, receipts)


def verify_bundle(bundle: Mapping[str, Any], key: str | None = None) -> BundleReport:
    """Whether the bundle proves its entry. Never raises for a malformed bundle: that is a problem too.

    `key` is the verifier key line that the reader trusts; without it the bundle's own key is taken at its word.
    Raises NoteError for a bad `key`.
    """
    trusted = parse_verifier(key) if key is not None else None
    if not isinstance(bundle, Mapping) or bundle.get("format") != FORMAT or set(bundle) != _FIELDS:
        problem = Problem("bundle", f"is not an object of format {FORMAT} with its {len(_FIELDS)} fields", _ASK)
        return BundleReport(0, 0, None, None, None, (problem,))
    problems: list[Problem] = []
    index = bundle["index"] if type(bundle["index"]) is int else -1
    data = _decoded(bundle["entry"])
    verifier, checkpoint = _signed(bundle, trusted, problems)
    size, root = (checkpoint.size, checkpoint.root) if checkpoint is not None else (0, b"")
    proof = _hashes(bundle["inclusion_proof"])
    if data is None or proof is None or not verify_inclusion(leaf_hash(data), index, size, proof, root):
        problems.append(Problem("inclusion_proof", f"does not lead from entry {index} to the signed root", _ASK))
    anchor = _anchored(bundle, index, size, root, problems)
    return BundleReport(
        index=index,
        size=size,
        key=str(verifier) if verifier is not None else None,
        entry=_entry(data),
        anchor=anchor,
        problems=tuple(problems),
    )


def _bundle(
    tree: Tree | Log,
    index: int,
    entry: bytes,
    checkpoint: Checkpoint,
    note: str,
    verifier: Verifier,
    receipts: Sequence[Receipt],
) -> dict[str, Any]:
    anchor = next((receipt for receipt in receipts if index < receipt.size <= checkpoint.size), None)
    consistency = tree.consistency_proof(anchor.size, checkpoint.size) if anchor is not None else []
    return {
        "format": FORMAT,
        "index": index,
        "entry": _encoded(entry),
        "inclusion_proof": [_encoded(step) for step in tree.inclusion_proof(index, checkpoint.size)],
        "checkpoint": note,
        "public_key": str(verifier),
        "anchor": asdict(anchor) if anchor is not None else None,
        "consistency_proof": [_encoded(step) for step in consistency],
    }


def _refuse_outside(index: int, checkpoint: Checkpoint) -> None:
    if not 0 <= index < checkpoint.size:
        raise NotFound(
            f"entry {index} is not under the signed checkpoint of {checkpoint.size} entries: "
            "ask for a smaller index, or wait a second for the next checkpoint"
        )


def _signed(
    bundle: Mapping[str, Any], trusted: Verifier | None, problems: list[Problem]
) -> tuple[Verifier | None, Checkpoint | None]:
    try:
        verifier = parse_verifier(str(bundle["public_key"]))
        if trusted is not None and trusted != verifier:
            problems.append(Problem("public_key", f"is {verifier}, not the key you trust", "do not believe it"))
        return verifier, open_checkpoint(str(bundle["checkpoint"]), trusted or verifier)
    except NoteError as error:
        problems.append(Problem("checkpoint", str(error), _ASK))
        return None, None


def _anchored(bundle: Mapping[str, Any], index: int, size: int, root: bytes, problems: list[Problem]) -> Receipt | None:
    if bundle["anchor"] is None:
        if bundle["consistency_proof"] != []:
            problems.append(Problem("consistency_proof", "proves an anchor that is not here", _ASK))
        return None
    try:
        receipt = parse_receipt(bundle["anchor"])
    except AnchorError as error:
        problems.append(Problem("anchor", str(error), _ASK))
        return None
    if receipt.size <= index:
        problems.append(Problem("anchor", f"covers {receipt.size} entries, entry {index} is not among them", _ASK))
    proof = _hashes(bundle["consistency_proof"])
    if proof is None or not verify_consistency(receipt.size, receipt.root_bytes(), size, root, proof):
        problems.append(Problem("consistency_proof", "does not lead from the anchored root to the signed root", _ASK))
    return receipt


def _entry(data: bytes | None) -> Entry | None:
    try:
        return decode(data) if data is not None else None
    except EntryError:
        return None  # the log keeps bytes; that these are in it is proved all the same


def _encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if _encoded(data) == text else None


def _hashes(value: object) -> list[bytes] | None:
    if not isinstance(value, list):
        return None
    steps = [_decoded(step) for step in value]
    return None if None in steps else [step for step in steps if step is not None]
