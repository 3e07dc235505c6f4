"""OpenVINO: a traced module in, a compiled one out. The only module that imports openvino."""

from __future__ import annotations

import importlib.util
import queue
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

# The tracer's advice about values it takes for constants; what is compiled is compared with eager instead.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)


def installed() -> bool:
    """Whether openvino can be imported; it is not imported for that."""
    return importlib.util.find_spec("openvino") is not None


@lru_cache(maxsize=1)
def library() -> ModuleType:
    """The package, imported on first use.

    Its companion openvino-telemetry would report every import to an analytics service; it is hidden meanwhile, for which
    openvino has a stub of its own.
    """
    hidden = "openvino_telemetry"
    kept = sys.modules.get(hidden)
    sys.modules[hidden] = None  # type: ignore[assignment]
    try:
        import openvino
        import openvino.frontend.pytorch.ts_decoder
    finally:
        if kept is None:
            del sys.modules[hidden]
        else:
            sys.modules[hidden] = kept
    return openvino


@lru_cache(maxsize=1)
def _core() -> Any:
    return library().Core()


def convert(module: nn.Module, example: Tensor) -> Any:
    """A module as OpenVINO's graph, traced with an input. Neither the module nor anything global is changed.

    Args:
        module: of one tensor, returns a tuple of tensors; in eval mode.
        example: float32, of any shape that the module takes.

    Returns:
        ``openvino.Model`` whose input's dimensions are all dynamic; it may share memory with the module's weights.
    """
    openvino = library()
    with torch.no_grad():
        traced = torch.jit.trace(module, example, check_trace=False)
    # By hand, because openvino.convert_model traces with a patched builtin, which other threads would meet.
    decoder = openvino.frontend.pytorch.ts_decoder.TorchScriptPythonDecoder(traced)
    frontend = openvino.frontend.FrontEndManager().load_by_framework("pytorch")
    return frontend.convert(frontend.load(decoder))


def save(model: Any, path: Path) -> None:
    """Write a graph with its fp32 weights as ``path`` and the file of the same stem that ends in ``.bin``."""
    library().save_model(model, path, compress_to_fp16=False)


def read(path: Path) -> Any:
    """A graph that :func:`save` wrote; its weights stay in the file until they are compiled."""
    return _core().read_model(path)


def compile(model: Any, shape: list[int], streams: int, cache: Path | None, precision: str = "fp32") -> Compiled:
    """A graph compiled for this processor.

    Args:
        model: of :func:`convert` or :func:`read`.
        shape: of its input, -1 for what may vary from call to call.
        streams: calls that may run at the same time; they share torch's number of threads.
        cache: folder where OpenVINO keeps what it compiled, or None.
        precision: ``fp32``, or ``bf16`` where the processor has it.
    """
    model.reshape(shape)
    threads = torch.get_num_threads()
    config: dict[str, Any] = {
        # Where the processor has bf16, OpenVINO takes it unasked, and with random weights one label in fifty changes.
        "INFERENCE_PRECISION_HINT": {"fp32": "f32", "bf16": "bf16"}[precision],
        "EXECUTION_MODE_HINT": "ACCURACY" if precision == "fp32" else "PERFORMANCE",
        "INFERENCE_NUM_THREADS": threads,
        "NUM_STREAMS": min(streams, threads),
        # The processor is shared with torch and with other processes; pinned threads would queue behind them.
        "ENABLE_CPU_PINNING": False,
    }
    if cache is not None:
        config["CACHE_DIR"] = str(cache)
    return Compiled(_core().compile_model(model, "CPU", config))


class Compiled:
    """A compiled graph that any number of threads may call.

    Each running call has an inference request with its own working memory; requests are used again.
    """

    def __init__(self, model: Any) -> None:
        self._model = model
        self._idle: queue.SimpleQueue[Any] = queue.SimpleQueue()

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """Outputs for one input.

        Args:
            batch: float32 on the CPU, of a shape that the graph was compiled for.

        Raises:
            RuntimeError: OpenVINO failed, for want of memory perhaps.
        """
        try:
            request = self._idle.get_nowait()
        except queue.Empty:
            request = self._model.create_infer_request()
        outputs = request.infer({0: batch.detach().contiguous().numpy()}, share_inputs=True)
        found = tuple(torch.from_numpy(outputs[index]) for index in range(len(self._model.outputs)))
        # A request that failed is not used again.
        self._idle.put(request)
        return found
