"""Planes of a scientific file: which there are, which one is looked at, and how its samples become what a person sees.

Numbers alone: the readers are in :mod:`seg_demo.inputs.scientific_files`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from PIL import Image

from seg_demo.core import (
    AXES, MOST_SHOWN, BadImageError, BadRequestError, Calibration, Distribution, Message, Picture, PixelError, Stack, TiffError, View,
)
from seg_demo.inputs import samples
from seg_demo.inputs.samples import GREY, Samples

# The window ``auto``: percentiles, per channel.
LOW, HIGH = 0.35, 99.65
# Steps in which values are counted for whoever chooses a window; the share of values at either end that must not decide where counting
# begins, in percent, and how much is counted beyond; values that are looked at.
STEPS, FAR, MARGIN, MOST_VALUES = 128, 0.05, 0.1, 1_000_000
_UNITS = {
    "µm": "micrometer", "μm": "micrometer", "um": "micrometer", "micron": "micrometer", "microns": "micrometer", "micrometer": "micrometer",
    "micrometre": "micrometer", "nm": "nanometer", "nanometer": "nanometer", "pm": "picometer", "å": "angstrom", "angstrom": "angstrom",
    "mm": "millimeter", "millimeter": "millimeter", "cm": "centimeter", "centimeter": "centimeter", "m": "meter", "meter": "meter",
    "metre": "meter", "meters": "meter", "metres": "meter", "km": "kilometer", "kilometre": "kilometer", "inch": "inch", "in": "inch",
    "foot": "foot", "us survey foot": "US survey foot",
}  # fmt: skip
# Of ten: in meters.
_POWERS = {"picometer": -12, "angstrom": -10, "nanometer": -9, "micrometer": -6, "millimeter": -3, "centimeter": -2, "meter": 0, "kilometer": 3}
_NAME_LENGTH, _MOST_NAMES = 80, 4096


class Unread(Exception):
    """A file that is not read; its argument is the sentence."""


class TooLarge(MemoryError):
    """A plane of more bytes than a page may have; its arguments are width and height."""


@dataclass
class Opened:
    """A file whose planes can be read.

    Attributes:
        height: of a plane, as it is shown.
        width: the same.
        dtype: of its samples.
        plane: (page, t, z) and the channels that are wanted → (H, W, so many), upright.
        channels: names.
        stack: what there is to choose from.
        stack_of: the same with the scale and the windows of a plane (page, t, z), where each has its own; or None.
        calibration: of a plane (page, t, z).
        colour: whether the first three channels are red, green and blue.
        alpha: channel that says how opaque a pixel is, or None.
        inverted: whether the smallest value is white.
        nodata: value of samples without data, or None.
        notes: whole sentences.
        premultiplied: whether colours are multiplied with the alpha.
        profile: ICC profile that the colours are of, or None.
        parts: (page, t, z), channels, and rows from and to → row and column of each part of them and its samples (h, w, so many), for files
            that can be read in parts; or None.
        whole: (page, t, z) and channels; raises :class:`seg_demo.core.errors.Damaged` if parts of them lie outside of the file.
        step: rows that are stored together.
        uneven: number, from 1, of the first page that has another depth or other times than the first; 0 if all are alike.
    """

    height: int
    width: int
    dtype: np.dtype
    plane: Callable[[tuple[int, int, int], Sequence[int]], np.ndarray]
    channels: tuple[str, ...] = ("",)
    stack: Stack = field(default_factory=Stack)
    calibration: Callable[[tuple[int, int, int]], Calibration | None] = lambda at: None
    colour: bool = False
    alpha: int | None = None
    inverted: bool = False
    nodata: float | None = None
    notes: tuple[str, ...] = ()
    premultiplied: bool = False
    profile: bytes | None = None
    stack_of: Callable[[tuple[int, int, int]], Stack] | None = None
    parts: Callable[[tuple[int, int, int], Sequence[int], int, int], Iterator[tuple[int, int, np.ndarray]]] | None = None
    whole: Callable[[tuple[int, int, int], Sequence[int]], None] = lambda at, wanted: None
    step: int = 1
    uneven: int = 0


@dataclass
class Series:
    """A series of a TIFF: planes of one shape.

    Attributes:
        series: tifffile's.
        lead: letters of the axes before those of a page, and their lengths.
    """

    series: Any
    lead: str
    lengths: tuple[int, ...]

    @classmethod
    def of(cls, series: Any) -> Series:
        """Of tifffile's; axes that its pages do not fill are counted as one."""
        page = series.keyframe
        count = math.prod(series.shape) // max(1, math.prod(page.shape))
        lead = len(series.shape) - len(page.shape)
        if lead >= 0 and tuple(series.shape[lead:]) == tuple(page.shape):
            return cls(series, series.axes[:lead], tuple(series.shape[:lead]))
        return cls(series, "Q", (count,))

    def length(self, *letters: str) -> int:
        """Planes along some axes together; along all others without letters."""
        return math.prod(size for letter, size in zip(self.lead, self.lengths, strict=True) if (letter in letters if letters else letter not in "ZTC"))

    def number(self, page: int, t: int, z: int, channel: int) -> int:
        """Which of its planes that is."""
        at, rest = [], page
        for letter, size in reversed(list(zip(self.lead, self.lengths, strict=True))):
            if letter in "ZTC":
                at.append({"Z": z, "T": t, "C": channel}[letter])
            else:
                at.append(rest % size)
                rest //= size
        return int(np.ravel_multi_index(at[::-1], self.lengths)) if at else 0


