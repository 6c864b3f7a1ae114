"""The append-only log on disk: durable appends, recovery after a crash, signed checkpoints.

Must not know what an entry says, nor chains; decides nothing about what is recorded.
"""

from __future__ import annotations

import os
import threading
from array import array
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from hashlib import sha256
from itertools import accumulate, pairwise
from pathlib import Path
from types import TracebackType
from typing import Self

from ledger import bulk, files, keys
from ledger.bulk import Packed
from ledger.errors import LogClosed, LogDamaged, LogFailed, NoteError, NotFound
from ledger.frames import HEADER, Fault, batches, parse, skip, whole
from ledger.merkle import EMPTY_ROOT, HASH_BYTES, KEPT_LEVEL, Tree, leaf_hashes
from ledger.note import Checkpoint, Signer, Verifier
from ledger.reader import read_checkpoint
from ledger.receipts import read_receipts
from ledger.resume import BLOCK, STRIDE, Block, Resume
from ledger.tile_store import TileStore
from ledger.tiles import HEIGHT, LENGTH_BYTES, WIDTH, Tile
from ledger.witnessing import read_witnessed

ORIGIN = "twinloop.local/ledger"  # name your own: an auditor tells logs apart by it


@dataclass(frozen=True)
class Head:
    """How many entries are durable, and their root."""

    size: int
    root: bytes


