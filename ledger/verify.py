"""The verifier: reads a log directory afresh and says whether everything in it agrees, and where it does not.

Must not use the writer, and needs no chain library to check log, checkpoint and receipts. Never writes.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from ledger.cosignature import Witness, parse_witness
from ledger.entry import CHAIN_KIND, decode
from ledger.errors import AnchorError, EntryError, KeyFileError, NoteError, NotFound
from ledger.files import ANCHORS, CHAIN, CHECKPOINT, LOG, NODE_FILE, PUBLIC_KEY, WITNESSED, is_locked
from ledger.frames import Fault, Frame
from ledger.keys import load_verifier
from ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from ledger.node_anchors import check_on_node
from ledger.note import Checkpoint, Verifier, parse_verifier
from ledger.problems import Problem, utc
from ledger.reader import read_checkpoint, read_frames, require_log
from ledger.receipts import Receipt, read_receipts
from ledger.tile_check import TileCheck
from ledger.witnessing import read_witnessed

PROBLEMS_MAX = 100  # enough to act on; a log that is damaged throughout is restored, not mended
LEFT_BEHIND_MAX = 2  # anchors without a receipt yet: one that a crash left, one that came while we read
_RESTORE = "restore the file from a copy"
_CHAIN_MARK = f'"kind":"{CHAIN_KIND}"'.encode()


@dataclass(frozen=True)
class Report:
    """What was checked and found. `chain` is "ok", "not checked: why" or "mismatch: what"; `ok` says it all.

    Four levels, never mixed, in entries: `entries` are recorded; `checkpoint_size`; `witnessed_size`, cosigned by one
    of the witnesses asked for; `anchored_size`, which the chain itself said, 0 where it was not asked.
    `receipts_size` is what the operator's receipts claim, `contracts` where the log itself says it is anchored.
    """

    directory: str
    entries: int
    root: str
    key: str | None
    checkpoint_size: int
    anchors_checked: int
    tiles: str
    witnessed: tuple[str, ...]
    witnessed_size: int
    receipts_size: int
    anchored_size: int
    chain: str
    contracts: tuple[str, ...]
    problems: tuple[Problem, ...]

    @property
    def ok(self) -> bool:
        return not self.problems


@dataclass(frozen=True)
class _Claim:
    """Somebody's word that the first `size` entries have this root."""

    place: str
    size: int
    root: bytes


@dataclass(frozen=True)
class _Seen:
    """What the witnesses asked for have cosigned, in words and in entries."""

    words: tuple[str, ...]
    size: int


@dataclass
class _Scanned:
    """The log as read: roots at the claimed sizes, counted up to the first damage."""

    entries: int = 0
    root: bytes = EMPTY_ROOT
    roots: dict[int, bytes] = field(default_factory=dict)
    damaged_at: int | None = None  # index of the first entry that cannot be read
    chains: dict[int, str] = field(default_factory=dict)  # contracts by the index of the entry that names them


def verify(
    log_dir: Path | str,
    chain_dir: Path | str | None = None,
    key: str | None = None,
    witnesses: Sequence[str] = (),
    rpc: str | None = None,
) -> Report:
    """Check every frame, the root, the signature, every anchor receipt, and the chain where there is one: that of the
    node at `rpc`, else the embedded one.

    `key` is the verifier key line that the reader trusts; without it the one in the directory is taken at its word.
    Of `witnesses` (verifier key lines) a cosignature must be there. A log that is being written may be verified.
    Raises NotFound when there is no log, NoteError for a bad `key` or witness.
    """
    directory = Path(log_dir)
    trusted = parse_verifier(key) if key is not None else None
    asked = [parse_witness(line) for line in witnesses]
    require_log(directory)
    problems: list[Problem] = []
    # In this order, because a running log only grows: what is read first is contained in what is read later.
    receipts = _read_receipts(directory, problems)
    verifier = _read_key(directory, trusted, problems)
    checkpoint = _read_signed(directory, verifier, problems) if verifier is not None else None
    chain, chain_claims = _read_chain(directory, chain_dir, rpc, receipts, problems)
    claims = [*_claims_of(receipts), *chain_claims]
    if checkpoint is not None:
        claims.append(_Claim(CHECKPOINT, checkpoint.size, checkpoint.root))
    seen = _read_witnessed(directory, verifier, asked, claims, problems)
    tiles = TileCheck(directory, checkpoint.size if checkpoint is not None else 0)
    scanned = _scan(directory, {claim.size for claim in claims}, tiles, problems)
    compared_from = len(problems)
    _compare(claims, scanned, problems)
    problems += tiles.found(log_is_signed=len(problems) == compared_from)
    _compare_contract(directory, receipts, scanned.chains, problems)
    theirs = {claim.place for claim in chain_claims}
    if contradicted := [problem for problem in problems[compared_from:] if problem.place in theirs]:
        chain = f"mismatch: {contradicted[0].place}: {contradicted[0].what}"
    return Report(
        directory=str(directory),
        entries=scanned.entries,
        root="0x" + scanned.root.hex(),
        key=str(verifier) if verifier is not None else None,
        checkpoint_size=checkpoint.size if checkpoint is not None else 0,
        anchors_checked=sum(receipt.size in scanned.roots for receipt in receipts),
        tiles=f"{tiles.checked} checked" if tiles.there else "not checked: there is no folder tile",
        witnessed=seen.words,
        witnessed_size=seen.size,
        receipts_size=receipts[-1].size if receipts else 0,
        anchored_size=max((c.size for c in (*_claims_of(receipts), *chain_claims)), default=0) if chain == "ok" else 0,
        chain=chain,
        contracts=tuple(f"{contract} from entry {index} on" for index, contract in scanned.chains.items()),
        problems=tuple(problems[:PROBLEMS_MAX]),
    )


