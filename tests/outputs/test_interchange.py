"""Other tools' formats give the same masks back by the rule of the tool that reads them."""

from __future__ import annotations

import base64
import io
import json
import zipfile
from collections import Counter
from collections.abc import Iterator
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image, ImageDraw
from pycocotools import mask as coco_mask
from rasterio.features import rasterize
from shapely.geometry import shape
from skimage.draw import polygon as sk_polygon

from seg_demo.core.errors import BadRequestError
from seg_demo.core.rle import Runs
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.inputs.shapes import decode_roi
from seg_demo.outputs import export, interchange
from seg_demo.outputs.interchange import FORMATS, Annotated, losses
from seg_demo.outputs.polygons import inner_ring, inner_rings, single_rings, trace, trace_runs

RNG = np.random.default_rng(5)
NAMES = ["background", "cell", 'a <b> & "c"', "细胞", "x: y"]


def instances(height: int, width: int, count: int, names: list[str] = NAMES) -> Segmentation:
    """Noisy, overlapping objects with holes, parts and touching corners, and one of a single pixel in the last corner."""
    segments = []
    for index in range(count):
        y0, x0 = int(RNG.integers(max(1, height - 2))), int(RNG.integers(max(1, width - 2)))
        y1, x1 = int(RNG.integers(y0 + 1, height + 1)), int(RNG.integers(x0 + 1, width + 1))
        mask = RNG.random((y1 - y0, x1 - x0)) < (0.7 if index % 2 else 1)
        mask[[0, 0, -1, -1], [0, -1, 0, -1]] = True
        segments.append(Segment(1 + index % (len(names) - 1), 1 - index / (2 * count), (x0, y0, x1, y1), mask))
    segments.append(Segment(1, 0.25, (width - 1, height - 1, width, height), np.ones((1, 1), bool)))
    return Segmentation("instance", height, width, LabelSet.from_names(names, 0), paint(segments, height, width), tuple(segments))


def semantic() -> Segmentation:
    id_map = RNG.choice(np.array([0, 1, 3], np.uint8), (19, 22), p=[0.5, 0.3, 0.2])
    return semantic_segmentation(id_map, LabelSet.from_names(NAMES, 0), {0: 0.9, 1: 0.5})


CASES = {
    "odd": instances(37, 53, 12), "row": instances(1, 9, 3), "column": instances(9, 1, 3), "semantic": semantic(),
    "none": instances(5, 4, 0), "many": instances(40, 40, 300, ["background", *(f"class {index}" for index in range(300))]),
}  # fmt: skip


def truth(result: Segmentation) -> list[tuple[str, np.ndarray]]:
    """Class and full mask of everything but the background."""
    found = []
    for index, segment, name, _ in Annotated("a.png", result).marks:
        mask = np.zeros((result.height, result.width), bool)
        x0, y0, x1, y1 = segment.box
        mask[y0:y1, x0:x1] = result.mask_of(index)
        found.append((name, mask))
    return found


def files_of(result: Segmentation, name: str) -> dict[str, bytes]:
    return export.bundle(np.zeros((result.height, result.width, 3), np.uint8), result, "", "photo 1.jpg", [name])


def area_rule(points: list[float], height: int, width: int) -> np.ndarray:
    """Pixels of a polygon as pycocotools, CVAT and Label Studio's converter have them."""
    return coco_mask.decode(coco_mask.frPyObjects([points], height, width))[..., 0].astype(bool)


def edge_rule(points: list[tuple[float, float]], height: int, width: int) -> np.ndarray:
    """As ``labelme.utils.shape_to_mask`` draws a polygon."""
    image = Image.new("L", (width, height))
    ImageDraw.Draw(image).polygon(points, outline=1, fill=1)
    return np.array(image, bool)


