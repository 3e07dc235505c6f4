"""Mask R-CNN: the shared contract, and torchvision itself as the oracle."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torchvision.models.detection import maskrcnn_resnet50_fpn_v2
from torchvision.models.detection.transform import GeneralizedRCNNTransform
from torchvision.ops import FrozenBatchNorm2d

from seg_demo.core.types import Segmentation, tight_box
from seg_demo.inference import tiled
from seg_demo.masks.instances import cropped
from seg_demo.networks import maskrcnn
from seg_demo.networks.base import Network
from seg_demo.networks.maskrcnn import V1, V2, MaskRcnn
from tests.networks.contract import LABELS, NetworkContract, image_of, randomise

SMALL = {"min_size": 96, "max_size": 160, "box_detections_per_img": 12}


class TestMaskRcnn(NetworkContract):
    name = "maskrcnn"
    options = SMALL

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> list[dict[str, torch.Tensor]]:
        scope: dict[str, Any] = {}
        exec(checkpoint.card_snippet(str(folder)), scope)
        # The plain model pastes its masks; what comes before is compared here, the pasted masks below.
        return MaskRcnn.forward(scope["model"], batch)

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        options = config["options"]
        return [
            {**config, "num_classes": 1},
            {**config, "num_classes": 10**6},
            {**config, "options": {**options, "variant": "retinanet"}},
            {**config, "options": {**options, "fpn_channels": 10**6}},
            {**config, "options": {**options, "fpn_channels": "wide"}},
            {**config, "options": {**options, "min_size": 8000}},
            {**config, "options": {**options, "max_size": "wide"}},
            {**config, "options": {**options, "box_score_thresh": "high"}},
            {**config, "options": {**options, "anchors": list(range(1000))}},
            {**config, "options": {"variant": options["variant"]}},
        ]


def predict(checkpoint: Network, image: np.ndarray) -> Segmentation:
    with torch.inference_mode():
        raw = MaskRcnn.forward(checkpoint.module, checkpoint.preprocess(image))
    return checkpoint.postprocess(raw, *image.shape[:2])


def assert_equals_torchvision(result: Segmentation, model: torch.nn.Module, image: np.ndarray) -> int:
    """Masks, scores, classes and boxes of the model's own output; returns the number of objects.

    Where the model's limit cuts what is likely an object, of its output with a higher limit."""
    limit = model.roi_heads.detections_per_img
    pixels = torch.from_numpy(image).permute(2, 0, 1).float() / 255
    with torch.inference_mode():
        (found,) = model([pixels])
        if len(found["scores"]) == limit and found["scores"][-1] >= maskrcnn.LIKELY_OBJECT:
            model.roi_heads.detections_per_img = maskrcnn.MOST_OBJECTS
            (found,) = model([pixels])
            model.roi_heads.detections_per_img = limit
            limit = max(limit, int((found["scores"] >= maskrcnn.LIKELY_OBJECT).sum()))
    masks = (found["masks"][:limit, 0] > 0.5).numpy()
    seen = [index for index, mask in enumerate(masks) if mask.any()]
    assert len(result.segments) == len(seen)
    for segment, index in zip(result.segments, seen, strict=True):
        assert segment.box == tight_box(masks[index])
        x0, y0, x1, y1 = segment.box
        assert np.array_equal(segment.mask, masks[index, y0:y1, x0:x1])
        assert segment.score == found["scores"][index].item()
        assert segment.label_id == found["labels"][index].item()
    return len(seen)


@pytest.fixture(scope="module")
def checkpoint() -> Network:
    torch.manual_seed(3)
    made = MaskRcnn.create(LABELS, {**MaskRcnn.default_options(), **SMALL})
    randomise(made.module)
    return made


@pytest.mark.parametrize(
    ("limits", "threads"),
    [(((96,), 160), 1), (((800,), 1333), 1), (((20,), 40), 1), (((64, 130), 240), 2)],
)
def test_the_input_has_the_bits_of_torchvisions_transform(limits: tuple[tuple[int, ...], int], threads: int) -> None:
    transform = GeneralizedRCNNTransform(*limits, [0.485, 0.456, 0.406], [0.229, 0.224, 0.225]).eval()
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        for size in ((1, 1), (3, 5), (33, 47), (96, 160), (301, 200), (700, 1000), (999, 37)):
            image = image_of(*size)
            expected, _ = transform([torch.from_numpy(image).permute(2, 0, 1).contiguous().float() / 255])
            found = maskrcnn.network_input(transform.train(), image)
            transform.eval()
            assert tuple(found.shape[-2:]) == expected.image_sizes[0]
            assert torch.equal(transform.batch_images(list(found)), expected.tensors), size
    finally:
        torch.set_num_threads(before)


def test_a_large_upload_is_not_made_into_floats(checkpoint: Network, monkeypatch: pytest.MonkeyPatch) -> None:
    image, sizes = image_of(1200, 1600), []
    normalize = checkpoint.module.transform.normalize
    monkeypatch.setattr(
        checkpoint.module.transform, "normalize", lambda pixels: sizes.append(pixels.numel()) or normalize(pixels)
    )
    checkpoint.preprocess(image)
    assert sizes and sum(sizes) < image.size / 10


