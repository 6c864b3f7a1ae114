"""What changed between two searches of a device, and what of it a plant may take over; pure, must not know files.

Three sides: what the device said before, what it says now, and what the plant's people made of it. What people changed
is theirs and stays.
"""

from __future__ import annotations

from collections.abc import Mapping, Set
from dataclasses import dataclass

from control.discover_said import Said
from protocols.discovery import Path, path_text

ASPECTS = ("type", "unit", "scale", "access", "low", "high", "values")
ROW_ASPECTS = ("type", "unit", "scale", "access", "low", "high")
NUMBERS = frozenset({"scale", "low", "high"})
EDITED = "kept: edited by hand"


@dataclass(frozen=True, slots=True)
class Bound:
    """A row of the point sheet: its point, and its cells as far as a device says them."""

    point: str
    address: str
    cells: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Change:
    """The device says something else than before. `kept` says why the plant keeps what it has, "" when it does not."""

    address: str
    path: str
    what: str
    before: str
    after: str
    point: str = ""
    kept: str = ""


@dataclass(frozen=True, slots=True)
class Gone:
    """What the device no longer has; `point` is "" where no row was bound to it."""

    address: str
    path: str
    point: str


@dataclass(frozen=True, slots=True)
class Difference:
    """All between two searches; `added` are addresses, `left_out` those whose rows people removed."""

    added: tuple[str, ...] = ()
    gone: tuple[Gone, ...] = ()
    changed: tuple[Change, ...] = ()
    moved: Mapping[str, str] | None = None  # old address -> new one
    left_out: tuple[str, ...] = ()

    @property
    def is_empty(self) -> bool:
        return not (self.added or self.gone or self.changed)


def difference(
    before: Mapping[str, Said],
    now: Mapping[str, Said],
    rows: Mapping[str, Bound],
    scope: Path = (),
    complete: bool = True,
    also: Set[str] = frozenset(),
) -> Difference:
    """
    Args:
        before: what the device said at the last search, by address; empty when nothing is known of one.
        rows: the plant's rows of this device, by address.
        scope, complete, also: of this search; what it could not see, or saw and left out, is not gone.
    """
    inside = path_text(scope)
    known = {a: s for a, s in before.items() if _within(s.path, inside)}
    moved = _moved(known, now)
    old = set(moved.values())
    added, left_out, changed = [], [], []
    for address, spoken in now.items():
        earlier = moved.get(address, address)
        past, row = before.get(earlier), rows.get(earlier)
        if earlier != address:
            changed.append(Change(address, spoken.path, "address", earlier, address, row.point if row else ""))
        if not spoken.is_read:
            if past is not None and past.is_read:
                changed.append(_no_longer_read(past, spoken, row))
        elif row is not None:
            changed += _changes(past, spoken, row)
        elif past is None or not past.is_read:
            added.append(address)
        else:
            left_out.append(address)
    lost = [a for a in (known or rows) if complete and a not in now and a not in old and a not in also]
    return Difference(
        tuple(added),
        tuple(_gone(a, before, rows) for a in lost if a in rows or before[a].is_read),
        tuple(changed),
        {earlier: address for address, earlier in moved.items()},
        tuple(left_out),
    )


def _within(path: str, scope: str) -> bool:
    return not scope or path == scope or path.startswith(f"{scope}/")


def _moved(before: Mapping[str, Said], now: Mapping[str, Said]) -> dict[str, str]:
    """New address -> the old one of what has the same path: a server may number its nodes anew at each start."""
    lost = {s.path: a for a, s in before.items() if a not in now}
    return {a: lost[s.path] for a, s in now.items() if a not in before and s.path in lost}


def _gone(address: str, before: Mapping[str, Said], rows: Mapping[str, Bound]) -> Gone:
    row = rows.get(address)
    return Gone(address, before[address].path if address in before else "", row.point if row else "")


def _no_longer_read(past: Said, spoken: Said, row: Bound | None) -> Change:
    kept = "kept: remove the row, or mend the device" if row else ""
    return Change(spoken.address, spoken.path, "type", past.type, spoken.note, row.point if row else "", kept)


def _changes(past: Said | None, spoken: Said, row: Bound) -> list[Change]:
    found = []
    for what in ASPECTS:
        after = getattr(spoken, what)
        if past is None:  # never searched before: what stands in the row is people's
            before = row.cells.get(what, "")
            if what != "values" and what in ("type", "access") and before != after and not _stands_for(before, after):
                found.append(Change(spoken.address, spoken.path, what, before, after, row.point, EDITED))
            continue
        before = getattr(past, what)
        if before != after:
            kept = "" if what == "values" or _equal(what, row.cells.get(what, ""), before) else EDITED
            found.append(Change(spoken.address, spoken.path, what, before, after, row.point, kept))
    return found


def _stands_for(row: str, device: str) -> bool:
    """What a row may say although the device says more: integer for double, r for rw."""
    return (row, device) in (("integer", "double"), ("double", "integer"), ("r", "rw"))


def _equal(what: str, left: str, right: str) -> bool:
    if what not in NUMBERS:
        return left == right
    default = 1.0 if what == "scale" else None
    return _number(left, default) == _number(right, default)


def _number(text: str, default: float | None) -> float | str | None:
    try:
        return float(text) if text else default
    except ValueError:
        return text
