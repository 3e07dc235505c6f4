"""Evaluation at the original image size, through the same predict() as the demo's; of the base too, on the classes of both.

What it shows beside numbers: the worst samples beside their truth, learning curves, readings of masks. Drawn without a display.
"""

from __future__ import annotations

import dataclasses
import functools
import heapq
import io
import json
import logging
import math
import tempfile
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from PIL import Image, ImageDraw, ImageFont
from tqdm import tqdm

from seg_demo import networks
from seg_demo.annotations.dataset import Dataset, labels_for
from seg_demo.core import (
    INSTANCE, PANOPTIC, SEMANTIC, TASKS, LabelSet, Message, ModelSpec, SegDemoError, Segmentation, distinct_colors, ignore_id, save_file,
    semantic_segmentation,
)
from seg_demo.inference.model import Model
from seg_demo.outputs.draw import overlay
from seg_demo.serving.predictor import load_checkpoint
from train.base_model import in_words_of, with_login
from train.batches import local_cores, memory_budget
from train.data import preload, read_item
from train.metrics import (
    FIRST,
    MOST_CLICKS,
    SHOWN_SCORE,
    ClickMeter,
    InstanceMeter,
    PanopticMeter,
    SemanticMeter,
    only_shared,
    same_names,
    shared_labels,
    true_objects,
    true_panoptic,
)
from train.run import BEST

if TYPE_CHECKING:
    # Imported where something is drawn: it takes half a second, and a check of data draws nothing.
    from matplotlib.figure import Figure

    from seg_demo.annotations.listing import Choice, Diagnosis, Item, Sample
    from seg_demo.networks.base import Network
    from train.setup import Prepared

log = logging.getLogger("train")

# By task: the meter of its results, and what that takes of a sample and its prediction. A task of one's own needs its row.
METERS: dict[str, tuple[Callable[[LabelSet, LabelSet], Any], Callable[[Sample, Segmentation], tuple[Any, ...]]]] = {
    SEMANTIC.name: (SemanticMeter, lambda sample, prediction: (sample.label_map, prediction.id_map)),
    INSTANCE.name: (InstanceMeter, lambda sample, prediction: (sample, prediction)),
    PANOPTIC.name: (PanopticMeter, lambda sample, prediction: (sample, prediction)),
}
# Held-out samples that stay decoded between evaluations; further ones are read again.
MOST_CACHED_BYTES = 96 * 2**20


class Predicts(Protocol):
    """What is evaluated: ``seg_demo.inference.model.Model`` and whatever behaves like it."""

    labels: LabelSet

    def predict_all(self, image: np.ndarray) -> Segmentation:
        """uint8 (H, W, 3) → the result with every candidate, however low its score."""
        ...


@dataclass(frozen=True)
class ImageResult:
    """How well one image went.

    Attributes:
        name: of the sample.
        score: in [0, 1]. Semantic: mean IoU over the classes in the image. Instance: F1 of objects matched at an IoU of
            0.5 among candidates with a score of at least 0.5. Panoptic: mean PQ over the classes. NaN if nothing in the image is labelled.
        picture: image, truth and prediction, for the worst images only.
        things: as ``score``, without the background, which is large and easy: of a mean over two classes it is the half.
    """

    name: str
    score: float
    picture: Picture | None = None
    things: float = math.nan


