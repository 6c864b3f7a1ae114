"""Records into the ledger of a server that does not run; must not know why."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from pathlib import Path

from control.entry_kinds import sealed
from control.places import LEDGER, only_one
from ledger.entry import JSON, Entry, encode
from ledger.log import Log
from ledger.personal import Salts


def record(data: Path, kind: str, body: Mapping[str, JSON], now_ns: int, change: Callable[[], object]) -> None:
    """Makes the change, then its entry under a checkpoint. Before the first start there is no ledger, and no entry.

    Raises:
        Unavailable: a server has the folder after all; nothing is changed.
        LedgerError: the log contradicts its checkpoint; nothing is changed.
    """
    folder = data / LEDGER
    with only_one(data), contextlib.ExitStack() as closing:
        log = closing.enter_context(Log.open(folder)) if folder.is_dir() else None
        change()
        if log is not None:
            salts = closing.enter_context(contextlib.closing(Salts(folder)))
            log.append([encode(Entry(kind, now_ns, sealed(kind, body, salts.seal)))])
            log.checkpoint()
