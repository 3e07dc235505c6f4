"""What a network runs on: the device, how precisely, whether an image fits into its memory (known before any work starts), and the
engine, which gives the same answers as eager torch, sooner, and never later than eager would give them.

A network begins in eager torch. Its first answer is also the example by which a background thread compiles it and checks
the result; from then on the compiled one answers. Whatever fails to compile, to run, or to agree stays eager, and the log
says so once. The compiler is OpenVINO, for CPUs.

What is compiled are *parts*: tensor in, tuple of tensors out. A network of logits or of class queries is one. Mask R-CNN is three: the
pyramid of features with the proposals' scores, the box head, and the mask head; what lies between them (anchors,
suppression, pooling) depends on the data, and torchvision computes it as ever.

Mask R-CNN on the engine: its convolutions and dense layers compiled, torchvision's own code between them.

Where every size of an input is compiled for itself, only the pyramid is: how many regions the heads get is never the same.

On a CPU, two steps of torchvision's code take one thread only and more than they need; their results stay the same to the
last bit. Pooling a region does not depend on other regions, so they are shared out among threads. And whether a candidate
survives suppression depends only on better ones, so with many candidates the best are looked at first.
"""

from __future__ import annotations

import copy
import math
import os
from collections import OrderedDict
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from weakref import WeakSet

import torch
from torch import Tensor, nn
from torch.utils._pytree import tree_flatten, tree_unflatten

from seg_demo.core import LOOKS, BadImageError, Message, SettingsError, sentences, settings
from seg_demo.inference.openvino import Compiler, Part, crop, described, same_signs, same_winners
from seg_demo.inference.tiled import Forward, Plan, plan
from seg_demo.masks.resize import each

if TYPE_CHECKING:
    import numpy as np

    from seg_demo.core import Segmentation
    from seg_demo.core.settings import Settings
    from seg_demo.networks.base import Network

# Regions for which sharing the pooling out is worth it.
SHARED = 32
# Candidates that are looked at first: more than the thousand from which on torchvision suppresses class by class.
FIRST = 4000
# The pyramid has fifteen outputs, each compared by its own scale, sixty layers down. With random weights, the coarsest differ
# from eager's by up to 1e-4 of their largest value; measured against float64, eager's own error is as large.
SLACK = 4.0


class DetectorEngine:
    """A Mask R-CNN's forward pass in three parts, each eager at first and compiled once it has proved to agree.

    Args:
        network: in eval mode, not to be trained any more.
        compiler: makes its compiled forms.
    """

    def __init__(self, network: Network, compiler: Compiler) -> None:
        module, about = network.module, described(network)
        self._module, self._forward = module, network.forward_with_maps
        self._levels = _levels(module)
        heads = module.roi_heads
        self._pyramid = Part(
            "maskrcnn pyramid", _Pyramid(module), compiler, (0, 2, 3), crop(network), f"{about} pyramid", slack=SLACK
        )
        self._boxes = Part("maskrcnn box head", _Boxes(heads), compiler, (0,), _half, f"{about} boxes", same_winners)
        self._masks = Part("maskrcnn mask head", _Masks(heads), compiler, (0,), _half, f"{about} masks", same_signs)
        self.parts = [self._pyramid, self._boxes, self._masks]
        replaced: dict[str, Any] = {
            "box_head": self._boxes,
            "box_predictor": _same,
            "mask_head": self._masks,
            "mask_predictor": lambda found: found[0],
        }
        if next(module.parameters()).device.type == "cpu":
            replaced |= {
                "box_roi_pool": _Shared(heads.box_roi_pool),
                "mask_roi_pool": _Shared(heads.mask_roi_pool),
                "postprocess_detections": _Suppressed(heads),
            }
        self._heads = _with(heads, **replaced)

    def __call__(self, batch: Tensor) -> list[dict[str, Tensor]]:
        """Detections of a batch, as the network's ``forward`` gives them.

        Args:
            batch: float32 (B, 3, H, W), normalised, where the network is.
        """
        return self._run(batch)[0]

    def with_statistics(self, batch: Tensor) -> tuple[list[dict[str, Tensor]], Tensor]:
        """Detections, and :func:`seg_demo.inference.engine.statistics`.

        Args:
            batch: as for a call.
        """
        found, maps = self._run(batch)
        return found, statistics(maps)

    def _run(self, batch: Tensor) -> tuple[list[dict[str, Tensor]], list[Tensor]]:
        scores: list[tuple[list[Tensor], list[Tensor]]] = []

        def backbone(images: Tensor) -> OrderedDict[str, Tensor]:
            found = self._pyramid(images)
            count = len(self._levels)
            scores.append((list(found[count : 2 * count]), list(found[2 * count :])))
            return OrderedDict(zip(self._levels, found[:count], strict=True))

        stand_in = SimpleNamespace(
            transform=self._module.transform,
            backbone=backbone,
            rpn=_with(self._module.rpn, head=lambda features: scores.pop()),
            roi_heads=self._heads,
        )
        return self._forward(stand_in, batch)

    def settle(self, idle: Callable[[], object]) -> None:
        """As :meth:`seg_demo.inference.openvino.Part.settle`, of every part."""
        for part in self.parts:
            part.settle(idle)

    @property
    def nbytes(self) -> int:
        """Memory of the compiled weights in bytes, beside the eager ones."""
        return sum(part.nbytes for part in self.parts)

    @property
    def agreement(self) -> float | None:
        """The share of candidates' classes and of masks' cells on the first image, the smaller of both, that are eager's
        for the same features; None before it is known."""
        return min((part.agreement for part in self.parts if part.agreement is not None), default=None)


