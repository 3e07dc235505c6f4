"""OpenVINO: parts of a network are eager until their compiled form has been made, in the background, and has proved to agree.

One thread compiles, one network at a time and not in a crowd, and is never killed in native code. Compiled networks are kept on disk,
a folder per network and version of everything that shapes it. The only module that imports openvino.
"""

from __future__ import annotations

import atexit
import hashlib
import json
import logging
import os
import queue
import shutil
import sys
import threading
import time
import uuid
import warnings
from collections import OrderedDict
from collections.abc import Callable
from contextlib import ExitStack, suppress
from functools import lru_cache, partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

import torch
from torch import Tensor, nn

from seg_demo import networks
from seg_demo.core import locked, requests
from seg_demo.inputs.images import give_back

if TYPE_CHECKING:
    from seg_demo.networks.base import Network

_log = logging.getLogger(__name__)

# What compiling takes for a while: so many copies of the weights and so many bytes, which heavy networks need more of (measured: a
# SegFormer-B0 0.4 GiB, an RF-DETR-Seg-Nano 0.7, a Mask2Former Swin-T of 800 x 1088 2.6).
COPIES, COMPILING, HEAVY = 4, 512 << 20, 2 << 30
# Forms compiled for sizes of their own that are kept.
MOST_FORMS = 4
# Sizes that are remembered as seen once.
REMEMBERED = 64