class Log:
    """One log directory, open for writing by this process alone. Every method may be called from any thread.

    Memory: ~5 bytes an entry (hashes and offset of every sixteenth); what lies between is read and hashed anew.
    """

    def __init__(self, directory: Path, signer: Signer, lock: int, descriptor: int) -> None:
        self.directory = directory
        self.verifier: Verifier = signer.verifier()
        self.torn_bytes = 0  # cut off at opening: a write that no caller was told of
        self.mended_tiles = 0  # written afresh at opening
        self.resumed = 0  # entries that the opening had not to hash anew
        self._signer = signer
        self._lock_descriptor = lock
        self._descriptor = descriptor
        self._tree = Tree(again=lambda start, stop: leaf_hashes(self.payloads(start, stop)), pairs=bulk.pairs)
        self._tiles = TileStore(directory)
        self._resume = Resume(directory, signer)
        self._offsets = array("Q", [0])  # where the frame of every STRIDE-th entry begins
        self._end = 0  # of the last frame
        self._piece = sha256()  # of the frames after the last full block
        self._pieces: deque[bytes] = deque()  # digests of full blocks that `resume` has not yet
        self._signed = Checkpoint(signer.name, 0, EMPTY_ROOT)
        self._state: str | None = None  # why nothing can be written any more
        self._appending = threading.Lock()  # held over the disk's work; readers take none: what is there stays
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
        return self._tree.root(size)

    def head(self) -> Head:
        """Size and root of one and the same moment."""
        size = self._tree.size
        return Head(size, self._tree.root(size))

    def end(self) -> tuple[int, int]:
        """How many entries are durable, and how many bytes of the log file they take."""
        with self._appending:
            return self._tree.size, self._end

    def inclusion_proof(self, index: int, size: int) -> list[bytes]:
        return self._tree.inclusion_proof(index, size)

    def consistency_proof(self, old_size: int, new_size: int) -> list[bytes]:
        return self._tree.consistency_proof(old_size, new_size)

    def append(self, payloads: Sequence[bytes]) -> range:
        """Record entries in order; returns their indexes once they are on disk.

        Raises EntryTooLarge before anything is written, LogFailed when the disk refuses (then every later append too).
        """
        return self.append_packed(bulk.pack(payloads))

    def append_packed(self, packed: Packed) -> range:
        """The same for entries that are framed and hashed already."""
        with self._appending:
            self._refuse_if_ended()
            try:
                files.write_all(self._descriptor, packed.data)
                os.fdatasync(self._descriptor)
            except OSError as error:
                # After a failed fsync the kernel may drop the pages and report success next time: never retry.
                self._state = f"{self.directory / files.LOG}: the disk refused a write ({error})"
                raise LogFailed(f"{self._state}; free or replace the disk and start again") from error
            first = self._tree.size
            self._add(packed.data, packed.lengths, packed.leaves)
            self._tree.forget(self._signed.size // WIDTH * WIDTH)  # tiles of the others are still to be made
            return range(first, self._tree.size)

    def read(self, index: int) -> bytes:
        """The bytes of one entry. Raises NotFound, LogDamaged, LogClosed."""
        if not 0 <= index < self._tree.size:
            raise NotFound(f"{self.directory}: no entry {index}, the log has {self._tree.size}")
        at, data = self._stretch(index, index + 1)
        position = skip(data, index % STRIDE)
        payload = parse(data, position)
        if not isinstance(payload, bytes):  # or the length of one before it, in the same stretch
            before, end = whole(data[:position])
            raise LogDamaged(
                _damage(self.directory, index - index % STRIDE + len(before), Fault(at + end, payload, at + len(data)))
            )
        return payload

    def payloads(self, start: int, stop: int) -> list[bytes]:
        """The bytes of many entries, with one read. Raises LogDamaged, LogClosed."""
        stop = min(stop, self._tree.size)
        if start >= stop:
            return []
        found, _ = whole(self._stretch(start, stop)[1])
        first = start - start % STRIDE
        if len(found) < stop - first:
            self.read(first + len(found))  # raises
        return found[start - first : stop - first]

    def entries(self, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
        """The bytes of the entries from `start` up to `stop` (to the end as of now without it)."""
        stop = self._tree.size if stop is None else min(stop, self._tree.size)
        for at in range(start, stop, WIDTH):
            yield from self.payloads(at, min(at + WIDTH, stop))

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
                self._write_tiles(head.size)
                _write_checkpoint(self.directory, self._signer, checkpoint)
                self._signed = checkpoint
                self._note_blocks()
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

    def _add(self, data: bytes, lengths: Iterable[int], leaves: bytes) -> None:
        begin, size = self._end, self._tree.size
        ends = list(accumulate(lengths, initial=begin))
        fresh, view = begin, memoryview(data)
        for end in ends[BLOCK - size % BLOCK :: BLOCK]:
            self._piece.update(view[fresh - begin : end - begin])
            self._pieces.append(self._piece.digest())
            self._piece, fresh = sha256(), end
        self._piece.update(view[fresh - begin :])
        self._offsets.extend(ends[STRIDE - size % STRIDE :: STRIDE])
        self._end = ends[-1]
        self._tree.extend(leaves)

    def _recover(self) -> None:
        """Read the whole log, cut a torn tail, and hold the rest against checkpoint and anchors."""
        path = self.directory / files.LOG
        signed = _read_checkpoint(self.directory, self.verifier)
        blocks = self._resume.read(self._descriptor)
        for block in blocks:
            self._offsets.extend(accumulate(block.lengths, initial=self._offsets.pop()))
        self._tree.extend_forgotten(b"".join([block.nodes for block in blocks]))
        self._end, self.resumed = self._offsets[-1], self._tree.size
        torn: Fault | None = None
        with path.open("rb") as stream:
            for found in batches(stream, self._end):
                if isinstance(found, Fault):
                    if found.resumes_at is not None:
                        raise LogDamaged(_damage(self.directory, self._tree.size, found))
                    torn = found
                    break
                lengths = [HEADER.size + len(payload) for payload in found.payloads]
                self._add(found.data, lengths, b"".join(leaf_hashes(found.payloads)))
                self._tree.forget(self._tree.size)
        self._compare(signed, torn)
        if torn is not None:
            self.torn_bytes = path.stat().st_size - torn.offset
            os.ftruncate(self._descriptor, torn.offset)
            os.fsync(self._descriptor)
        else:
            os.fdatasync(self._descriptor)  # whole frames of a killed process may still be in the page cache only
        self._signed = signed
        try:
            self.mended_tiles = self._tiles.mend(signed.size, self._tile, self._tile_bytes)
        except OSError as error:
            place = self.directory / files.TILES
            raise LogDamaged(
                f"{place}: tiles cannot be written ({error}); remove it, tiles follow from the log"
            ) from error
        self._note_blocks()

    def _note_blocks(self) -> None:
        """Let the next start know the full blocks under the checkpoint."""
        fresh = range(self._resume.blocks, self._signed.size // BLOCK)
        if not fresh:
            return
        try:
            self._resume.write([self._block(number) for number in fresh])
        except OSError as error:
            raise LogFailed(
                f"{self.directory}: the disk refused a write ({error}); free or replace the disk"
            ) from error

    def _block(self, number: int) -> Block:
        """All of it is of what was appended or checked, nothing is read again: that may have changed meanwhile."""
        first = number * BLOCK // STRIDE
        offsets = self._offsets[first : first + BLOCK // STRIDE + 1]
        lengths = [stop - start for start, stop in pairwise(offsets)]
        return Block(self._pieces.popleft(), self._tree.nodes(KEPT_LEVEL, first, first + len(lengths)), lengths)

    def _stretch(self, start: int, stop: int) -> tuple[int, bytes]:
        """Where the frames of these entries begin, and their bytes; some before and after them may be there, too."""
        if self._descriptor < 0:
            raise LogClosed(f"{self._state}; open it again to read")
        first, last = start // STRIDE, -(-stop // STRIDE)
        begin = self._offsets[first]
        end = self._offsets[last] if last < len(self._offsets) else self._end
        return begin, os.pread(self._descriptor, end - begin, begin)

    def _write_tiles(self, size: int) -> None:
        try:
            self._tiles.write(size, self._signed.size, self._tile)
        except OSError as error:
            raise LogFailed(f"{self.directory}: the disk refused a tile ({error}); free or replace the disk") from error

    def _tile(self, tile: Tile) -> bytes:
        """What the tile holds."""
        if tile.level is not None:
            return self._tree.nodes(tile.level * HEIGHT, tile.start, tile.start + tile.width)
        data = self._stretch(tile.start, tile.start + tile.width)[1]
        return bulk.bundle(data, tile.width)

    def _tile_bytes(self, tile: Tile) -> int:
        """How long a full tile is."""
        if tile.level is not None:
            return WIDTH * HASH_BYTES
        first = tile.start // STRIDE
        return self._offsets[first + WIDTH // STRIDE] - self._offsets[first] - WIDTH * (HEADER.size - LENGTH_BYTES)

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
        self._compare_witnessed()
        for receipt in read_receipts(self.directory)[0]:
            if receipt.size > self._tree.size or self._tree.root(receipt.size) != receipt.root_bytes():
                raise LogDamaged(
                    f"{path}: anchor {receipt.number} says another root at size {receipt.size} than this log of "
                    f"{self._tree.size} entries: restore the log that belongs to {self.directory / files.ANCHORS}"
                )

    def _compare_witnessed(self) -> None:
        """What witnesses have cosigned must be in this log: they will not cosign another past."""
        try:
            found = read_witnessed(self.directory, self.verifier, ())
        except NoteError as error:
            raise LogDamaged(f"{error}; restore the file from a copy") from error
        if found is None:
            return
        seen = found.checkpoint
        if seen.size > self._tree.size or self._tree.root(seen.size) != seen.root:
            raise LogDamaged(
                f"{self.directory / files.WITNESSED} is of {seen.size} entries with another root than this log of "
                f"{self._tree.size} entries has: restore the log that its witnesses saw"
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


_FOLLOW = (files.TILES, files.RESUME, files.ANCHORS, files.WITNESSED)
"""What is there only after a log's first entries."""


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
    elif left := [name for name in _FOLLOW if (directory / name).exists()]:
        raise LogDamaged(
            f"{directory} has {', '.join(left)}, but neither {files.LOG} nor {files.CHECKPOINT}: restore them from a copy, "
            "or use an empty directory"
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
