"""A large picture made small, in bands: Pillow's own copy of 50 megapixels, and the bytes that it is made of, take 350 MB."""

from __future__ import annotations

import numpy as np
from PIL import Image

_BAND_PIXELS = 1 << 21


def shrunk(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """As ``Image.fromarray(image).resize(size, Image.Resampling.BOX)``.

    Args:
        image: uint8 (H, W, 3), RGB.
        size: (width, height) in pixels, none larger than the image's.

    Returns:
        The small picture, RGB.
    """
    height, width = image.shape[:2]
    scale = height / size[1]
    small = Image.new("RGB", size)
    rows = max(1, int(_BAND_PIXELS / width / scale))
    for top in range(0, size[1], rows):
        bottom = min(size[1], top + rows)
        # The rows of the large picture that these rows are made of, and one more on either side.
        first, last = max(0, int(top * scale) - 1), min(height, int(np.ceil(bottom * scale)) + 1)
        box = (0, top * scale - first, width, min(bottom * scale - first, last - first))
        band = Image.fromarray(image[first:last])
        small.paste(band.resize((size[0], bottom - top), Image.Resampling.BOX, box=box), (0, top))
    return small


def fitting(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) of a picture whose longer side is at most ``side``, at least a pixel each.

    >>> fitting(4000, 3000, 2000), fitting(10, 20, 2000), fitting(20_000, 1, 100)
    ((2000, 1500), (10, 20), (100, 1))
    """
    factor = min(1.0, side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))
