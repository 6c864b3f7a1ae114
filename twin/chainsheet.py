"""Reads the table [chain] of plant.toml into Anchoring; says every mistake. Must not know chains."""

from __future__ import annotations

import re
from collections.abc import Mapping

from twin.anchoring import Anchoring, ChainRule
from twin.errors import BadRequest
from twin.nearest import nearest
from twin.points import Point
from twin.rules import Setting
from twin.sheet import Sheet
from twin.when import parse_duration_s

DEFAULT = Anchoring()
ADDRESS = re.compile(r"0x[0-9a-fA-F]{40}")
TOPIC = re.compile(r"[0-9a-f]{64}")
EVENTS: Mapping[str, tuple[str, ...]] = {
    "DeviceRegistry": ("Registered", "KeyChanged", "OwnerChanged", "Revoked"),
    "Notary": ("DataSet",),
    "ModelRegistry": ("Certified", "StageChanged", "Revoked"),
}
SPANS: Mapping[str, tuple[float, float, str]] = {
    "every": (10.0, 86_400.0, "10s … 1d"),  # an anchor adds 6 kB to the embedded chain, and costs gas on others
    "timeout": (1.0, 3_600.0, "1s … 1h"),
    "alarm_after": (30.0, 7 * 86_400.0, "30s … 7d"),
}

CHAIN: Mapping[str, Setting] = {
    "rpc": Setting(str, "", "address of a JSON-RPC node, such as http://10.0.0.7:8545; the embedded chain without it"),
    "chain_id": Setting(int, 0, "the chain that the node must serve, a whole number such as 31337", 1, 2**63 - 1),
    "contract": Setting(str, "", "address of the log's Anchor contract, 0x and 40 hex digits; made when left out"),
    "confirmations": Setting(int, 1, "blocks that an anchor must be deep to count, its own included", 1, 1_000),
    "timeout": Setting(str, "2m", "how long an anchor may take, such as 2m"),
    "every": Setting(str, "10s", "from one anchor to the next, such as 60s"),
    "alarm_after": Setting(str, "5m", "age of an entry that is not anchored from which there is an alarm, such as 5m"),
}


def read_chain(sheet: Sheet) -> Anchoring:
    """A plant needs none: then the embedded chain, every 10 s."""
    table = sheet.document.get("chain")
    if not isinstance(table, dict):
        return DEFAULT  # left out, or said by check_tables
    asked = sheet.settings("the chain", "chain", 0, table, CHAIN)
    every_s, timeout_s, alarm_s = (_span_s(sheet, key, str(asked[key])) for key in ("every", "timeout", "alarm_after"))
    if asked["rpc"] and not asked["chain_id"]:
        _wrong(sheet, "rpc", "a node without chain_id", "add chain_id = …: the node is asked whether it serves it")
    for key in ("chain_id", "contract"):
        if asked[key] and not asked["rpc"]:
            _wrong(sheet, key, f"{key} without rpc", "add rpc = …, or leave it out for the embedded chain")
    if asked["contract"] and not ADDRESS.fullmatch(asked["contract"]):
        _wrong(sheet, "contract", f"contract = {asked['contract']!r}", "write 0x and 40 hex digits")
    if alarm_s <= every_s:
        _wrong(
            sheet, "alarm_after", "alarm_after is not longer than every", "every anchor would be late: make it longer"
        )
    place = str(asked["rpc"]), int(asked["chain_id"]), str(asked["contract"]).lower()
    return Anchoring(*place, int(asked["confirmations"]), timeout_s, every_s, alarm_s)


def read_rules(sheet: Sheet, points: Mapping[str, Point]) -> tuple[ChainRule, ...]:
    """The rows [[chain_event]], in the order of the file."""
    found: list[ChainRule] = []
    for index, row in sheet.rows("chain_event"):
        known = EVENTS.get(row["contract"], ())
        topic, depth = row.get("topic", ""), row.get("confirmations", 1)
        if row["event"] not in known:
            what = f"{row['contract']} has no event {row['event']!r}"
            offered = ", ".join(f"{c}: {', '.join(e)}" for c, e in EVENTS.items())
            sheet.mistake("chain_event", index, "event", what, f"one of {offered}")
        if topic and not TOPIC.fullmatch(topic):
            sheet.mistake("chain_event", index, "topic", f"topic = {topic!r}", "write 64 hex digits in small letters")
        if row.get("device") and (topic or row["contract"] != "DeviceRegistry"):
            sheet.mistake("chain_event", index, "device", "a device here", "name it for DeviceRegistry, without topic")
        if not 1 <= depth <= 1_000:
            sheet.mistake("chain_event", index, "confirmations", f"confirmations = {depth}", "take 1 … 1000")
        for name, value in row["set"].items():
            if name not in points or not points[name].writable:
                fix = nearest(str(name), points) or "name one that can be written"
                sheet.mistake("chain_event", index, "set", f"{name!r} is no point that can be commanded", fix)
            elif isinstance(value, bool) or not isinstance(value, int | float):
                sheet.mistake("chain_event", index, "set", f"{name} = {value!r}", "give a number")
        sets = tuple((str(name), float(v)) for name, v in row["set"].items() if isinstance(v, int | float))
        device = row.get("device", "")
        found.append(ChainRule(row["contract"], row["event"], topic, device, depth, sets))
    return tuple(found)


def _span_s(sheet: Sheet, key: str, text: str) -> float:
    low, high, form = SPANS[key]
    try:
        span_s = parse_duration_s(text, key)
    except BadRequest as error:
        _wrong(sheet, key, error.message, error.hint)
        return low
    if not low <= span_s <= high:
        _wrong(sheet, key, f"{key} = {text!r}", f"take {form}")
    return span_s


def _wrong(sheet: Sheet, key: str, message: str, fix: str) -> None:
    sheet.mistake("chain", 0, key, message, fix)
