"""What networks of transformers see: labels equal to the plain library's, and one picture for training and prediction."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, ConvNextImageProcessor, pipeline

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError
from seg_demo.networks import base, transformers_config
from seg_demo.networks.base import Network
from seg_demo.networks.segformer import SegFormer
from tests.networks.contract import LABELS, image_of
from tests.networks.families import CLASSES, FAMILIES, write_family

SIZES = ((61, 97), (150, 83))
# Their default cuts out the middle.
CROPPING = ("mobilenet_v2", "mobilevit", "mobilevitv2")


def smooth(height: int, width: int) -> np.ndarray:
    """Broad colours, so that classes form areas and a frame that is shifted is seen: uint8 (height, width, 3)."""
    coarse = Image.fromarray(image_of(5, 6, seed=3))
    return np.array(coarse.resize((width, height), Image.Resampling.BICUBIC))


def ours(checkpoint: Network, image: np.ndarray) -> np.ndarray:
    with torch.inference_mode():
        raw = SegFormer.forward(checkpoint.module, checkpoint.preprocess(image))
    return checkpoint.postprocess(raw, *image.shape[:2]).id_map


@lru_cache(maxsize=1)
def of_the_library(folder: Path) -> Any:
    """The plain library's network of a folder whose weights do not change."""
    return AutoModelForSemanticSegmentation.from_pretrained(folder).eval()


def plain(folder: Path, processor: Any, image: np.ndarray) -> np.ndarray:
    """Labels as transformers alone gives them."""
    model = of_the_library(folder)
    with torch.inference_mode():
        outputs = model(**processor(images=Image.fromarray(image), return_tensors="pt"))
    return processor.post_process_semantic_segmentation(outputs, target_sizes=[image.shape[:2]])[0].numpy()


def piped(folder: Path, image: np.ndarray) -> np.ndarray:
    """Labels of ``pipeline("image-segmentation")``."""
    segment = pipeline("image-segmentation", model=str(folder))
    ids = {name: index for index, name in segment.model.config.id2label.items()}
    labels = np.full(image.shape[:2], 255, np.uint8)
    for part in segment(Image.fromarray(image)):
        labels[np.array(part["mask"]) > 0] = ids[part["label"]]
    return labels


OFTEN = ("segformer", "upernet", "beit", "mobilevit", "dpt")


@pytest.mark.parametrize("name", [name if name in OFTEN else pytest.param(name, marks=pytest.mark.soak) for name in FAMILIES])
def test_without_a_processor_the_librarys_default_is_used(tmp_path: Path, name: str) -> None:
    config = write_family(tmp_path / "a", name)
    checkpoint = SegFormer.load(tmp_path / "a")
    processor = transformers_config.default_processor(config)
    assert bool(checkpoint.notes) == (name in CROPPING)
    if name in CROPPING:
        assert "cuts out the middle" in checkpoint.notes[0]
        processor.do_center_crop = False
    for size in SIZES:
        image = smooth(*size)
        expected = plain(tmp_path / "a", processor, image)
        assert len(np.unique(expected)) > 1
        assert np.array_equal(ours(checkpoint, image), expected), size
    # What is written from it is read by plain transformers as it is here.
    checkpoint.save(tmp_path / "b")
    assert np.array_equal(piped(tmp_path / "b", image), expected)


