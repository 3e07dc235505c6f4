"""Networks in tiles against the same networks on the whole image: pixels, objects and memory."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from seg_demo import load_model, networks
from seg_demo.core.errors import BadImageError, BadRequestError
from seg_demo.core.types import paint
from seg_demo.inference import engine, tiled
from seg_demo.inference.model import Model
from seg_demo.inference.tiled import Blender
from seg_demo.networks.base import Preprocessing
from seg_demo.networks.fcn import FCN
from seg_demo.networks.unet import UNet
from tests.checkpoints import CELLS
from tests.tiled import ROOT, SPEC, Count, small_unet, textured


def halo_of(checkpoint: UNet) -> int:
    """How far a change of one pixel reaches in the logits, measured: the gradient of one output by its input."""
    side = 512
    batch = torch.rand((1, 3, side, side), generator=torch.Generator().manual_seed(1)).requires_grad_(True)
    middle = side // 2
    UNet.forward(checkpoint.module, batch)[0, :, middle : middle + 8, middle : middle + 8].sum().backward()
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
    whole = Model.from_network(replace(checkpoint, preprocessing=Preprocessing(longest_side=2048, multiple=8)), SPEC)
    expected = whole.predict(image)
    plan = tiled.plan(checkpoint, *image.shape[:2])
    assert plan.unit == 8 and plan.grid.tile == (640, 640) and plan.grid.overlap == 160
    monkeypatch.setattr(tiled, "Blender", lambda grid, factor, margin, *_: Blender(grid, factor, halo + 1))
    found = Model.from_network(checkpoint, SPEC).predict(image, detail="full")
    assert len(np.unique(expected.id_map)) == 3
    assert (found.id_map == expected.id_map).mean() > 0.99999, "but for ties within rounding"
    for mine, theirs in zip(found.segments, expected.segments, strict=True):
        assert mine.score == pytest.approx(theirs.score, abs=1e-4)
    # With the default margin of 40 pixels some weight lies within the halo: equal beyond it, nearly so within.
    monkeypatch.undo()
    ordinary = Model.from_network(checkpoint, SPEC).predict(image, detail="full", confidence=True)
    away = np.ones(image.shape[:2], dtype=bool)
    for borders, length, axis in ((plan.grid.tops, 660, 0), (plan.grid.lefts, 1111, 1)):
        inner = [start for start in borders if start] + [start + 640 for start in borders if start + 640 < length]
        near = np.array([any(abs(place + 0.5 - border) <= halo for border in inner) for place in range(length)])
        away &= ~np.expand_dims(near, 1 - axis)
    assert 0.3 < away.mean() < 0.9
    assert (ordinary.id_map == expected.id_map)[away].mean() > 0.99999
    assert (ordinary.id_map == expected.id_map).mean() > 0.95
    assert ordinary.confidence.shape == image.shape[:2]


@pytest.mark.parametrize("size", [(100, 301), (301, 100), (255, 257), (129, 128), (40, 700), (33, 1500)])
@pytest.mark.parametrize("factor", [1, 2, 4])
def test_every_pixel_is_where_it_belongs(size: tuple[int, int], factor: int) -> None:
    checkpoint = small_unet(128)
    checkpoint = replace(checkpoint, module=Count(factor))
    image = textured(*size, seed=factor)
    rule = replace(checkpoint.preprocessing, longest_side=2048)
    logits = Count(factor).requires_grad_(False)(replace(checkpoint, preprocessing=rule).preprocess(image))
    up = torch.nn.functional.interpolate(logits, scale_factor=factor, mode="bilinear")[0, :, : size[0], : size[1]]
    reports = []
    model = Model.from_network(checkpoint, SPEC)
    found = model.predict(image, detail="full", confidence=True, report=lambda part, text: reports.append((part, text)))
    top = up.topk(2, dim=0).values
    clear = (top[0] - top[1] > 1e-5).numpy()
    assert np.array_equal(found.id_map[clear], up.argmax(0).numpy()[clear]) and clear.mean() > 0.98
    assert np.abs(found.confidence - up.softmax(0).amax(0).numpy() * 255).max() <= 1.01
    count = len(tiled.plan(checkpoint, *size).grid)
    assert reports[-1] == (1.0, f"Tile {count} of {count}") and len(reports) == count > 1
    assert set(found.seconds) == {"decode", "tiles", "total"}


def test_an_image_no_larger_than_a_tile_is_taken_whole(folders) -> None:
    for name in ("unet", "segformer", "maskrcnn"):
        checkpoint = networks.load(folders / name)
        side = min(tiled.plan(checkpoint, 4000, 4000).grid.tile)
        assert tiled.plan(checkpoint, side, side) is None and tiled.plan(checkpoint, side, 10 * side) is not None


def test_tiles_keep_their_pixels_in_every_network(folders) -> None:
    rules = {
        "unet": None,
        "segformer": None,
        "maskrcnn": None,
        "tiny": Preprocessing(size=(512, 512)),
        "fcn": Preprocessing(shortest_side=520, longest_side=4096, multiple=32),
    }
    for name, rule in rules.items():
        checkpoint = FCN.create(CELLS, FCN.default_options()) if name == "fcn" else networks.load(folders / name)
        checkpoint = checkpoint if rule is None else replace(checkpoint, preprocessing=rule)
        for size in ((3000, 4000), (100, 3000), (3000, 100)):
            plan = tiled.plan(checkpoint, *size)
            tile = plan.grid.tile
            assert plan.network.preprocessing.fitted(*tile) == tile
            batch = plan.network.preprocess(np.zeros((*tile, 3), np.uint8))
            assert tuple(batch.shape[2:]) == tile


def test_objects_are_found_in_tiles_and_counted_once(folders) -> None:
    checkpoint = networks.load(folders / "maskrcnn")
    model = Model.from_network(checkpoint, replace(SPEC, task="instance"))
    image = textured(150, 260)
    result = model.predict_all(image, detail="full", confidence=True)
    assert result.task == "instance" and result.segments and result.confidence is not None
    assert np.array_equal(result.id_map, paint(result.segments, 150, 260))
    scores = [segment.score for segment in result.segments]
    assert scores == sorted(scores, reverse=True)


def test_another_detail_is_refused(folders) -> None:
    model = Model.from_network(networks.load(folders / "tiny"), SPEC)
    for bad in ("Full", "", None, 1, True, ["full"], "x" * 500):
        with pytest.raises(BadRequestError, match="detail must be 'whole' .* or 'full'"):
            model.predict(np.zeros((9, 9, 3), np.uint8), detail=bad)


def test_a_size_that_does_not_fit_is_refused_with_the_size_that_does(folders, monkeypatch) -> None:
    checkpoint = networks.load(folders / "maskrcnn")
    model = Model.from_network(checkpoint, replace(SPEC, task="instance"))
    ran = []
    monkeypatch.setattr(type(model._run), "_forward", lambda *_: ran.append(1))
    free = engine.memory_needed(checkpoint, 160, 320, "whole", False)
    monkeypatch.setattr(engine, "available_memory", lambda: free)
    image = np.zeros((300, 600, 3), np.uint8)
    with pytest.raises(BadImageError, match=r"600 x 300 pixels needs about .* up to (\d+) x (\d+) pixels fit") as raised:
        model.predict(image)
    wide, tall = (int(part) for part in str(raised.value).split("up to ")[1].split(" pixels")[0].split(" x "))
    assert engine.memory_needed(checkpoint, tall, wide, "whole", False) <= free < engine.memory_needed(checkpoint, tall + 2, wide + 2, "whole", False)
    assert "choose full detail" in str(raised.value) and not ran
    free = engine.memory_needed(checkpoint, 1, 600, "whole", False)
    with pytest.raises(BadImageError, match=r"up to [56]\d\d x 1 pixels fit"):
        model.predict(np.zeros((1, 900, 3), np.uint8))
    monkeypatch.setattr(engine, "available_memory", lambda: 1000)
    with pytest.raises(BadImageError, match="Not even a small one fits"):
        model.predict(image, detail="full")


def test_free_memory_is_that_of_the_container_too(monkeypatch, tmp_path) -> None:
    free = engine.available_memory()
    assert 0 < free <= engine.total_memory(torch.device("cpu"))
    limit, used, statistics = (tmp_path / name for name in ("max", "current", "stat"))
    limit.write_text("5000000\n")
    used.write_text("4000000\n")
    statistics.write_text("anon 1\ninactive_file 300000\n")
    monkeypatch.setattr(engine, "CGROUP_FILES", ((limit, used, statistics),))
    assert engine.available_memory() == 1_300_000
    limit.write_text("max\n")
    assert engine.available_memory() > 5_000_000


PEAK = """
import resource, sys
from dataclasses import replace
import numpy as np
from seg_demo.inference.model import Model
from tests.tiled import SPEC, Count, small_unet
side, height, width = map(int, sys.argv[1:])
checkpoint = small_unet(side)
if side < 512:
    checkpoint = replace(checkpoint, module=Count(1))
