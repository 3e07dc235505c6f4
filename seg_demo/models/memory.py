"""Whether an image fits into memory, known before any work starts, and which size would."""

from __future__ import annotations

import math

from seg_demo import networks
from seg_demo.errors import BadImageError
from seg_demo.models import devices
from seg_demo.models.detail import Plan, plan
from seg_demo.networks.base import Checkpoint

# Bytes per pixel of the image beside the decoded image itself, measured and rounded up. Whole image, semantic: a copy in
# the layout of tensors, the id map and what counting it takes. Whole image, instance: the id map, the masks
# that are kept, and the largest as float32 while it is pasted. Full detail: the id map, for objects with 16 bits, and their masks.
WHOLE = {"semantic": 9, "instance": 12}
FULL = {"semantic": 4, "instance": 9}
CONFIDENCE = {"semantic": 2, "instance": 4}
# What a forward pass takes per pixel of its batch, and whatever the size is.
FORWARD, FLOOR = 800, 64 << 20


def needed(checkpoint: Checkpoint, height: int, width: int, detail: str, confidence: bool) -> int:
    """Bytes that a prediction takes above the loaded model and the decoded image: an estimate, rather too high.

    Args:
        checkpoint: of any network.
        height: of the image, in pixels.
        width: of the image, in pixels.
        detail: ``whole`` or ``full``.
        confidence: whether it is asked for.
    """
    task = networks.NETWORKS[checkpoint.architecture].task
    cut = plan(checkpoint, height, width) if detail == "full" else None
    each = (FULL if cut else WHOLE)[task] + CONFIDENCE[task] * confidence
    batch = math.prod(cut.grid.tile if cut else checkpoint.preprocessing.fitted(height, width))
    strips = _strips(cut, len(checkpoint.labels)) if cut and task == "semantic" else 0
    return FLOOR + FORWARD * batch + height * width * each + strips


def _strips(cut: Plan, classes: int) -> int:
    """Bytes of the blended logits that wait, if they are as fine as the pixels; six times a tile for what works on it."""
    wide = cut.grid.lefts[-1] + cut.grid.tile[1]
    return 4 * classes * (cut.grid.overlap * wide + 6 * cut.grid.tile[0] * cut.grid.tile[1])


def check(checkpoint: Checkpoint, height: int, width: int, detail: str, confidence: bool) -> None:
    """Refuse an image that would not fit into the memory that is free now.

    Args:
        As for :func:`needed`.

    Raises:
        BadImageError: it would not; the message says what size would.
    """
    free = devices.available_memory()
    wanted = needed(checkpoint, height, width, detail, confidence)
    if wanted <= free:
        return
    scale = _largest_scale(checkpoint, height, width, detail, confidence, free)
    if scale is None:
        advice = "Not even a small one fits: try again when the server is less busy, or choose a smaller model."
    else:
        fits = f"{math.floor(width * scale)} x {math.floor(height * scale)}"
        advice = f"Of this shape, up to {fits} pixels fit: send it at that size or smaller"
        advice += ", or in parts." if detail == "full" else ", or choose full detail, which takes less memory."
    raise BadImageError(
        f"An image of {width} x {height} pixels needs about {wanted / 2**30:.1f} GiB of memory, but {free / 2**30:.1f} GiB are "
        f"free. {advice}"
    )


def _largest_scale(
    checkpoint: Checkpoint, height: int, width: int, detail: str, confidence: bool, free: int
) -> float | None:
    """The largest factor in (0, 1), to a thousandth, at which the image fits; None if none does."""
    low, high = 0, 1000
    while high - low > 1:
        middle = (low + high) // 2
        tall, wide = (max(1, math.floor(side * middle / 1000)) for side in (height, width))
        if needed(checkpoint, tall, wide, detail, confidence) <= free:
            low = middle
        else:
            high = middle
    return low / 1000 if low else None
