"""How time and memory grow with the megapixels of the image and with the number of classes: two plots and a table."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks import queries
from benchmarks.masks import dense, smooth_logits
from benchmarks.measure import Row, peak_of
from benchmarks.report import FOLDER, QUICK_FOLDER
from seg_demo.inference.engine import available_memory
from seg_demo.masks.semantic import argmax_resized

MEGAPIXELS = (0.3, 1, 2, 4, 12, 25, 48, 100)
CLASSES = (2, 10, 50, 150, 400, 1000)
# Seconds after which a curve is not followed any further.
PATIENCE = 60.0
QUERIES = (50, 100, 200, 300)
LABEL_MAPS = (
    "growth",
    (
        "## How cost grows",
        "Label maps alone, 128² logits; processor seconds and peak memory. The peer's curve ends where its array of\n"
        "classes × pixels no longer fits into the memory that was free.",
        "The exponents are fitted over the upper half of each range. The peer resizes every class at every pixel: linear in\n"
        "the pixels and in the classes, in time and memory. The project looks at all classes once per grid point of the\n"
        "logits, whose number does not depend on the image, and at a pixel only where more than one class can still win; its\n"
        "memory is the label map and a few blocks. Its exponents lie below 1 as long as the part that does not depend on the\n"
        "image weighs more, and approach 1 in the pixels, each of which needs a label.",
    ),
)
SEGMENTS = (
    "growth-queries",
    (
        "## How the cost of class queries grows",
        "Mask2Former's panoptic segments alone, masks of a trained network's kind; 100 queries, 133 classes and 2 megapixels but for what\n"
        "is varied. The peer is transformers' own post-processing; its curve ends where a query's masks no longer fit, or after a minute.",
        "The peer resizes every query's mask at every pixel. The project decides by the cells of the masks' own grid which query has them,\n"
        "and evaluates the few that can still win along the edges; classes cost either of them next to nothing.",
    ),
)

# Queries, classes and megapixels of segments, where they are not what is varied.
AT = (100, 133, 2.0)
# What is plotted against the x axis: (x, seconds, bytes).
Points = list[tuple[float, float, int]]
# Ours, theirs, and the bytes that theirs takes.
Pair = tuple[Callable[[], Any], Callable[[], Any], int]


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
    folder = QUICK_FOLDER if quick else FOLDER
    folder.mkdir(exist_ok=True)
    write(found, folder)
    write(segment_curves(quick), folder, SEGMENTS)
    yield from ()


def segment_curves(quick: bool) -> dict[str, dict[str, Points]]:
    """Panoptic segments over megapixels, queries and classes.

    Args:
        quick: smaller images and fewer queries.
    """
    ranges: dict[str, tuple[list[float], Callable[[float], tuple[int, int, float]]]] = {
        "megapixels": ([each for each in MEGAPIXELS if each <= 2 or not quick], lambda size: (AT[0], AT[1], size)),
        "queries": ([each for each in QUERIES if each <= 100 or not quick], lambda count: (int(count), AT[1], AT[2])),
        "classes": ([each for each in CLASSES if each <= 50 or not quick], lambda count: (AT[0], int(count), AT[2])),
    }

    def pair(count: int, classes: int, megapixels: float) -> Pair:
        height, width = sides(megapixels)
        ours, theirs, _ = queries.panoptic("Mask2Former", "", (height, width), count, classes)
        return ours, theirs, 8 * count * height * width

    return {axis: followed(values, lambda value, case=case: pair(*case(value))) for axis, (values, case) in ranges.items()}


def sides(megapixels: float) -> tuple[int, int]:
    """(height, width) of a 4:3 photograph."""
    height = round(math.sqrt(megapixels * 1e6 * 3 / 4))
    return height, round(height * 4 / 3)


def curves(values: list[float], case: Callable[[float], tuple[int, float]]) -> dict[str, Points]:
    """Both ways over a range.

    Args:
        values: of the x axis.
        case: x → classes and megapixels.
    """

    def pair(classes: int, megapixels: float) -> Pair:
        size = sides(megapixels)
        logits = smooth_logits(classes, 128, 128)
        return partial(argmax_resized, logits, *size), partial(dense, logits, *size), 4 * classes * size[0] * size[1]

    return followed(values, lambda value: pair(*case(value)))


def followed(values: list[float], pair: Callable[[float], Pair]) -> dict[str, Points]:
    """Cost of both ways over a range, each as far as it is worth it.

    Args:
        values: of the x axis.
        pair: x → ours, theirs, and the bytes that theirs takes.
    """
    found: dict[str, Points] = {"project": [], "peer": []}
    for value in values:
        ours, theirs, wanted = pair(value)
        for name, call in (("project", ours), ("peer", theirs)):
            slow = bool(found[name]) and found[name][-1][1] > PATIENCE
            if slow or (name == "peer" and available_memory() < 1.3 * wanted):
                continue
            peak, seconds = peak_of(partial(timed, call))
            found[name].append((value, seconds, peak))
    return found


def timed(call: Callable[[], Any]) -> float:
    """Processor seconds of a call."""
    began = time.process_time()
    call()
    return time.process_time() - began


def exponent(points: Points, column: int) -> float:
    """Slope of log(cost) against log(x) by least squares over the upper half of the range, where constants have faded."""
    upper = points[len(points) // 2 - 1 :] if len(points) > 3 else points
    xs, ys = np.log([each[0] for each in upper]), np.log([max(each[column], 1e-9) for each in upper])
    return float(np.polyfit(xs, ys, 1)[0])


def write(found: dict[str, dict[str, Points]], folder: Path, about: tuple[str, tuple[str, str, str]] = LABEL_MAPS) -> None:
    """The plots and the text about them.

    Args:
        found: of :func:`curves`, by the name of the x axis.
        folder: where they go.
        about: name of the files, then heading, what was measured, and what is to be seen.
    """
    stem, (heading, measured, seen) = about
    lines = [
        heading,
        "",
        measured,
        "",
        "| against | project: time | peer: time | project: memory | peer: memory |",
        "|---|---|---|---|---|",
    ]
    for axis, both in found.items():
        plot(both, axis, folder / f"{stem}-{axis}.png")
        slopes = [f"{axis}^{exponent(both[name], column):.2f}" for column in (1, 2) for name in ("project", "peer")]
        lines.append(f"| {axis} | {' | '.join(slopes)} |")
    lines += ["", seen, "", *[f"![Cost against {axis}]({stem}-{axis}.png)\n" for axis in found]]
    (folder / f"{stem}.md").write_text("\n".join(lines), encoding="utf-8")


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
