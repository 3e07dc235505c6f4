"""A segmentation as pictures: the overlay, and id maps for people's tools and for the viewer."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from seg_demo.outputs.png import encode, encode_rgb
from seg_demo.types import Segmentation, distinct_colors

_STRIP_PIXELS = 1 << 18


def colors_of(segmentation: Segmentation) -> np.ndarray:
    """The colour of every id of the id map.

    Args:
        segmentation: any result.

    Returns:
        uint8 RGB; semantic: (K, 3), the colours of the classes; otherwise (n + 1, 3), black for id 0, then one colour per
        object that differs from its neighbours in the list.
    """
    if segmentation.task == "semantic":
        return segmentation.labels.colors
    return distinct_colors(len(segmentation.segments) + 1, background=0)


def _table(segmentation: Segmentation) -> tuple[np.ndarray, np.ndarray]:
    """Colour, uint16 (N, 3), and whether it is painted, bool (N,), for every value that the id map's dtype can hold."""
    size = np.iinfo(segmentation.id_map.dtype).max + 1
    known = colors_of(segmentation)[:size]
    colors = np.zeros((size, 3), dtype=np.uint16)
    colors[: len(known)] = known
    painted = np.zeros(size, dtype=bool)
    painted[: len(known)] = True
    nothing = segmentation.labels.background if segmentation.task == "semantic" else 0
    if nothing is not None:
        painted[nothing] = False
    return colors, painted


def _edges(id_map: np.ndarray) -> np.ndarray:
    """bool (H, W): pixels with another id to the left, right, above or below."""
    edges = np.zeros(id_map.shape, dtype=bool)
    across = id_map[:, 1:] != id_map[:, :-1]
    edges[:, 1:] |= across
    edges[:, :-1] |= across
    down = id_map[1:] != id_map[:-1]
    edges[1:] |= down
    edges[:-1] |= down
    return edges


def overlay(image: np.ndarray, segmentation: Segmentation, opacity: float = 0.5, outlines: bool = True) -> np.ndarray:
    """The image with every segment in its colour; the background class and pixels without an object stay as they are.

    One look-up per pixel in the id map, whatever the number of segments, in strips of rows.

    Args:
        image: uint8 (H, W, 3), the upright original.
        segmentation: of that image.
        opacity: 0 (only the image) to 1 (only the colours).
        outlines: draw the outermost pixels of every segment in its full colour.

    Returns:
        uint8 (H, W, 3), a new array.

    Raises:
        ValueError: an image of another size or type, or an opacity outside [0, 1].
    """
    result = np.empty(image.shape, dtype=np.uint8)
    top = 0
    for strip in _overlay_strips(image, segmentation, opacity, outlines):
        result[top : top + len(strip)] = strip
        top += len(strip)
    return result


def overlay_png(image: np.ndarray, segmentation: Segmentation) -> bytes:
    """The overlay as a PNG, written strip by strip: it never takes the memory of a second picture.

    Args:
        image: as for :func:`overlay`.
        segmentation: as for :func:`overlay`.
    """
    return encode_rgb(segmentation.height, segmentation.width, _overlay_strips(image, segmentation, 0.5, True))


def _overlay_strips(image: np.ndarray, segmentation: Segmentation, opacity: float, outlines: bool) -> Iterator[np.ndarray]:
    """The overlay from top to bottom, uint8 (rows, W, 3) at a time; arguments and errors as for :func:`overlay`."""
    height, width = segmentation.height, segmentation.width
    if image.dtype != np.uint8 or image.shape != (height, width, 3):
        raise ValueError(f"image must be uint8 of shape ({height}, {width}, 3), but got {image.dtype} {image.shape}.")
    if not 0.0 <= opacity <= 1.0:
        raise ValueError(f"opacity must be in [0, 1], but got {opacity}.")
    alpha = round(256 * opacity)
    colors, painted = _table(segmentation)
    keep = np.where(painted, 256 - alpha, 256).astype(np.uint16)
    # Half a step is added so that the shift rounds; an unpainted pixel keeps its value exactly.
    add = np.where(painted[:, None], colors * alpha + 128, 0).astype(np.uint16)
    rows = max(1, _STRIP_PIXELS // width)
    for top in range(0, height, rows):
        bottom = min(top + rows, height)
        ids = segmentation.id_map[top:bottom]
        mixed = image[top:bottom] * keep[ids][..., None]
        mixed += np.take(add, ids, axis=0)
        strip = (mixed >> 8).astype(np.uint8)
        if outlines:
            # A row more on each side, so that outlines do not depend on where strips meet.
            first = max(top - 1, 0)
            edge = _edges(segmentation.id_map[first : bottom + 1])[top - first :][: bottom - top] & painted[ids]
            strip[edge] = colors[ids[edge]]
        yield strip


def id_map_png(segmentation: Segmentation) -> bytes:
    """The mask file: the id map without loss; a palette PNG in the colours of the segments for up to 256 ids, else 16-bit
    grey.

    Args:
        segmentation: any result.

    Returns:
        The bytes of a PNG whose stored values are the ids.
    """
    colors = colors_of(segmentation)
    if len(colors) <= 256 and segmentation.id_map.max() < 256:
        # Ids without a colour (a class to be ignored) need an entry all the same.
        missing = max(0, int(segmentation.id_map.max()) + 1 - len(colors))
        palette = np.concatenate([colors, np.zeros((missing, 3), dtype=np.uint8)])
        return encode(segmentation.id_map.astype(np.uint8, copy=False), palette)
    return encode(segmentation.id_map.astype(np.uint16, copy=False))


def viewer_id_png(segmentation: Segmentation) -> bytes:
    """The id map for a browser's canvas, which has 8 bits per channel and turns palettes into colours.

    Args:
        segmentation: any result.

    Returns:
        The bytes of an opaque RGB PNG: id = R + 256 * G, B is 0.
    """
    split = np.zeros((segmentation.height, segmentation.width, 3), dtype=np.uint8)
    split[..., 0] = segmentation.id_map & 255
    if segmentation.id_map.dtype == np.uint16:
        split[..., 1] = segmentation.id_map >> 8
    return encode(split)
