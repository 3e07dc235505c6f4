"""A loaded Pillow image → the upright RGB that a person sees, strip by strip so that memory stays near one copy."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

_STRIP_PIXELS = 1 << 20
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_MIN_IS_WHITE = 262
_ORIENTATION = 0x0112
# 16-bit data below this leaves its two upper bits empty: a camera of 10 to 14 bits, nearly black if shown as it is.
_FULL_RANGE = 1 << 14
_TAIL = 0.001
# Pillow's raw modes of 2- and 4-bit grey, and what it multiplies them by.
_STRETCHED = {"L;2": 85, "L;4": 17}
_STRETCH = "grey stretched by"
Strips = Callable[[Image.Image], np.ndarray]


class PixelError(ValueError):
    """Pixel values that no picture can be made of; the text is half a sentence that says which."""


def remember_bits(image: Image.Image) -> None:
    """Note in ``image.info`` that Pillow will stretch 2- or 4-bit grey to 8 bits, which :func:`to_labels` has to undo.

    Args:
        image: opened, but not yet loaded: loading forgets how the pixels are stored.
    """
    stored = image.tile[0].args if image.tile else None
    raw = stored[0] if isinstance(stored, tuple) and stored else stored
    if raw in _STRETCHED:
        image.info[_STRETCH] = _STRETCHED[raw]


def orientation(image: Image.Image) -> int:
    """EXIF orientation, 1 to 8; 1 where there is none or what stands there is nonsense.

    Args:
        image: loaded image. Pillow itself turns TIFF images while loading and removes the tag.
    """
    try:
        value = image.getexif().get(_ORIENTATION, 1)
    except Exception:  # Pillow's EXIF parser raises anything on bytes that are no EXIF; the pixels are good all the same
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


def _stored_view(upright: np.ndarray, turn: int) -> np.ndarray:
    """The upright array seen in the order in which the file stores its rows, for EXIF orientation ``turn``."""
    if turn >= 5:
        upright = upright.swapaxes(0, 1)
    if turn in (3, 4, 6, 7):
        upright = upright[::-1]
    if turn in (2, 3, 7, 8):
        upright = upright[:, ::-1]
    return upright


def _strips(image: Image.Image) -> Iterator[tuple[int, Image.Image]]:
    """The image in strips of full width with about a million pixels: (first row, strip)."""
    rows = max(1, _STRIP_PIXELS // image.width)
    for top in range(0, image.height, rows):
        yield top, image.crop((0, top, image.width, min(top + rows, image.height)))


def _fill(image: Image.Image, convert: Strips, channels: int | None, dtype: type) -> np.ndarray:
    """A new upright array filled with the converted strips of the image."""
    turn = orientation(image)
    height, width = (image.width, image.height) if turn >= 5 else (image.height, image.width)
    upright = np.empty((height, width) if channels is None else (height, width, channels), dtype=dtype)
    stored = _stored_view(upright, turn)
    for top, strip in _strips(image):
        stored[top : top + strip.height] = convert(strip)
    return upright


def _to_srgb(image: Image.Image) -> tuple[str, ImageCms.ImageCmsTransform] | None:
    """Mode and transform that take the image's colours to sRGB, or None where its numbers are to be taken as they are."""
    if image.mode == "LAB":
        return "LAB", ImageCms.buildTransform(ImageCms.createProfile("LAB"), ImageCms.createProfile("sRGB"), "LAB", "RGB")
    stored = image.info.get("icc_profile")
    if not stored:
        return None
    try:
        profile = ImageCms.ImageCmsProfile(io.BytesIO(stored))
        name = (ImageCms.getProfileDescription(profile) or "").lower()
        if "srgb" in name and "linear" not in name:
            return None
        mode = {"GRAY": "L", "RGB": "RGB", "CMYK": "CMYK"}[profile.profile.xcolor_space.strip().upper()]
        if (mode == "CMYK") != (image.mode == "CMYK") or (mode == "L" and image.mode not in ("1", "L", "LA", "La")):
            return None
        return mode, ImageCms.buildTransform(profile, ImageCms.createProfile("sRGB"), mode, "RGB")
    except (ImageCms.PyCMSError, KeyError, OSError, TypeError, ValueError):
        return None  # a broken profile: browsers ignore it too


def _eight_bit(image: Image.Image) -> Strips:
    """How a strip of at most 8 bits per channel becomes RGB: colours to sRGB, then alpha over white."""
    to_srgb = _to_srgb(image)
    premultiplied = image.mode in ("La", "RGBa")
    has_alpha = premultiplied or image.mode in ("LA", "PA", "RGBA") or "transparency" in image.info

    def convert(strip: Image.Image) -> np.ndarray:
        alpha = None
        if has_alpha:
            strip = (strip.convert(strip.mode.upper()) if premultiplied else strip).convert("RGBA")
            alpha = strip.getchannel("A")
            strip = strip.convert("RGB")
        if to_srgb:
            mode, transform = to_srgb
            strip = ImageCms.applyTransform(strip.convert(mode), transform)
        strip = strip.convert("RGB")
        if alpha is not None:
            white = Image.new("RGB", strip.size, "white")
            white.paste(strip, mask=alpha)
            strip = white
        return np.asarray(strip)

    return convert


