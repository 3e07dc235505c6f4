"""A raster too large for memory in full detail: as :mod:`seg_demo.inference.tiled` does it of a picture, but the picture is read, and its
labels leave, some rows at a time.

The labels are those of the picture in memory, one by one: the same tiles, blended in the same order. Only classes of pixels leave like
this; objects that lie in many tiles are known at the end.
"""

from __future__ import annotations

import gc
import mmap
import tempfile
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import torch

from seg_demo.core.requests import Report
from seg_demo.core.sandbox import release
from seg_demo.inference.tiled import Block, Classes, Forward, Grid, Plan, Tiles, write
from seg_demo.masks.semantic import MeanScores, argmax_resized

# Number of a band, its first row of pixels, labels uint8 or uint16 (h, W), and of :attr:`MeanScores.parts`.
Band = Callable[[int, int, np.ndarray, np.ndarray], object]

# Bytes of a strip from which on it lies on the disk.
_LARGE = 16 << 20


class Rows(Classes):
    """The label map of blended tiles, a band of full rows for each row of tiles.

    Args:
        plan: for the network and the raster.
        size: of the raster.
        leave: gets every band once no later tile changes it.
        first: row of tiles that comes first.
        begin: of the first band that leaves, those before it being there already.
    """

    def __init__(self, plan: Plan, size: tuple[int, int], leave: Band, first: int, begin: int) -> None:
        super().__init__(plan, size, False, 0, first)
        self._leave, self._begin, self._number, self._top = leave, begin, first, 0
        self._strip: mmap.mmap | None = None

    def zeros(self, shape: tuple[int, int, int], device: torch.device) -> torch.Tensor:
        """The blender's strip, which is as wide as the raster and has all classes: on the disk where it is large."""
        classes, height, width = shape
        size = 4 * classes * height * width
        if device.type != "cpu" or size < _LARGE or not hasattr(mmap, "MADV_DONTNEED"):
            return torch.zeros(shape, device=device)
        with tempfile.TemporaryFile() as file:
            file.truncate(size)
            self._strip = mmap.mmap(file.fileno(), size)
        # What a tile sees of it lies together.
        return torch.frombuffer(self._strip, dtype=torch.float32).view(width, classes, height).permute(1, 2, 0)

    def place(self, block: Block, factor: int) -> None:
        """Write the labels of a block into its band; the last one of a row of tiles completes it."""
        if self._strip is not None:
            self._strip.madvise(mmap.MADV_DONTNEED)  # it stays on the disk
        (height, width), (above, below) = self._size, block.rows
        if not block.columns[0]:
            self._top = above * factor
            self.label_map = np.zeros((min(below * factor, height) - self._top, width), dtype=self.label_map.dtype)
        write(self.label_map, argmax_resized, replace(block, rows=(0, below - above)), factor)

    def complete(self) -> None:
        """A row of tiles has come."""
        if self._number >= self._begin:
            self._leave(self._number, self._top, self.label_map, self.scores.parts)
        self._number, self.scores = self._number + 1, MeanScores()


def run(
    plan: Plan, forward: Forward, raster: np.ndarray, leave: Band, report: Report | None = None, begin: int = 0, settle: Callable[[Callable[[], object]], object] = lambda idle: None
) -> str:
    """Segment a raster tile by tile.

    Args:
        plan: for the network, which gives classes of pixels, and the raster.
        forward: of the network.
        raster: what has the ``shape`` of an array (H, W, 3) and gives parts of it, top down.
        leave: gets bands of labels, one for each row of tiles, in their order.
        report: called after each tile with the fraction done and a few words.
        begin: bands that there are already.
        settle: called after the first tile: waits until the network is compiled, and meanwhile calls what it is given. Another tile by eager torch
            would save no time, and take memory.

    Returns:
        Where the last tile was computed.
    """
    first = _first(plan.grid, plan.unit, begin)
    tiles, rows = Tiles(plan, forward, raster, report, first), Rows(plan, raster.shape[:2], leave, first, begin)
    release()  # of what loading took, before the first tile takes more
    for number, (window, raw) in enumerate(tiles):
        if not number:
            settle(release)
            gc.collect()
        rows.add(window, plan.network.logits(raw))
        if not number or window.column == len(plan.grid.lefts) - 1:
            release()
        if window.column == len(plan.grid.lefts) - 1:
            rows.complete()
    return tiles.device


def _first(grid: Grid, unit: int, begin: int) -> int:
    """The first row of tiles that has a part in a band: one fades into the next around the middle of what both see."""
    middles = [(one + grid.tile[0] + other) // 2 for one, other in zip(grid.tops, grid.tops[1:], strict=False)]
    if not begin:
        return 0
    needed = middles[begin - 1] - grid.overlap // 2 - 2 * unit
    return next(row for row, middle in enumerate(middles) if middle + grid.overlap // 2 > needed)
