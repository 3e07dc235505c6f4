"""What pictures are painted from: outlines (rounded, bent, dented, elongated), palettes and regions, noise and surfaces, the camera.

All functions take a numpy Generator first and the image's `size` (square images), work in float32 and build their noise
on small grids that are scaled up, which is what keeps a whole image within a few milliseconds.

The camera goes from painted light to a photograph's bytes: colour, exposure, blur, noise, JPEG, and the dirt on the way.
"""

from __future__ import annotations

import io
import string
from dataclasses import dataclass
from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from scipy import ndimage

Rng = np.random.Generator


@dataclass(frozen=True)
class Patch:
    """An outline evaluated on the pixels of its box, arrays float32 (h, w).

    rows, columns: the box as slices of the image.
    rho: 0 at the centre, 1 on the outline, above 1 outside.
    depth: about the distance to the outline in pixels, positive inside.
    u, v: the shape's own coordinates, upright before rotation, about [-1, 1] inside.
    """

    rows: slice
    columns: slice
    rho: np.ndarray
    depth: np.ndarray
    u: np.ndarray
    v: np.ndarray

    @property
    def box(self) -> tuple[slice, slice]:
        """Index of the box in an image."""
        return self.rows, self.columns


@dataclass(frozen=True)
class Outline:
    """A closed star-shaped curve around (x, y), described in polar form.

    radius: geometric mean of the half axes in pixels; aspect: their ratio, at least 1; angle: of the long axis.
    bend: 0 straight, about 0.5 a bean. waves: (order, amplitude, phase) of the radius' Fourier terms.
    corners, edge: a rounded polygon, with `edge` from 0 (round) to 1 (sharp); corners 0 for none.
    """

    x: float
    y: float
    radius: float
    aspect: float = 1.0
    angle: float = 0.0
    bend: float = 0.0
    waves: tuple[tuple[int, float, float], ...] = ()
    corners: int = 0
    edge: float = 0.0

    def patch(self, size: int, margin: float = 2.0) -> Patch | None:
        """The outline on its box in an image of size x size, with a `margin` all round; None if off the image."""
        wobble = sum(amplitude for _, amplitude, _ in self.waves)
        reach = self.radius * np.sqrt(self.aspect) * (1 + wobble + abs(self.bend)) + margin
        top, bottom = max(0, int(self.y - reach)), min(size, int(self.y + reach) + 2)
        left, right = max(0, int(self.x - reach)), min(size, int(self.x + reach) + 2)
        if top >= bottom or left >= right:
            return None
        dy = np.arange(top, bottom, dtype=np.float32)[:, None] - np.float32(self.y)
        dx = np.arange(left, right, dtype=np.float32)[None, :] - np.float32(self.x)
        cos, sin = np.float32(np.cos(self.angle)), np.float32(np.sin(self.angle))
        long, short = np.float32(self.radius * np.sqrt(self.aspect)), np.float32(self.radius / np.sqrt(self.aspect))
        u = (cos * dx + sin * dy) / long
        v = (cos * dy - sin * dx) / short
        if self.bend:
            v = v + np.float32(self.bend * long / short) * (u * u - np.float32(0.35))
        distance = np.sqrt(u * u + v * v)
        edge = self._edge(np.arctan2(v, u)) if self.waves or self.corners else np.float32(1)
        rho = distance / edge
        # The gradient of rho turns its excess over 1 into pixels, also for stretched and dented shapes.
        slope = np.sqrt((u / long) ** 2 + (v / short) ** 2) / np.maximum(distance, 1e-6)
        depth = (1 - rho) * edge / np.maximum(slope, 1e-6)
        return Patch(slice(top, bottom), slice(left, right), rho, depth.astype(np.float32), u, v)

    def _edge(self, theta: np.ndarray) -> np.ndarray:
        """Relative radius of the outline in direction theta."""
        edge = np.ones_like(theta)
        for order, amplitude, phase in self.waves:
            edge += np.float32(amplitude) * np.cos(np.float32(order) * theta + np.float32(phase))
        if self.corners:
            sector = np.float32(2 * np.pi / self.corners)
            polygon = np.cos(sector / 2) / np.cos(np.mod(theta, sector) - sector / 2)
            edge *= 1 + np.float32(self.edge) * (polygon - 1) * np.float32(1.1)
        return edge


@dataclass(frozen=True)
class ShapeStyle:
    """What the outlines of one image have in common; see Outline. `wobble` is the size of the Fourier terms."""

    aspect: tuple[float, float] = (1.0, 1.2)
    bend: float = 0.0
    wobble: float = 0.0
    corners: tuple[int, int] = (0, 0)
    edge: float = 0.0

    def draw(self, rng: Rng, x: float, y: float, radius: float) -> Outline:
        """An outline of this style at (x, y)."""
        waves = (
            tuple(
                (order, float(abs(rng.normal()) * self.wobble / (order - 1)), float(rng.uniform(0, 2 * np.pi)))
                for order in range(2, 6)
            )
            if self.wobble
            else ()
        )
        low, high = self.corners
        return Outline(
            x, y, radius, aspect=float(rng.uniform(*self.aspect)), angle=float(rng.uniform(0, 2 * np.pi)),
            bend=float(rng.normal() * self.bend), waves=waves,
            corners=int(rng.integers(low, high + 1)) if high else 0, edge=self.edge,
        )  # fmt: skip


