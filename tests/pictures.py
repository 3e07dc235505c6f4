"""Image files for the tests of the door for images."""

from __future__ import annotations

import io
import struct
import zlib

import numpy as np
import pytest
from PIL import Image
from pillow_heif import register_heif_opener

from seg_demo.core.errors import BadImageError, Message
from seg_demo.inputs.images import decode

RNG = np.random.default_rng(0)
CORNERS = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [255, 255, 0]], dtype=np.uint8)
register_heif_opener(thumbnails=False, depth_images=False, aux_images=False)  # which also lets Pillow save it


def saved(image: Image.Image, format: str, **options: object) -> bytes:
    """The bytes of an image file."""
    buffer = io.BytesIO()
    image.save(buffer, format, **options)
    return buffer.getvalue()


def picture(height: int = 37, width: int = 53) -> np.ndarray:
    """Smooth colours with a different block in each corner, so that every turn and flip shows."""
    y, x = np.mgrid[:height, :width]
    image = np.stack([x * 255 // width, y * 255 // height, 128 + 0 * x], axis=-1).astype(np.uint8)
    for corner, color in zip(((0, 0), (0, -8), (-8, 0), (-8, -8)), CORNERS, strict=True):
        rows, columns = (slice(start, start + 8 or None) for start in corner)
        image[rows, columns] = color
    return image


def refused(data: object, **limits: int) -> Message:
    """The sentence with which something is refused; it says what is accepted."""
    with pytest.raises(BadImageError) as caught:
        decode(data, **limits)
    text = caught.value.message
    assert "Accepted are JPEG, PNG" in text and text.endswith(".") and "\n" not in text
    assert "Traceback" not in text and "/tmp" not in text and "0x" not in text
    return text


def auto(values: np.ndarray) -> np.ndarray:
    """What the window ``auto`` makes of a grey measurement: black at the percentile 0.35 of its values, white at 99.65."""
    low, high = np.percentile(values, (0.35, 99.65))
    return np.rint(np.clip((values.astype(float) - low) / (high - low), 0, 1) * 255).astype(np.uint8)


def png(header: bytes, rows: bytes) -> bytes:
    """A PNG from its IHDR and its filtered rows."""
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(struct.pack(">I", len(v)) + k + v + struct.pack(">I", zlib.crc32(k + v)) for k, v in chunks)
    return b"\x89PNG\r\n\x1a\n" + body
