"""Microscopy that the built-in data does not draw, to be learnt from twenty pictures: the domains of tests/train/test_improves.py."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import ndimage

from seg_demo.annotations.listing import Sample
from tests.small_datasets import save


def grain(rng: np.random.Generator, shape: tuple[int, int], sigma: float) -> np.ndarray:
    """Smooth noise, float64 of ``shape``, deviation 1."""
    noise = ndimage.gaussian_filter(rng.normal(size=shape), sigma)
    return noise / noise.std()


def blobs(
    rng: np.random.Generator, shape: tuple[int, int], count: int, radii: tuple[float, float], length: float, wave: float
) -> np.ndarray:
    """Wavy ellipses that may touch, uint16 of ``shape``: 0, and 1 ... one number per object.

    Args:
        rng: draws them.
        shape: (height, width) in pixels.
        count: objects that are wanted.
        radii: smallest and largest short half axis in pixels.
        length: largest ratio of the axes.
        wave: how wavy the outline is, as a share of the radius.
    """
    objects = np.zeros(shape, np.uint16)
    rows, columns = np.mgrid[: shape[0], : shape[1]]
    for number in range(1, count + 1):
        radius, ratio, angle = rng.uniform(*radii), rng.uniform(1, length), rng.uniform(0, np.pi)
        down, across = rows - rng.uniform(0, shape[0]), columns - rng.uniform(0, shape[1])
        along = (across * np.cos(angle) + down * np.sin(angle)) / (radius * ratio)
        beside = (down * np.cos(angle) - across * np.sin(angle)) / radius
        outline = 1 + wave * np.sin(3 * np.arctan2(beside, along) + rng.uniform(0, 6))
        inside = np.hypot(along, beside) < outline
        if not inside.any() or np.count_nonzero(objects[inside]) > 0.15 * np.count_nonzero(inside):
            continue
        objects[inside & (objects == 0)] = number
    return objects


def bacteria(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Phase contrast: dark rods with a bright halo on a mottled ground."""
    objects = blobs(rng, shape, int(rng.integers(25, 60)), (4, 6), 5, 0)
    outside = ndimage.distance_transform_edt(objects == 0)
    grey = 150 + 10 * grain(rng, shape, 25) + 5 * grain(rng, shape, 2)
    grey += 45 * np.exp(-((outside - 2) ** 2) / 4) * (objects == 0)
    tones = rng.uniform(55, 105, 70)[objects] + 6 * grain(rng, shape, 1.5)
    grey = ndimage.gaussian_filter(np.where(objects > 0, tones, grey), 0.8) + rng.normal(0, 5, shape)
    return np.repeat(grey[..., None], 3, axis=2), objects


def yeast(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Bright field: see-through cells with a dark rim, among bright dirt without one."""
    objects = blobs(rng, shape, int(rng.integers(14, 30)), (10, 20), 1.4, 0.05)
    inside, outside = (ndimage.distance_transform_edt(each) for each in (objects > 0, objects == 0))
    grey = 128 + 8 * grain(rng, shape, 30) + 6 * grain(rng, shape, 3) * (objects > 0)
    grey += 40 * np.exp(-((outside - 2) ** 2) / 6) * (objects == 0) - 55 * np.exp(-((inside - 2) ** 2) / 5) * (objects > 0)
    dirt = np.zeros(shape)
    dirt[rng.integers(0, shape[0], 15), rng.integers(0, shape[1], 15)] = rng.uniform(800, 3000, 15)
    grey += ndimage.gaussian_filter(dirt, 3) * (objects == 0)
    grey = ndimage.gaussian_filter(grey, 0.7) + rng.normal(0, 6, shape)
    return grey[..., None] * np.array([1.0, 1.02, 0.9]), objects


def glow(rng: np.random.Generator, shape: tuple[int, int]) -> tuple[np.ndarray, np.ndarray]:
    """Green fluorescence of membranes, noisy, in tissue that glows too."""
    objects = blobs(rng, shape, int(rng.integers(15, 40)), (7, 16), 1.5, 0.1)
    light = 30 + 14 * grain(rng, shape, 12) + 8 * grain(rng, shape, 3)
    inside = ndimage.distance_transform_edt(objects > 0)
    light += (objects > 0) * rng.uniform(20, 60, 50)[objects] * (0.45 + 0.55 * np.exp(-((inside - 3) ** 2) / 8))
    light = 3.0 * rng.poisson(ndimage.gaussian_filter(light, 1.2).clip(0) / 3)
    return np.stack([np.full(shape, 4.0), 1.6 * light, 0.4 * light], axis=2), objects


DOMAINS: dict[str, Callable] = {"bacteria": bacteria, "yeast": yeast, "glow": glow}


def picture_of(domain: str, seed: int, index: int) -> Sample:
    """One picture with its objects, of 200 to 330 pixels a side; always the same for the same arguments."""
    rng = np.random.default_rng([seed, index])
    shape = int(rng.integers(200, 300)), int(rng.integers(220, 330))
    pixels, objects = DOMAINS[domain](rng, shape)
    return Sample(pixels.clip(0, 255).astype(np.uint8), (objects > 0).astype(np.uint8), objects, f"{domain} {index}")


def write_folder(root: Path, domain: str, seed: int, count: int, objects: bool) -> Path:
    """``images/`` and ``masks/``: 16-bit instance maps, or 0/255 for semantic networks."""
    for index in range(count):
        sample = picture_of(domain, seed, index)
        save(sample.image, root / "images" / f"{index:02d}.png")
        save(sample.instance_map if objects else 255 * sample.label_map, root / "masks" / f"{index:02d}.png")
    (root / "classes.txt").write_text("background\ncell\n")
    return root
