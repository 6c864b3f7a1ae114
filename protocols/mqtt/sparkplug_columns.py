"""Metrics of Sparkplug messages as columns of numbers, gathered over a turn of the loop; pure: knows no points and no sink."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, fields, replace

import numpy as np
from numpy.typing import NDArray

from protocols.mqtt.codec import Malformed
from protocols.mqtt.sparkplug_b_pb2 import Payload as Wire
from protocols.mqtt.sparkplug_host import STAMP_MAX_MS, Values
from protocols.mqtt.sparkplug_metrics import quality_of, value_of
from protocols.scan import NO_STAMP, WIRE_BOOLEAN, WIRE_FLOAT, WIRE_INTEGER
from twin.quality import BAD, GOOD

_KIND = {bool: WIRE_BOOLEAN, int: WIRE_INTEGER, float: WIRE_FLOAT}


@dataclass(slots=True)
class Columns:
    """What messages say, in order. `wire` is NaN for what is no number: the metric itself then says what it is."""

    row: list[int] = field(default_factory=list)
    wire: list[float] = field(default_factory=list)
    kind: list[int] = field(default_factory=list)
    quality: list[int] = field(default_factory=list)
    stamp: list[int] = field(default_factory=list)
    said: list[Wire.Metric] = field(default_factory=list)
    datatype: list[int] = field(default_factory=list)
    origin: list[Values] = field(default_factory=list)

    def __len__(self) -> int:
        return len(self.row)

    def gather(self, values: Values) -> None:
        otherwise = NO_STAMP if values.stamp is None else values.stamp
        for said, datatype in zip(values.said, values.datatypes, strict=True):
            number, kind, quality = _number(said, datatype)
            self.wire.append(number)
            self.kind.append(kind)
            self.quality.append(quality)
            ms = said.timestamp
            self.stamp.append(min(ms, STAMP_MAX_MS) * 1_000_000 if ms else otherwise)
        self.row += values.rows
        self.said += values.said
        self.datatype += values.datatypes
        self.origin += [values] * len(values.rows)

    def cut(self) -> Columns:
        """What has gathered; nothing is left here."""
        taken = replace(self)
        for column in fields(self):
            setattr(self, column.name, [])
        return taken

    def arrays(
        self,
    ) -> tuple[NDArray[np.int32], NDArray[np.float64], NDArray[np.uint8], NDArray[np.uint32], NDArray[np.int64]]:
        """row, wire, kind, quality, stamp: each of shape (B,)."""
        return (
            np.array(self.row, np.int32),
            np.array(self.wire, np.float64),
            np.array(self.kind, np.uint8),
            np.array(self.quality, np.uint32),
            np.array(self.stamp, np.int64),
        )


def _number(said: Wire.Metric, datatype: int) -> tuple[float, int, int]:
    """-> (number or NaN, kind, quality). A null says that there is no value, so its quality is Bad."""
    if said.is_null:
        return math.nan, WIRE_FLOAT, BAD
    try:
        value = value_of(said, datatype)
    except Malformed:
        return math.nan, WIRE_FLOAT, GOOD  # looked at again, one by one, and rejected
    quality = quality_of(said) if said.HasField("properties") else GOOD
    kind = _KIND.get(type(value))
    return (math.nan, WIRE_FLOAT, quality) if kind is None else (float(value), kind, quality)
