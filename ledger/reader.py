"""Reading a log directory from outside: its key, checkpoint and frames, without its lock or its private key.

Must not write, and must not know whether what it reads is right.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from ledger.errors import LogDamaged, NoteError, NotFound
from ledger.files import CHECKPOINT, LOG
from ledger.frames import Fault, Frame, scan
from ledger.note import Checkpoint, Verifier, open_checkpoint


def require_log(directory: Path) -> None:
    """Raise NotFound unless there is a log in `directory`."""
    if not any((directory / name).exists() for name in (LOG, CHECKPOINT)):
        raise NotFound(f"{directory} is not a log directory (it has no file {LOG}); give the directory of a log")


def read_checkpoint(directory: Path, verifier: Verifier) -> tuple[Checkpoint, str]:
    """The signed checkpoint of a log, and the note it stands in. Raises NoteError, NotFound."""
    path = directory / CHECKPOINT
    try:
        note = path.read_bytes().decode("utf-8")
    except FileNotFoundError as error:
        raise NotFound(f"{path} is missing: restore it from a copy") from error
    except UnicodeDecodeError as error:
        raise NoteError(f"{path}: byte {error.start} is not UTF-8") from error
    except OSError as error:
        raise NoteError(f"{path} cannot be read: {error.strerror}") from error
    try:
        return open_checkpoint(note, verifier), note
    except NoteError as error:
        raise NoteError(f"{path}: {error}") from error


def read_frames(directory: Path) -> Iterator[Frame | Fault]:
    """Every frame and fault of the log file, as it is now."""
    try:
        with (directory / LOG).open("rb") as stream:
            yield from scan(stream)
    except FileNotFoundError as error:
        raise NotFound(f"{directory / LOG} is missing: restore it from a copy") from error
    except OSError as error:
        raise NotFound(f"{directory / LOG} cannot be read ({error.strerror}): restore it from a copy") from error


def read_payloads(directory: Path) -> Iterator[bytes]:
    """The entries' bytes in order, up to a torn tail. Raises LogDamaged where one is damaged inside the log."""
    for index, found in enumerate(read_frames(directory)):
        if isinstance(found, Frame):
            yield found.payload
        elif found.resumes_at is not None:
            raise LogDamaged(
                f"{directory / LOG}: entry {index} at byte {found.offset} is damaged ({found.why}); "
                f"run `python -m ledger verify {directory}` and restore the log from a copy"
            )
