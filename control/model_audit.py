"""Promotions of models as entries of the ledger, and checked against them; must not know what models do.

The registry's record is the outbox: a line without an entry waits. A running server carries it within seconds; without
one the command line does, once it has the data folder for itself. A mark remembers how far the entries reach.
"""

from __future__ import annotations

import asyncio
import json
import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from control.evidence import MODEL, Evidence
from control.places import LEDGER, MODELS, only_one
from ledger import files
from ledger.entry import JSON, Entry, decode, encode
from ledger.errors import LedgerError
from ledger.log import Log
from ml.registry import RECORD, Promotion, Registry
from twin.errors import TwinloopError

MARK = "recorded.json"
LOOK_EVERY_S = 1.0  # a look at the size of one file
AT_ONCE = 500
PROBLEMS_MAX = 100
log = logging.getLogger("twinloop.models")


def entry(promotion: Promotion) -> dict[str, JSON]:
    """A promotion as the ledger keeps it: the whole of it, and the digest of its line and all before."""
    moves: list[JSON] = [{"model": m.model, "stage": str(m.stage), "share": m.share} for m in promotion.moves]
    body: dict[str, JSON] = {
        "n": promotion.n, "task": promotion.task, "scope": promotion.scope, "moves": moves, "by": promotion.by,
        "why": promotion.why, "digest": promotion.digest, "contest": None,
    }  # fmt: skip
    if promotion.contest is not None:
        held = promotion.contest
        verdict = {k: _finite(v) for k, v in asdict(held.verdict).items()}
        body["contest"] = {"champion": held.champion, "data_sha256": held.data, **verdict}
    return body


def record_stopped(data: Path) -> int:
    """Entries of what waits, in the ledger of a server that does not run; how many.

    Raises:
        Unavailable: a server has the folder; it carries them itself.
    """
    registry = Registry(data / MODELS)
    if not (data / LEDGER / files.LOG).exists():
        return 0
    with only_one(data), Log.open(data / LEDGER) as ledger:
        waiting = registry.record()[_reach(ledger, registry.folder) :]
        if waiting:
            indexes = ledger.append([encode(Entry(MODEL, p.time_ns, entry(p))) for p in waiting])
            ledger.checkpoint()
            _mark(registry.folder, waiting[-1].n + 1, indexes[-1])
    return len(waiting)


class Promotions:
    """A running server's side: looks whether the record grew and makes entries of what is new."""

    def __init__(self, data: Path, evidence: Evidence) -> None:
        self._registry = Registry(data / MODELS)
        self._evidence = evidence
        self._size = 0
        self._failure = ""

    async def run(self) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY_S)
            try:
                await self._carry()
            except (LedgerError, TwinloopError, OSError) as error:
                if str(error) != self._failure:
                    log.error("promotions of models wait for the ledger: %s", error)
                self._failure = str(error)

    async def _carry(self) -> None:
        path = self._registry.folder / RECORD
        size = path.stat().st_size if path.is_file() else 0
        if size == self._size:
            return
        waiting = await asyncio.to_thread(self._waiting)
        for first in range(0, len(waiting), AT_ONCE):
            part = waiting[first : first + AT_ONCE]
            tickets = [self._evidence.record(MODEL, entry(p), p.time_ns) for p in part]
            indexes = [await ticket for ticket in tickets]
            await asyncio.to_thread(_mark, self._registry.folder, part[-1].n + 1, indexes[-1])
        self._size, self._failure = size, ""

    def _waiting(self) -> Sequence[Promotion]:
        return self._registry.record()[_reach(self._evidence.log, self._registry.folder) :]


def waits(data: Path) -> int:
    """Promotions without an entry, as far as the mark knows."""
    registry = Registry(data / MODELS)
    return len(registry.record()) - _read_mark(registry.folder)[0]


def _reach(ledger: Log, folder: Path) -> int:
    """How many lines of the record have an entry: what the mark says and, after a crash, what came after it."""
    rows, index = _read_mark(folder)
    if not 0 <= index < ledger.size or not _is(decode(ledger.read(index)), rows - 1):
        rows, index = 0, -1
    for place in range(ledger.size - 1, index, -1):
        found = decode(ledger.read(place))
        if found.kind == MODEL:
            return int(str(found.body["n"])) + 1
    return rows


def _is(found: Entry, n: int) -> bool:
    return found.kind == MODEL and found.body.get("n") == n


def _read_mark(folder: Path) -> tuple[int, int]:
    try:
        kept = json.loads((folder / MARK).read_text())
        return int(kept["rows"]), int(kept["entry"])
    except (OSError, ValueError, KeyError, TypeError):
        return 0, -1  # a mark saves time, no more: the ledger itself is asked


def _mark(folder: Path, rows: int, index: int) -> None:
    files.replace(folder / MARK, json.dumps({"rows": rows, "entry": index}).encode())


def _finite(value: Any) -> JSON:
    return None if isinstance(value, float) and not math.isfinite(value) else value


# --- the auditor's side --------------------------------------------------------------------------------------------------


def check_promotions(record: Sequence[Promotion], entries: Mapping[int, Entry]) -> list[dict[str, str]]:
    """Problems: promotions that were changed, forged or removed. Those after the newest entry wait to become one."""
    recorded = {int(str(e.body["n"])): str(e.body["digest"]) for e in entries.values() if e.kind == MODEL}
    held = {p.n: p.digest for p in record}
    said = [(f"promotion {n}", "it is gone from the registry's record") for n in recorded if n not in held]
    said += [
        (f"promotion {n}", "it is not what the ledger recorded") for n, d in recorded.items() if held.get(n, d) != d
    ]
    newest = max(recorded, default=-1)
    said += [(f"promotion {n}", "the ledger has no entry of it") for n in held if n < newest and n not in recorded]
    hint = "the ledger holds what was recorded: see `twinloop audit show --kind model`"
    return [{"place": place, "what": what, "hint": hint} for place, what in said[:PROBLEMS_MAX]]
