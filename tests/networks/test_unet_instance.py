"""U-Net with watershed: the shared contract, plain smp as the oracle of its maps, and objects that touch, of all sizes, across tiles."""

from __future__ import annotations

import io
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from seg_demo.core.errors import BadCheckpointError, BadImageError
from seg_demo.core.types import LabelSet, ModelSpec
from seg_demo.inference import engine, tiled
from seg_demo.inference.engine import looked_closer
from seg_demo.inference.model import Model
from seg_demo.masks.regions import Region
from seg_demo.networks.base import Network
from seg_demo.networks.unet_instance import DARK, ENLARGED, SMALL, SMALL_OF, InstanceUNet, UNetInstance, brightening, meeting, separated, truth_maps
from synthetic.cells import Sample
from synthetic.nuclei import render
from tests.networks.contract import LABELS, NetworkContract, image_of  # noqa: F401
from train import trainer
from train.batches import AsSeen

CELLS = LabelSet.from_names(("background", "cell"), 0)


class TestUnetInstance(NetworkContract):
    name = "unet-instance"

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> torch.Tensor:
        scope: dict[str, Any] = {}
        exec(checkpoint.card_snippet(str(folder)), scope)
        return (scope["logits"](batch) + scope["logits"](batch.flip(-2, -1)).flip(-2, -1)) / 2

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        options = config["options"]
        return [
            {**config, "num_classes": 10**6},
            {**config, "num_classes": 1},
            {**config, "options": {**options, "decoder_channels": [10**6] * 5}},
            {**config, "options": {**options, "decoder_channels": "many"}},
            {**config, "options": {**options, "encoder": "tu-hf-hub:someone/backbone"}},
            {**config, "options": {**options, "encoder": None}},
            {**config, "options": {**options, "aux_params": 3, "nothing": 4}},
            {**config, "options": None},
        ]


def maps_of(truth: np.ndarray, labels: np.ndarray | None = None, sure: float = 8.0) -> torch.Tensor:
    """What a perfect network says of an instance map (H, W): (1, classes + 2, H, W) logits."""
    count = int(truth.max())
    labels = np.ones(count, np.int64) if labels is None else labels
    classes, numbers, distance, _ = truth_maps(targets_of(truth, labels), truth.shape)
    logits = [sure * (2 * (classes == label) - 1.0) for label in range(int(labels.max(initial=1)) + 1)]
    line = meeting(torch.from_numpy(numbers)[None])[0].numpy()
    shares = np.clip(distance, 1e-3, 1 - 1e-3)
    return torch.from_numpy(np.stack([*logits, np.log(shares / (1 - shares)), sure * (2.0 * line - 1)]).astype(np.float32))[None]


def targets_of(truth: np.ndarray, labels: np.ndarray) -> dict[str, torch.Tensor]:
    """Truth as torchvision's detectors take it."""
    masks = np.stack([truth == number for number in range(1, int(truth.max()) + 1)]) if truth.any() else np.zeros((0, *truth.shape), bool)
    boxes = [(box[1].start, box[0].start, box[1].stop, box[0].stop) for box in ndimage.find_objects(truth)]
    return {"masks": torch.from_numpy(masks.astype(np.uint8)), "labels": torch.from_numpy(labels), "boxes": torch.tensor(boxes, dtype=torch.float32).reshape(-1, 4)}


def discs(height: int, width: int, *places: tuple[float, float, float]) -> np.ndarray:
    """uint16 (height, width): discs (x, y, radius), where two overlap each pixel of the one whose middle is nearer."""
    rows, columns = np.mgrid[0:height, 0:width]
    far = np.stack([np.hypot(columns - x, rows - y) / radius for x, y, radius in places])
    return np.where(far.min(0) < 1, far.argmin(0) + 1, 0).astype(np.uint16)


def matched(truth: np.ndarray, found: np.ndarray) -> float:
    """tp / (tp + fp + fn) at an IoU of 0.5."""
    table = np.zeros((int(truth.max()) + 1, int(found.max()) + 1))
    np.add.at(table, (truth.ravel().astype(int), found.ravel().astype(int)), 1)
    union = table.sum(1, keepdims=True) + table.sum(0, keepdims=True) - table
    hits = int(((table / np.maximum(union, 1))[1:, 1:] > 0.5).sum())
    return hits / (truth.max() + found.max() - hits)


