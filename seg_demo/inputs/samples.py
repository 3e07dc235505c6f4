"""Pixels with the numbers that their file stores, of any depth and number of channels → 8 bits that a person can look at.

A loaded Pillow image, or samples of any depth → the upright RGB that a person sees, strip by strip so that memory stays near one copy.

PNGs with 16 bits in more than one channel, of which Pillow keeps the upper 8 alone.

Its decoder is run a second time for the lower 8: an unpacker for the other byte order takes the other byte of each sample.
Grey with alpha is unpacked as four channels of 8 bits, which stores both bytes of both.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageCms

from seg_demo.core import Message, PixelError

# 16-bit data below this leaves its two upper bits empty: a camera of 10 to 14 bits, nearly black if shown as it is.
FULL_RANGE = 1 << 14
# Of such data, the share of samples that may fall outside of what is stretched, on either side: hot and dead pixels.
TAIL = 0.001
# What programs write where nothing was measured, beside the ends of the type: GDAL, ESRI grids, netCDF, CF conventions.
FILLERS = (-9999.0, -99999.0, -999.0, -32768.0, -32767.0, 9.969209968386869e36, 1e20, -3.4e38, -1.7e308,
           -3.4028234663852886e38, 3.4028234663852886e38)  # fmt: skip
# Values further off than so many times the range of nearly all others do not decide what is black and white; a number that stands for
# "no data" without being one that programs use is further off still.
FAR, FAR_FILLER = 10, 100
_STRIP_SAMPLES = 1 << 20
_SAMPLED = 1 << 20
ORIENTATION = 0x0112
# Photometric interpretations of samples, and the Pillow mode of their 8 bits by number of channels.
GREY, RGB, PALETTE, CMYK, LAB = "grey", "rgb", "palette", "cmyk", "lab"


@dataclass(eq=False)
class Samples:
    """What a decoder that keeps depth has read.

    Attributes:
        values: (H, W, C) of the file's dtype, rows as stored: 1 channel grey, 3 RGB or LAB, 4 CMYK.
        kind: ``grey``, ``rgb``, ``palette``, ``cmyk`` or ``lab``.
        alpha: (H, W) of the file's dtype, or None.
        premultiplied: whether the values are multiplied with the alpha.
        palette: uint16 (K, 3) RGB of ``palette``.
        inverted: whether the smallest value is white.
        bits: of a sample.
        turn: EXIF orientation, 1 to 8.
        nodata: the value of samples without data that the file names, or None.
        profile: ICC profile, or None.
        channels: that the file has; more than are here if some are not shown.
        notes: what a person should know of how the file was read, whole sentences.
    """

    values: np.ndarray
    kind: str
    bits: int
    alpha: np.ndarray | None = None
    premultiplied: bool = False
    palette: np.ndarray | None = None
    inverted: bool = False
    turn: int = 1
    nodata: float | None = None
    profile: bytes | None = None
    channels: int = 1
    notes: tuple[str, ...] = ()

    @property
    def width(self) -> int:
        """Pixels of a stored row."""
        return self.values.shape[1]

    @property
    def height(self) -> int:
        """Stored rows."""
        return self.values.shape[0]


def strips(array: np.ndarray) -> Iterator[tuple[slice, np.ndarray]]:
    """An array in strips of whole rows with about a million samples: (rows, strip)."""
    rows = max(1, _STRIP_SAMPLES // max(1, array[0].size))
    for top in range(0, len(array), rows):
        yield slice(top, top + rows), array[top : top + rows]


def picture(samples: Samples) -> Image.Image:
    """Samples as a Pillow image of 8 bits per channel with its profile, orientation and alpha; the samples are let go.

    16 bits keep their upper 8; if no value reaches 2**14 (microscopes, satellites and other cameras of 10 to 14 bits), the used
    range is stretched, the same for all channels, so that colours stay, and a thousandth of the samples is clipped at either
    end. Signed and 32- or 64-bit integers and floats are stretched from their smallest to their largest value. Samples without
    data (NaN, what the file names as nodata, and a filler far off everything else) count for neither and are black. A few
    values far outside of all others become the ends of their range.

    Args:
        samples: whose ``values`` are None afterwards; ``notes`` get a sentence about samples without data.

    Raises:
        PixelError: no sample has data, or some are infinite.
    """
    if samples.kind == PALETTE:
        eight, mode = _lookup(samples), "RGB"
    elif samples.kind == CMYK:
        eight, mode = _upper(samples), "CMYK"
    elif samples.kind == LAB:
        eight, mode = _upper(samples), "LAB"
    else:
        eight, mode = _stretched(samples), "L" if samples.kind == GREY else "RGB"
    samples.values = None
    if samples.alpha is not None and mode in ("L", "RGB"):
        opacity = opacity_of(samples.alpha, samples.bits)
        eight = np.concatenate([eight.repeat(3, axis=2) if mode == "L" else eight, opacity[..., None]], axis=2)
        mode = "RGBa" if samples.premultiplied else "RGBA"
    image = Image.fromarray(eight[..., 0] if mode == "L" else eight) if mode in ("L", "RGB", "RGBA") else _raw(mode, eight)
    image.getexif()[ORIENTATION] = samples.turn
    if samples.profile is not None and mode != "L":
        image.info["icc_profile"] = samples.profile
    return image


def _raw(mode: str, eight: np.ndarray) -> Image.Image:
    """An image of a mode that numpy arrays are not taken for: CMYK, RGBa and LAB, whose a and b have a sign as in TIFF."""
    height, width = eight.shape[:2]
    return Image.frombytes(mode, (width, height), eight.tobytes())


def _lookup(samples: Samples) -> np.ndarray:
    colors = (samples.palette >> 8).astype(np.uint8)
    return colors[np.minimum(samples.values[..., 0], len(colors) - 1)]


def _upper(samples: Samples) -> np.ndarray:
    """The upper 8 bits, of unsigned integers or of two's complement."""
    values = samples.values
    if values.dtype.kind == "f":
        raise PixelError(Message("pixels.fractional_colours"))
    return (values >> max(0, samples.bits - 8)).astype(np.uint8) if samples.bits >= 8 else _narrow(values, samples.bits)


