"""Numbers of a mask, its mapping to labels, and objects from labels."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from seg_demo.annotations.listing import Sample
from seg_demo.annotations.masks import MaskRule, UnknownValue, histogram, pack, with_objects
from seg_demo.core.errors import DataError
from seg_demo.inputs.mask_files import MaskFile
from seg_demo.inputs.object_maps import ObjectRule, objects_of
from tests.small_datasets import picture, two_values


@settings(max_examples=40, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(0, 10_000), st.booleans())
def test_counts_equal_numpy(height, width, seed, coloured):
    raw = np.random.default_rng(seed).integers(0, 3, (height, width, 3) if coloured else (height, width), dtype=np.uint8)
    found = histogram(raw, None, False)
    flat = pack(raw) if found.mode == "color" else raw[..., 0] if coloured else raw
    values, counts = np.unique(flat, return_counts=True)
    assert found.counts == dict(zip(values.tolist(), counts.tolist(), strict=True))


def test_rule_names_what_it_does_not_know():
    rule = MaskRule(np.uint8, {0: 0, 1: 1}, {0: 0, 0xFF0000: 1})
    with pytest.raises(UnknownValue, match=r"^7, 9$"):
        rule.label_map(np.array([[0, 7], [9, 1]], np.uint8))
    with pytest.raises(UnknownValue, match="#00ff00"):
        rule.label_map(np.array([[[0, 255, 0], [255, 0, 0]]], np.uint8))


def test_connected_components_are_objects_of_their_class():
    raw = two_values(1, 2)
    raw[20:24, 0:4] = 1
    raw[0] = 255
    sample = Sample(picture(0), raw, name="x")
    found = with_objects(sample, (1, 2))
    assert found.instance_labels.tolist() == [0, 1, 1, 2]
    assert np.array_equal(found.instance_labels[found.instance_map], np.where(raw == 255, 0, raw))
    for label in (1, 2):
        count = ndimage.label(raw == label, np.ones((3, 3)))[1]
        assert len(np.unique(found.instance_map[raw == label])) == count
    assert with_objects(found, (1, 2)) is found
    # Of a class that no objects have, pixels are no objects.
    assert with_objects(sample, (1,)).instance_labels.tolist() == [0, 1, 1]


def test_too_many_pieces_are_no_objects():
    raw = np.zeros((600, 600), np.uint8)
    raw[::2, ::2] = 1
    with pytest.raises(DataError, match="90000 separate pieces"):
        with_objects(Sample(np.zeros((600, 600, 3), np.uint8), raw), (1,))


def test_consecutive_numbers_keep_the_objects_apart():
    found = objects_of(MaskFile(np.array([[0, 500, 500], [7, 65_535, 7]], np.uint16)), ObjectRule())
    assert found.numbers.tolist() == [[0, 2, 2], [1, 0, 1]] and found.ignored.tolist() == [[0, 0, 0], [0, 1, 0]]
