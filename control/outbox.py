"""Hands what a store has recorded to the ledger, once each, whenever the ledger takes it; must not know what it is.

The store is the outbox: a row without an entry waits, over crashes and while the ledger cannot be written.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from typing import Protocol, TypeVar

from ledger.errors import LedgerError

AUDIT_BATCH = 100  # handed to the ledger at once
RETRY_S = 1.0
Row = TypeVar("Row")
log = logging.getLogger("twinloop.outbox")


class Letters(Protocol[Row]):
    """Rows of one store. `what` names them in the log."""

    what: str

    async def waiting(self) -> Sequence[Row]:
        """At most AUDIT_BATCH of those without an entry, oldest first."""

    async def record(self, rows: Sequence[Row]) -> None:
        """Make entries of them, and note those in the store.

        Raises:
            LedgerError: the ledger takes nothing now.
        """

    async def forget_recorded(self, rows: Sequence[Row]) -> None:
        """After a crash between ledger and store: note the entries that exist already."""


class Outbox:
    """Carries letters until cancelled."""

    def __init__(self, letters: Letters[Row]) -> None:
        self._letters = letters
        self._wake = asyncio.Event()

    def wake(self) -> None:
        """Something was stored."""
        self._wake.set()

    async def run(self) -> None:
        await self._forget()
        self._wake.set()
        while True:
            await self._wake.wait()
            self._wake.clear()
            while rows := await self._letters.waiting():
                try:
                    await self._letters.record(rows)
                except LedgerError as error:
                    log.error("%d %s wait for the ledger: %s", len(rows), self._letters.what, error)
                    await asyncio.sleep(RETRY_S)
                    await self._forget()

    async def _forget(self) -> None:
        if rows := await self._letters.waiting():
            await self._letters.forget_recorded(rows)