def network(labels: LabelSet = CELLS, **rule: Any) -> UNetInstance:
    """A small one with random weights."""
    made = UNetInstance.create(labels, {"encoder": "tu-test_resnet", "decoder_channels": [16, 16, 8, 8, 8]})
    return replace(made, preprocessing=replace(made.preprocessing, **rule))


def test_the_maps_of_crowded_pictures_give_back_their_objects() -> None:
    """From 5 to 80 pixels across, touching; what cannot be told apart even by perfect maps is rare."""
    for index in range(6):
        truth = render(77, index, 192, kind="fluorescence").instance_map
        if truth.any():
            classes = maps_of(truth)[0].sigmoid().numpy()
            assert matched(truth, separated(classes[1], classes[2], classes[3])) > 0.8


def test_objects_touch_have_classes_and_come_by_falling_score() -> None:
    truth = discs(96, 128, (30, 40, 18), (60, 40, 18), (45, 66, 16), (100, 50, 14), (110, 85, 3))
    raw = maps_of(truth, np.array([1, 2, 1, 2, 1]))
    raw[0, :3, 30:70, 84:120] *= 0.1
    made = network(LabelSet.from_names(("background", "round", "oval"), 0))
    result = made.postprocess(raw, 96, 128, confidence=True)
    scores = [segment.score for segment in result.segments]
    assert len(scores) == 5 and scores == sorted(scores, reverse=True) and matched(truth, result.id_map) == 1
    for number, segment in enumerate(result.segments, start=1):
        assert isinstance(segment, Region) and segment.box == segment.moved(0, 0).box
        assert np.array_equal(result.mask_of(number - 1), (result.id_map == number)[segment.box[1] : segment.box[3], segment.box[0] : segment.box[2]])
        assert truth[result.id_map == number].tolist() and segment.label_id == [1, 2, 1, 2, 1][int(np.median(truth[result.id_map == number])) - 1]
    doubtful = result.segments[-1]
    assert doubtful.label_id == 2 and doubtful.score < 0.9
    assert result.confidence.shape == (96, 128) and result.confidence[40, 30] > 250 > result.confidence[50, 100] and result.confidence[2, 2] > 250
    kept = result.above(0.9)
    assert len(kept.segments) == 4 and kept.id_map.max() == 4


def test_neighbours_come_apart_where_the_network_is_half_as_sure_and_noise_on_a_slope_parts_nothing() -> None:
    truth = discs(96, 128, (30, 40, 18), (60, 40, 18), (45, 66, 16), (100, 50, 24), (110, 85, 3))
    maps = maps_of(truth)[0].sigmoid().numpy()
    noise = np.random.default_rng(0).normal(0, 0.03, truth.shape).astype(np.float32)
    for strength in (1.0, 0.5, 0.4, 0.2):
        found = separated(maps[1], np.clip(strength * maps[2] + noise, 0, 1), 0.7 * maps[3])
        assert matched(truth, found) == 1, strength
    # As long as an object is longer than wide, the share of its distance has a ridge that is no valley.
    rows, columns = np.mgrid[0:64, 0:160]
    rod = ((np.abs(rows - 32) < 12) & (np.abs(columns - 80) < 60)).astype(np.uint16)
    maps = maps_of(rod)[0].sigmoid().numpy()
    assert separated(maps[1], np.clip(maps[2] * (1 - 0.4 * np.sin(columns / 9) ** 2), 0, 1).astype(np.float32), maps[3]).max() == 1


def test_a_sliver_at_the_edge_is_none_but_what_is_small_inside_or_alone_stays() -> None:
    places = [(20, 20, 12), (50, 20, 12), (80, 20, 12), (110, 20, 12), (30, 60, 3), (60, 97, 4)]
    truth = discs(96, 128, *places)
    assert 6 <= (truth == 6).sum() < 0.1 * (truth == 1).sum() and (truth == 5).sum() < 0.1 * (truth == 1).sum()
    assert len(network().postprocess(maps_of(truth), 96, 128).segments) == 5
    alone = discs(96, 128, *places[-2:])
    assert len(network().postprocess(maps_of(alone), 96, 128).segments) == 2


