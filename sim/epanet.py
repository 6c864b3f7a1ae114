"""EPANET as an opaque component: a network stepped from any state at any time of day; must not know twins or points.

Units are those of a metric network file: m, L/s, kW, s. One instance is one EPANET project, used by one thread at a time.
"""

from __future__ import annotations

import ctypes
import os
import weakref
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from sim.epanet_library import error_text, library
from twin.errors import BadRequest, Refused

# Codes of the EPANET 2.2 toolkit (epanet2_enums.h).
NODE_QUANTITIES = {"inflow": 9, "demand": 9, "head": 10, "pressure": 11, "level": 11}
LINK_QUANTITIES = {"flow": 8, "status": 11, "speed": 12, "power": 13}
QUANTITIES: Mapping[str, Mapping[str, int]] = {"node": NODE_QUANTITIES, "link": LINK_QUANTITIES}
_NODE_BASE_DEMAND, _NODE_TANK_LEVEL, _TANK_MIN_LEVEL, _TANK_MAX_LEVEL = 1, 8, 20, 21
_LINK_STATUS, _LINK_SETTING = 11, 12
_TIME_DURATION, _TIME_HYDRAULIC_STEP, _TIME_PATTERN_START, _TIME_REPORT_STEP = 0, 1, 4, 5
_OPTION_DEMAND_MULTIPLIER = 4
_COUNT_NODES, _COUNT_LINKS = 0, 2
_JUNCTION, _TANK, _PUMP = 0, 2, 2
_LITRE_UNITS = 5  # LPS and the other metric flow units are 5 … 9; only LPS keeps flows in L/s
_NEW_FLOWS = 10  # ENinitH: forget the flows of the last run, save nothing: a run depends on nothing before it
_ERROR_MIN = 101  # smaller codes are warnings: the solution stands
RUN_MAX_S = 10 * 366 * 86_400  # longest run of a fleet between two starts; EPANET needs an end
LEVEL_EDGE_M = 1e-6  # keeps a full or an empty tank on the right side of its limit after conversion to feet
SECTIONS: Mapping[str, str] = {
    "JUNCTIONS": "node",
    "RESERVOIRS": "node",
    "TANKS": "node",
    "PIPES": "link",
    "PUMPS": "link",
    "VALVES": "link",
}


@dataclass(frozen=True, slots=True)
class LinkInput:
    """What a link is told: open (running) or not, and for pumps the speed relative to nominal."""

    open: bool
    speed: float = 1.0


@dataclass(frozen=True, slots=True)
class Gauge:
    """One quantity of several elements, read together; `places`: where each of their numbers belongs."""

    element: str
    code: int
    indexes: list[int]
    places: list[int]


