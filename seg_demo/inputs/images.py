"""The one decoder of images: whatever is sent becomes upright RGB, or a BadImageError that a person understands.

How many bytes and pixels are accepted is decided before anything is decoded; of a file with several pictures the first is shown, and
the others are counted without decoding.
"""

from __future__ import annotations

import base64
import binascii
import ctypes
import io
import mmap
import os
import stat
import sys
import threading
import time
import urllib.parse
from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from seg_demo.core import MOST_SHOWN, BadImageError, BadRequestError, Damaged, Message, Picture, PixelError, Stack, TiffError, View
from seg_demo.core.settings import scientific_bytes, settings
from seg_demo.inputs import formats, samples
from seg_demo.inputs.formats import Limits, check_bytes, check_size, decoding_cost, fault, identify, refuse
from seg_demo.inputs.samples import Samples
from seg_demo.inputs.tiff import Tiff, let_libtiff_read, mend_palette, whole_at, whole_first

if TYPE_CHECKING:
    from seg_demo.inputs.scientific import Raster

# Memory that decoding may take at its peak, per pixel of the limit: 400 MB for 50 megapixels.
_BYTES_PER_PIXEL = 8
# From so many pixels on a picture fills memory and takes its time; of such, and of full detail, half as many are worked on at a time.
LARGE_PIXELS = 4_000_000
# Pixels of a raster that the command line reads in parts.
MOST_RASTER = 1 << 34
# Bytes of a decoded image from which on it is worth a millisecond to give memory back.
_LARGE = 20_000_000
# Pillow keeps a picture in one block instead of several of 16 MB. What is larger than 32 MB glibc always takes fresh from the system, empty and at no cost; smaller
# ones come from what was freed, and Pillow overwrites them before it decodes, while no other thread may run: 25 ms for 12 megapixels, 100 for 50.
Image.core.set_block_size(1 << 30)


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
            formats.keep_bmp_palette(image, data)
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
    samples.remember_bits(image)
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


def _read(data: Source, limits: Limits) -> bytes | mmap.mmap:
    """The bytes of a file, by whatever it is named; of a large one of a microscope, scanner or satellite where they lie."""
    if isinstance(data, str):
        data = read_text(data, limits)
    elif isinstance(data, os.PathLike):
        data = read_file(data, limits)
    if isinstance(data, mmap.mmap):
        return data
    if not isinstance(data, bytes | bytearray | memoryview):
        raise refuse(Message("images.other_type", came=type(data).__name__), limits, Message("advice.send_file_or_array"))
    data = bytes(data)
    return whole_first(data) if data.startswith(formats.TIFF_STARTS) else data


def _bytes(data: Any, limits: Limits) -> Any:
    """What is opened here lies in memory, and is no larger than a photograph may be."""
    if isinstance(data, mmap.mmap):
        check_bytes(len(data), limits)
    return data


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
        return _decoded(lambda: formats.bmp_run_lengths(image, data), *size, name, limits), notes
    deep = samples.is_deep_png(image)
    if not (deep and exact):
        _load(image, name, limits)
    if deep and (exact or samples.png_uses_few_bits(image)):
        image = None
        _check_cost(size[0] * size[1], samples.DEEP_PNG_COST, Message("kinds.png"), limits)
        return _decoded(lambda: samples.png_samples(data), *size, name, limits), notes
    return image, notes


def _array(array: np.ndarray, limits: Limits) -> np.ndarray:
    """An array as RGB: grey is repeated, alpha lies on white."""
    channels = array.shape[2] if array.ndim == 3 else 1
    if array.dtype != np.uint8 or array.ndim not in (2, 3) or channels not in (1, 3, 4):
        raise refuse(Message("images.other_array", dtype=array.dtype, shape=array.shape), limits, Message("advice.convert_array"))
    check_size(array.shape[1], array.shape[0], limits)
    if channels == 4:
        return samples.to_rgb(Image.fromarray(array))
    if channels == 3:
        return np.ascontiguousarray(array)
    return np.repeat(array.reshape(*array.shape[:2], 1), 3, axis=2)


