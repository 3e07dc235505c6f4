"""The built-in data: the same for the same seed, its labels in agreement, its negatives empty."""

import numpy as np
import pytest
from scipy import ndimage

from seg_demo.annotations.listing import Sample
from synthetic.cells import (
    BACKGROUND,
    BORDER,
    CELL,
    CLASS_COLORS,
    CLASS_NAMES,
    MIN_AREA,
    MIN_SIZE,
    SCENES,
    TRAINING_SCENES,
    WITH_CELLS,
    finish_labels,
    render,
)


def discs(size: int, *centres: tuple[int, int, int]) -> tuple[np.ndarray, dict[int, int]]:
    """An instance map with a disc (x, y, radius) per number from 1 on, later ones on top, and the discs' areas."""
    rows, columns = np.mgrid[0:size, 0:size]
    instances, areas = np.zeros((size, size), np.int32), {}
    for number, (x, y, radius) in enumerate(centres, start=1):
        inside = (columns - x) ** 2 + (rows - y) ** 2 <= radius**2
        instances[inside] = number
        areas[number] = int(inside.sum())
    return instances, areas


@pytest.mark.parametrize("kind", TRAINING_SCENES)
@pytest.mark.parametrize("size", [MIN_SIZE, 97, 160])
def test_every_scene_holds_the_contract(kind: str, size: int) -> None:
    sample = render(3, 1, size, kind=kind)
    assert sample.image.shape == (size, size, 3) and sample.image.dtype == np.uint8
    assert sample.label_map.dtype == np.uint8 and sample.instance_map.dtype == np.uint16
    assert sample.image.std() > 0
    labels, instances = sample.label_map, sample.instance_map
    assert labels.max() < len(CLASS_NAMES)
    assert ((labels == CELL) <= (instances > 0)).all(), "a cell pixel belongs to an object"
    assert (labels[instances > 0] != BACKGROUND).all(), "an object's pixel is cell or border"
    if kind not in WITH_CELLS:
        assert not labels.any() and not instances.any()
    for number in range(1, int(instances.max()) + 1):
        mask = instances == number
        assert mask.sum() >= MIN_AREA
        assert ndimage.label(mask)[1] == 1, "an object is one piece"


@pytest.mark.parametrize("connectivity", [1, 2])
@pytest.mark.parametrize("kind", WITH_CELLS)
def test_components_of_the_cell_class_are_the_objects(kind: str, connectivity: int) -> None:
    sample = render(8, 2, 128, kind=kind)
    structure = ndimage.generate_binary_structure(2, connectivity)
    pieces, count = ndimage.label(sample.label_map == CELL, structure)
    assert count == sample.instance_map.max()
    owners = {(int(p), int(i)) for p, i in zip(pieces[pieces > 0], sample.instance_map[pieces > 0], strict=True)}
    assert len(owners) == count, "each component lies in one object"


def test_every_cell_scene_shows_cells() -> None:
    for kind in WITH_CELLS:
        assert any(render(1, index, 128, kind=kind).instance_map.any() for index in range(2)), kind


def test_same_arguments_same_picture_and_other_arguments_another() -> None:
    first, again = render(5, 7, 96), render(5, 7, 96)
    for field in ("image", "label_map", "instance_map"):
        np.testing.assert_array_equal(getattr(first, field), getattr(again, field))
    assert first.name == again.name
    for other in (render(6, 7, 96), render(5, 8, 96)):
        assert not np.array_equal(first.image, other.image)


def test_a_third_of_the_mixture_and_more_of_the_training_is_negatives() -> None:
    def share(scenes: dict) -> float:
        weights = {kind: weight for kind, (weight, _) in scenes.items()}
        return sum(weights[kind] for kind in scenes if kind not in WITH_CELLS) / sum(weights.values())

    assert 0.25 < share(SCENES) < share(TRAINING_SCENES) < 0.45


def test_a_picture_to_learn_from_may_be_of_a_kind_that_is_not_held_out() -> None:
    def kinds(training: bool) -> set[str]:
        return {render(2, index, 32, training=training).name.rsplit("-", 1)[1] for index in range(150)}

    assert kinds(False) <= set(SCENES)
    assert kinds(True) - set(SCENES)


def test_every_class_has_a_colour() -> None:
    assert len(CLASS_COLORS) == len(CLASS_NAMES)


@pytest.mark.parametrize("gap", [-3, 0, 1, 2])
def test_a_border_two_pixels_wide_separates_neighbours(gap: int) -> None:
    labels, instances = finish_labels(*discs(64, (18, 32, 10), (18 + 21 + gap, 32, 10)))
    assert instances.max() == 2
    assert ndimage.label(labels == CELL, np.ones((3, 3)))[1] == 2
    assert 2 <= np.count_nonzero(labels[32] == BORDER) <= 3


def test_separate_cells_have_no_border() -> None:
    labels, instances = finish_labels(*discs(64, (15, 32, 10), (45, 32, 10)))
    np.testing.assert_array_equal(labels, (instances > 0).astype(np.uint8))


def test_hidden_and_tiny_objects_are_dropped_and_numbers_stay_dense() -> None:
    labels, instances = finish_labels(*discs(64, (20, 20, 8), (21, 20, 9), (50, 50, 2), (50, 10, 6)))
    assert sorted(np.unique(instances)) == [0, 1, 2]
    assert labels[50, 50] == BACKGROUND and not (labels == BORDER).any()


def test_of_an_object_cut_in_two_the_larger_piece_stays() -> None:
    instances = np.zeros((40, 40), np.int32)
    instances[10:20, 2:38] = 1
    instances[5:25, 22:30] = 2
    labels, cleaned = finish_labels(instances, {1: 360, 2: 160})
    assert cleaned[15, 5] == 1 and cleaned[15, 35] == 0 and labels[15, 35] in (BACKGROUND, BORDER)


@pytest.mark.parametrize("arguments", [{"size": 8}, {"kind": "nonsense"}])
def test_wrong_arguments_say_what_was_expected(arguments: dict) -> None:
    with pytest.raises(ValueError, match="expected"):
        render(0, 0, **arguments)


def test_sample_refuses_what_does_not_fit_together() -> None:
    image, labels = np.zeros((4, 5, 3), np.uint8), np.zeros((4, 5), np.uint8)
    Sample(image, labels)
    with pytest.raises(ValueError, match="label_map"):
        Sample(image, labels.T.copy())
    with pytest.raises(TypeError, match="uint16"):
        Sample(image, labels, labels)
    with pytest.raises(TypeError, match="image"):
        Sample(image.astype(np.float32), labels)
