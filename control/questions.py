"""SQL over the running twin: one consistent moment is taken on the event loop, the statement runs on a thread.

Must not know HTTP.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pyarrow as pa

from control.alarm_store import Wanted
from control.alarm_table import HISTORY_MAX, NAMED, alarm_table, states, step_table
from control.alarms import Alarms
from control.audit_index import NO_PERSONS, PERSONS, VIEW, AuditIndex, names_audit
from control.branches import Branches
from control.command import Command
from control.live import LiveTwin
from control.per_plant import PerPlant
from control.runtime import CommandRuntime
from twin.errors import BadRequest, Unavailable
from twin.moment import QUERIES_MAX, Mirror, Moment
from twin.plant import Plant
from twin.query import Answer, PlantTables, Queries
from twin.statement import Call
from twin.store import Store

COMMANDS_MAX = 20_000  # the newest ones are the table `commands`


@dataclass(frozen=True, slots=True)
class Question:
    """A statement, and the moment or branch that `points` means in it; all empty for now."""

    sql: str
    limit: int
    at: str = ""
    known: str = ""
    branch: str = ""


class Questions:
    """Answers questions with all that the caller did before in them."""

    def __init__(
        self,
        live: LiveTwin,
        store: Store,
        commands: CommandRuntime,
        branches: Branches,
        alarms: Alarms | None = None,
        index: AuditIndex | None = None,
    ) -> None:
        """`index`: of the ledger, attached to the store; without it there is no table `audit`."""
        self._live, self._commands, self._branches = live, commands, branches
        self._alarms, self._index = alarms, index
        self._queries = Queries(store) if index is None else Queries(store, views=VIEW, empty={PERSONS: NO_PERSONS})
        self._mirror = Mirror()
        self._closed = False
        self._threads = ThreadPoolExecutor(QUERIES_MAX, "query")
        self._tables = PerPlant(PlantTables)

    async def ask(self, question: Question) -> Answer:
        """
        Raises:
            BadRequest, NotFound: the statement or a moment in it makes no sense; the message names the place.
            LimitExceeded: too many queries at once, too long, too much memory, too large an answer.
        """
        if question.branch and (question.at or question.known):
            raise BadRequest("branch and at together", "a branch is a moment of its own: give one of them")
        newest = await self._commands.newest(COMMANDS_MAX)
        asked = self._alarms if NAMED in question.sql.casefold() else None
        steps = await asked.history(Wanted(limit=HISTORY_MAX)) if asked is not None else []
        await asyncio.wrap_future(self._live.history.flush())
        # From here to the thread nothing is awaited: columns, desired values and plant are of one moment.
        moment = self._mirror.take(self._live.table, self._live.feed, self._commands.desired)
        if self._closed:
            self._mirror.give_back(moment)
            raise Unavailable("the server is stopping", "ask again when it is back")
        found = None if asked is None else states(asked.book)

        def more() -> dict[str, pa.Table]:
            if asked is None or found is None:
                return {}
            return {"alarms": alarm_table(asked.plan, found), "alarm_history": step_table(steps)}

        answer = self._threads.submit(self._answer, question, moment, self._live.plant, newest, more)
        answer.add_done_callback(lambda _: self._mirror.give_back(moment))  # even when the caller has gone
        return await asyncio.wrap_future(answer)

    def close(self) -> None:
        """Running statements are stopped; may be called again."""
        self._closed = True
        self._queries.close()
        self._threads.shutdown(cancel_futures=True)

    def _answer(
        self, question: Question, now: Moment, plant: Plant, newest: Sequence[Command],
        more: Callable[[], dict[str, pa.Table]],
    ) -> Answer:  # fmt: skip
        tables = self._tables.of(plant)
        moment = now
        if question.branch:
            moment = self._branches.moment(question.branch, "")
        elif question.at or question.known:
            moment = self._branches.past_now(question.at, question.known)
        rows = {**tables.tables, "point_rows": moment.table(plant.points), "commands": command_table(newest), **more()}
        if self._index is not None and names_audit(question.sql):
            self._index.ready()
            rows[PERSONS] = self._index.persons()
        return self._queries.run(rows, question.sql, question.limit, self._resolver(plant, tables))

    def _resolver(self, plant: Plant, tables: PlantTables) -> Callable[[Call], pa.Table]:
        def resolve(call: Call) -> pa.Table:
            words = call.arguments
            if call.name == "at":
                return self._branches.past_now(words["moment"], words["known"]).table(plant.points)
            if call.name == "branch":
                return self._branches.moment(words["branch"], words["moment"]).table(plant.points)
            return tables.reach(call)

        return resolve


def command_table(commands: Sequence[Command]) -> pa.Table:
    """One row a command."""
    return pa.table(
        {
            "id": pa.array([c.id for c in commands], pa.string()),
            "key": pa.array([c.key for c in commands], pa.string()),
            "author": pa.array([c.author for c in commands], pa.string()),
            "point": pa.array([c.point for c in commands], pa.string()),
            "value": pa.array([c.value for c in commands], pa.float64()),
            "priority": pa.array([c.priority.name.lower() for c in commands], pa.string()),
            "status": pa.array([c.status.value for c in commands], pa.string()),
            "reason": pa.array([c.reason for c in commands], pa.string()),
            "observed": pa.array([c.observed for c in commands], pa.float64()),
            "submitted": pa.array([c.submitted_at for c in commands], pa.timestamp("ns")),
            "changed": pa.array([c.transitions[-1].time for c in commands], pa.timestamp("ns")),
            "detail": pa.array([c.transitions[-1].detail for c in commands], pa.string()),
        }
    )
