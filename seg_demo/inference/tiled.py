"""Full detail: a huge image at its own pixels, tile by tile, instead of shrunk to what its network takes at once.

Classes: the tiles' logits are blended, and each part of the label map is made as soon as no later tile changes it.
Objects are found tile by tile and merged. Memory follows the tile and the width of the image; only the results
themselves have the size of the image.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from seg_demo.core.errors import Message
from seg_demo.core.requests import Report
from seg_demo.core.types import Segmentation, paint, paint_confidence, semantic_segmentation
from seg_demo.masks.semantic import MeanScores, argmax_resized, probability_and_margin
from seg_demo.masks.tiling import Blender, Block, Grid, Window, grid_of, merge
from seg_demo.networks.base import STRIDE, Network

# Of a tile's overlap, the part at its border that gets no weight; as much at the other end, and it fades in between.
MARGIN = 4

# A batch → what the network says, floating, on the CPU or where it was computed, and where that was.
Forward = Callable[[torch.Tensor], tuple[Any, torch.device]]


@dataclass(frozen=True)
class Plan:
    """How an image is cut up for a network.

    Attributes:
        network: with a preprocessing that takes a tile at its own pixels.
        grid: the tiles.
        unit: tiles begin at multiples of this many pixels.
    """

    network: Network
    grid: Grid
    unit: int


def plan(network: Network, height: int, width: int) -> Plan | None:
    """The tiles for an image, or None if it is no larger than one: then the whole image has full detail already.

    Args:
        network: any.
        height: of the image, in pixels.
        width: of the image, in pixels.
    """
    network = network.for_tiles()
    rule, tile = network.preprocessing, network.tile()
    unit = rule.multiple if rule.multiple > 1 else STRIDE
    if height <= tile[0] and width <= tile[1]:
        return None
    if rule.size is None and not network.scales_tiles:
        # A long and narrow image needs no tiles that are higher than it is.
        tile = tuple(min(side, max(4, -(-length // unit)) * unit) for side, length in zip(tile, (height, width), strict=True))
        network = _at_own_pixels(network, tile)
    unit = math.gcd(unit, *tile)
    while 4 * unit > min(tile) and unit % 2 == 0:
        unit //= 2
    overlap = max(unit, min(tile) // (4 * unit) * unit)
    return Plan(network, grid_of(height, width, tile, overlap, unit), unit)


def _at_own_pixels(network: Network, tile: tuple[int, int]) -> Network:
    """The network with a preprocessing that does not resize a tile."""
    rule = network.preprocessing
    if rule.fitted(*tile) == tile:
        return network
    return replace(network, preprocessing=replace(rule, shortest_side=None, longest_side=max(tile)))


def run(
    plan: Plan, forward: Forward, image: np.ndarray, confidence: bool = False, report: Report | None = None
) -> Segmentation:
    """Segment an image tile by tile.

    Args:
        plan: for the network and the image.
        forward: of the network.
        image: uint8 (H, W, 3), RGB.
        confidence: also how sure the network is of every pixel.
        report: called after each tile with the fraction done and a few words.

    Returns:
        The result; ``device`` is where the last tile was computed.
    """
    work = _merged if plan.network.task.objects else _blended
    return work(plan, _Tiles(plan, forward, image, report), image.shape[:2], confidence)


class _Tiles:
    """The network's answers, tile by tile."""

    def __init__(self, plan: Plan, forward: Forward, image: np.ndarray, report: Report | None) -> None:
        self._plan, self._forward, self._image, self._report = plan, forward, image, report
        self.device = "cpu"

    def __iter__(self) -> Iterator[tuple[Window, Any]]:
        for done, window in enumerate(self._plan.grid, start=1):
            raw, device = self._forward(self._plan.network.preprocess(self._crop(window)))
            self.device = str(device)
            yield window, raw
            if self._report is not None:
                count = len(self._plan.grid)
                self._report(done / count, Message("progress.tile", done=done, count=count))

    def _crop(self, window: Window) -> np.ndarray:
        """A tile's pixels; what lies outside the image mirrors it, as the padding of a whole image does.

        For objects it has the mean colour, in which there is nothing to detect: a mirrored object would be one more.
        """
        part = self._image[window.top : window.bottom, window.left : window.right]
        missing = window.bottom - window.top - part.shape[0], window.right - window.left - part.shape[1]
        if not any(missing):
            return part
        if not self._plan.network.task.objects:
            return np.pad(part, ((0, missing[0]), (0, missing[1]), (0, 0)), mode="reflect")
        color = np.rint(np.array(self._plan.network.preprocessing.mean) * 255).astype(np.uint8)
        tile = np.broadcast_to(color, (window.bottom - window.top, window.right - window.left, 3)).copy()
        tile[: part.shape[0], : part.shape[1]] = part
        return tile


