"""Many entries at once: the same bytes, from machine code and one by one."""

from __future__ import annotations

import os
import struct
import subprocess
import sys
from zlib import crc32

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ledger import bulk
from ledger.entry import ENTRY_BYTES_MAX
from ledger.errors import EntryError, EntryTooLarge
from ledger.frames import frames, prefixed
from ledger.merkle import hashed_pairs, leaf_hashes
from ledger.tiles import LENGTH

MANY = st.lists(st.binary(min_size=1, max_size=300), min_size=bulk.FEW, max_size=40)


def test_here_machine_code_makes_them() -> None:
    assert bulk._AT is not None


@settings(max_examples=200, deadline=None)
@given(MANY)
def test_frames_and_leaves_are_those_that_are_made_one_by_one(payloads: list[bytes]) -> None:
    packed = bulk.pack(payloads)
    framed = frames(payloads)
    assert packed.data == b"".join(framed) and list(packed.lengths) == [len(f) for f in framed]
    assert packed.leaves == b"".join(leaf_hashes(payloads)) and len(packed) == len(payloads)


@settings(max_examples=100, deadline=None)
@given(MANY, st.integers(0, 40))
def test_a_bundle_is_the_same_and_so_are_nodes(payloads: list[bytes], count: int) -> None:
    data = b"".join(frames(payloads))
    count = min(count, len(payloads))
    assert bulk.bundle(data, count) == prefixed(data, count, LENGTH.pack)
    nodes = b"".join(leaf_hashes(payloads))[: len(payloads) // 2 * 64]
    assert bulk.pairs(nodes) == hashed_pairs(nodes)


@pytest.mark.parametrize("size", [1, 55, 56, 63, 64, 65, 119, 120, 255, 256, 65_534, ENTRY_BYTES_MAX])
def test_every_length_that_ends_a_block_otherwise(size: int) -> None:
    payloads = [os.urandom(size) for _ in range(bulk.FEW)]
    packed = bulk.pack(payloads)
    assert packed.leaves == b"".join(leaf_hashes(payloads))
    assert struct.unpack_from("<II", packed.data) == (size, crc32(payloads[0], crc32(struct.pack("<I", size))))


@pytest.mark.parametrize(("payload", "error"), [(b"", EntryError), (bytes(ENTRY_BYTES_MAX + 1), EntryTooLarge)])
@pytest.mark.parametrize("others", [0, bulk.FEW])
def test_what_cannot_be_recorded_is_refused_among_many_too(payload: bytes, error: type[Exception], others: int) -> None:
    with pytest.raises(error):
        bulk.pack([*[b"a"] * others, payload])


def test_a_length_that_lies_never_makes_it_read_beyond_the_bytes() -> None:
    data = b"".join(frames([b"a" * 20] * 9))
    cut, long = data[:-1], struct.pack("<I", 60_000) + data[4:]
    assert bulk.bundle(cut, 9) == prefixed(cut, 9, LENGTH.pack)
    with pytest.raises(struct.error):  # what follows the first is no frame
        bulk.bundle(long, 9)


def test_without_machine_code_the_bytes_are_the_same(monkeypatch: pytest.MonkeyPatch) -> None:
    payloads = [os.urandom(n + 1) for n in range(300)]
    nodes = os.urandom(64 * 20)
    quick = bulk.pack(payloads), bulk.pairs(nodes), bulk.bundle(b"".join(frames(payloads)), 256)
    monkeypatch.setattr(bulk, "_AT", None)
    assert quick == (bulk.pack(payloads), bulk.pairs(nodes), bulk.bundle(b"".join(frames(payloads)), 256))


def test_machine_code_that_hashes_otherwise_is_not_used() -> None:
    script = "from ledger import machine; pack = machine.pack; machine.pack = lambda *given: (pack(*given), given[-1].fill(0)); "
    script += "from ledger import bulk; print(bulk._AT)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "None\n"
