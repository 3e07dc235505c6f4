"""A raster too large for memory in full detail: as :mod:`seg_demo.inference.tiled` does it of a picture, but the picture is read, and its
labels leave, some rows at a time.

The labels are those of the picture in memory, one by one: the same tiles, blended in the same order. Only classes of pixels leave like
this; objects that lie in many tiles are known at the end.

Most of what a raster takes then are libraries: ``import torch`` some 280 MB, transformers and torchvision 150 more (they ask for torch's own
compiler). So a network can be *frozen*: its graph on the disk and a few numbers are all that tiles need of it, and another process computes
them with torch and the engine alone.
"""

from __future__ import annotations

import gc
import logging
import mmap
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from seg_demo.core import BadCheckpointError, requests
from seg_demo.core.sandbox import release
from seg_demo.inference import openvino
from seg_demo.inference.tiled import Block, Classes, Forward, Grid, Plan, Tiles, grid_of, plan, write
from seg_demo.masks.semantic import MeanScores, argmax_resized
from seg_demo.networks.base import Network
from seg_demo.networks.checkpoint import UNFAMILIAR

if TYPE_CHECKING:
    from seg_demo.core import LabelSet, ModelSpec, Options, Report, Task
    from seg_demo.inference.engine import Engine
    from seg_demo.inputs.scientific import Raster

_log = logging.getLogger(__name__)

# Number of a band, its first row of pixels, labels uint8 or uint16 (h, W), and of :attr:`MeanScores.parts`.
Band = Callable[[int, int, np.ndarray, np.ndarray], object]

# Tiles after which memory is given back, which takes as long as a third of one.
_RELEASED = 64
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
    released = 0
    for number, (window, raw) in enumerate(tiles):
        if not number:
            settle(release)
            gc.collect()
        rows.add(window, plan.network.logits(raw))
        if not number or number - released >= _RELEASED:
            release()
            released = number
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


@dataclass(frozen=True, eq=False)
class Frozen:
    """A network of classes of pixels without its library, for a process of rasters alone: in place of a :class:`seg_demo.inference.model.Model`
    for :func:`seg_demo.outputs.rasters.segment`, and of a network for tiles. It can be pickled.

    Attributes:
        spec: of the model.
        labels: the classes.
        task: what it answers.
        tile: (rows, columns) in pixels.
        overlap: of neighbours, in pixels.
        unit: tiles begin at multiples of so many pixels.
        values: float32 (C, 256), what a byte of each of the network's channels becomes in a tile, which is not resized.
        order: of the picture's channels.
        graph: folder of :func:`seg_demo.inference.openvino.stored_graph`.
        place: sizes of the graph's input, -1 on open axes.
        compiler: streams, precision, and whether outputs have their channels last.
        example: float32 (1, C, h, w).
        expected: eager torch's answer to it: logits, and the statistics of the encoder where there is a familiarity.
        familiarity: of the network, or None.
        compiled: the graph, once it is :meth:`opened`; nothing is expected of it any more then.
    """

    spec: ModelSpec
    labels: LabelSet
    task: Task
    tile: tuple[int, int]
    overlap: int
    unit: int
    values: np.ndarray
    order: tuple[int, ...]
    graph: Path
    place: tuple[int, ...]
    compiler: tuple[int, str, bool]
    example: np.ndarray
    expected: tuple[np.ndarray, ...]
    familiarity: Any
    compiled: Callable[[torch.Tensor], tuple[torch.Tensor, ...]] | None = None

    # Channels that files are opened with: what a person sees.
    samples = None

    def opened(self) -> Frozen:
        """The same with its graph compiled in this process.

        Raises:
            DisagreementError: it computes something else here.
            RuntimeError: it cannot be read or compiled.
        """
        streams, precision, last = self.compiler
        compiled = openvino.compile(openvino.read(self.graph / "graph.xml"), list(self.place), streams, self.graph, precision, last)
        expected = tuple(map(torch.from_numpy, self.expected))
        openvino.agree(compiled(torch.from_numpy(self.example)), expected, openvino.TOLERANCE[precision])
        return replace(self, compiled=compiled, example=self.example[:0], expected=())

    def takes(self, raster: Raster) -> bool:
        """Whether a raster is cut into the tiles that were looked at, and is seen as a person sees it."""
        tall, wide = self.tile
        larger = raster.height >= tall and raster.width >= wide and (raster.height, raster.width) != self.tile
        return larger and len(raster.view.channels) <= 3

    def _plan(self, raster: Raster) -> Plan:
        return Plan(self, grid_of(raster.height, raster.width, self.tile, self.overlap, self.unit), self.unit)

    def bands(self, raster: Raster, options: Options) -> int:
        """As :meth:`seg_demo.inference.model.Model.bands`, of a raster that it :meth:`takes`."""
        return len(self._plan(raster).grid.tops)

    def run_rows(self, raster: Raster, options: Options, leave: Band, begin: int = 0, report: Report | None = None) -> tuple[str, bool | None, tuple[str, ...]]:
        """As :meth:`seg_demo.inference.model.Model.run_rows`."""
        seen: list[np.ndarray] = []

        def forward(batch: torch.Tensor) -> tuple[torch.Tensor, torch.device]:
            requests.check()
            raw, *statistics = self.compiled(batch)
            seen.extend(found[0].numpy() for found in statistics)
            if not bool(torch.isfinite(raw.sum()) or torch.isfinite(raw).all()):
                raise BadCheckpointError("models.invalid_numbers")
            return raw, torch.device("cpu")

        with torch.inference_mode():
            device = run(self._plan(raster), forward, raster, leave, report, begin)
        familiar = None if self.familiarity is None else self.familiarity.knows(seen)
        return device, familiar, (UNFAMILIAR,) if familiar is False else ()

    def preprocess(self, image: np.ndarray) -> torch.Tensor:
        """As :meth:`seg_demo.networks.base.Network.preprocess`, of a tile."""
        batch = np.empty((1, len(self.values), *image.shape[:2]), dtype=np.float32)
        for channel, (values, place) in enumerate(zip(self.values, self.order, strict=True)):
            np.take(values, image[..., place], out=batch[0, channel])
        return torch.from_numpy(batch)

    def logits(self, raw: torch.Tensor) -> torch.Tensor:
        """As :meth:`seg_demo.networks.base.Network.logits`."""
        return raw[0]


