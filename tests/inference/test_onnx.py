"""Networks as ONNX files: ONNX Runtime's labels are the oracle's, which is torch, at sizes that the graph was not made with."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx as onnx_library
import onnxruntime
import pytest
import torch
from PIL import Image
from skimage import data
from torch import Tensor

from seg_demo import load_model, networks
from seg_demo.__main__ import main
from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import SEMANTIC, LabelSet
from seg_demo.inference import onnx
from seg_demo.networks import Family
from seg_demo.networks.base import Graph, Network, PixelNetwork, Tensors
from seg_demo.networks.preprocessing import Preprocessing
from seg_demo.serving.catalog import BUNDLED_FOLDER
from tests.checkpoints import CELLS, FEW, TWO
from tests.networks.contract import LABELS, randomise
from tests.networks.test_rfdetr import TINY as TINY_RFDETR
from tests.networks.test_rfdetr import outspoken as outspoken_rfdetr
from tests.networks.test_universal import TINY, outspoken
from tests.test_new_network import Dots
from tests.tiled import small_unet


class Negated(Dots):
    """A network whose graph says the opposite of it."""

    family = Family("negated", "Negated", "torch", (SEMANTIC,))

    def graph(self) -> Graph:
        return replace(super().graph(), module=Tensors(self.module, lambda module, batch: (-module(batch),)))


class Silent(Dots):
    """A network that nobody has written a graph for."""

    family = Family("silent", "Silent", "torch", (SEMANTIC,))

    def graph(self) -> Graph:
        return Network.graph(self)


class Bands(Dots):
    """Four channels that are no colours."""

    @staticmethod
    def build(num_classes: int, options: dict[str, int]) -> torch.nn.Module:
        return torch.nn.Sequential(torch.nn.Conv2d(4, 6, 3, padding=1), torch.nn.ReLU(), torch.nn.Conv2d(6, num_classes, 1))


def made(kind: type[Dots]) -> Dots:
    torch.manual_seed(0)
    return kind.create(LABELS, kind.default_options())


def test_a_file_takes_pictures_of_any_size_and_number_and_says_what_it_is(tmp_path: Path) -> None:
    network, path = made(Dots), tmp_path / "new" / "dots.onnx"
    done = onnx.export(network, path, about={"model": "ann/dots"})
    assert done.apart == 0 and done.worst < 1e-5 and done.classes > 1 and done.size == path.stat().st_size
    assert re.fullmatch(r"\w+ x 3 x \S*height\S* x \S*width\S*", done.input), done.input
    session = onnxruntime.InferenceSession(path)
    for shape in ((1, 3, 32, 64), (3, 3, 96, 32)):
        batch = torch.randn(shape)
        (logits,) = session.run(["logits"], {"pixel_values": batch.numpy()})
        torch.testing.assert_close(torch.from_numpy(logits), network.module(batch), atol=1e-5, rtol=1e-5)
    about = session.get_modelmeta().custom_metadata_map
    assert json.loads(about["labels"]) == list(LABELS.names) and about["task"] == "semantic" and about["model"] == "ann/dots"
    assert json.loads(about["preprocessing"])["longest_side"] == network.preprocessing.longest_side
    written = path.read_bytes()
    assert str(Path(__file__).parents[2]).encode() not in written, "no folder of this machine"
    onnx_library.checker.check_model(onnx_library.load(path))
    onnx.export(network, path, about={"model": "ann/dots"})
    assert path.read_bytes() == written, "the same network gives the same file, and a second push no commit"


def test_what_gives_other_labels_is_no_file(tmp_path: Path) -> None:
    path = tmp_path / "model.onnx"
    with pytest.raises(BadRequestError, match="other labels than torch"):
        onnx.export(made(Negated), path)
    assert list(tmp_path.iterdir()) == []


def test_every_network_that_cannot_says_why_and_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys) -> None:
    path = tmp_path / "model.onnx"
    for name in ("mask2former", "oneformer"):
        family = networks.network(name)
        with pytest.raises(BadRequestError, match="holds for pictures of one size alone.*U-Net or a SegFormer"):
            family.create(LABELS, {**family.default_options(), **TINY[name]}).graph()
    for name in ("click", "clipseg", "sam"):
        network = networks.network(name)
        with pytest.raises(BadRequestError, match=r"answers clicks, boxes or words.*prompt\(image\)"):
            network.graph(network.__new__(network))
    with pytest.raises(BadRequestError, match=r"Silent cannot be written as ONNX.*add graph\(\)"):
        onnx.export(made(Silent), path)
    assert main(["export", "otsu", "--onnx", str(path)]) == 2 and "otsu is a method without a network" in capsys.readouterr().err
    assert main(["export", "unet-cells", "--onnx", str(tmp_path)]) == 2 and "is a folder" in capsys.readouterr().err
    monkeypatch.setattr(onnx, "PACKAGES", ("onnx", "onnxland"))
    assert main(["export", "unet-cells", "--onnx", str(path)]) == 2
    assert "not installed here (onnxland). Run pip install -r requirements-onnx.txt" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


RUN = """
import sys, numpy
{code}
assert not any(name in sys.modules for name in ("torch", "seg_demo", "transformers"))
if "label_map" in globals():
    numpy.save("labels.npy", label_map)