def test_foreground_without_a_middle_is_nothing_and_sure_of_that() -> None:
    raw = maps_of(discs(64, 64, (20, 32, 12), (50, 32, 8)))
    raw[0, 2, :, 36:] = -6
    result = network().postprocess(raw, 64, 64, confidence=True)
    assert len(result.segments) == 1 and not result.id_map[:, 36:].any() and result.confidence[32, 50] < 5


def test_a_large_upload_has_smooth_outlines_and_straight_lines_between_neighbours() -> None:
    """Shrunk to half its size for the network and enlarged again: every object is there, within a pixel of the network's."""
    small, large = discs(160, 192, *(places := [(50, 60, 30), (104, 60, 26), (60, 120, 24), (150, 110, 3)])), discs(320, 384, *[(2 * x + 0.5, 2 * y + 0.5, 2 * r) for x, y, r in places])
    result = network(longest_side=192).postprocess(maps_of(small), 320, 384)
    assert result.id_map.shape == (320, 384) and matched(large, result.id_map) == 1
    edge = ndimage.binary_dilation(large > 0, iterations=2) & ~ndimage.binary_erosion(large > 0, iterations=2)
    assert not ((result.id_map > 0) != (large > 0))[~edge].any()
    for size in ((1, 1), (7, 640), (80, 96)):
        shown = network(longest_side=192).postprocess(torch.zeros(1, 4, 192, 192), *size)
        assert shown.id_map.shape == size and not shown.segments


def test_objects_that_are_smaller_than_a_pixel_of_the_upload_leave_no_gap_in_the_numbers() -> None:
    truth = discs(64, 64, (20, 20, 12), (44, 44, 2.5), (20, 50, 8))
    result = network(size=(64, 64)).postprocess(maps_of(truth), 8, 8)
    assert set(np.unique(result.id_map)) - {0} == set(result.ids) == set(range(1, len(result.segments) + 1)) and len(result.segments) >= 2


