"""What the engine keeps: compiled forms per size, files on the disk, and every thread its own answers."""

from __future__ import annotations

import errno
import gc
import subprocess
import sys
import threading
import time
import weakref
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest
import torch

from seg_demo import networks
from seg_demo.core import requests, settings, storage  # fmt: skip
from seg_demo.core.errors import SettingsError
from seg_demo.core.settings import Settings
from seg_demo.inference import engine, openvino
from seg_demo.inference.model import Model
from seg_demo.inference.openvino import OpenVino, Part
from seg_demo.networks.universal import STAGES
from seg_demo.serving import predictor
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE
from tests.engines import CPU, Small, conversions, own_cache, part, settled  # noqa: F401  (fixtures)
from tests.networks.contract import LABELS
from tests.networks.test_rfdetr import TINY as RFDETR
from tests.networks.test_universal import TINY as UNIVERSAL

pytestmark = pytest.mark.skipif(not settings.has_openvino(), reason="openvino is not installed")


def test_sizes_of_their_own_are_compiled_when_they_come_again_and_few_are_kept(monkeypatch):
    monkeypatch.setattr(openvino, "MOST_FORMS", 2)
    small = part(free=())
    sizes = [torch.randn(1, 3, side, side) for side in (8, 12, 16)]
    settled(small, sizes[0])
    assert list(small._forms) == [(1, 3, 8, 8)], "the first is compiled at once"
    small(sizes[1])
    assert openvino.drain_compiling(60) and len(small._forms) == 1, "others are not for the first time"
    settled(small, sizes[1])
    assert len(small._forms) == 2
    small(sizes[0])
    settled(small, sizes[2])
    settled(small, sizes[2])
    assert list(small._forms) == [(1, 3, 8, 8), (1, 3, 16, 16)], "the least recently used one went"
    assert small.nbytes == 2 * sum(each.numel() * 4 for each in small.module.parameters())


def test_who_began_before_the_form_was_there_has_it_made_no_second_time(monkeypatch):
    entered, gate, made = threading.Event(), threading.Event(), []

    class Held(Small):
        def forward(self, batch):
            if threading.current_thread().name == "late":
                entered.set()
                gate.wait(60)
            return super().forward(batch)

    held, compile = part(Held()), OpenVino.compile
    monkeypatch.setattr(OpenVino, "compile", lambda self, *arguments: made.append(1) or compile(self, *arguments))
    late = threading.Thread(target=held, args=(torch.randn(1, 3, 16, 16),), name="late")
    late.start()
    assert entered.wait(60)
    settled(held, torch.randn(1, 3, 16, 16))
    assert made == [1]
    gate.set()
    late.join()
    assert openvino.drain_compiling(60) and made == [1]


def test_compiling_waits_while_others_wait_but_not_for_ever(monkeypatch):
    waiting = threading.Event()
    waiting.set()
    monkeypatch.setattr(openvino, "LOOK_SECONDS", 0.01)
    busy = part()
    with requests.opened(requests.Request("test", crowded=waiting.is_set)):
        busy(torch.randn(1, 3, 16, 16))
    assert not openvino.drain_compiling(0.5) and not busy._forms, "the crowd goes first"
    waiting.clear()
    assert openvino.drain_compiling(60) and busy._forms
    waiting.set()
    monkeypatch.setattr(openvino, "CROWDED_SECONDS", 0.1)
    never = part()
    with requests.opened(requests.Request("test", crowded=waiting.is_set)):
        never(torch.randn(1, 3, 16, 16))
    assert openvino.drain_compiling(60) and never._forms, "a crowd that never ends is no reason to stay slow"


