"""Tiles: geometry and blending against dense sums, merging against the truth."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seg_demo.core.types import Segment, SoftMask, tight_box
from seg_demo.inference.tiled import Blender, Grid, grid_of, merge


@settings(max_examples=150, deadline=None)
@given(
    height=st.integers(1, 900),
    width=st.integers(1, 900),
    unit=st.sampled_from([1, 8, 32]),
    units=st.tuples(st.integers(4, 12), st.integers(4, 12)),
    share=st.integers(1, 3),
)
def test_tiles_cover_the_image_and_overlap_enough(height: int, width: int, unit: int, units: tuple[int, int], share: int) -> None:
    tile = (units[0] * unit, units[1] * unit)
    overlap = min(share, (min(units) - 1) // 3) * unit
    grid = grid_of(height, width, tile, overlap, unit)
    assert len(list(grid)) == len(grid)
    for starts, side, length in zip((grid.tops, grid.lefts), tile, (height, width), strict=True):
        assert starts[0] == 0 and all(start % unit == 0 for start in starts)
        assert length <= starts[-1] + side < max(length, side) + unit
        gaps = np.diff(starts)
        assert (gaps > 0).all() and (gaps <= side - overlap).all()
        fewest = max(1, math.ceil((math.ceil(length / unit) * unit - overlap) / (side - overlap)))
        assert len(starts) == fewest


def test_a_grid_that_breaks_the_rules_is_refused() -> None:
    for tile, overlap, unit in [((64, 64), 24, 8), ((60, 64), 8, 8), ((64, 64), 12, 8), ((64, 64), 0, 8)]:
        with pytest.raises(ValueError, match="multiples of the unit"):
            grid_of(100, 100, tile, overlap, unit)


def dense_blend(grid: Grid, tiles: list[torch.Tensor], factor: int, margin: int) -> torch.Tensor:
    """Weighted sum of all tiles over a full grid; the weights from the definition, normalised by nothing."""
    half = max(0, grid.overlap // 2 - margin) // factor

    def profiles(starts: tuple[int, ...], side: int) -> list[np.ndarray]:
        length = (starts[-1] + side) // factor
        place = np.arange(length) + 0.5
        steps = [np.ones(length)]
        for first, second in zip(starts, starts[1:], strict=False):
            middle = (first // factor + side // factor + second // factor) // 2
            along = np.clip((place - middle + half) / max(2 * half, 1e-9), 0, 1)
            steps.append(along * along * (3 - 2 * along))
        steps.append(np.zeros(length))
        return [steps[index] - steps[index + 1] for index in range(len(starts))]

    rows, columns = profiles(grid.tops, grid.tile[0]), profiles(grid.lefts, grid.tile[1])
    total = torch.zeros((tiles[0].shape[0], len(rows[0]), len(columns[0])))
    for window, logits in zip(grid, tiles, strict=True):
        top, left = window.top // factor, window.left // factor
        part = (slice(None), slice(top, top + logits.shape[1]), slice(left, left + logits.shape[2]))
        weight = rows[window.row][part[1], None] * columns[window.column][part[2]]
        total[part] += logits * torch.from_numpy(weight).float()
    return total


@settings(max_examples=60, deadline=None)
@given(
    height=st.integers(1, 300),
    width=st.integers(1, 300),
    factor=st.sampled_from([1, 2, 4]),
    units=st.tuples(st.integers(4, 8), st.integers(4, 8)),
    margin=st.sampled_from([0, 2, 4]),
    seed=st.integers(0, 2**31),
)
def test_blended_blocks_are_the_dense_blend_once_each(
    height: int, width: int, factor: int, units: tuple[int, int], margin: int, seed: int
) -> None:
    grid = grid_of(height, width, (units[0] * 8, units[1] * 8), 8, 8)
    generator = torch.Generator().manual_seed(seed)
    tiles = [torch.randn((2, grid.tile[0] // factor, grid.tile[1] // factor), generator=generator) for _ in grid]
    expected = dense_blend(grid, tiles, factor, margin)
    blender = Blender(grid, factor, margin)
    seen = torch.zeros(expected.shape[1:], dtype=torch.int64)
    for window, logits in zip(grid, tiles, strict=True):
        block = blender.add(window, logits)
        (top, bottom), (left, right) = block.rows, block.columns
        seen[top:bottom, left:right] += 1
        above, before = block.context
        assert above == (top > 0) and before == (left > 0), "a point on each side, for the interpolation between blocks"
        end = (top - above + block.logits.shape[1], left - before + block.logits.shape[2])
        assert end == (min(bottom + 1, seen.shape[0]), min(right + 1, seen.shape[1]))
        whole = expected[:, top - above : end[0], left - before : end[1]]
        torch.testing.assert_close(block.logits, whole, rtol=0, atol=1e-5)
        assert block.inner.shape[1:] == (bottom - top, right - left)
    assert (seen == 1).all(), "every point leaves exactly once"


def test_weights_sum_to_one() -> None:
    grid = grid_of(500, 333, (128, 128), 32, 32)
    tiles = [torch.ones((1, 32, 32)) for _ in grid]
    torch.testing.assert_close(dense_blend(grid, tiles, 4, 8), torch.ones((1, 128, 88)))


def objects(height: int, width: int, seed: int) -> list[np.ndarray]:
    """Full-size masks of ellipses of any size that do not touch, the largest far larger than a tile, one of them hollow."""
    generator = np.random.default_rng(seed)
    y, x = np.mgrid[:height, :width]
    free, masks = np.ones((height, width), dtype=bool), []
    for radius in (90, 60, 40, 30, *[20] * 3, *[12] * 8, *[6] * 15, *[3] * 15):
        for _ in range(20):
            a, b = radius * generator.uniform(0.6, 1.4), radius * generator.uniform(0.6, 1.4)
            cy, cx = generator.uniform(0, height), generator.uniform(0, width)
            distance = ((y - cy) / a) ** 2 + ((x - cx) / b) ** 2
            mask = distance < 1
            if mask.sum() > 4 and free[mask].all():
                free &= distance > (1 + 3 / min(a, b)) ** 2
                masks.append(mask & (distance > 0.5) if radius == 40 else mask)
                break
    return masks


def seen_in(grid: Grid, masks: list[np.ndarray], scores: np.ndarray, soft: bool = False) -> list:
    """What a perfect detector sees in every tile."""
    height, width = masks[0].shape
    tiles = []
    for window in grid:
        bottom, right = min(window.bottom, height), min(window.right, width)
        found = []
        for mask, score in zip(masks, scores, strict=True):
            part = mask[window.top : bottom, window.left : right]
            box = tight_box(part)
            if box is not None:
                crop = np.ascontiguousarray(part[box[1] : box[3], box[0] : box[2]])
                moved = (box[0] + window.left, box[1] + window.top, box[2] + window.left, box[3] + window.top)
                likely = SoftMask(moved, crop * np.uint8(200)) if soft else None
                found.append(Segment(1, float(score), moved, crop, likely))
        tiles.append((window, found))
    return tiles


@pytest.mark.parametrize("seed", range(3))
def test_what_a_perfect_detector_sees_in_tiles_is_merged_into_the_objects(seed: int) -> None:
    height, width = 330, 410
    masks = objects(height, width, seed)
    scores = np.random.default_rng(seed).uniform(0.2, 1, len(masks))
    grid = grid_of(height, width, (96, 128), 24, 8)
    merged = merge(seen_in(grid, masks, scores, soft=True), height, width)
    assert len(masks) > 25 and len(merged) == len(masks)
    assert [segment.score for segment in merged] == sorted(scores, reverse=True)
    for segment, index in zip(merged, np.argsort(-scores), strict=True):
        x0, y0, x1, y1 = segment.box
        assert segment.box == tight_box(masks[index])
        assert np.array_equal(segment.mask, masks[index][y0:y1, x0:x1])
        assert segment.soft.box == segment.box and np.array_equal(segment.soft.values, segment.mask * np.uint8(200))


def block(x0: int, y0: int, x1: int, y1: int, score: float, label: int = 1) -> Segment:
    return Segment(label, score, (x0, y0, x1, y1), np.ones((y1 - y0, x1 - x0), dtype=bool))


def two_tiles(first: list[Segment], second: list[Segment]) -> list[Segment]:
    """Two tiles of 100 pixels that overlap from 75 to 100."""
    grid = Grid((0,), (0, 75), (100, 100), 25)
    return list(merge(list(zip(grid, (first, second), strict=True)), 100, 175))


def test_a_ragged_rest_at_the_border_is_no_second_object() -> None:
    whole, rest = block(80, 10, 130, 40, 0.85), block(80, 24, 99, 43, 0.9)
    assert two_tiles([rest], [whole]) == [whole]
    wide = two_tiles([rest], [replace(whole, label_id=2)])
    assert len(wide) == 2, "another class is another object"


def test_neighbours_that_touch_stay_apart() -> None:
    left, right = block(60, 10, 88, 40, 0.9), block(88, 10, 120, 40, 0.8)
    cut = block(88, 10, 100, 40, 0.7)
    merged = two_tiles([left, cut], [right, block(75, 10, 88, 40, 0.6)])
    assert [segment.box for segment in merged] == [left.box, right.box]


def test_a_doubtful_candidate_does_not_spoil_a_sure_object() -> None:
    sure = block(85, 20, 125, 60, 0.95)
    blotch = block(76, 5, 99, 95, 0.1)
    merged = two_tiles([block(85, 20, 100, 60, 0.9), blotch], [sure])
    assert merged[0] is sure and len(merged) <= 2
    assert merged == [sure] or merged[1] is blotch


def test_nothing_found_anywhere() -> None:
    assert two_tiles([], []) == []
