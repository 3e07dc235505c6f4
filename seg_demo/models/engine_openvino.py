"""OpenVINO: a module in, a compiled one out. The only module that imports openvino."""

from __future__ import annotations

import queue
import sys
import warnings
from functools import lru_cache
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from torch import Tensor, nn

from seg_demo.models import engine_cache, engine_worker

# The tracer's advice about values it takes for constants; what is compiled is compared with eager instead.
warnings.filterwarnings("ignore", category=torch.jit.TracerWarning)


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


def compile(
    model: Any, shape: list[int], streams: int, cache: Path | None, precision: str = "fp32", channels_last: bool = False
) -> Compiled:
    """A graph compiled for this processor.

    Args:
        model: of :func:`convert` or :func:`read`.
        shape: of its input, -1 for what may vary from call to call.
        streams: calls that may run at the same time; they share torch's number of threads.
        cache: folder where OpenVINO keeps what it compiled, or None.
        precision: ``fp32``, or ``bf16`` where the processor has it.
        channels_last: leave outputs (B, C, h, w) in that memory layout, which is the one that kernels compute in.
    """
    if channels_last:
        model = _channels_last(model)
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
    return Compiled(_core().compile_model(model, "CPU", config), channels_last)


def _channels_last(model: Any) -> Any:
    """A graph whose outputs (B, C, h, w) are (B, h, w, C); others, such as (B, D), stay."""
    openvino = library()
    steps = openvino.preprocess.PrePostProcessor(model)
    for index, output in enumerate(model.outputs):
        if output.get_partial_shape().rank.get_length() != 4:
            continue
        steps.output(index).model().set_layout(openvino.Layout("NCHW"))
        steps.output(index).tensor().set_layout(openvino.Layout("NHWC"))
    return steps.build()


class Compiled:
    """A compiled graph that any number of threads may call.

    Each running call has an inference request with its own working memory; requests are used again.

    Args:
        model: of OpenVINO.
        channels_last: whether its outputs are (B, h, w, C).

    Attributes:
        nbytes: memory of its weights in bytes, which are laid out for the processor.
    """

    nbytes = 0

    def __init__(self, model: Any, channels_last: bool) -> None:
        self._model, self._last = model, channels_last
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
        return tuple(each.permute(0, 3, 1, 2) if each.dim() == 4 else each for each in found) if self._last else found


class OpenVino:
    """Compiles modules for the CPU and keeps what it made on the disk; see :class:`seg_demo.models.engine_part.Compiler`.

    Args:
        streams: calls at the same time.
        precision: ``fp32`` or ``bf16``.
        channels_last: as for :func:`compile`.
    """

    name = "OpenVINO"

    def __init__(self, streams: int, precision: str = "fp32", channels_last: bool = False) -> None:
        self.precision = precision
        self._streams, self._last = streams, channels_last

    def compile(self, module: nn.Module, example: Tensor, place: tuple[int, ...], about: str) -> Compiled:
        """The compiled form of a module.

        Args:
            module: of one tensor, returns a tuple of tensors; in eval mode.
            example: float32, an input.
            place: the input's sizes, -1 on axes that are left open.
            about: what distinguishes the module from others that look and weigh the same.
        """
        graph, cache = _graph(module, example, about)
        engine_worker.check()
        form = compile(graph, list(place), self._streams, cache, self.precision, self._last)
        form.nbytes = sum(each.numel() * each.element_size() for each in module.parameters())
        return form


def _graph(module: nn.Module, example: Tensor, about: str) -> tuple[Any, Path | None]:
    """A module's graph and the folder to compile in: from the disk, or traced and written there."""
    fresh: list[Any] = []

    def fill(folder: Path) -> None:
        fresh.append(convert(module, example))
        engine_worker.check()
        save(fresh[0], folder / "graph.xml")

    name = engine_cache.key(module, about)
    for _ in range(2):
        engine_worker.check()
        folder = engine_cache.entry(name, fill)
        if folder is None:
            return (fresh[0] if fresh else convert(module, example)), None
        try:
            return read(folder / "graph.xml"), folder
        except RuntimeError:
            engine_cache.drop(folder)
    raise OSError(f"what was just written to {folder} cannot be read")
