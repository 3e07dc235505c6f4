"""Full detail of segments that do not overlap: things and stuff across the borders of tiles are one segment each."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from seg_demo.core.requests import Options
from seg_demo.core.types import PANOPTIC, LabelSet, ModelSpec, count_ids
from seg_demo.inference.model import Model
from seg_demo.networks.base import Preprocessing
from seg_demo.networks.universal import MaskFormer
from tests.tiled import ROOT

SKY, GRASS, BALL, BOX = (90, 140, 230), (60, 160, 60), [(250, 40, 40), (250, 120, 40), (250, 40, 120), (250, 200, 40)], [(120, 60, 20), (40, 20, 90)]
COLORS = [SKY, GRASS, *BALL, *BOX]
CLASSES = [0, 1, *[2] * len(BALL), *[3] * len(BOX)]
LABELS = replace(LabelSet.from_names(["sky", "grass", "ball", "box"]), things=np.array([False, False, True, True]))


class Painter(nn.Module):
    """A network of class queries that is sure: each query is everything of one colour, of things one by one; at every ``step``-th pixel."""

    def __init__(self, step: int = 1) -> None:
        super().__init__()
        self.step = step
        self.weight = nn.Parameter(torch.tensor(COLORS, dtype=torch.float32) / 255, requires_grad=False)

    def forward(self, batch: Tensor) -> list[dict[str, Tensor]]:
        batch = batch[:, :, :: self.step, :: self.step]
        far = (batch[:, None] - self.weight[None, :, :, None, None]).abs().amax(2)
        classes = torch.full((len(COLORS), len(LABELS) + 1), -1.0)
        classes[range(len(COLORS)), CLASSES] = torch.linspace(3, 6, len(COLORS))
        return [{"classes": classes, "masks": 8 - 300 * each} for each in far]


class Painted(MaskFormer):
    """A family of queries around it, that takes tiles of 128 pixels."""

    def preprocess(self, image: np.ndarray) -> Tensor:
        return torch.from_numpy(np.array(image)).permute(2, 0, 1)[None].float() / 255

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
        return module(batch)


def model(side: tuple[int, int] = (128, 128), step: int = 1) -> Model:
    network = Painted(Painter(step), LABELS, Preprocessing(size=side), {})
    return Model.from_network(network, ModelSpec("painter", None, "panoptic", "", "", "", "folder"))


def scene(height: int, width: int) -> np.ndarray:
    """Sky over grass; balls and boxes in it that tiles cut once, several times and not at all."""
    image = np.empty((height, width, 3), np.uint8)
    image[: height // 2], image[height // 2 :] = SKY, GRASS
    y, x = np.mgrid[:height, :width]
    for color, (row, column, radius) in zip(BALL, [(60, 110, 40), (150, 250, 90), (230, 100, 30), (20, 20, 12)], strict=True):
        image[(y - row) ** 2 + (x - column) ** 2 < radius**2] = color
    image[180:260, 330:470] = BOX[0]
    image[10:40, 400:420] = BOX[1]
    return image


def truth_of(image: np.ndarray) -> np.ndarray:
    """1 + index of the colour at every pixel."""
    return (image[..., None, :] == np.array(COLORS)).all(-1).argmax(-1) + 1


@pytest.mark.parametrize("size", [(300, 500), (301, 477), (128, 500)])
def test_segments_across_borders_are_the_pictures(size: tuple[int, int]) -> None:
    image = scene(*size)
    result = model().run(image, Options(detail="full", confidence=True, task="panoptic"))
    truth = truth_of(image)
    assert result.task == "panoptic" and result.seen is None
    # Each segment of the picture is one of the result, with the same class; its edge may lie a pixel off, where tiles were blended.
    pairs = np.unique(np.stack([truth.ravel(), result.id_map.ravel()]), axis=1, return_counts=True)
    best = {int(t): int(i) for (t, i), n in zip(pairs[0].T, pairs[1], strict=True) if n > 0.98 * (truth == t).sum()}
    assert set(best) == set(np.unique(truth).tolist()) and len(set(best.values())) == len(best) == len(result.segments)
    for color, number in best.items():
        assert result.segments[number - 1].label_id == CLASSES[color - 1]
    assert (np.vectorize(best.get)(truth) == result.id_map).mean() > 0.998
    # Numbered without gaps, boxes tight, things before stuff by falling score.
    assert count_ids(result.id_map)[1:].all()
    for number, segment in enumerate(result.segments, start=1):
        x0, y0, x1, y1 = segment.box
        rows, columns = np.nonzero(result.id_map == number)
        assert (x0, y0, x1, y1) == (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    things = [LABELS.is_thing(segment.label_id) for segment in result.segments]
    scores = [segment.score for segment in result.segments if LABELS.is_thing(segment.label_id)]
    assert things == sorted(things, reverse=True) and scores == sorted(scores, reverse=True)
    # Sure inside, in doubt nowhere but at edges.
    assert result.confidence.shape == size and (result.confidence > 200).mean() > 0.95


def test_stuff_that_no_tile_has_as_a_segment_is_nothing() -> None:
    """Its queries are below the threshold; what lies on it stays."""
    image = scene(300, 500)
    result = model().predict(image, detail="full", task="panoptic", thresholds={"score": 0.94})
    names = {LABELS.names[segment.label_id] for segment in result.segments}
    assert "sky" not in names and "ball" in names
    assert not result.id_map[truth_of(image) == 1].all()


def test_a_result_says_the_thresholds_by_which_it_came_and_is_explained_at_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in tiles, as of a whole picture: by the library's own, what was found below them would not be found again."""
    made, image, asked = model(), scene(300, 500), {"score": 0.2, "mask": 0.1, "overlap": 0.0}
    for detail in ("whole", "full"):
        assert made.predict(image, detail=detail, task="panoptic").thresholds == {"score": 0.5, "mask": 0.5, "overlap": 0.8}
        assert made.predict(image, detail=detail, task="panoptic", thresholds={"score": 0.2}).thresholds == {"score": 0.2, "mask": 0.5, "overlap": 0.8}
    result, heard, plain = made.predict(image, detail="full", task="panoptic", thresholds=asked), [], Painted.with_thresholds
    monkeypatch.setattr(Painted, "with_thresholds", lambda self, chosen: heard.append(dict(chosen)) or plain(self, chosen))
    made.explain(image, result, (110, 60))
    assert heard and all(each == asked for each in heard)


