"""The log's signing key on disk: made once, private, with the public half beside it.

Must not know what is signed.
"""

from __future__ import annotations

import secrets
from pathlib import Path

from ledger.errors import KeyFileError, NoteError
from ledger.files import KEY, PUBLIC_KEY, replace
from ledger.note import Signer, Verifier, is_name, parse_signer, parse_verifier


def create(directory: Path, name: str, public: bool = True) -> Signer:
    """Make a key called `name` (best a domain and path) in `key` (mode 0600) and, where asked for, `key.pub`."""
    if not is_name(name):
        raise KeyFileError(f"{name!r} cannot name a log: use a text without spaces and plus signs, as example.com/log")
    signer = Signer(name, secrets.token_bytes(32))
    replace(directory / KEY, f"{signer.private_text()}\n".encode(), 0o600)
    if public:
        replace(directory / PUBLIC_KEY, f"{signer.verifier()}\n".encode())
    return signer


def load_signer(directory: Path) -> Signer:
    """The private key of the log in `directory`."""
    path = directory / KEY
    text = _text(path)
    try:
        return parse_signer(text)
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}") from error


def load_verifier(directory: Path) -> Verifier:
    """The public key of the log in `directory`."""
    path = directory / PUBLIC_KEY
    text = _text(path)
    try:
        return parse_verifier(text)
    except NoteError as error:
        raise KeyFileError(f"{path}: {error}") from error


def _text(path: Path) -> str:
    try:
        return path.read_text("utf-8")
    except FileNotFoundError as error:
        raise KeyFileError(f"{path} is missing: restore it from the copy made when the log was created") from error
    except (OSError, UnicodeDecodeError) as error:
        raise KeyFileError(f"{path} cannot be read: {error}") from error