@pytest.mark.parametrize("size", [pytest.param((1, 1), marks=pytest.mark.soak), pytest.param((3, 5), marks=pytest.mark.soak), (33, 47), pytest.param((96, 160), marks=pytest.mark.soak), (301, 200)])
def test_result_equals_torchvision(checkpoint: Network, size: tuple[int, int]) -> None:
    image = image_of(*size)
    assert_equals_torchvision(predict(checkpoint, image), checkpoint.module, image)


def test_confident_objects_are_compared_too(checkpoint: Network) -> None:
    with torch.no_grad():
        checkpoint.module.roi_heads.mask_predictor.mask_fcn_logits.bias.fill_(0.1)
    image = image_of(70, 90)
    assert assert_equals_torchvision(predict(checkpoint, image), checkpoint.module, image) > 3


def test_no_object_is_a_result(checkpoint: Network) -> None:
    empty = MaskRcnn.create(LABELS, {**MaskRcnn.default_options(), **SMALL, "box_score_thresh": 0.999})
    result = predict(empty, image_of(40, 50))
    assert result.segments == () and not result.id_map.any()
    assert_equals_torchvision(result, empty.module, image_of(40, 50))


def test_an_image_that_torchvision_would_shrink_to_nothing(checkpoint: Network) -> None:
    result = predict(checkpoint, image_of(1, 900))
    assert result.id_map.shape == (1, 900)


COCO = ["__background__", "person", "N/A", "car"]


@pytest.mark.soak
def test_weights_of_torchvision() -> None:
    torch.manual_seed(0)
    limits = {"min_size": 64, "max_size": 96, "box_detections_per_img": 5}
    plain = randomise(maskrcnn_resnet50_fpn_v2(weights=None, weights_backbone=None, num_classes=4, **limits))
    checkpoint = MaskRcnn.from_torchvision(V2, plain.state_dict(), COCO)
    assert checkpoint.labels.names == ("background", "person", "N/A", "car") and checkpoint.labels.background == 0
    assert (checkpoint.preprocessing.shortest_side, checkpoint.preprocessing.longest_side) == (800, 1333)
    # At 800 pixels one forward pass takes ten seconds.
    checkpoint.module.transform.min_size, checkpoint.module.transform.max_size = (64,), 96
    checkpoint.module.roi_heads.detections_per_img = 5
    image = image_of(45, 61)
    assert_equals_torchvision(predict(checkpoint, image), plain, image)


def test_the_first_version_keeps_its_frozen_statistics(tmp_path: Path) -> None:
    state = MaskRcnn.build(4, {"variant": V1}).state_dict()
    checkpoint = MaskRcnn.from_torchvision(V1, state, COCO)
    assert checkpoint.options["frozen_norm"]
    norm = checkpoint.module.backbone.body.bn1
    assert isinstance(norm, FrozenBatchNorm2d) and norm.eps == 0
    checkpoint.save(tmp_path, half=True)
    scope: dict[str, Any] = {}
    exec(checkpoint.card_snippet(str(tmp_path)), scope)
    norm = scope["model"].backbone.body.bn1
    assert isinstance(norm, FrozenBatchNorm2d) and norm.eps == 0


def test_objects_of_a_tile_that_reaches_beyond_the_picture_lie_where_they_are(checkpoint: Network) -> None:
    """torchvision would have enlarged so narrow a picture, but what was shown is the tile."""
    image = image_of(96, 160)
    with torch.inference_mode():
        raw = MaskRcnn.forward(checkpoint.module, checkpoint.preprocess(image))
    whole = checkpoint.postprocess(raw, 96, 160)
    for inside in ((96, 50), (40, 160), (90, 131), (96, 160)):
        result = checkpoint.postprocess_tile(raw, (96, 160), inside, confidence=True)
        expected = [segment for each in whole.segments if (segment := cropped(each, *inside)) is not None]
        assert len(expected) > 3 and [segment.box for segment in result.segments] == [segment.box for segment in expected]
        assert all(np.array_equal(one.mask, other.mask) for one, other in zip(result.segments, expected, strict=True))
        assert result.id_map.shape == result.confidence.shape == inside


def test_a_tile_of_a_thin_picture_mirrors_it_beyond(checkpoint: Network) -> None:
    """On a bare ground fewer of its objects were found; and what is found in the mirror does not count."""
    image, seen = image_of(40, 400), []

    def answer(batch: torch.Tensor) -> tuple[Any, torch.device]:
        seen.append(batch)
        return MaskRcnn.forward(checkpoint.module, batch), torch.device("cpu")

    with torch.inference_mode():
        result = tiled.run(tiled.plan(checkpoint, 40, 400), answer, image)
    assert torch.equal(seen[0][..., 40:79, :], seen[0][..., :39, :].flip(-2)) and result.segments and result.id_map.shape == (40, 400)
    assert all(segment.box[3] <= 40 and segment.mask.any() for segment in result.segments)


def test_training_sees_crops_at_their_own_size(checkpoint: Network) -> None:
    module = MaskRcnn.build(3, checkpoint.options).train()
    images, _ = module.transform([torch.zeros(3, 50, 70)])
    assert images.image_sizes == [(50, 70)]
