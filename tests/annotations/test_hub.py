"""Hub datasets, over real HTTP from a Hub on loopback."""

from __future__ import annotations

import io
import json
import time

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.errors import DataError, HubUnavailableError
from seg_demo.core.settings import settings
from tests.small_datasets import blob_mask, picture
from train.data import examine, open_dataset, split

datasets = pytest.importorskip("datasets")
pa = pytest.importorskip("pyarrow")
pq = pytest.importorskip("pyarrow.parquet")


def png(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(array).save(buffer, format="PNG")
    return buffer.getvalue()


def parquet(first: int, count: int, columns: tuple[str, str] = ("image", "label"), value: int = 1) -> bytes:
    """A parquet file as ``push_to_hub`` writes it."""
    rows = range(first, first + count)
    cells = {
        columns[0]: [{"bytes": png(picture(index)), "path": None} for index in rows],
        columns[1]: [{"bytes": png(blob_mask(index, value)), "path": None} for index in rows],
        "caption": [f"number {index}" for index in rows],
    }
    features = {columns[0]: datasets.Image(), columns[1]: datasets.Image(), "caption": datasets.Value("string")}
    made = datasets.Dataset.from_dict(cells, features=datasets.Features(features))
    buffer = io.BytesIO()
    made.to_parquet(buffer)
    return buffer.getvalue()


def look(source: str):
    return open_dataset(source, seed=0, size=None, workers=2, progress=False)


FILES = {
    "data/train-00000-of-00001.parquet": parquet(0, 4),
    "data/validation-00000-of-00001.parquet": parquet(4, 2),
    "id2label.json": json.dumps({"0": "background", "1": "cell"}).encode(),
}


def test_images_and_masks_from_the_hub(hub):
    hub.add_repo("ann/cells", FILES, kind="dataset")
    dataset = look("hub:ann/cells")
    assert dataset.name == "cells" and dataset.labels.names == ("background", "cell") and not dataset.faults
    train, val = split(dataset, 0.2, 0)
    assert (len(train), len(val)) == (4, 2)
    for index, item in enumerate((*train, *val)):
        sample = dataset.read(item)
        assert np.array_equal(sample.image, picture(index)) and np.array_equal(sample.label_map, blob_mask(index))


def test_columns_that_are_missing_are_named(hub):
    hub.add_repo("ann/photos", {"data/train.parquet": parquet(0, 2, ("image", "depth"))}, kind="dataset")
    with pytest.raises(DataError, match="columns image, depth, caption, of which image, depth hold images"):
        look("hub:ann/photos")


def test_no_such_dataset(hub):
    with pytest.raises(DataError, match="There is no dataset ann/nothing on the Hub"):
        look("hub:ann/nothing")


@pytest.fixture
def impatient(monkeypatch):
    """One second of patience with a silent Hub."""
    monkeypatch.setenv("SEG_DEMO_HUB_TIMEOUT", "1")
    settings.cache_clear()
    yield
    settings.cache_clear()


def test_a_hub_that_never_answers_is_given_up(hub, impatient):
    hub.add_repo("ann/slow", FILES, kind="dataset")
    hub.hanging = True
    started = time.monotonic()
    with pytest.raises(HubUnavailableError):
        look("hub:ann/slow")
    assert time.monotonic() - started < 8


def test_a_dataset_that_was_seen_needs_no_hub(hub, impatient):
    hub.add_repo("ann/seen", FILES, kind="dataset")
    first = look("hub:ann/seen")
    hub.hanging = True
    again = look("hub:ann/seen")
    assert again.digest == first.digest and again.labels == first.labels


def test_faults_name_the_split_and_the_row(hub):
    hub.add_repo(
        "ann/wrong", {"data/train.parquet": parquet(0, 3, value=9), "classes.txt": b"background\ncell\n"}, kind="dataset"
    )
    dataset = look("hub:ann/wrong")
    diagnosis = examine(dataset, *split(dataset, 0.3, 0))
    assert {fault.file.partition("-mask")[0] for fault in diagnosis.faults if fault.kind == "label out of range"} == {
        "train/000000",
        "train/000001",
        "train/000002",
    }


def test_a_row_cannot_name_a_file_of_this_machine(hub, tmp_path):
    """``{"bytes": None, "path": ...}`` is how the library refers to files, and the author of a dataset writes what they like."""
    (tmp_path / "private.png").write_bytes(png(picture(9)))
    paths = [str(tmp_path / "private.png"), "/etc/passwd", "tests/none.png", "../../../../../etc/hosts"]
    cells = [{"bytes": None, "path": path} for path in paths] + [{"bytes": png(picture(0)), "path": "/etc/passwd"}]
    masks = [{"bytes": png(blob_mask(index)), "path": None} for index in range(5)]
    kind = pa.struct([("bytes", pa.binary()), ("path", pa.string())])
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Image()}).to_dict()
    table = pa.table({"image": pa.array(cells, type=kind), "label": pa.array(masks, type=kind)})
    file = io.BytesIO()
    pq.write_table(table.replace_schema_metadata({"huggingface": json.dumps({"info": {"features": features}})}), file)
    hub.add_repo("eve/cells", {"data/train.parquet": file.getvalue()}, kind="dataset")
    dataset = look("hub:eve/cells")
    assert [fault.kind for fault in dataset.faults] == ["path outside the dataset"] * 4
    assert str(tmp_path) not in str(dataset.faults)
    (item,) = dataset.items
    assert np.array_equal(dataset.read(item).image, picture(0)), "what it brings itself is read, whatever path stands beside it"


def test_images_that_are_files_of_the_repository(hub):
    files = {f"train/{index}.png": png(picture(index)) for index in range(3)}
    files |= {f"train/m{index}.png": png(blob_mask(index)) for index in range(3)}
    rows = [json.dumps({"image_file_name": f"{index}.png", "mask_file_name": f"m{index}.png"}) for index in range(3)]
    hub.add_repo("ann/files", {**files, "train/metadata.jsonl": "\n".join(rows).encode()}, kind="dataset")
    dataset = look("hub:ann/files")
    assert not dataset.faults and len(dataset) == 3
    assert np.array_equal(dataset.read(dataset.items[1]).label_map, blob_mask(1))


@pytest.mark.parametrize("name", ["cells", "../cells", "a/b/c", "ann/..", "ann/x@", "/etc/passwd"])
def test_names_that_are_none_never_leave_this_machine(hub, name):
    with pytest.raises(DataError, match="Expected hub:USER/NAME"):
        look(f"hub:{name}")
    assert not hub.requests


def test_a_folder_of_that_name_is_not_mistaken_for_the_hub(hub, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "ann" / "cells").mkdir(parents=True)
    with pytest.raises(DataError, match="ambiguous"):
        look("hub:ann/cells")
    assert not hub.requests
