"""The tiles beside a log, on disk: written before each checkpoint, mended at the start, listed for the verifier.

Must not decide what a tile holds; the log and its tree are the truth, tiles follow from them and are never synced.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

from ledger.errors import NotFound
from ledger.files import write_all
from ledger.tiles import HEIGHT, ROOT, WIDTH, Tile, parse_path, tiles_of

COMPARED = 64  # the newest of each level are compared whole at a start, ~3 MB of bundles; of older ones the length
Contents = Callable[[Tile], bytes]
Lengths = Callable[[Tile], int]


class TileStore:
    """The folder `tile` of a log."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._made: set[str] = set()  # folders known to be there: at most one for 1,000 tiles, and partial ones

    def write(self, size: int, old_size: int, contents: Contents) -> None:
        """Write what a tree of `size` has and one of `old_size` had not; partial tiles give way to full ones."""
        for tile in tiles_of(size, old_size):
            self._put(tile, contents(tile))

    def mend(self, size: int, contents: Contents, lengths: Lengths) -> int:
        """Write afresh what is missing or wrong after a crash, and say how many were; older ones by length only."""
        mended = 0
        for tile in tiles_of(size):
            path = self._directory / tile.path()
            if tile.is_full and tile.start + COMPARED * WIDTH < size >> HEIGHT * (tile.level or 0):
                fits = _length(path) == lengths(tile)
            else:
                fits = _read(path) == contents(tile)
            if not fits:
                self._put(tile, contents(tile))
                mended += 1
        return mended

    def _put(self, tile: Tile, data: bytes) -> None:
        path = f"{self._directory}/{tile.path()}"
        folder = path.rpartition("/")[0]
        if folder not in self._made:
            Path(folder).mkdir(parents=True, exist_ok=True)
            self._made.add(folder)
        descriptor = os.open(path + ".tmp", os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o644)
        try:
            write_all(descriptor, data)
        finally:
            os.close(descriptor)
        Path(path + ".tmp").replace(path)  # a reader sees the whole tile or none
        partial = path + ".p"
        if tile.is_full and (partial in self._made or Path(partial).is_dir()):
            shutil.rmtree(partial, ignore_errors=True)
            self._made.discard(partial)


def read_tile(directory: Path, tile: Tile) -> bytes | None:
    """A tile's bytes, from the full tile when the partial one is gone; None when there is neither."""
    data = _read(directory / tile.path())
    if data is None and not tile.is_full:
        return _read(directory / tile.folder())
    return data


def stored_tiles(directory: Path) -> tuple[dict[tuple[int | None, int], set[int]], list[str]]:
    """The widths there are of each (level, index), and the files that are no tiles."""
    found: dict[tuple[int | None, int], set[int]] = {}
    strange: list[str] = []
    for folder, _, names in os.walk(directory / ROOT):
        for name in names:
            path = (Path(folder) / name).relative_to(directory).as_posix()
            if name.endswith(".tmp"):
                continue  # being written, or left by a kill
            try:
                tile = parse_path(path)
            except NotFound:
                strange.append(path)
                continue
            found.setdefault((tile.level, tile.index), set()).add(tile.width)
    return found, sorted(strange)


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except IsADirectoryError:
        return b""  # as wrong as any other bytes


def _length(path: Path) -> int | None:
    try:
        return path.stat().st_size
    except (FileNotFoundError, NotADirectoryError):
        return None
