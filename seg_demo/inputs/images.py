"""The one door for images: whatever is sent becomes upright RGB, or a BadImageError that a person understands."""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Callable
from typing import Any

import numpy as np
from PIL import Image

from seg_demo.errors import BadImageError
from seg_demo.inputs import pixels
from seg_demo.inputs.formats import identify
from seg_demo.inputs.sources import Limits, check_bytes, check_size, limits_of, read_file, read_text, refuse
from seg_demo.inputs.structure import decoding_cost, fault

# Memory that decoding may take at its peak, per pixel of the limit: 400 MB for 50 megapixels.
_BYTES_PER_PIXEL = 8
# Bytes of a decoded image from which on it is worth a millisecond to give memory back.
_LARGE = 20_000_000
Source = bytes | str | os.PathLike | Image.Image | np.ndarray


def _open(data: bytes, limits: Limits) -> tuple[Image.Image, str]:
    """A Pillow image that is within the limits and not decoded yet, and what it is; no decoder's exception leaves."""
    check_bytes(len(data), limits)
    kind = identify(data)
    if kind.format is None:
        raise refuse(f"This is {kind.name}, which cannot be opened as a picture.", limits, kind.advice)
    if reason := fault(data, kind.format):
        raise refuse(f"This is {kind.name} that is damaged: {reason}.", limits, "Save or download it again and send that.")
    try:
        image = Image.open(io.BytesIO(data), formats=[kind.format])
        cost = decoding_cost(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        what = f"This is {kind.name} with far more pixels than are accepted."
        raise refuse(what, limits, "Scale it down or cut out a part and send that.") from error
    except Exception as error:  # decoders of untrusted bytes raise anything: SyntaxError, struct.error, TypeError, ...
        what = f"This is {kind.name} that is damaged, or of a rare variant."
        raise refuse(what, limits, "Save it again as PNG or JPEG and send that.") from error
    check_size(image.width, image.height, limits)
    if image.width * image.height * cost > limits.pixels * _BYTES_PER_PIXEL:
        accepted = limits.pixels / 1e6 * _BYTES_PER_PIXEL / cost
        what = f"Decoding {kind.name} like this one takes much memory: at most {accepted:.4g} megapixels of it are accepted,"
        what += f" but it has {image.width * image.height / 1e6:,.1f}."
        raise refuse(what, limits, "Scale it down, or save it as plain JPEG or PNG and send that.")
    pixels.remember_bits(image)
    if kind.format == "AVIF":
        image._decoder = _DroppedDecoder(image._decoder)
    return image, kind.name


class _DroppedDecoder:
    """Pillow's decoder of an AVIF, let go as soon as it has given the picture: Pillow keeps it, and with it the picture's
    planes, while it makes its own copy.

    Args:
        decoder: of ``PIL.AvifImagePlugin.AvifImageFile``.
    """

    def __init__(self, decoder: Any) -> None:
        self._decoder = decoder

    def get_frame(self, number: int) -> tuple[bytes, int, int, int]:
        """The pixels and times of a frame; once."""
        decoder, self._decoder = self._decoder, None
        return decoder.get_frame(number)


def _load(image: Image.Image, name: str, limits: Limits) -> Image.Image:
    """The image with its pixels decoded."""
    try:
        image.load()
    except MemoryError as error:
        what = f"There is not enough memory to decode this image of {image.width:,} x {image.height:,} pixels."
        raise refuse(what, limits, "Scale it down and send that.") from error
    except Exception as error:  # see above
        what = f"This is {name} that is damaged or cut off: its pixels cannot be decoded."
        raise refuse(what, limits, "Save or download it again and send that.") from error
    return image


def _read(data: Source, limits: Limits) -> bytes:
    """The bytes of a file, by whatever it is named."""
    if isinstance(data, str):
        data = read_text(data, limits)
    elif isinstance(data, os.PathLike):
        data = read_file(data, limits)
    if not isinstance(data, bytes | bytearray | memoryview):
        what = f"An image was expected, but {type(data).__name__} came."
        raise refuse(what, limits, "Send a file, its bytes, a PIL image or a uint8 array.")
    return bytes(data)


def _image(data: Source, limits: Limits) -> Image.Image:
    """A loaded Pillow image from anything but an array."""
    if isinstance(data, Image.Image):
        check_size(data.width, data.height, limits)
        return _load(data, "an image", limits)
    return _load(*_open(_read(data, limits), limits), limits)


def _array(array: np.ndarray, limits: Limits) -> np.ndarray:
    """An array as RGB: grey is repeated, alpha lies on white."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        wanted = "uint8 of shape (H, W), (H, W, 3) or (H, W, 4) was expected"
        what = f"This array is {array.dtype} of shape {array.shape}, but {wanted}."
        raise refuse(what, limits, "Scale the values to 0..255, put channels last and convert with astype(numpy.uint8).")
    check_size(array.shape[1], array.shape[0], limits)
    if channels == 4:
        return pixels.to_rgb(Image.fromarray(array))
    if channels == 3:
        return np.ascontiguousarray(array)
    return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)


def decode(
    data: Source, *, max_pixels: int | None = None, max_bytes: int | None = None, max_side: int | None = None
) -> np.ndarray:
    """An image as a person sees it: see :func:`seg_demo.inputs.pixels.to_rgb` for colours, depth, alpha and rotation.

    Only the first frame of animations and the first page of TIFFs is read. Nothing is ever downloaded, but text that
    is no ``data:`` URL names a file: never hand on a stranger's text without having checked that.

    Args:
        data: a file's bytes, its path, a ``data:`` URL, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4).
        max_pixels: most pixels, height times width; None takes the setting.
        max_bytes: most bytes of a file; None takes the setting.
        max_side: longest side in pixels; None takes the setting.

    Returns:
        uint8 (H, W, 3), C-contiguous, upright RGB. An array that is one already is returned as it is.

    Raises:
        BadImageError: anything else than an accepted image within the limits.
    """
    limits = limits_of(max_pixels, max_bytes, max_side)
    if isinstance(data, np.ndarray):
        return _array(data, limits)
    array = _convert(_image(data, limits), limits, pixels.to_rgb)
    if array.size >= _LARGE:
        give_back()
    return array


def pixels_of(data: Source) -> int:
    """Pixels, height times width, that an image says it has; nothing is decoded.

    Args:
        data: as for :func:`decode`.

    Returns:
        0 for what :func:`decode` refuses unseen.
    """
    limits = limits_of(None, None, None)
    try:
        if isinstance(data, np.ndarray):
            return data.shape[0] * data.shape[1] if data.ndim in (2, 3) else 0
        image = data if isinstance(data, Image.Image) else _open(_read(data, limits), limits)[0]
    except BadImageError:
        return 0
    return image.width * image.height


def decode_mask(data: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """A label mask with the numbers that its file stores: see :func:`seg_demo.inputs.pixels.to_labels`.

    Args:
        data: a file's bytes, its path, a ``data:`` URL or a PIL image.

    Returns:
        The mask, upright: uint8 or uint16 (H, W), or uint8 (H, W, 3) if it is coloured; and, for palette images, the
        palette, uint8 (K, 3) RGB.

    Raises:
        BadImageError: anything else than an accepted image within the limits, or values that are no label ids.
    """
    limits = limits_of(None, None, None)
    image = _image(data, limits)
    labels = _convert(image, limits, pixels.to_labels)
    if image.mode != "P":
        return labels, None
    palette = np.frombuffer(bytes(image.getpalette("RGB") or ()), dtype=np.uint8).reshape(-1, 3)
    return labels, palette.copy()


def give_back() -> None:
    """Give memory that was freed back to the system: glibc keeps what smaller blocks took, as Pillow's copy of the pixels,
    4 bytes each, to itself."""
    try:
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError, TypeError):
        pass  # another C library


def _convert(image: Image.Image, limits: Limits, convert: Callable[[Image.Image], np.ndarray]) -> np.ndarray:
    """The pixels of a loaded image; what goes wrong becomes a sentence."""
    try:
        return convert(image)
    except pixels.PixelError as error:
        raise refuse(f"This image cannot be used: {error}.", limits, "Mend the pixels and send it again.") from error
    except MemoryError as error:
        raise refuse("There is not enough memory for this image.", limits, "Scale it down and send that.") from error
    except (ValueError, OSError, TypeError, KeyError, IndexError) as error:
        what = f"This image's pixels ({image.mode}) cannot be shown."
        raise refuse(what, limits, "Save it again as PNG or JPEG and send that.") from error
