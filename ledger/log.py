"""The append-only log on disk: durable appends, recovery after a crash, signed checkpoints.

Must not know what an entry says, nor chains; decides nothing about what is recorded.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger import files, keys
from ledger.errors import LogClosed, LogDamaged, LogFailed, NoteError, NotFound
from ledger.frames import HEADER, Fault, frame, parse, scan
from ledger.merkle import EMPTY_ROOT, Tree, leaf_hash
from ledger.note import Checkpoint, Signer, Verifier
from ledger.reader import read_checkpoint
from ledger.receipts import read_receipts

ORIGIN = "twinloop.local/ledger"  # name your own: an auditor tells logs apart by it


@dataclass(frozen=True)
class Head:
    """How many entries are durable, and their root."""

    size: int
    root: bytes


class Log:
    """One log directory, open for writing by this process alone. Every method may be called from any thread.

    Memory: ~72 bytes an entry (subtree hashes and offset), so that any entry can be read and proved at once.
    """

    def __init__(self, directory: Path, signer: Signer, lock: int, descriptor: int) -> None:
        self.directory = directory
        self.verifier: Verifier = signer.verifier()
        self.torn_bytes = 0  # cut off at opening: a write that no caller was told of
        self._signer = signer
        self._lock_descriptor = lock
        self._descriptor = descriptor
        self._tree = Tree()
        self._offsets = array("Q", [0])  # where each entry's frame begins; the last is the end of the file
        self._signed = Checkpoint(signer.name, 0, EMPTY_ROOT)
        self._state: str | None = None  # why nothing can be written any more
        self._appending = threading.Lock()  # held over the disk's work
        self._reading = threading.Lock()  # held for microseconds, so that readers never wait for the disk
        self._signing = threading.Lock()

    @classmethod
    def open(cls, directory: Path | str, origin: str = ORIGIN) -> Self:
        """Open the log in `directory`, or create it under the name `origin`.

        A torn tail is cut off (`torn_bytes` tells). Raises LogLocked when another process writes here, LogDamaged
        when log, checkpoint and anchors disagree: the message names the place and what to do.
        """
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        with ExitStack() as undo:
            lock = files.lock(directory, "log")
            undo.callback(os.close, lock)
            if not (directory / files.LOG).exists():
                _create(directory, origin)
            descriptor = os.open(directory / files.LOG, os.O_RDWR | os.O_APPEND | os.O_CLOEXEC)
            undo.callback(os.close, descriptor)
            log = cls(directory, keys.load_signer(directory), lock, descriptor)
            log._recover()
            undo.pop_all()
        return log

    @property
    def size(self) -> int:
        return self.head().size

    def root(self, size: int | None = None) -> bytes:
        """The root of the first `size` entries, of all without it."""
        with self._reading:
            return self._tree.root(size)

    def head(self) -> Head:
        """Size and root of one and the same moment."""
        with self._reading:
            return Head(self._tree.size, self._tree.root())

    def end(self) -> tuple[int, int]:
        """How many entries are durable, and how many bytes of the log file they take."""
        with self._reading:
            return self._tree.size, self._offsets[-1]

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        with self._reading:
            return self._tree.inclusion_proof(index, size)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        with self._reading:
            return self._tree.consistency_proof(old_size, new_size)

    def append(self, payloads: Sequence[bytes]) -> range:
        """Record entries in order; returns their indexes once they are on disk.

        Raises EntryTooLarge before anything is written, LogFailed when the disk refuses (then every later append too).
        """
        data = b"".join([frame(payload) for payload in payloads])
        leaves = [leaf_hash(payload) for payload in payloads]
        with self._appending:
            self._refuse_if_ended()
            try:
                files.write_all(self._descriptor, data)
                os.fdatasync(self._descriptor)
            except OSError as error:
                # After a failed fsync the kernel may drop the pages and report success next time: never retry.
                self._state = f"{self.directory / files.LOG}: the disk refused a write ({error})"
                raise LogFailed(f"{self._state}; free or replace the disk and start again") from error
            with self._reading:
                first, end = self._tree.size, self._offsets[-1]
                for payload, leaf in zip(payloads, leaves, strict=True):
                    self._tree.append(leaf)
                    end += HEADER.size + len(payload)
                    self._offsets.append(end)
            return range(first, first + len(leaves))

    def read(self, index: int) -> bytes:
        """The bytes of one entry. Raises NotFound, LogDamaged, LogClosed."""
        size = self._tree.size
        if not 0 <= index < size:
            raise NotFound(f"{self.directory}: no entry {index}, the log has {size}")
        if self._descriptor < 0:
            raise LogClosed(f"{self._state}; open it again to read")
        start, stop = self._offsets[index], self._offsets[index + 1]
        payload = parse(os.pread(self._descriptor, stop - start, start))
        if not isinstance(payload, bytes):
            raise LogDamaged(_damage(self.directory, index, Fault(start, payload, stop)))
        return payload

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of the entries from `start` up to `stop` (to the end as of now without it)."""
        for index in range(start, self._tree.size if stop is None else min(stop, self._tree.size)):
            yield self.read(index)

    @property
    def signed(self) -> Checkpoint:
        """The checkpoint on disk."""
        return self._signed

    def signed_note(self) -> tuple[Checkpoint, str]:
        """The checkpoint on disk and the note it stands in."""
        with self._signing:
            return read_checkpoint(self.directory, self.verifier)

    def checkpoint(self) -> Checkpoint:
        """Sign size and root, and put them on disk if they grew. Raises LogFailed when the disk refuses."""
        with self._signing:
            self._refuse_if_ended()
            head = self.head()
            if head.size != self._signed.size:
                checkpoint = Checkpoint(self._signer.name, head.size, head.root)
                _write_checkpoint(self.directory, self._signer, checkpoint)
                self._signed = checkpoint
            return self._signed

    def close(self) -> None:
        """Give the directory back; signs nothing. May be called again."""
        with self._appending, self._signing:
            if self._descriptor < 0:
                return
            self._state = f"{self.directory}: the log is closed"
            os.close(self._descriptor)
            os.close(self._lock_descriptor)
            self._descriptor = self._lock_descriptor = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def _refuse_if_ended(self) -> None:
        if self._descriptor < 0:
            raise LogClosed(f"{self._state}; open it again to write")
        if self._state is not None:
            raise LogFailed(f"{self._state} earlier; free or replace the disk and start again")

    def _recover(self) -> None:
        """Read the whole log, cut a torn tail, and hold the rest against checkpoint and anchors."""
        path = self.directory / files.LOG
        signed = _read_checkpoint(self.directory, self.verifier)
        torn: Fault | None = None
        with path.open("rb") as stream:
            for found in scan(stream):
                if isinstance(found, Fault):
                    if found.resumes_at is not None:
                        raise LogDamaged(_damage(self.directory, self._tree.size, found))
                    torn = found
                    break
                self._tree.append(leaf_hash(found.payload))
                self._offsets.append(found.offset + HEADER.size + len(found.payload))
        self._compare(signed, torn)
        if torn is not None:
            self.torn_bytes = path.stat().st_size - torn.offset
            os.ftruncate(self._descriptor, torn.offset)
            os.fsync(self._descriptor)
        else:
            os.fdatasync(self._descriptor)  # whole frames of a killed process may still be in the page cache only
        self._signed = signed

    def _compare(self, signed: Checkpoint, torn: Fault | None) -> None:
        path = self.directory / files.LOG
        if self._tree.size < signed.size:
            why = f" (entry {self._tree.size}, byte {torn.offset}: {torn.why})" if torn else ""
            raise LogDamaged(
                f"{path}: {self._tree.size} whole entries{why}, but the signed checkpoint says {signed.size}: "
                "entries were lost or damaged; restore the log from a copy"
            )
        if self._tree.root(signed.size) != signed.root:
            raise LogDamaged(
                f"{path}: the root of the first {signed.size} entries is not the signed one: entries were changed; "
                f"run `python -m ledger verify {self.directory}` and restore the log from a copy"
            )
        for receipt in read_receipts(self.directory)[0]:
            if receipt.size > self._tree.size or self._tree.root(receipt.size) != receipt.root_bytes():
                raise LogDamaged(
                    f"{path}: anchor {receipt.number} says another root at size {receipt.size} than this log of "
                    f"{self._tree.size} entries: restore the log that belongs to {self.directory / files.ANCHORS}"
                )


