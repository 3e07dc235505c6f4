"""How robust a network is: its score on held-out images that are blurred, noisy, darker, compressed, resized, turned, or changed by FGSM.

As Hendrycks and Dietterich 2019 (arXiv 1903.12261) have it, every change has a few strengths and all of them the same images; FGSM is the
fast gradient sign method (Goodfellow et al. 2015, arXiv 1412.6572). Truth is turned and resized as the image is.
"""

from __future__ import annotations

import copy
import io
import logging
import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from torch import nn
from tqdm import tqdm

from seg_demo.annotations.listing import Sample
from seg_demo.core import LOOKS, TASKS, LabelSet, SegDemoError, Segmentation
from train.batches import AsSeen, Crop, augment, nearest
from train.evaluate import CURVES, LINES, Predicts, evaluate, write_figure
from train.losses import Objective

if TYPE_CHECKING:
    from seg_demo.networks.base import Network

log = logging.getLogger("train")

# Images that are measured at most and at least, and the bytes that they may take decoded.
MOST_IMAGES, FEWEST_IMAGES, MOST_BYTES = 32, 4, 128 * 2**20
# Side in pixels of the crops that FGSM changes.
FGSM_SIDE = 384
# Of the time that measuring the images as they are took: for changing them, and for larger ones.
MARGIN = 1.3


class GreyValues:
    """Samples whose values have 0 and 255 where a network's ranges have 0 and 1, so that a strength means the same for all files.

    Nothing is done where the network sees what a person does.

    Args:
        network: with its ranges.
    """

    def __init__(self, network: Network) -> None:
        rule = network.preprocessing
        ends = rule.ranges or ((0.0, 255.0),) * len(rule.mean)
        self._low, self._high = (np.array(side, dtype=np.float32) for side in zip(*ends, strict=True))
        self._bytes = rule.ranges is None

    def of(self, sample: Sample) -> Sample:
        """From the file's values, as float32."""
        if sample.values is None:
            return sample
        return replace(sample, values=(sample.values.astype(np.float32) - self._low) / (self._high - self._low) * 255)

    def stored(self, sample: Sample) -> Sample:
        """Back to values as the file has them: float32, or uint8 where the network takes those."""
        if sample.values is None:
            return sample
        values = self._low + sample.values / 255 * (self._high - self._low)
        return replace(sample, values=values.clip(0, 255).round().astype(np.uint8) if self._bytes else values)


def _like(sample: Sample, pixels: np.ndarray) -> Sample:
    """The same truth of other pixels (H, W, C) of the same size."""
    if sample.values is not None:
        return replace(sample, values=np.ascontiguousarray(pixels, dtype=np.float32))
    return replace(sample, image=np.ascontiguousarray(pixels.clip(0, 255).round().astype(np.uint8)))


