"""Where a run starts from when the Hub cannot be reached: an encoder that was fetched before is used, else fresh weights."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import segmentation_models_pytorch as smp
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from seg_demo.models import hub
from seg_demo.types import LabelSet
from train.config import Config
from train.start import PRETRAINED_UNET, start

LABELS = LabelSet.from_names(("background", "leaf"), background=0)


@pytest.fixture
def no_hub(monkeypatch):
    """A Hub address where nobody listens."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    hub.forget()
    yield
    hub.forget()


def test_without_the_hub_and_without_a_cached_encoder_training_starts_from_scratch(no_hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    begun = start(Config(model="unet"), lambda task: LABELS)
    assert not begun.pretrained and "Warning" in begun.notes[0]


def test_a_cached_encoder_needs_no_hub(no_hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name = PRETRAINED_UNET["encoder"]
    torch.manual_seed(5)
    weights = smp.encoders.get_encoder(name).state_dict()
    source = smp.encoders.encoders[name]["pretrained_settings"]["imagenet"]
    folder = Path(tmp_path, "models--" + source["repo_id"].replace("/", "--"), "snapshots", source["revision"])
    folder.mkdir(parents=True)
    (folder / "config.json").write_text(json.dumps({"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}))
    save_file({key: value.contiguous() for key, value in weights.items()}, folder / "model.safetensors")

    begun = start(Config(model="unet"), lambda task: LABELS)
    assert begun.pretrained and begun.fresh == ("decoder.", "segmentation_head.")
    loaded = begun.checkpoint.module.encoder.state_dict()
    assert all(torch.equal(loaded[key], value) for key, value in weights.items())
    assert begun.checkpoint.preprocessing.mean == pytest.approx((0.1, 0.2, 0.3))
