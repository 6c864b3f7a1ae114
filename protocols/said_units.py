"""What devices call their units -> a symbol of ours and a factor; pure, must not know any protocol.

Sources: UN/ECE Recommendation 20 (common codes); OPC UA Part 8, 5.6.3.3 (how a code becomes a UnitId).
"""

from __future__ import annotations

from twin.units import UNIT_OF_DTDL, UNITS

CODE_CHARACTERS_MAX = 3  # of a common code

# Common code, our symbol, and the factor where the code's unit has no symbol of ours (MPa is 1000 kPa).
_CODES = """
C81 rad; DD deg; D61 arcmin; D62 arcsec; M44 turn; C25 rad 0.001
MTR m; CMT cm; MMT mm; 4H um; C45 nm; KMT km; KTM km; DMT cm 10; FOT ft; INH in; SMI mi; NMI nmi; A12 au; YRD ft 3
MTK m2; CMK cm2; DMK cm2 100; MMK mm2; KMK km2; FTK ft2; INK in2; ACR acre; HAR ha
MTQ m3; LTR L; DMQ L; MLT mL; CMQ cm3; HLT L 100; K6 m3; FTQ ft3; INQ in3; GLL gal; OZA floz
MQS m3/s; G53 m3/min; MQH m3/h; G51 L/s; J93 L/s; L2 L/min; J92 L/min; E92 L/h; E32 L/h; 40 mL/s; 2J mL/s; 41 mL/min
G49 mL/min; G55 mL/h; G48 mL/h; 2L ft3/min; G2 gpm; G50 gal/h; 4X m3/h
PAL Pa; H75 daPa; A97 hPa; KPA kPa; MPA kPa 1000; A89 kPa 1e6; BAR bar; MBR mbar; PS psi; HN mmHg; F79 inHg; F78 inH2O
N23 kPa 9.80665; H78 Pa 98.0665; HP Pa 9.80665; ATM kPa 101.325; C55 Pa; 74 Pa 0.001; UA Pa 133.322368421
C47 ns; B98 us; C26 ms; SEC s; MIN min; HUR h; DAY d; ANN a; WEE d 7; B52 s 1000
HTZ Hz; KHZ kHz; MHZ MHz; A86 GHz; D29 GHz 1000; C97 Hz
2A rad/s; E96 deg/s; RPM rpm; M46 rpm; RPS rps; 2B rad/s2
MTS m/s; 2M cm/s; C16 cm/s 0.1; M60 m/h; KMH km/h; M62 km/s; HM mph; M58 mi/s; KNT kn; 2X m/h 60
MSK m/s2; M39 cm/s2; K40 gn
KEL K; CEL degC; FAH degF
WTT W; D80 uW; C31 mW; KWT kW; MAW MW; A90 GW; D31 GW 1000; P14 J/s; P18 kJ/s; P16 J/h; P20 kJ/h; 2I BTU/h; BHP hp
JOU J; KJO kJ; 3B MJ; GV GJ; D30 GJ 1000; WHR Wh; KWH kWh; MWH MWh; GWH GWh; D32 TWh; A53 eV; B71 MeV; BTU BTU
M35 mVA; D46 VA; KVA kVA; MVA MVA; D44 var; KVR kvar; K5 kvar; MAR Mvar
VLT V; D82 uV; 2Z mV; KVT kV; B78 MV; AMP A; B84 uA; 4K mA; B22 kA; COU C; AMH Ah; E09 mAh
OHM Ohm; E45 mOhm; B49 kOhm; B75 MOhm; FAR F; C10 mF; 4O uF; C41 nF; 4T pF; 81 H; C14 mH; B90 uH
WEB Wb; D33 T; C29 T 0.001
KGM kg; GRM g; MGM mg; MC ug; TNE t; LBR lb; F13 slug; KGS kg/s; E93 kg/h; F29 g/s; F27 g/h; 4U lb/h; E18 kg/h 1000
F31 kg/h 60; KMQ kg/m3; A93 g/m3; GL kg/m3; GP mg/m3; GQ ug/m3; M1 g/m3; 23 kg/m3 1000
NEW N; B47 N 1000; C78 lbf; L40 ozf; NU Nm; B48 Nm 1000; D83 Nm 0.001
LUX lx; P27 fc; D54 W/m2; A24 cd/m2; LUM lm; CDL cd; A95 Gy; C13 mGy; D13 Sv; C28 mSv; BQL Bq; 2Q kBq; 4N MBq; GBQ GBq
M72 bel; 2N dB; AD B; A99 bit; P1 %; 59 ppm; 61 ppb; C62 %s
"""
_UNITLESS = "%s"  # in the table above: a count or a share, which has no symbol


