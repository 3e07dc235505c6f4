"""Panoptic quality equals COCO's panopticapi, written here after its published rules, with void, crowds and segments that are not there."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import replace

import numpy as np
import pytest

from seg_demo.masks.compare import BOTH, EXTRA, MATCHED, MISSED, PanopticQuality, SegmentMap, match_segments, matched_pixels

CLASSES = 5
THINGS = {1, 2, 4}


def by_the_rules(pictures: list[tuple[SegmentMap, SegmentMap]]) -> dict[int, list[float]]:
    """IoU, matched, extra and missed by class: a transcription of the rules, one segment with one other at a time."""
    sums: dict[int, list[float]] = defaultdict(lambda: [0.0, 0, 0, 0])
    for truth, found in pictures:
        void = truth.ids == 0
        matched = set()
        for true_id, label in truth.label_ids.items():
            if true_id in truth.crowds:
                continue
            for found_id, other in found.label_ids.items():
                if other != label:
                    continue
                a, b = truth.ids == true_id, found.ids == found_id
                both = int((a & b).sum())
                union = int(a.sum()) + int(b.sum()) - both - int((b & void).sum())
                if both and both / union > 0.5:
                    sums[label][0] += both / union
                    sums[label][1] += 1
                    matched |= {("truth", true_id), ("found", found_id)}
            if ("truth", true_id) not in matched:
                sums[label][3] += 1
        for found_id, label in found.label_ids.items():
            if ("found", found_id) in matched:
                continue
            mask = found.ids == found_id
            nobody = void.copy()
            for crowd in truth.crowds:
                if truth.label_ids[crowd] == label:
                    nobody |= truth.ids == crowd
            if (mask & nobody).sum() / mask.sum() <= 0.5:
                sums[label][2] += 1
    return sums


def picture(seed: int, offset: int) -> tuple[SegmentMap, SegmentMap]:
    """Blocks of segments, and a result that has some of them shifted, merged, in another class or not at all."""
    rng = np.random.default_rng(seed)
    truth = np.kron(rng.integers(0, 12, (5, 7)), np.ones((9, 8), np.int64))
    label_ids = {i: int(rng.integers(0, CLASSES)) for i in range(1, 12)}
    found = np.where(rng.random(truth.shape) < 0.15, 0, np.roll(truth, int(rng.integers(0, 4)), axis=1))
    found[found == 3] = 4
    seen = np.unique(found[found > 0])
    wrong = {int(i): int(rng.integers(0, CLASSES)) if rng.random() < 0.2 else label_ids[int(i)] for i in seen}
    # One crowd of a class at most, as in the data sets.
    crowds = frozenset({2}) if 2 in label_ids else frozenset()
    present = {i: label for i, label in label_ids.items() if (truth == i).any()}
    ids = np.where(truth > 0, truth + offset, 0)
    return (
        SegmentMap(ids, {i + offset: label for i, label in present.items()}, frozenset(i + offset for i in crowds if i in present)),
        SegmentMap(found.astype(np.uint8), wrong),
    )


# Ids as a label map has them, and as a coloured PNG of 24 bits.
@pytest.mark.parametrize("offset", [0, 70_000])
def test_sums_and_means_equal_the_published_rules(offset):
    pictures = [picture(seed, offset) for seed in range(12)]
    quality = PanopticQuality(CLASSES)
    ignored = 0
    for truth, found in pictures:
        matching = match_segments(truth, found)
        ignored += len(matching.ignored)
        quality.add(matching)
    expected = by_the_rules(pictures)
    for label in range(CLASSES):
        iou, matched, extra, missed = expected[label]
        assert quality.iou[label] == pytest.approx(iou, rel=1e-12)
        assert (quality.matched[label], quality.extra[label], quality.missed[label]) == (matched, extra, missed)
    assert ignored and quality.extra.sum() and quality.missed.sum() and quality.matched.sum()
    for among in (range(CLASSES), THINGS):
        counted = [expected[label] for label in among if sum(expected[label][1:])]
        pq = [iou / (tp + 0.5 * fp + 0.5 * fn) for iou, tp, fp, fn in counted]
        mean = quality.mean(among)
        assert (mean.pq, mean.classes) == (pytest.approx(np.mean(pq), rel=1e-12), len(pq))


def test_an_iou_of_a_half_is_no_match_and_void_is_not_held_against_a_segment():
    truth = SegmentMap(np.array([[1, 1, 1, 0, 0]]), {1: 0})
    half = match_segments(truth, SegmentMap(np.array([[1, 1, 0, 0, 0]]), {1: 0}))
    assert [match.iou for match in half.matches] == [2 / 3]
    wide = match_segments(truth, SegmentMap(np.array([[1, 1, 1, 1, 1]]), {1: 0}))
    assert [match.iou for match in wide.matches] == [1.0]
    other = SegmentMap(np.array([[1, 1, 2, 2, 2]]), {1: 0, 2: 1})
    exact = match_segments(SegmentMap(np.array([[1, 1, 1, 1, 2]]), {1: 0, 2: 1}), other)
    assert (exact.matches, exact.missed, exact.extra) == ((), {1: 0, 2: 1}, {1: 0, 2: 1})


def test_nothing_on_either_side_has_no_quality():
    quality = PanopticQuality(3)
    quality.add(match_segments(SegmentMap(np.zeros((2, 3), np.uint8), {}), SegmentMap(np.zeros((2, 3), np.uint8), {})))
    assert quality.mean() is None and quality.of_class(0) is None
    quality.add(match_segments(SegmentMap(np.ones((2, 3), np.uint8), {1: 2}), SegmentMap(np.zeros((2, 3), np.uint8), {})))
    assert (quality.mean().pq, quality.mean().classes) == (0.0, 1)


def test_maps_of_other_sizes_are_refused():
    with pytest.raises(ValueError, match="one image"):
        match_segments(SegmentMap(np.zeros((2, 3), int), {}), SegmentMap(np.zeros((3, 2), int), {}))


def test_every_pixel_of_a_matching_is_drawn_as_what_became_of_its_segment():
    truth = SegmentMap(np.array([[1, 1, 1, 2, 2, 3, 0, 70_001]]), {1: 0, 2: 1, 3: 1, 70_001: 0})
    found = SegmentMap(np.array([[7, 7, 0, 8, 8, 8, 0, 0]]), {7: 0, 8: 2})
    matching = match_segments(truth, found)
    assert [(match.truth, match.found) for match in matching.matches] == [(1, 7)]
    drawn = matched_pixels(truth, found, matching)
    assert drawn.tolist() == [[MATCHED, MATCHED, 0, BOTH, BOTH, BOTH, 0, MISSED]]
    # The other way round the last one lies in void, and is held against nobody.
    assert matched_pixels(found, truth, match_segments(found, truth)).tolist() == [[MATCHED, MATCHED, 0, BOTH, BOTH, BOTH, 0, 0]]
    more = SegmentMap(found.ids, {**found.label_ids, 9: 3})
    assert EXTRA in matched_pixels(truth, replace(more, ids=np.array([[7, 7, 9, 8, 8, 8, 0, 9]])), match_segments(truth, replace(more, ids=np.array([[7, 7, 9, 8, 8, 8, 0, 9]]))))
