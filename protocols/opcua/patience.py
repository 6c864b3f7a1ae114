"""A time limit that holds for asyncua's calls, too; must not know what is waited for."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager


@asynccontextmanager
async def within(limit_s: float) -> AsyncIterator[None]:
    """As asyncio.timeout.

    Before Python 3.12 asyncua waits with wait_for2. When the limit and the answer come in the same turn of the loop, that
    raises a subclass of CancelledError, which asyncio.timeout does not turn into a TimeoutError: the task would end as if
    somebody had cancelled it, and nobody would hear of it.

    Raises:
        TimeoutError: the limit passed.
    """
    async with asyncio.timeout(limit_s):
        try:
            yield
        except asyncio.CancelledError as cancelled:
            raise asyncio.CancelledError from cancelled
