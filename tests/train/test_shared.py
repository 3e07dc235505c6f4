"""Measuring a network on data that has other classes too."""

from __future__ import annotations

import doctest

import numpy as np

from seg_demo.core.types import LabelSet
from train import metrics as module
from train.data.sample import Sample
from train.metrics import only_shared, shared_labels

DATA = LabelSet.from_names(["background", "cat", "cell"], background=0)
NETWORK = LabelSet.from_names(["background", "dog", "Cat"], background=0)
IMAGE = np.zeros((2, 3, 3), np.uint8)
LABELS = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)


def test_doctests() -> None:
    result = doctest.testmod(module)
    assert result.failed == 0 and result.attempted


def test_pixels_of_other_classes_are_ignored() -> None:
    shared = shared_labels(DATA, NETWORK)
    (sample,) = only_shared([Sample(IMAGE, LABELS)], DATA, shared, "semantic")
    assert shared.names == ("background", "cat") and shared.background == 0
    assert sample.label_map.tolist() == [[0, 1, 255], [255, 255, 1]]


def test_objects_of_other_classes_are_left_out() -> None:
    objects = np.array([[0, 1, 2], [2, 3, 3]], np.uint16)
    sample = Sample(IMAGE, LABELS, objects, "a", np.array([0, 1, 2, 1], np.uint16))
    (found,) = only_shared([sample], DATA, shared_labels(DATA, NETWORK), "instance")
    assert found.instance_map.tolist() == [[0, 1, 0], [0, 2, 2]]
    assert found.instance_labels.tolist() == [0, 1, 1]
    assert np.array_equal(found.label_map, LABELS)
