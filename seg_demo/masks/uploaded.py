"""A label mask that a person uploads, in whatever way their program saved it → label ids."""

from __future__ import annotations

import numpy as np

from seg_demo.types import LabelSet

IGNORE = 255
# Grey levels that were chosen so that an eye can tell them apart reach at least this far.
LEAST_SPREAD = 64


def label_ids(raw: np.ndarray, labels: LabelSet) -> np.ndarray:
    """The label ids that a mask means.

    Args:
        raw: as :func:`seg_demo.inputs.mask_files.numbers_meant` gives it: uint8 or uint16 (H, W), or (H, W, 3). Grey that was
            saved in three channels is grey. Of colours, each must be that of a class (the mask of this demo, saved by another
            program). Black and white, or one of them, is the one class that is not the background. As many greys as classes, spread like
            0, 127, 255, are the classes in rising order.
        labels: the classes.

    Returns:
        uint8 or uint16 (H, W): label ids, and what else the mask holds as it is, the 255 of pixels to ignore with it.

    Raises:
        ValueError: colours that no class has; or black and white where several classes could be meant. The message says so.
    """
    if raw.ndim == 3:
        if not (np.array_equal(raw[..., 0], raw[..., 1]) and np.array_equal(raw[..., 0], raw[..., 2])):
            return _of_colors(raw, labels)
        raw = np.ascontiguousarray(raw[..., 0])
    if raw.dtype == np.uint8 and bool(((raw == 0) | (raw == 255)).all()):
        background = _background(labels)
        things = [index for index in range(len(labels)) if index != background]
        if len(things) > 1:
            if not ((raw == 255).any() and (raw == 0).any()):
                return raw
            names = ", ".join(labels.names[index] for index in things[:6]) + (" ..." if len(things) > 6 else "")
            raise ValueError(
                f"the mask is black and white, but there are {len(things)} classes ({names}). Give each pixel its class's "
                f"number instead of white: {things[0]} is {labels.names[things[0]]}"
            )
        black = IGNORE if background is None else background
        return np.where(raw == 255, np.uint8(things[0] if things else black), np.uint8(black))
    if raw.dtype == np.uint8:
        levels = np.unique(raw)
        if len(levels) == len(labels) and levels[-1] >= LEAST_SPREAD and not set(levels.tolist()) - {IGNORE} <= set(range(len(labels))):
            return np.searchsorted(levels, raw).astype(np.uint8)
    return raw


def _background(labels: LabelSet) -> int | None:
    """The background, also of checkpoints that only name it so."""
    if labels.background is not None:
        return labels.background
    plain = [name.strip().casefold().strip("_") for name in labels.names]
    return plain.index("background") if "background" in plain else None


def _of_colors(raw: np.ndarray, labels: LabelSet) -> np.ndarray:
    packed = raw.astype(np.uint32) @ np.array([1 << 16, 1 << 8, 1], dtype=np.uint32)
    known = {int(red) << 16 | int(green) << 8 | int(blue): index for index, (red, green, blue) in enumerate(labels.colors)}
    colors, places = np.unique(packed, return_inverse=True)
    foreign = [int(color) for color in colors if int(color) not in known]
    if foreign:
        raise ValueError(
            f"the mask is coloured, and {len(foreign)} of its {len(colors)} colours are no class's (#{foreign[0]:06x}, for "
            "one). Save it as a grey or palette PNG whose numbers are the classes, not as a JPEG"
        )
    dtype = np.uint8 if len(labels) <= 255 else np.uint16
    return np.array([known[int(color)] for color in colors], dtype=dtype)[places].reshape(raw.shape[:2])
