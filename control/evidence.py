"""What the server puts into the ledger, and how far that is durable, checkpointed and anchored; decides no content.

Must not know commands or the twin: they hand over kinds and bodies.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import math
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path

import duckdb
import numpy as np
from numpy.typing import NDArray

from control.audit_index import ERASED_NAME, AuditIndex, Wanted
from control.entry_kinds import renamed, sealed
from control.places import INDEX
from control.reach import Reach, Watched, anchor_alarm, witness_alarm
from ledger.anchoring import NodeSettings
from ledger.anchors import Anchorer
from ledger.embedded import compare
from ledger.entry import CHAIN_KIND, JSON, Entry, decode, encode
from ledger.errors import AnchorConflict, AnchorError, LedgerError
from ledger.files import CHAIN, NODE_FILE
from ledger.log import Log
from ledger.personal import Salts, is_sealed
from ledger.receipts import Receipt
from ledger.tickets import Ticket
from ledger.witness_worker import WitnessWorker
from ledger.writer import LogWriter
from protocols.link import Clock
from twin.anchoring import Anchoring
from twin.columns import Columns
from twin.errors import Unavailable
from twin.plant import EMBEDDED, Plant
from twin.retention import Expiry
from twin.store import Batch, Store

LEDGER_WAIT_S = 5.0  # how long a history batch waits for room in the ledger's queue before it is held
HISTORY_BATCH = "history.batch"
HISTORY_RETENTION = "history.retention"
GRAPH = "graph"
PREDICTION, PREDICTION_SCORE = "prediction", "prediction.score"
LOOKAHEAD = "lookahead"
ALARM = "alarm"
ERASURE = "erasure"
PLANT = "plant"
MODEL = "model"
REGISTRY = "registry"
ACCESS = "access"
log = logging.getLogger("twinloop.evidence")


def _node(chain: Anchoring) -> NodeSettings | None:
    """None for the embedded chain."""
    if not chain.rpc:
        return None
    return NodeSettings(chain.rpc, chain.chain_id, chain.contract, chain.confirmations, chain.timeout_s)


def batch_body(batch: Batch) -> dict[str, JSON]:
    return {"batch": batch.batch, "rows": batch.rows, "sha256": batch.digest}


def unrecorded(log: Log, store: Store) -> list[Batch]:
    """The batches of history after the newest one that the log has an entry of."""
    for index in range(log.size - 1, -1, -1):
        entry = decode(log.read(index))
        if entry.kind == HISTORY_BATCH:
            return store.batches_from(int(str(entry.body["batch"])) + 1)
    return store.batches_from(0)


def opened(entry: Entry, salts: Salts) -> Entry:
    """With names for the salted hashes of persons; who was erased is "(erased)"."""

    def name(held: str) -> str:
        return (salts.opened(held) or ERASED_NAME) if is_sealed(held) else held

    body = renamed(entry.kind, entry.body, name)
    return entry if body is entry.body else replace(entry, body=body)


class Evidence:
    """The server's ledger: one log, one writer thread, one anchoring thread."""

    def __init__(
        self, directory: Path, plant_id: str, clock: Clock, chain: Anchoring = EMBEDDED, history: Store | None = None
    ) -> None:
        """`history`: where the index of the entries can be asked, too; without it the index is by itself."""
        self._chain, self._clock = chain, clock
        self.on_anchor: Callable[[], object] = lambda: None  # told of anchors, cosignatures and alarms, on a thread
        self._held: deque[Batch] = deque()
        self._stop = threading.Event()
        self._wake = threading.Event()  # an anchor is asked for, or the end
        self._oldest = (-1, 0)  # index and time of the oldest entry that is not anchored
        self._alarmed = {"anchors": "", "witnesses": ""}  # what the log was told
        self._tried = threading.Event()  # an anchor was made, or refused
        self._anchor_failure: str | None = None
        self._conflict = False  # the chain has another history: no waiting mends that
        self._contract: str | None = None  # what the newest entry `chain` names, once it was looked for
        self._anchoring = threading.Lock()
        self._thread = threading.Thread(target=self._anchor_for_ever, name="anchors", daemon=True)
        connect = duckdb.connect().cursor if history is None else history.cursor
        with contextlib.ExitStack() as undo:
            self.log = undo.enter_context(Log.open(directory, f"twinloop.local/{plant_id}"))
            if not chain.rpc and not (directory / CHAIN / NODE_FILE).exists():
                compare(self.log, directory / CHAIN)
            self.salts = undo.enter_context(contextlib.closing(Salts(directory)))
            self.index = AuditIndex(connect, directory.with_name(INDEX), self.log, self.salts)
            undo.callback(self.index.close)
            self.anchorer = undo.enter_context(Anchorer(directory, node=_node(chain)))
            self.writer = LogWriter(self.log)
            undo.callback(self.writer.close)
            self.witnesses = WitnessWorker(self.log, chain.every_s, self._tell)
            undo.pop_all()
        self._thread.start()

    def record(
        self, kind: str, body: Mapping[str, JSON], time_ns: int | None = None, wait_s: float = 0.0
    ) -> Ticket[int]:
        """Durable when the ticket gives the entry's index. Waits at most `wait_s` for room in the queue.

        Raises:
            LedgerError: nothing can be recorded now; the message says why.
        """
        when = self._clock() if time_ns is None else time_ns
        return self.writer.submit(encode(Entry(kind, when, sealed(kind, body, self.salts.seal))), wait_s)

    def entry(self, index: int) -> Entry:
        """With the names of persons who were not erased."""
        return opened(decode(self.log.read(index)), self.salts)

    def record_batch(self, batch: Batch) -> None:
        """A batch of history was committed. Called on the history thread, in order of batches.

        What the ledger cannot take now is held and goes first the next time; after a stop `catch_up` finds it.
        """
        self._held.append(batch)
        try:
            while self._held:
                first = self._held[0]
                self.record(HISTORY_BATCH, batch_body(first), wait_s=LEDGER_WAIT_S)
                self._held.popleft()
        except LedgerError as error:
            log.error("%d history batches wait for the ledger: %s", len(self._held), error)

    def record_retention(self, expiry: Expiry) -> bool:
        """Batches are about to leave history. True once that is durable; else they stay. On the history thread."""
        body: dict[str, JSON] = {
            "first": expiry.first, "last": expiry.last, "batches": expiry.batches, "rows": expiry.rows,
            "oldest_as_of_ns": expiry.oldest_as_of, "oldest_known_at_ns": expiry.oldest_known_at,
        }  # fmt: skip
        try:
            self.record(HISTORY_RETENTION, body, wait_s=LEDGER_WAIT_S).result(LEDGER_WAIT_S)
        except (LedgerError, TimeoutError) as error:
            log.error("batches %d to %d stay although they have expired: %s", expiry.first, expiry.last, error)
            return False
        return True

    def record_points(self, plant: Plant, columns: Columns, ids: NDArray[np.int32]) -> None:
        """Changes of points that their `audit` column names, one entry each; their batch of history is recorded, too."""
        when, entries = self._clock(), []
        for i in ids.tolist():
            value = float(columns.value[i])
            body: dict[str, JSON] = {
                "point": plant.points[i].name,
                "device": plant.points[i].device,
                "value": value if math.isfinite(value) else None,
                "text": columns.text.get(i),
                "quality": int(columns.quality[i]),
                "source_time_ns": int(columns.source_time[i]),
            }
            entries.append(encode(Entry("point", when, body)))
        try:
            self.writer.submit_many(entries)
        except LedgerError as error:
            log.error("the changes of %d points have no entries of their own: %s", len(entries), error)

    def catch_up(self, store: Store) -> int:
        """Record the batches that a crash kept from the ledger; returns how many. Before any new batch."""
        missing = unrecorded(self.log, store)
        for batch in missing:
            self.record_batch(batch)
        return len(missing)

    def reach(self) -> Reach:
        last: Receipt | None = self.anchorer.last
        failure = str(self.writer.failure) if self.writer.failure else self._anchor_failure
        recorded, anchored = self.log.size, last.size if last else 0
        waits_s = self._waits_s(anchored, recorded)
        seen = self.witnesses.witnessed
        watched = tuple(Watched(**dataclasses.asdict(state)) for state in self.witnesses.states())
        return Reach(
            recorded=recorded,
            checkpointed=self.log.signed.size,
            anchored=anchored,
            anchored_time_s=float(last.block_time_s) if last else None,
            failure=failure,
            waits_s=waits_s,
            alarm=f"the chain contradicts this log: {failure}"
            if self._conflict
            else anchor_alarm(recorded - anchored, waits_s, self._chain.alarm_s, failure or "no anchor came"),
            witnessed=seen.checkpoint.size if seen else 0,
            witnessed_time_s=float(max(one.time_s for one in seen.cosignatures)) if seen else None,
            witnesses=watched,
            witness_alarm=witness_alarm(watched, self._chain.alarm_s),
        )

    def anchor_now(self, wait_s: float) -> Reach:
        """Ask for an anchor of all that is checkpointed, and wait so long for it; how far the evidence reaches then.

        Witnesses are asked, too, and not waited for.
        """
        self.witnesses.ask_now()
        signed, end = self.log.signed.size, time.monotonic() + wait_s
        self._tried.clear()
        self._wake.set()
        while (found := self.reach()).anchored < signed and (left_s := end - time.monotonic()) > 0:
            if self._tried.wait(left_s) and self._anchor_failure is not None:
                return self.reach()
            self._tried.clear()
        return found

    def _waits_s(self, anchored: int, recorded: int) -> float:
        if anchored >= recorded:
            return 0.0
        index, time_ns = self._oldest
        if index != anchored:
            time_ns = decode(self.log.read(anchored)).time_ns
            self._oldest = anchored, time_ns
        return max(0.0, (self._clock() - time_ns) / 1e9)

    def entries(self, last: int, kind: str = "") -> list[tuple[int, Entry]]:
        """The newest entries, newest first."""
        if not kind:
            size = self.log.size
            return [(i, self.entry(i)) for i in range(size - 1, max(-1, size - 1 - last), -1)]
        return self.found(Wanted(kind), last)

    def found(self, wanted: Wanted, last: int) -> list[tuple[int, Entry]]:
        """The newest entries that fit, newest first.

        Raises:
            Unavailable: the index is being made anew.
        """
        return [(i, self.entry(i)) for i in self.index.find(wanted, last)]

    @contextlib.contextmanager
    def anchoring_paused(self, wait_s: float) -> Iterator[None]:
        """No root is on its way to the chain meanwhile.

        Raises:
            TimeoutError: one still was after `wait_s`.
        """
        if not self._anchoring.acquire(timeout=wait_s):
            raise TimeoutError(f"an anchor was on its way for {wait_s:g} s")
        try:
            yield
        finally:
            self._anchoring.release()

    def close(self) -> None:
        """Everything submitted durable, checkpointed and anchored where the chain answers; then all is closed."""
        self.writer.close()
        self.witnesses.close()
        self._stop.set()
        self._wake.set()
        self._thread.join()
        self.anchorer.close()
        self.index.close()
        self.salts.close()
        self.log.close()

    def _anchor_for_ever(self) -> None:
        self._anchor_once()
        while not self._stop.is_set():
            self._wake.wait(self._chain.every_s)
            self._wake.clear()
            self._anchor_once()
            self._tried.set()
            self._say_alarms()
        self._anchor_once()

    def _tell(self) -> None:
        self.on_anchor()  # whoever listens by then

    def _say_alarms(self) -> None:
        """Once when anchors or witnesses begin to be late, once when they are not any more."""
        reach = self.reach()
        for what, alarm in (("anchors", reach.alarm), ("witnesses", reach.witness_alarm)):
            if bool(alarm) == bool(self._alarmed[what]):
                continue
            self._alarmed[what] = alarm
            if alarm:
                log.error("%s", alarm)
            else:
                log.info("%s come in time again", what)
            self.on_anchor()

    def _anchor_once(self) -> None:
        signed = self.log.signed
        last = self.anchorer.last
        if signed.size == 0 or (last is not None and last.size >= signed.size):
            return
        try:
            with self._anchoring:
                receipt = self.anchorer.anchor(signed.size, signed.root)
        except AnchorError as error:
            self._conflict = isinstance(error, AnchorConflict)
            if self._anchor_failure is None:
                log.warning("anchoring failed: %s", error)
            self._anchor_failure = str(error)
            return
        if self._anchor_failure is not None:
            log.info("anchoring works again")
        self._anchor_failure, self._conflict = None, False
        self._name_contract(receipt)
        self.on_anchor()

    def _name_contract(self, receipt: Receipt) -> None:
        """An entry says where the log is anchored: whoever removes chain and receipts cannot remove that."""
        if self._contract == receipt.contract:
            return
        try:
            if self._contract is None:
                named = self.entries(1, CHAIN_KIND)
                self._contract = str(named[0][1].body["contract"]) if named else ""
            if self._contract != receipt.contract:
                body: dict[str, JSON] = {
                    "chain_id": receipt.chain_id, "contract": receipt.contract, "before": self._contract
                }  # fmt: skip
                self.record(CHAIN_KIND, body)
                if self._contract:
                    log.warning(
                        "the log is anchored at contract %s now; before at %s", receipt.contract, self._contract
                    )
                self._contract = receipt.contract
        except (LedgerError, Unavailable) as error:
            log.warning("no entry names the contract %s yet: %s", receipt.contract, error)
