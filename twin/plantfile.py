"""Reads a plant folder (plant.toml, DTDL Interfaces, points.csv) into a Plant, or lists every mistake in it.

Must not know any protocol: what a protocol allows comes in as ProtocolRules.
"""

from __future__ import annotations

import re
import tomllib
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import replace
from pathlib import Path

from twin import retention
from twin.alarm import AlarmPlan
from twin.alarmrulesheet import read_alarm_rules
from twin.alarmsheet import read_alarms
from twin.chainsheet import read_chain, read_rules
from twin.controlsheet import Ground, read_controls
from twin.errors import BadPlant, NotFound, Notice
from twin.fit import missing_ends, unfit
from twin.graph import ONE_WHOLE, circle_of_parts, second_wholes
from twin.interface import NAME, Interface
from twin.learned import INTERFACE as LEARNED_INTERFACE
from twin.learnedsheet import read_learned
from twin.lookahead import Lookahead
from twin.lookaheadsheet import read_lookahead
from twin.marksheet import read_marks
from twin.models import read_models
from twin.overviewsheet import read_overview
from twin.places import Mistakes, TomlLines
from twin.plant import Device, Feedback, Plant, Relationship, Serving, Twin, nearest
from twin.points import Point, Points
from twin.pointsheet import read_points
from twin.rules import ProtocolRules, ServingRules
from twin.sheet import PLANT_FILE as PLANT_FILE
from twin.sheet import Sheet

PLANT_ID = re.compile(r"^[\w.-]{1,64}$", re.ASCII)
"""It becomes part of the ledger's name."""
LINK_INTERFACE = "dtmi:twinloop:Link;1"
"""Interface of the twin that every device gets: its link's own state as points."""
SERVING_INTERFACE = "dtmi:twinloop:Serving;1"
"""Interface of the twin that every [[serve]] gets: who uses it, as points."""


def load_plant(
    folder: Path,
    protocols: Mapping[str, ProtocolRules],
    endpoints: Mapping[str, str] | None = None,
    faces: Mapping[str, ServingRules] | None = None,
    serve: Mapping[str, str] | None = None,
) -> Plant:
    """The plant in `folder`, with the given devices' endpoints replaced.

    Args:
        faces: the protocols that can serve the twin.
        serve: endpoints by the id of a `[[serve]]`, or by a protocol's name where the plant has no such row: one with
            default settings is added then.

    Raises:
        NotFound: there is no plant.toml.
        BadPlant: it has mistakes; all of them are listed.
    """
    mistakes, notices = Mistakes(), list[Notice]()
    sheet = _parsed(folder, mistakes)
    document = sheet.document
    head = sheet.head()
    if not PLANT_ID.match(str(head.get("id", "x"))):
        sheet.mistake("plant", 0, "id", f"plant id {head['id']!r}", "use letters, digits, dot, - and _")
    interfaces = _read_interfaces(folder, str(head.get("interfaces", "interfaces")), mistakes, notices)
    devices = _devices(sheet, protocols, endpoints or {})
    twins = _twins(sheet, interfaces)
    relationships = _relationships(sheet, twins, interfaces)
    points = read_points(folder, str(head.get("points", "points.csv")), twins, interfaces, devices, protocols, mistakes)
    known = {p.name: p for p in points}
    feedbacks = _feedbacks(sheet, known)
    servings = _servings(sheet, faces or {}, serve or {}, folder, known)
    own = _own_points(devices, servings, len(points))
    ground = Ground({**known, **{p.name: p for p in own}}, twins, interfaces, devices)
    learned = read_learned(sheet, ground, len(points) + len(own))
    own += [p for row in learned for p in row.points()]
    controls = read_controls(sheet, replace(ground, points={**known, **{p.name: p for p in own}}))
    kept = _retention(sheet)
    marks = read_marks(sheet, interfaces)
    overview = read_overview(sheet, known)
    ahead = read_lookahead(sheet, known, controls.limits)
    chain = replace(read_chain(sheet), rules=read_rules(sheet, known))
    alarms = _alarms(sheet, replace(ground, points={**known, **{p.name: p for p in own}}), ahead)
    clock = head.get("clock")
    if clock is not None and clock not in known:
        sheet.mistake("plant", 0, "clock", f"clock {clock!r} is no point", nearest(str(clock), known) or "name a point")
    if mistakes.found:
        raise BadPlant(sorted(mistakes.found, key=lambda m: (m.file, m.line)), notices)
    names = ((LINK_INTERFACE, "Link", devices), (SERVING_INTERFACE, "Serving", servings))
    own_twins = [Twin(i, interface, f"{word} {i}", None) for interface, word, ids in names for i in ids]
    own_twins += [Twin(row.id, LEARNED_INTERFACE, f"Learned {row.id}", None) for row in learned]
    return Plant(
        id=str(head["id"]),
        name=str(head.get("name", head["id"])),
        folder=str(folder),
        interfaces=interfaces,
        devices=tuple(devices.values()),
        twins=(*twins.values(), *own_twins),
        relationships=tuple(relationships),
        points=Points.of((*points, *own)),
        feedbacks=tuple(feedbacks),
        clock=clock,
        model=document.get("model", {}),
        notices=tuple(sorted(notices, key=lambda n: (n.file, n.line))),
        retention=kept,
        servings=tuple(servings.values()),
        controls=controls,
        lookahead=ahead,
        chain=chain,
        learned=learned,
        marks=marks,
        overview=overview,
        alarms=alarms,
    )


