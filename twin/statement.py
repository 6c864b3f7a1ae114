"""A SELECT as it is asked: that it is one, which moments and reaches it names; pure but for DuckDB's own parser."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import duckdb

from twin.errors import BadRequest

STATEMENT_MAX = 100_000  # characters
CALLS_MAX = 16  # of one statement: each moment is a table of all points
KEY = "|"
POINT_COLUMNS = (
    "id, name, twin, property, type, unit, device, address, writable, value, text, quality, "
    "quality_name(quality) AS quality_name, source_time, received_time, revision, desired"
)
"""Columns of `points`, over the table that Moment.table makes."""


@dataclass(frozen=True, slots=True)
class Form:
    """A table function of ours: its parameters with their defaults, None for those that must be given; what it gives."""

    parameters: Mapping[str, str | None]
    gives: str
    example: str


FORMS: Mapping[str, Form] = {
    "at": Form({"moment": None, "known": ""}, POINT_COLUMNS, "at('2026-11-21 06:00', known := '2026-11-21 07:00')"),
    "branch": Form({"branch": None, "moment": ""}, POINT_COLUMNS, "branch('lab') or branch('a1b2/1', moment := '+2h')"),
    "downstream_of": Form({"twin": None, "hops": "", "along": ""}, "*", "downstream_of('pump_335', hops := 2)"),
    "upstream_of": Form({"twin": None, "hops": "", "along": ""}, "*", "upstream_of('tank_1', along := 'feeds')"),
    "parts_of": Form({"twin": None, "hops": ""}, "*", "parts_of('site')"),
}


# DuckDB has table functions that log, profile, checkpoint and read files: only these and ours are known to do no harm.
TABLE_FUNCTIONS = frozenset(FORMS) | {
    "generate_series", "histogram", "histogram_values", "icu_calendar_names", "json_each", "json_tree",
    "pg_timezone_names", "range", "repeat", "repeat_row", "summary", "unnest",
}  # fmt: skip
SIDE_EFFECTS = frozenset({"currval", "getenv", "nextval", "setseed", "setval", "sleep_ms", "write_log"})
# A query is interrupted between vectors; these can work for hours on two long texts inside one.
UNSTOPPABLE = frozenset(
    {"damerau_levenshtein", "editdist3", "jaro_similarity", "jaro_winkler_similarity", "levenshtein"}
)
INTERNAL_TABLES = ("duckdb_", "pragma_", "sqlite_")  # they tell paths and settings of the server


@dataclass(frozen=True, slots=True)
class Call:
    """One use of a table function of ours, with every parameter as text.

    `key` is the name of the table that answers it: the macro of the same name builds it from the same texts. It is
    hashed because a dot would end the name.
    """

    name: str
    arguments: Mapping[str, str]

    @property
    def key(self) -> str:
        words = KEY.join([self.name, *self.arguments.values()])
        return f"q{hashlib.md5(words.encode(), usedforsecurity=False).hexdigest()}"


def macros() -> str:
    """SQL that defines the table functions: each reads the table registered under the call's key."""
    made = []
    for name, form in FORMS.items():
        parameters = ", ".join(p if d is None else f"{p} := '{d}'" for p, d in form.parameters.items())
        words = f" || '{KEY}' || ".join([f"'{name}'", *(f"{p}::VARCHAR" for p in form.parameters)])
        body = f"SELECT {form.gives} FROM query_table('q' || md5({words}))"
        made.append(f'CREATE OR REPLACE TEMP MACRO "{name}"({parameters}) AS TABLE {body}')
    return ";\n".join(made)


def check(sql: str) -> None:
    """
    Raises:
        BadRequest: anything but one SELECT.
    """
    if len(sql) > STATEMENT_MAX:
        raise BadRequest(f"the statement has {len(sql)} characters", f"at most {STATEMENT_MAX} are taken")
    try:
        statements = duckdb.extract_statements(sql)
    except duckdb.Error as error:
        raise BadRequest(str(error).strip(), "write one SELECT") from None
    if len(statements) != 1:
        raise BadRequest(f"{len(statements)} statements", "send exactly one SELECT")
    if statements[0].type != duckdb.StatementType.SELECT:
        raise BadRequest(f"{statements[0].type.name} is not allowed: queries only read", "write one SELECT")


