"""Files whose names were written otherwise by another tool or system are found; none outside of the data ever is."""

from __future__ import annotations

import json
import shutil
import unicodedata

import numpy as np
import pytest

from seg_demo.annotations.file_names import FileFinder, SeveralFit, pair_names, parsed
from seg_demo.core.errors import in_language
from tests.small_datasets import blob_mask, coco, folder, pairs, picture, save, square, write_json
from train.data import examine, open_dataset, split


def look(source):
    dataset = open_dataset(str(source), seed=0, size=None, workers=1, progress=False)
    return dataset, examine(dataset, *split(dataset, 0.5, 0))


# What a list says, and what the file is called in the folder of the list.
SPELLED = {
    "a blank of the web": ("my%20cell.png", "my cell.png"),
    "a blank of a form": ("my+cell.png", "my cell.png"),
    "an encoded file": ("my cell.png", "my%20cell.png"),
    "an encoded folder": ("set%201%2Fcell.png", "set 1/cell.png"),
    "composed letters": (unicodedata.normalize("NFC", "Zürich é.png"), unicodedata.normalize("NFD", "Zürich é.png")),
    "letters and accents apart": (unicodedata.normalize("NFD", "ñandú.png"), unicodedata.normalize("NFC", "ñandú.png")),
    "encoded letters": ("%C3%A9.png", unicodedata.normalize("NFD", "é.png")),
    "Windows": ("sub\\cell.png", "sub/cell.png"),
    "this folder": ("./cell.png", "cell.png"),
    "a suffix in capitals": ("cell.PNG", "cell.png"),
    "a suffix in small letters": ("cell.png", "cell.PNG"),
    "capitals": ("IMG_1.JPG", "img_1.jpg"),
    "an upload of Label Studio": ("/data/upload/4/1a2b3c4d-cell.png", "cell.png"),
    "a file of an upload": ("cell.png", "1a2b3c4d-cell.png"),
    "a local file of Label Studio": ("/data/local-files/?d=set/cell.png", "set/cell.png"),
    "a disk of Windows": ("C:\\Users\\ann\\pics\\cell.png", "cell.png"),
    "a path of somebody": ("/home/ann/data/images/cell.png", "images/cell.png"),
    "a climb": ("..\\..\\media\\cell.png", "cell.png"),
    "an address": ("https://example.org/pics/cell%201.png", "cell 1.png"),
}


@pytest.mark.parametrize("name", SPELLED)
def test_another_spelling_is_found(tmp_path, name):
    listed, there = SPELLED[name]
    path = save(picture(0), (tmp_path / there).with_suffix(".png"))
    path = path.rename(tmp_path / there)
    finder = FileFinder([tmp_path])
    assert finder.find(listed) == path
    notes = finder.note("c.json")
    if (tmp_path / listed.replace("\\", "/")).is_file():
        assert not notes
    else:
        assert notes[0].severity == "note" and in_language(notes[0].what, "zh") != notes[0].what


def test_what_is_written_comes_first_and_nothing_is_guessed(tmp_path):
    for name in ("a b.png", "a+b.png", "A.png", "a.PNG", "11111111-c.png", "22222222-c.png", "33333333-d.png"):
        save(picture(0), tmp_path / "x.png").rename(tmp_path / name)
    finder = FileFinder([tmp_path])
    assert finder.find("a+b.png").name == "a+b.png" and finder.find("a b.png").name == "a b.png" and not finder.respelled
    assert finder.find("a.png").name == "a.PNG"
    with pytest.raises(SeveralFit):
        finder.find("c.png")
    # Another upload of the same name is another picture.
    assert finder.find("44444444-d.png") is None and finder.find("d.png").name == "33333333-d.png"
    # Nor is a picture of another folder.
    save(picture(1), tmp_path / "val" / "e.png")
    assert finder.find("train/e.png") is None


def test_no_path_leaves_the_data(tmp_path):
    save(picture(0), tmp_path / "secret.png")
    (tmp_path / "data" / "images").mkdir(parents=True)
    finder = FileFinder([tmp_path / "data", tmp_path / "data" / "images"])
    for listed in ("../secret.png", "..\\secret.png", "%2e%2e/secret.png", "images/../../secret.png", str(tmp_path / "secret.png"),
                   "%2Fetc%2Fpasswd", "/etc/passwd", "C:\\..\\secret.png", "....//secret.png", "a\0b.png", ""):  # fmt: skip
        assert finder.find(listed) is None, listed


@pytest.mark.parametrize("name", sorted(SPELLED))
def test_coco_and_tables_find_them(tmp_path, name):
    listed, there = SPELLED[name]
    data = coco(tmp_path / "c")
    (tmp_path / "c" / there).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / "c" / "images" / "0.png").rename(tmp_path / "c" / there)
    data["images"][0]["file_name"] = listed
    dataset, found = look(write_json(data, tmp_path / "c" / "c.json"))
    assert found.ok and len(dataset) == 4 and not any("ann" in item.name for item in dataset.items)
    for write in (_jsonl, _csv):
        folder(tmp_path / write.__name__)
        root = tmp_path / write.__name__
        (root / there).parent.mkdir(parents=True, exist_ok=True)
        (root / "images" / "0.png").rename(root / there)
        shutil.copy(root / "masks" / "0.png", root / ("mask of " + listed.replace("\\", "/").rpartition("/")[2]))
        dataset, found = look(write(root, listed))
        assert found.ok and len(dataset) == 6
        sample = next(dataset.read(item) for item in dataset.items if item.image == root / there)
        assert np.array_equal(sample.image, picture(0)) and np.array_equal(sample.label_map, blob_mask(0))


