"""The view of a data set that an instance network needs: background first, then the classes that objects can have."""

from __future__ import annotations

import dataclasses

import numpy as np

from seg_demo.types import LabelSet
from train.data.index import Dataset
from train.data.masks import with_objects
from train.data.sample import Sample


def labels_for(dataset: Dataset, task: str) -> LabelSet:
    """The classes that a network for a task learns from a data set.

    Args:
        dataset: with its classes.
        task: ``semantic``: the data's own classes. ``instance``: ``background`` as class 0, as torchvision wants it, and the
            classes that objects have; a class such as the cells' border, which is no object, is not among them.
    """
    if task == "semantic":
        return dataset.labels
    names, colors = dataset.labels.names, dataset.labels.colors
    black = np.zeros((1, 3), dtype=np.uint8)
    return LabelSet(
        ("background", *(names[thing] for thing in dataset.things)), np.concatenate([black, colors[list(dataset.things)]]), 0
    )


def as_objects(sample: Sample, dataset: Dataset) -> Sample:
    """A sample with separate objects whose classes are those of ``labels_for(dataset, "instance")``.

    Args:
        sample: of the data set; without objects, the connected components of its classes become objects.
        dataset: where it is from.

    Returns:
        The sample with ``instance_labels``; an object whose class was not stated has the one that most of its pixels have.
    """
    sample = with_objects(sample, dataset.labels)
    count = int(max(layer.max() for layer in sample.layers)) + 1
    lut = np.zeros(max(dataset.things) + 1, dtype=np.uint16)
    lut[list(dataset.things)] = np.arange(1, len(dataset.things) + 1)
    if sample.instance_labels is not None:
        return dataclasses.replace(sample, instance_labels=lut[sample.instance_labels])
    pixels = np.zeros((count, len(lut)), dtype=np.int64)
    inside = (sample.instance_map > 0) & np.isin(sample.label_map, dataset.things)
    np.add.at(pixels, (sample.instance_map[inside], sample.label_map[inside]), 1)
    classes = lut[pixels.argmax(axis=1)]
    classes[0] = 0
    # An object all of whose pixels are, say, border still is an object.
    classes[1:][pixels[1:].sum(axis=1) == 0] = 1
    return dataclasses.replace(sample, instance_labels=classes)