class _Pyramid(nn.Module):
    """Features of every level, then the objectness of every level, then the box deltas of every level."""

    def __init__(self, module: nn.Module) -> None:
        super().__init__()
        self.backbone, self.head, self.training = module.backbone, module.rpn.head, False

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Args: images (B, 3, h, w), normalised and padded."""
        features = list(self.backbone(images).values())
        objectness, deltas = self.head(features)
        return (*features, *objectness, *deltas)


class _Boxes(nn.Module):
    """Class logits and box deltas of pooled features."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.head, self.predictor, self.training = heads.box_head, heads.box_predictor, False

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        """Args: pooled (N, channels, 7, 7)."""
        return tuple(self.predictor(self.head(pooled)))


class _Masks(nn.Module):
    """Mask logits of pooled features."""

    def __init__(self, heads: nn.Module) -> None:
        super().__init__()
        self.head, self.predictor, self.training = heads.mask_head, heads.mask_predictor, False

    def forward(self, pooled: Tensor) -> tuple[Tensor, ...]:
        """Args: pooled (N, channels, 14, 14)."""
        return (self.predictor(self.head(pooled)),)


class _Shared:
    """torchvision's pooling of regions, by as many threads as torch has."""

    def __init__(self, pool: nn.Module) -> None:
        self._pool = pool

    def __call__(self, features: dict[str, Tensor], boxes: list[Tensor], sizes: list[tuple[int, int]]) -> Tensor:
        """As ``MultiScaleRoIAlign`` takes them: levels, regions per image, sizes of the images."""
        threads = torch.get_num_threads()
        if len(boxes) != 1 or len(boxes[0]) < SHARED or threads == 1:
            return self._pool(features, boxes, sizes)

        parts = boxes[0].tensor_split(min(threads, len(boxes[0])))
        return torch.cat(each(lambda part: self._pool(features, [part], sizes), parts))


class _Suppressed:
    """torchvision's ``RoIHeads.postprocess_detections``, first with a score that only the best candidates exceed.

    As many survivors as may be returned are all that matters. If there are so many among the best candidates, the others
    cannot change them; if there are fewer, all candidates are looked at.
    """

    def __init__(self, heads: nn.Module) -> None:
        self._whole, self._heads = type(heads).postprocess_detections, heads

    def __call__(
        self, class_logits: Tensor, box_regression: Tensor, proposals: list[Tensor], sizes: list[tuple[int, int]]
    ) -> tuple[list[Tensor], list[Tensor], list[Tensor]]:
        """Boxes, scores and labels per image, best first."""
        heads = self._heads
        if len(proposals) == 1:
            scores = class_logits.softmax(-1)[:, 1:].flatten()
            if int((scores > heads.score_thresh).sum()) > 2 * FIRST:
                least = float(scores.kthvalue(scores.numel() - FIRST).values)
                strict = SimpleNamespace(
                    box_coder=heads.box_coder,
                    score_thresh=least,
                    nms_thresh=heads.nms_thresh,
                    detections_per_img=heads.detections_per_img,
                )
                found = self._whole(strict, class_logits, box_regression, proposals, sizes)
                if least >= heads.score_thresh and len(found[0][0]) == heads.detections_per_img:
                    return found
        return self._whole(heads, class_logits, box_regression, proposals, sizes)


