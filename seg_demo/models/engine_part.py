"""A part of a network that is eager until its compiled form has been made, in the background, and has proved to agree."""

from __future__ import annotations

import json
import logging
import threading
from collections import OrderedDict
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Protocol

import torch
from torch import Tensor, nn

from seg_demo.models import engine_worker
from seg_demo.models.engine_agree import TOLERANCE, agree

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint

_log = logging.getLogger(__name__)

# Forms compiled for sizes of their own that are kept.
KEPT = 4
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
        precision: row of ``engine_agree.TOLERANCE`` that its forms compute in.
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
        self._compiler, self._free, self._smaller, self._about, self._alike = compiler, free, smaller, about, alike
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
        """Memory of all forms in bytes, beside the module's."""
        with self._lock:
            return sum(form.nbytes for form in self._forms.values())

    def form(self, place: tuple[int, ...]) -> Form | None:
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
            form = self._compiler.compile(self.module, example, place, self._about)
            engine_worker.check()
            answer = form(example)
            agree(answer, expected, self._tolerance)
            if -1 in place:
                self._check_smaller(form, example)
        except engine_worker.EndingError:
            raise
        except Exception as error:
            self._give_up(f"was not taken ({type(error).__name__}: {error})")
        else:
            with self._lock:
                if self._eager_for_good:
                    return  # another form failed meanwhile
                self._forms[place] = form
                while len(self._forms) > KEPT:
                    self._forms.popitem(last=False)
            told = ""
            if self._alike is not None:
                self.agreement = self._alike(expected, answer)
                told = f"; {self.agreement:.4%} of its decisions on the first input are eager torch's"
            how = self._compiler
            _log.info("%s: compiled with %s in %s for inputs of %s%s.", self.name, how.name, how.precision, place, told)
        finally:
            with self._lock:
                self._pending.discard(place)

    def _check_smaller(self, form: Form, example: Tensor) -> None:
        """That no size of the example has become a constant of the graph."""
        other = self._smaller(example).contiguous()
        if other.shape != example.shape:
            engine_worker.check()
            with torch.no_grad():
                expected = self.module(other)
            agree(form(other), expected, self._tolerance)

    def _give_up(self, why: str) -> None:
        with self._lock:
            first, self._eager_for_good = not self._eager_for_good, True
            self._forms.clear()
            self.agreement = None
        if first:
            _log.warning("%s: the form compiled with %s %s; eager torch goes on.", self.name, self._compiler.name, why)


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