def evaluate(
    model: Predicts,
    samples: Iterable[Sample],
    *,
    task: str,
    labels: LabelSet | None = None,
    progress: Callable[[int], None] | None = None,
    pictures: int = 6,
    brief: bool = False,
) -> tuple[dict[str, float], list[ImageResult]]:
    """Compare a model with the truth, one image at a time; memory does not grow with masks or pixels.

    Args:
        model: what predicts.
        samples: held-out images with their labels, read as they are needed.
        task: of :data:`METERS`.
        labels: classes of the data, matched with the model's by name; None if they are the same.
        progress: called with the number of images done, after each.
        pictures: how many of the worst images are kept as pictures.
        brief: of what is clicked, no more clicks than it takes to tell networks apart.

    Returns:
        The metrics of the task's meter (plain floats in [0, 1]; what has no value is left
        out), and one result per image, worst first.

    Raises:
        ValueError: another task, or objects without an instance map.
    """
    prompted = isinstance(model, Model) and bool(networks.prompts_of(model.spec.architecture))
    if task not in METERS:
        raise ValueError(f"task must be one of {', '.join(METERS)}, but got {task!r}.")
    truth = labels or model.labels
    make, compared = METERS[task]
    meter = ClickMeter(FIRST if brief else MOST_CLICKS) if prompted else make(truth, model.labels)
    results: list[ImageResult] = []
    worst: list[tuple[float, int, Picture]] = []
    for index, sample in enumerate(samples):
        if prompted:
            score, prediction = meter.add(model, sample)
        else:
            prediction = model.predict_all(sample.image if getattr(model, "samples", None) is None else sample.picture)
            score = meter.add(*compared(sample, prediction))
        things = getattr(meter, "things", score)
        results.append(ImageResult(sample.name, score, things=things))
        if pictures and not math.isnan(score) and (len(worst) < pictures or -score > worst[0][0]):
            # Only now is it worth a drawing; what it pushes out of the heap is the best of the worst.
            heapq.heappush(worst, (-score, index, picture_of(sample, prediction, truth, task, score)))
            if len(worst) > pictures:
                heapq.heappop(worst)
        if progress is not None:
            progress(index + 1)
    for _, index, picture in worst:
        results[index] = replace(results[index], picture=picture)
    return meter.result(), sorted(results, key=lambda picture: (math.isnan(picture.score), picture.score))


class HeldOut:
    """The held-out samples of a run, as often as they are gone through; some stay decoded.

    Attributes:
        cached: those that do, by index.
    """

    def __init__(self, prepared: Prepared) -> None:
        self.prepared = prepared
        self.cached: dict[int, Sample] | None = None

    def __len__(self) -> int:
        return len(self.prepared.val)

    def __iter__(self) -> Iterator[Sample]:
        prepared = self.prepared
        read = functools.partial(read_item, prepared.dataset, prepared.val, prepared.task)
        if self.cached is None:
            budget = min(memory_budget(0.1), MOST_CACHED_BYTES)
            self.cached = preload(read, prepared.dataset, len(self), budget, local_cores(), prepared.config.json)
        for index in range(len(self)):
            yield self.cached[index] if index in self.cached else read(index)


def model_of(checkpoint: Network, folder: Path, title: str) -> Model:
    """A network of a run as the demo would serve it.

    Args:
        checkpoint: of the network.
        folder: where it is or will be.
        title: of the model.
    """
    spec = ModelSpec(str(folder), None, checkpoint.task.name, checkpoint.name, title, "", "folder")
    return Model.from_network(checkpoint, spec)


def best_of(prepared: Prepared, folder: Path) -> tuple[Model, Network]:
    """The best network of a run, loaded afresh.

    Args:
        prepared: the run.
        folder: its folder.
    """
    checkpoint = networks.load(folder / BEST)
    checkpoint.module.to(prepared.device)
    return model_of(checkpoint, folder / BEST, prepared.dataset.name), checkpoint


def evaluate_best(prepared: Prepared, folder: Path, held_out: HeldOut) -> tuple[dict[str, float], list[ImageResult], Network]:
    """The metrics of the best network of a run; of one that is published as it is, on the classes that the data has too.

    Args:
        prepared: the run.
        folder: its folder.
        held_out: its images.

    Returns:
        As :func:`evaluate`, and the network.
    """
    model, checkpoint = best_of(prepared, folder)
    samples, labels = comparable(prepared, checkpoint, held_out)
    quiet = prepared.config.json or None
    with tqdm(total=len(held_out), desc="evaluating", unit="image", disable=quiet, leave=False) as bar:
        metrics, results = evaluate(
            model, samples, task=prepared.task, labels=labels, progress=lambda done: bar.update(done - bar.n)
        )
    return metrics, results, checkpoint


