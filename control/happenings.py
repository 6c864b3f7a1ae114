"""What happened in a span, and what was going on at a moment, as the index of the ledger tells; must not know HTTP."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

from control.audit_index import AuditIndex
from control.command import FINAL
from twin.alarms import Step

KINDS = ("alarm", "command", "group", "lease", "graph", "plant", "model", "server.start", "server.stop")
"""What people ask about when they look back; batches of history, logins and forecasts are the audit's."""
OPEN_MAX = 500  # alarms and commands of a moment: more than anybody reads
TOUCHED_MAX = 200  # twins and points of one happening; the entry has all
_ENDS = f"('{Step.ACTIVE}', '{Step.CLEARED}', '{Step.GONE}')"
_FINAL = ", ".join(f"'{status}'" for status in sorted(FINAL))
_HAPPENED = """
SELECT entry, epoch_ns(any_value(time)), any_value(kind), any_value(action), any_value(coalesce(nullif(actor, ''), author)),
  any_value(subject), any_value(command), any_value(value), any_value(outcome), any_value(reason), any_value(detail),
  coalesce(list_sort(list(DISTINCT twin) FILTER (twin <> '' AND n < $touched)), []),
  coalesce(list_sort(list(DISTINCT point) FILTER (point <> '' AND n < $touched)), [])
FROM audit
WHERE list_contains($kinds, kind) AND time >= make_timestamp_ns($start) AND time < make_timestamp_ns($end)
  AND entry < $before
GROUP BY entry ORDER BY entry DESC LIMIT $most
"""
_SILENCES = (
    (Step.SHELVED, Step.UNSHELVED), (Step.SUPPRESSED, Step.UNSUPPRESSED), (Step.DESIGNED_OUT, Step.DESIGNED_IN),
    (Step.REMOVED, Step.RETURNED),
)  # fmt: skip
_SILENT = " OR ".join(
    f"coalesce(arg_max(action, entry) FILTER (action IN ('{out}', '{back}')) = '{out}', FALSE)"
    for out, back in _SILENCES
)
_ALARMS = f"""
SELECT subject, any_value(twin), any_value(point), arg_max(detail, entry), epoch_ns(max(time) FILTER (action = 'active')),
  arg_max_null(value, entry) FILTER (action = 'active'),
  coalesce(max(entry) FILTER (action = '{Step.ACKNOWLEDGED}'), -1) > max(entry) FILTER (action = '{Step.ACTIVE}'),
  {_SILENT}
FROM audit WHERE kind = 'alarm' AND subject <> '' AND time <= make_timestamp_ns($at)
GROUP BY subject HAVING arg_max(action, entry) FILTER (action IN {_ENDS}) = '{Step.ACTIVE}'
ORDER BY 5 DESC LIMIT {OPEN_MAX}
"""
_COMMANDS = f"""
SELECT command, any_value(point), any_value(value), any_value(author), arg_max(action, entry), epoch_ns(min(time))
FROM audit WHERE kind = 'command' AND n = 0 AND time <= make_timestamp_ns($at)
GROUP BY command HAVING arg_max(action, entry) NOT IN ({_FINAL})
ORDER BY 6 DESC LIMIT {OPEN_MAX}
"""


@dataclass(frozen=True, slots=True)
class Span:
    """Which happenings: of these kinds, in [start, end) ns since 1970 UTC, in entries before `before`."""

    kinds: Sequence[str]
    start: int
    end: int
    before: int
    limit: int


@dataclass(frozen=True, slots=True)
class Happened:
    """An entry; see wire_past.Happening."""

    entry: int
    time: int
    kind: str
    action: str
    by: str
    subject: str
    command: str
    value: float | None
    outcome: str
    reason: str
    detail: str
    twins: Sequence[str]
    points: Sequence[str]


@dataclass(frozen=True, slots=True)
class ActiveThen:
    """An alarm that was active at a moment. `value`: None where it came with none, as by a quality that is bad.

    `silent`: shelved, suppressed or out of service: nobody was told of it.
    """

    alarm: str
    twin: str
    point: str
    priority: str
    since: int
    value: float | None
    acked: bool
    silent: bool


@dataclass(frozen=True, slots=True)
class OpenThen:
    """A command that was not over at a moment."""

    id: str
    point: str
    value: float | None
    author: str
    status: str
    since: int


def happened(index: AuditIndex, span: Span) -> list[Happened]:
    """Newest first. Blocks for its time, as all here."""
    values = {
        "kinds": list(span.kinds), "start": span.start, "end": span.end, "before": span.before, "most": span.limit,
        "touched": TOUCHED_MAX,
    }  # fmt: skip
    return [Happened(*row) for row in index.ask(_HAPPENED, values)]


def active_then(index: AuditIndex, at: int, unasked: Collection[str] = ()) -> list[ActiveThen]:
    """Args: unasked: ids of alarms that need no acknowledgement: nothing is owed for them."""
    found = (ActiveThen(*row) for row in index.ask(_ALARMS, {"at": at}))
    return [replace(alarm, acked=True) if alarm.alarm in unasked else alarm for alarm in found]


def open_then(index: AuditIndex, at: int) -> list[OpenThen]:
    return [OpenThen(*row) for row in index.ask(_COMMANDS, {"at": at})]
