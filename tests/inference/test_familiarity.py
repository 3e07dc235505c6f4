"""A picture unlike those that a bundled network learnt from is said to be; what it works on is not, whoever computes it."""

from __future__ import annotations

import json
from dataclasses import replace
from functools import lru_cache

import numpy as np
import pytest
import torch
from PIL import Image
from skimage import data

from seg_demo import load_model, networks
from seg_demo.core import settings
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import ModelSpec
from seg_demo.inference import engine
from seg_demo.inference.engine import statistics
from seg_demo.inference.model import Model, _split
from seg_demo.networks import checkpoint as familiarity
from seg_demo.networks.checkpoint import UNFAMILIAR, Familiarity
from seg_demo.serving.catalog import BUNDLED
from synthetic.cells import CELL_SCENES, PHOTOGRAPHS, render
from tests.engines import own_cache, settled  # noqa: F401  (fixture)
from tests.served import ROOT

# Of both kinds of networks one: what is said of the others is for the soak tests.
TWO = ["unet-cells", "maskrcnn-cells"]
NAMES = [spec.id for spec in BUNDLED if (ROOT / "seg_demo" / "bundled" / spec.id / familiarity.FAMILIARITY).is_file()]
EXAMPLES = ROOT / "seg_demo" / "ui" / "examples"


@pytest.fixture(scope="module", params=NAMES)
def model(request, monkeypatch_module):
    return load_model(request.param)


@pytest.fixture(scope="module")
def monkeypatch_module():
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("SEG_DEMO_ENGINE", "eager")
        yield patch


@pytest.mark.parametrize("pictures", [("astronaut", "page", "camera"), pytest.param(("coffee", "rocket", "chelsea"), marks=pytest.mark.soak)])
def test_real_pictures_of_other_things_are_unfamiliar_and_those_that_it_works_on_are_not(model, pictures):
    for picture in pictures:
        image = getattr(data, picture)()
        result = model.predict(Image.fromarray(image))
        assert result.familiar is False and result.notes == (UNFAMILIAR,), picture
    for image in (data.coins(), data.cell(), EXAMPLES / "nuclei.jpg"):
        result = model.predict(image if not isinstance(image, np.ndarray) else Image.fromarray(image))
        assert result.familiar is True and result.notes == ()


@lru_cache(maxsize=None)
def rendered(seed: int, index: int, kind: str) -> np.ndarray:
    """A picture of 256 pixels, drawn once for all networks."""
    return render(seed, index, 256, kind=kind).image


@pytest.mark.parametrize(("model", "rounds"), [("unet-cells", 1), *(pytest.param(name, 2, marks=pytest.mark.soak) for name in NAMES)], indirect=["model"])
def test_rendered_pictures_with_objects_are_familiar(model, rounds):
    kinds = [*CELL_SCENES] * rounds
    known = [model.predict(rendered(9001, index, kind)).familiar for index, kind in enumerate(kinds)]
    assert known.count(False) <= 1
    others = [model.predict(rendered(9002, index, kind)).familiar for index, kind in enumerate(PHOTOGRAPHS)]
    assert others.count(False) >= len(others) / 3, "many of those without any are not"


def test_the_word_reaches_json_and_stays_at_another_threshold(model):
    result = model.predict_all(data.astronaut())
    told = result.above(0.9).to_dict()
    assert told["familiar"] is False and told["notes"] == [UNFAMILIAR]
    assert UNFAMILIAR.text("zh") != UNFAMILIAR
    assert load_model("otsu").predict(data.astronaut()).to_dict()["familiar"] is None


@pytest.mark.parametrize("model", [name if name in TWO else pytest.param(name, marks=pytest.mark.soak) for name in NAMES], indirect=True)
def test_full_detail_says_the_same_of_a_large_picture(model):
    large = np.asarray(Image.fromarray(data.astronaut()).resize((700, 700)))
    assert model.predict(large, detail="full").familiar is False


