"""Units a plant may use: symbol -> dimension and factor to SI; must not know points or plants.

DTDL unit names are those of DTDL v2 and of the quantitative types extension (dtmi:dtdl:extension:quantitativeTypes;1).
Factors: BIPM, The International System of Units, 9th edition; NIST SP 811 (2008), appendix B, for all others.
"""

from __future__ import annotations

from dataclasses import dataclass
from math import pi


@dataclass(frozen=True, slots=True)
class Unit:
    """SI value = value * factor + offset. `dtdl` is the extension's name for it, "" where it has none."""

    symbol: str
    dimension: str
    factor: float
    offset: float = 0.0
    dtdl: str = ""


YEAR_S = 365.25 * 86_400.0  # the Julian year
BTU_J = 1055.05585262  # of the International Table
FOOT_M = 0.3048
INCH_M = 0.0254
GALLON_M3 = 0.003785411784  # of the United States, as are the fluid ounce and the short ton
POUND_KG = 0.45359237
GRAVITY_M_S2 = 9.80665
BINARY = (
    ("Ki", "kibi"),
    ("Mi", "mebi"),
    ("Gi", "gibi"),
    ("Ti", "tebi"),
    ("Ei", "exbi"),
    ("Zi", "zebi"),
    ("Yi", "yobi"),
)
_POWER_OF_1024 = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Ei": 6, "Zi": 7, "Yi": 8}  # DTDL has no pebi