def names(found: Sequence[object], count: int) -> tuple[str, ...]:
    """Names of channels as they are safe to show: one for each, printable and short."""
    listed = [str(name or "") for name in found][:count]
    cleaned = ["".join(sign for sign in name if sign.isprintable())[:_NAME_LENGTH] for name in listed]
    return tuple([*cleaned, *[""] * (count - len(cleaned))][:_MOST_NAMES])


def unit_of(text: object) -> str:
    """The English name of a unit of length that a file writes in one of many ways; empty where it is none.

    >>> unit_of("\\\\u00B5m"), unit_of("pixel")
    ('micrometer', '')
    """
    plain = re.sub(r"\\u([0-9a-fA-F]{4})", lambda match: chr(int(match[1], 16)), str(text or "")).strip().lower()
    return _UNITS.get(plain, "")


def sized(width: Any, height: Any, unit: str, of_height: str | None = None) -> Calibration | None:
    """A calibration, if these are lengths at all.

    Args:
        width: of a pixel.
        height: likewise.
        unit: of the width, in which both are given back.
        of_height: unit of the height where it has one of its own.
    """
    try:
        size = float(width), float(height)
        if of_height is not None and of_height != unit:
            size = size[0], float(f"{size[1] * 10.0 ** (_POWERS[of_height] - _POWERS[unit]):.12g}")
    except (TypeError, ValueError, KeyError, OverflowError):
        return None
    good = unit and all(math.isfinite(side) and 0 < side < 1e12 for side in size)
    return Calibration(size, unit) if good else None


def check_numbers(dtype: np.dtype) -> None:
    """Unread if values of a type are no numbers that can be shown."""
    if dtype.kind == "c":
        raise TiffError(Message("tiff.complex_numbers", bits=dtype.itemsize * 8))
    if dtype.kind not in "biuf":
        raise Unread(Message("scientific.no_numbers", dtype=dtype))


def settle(view: View | None, opened: Opened, wanted: int | None = None) -> tuple[View, tuple[str, ...]]:
    """A view with all that it leaves to the file, and what is to say about that.

    Args:
        view: what is asked for.
        opened: the file.
        wanted: channels that a network takes; None shows up to three to a person.

    Raises:
        BadRequestError: it asks for what the file does not have.
    """
    asked, stack, notes = view or View(), opened.stack, []
    chosen: dict[str, Any] = {}
    for axis in AXES:
        count, at = getattr(stack, "pages" if axis == "page" else axis), getattr(asked, axis)
        if at is not None and at >= count:
            raise BadRequestError("views.outside", axis=axis, value=at, count=count)
        chosen[axis] = at if at is not None else count // 2 if axis == "z" else 0
        if at is None and count > 1:
            key = {"page": "images.pages", "t": "images.first_time", "z": "images.middle_plane"}[axis]
            notes.append(Message(key, count=count, **({"number": chosen[axis] + 1} if axis == "z" else {})))
    count = len(opened.channels)
    shown = [channel for channel in range(count) if channel != opened.alpha] or [0]
    if asked.channels is not None and max(asked.channels) >= count:
        raise BadRequestError("views.no_channel", value=max(asked.channels), count=count)
    channels = asked.channels or _chosen(shown, count, opened.colour, wanted)
    if asked.channels is None and len(channels) > 1 and not (opened.colour and len(shown) == 3):
        red, green, blue = (*(channel + 1 for channel in channels), 0)[:3]
        many = len(channels) > 2
        notes.append(Message("images.channels_as_rgb", count=len(shown), red=red, green=green, blue=blue) if many else Message("images.channels_as_two", count=len(shown), red=red, green=green))
    window = asked.window or ("full" if opened.dtype == np.uint8 and not stack.windows else "dicom" if stack.windows else "auto")
    if window == "dicom" and not stack.windows:
        raise BadRequestError("views.no_dicom_window")
    return replace(asked, **chosen, channels=channels, window=window), tuple(notes)


