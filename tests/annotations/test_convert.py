"""``python -m seg_demo convert`` as a command: from each format into each, and what is said of what does not fit."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from pycocotools.coco import COCO

from seg_demo.__main__ import main as command
from seg_demo.annotations.convert import DONE, NOTHING_WRITTEN, SOME_FAILED, TARGETS, convert, main
from seg_demo.annotations.dataset import Dataset, as_objects
from seg_demo.core.errors import BadRequestError, DataError
from seg_demo.core.types import paint
from tests.annotations.test_readers import NAMES, ROUND, data_set, item_of, look, objects_in, written
from tests.served import ROOT

EXACT = [name for name in TARGETS if name not in ("yolo", "voc", "png", "coco-panoptic")]


@pytest.fixture(scope="module")
def coco(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO's JSON of the pictures of the readers' tests."""
    root = tmp_path_factory.mktemp("coco")
    (root / "cvat").mkdir()
    data_set(root / "cvat", "cvat", ROUND)
    assert convert(str(root / "cvat"), "coco", root / "coco") == DONE
    return root / "coco"


def test_coco_is_what_pycocotools_reads(coco: Path) -> None:
    found = COCO(coco / "annotations/instances_train.json")
    assert sorted(image["file_name"] for image in found.imgs.values()) == ["a.png", "c.png"] and min(found.anns) == 1
    named = {image["id"]: image["file_name"][0] for image in found.imgs.values()}
    got: dict[str, list] = {"a": [], "c": []}
    for annotation in found.anns.values():
        mask = found.annToMask(annotation)
        assert annotation["iscrowd"] == 0 and annotation["area"] == mask.sum()
        got[named[annotation["image_id"]]].append((found.cats[annotation["category_id"]]["name"], mask.astype(bool).tobytes()))
    assert {stem: sorted(each) for stem, each in got.items()} == {stem: written(ROUND[stem]) for stem in "ac"}


@pytest.mark.parametrize("to", EXACT)
def test_every_mask_survives_the_way_there_and_back(to: str, coco: Path, tmp_path: Path) -> None:
    assert convert(str(coco), to, tmp_path / "there") == DONE
    assert convert(str(tmp_path / "there"), "coco", tmp_path / "back") == DONE
    dataset = look(tmp_path / "back")
    assert sorted(dataset.labels.names) == sorted(NAMES)
    for stem, each in ROUND.items():
        assert objects_in(dataset, stem) == written(each)


@pytest.mark.parametrize("to", ["png", "voc"])
def test_masks_per_pixel_hold_what_is_seen(to: str, coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(str(coco), to, tmp_path / "there") == DONE
    hidden = 0
    for each in ROUND.values():
        # Smaller ones lie on top.
        order = sorted(range(len(each.segments)), key=lambda index: each.areas[index])
        seen = np.bincount(paint([each.segments[index] for index in order], each.height, each.width).ravel(), minlength=len(order) + 1)[1:]
        hidden += sum(int(pixels) < each.areas[index] for pixels, index in zip(seen, order, strict=True))
    assert f"lost: {hidden} objects are hidden in part by others: {to} gives every pixel to the topmost alone." in capsys.readouterr().out
    there = look(tmp_path / "there")
    from_coco = look(coco)
    assert there.labels.names == from_coco.labels.names == tuple(NAMES)
    for stem in ROUND:
        one, other = (data.read(item_of(data, stem)) for data in (there, from_coco))
        np.testing.assert_array_equal(one.label_map, other.label_map)
        np.testing.assert_array_equal(one.instance_map > 0, other.instance_map > 0)


def masks(root: Path, count: int = 3) -> list[np.ndarray]:
    """A folder of classes per pixel, 255 where nothing is known."""
    rng = np.random.default_rng(4)
    found = []
    for folder in ("images", "masks"):
        (root / folder).mkdir(parents=True)
    for index in range(count):
        ids = rng.choice(np.array([0, 1, 2, 255], np.uint8), (17, 23), p=[0.5, 0.2, 0.2, 0.1])
        Image.fromarray(rng.integers(0, 256, (17, 23, 3), dtype=np.uint8)).save(root / f"images/{index}.png")
        Image.fromarray(ids).save(root / f"masks/{index}.png")
        found.append(ids)
    (root / "labels.json").write_text(json.dumps({"0": "background", "1": "road", "2": "tree"}))
    return found


def test_voc_as_datumaro_writes_it(coco: Path, tmp_path: Path) -> None:
    """Colours in place of palettes, and a folder Annotations with nothing in it."""
    assert convert(str(coco), "voc", tmp_path / "voc") == DONE

    def objects(dataset: Dataset) -> list[list[tuple[int, bytes]]]:
        samples = [as_objects(dataset.read(item_of(dataset, stem)), dataset) for stem in ROUND]
        return [sorted((int(label), (each.instance_map == number).tobytes()) for number, label in enumerate(each.instance_labels)) for each in samples]

    before = look(tmp_path / "voc")
    wanted = objects(before)
    for path in [path for path in (tmp_path / "voc").rglob("*.png") if path.parent.name != "JPEGImages"]:
        Image.open(path).convert("RGB").save(path)
    (tmp_path / "voc/Annotations").mkdir()
    after = look(tmp_path / "voc")
    assert after.labels.names == before.labels.names and objects(after) == wanted


def test_classes_per_pixel_become_shapes_and_void_is_kept_or_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ids = masks(tmp_path / "data")
    assert convert(str(tmp_path / "data"), "voc", tmp_path / "voc") == DONE
    for index, each in enumerate(ids):
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / f"voc/SegmentationClass/{index}.png")), each)
    assert "lost" not in capsys.readouterr().out
    assert convert(str(tmp_path / "voc"), "labelme", tmp_path / "labelme") == DONE
    void = sum(np.count_nonzero(each == 255) for each in ids)
    assert f"lost: {void:,} pixels that were not to count are background now: labelme has no place for them." in capsys.readouterr().out
    dataset = look(tmp_path / "labelme")
    for index, each in enumerate(ids):
        np.testing.assert_array_equal(dataset.read(item_of(dataset, str(index))).label_map, np.where(each == 255, 0, each))


