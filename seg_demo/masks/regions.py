"""Region segmentation without a network: any method of the table on a picture of any size, as a Segmentation.

The classical ways to find regions, through scikit-image: a table of methods with the one or two numbers that matter.

Importing this module is cheap; scikit-image and scipy are imported when something is segmented.

A large picture made small, in bands: Pillow's own copy of 50 megapixels, and the bytes that it is made of, take 350 MB.

And paint and predict: a classifier of pixels that a few strokes on one picture teach, for the rest of it (:class:`PixelClassifier`).
Features of a pixel are colour, gradient and the eigenvalues of the Hessian at five scales, as in scikit-image's
``multiscale_basic_features`` and in ilastik (Sommer et al. 2011); each coarser scale is computed on a picture of half the size, so that all
together cost little more than the finest. The classifier is a forest, as in ilastik and in
ImageJ's trainable segmentation: scikit-learn's extremely randomised trees (Geurts et al. 2006), which from a few strokes find more than a
random forest does (coins, cells: 0.69 against 0.64 mean IoU). Pictures beyond a megapixel are classified at a whole fraction of their size, and
the probabilities enlarged: a forest takes a second or two for a megapixel, and what it says is a draft.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image

from seg_demo.core import MAX_IDS, REGION, BadRequestError, LabelSet, Segment, Segmentation

if TYPE_CHECKING:
    import torch

    from seg_demo.core import Box

__all__ = ["METHODS", "Method", "Parameter", "PixelClassifier", "segment"]
_LABELS = ("background", "region")
_STRIP_PIXELS = 1 << 20


class Region(Segment):
    """A segment of a picture whose segments do not overlap. Its mask is cut from the id map whenever it is asked for: thousands of
    rings or stripes, each in a box nearly as large as the picture, would fill the memory.

    Args:
        label_id: index into the label set.
        box: (x0, y0, x1, y1), half-open integer pixels.
        id_map: uint8 or uint16 (H, W), of the whole picture.
        identity: the region's value in it.
        score: in [0, 1], or None.
        corner: (x, y) of the id map's first pixel, where that is of a part of the picture.
    """

    def __init__(
        self, label_id: int, box: Box, id_map: np.ndarray, identity: int, score: float | None = None, corner: tuple[int, int] = (0, 0)
    ) -> None:
        for name, value in {"label_id": label_id, "score": score, "box": box, "soft": None}.items():
            object.__setattr__(self, name, value)
        object.__setattr__(self, "_cut", (id_map, identity, corner))

    @property
    def has_mask(self) -> bool:
        """True."""
        return True

    @property
    def mask(self) -> np.ndarray:
        """bool (y1 - y0, x1 - x0)."""
        (x0, y0, x1, y1), (id_map, identity, (left, top)) = self.box, self._cut
        return id_map[y0 - top : y1 - top, x0 - left : x1 - left] == identity

    @property
    def identity(self) -> int:
        """Its value in the id map."""
        return self._cut[1]

    def moved(self, right: int, down: int) -> Region:
        """As :meth:`Segment.moved`."""
        (x0, y0, x1, y1), (id_map, identity, (left, top)) = self.box, self._cut
        box = x0 + right, y0 + down, x1 + right, y1 + down
        return Region(self.label_id, box, id_map, identity, self.score, (left + right, top + down))


def values_of(method: str, parameters: dict[str, float]) -> dict[str, float]:
    """Every parameter of a method, given or default; BadRequestError for what it does not take."""
    if method not in METHODS:
        raise BadRequestError("regions.no_such_method", method=str(method)[:40], names=", ".join(METHODS))
    known = {parameter.name: parameter for parameter in METHODS[method].parameters}
    for name, value in parameters.items():
        if name not in known:
            raise BadRequestError("regions.no_such_parameter", method=method, name=name[:40], names=" and ".join(known))
        row = known[name]
        is_number = isinstance(value, int | float | np.number) and not isinstance(value, bool)
        if not is_number or not row.min <= value <= row.max:
            came = repr(str(value)[:40])
            raise BadRequestError("regions.bad_parameter", name=name, method=method, low=row.min, high=row.max, value=came)
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
    values = values_of(method, parameters)
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
    return Segmentation(REGION.name, *id_map.shape, labels, id_map, tuple(segments))


@dataclass(frozen=True)
class Parameter:
    """One number that a person may set.

    Attributes:
        name: keyword of :func:`seg_demo.masks.regions.segment`.
        label: a few words for the screen.
        default: value that suits most pictures.
        min: smallest value.
        max: largest value.
        step: between two values of a slider.
        help: one sentence: what a larger value does, and its unit.
    """

    name: str
    label: str
    default: float
    min: float
    max: float
    step: float
    help: str


@dataclass(frozen=True)
class Method:
    """One way to find regions.

    Attributes:
        title: a few words for the menu.
        about: one sentence: what it does and what it is good for.
        parameters: the one or two numbers that matter.
        pixels: pictures with more pixels are computed at that size, and the regions scaled up to the original one; None
            computes every size in full.
        compute: RGB picture uint8 (h, w, 3) and the values of the parameters → regions int (h, w), 0 for none.
    """

    title: str
    about: str
    parameters: tuple[Parameter, ...]
    pixels: int | None
    compute: Callable[[np.ndarray, dict[str, float]], np.ndarray]


def _grey(image: np.ndarray, sigma: float) -> np.ndarray:
    """float32 (H, W) in [0, 255]: luma (ITU-R 601), blurred by ``sigma`` pixels."""
    from scipy.ndimage import gaussian_filter

    grey = np.empty(image.shape[:2], dtype=np.float32)
    for rows in _strips(grey.shape):
        grey[rows] = Image.fromarray(image[rows]).convert("L")
    # In place: each of its passes reads a line before it writes it.
    return gaussian_filter(grey, sigma, output=grey) if sigma else grey


def _otsus_threshold(values: np.ndarray) -> float:
    """scikit-image's, whose own histogram makes a copy.

    Args:
        values: float32 (H, W).
    """
    from skimage.filters import threshold_otsu

    if values.min() == values.max():
        return float(values[0, 0])
    found, edges = np.histogram(values.reshape(-1), 256, (values.min(), values.max()))
    return float(threshold_otsu(hist=(found, (edges[:-1] + edges[1:]) / 2)))


def _least(shape: tuple[int, ...], percent: float) -> int:
    """Pixels of a share of a picture given in percent, at least 1."""
    return max(1, math.ceil(shape[0] * shape[1] * percent / 100))


def _large_pieces(mask: np.ndarray, least: int) -> np.ndarray:
    """uint16 (H, W): the 8-connected pieces of a mask that have at least so many pixels, numbered from 1; else 0.

    An id map has room for 65535: if there are more, the largest stay.
    """
    from scipy.ndimage import label

    try:
        pieces, _ = label(mask, structure=np.ones((3, 3)), output=np.uint16)
    except RuntimeError:  # too many to begin with
        pieces, _ = label(mask, structure=np.ones((3, 3)))
    areas = counts(pieces)
    areas[0] = 0
    kept = np.flatnonzero(areas >= least)
    if kept.size > MAX_IDS:
        kept = np.sort(kept[np.argsort(-areas[kept], kind="stable")[:MAX_IDS]])
    numbers = np.zeros(areas.size, dtype=np.uint16)
    numbers[kept] = np.arange(1, kept.size + 1)
    return looked_up(numbers, pieces, pieces if pieces.dtype == numbers.dtype else None)


def counts(regions: np.ndarray) -> np.ndarray:
    """How often each value from 0 occurs in int (H, W), in strips: numpy counts in a copy of 8 bytes per value.

    Returns:
        int64 (largest value + 1,).
    """
    total = np.zeros(int(regions.max()) + 1, dtype=np.int64)
    for rows in _strips(regions.shape):
        total += np.bincount(regions[rows].ravel(), minlength=total.size)
    return total


def looked_up(table: np.ndarray, regions: np.ndarray, out: np.ndarray | None = None) -> np.ndarray:
    """``table[regions]`` in strips, for the same reason; into ``out``, which may be the regions, or a new array."""
    found = np.empty(regions.shape, dtype=table.dtype) if out is None else out
    for rows in _strips(regions.shape):
        found[rows] = table[regions[rows]]
    return found


def _strips(shape: tuple[int, ...]) -> Iterator[slice]:
    step = max(1, _STRIP_PIXELS // max(1, shape[1]))
    for top in range(0, shape[0], step):
        yield slice(top, top + step)


def _otsu(image: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Otsu's threshold (IEEE SMC 9, 1979) on luma, then the pieces of the side that is the object.

    Smoothing joins what noise takes apart, but makes a line of one pixel two wide, so that it is for who asks for it. If not told, the object is the side that has less of the picture's border: objects lie inside, the ground around them.
    """
    grey = _grey(image, values["smoothing"])
    bright = grey > _otsus_threshold(grey)
    del grey  # 200 MB for 50 megapixels
    if values["objects"] == 0:
        border = np.concatenate([bright[0], bright[-1], bright[:, 0], bright[:, -1]])
        objects_are_bright = border.mean() <= 0.5
    else:
        objects_are_bright = values["objects"] > 0
    return _large_pieces(bright if objects_are_bright else ~bright, _least(bright.shape, values["min_area"]))


