"""SunSpec: where its models lie in a device and what the points of some of them mean; pure, knows no connection.

Source: SunSpec Device Information Model Specification V1.1 and SunSpec Information Model Reference (models 1, 101 to
103, 111 to 113, 201 to 204, 211 to 214).
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from protocols.discovery import FoundThing, FoundValue, Path, Skipped, distinct
from protocols.modbus.address import KINDS
from twin.schema import Enum, EnumValue, Primitive, Schema

MARK = (0x5375, 0x6E53)  # "SunS"
BASES = (40000, 50000, 0)
END = 0xFFFF  # the id behind the last model
HEAD = 2  # registers of a model's id and length
MODELS_MAX = 200  # of one device; the longest published chains have some dozens


@dataclass(frozen=True, slots=True)
class Model:
    """A model as it lies in the device: `start` is the register of its id, `length` what follows its head."""

    id: int
    start: int
    length: int


@dataclass(frozen=True, slots=True)
class Entry:
    """One point of a model: place from the model's id, type, unit, the place of its scale factor or -1, its name."""

    offset: int
    name: str
    type: str
    unit: str
    factor: int
    label: str


STATES = Enum(
    "integer",
    tuple(
        EnumValue(name, number)
        for number, name in enumerate(
            ("off", "sleeping", "starting", "mppt", "throttled", "shutting_down", "fault", "standby"), 1
        )
    ),
)
_SCHEMA_OF: Mapping[str, Schema] = {"enum": STATES, "string": Primitive("string"), "bits": Primitive("long")}


def _table(text: str) -> tuple[Entry, ...]:
    """Lines of `offset name type unit factor label`; a unit `-` is none, a factor `-` is none."""
    found = []
    for line in text.strip().splitlines():
        offset, name, kind, unit, factor, label = line.split(None, 5)
        found.append(
            Entry(int(offset), name, kind, "" if unit == "-" else unit, -1 if factor == "-" else int(factor), label)
        )
    return tuple(found)


_COMMON = _table("""
2 Mn string16 - - Manufacturer
18 Md string16 - - Model
34 Opt string8 - - Options
42 Vr string8 - - Version
50 SN string16 - - Serial number
66 DA uint16 - - Device address
""")

_INVERTER = _table("""
2 A uint16 A 6 AC current
3 AphA uint16 A 6 Current of phase A
4 AphB uint16 A 6 Current of phase B
5 AphC uint16 A 6 Current of phase C
7 PPVphAB uint16 V 13 Voltage between phases A and B
8 PPVphBC uint16 V 13 Voltage between phases B and C
9 PPVphCA uint16 V 13 Voltage between phases C and A
10 PhVphA uint16 V 13 Voltage of phase A
11 PhVphB uint16 V 13 Voltage of phase B
12 PhVphC uint16 V 13 Voltage of phase C
14 W int16 W 15 AC power
16 Hz uint16 Hz 17 Line frequency
18 VA int16 VA 19 Apparent power
20 VAr int16 var 21 Reactive power
22 PF int16 % 23 Power factor
24 WH acc32 Wh 26 AC energy
27 DCA uint16 A 28 DC current
29 DCV uint16 V 30 DC voltage
31 DCW int16 W 32 DC power
33 TmpCab int16 degC 37 Temperature of the cabinet
34 TmpSnk int16 degC 37 Temperature of the heat sink
35 TmpTrns int16 degC 37 Temperature of the transformer
36 TmpOt int16 degC 37 Other temperature
38 St enum16 - - Operating state
39 StVnd uint16 - - Operating state of the maker
40 Evt1 bits32 - - Events
42 Evt2 bits32 - - Events, reserved
44 EvtVnd1 bits32 - - Events of the maker 1
46 EvtVnd2 bits32 - - Events of the maker 2
48 EvtVnd3 bits32 - - Events of the maker 3
50 EvtVnd4 bits32 - - Events of the maker 4
""")

_INVERTER_FLOAT = _table("""
2 A float32 A - AC current
4 AphA float32 A - Current of phase A
6 AphB float32 A - Current of phase B
8 AphC float32 A - Current of phase C
10 PPVphAB float32 V - Voltage between phases A and B
12 PPVphBC float32 V - Voltage between phases B and C
14 PPVphCA float32 V - Voltage between phases C and A
16 PhVphA float32 V - Voltage of phase A
18 PhVphB float32 V - Voltage of phase B
20 PhVphC float32 V - Voltage of phase C
22 W float32 W - AC power
24 Hz float32 Hz - Line frequency
26 VA float32 VA - Apparent power
28 VAr float32 var - Reactive power
30 PF float32 % - Power factor
32 WH float32 Wh - AC energy
34 DCA float32 A - DC current
36 DCV float32 V - DC voltage
38 DCW float32 W - DC power
40 TmpCab float32 degC - Temperature of the cabinet
42 TmpSnk float32 degC - Temperature of the heat sink
44 TmpTrns float32 degC - Temperature of the transformer
46 TmpOt float32 degC - Other temperature
48 St enum16 - - Operating state
49 StVnd uint16 - - Operating state of the maker
50 Evt1 bits32 - - Events
52 Evt2 bits32 - - Events, reserved
54 EvtVnd1 bits32 - - Events of the maker 1
56 EvtVnd2 bits32 - - Events of the maker 2
58 EvtVnd3 bits32 - - Events of the maker 3
60 EvtVnd4 bits32 - - Events of the maker 4
""")