def comparable(prepared: Prepared, checkpoint: Network, held_out: HeldOut) -> tuple[Iterable[Sample], LabelSet | None]:
    """The held-out images and the classes that a network of a run is measured by: of one that is published as it is, those that the
    data has too.

    Args:
        prepared: the run.
        checkpoint: its network.
        held_out: its images.
    """
    data = labels_for(prepared.dataset, prepared.task)
    if prepared.config.epochs != 0 or checkpoint.family.prompts or data.names == checkpoint.labels.names:
        return held_out, data
    labels = shared_labels(data, checkpoint.labels)
    return () if labels is None else only_shared(held_out, data, labels, prepared.task), labels


def compare_with_base(prepared: Prepared, folder: Path, held_out: HeldOut) -> dict[str, Any]:
    """Base and new network on the held-out images, on the classes that data and base share by name: whether anything was gained,
    image by image.

    Args:
        prepared: the run.
        folder: its folder, with ``best/``.
        held_out: its images.

    Returns:
        JSON-able: ``model`` (id of the base, or None), ``why`` (why nothing could be compared, or None), ``metric`` (the main
        metric's name), ``classes`` that were measured, ``background`` (its name among them, or None), ``base`` and ``new``
        (the metrics of :func:`train.evaluate.evaluate`), ``images``: per held-out image ``name``, ``base`` and ``new``
        (its score in [0, 1], see :class:`train.evaluate.ImageResult`; None where nothing is labelled), and
        ``base_things`` and ``new_things`` (likewise, without the background).
    """
    spec, task = prepared.start.base, prepared.task
    answer: dict[str, Any] = {"model": spec and spec.id, "why": None, "metric": TASKS[task].metric, "classes": [], "background": None}
    answer |= {"base": {}, "new": {}, "images": []}
    if spec is None or spec.id.startswith("smp-hub/"):
        return answer | {"model": None, "why": Message("verdicts.base_segmented_nothing")}
    try:
        checkpoint = load_checkpoint(spec, token=with_login(spec))
    except SegDemoError as error:
        return answer | {"why": Message("verdicts.base_not_loaded", why=error)}
    if TASKS[task] not in checkpoint.tasks:
        return answer | {"why": Message("verdicts.base_has_other_tasks", model=spec.id, task=task)}
    checkpoint, spec = checkpoint.answering(TASKS[task]), replace(spec, task=task, tasks=())
    checkpoint.module.to(prepared.device)
    data = labels_for(prepared.dataset, task)
    # The names by which training took the base's classes over: a cell is the data's only kind of thing, whatever that is called.
    named = in_words_of(data, checkpoint.labels, spec.source == "bundled")
    base = Model.from_network(dataclasses.replace(checkpoint, labels=named), spec)
    shared = data if checkpoint.family.prompts or data.names == base.labels.names else shared_labels(data, base.labels)
    if shared is None:
        return answer | {"why": Message("verdicts.base_knows_none")}
    whole = shared.names == data.names
    results = {}
    for name, model in (("base", base), ("new", best_of(prepared, folder)[0])):
        samples = held_out if whole else only_shared(held_out, data, shared, task)
        answer[name], results[name] = evaluate(model, samples, task=task, labels=shared, pictures=0)
    of_new = {result.name: result for result in results["new"]}
    answer["images"] = [
        {
            "name": result.name, "base": _plain(result.score), "new": _plain(of_new[result.name].score),
            "base_things": _plain(result.things), "new_things": _plain(of_new[result.name].things),
        }
        for result in sorted(results["base"], key=lambda result: result.name)
    ]  # fmt: skip
    metric = checkpoint.family.metric(TASKS[task])
    answer["metric"] = metric
    log.info(
        "On the held-out images: %s of the base %.4f, of this one %.4f",
        metric, answer["base"].get(metric, math.nan), answer["new"].get(metric, math.nan),
    )  # fmt: skip
    background = None if shared.background is None else shared.names[shared.background]
    return answer | {"classes": list(shared.names), "background": background}


def _plain(score: float) -> float | None:
    return None if math.isnan(score) else score