def freeze(network: Network, engine: Engine | None, spec: ModelSpec) -> Frozen | None:
    """What tiles need of a network.

    Args:
        network: on the CPU, in eval mode.
        engine: that it is served with.
        spec: of the model.

    Returns:
        None where they need the network itself: it answers no logits of pixels, no engine computes it, a tile's pixels do not become the batch's
        one by one, or its graph cannot be made or written.
    """
    part, task = getattr(engine, "part", None), network.task
    if part is None or not task.classes or network.preprocessing.samples is not None or type(network).logits is not Network.logits:
        return None
    side = max(network.for_tiles().tile())
    cut = plan(network, 4 * side, 4 * side)
    image = np.random.default_rng(0).integers(0, 256, (*cut.grid.tile, 3), dtype=np.uint8)
    batch = cut.network.preprocess(image)
    found = _values(image, batch.numpy())
    if found is None:
        return None
    # Whatever looks at a picture as a whole would give a dark one other numbers.
    frozen = Frozen(
        spec, network.labels, task, cut.grid.tile, cut.grid.overlap, cut.unit, *found, Path(), part.place(batch),
        (part.compiler.streams, part.compiler.precision, part.compiler.channels_last), batch.numpy(), (), network.familiarity,
    )  # fmt: skip
    if not torch.equal(frozen.preprocess(image // 3), cut.network.preprocess(image // 3)):
        return None
    try:
        with torch.inference_mode(False), torch.no_grad():
            batch = batch.clone()
            expected = part.module(batch)
            release()
            _, folder = openvino.stored_graph(part.module, batch, part.about)
    except Exception as error:  # whatever tracing and converting raise
        _log.info("%s: its graph cannot be had apart from it (%s: %s).", part.name, type(error).__name__, error)
        return None
    many = 2 if network.familiarity is not None else 1
    if folder is None or len(expected) != many or expected[0].dim() != 4 or not all(bool(torch.isfinite(output).all()) for output in expected):
        return None
    return replace(frozen, graph=folder, expected=tuple(output.detach().numpy() for output in expected))


def _values(image: np.ndarray, batch: np.ndarray) -> tuple[np.ndarray, tuple[int, ...]] | None:
    """What each byte of a picture (h, w, 3) has become in a batch float32 (1, C, h, w), channel by channel, and of which channel of the picture; None if
    it has become anything else."""
    if batch.dtype != np.float32 or batch.shape[2:] != image.shape[:2]:
        return None
    tables, order = np.zeros((batch.shape[1], 256), dtype=np.float32), []
    for table, plane in zip(tables, batch[0], strict=True):
        for channel in range(3):
            table[image[..., channel]] = plane
            if np.array_equal(table[image[..., channel]], plane):
                order.append(channel)
                break
        else:
            return None
    return tables, tuple(order)