def labelme(files: dict[str, bytes], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    data = json.loads(files["labelme.json"])
    assert (data["imagePath"], data["imageHeight"], data["imageWidth"]) == ("photo 1.jpg", height, width)
    for found in data["shapes"]:
        mask = np.zeros((height, width), bool)
        if found["shape_type"] == "mask":
            (x1, y1), (x2, y2) = found["points"]
            stored = np.asarray(Image.open(io.BytesIO(base64.b64decode(found["mask"]))))
            assert set(np.unique(stored)) <= {0, 1}
            mask[y1 : y2 + 1, x1 : x2 + 1] = stored
        else:
            mask = edge_rule([tuple(point) for point in found["points"]], height, width)
        yield found["label"], mask


def yolo(files: dict[str, bytes], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    import yaml

    names = yaml.safe_load(files["data.yaml"])["names"]
    for line in files["yolo.txt"].decode().splitlines():
        number, *shares = line.split()
        # Ultralytics keeps float32 and cuts, supervision rounds.
        points = np.array(shares, np.float32).reshape(-1, 2) * np.float32([width, height])
        assert len(points) >= 3 and (points.astype(int) == np.round(points)).all()
        yield names[int(number)], edge_rule([tuple(point) for point in points.astype(int).tolist()], height, width)


def labelstudio(files: dict[str, bytes], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    (task,) = json.loads(files["labelstudio.json"])
    assert task["data"]["image"].endswith("?d=photo%201.jpg")
    tags = {tag.get("name"): tag for tag in ElementTree.fromstring(files["labeling_config.xml"])}
    for region in task["predictions"][0]["result"]:
        value = region["value"]
        (name,) = value[region["type"]]
        assert name in [label.get("value") for label in tags[region["from_name"]]]
        if region["type"] == "polygonlabels":
            yield name, area_rule([share * side / 100 for point in value["points"] for share, side in zip(point, (width, height), strict=True)], height, width)
        else:
            yield name, unpacked(bytes(value["rle"])).reshape(height, width, 4)[..., 3] == 255


def unpacked(data: bytes) -> np.ndarray:
    """As @thi.ng/rle-pack decodes."""
    bits = "".join(f"{byte:08b}" for byte in data)
    at = 0

    def take(count: int) -> int:
        nonlocal at
        at += count
        return int(bits[at - count : at], 2)

    total, size = take(32), take(5) + 1
    sizes = [take(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        repeated = take(1)
        count = take(sizes[take(2)]) + 1
        values += [take(size)] * count if repeated else [take(size) for _ in range(count)]
    return np.array(values, np.uint8)


def cvat(files: dict[str, bytes], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    root = ElementTree.fromstring(files["annotations.xml"])
    image = root.find("image")
    assert image.attrib == {"id": "0", "name": "photo 1.jpg", "width": str(width), "height": str(height)}
    listed = [label.findtext("name") for label in root.iter("label")]
    for mark in image:
        mask = np.zeros((height, width), bool)
        if mark.tag == "polygon":
            mask = area_rule([float(side) for point in mark.get("points").split(";") for side in point.split(",")], height, width)
        else:
            left, top, across, down = (int(mark.get(key)) for key in ("left", "top", "width", "height"))
            runs = [int(run) for run in mark.get("rle").split(",")]
            mask[top : top + down, left : left + across] = np.repeat(np.arange(len(runs)) % 2 == 1, runs).reshape(down, across)
        assert mark.get("label") in listed
        yield mark.get("label"), mask
    if len(image) > 1 and image[0].get("z_order") != "0":
        assert [int(mark.get("z_order")) for mark in image] == list(range(len(image)))[::-1], "the first lies on top"


def qupath(files: dict[str, bytes], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    features = json.loads(files["qupath.geojson"])["features"]
    assert len({feature["id"] for feature in features}) == len(features)
    for feature in features:
        geometry = shape(feature["geometry"])
        mask = rasterize([geometry], (height, width)).astype(bool)
        assert geometry.is_valid and geometry.area == mask.sum()
        yield feature["properties"]["classification"]["name"], mask


def rois(files: dict[str, bytes], height: int, width: int) -> Iterator[tuple[str, np.ndarray]]:
    with zipfile.ZipFile(io.BytesIO(files["rois.zip"])) as archive:
        entries = archive.namelist()
        assert len({entry.casefold() for entry in entries}) == len(entries)
        for entry in entries:
            roi = decode_roi(archive.read(entry))
            mask = np.zeros((height, width), bool)
            for ring in roi.shape.rings:
                # Centres strictly within: those of pixels never lie on a line between whole numbers.
                rows, columns = sk_polygon(np.array(ring[1::2]) - 0.5, np.array(ring[::2]) - 0.5, (height, width))
                mask[rows, columns] ^= True
            yield roi.properties["class"], mask


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize(
    ("name", "read"), [("labelme", labelme), ("labelstudio", labelstudio), ("cvat", cvat), ("qupath", qupath), ("imagej", rois)]
)
def test_a_tool_gets_every_mask_back(name: str, read, case: str) -> None:
    result = CASES[case]
    got, wanted = list(read(files_of(result, name), result.height, result.width)), truth(result)
    assert [each for each, _ in got] == [each for each, _ in wanted]
    for (_, mask), (_, expected) in zip(got, wanted, strict=True):
        np.testing.assert_array_equal(mask, expected)


@pytest.mark.parametrize("case", CASES)
def test_yolo_gets_every_pixel_back_part_by_part(case: str) -> None:
    result = CASES[case]
    got = yolo(files_of(result, "yolo"), result.height, result.width)
    one = Annotated("a.png", result)
    for (*_, pieces), (name, expected) in zip(one.marks, truth(result), strict=True):
        mask = np.zeros_like(expected)
        for _ in pieces:
            found, part = next(got)
            assert found == name and not (mask & part).any()
            mask |= part
        np.testing.assert_array_equal(mask, expected)
    assert next(got, None) is None


def test_voc_gives_every_pixel_to_the_topmost_and_names_colours() -> None:
    result = CASES["odd"]
    files = files_of(result, "voc")
    kinds, numbers = (Image.open(io.BytesIO(files[f"Segmentation{what}.png"])) for what in ("Class", "Object"))
    np.testing.assert_array_equal(np.asarray(numbers), result.id_map)
    np.testing.assert_array_equal(np.asarray(kinds), np.array([0, *(segment.label_id for segment in result.segments)])[result.id_map])
    # The first of VOC's own colours, and of five classes each is another.
    assert kinds.getpalette()[:12] == [0, 0, 0, 128, 0, 0, 0, 128, 0, 128, 128, 0]
    rows = files["labelmap.txt"].decode().splitlines()[1:]
    assert rows == ["background:0,0,0::", "cell:128,0,0::", 'a <b> & "c":0,128,0::', "细胞:128,128,0::", "x： y:0,0,128::"]
    assert "SegmentationObject.png" not in files_of(CASES["semantic"], "voc")
    np.testing.assert_array_equal(np.asarray(Image.open(io.BytesIO(files_of(CASES["semantic"], "voc")["SegmentationClass.png"]))), CASES["semantic"].id_map)
    with pytest.raises(BadRequestError, match="'voc' holds at most 254 classes beside the background, but there are 300"):
        files_of(CASES["many"], "voc")


def test_what_a_format_cannot_hold_is_counted() -> None:
    whole, ring = np.ones((4, 4), bool), np.pad(np.zeros((2, 2), bool), 1, constant_values=True)
    two = np.eye(2, dtype=bool)
    segments = [Segment(1, 0.9, (0, 0, 4, 4), ring), Segment(1, None, (2, 2, 6, 6), whole), Segment(2, 0.5, (6, 6, 8, 8), two)]
    result = Segmentation("instance", 8, 8, LabelSet.from_names(NAMES, 0), paint(segments, 8, 8), tuple(segments))
    void = np.zeros((8, 8), bool)
    void[0, 5:] = True
    found = {name: losses(kind.lacks, Annotated("a.png", result, void=void)) for name, kind in FORMATS.items()}
    nowhere = Counter(void=3)
    assert found == {
        "yolo": Counter(scores=2, parts=1, slits=1, void=3), "cvat": Counter(scores=2, void=3), "voc": Counter(scores=2, overlaps=1),
        "labelme": nowhere, "labelstudio": nowhere, "qupath": nowhere, "imagej": nowhere,
    }  # fmt: skip
    # The background of classes is no shape, and nothing is lost with it.
    assert losses(FORMATS["qupath"].lacks, Annotated("a.png", CASES["semantic"])) == Counter()
    assert [str(each) for each in interchange.loss_sentences("voc", found["voc"])] == [
        "2 scores are left out: voc has no place for them.", "1 objects are hidden in part by others: voc gives every pixel to the topmost alone.",
    ]  # fmt: skip


def test_scores_go_where_tools_look_for_them() -> None:
    result = CASES["odd"]
    scores = [segment.score for segment in result.segments]
    assert [found["score"] for found in json.loads(files_of(result, "labelme")["labelme.json"])["shapes"]] == scores
    assert [found["score"] for found in json.loads(files_of(result, "labelstudio")["labelstudio.json"])[0]["predictions"][0]["result"]] == scores
    features = json.loads(files_of(result, "qupath")["qupath.geojson"])["features"]
    assert [feature["properties"]["measurements"]["score"] for feature in features] == scores
    with zipfile.ZipFile(io.BytesIO(files_of(result, "imagej")["rois.zip"])) as archive:
        assert [float(decode_roi(archive.read(entry)).properties["score"]) for entry in archive.namelist()] == scores


def test_equal_results_are_equal_files() -> None:
    for name in FORMATS:
        assert files_of(CASES["odd"], name) == files_of(CASES["odd"], name)


def test_one_ring_holds_hundreds_of_holes() -> None:
    """Holes are found again by columns, not by looking through all that has been taken in: a noisy map has thousands."""
    rng = np.random.default_rng(3)
    lattice = np.ones((80, 96), bool)
    lattice[2:-2:4, 2:-2:4] = False
    for mask in (lattice, rng.random((70, 90)) < 0.85, rng.random((90, 70)) < 0.65):
        drawn = np.zeros(mask.shape, bool)
        for ring in map(inner_ring, trace(mask)[1]):
            drawn |= edge_rule(ring if len(ring) > 1 else ring * 2, *mask.shape)
        assert np.array_equal(drawn, mask)


def test_outlines_of_many_objects_at_once_are_those_of_each_alone() -> None:
    rng = np.random.default_rng(1)
    for _ in range(80):
        height, width = (int(side) for side in rng.integers(1, 14, 2))
        masks = [rng.random((height, width)) < share for share in rng.choice([0.3, 0.7, 0.95, 1], 5)]
        wanted = [trace(mask).get(1, []) for mask in masks]
        runs = [Runs.of_crop(mask, (0, 0, width, height), height) for mask in masks]
        for got, polygons in zip(trace_runs(runs), wanted, strict=True):
            assert sorted([outer, *sorted(holes)] for outer, *holes in got) == sorted([outer, *sorted(holes)] for outer, *holes in polygons)
        assert [ring if ring is None else list(map(tuple, ring.tolist())) for ring in single_rings(runs)] == [
            each[0][0] if len(each) == 1 == len(each[0]) else None for each in wanted
        ]
        polygons = [polygon for each in wanted for polygon in each]
        assert [list(map(tuple, ring.tolist())) for ring in inner_rings(polygons)] == [inner_ring(polygon) for polygon in polygons]


def test_names_of_yolo_are_what_yaml_reads() -> None:
    import yaml

    names = ["background", "🦠 \\ud83e", 'a "b": #c', "细\n胞", "~"]
    said = FORMATS["yolo"](LabelSet.from_names(names, 0)).about()["data.yaml"]
    assert list(yaml.safe_load(said)["names"].values()) == names[1:]
