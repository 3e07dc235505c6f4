"""Photos that a camera stored sideways, and truth that was drawn on them without turning."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from PIL import Image

EXIF_ORIENTATION = 0x0112
# How pixels as stored become upright, for the values of the EXIF tag that swap height and width.
TURNS = {
    5: lambda stored: stored.swapaxes(0, 1),
    6: lambda stored: stored[::-1].swapaxes(0, 1),
    7: lambda stored: stored[::-1, ::-1].swapaxes(0, 1),
    8: lambda stored: stored[:, ::-1].swapaxes(0, 1),
}


def sideways(image: Path, size: tuple[int, int], truth: tuple[int, int]) -> int | None:
    """Whether truth was drawn on a photo as the camera stored it, so that it fits only once it is turned with the photo.

    Truth whose size fits is taken as upright: nothing in it could tell otherwise.

    Args:
        image: the photo's file.
        size: (height, width) of the upright photo in pixels.
        truth: (height, width) of the mask, or of the image as an annotation file states it.

    Returns:
        The photo's EXIF orientation, 5 to 8, or None.
    """
    if truth == size or truth[::-1] != size:
        return None
    value = _orientation(image)
    return value if value in TURNS else None


def unconfirmed(image: Path, truth: Path | None, size: tuple[int, int]) -> int | None:
    """Whether a photo is turned in a way that its size does not show, so that nothing tells how its mask was drawn.

    Args:
        image: the photo's file.
        truth: the mask's file, whose own EXIF orientation would tell, or None.
        size: (height, width) of the upright photo in pixels.

    Returns:
        The photo's EXIF orientation, 2 to 8, or None if it is upright or its size tells.
    """
    value = _orientation(image)
    shown = value in TURNS and size[0] != size[1]
    own = _orientation(truth) if truth is not None else 1
    return value if 2 <= value <= 8 and not shown and own == 1 else None


def _orientation(path: Path) -> int:
    """EXIF orientation of a file, 1 where there is none that can be read."""
    try:
        with Image.open(path) as opened:
            value = opened.getexif().get(EXIF_ORIENTATION, 1)
    except Exception:  # Pillow's EXIF parser raises anything on bytes that are no EXIF; the pixels are good all the same
        return 1
    return value if isinstance(value, int) else 1


def turn(stored: np.ndarray, orientation: int) -> np.ndarray:
    """Pixels as stored, made upright.

    Args:
        stored: (H, W) or (H, W, C).
        orientation: EXIF value from 5 to 8, as :func:`sideways` returns it.

    Returns:
        (W, H) or (W, H, C), contiguous.
    """
    return np.ascontiguousarray(TURNS[orientation](stored))
