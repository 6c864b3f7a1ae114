"""Which request writes a value, and what the device's answer to it means; pure, sends nothing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols.link import Verdict, WriteOutcome
from protocols.modbus import codec, values
from protocols.modbus.address import BIT_TABLES, Address

# Exceptions that leave it open whether the device acts: 5 says that it does so later, 11 that a gateway waited for it
# in vain.
_UNSETTLED = (5, 11)

_INSTEAD = {
    5: "single_coil_writes = false writes coils with function 15",
    6: "single_register_writes = false writes registers with function 16",
    22: 'bit_writes = "rewrite" reads the register and writes it whole',
}


@dataclass(frozen=True, slots=True)
class Functions:
    """What the device understands.

    Attributes:
        single_coil: function 5; else 15.
        single_register: function 6; else 16.
        mask: function 22; else a bit of a register is written with the whole register.
    """

    single_coil: bool
    single_register: bool
    mask: bool

    @classmethod
    def of(cls, settings: Mapping[str, Any]) -> Functions:
        return cls(
            bool(settings["single_coil_writes"]),
            bool(settings["single_register_writes"]),
            settings["bit_writes"] == "mask",
        )


def write_request(address: Address, wire: float, factor: bytes, functions: Functions) -> bytes:
    """
    Args:
        factor: the scale-factor register of the address, empty for none.

    Raises:
        ValueError, values.Undecodable: the address cannot carry the value.
    """
    if address.type != "bit":
        registers = values.encode(address, wire, factor)
        if len(registers) == 1 and functions.single_register:
            return codec.write_register_request(address.start, registers[0])
        return codec.write_registers_request(address.start, registers)
    if wire not in (0.0, 1.0):
        raise ValueError(f"{wire:g} is neither 0 nor 1, the address is a bit")
    if address.table not in BIT_TABLES:
        return codec.mask_register_request(address.start, address.bit, wire == 1.0)
    if functions.single_coil:
        return codec.write_coil_request(address.start, wire == 1.0)
    return codec.write_coils_request(address.start, [wire == 1.0])


def rewrite_request(address: Address, wire: float, register: bytes, functions: Functions) -> bytes:
    """The whole register as it was read, with one bit changed.

    Raises:
        ValueError: neither 0 nor 1.
    """
    if wire not in (0.0, 1.0):
        raise ValueError(f"{wire:g} is neither 0 nor 1, the address is a bit")
    others = int.from_bytes(register, "big") & ~(1 << address.bit)
    whole = Address(address.table, address.start)
    return write_request(whole, others | int(wire) << address.bit, b"", functions)


def verdict_of(request: bytes, refusal: codec.DeviceException) -> Verdict:
    if refusal.code in _UNSETTLED:
        return Verdict(WriteOutcome.UNKNOWN, refusal.name)
    instead = _INSTEAD.get(request[0]) if refusal.code == 1 else None
    return Verdict(WriteOutcome.REFUSED, f"{refusal.name}; {instead}" if instead else refusal.name)