class Hydraulics:
    """A network that can be started from any state, commanded, and advanced second by second.

    Args:
        network: EPANET input file in LPS, without controls.
        step_s: longest hydraulic step; pattern changes and tanks that fill or run empty shorten it.
        powered: links whose electrical energy is added up in `energy_kwh`.
    """

    def __init__(self, network: Path, step_s: int, powered: Sequence[str] = ()) -> None:
        if step_s < 1:
            raise BadRequest(f"hydraulic step of {step_s} s", "EPANET steps whole seconds, 1 or more")
        self._library = library()
        self._handle = ctypes.c_void_p()
        self._library.EN_createproject(ctypes.byref(self._handle))
        self._close = weakref.finalize(self, _close, self._library, self._handle)
        # No report and no results file: nothing remains on the disk, however this process ends.
        self._call("EN_open", os.fsencode(network), os.devnull.encode(), b"")
        if self._int("EN_getflowunits") != _LITRE_UNITS:
            raise BadRequest(f"{network} is not in litres per second", "save it with UNITS LPS")
        self._step_s = step_s
        self._index_elements()
        self._powered = self.links(powered)
        self._base_demands_l_s = self.read("node", self.junctions, _NODE_BASE_DEMAND)
        self._set_time(_TIME_DURATION, RUN_MAX_S)
        self._set_time(_TIME_REPORT_STEP, RUN_MAX_S)
        self._call("EN_openH")
        self.clock_start_s = 0
        self.time_s = 0
        self.energy_kwh = 0.0
        self._solved = False

    def _index_elements(self) -> None:
        node_count, link_count = self._int("EN_getcount", _COUNT_NODES), self._int("EN_getcount", _COUNT_LINKS)
        self._node_of = {self._id("EN_getnodeid", i): i for i in range(1, node_count + 1)}
        self._link_of = {self._id("EN_getlinkid", i): i for i in range(1, link_count + 1)}
        kinds = {name: self._int("EN_getnodetype", i) for name, i in self._node_of.items()}
        self.junctions = [self._node_of[n] for n, kind in kinds.items() if kind == _JUNCTION]
        self.tanks = {n: self._node_of[n] for n, kind in kinds.items() if kind == _TANK}
        self.pumps = {n: i for n, i in self._link_of.items() if self._int("EN_getlinktype", i) == _PUMP}
        lows = self.read("node", list(self.tanks.values()), _TANK_MIN_LEVEL)
        highs = self.read("node", list(self.tanks.values()), _TANK_MAX_LEVEL)
        self.level_limits_m = {n: (float(a), float(b)) for n, a, b in zip(self.tanks, lows, highs, strict=True)}
        levels = self.read("node", list(self.tanks.values()), _NODE_TANK_LEVEL)
        self.file_levels_m = dict(zip(self.tanks, map(float, levels), strict=True))

    def close(self) -> None:
        """Free the project; also happens when the instance is forgotten."""
        self._close()

    @property
    def clock_s(self) -> int:
        """The network's own time: seconds since midnight of day 0."""
        return self.clock_start_s + self.time_s

    def nodes(self, names: Iterable[str]) -> list[int]:
        """EPANET's indexes of nodes."""
        return [_index(self._node_of, name, "node") for name in names]

    def links(self, names: Iterable[str]) -> list[int]:
        """EPANET's indexes of links."""
        return [_index(self._link_of, name, "link") for name in names]

    def gauges(self, wanted: Mapping[int, tuple[str, str, str]]) -> list[Gauge]:
        """What reads everything wanted in the fewest calls: place -> (`node` or `link`, id, quantity)."""
        grouped: dict[tuple[str, int], list[int]] = {}
        for place, (element, _, quantity) in wanted.items():
            grouped.setdefault((element, QUANTITIES[element][quantity]), []).append(place)
        index_of = {"node": self.nodes, "link": self.links}
        return [Gauge(e, code, index_of[e](wanted[p][1] for p in at), at) for (e, code), at in grouped.items()]

    def start(self, clock_s: float, levels_m: Mapping[str, float], links: Mapping[str, LinkInput]) -> None:
        """Begin a run at a time of day; tanks and links not named stand as in the file, demand multiplier 1."""
        self._set_time(_TIME_PATTERN_START, int(clock_s))
        for tank, level_m in levels_m.items():
            low_m, high_m = self.level_limits_m[tank]
            held_m = min(max(level_m, low_m + LEVEL_EDGE_M), high_m - LEVEL_EDGE_M)
            self._set("EN_setnodevalue", self.tanks[tank], _NODE_TANK_LEVEL, held_m)
        self._call("EN_initH", _NEW_FLOWS)
        self.clock_start_s, self.time_s, self.energy_kwh = int(clock_s), 0, 0.0
        for name, wanted in links.items():
            self.set_link(name, wanted)
        self.set_demand_multiplier(1.0)

    def set_link(self, name: str, wanted: LinkInput) -> None:
        """Open or close a link now; a pump also takes a speed (0 stops it)."""
        [index] = self.links([name])
        if name in self.pumps:
            self._set("EN_setlinkvalue", index, _LINK_SETTING, wanted.speed if wanted.open else 0.0)
        else:
            self._set("EN_setlinkvalue", index, _LINK_STATUS, float(wanted.open))
        self._solved = False

    def set_demand_multiplier(self, multiplier: float) -> None:
        """Multiply every customer's nominal demand from now on."""
        self._call("EN_setoption", _OPTION_DEMAND_MULTIPLIER, ctypes.c_double(multiplier))
        self._solved = False

    def set_demand_factors(self, factors: NDArray[np.float64]) -> None:
        """Multiply each junction's nominal demand, shape (len(junctions),); holds for this instance from now on."""
        for index, demand_l_s in zip(self.junctions, self._base_demands_l_s * factors, strict=True):
            self._set("EN_setnodevalue", index, _NODE_BASE_DEMAND, float(demand_l_s))
        self._solved = False

    def solve(self) -> None:
        """Bring flows and pressures in line with levels, commands and demands.

        Raises:
            Refused: EPANET finds no solution.
        """
        if not self._solved:
            self._call("EN_runH", ctypes.byref(ctypes.c_long()))
            self._solved = True

    def advance(self, to_s: float) -> None:
        """Let time pass until `to_s` seconds (whole ones) after the start, filling and emptying tanks."""
        elapsed_s = ctypes.c_long()
        while self.time_s < int(to_s):
            self.solve()
            self._set_time(_TIME_HYDRAULIC_STEP, min(self._step_s, int(to_s) - self.time_s))
            power_kw = float(self.read("link", self._powered, LINK_QUANTITIES["power"]).sum()) if self._powered else 0.0
            self._call("EN_nextH", ctypes.byref(elapsed_s))
            if elapsed_s.value <= 0:
                raise Refused(f"EPANET's run ended at {self.time_s} s", f"start again within {RUN_MAX_S} s")
            self.energy_kwh += power_kw * elapsed_s.value / 3600
            self.time_s += elapsed_s.value
            self._solved = False

    def demand_l_s(self) -> float:
        """What all customers draw now."""
        self.solve()
        return float(self.read("node", self.junctions, NODE_QUANTITIES["demand"]).sum())

    def read(self, element: str, indexes: Sequence[int], code: int) -> NDArray[np.float64]:
        """One quantity of many elements, shape (len(indexes),). Levels hold at any time, the rest after `solve`."""
        function = self._library.EN_getnodevalue if element == "node" else self._library.EN_getlinkvalue
        value = ctypes.c_double()
        place, handle = ctypes.byref(value), self._handle
        out = np.empty(len(indexes))
        for row, index in enumerate(indexes):
            self._check(function(handle, index, code, place))
            out[row] = value.value
        return out

    def _set(self, function: str, index: int, code: int, value: float) -> None:
        self._call(function, index, code, ctypes.c_double(value))

    def _set_time(self, code: int, seconds: int) -> None:
        self._call("EN_settimeparam", code, ctypes.c_long(seconds))

    def _int(self, function: str, *arguments: int) -> int:
        value = ctypes.c_int()
        self._call(function, *arguments, ctypes.byref(value))
        return value.value

    def _id(self, function: str, index: int) -> str:
        text = ctypes.create_string_buffer(64)  # EN_MAXID is 31 characters
        self._call(function, index, text)
        return text.value.decode("latin-1")

    def _call(self, function: str, *arguments: Any) -> None:
        self._check(getattr(self._library, function)(self._handle, *arguments))

    def _check(self, code: int) -> None:
        if code >= _ERROR_MIN:
            raise Refused(f"EPANET error {code}: {error_text(code)}", "check levels, commands and the network file")


