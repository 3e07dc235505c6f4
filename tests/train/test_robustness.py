"""What the robustness report is made of: changes whose truth goes along, an attack that stays within its bound, and the card."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage

from seg_demo import networks
from seg_demo.annotations.listing import Sample
from seg_demo.core.types import LabelSet, ModelSpec
from seg_demo.inference.model import Model
from seg_demo.networks.base import Network
from seg_demo.serving.catalog import BUNDLED_FOLDER
from synthetic.cells import render
from train import robustness
from train.robustness import CHANGES, Attack, GreyValues, measure

# What a sensor's four channels have, where a network's have 0 and 1.
RANGES = ((1000.0, 9000.0), (0.0, 2.0), (-5.0, 5.0), (0.0, 60000.0))


def square(side: int = 96) -> Sample:
    """A picture whose truth is what is bright in it."""
    rng = np.random.default_rng(0)
    values = ndimage.gaussian_filter(rng.normal(0, 1, (side, side)), 9)
    mask = (values > 0).astype(np.uint8)
    numbers, _ = ndimage.label(mask)
    image = np.repeat((60 + 140 * mask)[..., None], 3, axis=2).astype(np.uint8)
    return Sample(image, mask, numbers.astype(np.uint16), "square")


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_truth_goes_where_the_image_goes(change) -> None:
    sample = square()
    for strength in change.strengths:
        found = change.apply(sample, strength, np.random.default_rng(1))
        again = change.apply(sample, strength, np.random.default_rng(1))
        assert np.array_equal(found.image, again.image) and found.label_map.shape == found.image.shape[:2]
        assert not np.array_equal(found.image, sample.image)
        bright = ndimage.uniform_filter(found.image[..., 1].astype(float), 3)
        inside = ndimage.binary_erosion(found.label_map == 1, iterations=3)
        outside = ndimage.binary_erosion(found.label_map == 0, iterations=3)
        assert bright[inside].mean() > bright[outside].mean() + 20
        assert ((found.instance_map > 0) == (found.label_map == 1)).all()


def test_a_quarter_turn_is_numpys_and_half_the_size_is_pillows() -> None:
    sample, none = square(), np.random.default_rng(0)
    quarter = robustness.turned(sample, 90, none)
    assert np.array_equal(quarter.image, np.rot90(sample.image)) and np.array_equal(quarter.label_map, np.rot90(sample.label_map))
    half = robustness.scaled(sample, 0.5, none)
    assert np.array_equal(half.image, np.asarray(Image.fromarray(sample.image).resize((48, 48), Image.Resampling.BILINEAR)))


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.name)
def test_a_strength_means_the_same_for_values_that_are_no_colours(change, cells: Network) -> None:
    """The samples of a sensor, whose ranges are what a network learnt, change as the grey values that they stand for."""
    grey, (low, high) = GreyValues(cells.with_channels(4).measuring(RANGES)), np.array(RANGES, dtype=np.float32).T
    plain = square()
    plane = plain.image[..., :1].astype(np.float32)
    sensor = replace(plain, values=low + plane / 255 * (high - low))
    strength = change.strengths[1]
    found = grey.stored(change.apply(grey.of(sensor), strength, np.random.default_rng(1)))
    assert found.values.shape == (*found.label_map.shape, 4) and found.values.dtype == np.float32
    shown = (found.values - low) / (high - low) * 255
    if change.name == "noise":
        assert abs((shown - plane).std() - strength) < 1
    else:
        expected = change.apply(plain, strength, np.random.default_rng(1))
        np.testing.assert_array_equal(found.label_map, expected.label_map)
        # The image's values are whole (Pillow resizes rows and then columns, and rounds twice), and colours are compressed as such.
        away = np.abs(shown - expected.image[..., :1].astype(np.float32))
        assert np.quantile(away, 0.99) < (12 if change.name == "JPEG" else 1)
    kept = grey.stored(grey.of(replace(sensor, values=sensor.values.astype(np.float64))))
    np.testing.assert_allclose(kept.values, sensor.values, rtol=1e-5)


@pytest.fixture(scope="module")
def cells() -> Network:
    return networks.load(BUNDLED_FOLDER / "unet-cells")


@pytest.fixture(scope="module")
def pictures() -> list[Sample]:
    return [render(5001, index, 128) for index in (0, 1)]


def test_an_attack_stays_within_its_bound_and_raises_the_loss(cells: Network, pictures: list[Sample]) -> None:
    attack = Attack(cells, "ce", cells.labels, seed=0)
    none = np.random.default_rng(0)
    before = {name: tensor.clone() for name, tensor in cells.module.state_dict().items()}
    for sample in pictures:
        clean, moved = (attack(sample, strength, none) for strength in (0, 4))
        assert np.array_equal(clean.label_map, moved.label_map)
        apart = np.abs(clean.image.astype(int) - moved.image.astype(int))
        assert apart.max() == 4 and (apart == 4).mean() > 0.5

        def loss(of: Sample) -> float:
            with torch.no_grad():
                logits = cells.forward(cells.module, cells.preprocess(of.image))[..., : of.image.shape[0], : of.image.shape[1]]
                truth = torch.from_numpy(of.label_map.astype(np.int64))[None]
                return float(torch.nn.functional.cross_entropy(logits, truth.masked_fill(truth == 65535, -100)))

        assert loss(moved) > loss(clean)
    assert all(torch.equal(tensor, before[name]) for name, tensor in cells.module.state_dict().items())


def test_an_attack_means_the_networks_classes_whatever_numbers_the_data_gives_them(cells: Network, pictures: list[Sample]) -> None:
    rng, names = np.random.default_rng(0), [name.upper() for name in reversed(cells.labels.names)]
    labels = LabelSet.from_names(["ship", *names], background=len(names))
    renumbered = np.where(pictures[0].label_map < len(names), len(names) - pictures[0].label_map, 255).astype(np.uint8)
    wanted, found = (
        Attack(cells, "ce", known, seed=0)(replace(pictures[0], label_map=label_map), 4, rng)
        for known, label_map in ((cells.labels, pictures[0].label_map), (labels, renumbered))
    )
    assert np.array_equal(found.image, wanted.image)
    assert np.array_equal(found.label_map, np.where(wanted.label_map == 65535, 65535, len(names) - wanted.label_map.astype(int)))


def test_every_change_has_its_score_and_the_worst_blur_costs_most(cells: Network, pictures: list[Sample], tmp_path: Path) -> None:
    model = Model.from_network(cells, ModelSpec("x", None, "semantic", "unet", "x", "", "folder"))
    how = {"task": "semantic", "loss": "ce", "seed": 0, "quiet": True}
    found = measure(model, cells, iter(pictures), cells.labels, minutes=10, **how)
    rows = {row["name"]: row for row in found["rows"]}
    assert list(rows) == [*(change.name for change in CHANGES), "FGSM"] and found["images"] == 2
    assert all(0 <= score <= 1 for row in rows.values() for score in row["scores"])
    assert rows["blur"]["scores"][-1] < found["clean"] and rows["FGSM"]["scores"][-1] < rows["FGSM"]["scores"][0]
    assert json.loads(json.dumps(found)) == found
    assert measure(model, cells, iter(pictures), cells.labels, minutes=10, **how) == found, "seeded"
    robustness.draw(found, tmp_path / "robustness.png")
    with Image.open(tmp_path / "robustness.png") as drawn:
        assert drawn.width > 600 and drawn.height > 300
    text = robustness.table(found)
    assert len(text.splitlines()) == 2 + len(rows) and f"4: {rows['blur']['scores'][-1]:.3f}" in text


def test_when_the_time_is_over_the_rest_is_said_to_be_missing(cells: Network, pictures: list[Sample]) -> None:
    model = Model.from_network(cells, ModelSpec("x", None, "semantic", "unet", "x", "", "folder"))
    found = measure(model, cells, iter(pictures), cells.labels, task="semantic", loss="ce", minutes=0, seed=0, quiet=True)
    assert found["clean"] > 0 and all(score is None for row in found["rows"] for score in row["scores"])
    assert "–" in robustness.table(found)


def test_a_network_of_a_sensors_channels_is_measured_and_attacked_in_its_own_ranges(cells: Network) -> None:
    network, low, high = cells.with_channels(4).measuring(RANGES), *np.array(RANGES, dtype=np.float32).T
    plain = render(5001, 0, 128)
    sensor = replace(plain, values=low + plain.image[..., [0, 1, 2, 0]].astype(np.float32) / 255 * (high - low))
    attack, grey, none = Attack(network, "ce", network.labels, seed=0), GreyValues(network), np.random.default_rng(0)
    clean, moved = (attack(grey.of(sensor), strength, none) for strength in (0, 4))
    apart = np.abs(clean.values - moved.values)
    assert apart.max() == pytest.approx(4, abs=1e-3) and (apart > 3.9).mean() > 0.5
    model = Model.from_network(network, ModelSpec("x", None, "semantic", "unet", "x", "", "folder"))
    found = measure(model, network, iter([sensor]), network.labels, task="semantic", loss="ce", minutes=10, seed=0, quiet=True)
    scores = {row["name"]: row["scores"] for row in found["rows"]}
    assert not any(score is None for row in scores.values() for score in row)
    assert scores["noise"][-1] < found["clean"] and scores["FGSM"][-1] < scores["FGSM"][0]
