"""The built-in training data `objects`: pictures of all kinds of things with a mask each, drawn from a seed.

A network that is clicked has to find the outline of whatever lies under the pointer, so that here is what outlines are made of: things
and people's tools on textured ground, leaves on leaves, letters, roofs from above, mosaics in which every piece has its own material,
cells, coins and crowded nuclei; smooth and jagged, thin, with holes and in several colours, half hidden, in the shadow of others, hardly brighter than
what is behind them. Everything is procedural: no file, no download, no pixel of a real picture.

Shapes are drawn in their own coordinates, about [-1, 1], through a :class:`Pen`, twice as large as they appear, and shrunk: edges are
smooth, and an object is where at least half of a pixel is covered.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from PIL import Image, ImageDraw
from scipy import ndimage

from synthetic import cells, negatives, nuclei
from synthetic.shapes import (
    Rng,
    areas,
    axes,
    blur,
    camera,
    fractal,
    font,
    illumination,
    log_uniform,
    palette,
    regions,
    resize,
    smooth_noise,
    surface,
)

CLASS_NAMES = ("background", "object")
CLASS_COLORS = ((0, 0, 0), (255, 128, 64))
# Pixels that an object shows at least, and the share of it that others leave to be seen.
MIN_AREA, MIN_VISIBLE = 48, 0.3
# A piece that something in front cuts off is the object's where it is this share of it.
MIN_PIECE = 0.2
FINE = 2


class Pen:
    """Draws one shape in its own coordinates.

    Args:
        angle: by which it is turned.
        reach: pixels per unit of the shape, of the picture.
        stretch: of the shape's second axis.
    """

    def __init__(self, angle: float, reach: float, stretch: float = 1.0) -> None:
        self.half = int(np.ceil(reach * 1.5)) + 2
        self.scale = reach * FINE
        self._turn = np.array([[np.cos(angle), np.sin(angle)], [-np.sin(angle), np.cos(angle)]]) * [[1.0], [stretch]]
        self.picture = Image.new("L", (2 * self.half * FINE,) * 2, 0)
        self._draw = ImageDraw.Draw(self.picture)

    def places(self, points: np.ndarray) -> list[tuple[float, float]]:
        """Pixels of the fine picture for points (N, 2) of the shape."""
        found = np.asarray(points, float) @ self._turn * self.scale + self.half * FINE
        return [*map(tuple, found)]

    def polygon(self, points: np.ndarray, inside: bool = True) -> None:
        """Fills a closed curve, or takes it away."""
        self._draw.polygon(self.places(points), fill=255 if inside else 0)

    def disc(self, x: float, y: float, a: float, b: float | None = None, turn: float = 0.0, inside: bool = True) -> None:
        """Fills an ellipse, or takes it away."""
        t = np.linspace(0, 2 * np.pi, 48, endpoint=False)
        u, v = a * np.cos(t), (a if b is None else b) * np.sin(t)
        self.polygon(np.stack([x + u * np.cos(turn) - v * np.sin(turn), y + u * np.sin(turn) + v * np.cos(turn)], 1), inside)

    def line(self, points: np.ndarray, width: float) -> None:
        """A stroke with round ends."""
        places, pixels = self.places(points), max(FINE + 1, round(width * self.scale))
        self._draw.line(places, fill=255, width=pixels, joint="curve")
        for x, y in (places[0], places[-1]):
            self._draw.ellipse([x - pixels / 2, y - pixels / 2, x + pixels / 2, y + pixels / 2], fill=255)

    def cover(self) -> np.ndarray:
        """How much of each pixel is covered: float32 (2 half, 2 half) in [0, 1]."""
        return np.asarray(self.picture.reduce(FINE), np.float32) / 255


def _curve(rng: Rng, orders: int, strength: float, roughness: float = 0.0, points: int = 160) -> np.ndarray:
    """A closed curve round the middle, (points, 2): a circle whose radius is a sum of waves, ragged where asked for."""
    turn = np.linspace(0, 2 * np.pi, points, endpoint=False)
    radius = np.ones(points)
    for order in range(2, 2 + orders):
        radius += strength * rng.normal() / order**0.7 * np.cos(order * turn + rng.uniform(0, 6))
    if roughness:
        radius += roughness * np.convolve(rng.normal(size=points + 2), [0.3, 0.6, 0.3], "valid")
    radius = np.clip(radius, 0.15, 2)
    return np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1) / max(1.0, radius.max())


def blob(rng: Rng, pen: Pen) -> None:
    """A smooth closed curve, at times with a hole."""
    pen.polygon(_curve(rng, int(rng.integers(1, 7)), rng.uniform(0, 0.35)))
    if rng.random() < 0.12:
        pen.disc(*rng.uniform(-0.3, 0.3, 2), *rng.uniform(0.15, 0.35, 2), rng.uniform(0, 6), inside=False)


def torn(rng: Rng, pen: Pen) -> None:
    """A ragged edge: torn paper, rock, crumbs."""
    pen.polygon(_curve(rng, int(rng.integers(2, 9)), rng.uniform(0.1, 0.4), rng.uniform(0.02, 0.15)))


def disc(rng: Rng, pen: Pen) -> None:
    """A disc, ellipse or ring."""
    pen.disc(0, 0, 1, rng.choice([1.0, rng.uniform(0.4, 1)]))
    if rng.random() < 0.2:
        pen.disc(0, 0, *rng.uniform(0.3, 0.75, 2), inside=False)


def polygon(rng: Rng, pen: Pen) -> None:
    """A few straight sides, or a star."""
    corners = int(rng.integers(3, 9))
    turn = np.sort(rng.uniform(0, 2 * np.pi, corners)) if rng.random() < 0.5 else np.arange(corners) * 2 * np.pi / corners
    radius = np.ones(corners)
    if rng.random() < 0.3:
        turn = np.arange(2 * corners) * np.pi / corners
        radius = np.where(np.arange(2 * corners) % 2, rng.uniform(0.35, 0.8), 1.0)
    pen.polygon(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1))


def block(rng: Rng, pen: Pen) -> None:
    """A rectangle, or rectangles at right angles as buildings are, at times round a yard."""
    wide, high = rng.uniform(0.35, 1.0, 2)
    pen.polygon(np.array([[-wide, -high], [wide, -high], [wide, high], [-wide, high]]))
    for _ in range(rng.choice([0, 1, 2], p=[0.5, 0.3, 0.2])):
        x, y = rng.uniform(-0.7, 0.7, 2)
        a, b = rng.uniform(0.2, 0.5, 2)
        pen.polygon(np.array([[x - a, y - b], [x + a, y - b], [x + a, y + b], [x - a, y + b]]), inside=rng.random() < 0.75)


def leaf(rng: Rng, pen: Pen) -> None:
    """A leaf: pointed, toothed, lobed as an oak's, fingered as a maple's; or a blade of grass."""
    t = np.linspace(0, 1, 70)
    kind = rng.random()
    if kind < 0.2:
        turn = np.linspace(0, 2 * np.pi, 140, endpoint=False)
        fingers = int(rng.choice([3, 5, 7]))
        radius = 0.45 + 0.55 * np.abs(np.cos(fingers * turn / 2)) ** rng.uniform(0.5, 2.5) + 0.03 * rng.normal(size=140)
        pen.polygon(np.stack([radius * np.cos(turn), radius * np.sin(turn)], 1))
        return
    width = rng.uniform(0.08, 0.2) if kind < 0.35 else rng.uniform(0.25, 0.7)
    half = width * np.sin(np.pi * t ** rng.uniform(0.6, 1.3)) ** rng.uniform(0.6, 1.2)
    if rng.random() < 0.5:
        half *= 1 + rng.uniform(0.05, 0.45) * np.abs(np.sin(np.pi * rng.integers(3, 14) * t))
    bend = rng.normal(0, 0.3) * (t - 0.5) ** 2 * 4
    x = 2 * t - 1
    pen.polygon(np.concatenate([np.stack([x, half + bend], 1), np.stack([x, bend - half], 1)[::-1]]))
    if rng.random() < 0.4:
        pen.line(np.array([[-1.35, bend[0] + rng.normal(0, 0.1)], [-0.9, bend[3]]]), 0.05)


def letter(rng: Rng, pen: Pen) -> None:
    """A letter or digit."""
    sign = str(rng.choice([*"ABCDEFGHKLMNPRSTUVXYZabdeghkmnpqrs23456789&@?"]))
    points = int(np.clip(2.0 * pen.scale, 10, 500))
    layer = Image.new("L", pen.picture.size, 0)
    ImageDraw.Draw(layer).text((layer.width / 2, layer.height / 2), sign, fill=255, font=font(points), anchor="mm", stroke_width=int(points * rng.uniform(0, 0.06)))
    pen.picture.paste(layer.rotate(rng.normal(0, 15) if rng.random() < 0.6 else rng.uniform(0, 360)))


def tool(rng: Rng, pen: Pen) -> None:
    """A handle and a head: hammers, spoons, keys, spanners, brushes, nails, racquets."""
    thick, head = rng.uniform(0.08, 0.25), rng.uniform(0.2, 0.45)
    pen.line(np.array([[-1, rng.normal(0, 0.03)], [0.75, 0]]), thick)
    kind = rng.integers(6)
    if kind == 0:
        pen.polygon(np.array([[0.6, -head * 1.4], [0.95, -head * 1.2], [0.95, head * 1.2], [0.6, head * 1.4]]))
    elif kind == 1:
        pen.disc(0.7, 0, head, head * rng.uniform(0.5, 1))
    elif kind == 2:
        pen.disc(0.7, 0, head)
        pen.disc(0.7, 0, head * rng.uniform(0.4, 0.8), inside=False)
    elif kind == 3:
        pen.disc(0.7, 0, head)
        pen.polygon(np.array([[0.7, -head * 0.4], [1.3, -head * 0.5], [1.3, head * 0.5], [0.7, head * 0.4]]), inside=False)
    elif kind == 4:
        pen.polygon(np.array([[0.4, -thick], [1, -head], [1, head], [0.4, thick]]))
    else:
        for place in rng.uniform(-1, 0.9, 3):
            pen.line(np.array([[place, 0], [place + rng.normal(0, 0.2), head]]), thick * 0.8)
    if rng.random() < 0.3:
        pen.disc(-1, 0, thick * 1.2)


def thread(rng: Rng, pen: Pen) -> None:
    """Something thin: a rope, a worm, a wire, a twig with branches, a bone."""
    thick = log_uniform(rng, 0.03, 0.25)
    steps = int(rng.integers(3, 16))
    turns = np.cumsum(rng.normal(0, rng.choice([0.1, 0.4, 0.8]), steps))
    path = np.cumsum(np.stack([np.cos(turns), np.sin(turns)], 1), 0)
    path = path - path.mean(0)
    path /= np.abs(path).max() + 1e-6
    pen.line(path, thick)
    for _ in range(rng.choice([0, 0, 3, 6])):
        start = path[rng.integers(steps)]
        pen.line(np.stack([start, start + rng.normal(0, 0.35, 2)]), thick * rng.uniform(0.4, 0.9))


def creature(rng: Rng, pen: Pen) -> None:
    """A body with a head, limbs, ears and a tail: animals and people."""
    long, high = rng.uniform(0.4, 0.7), rng.uniform(0.22, 0.45)
    pen.disc(0, 0, long, high, rng.normal(0, 0.1))
    limbs, thick, foot = int(rng.choice([2, 4, 6])), rng.uniform(0.06, 0.18), rng.uniform(0.5, 0.95)
    for place in np.linspace(-0.8, 0.8, limbs) * long:
        knee = place + rng.normal(0, 0.1)
        pen.line(np.array([[place, 0.1], [knee, foot * 0.6], [knee + rng.normal(0, 0.08), foot]]), thick)
    x, y, head = long * rng.uniform(0.9, 1.2), -high * rng.uniform(0.3, 1.3), rng.uniform(0.15, 0.4)
    pen.line(np.array([[long * 0.6, -0.1], [x, y]]), head * rng.uniform(0.6, 1.4))
    pen.disc(x, y, head, head * rng.uniform(0.6, 1.0), rng.normal(0, 0.5))
    for side in (-1, 1) if rng.random() < 0.7 else ():
        pen.polygon(np.array([[x + side * head * 0.7, y - head * 0.4], [x + side * head * 0.8, y - head * rng.uniform(1.2, 2)], [x, y - head * 0.6]]))
    if rng.random() < 0.6:
        pen.line(np.array([[-long, 0], [-long - 0.2, -0.2], [-long - rng.uniform(0, 0.4), rng.uniform(-0.7, 0.4)]]), thick * 0.7)


def vessel(rng: Rng, pen: Pen) -> None:
    """What is turned on a wheel: bottles, vases, cups, lamps, chessmen, rockets; at times with a handle."""
    knots = np.clip(np.cumsum(rng.normal(0, 0.22, 6)) + 0.45, 0.08, 0.8)
    y = np.linspace(-1, 1, 80)
    half = np.interp(y, np.linspace(-1, 1, 6), knots) if rng.random() < 0.5 else np.repeat(knots, 14)[:80]
    half = ndimage.gaussian_filter1d(half, rng.uniform(0.5, 8))
    pen.polygon(np.concatenate([np.stack([half, y], 1), np.stack([-half, y], 1)[::-1]]))
    if rng.random() < 0.3:
        x, size = half.mean(), rng.uniform(0.2, 0.4)
        turn = np.linspace(-1.4, 1.4, 16)
        pen.line(np.stack([x * 0.8 + size * np.cos(turn), size * np.sin(turn)], 1), rng.uniform(0.06, 0.14))


SHAPES: dict[Callable[[Rng, Pen], None], float] = {
    blob: 3, torn: 2, disc: 2.5, polygon: 1.5, block: 2, leaf: 2.5, letter: 1.2, tool: 1.5, thread: 1, creature: 2.5, vessel: 2,
}  # fmt: skip


def _drawn(rng: Rng, weighted: dict) -> Callable:
    """One of several by its weight."""
    weights = np.array([*weighted.values()], float)
    return [*weighted][rng.choice(len(weights), p=weights / weights.sum())]


def material(rng: Rng, size: int) -> np.ndarray:
    """What something is made of, over a whole picture: RGB float32 (S, S, 3). Plain, shaded, grained, striped, chequered, patched."""
    first, second = palette(rng, 2)
    if rng.random() < 0.5:
        second = np.clip(first * rng.uniform(0.6, 1.3) + rng.normal(0, 0.05, 3), 0, 1).astype(np.float32)
    kind = rng.choice(6, p=[0.25, 0.33, 0.12, 0.08, 0.12, 0.1])
    y, x = axes(size)
    turn, pitch = rng.uniform(0, np.pi), log_uniform(rng, 0.02, 0.4)
    along = (np.cos(turn) * x + np.sin(turn) * y) / pitch
    if kind == 0:
        mix = np.full((size, size), 0.5, np.float32) + np.float32(0.1) * smooth_noise(rng, size, size / 2)
    elif kind == 1:
        mix = 0.5 + rng.uniform(0.1, 0.5) * surface(rng, size)
    elif kind == 2:
        mix = 0.5 + 0.5 * np.sign(np.sin(np.pi * along + rng.choice([0, 1.0]) * smooth_noise(rng, size, size / 4)))
    elif kind == 3:
        across = (np.cos(turn) * y - np.sin(turn) * x) / pitch
        mix = (np.floor(along) + np.floor(across * rng.choice([1, 2]))) % 2
    elif kind == 4:
        return regions(rng, np.digitize(fractal(rng, size, log_uniform(rng, 12, size / 2), 3), np.sort(rng.normal(0, 0.7, rng.integers(1, 4)))))
    else:
        mix = (fractal(rng, size, log_uniform(rng, 3, 20), 2) > rng.normal(0, 0.7)).astype(np.float32)
    mix = np.clip(mix, 0, 1).astype(np.float32)[..., None]
    grain = 1 + np.float32(rng.uniform(0, 0.25) * rng.random()) * fractal(rng, size, log_uniform(rng, 2, 16), 3)
    return (first + (second - first) * mix) * grain[..., None]


@dataclass
class Scene:
    """A picture while it is painted.

    image: float32 (S, S, 3); light: where it comes from, (x, y); shade: how dark shadows are; instances: int32 (S, S), the
    objects from bottom to top; areas: of each, pixels inside the frame before others covered it.
    """

    image: np.ndarray
    light: tuple[float, float]
    shade: float
    soft: float

    def __post_init__(self) -> None:
        self.instances = np.zeros(self.image.shape[:2], np.int32)
        self.areas: list[int] = []

    @classmethod
    def on(cls, rng: Rng, ground: np.ndarray) -> Scene:
        """A scene on a ground, its light drawn at random; half of them have no shadows."""
        turn = rng.uniform(0, 2 * np.pi)
        shade = rng.choice([0.0, rng.uniform(0.1, 0.7)])
        return cls(ground.astype(np.float32).copy(), (float(np.cos(turn)), float(np.sin(turn))), float(shade), float(log_uniform(rng, 0.5, 6)))

    def cast(self, cover: np.ndarray, x: int, y: int, length: float) -> None:
        """The shadow of a shape whose middle is at (x, y), in pixels."""
        if self.shade:
            blurred = blur(np.pad(cover, 8), self.soft)
            window, part = _overlap(self.image.shape[0], blurred.shape[0] // 2, round(x - self.light[0] * length), round(y - self.light[1] * length))
            if window is not None:
                self.image[window] *= (1 - np.float32(self.shade) * blurred[part])[..., None]

    def add(self, cover: np.ndarray, x: int, y: int, paint: np.ndarray, mark: bool = True) -> None:
        """Lays a shape over the picture.

        Args:
            cover: float32 (n, n) in [0, 1], its middle at (x, y).
            paint: float32 (n, n, 3).
            mark: whether it is an object, and not a detail of one.
        """
        window, part = _overlap(self.image.shape[0], cover.shape[0] // 2, x, y)
        if window is None:
            return
        view, alpha = self.image[window], cover[part][..., None]
        view += alpha * (paint[part] - view)
        inside = cover[part] >= 0.5
        if mark and inside.any():
            self.areas.append(int(inside.sum()))
            self.instances[window][inside] = len(self.areas)


def _overlap(size: int, half: int, x: int, y: int) -> tuple[tuple | None, tuple]:
    """Where a square around (x, y) meets the picture: index into the picture, index into the square."""
    left, top, right, bottom = x - half, y - half, x + half, y + half
    if right <= 0 or bottom <= 0 or left >= size or top >= size:
        return None, ()
    rows, columns = slice(max(0, top), min(size, bottom)), slice(max(0, left), min(size, right))
    return (rows, columns), (slice(rows.start - top, rows.stop - top), slice(columns.start - left, columns.stop - left))


def _cut(rng: Rng, stuff: np.ndarray, side: int) -> np.ndarray:
    """A square of a material, (side, side, 3), from a random place, repeated where it is too small."""
    size = stuff.shape[0]
    top, left = rng.integers(0, size, 2)
    rows, columns = (np.abs((np.arange(side) + start) % (2 * size - 1) - size + 1) for start in (top, left))
    return stuff[rows[:, None], columns[None, :]]


@dataclass(frozen=True)
class Finish:
    """How the surface of things looks: `dome`, brighter towards the light as round things are; `rim`, darker or brighter edge; `gloss`, a
    highlight; `inner`, chance that a thing has parts of other colours; `edge`, blur of its outline in pixels."""

    dome: float
    rim: float
    gloss: float
    inner: float
    edge: float

    @classmethod
    def drawn(cls, rng: Rng) -> Finish:
        """One at random."""
        return cls(
            float(rng.choice([0.0, rng.uniform(0.1, 0.7)])), float(rng.choice([0.0, rng.uniform(-0.7, 0.4)], p=[0.6, 0.4])),
            float(rng.choice([0.0, rng.uniform(0.2, 0.9)], p=[0.6, 0.4])), float(rng.choice([0.0, 0.3, 0.9])), float(rng.choice([0.0, 0.0, rng.uniform(0.4, 1.5)])),
        )  # fmt: skip


def put(rng: Rng, scene: Scene, shape: Callable, x: float, y: float, reach: float, stuff: list[np.ndarray], finish: Finish, like: float = 0.0, angle: float | None = None) -> None:
    """Draws a thing with its shadow, surface and details.

    Args:
        scene: to paint on.
        shape: one of SHAPES.
        x, y: its middle, in pixels.
        reach: pixels per unit of the shape.
        stuff: materials to choose from.
        finish: of its surface.
        like: how much of what is behind it shows through, so that it differs little from that.
        angle: by which it is turned; None at random, upright for half of them.
    """
    if angle is None:
        angle = rng.choice([0.0, np.pi / 2]) + rng.normal(0, 0.1) if rng.random() < 0.4 else rng.uniform(0, 2 * np.pi)
    pen = Pen(angle, reach, rng.choice([1.0, rng.uniform(0.45, 1)]))
    shape(rng, pen)
    cover = pen.cover()
    side, x, y = cover.shape[0], round(x), round(y)
    scene.cast(cover, x, y, reach * rng.uniform(0.05, 0.4))
    paint = _cut(rng, stuff[rng.integers(len(stuff))], side).copy()
    if rng.random() < finish.inner:
        _parts(rng, pen, paint, stuff, side)
    tone = np.float32(np.exp(rng.normal(0, 0.15)))
    place = np.linspace(-1, 1, side, dtype=np.float32)
    shading = np.full((side, side), tone, np.float32)
    if finish.dome:
        height = blur(cover, max(0.6, reach * 0.22))
        down, right = np.gradient(height * np.float32(reach))
        shading *= 1 + np.float32(finish.dome) * np.clip(-(scene.light[0] * right + scene.light[1] * down) * -1.2, -1, 1) * np.float32(0.8)
    if finish.rim:
        shading *= 1 + np.float32(finish.rim) * np.clip(1.2 - 2 * np.abs(blur(cover, max(0.5, reach * 0.05)) - 0.5) - 0.5, 0, 1)
    paint *= shading[..., None]
    if finish.gloss and rng.random() < 0.7:
        at, wide = rng.uniform(-0.35, 0.35, 2), log_uniform(rng, 0.01, 0.15)
        paint += np.float32(finish.gloss) * np.exp(-((place[:, None] - at[0]) ** 2 + (place[None, :] - at[1]) ** 2) / wide)[..., None]
    if like:
        window, part = _overlap(scene.image.shape[0], side // 2, x, y)
        if window is not None:
            paint[part] += np.float32(like) * (scene.image[window] - paint[part])
    if finish.edge:
        # The outline stays where it was: half covered.
        cover = np.where(cover >= 0.5, np.maximum(blur(cover, finish.edge), 0.5), np.minimum(blur(cover, finish.edge), 0.49))
    scene.add(cover, x, y, paint)


def _parts(rng: Rng, pen: Pen, paint: np.ndarray, stuff: list[np.ndarray], side: int) -> None:
    """Other colours on parts of a thing: halves, patches, marks, windows, veins; in place."""
    layer = Image.new("L", (side, side), 0)
    draw = ImageDraw.Draw(layer)
    kind = rng.integers(5)
    if kind == 0:
        middle, turn = rng.normal(side / 2, side / 8, 2), rng.uniform(0, 2 * np.pi)
        along, across = np.array([np.cos(turn), np.sin(turn)]) * 2 * side, np.array([-np.sin(turn), np.cos(turn)]) * 2 * side
        draw.polygon([tuple(middle - along), tuple(middle + along), tuple(middle + along + across), tuple(middle - along + across)], fill=255)
    elif kind == 1:
        for at_x, at_y in rng.uniform(0.15, 0.85, (rng.integers(1, 12), 2)) * side:
            a, b = rng.uniform(0.02, 0.14, 2) * side
            draw.ellipse([at_x - a, at_y - b, at_x + a, at_y + b], fill=255)
    elif kind == 2:
        pitch, wide = rng.uniform(0.06, 0.2) * side, rng.uniform(0.3, 0.7)
        for step in np.arange(0, side, pitch):
            for other in np.arange(0, side, pitch) if rng.random() < 0.5 else (0,):
                draw.rectangle([step, other, step + pitch * wide, other + (pitch * wide if other else side)], fill=255)
    elif kind == 3:
        for place in (blob, polygon):
            inner = Pen(rng.uniform(0, 6), pen.scale / FINE * rng.uniform(0.25, 0.6))
            place(rng, inner)
            layer.paste(255, tuple(int(v) for v in rng.uniform(0.2, 0.6, 2) * side), inner.picture.reduce(FINE))
    else:
        middle = side / 2
        for _ in range(rng.integers(1, 9)):
            draw.line([middle + rng.normal(0, side / 12), middle + rng.normal(0, side / 12), *rng.uniform(0, side, 2)], fill=255, width=int(rng.integers(1, 4)))
    alpha = np.asarray(layer, np.float32)[..., None] / 255 * np.float32(rng.uniform(0.4, 1))
    other = _cut(rng, stuff[rng.integers(len(stuff))], side) if rng.random() < 0.6 else palette(rng, 1)[0]
    paint += alpha * (other - paint)


def ground(rng: Rng, size: int) -> np.ndarray:
    """What is behind things: even, a material, a surface, a landscape's rough ground, leaves, or clutter out of focus."""
    kind = rng.choice(7, p=[0.16, 0.24, 0.2, 0.1, 0.1, 0.1, 0.1])
    if kind == 0:
        image = palette(rng, 1)[0] * np.ones((size, size, 1), np.float32)
    elif kind == 1:
        image = material(rng, size)
    elif kind == 2:
        image = negatives.surfaces(rng, size)
    elif kind == 3:
        image = cells.terrain(rng, size)
    elif kind == 4:
        image = blur(_foliage(rng, size), rng.choice([0.0, rng.uniform(0, 5)]))
    elif kind == 5:
        image = blur(regions(rng, areas(rng, size)), rng.uniform(0, 6))
    else:
        image = blur(negatives.dead_leaves(rng, size), rng.uniform(0, 8))
    return image * illumination(rng, size, rng.uniform(0, 0.5))[..., None]


