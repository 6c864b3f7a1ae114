"""SQL over now, then and the graph: one statement, consistent, read-only, bounded."""

from __future__ import annotations

import math
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest

from tests.twin.plants import PLANT, RULES, write
from twin import quality
from twin.errors import BadRequest, LimitExceeded, NotFound, Unavailable
from twin.feed import Feed
from twin.history import History
from twin.moment import QUERIES_MAX, Mirror, Moment, rebuilt
from twin.plant import Plant
from twin.plantfile import load_plant
from twin.query import PlantTables, Queries
from twin.readings import Readings
from twin.statement import CALLS_MAX, Call
from twin.store import Store
from twin.table import PointTable

MORE = """
[[twin]]
id = "tank_2"
interface = "dtmi:test:Tank;1"
[[twin]]
id = "tank_3"
interface = "dtmi:test:Tank;1"
[[relationship]]
source = "tank"
name = "feeds"
target = "tank_2"
[[relationship]]
source = "tank_2"
name = "feeds"
target = "tank_3"
"""


class Desk:
    """A small plant with a table, a history and a way to ask."""

    def __init__(self, plant: Plant, store: Store) -> None:
        size = plant.points.size
        self.plant, self.store = plant, store
        self.table, self.feed, self.mirror = PointTable.sized(size), Feed(size, 1), Mirror()
        self.history = History(store, plant.points.column("name").to_pylist(), lambda _: None)
        self.plant_tables = PlantTables(plant)
        self.queries = Queries(store)

    def read(self, time: int, text: dict[int, str] | None = None, **values: float) -> None:
        """`tank__level=3.0` at `time`, source and received."""
        ids = [self.plant.point(name.replace("__", ".")).id for name in values]
        changes = self.table.apply(Readings.of(ids, list(values.values()), time, text=text))
        self.feed.advance(changes.advanced)
        self.history.record(changes.record)

    def ask(self, sql: str, limit: int = 100) -> list[tuple[object, ...]]:
        self.history.flush().result(10)
        moment = self.mirror.take(self.table, self.feed, {self.plant.point("tank.valve").id: 1.0})
        try:
            tables = {**self.plant_tables.tables, "point_rows": moment.table(self.plant.points)}
            return self.queries.run(tables, sql, limit, self.resolve).rows
        finally:
            self.mirror.give_back(moment)

    def resolve(self, call: Call) -> pa.Table:
        if call.name == "at":
            rows = self.store.state_at(self.store.cursor(), int(call.arguments["moment"]), 2**62)
            return Moment(0, rebuilt(rows, self.history.series)).table(self.plant.points)
        return self.plant_tables.reach(call)


@pytest.fixture
def desk(tmp_path: Path) -> Iterator[Desk]:
    plant = load_plant(write(tmp_path, plant=PLANT + MORE), RULES)
    with Store(tmp_path / "history.duckdb") as store:
        made = Desk(plant, store)
        yield made
        made.history.close()


def test_points_show_value_quality_and_desired_and_null_for_what_was_never_read(desk: Desk) -> None:
    desk.read(5_000, tank__level=3.5, site__clock=7.0)
    rows = desk.ask(
        "SELECT name, value, quality_name, desired, epoch_ns(source_time) FROM points WHERE device = 'plc' ORDER BY 1"
    )
    assert rows == [
        ("site.clock", 7.0, "Good", None, 5_000),
        ("tank.level", 3.5, "Good", None, 5_000),
        ("tank.valve", None, "BadWaitingForInitialData", 1.0, None),
        ("tank.valve_open", None, "BadWaitingForInitialData", None, None),
    ]


def test_texts_and_bad_values_are_what_they_are(desk: Desk) -> None:
    desk.read(1, {0: "online"}, plc__state=math.nan)
    desk.table.apply(Readings.of([1], [math.nan], 2, quality=quality.BAD_SENSOR_FAILURE))
    desk.feed.advance(np.array([1], np.int32))
    rows = desk.ask(
        "SELECT text, value, quality_name FROM points WHERE name IN ('plc.state', 'tank.level') ORDER BY name"
    )
    assert rows == [("online", None, "Good"), (None, None, "BadSensorFailure")]


def test_the_same_statement_asks_now_and_then(desk: Desk) -> None:
    for time, level in ((100, 1.0), (200, 2.0), (300, 3.0)):
        desk.read(time, tank__level=level)
    statement = "SELECT value FROM {} WHERE name = 'tank.level'"
    assert [desk.ask(statement.format(source)) for source in ("points", "at('250')", "at('199')", "at('1')")] == [
        [(3.0,)], [(2.0,)], [(1.0,)], [(None,)]
    ]  # fmt: skip
    rise = "SELECT p.value - a.value FROM points p JOIN at('100') a USING (name) WHERE name = 'tank.level'"
    assert desk.ask(rise) == [(2.0,)]


