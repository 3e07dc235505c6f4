"""A file about one sample that cannot be read costs that sample alone; and a save does not read the others."""

from __future__ import annotations

import json
import zipfile
from pathlib import Path

import numpy as np
import pytest

from seg_demo.core.errors import StorageError
from seg_demo.datasets.dataset import Dataset
from seg_demo.datasets.sample import Facts
from seg_demo.datasets.store import Store
from seg_demo.ui.editor import SampleList
from tests.datasets.test_dataset import label_map
from tests.small_datasets import picture

DAMAGE = {
    "empty": b"", "cut": b'{"name": "a", "wid', "no text": b"\xff\xfe\x00", "a list": b"[]", "null": b"null", "deep": b"[" * 100_000,
    "no facts": b'{"name": "a", "width": 1, "height": 1, "objects": null, "saved": "x", "pixels": {}}',
    "other types": b'{"name": 3, "width": "1", "height": 1, "objects": null, "saved": 5, "pixels": {}, "facts": {}}',
    "wrong facts": b'{"name": "a", "width": 1, "height": 1, "objects": null, "saved": "x", "pixels": {"0": 1}, "facts": {"seconds": -1}}',
}  # fmt: skip


@pytest.fixture
def dataset(tmp_path) -> Dataset:
    made = Store(tmp_path / "store").create("cells", ["cell"], "semantic")
    for index in range(3):
        made.add(picture(index), label_map(index, 24, 32, 2), name=f"p{index}", draft=f"draft {index}")
    return made


@pytest.mark.parametrize("how", DAMAGE)
def test_one_unreadable_file_is_named_and_passed_over(dataset, how, tmp_path):
    path = dataset.path / "facts" / "p1.json"
    path.write_bytes(DAMAGE[how])
    files = {each: each.read_bytes() for each in dataset.path.rglob("p1.*")}
    found, unreadable = dataset.look()
    assert [sample.stem for sample in found] == ["p2", "p0"] and list(unreadable) == ["p1"]
    assert "facts/p1.json of the dataset cells is damaged" in unreadable["p1"] and "untouched" in unreadable["p1"]
    with pytest.raises(StorageError, match="facts/p1.json"):
        dataset.sample("p1")
    # A new save, one of the same name, and one that is sent again.
    assert dataset.add(picture(7), label_map(7, 24, 32, 2), name="p1", draft="new").stem == "p1-2"
    assert dataset.add(picture(0), label_map(9, 24, 32, 2), name="p0", draft="draft 0").stem == "p0"
    assert dataset.add(picture(1), label_map(1, 24, 32, 2), name="p1", draft="draft 1").stem == "p1-3", "it cannot be known any more"
    assert {each: each.read_bytes() for each in dataset.path.rglob("p1.*")} == files, "nothing of it is touched"
    shown = SampleList().postprocess(dataset)
    assert shown["unreadable"] == ["facts/p1.json"] and len(shown["rows"]) == shown["total"] == 4
    with zipfile.ZipFile(dataset.zip(tmp_path / "out.zip")) as archive:
        card = archive.read("README.md").decode()
        assert "Left out:" in card and "p1.json" in card and "images/p1.png" not in archive.namelist()
        assert len(archive.read("metadata.jsonl").decode().splitlines()) == 4
    assert len(Store(dataset.path.parent).list()) == 1


def test_a_thumbnail_that_is_gone_hides_nothing(dataset):
    (dataset.path / "thumbnails" / "p1.jpg").unlink()
    assert len(SampleList().postprocess(dataset)["rows"]) == 3


def test_a_save_reads_what_is_known_of_no_other_sample(dataset, monkeypatch):
    read: list[str] = []
    real = Path.read_text

    def counted(path: Path, *arguments: object, **options: object) -> str:
        read.append(path.parent.name + "/" + path.name)
        return real(path, *arguments, **options)

    monkeypatch.setattr(Path, "read_text", counted)
    dataset.add(picture(5), label_map(5, 24, 32, 2), name="five", draft="draft 5")
    dataset.add(picture(5), label_map(6, 24, 32, 2), Facts(3.0), name="five", draft="draft 5")
    assert {name for name in read if name.startswith("facts/")} == {"facts/five.json"}
    assert np.array_equal(dataset.read("five")[1], label_map(6, 24, 32, 2)) and len(dataset) == 4


def test_what_says_which_save_made_a_sample_goes_with_it_and_may_be_damaged(dataset):
    drafts = dataset.path / "drafts"
    assert len(list(drafts.iterdir())) == 3
    dataset.delete("p1")
    assert len(list(drafts.iterdir())) == 2
    assert dataset.add(picture(1), label_map(1, 24, 32, 2), name="p1", draft="draft 1").stem == "p1"
    for path, content in zip(sorted(drafts.iterdir()), (b"../../etc/passwd", b"\xff", b"p0"), strict=True):
        path.write_bytes(content)
    stems = {dataset.add(picture(index), label_map(index, 24, 32, 2), name="again", draft=f"draft {index}").stem for index in range(3)}
    assert stems <= {"again", "again-2", "again-3", "p0"}
    assert json.loads((dataset.path / "facts" / "p0.json").read_text())["draft"] == "draft 0"
