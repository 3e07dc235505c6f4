"""A mask file as the program that wrote it meant it: its numbers at their full depth, whatever a format does to them.

Pillow, which decodes nearly everything, makes pictures: it cuts 16 bits to 8 where there are several channels, inverts TIFFs
whose zero is white, and takes grey palettes of BMPs for something else. Here the numbers are as they were stored, and beside
them what a person would see, so that whoever has all the masks of a dataset can tell which of the two was meant.
"""

from __future__ import annotations

import io
import zlib
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image, ImagePalette

from seg_demo.errors import BadImageError
from seg_demo.inputs import images, pixels
from seg_demo.inputs.formats import identify
from seg_demo.inputs.sources import Limits, check_bytes, check_size, limits_of, refuse
from seg_demo.inputs.structure import fault

# TIFF tags.
_BITS, _COMPRESSION, _PHOTOMETRIC, _ORIENTATION, _SAMPLES, _PLANAR, _SOFTWARE, _FORMAT = 258, 259, 262, 274, 277, 284, 305, 339
_WHITE_IS_ZERO = 0
_UNCOMPRESSED, _DEFLATES = 1, (8, 32946)
# Pillow's raw modes that keep the upper byte of each 16-bit sample, and those that keep the lower one of the same bytes.
_LOWER = {
    f"{bands};16{one}": f"{bands};16{other}"
    for bands in ("RGB", "RGBA")
    for one, other in (("B", "L"), ("L", "B"), ("N", "B" if np.little_endian else "L"))
}
# How pixels as stored become upright, by the EXIF orientation.
_UPRIGHT = {
    2: lambda a: a[:, ::-1],
    3: lambda a: a[::-1, ::-1],
    4: lambda a: a[::-1],
    5: lambda a: a.swapaxes(0, 1),
    6: lambda a: a[::-1].swapaxes(0, 1),
    7: lambda a: a[::-1, ::-1].swapaxes(0, 1),
    8: lambda a: a[:, ::-1].swapaxes(0, 1),
}
# What may be said of a file; see MaskFile.understood.
ALPHA, BLACK_ALPHA, EMPTY_ALPHA, HIDDEN, NEGATIVE, NAN = "alpha", "black alpha", "empty alpha", "hidden", "negative", "nan"
PAGES = "pages"
IGNORED_NUMBER = -1


