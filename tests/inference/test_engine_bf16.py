"""bf16 on a CPU: only on request, with the share of decisions that stay as they are in fp32 measured and shown."""

from __future__ import annotations

import logging

import numpy as np
import pytest
import torch

from seg_demo import load_model, networks
from seg_demo.core import settings as engine_rules
from seg_demo.core.errors import SettingsError
from seg_demo.core.settings import Settings, load_settings, settings
from seg_demo.inference import engine, openvino
from seg_demo.inference.openvino import same_signs, same_winners
from seg_demo.serving import predictor
from seg_demo.serving.catalog import resolve
from seg_demo.serving.predictor import Predictor
from seg_demo.ui import demo, menu

pytestmark = pytest.mark.skipif(not engine_rules.has_openvino(), reason="openvino is not installed")
CPU = torch.device("cpu")
IMAGE = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)


def has_bf16() -> bool:
    """Whether this processor computes in bf16."""
    return "BF16" in openvino._core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """An empty cache folder, no pause before compiling, and settings that ask for bf16."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setenv("SEG_DEMO_PRECISION", "bf16")
    monkeypatch.setenv("SEG_DEMO_DEVICE", "cpu")
    monkeypatch.setenv("SEG_DEMO_ENGINE", "auto")
    monkeypatch.setattr(openvino, "PAUSE", 0.0)
    settings.cache_clear()
    yield
    assert openvino.drain_compiling(60)
    settings.cache_clear()


def logits(model, image):
    """What the model's forward pass says now."""
    run = model._run
    return run._forward(run.network, None, run.network.preprocess(image))[0]


@pytest.mark.parametrize("kind", [pytest.param("unet", marks=pytest.mark.soak), "binary", "tiny"])
def test_the_agreement_is_that_of_a_dense_comparison(kind, folders, caplog):
    """It is computed on the logits of the first image; where the processor has bf16, they are not eager's."""
    checkpoint = networks.load(folders / kind)
    checkpoint.module.eval().requires_grad_(False)
    batch = checkpoint.preprocess(IMAGE)
    chosen = engine.choose(checkpoint, CPU, "auto", 1, "bf16")
    assert chosen.agreement is None
    with torch.no_grad(), caplog.at_level(logging.INFO):
        eager = chosen(batch)
        assert openvino.drain_compiling(60)
        found = chosen(batch)
    several = eager.shape[1] > 1
    labels = [each.argmax(1) if several else (each > 0)[:, 0] for each in (eager, found)]
    assert chosen.agreement == pytest.approx(float((labels[0] == labels[1]).double().mean()), abs=1e-12)
    assert 0.8 < chosen.agreement <= 1 and f"{chosen.agreement:.4%}" in caplog.text and "bf16" in caplog.text
    apart = float((eager - found).abs().max() / eager.abs().max())
    assert apart < 0.1 and (not has_bf16() or apart > 1e-4)


@pytest.mark.soak
def test_an_owner_sees_it_on_the_models_tab_once_it_is_known(monkeypatch):
    """Through the predictor that serves the page, for a semantic and an instance model."""
    served = Predictor(settings())
    monkeypatch.setattr(menu, "agreement", served.agreement)
    for key in ("unet-cells", "maskrcnn-cells"):
        spec = resolve(key, local_folders=False)
        assert "bf16 once an image has been segmented" in menu.card(spec, True, "en")
        photo = np.zeros((200, 220, 3), np.uint8)
        photo[60:120, 50:130] = 200
        served.segment(photo, key)
        assert openvino.drain_compiling(120)
        share = served.agreement(spec)
        assert 0.9 < share <= 1
        assert f"bf16: on the first image, {np.floor(share * 1e5) / 1e3:g} % of the labels were the same" in menu.card(spec, True, "en")
        assert "与 fp32 一致" in menu.card(spec, True, "zh")


def test_shares_are_counted_as_their_names_say():
    """By hand: winners along the channels, signs of one channel, signs of masks."""
    first = (torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[0.0, 2.0], [5.0, 1.0]]])[None],)
    second = (torch.tensor([[[1.0, 0.0], [0.0, 3.0]], [[2.0, 2.0], [5.0, 1.0]]])[None],)
    assert same_winners(first, second) == 0.75
    one, other = (torch.tensor([[[[-1.0, 2.0, 0.5]]]]),), (torch.tensor([[[[-1.0, -2.0, 0.5]]]]),)
    assert same_winners(one, other) == same_signs(one, other) == pytest.approx(2 / 3)


def test_a_form_that_fails_later_takes_its_share_with_it(monkeypatch):
    """Eager torch goes on in fp32, so the page must not say bf16."""
    model = load_model("unet-cells")
    model.predict(IMAGE)
    assert openvino.drain_compiling(120) and model.agreement is not None

    def failed(*_):
        raise RuntimeError("no memory")

    monkeypatch.setattr(openvino.Compiled, "__call__", failed)
    model.predict(IMAGE)
    assert model.agreement is None


def test_without_the_request_nothing_is_shown_and_fp32_is_compiled(monkeypatch):
    """fp32 is what every processor gets unasked."""
    monkeypatch.delenv("SEG_DEMO_PRECISION")
    settings.cache_clear()
    assert "bf16" not in menu.card(resolve("unet-cells", local_folders=False), True, "en")
    asked = []
    compiled = openvino.compile
    monkeypatch.setattr(openvino, "compile", lambda *a: asked.append(a[4]) or compiled(*a))
    predictor.load_model("unet-cells").predict(IMAGE)
    assert openvino.drain_compiling(120) and asked == ["fp32"]


@pytest.mark.parametrize("changed", [{"engine": "eager"}, {"engine": "auto", "device": "cuda"}])
def test_what_cannot_serve_it_is_refused(changed, folders, monkeypatch):
    """When the server starts, and when a model is built."""
    for name, value in changed.items():
        monkeypatch.setenv(f"SEG_DEMO_{name.upper()}", value)
    settings.cache_clear()
    with pytest.raises(SettingsError, match="SEG_DEMO_PRECISION is bf16"):
        demo.check_machine()
    checkpoint = networks.load(folders / "unet")
    device = torch.device(changed.get("device", "cpu"))
    with pytest.raises(SettingsError, match="SEG_DEMO_PRECISION is bf16"):
        engine.choose(checkpoint, device, changed["engine"], 1, "bf16")


def test_the_setting_takes_it():
    """And refuses what is no precision."""
    assert load_settings({"SEG_DEMO_PRECISION": "bf16"}) == Settings(precision="bf16")
    with pytest.raises(SettingsError, match="bf16"):
        load_settings({"SEG_DEMO_PRECISION": "int8"})
