"""The engine for CPUs: the same labels as eager torch, compiled out of the way, and eager wherever it cannot be trusted."""

from __future__ import annotations

import logging
import subprocess
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seg_demo import networks
from seg_demo.errors import SettingsError
from seg_demo.models import building, devices, engine, engine_cache, engine_openvino, engine_part, engine_worker, loading
from seg_demo.models.engine_part import TOLERANCE, DisagreementError, Part, agree
from seg_demo.models.model import Model
from seg_demo.models.predictor import Predictor
from seg_demo.networks import fcn
from seg_demo.settings import Settings
from seg_demo.types import ModelSpec
from tests.checkpoints import CELLS, IMAGE

pytestmark = pytest.mark.skipif(not engine_openvino.installed(), reason="openvino is not installed")
CPU = torch.device("cpu")
LARGER = np.random.default_rng(1).integers(0, 256, (100, 131, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """An empty cache folder, and no pause before compiling."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(engine_worker, "PAUSE", 0.0)
    yield
    assert engine_worker.drain(60)


@pytest.fixture
def conversions(monkeypatch):
    """The names of modules that are traced during a test."""
    seen, convert = [], engine_openvino.convert

    def noted(module, example):
        seen.append(type(module).__name__)
        return convert(module, example)

    monkeypatch.setattr(engine_openvino, "convert", noted)
    return seen


class Small(nn.Module):
    """A convolution, a resize and a softmax's worth of numbers: a few milliseconds to compile."""

    def __init__(self, seed: int = 0) -> None:
        super().__init__()
        torch.manual_seed(seed)
        self.layer = nn.Conv2d(3, 5, 3, padding=1)
        self.eval().requires_grad_(False)

    def forward(self, batch):
        return (nn.functional.interpolate(self.layer(batch).relu(), scale_factor=2.0, mode="bilinear"),)


def part(module=None, free=(0, 2, 3)) -> Part:
    return Part("small", module or Small(), 1, free, lambda batch: batch[..., :8, :8], "")


def settled(call, *arguments):
    """What a call returns before and after everything has been compiled."""
    before = call(*arguments)
    assert engine_worker.drain(60)
    return before, call(*arguments)


def served(folder: Path, kind: str) -> tuple[Model, Model]:
    """A checkpoint behind the engine, and eager."""
    spec = ModelSpec(kind, None, "semantic", "", kind, "", "folder")
    made = []
    for wanted in ("openvino", "eager"):
        checkpoint = networks.load(folder)
        checkpoint.module.eval().requires_grad_(False)
        verbs = networks.network(checkpoint.architecture)
        chosen = engine.choose(checkpoint, verbs, CPU, wanted, 1)
        made.append(Model.from_checkpoint(checkpoint, spec, engine=chosen))
    return made[0], made[1]


def margins(model: Model, image: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
    """Labels of eager logits, and by how much of the largest value they win."""
    checkpoint = model._run._checkpoint
    verbs = networks.network(checkpoint.architecture)
    with torch.inference_mode():
        logits = verbs.forward(checkpoint.module, verbs.preprocess(checkpoint, image))
    logits = torch.cat([logits, -logits], 1) if logits.shape[1] == 1 else logits
    best = logits.topk(2, dim=1).values
    return logits, (best[:, 0] - best[:, 1]) / logits.abs().max()


SLOW = [pytest.param(kind, marks=pytest.mark.soak) for kind in ("segformer", "fcn")]


@pytest.mark.parametrize("kind", ["unet", "binary", "tiny", *SLOW])
def test_every_label_is_eagers_but_at_rounding(kind, folders, tmp_path):
    folder = folders / kind
    if kind == "fcn":
        folder = tmp_path / kind
        torch.manual_seed(0)
        networks.save(fcn.create(CELLS, fcn.default_options()), folder)
    fast, eager = served(folder, kind)
    for image in (IMAGE, LARGER):
        for _ in range(2):  # a size of its own is compiled when it comes again
            settled(fast.predict, image)
        assert fast._run.engine._part._forms
        with torch.inference_mode():
            checkpoint = eager._run._checkpoint
            batch = networks.network(checkpoint.architecture).preprocess(checkpoint, image)
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
    engine_worker.submit(lambda: gate.wait(30))
    small, batch = part(), torch.randn(1, 3, 16, 16)
    expected = small.module(batch)[0]
    for _ in range(3):
        torch.testing.assert_close(small(batch)[0], expected, rtol=0, atol=0)
    assert not small._forms
    gate.set()
    assert engine_worker.drain(60) and len(small._forms) == 1
    torch.testing.assert_close(small(batch)[0], expected, rtol=1e-4, atol=1e-5)


def test_what_a_caller_writes_into_an_answer_does_not_reach_the_check(caplog):
    gate = threading.Event()
    engine_worker.submit(lambda: gate.wait(30))
    small, batch = part(), torch.randn(1, 3, 16, 16)
    small(batch)[0].fill_(7.0)
    batch.zero_()
    gate.set()
    assert engine_worker.drain(60) and small._forms and not caplog.records


class Wrong:
    """Stands for a compiled form; computes something slightly else, or fails when told to."""

    def __init__(self, form, factor=1.001, failing=False) -> None:
        self.form, self.factor, self.failing = form, factor, failing

    def __call__(self, batch):
        if self.failing:
            raise RuntimeError("Could not allocate memory")
        return tuple(each * self.factor for each in self.form(batch))


def test_a_form_that_disagrees_is_not_taken_and_that_is_said_once(monkeypatch, caplog):
    compile = engine_openvino.compile
    monkeypatch.setattr(engine_openvino, "compile", lambda *arguments: Wrong(compile(*arguments)))
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

    monkeypatch.setattr(engine_openvino, "convert", broken)
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


def test_sizes_of_their_own_are_compiled_when_they_come_again_and_few_are_kept(monkeypatch):
    monkeypatch.setattr(engine_part, "KEPT", 2)
    small = part(free=())
    sizes = [torch.randn(1, 3, side, side) for side in (8, 12, 16)]
    settled(small, sizes[0])
    assert list(small._forms) == [(1, 3, 8, 8)], "the first is compiled at once"
    small(sizes[1])
    assert engine_worker.drain(60) and len(small._forms) == 1, "others are not for the first time"
    settled(small, sizes[1])
    assert len(small._forms) == 2
    small(sizes[0])
    settled(small, sizes[2])
    settled(small, sizes[2])
    assert list(small._forms) == [(1, 3, 8, 8), (1, 3, 16, 16)], "the least recently used one went"
    assert small.nbytes == 2 * sum(each.numel() * 4 for each in small.module.parameters())


def test_it_is_traced_once_and_read_from_the_disk_afterwards(conversions):
    batch = torch.randn(1, 3, 16, 16)
    settled(part(), batch)
    again = part()
    settled(again, batch)
    assert again._forms and conversions == ["Small"]
    settled(part(Small(seed=1)), batch)
    assert len(conversions) == 2, "other weights are another network"
    settled(Part("small", Small(), 1, (0, 2, 3), lambda batch: batch, "other options"), batch)
    assert len(conversions) == 3
    graphs = sorted(engine_cache.root().glob("*/graph.xml"))
    assert len(graphs) == 3 and not list(engine_cache.root().glob(".*"))
    for path in graphs:
        path.write_text("<net", encoding="ascii")
    repaired = part()
    settled(repaired, batch)
    assert repaired._forms and len(conversions) == 4, "a damaged file is made again"


def test_a_damaged_file_of_compiled_code_is_made_again():
    batch = torch.randn(1, 3, 16, 16)
    settled(part(), batch)
    blobs = list(engine_cache.root().rglob("*.blob"))
    assert blobs
    for blob in blobs:
        blob.write_bytes(blob.read_bytes()[:100])
    small = part()
    before, after = settled(small, batch)
    assert small._forms
    torch.testing.assert_close(before, after, rtol=1e-4, atol=1e-5)


def test_without_a_cache_folder_it_compiles_all_the_same(monkeypatch, tmp_path):
    (tmp_path / "file").write_text("", encoding="ascii")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    small = part()
    settled(small, torch.randn(1, 3, 16, 16))
    assert small._forms


def test_the_cache_stays_below_its_limit(monkeypatch):
    batch = torch.randn(1, 3, 16, 16)
    settled(part(), batch)
    settled(part(Small(seed=1)), batch)
    assert len(list(engine_cache.root().iterdir())) == 2
    monkeypatch.setattr(engine_cache, "LIMIT", 1)
    settled(part(Small(seed=2)), batch)
    assert [each.name for each in engine_cache.root().iterdir()] == [engine_cache.key(Small(seed=2), "")]


def test_many_threads_get_their_own_answers():
    small = part()
    batches = [torch.randn(1, 3, 8 + 4 * side, 20) for side in range(4)] * 6
    expected = [small.module(each)[0] for each in batches]
    settled(small, batches[0])
    with ThreadPoolExecutor(6) as pool:
        for found, wanted in zip(pool.map(small, batches), expected, strict=True):
            torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5)


def test_answers_outlive_the_next_call():
    small, batch = part(), torch.randn(1, 3, 16, 16)
    _, first = settled(small, batch)
    kept = first[0].clone()
    small(torch.randn(1, 3, 16, 16))
    assert torch.equal(first[0], kept)


def test_where_it_serves(folders, monkeypatch):
    checkpoint = networks.load(folders / "tiny")
    verbs = networks.network("segformer")
    assert engine.choose(checkpoint, verbs, CPU, "eager", 1) is None
    assert engine.choose(checkpoint, verbs, torch.device("cuda"), "auto", 1) is None
    assert isinstance(engine.choose(checkpoint, verbs, CPU, "auto", 1), engine.SemanticEngine)
    with pytest.raises(SettingsError, match="for CPUs, but the device is cuda"):
        engine.choose(checkpoint, verbs, torch.device("cuda"), "openvino", 1)
    monkeypatch.setattr(engine_openvino, "installed", lambda: False)
    assert engine.choose(checkpoint, verbs, CPU, "auto", 1) is None
    with pytest.raises(SettingsError, match="not installed. Run pip install openvino"):
        engine.choose(checkpoint, verbs, CPU, "openvino", 1)


def test_the_server_uses_it_by_itself_and_evaluation_does_not(folders, monkeypatch):
    monkeypatch.setattr(building, "settings", lambda: replace(Settings(), engine="auto"))
    serving = Predictor(replace(Settings(), engine="auto", device="cpu"))
    model = serving.get(str(folders / "tiny"), visitor=False)
    before, after = settled(model.predict, IMAGE)
    assert model._run.engine._part._forms and after.device == "cpu"
    assert (before.id_map == after.id_map).mean() >= 0.999
    spec = model.spec
    live = Model.from_checkpoint(loading.load(replace(spec, source="folder"), folders / "tiny"), spec)
    assert live._run.engine is None
    assert devices.choose_device("cpu") == CPU


def test_importing_openvino_reports_to_nobody():
    engine_openvino.library()
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]


def test_a_process_may_end_while_it_compiles(tmp_path):
    code = """
import torch
from torch import nn
from seg_demo.models import engine_worker
from seg_demo.models.engine_part import Part
engine_worker.PAUSE = 0.0
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Conv2d(3 if i == 0 else 32, 32, 3) for i in range(30)])
    def forward(self, batch):
        return (self.layers(batch),)
part = Part("net", Net().eval().requires_grad_(False), 1, (0, 2, 3), lambda batch: batch[..., :64, :64], "")
part(torch.randn(1, 3, 96, 96))
"""
    root = Path(__file__).parents[1]
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.rglob(".*")), "nothing half-written is left"
