"""plant.toml as parsed, with the lines of everything in it, and the checks of form; must not know what a table means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from twin import retention
from twin.nearest import nearest
from twin.places import Mistakes, TomlLines
from twin.rules import Setting
from twin.setpoint import INTEGER_MAX

PLANT_FILE = "plant.toml"
NUMBER = (int, float)
Form = type | tuple[type, ...]
TABLES: dict[str, dict[str, Form]] = {
    "plant": {"id": str, "name": str, "clock": str, "points": str, "interfaces": str},
    "device": {"id": str, "protocol": str, "endpoint": str},
    "serve": {"id": str, "protocol": str, "endpoint": str},
    "twin": {"id": str, "interface": str, "name": str, "at": list},
    "relationship": {"source": str, "name": str, "target": str},
    "feedback": {"point": str, "feedback": str, "tolerance": NUMBER, "within_s": NUMBER},
    "interlock": {
        "id": str,
        "points": list,
        "twins": list,
        "interface": str,
        "require": str,
        "when": str,
        "message": str,
    },
    "policy": {"points": list, "twins": list, "interface": str},
    "pacing": {"devices": list},
    "stop": {"id": str, "name": str, "set": dict},
    "mark": {"interface": str},
    "overview": {"point": str, "name": str, "normal": list, "target": NUMBER},
    "learned": {"id": str, "task": str, "interface": str, "twins": list},
    "history": dict.fromkeys(retention.KEYS, str),
    "lookahead": {},
    "alarms": {},
    "alarm": {"id": str, "points": list, "twins": list, "interface": str, "property": str},
    "alarm_rule": {"id": str, "set": dict},
    "chain": {},
    "chain_event": {"contract": str, "event": str, "set": dict, "topic": str, "device": str, "confirmations": int},
    "model": {},
}
NEEDED = {
    "plant": ("id",),
    "device": ("id", "protocol", "endpoint"),
    "serve": ("protocol", "endpoint"),
    "twin": ("id", "interface"),
    "relationship": ("source", "name", "target"),
    "feedback": ("point", "feedback"),
    "interlock": ("id", "require"),
    "policy": (),
    "pacing": ("devices",),
    "stop": ("id", "set"),
    "mark": ("interface",),
    "overview": ("point",),
    "learned": ("id", "task"),
    "chain_event": ("contract", "event", "set"),
    "alarm": ("id",),
    "alarm_rule": ("id",),
}
LISTS = tuple(NEEDED)[1:]
# Their rows carry settings that others know.
OPEN = (
    "device", "serve", "interlock", "policy", "pacing", "mark", "learned", "lookahead", "chain", "model", "alarms", "alarm",
    "alarm_rule",
)  # fmt: skip
_WANTED: dict[Form, str] = {str: "text", list: "a list", dict: 'a table such as { "pump_1.status" = 0 }'}


@dataclass(slots=True)
class Sheet:
    """plant.toml as parsed, with the lines of everything in it."""

    document: dict[str, Any]
    lines: TomlLines
    mistakes: Mistakes

    def head(self) -> dict[str, Any]:
        head = self.document.get("plant")
        return head if isinstance(head, dict) else {}

    def rows(self, table: str) -> list[tuple[int, dict[str, Any]]]:
        """(index, row) of every usable row of a list table."""
        rows = self.document.get(table, [])
        if not isinstance(rows, list):
            return []
        forms = {key: TABLES[table][key] for key in NEEDED[table]}
        return [
            (i, r)
            for i, r in enumerate(rows)
            if isinstance(r, dict) and all(isinstance(r.get(k), f) for k, f in forms.items())
        ]

    def mistake(self, table: str, index: int, key: str, message: str, fix: str) -> None:
        self.mistakes.add(PLANT_FILE, self.lines.of(table, index, key), message, fix)

    def texts(self, table: str, index: int, row: Mapping[str, Any], key: str) -> list[str]:
        """The texts of a list; what else is in it is said."""
        listed = row.get(key)
        if not isinstance(listed, list):
            return []  # left out, or said by check_tables
        if not listed or not all(isinstance(t, str) for t in listed):
            self.mistake(table, index, key, f"{key} = {listed!r}", f'give a list of texts: {key} = ["…"]')
        return [t for t in listed if isinstance(t, str)]

    def check_tables(self) -> None:
        """Unknown tables and keys, missing keys, wrong types."""
        for table, content in self.document.items():
            if table not in TABLES:
                self.mistake(table, 0, "", f"unknown table [{table}]", nearest(table, list(TABLES)) or "remove it")
            elif table in LISTS and not isinstance(content, list):
                self.mistake(table, 0, "", f"[{table}] stands alone", f"write it as [[{table}]]")
            elif table not in LISTS and not isinstance(content, dict):
                self.mistake(table, 0, "", f"{table} must be one table", f"write it as [{table}]")
            else:
                rows = content if isinstance(content, list) else [content]
                for index, row in enumerate(rows):
                    self._check_row(table, index, row)
        if not isinstance(self.document.get("plant"), dict):
            self.mistakes.add(PLANT_FILE, 1, "there is no [plant] table", 'add [plant] with id = "…"')

    def _check_row(self, table: str, index: int, row: Any) -> None:
        keys = TABLES[table]
        if not isinstance(row, dict):
            self.mistake(table, index, "", f"{table} {index + 1} is not a table", f"write it as [[{table}]]")
            return
        for needed in NEEDED.get(table, ()):
            if needed not in row:
                self.mistake(table, index, "", f"{table} without {needed}", f"add {needed} = …")
        for key, value in row.items():
            expected = keys.get(key)
            if expected is None:
                if table not in OPEN:
                    fix = nearest(key, list(keys)) or f"one of {', '.join(keys)}"
                    self.mistake(table, index, key, f"{table} has an unknown key {key!r}", fix)
            elif not isinstance(value, expected) or isinstance(value, bool):
                wanted = "a number" if isinstance(expected, tuple) else _WANTED[expected]
                self.mistake(table, index, key, f"{key} = {value!r} is not {wanted}", f"write {key} as {wanted}")

    def settings(
        self, owner: str, table: str, index: int, row: Mapping[str, Any], known: Mapping[str, Setting]
    ) -> dict[str, Any]:
        """Every setting of a row, with its default where the row has none or a wrong one.

        Args:
            owner: whose settings they are, for messages.
        """
        settings: dict[str, Any] = {name: s.default for name, s in known.items()}
        for key, value in row.items():
            if key in TABLES[table]:
                continue
            setting = known.get(key)
            if setting is None:
                fix = nearest(key, [*known, *TABLES[table]]) or f"one of {', '.join(known)}"
                self.mistake(table, index, key, f"{owner} has no setting {key!r}", fix)
                continue
            number = isinstance(value, int | float) and not isinstance(value, bool)
            if not _fits(value, setting.type):
                wanted = "list of texts" if setting.type is list else setting.type.__name__
                self.mistake(table, index, key, f"{key} = {value!r} is not a {wanted}", setting.help)
            elif number and not setting.low <= value <= setting.high:
                span = f"{setting.low:g} … {setting.high:g}"
                self.mistake(table, index, key, f"{key} = {value!r} is outside {span}", setting.help)
            elif any(v not in setting.choices for v in _each(value)) and setting.choices:
                self.mistake(table, index, key, f"{key} = {value!r}", f"one of {', '.join(setting.choices)}")
            else:
                settings[key] = tuple(value) if setting.type is list else setting.type(value)
        return settings


def _fits(value: Any, wanted: type) -> bool:
    if wanted in (int, float):
        number = isinstance(value, (int, float) if wanted is float else int) and not isinstance(value, bool)
        return number and (isinstance(value, float) or abs(value) < INTEGER_MAX)
    return isinstance(value, wanted) and all(wanted is not list or isinstance(v, str) for v in _each(value))


def _each(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [value]