def _foliage(rng: Rng, size: int) -> np.ndarray:
    """Leaves behind things, drawn at half the size, which takes a quarter of the time."""
    small = cells.foliage(rng, size // 2)
    return np.stack([resize(small[..., channel], size, size) for channel in range(3)], axis=2)


def _crowd(rng: Rng, size: int, count: int, low: float, high: float) -> list[tuple[float, float, float]]:
    """Places and sizes of things, the large ones below: (x, y, reach) in pixels."""
    typical, spread = log_uniform(rng, low, high) * size, rng.choice([0.1, 0.3, 0.7])
    sizes = np.sort(np.clip(typical * np.exp(spread * rng.normal(size=count)), 5, 0.6 * size))[::-1]
    return [(*rng.uniform(-0.02, 1.02, 2) * size, float(reach)) for reach in sizes]


def things(rng: Rng, size: int) -> Scene:
    """A few things on a ground, of one kind or of many, apart or in a heap."""
    scene = Scene.on(rng, ground(rng, size))
    stuff = [material(rng, size) for _ in range(rng.integers(1, 5))]
    if rng.random() < 0.2:
        # Of the same stuff as what is behind: an edge, a shadow and the light tell them apart.
        stuff = [scene.image * np.float32(rng.uniform(0.7, 1.3)), *stuff[:1]]
    only = _drawn(rng, SHAPES) if rng.random() < 0.4 else None
    finish = Finish.drawn(rng)
    like = float(rng.choice([0.0, rng.uniform(0.2, 0.75)], p=[0.75, 0.25]))
    for x, y, reach in _crowd(rng, size, int(log_uniform(rng, 1, 24)), 0.04, 0.38):
        put(rng, scene, only or _drawn(rng, SHAPES), x, y, reach, stuff, finish if only else Finish.drawn(rng), like)
    return scene


def portrait(rng: Rng, size: int) -> Scene:
    """One large thing in the middle, of several colours, with small things about it."""
    scene = Scene.on(rng, ground(rng, size))
    stuff = [material(rng, size) for _ in range(3)]
    finish = Finish(float(rng.uniform(0, 0.6)), 0.0, float(rng.choice([0.0, 0.4])), 1.0, float(rng.uniform(0, 1)))
    for x, y, reach in _crowd(rng, size, int(rng.integers(0, 8)), 0.03, 0.12):
        put(rng, scene, _drawn(rng, SHAPES), x, y, reach, stuff, Finish.drawn(rng))
    shape = _drawn(rng, {creature: 4, vessel: 3, tool: 1, blob: 1, leaf: 1, block: 1})
    put(rng, scene, shape, *rng.uniform(0.35, 0.65, 2) * size, rng.uniform(0.28, 0.5) * size, stuff, finish)
    for x, y, reach in _crowd(rng, size, int(rng.integers(0, 4)), 0.03, 0.12):
        put(rng, scene, _drawn(rng, SHAPES), x, y, reach, stuff, Finish.drawn(rng))
    return scene


def leaves(rng: Rng, size: int) -> Scene:
    """Leaves over leaves, of nearly the same colours, each with its ribs."""
    scene = Scene.on(rng, _foliage(rng, size) * np.float32(rng.uniform(0.3, 1)) if rng.random() < 0.5 else ground(rng, size))
    green = palette(rng, 1)[0] * 0.4 + np.array([0.1, 0.3, 0.05]) * rng.uniform(0.5, 1.6)
    stuff = []
    for _ in range(3):
        tone = np.clip(green * np.exp(rng.normal(0, 0.25)) + rng.normal(0, 0.04, 3), 0.02, 1).astype(np.float32)
        stuff.append(tone * (1 + np.float32(rng.uniform(0.02, 0.25)) * surface(rng, size))[..., None])
    finish = Finish(float(rng.uniform(0, 0.5)), float(rng.uniform(-0.4, 0.1)), float(rng.choice([0.0, 0.3])), float(rng.uniform(0.2, 0.9)), float(rng.choice([0.0, 0.8])))
    for x, y, reach in _crowd(rng, size, int(log_uniform(rng, 2, 40)), 0.06, 0.3):
        put(rng, scene, leaf, x, y, reach, stuff, finish)
    return scene


def roofs(rng: Rng, size: int) -> Scene:
    """Buildings from above: roofs of two slopes, their shadows all to one side, among streets, trees and cars."""
    image = cells.terrain(rng, size) * 0.6 + 0.15 if rng.random() < 0.5 else material(rng, size)
    scene = Scene.on(rng, image)
    scene.shade = rng.uniform(0.2, 0.75)
    grey = np.float32(rng.uniform(0.25, 0.7)) * np.ones((size, size, 3), np.float32) * (1 + 0.05 * fractal(rng, size, 6, 3))[..., None]
    layer = Image.new("L", (size, size), 0)
    turn = rng.uniform(0, np.pi / 2)
    for _ in range(rng.integers(0, 4)):
        at, run = rng.uniform(0, size, 2), turn + rng.choice([0, np.pi / 2])
        step = np.array([np.cos(run), np.sin(run)]) * 2 * size
        ImageDraw.Draw(layer).line([*(at - step), *(at + step)], fill=255, width=int(rng.uniform(0.03, 0.12) * size))
    street = np.asarray(layer, np.float32)[..., None] / 255
    scene.image += street * (grey - scene.image)
    colours = [palette(rng, 1)[0] * 0.7 + np.float32(0.15) for _ in range(3)]
    length = rng.uniform(0.02, 0.09) * size
    for x, y, reach in _crowd(rng, size, int(log_uniform(rng, 2, 40)), 0.035, 0.16):
        pen = Pen(turn + rng.choice([0, np.pi / 2]) + rng.normal(0, 0.03), reach, rng.uniform(0.5, 1))
        block(rng, pen)
        cover = pen.cover()
        side = cover.shape[0]
        scene.cast(cover, round(x), round(y), length)
        paint = np.ones((side, side, 3), np.float32) * colours[rng.integers(3)] * np.float32(np.exp(rng.normal(0, 0.12)))
        line = np.linspace(-1, 1, side, dtype=np.float32)
        if rng.random() < 0.6:
            run = turn + rng.choice([0, np.pi / 2])
            paint *= np.where(np.cos(run) * line[None, :] + np.sin(run) * line[:, None] > rng.normal(0, 0.1), 1.0, rng.uniform(0.55, 0.95)).astype(np.float32)[..., None]
        paint *= (1 + np.float32(rng.uniform(0, 0.12)) * _cut(rng, grey, side)[..., :1])
        for _ in range(rng.integers(0, 6)):
            a, b = rng.integers(side // 3, side - side // 3 + 1, 2)
            paint[a : a + rng.integers(1, 5), b : b + rng.integers(1, 5)] *= np.float32(rng.uniform(0.3, 1.6))
        scene.add(cover, round(x), round(y), paint)
    green = [np.clip(np.array([0.15, 0.3, 0.1]) * rng.uniform(0.5, 1.6), 0, 1).astype(np.float32) * (1 + 0.4 * fractal(rng, size, 8, 4))[..., None]]
    for x, y, reach in _crowd(rng, size, int(rng.integers(0, 20)), 0.02, 0.07):
        pen = Pen(0.0, reach)
        torn(rng, pen)
        scene.cast(pen.cover(), round(x), round(y), length * 0.6)
        scene.add(pen.cover(), round(x), round(y), _cut(rng, green[0], pen.cover().shape[0]))
    return scene


def mosaic(rng: Rng, size: int) -> Scene:
    """A picture that is full of pieces, each of its own material, textures on textures, with or without seams."""
    pitch = log_uniform(rng, 0.08, 0.4) * size
    marks = np.full((size, size), True)
    marks[tuple(rng.integers(size, size=(2, int((size / pitch) ** 2) + 3)))] = False
    rows, columns = ndimage.distance_transform_edt(marks, return_distances=False, return_indices=True)
    if rng.random() < 0.6:
        shift = [np.clip(line + np.float32(pitch * rng.uniform(0.05, 0.35)) * smooth_noise(rng, size, pitch * rng.uniform(0.2, 0.8)), 0, size - 1).astype(int) for line in np.mgrid[0:size, 0:size]]
        rows, columns = rows[shift[0], shift[1]], columns[shift[0], shift[1]]
    ids = np.unique(rows * size + columns, return_inverse=True)[1].reshape(size, size) + 1
    stuff = [material(rng, size) for _ in range(rng.integers(2, 6))]
    which = rng.integers(len(stuff), size=ids.max() + 1)
    image = np.choose(which[ids][..., None], [np.roll(part, rng.integers(size), 0) for part in stuff])
    image = image * np.exp(rng.normal(0, 0.25, (ids.max() + 1, 1)) * np.ones(3)).astype(np.float32)[ids]
    scene = Scene.on(rng, image)
    seam = (ids != np.roll(ids, 1, 0)) | (ids != np.roll(ids, 1, 1))
    if rng.random() < 0.5:
        scene.image *= (1 - np.float32(rng.uniform(-0.6, 0.8)) * np.clip(blur(seam.astype(np.float32), log_uniform(rng, 0.4, 2)) * 2, 0, 1))[..., None]
    scene.instances = ids.astype(np.int32)
    scene.areas = np.bincount(ids.ravel())[1:].tolist()
    return scene


SCENES: dict[Callable[[Rng, int], Scene], float] = {things: 36, portrait: 14, leaves: 10, roofs: 10, mosaic: 8}
CELLS, NUCLEI = 22.0, 30.0


def tidied(instances: np.ndarray, areas: list[int]) -> np.ndarray:
    """The objects that can be seen well enough, numbered from 1: uint16 (H, W), without slivers that others cut off.

    Args:
        instances: integer (H, W), 0 for none.
        areas: of each object, its pixels before others covered it.
    """
    found, count = np.zeros(instances.shape, np.uint16), 0
    for number, box in enumerate(ndimage.find_objects(instances), start=1):
        if box is None:
            continue
        mask = instances[box] == number
        if mask.sum() < max(MIN_AREA, MIN_VISIBLE * areas[number - 1]):
            continue
        pieces, several = ndimage.label(mask)
        if several > 1:
            sizes = np.bincount(pieces.ravel())
            sizes[0] = 0
            mask = (sizes >= MIN_PIECE * sizes.sum())[pieces]
        if mask.sum() >= MIN_AREA:
            count += 1
            found[box][mask] = count
    return found


def render(seed: int, index: int, size: int = 320) -> cells.Sample:
    """Draws picture number `index` of the data set `seed`, always the same for the same arguments.

    Args:
        seed: of the data set.
        index: of the picture.
        size: side in pixels, at least 64.

    Returns:
        A sample with image uint8 (size, size, 3), label map uint8 (size, size) with the ids of CLASS_NAMES and an instance map uint16
        (size, size); it has one object at least.
    """
    if size < 64:
        raise ValueError(f"size is {size}, expected at least 64")
    for attempt in range(20):
        rng = np.random.default_rng([seed, index, 11, attempt])
        kind = _drawn(rng, {**SCENES, cells: CELLS, nuclei: NUCLEI})
        if kind is cells:
            weights = {draw: weight for weight, draw in cells.WITH_CELLS.values()}
            pixels, stage = _drawn(rng, weights)(rng, size)
            instances = tidied(stage.instances, [stage.areas.get(number, 0) for number in range(1, int(stage.instances.max()) + 1)])
            name = "cells"
        elif kind is nuclei:
            # Things that touch, and are to be told apart by one click.
            fields = {field: weight for field, (weight, _) in nuclei.FIELDS.items()}
            field = nuclei.render(int(rng.integers(2**31)), index, size, kind=_drawn(rng, fields))
            pixels, instances, name = field.image, field.instance_map, "nuclei"
        else:
            scene = kind(rng, size)
            image = scene.image
            if rng.random() < 0.6:
                # As a camera exposes: the brightest parts are nearly white.
                image = image * np.float32(rng.uniform(0.6, 1.1) / max(0.05, float(np.percentile(image, 98))))
            if rng.random() < 0.2:
                image = np.repeat(image @ np.float32([[0.3], [0.59], [0.11]]), 3, axis=2)
            pixels = camera(rng, image.astype(np.float32), noise=0.05, softness=1.2, light=0.4, plain=rng.random() < 0.8)
            instances, name = tidied(scene.instances, scene.areas), kind.__name__
        if instances.any():
            return cells.Sample(pixels, (instances > 0).astype(np.uint8), instances, f"objects-{seed}-{index}-{name}")
    raise RuntimeError(f"nothing was drawn in picture {index} of seed {seed}")  # never seen: one scene in twenty is empty
