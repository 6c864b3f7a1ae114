"""Arrow streams of others: read as they are, and refused before they unpack to more than may be."""

from __future__ import annotations

import pyarrow as pa
import pytest

from twin import arrow_stream
from twin.errors import BadRequest, LimitExceeded

BYTES_MAX = 1_000_000
SMALL = pa.table(
    {"point": pa.array(["a", "b", "a"]).dictionary_encode(), "value": [1.0, None, 3.0], "text": ["x", None, ""]}
)


def stream(table: pa.Table, compression: str | None, rows: int | None = None) -> bytes:
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema, options=pa.ipc.IpcWriteOptions(compression=compression)) as writer:
        writer.write_table(table, rows)
    return bytes(sink.getvalue().to_pybytes())


@pytest.mark.parametrize("compression", [None, "lz4", "zstd"])
@pytest.mark.parametrize("rows", [None, 1])
def test_a_stream_is_read_whatever_packs_it(compression: str | None, rows: int | None) -> None:
    assert arrow_stream.read(stream(SMALL, compression, rows), BYTES_MAX).combine_chunks() == SMALL
    assert len(arrow_stream.read(stream(SMALL.slice(0, 0), compression), BYTES_MAX)) == 0


@pytest.mark.parametrize("compression", ["lz4", "zstd"])
@pytest.mark.parametrize("rows", [None, 100])
@pytest.mark.parametrize(
    "large",
    [
        pa.table({"value": [0.0] * 200_000}),
        pa.table({"text": ["x" * 2_000] * 1_000}),
        pa.table({"text": pa.array(["x" * 2_000_000, "y"]).dictionary_encode()}),
    ],
)
def test_what_unpacks_to_too_much_is_refused_before_it_is_unpacked(
    large: pa.Table, rows: int | None, compression: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = stream(large, compression, rows)
    assert len(data) < BYTES_MAX
    monkeypatch.setattr(pa.ipc, "open_stream", None)
    with pytest.raises(LimitExceeded, match="unpacks to"):
        arrow_stream.read(data, BYTES_MAX)


@pytest.mark.parametrize("compression", [None, "zstd"])
def test_bytes_cut_or_turned_anywhere_are_refused_or_read_and_nothing_else(compression: str | None) -> None:
    whole = stream(SMALL, compression)
    for n in range(len(whole)):
        for data in (whole[:n], whole[:n] + bytes([whole[n] ^ 0x5A]) + whole[n + 1 :]):
            try:
                read = arrow_stream.read(data, BYTES_MAX)
            except (BadRequest, LimitExceeded):
                continue
            assert len(read.to_pylist()) == len(read)
