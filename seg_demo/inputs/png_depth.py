"""PNGs with 16 bits in more than one channel, of which Pillow keeps the upper 8 alone.

Its decoder is run a second time for the lower 8: an unpacker for the other byte order takes the other byte of each sample.
Grey with alpha is unpacked as four channels of 8 bits, which stores both bytes of both.
"""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from seg_demo.inputs.samples import FULL_RANGE, GREY, RGB, Samples

# Pillow's raw mode: that of the other byte.
_OTHER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
_GREY_ALPHA = "LA;16B"
# Bytes per pixel while the second half is added: two images of Pillow's, the samples.
COST = 14.0


def is_deep(image: Image.Image) -> bool:
    """Whether Pillow will drop the lower half of its samples.

    Args:
        image: opened, not loaded.
    """
    return image.format == "PNG" and bool(image.tile) and (image.tile[0].args in _OTHER or image.tile[0].args == _GREY_ALPHA)


def uses_few_bits(image: Image.Image) -> bool:
    """Whether the upper half says too little: no colour reaches 2**14, or one colour is transparent, which needs all 16 bits.

    Args:
        image: loaded.
    """
    most = [high for _, high in image.getextrema()][: 1 if image.mode == "LA" else 3]
    return max(most) < FULL_RANGE >> 8 or "transparency" in image.info


def samples(data: bytes) -> Samples:
    """All 16 bits.

    Args:
        data: a PNG for which :func:`is_deep` holds.

    Raises:
        OSError: and whatever else Pillow raises on damaged files.
    """
    upper = Image.open(io.BytesIO(data), formats=["PNG"])
    raw = upper.tile[0].args
    if raw == _GREY_ALPHA:
        upper._mode = "RGBA"
        upper.tile = [upper.tile[0]._replace(args="RGBA")]
        both = np.asarray(upper).view(">u2").astype(np.uint16)
    else:
        lower = Image.open(io.BytesIO(data), formats=["PNG"])
        lower.tile = [lower.tile[0]._replace(args=_OTHER[raw])]
        both = np.asarray(upper).astype(np.uint16)
        both <<= 8
        both |= np.asarray(lower)
    colours = 1 if raw == _GREY_ALPHA else 3
    values, alpha = both[..., :colours], both[..., colours] if both.shape[2] > colours else None
    key = upper.info.get("transparency")
    if alpha is None and isinstance(key, tuple) and len(key) == 3:
        alpha = np.where((values == np.array(key, dtype=np.uint16)).all(axis=2), np.uint16(0), np.uint16(65_535))
    turn = upper.getexif().get(0x0112, 1)
    profile = upper.info.get("icc_profile")
    return Samples(values, GREY if colours == 1 else RGB, 16, alpha, turn=turn if turn in range(1, 9) else 1, profile=profile)
