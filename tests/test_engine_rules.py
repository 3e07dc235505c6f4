"""Where an engine does not serve: refused by the page and by a model that is built, in the same words."""

from __future__ import annotations

import pytest
import torch

from seg_demo import networks
from seg_demo.errors import SettingsError
from seg_demo.models import engine, engine_rules, zerogpu
from seg_demo.networks import unet
from seg_demo.settings import settings
from seg_demo.ui import demo


@pytest.mark.parametrize(
    ("wish", "said"),
    [
        (engine_rules.Wish("inductor", "auto", "mps", True), "is for CPUs and CUDA, but the device is mps"),
        (engine_rules.Wish("inductor", "auto", "cuda", True, zerogpu=True), "ZeroGPU's workers end before"),
        (engine_rules.Wish("inductor", "bf16", "cpu", True), "SEG_DEMO_ENGINE is inductor, and openvino is installed"),
    ],
)
def test_where_it_does_not_serve_it_is_refused(wish, said, monkeypatch, folders):
    """By the page before it starts, and by a model that is built, in the same words."""
    monkeypatch.setenv("SEG_DEMO_ENGINE", wish.engine)
    monkeypatch.setenv("SEG_DEMO_PRECISION", wish.precision)
    monkeypatch.setattr(zerogpu, "ACTIVE", wish.zerogpu)
    monkeypatch.setattr(demo, "_kind", lambda _: wish.device)
    settings.cache_clear()
    checkpoint = networks.load(folders / "unet")
    try:
        with pytest.raises(SettingsError, match=said):
            demo.check_machine()
        with pytest.raises(SettingsError, match=said):
            engine.choose(checkpoint, unet, torch.device(wish.device), wish.engine, 1, wish.precision)
    finally:
        settings.cache_clear()


def test_where_it_serves():
    for device in ("cpu", "cuda"):
        assert not engine_rules.refusals(engine_rules.Wish("inductor", "auto", device, False))
    assert engine_rules.refusals(engine_rules.Wish("auto", "auto", "mps", False)) == []
