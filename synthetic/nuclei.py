"""The built-in training data `nuclei`: crowded, touching things of every size, drawn from a seed.

For networks that tell neighbours apart: fields of nuclei and cells from 5 to 80 pixels across, alone, in clusters and packed without a gap,
as fluorescence, stained tissue and transmitted light show them: pressed flat against each other or lying over each other, bright beside dim,
some dividing, some out of focus, ghosts from other planes, uneven stain and light, few photons, and the dark ranges of 16-bit cameras. A third of the
pictures are the scenes of :mod:`synthetic.cells`, among them photographs without any cell. No pixel of a real picture.

Marked is what can be seen: the picture is never less sharp than its smallest objects need, neighbours that nothing else would tell apart have a
gap, and what does not stand out against the ground (:func:`visible`) is no object.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from scipy import ndimage

from synthetic import cells
from synthetic.shapes import (
    Rng,
    ShapeStyle,
    blur,
    camera,
    fractal,
    illumination,
    jpeg,
    log_uniform,
    random_colour,
    random_style,
    scatter,
    smooth_noise,
    tint,
    warp,
)

CLASS_NAMES = ("background", "cell")
CLASS_COLORS = ((0, 0, 0), (64, 176, 255))
# Pixels that an object shows at least, and the share of it that others leave to be seen.
MIN_AREA, MIN_VISIBLE = 10, 0.3
SMALLEST, LARGEST, MOST = 5.0, 80.0, 420
# Blur of the whole picture in radii of its smallest objects: about what a microscope is set to that samples them properly; more, and nobody could
# tell them apart.
SHARPNESS = 0.3
# An object is seen whose mean differs from the ground beside it by so many deviations of the noise of a mean over its area (Rose 1948, Journal of
# the Optical Society of America 38(2)), and by so many of 255 levels, about the hundredth that an eye notices.
ROSE, LEVELS = 5.0, 3.0
# Bodies darker than this towards their edge show by that where they meet.
FLAT, LEAST_GAP = 0.35, 0.35


@dataclass
class Field:
    """The objects of a picture: where they are, and how deep inside each every pixel lies.

    Attributes:
        instances: int32 (S, S), 0 for none.
        rho: float32 (S, S), 0 in the middle of an object, 1 on its outline and outside.
        light: float32 (3, S, S), what objects in focus, a little out of it, and far out of it add up to; the last are not marked.
        areas: pixels of each object, others left out of account.
        radius: the typical one, in pixels.
        smallest: that of the smallest population, in pixels.
        flat: what touches has no darker edge.
    """

    instances: np.ndarray
    rho: np.ndarray
    light: np.ndarray
    radius: float
    areas: list[int] = field(default_factory=lambda: [0])
    smallest: float = LARGEST
    flat: bool = False

    @classmethod
    def drawn(cls, rng: Rng, size: int, spread: float, style: ShapeStyle | None = None, crowded: bool = False) -> Field:
        """A field of one population, now and then of two.

        Args:
            rng: decides everything.
            size: side in pixels.
            spread: of the brightness of the objects, the sigma of a log-normal.
            style: of their outlines; None draws one.
            crowded: a third of the picture or more is covered.
        """
        typical = min(log_uniform(rng, SMALLEST, LARGEST) / 2, 0.3 * size)
        made = cls(np.zeros((size, size), np.int32), np.ones((size, size), np.float32), np.zeros((3, size, size), np.float32), typical)
        # Pressed flat where they meet, or the one on the other, whose light adds up.
        pressed, dim = rng.random() < 0.65, rng.choice([0.0, rng.uniform(0.1, 0.5)])
        coverage = rng.choice([rng.uniform(0.03, 0.2), rng.uniform(0.15, 0.5), rng.uniform(0.45, 0.95)], p=[0.2, 0.4, 0.4])
        coverage = rng.uniform(0.4, 0.95) if crowded else coverage
        for share in (0.75, 0.25) if rng.random() < 0.15 else (1.0,):
            radius = typical * (1.0 if share > 0.5 else rng.uniform(0.4, 0.8))
            made._add(rng, max(SMALLEST / 2, radius), share * coverage, style or random_style(rng), spread, pressed, dim)
        return made

    def _add(self, rng: Rng, radius: float, coverage: float, style: ShapeStyle, spread: float, pressed: bool, dim: float) -> None:
        size = self.rho.shape[0]
        count = int(np.clip(coverage * size**2 / (np.pi * radius**2), 1, MOST))
        sizes = np.sort(np.clip(radius * np.exp(rng.choice([0.05, 0.15, 0.3]) * rng.standard_normal(count)), SMALLEST / 2, 2.2 * radius))[::-1]
        gap = rng.uniform(0.74, 0.95) if pressed else rng.uniform(0.78, 1.08)
        self.smallest = min(self.smallest, radius)
        dome, rim, width = rng.uniform(0, 0.9), rng.choice([0.0, rng.uniform(-0.4, 0.6)]), rng.uniform(0.1, 0.3)
        self.flat = self.flat or (pressed and dome < FLAT)
        # Chromosomes of dividing cells: small, often flat, and so bright that they outshine what they touch.
        dividing, plate = rng.choice([0.0, rng.uniform(0.02, 0.12)], p=[0.65, 0.35]), ShapeStyle(aspect=(1, 3.2), wobble=0.08)
        for x, y, r in scatter(rng, size, sizes, gap=gap, clump=rng.choice([0.0, 0.5, 0.92]), tries=8):
            divides = rng.random() < dividing
            r = max(SMALLEST / 2, r * rng.uniform(0.45, 0.8)) if divides else r
            patch = (plate if divides else style).draw(rng, x, y, r).patch(size, margin=1)
            if patch is None:
                continue
            inside = patch.rho < 1
            shown = inside & (patch.rho < self.rho[patch.box]) if pressed else inside
            layer = 2 if rng.random() < 0.1 * dim else int(rng.random() < dim)
            profile = 1 - dome * patch.rho**2 + rim * np.exp(-(((1 - patch.rho) / width) ** 2))
            edge = np.clip(patch.depth + 0.5, 0, 1) * (shown if pressed else 1)
            if pressed:
                # What is pressed flat does not shine through.
                self.light[:2, *patch.box] *= 1 - edge
            bright = np.exp(spread * rng.standard_normal()) * (rng.uniform(1.5, 6) if divides else 1)
            self.light[layer][patch.box] += np.float32(bright) * np.maximum(profile, 0.05) * edge
            if layer < 2 and inside.any():
                self.instances[patch.box][shown] = len(self.areas)
                self.rho[patch.box][shown] = patch.rho[shown]
                self.areas.append(int(inside.sum()))

    @property
    def inside(self) -> np.ndarray:
        """bool (S, S): where there is a marked object."""
        return self.instances > 0

    def seams(self) -> np.ndarray:
        """float32 (S, S): 1 where two objects meet, else 0."""
        high, low = ndimage.maximum_filter(self.instances, 3), ndimage.minimum_filter(np.where(self.inside, self.instances, len(self.areas)), 3)
        return (self.inside & (high != low)).astype(np.float32)

    def shaded(self, rng: Rng) -> np.ndarray:
        """float32 (S, S), about [0, 1.5]: the light of all layers, grained as chromatin is, the layers more or less sharp."""
        size, sharp = self.rho.shape[0], self.light[0] + self.light[1]
        grain = fractal(rng, size, max(2.0, self.radius * rng.uniform(0.3, 1.0)), 3)
        spots = np.clip(smooth_noise(rng, size, max(2.0, self.radius * rng.uniform(0.25, 0.6))) - rng.uniform(0.5, 1.5), 0, 2)
        rough = 1 + rng.choice([0.05, rng.uniform(0.05, 0.4)]) * grain + rng.choice([0.0, rng.uniform(-0.5, 0.6)]) * spots
        # The gap between neighbours, from clearly dark to none at all.
        gap = rng.choice([0.0, rng.uniform(0, 0.9)])
        light = self.light * (1 - np.float32(max(gap, LEAST_GAP) if self.flat else gap) * self.seams())
        light[:2] *= np.maximum(rough, 0.1)
        near, far = rng.uniform(0.1, 0.3), rng.uniform(0.4, 1.2)
        found = light[0] + blur(light[1], near * self.radius) + rng.uniform(0.2, 0.8) * blur(light[2], far * self.radius)
        glow = rng.choice([0.0, rng.uniform(0.05, 0.5)]) * blur(sharp, rng.uniform(0.5, 2.5) * self.radius)
        return blur(found + glow, self.soft(rng.uniform(0.4, 1.6)))

    def soft(self, sigma: float) -> float:
        """The deviation of a blur in pixels, or as much as leaves the smallest objects apart."""
        return min(sigma, SHARPNESS * self.smallest)


def _exposed(rng: Rng, light: np.ndarray) -> np.ndarray:
    """Light float32 (S, S[, 3]) of at least 0 as a camera of many bits counts it and a person gets to see it: [0, 1]."""
    photons = np.float32(log_uniform(rng, 6, 2000))
    grey = light / max(1e-3, float(np.percentile(light, 99.5)))
    noisy = rng.poisson(np.clip(grey, 0, 4) * photons).astype(np.float32) / photons + np.float32(rng.uniform(0, 0.03)) * rng.standard_normal(grey.shape, dtype=np.float32)
    kind = rng.random()
    if kind < 0.55:
        low, high = np.percentile(noisy, (0.35, 99.65))
    elif kind < 0.85:
        # As the file has it: the brightest pixel, or the largest number of the camera, is white.
        low, high = 0.0, float(noisy.max()) * log_uniform(rng, 1, 8)
    else:
        low, high = noisy.min(), noisy.max()
    shown = np.clip((noisy - low) / max(1e-6, high - low), 0, 1)
    return shown ** np.float32(rng.choice([1.0, log_uniform(rng, 0.45, 1.6)]))


def fluorescence(rng: Rng, size: int, crowded: bool = False) -> tuple[np.ndarray, Field]:
    """Glowing nuclei on dark ground: grey, in one colour, or with the bodies of their cells in another."""
    made = Field.drawn(rng, size, rng.choice([0.1, 0.3, 0.6]), crowded=crowded)
    light = made.shaded(rng)
    light = light + rng.uniform(0, 0.2) + rng.choice([0.0, rng.uniform(0, 0.3)]) * np.clip(smooth_noise(rng, size, size / rng.uniform(1.5, 6)), 0, 2)
    light = light * illumination(rng, size, rng.uniform(0, 0.6))
    if rng.random() < 0.15:
        # The bodies of the cells in another colour.
        body = blur(made.inside.astype(np.float32), rng.uniform(0.5, 1.5) * made.radius) * (1 + 0.3 * fractal(rng, size, max(3.0, made.radius), 3))
        colours = np.stack([random_colour(rng, 1.0), random_colour(rng, 1.0)])
        image = _exposed(rng, np.maximum(light[..., None] * colours[0] + np.float32(rng.uniform(0.1, 0.6)) * body[..., None] * colours[1], 0))
    else:
        image = tint(rng, _exposed(rng, np.maximum(light, 0)), 0.25)
    pixels = (np.clip(image, 0, 1) * 255).astype(np.uint8)
    return (jpeg(pixels, int(rng.integers(40, 96))) if rng.random() < 0.2 else pixels), made


def tissue(rng: Rng, size: int) -> tuple[np.ndarray, Field]:
    """Stained tissue, as densities of dyes (Beer and Lambert): haematoxylin or DAB, unevenly taken up, over eosin and fibres."""
    blue, pink, brown = (np.array(dye) * rng.uniform(0.7, 1.2, 3) for dye in ((0.75, 0.75, 0.35), (0.12, 0.6, 0.3), (0.35, 0.7, 1.0)))
    style = ShapeStyle(aspect=(1, rng.choice([1.3, 1.8, 3.2])), wobble=rng.uniform(0.01, 0.1), bend=rng.choice([0.0, 0.1]))
    made = Field.drawn(rng, size, rng.uniform(0.1, 0.45), style)
    fibres = warp(rng, smooth_noise(rng, size, rng.uniform(2, 8), rng.uniform(2, 10)), rng.uniform(3, 12), size / 4)
    ground = rng.uniform(0.05, 0.5) * (1 + 0.5 * fractal(rng, size, rng.uniform(10, 60), 4, 0.7)) + rng.uniform(0, 0.2) * fibres
    stain = np.exp(np.float32(rng.uniform(0, 0.4)) * smooth_noise(rng, size, size / rng.uniform(1, 4)))
    density = np.clip(ground, 0.01, 2)[..., None] * (pink if rng.random() < 0.75 else blue * 0.6)
    density = density + (rng.uniform(0.4, 1.3) * made.shaded(rng) * stain)[..., None] * (blue if rng.random() < 0.75 else brown)
    return camera(rng, np.exp(-np.maximum(density, 0)).astype(np.float32), noise=0.05, softness=made.soft(1.5), light=0.25), made


def transmitted(rng: Rng, size: int) -> tuple[np.ndarray, Field]:
    """Bright field and phase contrast: bodies hardly darker or brighter than the ground, rims, halos, seams."""
    made = Field.drawn(rng, size, rng.uniform(0, 0.2))
    inside, base = made.inside.astype(np.float32), rng.uniform(0.3, 0.8)
    strength = rng.uniform(0.12, 0.45) * (1 if rng.random() < 1 - base else -1)
    width = rng.uniform(0.08, 0.25)
    rims = np.exp(-(((1 - made.rho) / width) ** 2)) * inside
    halo = blur(inside, max(1.0, rng.uniform(0.1, 0.4) * made.radius)) * (1 - inside)
    grey = base + strength * rng.choice([0.2, 0.6, 1.0]) * blur(made.shaded(rng), made.soft(rng.uniform(0.3, 1)))
    grey = grey + rng.choice([-1, 1]) * rng.uniform(0.2, 1) * strength * rims - strength * rng.choice([0.0, rng.uniform(0.1, 1)]) * halo
    grey = grey + rng.choice([-1, 1]) * rng.uniform(0.2, 0.9) * strength * blur(made.seams(), 0.6)
    grey = grey + np.float32(rng.uniform(0, 0.04)) * fractal(rng, size, rng.uniform(3, 30), 3)
    return camera(rng, tint(rng, np.clip(blur(grey, made.soft(rng.uniform(0.3, 1))), 0, 1).astype(np.float32), 0.3), noise=0.05, softness=made.soft(1.2), light=0.4), made


FIELDS: dict[str, tuple[float, Callable[[Rng, int], tuple[np.ndarray, Field]]]] = {
    "fluorescence": (28, fluorescence), "crowded": (14, partial(fluorescence, crowded=True)), "tissue": (14, tissue), "transmitted": (12, transmitted),
}  # fmt: skip
# How often the scenes of `cells` come, with cells and without.
OF_CELLS, OF_PHOTOGRAPHS = 20.0, 12.0


def visible(pixels: np.ndarray, instances: np.ndarray) -> np.ndarray:
    """The objects that stand out against the ground beside them, and those that are surrounded by others.

    By :data:`ROSE` and :data:`LEVELS` in one of the channels at least; the noise is that of :func:`noise_of`.

    Args:
        pixels: uint8 (H, W, 3).
        instances: integer (H, W), 0 for none.

    Returns:
        The same, with 0 where an object does not.
    """
    count = int(instances.max(initial=0)) + 1
    grown, near = (ndimage.maximum_filter(instances, side) for side in (9, 3))
    beside = np.where((instances == 0) & (near == 0), grown, 0)
    # The middle and the rim by themselves: a dark ring round a bright body may be as bright as the ground on average.
    middle = np.where(ndimage.minimum_filter(instances, 3) == near, instances, 0)
    places = [beside, middle, instances - middle]
    areas = [np.bincount(ids.ravel(), minlength=count) for ids in places]
    stands = areas[0] < 4
    for channel in np.moveaxis(pixels, 2, 0):
        noise = noise_of(channel)
        ground, *means = (np.bincount(ids.ravel(), channel.ravel(), count) / np.maximum(area, 1) for ids, area in zip(places, areas, strict=True))
        for mean, area in zip(means, areas[1:], strict=True):
            stands |= (area > 0) & (np.abs(mean - ground) >= np.maximum(LEVELS, ROSE * noise / np.sqrt(np.maximum(area, 1))))
    return np.where(stands[instances], instances, 0)


def noise_of(channel: np.ndarray) -> float:
    """The deviation of the noise of a picture (H, W): what a Laplacian of Laplacians leaves of it, in which most structure vanishes
    (Immerkaer 1996, Computer Vision and Image Understanding 64(2)), by its median, which few outlines move."""
    mask = np.outer((1, -2, 1), (1, -2, 1)).astype(np.float32)
    return float(np.median(np.abs(ndimage.convolve(channel.astype(np.float32), mask)))) / 0.6745 / 6


def tidied(instances: np.ndarray, areas: list[int]) -> np.ndarray:
    """The objects that can be seen well enough, each in one piece, numbered from 1: uint16 (H, W).

    Args:
        instances: integer (H, W), 0 for none.
        areas: of each object by its number, its pixels before others covered it.
    """
    found, count = np.zeros(instances.shape, np.uint16), 0
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        mask = instances[box] == number
        pieces, several = ndimage.label(mask)
        if several > 1:
            mask = pieces == 1 + np.argmax(np.bincount(pieces.ravel())[1:])
        if mask.sum() >= max(MIN_AREA, MIN_VISIBLE * areas[number]):
            count += 1
            found[box][mask] = count
    return found


def render(seed: int, index: int, size: int = 256, *, kind: str | None = None) -> cells.Sample:
    """Draws picture number `index` of the data set `seed`, always the same for the same arguments.

    Args:
        seed: of the data set.
        index: of the picture.
        size: side in pixels, at least 64.
        kind: of :data:`FIELDS`; None draws one, or a scene of `cells`, by its weight.

    Returns:
        A sample with image uint8 (size, size, 3), label map uint8 (size, size) with the ids of CLASS_NAMES and an instance map uint16
        (size, size), whose objects touch and do not overlap.
    """
    if size < 64:
        raise ValueError(f"size is {size}, expected at least 64")
    rng = np.random.default_rng([seed, index, 23])
    drawn = {**{name: weight for name, (weight, _) in FIELDS.items()}, "cells": OF_CELLS, "photograph": OF_PHOTOGRAPHS}
    weights = np.array([*drawn.values()])
    kind = kind or [*drawn][rng.choice(len(weights), p=weights / weights.sum())]
    if kind in FIELDS:
        pixels, made = FIELDS[kind][1](rng, size)
        instances = tidied(visible(pixels, made.instances), made.areas)
    else:
        scenes = cells.WITH_CELLS if kind == "cells" else {name: row for name, row in cells.TRAINING_SCENES.items() if name not in cells.WITH_CELLS}
        shares = np.array([weight for weight, _ in scenes.values()])
        kind = [*scenes][rng.choice(len(shares), p=shares / shares.sum())]
        if kind in cells.WITH_CELLS:
            pixels, stage = scenes[kind][1](rng, size)
            instances = tidied(stage.instances, [stage.areas.get(number, 0) for number in range(int(stage.instances.max()) + 1)])
        else:
            shown = cells.render(int(rng.integers(2**31)), index, size, kind=kind)
            pixels, instances = shown.image, shown.instance_map
    return cells.Sample(pixels, (instances > 0).astype(np.uint8), instances, f"nuclei-{seed}-{index}-{kind}")
