"""A raster too large for memory, looked at part by part, with the same intensity window everywhere: what the sandboxed child does for
:class:`seg_demo.inputs.scientific.Raster`.

The window ``auto`` is of all values together, as it would be of a picture in memory, to the bit: values of 8 and 16 bits are counted one by
one; of others the ends are found first, then the order statistics that percentiles are made of, 16 bits of them at a time (a radix
select). Each of these passes over the file goes on in a process of its own from what the one before has left in a file, which nobody but
the next one reads.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np

from seg_demo.core import MOST_SHOWN, Damaged, Message, PixelError, TiffError, View
from seg_demo.inputs import planes, samples
from seg_demo.inputs.planes import HIGH, LOW, Opened, Unread, Window

PIXELS, STATE = "pixels", "state.npz"
# Bits that order statistics are narrowed down by in a pass.
_DIGIT = 16
# Bytes of a tile or strip at most, and of rows that are read at a time.
MOST_PART, _ROWS_BYTES = 256_000_000, 16_000_000
_JPEG = (6, 7, 34892, 33007)


class Tally:
    """What becomes black and white of one channel, from all of its values in as many passes as it takes.

    Args:
        kind: of the values.
        window: of a view: ``auto`` or ``full``, where that depends on the values.
        nodata: value of samples without data, or None.
        count: of the values.

    Attributes:
        result: the window, once it is known.
        empty: whether it is known that no value has data.
    """

    def __init__(self, kind: np.dtype, window: str, nodata: float | None, count: int) -> None:
        self._kind, self._window, self._nodata = kind, window, nodata
        self._step = samples.sampled_step(count)
        self.result: Window | None = None
        self.empty = False
        self._counts = np.zeros(np.iinfo(kind).max + 1, dtype=np.int64) if kind in (np.uint8, np.uint16) else None
        self._spread, self._some = samples.Spread(kind, nodata), [np.zeros(0, dtype=kind)]
        # Of the order statistics: the ends of what is data, leading bits that are known, and how many values below those have.
        self._range: tuple[float, float, tuple[float, ...]] | None = None
        self._targets: list[tuple[int, int]] = []
        self._digits: dict[int, np.ndarray] = {}
        self._passes, self._share = 0, (0.0, 0.0)

    def add(self, values: np.ndarray, row: int, column: int, width: int) -> None:
        """A part of the values, each of which comes once in a pass.

        Args:
            values: (h, w).
            row: of the raster, that they begin with.
            column: likewise.
            width: of the raster.
        """
        if self._counts is not None:
            found = np.bincount(values.ravel())
            self._counts[: found.size] += found
        elif self._range is None:
            self._spread.add(values)
            # Those that one would get of all values in a line: one in so many.
            first = -(row * width + column + np.arange(len(values)) * width) % self._step
            for line, begin in enumerate(first.tolist()):
                if begin < values.shape[1]:
                    self._some.append(values[line, begin :: self._step].copy())
        else:
            keys = _ordered(planes.known_values(values, *self._range))
            for prefix, counts in self._digits.items():
                held = keys if not self._passes else keys[keys >> np.uint64(self._below + _DIGIT) == np.uint64(prefix)]
                digits = (held >> np.uint64(self._below)) & np.uint64((1 << _DIGIT) - 1)
                counts += np.bincount(digits.astype(np.int64), minlength=1 << _DIGIT)

    @property
    def _bits(self) -> int:
        return self._kind.itemsize * 8

    @property
    def _below(self) -> int:
        """Bits below the digit that is counted."""
        return max(0, self._bits - _DIGIT * (self._passes + 1))

    def turn(self) -> None:
        """All values have come: the result is there now, or they are to come once more."""
        if self._counts is not None:
            self.result = planes.counted_window(self._counts, self._nodata)
            self.empty = not self._counts.any()  # what is no data was taken out
        elif self._range is None:
            self._end_of_spread()
        else:
            self._narrow()

    def _end_of_spread(self) -> None:
        try:
            low, high, gone, notes = self._spread.ends(lambda: np.concatenate(self._some))
        except PixelError:
            self.result, self.empty = Window(0.0, 1.0, planes.named(self._kind, self._nodata)), True
            return
        self._some = [np.zeros(0, dtype=self._kind)]
        self._notes = notes
        self._range = low, high, gone
        if self._window == "full" or low >= high:
            self.result = Window(low, high, gone, notes)
        self._digits = {0: np.zeros(1 << _DIGIT, dtype=np.int64)}

    def _narrow(self) -> None:
        low, high, gone = self._range
        if not self._passes:
            total = int(self._digits[0].sum())
            if not total:
                self.result = Window(low, high, gone, self._notes)
                return
            # numpy.percentile's way to a place between two values.
            places = [float(place) for place in np.asarray((LOW, HIGH)) / 100 * (total - 1)]
            self._share = tuple(place - math.floor(place) for place in places)
            self._targets = [(0, min(math.floor(place) + step, total - 1)) for place in places for step in (0, 1)]
        found = []
        for prefix, rank in self._targets:
            upto = np.cumsum(self._digits[prefix])
            digit = int(np.searchsorted(upto, rank + 1))
            found.append((prefix << _DIGIT | digit, rank - (int(upto[digit - 1]) if digit else 0)))
        self._targets = found
        done = not self._below
        self._passes += 1
        self._digits = {prefix: np.zeros(1 << _DIGIT, dtype=np.int64) for prefix, _ in found}
        if done:
            values = _of_keys([prefix for prefix, _ in found], self._kind)
            ends = [float(_between(values[place : place + 1], values[place + 1 : place + 2], share)[0]) for place, share in ((0, self._share[0]), (2, self._share[1]))]
            self.result = Window(*(ends if ends[0] < ends[1] else (low, high)), gone, self._notes)

    def save(self) -> dict[str, np.ndarray]:
        """It as arrays, to go on elsewhere."""
        numbers = {
            "low": self._spread.low, "high": self._spread.high, "found": sorted(self._spread.found), "holes": self._spread.holes,
            "empty": self.empty, "range": self._range, "targets": self._targets, "passes": self._passes, "share": self._share,
            "notes": [Message.of(note).to_dict() for note in getattr(self, "_notes", ())], "prefixes": list(self._digits),
            "result": None if self.result is None else _window_as_dict(self.result),
        }  # fmt: skip
        digits = np.stack(list(self._digits.values())) if self._digits else np.zeros((0, 1 << _DIGIT), dtype=np.int64)
        counts = np.zeros(0, dtype=np.int64) if self._counts is None else self._counts
        return {"numbers": np.frombuffer(json.dumps(numbers).encode(), dtype=np.uint8), "digits": digits, "counts": counts, "some": np.concatenate(self._some)}

    def restore(self, arrays: Mapping[str, np.ndarray]) -> None:
        """Go on from what :meth:`save` gave."""
        numbers = json.loads(arrays["numbers"].tobytes())
        self._spread.low, self._spread.high, self._spread.holes, self.empty = numbers["low"], numbers["high"], numbers["holes"], numbers["empty"]
        self._spread.found = set(numbers["found"])
        self._range = None if numbers["range"] is None else (*numbers["range"][:2], tuple(numbers["range"][2]))
        self._targets = [tuple(target) for target in numbers["targets"]]
        self._passes, self._share = numbers["passes"], tuple(numbers["share"])
        self._notes = tuple(map(Message.from_dict, numbers["notes"]))
        self._digits = dict(zip(numbers["prefixes"], arrays["digits"].copy(), strict=True))
        self._counts = None if self._counts is None else arrays["counts"].copy()
        self._some = [arrays["some"].astype(self._kind)]
        self.result = None if numbers["result"] is None else window_from(numbers["result"])


def _ordered(values: np.ndarray) -> np.ndarray:
    """uint64 (N,): numbers that are in the order of the values, which are no NaN."""
    bits = values.dtype.itemsize * 8
    raw = values.view(f"u{values.dtype.itemsize}").astype(np.uint64)
    sign, every = np.uint64(1 << (bits - 1)), np.uint64((1 << bits) - 1)
    if values.dtype.kind == "f":
        return np.where(raw & sign, raw ^ every, raw | sign)
    return raw ^ sign if values.dtype.kind == "i" else raw


def _of_keys(keys: list[int], kind: np.dtype) -> np.ndarray:
    """The values of which :func:`_ordered` made these numbers."""
    bits = kind.itemsize * 8
    raw, sign, every = np.array(keys, dtype=np.uint64), np.uint64(1 << (bits - 1)), np.uint64((1 << bits) - 1)
    if kind.kind == "f":
        raw = np.where(raw & sign, raw ^ sign, raw ^ every)
    elif kind.kind == "i":
        raw = raw ^ sign
    return raw.astype(f"u{kind.itemsize}").view(kind)


def _between(below: np.ndarray, above: np.ndarray, share: float) -> np.ndarray:
    """As ``numpy.percentile`` rounds: from the nearer end, in its arithmetic for values of this type."""
    step = np.subtract(above, below)
    part = np.asarray([share])
    return np.where(part >= 0.5, above - step * (1 - part), below + step * part)


def _window_as_dict(window: Window) -> dict[str, Any]:
    return {**asdict(window), "notes": [Message.of(note).to_dict() for note in window.notes]}


def window_from(found: Mapping[str, Any]) -> Window:
    """A window out of JSON.

    Raises:
        KeyError, TypeError, ValueError: it is none.
    """
    return Window(float(found["low"]), float(found["high"]), tuple(map(float, found["gone"])), tuple(map(Message.from_dict, found["notes"])))


def check_whole(page: Any, like: Any, size: int) -> None:
    """Damaged if parts of a page lie outside of the file, or are too short for what they hold, which tifffile would make up; TiffError if it is
    compressed in a way that nobody knows."""
    import tifffile

    if int(like.compression) not in tifffile.TIFF.DECOMPRESSORS:
        raise TiffError(Message("tiff.unknown_compression", number=int(like.compression)))
    many = math.prod(like.chunked)
    if len(page.dataoffsets) < many or len(page.databytecounts) < len(page.dataoffsets):
        raise Damaged(Message("damage.too_few_strips"))
    if any(offset and offset + count > size for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False)):
        raise Damaged(Message("damage.ends_before_pixels"))
    there = sum(count for offset, count in zip(page.dataoffsets, page.databytecounts, strict=False) if offset)
    written = all(page.dataoffsets) and all(page.databytecounts)
    if like.compression == 1 and written and there * 8 < math.prod(like.shape) * like.bitspersample:
        raise Damaged(Message("damage.ends_before_pixels"))


class StoredPage:
    """A page of a TIFF, read in the parts that it is stored in: tiles, strips, or rows where it is not compressed.

    Args:
        path: of the file.
        series: tifffile's, that it is of.
        number: which of its planes.
        size: bytes of the file.

    Attributes:
        step: rows that are stored together.

    Raises:
        Damaged: parts of it lie outside of the file.
        Unread: its parts are too large.
    """

    def __init__(self, path: Path, series: Any, number: int, size: int) -> None:
        like = series.keyframe
        self._path, self._like, self._size = path, like, size
        self._height, self._width, self._samples = like.imagelength, like.imagewidth, like.samplesperpixel
        self._apart = like.planarconfig == 2 and self._samples > 1
        self._dtype = np.dtype(like.parent.byteorder + like.dtype.char)
        plane = self._height * self._width * self._samples * self._dtype.itemsize
        self._page, self._offset = None, None
        if len(series.pages) == math.prod(series.shape) // max(1, math.prod(like.shape)):
            self._page = series.pages[number]
            if self._page is not None and like.is_contiguous and like.predictor == 1 and like.fillorder == 1 and not like.is_subsampled:
                self._offset = self._page.dataoffsets[0]
        elif series.dataoffset is not None:
            self._offset = series.dataoffset + number * plane
        else:
            raise TiffError(Message("tiff.unknown_form"))
        if like.imagedepth != 1 or like.tiledepth > 1:
            raise TiffError(Message("tiff.unknown_form"))
        if self._offset is not None and self._offset + plane > size:
            raise Damaged(Message("damage.ends_before_pixels"))
        whole_rows = self._offset is not None or self._page is None
        self._tall, self._wide = (like.tilelength, like.tilewidth) if like.is_tiled else (min(like.rowsperstrip, self._height), self._width)
        self.step = 1 if whole_rows else self._tall
        part = self._tall * self._wide * self._samples * self._dtype.itemsize
        if not whole_rows and part > MOST_PART:
            raise Unread(Message("rasters.large_parts", width=self._wide, height=self._tall, most=MOST_PART // 1_000_000))

    def check(self) -> None:
        """Damaged if tiles or strips of it lie outside of the file."""
        if self._offset is None and self._page is not None:
            check_whole(self._page, self._like, self._size)

    def parts(self, samples: Sequence[int], top: int, bottom: int) -> Iterator[tuple[int, int, np.ndarray]]:
        """Row and column of each part of some rows, and its samples (h, w, so many); rows and columns outside are cut off.

        Args:
            samples: that are wanted.
            top: first row.
            bottom: past the last one.
        """
        if self._offset is not None or self._page is None:
            rows = max(1, _ROWS_BYTES // max(1, self._width * self._samples * self._dtype.itemsize))
            for row in range(top, bottom, rows):
                yield row, 0, self._plain(samples, row, min(row + rows, bottom))
            return
        across, down = -(-self._width // self._wide), -(-self._height // self._tall)
        tables = {"jpegtables": self._page.jpegtables, "jpegheader": self._like.jpegheader} if int(self._like.compression) in _JPEG else {}
        with self._path.open("rb") as file:
            for place in range(top // self._tall * across, -(-bottom // self._tall) * across):
                row, column = place // across * self._tall, place % across * self._wide
                layers = [place + sample * across * down for sample in samples] if self._apart else [place]
                found = [self._decoded(file, layer, tables) for layer in layers]
                values = np.concatenate(found, axis=-1) if self._apart else found[0][..., list(samples)]
                first = max(0, top - row)
                yield row + first, column, values[first : bottom - row]

    def _plain(self, samples: Sequence[int], top: int, bottom: int) -> np.ndarray:
        """Rows that are not compressed, or of a page that is not there."""
        shape = bottom - top, self._width
        native = self._dtype.newbyteorder("=")
        if self._offset is None:
            return np.zeros((*shape, len(samples)), dtype=native)
        step = self._width * self._dtype.itemsize
        if self._apart:
            offsets = [self._offset + (sample * self._height + top) * step for sample in samples]
            layers = [np.fromfile(self._path, self._dtype, math.prod(shape), offset=offset).reshape(shape) for offset in offsets]
            return np.stack(layers, axis=-1).astype(native, copy=False)
        values = np.fromfile(self._path, self._dtype, math.prod(shape) * self._samples, offset=self._offset + top * step * self._samples)
        return values.reshape(*shape, self._samples)[..., list(samples)].astype(native, copy=False)

    def _decoded(self, file: BinaryIO, index: int, tables: Mapping[str, Any]) -> np.ndarray:
        """A tile or strip (h, w, S), without what lies outside of the page."""
        offset, count = self._page.dataoffsets[index], self._page.databytecounts[index]
        data = None
        if offset and count:
            file.seek(offset)
            data = file.read(count)
        segment, (_, _, row, column, _), shape = self._like.decode(data, index, _fullsize=False, **tables)
        if segment is None:  # never written
            segment = np.full(shape, self._like.nodata, dtype=self._dtype)
        return segment[0, : self._height - row, : self._width - column].astype(self._dtype.newbyteorder("="), copy=False)


def parts_of(pages: Sequence[StoredPage], wanted: Sequence[int], per_page: int, top: int, bottom: int) -> Iterator[tuple[int, int, np.ndarray]]:
    """As :attr:`seg_demo.inputs.planes.Opened.parts`, of channels that lie in one page or in several of one layout.

    Args:
        pages: those that hold the channels, by rising channel.
        wanted: channels.
        per_page: channels of a page.
        top: first row.
        bottom: past the last one.
    """
    numbers = sorted({channel // per_page for channel in wanted})
    own = [[channel % per_page for channel in wanted if channel // per_page == number] for number in numbers]
    order = [channel for number in numbers for channel in wanted if channel // per_page == number]
    back = [order.index(channel) for channel in wanted]
    for found in zip(*(page.parts(listed, top, bottom) for page, listed in zip(pages, own, strict=True)), strict=True):
        values = found[0][2] if len(found) == 1 else np.concatenate([part for _, _, part in found], axis=-1)
        values = values if back == list(range(len(back))) else values[..., back]
        yield found[0][0], found[0][1], values.astype(np.uint8) if values.dtype == bool else values


def answer(order: Mapping[str, Any], opened: Opened, view: View, output: Path) -> dict[str, Any]:
    """What an order about rows of a raster comes to.

    Args:
        order: ``raster``: ``look``, ``count``, ``paint`` or ``take``; ``rows``, from and to, of the latter three; ``windows`` and ``most`` (of
            the opacity), as ``look`` or the last ``count`` gave them, of ``paint``.
        opened: the file.
        view: complete.
        output: folder of what stays between orders, and of the pixels.
    """
    if opened.parts is None:
        raise Unread(Message("rasters.other_colours"))
    work = {"look": _look, "count": _count, "paint": _paint, "take": _take}[order["raster"]]
    return work(order, opened, view, output)


def _alpha(opened: Opened, view: View) -> int | None:
    """The channel that says how opaque pixels are, where it is not looked at itself."""
    return None if opened.alpha in view.channels else opened.alpha


def _shown(view: View) -> tuple[int, ...]:
    """The channels that a person sees."""
    return view.channels[:MOST_SHOWN]


def _look(order: Mapping[str, Any], opened: Opened, view: View, output: Path) -> dict[str, Any]:
    """What is known before any value is read."""
    windows = [planes.fixed_window(opened.dtype, view.window, opened.stack, opened.nodata)] * len(_shown(view))
    measured = _alpha(opened, view) is not None and not (opened.dtype == np.uint8 and opened.stack.bits == 8)
    known = None not in windows and not measured
    opened.whole((view.page, view.t, view.z), view.channels)
    shown = [_window_as_dict(window) for window in windows] if known else []
    return {"known": known, "windows": shown, "step": opened.step, "most": None, "dtype": opened.dtype.newbyteorder("=").str}


def _count(order: Mapping[str, Any], opened: Opened, view: View, output: Path) -> dict[str, Any]:
    """Some rows more of a pass over all values; after the last of them either the windows, or that it takes one more."""
    tallies = [Tally(opened.dtype, view.window, opened.nodata, opened.height * opened.width) for _ in _shown(view)]
    known = [planes.fixed_window(opened.dtype, view.window, opened.stack, opened.nodata)] * len(tallies)
    most, alpha = -math.inf, _alpha(opened, view)
    if (output / STATE).is_file():
        with np.load(output / STATE, allow_pickle=False) as stored:
            most = float(stored["most"])
            for number, tally in enumerate(tallies):
                tally.restore({name: stored[f"{number}-{name}"] for name in ("numbers", "digits", "counts", "some")})
    wanted = [*_shown(view), *([] if alpha is None else [alpha])]
    bottom = order["rows"][1]
    for row, column, values in _finite_parts(order, opened, view, wanted):
        for number, tally in enumerate(tallies):
            if known[number] is None:
                tally.add(np.ascontiguousarray(values[..., number]), row, column, opened.width)
        if alpha is not None:
            most = max(most, float(np.nanmax(values[..., -1])))
    again = False
    if bottom >= opened.height:
        for tally in tallies:
            if known[0] is None and tally.result is None:
                tally.turn()
        if all(tally.empty for tally in tallies):
            raise planes.nothing_there(tallies[0].result.gone)
        again = known[0] is None and any(tally.result is None for tally in tallies)
    stored = {f"{number}-{name}": array for number, tally in enumerate(tallies) for name, array in tally.save().items()}
    with (output / STATE).open("wb") as file:
        np.savez(file, most=np.float64(most), **stored)
    if bottom < opened.height or again:
        return {"again": again}
    windows = [fixed or tally.result for fixed, tally in zip(known, tallies, strict=True)]
    return {"windows": [_window_as_dict(window) for window in windows], "most": None if alpha is None else most, "again": False}


def _finite_parts(order: Mapping[str, Any], opened: Opened, view: View, wanted: Sequence[int]) -> Iterator[tuple[int, int, np.ndarray]]:
    """The parts of the rows of an order, of some channels; at their end a PixelError if values were infinite, as of a picture in memory."""
    top, bottom = order["rows"]
    infinite = 0
    for row, column, values in opened.parts((view.page, view.t, view.z), wanted, top, bottom):
        infinite += samples.infinite_in(values, opened.nodata)
        yield row, column, values
    if infinite:
        raise PixelError(Message("pixels.infinite_in_rows", count=infinite, first=top + 1, last=bottom))


class _Rows:
    """Rows of pixels in a file, each part written where it belongs: they are never in memory as a whole.

    Args:
        path: of the file; it is made.
        height: of the rows, in pixels.
        width: likewise.
    """

    def __init__(self, path: Path, height: int, width: int) -> None:
        self._file, self._height, self._width = path.open("wb", buffering=0), height, width

    def __enter__(self) -> _Rows:
        """These."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file."""
        self._file.close()

    def put(self, row: int, column: int, values: np.ndarray) -> None:
        """A part (h, w, C) that begins at a row and a column; all are of one type. What no part has is 0."""
        height, width, channels = values.shape
        step = channels * values.itemsize
        self._file.truncate(self._height * self._width * step)
        values = np.ascontiguousarray(values)
        for line, part in enumerate([values] if width == self._width else values):
            self._file.seek(((row + line) * self._width + column) * step)
            self._file.write(part.data)


