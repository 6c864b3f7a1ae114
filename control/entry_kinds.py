"""The kinds of ledger entries as one table: their fields, whom they name, and what of them the index tells; pure.

A new kind is a row here, a row in docs/evidence.md and a golden entry (tests/control/golden). Must not know files or
salts; `seal` and `opened` are arguments.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from control.authors import is_person
from control.command import FINAL
from control.group import TRANSITIONS as GROUP_TRANSITIONS
from control.lease import TRANSITIONS as LEASE_TRANSITIONS
from ledger.entry import JSON


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind of entry.

    Attributes:
        fields: all that a body of the newest version may have.
        persons: fields that name a person, recorded as salted hashes; `approvals.by` is `by` of each in the list.
        actor: the field with who did it; author: on whose behalf, or whom it is about.
        action: the field with what was done, or `does` where it is always the same.
        subject, command, outcome, reason, detail: the fields that fill the index's columns of these names.
        ends: actions after which nothing follows: they are the outcome.
    """

    fields: str
    persons: tuple[str, ...] = ()
    actor: str = ""
    author: str = ""
    action: str = ""
    does: str = ""
    subject: str = ""
    command: str = ""
    outcome: str = ""
    reason: str = "reason"
    detail: str = "detail"
    ends: frozenset[str] = frozenset()


def _ends(transitions: Mapping[Any, frozenset[Any]]) -> frozenset[str]:
    return frozenset(str(status) for status, following in transitions.items() if not following)


KINDS: Mapping[str, Kind] = {
    "command": Kind(
        "id n key author point device value priority deadline_ns reason status detail by seen verdicts approvals "
        "observed desired group asked terms",
        ("author", "by", "approvals.by"), "by", "author", "status", subject="group", command="id",
        ends=frozenset(str(s) for s in FINAL),
    ),
    "lease": Kind(
        "id n holder key status detail by targets priority ttl_s revert reason",
        ("holder", "by"), "by", "holder", "status", subject="id", ends=_ends(LEASE_TRANSITIONS),
    ),
    "group": Kind(
        "id n author key status detail by points members order priority deadline_s reason",
        ("author", "by"), "by", "author", "status", subject="id", ends=_ends(GROUP_TRANSITIONS),
    ),
    "prediction": Kind(
        "id point value clock_s horizon_s at_s seed replications state_sha256 model_sha256 risks sha256",
        does="predicted", command="id",
    ),
    "prediction.score": Kind(
        "id outcome detail until_s readings inside limits sha256", does="scored", command="id", outcome="outcome"
    ),
    "lookahead": Kind(
        "n step limit id probability early_s at_s late_s clock_s ended_clock_s detail by reason until_ns sha256",
        ("by",), "by", action="step", subject="id",
    ),
    "model": Kind(
        "n task scope moves by why contest digest", ("by",), "by", does="moved", subject="task", reason="why"
    ),
    "registry": Kind(
        "step contract address values tx_hash block by", ("by",), "by", action="step", subject="contract"
    ),
    "alarm": Kind(
        "n alarm point twin priority step rings by reason value until_ns occurrence",
        ("by",), "by", action="step", subject="alarm", detail="priority",
    ),
    "chain": Kind("chain_id contract before", does="anchored", subject="contract", detail="before"),
    "point": Kind("point device value text quality source_time_ns", does="changed", detail="text"),
    "graph": Kind("edit author count sha256 changes", ("author",), "author", does="edited", subject="edit"),
    "plant": Kind("plant sha256 before files devices twins points", does="loaded", subject="plant", detail="sha256"),
    "history.batch": Kind("batch rows sha256", does="recorded", subject="batch", detail="sha256"),
    "history.retention": Kind(
        "first last batches rows oldest_as_of_ns oldest_known_at_ns", does="dropped", subject="first"
    ),
    "login": Kind(
        "user role by peer refused known passed_over", ("user", "peer"), "user", does="signed in", detail="by",
        ends=frozenset({"was refused"}),
    ),
    "access": Kind(
        "what by user role disabled password session sessions token name acts points until_ns", ("user", "by"),
        "by", "user", "what", detail="role",
    ),
    "erasure": Kind("person by", ("person", "by"), "by", "person", does="erased"),
    "server.start": Kind("version plant epoch", does="started", subject="plant", detail="version"),
    "server.stop": Kind("epoch", does="stopped"),
}  # fmt: skip
OTHER = Kind("", ("by", "author"), "by", "author", "status", subject="id")
"""A kind that this table does not have: it was written by another version."""


