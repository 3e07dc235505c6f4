"""Pictures of a run: what is drawn, in which order, and that odd input does not stop a finished training."""

import json
import warnings

import numpy as np
import pytest
from PIL import Image

from seg_demo.annotations.listing import Sample
from seg_demo.core.types import LabelSet, Segment, Segmentation, paint, semantic_segmentation
from train.evaluate import PICTURE_SIDE, Picture, learning_curves, picture_of, sample_grid

LABELS = LabelSet.from_names(["background", "cell"], background=0)


def test_truth_and_prediction_are_drawn_in_the_datas_colours():
    image = np.full((40, 60, 3), 128, np.uint8)
    label_map = np.zeros((40, 60), np.uint8)
    label_map[10:30, 10:30] = 1
    label_map[:, 50:] = 255
    swapped = LabelSet(("cell", "Background"), LABELS.colors.copy(), 1)
    prediction = semantic_segmentation((label_map != 1).astype(np.uint8), swapped)
    picture = picture_of(Sample(image, label_map, name="a"), prediction, LABELS, "semantic", 1.0)
    assert np.array_equal(picture.truth[15:25, 15:25], picture.prediction[15:25, 15:25])
    assert not np.array_equal(picture.truth[20, 20], image[20, 20])
    assert np.array_equal(picture.truth[:, 52:], image[:, 52:]), "pixels without a label stay as they are"


def test_objects_below_the_default_threshold_are_not_drawn_and_large_images_shrink():
    height, width = 500, 1000
    instance_map = np.zeros((height, width), np.uint16)
    instance_map[100:200, 100:200] = 1
    sample = Sample(np.full((height, width, 3), 90, np.uint8), (instance_map > 0).astype(np.uint8), instance_map, "b")
    unsure = (Segment(1, 0.2, (100, 100, 200, 200), np.ones((100, 100), bool)),)
    prediction = Segmentation("instance", height, width, LABELS, paint(unsure, height, width), unsure)
    picture = picture_of(sample, prediction, LABELS, "instance", 0.0)
    assert picture.image.shape == (PICTURE_SIDE // 2, PICTURE_SIDE, 3)
    assert np.array_equal(picture.prediction, picture.image)
    assert not np.array_equal(picture.truth, picture.image)


def picture(name: str, score: float, height: int, width: int, gray: int) -> Picture:
    image = np.full((height, width, 3), gray, np.uint8)
    return Picture(name, score, image, image, image)


def test_the_grid_has_the_worst_on_top_and_the_same_bytes_every_time(tmp_path):
    rows = [picture("good $x_{$ 名字.png", 0.9, 60, 60, 250), picture("d/" * 40 + "bad.png", 0.1, 80, 20, 5)]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        sample_grid(rows, tmp_path / "one.png")
    sample_grid(rows[::-1], tmp_path / "two.png")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    drawn = np.asarray(Image.open(tmp_path / "one.png").convert("L"))
    dark = np.flatnonzero((drawn < 30).sum(axis=1) > 50)
    assert dark.size and dark.max() < drawn.shape[0] * 0.8, "the dark, bad one is the upper one"


@pytest.mark.parametrize("count", [1, 40])
def test_learning_curves(tmp_path, count):
    lines = [{"step": 10 * n, "loss": 1 / n, "mean_iou": 1 - 1 / n, "mean_dice": 0.9} for n in range(1, count + 1)]
    text = "\n".join(json.dumps(line) for line in lines)
    (tmp_path / "metrics.jsonl").write_text(text + '\n{"step": 900, "lo')
    assert learning_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    with Image.open(tmp_path / "curves.png") as drawn:
        assert drawn.size[0] > 600


def test_a_run_without_evaluations_has_no_curves(tmp_path):
    assert not learning_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    (tmp_path / "metrics.jsonl").write_text("")
    assert not learning_curves(tmp_path / "metrics.jsonl", tmp_path / "curves.png")
    assert not (tmp_path / "curves.png").exists()