def _levels(module: nn.Module) -> list[str]:
    """Names of the pyramid's levels, in their order: the pooled ones and torchvision's extra one."""
    return [*module.backbone.body.return_layers.values(), "pool"]


def _half(batch: Tensor) -> Tensor:
    return batch[: (len(batch) + 1) // 2]


def _same(found: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return found


def _with(module: nn.Module, **replaced: Any) -> nn.Module:
    """A shallow copy of a module in which some children are other callables; the original is left alone."""
    other = copy.copy(module)
    other._modules = {name: child for name, child in module._modules.items() if name not in replaced}
    other.__dict__.update(replaced)
    return other


class WholeEngine:
    """A forward pass in one part, eager at first and compiled once that has proved to agree.

    Args:
        network: in eval mode, not to be trained any more.
        compiler: makes its compiled form.

    Attributes:
        part: the pass.
    """

    def __init__(self, network: Network, compiler: Compiler) -> None:
        about = described(network) + " and statistics" * (network.familiarity is not None)
        self._forward, free = _Forward(network), network.engine.free
        self.part = Part(network.name, self._forward, compiler, free, crop(network), about, same_winners)

    def __call__(self, batch: Tensor) -> Any:
        """A batch's answer, as the network's ``forward`` gives it.

        Args:
            batch: float32 (B, 3, h, w) where the network is.
        """
        found = self.part(batch)
        return self._forward.answer(batch, found[:-1] if self._forward.with_maps else found)

    def with_statistics(self, batch: Tensor) -> tuple[Any, Tensor]:
        """The answer, and :func:`seg_demo.inference.engine.statistics`, of a network that has a familiarity.

        Args:
            batch: as for a call.
        """
        *found, statistics_ = self.part(batch)
        return self._forward.answer(batch, found), statistics_

    def settle(self, idle: Callable[[], object]) -> None:
        """As :meth:`seg_demo.inference.openvino.Part.settle`."""
        self.part.settle(idle)

    @property
    def nbytes(self) -> int:
        """Memory of the compiled weights in bytes, beside the eager ones."""
        return self.part.nbytes

    @property
    def agreement(self) -> float | None:
        """The share of the first image's labels, at the logits' size, that are eager's, or of its queries' classes; None before it is
        known."""
        return self.part.agreement


Engine = WholeEngine | DetectorEngine


def choose(network: Network, device: torch.device, wanted: str, streams: int, precision: str = "auto") -> Engine | None:
    """The engine that a network is served with.

    Args:
        network: in eval mode, not to be trained any more.
        device: where its weights are.
        wanted: ``auto`` (OpenVINO on a CPU where it is installed), ``eager`` or ``openvino``.
        streams: images that are segmented at the same time.
        precision: ``bf16`` lets OpenVINO compute in it; else fp32.

    Returns:
        A callable in place of the network's ``forward`` with ``nbytes`` and ``agreement``, or None for eager torch.

    Raises:
        SettingsError: what is asked for cannot serve there.
    """
    if (wanted == "openvino" or precision == "bf16") and (found := settings.engine_refusals(wanted, precision, device.type)):
        raise SettingsError(sentences(*found))
    hints = network.engine
    if hints is None or wanted == "eager" or device.type != "cpu" or not settings.has_openvino():
        return None
    from seg_demo.inference.openvino import OpenVino

    compiler = OpenVino(streams, "bf16" if precision == "bf16" else "fp32", hints.channels_last, hints.heavy, available_memory)
    return (DetectorEngine if hints.detector else WholeEngine)(network, compiler)


class _Forward(nn.Module):
    """A network's ``forward`` as a module of one tensor that returns a tuple of tensors, whatever its answer consists of."""

    def __init__(self, network: Network) -> None:
        super().__init__()
        with_maps = network.familiarity is not None
        self.network, self._forward, self.with_maps = network.module, network.forward_with_maps if with_maps else network.forward, with_maps
        # An answer by image has as many parts as the batch, which is then no open axis.
        self._layouts, self._by_count = {}, 0 not in network.engine.free
        self.training = False

    def forward(self, batch: Tensor) -> tuple[Tensor, ...]:
        """The tensors of the answer to a batch (B, 3, h, w), and the statistics of the encoder's maps where they are wanted."""
        raw, more = self._forward(self.network, batch), ()
        if self.with_maps:
            raw, maps = raw
            more = (statistics(maps),)
        tensors, layout = tree_flatten(raw)
        if not torch.jit.is_tracing():
            self._layouts[len(batch) * self._by_count] = layout
        return (*tensors, *more)

    def answer(self, batch: Tensor, tensors: Sequence[Tensor]) -> Any:
        """What the network's ``forward`` gives, of its tensors; only what has been answered before is ever compiled."""
        return tree_unflatten(list(tensors), self._layouts[len(batch) * self._by_count])


def statistics(maps: Sequence[Tensor]) -> Tensor:
    """What is known of a batch's pictures: every channel's mean, then every channel's deviation, map by map.

    Args:
        maps: (B, C, h, w) each, of the encoder.

    Returns:
        (B, 2 * sum of C), fp32.
    """
    found = []
    for level in maps:
        # Both axes at once: flattened, OpenVINO would first copy every map out of its layout with the channels last.
        level = level.float()
        mean = level.mean((2, 3), keepdim=True)
        found += [mean.flatten(1), ((level - mean) ** 2).mean((2, 3)).sqrt()]
    return torch.cat(found, dim=1)


# What a forward pass takes per pixel of its batch, and whatever the size is.
FORWARD, FLOOR = 800, 64 << 20


def memory_needed(network: Network, height: int, width: int, detail: str, confidence: bool, second: bool = False) -> int:
    """Bytes that a prediction takes above the loaded model and the decoded image: an estimate, rather too high.

    Args:
        network: any.
        height: of the image, in pixels.
        width: of the image, in pixels.
        detail: ``whole`` or ``full``.
        confidence: whether it is asked for.
        second: also for second looks, where the network takes such.
    """
    cut = plan(network, height, width) if detail == "full" else None
    batch = math.prod(cut.grid.tile if cut else network.preprocessing.fitted(height, width)) * (network.enlarged**2 if second else 1)
    strips = _strips(cut, len(network.labels)) if cut and not network.task.objects else 0
    # Of other channels than a person sees all are numbers of 32 bits before they are resized.
    floats = 0 if network.preprocessing.samples is None or cut else 8 * network.channels
    return FLOOR + round(FORWARD * batch) + height * width * (network.memory_per_pixel(cut is not None, confidence) + floats) + strips


def _strips(cut: Plan, classes: int) -> int:
    """Bytes of the blended logits that wait, if they are as fine as the pixels; six times a tile for what works on it."""
    wide = cut.grid.lefts[-1] + cut.grid.tile[1]
    return 4 * classes * (cut.grid.overlap * wide + 6 * cut.grid.tile[0] * cut.grid.tile[1])


def check_memory(network: Network, height: int, width: int, detail: str, confidence: bool) -> bool:
    """Refuse an image that would not fit into the memory that is free now.

    Args:
        As for :func:`memory_needed`.

    Returns:
        Whether second looks fit too. Where they do not, the first is the answer: of so much memory always.

    Raises:
        BadImageError: it would not; the message says what size would.
    """
    free = available_memory()
    wanted = memory_needed(network, height, width, detail, confidence)
    if wanted <= free:
        return memory_needed(network, height, width, detail, confidence, second=True) <= free
    scale = _largest_scale(network, height, width, detail, confidence, free)
    if scale is None:
        advice = Message("memory.none_fits")
    else:
        key = "memory.fits_in_parts" if detail == "full" else "memory.fits_in_full_detail"
        advice = Message(key, width=max(1, math.floor(width * scale)), height=max(1, math.floor(height * scale)))
    raise BadImageError("memory.image_too_large", width=width, height=height, wanted=wanted / 2**30, free=free / 2**30, advice=advice)


def _largest_scale(
    network: Network, height: int, width: int, detail: str, confidence: bool, free: int
) -> float | None:
    """The largest factor in (0, 1), to a thousandth, at which the image fits; None if none does."""
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        tall, wide = (max(1, math.floor(side * middle / 1000)) for side in (height, width))
        if memory_needed(network, tall, wide, detail, confidence) <= free:
            low = middle
        else:
            high = middle
    return low / 1000 if low else None


CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))

