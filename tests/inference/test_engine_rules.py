"""Where an engine does not serve: refused by the page and by a model that is built, in the same words. And where fp16 does not."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
import torch

from seg_demo import networks
from seg_demo.core import settings as engine_rules
from seg_demo.core.errors import BadCheckpointError, SettingsError
from seg_demo.core.settings import settings
from seg_demo.inference import engine
from seg_demo.inference.model import Model
from seg_demo.inference.prompting import PromptRun
from seg_demo.ui import demo
from tests.tiled import SPEC, small_unet


@pytest.mark.parametrize(
    ("wanted", "precision", "device", "installed", "said"),
    [
        ("openvino", "auto", "mps", True, "is for CPUs, but the device is mps"),
        ("openvino", "auto", "cpu", False, "SEG_DEMO_ENGINE is openvino, but it is not installed. Run pip install openvino"),
        ("openvino", "bf16", "cuda", True, "SEG_DEMO_ENGINE is openvino, and openvino is installed"),
        ("auto", "bf16", "cpu", False, "SEG_DEMO_ENGINE is auto, and openvino is not installed"),
        ("eager", "bf16", "cpu", True, "SEG_DEMO_ENGINE is eager, and openvino is installed"),
    ],
)
def test_where_it_does_not_serve_it_is_refused(wanted, precision, device, installed, said, monkeypatch, folders):
    """By the page before it starts, and by a model that is built, in the same words."""
    monkeypatch.setenv("SEG_DEMO_ENGINE", wanted)
    monkeypatch.setenv("SEG_DEMO_PRECISION", precision)
    monkeypatch.setattr(engine_rules, "has_openvino", lambda: installed)
    monkeypatch.setattr(demo, "_kind", lambda _: device)
    settings.cache_clear()
    checkpoint = networks.load(folders / "unet")
    try:
        with pytest.raises(SettingsError, match=said):
            demo.check_machine()
        with pytest.raises(SettingsError, match=said):
            engine.choose(checkpoint, torch.device(device), wanted, 1, precision)
    finally:
        settings.cache_clear()


def test_where_nothing_is_asked_for_every_device_serves(monkeypatch):
    monkeypatch.setattr(engine_rules, "has_openvino", lambda: False)
    for device in ("cpu", "cuda", "mps"):
        for wanted in ("auto", "eager"):
            assert engine_rules.engine_refusals(wanted, "auto", device) == []
    monkeypatch.setattr(engine_rules, "has_openvino", lambda: True)
    assert engine_rules.engine_refusals("openvino", "bf16", "cpu") == []


def halved(monkeypatch: pytest.MonkeyPatch) -> None:
    """What a GPU does where there is none: torch has fp16 for processors, too."""
    monkeypatch.setattr(engine, "halves", lambda device, precision: precision in ("auto", "fp16"))


def test_features_that_fp16_does_not_hold_are_computed_in_fp32(monkeypatch):
    """A second time, once; whoever has asked for fp16 is told that it yields no numbers."""
    network, image = small_unet(64), np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    norm = network.module.decoder.blocks[-1].conv2[1]
    for tensor in (norm.weight, norm.bias):
        tensor.mul_(1e6)
    network.module.segmentation_head[0].weight.mul_(1e-6)
    expected, passes, plain = Model.from_network(network, SPEC, precision="fp32").predict(image), [], type(network).forward
    monkeypatch.setattr(type(network), "forward", staticmethod(lambda module, batch: passes.append(torch.is_autocast_enabled("cpu")) or plain(module, batch)))
    halved(monkeypatch)
    model = Model.from_network(network, SPEC, precision="auto")
    for _ in range(2):
        np.testing.assert_array_equal(model.predict(image).id_map, expected.id_map)
    assert passes == [True, False, False] and len(np.unique(expected.id_map)) > 1
    with pytest.raises(BadCheckpointError):
        Model.from_network(network, SPEC, precision="fp16").predict(image)
    passes.clear()
    Model.from_network(small_unet(64), SPEC, precision="auto").predict(image)
    assert passes == [True], "others stay in fp16"


def test_a_picture_that_is_clicked_is_encoded_in_fp32_where_fp16_does_not_hold_it(monkeypatch):
    """In whatever lists and dicts the encoder answers."""
    halved(monkeypatch)
    encoder, wide = torch.nn.Linear(1, 1), torch.full((1, 1), 70_000.0)
    torch.nn.init.ones_(encoder.weight)
    network = SimpleNamespace(module=encoder, embed=lambda pixels: {"maps": [encoder(wide)], "pixels": pixels.shape})
    for _ in range(2):
        found = PromptRun(network, "auto").embed(np.zeros((2, 3, 3), np.uint8))
        assert found["pixels"] == (2, 3, 3) and abs(found["maps"][0].item() - 70_000) < 2
