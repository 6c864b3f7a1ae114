"""A witness (c2sp.org/tlog-witness): cosigns a log's checkpoint only when it continues the last one it cosigned.

Must not know the network; a request's text in, an answer out. What it cosigned is on disk before the answer exists.
"""

from __future__ import annotations

import base64
import binascii
import re
import threading
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

from ledger import files, keys
from ledger.cosignature import Witness, cosign, witness_of
from ledger.errors import KeyFileError, NoteError
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, verify_consistency
from ledger.note import NOTE_BYTES_MAX, Checkpoint, Signer, Verifier, open_checkpoint, parse_checkpoint

PROOF_LINES_MAX = 63  # tlog-witness
REQUEST_BYTES_MAX = NOTE_BYTES_MAX + 64 * PROOF_LINES_MAX
_OLD = re.compile(r"old (0|[1-9][0-9]{0,18})")
TEXT, SIZE = "text/plain; charset=utf-8", "text/x.tlog.size"


@dataclass(frozen=True)
class Answer:
    """What goes back over HTTP; `kind` is the content type."""

    status: int
    body: str
    kind: str = TEXT


@dataclass(frozen=True)
class Request:
    """A checkpoint, not yet known to be signed, and the proof that leads to it from `old_size`."""

    old_size: int
    proof: tuple[bytes, ...]
    note: str

    def text(self) -> str:
        lines = [base64.b64encode(step).decode() + "\n" for step in self.proof]
        return f"old {self.old_size}\n{''.join(lines)}\n{self.note}"


def parse_request(text: str) -> Request:
    """The request in the body of a POST. Raises NoteError."""
    head, empty, note = text.partition("\n\n")
    first, *lines = head.split("\n")
    found = _OLD.fullmatch(first)
    if not empty or found is None or len(lines) > PROOF_LINES_MAX:
        raise NoteError("expected a line `old SIZE`, at most 63 lines of proof, an empty line and a checkpoint")
    return Request(int(found[1]), tuple(_hash(line) for line in lines), note)


class WitnessState:
    """The witness whose key and last checkpoints are in `directory`; `logs` are those it will cosign."""

    def __init__(self, directory: Path, signer: Signer, logs: Sequence[Verifier], clock_s: Callable[[], float]) -> None:
        self.witness: Witness = witness_of(signer)
        self._directory, self._signer, self._clock_s = directory, signer, clock_s
        self._logs: dict[str, list[Verifier]] = {}
        for verifier in logs:
            self._logs.setdefault(verifier.name, []).append(verifier)
        self._one = threading.Lock()  # comparing with the last checkpoint and replacing it are one step

    def add(self, body: str) -> Answer:
        """Cosign, or say why not, by the status codes of tlog-witness."""
        try:
            request = parse_request(body)
            origin = parse_checkpoint(request.note.partition("\n\n")[0] + "\n").origin
        except NoteError as error:
            return Answer(400, f"{error}\n")
        known = self._logs.get(origin)
        if known is None:
            return Answer(404, f"this witness does not know a log {origin!r}\n")
        checkpoint = _opened(request.note, known)
        if checkpoint is None:
            return Answer(403, f"the checkpoint carries no valid signature by a key known of {origin}\n")
        if request.old_size > checkpoint.size:
            return Answer(400, f"the old size {request.old_size} is above the checkpoint's {checkpoint.size}\n")
        with self._one:
            return self._advance(request, checkpoint)

    def last(self, origin: str) -> Checkpoint:
        """The last checkpoint cosigned, one of size 0 before the first. Raises NoteError for a damaged file."""
        try:
            return parse_checkpoint(self._path(origin).read_text("utf-8"))
        except FileNotFoundError:
            return Checkpoint(origin, 0, EMPTY_ROOT)
        except UnicodeDecodeError as error:
            raise NoteError(f"{self._path(origin)} is not UTF-8: {error}") from error

    def _advance(self, request: Request, checkpoint: Checkpoint) -> Answer:
        last = self.last(checkpoint.origin)
        if request.old_size != last.size:
            return Answer(409, f"{last.size}\n", SIZE)
        if checkpoint.size == last.size:
            if checkpoint.root != last.root:
                return Answer(409, f"{last.size}\n", SIZE)
            if request.proof:
                return Answer(422, "a proof between equal sizes is empty\n")
        elif not _leads(last, checkpoint, request.proof):
            return Answer(422, f"the proof does not lead from size {last.size} to {checkpoint.size}\n")
        files.replace(self._path(checkpoint.origin), checkpoint.text().encode())
        return Answer(200, cosign(self._signer, checkpoint.text(), int(self._clock_s())))

    def _path(self, origin: str) -> Path:
        return self._directory / f"log-{sha256(origin.encode()).hexdigest()[:32]}"  # an origin may hold any character


def open_witness(directory: Path, name: str) -> Signer:
    """The key of the witness in `directory`, made under `name` the first time; `witness.pub` is its public half."""
    directory.mkdir(parents=True, exist_ok=True)
    if (directory / files.KEY).exists():
        signer = keys.load_signer(directory)
        if signer.name != name:
            raise KeyFileError(f"{directory}: this witness is called {signer.name}, not {name}; use its name")
    else:
        signer = keys.create(directory, name, public=False)
    files.replace(directory / files.WITNESS_KEY, f"{witness_of(signer)}\n".encode())
    return signer


def _opened(note: str, known: Sequence[Verifier]) -> Checkpoint | None:
    for verifier in known:
        try:
            return open_checkpoint(note, verifier)
        except NoteError:
            continue
    return None


def _leads(last: Checkpoint, checkpoint: Checkpoint, proof: Sequence[bytes]) -> bool:
    if last.size == 0:  # RFC 6962 has no proof from nothing; tlog-witness wants none
        return not proof
    return verify_consistency(last.size, last.root, checkpoint.size, checkpoint.root, proof)


def _hash(line: str) -> bytes:
    try:
        data = base64.b64decode(line, validate=True)
    except (binascii.Error, ValueError) as error:
        raise NoteError("a proof line is not base64") from error
    if len(data) != HASH_BYTES or base64.b64encode(data).decode() != line:
        raise NoteError(f"a proof line is not the base64 of {HASH_BYTES} bytes")
    return data
