"""`python -m ledger.contracts`: compile each contract with Vyper and write its JSON file, for developers.

Must not be imported by the product: Vyper is a development dependency.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from ledger.contracts import HERE


def compiled(source: Path) -> str:
    """The text of the JSON file that belongs to a `.vy` file; the same source gives the same text, byte for byte."""
    import vyper
    from vyper.compiler import compile_code

    text = source.read_text("utf-8")
    output = compile_code(text, contract_path=source.name, output_formats=["abi", "bytecode"])
    fields = {
        "name": source.stem,
        "compiler": f"vyper {vyper.__version__}",
        "evm_version": "prague",
        "abi": output["abi"],
        "bytecode": output["bytecode"],
    }
    return json.dumps(fields, indent=1, sort_keys=True) + "\n"


def main() -> int:
    for source in sorted(HERE.glob("*.vy")):
        target = source.with_suffix(".json")
        target.write_text(compiled(source), "utf-8")
        print(f"{target.name}: {target.stat().st_size} bytes", file=sys.stderr)
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
