"""Opens an SQLite file to read it and leave no trace, also where nothing can be written; must not know what is in it."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Any


def connect(path: Path, **options: Any) -> sqlite3.Connection:
    """A file without a write-ahead log beside it is nobody's now: it is read as it lies, without locks and shared memory.

    Raises:
        sqlite3.Error: it is missing, or others write it where this process may not.
    """
    log = path.with_name(path.name + "-wal")
    mode = "mode=ro" if log.exists() else "mode=ro&immutable=1"
    found: sqlite3.Connection = sqlite3.connect(f"{path.resolve().as_uri()}?{mode}", uri=True, **options)
    return found
