"""Training on files of more than three channels and more than 8 bits: from the files to a checkpoint that segments such files again."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import tifffile
import torch
from PIL import Image

from seg_demo import __main__ as command
from seg_demo import load_model, networks
from seg_demo.annotations.channels import Channels, Depth, channel_ranges, shared_channels
from seg_demo.annotations.listing import Sample
from seg_demo.hub import client
from seg_demo.inputs.images import read
from tests.small_datasets import save
from tests.train.test_finetune import TOKEN, arguments
from train import finetune
from train.base_model import rebuilt, remembered
from train.batches import AsSeen, augment
from train.config import Config, ConfigError
from train.data import open_dataset
from train.setup import prepare


def scene(index: int) -> tuple[np.ndarray, np.ndarray]:
    """Three channels of noise, and discs that the fourth alone shows: uint16 (4, 48, 64) and uint8 (48, 64)."""
    rng = np.random.default_rng(index)
    rows, columns = np.mgrid[:48, :64]
    mask = np.zeros((48, 64), np.uint8)
    for row, column in rng.integers(8, 40, (3, 2)):
        mask[(rows - row) ** 2 + (columns - column) ** 2 < 49] = 1
    image = rng.normal(3000, 300, (4, 48, 64))
    image[3] += 9000.0 * mask
    return image.clip(0, 65_535).astype(np.uint16), mask


@pytest.fixture(scope="module")
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("bands")
    (root / "images").mkdir()
    for index in range(6):
        image, mask = scene(index)
        tifffile.imwrite(root / "images" / f"{index:02d}.tif", image, photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
        save(mask, root / "masks" / f"{index:02d}.png")
    (root / "classes.txt").write_text("background\ndisc\n")
    return root


def test_four_channels_of_16_bits_are_learnt_pushed_and_segmented_by_the_command(data: Path, tmp_path: Path, hub, monkeypatch) -> None:
    hub.add_user("ann", TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--max-steps", "3", "--save-every", "9", "--push", "ann/bands")) == 0
    kept = json.loads((run / "config.json").read_text())
    assert kept["network"]["channels"] == 4
    rule = json.loads((run / "best" / "preprocessor_config.json").read_text())
    # The percentiles of the files that were learnt from: the discs are in the fourth channel alone.
    lows, highs = np.array(rule["channel_ranges"]).T
    assert (np.abs(lows - 2230) < 150).all() and (highs[:3] < 4200).all() and 11_500 < highs[3] < 13_500
    assert "percentiles of the training images" in (run / "best" / "README.md").read_text()
    # What is pushed is the same folder, and the command segments a new file with it.
    image, _ = scene(99)
    tifffile.imwrite(tmp_path / "new.tif", image, photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    out = tmp_path / "out"
    assert command.main(["segment", str(tmp_path / "new.tif"), "--model", "ann/bands", "--out", str(out)]) == 0
    found = np.asarray(Image.open(next(out.rglob("mask.png"))))
    plain = smp.from_pretrained("ann/bands").eval()
    low, high, mean, std = (torch.tensor(numbers).view(4, 1, 1) for numbers in (lows, highs, rule["image_mean"], rule["image_std"]))
    seen = (((torch.from_numpy(image.astype(np.float32)) - low) / (high - low)).clamp(0, 1) - mean) / std
    with torch.no_grad():
        logits = plain(torch.nn.functional.pad(seen[None].float(), (0, 0, 0, 16), mode="reflect"))
    assert np.array_equal(found, logits[0, :, :48].argmax(0).numpy())
    stated = json.loads(next(out.rglob(command.RESULT)).read_text())
    assert stated["view"]["channels"] == [0, 1, 2, 3]
    # A finished run is resumed without reading anything anew, and ends as it was.
    assert finetune.main(["--resume", str(run)]) == 0


def test_the_page_and_the_list_of_models_say_how_many_channels(data: Path, tmp_path: Path) -> None:
    from seg_demo.serving import catalog, predictor

    torch.manual_seed(0)
    cls = networks.network("unet")
    labels = open_dataset(str(data), seed=0, size=None, workers=2, progress=False).labels
    made = cls.create(labels, cls.default_options()).with_channels(4).measuring([(0.0, 9000.0)] * 4)
    made.save(tmp_path / "made")
    assert catalog.of_folder(tmp_path / "made", "x", "folder").channels == 4
    assert predictor.offer(str(tmp_path / "made")).rows()["channels"].startswith("4,")
    found = predictor.offer(str(tmp_path / "made"))
    assert found.size == (tmp_path / "made" / "model.safetensors").stat().st_size and "size" in found.rows() and "download" not in found.rows()
    with predictor.Predictor().work(data / "images" / "00.tif", str(tmp_path / "made"), visitor=False) as work:
        assert work.picture.samples.shape == (48, 64, 4)
        assert np.array_equal(work.segment().id_map, load_model(str(tmp_path / "made"), device="cpu").predict(data / "images" / "00.tif").id_map)


def prepared(data: Path, **settings):
    return prepare(Config(data=str(data), from_scratch=True, image_size=32, device="cpu", max_steps=1, batch_size=2, **settings), 1, True)


def test_a_start_of_four_channels_is_the_same_after_a_crash(data: Path) -> None:
    begun = prepared(data).start
    again = rebuilt(json.loads(json.dumps(remembered(begun))))
    assert again.checkpoint.preprocessing == begun.checkpoint.preprocessing and again.checkpoint.options == begun.checkpoint.options


def test_how_many_channels_is_asked_for_or_seen(data: Path, tmp_path: Path) -> None:
    assert prepared(data).start.checkpoint.channels == 4
    one = prepared(data, channels=1)
    assert one.start.checkpoint.channels == 1 and one.dataset.read(one.train[0]).values.shape == (48, 64, 1)
    three = prepared(data, channels=3)
    assert three.start.checkpoint.preprocessing.ranges is not None and three.start.checkpoint.channels == 3
    with pytest.raises(ConfigError, match="has 4 channels, and 5 are to be learnt"):
        prepared(data, channels=5)
    with pytest.raises(ConfigError, match="takes red, green and blue and no other"):
        prepared(data, channels=4, model="fcn")
    assert prepared(data, model="fcn").start.checkpoint.channels == 3
    with pytest.raises(ConfigError, match="built-in pictures"):
        prepare(Config(data="cells", samples=8, from_scratch=True, channels=4), 1, True)
    assert shared_channels([Depth(4), Depth(4), Depth()])[0] is None and shared_channels([Depth(4, 16)] * 2)[0] == 4


def test_what_is_learnt_from_is_what_prediction_sees(data: Path) -> None:
    """A crop that nothing varies is the network's own preprocessing of the file, before its means."""
    ready = prepared(data)
    network = ready.start.checkpoint
    sample = ready.dataset.read(ready.train[0])
    stored = tifffile.imread(sample_file(data, sample))
    assert sample.values.dtype == np.uint16 and np.array_equal(np.moveaxis(sample.values, -1, 0), stored)
    seen = AsSeen(network)(sample)
    crop, labels, _ = augment(seen, "none", 64, 1)
    mean, std = (torch.tensor(numbers).view(4, 1, 1) for numbers in (network.preprocessing.mean, network.preprocessing.std))
    batch = network.preprocess(read(sample_file(data, sample), channels=4).samples)[0, :, :48, :64]
    torch.testing.assert_close((crop[:, :48] - mean) / std, batch, rtol=1e-5, atol=1e-5)
    assert labels[:48].max() == 1


