"""From painted light to a photograph's bytes: colour, exposure, blur, noise, JPEG, and the dirt on the way."""

from __future__ import annotations

import io
import string
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from train.data.cells_shapes import log_uniform
from train.data.cells_textures import Rng, blur, illumination, smooth_noise


def random_colour(rng: Rng, saturation: float = 0.8) -> np.ndarray:
    """An RGB colour float32 (3,) whose largest channel is 1; saturation 0 is white."""
    colour = rng.random(3)
    colour = colour / colour.max()
    return (1 - saturation * rng.uniform(0.3, 1) * (1 - colour)).astype(np.float32)


def tint(rng: Rng, grey: np.ndarray, colourful: float = 0.4) -> np.ndarray:
    """Brightness float32 (S, S) in about [0, 1] to RGB float32 (S, S, 3): grey, or with the chance `colourful` along a
    random ramp of colours from dark to bright."""
    if rng.random() >= colourful:
        return np.repeat(grey[..., None], 3, axis=2)
    stops = np.stack([random_colour(rng) * level for level in (rng.uniform(0, 0.2), rng.uniform(0.35, 0.7), 1.0)])
    ramp = np.stack([np.interp(np.linspace(0, 1, 256), [0, 0.5, 1], stops[:, c]) for c in range(3)], axis=1)
    return ramp.astype(np.float32)[np.clip(grey * 255, 0, 255).astype(np.uint8)]


def camera(
    rng: Rng, image: np.ndarray, *, noise: float = 0.03, softness: float = 1.0, light: float = 0.3, plain: bool = False
) -> np.ndarray:
    """Develops RGB float32 (S, S, 3) in about [0, 1] into uint8 (S, S, 3).

    noise: largest standard deviation; softness: largest blur in pixels; light: largest unevenness of the illumination;
    plain: no inversion of tones and no strong change of colours, for photographs.
    """
    size = image.shape[0]
    if rng.random() < 0.7:
        image = image * illumination(rng, size, rng.uniform(0, light))[..., None]
    grey = bool((image[..., 0] == image[..., 2]).all())
    if grey:
        image = image[..., :1]
    if rng.random() < 0.6:
        image = blur(image, softness * rng.random())
    image = np.clip(image, 0, 1)
    if rng.random() < 0.6:
        image = image ** np.float32(log_uniform(rng, 0.6, 1.6))
    if not plain and rng.random() < 0.1:
        image = 1 - image
    image = _grain(rng, image, noise)
    if rng.random() < 0.4:
        low, high = rng.uniform(0, 0.15), rng.uniform(0.7, 1.1)
        image = low + (high - low) * image
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    pixels = np.repeat(pixels, 3, axis=2) if grey else pixels
    return jpeg(pixels, int(rng.integers(30, 96))) if rng.random() < 0.45 else pixels


def _grain(rng: Rng, image: np.ndarray, noise: float) -> np.ndarray:
    """Adds photon and read noise, sometimes blurred (coarse grain), and rarely the stripes of a sensor."""
    sigma = noise * rng.random() ** 1.5
    if sigma > 0.002:
        drawn = rng.standard_normal(image.shape, dtype=np.float32)
        if rng.random() < 0.3:
            drawn = blur(drawn, 0.7) * 2
        # Photon noise grows with the root of brightness, read noise does not.
        image = image + np.float32(sigma) * drawn * np.sqrt(np.float32(0.2) + np.float32(rng.uniform(0, 1.2)) * image)
    if rng.random() < 0.05:
        stripes = rng.standard_normal((image.shape[0], 1, 1), dtype=np.float32) * np.float32(0.02)
        image = image + (stripes if rng.random() < 0.5 else stripes.transpose(1, 0, 2))
    return image


def jpeg(image: np.ndarray, quality: int) -> np.ndarray:
    """uint8 (H, W, 3) after JPEG compression."""
    buffer = io.BytesIO()
    Image.fromarray(image).save(buffer, "JPEG", quality=quality)
    return np.asarray(Image.open(buffer))


