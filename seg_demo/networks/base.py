"""What every network shares: the checkpoint in memory, and how an upload becomes the batch that the network sees.

Which sizes of picture a network takes: tried on shapes alone, without memory or arithmetic.

Position tables, windows and patches fix the size for some networks, and configs say that in as many ways as there are families.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import LabelSet

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# An upload that is 50 times as long as it is high would otherwise grow a shortest side of 520 into gigabytes.
MAX_NETWORK_SIDE = 4096


@dataclass(frozen=True)
class Preprocessing:
    """How an upload becomes a batch. At most one of ``size`` and ``shortest_side`` is set; with neither, the native size.

    Attributes:
        mean: per channel of the network, of values in [0, 1]; subtracted.
        std: per channel of the network, of values in [0, 1]; divides.
        shortest_side: pixels that the shorter side is resized to (up or down), keeping the aspect, or None.
        longest_side: pixels that the longer side never exceeds, keeping the aspect, or None for no cap.
        size: (height, width) that every image is resized to, whatever its aspect, or None.
        multiple: the batch is padded at the bottom and the right to a multiple of this many pixels.
        bgr: the network's channels are blue, green, red, as OpenCV has them, instead of red, green, blue.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    shortest_side: int | None = None
    longest_side: int | None = None
    size: tuple[int, int] | None = None
    multiple: int = 1
    bgr: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if len(self.mean) != 3 or len(self.std) != 3:
            raise BadCheckpointError("preprocessing.no_three_means", mean=self.mean, deviation=self.std)
        if not all(np.isfinite(self.mean)) or not all(np.isfinite(self.std)) or min(self.std) <= 0:
            raise BadCheckpointError("preprocessing.bad_means", mean=self.mean, deviation=self.std)
        if self.size is not None:
            object.__setattr__(self, "size", (int(self.size[0]), int(self.size[1])))
        sides = [side for side in (self.shortest_side, self.longest_side, *(self.size or ())) if side is not None]
        if not all(1 <= side <= MAX_NETWORK_SIDE for side in sides) or not 1 <= self.multiple <= 256:
            raise BadCheckpointError("preprocessing.bad_sides", most=MAX_NETWORK_SIDE, sides=sides, multiple=self.multiple)
        if self.size is not None and self.shortest_side is not None:
            raise BadCheckpointError("preprocessing.two_sizes")

    def fitted(self, height: int, width: int) -> tuple[int, int]:
        """Size in pixels (height, width) that an upload has in the batch, before the padding.

        Args:
            height: of the upload, in pixels.
            width: of the upload, in pixels.
        """
        if self.size is not None:
            return self.size
        scale = 1.0 if self.shortest_side is None else self.shortest_side / min(height, width)
        if self.longest_side is not None:
            scale = min(scale, self.longest_side / max(height, width))
        return max(1, round(height * scale)), max(1, round(width * scale))

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, inverse of :meth:`from_dict`. Keys are transformers' own where it has them."""
        return {
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "rescale_factor": 1 / 255,
            "shortest_side": self.shortest_side,
            "longest_side": self.longest_side,
            "size": None if self.size is None else {"height": self.size[0], "width": self.size[1]},
            "multiple": self.multiple,
            "do_flip_channel_order": self.bgr,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> Preprocessing:
        """Preprocessing from the keys of :meth:`to_dict`; what is missing has its default.

        Args:
            data: content of a preprocessor_config.json.

        Raises:
            BadCheckpointError: a value of the wrong type or out of range.
        """
        try:
            size, shortest = data.get("size"), data.get("shortest_side")
            if isinstance(size, int) and not isinstance(size, bool):
                size = {"height": size, "width": size}
            elif isinstance(size, dict) and "height" not in size and size.get("shortest_edge") is not None:
                size, shortest = None, size["shortest_edge"]
            return cls(
                mean=tuple(data.get("image_mean", IMAGENET_MEAN)),
                std=tuple(data.get("image_std", IMAGENET_STD)),
                shortest_side=_side(shortest),
                longest_side=_side(data.get("longest_side")),
                size=None if size is None else (int(size["height"]), int(size["width"])),
                multiple=int(data.get("multiple", 1)),
                bgr=bool(data.get("do_flip_channel_order", False)),
            )
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise BadCheckpointError("preprocessing.wrong_kind", why=error) from error


def _side(value: object) -> int | None:
    return None if value is None else int(value)


@dataclass
class Checkpoint:
    """A network in memory with everything that a prediction needs.

    Attributes:
        architecture: row of the table of networks.
        module: in eval mode, fp32 on the CPU when loaded.
        labels: the classes; the index is the label id.
        preprocessing: how an upload becomes a batch.
        options: JSON-able arguments: ``build(len(labels), options)`` makes the same module with fresh weights.
        processor: the library's own image processor (transformers', or a :class:`seg_demo.networks.albumentations.Pipeline`) where
            that preprocesses, else None.
        notes: what differs from what the repository says, and why: a sentence each, for whoever uses or trains it.
        familiarity: :class:`seg_demo.inference.familiarity.Familiarity` of these weights, or None; networks whose row has
            ``forward_with_maps`` are asked for what it needs.
    """

    architecture: str
    module: nn.Module
    labels: LabelSet
    preprocessing: Preprocessing
    options: dict[str, Any] = field(default_factory=dict)
    processor: Any = None
    notes: tuple[str, ...] = ()
    familiarity: Any = None

    @property
    def nbytes(self) -> int:
        """Memory of all parameters and buffers in bytes."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)


def to_batch(image: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """Resize, pad and normalise one upload.

    Shrinking is antialiased. The padding reflects the image, or repeats its edge where the image is too small to reflect.

    Args:
        image: uint8 (H, W, 3), RGB.
        preprocessing: sizes, mean and deviation.

    Returns:
        float32 (1, 3, h, w) on the CPU, h and w multiples of ``preprocessing.multiple``.
    """
    pixels = resized(image, preprocessing)
    height, width = pixels.shape[-2:]
    batch = normalised(pixels.to(torch.float32, memory_format=torch.contiguous_format) / 255, preprocessing)
    bottom, right = -height % preprocessing.multiple, -width % preprocessing.multiple
    if bottom or right:
        mode = "reflect" if bottom < height and right < width else "replicate"
        batch = F.pad(batch, (0, right, 0, bottom), mode=mode)
    return batch


def resized(image: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """An upload's pixels at the size that the network sees, antialiased where that is smaller.

    Args:
        image: uint8 (H, W, 3), RGB.
        preprocessing: sizes.

    Returns:
        uint8 (1, 3, h, w) on the CPU, RGB.
    """
    pixels = torch.from_numpy(np.ascontiguousarray(image)).permute(2, 0, 1)[None]
    size = preprocessing.fitted(*image.shape[:2])
    if size == image.shape[:2]:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)


def pixels_as_seen(checkpoint: Checkpoint, image: np.ndarray) -> np.ndarray:
    """:func:`resized`, as the networks whose preprocessing is :func:`to_batch` see an upload: what training varies.

    Args:
        checkpoint: its preprocessing.
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    return resized(image, checkpoint.preprocessing)[0].permute(1, 2, 0).contiguous().numpy()


def normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels as a network takes them: the one place where training and prediction get their colours from.

    Args:
        images: float32 (B, 3, h, w) in [0, 1], RGB.
        preprocessing: order of the channels, mean and deviation.

    Returns:
        float32 (B, 3, h, w) on the same device; differentiable.
    """
    mean, std = (torch.tensor(each, dtype=torch.float32, device=images.device) for each in (preprocessing.mean, preprocessing.std))
    ordered = images.flip(1) if preprocessing.bgr else images
    return (ordered - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1)


def copy_matching(source: nn.Module, target: nn.Module, except_prefixes: tuple[str, ...]) -> None:
    """Copy every tensor but those of the head from one module to another of the same architecture.

    Args:
        source: has the weights.
        target: gets them, in place.
        except_prefixes: names that begin with one of these stay as they are.
    """
    kept = {name: tensor for name, tensor in source.state_dict().items() if not name.startswith(except_prefixes)}
    missing, unexpected = target.load_state_dict(kept, strict=False)
    left = [name for name in missing if not name.startswith(except_prefixes)]
    assert not left and not unexpected, (left, unexpected)


@torch.no_grad()
def copy_known_classes(source: Checkpoint, target: Checkpoint, prefixes: tuple[str, ...]) -> tuple[str, ...]:
    """Give a new head what the old one knows about the classes that both have by name.

    A head's tensors hold the same number of rows for every class, class after class (Mask R-CNN's boxes have four).

    Args:
        source: with the old head; not a binary one of one channel, which has no rows per class.
        target: of the same architecture, with the new head; changed in place.
        prefixes: names of the head's parameters begin with one of these.

    Returns:
        Names of the classes that were copied, in the order of the target.
    """
    old, new = source.labels.names, target.labels.names
    shared = tuple(name for name in new if name in old)
    if not shared or source.options.get("binary"):
        return ()
    given = dict(source.module.named_parameters())
    for name, tensor in target.module.named_parameters():
        before = given.get(name)
        if not name.startswith(prefixes) or before is None or tensor.shape[0] % len(new) or before.shape[0] % len(old):
            continue
        rows, known = tensor.unflatten(0, (len(new), -1)), before.unflatten(0, (len(old), -1))
        if rows.shape[1:] == known.shape[1:]:
            for each in shared:
                rows[new.index(each)] = known[old.index(each)].to(rows)
    return shared


class Takes:
    """Answers whether a network takes pictures of a height and a width in pixels.

    Args:
        make: builds the network.
        forward: module, batch (B, 3, h, w) → logits.
    """

    def __init__(self, make: Callable[[], nn.Module], forward: Callable[[nn.Module, Tensor], Tensor]) -> None:
        self._make, self._forward = make, forward
        self._module: nn.Module | None = None
        self._known: dict[tuple[int, int], bool] = {}

    def __call__(self, height: int, width: int) -> bool:
        """True as well where shapes alone cannot tell."""
        if (height, width) not in self._known:
            self._known[height, width] = self._try(height, width)
        return self._known[height, width]

    def _try(self, height: int, width: int) -> bool:
        try:
            if self._module is None:
                with torch.device("meta"):
                    self._module = self._make().eval()
            with torch.no_grad():
                self._forward(self._module, torch.zeros((1, 3, height, width), device="meta"))
        except NotImplementedError:
            return True
        except Exception as error:  # whatever a library raises at a size that it was not made for
            return "meta" in str(error)
        return True


def square(checkpoint: Checkpoint, wanted: int) -> int | None:
    """The side of a square that a network takes, as near to a wanted one as it gets; None if it takes no square that was tried.

    Args:
        checkpoint: of a semantic network.
        wanted: pixels.
    """
    verbs = networks.network(checkpoint.architecture)
    count = len(checkpoint.labels)
    takes = Takes(lambda: verbs.build(count, checkpoint.options), verbs.forward)
    # Patches of 14, 16 and 32 pixels, windows of 7 and 8 of those, and the size that uploads get.
    near = {round(wanted / step) * step for step in (checkpoint.preprocessing.multiple, 14, 16, 32, 64, 224, 256)}
    fixed = set(checkpoint.preprocessing.size or ())
    sides = [wanted, *sorted({side for side in near | fixed if side > 0}, key=lambda side: (abs(side - wanted), side))]
    return next((side for side in sides if takes(side, side)), None)