# Limit, use and statistics of this container: cgroup 2, then 1.
CGROUP_FILES = (
    (CGROUP_LIMITS[0], Path("/sys/fs/cgroup/memory.current"), Path("/sys/fs/cgroup/memory.stat")),
    (CGROUP_LIMITS[1], Path("/sys/fs/cgroup/memory/memory.usage_in_bytes"), Path("/sys/fs/cgroup/memory/memory.stat")),
)


def choose_device(wanted: str) -> torch.device:
    """The device that a setting or an argument names.

    Args:
        wanted: ``auto`` (CUDA, then Apple MPS, then CPU), ``cpu``, ``cuda``, ``cuda:N`` or ``mps``.

    Raises:
        SettingsError: no such device here; the message lists those that are.
    """
    there = ["cpu"]
    if torch.backends.mps.is_available():
        there.insert(0, "mps")
    if torch.cuda.is_available():
        there[:0] = ["cuda", *(f"cuda:{index}" for index in range(torch.cuda.device_count()))]
    if wanted == "auto":
        return torch.device(there[0])
    if wanted not in there:
        raise SettingsError("devices.not_there", wanted=wanted, there=", ".join(there))
    return torch.device(wanted)


# Modules with numbers that fp16 does not hold, as an answer has shown.
TOO_LARGE: WeakSet[nn.Module] = WeakSet()


