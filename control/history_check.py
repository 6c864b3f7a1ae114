"""Compares every batch of history with the digest the ledger holds of it; must not know who asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from control.evidence import HISTORY_BATCH
from ledger.entry import Entry
from twin.store import Store

BATCHES_AT_ONCE = 500  # keeps a check of months of history under some 100 MB
PROBLEMS_MAX = 100


def check_history(store: Store, entries: Iterable[Entry]) -> dict[str, Any]:
    """{"batches", "problems": [{"place", "what", "hint"}], "ok"}: altered, missing and unrecorded batches are named."""
    recorded = {int(str(e.body["batch"])): str(e.body["sha256"]) for e in entries if e.kind == HISTORY_BATCH}
    problems: list[dict[str, str]] = []
    numbers = sorted(recorded)
    con = store.cursor()
    for start in range(0, len(numbers), BATCHES_AT_ONCE):
        part = numbers[start : start + BATCHES_AT_ONCE]
        found = store.recompute(con, part[0], part[-1])
        for batch in part:
            if found.get(batch) != recorded[batch]:
                what = "its rows are gone" if batch not in found else "its rows are not what the ledger recorded"
                hint = f"SELECT * FROM history WHERE batch = {batch}; compare with a back-up"
                problems.append({"place": f"history batch {batch}", "what": what, "hint": hint})
        for batch in found.keys() - recorded.keys():
            what = "its rows are not in the ledger"
            problems.append({"place": f"history batch {batch}", "what": what, "hint": "they were added from outside"})
    con.close()
    return {"batches": len(recorded), "problems": problems[:PROBLEMS_MAX], "ok": not problems}
