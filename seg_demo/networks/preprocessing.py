"""How an upload becomes the batch that a network sees: sizes, channels and the values that become 0 and 1.

Also as albumentations writes it down (:class:`Pipeline`), which is where segmentation_models_pytorch's repositories keep theirs:
``albumentations_config_eval.json`` is what ``A.Compose([...]).save_pretrained(folder, key="eval")`` writes and
``A.Compose.from_pretrained(repo)`` reads. albumentations itself is not needed: the few steps that belong in an evaluation are done
here, OpenCV's resizing among them (bilinear to the last bit, in its arithmetic of 11 bits). What is no evaluation is refused by
name. A centre crop is left out, so that the mask is one of the whole upload. Without ``Normalize`` or ``ToFloat`` a network gets values from
0 to 255, as it does from albumentations.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core import MOST_CHANNELS, BadCheckpointError, Message
from seg_demo.networks import checkpoint

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


PIPELINE_FILE = "albumentations_config_eval.json"
NEAREST, LINEAR, CUBIC, AREA, LANCZOS4, LINEAR_EXACT, NEAREST_EXACT = range(7)
BORDERS = {0: "constant", 1: "replicate", 2: "symmetric", 3: "wrap", 4: "reflect"}
POSITIONS = ("center", "top_left", "top_right", "bottom_left", "bottom_right")
# They change the kind of array, or nothing.
IDLE = ("ToTensorV2", "ToTensor", "NoOp", "ToRGB", "Lambda.identity")
GROUPS = ("Compose", "Sequential", "ReplayCompose")
CROPS = ("CenterCrop",)
RESIZES = ("Resize", "LongestMaxSize", "SmallestMaxSize")
UNDERSTOOD = (*RESIZES, "PadIfNeeded", *CROPS, "Normalize", "ToFloat", "ToTensorV2")
Places = Callable[[int, int], tuple[np.ndarray, np.ndarray]]
# Bits of OpenCV's weights when it resizes bytes.
BITS = 11


@dataclass(frozen=True)
class Frame:
    """Where an upload lies in what the network gets.

    Attributes:
        size: (height, width) of the network's input in pixels.
        top, left: of the upload in it, in pixels.
        content: (height, width) of the upload in it, in pixels.
    """

    size: tuple[int, int]
    top: int
    left: int
    content: tuple[int, int]


@dataclass(frozen=True)
class Pipeline:
    """The steps of a file, ready to run.

    Attributes:
        steps: name and arguments of each step that is done, in their order.
        multiple: the result is padded at the bottom and the right to a multiple of this many pixels, which the network needs.
        longest_side: uploads are shrunk to this first where no step resizes, or None.
        notes: what is done otherwise than the file says.
        channels: of the pictures that it takes.
    """

    steps: tuple[tuple[str, dict[str, Any]], ...]
    multiple: int = 1
    longest_side: int | None = None
    channels: int = 3
    notes: tuple[str, ...] = field(default=(), compare=False)

    def __call__(self, image: np.ndarray) -> Tensor:
        """An upload as the network sees it.

        Args:
            image: uint8 (H, W, 3), RGB; of other channels (H, W, C) of any type.

        Returns:
            float32 (1, C, h, w) on the CPU.
        """
        seen = _shrunk(image, self.longest_side)
        for name, step in self.steps:
            if name in RESIZES:
                seen = cv_resize(seen, _resized(name, step, *seen.shape[:2]), _how(step, seen.shape[:2], name))
            elif name == "PadIfNeeded":
                seen = _pad(seen, _padding(step, *seen.shape[:2]), step)
            else:
                scale, offset = _colours(name, step, self.channels)
                seen = (seen * scale + offset).astype(np.float32)
        batch = tensor_of(seen).permute(2, 0, 1)[None].float().contiguous()
        bottom, right = -batch.shape[2] % self.multiple, -batch.shape[3] % self.multiple
        if bottom or right:
            mode = "reflect" if bottom < batch.shape[2] and right < batch.shape[3] else "replicate"
            batch = F.pad(batch, (0, right, 0, bottom), mode=mode)
        return batch

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """An upload's pixels at the size in which the network sees them, without padding and with their colours: of the image's type, (h, w, C)."""
        seen = _shrunk(image, self.longest_side)
        for name, step in self.steps:
            if name in RESIZES:
                seen = cv_resize(seen, _resized(name, step, *seen.shape[:2]), _how(step, seen.shape[:2], name))
        return np.ascontiguousarray(seen)

    def frame(self, height: int, width: int) -> Frame:
        """Where an upload of a height and a width in pixels lies in the network's input.

        A resize after a padding resizes that too; the upload's edges are then rounded to whole pixels.
        """
        if self.longest_side is not None:
            height, width = Preprocessing(longest_side=self.longest_side).fitted(height, width)
        size, top, left, bottom, right = (height, width), 0.0, 0.0, float(height), float(width)
        for name, step in self.steps:
            if name in RESIZES:
                fresh = _resized(name, step, *size)
                down, across = fresh[0] / size[0], fresh[1] / size[1]
                size, top, bottom, left, right = fresh, top * down, bottom * down, left * across, right * across
            elif name == "PadIfNeeded":
                above, below, before, after = _padding(step, *size)
                size = size[0] + above + below, size[1] + before + after
                top, bottom, left, right = top + above, bottom + above, left + before, right + before
        full = size[0] + -size[0] % self.multiple, size[1] + -size[1] % self.multiple
        first, start = round(top), round(left)
        return Frame(full, first, start, (max(1, round(bottom) - first), max(1, round(right) - start)))

    def preprocessing(self, otherwise: Preprocessing) -> Preprocessing:
        """The same as a :class:`Preprocessing`, as training and full detail need to know it.

        Args:
            otherwise: the network's own rule, of which the multiple and the sizes are kept where no step says one.
        """
        most = 255.0 if self.channels == 3 else next((_most(name, step) for name, step in self.steps if name in ("ToFloat", "Normalize")), 255.0)
        scale, offset = np.full(self.channels, most), np.zeros(self.channels)
        for name, step in self.steps:
            if name not in (*RESIZES, "PadIfNeeded"):
                times, plus = _colours(name, step, self.channels)
                scale, offset = scale * times, offset * times + plus
        std = 1 / scale
        mean, deviation = tuple((-offset * std).tolist()), tuple(std.tolist())
        sizes: dict[str, Any] = {"longest_side": otherwise.longest_side, "shortest_side": None, "size": None}
        for name, step in self.steps:
            if name == "Resize":
                sizes = {"longest_side": None, "shortest_side": None, "size": (step["height"], step["width"])}
            elif name == "LongestMaxSize":
                sizes = {"longest_side": step["max_size"], "shortest_side": None, "size": None}
            elif name == "SmallestMaxSize":
                sizes = {"longest_side": None, "shortest_side": step["max_size"], "size": None}
        if most != 255:
            sizes |= {"ranges": ((0.0, most),) * self.channels, "clipped": False}
        return replace(otherwise, mean=mean, std=deviation, **sizes)

    @property
    def resizes(self) -> bool:
        """Whether a step sets the size."""
        return any(name in RESIZES for name, _ in self.steps)

    def to_json(self) -> dict[str, Any]:
        """What ``A.Compose.from_pretrained`` reads as these steps, and :func:`parse_pipeline` too."""
        steps = [{"__class_fullname__": name, "p": 1.0, **step} for name, step in self.steps]
        steps.append({"__class_fullname__": "ToTensorV2", "p": 1.0, "transpose_mask": False})
        return {
            "__version__": "2.0.8",
            "transform": {
                "__class_fullname__": "Compose", "p": 1.0, "transforms": steps, "bbox_params": None, "keypoint_params": None,
                "additional_targets": {}, "is_check_shapes": True,
            },
        }  # fmt: skip


def read_pipeline(folder: Path, channels: int = 3) -> Pipeline | None:
    """The pipeline of a checkpoint folder, or None if it has none.

    Args:
        folder: the checkpoint.
        channels: that the network takes.

    Raises:
        BadCheckpointError: as :func:`parse_pipeline`.
    """
    if not (Path(folder) / PIPELINE_FILE).is_file():
        return None
    return parse_pipeline(checkpoint.read_json(folder, PIPELINE_FILE), channels)


def parse_pipeline(data: dict[str, Any], channels: int = 3) -> Pipeline:
    """The steps of a serialised ``Compose``.

    Args:
        data: content of the file, with ``transform`` as its outermost step.
        channels: that the network takes.

    Raises:
        BadCheckpointError: a step that is not understood, or values of the wrong kind; names it.
    """
    steps: list[tuple[str, dict[str, Any]]] = []
    notes: list[str] = []
    try:
        _collect(data["transform"], steps, notes)
        pipeline = Pipeline(tuple(steps), notes=tuple(notes), channels=channels)
        # The first picture would only meet what is wrong with a value then.
        pipeline(np.zeros((3, 5, channels), np.uint8))
        pipeline.preprocessing(Preprocessing())
    except (TypeError, ValueError, KeyError, AttributeError, ArithmeticError, RecursionError, RuntimeError) as error:
        raise BadCheckpointError("checkpoints.wrong_kind", file=PIPELINE_FILE, why=checkpoint.library_message(error)) from error
    return pipeline


def _collect(step: dict[str, Any], steps: list[tuple[str, dict[str, Any]]], notes: list[str]) -> None:
    name = str(step["__class_fullname__"]).rsplit(".", 1)[-1]
    chance = 1.0 if step.get("always_apply") else float(step.get("p", 1.0))
    if chance <= 0:
        return
    if name in GROUPS and chance >= 1:
        for inner in step["transforms"]:
            _collect(inner, steps, notes)
    elif name in IDLE:
        return
    elif name not in UNDERSTOOD:
        raise BadCheckpointError("pipelines.unknown_step", file=PIPELINE_FILE, step=name[:60], understood=", ".join(UNDERSTOOD))
    elif chance < 1:
        raise BadCheckpointError("pipelines.random_step", file=PIPELINE_FILE, step=name, chance=chance)
    elif name in CROPS:
        notes.append(Message("pipelines.crops", file=PIPELINE_FILE))
    else:
        arguments = {key: value for key, value in step.items() if not key.startswith("__") and key not in ("p", "always_apply")}
        steps.append((name, _checked(name, arguments)))


def _checked(name: str, step: dict[str, Any]) -> dict[str, Any]:
    """Arguments under one name each and within bounds; older versions had others."""
    for key in ("height", "width", "max_size", "min_height", "min_width", "pad_height_divisor", "pad_width_divisor"):
        value = step.get(key)
        if isinstance(value, list) and key == "max_size" and len(set(value)) == 1:
            step[key] = value = value[0]
        if value is not None and not (isinstance(value, int) and 1 <= value <= MAX_NETWORK_SIDE):
            raise BadCheckpointError("pipelines.bad_size", key=key, step=name, file=PIPELINE_FILE, value=str(value)[:60], most=MAX_NETWORK_SIDE)
    if name in RESIZES and step.get("interpolation", LINEAR) not in (NEAREST, LINEAR, CUBIC, AREA, LINEAR_EXACT, NEAREST_EXACT):
        raise BadCheckpointError("pipelines.unknown_interpolation", step=name, file=PIPELINE_FILE, method=step["interpolation"])
    if name in ("LongestMaxSize", "SmallestMaxSize") and step.get("max_size") is None:
        raise BadCheckpointError("pipelines.no_max_size", step=name, file=PIPELINE_FILE)
    if name == "PadIfNeeded":
        position = str(step.get("position") or "center").rsplit(".", 1)[-1].lower()
        border = step.get("border_mode", 4)
        if position not in POSITIONS or border not in BORDERS:
            raise BadCheckpointError("pipelines.unknown_padding", file=PIPELINE_FILE, position=position, mode=border)
        fill = step.get("fill", step.get("value"))
        step = {
            "min_height": step.get("min_height"), "min_width": step.get("min_width"),
            "pad_height_divisor": step.get("pad_height_divisor"), "pad_width_divisor": step.get("pad_width_divisor"),
            "position": position, "border_mode": border, "fill": 0 if fill is None else fill,
        }  # fmt: skip
    if name == "Normalize" and step.get("normalization", "standard") != "standard":
        raise BadCheckpointError("pipelines.normalises_by_picture", file=PIPELINE_FILE, value=step["normalization"])
    return step


def _resized(name: str, step: dict[str, Any], height: int, width: int) -> tuple[int, int]:
    if name == "Resize":
        return step["height"], step["width"]
    scale = step["max_size"] / (max if name == "LongestMaxSize" else min)(height, width)
    # A picture that is much longer than wide is kept below what a network takes.
    scale = min(scale, MAX_NETWORK_SIDE / max(height, width))
    return max(1, round(height * scale)), max(1, round(width * scale))


def _how(step: dict[str, Any], size: tuple[int, int], name: str) -> int:
    if step.get("area_for_downscale") and min(new / old for new, old in zip(_resized(name, step, *size), size, strict=True)) < 1:
        return AREA
    return int(step.get("interpolation", LINEAR))


def _padding(step: dict[str, Any], height: int, width: int) -> tuple[int, int, int, int]:
    """Pixels above, below, before and after."""

    def missing(length: int, least: int | None, divisor: int | None) -> tuple[int, int]:
        total = max(0, least - length) if least is not None else -length % divisor if divisor is not None else 0
        return total // 2, total - total // 2

    down = missing(height, step["min_height"], step["pad_height_divisor"])
    across = missing(width, step["min_width"], step["pad_width_divisor"])
    if step["position"] != "center":
        top, left = "top" in step["position"], "left" in step["position"]
        down = (0, sum(down)) if top else (sum(down), 0)
        across = (0, sum(across)) if left else (sum(across), 0)
    return *down, *across


def _pad(image: np.ndarray, padding: tuple[int, int, int, int], step: dict[str, Any]) -> np.ndarray:
    above, below, before, after = padding
    if not any(padding):
        return image
    mode, around = BORDERS[step["border_mode"]], ((above, below), (before, after), (0, 0))
    if mode != "constant":
        return np.pad(image, around, mode={"replicate": "edge"}.get(mode, mode))
    padded = np.empty((image.shape[0] + above + below, image.shape[1] + before + after, image.shape[2]), image.dtype)
    padded[:] = np.broadcast_to(np.array(step["fill"], dtype=np.float64), image.shape[2]).astype(image.dtype)
    padded[above : above + image.shape[0], before : before + image.shape[1]] = image
    return padded


def _most(name: str, step: dict[str, Any]) -> float:
    """The value that becomes 1."""
    most = step.get("max_value" if name == "ToFloat" else "max_pixel_value")
    return float(255 if most is None else most)


def _colours(name: str, step: dict[str, Any], channels: int) -> tuple[np.ndarray, np.ndarray]:
    """Factor and offset per channel, float32 (C,)."""
    most = _most(name, step)
    if name == "ToFloat":
        return np.full(channels, 1 / most, np.float32), np.zeros(channels, np.float32)
    mean, std = (
        np.broadcast_to(np.array(step.get(key, default), np.float64), channels)
        for key, default in (("mean", (0.485, 0.456, 0.406)), ("std", (0.229, 0.224, 0.225)))
    )
    if not (np.isfinite(mean).all() and np.isfinite(std).all() and (std > 0).all() and 0 < most < 1e6):
        raise BadCheckpointError("pipelines.bad_normalisation", file=PIPELINE_FILE, mean=mean.tolist(), deviation=std.tolist(), most=most)
    return (1 / (std * most)).astype(np.float32), (-mean / std).astype(np.float32)


def _shrunk(image: np.ndarray, longest_side: int | None) -> np.ndarray:
    if longest_side is None or max(image.shape[:2]) <= longest_side:
        return image
    return cv_resize(image, Preprocessing(longest_side=longest_side).fitted(*image.shape[:2]), AREA)


def cv_resize(image: np.ndarray, size: tuple[int, int], how: int = LINEAR) -> np.ndarray:
    """``cv2.resize(image, (width, height), interpolation=how)``.

    Bilinear and nearest are OpenCV's to the last bit for bytes; cubic and area differ by a grey level in places.

    Args:
        image: uint8 or float32 (H, W, C).
        size: (height, width) in pixels.
        how: OpenCV's number of the interpolation: 0 nearest, 1 linear, 2 cubic, 3 area, 5 linear (exact), 6 nearest (exact).

    Returns:
        As the image, (h, w, C).
    """
    if size == image.shape[:2]:
        return image
    if how in (NEAREST, NEAREST_EXACT):
        find = _nearest if how == NEAREST else _nearest_exact
        rows, columns = (find(old, new) for old, new in zip(image.shape[:2], size, strict=True))
        return image[rows[:, None], columns[None]]
    shrinks = size[0] <= image.shape[0] and size[1] <= image.shape[1]
    if image.dtype == np.uint8 and (how == LINEAR or (how == AREA and not shrinks)):
        return _bytes_linear(image, size, _area_places if how == AREA else _places)
    if how == CUBIC:
        pixels = tensor_of(image).permute(2, 0, 1)[None].float()
        wide = F.interpolate(pixels, size, mode="bicubic", align_corners=False)[0].permute(1, 2, 0).numpy()
    else:
        wide = image.astype(np.float32)
        for axis in (1, 0):
            old, new = image.shape[axis], size[axis]
            index, weight = _box(old, new) if how == AREA and shrinks else _two(old, new, _area_places if how == AREA else _places)
            shape = (-1, 1, 1) if axis == 0 else (1, -1, 1)
            wide = sum(np.take(wide, index[:, k], axis) * weight[:, k].reshape(shape) for k in range(index.shape[1]))
    if image.dtype != np.uint8:
        return wide.astype(image.dtype)
    halved = how == AREA and (2 * size[0], 2 * size[1]) == image.shape[:2]
    return np.clip(np.floor(wide + 0.5) if halved else np.rint(wide), 0, 255).astype(np.uint8)


def _nearest(old: int, new: int) -> np.ndarray:
    return np.minimum(np.floor(np.arange(new) * (old / new)).astype(np.int64), old - 1)


def _nearest_exact(old: int, new: int) -> np.ndarray:
    """In OpenCV's arithmetic of 16 bits."""
    step = ((old << 16) + new // 2) // new
    return np.minimum(step * np.arange(new) + step // 2 - old % 2 >> 16, old - 1)


def _places(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Per output, the input before it (−1 at the edge) and how far it is beyond that."""
    place = ((np.arange(new) + 0.5) * (old / new) - 0.5).astype(np.float32)
    before = np.floor(place).astype(np.int64)
    return before, place - before.astype(np.float32)


def _area_places(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """As :func:`_places`, where ``cv2.INTER_AREA`` makes something larger: blocks with soft edges."""
    before = np.floor(np.arange(new) * (old / new)).astype(np.int64)
    far = (np.arange(1, new + 1) - (before + 1) * (new / old)).astype(np.float32)
    return before, np.where(far <= 0, np.float32(0), far - np.floor(far))


def _two(old: int, new: int, places: Places) -> tuple[np.ndarray, np.ndarray]:
    before, far = places(old, new)
    index = np.clip(np.stack([before, before + 1], 1), 0, old - 1)
    return index, np.stack([1 - far, far], 1).astype(np.float32)


def _box(old: int, new: int) -> tuple[np.ndarray, np.ndarray]:
    """Every input by the share of it that the output covers."""
    step = old / new
    first = np.floor(np.arange(new) * step + 1e-9).astype(np.int64)
    index = first[:, None] + np.arange(math.ceil(step) + 1)
    begin, end = (np.arange(new) * step)[:, None], (np.arange(1, new + 1) * step)[:, None]
    share = np.clip(np.minimum(end, index + 1) - np.maximum(begin, index), 0, None) / step
    return np.minimum(index, old - 1), share.astype(np.float32)


def _bytes_linear(image: np.ndarray, size: tuple[int, int], places: Places) -> np.ndarray:
    """OpenCV's bilinear resize of bytes: weights of 11 bits, the sum of two rows cut to 16."""

    def taps(old: int, new: int, edges: bool) -> tuple[np.ndarray, ...]:
        before, far = places(old, new)
        if edges:
            far = np.where((before < 0) | (before >= old - 1), np.float32(0), far)
        one, two = np.clip(before, 0, old - 1), np.clip(before + 1, 0, old - 1)
        return one, two, np.rint((1 - far) * 2**BITS).astype(np.int32), np.rint(far * 2**BITS).astype(np.int32)

    one, two, near, far = taps(image.shape[1], size[1], True)
    narrow = [(image[:, index].astype(np.int32), weight[None, :, None]) for index, weight in ((one, near), (two, far))]
    across = narrow[0][0] * narrow[0][1] + narrow[1][0] * narrow[1][1]
    one, two, near, far = taps(image.shape[0], size[0], False)
    across >>= 4
    upper, lower = near[:, None, None] * across[one] >> 16, far[:, None, None] * across[two] >> 16
    return np.clip(upper + lower + 2 >> 2, 0, 255).astype(np.uint8)
