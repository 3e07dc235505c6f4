"""A mask file as the program that wrote it meant it: its numbers at their full depth, whatever a format does to them.

Decoders make pictures: they stretch a few bits, invert TIFFs whose zero is white and lay transparency on white. Here the numbers are as
they were stored, and beside them what a person would see, so that whoever has all the masks of a dataset can tell which of the two
was meant.

Masks whose numbers are places in a list of greys: whether the numbers were meant, or the greys that a person sees.

Palettes of greys, 1, 2 and 4 bits per pixel and TIFFs whose zero is white all store the same picture by other numbers. Two pictures
that look the same mean the same; a palette of colours is another matter, whose numbers mean classes.
"""

from __future__ import annotations

import io
import json
from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath

import numpy as np
from PIL import Image

from seg_demo.core import Message, PixelError
from seg_demo.inputs import images
from seg_demo.inputs import samples as pixels
from seg_demo.inputs.formats import identify
from seg_demo.inputs.images import limits_of, refuse
from seg_demo.inputs.samples import CMYK, GREY, LAB, PALETTE, RGB, Samples, no_labels, upright
from seg_demo.inputs.tiff import Tiff, nodata_of

# TIFF tags, and the bits of a sample that Pillow stretches to 8.
_BITS, _PHOTOMETRIC, _SOFTWARE, _NODATA = 258, 262, 305, 42113
_WHITE_IS_ZERO = 0
_STRETCHED = {2: 85, 4: 17}
_MOST_PAGES = 64
# What may be said of a file; see MaskFile.understood.
ALPHA, BLACK_ALPHA, EMPTY_ALPHA, HIDDEN, NEGATIVE, NAN = "alpha", "black alpha", "empty alpha", "hidden", "negative", "nan"
PAGES, NODATA, ZERO_NODATA, UNUSED_ALPHA = "pages", "nodata", "zero nodata", "unused alpha"
SAME_PAGES = "same pages"
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
            ``nodata`` (pixels of the value that the file names for what has no data are ignored), ``zero nodata`` (it names 0, which is
            the background as often, and stays 0), ``pages`` (each page was one object), ``unused alpha`` (colours and transparency both
            differ, and the colours count).
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


def findings(mask: MaskFile) -> tuple[str, ...]:
    """What reading a mask had to find out and :func:`note_of` says.

    Args:
        mask: as read, or what else has its ``understood``, ``pages`` and ``others``.
    """
    said = tuple(finding for finding in mask.understood if finding != BLACK_ALPHA)
    return said if mask.pages < 2 or mask.others or PAGES in said else (*said, SAME_PAGES)


def note_of(finding: str, where: str) -> Message:
    """What reading masks had to find out, as a sentence.

    Args:
        finding: one of :func:`findings`.
        where: how to name the files.
    """
    return Message(f"mask_files.{finding.replace(' ', '_')}", where=where)


def read_mask(data: images.Source) -> MaskFile:
    """Reads a mask file.

    Args:
        data: a file's bytes, its path, or a ``data:`` URL.

    Raises:
        BadImageError: anything else than an accepted image within the limits, or numbers that cannot be labels (fractions).
    """
    limits = limits_of(None, None, None, masks=True)
    raw = images._read(data, limits)
    image, _ = images._image(raw, limits, exact=True)
    pages, others = _pages(raw)
    return replace(images._convert(image, limits, _of_image), pages=pages, others=others)


def drawn_in(data: bytes) -> np.ndarray | None:
    """Where a picture is not transparent; all of it if none of it is and it has one colour, None if it shows something: nobody knows what is meant.

    Args:
        data: a file's bytes.

    Returns:
        bool (H, W).

    Raises:
        BadImageError: as :func:`read_mask`.
    """
    limits = limits_of(None, None, None, masks=True)
    image, _ = images._image(images._read(data, limits), limits, exact=True)
    four = images._convert(image, limits, lambda image: None if isinstance(image, Samples) else np.asarray(image.convert("RGBA")))
    return None if four is None or (four[..., 3].all() and (four != four[0, 0]).any()) else four[..., 3] > 0


def _of_image(image: Image.Image | Samples) -> MaskFile:
    if isinstance(image, Samples):
        return _without_data(_of_samples(image), image.nodata)
    nodata = nodata_of(str(image.tag_v2.get(_NODATA, ""))) if image.format == "TIFF" and hasattr(image, "tag_v2") else None
    mask = _of_samples(pixels._deep(image)) if image.mode in pixels._DEEP else _of_picture(image)
    return _without_data(mask, nodata)


