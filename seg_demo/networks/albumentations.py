"""Preprocessing as albumentations writes it down, which is where segmentation_models_pytorch's repositories keep theirs.

``albumentations_config_eval.json`` is what ``A.Compose([...]).save_pretrained(folder, key="eval")`` writes and
``A.Compose.from_pretrained(repo)`` reads. albumentations itself is not needed: the few steps that belong in an evaluation are done
here, OpenCV's resizing among them (bilinear to the last bit, in its arithmetic of 11 bits). What is no evaluation is refused by
name. A centre crop is left out, so that the mask is one of the whole upload.

Without ``Normalize`` or ``ToFloat`` a network gets values from 0 to 255, as it does from albumentations.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch.nn.functional as F
from torch import Tensor

from seg_demo.core.errors import BadCheckpointError, Message
from seg_demo.networks import checkpoint
from seg_demo.networks.preprocessing import MAX_NETWORK_SIDE, Preprocessing, tensor_of

CONFIG = "albumentations_config_eval.json"
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
                seen = resize(seen, _resized(name, step, *seen.shape[:2]), _how(step, seen.shape[:2], name))
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
                seen = resize(seen, _resized(name, step, *seen.shape[:2]), _how(step, seen.shape[:2], name))
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
        """What ``A.Compose.from_pretrained`` reads as these steps, and :func:`parse` too."""
        steps = [{"__class_fullname__": name, "p": 1.0, **step} for name, step in self.steps]
        steps.append({"__class_fullname__": "ToTensorV2", "p": 1.0, "transpose_mask": False})
        return {
            "__version__": "2.0.8",
            "transform": {
                "__class_fullname__": "Compose", "p": 1.0, "transforms": steps, "bbox_params": None, "keypoint_params": None,
                "additional_targets": {}, "is_check_shapes": True,
            },
        }  # fmt: skip


def read(folder: Path, channels: int = 3) -> Pipeline | None:
    """The pipeline of a checkpoint folder, or None if it has none.

    Args:
        folder: the checkpoint.
        channels: that the network takes.

    Raises:
        BadCheckpointError: as :func:`parse`.
    """
    if not (Path(folder) / CONFIG).is_file():
        return None
    return parse(checkpoint.read_json(folder, CONFIG), channels)


def parse(data: dict[str, Any], channels: int = 3) -> Pipeline:
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
        raise BadCheckpointError("checkpoints.wrong_kind", file=CONFIG, why=checkpoint.library_message(error)) from error
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
        raise BadCheckpointError("pipelines.unknown_step", file=CONFIG, step=name[:60], understood=", ".join(UNDERSTOOD))
    elif chance < 1:
        raise BadCheckpointError("pipelines.random_step", file=CONFIG, step=name, chance=chance)
    elif name in CROPS:
        notes.append(Message("pipelines.crops", file=CONFIG))
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
            raise BadCheckpointError("pipelines.bad_size", key=key, step=name, file=CONFIG, value=str(value)[:60], most=MAX_NETWORK_SIDE)
    if name in RESIZES and step.get("interpolation", LINEAR) not in (NEAREST, LINEAR, CUBIC, AREA, LINEAR_EXACT, NEAREST_EXACT):
        raise BadCheckpointError("pipelines.unknown_interpolation", step=name, file=CONFIG, method=step["interpolation"])
    if name in ("LongestMaxSize", "SmallestMaxSize") and step.get("max_size") is None:
        raise BadCheckpointError("pipelines.no_max_size", step=name, file=CONFIG)
    if name == "PadIfNeeded":
        position = str(step.get("position") or "center").rsplit(".", 1)[-1].lower()
        border = step.get("border_mode", 4)
        if position not in POSITIONS or border not in BORDERS:
            raise BadCheckpointError("pipelines.unknown_padding", file=CONFIG, position=position, mode=border)
        fill = step.get("fill", step.get("value"))
        step = {
            "min_height": step.get("min_height"), "min_width": step.get("min_width"),
            "pad_height_divisor": step.get("pad_height_divisor"), "pad_width_divisor": step.get("pad_width_divisor"),
            "position": position, "border_mode": border, "fill": 0 if fill is None else fill,
        }  # fmt: skip
    if name == "Normalize" and step.get("normalization", "standard") != "standard":
        raise BadCheckpointError("pipelines.normalises_by_picture", file=CONFIG, value=step["normalization"])
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
        raise BadCheckpointError("pipelines.bad_normalisation", file=CONFIG, mean=mean.tolist(), deviation=std.tolist(), most=most)
    return (1 / (std * most)).astype(np.float32), (-mean / std).astype(np.float32)


def _shrunk(image: np.ndarray, longest_side: int | None) -> np.ndarray:
    if longest_side is None or max(image.shape[:2]) <= longest_side:
        return image
    return resize(image, Preprocessing(longest_side=longest_side).fitted(*image.shape[:2]), AREA)


def resize(image: np.ndarray, size: tuple[int, int], how: int = LINEAR) -> np.ndarray:
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
