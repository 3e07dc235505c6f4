"""What a file says about one picture that lies elsewhere: as each tool writes it, alone or among others, and what is said of other files."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seg_demo.annotations.convert import convert, found_on, is_annotations
from seg_demo.core.errors import DataError
from seg_demo.core.types import Segmentation
from seg_demo.outputs.interchange import FORMATS, Annotated
from tests.annotations.test_readers import NAMES, ROUND, data_set, save_picture, written

READ = [name for name in FORMATS if name != "voc"]  # whose masks are masks


def same(one: Annotated, wanted: Segmentation, exact: bool) -> None:
    assert (one.segmentation.height, one.segmentation.width) == (wanted.height, wanted.width)
    if exact:
        assert written(one.segmentation) == written(wanted)
        return
    for name in NAMES[1:]:
        got, expected = (np.any([np.frombuffer(mask, bool) for label, mask in written(each) if label == name] or [[False]], axis=0) for each in (one.segmentation, wanted))
        np.testing.assert_array_equal(got, expected)


@pytest.mark.parametrize("name", READ)
def test_one_picture_of_a_files_many_or_its_only_one(name: str, tmp_path: Path) -> None:
    wanted = ROUND["a"]
    # As one file, or a zip where the tool wants several; its picture was renamed since.
    files = FORMATS[name](wanted.labels).of(Annotated("a.png", wanted))
    first = next(iter(files))
    (tmp_path / first).write_bytes(files[first])
    if name == "yolo":
        with zipfile.ZipFile(tmp_path / "export.zip", "w") as archive:
            for path, data in files.items():
                archive.writestr(path, data)
        first = "export.zip"
    assert is_annotations(tmp_path / first)
    one, notes = found_on(tmp_path / first, save_picture(tmp_path / "renamed.png", wanted.height, wanted.width), (wanted.height, wanted.width))
    same(one, wanted, name != "yolo")
    assert not any("could not be read" in note for note in notes)
    # As a whole data set in a zip, of which this picture is one.
    root = data_set(tmp_path / "data" / "set", name, ROUND)
    with zipfile.ZipFile(tmp_path / "all.zip", "w") as archive:
        for path in sorted(root.rglob("*")):
            if path.is_file() and path.suffix != ".png":
                archive.write(path, path.relative_to(root).as_posix())
    if name == "imagej":
        return  # a zip of zips: archives in archives are never unpacked
    for stem in "ac":
        size = ROUND[stem].height, ROUND[stem].width
        one, _ = found_on(tmp_path / "all.zip", save_picture(tmp_path / f"{stem}.png", *size), size)
        same(one, ROUND[stem], name != "yolo")
    with pytest.raises(DataError, match=r"all.zip is about other pictures than 'other.png'"):
        found_on(tmp_path / "all.zip", save_picture(tmp_path / "other.png"), (40, 60))


def test_coco_of_many_pictures(tmp_path: Path) -> None:
    data_set(tmp_path / "cvat" / "set", "cvat", ROUND)
    convert(str(tmp_path / "cvat" / "set"), "coco", tmp_path / "coco")
    (file,) = (tmp_path / "coco/annotations").glob("instances_train.json")
    one, _ = found_on(file, save_picture(tmp_path / "c.png", 21, 2), (21, 2))
    same(one, ROUND["c"], True)
    with pytest.raises(DataError, match="is about other pictures"):
        found_on(file, save_picture(tmp_path / "b.png", 1, 9), (1, 9))


def test_marks_that_cannot_be_read_are_left_out_and_counted(tmp_path: Path) -> None:
    shapes = [
        {"label": "cell", "points": [[2, 2], [9, 2], [9, 9]], "shape_type": "polygon"},
        {"label": "cell", "points": [[2, 2], [9, 2]], "shape_type": "polygon"},
        {"label": "cell", "points": [[200, 2], [209, 2], [209, 9]], "shape_type": "polygon"},
        {"label": "cell", "points": [], "shape_type": "spiral"},
    ]
    (tmp_path / "x.json").write_text(json.dumps({"shapes": shapes, "imagePath": "x.jpg", "imageHeight": 40, "imageWidth": 60}))
    image = save_picture(tmp_path / "x.png")
    one, notes = found_on(tmp_path / "x.json", image, (40, 60))
    assert len(one.segmentation.segments) == 1
    assert any("3 of its marks could not be read and are left out; the first: x.json, shape 2: has 2 points" in note for note in notes)


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.json", "{}", "is no file of annotations that is read here"), ("a.xml", "<annotation/>", "is no file of annotations"),
        ("a.txt", "hello", "is no file of annotations"), ("a.zip", "PK", "a.zip"),
        ("p.json", json.dumps({"images": [], "annotations": [{"segments_info": []}], "categories": []}), "panoptic"),
        ("x.json", json.dumps({"shapes": [], "imagePath": "a.png"}), "no object"),
    ],
)  # fmt: skip
def test_other_files_are_refused_in_words(name: str, content: str, said: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content)
    with pytest.raises(Exception, match=said) as caught:
        found_on(tmp_path / name, save_picture(tmp_path / "a.png"), (40, 60))
    assert type(caught.value).__module__ == "seg_demo.core.errors"


def test_cellposes_arrays_are_named_with_the_way_out() -> None:
    with pytest.raises(DataError, match="pickles of Python that are never opened here.*save the masks as PNG or TIFF"):
        is_annotations(Path("x_seg.npy"))
    assert not is_annotations(Path("x_cp_masks.tif")) and not is_annotations(Path("x.npy"))