def sample_file(data: Path, sample: Sample) -> Path:
    return data / "images" / f"{sample.name.rpartition('/')[2]}.tif"


@pytest.mark.parametrize("level", ["light", "strong"])
def test_channels_are_varied_each_by_itself_and_never_mixed(level: str) -> None:
    """Where one channel holds nothing it goes on holding nothing; a hue or a grey would have filled it from the others."""
    rng = np.random.default_rng(0)
    values = rng.random((40, 52, 5)).astype(np.float32)
    values[..., 2] = 0
    sample = Sample(np.zeros((40, 52, 3), np.uint8), np.zeros((40, 52), np.uint8), values=values, fractions=True)
    crops = [augment(sample, level, 32, seed)[0] for seed in range(12)]
    assert all(crop.shape == (5, 32, 32) and 0 <= crop.min() and crop.max() <= 1 for crop in crops)
    quiet = [crop for crop in crops if crop[2].max() == 0]
    assert len(quiet) >= (12 if level == "light" else 6)
    gains = [float(crop[0].mean() / crop[1].mean()) for crop in crops]
    assert max(gains) - min(gains) > 0.1


def test_percentiles_are_those_of_numpy_and_heed_no_nan() -> None:
    rng = np.random.default_rng(3)
    images = {index: rng.normal(10 * index, 5, (30, 40, 2)).astype(np.float32) for index in range(4)}
    images[0][:3] = np.nan
    found = channel_ranges(lambda index: images[index], list(images), 2)
    for channel in range(2):
        pooled = np.concatenate([image[..., channel].ravel() for image in images.values()])
        assert np.allclose(found[channel], np.nanpercentile(pooled, (0.5, 99.5)), rtol=1e-5)
    assert channel_ranges(lambda index: np.full((4, 4, 1), 7.0), [0], 1) == ((7.0, 8.0),)


def test_other_channels_in_the_files_are_other_data(data: Path, tmp_path: Path) -> None:
    """A run is not resumed on data whose fourth channel was exchanged, which no one sees."""
    import shutil

    shutil.copytree(data, tmp_path / "copy")
    first = open_dataset(str(tmp_path / "copy"), seed=0, size=None, workers=2, progress=False)
    path = tmp_path / "copy" / "images" / "03.tif"
    stored = tifffile.imread(path)
    stored[3] = stored[3][::-1]
    tifffile.imwrite(path, stored, photometric="minisblack", metadata={"axes": "CYX"}, ome=True)
    assert open_dataset(str(tmp_path / "copy"), seed=0, size=None, workers=2, progress=False).digest != first.digest


def test_values_of_a_sample_are_checked() -> None:
    sample = Sample(np.zeros((8, 9, 3), np.uint8), np.zeros((8, 9), np.uint8))
    with pytest.raises(ValueError, match="values has shape"):
        dataclasses.replace(sample, values=np.zeros((9, 8, 4), np.uint16))
    assert dataclasses.replace(sample, values=np.zeros((8, 9, 4), np.uint16)).picture.view.channels == (0, 1, 2, 3)
    assert Channels(4, False).count == 4