def halves(device: torch.device, precision: str) -> bool:
    """Whether a forward pass is in fp16 where that is right: only CUDA has it, and torch never gets bf16.

    Args:
        device: where the pass runs.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``.
    """
    return device.type == "cuda" and precision in ("auto", "fp16")


def arithmetic(module: nn.Module, device: torch.device, precision: str, work: Callable[[], Any]) -> Any:
    """What a forward pass gives: in fp16 where a GPU gains from it, with fp32 where fp16 would be wrong.

    Autocast keeps normalisation and softmax in fp32, so results agree with fp32 to fp16's accuracy. Features of some checkpoints are larger than
    any number of fp16: where nobody has asked for it, the pass is repeated in fp32, in which the module computes from then on.

    Args:
        module: of the network.
        device: where the pass runs.
        precision: as for :func:`halves`.
        work: the pass.
    """
    if halves(device, precision) and not (precision == "auto" and module in TOO_LARGE):
        with torch.autocast(device.type, dtype=torch.float16):
            raw = work()
        if precision != "auto" or all(finite(part) for part in tree_flatten(raw)[0] if isinstance(part, Tensor)):
            return raw
        TOO_LARGE.add(module)
    return work()


def total_memory(device: torch.device) -> int:
    """Memory of the device that models live in, in bytes; for a CPU what this container may use."""
    if device.type == "cuda":
        return torch.cuda.get_device_properties(device).total_memory
    total = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") if hasattr(os, "sysconf") else 8 << 30
    for path in CGROUP_LIMITS:
        try:
            total = min(total, int(path.read_text(encoding="ascii")))
        except (OSError, ValueError):
            continue
    return total


def available_memory() -> int:
    """Ordinary memory that this process may still take without swapping, in bytes; half of the machine's where nobody says."""
    free = free_memory()
    return total_memory(torch.device("cpu")) // 2 if free is None else free


def free_memory() -> int | None:
    """Ordinary memory that this container still has without swapping, in bytes; None where nobody says."""
    try:
        lines = Path("/proc/meminfo").read_text(encoding="ascii").splitlines()
        free = next(int(line.split()[1]) << 10 for line in lines if line.startswith("MemAvailable:"))
    except (OSError, StopIteration, ValueError):
        return None
    for limit, used, statistics in CGROUP_FILES:
        try:
            most, now = (int(path.read_text(encoding="ascii")) for path in (limit, used))
            # Pages of files are given back when memory gets short.
            cached = dict(line.split() for line in statistics.read_text(encoding="ascii").splitlines())
            free = min(free, most - now + int(cached.get("inactive_file", cached.get("total_inactive_file", 0))))
        except (OSError, ValueError):
            continue
    return max(0, free)


