"""Which ledger entries a call asks for, from the words of its query; decides nothing."""

from __future__ import annotations

from control.api.route import Call
from control.audit_index import Wanted
from control.entry_kinds import KINDS
from twin.errors import BadRequest

ASKED = ("kind", "twin", "point", "by", "command", "since", "until", "before")
WORD_MAX = 500  # characters


def wanted(call: Call, now_ns: int) -> Wanted:
    """
    Raises:
        BadRequest: an unknown kind, a moment or number that is none.
    """
    words = {name: call.query.get(name, "") for name in ASKED}
    for name, word in words.items():
        if len(word) > WORD_MAX:
            raise BadRequest(f"{name} has {len(word)} characters", f"at most {WORD_MAX}")
    if words["kind"] and words["kind"] not in KINDS:
        raise BadRequest(f"kind={words['kind']!r}", f"one of {', '.join(KINDS)}")
    before = words["before"]
    if before and not (before.isascii() and before.isdigit() and len(before) < 19):
        raise BadRequest(f"before={before!r}", "give the index of an entry")
    since, until = (call.moment(n, now_ns) for n in ("since", "until"))
    return Wanted(
        words["kind"], words["twin"], words["point"], words["command"], words["by"], since, until,
        int(before) if before else None,
    )  # fmt: skip
