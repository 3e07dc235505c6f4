"""Full detail where people ask for it: the API, the predictor, the command line."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import replace
from functools import partial

import gradio as gr
import numpy as np
import pytest
import torch
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from seg_demo import networks
from seg_demo.__main__ import main
from seg_demo.core.errors import BadRequestError
from seg_demo.core.requests import Options
from seg_demo.core.settings import Settings
from seg_demo.serving.predictor import Predictor, load_model
from seg_demo.ui import batch_tab, compare_tab, menu, results, segment_tab
from seg_demo.ui.components import SegmentationViewer, with_doubt
from seg_demo.ui.results import CachedResult, Result
from tests.checkpoints import IMAGE
from tests.networks.test_segformer import plain_repo
from tests.served import ROOT
from tests.ui.test_ui import instance_result

with Image.open(ROOT / "seg_demo/ui/examples/coins.png") as _coins:
    LARGE = np.asarray(_coins.convert("RGB").resize((720, 700), Image.Resampling.BICUBIC))


@pytest.fixture(scope="module")
def photo(tmp_path_factory):
    path = tmp_path_factory.mktemp("large") / "large.png"
    Image.fromarray(LARGE).save(path)
    return path


def test_the_endpoint_looks_closely_on_request(demo_url, photo):
    client = Client(demo_url, verbose=False, httpx_kwargs={"timeout": 120})
    model = load_model("unet-cells", device="cpu")
    asked = {"image": handle_file(str(photo)), "model": "unet-cells", "api_name": "/segment"}
    whole, full = client.predict(**asked), client.predict(**asked, detail="full")
    for (_, mask, _), detail in ((whole, "whole"), (full, "full")):
        expected = model.predict(LARGE, detail=detail).id_map
        assert (np.asarray(Image.open(mask)) == expected).mean() > 0.9999
    assert not np.array_equal(np.asarray(Image.open(whole[1])), np.asarray(Image.open(full[1])))
    for bad in ("huge", None, 1, ["full"]):
        with pytest.raises(AppError, match="detail must be 'whole'"):
            client.predict(**asked, detail=bad)


def test_a_batch_looks_closely_and_several_times_on_request(demo_url, photo):
    client = Client(demo_url, verbose=False, httpx_kwargs={"timeout": 120})
    asked = partial(client.predict, [handle_file(str(photo))], api_name="/batch")
    _, archive, *_ = asked("unet-cells", 0.5, 0.0123456789, "um", None, ["yolo"], "full", 2)
    with zipfile.ZipFile(archive["value"] if isinstance(archive, dict) else archive) as results:
        mask = np.asarray(Image.open(io.BytesIO(results.read("masks/large.png"))))
        about = {"model": "unet-cells", "threshold": 0.5, "detail": "full", "looks": 2, "format": ["yolo"], "pixel_size": "0.0123456789um"}
        assert json.loads(results.read("run.json")) == about
    expected, others = load_model("unet-cells", device="cpu"), [{"detail": "full"}, {"looks": 2}]
    assert (mask == expected.predict(LARGE, detail="full", looks=2).id_map).mean() > 0.9999
    assert not any(np.array_equal(mask, expected.predict(LARGE, **other).id_map) for other in others)
    for model, wrong, why in (("maskrcnn-cells", 2, "looks at a picture once"), ("unet-cells", 3, "looks must be 1, 2")):
        with pytest.raises(AppError, match=why):
            asked(model, 0.5, None, "um", None, [], "whole", wrong)


def test_a_batch_offers_what_its_model_can_do(monkeypatch):
    offered = {
        model: [choice.visible for choice in batch_tab.choices_for(model)]
        for model in ("unet-cells", "maskrcnn-cells", "otsu", "ann/typed")
    }
    assert offered == {"unet-cells": [False, True, True], "maskrcnn-cells": [True, True, False], "otsu": [False, False, False], "ann/typed": [True, True, True]}
    # Every model of the menu that answers classes, by what its network says of itself.
    averages = {spec.key: networks.network(spec.architecture).averages for spec in menu.specs("semantic")}
    assert averages["unet-cells"] and not averages["facebook/mask2former-swin-tiny-coco-panoptic"]
    for model, several in averages.items():
        assert menu.looks_again(model) == several == segment_tab.offer_looks(model).visible, model
        assert compare_tab.offer_looks(["unet-cells", model]).visible == several, model
    assert segment_tab.offer_looks("facebook/mask2former-swin-tiny-coco-panoptic").value == 1 and not compare_tab.offer_looks(["maskrcnn-cells"]).visible
    assert batch_tab.choices_for("otsu")[1].value == "whole" and batch_tab.choices_for("maskrcnn-cells")[2].value == 1
    # EoMT's checkpoints for ADE20K answer one task.
    one = replace(menu.spec_of("tue-mps/coco_panoptic_eomt_base_640_2x"), task="semantic", tasks=())
    monkeypatch.setattr(menu, "spec_of", lambda identity: one)
    assert not menu.looks_again(one.key) and not networks.network(one.architecture).averages


def test_the_predictor_passes_it_on_and_reports_tiles(folders):
    predictor, seen = Predictor(Settings()), []
    result = predictor.segment(
        LARGE, "unet-cells", Options(detail="full", confidence=True), report=lambda part, text: seen.append((part, text))
    )
    assert result.confidence is not None and seen[-1] == (1.0, "Tile 4 of 4")
    with pytest.raises(BadRequestError, match="detail must be"):
        Options(detail="all")
    assert predictor.segment(IMAGE, "otsu", Options(detail="full")).task == "region"


def test_the_command_looks_closely_on_request(photo, tmp_path, capsys):
    for detail in ("whole", "full"):
        assert main(["segment", str(photo), "--model", "unet-cells", "--out", str(tmp_path / detail), "--detail", detail]) == 0
    masks = [np.asarray(Image.open(tmp_path / detail / "large" / "mask.png")) for detail in ("whole", "full")]
    assert not np.array_equal(*masks)
    assert np.array_equal(masks[1], load_model("unet-cells").predict(LARGE, detail="full").id_map)
    assert json.loads((tmp_path / "full" / "run.json").read_text())["detail"] == "full"
    assert main(["segment", str(photo), "--model", "unet-cells", "--out", str(tmp_path / "full")]) == 2
    assert "another run" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["segment", str(photo), "--model", "unet-cells", "--out", str(tmp_path), "--detail", "most"])


def test_the_viewer_gets_the_doubt_without_loss_and_only_when_asked(monkeypatch):
    result = load_model("unet-cells", device="cpu").predict(LARGE, confidence=True)
    plain = Result(instance_result(0.5).upload, CachedResult(result), 0.5, b"jpeg")
    viewer = SegmentationViewer()
    assert viewer.postprocess(plain)["doubt"] is None and viewer.postprocess(plain)["unsure"]
    sent = viewer.postprocess(with_doubt(plain))
    with Image.open(sent["doubt"]["path"]) as picture:
        assert picture.mode == "L" and np.array_equal(np.asarray(picture), result.margin)
    assert sent["ids"] == viewer.postprocess(plain)["ids"], "the id map is the same file, not sent again"
    for row in sent["classes"]:
        assert row["margin"] == pytest.approx(result.margin[result.id_map == row["id"]].mean() / 255)
    monkeypatch.setattr(results, "MAX_DOUBT_PIXELS", result.confidence.size // 7)
    thin = np.asarray(Image.open(io.BytesIO(results.viewer_doubt(result))))
    assert thin.shape == (-(-700 // 3), 720 // 3) and thin[5, 7] == result.margin[15:18, 21:24].min()
    assert thin[-1, 0] == result.margin[699:, :3].min()


def test_doubt_of_what_has_none_is_a_sentence():
    for result in (None, instance_result(0.5)):
        with pytest.raises(gr.Error, match="expired|without a network"):
            with_doubt(result)


@pytest.mark.soak
def test_the_viewer_learns_the_size_that_the_network_saw(tmp_path):
    """By hand where the rule is a longest or a fixed side; torchvision's own transform where it is both a shortest and a longest."""
    strip = np.ascontiguousarray(np.tile(LARGE, (1, 3, 1))[:301, :2003])
    detector = load_model("maskrcnn-cells", device="cpu")
    transform = detector._run.network.module.transform
    (resized,) = transform([torch.from_numpy(strip).permute(2, 0, 1).float() / 255])[0].image_sizes
    expected = {"unet-cells": (67, 448), "segformer-cells": (67, 448), "maskrcnn-cells": tuple(resized)}
    for model, size in expected.items():
        whole = load_model(model, device="cpu").predict_all(strip)
        assert whole.seen == size and whole.above(0.5).seen == size, model
        assert load_model(model, device="cpu").predict_all(strip, detail="full").seen is None
        upload = instance_result(0.5).upload
        assert results.viewer_value(Result(upload, CachedResult(whole), 0.5, b"jpeg"))["seen"] == [size[1], size[0]]
    stretched = load_model(str(plain_repo(tmp_path, {"height": 64, "width": 96})), device="cpu")
    assert stretched.predict_all(strip).seen == (64, 96)
    assert Predictor(Settings()).segment(strip, "otsu").seen is None
    assert results.viewer_value(instance_result(0.5))["seen"] is None