def test_what_the_network_says_is_not_changed_by_asking(model):
    checkpoint = model._run.network
    batch = checkpoint.preprocess(data.coins()[:160, :200, None].repeat(3, axis=2))
    with torch.inference_mode():
        alone, (found, maps) = checkpoint.forward(checkpoint.module, batch), checkpoint.forward_with_maps(checkpoint.module, batch)
    if isinstance(alone, torch.Tensor):
        assert torch.equal(alone, found)
    else:
        assert all(torch.equal(alone[0][key], found[0][key]) for key in ("boxes", "scores", "masks"))
    assert statistics(maps).shape[1] == checkpoint.familiarity.mean.size


@pytest.mark.skipif(not settings.has_openvino(), reason="openvino is not installed")
@pytest.mark.parametrize("name", ["unet-cells", *(pytest.param(name, marks=pytest.mark.soak) for name in ("segformer-cells", "maskrcnn-cells"))])
def test_the_engine_says_what_eager_torch_says(name):
    folder = ROOT / "seg_demo" / "bundled" / name
    checkpoint = networks.load(folder)
    checkpoint = replace(checkpoint, familiarity=familiarity.read_familiarity(folder))
    checkpoint.module.eval().requires_grad_(False)
    fast = engine.choose(checkpoint, torch.device("cpu"), "openvino", 1)
    batch = checkpoint.preprocess(np.asarray(Image.fromarray(data.astronaut()).resize((96, 80))))
    with torch.inference_mode():
        (before, first), (after, second) = settled(fast.with_statistics, batch)
        again = fast(batch)
    part = fast.part if checkpoint.name != "maskrcnn" else fast._pyramid
    assert part._forms, "it has been compiled"
    assert torch.allclose(first, second, rtol=1e-3, atol=1e-3 * float(first.abs().max()))
    assert type(before) is type(after) is type(again)
    result = Model.from_network(checkpoint, ModelSpec(name, None, "semantic", "", name, "", "folder"), engine=fast).predict(data.astronaut())
    assert result.familiar is False


def test_statistics_are_means_and_deviations_of_channels():
    maps = [torch.arange(24.0).reshape(1, 2, 3, 4), torch.ones(1, 1, 2, 2)]
    spread = float(np.arange(12).std())
    assert statistics(maps)[0].tolist() == pytest.approx([5.5, 17.5, spread, spread, 1, 0])


def test_channels_far_off_count_no_more_than_far_off_ones():
    rule = Familiarity(np.zeros(2, np.float32), np.ones(2, np.float32), np.array([1, -1], np.float32), 0.5)
    assert rule.score(np.array([100.0, 0.0])) == familiarity.MOST_DEVIATIONS
    assert rule.knows([np.array([0.0, 0.0])]) is True and rule.knows([np.array([3.0, 0.0])]) is False
    assert rule.knows([np.array([3.0, 0.0]), np.array([-3.0, 0.0])]) is True, "the mean of the tiles counts"
    assert rule.knows([]) is None and rule.knows([np.zeros(3)]) is None, "another network's statistics say nothing"


@pytest.mark.parametrize(
    "bad", [{"mean": 1}, {"mean": [1], "deviation": [0], "weights": [1], "threshold": 1}, {"mean": [1], "deviation": [1], "weights": [1, 2], "threshold": 1},
            {"mean": ["x"], "deviation": [1], "weights": [1], "threshold": 1}, {"mean": [1], "deviation": [1], "weights": [1], "threshold": None}],
)  # fmt: skip
def test_a_file_that_holds_something_else_is_refused(tmp_path, bad):
    (tmp_path / familiarity.FAMILIARITY).write_text(json.dumps(bad))
    with pytest.raises(BadCheckpointError, match="familiarity.json"):
        familiarity.read_familiarity(tmp_path)
    assert familiarity.read_familiarity(tmp_path / "nowhere") is None


def test_requests_that_are_computed_together_get_their_own():
    logits, found = torch.arange(6.0).reshape(3, 2), torch.arange(3.0).reshape(3, 1)
    parts = _split((logits, found), 3)
    assert [float(part[1]) for part in parts] == [0, 1, 2] and all(part[0].shape == (1, 2) for part in parts)
