"""What is counted: connected pieces of semantic classes, the same on every surface; objects with an area each in the table."""

from __future__ import annotations

import csv
import io
import json

import numpy as np
import pytest
from scipy import ndimage
from skimage.data import coins

from seg_demo import load_model
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.gateway.visitor import Upload
from seg_demo.outputs import export
from seg_demo.outputs.batch import Summary
from seg_demo.ui.results import CachedResult, Result, make_file, viewer_value

LABELS = LabelSet.from_names(["background", "cell", "=dirt"], background=0)


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (40, 1), (37, 53), (64, 64)])
@pytest.mark.parametrize("band", [1, 100, 1 << 22])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_pieces_are_scipys_whatever_the_bands(size, band, dtype, monkeypatch):
    monkeypatch.setattr(export, "_BAND_PIXELS", band)
    rng = np.random.default_rng(size[0] + band)
    for values in (2, 5):
        id_map = ndimage.zoom(rng.integers(0, values, size), 2, order=0)[: size[0], : size[1]].astype(dtype)
        wanted = [ndimage.label(id_map == value)[1] for value in range(int(id_map.max()) + 1)]
        assert export.pieces_of(id_map).tolist() == wanted
    assert export.pieces_of(np.full(size, 3, dtype)).tolist() == [0, 0, 0, 1]


def test_a_spiral_is_one_piece_across_all_bands(monkeypatch):
    monkeypatch.setattr(export, "_BAND_PIXELS", 30)
    comb = np.zeros((31, 30), np.uint8)
    comb[0], comb[:, ::2] = 1, 1
    assert export.pieces_of(comb).tolist() == [15, 1]


def test_every_surface_counts_the_same(tmp_path):
    image = np.repeat(coins()[:, :, None], 3, axis=2)
    result = load_model("unet-cells", device="cpu").predict(image)
    (tmp_path / "out").mkdir()
    summary = Summary(tmp_path / "out", 1, result.labels, None)
    summary.add("coins.png", result.to_dict(), result.id_map, image)
    header, rows = summary.table()
    summary.close()
    batch = {row[header.index("label")]: row[header.index("count")] for row in rows}
    table = {row["label"]: row["count"] for row in export.table(result)}
    shown = viewer_value(Result(Upload(tmp_path / "coins.png", "coins"), CachedResult(result), 0.5, b""))
    viewer = {row["name"]: row["count"] for row in shown["classes"]}
    classes = {row["label"]: int(row["count"]) for row in csv.DictReader(io.StringIO(export.class_csv(result)))}
    assert batch == table == viewer == classes
    cells = ndimage.label(result.id_map == result.labels.names.index("cell"))[1]
    assert table["cell"] == cells > 20


def objects() -> Segmentation:
    made = (
        Segment(1, 0.9, (2, 3, 12, 13), np.ones((10, 10), bool)),
        Segment(2, 0.8, (8, 3, 18, 13), np.ones((10, 10), bool)),
        Segment(1, 0.6, (20, 20, 23, 22), np.ones((2, 3), bool)),
    )
    return Segmentation("instance", 30, 40, LABELS, paint(made, 30, 40), made)


def test_the_tables_download_has_the_area_of_every_object(tmp_path):
    result = objects()
    name, content = make_file(Result(Upload(tmp_path / "x.png", "x"), CachedResult(result), 0.7, b""), "csv")
    assert name == "x_table.csv"
    rows = list(csv.DictReader(io.StringIO(content.decode())))
    assert [(row["row"], row["id"], row["label"], row["area_pixels"]) for row in rows] == [
        ("class", "", "cell", "100"), ("class", "", "'=dirt", "60"), ("object", "1", "cell", "100"), ("object", "2", "'=dirt", "100"),
    ]  # fmt: skip
    assert [row["count"] for row in rows] == ["1", "1", "1", "1"] and [row["x"] for row in rows] == ["", "", "2", "8"]
    for row in rows[2:]:
        segment = result.to_dict()["segments"][int(row["id"]) - 1]
        assert [int(row[key]) for key in ("x", "y", "width", "height")] == segment["bbox"] and float(row["score"]) == segment["score"]


def test_regions_have_an_area_each_and_semantic_classes_their_pieces(tmp_path):
    image = np.repeat(coins()[:, :, None], 3, axis=2)
    regions = load_model("otsu").predict(image)
    rows = [row for row in csv.DictReader(io.StringIO(export.objects_csv(regions))) if row["row"] == "region"]
    assert [int(row["area_pixels"]) for row in rows] == list(regions.areas)
    label_map = np.zeros((20, 30), np.uint8)
    label_map[2:5, 2:5], label_map[8:12, 20:25] = 1, 1
    semantic = semantic_segmentation(label_map, LABELS, {0: 1.0, 1: 0.5})
    rows = list(csv.DictReader(io.StringIO(export.objects_csv(semantic))))
    assert {row["label"]: (row["count"], row["area_pixels"]) for row in rows} == {"background": ("1", "571"), "cell": ("2", "29")}
    assert json.loads(json.dumps(semantic.to_dict()))["segments"][1]["area"] == 29
