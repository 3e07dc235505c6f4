"""Whether a picture is like those that a network learnt to find things in, told by what its encoder makes of it anyway.

A network says "cell, 0.83" of an astronaut's cap as well. The encoder's channels, averaged over the picture, tell the two apart far
better: a linear rule between the training pictures that hold objects and those that hold none (Fisher 1936, shrunk towards the
identity), fitted once by ``scripts/familiarity.py`` on rendered pictures and kept beside the weights. Its threshold leaves all but a
hundredth of held-out rendered pictures with objects alone. No pass is added: means and deviations of maps that exist are taken.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from seg_demo.core.errors import BadCheckpointError, Message
from seg_demo.networks.checkpoint import read_optional_json

FILE = "familiarity.json"
# A channel that is further off than this many deviations counts no more than that: pictures of other kinds leave any linear range.
CLIP = 2.0
_MOST = 4096
UNFAMILIAR = Message("models.unfamiliar_picture")


def statistics(maps: Sequence[Tensor]) -> Tensor:
    """What is known of a batch's pictures: every channel's mean, then every channel's deviation, map by map.

    Args:
        maps: (B, C, h, w) each, of the encoder.

    Returns:
        (B, 2 * sum of C), fp32.
    """
    found = []
    for level in maps:
        # Both axes at once: flattened, OpenVINO would first copy every map out of its layout with the channels last.
        level = level.float()
        mean = level.mean((2, 3), keepdim=True)
        found += [mean.flatten(1), ((level - mean) ** 2).mean((2, 3)).sqrt()]
    return torch.cat(found, dim=1)


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A rule for one checkpoint.

    Attributes:
        mean: float32 (D,), of the statistics of training pictures.
        deviation: float32 (D,), positive.
        weights: float32 (D,), of the statistics less ``mean``, in deviations, clipped to ``CLIP``.
        threshold: scores above it are unfamiliar.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    threshold: float

    def score(self, statistics: np.ndarray) -> float:
        """How unlike the pictures with objects one is; larger is less familiar.

        Args:
            statistics: (D,), of :func:`statistics`.
        """
        return float(np.clip((statistics - self.mean) / self.deviation, -CLIP, CLIP) @ self.weights)

    def knows(self, statistics: Sequence[np.ndarray]) -> bool | None:
        """Whether a picture is familiar, of which a network has seen one part or several; None if none.

        Args:
            statistics: (D,) each, of the whole picture or of its tiles, whose mean counts.
        """
        if not statistics or statistics[0].shape != self.mean.shape:
            return None
        return self.score(np.mean(statistics, axis=0)) <= self.threshold


def read(folder: Path) -> Familiarity | None:
    """The rule of a checkpoint folder, or None if it has none.

    Raises:
        BadCheckpointError: the file holds something else.
    """
    data = read_optional_json(folder, FILE) if Path(folder).is_dir() else {}
    if not data:
        return None
    try:
        rows = [np.asarray(data[key], dtype=np.float32) for key in ("mean", "deviation", "weights")]
        threshold = float(data["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpointError("checkpoints.familiarity_no_numbers", file=FILE) from error
    good = all(row.ndim == 1 and row.shape == rows[0].shape and np.isfinite(row).all() for row in rows)
    if not good or not 1 <= rows[0].size <= _MOST or rows[1].min() <= 0 or not np.isfinite(threshold):
        raise BadCheckpointError("checkpoints.familiarity_bad_numbers", file=FILE, most=_MOST)
    return Familiarity(*rows, threshold)
