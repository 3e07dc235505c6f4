"""Tiles: geometry and blending against dense sums, merging against the truth, networks against whole-image inference."""

from __future__ import annotations

import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from seg_demo import networks
from seg_demo.errors import BadImageError, BadRequestError
from seg_demo.masks.merging import merge
from seg_demo.masks.tiles import Blender, Grid, grid_of
from seg_demo.models import detail, devices, memory
from seg_demo.models.model import Model
from seg_demo.networks import fcn, unet
from seg_demo.networks.base import Preprocessing
from seg_demo.painting import paint
from seg_demo.types import ModelSpec, Segment, SoftMask, tight_box
from tests.checkpoints import CELLS

ROOT = Path(__file__).parents[1]
SPEC = ModelSpec("ann/model", None, "semantic", "", "model", "", "folder")


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


def small_unet(longest: int, **options: object) -> unet.Checkpoint:
    """A U-Net of three stages, whose halo can be worked out; its weights make every class win somewhere."""
    torch.manual_seed(3)
    made = {"decoder": "Unet", "encoder": "resnet18", "encoder_depth": 3, "decoder_channels": [32, 16, 8], **options}
    checkpoint = unet.create(CELLS, made)
    checkpoint.module.requires_grad_(False)
    rule = Preprocessing(longest_side=longest, multiple=checkpoint.preprocessing.multiple)
    return replace(checkpoint, preprocessing=rule)


