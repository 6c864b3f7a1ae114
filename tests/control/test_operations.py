"""How the server fares: what is asked often is not found out each time."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from control import operations
from control.operations import SIZES_KEPT_S, Operations
from control.places import HISTORY_FILE, LEDGER

NOTHING: Any = None


async def test_the_data_folder_is_walked_once_a_minute_however_many_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    walks: list[Path] = []
    walk = operations._sizes
    monkeypatch.setattr(operations, "_sizes", lambda data: (walks.append(data), walk(data))[1])
    (tmp_path / LEDGER).mkdir()
    (tmp_path / LEDGER / "log").write_bytes(b"x" * 10)
    (tmp_path / f"{HISTORY_FILE}.wal").write_bytes(b"x" * 7)
    now_s = [100.0]
    asked = Operations(tmp_path, *[NOTHING] * 6, started=0, timer=lambda: now_s[0])
    answers = await asyncio.gather(*(asked.sizes() for _ in range(5)))
    assert [a[0] for a in answers] == [{"history": 7, "ledger": 10, "other": 0}] * 5 and len(walks) == 1
    (tmp_path / "more").write_bytes(b"x" * 3)
    now_s[0] += SIZES_KEPT_S - 1
    assert (await asked.sizes())[0]["other"] == 0
    now_s[0] += 1
    assert (await asked.sizes())[0]["other"] == 3 and len(walks) == 2