def _alarms(sheet: Sheet, ground: Ground, ahead: Lookahead | None) -> AlarmPlan:
    plan = read_alarms(sheet, ground, ahead)
    return replace(plan, rules=read_alarm_rules(sheet, ground, plan.definitions))


def _parsed(folder: Path, mistakes: Mistakes) -> Sheet:
    """plant.toml, its form checked.

    Raises:
        NotFound: there is none. BadPlant: it is not TOML.
    """
    path = folder / PLANT_FILE
    if not path.is_file():
        raise NotFound(f"{folder} holds no {PLANT_FILE}", "name the folder of a plant")
    try:
        text = path.read_text("utf-8")
        document = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        mistakes.add(PLANT_FILE, _toml_error_line(error), f"not TOML: {error}", "mend the syntax at this line")
        raise BadPlant(mistakes.found) from None
    except UnicodeDecodeError as error:
        mistakes.add(PLANT_FILE, 1, f"not UTF-8: {error.reason} at byte {error.start}", "save the file as UTF-8")
        raise BadPlant(mistakes.found) from None
    sheet = Sheet(document, TomlLines(text), mistakes)
    sheet.check_tables()
    return sheet


def _read_interfaces(folder: Path, name: str, mistakes: Mistakes, notices: list[Notice]) -> Mapping[str, Interface]:
    paths = sorted((folder / name).glob("*.json"))
    if not paths:
        mistakes.add(PLANT_FILE, 1, f"folder {name}/ holds no Interface", f"put DTDL files into {name}/*.json")
    texts: dict[str, str] = {}
    for path in paths:
        try:
            texts[f"{name}/{path.name}"] = path.read_text("utf-8-sig")
        except UnicodeDecodeError as error:
            message = f"not UTF-8: {error.reason} at byte {error.start}"
            mistakes.add(f"{name}/{path.name}", 1, message, "save the file as UTF-8")
    models = read_models(texts)
    for found in models.mistakes:
        mistakes.add(found.file, found.line, found.message, found.fix)
    notices += models.notices
    return models.interfaces


def _devices(sheet: Sheet, protocols: Mapping[str, ProtocolRules], endpoints: Mapping[str, str]) -> dict[str, Device]:
    devices: dict[str, Device] = {}
    for index, row in sheet.rows("device"):
        identity, protocol = row["id"], row["protocol"]
        endpoint = endpoints.get(identity, row["endpoint"])
        rules = protocols.get(protocol)
        if identity in devices:
            sheet.mistake("device", index, "id", f"device {identity!r} is declared twice", "rename one of them")
        if not NAME.match(identity):
            sheet.mistake("device", index, "id", f"device id {identity!r}", "use letters, digits and _, letter first")
        if rules is None:
            fix = f"one of {', '.join(protocols)}"
            sheet.mistake("device", index, "protocol", f"unknown protocol {protocol!r}", fix)
            devices.setdefault(identity, Device(identity, protocol, endpoint, {}))
            continue
        try:
            rules.check_endpoint(endpoint)
        except ValueError as error:
            sheet.mistake("device", index, "endpoint", f"endpoint {endpoint!r}", str(error))
        before = len(sheet.mistakes.found)
        settings = sheet.settings(protocol, "device", index, row, rules.settings)
        # A default that stands in for a wrong value says nothing about what goes together.
        for clash in rules.check_settings(endpoint, settings) if len(sheet.mistakes.found) == before else ():
            sheet.mistake("device", index, clash.key, clash.message, clash.fix)
        devices.setdefault(identity, Device(identity, protocol, endpoint, settings))
    for identity in endpoints.keys() - devices.keys():
        sheet.mistakes.add(PLANT_FILE, 1, f"an endpoint is given for unknown device {identity!r}", "name a device")
    return devices