def textured(height: int, width: int, seed: int = 0) -> np.ndarray:
    generator = np.random.default_rng(seed)
    coarse = generator.integers(0, 256, (height // 9 + 2, width // 9 + 2, 3), dtype=np.uint8)
    return np.ascontiguousarray(np.kron(coarse, np.ones((9, 9, 1), np.uint8))[:height, :width])


def halo_of(checkpoint: unet.Checkpoint) -> int:
    """How far a change of one pixel reaches in the logits, measured: the gradient of one output by its input."""
    side = 512
    batch = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    middle = side // 2
    unet.forward(checkpoint.module, batch)[0, :, middle : middle + 8, middle : middle + 8].sum().backward()
    touched = batch.grad.abs().sum((0, 1)).nonzero()
    return int(max(middle - touched.min(), touched.max() - (middle + 7)))


def test_a_unet_in_tiles_is_the_unet_on_the_whole_image_beyond_its_halo(monkeypatch) -> None:
    """The halo of this U-Net is 71 pixels: 64 by its kernels (3 + 2 in the stem, 4 * 4 and 4 + 3 * 8 in the stages, 8 + 4 + 2
    in the decoder, 1 in the head), and 7 because all 8 x 8 pixels of its coarsest grid see the same. Tiles overlap by 160
    pixels. Without weight within 72 pixels of their inner borders, every pixel of the result is beyond the halo."""
    checkpoint = small_unet(640)
    halo = 71
    assert 60 < halo_of(checkpoint) <= halo
    image = textured(660, 1111)
    whole = Model.from_checkpoint(replace(checkpoint, preprocessing=Preprocessing(longest_side=2048, multiple=8)), SPEC)
    expected = whole.predict(image)
    plan = detail.plan(checkpoint, *image.shape[:2])
    assert plan.unit == 8 and plan.grid.tile == (640, 640) and plan.grid.overlap == 160
    monkeypatch.setattr(detail, "Blender", lambda grid, factor, margin: Blender(grid, factor, halo + 1))
    found = Model.from_checkpoint(checkpoint, SPEC).predict(image, detail="full")
    assert len(np.unique(expected.id_map)) == 3
    assert (found.id_map == expected.id_map).mean() > 0.99999, "but for ties within rounding"
    for mine, theirs in zip(found.segments, expected.segments, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
    # With the default margin of 40 pixels some weight lies within the halo: equal beyond it, nearly so within.
    monkeypatch.undo()
    ordinary = Model.from_checkpoint(checkpoint, SPEC).predict(image, detail="full", confidence=True)
    away = np.ones(image.shape[:2], dtype=bool)
    for borders, length, axis in ((plan.grid.tops, 660, 0), (plan.grid.lefts, 1111, 1)):
        inner = [start for start in borders if start] + [start + 640 for start in borders if start + 640 < length]
        near = np.array([any(abs(place + 0.5 - border) <= halo for border in inner) for place in range(length)])
        away &= ~np.expand_dims(near, 1 - axis)
    assert 0.3 < away.mean() < 0.9
    assert (ordinary.id_map == expected.id_map)[away].mean() > 0.99999
    assert (ordinary.id_map == expected.id_map).mean() > 0.95
    assert ordinary.confidence.shape == image.shape[:2]


class Count(torch.nn.Module):
    """A network whose logits say where a pixel is: any misplaced tile or pixel shows."""

    def __init__(self, factor: int) -> None:
        super().__init__()
        self.factor, self.weight = factor, torch.nn.Parameter(torch.ones(1))

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        red = torch.nn.functional.avg_pool2d(batch[:, :1], self.factor) if self.factor > 1 else batch[:, :1]
        return torch.cat([red, -red, 0.3 - red.abs()], dim=1) * self.weight


@pytest.mark.parametrize("size", [(100, 301), (301, 100), (255, 257), (129, 128), (40, 700), (33, 1500)])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_pixel_is_where_it_belongs(size: tuple[int, int], factor: int) -> None:
    checkpoint = small_unet(128)
    checkpoint = replace(checkpoint, module=Count(factor))
    image = textured(*size, seed=factor)
    rule = replace(checkpoint.preprocessing, longest_side=2048)
    logits = Count(factor).requires_grad_(False)(unet.preprocess(replace(checkpoint, preprocessing=rule), image))
    up = torch.nn.functional.interpolate(logits, scale_factor=factor, mode="bilinear")[0, :, : size[0], : size[1]]
    reports = []
    model = Model.from_checkpoint(checkpoint, SPEC)
    found = model.predict(image, detail="full", confidence=True, report=lambda part, text: reports.append((part, text)))
    top = up.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-5).numpy()
    assert np.array_equal(found.id_map[clear], up.argmax(0).numpy()[clear]) and clear.mean() > 0.98
    assert np.abs(found.confidence - up.softmax(0).amax(0).numpy() * 255).max() <= 1.01
    count = len(detail.plan(checkpoint, *size).grid)
    assert reports[-1] == (1.0, f"Tile {count} of {count}") and len(reports) == count > 1
    assert set(found.seconds) == {"decode", "tiles", "total"}


def test_an_image_no_larger_than_a_tile_is_taken_whole(folders) -> None:
    for name in ("unet", "segformer", "maskrcnn"):
        checkpoint = networks.load(folders / name)
        side = min(detail.plan(checkpoint, 4000, 4000).grid.tile)
        assert detail.plan(checkpoint, side, side) is None and detail.plan(checkpoint, side, 10 * side) is not None


def test_tiles_keep_their_pixels_in_every_network(folders) -> None:
    rules = {
        "unet": None,
        "segformer": None,
        "maskrcnn": None,
        "tiny": Preprocessing(size=(512, 512)),
        "fcn": Preprocessing(shortest_side=520, longest_side=4096, multiple=32),
    }
    for name, rule in rules.items():
        checkpoint = fcn.create(CELLS, fcn.default_options()) if name == "fcn" else networks.load(folders / name)
        checkpoint = checkpoint if rule is None else replace(checkpoint, preprocessing=rule)
        for size in ((3000, 4000), (100, 3000), (3000, 100)):
            plan = detail.plan(checkpoint, *size)
            tile = plan.grid.tile
            assert plan.checkpoint.preprocessing.fitted(*tile) == tile
            batch = networks.network(checkpoint.architecture).preprocess(plan.checkpoint, np.zeros((*tile, 3), np.uint8))
            assert tuple(batch.shape[2:]) == tile


def test_objects_are_found_in_tiles_and_counted_once(folders) -> None:
    checkpoint = networks.load(folders / "maskrcnn")
    model = Model.from_checkpoint(checkpoint, replace(SPEC, task="instance"))
    image = textured(150, 260)
    result = model.predict_all(image, detail="full", confidence=True)
    assert result.task == "instance" and result.segments and result.confidence is not None
    assert np.array_equal(result.id_map, paint(result.segments, 150, 260))
    scores = [segment.score for segment in result.segments]
    assert scores == sorted(scores, reverse=True)


def test_another_detail_is_refused(folders) -> None:
    model = Model.from_checkpoint(networks.load(folders / "tiny"), SPEC)
    for bad in ("Full", "", None, 1, True, ["full"], "x" * 500):
        with pytest.raises(BadRequestError, match="detail must be 'whole' .* or 'full'"):
            model.predict(np.zeros((9, 9, 3), np.uint8), detail=bad)


def test_a_size_that_does_not_fit_is_refused_with_the_size_that_does(folders, monkeypatch) -> None:
    checkpoint = networks.load(folders / "maskrcnn")
    model = Model.from_checkpoint(checkpoint, replace(SPEC, task="instance"))
    ran = []
    monkeypatch.setattr(type(model._run), "_forward", lambda *_: ran.append(1))
    free = memory.needed(checkpoint, 160, 320, "whole", False)
    monkeypatch.setattr(devices, "available_memory", lambda: free)
    image = np.zeros((300, 600, 3), np.uint8)
    with pytest.raises(BadImageError, match=r"600 x 300 pixels needs about .* up to (\d+) x (\d+) pixels fit") as raised:
        model.predict(image)
    wide, tall = (int(part) for part in str(raised.value).split("up to ")[1].split(" pixels")[0].split(" x "))
    assert memory.needed(checkpoint, tall, wide, "whole", False) <= free < memory.needed(checkpoint, tall + 2, wide + 2, "whole", False)
    assert "choose full detail" in str(raised.value) and not ran
    monkeypatch.setattr(devices, "available_memory", lambda: 1000)
    with pytest.raises(BadImageError, match="Not even a small one fits"):
        model.predict(image, detail="full")


def test_free_memory_is_that_of_the_container_too(monkeypatch, tmp_path) -> None:
    free = devices.available_memory()
    assert 0 < free <= devices.total_memory(torch.device("cpu"))
    limit, used, statistics = (tmp_path / name for name in ("max", "current", "stat"))
    limit.write_text("5000000\n")
    used.write_text("4000000\n")
    statistics.write_text("anon 1\ninactive_file 300000\n")
    monkeypatch.setattr(devices, "CGROUP_FILES", ((limit, used, statistics),))
    assert devices.available_memory() == 1_300_000
    limit.write_text("max\n")
    assert devices.available_memory() > 5_000_000


PEAK = """
import resource, sys
from dataclasses import replace
import numpy as np
from seg_demo.models.model import Model
from tests.test_tiles import SPEC, Count, small_unet
side, height, width = map(int, sys.argv[1:])
checkpoint = small_unet(side)
if side < 512:
    checkpoint = replace(checkpoint, module=Count(1))
model = Model.from_checkpoint(checkpoint, SPEC)
image = np.zeros((height, width, 3), np.uint8)
image[::7, ::5] = 255
model.predict(image[:side + 1, :side + 1], detail="full", confidence=True)
before = int(open("/proc/self/statm").read().split()[1]) * resource.getpagesize()
model.predict(image, detail="full", confidence=True)
# Not ru_maxrss: a process begins with that of the one that started it.
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0]) * 1024
print("PEAK", peak - before + image.nbytes)
"""


def peak_bytes(side: int, height: int, width: int) -> int:
    """Growth of a fresh process's memory by a prediction with full detail, the decoded image included."""
    command = [sys.executable, "-c", PEAK, str(side), str(height), str(width)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=3000)
    assert done.returncode == 0, done.stderr[-2000:]
    return int(done.stdout.split("PEAK")[1])


@pytest.mark.soak
def test_full_detail_of_100_megapixels_stays_under_1_5_gib(monkeypatch) -> None:
    for name, value in (("PIXELS", 120_000_000), ("SIDE", 20_000)):
        monkeypatch.setenv(f"SEG_DEMO_MAX_{name}", str(value))
    assert peak_bytes(512, 10_000, 10_000) < 1.5 * 2**30


def test_memory_follows_the_results_and_not_the_floats() -> None:
    pixels = 2000 * 3000
    most = 16 * pixels
    assert peak_bytes(256, 2000, 3000) < most, "image 3, id map 1, confidence 1, a few strips; dense logits and softmax are 24"
