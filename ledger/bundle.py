"""A proof that travels: one JSON object that shows entries are in the log, checkable without us.

Must not know how a bundle is made; `verify_bundle` needs nothing but the object (and the key the reader trusts).
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from ledger.batch_rows import Reading, RowsError, parse_rows
from ledger.cosignature import Cosignature, Witness, cosignatures, parse_witness
from ledger.entry import Entry, decode
from ledger.errors import AnchorError, EntryError, NoteError
from ledger.merkle import leaf_hash, verify_consistency, verify_inclusion
from ledger.node_anchors import check_receipt
from ledger.note import Checkpoint, Verifier, open_checkpoint, parse_verifier
from ledger.problems import Problem, utc
from ledger.receipts import Receipt, parse_receipt

FORMAT = "twinloop-proof-3"
_FORMAT_1, _FORMAT_2 = "twinloop-proof-1", "twinloop-proof-2"  # one entry, 1 without `sha256`; verified for ever
_ASK = "ask for the proof again"
_COMMON = {"format", "checkpoint", "public_key", "anchor", "consistency_proof"}
_ONE = {"index", "entry", "inclusion_proof"}
DIGEST = "sha256"  # over all other fields: finds a flipped byte where no signature reaches, and proves nothing
_FIELDS = {
    _FORMAT_1: _COMMON | _ONE,
    _FORMAT_2: _COMMON | _ONE | {DIGEST},
    FORMAT: _COMMON | {"about", "entries", "data", DIGEST},
}
ENTRIES_MAX = 1_000  # a command has some ten; its entries are read one by one
_ABOUT = {
    "entry": {"kind", "index"},
    "command": {"kind", "id"},
    "batch": {"kind", "batch"},
    "reading": {"kind", "batch", "point", "source_time_ns"},
}
COMMAND = "command"
COMMAND_KINDS = (COMMAND, "prediction", "prediction.score")  # of the life of a command, all with its `id`
BATCH_KIND = "history.batch"


@dataclass(frozen=True)
class Proved:
    """An entry under the checkpoint; `entry` is None when its bytes are no entry of ours."""

    index: int
    entry: Entry | None


@dataclass(frozen=True)
class BundleReport:
    """What a bundle proves, in words: `checked` holds, `unchecked` nobody looked at, `problems` do not hold.

    `about` says what it is of; `anchor` is a receipt that agrees with the log, None when there is none; `chain` is
    "ok" only when a node was asked. `reading` is the row that a bundle of a reading shows.
    """

    about: str
    entries: tuple[Proved, ...]
    size: int
    key: str | None
    anchor: Receipt | None
    problems: tuple[Problem, ...]
    cosignatures: tuple[Cosignature, ...] = ()
    reading: Reading | None = None
    chain: str = "not checked"
    checked: tuple[str, ...] = ()
    unchecked: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return not self.problems

    @property
    def index(self) -> int:
        """The first entry's; -1 without one."""
        return self.entries[0].index if self.entries else -1

    @property
    def entry(self) -> Entry | None:
        """The first one."""
        return self.entries[0].entry if self.entries else None


@dataclass
class _Found:
    """What the checks say, gathered in their order."""

    problems: list[Problem] = field(default_factory=list)
    checked: list[str] = field(default_factory=list)
    unchecked: list[str] = field(default_factory=list)

    def wrong(self, place: str, what: str, hint: str = _ASK) -> None:
        self.problems.append(Problem(place, what, hint))


