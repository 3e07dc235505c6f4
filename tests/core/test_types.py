"""The types that cross rooms: what they refuse, and what they derive."""

from __future__ import annotations

import json

import numpy as np
import pytest
from pycocotools import mask as coco

from seg_demo.core.types import (
    LabelSet,
    ModelSpec,
    Segment,
    Segmentation,
    distinct_colors,
    paint,
    semantic_segmentation,
    tight_box,
)

LABELS = LabelSet.from_names(("background", "cell", "border"), background=0)
SPEC = ModelSpec("unet-cells", None, "semantic", "unet", "U-Net", "apache-2.0", "bundled")


def square(label_id: int, score: float | None, x0: int, y0: int, side: int) -> Segment:
    return Segment(label_id, score, (x0, y0, x0 + side, y0 + side), np.ones((side, side), bool))


def instance(*segments: Segment) -> Segmentation:
    return Segmentation("instance", 8, 10, LABELS, paint(segments, 8, 10), segments)


def test_colors_stay_apart() -> None:
    colors = distinct_colors(200, background=3)
    assert colors.dtype == np.uint8 and colors.shape == (200, 3)
    assert not colors[3].any()
    assert len(np.unique(colors, axis=0)) == 200


def test_label_sets_compare_by_content() -> None:
    assert LabelSet.from_names(["background", "cell", "border"], 0) == LABELS
    assert LabelSet.from_names(["background", "cell", "border"]) != LABELS
    assert len(LABELS) == 3 and LABELS != "labels"


@pytest.mark.parametrize(
    ("names", "colors", "background"),
    [
        ((), np.zeros((0, 3), np.uint8), None),
        (("a",), np.zeros((2, 3), np.uint8), None),
        (("a",), np.zeros((1, 3), np.float32), None),
        (("a",), np.zeros((1, 3), np.uint8), 1),
    ],
)
def test_bad_label_sets_are_refused(names: tuple[str, ...], colors: np.ndarray, background: int | None) -> None:
    with pytest.raises(ValueError, match="but got"):
        LabelSet(names, colors, background)


@pytest.mark.parametrize(
    ("score", "box", "mask"),
    [
        (None, (2, 0, 2, 3), None),
        (None, (-1, 0, 2, 3), None),
        (1.5, (0, 0, 2, 3), None),
        (float("nan"), (0, 0, 2, 3), None),
        (0.5, (0, 0, 2, 3), np.ones((2, 3), bool)),
        (0.5, (0, 0, 2, 3), np.ones((3, 2), np.uint8)),
    ],
)
def test_bad_segments_are_refused(score: float | None, box: tuple[int, int, int, int], mask: np.ndarray | None) -> None:
    with pytest.raises(ValueError, match="but got"):
        Segment(1, score, box, mask)


def test_bad_segmentations_are_refused() -> None:
    empty = np.zeros((8, 10), np.uint8)
    for task, id_map, segment in (
        ("saliency", empty, square(1, 0.5, 0, 0, 2)),
        ("instance", empty.T, square(1, 0.5, 0, 0, 2)),
        ("instance", empty.astype(np.int64), square(1, 0.5, 0, 0, 2)),
        ("instance", empty, square(3, 0.5, 0, 0, 2)),
        ("instance", empty, square(1, 0.5, 7, 7, 2)),
        ("instance", empty, Segment(1, 0.5, (0, 0, 2, 2), None)),
    ):
        with pytest.raises(ValueError):
            Segmentation(task, 8, 10, LABELS, id_map, (segment,))


def test_specs_know_tasks_and_sources() -> None:
    with pytest.raises(ValueError, match="task"):
        ModelSpec("x", None, "saliency", "unet", "", "", "hub")
    with pytest.raises(ValueError, match="source"):
        ModelSpec("x", None, "semantic", "unet", "", "", "cloud")


def test_the_best_object_lies_on_top() -> None:
    result = instance(square(1, 0.9, 0, 0, 4), square(2, 0.6, 2, 2, 4))
    assert result.ids == (1, 2)
    assert result.id_map[3, 3] == 1 and result.id_map[5, 5] == 2
    assert result.areas == (16, 16)