def test_panoptic_data_goes_into_its_own_format_and_into_shapes(tmp_path: Path) -> None:
    root = tmp_path / "data"
    (root / "annotations/panoptic_train").mkdir(parents=True)
    (root / "images").mkdir()
    ids = np.zeros((12, 15), np.uint8)
    ids[:6], ids[2:5, 2:5], ids[7:, 4:9], ids[8, 1] = 1, 2, 3, 4
    Image.fromarray(np.dstack([ids, ids * 0, ids * 0])).save(root / "annotations/panoptic_train/a.png")
    Image.fromarray(np.random.default_rng(0).integers(0, 256, (12, 15, 3), dtype=np.uint8)).save(root / "images/a.png")
    segments = [{"id": number, "category_id": category, "iscrowd": 0} for number, category in ((1, 10), (2, 7), (3, 7), (4, 7))]
    categories = [{"id": 7, "name": "cat", "isthing": 1}, {"id": 10, "name": "sky", "isthing": 0}]
    said = {"images": [{"id": 1, "file_name": "a.png", "width": 15, "height": 12}], "annotations": [{"image_id": 1, "file_name": "a.png", "segments_info": segments}]}
    (root / "annotations/panoptic_train.json").write_text(json.dumps({**said, "categories": categories}))
    before = look(root)
    assert convert(str(root), "coco-panoptic", tmp_path / "panoptic") == DONE
    after = look(tmp_path / "panoptic")
    one, other = (data.read(data.items[0]) for data in (before, after))
    assert before.labels.names == after.labels.names and before.things == after.things
    np.testing.assert_array_equal(one.label_map, other.label_map)
    np.testing.assert_array_equal(one.instance_map > 0, other.instance_map > 0)
    assert convert(str(root), "qupath", tmp_path / "qupath") == DONE
    assert sorted((name, np.frombuffer(mask, bool).sum()) for name, mask in objects_in(look(tmp_path / "qupath"), "a")) == [
        ("cat", 1), ("cat", 9), ("cat", 25), ("sky", 81),
    ]  # fmt: skip
    masks(tmp_path / "classes")
    with pytest.raises(BadRequestError, match="The format 'coco-panoptic' is for panoptic results, but the task is 'semantic'"):
        convert(str(tmp_path / "classes"), "coco-panoptic", tmp_path / "x")


