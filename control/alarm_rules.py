"""Does what rules owe: webhooks, commands, what-ifs; tries again with growing pauses, and gives up into a dead letter.

At least once, each under its own key, so that a receiver, and the command queue, take it once. Decides no content.
"""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import Awaitable, Callable
from dataclasses import replace

import httpx

from control.alarm_store import AlarmStore, Delivery
from control.alarm_triggers import DEAD, DONE, WAITING
from control.alarms import Alarms
from control.errors import words
from protocols.link import Clock
from twin.alarm import Doing, Rule
from twin.errors import BadRequest, Conflict, LimitExceeded, NotFound, TwinloopError, Unavailable

IDLE_S = 1.0  # what is due without having been told of, such as after a restart, is found so soon
DETAIL_MAX = 200  # characters kept of why it failed
AGAIN = frozenset({408, 425, 429})  # refusals that another time may not come; all of 5xx, too
PASSING = (Unavailable, LimitExceeded)
"""Errors of ours that another time may not come."""
Submit = Callable[[str, str, float, str, float], Awaitable[object]]
"""(key, point, value, reason, deadline_s)"""
Start = Callable[[Rule, str], Awaitable[object]]
"""(rule, key): run its what-if"""
log = logging.getLogger("twinloop.alarms")


class Failed(Exception):
    """An attempt that did not work; `for_good`: nor will any other."""

    def __init__(self, why: str, for_good: bool) -> None:
        super().__init__(why)
        self.for_good = for_good


class AlarmRules:
    """One worker a rule: a receiver that is away holds up nobody else's."""

    def __init__(
        self, alarms: Alarms, store: AlarmStore, plant: str, submit: Submit, start: Start, clock: Clock
    ) -> None:  # fmt: skip
        self._alarms, self._store, self._plant, self._clock = alarms, store, plant, clock
        self._submit, self._start = submit, start
        self._wakes: dict[str, asyncio.Event] = {rule: asyncio.Event() for rule in alarms.triggers.rules}

    # --- what callers ask --------------------------------------------------------------------------------------------

    async def counts(self) -> dict[str, dict[str, int]]:
        """By rule, by state."""
        return await self._alarms.on_disk(self._store.counts)

    async def deliveries(self, rule: str, state: str, limit: int) -> list[Delivery]:
        """Newest first."""
        return await self._alarms.on_disk(self._store.deliveries, rule, state, limit)

    async def retry(self, identity: str) -> Delivery:
        """Try a dead letter again, with all its attempts anew.

        Raises:
            NotFound: there is none of that id, or its rule is gone. Conflict: it is not dead.
        """
        found = await self._alarms.on_disk(self._store.delivery, identity)
        if found is None or found.rule not in self._wakes:
            raise NotFound(f"no delivery {identity!r} of a rule of this plant", "see `twinloop alarm rules`")
        if found.state in (WAITING, DONE):
            raise Conflict(f"delivery {identity} is {found.state}", "only what was given up is tried again")
        again = replace(found, state=WAITING, attempts=0, next_at=self._clock(), detail="")
        await self._alarms.on_disk(self._store.tried, again)
        self._wakes[found.rule].set()
        return again

    # --- at work -----------------------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Until cancelled."""
        async with httpx.AsyncClient(trust_env=False, follow_redirects=False) as client, asyncio.TaskGroup() as tasks:
            for rule in self._alarms.triggers.rules.values():
                tasks.create_task(self._work(rule, client))
            while True:
                await self._alarms.owes.wait()
                self._alarms.owes.clear()
                for wake in self._wakes.values():
                    wake.set()

    async def _work(self, rule: Rule, client: httpx.AsyncClient) -> None:
        while True:
            self._wakes[rule.id].clear()
            try:
                owed = await self._alarms.on_disk(self._store.owed, rule.id)
                wait_s = IDLE_S if owed is None else (owed.next_at - self._clock()) / 1e9
                if owed is not None and wait_s <= 0:
                    await self._attempt(rule, owed, client)
                    continue
            except sqlite3.Error as error:
                log.error("what rule %s owes cannot be kept, trying again: %s", rule.id, error)
                wait_s = IDLE_S
            try:
                async with asyncio.timeout(min(wait_s, IDLE_S)):
                    await self._wakes[rule.id].wait()
            except TimeoutError:
                continue

    async def _attempt(self, rule: Rule, owed: Delivery, client: httpx.AsyncClient) -> None:
        attempts = owed.attempts + 1
        try:
            detail = await self._do(rule, owed, client)
            done = replace(owed, state=DONE, attempts=attempts, detail=detail)
        except Failed as failed:
            pause_s = min(rule.backoff_s * 2.0 ** min(owed.attempts, 30), rule.backoff_max_s)
            state = DEAD if failed.for_good or attempts >= rule.attempts else WAITING
            why = str(failed)[:DETAIL_MAX]
            done = replace(
                owed, state=state, attempts=attempts, next_at=self._clock() + int(pause_s * 1e9), detail=why
            )  # fmt: skip
            if state == DEAD:
                log.error("rule %s gives up %s after %d attempts: %s", rule.id, owed.id, attempts, why)
            elif attempts == 1:
                log.warning("rule %s: %s failed, trying again: %s", rule.id, owed.id, why)
        await self._alarms.on_disk(self._store.tried, done)

    async def _do(self, rule: Rule, owed: Delivery, client: httpx.AsyncClient) -> str:
        """What was done, in words.

        Raises:
            Failed.
        """
        match rule.doing:
            case Doing.WEBHOOK:
                return await self._post(rule, owed, client)
            case Doing.SET:
                return await self._command(rule, owed)
            case Doing.SCENARIO:
                return await self._simulate(rule, owed)

    async def _post(self, rule: Rule, owed: Delivery, client: httpx.AsyncClient) -> str:
        headers = {
            "Content-Type": "application/json",
            "Idempotency-Key": f"{self._plant}:{owed.id}",
            "Twinloop-Rule": rule.id,
        }
        try:
            async with asyncio.timeout(rule.timeout_s):
                answer = await client.post(
                    rule.url, content=owed.body.encode(), headers=headers, timeout=rule.timeout_s
                )
        except TimeoutError:
            raise Failed(f"no answer in {rule.timeout_s:g} s", for_good=False) from None
        except (httpx.HTTPError, httpx.InvalidURL) as error:
            raise Failed(str(error) or type(error).__name__, isinstance(error, httpx.InvalidURL)) from None
        if answer.is_success:
            return f"answered {answer.status_code}"
        passing = answer.status_code in AGAIN or answer.status_code >= 500
        raise Failed(f"answered {answer.status_code}", for_good=not passing)

    async def _command(self, rule: Rule, owed: Delivery) -> str:
        """All of them are tried: one that an interlock refuses keeps none of the others back."""
        failed: list[tuple[str, bool]] = []
        for point, value in rule.sets:
            reason = f"rule {rule.id}, step {owed.n} of alarms"
            try:
                await self._submit(f"alarm:{owed.id}:{point}", point, value, reason, rule.timeout_s)
            except TwinloopError as error:
                failed.append((f"{point}: {words(error)[0]}", not isinstance(error, PASSING)))
        if failed:
            raise Failed("; ".join(why for why, _ in failed), for_good=all(gone for _, gone in failed))
        return f"{len(rule.sets)} commands submitted"

    async def _simulate(self, rule: Rule, owed: Delivery) -> str:
        try:
            return f"what-if {await self._start(rule, owed.id)}"
        except TwinloopError as error:
            raise Failed(words(error)[0], for_good=isinstance(error, BadRequest)) from None
