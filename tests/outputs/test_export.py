"""Exports load into exactly the same masks: pycocotools for COCO, an even-odd fill for GeoJSON."""

from __future__ import annotations

import csv
import io
import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from pycocotools import mask as coco_mask
from pycocotools.coco import COCO

from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import LabelSet, Segment, Segmentation, extents, paint, semantic_segmentation
from seg_demo.outputs import export
from seg_demo.outputs.polygons import trace

RNG = np.random.default_rng(0)
NAMES = ("background", "=cmd|' /C calc'!A0", 'say "hi", <b>you</b>', "细胞")
FILES = ["mask.png", "overlay.png", "coco_rle.json", "coco_polygons.json", "segments.geojson"]
FILES += ["segments.csv", "classes.csv", "result.json"]


def instances(count: int = 6, height: int = 23, width: int = 31) -> Segmentation:
    """Overlapping noisy objects, with holes, touching corners and pieces."""
    segments = []
    for index in range(count):
        y0, x0 = int(RNG.integers(max(1, height - 2))), int(RNG.integers(max(1, width - 2)))
        y1, x1 = int(RNG.integers(y0 + 1, height + 1)), int(RNG.integers(x0 + 1, width + 1))
        mask = RNG.random((y1 - y0, x1 - x0)) < 0.7
        mask[0, 0] = True
        segments.append(Segment(1 + index % 3, 1 - index / 10, (x0, y0, x1, y1), mask))
    labels = LabelSet.from_names(NAMES, 0)
    return Segmentation("instance", height, width, labels, paint(segments, height, width), tuple(segments))


def semantic(height: int = 19, width: int = 22) -> Segmentation:
    """A noisy semantic result without class 2."""
    id_map = RNG.choice(np.array([0, 1, 3], np.uint8), (height, width), p=[0.5, 0.3, 0.2])
    return semantic_segmentation(id_map, LabelSet.from_names(NAMES, 0), {0: 0.9, 1: 0.5})


def regions() -> Segmentation:
    """A region result of 300 ids."""
    id_map = np.repeat(np.repeat(np.arange(1, 301, dtype=np.uint16).reshape(15, 20), 3, axis=0), 2, axis=1)
    segments = []
    for index in range(300):
        y, x = divmod(index, 20)
        segments.append(Segment(1, None, (2 * x, 3 * y, 2 * x + 2, 3 * y + 3), np.ones((3, 2), bool)))
    return Segmentation("region", 45, 40, LabelSet.from_names(("background", "region"), 0), id_map, tuple(segments))


def full_masks(result: Segmentation) -> list[np.ndarray]:
    """The mask of every segment at the size of the image."""
    masks = []
    for index, segment in enumerate(result.segments):
        x0, y0, x1, y1 = segment.box
        mask = np.zeros((result.height, result.width), bool)
        mask[y0:y1, x0:x1] = result.mask_of(index)
        masks.append(mask)
    return masks


def filled(polygon: list, height: int, width: int) -> np.ndarray:
    """The pixels of a polygon of axis-parallel edges by the even-odd rule."""
    crossings = np.zeros((height, width + 1), int)
    for ring in polygon:
        assert ring[0] == ring[-1] and len(ring) >= 5
        assert len({tuple(point) for point in ring}) == len(ring) - 1, "a valid ring visits no point twice"
        for (x0, y0), (x1, y1) in zip(ring, ring[1:], strict=False):
            assert (x0 == x1) != (y0 == y1)
            if x0 == x1:
                crossings[min(y0, y1) : max(y0, y1), x0] += 1
    return np.cumsum(crossings, axis=1)[:, :width] % 2 == 1


def twice_area(ring: list) -> int:
    """Shoelace formula."""
    return sum(x0 * y1 - x1 * y0 for (x0, y0), (x1, y1) in zip(ring, ring[1:], strict=False))


CASES = [instances, semantic, regions, lambda: instances(0), lambda: instances(3, 1, 9), lambda: instances(3, 9, 1)]


@pytest.mark.parametrize("make", CASES)
@pytest.mark.parametrize("file", ["coco_rle.json", "coco_polygons.json"])
def test_coco_loads_into_the_same_masks(make, file: str, tmp_path) -> None:
    result = make()
    image = np.zeros((result.height, result.width, 3), np.uint8)
    (tmp_path / "coco.json").write_bytes(export.bundle(image, result, "", "photo 1.jpg")[file])
    dataset = COCO(tmp_path / "coco.json")
    assert dataset.imgs[1] == {"id": 1, "file_name": "photo 1.jpg", "width": result.width, "height": result.height}
    assert [dataset.cats[index]["name"] for index in sorted(dataset.cats)] == list(result.labels.names)
    annotations = dataset.loadAnns(dataset.getAnnIds())
    assert [annotation["category_id"] for annotation in annotations] == [segment.label_id for segment in result.segments]
    for annotation, mask, area in zip(annotations, full_masks(result), result.areas, strict=True):
        np.testing.assert_array_equal(dataset.annToMask(annotation).astype(bool), mask)
        assert annotation["area"] == area == mask.sum() and annotation["iscrowd"] == 0 and annotation["id"] > 0
        if file == "coco_rle.json":
            assert coco_mask.area(annotation["segmentation"]) == area


