"""TorchInductor on request: eager's answers for a few sizes, and eager wherever it cannot be trusted. Tried on a CPU."""

from __future__ import annotations

import gc
import logging
import shutil
import threading
import weakref
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
import torch
from torch import nn

from seg_demo import networks
from seg_demo.models import engine, engine_cache, engine_inductor, engine_worker
from seg_demo.models.engine_inductor import MOST, Inductor
from seg_demo.models.engine_part import Part
from seg_demo.models.model import Model
from seg_demo.networks import unet
from seg_demo.networks.base import Checkpoint, Preprocessing
from seg_demo.types import LabelSet, ModelSpec
from tests.engines import CPU, Small, own_cache, settled  # noqa: F401  (fixtures)

needs_compiler = pytest.mark.skipif(
    not any(shutil.which(name) for name in ("g++", "c++", "clang++")), reason="there is no C++ compiler for TorchInductor"
)
LABELS = LabelSet.from_names(("background", "cell", "border"), background=0)
SPEC = ModelSpec("tiny", None, "semantic", "", "unet", "", "folder")


@pytest.fixture(autouse=True)
def own_kernels(monkeypatch, own_cache):  # noqa: F811
    """TorchInductor looks for its folder in the environment, which is left as it was."""
    monkeypatch.delenv("TORCHINDUCTOR_CACHE_DIR", raising=False)
    yield
    assert engine_worker.drain(120)


def part(module: nn.Module | None = None) -> Part:
    return Part("small", module or Small(), Inductor(CPU, "auto"), (), lambda batch: batch, "")


def interpreted(monkeypatch) -> list[tuple[int, ...]]:
    """The traced graph is run as it is, for tests that are not about kernels; the sizes that were asked for."""
    asked: list[tuple[int, ...]] = []

    def compiled(traced, example):
        asked.append(tuple(example.shape))
        return traced

    monkeypatch.setattr(engine_inductor, "_compiled", compiled)
    return asked


def few_layers() -> Checkpoint:
    """A network of two convolutions that passes for a U-Net: a second to compile."""
    torch.manual_seed(0)
    layers = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 3, 1))
    return Checkpoint("unet", layers, LABELS, Preprocessing(multiple=8))


def small_unet() -> Checkpoint:
    """A U-Net whose decoder is folded: half a minute to compile."""
    torch.manual_seed(0)
    options = {"decoder": "Unet", "encoder": "tu-test_resnet", "encoder_depth": 3, "decoder_channels": [8, 8, 8]}
    return unet.create(LABELS, options)


@needs_compiler
@pytest.mark.parametrize("make", [few_layers, pytest.param(small_unet, marks=pytest.mark.soak)])
def test_a_network_behind_the_demo_keeps_its_labels(make, caplog):
    """Its layout is channels last; the compiled form answers in the first size, eager in others."""
    checkpoint = make()
    checkpoint.module.eval().requires_grad_(False)
    networks.optimise(checkpoint, CPU)
    chosen = engine.choose(checkpoint, unet, CPU, "inductor", 1)
    model = Model.from_checkpoint(checkpoint, SPEC, engine=chosen)
    eager = Model.from_checkpoint(checkpoint, SPEC)
    image = np.random.default_rng(0).integers(0, 256, (64, 72, 3), dtype=np.uint8)
    with caplog.at_level(logging.INFO):
        before = model.predict(image)
        assert engine_worker.drain(120)
    forms = chosen._part._forms
    assert list(forms) == [(1, 3, 64, 72)] and "compiled with TorchInductor in fp32" in caplog.text
    assert chosen.agreement == 1.0 and model.nbytes == eager.nbytes, "the weights are shared"
    calls = []
    form = forms[1, 3, 64, 72]
    form._compiled = (lambda inner: lambda batch: calls.append(1) or inner(batch))(form._compiled)
    for found in (before, model.predict(image)):
        np.testing.assert_array_equal(found.id_map, eager.predict(image).id_map)
    assert calls == [1]
    wide = image[:40]
    np.testing.assert_array_equal(model.predict(wide).id_map, eager.predict(wide).id_map)
    assert calls == [1]


@needs_compiler
def test_threads_and_layouts_get_eagers_numbers():
    """Several at a time, in inference mode or not, contiguous or channels last; and nobody's answer is written to again."""
    small, batch = part(), torch.randn(1, 3, 16, 16)
    settled(small, batch)
    assert small._forms and list(engine_cache.root().with_name("inductor").iterdir()), "kernels are kept with the user's cache"
    batches = [torch.randn(1, 3, 16, 16) for _ in range(12)]
    batches[5:] = [each.contiguous(memory_format=torch.channels_last) for each in batches[5:]]
    expected = [small.module(each)[0] for each in batches]

    def answered(each):
        with torch.inference_mode():
            return small(each)

    with ThreadPoolExecutor(4) as pool:
        found = list(pool.map(answered, batches))
    assert small._forms
    for mine, theirs in zip(found, expected, strict=True):
        torch.testing.assert_close(mine[0], theirs, rtol=1e-4, atol=1e-5)


