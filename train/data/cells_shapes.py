"""Outlines of cells and where they lie: rounded, bent, dented and elongated shapes, each evaluated in its own box."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

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