def _chosen(shown: Sequence[int], count: int, colour: bool, wanted: int | None) -> tuple[int, ...]:
    """The channels of a file that is not asked for any: the first ones. What says how opaque a pixel is counts as one only where
    the network takes as many as there are; of colours, whose brightness one channel is, all three."""
    if wanted is None or (wanted == 1 and colour):
        return tuple(shown[:MOST_SHOWN])
    return tuple(shown[:wanted]) if len(shown) >= wanted or count < wanted else tuple(range(wanted))


def for_network(picture: Picture, count: int, bytes_wanted: bool) -> tuple[np.ndarray, tuple[Message, ...]]:
    """The samples that a network takes of a picture, where that is not what a person sees.

    Args:
        picture: read for so many channels.
        count: of the network's channels.
        bytes_wanted: it takes values from 0 to 255, the larger the brighter, so that longer ones are brought there by the view's window and
            gamma, each channel by itself; otherwise it takes the file's own values.

    Returns:
        (H, W, count) of the file's dtype, float32 where the file rescales what it stores or names a value for no data, which is NaN then; uint8 if
        ``bytes_wanted``, with no data as 0; and what is to say.

    Raises:
        BadImageError: the file has too few channels, or they are too large together.
        BadRequestError: the view names another number of them.
    """
    if picture.samples is None and picture.stack is not None:
        height, width = picture.pixels.shape[:2]
        raise BadImageError("channels.too_large", width=width, height=height, count=count)
    chosen = (0, 1, 2) if picture.view is None else picture.view.channels
    values = picture.pixels if picture.samples is None else picture.samples
    names = picture.channels or ("red", "green", "blue")
    if count > len(names):
        listed = ", ".join(name or str(number) for number, name in enumerate(names, start=1))
        raise BadImageError("channels.too_few", count=count, there=len(names), names=listed)
    notes: tuple[Message, ...] = ()
    if count == 1 and (picture.samples is None or len(chosen) == 3):
        # ITU-R BT.601, as Pillow's and OpenCV's conversion to grey.
        grey = values[..., :3].astype(np.float32) @ np.array([0.299, 0.587, 0.114], dtype=np.float32)
        values, notes = (np.rint(grey).astype(values.dtype) if values.dtype.kind in "iu" else grey)[..., None], (Message("channels.brightness"),)
    elif picture.samples is None and len(chosen) >= count:
        values = values[..., :count]
    elif len(chosen) != count:
        raise BadRequestError("channels.other_number", count=count, came=len(chosen), there=len(names))
    if len(names) > count > 1:
        listed = ", ".join(names[channel] or str(channel + 1) for channel in chosen[:count])
        notes = (Message("channels.taken", count=count, names=listed),)
    stack = picture.stack or Stack()
    without = None if stack.nodata is None else samples.same_as(values, stack.nodata)
    if without is not None and not bytes_wanted:
        values = np.where(without, np.float32("nan"), values).astype(np.float32)
    if (stack.slope, stack.intercept) != (1.0, 0.0):
        values = values.astype(np.float32) * np.float32(stack.slope) + np.float32(stack.intercept)
        nodata = None if stack.nodata is None else float(np.float32(stack.nodata) * np.float32(stack.slope) + np.float32(stack.intercept))
        stack = replace(stack, slope=1.0, intercept=0.0, nodata=nodata)
    if bytes_wanted and values.dtype != np.uint8:
        window = picture.view.window if picture.view is not None and picture.view.window is not None else "auto"
        gamma = 1.0 if picture.view is None else picture.view.gamma
        shades = np.empty(values.shape, dtype=np.uint8)
        for channel in range(count):
            ends = window_of(values[..., channel], window, stack, stack.nodata)
            shades[..., channel] = _shown(values[..., channel], ends.low, ends.high, gamma, stack.inverted, ends.gone)[0]
        values, notes = shades, (*notes, Message("channels.as_bytes", window=str(window)))
    elif bytes_wanted and (without is not None or stack.inverted):
        values = 255 - values if stack.inverted else values
        values = values if without is None else np.where(without, np.uint8(0), values)
    return values, notes


