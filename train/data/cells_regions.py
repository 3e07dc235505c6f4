"""Colours that go together and large regions filled with them: what the pictures without cells are made of."""

from __future__ import annotations

import numpy as np

from train.data.cells_textures import Rng, axes, fractal, smooth_noise, surface


def palette(rng: Rng, count: int) -> np.ndarray:
    """Colours float32 (count, 3) that go together: a few hues, mostly dull, at all levels of brightness."""
    hues = 1 - rng.uniform(0, 0.9) * rng.random((int(rng.integers(2, 6)), 3))
    value = rng.random(count) ** rng.uniform(0.5, 2)
    colours = hues[rng.integers(len(hues), size=count)] * value[:, None] + rng.normal(0, 0.04, (count, 3))
    return np.clip(colours, 0, 1).astype(np.float32)


def regions(rng: Rng, ids: np.ndarray, texture: float = 0.3, colours: np.ndarray | None = None) -> np.ndarray:
    """Fills an id map (S, S) with colours, shading and texture, each region with its own: RGB float32 (S, S, 3)."""
    size, count = ids.shape[0], int(ids.max()) + 1
    colours = palette(rng, count) if colours is None else colours
    y, x = axes(size)
    ramps, grain = rng.normal(0, 0.3, (2, count)), texture * rng.random(count) ** 2
    surfaces = [surface(rng, size), fractal(rng, size, rng.uniform(8, 80), 5, 0.7)]
    which = rng.random(count) < 0.5
    pattern = np.where(which[ids], surfaces[0], surfaces[1])
    shade = 1 + ramps[0][ids] * x + ramps[1][ids] * y + grain[ids] * pattern
    return colours[ids] * np.clip(shade, 0, 2.5).astype(np.float32)[..., None]


def areas(rng: Rng, size: int) -> np.ndarray:
    """An id map (S, S) of two to five large regions with wavy outlines."""
    field = smooth_noise(rng, size, size / rng.uniform(0.8, 2)) + rng.normal(0, 0.7) * axes(size)[0]
    return np.digitize(field, np.sort(rng.normal(0, 0.8, rng.integers(1, 5))))
