"""Where an engine does not serve: refused by the page and by a model that is built, in the same words."""

from __future__ import annotations

import pytest
import torch

from seg_demo import networks
from seg_demo.core import settings as engine_rules
from seg_demo.core.errors import SettingsError
from seg_demo.core.settings import settings
from seg_demo.inference import engine
from seg_demo.ui import demo


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
