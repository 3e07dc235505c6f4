"""BMPs with a palette, which Pillow takes for plain grey when the palette looks like it, whatever the bits of a pixel are.

Its run lengths also lose the last pixel of stretches of odd length with 4 bits, and fail where it took the palette for grey.
Source: Microsoft, "BITMAPINFOHEADER structure" and "Bitmap Compression" (Win32 API, Windows GDI).
"""

from __future__ import annotations

import numpy as np
from PIL import Image, ImagePalette

_PIXELS_AT, _HEADER_AT, _BITS_AT = 10, 14, {12: 24}
_RLE8, _RLE4 = 1, 2
_RAW = {1: "P;1", 4: "P;4", 8: "P"}


def keep_palette(image: Image.Image, data: bytes) -> None:
    """Let Pillow read a BMP's pixels as what they are, indices, where its palette only looks like plain grey.

    Args:
        image: opened, not loaded.
        data: the whole file.
    """
    header = int.from_bytes(data[_HEADER_AT : _HEADER_AT + 4], "little")
    at = _BITS_AT.get(header, 28)
    bits = int.from_bytes(data[at : at + 2], "little")
    if image.mode not in ("1", "L", "P") or bits not in _RAW or (image.mode, bits) == ("1", 1):
        return
    entry = 3 if header == 12 else 4
    begin = _HEADER_AT + header
    count = 0 if header == 12 else int.from_bytes(data[46:50], "little")
    count = min(count or 1 << bits, 256)
    end = begin + entry * count
    pixels = int.from_bytes(data[_PIXELS_AT : _PIXELS_AT + 4], "little")
    end = min(end, pixels) if pixels > begin else end
    if image.mode != "P":
        if image.mode == "L" and bits == 8 and count == 256:
            return  # plain grey indeed
        image._mode = "P"
        image.palette = ImagePalette.raw("BGRX" if entry == 4 else "BGR", data[begin:end])
        tile = image.tile[0]
        if tile.codec_name == "raw":
            image.tile = [tile._replace(args=(_RAW[bits], *tile.args[1:]))]


def run_lengths(image: Image.Image, data: bytes) -> Image.Image | None:
    """The picture of a BMP with run lengths; None if it has none.

    Args:
        image: opened and through :func:`keep_palette`, not loaded.
        data: the whole file.

    Returns:
        A loaded image of the same mode and palette. Pixels that are not written are of colour 0.

    Raises:
        ValueError: the file ends before its runs do.
    """
    if not image.tile or image.tile[0].codec_name != "bmp_rle":
        return None
    tile = image.tile[0]
    narrow, direction = tile.args[1], tile.args[-1]
    width, height = image.size
    rows = np.zeros((height, width), dtype=np.uint8)
    at, x, y = tile.offset, 0, 0
    while y < height:
        if at + 2 > len(data):
            raise ValueError("cut off")
        count, value = data[at], data[at + 1]
        at += 2
        if count:
            fill = (value >> 4, value & 15) if narrow else (value, value)
            rows[y, x : x + count : 2] = fill[0]
            rows[y, x + 1 : x + count : 2] = fill[1]
            x += count
        elif value == 0:
            x, y = 0, y + 1
        elif value == 1:
            break
        elif value == 2:
            if at + 2 > len(data):
                raise ValueError("cut off")
            x, y, at = x + data[at], y + data[at + 1], at + 2
        else:
            size = (value + 1) // 2 if narrow else value
            raw = np.frombuffer(data[at : at + size], dtype=np.uint8)
            if len(raw) < size:
                raise ValueError("cut off")
            if narrow:
                raw = np.stack([raw >> 4, raw & 15], axis=1).ravel()[:value]
            room = max(0, min(value, width - x))
            rows[y, x : x + room] = raw[:room]
            x, at = x + value, at + size + size % 2
    made = Image.fromarray(rows[::-1] if direction == -1 else rows)
    if image.mode == "P":
        made.putpalette(image.palette.palette, image.palette.rawmode or "RGB")
    made.info.update(image.info)
    return made
