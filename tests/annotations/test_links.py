"""Links in a dataset's folder: its owner may make them and is told; what a list or an archive brings never leads anywhere."""

from __future__ import annotations

import json
import os
import shutil

import numpy as np
import pytest

from seg_demo.core.errors import DataError
from tests.small_datasets import blob_mask, folder, picture, save
from train.data import examine, open_dataset, split


def look(root):
    dataset = open_dataset(str(root), seed=0, size=None, workers=1, progress=False)
    return dataset, examine(dataset, *split(dataset, 0.3, 0))


def test_links_to_files_elsewhere_are_read_and_told(tmp_path):
    root = folder(tmp_path / "d", 5)
    shutil.move(root / "images/2.png", tmp_path / "elsewhere.png")
    (root / "images/2.png").symlink_to(tmp_path / "elsewhere.png")
    shutil.move(root / "masks/3.png", root / "kept.png")
    (root / "masks/3.png").symlink_to("../kept.png")
    dataset, found = look(root)
    assert found.ok and len(dataset) == 5
    assert [(note.file, note.kind) for note in found.notes if "link" in note.kind] == [("images/2.png", "links out of the dataset")]
    assert "elsewhere.png" in found.report() and "came from somebody else" in found.report()


def test_a_whole_folder_may_lie_on_another_disk(tmp_path):
    root = folder(tmp_path / "d", 4)
    shutil.move(root / "images", tmp_path / "large")
    (root / "images").symlink_to(tmp_path / "large")
    (tmp_path / "link").symlink_to(root)
    for named in (root, tmp_path / "link"):
        dataset, found = look(named)
        assert found.ok and len(dataset) == 4 and sum("link" in note.kind for note in found.notes) == 4
        sample = dataset.read(dataset.items[1])
        assert np.array_equal(sample.image, picture(1)) and np.array_equal(sample.label_map, blob_mask(1))


def test_links_that_lead_nowhere_round_or_to_devices(tmp_path):
    """None is followed for ever: each is as good as not there, and what it leaves alone is named."""
    root = folder(tmp_path / "d", 8)
    for name, to in (("0", "nothing.png"), ("1", "1.png"), ("2", "/dev/zero"), ("3", ".."), ("4", "/proc/self/mem")):
        (root / f"images/{name}.png").unlink()
        (root / f"images/{name}.png").symlink_to(to)
    os.mkfifo(root / "images/pipe.png")
    save(blob_mask(0), root / "masks/pipe.png")
    (root / "images/round").symlink_to("..")
    (root / "masks/round").symlink_to("../images")
    dataset, found = look(root)
    named = {fault.file for fault in found.faults}
    assert {"masks/0.png", "masks/1.png", "masks/2.png", "masks/3.png", "masks/pipe.png"} <= named
    assert any("4.png" in name for name in named) and not found.ok
    assert {item.name for item in dataset.items} >= {"images/5", "images/6", "images/7"}
    assert all("round" not in item.name for item in dataset.items)


@pytest.mark.parametrize("via", ["jsonl", "coco"])
def test_what_a_list_names_through_a_link_is_told(tmp_path, via):
    root = folder(tmp_path / "d", 4)
    save(picture(9), tmp_path / "private/p.png")
    save(blob_mask(9), tmp_path / "private/m.png")
    (root / "images/way").symlink_to(tmp_path / "private")
    rows = [{"file_name": f"images/{index}.png", "mask_file_name": f"masks/{index}.png"} for index in range(3)]
    rows.append({"file_name": "images/way/p.png", "mask_file_name": "images/way/m.png"})
    if via == "jsonl":
        (root / "metadata.jsonl").write_text("\n".join(map(json.dumps, rows)))
    else:
        images = [{"id": index, "file_name": row["file_name"], "height": 24, "width": 32} for index, row in enumerate(rows)]
        square = {"segmentation": [[2, 2, 9, 2, 9, 9, 2, 9]], "category_id": 1, "iscrowd": 0}
        objects = [{"id": index + 1, "image_id": index, **square} for index in range(4)]
        data = {"images": images, "annotations": objects, "categories": [{"id": 1, "name": "cat"}]}
        (root / "_annotations.coco.json").write_text(json.dumps(data))
    _, found = look(root)
    told = [note.what for note in found.notes if note.kind == "links out of the dataset"]
    assert len(told) == (2 if via == "jsonl" else 1) and all(str(tmp_path / "private") in what for what in told)


def test_a_folder_that_is_a_link_to_itself(tmp_path):
    (tmp_path / "d").symlink_to("d")
    with pytest.raises(DataError, match="no data at"):
        look(tmp_path / "d")
