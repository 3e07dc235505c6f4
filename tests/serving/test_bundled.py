"""The bundled checkpoints on real photographs, none of which they learnt from: a person would nod."""

from __future__ import annotations

import numpy as np
import pytest
from PIL import Image
from scipy import ndimage
from skimage import data

from seg_demo import load_model
from seg_demo.networks import prompts_of
from seg_demo.serving.catalog import BUNDLED
from synthetic import nuclei
from tests.served import ROOT

# A checkpoint that has not been trained yet is not on the menu either.
NAMES = [spec.id for spec in BUNDLED if not prompts_of(spec.architecture) and (ROOT / "seg_demo" / "bundled" / spec.id).is_dir()]
SCORE = 0.5


def cells(name: str, image: np.ndarray) -> list[np.ndarray]:
    """A mask bool (H, W) for every cell that a checkpoint finds in an image uint8 (H, W[, 3])."""
    result = load_model(name).predict(Image.fromarray(image).convert("RGB"))
    if result.task == "semantic":
        pieces, count = ndimage.label(result.id_map == result.labels.names.index("cell"), np.ones((3, 3)))
        return [pieces == number for number in range(1, count + 1)]
    masks = []
    for segment in result.segments:
        if segment.score >= SCORE:
            x0, y0, x1, y1 = segment.box
            mask = np.zeros(image.shape[:2], bool)
            mask[y0:y1, x0:x1] = segment.mask
            masks.append(mask)
    return masks


@pytest.mark.parametrize("name", NAMES)
def test_every_coin_is_found_once(name: str) -> None:
    image = data.coins()
    found = cells(name, image)
    assert abs(len(found) - 24) <= (name != "unet-instance-cells")
    # Half way between the ground and the metal, after the uneven light is taken away.
    bright = image > ndimage.gaussian_filter(image.astype(np.float32), 60) * 1.1
    union = np.any(found, axis=0)
    assert (union & bright).sum() > 0.8 * bright.sum(), "what is bright is a coin"
    sizes = sorted(mask.sum() for mask in found)[-24:]
    assert sizes[0] > 600 and sizes[-1] < 4500, "no coin is a fragment, and no two are one"


@pytest.mark.parametrize("name", NAMES)
def test_a_lone_cell_is_one_cell_and_whole(name: str) -> None:
    image = data.cell()
    found = cells(name, image)
    assert len(found) == 1
    # The cell is the brightest thing in the picture, about 134 pixels across.
    bright = ndimage.binary_opening(image > 90, iterations=3)
    overlap = (found[0] & bright).sum() / (found[0] | bright).sum()
    assert overlap > 0.75


@pytest.mark.parametrize("picture", ["coffee", "brick", *(pytest.param(name, marks=pytest.mark.soak) for name in ("camera", "astronaut", "chelsea", "rocket", "grass", "gravel"))])
@pytest.mark.parametrize("name", NAMES)
def test_everyday_photographs_are_left_alone(name: str, picture: str) -> None:
    image = getattr(data, picture)()
    found = cells(name, image)
    if (name, picture) == ("unet-instance-cells", "gravel"):
        assert len(found) < 350, "pebbles that touch are what it takes apart, but a closer look at a texture finds twice as many"
        return
    share = np.any(found, axis=0).mean() if found else 0.0
    assert share < 0.1, f"{share:.1%} of {picture}() is painted"


def test_nuclei_in_the_dark_are_found_as_if_they_were_bright_and_nothing_is_found_in_noise() -> None:
    bright = nuclei.render(2027, 2, 192, kind="crowded").image
    dark = np.rint(bright * (16 / bright.max())).astype(np.uint8)
    noise = np.random.default_rng(0).normal(10, 3, dark.shape[:2])
    there, found, nothing = (len(cells("unet-instance-cells", image)) for image in (bright, dark, np.rint(noise).clip(0, 255).astype(np.uint8)))
    assert there > 150 and 0.9 * there <= found <= 1.1 * there and not nothing


@pytest.mark.soak
def test_crowded_nuclei_of_unseen_seeds_come_apart() -> None:
    """Of the objects in these pictures, half of them less than 9 pixels across, seven in ten are found, and few things are found that are none: more than
    half of those in one that has 29 of 255 levels and is brightened, where a third of the objects would not be found otherwise."""
    hits, objects, false = np.zeros(2, int), np.zeros(2, int), 0
    for index in range(12):
        truth = nuclei.render(2027, index, kind="crowded")
        found = cells("unet-instance-cells", truth.image)
        for number, area in enumerate(np.bincount(truth.instance_map.ravel())[1:], start=1):
            mask = truth.instance_map == number
            hit = any(2 * (mask & other).sum() > (mask | other).sum() for other in found if (mask & other).any())
            for index_of, counts in enumerate((True, area >= np.pi * 6**2)):
                objects[index_of] += counts
                hits[index_of] += counts and hit
            false -= hit
        false += len(found)
    assert objects[1] > 100 and hits[1] >= 0.7 * objects[1] and hits[0] >= 0.68 * objects[0] and false <= 0.25 * objects[0], (hits, objects, false)
