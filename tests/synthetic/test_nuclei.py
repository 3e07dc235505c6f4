"""The built-in nuclei: the same for the same seed, each object in one piece, of every size, touching."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import ndimage

from synthetic.nuclei import CLASS_NAMES, FIELDS, LEVELS, MIN_AREA, ROSE, SHARPNESS, Field, noise_of, render, tidied, visible
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


def test_marked_is_what_stands_out_of_the_noise_or_is_surrounded() -> None:
    """The truth holds what a person can see: by contrast, noise and area together."""
    rng, noise = np.random.default_rng(0), 5.0
    instances = np.zeros((96, 128), np.int32)
    rows, columns = np.mgrid[:96, :128]
    for number, (x, y, radius) in enumerate(((20, 20, 3), (50, 20, 3), (90, 24, 16), (20, 70, 6), (60, 70, 6)), start=1):
        instances[np.hypot(columns - x, rows - y) < radius] = number
    picture = np.full((96, 128), 100.0)
    picture += 4.0 * (instances == 1) + 12.0 * (instances == 2) + 4.0 * (instances == 3) + 2.0 * (instances == 4)
    inner = np.hypot(columns - 60, rows - 70) < 4.5
    picture += np.where(instances == 5, np.where(inner, 12.0, -16.0), 0)
    pixels = np.rint(picture[..., None] + rng.normal(0, noise, (96, 128, 3))).astype(np.uint8)
    assert noise_of(pixels[..., 0]) == pytest.approx(noise, rel=0.1)
    assert 4.0 * np.sqrt((instances == 1).sum()) / noise < ROSE < 4.0 * np.sqrt((instances == 3).sum()) / noise and LEVELS > 2.0
    assert set(np.unique(visible(pixels, instances))) == {0, 2, 3, 5}, "small and dim, or below what an eye notices"
    # Noise that outlines do not move.
    assert noise_of((((columns // 8 + rows // 8) % 2) * 100).astype(np.uint8)) < 1
    packed = np.arange(1, 97, dtype=np.int32).reshape(8, 12).repeat(12, 0).repeat(12, 1)
    assert np.array_equal(visible(np.full((96, 144, 3), 90, np.uint8), packed), packed), "where there is no ground, nothing is said by it"


def test_crowded_fields_are_and_the_picture_is_as_sharp_as_its_smallest_objects_need() -> None:
    covered = [(render(4, index, 128, kind="crowded").instance_map > 0).mean() for index in range(8)]
    assert np.median(covered) > 0.35 and "crowded" in FIELDS
    field = Field.drawn(np.random.default_rng(3), 128, 0.1, crowded=True)
    assert field.soft(9.0) == SHARPNESS * field.smallest < 9 and field.soft(0.01) == 0.01


def test_they_are_found_by_their_name() -> None:
    dataset = open_dataset("nuclei", seed=0, size=96, workers=1, progress=False, samples=3)
    assert "nuclei" in BUILT_IN and dataset.labels.names == CLASS_NAMES and dataset.kind == "instance"
    train, val = ([item for item in dataset.items if item.split == split] for split in ("train", "val"))
    assert len(train) == 3 and not {item.rendered[0] for item in train} & {item.rendered[0] for item in val}
    assert dataset.read(train[1]).name.startswith("nuclei-0-1-") and dataset.read(val[0]).image.shape == (96, 96, 3)
