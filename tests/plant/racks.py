"""A plant of racks: as many Modbus devices as there are ports, each a twin with many writable registers of one word."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path

DEAD_PORT = 9  # discard: nobody listens


def point(rack: int, register: int) -> str:
    return f"rack_{rack}.c{register}"


def write_plant(
    folder: Path,
    ports: Sequence[int],
    registers: int | Sequence[int],
    within_s: float | None = None,
    more: str = "",
    **settings: object,
) -> Path:
    """The plant's folder. Rack n is unit 1 of the device at ports[n] and has registers[n], or as many as all; `more` goes
    to the end of plant.toml."""
    sizes = [registers] * len(ports) if isinstance(registers, int) else registers
    (folder / "interfaces").mkdir(parents=True)
    contents = [
        {"@type": "Property", "name": f"c{n}", "schema": "integer", "writable": True} for n in range(max(sizes))
    ]
    interface = {
        "@context": "dtmi:dtdl:context;3", "@id": "dtmi:racks:Rack;1", "@type": "Interface", "contents": contents
    }  # fmt: skip
    (folder / "interfaces" / "rack.json").write_text(json.dumps(interface))
    head = ['[plant]\nid = "racks"\nname = "Racks"']
    rows = ["point,device,address,type,unit,scale,access,audit,low,high"]
    set_to = "".join(f"{name} = {json.dumps(value)}\n" for name, value in settings.items())
    for n, (port, size) in enumerate(zip(ports, sizes, strict=True)):
        head.append(
            f'[[device]]\nid = "plc_{n}"\nprotocol = "modbus"\nendpoint = "modbus://127.0.0.1:{port}/1"\n{set_to}'
        )
        head.append(f'[[twin]]\nid = "rack_{n}"\ninterface = "dtmi:racks:Rack;1"')
        for register in range(size):
            name = point(n, register)
            rows.append(f"{name},plc_{n},holding:{register}:uint16,integer,,1,rw,no,0,65535")
            if within_s is not None:
                head.append(f'[[feedback]]\npoint = "{name}"\nfeedback = "{name}"\nwithin_s = {within_s}')
    (folder / "plant.toml").write_text("\n\n".join([*head, more]))
    (folder / "points.csv").write_text("\n".join(rows) + "\n")
    return folder