def test_reach_is_a_table_like_any_other(desk: Desk) -> None:
    assert desk.ask("SELECT * FROM downstream_of('tank') ORDER BY hops") == [("tank_2", 1), ("tank_3", 2)]
    assert desk.ask("FROM downstream_of('tank', hops := 1)") == [("tank_2", 1)]
    assert desk.ask("SELECT id FROM upstream_of('tank_3', along := 'feeds') ORDER BY id") == [("tank",), ("tank_2",)]
    assert desk.ask("SELECT id FROM parts_of('site')") == [("tank",)]
    assert desk.ask("SELECT t.kind FROM parts_of('site') JOIN twins t USING (id)") == [("Tank",)]


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        ("SELECT * FROM at(name)", "moment of at at line 1, column 15 is no constant"),
        ("SELECT 1,\n  (SELECT count(*) FROM at())", "at at line 2, column 25 needs moment"),
        ("FROM at('1', unknown := '2')", "takes moment, known"),
        ("FROM downstream_of('tank', hops := 'two')", "hops 'two'"),
        ("FROM points WHERE nam = 'x'", "name"),
        ("SELEC 1", "SELEC"),
        ("SELECT 1; SELECT 2", "2 statements"),
        ("DELETE FROM readings", "DELETE is not allowed"),
        ("ATTACH 'x.db'", "ATTACH is not allowed"),
        ("LOAD httpfs", "LOAD is not allowed"),
        ("COPY points TO 'x.csv'", "COPY is not allowed"),
        ("SELECT * FROM read_text('/etc/hostname')", "table function read_text at line 1, column 15"),
        ("SELECT nextval('series_id')", "function nextval at line 1, column 8"),
        ("SELECT * FROM enable_logging(storage := 'file', storage_path := '/tmp/x')", "enable_logging"),
        ("FROM query('FROM enable_profiling()')", "table function query"),
        ("FROM json_execute_serialized_sql('x')", "json_execute_serialized_sql"),
        ("SELECT checkpoint FROM (FROM checkpoint())", "table function checkpoint"),
        ("WITH a AS (SELECT main.write_log('x')) FROM a", "function write_log"),
        ("SELECT list_transform(['a'], x -> levenshtein(x, 'b'))", "function levenshtein"),
        ("SELECT * FROM points WHERE name IN (SELECT path FROM duckdb_databases)", "table duckdb_databases"),
        ("PIVOT points ON unit", "MULTI"),
        ("SELECT * FROM desk", "desk"),
        ("FROM '/etc/passwd'", "passwd"),
    ],
)
def test_a_statement_that_cannot_work_is_refused_with_its_place(desk: Desk, sql: str, says: str) -> None:
    with pytest.raises(BadRequest) as caught:
        desk.ask(sql)
    assert says in str(caught.value)
    assert desk.ask("SELECT 1") == [(1,)]


@pytest.mark.parametrize(
    "sql",
    [
        "DESCRIBE points", "SUMMARIZE SELECT value FROM points", "SHOW TABLES", "VALUES (1)", "FROM range(3)", "TABLE twins",
        "SELECT unnest([1, 2])", "SELECT * FROM points ORDER BY ALL LIMIT 1", "SELECT random() < 2, uuid() IS NOT NULL",
    ],
)  # fmt: skip
def test_whatever_only_reads_is_answered(desk: Desk, sql: str) -> None:
    assert desk.ask(sql)


def test_an_unknown_twin_is_named_with_the_nearest(desk: Desk) -> None:
    with pytest.raises(NotFound, match="did you mean tank"):
        desk.ask("FROM upstream_of('tnak')")


def test_more_moments_than_allowed_are_refused(desk: Desk) -> None:
    many = " UNION ALL ".join(f"SELECT count(*) FROM at('{n}')" for n in range(CALLS_MAX + 1))
    with pytest.raises(BadRequest, match=f"at most {CALLS_MAX}"):
        desk.ask(many)


@pytest.mark.parametrize(
    ("sql", "says"),
    [
        (
            "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range * b.range % 7 = 3",
            r"longer than 0\.2 s",
        ),
        ("SELECT list(repeat('x', 1000) || range) FROM range(20000000)", "memory"),
        ("SELECT repeat('x', 100000) FROM range(5000)", "16000000 bytes"),
        ("SELECT {'a': [repeat('x', 20000000)]}", "16000000 bytes"),
        ("SELECT [range(5000000)] FROM range(6)", "16000000 bytes"),
    ],
)
def test_a_query_beyond_its_limits_is_stopped_and_says_which(desk: Desk, sql: str, says: str) -> None:
    desk.queries = Queries(desk.store, timeout_s=0.2 if "0" in says and "bytes" not in says else 20.0)
    with pytest.raises(LimitExceeded, match=says):
        desk.ask(sql, 5000)
    desk.read(9, tank__level=1.0)
    assert desk.ask("SELECT value FROM points WHERE name = 'tank.level'") == [(1.0,)]