def cache_budget(chosen: Settings, device: torch.device) -> int:
    """How many bytes of loaded models are kept."""
    return chosen.cache_bytes or total_memory(device) // 4


def out_of_memory(error: BaseException) -> bool:
    """Whether an error means that a device had too little memory; MPS and the CPU allocator only say so in words."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    words = str(error).lower()
    return isinstance(error, RuntimeError) and any(phrase in words for phrase in ("out of memory", "can't allocate memory"))


def laid_out(batch: torch.Tensor, module: torch.nn.Module) -> torch.Tensor:
    """The batch in the memory layout that the module's weights were put into."""
    weight = next((parameter for parameter in module.parameters() if parameter.dim() == 4 and parameter.shape[1] > 1), None)
    last = weight is not None and not weight.is_contiguous() and weight.is_contiguous(memory_format=torch.channels_last)
    return batch.contiguous(memory_format=torch.channels_last) if last else batch


def on_cpu(module: torch.nn.Module) -> torch.nn.Module:
    """A copy on the CPU that never needs memory on the GPU; the original serves on."""
    memo: dict[int, Any] = {id(parameter): torch.nn.Parameter(parameter.detach().cpu(), False) for parameter in module.parameters()}
    memo.update({id(buffer): buffer.detach().cpu() for buffer in module.buffers()})
    return copy.deepcopy(module, memo)


def finite(raw: Any) -> bool:
    """Whether every number in what a network said is one."""
    if isinstance(raw, torch.Tensor):
        return not raw.is_floating_point() or bool(torch.isfinite(raw.sum()) or torch.isfinite(raw).all())
    return all(map(finite, raw.values() if isinstance(raw, dict) else raw))


def fetched(raw: Any) -> Any:
    """Tensors, however nested in lists and dicts, on the CPU; floating ones as fp32."""
    if isinstance(raw, torch.Tensor):
        return raw.to("cpu", torch.float32) if raw.is_floating_point() else raw.cpu()
    if isinstance(raw, dict):
        return {key: fetched(value) for key, value in raw.items()}
    if isinstance(raw, tuple):
        return tuple(fetched(part) for part in raw)
    return [fetched(part) for part in raw]


def looked_closer(again: Forward | None, network: Network, result: Segmentation, pixels: np.ndarray, confidence: bool) -> Segmentation:
    """A result, or that of a second look, where the network takes one (:meth:`Network.closer`) and more of its objects are right.

    A score is about the chance that an object is right, so that their sum is about how many are.

    Args:
        again: a batch (1, C, H, W) to the network's answer, and where it was computed; None takes no second look.
        network: that gave the result.
        result: of the first look.
        pixels: uint8 (H, W, 3), RGB, or other channels: what the result is of.
        confidence: as for the first.

    Returns:
        One of the two; ``seen`` is the size of the look that it is of.
    """
    if again is None or (closer := network.closer(result)) is None:
        return result
    second = closer.postprocess(again(closer.preprocess(pixels))[0], result.height, result.width, confidence)
    first, then = (sum(segment.score or 0.0 for segment in look.segments) for look in (result, second))
    return replace(second, seen=closer.preprocessing.fitted(result.height, result.width)) if then > first else result


def averaged(answer: Forward, looks: int) -> Forward:
    """Answers that are the mean of those to a picture and to its mirror images (test-time augmentation; Krizhevsky et al. 2012).

    Args:
        answer: a batch (B, C, H, W) to its logits (B, K, h, w), and where they were computed.
        looks: of :data:`seg_demo.core.requests.LOOKS`.
    """

    def mean(batch: Tensor) -> tuple[Tensor, torch.device]:
        total, where = answer(batch)
        for sides in LOOKS[looks]:
            total = total + answer(batch.flip(sides))[0].flip(sides)
        return total / looks, where

    return mean if looks > 1 else answer