@pytest.mark.parametrize("make", CASES)
def test_geojson_rasterises_to_the_same_masks(make) -> None:
    result = make()
    features = json.loads(json.dumps(export.geojson(result)))["features"]
    assert [feature["id"] for feature in features] == list(result.ids)
    for feature, mask in zip(features, full_masks(result), strict=True):
        geometry = feature["geometry"]
        polygons = geometry["coordinates"] if geometry["type"] == "MultiPolygon" else [geometry["coordinates"]]
        total = np.zeros_like(mask, dtype=int)
        for polygon in polygons:
            assert twice_area(polygon[0]) > 0 and all(twice_area(hole) < 0 for hole in polygon[1:])
            total += filled(polygon, result.height, result.width)
        np.testing.assert_array_equal(total, mask)


def test_polygons_of_label_maps_at_odd_sizes() -> None:
    for turn in range(150):
        height, width = RNG.integers(1, 14, 2)
        id_map = RNG.integers(0, 4, (height, width)).astype((np.uint8, np.uint16)[turn % 2])
        if turn % 3 == 0:
            id_map = RNG.random((height, width)) < 0.75
        traced = trace(id_map)
        assert set(traced) == set(np.unique(id_map).tolist()) - {0}
        for identity, polygons in traced.items():
            total = sum(filled([[*ring, ring[0]] for ring in polygon], height, width).astype(int) for polygon in polygons)
            np.testing.assert_array_equal(total, id_map == identity)


def test_polygons_by_hand() -> None:
    ring = np.ones((4, 5), bool)
    ring[1:3, 1:3] = False
    ring[0, 4] = False
    assert trace(ring) == {
        1: [[[(0, 0), (4, 0), (4, 1), (5, 1), (5, 4), (0, 4)], [(1, 1), (1, 3), (3, 3), (3, 1)]]]
    }
    # Pixels that touch at a corner are polygons of their own; a hole that touches the outline stays a hole.
    assert len(trace(np.eye(3, dtype=bool))[1]) == 3
    pinched = np.array([[0, 1, 1], [1, 0, 1], [1, 1, 1]], bool)
    assert [len(polygon) for polygon in trace(pinched)[1]] == [2]


def test_table() -> None:
    result = instances()
    rows = export.table(result)
    assert [list(row) for row in rows] == [["label_id", "label", "pixels", "share", "count", "mean_score"]] * 3
    assert [row["pixels"] for row in rows] == sorted((row["pixels"] for row in rows), reverse=True)
    for row in rows:
        mine = [index for index, segment in enumerate(result.segments) if segment.label_id == row["label_id"]]
        assert row["count"] == len(mine) == 2 and row["label"] == NAMES[row["label_id"]]
        assert row["pixels"] == np.isin(result.id_map, [index + 1 for index in mine]).sum()
        assert row["mean_score"] == pytest.approx(np.mean([result.segments[index].score for index in mine]))
        assert row["share"] == row["pixels"] / (23 * 31)
    rows = export.table(semantic())
    assert sum(row["share"] for row in rows) == pytest.approx(1)
    assert {row["label_id"]: row["mean_score"] for row in rows} == {0: 0.9, 1: 0.5, 3: None}
    assert export.table(instances(0)) == []


