"""Tiles: the names and bytes of the specification, kept beside the log, mended after a crash, never believed."""

from __future__ import annotations

import hashlib
from itertools import pairwise
from pathlib import Path

import pytest

from ledger.entry import Entry, encode
from ledger.errors import NotFound
from ledger.log import Log
from ledger.merkle import Tree, leaf_hash, root_of
from ledger.tile_store import read_tile, stored_tiles
from ledger.tiles import Tile, TileStream, bundle, hashes, parse_path, split_bundle, tiles_of
from ledger.verify import verify

SIZES = (0, 1, 2, 255, 256, 257, 511, 512, 600)


def payload(number: int) -> bytes:
    return encode(Entry("test.made", 1_700_000_000_000_000_000 + number, {"number": number}))


@pytest.fixture
def six_hundred(tmp_path: Path) -> Path:
    """A closed log of 600 entries, signed at several sizes."""
    with Log.open(tmp_path / "log600") as made:
        for start, stop in pairwise(SIZES):
            made.append([payload(number) for number in range(start, stop)])
            made.checkpoint()
    return tmp_path / "log600"


@pytest.mark.parametrize(
    ("tile", "path"),
    [
        (Tile(0, 0), "tile/0/000"),
        (Tile(None, 1_234_067), "tile/entries/x001/x234/067"),
        (Tile(0, 273, 112), "tile/0/273.p/112"),
        (Tile(2, 0, 1), "tile/2/000.p/1"),
        (Tile(1, 1_000), "tile/1/x001/000"),
    ],
)
def test_a_tile_has_the_name_of_the_specification(tile: Tile, path: str) -> None:
    assert tile.path() == path
    assert parse_path(path) == tile


@pytest.mark.parametrize(
    "path",
    ["", "tile/0/0", "tile/64/000", "tile/00/000", "tile/0/x000/000", "tile/0/000.p/256", "tile/0/000.p/0",
     "tile/0/000.p/01", "tile/0/1234", "tile/entries/../key", "checkpoint", "tile/0/000/", "tile/0/٠٠٠"],
)  # fmt: skip
def test_another_name_is_no_tile(path: str) -> None:
    with pytest.raises(NotFound):
        parse_path(path)


def test_a_tree_of_70000_has_the_tiles_that_the_specification_counts() -> None:
    found = list(tiles_of(70_000))
    full = {level: sum(t.level == level and t.is_full for t in found) for level in (None, 0, 1, 2)}
    partial = {t.level: t.width for t in found if not t.is_full}
    assert full == {None: 273, 0: 273, 1: 1, 2: 0}
    assert partial == {None: 112, 0: 112, 1: 17, 2: 1}


@pytest.mark.parametrize("size", [256, 65_536])
def test_a_full_tile_stands_under_a_partial_one_of_width_one(size: int) -> None:
    top = [tile for tile in tiles_of(size) if not tile.is_full]
    assert top == [Tile({256: 1, 65_536: 2}[size], 0, 1)]


@pytest.mark.parametrize("step", [1, 3, 100, 255, 256, 257])
def test_growing_in_any_steps_makes_every_tile_of_the_end(step: int) -> None:
    made: set[Tile] = set()
    for size in range(step, 70_000, step * 64):
        made |= set(tiles_of(size, max(size - step * 64, 0)))
    last = max(range(step, 70_000, step * 64))
    assert set(tiles_of(last)) <= made


def test_a_bundle_is_lengths_and_entries() -> None:
    assert bundle([b"ab", b"", b"c"]) == b"\0\2ab\0\0\0\1c"
    assert split_bundle(b"\0\2ab\0\0\0\1c") == [b"ab", b"", b"c"]
    for cut in (1, 2, 3, 5, 6):
        assert split_bundle(b"\0\2ab\0\1c"[:cut]) is None


def test_streamed_tiles_are_those_of_the_tree() -> None:
    leaves = [hashlib.sha256(b"%d" % number).digest() for number in range(66_000)]
    tree, stream = Tree(leaves), TileStream()
    found = [made for leaf in leaves for made in stream.add(b"x", leaf)] + stream.partial()
    assert {tile for tile, _ in found} == set(tiles_of(66_000))
    for tile, data in found:
        if tile.level is not None:
            assert data == tree.nodes(8 * tile.level, tile.start, tile.start + tile.width)


def test_the_tiles_on_disk_lead_to_the_signed_root(six_hundred: Path) -> None:
    leaves: list[bytes] = []
    for tile in tiles_of(600):
        data = read_tile(six_hundred, tile)
        assert data is not None
        if tile.level is None:
            leaves += [leaf_hash(entry) for entry in split_bundle(data) or []]
        elif tile.level == 0:
            assert hashes(data) == leaves[tile.start : tile.start + tile.width]
        else:
            assert hashes(data) == [root_of(leaves[at : at + 256]) for at in (0, 256)]
    with Log.open(six_hundred) as log:
        assert root_of(leaves) == log.signed.root
        assert log.mended_tiles == 0


def test_partial_tiles_give_way_to_the_full_one(six_hundred: Path) -> None:
    found, strange = stored_tiles(six_hundred)
    assert strange == []
    assert found[0, 0] == found[0, 1] == {256}
    assert found[0, 2] == {88}
    assert found[1, 0] == {1, 2}  # each was part of a signed size, and no full one is there yet


def test_what_a_crash_took_from_the_tiles_is_written_afresh(six_hundred: Path) -> None:
    whole = {path: path.read_bytes() for path in six_hundred.rglob("tile/**/*") if path.is_file()}
    needed = {six_hundred / tile.path() for tile in tiles_of(600)}
    for path in needed:
        for left in (None, b"", bytes(len(whole[path])), whole[path][:-1]):
            if left is None:
                path.unlink()
            else:
                path.write_bytes(left)
            with Log.open(six_hundred) as log:
                assert log.mended_tiles == 1
            assert path.read_bytes() == whole[path]


def test_a_log_of_an_earlier_version_gets_its_tiles_at_the_next_start(ten: Path) -> None:
    for path in sorted((ten / "tile").rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()
    (ten / "tile").rmdir()
    report = verify(ten)
    assert (report.ok, report.tiles) == (True, "not checked: there is no folder tile")
    with Log.open(ten) as log:
        assert log.mended_tiles == 2
    assert verify(ten).tiles == "2 checked"


def test_every_flipped_bit_of_every_tile_is_found_in_its_entry(six_hundred: Path) -> None:
    paths = sorted(path for path in (six_hundred / "tile").rglob("*") if path.is_file())
    assert verify(six_hundred).tiles == f"{len(paths)} checked"
    for path in paths:
        name, whole = path.relative_to(six_hundred).as_posix(), path.read_bytes()
        step = 1 if len(whole) < 100 else 997  # every byte of a small log is flipped in test_flipped.py
        for position in range(0, len(whole), step):
            changed = bytearray(whole)
            changed[position] ^= 1 << position % 8
            path.write_bytes(changed)
            problems = verify(six_hundred).problems
            assert [problem.place for problem in problems] == [name]
            assert f"byte {position}: " in problems[0].what
        path.write_bytes(whole)


def test_missing_strange_and_forged_tiles_are_named(six_hundred: Path) -> None:
    (six_hundred / "tile/0/000").unlink()
    (six_hundred / "tile/1/note.txt").write_text("hello")
    (six_hundred / "tile/0/007").write_bytes(bytes(8192))
    found = {problem.place: problem.what for problem in verify(six_hundred).problems}
    assert found == {
        "tile/0/000": "is missing",
        "tile/1/note.txt": "is no tile of a log",
        "tile/0/007": "covers entries that the log does not have",
    }