def _servings(
    sheet: Sheet, faces: Mapping[str, ServingRules], serve: Mapping[str, str], folder: Path, known: Mapping[str, Point]
) -> dict[str, Serving]:
    """By id; a row without one is called after its protocol."""
    taken = {row["id"] for table in ("device", "twin") for _, row in sheet.rows(table)}
    rows = sheet.rows("serve")
    given = {row.get("id", row["protocol"]) for _, row in rows}
    rows += [(len(rows), {"protocol": p, "endpoint": e}) for p, e in serve.items() if p not in given and p in faces]
    found: dict[str, Serving] = {}
    for index, row in rows:
        protocol = row["protocol"]
        identity, rules = str(row.get("id", protocol)), faces.get(protocol)
        endpoint = serve.get(identity, row["endpoint"])
        if identity in found or identity in taken:
            other = "[[serve]]" if identity in found else "device or twin"
            sheet.mistake(
                "serve", index, "id", f"a {other} is called {identity!r} already", 'give this one an id = "…"'
            )
        if not NAME.match(identity):
            sheet.mistake("serve", index, "id", f"id {identity!r}", "use letters, digits and _, letter first")
        if rules is None:
            fix = f"one of {', '.join(faces)}"
            sheet.mistake("serve", index, "protocol", f"{protocol!r} cannot serve the twin", fix)
            continue
        try:
            rules.check_endpoint(endpoint)
        except ValueError as error:
            sheet.mistake("serve", index, "endpoint", f"endpoint {endpoint!r}", str(error))
        settings = sheet.settings(protocol, "serve", index, row, rules.settings)
        for clash in rules.check_settings(endpoint, settings):
            sheet.mistake("serve", index, clash.key, clash.message, clash.fix)
        for mistake in rules.check_files(folder, settings, known):
            line = mistake.line or sheet.lines.of("serve", index)
            sheet.mistakes.add(mistake.file or PLANT_FILE, line, mistake.message, mistake.fix)
        found.setdefault(identity, Serving(identity, protocol, endpoint, settings))
    for identity in serve.keys() - found.keys():
        fix = f"name one of {', '.join(dict.fromkeys([*found, *faces]))}"
        sheet.mistakes.add(PLANT_FILE, 1, f"an endpoint is given for unknown [[serve]] {identity!r}", fix)
    return found


def _twins(sheet: Sheet, interfaces: Mapping[str, Interface]) -> dict[str, Twin]:
    twins: dict[str, Twin] = {}
    device_ids = {row["id"] for _, row in sheet.rows("device")}
    for index, row in sheet.rows("twin"):
        identity, interface = row["id"], row["interface"]
        if identity in twins:
            sheet.mistake("twin", index, "id", f"twin {identity!r} is declared twice", "rename one of them")
            continue
        if identity in device_ids:
            sheet.mistake("twin", index, "id", f"twin {identity!r} has the id of a device", "rename one of them")
        if not NAME.match(identity):
            sheet.mistake("twin", index, "id", f"twin id {identity!r}", "use letters, digits and _, letter first")
        if interface not in interfaces:
            fix = nearest(interface, interfaces) or "add that Interface"
            sheet.mistake("twin", index, "interface", f"{identity} is of unknown Interface {interface}", fix)
        at = row.get("at")
        place = None
        if isinstance(at, list):
            if len(at) == 2 and all(isinstance(c, int | float) and not isinstance(c, bool) for c in at):
                place = (float(at[0]), float(at[1]))
            else:
                sheet.mistake("twin", index, "at", f"at = {at!r}", "give two numbers: at = [x, y]")
        twins[identity] = Twin(identity, interface, str(row.get("name", identity)), place)
    return twins


