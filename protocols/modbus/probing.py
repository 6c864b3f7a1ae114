"""Which cells of a Modbus table answer: what to ask next, and what the answers mean; pure, sends nothing.

Modbus has no question for it: whatever is refused with exception 2 is asked for in smaller pieces.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from dataclasses import dataclass, field
from enum import Enum, auto

from protocols.modbus.address import CELLS

ZEROS_MAX = (
    16  # registers in a row that read 0 and are still taken for the plant's, where a device answers to everything
)
NEAR_MAX = 250  # cells of one block that are asked for one by one; blocks of bits are longer
WHOLE_MIN = 1000  # cells in a row, all answered, from which on a device is taken to answer to everything


class Refusal(Enum):
    """What an answer without cells means: not these cells, or nothing of this table at all."""

    CELLS = auto()
    TABLE = auto()


@dataclass(frozen=True, slots=True)
class Span:
    """Cells to look at, and how: reads of `most` cells at first, and every `stride`-th cell where those are refused."""

    first: int
    last: int
    most: int
    stride: int


@dataclass(frozen=True, slots=True)
class Read:
    """`count` cells from `start`."""

    start: int
    count: int


Answer = tuple[int, ...] | Refusal
Asking = Generator[Read, Answer, "Readable"]


@dataclass(slots=True)
class Readable:
    """The cells of a table that answered, with what they held; `together` is how many one read may ask for."""

    cells: dict[int, int] = field(default_factory=dict)
    together: int = 0
    exists: bool = True

    def runs(self) -> list[tuple[int, int]]:
        """(first, count) of cells in a row."""
        return runs(self.cells)


def runs(cells: Iterable[int]) -> list[tuple[int, int]]:
    """(first, count) of numbers in a row."""
    found: list[tuple[int, int]] = []
    for cell in sorted(cells):
        if found and cell == found[-1][0] + found[-1][1]:
            found[-1] = (found[-1][0], found[-1][1] + 1)
        else:
            found.append((cell, 1))
    return found


def explore(span: Span, into: Readable | None = None) -> Asking:
    """Asks until every cell of the span is known, as far as the stride shows.

    A row of cells shorter than the stride, and far from any other, may stay unseen.

    Args:
        into: where to put what is found, for those who may stop asking at any time.
    """
    found = Readable() if into is None else into
    for start in range(span.first, span.last + 1, span.most):
        count = min(span.most, span.last + 1 - start)
        answer = yield Read(start, count)
        if answer is Refusal.TABLE:
            found.exists = bool(found.cells)
            return found
        if answer is Refusal.CELLS:
            yield from _probe(Read(start, count), span, found)
        else:
            _take(found, start, answer)
            found.together = max(found.together, count)
    yield from _measure(span, found)
    return found


def _take(found: Readable, start: int, answer: Answer) -> None:
    if not isinstance(answer, Refusal):
        found.cells.update(enumerate(answer, start))


def _probe(block: Read, span: Span, found: Readable) -> Generator[Read, Answer, None]:
    """Single cells of a block that was refused as a whole; from each that answers, as far as its row goes.

    Where a table begins, and beside what was found, every cell is asked for: there lie the short rows.
    """
    refused: set[int] = set()
    strides = [span.stride, 1] if span.stride > 1 else [1]
    for stride in strides:
        end = block.start + block.count
        near = block.start == span.first or any(c in found.cells for c in range(block.start, end))
        if stride < span.stride and not near:
            return
        for cell in range(block.start, min(end, block.start + NEAR_MAX) if stride < span.stride else end, stride):
            if cell in found.cells or cell in refused:
                continue
            answer = yield Read(cell, 1)
            if isinstance(answer, Refusal):
                refused.add(cell)
                continue
            _take(found, cell, answer)
            yield from _grow(cell, 1, end, span, found)
            yield from _grow(cell, -1, max(cell - stride, span.first - 1), span, found)


def _grow(cell: int, way: int, end: int, span: Span, found: Readable) -> Generator[Read, Answer, None]:
    """From a readable cell on, in steps that double until one is refused and then halve; never up to `end`."""
    edge, step, growing = cell + way, 1, True
    while step:
        room = (end - edge) * way
        if room <= 0 or edge in found.cells:
            return
        step = min(step, room, span.most)
        start = edge if way > 0 else edge - step + 1
        answer = yield Read(start, step)
        if isinstance(answer, Refusal):
            growing, step = False, step // 2
            continue
        _take(found, start, answer)
        edge += way * step
        step = step * 2 if growing else step


def _measure(span: Span, found: Readable) -> Generator[Read, Answer, None]:
    """How many cells one read may ask for, where the first reads did not show it."""
    if not found.cells or found.together:
        return
    start, length = max(found.runs(), key=lambda run: run[1])
    low, high = 1, min(length, span.most)
    answer = yield Read(start, high)
    if not isinstance(answer, Refusal):
        found.together = span.most  # as far as anybody can tell
        return
    while high - low > 1:
        middle = (low + high) // 2
        answer = yield Read(start, middle)
        low, high = (low, middle) if isinstance(answer, Refusal) else (middle, high)
    found.together = low


def meaningful(found: Readable) -> tuple[dict[int, int], int]:
    """The cells worth a point, and how many were left out: long rows of zeros, where all the table answers."""
    if max((count for _, count in found.runs()), default=0) < WHOLE_MIN:
        return dict(found.cells), 0
    zeros = runs(c for c, value in found.cells.items() if value == 0)
    empty = {c for first, count in zeros if count > ZEROS_MAX for c in range(first, first + count)}
    kept = {c: v for c, v in found.cells.items() if c not in empty}
    return kept, len(found.cells) - len(kept)


def parse_span(text: str) -> tuple[int, int]:
    """`0-9999` or one number.

    Raises:
        ValueError: neither, or beyond the table.
    """
    first, dash, last = text.partition("-")
    if not first.isdigit() or (dash and not last.isdigit()):
        raise ValueError(f"{text!r} is no range of addresses; write it as 0-9999")
    low, high = int(first), int(last or first)
    if low > high or high >= CELLS:
        raise ValueError(f"{text!r} is no range of addresses from 0 to {CELLS - 1}")
    return low, high


def parse_units(text: str, most: int = 255) -> tuple[int, ...]:
    """`1-10,20` as numbers.

    Raises:
        ValueError: not of that form.
    """
    found: dict[int, None] = {}
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        if (
            not first.isdigit()
            or (dash and not last.isdigit())
            or int(first) > int(last or first)
            or int(last or first) > most
        ):
            raise ValueError(f"{part!r} of {text!r} is no unit; write units as 1-10,20 from 0 to {most}")
        found.update(dict.fromkeys(range(int(first), int(last or first) + 1)))
    return tuple(found)
