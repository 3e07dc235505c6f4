"""A picture as a person sees it, and what its file says besides: samples of any depth, channels, pages, the size of a pixel, the place on
Earth or in a body; and the view, which says what of all that is looked at.

Photographs have pixels alone. The rest comes of the formats of microscopes, scanners and satellites (:mod:`seg_demo.inputs.scientific`).
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from itertools import product
from typing import Any

import numpy as np

from seg_demo.core.errors import BadRequestError

# Which of a stack's planes is looked at, in the order in which a file's planes lie.
AXES = ("page", "t", "z")
WINDOWS = ("auto", "full", "dicom")
MOST_SHOWN = 3
# In place of a page: all planes that the rest of the view leaves open.
ALL = "all"
# Of a network that takes more than a person sees.
MOST_CHANNELS = 64
_MOST_TEXT = 2000
_GAMMA = (0.1, 10.0)


@dataclass(frozen=True)
class View:
    """What of a file is looked at. What is None is left to the file: its first page and point in time, its middle plane, up to three
    channels, ``full`` for 8 bits, else its own DICOM window or ``auto``.

    Attributes:
        page: from 0, of files whose planes have no meaning of their own; or ``all``, of commands that give a result for each plane.
        z: depth, from 0.
        t: point in time, from 0.
        channels: from 0, in their order: one is shown grey, two or three as red, green and blue; of more, for a network that takes so many,
            the first three are.
        window: what becomes black and white: two numbers of the file's values (of a CT Hounsfield units), ``auto`` (0.35 to 99.65 percentile
            per channel of what holds data), ``full`` (the range of the type, of fractions that of the values) or ``dicom`` (the file's own).
        gamma: brightness b in [0, 1] is shown as b ** gamma.

    Raises:
        BadRequestError: anything else; the message says what was expected.
    """

    page: int | str | None = None
    z: int | None = None
    t: int | None = None
    channels: tuple[int, ...] | None = None
    window: tuple[float, float] | str | None = None
    gamma: float = 1.0

    def __post_init__(self) -> None:
        for axis in AXES:
            value = getattr(self, axis)
            if value is not None and not _index(value) and not (axis == "page" and value == ALL):
                raise BadRequestError("views.bad_index", axis=axis, value=_shown(value))
        if self.channels is not None:
            listed = (self.channels,) if _index(self.channels) else self.channels
            if not isinstance(listed, list | tuple) or not 1 <= len(listed) <= MOST_CHANNELS or not all(map(_index, listed)):
                raise BadRequestError("views.bad_channels", value=_shown(self.channels))
            object.__setattr__(self, "channels", tuple(map(int, listed)))
        if self.window is not None and self.window not in WINDOWS:
            ends = self.window
            pair = isinstance(ends, list | tuple) and len(ends) == 2 and all(map(_number, ends))
            if not pair or not ends[0] < ends[1]:
                raise BadRequestError("views.bad_window", value=_shown(self.window))
            object.__setattr__(self, "window", (float(ends[0]), float(ends[1])))
        if not _number(self.gamma) or not _GAMMA[0] <= self.gamma <= _GAMMA[1]:
            raise BadRequestError("views.bad_gamma", value=_shown(self.gamma), least=_GAMMA[0], most=_GAMMA[1])

    @classmethod
    def parse(cls, text: object) -> View | None:
        """A view as a request or the command line has it.

        >>> View.parse('{"z": 3, "channels": [2, 0]}')
        View(page=None, z=3, t=None, channels=(2, 0), window=None, gamma=1.0)

        Args:
            text: JSON text, what JSON makes of it, or a view. Empty or None is the file's own choice.

        Raises:
            BadRequestError: anything else.
        """
        if text is None or isinstance(text, View):
            return text
        if isinstance(text, str):
            if not text.strip():
                return None
            if len(text) > _MOST_TEXT:
                raise BadRequestError("views.too_long", most=_MOST_TEXT)
            try:
                text = json.loads(text)
            except (ValueError, RecursionError) as error:
                raise BadRequestError("views.no_json", why=str(error)[:120]) from error
        names = {row.name for row in fields(cls)}
        if not isinstance(text, Mapping) or not set(text) <= names:
            value = sorted(map(str, text)) if isinstance(text, Mapping) else text
            raise BadRequestError("views.no_view", value=_shown(value), names=", ".join(row.name for row in fields(cls)))
        given = {name: value for name, value in text.items() if value is not None}
        return cls(**given) if given else None

    @property
    def every(self) -> bool:
        """Whether it is of all planes, and not of one."""
        return self.page == ALL

    def each(self, stack: Stack | None) -> tuple[View, ...]:
        """The views of single planes that it stands for, in the order in which they lie in the file.

        >>> [(view.page, view.t, view.z) for view in View(page="all", t=1).each(Stack(z=2, t=3))]
        [(0, 1, 0), (0, 1, 1)]

        Args:
            stack: of the file; None for a photograph.
        """
        if not self.every:
            return (self,)
        stack = stack or Stack()
        asked = (range(stack.pages), *(range(count) if at is None else (at,) for at, count in ((self.t, stack.t), (self.z, stack.z))))
        return tuple(replace(self, page=page, t=t, z=z) for page, t, z in product(*asked))

    def to_dict(self) -> dict[str, Any]:
        """It as JSON: what is left to the file is left out."""
        found = {row.name: getattr(self, row.name) for row in fields(self)}
        return {name: list(value) if isinstance(value, tuple) else value for name, value in found.items() if value is not None}


def _index(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 1 << 31


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)


def _shown(value: object) -> str:
    try:
        text = json.dumps(value)
    except (TypeError, ValueError):
        text = str(value)
    return text[:80]


@dataclass(frozen=True)
class Georeference:
    """Where a raster lies on Earth.

    Attributes:
        crs: ``EPSG:32633`` where the authority has a number for it, else WKT; empty where the file does not say.
        affine: (a, b, c, d, e, f): the corner of column x and row y is at (a x + b y + c, d x + e y + f).
        tags: the file's own GeoTIFF tags, (number, TIFF type, values) each: what says the same of another raster of this grid.
        geographic: whether coordinates are degrees.
    """

    crs: str
    affine: tuple[float, float, float, float, float, float]
    tags: tuple[tuple[int, int, Any], ...] = ()
    geographic: bool = False

    @property
    def pixel_size(self) -> tuple[float, float]:
        """Width and height of a pixel in the unit of the coordinates."""
        a, b, _, d, e, _ = self.affine
        return math.hypot(a, d), math.hypot(b, e)


@dataclass(frozen=True)
class Grid:
    """Where a picture lies in a volume of voxels (NIfTI).

    Attributes:
        shape: voxels along each of the three axes.
        affine: 4 x 4, row by row: from voxels to millimetres to the right, front and top of a patient (RAS+).
        rows: axis that the picture's rows follow each other along, and whether from its end.
        columns: the same of its columns.
        fixed: the third axis, and the voxel on it.
    """

    shape: tuple[int, int, int]
    affine: tuple[float, ...]
    rows: tuple[int, bool]
    columns: tuple[int, bool]
    fixed: tuple[int, int]


@dataclass(frozen=True)
class Calibration:
    """How large and where a picture's pixels are.

    Attributes:
        pixel_size: width and height of a pixel in ``unit``; None where only the place is known.
        unit: ``micrometer``, ``millimeter``, ``meter``, ``degree`` ...; empty without a size.
        georeference: of rasters of the Earth.
        grid: of volumes.
        series: of DICOM: what another object of the same study has to name, by keyword; nothing about the patient.
    """

    pixel_size: tuple[float, float] | None = None
    unit: str = ""
    georeference: Georeference | None = None
    grid: Grid | None = None
    series: Mapping[str, Any] | None = None

    @property
    def pixel_area(self) -> float | None:
        """Of a pixel in square units; None without a size, and for degrees, which are no lengths."""
        if self.pixel_size is None or self.unit == "degree":
            return None
        if self.georeference is not None and self.pixel_size == self.georeference.pixel_size:
            a, b, _, d, e, _ = self.georeference.affine
            return abs(a * e - b * d)
        return self.pixel_size[0] * self.pixel_size[1]

    def to_dict(self) -> dict[str, Any]:
        """What a result says of it: ``pixel_size`` and ``unit``, ``crs``, where they are known."""
        found: dict[str, Any] = {} if self.pixel_size is None else {"pixel_size": list(self.pixel_size), "unit": self.unit}
        crs = self.georeference.crs if self.georeference is not None else ""
        return found | ({"crs": crs} if crs else {})


@dataclass(frozen=True)
class Stack:
    """What there is to choose from in a file.

    Attributes:
        pages: planes without a meaning of their own.
        z: planes in depth.
        t: points in time.
        windows: the file's own, as (black, white) in its values.
        slope: a stored value times this, plus ``intercept``, is the value that windows are of.
        intercept: see there.
        bits: of a stored value.
        alpha: which channel says how opaque a pixel is, or None.
        nodata: stored value of samples without data that the file names, or None.
        inverted: whether the smallest value is white (MONOCHROME1, WhiteIsZero).
    """

    pages: int = 1
    z: int = 1
    t: int = 1
    windows: tuple[tuple[float, float], ...] = ()
    slope: float = 1.0
    intercept: float = 0.0
    bits: int = 8
    alpha: int | None = None
    nodata: float | None = None
    inverted: bool = False


@dataclass(frozen=True)
class Distribution:
    """What a window is chosen by: how often the values of the channels that are shown occur, and what is black and white of them now.
    Values are those that windows are of.

    Attributes:
        low: from here the values are counted, a few far ones left out.
        high: up to here.
        counts: for each channel, how many values lie in each of as many equal steps; of a large picture every n-th.
        ends: for each channel, what is shown black and what white; the other way round where the smallest value is white.
    """

    low: float
    high: float
    counts: tuple[tuple[int, ...], ...]
    ends: tuple[tuple[float, float], ...]


@dataclass(frozen=True, eq=False)
class Picture:
    """What a person sees of a file, and what the file holds besides.

    Attributes:
        pixels: uint8 (H, W, 3), upright RGB.
        notes: what is not seen of the file, or seen otherwise than it was meant, as whole sentences: which page, frame or channels
            are shown, and where there are no data. Empty for an ordinary photo.
        samples: (H, W, C) of the file's own dtype: the plane that is looked at, all channels, or those of ``view`` where they were asked for
            for a network; None for photographs, where nobody asked for them, and where they are too large together.
        channels: their names.
        calibration: size and place of the pixels, or None.
        stack: what there is to choose from; None for photographs.
        view: what was chosen, complete; None for photographs.
        distribution: of the values that are shown; None where nobody asked for it.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    samples: np.ndarray | None = None
    channels: tuple[str, ...] = ()
    calibration: Calibration | None = None
    stack: Stack | None = None
    view: View | None = None
    distribution: Distribution | None = None

    @property
    def pixel_size(self) -> tuple[float, float] | None:
        """As :attr:`Calibration.pixel_size`."""
        return self.calibration and self.calibration.pixel_size

    @property
    def unit(self) -> str:
        """As :attr:`Calibration.unit`."""
        return self.calibration.unit if self.calibration else ""

    @property
    def georeference(self) -> Georeference | None:
        """As :attr:`Calibration.georeference`."""
        return self.calibration and self.calibration.georeference

    @property
    def facts(self) -> dict[str, Any]:
        """What a result made of it takes over, by the names of the fields of both."""
        return {"view": self.view, "calibration": self.calibration}

    @property
    def pages(self) -> int:
        """Planes that the file holds, whatever they are called."""
        return 1 if self.stack is None else self.stack.pages * self.stack.z * self.stack.t