def renamed(kind: str, body: Mapping[str, JSON], word: Callable[[str], str]) -> Mapping[str, JSON]:
    """The body with `word` of every field that names a person."""
    found: dict[str, JSON] = {}
    for field in KINDS.get(kind, OTHER).persons:
        name, _, inner = field.partition(".")
        held = body.get(name)
        if isinstance(held, str) and not inner:
            found[name] = word(held)
        elif isinstance(held, list) and inner:
            found[name] = [
                {**item, inner: word(str(item[inner]))} if isinstance(item, dict) and inner in item else item
                for item in held
            ]
    return {**body, **found} if found else body


def sealed(kind: str, body: Mapping[str, JSON], seal: Callable[[str], str]) -> Mapping[str, JSON]:
    """As it is recorded: persons as salted hashes."""
    return renamed(kind, body, lambda name: seal(name) if is_person(name) else name)


# --- what the index tells ------------------------------------------------------------------------------------------------

DETAIL_MAX = 300  # characters of the index's columns of free text; the entry has all
TOUCHED_MAX = 1_000  # rows of one entry: twice what a lease may hold
_POINT = re.compile(r"[^\s<>=!()]+\.[^\s<>=!()]+")


@dataclass(frozen=True, slots=True)
class Told:
    """What the index has of an entry; `touched` are (twin, point), at least one, ("", "") where it names none."""

    action: str
    actor: str
    author: str
    subject: str
    command: str
    outcome: str
    reason: str
    detail: str
    device: str
    value: float | None
    touched: tuple[tuple[str, str], ...]


def told(name: str, body: Mapping[str, JSON]) -> Told:
    """Persons as the body has them."""
    kind = KINDS.get(name, OTHER)

    def text(field: str) -> str:
        held = body.get(field) if field else None
        return "" if held is None else str(held)[:DETAIL_MAX]

    action = text(kind.action) or ("was refused" if body.get("refused") else kind.does) or text("step")
    value = body.get("value")
    number = float(value) if isinstance(value, int | float) and not isinstance(value, bool) else None
    return Told(
        action, text(kind.actor), text(kind.author), text(kind.subject), text(kind.command),
        text(kind.outcome) or (action if action in kind.ends else ""), text(kind.reason),
        text(kind.detail) or _more(name, body), text("device"), number, _touched(name, body),
    )  # fmt: skip


def _more(name: str, body: Mapping[str, JSON]) -> str:
    match name, body:
        case "graph", {"changes": list(lines)}:
            return "; ".join(map(str, lines))[:DETAIL_MAX]
        case "model", {"moves": list(moves)}:
            told = (f"{m.get('model')} {m.get('stage')}" for m in moves if isinstance(m, dict))
            return "; ".join(told)[:DETAIL_MAX]
        case "lookahead", {"limit": str(limit)}:
            return limit[:DETAIL_MAX]
        case "registry", {"values": list(values)}:
            return " ".join(map(str, values))[:DETAIL_MAX]
        case "history.retention", {"first": first, "last": last}:
            return f"batches {first} to {last}"
    return ""


def _touched(name: str, body: Mapping[str, JSON]) -> tuple[tuple[str, str], ...]:
    found: dict[tuple[str, str], None] = {}
    match name, body:
        case "graph", {"changes": list(lines)}:
            found = dict.fromkeys(pair for line in lines for pair in _of_line(str(line)))
        case "lookahead", {"limit": str(limit)}:
            found = dict.fromkeys(_of_point(p) for p in _POINT.findall(limit)[:1])
        case "group", {"members": list(members)} if "points" not in body:
            found = dict.fromkeys(_of_point(str(m["point"])) for m in members if isinstance(m, dict) and "point" in m)
        case "registry" | "model", _:
            pass
        case _, {"point": str(point)}:
            return (_of_point(point),)
        case (_, {"points": list(points)}) | (_, {"targets": list(points)}):
            found = dict.fromkeys(_of_point(str(p)) for p in points)
        case _, {"twin": str(twin)}:
            return ((twin, ""),)
        case _, {"twins": list(twins)}:
            found = dict.fromkeys((str(t), "") for t in twins)
    return tuple(found)[:TOUCHED_MAX] or (("", ""),)


def _of_point(point: str) -> tuple[str, str]:
    return point.partition(".")[0], point


def _of_line(line: str) -> tuple[tuple[str, str], ...]:
    """Of one line of an edit, as control/graph_change.py writes it."""
    match line.split(" ")[:5]:
        case [_, "twin", twin, *_]:
            return ((twin, ""),)
        case [_, "relationship", source, _, target]:
            return (source, ""), (target, "")
        case ["+", "kept", point] | ["=", point, *_]:
            return (_of_point(point),)
    return ()