def _narrow(values: np.ndarray, bits: int) -> np.ndarray:
    """Less than 8 bits, stretched to 8."""
    return (values.astype(np.uint16) * 255 // (2**bits - 1)).astype(np.uint8)


def opacity_of(alpha: np.ndarray, bits: int, most: float | None = None) -> np.ndarray:
    """Alpha of any depth as uint8. Where the largest value is small for the depth, it is what means opaque.

    Args:
        alpha: of all pixels, or a part of them.
        bits: of a sample.
        most: the largest value of all pixels; None looks for it.
    """
    if alpha.dtype == np.uint8 and bits == 8:
        return alpha
    most = float(np.nanmax(alpha)) if most is None else most
    whole = 1.0 if alpha.dtype.kind == "f" else float(2**bits - 1)
    if alpha.dtype == np.uint16 and bits == 16 and most >= FULL_RANGE:
        return (alpha >> 8).astype(np.uint8)
    if 0 < most < whole / 4 or most > whole:
        whole = most
    return np.clip(np.nan_to_num(np.rint(alpha.astype(np.float32) * (255 / whole))), 0, 255).astype(np.uint8)


def _stretched(samples: Samples) -> np.ndarray:
    values, bits = samples.values, samples.bits
    if values.dtype == np.uint8 and bits <= 8:
        eight = values if bits == 8 else _narrow(values, bits)
        return 255 - eight if samples.inverted else eight
    if values.dtype == np.uint16:
        low, high, gone = _range16(samples)
    else:
        check_finite(values, samples.nodata)
        low, high, gone = value_range(samples)
    if samples.premultiplied:
        low = min(low, 0.0)
    return _scaled(samples, low, high, gone)


def _scaled(samples: Samples, low: float, high: float, gone: tuple[float, ...]) -> np.ndarray:
    """The values as uint8, ``low`` black and ``high`` white; those without data are black, and counted in the notes."""
    values = samples.values
    eight = np.empty(values.shape, dtype=np.uint8)
    whole = values.dtype == np.uint16 and (low, high) == (0.0, 65_535.0)
    # Half of the range of float64 is still a number.
    factor = 0.25 if not np.isfinite(high - low) else 1.0
    missing = 0
    for rows, strip in strips(values):
        if whole:
            grey = (strip >> 8).astype(np.uint8)
        elif low == high:
            grey = np.zeros(strip.shape, dtype=np.uint8)
        else:
            with np.errstate(invalid="ignore", over="ignore"):
                scaled = (strip.astype(np.float64) * factor - low * factor) * (255 / (high * factor - low * factor))
                grey = np.nan_to_num(np.clip(np.rint(scaled), 0, 255)).astype(np.uint8)
        if samples.inverted:
            grey = 255 - grey
        absent = absent_in(strip, gone)
        if absent is not None:
            grey[absent] = 0
            missing += int(absent.any(axis=2).sum())
        eight[rows] = grey
    if missing:
        share = missing / (samples.width * samples.height)
        named = named_values(gone)
        samples.notes += (Message("images.no_data", share=max(share, 0.0001), values=named),)
    return eight


def absent_in(strip: np.ndarray, gone: tuple[float, ...]) -> np.ndarray | None:
    """bool, where samples hold no data; None if there are no such values."""
    if not gone:
        return None
    absent = np.zeros(strip.shape, dtype=bool)
    for value in gone:
        absent |= np.isnan(strip) if np.isnan(value) else same_as(strip, value)
    return absent


def named_values(values: Sequence[float]) -> str:
    """Values that are no data, for a sentence."""
    return ", ".join("NaN" if np.isnan(value) else f"{value:g}" for value in values)


def infinite_in(values: np.ndarray, nodata: float | None) -> int:
    """How many values are infinite, and not what the file names for samples without data."""
    if values.dtype.kind != "f":
        return 0
    found = np.isinf(values)
    if nodata is not None and np.isinf(nodata):
        found &= ~same_as(values, nodata)
    return int(np.count_nonzero(found))


def check_finite(values: np.ndarray, nodata: float | None) -> None:
    """PixelError if values (H, W, ...) are infinite: neither a measurement nor, unless the file says so, the want of one."""
    if values.dtype.kind == "f" and (count := sum(infinite_in(strip, nodata) for _, strip in strips(values))):
        raise PixelError(Message("pixels.infinite_values", count=count))


def same_as(values: np.ndarray, value: float) -> np.ndarray:
    """bool, where samples are a value; as a fraction the largest one of 64 bits is one more than they can hold."""
    return values == float(value)  # numpy compares whole numbers with a Python float as float64, fractions at their precision


def _range16(samples: Samples) -> tuple[float, float, tuple[float, ...]]:
    """What becomes black and white of 16 bits: the full range, or the used one if the two upper bits are empty.

    They count as empty also where next to nothing has them (hot pixels), or 65535 alone does: a filler, what is overexposed, or a
    scale bar.
    """
    values, nodata = samples.values, samples.nodata
    counts = np.zeros(1 << 16, dtype=np.int64)
    for _, strip in strips(values):
        counts += np.bincount(strip.ravel(), minlength=1 << 16)
    gone: tuple[float, ...] = ()
    if nodata is not None and float(nodata).is_integer() and 0 <= nodata < 1 << 16 and 0 < counts[int(nodata)] < counts.sum():
        counts[int(nodata)], gone = 0, (float(nodata),)
    used = np.flatnonzero(counts)
    beyond, among = int(counts[FULL_RANGE:].sum()), int(counts.sum())
    if beyond:
        alone = beyond == counts[-1]
        if np.count_nonzero(counts[:FULL_RANGE]) < 2 or (beyond > TAIL * among and not alone):
            return 0.0, 65_535.0, gone
        counts[FULL_RANGE:] = 0
        used = np.flatnonzero(counts)
        samples.notes += far_note(beyond / among, float(used[0]), float(used[-1]))
    if used.size == 1:
        return 0.0, 65_535.0, gone
    # A few hot or dead pixels must not decide: a thousandth of the samples may fall outside on either side.
    shares = np.cumsum(counts) / counts.sum()
    low, high = np.searchsorted(shares, TAIL), np.searchsorted(shares, 1 - TAIL)
    return (*((float(low), float(high)) if low < high else (float(used[0]), float(used[-1]))), gone)


def far_note(share: float, low: float, high: float) -> tuple[str, ...]:
    """The sentence on samples that are far off all others, which nothing could be seen of otherwise."""
    return (Message("images.far_outside", share=max(share, 0.0001), low=low, high=high),)


def value_range(samples: Samples) -> tuple[float, float, tuple[float, ...]]:
    """Smallest and largest value of those with data, and the values of those without: :class:`Spread` of all values.

    Raises:
        PixelError: no sample has data.
    """
    spread = Spread(samples.values.dtype, samples.nodata)
    for _, strip in strips(samples.values):
        spread.add(strip)
    low, high, gone, notes = spread.ends(lambda: samples.values.reshape(-1)[:: sampled_step(samples.values.size)])
    samples.notes += notes
    return low, high, gone


def sampled_step(count: int) -> int:
    """Of so many values, one in how many is looked at where all are too many."""
    return max(1, count // _SAMPLED)


class Spread:
    """How far values reach, which of them are no data, and what lies far off; of values that come in parts.

    A filler that the file does not name is one if it lies further off the rest than the rest reaches, and the rest is more than
    one value: where everything else is alike, it may as well be the only thing to see. A number that programs do not use for it has
    to be there often, and much further off. A few values that are far off all others (hot pixels) do not decide.

    Args:
        kind: of the values: signed, long or fractional.
        nodata: value of samples without data that the file names, or None.

    Attributes:
        low: smallest value so far that may be data.
        high: largest one.
        found: fillers, and what the file names, that were there.
        holes: whether there was NaN.
    """

    def __init__(self, kind: np.dtype, nodata: float | None) -> None:
        ends = np.iinfo(kind) if kind.kind in "iu" else np.finfo(kind)
        least, most = float(ends.min), float(ends.max)
        fillers = [most] if kind.kind == "u" else [least, most, *(value for value in FILLERS if least <= value <= most)]
        self._fillers = list(dict.fromkeys(float(kind.type(value)) if kind.kind == "f" else value for value in fillers))
        self._named = None
        if nodata is not None and (least <= nodata <= most or (kind.kind == "f" and np.isinf(nodata))):
            self._named = float(kind.type(nodata)) if kind.kind == "f" else nodata
        self.low, self.high = np.inf, -np.inf
        self.found: set[float] = set()
        self.holes = False

    def add(self, strip: np.ndarray) -> None:
        """Some more values, of any shape."""
        with np.errstate(invalid="ignore"):
            known = np.isfinite(strip)
        if not known.all():
            self.holes |= bool(np.isnan(strip).any())
        for value in [*self._fillers, *([] if self._named is None else [self._named])]:
            same = same_as(strip, value)
            if same.any():
                self.found.add(value)
                known &= ~same
        rest = strip[known]
        if rest.size:
            self.low, self.high = min(self.low, float(rest.min())), max(self.high, float(rest.max()))

    def ends(self, some: Callable[[], np.ndarray]) -> tuple[float, float, tuple[float, ...], tuple[Message, ...]]:
        """Smallest and largest value with data, the values of those without, and what is to say about it.

        Args:
            some: gives one in :func:`sampled_step` of the values, in any order.

        Raises:
            PixelError: no value has data.
        """
        low, high, found, named = self.low, self.high, self.found, self._named
        notes: tuple[Message, ...] = ()
        gone = [value for value in found if value == named]
        if low < high:
            gone += [value for value in found if value != named and max(low - value, value - high) > high - low]
        for value in found - set(gone):
            low, high = min(low, value), max(high, value)
        if low > high:
            raise PixelError(Message("pixels.all_nodata") if gone else Message("pixels.all_nan"))
        if low < high:
            with np.errstate(over="ignore"):
                low, high, notes = _without_far(some(), low, high, gone)
        return low, high, (*sorted(gone), *([float("nan")] if self.holes else [])), notes


def _without_far(some: np.ndarray, low: float, high: float, gone: list[float]) -> tuple[float, float, tuple[Message, ...]]:
    """The range without what is far outside of nearly all values, of which some are given; fillers that are found are added to ``gone``."""
    some = some.astype(np.float64)
    some = some[np.isfinite(some)]
    some = np.sort(some[~np.isin(some, gone)])
    for end in (0, -1):
        # One number at the end of the range, there often, and far beyond everything else.
        value = some[end] if some.size else 0.0
        rest = some[some != value]
        if rest.size > 1 and rest[0] < rest[-1] and some.size - rest.size > TAIL * some.size:
            gap = rest[0] - value if end == 0 else value - rest[-1]
            if gap > FAR_FILLER * (rest[-1] - rest[0]):
                gone.append(float(value))
                some = rest
                low, high = (float(rest[0]), high) if end == 0 else (low, float(rest[-1]))
    if some.size < 3:
        return low, high, ()
    least, most = some[int(np.ceil(TAIL * (some.size - 1)))], some[int((1 - TAIL) * (some.size - 1))]
    spread = FAR * (most - least)
    if not spread > 0 or high - low <= spread:
        return low, high, ()
    inner = some[(some >= least - spread) & (some <= most + spread)]
    below, above = low < inner[0] - spread, high > inner[-1] + spread
    if not (below or above):
        return low, high, ()
    low, high = float(inner[0]) if below else low, float(inner[-1]) if above else high
    return low, high, far_note(1 - inner.size / some.size, low, high)


def upright(array: np.ndarray, turn: int) -> np.ndarray:
    """A stored array (H, W, ...) as a person sees it, for EXIF orientation ``turn``."""
    if turn in (2, 3, 7, 8):
        array = array[:, ::-1]
    if turn in (3, 4, 6, 7):
        array = array[::-1]
    return np.ascontiguousarray(array.swapaxes(0, 1) if turn >= 5 else array)


def no_labels(samples: Samples) -> Message:
    """Why colours or channels are no labels."""
    return Message("pixels.printing_colours") if samples.kind in (CMYK, LAB) else Message("pixels.channels", count=samples.channels)


def label_values(samples: Samples) -> np.ndarray:
    """The stored numbers of a mask, upright: uint8 or uint16 (H, W), or (H, W, 3) if it is coloured.

    Three channels that are alike are one. Alpha is left out. Colours of 16 bits that only repeat 8 are those.

    Raises:
        PixelError: numbers that are no label ids, or channels that are neither one number nor one colour.
    """
    values = samples.values
    if samples.kind in (CMYK, LAB) or (samples.kind == GREY and samples.channels > 1):
        raise PixelError(no_labels(samples))
    if values.dtype != np.uint8:
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            raise PixelError(Message("pixels.some_nan"))
        low, high = float(values.min()), float(values.max())
        if low < 0 or high > 65_535:
            raise PixelError(Message("pixels.values_beyond_labels", low=low, high=high))
        labels = values.astype(np.uint16)
        if (labels != values).any():
            raise PixelError(Message("pixels.fractions"))
        values = labels
    if values.shape[2] == 3:
        if (values == values[..., :1]).all() and values.dtype == np.uint16:
            values = values[..., :1]
        elif values.dtype == np.uint16 and (values % 257 == 0).all():
            values = (values // 257).astype(np.uint8)
    return upright(values[..., 0] if values.shape[2] == 1 else values, samples.turn)


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
        PixelError: no pixel has data, or some are infinite.
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


# Pillow's raw mode: that of the other byte.
_OTHER = {"RGB;16B": "RGB;16L", "RGBA;16B": "RGBA;16L"}
_GREY_ALPHA = "LA;16B"
# Bytes per pixel while the second half is added: two images of Pillow's, the samples.
DEEP_PNG_COST = 14.0


def is_deep_png(image: Image.Image) -> bool:
    """Whether Pillow will drop the lower half of its samples.

    Args:
        image: opened, not loaded.
    """
    return image.format == "PNG" and bool(image.tile) and (image.tile[0].args in _OTHER or image.tile[0].args == _GREY_ALPHA)


def png_uses_few_bits(image: Image.Image) -> bool:
    """Whether the upper half says too little: no colour reaches 2**14, or one colour is transparent, which needs all 16 bits.

    Args:
        image: loaded.
    """
    most = [high for _, high in image.getextrema()][: 1 if image.mode == "LA" else 3]
    return max(most) < FULL_RANGE >> 8 or "transparency" in image.info


def png_samples(data: bytes) -> Samples:
    """All 16 bits.

    Args:
        data: a PNG for which :func:`is_deep_png` holds.

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