def _histogram(image: Image.Image) -> np.ndarray:
    """int64 (65536,): how often each value of a 16-bit image occurs."""
    counts = np.zeros(1 << 16, dtype=np.int64)
    for _, strip in _strips(image):
        counts += np.bincount(np.asarray(strip).astype(np.uint16).ravel(), minlength=1 << 16)
    return counts


def _range16(image: Image.Image) -> tuple[float, float]:
    """What becomes black and white of a 16-bit image: the full range, or the used one if the two upper bits are empty."""
    counts = _histogram(image)
    used = np.flatnonzero(counts)
    if used[-1] >= _FULL_RANGE or used.size == 1:
        return 0.0, 65_535.0
    # A few hot or dead pixels must not decide: a thousandth of the pixels may fall outside on either side.
    shares = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(shares, _TAIL), np.searchsorted(shares, 1 - _TAIL)
    return (float(low), float(high)) if low < high else (float(used[0]), float(used[-1]))


def _range(image: Image.Image) -> tuple[float, float]:
    """Smallest and largest value of a 32-bit integer or float image; PixelError if one is not finite."""
    low, high = np.inf, -np.inf
    for _, strip in _strips(image):
        values = np.asarray(strip)
        if not np.isfinite(values).all():
            raise PixelError("some of its pixels are NaN or infinite")
        low, high = min(low, float(values.min())), max(high, float(values.max()))
    return low, high


def _deep(image: Image.Image) -> Strips:
    """How a strip of 16 or 32 bits, integer or float, becomes grey of 8 bits."""
    low, high = _range16(image) if image.mode.startswith("I;16") else _range(image)
    tags = getattr(image, "tag_v2", {})
    inverted = tags.get(_MIN_IS_WHITE) == 0
    whole = (low, high) == (0.0, 65_535.0) and image.mode.startswith("I;16")

    def convert(strip: Image.Image) -> np.ndarray:
        values = np.asarray(strip)
        if whole:
            grey = (values >> 8).astype(np.uint8)
        elif low == high:
            grey = np.zeros(values.shape, dtype=np.uint8)
        else:
            scaled = (values.astype(np.float64) - low) * (255 / (high - low))
            grey = np.clip(np.rint(scaled), 0, 255).astype(np.uint8)
        return (255 - grey if inverted else grey)[..., None]

    return convert


def to_rgb(image: Image.Image) -> np.ndarray:
    """What a person sees of an image.

    EXIF orientation is applied; colours with an ICC profile become sRGB; transparent parts lie on white. 16-bit grey
    keeps its upper 8 bits; if no value reaches 2**14 (microscopes and other cameras of 10 to 14 bits), the used range is
    stretched, a thousandth of the pixels clipped at either end. 32-bit integers and floats are stretched from their
    smallest to their largest value; a constant one is black.

    Args:
        image: loaded Pillow image of any mode.

    Returns:
        uint8 (H, W, 3), C-contiguous.

    Raises:
        PixelError: NaN or infinite pixels.
    """
    return _fill(image, _deep(image) if image.mode in _DEEP else _eight_bit(image), 3, np.uint8)


def to_labels(image: Image.Image) -> np.ndarray:
    """The stored numbers of a mask: never scaled, never colour-converted, alpha left out, EXIF orientation applied.

    Args:
        image: loaded Pillow image.

    Returns:
        uint8 (H, W) for 1-bit (0 and 1), grey (2 and 4 bits as stored) and palette images; uint16 (H, W) for 16-bit
        ones and for 32-bit integers or floats that hold labels; uint8 (H, W, 3) for coloured ones.

    Raises:
        PixelError: values that are no label ids (negative, fractional or above 65535).
    """
    if image.mode in ("1", "L", "P"):
        stretch = image.info.get(_STRETCH, 1)
        return _fill(image, lambda strip: np.asarray(strip).astype(np.uint8) // stretch, None, np.uint8)
    if image.mode in ("LA", "La", "PA"):
        return _fill(image, lambda strip: np.asarray(strip)[..., 0], None, np.uint8)
    if image.mode not in _DEEP:
        return _fill(image, lambda strip: np.asarray(strip.convert("RGB")), 3, np.uint8)
    if not image.mode.startswith("I;16"):
        low, high = _range(image)
        if low < 0 or high > 65_535:
            raise PixelError(f"its values reach from {low:g} to {high:g}, but label ids reach from 0 to 65535")

    def convert(strip: Image.Image) -> np.ndarray:
        values = np.asarray(strip)
        labels = values.astype(np.uint16)
        if (labels != values).any():
            raise PixelError("some of its values are fractions, but label ids are whole numbers")
        return labels

    return _fill(image, convert, None, np.uint16)
