"""Files of annotation tools, read for training: as we write them and as the tools do, and what is said of those that are wrong."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask

from seg_demo.annotations import other_tools, readers
from seg_demo.annotations.dataset import Dataset
from seg_demo.annotations.file_names import FileFinder
from seg_demo.annotations.listing import Item
from seg_demo.core.errors import DataError, in_language
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint
from seg_demo.inputs.shapes import encode_roi
from seg_demo.outputs.interchange import FORMATS, Annotated, DataSet, brush_rle
from train.data import examine, open_dataset, split

H, W = 40, 60
RNG = np.random.default_rng(8)


def look(root: Path) -> Dataset:
    return open_dataset(str(root), seed=0, size=None, workers=1, progress=False)


def save_picture(path: Path, height: int = H, width: int = W) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(RNG.integers(0, 256, (height, width, 3), dtype=np.uint8)).save(path)
    return path


def result(height: int, width: int, count: int, names: list[str]) -> Segmentation:
    """Noisy objects that overlap, with holes, parts and single pixels, up to the borders."""
    segments = []
    for index in range(count):
        y0, x0 = int(RNG.integers(height)), int(RNG.integers(width))
        y1, x1 = int(RNG.integers(y0 + 1, height + 1)), int(RNG.integers(x0 + 1, width + 1))
        mask = RNG.random((y1 - y0, x1 - x0)) < (0.75 if index % 2 else 1)
        mask[[0, 0, -1, -1], [0, -1, 0, -1]] = True
        segments.append(Segment(1 + index % (len(names) - 1), 1 - index / (2 * count), (x0, y0, x1, y1), mask))
    segments.append(Segment(1, 0.25, (width - 1, height - 1, width, height), np.ones((1, 1), bool)))
    return Segmentation("instance", height, width, LabelSet.from_names(names, 0), paint(segments, height, width), tuple(segments))


def item_of(dataset: Dataset, stem: str) -> Item:
    return next(item for item in dataset.items if item.image.stem == stem)


def objects_in(dataset: Dataset, name: str) -> list[tuple[str, bytes]]:
    """Class and mask of every object of an item, sorted."""
    sample = dataset.read(item_of(dataset, name))
    numbers = range(1, len(sample.instance_labels))
    masks = [np.any([layer == number for layer in sample.layers], axis=0) for number in numbers]
    return sorted((dataset.labels.names[sample.instance_labels[number]], mask.tobytes()) for number, mask in zip(numbers, masks, strict=True))


def written(segmentation: Segmentation) -> list[tuple[str, bytes]]:
    found = []
    for index, segment, name, _ in Annotated("x", segmentation).marks:
        mask = np.zeros((segmentation.height, segmentation.width), bool)
        x0, y0, x1, y1 = segment.box
        mask[y0:y1, x0:x1] = segmentation.mask_of(index)
        found.append((name, mask.tobytes()))
    return sorted(found)


NAMES = ["background", "cell", 'a <b> & "c"', "细胞"]
ROUND = {"a": result(37, 53, 9, NAMES), "b": result(1, 9, 3, NAMES), "c": result(21, 2, 4, NAMES)}


def data_set(root: Path, name: str, results: dict[str, Segmentation]) -> Path:
    data = DataSet(root, FORMATS[name](next(iter(results.values())).labels))
    for stem, each in results.items():
        data.add(Annotated(f"{stem}.png", each, split="val" if stem == "b" else "train"), save_picture(root.parent / f"{stem}.png", each.height, each.width))
    data.close()
    return root


@pytest.mark.parametrize("name", [name for name in FORMATS if name not in ("yolo", "voc")])
def test_what_we_write_comes_back_mask_by_mask(name: str, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    dataset = look(data_set(tmp_path / "data", name, ROUND))
    assert not dataset.faults and not dataset.unclear and not [fault for scan in dataset.scans.values() for fault in scan.faults]
    assert sorted(dataset.labels.names) == sorted(NAMES) and dataset.kind == "instance"
    for stem, each in ROUND.items():
        assert objects_in(dataset, stem) == written(each)
    if name == "cvat":
        assert {item.name: item.split for item in dataset.items} == {"images/a": "train", "images/b": "val", "images/c": "train"}


def test_yolo_comes_back_pixel_by_pixel(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    dataset = look(data_set(tmp_path / "data", "yolo", ROUND))
    assert dataset.labels.names == tuple(NAMES) and {item.split for item in dataset.items} == {"train", "val"}
    for stem, each in ROUND.items():
        for name in NAMES[1:]:
            got = np.any([np.frombuffer(mask, bool) for label, mask in objects_in(dataset, stem) if label == name] or [[False]], axis=0)
            wanted = np.any([np.frombuffer(mask, bool) for label, mask in written(each) if label == name] or [[False]], axis=0)
            np.testing.assert_array_equal(got, wanted)


def test_voc_comes_back_with_what_is_seen(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    dataset = look(data_set(tmp_path / "data", "voc", ROUND))
    assert dataset.labels.names == tuple(NAMES) and not dataset.faults
    for stem, each in ROUND.items():
        sample = dataset.read(item_of(dataset, stem))
        np.testing.assert_array_equal(sample.label_map, np.array([0, *(segment.label_id for segment in each.segments)])[each.id_map])


def test_three_hundred_classes_and_thousands_of_things_come_back(tmp_path: Path) -> None:
    names = ["background", *(f"class {index}" for index in range(300))]
    (tmp_path / "data").mkdir()
    large = result(64, 64, 330, names)
    dataset = look(data_set(tmp_path / "data", "imagej", {"a": large}))
    assert len(dataset.labels) == 301 and len(dataset.scans["a"].faults) <= 1  # more than can lie on top of each other is noted


def labelme(path: Path, shapes: list[dict], **more: object) -> None:
    content = {"version": "5.8.1", "flags": {}, "shapes": shapes, "imagePath": path.with_suffix(".png").name, "imageData": None, "imageHeight": H, "imageWidth": W}
    path.write_text(json.dumps({**content, **more}))


def shape(label: str, points: list, kind: str = "polygon", **more: object) -> dict:
    return {"label": label, "points": points, "group_id": None, "description": "", "shape_type": kind, "flags": {}, **more}


def drawn(draw) -> np.ndarray:
    image = Image.new("L", (W, H))
    draw(ImageDraw.Draw(image))
    return np.array(image, bool)


def test_labelme_draws_every_kind_of_shape_as_labelme_does(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    stencil = np.eye(4, 5, dtype=bool)
    png = io.BytesIO()
    Image.fromarray(stencil.astype(np.uint8)).save(png, "PNG")
    labelme(
        tmp_path / "a.json",
        [
            shape("polygon", [[2.7, 3.2], [20.9, 5], [11, 17.5]]), shape("rectangle", [[30, 9.5], [22, 2]], "rectangle"),
            shape("circle", [[45, 20], [50, 24]], "circle"), shape("line", [[5, 30], [20, 38]], "line"),
            shape("strip", [[25, 30], [35, 38], [50, 30]], "linestrip"), shape("point", [[55, 5]], "point", flags={"doubt": True}),
            shape("mask", [[1, 20], [5, 23]], "mask", mask=base64.b64encode(png.getvalue()).decode()),
            shape("two", [[30, 18], [34, 18], [34, 22]], group_id=1), shape("two", [[36, 18], [40, 18], [40, 22]], group_id=1),
        ],
    )  # fmt: skip
    dataset = look(tmp_path)
    got = {name: np.frombuffer(mask, bool).reshape(H, W) for name, mask in objects_in(dataset, "a")}
    masked = np.zeros((H, W), bool)
    masked[20:24, 1:6] = stencil
    radius = np.hypot(5, 4)
    wanted = {
        "polygon": drawn(lambda pen: pen.polygon([(2.7, 3.2), (20.9, 5), (11, 17.5)], outline=1, fill=1)),
        "rectangle": drawn(lambda pen: pen.rectangle([(22, 2), (30, 9.5)], outline=1, fill=1)),
        "circle": drawn(lambda pen: pen.ellipse((45 - radius, 20 - radius, 45 + radius, 20 + radius), outline=1, fill=1)),
        "line": drawn(lambda pen: pen.line([(5, 30), (20, 38)], fill=1, width=10)),
        "strip": drawn(lambda pen: pen.line([(25, 30), (35, 38), (50, 30)], fill=1, width=10)),
        "point": drawn(lambda pen: pen.ellipse((50, 0, 60, 10), outline=1, fill=1)),
        "mask": masked,
        "two": drawn(lambda pen: [pen.polygon([(x, 18), (x + 4, 18), (x + 4, 22)], outline=1, fill=1) for x in (30, 36)]),
    }
    assert got.keys() == wanted.keys()
    for name in wanted:
        np.testing.assert_array_equal(got[name], wanted[name], err_msg=name)
    said = [str(note) for note in dataset.notes]
    assert said[0] == "Read as labelme from a.json. Pictures: 1; objects: 8; classes (8): circle, line, mask, point, polygon, rectangle, strip, two."
    assert said[1:] == [
        "1 times flags are set; they are not read.", "2 lines count as they are drawn by labelme: 10 pixels wide.",
        "1 points count as they are drawn by labelme: discs of 5 pixels round them.",
    ]  # fmt: skip


def test_label_studio_as_it_exports(tmp_path: Path) -> None:
    save_picture(tmp_path / "images/cells 1.png")
    brush = RNG.random((H, W)) < 0.4
    size = {"original_width": W, "original_height": H, "image_rotation": 0}
    result = [
        {"id": "a", "type": "polygonlabels", "value": {"points": [[10, 10], [50, 10], [50, 50]], "closed": True, "polygonlabels": ["b"]}, **size},
        {"id": "b", "type": "brushlabels", "value": {"format": "rle", "rle": list(brush_rle(brush)), "brushlabels": ["a", "b"]}, **size},
        {"id": "c", "type": "keypointlabels", "value": {"x": 1, "y": 1, "keypointlabels": ["a"]}, **size},
        {"id": "d", "type": "choices", "value": {"choices": ["good"]}},
    ]
    older = {"result": [], "updated_at": "2023-01-01T00:00:00Z"}
    task = {
        "id": 7, "data": {"image": "/data/upload/1/0badcafe-cells%201.png"}, "predictions": [{"result": []}],
        "annotations": [{"result": result, "updated_at": "2024-01-01T00:00:00Z"}, older, {"result": [], "was_cancelled": True, "updated_at": "2025"}],
    }  # fmt: skip
    (tmp_path / "project.json").write_text(json.dumps([task]))
    (tmp_path / "config.xml").write_text('<View><BrushLabels name="x" toName="y"><Label value="b"/><Label value="a"/></BrushLabels></View>')
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "b", "a")
    found = {name: np.frombuffer(mask, bool).reshape(H, W) for name, mask in objects_in(dataset, "cells 1")}
    np.testing.assert_array_equal(found["a"], brush)
    wanted = coco_mask.decode(coco_mask.frPyObjects([[6, 4, 30, 4, 30, 20]], H, W))[..., 0]
    np.testing.assert_array_equal(found["b"], wanted.astype(bool))
    assert {str(note) for note in dataset.notes[1:]} == {
        "1 annotations of tasks that have several are left out: ground truth counts, else the latest.",
        "1 predictions are left out, where there are annotations or later ones.",
        "1 further labels of regions that have several are left out; the first counts.",
        "1 keypoints have no area and are left out.", "1 regions without labels (choices, texts, relations) are left out.",
    }  # fmt: skip


CVAT = """<?xml version="1.0" encoding="utf-8"?>
<annotations><version>1.1</version><meta><task><labels><label><name>plate</name></label><label><name>bolt</name></label><label><name>never</name></label></labels></task></meta>
<image id="0" name="deep/a.png" width="60" height="40">
<polygon label="plate" occluded="0" points="2.00,2.00;42.00,2.00;42.00,32.00;2.00,32.00" z_order="1"><attribute name="rust">much</attribute></polygon>
<mask label="bolt" occluded="0" rle="0, 3, 1, 2" left="10" top="10" width="3" height="2" z_order="0"></mask>
<ellipse label="bolt" cx="50" cy="20" rx="4" ry="6" rotation="30" z_order="2"></ellipse>
<points label="bolt" points="1,1;2,2"></points>
</image></annotations>
"""


def test_cvat_as_it_exports_with_what_lies_on_top(tmp_path: Path) -> None:
    save_picture(tmp_path / "images/deep/a.png")
    (tmp_path / "annotations.xml").write_text(CVAT)
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "plate", "bolt")
    sample = dataset.read(dataset.items[0])
    # The plate is said to lie on top of the bolt, which is smaller.
    assert (sample.label_map[2:32, 2:42] == 1).all() and np.count_nonzero(sample.label_map == 1) == 1200
    areas = sorted(np.frombuffer(mask, bool).sum() for name, mask in objects_in(dataset, "a") if name == "bolt")
    assert areas[0] == 5 and abs(areas[1] - np.pi * 24) < 3
    said = {str(note) for note in dataset.notes}
    assert {"1 keypoints have no area and are left out.", "1 attributes of shapes are not read.", "Categories without any annotation are left out: never."} <= said


def test_qupath_as_it_exports(tmp_path: Path) -> None:
    save_picture(tmp_path / "slide 1.png")
    outer = [[5, 5], [35, 5], [35, 25], [5, 25], [5, 5]]
    hole = [[10, 10], [10, 20], [20, 20], [20, 10], [10, 10]]
    tumour = {"objectType": "annotation", "classification": {"name": "Tumour", "color": [200, 0, 0]}, "isLocked": False}
    cell = {"objectType": "cell", "classification": {"names": ["Cell", "Positive"]}, "measurements": {"Area": 3.0}}
    features = [
        {"type": "Feature", "id": "PathAnnotationObject", "geometry": {"type": "Polygon", "coordinates": [outer, hole]}, "properties": tumour},
        {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": [[[40.2, 30], [44.2, 30], [44.2, 35], [40.2, 35]]]}, "properties": cell, "nucleusGeometry": {}},
        {"type": "Feature", "geometry": {"type": "Point", "coordinates": [1, 1]}, "properties": tumour},
    ]
    (tmp_path / "slide 1.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": features}))
    dataset = look(tmp_path)
    assert dataset.labels.names == ("background", "Cell: Positive", "Tumour")
    assert [np.frombuffer(mask, bool).sum() for _, mask in objects_in(dataset, "slide 1")] == [20, 500]
    # An area, and points that belong to it; collections in collections are named.
    both = {"type": "GeometryCollection", "geometries": [features[1]["geometry"], {"type": "Polygon", "coordinates": [[[1, 1], [3, 1], [3, 3], [1, 3]]]}, {"type": "Point", "coordinates": [9, 9]}]}
    for geometry, left in ((both, 0), ({"type": "GeometryCollection", "geometries": [both]}, 1)):
        (tmp_path / "slide 1.geojson").write_text(json.dumps({"type": "FeatureCollection", "features": [features[0], {**features[1], "geometry": geometry}]}))
        found = look(tmp_path)
        assert len(found.faults) == left and [np.frombuffer(mask, bool).sum() for _, mask in objects_in(found, "slide 1")] == ([500] if left else [24, 500])
    # The same as a list of features, which older versions write.
    (tmp_path / "slide 1.geojson").write_text(json.dumps(features))
    assert objects_in(look(tmp_path), "slide 1") == objects_in(dataset, "slide 1")


def test_imagej_s_own_names_and_groups(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    square = [[(2, 2), (8, 2), (8, 8), (2, 8)]]
    with zipfile.ZipFile(tmp_path / "a_RoiSet.zip", "w") as archive:
        archive.writestr("0005-0005.roi", encode_roi("0005-0005", [square], 0, {}))
        archive.writestr("b.roi", encode_roi("b", [[[(x + 20, y) for x, y in square[0]]]], 3, {}))
        archive.writestr("nucleus-12.roi", encode_roi("nucleus-12", [[[(x + 40, y) for x, y in square[0]]]], 0, {}))
        archive.writestr("__MACOSX/._b.roi", b"x")
    dataset = look(tmp_path)
    assert [name for name, _ in objects_in(dataset, "a")] == ["group 3", "nucleus", "object"]
    assert {np.frombuffer(mask, bool).sum() for _, mask in objects_in(dataset, "a")} == {36}


def yolo(root: Path, text: str, names: str = "names: [cell, dirt]\n") -> None:
    save_picture(root / "train/images/a.png")
    save_picture(root / "train/images/b.png")
    (root / "train/labels").mkdir(parents=True)
    (root / "train/labels/a.txt").write_text(text)
    (root / "train/labels/b.txt").write_text("1 0.1 0.1 0.5 0.1 0.5 0.5\n")
    (root / "data.yaml").write_text("train: ../train/images\nval: ../valid/images\nnc: 2\n" + names)


BAD_LINES = {
    "7 0.1 0.1 0.5 0.1 0.5 0.5": "has the class number 7, but 2 classes are listed",
    "0 0.5 0.5 0.2 0.2": "has only a box, which is no outline",
    "0 0.1 0.1 0.5 0.1": "has only a box, which is no outline",
    "0 10 10 50 10 50 50": "has coordinates that are no shares of the picture from 0 to 1",
    "0 0.1 0.1 nan 0.1 0.5 0.5": "has coordinates that are no shares of the picture from 0 to 1",
    "cell 0.1 0.1": "is no line of numbers: 'cell 0.1 0.1'",
    "0 0.1 0.1": "has 1 points, but 3 are needed",
}


@pytest.mark.parametrize("line", BAD_LINES)
def test_a_bad_line_is_a_sentence_and_the_other_pictures_go_on(line: str, tmp_path: Path) -> None:
    yolo(tmp_path, f"0 0.1 0.1 0.5 0.1 0.5 0.5\n{line}\n")
    dataset = look(tmp_path)
    (fault,) = dataset.faults
    assert (fault.file, fault.what, fault.item) == ("train/labels/a.txt, line 2", BAD_LINES[line], "train/images/a")
    assert in_language(fault.what, "zh") != fault.what and in_language(fault.remedy, "zh") != fault.remedy
    assert [len(item.annotations) for item in dataset.items] == [1, 1]


def test_what_contradicts_a_list_or_lies_elsewhere_is_said(tmp_path: Path) -> None:
    for name in "abc":
        save_picture(tmp_path / f"{name}.png")
    triangle = [[1, 1], [20, 1], [20, 20]]
    labelme(tmp_path / "a.json", [shape("cell", triangle), shape("dirt", triangle)])
    labelme(tmp_path / "b.json", [shape("cell", [[100, 100], [120, 100], [120, 120]]), shape("cell", triangle, "cube"), shape("cell", [[1, 1]])])
    labelme(tmp_path / "c.json", [shape("cell", triangle)], imagePath="elsewhere.png")
    labelme(tmp_path / "d.json", [shape("cell", triangle)], imagePath="gone.png")
    (tmp_path / "e.json").write_text(json.dumps({"shapes": [], "imagePath": "c.png"})[:-4] + ' "imagePath"')
    (tmp_path / "labels.txt").write_text("__ignore__\n_background_\ncell\n")
    dataset = look(tmp_path)
    found = {(fault.file, fault.what, fault.item) for fault in (*dataset.faults, *(fault for scan in dataset.scans.values() for fault in scan.faults))}
    assert ("a.json, shape 2", "has the class 'dirt', which its list of classes lacks", "a") in found
    assert ("b.json, shape 1", "covers no pixel of its image", "b") in found
    assert ("b.json, shape 2", "is of the kind 'cube', which is not known", "b") in found
    assert ("b.json, shape 3", "has 1 points, but 3 are needed", "b") in found
    assert ("d.json", "names the picture 'gone.png', which is not beside it, nor in images/", None) in found
    assert any(file == "e.json" and "is no JSON" in what for file, what, _ in found)
    assert {item.name for item in dataset.items} == {"a", "b", "c"}, "a file that was renamed with its picture is found beside it"
    report = examine(dataset, *split(dataset, 0.3, 0)).report()
    assert "--skip-bad leaves out the 2 images concerned." in report


@pytest.mark.parametrize(
    ("head", "said"),
    [
        ('<!DOCTYPE x [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]>', "declares a document type or entities"),
        ("", "is no XML from line"),
        ("track", "is CVAT's format for video"),
    ],
)
def test_an_xml_that_is_not_to_be_read_is_refused(head: str, said: str, tmp_path: Path) -> None:
    save_picture(tmp_path / "images/a.png")
    text = CVAT if head != "track" else '<annotations><version>1.1</version><track id="0" label="x"></track></annotations>'
    text = text.replace("<annotations>", head + "<annotations>") if head.startswith("<!") else text
    (tmp_path / "annotations.xml").write_text(text[: len(text) // 2] if not head else text)
    with pytest.raises(DataError, match=f"was read as CVAT, but nothing in it can be used: annotations.xml {said}"):
        look(tmp_path)


def test_two_formats_in_one_folder_are_a_choice_of_the_person(tmp_path: Path) -> None:
    save_picture(tmp_path / "a.png")
    labelme(tmp_path / "a.json", [shape("cell", [[1, 1], [20, 1], [20, 20]])])
    (tmp_path / "annotations.xml").write_text(CVAT)
    with pytest.raises(DataError, match=r"several annotation tools: labelme \(a.json\), CVAT \(annotations.xml\)"):
        look(tmp_path)
    assert len(look(tmp_path / "a.json")) == 1


@pytest.mark.parametrize("value", [10**15, "AAAA", [1, 2, 3], list(brush_rle(np.ones((4, 4), bool)))])
def test_brushes_that_are_no_mask_of_the_picture(value: object) -> None:
    """Nothing is made of a size that a file only states."""
    with pytest.raises(readers._Bad, match="broken_mask"):
        readers._studio_shape("brushlabels", {"rle": value}, (H, W))
    with pytest.raises(readers._Bad, match="broken_mask"):
        readers._studio_shape("brushlabels", {"rle": value}, (90_000, 90_000))


@pytest.mark.parametrize("runs", ["9999800001", "4611686018427387904,4611686018427387904,4611686018427387904,4611686018427387905", "5,-4,5", "6"])
def test_masks_of_cvat_that_are_none(runs: str) -> None:
    side = "99999" if runs.startswith("9") else "2"
    with pytest.raises(readers._Bad, match="broken_mask"):
        readers._cvat_shape("mask", {"left": "0", "top": "0", "width": side, "height": side, "rle": runs})


def png_text(pixels: np.ndarray) -> str:
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG")
    return base64.b64encode(buffer.getvalue()).decode()


def png_url(mask: np.ndarray) -> str:
    """Label Studio's bitmask: black on nothing."""
    return "data:image/png;base64," + png_text(np.dstack([np.zeros((*mask.shape, 3), np.uint8), mask.astype(np.uint8) * 255]))