def verify_bundle(
    bundle: Mapping[str, Any], key: str | None = None, witnesses: Sequence[str] = (), rpc: str | None = None
) -> BundleReport:
    """Whether the bundle proves its entries. Never raises for a malformed bundle: that is a problem too.

    `key` is the verifier key line that the reader trusts; without it the bundle's own key is taken at its word.
    Of `witnesses` (verifier key lines) a cosignature must be there. The node at `rpc` must have the anchor. Raises
    NoteError for a bad `key` or witness.
    """
    trusted = parse_verifier(key) if key is not None else None
    asked = [parse_witness(line) for line in witnesses]
    found = _Found()
    if not isinstance(bundle, Mapping) or not _is_known(bundle):
        found.wrong("bundle", f"is not an object of format {FORMAT} with its {len(_FIELDS[FORMAT])} fields")
        return BundleReport("", (), 0, None, None, tuple(found.problems))
    verifier, checkpoint = _signed(bundle, trusted, found)
    size, root = (checkpoint.size, checkpoint.root) if checkpoint is not None else (0, b"")
    entries = _included(bundle, size, root, found)
    about, reading = _about(bundle, entries, found)
    anchor = _anchored(bundle, entries, size, root, found)
    seen = _cosigned(bundle, asked, found)
    if not found.problems and bundle["format"] != _FORMAT_1 and bundle[DIGEST] != digest(bundle):
        found.wrong(DIGEST, "is not that of the other fields: this or one of the anchor's changed")
    chain = _on_chain(anchor, rpc, found)
    found.unchecked.append("whether what was recorded is true, and whether all that happened was recorded")
    return BundleReport(
        about=about,
        entries=tuple(entries),
        size=size,
        key=str(verifier) if verifier is not None else None,
        anchor=anchor,
        problems=tuple(found.problems),
        cosignatures=seen,
        reading=reading,
        chain=chain,
        checked=tuple(found.checked),
        unchecked=tuple(found.unchecked),
    )


def digest(bundle: Mapping[str, Any]) -> str:
    """SHA-256 over the JSON of the other fields, keys sorted, no spaces, ASCII."""
    rest = {name: value for name, value in bundle.items() if name != DIGEST}
    try:
        text = json.dumps(rest, sort_keys=True, separators=(",", ":"))
    except (ValueError, TypeError, RecursionError):  # nothing that came as JSON in a file of sane size
        return ""
    return hashlib.sha256(text.encode()).hexdigest()


def _is_known(bundle: Mapping[str, Any]) -> bool:
    form = bundle.get("format")
    return isinstance(form, str) and set(bundle) == _FIELDS.get(form)


def _signed(
    bundle: Mapping[str, Any], trusted: Verifier | None, found: _Found
) -> tuple[Verifier | None, Checkpoint | None]:
    try:
        verifier = parse_verifier(str(bundle["public_key"]))
        if str(verifier) != bundle["public_key"]:
            raise NoteError("the public key is not on a line of its own")
        if trusted is not None and trusted != verifier:
            found.wrong("public_key", f"is {verifier}, not the key you trust", "do not believe it")
        checkpoint = open_checkpoint(str(bundle["checkpoint"]), trusted or verifier)
    except NoteError as error:
        found.wrong("checkpoint", str(error))
        return None, None
    found.checked.append(f"the checkpoint of {checkpoint.size} entries is signed by {verifier}")
    if trusted is None:
        found.unchecked.append("whether that key is the log's: the bundle says so itself; give --key")
    return verifier, checkpoint


def _included(bundle: Mapping[str, Any], size: int, root: bytes, found: _Found) -> list[Proved]:
    """The entries that lead to the signed root."""
    many = bundle["format"] == FORMAT
    listed = bundle["entries"] if many else [{name: bundle[name] for name in _ONE}]
    if not isinstance(listed, list) or not 0 < len(listed) <= ENTRIES_MAX:
        found.wrong("entries", f"is no list of 1 to {ENTRIES_MAX} entries")
        return []
    proved: list[Proved] = []
    for number, one in enumerate(listed):
        place = f"entries[{number}]" if many else ""
        if not isinstance(one, dict) or set(one) != _ONE:
            found.wrong(place, "does not have the fields index, entry and inclusion_proof")
            continue
        index = one["index"] if type(one["index"]) is int else -1
        data, proof = _decoded(one["entry"]), _hashes(one["inclusion_proof"])
        if data is None or proof is None or not verify_inclusion(leaf_hash(data), index, size, proof, root):
            what = f"does not lead from entry {index} to the signed root"
            found.wrong(f"{place}.inclusion_proof".removeprefix("."), what)
        elif proved and index <= proved[-1].index:
            found.wrong(place, f"entry {index} comes after entry {proved[-1].index}: they are not in order")
        else:
            proved.append(Proved(index, _entry(data)))
    if len(proved) == len(listed):
        which = f"entry {proved[0].index} is" if len(proved) == 1 else f"all {len(proved)} entries are"
        found.checked.append(f"{which} in the log under that checkpoint, byte for byte")
    return proved


