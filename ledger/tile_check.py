"""Holds the tiles on disk against the entries of the log, and says which hash or entry of which tile is another.

Must not write; needs only the entries, one after the other.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ledger.merkle import HASH_BYTES
from ledger.problems import Problem
from ledger.tile_store import read_tile, stored_tiles
from ledger.tiles import HEIGHT, LENGTH_BYTES, ROOT, WIDTH, Tile, TileStream, bundle, split_bundle, tiles_of

_MEND = "remove this file and start the server: it writes its tiles afresh from the log"


class TileCheck:
    """The tiles of one log directory, listed now; a running log only adds to them."""

    def __init__(self, directory: Path, checkpoint_size: int) -> None:
        self._directory = directory
        self._stored, strange = stored_tiles(directory)
        self._problems = [Problem(name, "is no tile of a log", "remove it") for name in strange]
        self.checked = 0
        self.there = (directory / ROOT).is_dir()
        if (directory / ROOT).exists() and not self.there:
            self._problems.append(Problem(ROOT, "is no folder", _MEND))
        self._needed: dict[tuple[int | None, int], int] = {}
        if self.there:
            self._needed = {(tile.level, tile.index): tile.width for tile in tiles_of(checkpoint_size)}
        self._stream = TileStream()

    def add(self, entry: bytes, leaf: bytes) -> None:
        """The next entry of the log."""
        if self.there:
            for tile, data in self._stream.add(entry, leaf):
                self._check(tile, data)

    def finish(self, damaged: bool) -> None:
        """That was the last entry, or the last before damage: tiles that cover later ones are not checked then."""
        if not self.there or damaged:
            return
        for tile, data in self._stream.partial():
            self._check(tile, data)
        for level, index in sorted(self._stored, key=str):
            name = Tile(level, index, max(self._stored[level, index])).path()
            self._problems.append(Problem(name, "covers entries that the log does not have", "restore the log"))

    def found(self, log_is_signed: bool) -> list[Problem]:
        """What is wrong; when the log itself contradicts its signed root, a tile may be right and show where."""
        if log_is_signed:
            return self._problems
        return [replace(problem, hint="the log was changed there, or this tile was: restore both from a copy")
                for problem in self._problems]  # fmt: skip

    def _check(self, tile: Tile, data: bytes) -> None:
        key = (tile.level, tile.index)
        widths, needed = self._stored.pop(key, set()), self._needed.get(key)
        for width in sorted(widths | ({needed} if needed else set())):
            asked = Tile(tile.level, tile.index, width)
            if width > tile.width:
                self._problems.append(Problem(asked.path(), "covers entries that the log does not have", _MEND))
                continue
            expected = data if width == tile.width else _first(tile, data, width)
            found = read_tile(self._directory, asked)
            if found is None:
                if width == needed:
                    self._problems.append(Problem(asked.path(), "is missing", _MEND))
            elif found != expected and not (not asked.is_full and found == data):
                self._problems.append(Problem(asked.path(), _difference(asked, expected, found), _MEND))
            self.checked += 1


def _first(tile: Tile, data: bytes, width: int) -> bytes:
    """What the tile was when it had `width` hashes or entries."""
    if tile.level is not None:
        return data[: width * HASH_BYTES]
    return bundle((split_bundle(data) or [])[:width])


def _difference(tile: Tile, expected: bytes, found: bytes) -> str:
    at = next((i for i, (a, b) in enumerate(zip(expected, found, strict=False)) if a != b), None)
    if at is None:
        return f"has {len(found)} bytes, the log makes {len(expected)}"
    if tile.level is not None:
        number = tile.start + at // HASH_BYTES
        first = number << HEIGHT * tile.level
        what = f"entry {first}" if tile.level == 0 else f"entries {first} to {first + WIDTH**tile.level - 1}"
        return f"byte {at}: the hash of {what} is another than the log's"
    end, number = 0, tile.start
    for entry in split_bundle(expected) or []:
        end += LENGTH_BYTES + len(entry)
        if at < end:
            break
        number += 1
    return f"byte {at}: entry {number} is another than the log's"
