"""Which values a register can never hold: told before a command is taken, not when it is sent; pure."""

from __future__ import annotations

import math

from protocols.believe import wire_value
from protocols.modbus.address import BIT, TEXT, parse_address
from protocols.modbus.values import encode
from twin.points import Point


def misfit(point: Point, value: float) -> str:
    """Why the point's register cannot hold the value, "" where it can, or where only the device knows (scale factors)."""
    address = parse_address(point.address)
    if address.factor >= 0 or address.kind.code in (BIT, TEXT):
        return ""
    wire = wire_value(point, value)
    try:
        encode(address, wire)
    except ValueError as wrong:
        return _told(point, value, wire, str(wrong))
    return ""


def _told(point: Point, value: float, wire: object, wrong: str) -> str:
    if isinstance(wire, float) and math.isfinite(wire) and wire != int(wire) and point.scale:
        below, above = (n * point.scale + point.offset for n in (math.floor(wire), math.ceil(wire)))
        return f"its register holds whole numbers only; {below:.10g} and {above:.10g} {point.unit}".rstrip() + " fit"
    if point.scale == 1.0 and point.offset == 0.0:
        return wrong
    return f"{value:g} {point.unit} is {wire:g} in the register: {wrong}"
