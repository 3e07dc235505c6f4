"""The confusion matrix, with scikit-learn as the oracle."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.metrics import confusion_matrix

from seg_demo.masks.compare import confusion


@settings(max_examples=50, deadline=None)
@given(classes=st.integers(2, 12), seed=st.integers(0, 2**31), ignored=st.sampled_from([0.0, 0.3, 1.0]))
def test_confusion_equals_sklearn(classes: int, seed: int, ignored: float) -> None:
    generator = np.random.default_rng(seed)
    target = generator.integers(0, classes, (9, 13), dtype=np.uint8)
    prediction = generator.integers(0, classes, (9, 13), dtype=np.uint8)
    target[generator.random(target.shape) < ignored] = 255
    counted = target != 255
    ours = confusion(target, prediction, classes)
    assert ours.dtype == np.int64 and ours.shape == (classes, classes)
    if counted.any():
        assert np.array_equal(ours, confusion_matrix(target[counted], prediction[counted], labels=range(classes)))
    else:
        assert not ours.any()


def test_sixteen_bit_maps_do_not_overflow() -> None:
    target = np.array([[299, 65_535]], np.uint16)
    assert confusion(target, np.array([[298, 5]], np.uint16), 300, ignore=65_535)[299, 298] == 1


def test_labels_out_of_range_are_named() -> None:
    with pytest.raises(ValueError, match="label id 7"):
        confusion(np.array([0]), np.array([7]), 3)
    with pytest.raises(ValueError, match="label id -1"):
        confusion(np.array([-1]), np.array([0]), 3)
    with pytest.raises(ValueError, match="shape"):
        confusion(np.zeros((2, 3)), np.zeros((3, 2)), 3)
