"""The family of Segment Anything with random weights: masks and scores of plain transformers, processor and ``post_process_masks``."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.nn.functional as F
import transformers
from PIL import Image
from safetensors.torch import save_file
from torchvision.ops import masks_to_boxes, nms

from seg_demo import load_model, networks
from seg_demo.core.errors import BadImageError, BadRequestError
from seg_demo.core.requests import read_prompt
from seg_demo.core.rle import PackedRuns
from seg_demo.core.types import LabelSet, Segmentation
from seg_demo.inference import prompting
from tests.networks.contract import image_of

SIDE = 128
DECODER = {"hidden_size": 32, "mlp_dim": 32, "num_attention_heads": 2, "iou_head_hidden_dim": 16}
SMALL = {"prompt_encoder_config": {"hidden_size": 32, "image_size": SIDE, "patch_size": 16}, "mask_decoder_config": DECODER}
VIT = {
    "hidden_size": 24, "num_hidden_layers": 2, "num_attention_heads": 2, "global_attn_indexes": [1], "mlp_dim": 32, "output_channels": 32,
    "image_size": SIDE, "patch_size": 16, "window_size": 4, "num_pos_feats": 16,
}  # fmt: skip
HIERA = {
    "model_type": "sam2_hiera_det_model", "hidden_size": 8, "blocks_per_stage": [1, 1, 2, 1], "embed_dim_per_stage": [8, 16, 32, 64],
    "num_attention_heads_per_stage": [1, 1, 2, 2], "global_attention_blocks": [3], "image_size": [SIDE, SIDE],
}  # fmt: skip
LEVELS = {"fpn_hidden_size": 32, "backbone_feature_sizes": [[32, 32], [16, 16], [8, 8]]}
VIT3 = {
    "model_type": "sam3_vit_model", "hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2,
    "global_attn_indexes": [1], "image_size": SIDE, "patch_size": 16, "window_size": 4, "pretrain_image_size": SIDE,
}  # fmt: skip
TIMM = {
    "model_type": "timm_wrapper", "architecture": "repvit_m0_9", "num_classes": 2,
    "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
}  # fmt: skip
TINY: dict[str, dict[str, Any]] = {
    "sam": {**SMALL, "vision_config": VIT},
    "sam_hq": {**SMALL, "vision_config": VIT, "mask_decoder_config": {**DECODER, "vit_dim": 24}},
    "sam2": {**SMALL, "vision_config": {"model_type": "sam2_vision_model", "backbone_config": HIERA, "backbone_channel_list": [64, 32, 16, 8], **LEVELS}},
    "edgetam": {**SMALL, "vision_config": {"model_type": "edgetam_vision_model", "backbone_config": TIMM, **LEVELS}},
    "sam3_tracker": {**SMALL, "vision_config": {"model_type": "sam3_vision_model", "backbone_config": VIT3, **LEVELS}},
}
SIZES = ((64, 48), (90, 517))


@lru_cache(maxsize=None)
def made(family: str) -> networks.Network:
    """A tiny network that finds something: its logits change sign, and its guesses differ."""
    torch.manual_seed(3)
    kind = networks.network(family)
    found = kind.create(LabelSet.from_names(("object",)), {"model_type": family, **TINY[family]})
    generator = torch.Generator().manual_seed(4)
    with torch.no_grad():
        for name, parameter in found.module.named_parameters():
            if "mask_decoder" in name or "prompt_encoder" in name or "no_memory" in name:
                parameter.add_(torch.randn(parameter.shape, generator=generator) * 0.25)
    return found


# Of EdgeTAM's own there is the encoder, which every prompt goes through; what follows is SAM 2's.
@pytest.fixture(scope="module", params=[pytest.param(name, marks=pytest.mark.soak if name == "edgetam" else ()) for name in TINY])
def family(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture(scope="module")
def folder(family: str, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp(family)
    made(family).save(folder)
    return folder


@pytest.fixture(scope="module")
def plain(folder: Path) -> tuple[Any, Any]:
    """transformers' own model and processor, from the folder."""
    name = json.loads((folder / "config.json").read_text())["architectures"][0]
    module = getattr(transformers, name).from_pretrained(folder, dtype=torch.float32).eval()
    wrap = {"SamModel": "SamProcessor", "SamHQModel": "SamHQProcessor", "Sam3TrackerModel": "Sam3TrackerProcessor"}.get(name, "Sam2Processor")
    return module, getattr(transformers, wrap)(transformers.AutoImageProcessor.from_pretrained(folder))