model = Model.from_network(checkpoint, SPEC)
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
    peak = peak_bytes(512, 10_000, 10_000)
    print(f"measured: {peak / 2**20:.0f} MiB for 100 megapixels")
    assert peak < 1.5 * 2**30


@pytest.mark.soak
def test_memory_follows_the_results_and_not_the_floats() -> None:
    pixels = 2000 * 3000
    most = 16 * pixels
    peak = peak_bytes(256, 2000, 3000)
    print(f"measured: {peak / pixels:.1f} bytes a pixel")
    assert peak < most, "image 3, id map 1, confidence 1, a few strips; dense logits and softmax are 24"


@pytest.mark.parametrize("detail", ["whole", "full"])
def test_several_looks_are_the_mean_of_the_answers_to_mirror_images(detail):
    """Of logits: the label map is that of their mean, and the picture's mirror image has the mirrored one."""
    model = Model.from_network(small_unet(64), SPEC)
    image = textured(150, 211)
    found = {looks: model.predict(image, detail=detail, looks=looks).id_map for looks in (1, 2, 4)}
    assert not np.array_equal(found[1], found[2]) and not np.array_equal(found[2], found[4])
    network = model._run.network
    if detail == "whole":
        with torch.inference_mode():
            batch = network.preprocess(image)
            raw = (network.forward(network.module, batch) + network.forward(network.module, batch.flip(-1)).flip(-1)) / 2
            assert np.array_equal(found[2], network.postprocess(raw, 150, 211).id_map)
    for wrong in (3, "2", True, None, float("nan")):
        with pytest.raises(BadRequestError, match="looks must be 1, 2"):
            model.predict(image, looks=wrong)
    with pytest.raises(BadRequestError, match="looks at a picture once"):
        load_model("otsu").predict(image, looks=2)