def _about(bundle: Mapping[str, Any], entries: Sequence[Proved], found: _Found) -> tuple[str, Reading | None]:
    """What the bundle is of, held against its entries."""
    if bundle["format"] != FORMAT:
        return (f"entry {entries[0].index}" if entries else ""), None
    about, data = bundle["about"], bundle["data"]
    kind = about.get("kind") if isinstance(about, dict) else None
    if not isinstance(kind, str) or set(about) != _ABOUT.get(kind):
        found.wrong("about", f"is of none of the kinds {', '.join(_ABOUT)}")
        return "", None
    if data is not None and kind not in ("batch", "reading"):
        found.wrong("data", f"does not belong to a bundle of kind {kind}")
    if not entries or found.problems:
        return kind, None  # what is wrong with the entries is told
    match kind:
        case "entry":
            if len(entries) != 1 or type(about["index"]) is not int or about["index"] != entries[0].index:
                found.wrong("about", f"does not name the one entry {entries[0].index}")
            return f"entry {entries[0].index}", None
        case "command":
            return _command(about["id"], entries, found), None
        case _:
            return _batch(about, data, entries, found)


def _command(identity: object, entries: Sequence[Proved], found: _Found) -> str:
    bodies = [one.entry.body if one.entry is not None and one.entry.kind in COMMAND_KINDS else {} for one in entries]
    steps = [
        body.get("n") for one, body in zip(entries, bodies, strict=True) if one.entry and one.entry.kind == COMMAND
    ]
    if not isinstance(identity, str) or any(body.get("id") != identity for body in bodies):
        found.wrong("entries", f"are not all of command {str(identity)[:80]}")
    elif not steps or any(type(n) is not int for n in steps) or steps != list(range(len(steps))):
        found.wrong("entries", f"the steps of command {identity} are not 0 to {len(steps) - 1}: one is missing")
    else:
        found.checked.append(f"the steps 0 to {len(steps) - 1} of command {identity} are all here")
        found.unchecked.append("whether the command had later steps than these")
    return f"command {str(identity)[:80]}"


def _batch(
    about: Mapping[str, Any], data: object, entries: Sequence[Proved], found: _Found
) -> tuple[str, Reading | None]:
    batch = about["batch"]
    entry = entries[0].entry
    if len(entries) != 1 or entry is None or entry.kind != BATCH_KIND:
        found.wrong("entries", f"are not the one entry {BATCH_KIND} of a batch")
    elif type(batch) is not int or type(entry.body.get("batch")) is not int or entry.body["batch"] != batch:
        found.wrong("about", f"entry {entries[0].index} is of another batch")
    elif data is None:
        if about["kind"] == "reading":
            found.wrong("data", "is missing: nothing shows the reading")
        found.unchecked.append(f"the rows of batch {batch}: they are not in the bundle; ask for it with --with-data")
    else:
        return f"batch {batch}", _rows(about, data, entry, found)
    return f"batch {batch}" if type(batch) is int else "batch", None


