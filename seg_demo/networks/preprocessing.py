"""How an upload becomes the batch that a network sees: sizes, channels and the values that become 0 and 1."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.picture import MOST_CHANNELS

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
        ranges: per channel the values of a file that become 0 and 1; None for 0 and 255, to which longer numbers are brought as a person
            sees them.
        clipped: what lies outside of the ranges is their end.
    """

    mean: tuple[float, ...] = IMAGENET_MEAN
    std: tuple[float, ...] = IMAGENET_STD
    shortest_side: int | None = None
    longest_side: int | None = None
    size: tuple[int, int] | None = None
    multiple: int = 1
    bgr: bool = False
    ranges: tuple[tuple[float, float], ...] | None = None
    clipped: bool = True

    def __post_init__(self) -> None:
        object.__setattr__(self, "mean", tuple(float(value) for value in self.mean))
        object.__setattr__(self, "std", tuple(float(value) for value in self.std))
        if len(self.mean) != len(self.std) or not 1 <= len(self.mean) <= MOST_CHANNELS:
            raise BadCheckpointError("preprocessing.no_three_means", mean=self.mean, deviation=self.std)
        if self.ranges is not None:
            object.__setattr__(self, "ranges", tuple((float(low), float(high)) for low, high in self.ranges))
            sound = all(np.isfinite(low) and np.isfinite(high) and low < high for low, high in self.ranges)
            if not sound or len(self.ranges) != len(self.mean):
                raise BadCheckpointError("preprocessing.bad_ranges", count=len(self.mean), ranges=self.ranges)
        else:
            object.__setattr__(self, "clipped", True)  # means nothing, and two that do the same are equal
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

    @property
    def samples(self) -> int | None:
        """Channels of a file's own samples that are taken; None for red, green and blue as a person sees them."""
        return None if len(self.mean) == 3 and self.ranges is None else len(self.mean)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form, inverse of :meth:`from_dict`. Keys are transformers' own where it has them."""
        measured = {} if self.ranges is None else {"channel_ranges": [list(ends) for ends in self.ranges], "clip_to_ranges": self.clipped}
        return {
            "image_mean": list(self.mean),
            "image_std": list(self.std),
            "rescale_factor": 1 / 255,
            "shortest_side": self.shortest_side,
            "longest_side": self.longest_side,
            "size": None if self.size is None else {"height": self.size[0], "width": self.size[1]},
            "multiple": self.multiple,
            "do_flip_channel_order": self.bgr,
            **measured,
        }

    @classmethod
    def from_dict(cls, data: dict[str, Any], channels: int = 3) -> Preprocessing:
        """Preprocessing from the keys of :meth:`to_dict`; what is missing has its default.

        Args:
            data: content of a preprocessor_config.json.
            channels: that the network takes.

        Raises:
            BadCheckpointError: a value of the wrong type or out of range, or means of other channels.
        """
        mean, std = (data.get(key, repeated(usual, channels)) for key, usual in (("image_mean", IMAGENET_MEAN), ("image_std", IMAGENET_STD)))
        try:
            if (len(mean), len(std)) != (channels, channels):
                key = "no_three_means" if channels == 3 else "other_means"
                raise BadCheckpointError(f"preprocessing.{key}", mean=tuple(mean), deviation=tuple(std), **({} if channels == 3 else {"count": channels}))
            size, shortest = data.get("size"), data.get("shortest_side")
            if isinstance(size, int) and not isinstance(size, bool):
                size = {"height": size, "width": size}
            elif isinstance(size, dict) and "height" not in size and size.get("shortest_edge") is not None:
                size, shortest = None, size["shortest_edge"]
            return cls(
                mean=tuple(mean),
                std=tuple(std),
                shortest_side=_side(shortest),
                longest_side=_side(data.get("longest_side")),
                size=None if size is None else (int(size["height"]), int(size["width"])),
                multiple=int(data.get("multiple", 1)),
                bgr=bool(data.get("do_flip_channel_order", False)),
                ranges=data.get("channel_ranges"),
                clipped=bool(data.get("clip_to_ranges", True)),
            )
        except (TypeError, ValueError, KeyError, OverflowError) as error:
            raise BadCheckpointError("preprocessing.wrong_kind", why=error) from error


def _side(value: object) -> int | None:
    return None if value is None else int(value)