def read(
    data: Source, *, view: object = None, max_pixels: int | None = None, max_bytes: int | None = None, max_side: int | None = None,
    with_samples: bool = False, channels: int | None = None,
) -> Picture:  # fmt: skip
    """An image as a person sees it: see :func:`seg_demo.inputs.samples.to_rgb` for colours, depth, alpha and rotation of photographs,
    and :mod:`seg_demo.inputs.scientific` for what microscopes, scanners and satellites write.

    Of animations the first frame is read, and the notes say so. Nothing is ever downloaded, but text
    that is no ``data:`` URL names a file: never hand on a stranger's text without having checked that.

    Args:
        view: which page, channels and intensities are looked at, as :meth:`seg_demo.core.picture.View.parse` takes it; None leaves that to
            the file. What was read before was looked at before.
        data: a file's bytes, its path, a ``data:`` URL, a PIL image, or a uint8 array (H, W), (H, W, 3) or (H, W, 4). What
            was read before is returned as it is.
        max_pixels: most pixels, height times width; None takes the setting.
        max_bytes: most bytes of a file; None takes the setting.
        max_side: longest side in pixels; None takes the setting.
        with_samples: also what scientific files store of all channels.
        channels: also what they store of so many channels (those of the view, or the first), for a network that takes other than a person
            sees; see :func:`seg_demo.inputs.planes.for_network`.

    Returns:
        Its ``pixels`` are C-contiguous. An array that is upright RGB already is taken as it is.

    Raises:
        BadImageError: anything else than an accepted image within the limits.
        BadRequestError: no view, or one of what the file does not have.
    """
    if isinstance(data, Picture):
        return data
    chosen, limits = View.parse(view), limits_of(max_pixels, max_bytes, max_side)
    if chosen is not None and chosen.every:
        raise BadRequestError("views.all_pages")
    if isinstance(data, np.ndarray):
        return _viewed(Picture(_array(data, limits)), chosen)
    if not isinstance(data, Image.Image):
        source, data = data, _read(data, limits)
        asked = View() if chosen is None and channels is not None else chosen
        if (found := _scientific(data, source, asked, limits, "samples" if with_samples or channels is not None else "pixels", channels)) is not None:
            return found
    image, notes = _image(_bytes(data, limits), limits)
    before = len(image.notes) if isinstance(image, Samples) else 0
    array = _convert(image, limits, samples.to_rgb)
    if isinstance(image, Samples):
        notes += image.notes[before:]
    if array.size >= _LARGE:
        give_back()
    return _viewed(Picture(array, notes), chosen)


def _scientific(
    data: bytes | mmap.mmap, source: Source, view: View | None, limits: Limits, want: str, channels: int | None = None
) -> Any:
    """What is wanted of a scientific file, as :func:`seg_demo.inputs.scientific.read` gives it; None for a photograph, and for what is refused."""
    if (form := scientific_form(data, view)) is None:
        return None
    # Ordinary photographs need none of it.
    from seg_demo.inputs import scientific

    limits = limits.of_scientific
    check_bytes(len(data), limits)
    named = isinstance(source, os.PathLike) or (isinstance(source, str) and not source.lower().startswith("data:"))
    return scientific.read(form, identify(data).name, data, Path(source) if named else None, view, limits, want, channels)


def look(data: Source, view: object = None) -> Picture | None:
    """A scientific file with what one chooses a view by: what there is in it, and how its values are distributed.

    Args:
        data: a file's bytes, its path, or a ``data:`` URL.
        view: as for :func:`read`.

    Returns:
        None for a photograph, of which there is nothing to choose.

    Raises:
        BadImageError, BadRequestError: as for :func:`read`.
    """
    chosen, limits = View.parse(view), limits_of(None, None, None)
    if chosen is not None and chosen.every:
        raise BadRequestError("views.all_pages")
    content = _read(data, limits)
    # What a view turns into a measurement is one already.
    return None if scientific_form(content, None) is None else _scientific(content, data, chosen, limits, "look")


def views_of(data: Source, view: View | None, most: int = 0) -> tuple[View | None, ...]:
    """The views of single planes that one stands for: itself, unless it is of all.

    Args:
        data: as for :func:`look`.
        view: what is asked for.
        most: pixels that a raster may have which is read in parts, see :func:`open_raster`.

    Raises:
        BadImageError: as for :func:`read`, as far as can be told before a plane is decoded.
    """
    if view is None or not view.every:
        return (view,)
    if most and (raster := open_raster(data, replace(view, page=None), most)) is not None:
        with raster:
            return view.each(raster.stack)
    limits = limits_of(None, None, None)
    stack: Stack | None = _scientific(_read(data, limits), data, replace(view, page=None), limits, "stack")
    return view.each(stack)


