"""Noise, gradients and surfaces: the grounds that cells lie on and that photographs are made of.

All functions take a numpy Generator first and the image's `size` (square images), work in float32 and build their noise
on small grids that are scaled up, which is what keeps a whole image within a few milliseconds.
"""

from __future__ import annotations

import numpy as np
from PIL import Image
from scipy import ndimage

Rng = np.random.Generator


def resize(array: np.ndarray, height: int, width: int, how: int = Image.Resampling.BICUBIC) -> np.ndarray:
    """A float32 (h, w) array scaled to float32 (height, width)."""
    return np.asarray(Image.fromarray(np.ascontiguousarray(array, np.float32)).resize((width, height), how))


def blur(array: np.ndarray, sigma: float) -> np.ndarray:
    """Gaussian blur of float32 (H, W) or (H, W, C) along its first two axes; large sigmas work on a smaller grid."""
    if sigma < 0.3:
        return array
    if array.ndim == 3:
        return np.stack([blur(array[..., c], sigma) for c in range(array.shape[2])], axis=2)
    shrink = int(min(sigma / 2, min(array.shape) / 4))
    if shrink < 2:
        return ndimage.gaussian_filter(array, sigma, mode="nearest", truncate=3)
    small = resize(array, array.shape[0] // shrink, array.shape[1] // shrink, Image.Resampling.BOX)
    return resize(ndimage.gaussian_filter(small, sigma / shrink, mode="nearest", truncate=3), *array.shape)


def axes(size: int) -> tuple[np.ndarray, np.ndarray]:
    """Row and column coordinates in [-1, 1], float32 (size, 1) and (1, size)."""
    line = np.linspace(-1, 1, size, dtype=np.float32)
    return line[:, None], line[None, :]


def smooth_noise(rng: Rng, size: int, scale: float, stretch: float = 1.0) -> np.ndarray:
    """Noise about N(0, 1), float32 (size, size), with bumps `scale` pixels high and `scale * stretch` pixels wide."""
    rows = max(2, int(np.ceil(size / max(scale, 1)))) + 1
    columns = max(2, int(np.ceil(size / max(scale * stretch, 1)))) + 1
    grid = rng.standard_normal((rows, columns), dtype=np.float32) * np.float32(1.3)
    # The kinks of bilinear interpolation do not show between points two or three pixels apart.
    return resize(grid, size, size, Image.Resampling.BILINEAR if scale < 3 else Image.Resampling.BICUBIC)


def fractal(rng: Rng, size: int, coarsest: float, octaves: int = 4, persistence: float = 0.55) -> np.ndarray:
    """1/f-like noise about N(0, 1), float32 (size, size): octaves from `coarsest` pixels downwards."""
    total = np.zeros((size, size), np.float32)
    weight, norm = 1.0, 0.0
    for octave in range(octaves):
        scale = coarsest / 2**octave
        if scale < 1 and octave:
            break
        total += np.float32(weight) * smooth_noise(rng, size, scale)
        norm += weight**2
        weight *= persistence
    return total / np.float32(np.sqrt(norm))


def illumination(rng: Rng, size: int, strength: float) -> np.ndarray:
    """Uneven light, float32 (size, size) with mean 1 and values from about 1 - strength to 1 + strength."""
    # So smooth a field needs few points.
    points = 48
    y, x = axes(points)
    turn = rng.uniform(0, 2 * np.pi)
    ramp = np.cos(turn) * x + np.sin(turn) * y
    away_x, away_y = rng.uniform(-0.7, 0.7, 2)
    bowl = (x - away_x) ** 2 + (y - away_y) ** 2
    field = ramp * rng.uniform(0.2, 1) + bowl * rng.choice([-1, 1]) * rng.uniform(0, 0.8)
    if rng.random() < 0.4:
        field = field + 0.4 * smooth_noise(rng, points, points / 2)
    field = field - field.mean()
    field = field / max(float(np.abs(field).max()), 1e-6)
    return resize(1 + strength * field, size, size, Image.Resampling.BILINEAR)


def warp(rng: Rng, array: np.ndarray, amplitude: float, scale: float) -> np.ndarray:
    """A float32 (S, S) array pushed about smoothly by `amplitude` pixels over distances of `scale` pixels."""
    size = array.shape[0]
    places = np.mgrid[0:size, 0:size].astype(np.float32)
    for axis in (0, 1):
        places[axis] += np.float32(amplitude) * smooth_noise(rng, size, scale)
    return ndimage.map_coordinates(array, places, order=1, mode="mirror")


def turned(array: np.ndarray, degrees: float, size: int) -> np.ndarray:
    """The (size, size) middle of a larger float32 square after rotation by `degrees`."""
    picture = Image.fromarray(array).rotate(degrees, Image.Resampling.BILINEAR)
    start = (array.shape[0] - size) // 2
    return np.asarray(picture)[start : start + size, start : start + size]


def _room_to_turn(size: int) -> int:
    """Side of a square whose middle stays covered by a picture of `size` however it is turned."""
    return int(size * 1.45) + 2


def wood(rng: Rng, size: int) -> np.ndarray:
    """Wood grain about N(0, 1), float32 (size, size): rings cut lengthwise, fine fibres, sometimes plank joints."""
    big = _room_to_turn(size)
    rings = smooth_noise(rng, big, rng.uniform(10, 40), rng.uniform(6, 14)) * rng.uniform(1.5, 4)
    grain = np.sin(rings + np.linspace(0, rng.uniform(10, 60), big, dtype=np.float32)[:, None])
    fibre = smooth_noise(rng, big, rng.uniform(1, 2.5), rng.uniform(10, 30))
    field = rng.uniform(0.3, 1) * grain + rng.uniform(0.3, 0.9) * fibre + 0.4 * smooth_noise(rng, big, big / 3)
    if rng.random() < 0.4:
        pitch = int(rng.integers(max(big // 8, 4), max(big // 3, 5)))
        field[::pitch] -= 3
    return turned(field.astype(np.float32), rng.uniform(0, 360), size)


def cloth(rng: Rng, size: int) -> np.ndarray:
    """A woven or knitted surface with folds, about N(0, 1), float32 (size, size)."""
    big = _room_to_turn(size)
    line = np.arange(big, dtype=np.float32)
    over, across = rng.uniform(2.5, 9, 2)
    weave = np.sin(2 * np.pi * line / over)[:, None] * np.sin(2 * np.pi * line / across)[None, :]
    field = rng.uniform(0.1, 0.8) * weave + 0.3 * smooth_noise(rng, big, 2)
    field = turned(field.astype(np.float32), rng.uniform(0, 360), size)
    return warp(rng, field, rng.uniform(0, 5), size / 4) + rng.uniform(0.2, 1.2) * folds(rng, size)


def folds(rng: Rng, size: int) -> np.ndarray:
    """Soft shading of folded material, about N(0, 1), float32 (size, size): ridged noise drawn out one way."""
    big = _room_to_turn(size)
    waves = np.sin(2.5 * smooth_noise(rng, big, rng.uniform(0.12, 0.4) * size, rng.uniform(1.5, 4)))
    return turned(waves.astype(np.float32), rng.uniform(0, 360), size) * np.float32(1.4)


def hair(rng: Rng, size: int) -> np.ndarray:
    """Fur or hair about N(0, 1), float32 (size, size): drawn-out noise bent along a smooth flow, in two layers."""
    big = _room_to_turn(size)
    field = np.zeros((size, size), np.float32)
    for weight in (1.0, 0.8):
        layer = smooth_noise(rng, big, rng.uniform(1, 3), rng.uniform(8, 25))
        field += weight * turned(layer, rng.uniform(0, 360) if weight == 1 else 0, size)
    return warp(rng, field, rng.uniform(4, 25), size / rng.uniform(1.5, 5)) * np.float32(0.8)


def paper(rng: Rng, size: int) -> np.ndarray:
    """Fine speckled ground such as paper, plaster or felt, about N(0, 1), float32 (size, size)."""
    return fractal(rng, size, rng.uniform(2, 8), 3, 0.8) + np.float32(0.5) * smooth_noise(rng, size, size / 4)


SURFACES = {"wood": wood, "cloth": cloth, "paper": paper, "hair": hair, "folds": folds}


def surface(rng: Rng, size: int) -> np.ndarray:
    """One of SURFACES or fractal noise, drawn at random; about N(0, 1), float32 (size, size)."""
    names = [*SURFACES, "fractal"]
    name = names[rng.integers(len(names))]
    if name == "fractal":
        return fractal(rng, size, rng.uniform(8, size / 2), 5, rng.uniform(0.4, 0.9))
    return SURFACES[name](rng, size)