def test_a_threshold_keeps_what_reaches_it() -> None:
    result = instance(square(1, 0.9, 0, 0, 4), square(2, 0.5, 2, 2, 4), square(1, 0.4, 6, 0, 2))
    kept = result.above(0.5)
    assert [segment.score for segment in kept.segments] == [0.9, 0.5]
    assert kept.id_map.max() == 2 and np.array_equal(kept.id_map, paint(kept.segments, 8, 10))
    assert result.above(1.0).segments == () and not result.above(1.0).id_map.any()
    assert len(result.above(0.0).segments) == 3


@pytest.mark.parametrize("scores", [np.linspace(0.95, 0.05, 300), np.resize([0.9, 0.2, 0.6], 300)], ids=["best first", "in any order"])
@pytest.mark.parametrize("threshold", [0.0, 0.1, 0.5, 0.7, 1.0])
def test_what_a_threshold_leaves_is_painted_as_if_there_had_been_nothing_else(scores: np.ndarray, threshold: float) -> None:
    rng = np.random.default_rng(3)
    squares = [square(1, float(score), *map(int, rng.integers(0, 6, 2)), 2) for score in scores]
    kept = instance(*squares).above(threshold)
    expected = paint([segment for segment in squares if segment.score >= threshold], 8, 10)
    assert np.array_equal(kept.id_map, expected) and kept.id_map.dtype == expected.dtype


def test_more_than_255_objects_need_16_bits() -> None:
    one = Segment(1, 0.5, (0, 0, 1, 1), np.ones((1, 1), bool))
    assert paint([one] * 255, 2, 2).dtype == np.uint8
    assert paint([one] * 256, 2, 2).dtype == np.uint16
    with pytest.raises(ValueError, match="65535"):
        paint([one] * 65_536, 2, 2)


def test_semantic_results_have_one_segment_per_class() -> None:
    label_map = np.zeros((8, 10), np.uint8)
    label_map[2:4, 5:9] = 2
    result = semantic_segmentation(label_map, LABELS, {0: 0.75, 2: 0.5})
    assert [(segment.label_id, segment.box, segment.score) for segment in result.segments] == [
        (0, (0, 0, 10, 8), 0.75),
        (2, (5, 2, 9, 4), 0.5),
    ]
    assert result.ids == (0, 2) and result.areas == (72, 8)
    assert result.mask_of(1).all() and result.mask_of(0).sum() == 72
    assert result.above(0.9) is result
    with pytest.raises(ValueError, match="label id 7"):
        semantic_segmentation(np.full((2, 2), 7, np.uint8), LABELS)


def test_json_is_that_of_the_design() -> None:
    label_map = np.zeros((8, 10), np.uint8)
    label_map[2:4, 5:9] = 1
    result = semantic_segmentation(label_map, LABELS, {0: 0.75, 1: 0.5})
    data = json.loads(json.dumps(Segmentation(**{**vars(result), "model": SPEC, "device": "cpu"}).to_dict()))
    assert data["model"] == {"id": "unet-cells", "revision": None, "architecture": "unet", "source": "bundled"}
    assert (data["task"], data["width"], data["height"], data["device"]) == ("semantic", 10, 8, "cpu")
    cell = data["segments"][1]
    assert {key: cell[key] for key in ("id", "label_id", "label", "score", "area", "area_fraction", "bbox")} == {
        "id": 1, "label_id": 1, "label": "cell", "score": 0.5, "area": 8, "area_fraction": 0.1, "bbox": [5, 2, 4, 2],
    }  # fmt: skip
    assert cell["segmentation"]["size"] == [8, 10]
    assert np.array_equal(coco.decode(cell["segmentation"]), label_map == 1)


def test_tight_box() -> None:
    mask = np.zeros((5, 6), bool)
    assert tight_box(mask) is None
    mask[1, 2] = mask[3, 4] = True
    assert tight_box(mask) == (2, 1, 5, 4)