@cache
def font(points: int) -> ImageFont.ImageFont | ImageFont.FreeTypeFont:
    """Pillow's built-in font at a size in pixels."""
    return ImageFont.load_default(points)


def words(rng: Rng, length: int) -> str:
    """Random letters and digits with gaps, `length` characters."""
    letters = np.array(list(string.ascii_letters + string.digits + "      .,"))
    return "".join(letters[rng.integers(len(letters), size=length)])


def dirt(rng: Rng, size: int) -> np.ndarray:
    """Things in a microscope's view that are not cells, float32 (S, S) from -1 (dark) over 0 (nothing) to 1 (bright):
    specks, scratches, fibres, scale bars with letters, rectangles; never closed round outlines of a cell's size."""
    layer = Image.new("L", (size, size), 0)
    draw = ImageDraw.Draw(layer)
    for kind in rng.choice(["specks", "scratches", "fibres", "bar", "label", "box"], rng.integers(1, 3), replace=False):
        _DIRT[kind](rng, draw, size)
    strength = np.asarray(layer, np.float32) / 255
    return blur(strength, rng.uniform(0, 1.2)) * np.float32(rng.choice([-1, 1]))


def _specks(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    for x, y in rng.uniform(0, size, (rng.integers(3, 40), 2)):
        a, b = rng.uniform(0.3, 1.4, 2)
        draw.ellipse([x - a, y - b, x + a, y + b], fill=int(rng.integers(80, 255)))


def _scratches(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    for _ in range(rng.integers(1, 8)):
        start, step = rng.uniform(0, size, 2), rng.normal(0, size / 2, 2)
        draw.line([*start, *(start + step)], fill=int(rng.integers(60, 255)), width=int(rng.integers(1, 3)))


def _fibres(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    for _ in range(rng.integers(1, 5)):
        turns = np.cumsum(rng.normal(0, 0.25, 25)) + rng.uniform(0, 6)
        steps = np.stack([np.cos(turns), np.sin(turns)], axis=1) * rng.uniform(0.01, 0.05) * size
        points = rng.uniform(0, size, 2) + np.cumsum(steps, axis=0)
        draw.line(
            [tuple(p) for p in points], fill=int(rng.integers(80, 255)), width=int(rng.integers(1, 4)), joint="curve"
        )


def _bar(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    length, height = rng.uniform(0.1, 0.35) * size, rng.uniform(2, 7)
    x, y = rng.uniform(0.03, 0.6) * size, rng.choice([0.07, 0.92]) * size
    draw.rectangle([x, y, x + length, y + height], fill=255)
    draw.text((x, y - 0.06 * size), f"{rng.integers(1, 500)} um", fill=255, font=font(max(8, size // 20)))


def _label(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    for _ in range(rng.integers(1, 4)):
        place = tuple(rng.uniform(0, 0.8, 2) * size)
        draw.text(place, words(rng, int(rng.integers(1, 9))), fill=255, font=font(int(rng.integers(8, 40))))


def _box(rng: Rng, draw: ImageDraw.ImageDraw, size: int) -> None:
    for _ in range(rng.integers(1, 3)):
        (x, y), (a, b) = rng.uniform(0, size, 2), rng.uniform(0.05, 0.3, 2) * size
        fill = int(rng.integers(60, 200)) if rng.random() < 0.5 else None
        draw.rectangle([x, y, x + a, y + b], fill=fill, outline=220, width=int(rng.integers(1, 4)))


_DIRT = {"specks": _specks, "scratches": _scratches, "fibres": _fibres, "bar": _bar, "label": _label, "box": _box}


def glows(rng: Rng, size: int) -> np.ndarray:
    """Large out-of-focus light behind the cells, float32 (S, S) about [0, 1]."""
    return np.clip(smooth_noise(rng, size, size * rng.uniform(0.3, 0.6)), 0, 2) * np.float32(0.5)