def crowd() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Small discs (96, 128), as a first look has them, not all apart, and as a second shows them, (128, 160) with its padding."""
    small = [(x, y, 3.2) for x in range(8, 124, 10) for y in range(8, 92, 10)]
    truth, merged = discs(96, 128, *small), discs(96, 128, *((x + 5 * (index % 2), y, 5) for index, (x, y, _) in enumerate(small[::2])))
    larger = np.zeros((128, 160), np.uint16)
    rows, columns = (((np.arange(length) + 0.5) / ENLARGED).astype(int) for length in (120, 160))
    larger[:120] = truth[rows[:, None], columns]
    return truth, merged, larger


def test_small_objects_are_looked_at_once_more_and_the_surer_look_is_the_answer() -> None:
    truth, merged, larger = crowd()
    made, seen = network(), []

    def look(raw: torch.Tensor) -> Callable[[torch.Tensor], tuple[torch.Tensor, torch.device]]:
        return lambda batch: (seen.append(tuple(batch.shape)), (raw, torch.device("cpu")))[1]

    first, pixels = made.postprocess(maps_of(merged), 96, 128, confidence=True), np.zeros((96, 128, 3), np.uint8)
    assert made.closer(first).preprocessing.fitted(96, 128) == (120, 160) and made.closer(first).module is made.module
    second = looked_closer(look(maps_of(larger)), made, first, pixels, True)
    assert second.seen == (120, 160) and seen == [(1, 3, 128, 160)] and second.id_map.shape == second.confidence.shape == (96, 128) and matched(truth, second.id_map) == 1
    assert looked_closer(look(torch.zeros(1, 4, 128, 160)), made, second, pixels, True) is second and len(seen) == 2
    # Of a picture that the network sees at half its size, small is what is small there.
    shrunk = network(longest_side=64)
    assert shrunk.closer(first).preprocessing.fitted(96, 128) == (60, 80) and shrunk.closer(made.postprocess(maps_of(discs(96, 128, *((x, y, 9) for x in (20, 50, 80, 110) for y in (20, 50, 80)))), 96, 128))
    # Larger ones, too few, none, and what is hardly any.
    for places in ([(x, y, SMALL / 2 + 1) for x in range(10, 120, 18) for y in range(10, 92, 18)], [(9 * x + 9, 20, 3.2) for x in range(SMALL_OF - 1)], [(-50, -50, 3)]):
        assert made.closer(made.postprocess(maps_of(discs(96, 128, *places)), 96, 128)) is None
    faint = maps_of(truth)
    faint[0, 2] -= 8.5
    assert len((doubtful := made.postprocess(faint, 96, 128)).segments) > 50 and made.closer(doubtful) is None
    assert network(size=(3000, 4)).closer(first).preprocessing.size == (3750, 5) and network(size=(4000, 3)).closer(first) is None, "as large as may be"


@pytest.fixture
def crowded_model(monkeypatch: pytest.MonkeyPatch) -> tuple[Model, list[tuple[int, int]]]:
    """A model that finds :func:`crowd` in what it is shown, and the sizes of that."""
    _, merged, larger = crowd()
    answers, shown = {(96, 128): maps_of(merged), (128, 160): maps_of(larger)}, []
    monkeypatch.setattr(UNetInstance, "forward", staticmethod(lambda module, batch: (shown.append(tuple(batch.shape[-2:])), answers[shown[-1]])[1]))
    return Model.from_network(network(), ModelSpec("crowd", None, "instance", "", "crowd", "", "folder")), shown


def test_a_result_says_the_size_that_its_look_saw(crowded_model: tuple[Model, list[tuple[int, int]]]) -> None:
    model, shown = crowded_model
    result = model.predict(np.zeros((96, 128, 3), np.uint8))
    assert result.seen == (120, 160) and shown == [(96, 128), (128, 160)] and {"postprocess", "closer"} < set(result.seconds)


def test_an_explanation_asks_the_look_that_gave_the_answer(crowded_model: tuple[Model, list[tuple[int, int]]]) -> None:
    """Of the second look's objects too, which the first has not apart; in full detail, of a tile, likewise."""
    model, shown = crowded_model
    picture = np.zeros((96, 128, 3), np.uint8)
    result = model.predict(picture)
    small = min(range(len(result.segments)), key=lambda index: np.count_nonzero(result.mask_of(index)))
    at = [int(value) for value in np.argwhere(result.id_map == result.ids[small])[0][::-1]]
    for answer, tried in ((result, 0), (replace(result, seen=None), 1)):
        shown.clear()
        found = model.explain(picture, answer, at)
        assert found.score > 0.5 and shown.count((96, 128)) == tried and shown.count((128, 160)) > 3
    first = model._run.looking(1, second=False)(picture, "whole", False, None, model._run.network.task, {})
    shown.clear()
    number = int(first.ids[0])
    model.explain(picture, first, [int(value) for value in np.argwhere(first.id_map == number)[0][::-1]])
    assert set(shown) == {(96, 128)}


def test_where_memory_is_short_the_first_look_is_the_answer(crowded_model: tuple[Model, list[tuple[int, int]]], monkeypatch: pytest.MonkeyPatch) -> None:
    """No picture is refused for a second look, which it may never get."""
    model, shown = crowded_model
    one, both = (engine.memory_needed(network(), 96, 128, "whole", False, second) for second in (False, True))
    for free, looks in ((one, 1), (both - 1, 1), (both, 2), (one - 1, 0)):
        monkeypatch.setattr(engine, "available_memory", lambda free=free: free)
        shown.clear()
        with pytest.raises(BadImageError) if not looks else nullcontext():
            assert model.predict(np.zeros((96, 128, 3), np.uint8)).seen == [(96, 128), (120, 160)][looks - 1]
        assert len(shown) == looks


def dim(height: int = 200, width: int = 240, ground: float = 6.0, light: float = 24.0) -> np.ndarray:
    """Nuclei of 24 levels above a ground of 6, uint8 (height, width, 3), with the noise of a camera."""
    places = [(x, y, 7.0) for x in range(15, width, 30) for y in range(15, height, 30)]
    grey = ground + light * ndimage.gaussian_filter((discs(height, width, *places) > 0).astype(np.float32), 1.0)
    return np.repeat(np.rint(grey + np.random.default_rng(0).normal(0, 0.7, grey.shape)).clip(0, 255).astype(np.uint8)[..., None], 3, 2)