def _index(known: Mapping[str, int], name: str, kind: str) -> int:
    if name not in known:
        raise BadRequest(f"the network has no {kind} {name!r}", "take an id of the network file")
    return known[name]


def _close(library: ctypes.CDLL, project: ctypes.c_void_p) -> None:
    for function in ("EN_closeH", "EN_close", "EN_deleteproject"):
        getattr(library, function)(project)


def network_ids(path: Path, mistakes: list[str], place: str = "model.network") -> dict[str, set[str]]:
    """Ids of nodes and links in an EPANET input file; empty when it cannot be read. Opens no EPANET."""
    if not path.is_file():
        mistakes.append(f"{place}: there is no file {path}; name an EPANET .inp in the plant's folder")
        return {}
    ids: dict[str, set[str]] = {"node": set(), "link": set()}
    section, unit, ruled = "", "GPM", False  # EPANET's own default is GPM
    for line in path.read_text(encoding="latin-1").splitlines():
        words = line.split(";")[0].upper().split()
        if words and words[0].startswith("["):
            section = words[0].strip("[]")
        elif words and section in SECTIONS:
            ids[SECTIONS[section]].add(line.split()[0])
        elif words and section == "OPTIONS" and words[0] == "UNITS":
            unit = words[-1]
        elif words and section in ("CONTROLS", "RULES"):
            ruled = True
    if unit != "LPS":
        mistakes.append(f"{place}: {path.name} is in {unit}; save it with UNITS LPS")
    if ruled:
        mistakes.append(f"{place}: {path.name} has controls that would undo commands; remove them")
    return ids