def _read_checkpoint(directory: Path, verifier: Verifier) -> Checkpoint:
    try:
        return read_checkpoint(directory, verifier)[0]
    except (NoteError, NotFound) as error:
        raise LogDamaged(f"{error}; without its checkpoint the log is not continued") from error


def _write_checkpoint(directory: Path, signer: Signer, checkpoint: Checkpoint) -> None:
    path = directory / files.CHECKPOINT
    try:
        files.replace(path, signer.sign(checkpoint.text()).encode())
    except OSError as error:
        raise LogFailed(f"{path}: the disk refused the checkpoint ({error}); free or replace the disk") from error


def _create(directory: Path, origin: str) -> None:
    """A new log. The log file comes last: without it, a creation that was cut short starts over."""
    checkpoint = directory / files.CHECKPOINT
    if checkpoint.exists():
        signed = _read_checkpoint(directory, keys.load_signer(directory).verifier())
        if signed.size:
            raise LogDamaged(
                f"{directory / files.LOG} is missing, but the signed checkpoint says {signed.size} entries: "
                "restore the log from a copy, or use an empty directory"
            )
    signer = keys.load_signer(directory) if (directory / files.KEY).exists() else keys.create(directory, origin)
    if not (directory / files.PUBLIC_KEY).exists():
        files.replace(directory / files.PUBLIC_KEY, f"{signer.verifier()}\n".encode())
    _write_checkpoint(directory, signer, Checkpoint(signer.name, 0, EMPTY_ROOT))
    files.replace(directory / files.LOG, b"")


def _damage(directory: Path, index: int, fault: Fault) -> str:
    return (
        f"{directory / files.LOG}: entry {index} at byte {fault.offset} is damaged ({fault.why}) and whole entries "
        f"follow it at byte {fault.resumes_at}: restore the log from a copy. Only if power was lost just before, "
        f"these bytes may never have been acknowledged; then cut the file: truncate -s {fault.offset}"
    )
