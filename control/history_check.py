"""Compares every batch of history with the digest the ledger holds of it; must not know who asks."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from control.evidence import HISTORY_BATCH
from ledger.entry import Entry
from twin.store import Store

BATCHES_AT_ONCE = 500  # keeps a check of months of history under some 100 MB
PROBLEMS_MAX = 100
BATCH_FIRST, BATCH_LAST = -(2**63), 2**63 - 1


def check_history(store: Store, entries: Iterable[Entry]) -> dict[str, Any]:
    """{"batches", "waiting", "problems": [{"place", "what", "hint"}], "ok"}.

    Altered, missing and added batches are named. `waiting` counts batches committed after the newest entry, as a crash
    leaves them: the server records them when it starts.
    """
    recorded = {int(str(e.body["batch"])): str(e.body["sha256"]) for e in entries if e.kind == HISTORY_BATCH}
    problems: list[dict[str, str]] = []
    numbers = sorted(recorded)
    con = store.cursor()
    first = BATCH_FIRST
    for start in range(0, len(numbers), BATCHES_AT_ONCE):
        part = numbers[start : start + BATCHES_AT_ONCE]
        found = store.recompute(con, first, part[-1])
        first = part[-1] + 1
        for batch in part:
            if found.get(batch) != recorded[batch]:
                what = "its rows are gone" if batch not in found else "its rows are not what the ledger recorded"
                hint = f"SELECT * FROM history WHERE batch = {batch}; compare with a back-up"
                problems.append({"place": f"history batch {batch}", "what": what, "hint": hint})
        problems += [_unknown(batch) for batch in found.keys() - recorded.keys()]
    found = store.recompute(con, first, BATCH_LAST)
    waiting = {b.batch: b.digest for b in store.batches_from(first)}  # read second: a batch may come in between
    problems += [_unknown(batch) for batch, digest in found.items() if waiting.get(batch) != digest]
    con.close()
    return {
        "batches": len(recorded), "waiting": len(waiting), "problems": problems[:PROBLEMS_MAX], "ok": not problems
    }  # fmt: skip


def _unknown(batch: int) -> dict[str, str]:
    what = "its rows are not in the ledger"
    return {"place": f"history batch {batch}", "what": what, "hint": "they were added from outside"}
