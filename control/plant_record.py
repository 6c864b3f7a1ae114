"""The plant's folder as an entry of the ledger: a hash of every file, recorded at a start when it is another than before.

Must not know what the files say.
"""

from __future__ import annotations

import hashlib
import logging
from pathlib import Path

from control.evidence import PLANT, Evidence
from ledger.entry import JSON
from ledger.errors import LedgerError
from twin.errors import TwinloopError
from twin.plant import Plant

FILES_MAX = 1_000  # of a plant's folder that are hashed; a plant has some ten
NAMED_MAX = 200  # of them that the entry names: it holds 65,535 bytes
FILE_BYTES_MAX = 64 << 20  # larger ones are data, not definitions
WAIT_S = 5.0
log = logging.getLogger("twinloop.plant")


def hashes(folder: Path) -> dict[str, str]:
    """SHA-256 by path, of the folder's files but hidden ones, in order of names."""
    found: dict[str, str] = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        hidden = any(part.startswith((".", "__pycache__")) for part in name.split("/"))
        if hidden or not path.is_file() or path.stat().st_size > FILE_BYTES_MAX:
            continue
        found[name] = hashlib.sha256(path.read_bytes()).hexdigest()
        if len(found) == FILES_MAX:
            break
    return found


def digest(files: dict[str, str]) -> str:
    """SHA-256 over a line `HASH  NAME` for each file, as `sha256sum` prints them."""
    return hashlib.sha256("".join(f"{sha}  {name}\n" for name, sha in files.items()).encode()).hexdigest()


def record(evidence: Evidence, folder: Path, plant: Plant) -> None:
    """Where the plant is another than at the last start. What cannot be recorded is told, and recorded at the next."""
    try:
        files = hashes(folder)
        before = next((str(e.body["sha256"]) for _, e in evidence.entries(1, PLANT)), "")
        found = digest(files)
        if found == before:
            return
        named: dict[str, JSON] = dict(list(files.items())[:NAMED_MAX])
        body: dict[str, JSON] = {
            "plant": plant.id, "sha256": found, "before": before, "files": named, "devices": len(plant.devices),
            "twins": len(plant.twins), "points": len(plant.points),
        }  # fmt: skip
        evidence.record(PLANT, body, wait_s=WAIT_S).result(WAIT_S)
    except (OSError, LedgerError, TwinloopError, TimeoutError) as error:
        log.error("that the plant was changed is not in the ledger: %s", error)
