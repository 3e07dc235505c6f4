"""Batches: the tables equal the masks, the COCO file what pycocotools reads, and the sheet what was segmented."""

from __future__ import annotations

import csv
import json
import threading
import zipfile
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO
from scipy import ndimage

from seg_demo import load_model
from seg_demo.__main__ import main
from seg_demo.core.errors import BadImageError, BadRequestError
from seg_demo.core.settings import Settings
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from seg_demo.inputs.archives import apart
from seg_demo.outputs import batch
from seg_demo.outputs.batch import pack
from seg_demo.outputs.export import count, measured_columns
from seg_demo.outputs.measurements import PixelSize, measure
from seg_demo.ui import batch_tab
from seg_demo.ui.batch_tab import Picked, gather, segment_all
from seg_demo.ui.components import EXAMPLES
from tests.outputs.test_export import panoptic, read_as_panopticapi

LABELS = LabelSet.from_names(["background", "=cell", "border"], background=0)


def semantic(seed: int, height: int = 31, width: int = 47) -> Segmentation:
    rng = np.random.default_rng(seed)
    smooth = ndimage.gaussian_filter(rng.normal(size=(height, width)), 3)
    return semantic_segmentation(np.digitize(smooth, [0.0, 0.1]).astype(np.uint8), LABELS, {0: 0.5, 1: 0.25})


def instance(seed: int, count: int) -> Segmentation:
    rng = np.random.default_rng(seed)
    segments = []
    for _ in range(count):
        x, y = int(rng.integers(0, 30)), int(rng.integers(0, 14))
        segments.append(Segment(1, float(rng.random()), (x, y, x + 11, y + 9), rng.random((9, 11)) < 0.7))
    return Segmentation("instance", 24, 44, LABELS, paint(segments, 24, 44), tuple(segments))


def rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


def summarised(folder: Path, results: list[Segmentation], pixel: PixelSize | None = None) -> list[Path]:
    summary = batch.Summary(folder, len(results), LABELS, pixel)
    for index, result in enumerate(results):
        picture = np.full((result.height, result.width, 3), 60 * index, np.uint8)
        summary.add(f"{index}.png", result.to_dict(), result.id_map, picture)
    return summary.close()


@pytest.mark.parametrize("unit", ["um", "m"])
def test_counts_and_areas_equal_the_masks(tmp_path, unit):
    results = [semantic(seed) for seed in range(3)]
    summarised(tmp_path, results, PixelSize(0.5, unit))
    table = rows(tmp_path / batch.COUNTS)
    assert len(table) == 9
    for row in table:
        id_map = results[int(row["image"][0])].id_map
        mask = id_map == int(row["label_id"])
        pieces = ndimage.label(mask)[1]
        assert (int(row["area_pixels"]), int(row["count"])) == (mask.sum(), pieces)
        assert float(row["share"]) == pytest.approx(mask.mean())
        assert float(row[f"area_{unit}2"]) == pytest.approx(mask.sum() * 0.25)
        if pieces:
            assert float(row["mean_area_pixels"]) == pytest.approx(mask.sum() / pieces)
    assert {row["label"] for row in table} == {"background", "'=cell", "border"}
    assert not (tmp_path / batch.OBJECTS).exists() and not (tmp_path / batch.FAILED).exists()


@pytest.mark.parametrize("pieces", [False, True])
def test_each_image_is_measured_in_its_unit_whichever_comes_first(tmp_path, pieces):
    pixels = [None, PixelSize(2.0, "m"), PixelSize(500.0, "um", 250.0), None]
    stated = [{}, {"pixel_size": [2.0, 2.0], "unit": "meter"}, {"pixel_size": [500.0, 250.0], "unit": "micrometer"}, {}]
    result = semantic(1) if pieces else instance(1, 4)
    picture = np.zeros((result.height, result.width, 3), np.uint8)
    found = measure(result, picture, pieces=pieces)
    summary = batch.Summary(tmp_path, len(pixels), LABELS, None)
    for index, (pixel, facts) in enumerate(zip(pixels, stated, strict=True)):
        columns = ((), ()) if pieces else measured_columns(found, pixel, len(found))
        summary.add(f"={index}.png", result.to_dict() | facts, result.id_map, picture, "", columns, found if pieces else None)
    summary.close()
    table = rows(tmp_path / (batch.PIECES if pieces else batch.OBJECTS))
    assert len(table) == 4 * len(found)
    for index, pixel in enumerate(pixels):
        mine = [row for row in table if row["image"] == f"'={index}.png"]
        assert [float(row["equivalent_diameter"]) for row in mine] == pytest.approx(found.columns()["equivalent_diameter"])
        for column, values in found.columns(PixelSize(1, "m") if pixel is None else pixel.within("m")).items():
            expected = ["" if value != value or (pixel is None and column.endswith(("_m", "_m2"))) else value for value in values.tolist()]
            assert [row[column] if row[column] == "" else float(row[column]) for row in mine] == pytest.approx(expected), column
    assert [row["area_m2"] == "" for row in rows(tmp_path / batch.COUNTS) if row["label"] != "background"][:: 1 if not pieces else 2] == [True, False, False, True]