def open_raster(path: str | os.PathLike, view: object = None, most: int | None = None, channels: int | None = None) -> Raster | None:
    """A TIFF beyond the limits of what is decoded as a whole, to be read in parts; None for everything else.

    Args:
        path: of a file.
        view: as for :func:`read`.
        most: pixels that it may have; None takes the owner's setting, which may be 0: nothing is read in parts.
        channels: as for :func:`read`.

    Raises:
        BadImageError: it is refused.
        BadRequestError: no view, or one of what the file does not have.
    """
    from seg_demo.inputs import scientific

    pixels, chosen = settings().raster_pixels if most is None else most, View.parse(view)
    if not pixels or not pixels_in_parts(path, chosen):
        return None
    if chosen is not None and chosen.every:
        raise BadRequestError("views.all_pages")
    return scientific.Raster(Path(path), chosen, Limits(pixels, scientific.MOST_BYTES, formats.ANY_SIDE), channels)


def pixels_in_parts(path: str | os.PathLike, view: View | None) -> int:
    """Pixels of what :func:`open_raster` opens; 0 for everything else."""
    from seg_demo.inputs import scientific

    return scientific.pixels_in_parts(Path(path), view, limits_of(None, None, None))


def scientific_form(data: bytes | mmap.mmap, view: View | None) -> str | None:
    """Which of :mod:`seg_demo.inputs.scientific`'s forms a file is of; None for a photograph, and for what is refused.

    Args:
        data: the whole file.
        view: what is asked for. To look at a photograph of many bits or pages closely takes a reader that knows them.
    """
    kind = identify(data)
    if kind.key in formats.SCIENTIFIC:
        return formats.SCIENTIFIC[kind.key]
    # The header of a PNG: 16 bits, grey. Of grey with a transparent shade, and of colours, the upper 8 bits are the picture.
    measured = view is not None or (data[25:26] == b"\0" and b"tRNS" not in data[:4096])
    deep = kind.format == "PNG" and data[24:25] == b"\x10" and measured
    if not (deep or kind.format == "TIFF") or fault(data, kind.format):
        return None
    if deep:
        return "PNG"
    try:
        # What lies in memory begins with that page already.
        at = whole_at(data) if isinstance(data, mmap.mmap) else None
        return "TIFF" if view is not None or not Tiff(data, at).is_photograph else None
    except (TiffError, Damaged):
        return None


def _viewed(picture: Picture, view: View | None) -> Picture:
    """A photograph looked at in another way: its channels are red, green and blue."""
    if view is None:
        return picture
    from seg_demo.inputs import planes

    pixels = picture.pixels
    opened = planes.Opened(
        *pixels.shape[:2], pixels.dtype, lambda at, wanted: pixels[..., list(wanted)], ("red", "green", "blue"), colour=True
    )  # fmt: skip
    settled, notes = planes.settle(view, opened)
    shown, more = planes.render([pixels[..., channel] for channel in settled.channels[:MOST_SHOWN]], settled, opened.stack, None)
    return replace(picture, pixels=shown, notes=picture.notes + notes + more, channels=opened.channels, view=settled)


def decode(
    data: Source, *, max_pixels: int | None = None, max_bytes: int | None = None, max_side: int | None = None
) -> np.ndarray:
    """The ``pixels`` of :func:`read`, looked at as the file would have it.

    Returns:
        uint8 (H, W, 3), C-contiguous, upright RGB.

    Raises:
        BadImageError: as :func:`read`.
    """
    return read(data, max_pixels=max_pixels, max_bytes=max_bytes, max_side=max_side).pixels


def is_large(image: Source, detail: str = "whole") -> bool:
    """Whether working on an image takes much memory or long.

    Args:
        image: as for :func:`decode`.
        detail: ``whole`` or ``full``.
    """
    return detail == "full" or pixels_of(image) >= LARGE_PIXELS


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
    if isinstance(data, np.ndarray):
        return data.shape[0] * data.shape[1] if data.ndim in (2, 3) else 0
    if isinstance(data, Image.Image):
        return data.width * data.height
    if not isinstance(data, os.PathLike):
        return _pixels_in(data, limits)
    try:
        state = os.stat(data)
    except (OSError, ValueError):
        return 0
    return _pixels_of_file(os.fspath(data), state.st_ino, state.st_size, state.st_mtime_ns, limits)


