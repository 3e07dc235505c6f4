"""What one visitor's request costs: each step once, and nothing again for a threshold, a second view or a download."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from PIL import Image

from seg_demo import networks
from seg_demo.core import requests
from seg_demo.core.types import LabelSet
from seg_demo.gateway import queue
from seg_demo.gateway.visitor import Upload
from seg_demo.inputs import images
from seg_demo.masks import semantic
from seg_demo.masks.regions import METHODS
from seg_demo.serving import catalog, predictor
from seg_demo.ui import api, compare_tab, correct_tab, results, segment_tab
from seg_demo.ui.components import SegmentationViewer, with_doubt
from seg_demo.ui.results import make_file
from tests.served import ROOT

CELLS = LabelSet.from_names(("background", "cell", "border"), background=0)
DEFAULTS = [parameter.default for row in METHODS.values() for parameter in row.parameters]


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> Counter[str]:
    """How often each step was taken."""
    seen: Counter[str] = Counter()

    def count(place: object, attribute: str, name: str) -> None:
        inner = getattr(place, attribute)

        def counted(*arguments: object, **named: object) -> object:
            seen[name] += 1
            return inner(*arguments, **named)

        # A static method of a class stays one.
        static = isinstance(vars(place).get(attribute), staticmethod)
        monkeypatch.setattr(place, attribute, staticmethod(counted) if static else counted)

    count(images, "_load", "decode")
    count(results, "preview_of", "preview")
    count(segment_tab, "preview_of", "preview")
    for name in ("unet", "maskrcnn"):
        family = networks.network(name)
        for stage in ("preprocess", "postprocess"):
            count(family, stage, stage)
        # The bundled networks are asked for their encoder's maps in the same pass; were one added, it would be counted.
        for stage in ("forward", "forward_with_maps"):
            count(family, stage, "forward")
    for place, attribute in ((semantic, "argmax_resized"), (semantic, "probability_and_margin")):
        count(place, attribute, attribute)
    count(results.draw, "encode_rgb", "encode")
    count(results.draw, "encode_png", "encode")
    return seen


@pytest.fixture
def upload(tmp_path: Path) -> Upload:
    path = tmp_path / "coins.jpg"
    with Image.open(ROOT / "seg_demo/ui/examples/coins.png") as coins:
        coins.convert("RGB").save(path, quality=90)
    return Upload(path, "coins")


@pytest.mark.parametrize("model", ["unet-cells", "maskrcnn-cells"])
def test_every_step_is_taken_once(steps: Counter[str], upload: Upload, model: str) -> None:
    viewer = SegmentationViewer()
    result, shown = segment_tab.run_network(upload, model, 0.5, "whole")
    viewer.postprocess(shown)
    once = {"decode", "preview", "preprocess", "forward", "postprocess", "encode"}
    if model == "unet-cells":
        once |= {"argmax_resized", "probability_and_margin"}
    assert steps == dict.fromkeys(once, 1)
    steps.clear()

    viewer.postprocess(with_doubt(result))
    assert steps == {"encode": 1}, "the map of the doubt; picture and id map are those that were sent"
    steps.clear()

    other, shown = segment_tab.refilter(result, 0.9)
    viewer.postprocess(shown)
    assert steps == {"encode": 1}, "another id map"
    steps.clear()

    for kind in ("mask", "coco_rle"):
        make_file(result, kind)
    assert steps == {"encode": 1}
    steps.clear()

    make_file(result, "csv")
    assert steps == ({} if model == "unet-cells" else {"decode": 1}), "the intensities of the objects, where there are objects"
    results.measured(result)
    steps.clear()
    for kind in ("csv", "measurements"):
        make_file(result, kind)
    assert not steps, "what the table beside it has measured is not measured again"

    make_file(result, "overlay")
    assert steps == {"decode": 1, "encode": 1}, "sessions keep no decoded picture"
    assert other.cached.everything is result.cached.everything and other.preview is result.preview


def test_each_request_is_resolved_admitted_and_checked_once(upload: Upload, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: Counter[str] = Counter()
    images._pixels_of_file.cache_clear()

    def count(place: object, name: str) -> None:
        inner = getattr(place, name)
        monkeypatch.setattr(place, name, lambda *arguments, **named: (seen.update([name]), inner(*arguments, **named))[1])

    for place, name in (
        (catalog, "resolve"), (requests.Admission, "admission"), (requests.Admission, "slot"), (images, "_pixels_in"),
        (predictor, "read"), (requests, "check_threshold"), (requests, "check_detail"),
    ):  # fmt: skip
        count(place, name)
    once = dict.fromkeys(("resolve", "admission", "slot", "read", "check_threshold", "check_detail"), 1)

    assert queue.is_large(upload.path) is False
    api.segment(upload, "unet-cells", 0.5, "whole")
    assert seen == once | {"_pixels_in": 1}, "the queue has looked into the file, and nobody looks again"
    for ask in (
        lambda: segment_tab.run_network(upload, "maskrcnn-cells", 0.5, "whole"),
        lambda: segment_tab.run_method(upload, "otsu", *DEFAULTS, None),
        lambda: correct_tab.begin(upload, CELLS, "semantic", "model", "unet-cells", None, {}, lambda *_: None),
    ):
        seen.clear()
        ask()
        assert seen == once
    seen.clear()
    compare_tab.run_compare(upload, ["unet-cells", "segformer-cells"], 0.5, None, SimpleNamespace(headers={}), lambda *_, **__: None)
    assert seen == once | {"resolve": 2}


def test_a_question_that_is_asked_again_at_once_is_not_computed_again(
    steps: Counter[str], upload: Upload, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, _ = segment_tab.run_network(upload, "unet-cells", 0.5, "whole")
    steps.clear()
    again, shown = segment_tab.run_network(upload, "unet-cells", 0.7, "whole", first)
    assert again is shown and again.cached.everything is first.cached.everything and again.threshold == 0.7 and not steps
    for model, detail in (("maskrcnn-cells", "whole"), ("unet-cells", "full")):
        segment_tab.run_network(upload, model, 0.5, detail, first)
        assert steps["forward"] == 1, (model, detail)
        steps.clear()
    monkeypatch.setattr(results, "AGAIN_SECONDS", 0.0)
    later, _ = segment_tab.run_network(upload, "unet-cells", 0.5, "whole", first)
    assert steps["forward"] == 1 and later.cached.everything is not first.cached.everything, "by then a model may have been taught more"


def test_regions_that_are_asked_for_again_at_once_are_not_computed_again(upload: Upload) -> None:
    first, _ = segment_tab.run_method(upload, "otsu", *DEFAULTS, None)
    assert segment_tab.run_method(upload, "otsu", *DEFAULTS, first) == (first, first)
    for method, changed in (("watershed", DEFAULTS), ("otsu", [DEFAULTS[0] + 1, *DEFAULTS[1:]])):
        other, _ = segment_tab.run_method(upload, method, *changed, first)
        assert other is not first and other.asked != first.asked


def test_nothing_that_could_be_trained_is_kept(upload: Upload) -> None:
    result, _ = segment_tab.run_network(upload, "unet-cells", 0.5, "whole")
    assert not any(isinstance(value, torch.Tensor) for value in vars(result.cached.everything).values())
    assert isinstance(result.cached.everything.id_map, np.ndarray) and result.cached.everything.confidence.dtype == np.uint8