class Form(Protocol):
    """A module compiled for inputs of some size; any number of threads may call it.

    Attributes:
        nbytes: memory that it takes beside the module's, in bytes.
    """

    nbytes: int

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The module's outputs, memory of the caller's own. RuntimeError or MemoryError: it failed."""


class Compiler(Protocol):
    """Makes forms, in the background thread.

    Attributes:
        name: for the log.
        precision: row of ``TOLERANCE`` that its forms compute in.
    """

    name: str
    precision: str

    def compile(self, module: nn.Module, example: Tensor, place: tuple[int, ...], about: str) -> Form:
        """The form of a module for inputs like ``example``, -1 in ``place`` being axes that it leaves open; ``about`` is
        what distinguishes the module from others that look and weigh the same. It may raise what it likes."""


class Part:
    """A module of one tensor that returns a tuple of tensors.

    Args:
        name: for the log.
        module: in eval mode; its weights never change.
        compiler: makes its forms.
        free: axes of the input that one compiled form leaves open; every other size has a form of its own. Of such forms the
            first is compiled at once and further ones when their size comes again.
        smaller: an input of another size on the open axes, made from one that came; without open axes it is not called.
        about: as for :meth:`Compiler.compile`.
        alike: the share in [0, 1] of an output's decisions that another output has too; None where there are none.
        slack: factor to the tolerance, for outputs of which each is scaled by itself.

    Attributes:
        name, module, compiler, about: these.
        agreement: ``alike`` of eager's outputs and the compiled form's, on the example of the last one; None before.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        compiler: Compiler,
        free: tuple[int, ...],
        smaller: Callable[[Tensor], Tensor],
        about: str,
        alike: Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], float] | None = None,
        slack: float = 1.0,
    ) -> None:
        self.name, self.module = name, module
        self.compiler, self.about, self._free, self._smaller, self._alike = compiler, about, free, smaller, alike
        self._tolerance = slack * TOLERANCE[compiler.precision]
        self.agreement: float | None = None
        self._lock = threading.Lock()
        self._forms: OrderedDict[tuple[int, ...], Form] = OrderedDict()
        self._seen: OrderedDict[tuple[int, ...], bool] = OrderedDict()
        self._pending: set[tuple[int, ...]] = set()
        self._eager_for_good = False

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The module's answer.

        Args:
            batch: float32, where the module is.
        """
        place = self.place(batch)
        form = self.form(place)
        if form is not None and batch.numel():
            try:
                return form(batch)
            except (RuntimeError, MemoryError) as error:
                self._give_up(f"failed ({error})")
        found = self.module(batch)
        self._learn(place, batch, found)
        return found

    def settle(self, idle: Callable[[], object]) -> None:
        """Wait until what is being compiled is there, or is known to be impossible.

        Args:
            idle: called now and then.
        """
        while self._pending and not _ending.wait(LOOK_SECONDS):
            requests.check()
            idle()

    @property
    def nbytes(self) -> int:
        """Memory of all forms in bytes, beside the module's."""
        with self._lock:
            return sum(form.nbytes for form in self._forms.values())

    def form(self, place: tuple[int, ...]) -> Form | None:
        """The compiled form for a size (-1 on open axes), if there is one already."""
        with self._lock:
            if place in self._forms:
                self._forms.move_to_end(place)
            return self._forms.get(place)

    def place(self, batch: Tensor) -> tuple[int, ...]:
        """The sizes of a batch, -1 on open axes."""
        return tuple(-1 if axis in self._free else size for axis, size in enumerate(batch.shape))

    def _learn(self, place: tuple[int, ...], batch: Tensor, found: tuple[Tensor, ...]) -> None:
        """Have the form for this size compiled, unless that is under way, impossible, or not worth it yet."""
        with self._lock:
            worth = not (self._forms or self._pending) or place in self._seen
            self._seen[place] = True
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            # Whoever began before the form was there comes here after it.
            if self._eager_for_good or place in self._pending or place in self._forms or not worth or not batch.numel():
                return
            self._pending.add(place)
        # Whoever called may write into what they got; and what inference mode made cannot be traced.
        with torch.inference_mode(False):
            example, expected = batch.detach().clone(), tuple(output.detach().clone() for output in found)
        submit_compiling(partial(self._compile, place, example, expected))

    def _compile(self, place: tuple[int, ...], example: Tensor, expected: tuple[Tensor, ...]) -> None:
        """Make, check and install a form; whatever goes wrong leaves the part eager."""
        try:
            if not all(bool(torch.isfinite(output).all()) for output in expected):
                return  # broken weights, of which postprocessing tells
            form = self.compiler.compile(self.module, example, place, self.about)
            check_ending()
            answer = form(example)
            agree(answer, expected, self._tolerance)
            if -1 in place:
                self._check_smaller(form, example)
        except EndingError:
            raise
        except Exception as error:
            self._give_up(f"was not taken ({type(error).__name__}: {error})")
        else:
            with self._lock:
                if self._eager_for_good:
                    return  # another form failed meanwhile
                self._forms[place] = form
                while len(self._forms) > MOST_FORMS:
                    self._forms.popitem(last=False)
            told = ""
            if self._alike is not None:
                self.agreement = self._alike(expected, answer)
                told = f"; {self.agreement:.4%} of its decisions on the first input are eager torch's"
            how = self.compiler
            _log.info("%s: compiled with %s in %s for inputs of %s%s.", self.name, how.name, how.precision, place, told)
        finally:
            with self._lock:
                self._pending.discard(place)

    def _check_smaller(self, form: Form, example: Tensor) -> None:
        """That no size of the example has become a constant of the graph."""
        other = self._smaller(example).contiguous()
        if other.shape != example.shape:
            check_ending()
            with torch.no_grad():
                expected = self.module(other)
            agree(form(other), expected, self._tolerance)

    def _give_up(self, why: str) -> None:
        with self._lock:
            first, self._eager_for_good = not self._eager_for_good, True
            self._forms.clear()
            self.agreement = None
        if first:
            _log.warning("%s: the form compiled with %s %s; eager torch goes on.", self.name, self.compiler.name, why)


def described(network: Network) -> str:
    """What a network was built with."""
    return f"{network.name} {len(network.labels)} {json.dumps(network.options, sort_keys=True)}"