def _watershed(image: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Flat pieces grow uphill on the strength of edges until they meet.

    Seeds are where the Sobel gradient is below half of its Otsu threshold. They give up the smallest share of the
    picture, or the largest of them is kept, so that any picture with an edge has regions.
    """
    from skimage.filters import sobel, threshold_otsu
    from skimage.segmentation import watershed

    edges = sobel(_grey(image, values["smoothing"]))
    if edges.min() == edges.max():
        return np.zeros(edges.shape, dtype=np.int32)
    flat = edges < 0.5 * threshold_otsu(edges)
    seeds = _large_pieces(flat, _least(edges.shape, values["min_area"]))
    return watershed(edges, (seeds if seeds.any() else _large_pieces(flat, 1)).astype(np.int32))


def _slic(image: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Superpixels by k-means on colour and place (Achanta et al., TPAMI 34, 2012)."""
    from skimage.segmentation import slic

    count, compactness = round(values["regions"]), values["compactness"]
    return slic(image, n_segments=count, compactness=compactness, start_label=1, channel_axis=-1)


def _felzenszwalb(image: np.ndarray, values: dict[str, float]) -> np.ndarray:
    """Graph-based merging by the contrast inside and between regions (Felzenszwalb and Huttenlocher, IJCV 59, 2004)."""
    from skimage.segmentation import felzenszwalb

    # Regions below the smallest size are merged, so no more than an id map can name can be left.
    least = max(_least(image.shape, values["min_area"]), math.ceil(image.shape[0] * image.shape[1] / MAX_IDS))
    return felzenszwalb(image, scale=values["scale"], sigma=0.8, min_size=least, channel_axis=-1) + 1


_MIN_AREA = "Smallest region in percent of the picture; smaller ones are "
METHODS: dict[str, Method] = {
    "otsu": Method(
        "Otsu threshold",
        "Splits the picture into bright and dark, and gives every connected piece of the object side: for separate things "
        "on a plain background.",
        (
            Parameter("objects", "Objects are", 0, -1, 1, 1, "-1 dark, 1 bright, 0 automatic: the side with less of the picture's border."),
            Parameter("min_area", "Smallest piece (%)", 0.02, 0, 5, 0.01, _MIN_AREA + "left out."),
            Parameter("smoothing", "Smoothing (pixels)", 0, 0, 8, 0.5, "Blur before the threshold: for noisy pictures; widens thin lines."),
        ),
        None,
        _otsu,
    ),
    "watershed": Method(
        "Edges + watershed",
        "Grows flat pieces until they meet at edges, so that regions tile the picture: for shapes with clear outlines.",
        (
            Parameter("smoothing", "Smoothing (pixels)", 2, 0.5, 8, 0.5, "Blur before the search for edges."),
            Parameter("min_area", "Smallest seed (%)", 0.02, 0, 5, 0.01, _MIN_AREA + "merged into their neighbours."),
        ),
        1_500_000,
        _watershed,
    ),
    "slic": Method(
        "SLIC superpixels",
        "Cuts the picture into so many patches of similar colour and size: a start for labelling by hand.",
        (
            Parameter("regions", "Regions", 200, 2, 5_000, 1, "About how many regions; small pictures get fewer."),
            Parameter("compactness", "Compactness", 10, 1, 100, 1, "Higher values give squarer regions; lower values follow the colours."),
        ),
        1_000_000,
        _slic,
    ),
    "felzenszwalb": Method(
        "Felzenszwalb",
        "Merges pixels of little contrast, so that regions are large where the picture is plain: for scenes.",
        (
            Parameter("scale", "Scale", 300, 10, 5_000, 10, "Higher values give larger and fewer regions."),
            Parameter("min_area", "Smallest region (%)", 0.02, 0, 5, 0.01, _MIN_AREA + "merged with a neighbour."),
        ),
        400_000,
        _felzenszwalb,
    ),
}


_BAND_PIXELS = 1 << 21


def shrunk(image: np.ndarray, size: tuple[int, int]) -> Image.Image:
    """As ``Image.fromarray(image).resize(size, Image.Resampling.BOX)``.

    Args:
        image: uint8 (H, W, 3), RGB.
        size: (width, height) in pixels, none larger than the image's.

    Returns:
        The small picture, RGB.
    """
    height, width = image.shape[:2]
    scale = height / size[1]
    small = Image.new("RGB", size)
    rows = max(1, int(_BAND_PIXELS / width / scale))
    for top in range(0, size[1], rows):
        bottom = min(size[1], top + rows)
        # The rows of the large picture that these rows are made of, and one more on either side.
        first, last = max(0, int(top * scale) - 1), min(height, int(np.ceil(bottom * scale)) + 1)
        box = (0, top * scale - first, width, min(bottom * scale - first, last - first))
        band = Image.fromarray(image[first:last])
        small.paste(band.resize((size[0], bottom - top), Image.Resampling.BOX, box=box), (0, top))
    return small


def fitting(width: int, height: int, side: int) -> tuple[int, int]:
    """(width, height) of a picture whose longer side is at most ``side``, at least a pixel each.

    >>> fitting(4000, 3000, 2000), fitting(10, 20, 2000), fitting(20_000, 1, 100)
    ((2000, 1500), (10, 20), (100, 1))
    """
    factor = min(1.0, side / max(width, height))
    return max(1, round(width * factor)), max(1, round(height * factor))


# Scales: a Gaussian of this deviation on a picture of full, half, quarter ... size. The first are computed in strips of rows, with so many
# more above and below as their filters see; the others, whose maps are small, at once.
SCALES, FINE, SIGMA, _REACH = 5, 2, 1.0, 3
_GRID, _HALO = 1 << (SCALES - 1), 32
_STRIP_CLASSIFIED = 1 << 18
# Painted pixels that are learnt from, of all classes together; pixels that are classified one by one, fewer where there are more classes.
_PAINTED, _CLASSIFIED, _CLASSES = 20_000, 1 << 20, 16
_TREES, _LEAF, _SEED = 30, 2, 0
# Probabilities of full size that exist at a time.
_PROBABILITIES = 1 << 22


def _smooth(level: torch.Tensor) -> torch.Tensor:
    """A Gaussian over (1, 3, H, W). By adding what is shifted: convolutions of one channel each are slow on a CPU."""
    import torch.nn.functional as F

    weights = [math.exp(-(x * x) / (2 * SIGMA**2)) for x in range(_REACH + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis, sides in ((3, (_REACH, _REACH, 0, 0)), (2, (0, 0, _REACH, _REACH))):
        padded, size = F.pad(level, sides, mode="replicate"), level.shape[axis]
        level = padded.narrow(axis, _REACH, size) * (weights[0] / total)
        for x in range(1, _REACH + 1):
            for at in (_REACH - x, _REACH + x):
                level.add_(padded.narrow(axis, at, size), alpha=weights[x] / total)
    return level


def _maps(smooth: torch.Tensor) -> torch.Tensor:
    """Colour, gradient, and the eigenvalues of the Hessian of one scale: (1, 6, H, W)."""
    import torch
    import torch.nn.functional as F

    grey = F.pad(smooth.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    middle, left, right, above, below = (grey[..., 1:-1, 1:-1], grey[..., 1:-1, :-2], grey[..., 1:-1, 2:], grey[..., :-2, 1:-1], grey[..., 2:, 1:-1])
    xx, yy = left + right - 2 * middle, above + below - 2 * middle
    xy = (grey[..., 2:, 2:] + grey[..., :-2, :-2] - grey[..., 2:, :-2] - grey[..., :-2, 2:]) / 4
    half, spread = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    return torch.cat([smooth, torch.hypot(right - left, below - above), half + spread, half - spread], dim=1)


def _grown(maps: torch.Tensor, times: int, first: int, last: int) -> torch.Tensor:
    """Rows from ``first`` to ``last`` of maps that are enlarged so many times, bilinearly; as if all of them had been enlarged at once."""
    import torch.nn.functional as F

    top, bottom = max(0, first // times - 1), min(maps.shape[2], -(-last // times) + 1)
    part = F.interpolate(maps[:, :, top:bottom].float(), scale_factor=times, mode="bilinear", align_corners=False)
    return part[:, :, first - top * times : last - top * times]


def features(picture: np.ndarray, rows_of: np.ndarray | None = None) -> Iterator[tuple[slice, torch.Tensor]]:
    """What is seen around each pixel, in strips of rows; the values do not depend on how it is cut.

    Args:
        picture: uint8 (H, W, 3).
        rows_of: bool (H,), rows that are wanted; strips without one are left out. None wants all.

    Yields:
        Rows, and float32 (F, rows, W) on the CPU.
    """
    import torch
    import torch.nn.functional as F

    height, width = picture.shape[:2]
    tall, step = height + -height % _GRID, max(1, _STRIP_CLASSIFIED // width // _GRID) * _GRID
    strips = [(top, min(top + step, tall)) for top in range(0, tall, step)]

    def levels(top: int, bottom: int) -> tuple[int, list[torch.Tensor]]:
        """The first row, and the smoothed pictures of the fine scales, of some rows and what their filters see."""
        first, last = max(0, top - _HALO), min(tall, bottom + _HALO)
        rows = np.pad(picture[first : min(last, height)], ((0, max(0, last - max(height, first))), (0, -width % _GRID), (0, 0)), mode="edge")
        level, found = torch.from_numpy(rows.transpose(2, 0, 1).astype(np.float32) / 255)[None], []
        for _ in range(FINE):
            found.append(_smooth(level))
            level = F.avg_pool2d(found[-1], 2)
        return first, [*found, level]

    coarse, parts = [], []
    for top, bottom in strips:
        first, (*_, level) = levels(top, bottom)
        parts.append(level[:, :, (top - first) >> FINE : (bottom - first) >> FINE])
    level = torch.cat(parts, dim=2)
    for scale in range(FINE, SCALES):
        smooth = _smooth(level)
        coarse.append(_maps(smooth))
        if scale + 1 < SCALES:
            level = F.avg_pool2d(smooth, 2)
    for top, bottom in strips:
        rows = slice(top, min(bottom, height))
        if rows_of is not None and not rows_of[rows].any():
            continue
        first, (*fine, _) = levels(top, bottom)
        maps = [_grown(_maps(smooth), 1 << scale, top - first, bottom - first) for scale, smooth in enumerate(fine)]
        maps += [_grown(one, 1 << (FINE + index), top, bottom) for index, one in enumerate(coarse)]
        yield rows, torch.cat(maps, dim=1)[0, :, : height - top, :width]


@dataclass(frozen=True, eq=False)
class PixelClassifier:
    """What strokes have taught.

    Attributes:
        forest: a fitted ``sklearn.ensemble.ExtraTreesClassifier``; its classes are the values that were painted.
        factor: the picture is classified at one n-th of its height and width.
    """

    forest: Any
    factor: int

    @classmethod
    def fit(cls, picture: np.ndarray, painted: np.ndarray, nothing: int) -> PixelClassifier:
        """Learn from strokes.

        Args:
            picture: uint8 (H, W, 3).
            painted: integer (H, W), the class of each painted pixel.
            nothing: its value where nothing is painted.

        Raises:
            ValueError: fewer than two classes are painted.
        """
        import torch
        from sklearn.ensemble import ExtraTreesClassifier

        classes = [int(value) for value in np.unique(painted) if value != nothing]
        if len(classes) < 2:
            raise ValueError(f"At least two classes must be painted, but got {len(classes)}.")
        factor = math.ceil(math.sqrt(painted.size * max(1.0, len(classes) / _CLASSES) / _CLASSIFIED))
        small = _shrunk(picture, factor)
        draw = np.random.default_rng(_SEED)
        chosen, targets = [], []
        for value in classes:
            rows, columns = np.nonzero(painted == value)
            places = np.unique(rows // factor * small.shape[1] + columns // factor)
            chosen.append(np.sort(draw.permutation(places)[: max(1, _PAINTED // len(classes))]))
            targets.append(np.full(len(chosen[-1]), value))
        places, target = np.concatenate(chosen), np.concatenate(targets)
        wanted = np.zeros(small.shape[0], dtype=bool)
        wanted[places // small.shape[1]] = True
        inputs = np.empty((len(places), 6 * SCALES), np.float32)
        for rows, found in features(small, wanted):
            here = np.flatnonzero((places >= rows.start * small.shape[1]) & (places < rows.stop * small.shape[1]))
            inputs[here] = found.reshape(found.shape[0], -1).numpy()[:, places[here] - rows.start * small.shape[1]].T
        # A long stroke of one class does not make it likelier than a short one of another.
        forest = ExtraTreesClassifier(
            _TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=_SEED, n_jobs=torch.get_num_threads()
        )
        return cls(forest.fit(inputs, target), factor)

    def predict(self, picture: np.ndarray, report: Callable[[float], None] = lambda part: None) -> tuple[np.ndarray, np.ndarray]:
        """The class of every pixel, and how clearly it was decided.

        Args:
            picture: uint8 (H, W, 3), that which it has learnt from or one like it.
            report: told which part is done, in [0, 1].

        Returns:
            Class values uint16 (H, W), and margins uint8 (H, W): 255 times how far the probability lies above that of the runner-up.
        """
        import torch

        height, width = picture.shape[:2]
        small = _shrunk(picture, self.factor)
        table = self.forest.classes_.astype(np.uint16)
        chances = np.empty((len(table), *small.shape[:2]), np.float16)
        for rows, found in features(small):
            columns = found.reshape(found.shape[0], -1).T.contiguous().numpy()
            chances[:, rows] = self.forest.predict_proba(columns).T.reshape(len(table), -1, small.shape[1])
            report(rows.stop / small.shape[0])
        values, margins = np.empty((height, width), np.uint16), np.empty((height, width), np.uint8)
        step = self.factor * max(1, _PROBABILITIES // (len(table) * small.shape[1] * self.factor**2))
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            odds = _grown(torch.from_numpy(chances)[None], self.factor, rows.start, rows.stop)[0, :, :, :width]
            best, where = odds.topk(2, dim=0)
            values[rows] = table[where[0].numpy()]
            margins[rows] = ((best[0] - best[1]) * 255).round().byte().numpy()
        return values, margins


def _shrunk(picture: np.ndarray, factor: int) -> np.ndarray:
    """uint8 (H, W, 3) to one n-th, rounded up, of its height and width: means of squares; the last ones repeat the border."""
    if factor == 1:
        return picture
    height, width = (-(-length // factor) for length in picture.shape[:2])
    found = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP_CLASSIFIED // (width * factor**2))
    for top in range(0, height, step):
        rows = picture[top * factor : (top + step) * factor]
        rows = np.pad(rows, ((0, -rows.shape[0] % factor), (0, -rows.shape[1] % factor), (0, 0)), mode="edge")
        part = rows.reshape(-1, factor, width, factor, 3).mean((1, 3), dtype=np.float32)
        found[top : top + step] = np.rint(part)
    return found
