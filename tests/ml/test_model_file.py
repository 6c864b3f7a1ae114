"""Models as files: nothing runs, every changed bit is found, pickles are refused."""

from __future__ import annotations

import pickle
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from ml.model_file import Manifest, ModelFile, read, write
from twin.errors import BadRequest, NotFound

MADE = ModelFile(
    Manifest("ridge", "forecast", {"lookback": 96}, ("flow",), ("m3/h",), "d" * 64, "", "0.1.0", 7, {"mse": 0.4}),
    {"weights": np.arange(12, dtype=np.float32).reshape(3, 4), "bias": np.zeros(4)},
)


def test_a_model_comes_back_as_it_was(tmp_path: Path) -> None:
    write(tmp_path / "m.safetensors", MADE)
    back = read(tmp_path / "m.safetensors")
    assert back.manifest == MADE.manifest and back.hash == MADE.hash
    assert np.array_equal(back.tensors["weights"], MADE.tensors["weights"])
    assert [f.name for f in tmp_path.iterdir()] == ["m.safetensors"]


def test_the_hash_knows_manifest_and_tensors() -> None:
    other = {**MADE.tensors, "bias": np.full(4, 1e-300)}
    assert (
        len({MADE.hash, replace(MADE, tensors=other).hash, replace(MADE, manifest=replace(MADE.manifest, seed=8)).hash})
        == 3
    )


@pytest.mark.parametrize("place", [0.5, 0.99])
def test_a_changed_file_is_refused(tmp_path: Path, place: float) -> None:
    path = tmp_path / "m.safetensors"
    write(path, MADE)
    content = bytearray(path.read_bytes())
    content[int(place * len(content))] ^= 1
    path.write_bytes(content)
    with pytest.raises(BadRequest):
        read(path)


def test_pickles_are_refused_before_they_are_opened(tmp_path: Path) -> None:
    (tmp_path / "a").write_bytes(pickle.dumps({"a": 1}))
    torch.save({"a": torch.zeros(2)}, tmp_path / "b")
    for name in ("a", "b"):
        with pytest.raises(BadRequest, match="pickle"):
            read(tmp_path / name)
    (tmp_path / "c").write_bytes(b"nothing of a kind")
    with pytest.raises(BadRequest, match="no model"):
        read(tmp_path / "c")
    with pytest.raises(NotFound):
        read(tmp_path / "d")


def test_no_model_is_taken_for_a_pickle_whatever_the_length_of_its_manifest(tmp_path: Path) -> None:
    first_bytes = set()
    for letters in range(0, 300, 4):
        model = replace(MADE, manifest=replace(MADE.manifest, settings={"name": "x" * letters}))
        write(tmp_path / "m", model)
        first_bytes.add((tmp_path / "m").read_bytes()[0])
        assert read(tmp_path / "m").hash == model.hash
    assert 0x80 in first_bytes
