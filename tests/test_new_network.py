"""Two families of networks written here alone, one of logits per pixel and one with a task of its own, are found everywhere.

No other file knows their names: what this test needs to add is what somebody who adds a family has to write.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from gradio_client import Client, handle_file
from PIL import Image
from scipy import ndimage
from torch import Tensor, nn

from seg_demo import load_model, networks
from seg_demo.__main__ import main
from seg_demo.core import types
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.settings import settings
from seg_demo.core.types import SEMANTIC, Segment, Segmentation, Task, paint
from seg_demo.datasets.sample import from_prediction
from seg_demo.datasets.store import drawn_as
from seg_demo.gateway.visitor import Upload
from seg_demo.hub import client as push
from seg_demo.hub import lookup
from seg_demo.networks import Family
from seg_demo.networks.base import Network, PixelNetwork, TrainingDefaults, normalised
from seg_demo.serving import catalog
from seg_demo.ui import batch_tab, compare_tab
from seg_demo.ui.demo import build_demo
from tests.hub_stand_in import HubStandIn
from tests.served import ROOT
from tests.train.test_finetune import CHECKPOINT, TOKEN, arguments, data, names  # noqa: F401
from train import evaluate, finetune

DOTS, SPOTS = "dots", "spots"
FINDS = Task(SPOTS, segment="object", metric="covered")
SNIPPET = """from pathlib import Path
from huggingface_hub import hf_hub_download
from safetensors.torch import load_file
from torch import nn

model = nn.Sequential(nn.Conv2d(3, {width}, 3, padding=1), nn.ReLU(), nn.Conv2d({width}, {count}, 1))
folder = Path("{source}")
weights = folder / "model.safetensors" if folder.is_dir() else hf_hub_download("{source}", "model.safetensors")
model.load_state_dict(load_file(weights))
"""


class Dots(PixelNetwork):
    """Two convolutions."""

    family = Family(DOTS, "Dots", "torch", (SEMANTIC,))
    training = TrainingDefaults()

    @staticmethod
    def default_options() -> dict[str, Any]:
        return {"width": 6}

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        width = options["width"]
        return nn.Sequential(nn.Conv2d(3, width, 3, padding=1), nn.ReLU(), nn.Conv2d(width, num_classes, 1))

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> Tensor:
        return module(batch)

    def card_snippet(self, source: str) -> str:
        return SNIPPET.format(width=self.options["width"], count=len(self.labels), source=source)


class Spots(Network):
    """The same convolutions, whose connected pieces are the answer: objects without scores, none upon another."""

    family = Family(SPOTS, "Spots", "torch", (FINDS,))
    training = TrainingDefaults(least_steps=2)
    default_options, build, forward = map(staticmethod, (Dots.default_options, Dots.build, Dots.forward))
    card_snippet = Dots.card_snippet

    def postprocess(self, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
        rows, columns = self.preprocessing.fitted(height, width)
        inside = F.interpolate(raw[..., :rows, :columns], (height, width), mode="bilinear")[0].argmax(0).numpy()
        segments = []
        for label in range(1, len(self.labels)):
            pieces, _ = ndimage.label(inside == label)
            for number, (across, along) in enumerate(ndimage.find_objects(pieces), start=1):
                box = along.start, across.start, along.stop, across.stop
                segments.append(Segment(label, None, box, pieces[across, along] == number))
        return Segmentation(self.task.name, height, width, self.labels, paint(segments, height, width), segments)

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Any, share: float) -> Tensor:
        wanted = torch.zeros((len(images), *images.shape[-2:]), dtype=torch.int64)
        for row, objects in zip(wanted, truth, strict=True):
            for label, mask in zip(objects["labels"], objects["masks"], strict=True):
                row[mask.bool()] = label
        return share * F.cross_entropy(module(normalised(images, self.preprocessing)), wanted)


class Meter:
    """The share of what is marked by one of both that both mark."""

    def __init__(self, labels: Any, network: Any) -> None:
        self.shares: list[float] = []

    def add(self, truth: np.ndarray, found: np.ndarray) -> float:
        either = ((truth > 0) | (found > 0)).sum()
        self.shares.append(float(((truth > 0) & (found > 0)).sum() / either) if either else 1.0)
        return self.shares[-1]

    def result(self) -> dict[str, float]:
        return {FINDS.metric: float(np.mean(self.shares))}


@pytest.fixture(scope="module")
def registered():
    """Both families, the task and its meter; as long as this file's tests last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(networks, "FAMILIES", dict(networks.FAMILIES))
        for table, key, value in ((types.TASKS, SPOTS, FINDS), (evaluate.METERS, SPOTS, None)):
            patch.setitem(table, key, value)
            del table[key]
        types.register_task(FINDS)
        evaluate.METERS[SPOTS] = Meter, lambda sample, prediction: (sample.instance_map, prediction.id_map)
        networks.register(Dots)
        networks.register(Spots)
        yield