def _by_channel(pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """Every channel (H, W), float32, changed by itself."""
    return np.stack([change(np.ascontiguousarray(plane)) for plane in pixels.astype(np.float32).transpose(2, 0, 1)], axis=-1)


def blurred(sample: Sample, sigma: float, rng: np.random.Generator) -> Sample:
    """A Gaussian blur, of a deviation in pixels."""
    return _like(sample, ndimage.gaussian_filter(sample.seen.astype(np.float32), (sigma, sigma, 0)))


def noisy(sample: Sample, deviation: float, rng: np.random.Generator) -> Sample:
    """Gaussian noise, of a deviation in grey values of 255, in every channel by itself."""
    return _like(sample, sample.seen + rng.normal(0, deviation, sample.seen.shape).astype(np.float32))


def brighter(sample: Sample, factor: float, rng: np.random.Generator) -> Sample:
    """Grey values times a factor; what gets brighter than white is white."""
    return _like(sample, sample.seen.astype(np.float32) * factor)


def compressed(sample: Sample, quality: float, rng: np.random.Generator) -> Sample:
    """Written and read as JPEG of a quality of 100, with colours at half the size; channels that are no colours each by itself, in 8 bits."""

    def again(pixels: np.ndarray) -> np.ndarray:
        file = io.BytesIO()
        Image.fromarray(pixels.clip(0, 255).round().astype(np.uint8)).save(file, "JPEG", quality=int(quality), subsampling="4:2:0")
        return np.asarray(Image.open(file))

    return _like(sample, again(sample.image) if sample.values is None else _by_channel(sample.values, again))


def _moved(sample: Sample, pixels: np.ndarray, change: Callable[[np.ndarray], np.ndarray]) -> Sample:
    """Other pixels, and everything that a sample says of its own, changed in the same way."""
    found: dict[str, Any] = {"label_map": change(sample.label_map)}
    for name in ("instance_map", "crowd"):
        if (plane := getattr(sample, name)) is not None:
            found[name] = change(plane)
    if sample.hidden is not None:
        found["hidden"] = np.stack([change(layer) for layer in sample.hidden])
    size = found["label_map"].shape
    if sample.values is None:
        return replace(sample, image=np.ascontiguousarray(pixels.clip(0, 255).round().astype(np.uint8)), **found)
    blank = np.broadcast_to(np.zeros(3, np.uint8), (*size, 3))  # nobody looks at it
    return replace(sample, image=blank, values=np.ascontiguousarray(pixels, dtype=np.float32), **found)


def scaled(sample: Sample, factor: float, rng: np.random.Generator) -> Sample:
    """Both sides times a factor, antialiased; the truth's pixels are those that are nearest."""
    height, width = (max(1, round(side * factor)) for side in sample.image.shape[:2])

    def again(pixels: np.ndarray) -> np.ndarray:
        return np.array(Image.fromarray(pixels).resize((width, height), Image.Resampling.BILINEAR))

    pixels = again(sample.image) if sample.values is None else _by_channel(sample.values, again)
    return _moved(sample, pixels, lambda plane: nearest(plane, (height, width)))


def turned(sample: Sample, degrees: float, rng: np.random.Generator) -> Sample:
    """Turned, and cut to the largest part of its shape that has nothing invented in it."""
    height, width = sample.image.shape[:2]
    angle = math.radians(degrees)
    across, down = abs(math.cos(angle)), abs(math.sin(angle))
    share = min(width / (width * across + height * down), height / (width * down + height * across))
    rows, columns = max(1, math.floor(height * share)), max(1, math.floor(width * share))
    top, left = (height - rows) // 2, (width - columns) // 2
    window = (slice(top, top + rows), slice(left, left + columns))

    def plane(values: np.ndarray, order: int = 0) -> np.ndarray:
        return ndimage.rotate(values, degrees, reshape=False, order=order, mode="nearest")[window]

    return _moved(sample, _by_channel(sample.seen, lambda channel: plane(channel, 1)), plane)


@dataclass(frozen=True)
class Change:
    """One way in which images are changed.

    Attributes:
        name: of the row.
        unit: of its strengths.
        strengths: the weakest first.
        apply: sample, strength and random numbers to the changed sample.
        unchanged: the strength that leaves an image as it is; None where there is none.
    """

    name: str
    unit: str
    strengths: tuple[float, ...]
    apply: Callable[[Sample, float, np.random.Generator], Sample]
    unchanged: float | None = None


CHANGES = (
    Change("blur", "σ in pixels", (1, 2, 4), blurred, 0),
    Change("noise", "σ in grey values", (10, 25, 50), noisy, 0),
    Change("brightness", "factor", (0.75, 0.5, 1.5), brighter, 1),
    Change("JPEG", "quality", (50, 20, 8), compressed),
    Change("scale", "factor", (0.7, 0.5, 1.4), scaled, 1),
    Change("rotation", "degrees", (10, 45, 90), turned, 0),
)
# Of crops, to which the gradient reaches: 0 is the score of the same crops as they are.
FGSM, FGSM_STRENGTHS = "FGSM", (0, 1, 2, 4, 8)
FGSM_UNIT = "of 255, per pixel"


class Attack:
    """FGSM against a network: crops of samples at the size that it sees, moved up the gradient of the loss that it is trained with.

    Args:
        network: with its weights; a copy of it is asked for gradients.
        loss: name of the loss, as ``--loss``.
        labels: classes of the data.
        seed: of crops and of what is random in a loss.
    """

    def __init__(self, network: Network, loss: str, labels: LabelSet, seed: int) -> None:
        module = copy.deepcopy(network.module).requires_grad_(False)
        if network.task.objects:  # whose losses are those of training; but statistics stay
            module.train()
            for layer in module.modules():
                if isinstance(layer, nn.modules.batchnorm._BatchNorm):
                    layer.eval()
        self._module, self._device = module, next(module.parameters()).device
        self._objective = Objective(replace(network, module=module), loss, None, labels)
        self._seen, self._network, self._seed = AsSeen(network), network, seed
        self._grey = GreyValues(network)

    def __call__(self, sample: Sample, strength: float, rng: np.random.Generator) -> Sample:
        """A crop that has been moved by ``strength`` grey values of 255."""
        seen = self._seen(self._grey.stored(sample))
        side = self._network.square(min(FGSM_SIDE, *seen.image.shape[:2]) // 32 * 32 or 32)
        if side is None:
            raise ValueError("the network takes no square crops")
        image, labels, instances = augment(seen, "none", side, self._seed)
        if strength:
            crop = Crop(image, labels, instances, seen.instance_labels, seen.name)
            with torch.random.fork_rng(devices=[]), torch.enable_grad():
                torch.manual_seed(self._seed)
                batch = self._objective.collate([crop], self._device)
                image = self._objective.adversarial(self._module, batch, strength / 255).images[0].cpu()
        pixels = (image * 255).permute(1, 2, 0).contiguous().numpy()
        layers = None if instances is None else instances.reshape(-1, side, side).numpy().astype(np.uint16)
        hidden = None if layers is None or len(layers) < 2 else layers[1:]
        own = None if layers is None else layers[0]
        blank = np.zeros((side, side, 3), dtype=np.uint8)
        values = None if sample.values is None else pixels
        return _like(Sample(blank, labels.numpy().astype(np.uint16), own, seen.name, seen.instance_labels, hidden, values=values), pixels)


def _few(samples: Iterator[Sample], count: int) -> list[Sample]:
    """The first samples, as many as may be kept."""
    kept: list[Sample] = []
    taken = 0
    for sample in islice(samples, count):
        taken += 2 * sample.nbytes
        if kept and taken > MOST_BYTES:
            break
        kept.append(sample)
    return kept


def measure(
    model: Predicts, network: Network, samples: Iterator[Sample], labels: LabelSet, *, task: str, loss: str, minutes: float, seed: int, quiet: bool
) -> dict[str, Any] | None:
    """The score of a network under every change, for as long as there is time.

    Args:
        model: what predicts.
        network: the same.
        samples: held-out images.
        labels: classes of the data.
        task: that it answers.
        loss: with which it was trained, for FGSM.
        minutes: to spend at most, but for the images as they are.
        seed: of noise and crops.
        quiet: no progress bar.

    Returns:
        JSON-able: ``metric``, ``clean`` (its value on the images as they are), ``images``, ``seed``, ``minutes`` and ``rows``: ``name``,
        ``unit``, ``strengths`` and ``scores`` (None where there was no time, or no value); of a network of classes also ``looks``: the value on
        the images as they are of means of 2 and 4 looks, by their number. None without any value at all.
    """
    metric = network.family.metric(TASKS[task])
    grey = GreyValues(network)
    chosen = _few(map(grey.of, samples), MOST_IMAGES)
    changes = list(CHANGES)
    if not network.family.prompts:  # whose clicks, and what is cut out around them, have no gradient
        changes.append(Change(FGSM, FGSM_UNIT, FGSM_STRENGTHS, Attack(network, loss, labels, seed)))
    plan = [(change, level) for level in range(max(len(change.strengths) for change in changes)) for change in changes if level < len(change.strengths)]

    def score(images: Iterable[Sample], model: Predicts = model) -> float | None:
        found = evaluate(model, map(grey.stored, images), task=task, labels=labels, pictures=0, brief=True)[0].get(metric)
        return None if found is None else round(float(found), 6)

    began = time.monotonic()
    clean = score(chosen)
    if clean is None or not chosen:
        return None
    per_image = (time.monotonic() - began) / len(chosen)
    fit = int(minutes * 60 / (MARGIN * per_image * len(plan)))
    if max(FEWEST_IMAGES, fit) < len(chosen):
        chosen = chosen[: max(FEWEST_IMAGES, fit)]
        clean = score(chosen)
    several = {str(looks): score(chosen, _Looking(model, looks)) for looks in LOOKS if looks > 1} if network.averages and hasattr(model, "predict") else {}
    rows = {change.name: {"name": change.name, "unit": change.unit, "strengths": list(change.strengths), "scores": [None] * len(change.strengths)} for change in changes}
    until = time.monotonic() + minutes * 60
    with tqdm(plan, desc="robustness", unit="change", disable=quiet or None, leave=False) as bar:
        for change, level in bar:
            if time.monotonic() > until:
                log.info("Robustness: the %g minutes are over; what is left is not measured.", minutes)
                break
            bar.set_postfix_str(f"{change.name} {change.strengths[level]:g}")
            try:
                rows[change.name]["scores"][level] = score(_changed(chosen, change, change.strengths[level], seed))
            except (SegDemoError, ValueError, RuntimeError) as error:
                # One that this network cannot be asked about leaves the others as they are.
                log.warning("Robustness: %s %g was not measured (%s)", change.name, change.strengths[level], error)
    return {"metric": metric, "clean": clean, "images": len(chosen), "seed": seed, "minutes": minutes, "rows": list(rows.values()), **({"looks": several} if several else {})}


class _Looking:
    """A model whose answers are means of several looks."""

    def __init__(self, model: Any, looks: int) -> None:
        self.labels, self.samples, self._model, self._looks = model.labels, model.samples, model, looks

    def predict_all(self, image: Any) -> Segmentation:
        return self._model.predict(image, looks=self._looks)


def _changed(samples: Sequence[Sample], change: Change, strength: float, seed: int) -> Iterator[Sample]:
    for index, sample in enumerate(samples):
        yield change.apply(sample, strength, np.random.default_rng([seed, index]))


def draw(found: dict[str, Any], path: Path) -> None:
    """The scores over the strengths, a panel per change; a line and an open point are the score of the images as they are.

    Args:
        found: of :func:`measure`.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    rows = [row for row in found["rows"] if any(score is not None for score in row["scores"])]
    columns = min(4, max(1, len(rows)))
    figure = Figure(figsize=(8, 2.1 * math.ceil(max(1, len(rows)) / columns)), layout="constrained")
    panels = figure.subplots(math.ceil(max(1, len(rows)) / columns), columns, squeeze=False, sharey=True).ravel()
    unchanged = {change.name: change.unchanged for change in CHANGES}
    for panel, row in zip(panels, rows, strict=False):
        points = [(strength, score) for strength, score in zip(row["strengths"], row["scores"], strict=True) if score is not None]
        asis = unchanged.get(row["name"])
        if asis is not None:
            # Changes to both sides have it between them; of others the strongest stands on the right, whichever number that is.
            points = sorted([*points, (asis, found["clean"])])
        places = range(len(points))
        panel.axhline(found["clean"], color="#888888", linewidth=0.8, linestyle="--")
        panel.plot(places, [score for _, score in points], color=LINES[0], marker="o", markersize=4)
        if asis is not None:
            place = [strength for strength, _ in points].index(asis)
            panel.plot(place, found["clean"], color=LINES[0], marker="o", markersize=5, markerfacecolor="white")
        panel.set_xticks(list(places), [f"{strength:g}" for strength, _ in points])
        panel.set_xmargin(0.12)
        panel.set_title(row["name"], fontsize=9, loc="left")
        panel.set_xlabel(row["unit"], fontsize=8)
        panel.set_ylim(0, 1)
        panel.tick_params(labelsize=8)
        panel.spines[["top", "right"]].set_visible(False)
        panel.grid(axis="y", color="#dddddd", linewidth=0.6)
    for panel in panels[len(rows) :]:
        panel.set_axis_off()
    if rows:
        # Above the line, or below it where it is high up.
        above = found["clean"] < 0.85
        where = {"xy": (0.98, found["clean"]), "xytext": (0, 2 if above else -2), "textcoords": "offset points", "xycoords": ("axes fraction", "data")}
        panels[0].annotate("as they are", **where, fontsize=7, color="#666666", ha="right", va="bottom" if above else "top")
    figure.supylabel(CURVES.get(found["metric"], found["metric"]), fontsize=9)
    write_figure(figure, path)


def table(found: dict[str, Any]) -> str:
    """The scores as Markdown.

    Args:
        found: of :func:`measure`.
    """
    most = max(len(row["strengths"]) for row in found["rows"])
    lines = [f"| change | {' | '.join(['strength: score'] * most)} |", "|".join(["", *[" --- "] * (most + 1), ""])]
    for row in found["rows"]:
        pairs = zip(row["strengths"], row["scores"], strict=True)
        cells = [f"{strength:g}: {'–' if score is None else f'{score:.3f}'}" for strength, score in pairs]
        lines.append(f"| {row['name']} ({row['unit']}) | {' | '.join(cells + [''] * (most - len(cells)))} |")
    return "\n".join(lines)
