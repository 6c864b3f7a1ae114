"""Compares every batch of history with the digest the ledger holds of it; must not know who asks."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from control.evidence import HISTORY_BATCH, HISTORY_RETENTION
from ledger.entry import Entry
from twin.store import Store

BATCHES_AT_ONCE = 500  # keeps a check of months of history under some 100 MB
PROBLEMS_MAX = 100
BATCH_FIRST, BATCH_LAST = -(2**62), 2**63 - 1


@dataclass(slots=True)
class _Recorded:
    """What the ledger says of history: digests by batch, and the spans of batches that were let go."""

    digests: dict[int, str] = field(default_factory=dict)
    let_go: list[tuple[int, int]] = field(default_factory=list)

    def expired(self, batch: int) -> bool:
        return any(first <= batch <= last for first, last in self.let_go)


def check_history(store: Store, entries: Iterable[Entry]) -> dict[str, Any]:
    """{"batches", "expired", "waiting", "problems": [{"place", "what", "hint"}], "ok"}.

    Altered, missing and added batches are named. `expired` counts batches that are gone under a `history.retention`
    entry. `waiting` counts batches committed after the newest entry, as a crash leaves them: the server records them
    when it starts.
    """
    recorded = _recorded(entries)
    problems: list[dict[str, str]] = []
    numbers = sorted(recorded.digests)
    con = store.cursor()
    first, expired = BATCH_FIRST, 0
    for start in range(0, len(numbers), BATCHES_AT_ONCE):
        part = numbers[start : start + BATCHES_AT_ONCE]
        found = store.recompute(con, first, part[-1])
        first = part[-1] + 1
        for batch in part:
            if batch not in found and recorded.expired(batch):
                expired += 1
            elif found.get(batch) != recorded.digests[batch]:
                problems.append(_unlike(batch, gone=batch not in found))
        problems += [_unknown(batch) for batch in found.keys() - recorded.digests.keys()]
    found = store.recompute(con, first, BATCH_LAST)
    waiting = {b.batch: b.digest for b in store.batches_from(first)}  # read second: a batch may come in between
    problems += [_unknown(batch) for batch, digest in found.items() if waiting.get(batch) != digest]
    con.close()
    return {
        "batches": len(recorded.digests), "expired": expired, "waiting": len(waiting),
        "problems": problems[:PROBLEMS_MAX], "ok": not problems,
    }  # fmt: skip


def _recorded(entries: Iterable[Entry]) -> _Recorded:
    made = _Recorded()
    for entry in entries:
        if entry.kind == HISTORY_BATCH:
            made.digests[int(str(entry.body["batch"]))] = str(entry.body["sha256"])
        elif entry.kind == HISTORY_RETENTION:
            made.let_go.append((int(str(entry.body["first"])), int(str(entry.body["last"]))))
    return made


def _unlike(batch: int, gone: bool) -> dict[str, str]:
    what = "its rows are gone" if gone else "its rows are not what the ledger recorded"
    hint = f"SELECT * FROM history WHERE batch = {batch}; compare with a back-up"
    return {"place": f"history batch {batch}", "what": what, "hint": hint}


def _unknown(batch: int) -> dict[str, str]:
    what = "its rows are not in the ledger"
    return {"place": f"history batch {batch}", "what": what, "hint": "they were added from outside"}