@dataclass(frozen=True)
class MaskFile:
    """What one mask file holds.

    Attributes:
        numbers: (H, W) uint8, uint16 or int64 (numbers above 65535 or, as ``IGNORED_NUMBER``, pixels to ignore beside them), or
            (H, W, 3) uint8 or uint16 of different channels; grey that was saved in three channels of 16 bits is (H, W).
        palette: uint8 (P, 3), the colours of the numbers; None without one.
        levels: uint8 (P,), the grey that a person sees for each number, where the numbers are not that grey themselves: palettes
            of greys, 1, 2 and 4 bits, TIFFs whose zero is white. None otherwise.
        understood: what was done that should be said: ``alpha`` (the shape was in the transparency alone), ``black alpha`` (the same, but
            drawn in black, so that nobody can tell whether the opaque or the transparent part is meant), ``empty alpha`` (nothing is
            opaque: no shape), ``hidden`` (transparent pixels are background), ``negative`` and ``nan`` (such pixels are ignored),
            ``pages`` (each page was one object).
        pages: how many pictures of this size the file holds; only the first is in ``numbers``.
        others: the other pages hold something else than the first.
    """

    numbers: np.ndarray
    palette: np.ndarray | None = None
    levels: np.ndarray | None = None
    understood: tuple[str, ...] = ()
    pages: int = 1
    others: bool = False

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) in pixels."""
        return self.numbers.shape[0], self.numbers.shape[1]


def read_mask(data: images.Source) -> MaskFile:
    """Reads a mask file.

    Args:
        data: a file's bytes, its path, or a ``data:`` URL.

    Raises:
        BadImageError: anything else than an accepted image within the limits, or numbers that cannot be labels (fractions).
    """
    limits = limits_of(None, None, None)
    raw = images._read(data, limits)
    check_bytes(len(raw), limits)
    if identify(raw).format == "TIFF" and (deep := _tiff_beyond_pillow(raw, limits)) is not None:
        return deep
    image, name = images._open(raw, limits)
    _mend_bmp(image, raw)
    pages, others = _pages(image)
    if _has_deep_channels(image):
        samples = _upright(images._convert(image, limits, lambda image: _sixteen_bits(image, raw)), _turn(image))
        return _of_samples(samples, pages, others)
    zero_is_white, by_array = _zero_is_white(image)
    stretch = _stretch(image)
    image = images._load(image, name, limits)
    return images._convert(
        image, limits, lambda image: _of_picture(image, stretch, zero_is_white, by_array, pages, others)
    )


def settled(mask: MaskFile, decided: str | None) -> MaskFile:
    """A mask of which a person has said what its transparency means.

    Args:
        mask: as read: where it is black, its opaque part is the shape.
        decided: ``transparent`` exchanges the two.
    """
    if decided != "transparent" or BLACK_ALPHA not in mask.understood:
        return mask
    return replace(mask, numbers=np.uint8(255) - mask.numbers)


def read_object_map(data: images.Source) -> MaskFile:
    """Reads an instance map: as :func:`read_mask`, but a file whose every page shows one shape is one of an object a page.

    Args:
        data: a file's bytes, its path, or a ``data:`` URL.

    Raises:
        BadImageError: as :func:`read_mask`.
    """
    mask = read_mask(data)
    if not mask.others or mask.numbers.ndim != 2:
        return mask
    limits = limits_of(None, None, None)
    image, name = images._open(images._read(data, limits), limits)
    numbers = np.zeros(mask.size, dtype=np.uint16)
    objects = 0
    try:
        for index in range(min(int(image.n_frames), 65_534)):
            image.seek(index)
            page = np.asarray(image.convert("L") if image.mode in ("RGB", "RGBA", "P") else image.copy())
            if page.shape != mask.size:
                continue
            if len(np.unique(page)) > 2 or (page.min() != 0):
                return mask
            if page.any():
                objects += 1
                # Where objects overlap the earlier one is seen.
                numbers[(page != 0) & (numbers == 0)] = objects
    except Exception as error:  # a decoder of untrusted bytes raises anything
        what = f"This is {name} that is damaged or cut off: page {index + 1} cannot be decoded."
        raise refuse(what, limits, "Save or download it again and send that.") from error
    return MaskFile(numbers, understood=(*mask.understood, PAGES), pages=mask.pages)


def _turn(image: Image.Image) -> int:
    return 1 if image.format == "TIFF" else pixels.orientation(image)


def _upright(array: np.ndarray, turn: int) -> np.ndarray:
    return np.ascontiguousarray(_UPRIGHT[turn](array)) if turn in _UPRIGHT else array


def _of_picture(
    image: Image.Image, stretch: int, zero_is_white: bool, by_array: bool, pages: int, others: bool
) -> MaskFile:
    """A mask that Pillow has decoded."""
    if image.mode in pixels._DEEP:
        return _deep(image, zero_is_white, pages, others)
    if image.mode == "P":
        return _of_palette(image, pages, others)
    if image.mode in ("1", "L"):
        shown = pixels._fill(image, lambda strip: np.asarray(strip).astype(np.uint8), None, np.uint8)
        if image.mode == "1":
            # tifffile writes arrays of True and False so that zero is white, and whoever does so means the array.
            numbers = 1 - shown if zero_is_white and by_array else shown
            return MaskFile(numbers, levels=np.array([0, 255], np.uint8), pages=pages, others=others)
        most = 255 // stretch
        levels = np.arange(most + 1, dtype=np.uint8) * np.uint8(stretch)
        numbers = shown // np.uint8(stretch)
        if zero_is_white:
            return MaskFile(np.uint8(most) - numbers, levels=levels[::-1].copy(), pages=pages, others=others)
        return MaskFile(numbers, levels=levels if stretch > 1 else None, pages=pages, others=others)
    if image.mode in ("LA", "La", "PA"):
        both = pixels._fill(image, lambda strip: np.asarray(strip.convert("LA") if strip.mode == "La" else strip), 2, np.uint8)
        palette = _palette(image) if image.mode == "PA" else None
        numbers, understood = _with_alpha(both[..., 0], both[..., 1])
        return MaskFile(numbers, None if understood else palette, understood=understood, pages=pages, others=others)
    if image.mode in ("RGBA", "RGBa") or "transparency" in image.info:
        four = pixels._fill(image, lambda strip: np.asarray(strip.convert("RGBA")), 4, np.uint8)
        return _with_colours(four, pages, others)
    return MaskFile(pixels._fill(image, lambda strip: np.asarray(strip.convert("RGB")), 3, np.uint8), pages=pages, others=others)


def _palette(image: Image.Image) -> np.ndarray:
    return np.frombuffer(bytes(image.getpalette("RGB") or ()), dtype=np.uint8).reshape(-1, 3).copy()


def _of_palette(image: Image.Image, pages: int, others: bool) -> MaskFile:
    """A palette's indices; where one colour and transparency are all that it shows, the shape."""
    numbers = pixels._fill(image, lambda strip: np.asarray(strip), None, np.uint8)
    palette = _palette(image)
    used = np.unique(numbers)
    used = used[used < len(palette)]
    transparency = image.info.get("transparency")
    if transparency is not None:
        alpha = np.full(256, 255, dtype=np.uint8)
        if isinstance(transparency, bytes):
            alpha[: len(transparency)] = np.frombuffer(transparency[:256], dtype=np.uint8)
        else:
            alpha[int(transparency) & 255] = 0
        visible = {tuple(palette[i]) for i in used.tolist() if alpha[i]}
        hidden = {tuple(palette[i]) for i in used.tolist() if not alpha[i]}
        # One colour, seen and unseen: without its transparency this picture shows nothing.
        if len(used) > 1 and visible == hidden and len(visible) == 1:
            four = np.concatenate([palette, np.zeros((256 - len(palette), 3), np.uint8)])[numbers]
            return _with_colours(np.dstack([four, alpha[numbers]]), pages, others)
    grey = bool((palette[used] == palette[used][:, :1]).all()) and len(used) > 0
    return MaskFile(numbers, palette, palette[:, 0].copy() if grey else None, pages=pages, others=others)