def render(
    channels: Sequence[np.ndarray], view: View, stack: Stack, nodata: float | None, inverted: bool = False, alpha: np.ndarray | None = None,
    premultiplied: bool = False, profile: bytes | None = None,
) -> tuple[np.ndarray, tuple[Message, ...]]:  # fmt: skip
    """One to three channels as a person sees them.

    Args:
        channels: (H, W) each: one is shown grey, two or three as red, green and blue.
        view: complete, as of :func:`settle`.
        stack: of the file.
        nodata: value of samples without data, or None.
        inverted: whether the smallest value is white.
        alpha: (H, W), how opaque pixels are, which lie on white; or None.
        premultiplied: whether the channels are multiplied with the alpha.
        profile: ICC profile of three channels that are colours, or None.

    Returns:
        uint8 (H, W, 3), and what is to say about it.

    Raises:
        PixelError: no sample of any channel has data.
    """
    windows = [window_of(channel, view.window, stack, nodata) for channel in channels]
    notes = list(dict.fromkeys(note for window in windows for note in window.notes))
    opacity = None if alpha is None else samples.opacity_of(alpha, stack.bits)
    painted = paint(channels, windows, view.gamma, shown_inverted(stack, inverted), opacity, premultiplied, profile)
    if painted.empty:
        raise nothing_there(painted.gone)
    if (missing := int(np.count_nonzero(painted.absent))):
        notes.append(absence(missing, painted.absent.size, painted.gone))
    return painted.pixels, tuple(notes)


def shown_inverted(stack: Stack, inverted: bool) -> bool:
    """Whether the smallest stored value is white: the larger a value is that samples are rescaled to, the brighter it is, also where the
    scale runs backwards."""
    return inverted != (stack.slope < 0)


def nothing_there(gone: Sequence[float]) -> PixelError:
    """That no sample has data, whose values are ``gone``."""
    return PixelError(Message("pixels.all_nan") if all(value != value for value in gone) else Message("pixels.all_nodata"))


def absence(missing: int, total: int, gone: Sequence[float]) -> Message:
    """The sentence on so many of so many pixels without data, which have such values."""
    return Message("images.no_data", share=max(missing / total, 0.0001), values=samples.named_values(gone))


@dataclass(frozen=True)
class Window:
    """What becomes black and white of a channel.

    Attributes:
        low: stored value that is black.
        high: stored value that is white.
        gone: values that are no data.
        notes: what is to say about it.
    """

    low: float
    high: float
    gone: tuple[float, ...] = ()
    notes: tuple[Message, ...] = ()


@dataclass(frozen=True)
class Painted:
    """Pixels, and where there are none.

    Attributes:
        pixels: uint8 (H, W, 3).
        absent: bool (H, W), where any channel has no data.
        gone: values that were looked for as such.
        empty: whether no channel has data anywhere.
    """

    pixels: np.ndarray
    absent: np.ndarray
    gone: tuple[float, ...]
    empty: bool