@lru_cache(maxsize=256)
def _pixels_of_file(path: str, number: int, size: int, written: int, limits: Limits) -> int:
    """The queue and the handler both want to know it of an upload: it is looked into once as long as nobody writes to it."""
    return _pixels_in(Path(path), limits)


def _pixels_in(data: Source, limits: Limits) -> int:
    try:
        data = _read(data, limits)
        if (form := scientific_form(data, None)) is not None:
            limits = limits.of_scientific
            check_bytes(len(data), limits)
            size = (file.width, file.height) if form == "TIFF" and (file := Tiff(data)) else formats.plane_size(data, form)
            if size is None:
                return LARGE_PIXELS  # only its reader knows
            check_size(*size, limits)
            return size[0] * size[1]
        image = _open(_bytes(data, limits), limits)[0]
    except BadImageError:
        return 0
    return image.width * image.height


def decode_mask(data: Source) -> tuple[np.ndarray, np.ndarray | None]:
    """A label mask with the numbers that its file stores: see :func:`seg_demo.inputs.samples.to_labels`.

    Args:
        data: a file's bytes, its path, a ``data:`` URL or a PIL image.

    Returns:
        The mask, upright: uint8 or uint16 (H, W), or (H, W, 3) if it is coloured, uint8, or uint16 where 16 bits do not only
        repeat 8; and, for palette images, the palette, uint8 (K, 3) RGB.

    Raises:
        BadImageError: anything else than an accepted image within the limits, or values that are no label ids.
    """
    limits = limits_of(None, None, None, masks=True)
    image, _ = _image(data, limits, exact=True)
    labels = _convert(image, limits, samples.to_labels)
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


# Seconds without work after which memory is given back.
REST_SECONDS = 5.0


class FreedMemory:
    """What requests have freed goes back to the system: of a large one at once, of small ones when no more come. These leave blocks behind of which
    the next ones are made, 200 MB after some hundred requests. To be called when a request is done, with whether it was large."""

    def __init__(self) -> None:
        self._lock, self._last, self._waiting = threading.Lock(), 0.0, False

    def __call__(self, large: bool) -> None:
        if large:
            give_back()
        with self._lock:
            waiting, self._last, self._waiting = self._waiting, time.monotonic(), True
        if not waiting and not sys.is_finalizing():  # when no thread begins any more, and start() would wait for it for ever
            try:
                threading.Thread(target=self._wait, name="give-back", daemon=True).start()
            except RuntimeError:  # the system gives no more threads: the request is done all the same, and the next one tries again
                self._waiting = False

    def _wait(self) -> None:
        while (left := self._last + REST_SECONDS - time.monotonic()) > 0:
            time.sleep(left)
        self._waiting = False  # first: what ends from here on is given back by another one
        give_back()


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


# Sub-blocks of a GIF that are skipped before counting ends: 50 MB of a usual one.
_MOST_BLOCKS = 200_000
# Keys of the sentences: the number is exact, or the least.
_PAGES = "images.pages", "images.more_pages"
_FRAMES = "images.frames", "images.more_frames"
_PICTURES = ("images.pictures",)


def note_of_frames(image: Image.Image | Tiff, data: bytes) -> tuple[str, ...]:
    """A sentence on which page, frame or picture is shown, if the file has several.

    The second picture of a JPEG (of phones: brightness, depth, a preview) belongs to the first, and is not worth a word.

    Args:
        image: opened.
        data: the whole file.
    """
    if isinstance(image, Tiff):
        return _note(_PAGES, *image.pages())
    if image.format == "GIF":
        return _note(_FRAMES, *gif_frames(data))
    if image.format in ("PNG", "WEBP", "AVIF"):
        return _note(_FRAMES, getattr(image, "n_frames", 1), True)
    if image.format == "HEIF":
        return _note(_PICTURES, getattr(image, "n_frames", 1), True)
    return ()


def _note(keys: tuple[str, ...], count: int, exact: bool) -> tuple[str, ...]:
    return (Message(keys[not exact], count=count),) if count > 1 or not exact else ()


