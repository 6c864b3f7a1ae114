"""The log's side of witnesses: who they are, asking them for cosignatures, keeping the newest cosigned checkpoint.

Must not know what a witness does with it; what a witness refuses is reported and asked again later.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ledger import files
from ledger.cosignature import Cosignature, Witness, cosignatures, parse_witness
from ledger.errors import LedgerError, NoteError, WitnessConflict, WitnessRefused
from ledger.note import Checkpoint, Verifier, open_checkpoint
from ledger.witness import Request
from ledger.witness_server import PATH

if TYPE_CHECKING:
    from ledger.log import Log

TIMEOUT_S = 5.0  # a witness that does not answer in so long is asked again at the next checkpoint
ANSWER_BYTES_MAX = 65_536
WITNESSES_MAX = 16  # each costs one request a round


@dataclass(frozen=True)
class Endpoint:
    """Where a witness answers, and the key that its cosignatures must hold under."""

    url: str
    witness: Witness


@dataclass(frozen=True)
class Witnessed:
    """The newest checkpoint that every known witness could be shown, and who cosigned it."""

    checkpoint: Checkpoint
    cosignatures: tuple[Cosignature, ...]
    note: str


def read_endpoints(directory: Path) -> list[Endpoint]:
    """The witnesses of the log in `directory`: lines `URL VKEY` of its file `witnesses`. Raises NoteError."""
    path = directory / files.WITNESSES
    try:
        lines = path.read_text("utf-8").splitlines()
    except FileNotFoundError:
        return []
    except UnicodeDecodeError as error:
        raise NoteError(f"{path} is not UTF-8: {error}") from error
    found: list[Endpoint] = []
    for number, line in enumerate(lines, 1):
        if not line.strip() or line.startswith("#"):
            continue
        url, _, vkey = line.strip().partition(" ")
        if urlsplit(url).scheme not in ("http", "https"):
            raise NoteError(f"{path}, line {number}: expected http://HOST:PORT and the witness's key")
        try:
            found.append(Endpoint(url.rstrip("/"), parse_witness(vkey.strip())))
        except NoteError as error:
            raise NoteError(f"{path}, line {number}: {error}") from error
    if len(found) > WITNESSES_MAX:
        raise NoteError(f"{path}: {len(found)} witnesses, the limit is {WITNESSES_MAX}")
    return found


def read_witnessed(directory: Path, verifier: Verifier, witnesses: Sequence[Witness]) -> Witnessed | None:
    """The newest cosigned checkpoint on disk, None before the first. Raises NoteError."""
    path = directory / files.WITNESSED
    try:
        note = path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None
    except UnicodeDecodeError as error:
        raise NoteError(f"{path}: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise NoteError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return Witnessed(open_checkpoint(note, verifier), tuple(cosignatures(note, witnesses)), note)
    except NoteError as error:
        raise NoteError(f"{path}: {error}") from error


class Witnessing:
    """Asks the witnesses of an open log. One thread at a time."""

    def __init__(self, log: Log) -> None:
        self._log = log
        self.endpoints = read_endpoints(log.directory)
        self._known: dict[str, int] = {}  # how far each has cosigned, by URL
        self.cosigned: dict[str, int] = {}  # the newest size of ours that each cosigned since the start, by URL
        self.failures: dict[str, str] = {}  # why not, by URL, of the last round
        self.conflicts: frozenset[str] = frozenset()  # the URLs of those that know another past
        self.witnessed = read_witnessed(log.directory, log.verifier, [end.witness for end in self.endpoints])

    def round(self) -> Witnessed | None:
        """Show the newest checkpoint to every witness; what they cosign is on disk when this returns."""
        checkpoint, note = self._log.signed_note()
        if not self.endpoints or checkpoint.size == 0:
            return self.witnessed
        if self.witnessed is not None and self.witnessed.checkpoint == checkpoint and not self.failures:
            return self.witnessed
        failures: dict[str, str] = {}
        conflicts: set[str] = set()
        lines: list[str] = []
        for end in self.endpoints:
            try:
                lines.append(self._ask(end, checkpoint, note))
                self.cosigned[end.url] = checkpoint.size
            except (OSError, http.client.HTTPException, LedgerError) as error:
                failures[end.url] = str(error) or type(error).__name__
                if isinstance(error, WitnessConflict):
                    conflicts.add(end.url)
        self.failures, self.conflicts = failures, frozenset(conflicts)  # whole: another thread reads them
        if lines:
            whole = note + "".join(lines)
            found = cosignatures(whole, [end.witness for end in self.endpoints])
            files.replace(self._log.directory / files.WITNESSED, whole.encode())
            self.witnessed = Witnessed(checkpoint, tuple(found), whole)
        return self.witnessed

    def _ask(self, end: Endpoint, checkpoint: Checkpoint, note: str) -> str:
        """Its signature line. A witness that is further or less far than was known says so, and is asked again."""
        for _ in range(2):
            old = self._known.get(end.url, 0)
            proof = self._log.consistency_proof(old, checkpoint.size) if 0 < old < checkpoint.size else []
            status, body = post(end.url + PATH, Request(old, tuple(proof), note).text())
            if status == 200:
                line = _own_line(note, body, end.witness)
                self._known[end.url] = checkpoint.size
                return line
            if status != 409 or not body.strip().isdecimal():
                break
            size = int(body)
            if size > checkpoint.size or (size == old and size == checkpoint.size):
                raise WitnessConflict(
                    f"has cosigned another past: it knows {size} entries of this log, the checkpoint has "
                    f"{checkpoint.size}; compare the log with a copy before anything else"
                )
            self._known[end.url] = size
        raise WitnessRefused(f"answered {status}: {body.strip()[:200]}")


def post(url: str, body: str) -> tuple[int, str]:
    """Status and text of the answer. Raises OSError, HTTPException."""
    parts = urlsplit(url)
    kind = http.client.HTTPSConnection if parts.scheme == "https" else http.client.HTTPConnection
    connection = kind(parts.hostname or "", parts.port, timeout=TIMEOUT_S)
    try:
        connection.request("POST", parts.path, body.encode(), {"Content-Type": "text/plain; charset=utf-8"})
        answer = connection.getresponse()
        return answer.status, answer.read(ANSWER_BYTES_MAX).decode("utf-8", "replace")
    finally:
        connection.close()


def _own_line(note: str, body: str, witness: Witness) -> str:
    """The line of the answer that holds under the witness's key; lines of other keys are left out."""
    for line in body.splitlines(keepends=True):
        try:
            if cosignatures(note + line, [witness]):
                return line
        except NoteError:
            continue
    raise WitnessRefused(f"its answer has no valid cosignature by {witness}")