# Quantities of the meter models with their phases, in the order of the registers: (name, unit, label, phases).
_PHASES = ("", "phA", "phB", "phC")
_PHASE_WORDS = ("", " of phase A", " of phase B", " of phase C")


def _group(first: int, step: int, name: str, kind: str, unit: str, factor: int, label: str) -> list[Entry]:
    """The total and the three phases of one quantity."""
    return [
        Entry(first + step * i, f"{name}{phase}", kind, unit, factor, f"{label}{words}")
        for i, (phase, words) in enumerate(zip(_PHASES, _PHASE_WORDS, strict=True))
    ]


def _voltages(first: int, step: int, kind: str, factor: int) -> list[Entry]:
    names = (
        ("PhV", "Voltage to neutral"), ("PhVphA", "Voltage of phase A"), ("PhVphB", "Voltage of phase B"),
        ("PhVphC", "Voltage of phase C"), ("PPV", "Voltage between phases"),
        ("PPVphAB", "Voltage between phases A and B"), ("PPVphBC", "Voltage between phases B and C"),
        ("PPVphCA", "Voltage between phases C and A"),
    )  # fmt: skip
    return [Entry(first + step * i, name, kind, "V", factor, label) for i, (name, label) in enumerate(names)]


_ENERGIES = (
    ("TotWhExp", "Wh", "Energy exported"), ("TotWhImp", "Wh", "Energy imported"),
    ("TotVAhExp", "VAh", "Apparent energy exported"), ("TotVAhImp", "VAh", "Apparent energy imported"),
    ("TotVArhImpQ1", "varh", "Reactive energy imported, quadrant 1"),
    ("TotVArhImpQ2", "varh", "Reactive energy imported, quadrant 2"),
    ("TotVArhExpQ3", "varh", "Reactive energy exported, quadrant 3"),
    ("TotVArhExpQ4", "varh", "Reactive energy exported, quadrant 4"),
)  # fmt: skip


def _energies(kind: str, places: Sequence[tuple[int, int]]) -> list[Entry]:
    """Each energy as total and phases of two registers; `places` are (first register, scale factor)."""
    found: list[Entry] = []
    for (name, unit, label), (first, factor) in zip(_ENERGIES, places, strict=True):
        for i, words in enumerate(_PHASE_WORDS):
            phase = ("", "PhA", "PhB", "PhC")[i]
            found.append(Entry(first + 2 * i, f"{name}{phase}", kind, unit, factor, f"{label}{words}"))
    return found


_METER = (
    *_group(2, 1, "A", "int16", "A", 6, "Current"),
    *_voltages(7, 1, "int16", 15),
    Entry(16, "Hz", "int16", "Hz", 17, "Line frequency"),
    *_group(18, 1, "W", "int16", "W", 22, "Power"),
    *_group(23, 1, "VA", "int16", "VA", 27, "Apparent power"),
    *_group(28, 1, "VAR", "int16", "var", 32, "Reactive power"),
    *_group(33, 1, "PF", "int16", "%", 37, "Power factor"),
    *_energies("acc32", ((38, 54), (46, 54), (55, 71), (63, 71), (72, 104), (80, 104), (88, 104), (96, 104))),
    Entry(105, "Evt", "bits32", "", -1, "Events"),
)
_METER_FLOAT = (
    *_group(2, 2, "A", "float32", "A", -1, "Current"),
    *_voltages(10, 2, "float32", -1),
    Entry(26, "Hz", "float32", "Hz", -1, "Line frequency"),
    *_group(28, 2, "W", "float32", "W", -1, "Power"),
    *_group(36, 2, "VA", "float32", "VA", -1, "Apparent power"),
    *_group(44, 2, "VAR", "float32", "var", -1, "Reactive power"),
    *_group(52, 2, "PF", "float32", "", -1, "Power factor"),
    *_energies("float32", tuple((60 + 8 * i, -1) for i in range(8))),
    Entry(124, "Evt", "bits32", "", -1, "Events"),
)

