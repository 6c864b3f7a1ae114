"""Commands points when a contract says so: each event once, after as many blocks as its row asks.

Must not know contracts or commands from inside. What was commanded is known by its key, (transaction, log index): an
event that is read twice, after a crash or on a chain that took a block back, commands nothing twice.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Awaitable, Callable
from pathlib import Path

from control.registries import device_hash
from ledger.anchoring import Event
from ledger.anchors import Anchorer
from ledger.errors import LedgerError
from ledger.files import replace
from twin.anchoring import ChainRule
from twin.errors import TwinloopError

EVERY_S = 2.0  # from one look at the chain to the next: the fastest public chains make a block in so long
FILE = "chain-events.json"  # the block from which each row is read next
Submit = Callable[[str, str, float, str], Awaitable[object]]
"""(key, point, value, reason)"""
log = logging.getLogger("twinloop.chain")


class ChainRules:
    """The rows [[chain_event]] of a plant at work."""

    def __init__(
        self, plant: str, rules: tuple[ChainRule, ...], anchorer: Anchorer, folder: Path, submit: Submit
    ) -> None:
        self._plant, self._rules, self._anchorer, self._submit = plant, rules, anchorer, submit
        self._path = folder / FILE
        self._failure = ""
        self._next = self._read()

    async def run(self) -> None:
        """Until cancelled; a plant without rows asks its chain nothing."""
        while self._rules:
            await self.look()
            await asyncio.sleep(EVERY_S)

    async def look(self) -> int:
        """Read every row on from where it was left; returns how many events were acted on."""
        acted = 0
        for rule in self._rules:
            name = _name(rule)
            try:
                heard = await asyncio.to_thread(
                    self._anchorer.events, rule.contract, rule.event, self._next.get(name, 0), rule.confirmations
                )
            except LedgerError as error:
                self._say(str(error))
                continue
            for event in heard.events:
                if self._fits(rule, event):
                    await self._act(rule, event)
                    acted += 1
            if heard.next_block != self._next.get(name, 0):
                self._next[name] = heard.next_block
                await asyncio.to_thread(self._keep)  # second: what was read is commanded by then
            self._say("")
        return acted

    def _fits(self, rule: ChainRule, event: Event) -> bool:
        wanted = device_hash(self._plant, rule.device) if rule.device else rule.topic
        return not wanted or event.topics[1:2] == ("0x" + wanted,)

    async def _act(self, rule: ChainRule, event: Event) -> None:
        for point, value in rule.sets:
            key = f"chain:{event.tx_hash}:{event.log_index}:{point}"
            reason = f"{rule.contract} said {rule.event} in transaction {event.tx_hash}, event {event.log_index}"
            try:
                await self._submit(key, point, value, reason)
            except TwinloopError as error:
                log.error("%s, but %s cannot be set to %g: %s", reason, point, value, error)

    def _read(self) -> dict[str, int]:
        try:
            found = json.loads(self._path.read_text("utf-8"))
            return {str(name): int(block) for name, block in found.items()}
        except FileNotFoundError:
            return {}
        except (ValueError, AttributeError, TypeError) as error:
            log.error("%s cannot be read (%s): events are read from the first block on", self._path, error)
            return {}

    def _keep(self) -> None:
        replace(self._path, (json.dumps(self._next, sort_keys=True) + "\n").encode())

    def _say(self, failure: str) -> None:
        """Once when the chain cannot be asked, once when it can again."""
        if failure and not self._failure:
            log.warning("events on the chain cannot be read: %s", failure)
        elif self._failure and not failure:
            log.info("events on the chain are read again")
        self._failure = failure


def _name(rule: ChainRule) -> str:
    return f"{rule.contract}.{rule.event} {rule.topic or rule.device} {rule.confirmations}"