def repeated(values: Sequence[float], channels: int) -> tuple[float, ...]:
    """A number for red, green and blue each, for another number of channels: in turn, as the weights of their first layer are taken over
    (:func:`seg_demo.networks.weights.inflated`); the mean for one.

    >>> repeated((1.0, 2.0, 3.0), 4), repeated((1.0, 2.0, 3.0), 1)
    ((1.0, 2.0, 3.0, 1.0), (2.0,))
    """
    return (sum(values) / len(values),) if channels == 1 else tuple(values[index % len(values)] for index in range(channels))


def to_batch(image: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """Resize, pad and normalise one upload.

    Shrinking is antialiased. The padding reflects the image, or repeats its edge where the image is too small to reflect.

    Args:
        image: uint8 (H, W, 3), RGB; or (H, W, C) of other channels.
        preprocessing: sizes, mean and deviation.

    Returns:
        float32 (1, C, h, w) on the CPU, h and w multiples of ``preprocessing.multiple``.
    """
    pixels = resized(image, preprocessing)
    height, width = pixels.shape[-2:]
    if pixels.dtype == torch.uint8:
        pixels = pixels.to(torch.float32, memory_format=torch.contiguous_format) / 255
    batch = normalised(pixels, preprocessing)
    bottom, right = -height % preprocessing.multiple, -width % preprocessing.multiple
    if bottom or right:
        mode = "reflect" if bottom < height and right < width else "replicate"
        batch = F.pad(batch, (0, right, 0, bottom), mode=mode)
    return batch


def tensor_of(image: np.ndarray) -> Tensor:
    """An array as a tensor that shares its memory, and a copy of one that is read-only (as ``np.asarray`` of a PIL image is) or not in order:
    torch knows no read-only tensors, and warns.

    Args:
        image: (H, W, C) of any type of numbers.

    Returns:
        The same shape and type, on the CPU.
    """
    return torch.from_numpy(np.require(image, requirements=("C", "W")))


def resized(image: np.ndarray, preprocessing: Preprocessing) -> Tensor:
    """An upload's pixels at the size that the network sees, antialiased where that is smaller.

    Args:
        image: uint8 (H, W, 3), RGB; or (H, W, C) of other channels.
        preprocessing: sizes.

    Returns:
        uint8 (1, 3, h, w) on the CPU, RGB; of other channels float32 (1, C, h, w) as :func:`scaled` gives it.
    """
    pixels = tensor_of(image).permute(2, 0, 1)[None]
    if preprocessing.samples is not None:
        pixels = scaled(pixels, preprocessing)
    size = preprocessing.fitted(*image.shape[:2])
    if size == image.shape[:2]:
        return pixels
    return F.interpolate(pixels, size, mode="bilinear", align_corners=False, antialias=True)


def scaled(values: Tensor, preprocessing: Preprocessing) -> Tensor:
    """A file's values with 0 and 1 where ``ranges`` has them; what is no number is 0.

    Args:
        values: (B, C, h, w) of any type of numbers.
        preprocessing: whose ranges count.

    Returns:
        float32 (B, C, h, w).
    """
    ranges = preprocessing.ranges or ((0.0, 255.0),) * values.shape[1]
    low, high = (torch.tensor(ends, dtype=torch.float32, device=values.device).view(1, -1, 1, 1) for ends in zip(*ranges, strict=True))
    found = values.to(torch.float32, memory_format=torch.contiguous_format).sub(low).div_(high - low)
    if preprocessing.clipped:
        found.clamp_(0, 1)
    return found.nan_to_num_(0.0)


def as_fractions(image: np.ndarray, preprocessing: Preprocessing) -> np.ndarray:
    """As :func:`scaled`: (H, W, C) of any type of numbers to float32."""
    return scaled(tensor_of(image).permute(2, 0, 1)[None], preprocessing)[0].permute(1, 2, 0).contiguous().numpy()


def normalised(images: Tensor, preprocessing: Preprocessing) -> Tensor:
    """Pixels as a network takes them: the one place where training and prediction get their colours from.

    Args:
        images: float32 (B, C, h, w) in [0, 1], RGB unless the network takes other channels.
        preprocessing: order of the channels, mean and deviation.

    Returns:
        float32 (B, C, h, w) on the same device; differentiable.
    """
    mean, std = (torch.tensor(values, dtype=torch.float32, device=images.device) for values in (preprocessing.mean, preprocessing.std))
    ordered = images.flip(1) if preprocessing.bgr else images
    return (ordered - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