def _blended(plan: Plan, tiles: _Tiles, size: tuple[int, int], confidence: bool) -> Segmentation:
    height, width = size
    labels = plan.network.labels
    label_map = np.zeros(size, dtype=np.uint8 if len(labels) <= 255 else np.uint16)
    sure = np.zeros((2, *size), dtype=np.uint8) if confidence else None
    scores, blender, factor = MeanScores(), None, 1
    for window, raw in tiles:
        logits, factor = _gridded(plan.network.logits(raw), plan)
        if blender is None:
            blender = Blender(plan.grid, factor, plan.grid.overlap // MARGIN)
        block = blender.add(window, logits)
        rows, columns = (range(*bounds) for bounds in (block.rows, block.columns))
        if not rows or not columns:
            continue
        _write(label_map, argmax_resized, block, factor)
        if sure is not None:
            _write(sure, probability_and_margin, block, factor)
        scores.add(block.inner[:, : math.ceil(height / factor) - rows.start, : math.ceil(width / factor) - columns.start])
    result = semantic_segmentation(label_map, labels, scores.of(range(len(labels))), *(sure if confidence else (None, None)))
    return replace(result, device=tiles.device)


def _gridded(logits: torch.Tensor, plan: Plan) -> tuple[torch.Tensor, int]:
    """Logits (C, h, w) of a tile and how many pixels their points are apart; resized to the pixels if that is no whole number."""
    tile = plan.grid.tile
    factor = tile[0] // logits.shape[1]
    if (logits.shape[1] * factor, logits.shape[2] * factor) == tile and plan.unit % factor == 0:
        return logits, factor
    return F.interpolate(logits[None], tile, mode="bilinear", align_corners=False)[0], 1


def _write(target: np.ndarray, resize: Callable[[torch.Tensor, int, int], np.ndarray], block: Block, factor: int) -> None:
    """Write the pixels (..., H, W) of a block, resized with the points around it, so that blocks meet as in a resize of everything."""
    _, tall, wide = block.logits.shape
    pixels = resize(block.logits, tall * factor, wide * factor)
    above, left = (points * factor for points in block.context)
    (top, bottom), (first, last) = ((a * factor, b * factor) for a, b in (block.rows, block.columns))
    window = target[..., top:bottom, first:last]
    window[:] = pixels[..., above : above + window.shape[-2], left : left + window.shape[-1]]


def _merged(plan: Plan, tiles: _Tiles, size: tuple[int, int], confidence: bool) -> Segmentation:
    height, width = size
    found, limits = [], []
    for window, raw in tiles:
        inside = min(window.bottom, height) - window.top, min(window.right, width) - window.left
        tile = window.bottom - window.top, window.right - window.left
        result = plan.network.postprocess_tile(raw, tile, inside, confidence)
        found.append((window, [segment.moved(window.left, window.top) for segment in result.segments]))
        limits += [result.limit] if result.limit is not None else []
    segments = merge(found, height, width)
    id_map = paint(segments, height, width)
    sure = paint_confidence(id_map, segments, segments) if confidence else None
    return Segmentation(
        plan.network.task.name, height, width, plan.network.labels, id_map, segments, device=tiles.device, confidence=sure,
        # The tile that may lack the surest object speaks for all.
        limit=max(limits, key=lambda limit: limit.score, default=None),
    )  # fmt: skip
