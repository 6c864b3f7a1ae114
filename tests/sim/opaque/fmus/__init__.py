"""Makes the tests' own FMU, a tank that wears, for FMI 2 and 3, with the compiler of this machine."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

HERE = Path(__file__).parent
TOKEN = "{6f2f1a5e-tank}"
# name, type in FMI 2, type in FMI 3, causality, variability, initial, start
VARIABLES = (
    ("level", "Real", "Float64", "output", "continuous", "calculated", ""),
    ("inflow", "Real", "Float64", "input", "continuous", "", "0"),
    ("area", "Real", "Float64", "parameter", "fixed", "exact", "2"),
    ("k", "Real", "Float64", "parameter", "tunable", "exact", "0.1"),
    ("level_start", "Real", "Float64", "parameter", "fixed", "exact", "1"),
    ("total", "Real", "Float64", "local", "continuous", "exact", "0"),
    ("steps", "Integer", "Int32", "output", "discrete", "calculated", ""),
    ("open", "Boolean", "Boolean", "input", "discrete", "", "true"),
)


def tank_fmu(
    folder: Path, version: int, *, forks: bool = True, even: bool = False, once: bool = False, platform: str = ""
) -> Path:
    """A .fmu file.

    Args:
        forks: whether it says that it can save its state.
        even: whether it says that it can only be stepped evenly.
        once: whether it says that a process can have one instance only.
        platform: for which its library claims to be; this machine's when "".
    """
    compiler = shutil.which("gcc") or shutil.which("cc")
    missing = "a C compiler" if compiler is None else "fmpy" if importlib.util.find_spec("fmpy") is None else ""
    if missing:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"{missing} is needed for the tests' FMU")
    import fmpy

    platform = platform or (fmpy.platform if version == 2 else fmpy.platform_tuple)
    said = _abilities(version, forks, even, once)
    library = folder / f"tank{version}.so"
    headers = Path(fmpy.__file__).parent / "c-code"
    subprocess.run(
        [str(compiler), "-O1", "-shared", "-fPIC", "-w", f'-DTOKEN="{TOKEN}"', f"-I{headers}", f"-I{HERE}",
         str(HERE / f"tank_fmi{version}.c"), "-o", str(library), "-lm"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    path = folder / f"tank{version}.fmu"
    with zipfile.ZipFile(path, "w") as packed:
        packed.writestr("modelDescription.xml", _fmi2(said) if version == 2 else _fmi3(said))
        packed.write(library, f"binaries/{platform}/tank.so")
    return path


def _words(**given: str) -> str:
    return "".join(f' {name}="{value}"' for name, value in given.items() if value)


def _abilities(version: int, forks: bool, even: bool, once: bool) -> str:
    said, state = str(forks).lower(), "state" if version == 2 else "State"
    return (
        f'modelIdentifier="tank" canHandleVariableCommunicationStepSize="{str(not even).lower()}" '
        f'canGetAndSetFMU{state}="{said}" canSerializeFMU{state}="{said}" '
        f'canBeInstantiatedOnlyOncePerProcess="{str(once).lower()}"'
    )


def _fmi2(abilities: str) -> str:
    rows = "".join(
        f'<ScalarVariable name="{name}" valueReference="{number}"'
        f"{_words(causality=causality, variability=variability, initial=initial)}><{kind}{_words(start=start)}/>"
        "</ScalarVariable>"
        for number, (name, kind, _, causality, variability, initial, start) in enumerate(VARIABLES)
    )
    return (
        f'<fmiModelDescription fmiVersion="2.0" modelName="tank" guid="{TOKEN}">'
        f"<CoSimulation {abilities}/><ModelVariables>{rows}</ModelVariables>"
        '<ModelStructure><Outputs><Unknown index="1"/><Unknown index="7"/></Outputs>'
        '<InitialUnknowns><Unknown index="1"/><Unknown index="7"/></InitialUnknowns></ModelStructure>'
        "</fmiModelDescription>"
    )


def _fmi3(abilities: str) -> str:
    rows = "".join(
        f'<{kind} name="{name}" valueReference="{number}"'
        f"{_words(causality=causality, variability=variability, initial=initial, start=start)}/>"
        for number, (name, _, kind, causality, variability, initial, start) in enumerate(VARIABLES)
    )
    return (
        f'<fmiModelDescription fmiVersion="3.0" modelName="tank" instantiationToken="{TOKEN}">'
        f"<CoSimulation {abilities}/><ModelVariables>{rows}"
        '<Float64 name="time" valueReference="99" causality="independent" variability="continuous"/></ModelVariables>'
        '<ModelStructure><Output valueReference="0"/><Output valueReference="6"/>'
        '<InitialUnknown valueReference="0"/><InitialUnknown valueReference="6"/></ModelStructure>'
        "</fmiModelDescription>"
    )
