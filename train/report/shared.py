"""Measuring a network on data whose classes are not all its own: on those that both have, by name."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable, Iterator

import numpy as np

from seg_demo.types import LabelSet
from train.data.sample import Sample
from train.report.semantic import ignore_id, same_names


def shared_labels(data: LabelSet, network: LabelSet) -> LabelSet | None:
    """The classes that data and network both have, as the data calls them.

    >>> data = LabelSet.from_names(["background", "cat", "cell"], background=0)
    >>> shared_labels(data, LabelSet.from_names(["background", "dog", "Cat"], background=0)).names
    ('background', 'cat')
    >>> shared_labels(data, LabelSet.from_names(["background", "dog"], background=0)) is None
    True

    Args:
        data: classes of the data.
        network: classes of the network.

    Returns:
        None if they share none but the background.
    """
    found = set(same_names(data, network).tolist()) - {len(data)}
    if not found - {data.background}:
        return None
    kept = sorted(found)
    background = kept.index(data.background) if data.background in found else None
    return LabelSet(tuple(data.names[index] for index in kept), data.colors[kept], background)


def only_shared(samples: Iterable[Sample], data: LabelSet, shared: LabelSet, task: str) -> Iterator[Sample]:
    """Samples with the classes that are shared: pixels of others are ignored, objects of others are left out.

    Args:
        samples: with the ids of ``data``.
        data: classes of the data, for this task.
        shared: of :func:`shared_labels`.
        task: ``semantic``: label maps are translated. ``instance``: objects are.

    Yields:
        Samples with the ids of ``shared``.
    """
    ids = np.array([shared.names.index(name) if name in shared.names else -1 for name in data.names])
    for sample in samples:
        yield _with_objects(sample, ids) if task == "instance" else _with_pixels(sample, ids)


def _with_pixels(sample: Sample, ids: np.ndarray) -> Sample:
    ignore = ignore_id(sample.label_map)
    table = np.full(ignore + 1, ignore, dtype=sample.label_map.dtype)
    table[: len(ids)] = np.where(ids < 0, ignore, ids)
    return dataclasses.replace(sample, label_map=table[sample.label_map])


def _with_objects(sample: Sample, ids: np.ndarray) -> Sample:
    classes = ids[sample.instance_labels]
    classes[0] = -1  # entry 0 is no object
    kept = np.flatnonzero(classes >= 0)
    numbers = np.zeros(len(classes), dtype=np.uint16)
    numbers[kept] = np.arange(1, len(kept) + 1)
    return dataclasses.replace(
        sample,
        instance_map=numbers[sample.instance_map],
        hidden=None if sample.hidden is None else numbers[sample.hidden],
        instance_labels=np.concatenate([[0], classes[kept]]).astype(np.uint16),
    )
