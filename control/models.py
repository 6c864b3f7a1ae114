"""What people are told of models and registries, and the carrying of promotions to a ledger; must not print."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from control import model_audit
from control.places import LEDGER, MODELS
from ledger.errors import LedgerError
from ml.model_file import ModelFile
from ml.registry import Promotion, Registry, plain, trail
from ml.stages import Life
from twin.errors import Conflict, TwinloopError, Unavailable

LISTED_MAX = 12  # figures of a list: nested ones and long ones are for `show --json`


def carry(registry: Registry) -> str:
    """Make what was promoted ledger entries where the registry is that of a server; says what became of it."""
    data = registry.folder.parent
    if registry.folder.name != MODELS or not (data / LEDGER).is_dir():
        return ""
    try:
        made = model_audit.record_stopped(data)
    except Unavailable:
        return "the running server makes it a ledger entry"
    except LedgerError as error:  # the promotion is done; its entry is made with the next one, or by the server
        return f"the ledger takes no entry now: {error}"
    return f"{made} ledger entries made" if made else ""


def as_plain(model: ModelFile) -> dict[str, Any]:
    """A manifest with its hash and the size of its tensors."""
    count = sum(int(np.prod(t.shape)) for t in model.tensors.values())
    return {"model": model.hash, **asdict(model.manifest), "numbers": count}


def metrics(model: ModelFile) -> list[tuple[str, str]]:
    """Single figures, for a table."""
    rows = [(k, v) for k, v in model.manifest.metrics.items() if isinstance(v, str | int | float | bool)]
    return [(k, f"{v:.4g}" if isinstance(v, float) else str(v)) for k, v in rows[:LISTED_MAX]]


def listed(registry: Registry, task: str) -> list[dict[str, Any]]:
    """Every model with its stage, newest last."""
    record = registry.record()
    return [_row(registry, life, record) for life in registry.lives().values() if not task or life.task == task]


def _row(registry: Registry, life: Life, record: Sequence[Promotion]) -> dict[str, Any]:
    last = trail(record, life.model)[-1]
    try:
        manifest = registry.read(life.model).manifest
        kind, seed, problem = manifest.kind, manifest.seed, ""
    except TwinloopError as error:
        kind, seed, problem = "", -1, str(error)
    return {
        "model": life.model, "task": life.task, "scope": life.scope, "kind": kind, "seed": seed, "stage": str(life.stage),
        "share": life.share, "time_ns": last.time_ns, "by": last.by, "why": last.why, "problem": problem,
    }  # fmt: skip


def shown(registry: Registry, prefix: str) -> dict[str, Any]:
    """One model: its manifest, its lineage, and what became of it."""
    life = registry.find(prefix)
    return {
        **as_plain(registry.read(life.model)), "scope": life.scope, "stage": str(life.stage), "share": life.share,
        "lineage": list(registry.lineage(life.model)),
        "record": [plain(p) for p in trail(registry.record(), life.model)],
    }  # fmt: skip


def copy(registry: Registry, prefix: str, file: Path) -> dict[str, Any]:
    """The safetensors file under another name; read and checked first.

    Raises:
        Conflict: the file exists.
    """
    life = registry.find(prefix)
    registry.read(life.model)
    if file.exists():
        raise Conflict(f"{file} exists", "name a new file; nothing is overwritten")
    part = file.with_name(f".{file.name}.part")
    shutil.copyfile(registry.path(life.model), part)
    part.replace(file)
    return {"model": life.model, "file": str(file), "bytes": file.stat().st_size}