def studio(regions: list[dict], image: str = "/data/upload/1/0badcafe-a.png", **more: object) -> dict:
    """A task of Label Studio, its regions as (type, value)."""
    size = {"original_width": W, "original_height": H, "image_rotation": 0, "id": "r"}
    return {"id": 1, "annotations": [{"result": [{"type": next(iter(each)), "value": each[next(iter(each))], **size} for each in regions]}], "data": {"image": image}, **more}


def roi_zip(*rois: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for number, roi in enumerate(rois):
            archive.writestr(f"{number}.roi", roi)
    return buffer.getvalue()


def odd_zip() -> bytes:
    """A zip that wants a version that does not exist."""
    data = bytearray(roi_zip(b""))
    data[data.find(b"PK\x01\x02") + 6] = 200
    return bytes(data)


def rounded(left: int, top: int, right: int, bottom: int, arc: int) -> bytes:
    """A rectangle with round corners, as ImageJ stores it."""
    head = bytearray(64)
    head[:6], head[6] = b"Iout\x00\xe4", 1
    head[8:16] = b"".join(side.to_bytes(2, "big") for side in (top, left, bottom, right))
    head[54:56] = arc.to_bytes(2, "big")
    return bytes(head)


SPOT = np.zeros((H, W), bool)
SPOT[3:9, 5:20], SPOT[5, 7], SPOT[0, 0] = True, False, True
TRIANGLE = [[10, 10], [50, 10], [50, 50]]
SQUARE = [[[5, 5], [20, 5], [20, 15], [5, 15], [5, 5]]]
LINE = "0 0.1 0.1 0.5 0.1 0.5 0.5\n"
AREA_OF_TRIANGLE, AREA_OF_LINE = 192, 225
# What is written → the classes and areas of picture a, as the tools' own newest versions write it (and programs that write their formats).
VARIANTS: dict[str, tuple[dict[str, object], list[tuple[str, int]]]] = {
    "yolo, a list of folders to train on": ({"images/x/a.png": None, "labels/x/a.txt": LINE, "data.yaml": "path: .\ntrain:\n  - images/x\n  - images/y\nval: images/x\nnames: {0: no, 7: 007}\n"}, [("no", AREA_OF_LINE)]),
    "yolo, a description of any name": ({"images/a.png": None, "labels/a.txt": LINE, "coco8-seg.yaml": "train: images\nval: images\nnames:\n  0: cell\n"}, [("cell", AREA_OF_LINE)]),
    "yolo, names of nothing": ({"images/a.png": None, "labels/a.txt": LINE, "data.yaml": "path: null\ntrain: images\nval: images\ntest:\nnames: ~\n"}, [("class 0", AREA_OF_LINE)]),
    "labelme, beside settings of a training and a zip of another time": (
        {"a.png": None, "a.json": {"shapes": [{"label": "x", "points": TRIANGLE}], "imagePath": "a.png"}, "config.yaml": "model:\n  names: [y]\n  train: 3\nclass_names: [y]\ntrain: 3\n", "old.zip": odd_zip()},
        [("x", 795)],
    ),
    "labelme, rectangle of four corners": ({"a.png": None, "a.json": {"shapes": [{"label": "x", "shape_type": "rectangle", "points": [[5, 5], [20, 5], [20, 15], [5, 15]]}], "imagePath": "a.png"}}, [("x", 176)]),
    "label studio, bitmask": ({"a.png": None, "p.json": [studio([{"bitmasklabels": {"imageDataURL": png_url(SPOT), "bitmasklabels": ["x"]}}])]}, [("x", int(SPOT.sum()))]),
    "label studio, bitmask of all": ({"a.png": None, "p.json": [studio([{"bitmasklabels": {"imageDataURL": png_url(np.ones((H, W), bool)), "bitmasklabels": ["x"]}}])]}, [("x", H * W)]),
    "label studio, vector": (
        {"a.png": None, "p.json": [studio([
            {"vectorlabels": {"vertices": [{"id": str(number), "x": x, "y": y, "isBezier": False} for number, (x, y) in enumerate(TRIANGLE)], "closed": True, "vectorlabels": ["x"]}},
            {"vectorlabels": {"vertices": [{"x": 1, "y": 1}, {"x": 9, "y": 9}], "closed": False, "vectorlabels": ["x"]}},
        ])]}, [("x", AREA_OF_TRIANGLE)],
    ),
    "label studio, labels beside an outline": ({"a.png": None, "p.json": [studio([{"polygon": {"points": TRIANGLE}}, {"labels": {"labels": ["x"]}}])]}, [("x", AREA_OF_TRIANGLE)]),
    "label studio, names by alias": (
        {"a.png": None, "p.json": [studio([{"polygonlabels": {"points": TRIANGLE, "polygonlabels": ["x"]}}])], "config.xml": '<View><PolygonLabels name="l" toName="i"><Label value="Long" alias="x"/></PolygonLabels></View>'},
        [("x", AREA_OF_TRIANGLE)],
    ),
    "label studio, signed address": ({"a.png": None, "p.json": [studio([{"polygonlabels": {"points": TRIANGLE, "polygonlabels": ["x"]}}], "s3://bucket/far/a.png?X-Amz-Signature=b.c")]}, [("x", AREA_OF_TRIANGLE)]),
    "label studio, json-min, twice annotated": (
        {"a.png": None, "p.json": [
            {"image": "/data/upload/1/a.png", "id": 4, "tag": [{"points": TRIANGLE, "polygonlabels": [name], "original_width": W, "original_height": H}], "annotation_id": number, "updated_at": f"2026-0{number}-01T00:00:00.000000Z"}
            for number, name in ((2, "later"), (1, "x"))
        ]}, [("later", AREA_OF_TRIANGLE)],
    ),
    "label studio, skipped and unknown tasks": (
        {"a.png": None, "b.png": None, "p.json": [studio([{"polygonlabels": {"points": TRIANGLE, "polygonlabels": ["x"]}}]), {"id": 2, "annotations": [{"was_cancelled": True, "result": []}], "data": {"image": "b.png"}}]},
        [("x", AREA_OF_TRIANGLE)],
    ),
    "cvat, a project with subsets": (
        {"images/Train/a.png": None, "images/Test/a.png": None, "annotations.xml": "<annotations>" + "".join(
            f'<image id="0" name="a.png" subset="{subset}" width="{W}" height="{H}"><polygon label="{subset}" points="5,5;20,5;20,15;5,15" z_order="0"/></image>' for subset in ("Train", "Test")
        ) + "</annotations>"}, [("Train", 150)],
    ),
    "qupath, a list in .json, cores and names": (
        {"a.png": None, "a.json": [
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}, "properties": {"objectType": "tma_core", "name": "A-1"}},
            {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}, "properties": {"objectType": "annotation", "name": "third from left"}},
        ]}, [("object", 150)],
    ),
    "imagej, its own name for a set": ({"a.png": None, "RoiSet.zip": roi_zip(encode_roi("x", [[[(2, 2), (8, 2), (8, 8), (2, 8)]]], 0, {}))}, [("x", 36)]),
    "imagej, a zip called as its picture": ({"a.png": None, "b.png": None, "a.zip": roi_zip(encode_roi("x", [[[(2, 2), (8, 2), (8, 8), (2, 8)]]], 0, {}))}, [("x", 36)]),
    "imagej, round corners": ({"a.png": None, "a.roi": rounded(5, 6, 25, 12, 10)}, [("object", 108)]),
}  # fmt: skip


