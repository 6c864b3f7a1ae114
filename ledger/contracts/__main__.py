"""`python -m ledger.contracts`: compile each contract with Vyper and write its JSON file, for developers.

Must not be imported by the product: Vyper is a development dependency.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ledger.contracts import HERE, NAMES


def compiled(source: Path) -> str:
    """The text of the JSON file that belongs to a `.vy` file; the same source gives the same text, byte for byte."""
    import vyper
    from eth_utils.abi import event_abi_to_log_topic
    from vyper.compiler import compile_code
    from vyper.compiler.input_bundle import FilesystemInputBundle

    text = source.read_text("utf-8")
    formats = ["abi", "bytecode", "bytecode_runtime", "method_identifiers"]
    bundle = FilesystemInputBundle([source.parent])  # roles.vy
    output = compile_code(text, contract_path=source.name, input_bundle=bundle, output_formats=formats)
    fields = {
        "name": source.stem,
        "compiler": f"vyper {vyper.__version__}",
        "evm_version": "prague",
        "abi": output["abi"],
        "bytecode": output["bytecode"],
        "runtime": output["bytecode_runtime"],
        "selectors": {name: f"0x{int(code, 16):08x}" for name, code in output["method_identifiers"].items()},
        "topics": {e["name"]: "0x" + event_abi_to_log_topic(e).hex() for e in output["abi"] if e["type"] == "event"},
    }
    return json.dumps(fields, indent=1, sort_keys=True) + "\n"


def main() -> int:
    for name in NAMES:
        target = HERE / f"{name}.json"
        target.write_text(compiled(HERE / f"{name}.vy"), "utf-8")
        print(f"{target.name}: {target.stat().st_size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