def test_eager_answers_are_exact_while_another_thread_traces(monkeypatch):
    """Tracing goes on in the background of requests, and some of what torch changes for it is not this thread's alone."""
    interpreted(monkeypatch)
    other, batch = Small(seed=3), torch.randn(1, 3, 16, 16)
    expected, ended = other(batch)[0], threading.Event()

    def trace() -> None:
        for seed in range(40):
            settled(part(Small(seed)), batch)
        ended.set()

    tracing = threading.Thread(target=trace)
    tracing.start()
    asked = 0
    while not ended.is_set():
        assert torch.equal(other(batch)[0], expected)
        asked += 1
    tracing.join()
    assert asked > 40


def test_a_form_that_cannot_be_compiled_is_eager_and_said_once(monkeypatch, caplog):
    def broken(*_):
        raise RuntimeError("Failed to find C compiler")

    monkeypatch.setattr(engine_inductor, "_compiled", broken)
    small, batch = part(), torch.randn(1, 3, 16, 16)
    for _ in range(3):
        before, after = settled(small, batch)
        assert torch.equal(before[0], after[0])
    assert not small._forms and len(caplog.records) == 1
    assert "compiled with TorchInductor was not taken" in caplog.text and "Failed to find C compiler" in caplog.text


def test_a_form_that_disagrees_is_not_taken(monkeypatch, caplog):
    monkeypatch.setattr(engine_inductor, "_compiled", lambda traced, _: lambda batch: [traced(batch)[0] * 1.001])
    small, batch = part(), torch.randn(1, 3, 16, 16)
    before, after = settled(small, batch)
    assert torch.equal(before[0], after[0]) and not small._forms
    assert len(caplog.records) == 1 and "outputs differ by" in caplog.text


def test_strangers_sizes_are_compiled_when_they_come_again_and_never_more_than_a_few(monkeypatch):
    asked = interpreted(monkeypatch)
    small = part()
    for again in range(3):
        for side in range(8, 8 + 3 * MOST):
            small(torch.randn(1, 3, side, side))
            assert engine_worker.drain(60)
        assert again or asked == [(1, 3, 8, 8)], "the first at once, others not for the first time"
    assert asked == [(1, 3, side, side) for side in range(8, 8 + MOST)]
    assert len(small._forms) == MOST


def test_tracing_leaves_the_module_alone_and_a_dropped_model_is_freed(monkeypatch):
    interpreted(monkeypatch)
    small = part()
    before = {name: (type(each), id(each)) for name, each in small.module.layer.__dict__["_parameters"].items()}
    state = list(small.module.__dict__["_modules"]), sorted(small.module.__dict__)
    settled(small, torch.randn(1, 3, 16, 16))
    assert small._forms
    assert before == {name: (type(each), id(each)) for name, each in small.module.layer.__dict__["_parameters"].items()}
    assert state == (list(small.module.__dict__["_modules"]), sorted(small.module.__dict__))
    weight = weakref.ref(small.module.layer.weight)
    del small
    gc.collect()
    assert weight() is None


@needs_compiler
def test_a_dropped_model_is_freed_of_its_kernels_too():
    small = part()
    settled(small, torch.randn(1, 3, 16, 16))
    assert small._forms
    weight = weakref.ref(small.module.layer.weight)
    del small
    gc.collect()
    assert weight() is None


def test_of_a_mask_rcnn_the_pyramid_alone_is_compiled(folders, monkeypatch):
    """How many regions its heads get is never the same; their weights are not traced."""
    asked = interpreted(monkeypatch)
    checkpoint = networks.load(folders / "maskrcnn")
    checkpoint.module.eval().requires_grad_(False)
    verbs = networks.network("maskrcnn")
    model = Model.from_checkpoint(checkpoint, SPEC, engine=engine.choose(checkpoint, verbs, CPU, "inductor", 1))
    eager = Model.from_checkpoint(checkpoint, SPEC)
    image = np.random.default_rng(0).integers(0, 256, (96, 160, 3), dtype=np.uint8)
    before, after = settled(model.predict, image, 0.0)
    assert len(asked) == 1 and len(after.segments) > 5 and model._run.engine._pyramid._forms
    for found in (before, after):
        np.testing.assert_array_equal(found.id_map, eager.predict(image, 0.0).id_map)


def test_a_batch_on_a_gpu_would_go_through_the_engine_in_the_precision_of_eager(monkeypatch):
    """What a GPU computes in is decided where eager's is; the traced casts are part of the form."""
    for setting, wanted in (("auto", "fp16"), ("fp16", "fp16"), ("fp32", "fp32")):
        assert Inductor(torch.device("cuda"), setting).precision == wanted and Inductor(CPU, setting).precision == "fp32"
    interpreted(monkeypatch)
    # bf16 on the CPU stands for fp16 on CUDA: autocast's casts must be in what was traced, for no caller sets them again.
    monkeypatch.setattr(engine_inductor.devices, "arithmetic", lambda *_: torch.autocast("cpu", dtype=torch.bfloat16))
    batch = torch.randn(1, 3, 16, 16)
    form = Inductor(CPU, "auto").compile(Small(), batch, tuple(batch.shape), "")
    with torch.no_grad(), torch.autocast("cpu", dtype=torch.bfloat16):
        expected = Small()(batch)[0]
    assert torch.equal(form(batch)[0], expected) and not torch.equal(expected, Small()(batch)[0])