def test_a_dark_picture_is_brightened_once_and_dust_makes_no_difference() -> None:
    picture = dim()
    tables = brightening(picture)
    assert tables.shape == (3, 256) and tables.dtype == np.uint8 and (np.diff(tables.astype(int), axis=1) >= 0).all() and (tables[:, 255] == 255).all()
    shown = network().exposed(picture)
    assert shown.shape == picture.shape and shown.dtype == np.uint8 and np.array_equal(shown[..., 1], tables[1][picture[..., 1]])
    assert 3 * (np.percentile(picture, 98) - np.percentile(picture, 20)) < np.percentile(shown, 98) - np.percentile(shown, 20) and 160 < shown.max() <= 205
    assert network().exposed(shown) is shown, "what has been brightened is not dark"
    dusty = picture.copy()
    dusty[60:70, 115:125], dusty[3, ::40] = 255, 200
    assert np.abs(brightening(dusty)[:, :40].astype(int) - tables[:, :40]).max() <= 8
    blue = picture * np.array([0, 0, 1], np.uint8)
    assert not network().exposed(blue)[..., :2].any() and np.ptp(network().exposed(blue)[..., 2]) > 80
    assert replace(network(), preprocessing=replace(network().preprocessing, ranges=((0.0, 60.0),) * 3)).exposed(picture) is picture, "measured values have ranges"


def test_what_is_bright_or_empty_stays_as_it_is() -> None:
    """Noise, slopes of light, hardly any levels, blocks of a JPEG, and what is too small to say."""
    random, columns = np.random.default_rng(1), np.arange(200)
    noise = random.normal(0, 1, (160, 200))
    empty = [10 + 3 * noise, 10 + 4 * ndimage.gaussian_filter(noise, 2) / 0.14, 20 + 0.2 * columns + noise, random.poisson(12, noise.shape), dim(160, 200, light=2.0)[..., 0]]
    Image.fromarray(dim(160, 200)).save(file := io.BytesIO(), "JPEG", quality=30)
    blocks = np.asarray(Image.open(file))[..., 1]
    for grey in (*empty, blocks, dim(160, 200)[..., 0] * (DARK / 25), dim(160, 200)[:9, :9, 0], np.zeros((1, 1)), np.zeros((40, 50))):
        picture = np.repeat(np.rint(grey).clip(0, 255).astype(np.uint8)[..., None], 3, 2)
        assert network().exposed(picture) is picture