def calls(con: duckdb.DuckDBPyConnection, sql: str) -> list[Call]:
    """Every use of our table functions in a statement that `check` has passed, each key once.

    Raises:
        BadRequest: an argument is no constant, unknown or missing, there are more than CALLS_MAX, or the statement
            uses what queries may not.
    """
    [(text,)] = con.execute("SELECT json_serialize_sql($sql)", {"sql": sql}).fetchall()
    try:
        tree: dict[str, Any] = json.loads(text)
    except RecursionError:
        raise BadRequest("the statement nests too deep", "write it in fewer levels: WITH gives each a name") from None
    if tree["error"]:
        raise BadRequest(tree["error_message"], "write one SELECT")
    found = {call.key: call for call in map(_call, _used(tree, sql))}
    if len(found) > CALLS_MAX:
        raise BadRequest(f"{len(found)} moments and reaches in one statement", f"at most {CALLS_MAX} are taken")
    return list(found.values())


@dataclass(frozen=True, slots=True)
class _Used:
    """A function node of DuckDB's parse tree and where it stands."""

    name: str
    arguments: list[dict[str, Any]]
    place: str


def _used(tree: Any, sql: str) -> Iterator[_Used]:
    """Our table functions in a parse tree.

    Raises:
        BadRequest: another function or table that queries may not use.
    """
    todo = [tree]
    while todo:
        node = todo.pop()
        if isinstance(node, list):
            todo += node
        elif isinstance(node, dict):
            todo += node.values()
            if node.get("type") == "TABLE_FUNCTION":
                name = node["function"]["function_name"].lower()
                if name in FORMS:
                    yield _Used(name, node["function"]["arguments"], _place(node, sql))
                elif name not in TABLE_FUNCTIONS:
                    _refuse(f"the table function {name}", node, sql, f"use one of {', '.join(sorted(TABLE_FUNCTIONS))}")
            elif node.get("class") == "FUNCTION" and node["function_name"].lower() in SIDE_EFFECTS | UNSTOPPABLE:
                _refuse(f"the function {node['function_name']}", node, sql, "write it without")
            elif node.get("type") == "BASE_TABLE" and node["table_name"].lower().startswith(INTERNAL_TABLES):
                _refuse(f"the table {node['table_name']}", node, sql, "SHOW TABLES lists what there is")


def _refuse(what: str, node: dict[str, Any], sql: str, fix: str) -> None:
    raise BadRequest(f"{what} at {_place(node, sql)} is not for queries", fix)


def _place(node: dict[str, Any], sql: str) -> str:
    encoded, position = sql.encode(), int(node.get("query_location", 0))
    head = encoded[: position if position <= len(encoded) else 0].decode(errors="ignore")
    return f"line {head.count(chr(10)) + 1}, column {len(head) - head.rfind(chr(10))}"


def _call(used: _Used) -> Call:
    form = FORMS[used.name]
    given: dict[str, str] = {}
    names = list(form.parameters)
    for position, argument in enumerate(used.arguments):
        name = argument.get("name") or (names[position] if position < len(names) else "")
        if name not in form.parameters or name in given:
            what = f"{used.name} at {used.place} takes {', '.join(names)}"
            raise BadRequest(what, f"write it as {form.example}")
        given[name] = _constant(argument["expression"], used, name, form)
    missing = [p for p, default in form.parameters.items() if default is None and p not in given]
    if missing:
        raise BadRequest(f"{used.name} at {used.place} needs {missing[0]}", f"write it as {form.example}")
    whole = {p: given.get(p, default or "") for p, default in form.parameters.items()}
    return Call(used.name, whole)


def _constant(expression: dict[str, Any], used: _Used, name: str, form: Form) -> str:
    literal = expression.get("literal", {})
    if expression.get("class") != "CONSTANT" or literal.get("kind") not in ("STRING", "INTEGER"):
        what = f"{name} of {used.name} at {used.place} is no constant"
        raise BadRequest(what, f"write a text or a whole number there, as in {form.example}")
    return str(literal["text"])
