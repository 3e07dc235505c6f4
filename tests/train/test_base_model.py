"""Where a run starts from when the Hub cannot be reached: an encoder that was fetched before is used, else fresh weights."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import segmentation_models_pytorch as smp
import torch
from huggingface_hub import constants
from safetensors.torch import save_file

from seg_demo import load_model, networks
from seg_demo.core.errors import ModelNotFoundError
from seg_demo.core.requests import JOB_OWNER
from seg_demo.core.settings import settings
from seg_demo.core.types import LabelSet
from seg_demo.hub import cache, lookup
from seg_demo.inference.model import Model
from seg_demo.networks.base import Network
from seg_demo.networks.unet import UNet
from synthetic.cells import render
from train.base_model import copy_known_classes, start
from train.config import Config

LABELS = LabelSet.from_names(("background", "leaf"), background=0)


@pytest.fixture
def no_hub(monkeypatch):
    """A Hub address where nobody listens."""
    monkeypatch.setattr(constants, "ENDPOINT", "http://127.0.0.1:9")
    lookup.forget()
    yield
    lookup.forget()


def test_without_the_hub_and_without_a_cached_encoder_training_starts_from_scratch(no_hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    begun = start(Config(model="unet"), lambda task: LABELS)
    assert not begun.pretrained and "Warning" in begun.notes[0]


@pytest.mark.parametrize("trouble", ["missing", "broken", "refused"])
def test_a_hub_without_sound_encoder_weights_is_no_reason_to_stop(hub, tmp_path, trouble):
    """404, a file that is no checkpoint, and a refusal: a warning, and random weights."""
    source = smp.encoders.encoders["resnet34"]["pretrained_settings"]["imagenet"]
    if trouble == "broken":
        hub.add_repo(source["repo_id"], {"config.json": b"{}", "model.safetensors": b"no weights"}, revision=source["revision"])
    if trouble == "refused":
        hub.fail(".*/resolve/.*", status=403, times=100)
    begun = start(Config(model="unet"), lambda task: LABELS)
    assert not begun.pretrained and begun.base is None and begun.notes[0].startswith("Warning: the ImageNet weights of resnet34")


def test_a_cached_encoder_needs_no_hub(no_hub, tmp_path, monkeypatch):
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path))
    name = UNet.training.pretrained_encoder["encoder"]
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


def logits(checkpoint: Network, images: torch.Tensor) -> torch.Tensor:
    with torch.inference_mode():
        return checkpoint.forward(checkpoint.module.eval(), images)


@pytest.mark.parametrize("name", ["unet", "segformer", "fcn"])
def test_a_new_head_keeps_what_the_base_knows_of_classes_by_their_names(name: str):
    family = networks.network(name)
    options = family.default_options()
    base = family.create(LabelSet.from_names(("background", "cell", "border"), 0), options)
    replaced = base.replace_head(LabelSet.from_names(("background", "leaf", "border", "cell"), 0))
    before = [each.clone() for each in base.module.parameters()]
    known = copy_known_classes(base, replaced, base.head_prefixes())
    assert known == ("background", "border", "cell")
    assert all(torch.equal(old, now) for old, now in zip(before, base.module.parameters(), strict=True))
    images = torch.randn(1, 3, 64, 96, generator=torch.Generator().manual_seed(1))
    old, new = logits(base, images), logits(replaced, images)
    torch.testing.assert_close(new[:, [0, 2, 3]], old[:, [0, 2, 1]])


def test_a_new_detector_keeps_the_rows_of_a_class():
    family = networks.network("maskrcnn")
    base = family.create(LabelSet.from_names(("background", "cell"), 0), family.default_options())
    replaced = base.replace_head(LabelSet.from_names(("background", "leaf", "cell"), 0))
    assert copy_known_classes(base, replaced, base.head_prefixes()) == ("background", "cell")
    old, new = base.module.roi_heads, replaced.module.roi_heads
    assert torch.equal(new.box_predictor.cls_score.weight[[0, 2]], old.box_predictor.cls_score.weight)
    assert torch.equal(new.box_predictor.bbox_pred.weight[8:], old.box_predictor.bbox_pred.weight[4:])
    assert torch.equal(new.mask_predictor.mask_fcn_logits.bias[2], old.mask_predictor.mask_fcn_logits.bias[1])


@pytest.mark.parametrize(("name", "background"), [("unet-cells", "background"), ("maskrcnn-cells", "background"), ("segformer-cells", "_bg_")])
def test_one_kind_of_thing_is_what_a_bundled_network_calls_a_cell(name, background):
    labels = LabelSet.from_names((background, "pollen"), 0)
    begun = start(Config(model=name), lambda task: labels)
    assert begun.knows and begun.fresh and "pollen (the base calls it cell)" in begun.notes[0]
    assert "pollen（起始模型称之为 cell）" in begun.notes[0].text("zh")
    base = load_model(name, device="cpu")
    image = render(5, 0, 96, kind="fluorescence").image
    found = Model.from_network(begun.checkpoint, begun.base).predict(image)
    assert found.labels.names == labels.names
    assert np.mean((found.id_map > 0) == (base.predict(image).id_map > 0)) > 0.95
    several = start(Config(model=name), lambda task: LabelSet.from_names(("background", "pollen", "dust"), 0))
    assert not several.knows and "pollen" not in several.notes[0]


def test_nothing_is_copied_between_strangers_or_from_a_binary_head():
    family = networks.network("unet")
    base = family.create(LABELS, family.default_options())
    other = base.replace_head(LabelSet.from_names(("sky", "sea"), 0))
    assert copy_known_classes(base, other, base.head_prefixes()) == ()
    binary = family.create(LABELS, {**family.default_options(), "binary": True})
    more = binary.replace_head(LabelSet.from_names(("background", "leaf", "stem"), 0))
    assert copy_known_classes(binary, more, binary.head_prefixes()) == ()


@pytest.mark.parametrize("kind", ["tiny", "encoder"])
def test_what_a_visitor_typed_for_a_job_is_fetched_without_the_owners_login(hub, folders, tmp_path, monkeypatch, kind):
    source = folders / "tiny"
    if kind == "encoder":
        source = tmp_path / "encoder"
        source.mkdir()
        (source / "model.safetensors").write_bytes((folders / "tiny" / "model.safetensors").read_bytes())
        config = json.loads((folders / "tiny" / "config.json").read_text()) | {"architectures": ["SegformerForImageClassification"]}
        (source / "config.json").write_text(json.dumps(config))
    claimed, claim = [], cache.claim
    monkeypatch.setattr(cache, "claim", lambda id, commit: claimed.append(id) or claim(id, commit))
    hub.add_user("ann", "hf_ann")
    for name in ("secret", "listed"):
        hub.add_repo(f"ann/{name}", source, private=True)
    hub.add_repo("ann/open", source)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    monkeypatch.setenv("SEG_DEMO_MODELS", "ann/listed")
    monkeypatch.setenv(JOB_OWNER, "0" * 32)
    settings.cache_clear()
    try:
        with pytest.raises(ModelNotFoundError, match="no public model ann/secret"):
            start(Config(model="ann/secret"), lambda task: LABELS)
        assert start(Config(model="ann/open"), lambda task: LABELS).pretrained and "ann/open" not in claimed
        assert start(Config(model="ann/listed"), lambda task: LABELS).pretrained and "ann/listed" in claimed
        # Somebody at a terminal is the owner.
        monkeypatch.delenv(JOB_OWNER)
        assert start(Config(model="ann/secret"), lambda task: LABELS).pretrained
    finally:
        settings.cache_clear()