@pytest.fixture(scope="module")
def pushed(registered, data, tmp_path_factory):  # noqa: F811
    """The Hub with what fine-tuning of both has pushed, the menu that shows both, and the run folders by name."""
    runs = {}
    try:
        with pytest.MonkeyPatch.context() as patch, HubStandIn() as hub:
            shutil.rmtree(Path(os.environ["HF_HOME"]), ignore_errors=True)
            lookup.forget()
            hub.add_user("ann", TOKEN)
            patch.setenv("HF_TOKEN", TOKEN)
            patch.setattr(push, "FIRST_PAUSE", 0.01)
            patch.setenv("SEG_DEMO_MODELS", f"ann/{DOTS},ann/{SPOTS}={SPOTS},unet-cells")
            patch.setenv("SEG_DEMO_DEVICE", "cpu")
            settings.cache_clear()
            for name in (DOTS, SPOTS):
                runs[name] = tmp_path_factory.mktemp(name) / "run"
                more = ["--model", name, "--max-steps", "30", "--lr", "0.02", "--push", f"ann/{name}"]
                assert finetune.main(arguments(data, runs[name], *more)) == 0
            yield runs
    finally:
        lookup.forget()
        settings.cache_clear()


@pytest.fixture(scope="module")
def picture(data) -> Path:  # noqa: F811
    return data / "images" / "01.png"


@pytest.fixture(scope="module")
def api(pushed):
    """The page, served by this process, which alone knows the two families."""
    demo = build_demo()
    demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield demo, Client(demo.local_url, verbose=False)
    demo.close()


def test_fine_tuning_writes_a_checkpoint_that_says_what_it_is(pushed) -> None:
    for name, task in ((DOTS, SEMANTIC), (SPOTS, FINDS)):
        best = pushed[name] / "best"
        assert names(best) == CHECKPOINT
        assert networks.identify(best) == name and type(networks.load(best)) is networks.network(name)
        metrics = json.loads((best / "training.json").read_text())["metrics"]
        assert metrics[task.metric] > 0.5, "thirty steps tell bright from dark"
        card = (best / "README.md").read_text()
        assert f"{name}" in card and f"{task.name} segmentation" in card and f"| {metrics[task.metric]:.4f} |" in card
        code = card.split("```python\n")[1].split("\n```")[0].replace(f"ann/{name}", str(best))
        scope: dict[str, Any] = {}
        exec(code, scope)
        ours = networks.load(best).module.state_dict()
        assert all(torch.equal(tensor, ours[key]) for key, tensor in scope["model"].state_dict().items())


def test_the_run_goes_on_where_it_was(pushed, data: Path, tmp_path: Path) -> None:  # noqa: F811
    run = tmp_path / "run"
    shutil.copytree(pushed[SPOTS], run)
    assert finetune.main(["--resume", str(run)]) == 0
    assert names(run / "best") == CHECKPOINT


def test_what_was_pushed_is_loaded_and_found_in_python_and_on_the_command_line(pushed, picture: Path, tmp_path: Path, capsys) -> None:
    for name, task in ((DOTS, SEMANTIC), (SPOTS, FINDS)):
        model = load_model(f"ann/{name}", device="cpu")
        assert (model.spec.architecture, model.spec.task) == (name, task.name)
        result = model.predict(picture)
        assert result.task == task.name and {"background", "disc"} >= {row["label"] for row in result.to_dict()["segments"]}
        assert any(segment.label_id == 1 for segment in result.segments)
        assert main(["check", f"ann/{name}"]) == 0
        assert f"{networks.title_of(name)} ({task.name}, torch)" in capsys.readouterr().out
        assert main(["segment", str(picture), "--model", f"ann/{name}", "--out", str(tmp_path / name), "--device", "cpu"]) == 0
        drawing = from_prediction(result, result.labels, drawn_as(task.name))
        assert (drawing.objects is None) == (not task.objects) and not drawing.missing, "and corrected by hand"
        written = json.loads((tmp_path / name / "coco.json").read_text())
        assert written["info"]["task"] == task.name and written["annotations"]
    assert main(["models"]) == 0
    rows = capsys.readouterr().out
    assert all(f"ann/{name}" in rows for name in (DOTS, SPOTS))


