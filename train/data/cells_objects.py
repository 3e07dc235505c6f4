"""How one cell, coin or pill is shaded: rim, halo, nucleus, grain, embossing, highlights. One painter, many looks."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from train.data.cells_shapes import Outline, Patch, log_uniform
from train.data.cells_textures import Rng, blur, fractal, smooth_noise

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