def crop(network: Network) -> Callable[[Tensor], Tensor]:
    """Makes about a quarter of a batch of images, of a size that the network takes."""
    step = network.preprocessing.multiple

    def cropped(batch: Tensor) -> Tensor:
        height, width = (max(step, side // 2 // step * step) for side in batch.shape[-2:])
        return batch[..., :height, :width]

    return cropped


# Largest difference from eager, relative to the largest value of the same output. A label can then only differ where the two
# best logits are closer than twice that. fp32 in another order of sums gives 1e-6 to 2e-5 (measured); bf16 gives 1e-2, of
# which the share of equal labels tells more.
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}


class DisagreementError(Exception):
    """The compiled form computes something else."""


def agree(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    """Compare a compiled form's outputs with eager's.

    Args:
        found: of the form.
        expected: of eager, finite.
        tolerance: of each output, relative to its largest value.

    Raises:
        DisagreementError: other shapes, or a larger difference; the message has both.
    """
    shapes = [tuple(output.shape) for output in found], [tuple(output.shape) for output in expected]
    if shapes[0] != shapes[1]:
        raise DisagreementError(f"outputs of {shapes[0]} instead of {shapes[1]}")
    for mine, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        apart = float((mine.float() - theirs.float()).abs().max())
        # Written so that NaN disagrees.
        if not apart <= tolerance * scale:
            raise DisagreementError(f"outputs differ by {apart:.3g} where the largest is {scale:.3g}")


def same_winners(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The share of places where the first outputs have the same largest channel; with one channel, the same sign.

    Args:
        expected: the first is (B, C, ...) logits.
        found: as ``expected``.
    """
    mine, theirs = (outputs[0] > 0 if outputs[0].shape[1] == 1 else outputs[0].argmax(1) for outputs in (found, expected))
    return float((mine == theirs).double().mean())


def same_signs(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The share of places where the first outputs have the same sign, which decides a mask whose logits they are."""
    return float(((found[0] > 0) == (expected[0] > 0)).double().mean())


# Least recently used folders go when all together take more, in bytes.
LIMIT = 2 << 30
_LIBRARIES = ("openvino", "torch", "torchvision", "transformers", "timm", "segmentation-models-pytorch")


def cache_root() -> Path:
    """The cache folder of this user (``XDG_CACHE_HOME``, else ``~/.cache``); not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seg-demo" / "engine"


@lru_cache(maxsize=1)
def _versions() -> bytes:
    """Names every library and line of code that takes part in a forward pass."""
    about = hashlib.sha256()
    for name in _LIBRARIES:
        try:
            about.update(f"{name} {version(name)}\n".encode())
        except PackageNotFoundError:
            about.update(f"{name} none\n".encode())
    for path in sorted(Path(networks.__file__).parent.glob("*.py")):
        about.update(path.read_bytes())
    return about.digest()


def cache_key(module: nn.Module, options: str) -> str:
    """Names a module by its structure, its weights and the versions of what runs it; 32 hex digits.

    Args:
        module: of which the graph is made.
        options: what it was built with, as far as its printed layers do not tell.
    """
    about = hashlib.sha256(_versions())
    about.update(f"{module!r}\n{options}\n".encode())
    for name, tensor in module.state_dict().items():
        about.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        about.update(memoryview(tensor.detach().cpu().contiguous().numpy().reshape(-1)).cast("B"))
    return about.hexdigest()[:32]


def cache_entry(name: str, fill: Callable[[Path], None]) -> Path | None:
    """The folder of a key, filled by whoever comes first, in this process or another.

    Args:
        name: of :func:`cache_key`.
        fill: writes the content of a new folder; may raise what it likes.

    Returns:
        The folder, or None where nothing can be written.
    """
    folder = cache_root() / name
    if not folder.is_dir():
        fresh = cache_root() / f".{name}.{uuid.uuid4().hex[:8]}"
        try:
            fresh.mkdir(parents=True)
        except OSError:
            return None
        try:
            fill(fresh)
            try:
                os.replace(fresh, folder)
            except OSError:
                # Another process was faster, or the disk is full; the first is as good.
                if not folder.is_dir():
                    return None
        finally:
            shutil.rmtree(fresh, ignore_errors=True)
    try:
        os.utime(folder)
        prune_cache(LIMIT, keep=folder)
    except OSError:
        pass
    return folder


def drop_entry(folder: Path) -> None:
    """Remove a folder whose content turned out to be damaged, or that takes too much.

    Under another name first: whoever looks meanwhile finds the whole folder or none.
    """
    gone = folder.with_name(f".{folder.name}.{uuid.uuid4().hex[:8]}")
    try:
        os.replace(folder, gone)
    except OSError:
        return  # another was faster, or nothing can be written here
    shutil.rmtree(gone, ignore_errors=True)


def prune_cache(limit: int, keep: Path) -> None:
    """Remove least recently used folders until the rest takes at most ``limit`` bytes; ``keep`` stays in any case."""
    found = []
    for folder in cache_root().iterdir():
        if folder.is_dir() and not folder.name.startswith("."):
            size = sum(path.stat().st_size for path in folder.rglob("*") if path.is_file())
            found.append((folder.stat().st_mtime, size, folder))
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found):
        if total > limit and folder != keep:
            drop_entry(folder)
            total -= size


# A command that segments one image and ends should not pay for compiling; seconds after an answer.
PAUSE = 0.5
# Compiling takes the processor from those who wait for an answer, and makes later answers faster: in a crowd it waits, but no
# longer than this, for some crowds never end.
CROWDED_SECONDS = 20.0
# How often it looks whether the crowd has gone.
LOOK_SECONDS = 0.2
ALONE_SECONDS = 60.0  # so long another process may compile the same network; then this one compiles without keeping it

_jobs: queue.Queue[tuple[Callable[[], None], Callable[[], bool], float]] = queue.Queue()
_lock = threading.Lock()
_thread: threading.Thread | None = None
_ending = threading.Event()


class EndingError(Exception):
    """The process is about to end; a job stops where it is."""


def submit_compiling(job: Callable[[], None]) -> None:
    """Run a job later in the background thread; while others wait for the request that this thread works on, later still.

    Args:
        job: raises nothing but :class:`EndingError`.
    """
    global _thread
    _jobs.put((job, requests.crowded(), time.monotonic() + CROWDED_SECONDS))
    with _lock:
        if _thread is None or not _thread.is_alive():
            _thread = threading.Thread(target=_work, name="engine", daemon=True)
            _thread.start()


def check_ending() -> None:
    """To be called between the stages of a job.

    Raises:
        EndingError: the process is about to end.
    """
    if _ending.is_set():
        raise EndingError


def drain_compiling(timeout: float) -> bool:
    """Wait until everything that was submitted has been done.

    Args:
        timeout: seconds to wait at most.

    Returns:
        Whether it was done in time.
    """
    until = time.monotonic() + timeout
    with _jobs.all_tasks_done:
        while _jobs.unfinished_tasks and time.monotonic() < until:
            _jobs.all_tasks_done.wait(until - time.monotonic())
        return not _jobs.unfinished_tasks


def _work() -> None:
    while True:
        job, crowded, until = _jobs.get()
        try:
            _ending.wait(PAUSE)
            while crowded() and time.monotonic() < until and not _ending.is_set():
                _ending.wait(LOOK_SECONDS)
            if not _ending.is_set():
                job()
        except EndingError:
            pass
        finally:
            # Before the next wait: what the job holds is large, and what tracing and compiling took larger.
            del job, crowded
            give_back()
            _jobs.task_done()


@atexit.register
def _end() -> None:
    """Let the stage under way finish: a daemon thread that meets the end of the interpreter in C++ aborts the process."""
    _ending.set()
    drain_compiling(60.0)


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
    give_back()  # every layer's output, which the tracer has kept
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


def compile(model: Any, shape: list[int], streams: int, cache: Path | None, precision: str = "fp32", channels_last: bool = False) -> Compiled:
    """A graph compiled for this processor.

    Args:
        model: of :func:`convert` or :func:`read`.
        shape: of its input, -1 for what may vary from call to call.
        streams: calls that may run at the same time; they share torch's number of threads.
        cache: folder where OpenVINO keeps what it compiled, one process at a time, or None.
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
    with ExitStack() as held:
        if cache is not None and _alone_in(cache, held):
            config["CACHE_DIR"] = str(cache)
        return Compiled(_core().compile_model(model, "CPU", config), channels_last)


def _alone_in(folder: Path, held: ExitStack) -> bool:
    """Whether no other process compiles in a folder until ``held`` ends: OpenVINO writes in place, which kills whoever has that file mapped."""
    with suppress(OSError):  # removed meanwhile
        for _ in range(1 + int(ALONE_SECONDS / LOOK_SECONDS)):
            with ExitStack() as tried:
                if free := tried.enter_context(locked(folder, wait=False)):
                    held.enter_context(tried.pop_all())
            if free or free is None:  # None: this disk has no locks
                return bool(free)
            check_ending()
            time.sleep(LOOK_SECONDS)
    return False


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
        heavy: whether working memory is given back after each call, which takes 4 % longer then.
    """

    nbytes, heavy = 0, False

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
        if self.heavy:
            with suppress(RuntimeError):  # another call is under way, and will do it
                self._model.release_memory()
        return tuple(output.permute(0, 3, 1, 2) if output.dim() == 4 else output for output in found) if self._last else found


class OpenVino:
    """Compiles modules for the CPU and keeps what it made on the disk; see :class:`seg_demo.inference.openvino.Compiler`.

    Args:
        streams: calls at the same time.
        precision: ``fp32`` or ``bf16``.
        channels_last: as for :func:`compile`.
        heavy: of :class:`seg_demo.networks.base.EngineHints`.
        free: bytes of memory that are free; None where that is not looked at.
    """

    name = "OpenVINO"

    def __init__(
        self, streams: int, precision: str = "fp32", channels_last: bool = False, heavy: bool = False, free: Callable[[], int] | None = None
    ) -> None:
        self.precision = precision
        self.streams, self.channels_last, self._heavy, self._free = streams, channels_last, heavy, free

    def compile(self, module: nn.Module, example: Tensor, place: tuple[int, ...], about: str) -> Compiled:
        """The compiled form of a module.

        Args:
            module: of one tensor, returns a tuple of tensors; in eval mode.
            example: float32, an input.
            place: the input's sizes, -1 on axes that are left open.
            about: what distinguishes the module from others that look and weigh the same.

        Raises:
            MemoryError: less is free than compiling takes; a server that is killed for memory answers nobody.
        """
        nbytes = sum(parameter.numel() * parameter.element_size() for parameter in module.parameters())
        wanted = (HEAVY if self._heavy else COMPILING) + COPIES * nbytes
        if self._free is not None and (free := self._free()) < wanted:
            raise MemoryError(f"compiling takes {wanted >> 20} MiB, and {free >> 20} MiB are free")
        graph, cache = stored_graph(module, example, about)
        check_ending()
        form = compile(graph, list(place), self.streams, cache, self.precision, self.channels_last)
        form.nbytes, form.heavy = nbytes, self._heavy
        return form


def stored_graph(module: nn.Module, example: Tensor, about: str) -> tuple[Any, Path | None]:
    """A module's graph and the folder to compile in: from the disk, or traced and written there."""
    fresh: list[Any] = []

    def fill(folder: Path) -> None:
        fresh.append(convert(module, example))
        check_ending()
        save(fresh[0], folder / "graph.xml")

    name = cache_key(module, about)
    for _ in range(2):
        check_ending()
        folder = cache_entry(name, fill)
        if folder is None:
            return (fresh[0] if fresh else convert(module, example)), None
        try:
            return read(folder / "graph.xml"), folder
        except RuntimeError:
            drop_entry(folder)
    raise OSError(f"what was just written to {folder} cannot be read")
