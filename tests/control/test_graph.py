"""The running graph in memory and on disk: durable before it is answered, recorded once, the same after any restart."""

from __future__ import annotations

import asyncio
import json
import sqlite3
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import pytest

from control import graph_view
from control.api import part, wire
from control.evidence import GRAPH, Evidence
from control.graph import LiveGraph, recover
from control.graph_change import Change
from control.graph_export import exported
from control.graph_import import checked, planned
from control.graph_layouts import GraphLayouts
from control.graph_store import GraphStore
from control.live import LiveTwin
from protocols.catalog import PROTOCOLS
from tests.control.graph_plant import BALL, PLANT, TANK, VALVE, write
from twin import quality
from twin.edit import AddTwin, fitting
from twin.errors import (
    BadGraph,
    BadRequest,
    Conflict,
    LimitExceeded,
    NotFound,
    PreconditionFailed,
    Refused,
    TwinloopError,
    Unavailable,
)
from twin.history import History
from twin.plant import Plant, Relationship, Twin
from twin.plantfile import load_plant
from twin.retention import Retention
from twin.store import Store
from twin.upkeep import Upkeep

pytestmark = pytest.mark.usefixtures("typed_events")

RULES = {name: entry.rules for name, entry in PROTOCOLS.items()}


@dataclass
class Running:
    graph: LiveGraph
    live: LiveTwin
    store: GraphStore
    evidence: Evidence

    def record(self, twin_id: str) -> Any:
        return graph_view.record(self.live.plant, self.live.table.columns, {}, twin_id)

    def value(self, name: str) -> Any:
        twin_id, _, prop = name.partition(".")
        return self.record(twin_id).properties[prop].value

    def entries(self) -> list[dict[str, Any]]:
        return [dict(e.body) for _, e in self.evidence.entries(1000, GRAPH)][::-1]

    def document(self) -> dict[str, Any]:
        found: dict[str, Any] = json.loads(b"".join(exported(self.live.plant, self.live.table.columns)))
        return found


@asynccontextmanager
async def running(folder: Path, plant: str = PLANT) -> AsyncIterator[Running]:
    """The part of a server that edits pass through, on one data folder; starts as the server does."""
    data = folder / "data"
    data.mkdir(parents=True, exist_ok=True)
    store = GraphStore(data / "graph.sqlite")
    made, aside = fitting(load_plant(write(folder / "plant", plant), RULES), store.additions())
    with Store(data / "history.duckdb") as history_store:
        evidence = Evidence(data / "ledger", "depot", time.time_ns)
        history = History(history_store, made.points.column("name").to_pylist(), evidence.record_batch)
        recover(store, history, evidence)
        live = LiveTwin(made, 1, history, time.time_ns)
        last = history_store.latest({p.name: p.id for p in made.points}, time.time_ns())
        if last is not None:
            live.restore(last, history_store.last_received() or 0)
        graph = LiveGraph(live, store, evidence, time.time_ns, aside)
        try:
            yield Running(graph, live, store, evidence)
        finally:
            await asyncio.to_thread(history.close)
            await asyncio.to_thread(evidence.close)
            graph.close()
            store.close()


