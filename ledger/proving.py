"""Makes bundles: which entries a command or a batch has, and their proofs under one checkpoint.

Must not know chains or the writer, nor what an entry means beyond its kind and the command or batch that it names.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ledger.batch_rows import BatchRows
from ledger.bundle import BATCH_KIND, COMMAND, COMMAND_KINDS, DIGEST, ENTRIES_MAX, FORMAT, digest, encoded
from ledger.entry import Entry, decode
from ledger.errors import EntryError, LogDamaged, NoteError, NotFound
from ledger.keys import load_verifier
from ledger.merkle import Tree, leaf_hash
from ledger.note import Checkpoint, Verifier
from ledger.reader import read_checkpoint, read_payloads, require_log
from ledger.receipts import Receipt, read_receipts
from ledger.witnessing import read_witnessed

if TYPE_CHECKING:
    from ledger.log import Log

About = Mapping[str, Any]
"""What a bundle is of: its field `about`."""


def about_entry(index: int) -> About:
    return {"kind": "entry", "index": index}


def about_command(identity: str) -> About:
    return {"kind": COMMAND, "id": identity}


def about_batch(batch: int) -> About:
    return {"kind": "batch", "batch": batch}


def about_reading(batch: int, point: str, source_time_ns: int) -> About:
    """The time as text: readers in browsers hold whole numbers up to 2^53 only."""
    return {"kind": "reading", "batch": batch, "point": point, "source_time_ns": str(source_time_ns)}


def indexes_of(about: About, payloads: Iterable[tuple[int, bytes]]) -> list[int]:
    """The entries that a bundle about this holds, among these of a log, in order.

    Raises:
        NotFound: there is none, or they are too many.
    """
    if about["kind"] == "entry":
        return [about["index"]]
    found = [index for index, entry in _candidates(about, payloads) if _is_about(about, entry)]
    if not found:
        raise NotFound(f"the log has no entry of {_words(about)}")
    if about["kind"] != COMMAND:
        return found[:1]
    if len(found) > ENTRIES_MAX:
        raise NotFound(f"{_words(about)} has {len(found)} entries, a bundle holds {ENTRIES_MAX}: prove them one by one")
    return found


def prove(log_dir: Path | str, about: About | int, rows: BatchRows | None = None) -> dict[str, Any]:
    """The bundle from the files alone; a number means that entry.

    Raises NotFound, LogDamaged, NoteError.
    """
    asked = about_entry(about) if isinstance(about, int) else about
    directory = Path(log_dir)
    require_log(directory)
    receipts, _ = read_receipts(directory)
    verifier = load_verifier(directory)
    newest = read_checkpoint(directory, verifier)
    payloads = list(_at_most(read_payloads(directory), newest[0].size))
    indexes = indexes_of(asked, enumerate(payloads))
    checkpoint, note = _covering(directory, verifier, max(indexes), newest)
    _refuse_outside(indexes, checkpoint)
    tree = Tree(leaf_hash(payload) for payload in payloads)
    if tree.size < checkpoint.size or tree.root(checkpoint.size) != checkpoint.root:
        raise LogDamaged(
            f"{directory}: the log is not the one its checkpoint signs; run `python -m ledger verify {directory}`"
        )
    covered = [receipt for receipt in receipts if receipt.size <= tree.size]
    entries = [(index, payloads[index]) for index in indexes]
    return _bundle(tree, asked, entries, (checkpoint, note), verifier, covered, rows)


def prove_from(
    log: Log, about: About, indexes: Sequence[int], receipts: Sequence[Receipt], rows: BatchRows | None = None
) -> dict[str, Any]:
    """The bundle from an open log, at once: its tree is in memory. Raises NotFound."""
    checkpoint, note = _covering(log.directory, log.verifier, max(indexes), log.signed_note())
    _refuse_outside(indexes, checkpoint)
    entries = [(index, log.read(index)) for index in indexes]
    return _bundle(log, about, entries, (checkpoint, note), log.verifier, receipts, rows)


def _bundle(
    tree: Tree | Log,
    about: About,
    entries: Sequence[tuple[int, bytes]],
    signed: tuple[Checkpoint, str],
    verifier: Verifier,
    receipts: Sequence[Receipt],
    rows: BatchRows | None,
) -> dict[str, Any]:
    size, last = signed[0].size, entries[-1][0]
    anchor = next((receipt for receipt in receipts if receipt.size > last), None)
    consistency = tree.consistency_proof(*sorted((anchor.size, size))) if anchor is not None else []
    made = {
        "format": FORMAT,
        "about": dict(about),
        "entries": [
            {
                "index": index,
                "entry": encoded(payload),
                "inclusion_proof": [encoded(step) for step in tree.inclusion_proof(index, size)],
            }
            for index, payload in entries
        ],
        "checkpoint": signed[1],
        "public_key": str(verifier),
        "anchor": asdict(anchor) if anchor is not None else None,
        "consistency_proof": [encoded(step) for step in consistency],
        "data": rows.as_json() if rows is not None else None,
    }
    return {**made, DIGEST: digest(made)}


def _covering(
    directory: Path, verifier: Verifier, index: int, newest: tuple[Checkpoint, str]
) -> tuple[Checkpoint, str]:
    """The cosigned checkpoint where it covers the entry, for it says more; else the newest."""
    try:
        seen = read_witnessed(directory, verifier, ())
    except NoteError:
        return newest  # what is wrong with it the verifier of the log says
    if seen is None or not index < seen.checkpoint.size <= newest[0].size:
        return newest
    return seen.checkpoint, seen.note


def _refuse_outside(indexes: Sequence[int], checkpoint: Checkpoint) -> None:
    for index in indexes:
        if not 0 <= index < checkpoint.size:
            raise NotFound(
                f"entry {index} is not under the signed checkpoint of {checkpoint.size} entries: "
                "ask for a smaller index, or wait a second for the next checkpoint"
            )


def _candidates(about: About, payloads: Iterable[tuple[int, bytes]]) -> Iterator[tuple[int, Entry]]:
    """Entries whose bytes hold what an entry about this must hold: decoding all would take ten times as long."""
    if about["kind"] == COMMAND:
        needle = f'"id":{json.dumps(about["id"], ensure_ascii=False)}'.encode("utf-8", "replace")
    else:
        needle = f'"batch":{about["batch"]}'.encode()
    for index, payload in payloads:
        if needle in payload:
            try:
                yield index, decode(payload)
            except EntryError:
                continue  # bytes of somebody else


def _is_about(about: About, entry: Entry) -> bool:
    if about["kind"] == COMMAND:
        return entry.kind in COMMAND_KINDS and entry.body.get("id") == about["id"]
    return entry.kind == BATCH_KIND and entry.body.get("batch") == about["batch"]


def _words(about: About) -> str:
    return f"command {about['id']}" if about["kind"] == COMMAND else f"batch {about['batch']}"


def _at_most(payloads: Iterator[bytes], count: int) -> Iterator[bytes]:
    for number, payload in enumerate(payloads):
        if number >= count:
            return
        yield payload