@pytest.fixture
def usual_depth() -> Iterator[None]:
    """As in a server: py-evm, which other tests import, raises the limit of the process."""
    before = sys.getrecursionlimit()
    sys.setrecursionlimit(1000)
    yield
    sys.setrecursionlimit(before)


@pytest.mark.usefixtures("usual_depth")
def test_a_statement_that_nests_without_end_is_refused(desk: Desk) -> None:
    deep = "SELECT * FROM points"
    for _ in range(400):
        deep = f"SELECT * FROM ({deep})"
    with pytest.raises(BadRequest, match=r"nests too deep|depth"):
        desk.ask(deep)
    with pytest.raises(BadRequest, match=r"nests too deep|depth"):
        desk.ask("SELECT " + "abs(" * 900 + "1" + ")" * 900)


def test_what_a_killed_server_left_on_disk_of_its_queries_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "h.duckdb"
    Store(path).close()
    left = tmp_path / "h.duckdb.tmp"
    left.mkdir()
    (left / "duckdb_temp_storage-0.tmp").write_bytes(b"x")
    with Store(path):
        assert not left.exists()


def test_nested_values_and_large_sums_are_answered_as_they_are(desk: Desk) -> None:
    assert desk.ask("SELECT {'a': 1, 'b': [1.5, NULL]}, [1, 2], sum(range) FROM range(3)") == [
        ({"a": 1, "b": [1.5, None]}, [1, 2], 3)
    ]
    assert desk.ask("SELECT [range] FROM range(200)", 3) == [([0],), ([1],), ([2],)]


def test_a_server_that_stops_stops_its_queries(desk: Desk) -> None:
    ended: list[Exception] = []

    def ask() -> None:
        try:
            desk.queries.run(
                {}, "SELECT count(*) FROM range(1000000000) a, range(1000) b WHERE a.range * b.range = 3", 1
            )
        except Unavailable as error:
            ended.append(error)

    asking = threading.Thread(target=ask)
    asking.start()
    while not desk.queries._running:
        threading.Event().wait(0.01)
    while asking.is_alive():
        desk.queries.close()
        asking.join(0.05)
    assert "stopping" in str(ended[0])
    with pytest.raises(Unavailable):
        desk.ask("SELECT 1")


def test_one_query_more_than_allowed_at_once_is_told_so(desk: Desk) -> None:
    out = [desk.mirror.take(desk.table, desk.feed, {}) for _ in range(QUERIES_MAX)]
    with pytest.raises(LimitExceeded, match=f"{QUERIES_MAX} queries"):
        desk.mirror.take(desk.table, desk.feed, {})
    desk.mirror.give_back(out.pop())
    desk.mirror.take(desk.table, desk.feed, {})


def test_a_moment_never_shows_half_a_batch(desk: Desk) -> None:
    """Two points that always change together are asked from a thread while they do."""
    stop, torn = threading.Event(), []

    def watch() -> None:
        while not stop.is_set():
            with gate:
                moment = desk.mirror.take(desk.table, desk.feed, {})
            rows = desk.queries.run(
                {"point_rows": moment.table(desk.plant.points)},
                "SELECT min(value) = max(value) FROM points WHERE name IN ('tank.level', 'site.clock')", 1,
            ).rows  # fmt: skip
            desk.mirror.give_back(moment)
            torn.append(rows == [(False,)])

    gate = threading.Lock()  # stands for the event loop: a moment is taken between two batches
    desk.read(1, tank__level=1.0, site__clock=1.0)
    watcher = threading.Thread(target=watch)
    watcher.start()
    time = 1
    while len(torn) < 50:
        with gate:
            time += 1
            desk.read(time, tank__level=float(time), site__clock=float(time))
    stop.set()
    watcher.join()
    assert not any(torn)


def test_retired_points_are_gone_and_added_ones_are_there(desk: Desk) -> None:
    points = desk.plant.points
    desk.read(1, tank__level=1.0, site__clock=2.0)
    level = desk.plant.point("tank.level")
    changed = points.changed([], retired=[level.id])
    columns = desk.table.columns
    names = pa.table({"name": [r.name for r in changed]})
    assert level.name not in names["name"].to_pylist()
    assert changed.id_of(level.name) is None
    assert (len(changed), changed.size) == (len(points) - 1, points.size)
    shown = Moment(0, columns).table(changed)
    assert shown["name"].to_pylist() == names["name"].to_pylist()
    assert (level.id not in shown["id"].to_pylist(), changed[level.id].name) == (True, level.name)
