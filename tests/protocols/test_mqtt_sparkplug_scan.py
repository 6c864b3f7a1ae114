"""Data messages read by compiled code: the same as protobuf reads them, and nothing but refusal of what is cut or changed."""

from __future__ import annotations

import math
import random
import re
from pathlib import Path
from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.mqtt import sparkplug_metrics as spm
from protocols.mqtt import sparkplug_scan as scan
from protocols.mqtt.codec import Malformed
from protocols.mqtt.sparkplug import Address, Source
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_columns import Aliases, Columns, Known
from protocols.mqtt.sparkplug_host import Dropped, Host, Letter, Lost, Publish, Values
from protocols.mqtt.sparkplug_metrics import DATATYPES, Metric

NOW = 1_700_000_000_000_000_000
NOW_MS = NOW // 1_000_000
NODE = Source("G", "N")
KINDS = sorted(DATATYPES)[:15]
KNOWN = {alias: Known(f"m{alias}", KINDS[alias % 15], (alias,) if alias % 5 else (alias, alias)) for alias in range(40)}
KNOWN[3] = Known("m3", spm.DOUBLE, ())

FIELDS: dict[str, st.SearchStrategy[Any]] = {
    "int_value": st.integers(0, 2**32 - 1) | st.sampled_from([0, 127, 128, 255, 2**31, 2**32 - 1]),
    "long_value": st.integers(0, 2**64 - 1) | st.sampled_from([0, 2**63, 2**64 - 1]),
    "float_value": st.floats(width=32),
    "double_value": st.floats(),
    "boolean_value": st.booleans(),
    "string_value": st.text(max_size=5),
}


@st.composite
def metrics(draw: st.DrawFn) -> Wire.Metric:
    metric = Wire.Metric()
    if draw(st.integers(0, 9)):
        metric.alias = draw(st.integers(0, 41))
    if not draw(st.integers(0, 4)):
        metric.name = f"m{draw(st.integers(0, 41))}"
    if draw(st.booleans()):
        metric.timestamp = draw(st.integers(0, 2**64 - 1) | st.integers(NOW_MS - 10, NOW_MS))
    if not draw(st.integers(0, 3)):
        metric.datatype = draw(st.integers(0, 20))
    for flag in ("is_historical", "is_transient", "is_null"):
        if not draw(st.integers(0, 5)):
            setattr(metric, flag, draw(st.booleans()))
    if not draw(st.integers(0, 5)):
        metric.properties.keys.append("Quality")
        metric.properties.values.add(type=spm.INT32, int_value=draw(st.sampled_from([0, 192, 500])))
    if draw(st.integers(0, 9)):
        field = draw(st.sampled_from(sorted(FIELDS)))
        setattr(metric, field, draw(FIELDS[field]))
    return metric


def by_protobuf(payload: bytes) -> list[tuple[Any, ...]]:
    """Row, number, kind, quality, stamp and datatype of each value that is said."""
    wire, columns = spm.parse(payload), Columns()
    stamp_ms = wire.timestamp if wire.HasField("timestamp") else None
    for said in wire.metrics:
        known = KNOWN.get(said.alias) if said.HasField("alias") else NAMES.get(said.name)
        for row in known.rows if known is not None else ():
            assert known is not None
            columns.put(row, said, said.datatype or known.datatype, stamp_ms)
    return rows(columns, 0, len(columns))


NAMES = {known.name: known for known in KNOWN.values()}


def rows(columns: Columns, begin: int, end: int) -> list[tuple[Any, ...]]:
    some = slice(begin, end)
    listed = zip(
        columns.row[some].tolist(), map(repr, columns.wire[some].tolist()), columns.kind[some].tolist(),
        columns.quality[some].tolist(), columns.stamp[some].tolist(), columns.datatype[some].tolist(), strict=True,
    )  # fmt: skip
    return sorted(listed)


def a_host() -> Host:
    """Born with the metrics of KNOWN; several points of one metric have rows of their own."""
    addresses = [Address(NODE, known.name) for known in KNOWN.values() for _ in known.rows]
    host = Host(addresses, 10**9, 10**9)
    host.begin(NOW)
    birth = [Metric("bdSeq", None, spm.INT64, 0)]
    birth += [Metric(known.name, alias, known.datatype, None) for alias, known in KNOWN.items()]
    host.take(NODE.topic("BIRTH").encode(), spm.encode(birth, NOW_MS, 0), False, NOW)
    host.columns.clear()
    return host


