"""The verifier: reads a log directory afresh and says whether everything in it agrees, and where it does not.

Must not use the writer, and needs no chain library to check log, checkpoint and receipts. Never writes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from ledger.errors import AnchorError, KeyFileError, NoteError, NotFound
from ledger.files import ANCHORS, CHAIN, CHECKPOINT, LOG, PUBLIC_KEY, is_locked
from ledger.frames import Fault, Frame
from ledger.keys import load_verifier
from ledger.merkle import EMPTY_ROOT, Frontier, leaf_hash
from ledger.note import Checkpoint, Verifier, parse_verifier
from ledger.problems import Problem
from ledger.reader import read_checkpoint, read_frames, require_log
from ledger.receipts import Receipt, read_receipts

PROBLEMS_MAX = 100  # enough to act on; a log that is damaged throughout is restored, not mended
_RESTORE = "restore the file from a copy"


@dataclass(frozen=True)
class Report:
    """What was checked and found. `chain` is "ok", "not checked: why" or "mismatch: what"; `ok` says it all."""

    directory: str
    entries: int
    root: str
    key: str | None
    checkpoint_size: int
    anchors_checked: int
    chain: str
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


@dataclass
class _Scanned:
    """The log as read: roots at the claimed sizes, counted up to the first damage."""

    entries: int = 0
    root: bytes = EMPTY_ROOT
    roots: dict[int, bytes] = field(default_factory=dict)
    damaged_at: int | None = None  # index of the first entry that cannot be read


def verify(log_dir: Path | str, chain_dir: Path | str | None = None, key: str | None = None) -> Report:
    """Check every frame, the root, the signature, every anchor receipt, and the chain where there is one.

    `key` is the verifier key line that the reader trusts; without it the one in the directory is taken at its word.
    A log that is being written may be verified. Raises NotFound when there is no log, NoteError for a bad `key`.
    """
    directory = Path(log_dir)
    trusted = parse_verifier(key) if key is not None else None
    require_log(directory)
    problems: list[Problem] = []
    # In this order, because a running log only grows: what is read first is contained in what is read later.
    receipts = _read_receipts(directory, problems)
    verifier = _read_key(directory, trusted, problems)
    checkpoint = _read_signed(directory, verifier, problems) if verifier is not None else None
    chain, chain_claims = _read_chain(directory, chain_dir, receipts, problems)
    claims = [_Claim(f"{ANCHORS}, anchor {receipt.number}", receipt.size, receipt.root_bytes()) for receipt in receipts]
    claims += chain_claims
    if checkpoint is not None:
        claims.append(_Claim(CHECKPOINT, checkpoint.size, checkpoint.root))
    scanned = _scan(directory, {claim.size for claim in claims}, problems)
    compared_from = len(problems)
    _compare(claims, scanned, problems)
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
        chain=chain,
        problems=tuple(problems[:PROBLEMS_MAX]),
    )


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


def _read_chain(
    directory: Path, chain_dir: Path | str | None, receipts: Sequence[Receipt], problems: list[Problem]
) -> tuple[str, list[_Claim]]:
    """The chain's verdict on the receipts, and the anchors it has beyond them."""
    path = Path(chain_dir) if chain_dir is not None else directory / CHAIN
    if not path.exists():
        if chain_dir is None:
            return "not checked: there is no chain directory here; give one with --chain", []
        problems.append(Problem(str(path), "there is no such chain directory", "give the directory of the chain"))
        return "not checked: there is no such chain directory", []
    try:
        from ledger.chain_check import check_chain
    except ImportError as error:
        return f"not checked: {error.name} is not installed", []
    try:
        wrong, beyond = check_chain(path, receipts)
    except AnchorError as error:
        problems.append(Problem(str(path), str(error), "restore the chain's directory from a copy"))
        return f"not checked: {error}", []
    problems += [Problem(str(path), what, "find out which of log and chain was changed") for what in wrong]
    claims = [_Claim(f"{path}, anchor {number}", size, root) for number, root, size in beyond]
    return (f"mismatch: {wrong[0]}" if wrong else "ok"), claims


def _scan(directory: Path, sizes: set[int], problems: list[Problem]) -> _Scanned:
    scanned, frontier = _Scanned(), Frontier()
    if 0 in sizes:
        scanned.roots[0] = EMPTY_ROOT
    try:
        for found in read_frames(directory):
            if isinstance(found, Frame):
                scanned.entries += 1
                if scanned.damaged_at is None:
                    frontier.append(leaf_hash(found.payload))
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
    scanned.root = frontier.root()
    return scanned


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