def _with_colours(four: np.ndarray, pages: int, others: bool) -> MaskFile:
    """uint8 or uint16 (H, W, 4): colours with alpha."""
    colours, alpha = four[..., :3], four[..., 3]
    grey = bool((colours[..., 0] == colours[..., 1]).all() and (colours[..., 1] == colours[..., 2]).all())
    numbers, understood = _with_alpha(colours[..., 0] if grey else colours, alpha)
    if grey and not understood and numbers.dtype == np.uint8:
        numbers = np.repeat(numbers[..., None], 3, axis=2)  # as other files of three channels, whose colours may have names
    return MaskFile(np.ascontiguousarray(numbers), understood=understood, pages=pages, others=others)


def _with_alpha(numbers: np.ndarray, alpha: np.ndarray) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers of which alpha says where they count.

    Args:
        numbers: (H, W), or (H, W, 3).
        alpha: (H, W), 0 is transparent.

    Returns:
        The numbers, and what is to be said about it.
    """
    flat = numbers.reshape(-1, numbers.shape[2] if numbers.ndim == 3 else 1)
    lowest, highest = int(alpha.min()), int(alpha.max())
    if lowest == highest:
        # All transparent and of one colour: somebody drew nothing. Otherwise transparency says nothing at all.
        if highest == 0 and flat[0].any() and bool((flat == flat[0]).all()):
            return np.zeros(alpha.shape, dtype=numbers.dtype), (EMPTY_ALPHA,)
        return numbers, ()
    opaque = alpha > lowest
    visible, hidden = flat[opaque.ravel()], flat[~opaque.ravel()]
    kept = opaque if numbers.ndim == 2 else opaque[..., None]
    if bool((visible == visible[0]).all()):
        if visible[0].any() and not hidden.any():
            return numbers, ()  # an ordinary mask whose background is transparent too
        soft = len(np.unique(alpha)) > 2
        if visible[0].any():
            return (alpha.copy() if soft else np.where(kept, numbers, 0).astype(numbers.dtype)), (ALPHA,)
        return (alpha.copy() if soft else np.where(opaque, 255, 0).astype(np.uint8)), (BLACK_ALPHA,)
    # Several colours: where none of them is nothing, what is transparent and of one colour that nobody sees is the background.
    if bool((hidden == hidden[0]).all()) and hidden[0].any() and bool(visible.any(axis=1).all()):
        return np.where(kept, numbers, 0).astype(numbers.dtype), (HIDDEN,)
    return numbers, ()


def _deep(image: Image.Image, zero_is_white: bool, pages: int, others: bool) -> MaskFile:
    """16 or 32 bits in one channel."""
    if image.mode.startswith("I;16"):
        stored = pixels._fill(image, lambda strip: np.asarray(strip).astype(np.uint16), None, np.uint16)
        return _of_values(stored, zero_is_white, pages, others)
    dtype = np.float32 if image.mode == "F" else np.int32
    values = pixels._fill(image, lambda strip: np.asarray(strip), None, dtype)
    tags = getattr(image, "tag_v2", {})
    unsigned = tags.get(_FORMAT, (1,))[0] == 1 if image.format == "TIFF" else False
    if dtype is np.int32 and unsigned and tags.get(_BITS, (32,))[0] == 32:
        values = values.view(np.uint32)  # Pillow has no unsigned 32 bits
    return _of_values(values, zero_is_white, pages, others)


def _of_values(values: np.ndarray, zero_is_white: bool, pages: int, others: bool) -> MaskFile:
    """Numbers of any dtype → uint16 where they fit, else int64; negative ones and NaN are ignored."""
    understood: list[str] = []
    ignored = None
    if values.dtype.kind == "f":
        nothing = np.isnan(values)
        if nothing.any():
            understood.append(NAN)
            ignored, values = nothing, np.where(nothing, 0, values)
        if np.isinf(values).any():
            raise pixels.PixelError("some of its pixels are infinite")
        if (np.rint(values) != values).any():
            raise pixels.PixelError(
                "some of its values are fractions, but label ids are whole numbers; if they are probabilities, save the "
                "class or object number of each pixel"
            )
    if values.dtype.kind in "fi" and values.min() < 0:
        below = values < 0
        understood.append(NEGATIVE)
        ignored = below if ignored is None else ignored | below
        values = np.where(below, 0, values)
    if float(values.max()) >= 2.0**62:
        raise pixels.PixelError("its values are too large to be labels")
    if zero_is_white and set(np.unique(values).tolist()) <= {0, 65_535}:
        values = 65_535 - values
    most = int(values.max())
    if most > 65_535:
        numbers = values.astype(np.int64)
        if ignored is not None:
            numbers[ignored] = IGNORED_NUMBER
    elif ignored is not None and most == 65_535:
        numbers = values.astype(np.int64)
        numbers[ignored] = IGNORED_NUMBER
    else:
        numbers = values.astype(np.uint16)
        if ignored is not None:
            numbers[ignored] = 65_535
    return MaskFile(numbers, understood=tuple(understood), pages=pages, others=others)


def _of_samples(samples: np.ndarray, pages: int, others: bool) -> MaskFile:
    """uint16 (H, W, 2 to 4) → numbers, alpha applied, grey in one channel."""
    if samples.shape[2] in (2, 4):
        numbers, understood = _with_alpha(
            samples[..., 0] if samples.shape[2] == 2 or _equal(samples) else samples[..., :3], samples[..., -1]
        )
    else:
        numbers, understood = (samples[..., 0] if _equal(samples) else samples), ()
    if numbers.ndim == 3 and (numbers.max() <= 255 or bool((numbers % 257 == 0).all())):
        # Colours of 8 bits, as they are or spread over 16.
        numbers = (numbers if numbers.max() <= 255 else numbers // 257).astype(np.uint8)
    return MaskFile(np.ascontiguousarray(numbers), understood=understood, pages=pages, others=others)


def _equal(samples: np.ndarray) -> bool:
    return bool((samples[..., 0] == samples[..., 1]).all() and (samples[..., 1] == samples[..., 2]).all())


def _raw_mode(tile) -> str:
    """Pillow's name of the way in which a tile's bytes are pixels."""
    return str(tile.args[0] if isinstance(tile.args, tuple) and tile.args else tile.args)


def _has_deep_channels(image: Image.Image) -> bool:
    """Whether a picture that was opened and not loaded has several channels of 16 bits, of which Pillow keeps the upper byte."""
    return bool(image.tile) and (_raw_mode(image.tile[0]) in _LOWER or _raw_mode(image.tile[0]) == "LA;16B")


def _sixteen_bits(image: Image.Image, raw: bytes) -> np.ndarray:
    """uint16 (H, W, C) of such a picture, not turned upright.

    The lower byte comes by the same decoder, told that the bytes are in the other order. Grey with alpha has no such mode:
    its four bytes are decoded as if they were four channels of 8 bits, for which PNG's filters are the same.

    Raises:
        ValueError: the pixels are damaged.
    """

    def decoded(mode: str, raw_mode: str) -> np.ndarray:
        again = Image.open(io.BytesIO(raw), formats=[image.format])
        again._mode = mode
        again.tile = [
            each._replace(args=(raw_mode, *each.args[1:]) if isinstance(each.args, tuple) else raw_mode) for each in again.tile
        ]
        again.load()
        return np.asarray(again).astype(np.uint16)

    raw_mode = _raw_mode(image.tile[0])
    try:
        if raw_mode == "LA;16B":
            four = decoded("RGBA", "RGBA")
            return np.dstack([four[..., 0] << 8 | four[..., 1], four[..., 2] << 8 | four[..., 3]])
        mode = raw_mode.partition(";")[0]
        return decoded(mode, raw_mode) << 8 | decoded(mode, _LOWER[raw_mode])
    except Exception as error:  # a decoder of untrusted bytes raises anything
        raise ValueError("its pixels cannot be decoded") from error


def _tiff_beyond_pillow(raw: bytes, limits: Limits) -> MaskFile | None:
    """A TIFF of numbers that Pillow refuses or gets wrong, through tifffile; None where Pillow is right.

    Those are 64-bit integers and floats, 16-bit floats, channels of more than 8 bits that are planes or two, and more
    channels than four. Only what is not compressed, or deflated, is read: tifffile alone has no other codec.
    """
    # Slow to import, and only wanted here.
    import tifffile

    if fault(raw, "TIFF"):
        return None
    try:
        with tifffile.TiffFile(io.BytesIO(raw)) as file:
            page = file.pages[0]
            bits, samples = int(np.max(page.bitspersample)), int(page.samplesperpixel)
            planes = samples > 1 and int(page.planarconfig) == 2
            kind = page.dtype.kind if page.dtype is not None else "u"
            # Pillow knows no two channels but 8-bit grey with alpha.
            if not (bits == 64 or (kind == "f" and bits == 16) or (samples > 1 and bits > 8 and (planes or samples == 2 or bits > 16))):
                return None
            height, width = int(page.imagelength), int(page.imagewidth)
            check_size(width, height, limits)
            if height * width * samples * bits // 8 > limits.pixels * 8:
                raise refuse("This TIFF takes too much memory to decode.", limits, "Scale it down and send that.")
            if int(page.compression) in _DEFLATES:
                _check_deflated(page, raw)
            elif int(page.compression) != _UNCOMPRESSED:
                raise pixels.PixelError(f"it is a TIFF of {bits} bits and {samples} channels that is compressed")
            array = page.asarray()
            turn = page.tags.get(_ORIENTATION)
            white = page.photometric is not None and int(page.photometric) == _WHITE_IS_ZERO
            count, others = _same_pages(file)
    except BadImageError:
        raise
    except pixels.PixelError as error:
        what = f"This image cannot be used: {error}."
        raise refuse(what, limits, "Save it again without compression, or as a 16-bit PNG, and send that.") from error
    except Exception:  # a parser of untrusted bytes raises anything; Pillow may still know better
        return None
    if planes:
        array = np.moveaxis(array, 0, -1)
    array = _upright(array, int(turn.value) if turn is not None else 1)
    if array.ndim == 3 and array.shape[2] == 1:
        array = array[..., 0]
    try:
        if array.ndim == 2:
            return _of_values(array, white, count, others)
        array = array[..., :4]
        if array.dtype != np.uint16:
            if array.dtype.kind not in "iu" or array.min() < 0 or array.max() > 65_535:
                raise pixels.PixelError(f"it has {array.shape[2]} channels of {array.dtype}")
            array = array.astype(np.uint16)
        return _of_samples(array, count, others)
    except pixels.PixelError as error:
        raise refuse(f"This image cannot be used: {error}.", limits, "Mend the pixels and send it again.") from error


def _check_deflated(page, raw: bytes) -> None:
    """PixelError if a strip or tile of a page unpacks to more than its place in the picture has."""
    rows = page.tilelength or page.rowsperstrip or page.imagelength
    width = page.tilewidth or page.imagewidth
    most = int(rows) * int(width) * int(page.samplesperpixel) * int(np.max(page.bitspersample)) // 8 + 64
    for offset, count in zip(page.dataoffsets, page.databytecounts, strict=True):
        unpacking = zlib.decompressobj()
        unpacking.decompress(memoryview(raw)[offset : offset + count], most)
        if unpacking.unconsumed_tail:
            raise pixels.PixelError("what it unpacks to is larger than the picture")


def _same_pages(file) -> tuple[int, bool]:
    first = file.pages[0]
    same = [page for page in file.pages[:64] if page.shape == first.shape]
    whole = first.asarray()
    return len(same), any(not np.array_equal(page.asarray(), whole) for page in same[1:4])


def _zero_is_white(image: Image.Image) -> tuple[bool, bool]:
    """Whether a TIFF says that zero is white, and whether a program wrote it that is given arrays and not pictures."""
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return False, False
    return tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, str(tags.get(_SOFTWARE, "")).startswith("tifffile")


def _stretch(image: Image.Image) -> int:
    """What Pillow multiplies 2- and 4-bit grey by."""
    mode = _raw_mode(image.tile[0]) if image.tile else ""
    return 85 if mode.startswith("L;2") else 17 if mode.startswith("L;4") else 1


def _pages(image: Image.Image) -> tuple[int, bool]:
    """How many pictures of the first one's size there are, and whether others differ from it; the first is current again."""
    try:
        frames = int(getattr(image, "n_frames", 1))
        if frames < 2:
            return 1, False
        size, mode = image.size, image.mode
        first = np.asarray(image.copy())
        count, others = 1, False
        for index in range(1, min(frames, 64)):
            image.seek(index)
            if image.size == size and (image.mode == mode or image.format != "TIFF"):
                count += 1
                if not others and index < 4:
                    others = not np.array_equal(np.asarray(image.convert(mode) if image.mode != mode else image.copy()), first)
        image.seek(0)
    except Exception:  # a page that is damaged is none; the first one is looked at on its own
        image.seek(0)
        return 1, False
    return count, others


def _mend_bmp(image: Image.Image, raw: bytes) -> None:
    """Let a BMP with a palette of greys be a palette image: Pillow takes black and white of 4 or 8 bits for single bits, and
    0, 1, 2 ... of 4 bits for bytes.

    Args:
        image: opened and not yet loaded.
        raw: its file.
    """
    if image.format != "BMP" or image.mode not in ("1", "L"):
        return
    core = int.from_bytes(raw[14:18], "little") == 12
    bits = int.from_bytes(raw[24:26] if core else raw[28:30], "little")
    if (image.mode, bits) in (("1", 1), ("L", 8)) or bits not in (1, 4, 8):
        return
    greys = [0, 255] if image.mode == "1" else list(range(1 << bits))
    image._mode = "P"
    image.palette = ImagePalette.raw("RGB", bytes(value for grey in greys for value in (grey,) * 3))
    image.tile = [
        tile._replace(args=({1: "P;1", 4: "P;4", 8: "P"}[bits], *tile.args[1:])) if tile.codec_name == "raw" else tile
        for tile in image.tile
    ]