def _claims_of(receipts: Sequence[Receipt]) -> list[_Claim]:
    return [_Claim(f"{ANCHORS}, anchor {receipt.number}", receipt.size, receipt.root_bytes()) for receipt in receipts]


def _read_receipts(directory: Path, problems: list[Problem]) -> list[Receipt]:
    try:
        return read_receipts(directory)[0]
    except AnchorError as error:
        problems.append(Problem(ANCHORS, str(error), _RESTORE))
        return []


def _read_key(directory: Path, trusted: Verifier | None, problems: list[Problem]) -> Verifier | None:
    try:
        verifier = load_verifier(directory)
    except KeyFileError as error:
        problems.append(Problem(PUBLIC_KEY, str(error), "or give the key you trust with --key"))
        return trusted
    if trusted is not None and trusted != verifier:
        problems.append(Problem(PUBLIC_KEY, f"is {verifier}, not the key you trust", "find out who replaced the key"))
        return trusted
    return verifier


def _read_signed(directory: Path, verifier: Verifier, problems: list[Problem]) -> Checkpoint | None:
    try:
        return read_checkpoint(directory, verifier)[0]
    except (NoteError, NotFound) as error:
        problems.append(Problem(CHECKPOINT, str(error), _RESTORE))
        return None


def _read_witnessed(
    directory: Path,
    verifier: Verifier | None,
    asked: Sequence[Witness],
    claims: list[_Claim],
    problems: list[Problem],
) -> _Seen:
    """What the witnesses asked for have cosigned; the checkpoint they saw is a claim like any other."""
    try:
        found = read_witnessed(directory, verifier, asked) if verifier is not None else None
    except NoteError as error:
        problems.append(Problem(WITNESSED, str(error), _RESTORE))
        return _Seen((), 0)
    if found is not None:
        claims.append(_Claim(WITNESSED, found.checkpoint.size, found.checkpoint.root))
    there = {one.witness: one for one in found.cosignatures} if found is not None else {}
    problems += [
        Problem(WITNESSED, f"has no cosignature by {witness}", "ask the witness for the newest it gave")
        for witness in asked
        if witness not in there
    ]
    size = found.checkpoint.size if found is not None and there else 0
    return _Seen(tuple(f"{size} entries by {one.witness.name} at {utc(one.time_s)}" for one in there.values()), size)


def _read_chain(
    directory: Path, chain_dir: Path | str | None, rpc: str | None, receipts: Sequence[Receipt], problems: list[Problem]
) -> tuple[str, list[_Claim]]:
    """The chain's verdict on the receipts, and the anchors it has beyond them."""
    path = Path(chain_dir) if chain_dir is not None else directory / CHAIN
    if rpc is not None:
        if not receipts:
            return f"not checked: no receipt in {ANCHORS} names a contract to ask for", []
        return _held_against("the node", lambda: check_on_node(rpc, receipts), "see what the node says", problems)
    if not path.exists():
        if chain_dir is None:
            return "not checked: there is no chain directory here; give one with --chain, or a node with --rpc", []
        problems.append(Problem(str(path), "there is no such chain directory", "give the directory of the chain"))
        return "not checked: there is no such chain directory", []
    if (path / NODE_FILE).exists():
        return "not checked: others run this chain; name a node of it with --rpc", []
    restore, limit = "restore the chain's directory from a copy", sys.getrecursionlimit()
    try:
        from ledger.chain_check import check_chain

        return _held_against(str(path), lambda: check_chain(path, receipts), restore, problems)
    except ImportError as error:
        return f"not checked: {error.name} is not installed", []
    finally:
        sys.setrecursionlimit(limit)  # py-evm raises it so far that nested JSON would crash whoever reads it later