_ROWS = (
    Unit("", "none", 1.0, dtdl="unity"),
    Unit("%", "none", 0.01, dtdl="percent"),
    Unit("ppm", "none", 1e-6, dtdl="partsPerMillion"),
    Unit("ppb", "none", 1e-9, dtdl="partsPerBillion"),
    Unit("ppt", "none", 1e-12, dtdl="partsPerTrillion"),
    Unit("ppq", "none", 1e-15, dtdl="partsPerQuadrillion"),
    Unit("m", "length", 1.0, dtdl="metre"),
    Unit("cm", "length", 0.01, dtdl="centimetre"),
    Unit("mm", "length", 0.001, dtdl="millimetre"),
    Unit("um", "length", 1e-6, dtdl="micrometre"),
    Unit("nm", "length", 1e-9, dtdl="nanometre"),
    Unit("km", "length", 1000.0, dtdl="kilometre"),
    Unit("ft", "length", FOOT_M, dtdl="foot"),
    Unit("in", "length", INCH_M, dtdl="inch"),
    Unit("mi", "length", 5280 * FOOT_M, dtdl="mile"),
    Unit("nmi", "length", 1852.0, dtdl="nauticalMile"),
    Unit("au", "length", 149_597_870_700.0, dtdl="astronomicalUnit"),
    Unit("m2", "area", 1.0, dtdl="squareMetre"),
    Unit("cm2", "area", 1e-4, dtdl="squareCentimetre"),
    Unit("mm2", "area", 1e-6, dtdl="squareMillimetre"),
    Unit("km2", "area", 1e6, dtdl="squareKilometre"),
    Unit("ft2", "area", FOOT_M**2, dtdl="squareFoot"),
    Unit("in2", "area", INCH_M**2, dtdl="squareInch"),
    Unit("acre", "area", 43_560 * FOOT_M**2, dtdl="acre"),
    Unit("ha", "area", 1e4, dtdl="hectare"),
    Unit("m3", "volume", 1.0, dtdl="cubicMetre"),
    Unit("L", "volume", 0.001, dtdl="litre"),
    Unit("mL", "volume", 1e-6, dtdl="millilitre"),
    Unit("cm3", "volume", 1e-6, dtdl="cubicCentimetre"),
    Unit("ft3", "volume", FOOT_M**3, dtdl="cubicFoot"),
    Unit("in3", "volume", INCH_M**3, dtdl="cubicInch"),
    Unit("gal", "volume", GALLON_M3, dtdl="gallon"),
    Unit("floz", "volume", GALLON_M3 / 128, dtdl="fluidOunce"),
    Unit("m3/s", "volume flow", 1.0, dtdl="cubicMetrePerSecond"),
    Unit("m3/min", "volume flow", 1 / 60, dtdl="cubicMetrePerMinute"),
    Unit("m3/h", "volume flow", 1 / 3600, dtdl="cubicMetrePerHour"),
    Unit("L/s", "volume flow", 0.001, dtdl="litrePerSecond"),
    Unit("L/min", "volume flow", 0.001 / 60, dtdl="litrePerMinute"),
    Unit("L/h", "volume flow", 0.001 / 3600, dtdl="litrePerHour"),
    Unit("mL/s", "volume flow", 1e-6, dtdl="millilitrePerSecond"),
    Unit("mL/min", "volume flow", 1e-6 / 60, dtdl="millilitrePerMinute"),
    Unit("mL/h", "volume flow", 1e-6 / 3600, dtdl="millilitrePerHour"),
    Unit("ft3/min", "volume flow", FOOT_M**3 / 60, dtdl="cubicFootPerMinute"),
    Unit("gpm", "volume flow", GALLON_M3 / 60, dtdl="gallonPerMinute"),
    Unit("gal/h", "volume flow", GALLON_M3 / 3600, dtdl="gallonPerHour"),
    Unit("Pa", "pressure", 1.0, dtdl="pascal"),
    Unit("daPa", "pressure", 10.0, dtdl="decapascal"),
    Unit("hPa", "pressure", 100.0, dtdl="hectopascal"),
    Unit("kPa", "pressure", 1000.0, dtdl="kilopascal"),
    Unit("bar", "pressure", 100_000.0, dtdl="bar"),
    Unit("mbar", "pressure", 100.0, dtdl="millibar"),
    Unit("psi", "pressure", POUND_KG * GRAVITY_M_S2 / INCH_M**2, dtdl="poundPerSquareInch"),
    Unit("mmHg", "pressure", 133.322387415, dtdl="millimetresOfMercury"),
    Unit("inHg", "pressure", 3386.389, dtdl="inchesOfMercury"),
    Unit("inH2O", "pressure", 249.08891, dtdl="inchesOfWater"),
    Unit("mH2O", "pressure", 9806.65),
    Unit("ns", "time", 1e-9, dtdl="nanosecond"),
    Unit("us", "time", 1e-6, dtdl="microsecond"),
    Unit("ms", "time", 0.001, dtdl="millisecond"),
    Unit("s", "time", 1.0, dtdl="second"),
    Unit("min", "time", 60.0, dtdl="minute"),
    Unit("h", "time", 3600.0, dtdl="hour"),
    Unit("d", "time", 86_400.0, dtdl="day"),
    Unit("a", "time", YEAR_S, dtdl="year"),
    Unit("mHz", "frequency", 0.001, dtdl="millihertz"),
    Unit("Hz", "frequency", 1.0, dtdl="hertz"),
    Unit("kHz", "frequency", 1e3, dtdl="kilohertz"),
    Unit("MHz", "frequency", 1e6, dtdl="megahertz"),
    Unit("GHz", "frequency", 1e9, dtdl="gigahertz"),
    Unit("rad", "angle", 1.0, dtdl="radian"),
    Unit("deg", "angle", pi / 180, dtdl="degreeOfArc"),
    Unit("arcmin", "angle", pi / 10_800, dtdl="minuteOfArc"),
    Unit("arcsec", "angle", pi / 648_000, dtdl="secondOfArc"),
    Unit("turn", "angle", 2 * pi, dtdl="turn"),
    Unit("rad/s", "angular velocity", 1.0, dtdl="radianPerSecond"),
    Unit("deg/s", "angular velocity", pi / 180, dtdl="degreePerSecond"),
    Unit("rpm", "angular velocity", 2 * pi / 60, dtdl="revolutionPerMinute"),
    Unit("rps", "angular velocity", 2 * pi, dtdl="revolutionPerSecond"),
    Unit("rad/s2", "angular acceleration", 1.0, dtdl="radianPerSecondSquared"),
    Unit("m/s", "velocity", 1.0, dtdl="metrePerSecond"),
    Unit("cm/s", "velocity", 0.01, dtdl="centimetrePerSecond"),
    Unit("m/h", "velocity", 1 / 3600, dtdl="metrePerHour"),
    Unit("km/h", "velocity", 1 / 3.6, dtdl="kilometrePerHour"),
    Unit("km/s", "velocity", 1000.0, dtdl="kilometrePerSecond"),
    Unit("mph", "velocity", 5280 * FOOT_M / 3600, dtdl="milePerHour"),
    Unit("mi/s", "velocity", 5280 * FOOT_M, dtdl="milePerSecond"),
    Unit("kn", "velocity", 1852 / 3600, dtdl="knot"),
    Unit("m/s2", "acceleration", 1.0, dtdl="metrePerSecondSquared"),
    Unit("cm/s2", "acceleration", 0.01, dtdl="centimetrePerSecondSquared"),
    Unit("gn", "acceleration", GRAVITY_M_S2, dtdl="gForce"),
    Unit("K", "temperature", 1.0, dtdl="kelvin"),
    Unit("degC", "temperature", 1.0, 273.15, dtdl="degreeCelsius"),
    Unit("degF", "temperature", 5 / 9, 459.67 * 5 / 9, dtdl="degreeFahrenheit"),
    Unit("W", "power", 1.0, dtdl="watt"),
    Unit("uW", "power", 1e-6, dtdl="microwatt"),
    Unit("mW", "power", 0.001, dtdl="milliwatt"),
    Unit("kW", "power", 1000.0, dtdl="kilowatt"),
    Unit("MW", "power", 1e6, dtdl="megawatt"),
    Unit("GW", "power", 1e9, dtdl="gigawatt"),
    Unit("J/s", "power", 1.0, dtdl="joulePerSecond"),
    Unit("kJ/s", "power", 1000.0, dtdl="kilojoulePerSecond"),
    Unit("J/h", "power", 1 / 3600, dtdl="joulePerHour"),
    Unit("kJ/h", "power", 1e3 / 3600, dtdl="kilojoulePerHour"),
    Unit("MJ/h", "power", 1e6 / 3600, dtdl="megajoulePerHour"),
    Unit("GJ/h", "power", 1e9 / 3600, dtdl="gigajoulePerHour"),
    Unit("kWh/a", "power", 3.6e6 / YEAR_S, dtdl="kilowattHourPerYear"),
    Unit("BTU/h", "power", BTU_J / 3600, dtdl="britishThermalUnitPerHour"),
    Unit("kBTU/h", "power", 1e3 * BTU_J / 3600, dtdl="kiloBritishThermalUnitPerHour"),
    Unit("hp", "power", 550 * FOOT_M * POUND_KG * GRAVITY_M_S2, dtdl="horsepower"),
    Unit("TR", "power", 12_000 * BTU_J / 3600, dtdl="tonOfRefrigeration"),
    Unit("J", "energy", 1.0, dtdl="joule"),
    Unit("kJ", "energy", 1e3, dtdl="kilojoule"),
    Unit("MJ", "energy", 1e6, dtdl="megajoule"),
    Unit("GJ", "energy", 1e9, dtdl="gigajoule"),
    Unit("mWh", "energy", 3.6, dtdl="milliwattHour"),
    Unit("Wh", "energy", 3600.0, dtdl="wattHour"),
    Unit("kWh", "energy", 3.6e6, dtdl="kilowattHour"),
    Unit("MWh", "energy", 3.6e9, dtdl="megawattHour"),
    Unit("GWh", "energy", 3.6e12, dtdl="gigawattHour"),
    Unit("TWh", "energy", 3.6e15, dtdl="terawattHour"),
    Unit("eV", "energy", 1.602176634e-19, dtdl="electronvolt"),
    Unit("MeV", "energy", 1.602176634e-13, dtdl="megaelectronvolt"),
    Unit("BTU", "energy", BTU_J, dtdl="britishThermalUnit"),
    Unit("kBTU", "energy", 1e3 * BTU_J, dtdl="kiloBritishThermalUnit"),
    Unit("VA", "apparent power", 1.0, dtdl="voltAmpere"),
    Unit("mVA", "apparent power", 0.001, dtdl="millivoltAmpere"),
    Unit("kVA", "apparent power", 1e3, dtdl="kilovoltAmpere"),
    Unit("MVA", "apparent power", 1e6, dtdl="megavoltAmpere"),
    Unit("GVA", "apparent power", 1e9, dtdl="gigavoltAmpere"),
    Unit("VAh", "apparent energy", 3600.0, dtdl="voltAmpereHour"),
    Unit("kVAh", "apparent energy", 3.6e6, dtdl="kilovoltAmpereHour"),
    Unit("MVAh", "apparent energy", 3.6e9, dtdl="megavoltAmpereHour"),
    Unit("GVAh", "apparent energy", 3.6e12, dtdl="gigavoltAmpereHour"),
    Unit("var", "reactive power", 1.0, dtdl="voltAmpereReactive"),
    Unit("mvar", "reactive power", 0.001, dtdl="millivoltAmpereReactive"),
    Unit("kvar", "reactive power", 1e3, dtdl="kilovoltAmpereReactive"),
    Unit("Mvar", "reactive power", 1e6, dtdl="megavoltAmpereReactive"),
    Unit("Gvar", "reactive power", 1e9, dtdl="gigavoltAmpereReactive"),
    Unit("varh", "reactive energy", 3600.0, dtdl="voltAmpereReactiveHour"),
    Unit("kvarh", "reactive energy", 3.6e6, dtdl="kilovoltAmpereReactiveHour"),
    Unit("Mvarh", "reactive energy", 3.6e9, dtdl="megavoltAmpereReactiveHour"),
    Unit("Gvarh", "reactive energy", 3.6e12, dtdl="gigavoltAmpereReactiveHour"),
    Unit("V", "voltage", 1.0, dtdl="volt"),
    Unit("uV", "voltage", 1e-6, dtdl="microvolt"),
    Unit("mV", "voltage", 0.001, dtdl="millivolt"),
    Unit("kV", "voltage", 1e3, dtdl="kilovolt"),
    Unit("MV", "voltage", 1e6, dtdl="megavolt"),
    Unit("A", "current", 1.0, dtdl="ampere"),
    Unit("uA", "current", 1e-6, dtdl="microampere"),
    Unit("mA", "current", 0.001, dtdl="milliampere"),
    Unit("kA", "current", 1e3, dtdl="kiloampere"),
    Unit("C", "charge", 1.0, dtdl="coulomb"),
    Unit("Ah", "charge", 3600.0, dtdl="ampereHour"),
    Unit("mAh", "charge", 3.6, dtdl="milliampereHour"),
    Unit("Ohm", "resistance", 1.0, dtdl="ohm"),
    Unit("mOhm", "resistance", 0.001, dtdl="milliohm"),
    Unit("kOhm", "resistance", 1e3, dtdl="kiloohm"),
    Unit("MOhm", "resistance", 1e6, dtdl="megaohm"),
    Unit("F", "capacitance", 1.0, dtdl="farad"),
    Unit("mF", "capacitance", 0.001, dtdl="millifarad"),
    Unit("uF", "capacitance", 1e-6, dtdl="microfarad"),
    Unit("nF", "capacitance", 1e-9, dtdl="nanofarad"),
    Unit("pF", "capacitance", 1e-12, dtdl="picofarad"),
    Unit("H", "inductance", 1.0, dtdl="henry"),
    Unit("mH", "inductance", 0.001, dtdl="millihenry"),
    Unit("uH", "inductance", 1e-6, dtdl="microhenry"),
    Unit("Wb", "magnetic flux", 1.0, dtdl="weber"),
    Unit("Mx", "magnetic flux", 1e-8, dtdl="maxwell"),
    Unit("T", "magnetic induction", 1.0, dtdl="tesla"),
    Unit("Gs", "magnetic induction", 1e-4, dtdl="gauss"),
    Unit("kg", "mass", 1.0, dtdl="kilogram"),
    Unit("g", "mass", 0.001, dtdl="gram"),
    Unit("mg", "mass", 1e-6, dtdl="milligram"),
    Unit("ug", "mass", 1e-9, dtdl="microgram"),
    Unit("t", "mass", 1000.0, dtdl="tonne"),
    Unit("lb", "mass", POUND_KG, dtdl="massPound"),
    Unit("slug", "mass", POUND_KG * GRAVITY_M_S2 / FOOT_M, dtdl="slug"),
    Unit("kg/s", "mass flow", 1.0, dtdl="kilogramPerSecond"),
    Unit("kg/h", "mass flow", 1 / 3600, dtdl="kilogramPerHour"),
    Unit("g/s", "mass flow", 0.001, dtdl="gramPerSecond"),
    Unit("g/h", "mass flow", 0.001 / 3600, dtdl="gramPerHour"),
    Unit("lb/h", "mass flow", POUND_KG / 3600, dtdl="massPoundPerHour"),
    Unit("kg/m3", "density", 1.0, dtdl="kilogramPerCubicMetre"),
    Unit("g/m3", "density", 0.001, dtdl="gramPerCubicMetre"),
    Unit("mg/m3", "density", 1e-6, dtdl="milligramPerCubicMetre"),
    Unit("ug/m3", "density", 1e-9, dtdl="microgramPerCubicMetre"),
    Unit("N", "force", 1.0, dtdl="newton"),
    Unit("lbf", "force", POUND_KG * GRAVITY_M_S2, dtdl="pound"),
    Unit("ozf", "force", POUND_KG * GRAVITY_M_S2 / 16, dtdl="ounce"),
    Unit("tonf", "force", 2000 * POUND_KG * GRAVITY_M_S2, dtdl="ton"),
    Unit("Nm", "torque", 1.0, dtdl="newtonMetre"),
    Unit("lx", "illuminance", 1.0, dtdl="lux"),
    Unit("fc", "illuminance", 1 / FOOT_M**2, dtdl="footcandle"),
    Unit("W/m2", "irradiance", 1.0, dtdl="wattPerSquareMetre"),
    Unit("cd/m2", "luminance", 1.0, dtdl="candelaPerSquareMetre"),
    Unit("lm", "luminous flux", 1.0, dtdl="lumen"),
    Unit("cd", "luminous intensity", 1.0, dtdl="candela"),
    Unit("Gy", "absorbed dose", 1.0, dtdl="gray"),
    Unit("mGy", "absorbed dose", 0.001, dtdl="milligray"),
    Unit("uGy", "absorbed dose", 1e-6, dtdl="microgray"),
    Unit("Sv", "equivalent dose", 1.0, dtdl="sievert"),
    Unit("mSv", "equivalent dose", 0.001, dtdl="millisievert"),
    Unit("uSv", "equivalent dose", 1e-6, dtdl="microsievert"),
    Unit("Bq", "radioactivity", 1.0, dtdl="becquerel"),
    Unit("kBq", "radioactivity", 1e3, dtdl="kilobecquerel"),
    Unit("MBq", "radioactivity", 1e6, dtdl="megabecquerel"),
    Unit("GBq", "radioactivity", 1e9, dtdl="gigabecquerel"),
    Unit("bel", "sound level", 1.0, dtdl="bel"),
    Unit("dB", "sound level", 0.1, dtdl="decibel"),
    Unit("bit", "data size", 1.0, dtdl="bit"),
    Unit("B", "data size", 8.0, dtdl="byte"),
    Unit("bit/s", "data rate", 1.0, dtdl="bitPerSecond"),
    Unit("B/s", "data rate", 8.0, dtdl="bytePerSecond"),
)
_BINARY_ROWS = tuple(
    Unit(f"{prefix}{symbol}", dimension, bits * 1024.0 ** _POWER_OF_1024[prefix], dtdl=f"{word}{name}")
    for dimension, units in (
        ("data size", (("bit", "bit", 1), ("B", "byte", 8))),
        ("data rate", (("bit/s", "bitPerSecond", 1), ("B/s", "bytePerSecond", 8))),
    )
    for symbol, name, bits in units
    for prefix, word in BINARY
)