@pytest.mark.parametrize(("where", "name"), [
    ("nested", "segformer"), ("nested", "dpt"), ("nested", "mobilevit"), ("beside another", "beit"), ("beside another", "mobilenet_v2"),
    *(pytest.param("nested", name, marks=pytest.mark.soak) for name in FAMILIES if name not in ("segformer", "dpt", "mobilevit")),
])
def test_the_nested_processor_of_transformers_5_is_read(tmp_path: Path, name: str, where: str) -> None:
    config = write_family(tmp_path, name)
    values = {"size": {"height": 96, "width": 64}, "image_mean": [0.3, 0.5, 0.6], "image_std": [0.3, 0.2, 0.4], "resample": 0}
    if name in ("beit", "data2vec-vision"):
        values["size"] = {"height": 224, "width": 224}
    elif name == "dpt":
        values["size"] = {"height": 96, "width": 96}
    processor = type(transformers_config.default_processor(config))(**values, do_center_crop=False)
    nested = {"processor_class": "SomeProcessor", "image_processor": transformers_config.to_json(processor)}
    (tmp_path / "processor_config.json").write_text(json.dumps(nested))
    if where == "beside another":
        other = {**transformers_config.to_json(processor), "size": {"height": 32, "width": 32}}
        (tmp_path / "preprocessor_config.json").write_text(json.dumps(other))
    checkpoint, image = SegFormer.load(tmp_path), smooth(*SIZES[0])
    assert checkpoint.notes == ()
    assert np.array_equal(ours(checkpoint, image), plain(tmp_path, AutoImageProcessor.from_pretrained(tmp_path), image))


CHANGES: dict[str, dict[str, Any]] = {
    "as it is": {},
    "not normalised": {"do_normalize": False},
    "not rescaled": {"do_rescale": False},
    "neither": {"do_rescale": False, "do_normalize": False},
    "to minus one": {"rescale_factor": 1 / 127.5, "image_mean": [1.0, 1.0, 1.0], "image_std": [1.0, 1.0, 1.0]},
    "own means": {"image_mean": [0.1, 0.2, 0.3], "image_std": [0.5, 0.6, 0.7]},
    "not resized": {"do_resize": False},
    "flipped": {"do_flip_channel_order": True},
    "not flipped": {"do_flip_channel_order": False},
}


def pairs() -> list[Any]:
    """Each family with each change. Every run has all changes for two families, and of the others those that resize in a way of
    their own; the rest is left to the soak tests."""
    everyones = ("dpt", "data2vec-vision", "upernet-swin")
    return [
        pytest.param(name, change, marks=() if name in ("segformer", "mobilevit") or (name in everyones and change == "not resized") else pytest.mark.soak)
        for name in FAMILIES
        for change in CHANGES
    ]


@pytest.mark.parametrize(("name", "change"), pairs())
def test_training_sees_what_prediction_sees(tmp_path: Path, name: str, change: str) -> None:
    config = write_family(tmp_path, name)
    image = smooth(224, 224) if name in ("beit", "data2vec-vision") else smooth(64, 64) if name == "dpt" else smooth(61, 97)
    processor = type(transformers_config.default_processor(config))(**CHANGES[change])
    processor.save_pretrained(tmp_path)
    if name in ("data2vec-vision", "dpt") and change == "not resized":
        # Tried with what such a network does not take: it is resized to the network's own size, in words.
        assert "resized to its own" in SegFormer.load(tmp_path).notes[0]
    checkpoint = SegFormer.load(tmp_path)
    served = checkpoint.preprocess(image)
    pixels = torch.from_numpy(checkpoint.pixels_as_seen(image)).permute(2, 0, 1)[None] / 255
    trained = base.normalised(pixels, checkpoint.preprocessing)
    assert trained.shape == served.shape
    # Bicubic resizing of pixels is rounded in both; what is left is float arithmetic.
    torch.testing.assert_close(trained, served.float(), rtol=1e-4, atol=1e-4 * float(served.float().abs().max()))
    assert checkpoint.preprocessing.bgr == (name.startswith("mobilevit") and change != "not flipped")


def test_a_red_pixel_is_seen_in_blue_green_red(tmp_path: Path) -> None:
    write_family(tmp_path, "mobilevit")
    checkpoint = SegFormer.load(tmp_path)
    red = np.full((40, 40, 3), (200, 0, 30), np.uint8)
    colour = checkpoint.preprocess(red)[0, :, 5, 5]
    assert torch.allclose(colour, torch.tensor([30, 0, 200]) / 255)


