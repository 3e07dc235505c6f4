"""Semantic metrics against sklearn and dense numpy, and examples that can be checked by hand."""

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from sklearn.metrics import accuracy_score, f1_score, jaccard_score

from seg_demo.annotations.listing import Sample
from seg_demo.core.types import LabelSet, Segment, Segmentation
from train.metrics import PanopticMeter, SemanticMeter, only_shared, shared_labels

torch.set_num_threads(1)
LABELS = LabelSet.from_names(["background", "cell", "border", "never"], background=0)


def blobs(rng: np.random.Generator, height: int, width: int, classes: int) -> np.ndarray:
    coarse = rng.integers(0, classes, (math.ceil(height / 7), math.ceil(width / 7)))
    return np.repeat(np.repeat(coarse, 7, 0), 7, 1)[:height, :width].astype(np.uint8)


def test_semantic_metrics_equal_sklearn():
    rng = np.random.default_rng(0)
    meter = SemanticMeter(LABELS)
    truths, guesses = [], []
    for height, width in ((37, 53), (64, 64), (5, 91)):
        truth, guess = blobs(rng, height, width, 3), blobs(rng, height, width, 3)
        truth[rng.random(truth.shape) < 0.2] = 255
        meter.add(truth, guess)
        truths.append(truth[truth != 255])
        guesses.append(guess[truth != 255])
    truth, guess = np.concatenate(truths), np.concatenate(guesses)
    result = meter.result()
    ious = jaccard_score(truth, guess, average=None)
    assert [result[f"iou/{name}"] for name in LABELS.names[:3]] == pytest.approx(ious, abs=1e-12)
    assert result["mean_iou"] == pytest.approx(ious.mean(), abs=1e-12)
    assert result["mean_dice"] == pytest.approx(f1_score(truth, guess, average="macro"), abs=1e-12)
    assert result["pixel_accuracy"] == pytest.approx(accuracy_score(truth, guess), abs=1e-12)
    assert "iou/never" not in result, "a class that occurs nowhere has no score"
    assert all(type(value) is float for value in result.values()), "metrics go into JSON and into the resume state"


def dense_boundary(mask: np.ndarray) -> np.ndarray:
    """The boundary region by the definition of Cheng et al.: the mask without its erosion, 3 x 3 and d times."""
    reach = max(1, round(0.02 * math.hypot(*mask.shape)))
    return mask & ~ndimage.binary_erosion(mask, np.ones((3, 3)), iterations=reach, border_value=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 90), st.integers(1, 90), st.integers(0, 10**6))
def test_boundary_iou_equals_its_definition(height, width, seed):
    rng = np.random.default_rng(seed)
    truth, guess = blobs(rng, height, width, 3), blobs(rng, height, width, 3)
    meter = SemanticMeter(LABELS)
    meter.add(truth, guess)
    result = meter.result()
    for label_id, name in enumerate(LABELS.names[:3]):
        a, b = dense_boundary(truth == label_id), dense_boundary(guess == label_id)
        if (a | b).any():
            assert result[f"boundary_iou/{name}"] == pytest.approx((a & b).sum() / (a | b).sum(), abs=1e-12)
        else:
            assert f"boundary_iou/{name}" not in result


def test_a_perfect_prediction_has_one_everywhere_also_beside_unlabelled_pixels():
    truth = blobs(np.random.default_rng(1), 60, 80, 3)
    guess = truth.copy()
    truth[:, 30:50] = 255
    meter = SemanticMeter(LABELS)
    assert meter.add(truth, guess) == 1.0
    assert set(meter.result().values()) == {1.0}