def theirs(plain: tuple[Any, Any], image: np.ndarray, several: bool, masks: torch.Tensor | None = None, **prompts: Any) -> tuple[list[np.ndarray], list[float], torch.Tensor]:
    """Masks, scores and logits of the best guess at every object."""
    module, processor = plain
    inputs = processor(images=Image.fromarray(image), return_tensors="pt", **prompts)
    sizes = [inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
    given = {key: value for key, value in inputs.items() if key.startswith("input_")}
    with torch.inference_mode():
        found = module(pixel_values=inputs["pixel_values"], multimask_output=several, input_masks=masks, **given)
    shown = processor.post_process_masks(found.pred_masks, *sizes)[0]
    best = found.iou_scores[0].argmax(-1)
    scores = [round(min(1.0, max(0.0, float(row[k]))), 6) for row, k in zip(found.iou_scores[0], best, strict=True)]
    logits = torch.stack([row[k] for row, k in zip(found.pred_masks[0], best, strict=True)])
    return [rows[k].numpy() for rows, k in zip(shown, best, strict=True)], scores, logits


def whole(result: Segmentation, index: int) -> np.ndarray:
    mask = np.zeros((result.height, result.width), bool)
    x0, y0, x1, y1 = result.segments[index].box
    mask[y0:y1, x0:x1] = result.segments[index].mask
    return mask


def check(result: Segmentation, masks: list[np.ndarray], scores: list[float]) -> None:
    assert result.task == "instance" and len(result.segments) == len(masks)
    for index, (mask, score) in enumerate(zip(masks, scores, strict=True)):
        np.testing.assert_array_equal(whole(result, index), mask)
        assert result.segments[index].score == pytest.approx(score, abs=2e-6)


@pytest.mark.parametrize("family", TINY, indirect=True)
@pytest.mark.parametrize("size", SIZES)
def test_prompts_get_the_plain_librarys_masks_and_scores(folder: Path, plain: tuple[Any, Any], size: tuple[int, int]) -> None:
    height, width = size
    image = image_of(*size)
    with load_model(str(folder), device="cpu").prompt(image) as session:
        one = [width // 3, height // 2]
        masks, scores, logits = theirs(plain, image, True, input_points=[[[one]]], input_labels=[[[1]]])
        first = session.segment([one], [1])
        check(first, masks, scores)
        assert 0 < masks[0].mean() < 1, "a mask of everything or of nothing shows nothing"

        more = [one, [width - 1.5, 0.25]]
        masks, scores, _ = theirs(plain, image, False, input_points=[[more]], input_labels=[[[1, 0]]])
        check(session.segment(more, [1, 0]), masks, scores)

        box = [3, height // 8, width - 7.5, height - 2]
        masks, scores, _ = theirs(plain, image, False, input_boxes=[[box]])
        check(session.segment(box=box), masks, scores)
        masks, scores, _ = theirs(plain, image, False, input_boxes=[[box]], input_points=[[more]], input_labels=[[[1, 0]]])
        check(session.segment(more, [1, 0], box), masks, scores)

        # What comes back as an earlier mask goes on from the logits that it was made of.
        masks, scores, _ = theirs(plain, image, False, logits[None], input_points=[[more]], input_labels=[[[1, 0]]])
        again = session.segment(more, [1, 0], previous=first)
        check(again, masks, scores)
        assert not np.array_equal(masks[0], whole(session.segment(more, [1, 0]), 0)), "the earlier mask changes nothing"
        check(session.segment(more, [1, 0], previous=first.to_dict()["segments"][0]["segmentation"]), masks, scores)


def test_several_objects_in_their_order(folder: Path, plain: tuple[Any, Any]) -> None:
    height, width = 150, 333
    image = image_of(height, width)
    points = [[[40, 30]], [[300, 20]], [[160.5, 140]]]
    boxes = [[10, 10, 90, 100], [200, 3, 330, 149]]
    session = load_model(str(folder), device="cpu").prompt(image)
    shown = [{"points": points[0], "labels": [1]}, {"box": boxes[0]}, {"points": points[1], "labels": [1]}, {"points": points[2]}, {"box": boxes[1]}]
    result = session.answer(read_prompt({"objects": shown}))
    clicked, sure, _ = theirs(plain, image, True, input_points=[points], input_labels=[[[1]] * 3])
    boxed, likely, _ = theirs(plain, image, False, input_boxes=[boxes])
    check(result, [clicked[0], boxed[0], *clicked[1:], boxed[1]], [sure[0], likely[0], *sure[1:], likely[1]])
    assert [row["id"] for row in result.to_dict()["segments"]] == [1, 2, 3, 4, 5]
    assert {row["label"] for row in result.to_dict()["segments"]} == {"object"}


def test_a_drawn_mask_is_an_earlier_mask(folder: Path, plain: tuple[Any, Any]) -> None:
    """In the frame of the network, which is padded or stretched: SAM 2 and later shrink what they are given by themselves."""
    image = image_of(64, 128)
    drawn = np.zeros((64, 128), bool)
    drawn[16:48, 32:64] = True
    session = load_model(str(folder), device="cpu").prompt(image)
    logits = torch.from_numpy(np.where(drawn, 10.0, -10.0).astype(np.float32))[None, None]
    if "longest_edge" in plain[1].image_processor.to_dict()["size"]:
        padded = F.pad(logits, (0, 0, 0, 64), value=-10.0)
        logits = F.interpolate(padded, (32, 32), mode="bilinear", align_corners=False, antialias=True)
    masks, scores, _ = theirs(plain, image, False, logits, input_points=[[[[40, 30]]]], input_labels=[[[1]]])
    found = session.segment([[40, 30]], [1], previous=drawn)
    assert (whole(found, 0) == masks[0]).mean() > 0.999 and found.segments[0].score == pytest.approx(scores[0], abs=1e-4)
    assert (whole(session.segment([[40, 30]], [1], previous=~drawn), 0) != masks[0]).mean() > 0.01


def test_everything_is_what_clicks_on_a_grid_mean(folder: Path, plain: tuple[Any, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Written out: every guess at its full size, in one pile, those in the box of a surer one left out."""
    monkeypatch.setattr(prompting, "LEAST_SCORE", -1.0)
    monkeypatch.setattr(prompting, "MOST_ALIKE", 0.999)
    height, width = 60, 170
    image = image_of(height, width)
    module, processor = plain
    points = [[[(i + 0.5) * width / 6, (j + 0.5) * height / 3]] for j in range(3) for i in range(6)]
    inputs = processor(images=Image.fromarray(image), return_tensors="pt", input_points=[points], input_labels=[[[1]] * 18])
    sizes = [inputs[key] for key in ("original_sizes", "reshaped_input_sizes") if key in inputs]
    with torch.inference_mode():
        found = module(pixel_values=inputs["pixel_values"], input_points=inputs["input_points"], input_labels=inputs["input_labels"])
    masks = processor.post_process_masks(found.pred_masks, *sizes)[0].flatten(0, 1)
    logits, scores = found.pred_masks[0].flatten(0, 1), found.iou_scores[0].flatten().clamp(0, 1)
    steady = (logits > 1).sum((1, 2)).double() / (logits > -1).sum((1, 2))
    middle = sorted(set(steady.nan_to_num(1.0).tolist()))
    least = sum(middle[len(middle) // 8 : len(middle) // 8 + 2]) / 2
    monkeypatch.setattr(prompting, "LEAST_STEADINESS", least)
    chosen = ((steady.nan_to_num(1.0) >= least) & masks.any(2).any(1)).nonzero()[:, 0]
    assert 0 < len(chosen) < len(masks)
    boxes = masks_to_boxes(masks[chosen]) + torch.tensor([0.0, 0.0, 1.0, 1.0])
    rounded = torch.tensor([round(float(score), 6) for score in scores[chosen]])
    kept = chosen[nms(boxes, rounded, 0.999)]
    result = load_model(str(folder), device="cpu").prompt(image).everything(grid=6)
    assert len(result.segments) == len(kept) > 1
    assert sorted(whole(result, index).tobytes() for index in range(len(kept))) == sorted(masks[index].numpy().tobytes() for index in kept)
    ordered = [segment.score for segment in result.segments]
    assert ordered == sorted(ordered, reverse=True)


def test_segment_finds_everything(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(prompting, "GRID", 4)
    model, image = load_model(str(folder), device="cpu"), image_of(40, 64)
    assert model.spec.task == "instance" and networks.prompts_of(model.spec.architecture) == ("clicks",)
    found, told = model.predict(image, 0.0), []
    assert found.task == "instance" and (found.height, found.width) == (40, 64) and found.model == model.spec
    model.predict(image, 0.0, report=lambda done, words: told.append((done, words)))
    assert told[0] == (0.0, "Looking at 0 of 12 places")
    with pytest.raises(BadRequestError, match="[Ff]ull detail"):
        model.predict(image, detail="full")


def test_what_video_networks_hold_of_pictures(family: str, folder: Path, tmp_path: Path) -> None:
    """The authors' own repositories are of networks for videos, with one for pictures inside."""
    if family not in ("sam2", "edgetam", "sam3_tracker"):
        pytest.skip("has no network for videos")
    config = json.loads((folder / "config.json").read_text())
    state = {name: tensor.detach().contiguous().clone() for name, tensor in made(family).module.state_dict().items()}
    state |= {"memory_attention.layers.0.linear1.weight": torch.zeros(3, 3), "memory_temporal_positional_encoding": torch.zeros(7)}
    if family == "sam3_tracker":
        config = {"model_type": "sam3_video", "architectures": ["Sam3VideoModel"], "detector_config": {}, "tracker_config": {**config, "model_type": "sam3_tracker_video"}}
        names = {name: f"detector_model.{name}" if ".backbone." in name else name.replace("vision_encoder.neck", "tracker_neck") for name in state}
        state = {new if new.startswith(("detector_model", "tracker_neck")) else f"tracker_model.{new}": state[name] for name, new in names.items()}
        state["detector_model.text_encoder.weight"] = torch.zeros(2)
    else:
        config = {**config, "model_type": f"{family}_video", "architectures": ["Sam2VideoModel"], "num_maskmem": 7}
    (tmp_path / "config.json").write_text(json.dumps(config))
    (tmp_path / "preprocessor_config.json").write_bytes((folder / "preprocessor_config.json").read_bytes())
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    image = image_of(50, 70)
    one, other = (load_model(str(path), device="cpu") for path in (folder, tmp_path))
    assert other.spec.architecture == family and not other.spec.notes
    first, second = (model.prompt(image).segment([[20, 30]]) for model in (one, other))
    np.testing.assert_array_equal(first.id_map, second.id_map)
    assert first.segments[0].score == second.segments[0].score


def test_masks_of_many_large_objects_are_not_all_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made("sam2").save(tmp_path)
    height, width = 300, 400
    session = load_model(str(tmp_path), device="cpu").prompt(image_of(height, width))
    boxes = [[step, step, width - step, height - step] for step in range(12)]
    last = session.answer(read_prompt({"objects": [{"box": box} for box in boxes[-4:]]}))

    def runs(found: Segmentation) -> list[int]:
        return [kept.nbytes for kept in (segment._source[1] for segment in found.segments) if isinstance(kept, PackedRuns)]

    most = 2.5 * max(runs(last))
    monkeypatch.setattr(prompting, "KEPT", most / (height * width))
    result = session.answer(read_prompt({"objects": [{"box": box} for box in boxes]}))
    assert sum(runs(result)) <= most < sum(segment.runs(height).edges.nbytes for segment in result.segments)
    assert 0 < len(runs(result)) < 12 and result.ids == tuple(range(1, 13)) and len(runs(last)) == 4
    assert (whole(result, 11) == whole(last, 3)).mean() > 0.999
    assert [row["area"] for row in result.to_dict()["segments"]] == [int(whole(result, index).sum()) for index in range(12)]


def test_a_picture_of_which_nothing_is_left_in_the_square_is_refused_in_words(family: str, folder: Path) -> None:
    """Those that keep a picture's proportions; the others stretch it."""
    line, model = np.zeros((1, 600, 3), np.uint8), load_model(str(folder))
    if family not in ("sam", "sam_hq"):
        assert model.prompt(line).segment(points=[(300, 0)], labels=[1]).id_map.shape == (1, 600)
        return
    with pytest.raises(BadImageError, match=r"600 x 1 pixels is too long and narrow for this model"):
        model.prompt(line)
