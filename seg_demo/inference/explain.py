"""What a decision rests on: parts of the picture are blurred, one after another, and the model is asked again.

Occlusion (Zeiler and Fergus 2014, arXiv 1311.2901) by blur instead of grey (Fong and Vedaldi 2017, arXiv 1704.03296). Objects are compared
as in D-RISE (Petsiuk et al. 2021, arXiv 2006.03204): an object that is found then counts by its score times its IoU with the one that
is explained. Nothing is asked of a network but its answers, so that this holds for every one, compiled or not.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from scipy import ndimage

from seg_demo.core import TASKS, BadRequestError, Box, Message, Segmentation, tight_box

if TYPE_CHECKING:
    from seg_demo.core import Report
    from seg_demo.networks.base import Network

# Parts along the longer side of what is tried part by part, and the least pixels of the network's between the middles of two.
PARTS, LEAST_STEP = 6, 4
# The surroundings of a thing that are tried with it, as a share of its longer side to every side.
ROOM = 0.75
# How wide a part is, and how strongly it is blurred, in steps: the standard deviations of two Gaussians.
WIDTH, BLUR = 0.8, 2.0
# An answer of less than this to the picture as it is leaves nothing to explain.
LEAST = 0.02


@dataclass(frozen=True)
class Explanation:
    """What the answer at a pixel rests on.

    Attributes:
        at: (x, y), the pixel.
        label: name of the class there.
        frame: (x0, y0, x1, y1), half-open pixels of the upload: the thing and its surroundings, which were tried part by part.
        values: float32 (rows, columns) over the frame, in [0, 1]: what share of the answer is lost where the part there is blurred, beyond what
            is lost with the least of all parts.
        beyond: the share in [0, 1] that is lost where everything beyond the frame is blurred; None where that is nothing.
        score: the answer to the picture as it is, in [0, 1]: mean probability of the class, or of an object its score times its IoU with itself
            as the result has it.
    """

    at: tuple[int, int]
    label: str
    frame: Box
    values: np.ndarray
    beyond: float | None
    score: float


def thing_at(result: Segmentation, at: tuple[int, int]) -> tuple[np.ndarray, int]:
    """What a result has at a pixel.

    Args:
        result: not of regions.
        at: (x, y), a pixel of the upload.

    Returns:
        bool (H, W) of the object there, or of the connected pixels of the class there; and its label id.

    Raises:
        BadRequestError: a pixel beyond the picture, or one in which there is no object.
    """
    x, y = at
    if not (0 <= x < result.width and 0 <= y < result.height):
        raise BadRequestError("explain.outside", x=x, y=y, width=result.width, height=result.height)
    number = int(result.id_map[y, x])
    if TASKS[result.task].classes:
        pieces, _ = ndimage.label(result.id_map == number, np.ones((3, 3)))
        return pieces == pieces[y, x], number
    if number == 0:
        raise BadRequestError("explain.nothing_there", x=x, y=y)
    index = result.ids.index(number)
    mask, (x0, y0, x1, y1) = np.zeros((result.height, result.width), bool), result.segments[index].box
    mask[y0:y1, x0:x1] = result.mask_of(index)
    return mask, result.segments[index].label_id


def explain(
    ask: Callable[[tuple[int, int] | None], Callable[[np.ndarray], Segmentation]],
    network: Network,
    image: np.ndarray,
    result: Segmentation,
    at: tuple[int, int],
    report: Report | None = None,
) -> Explanation:
    """What the answer of a network rests on, in what it saw: the picture as small as that; of a result in full detail, a tile around the thing.

    A network that takes second looks is asked for that one alone which gave the answer, of a tile for the one that has more of the thing.

    Args:
        ask: (height, width) that the network sees, None for what it would, to what :func:`take_apart` runs.
        network: that answers.
        image: uint8 (H, W, 3) or other channels, as it takes them.
        result: of them.
        at, report: as for :func:`take_apart`.

    Raises:
        BadRequestError: the result is of a picture of another size; and as :func:`thing_at` and :func:`take_apart`.
    """
    if image.shape[:2] != (result.height, result.width):
        height, width = image.shape[:2]
        raise BadRequestError("explain.other_picture", width=result.width, height=result.height, other_width=width, other_height=height)
    at = math.floor(at[0]), math.floor(at[1])
    thing = thing_at(result, at)
    window, shown, run = (0, 0, result.width, result.height), image, ask(None)
    if result.seen is None:
        window = x0, y0, x1, y1 = _tile_around(thing[0], network.tile())
        shown = np.ascontiguousarray(image[y0:y1, x0:x1])
        if network.enlarged > 1:
            looks = run, ask((round(network.enlarged * (y1 - y0)), round(network.enlarged * (x1 - x0))))
            run = max(looks, key=lambda look: _answer(look(shown), thing[0][y0:y1, x0:x1], thing[1]))
    else:
        if network.enlarged > 1:
            network, run = network.seeing(result.seen), ask(result.seen)
        if result.seen[0] * result.seen[1] < result.width * result.height:
            seen = network.pixels_as_seen(image)
            # Of other channels that would be numbers on another scale.
            shown = seen if seen.dtype == image.dtype else image
    return take_apart(run, shown, window, thing, at, report)


def take_apart(
    run: Callable[[np.ndarray], Segmentation],
    image: np.ndarray,
    window: Box,
    thing: tuple[np.ndarray, int],
    at: tuple[int, int],
    report: Report | None = None,
) -> Explanation:
    """Blur parts of a picture one after another, and see what becomes of a thing in it.

    Args:
        run: the model: pixels in, a result with every candidate at their size out, with confidence where it has classes.
        image: (h, w, C), uint8 or another type: what the model is shown, a part of the upload or a smaller copy of it.
        window: (x0, y0, x1, y1), half-open: which pixels of the upload these are.
        thing: of :func:`thing_at`.
        at: as there.
        report: called with the fraction done and a few words after each part.

    Raises:
        BadRequestError: the model does not find the thing in what it is shown; or the picture is too small to have parts.
    """
    x0, y0, x1, y1 = window
    mask, label_id = thing
    height, width = image.shape[:2]
    rows, columns = (((np.arange(few) + 0.5) * many / few).astype(int) for few, many in ((height, y1 - y0), (width, x1 - x0)))
    mask = mask[y0:y1, x0:x1][np.ix_(rows, columns)]
    box = tight_box(mask)
    if box is None:
        raise BadRequestError("explain.too_small")
    frame = _with_room(box, (height, width))
    step = max(LEAST_STEP, max(frame[2] - frame[0], frame[3] - frame[1]) / PARTS)
    before = run(image)
    whole = _answer(before, mask, label_id)
    label = before.labels.names[label_id]
    if whole < LEAST:
        raise BadRequestError("explain.not_found_again", label=label)
    down, across = _parts(frame[1], frame[3], step, height), _parts(frame[0], frame[2], step, width)
    blurred = _blurred(image, BLUR * step)

    def lost_with(part: np.ndarray) -> float:
        """The share of the answer, in [0, 1], that is lost where a part is blurred."""
        return min(1.0, max(0.0, 1 - _answer(run(_mixed(image, blurred, part)), mask, label_id) / whole))

    count, drops = len(down) * len(across) + 1, np.zeros((len(down), len(across)), np.float32)
    for turn, (row, column) in enumerate(np.ndindex(drops.shape)):
        if report is not None:
            report(turn / count, Message("progress.explaining", done=turn + 1, count=count))
        drops[row, column] = lost_with(down[row][:, None] * across[column])
    # A detector's boxes and scores move a little whatever is changed.
    drops -= drops.min()
    tall, wide = down[:, frame[1] : frame[3]], across[:, frame[0] : frame[2]]
    values = tall.T @ drops @ wide / np.maximum(np.outer(tall.sum(0), wide.sum(0)), 1e-6)
    beyond = None
    if frame != (0, 0, width, height):
        outside = np.ones((height, width), np.float32)
        outside[frame[1] : frame[3], frame[0] : frame[2]] = 0
        beyond = lost_with(ndimage.gaussian_filter(outside, step / 4) * outside)
    scale_x, scale_y = (x1 - x0) / width, (y1 - y0) / height
    shown = (
        x0 + round(frame[0] * scale_x), y0 + round(frame[1] * scale_y),
        x0 + max(1, round(frame[2] * scale_x)), y0 + max(1, round(frame[3] * scale_y)),
    )  # fmt: skip
    return Explanation(at, label, shown, values.astype(np.float32), beyond, whole)


def _answer(result: Segmentation, mask: np.ndarray, label_id: int) -> float:
    """How much of a thing a result has, in [0, 1]."""
    if TASKS[result.task].classes:
        sure = result.confidence[mask].astype(np.float32) / 255
        # Of a pixel of another class no more is known than what that one leaves.
        return float(np.where(result.id_map[mask] == label_id, sure, np.minimum(sure, 1 - sure)).mean())
    area, best = np.count_nonzero(mask), 0.0
    for index, segment in enumerate(result.segments):
        if segment.label_id != label_id:
            continue
        left, top, right, bottom = segment.box
        found = result.mask_of(index)
        both = np.count_nonzero(found & mask[top:bottom, left:right])
        score = 1.0 if segment.score is None else segment.score
        best = max(best, score * both / max(1, area + np.count_nonzero(found) - both))
    return best


def _with_room(box: Box, size: tuple[int, int]) -> Box:
    """A box and its surroundings within a picture of (height, width)."""
    room = max(2 * LEAST_STEP, round(ROOM * max(box[2] - box[0], box[3] - box[1])))
    return max(0, box[0] - room), max(0, box[1] - room), min(size[1], box[2] + room), min(size[0], box[3] + room)


def _parts(low: int, high: int, step: float, length: int) -> np.ndarray:
    """Along a side of so many pixels, Gaussian windows float32 (windows, length) whose middles lie a step apart from low to high."""
    count = max(1, round((high - low) / step))
    middles = low + (np.arange(count) + 0.5) * (high - low) / count
    places = np.arange(length) + 0.5
    return np.exp(-0.5 * ((places - middles[:, None]) / (WIDTH * step)) ** 2).astype(np.float32)


def _blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    """A picture (h, w, C) without what is smaller than sigma pixels: float32."""
    return np.stack([ndimage.gaussian_filter(image[..., channel].astype(np.float32), sigma, mode="nearest") for channel in range(image.shape[2])], -1)


def _mixed(image: np.ndarray, blurred: np.ndarray, part: np.ndarray) -> np.ndarray:
    """A picture whose pixels are blurred as far as a map (h, w) in [0, 1] says, of its own type."""
    mixed = image + part[..., None] * (blurred - image)
    return (np.rint(mixed) if np.issubdtype(image.dtype, np.integer) else mixed).astype(image.dtype)


def _tile_around(mask: np.ndarray, size: tuple[int, int]) -> Box:
    """(x0, y0, x1, y1) of a tile of (height, width) pixels, or of all there is, with the middle of a mask in its own."""
    box = tight_box(mask)
    starts = [
        min(max(0, (box[axis] + box[axis + 2]) // 2 - side // 2), max(0, length - side))
        for axis, side, length in ((0, size[1], mask.shape[1]), (1, size[0], mask.shape[0]))
    ]
    return *starts, min(mask.shape[1], starts[0] + size[1]), min(mask.shape[0], starts[1] + size[0])