def test_it_is_traced_once_and_read_from_the_disk_afterwards(conversions):  # noqa: F811
    batch = torch.randn(1, 3, 16, 16)
    settled(part(), batch)
    again = part()
    settled(again, batch)
    assert again._forms and conversions == ["Small"]
    settled(part(Small(seed=1)), batch)
    assert len(conversions) == 2, "other weights are another network"
    settled(Part("small", Small(), openvino.OpenVino(1), (0, 2, 3), lambda batch: batch, "other options"), batch)
    assert len(conversions) == 3
    graphs = sorted(openvino.cache_root().glob("*/graph.xml"))
    assert len(graphs) == 3 and not list(openvino.cache_root().glob(".*"))
    for path in graphs:
        path.write_text("<net", encoding="ascii")
    repaired = part()
    settled(repaired, batch)
    assert repaired._forms and len(conversions) == 4, "a damaged file is made again"


def test_a_damaged_file_of_compiled_code_is_made_again():
    batch = torch.randn(1, 3, 16, 16)
    settled(part(), batch)
    blobs = list(openvino.cache_root().rglob("*.blob"))
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


# Another process that has a folder to itself, until its input ends.
HOLDER = """
import sys
from pathlib import Path
from seg_demo.core import locked
with locked(Path(sys.argv[1])) as held:
    print(held, flush=True)
    sys.stdin.read()
"""


