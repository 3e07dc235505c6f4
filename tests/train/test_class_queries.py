"""Networks of class queries in training: what they learn from which data, what they see, how runs stop, resume, end and are pushed."""

from __future__ import annotations

import copy
import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import pipeline

from seg_demo import load_model, networks
from seg_demo.annotations.dataset import labels_for, task_in
from seg_demo.annotations.listing import Sample
from seg_demo.core.types import IGNORE_16, INSTANCE, PANOPTIC, SEMANTIC, LabelSet
from seg_demo.hub import client
from seg_demo.networks import universal
from seg_demo.networks.base import Network, normalised
from seg_demo.networks.transformers_config import query_logits
from tests.networks.contract import image_of
from tests.small_datasets import coco, panoptic, write_json
from tests.train.test_finetune import CHECKPOINT, TOKEN, arguments, data  # noqa: F401
from train import base_model, finetune
from train.base_model import rebuilt, remembered
from train.batches import AsSeen, Crop
from train.config import Config
from train.data import open_dataset, read_item
from train.losses import Objective
from train.run import load_state
from train.trainer import Trainer

TINY: dict[str, dict[str, Any]] = {
    "mask2former": {"num_queries": 9, "decoder_layers": 2, "encoder_layers": 1, "train_num_points": 64},
    "maskformer": {},
    "rfdetr": {
        "backbone_config": {
            "model_type": "rf_detr_dinov2", "hidden_size": 48, "num_hidden_layers": 4, "num_attention_heads": 4, "image_size": 64,
            "patch_size": 8, "num_windows": 2, "out_features": ["stage2", "stage4"],
        },
        "d_model": 32, "decoder_layers": 2, "decoder_ffn_dim": 64, "decoder_cross_attention_heads": 4, "num_queries": 9, "group_detr": 2,
    },
    "eomt": {"image_size": 64, "hidden_size": 32, "num_queries": 9, "num_hidden_layers": 3, "num_blocks": 1, "train_num_points": 64},
}
TRAINED = tuple(TINY)
# Those that learn every task; RF-DETR learns objects alone.
UNIVERSAL = tuple(name for name in TINY if len(networks.FAMILIES[name].tasks) > 1)


@pytest.fixture(autouse=True)
def tiny(monkeypatch: pytest.MonkeyPatch) -> None:
    """Smaller networks than the smallest that are offered, and smaller pictures, so that a step takes a moment."""
    monkeypatch.setattr(universal, "SHORTEST_SIDE", 48)
    monkeypatch.setattr(universal, "LONGEST_SIDE", 96)
    for name, options in TINY.items():
        family = networks.network(name)
        small = family.default_options() | options
        monkeypatch.setattr(family, "default_options", staticmethod(lambda small=small: copy.deepcopy(small)))


