"""HistoryRead of raw data, held to the table of bounding values in OPC UA Part 11 (6.5.3) and to a store without pages."""

from __future__ import annotations

import random

import pytest

from protocols.opcua import raw_history
from protocols.opcua.raw_history import BadContinuation, BadRange, Missing, Raw, answer
from twin.past import Past, Span

NINE, MINUTE = 9 * 3600, 60


class Store:
    """Readings of one point in order of (time, batch, row)."""

    def __init__(self, times: list[int]) -> None:
        self.held = [Past((t, 0, n), float(n), 0, None) for n, t in enumerate(sorted(times))]

    async def read(self, span: Span) -> list[Past]:
        assert span.most > 0
        if span.newest_first:
            found = [p for p in self.held if span.start < p.time <= span.end]
            found = [p for p in found if span.after is None or p.place < span.after][::-1]
        else:
            found = [p for p in self.held if span.start <= p.time < span.end]
            found = [p for p in found if span.after is None or p.place > span.after]
        return found[: span.most]


def at(text: str) -> int:
    return NINE + int(text.partition(":")[2]) * MINUTE


STORED = Store([at(t) for t in ("5:00", "5:02", "5:03", "5:05", "5:06")])
# start, end, most, bounds -> minutes, "-" for a bound that is not there.
TABLE = [
    ("5:00", "5:05", 0, True, "00 02 03 05"),
    ("5:00", "5:05", 0, False, "00 02 03"),
    ("5:01", "5:04", 0, True, "00 02 03 05"),
    ("5:01", "5:04", 0, False, "02 03"),
    ("5:05", "5:00", 0, True, "05 03 02 00"),
    ("5:05", "5:00", 0, False, "05 03 02"),
    ("5:04", "5:01", 0, True, "05 03 02 00"),
    ("5:04", "5:01", 0, False, "03 02"),
    ("5:00", "5:05", 3, True, "00 02 03"),
    ("5:01", "5:04", 3, True, "00 02 03"),
    ("5:01", "5:04", 1, False, "02"),
    ("5:05", "5:00", 2, False, "05 03"),
    ("5:00", "", 3, False, "00 02 03"),
    ("5:01", "", 2, True, "00 02"),
    ("", "5:06", 3, False, "06 05 03"),
    ("", "5:04", 2, False, "03 02"),
    ("5:04", "5:08", 0, True, "03 05 06 -"),
    ("5:04", "5:08", 0, False, "05 06"),
    ("4:58", "5:03", 0, True, "- 00 02 03"),
    ("5:00", "5:00", 0, True, "00"),
    ("5:00", "5:00", 0, False, "00"),
    ("5:01", "5:01", 0, True, "00 02"),
    ("5:01", "5:01", 0, False, ""),
    ("4:58", "4:59", 0, True, "- 00"),
    ("5:08", "5:10", 0, True, "06 -"),
]


def minutes(values: list[Past | Missing]) -> str:
    return " ".join("-" if isinstance(v, Missing) else f"{(v.time - NINE) // MINUTE:02}" for v in values)


@pytest.mark.parametrize(("start", "end", "most", "bounds", "expected"), TABLE)
async def test_the_answer_is_that_of_the_standard(start: str, end: str, most: int, bounds: bool, expected: str) -> None:
    # 4:58 is before 5:00, which `at` counts from.
    def ns(text: str) -> int | None:
        return None if not text else at(text) - 60 * MINUTE * (5 - int(text[0]))

    page = await answer(Raw(ns(start), ns(end), most, bounds), b"", STORED.read)
    assert minutes(page.values) == expected


@pytest.mark.parametrize("seed", range(20))
async def test_pages_joined_are_the_whole_answer(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    chance = random.Random(seed)
    store = Store([chance.randrange(0, 60) for _ in range(chance.randrange(0, 80))])  # many at the same time
    start, end = chance.randrange(-5, 65), chance.randrange(-5, 65)
    raw = Raw(start, end, 0, chance.random() < 0.5)
    whole = (await answer(raw, b"", store.read)).values
    monkeypatch.setattr(raw_history, "PAGE", chance.randrange(1, 8))
    joined: list[Past | Missing] = []
    continuation = b""
    for _ in range(200):
        page = await answer(raw, continuation, store.read)
        assert len(page.values) <= raw_history.PAGE + 2  # bounds come on top
        joined += page.values
        continuation = page.continuation
        if not continuation:
            break
    assert joined == whole


async def test_a_request_without_two_of_start_end_and_number_is_refused() -> None:
    for raw in (Raw(1, None, 0, False), Raw(None, 1, 0, False), Raw(None, None, 5, False)):
        with pytest.raises(BadRange):
            await answer(raw, b"", STORED.read)


async def test_a_continuation_point_of_somebody_else_is_refused() -> None:
    for foreign in (b"x", b"12345678", b"0" * 25):
        with pytest.raises(BadContinuation):
            await answer(Raw(0, 10, 0, False), foreign, STORED.read)
