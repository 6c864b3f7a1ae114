"""Which cells one request reads, and the picture that comes of it."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from protocols.modbus.address import Address, Table, parse_address
from protocols.modbus.blocks import Block, Cells, Limits, image_bytes, plan
from protocols.modbus.picture import Picture
from twin.quality import BAD_NO_DATA, GOOD

NO_GAP = Limits()


def planned(texts: list[str], limits: Limits = NO_GAP) -> list[Block]:
    return plan(Cells.of([parse_address(text) for text in texts]), limits)


def spans(blocks: list[Block]) -> list[tuple[int, int]]:
    return [(block.start, block.count) for block in blocks]


def test_neighbours_share_a_read_and_holes_are_never_read_unasked() -> None:
    cells = [f"holding:{n}" for n in (0, 1, 2, 10, 12)]
    assert spans(planned(cells)) == [(0, 3), (10, 1), (12, 1)]
    assert spans(planned(cells, Limits(gap=1))) == [(0, 3), (10, 3)]
    assert spans(planned(cells, Limits(gap=7))) == [(0, 13)]
    assert spans(planned(cells, Limits(gap=7, registers=4))) == [(0, 3), (10, 3)]


def test_a_device_that_wants_each_value_alone_gets_it() -> None:
    assert spans(planned(["holding:0", "holding:1", "coil:0", "coil:1"], Limits(merge=False))) == [
        (0, 1), (1, 1), (0, 1), (1, 1)
    ]  # fmt: skip


def test_bits_have_a_limit_of_their_own() -> None:
    assert spans(planned([f"coil:{n}" for n in range(10)], Limits(bits=4, registers=2))) == [(0, 4), (4, 4), (8, 2)]


def test_a_text_longer_than_the_limit_is_a_request_of_its_own() -> None:
    assert spans(planned(["holding:0", "holding:1:string8", "holding:9"], Limits(registers=4))) == [
        (0, 1), (1, 8), (9, 1)
    ]  # fmt: skip


ADDRESSES = st.lists(
    st.builds(
        lambda table, start, kind: parse_address(f"{table}:{start}" + (f":{kind}" if table == "holding" else "")),
        st.sampled_from(["holding", "coil"]),
        st.integers(0, 400),
        st.sampled_from(["uint16", "int32", "float64", "bit7", "string3"]),
    ),
    max_size=60,
)


@given(ADDRESSES, st.integers(0, 20), st.integers(4, 125), st.booleans())
def test_every_plan_reads_every_value_once_within_the_limits(
    addresses: list[Address], gap: int, most: int, merge: bool
) -> None:
    blocks = plan(Cells.of(addresses), Limits(gap, most, most, merge))
    assert sorted(row for block in blocks for row in block.rows.tolist()) == list(range(len(addresses)))
    areas: list[int] = []
    for block in blocks:
        inside = [addresses[row] for row in block.rows]
        asked = {cell for a in inside for cell in range(a.start, a.start + a.count)}
        read = set(range(block.start, block.start + block.count))
        assert {a.table for a in inside} == {block.table}
        assert asked <= read and block.count <= most
        assert gap > 0 or asked == read
        assert merge or len(inside) == 1
        areas += range(block.area, block.area + block.count * block.cell_bytes)
    assert areas == list(range(image_bytes(blocks))), "each block has its own part of the image"


def test_a_refused_block_is_halved_until_single_values_are_left_each_in_its_old_place() -> None:
    (block,) = planned([f"holding:{n}:uint32" for n in (0, 2, 4, 6, 8)])
    left, right = block.halves()
    assert (left.start, left.count, left.rows.tolist(), left.area) == (0, 4, [0, 1], 0)
    assert (right.start, right.count, right.rows.tolist(), right.area) == (4, 6, [2, 3, 4], 8)
    assert np.concatenate([left.offsets(), right.offsets()]).tolist() == block.offsets().tolist()


def seen(texts: list[str], cells: dict[tuple[Table, int], int], limits: Limits = NO_GAP, together: int = 4) -> Picture:
    """A picture of a device that holds those cells."""
    picture = Picture([parse_address(text) for text in texts], limits, 1, together)
    for burst in picture.bursts(True):
        burst.begin()
        for index, block in enumerate(burst.blocks):
            held = [cells[block.table, cell] for cell in range(block.start, block.start + block.count)]
            if block.cell_bytes == 1:
                burst.put(index, np.packbits(held, bitorder="little").tobytes(), 7)
            else:
                burst.put(index, np.array(held, ">u2").tobytes(), 7)
        picture.take(burst, burst.fresh())
    return picture


def test_bits_come_packed_from_the_lowest() -> None:
    held = {(Table.COIL, n): int(n in (3, 5, 12)) for n in range(3, 13)}
    picture = seen(["coil:3", "coil:4", "coil:5", "coil:12"], held, Limits(gap=9))
    rows, wire, _, quality, stamp = picture.columns()
    assert dict(zip(rows.tolist(), wire.tolist(), strict=True)) == {0: 1.0, 1: 0.0, 2: 1.0, 3: 1.0}
    assert set(quality.tolist()) == {GOOD} and set(stamp.tolist()) == {7}
    assert picture.columns()[0].tolist() == [], "what was taken over does not come twice"


def test_a_value_and_its_scale_factor_are_read_in_one_cycle_wherever_it_lies() -> None:
    texts = ["holding:10:int16:sf=200", "holding:11:int16:sf=200:sunspec", "holding:12:int16:sf=300"]
    held = {(Table.HOLDING, n): v for n, v in {10: 123, 11: 0x8000, 12: 5, 200: 0xFFFE, 300: 0x8000}.items()}
    picture = seen(texts, held)
    rows, wire, _, quality, _ = picture.columns()
    order = np.argsort(rows)
    assert rows[order].tolist() == [0, 1, 2], "scale factors are no values"
    assert wire[order][0] == 1.23
    assert quality[order].tolist() == [GOOD, BAD_NO_DATA, BAD_NO_DATA]
    assert picture.factor(parse_address(texts[0])) == b"\xff\xfe"


def test_scale_factors_are_asked_before_the_values_that_need_them() -> None:
    picture = Picture([parse_address("holding:10:int16:sf=200")], Limits(), 1, 1)
    assert [burst.blocks[0].start for burst in picture.bursts(False)] == [200, 10]


def test_a_value_that_the_device_does_not_have_is_left_out_until_it_is_asked_again() -> None:
    picture = Picture([parse_address(f"holding:{n}") for n in range(2)], Limits(), 1, 4)
    (whole,) = picture.bursts(False)
    left, right = picture.refused(whole.blocks[0])
    assert picture.refused(right.blocks[0]) == []
    assert [b.blocks[0].start for b in picture.bursts(False)] == [0]
    assert left.blocks[0].start == 0
    (_, again) = picture.bursts(True)
    again.begin()
    again.put(0, b"\0\x09", 3)
    assert picture.take(again, again.fresh()) == [1], "it is there now"
    assert sorted(b.start for burst in picture.bursts(False) for b in burst.blocks) == [0, 1]


def test_a_hundred_thousand_values_are_planned_as_they_lie() -> None:
    texts = [f"{table}:{2 * n}:float32" for table in ("holding", "input") for n in range(32_768)]
    texts += [f"coil:{n}" for n in range(34_464)]
    blocks = planned(texts)
    assert len(texts) == 100_000 and sum(len(b.rows) for b in blocks) == 100_000
    assert len(blocks) == 2 * -(-65536 // 124) + -(-34_464 // 2000)
