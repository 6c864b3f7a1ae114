"""Tiles of a log as C2SP tlog-tiles lays them out: their names, which a tree has, and their bytes.

Must not know files or logs; sizes, hashes and entries in, names and bytes out.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ledger.errors import NotFound
from ledger.merkle import HASH_BYTES, root_of

WIDTH = 256  # hashes in a full tile, entries in a full bundle
HEIGHT = 8  # WIDTH = 2**HEIGHT: a hash of level L covers 2**(8 L) entries
ENTRIES = "entries"
ROOT = "tile"  # the folder beside `checkpoint`
LENGTH = struct.Struct(">H")
LENGTH_BYTES = LENGTH.size  # before each entry of a bundle
_PATH = re.compile(r"tile/(entries|[0-9]|[1-5][0-9]|6[0-3])/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")


@dataclass(frozen=True, slots=True)
class Tile:
    """Number `index` of its level (None: a bundle of entries), with `width` hashes or entries."""

    level: int | None
    index: int
    width: int = WIDTH

    @property
    def is_full(self) -> bool:
        return self.width == WIDTH

    @property
    def start(self) -> int:
        """The first hash (of its level) or entry in it."""
        return self.index * WIDTH

    def folder(self) -> str:
        """The name without `.p/W`: of the full tile."""
        digits = f"{self.index:03d}"
        digits = digits.zfill(-(-len(digits) // 3) * 3)
        groups = [digits[at : at + 3] for at in range(0, len(digits), 3)]
        number = "/".join([f"x{group}" for group in groups[:-1]] + groups[-1:])
        return f"{ROOT}/{ENTRIES if self.level is None else self.level}/{number}"

    def path(self) -> str:
        return self.folder() if self.is_full else f"{self.folder()}.p/{self.width}"


def parse_path(path: str) -> Tile:
    """The tile of this name, as it would stand below the log's folder or URL. Raises NotFound."""
    found = _PATH.fullmatch(path)
    if found is None:
        raise NotFound(f"{path!r} is not the name of a tile; see c2sp.org/tlog-tiles")
    level, number, width = found.groups()
    index = int(number.replace("x", "").replace("/", ""))
    tile = Tile(None if level == ENTRIES else int(level), index, int(width) if width else WIDTH)
    if tile.path() != path:  # leading x000/, or a width above 255
        raise NotFound(f"{path!r} is not the name of a tile; that tile is called {tile.path()}")
    return tile


def tiles_of(size: int, old_size: int = 0) -> Iterator[Tile]:
    """The tiles that a tree of `size` has and one of `old_size` had not, bundles first, lowest level first."""
    for level in (None, *range((max(size - 1, 1).bit_length() - 1) // HEIGHT + 2)):
        shift = HEIGHT * (level or 0)
        now, before = size >> shift, old_size >> shift
        for index in range(before // WIDTH, now // WIDTH):
            yield Tile(level, index)
        if now % WIDTH and now != before:
            yield Tile(level, now // WIDTH, now % WIDTH)


def bundle(entries: Sequence[bytes]) -> bytes:
    """The bytes of a bundle: each entry behind its length, two bytes, big-endian."""
    parts: list[bytes] = []
    for entry in entries:
        parts += (LENGTH.pack(len(entry)), entry)
    return b"".join(parts)


def split_bundle(data: bytes) -> list[bytes] | None:
    """The entries of a bundle; None when the lengths do not fill it."""
    entries, at = [], 0
    while at + LENGTH.size <= len(data):
        (length,) = LENGTH.unpack_from(data, at)
        at += LENGTH.size
        entries.append(data[at : at + length])
        at += length
    return entries if at == len(data) else None


def hashes(data: bytes) -> list[bytes]:
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


class TileStream:
    """Makes the tiles of a growing list of entries in constant memory, each as soon as it is full."""

    def __init__(self) -> None:
        self.size = 0
        self._entries: list[bytes] = []
        self._levels: list[list[bytes]] = [[]]
        self._counts = [0]  # full tiles of each level so far

    def add(self, entry: bytes, leaf: bytes) -> list[tuple[Tile, bytes]]:
        """The tiles that this entry completes."""
        self._entries.append(entry)
        self._levels[0].append(leaf)
        self.size += 1
        done: list[tuple[Tile, bytes]] = []
        if len(self._entries) < WIDTH:
            return done
        done.append((Tile(None, self._counts[0]), bundle(self._entries)))
        self._entries.clear()
        level = 0
        while len(self._levels[level]) == WIDTH:
            done.append((Tile(level, self._counts[level]), b"".join(self._levels[level])))
            if level + 1 == len(self._levels):
                self._levels.append([])
                self._counts.append(0)
            self._levels[level + 1].append(root_of(self._levels[level]))
            self._levels[level].clear()
            self._counts[level] += 1
            level += 1
        return done

    def partial(self) -> list[tuple[Tile, bytes]]:
        """The tiles that are not full yet."""
        rows = [(None, self._entries, bundle(self._entries))]
        rows += [(level, found, b"".join(found)) for level, found in enumerate(self._levels)]  # type: ignore[misc]
        return [(Tile(level, self._counts[level or 0], len(found)), data) for level, found, data in rows if found]