def _rows(about: Mapping[str, Any], data: object, entry: Entry, found: _Found) -> Reading | None:
    try:
        rows = parse_rows(data)
    except RowsError as error:
        found.wrong("data", str(error))
        return None
    batch = about["batch"]
    if rows.digest(batch) != entry.body.get("sha256") or len(rows) != entry.body.get("rows"):
        found.wrong("data", f"is not what was recorded as batch {batch}: its SHA-256 is another")
        return None
    found.checked.append(f"the {len(rows)} rows here are batch {batch}: their SHA-256 is the recorded one")
    if about["kind"] == "batch":
        return None
    point, at = about["point"], about["source_time_ns"]
    if not isinstance(point, str) or not isinstance(at, str) or not (at.isascii() and at.isdigit() and len(at) < 20):
        found.wrong("about", "names no point and time")
        return None
    reading = rows.reading(point, int(at))
    if reading is None or str(int(at)) != at:
        found.wrong("about", f"batch {batch} has no reading of {point[:80]} at {at} ns")
        return None
    found.checked.append(f"row {reading.row} of it is the reading of {point}")
    return reading


def _anchored(
    bundle: Mapping[str, Any], entries: Sequence[Proved], size: int, root: bytes, found: _Found
) -> Receipt | None:
    if bundle["anchor"] is None:
        if bundle["consistency_proof"] != []:
            found.wrong("consistency_proof", "proves an anchor that is not here")
        return None
    try:
        receipt = parse_receipt(bundle["anchor"])
    except AnchorError as error:
        found.wrong("anchor", str(error))
        return None
    last = entries[-1].index if entries else 0
    if receipt.size <= last:
        found.wrong("anchor", f"covers {receipt.size} entries, entry {last} is not among them")
    proof = _hashes(bundle["consistency_proof"])
    small, large = sorted([(receipt.size, receipt.root_bytes()), (size, root)])
    if proof is None or not verify_consistency(*small, *large, proof):
        found.wrong("consistency_proof", "does not lead from the anchored root to the signed root")
    else:
        found.checked.append(f"the root of {receipt.size} entries in the anchor's receipt is of the same log")
    return receipt


def _on_chain(receipt: Receipt | None, rpc: str | None, found: _Found) -> str:
    """Whether the node has that anchor."""
    if receipt is None:
        if rpc is not None:
            found.wrong("anchor", "there is none that the node could be asked for", "ask for a proof with an anchor")
        found.unchecked.append("the chain: the entries were not anchored when the bundle was made")
        return "not checked: there is no anchor"
    if rpc is None:
        found.unchecked.append(
            f"whether chain {receipt.chain_id} has that anchor: the receipt is the operator's word; ask a node of the "
            "chain with --rpc"
        )
        return "not checked"
    try:
        wrong = check_receipt(rpc, receipt)
    except AnchorError as error:
        found.wrong("the node", str(error), "ask another node of that chain")
        return f"not checked: {error}"
    for what in wrong:
        found.wrong("the node", what, "do not believe the receipt")
    if wrong:
        return f"mismatch: {wrong[0]}"
    found.checked.append(
        f"the node says: contract {receipt.contract} on chain {receipt.chain_id} took that root in block "
        f"{receipt.block} at {utc(receipt.block_time_s)}"
    )
    return "ok"


def _cosigned(bundle: Mapping[str, Any], asked: Sequence[Witness], found: _Found) -> tuple[Cosignature, ...]:
    if not asked:
        found.unchecked.append("whether others were shown another past: give --witness with a key that you trust")
        return ()
    try:
        seen = tuple(cosignatures(str(bundle["checkpoint"]), asked))
    except NoteError as error:
        found.wrong("checkpoint", str(error))
        return ()
    there = [one.witness for one in seen]
    for witness in asked:
        if witness not in there:
            found.wrong("checkpoint", f"has no cosignature by {witness}")
    found.checked += [f"{one.witness.name} cosigned that checkpoint at {utc(one.time_s)}, by its clock" for one in seen]
    return seen


def _entry(data: bytes) -> Entry | None:
    try:
        return decode(data)
    except EntryError:
        return None  # the log keeps bytes; that these are in it is proved all the same


def encoded(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decoded(text: object) -> bytes | None:
    if not isinstance(text, str):
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        return None
    return data if encoded(data) == text else None


def _hashes(value: object) -> list[bytes] | None:
    if not isinstance(value, list):
        return None
    steps = [_decoded(step) for step in value]
    return None if None in steps else [step for step in steps if step is not None]
