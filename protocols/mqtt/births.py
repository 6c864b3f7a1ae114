"""What Sparkplug edge nodes and their devices say of themselves when they are born; pure, hears nothing itself.

Source: Eclipse Sparkplug 3.0.0, 6.4 (births, metrics, properties) and 5.7 (rebirth).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

from protocols.discovery import Found, FoundThing, FoundValue, Path, Skipped, distinct
from protocols.mqtt import sparkplug
from protocols.mqtt import sparkplug_metrics as metrics
from protocols.mqtt.codec import Malformed
from protocols.mqtt.sparkplug import NAMESPACE, Source
from protocols.mqtt.sparkplug_metrics import DATATYPES, Metric
from protocols.said_units import unit_of_text
from twin.schema import Primitive

OF_THE_NODE = frozenset({metrics.REBIRTH, metrics.BD_SEQ})
"""Metrics of the protocol itself."""
_SCHEMAS: Mapping[int, Primitive] = {
    **dict.fromkeys((metrics.INT8, metrics.INT16, metrics.INT32, metrics.UINT8, metrics.UINT16), Primitive("integer")),
    **dict.fromkeys((metrics.INT64, metrics.UINT32, metrics.UINT64), Primitive("long")),
    metrics.FLOAT: Primitive("float"),
    metrics.DOUBLE: Primitive("double"),
    metrics.BOOLEAN: Primitive("boolean"),
    metrics.DATE_TIME: Primitive("dateTime"),
    **dict.fromkeys((metrics.STRING, metrics.TEXT, metrics.UUID), Primitive("string")),
}


class Births:
    """Collects births, and who spoke without one having been heard."""

    def __init__(self, under: str, metrics_max: int) -> None:
        """`under`: `spBv1.0`, `spBv1.0/GROUP` or `spBv1.0/GROUP/NODE`."""
        self.messages = 0
        self.complete = True
        self.scope: Path = tuple(part for part in under.strip("/").split("/")[1:] if part and part not in "+#")
        self._metrics_max = metrics_max
        self._count = 0
        self._born: dict[Source, dict[str, Metric]] = {}
        self._heard: set[Source] = set()
        self._faults: dict[Source, str] = {}

    def __len__(self) -> int:
        return len(self._born)

    @property
    def filter(self) -> str:
        return "/".join((NAMESPACE, *self.scope[:1], "#"))

    def unborn(self) -> list[Source]:
        """Edge nodes that spoke and whose birth was not heard: births are not retained."""
        born = {source for source in self._born if not source.device}
        return sorted(self._heard - born, key=str)

    def take(self, topic: str, payload: bytes, retained: bool) -> None:
        self.messages += 1
        said = sparkplug.parse_topic(topic.encode())
        if said is None or (said[1].group, said[1].node)[: len(self.scope)] != self.scope:
            return
        kind, source = said
        if kind not in ("NBIRTH", "DBIRTH"):
            if not kind.endswith("CMD"):
                self._heard.add(source.edge)
            return
        self._heard.add(source.edge)
        try:
            offered = {m.name: m for m in metrics.metrics_of(payload) if m.name and m.name not in OF_THE_NODE}
        except Malformed as fault:
            self._faults[source] = fault.detail
            return
        self._count += len(offered) - len(self._born.get(source, {}))
        if self._count > self._metrics_max:
            self.complete = False
            self._count -= len(offered)
            return
        self._born[source] = offered

    def found(self) -> Found:
        values: list[FoundValue] = []
        skipped = [Skipped(_path(s), str(s), f"its birth cannot be read: {why}") for s, why in self._faults.items()]
        taken: set[Path] = set()
        for source in sorted(self._born, key=str):
            for name in sorted(self._born[source]):
                address = f"{source}#{name}"
                path = distinct((*_path(source), *name.split("/")), address, taken)
                one = _offered(path, len(_path(source)), address, self._born[source][name])
                values.append(one) if isinstance(one, FoundValue) else skipped.append(one)
        around = {v.thing[:n] for v in values for n in range(1, len(v.thing) + 1)}
        things = tuple(FoundThing(p) for p in sorted(around))
        return Found(
            things, tuple(values), tuple(skipped), self.scope, self.complete and not self.unborn(), self._remarks()
        )

    def _remarks(self) -> tuple[str, ...]:
        remarks = []
        if unborn := self.unborn():
            names = ", ".join(map(str, unborn[:5]))
            remarks.append(
                f"{len(unborn)} edge nodes spoke without a birth ({names}); listen longer, or ask for it with --rebirth"
            )
        if not self.complete:
            remarks.append("more metrics than the limit; raise --limit, or look at one group with --under")
        return tuple(remarks)


def _path(source: Source) -> Path:
    return tuple(filter(None, (source.group, source.node, source.device)))


def _offered(path: Path, depth: int, address: str, metric: Metric) -> FoundValue | Skipped:
    schema, kind = _SCHEMAS.get(metric.datatype), DATATYPES.get(metric.datatype)
    if schema is None:
        shown = f"an array ({kind.name}); bind it by hand as an object" if kind else f"of datatype {metric.datatype}"
        return Skipped(path, address, shown)
    if not address.isprintable() or address != address.strip():
        return Skipped(path, address, "its name has characters that a sheet does not keep")
    try:
        sparkplug.check_address(address, "double", False)
    except ValueError as error:
        return Skipped(path, address, str(error))
    said = metric.properties or {}
    is_number = schema.name in ("integer", "long", "float", "double")
    # Only an edge node that says so lets others write; none has to say (6.4.14 leaves property names to makers).
    writable = said.get("readOnly", True) == 0 and schema.name not in ("string", "dateTime")
    unit, scale, note = _unit(said) if is_number else ("", 1.0, "")
    low, high = _range(said, scale) if is_number and writable else (-math.inf, math.inf)
    return FoundValue(
        path[:depth], path[depth:], address, schema, unit, scale, low, high, writable,
        description=_text(said, "documentation"), note=note,
    )  # fmt: skip


def _unit(said: Mapping[str, Any]) -> tuple[str, float, str]:
    text = _text(said, "engUnit")
    if not text:
        return "", 1.0, ""
    found = unit_of_text(text)
    return (*found, "") if found is not None else ("", 1.0, f"its unit {text} is not one of ours")


def _range(said: Mapping[str, Any], scale: float) -> tuple[float, float]:
    low, high = said.get("engLow"), said.get("engHigh")
    if not isinstance(low, int | float) or not isinstance(high, int | float) or not low < high:
        return -math.inf, math.inf
    return low * scale, high * scale


def _text(said: Mapping[str, Any], key: str) -> str:
    value = said.get(key)
    return value if isinstance(value, str) else ""