def test_csv_is_safe_and_complete() -> None:
    result = instances()
    rows = list(csv.DictReader(io.StringIO(export.csv(result), newline="")))
    assert len(rows) == 6
    for row, segment, area in zip(rows, result.segments, result.areas, strict=True):
        x, y, width, height = (int(row[key]) for key in ("x", "y", "width", "height"))
        assert (x, y, x + width, y + height) == segment.box and int(row["area"]) == area
        assert float(row["score"]) == segment.score
        assert row["label"].removeprefix("'") == NAMES[segment.label_id]
        assert not row["label"].startswith(("=", "+", "-", "@", "\t", "\r"))
    for name in ("=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "＝1"):
        labels = LabelSet.from_names((name,))
        one = semantic_segmentation(np.zeros((2, 2), np.uint8), labels)
        for text in (export.csv(one), export.class_csv(one)):
            assert list(csv.DictReader(io.StringIO(text, newline="")))[0]["label"] == "'" + name
    assert len(export.class_csv(result).splitlines()) == 4


def test_bundle_and_zip() -> None:
    result = instances()
    image = RNG.integers(0, 256, (23, 31, 3), dtype=np.uint8)
    files = export.bundle(image, result, "")
    assert list(files) == FILES
    np.testing.assert_array_equal(Image.open(io.BytesIO(files["mask.png"])), result.id_map)
    assert Image.open(io.BytesIO(files["overlay.png"])).size == (31, 23)
    assert json.loads(files["result.json"])["segments"] == json.loads(json.dumps(result.to_dict()["segments"]))
    named = export.bundle(image, result, "../my photo:1")
    assert list(named) == [f"_my_photo_1_{name}" for name in FILES]
    data = export.zip_bytes(files)
    assert data == export.zip_bytes(export.bundle(image, result, ""))
    archive = zipfile.ZipFile(io.BytesIO(data))
    assert archive.testzip() is None
    assert {name: archive.read(name) for name in archive.namelist()} == files


def test_names_that_no_encoding_takes_do_not_break_a_file() -> None:
    result = semantic_segmentation(np.zeros((2, 2), np.uint8), LabelSet.from_names(("\ud800 half",)))
    assert list(export.bundle(np.zeros((2, 2, 3), np.uint8), result, "")) == FILES


def panoptic(rows: int = 15, columns: int = 20) -> Segmentation:
    """Blocks of two kinds of stuff and of things, more than 255 of them, and pixels of nothing."""
    ids = np.arange(1, rows * columns + 1).reshape(rows, columns)
    ids[0, :5], ids[1, :5], ids[2, :3] = 1, 2, 0
    numbers = np.unique(ids[ids > 0])
    ids = np.searchsorted(numbers, ids) + 1
    ids[2, :3] = 0
    id_map = np.repeat(np.repeat(ids, 3, axis=0), 2, axis=1).astype(np.uint16)
    _, boxes = extents(id_map)
    labels = replace(LabelSet.from_names(["sky", "road", "car", "person"]), things=np.array([False, False, True, True]))
    segments = [Segment(i if i < 2 else 2 + i % 2, 0.5 + i / 1000, tuple(boxes[i + 1].tolist()), None) for i in range(len(numbers))]
    return Segmentation("panoptic", 3 * rows, 2 * columns, labels, id_map, tuple(segments))


def read_as_panopticapi(files: dict[str, bytes]) -> tuple[np.ndarray, dict]:
    """The ids and the JSON of a picture, checked as ``pq_compute`` checks a prediction (panopticapi/evaluation.py)."""
    told = json.loads(next(content for name, content in files.items() if name.endswith(".json")))
    annotation, categories = told["annotations"][0], {row["id"]: row for row in told["categories"]}
    picture = Image.open(io.BytesIO(files[annotation["file_name"]]))
    assert picture.mode == "RGB"
    rgb = np.asarray(picture).astype(np.uint32)
    ids = rgb[..., 0] + 256 * rgb[..., 1] + 65536 * rgb[..., 2]
    segments = {row["id"]: row for row in annotation["segments_info"]}
    left = set(segments)
    for value, pixels in zip(*np.unique(ids, return_counts=True), strict=True):
        if value == 0:
            continue
        row = segments[int(value)]
        left.remove(int(value))
        y, x = np.nonzero(ids == value)
        assert row["area"] == pixels and row["category_id"] in categories and row["iscrowd"] == 0
        assert row["bbox"] == [x.min(), y.min(), x.max() + 1 - x.min(), y.max() + 1 - y.min()]
    assert not left and len(segments) == len(annotation["segments_info"])
    assert annotation["image_id"] == told["images"][0]["id"] and {row["isthing"] for row in categories.values()} == {0, 1}
    return ids, told


def test_coco_panoptic_is_read_as_panopticapi_reads_it():
    result = panoptic()
    picture = np.zeros((result.height, result.width, 3), np.uint8)
    subject = export.Subject(result, picture, "street.jpg")
    with zipfile.ZipFile(io.BytesIO(export.EXPORTS["coco_panoptic"].make(subject))) as archive:
        files = {name: archive.read(name) for name in archive.namelist()}
    assert set(files) == {"panoptic.png", "panoptic.json"}
    ids, told = read_as_panopticapi(files)
    np.testing.assert_array_equal(ids, result.id_map)
    assert [row["name"] for row in told["categories"] if row["isthing"]] == ["car", "person"]
    assert export.bundle(picture, result, "", "street.jpg", ["coco-panoptic"]) == files
    every = export.bundle(picture, result, "x")
    assert {"x_panoptic.png", "x_panoptic.json"} <= set(every) and "x_coco_panoptic.zip" not in every
    read_as_panopticapi({name: every[name] for name in ("x_panoptic.png", "x_panoptic.json")})
    with pytest.raises(BadRequestError, match="is for panoptic results"):
        export.bundle(np.zeros((19, 22, 3), np.uint8), semantic(), "", formats=["png", "coco-panoptic"])
