"""Small modules behind the engine for CPUs, and a cache folder of each test's own."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from seg_demo import networks
from seg_demo.core.types import ModelSpec
from seg_demo.inference import engine, openvino
from seg_demo.inference.model import Model
from seg_demo.inference.openvino import OpenVino, Part

CPU = torch.device("cpu")
LARGER = np.random.default_rng(1).integers(0, 256, (100, 131, 3), dtype=np.uint8)


@pytest.fixture(autouse=True)
def own_cache(monkeypatch, tmp_path_factory):
    """An empty cache folder, and no pause before compiling."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    monkeypatch.setattr(openvino, "PAUSE", 0.0)
    yield
    assert openvino.drain_compiling(60)


@pytest.fixture
def conversions(monkeypatch):
    """The names of modules that are traced during a test."""
    seen, convert = [], openvino.convert

    def noted(module, example):
        seen.append(type(module).__name__)
        return convert(module, example)

    monkeypatch.setattr(openvino, "convert", noted)
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
    return Part("small", module or Small(), OpenVino(1), free, lambda batch: batch[..., :8, :8], "")


def settled(call, *arguments):
    """What a call returns before and after everything has been compiled."""
    before = call(*arguments)
    assert openvino.drain_compiling(60)
    return before, call(*arguments)


def served(folder: Path, kind: str) -> tuple[Model, Model]:
    """A checkpoint behind the engine, and eager."""
    spec = ModelSpec(kind, None, "semantic", "", kind, "", "folder")
    made = []
    for wanted in ("openvino", "eager"):
        checkpoint = networks.load(folder)
        checkpoint.module.eval().requires_grad_(False)
        chosen = engine.choose(checkpoint, CPU, wanted, 1)
        made.append(Model.from_network(checkpoint, spec, engine=chosen))
    return made[0], made[1]
