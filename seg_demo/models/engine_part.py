"""A part of a network that is eager until its compiled form has been made, in the background, and has proved to agree."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from seg_demo.models import engine_cache, engine_openvino, engine_worker

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint

_log = logging.getLogger(__name__)

# Largest difference from eager, relative to the largest value of the same output. A label can then only differ where the two
# best logits are closer than twice that. fp32 in another order of sums gives 1e-6 to 2e-5 (measured); bf16 gives 1e-2, of
# which the share of equal labels tells more.
TOLERANCE = {"fp32": 1e-4, "bf16": 0.1}
# Forms compiled for sizes of their own that are kept.
KEPT = 4
# Sizes that are remembered as seen once.
REMEMBERED = 64


class DisagreementError(Exception):
    """The compiled form computes something else."""


class Part:
    """A module of one tensor that returns a tuple of tensors.

    Args:
        name: for the log.
        module: on the CPU, in eval mode; its weights never change.
        streams: calls at the same time.
        free: axes of the input that one compiled form leaves open; every other size has a form of its own. Of such forms the
            first is compiled at once and further ones when their size comes again, and the last :data:`KEPT` are kept.
        smaller: an input of another size on the open axes, made from one that came; without open axes it is not called.
        about: what distinguishes the module from others that look and weigh the same.
        precision: ``fp32`` or ``bf16``; the eager answers are always in fp32.
        alike: the share in [0, 1] of an output's decisions that another output has too; None where there are none.

    Attributes:
        agreement: ``alike`` of eager's outputs and the compiled form's, on the example of the last one; None before.
    """

    def __init__(
        self,
        name: str,
        module: nn.Module,
        streams: int,
        free: tuple[int, ...],
        smaller: Callable[[Tensor], Tensor],
        about: str,
        precision: str = "fp32",
        alike: Callable[[tuple[Tensor, ...], tuple[Tensor, ...]], float] | None = None,
    ) -> None:
        self.name, self.module = name, module
        self._streams, self._free, self._smaller, self._about = streams, free, smaller, about
        self._precision, self._alike = precision, alike
        self.agreement: float | None = None
        self._lock = threading.Lock()
        self._forms: OrderedDict[tuple[int, ...], engine_openvino.Compiled] = OrderedDict()
        self._seen: OrderedDict[tuple[int, ...], bool] = OrderedDict()
        self._pending: set[tuple[int, ...]] = set()
        self._eager_for_good = False
        self._weight = sum(each.numel() * each.element_size() for each in module.parameters())

    def __call__(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The module's answer.

        Args:
            batch: float32 on the CPU.
        """
        place = self._place(batch)
        form = self.form(place)
        if form is not None and batch.numel():
            try:
                return form(batch)
            except (RuntimeError, MemoryError) as error:
                self._give_up(f"failed ({error})")
        found = self.module(batch)
        self._learn(place, batch, found)
        return found

    @property
    def nbytes(self) -> int:
        """Memory of the compiled weights in bytes: a form has its own, laid out for the processor."""
        return self._weight * len(self._forms)

    def form(self, place: tuple[int, ...]) -> engine_openvino.Compiled | None:
        """The compiled form for a size (-1 on open axes), if there is one already."""
        with self._lock:
            if place in self._forms:
                self._forms.move_to_end(place)
            return self._forms.get(place)

    def _place(self, batch: Tensor) -> tuple[int, ...]:
        return tuple(-1 if axis in self._free else size for axis, size in enumerate(batch.shape))

    def _learn(self, place: tuple[int, ...], batch: Tensor, found: tuple[Tensor, ...]) -> None:
        """Have the form for this size compiled, unless that is under way, impossible, or not worth it yet."""
        with self._lock:
            worth = not (self._forms or self._pending) or place in self._seen
            self._seen[place] = True
            while len(self._seen) > REMEMBERED:
                self._seen.popitem(last=False)
            if self._eager_for_good or place in self._pending or not worth or not batch.numel():
                return
            self._pending.add(place)
        # Whoever called may write into what they got; and what inference mode made cannot be traced.
        with torch.inference_mode(False):
            example, expected = batch.detach().clone(), tuple(each.detach().clone() for each in found)
        engine_worker.submit(partial(self._compile, place, example, expected))

    def _compile(self, place: tuple[int, ...], example: Tensor, expected: tuple[Tensor, ...]) -> None:
        """Make, check and install a form; whatever goes wrong leaves the part eager."""
        try:
            if not all(bool(torch.isfinite(each).all()) for each in expected):
                return  # broken weights, of which postprocessing tells
            graph, cache = self._graph(example)
            engine_worker.check()
            form = engine_openvino.compile(graph, list(place), self._streams, cache, self._precision)
            engine_worker.check()
            answer = form(example)
            agree(answer, expected, TOLERANCE[self._precision])
            if -1 in place:
                self._check_smaller(form, example)
        except engine_worker.EndingError:
            raise
        except Exception as error:
            self._give_up(f"was not taken ({type(error).__name__}: {error})")
        else:
            with self._lock:
                self._forms[place] = form
                while len(self._forms) > KEPT:
                    self._forms.popitem(last=False)
            told = ""
            if self._alike is not None:
                self.agreement = self._alike(expected, answer)
                told = f"; {self.agreement:.4%} of its decisions on the first input are eager's in fp32"
            _log.info("%s: compiled with OpenVINO in %s for inputs of %s%s.", self.name, self._precision, place, told)
        finally:
            with self._lock:
                self._pending.discard(place)

    def _check_smaller(self, form: engine_openvino.Compiled, example: Tensor) -> None:
        """That no size of the example has become a constant of the graph."""
        other = self._smaller(example).contiguous()
        if other.shape != example.shape:
            engine_worker.check()
            with torch.no_grad():
                expected = self.module(other)
            agree(form(other), expected, TOLERANCE[self._precision])

    def _graph(self, example: Tensor) -> tuple[Any, Path | None]:
        """The module's graph and the folder to compile in: from the disk, or traced and written there."""
        fresh: list[Any] = []

        def fill(folder: Path) -> None:
            fresh.append(engine_openvino.convert(self.module, example))
            engine_worker.check()
            engine_openvino.save(fresh[0], folder / "graph.xml")

        name = engine_cache.key(self.module, self._about)
        for _ in range(2):
            engine_worker.check()
            folder = engine_cache.entry(name, fill)
            if folder is None:
                return (fresh[0] if fresh else engine_openvino.convert(self.module, example)), None
            try:
                return engine_openvino.read(folder / "graph.xml"), folder
            except RuntimeError:
                engine_cache.drop(folder)
        raise OSError(f"what was just written to {folder} cannot be read")

    def _give_up(self, why: str) -> None:
        with self._lock:
            first, self._eager_for_good = not self._eager_for_good, True
            self._forms.clear()
            self.agreement = None
        if first:
            _log.warning("%s: the form compiled with OpenVINO %s; eager torch goes on.", self.name, why)