def test_classes_are_matched_by_name_and_unknown_names_count_as_wrong():
    # By hand: 4 pixels, truth cell cell background background; the network says cell, dust, background, background.
    network = LabelSet.from_names(["Dust", "cell ", "background"])
    meter = SemanticMeter(LABELS, network)
    meter.add(np.array([[1, 1, 0, 0]], np.uint8), np.array([[1, 0, 2, 2]], np.uint8))
    result = meter.result()
    assert (result["iou/cell"], result["iou/background"], result["pixel_accuracy"]) == (0.5, 1.0, 0.75)
    assert result["mean_iou"] == 0.75


def test_nothing_labelled_gives_no_metric():
    meter = SemanticMeter(LABELS)
    assert math.isnan(meter.add(np.full((3, 4), 65535, np.uint16), np.zeros((3, 4), np.uint8)))
    assert meter.result() == {}


# A network on data that has other classes too.

DATA = LabelSet.from_names(["background", "cat", "cell"], background=0)
NETWORK = LabelSet.from_names(["background", "dog", "Cat"], background=0)
PICTURE = np.zeros((2, 3, 3), np.uint8)
MAP = np.array([[0, 1, 2], [2, 255, 1]], np.uint8)


def test_pixels_of_other_classes_are_ignored() -> None:
    shared = shared_labels(DATA, NETWORK)
    (sample,) = only_shared([Sample(PICTURE, MAP)], DATA, shared, "semantic")
    assert shared.names == ("background", "cat") and shared.background == 0
    assert sample.label_map.tolist() == [[0, 1, 255], [255, 255, 1]]


def test_objects_of_other_classes_are_left_out() -> None:
    objects = np.array([[0, 1, 2], [2, 3, 3]], np.uint16)
    sample = Sample(PICTURE, MAP, objects, "a", np.array([0, 1, 2, 1], np.uint16))
    (found,) = only_shared([sample], DATA, shared_labels(DATA, NETWORK), "instance")
    assert found.instance_map.tolist() == [[0, 1, 0], [0, 2, 2]]
    assert found.instance_labels.tolist() == [0, 1, 1]
    assert np.array_equal(found.label_map, MAP)


def test_stuff_that_is_painted_wrong_counts_among_the_classes_that_are_shared() -> None:
    names, things = ("boat", "disc", "sky", "tree"), np.array([True, True, False, False])
    data = LabelSet(names, np.zeros((4, 3), np.uint8), things=things)
    network = LabelSet(("tree", "sky", "disc"), np.zeros((3, 3), np.uint8), things=things[[3, 2, 1]])
    # A boat, a disc, sky above trees, and a crowd of discs.
    label_map = np.array([[0, 1, 2, 3], [3, 3, 3, 255]], np.uint8)
    objects, crowd = np.array([[1, 2, 0, 0], [0, 0, 0, 0]], np.uint16), np.array([[0, 0, 0, 0], [0, 0, 0, 2]], np.uint16)
    sample = Sample(np.zeros((2, 4, 3), np.uint8), label_map, objects, "a", np.array([0, 0, 1], np.uint16), crowd=crowd)
    shared = shared_labels(data, network)
    (found,) = only_shared([sample], data, shared, "panoptic")
    assert shared.names == names[1:] and shared.things.tolist() == [True, False, False]
    assert found.label_map.tolist() == [[255, 0, 1, 2], [2, 2, 2, 255]]
    assert found.instance_map.tolist() == [[0, 1, 0, 0], [0, 0, 0, 0]] and found.crowd.tolist() == [[0, 0, 0, 0], [0, 0, 0, 1]]
    # All the stuff is called tree.
    ids = np.array([[2, 1, 2, 2], [2, 2, 2, 2]], np.uint16)
    segments = (Segment(2, 1.0, (1, 0, 2, 1), None), Segment(0, 1.0, (0, 0, 4, 2), None))
    meter = PanopticMeter(shared, network)
    meter.add(found, Segmentation("panoptic", 2, 4, network, ids, segments))
    scores = meter.result()
    assert (scores["pq_things"], scores["pq/sky"]) == (1, 0) and scores["pq_stuff"] == pytest.approx(1 / 3)