def gif_frames(data: bytes) -> tuple[int, bool]:
    """Frames of a GIF, and whether all were counted. Source: GIF89a specification.

    Args:
        data: the whole file.
    """

    def table(at: int) -> int:
        return 3 * 2 ** ((data[at] & 7) + 1) if data[at] & 0x80 else 0

    frames = blocks = 0
    try:
        at = 13 + table(10)
        while data[at] in (0x21, 0x2C):
            if data[at] == 0x2C:
                frames += 1
                at += 11 + table(at + 9)
            else:
                at += 2
            while data[at]:
                at += 1 + data[at]
                blocks += 1
                if blocks > _MOST_BLOCKS:
                    return frames, False
            at += 1
    except IndexError:
        pass  # cut off; whether the first frame is whole, its decoder says
    return frames, True


_raising = threading.Lock()


def _let_pillow(pixels: int) -> None:
    """Raise Pillow's own limit, which warns of more than 89 megapixels and refuses the double, to what an owner accepts.

    It holds for the whole process and is asked by every thread: it is only ever raised, and sizes are checked here.
    """
    if Image.MAX_IMAGE_PIXELS is not None and pixels > Image.MAX_IMAGE_PIXELS:
        with _raising:
            Image.MAX_IMAGE_PIXELS = max(Image.MAX_IMAGE_PIXELS, pixels)


def limits_of(max_pixels: int | None, max_bytes: int | None, max_side: int | None, masks: bool = False) -> Limits:
    """The limits of one call: what is None comes from the settings."""
    owner = settings()
    pixels = owner.max_pixels if max_pixels is None else max_pixels
    _let_pillow(pixels)
    return Limits(
        pixels,
        owner.max_bytes if max_bytes is None else max_bytes,
        owner.max_side if max_side is None else max_side,
        masks,
        scientific_bytes(owner) if max_bytes is None and not masks else None,
    )


def read_file(path: str | os.PathLike, limits: Limits) -> bytes | mmap.mmap:
    """The bytes of an ordinary file; its size is checked before it is read. One that is too large for a photograph, and begins like what
    microscopes, scanners and satellites write, is not brought into memory."""
    name = os.path.basename(os.fspath(path))[:80]
    try:
        status = os.stat(path)
        if not stat.S_ISREG(status.st_mode):
            key = "images.is_a_folder" if stat.S_ISDIR(status.st_mode) else "images.no_ordinary_file"
            raise refuse(Message(key, name=name), limits, Message("advice.name_a_file"))
        with open(path, "rb") as file:
            if status.st_size > limits.bytes and limits.scientific is not None:
                if formats.may_be_large(file.read(formats.HEAD_BYTES)):
                    check_bytes(status.st_size, limits.of_scientific)
                    return mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            check_bytes(status.st_size, limits)
            # Room for as much as is asked for is made at once. A file that grows has its first bytes; one of /proc says that it has none.
            return file.read(min(status.st_size or limits.bytes, limits.bytes) + 1)
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or Message("images.no_file_name")
        raise refuse(Message("images.file_unreadable", name=name, reason=reason), limits, Message("advice.check_name")) from error


def read_text(text: str, limits: Limits) -> bytes | mmap.mmap:
    """The bytes behind a ``data:`` URL or a path. Nothing is ever downloaded."""
    scheme = text[:32].partition(":")[0].strip().lower()
    if scheme == "data":
        head, comma, body = text.partition(",")
        coded = head.lower().endswith(";base64")
        # Base64 makes 4 characters of 3 bytes, percent signs at most 3 of one: too long is too large, before decoding.
        check_bytes(len(body) * 3 // 4 if coded else len(body) // 3 + 1, limits)
        try:
            if not comma:
                raise ValueError("no comma")
            raw = urllib.parse.unquote_to_bytes(body)
            return base64.b64decode(b"".join(raw.split()), validate=True) if coded else raw
        except (ValueError, binascii.Error) as error:
            raise refuse(Message("images.bad_data_url"), limits, Message("advice.data_url")) from error
    if scheme in ("http", "https", "ftp", "ftps", "file", "blob") and ":" in text[:32]:
        raise refuse(Message("images.is_a_url"), limits, Message("advice.download"))
    return read_file(text, limits)