def test_a_bad_picture_is_named_and_the_rest_goes_on(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert convert(str(coco), "labelme", tmp_path / "data") == DONE
    (tmp_path / "data/b.json").write_text((tmp_path / "data/b.json").read_text()[:-40])
    words = [str(tmp_path / "data"), "--to", "yolo", "--no-images", "--out"]
    done = subprocess.run([sys.executable, "-m", "seg_demo", "convert", *words, str(tmp_path / "yolo")], capture_output=True, text=True, cwd=ROOT, timeout=120)
    assert done.returncode == SOME_FAILED, done.stderr
    assert "left out: b.json: is no JSON" in done.stderr and "2 of 3 pictures converted to yolo" in done.stdout
    assert sorted(path.name for path in (tmp_path / "yolo").rglob("*") if path.is_file()) == ["a.txt", "c.txt", "data.yaml"]
    capsys.readouterr()
    assert main([*words, str(tmp_path / "yolo")]) == NOTHING_WRITTEN and "is not empty" in capsys.readouterr().err
    assert main(["gone", *words[1:], str(tmp_path / "z")]) == NOTHING_WRITTEN and not (tmp_path / "z").exists()
    with pytest.raises(DataError):
        convert(str(tmp_path / "gone"), "coco", tmp_path / "z")


def test_options_may_come_before_what_is_converted(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert command(["convert", "--no-images", "--to", "yolo", "--out", str(tmp_path / "yolo"), str(coco)]) == DONE and (tmp_path / "yolo" / "data.yaml").is_file()
    with pytest.raises(SystemExit) as ended:
        command(["convert", "--help"])
    assert ended.value.code == 0 and "--no-images" in capsys.readouterr().out


@pytest.mark.parametrize("to", ["coco", "yolo", "voc", "cvat", "labelme", "labelstudio"])
def test_a_class_that_no_object_has_keeps_its_place(to: str, tmp_path: Path) -> None:
    """Of data whose parts are converted one by one each lacks other classes, and the numbers shall mean the same."""
    source = tmp_path / "source"
    source.mkdir()
    Image.new("RGB", (50, 40)).save(source / "a.png")
    marks = [(7, [5, 5, 15, 5, 15, 15, 5, 15]), (2, [20, 20, 40, 20, 40, 30, 20, 30])]
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 50, "height": 40}],
        "categories": [{"id": identity, "name": name} for identity, name in ((1, "before"), (2, "used"), (5, "between"), (7, "also"), (90, "behind"))],
        "annotations": [
            {"id": number, "image_id": 1, "category_id": category, "iscrowd": 0, "segmentation": [ring], "bbox": [0, 0, 1, 1], "area": 1}
            for number, (category, ring) in enumerate(marks, start=1)
        ],
    }
    (source / "data.json").write_text(json.dumps(data))
    assert convert(str(source), to, tmp_path / "there") == DONE and convert(str(tmp_path / "there"), "coco", tmp_path / "back") == DONE
    back = COCO(next((tmp_path / "back").rglob("*.json")))
    assert [category["name"] for category in back.loadCats(back.getCatIds())] == ["before", "used", "between", "also", "behind"]
    areas = {back.cats[mark["category_id"]]["name"]: int(back.annToMask(mark).sum()) for mark in back.anns.values()}
    assert areas == {"also": 100, "used": 200}
    if to == "yolo":  # or its own program would look where it was started (findings/ultralytics_path_of_here.sh)
        assert not any(line.startswith("path:") for line in (tmp_path / "there" / "data.yaml").read_text().splitlines())