def _relationships(sheet: Sheet, twins: Mapping[str, Twin], interfaces: Mapping[str, Interface]) -> list[Relationship]:
    found: dict[Relationship, int] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for index, row in sheet.rows("relationship"):
        relationship = Relationship(row["source"], row["name"], row["target"])
        for wrong in missing_ends(relationship, twins):
            sheet.mistake("relationship", index, wrong.part, wrong.message, wrong.fix)
        if relationship in found:
            sheet.mistake(
                "relationship", index, "", f"{row['source']} {row['name']} {row['target']} twice", "remove one"
            )
            continue
        found[relationship] = index
        counts[row["source"], row["name"]] += 1
        misfit = unfit(relationship, counts[row["source"], row["name"]], twins, interfaces)
        if misfit is not None:
            sheet.mistake("relationship", index, misfit.part, misfit.message, misfit.fix)
    for another, first in second_wholes(found):
        sheet.mistake(
            "relationship", found[another], "source", f"{another.target} is a part of {first.source} already", ONE_WHOLE
        )
    circle = circle_of_parts(found)
    if circle:
        shown = " → ".join([*(r.source for r in circle), circle[0].source])
        sheet.mistake("relationship", found[circle[0]], "", f"parts form a circle: {shown}", "remove one of these")
    return list(found)


def _feedbacks(sheet: Sheet, known: Mapping[str, Point]) -> list[Feedback]:
    found: dict[str, Feedback] = {}
    for index, row in sheet.rows("feedback"):
        for key in ("point", "feedback"):
            if row[key] not in known:
                sheet.mistake(
                    "feedback", index, key, f"{row[key]!r} is no point", nearest(row[key], known) or "name one"
                )
        target = known.get(row["point"])
        if target is not None and not target.writable:
            sheet.mistake("feedback", index, "point", f"{target.name} is not writable", "give it access rw")
        if row["point"] in found:
            sheet.mistake("feedback", index, "point", f"{row['point']} has two feedbacks", "keep one")
        tolerance, within_s = row.get("tolerance", 0.0), row.get("within_s", 10.0)
        if not isinstance(tolerance, int | float) or not isinstance(within_s, int | float):
            continue  # said by check_tables
        if tolerance < 0 or within_s <= 0:
            sheet.mistake(
                "feedback", index, "", f"tolerance {tolerance}, within_s {within_s}", "tolerance ≥ 0, within_s > 0"
            )
        found[row["point"]] = Feedback(row["point"], row["feedback"], float(tolerance), float(within_s))
    return list(found.values())


def _retention(sheet: Sheet) -> retention.Retention:
    table = sheet.document.get("history")
    if not isinstance(table, dict):
        return retention.KEEP_EVERYTHING
    return retention.parse(table, lambda key, message, fix: sheet.mistake("history", 0, key, message, fix))


LINK_PROPERTIES = (
    ("state", "string", ""),
    ("online", "boolean", ""),
    ("lag", "double", "ms"),
    ("reconnects", "integer", ""),
    ("rejected", "integer", ""),
    ("dropped", "integer", ""),
    ("queued", "integer", ""),
)


SERVING_PROPERTIES = (
    ("state", "string", ""),
    ("clients", "integer", ""),
    ("writes", "integer", ""),
    ("refused", "integer", ""),
    ("dropped", "integer", ""),
)


def _own_points(devices: Iterable[str], servings: Iterable[str], first_id: int) -> list[Point]:
    """The state of every link and of every [[serve]] as points of a twin of the same id."""
    rows = [(d, *p) for d in devices for p in LINK_PROPERTIES]
    rows += [(s, *p) for s in servings for p in SERVING_PROPERTIES]
    return [
        Point(first_id + i, f"{twin}.{name}", twin, name, type_, unit, "", "")
        for i, (twin, name, type_, unit) in enumerate(rows)
    ]


def _toml_error_line(error: tomllib.TOMLDecodeError) -> int:
    """tomllib says `(at line 3, column 5)` in its message only."""
    words = str(error).replace(",", " ").split()
    return int(words[words.index("line") + 1]) if "line" in words else 1