def laid_out(root: Path, files: dict[str, object]) -> Path:
    """Files of a data set: None is a picture, what is no text and no bytes becomes JSON."""
    for name, content in files.items():
        if content is None:
            save_picture(root / name)
            continue
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(content if isinstance(content, bytes) else (content if isinstance(content, str) else json.dumps(content)).encode())
    return root


@pytest.mark.parametrize("variant", VARIANTS)
def test_what_tools_also_write_is_read(variant: str, tmp_path: Path) -> None:
    files, wanted = VARIANTS[variant]
    dataset = look(laid_out(tmp_path, files))
    assert not dataset.faults
    item = next(item for item in dataset.items if item.image.stem == "a" and item.image.parent.name != "Test")
    assert [(name, int(np.frombuffer(mask, bool).sum())) for name, mask in objects_in(replace(dataset, items=(item,)), "a")] == wanted
    assert {item.image.stem for item in dataset.items} == {"a"}, "nothing is known of other pictures"


# What is wrong with a data set of two pictures, of which one is whole → what is said of the other.
WRONG: dict[str, tuple[dict[str, object], str]] = {
    "labelme that breaks off": ({"a.json": '{"version": "5.5.0", "flags": {}, "shapes": [{"label": "x", "points": [[1, 1'}, "a.json is no JSON"),
    "labelme without a label": ({"a.json": {"shapes": [{"label": " ", "points": [[1, 1], [9, 1], [9, 9]]}], "imagePath": "a.png"}}, "a.json, shape 1 has no label"),
    "labelme with a circle of three": ({"a.json": {"shapes": [{"label": "x", "shape_type": "circle", "points": [[1, 1], [9, 1], [9, 9]]}], "imagePath": "a.png"}}, "a.json, shape 1 has 3 points, but 2 are expected"),
    "labelme with a mask in colours": (
        {"a.json": {"shapes": [{"label": "x", "shape_type": "mask", "points": [[0, 0], [W - 1, H - 1]], "mask": png_text(RNG.integers(0, 256, (H, W, 3), np.uint8))}], "imagePath": "a.png"}},
        "a.json, shape 1 has a mask that cannot be decoded",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", WRONG)
def test_what_is_wrong_with_one_file_is_said_of_it(case: str, tmp_path: Path) -> None:
    files, said = WRONG[case]
    whole = {"shapes": [{"label": "x", "points": [[1, 1], [9, 1], [9, 9]]}], "imagePath": "b.png"}
    dataset = look(laid_out(tmp_path, {"a.png": None, "b.png": None, "b.json": whole, **files}))
    (fault,) = dataset.faults
    assert f"{fault.file} {fault.what}".startswith(said) and len(objects_in(dataset, "b")) == 1


def test_label_studio_answers_are_not_guessed(tmp_path: Path) -> None:
    """A bitmask without anything transparent that shows something, labels of no outline, and what has no id that can be one."""
    drawn = {"points": TRIANGLE, "polygonlabels": ["x"], "original_width": W, "original_height": H}
    white = "data:image/png;base64," + png_text(SPOT.astype(np.uint8) * 255)
    whole = studio([{"polygonlabels": drawn}, {"bitmasklabels": {"imageDataURL": white, "bitmasklabels": ["x"]}}], "a.png")
    outlined = studio([{"polygon": {"points": TRIANGLE}}, {"labels": {"labels": ["x"]}}], "b.png")
    for region in outlined["annotations"][0]["result"]:
        del region["id"]
    dataset = look(laid_out(tmp_path, {"a.png": None, "b.png": None, "c.png": None, "p.json": [whole, outlined, {"image": "c.png", "id": [1], "tag": [drawn]}, {"data": {"image": "c.png"}, "annotations": 5}]}))
    assert [(fault.item, fault.file, fault.what) for fault in dataset.faults] == [
        ("a", "p.json, task 1, region 2", "has a mask that cannot be decoded"), ("b", "p.json, task 1, region 2", "is of the kind 'labels', which is not known"),
    ]  # fmt: skip
    assert [len(objects_in(dataset, name)) for name in "abc"] == [1, 0, 1]
    (tmp_path / "p.json").write_text(json.dumps([studio([{"polygonlabels": drawn}, {"bitmasklabels": {"imageDataURL": png_url(~SPOT & SPOT), "bitmasklabels": ["x"]}}], "a.png")]))
    with pytest.raises(DataError, match="region 2: covers no pixel"):
        objects_in(look(tmp_path), "a")


def test_pictures_without_a_word_and_words_without_a_picture_are_counted(tmp_path: Path) -> None:
    files = {"images/b.png": None, "labels/a.txt": LINE, "labels/b.txt": LINE, "data.yaml": "train: images\nval: images\nnames: [x]\n"}
    (fault,) = look(laid_out(tmp_path / "yolo", files)).faults
    assert (fault.file, fault.what) == ("labels/a.txt", "names the picture 'a', which is not beside it, nor in images/")
    listed = {**files, "train.txt": "\ufeff./images/b.png\n/their/images/a.png\n\nimages/c.png\n", "test.txt": "images/d.png", "data.yaml": "train: train.txt\nval: train.txt\ntest: test.txt\nnames: [x]\n"}
    dataset = look(laid_out(tmp_path / "listed", listed))
    missing = [("train.txt", f"names the picture '{name}', which is not beside it, nor in images/") for name in ("/their/images/a.png", "images/c.png")]
    assert [(fault.file, fault.what) for fault in dataset.faults] == missing and [item.name for item in dataset.items] == ["images/b"]
    labelme = {"a.png": None, "b.png": None, "a.json": {"shapes": [{"label": "x", "points": [[1, 1], [9, 1], [9, 9]]}], "imagePath": "a.png"}}
    assert "1 pictures beside the others are named by no file and are left out; the first: b.png." in map(str, look(laid_out(tmp_path / "labelme", labelme)).notes)
    two = {**files, "dataset.yaml": "train: images\nval: images\nnames: [y]\n"}
    with pytest.raises(DataError, match="holds data.yaml and dataset.yaml, which describe different data"):
        look(laid_out(tmp_path / "two", two))
    rois = {"a.png": None, "b.png": None, "RoiSet.zip": roi_zip(encode_roi("x", [[[(2, 2), (8, 2), (8, 8), (2, 8)]]], 0, {}))}
    assert [fault.what[:35] for fault in look(laid_out(tmp_path / "rois", rois)).faults] == ["is named after no picture. Call it "]


def test_files_of_tools_beside_what_is_read_are_named(tmp_path: Path) -> None:
    beside = {"a.json": {"shapes": [], "imagePath": "a.png"}}
    coco = {"images": [{"id": 1, "file_name": "a.png"}], "categories": [{"id": 1, "name": "x"}], "annotations": [{"id": 1, "image_id": 1, "category_id": 1, "segmentation": [[1, 1, 9, 1, 9, 9]]}]}
    for name, files in {"coco": {"a.png": None, "coco.json": coco}, "masks": {"images/a.png": None, "masks/a.png": base64.b64decode(png_text(SPOT.astype(np.uint8)))}}.items():
        dataset = look(laid_out(tmp_path / name, {**files, **beside}))
        assert not dataset.faults and sum("lie there too and are not read: labelme (a.json)" in note for note in dataset.notes) == 1
        (tmp_path / name / "a.json").unlink()
        assert not any("lie there too" in note for note in look(tmp_path / name).notes)


@pytest.mark.parametrize("kind", ["labelme", "geojson"])
def test_a_folder_is_looked_through_once_for_all_its_files(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Thousands of files by themselves would take minutes otherwise."""
    looks: list[object] = []
    names, by_name = FileFinder._names, other_tools._by_name
    monkeypatch.setattr(FileFinder, "_names", lambda self, folder: looks.append(folder) or names(self, folder))
    monkeypatch.setattr(other_tools, "_by_name", lambda folder: looks.append(folder) or by_name(folder))
    counts = []
    for count in (2, 9):
        looks.clear()
        files: dict[str, object] = {}
        for number in range(count):
            shapes = [{"label": "x", "points": [[1, 1], [9, 1], [9, 9]]}]
            labelme = {"shapes": shapes, "imagePath": f"C:\\photos\\p{number}.png"}
            feature = {"type": "Feature", "geometry": {"type": "Polygon", "coordinates": SQUARE}, "properties": {"label": "x"}}
            files |= {f"images/p{number}.png": None, **({f"p{number}.json": labelme} if kind == "labelme" else {f"p{number}.geojson": {"type": "FeatureCollection", "features": [feature]}})}
        assert len(other_tools.list_tools(laid_out(tmp_path / str(count), files)).items) == count
        counts.append(len(looks))
    assert 0 < counts[0] == counts[1]