def test_of_more_classes_than_a_tool_can_have_those_that_are_there_come(coco: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = Path(shutil.copytree(coco, tmp_path / "source"))
    path = next(source.rglob("*.json"))
    data = json.loads(path.read_text())
    data["categories"] += [{"id": number, "name": f"other {number}"} for number in range(1000, 1300)]
    path.write_text(json.dumps(data))
    assert convert(str(source), "voc", tmp_path / "voc") == DONE and "Categories without any annotation are left out" in capsys.readouterr().out
    assert convert(str(source), "coco", tmp_path / "coco") == DONE
    assert len(json.loads(next((tmp_path / "coco").rglob("*.json")).read_text())["categories"]) > 300


def test_corners_go_into_cvat_as_they_were_drawn(tmp_path: Path) -> None:
    polygons = {"drawn": [[3.25, 2.125, 20, 4, 17.0625, 15, 5, 12.5]], "parts": [[1, 1, 5, 1, 5, 5], [8, 8, 14, 8, 14, 14]], "outside": [[-3, 5, 9, 5, 9, 12]]}
    (tmp_path / "data").mkdir()
    Image.new("RGB", (25, 18)).save(tmp_path / "data/a.png")
    annotations = [{"id": number, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": each} for number, each in enumerate(polygons.values(), start=1)]
    said = {"images": [{"id": 1, "file_name": "a.png", "width": 25, "height": 18}], "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "data/c.json").write_text(json.dumps(said))
    assert convert(str(tmp_path / "data/c.json"), "cvat", tmp_path / "there") == DONE
    text = (tmp_path / "there/annotations.xml").read_text()
    assert text.count("<polygon ") == 1 and text.count("<mask ") == 2 and 'points="3.25,2.125;20.00,4.00;17.0625,15;5,12.5"' in text
    assert objects_in(look(tmp_path / "there"), "a") == objects_in(look(tmp_path / "data"), "a")


def test_a_photo_that_is_turned_behind_its_pixels_is_turned(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    Image.new("RGB", (25, 18)).save(tmp_path / "data/a.png", exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    data = (tmp_path / "data/a.png").read_bytes()
    at = data.index(b"eXIf") - 4
    end = at + 12 + int.from_bytes(data[at : at + 4], "big")
    moved = data[:at] + data[end:]
    (tmp_path / "data/a.png").write_bytes(moved[:-12] + data[at:end] + moved[-12:])
    annotations = [{"id": 1, "image_id": 1, "category_id": 1, "iscrowd": 0, "segmentation": [[0, 0, 20, 0, 20, 5, 0, 5]]}]
    said = {"images": [{"id": 1, "file_name": "a.png", "width": 25, "height": 18}], "annotations": annotations, "categories": [{"id": 1, "name": "cat"}]}
    (tmp_path / "data/c.json").write_text(json.dumps(said))
    assert convert(str(tmp_path / "data/c.json"), "coco", tmp_path / "there") == DONE
    found = json.loads((tmp_path / "there/annotations/instances_default.json").read_text())
    assert (found["images"][0]["width"], found["images"][0]["height"], found["annotations"][0]["bbox"]) == (18, 25, [13, 0, 5, 20])


def test_a_crowd_of_cocos_stays_one(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data").mkdir()
    Image.new("RGB", (25, 18)).save(tmp_path / "data/a.png")
    shapes = [([[1, 1, 9, 1, 9, 9]], 7, 0), ({"size": [18, 25], "counts": [180, 54, 216]}, 7, 1), ([[15, 2, 20, 2, 20, 9]], 9, 0), ([[20, 12, 24, 12, 24, 16, 20, 16]], 8, 0)]
    annotations = [{"id": n, "image_id": 1, "category_id": kind, "iscrowd": crowd, "segmentation": each} for n, (each, kind, crowd) in enumerate(shapes, start=1)]
    categories = [{"id": 7, "name": "cat"}, {"id": 8, "name": "ignore"}, {"id": 9, "name": "dog"}]
    said = {"images": [{"id": 1, "file_name": "a.png", "width": 25, "height": 18}], "annotations": annotations, "categories": categories}
    (tmp_path / "data/c.json").write_text(json.dumps(said))
    assert convert(str(tmp_path / "data/c.json"), "coco", tmp_path / "there") == DONE
    # What is to be ignored and of no class has no place there.
    assert "lost: 16 pixels" in capsys.readouterr().out
    found = COCO(tmp_path / "there/annotations/instances_default.json")
    (crowd,) = (each for each in found.anns.values() if each["iscrowd"])
    assert found.cats[crowd["category_id"]]["name"] == "cat" and crowd["area"] == 54 and crowd["bbox"] == [10, 0, 3, 18] and found.annToMask(crowd).sum() == 54
    assert len(found.anns) == 3 and len({each["id"] for each in found.anns.values()}) == 3
    assert objects_in(look(tmp_path / "there"), "a") == objects_in(look(tmp_path / "data"), "a")


@pytest.mark.parametrize("to", [name for name in TARGETS if name != "coco-panoptic"])
def test_classes_of_any_name_mean_the_same_there_and_back(to: str, tmp_path: Path) -> None:
    """A number sign or two slashes begin a comment in lists of others: the classes after it moved up by one, and in labelme's the picture was left out."""
    names = ["#1", "two", "new\nline", "four: 4", "- five", "six, 6 🦠", "//7", "eight\u2028lines", "nine"]
    square = [[0, 0, 4, 0, 4, 4, 0, 4]]
    annotations = [
        {"id": index + 1, "image_id": 1, "category_id": index + 1, "iscrowd": 0, "area": 16, "bbox": [8 * index, 2, 4, 4],
         "segmentation": [[value + (8 * index if at % 2 == 0 else 2) for at, value in enumerate(square[0])]]}
        for index in range(len(names))
    ]  # fmt: skip
    data = {
        "images": [{"id": 1, "file_name": "a.png", "width": 80, "height": 20}], "annotations": annotations,
        "categories": [{"id": index + 1, "name": name} for index, name in enumerate(names)],
    }  # fmt: skip
    Image.new("RGB", (80, 20)).save(tmp_path / "a.png")
    (tmp_path / "a.json").write_text(json.dumps(data))
    assert convert(str(tmp_path / "a.json"), to, tmp_path / "there") == DONE
    assert convert(str(tmp_path / "there"), "coco", tmp_path / "back") == DONE
    found = COCO(next((tmp_path / "back").rglob("*.json")))
    got = {int(found.annToMask(each).any(axis=0).argmax()) // 8: found.cats[each["category_id"]]["name"] for each in found.anns.values()}

    def usual(name: str) -> str:
        return name.translate({ord(sign): other for sign, other in zip("\n\u2028＃：／", "  #:/", strict=True)})

    assert {index: usual(name) for index, name in got.items()} == {index: usual(name) for index, name in enumerate(names)}


def test_names_that_differ_in_case_alone_are_told_apart_and_others_stay(tmp_path: Path) -> None:
    for name in ("train/a.png", "val/A.png", "val/b.png"):
        for kind in ("images", "masks"):
            path = tmp_path / "data" / kind / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(np.eye(12, dtype=np.uint8)).save(path)
    data = {
        "images": [{"id": index, "file_name": name, "width": 12, "height": 12} for index, name in enumerate(("c.png", "C.png", "d.png"))],
        "annotations": [{"id": 1, "image_id": 0, "category_id": 1, "iscrowd": 0, "area": 16, "bbox": [0, 0, 4, 4], "segmentation": [[0, 0, 4, 0, 4, 4, 0, 4]]}],
        "categories": [{"id": 1, "name": "cell"}],
    }  # fmt: skip
    for name in ("c.png", "C.png", "d.png"):
        Image.new("RGB", (12, 12)).save(tmp_path / name)
    (tmp_path / "c.json").write_text(json.dumps(data))
    for source in ("c.json", "data"):
        out = tmp_path / f"{source}-out"
        assert convert(str(tmp_path / source), "labelme", out) == DONE
        names = [path.relative_to(out).as_posix() for path in out.rglob("*.png")]
        assert len({name.casefold() for name in names}) == 3 and {"c.json": "d.png", "data": "b.png"}[source] in names


def test_where_no_picture_can_be_converted_nothing_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for kind, size in (("images", 12), ("masks", 6)):
        (tmp_path / "data" / kind).mkdir(parents=True)
        Image.fromarray(np.eye(size, dtype=np.uint8)).save(tmp_path / "data" / kind / "a.png")
    assert convert(str(tmp_path / "data"), "voc", tmp_path / "out") == NOTHING_WRITTEN
    assert not any((tmp_path / "out").iterdir()) and "0 of 1 pictures converted to voc; nothing was written." in capsys.readouterr().out


def test_what_is_said_is_written_in_any_encoding(tmp_path: Path) -> None:
    """Windows writes in an old code page to whatever is no console."""
    for kind in ("images", "masks"):
        (tmp_path / "data" / kind).mkdir(parents=True)
        Image.fromarray(np.eye(12, dtype=np.uint8)).save(tmp_path / "data" / kind / "a.png")
    out = tmp_path / "细胞"
    command = [sys.executable, "-m", "seg_demo", "convert", tmp_path / "data", "--to", "coco", "--out", out]
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, "PYTHONIOENCODING": "cp1252"}, capture_output=True, timeout=120)
    assert (done.returncode, done.stderr) == (DONE, b"") and rb"\u7ec6\u80de" in done.stdout