def test_an_image_without_objects_has_a_row_of_zeros(tmp_path):
    results = [instance(0, 5), instance(1, 0), instance(2, 300)]
    summarised(tmp_path, results)
    table = rows(tmp_path / batch.COUNTS)
    assert [(row["image"], row["count"]) for row in table] == [("0.png", "5"), ("1.png", "0"), ("2.png", "300")]
    assert [int(row["area_pixels"]) for row in table] == [np.count_nonzero(result.id_map) for result in results]
    objects = rows(tmp_path / batch.OBJECTS)
    areas = [area for result in results for area in result.areas]
    assert [int(row["area_pixels"]) for row in objects] == areas
    nothing = tmp_path / "nothing"
    nothing.mkdir()
    summarised(nothing, [instance(1, 0)])
    assert {row["count"] for row in rows(nothing / batch.COUNTS)} == {"0"}


def test_one_coco_file_for_all_images(tmp_path):
    results = [semantic(1), instance(2, 7), semantic(3, 20, 33)]
    summarised(tmp_path, results)
    truth = COCO(str(tmp_path / batch.COCO))
    assert [truth.imgs[key]["file_name"] for key in truth.getImgIds()] == ["0.png", "1.png", "2.png"]
    for key, result in zip(truth.getImgIds(), results, strict=True):
        annotations = truth.imgToAnns[key]
        assert len(annotations) == len(result.segments)
        for index, annotation in enumerate(annotations):
            x0, y0, x1, y1 = result.segments[index].box
            full = np.zeros((result.height, result.width), bool)
            full[y0:y1, x0:x1] = result.mask_of(index)
            assert np.array_equal(truth.annToMask(annotation).astype(bool), full)
            assert annotation["area"] == full.sum()
    assert len({each["id"] for each in truth.dataset["annotations"]}) == sum(len(each.segments) for each in results)
    assert [each["name"] for each in truth.dataset["categories"]] == list(LABELS.names)


def test_masks_and_geojson_per_image(tmp_path):
    result = instance(4, 6)
    batch.write_image(tmp_path, "deep/a", result, PixelSize(2, "m"))
    assert np.array_equal(np.asarray(Image.open(tmp_path / "masks/deep/a.png")), result.id_map)
    shapes = json.loads((tmp_path / "geojson/deep/a.geojson").read_text())
    assert [each["properties"]["area_m2"] for each in shapes["features"]] == [4 * area for area in result.areas]


def test_the_sheet_shows_each_image_and_marks_what_failed(tmp_path):
    summary = batch.Summary(tmp_path, 8, LABELS, None)
    for index in range(7):
        result = semantic(index, 40, 20)
        picture = np.full((40, 20, 3), (index * 30, 90, 200), np.uint8)
        summary.add(f"{'long name ' * 9}{index}.png", result.to_dict(), result.id_map, picture)
    summary.fail("bad\x00\n.png", "This file is empty.")
    summary.close()
    sheet = np.asarray(Image.open(tmp_path / batch.SHEET))
    assert sheet.shape == (2 * (232 + 38 + 12) + 12, 6 * (232 + 12) + 12, 3)
    for index in range(7):
        row, column = divmod(index, 6)
        middle = sheet[12 + row * 282 + 116, 12 + column * 244 + 116]
        assert middle.tolist() == [index * 30, 90, 200]
    assert rows(tmp_path / batch.FAILED) == [{"file": "bad\x00\n.png", "why": "This file is empty."}]