def _held_against(
    place: str, check: Callable[[], tuple[list[str], list[tuple[int, bytes, int]]]], hint: str, problems: list[Problem]
) -> tuple[str, list[_Claim]]:
    try:
        wrong, beyond = check()
    except AnchorError as error:
        problems.append(Problem(place, str(error), hint))
        return f"not checked: {error}", []
    problems += [Problem(place, what, "find out which of log and chain was changed") for what in wrong]
    if len(beyond) > LEFT_BEHIND_MAX:
        what = f"lacks the receipts of anchors {beyond[0][0]} to {beyond[-1][0]}, which the chain has"
        problems.append(Problem(ANCHORS, what, "find out who removed them; the server's next anchor fetches them"))
    claims = [_Claim(f"{place}, anchor {number}", size, root) for number, root, size in beyond]
    return (f"mismatch: {wrong[0]}" if wrong else "ok"), claims


def _scan(directory: Path, sizes: set[int], tiles: TileCheck, problems: list[Problem]) -> _Scanned:
    scanned, frontier = _Scanned(), Frontier()
    if 0 in sizes:
        scanned.roots[0] = EMPTY_ROOT
    try:
        for found in read_frames(directory):
            if isinstance(found, Frame):
                scanned.entries += 1
                if scanned.damaged_at is None:
                    leaf = leaf_hash(found.payload)
                    frontier.append(leaf)
                    if _CHAIN_MARK in found.payload:
                        _note_chain(found.payload, frontier.size - 1, scanned)
                    tiles.add(found.payload, leaf)
                    if frontier.size in sizes:
                        scanned.roots[frontier.size] = frontier.root()
            elif not _is_being_written(directory, found, scanned.entries, sizes):
                if scanned.damaged_at is None:
                    scanned.damaged_at = frontier.size
                problems.append(_damage(found, scanned.entries))
                if found.resumes_at is not None:
                    scanned.entries += 1  # at least one entry stood in the damaged stretch
    except NotFound as error:
        problems.append(Problem(LOG, str(error), "nothing can be verified without it"))
    tiles.finish(damaged=scanned.damaged_at is not None)
    scanned.root = frontier.root()
    return scanned


def _note_chain(payload: bytes, index: int, scanned: _Scanned) -> None:
    """An entry may say which contract the anchors are made at from now on."""
    with suppress(EntryError):
        entry = decode(payload)
        if entry.kind == CHAIN_KIND:
            scanned.chains[index] = str(entry.body.get("contract"))


def _compare_contract(
    directory: Path, receipts: Sequence[Receipt], chains: dict[int, str], problems: list[Problem]
) -> None:
    """Whoever removes receipts and chain together leaves the entry that names them."""
    if not chains:
        return
    index = max(chains)
    if all(receipt.contract != chains[index] for receipt in receipts):
        with suppress(AnchorError):
            receipts = read_receipts(directory)[0]  # a log that is being written got its first one meanwhile
        if all(receipt.contract != chains[index] for receipt in receipts):
            what = f"has no receipt of contract {chains[index]}, at which entry {index} says this log is anchored"
            problems.append(Problem(ANCHORS, what, "find out who removed them"))


def _is_being_written(directory: Path, fault: Fault, entries: int, sizes: set[int]) -> bool:
    """Whether an unfinished last frame is a running writer's, not damage."""
    return fault.resumes_at is None and entries >= max(sizes, default=0) and is_locked(directory)


def _damage(fault: Fault, index: int) -> Problem:
    place = f"{LOG}, entry {index}, byte {fault.offset}"
    if fault.resumes_at is None:
        hint = (
            "if the server was killed or lost power just now, start it: it cuts off what it never acknowledged; "
            f"otherwise {_RESTORE}"
        )
        return Problem(place, f"the log ends in damage: {fault.why}", hint)
    return Problem(place, f"damaged up to byte {fault.resumes_at}: {fault.why}", _RESTORE)


def _compare(claims: list[_Claim], scanned: _Scanned, problems: list[Problem]) -> None:
    """Hold every claim against the roots computed from the log itself."""
    agreed = 0  # the largest size up to which every claim holds
    for claim in sorted(claims, key=lambda claim: claim.size):
        root = scanned.roots.get(claim.size)
        if root is None:
            if scanned.damaged_at is None:
                what = f"speaks of {claim.size} entries, the log has {scanned.entries}"
                problems.append(Problem(claim.place, what, f"entries were cut off: {_RESTORE}"))
        elif root == claim.root:
            agreed = claim.size
        else:
            what = f"the root at size {claim.size} is another than the log's"
            where = f"entries {agreed} to {claim.size - 1}" if agreed < claim.size else "this record itself"
            hint = f"{where} were changed, or this record was: compare both with a copy"
            problems.append(Problem(claim.place, what, hint))
    if scanned.damaged_at is not None and (later := sum(claim.size > scanned.damaged_at for claim in claims)):
        what = f"{later} checkpoints and anchors after entry {scanned.damaged_at} could not be compared"
        problems.append(Problem(LOG, what, "verify again when the log is restored"))