"""


def printed(code: str, folder: Path, picture: np.ndarray) -> list[str]:
    """What the code of a card says of a picture, line by line, run in a process of its own beside the file."""
    if picture.shape[2] == 3:
        Image.fromarray(picture).save(folder / "image.png")
    else:
        np.save(folder / "image.npy", picture)
    script = folder / "run.py"
    script.write_text(RUN.format(code=code))
    done = subprocess.run([sys.executable, "-I", str(script)], cwd=folder, check=True, timeout=120, capture_output=True, text=True)
    return done.stdout.splitlines()


def runs_alone(code: str, folder: Path, picture: np.ndarray) -> np.ndarray:
    """The label map that the code of a card makes of a picture."""
    printed(code, folder, picture)
    return np.load(folder / "labels.npy")


def check_code(network: Network, code: str, folder: Path) -> None:
    """The code of a card says of a picture that needs no resizing what torch says of it."""
    longest = network.preprocessing.longest_side or 512
    height, width = network.preprocessing.size or (longest * 3 // 4, longest)
    picture = onnx.drawn(height, width)
    with torch.no_grad():
        raw = network.forward(network.module, network.preprocess(picture))
    expected = network.postprocess(raw, height, width).id_map
    # Pillow's weights of a resize are not torch's to the last bit.
    assert (runs_alone(code, folder, picture) == expected).mean() > 0.9995 and len(np.unique(expected)) > 1


@pytest.mark.parametrize("model", ["small", pytest.param("unet-cells", marks=pytest.mark.soak)])
def test_the_command_writes_a_model_and_its_ten_lines_run_without_torch(model: str, tmp_path: Path, capsys) -> None:
    if small := model == "small":
        model = str(tmp_path / model)
        small_unet(96).save(Path(model))
    assert main(["export", model, "--onnx", str(tmp_path / "model.onnx")]) == 0
    said = capsys.readouterr().out
    assert "gives every label that torch gives on 6 test pictures" in said and "opset" in said
    code = said.partition("alone")[2].partition("\n\n")[2]
    assert len([line for line in code.splitlines() if line and "import" not in line]) <= 14
    coins = np.repeat(data.coins()[..., None], 3, axis=2)
    expected = load_model(model, device="cpu").predict(coins).id_map
    found = runs_alone(code, tmp_path, coins)
    # Pillow's weights of a resize are not torch's to the last bit.
    assert (found == expected).mean() > 0.99 if small else np.array_equal(found, expected)
    assert len(np.unique(expected)) > 1


@pytest.mark.soak
def test_channels_that_are_no_colours_come_from_an_array_with_the_ranges_that_were_learnt(tmp_path: Path) -> None:
    ranges = ((100.0, 3000.0), (0.0, 1000.0), (50.0, 4000.0), (10.0, 2000.0))
    network = replace(made(Bands), preprocessing=Preprocessing((0.4, 0.5, 0.3, 0.2), (0.2, 0.3, 0.2, 0.3), ranges=ranges))
    done = onnx.export(network, tmp_path / "model.onnx")
    assert " x 4 x " in done.input and done.apart == 0 and done.classes > 1
    values = np.random.default_rng(4).integers(0, 4500, (61, 83, 4), dtype=np.uint16)
    with torch.no_grad():
        expected = network.postprocess(network.forward(network.module, network.preprocess(values)), 61, 83).id_map
    np.testing.assert_array_equal(runs_alone(done.code, tmp_path, values), expected)
    assert len(np.unique(expected)) > 1


def family_of(name: str) -> Network:
    """A small network of a family, whose answers are not all alike."""
    torch.manual_seed(0)
    kind = networks.network(name)
    if name in TINY:
        return outspoken(kind.create(LABELS, {**kind.default_options(), **TINY[name]}))
    if name == "rfdetr":
        return outspoken_rfdetr(kind.create(LABELS, {**kind.default_options(), **TINY_RFDETR}))
    labels: LabelSet = TWO if name == "maskrcnn" else CELLS
    network = kind.create(labels, {**kind.default_options(), **(FEW if name == "maskrcnn" else {})})
    randomise(network.module)
    if isinstance(network, PixelNetwork):
        # Statistics as after training, or nothing of the picture is left after so many layers; and no class that is the likeliest everywhere.
        batch = network.preprocess(onnx.drawn(384, 512))
        for layer in network.module.modules():
            if isinstance(layer, torch.nn.BatchNorm2d):
                layer.momentum = 1.0
        with torch.no_grad():
            network.forward(network.module.train(), batch.repeat(2, 1, 1, 1))
            means = network.forward(network.module.eval(), batch).mean((0, 2, 3))
            for layer in network.module.modules():
                if isinstance(layer, torch.nn.Conv2d) and layer.out_channels == len(labels) and layer.bias is not None:
                    layer.bias -= means
    return network


@pytest.mark.soak
@pytest.mark.parametrize("name", ["unet", "unet-instance", "fcn", "segformer", "maskformer", "rfdetr"])
def test_a_network_of_every_family_gives_torchs_labels(name: str, tmp_path: Path) -> None:
    network = family_of(name)
    done = onnx.export(network, tmp_path / "model.onnx")
    assert done.size > 0 and done.apart <= onnx.MOST_APART * done.pixels and bool(done.code) == (name != "unet-instance")
    if name in ("unet", "fcn", "segformer"):
        check_code(network, done.code, tmp_path)
    # And the file that was made is of the whole network: all its sizes were run, of which the graph was made with one.
    names = [entry.name for entry in onnxruntime.InferenceSession(tmp_path / "model.onnx").get_outputs()]
    assert names == list(network.graph().outputs)


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "why"),
    [
        ("detr", "other labels than torch"),
        ("conditional-detr", "other labels than torch"),
        ("eomt", "torch cannot write this EoMT"),
        ("maskrcnn", "other labels than torch"),  # of random weights; the bundled one is written
    ],
)
def test_what_onnx_runtime_does_not_answer_alike_is_refused(name: str, why: str, tmp_path: Path) -> None:
    with pytest.raises(BadRequestError, match=why):
        onnx.export(family_of(name), tmp_path / "model.onnx")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.soak
@pytest.mark.parametrize("name", sorted(path.name for path in BUNDLED_FOLDER.iterdir() if (path / "config.json").is_file()))
def test_every_bundled_model_can_be_exported_or_says_why_not(name: str, tmp_path: Path) -> None:
    network = networks.load(BUNDLED_FOLDER / name)
    if network.family.prompts:
        with pytest.raises(BadRequestError, match="answers clicks"):
            onnx.export(network, tmp_path / "model.onnx")
        return
    done = onnx.export(network, tmp_path / "model.onnx")
    assert done.classes > (not network.task.objects) and done.apart <= onnx.MOST_APART * done.pixels
    if done.code and not network.task.objects:
        check_code(network, done.code, tmp_path)


def test_one_channel_and_the_tensors_of_an_answer(tmp_path: Path) -> None:
    torch.manual_seed(0)

    def pair(module: torch.nn.Module, batch: Tensor) -> tuple[Tensor, ...]:
        return module(batch), batch.mean((2, 3))

    both = Tensors(torch.nn.Conv2d(3, 1, 1), pair)
    logits, means = both(torch.ones(2, 3, 4, 5))
    assert logits.shape == (2, 1, 4, 5) and means.tolist() == [[1.0] * 3] * 2
