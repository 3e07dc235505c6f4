"""Every broken dataset is named with its file and its reason, and --skip-bad goes on with the rest."""

from __future__ import annotations

import json

import numpy as np
import pytest
from PIL import Image

from seg_demo.annotations.dataset import Dataset
from seg_demo.annotations.listing import Diagnosis
from seg_demo.core.errors import DataError
from tests import broken_lists, broken_masks
from tests.broken_datasets import BROKEN
from tests.pictures import saved
from tests.small_datasets import blob_mask, coco, folder, picture, save, square, write_json
from train.data import examine, open_dataset, split, without_bad


def look(source: object) -> tuple[Dataset, Diagnosis]:
    dataset = open_dataset(str(source), seed=0, size=None, workers=2, progress=False)
    return dataset, examine(dataset, *split(dataset, 0.25, seed=0))


@pytest.mark.parametrize("name", sorted(BROKEN))
def test_broken_dataset_is_named(name, tmp_path):
    case = BROKEN[name]
    source = case.build(tmp_path)
    if case.kind is None:
        with pytest.raises(DataError) as refused:
            look(source)
        assert case.file in str(refused.value) and case.reason in str(refused.value)
        return
    dataset, diagnosis = look(source)
    assert not diagnosis.ok
    named = [fault for fault in diagnosis.faults if fault.kind == case.kind]
    assert named, [fault.kind for fault in diagnosis.faults]
    assert any(case.file in fault.file and case.reason in fault.what for fault in named), named
    assert all(fault.remedy for fault in named)
    report = diagnosis.report()
    assert case.kind in report and named[0].remedy in report
    # One trouble is reported once, not once more for everything that follows from it.
    assert {fault.kind for fault in diagnosis.faults} <= {case.kind, "class never occurs", "too few images"}
    # What can be read is read, what cannot is an error of ours and never a crash.
    spoilt = {fault.item for fault in diagnosis.faults}
    if not dataset.unclear:
        for item in dataset.items:
            if item.name not in spoilt:
                dataset.read(item)


def test_there_are_many_broken_datasets():
    assert len(BROKEN) >= 50 and {broken_lists.BROKEN is BROKEN, broken_masks.BROKEN is BROKEN} == {True}


@pytest.mark.parametrize("name", sorted(name for name, case in BROKEN.items() if case.kind is not None))
def test_skip_bad_leaves_a_sound_dataset_or_says_what_is_left(name, tmp_path):
    dataset, diagnosis = look(BROKEN[name].build(tmp_path))
    kept = without_bad(dataset, diagnosis)
    again = examine(kept, *split(kept, 0.25, seed=0))
    assert {fault.kind for fault in again.faults} <= {"too few images", *(fault.kind for fault in dataset.unclear)}
    assert len(kept) == len(dataset) - len({f.item for f in diagnosis.faults} & {item.name for item in dataset.items})
    for item in kept.items if not kept.unclear else ():
        kept.read(item)
    if any(fault.item for fault in diagnosis.faults):
        assert (
            ("left out" in kept.notes[-1] and kept.digest != dataset.digest) or not kept.items or len(kept) == len(dataset)
        )


def test_sound_data_has_no_faults_and_is_counted(tmp_path):
    _, diagnosis = look(folder(tmp_path))
    assert diagnosis.ok and diagnosis.n_train == 4 and diagnosis.n_val == 2
    cells = [int(np.count_nonzero(blob_mask(index))) for index in range(6)]
    assert diagnosis.class_pixels == (6 * 24 * 32 - sum(cells), sum(cells))
    assert diagnosis.class_images == (6, 6)
    assert diagnosis.sizes == ((32, 24),) * 3
    assert "No problems found" in diagnosis.report()
    assert json.loads(json.dumps(diagnosis.to_dict()))["classes"][1]["pixels"] == sum(cells)


def test_empty_masks_and_copies_are_notes(tmp_path):
    folder(tmp_path)
    save(blob_mask(0, 0), tmp_path / "masks" / "3.png")
    save(picture(0), tmp_path / "images" / "5.png")
    _, diagnosis = look(tmp_path)
    assert diagnosis.ok
    assert {(note.kind, note.file) for note in diagnosis.notes} >= {("empty mask", "masks/3.png")}
    assert any(note.kind == "duplicate image" and "different masks" in note.what for note in diagnosis.notes)


def test_a_class_that_validation_does_not_show_is_a_note(tmp_path):
    folder(tmp_path, classes="background\ncell\nrare\n")
    save(blob_mask(3, 2), tmp_path / "masks" / "3.png")
    _, diagnosis = look(tmp_path)
    assert diagnosis.ok and any(note.kind == "class not measured" and note.file == "rare" for note in diagnosis.notes)


def test_many_faults_of_a_kind_fit_on_a_screen(tmp_path):
    folder(tmp_path, 12)
    for path in (tmp_path / "masks").iterdir():
        path.unlink()
    save(blob_mask(0), tmp_path / "masks" / "0.png")
    _, diagnosis = look(tmp_path)
    report = diagnosis.report()
    assert "missing mask (11)" in report and "... and 8 more" in report
    assert len(report.splitlines()) < 25
    assert sum(fault.kind == "missing mask" for fault in diagnosis.faults) == 11


def test_all_faults_are_reported_together(tmp_path):
    data = coco(tmp_path, 6)
    data["annotations"][0]["segmentation"] = [[1, 1, 2, 2]]
    data["annotations"][3]["category_id"] = 5
    data["images"][4]["file_name"] = "gone.png"
    data["annotations"].append({"id": 99, "image_id": 1, "category_id": 3, "segmentation": square(1, 1, 4)})
    _, diagnosis = look(write_json(data, tmp_path / "c.json"))
    assert {fault.kind for fault in diagnosis.faults} == {
        "broken polygon",
        "unknown category id",
        "missing image",
        "unknown image id",
    }


def test_built_in_data_is_trusted():
    dataset = open_dataset("cells", seed=3, size=64, workers=0)
    diagnosis = examine(dataset, *split(dataset, 0.2, seed=0))
    assert diagnosis.ok and (diagnosis.n_train, diagnosis.n_val) == (2400, 200)
    assert "border" in diagnosis.report()


@pytest.mark.parametrize(("suffix", "format"), [("jpg", "JPEG"), ("heic", "HEIF")])
def test_where_no_truth_could_be_read_nothing_else_is_blamed(suffix, format, tmp_path):
    """Blurred masks hold no class for certain: that their classes never occur would only lead astray."""
    for index in range(6):
        save(picture(index), tmp_path / "images" / f"{index}.png")
        (tmp_path / "masks").mkdir(exist_ok=True)
        file = saved(Image.fromarray(blob_mask(index, 255)), format, quality=60)
        (tmp_path / "masks" / f"{index}.{suffix}").write_bytes(file)
    _, diagnosis = look(tmp_path)
    assert {fault.kind for fault in diagnosis.faults} == {"JPEG mask"} and len(diagnosis.faults) == 6