async def test_a_twin_its_values_and_relationships_are_the_same_after_a_restart(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.graph.create(Twin("v9", VALVE, "Nine", (1.0, 2.0)), {"serial": "X1", "turns": 7}, "ann")
        assert await site.graph.link(Relationship("v9", "guards", "tank_1"), None, "ann")
        assert not await site.graph.link(Relationship("v9", "guards", "tank_1"), None, "ann")
        await site.graph.patch("tank_1", {"properties": {"serial": "T1", "tags": {"a": "1", "b": "2"}}}, None, "ann")
        before = [site.record(i) for i in ("v9", "tank_1")]
    async with running(tmp_path) as site:
        after = [site.record(i) for i in ("v9", "tank_1")]
        assert [b.etag for b in before] == [a.etag for a in after]
        assert after[0].properties["serial"].value == "X1"
        assert after[0].properties["turns"].value == 7
        assert all(after[0].properties[n].quality == "Good" for n in ("serial", "turns"))
        assert after[1].properties["tags"].value == {"a": "1", "b": "2"}
        assert [(r.name, r.target, r.origin) for r in after[0].relationships] == [("guards", "tank_1", "api")]
        assert [(r.source, r.origin) for r in after[1].relationships_in] == [("v9", "api")]
        assert site.store.waiting() == []


async def test_every_edit_is_one_ledger_entry_that_says_who_and_what(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X1"}, "ann")
        await site.graph.patch("v9", {"name": "Nine", "properties": {"serial": None}}, None, "bob")
        await site.graph.patch("v9", {"name": "Nine"}, None, "bob")  # changes nothing
        await site.graph.delete("v9", None, "eve")
    async with running(tmp_path) as site:
        found = site.entries()
    assert [e["author"] for e in found] == ["ann", "bob", "eve"]
    assert found[0]["changes"] == [f"+ twin v9 {VALVE}", '= v9.serial "X1"']
    assert found[1]["changes"][1] == "= v9.serial unknown"
    assert found[2]["changes"] == ["- twin v9"]
    assert len({e["edit"] for e in found}) == 3


async def test_a_removed_value_is_never_known_again_even_for_a_twin_made_anew(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X1", "turns": 3}, "ann")
        await site.graph.patch("v9", {"properties": {"turns": None}}, None, "ann")
        assert site.record("v9").properties["turns"].quality == "BadWaitingForInitialData"
        await site.graph.delete("v9", None, "ann")
        with pytest.raises(NotFound):
            site.record("v9")
        await site.graph.create(Twin("v9", VALVE, "v9", None), {}, "ann")
        assert (site.value("v9.serial"), site.value("v9.turns")) == (None, None)
    async with running(tmp_path) as site:
        assert (site.value("v9.serial"), site.value("v9.turns")) == (None, None)


REFUSED = [
    ({"properties": {"level": 3}}, Refused, "tank_1.level is reported by device plc"),
    ({"properties": {"inlet": True}}, Refused, "commands change it: POST /api/v1/commands"),
    ({"properties": {"spare": 1}}, Refused, "Telemetry"),
    ({"properties": {"sereal": "x"}}, NotFound, "did you mean"),
    ({"properties": {"volume": "wide"}}, BadRequest, "properties.volume: tank_1.volume is double"),
    ({"properties": {"volume": 1, "serial": 5, "spare": 1}}, BadGraph, "properties.spare"),
    ({"properties": []}, BadRequest, "properties is not an object"),
    ({"name": "Other"}, Refused, "edit plant.toml and restart"),
    ({"at": [1]}, BadRequest, "two numbers"),
    ({"nme": "x"}, BadRequest, "did you mean name?"),
    ({"id": "x"}, Refused, "the id of tank_1 stays"),
    ([], BadRequest, "the patch is not an object"),
]


@pytest.mark.parametrize(("patch", "kind", "said"), REFUSED, ids=[r[2] for r in REFUSED])
async def test_what_devices_and_the_plant_folder_say_cannot_be_patched(
    tmp_path: Path, patch: Any, kind: type[TwinloopError], said: str
) -> None:
    async with running(tmp_path) as site:
        before = site.record("tank_1")
        with pytest.raises(kind) as caught:
            await site.graph.patch("tank_1", patch, None, "ann")
        assert said in str(caught.value)
        assert site.record("tank_1") == before
        assert site.entries() == []


async def test_of_two_who_read_the_same_twin_only_the_first_may_change_it(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        tag = site.record("tank_1").etag
        done = await asyncio.gather(
            *(site.graph.patch("tank_1", {"properties": {"serial": who}}, {tag}, who) for who in ("ann", "bob")),
            return_exceptions=True,
        )
        assert [type(d) for d in done] == [type(None), PreconditionFailed]
        assert site.value("tank_1.serial") == "ann"
        assert site.record("tank_1").etag != tag
        await site.graph.patch("tank_1", {"properties": {"serial": "cat"}}, {"*"}, "cat")


async def test_an_etag_ignores_telemetry_and_never_comes_back(tmp_path: Path) -> None:
    from twin.readings import Readings

    seen = []
    async with running(tmp_path) as site:
        level = site.live.plant.point("tank_1.level").id
        seen.append(site.record("tank_1").etag)
        site.live.readings(Readings.of([level], [1.0], time.time_ns()))
        assert site.record("tank_1").etag == seen[0]
        for value in ("A", "B", "A"):
            await site.graph.patch("tank_1", {"properties": {"serial": value}}, None, "ann")
            seen.append(site.record("tank_1").etag)
    async with running(tmp_path) as site:
        assert site.record("tank_1").etag == seen[-1]
        await site.graph.patch("tank_1", {"properties": {"serial": "B"}}, None, "ann")
        seen.append(site.record("tank_1").etag)
    assert len(set(seen)) == len(seen)


async def test_a_crash_after_the_disk_and_before_history_and_ledger_loses_nothing(tmp_path: Path) -> None:
    """The server dies right after the edit is durable: the next start finds it in the table of what waits."""

    async def never() -> None:
        raise asyncio.CancelledError

    async with running(tmp_path) as site:
        site.live.readings = lambda batch: None  # type: ignore[method-assign]
        site.graph.settle = never  # type: ignore[method-assign]
        with pytest.raises(asyncio.CancelledError):
            await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X1"}, "ann")
        assert site.entries() == []
    for _ in range(2):
        async with running(tmp_path) as site:
            assert site.value("v9.serial") == "X1"
            assert [e["changes"][0] for e in site.entries()] == [f"+ twin v9 {VALVE}"]
            assert site.store.waiting() == []


async def test_an_edit_that_the_disk_does_not_take_is_not_there(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        with sqlite3.connect(tmp_path / "data" / "graph.sqlite") as other:
            other.execute("DROP TABLE relationships")
        with pytest.raises(Unavailable):
            await site.graph.link(Relationship("tank_2", "feeds", "tank_1"), None, "ann")
        assert site.record("tank_2").relationships == []
        await site.graph.patch("tank_2", {"properties": {"serial": "x"}}, None, "ann")
        assert site.value("tank_2.serial") == "x"


async def test_additions_that_the_changed_plant_folder_contradicts_are_set_aside_and_come_back(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X1"}, "ann")
        await site.graph.link(Relationship("v9", "guards", "tank_1"), None, "ann")
    clash = PLANT + f'\n[[twin]]\nid = "v9"\ninterface = "{TANK}"\n'
    async with running(tmp_path, clash) as site:
        assert site.record("v9").interface == TANK
        assert [type(a.edit).__name__ for a in site.graph.set_aside] == ["AddTwin", "AddRelationship"]
        assert "exists" in site.graph.set_aside[0].message
    async with running(tmp_path) as site:
        assert site.graph.set_aside == ()
        assert site.record("v9").interface == VALVE
        assert site.value("v9.serial") == "X1"
        assert len(site.record("v9").relationships) == 1


async def test_consumers_of_the_feed_hear_of_a_new_plant_and_its_points(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        start, size = site.live.feed.seq, len(site.live.table)
        await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X1"}, "ann")
        (event,) = site.live.feed.events_since(start)
        assert (event.kind, event.body["revision"]) == ("plant", site.entries()[0]["edit"])
        serial = site.live.plant.point("v9.serial").id
        assert serial >= size
        assert serial in site.live.feed.points_since(start)
        await site.graph.patch("v9", {"properties": {"serial": "X2"}}, None, "ann")
        assert len(site.live.feed.events_since(start)) == 1, "a value is no new plant"


async def test_devices_go_on_reporting_through_edits(tmp_path: Path) -> None:
    from twin.readings import Readings

    async with running(tmp_path) as site:
        level = site.live.plant.point("tank_1.level").id
        for n in range(20):
            await site.graph.create(Twin(f"v{n}", VALVE, "v", None), {"turns": n}, "ann")
            site.live.readings(Readings.of([level], [float(n)], time.time_ns()))
            assert site.value("tank_1.level") == n
        site.live.sweep()
        assert site.record("v3").properties["turns"].good, "people's values do not go stale"
        assert len(site.live.history.series) == len(site.live.table) == site.live.plant.points.size


async def test_an_exported_graph_comes_back_as_it_was_and_twice_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path / "a") as site:
        await site.graph.create(Twin("v9", BALL, "Nine", (3.0, 4.0)), {"serial": "X1", "turns": 2, "seat": "PTFE"}, "a")
        await site.graph.link(Relationship("v9", "guards", "tank_1"), None, "ann")
        await site.graph.patch("tank_2", {"properties": {"tags": {"k": "v"}}}, None, "ann")
        document = site.document()
    async with running(tmp_path / "b") as site:
        for count in (1, 0):
            plan = await imported(site, document)
            assert plan.difference is not None
            assert (len(plan.difference.twins.added), len(plan.difference.twins.changed)) == (count, count)
        assert site.document() == document
        assert len(site.entries()) == 1


async def imported(site: Running, document: dict[str, Any], replaces: bool = False) -> Any:
    plant, columns = site.live.plant, site.live.table.columns
    plan = planned(plant, graph_view.values(plant, columns), json.dumps(document), replaces)
    error = plan.error()
    if error is not None:
        raise error

    async def make() -> Change:
        assert plan.change is not None
        return plan.change

    await site.graph.apply(make, "ann")
    return plan


async def test_replace_removes_what_the_api_made_and_never_what_the_folder_says(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.graph.create(Twin("old", VALVE, "old", None), {"serial": "X"}, "ann")
        await site.graph.link(Relationship("tank_2", "feeds", "tank_1"), None, "ann")
        new = {"$dtId": "new", "$metadata": {"$model": VALVE}, "serial": "N"}
        await imported(site, {"digitalTwinsGraph": {"digitalTwins": [new]}}, replaces=True)
        assert site.live.plant.added.twins == {"new"}
        assert {"site", "tank_1", "tank_2"} <= site.live.plant.twin_of_id.keys()
        assert [r.origin for r in site.record("tank_1").relationships] == ["plant"]
        assert site.record("tank_2").relationships == []


async def test_a_plan_says_everything_that_is_wrong_refused_or_left_out_and_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as site:
        await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X"}, "ann")
        document = site.document()
        twins = {t["$dtId"]: t for t in document["digitalTwinsGraph"]["digitalTwins"]}
        twins["tank_1"]["inlet"] = True
        document["twinloop"]["twins"]["tank_1"]["at"] = [9, 9]
        twins["v9"]["serial"] = "Y"
        plan = planned(
            site.live.plant, graph_view.values(site.live.plant, site.live.table.columns), json.dumps(document), False
        )
        said = plan.to_json()
        assert not said["applies"]
        assert [c["id"] for c in said["difference"]["twins"]["changed"]] == ["tank_1", "v9"]
        assert "at of tank_1" in said["refused"][0]
        assert any("tank_1.inlet" in n for n in said["notices"])
        twins["v9"]["$metadata"]["$model"] = "dtmi:test:Nothing;1"
        plan = planned(site.live.plant, {}, json.dumps(document), False)
        assert any("unknown Interface" in m for m in plan.to_json()["mistakes"])
        assert site.value("v9.serial") == "X"


async def test_a_dry_run_knows_what_only_doing_it_would_say(tmp_path: Path) -> None:
    """A circle of parts, and more relationships than the Interface allows, are in no single line of the file."""
    ids = ("a", "b")
    twins = [{"$dtId": i, "$metadata": {"$model": TANK}} for i in ids]
    ends = [
        {"$sourceId": s, "$targetId": t, "$relationshipName": "contains", "$relationshipId": f"{s}{t}"}
        for s, t in (ids, ids[::-1])
    ]
    text = json.dumps({"digitalTwinsGraph": {"digitalTwins": twins, "relationships": ends}})
    async with running(tmp_path) as site:
        plan = checked(site.live.plant, planned(site.live.plant, {}, text, False))
        assert plan.change is None
        assert (
            "parts form a circle: a → b → a" in plan.to_json()["mistakes"][0]
            or "b → a → b" in plan.to_json()["mistakes"][0]
        )


async def test_a_twin_that_exists_is_a_conflict_and_a_past_moment_still_has_its_size(tmp_path: Path) -> None:
    from twin.columns import Columns
    from twin.moment import Moment

    async with running(tmp_path) as site:
        old = site.live.plant
        await site.graph.create(Twin("v9", VALVE, "v9", None), {}, "ann")
        with pytest.raises(Conflict):
            await site.graph.create(Twin("v9", VALVE, "v9", None), {}, "ann")
        larger = Moment(0, Columns.empty(site.live.plant.points.size), {site.live.plant.points.size - 1: 1.0})
        assert larger.table(old.points).num_rows == len(old.points)
        smaller = Moment(0, Columns.empty(old.points.size))
        assert smaller.table(site.live.plant.points).num_rows == len(old.points)


async def test_thousands_of_twins_come_as_one_edit(tmp_path: Path) -> None:
    many = tuple(AddTwin(Twin(f"v{n}", VALVE, f"v{n}", None)) for n in range(6_000))
    values = {f"v{n}.turns": n for n in range(6_000)}

    async def make() -> Change:
        return Change(many, values)

    async with running(tmp_path) as site:
        await site.graph.apply(make, "ann")
        assert len(site.entries()) == 1
        assert site.entries()[0]["count"] == 12_000
    async with running(tmp_path) as site:
        ids = [site.live.plant.point(f"v{n}.turns").id for n in (0, 3_000, 5_999)]
        columns = site.live.table.columns
        assert columns.value[ids].tolist() == [0, 3_000, 5_999]
        assert np.all(columns.quality[ids] == quality.GOOD)


async def test_a_plant_too_large_to_draw_says_where_to_page_and_a_small_one_is_drawn_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made: list[Plant] = []
    plant_info = part.plant_info
    monkeypatch.setattr(part, "plant_info", lambda plant, version: (made.append(plant), plant_info(plant, version))[1])
    shown = part.PlantShown("1", GraphLayouts(tmp_path))

    async def twins() -> set[str]:
        return {t.id for t in msgspec.json.decode(await shown.info(site.live.plant), type=wire.PlantInfo).twins}

    async with running(tmp_path) as site:
        drawn = await asyncio.gather(shown.info(site.live.plant), shown.info(site.live.plant))
        assert drawn[0] is drawn[1] and len(made) == 1
        before = await twins()
        await site.graph.create(Twin("v9", VALVE, "v9", (1.0, 1.0)), {}, "ann")
        assert await twins() == before | {"v9"} and len(made) == 2
        picture = msgspec.json.decode(await shown.picture(site.live.plant), type=wire.GraphPicture)
        assert picture.twins == [t.id for t in site.live.plant.twins] and len(picture.w) == len(picture.twins)
        assert await shown.picture(site.live.plant) is await shown.picture(site.live.plant)
        monkeypatch.setattr(part, "POINTS_MAX", len(site.live.plant.points) - 1)
        with pytest.raises(LimitExceeded, match="GET /api/v1/twins"):
            await shown.info(site.live.plant)


async def test_values_come_back_although_their_history_has_expired(tmp_path: Path) -> None:
    """A kept value may be years old: what is dropped of history is not what the twin knows now."""
    async with running(tmp_path) as site:
        await site.graph.create(Twin("v9", VALVE, "v9", None), {"serial": "X1"}, "ann")
        history = site.live.history
        upkeep = Upkeep(Retention(raw=1), lambda: time.time_ns() + 7_200 * 10**9, lambda _: True)

        def drop() -> int:
            con = history.store.cursor()
            while upkeep.step(con):
                pass
            (left,) = con.execute("SELECT count(*) FROM readings").fetchall()[0]
            return int(left)

        assert await asyncio.wrap_future(history.between(drop)) == 0
    async with running(tmp_path) as site:
        assert site.value("v9.serial") == "X1"
