"""What an answer rests on: found where it was put, for a model made for that, and within its bounds for every family."""

from __future__ import annotations

import numpy as np
import pytest

from seg_demo import load_model
from seg_demo.core.errors import BadRequestError
from seg_demo.core.types import LabelSet, Segment, Segmentation
from seg_demo.inference.explain import take_apart, thing_at

LABELS = LabelSet.from_names(("background", "thing"), 0)
THING, HEIGHT, WIDTH = (60, 40, 90, 70), 110, 150


def classes(confidence: float) -> Segmentation:
    """A thing of a class, as sure as is said."""
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    x0, y0, x1, y1 = THING
    ids[y0:y1, x0:x1] = confidence > 0.5
    sure = np.full(ids.shape, 255, np.uint8)
    sure[y0:y1, x0:x1] = round(255 * max(confidence, 1 - confidence))
    return Segmentation("semantic", HEIGHT, WIDTH, LABELS, ids, (), confidence=sure)


def objects(score: float) -> Segmentation:
    """The same as an object."""
    x0, y0, x1, y1 = THING
    ids = np.zeros((HEIGHT, WIDTH), np.uint8)
    ids[y0:y1, x0:x1] = 1
    return Segmentation("instance", HEIGHT, WIDTH, LABELS, ids, (Segment(1, score, THING, np.ones((y1 - y0, x1 - x0), bool)),))


def striped(cue: tuple[int, int, int, int]) -> np.ndarray:
    image = np.full((HEIGHT, WIDTH, 3), 90, np.uint8)
    image[cue[1] : cue[3], cue[0] : cue[2] : 2] = 255
    return image


@pytest.mark.parametrize("made", [classes, objects])
def test_the_part_that_decides_is_the_brightest(made):
    """The model looks at stripes beside the thing, and nowhere else."""
    cue = 84, 44, 100, 60
    image = striped(cue)

    def run(pixels: np.ndarray) -> Segmentation:
        stripes = pixels[cue[1] : cue[3], cue[0] : cue[2], 0].astype(float)
        return made(min(1.0, float(np.abs(np.diff(stripes, axis=1)).mean()) / 165))

    told = []
    result = run(image)
    found = take_apart(run, image, (0, 0, WIDTH, HEIGHT), thing_at(result, (75, 55)), (75, 55), lambda part, words: told.append((part, words)))
    assert found.label == "thing" and found.at == (75, 55) and found.score == pytest.approx(1, abs=0.01)
    x0, y0, x1, y1 = found.frame
    assert x0 < THING[0] and y0 < THING[1] and x1 > THING[2] and y1 > THING[3] and found.values.shape == (y1 - y0, x1 - x0)
    y, x = np.unravel_index(found.values.argmax(), found.values.shape)
    assert cue[0] - 4 <= x + x0 < cue[2] + 4 and cue[1] - 4 <= y + y0 < cue[3] + 4
    assert 0.2 < found.values.max() <= 1 and found.values.min() >= 0 and found.beyond == pytest.approx(0, abs=0.02)
    assert [part for part, _ in told] == sorted(part for part, _ in told) and told[-1][0] < 1


def test_what_decides_from_afar_is_beyond_the_frame():
    cue = 2, 2, 14, 14
    image = striped(cue)
    run = lambda pixels: objects(float(np.abs(np.diff(pixels[2:14, 2:14, 0].astype(float), axis=1)).mean()) / 165)  # noqa: E731
    found = take_apart(run, image, (0, 0, WIDTH, HEIGHT), thing_at(run(image), (75, 55)), (75, 55))
    assert found.beyond > 0.9 and found.values.max() < 0.2


def test_there_is_nothing_to_explain():
    image, result = striped((0, 0, 1, 1)), objects(0.9)
    with pytest.raises(BadRequestError, match="Nothing was found at"):
        thing_at(result, (0, 0))
    with pytest.raises(BadRequestError, match="beyond the picture"):
        thing_at(result, (WIDTH, 0))
    with pytest.raises(BadRequestError, match="not found there again"):
        take_apart(lambda pixels: objects(0.0), image, (0, 0, WIDTH, HEIGHT), thing_at(result, (75, 55)), (75, 55))
    with pytest.raises(BadRequestError, match="without a network"):
        otsu = load_model("otsu")
        otsu.explain(image, otsu.predict(image), (0, 0))


@pytest.mark.parametrize(("kind", "detail"), [("unet", "whole"), ("unet", "full"), ("maskrcnn", "whole"), pytest.param("maskrcnn", "full", marks=pytest.mark.soak)])
def test_every_network_says_what_it_rests_on(folders, kind, detail):
    """Of what it was shown: the picture as small as it saw it, or a tile of it."""
    model = load_model(str(folders / kind))
    image = np.random.default_rng(2).integers(0, 256, (301, 217, 3), dtype=np.uint8)
    result = model.predict(image, 0.0, detail=detail, confidence=True)
    ys, xs = np.nonzero(result.id_map) if result.segments else ([], [])
    if not len(ys):
        pytest.skip("random weights found nothing")
    at = int(xs[len(xs) // 2]), int(ys[len(ys) // 2])
    try:
        found = model.explain(image, result, at)
    except BadRequestError as error:
        assert error.message.key in ("explain.not_found_again", "explain.too_small")
        return
    x0, y0, x1, y1 = found.frame
    assert 0 <= x0 < x1 <= 217 and 0 <= y0 < y1 <= 301 and x0 <= at[0] < x1 and y0 <= at[1] < y1
    assert found.values.dtype == np.float32 and 0 <= found.values.min() <= found.values.max() <= 1 and found.label in model.labels.names


def test_a_pixel_may_be_a_fraction_and_the_picture_must_be_the_results():
    """As plots give where somebody clicked. Of another picture there came a map of zeros."""
    model = load_model("unet-cells", device="cpu")
    image = striped((10, 10, 40, 40))
    result = model.predict(image)
    np.testing.assert_array_equal(model.explain(image, result, (75.9, 55.2)).values, model.explain(image, result, (75, 55)).values)
    with pytest.raises(BadRequestError, match="of a picture of 150 × 110 pixels, but this one has 150 × 60"):
        model.explain(image[:60], result, (75, 55))