def _read(table: str) -> dict[str, tuple[str, float]]:
    found: dict[str, tuple[str, float]] = {}
    for entry in table.replace("\n", ";").split(";"):
        code, *rest = entry.split() or [""]
        if code:
            symbol = "" if rest[0] == _UNITLESS else rest[0]
            found[code] = (symbol, float(rest[1]) if len(rest) > 1 else 1.0)
    return found


SYMBOL_OF_CODE = _read(_CODES)

# Written differently by makers; keys as `_spelt` leaves them.
_SPELLINGS = {
    "celsius": "degC", "degc": "degC", "°c": "degC", "℃": "degC", "degreesc": "degC", "degreescelsius": "degC",
    "fahrenheit": "degF", "degf": "degF", "°f": "degF", "℉": "degF", "kelvin": "K",
    "°": "deg", "degree": "deg", "degrees": "deg", "pct": "%", "percent": "%", "%rh": "%",
    "l": "L", "l/s": "L/s", "l/min": "L/min", "lpm": "L/min", "l/h": "L/h", "ml": "mL", "ml/s": "mL/s",
    "ml/min": "mL/min", "ml/h": "mL/h", "m3h": "m3/h", "cmh": "m3/h", "cms": "m3/s", "gal/min": "gpm",
    "cfm": "ft3/min", "rev/min": "rpm", "r/min": "rpm", "u/min": "rpm", "1/min": "rpm", "r/s": "rps",
    "sec": "s", "secs": "s", "second": "s", "seconds": "s", "mins": "min", "minutes": "min", "hours": "h", "hr": "h",
    "hrs": "h", "days": "d", "day": "d", "kmh": "km/h", "kph": "km/h", "mps": "m/s", "knots": "kn",
    "n·m": "Nm", "n.m": "Nm", "n*m": "Nm", "volts": "V", "amps": "A", "amperes": "A", "watts": "W", "hertz": "Hz",
    "lux": "lx", "vars": "var", "ω": "Ohm", "ohms": "Ohm", "kω": "kOhm",
}  # fmt: skip
# Symbols that are none of ours, or that DTDL has no name for.
_MULTIPLES = {
    "MPa": ("kPa", 1000.0), "mH2O": ("kPa", 9.80665), "kN": ("N", 1000.0), "kNm": ("Nm", 1000.0), "t/h": ("kg/h", 1000.0),
    "mm/s": ("cm/s", 0.1), "m/min": ("m/h", 60.0), "kg/min": ("kg/h", 60.0), "mg/L": ("g/m3", 1.0), "mg/l": ("g/m3", 1.0),
    "g/l": ("kg/m3", 1.0), "g/L": ("kg/m3", 1.0), "mT": ("T", 0.001), "hL": ("L", 100.0), "hl": ("L", 100.0),
}  # fmt: skip
_SAME_LETTERS = str.maketrans({"³": "3", "²": "2", "^": "", "µ": "u", "μ": "u", " ": "", "Ω": "Ohm"})
# Makers write C and F for temperatures; here they are the coulomb and the farad. Nobody can tell.
AMBIGUOUS = frozenset({"C", "F"})


def unit_of_code(unit_id: int) -> tuple[str, float] | None:
    """(symbol, factor) of an OPC UA UnitId, which is a common code's letters as one number."""
    if not 0 < unit_id < 1 << (8 * CODE_CHARACTERS_MAX):
        return None
    letters = unit_id.to_bytes(CODE_CHARACTERS_MAX, "big").lstrip(b"\0")
    return SYMBOL_OF_CODE.get(letters.decode("latin-1"))


def unit_of_text(said: str) -> tuple[str, float] | None:
    """(symbol, factor) that a maker's text means; None when it is none of ours, or could be two."""
    text = said.strip()
    spelt = text.translate(_SAME_LETTERS)
    for form in (text, spelt, spelt.replace("·", "")):
        if form in AMBIGUOUS:
            return None
        if form in _MULTIPLES:
            return _MULTIPLES[form]
        if form in UNITS:
            return form, 1.0
        if form in UNIT_OF_DTDL:
            return UNIT_OF_DTDL[form].symbol, 1.0
    known = _SPELLINGS.get(text.replace(" ", "").lower()) or _SPELLINGS.get(spelt.lower())
    return None if known is None else (known, 1.0)
