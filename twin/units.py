"""Units a plant may use: symbol -> dimension and factor to SI; must not know points or plants.

DTDL unit names are those of the quantitative types extension (dtmi:dtdl:extension:quantitativeTypes;1).
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Unit:
    """SI value = value * factor + offset. `dtdl` is the extension's name for it, "" where it has none."""

    symbol: str
    dimension: str
    factor: float
    offset: float = 0.0
    dtdl: str = ""


_ROWS = (
    Unit("", "none", 1.0, dtdl="unity"),
    Unit("%", "none", 0.01, dtdl="percent"),
    Unit("m", "length", 1.0, dtdl="metre"),
    Unit("cm", "length", 0.01, dtdl="centimetre"),
    Unit("mm", "length", 0.001, dtdl="millimetre"),
    Unit("km", "length", 1000.0, dtdl="kilometre"),
    Unit("ft", "length", 0.3048, dtdl="foot"),
    Unit("in", "length", 0.0254, dtdl="inch"),
    Unit("m3/s", "volume flow", 1.0),
    Unit("m3/h", "volume flow", 1 / 3600, dtdl="cubicMetrePerHour"),
    Unit("L/s", "volume flow", 0.001, dtdl="litrePerSecond"),
    Unit("L/min", "volume flow", 0.001 / 60),
    Unit("mL/s", "volume flow", 1e-6, dtdl="millilitrePerSecond"),
    Unit("gpm", "volume flow", 6.30901964e-5),
    Unit("m3", "volume", 1.0, dtdl="cubicMetre"),
    Unit("L", "volume", 0.001, dtdl="litre"),
    Unit("Pa", "pressure", 1.0, dtdl="pascal"),
    Unit("kPa", "pressure", 1000.0, dtdl="kilopascal"),
    Unit("bar", "pressure", 100_000.0, dtdl="bar"),
    Unit("mbar", "pressure", 100.0, dtdl="millibar"),
    Unit("psi", "pressure", 6894.757293168, dtdl="poundPerSquareInch"),
    Unit("mH2O", "pressure", 9806.65),
    Unit("ms", "time", 0.001, dtdl="millisecond"),
    Unit("s", "time", 1.0, dtdl="second"),
    Unit("min", "time", 60.0, dtdl="minute"),
    Unit("h", "time", 3600.0, dtdl="hour"),
    Unit("d", "time", 86_400.0, dtdl="day"),
    Unit("Hz", "frequency", 1.0, dtdl="hertz"),
    Unit("rpm", "angular velocity", 0.10471975511965977, dtdl="revolutionPerMinute"),
    Unit("rad/s", "angular velocity", 1.0, dtdl="radianPerSecond"),
    Unit("K", "temperature", 1.0, dtdl="kelvin"),
    Unit("degC", "temperature", 1.0, 273.15, dtdl="degreeCelsius"),
    Unit("degF", "temperature", 5 / 9, 255.3722222222222, dtdl="degreeFahrenheit"),
    Unit("W", "power", 1.0, dtdl="watt"),
    Unit("kW", "power", 1000.0, dtdl="kilowatt"),
    Unit("kWh", "energy", 3_600_000.0, dtdl="kilowattHour"),
    Unit("J", "energy", 1.0, dtdl="joule"),
    Unit("V", "voltage", 1.0, dtdl="volt"),
    Unit("A", "current", 1.0, dtdl="ampere"),
    Unit("kg", "mass", 1.0, dtdl="kilogram"),
    Unit("kg/s", "mass flow", 1.0, dtdl="kilogramPerSecond"),
    Unit("m/s", "velocity", 1.0, dtdl="metrePerSecond"),
    Unit("deg", "angle", 0.017453292519943295, dtdl="degreeOfArc"),
    Unit("rad", "angle", 1.0, dtdl="radian"),
)

UNITS = {u.symbol: u for u in _ROWS}
UNIT_OF_DTDL = {u.dtdl: u for u in _ROWS if u.dtdl}


def conversion(source: Unit, target: Unit) -> tuple[float, float]:
    """(scale, offset) such that target value = source value * scale + offset.

    Raises:
        ValueError: the two are not of one dimension.
    """
    if source.dimension != target.dimension:
        raise ValueError(
            f"{source.symbol!r} measures {source.dimension}, {target.symbol!r} measures {target.dimension}"
        )
    return source.factor / target.factor, (source.offset - target.offset) / target.factor