def test_full_detail_goes_over_a_large_picture_tile_by_tile(pushed, picture: Path) -> None:
    large = np.tile(np.asarray(Image.open(picture).convert("RGB")), (20, 16, 1))
    reports: list[float | None] = []
    for name in (DOTS, SPOTS):
        model = load_model(f"ann/{name}", device="cpu")
        once = model.predict(picture)
        found = model.predict(large, detail="full", report=lambda part, text: reports.append(part))
        assert reports and reports[-1] == 1.0 and found.seen is None
        share = lambda result: np.mean([result.labels.names[s.label_id] == "disc" for s in result.segments])  # noqa: E731
        marked = [(result.id_map > 0).mean() for result in (once, found)]
        assert marked[1] == pytest.approx(marked[0], rel=0.1) and share(found) > 0
        if name == SPOTS:
            assert len(found.segments) > 100, "objects of all tiles, each once"


def test_the_menu_the_page_and_the_interface_have_them(api, picture: Path) -> None:
    demo, client = api
    for name in (DOTS, SPOTS):  # what a model of the Hub is, is known once it has been fetched
        client.predict(handle_file(picture), f"ann/{name}", api_name="/segment")
    listed = {row["id"]: row for row in client.predict(api_name="/models")}
    for name, task in ((DOTS, SEMANTIC), (SPOTS, FINDS)):
        row = listed[f"ann/{name}"]
        assert (row["task"], row["architecture"], row["available"]) == (task.name, name, True) and "disc" in row["labels"]
        result, mask, overlay = client.predict(handle_file(picture), f"ann/{name}", api_name="/segment")
        assert result["task"] == task.name and result["model"]["architecture"] == name
        assert np.asarray(Image.open(mask)).shape == (48, 64) and Image.open(overlay).size == (64, 48)
        detailed, *_ = client.predict(handle_file(picture), f"ann/{name}", detail="full", api_name="/segment")
        assert [segment["bbox"] for segment in detailed["segments"]] == [segment["bbox"] for segment in result["segments"]]
    boxes = {part["props"].get("elem_id"): part["props"] for part in demo.get_config_file()["components"]}

    def offered(box: str) -> set[str]:
        return {choice[1] for choice in boxes[box]["choices"]}

    assert f"ann/{DOTS}" in offered(f"{SEMANTIC.name}-model") and offered(f"{SPOTS}-model") == {f"ann/{SPOTS}"}
    assert boxes[f"{SPOTS}-threshold"]["visible"] is False, "its objects have no scores"
    for everywhere in ("batch-model", "compare-models", "finetune-base", "correct-model"):
        assert {f"ann/{DOTS}", f"ann/{SPOTS}"} <= offered(everywhere)
    assert any(part["props"].get("label") == "Spots" for part in demo.get_config_file()["components"]), "a tab of its own"


def test_batch_and_compare_take_them(pushed, picture: Path, data: Path, tmp_path: Path) -> None:  # noqa: F811
    files = [data / "images" / f"{index:02d}.png" for index in range(3)]
    for name in (DOTS, SPOTS):
        folder = tmp_path / name
        folder.mkdir()
        picked, refused = batch_tab.gather(files, folder / "in")
        (folder / "out").mkdir()
        model = load_model(f"ann/{name}", device="cpu")
        *_, report = batch_tab.segment_all(picked, refused, model.predict, folder / "out", None, threading.Event())
        assert report.done == 3 and report.pieces == (name == DOTS)
        assert (folder / "out" / "counts.csv").is_file()
    shown, told, *_ = compare_tab.run_compare(
        Upload(picture, "picture"), [f"ann/{DOTS}", f"ann/{SPOTS}", "unet-cells"], 0.5, None, None, lambda *_, **__: None
    )
    assert [result.task for result in shown.results] == [SEMANTIC.name, SPOTS, SEMANTIC.name]


def test_a_second_of_the_same_name_is_refused_and_an_unknown_one_lists_them(registered) -> None:
    with pytest.raises(ValueError, match="two networks 'dots'"):
        networks.register(Dots)
    with pytest.raises(ValueError, match="two tasks 'spots'"):
        types.register_task(FINDS)
    with pytest.raises(BadCheckpointError, match="no network 'dotz'.*unet.*dots, spots"):
        networks.network("dotz")


def test_nobody_else_knows_a_networks_name() -> None:
    """Outside ``networks/`` names stand in the catalogue's table and in what people may choose."""
    found = subprocess.run(
        ["grep", "-rnE", '"(maskrcnn|unet|segformer|fcn)"', "seg_demo", "train", "--include=*.py"],
        cwd=ROOT, capture_output=True, text=True,
    ).stdout.splitlines()  # fmt: skip
    allowed = ("seg_demo/networks/", "seg_demo/serving/catalog.py", "train/config.py")
    assert [line for line in found if not line.startswith(allowed)] == []
    code = "import sys, seg_demo.networks as n; assert set(n.FAMILIES) and 'torch' not in sys.modules"
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT).returncode == 0
    assert catalog.EVERYDAY
