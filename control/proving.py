"""Which proof is asked for, and its bundle from a running server or from the files of a stopped one.

Must not know HTTP or print; what a bundle is, `ledger.bundle` knows.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import numpy as np

from control.audit_index import Wanted
from control.evidence import Evidence
from control.places import LEDGER
from ledger import errors as ledger_errors
from ledger import proving
from ledger.batch_rows import BatchRows
from ledger.bundle import BATCH_KIND, ENTRIES_MAX
from twin.batch_read import place_of, read_batch
from twin.errors import BadRequest, NotFound
from twin.store import Store
from twin.when import parse_when_ns

_WHATS = ("entry", "command", "batch", "point")
CANDIDATES_MAX = 10 * ENTRIES_MAX  # leases and groups may have the id of a command, too


@dataclass(frozen=True, slots=True)
class Asked:
    """One of entry, command, batch and point is given; `at_ns` with a point; `data`: the rows of the batch, too."""

    entry: int | None = None
    command: str = ""
    batch: int | None = None
    point: str = ""
    at_ns: int = 0
    data: bool = False


def parse(said: Mapping[str, str], now_ns: int) -> Asked:
    """
    Raises:
        BadRequest: not exactly one thing, or none of its form.
    """
    given = [what for what in _WHATS if said.get(what)]
    if len(given) != 1:
        raise BadRequest(f"a proof of {' and '.join(given) or 'nothing'}", f"name one of {', '.join(_WHATS)}")
    if bool(said.get("at")) != (given == ["point"]):
        raise BadRequest("`at` belongs to a point", "give both, such as point=tank_1.level and at=10m")
    data = said.get("data", "")
    if data not in ("", "true", "false"):
        raise BadRequest(f"data={data!r}", "true or false")
    return Asked(
        entry=_number(said, "entry"),
        command=said.get("command", ""),
        batch=_number(said, "batch"),
        point=said.get("point", ""),
        at_ns=parse_when_ns(said["at"], now_ns, "at") if said.get("at") else 0,
        data=data == "true",
    )


def prove(evidence: Evidence, store: Store, asked: Asked) -> dict[str, Any]:
    """The bundle of a running server. On a thread: it waits for disks.

    Raises:
        NotFound: no such thing, or it is not yet under a checkpoint. Unavailable: the index of entries is made anew.
    """
    con = store.cursor()
    try:
        about, rows = _about(con, asked)
    finally:
        con.close()
    log = evidence.log
    try:
        indexes = proving.indexes_of(about, _candidates(evidence, about))
        return proving.prove_from(log, about, indexes, evidence.anchorer.receipts(), rows)
    except ledger_errors.NotFound as error:
        raise NotFound(str(error), f"there are {log.signed.size} checkpointed entries") from error


def _candidates(evidence: Evidence, about: proving.About) -> Iterator[tuple[int, bytes]]:
    """The index of the entries says where to look; what counts is what the log says there."""
    word = str(about["id"] if about["kind"] == "command" else about.get("batch", ""))
    if about["kind"] == "entry" or "*" in word:  # which the index would take for any characters
        return
    kind = "" if about["kind"] == "command" else BATCH_KIND
    for index in sorted(evidence.index.find(Wanted(kind=kind, command=word), CANDIDATES_MAX)):
        yield index, evidence.log.read(index)


def prove_offline(data: Path, asked: Asked) -> dict[str, Any]:
    """The bundle from the files of a data folder whose history no server holds.

    Raises:
        NotFound, LedgerError.
    """
    if asked.batch is None and not asked.point:
        about, rows = _about(None, asked)
    else:
        from control.offline import open_history

        with open_history(data) as store:
            about, rows = _about(store.cursor(), asked)
    return proving.prove(data / LEDGER, about, rows)


def _about(con: duckdb.DuckDBPyConnection | None, asked: Asked) -> tuple[proving.About, BatchRows | None]:
    if asked.entry is not None:
        return proving.about_entry(asked.entry), None
    if asked.command:
        return proving.about_command(asked.command), None
    assert con is not None
    if asked.batch is not None:
        return proving.about_batch(asked.batch), _rows(con, asked.batch) if asked.data else None
    place = place_of(con, asked.point, asked.at_ns)
    if not asked.data:
        return proving.about_batch(place.batch), None
    return proving.about_reading(place.batch, asked.point, place.source_time), _rows(con, place.batch)


def _rows(con: duckdb.DuckDBPyConnection, batch: int) -> BatchRows:
    whole = read_batch(con, batch)
    rows = whole.rows
    columns = {
        name: np.ascontiguousarray(getattr(rows, name), kind).tobytes()
        for name, kind in (
            ("series", "<i4"), ("value", "<f8"), ("quality", "<u4"), ("source_time", "<i8"), ("received_time", "<i8"),
            ("noticed", "u1"),
        )
    }  # fmt: skip
    if whole.version == 1:
        columns["noticed"] = b""
    return BatchRows(whole.version, whole.names, columns, tuple(sorted(rows.text.items())))


def _number(said: Mapping[str, str], what: str) -> int | None:
    text = said.get(what)
    if not text:
        return None
    sign, digits = (-1, text[1:]) if text.startswith("-") else (1, text)
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 18:
        raise BadRequest(f"{what}={text[:40]!r}", "a whole number")
    return sign * int(digits)
