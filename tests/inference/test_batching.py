"""Requests that are computed together get what they would have got alone. The CPU stands in for a GPU."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from seg_demo import networks
from seg_demo.core import settings as configured
from seg_demo.core.settings import Settings
from seg_demo.core.types import ModelSpec
from seg_demo.inference import model as batching
from seg_demo.inference.model import Batcher, Model
from seg_demo.masks.semantic import to_device, to_host
from seg_demo.serving import predictor
from tests.checkpoints import IMAGE

SPEC = ModelSpec("m", None, "semantic", "", "m", "", "folder")


def together(batcher: Batcher, batches: list[torch.Tensor]) -> list[object]:
    """What requests get that are all under way at the same time: an answer or an error each."""
    ready = threading.Barrier(len(batches))

    def ask(batch: torch.Tensor) -> object:
        with batcher.underway():
            ready.wait(10)
            try:
                return batcher(batch)
            except Exception as error:
                return error

    with ThreadPoolExecutor(len(batches)) as pool:
        return list(pool.map(ask, batches))


def inputs(count: int, side: int = 4) -> list[torch.Tensor]:
    return [torch.full((1, 3, side, side), float(index)) for index in range(count)]


def test_those_of_one_size_are_computed_together_and_each_gets_its_own() -> None:
    seen = []

    def forward(batch: torch.Tensor) -> torch.Tensor:
        seen.append(tuple(batch.shape))
        return batch.mean((2, 3)) * 2

    batches = [*inputs(5), *inputs(3, side=8)]
    found = together(Batcher(forward, window=5.0, most=8), batches)
    for batch, answer in zip(batches, found, strict=True):
        assert torch.equal(answer, forward(batch))
    assert sorted(seen[:2]) == [(3, 3, 8, 8), (5, 3, 4, 4)]


def test_a_group_has_a_largest_size_and_lists_are_split_too() -> None:
    sizes = []

    def forward(batch: torch.Tensor) -> list[dict[str, float]]:
        sizes.append(len(batch))
        return [{"mean": float(each.mean())} for each in batch]

    found = together(Batcher(forward, window=0.5, most=3), inputs(7))
    assert [answer[0]["mean"] for answer in found] == list(range(7))
    assert all(len(answer) == 1 for answer in found) and max(sizes) <= 3 and sum(sizes) == 7


def test_a_request_alone_waits_for_nobody() -> None:
    batcher = Batcher(lambda batch: batch + 1, window=60.0)
    (batch,) = inputs(1)
    with batcher.underway():
        assert torch.equal(batcher(batch), batch + 1)
    assert torch.equal(batcher(batch), batch + 1)


def test_who_does_not_come_is_not_waited_for_longer_than_the_window() -> None:
    batcher = Batcher(lambda batch: batch + 1, window=0.05)
    (batch,) = inputs(1)
    with batcher.underway(), batcher.underway():
        assert torch.equal(batcher(batch), batch + 1)
    assert not batcher._open


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("CUDA out of memory."), ValueError("no")])
def test_a_batch_that_fails_is_computed_one_by_one(error: Exception) -> None:
    def forward(batch: torch.Tensor) -> torch.Tensor:
        if len(batch) > 1 or batch[0, 0, 0, 0] == 2:
            raise error
        return batch

    found = together(Batcher(forward, window=5.0), inputs(4))
    assert [answer is error for answer in found] == [False, False, True, False]
    assert torch.equal(found[3], inputs(4)[3])


@pytest.mark.parametrize("kind", ["unet", "tiny", "maskrcnn"])
def test_a_model_answers_the_same_in_company(folders: dict[str, Path], kind: str) -> None:
    checkpoint = networks.load(folders / kind)
    checkpoint.module.eval().requires_grad_(False)
    sizes = []
    images = [IMAGE, IMAGE[::-1].copy(), IMAGE[:, ::-1].copy()]
    alone = [Model.from_network(checkpoint, SPEC).predict_all(image, confidence=True) for image in images]
    model = Model.from_network(checkpoint, SPEC, window=5.0)
    run = model._run
    batcher = run._batcher(run.network)
    here = batcher._forward
    batcher._forward = lambda batch: sizes.append(len(batch)) or here(batch)
    with ExitStack() as stack, ThreadPoolExecutor(3) as pool:
        # As if all three had come before the first has been preprocessed.
        stack.enter_context(batcher.underway())
        stack.enter_context(batcher.underway())
        batcher._most = 3
        found = list(pool.map(lambda image: model.predict_all(image, confidence=True), images))
    assert sizes == [3]
    for mine, expected in zip(found, alone, strict=True):
        assert (mine.id_map == expected.id_map).mean() > 0.999
        assert np.abs(mine.confidence.astype(int) - expected.confidence).mean() < 0.5
        assert len(mine.segments) == len(expected.segments)


def test_only_a_gpu_with_several_places_computes_together(folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch) -> None:
    assert configured.slots(Settings(), gpu=False) == 2 and configured.slots(Settings(), gpu=True) == batching.MOST
    assert configured.slots(replace(Settings(), concurrency=3), gpu=True) == 3
    run = predictor.load_model(str(folders / "tiny"), device="cpu")._run
    assert run._batcher(run.network) is None
    monkeypatch.setattr(configured, "GPU_FILES", ())
    assert not configured.gpu_expected(Settings()) and configured.gpu_expected(replace(Settings(), device="cuda:1"))
    monkeypatch.setattr(configured, "GPU_FILES", (Path(__file__),))
    assert configured.gpu_expected(Settings()) and not configured.gpu_expected(replace(Settings(), device="cpu"))


def test_transfers_keep_what_they_carry() -> None:
    tensor = torch.arange(12.0).reshape(3, 4).T
    assert torch.equal(to_device(tensor, torch.device("cpu")), tensor)
    assert np.array_equal(to_host(tensor), tensor.numpy())
    assert to_host(torch.tensor([1, 65535], dtype=torch.int32).to(torch.uint16)).tolist() == [1, 65535]
