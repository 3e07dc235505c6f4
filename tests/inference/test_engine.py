"""The engine for CPUs: the same labels as eager torch, and eager wherever it cannot be trusted."""

from __future__ import annotations

import logging
import threading

import numpy as np
import pytest
import torch
from torch import nn

from seg_demo.core import settings
from seg_demo.inference import openvino
from seg_demo.inference.model import Model
from seg_demo.inference.openvino import TOLERANCE, DisagreementError, agree
from seg_demo.networks.fcn import FCN
from tests.checkpoints import CELLS, IMAGE
from tests.engines import LARGER, Small, own_cache, part, served, settled  # noqa: F401  (fixtures)

pytestmark = pytest.mark.skipif(not settings.has_openvino(), reason="openvino is not installed")


def margins(model: Model, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of eager logits, and by how much of the largest value they win."""
    checkpoint = model._run.network
    with torch.inference_mode():
        logits = checkpoint.forward(checkpoint.module, checkpoint.preprocess(image))
    logits = torch.cat([logits, -logits], 1) if logits.shape[1] == 1 else logits
    best = logits.topk(2, dim=1).values
    return logits, (best[:, 0] - best[:, 1]) / logits.abs().max()


SLOW = [pytest.param(kind, marks=pytest.mark.soak) for kind in ("segformer", "fcn")]


@pytest.mark.parametrize("kind", ["unet", "tiny", pytest.param("binary", marks=pytest.mark.soak), *SLOW])
def test_every_label_is_eagers_but_at_rounding(kind, folders, tmp_path):
    folder = folders / kind
    if kind == "fcn":
        folder = tmp_path / kind
        torch.manual_seed(0)
        FCN.create(CELLS, FCN.default_options()).save(folder)
    fast, eager = served(folder, kind)
    for image in (IMAGE, LARGER):
        for _ in range(2):  # a size of its own is compiled when it comes again
            settled(fast.predict, image)
        assert fast._run.engine.part._forms
        with torch.inference_mode():
            checkpoint = eager._run.network
            batch = checkpoint.preprocess(image)
            compiled = fast._run.engine(batch)
        expected, margin = margins(eager, image)
        compiled = torch.cat([compiled, -compiled], 1) if compiled.shape[1] == 1 else compiled
        other = compiled.argmax(1) != expected.argmax(1)
        assert not other.any() or margin[other].max() <= 2 * TOLERANCE["fp32"]
        same = fast.predict(image).id_map == eager.predict(image).id_map
        assert same.mean() >= 0.999, (kind, image.shape)
        assert fast.predict(image).device == "cpu"


def test_objects_are_eagers(folders):
    fast, eager = served(folders / "maskrcnn", "maskrcnn")
    for image in (IMAGE, LARGER):
        before, after = settled(fast.predict, image, 0.0)
        expected = eager.predict(image, 0.0)
        np.testing.assert_array_equal(before.id_map, expected.id_map)
        assert len(expected.segments) > 5 and len(after.segments) == len(expected.segments)
        for mine, theirs in zip(after.segments, expected.segments, strict=True):
            assert mine.label_id == theirs.label_id and mine.score == pytest.approx(theirs.score, abs=1e-4)
        assert (after.id_map == expected.id_map).mean() >= 0.999
    parts = fast._run.engine
    assert all(len(each._forms) == 1 for each in (parts._pyramid, parts._boxes, parts._masks))
    assert fast.nbytes > eager.nbytes
    nothing = torch.zeros(0, 64, 14, 14)
    assert parts._masks(nothing)[0].shape[0] == 0, "no object at all"


def test_the_first_answers_wait_for_nothing():
    gate = threading.Event()
    openvino.submit_compiling(lambda: gate.wait(30))
    small, batch = part(), torch.randn(1, 3, 16, 16)
    expected = small.module(batch)[0]
    for _ in range(3):
        torch.testing.assert_close(small(batch)[0], expected, rtol=0, atol=0)
    assert not small._forms
    gate.set()
    assert openvino.drain_compiling(60) and len(small._forms) == 1
    torch.testing.assert_close(small(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_whoever_has_much_to_do_may_wait_for_the_form():
    gate, small, batch, looked = threading.Event(), part(), torch.randn(1, 3, 16, 16), []
    openvino.submit_compiling(lambda: gate.wait(30))
    small(batch)

    def idle() -> None:
        looked.append(len(small._forms))
        if len(looked) == 2:
            gate.set()

    small.settle(idle)
    assert looked[:2] == [0, 0] and len(small._forms) == 1
    small.settle(pytest.fail)  # nothing is under way


def test_what_a_caller_writes_into_an_answer_does_not_reach_the_check(caplog):
    gate = threading.Event()
    openvino.submit_compiling(lambda: gate.wait(30))
    small, batch = part(), torch.randn(1, 3, 16, 16)
    small(batch)[0].fill_(7.0)
    batch.zero_()
    gate.set()
    assert openvino.drain_compiling(60) and small._forms and not caplog.records


class Wrong:
    """Stands for a compiled form; computes something slightly else, or fails when told to."""

    def __init__(self, form, factor=1.001, failing=False) -> None:
        self.form, self.factor, self.failing = form, factor, failing

    def __call__(self, batch):
        if self.failing:
            raise RuntimeError("Could not allocate memory")
        return tuple(each * self.factor for each in self.form(batch))


def test_a_form_that_disagrees_is_not_taken_and_that_is_said_once(monkeypatch, caplog):
    compile = openvino.compile
    monkeypatch.setattr(openvino, "compile", lambda *arguments: Wrong(compile(*arguments)))
    small, batch = part(), torch.randn(1, 3, 16, 16)
    expected = small.module(batch)[0]
    for _ in range(3):
        before, after = settled(small, batch)
        assert torch.equal(before[0], expected) and torch.equal(after[0], expected)
    warned = [record for record in caplog.records if record.levelno >= logging.WARNING]
    assert len(warned) == 1 and "outputs differ by" in warned[0].getMessage() and "eager torch" in warned[0].getMessage()


class Baked(nn.Module):
    """Its graph keeps the height of the example, so that it is right for that height alone."""

    def forward(self, batch):
        return (batch * float(batch.shape[2]),)


def test_a_graph_that_is_right_for_one_size_only_is_not_taken(caplog):
    small, batch = part(Baked()), torch.randn(1, 3, 16, 16)
    settled(small, batch)
    assert not small._forms and "was not taken" in caplog.text
    assert torch.equal(small(batch[:, :, :12])[0], batch[:, :, :12] * 12)


def test_what_cannot_be_compiled_stays_eager(monkeypatch, caplog):
    def broken(*arguments):
        raise RuntimeError("No conversion rule found")

    monkeypatch.setattr(openvino, "convert", broken)
    small, batch = part(), torch.randn(1, 3, 16, 16)
    before, after = settled(small, batch)
    assert torch.equal(before[0], after[0]) and "No conversion rule found" in caplog.text


def test_a_form_that_fails_later_is_replaced_by_eager(caplog):
    small, batch = part(), torch.randn(1, 3, 16, 16)
    settled(small, batch)
    (place, form), expected = *small._forms.items(), small.module(batch)[0]
    small._forms[place] = Wrong(form, failing=True)
    assert torch.equal(small(batch)[0], expected) and "Could not allocate memory" in caplog.text
    assert not small._forms and small.nbytes == 0
    settled(small, batch)
    assert not small._forms and len(caplog.records) == 1


def test_agreement_is_relative_to_each_outputs_largest_value():
    small, large = torch.tensor([1.0, -2.0]), torch.tensor([0.0, 1000.0])
    agree((small, large), (small + 1e-4, large + 0.05), TOLERANCE["fp32"])
    with pytest.raises(DisagreementError, match="differ by 0.001 where the largest is 2"):
        agree((small + 1e-3, large), (small, large), TOLERANCE["fp32"])
    with pytest.raises(DisagreementError, match="nan"):
        agree((torch.tensor([1.0, float("nan")]),), (small,), TOLERANCE["fp32"])
    with pytest.raises(DisagreementError, match=r"\(2,\)\] instead of \[\(1,\)"):
        agree((small,), (small[:1],), TOLERANCE["fp32"])


def test_broken_weights_are_neither_compiled_nor_blamed_on_the_engine(caplog):
    module = Small()
    module.layer.weight.data[0] = float("nan")
    small = part(module)
    settled(small, torch.randn(1, 3, 16, 16))
    assert not small._forms and not caplog.records
