"""The table of protocols: complete, consistent, and quick to load."""

from __future__ import annotations

import ast
import subprocess
import sys
import time
from pathlib import Path

import pytest

import protocols
from protocols.catalog import PROTOCOLS
from protocols.faces import FACES
from tests.protocols.protocol_bench import RecordingSink, Wished, device, seeded

FOLDER = Path(protocols.__file__).parent
ENDPOINTS = {
    "opcua": "opc.tcp://127.0.0.1:4840",
    "modbus": "modbus://127.0.0.1:502/1",
    "mqtt": "mqtt://127.0.0.1:1883",
}


def test_every_folder_is_a_protocol_and_every_protocol_a_folder() -> None:
    folders = {path.parent.name for path in FOLDER.glob("*/codec.py")}
    assert folders == set(PROTOCOLS) == set(ENDPOINTS)
    for name in folders:
        assert {"codec.py", "link.py", "device.py"} <= {path.name for path in (FOLDER / name).iterdir()}


@pytest.mark.parametrize("name", PROTOCOLS)
def test_defaults_keep_their_own_limits(name: str) -> None:
    for key, setting in PROTOCOLS[name].rules.settings.items():
        assert setting.help and not setting.help.endswith("."), key
        if setting.default is None:
            continue
        assert type(setting.default) is setting.type, key
        if setting.type in (int, float):
            assert setting.low <= setting.default <= setting.high, key  # type: ignore[operator]
        if setting.choices:
            assert setting.default in setting.choices, key


@pytest.mark.parametrize("name", PROTOCOLS)
def test_every_setting_is_used_and_every_used_setting_exists(name: str) -> None:
    """Those of devices and those of the protocol's face; `points` is used where states are chosen, too."""
    used = set()
    for path in (FOLDER / name).glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
                holder = ast.unparse(node.value)
                if holder.endswith("settings"):
                    used.add(node.slice.value)
    face = set(FACES[name].rules.settings) if name in FACES else set()
    assert used | {"points"} & face == set(PROTOCOLS[name].rules.settings) | face


@pytest.mark.parametrize("name", PROTOCOLS)
async def test_both_sides_of_every_protocol_can_be_made(name: str) -> None:
    entry = PROTOCOLS[name]
    entry.rules.check_endpoint(ENDPOINTS[name])
    at = device(name, ENDPOINTS[name])
    assert entry.link(at, (), RecordingSink(), time.time_ns, seeded(), None)
    assert entry.device(at, (), Wished(), time.time_ns, None).endpoint == ENDPOINTS[name]


def test_loading_a_plant_loads_no_protocol_library() -> None:
    code = "import sys, protocols.catalog; print({'asyncua', 'pymodbus', 'paho', 'amqtt'} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], cwd=FOLDER.parent, capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_the_format_of_an_mqtt_device_decides_what_its_addresses_look_like() -> None:
    rules = PROTOCOLS["mqtt"].rules
    assert rules.address_check is not None
    sparkplug, plain = (rules.address_check({"format": name}) for name in ("sparkplug", "auto"))
    sparkplug("spBv1.0/plant/gateway#motor/speed", "double", True)
    plain("plant/gateway#/speed", "double", True)
    for check, address in ((plain, "spBv1.0/plant/gateway#motor/speed"), (sparkplug, "plant/gateway#/speed")):
        with pytest.raises(ValueError, match="the form is"):
            check(address, "double", True)
