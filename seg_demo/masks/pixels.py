"""Paint and predict: a classifier of pixels that a few strokes on one picture teach, for the rest of it.

Features of a pixel are colour, gradient and the eigenvalues of the Hessian at five scales, as in scikit-image's
``multiscale_basic_features`` and in ilastik (Sommer et al. 2011); each coarser scale is computed on a picture of half the size, so that all
together cost little more than the finest. The classifier is a forest, as in ilastik and in
ImageJ's trainable segmentation: scikit-learn's extremely randomised trees (Geurts et al. 2006), which from a few strokes find more than a
random forest does (coins, cells: 0.69 against 0.64 mean IoU). Pictures beyond a megapixel are classified at a whole fraction of their size, and
the probabilities enlarged: a forest takes a second or two for a megapixel, and what it says is a draft.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import torch

# Scales: a Gaussian of this deviation on a picture of full, half, quarter ... size. The first are computed in strips of rows, with so many
# more above and below as their filters see; the others, whose maps are small, at once.
SCALES, FINE, SIGMA, _REACH = 5, 2, 1.0, 3
_GRID, _HALO = 1 << (SCALES - 1), 32
_STRIP_PIXELS = 1 << 18
# Painted pixels that are learnt from, of all classes together; pixels that are classified one by one, fewer where there are more classes.
_PAINTED, _CLASSIFIED, _CLASSES = 20_000, 1 << 20, 16
_TREES, _LEAF, _SEED = 30, 2, 0
# Probabilities of full size that exist at a time.
_PROBABILITIES = 1 << 22


def _smooth(level: torch.Tensor) -> torch.Tensor:
    """A Gaussian over (1, 3, H, W). By adding what is shifted: convolutions of one channel each are slow on a CPU."""
    import torch.nn.functional as F

    weights = [math.exp(-(x * x) / (2 * SIGMA**2)) for x in range(_REACH + 1)]
    total = weights[0] + 2 * sum(weights[1:])
    for axis, sides in ((3, (_REACH, _REACH, 0, 0)), (2, (0, 0, _REACH, _REACH))):
        padded, size = F.pad(level, sides, mode="replicate"), level.shape[axis]
        level = padded.narrow(axis, _REACH, size) * (weights[0] / total)
        for x in range(1, _REACH + 1):
            for at in (_REACH - x, _REACH + x):
                level.add_(padded.narrow(axis, at, size), alpha=weights[x] / total)
    return level


def _maps(smooth: torch.Tensor) -> torch.Tensor:
    """Colour, gradient, and the eigenvalues of the Hessian of one scale: (1, 6, H, W)."""
    import torch
    import torch.nn.functional as F

    grey = F.pad(smooth.mean(dim=1, keepdim=True), (1, 1, 1, 1), mode="replicate")
    middle, left, right, above, below = (grey[..., 1:-1, 1:-1], grey[..., 1:-1, :-2], grey[..., 1:-1, 2:], grey[..., :-2, 1:-1], grey[..., 2:, 1:-1])
    xx, yy = left + right - 2 * middle, above + below - 2 * middle
    xy = (grey[..., 2:, 2:] + grey[..., :-2, :-2] - grey[..., 2:, :-2] - grey[..., :-2, 2:]) / 4
    half, spread = (xx + yy) / 2, torch.hypot((xx - yy) / 2, xy)
    return torch.cat([smooth, torch.hypot(right - left, below - above), half + spread, half - spread], dim=1)


def _grown(maps: torch.Tensor, times: int, first: int, last: int) -> torch.Tensor:
    """Rows from ``first`` to ``last`` of maps that are enlarged so many times, bilinearly; as if all of them had been enlarged at once."""
    import torch.nn.functional as F

    top, bottom = max(0, first // times - 1), min(maps.shape[2], -(-last // times) + 1)
    part = F.interpolate(maps[:, :, top:bottom].float(), scale_factor=times, mode="bilinear", align_corners=False)
    return part[:, :, first - top * times : last - top * times]


def features(picture: np.ndarray, rows_of: np.ndarray | None = None) -> Iterator[tuple[slice, torch.Tensor]]:
    """What is seen around each pixel, in strips of rows; the values do not depend on how it is cut.

    Args:
        picture: uint8 (H, W, 3).
        rows_of: bool (H,), rows that are wanted; strips without one are left out. None wants all.

    Yields:
        Rows, and float32 (F, rows, W) on the CPU.
    """
    import torch
    import torch.nn.functional as F

    height, width = picture.shape[:2]
    tall, step = height + -height % _GRID, max(1, _STRIP_PIXELS // width // _GRID) * _GRID
    strips = [(top, min(top + step, tall)) for top in range(0, tall, step)]

    def levels(top: int, bottom: int) -> tuple[int, list[torch.Tensor]]:
        """The first row, and the smoothed pictures of the fine scales, of some rows and what their filters see."""
        first, last = max(0, top - _HALO), min(tall, bottom + _HALO)
        rows = np.pad(picture[first : min(last, height)], ((0, max(0, last - max(height, first))), (0, -width % _GRID), (0, 0)), mode="edge")
        level, found = torch.from_numpy(rows.transpose(2, 0, 1).astype(np.float32) / 255)[None], []
        for _ in range(FINE):
            found.append(_smooth(level))
            level = F.avg_pool2d(found[-1], 2)
        return first, [*found, level]

    coarse, parts = [], []
    for top, bottom in strips:
        first, (*_, level) = levels(top, bottom)
        parts.append(level[:, :, (top - first) >> FINE : (bottom - first) >> FINE])
    level = torch.cat(parts, dim=2)
    for scale in range(FINE, SCALES):
        smooth = _smooth(level)
        coarse.append(_maps(smooth))
        if scale + 1 < SCALES:
            level = F.avg_pool2d(smooth, 2)
    for top, bottom in strips:
        rows = slice(top, min(bottom, height))
        if rows_of is not None and not rows_of[rows].any():
            continue
        first, (*fine, _) = levels(top, bottom)
        maps = [_grown(_maps(smooth), 1 << scale, top - first, bottom - first) for scale, smooth in enumerate(fine)]
        maps += [_grown(one, 1 << (FINE + index), top, bottom) for index, one in enumerate(coarse)]
        yield rows, torch.cat(maps, dim=1)[0, :, : height - top, :width]


@dataclass(frozen=True, eq=False)
class PixelClassifier:
    """What strokes have taught.

    Attributes:
        forest: a fitted ``sklearn.ensemble.ExtraTreesClassifier``; its classes are the values that were painted.
        factor: the picture is classified at one n-th of its height and width.
    """

    forest: Any
    factor: int

    @classmethod
    def fit(cls, picture: np.ndarray, painted: np.ndarray, nothing: int) -> PixelClassifier:
        """Learn from strokes.

        Args:
            picture: uint8 (H, W, 3).
            painted: integer (H, W), the class of each painted pixel.
            nothing: its value where nothing is painted.

        Raises:
            ValueError: fewer than two classes are painted.
        """
        import torch
        from sklearn.ensemble import ExtraTreesClassifier

        classes = [int(value) for value in np.unique(painted) if value != nothing]
        if len(classes) < 2:
            raise ValueError(f"At least two classes must be painted, but got {len(classes)}.")
        factor = math.ceil(math.sqrt(painted.size * max(1.0, len(classes) / _CLASSES) / _CLASSIFIED))
        small = _shrunk(picture, factor)
        draw = np.random.default_rng(_SEED)
        chosen, targets = [], []
        for value in classes:
            rows, columns = np.nonzero(painted == value)
            places = np.unique(rows // factor * small.shape[1] + columns // factor)
            chosen.append(np.sort(draw.permutation(places)[: max(1, _PAINTED // len(classes))]))
            targets.append(np.full(len(chosen[-1]), value))
        places, target = np.concatenate(chosen), np.concatenate(targets)
        wanted = np.zeros(small.shape[0], dtype=bool)
        wanted[places // small.shape[1]] = True
        inputs = np.empty((len(places), 6 * SCALES), np.float32)
        for rows, found in features(small, wanted):
            here = np.flatnonzero((places >= rows.start * small.shape[1]) & (places < rows.stop * small.shape[1]))
            inputs[here] = found.reshape(found.shape[0], -1).numpy()[:, places[here] - rows.start * small.shape[1]].T
        # A long stroke of one class does not make it likelier than a short one of another.
        forest = ExtraTreesClassifier(
            _TREES, min_samples_leaf=_LEAF, class_weight="balanced", random_state=_SEED, n_jobs=torch.get_num_threads()
        )
        return cls(forest.fit(inputs, target), factor)

    def predict(self, picture: np.ndarray, report: Callable[[float], None] = lambda part: None) -> tuple[np.ndarray, np.ndarray]:
        """The class of every pixel, and how clearly it was decided.

        Args:
            picture: uint8 (H, W, 3), that which it has learnt from or one like it.
            report: told which part is done, in [0, 1].

        Returns:
            Class values uint16 (H, W), and margins uint8 (H, W): 255 times how far the probability lies above that of the runner-up.
        """
        import torch

        height, width = picture.shape[:2]
        small = _shrunk(picture, self.factor)
        table = self.forest.classes_.astype(np.uint16)
        chances = np.empty((len(table), *small.shape[:2]), np.float16)
        for rows, found in features(small):
            columns = found.reshape(found.shape[0], -1).T.contiguous().numpy()
            chances[:, rows] = self.forest.predict_proba(columns).T.reshape(len(table), -1, small.shape[1])
            report(rows.stop / small.shape[0])
        values, margins = np.empty((height, width), np.uint16), np.empty((height, width), np.uint8)
        step = self.factor * max(1, _PROBABILITIES // (len(table) * small.shape[1] * self.factor**2))
        for top in range(0, height, step):
            rows = slice(top, min(top + step, height))
            odds = _grown(torch.from_numpy(chances)[None], self.factor, rows.start, rows.stop)[0, :, :, :width]
            best, where = odds.topk(2, dim=0)
            values[rows] = table[where[0].numpy()]
            margins[rows] = ((best[0] - best[1]) * 255).round().byte().numpy()
        return values, margins


def _shrunk(picture: np.ndarray, factor: int) -> np.ndarray:
    """uint8 (H, W, 3) to one n-th, rounded up, of its height and width: means of squares; the last ones repeat the border."""
    if factor == 1:
        return picture
    height, width = (-(-length // factor) for length in picture.shape[:2])
    found = np.empty((height, width, 3), np.uint8)
    step = max(1, _STRIP_PIXELS // (width * factor**2))
    for top in range(0, height, step):
        rows = picture[top * factor : (top + step) * factor]
        rows = np.pad(rows, ((0, -rows.shape[0] % factor), (0, -rows.shape[1] % factor), (0, 0)), mode="edge")
        part = rows.reshape(-1, factor, width, factor, 3).mean((1, 3), dtype=np.float32)
        found[top : top + step] = np.rint(part)
    return found
