"""Small objects are looked at once more with their surroundings alone: as if that part had been uploaded, once for a neighbourhood."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import nn

from seg_demo import networks
from seg_demo.core.types import LabelSet, ModelSpec
from seg_demo.inference import prompting
from seg_demo.inference.model import Model
from seg_demo.masks.instances import Resized
from seg_demo.networks.preprocessing import Preprocessing
from seg_demo.networks.promptable import Answer, PromptNetwork
from seg_demo.networks.sam import MaskGeneration
from train.metrics import overlap, whole_mask

SIDE = 64
H, W = 903, 1201


class Bright(PromptNetwork):
    """What is bright around a click, seen in 64 x 64 cells: an honest network that is as blind to small things as any encoder."""

    family = networks.FAMILIES["sam"]
    looks: list[tuple[int, int]] = []

    def cell(self, height: int, width: int) -> float:
        return max(height, width) / SIDE if max(height, width) > SIDE else 0.0

    def embed(self, image: np.ndarray) -> Any:
        self.looks.append(image.shape[:2])
        grey = torch.from_numpy(image).permute(2, 0, 1)[None].float().mean(1, keepdim=True) / 255
        return F.interpolate(grey, (SIDE, SIDE), mode="bilinear", antialias=True)[0, 0]

    def candidates(self, embedding: Any, size: tuple[int, int], prompts: Any, earlier: Any) -> list[list[Answer]]:
        logits = (embedding - 0.45).clone()
        if isinstance(earlier, torch.Tensor):
            logits += 0.001  # what went on from its logits can be told
        pieces, _ = ndimage.label(logits.numpy() > 0)
        found = []
        for prompt in prompts:
            column, row = (int(value * SIDE / length) for value, length in zip(prompt.points[0], size[::-1], strict=True))
            mine = torch.where(torch.from_numpy((pieces == pieces[row, column]) & (pieces > 0)), logits, -1.0)
            found.append([Answer(Resized(mine.numpy(), size), 0.9, logits=mine)])
        return found

    build = classify = forward = staticmethod(lambda *arguments: None)
    default_options = staticmethod(dict)
    memory_per_pixel = staticmethod(lambda tiled, confidence: 8)
    card_snippet = lambda self, source: ""  # noqa: E731


@pytest.fixture
def model() -> Model:
    Bright.looks = []
    module = nn.Linear(1, 1)
    network = Bright(module, LabelSet.from_names(("object",)), Preprocessing(size=(SIDE, SIDE)), {})
    return Model.from_network(network, ModelSpec("bright", None, "instance", "", "bright", "", "folder"))


@pytest.fixture(scope="module")
def picture() -> tuple[np.ndarray, list[np.ndarray]]:
    rows, columns = np.mgrid[:H, :W]
    masks = [(rows - y) ** 2 + (columns - x) ** 2 < radius**2 for x, y, radius in ((150, 90, 14), (200, 140, 15), (1180, 890, 14), (700, 450, 200))]
    image = np.full((H, W, 3), 20, np.uint8)
    for mask in masks:
        image[mask] = 230
    return image, masks


def test_small_objects_are_looked_at_closely(model, picture):
    image, masks = picture
    with model.prompt(image) as session:
        coarse = session.answer([prompting.Prompt(points=((150, 90),), labels=(1,))], closer=False)
        assert Bright.looks == [(H, W)] and overlap(whole_mask(coarse), masks[0]) < 0.8 and session.is_small(coarse.segments[0].box)
        fine = session.segment(points=[(150, 90)])
        assert overlap(whole_mask(fine), masks[0]) > 0.9 and len(Bright.looks) == 2
        # As if that part had been uploaded.
        (x0, y0, x1, y1), = session._close
        with model.prompt(image[y0:y1, x0:x1]) as part:
            alone = part.answer([prompting.Prompt(points=((150 - x0, 90 - y0),), labels=(1,))], closer=False)
        assert np.array_equal(alone.id_map, fine.id_map[y0:y1, x0:x1]) and fine.id_map.sum() == alone.id_map.sum()
        Bright.looks.pop()
        # Its neighbour is there already, and a correction goes on from the logits of the close look.
        near = session.segment(points=[(200, 140)])
        assert overlap(whole_mask(near), masks[1]) > 0.85 and len(Bright.looks) == 2
        again = session.segment(points=[(150, 90), (152, 91)], labels=[1, 1], previous=fine)
        assert len(Bright.looks) == 2 and 0 <= (again.id_map > 0).sum() - (fine.id_map > 0).sum() < 20
        # In the corner; a large thing needs none; and only the last looks are kept.
        corner = session.segment(points=[(1180, 890)])
        assert overlap(whole_mask(corner), masks[2]) > 0.85 and len(Bright.looks) == 3
        large = session.segment(points=[(700, 450)])
        assert overlap(whole_mask(large), masks[3]) > 0.9 and len(Bright.looks) == 3
        assert len(session._close) <= prompting.CLOSE_LOOKS and session.nbytes >= image.nbytes + 3 * 4 * SIDE * SIDE
        session.close()
        assert not session._close


def test_what_goes_on_beyond_the_close_look_is_answered_from_the_whole(model):
    """A bar that is faint but for one place: from afar that alone is seen."""
    image = np.full((H, W, 3), 20, np.uint8)
    image[440:446, :] = 235
    image[434:452, 590:612] = 235
    with model.prompt(image) as session:
        found = session.segment(points=[(600, 443)])
        plain = session.answer([prompting.Prompt(points=((600, 443),), labels=(1,))], closer=False)
        assert len(Bright.looks) == 2 and np.array_equal(found.id_map, plain.id_map)


def test_uploads_that_the_network_does_not_shrink_have_no_more_to_show(model, picture):
    image, masks = picture
    with model.prompt(np.ascontiguousarray(image[70:130, 130:190])) as session:
        session.segment(points=[(20, 20)])
        assert len(Bright.looks) == 1
    # SAM's own cells: 16 of its pixels.
    network = networks.network("sam")
    made = network.create(network.classes_of(LabelSet.from_names(("x",)), None), network.default_options())
    assert isinstance(made, MaskGeneration) and made.cell(300, 500) == 0
    assert made.cell(1536, 2048) == pytest.approx(64) and made.cell(2048, 100) == pytest.approx(64)
    assert replace(made).cell(1024, 1024) == pytest.approx(32)
