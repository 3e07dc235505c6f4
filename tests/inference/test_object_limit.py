"""Crowded pictures: every object is found, however many the checkpoint would keep; where a limit still binds, everybody says so."""

from __future__ import annotations

import csv
import io
import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seg_demo import load_model
from seg_demo.__main__ import main
from seg_demo.annotations.listing import Sample
from seg_demo.core.types import LabelSet
from seg_demo.gateway.visitor import Upload
from seg_demo.networks import maskrcnn
from seg_demo.networks.maskrcnn import MaskRcnn
from seg_demo.outputs import export
from seg_demo.ui import batch_tab
from seg_demo.ui.results import CachedResult, Result, viewer_value
from tests.engines import own_cache, served, settled  # noqa: F401  (fixtures)
from train.evaluate import evaluate

BUNDLED = Path(__file__).parents[2] / "seg_demo" / "bundled" / "maskrcnn-cells"


def discs(rows: int, columns: int, pitch: int = 30, radius: int = 10) -> tuple[np.ndarray, np.ndarray]:
    """A picture of so many bright discs on noise, and its instance map."""
    y, x = np.mgrid[: rows * pitch, : columns * pitch]
    inside = (y % pitch - pitch // 2) ** 2 + (x % pitch - pitch // 2) ** 2 <= radius**2
    image = np.random.default_rng(3).integers(20, 45, (*inside.shape, 3), dtype=np.uint8)
    image[inside] += 150
    return image, np.where(inside, y // pitch * columns + x // pitch + 1, 0).astype(np.uint16)


def scaled(side: int):
    """The bundled detector, looking at pictures at another size."""
    model = load_model("maskrcnn-cells", device="cpu")
    transform = model._run.network.module.transform
    transform.min_size, transform.max_size = (side,), 2 * side
    return model


@pytest.fixture
def model():
    return load_model("maskrcnn-cells", device="cpu")


@pytest.mark.parametrize(("rows", "columns"), [(16, 16), (20, 20), pytest.param(17, 37, marks=pytest.mark.soak)])
def test_every_disc_is_found_once(model, rows, columns):
    image, truth = discs(rows, columns)
    result = model.predict(image)
    assert len(result.segments) == rows * columns and result.limit is None and result.to_dict()["limit"] is None
    hit = {int(np.bincount(truth[s.box[1] : s.box[3], s.box[0] : s.box[2]][s.mask]).argmax()) for s in result.segments}
    assert hit == set(range(1, rows * columns + 1)), "each its own"


@pytest.mark.soak
def test_more_than_a_thousand_in_bounded_memory():
    def kilobytes(name: str) -> int:
        return int(next(line for line in open("/proc/self/status") if line.startswith(name)).split()[1])

    large, (image, _) = scaled(800), discs(40, 40)
    large.predict(image[:600, :600])
    with open("/proc/self/clear_refs", "w") as peak:
        peak.write("5")
    before = kilobytes("VmRSS")
    result = large.predict(image)
    assert len(result.segments) == 1600 and result.limit is None
    grown = kilobytes("VmHWM") - before
    print(f"measured: {grown / 1000:.0f} MB for 1,600 objects")
    assert grown < 1_000_000


@pytest.mark.soak
def test_the_compiled_parts_find_them_too():
    fast, eager = served(BUNDLED, "maskrcnn")
    image, _ = discs(20, 20)
    before, after = settled(fast.predict, image)
    assert len(before.segments) == len(after.segments) == len(eager.predict(image).segments) == 400
    assert fast._run.engine._boxes._forms and fast._run.engine._masks._forms


def test_pictures_of_a_batch_are_looked_at_each(model):
    checkpoint = model._run.network
    batches = [checkpoint.preprocess(discs(n, n, 600 // n, 200 // n)[0]) for n in (5, 20)]
    with torch.inference_mode():
        alone = [MaskRcnn.forward(checkpoint.module, batch)[0] for batch in batches]
        both = MaskRcnn.forward(checkpoint.module, torch.cat(batches))
    assert [len(each["scores"]) for each in alone] == [25, 400]
    for mine, theirs in zip(both, alone, strict=True):
        for name in ("boxes", "scores", "labels", "masks"):
            torch.testing.assert_close(mine[name], theirs[name], rtol=1e-3, atol=1e-3)


def test_parts_give_what_the_whole_gives(model, monkeypatch):
    image, _ = discs(20, 20)
    whole = model.predict(image)
    monkeypatch.setattr(maskrcnn, "BOXES_AT_ONCE", 170)
    monkeypatch.setattr(maskrcnn, "MASKS_AT_ONCE", 33)
    parts = model.predict(image)
    assert len(parts.segments) == len(whole.segments) == 400 and (parts.id_map == whole.id_map).mean() > 0.999


def test_an_ordinary_picture_is_torchvisions_to_the_bit(model):
    module = model._run.network.module
    image, _ = discs(9, 9)
    with torch.inference_mode():
        (found,) = module([torch.from_numpy(image).permute(2, 0, 1).float() / 255])
    result = model.predict_all(image)
    assert [each.score for each in result.segments] == found["scores"].tolist()
    masks = (found["masks"][:, 0] > 0.5).numpy()
    for segment, mask in zip(result.segments, masks, strict=True):
        x0, y0, x1, y1 = segment.box
        assert np.array_equal(segment.mask, mask[y0:y1, x0:x1])


def test_training_measures_them_all(model):
    image, truth = discs(20, 20)
    labels = LabelSet.from_names(["background", "cell"], background=0)
    sample = Sample(image, (truth > 0).astype(np.uint8), truth, "x")
    metrics, _ = evaluate(model, [sample], task="instance", labels=labels, pictures=0)
    assert metrics["mask_ap50"] > 0.99 and metrics["mask_ap50@100"] < 0.3


# A limit that still binds: as if memory allowed for 300.


@pytest.fixture
def limited(monkeypatch):
    monkeypatch.setattr(maskrcnn, "MOST_OBJECTS", 300)
    return load_model("maskrcnn-cells", device="cpu")


def test_a_limit_that_binds_is_in_the_result_and_its_files(limited, model):
    image, _ = discs(20, 20)
    everything = limited.predict_all(image)
    result = everything.above(0.5)
    assert len(result.segments) == 300 and result.limit.objects == 300
    assert result.to_dict()["limit"] == 300
    (row,) = csv.DictReader(io.StringIO(export.class_csv(result)))
    assert row["count"] == "300" and row["limit"] == "300"
    files = export.bundle(image, result, "")
    assert json.loads(files["result.json"])["limit"] == 300 and b"limit" in files["classes.csv"]
    # Who asks for surer objects than any that was cut off misses none.
    surest = everything.above(result.segments[-1].score + 0.001)
    assert surest.limit is None and 0 < len(surest.segments) < 300
    few = model.predict(discs(5, 5)[0])
    assert "limit" not in export.class_csv(few) and few.to_dict()["limit"] is None


def test_the_viewer_is_told(limited, tmp_path):
    path = tmp_path / "x.png"
    image, _ = discs(20, 20)
    Image.fromarray(image).save(path)
    for result, wanted in ((limited.predict_all(image), 300), (limited.predict_all(image[:150, :150]), None)):
        assert viewer_value(Result(Upload(path, "x"), CachedResult(result), 0.5, b""))["limit"] == wanted


@pytest.mark.soak
def test_full_detail_says_what_a_tile_lacks(limited):
    image, _ = discs(22, 41, 19, 6)
    result = limited.predict(image, detail="full")
    assert result.seen is None and result.limit is not None and result.limit.objects == 300
    assert len(result.segments) > 300


def test_the_terminal_and_the_tables_say_so(limited, tmp_path, capsys, monkeypatch):
    image, _ = discs(20, 20)
    Image.fromarray(image).save(tmp_path / "crowd.png")
    Image.fromarray(discs(5, 5)[0]).save(tmp_path / "few.png")
    out = tmp_path / "out"
    given = ["segment", str(tmp_path / "crowd.png"), str(tmp_path / "few.png"), "--model", "maskrcnn-cells", "--out", str(out), "--device", "cpu"]
    assert main(given) == 0
    told = capsys.readouterr().err
    assert "crowd.png: at most 300 objects" in told and "--detail full" in told and "few.png" not in told
    rows = list(csv.DictReader((out / "counts.csv").open()))
    assert {row["image"]: row["limit"] for row in rows} == {"crowd.png": "300", "few.png": ""}
    assert json.loads((out / "crowd" / "result.json").read_text())["limit"] == 300
    # Results of an earlier version have no such key; their tables are made all the same.
    for path in out.glob("*/result.json"):
        result = json.loads(path.read_text())
        del result["limit"]
        path.write_text(json.dumps(result))
    assert main(given) == 0 and "limit" not in (out / "counts.csv").read_text()


def test_the_batch_says_so_in_both_languages(limited, tmp_path):
    import threading

    Image.fromarray(discs(20, 20)[0]).save(tmp_path / "crowd.png")
    (tmp_path / "out").mkdir()
    picked = [batch_tab.Picked(tmp_path / "crowd.png", "crowd.png")]
    result = limited.predict(discs(20, 20)[0])
    # Of full detail, a tile's limit may be reached too: then nobody is told to look in full detail.
    for seen in (result.seen, None):
        *_, report = batch_tab.segment_all(picked, [], lambda _: replace(result, seen=seen), tmp_path / "out", None, threading.Event())  # noqa: B023
        assert report.limited == [("crowd.png", 300)] and report.header[-1] == "limit"
        english, chinese = (batch_tab._final(report, False, language) for language in ("en", "zh"))
        assert "limit of 300 objects was reached" in english and "300 个对象的上限" in chinese
        assert ("Full detail" in english) == ("完整细节" in chinese) == (seen is not None)
