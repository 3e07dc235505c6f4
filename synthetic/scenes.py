"""Scenes with cells: each function draws one family of pictures and returns (pixels, stage).

pixels: uint8 (S, S, 3). stage: the painted instances (see Stage). Sizes are in pixels of the picture.

One painter shades every cell, coin or pill: rim, halo, nucleus, grain, embossing, highlights. Separate things outside the microscope
and single cells keep the same contract.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from synthetic.shapes import (
    Outline,
    Patch,
    Rng,
    ShapeStyle,
    blur,
    camera,
    dirt,
    fractal,
    glows,
    grid,
    log_uniform,
    radii,
    random_colour,
    random_style,
    scatter,
    smooth_noise,
    surface,
    tint,
    warp,
)

MAX_OBJECTS = 90


def crowd(
    rng: Rng, size: int, low: float, high: float, style: ShapeStyle | None = None, apart: float = 0.4
) -> list[Outline]:
    """Outlines of one population: sparse or dense; separate (chance `apart`), touching in chains or overlapping.

    low, high: range of the typical radius in pixels, which is never above 0.29 of the image.
    """
    style = style or random_style(rng)
    typical = log_uniform(rng, low, max(low + 0.1, min(high, 0.29 * size)))
    coverage = rng.choice([rng.uniform(0.02, 0.15), rng.uniform(0.1, 0.4), rng.uniform(0.4, 0.8)], p=[0.3, 0.45, 0.25])
    count = int(np.clip(coverage * size**2 / (np.pi * typical**2), 1, MAX_OBJECTS))
    if rng.random() < apart:
        gap, clump = rng.uniform(1.08, 1.5), 0.0
    else:
        gap, clump = rng.choice([rng.uniform(0.96, 1.04), rng.uniform(0.8, 0.95)]), rng.choice([0.0, 0.3, 0.8])
    places = scatter(rng, size, radii(rng, count, typical, rng.choice([0.05, 0.15, 0.35])), gap=gap, clump=clump)
    return [style.draw(rng, *place) for place in places]


def jitter(rng: Rng, look: Look, spread: float) -> Look:
    """The look of one individual: the same terms, stronger or weaker by a log-normal factor of the given spread."""
    factor = float(np.exp(spread * rng.standard_normal()))
    return replace(
        look, level=look.level * factor, nucleus=look.nucleus * float(rng.uniform(0.6, 1.4)), rim=look.rim * factor
    )


def maybe(rng: Rng, chance: float, low: float, high: float) -> float:
    """A number between low and high with the given chance, else 0."""
    return float(rng.uniform(low, high)) if rng.random() < chance else 0.0


def flat(rng: Rng, size: int, level: float, unevenness: float = 0.05) -> np.ndarray:
    """A nearly even ground, float32 (S, S, 1), with soft and sometimes fine fluctuations of the given size."""
    ground = np.full((size, size), level, np.float32)
    ground += np.float32(unevenness * rng.random()) * smooth_noise(rng, size, size / rng.uniform(2, 6))
    if rng.random() < 0.3:
        ground += np.float32(unevenness * rng.random()) * fractal(rng, size, rng.uniform(3, 25), 3)
    return ground[..., None]


def develop(rng: Rng, stage: Stage, noise: float, *, colourful: float = 0.3, light: float = 0.3) -> np.ndarray:
    """Grey stage to pixels, with dirt in one picture of four."""
    grey = stage.image[..., 0]
    if rng.random() < 0.25:
        grey = grey + np.float32(rng.uniform(0.1, 0.5)) * dirt(rng, grey.shape[0])
    return camera(rng, tint(rng, np.clip(grey, 0, 1), colourful), noise=noise, softness=1.5, light=light)


def fluorescence(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Glowing nuclei or whole cells on a dark ground, one colour channel, some dim, some out of focus."""
    stage = Stage.on(rng, flat(rng, size, rng.uniform(0.0, 0.15), 0.04))
    if rng.random() < 0.35:
        stage.image += np.float32(rng.uniform(0.05, 0.25)) * glows(rng, size)[..., None]
    level = log_uniform(rng, 0.15, 0.8)
    look = Look(
        level=level, dome=maybe(rng, 0.6, -0.2, 0.5) * level, ring=maybe(rng, 0.12, -0.6, -0.2) * level,
        rim=maybe(rng, 0.2, 0.2, 0.6) * level, grain=maybe(rng, 0.7, 0.03, 0.25) * level,
        nucleus=maybe(rng, 0.25, -0.4, 0.6) * level, nucleus_size=rng.uniform(0.3, 0.6),
        halo=maybe(rng, 0.4, 0.05, 0.25) * level, halo_width=rng.uniform(0.1, 0.4), soft=rng.uniform(1, 3),
        cover=float(rng.choice([0.0, 0.7])),
    )  # fmt: skip
    for outline in crowd(rng, size, 4.5, 45):
        stage.add(rng, outline, jitter(rng, look, 0.3))
    return develop(rng, stage, 0.05 + 0.1 * level, colourful=0.5), stage


