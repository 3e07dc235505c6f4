"""The one door for images: whatever is sent becomes upright RGB, or a BadImageError that a person understands."""

from __future__ import annotations

import ctypes
import io
import os
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from PIL import Image

from seg_demo.errors import BadImageError
from seg_demo.inputs import bmp, pixels, png_depth
from seg_demo.inputs.formats import identify
from seg_demo.inputs.frames import note_of_frames
from seg_demo.inputs.samples import PixelError, Samples
from seg_demo.inputs.sources import Limits, check_bytes, check_size, limits_of, read_file, read_text, refuse
from seg_demo.inputs.structure import decoding_cost, fault
from seg_demo.inputs.tiff import Damaged, Tiff, TiffError, let_libtiff_read, mend_palette, whole_first
from seg_demo.messages import Message

# Memory that decoding may take at its peak, per pixel of the limit: 400 MB for 50 megapixels.
_BYTES_PER_PIXEL = 8
# Bytes of a decoded image from which on it is worth a millisecond to give memory back.
_LARGE = 20_000_000


@dataclass(frozen=True, eq=False)
class Picture:
    """What a person sees of a file.

    Attributes:
        pixels: uint8 (H, W, 3), upright RGB.
        notes: what is not seen of the file, or seen otherwise than it was meant, as whole sentences: which page, frame or channels
            are shown, and where there are no data. Empty for an ordinary photo.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()


Source = bytes | str | os.PathLike | Image.Image | np.ndarray | Picture
_AGAIN = Message("advice.again")


def _open(data: bytes, limits: Limits) -> tuple[Image.Image | Tiff, str]:
    """A picture that is within the limits and not decoded yet, and what it is; no decoder's exception leaves."""
    check_bytes(len(data), limits)
    kind = identify(data)
    if kind.format is None:
        raise refuse(Message("images.no_picture", kind=kind.name), limits, kind.advice)
    if reason := fault(data, kind.format):
        raise refuse(Message("images.damaged", kind=kind.name, reason=reason), limits, _AGAIN)
    if kind.format == "TIFF" and (file := _tiff(data, limits)) is not None:
        return file, kind.name
    try:
        image = Image.open(io.BytesIO(data), formats=[kind.format])
        cost = decoding_cost(image)
        if kind.format == "BMP":
            bmp.keep_palette(image, data)
        if kind.format == "TIFF":
            let_libtiff_read(image)
            mend_palette(image)
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        what = Message("images.far_too_many_pixels", kind=kind.name)
        raise refuse(what, limits, Message("advice.scale_or_cut")) from error
    except Exception as error:  # decoders of untrusted bytes raise anything: SyntaxError, struct.error, TypeError, ...
        what = Message("images.damaged_or_rare", kind=kind.name)
        raise refuse(what, limits, Message("advice.save_again_as_png")) from error
    check_size(image.width, image.height, limits)
    _check_cost(image.width * image.height, cost, kind.name, limits)
    pixels.remember_bits(image)
    if kind.format == "AVIF":
        image._decoder = _DroppedDecoder(image._decoder)
    return image, kind.name


def _check_cost(size: int, cost: float, name: str, limits: Limits) -> None:
    """BadImageError if decoding so many pixels takes too much memory."""
    if size * cost > limits.pixels * _BYTES_PER_PIXEL:
        accepted = limits.pixels / 1e6 * _BYTES_PER_PIXEL / cost
        what = Message("images.costly", kind=name, most=accepted, megapixels=size / 1e6)
        raise refuse(what, limits, Message("advice.scale_or_plain"))


def _tiff(data: bytes, limits: Limits) -> Tiff | None:
    """A TIFF that Pillow reads wrong or not at all, within the limits; None for one that is Pillow's."""
    try:
        file = Tiff(data)
        if file.pillow_reads_it():
            return None
        check_size(file.width, file.height, limits)
        _check_cost(file.width * file.height, file.cost, Message("kinds.tiff"), limits)
    except (TiffError, Damaged) as error:
        raise _unread(error, limits) from error
    return file


def _unread(error: Exception, limits: Limits) -> BadImageError:
    """Why a TIFF is not read."""
    if isinstance(error, Damaged):
        return refuse(Message("images.damaged", kind=Message("kinds.tiff"), reason=error), limits, _AGAIN)
    return refuse(Message("images.tiff_not_read", reason=error), limits, Message("advice.save_as_rgb"))


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
    _decoded(image.load, image.width, image.height, name, limits)
    return image


def _decoded(decoder: Callable[[], Any], width: int, height: int, name: str, limits: Limits) -> Any:
    """What a decoder makes; whatever it raises becomes a sentence."""
    try:
        return decoder()
    except MemoryError as error:
        what = Message("images.no_memory_to_decode", width=width, height=height)
        raise refuse(what, limits, Message("advice.scale")) from error
    except (TiffError, Damaged) as error:
        raise _unread(error, limits) from error
    except Exception as error:  # see above
        what = Message("images.undecodable", kind=name)
        raise refuse(what, limits, _AGAIN) from error


def _read(data: Source, limits: Limits) -> bytes:
    """The bytes of a file, by whatever it is named."""
    if isinstance(data, str):
        data = read_text(data, limits)
    elif isinstance(data, os.PathLike):
        data = read_file(data, limits)
    if not isinstance(data, bytes | bytearray | memoryview):
        raise refuse(Message("images.other_type", came=type(data).__name__), limits, Message("advice.send_file_or_array"))
    return whole_first(bytes(data))