UNITS = {u.symbol: u for u in (*_ROWS, *_BINARY_ROWS)}
LITRES = {s.replace("L", "l"): u for s, u in UNITS.items() if "litre" in u.dtdl.lower()}
"""The other spelling of litres: UCUM has both, l and L."""
SPELLINGS = {**UNITS, **LITRES}
UNIT_OF_DTDL = {u.dtdl: u for u in UNITS.values() if u.dtdl}

# Semantic types whose values are measured, and the dimensions that their unit may have.
DIMENSIONS_OF_SEMANTIC: dict[str, tuple[str, ...]] = {
    "Acceleration": ("acceleration",),
    "AccelerationVector": ("acceleration",),
    "Angle": ("angle",),
    "AngularAcceleration": ("angular acceleration",),
    "AngularVelocity": ("angular velocity",),
    "ApparentEnergy": ("apparent energy",),
    "ApparentPower": ("apparent power",),
    "Area": ("area",),
    "Capacitance": ("capacitance",),
    "Concentration": ("none",),
    "Current": ("current",),
    "DataRate": ("data rate",),
    "DataSize": ("data size",),
    "Density": ("density",),
    "Distance": ("length",),
    "ElectricCharge": ("charge",),
    "Energy": ("energy",),
    "EnergyRate": ("power",),
    "Force": ("force",),
    "Frequency": ("frequency",),
    "Humidity": ("density",),
    "Illuminance": ("illuminance",),
    "Inductance": ("inductance",),
    "IonizingRadiationDose": ("absorbed dose", "equivalent dose"),
    "Irradiance": ("irradiance",),
    "Latitude": ("angle",),
    "Length": ("length",),
    "Longitude": ("angle",),
    "Luminance": ("luminance",),
    "Luminosity": ("power",),
    "LuminousFlux": ("luminous flux",),
    "LuminousIntensity": ("luminous intensity",),
    "MagneticFlux": ("magnetic flux",),
    "MagneticInduction": ("magnetic induction",),
    "Mass": ("mass",),
    "MassFlowRate": ("mass flow",),
    "Power": ("power",),
    "Pressure": ("pressure",),
    "Radioactivity": ("radioactivity",),
    "ReactiveEnergy": ("reactive energy",),
    "ReactivePower": ("reactive power",),
    "RelativeDensity": ("none",),
    "RelativeHumidity": ("none",),
    "Resistance": ("resistance",),
    "SoundPressure": ("sound level",),
    "Temperature": ("temperature",),
    "Thrust": ("force",),
    "TimeSpan": ("time",),
    "Torque": ("torque",),
    "Velocity": ("velocity",),
    "VelocityVector": ("velocity",),
    "Voltage": ("voltage",),
    "Volume": ("volume",),
    "VolumeFlowRate": ("volume flow",),
}


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


def semantic_complaint(semantic: str, unit: Unit) -> str:
    """Why a unit cannot measure what a semantic type means; "" when it can, or when the type measures nothing."""
    wanted = DIMENSIONS_OF_SEMANTIC.get(semantic)
    if wanted is None or unit.dimension in wanted:
        return ""
    return f"{semantic} is measured in {' or '.join(wanted)}, {unit.dtdl or unit.symbol} measures {unit.dimension}"
