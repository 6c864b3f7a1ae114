"""How many exports of whole histories run at once, whatever they export; must not know what."""

from __future__ import annotations

import threading

from twin.errors import LimitExceeded

EXPORTS_MAX = 2  # each holds a row group and a transaction, or a page of steps
_running = threading.BoundedSemaphore(EXPORTS_MAX)


def begin() -> None:
    """Whoever begins one ends it.

    Raises:
        LimitExceeded: EXPORTS_MAX are running.
    """
    if not _running.acquire(blocking=False):
        raise LimitExceeded(f"{EXPORTS_MAX} exports are running", "wait for one to end")


def end() -> None:
    _running.release()