def _paint(order: Mapping[str, Any], opened: Opened, view: View, output: Path) -> dict[str, Any]:
    """Some rows as a person sees them, in a file of the folder ``output``."""
    top, bottom = order["rows"]
    windows = [window_from(window) for window in order["windows"]]
    inverted, alpha = planes.shown_inverted(opened.stack, opened.inverted), _alpha(opened, view)
    shown = _shown(view)
    profile = opened.profile if shown == (0, 1, 2) else None
    gone: list[float] = []
    missing = 0
    with _Rows(output / PIXELS, bottom - top, opened.width) as rows:
        for row, column, values in _finite_parts(order, opened, view, [*shown, *([] if alpha is None else [alpha])]):
            channels = [values[..., number] for number in range(len(shown))]
            opacity = None if alpha is None else samples.opacity_of(values[..., -1], opened.stack.bits, order["most"])
            painted = planes.paint(channels, windows, view.gamma, inverted, opacity, opened.premultiplied, profile)
            rows.put(row - top, column, painted.pixels)
            missing += int(np.count_nonzero(painted.absent))
            gone += [value for value in painted.gone if not any(value == other or (value != value and other != other) for other in gone)]
    return {"missing": missing, "gone": gone}


def _take(order: Mapping[str, Any], opened: Opened, view: View, output: Path) -> dict[str, Any]:
    """What the file stores of some rows, of all channels of the view, in a file of the folder ``output``."""
    top, bottom = order["rows"]
    with _Rows(output / PIXELS, bottom - top, opened.width) as rows:
        for row, column, values in _finite_parts(order, opened, view, view.channels):
            rows.put(row - top, column, values.astype(opened.dtype.newbyteorder("="), copy=False))
    return {}