PICTURE_SIDE = 360
UNKNOWN_COLOR = (255, 0, 255)
# Okabe and Ito's colours, which stay apart for colour-blind eyes.
LINES = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
CURVES = {
    "mean_iou": "mean IoU",
    "mean_dice": "mean Dice",
    "boundary_iou": "boundary IoU",
    "pixel_accuracy": "pixel accuracy",
    "mask_ap": "mask AP",
    "mask_ap50": "mask AP50",
    "mask_ap75": "mask AP75",
    "box_ap": "box AP",
    "accuracy_50": "accuracy at an IoU of 0.5: hits / (hits + false + missed)",
    "click_iou": "IoU over the first 5 clicks",
    "iou_1": "IoU after 1 click",
    "iou_3": "IoU after 3 clicks",
    "pq": "PQ",
    "sq": "SQ",
    "rq": "RQ",
    "pq_things": "PQ of things",
    "pq_stuff": "PQ of stuff",
}
# What is counted and has no scale from 0 to 1.
COUNTS = {"noc_85": "clicks to an IoU of 0.85 (20 at most)", "noc_90": "clicks to an IoU of 0.90 (20 at most)", "failed_90": "share of objects that 20 clicks do not bring to 0.90"}
# The same run must give the same bytes, or pushing it twice would be two commits.
PNG = {"format": "png", "dpi": 110, "metadata": {"Software": None}}


@dataclass(frozen=True)
class Picture:
    """One sample, ready to be drawn; all three images are uint8 (h, w, 3), RGB, at most 360 pixels to a side.

    Attributes:
        name: of the sample.
        score: in [0, 1].
        image: as it was predicted on.
        truth: the image with its labels painted over it.
        prediction: the image with what the network found.
    """

    name: str
    score: float
    image: np.ndarray
    truth: np.ndarray
    prediction: np.ndarray


def picture_of(sample: Sample, prediction: Segmentation, labels: LabelSet, task: str, score: float) -> Picture:
    """Draw a sample, its truth and a prediction, in the colours of the data's classes.

    Args:
        sample: image and labels. Pixels without a label stay as they are.
        prediction: of the network. Classes that the data does not know are magenta; of objects those with a score of at
            least 0.5 are drawn.
        labels: classes of the data.
        task: ``semantic``, ``instance`` or ``panoptic``.
        score: of this image.
    """
    if TASKS[task].stuff:
        drawn, found = overlay(sample.image, true_panoptic(sample, labels)), prediction
    elif TASKS[task].objects:
        truth, found = true_objects(sample, labels), prediction.above(SHOWN_SCORE)
        drawn = overlay(sample.image, truth)
    else:
        ignored = sample.label_map == ignore_id(sample.label_map.dtype)
        drawn = overlay(sample.image, semantic_segmentation(np.where(ignored, 0, sample.label_map), labels)).copy()
        drawn[ignored] = sample.image[ignored]
        found = _in_colors_of(prediction, labels)
    images = (_small(shown) for shown in (sample.image, drawn, overlay(sample.image, found)))
    return Picture(sample.name, score, *images)


def _in_colors_of(prediction: Segmentation, labels: LabelSet) -> Segmentation:
    if prediction.labels == labels:
        return prediction
    names = (*labels.names, "not a class of the data")
    colors = np.concatenate([labels.colors, np.array([UNKNOWN_COLOR], dtype=np.uint8)])
    id_map = same_names(labels, prediction.labels)[prediction.id_map]
    return semantic_segmentation(id_map, replace(labels, names=names, colors=colors))


def _small(image: np.ndarray) -> np.ndarray:
    height, width = image.shape[:2]
    factor = PICTURE_SIDE / max(height, width)
    if factor >= 1:
        return image.copy()
    size = (max(1, round(width * factor)), max(1, round(height * factor)))
    return np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BOX))