def two_channels(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Whole cells whose body and nucleus glow in two different colours."""
    stage = Stage.on(rng, np.repeat(flat(rng, size, rng.uniform(0, 0.08), 0.03), 3, axis=2))
    body, core = random_colour(rng, 1.0), random_colour(rng, 1.0)
    level = rng.uniform(0.15, 0.6)
    look = Look(
        level=level, dome=rng.uniform(0, 0.3) * level, rim=maybe(rng, 0.5, 0.1, 0.5) * level,
        grain=rng.uniform(0.05, 0.3) * level, soft=rng.uniform(1, 2.5), cover=0.8,
    )  # fmt: skip
    bright = Look(level=rng.uniform(0.4, 0.8), grain=0.08, soft=1.5, cover=0.5)
    for outline in crowd(rng, size, 10, 50):
        stage.add(rng, outline, jitter(rng, look, 0.25), body)
        away_x, away_y = rng.uniform(-0.2, 0.2, 2) * outline.radius
        small = replace(
            outline, x=outline.x + away_x, y=outline.y + away_y, radius=outline.radius * rng.uniform(0.35, 0.55)
        )
        stage.add(rng, small, bright, core, mark=False)
    return camera(rng, stage.image, noise=0.08, softness=1.5), stage


def bright_field(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Cells seen in transmitted light: dark or pale discs with rims on a bright ground; blood cells, yeast, spores."""
    base = rng.uniform(0.5, 0.9)
    stage = Stage.on(rng, np.repeat(flat(rng, size, base, 0.04), 3, axis=2))
    depth = log_uniform(rng, 0.12, 0.5)
    look = Look(
        level=-depth * rng.choice([0.15, 0.6, 1.0]), ring=maybe(rng, 0.4, 0.3, 0.9) * depth,
        dome=maybe(rng, 0.4, -0.4, 0.4) * depth, rim=-depth * rng.uniform(0.3, 1.0),
        rim_width=rng.uniform(0.05, 0.15), halo=maybe(rng, 0.4, 0.1, 0.5) * depth, halo_width=rng.uniform(0.05, 0.2),
        grain=maybe(rng, 0.5, 0.02, 0.2) * depth, nucleus=-maybe(rng, 0.35, 0.3, 1.0) * depth,
        nucleus_size=rng.uniform(0.25, 0.65), soft=rng.uniform(1, 2.5),
    )  # fmt: skip
    grey = rng.random() < 0.35
    colour = np.ones(3, np.float32) if grey else 1.1 - random_colour(rng, 0.9) * np.float32(0.9)
    colour = colour / colour.max()
    if not grey and rng.random() < 0.6:
        stage.image *= 1 - np.float32(0.2) * (1 - random_colour(rng))
    for outline in crowd(rng, size, 5, 55):
        own = jitter(rng, look, 0.15)
        # A white cell among red ones: another colour, a large dark nucleus.
        odd = rng.random() < 0.04
        stage.add(rng, outline, replace(own, nucleus=-0.5, ring=0.0) if odd else own, colour[::-1] if odd else colour)
    if rng.random() < 0.25:
        stage.image += np.float32(0.4) * dirt(rng, size)[..., None]
    return camera(rng, stage.image, noise=0.08 * depth + 0.02, softness=1.5), stage


def phase_contrast(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Grey cells with bright or dark halos on a mid-grey ground."""
    stage = Stage.on(rng, flat(rng, size, rng.uniform(0.3, 0.6), 0.05))
    strength = rng.uniform(0.1, 0.35)
    sign = rng.choice([-1.0, 1.0])
    look = Look(
        level=sign * strength * rng.choice([0.3, 1.0]), dome=rng.uniform(-0.4, 0.4) * strength,
        halo=-sign * strength * rng.uniform(0.3, 1.2), halo_width=rng.uniform(0.06, 0.35),
        rim=sign * strength * rng.uniform(0, 0.8), rim_width=rng.uniform(0.05, 0.15),
        grain=rng.uniform(0.05, 0.5) * strength, nucleus=maybe(rng, 0.4, -0.7, 0.7) * strength,
        soft=rng.uniform(1, 3),
    )  # fmt: skip
    for outline in crowd(rng, size, 6, 60):
        stage.add(rng, outline, jitter(rng, look, 0.2))
    return develop(rng, stage, 0.06, colourful=0.1), stage


def relief_contrast(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """DIC: as if lit from one side; the body may be no brighter than the ground."""
    stage = Stage.on(rng, flat(rng, size, rng.uniform(0.35, 0.6), 0.04))
    strength = rng.uniform(0.1, 0.35)
    look = Look(
        level=rng.uniform(-0.3, 0.3) * strength, slope=strength * rng.uniform(0.3, 1),
        bevel=strength * rng.uniform(0.3, 1.2), rim_width=rng.uniform(0.08, 0.25),
        grain=rng.uniform(0.05, 0.35) * strength, cover=0.5, nucleus=maybe(rng, 0.4, -0.4, 0.4) * strength, soft=2.0,
    )  # fmt: skip
    ground = float(stage.image.mean())
    for outline in crowd(rng, size, 7, 55):
        stage.add(rng, outline, jitter(rng, look, 0.15), ground=ground)
    return develop(rng, stage, 0.05, colourful=0.08), stage


def stained(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Tissue: nuclei in haematoxylin blue or DAB brown over eosin pink or pale counterstain, as densities.

    Light through a dye follows Beer and Lambert: intensity = exp(-density), so dyes add up as densities.
    """
    blue = np.array([0.75, 0.75, 0.35]) * rng.uniform(0.7, 1.2, 3)
    pink = np.array([0.12, 0.6, 0.3]) * rng.uniform(0.7, 1.2, 3)
    brown = np.array([0.35, 0.7, 1.0]) * rng.uniform(0.8, 1.2, 3)
    ground = np.full((size, size), rng.uniform(0, 0.5), np.float32)
    ground += np.float32(rng.uniform(0.05, 0.35)) * warp(
        rng, fractal(rng, size, rng.uniform(10, 60), 5, 0.7), 8, size / 4
    )
    veil = (pink if rng.random() < 0.7 else rng.choice([blue, brown])).astype(np.float32)
    stage = Stage.on(rng, np.clip(ground, 0.02, 2)[..., None] * veil)
    look = Look(
        level=rng.uniform(0.4, 1.0), dome=rng.uniform(-0.3, 0.3), grain=rng.uniform(0.05, 0.3),
        rim=maybe(rng, 0.5, 0.05, 0.4), soft=rng.uniform(1.5, 3), cover=0.4,
    )  # fmt: skip
    share = rng.choice([0.0, rng.random()])
    style = ShapeStyle(aspect=(1, rng.uniform(1.2, 2.2)), wobble=rng.uniform(0.02, 0.12))
    for outline in crowd(rng, size, 5, 24, style):
        dye = brown if rng.random() < share else blue
        stage.add(rng, outline, jitter(rng, look, 0.25), dye.astype(np.float32))
    return camera(rng, np.exp(-np.maximum(stage.image, 0)), noise=0.04, light=0.1), stage


def confluent(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """A sheet of cells without gaps: warped Voronoi regions with drawn membranes and, mostly, a nucleus in each."""
    stage = Stage.on(rng, flat(rng, size, 0.0, 0.02))
    pitch = log_uniform(rng, 18, 48)
    seeds = np.array(scatter(rng, size, np.full(300, pitch / 2), gap=0.9, tries=6))[:, :2]
    marks = np.full((size, size), True)
    marks[tuple(np.clip(seeds[:, ::-1].astype(int), 0, size - 1).T)] = False
    rows, columns = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    cells = 1 + np.unique(rows * size + columns, return_inverse=True)[1].reshape(size, size)
    push = (
        (np.mgrid[0:size, 0:size] + 0.08 * pitch * np.stack([smooth_noise(rng, size, pitch / 2) for _ in "yx"]))
        .round()
        .astype(int)
    )
    cells = cells[tuple(np.clip(push, 0, size - 1))].astype(np.int32)
    edges = (ndimage.maximum_filter(cells, 3) != ndimage.minimum_filter(cells, 3)).astype(np.float32)
    body, membrane = rng.uniform(0.1, 0.5), rng.choice([-1, 1]) * rng.uniform(0.25, 0.6)
    levels = (body * np.exp(0.25 * rng.standard_normal(cells.max() + 1))).astype(np.float32)
    line = ndimage.gaussian_filter(edges, rng.uniform(0.6, 1.3))
    stage.image[..., 0] += levels[cells] * (1 + 0.15 * stage.coarse) + np.float32(membrane) * line
    if rng.random() < 0.6:
        nucleus = Look(level=rng.choice([-0.15, 0.35]), soft=2.0, grain=0.05)
        for x, y in seeds:
            stage.add(rng, ShapeStyle((1, 1.4)).draw(rng, x, y, pitch * rng.uniform(0.16, 0.24)), nucleus, mark=False)
    stage.instances[:] = cells
    # Warping can tear off specks; an area one above the visible has the label code look for them.
    stage.areas.update(enumerate((np.bincount(cells.ravel()) + 1).tolist()))
    return develop(rng, stage, 0.05, colourful=0.5), stage


MAX_FIGURES = 3


@dataclass(frozen=True)
class Look:
    """Brightness terms of an object, each added in units of the image's range; widths are in units of the radius.

    level: of the body; dome: a brighter (negative: darker) middle; ring: a pale or dark centre as in red blood cells;
    rim, rim_width: a line along the outline; halo, halo_width: a glow (positive) or dark fringe outside; grain: share
    of the image's fine and coarse noise; nucleus, nucleus_size: a second, smaller body inside; slope: one side lit, the
    other dark, as in DIC; bevel: the same along the rim only; relief: embossed figures; shadow: cast outside, away from
    the light; gloss: a specular highlight; stripes: bands across; cover: how much of the ground is hidden (0: light is
    added); soft: width of the outline's ramp in pixels.
    """

    level: float = 0.5
    dome: float = 0.0
    ring: float = 0.0
    rim: float = 0.0
    rim_width: float = 0.12
    halo: float = 0.0
    halo_width: float = 0.15
    grain: float = 0.0
    nucleus: float = 0.0
    nucleus_size: float = 0.4
    slope: float = 0.0
    bevel: float = 0.0
    relief: float = 0.0
    shadow: float = 0.0
    gloss: float = 0.0
    stripes: float = 0.0
    cover: float = 0.0
    soft: float = 1.5


@dataclass
class Stage:
    """What is shared by the objects of one image while they are painted.

    image: float32 (S, S, C), changed in place; instances: int32 (S, S), the objects from bottom to top, 0 for none;
    areas: instance -> its area in the frame; light: unit vector towards the light (x, y); fine, coarse: noise about
    N(0, 1);
    figures: embossing heights float32 (F, F), about [0, 1], drawn when first needed.
    """

    image: np.ndarray
    light: tuple[float, float] = (-0.7, -0.7)
    fine: np.ndarray | None = None
    coarse: np.ndarray | None = None
    figures: list[np.ndarray] = field(default_factory=list)
    areas: dict[int, int] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.instances = np.zeros(self.image.shape[:2], np.int32)

    @classmethod
    def on(cls, rng: Rng, ground: np.ndarray) -> Stage:
        """A stage on a ground float32 (S, S, C) with light and noises drawn at random."""
        size = ground.shape[0]
        turn = rng.uniform(0, 2 * np.pi)
        return cls(
            ground,
            light=(float(np.cos(turn)), float(np.sin(turn))),
            fine=smooth_noise(rng, size, rng.uniform(1, 2.5)),
            coarse=fractal(rng, size, log_uniform(rng, 4, 20), 3),
        )

    def add(
        self,
        rng: Rng,
        outline: Outline,
        look: Look,
        colour: np.ndarray | float = 1.0,
        ground: float = 0.0,
        mark: bool = True,
    ) -> None:
        """Paints an object and, if `mark`, makes its pixels the next instance.

        colour: scales the brightness per channel, (C,) or one number. ground: the brightness below a covering object.
        """
        size = self.image.shape[0]
        reach = max(
            3 * look.halo_width * outline.radius if look.halo else 0, outline.radius if look.shadow else 0, look.soft
        )
        patch = outline.patch(size, margin=min(reach, 0.7 * outline.radius + 6) + 2)
        if patch is None:
            return
        inside = patch.depth > 0
        area = int(np.count_nonzero(inside))
        if not area:
            return
        alpha = np.clip(patch.depth / np.float32(look.soft) + np.float32(0.5), 0, 1)
        light = alpha * self._body(rng, outline, patch, look) + self._outside(outline, patch, look, alpha)
        view = self.image[patch.box]
        if look.cover:
            hidden = (np.float32(look.cover) * alpha)[..., None]
            view += hidden * (np.float32(ground) * np.asarray(colour, np.float32) - view)
        view += light[..., None] * np.asarray(colour, np.float32)
        if not mark:
            return
        number = len(self.areas) + 1
        self.areas[number] = area
        self.instances[patch.box][inside] = number

    def _body(self, rng: Rng, outline: Outline, patch: Patch, look: Look) -> np.ndarray:
        """Brightness inside the outline, float32 (h, w)."""
        rho, u, v = patch.rho, patch.u, patch.v
        squared = np.minimum(rho * rho, 1.5)
        body = np.float32(look.level) + np.float32(look.dome) * (np.float32(0.5) - squared)
        if look.ring:
            body += np.float32(look.ring) * np.exp(-squared / np.float32(rng.uniform(0.12, 0.3)))
        if look.rim:
            body += np.float32(look.rim) * self._band(outline, patch, look)
        if look.grain:
            body += np.float32(look.grain) * (0.6 * self.fine[patch.box] + 0.8 * self.coarse[patch.box])
        if look.nucleus:
            away_u, away_v = rng.uniform(-0.3, 0.3, 2)
            inner = np.hypot(u - np.float32(away_u), v - np.float32(away_v)) / np.float32(look.nucleus_size)
            body += np.float32(look.nucleus) * np.clip(
                (1 - inner) * np.float32(outline.radius * look.nucleus_size / 2), 0, 1
            )
        if look.slope or look.bevel:
            facing = self._facing(outline, patch)
            body += np.float32(look.slope) * facing * np.minimum(rho, 1)
            if look.bevel:
                body += np.float32(look.bevel) * facing * self._band(outline, patch, look)
        if look.relief:
            body += np.float32(look.relief) * self._emboss(rng, patch, outline)
        if look.gloss:
            at_u, at_v = rng.uniform(-0.5, 0.5, 2)
            spot = ((u - np.float32(at_u)) ** 2 + (v - np.float32(at_v)) ** 2) / np.float32(rng.uniform(0.01, 0.06))
            body += np.float32(look.gloss) * np.exp(-spot)
        if look.stripes:
            body += np.float32(look.stripes) * np.sin(
                u * np.float32(rng.uniform(4, 14)) + np.float32(rng.uniform(0, 6))
            )
        return body

    def _outside(self, outline: Outline, patch: Patch, look: Look, alpha: np.ndarray) -> np.ndarray | float:
        """Halo and shadow beyond the outline, float32 (h, w); 0 if there is neither."""
        if not (look.halo or look.shadow):
            return 0.0
        width = np.float32(max(look.halo_width * outline.radius, 1.0))
        fade = np.exp(np.minimum(patch.depth, 0) / width) * (1 - alpha)
        glow = np.float32(look.halo) * fade
        if look.shadow:
            glow -= np.float32(look.shadow) * fade * np.clip(-self._facing(outline, patch), 0, 1)
        return glow

    def _facing(self, outline: Outline, patch: Patch) -> np.ndarray:
        """Cosine between the direction from the centre and the light, float32 (h, w)."""
        dy = np.arange(patch.rows.start, patch.rows.stop, dtype=np.float32)[:, None] - np.float32(outline.y)
        dx = np.arange(patch.columns.start, patch.columns.stop, dtype=np.float32)[None, :] - np.float32(outline.x)
        return (np.float32(self.light[0]) * dx + np.float32(self.light[1]) * dy) / np.sqrt(dx * dx + dy * dy + 1)

    @staticmethod
    def _band(outline: Outline, patch: Patch, look: Look) -> np.ndarray:
        """1 on a line just inside the outline, falling to 0 on both sides, float32 (h, w)."""
        width = np.float32(max(look.rim_width * outline.radius, 1.0))
        return np.exp(-(((patch.depth - width) / width) ** 2))

    def _emboss(self, rng: Rng, patch: Patch, outline: Outline) -> np.ndarray:
        """A figure as relief lit from the side and worn bright where it is high, float32 (h, w) about [-1, 1]."""
        if len(self.figures) < MAX_FIGURES:
            self.figures.append(figure(rng))
        heights = self.figures[rng.integers(len(self.figures))]
        middle = (heights.shape[0] - 1) / 2
        place = [middle + middle * np.clip(axis, -1, 1) for axis in (patch.v, patch.u)]
        height = ndimage.map_coordinates(heights, place, order=1)
        relief = np.zeros_like(height)
        relief[:, 1:] -= np.float32(self.light[0]) * np.diff(height, axis=1)
        relief[1:] -= np.float32(self.light[1]) * np.diff(height, axis=0)
        # A large coin spreads the same heights over more pixels: keep the contrast of its relief.
        return np.clip(
            relief * np.float32(0.14 * outline.radius + 1) + np.float32(0.5) * (height - height.mean()), -1, 1
        )


def figure(rng: Rng, side: int = 96) -> np.ndarray:
    """Embossing heights of a coin or button, float32 (side, side): blobs and strokes, letters round the edge."""
    scale = 2
    picture = Image.new("L", (side * scale, side * scale), 0)
    draw = ImageDraw.Draw(picture)
    middle = side * scale / 2
    for _ in range(rng.integers(4, 14)):
        x, y = middle + middle * rng.normal(0, 0.28, 2)
        a, b = middle * rng.uniform(0.06, 0.35, 2)
        draw.ellipse([x - a, y - b, x + a, y + b], fill=int(rng.integers(60, 255)))
    for _ in range(rng.integers(4, 20)):
        points = middle + middle * (rng.normal(0, 0.3, 2) + rng.normal(0, 0.2, (3, 2)))
        draw.line(
            [tuple(p) for p in points], fill=int(rng.integers(0, 255)), width=int(rng.integers(2, 9)), joint="curve"
        )
    if rng.random() < 0.6:
        for turn in np.arange(rng.uniform(0, 1), rng.uniform(3, 6.2), rng.uniform(0.12, 0.25)):
            x, y = middle * (1 + 0.8 * np.array([np.cos(turn), np.sin(turn)]))
            dx, dy = rng.normal(0, 0.05, 2) * middle
            draw.line([x - dx, y - dy, x + dx, y + dy], fill=230, width=3)
    heights = np.asarray(picture.resize((side, side)), np.float32) / 255
    return blur(heights, 1.0) + np.float32(0.10) * fractal(rng, side, 12, 4, 0.7)


def coins(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Embossed metal discs lit from one side under uneven light, some hardly brighter than what they lie on."""
    ground = flat(rng, size, rng.uniform(0.08, 0.5), 0.04)
    if rng.random() < 0.4:
        ground = ground + np.float32(rng.uniform(0.01, 0.08)) * surface(rng, size)[..., None]
    base = float(ground.mean())
    stage = Stage.on(rng, ground)
    typical = log_uniform(rng, min(9, 0.2 * size), min(50, 0.25 * size))
    if rng.random() < 0.5:
        places = grid(rng, size, typical, rng.uniform(2.3, 3.6), rng.uniform(0, 0.25))
    else:
        count = int(np.clip(rng.uniform(0.1, 0.5) * size**2 / (np.pi * typical**2), 1, MAX_OBJECTS))
        gap = rng.choice([1.15, 1.0], p=[0.7, 0.3])
        places = scatter(rng, size, radii(rng, count, typical, 0.2), gap=gap)
    style = ShapeStyle(aspect=(1.0, 1.12), wobble=rng.uniform(0, 0.035))
    step = rng.choice([0.03, 0.15, 0.3], p=[0.2, 0.4, 0.4])
    look = Look(
        relief=rng.uniform(0.15, 0.55), bevel=maybe(rng, 0.8, 0.05, 0.3), rim=maybe(rng, 0.6, -0.1, 0.2),
        grain=rng.uniform(0.01, 0.05), rim_width=rng.uniform(0.04, 0.1), shadow=maybe(rng, 0.6, 0.05, 0.5) * base,
        halo=1e-6, halo_width=rng.uniform(0.04, 0.2), slope=rng.uniform(0, 0.1), cover=1.0, soft=rng.uniform(1, 2),
    )  # fmt: skip
    for place in places:
        own = replace(look, level=float(step * rng.uniform(0.6, 1.4) + 0.06 * rng.normal()))
        stage.add(rng, style.draw(rng, *place), own, ground=base)
    pixels = develop(rng, stage, 0.06, colourful=0.2, light=0.85)
    return pixels, stage


def pills(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Coloured round things on a table: tablets, sweets, seeds, buttons, with highlights and shadows."""
    table = random_colour(rng, 0.6) * rng.uniform(0.15, 1.0)
    pattern = 1 + rng.uniform(0, 0.12) * surface(rng, size) if rng.random() < 0.6 else np.ones((size, size), np.float32)
    stage = Stage.on(rng, (pattern[..., None] * table).astype(np.float32))
    colours = [random_colour(rng, 0.9) for _ in range(rng.integers(1, 5))]
    look = Look(
        level=0.0, dome=rng.uniform(0, 0.35), slope=rng.uniform(0, 0.25), bevel=rng.uniform(0, 0.2),
        gloss=maybe(rng, 0.5, 0.2, 0.8), grain=rng.uniform(0, 0.06), stripes=maybe(rng, 0.15, 0.05, 0.2),
        relief=maybe(rng, 0.2, 0.1, 0.3), halo=1e-6, shadow=rng.uniform(0, 0.4), halo_width=rng.uniform(0.08, 0.25),
        cover=1.0,
    )  # fmt: skip
    for outline in crowd(rng, size, 7, 48, apart=0.5):
        colour, brightness = colours[rng.integers(len(colours))], rng.uniform(0.85, 1.1)
        # A thing of the table's own colour and brightness would be marked and yet invisible.
        distance = float(np.abs(0.75 * colour - table).max())
        stage.add(rng, outline, look, colour * brightness, ground=0.75 if distance > 0.2 else 0.35)
    return camera(rng, stage.image, noise=0.04, light=0.5, plain=True), stage


def lone_cell(rng: Rng, size: int, dusty: float = 0.5) -> tuple[np.ndarray, Stage]:
    """One to three cells, often large, on a smooth ground that is otherwise empty but for dust.

    dusty: chance of dust.
    """
    base = rng.uniform(0.15, 0.75)
    stage = Stage.on(rng, flat(rng, size, base, 0.05))
    # Towards whichever end of the range has more room, so that the cell shows.
    sign = 1.0 if rng.random() < 1 - base else -1.0
    strength = rng.uniform(0.12, 0.6)
    look = Look(
        level=sign * strength, dome=maybe(rng, 0.6, -0.5, 0.6) * strength,
        ring=maybe(rng, 0.1, -0.8, -0.3) * sign * strength, rim=maybe(rng, 0.4, -0.8, 0.8) * strength,
        rim_width=rng.uniform(0.04, 0.15), halo=maybe(rng, 0.6, -0.8, 0.4) * sign * strength,
        halo_width=rng.uniform(0.05, 0.3), grain=maybe(rng, 0.8, 0.03, 0.3) * strength,
        nucleus=maybe(rng, 0.3, -0.7, 0.7) * strength, slope=maybe(rng, 0.2, 0.1, 0.4) * strength,
        gloss=maybe(rng, 0.3, 0.1, 0.5), relief=maybe(rng, 0.15, 0.1, 0.4), soft=rng.uniform(1.5, 6),
    )  # fmt: skip
    style = random_style(rng)
    biggest = log_uniform(rng, min(14, 0.29 * size), 0.3 * size + 1)
    count = rng.choice([1, 2, 3], p=[0.75, 0.15, 0.1])
    for x, y, radius in scatter(rng, size, radii(rng, count, biggest, 0.15 if count > 1 else 0.0), gap=1.2):
        if count == 1 and rng.random() < 0.8:
            x, y = rng.uniform(radius, size - radius, 2)
        stage.add(rng, style.draw(rng, float(x), float(y), radius), look)
    if rng.random() < dusty:
        # Dust on the glass is round too, but tiny beside the cell.
        for x, y in rng.uniform(0, size, (rng.integers(1, 12), 2)):
            spot = Look(
                level=rng.uniform(-1, 1) * strength, rim=rng.uniform(-1, 1) * strength, rim_width=0.3,
                halo=rng.uniform(-0.5, 0.5) * strength, halo_width=0.5, soft=rng.uniform(1, 2.5),
            )  # fmt: skip
            speck = Outline(float(x), float(y), rng.uniform(0.6, max(1.2, 0.09 * biggest)))
            stage.add(rng, speck, spot, mark=False)
    return develop(rng, stage, 0.05, colourful=0.25, light=0.35), stage


def dusty_cell(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """As lone_cell, and always with dust: a network that has seen few such pictures takes specks for small cells."""
    return lone_cell(rng, size, dusty=1.0)


def night_sky(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Stars and galaxies: soft coloured blobs on black. Points too small for an outline are painted but not marked."""
    stage = Stage.on(rng, np.repeat(flat(rng, size, rng.uniform(0, 0.08), 0.02), 3, axis=2))
    point = Look(level=0.7, soft=2.0)
    for x, y in rng.uniform(0, size, (rng.integers(0, 50), 2)):
        stage.add(rng, Outline(float(x), float(y), rng.uniform(0.5, 1.3)), point, random_colour(rng, 0.5), mark=False)
    style = ShapeStyle(aspect=(1.0, 2.5))
    places = scatter(rng, size, radii(rng, int(rng.integers(2, 40)), log_uniform(rng, 3.5, 11), 0.4), gap=1.1)
    for place in places:
        level = rng.uniform(0.2, 0.6)
        look = Look(
            level=level, dome=rng.uniform(0.2, 0.8) * level, ring=rng.uniform(0, 1.0) * level, soft=rng.uniform(2, 4),
            halo=0.3 * level, halo_width=0.25,
        )  # fmt: skip
        stage.add(rng, style.draw(rng, *place), look, random_colour(rng, 0.6))
    return camera(rng, stage.image, noise=0.05, light=0.1), stage


def anything(rng: Rng, size: int) -> tuple[np.ndarray, Stage]:
    """Blobs whose every term is drawn at random, against the regularities of the other scenes."""
    base = rng.uniform(0.1, 0.9)
    ground = flat(rng, size, base, 0.1) + np.float32(maybe(rng, 0.5, 0.01, 0.06)) * surface(rng, size)[..., None]
    stage = Stage.on(rng, ground)
    room = (1 - base) if base < 0.5 else -base
    look = Look(
        level=room * rng.uniform(0.15, 0.8), dome=rng.normal() * 0.12, ring=maybe(rng, 0.2, -0.3, 0.3),
        rim=rng.normal() * 0.15, rim_width=rng.uniform(0.05, 0.2), halo=maybe(rng, 0.4, -0.2, 0.2),
        halo_width=rng.uniform(0.05, 0.3), grain=maybe(rng, 0.6, 0.01, 0.1), nucleus=maybe(rng, 0.4, -0.4, 0.4),
        nucleus_size=rng.uniform(0.2, 0.7), slope=maybe(rng, 0.4, 0, 0.3), bevel=maybe(rng, 0.3, 0, 0.3),
        relief=maybe(rng, 0.2, 0.1, 0.5), gloss=maybe(rng, 0.2, 0.2, 0.6), stripes=maybe(rng, 0.1, 0.05, 0.2),
        shadow=maybe(rng, 0.3, 0, 0.3), cover=float(rng.choice([0.0, 0.8])), soft=rng.uniform(1, 4),
    )  # fmt: skip
    for outline in crowd(rng, size, 4.5, 70):
        stage.add(rng, outline, jitter(rng, look, 0.25), ground=base)
    return develop(rng, stage, 0.04, colourful=0.4, light=0.6), stage
