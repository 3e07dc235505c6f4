"""What a person measures of the objects in a picture: area, perimeter, shape, place, and intensity per channel, in pixels and in units.

One function, :func:`measure`, for results, corrections and batches alike. Its numbers are those of scikit-image's ``regionprops`` (and of its
perimeter: Benkrid & Crookes, "Design and FPGA Implementation of a Perimeter Estimator"), but objects are not gone through one by one
in Python where a map of ids has them all: sums over runs of equal ids, in strips of rows, give every object's moments at once.
Objects that overlap are measured in their boxes. Nothing is ever made of the size objects x height x width.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from seg_demo.core import MAX_IDS, TASKS, BadRequestError, Calibration, LabelSet, Picture, Segmentation

Json = dict[str, Any]
# How the units are typed, in the order in which the page offers them; a unit's metres; and their names in files (DESIGN: as OME and UCUM say them).
UNITS = {"nm": 1e-9, "um": 1e-6, "mm": 1e-3, "m": 1.0}
UNIT_NAMES = {"nm": "nanometer", "um": "micrometer", "mm": "millimeter", "m": "meter"}
# What files state besides: the key of UNITS that it is given in, and how many of that it has.
_STATED = {
    "picometer": ("nm", 1e-3), "angstrom": ("nm", 0.1), "centimeter": ("mm", 10.0), "kilometer": ("m", 1e3), "inch": ("mm", 25.4),
    "foot": ("m", 0.3048), "US survey foot": ("m", 1200 / 3937), **{name: (unit, 1.0) for unit, name in UNIT_NAMES.items()},
}  # fmt: skip
# Of the columns, those that are lengths: in units each has its unit behind its name.
LENGTHS = ("perimeter", "equivalent_diameter", "major_axis", "minor_axis", "centroid_x", "centroid_y")
_TYPED = {**{unit: unit for unit in UNITS}, "µm": "um", "μm": "um"}


@dataclass(frozen=True)
class PixelSize:
    """The length of a pixel's sides, to turn lengths and areas into units.

    Attributes:
        length: of the horizontal side, in the unit.
        unit: key of :data:`UNITS`: ``nm``, ``um`` (micrometres), ``mm`` or ``m``.
        down: of the vertical side; None where pixels are square.
    """

    length: float
    unit: str
    down: float | None = None

    def __post_init__(self) -> None:
        for side in (self.length, self.length if self.down is None else self.down):
            if self.unit not in UNITS or not (math.isfinite(side) and 0 < side < 1e9):
                raise BadRequestError("exports.bad_pixel_size", length=side, unit=str(self.unit)[:20])

    @classmethod
    def parse(cls, text: str) -> PixelSize:
        """A pixel size as it is typed.

        >>> PixelSize.parse("0.65 µm"), PixelSize.parse("10m").area(3)
        (PixelSize(length=0.65, unit='um', down=None), 300.0)

        Args:
            text: a number and ``nm``, ``um``, ``µm``, ``mm`` or ``m``.

        Raises:
            BadRequestError: anything else.
        """
        match = re.fullmatch(rf"\s*([0-9.eE+-]+)\s*({'|'.join(_TYPED)})\s*", text)
        try:
            return cls(float(match[1]), _TYPED[match[2]])
        except (TypeError, ValueError):
            raise BadRequestError("exports.no_pixel_size", text=text[:40]) from None

    @classmethod
    def stated(cls, size: Sequence[float] | None, unit: str | None) -> PixelSize | None:
        """The pixel size that a file states (:class:`seg_demo.core.picture.Calibration`, or a result's JSON).

        >>> PixelSize.stated((0.5, 0.25), "micrometer"), PixelSize.stated((1e-5, 1e-5), "degree")
        (PixelSize(length=0.5, unit='um', down=0.25), None)

        Args:
            size: horizontal and vertical.
            unit: its English name.

        Returns:
            None where none is stated, or none of a length.
        """
        if size is None or unit not in _STATED:
            return None
        key, factor = _STATED[unit]
        with suppress(BadRequestError):
            return cls(float(size[0]) * factor, key, float(size[1]) * factor)
        return None

    def within(self, unit: str) -> PixelSize:
        """The same in another unit.

        Args:
            unit: key of :data:`UNITS`.
        """
        if unit == self.unit:
            return self
        factor = UNITS[self.unit] / UNITS[unit]
        return PixelSize(self.length * factor, unit, None if self.down is None else self.down * factor)

    def over(self, found: Calibration | None) -> Calibration:
        """What a file states of its pixels, with this size in place of its own."""
        return replace(found or Calibration(), pixel_size=self.sides, unit=UNIT_NAMES[self.unit])

    @property
    def sides(self) -> tuple[float, float]:
        """Horizontal and vertical length."""
        return self.length, self.length if self.down is None else self.down

    @property
    def square(self) -> bool:
        """Whether both sides are equal, up to rounding in a file."""
        return math.isclose(*self.sides, rel_tol=1e-6)

    def area(self, pixels: float) -> float:
        """An area in square units.

        Args:
            pixels: number of pixels.
        """
        return pixels * self.sides[0] * self.sides[1]


def pixel_of(segmentation: Segmentation, typed: PixelSize | None = None) -> PixelSize | None:
    """The pixel size of a result: what a person typed, else what its file states, or None.

    Args:
        segmentation: any result.
        typed: by a person.
    """
    found = segmentation.calibration
    return typed if typed is not None or found is None else PixelSize.stated(found.pixel_size, found.unit)


@dataclass(frozen=True, eq=False)
class Measurements:
    """N objects, measured in pixels. The centre of the upper left pixel is (0, 0), as for ``regionprops``.

    Attributes:
        kind: what one is called: ``object``, ``region``, ``segment``, ``class`` (all pixels of a class), or ``piece`` (a connected one of a class).
        labels: the classes.
        ids: int64 (N,), in the mask file, of the class for classes and pieces.
        label_ids: int64 (N,).
        scores: float64 (N,), in [0, 1], NaN where there is none.
        area: int64 (N,), pixels.
        boxes: int64 (N, 4), x0 y0 x1 y1, half-open, tight around the mask.
        centroid: float64 (N, 2), x and y.
        covariance: float64 (N, 3), of the coordinates of its pixels: xx, yy, xy.
        perimeter: float64 (N,), pixels; holes count.
        edge: bool (N,), whether it touches the edge of the picture, where what lies outside is missing.
        channels: names of the C channels that were measured.
        mean: float64 (N, C), of the picture's values.
        deviation: float64 (N, C), standard deviation of them over the object's pixels.
        left_out: pieces beyond the largest :data:`~seg_demo.core.types.MAX_IDS`, which are not here.
    """

    kind: str
    labels: LabelSet
    ids: np.ndarray
    label_ids: np.ndarray
    scores: np.ndarray
    area: np.ndarray
    boxes: np.ndarray
    centroid: np.ndarray
    covariance: np.ndarray
    perimeter: np.ndarray
    edge: np.ndarray
    channels: tuple[str, ...]
    mean: np.ndarray
    deviation: np.ndarray
    left_out: int = 0

    def __len__(self) -> int:
        return self.area.size

    def axes(self, pixel: PixelSize | None = None) -> tuple[np.ndarray, np.ndarray]:
        """Lengths of the long and the short axis of the ellipse that has the object's second moments: each float64 (N,), in
        pixels, or in the unit of ``pixel``. Of a line one pixel wide the short one is 0."""
        right, down = (1.0, 1.0) if pixel is None else pixel.sides
        xx, yy, xy = self.covariance.T * np.array([[right * right], [down * down], [right * down]])
        large = (xx + yy) / 2 + np.hypot((xx - yy) / 2, xy)
        # By the determinant: the difference would leave a rest where there is nothing.
        small = np.divide(np.maximum(xx * yy - xy * xy, 0), large, out=np.zeros_like(large), where=large > 0)
        small[small < 1e-12 * large] = 0
        return 4 * np.sqrt(large), 4 * np.sqrt(small)

    def columns(self, pixel: PixelSize | None = None) -> dict[str, np.ndarray]:
        """The measurements by name, N values each; NaN where there is none.

        Args:
            pixel: adds areas and lengths in its unit.

        Returns:
            ``perimeter``; ``equivalent_diameter`` (of the circle of that area); ``circularity`` (4 pi area / perimeter², 1 for a circle and, as in
            ImageJ, at most that: the outline of a few pixels is shorter than a circle's); ``major_axis``, ``minor_axis`` and ``elongation``, the first by the second;
            ``centroid_x``, ``centroid_y``; ``touches_edge`` (0 or 1); ``mean_<channel>`` and ``sd_<channel>``. With a unit such as ``um`` also ``area_um2``, ``perimeter_um``,
            ``equivalent_diameter_um``, ``major_axis_um``, ``minor_axis_um``, ``centroid_x_um``, ``centroid_y_um``; where pixels are not square, circularity and elongation are of the real shape,
            and there is no perimeter, whose steps would be of several lengths.
        """
        square = pixel is None or pixel.square
        round_, (major, minor) = self.area * 4 / math.pi, self.axes()
        real = self.axes(pixel)
        outline = self.perimeter if square else np.full(len(self), np.nan)
        columns = {
            "perimeter": self.perimeter,
            "equivalent_diameter": np.sqrt(round_),
            "circularity": np.minimum(_ratio(4 * math.pi * self.area, outline**2), 1),
            "major_axis": major,
            "minor_axis": minor,
            "elongation": _ratio(*real),
            "centroid_x": self.centroid[:, 0],
            "centroid_y": self.centroid[:, 1],
            "touches_edge": self.edge.astype(np.int64),
        }
        for index, name in enumerate(self.channels):
            columns |= {f"mean_{name}": self.mean[:, index], f"sd_{name}": self.deviation[:, index]}
        if pixel is not None:
            unit, (right, down) = pixel.unit, pixel.sides
            columns |= {
                f"area_{unit}2": self.area * (right * down),
                f"perimeter_{unit}": outline * right,
                f"equivalent_diameter_{unit}": np.sqrt(round_ * right * down),
                f"major_axis_{unit}": real[0],
                f"minor_axis_{unit}": real[1],
                f"centroid_x_{unit}": self.centroid[:, 0] * right,
                f"centroid_y_{unit}": self.centroid[:, 1] * down,
            }
        return columns

    def inside(self) -> Measurements:
        """Only those that do not touch the edge of the picture."""
        return self._only(~self.edge)

    def _only(self, wanted: np.ndarray) -> Measurements:
        arrays = {name: value[wanted] for name, value in vars(self).items() if isinstance(value, np.ndarray)}
        return Measurements(**(vars(self) | arrays))

    def summary(self, pixel: PixelSize | None = None) -> dict[str, dict[str, float | None]]:
        """Totals: of ``area`` and each of :meth:`columns` that is not a place, ``count``, ``sum`` (areas only), ``mean``, ``median``, ``sd`` (of a sample: n - 1),
        ``min`` and ``max`` over the objects that have a value; None where too few have."""
        columns = {"area": self.area, **self.columns(pixel)}
        del columns["touches_edge"]
        return {name: _total(name, values) for name, values in columns.items() if not name.startswith("centroid")}

    def rows(self, pixel: PixelSize | None = None) -> Iterator[dict[str, Any]]:
        """One dictionary per object: ``id``, ``label_id``, ``label``, ``score``, ``area``, the box ``x``, ``y``, ``width``, ``height``, and the columns; None where there is no value."""
        columns = {name: plain(values) for name, values in self.columns(pixel).items()}
        scores = plain(self.scores)
        for index in range(len(self)):
            x0, y0, x1, y1 = self.boxes[index].tolist()
            label_id = int(self.label_ids[index])
            yield {
                "id": int(self.ids[index]), "label_id": label_id, "label": self.labels.names[label_id], "score": scores[index],
                "area": int(self.area[index]), "x": x0, "y": y0, "width": x1 - x0, "height": y1 - y0,
                **{name: values[index] for name, values in columns.items()},
            }  # fmt: skip

    def to_dict(self, pixel: PixelSize | None = None) -> Json:
        """JSON-able: ``kind``, ``pixel_size`` [x, y] and ``unit`` where they are known, ``count``, ``left_out``, ``summary``, and ``objects``, :meth:`rows` with ``area_units`` beside ``area``."""
        unit = {} if pixel is None else {"pixel_size": list(pixel.sides), "unit": UNIT_NAMES[pixel.unit]}
        objects = [row if pixel is None else {**row, "area_units": pixel.area(row["area"])} for row in self.rows(pixel)]
        return {"kind": self.kind, **unit, "count": len(self), "left_out": self.left_out, "summary": self.summary(pixel), "objects": objects}


def plain(values: np.ndarray) -> list[float | int | None]:
    """Numbers for JSON and CSV: None for what is not finite."""
    return values.tolist() if values.dtype.kind != "f" else [value if math.isfinite(value) else None for value in values.tolist()]


def _ratio(above: np.ndarray, below: np.ndarray) -> np.ndarray:
    """NaN where nothing is below."""
    return np.divide(above, below, out=np.full(above.shape, np.nan), where=below > 0)


def _total(name: str, values: np.ndarray) -> dict[str, float | None]:
    known = values[np.isfinite(values)].astype(np.float64)
    total = {"count": int(known.size), "mean": None, "median": None, "sd": None, "min": None, "max": None}
    if name.startswith("area"):
        total["sum"] = float(known.sum())
    if known.size:
        total |= {"mean": float(known.mean()), "median": float(np.median(known)), "min": float(known.min()), "max": float(known.max())}
    if known.size > 1:
        total["sd"] = float(known.std(ddof=1))
    return total


def histogram(values: np.ndarray, most: int = 30) -> Json | None:
    """How often values fall into bins of equal width, as many as Freedman and Diaconis or Sturges advise (numpy's ``auto``).

    Args:
        values: (N,); what is not finite is left out.
        most: bins at most.

    Returns:
        JSON-able ``edges`` (one more than counts) and ``counts``; None without values.
    """
    known = values[np.isfinite(values)].astype(np.float64)
    if not known.size:
        return None
    low, high = float(known.min()), float(known.max())
    if low == high:
        return {"edges": [low, high], "counts": [int(known.size)]}
    # One far away would make numpy ask for millions of bins.
    spread = float(np.subtract(*np.percentile(known, [75, 25])))
    width = 2 * spread / known.size ** (1 / 3)
    bins = max(math.ceil(math.log2(known.size)) + 1, math.ceil(min((high - low) / width, most)) if width > 0 else 1)
    counts, edges = np.histogram(known, bins=min(bins, most))
    return {"edges": edges.tolist(), "counts": counts.tolist()}


def intensities(picture: Picture) -> tuple[np.ndarray, tuple[str, ...]]:
    """What is measured of a picture: of a scientific file that was read with its samples the values that it stores, in what it rescales them to
    (Hounsfield units), of all channels that were read; NaN where it has no data. They do not depend on the window that a person looks through.
    Of photographs, and of files too large for that, the pixels.

    Returns:
        (H, W, C) of any real dtype, and the names of the channels; none where the file gives none.
    """
    stack, values = picture.stack, picture.samples
    if stack is None or values is None:
        return picture.pixels, ()
    channels = picture.view.channels if picture.view is not None and values.shape[2] != len(picture.channels) else range(len(picture.channels))
    kept = [place for place, channel in enumerate(channels) if channel != stack.alpha]
    names = [picture.channels[channels[place]] for place in kept]
    values = values if len(kept) == values.shape[2] else values[..., kept]
    gone = np.zeros(0) if stack.nodata is None else values == np.float64(stack.nodata).astype(values.dtype)
    if (stack.slope, stack.intercept) != (1.0, 0.0) or gone.any():
        values = values.astype(np.float32) * np.float32(stack.slope) + np.float32(stack.intercept)
    if gone.any():
        values[gone] = np.nan
    if not any(names):
        return values, ()
    # Two of one name would be one column.
    return values, tuple(name if name and names.count(name) == 1 else f"{name or 'channel'} {channels[place] + 1}" for name, place in zip(names, kept, strict=True))


def measure(segmentation: Segmentation, picture: np.ndarray | Picture | None, channels: Sequence[str] = (), pieces: bool = False) -> Measurements:
    """Measure every segment of a result.

    Args:
        segmentation: any result.
        picture: (H, W, C) of any real dtype, whose values are the intensities, or what has them: see :func:`intensities`; None measures none.
        channels: names of the C channels; without them ``red``, ``green``, ``blue`` of three, ``intensity`` of one, else numbers from 1.
        pieces: of a result that knows no objects, not its classes but their connected pieces (along edges of pixels, as they are counted in
            tables and batches), the background's left out; the largest first.

    Returns:
        In the order of ``segments``; pieces by area.

    Raises:
        ValueError: a picture of another size.
    """
    if isinstance(picture, Picture):
        picture, channels = intensities(picture)
    if picture is not None and picture.shape[:2] != segmentation.id_map.shape:
        raise ValueError(f"picture must be {segmentation.id_map.shape}, but got {picture.shape[:2]}.")
    task, segments = TASKS[segmentation.task], segmentation.segments
    size = 0 if picture is None else picture.shape[2]
    names = tuple(channels) or {1: ("intensity",), 3: ("red", "green", "blue")}.get(size, tuple(str(index + 1) for index in range(size)))
    left_out, kind = 0, task.segment
    ids, label_ids = np.array(segmentation.ids, dtype=np.int64), np.array([segment.label_id for segment in segments], dtype=np.int64)
    scores = np.array([math.nan if segment.score is None else segment.score for segment in segments])
    if pieces and not task.objects:
        kind, runs = "piece", _Runs(segmentation.id_map, [label for label in set(label_ids.tolist()) if label != segmentation.labels.background])
        ids = label_ids = runs.label_ids
        scores, left_out = np.full(ids.size, math.nan), runs.left_out
        sums = _Sums(ids.size, size)
        sums.add_map(runs.owners(), picture)
    elif task.overlaps:
        sums = _Sums(len(segments), size)
        for index, segment in enumerate(segments):
            sums.add_crop(index, segmentation.mask_of(index), segment.box, picture)
    else:
        owner = np.zeros(np.iinfo(segmentation.id_map.dtype).max + 1, dtype=np.uint32)
        owner[ids] = np.arange(1, ids.size + 1)
        sums = _Sums(ids.size, size)
        sums.add_map(_strips_of(segmentation.id_map, owner), picture)
    height, width = segmentation.id_map.shape
    return Measurements(kind, segmentation.labels, ids, label_ids, scores, *sums.measured(height, width), names, *sums.intensity(), left_out)


# Rows are worked on so many pixels at a time.
_STRIP_PIXELS = 1 << 19
# What a pixel of the outline adds to the perimeter, by how many of its neighbours are of the outline too: 1 + 2 for each along an
# edge + 10 for each across a corner (skimage.measure.perimeter). Rows: 1, sqrt(2), (1 + sqrt(2)) / 2.
_LENGTHS = np.array([0.0, 1.0, math.sqrt(2), (1 + math.sqrt(2)) / 2])
_CODES = np.zeros(50, dtype=np.int64)
_CODES[[5, 7, 15, 17, 25, 27]], _CODES[[21, 33]], _CODES[[13, 23]] = 1, 2, 3
_MOMENTS = 5  # sums of x, y, xx, yy, xy


def _rows_at_a_time(width: int) -> int:
    return max(1, _STRIP_PIXELS // max(1, width))


def _strips_of(id_map: np.ndarray, owner: np.ndarray) -> Iterator[tuple[int, np.ndarray]]:
    """First row, and whose the pixels are, of each strip of rows with two more above and below, 0 outside of the map."""
    height, width = id_map.shape
    step = _rows_at_a_time(width)
    for top in range(0, height, step):
        bottom = min(top + step, height)
        strip = np.zeros((bottom - top + 4, width + 2), dtype=owner.dtype)
        first, last = max(top - 2, 0), min(bottom + 2, height)
        strip[first - top + 2 : last - top + 2, 1:-1] = owner[id_map[first:last]]
        yield top, strip


class _Sums:
    """Sums over the pixels of N objects, from which everything follows.

    Args:
        count: N.
        channels: of the picture.
    """

    def __init__(self, count: int, channels: int) -> None:
        self.area = np.zeros(count + 1, dtype=np.int64)
        # float64 counts whole numbers up to 9e15: the squares of the coordinates of 100 megapixels are a third of that.
        self.moments = np.zeros((_MOMENTS, count + 1))
        self.lengths = np.zeros((count + 1) * 4, dtype=np.int64)
        self.low = np.full((2, count + 1), 1 << 40)
        self.high = np.full((2, count + 1), -1)
        self.values = np.zeros((2, channels, count + 1))
        # A variance of large floats is of small differences: values count from the first that is met.
        self.zero: np.ndarray | None = None

    def add_map(self, strips: Iterator[tuple[int, np.ndarray]], picture: np.ndarray | None) -> None:
        """Add a whole map.

        Args:
            strips: as :func:`_strips_of`, 1 + index of the object.
            picture: (H, W, C), or None.
        """
        for top, strip in strips:
            rows = slice(top, top + strip.shape[0] - 4)
            self._add(strip, 0, top, None if picture is None else picture[rows])

    def add_crop(self, index: int, mask: np.ndarray, box: tuple[int, int, int, int], picture: np.ndarray | None) -> None:
        """Add one object, which others may overlap.

        Args:
            index: of the object.
            mask: bool (y1 - y0, x1 - x0).
            box: x0 y0 x1 y1.
            picture: (H, W, C), or None.
        """
        x0, y0, x1, y1 = box
        step = _rows_at_a_time(x1 - x0)
        if y1 - y0 <= step:
            strip = np.zeros((y1 - y0 + 4, x1 - x0 + 2), dtype=np.uint8)
            strip[2:-2, 1:-1] = mask
            strips = [(0, strip)]
        else:
            strips = _strips_of(mask.view(np.uint8), np.arange(2, dtype=np.uint8))
        alone = _Sums(1, self.values.shape[1])
        alone.zero = self.zero
        for top, strip in strips:
            rows = slice(y0 + top, y0 + top + strip.shape[0] - 4)
            alone._add(strip, x0, y0 + top, None if picture is None else picture[rows, x0:x1])
        self.zero, at = alone.zero, index + 1
        self.area[at], self.moments[:, at] = alone.area[1], alone.moments[:, 1]
        self.lengths[4 * at : 4 * at + 4] = alone.lengths[4:]
        self.low[:, at], self.high[:, at], self.values[:, :, at] = alone.low[:, 1], alone.high[:, 1], alone.values[:, :, 1]

    def _add(self, strip: np.ndarray, left: int, top: int, picture: np.ndarray | None) -> None:
        """Add a strip with its two rows above and below and a column beside, at its place in the picture."""
        self._add_outline(strip)
        inner = strip[2:-2, 1:-1]
        height, width = inner.shape
        begins = np.ones((height, width), dtype=bool)
        np.not_equal(inner[:, 1:], inner[:, :-1], out=begins[:, 1:])
        starts = np.flatnonzero(begins)
        lengths = np.diff(starts, append=height * width)
        row, column = np.divmod(starts, width)
        owners = inner[row, column].astype(np.int64)
        there = owners > 0
        if not there.any():
            return
        who, n, x, y = owners[there], lengths[there], column[there] + left, row[there] + top
        size = self.area.size
        self.area += np.bincount(who, weights=n, minlength=size).astype(np.int64)
        in_x = n * x + n * (n - 1) // 2
        squares = n * x * x + x * n * (n - 1) + (n - 1) * n * (2 * n - 1) // 6
        for moment, values in zip(self.moments, (in_x, n * y, squares, n * y * y, in_x * y), strict=True):
            moment += np.bincount(who, weights=values, minlength=size)
        for low, high, least, most in zip(self.low, self.high, (x, y), (x + n, y + 1), strict=True):
            np.minimum.at(low, who, least)
            np.maximum.at(high, who, most)
        if picture is None:
            return
        if self.zero is None:
            first = picture[row[there][0], column[there][0]].astype(np.float64)
            self.zero = np.where(np.isfinite(first), first, 0) if picture.dtype.kind == "f" else np.zeros(picture.shape[2])
        for channel in range(picture.shape[2]):
            flat = picture[..., channel].ravel()
            for kind, run in enumerate(self._runs(flat, starts, self.zero[channel])):
                self.values[kind, channel] += np.bincount(who, weights=run[there], minlength=size)

    @staticmethod
    def _runs(flat: np.ndarray, starts: np.ndarray, zero: float) -> tuple[np.ndarray, np.ndarray]:
        """Sums of values and of their squares over runs."""
        if flat.dtype == np.uint8:
            return np.add.reduceat(flat, starts, dtype=np.int64), np.add.reduceat(np.square(flat, dtype=np.uint16), starts, dtype=np.int64)
        values = flat.astype(np.float64) - zero
        return np.add.reduceat(values, starts), np.add.reduceat(values * values, starts)

    def _add_outline(self, strip: np.ndarray) -> None:
        """Count the pixels of outlines: those of which a neighbour along an edge is not the object's."""
        inner = strip[1:-1, 1:-1]
        outline = np.zeros(strip.shape, dtype=bool)
        lies = outline[1:-1, 1:-1]
        for other in (strip[:-2, 1:-1], strip[2:, 1:-1], strip[1:-1, :-2], strip[1:-1, 2:]):
            lies |= inner != other
        lies &= inner > 0
        places = np.flatnonzero(outline[2:-2]) + 2 * strip.shape[1]
        flat, marked, width = strip.ravel(), outline.ravel(), strip.shape[1]
        who = flat[places]
        code = np.ones(places.size, dtype=np.int64)
        for offset, worth in ((1, 2), (-1, 2), (width, 2), (-width, 2), (width + 1, 10), (width - 1, 10), (1 - width, 10), (-width - 1, 10)):
            beside = places + offset
            code += worth * (marked[beside] & (flat[beside] == who))
        self.lengths += np.bincount(who.astype(np.int64) * 4 + _CODES[code], minlength=self.lengths.size)

    def measured(self, height: int, width: int) -> tuple[np.ndarray, ...]:
        """Area, boxes, centroids, covariances, perimeters, and whether the edge of a picture of that size is touched."""
        area = self.area[1:]
        boxes = np.stack([*self.low, *self.high], axis=1)[1:]
        some = np.maximum(area, 1)
        centroid = (self.moments[:2, 1:] / some).T
        centroid[area == 0] = np.nan
        # With whole numbers of any length: what is left of large squares is small.
        exact = [
            ((n * xx - x * x) / (n * n), (n * yy - y * y) / (n * n), (n * xy - x * y) / (n * n)) if n else (math.nan,) * 3
            for n, x, y, xx, yy, xy in zip(area.tolist(), *([int(value) for value in moment[1:]] for moment in self.moments), strict=True)
        ]
        covariance = np.array(exact, dtype=np.float64).reshape(-1, 3)
        perimeter = self.lengths.reshape(-1, 4)[1:] @ _LENGTHS
        edge = (boxes[:, :2] == 0).any(axis=1) | (boxes[:, 2] == width) | (boxes[:, 3] == height)
        boxes[area == 0] = 0
        return area, boxes, centroid, covariance, perimeter, edge

    def intensity(self) -> tuple[np.ndarray, np.ndarray]:
        """Mean and standard deviation, each float64 (N, C)."""
        area = np.where(self.area[1:] > 0, self.area[1:], np.nan)
        mean, squares = (values[:, 1:] / area for values in self.values)
        deviation = np.sqrt(np.maximum(squares - mean * mean, 0))
        zero = np.zeros(mean.shape[0]) if self.zero is None else self.zero
        return mean.T + zero, deviation.T


class _Runs:
    """The connected pieces of a map's classes, found among runs of equal ids.

    Args:
        id_map: uint8 or uint16 (H, W).
        labels: the ids whose pieces are wanted.

    Attributes:
        label_ids: int64 (N,), the class of every piece, the largest piece first.
        left_out: pieces beyond the largest :data:`~seg_demo.core.types.MAX_IDS`.
    """

    def __init__(self, id_map: np.ndarray, labels: Sequence[int]) -> None:
        # These parts of SciPy take a while to import, which the page need not wait for.
        from scipy.sparse import coo_matrix
        from scipy.sparse.csgraph import connected_components

        self._map = id_map
        values, lengths, meet, total = [], [], [], 0
        height, width = id_map.shape
        step = _rows_at_a_time(width)
        for top in range(0, height, step):
            # The first row of a strip is the last of the one before, whose runs are known already.
            known = min(top, 1)
            rows = slice(top - known, min(top + step, height))
            strip, begins = id_map[rows], self._begins(rows)
            first = total - int(np.count_nonzero(begins[:known]))
            numbers = np.cumsum(begins).reshape(begins.shape) - 1 + first
            joined = (strip[1:] == strip[:-1]) & (begins[1:] | begins[:-1])
            meet.append(np.stack([numbers[:-1][joined], numbers[1:][joined]]).astype(np.int32))
            starts = np.flatnonzero(begins[known:])
            values.append(strip[known:].reshape(-1)[starts])
            lengths.append(np.diff(starts, append=strip[known:].size).astype(np.int32))
            total += starts.size
        one, other = np.concatenate(meet, axis=1)
        graph = coo_matrix((np.ones(one.size, dtype=bool), (one, other)), shape=(total, total))
        count, piece = connected_components(graph, directed=False)
        label = np.zeros(count, dtype=np.int64)
        label[piece] = np.concatenate(values)
        area = np.bincount(piece, weights=np.concatenate(lengths), minlength=count)
        wanted = np.flatnonzero(np.isin(label, labels))
        order = wanted[np.argsort(-area[wanted], kind="stable")][:MAX_IDS]
        self.label_ids, self.left_out = label[order], wanted.size - order.size
        rank = np.zeros(count, dtype=np.uint32)
        rank[order] = np.arange(1, order.size + 1)
        self._owner = rank[piece]

    def _begins(self, rows: slice) -> np.ndarray:
        strip = self._map[rows]
        begins = np.ones(strip.shape, dtype=bool)
        np.not_equal(strip[:, 1:], strip[:, :-1], out=begins[:, 1:])
        return begins

    def owners(self) -> Iterator[tuple[int, np.ndarray]]:
        """As :func:`_strips_of`."""
        height, width = self._map.shape
        step, known = _rows_at_a_time(width), 0
        for top in range(0, height, step):
            bottom = min(top + step, height)
            first, last = max(top - 2, 0), min(bottom + 2, height)
            begins = self._begins(slice(first, last))
            numbers = np.cumsum(begins).reshape(begins.shape) - 1
            strip = np.zeros((bottom - top + 4, width + 2), dtype=np.uint32)
            strip[first - top + 2 : last - top + 2, 1:-1] = self._owner[numbers + known]
            yield top, strip
            # Runs before the first row of the next strip's surroundings.
            known += int(np.count_nonzero(begins[: max(bottom - 2, 0) - first]))
