"""The classical ways to find regions, through scikit-image: a table of methods with the one or two numbers that matter.

Importing this module is cheap; scikit-image and scipy are imported when something is segmented.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np
from PIL import Image

from seg_demo.types import MAX_IDS

_STRIP_PIXELS = 1 << 20


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