def random_style(rng: Rng) -> ShapeStyle:
    """Discs, ellipses, blobs, beans, rounded polygons or rods, the round ones most often."""
    styles = (
        (0.30, ShapeStyle(aspect=(1.0, rng.uniform(1.02, 1.15)), wobble=rng.uniform(0, 0.03))),
        (0.28, ShapeStyle(aspect=(1.0, rng.uniform(1.2, 1.8)), wobble=rng.uniform(0, 0.06))),
        (0.20, ShapeStyle(aspect=(1.0, 1.5), wobble=rng.uniform(0.06, 0.14))),
        (0.08, ShapeStyle(aspect=(1.3, 2.0), bend=0.25, wobble=0.04)),
        (0.07, ShapeStyle(aspect=(1.0, 1.4), corners=(5, 9), edge=rng.uniform(0.2, 0.6), wobble=0.04)),
        (0.07, ShapeStyle(aspect=(1.8, 3.2), bend=rng.uniform(0, 0.12), wobble=0.02)),
    )
    weights = np.array([weight for weight, _ in styles])
    return styles[rng.choice(len(styles), p=weights / weights.sum())][1]


def log_uniform(rng: Rng, low: float, high: float) -> float:
    """A number between low and high whose logarithm is uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def radii(rng: Rng, count: int, typical: float, spread: float) -> np.ndarray:
    """`count` radii around `typical` in pixels, never below 3.5; `spread` is the log-normal's sigma. Largest first."""
    drawn = typical * np.exp(spread * rng.standard_normal(count))
    return np.sort(np.clip(drawn, 3.5, 4 * typical))[::-1]


def scatter(
    rng: Rng, size: int, sizes: np.ndarray, *, gap: float, clump: float = 0.0, tries: int = 12
) -> list[tuple[float, float, float]]:
    """Places discs of the given radii by dart throwing; returns (x, y, radius) of those that found room.

    gap: least distance of two centres in units of the sum of their radii: above 1 keeps them apart, below 1 lets them
    overlap. clump: the chance that a disc is put against one already placed, which builds chains and clusters.
    Centres may lie a little outside the frame, so that some objects are cut by it.
    """
    placed = np.zeros((len(sizes), 3))
    count = 0
    for radius in sizes:
        reach = 0.6 * radius
        candidates = rng.uniform(-reach, size + reach, (tries, 2))
        if count and rng.random() < clump:
            near = placed[rng.integers(count, size=tries)]
            turn = rng.uniform(0, 2 * np.pi, tries)
            away = (near[:, 2] + radius) * rng.uniform(gap, gap + 0.08, tries)
            candidates = near[:, :2] + away[:, None] * np.stack([np.cos(turn), np.sin(turn)], axis=1)
        offsets = candidates[:, None, :] - placed[None, :count, :2]
        room = np.hypot(offsets[..., 0], offsets[..., 1]) >= gap * (placed[:count, 2] + radius) - 1e-9
        free = np.flatnonzero(room.all(axis=1) & (np.abs(candidates - size / 2) <= size / 2 + reach).all(axis=1))
        if len(free):
            placed[count] = (*candidates[free[0]], radius)
            count += 1
    return [tuple(map(float, row)) for row in placed[:count]]


def grid(rng: Rng, size: int, typical: float, spacing: float, jitter: float) -> list[tuple[float, float, float]]:
    """Discs in turned rows, as coins are laid out: (x, y, radius); spacing and jitter in units of `typical`."""
    pitch = typical * spacing
    steps = np.arange(-int(size / pitch) - 1, int(size / pitch) + 2) * pitch
    columns, rows = (axis.ravel() for axis in np.meshgrid(steps, steps * rng.uniform(1, 1.4)))
    turn = rng.normal() * 0.15
    x = size / 2 + np.cos(turn) * columns - np.sin(turn) * rows + rng.normal(0, jitter * typical, columns.size)
    y = size / 2 + np.sin(turn) * columns + np.cos(turn) * rows + rng.normal(0, jitter * typical, columns.size)
    x, y = x + rng.uniform(0, pitch), y + rng.uniform(0, pitch)
    keep = (x > -typical / 2) & (y > -typical / 2) & (x < size + typical / 2) & (y < size + typical / 2)
    keep &= rng.random(x.size) > rng.choice([0.0, 0.15])
    drawn = typical * np.exp(rng.uniform(0, 0.2) * rng.standard_normal(x.size))
    return [(float(a), float(b), float(min(r, 0.46 * pitch))) for a, b, r in zip(x[keep], y[keep], drawn[keep])]


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
