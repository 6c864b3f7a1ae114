"""Codes of units as OPC UA clients know them (UNECE Recommendation 20, Part 8, 5.6.3); pure data."""

from __future__ import annotations

UNECE_URI = "http://www.opcfoundation.org/UA/units/un/cefact"
NO_CODE = -1  # Part 8: the unit is not in the recommendation

# Symbols of twin/units.py whose common code is beyond doubt; others go out with their symbol and no code.
_CODES = {
    "%": "P1", "ppm": "59", "ppb": "61",
    "m": "MTR", "cm": "CMT", "mm": "MMT", "um": "4H", "nm": "C45", "km": "KMT", "ft": "FOT", "in": "INH",
    "m2": "MTK", "cm2": "CMK", "mm2": "MMK", "km2": "KMK", "ft2": "FTK", "in2": "INK", "ha": "HAR",
    "m3": "MTQ", "L": "LTR", "mL": "MLT", "cm3": "CMQ", "ft3": "FTQ", "in3": "INQ",
    "m3/s": "MQS", "m3/h": "MQH", "L/s": "G51", "L/min": "L2",
    "Pa": "PAL", "hPa": "A97", "kPa": "KPA", "bar": "BAR", "mbar": "MBR", "psi": "PS",
    "ns": "C47", "us": "B98", "ms": "C26", "s": "SEC", "min": "MIN", "h": "HUR", "d": "DAY", "a": "ANN",
    "Hz": "HTZ", "kHz": "KHZ", "MHz": "MHZ", "GHz": "A86",
    "rad": "C81", "deg": "DD", "rad/s": "2A", "rpm": "RPM", "rps": "RPS",
    "m/s": "MTS", "km/h": "KMH", "kn": "KNT", "m/s2": "MSK",
    "K": "KEL", "degC": "CEL", "degF": "FAH",
    "W": "WTT", "mW": "C31", "kW": "KWT", "MW": "MAW", "GW": "A90",
    "J": "JOU", "kJ": "KJO", "MJ": "3B", "GJ": "GV", "Wh": "WHR", "kWh": "KWH", "MWh": "MWH", "GWh": "GWH",
    "VA": "D46", "kVA": "KVA", "MVA": "MVA", "var": "D44", "kvar": "KVR",
    "V": "VLT", "mV": "2Z", "kV": "KVT", "A": "AMP", "mA": "4K", "kA": "B22", "C": "COU", "Ah": "AMH",
    "Ohm": "OHM", "kOhm": "B49", "F": "FAR", "H": "81", "Wb": "WEB", "T": "D33",
    "kg": "KGM", "g": "GRM", "mg": "MGM", "t": "TNE", "lb": "LBR",
    "kg/s": "KGS", "kg/h": "E93", "kg/m3": "KMQ", "g/m3": "A93", "mg/m3": "GP",
    "N": "NEW", "Nm": "NU", "lx": "LUX", "lm": "LUM", "cd": "CDL", "dB": "2N",
}  # fmt: skip


def unit_id(symbol: str) -> int:
    """The number of a unit: the characters of its common code, most significant first; NO_CODE for unknown ones."""
    code = _CODES.get(symbol)
    return NO_CODE if code is None else int.from_bytes(code.encode("ascii"), "big")