ROW_OF = dict(enumerate(alias for alias, known in KNOWN.items() for _ in known.rows))


@settings(max_examples=400, deadline=None)
@given(st.lists(metrics(), max_size=8), st.booleans())
def test_compiled_code_reads_what_protobuf_reads(said: list[Wire.Metric], timed: bool) -> None:
    wire = Wire(seq=1, metrics=said)
    if timed:
        wire.timestamp = NOW_MS
    payload = wire.SerializeToString()
    host = a_host()
    done = host.take(NODE.topic("DATA").encode(), payload, False, NOW)
    found = [
        row for values in done if isinstance(values, Values) for row in rows(host.columns, values.begin, values.end)
    ]
    assert sorted((ROW_OF[row[0]], *row[1:]) for row in found) == by_protobuf(payload)
    strange = [s for s in said if (s.alias not in KNOWN if s.HasField("alias") else s.name not in NAMES)]
    assert bool(strange) == any(isinstance(i, Letter) and i.reason == "unknown_address" for i in done)


def test_a_number_of_the_wrong_kind_is_left_to_protobuf() -> None:
    table = Aliases({1: Known("m", spm.UINT8, (0,))}.items())
    for fields in ({"int_value": 256}, {"double_value": 1.0}, {"boolean_value": True}, {}):
        wire = Wire(seq=1)
        wire.metrics.add(alias=1, **fields)
        columns, payload = Columns(), wire.SerializeToString()
        columns.begin(payload, 1)
        assert columns.read(np.frombuffer(payload, np.uint8), NOW_MS, table) == (0, [0])
        assert math.isnan(columns.wire[0])


def test_a_thousand_metrics_come_in_order() -> None:
    table = Aliases((alias, Known(f"m{alias}", spm.DOUBLE, (alias,))) for alias in range(10_000))
    wire = Wire(seq=1, timestamp=NOW_MS)
    for alias in range(10_000):
        wire.metrics.add(alias=alias, double_value=alias / 3)
    payload, columns = wire.SerializeToString(), Columns()
    columns.begin(payload, 10_000)
    assert columns.read(np.frombuffer(payload, np.uint8), NOW_MS, table) == (0, [])
    assert columns.wire[:10_000].tolist() == [alias / 3 for alias in range(10_000)]
    assert columns.metric(7).double_value == 7 / 3 and set(columns.stamp[:10_000].tolist()) == {NOW}


def test_what_is_cut_or_changed_anywhere_is_refused_or_read_as_protobuf_reads_it() -> None:
    chance = random.Random(9)
    wire = Wire(timestamp=NOW_MS, seq=1)
    wire.metrics.add(alias=9, double_value=2.5, timestamp=NOW_MS)
    wire.metrics.add(alias=1, int_value=5, datatype=spm.INT8)
    wire.metrics.add(name="m12", string_value="text")
    whole = wire.SerializeToString()
    cut = [whole[:size] for size in range(len(whole))]
    changed = [bytes(chance.randrange(256) if i == at else b for i, b in enumerate(whole)) for at in range(len(whole))]
    noise = [chance.randbytes(chance.randrange(1, 40)) for _ in range(500)]
    for payload in cut + changed + noise:
        data, said = np.frombuffer(payload, np.uint8), np.empty(2, np.int64)
        count = scan.head(data, said)
        try:
            read = spm.parse(payload)
        except Malformed:
            read = None
        assert read is None or count in (-1, len(read.metrics))
        for instruction in a_host().take(NODE.topic("DATA").encode(), payload, False, NOW):
            assert isinstance(instruction, Letter | Values | Publish | Lost | Dropped)


def test_the_wire_format_is_that_of_the_proto_file() -> None:
    """The generated module is not older than the file it was generated from."""
    text = (Path(spm.__file__).parent / "sparkplug_b.proto").read_text()
    pending, found = [Wire.DESCRIPTOR], 0
    while pending:
        message = pending.pop()
        pending += message.nested_types
        for field in message.fields:
            assert re.search(rf"\b{field.name} = {field.number};", text), f"{message.name}.{field.name}: make sparkplug"
            found += 1
    assert found == len(re.findall(r"= \d+;", text))
