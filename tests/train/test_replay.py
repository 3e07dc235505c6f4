"""Replayed built-in images have the data's own ids and depend on nothing but key and seed; a run says how far it is."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from seg_demo.core.types import ModelSpec
from tests.small_datasets import folder
from train import finetune
from train.batches import CropDataset, Replay, replay_count, translated
from train.config import ConfigError
from synthetic.cells import render
from train.data import open_dataset, read_item
from train.run import ProgressFile

BUNDLED = ModelSpec("unet-cells", None, "semantic", "unet", "", "", "bundled")
OTHER = ModelSpec("ann/unet", None, "semantic", "unet", "", "", "hub")


def opened(root: Path, classes: str):
    return open_dataset(str(folder(root, 3, classes=classes)), seed=0, size=None, workers=1, progress=False)


@pytest.mark.parametrize(
    ("classes", "ids"),
    [("background\nCell\n", (0, 1, 255)), ("background\nthing\nborder\ncell\n", (0, 3, 2))],
)
def test_classes_are_matched_by_name(tmp_path, classes, ids):
    dataset = opened(tmp_path, classes)
    names = dataset.labels.names
    wanted = [names.index("background"), next(i for i, name in enumerate(names) if name.lower() == "cell"), ids[2]]
    sample = next(each for each in (render(0, index, 96, kind="confluent") for index in range(20)) if (each.label_map == 2).any())
    found = translated(sample, dataset, "semantic", OTHER)
    for value, id in enumerate(wanted):
        assert np.array_equal(found.label_map[sample.label_map == value] == id, np.ones((sample.label_map == value).sum(), bool))
    objects = translated(sample, dataset, "instance", OTHER)
    assert objects.instance_map.max() == sample.instance_map.max()
    assert set(objects.instance_labels[1:].tolist()) == {dataset.things.index(wanted[1]) + 1}


def test_the_share_is_that_of_the_crops(tmp_path):
    dataset = opened(tmp_path, "background\ncell\n")
    for share in (0.1, 0.25, 0.5, 0.75):
        extra = replay_count(share, 300, dataset, None)
        assert extra / (300 + extra) == pytest.approx(share, abs=0.01)
    assert replay_count(0.0, 300, dataset, None) == 0 and replay_count(0.01, 3, dataset, None) == 1


def test_replay_without_a_cell_is_refused(tmp_path):
    ship = opened(tmp_path / "a", "background\nship\n")
    for base in (None, OTHER):
        with pytest.raises(ConfigError, match="background, ship"):
            replay_count(0.2, 3, ship, base)
    with pytest.raises(ConfigError, match="background, ship, boat"):
        replay_count(0.2, 3, opened(tmp_path / "b", "background\nship\nboat\n"), BUNDLED)
    with pytest.raises(ConfigError, match="is the built-in data"):
        replay_count(0.2, 3, open_dataset("cells", seed=0, size=None, workers=1, progress=False, samples=8), BUNDLED)


@pytest.mark.parametrize("task", ["semantic", "instance"])
def test_the_only_thing_of_the_data_is_the_cell_of_a_bundled_base(tmp_path, task):
    """As its head is handed on: what that base calls a cell is called by the data's name, and replayed under it."""
    dataset = opened(tmp_path, "background\nnucleus\n")
    assert replay_count(0.5, 3, dataset, BUNDLED) == 3
    sample = render(0, 0, 96, kind="confluent")
    found = translated(sample, dataset, task, BUNDLED)
    assert np.array_equal(found.label_map == 1, sample.label_map == 1) and (found.label_map == 1).any()
    assert np.array_equal(found.label_map == 0, sample.label_map == 0)
    if task == "instance":
        assert set(found.instance_labels[1:].tolist()) == {1}


@pytest.mark.parametrize("model", ["unet-cells", pytest.param("maskrcnn-cells", marks=pytest.mark.soak)])
def test_a_bundled_base_is_trained_with_replay_on_a_thing_of_another_name(tmp_path, model):
    data, run = folder(tmp_path / "data", 4, classes="background\nnucleus\n"), tmp_path / "run"
    few = ["--max-steps", "1", "--batch-size", "4", "--image-size", "32", "--device", "cpu", "--threads", "1"]
    assert finetune.main(["--data", str(data), "--output", str(run), "--model", model, "--replay", "0.5", *few]) == 0
    facts = json.loads((run / "config.json").read_text())
    assert facts["data"]["replayed_images"] == facts["data"]["train_images"] > 0
    assert facts["data"]["classes"] == ["background", "nucleus"]


def test_crops_depend_on_key_and_seed_alone(tmp_path):
    dataset = opened(tmp_path, "background\ncell\n")

    def crops(seed: int) -> CropDataset:
        def read(index: int):
            return read_item(dataset, dataset.items, "semantic", index)

        return CropDataset(read, {}, "light", 32, seed, replay=Replay(3, 2, seed, dataset, "semantic", None))

    first, second, other = crops(1), crops(1), crops(2)
    keys = [(epoch, index) for epoch in range(2) for index in range(5)]
    made = {key: first[key] for key in keys}
    for key in reversed(keys):
        again = second[key]
        assert again.image.equal(made[key].image) and again.labels.equal(made[key].labels)
    assert len({made[epoch, index].name for epoch in range(2) for index in (3, 4)}) == 4, "another picture each time"
    assert not other[0, 3].image.equal(made[0, 3].image)
    assert all(made[0, index].name.startswith("images/") for index in range(3))


def test_replayed_images_are_made_as_the_network_sees_them_once(tmp_path):
    dataset = opened(tmp_path, "background\ncell\n")
    plain = Replay(3, 2, 0, dataset, "semantic", None).sample(0, 3)
    replay = Replay(3, 2, 0, dataset, "semantic", None, lambda sample: replace(sample, image=sample.image // 2))
    crops = CropDataset(lambda index: None, {}, "none", 32, 0, replay=replay)
    for _ in range(2):
        assert np.array_equal(crops.sample((0, 3)).image, plain.image // 2)


def test_progress_is_written_whole_and_not_too_often(tmp_path):
    path = tmp_path / "progress.json"
    tell = ProgressFile(str(path))
    tell("prepare", total=3)
    assert json.loads(path.read_text())["stage"] == "prepare"
    path.unlink()
    tell("fit", 1, 1000, 0.5)
    assert not path.exists(), "less than a second after the last"
    tell("fit", 1000, 1000, 0.25, 12.34)
    assert json.loads(path.read_text()) | {"seconds": 0} == {
        "stage": "fit", "step": 1000, "total": 1000, "loss": 0.25, "seconds": 0, "left": 12.3,
    }  # fmt: skip
    ProgressFile(None)("fit", 1, 2)
    ProgressFile(str(tmp_path / "missing" / "x.json"))("prepare")