@pytest.mark.skipif(sys.platform == "win32", reason="files that are mapped cannot be rewritten there")
def test_processes_compile_one_after_the_other_in_a_folder(monkeypatch):
    """OpenVINO writes its file in place: a process that had it mapped died of a bus error, when another one had begun at the same time."""
    graph, folder = openvino.stored_graph(Small(), torch.randn(1, 3, 16, 16), "")

    def compiled():
        return openvino.compile(openvino.read(folder / "graph.xml"), [-1, 3, -1, -1], 1, folder)

    with subprocess.Popen([sys.executable, "-c", HOLDER, str(folder)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as other:
        assert other.stdout.readline() == "True\n"
        monkeypatch.setattr(openvino, "ALONE_SECONDS", 0.0)
        assert len(compiled()(torch.ones(1, 3, 8, 8))) == 1 and not list(folder.glob("*.blob"))
        monkeypatch.setattr(openvino, "ALONE_SECONDS", 60.0)
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(compiled)
            with pytest.raises(TimeoutError):
                waiting.result(timeout=0.5)
            other.stdin.close()
            waiting.result(timeout=60)
    (kept,) = folder.glob("*.blob")
    before = kept.stat()
    with monkeypatch.context() as without:  # a disk that has no locks: at once, and nothing is kept
        without.setattr(storage.fcntl, "flock", lambda *_: (_ for _ in ()).throw(OSError(errno.ENOLCK, "No locks available")))
        began = time.monotonic()
        openvino.compile(openvino.read(folder / "graph.xml"), [1, 3, 8, 8], 1, folder)
        assert time.monotonic() - began < 30 and len(list(folder.glob("*.blob"))) == 1
    compiled()
    after = kept.stat()
    assert (before.st_ino, before.st_mtime_ns) == (after.st_ino, after.st_mtime_ns)


def test_the_cache_stays_below_its_limit(monkeypatch):
    batch = torch.randn(1, 3, 16, 16)
    settled(part(), batch)
    settled(part(Small(seed=1)), batch)
    assert len(list(openvino.cache_root().iterdir())) == 2
    monkeypatch.setattr(openvino, "LIMIT", 1)
    settled(part(Small(seed=2)), batch)
    assert [each.name for each in openvino.cache_root().iterdir()] == [openvino.cache_key(Small(seed=2), "")]


def test_many_threads_get_their_own_answers():
    small = part()
    batches = [torch.randn(1, 3, 8 + 4 * side, 20) for side in range(4)] * 6
    expected = [small.module(each)[0] for each in batches]
    settled(small, batches[0])
    with ThreadPoolExecutor(6) as pool:
        for found, wanted in zip(pool.map(small, batches), expected, strict=True):
            torch.testing.assert_close(found[0], wanted, rtol=1e-4, atol=1e-5)


def test_logits_may_stay_as_kernels_leave_them():
    """Channels last saves a copy of all logits; the numbers are the same."""
    plain, last = part(), Part("small", Small(), openvino.OpenVino(1, channels_last=True), (0, 2, 3), lambda each: each, "")
    batch = torch.randn(2, 3, 16, 20)
    expected, found = settled(plain, batch)[1][0], settled(last, batch)[1][0]
    assert plain._forms and last._forms and torch.equal(found, expected)
    assert expected.is_contiguous() and found.is_contiguous(memory_format=torch.channels_last)


def test_a_heavy_form_gives_its_working_memory_back_and_answers_the_same_from_several_threads():
    module, batches = Small(), [torch.randn(1, 3, side, side) for side in (16, 32, 48, 64)]
    form = openvino.OpenVino(2, heavy=True).compile(module, batches[0], (1, 3, -1, -1), "small")
    assert form.heavy
    expected = [form(batch)[0].clone() for batch in batches]
    with ThreadPoolExecutor(4) as threads:
        found = list(threads.map(lambda index: form(batches[index % 4])[0], range(40)))
    assert all(torch.equal(one, expected[index % 4]) for index, one in enumerate(found))


def test_answers_outlive_the_next_call():
    small, batch = part(), torch.randn(1, 3, 16, 16)
    _, first = settled(small, batch)
    kept = first[0].clone()
    small(torch.randn(1, 3, 16, 16))
    assert torch.equal(first[0], kept)


def test_where_it_serves(folders, monkeypatch):
    checkpoint = networks.load(folders / "tiny")
    assert engine.choose(checkpoint, CPU, "eager", 1) is None
    assert engine.choose(checkpoint, torch.device("cuda"), "auto", 1) is None
    assert isinstance(engine.choose(checkpoint, CPU, "auto", 1), engine.WholeEngine)
    with pytest.raises(SettingsError, match="for CPUs, but the device is cuda"):
        engine.choose(checkpoint, torch.device("cuda"), "openvino", 1)
    monkeypatch.setattr(settings, "has_openvino", lambda: False)
    assert engine.choose(checkpoint, CPU, "auto", 1) is None
    with pytest.raises(SettingsError, match="not installed. Run pip install openvino"):
        engine.choose(checkpoint, CPU, "openvino", 1)


def test_without_the_memory_that_compiling_takes_it_stays_eager(caplog):
    module, batch = Small(), torch.randn(1, 3, 16, 16)
    poor = Part("small", module, openvino.OpenVino(1, free=lambda: openvino.COMPILING - 1), (2, 3), lambda example: example, "small")
    before, after = settled(poor, batch)
    assert not poor._forms and torch.equal(before[0], after[0])
    heavy = openvino.OpenVino(1, heavy=True, free=lambda: openvino.HEAVY)
    with pytest.raises(MemoryError, match="compiling takes 2048 MiB"):
        heavy.compile(module, batch, (1, 3, -1, -1), "small")
    assert "compiling takes 512 MiB, and 511 MiB are free); eager torch goes on" in caplog.text


# As published, cut down: windows of a Swin are cut to the size of the traced example.
SWIN = {
    "backbone_config": {
        "model_type": "swin", "embed_dim": 24, "depths": [1, 1, 1, 1], "num_heads": [1, 2, 2, 4], "window_size": 7, "out_features": STAGES
    }
}  # fmt: skip


@pytest.mark.parametrize("name", ["mask2former", *(pytest.param(name, marks=pytest.mark.soak) for name in ("eomt", "rfdetr", "maskformer", "oneformer"))])
def test_class_queries_are_compiled_for_a_size_and_answer_as_before(name):
    torch.manual_seed(0)
    small = RFDETR if name == "rfdetr" else UNIVERSAL[name] | (SWIN if "former" in name else {})
    network = networks.network(name).create(LABELS, networks.network(name).default_options() | small)
    network.module.requires_grad_(False)
    chosen, batch = engine.choose(network, CPU, "auto", 1), network.preprocess(IMAGE)
    (before,), (after,) = settled(chosen, batch)
    assert list(chosen.part._forms) == [tuple(batch.shape)] and chosen.agreement > 0.99
    (expected,) = network.forward(network.module, batch)
    assert list(before) == list(after) == ["classes", "masks"]
    for key, values in expected.items():
        assert torch.equal(before[key], values)
        torch.testing.assert_close(after[key], values, rtol=1e-3, atol=1e-4 * float(values.abs().max()))
    if name == "oneformer":
        # What is asked is no constant of it.
        for task in network.tasks[1:]:
            (expected,), (found,) = (answer(network.answering(task).preprocess(IMAGE)) for answer in (partial(network.forward, network.module), chosen))
            for key, values in expected.items():
                assert not torch.allclose(values, after[key], rtol=1e-2, atol=1e-2 * float(values.abs().max()))
                torch.testing.assert_close(found[key], values, rtol=1e-3, atol=1e-4 * float(values.abs().max()))


def test_the_server_uses_it_by_itself_and_evaluation_does_not(folders, monkeypatch):
    monkeypatch.setattr(predictor, "settings", lambda: replace(Settings(), engine="auto"))
    serving = Predictor(replace(Settings(), engine="auto", device="cpu"))
    model = serving.get(str(folders / "tiny"), visitor=False)
    before, after = settled(model.predict, IMAGE)
    assert model._run.engine.part._forms and after.device == "cpu"
    assert (before.id_map == after.id_map).mean() >= 0.999
    spec = model.spec
    live = Model.from_network(predictor.load(replace(spec, source="folder"), folders / "tiny"), spec)
    assert live._run.engine is None
    assert engine.choose_device("cpu") == CPU


def test_eager_answers_are_exact_while_another_thread_traces():
    """Tracing goes on in the background of requests, and some of what torch changes for it is not this thread's alone."""
    other, batch = Small(seed=3), torch.randn(1, 3, 16, 16)
    expected, ended = other(batch)[0], threading.Event()

    def trace() -> None:
        for seed in range(40):
            openvino.convert(Small(seed), batch)
        ended.set()

    tracing = threading.Thread(target=trace)
    tracing.start()
    asked = 0
    while not ended.is_set():
        assert torch.equal(other(batch)[0], expected)
        asked += 1
    tracing.join()
    assert asked > 40


def test_tracing_leaves_the_module_alone_and_a_dropped_model_is_freed():
    small = part()
    before = {name: (type(value), id(value)) for name, value in small.module.layer._parameters.items()}
    state = list(small.module._modules), sorted(small.module.__dict__)
    settled(small, torch.randn(1, 3, 16, 16))
    assert small._forms
    assert before == {name: (type(value), id(value)) for name, value in small.module.layer._parameters.items()}
    assert state == (list(small.module._modules), sorted(small.module.__dict__))
    weight = weakref.ref(small.module.layer.weight)
    del small
    gc.collect()
    assert weight() is None


def test_importing_openvino_reports_to_nobody():
    openvino.library()
    assert not [name for name in sys.modules if name.startswith("openvino_telemetry")]


@pytest.mark.soak
def test_a_process_may_end_while_it_compiles(tmp_path):
    code = """
import torch
from torch import nn
from seg_demo.inference import openvino as engine_worker
from seg_demo.inference.openvino import OpenVino
from seg_demo.inference.openvino import Part
from seg_demo.networks.universal import STAGES
engine_worker.PAUSE = 0.0
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(*[nn.Conv2d(3 if i == 0 else 32, 32, 3) for i in range(30)])
    def forward(self, batch):
        return (self.layers(batch),)
part = Part("net", Net().eval().requires_grad_(False), OpenVino(1), (0, 2, 3), lambda batch: batch[..., :64, :64], "")
part(torch.randn(1, 3, 96, 96))
"""
    root = Path(__file__).parents[2]
    ended = subprocess.run(
        [sys.executable, "-c", code], cwd=root, env={"XDG_CACHE_HOME": str(tmp_path), "PATH": "", "OMP_NUM_THREADS": "1"},
        capture_output=True, text=True, timeout=120,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    assert not list(tmp_path.rglob(".*")), "nothing half-written is left"
