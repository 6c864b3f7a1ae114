"""A model as ONNX for the edge: the network alone, and its int8 form where that pays; each checked to tell the same.

Needs the extra `edge` (onnx, onnxruntime), imported only here. Must not know registries.
"""

from __future__ import annotations

import json
import logging
import statistics
import time
import warnings
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from ml.model_file import ModelFile
from twin.errors import Refused, Unavailable

if TYPE_CHECKING:  # torch takes seconds
    from ml.edge import Edge as Network

TOLERANCE = 1e-4  # largest difference from torch, in spreads of what the network tells
TOLERANCE_INT8 = 0.05  # the same of the int8 form, as a root mean square
PAYS, SLOWER = 0.9, 1.1  # int8 is kept where it takes so much of the time, or so much of the bytes and is hardly slower
ROUNDS = 15
OPSET = 17
MANIFEST = "twinloop"


@dataclass(frozen=True, slots=True)
class Written:
    """What was written, and how it compares.

    Attributes:
        difference: largest from torch, in spreads of the output; of int8 the root mean square.
        ms: median of one call with all inputs on one thread.
    """

    file: str
    kind: str
    bytes: int
    difference: float
    tolerance: float
    ms: float
    kept: bool
    why: str


def export(model: ModelFile, network: Network, file: Path) -> list[Written]:
    """Write FILE.onnx, and FILE.int8.onnx where that pays.

    Raises:
        Unavailable: onnx or onnxruntime is missing. Refused: what was written does not tell the same.
    """
    try:
        onnx, onnxruntime = import_module("onnx"), import_module("onnxruntime")
        quantization = import_module("onnxruntime.quantization")
    except ImportError as error:
        raise Unavailable(f"{error.name} is not installed", "pip install 'twinloop[edge]'") from None
    import torch

    inputs = torch.from_numpy(network.inputs)
    with torch.inference_mode():
        told = network.module(inputs).numpy()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of the exporter that needs no further package, about others
        torch.onnx.export(
            network.module, (inputs,), str(file), input_names=["seen"], output_names=["told"], opset_version=OPSET,
            dynamic_axes={"seen": {0: "n"}, "told": {0: "n"}}, dynamo=False,
        )  # fmt: skip
    _describe(onnx, file, model, network)
    found, took_ms = _run(onnxruntime, file, network.inputs)
    found[:1] = _run(onnxruntime, file, network.inputs[:1])[0]  # any number at once
    difference = float(np.abs(_apart(found, told)).max())
    if not difference <= TOLERANCE:
        file.unlink()
        raise Refused(
            f"{file} tells other values than the model: {difference:.2g} spreads", "keep the safetensors file"
        )
    plain = Written(str(file), "float32", file.stat().st_size, difference, TOLERANCE, took_ms, True, "tells the same")
    return [plain, _int8((onnx, onnxruntime, quantization), model, network, plain, told)]


def _int8(
    tools: tuple[Any, Any, Any], model: ModelFile, network: Network, plain: Written, told: NDArray[Any]
) -> Written:
    """Weights of 8 bits; removed again where it is neither smaller nor faster, or tells something else."""
    onnx, onnxruntime, quantization = tools
    source = Path(plain.file)
    file = source.with_suffix(".int8.onnx")
    logging.disable(logging.WARNING)  # it advises a step that does nothing for dynamic quantisation
    try:
        extra = {"DefaultTensorType": onnx.TensorProto.FLOAT}  # of shapes that are not inferred
        quantization.quantize_dynamic(source, file, weight_type=quantization.QuantType.QInt8, extra_options=extra)
    finally:
        logging.disable(logging.NOTSET)
    _describe(onnx, file, model, network)
    found, took_ms = _run(onnxruntime, file, network.inputs)
    difference = float(np.sqrt(np.mean(_apart(found, told) ** 2)))
    size = file.stat().st_size
    if not difference <= TOLERANCE_INT8:
        kept, why = False, f"differs by {difference:.2g} spreads, {TOLERANCE_INT8:g} allowed"
    else:
        shares = size / plain.bytes, took_ms / plain.ms
        kept = shares[1] <= PAYS or (shares[0] <= PAYS and shares[1] <= SLOWER)
        why = f"{shares[0]:.2f} of the bytes, {shares[1]:.2f} of the time" + ("" if kept else ": does not pay")
    if not kept:
        file.unlink()
    return Written(str(file), "int8", size, difference, TOLERANCE_INT8, took_ms, kept, why)


def _apart(found: NDArray[Any], told: NDArray[Any]) -> NDArray[Any]:
    """In spreads of each number over the inputs; one that hardly moves is measured by the others."""
    spread = told.std(axis=0)
    difference: NDArray[Any] = (found - told) / np.maximum(spread, 1e-3 * max(float(spread.max()), 1e-9))
    return difference


def _run(onnxruntime: Any, file: Path, inputs: NDArray[Any]) -> tuple[NDArray[Any], float]:
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    took: list[float] = []
    for _ in range(ROUNDS):
        started = time.perf_counter()
        (found,) = session.run(None, {"seen": inputs})
        took.append(1000 * (time.perf_counter() - started))
    return found, statistics.median(took)


def _describe(onnx: Any, file: Path, model: ModelFile, network: Network) -> None:
    """The manifest, the hash of the model, and what goes in and out."""
    document = onnx.load(str(file))
    del document.metadata_props[:]
    told = document.metadata_props.add()
    told.key = MANIFEST
    words = {"hash": model.hash, "takes": network.takes, "tells": network.tells}
    told.value = json.dumps({**asdict(model.manifest), **words}, sort_keys=True)
    onnx.checker.check_model(document)
    onnx.save(document, str(file))