@pytest.fixture(scope="module")
def scenes(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("scenes")
    panoptic(root, 8)
    return root


@pytest.fixture(scope="module")
def animals(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """COCO objects: a cat and a dog in each picture."""
    root = tmp_path_factory.mktemp("animals")
    write_json(coco(root, 8), root / "_annotations.coco.json")
    return root


def made(name: str, labels: LabelSet) -> Network:
    family = networks.network(name)
    torch.manual_seed(0)
    return family.create(labels, family.default_options())


def begun(name: str, source: Path) -> Any:
    """Dataset and start of a run, as the command begins it."""
    dataset = open_dataset(str(source), seed=0, size=None, workers=1, progress=False)
    start = base_model.start(
        Config(model=name, from_scratch=True), lambda task: labels_for(dataset, task), lambda tasks: task_in(dataset, tasks)
    )
    return dataset, start


def command(name: str, source: Path, run: Path, *more: str) -> list[str]:
    return arguments(source, run, "--model", name, "--image-size", "64", *more)


@pytest.mark.parametrize("name", UNIVERSAL)
@pytest.mark.parametrize(
    ("which", "task", "classes"),
    [("scenes", PANOPTIC, ("sky", "disc", "ground")), ("animals", INSTANCE, ("cat", "dog")), ("data", SEMANTIC, ("background", "disc"))],
)
def test_the_data_decides_what_is_learnt(name: str, which: str, task: Any, classes: tuple[str, ...], request: Any) -> None:
    _, start = begun(name, request.getfixturevalue(which))
    network = start.checkpoint
    assert network.task is task and network.labels.names == classes
    again = rebuilt(json.loads(json.dumps(remembered(start)))).checkpoint
    assert again.task is task and again.labels == network.labels
    if name == "eomt":
        # Pictures of things are padded, pictures of classes cut into squares, as its published checkpoints have it.
        assert (network.processor.do_pad, network.processor.do_split_image) == (task is not SEMANTIC, task is SEMANTIC)
        assert (again.processor.do_pad, again.processor.do_split_image) == (task is not SEMANTIC, task is SEMANTIC)


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("size", [(90, 130), (200, 70), (300, 300)])
@pytest.mark.parametrize("task", [INSTANCE, SEMANTIC])
def test_training_sees_pixels_as_serving_does(name: str, size: tuple[int, int], task: Any) -> None:
    if task not in networks.FAMILIES[name].tasks:
        return
    network = made(name, LabelSet.from_names(["cat", "dog"])).trained_for(task)
    image = image_of(*size)
    label_map = np.zeros(size, np.uint8)
    label_map[size[0] // 2 :] = 1
    seen = AsSeen(network)(Sample(image, label_map))
    pixels = torch.from_numpy(seen.image).permute(2, 0, 1)[None] / 255
    served, given = network.preprocess(image), normalised(pixels, network.preprocessing)
    if served.shape[0] > 1:
        # Squares one after the other: the first and the last begin and end with the picture.
        side = served.shape[-1]
        given = torch.cat([given[..., :side, :side], given[..., -side:, -side:]])
        served = served[[0, -1]]
    height, width = given.shape[-2:]
    assert torch.allclose(given, served[..., :height, :width], atol=2e-2)
    # Half of the truth is still half of it: no padding was stretched over it.
    assert abs(seen.label_map.mean() - 0.5) < 0.02 and seen.label_map.shape == seen.image.shape[:2]
    again = AsSeen(network)(seen)
    assert again.image.shape == seen.image.shape


def crop_of(labels: np.ndarray, instances: np.ndarray | None = None, classes: np.ndarray | None = None) -> Crop:
    image = torch.rand(3, *labels.shape, generator=torch.Generator().manual_seed(1))
    objects = None if instances is None else torch.from_numpy(instances.astype(np.int64))
    return Crop(image, torch.from_numpy(labels.astype(np.int64)), objects, classes, "a")


def given_to(network: Network, crops: list[Crop], labels: LabelSet) -> tuple[list, list]:
    """What the library's forward pass gets."""
    objective, seen = Objective(network, "ce", labels=labels), {}

    class Recorder(torch.nn.Module):
        def forward(self, pixel_values, mask_labels, class_labels):
            seen.update(masks=mask_labels, classes=class_labels)
            return type("Output", (), {"loss": pixel_values.sum() * 0})

    batch = objective.collate(crops, torch.device("cpu"))
    objective.loss(Recorder(), batch, batch.valid, 1)
    return seen["masks"], seen["classes"]


def test_targets_are_things_one_by_one_and_stuff_by_class() -> None:
    labels = LabelSet(("sky", "disc", "ground"), np.zeros((3, 3), np.uint8), None, np.array([False, True, False]))
    network = made("mask2former", labels).trained_for(PANOPTIC)
    label_map, numbers = np.full((64, 64), IGNORE_16), np.zeros((64, 64))
    label_map[:20], label_map[30:50] = 0, 2
    for number, column in ((1, 5), (2, 40)):
        label_map[25:35, column : column + 10] = 1
        numbers[25:35, column : column + 10] = number
    masks, classes = given_to(network, [crop_of(label_map, numbers, np.array([0, 1, 1]))], labels)
    assert classes[0].tolist() == [1, 1, 0, 2]
    assert [int(mask.sum()) for mask in masks[0]] == [100, 100, 20 * 64, 20 * 64 - 100]
    assert masks[0].sum(0).max() == 1 and masks[0].dtype == torch.float32
    assert not masks[0][:, label_map == IGNORE_16].any(), "void is nobody's"


def test_targets_of_objects_overlap_and_have_the_networks_numbers() -> None:
    data_labels = LabelSet.from_names(["background", "cat", "dog"], background=0)
    network = made("mask2former", networks.network("mask2former").classes_of(data_labels, INSTANCE)).trained_for(INSTANCE)
    layers = np.zeros((2, 64, 64))
    layers[0, 10:20, 10:20], layers[0, 20:40, 10:40], layers[1, 10:20, 10:20] = 2, 1, 1
    masks, classes = given_to(network, [crop_of(np.zeros((64, 64)), layers, np.array([0, 1, 2]))], data_labels)
    assert network.labels.names == ("cat", "dog") and classes[0].tolist() == [0, 1]
    assert [int(mask.sum()) for mask in masks[0]] == [700, 100]


def test_targets_have_the_networks_numbers_whatever_those_of_the_data_are() -> None:
    """Of a network that is measured as it is, on data that has other classes too, in another order, and writes them otherwise."""
    labels = LabelSet(("Disc", "SKY", "ground"), np.zeros((3, 3), np.uint8), None, np.array([True, False, False]))
    network = made("mask2former", LabelSet(("sky", "tree", "ground", "disc"), np.zeros((4, 3), np.uint8), None, np.arange(4) == 3)).trained_for(PANOPTIC)
    label_map, numbers = np.full((64, 64), 1), np.zeros((64, 64))
    label_map[30:], label_map[:10, :10], numbers[:10, :10] = 2, 0, 1
    masks, classes = given_to(network, [crop_of(label_map, numbers, np.array([0, 0]))], labels)
    assert classes[0].tolist() == [3, 0, 2] and [int(mask.sum()) for mask in masks[0]] == [100, 30 * 64 - 100, 34 * 64]


def test_targets_of_classes_are_one_mask_each() -> None:
    labels = LabelSet.from_names(["background", "cell", "border"], background=0)
    network = made("mask2former", labels).trained_for(SEMANTIC)
    label_map = np.zeros((64, 64))
    label_map[:8], label_map[60:] = 2, IGNORE_16
    masks, classes = given_to(network, [crop_of(label_map)], labels)
    assert classes[0].tolist() == [0, 2] and [int(mask.sum()) for mask in masks[0]] == [52 * 64, 8 * 64]


def as_the_library_takes_it(name: str, targets: list[dict[str, torch.Tensor]]) -> dict[str, Any]:
    if name != "rfdetr":
        return {"mask_labels": [target["masks"].float() for target in targets], "class_labels": [target["labels"] for target in targets]}
    corners = [target["boxes"] / 64 for target in targets]
    boxes = [torch.cat([(box[:, :2] + box[:, 2:]) / 2, box[:, 2:] - box[:, :2]], 1) for box in corners]
    return {
        "labels": [{"class_labels": target["labels"], "boxes": box, "masks": target["masks"]} for target, box in zip(targets, boxes, strict=True)]
    }


@pytest.mark.parametrize("name", TRAINED)
@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_the_loss_is_the_librarys_and_reaches_every_weight_that_the_answer_needs(name: str, precision: str) -> None:
    labels = LabelSet.from_names(["background", "cat", "dog"], background=0)
    network = made(name, networks.network(name).classes_of(labels, INSTANCE)).trained_for(INSTANCE)
    numbers = np.zeros((64, 64))
    numbers[5:25, 5:25], numbers[30:50, 30:60] = 1, 2
    crops = [crop_of(np.zeros((64, 64)), numbers, np.array([0, 2, 1])), crop_of(np.zeros((64, 64)), np.zeros((64, 64)), np.array([0]))]
    objective = Objective(network, "ce", labels=labels)
    batch = objective.collate(crops, torch.device("cpu"))
    with torch.autocast("cpu", torch.bfloat16, enabled=precision == "bf16"):
        torch.manual_seed(5)
        loss = objective.loss(network.module.train(), batch, 2, 4)
        torch.manual_seed(5)
        theirs = network.module(pixel_values=normalised(batch.images, network.preprocessing), **as_the_library_takes_it(name, batch.targets)).loss
    assert torch.equal(loss, theirs / 4)
    loss.backward()
    left = [key for key, parameter in network.module.named_parameters() if parameter.grad is None]
    assert all(key.endswith((".layernorm.weight", ".layernorm.bias", ".mask_token")) for key in left) and (not left or network.unused_layers)
    nothing = objective.collate(crops[1:], torch.device("cpu"))
    network.module.zero_grad()
    empty = objective.loss(network.module, nothing, 1, 1)
    empty.backward()
    assert empty.shape == () and float(empty.detach()) > 0
    learnt = sum(float(parameter.grad.abs().sum()) for parameter in network.module.parameters() if parameter.grad is not None)
    assert learnt > 0, "that nothing is there is learnt of a crop without any object"
    moved = objective.adversarial(network.module, batch, 0.01)
    assert 0 < float((moved.images - batch.images).abs().max()) <= 0.0101


def test_a_base_keeps_what_its_head_knows_by_name() -> None:
    base = made("mask2former", LabelSet.from_names(["dog", "car", "cat"]))
    start = base_model._with_labels(base_model.Start(base, (), True, None, ()), LabelSet.from_names(["cat", "cow"]))
    fresh, old = start.checkpoint.module.class_predictor, base.module.class_predictor
    assert fresh.weight.shape[0] == 3 and "class_predictor.weight" in start.fresh
    assert torch.equal(fresh.weight[0], old.weight[2]) and torch.equal(fresh.bias[[0, 2]], old.bias[[2, 3]])
    assert not torch.equal(fresh.weight[1], old.weight[0])
    kept = start.checkpoint.module.state_dict()
    assert all(torch.equal(tensor, kept[key]) for key, tensor in base.module.state_dict().items() if not key.startswith(start.fresh))


@pytest.mark.parametrize(
    ("name", "which", "metric"), [("mask2former", "scenes", "pq"), ("eomt", "animals", "mask_ap"), pytest.param("rfdetr", "animals", "mask_ap", marks=pytest.mark.soak), pytest.param("mask2former", "data", "mean_iou", marks=pytest.mark.soak)]
)
def test_a_run_is_measured_by_its_tasks_metric_and_loads_as_what_it_learnt(
    ann, name: str, which: str, metric: str, request: Any, tmp_path: Path
) -> None:
    source, run = request.getfixturevalue(which), tmp_path / "run"
    pushed = f"ann/{name}-{which}"
    few = ("--max-steps", "2", "--accumulate", "2", "--precision", "bf16", "--workers", "1", "--push", pushed)
    assert finetune.main(command(name, source, run, *few)) == 0
    assert {path.name for path in (run / "best").iterdir()} == CHECKPOINT
    (line,) = [json.loads(text) for text in (run / "metrics.jsonl").read_text().splitlines()]
    assert metric in line and np.isfinite(line["loss"])
    model = load_model(str(run / "best"), device="cpu")
    task = {"pq": "panoptic", "mask_ap": "instance", "mean_iou": "semantic"}[metric]
    assert model.spec.task == task
    dataset = open_dataset(str(source), seed=0, size=None, workers=1, progress=False)
    held_out = [read_item(dataset, dataset.items, task, index) for index in range(3)]
    assert all(model.predict_all(sample.image).task == task for sample in held_out)
    card = (run / "best" / "README.md").read_text()
    assert f"type: {metric}" in card and "model-index" in card and f'subtask="{task}"' in card
    facts = json.loads((run / "best" / "training.json").read_text())
    assert facts["task"] == task and facts["metrics"][metric] == line[metric]
    config = json.loads((run / "best" / "config.json").read_text())
    assert tuple(config["id2label"].values()) == model.labels.names
    if task == "panoptic":
        assert model.labels.things.tolist() == [False, True, False] and facts["labels"]["isthing"] == [0, 1, 0]
        assert {"pq_things", "pq_stuff", "sq", "rq"} <= set(line) and "disc (thing)" in card and "sky (stuff)" in card
    # The repository is transformers' own: its pipeline says the same of a picture as the run's best.
    image, plain, network = held_out[0].image, pipeline("image-segmentation", model=pushed), model._run.network
    with torch.inference_mode():
        theirs = query_logits(plain.model(**plain.image_processor(images=Image.fromarray(image), return_tensors="pt")))
        (mine,) = network.forward(network.module, network.preprocess(image))
    assert torch.equal(theirs[0][0], mine["classes"]) and torch.equal(theirs[1][0], mine["masks"])
    assert all(segment["label"] in model.labels.names for segment in plain(Image.fromarray(image), subtask=task, threshold=0.1))


@pytest.mark.soak
@pytest.mark.parametrize(
    ("name", "which"), [("mask2former", "scenes"), pytest.param("eomt", "scenes", marks=pytest.mark.soak), pytest.param("rfdetr", "animals", marks=pytest.mark.soak)]
)
def test_a_stopped_run_resumes_to_the_bit(name: str, which: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, request: Any) -> None:
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    source = request.getfixturevalue(which)
    begin: Callable[[Path], list[str]] = lambda run: command(name, source, run, "--max-steps", "3", "--adversarial", "0.01")
    assert finetune.main(begin(whole)) == 0
    real, seen = Trainer._step, []

    def stop_after(self, parts, step):
        loss = real(self, parts, step)
        if step not in seen:
            seen.append(step)
            os.kill(os.getpid(), signal.SIGTERM)
        return loss

    monkeypatch.setattr(Trainer, "_step", stop_after)
    code = finetune.main(begin(broken))
    while code == 143:
        code = finetune.main(["--resume", str(broken)])
    assert code == 0 and seen == [0, 1, 2]
    first, second = load_state(whole / "last" / "state.pt"), load_state(broken / "last" / "state.pt")
    assert all(torch.equal(first["module"][key], second["module"][key]) for key in first["module"])
    for path in (whole / "best").glob("*.*"):
        if path.suffix in (".json", ".safetensors") and path.name != "training.json":
            assert path.read_bytes() == (broken / "best" / path.name).read_bytes(), path.name


@pytest.fixture
def ann(hub, monkeypatch: pytest.MonkeyPatch):
    """The Hub, with ann logged in."""
    hub.add_user("ann", TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    return hub


def test_a_network_learns_from_scratch_and_plain_transformers_finds_the_same_segments(ann, scenes: Path, tmp_path: Path) -> None:
    run = tmp_path / "run"
    assert finetune.main(command("mask2former", scenes, run, "--max-steps", "40", "--lr", "0.003", "--augment", "none", "--push", "ann/scenes")) == 0
    facts = json.loads((run / "best" / "training.json").read_text())
    assert facts["metrics"]["pq"] > 0.2, "forty steps are enough for sky and ground; random weights have 0"
    path = scenes / "all" / "3.png"
    image = Image.open(path)
    result = load_model("ann/scenes", device="cpu").predict(np.asarray(image))
    plain = pipeline("image-segmentation", model="ann/scenes")
    found = plain(str(path), subtask="panoptic", threshold=0.5)
    assert result.task == "panoptic" and len(found) >= 2
    # The library numbers stuff that two queries found twice.
    masks: dict[tuple[str, int], np.ndarray] = {}
    for place, segment in enumerate(found):
        key = (segment["label"], place if segment["label"] == "disc" else -1)
        masks[key] = masks.get(key, np.zeros(result.id_map.shape, bool)) | (np.asarray(segment["mask"]) > 0)
    ours = [(result.labels.names[s.label_id], (result.id_map == identity)) for identity, s in zip(result.ids, result.segments, strict=True)]
    assert sorted(name for name, _ in masks) == sorted(name for name, _ in ours)
    for name, mask in ours:
        assert any(name == other and np.array_equal(mask, theirs) for (other, _), theirs in masks.items()), name
