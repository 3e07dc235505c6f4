"""How time and memory grow with the megapixels of the image and with the number of classes: two plots and a table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.masks import dense, smooth_logits
from benchmarks.measure import Row, peak_of
from benchmarks.report import FOLDER
from seg_demo.inference.devices import available_memory
from seg_demo.masks.semantic import argmax_resized

MEGAPIXELS = (0.3, 1, 2, 4, 12, 25, 48, 100)
CLASSES = (2, 10, 50, 150, 400, 1000)
# Seconds after which a curve is not followed any further.
PATIENCE = 60.0

# What is plotted against the x axis: (x, seconds, bytes).
Points = list[tuple[float, float, int]]


def rows(quick: bool) -> Iterator[Row]:
    """Writes growth.md, growth-megapixels.png and growth-classes.png; there are no rows for the table.

    Args:
        quick: smaller images and fewer classes.
    """
    sizes = [each for each in MEGAPIXELS if each <= 4] if quick else list(MEGAPIXELS)
    counts = [each for each in CLASSES if each <= 150] if quick else list(CLASSES)
    found = {
        "megapixels": curves(sizes, lambda size: (150, size)),
        "classes": curves(counts, lambda count: (count, 2.0)),
    }
    write(found, FOLDER)
    yield from ()


def curves(values: list[float], case: Callable[[float], tuple[int, float]]) -> dict[str, Points]:
    """Both ways over a range.

    Args:
        values: of the x axis.
        case: x → classes and megapixels.
    """
    found: dict[str, Points] = {"project": [], "peer": []}
    for value in values:
        classes, megapixels = case(value)
        height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
        width = round(height * 4 / 3)
        logits = smooth_logits(classes, 128, 128)
        dense_bytes = 4 * classes * height * width
        for name, call in (("project", argmax_resized), ("peer", dense)):
            slow = bool(found[name]) and found[name][-1][1] > PATIENCE
            if slow or (name == "peer" and available_memory() < 1.3 * dense_bytes):
                continue
            size = height, width
            peak, seconds = peak_of(lambda call=call, logits=logits, size=size: timed(call, logits, size))
            found[name].append((value, seconds, peak))
    return found


def timed(call: Callable[..., np.ndarray], logits: torch.Tensor, size: tuple[int, int]) -> float:
    """Processor seconds of one label map."""
    began = time.process_time()
    call(logits, *size)
    return time.process_time() - began


def exponent(points: Points, column: int) -> float:
    """Slope of log(cost) against log(x) by least squares over the upper half of the range, where constants have faded."""
    upper = points[len(points) // 2 - 1 :] if len(points) > 3 else points
    xs, ys = np.log([each[0] for each in upper]), np.log([max(each[column], 1e-9) for each in upper])
    return float(np.polyfit(xs, ys, 1)[0])


def write(found: dict[str, dict[str, Points]], folder: Path) -> None:
    """The plots and the text about them.

    Args:
        found: of :func:`curves`, by the name of the x axis.
        folder: where they go.
    """
    lines = [
        "## How cost grows",
        "",
        "Label maps alone, 128² logits; processor seconds and peak memory. The peer's curve ends where its array of",
        "classes × pixels no longer fits into the memory that was free.",
        "",
        "| against | project: time | peer: time | project: memory | peer: memory |",
        "|---|---|---|---|---|",
    ]
    for axis, both in found.items():
        plot(both, axis, folder / f"growth-{axis}.png")
        slopes = [f"{axis}^{exponent(both[name], column):.2f}" for column in (1, 2) for name in ("project", "peer")]
        lines.append(f"| {axis} | {' | '.join(slopes)} |")
    lines += [
        "",
        "The exponents are fitted over the upper half of each range. The peer resizes every class at every pixel: linear in",
        "the pixels and in the classes, in time and memory. The project looks at all classes once per grid point of the",
        "logits, whose number does not depend on the image, and at a pixel only where more than one class can still win; its",
        "memory is the label map and a few blocks. Its exponents lie below 1 as long as the part that does not depend on the",
        "image weighs more, and approach 1 in the pixels, each of which needs a label.",
        "",
        *[f"![Cost against {axis}](growth-{axis}.png)\n" for axis in found],
    ]
    (folder / "growth.md").write_text("\n".join(lines), encoding="utf-8")


def plot(both: dict[str, Points], axis: str, path: Path) -> None:
    """Time and memory, both axes logarithmic, as a PNG."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib import pyplot

    figure, panels = pyplot.subplots(1, 2, figsize=(9, 3.6), layout="constrained")
    axes = ((panels[0], 1, 1.0, "processor seconds"), (panels[1], 2, 2.0**20, "peak memory, MiB"))
    for panel, column, unit, name in axes:
        for label, marker in (("project", "o"), ("peer", "s")):
            points: Any = both[label]
            xs, ys = [each[0] for each in points], [max(each[column] / unit, 1e-3) for each in points]
            panel.loglog(xs, ys, f"{marker}-", label=label)
        panel.set(xlabel=axis, ylabel=name)
        panel.grid(True, which="major", alpha=0.3)
        panel.legend()
    figure.savefig(path, dpi=120)
    pyplot.close(figure)
