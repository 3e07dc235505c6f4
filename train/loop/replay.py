"""Replay: some crops of every epoch are of the built-in data, so that a network that was trained on it does not forget.

Experience replay against catastrophic forgetting (Robins 1995; Rolnick et al. 2019), with the simplest memory there is: the
built-in data is rendered from a seed, so nothing has to be kept.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from seg_demo.types import LabelSet, ModelSpec
from train.config import ConfigError
from train.data.cells import CLASS_NAMES, render
from train.data.index import CELLS_SIZE, Dataset
from train.data.objects import as_objects
from train.data.sample import Sample
from train.loop.batches import CropDataset, Key

if TYPE_CHECKING:
    from train.prepared import Prepared

# Renders that a run sees in turn; each is drawn when it is first needed, and kept.
POOL = 128


def replay_count(share: float, images: int, dataset: Dataset, base: ModelSpec | None) -> int:
    """How many built-in images join the training images of an epoch.

    Args:
        share: of the crops that are built-in ones, in [0, 0.9].
        images: of the data itself.
        dataset: whose classes the built-in ones must fit.
        base: what the run starts from.

    Raises:
        ConfigError: the data has no class of the built-in one's objects.
    """
    if share == 0:
        return 0
    if dataset.source == "cells":
        raise ConfigError("--replay mixes the built-in data into other data, but --data is the built-in data. Leave it out.")
    if cell_of(dataset.labels, base) is None:
        names = ", ".join(dataset.labels.names)
        raise ConfigError(
            f"--replay {share:g} mixes in built-in images of the class 'cell', but the data has {names}. Name its class "
            "'cell' if that is what it shows, or leave --replay out."
        )
    return max(1, round(share / (1 - share) * images))


def cell_of(labels: LabelSet, base: ModelSpec | None) -> int | None:
    """Which class of the data the built-in cells are: that of this name, else the only thing where the base is a bundled one.

    The latter is how such a base's head is handed on (:func:`train.start.in_words_of`).

    Args:
        labels: of the data.
        base: what the run starts from.
    """
    named = (index for index, name in enumerate(labels.names) if name.strip().casefold() == "cell")
    things = [index for index in range(len(labels)) if index != labels.background]
    only = things[0] if base is not None and base.source == "bundled" and len(things) == 1 else None
    return next(named, only)


class ReplayCrops(CropDataset):
    """Crops of which those with an index beyond the data's own are of built-in images, others in every epoch."""

    def __init__(
        self,
        read: Callable[[int], Sample],
        cached: dict[int, Sample],
        level: str,
        size: int,
        seed: int,
        seen: Callable[[Sample], Sample] | None = None,
        *,
        own: int,
        extra: int,
        dataset: Dataset,
        task: str,
        base: ModelSpec | None,
    ) -> None:
        """
        Args:
            read, cached, level, size, seed, seen: as for :class:`CropDataset`.
            own: samples of the data.
            extra: built-in samples of an epoch.
            dataset: whose label ids are wanted.
            task: ``semantic`` or ``instance``.
            base: what the run starts from.
        """
        super().__init__(read, cached, level, size, seed, seen)
        self.own, self.extra, self.dataset, self.task, self.base = own, extra, dataset, task, base

    def sample(self, key: Key) -> Sample:
        """As :meth:`CropDataset.sample`: a pure function of the key and the seed."""
        epoch, index = key
        if index < self.own:
            return super().sample(key)
        number = (epoch * self.extra + index - self.own) % POOL
        place = self.own + number
        if place not in self.cached:
            # Even seeds are for training: none of these is a validation image of the built-in data.
            drawn = render(2 * self.seed, number, CELLS_SIZE, training=True)
            self.cached[place] = translated(drawn, self.dataset, self.task, self.base)
        return self.cached[place]


def crops_of(
    prepared: Prepared,
    read: Callable[[int], Sample],
    cached: dict[int, Sample],
    seen: Callable[[Sample], Sample] | None = None,
) -> CropDataset:
    """The crops of a run, built-in ones among them if it replays.

    Args:
        prepared: the run.
        read: index → sample of its training images, for those that are not in ``cached``.
        cached: samples that are already decoded.
        seen: as for :class:`CropDataset`.
    """
    common = (read, cached, prepared.augment, prepared.crop, prepared.config.seed, seen)
    if not prepared.replay:
        return CropDataset(*common)
    own, extra = len(prepared.train), prepared.replay
    return ReplayCrops(*common, own=own, extra=extra, dataset=prepared.dataset, task=prepared.task, base=prepared.start.base)


def translated(sample: Sample, dataset: Dataset, task: str, base: ModelSpec | None) -> Sample:
    """A built-in sample with the label ids of other data, classes matched by their names and :func:`cell_of`.

    Args:
        sample: of the built-in data.
        dataset: whose classes are wanted.
        task: ``instance`` also names the class of each object.
        base: what the run starts from.

    Returns:
        The sample; pixels of classes that the data lacks (the border between cells) are ignored.
    """
    ignore = int(np.iinfo(dataset.rule.dtype).max)
    ids = {name.strip().casefold(): index for index, name in reversed(list(enumerate(dataset.labels.names)))}
    if dataset.labels.background is not None:
        ids["background"] = dataset.labels.background
    if (cell := cell_of(dataset.labels, base)) is not None:
        ids["cell"] = cell
    table = np.array([ids.get(name, ignore) for name in CLASS_NAMES], dtype=dataset.rule.dtype)
    fitted = Sample(sample.image, table[sample.label_map], sample.instance_map, sample.name, hidden=sample.hidden)
    return as_objects(fitted, dataset) if task == "instance" else fitted