@pytest.mark.parametrize(("name", "size", "own"), [("dpt", 100, 64), ("dpt", 50, 64), ("data2vec-vision", 512, 224)])
def test_a_size_that_does_not_fit_becomes_the_networks_own(tmp_path: Path, name: str, size: int, own: int) -> None:
    config = write_family(tmp_path / "a", name)
    processor = type(transformers_config.default_processor(config))(size={"height": size, "width": size + 20})
    processor.save_pretrained(tmp_path / "a")
    checkpoint, image = SegFormer.load(tmp_path / "a"), smooth(61, 97)
    assert f"{size} x {size + 20}" in checkpoint.notes[0] and f"{own} x {own}" in checkpoint.notes[0]
    processor.size = {"height": own, "width": own}
    assert np.array_equal(ours(checkpoint, image), plain(tmp_path / "a", type(processor)(**processor.to_dict()), image))
    checkpoint.save(tmp_path / "b")
    assert np.array_equal(piped(tmp_path / "b", image), ours(checkpoint, image))


def test_a_processor_that_crops_by_itself_is_replaced(tmp_path: Path) -> None:
    write_family(tmp_path, "upernet-convnext")
    ConvNextImageProcessor(size={"shortest_edge": 64}, image_mean=[0.4, 0.5, 0.6]).save_pretrained(tmp_path)
    checkpoint, image = SegFormer.load(tmp_path), smooth(61, 97)
    assert "cuts out the middle" in checkpoint.notes[0]
    assert checkpoint.preprocess(image).shape == (1, 3, 64, 64)
    assert checkpoint.preprocessing.mean == pytest.approx((0.4, 0.5, 0.6)) and not checkpoint.preprocessing.bgr


def test_a_crop_that_cuts_nothing_off_is_no_difference(tmp_path: Path) -> None:
    write_family(tmp_path, "mobilevit")
    values = {"size": {"height": 64, "width": 64}, "crop_size": {"height": 64, "width": 64}}
    processor = transformers_config.default_processor(FAMILIES["mobilevit"]())
    type(processor)(**values).save_pretrained(tmp_path)
    checkpoint, image = SegFormer.load(tmp_path), smooth(61, 97)
    assert checkpoint.notes == ()
    assert np.array_equal(ours(checkpoint, image), piped(tmp_path, image))


@pytest.mark.parametrize("name", ["mobilevit", *(pytest.param(name, marks=pytest.mark.soak) for name in ("segformer", "data2vec-vision"))])
def test_a_new_head_on_a_base_without_a_processor_is_read_alike_by_the_plain_library(tmp_path: Path, name: str) -> None:
    write_family(tmp_path / "a", name)
    checkpoint = SegFormer.load(tmp_path / "a").replace_head(LABELS)
    checkpoint.save(tmp_path / "b")
    for size in SIZES:
        image = smooth(*size)
        assert np.array_equal(piped(tmp_path / "b", image), ours(checkpoint, image))
        assert np.array_equal(ours(SegFormer.load(tmp_path / "b"), image), ours(checkpoint, image))


@pytest.mark.parametrize("factor", [0, float("nan"), "much", 1e12])
def test_a_rescale_factor_that_is_none_is_refused(tmp_path: Path, factor: object) -> None:
    write_family(tmp_path, "segformer")
    (tmp_path / "preprocessor_config.json").write_text(
        json.dumps({"image_processor_type": "SegformerImageProcessor", "rescale_factor": factor})
    )
    with pytest.raises(BadCheckpointError):
        networks.load(tmp_path)


def test_classes_of_the_families() -> None:
    assert CLASSES == 5 and set(segformer_types()) <= {name.split("-convnext")[0].split("-swin")[0] for name in FAMILIES}


def segformer_types() -> tuple[str, ...]:
    from seg_demo.networks.transformers_config import MODEL_TYPES

    return MODEL_TYPES