def test_a_picture_in_tiles_has_the_segments_of_the_whole_one() -> None:
    """At a size that the network takes at once, both ways."""
    image = scene(300, 500)
    whole = model((300, 500)).predict(image, task="panoptic")
    tiled = model().predict(image, detail="full", task="panoptic")
    facts = [sorted((s.label_id, round(s.score, 4)) for s in result.segments) for result in (whole, tiled)]
    assert facts[0] == facts[1] and whole.task == tiled.task == PANOPTIC.name


MEMORY = """
import numpy as np
from seg_demo.core.requests import Options
from tests.inference.test_tiled_panoptic import model, scene
made = model((1024, 1024), 4)
made.run(scene(300, 1700), Options(detail="full", confidence=True, task="panoptic"))
image = np.empty((6000, 8000, 3), np.uint8)
image[:] = scene(300, 8000)[np.arange(6000) % 300]
# What the system counts: the peak is measured from here on.
open("/proc/self/clear_refs", "w").write("5")
idle = int(open("/proc/self/status").read().split("VmRSS:")[1].split()[0])
found = made.run(image, Options(detail="full", confidence=True, task="panoptic"))
peak = int(open("/proc/self/status").read().split("VmHWM:")[1].split()[0])
print(len(found.segments), (peak - idle) // 1024)
"""


@pytest.mark.soak
def test_48_megapixels_take_less_than_500_mib_over_idle() -> None:
    found = subprocess.run([sys.executable, "-c", MEMORY], cwd=ROOT, capture_output=True, text=True, check=True)
    segments, mib = map(int, found.stdout.split())
    print(f"measured: {mib} MiB over idle for 48 megapixels")
    assert segments == len(COLORS) and mib < 500
