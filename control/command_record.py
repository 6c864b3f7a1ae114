"""A command as others see it: the record of API, events and console, and the entries of the ledger; must not know how it runs."""

from __future__ import annotations

import math
from typing import Any

import msgspec

from control.command import FINAL, UNDESIRED, Command, Status, Terms, Transition
from ledger.entry import JSON
from twin.interlock import Ruling, Sight
from twin.quality import name as quality_name


def as_body(command: Command) -> dict[str, Any]:
    """The record (wire_command.CommandRecord); times in ms since 1970."""
    terms = command.terms
    return {
        "id": command.id,
        "key": command.key,
        "point": command.point,
        "value": command.value,
        "priority": command.priority.name.lower(),
        "deadline": command.deadline / 1e6,
        "reason": command.reason,
        "author": command.author,
        "status": command.status.value,
        "final": command.final,
        "observed": command.observed,
        "approvals": terms.approvals,
        "approver": terms.approver,
        "approved_by": list(command.approvers),
        "select": terms.select,
        "revision": terms.revision,
        "latest": None if terms.latest is None else terms.latest / 1e6,
        "at": None if terms.at is None else terms.at / 1e6,
        "at_plant_s": terms.at_plant_s,
        "when": terms.when,
        "group": terms.group,
        "transitions": [_step(t) for t in command.transitions],
    }


def _step(step: Transition) -> dict[str, Any]:
    return {
        "status": step.status.value,
        "time": step.time / 1e6,
        "detail": step.detail,
        "by": step.by,
        "seen": [sight(s) for s in step.seen],
    }


def sight(seen: Sight) -> dict[str, Any]:
    """wire_command.Seen."""
    return {
        "point": seen.point,
        "value": seen.value,
        "text": seen.text,
        "quality": quality_name(seen.quality),
        "age_s": seen.age_s,
    }


def as_entry(command: Command, n: int, device: str = "") -> dict[str, JSON]:
    """Transition `n` as the ledger keeps it: who, why, what was seen, who judged and approved, what is desired now."""
    step = command.transitions[n]
    entry: dict[str, JSON] = {
        "id": command.id, "n": n, "key": command.key, "author": command.author, "point": command.point,
        "device": device, "value": command.value, "priority": command.priority.name.lower(),
        "deadline_ns": command.deadline, "reason": command.reason, "status": step.status.value, "detail": step.detail,
        "by": step.by, "seen": sights(step.seen), "verdicts": verdicts(step.verdicts),
        "approvals": approvals(command, n),
        "observed": command.observed if step.status in (Status.CONFIRMED, Status.FAILED) else None,
    }  # fmt: skip
    if changes_desired(command, n):
        entry["desired"] = command.value if step.status is Status.QUEUED else None
    if command.terms.group:
        entry["group"] = command.terms.group
    if n == 0:
        entry |= {"asked": command.asked, "terms": terms_text(command.terms)}
    return entry


def approvals(command: Command, n: int) -> list[JSON]:
    """Who had approved it by transition `n`, and when."""
    steps = zip(command.transitions[:n], command.transitions[1 : n + 1], strict=True)
    moves = (b for a, b in steps if a.status is Status.AWAITING_APPROVAL and b.status not in FINAL and b.by)
    return [{"by": b.by, "time_ns": b.time} for b in moves]


def changes_desired(command: Command, n: int) -> bool:
    """Whether from transition `n` on the twin desires the value, or desires it no longer because of this command."""
    queued = any(t.status is Status.QUEUED for t in command.transitions[:n])
    status = command.transitions[n].status
    return status is Status.QUEUED if not queued else status in UNDESIRED


def sights(seen: tuple[Sight, ...]) -> list[JSON]:
    return [
        {"point": s.point, "value": _number(s.value), "text": s.text, "quality": s.quality, "age_s": s.age_s}
        for s in seen
    ]


def verdicts(told: tuple[Ruling, ...]) -> list[JSON]:
    return [{"of": v.of, "allowed": v.allowed, "detail": v.detail} for v in told]


def _number(value: float | None) -> float | None:
    """JSON has no other numbers; the quality tells why there is none."""
    return value if value is not None and math.isfinite(value) else None


def terms_text(terms: Terms) -> str:
    """As the store and the ledger keep them."""
    return msgspec.json.encode(terms).decode()


def seen_text(seen: tuple[Sight, ...]) -> str:
    """`tank_1.level=1.2; pump.fault=0 (uncertain)`: one line that a person reads."""
    return "; ".join(_seen_word(s) for s in seen)


def _seen_word(sight: Sight) -> str:
    shown = sight.text if sight.text is not None else "-" if sight.value is None else f"{sight.value:g}"
    age = "" if sight.age_s is None else f", {sight.age_s:.1f} s old"
    good = sight.quality >> 30 == 0
    return f"{sight.point}={shown}" + ("" if good and not age else f" ({quality_name(sight.quality)}{age})")