def _image(data: Source, limits: Limits, exact: bool = False) -> tuple[Image.Image | Samples, tuple[str, ...]]:
    """A loaded Pillow image, or samples where those hold more, from anything but an array; and the notes on it.

    Args:
        data: as for :func:`decode`.
        limits: of this call.
        exact: all bits that are stored, also where the upper 8 are all that is seen.
    """
    if isinstance(data, Image.Image):
        check_size(data.width, data.height, limits)
        return _load(data, Message("kinds.image"), limits), ()
    data = _read(data, limits)
    image, name = _open(data, limits)
    size = image.width, image.height
    if isinstance(image, Tiff):
        found = _decoded(image.load, *size, name, limits)
        return found, note_of_frames(image, data) + found.notes
    notes = note_of_frames(Tiff(data) if image.format == "TIFF" else image, data)
    if image.format == "BMP" and image.tile and image.tile[0].codec_name == "bmp_rle":
        return _decoded(lambda: bmp.run_lengths(image, data), *size, name, limits), notes
    deep = png_depth.is_deep(image)
    if not (deep and exact):
        _load(image, name, limits)
    if deep and (exact or png_depth.uses_few_bits(image)):
        image = None
        _check_cost(size[0] * size[1], png_depth.COST, Message("kinds.png"), limits)
        return _decoded(lambda: png_depth.samples(data), *size, name, limits), notes
    return image, notes


def _array(array: np.ndarray, limits: Limits) -> np.ndarray:
    """An array as RGB: grey is repeated, alpha lies on white."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise refuse(Message("images.other_array", dtype=array.dtype, shape=array.shape), limits, Message("advice.convert_array"))
    check_size(array.shape[1], array.shape[0], limits)
    if channels == 4:
        return pixels.to_rgb(Image.fromarray(array))
    if channels == 3:
        return np.ascontiguousarray(array)
    return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)


def read(
    data: Source, *, max_pixels: int | None = None, max_bytes: int | None = None, max_side: int | None = None
) -> Picture:
    """An image as a person sees it: see :func:`seg_demo.inputs.pixels.to_rgb` for colours, depth, alpha and rotation.

    Of animations the first frame is read, of TIFFs the first page, and the notes say so. Nothing is ever downloaded, but text
    that is no ``data:`` URL names a file: never hand on a stranger's text without having checked that.

    Args:
        data: a file's bytes, its path, a ``data:`` URL, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4). What
            was read before is returned as it is.
        max_pixels: most pixels, height times width; None takes the setting.
        max_bytes: most bytes of a file; None takes the setting.
        max_side: longest side in pixels; None takes the setting.

    Returns:
        Its ``pixels`` are C-contiguous. An array that is upright RGB already is taken as it is.

    Raises:
        BadImageError: anything else than an accepted image within the limits.
    """
    if isinstance(data, Picture):
        return data
    limits = limits_of(max_pixels, max_bytes, max_side)
    if isinstance(data, np.ndarray):
        return Picture(_array(data, limits))
    image, notes = _image(data, limits)
    before = len(image.notes) if isinstance(image, Samples) else 0
    array = _convert(image, limits, pixels.to_rgb)
    if isinstance(image, Samples):
        notes += image.notes[before:]
    if array.size >= _LARGE:
        give_back()
    return Picture(array, notes)


def decode(
    data: Source, *, max_pixels: int | None = None, max_bytes: int | None = None, max_side: int | None = None
) -> np.ndarray:
    """The ``pixels`` of :func:`read`.

    Returns:
        uint8 (H, W, 3), C-contiguous, upright RGB.

    Raises:
        BadImageError: as :func:`read`.
    """
    return read(data, max_pixels=max_pixels, max_bytes=max_bytes, max_side=max_side).pixels


def pixels_of(data: Source) -> int:
    """Pixels, height times width, that an image says it has; nothing is decoded.

    Args:
        data: as for :func:`decode`.

    Returns:
        0 for what :func:`decode` refuses unseen.
    """
    limits = limits_of(None, None, None)
    if isinstance(data, Picture):
        data = data.pixels
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
        The mask, upright: uint8 or uint16 (H, W), or (H, W, 3) if it is coloured, uint8, or uint16 where 16 bits do not only
        repeat 8; and, for palette images, the palette, uint8 (K, 3) RGB.

    Raises:
        BadImageError: anything else than an accepted image within the limits, or values that are no label ids.
    """
    limits = limits_of(None, None, None)
    image, _ = _image(data, limits, exact=True)
    labels = _convert(image, limits, pixels.to_labels)
    if isinstance(image, Samples):
        return labels, None if image.palette is None else (image.palette >> 8).astype(np.uint8)
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


def _convert(image: Image.Image | Samples, limits: Limits, convert: Callable[[Any], np.ndarray]) -> np.ndarray:
    """The pixels of a loaded image; what goes wrong becomes a sentence."""
    mode = image.kind if isinstance(image, Samples) else image.mode
    try:
        return convert(image)
    except PixelError as error:
        raise refuse(Message("images.unusable", reason=error), limits, Message("advice.replace_pixels")) from error
    except MemoryError as error:
        raise refuse(Message("images.no_memory"), limits, Message("advice.scale")) from error
    except (ValueError, OSError, TypeError, KeyError, IndexError) as error:
        what = Message("images.mode_not_shown", mode=mode)
        raise refuse(what, limits, Message("advice.save_again_as_png")) from error