def sample_grid(pictures: Sequence[Picture], path: Path) -> None:
    """Draw samples below each other: image, truth, prediction; the worst first.

    Args:
        pictures: in any order; must not be empty.
        path: the PNG to write.
    """
    from matplotlib.figure import Figure

    rows = sorted(pictures, key=lambda row: row.score)
    heights = [row.image.shape[0] / row.image.shape[1] for row in rows]
    figure = Figure(figsize=(7.5, sum(2.4 * min(height, 2.5) + 0.3 for height in heights) + 0.2), layout="constrained")
    axes = figure.subplots(len(rows), 3, squeeze=False, height_ratios=[min(height, 2.5) for height in heights])
    for row, picture in zip(axes, rows, strict=True):
        shown = (picture.image, picture.truth, picture.prediction)
        titles = (_shortened(picture.name), "truth", f"prediction · {picture.score:.2f}")
        for axis, image, title in zip(row, shown, titles, strict=True):
            axis.imshow(image, interpolation="nearest" if max(image.shape) < 200 else "antialiased")
            # A `$` in a file name is not a formula.
            axis.set_title(title, fontsize=8, parse_math=False)
            axis.set_axis_off()
    write_figure(figure, path)


def _shortened(name: str, length: int = 32) -> str:
    return name if len(name) <= length else "…" + name[1 - length :]


def learning_curves(metrics: Path, path: Path) -> bool:
    """Draw loss and metrics over the steps of a run.

    Args:
        metrics: ``metrics.jsonl`` of the run: one JSON object per evaluation with ``step``, ``loss`` and metrics. A last
            line that a kill cut off is left out.
        path: the PNG to write.

    Returns:
        False, and nothing is written, if the run has no evaluation yet.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    lines = _read_lines(metrics)
    if not lines:
        return False
    figure = Figure(figsize=(8, 3.2), layout="constrained")
    left, right = figure.subplots(1, 2)
    _curve(left, lines, "loss", "training loss", LINES[0])
    left.set_title("Training loss", fontsize=10, loc="left")
    left.set_ylim(bottom=min(0, left.get_ylim()[0]))
    present = [key for key in CURVES if any(key in line for line in lines)]
    for index, key in enumerate(present):
        _curve(right, lines, key, CURVES[key], LINES[index % len(LINES)])
    right.set_title("Held-out images", fontsize=10, loc="left")
    right.set_ylim(0, 1)
    if present:
        right.legend(fontsize=8, frameon=False, loc="best")
    for axis in (left, right):
        axis.set_xlabel("step", fontsize=9)
        axis.tick_params(labelsize=8)
        axis.spines[["top", "right"]].set_visible(False)
        axis.grid(color="#dddddd", linewidth=0.6)
        axis.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    write_figure(figure, path)
    return True


def _curve(axis: Any, lines: list[dict[str, Any]], key: str, label: str, color: str) -> None:
    points = [(line["step"], line[key]) for line in lines if isinstance(line.get(key), (int, float))]
    marker = "o" if len(points) <= 20 else None
    axis.plot([x for x, _ in points], [y for _, y in points], color=color, marker=marker, markersize=3, label=label)


def _read_lines(path: Path) -> list[dict[str, Any]]:
    lines = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            line = json.loads(text)
        except ValueError:
            continue
        if isinstance(line, dict) and "step" in line:
            lines.append(line)
    return lines


def write_figure(figure: Figure, path: Path) -> None:
    """A figure as PNG, the same bytes for the same figure.

    Args:
        figure: drawn without a display.
        path: replaced.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg

    FigureCanvasAgg(figure)
    with warnings.catch_warnings():
        # A file name in a script that the font lacks is drawn as boxes; that is no news for the log.
        warnings.filterwarnings("ignore", message="Glyph .* missing")
        drawn = io.BytesIO()
        figure.savefig(drawn, **PNG)
    save_file(path, drawn.getvalue())


FILE = "two-readings.png"
SIDE, GAP, LINE = 320, 12, 22
_SHADE = 0.65


