"""A thread that shows the log's newest checkpoint to its witnesses, again and again.

Must not decide anything; a witness that does not answer keeps nobody else waiting.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass

from ledger.errors import LedgerError
from ledger.log import Log
from ledger.witnessing import Witnessed, Witnessing

EVERY_S = 10.0  # as often as roots are anchored: what is lost before, nobody outside has seen
log = logging.getLogger("twinloop.evidence")


@dataclass(frozen=True)
class WitnessState:
    """A configured witness: how many entries it has cosigned since the start; why it does not, and for how long."""

    name: str
    key: str
    url: str
    size: int
    failure: str
    failing_s: float
    conflict: bool


class WitnessWorker:
    """Runs only where the log names witnesses. `told` is called after each round, on its thread."""

    def __init__(self, opened: Log, every_s: float = EVERY_S, told: Callable[[], object] = lambda: None) -> None:
        self._witnessing = Witnessing(opened)
        self._every_s = every_s
        self._told = told
        self._stop = False
        self._wake = threading.Event()  # cosignatures are asked for, or the end
        self._said: dict[str, str] = {}
        self._since: dict[str, float] = {}  # by URL: monotonic seconds of the first failure in a row
        self._thread = threading.Thread(target=self._run, name="witnesses", daemon=True)
        if self._witnessing.endpoints:
            self._thread.start()

    @property
    def witnessed(self) -> Witnessed | None:
        """The newest checkpoint that at least one witness has cosigned; None where none of those named here has."""
        seen = self._witnessing.witnessed
        return seen if seen is not None and seen.cosignatures else None

    @property
    def failures(self) -> dict[str, str]:
        """Why the last round got no cosignature, by the URL of the witness."""
        return self._witnessing.failures

    def states(self) -> tuple[WitnessState, ...]:
        """Every configured witness as the last round left it."""
        watch, failures, since, now_s = self._witnessing, self._said, self._since, time.monotonic()
        return tuple(
            WitnessState(
                end.witness.name,
                str(end.witness),
                end.url,
                watch.cosigned.get(end.url, 0),
                failures.get(end.url, failures.get("", "")),
                now_s - since.get(end.url, since.get("", now_s)),
                end.url in watch.conflicts,
            )
            for end in watch.endpoints
        )

    def ask_now(self) -> None:
        """Begin the next round at once."""
        self._wake.set()

    def close(self) -> None:
        """A last round, then end. May be called again."""
        self._stop = True
        self._wake.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        self._round()
        while not self._stop:
            self._wake.wait(self._every_s)
            self._wake.clear()
            self._round()
        self._round()  # what was signed since

    def _round(self) -> None:
        try:
            self._witnessing.round()
        except (LedgerError, OSError) as error:
            failures = {"": str(error)}
        else:
            failures = self._witnessing.failures
        for url in sorted(failures.keys() - self._said.keys()):
            log.warning("the witness %s did not cosign: %s", url, failures[url])
        for url in sorted(self._said.keys() - failures.keys()):
            log.info("the witness %s cosigns again", url)
        now_s = time.monotonic()
        self._since = {url: self._since.get(url, now_s) for url in failures}
        self._said = dict(failures)
        self._told()