def test_all_of_a_dark_picture_is_brightened_alike_in_tiles_and_when_it_is_explained(monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile that is darker than the others would have another table."""
    picture, batches = dim(200, 300), []
    picture[:, :150] = picture[:, :150] // 2
    monkeypatch.setattr(UNetInstance, "forward", staticmethod(lambda module, batch: (batches.append(batch), torch.zeros(1, 4, *batch.shape[-2:]))[1]))
    made = network(longest_side=128)
    model = Model.from_network(made, ModelSpec("dark", None, "instance", "", "dark", "", "folder"))
    model.predict(picture, detail="full")
    plan = tiled.plan(made, *picture.shape[:2])
    shown = made.exposed(picture)
    assert len(batches) == len(plan.grid) > 4 and shown is not picture
    for window, batch in zip(plan.grid, batches, strict=True):
        part = shown[window.top : window.bottom, window.left : window.right]
        assert torch.equal(batch[..., : part.shape[0], : part.shape[1]], plan.network.preprocess(part)[..., : part.shape[0], : part.shape[1]])
    batches.clear()
    model.predict(picture)
    model._run.looking(1, second=False)(picture, "whole", False, None, made.task, {})
    assert torch.equal(batches[0], made.preprocess(shown)) and torch.equal(batches[1], made.preprocess(picture)), "an explanation shows what has been brightened"
    seen = AsSeen(made)(Sample(picture, np.zeros((200, 300), np.uint8)))
    assert np.array_equal(seen.image, made.pixels_as_seen(shown)), "training sees what predictions do"


@pytest.mark.parametrize("kept", [True, False])
def test_training_brightens_a_picture_once(kept: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """A JPEG's blocks keep it from being brightened; made smaller, it has none."""
    Image.fromarray(dim(512, 512, light=20.0)).save(file := io.BytesIO(), "JPEG", quality=30)
    picture, made = np.asarray(Image.open(file)), network(longest_side=256)
    smaller = made.pixels_as_seen(picture)
    assert made.exposed(picture) is picture and made.exposed(smaller) is not smaller
    monkeypatch.setattr(trainer, "read_item", lambda *_: Sample(picture, np.zeros((512, 512), np.uint8)))
    monkeypatch.setattr(trainer, "memory_budget", lambda: kept << 30)
    data = SimpleNamespace(source="folder")
    prepared = SimpleNamespace(dataset=data, train=[None], task="instance", replay=0, augment="none", crop=256)
    crops = trainer.Trainer._crops(SimpleNamespace(checkpoint=made, prepared=prepared, config=SimpleNamespace(json=True, seed=0), main=True))
    assert len(crops.cached) == kept
    assert np.array_equal(np.rint(crops[0, 0].image.permute(1, 2, 0).numpy() * 255).astype(np.uint8), smaller), "as it is predicted on"


def test_objects_across_the_borders_of_tiles_are_found_once_and_whole() -> None:
    """In full detail each tile is answered by perfect maps of its part; objects of up to 70 pixels lie across every border."""
    random = np.random.default_rng(0)
    places = [(x + random.uniform(-3, 3), y + random.uniform(-3, 3), random.uniform(9, 14)) for x in range(8, 260, 22) for y in range(8, 200, 22)]
    truth = discs(205, 263, *places, (96, 96, 36), (180, 130, 30))
    made, seen = network(longest_side=128), []

    def answer(batch: torch.Tensor) -> tuple[torch.Tensor, torch.device]:
        tile = batch[0, 0].numpy()
        here = np.rint((tile * made.preprocessing.std[0] + made.preprocessing.mean[0]) * 255).astype(np.uint16)
        here += 256 * np.rint((batch[0, 1].numpy() * made.preprocessing.std[1] + made.preprocessing.mean[1]) * 255).astype(np.uint16)
        inside = np.isin(here, numbers) * here
        compact = np.unique(inside, return_inverse=True)[1].reshape(inside.shape)
        seen.append(batch.shape)
        return maps_of(compact), torch.device("cpu")

    numbers = np.unique(truth[truth > 0])
    image = np.stack([truth % 256, truth // 256, np.zeros_like(truth)], 2).astype(np.uint8)
    plan = tiled.plan(made, *truth.shape)
    parts = []
    result = tiled.run(plan, answer, image, confidence=True, closer=lambda network, found, part, _: (parts.append((network is plan.network, found.height, found.width, part)), found)[1])
    assert all(same and part.shape[:2] == (height, width) for same, height, width, part in parts) and len(parts) == len(plan.grid)
    assert np.array_equal(parts[-1][3], image[-parts[-1][1] :, -parts[-1][2] :]), "a second look sees what lies in the image alone"
    assert len(seen) == len(plan.grid) == 6 and {shape[2:] for shape in seen} == {torch.Size((128, 128))}
    assert matched(np.unique(truth, return_inverse=True)[1].reshape(truth.shape), result.id_map) > 0.95
    assert result.confidence.shape == truth.shape


def test_a_tile_of_a_thin_picture_goes_on_beyond_it_as_whole_pictures_are_padded() -> None:
    """With a bare ground there instead, the objects beside it were lost."""
    made, seen = network(longest_side=256), []
    pixels = np.random.default_rng(0).integers(0, 256, (40, 600, 3), np.uint8)
    for image in (pixels, np.ascontiguousarray(pixels.transpose(1, 0, 2))):
        plan = tiled.plan(made, *image.shape[:2])
        tiled.run(plan, lambda batch: (seen.append(batch), (torch.zeros(1, 4, *batch.shape[-2:]), torch.device("cpu")))[1], image)
        first, whole = seen[-len(plan.grid)], made.preprocess(image[: plan.grid.tile[0], : plan.grid.tile[1]])
        rows, columns = (min(sides) for sides in zip(first.shape[-2:], whole.shape[-2:], strict=True))
        assert min(rows, columns) == 64 and torch.equal(first[..., :rows, :columns], whole[..., :rows, :columns])
        assert min(first.shape[-2:]) > 64 and first.std(-2).min() > 0.1 and first.std(-1).min() > 0.1, "further off too"


def test_the_share_of_the_distance_is_scipys_and_the_crops_edge_is_none() -> None:
    truth = discs(40, 50, (0, 20, 15), (25, 20, 12))
    classes, numbers, distance, weights = truth_maps(targets_of(truth, np.array([1, 3])), truth.shape)
    assert np.array_equal(classes, np.array([0, 1, 3])[truth]) and np.array_equal(numbers, truth)
    for number in (1, 2):
        mask = truth == number
        depth = ndimage.distance_transform_edt(np.pad(mask, ((0, 0), (15, 0)), mode="edge"))[:, 15:] - 0.5
        assert np.allclose(distance[mask], (depth / depth[mask].max())[mask], atol=1e-6) and distance[mask].max() == 1
    assert distance[20, 0] == distance[truth == 1].max() and weights[0, 49] == 1 and weights.max() <= 3
    whole = truth_maps(targets_of(np.ones((8, 8), np.uint16), np.array([1])), (8, 8))
    assert (whole[2] == 1).all(), "an object as large as the crop has no edge"
    overlapping = {"masks": torch.ones(2, 8, 8, dtype=torch.uint8), "labels": torch.tensor([1, 2]), "boxes": torch.tensor([[0.0, 0, 8, 8], [2, 2, 5, 5]])}
    overlapping["masks"][1] = 0
    overlapping["masks"][1, 2:5, 2:5] = 1
    assert truth_maps(overlapping, (8, 8))[0][3, 3] == 2, "the smaller lies upon the larger"
    assert not any(maps.any() for maps in truth_maps(targets_of(np.zeros((8, 8), np.uint16), np.zeros(0, np.int64)), (8, 8))[:3])


def test_objects_meet_where_no_more_than_two_pixels_are_between_them() -> None:
    numbers = torch.zeros(1, 12, 30)
    numbers[0, :, 2:8], numbers[0, :, 8:14], numbers[0, :, 16:20], numbers[0, :, 25:] = 1, 2, 3, 4
    columns = meeting(numbers)[0, 6].nonzero()[:, 0].tolist()
    assert columns == [7, 8, 14, 15], "beside each other, and the gap of two; a gap of five is none"


def test_a_step_moves_every_weight_and_pictures_without_objects_count() -> None:
    torch.manual_seed(0)
    made = network()
    images = torch.rand(2, 3, 64, 64)
    truth = [targets_of(discs(64, 64, (20, 20, 9), (40, 20, 12)), np.array([1, 1])), targets_of(np.zeros((64, 64), np.uint16), np.zeros(0, np.int64))]
    made.module.train()
    loss = made.loss(made.module, images, truth, lambda logits: logits, 0.5)
    loss.backward()
    assert torch.isfinite(loss) and all(parameter.grad is not None for parameter in made.module.parameters())
    perfect, nothing = maps_of(discs(64, 64, (20, 20, 9), (40, 20, 12))), torch.zeros(1, 4, 64, 64)
    good, bad = (float(made.loss(_Says(maps), images[:1], truth[:1], lambda logits: logits, 1.0)) for maps in (perfect, nothing))
    assert good < 0.5 * bad


class _Says(torch.nn.Module):
    """Answers the same, whatever it sees."""

    def __init__(self, maps: torch.Tensor) -> None:
        super().__init__()
        self.maps = maps

    def forward(self, batch: torch.Tensor) -> torch.Tensor:
        return self.maps


def test_an_encoder_that_is_none_is_refused_by_name() -> None:
    with pytest.raises(BadCheckpointError, match="no-such"):
        UNetInstance.build(2, {"encoder": "no-such"})
    assert isinstance(UNetInstance.build(2, UNetInstance.default_options()), InstanceUNet)
