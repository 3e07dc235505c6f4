"""What the engine does between a Mask R-CNN's compiled parts, against torchvision's own code."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
import torch
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import MultiScaleRoIAlign

from seg_demo.inference import engine
from seg_demo.networks.maskrcnn import MaskRcnn
from tests.checkpoints import CELLS


def regions(count: int, side: float, seed: int = 0) -> torch.Tensor:
    """Boxes (N, 4) inside a square."""
    corners = torch.rand((count, 2, 2), generator=torch.Generator().manual_seed(seed)) * side
    return torch.cat([corners.amin(1), corners.amax(1) + 1], dim=1)


@pytest.mark.parametrize("count", [0, 1, 31, 33, 200])
@pytest.mark.parametrize("threads", [1, 2, 3])
def test_shared_pooling_has_the_same_bits(count: int, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    features = {name: torch.randn(1, 6, side, side) for name, side in (("0", 64), ("1", 32), ("2", 16))}
    boxes, sizes = [regions(count, 250.0)], [(256, 256)]
    with torch.inference_mode():
        expected = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)(features, boxes, sizes)
        pool = MultiScaleRoIAlign(["0", "1", "2"], 7, 2)
        for _ in range(2):
            assert torch.equal(engine._Shared(pool)(features, boxes, sizes), expected)
        two = [boxes[0], regions(5, 250.0, seed=1)]
        pair = {name: torch.cat([each, each * 2]) for name, each in features.items()}
        assert torch.equal(engine._Shared(pool)(pair, two, sizes * 2), pool(pair, two, sizes * 2))


@pytest.fixture
def heads() -> RoIHeads:
    torch.manual_seed(0)
    options = {**MaskRcnn.default_options(), "box_score_thresh": 0.001, "box_detections_per_img": 20}
    return MaskRcnn.create(CELLS, options).module.roi_heads


@pytest.mark.parametrize(("spread", "looks"), [(3.0, 1), (0.0, 2)])
def test_suppression_of_the_best_candidates_first_gives_the_same(
    heads: RoIHeads, monkeypatch: pytest.MonkeyPatch, spread: float, looks: int
) -> None:
    monkeypatch.setattr(engine, "FIRST", 1200)
    whole, seen = RoIHeads.postprocess_detections, []
    monkeypatch.setattr(RoIHeads, "postprocess_detections", lambda self, *given: seen.append(self) or whole(self, *given))
    proposals = [regions(2500, 250.0) if spread else torch.tensor([[10.0, 10.0, 60.0, 60.0]]).repeat(2500, 1)]
    classes = len(CELLS)
    logits = torch.randn(2500, classes) * max(spread, 0.5)
    deltas = torch.randn(2500, 4 * classes) * (0.1 if spread else 0.0)
    expected = whole(heads, logits, deltas, proposals, [(256, 256)])
    found = engine._Suppressed(heads)(logits, deltas, proposals, [(256, 256)])
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine[0], theirs[0])
    assert len(seen) == looks and (len(expected[0][0]) == 20) == (looks == 1)
    assert isinstance(seen[0], SimpleNamespace)


def test_few_candidates_are_looked_at_once(heads: RoIHeads, monkeypatch: pytest.MonkeyPatch) -> None:
    logits, deltas = torch.randn(50, len(CELLS)), torch.zeros(50, 4 * len(CELLS))
    given = logits, deltas, [regions(50, 250.0)], [(256, 256)]
    expected = heads.postprocess_detections(*given)
    for mine, theirs in zip(engine._Suppressed(heads)(*given), expected, strict=True):
        assert torch.equal(mine[0], theirs[0])
