"""The evaluation: what it asks of a model, what it keeps, and in which order."""

import numpy as np
import pytest

from seg_demo.annotations.listing import Sample
from seg_demo.core.types import SEMANTIC, LabelSet, semantic_segmentation
from train.evaluate import evaluate

LABELS = LabelSet.from_names(["background", "cell", "border"], background=0)


class Echo:
    """A model that knows the truth of some images and paints background on the others."""

    def __init__(self, labels, known):
        self.labels, self.known = labels, known

    def predict_all(self, image):
        return semantic_segmentation(self.known.get(image.tobytes(), np.zeros(image.shape[:2], np.uint8)), self.labels)


def test_evaluate_keeps_pictures_of_the_worst_only():
    rng = np.random.default_rng(5)
    samples = []
    for index in range(9):
        image = rng.integers(0, 256, (20 + index, 30, 3), dtype=np.uint8)
        samples.append(Sample(image, rng.integers(0, 3, (20 + index, 30), dtype=np.uint8), name=f"image {index}"))
    known = {each.image.tobytes(): each.label_map for each in samples[:6]}
    done = []
    metrics, images = evaluate(Echo(LABELS, known), iter(samples), task="semantic", progress=done.append, pictures=2)
    assert done == list(range(1, 10))
    assert metrics[SEMANTIC.metric] < 1
    scores = [each.score for each in images]
    assert scores == sorted(scores) and scores[3:] == [1.0] * 6
    assert [each.picture is not None for each in images] == [True, True] + [False] * 7
    assert {each.name for each in images[:3]} == {"image 6", "image 7", "image 8"}
    assert images[0].picture.image.shape == images[0].picture.truth.shape == images[0].picture.prediction.shape
    with pytest.raises(ValueError, match="task"):
        evaluate(Echo(LABELS, {}), samples, task="region")