def paint(
    channels: Sequence[np.ndarray], windows: Sequence[Window], gamma: float, inverted: bool, opacity: np.ndarray | None = None,
    premultiplied: bool = False, profile: bytes | None = None,
) -> Painted:  # fmt: skip
    """Channels, or the same part of each, in windows that are known.

    Args:
        channels: as for :func:`render`.
        windows: of each.
        gamma: of the view.
        inverted: of :func:`shown_inverted`.
        opacity: uint8 (H, W), of pixels, which lie on white; or None.
        premultiplied: as for :func:`render`.
        profile: as for :func:`render`.
    """
    height, width = channels[0].shape
    rgb = np.zeros((height, width, 3), dtype=np.uint8)
    absent, gone, empty = np.zeros((height, width), dtype=bool), [], True
    for index, (channel, window) in enumerate(zip(channels, windows, strict=True)):
        grey, without = _shown(channel, window.low, window.high, gamma, inverted, window.gone)
        if without is not None:
            gone += [value for value in window.gone if not any(value == other or (value != value and other != other) for other in gone)]
            absent |= without
        empty &= without is not None and bool(without.all())
        rgb[..., index] = grey
    if len(channels) == 1:
        rgb[..., 1] = rgb[..., 0]
        rgb[..., 2] = rgb[..., 0]
    alpha = None if opacity is None else opacity[..., None].astype(np.uint16)
    if alpha is not None and premultiplied:
        rgb = np.minimum((rgb.astype(np.uint16) * 255 + alpha // 2) // np.maximum(alpha, 1), 255).astype(np.uint8)
    if profile is not None:
        image = Image.fromarray(rgb)
        image.info["icc_profile"] = profile
        rgb = samples.to_rgb(image)
    if alpha is not None:
        rgb = ((rgb * alpha + 255 * (255 - alpha) + 127) // 255).astype(np.uint8)
    return Painted(rgb, absent, tuple(gone), empty)


def distribution(channels: Sequence[np.ndarray], view: View, stack: Stack, nodata: float | None, inverted: bool = False) -> Distribution | None:
    """What a window is chosen by.

    Args:
        channels, view, stack, nodata, inverted: as for :func:`render`.

    Returns:
        None where the values are too far apart to be counted.
    """
    ends, known = [], []
    for channel in channels:
        window = window_of(channel, view.window, stack, nodata)
        shown = sorted(float(end) * stack.slope + stack.intercept for end in (window.low, window.high))
        ends.append(tuple(shown[::-1] if inverted else shown))
        step = math.ceil(math.sqrt(channel.size / MOST_VALUES))
        values = channel[::step, ::step]
        absent = samples.absent_in(values, window.gone)
        values = (values if absent is None else values[~absent]).ravel().astype(np.float64) * stack.slope + stack.intercept
        known.append(values[np.isfinite(values)])
    there = [values for values in known if values.size]
    if not there or not np.isfinite(ends).all():
        return None
    first, last = (pick(pick(values) for values in there) for pick in (min, max))
    with np.errstate(over="ignore"):
        near = [np.percentile(values, (FAR, 100 - FAR)) for values in there]
        low, high = min(pair[0] for pair in near), max(pair[1] for pair in near)
        beyond = MARGIN * (high - low)
        low, high = max(first, low - beyond), min(last, high + beyond)
        if not low < high:
            low, high = first - 0.5, last + 0.5
        if not math.isfinite(high - low) or not low < high:
            return None
    counts = tuple(tuple(map(int, np.histogram(values, STEPS, (low, high))[0])) for values in known)
    return Distribution(float(low), float(high), counts, tuple(ends))


def window_of(channel: np.ndarray, window: tuple[float, float] | str, stack: Stack, nodata: float | None) -> Window:
    """What becomes black and white of a channel (H, W), in stored values."""
    known = fixed_window(channel.dtype, window, stack, nodata)
    if known is not None:
        return known
    if channel.dtype in (np.uint8, np.uint16):
        counts = np.zeros(np.iinfo(channel.dtype).max + 1, dtype=np.int64)
        for _, strip in samples.strips(channel):
            found = np.bincount(strip.ravel())
            counts[: found.size] += found
        return counted_window(counts, nodata)
    return _many(channel, window, nodata)


def fixed_window(kind: np.dtype, window: tuple[float, float] | str, stack: Stack, nodata: float | None) -> Window | None:
    """What becomes black and white of values of a type; None where that depends on the values."""
    if isinstance(window, tuple) or window == "dicom":
        ends = window if isinstance(window, tuple) else stack.windows[0]
        low, high = sorted((end - stack.intercept) / stack.slope for end in ends)
        return Window(low, high, named(kind, nodata))
    if window == "full" and kind.kind == "u":
        return Window(0.0, float(2**stack.bits - 1), named(kind, nodata))
    if window == "full" and kind.kind == "i":
        return Window(-float(2 ** (stack.bits - 1)), float(2 ** (stack.bits - 1) - 1), named(kind, nodata))
    return None


def named(kind: np.dtype, nodata: float | None) -> tuple[float, ...]:
    """The values that are no data where no others are looked for."""
    never = (float("nan"),) if kind.kind == "f" else ()
    return never if nodata is None or nodata != nodata else (float(kind.type(nodata)) if kind.kind == "f" else nodata, *never)


def counted_window(counts: np.ndarray, nodata: float | None) -> Window:
    """The window ``auto`` of values that can be counted one by one.

    Args:
        counts: int64 (256,) or (65536,), of every value; used up.
        nodata: value of samples without data, or None.
    """
    gone: tuple[float, ...] = ()
    notes: tuple[Message, ...] = ()
    if nodata is not None and float(nodata).is_integer() and 0 <= nodata < counts.size and counts[int(nodata)]:
        counts[int(nodata)], gone = 0, (float(nodata),)
    if counts.size > 256:
        # A few hot pixels, a scale bar or a filler must not decide, whatever their share.
        beyond, total = int(counts[samples.FULL_RANGE :].sum()), int(counts.sum())
        several = np.count_nonzero(counts[: samples.FULL_RANGE]) > 1
        if beyond and several and (beyond <= samples.TAIL * total or beyond == counts[-1]):
            counts[samples.FULL_RANGE :] = 0
            used = np.flatnonzero(counts)
            notes = samples.far_note(beyond / total, float(used[0]), float(used[-1]))
    used = np.flatnonzero(counts)
    if not used.size:
        return Window(0.0, 1.0, gone)
    low, high = (_percentile(counts, share) for share in (LOW, HIGH))
    if low == high:
        low, high = float(used[0]), float(used[-1])
    if low == high:
        low, high = 0.0, float(counts.size - 1)
    return Window(low, high, gone, notes)


def _percentile(counts: np.ndarray, share: float) -> float:
    """As ``numpy.percentile`` gives it, of whole numbers from 0 that were counted."""
    upto = np.cumsum(counts)
    rank = share / 100 * (int(upto[-1]) - 1)
    below, above = (int(np.searchsorted(upto, math.floor(rank) + step)) for step in (1, 2))
    return below + (above - below) * (rank - math.floor(rank))


def _many(channel: np.ndarray, window: tuple[float, float] | str, nodata: float | None) -> Window:
    """The window of signed numbers, long ones and fractions, where programs write all sorts of values for no data."""
    one = Samples(values=channel[..., None], kind=GREY, bits=channel.dtype.itemsize * 8, nodata=nodata)
    try:
        low, high, gone = samples.value_range(one)
    except PixelError:
        return Window(0.0, 1.0, named(channel.dtype, nodata))
    if window == "full" or low >= high:
        return Window(low, high, gone, one.notes)
    known = known_values(channel, low, high, gone)
    ends = np.percentile(known, (LOW, HIGH)) if known.size else (low, high)
    return Window(*((float(ends[0]), float(ends[1])) if ends[0] < ends[1] else (low, high)), gone, one.notes)


def known_values(values: np.ndarray, low: float, high: float, gone: Sequence[float]) -> np.ndarray:
    """(N,): those of some values that are data, within a range."""
    known = values[(values >= low) & (values <= high)]
    for value in gone:
        if value == value and low <= value <= high:
            known = known[~samples.same_as(known, value)]
    return known


def _shown(
    channel: np.ndarray, low: float, high: float, gamma: float, inverted: bool, gone: tuple[float, ...]
) -> tuple[np.ndarray, np.ndarray | None]:
    """Stored values as uint8 (H, W), and where there is no data."""
    if channel.dtype in (np.uint8, np.uint16):
        table = np.arange(np.iinfo(channel.dtype).max + 1)
        shades = _shades(table, low, high, gamma, inverted)
        numbers = [int(value) for value in gone if float(value).is_integer() and 0 <= value < table.size]
        if not numbers:
            same = channel.dtype == np.uint8 and (low, high, gamma, inverted) == (0.0, 255.0, 1.0, False)
            return (channel if same else shades[channel]), None
        shades[numbers] = 0
        return shades[channel], np.isin(channel, numbers)
    grey = np.empty(channel.shape, dtype=np.uint8)
    without = None
    for rows, strip in samples.strips(channel):
        grey[rows] = _shades(strip, low, high, gamma, inverted)
        if (absent := samples.absent_in(strip, gone)) is not None and absent.any():
            without = np.zeros(channel.shape, dtype=bool) if without is None else without
            without[rows] = absent
    if without is not None:
        grey[without] = 0
    return grey, without


def _shades(values: np.ndarray, low: float, high: float, gamma: float, inverted: bool) -> np.ndarray:
    """uint8: black at ``low``, white at ``high``, or the other way round."""
    if not low < high:
        return np.full(values.shape, 255 if inverted else 0, dtype=np.uint8)
    # Half of the range of float64 is still a number.
    factor = 0.25 if not np.isfinite(high - low) else 1.0
    with np.errstate(invalid="ignore", over="ignore"):
        bright = np.clip((values.astype(np.float64) * factor - low * factor) / (high * factor - low * factor), 0, 1)
        bright = bright if gamma == 1 else bright**gamma
        shades = np.nan_to_num(np.rint(bright * 255)).astype(np.uint8)
    return 255 - shades if inverted else shades
