"""A model as a file: tensors and a manifest in one safetensors file, checked by hash; must not know what models do.

Nothing in it is ever run: safetensors holds numbers only, and a pickle is refused by its first bytes.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from twin.errors import BadRequest, NotFound

FORMAT = 1
CODE = version("twinloop")
MANIFEST = "twinloop"  # key in the metadata of the file
BYTES_MAX = 1 << 30
PICKLES = (b"\x80", b"PK\x03\x04")  # a pickle; a zip as torch.save writes it

Tensors = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a model is and where it comes from.

    Attributes:
        kind: row of `ml.kinds`, such as `ridge`.
        task: forecast, anomaly, rul or dynamics.
        settings: what its constructor takes, plain values.
        columns, units: of the data it was trained on, in order.
        data_hash, feature_hash: SHA-256; the second is empty where the model takes values as they are.
        code: version of Twinloop.
        seed: of its training.
        metrics: on data held out.
        parent: hash of the model that it came from, if it did.
    """

    kind: str
    task: str
    settings: Mapping[str, Any]
    columns: tuple[str, ...]
    units: tuple[str, ...]
    data_hash: str
    feature_hash: str
    code: str
    seed: int
    metrics: Mapping[str, Any] = field(default_factory=dict)
    parent: str = ""
    format: int = FORMAT


@dataclass(frozen=True, slots=True)
class ModelFile:
    """A manifest with its tensors; `hash` is that of both, bit for bit."""

    manifest: Manifest
    tensors: Tensors

    @property
    def hash(self) -> str:
        digest = hashlib.sha256(json.dumps(asdict(self.manifest), sort_keys=True).encode())
        for name in sorted(self.tensors):
            tensor = np.ascontiguousarray(self.tensors[name])
            digest.update(f"\0{name}\0{tensor.dtype.str}\0{tensor.shape}\0".encode())
            digest.update(tensor.tobytes())
        return digest.hexdigest()


def write(path: Path, model: ModelFile) -> None:
    """One file; it replaces what is there only when it is whole."""
    kept = {**asdict(model.manifest), "hash": model.hash}
    part = path.with_name(f".{path.name}.part")
    tensors = {name: np.ascontiguousarray(t) for name, t in model.tensors.items()}
    save_file(tensors, part, metadata={MANIFEST: json.dumps(kept, sort_keys=True)})
    part.replace(path)


def read(path: Path) -> ModelFile:
    """
    Raises:
        NotFound: there is no such file. BadRequest: it is a pickle, no model, of a later format, or was changed.
    """
    if not path.is_file():
        raise NotFound(f"no model file {path}")
    with path.open("rb") as file:
        start = file.read(9)
    # A safetensors file begins with the length of its header, whose first byte may be that of a pickle, then "{".
    if start.startswith(PICKLES) and start[8:] != b"{":
        raise BadRequest(f"{path} is a pickle: opening it may run anything", "models are safetensors files")
    if path.stat().st_size > BYTES_MAX:
        raise BadRequest(f"{path} has more than {BYTES_MAX >> 20} MB", "no model of ours is so large")
    try:
        with safe_open(path, framework="numpy") as file:
            text = (file.metadata() or {}).get(MANIFEST)
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118 - no mapping
    except SafetensorError as error:
        raise BadRequest(f"{path} is no model: {error}", "models are safetensors files") from None
    if text is None:
        raise BadRequest(f"{path} has no manifest", "name a file that train wrote")
    kept = json.loads(text)
    if kept.get("format") != FORMAT:
        raise BadRequest(f"{path} is of format {kept.get('format')}, this reads {FORMAT}", "use a newer Twinloop")
    told = kept.pop("hash", "")
    found = ModelFile(Manifest(**{**kept, "columns": tuple(kept["columns"]), "units": tuple(kept["units"])}), tensors)
    if found.hash != told:
        raise BadRequest(f"{path} was changed after it was written", "take it from the registry again")
    return found
