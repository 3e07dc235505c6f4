"""The bundled networks as ONNX files in ONNX Runtime, beside eager torch and beside the engine that serves them."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import subjects
from benchmarks.measure import Row, compare
from seg_demo import networks
from seg_demo.inference import engine, onnx
from seg_demo.networks.base import INPUT, Network
from seg_demo.serving.catalog import BUNDLED_FOLDER

NAMES = ("unet-cells", "segformer-cells", "maskrcnn-cells")


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: the U-Net alone.
    """
    for name in NAMES[:1] if quick else NAMES:
        yield from of_network(name, 3 if quick else 7)


def of_network(name: str, repeats: int) -> Iterator[Row]:
    """A bundled network's forward pass of a picture of 0.3 MP: ONNX Runtime beside eager torch, and beside the engine.

    Args:
        name: menu key.
        repeats: timed pairs.
    """
    import onnxruntime

    network = networks.load(BUNDLED_FOLDER / name)
    network.module.requires_grad_(False)
    graph = network.graph()
    served = networks.load(BUNDLED_FOLDER / name)
    served.module.eval().requires_grad_(False)
    served.optimise(torch.device("cpu"))
    openvino = engine.choose(served, torch.device("cpu"), "openvino", 1)
    image = subjects.photo(480, 640)
    batch = network.preprocess(image)
    with tempfile.TemporaryDirectory() as folder:
        onnx.export(network, Path(folder) / "model.onnx")
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        # Threads that wait in circles would take the processor from the peer, whose turn it is.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        session = onnxruntime.InferenceSession(str(Path(folder) / "model.onnx"), options, providers=["CPUExecutionProvider"])

    def runtime() -> Any:
        found = session.run(None, {INPUT: batch.numpy()})
        return graph.raw(tuple(map(torch.from_numpy, found)))

    def eager() -> Any:
        with torch.inference_mode():
            return network.forward(network.module, batch)

    def compiled() -> Any:
        with torch.inference_mode():
            return openvino(batch)

    def settled() -> None:
        compiled()
        subjects.compiled()

    def check(mine: Any, theirs: Any) -> str:
        return _labels(network, image, mine, theirs)

    work = f"{network.family.title} ({name}) in ONNX Runtime, 480 x 640"
    # Rows are known by their work.
    yield compare(f"{work}, beside eager torch", "eager torch", runtime, eager, check, repeats=repeats, memory=False)
    yield compare(f"{work}, beside the engine", "OpenVINO, as the demo serves it", runtime, compiled, check, repeats=repeats, memory=False, settle=settled)


def _labels(network: Network, image: np.ndarray, mine: Any, theirs: Any) -> str:
    """How many pixels have other labels."""
    maps = [network.postprocess(raw, *image.shape[:2]).above(0.5).id_map for raw in (mine, theirs)]
    other = int((maps[0] != maps[1]).sum())
    return "every label equal" if not other else f"{other} of {image.shape[0] * image.shape[1]} pixels differ"