def test_counts_of_a_result_without_segments():
    assert count(instance(0, 0).to_dict(), np.zeros((24, 44), np.uint8)) == {}


@pytest.mark.parametrize(
    ("text", "length", "unit"), [("0.65um", 0.65, "um"), (" 1e-1 µm ", 0.1, "um"), ("3 μm", 3, "um"), ("10m", 10, "m")]
)
def test_pixel_sizes_are_read(text, length, unit):
    assert PixelSize.parse(text) == PixelSize(length, unit)


@pytest.mark.parametrize("text", ["", "0.5", "um", "-1um", "0m", "nan um", "1e400m", "5cm", "1.2.3m", "infm"])
def test_what_is_no_pixel_size_is_said(text):
    with pytest.raises(BadRequestError, match="pixel size"):
        PixelSize.parse(text)


def test_names_are_told_apart():
    names = ["a.png", "A.jpg", "b/a.png", "a_png.tif", "c.png"]
    given = [path.as_posix() for path in apart([Path(name) for name in names])]
    assert given == ["a_png", "A_jpg", "b/a", "a_png-2", "c"]


def test_a_batch_of_uploads_goes_on_past_bad_files_and_ends_in_one_zip(tmp_path):
    picture = np.full((30, 40, 3), 20, np.uint8)
    picture[4:14, 4:20] = 230
    for name in ("a.png", "in/a.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / name)
    with zipfile.ZipFile(tmp_path / "pics.zip", "w") as archive:
        archive.write(tmp_path / "in/a.png", "deep/a.png")
        archive.write(tmp_path / "in/a.png", "deep/b.png")
        archive.writestr("../up.png", b"x")
        archive.writestr("bad.png", b"hello")
    picked, refused = gather([tmp_path / "a.png", tmp_path / "pics.zip"], tmp_path / "unpacked")
    assert [each.name for each in picked] == ["a.png", "deep/a.png", "deep/b.png", "bad.png"] and len(refused) == 1
    model, stopped = load_model("otsu"), threading.Event()
    (tmp_path / "out").mkdir()
    reports = [
        (report.done, report.name, report.finished)
        for report in segment_all(picked, refused, model.predict, tmp_path / "out", None, stopped)
    ]
    assert [each[0] for each in reports] == [0, 1, 2, 3, 3] and reports[-1][2]
    with zipfile.ZipFile(pack(tmp_path / "out", tmp_path / "out.zip")) as archive:
        names = set(archive.namelist())
        stems = ("a", "deep/a", "deep/b")
        assert {f"masks/{stem}.png" for stem in stems} | {f"geojson/{stem}.geojson" for stem in stems} <= names
        assert names - {name for name in names if "/" in name} == {
            batch.COCO, batch.COUNTS, batch.OBJECTS, batch.FAILED, batch.SHEET,
        }  # fmt: skip
        failed = archive.read(batch.FAILED).decode()
        assert "up.png" in failed and "bad.png" in failed
        mask = np.asarray(Image.open(archive.open("masks/deep/b.png")))
    assert np.array_equal(mask, model.predict(picture).id_map) and mask[4:14, 4:20].all()
    assert not [path for path in (tmp_path / "out").rglob("*") if path.is_file()]


def test_a_stopped_batch_keeps_what_was_done_and_one_that_cannot_begin_says_why(tmp_path):
    Image.fromarray(np.zeros((20, 20, 3), np.uint8)).save(tmp_path / "a.png")
    picked = [Picked(tmp_path / "a.png", f"{index}.png") for index in range(4)]
    stopped, model = threading.Event(), load_model("otsu")
    out = tmp_path / "out"
    out.mkdir()
    for report in segment_all(picked, [], model.predict, out, None, stopped):
        if report.done == 2:
            stopped.set()
    assert report.finished and report.done == 3 and len(report.rows) == 3
    bad = [Picked(tmp_path / "missing.png", "missing.png")]
    with pytest.raises(BadImageError, match="missing.png"):
        list(segment_all(bad, [], model.predict, tmp_path, None, threading.Event()))


def test_a_batch_in_formats_of_other_tools_says_what_they_could_not_hold(tmp_path):
    picture = np.full((30, 40, 3), 20, np.uint8)
    picture[4:14, 4:20], picture[8:10, 8:12] = 230, 20
    picked = []
    for name in ("a.jpg", "in/b.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        Image.fromarray(picture).save(tmp_path / name, **({"quality": 100, "subsampling": 0} if name.endswith("jpg") else {}))
        picked.append(Picked(tmp_path / name, name))
    (tmp_path / "out").mkdir()
    *_, report = segment_all(picked, [], load_model("otsu").predict, tmp_path / "out", None, threading.Event(), formats=("yolo", "labelme", "voc"))
    assert ("yolo", "2 objects have holes, which yolo reaches along a slit from the outline; programs that do not draw with OpenCV may fill them.") in report.lost
    with zipfile.ZipFile(pack(tmp_path / "out", tmp_path / "out.zip")) as archive:
        names = set(archive.namelist())
        assert {"yolo/data.yaml", "yolo/labels/a.txt", "yolo/labels/in/b.txt", "labelme/a.json", "labelme/in/b.json", "labelme/labels.txt"} <= names
        assert {"voc/SegmentationClass/in/b.png", "voc/labelmap.txt", "losses.csv"} <= names
        assert json.loads(archive.read("labelme/a.json"))["imagePath"] == "a.jpg"
        assert archive.read("losses.csv").decode().count("yolo,") == sum(name == "yolo" for name, _ in report.lost) > 0


def test_a_batch_is_bounded(tmp_path, monkeypatch):
    for index in range(3):
        (tmp_path / f"{index}.png").write_bytes(bytes(100))
    files = [tmp_path / f"{index}.png" for index in range(3)]
    monkeypatch.setattr(batch_tab, "settings", lambda: Settings(max_batch_files=2))
    with pytest.raises(BadRequestError, match="More than 2 images"):
        gather(files, tmp_path / "in")
    monkeypatch.setattr(batch_tab, "settings", lambda: Settings(max_batch_bytes=250))
    with pytest.raises(BadRequestError, match="MB that are accepted"):
        gather(files, tmp_path / "in")


def test_the_command_writes_the_files_about_all_images(tmp_path, capsys):
    images, out = tmp_path / "in", tmp_path / "out"
    for index, name in enumerate(["a.png", "deep/b.png"]):
        (images / name).parent.mkdir(parents=True, exist_ok=True)
        picture = np.full((40, 50, 3), 30, np.uint8)
        picture[5:15, 5 : 15 + 10 * index] = 220
        Image.fromarray(picture).save(images / name)
    (images / "bad.png").write_bytes(b"")
    command = ["segment", str(images), "--model", "otsu", "--out", str(out), "--pixel-size", "2um"]
    assert main(command) == 1
    first = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert set(first) == {"run.json", batch.COCO, batch.COUNTS, batch.OBJECTS, batch.FAILED, batch.SHEET}
    table = {row["image"]: row for row in rows(out / batch.COUNTS)}
    assert set(table) == {"a.png", "deep/b.png"}
    for name, row in table.items():
        mask = np.asarray(Image.open(out / Path(name).with_suffix("") / "mask.png"))
        assert (int(row["area_pixels"]), float(row["area_um2"])) == ((mask > 0).sum(), 4.0 * (mask > 0).sum())
    assert [row["file"] for row in rows(out / batch.FAILED)] == ["bad.png"]
    (images / "bad.png").unlink()
    assert main(command) == 0
    again = {path.name: path.read_bytes() for path in out.iterdir() if path.is_file()}
    assert again[batch.COUNTS] == first[batch.COUNTS] and again[batch.COCO] == first[batch.COCO]
    assert main([*command[:-1], "2"]) == 2
    assert "pixel size" in capsys.readouterr().err


def test_how_files_were_read_and_what_is_counted_is_said_on_the_page(tmp_path):
    pages = [Image.fromarray(np.full((30, 40), value, np.uint8)) for value in (20, 90, 200)]
    pages[0].save(tmp_path / "pages.tif", save_all=True, append_images=pages[1:])
    (tmp_path / "out").mkdir()
    picked = [Picked(tmp_path / "pages.tif", "<pages>.tif")]
    *_, report = segment_all(picked, [], load_model("unet-cells").predict, tmp_path / "out", None, threading.Event())
    assert report.notes == [("<pages>.tif", "This file has 3 pages; the first is shown.")] and report.pieces
    english, chinese = (batch_tab._final(report, False, language) for language in ("en", "zh"))
    assert "How files were read (1)" in english and "&lt;pages&gt;.tif</b> This file has 3 pages" in english
    assert "该文件有 3 页" in chinese and "pages;" not in chinese
    assert ">Pieces<" in batch_tab._table(report, "en") and ">连通块<" in batch_tab._table(report, "zh")
    *_, report = segment_all(picked, [], load_model("otsu").predict, tmp_path / "out", None, threading.Event())
    assert ">Count<" in batch_tab._table(report, "en")


@pytest.mark.parametrize(("model", "file"), [("watershed", "objects.csv"), ("otsu", "pieces.csv")])
def test_a_batch_measures_every_object_or_piece(tmp_path, model, file):
    picture = np.asarray(Image.open(EXAMPLES / "coins.png").convert("RGB"))[:90, :120]
    Image.fromarray(picture).save(tmp_path / "=a.png")
    result = load_model(model).predict(picture)
    if file == "pieces.csv":
        result = semantic_segmentation((result.id_map > 0).astype(np.uint8), LabelSet.from_names(("background", "coin"), 0))
    (tmp_path / "out").mkdir()
    pixel = PixelSize(3, "nm")
    picked = [Picked(tmp_path / "=a.png", "=a.png")]
    *_, report = segment_all(picked, [], lambda _: result, tmp_path / "out", pixel, threading.Event())
    assert report.finished
    found = measure(result, picture, pieces=True)
    table = rows(tmp_path / "out" / file)
    assert len(table) == len(found) > 1 and {row["image"] for row in table} == {"'=a.png"}
    for column, values in found.columns(pixel).items():
        assert [row[column] for row in table] == ["" if value != value else str(value) for value in values.tolist()], column
    assert list(table[0]).count("area_nm2") == 1
    assert not (tmp_path / "out" / ({"objects.csv", "pieces.csv"} - {file}).pop()).exists()


def test_panoptic_results_of_a_batch_are_one_data_set_for_panopticapi(tmp_path):
    """Its predictions are a JSON X.json and a folder X of PNG files, every id in both."""
    results = [panoptic(), panoptic(7, 9)]
    summary = batch.Summary(tmp_path, 2, results[0].labels, None)
    for name, result in zip(("deep/a", "b"), results, strict=True):
        batch.write_image(tmp_path, name, result, None)
        summary.add(f"{name}.jpg", result.to_dict(), result.id_map, np.zeros((9, 9, 3), np.uint8), f"{name}.png")
    assert tmp_path / "panoptic.json" in summary.close()
    told = json.loads((tmp_path / "panoptic.json").read_text())
    assert [row["file_name"] for row in told["images"]] == ["deep/a.jpg", "b.jpg"]
    for annotation, image, result in zip(told["annotations"], told["images"], results, strict=True):
        one = {**told, "annotations": [annotation], "images": [image]}
        png = (tmp_path / "panoptic" / annotation["file_name"]).read_bytes()
        ids, _ = read_as_panopticapi({"x.json": json.dumps(one).encode(), annotation["file_name"]: png})
        np.testing.assert_array_equal(ids, result.id_map)
    assert len(rows(tmp_path / "objects.csv")) == sum(len(result.segments) for result in results)


def test_other_results_have_no_panoptic_file(tmp_path):
    assert not any("panoptic" in path.name for path in summarised(tmp_path, [instance(0, 3)]))


def test_a_picture_that_the_contact_sheet_has_no_room_for_is_not_asked_for(tmp_path, monkeypatch):
    monkeypatch.setattr(batch, "MOST_TILES", 2)
    sheet, asked = batch.ContactSheet(4), []
    for name, shade in (("a", 10), ("b", 200), ("c", 90), ("d", 30)):
        sheet.add(name, lambda name=name, shade=shade: asked.append(name) or np.full((8, 8, 3), shade, np.uint8), "1 cell")
    assert asked == ["a", "b"]
    sheet.save(tmp_path / "sheet.png")
    tiles = np.asarray(Image.open(tmp_path / "sheet.png"))
    assert [tiles[batch.GAP + 5, batch.GAP + place * (batch.TILE + batch.GAP) + 5, 0] for place in (0, 1)] == [10, 200]
