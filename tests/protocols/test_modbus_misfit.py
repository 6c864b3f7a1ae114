"""What a register can never hold is known before anything is sent."""

from __future__ import annotations

import pytest

from protocols.modbus.misfit import misfit
from twin.points import Point


def speed(address: str, scale: float = 0.1) -> Point:
    return Point(0, "v.speed", "v", "speed", "double", "%", "plc", address, scale, writable=True)


@pytest.mark.parametrize(
    ("address", "value", "said"),
    [
        ("holding:0:uint16", 33.33, "33.33 % is 333.3 in the register"),
        ("holding:0:uint16", 6553.6, "does not fit"),
        ("holding:0:uint16", -0.1, "does not fit"),
        ("holding:0:int16", -3276.9, "does not fit"),
    ],
)
def test_a_value_between_two_steps_or_beyond_the_register_is_told(address: str, value: float, said: str) -> None:
    assert said in misfit(speed(address), value)


@pytest.mark.parametrize(
    ("address", "value"),
    [("holding:0:uint16", 33.3), ("holding:0:int16", -0.1), ("holding:0:float32", 33.33), ("coil:0", 1.0),
     ("holding:0:bit3", 1.0), ("holding:0:int16:sf=7", 33.333)],
)  # fmt: skip
def test_what_fits_or_what_only_the_device_knows_passes(address: str, value: float) -> None:
    assert misfit(speed(address), value) == ""