def _without_data(mask: MaskFile, nodata: float | None) -> MaskFile:
    """A mask of which the file names a number for what has no data (GDAL's tag): such pixels are ignored, as 255 and 65535 are."""
    numbers = mask.numbers
    if nodata is None or numbers.ndim == 3 or NODATA in mask.understood:
        return mask
    gone = numbers == nodata
    if not gone.any() or gone.all():
        return mask
    if nodata == 0:
        return replace(mask, understood=(*mask.understood, ZERO_NODATA))
    if numbers.dtype == np.uint8 and (nodata == 255 or not (numbers == 255).any()):
        numbers = np.where(gone, np.uint8(255), numbers)
    elif numbers.dtype == np.int64:
        numbers = np.where(gone, IGNORED_NUMBER, numbers)
    else:
        numbers = np.where(gone, np.uint16(65_535), numbers.astype(np.uint16))
    return replace(mask, numbers=numbers, understood=(*mask.understood, NODATA))


def numbers_meant(mask: MaskFile, classes: int, notes: list[Message] | None = None) -> np.ndarray:
    """What one label mask means where there is no other of its dataset to tell.

    Args:
        mask: as read.
        classes: how many there are.
        notes: what had to be found out is appended, a sentence each.

    Returns:
        uint8 or uint16 (H, W), or (H, W, 3) of colours: greys instead of their numbers where those were meant (see
        :func:`seg_demo.inputs.mask_files.greys_count`), 16-bit black and white as 0 and 255. Where a file of 8 bits names what has
        no data, that is 65535.

    Raises:
        ValueError: it can be read in several ways, or holds no label ids; the message says so.
    """
    if mask.others:
        raise ValueError(Message("pixels.pages_differ", count=mask.pages))
    if BLACK_ALPHA in mask.understood:
        raise ValueError(Message("pixels.black_alpha"))
    notes = [] if notes is None else notes
    notes += [note_of(finding, Message("mask_files.this_mask")) for finding in findings(mask)]
    numbers = mask.numbers
    if NODATA in mask.understood and numbers.dtype == np.uint8:
        # Otherwise black and 255 would be black and white.
        numbers = np.where(numbers == 255, np.uint16(65_535), numbers.astype(np.uint16))
    if mask.levels is not None:
        used = {number: [int(mask.levels[number])] for number in np.unique(numbers).tolist() if number < len(mask.levels)}
        if greys_count(used, classes=classes):
            notes.append(Message("mask_files.by_grey"))
            return np.concatenate([mask.levels, np.zeros(256 - len(mask.levels), np.uint8)])[numbers]
    if numbers.dtype == np.int64:
        if numbers.max() > 65_535:
            raise ValueError(Message("pixels.numbers_too_large", most=numbers.max()))
        numbers = np.where(numbers < 0, 65_535, numbers).astype(np.uint16)
    if numbers.dtype == np.uint16 and numbers.ndim == 2 and NODATA not in mask.understood and bool((numbers % 257 == 0).all()):
        used = set(np.unique(numbers).tolist())
        # Black and white, or 8 bits spread over 16.
        if used & {65_535} and used <= {0, 65_535} or (max(used) >= classes and all(value // 257 < classes for value in used - {65_535})):
            notes.append(Message("mask_files.eight_bits", wide=max(used), value=max(used) // 257))
            return (numbers // 257).astype(np.uint8)
    return numbers


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
    limits = limits_of(None, None, None, masks=True)
    numbers = np.zeros(mask.size, dtype=np.uint16)
    objects = 0
    try:
        for page in _each_page(images._read(data, limits), 65_534):
            if page.shape != mask.size:
                continue
            if page.min() != 0 or len(np.unique(page)) > 2:
                return mask
            if page.any():
                objects += 1
                # Where objects overlap the earlier one is seen.
                numbers[(page != 0) & (numbers == 0)] = objects
    except Exception as error:  # a decoder of untrusted bytes raises anything
        what = Message("images.undecodable_page")
        raise refuse(what, limits, Message("advice.again")) from error
    return MaskFile(numbers, understood=(*mask.understood, PAGES), pages=mask.pages)


def _of_picture(image: Image.Image) -> MaskFile:
    """A mask of at most 8 bits that Pillow has decoded."""
    if image.mode == "P":
        return _of_palette(image)
    if image.mode in ("1", "L"):
        shown = pixels._fill(image, lambda strip: np.asarray(strip).astype(np.uint8), None, np.uint8)
        zero_is_white, by_array = _zero_is_white(image)
        if image.mode == "1":
            # tifffile writes arrays of True and False so that zero is white, and whoever does so means the array.
            numbers = 1 - shown if zero_is_white and by_array else shown
            return MaskFile(numbers, levels=np.array([0, 255], np.uint8))
        stretch = _stretch(image)
        most = np.uint8(255 // stretch)
        levels = (np.arange(int(most) + 1) * stretch).astype(np.uint8)
        numbers = shown // np.uint8(stretch)
        if zero_is_white:
            return MaskFile(most - numbers, levels=levels[::-1].copy())
        return MaskFile(numbers, levels=levels if stretch > 1 else None)
    if image.mode in ("LA", "La", "PA"):
        both = pixels._fill(image, lambda strip: np.asarray(strip.convert("LA") if strip.mode == "La" else strip), 2, np.uint8)
        palette = _palette(image) if image.mode == "PA" else None
        numbers, understood = _with_alpha(both[..., 0], both[..., 1])
        return MaskFile(numbers, palette if understood in ((), (UNUSED_ALPHA,)) else None, understood=understood)
    if image.mode in ("RGBA", "RGBa") or "transparency" in image.info:
        four = pixels._fill(image, lambda strip: np.asarray(strip.convert("RGBA")), 4, np.uint8)
        return _with_colours(four)
    return MaskFile(pixels._fill(image, lambda strip: np.asarray(strip.convert("RGB")), 3, np.uint8))


def _palette(image: Image.Image) -> np.ndarray:
    return np.frombuffer(bytes(image.getpalette("RGB") or ()), dtype=np.uint8).reshape(-1, 3).copy()


def _of_palette(image: Image.Image) -> MaskFile:
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
            return _with_colours(np.dstack([four, alpha[numbers]]))
    grey = bool((palette[used] == palette[used][:, :1]).all()) and len(used) > 0
    return MaskFile(numbers, palette, palette[:, 0].copy() if grey else None)


def _with_colours(four: np.ndarray) -> MaskFile:
    """uint8 or uint16 (H, W, 4): colours with alpha."""
    colours, alpha = four[..., :3], four[..., 3]
    grey = bool((colours[..., 0] == colours[..., 1]).all() and (colours[..., 1] == colours[..., 2]).all())
    numbers, understood = _with_alpha(colours[..., 0] if grey else colours, alpha)
    if grey and understood in ((), (UNUSED_ALPHA,)) and numbers.dtype == np.uint8:
        numbers = np.repeat(numbers[..., None], 3, axis=2)  # as other files of three channels, whose colours may have names
    return MaskFile(np.ascontiguousarray(numbers), understood=understood)


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
    return numbers, (UNUSED_ALPHA,)


def _of_values(values: np.ndarray, zero_is_white: bool, nodata: float | None = None) -> MaskFile:
    """Numbers of any dtype → uint16 where they fit, else int64; negative ones, NaN and what the file names as no data are ignored."""
    understood: list[str] = []
    ignored = None
    if nodata is not None and nodata > 0:
        # A number that is a type's largest is no whole number of it once it is written as text.
        nothing = values.astype(np.float64) == float(values.dtype.type(nodata) if values.dtype.kind == "f" else nodata)
        if nothing.any() and not nothing.all():
            understood.append(NODATA)
            ignored, values = nothing, np.where(nothing, 0, values)
    if values.dtype.kind == "f":
        nothing = np.isnan(values)
        if nothing.any():
            understood.append(NAN)
            ignored, values = nothing if ignored is None else ignored | nothing, np.where(nothing, 0, values)
        if np.isinf(values).any():
            raise PixelError(Message("pixels.infinite"))
        if (np.rint(values) != values).any():
            raise PixelError(Message("pixels.probabilities"))
    if values.dtype.kind in "fi" and values.min() < 0:
        below = values < 0
        understood.append(NEGATIVE)
        ignored = below if ignored is None else ignored | below
        values = np.where(below, 0, values)
    if float(values.max()) >= 2.0**62:
        raise PixelError(Message("pixels.too_large_for_labels"))
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
    return MaskFile(numbers, understood=tuple(understood))


def of_values(values: np.ndarray) -> MaskFile:
    """The numbers (H, W) of a file that says nothing else about them, of any type.

    Raises:
        PixelError: fractions, or numbers too large for labels.
    """
    return MaskFile(np.ascontiguousarray(values)) if values.dtype == np.uint8 else _of_values(values, False)


def _of_samples(samples: Samples) -> MaskFile:
    """What a decoder that keeps depth has read."""
    values, alpha = (None if array is None else upright(array, samples.turn) for array in (samples.values, samples.alpha))
    if samples.kind in (CMYK, LAB) or samples.channels > {GREY: 1, RGB: 3}.get(samples.kind, samples.channels):
        raise PixelError(no_labels(samples))
    if samples.kind == PALETTE:
        palette = (samples.palette >> 8).astype(np.uint8)
        return replace(_of_values(values[..., 0], False), palette=palette if values.dtype == np.uint8 else None)
    if values.shape[2] == 3 and _equal(values):
        values = values[..., :1]
    if values.shape[2] == 1 and alpha is None:
        few = samples.bits < 8
        if values.dtype == np.uint8 and (few or samples.inverted):
            levels = np.linspace(0, 255, 2**samples.bits).astype(np.uint8)
            return MaskFile(values[..., 0], levels=levels[::-1].copy() if samples.inverted else levels)
        if values.dtype == np.uint8:
            return MaskFile(np.ascontiguousarray(values[..., 0]))
        return _of_values(values[..., 0], samples.inverted, samples.nodata)
    if values.dtype not in (np.uint8, np.uint16):
        if values.dtype.kind not in "iu" or values.min() < 0 or values.max() > 65_535:
            raise PixelError(Message("pixels.channels_of_type", count=values.shape[2], dtype=values.dtype))
        values = values.astype(np.uint16)
    numbers, understood = values[..., 0] if values.shape[2] == 1 else values, ()
    if alpha is not None:
        numbers, understood = _with_alpha(numbers, alpha)
    if numbers.ndim == 3 and numbers.dtype == np.uint16 and (numbers.max() <= 255 or bool((numbers % 257 == 0).all())):
        # Colours of 8 bits, as they are or spread over 16.
        numbers = (numbers if numbers.max() <= 255 else numbers // 257).astype(np.uint8)
    return MaskFile(np.ascontiguousarray(numbers), understood=understood)


def _equal(samples: np.ndarray) -> bool:
    return bool((samples[..., 0] == samples[..., 1]).all() and (samples[..., 1] == samples[..., 2]).all())


def _zero_is_white(image: Image.Image) -> tuple[bool, bool]:
    """Whether a TIFF says that zero is white, and whether a program wrote it that is given arrays and not pictures."""
    tags = getattr(image, "tag_v2", None)
    if image.format != "TIFF" or tags is None:
        return False, False
    return tags.get(_PHOTOMETRIC) == _WHITE_IS_ZERO, str(tags.get(_SOFTWARE, "")).startswith("tifffile")


def _stretch(image: Image.Image) -> int:
    """What Pillow has multiplied 2- and 4-bit grey by."""
    tags = getattr(image, "tag_v2", None)
    if image.format == "TIFF" and tags is not None:
        return _STRETCHED.get(tags.get(_BITS, (8,))[0], 1)
    return image.info.get(pixels._STRETCH, 1)


def _pages(raw: bytes) -> tuple[int, bool]:
    """How many pictures of the first one's size a file holds, and whether others of them differ from it or cannot be read."""
    form = identify(raw).format
    if form == "TIFF" and Tiff(raw).pages()[0] < 2:
        return 1, False
    try:
        if form != "TIFF":
            with Image.open(io.BytesIO(raw), formats=[form]) as image:
                if getattr(image, "n_frames", 1) < 2:
                    return 1, False
        count, others, first = 0, False, None
        for page in _each_page(raw, _MOST_PAGES):
            if first is None:
                first = page
            if page.shape == first.shape:
                count += 1
                others = others or not np.array_equal(page, first)
    except Exception:  # a page that cannot be read is one that nobody knows
        return 2, True
    return max(1, count), others


def _each_page(raw: bytes, most: int):
    """The pages of a file as arrays, at most so many; frames of animations as they are seen, in grey."""
    if identify(raw).format != "TIFF":
        with Image.open(io.BytesIO(raw)) as image:
            for index in range(min(int(image.n_frames), most)):
                image.seek(index)
                yield np.asarray(image.convert("L"))
        return
    try:
        with Image.open(io.BytesIO(raw), formats=["TIFF"]) as image:
            size = image.size
            for index in range(min(int(image.n_frames), most)):
                image.seek(index)
                yield np.asarray(image) if image.size == size else np.zeros((0, 0))
    except (OSError, ValueError):
        # Slow to import, and only wanted for what Pillow does not know.
        import tifffile

        with tifffile.TiffFile(io.BytesIO(raw)) as file:
            if any(int(page.compression) != 1 for page in file.pages[:most]):
                raise
            for page in file.pages[:most]:
                yield page.asarray()


# Greys above this look white, and numbers below this are classes as a rule.
_LIGHT, _FEW = 191, 64


def greys_count(
    used: Mapping[int, Collection[int]], plain: Collection[int] = (), listed: Collection[int] | None = None, classes: int | None = None
) -> bool:
    """Whether masks are read by the greys that they show instead of the numbers that they store.

    Args:
        used: number → the greys that it shows in the masks that use it; from 0 to 255.
        plain: numbers in the dataset's masks that are their own greys.
        listed: values that a class list gives, or None.
        classes: how many classes there are, or None if nobody says.

    Returns:
        True for greys: where a number shows another grey in another mask, where black is not number 0, where the greys do not rise with
        the numbers (unless all look white), or where only the greys are those of other masks or of the class list.

    >>> greys_count({0: [0], 1: [255]}), greys_count({0: [255], 1: [0]}), greys_count({0: [255], 1: [254], 2: [253]})
    (False, True, False)
    """
    if not used:
        return False
    if any(len(set(greys)) > 1 for greys in used.values()):
        return True
    pairs = sorted((number, next(iter(greys))) for number, greys in used.items())
    numbers, greys = {number for number, _ in pairs}, {grey for _, grey in pairs}
    if numbers == greys and all(number == grey for number, grey in pairs):
        return False
    if listed is not None:
        known = {*listed, 255}
        if (greys <= known) != (numbers <= known):
            return greys <= known
    rising = all(one[1] < other[1] for one, other in zip(pairs, pairs[1:], strict=False))
    if not rising or pairs == [(0, 255)]:
        return not (min(greys) > _LIGHT and max(numbers) < _FEW and len(pairs) > 1)
    if 0 in greys and (0, 0) not in pairs:
        return True
    others = set(plain) - {0}
    if others and (others <= greys) != (others <= numbers | {255} and not others <= {255}):
        return others <= greys
    return greys == {0, 255} and numbers != {0, 1} and (classes is None or max(numbers) >= classes)


def panoptic_ids(picture: images.Source, name: str) -> np.ndarray:
    """The segment ids in a PNG of COCO's panoptic format, whose pixels are R + 256 G + 65536 B.

    Args:
        picture: the PNG.
        name: of it, for messages.

    Returns:
        int32 (H, W), 0 for void.

    Raises:
        ValueError: a picture without three channels of 8 bits; the message says so.
        BadImageError: as :func:`read_mask`.
    """
    mask = read_mask(picture)
    stored = mask.numbers if mask.palette is None else mask.palette[mask.numbers]
    if stored.ndim == 2 and not stored.any():
        return np.zeros(stored.shape, dtype=np.int32)  # black all over is read as grey
    if stored.ndim != 3 or stored.dtype != np.uint8:
        raise ValueError(Message("panoptic.no_colours", name=name))
    wide = stored.astype(np.int32)
    return wide[..., 0] | (wide[..., 1] << 8) | (wide[..., 2] << 16)


def read_panoptic(picture: images.Source, table: bytes, name: str) -> tuple[np.ndarray, dict[int, str], frozenset[int]]:
    """A picture's truth in COCO's panoptic format (Kirillov et al. 2019), as panopticapi reads it.

    Args:
        picture: the PNG, whose pixels are R + 256 G + 65536 B = the segment's id, 0 for void.
        table: the JSON beside it, of this picture or of a whole data set.
        name: of the PNG, by which its annotation is found where there are several.

    Returns:
        int32 (H, W), ids; the class name of every segment by its id; and the ids of crowds.

    Raises:
        ValueError: not such a file, or an id that it does not list; the message says so.
    """
    try:
        told = json.loads(table)
        classes = {row["id"]: str(row["name"]) for row in told["categories"]}
        rows = {str(row["file_name"]): row["segments_info"] for row in told["annotations"]}
        stems = {PurePath(file).stem: segments for file, segments in rows.items()}
        found = next(iter(rows.values())) if len(rows) == 1 else rows.get(name) or stems.get(PurePath(name).stem)
        if found is None:
            raise ValueError(Message("truth.panoptic_other_picture", name=name, count=len(rows)))
        listed = {int(row["id"]): classes[row["category_id"]] for row in found}
        crowds = frozenset(int(row["id"]) for row in found if row.get("iscrowd"))
    except (TypeError, KeyError, AttributeError, UnicodeDecodeError, json.JSONDecodeError) as error:
        raise ValueError(Message("truth.no_panoptic_json", why=str(error)[:80])) from error
    ids = panoptic_ids(picture, name)
    unknown = [value for value in np.unique(ids).tolist() if value and value not in listed]
    if unknown:
        raise ValueError(Message("truth.panoptic_unknown_id", value=unknown[0], count=len(listed)))
    return ids, listed, crowds