def with_picture(diagnosis: Diagnosis, dataset: Dataset, folder: Path) -> Diagnosis:
    """The diagnosis with a picture for each fault that lets a person choose; as it was if none does, or no sample can be read.

    Args:
        diagnosis: of the dataset.
        dataset: as opened.
        folder: where to write ``two-readings.png``; where that cannot be, in the folder for temporary files.
    """
    fault = next((fault for fault in diagnosis.faults if fault.choices), None)
    shown = None if fault is None else _sample(dataset, fault.choices)
    if shown is None:
        return diagnosis
    path = _save(draw(*shown), folder)
    faults = tuple(replace(known, picture=str(path)) if known is fault else known for known in diagnosis.faults)
    return replace(diagnosis, faults=faults)


def _sample(dataset: Dataset, choices: Sequence[Choice]) -> tuple[list[Sample], list[Choice]] | None:
    """One item in each reading: of those that hold most the first on which they differ, else the first that can be read."""
    scans = dataset.scans

    def held(item: Item) -> int:
        scan = scans[item.name].mask or scans[item.name].instances
        return 0 if scan is None or scans[item.name].faults else len(scan.counts)

    readings, first = [dataset.read_as(choice.reading) for choice in choices], None
    for item in sorted(dataset.items, key=held, reverse=True)[:8]:
        try:
            found = [reading.read(reading.named(item.name)) for reading in readings]
        except (SegDemoError, OSError):
            continue
        if any(not np.array_equal(_ids(found[0]), _ids(other)) for other in found[1:]):
            return found, list(choices)
        first = first or (found, list(choices))
    return first


def _ids(sample: Sample) -> np.ndarray:
    """What is drawn of a sample: its objects, where it has any, else its classes."""
    return sample.label_map if sample.instance_map is None else sample.instance_map


def draw(samples: Sequence[Sample], choices: Sequence[Choice]) -> Image.Image:
    """The picture, and beside it what each reading makes of its mask, with the reading's name and meaning above.

    Args:
        samples: the same image in each reading.
        choices: of the same length.

    Returns:
        RGB, as wide as the pictures are in a row.
    """
    image = samples[0].image
    scale = SIDE / max(image.shape[:2])
    size = max(1, round(image.shape[1] * scale)), max(1, round(image.shape[0] * scale))
    photo = Image.fromarray(image).resize(size, Image.Resampling.BILINEAR)
    tiles = [(samples[0].name, "", photo)]
    for sample, choice in zip(samples, choices, strict=True):
        ids = _ids(sample)
        colours = Image.fromarray(_coloured(ids)).resize(size, Image.Resampling.NEAREST)
        kind = "classes" if sample.instance_map is None else "objects"
        drawn = np.unique(ids[ids > 0] if sample.instance_map is not None else ids[ids < np.iinfo(ids.dtype).max])
        tiles.append((f"{choice.reading}: {len(drawn)} {kind}", choice.means, Image.blend(photo, colours, _SHADE)))
    font = ImageFont.load_default(15)
    width = max(size[0], *(int(font.getlength(text)) + 1 for tile in tiles for text in tile[:2]))
    sheet = Image.new("RGB", (len(tiles) * (width + GAP) + GAP, size[1] + 2 * LINE + 2 * GAP), "white")
    pen = ImageDraw.Draw(sheet)
    for index, (name, means, picture) in enumerate(tiles):
        left = GAP + index * (width + GAP)
        pen.text((left, GAP // 2), name, fill="black", font=font)
        pen.text((left, GAP // 2 + LINE), means, fill="black", font=font)
        sheet.paste(picture, (left, GAP + 2 * LINE))
    return sheet


def _coloured(ids: np.ndarray) -> np.ndarray:
    """uint8 (H, W, 3): 0 black, what is ignored white, everything else a colour of its own."""
    found, places = np.unique(ids, return_inverse=True)
    colours = distinct_colors(len(found), None).copy()
    colours[found == 0] = 0
    colours[found == np.iinfo(ids.dtype).max] = 255
    return colours[places.reshape(ids.shape)]


def _save(picture: Image.Image, folder: Path) -> Path:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / FILE
        picture.save(path)
    except OSError:
        path = Path(tempfile.mkdtemp(prefix="masks-")) / FILE
        picture.save(path)
    return path
