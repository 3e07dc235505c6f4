"""The built-in nuclei: the same for the same seed, each object in one piece, of every size, touching."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from synthetic.nuclei import CLASS_NAMES, FIELDS, MIN_AREA, render, tidied
from train.data import BUILT_IN, open_dataset


@pytest.mark.parametrize("kind", FIELDS)
def test_every_field_holds_the_contract(kind: str) -> None:
    for size, index in ((64, 1), (97, 2), (160, 3)):
        sample = render(3, index, size, kind=kind)
        assert sample.image.shape == (size, size, 3) and sample.image.dtype == np.uint8
        assert sample.label_map.dtype == np.uint8 and sample.instance_map.dtype == np.uint16
        assert np.array_equal(sample.label_map, sample.instance_map > 0)
        areas = np.bincount(sample.instance_map.ravel())[1:]
        assert (areas >= MIN_AREA).all()
        for number in range(1, len(areas) + 1):
            assert ndimage.label(sample.instance_map == number)[1] == 1, "an object is one piece"


def test_same_arguments_same_picture_and_other_arguments_another() -> None:
    first, again = render(5, 7, 96), render(5, 7, 96)
    assert np.array_equal(first.image, again.image) and np.array_equal(first.instance_map, again.instance_map) and first.name == again.name
    for other in (render(6, 7, 96), render(5, 8, 96)):
        assert not np.array_equal(first.image, other.image)
    with pytest.raises(ValueError, match="at least 64"):
        render(1, 1, 63)


def test_objects_are_of_every_size_many_touch_and_some_pictures_have_none() -> None:
    diameters, touching, empty = [], 0, 0
    for index in range(24):
        instances = render(1, index, 160).instance_map
        areas = np.bincount(instances.ravel())[1:]
        diameters += np.sqrt(areas * 4 / np.pi).tolist()
        seams = (ndimage.maximum_filter(instances, 3) != instances) & (ndimage.minimum_filter(instances, 3) > 0)
        touching, empty = touching + bool(seams.any()), empty + (not len(areas))
    assert min(diameters) < 6 and max(diameters) > 60 and touching > 9 and 0 < empty < 12


def test_hidden_objects_and_slivers_are_left_out() -> None:
    instances = np.zeros((20, 20), np.int32)
    instances[:6, :6], instances[8:18, 4], instances[8:18, 6] = 1, 2, 2
    instances[0, 18] = 3
    found = tidied(instances, [0, 36, 30, 1])
    assert found.max() == 2 and (found == 1).sum() == 36 and (found == 2).sum() == 10, "of two pieces one stays"
    assert not tidied(instances, [0, 36, 60, 1])[8:].any(), "what others hide is no object"


def test_they_are_found_by_their_name() -> None:
    dataset = open_dataset("nuclei", seed=0, size=96, workers=1, progress=False, samples=3)
    assert "nuclei" in BUILT_IN and dataset.labels.names == CLASS_NAMES and dataset.kind == "instance"
    train, val = ([item for item in dataset.items if item.split == split] for split in ("train", "val"))
    assert len(train) == 3 and not {item.rendered[0] for item in train} & {item.rendered[0] for item in val}
    assert dataset.read(train[1]).name.startswith("nuclei-0-1-") and dataset.read(val[0]).image.shape == (96, 96, 3)
