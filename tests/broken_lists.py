"""Broken lists of images: COCO files, tables, metadata, Hub names. Importing it adds them to BROKEN."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

from tests.broken_datasets import BROKEN, Broken, broken
from tests.small_datasets import HEIGHT, WIDTH, coco, folder, pairs, picture, save, square, write_json


@broken("c.json", "not JSON")
def coco_cut_short(root: Path) -> Path:
    path = write_json(coco(root), root / "c.json")
    path.write_text(path.read_text()[:-20])
    return path


@broken("c.json", "no list of annotations, categories")
def coco_without_lists(root: Path) -> Path:
    return write_json({"images": []}, root / "c.json")


@broken("c.json", "images[1] lacks file_name")
def coco_image_without_file(root: Path) -> Path:
    data = coco(root)
    del data["images"][1]["file_name"]
    return write_json(data, root / "c.json")


@broken("c.json", "gives category id 3")
def coco_category_twice(root: Path) -> Path:
    data = coco(root)
    data["categories"].append({"id": 3, "name": "cow"})
    return write_json(data, root / "c.json")


def _one_annotation(change: Callable[[dict], None]) -> Callable[[Path], Path]:
    def build(root: Path) -> Path:
        data = coco(root)
        change(data["annotations"][2])
        return write_json(data, root / "c.json")

    return build


for _name, _reason, _kind, _change in (
    ("coco_unknown_image", "image id 999", "unknown image id", {"image_id": 999}),
    ("coco_unknown_category", "category id 99", "unknown category id", {"category_id": 99}),
    ("coco_zero_area", "covers no pixel", "zero-area object", {"segmentation": [[5, 5, 5, 5, 5, 5]]}),
    ("coco_outside_its_image", "covers no pixel", "zero-area object", {"segmentation": square(500, 500, 9)}),
    ("coco_only_a_box", "no segmentation", "object without a mask", {"segmentation": []}),
    ("coco_polygon_of_two_points", "a polygon of 4 numbers", "broken polygon", {"segmentation": [[1, 1, 5, 5]]}),
    ("coco_polygon_of_nan", "no finite number", "broken polygon", {"segmentation": [[1, 1, float("nan"), 5, 9, 9]]}),
    ("coco_rle_of_other_size", "RLE of size [9, 9]", "size mismatch", {"segmentation": {"size": [9, 9], "counts": [81]}}),
    (
        "coco_rle_too_short",
        "cannot be decoded",
        "broken RLE",
        {"segmentation": {"size": [HEIGHT, WIDTH], "counts": [5, 5]}},
    ),
):
    BROKEN[_name] = Broken(
        _one_annotation(lambda entry, change=_change: entry.update(change)), "c.json, annotation 3", _reason, _kind
    )


@broken("c.json", "image id 10 is there 2 times", "duplicate COCO id")
def coco_image_id_twice(root: Path) -> Path:
    data = coco(root)
    save(picture(9), root / "images" / "9.png")
    data["images"].append(data["images"][0] | {"file_name": "9.png"})
    return write_json(data, root / "c.json")


@broken("c.json", "lists 'gone.png'", "missing image")
def coco_image_gone(root: Path) -> Path:
    data = coco(root)
    data["images"][1]["file_name"] = "gone.png"
    return write_json(data, root / "c.json")


@broken("c.json", "'../secret.png'", "path outside the dataset")
def coco_climbs_out(root: Path) -> Path:
    data = coco(root / "data")
    save(picture(1), root / "secret.png")
    data["images"][1]["file_name"] = "../secret.png"
    return write_json(data, root / "data" / "c.json")


@broken("0.png", "stated with 64 x 24 pixels, but the file has 32 x 24", "size mismatch")
def coco_of_another_size(root: Path) -> Path:
    data = coco(root)
    data["images"][0]["width"] = 64
    return write_json(data, root / "c.json")


@broken("pairs.csv", "no column mask; it has image, picture")
def csv_without_mask_column(root: Path) -> Path:
    return pairs(root, header=("image", "picture"))


@broken("pairs.csv", "not UTF-8")
def csv_not_utf8(root: Path) -> Path:
    path = pairs(root)
    path.write_bytes(path.read_text().encode("utf-16"))
    return path


@broken("pairs.csv", "lists no images")
def csv_without_rows(root: Path) -> Path:
    path = pairs(root)
    path.write_text("image,mask\n")
    return path


@broken("pairs.csv", "is empty")
def csv_empty(root: Path) -> Path:
    path = pairs(root)
    path.write_text("")
    return path


@broken("pairs.csv, line 3", "'images/gone.png', which does not exist", "missing image")
def csv_image_gone(root: Path) -> Path:
    path = pairs(root)
    path.write_text(path.read_text().replace("images/1.png", "images/gone.png"))
    return path


@broken("/etc/passwd", "this is a text", "unreadable image")
def csv_of_a_file_that_is_no_image(root: Path) -> Path:
    path = pairs(root)
    path.write_text(path.read_text().replace("images/1.png", "/etc/passwd"))
    return path


@broken("pairs.csv, line 3", "which does not exist", "missing image")
def csv_name_that_no_file_can_have(root: Path) -> Path:
    path = pairs(root)
    path.write_text(path.read_text().replace("images/1.png", "x" * 5000))
    return path


@broken("pairs.csv, line 6", "lists 'images/0.png' again", "duplicate image")
def csv_image_twice(root: Path) -> Path:
    path = pairs(root)
    path.write_text(path.read_text() + "images/0.png,masks/1.png\n")
    return path


@broken("pairs.csv, line 2: 3 fields", "header names 2")
def csv_comma_in_a_name(root: Path) -> Path:
    path = pairs(root)
    path.write_text(path.read_text().replace("images/0.png", "images/0,1.png"))
    return path


@broken("metadata.jsonl, line 2", "not JSON")
def metadata_broken_line(root: Path) -> Path:
    folder(root)
    (root / "metadata.jsonl").write_text(json.dumps({"file_name": "a", "mask_file_name": "b"}) + "\n{oops\n")
    return root


@broken("metadata.jsonl, line 1", "'../../x.png'", "path outside the dataset")
def metadata_climbs_out(root: Path) -> Path:
    folder(root)
    (root / "metadata.jsonl").write_text(json.dumps({"file_name": "../../x.png", "mask_file_name": "masks/0.png"}))
    return root


@broken("hub:nonsense", "no dataset on the Hub")
def hub_without_a_user(root: Path) -> str:
    return "hub:nonsense"
