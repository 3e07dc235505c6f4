"""A loaded Pillow image, or samples of any depth → the upright RGB that a person sees, strip by strip so that memory stays near one copy."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import numpy as np
from PIL import Image, ImageCms

from seg_demo.inputs.samples import GREY, ORIENTATION, Samples, label_values, picture

_STRIP_PIXELS = 1 << 20
_DEEP = ("I;16", "I;16L", "I;16B", "I;16N", "I", "F")
_MIN_IS_WHITE = 262
# Pillow's raw modes of 2- and 4-bit grey, and what it multiplies them by.
_STRETCHED = {"L;2": 85, "L;4": 17}
_STRETCH = "grey stretched by"
Strips = Callable[[Image.Image], np.ndarray]


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
        value = image.getexif().get(ORIENTATION, 1)
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


def _deep(image: Image.Image) -> Samples:
    """A grey image of 16 or 32 bits, integer or float."""
    values = np.asarray(image)
    values = values.astype(values.dtype.newbyteorder("="), copy=False)[..., None]
    inverted = getattr(image, "tag_v2", {}).get(_MIN_IS_WHITE) == 0
    key = image.info.get("transparency")
    alpha = None
    if isinstance(key, int) and values.dtype == np.uint16:  # PNG; Pillow cuts the key to 8 bits, and finds it everywhere
        alpha = np.where(values[..., 0] == key, np.uint16(0), np.uint16(65_535))
    return Samples(values, GREY, values.dtype.itemsize * 8, alpha, inverted=inverted, turn=orientation(image))


def to_rgb(image: Image.Image | Samples) -> np.ndarray:
    """What a person sees of an image.

    EXIF orientation is applied; colours with an ICC profile become sRGB; transparent parts lie on white. What has more than 8
    bits is stretched or cut to 8, see :func:`seg_demo.inputs.samples.picture`.

    Args:
        image: loaded Pillow image of any mode, or samples, whose ``values`` are let go.

    Returns:
        uint8 (H, W, 3), C-contiguous.

    Raises:
        PixelError: no pixel has data.
    """
    if not isinstance(image, Samples):
        if image.mode not in _DEEP:
            return _fill(image, _eight_bit(image), 3, np.uint8)
        image = _deep(image)
    shown = picture(image)
    return _fill(shown, _eight_bit(shown), 3, np.uint8)


def to_labels(image: Image.Image | Samples) -> np.ndarray:
    """The stored numbers of a mask: never scaled, never colour-converted, alpha left out, EXIF orientation applied.

    Args:
        image: loaded Pillow image, or samples.

    Returns:
        uint8 (H, W) for 1-bit (0 and 1), grey (2 and 4 bits as stored) and palette images; uint16 (H, W) for 16-bit
        ones, also in three channels that are alike, and for 32-bit integers or floats that hold labels; (H, W, 3) for coloured
        ones, uint8, or uint16 where 16 bits do not only repeat 8.

    Raises:
        PixelError: values that are no label ids (negative, fractional or above 65535), or neither one number nor one colour
            per pixel.
    """
    if isinstance(image, Samples):
        return label_values(image)
    if image.mode in ("1", "L", "P"):
        stretch = image.info.get(_STRETCH, 1)
        return _fill(image, lambda strip: np.asarray(strip).astype(np.uint8) // stretch, None, np.uint8)
    if image.mode in ("LA", "La", "PA"):
        return _fill(image, lambda strip: np.asarray(strip)[..., 0], None, np.uint8)
    if image.mode not in _DEEP:
        return _fill(image, lambda strip: np.asarray(strip.convert("RGB")), 3, np.uint8)
    return label_values(_deep(image))