def _rows(listed):
    return [(listed, "masks/0.png"), *((f"images/{index}.png", f"masks/{index}.png") for index in range(1, 6))]


def _jsonl(root, listed):
    lines = (json.dumps({"file_name": image, "mask_file_name": mask}) for image, mask in _rows(listed))
    (root / "metadata.jsonl").write_text("\n".join(lines))
    return root


def _csv(root, listed):
    (root / "pairs.csv").write_text("image,mask\n" + "\n".join(",".join(row) for row in _rows(listed)))
    return root / "pairs.csv"


def test_masks_of_a_folder_may_be_spelled_otherwise(tmp_path):
    folder(tmp_path)
    named = [("é0", "é0"), ("my cell", "my%20cell_mask"), ("1a2b3c4d-x", "x"), ("IMG_7", "img_7"), ("a b", "a+b"), ("plain", "plain_gt")]
    for index, (image, mask) in enumerate(named):
        (tmp_path / "images" / f"{index}.png").rename(tmp_path / "images" / f"{unicodedata.normalize('NFC', image)}.png")
        (tmp_path / "masks" / f"{index}.png").rename(tmp_path / "masks" / f"{unicodedata.normalize('NFD', mask)}.png")
    dataset, found = look(tmp_path)
    assert found.ok and len(dataset) == 6
    for index, (image, _) in enumerate(named):
        item = next(item for item in dataset.items if item.image.stem == unicodedata.normalize("NFC", image))
        assert np.array_equal(dataset.read(item).label_map, blob_mask(index))
    (note,) = [each for each in found.notes if each.kind == "names spelled differently"]
    assert "5 files" in note.what


def test_a_mask_that_two_images_might_have_is_nobodys(tmp_path):
    folder(tmp_path)
    (tmp_path / "images" / "0.png").rename(tmp_path / "images" / "A b.png")
    (tmp_path / "images" / "1.png").rename(tmp_path / "images" / "a b.png")
    (tmp_path / "masks" / "0.png").rename(tmp_path / "masks" / "a%20B.png")
    (tmp_path / "masks" / "1.png").unlink()
    _, found = look(tmp_path)
    assert sorted(fault.kind for fault in found.faults) == ["mask without image", "missing mask", "missing mask"]
    assert pair_names(["a", "A"], ["á"]) == {}


def test_two_files_for_one_name_are_said(tmp_path):
    data = coco(tmp_path)
    for name in ("11111111-x.png", "22222222-x.png"):
        save(picture(0), tmp_path / "images" / name)
    data["images"][0]["file_name"] = "x.png"
    _, found = look(write_json(data, tmp_path / "c.json"))
    (fault,) = found.faults
    assert fault.kind == "two files for one name" and in_language(fault.what, "zh") != fault.what
    path = pairs(tmp_path / "p")
    for name in ("11111111-x.png", "22222222-x.png"):
        save(picture(0), tmp_path / "p" / "images" / name)
    path.write_text(path.read_text().replace("images/0.png", "images/x.png"))
    assert [fault.kind for fault in look(path)[1].faults] == ["two files for one name"]


def test_text_ids_and_numbers_are_the_same_ids(tmp_path):
    for change in (
        lambda data: [a.update(image_id=str(a["image_id"])) for a in data["annotations"]],
        lambda data: [i.update(id=f" {i['id']} ") for i in data["images"]],
        lambda data: [a.update(category_id=f"{a['category_id']}.0") for a in data["annotations"]],
        lambda data: [c.update(id=str(c["id"])) for c in data["categories"]],
        lambda data: [a.update(id=str(a["id"]), image_id=float(a["image_id"])) for a in data["annotations"]],
    ):
        data = coco(tmp_path)
        wanted = look(write_json(data, tmp_path / "c.json"))[0].digest
        change(data)
        assert look(write_json(data, tmp_path / "c.json"))[0].digest == wanted
    data = coco(tmp_path)
    data["images"][1]["id"] = "10"  # and 10 is there already
    assert "duplicate COCO id" in {fault.kind for fault in look(write_json(data, tmp_path / "c.json"))[1].faults}
    data["images"] = [dict(entry, id=f"0{index}") for index, entry in enumerate(data["images"])]
    data["annotations"] = [{"id": 1, "image_id": "02", "category_id": 3, "segmentation": square(2, 2, 5)}]
    dataset, _ = look(write_json(data, tmp_path / "c.json"))
    assert [int(dataset.read(item).label_map.sum()) for item in dataset.items] == [0, 0, 25, 0]


def test_lists_are_read_as_pythons_own_reader_reads_them(tmp_path):
    """Numbers of any length, what is no number, halves of surrogate pairs, a byte order mark; and what it refuses is refused in its words."""
    path = tmp_path / "a.json"
    for text in ('{"id": 18446744073709551617, "a": [-9223372036854775809, 0.1]}', "[NaN, 1e400, -Infinity]", '["\\ud800", "é"]', '\ufeff{"a": 1, "a": [2.50]}', "[0.12345678901234567890123]"):
        path.write_text(text, encoding="utf-8")
        assert repr(parsed(path)) == repr(json.loads(text.removeprefix("\ufeff")))
    for content in (b'{"a": [1, 2}', b"", b'["\xff"]', b"[" * 100_000):
        path.write_bytes(content)
        with pytest.raises((ValueError, RecursionError)) as mine:
            parsed(path)
        with pytest.raises((ValueError, RecursionError)) as theirs:
            json.loads(content.decode("utf-8-sig"))
        assert (type(mine.value), str(mine.value)) == (type(theirs.value), str(theirs.value))
