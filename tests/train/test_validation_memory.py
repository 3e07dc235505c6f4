"""A full validation of 500 images of 512 x 512 pixels and 150 classes stays small."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from accelerate import Accelerator

from benchmarks import subjects
from benchmarks.measure import peak_of
from seg_demo import networks
from tests.small_datasets import save
from train import setup
from train.config import Config
from train.evaluate import HeldOut, model_of
from train.run import ProgressFile
from train.trainer import Trainer

IMAGES, SIDE = 500, 512
MOST_BYTES = 300 * 2**20


def write(root: Path, split: str, count: int, seed: int) -> None:
    rng = np.random.default_rng(seed)
    photo = subjects.photo(SIDE, SIDE)
    for index in range(count):
        classes = rng.integers(0, subjects.CLASSES, (SIDE // 32, SIDE // 32), dtype=np.uint8)
        save(np.roll(photo, 7 * index + 1, axis=seed % 2), root / split / "images" / f"{index}.jpg", quality=90)
        save(classes.repeat(32, 0).repeat(32, 1), root / split / "masks" / f"{index}.png")


@pytest.mark.soak
@pytest.mark.timeout(2400)
def test_a_validation_of_500_images_and_150_classes_keeps_under_300_mib(tmp_path: Path) -> None:
    write(tmp_path / "data", "train", 8, 1)
    write(tmp_path / "data", "val", IMAGES, 2)
    names = networks.load(subjects.folder("segformer-b0")).labels.names
    (tmp_path / "data" / "classes.txt").write_text("\n".join(names) + "\n")
    config = Config(model=str(subjects.folder("segformer-b0")), data=str(tmp_path / "data"), max_steps=1, device="cpu", batch_size=1)
    prepared = setup.prepare(config, 1, True)
    assert len(prepared.val) == IMAGES
    held_out = HeldOut(prepared)
    trainer = Trainer(prepared, Accelerator(cpu=True), tmp_path / "run", held_out, ProgressFile(None))
    checkpoint = prepared.start.checkpoint
    checkpoint.optimise(prepared.device)
    # Libraries that are imported and buffers that are made with the first picture are not the validation's.
    model_of(checkpoint, tmp_path, "data").predict_all(subjects.photo(SIDE, SIDE))
    peak, metrics = peak_of(lambda: trainer._metrics(checkpoint))
    print(f"measured: {peak / 2**20:.0f} MiB above the model, with {len(held_out.cached)} images kept")
    assert metrics["pixel_accuracy"] > 0
    assert peak < MOST_BYTES
