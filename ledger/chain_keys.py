"""The two private keys of a chain directory: the admin appoints, the writer writes; must not know chains."""

from __future__ import annotations

import json
import secrets
from pathlib import Path

from ledger.errors import ChainError
from ledger.files import replace

KEYS = "key"
ADMIN, WRITER = "admin", "writer"


def load_keys(directory: Path, create: bool) -> dict[str, bytes]:
    """32 bytes by role; made at random where there are none and they may be.

    Raises:
        ChainError: they are missing or damaged.
    """
    path = directory / KEYS
    if create and not path.exists():
        made = {name: secrets.token_hex(32) for name in (ADMIN, WRITER)}
        replace(path, (json.dumps(made) + "\n").encode(), 0o600)
    try:
        texts = json.loads(path.read_text("utf-8"))
        return {name: bytes.fromhex(texts[name].removeprefix("0x")) for name in (ADMIN, WRITER)}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise ChainError(f"{path}: the chain's keys cannot be read ({error}); restore the file from a copy") from error
