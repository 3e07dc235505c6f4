"""Paint and predict: features that do not depend on how the picture is cut, and a classifier that a few strokes teach."""

from __future__ import annotations

import tracemalloc

import numpy as np
import pytest
import torch
from scipy import ndimage
from skimage import data
from skimage.feature import multiscale_basic_features
from sklearn.ensemble import RandomForestClassifier

from seg_demo.masks import regions
from seg_demo.masks.regions import PixelClassifier, features
from synthetic import cells

NOTHING = 255


def seen(picture: np.ndarray) -> np.ndarray:
    """(H, W, F)."""
    return torch.cat([strip for _, strip in features(picture)], dim=1).permute(1, 2, 0).numpy()


def strokes(truth: np.ndarray, each: int, seed: int, length: int = 20) -> np.ndarray:
    """Short horizontal lines inside every class."""
    draw, painted = np.random.default_rng(seed), np.full(truth.shape, NOTHING, np.uint8)
    for value in np.unique(truth):
        inside = np.argwhere(ndimage.distance_transform_edt(truth == value) > 2)
        for y, x in inside[draw.integers(len(inside), size=each)]:
            part = slice(max(0, x - length // 2), x + length // 2)
            painted[y, part][truth[y, part] == value] = value
    return painted


def overlap(found: np.ndarray, truth: np.ndarray) -> float:
    """Mean IoU of the classes."""
    return float(np.mean([((found == v) & (truth == v)).sum() / ((found == v) | (truth == v)).sum() for v in np.unique(truth)]))


@pytest.mark.parametrize("size", [(1, 1), (1, 40), (33, 7), (150, 131)])
def test_features_do_not_depend_on_the_strips(size, monkeypatch) -> None:
    picture = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    whole = seen(picture)
    assert whole.shape == (*size, 6 * regions.SCALES) and whole.dtype == np.float32 and np.isfinite(whole).all()
    monkeypatch.setattr(regions, "_STRIP_CLASSIFIED", 32)
    np.testing.assert_array_equal(seen(picture), whole)


def test_coins_come_out_of_six_strokes() -> None:
    grey = data.coins()
    picture = np.stack([grey] * 3, axis=-1)
    truth = ndimage.binary_fill_holes(ndimage.binary_opening(grey > 107, iterations=2)).astype(np.uint8)
    painted = strokes(truth, 3, 0, 40)
    found, margins = PixelClassifier.fit(picture, painted, NOTHING).predict(picture)
    assert found.dtype == np.uint16 and margins.dtype == np.uint8 and found.shape == margins.shape == grey.shape
    assert overlap(found, truth) > 0.8
    # It is right where it was told so, sure there, and less sure where it is wrong.
    known = painted != NOTHING
    assert (found[known] == painted[known]).mean() > 0.97 and margins[known].mean() > margins[found != truth].mean() + 30
    # The same strokes teach the same.
    again, _ = PixelClassifier.fit(picture, painted, NOTHING).predict(picture)
    np.testing.assert_array_equal(again, found)


def test_it_is_as_good_as_a_random_forest_on_the_features_of_scikit_image() -> None:
    mine, theirs = [], []
    for index in range(6):
        sample = cells.render(777, index, 128)
        truth = (sample.instance_map > 0).astype(np.uint8)
        if len(np.unique(truth)) < 2 or not (ndimage.distance_transform_edt(truth) > 2).any():
            continue
        painted = strokes(truth, 4, index)
        mine.append(overlap(PixelClassifier.fit(sample.image, painted, NOTHING).predict(sample.image)[0], truth))
        table, known = multiscale_basic_features(sample.image, channel_axis=-1, sigma_max=16), painted != NOTHING
        forest = RandomForestClassifier(30, random_state=0).fit(table[known], painted[known])
        theirs.append(overlap(forest.predict(table.reshape(-1, table.shape[2])).reshape(truth.shape), truth))
    assert len(mine) >= 3 and np.mean(mine) > np.mean(theirs) - 0.02, (mine, theirs)


@pytest.mark.parametrize("size", [(61, 83), (64, 96), (120, 35)])
def test_a_large_picture_is_classified_at_a_fraction_of_its_size(size, monkeypatch) -> None:
    """Two sides; nothing depends on how the answer is cut, and every size comes out."""
    picture = np.random.default_rng(1).integers(0, 30, (*size, 3), dtype=np.uint8)
    picture[:, size[1] // 2 :] += 150
    painted = np.full(size, NOTHING, np.uint8)
    painted[5, 3 : size[1] // 2 - 3], painted[-6, size[1] // 2 + 3 : -2] = 0, 1
    monkeypatch.setattr(regions, "_CLASSIFIED", size[0] * size[1] // 8)
    taught = PixelClassifier.fit(picture, painted, NOTHING)
    assert taught.factor == 3
    found, margins = taught.predict(picture)
    assert found.shape == margins.shape == size
    assert (found == (np.arange(size[1]) >= size[1] // 2)).mean() > 0.93
    monkeypatch.setattr(regions, "_PROBABILITIES", 1)
    monkeypatch.setattr(regions, "_STRIP_CLASSIFIED", 32)
    for one, other in zip(taught.predict(picture), (found, margins), strict=True):
        np.testing.assert_array_equal(one, other)


def test_any_ids_and_one_class_is_not_enough() -> None:
    picture = np.zeros((40, 60, 3), np.uint8)
    picture[:, 30:] = 200
    painted = np.full((40, 60), 65_534, np.uint16)
    painted[3, 3:9], painted[30, 40:50] = 7, 300
    found, _ = PixelClassifier.fit(picture, painted, 65_534).predict(picture)
    assert set(np.unique(found)) == {7, 300} and (found[:, :25] == 7).all() and (found[:, 35:] == 300).all()
    painted[painted == 300] = 7
    with pytest.raises(ValueError, match="two classes"):
        PixelClassifier.fit(picture, painted, 65_534)


def test_memory_is_that_of_strips() -> None:
    """numpy's part; torch's tensors are of the same strips."""
    picture = np.zeros((1500, 1000, 3), np.uint8)
    picture[:, 500:] = 90
    painted = np.full((1500, 1000), NOTHING, np.uint8)
    painted[10, 10:60], painted[1400, 600:700] = 0, 1
    taught = PixelClassifier.fit(picture, painted, NOTHING)
    tracemalloc.start()
    taught.predict(picture)
    assert tracemalloc.get_traced_memory()[1] < 20_000_000
    tracemalloc.stop()
