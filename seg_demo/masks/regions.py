"""Region segmentation without a network: any method of the table on a picture of any size, as a Segmentation."""

from __future__ import annotations

import math

import numpy as np

from seg_demo.errors import BadRequestError
from seg_demo.masks.region_methods import METHODS, Method, Parameter, counts, looked_up
from seg_demo.masks.shrunk import shrunk
from seg_demo.segments import Region
from seg_demo.types import LabelSet, Segmentation

__all__ = ["METHODS", "Method", "Parameter", "segment"]
_LABELS = ("background", "region")
_STRIP_PIXELS = 1 << 20


def _values(method: str, parameters: dict[str, float]) -> dict[str, float]:
    """Every parameter of a method, given or default; BadRequestError for what it does not take."""
    if method not in METHODS:
        raise BadRequestError(f"There is no region method {str(method)[:40]!r}. Choose one of {', '.join(METHODS)}.")
    known = {parameter.name: parameter for parameter in METHODS[method].parameters}
    for name, value in parameters.items():
        if name not in known:
            raise BadRequestError(f"{method} has no parameter {name[:40]!r}. It takes {' and '.join(known)}.")
        row = known[name]
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not row.min <= value <= row.max:
            came = repr(str(value)[:40])
            raise BadRequestError(f"{name} of {method} must be a number from {row.min:g} to {row.max:g}, but is {came}.")
    return {name: float(parameters.get(name, row.default)) for name, row in known.items()}


def _scaled_up(regions: np.ndarray, height: int, width: int) -> np.ndarray:
    """Regions at another size, every pixel that of the nearest small one; scaling up loses no region."""
    rows = np.minimum((np.arange(height) + 0.5) * regions.shape[0] / height, regions.shape[0] - 1).astype(np.intp)
    columns = np.minimum((np.arange(width) + 0.5) * regions.shape[1] / width, regions.shape[1] - 1).astype(np.intp)
    return regions[rows[:, None], columns]


def segment(image: np.ndarray, method: str, **parameters: float) -> Segmentation:
    """Regions of a picture. A picture of one colour has none.

    Args:
        image: uint8 (H, W, 3), RGB.
        method: key of :data:`METHODS`: ``otsu``, ``watershed``, ``slic`` or ``felzenszwalb``.
        parameters: values by name, as :data:`METHODS` lists them for the method; those left out take their defaults.
            ``otsu``: ``objects`` (-1 dark, 0 find out, 1 bright), ``min_area`` (percent of the picture), ``smoothing``
            (standard deviation of a Gaussian, in pixels; 0 for none). ``watershed``:
            ``smoothing`` (pixels), ``min_area``. ``slic``: ``regions``, ``compactness``. ``felzenszwalb``: ``scale``,
            ``min_area``.

    Returns:
        Task ``region``; labels background and region; every region is a segment without a score, with an id of its own.

    Raises:
        BadRequestError: an unknown method or parameter, or a value outside its range.
        ValueError: an image of another type or shape.
    """
    values = _values(method, parameters)
    if image.dtype != np.uint8 or image.ndim != 3 or image.shape[2] != 3 or image.size == 0:
        raise ValueError(f"image must be uint8 of shape (H, W, 3), but got {image.dtype} {image.shape}.")
    height, width = image.shape[:2]
    if all((row == image[0, 0]).all() for row in image):
        return _segmentation(np.zeros((height, width), dtype=np.uint8))
    limit = METHODS[method].pixels
    if limit is None or height * width <= limit:
        return _segmentation(METHODS[method].compute(image, values))
    factor = math.sqrt(limit / (height * width))
    size = max(1, int(width * factor)), max(1, int(height * factor))
    reduced = np.asarray(shrunk(image, size))
    # Numbered while they are small: at full size, ids of 8 bytes would take more than the picture.
    return _segmentation(_scaled_up(_numbered(METHODS[method].compute(reduced, values)), height, width))


def _numbered(regions: np.ndarray) -> np.ndarray:
    """Regions int (H, W), 0 for none, numbered from 1 without gaps: uint8, or uint16 for more than 255."""
    present = np.flatnonzero(counts(regions))
    present = present[present > 0]
    numbers = np.zeros(int(regions.max()) + 1, dtype=np.uint8 if present.size <= 255 else np.uint16)
    numbers[present] = np.arange(1, present.size + 1)
    return looked_up(numbers, regions)


def _boxes(id_map: np.ndarray) -> np.ndarray:
    """int64 (n, 4): the smallest box (left, top, right, bottom) around each id from 1 to the largest, all of which occur.

    In strips: scipy looks for them in a copy of 8 bytes per pixel.
    """
    from scipy.ndimage import find_objects

    count = int(id_map.max())
    boxes = np.tile(np.array([id_map.shape[1], id_map.shape[0], 0, 0]), (count, 1))
    step = max(1, _STRIP_PIXELS // id_map.shape[1])
    for start in range(0, id_map.shape[0], step):
        for box, found in zip(boxes, find_objects(id_map[start : start + step], count), strict=True):
            if found is not None:
                rows, columns = found
                box[:2] = np.minimum(box[:2], (columns.start, start + rows.start))
                box[2:] = np.maximum(box[2:], (columns.stop, start + rows.stop))
    return boxes


def _segmentation(regions: np.ndarray) -> Segmentation:
    """The result for regions int (H, W), 0 for none, whatever their numbers."""
    id_map = _numbered(regions)
    segments = []
    for index, box in enumerate(_boxes(id_map).tolist()):
        segments.append(Region(1, tuple(box), id_map, index + 1))
    labels = LabelSet.from_names(_LABELS, background=0)
    return Segmentation("region", *id_map.shape, labels, id_map, tuple(segments))
