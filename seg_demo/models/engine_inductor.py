"""TorchInductor, the compiler behind ``torch.compile``: a module in, kernels for one input size out; on a GPU a CUDA graph.

``torch.compile`` itself decides at every call whether to compile anew, in front of whoever waits, and holds at most eight
results for all modules of a class. Here a size is traced and compiled once, in the background, and nothing else ever is.
A CUDA graph launches all kernels of a pass at once; it reads and writes memory of its own, so inputs are copied in and outputs
out. Weights are shared with the module. Kernels are kept on the disk, where TorchInductor looks for them.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.fx.experimental.proxy_tensor import make_fx

from seg_demo.models import devices, engine_cache, engine_worker

# Sizes per part that are ever compiled: as many as requests of a batch. A minute each, they are no stranger's to spend.
MOST = 8
# Passes before a CUDA graph is recorded, in which libraries allocate what they keep.
WARM_UP = 3
VARIABLE = "TORCHINDUCTOR_CACHE_DIR"

Pass = Callable[[Tensor], tuple[Tensor, ...]]


class Inductor:
    """Compiles modules for inputs of one size; see :class:`seg_demo.models.engine_part.Compiler`.

    Args:
        device: where the modules are, a CPU or CUDA.
        precision: the setting, as for :func:`seg_demo.models.devices.arithmetic`.
    """

    name, most = "TorchInductor", MOST

    def __init__(self, device: torch.device, precision: str) -> None:
        self._device, self._setting = device, precision
        self._graphs: _Graphs | None = None
        self.precision = "fp16" if device.type == "cuda" and precision in ("auto", "fp16") else "fp32"

    def compile(self, module: nn.Module, example: Tensor, place: tuple[int, ...], about: str) -> Eager | Graphed:
        """The compiled form of a module.

        Args:
            module: of one tensor, returns a tuple of tensors; in eval mode.
            example: float32, an input on the device.
            place: its sizes.
            about: of no use here; TorchInductor names what it keeps by the code.
        """
        engine_worker.check()
        with torch.no_grad():
            with devices.arithmetic(self._device, self._setting):
                traced = make_fx(module)(example)
            engine_worker.check()
            compiled = _compiled(traced, example)
            engine_worker.check()
            if self._device.type == "cuda":
                self._graphs = self._graphs or _Graphs(self._device)
                return Graphed(compiled, example, self._graphs)
        return Eager(compiled, example)


def _compiled(traced: torch.fx.GraphModule, example: Tensor) -> Pass:
    """A traced pass in kernels of TorchInductor."""
    _keep_kernels()
    import torch._inductor

    # By default it compiles in processes of its own, which stay.
    return torch._inductor.compile(traced, [example], options={"compile_threads": 1})


def _keep_kernels() -> None:
    """In this user's cache folder, unless the owner has named another one. TorchInductor's default is below ``/tmp``, where
    another user of the machine may have put what would be run."""
    ours, given = str(engine_cache.root().with_name("inductor")), os.environ.get(VARIABLE)
    if given is None:
        os.environ[VARIABLE] = ours
        return
    from torch._inductor.runtime.cache_dir_utils import default_cache_dir

    # Importing it writes the default into the environment.
    if given == default_cache_dir():
        os.environ[VARIABLE] = ours


class Eager:
    """Kernels that are launched one after another and allocate as they go.

    Args:
        compiled: the pass.
        example: an input, of whose memory layout all have to be.
    """

    nbytes = 0

    def __init__(self, compiled: Pass, example: Tensor) -> None:
        self._compiled, self._strides = compiled, example.stride()

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The pass's outputs for a batch of the size that was compiled."""
        if batch.stride() != self._strides:
            batch = torch.empty_strided(batch.shape, self._strides).copy_(batch)
        return tuple(self._compiled(batch))


class _Graphs:
    """What the CUDA graphs of one part share: memory, of which one at a time has use, and the stream they are recorded in."""

    def __init__(self, device: torch.device) -> None:
        self.lock = threading.Lock()
        with torch.cuda.device(device):
            self.stream, self.pool = torch.cuda.Stream(), torch.cuda.graph_pool_handle()


class Graphed:
    """A pass as a CUDA graph. Calls take turns, and each gets outputs of its own; all callers use the same stream.

    Args:
        compiled: the pass; the processor waits for nothing that it computes.
        example: an input on the GPU.
        shared: with the other graphs of the part.

    Attributes:
        nbytes: memory that it holds between calls, beyond what others hold, in bytes.
    """

    def __init__(self, compiled: Pass, example: Tensor, shared: _Graphs) -> None:
        self._input, self._lock = example.clone(), shared.lock
        with torch.cuda.device(example.device):
            here, aside = torch.cuda.current_stream(), shared.stream
            aside.wait_stream(here)
            with torch.cuda.stream(aside):
                for _ in range(WARM_UP):
                    compiled(self._input)
            here.wait_stream(aside)
            torch.cuda.empty_cache()
            before = torch.cuda.memory_reserved()
            self._graph = torch.cuda.CUDAGraph()
            # No other graph of the part runs meanwhile, but other threads compute and allocate, which the default mode
            # would take for mistakes.
            with self._lock, torch.cuda.graph(self._graph, shared.pool, aside, capture_error_mode="thread_local"):
                self._outputs = tuple(compiled(self._input))
            self.nbytes = max(0, torch.cuda.memory_reserved() - before)
        # The graph has the addresses of what only this keeps: constants that the tracer has found.
        self._compiled = compiled

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The pass's outputs for a batch of the example's size, on its device."""
        with self._lock, torch.cuda.device(batch.device):
            self._input.copy_(batch)
            self._graph.replay()
            # The next replay, of this graph or another, writes into the same memory.
            return tuple(each.clone() for each in self._outputs)