def agree(found: tuple[Tensor, ...], expected: tuple[Tensor, ...], tolerance: float) -> None:
    """Compare a compiled form's outputs with eager's.

    Args:
        found: of the form.
        expected: of eager, finite.
        tolerance: of each output, relative to its largest value.

    Raises:
        DisagreementError: other shapes, or a larger difference; the message has both.
    """
    shapes = [tuple(each.shape) for each in found], [tuple(each.shape) for each in expected]
    if shapes[0] != shapes[1]:
        raise DisagreementError(f"outputs of {shapes[0]} instead of {shapes[1]}")
    for mine, theirs in zip(found, expected, strict=True):
        scale = float(theirs.abs().max())
        apart = float((mine - theirs).abs().max())
        # Written so that NaN disagrees.
        if not apart <= tolerance * scale:
            raise DisagreementError(f"outputs differ by {apart:.3g} where the largest is {scale:.3g}")


def same_winners(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The share of places where the first outputs have the same largest channel; with one channel, the same sign.

    Args:
        expected: the first is (B, C, ...) logits.
        found: as ``expected``.
    """
    mine, theirs = (each[0] > 0 if each[0].shape[1] == 1 else each[0].argmax(1) for each in (found, expected))
    return float((mine == theirs).double().mean())


def same_signs(expected: tuple[Tensor, ...], found: tuple[Tensor, ...]) -> float:
    """The share of places where the first outputs have the same sign, which decides a mask whose logits they are."""
    return float(((found[0] > 0) == (expected[0] > 0)).double().mean())


def described(checkpoint: Checkpoint) -> str:
    """What a checkpoint's network was built with."""
    return f"{checkpoint.architecture} {len(checkpoint.labels)} {json.dumps(checkpoint.options, sort_keys=True)}"


def crop(checkpoint: Checkpoint) -> Callable[[Tensor], Tensor]:
    """Makes about a quarter of a batch of images, of a size that the network takes."""
    step = checkpoint.preprocessing.multiple

    def cropped(batch: Tensor) -> Tensor:
        height, width = (max(step, side // 2 // step * step) for side in batch.shape[-2:])
        return batch[..., :height, :width]

    return cropped