_INVERTERS = {101: "single phase", 102: "split phase", 103: "three phase"}
_METERS = {1: "single phase", 2: "split phase", 3: "three phase, wye", 4: "three phase, delta"}
MODELS: Mapping[int, tuple[str, tuple[Entry, ...]]] = {
    1: ("Common", _COMMON),
    **{number: (f"Inverter, {words}", _INVERTER) for number, words in _INVERTERS.items()},
    **{number + 10: (f"Inverter, {words}, float", _INVERTER_FLOAT) for number, words in _INVERTERS.items()},
    **{200 + number: (f"Meter, {words}", _METER) for number, words in _METERS.items()},
    **{210 + number: (f"Meter, {words}, float", _METER_FLOAT) for number, words in _METERS.items()},
}


# --- what a device has -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Described:
    """A model of a device in words of discovery."""

    thing: FoundThing
    values: tuple[FoundValue, ...]
    skipped: tuple[Skipped, ...]


def described(prefix: str, model: Model, registers: Sequence[int], taken: set[Path]) -> Described:
    """A model with its points; those that the device says it does not have are skipped.

    Args:
        prefix: stands before its name, because a plant may have several such devices.
        registers: of the whole model, its head included; what the device holds now.
        taken: paths of the models before it; its own is added.
    """
    title, entries = MODELS.get(model.id, (f"Model {model.id}", ()))
    path = distinct((f"{prefix} {title.partition(',')[0].lower()}",), str(model.start), taken)
    if not entries:
        return Described(FoundThing(path, display=f"SunSpec model {model.id}"), _raw(path, model), ())
    values, skipped = [], []
    for entry in entries:
        size = _size(entry.type)
        cells = registers[entry.offset : entry.offset + size]
        if len(cells) < size:
            continue  # an older and shorter edition of the model
        address = _address(model, entry)
        if _is_absent(entry.type, cells):
            skipped.append(Skipped((*path, entry.name), address, "SunSpec: not implemented by the device"))
        else:
            values.append(_value(path, entry, address))
    kind = f"SunSpec {model.id}"
    words = _words(model, registers)
    return Described(FoundThing(path, kind, kind, title, words), tuple(values), tuple(skipped))


def _value(path: Path, entry: Entry, address: str) -> FoundValue:
    schema = _SCHEMA_OF.get(entry.type.rstrip("0123456789"))
    if schema is None:
        is_count = entry.factor < 0 and not entry.type.startswith("float")
        schema = Primitive("long") if is_count else Primitive("double")
    return FoundValue(path, (entry.name,), address, schema, entry.unit, display=entry.label)


def _address(model: Model, entry: Entry) -> str:
    kind = {"enum16": "uint16", "bits32": "uint32"}.get(entry.type, entry.type)
    factor = f":sf={model.start + entry.factor}" if entry.factor >= 0 else ""
    flag = "" if kind.startswith("string") else ":sunspec"
    return f"holding:{model.start + entry.offset}:{kind}{factor}{flag}"


def _size(kind: str) -> int:
    """Registers of a type: a text's number counts them, all others count bits."""
    number = int(kind.lstrip("abcdefghijklmnopqrstuvwxyz"))
    return number if kind.startswith("string") else number // 16


def _is_absent(kind: str, cells: Sequence[int]) -> bool:
    """The values that mean "not implemented" (V1.1, table 3)."""
    if kind.startswith("string"):
        return not any(cells)
    if kind == "float32":
        (value,) = struct.unpack(">f", struct.pack(">2H", *cells))
        return bool(value != value)
    number = 0
    for cell in cells:
        number = number << 16 | cell
    known = KINDS.get({"enum16": "uint16", "bits32": "uint32"}.get(kind, kind))
    return known is not None and known.absent == number


def _words(model: Model, registers: Sequence[int]) -> str:
    """Maker, model and serial number of the common model, for people."""
    if model.id != 1:
        return ""
    parts = (_text(registers[2:18]), _text(registers[18:34]), _text(registers[50:66]))
    return ", ".join(filter(None, parts))


def _text(cells: Sequence[int]) -> str:
    raw = b"".join(cell.to_bytes(2, "big") for cell in cells)
    return raw.split(b"\0")[0].decode("latin-1").strip()


def _raw(path: Path, model: Model) -> tuple[FoundValue, ...]:
    """A model that nobody describes here: its registers as they are."""
    note = f"SunSpec model {model.id}: set type, unit and scale by hand"
    return tuple(
        FoundValue(path, (f"register {cell}",), f"holding:{cell}", Primitive("integer"), note=note)
        for cell in range(model.start + HEAD, model.start + HEAD + model.length)
    )
