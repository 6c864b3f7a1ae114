"""What makes a process of ours stop: signals, or the end of the process that started it; must not know what it does."""

from __future__ import annotations

import asyncio
import os
import signal


def stop_on_signals(stop: asyncio.Event) -> None:
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)


def stop_with_stdin(stop: asyncio.Event) -> None:
    """Stop when the process that started us is gone: it holds the other end of our stdin."""

    def read() -> None:
        if not os.read(0, 4096):
            asyncio.get_running_loop().remove_reader(0)
            stop.set()

    asyncio.get_running_loop().add_reader(0, read)
