"""Evaluation at the original image size, through the same predict() as the demo's; of the base too, on the classes of both."""

from __future__ import annotations

import dataclasses
import functools
import heapq
import logging
import math
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from tqdm import tqdm

from seg_demo import networks
from seg_demo.core.errors import Message, SegDemoError
from seg_demo.core.types import INSTANCE, SEMANTIC, TASKS, LabelSet, ModelSpec, Segmentation
from seg_demo.inference.model import Model
from seg_demo.networks.base import Network
from seg_demo.serving.predictor import load_checkpoint
from train.base_model import in_words_of
from train.batches import local_cores, memory_budget
from train.data.index import labels_for, preload, read_item
from train.data.sample import Sample
from train.figures import Picture, picture_of
from train.metrics import InstanceMeter, SemanticMeter, only_shared, shared_labels
from train.run import BEST

if TYPE_CHECKING:
    from train.setup import Prepared

log = logging.getLogger("train")

# By task: the meter of its results, and what that takes of a sample and its prediction. A task of one's own needs its row.
METERS: dict[str, tuple[Callable[[LabelSet, LabelSet], Any], Callable[[Sample, Segmentation], tuple[Any, ...]]]] = {
    SEMANTIC.name: (SemanticMeter, lambda sample, prediction: (sample.label_map, prediction.id_map)),
    INSTANCE.name: (InstanceMeter, lambda sample, prediction: (sample, prediction)),
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
            0.5 among candidates with a score of at least 0.5. NaN if nothing in the image is labelled.
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
) -> tuple[dict[str, float], list[ImageResult]]:
    """Compare a model with the truth, one image at a time; memory does not grow with masks or pixels.

    Args:
        model: what predicts.
        samples: held-out images with their labels, read as they are needed.
        task: of :data:`METERS`.
        labels: classes of the data, matched with the model's by name; None if they are the same.
        progress: called with the number of images done, after each.
        pictures: how many of the worst images are kept as pictures.

    Returns:
        The metrics of :class:`SemanticMeter` or :class:`InstanceMeter` (plain floats in [0, 1]; what has no value is left
        out), and one result per image, worst first.

    Raises:
        ValueError: another task, or objects without an instance map.
    """
    if task not in METERS:
        raise ValueError(f"task must be one of {', '.join(METERS)}, but got {task!r}.")
    truth = labels or model.labels
    make, compared = METERS[task]
    meter = make(truth, model.labels)
    results: list[ImageResult] = []
    worst: list[tuple[float, int, Picture]] = []
    for index, sample in enumerate(samples):
        prediction = model.predict_all(sample.image)
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
    return meter.result(), sorted(results, key=lambda each: (math.isnan(each.score), each.score))


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
    samples, labels = held_out, None
    data = labels_for(prepared.dataset, prepared.task)
    if prepared.config.epochs == 0 and data.names != checkpoint.labels.names:
        labels = shared_labels(data, checkpoint.labels)
        samples = () if labels is None else only_shared(held_out, data, labels, prepared.task)
    quiet = prepared.config.json or None
    with tqdm(total=len(held_out), desc="evaluating", unit="image", disable=quiet, leave=False) as bar:
        metrics, results = evaluate(
            model, samples, task=prepared.task, labels=labels, progress=lambda done: bar.update(done - bar.n)
        )
    return metrics, results, checkpoint


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
        checkpoint = load_checkpoint(spec, token=True)
    except SegDemoError as error:
        return answer | {"why": Message("verdicts.base_not_loaded", why=error)}
    checkpoint.module.to(prepared.device)
    data = labels_for(prepared.dataset, task)
    # The names by which training took the base's classes over: a cell is the data's only kind of thing, whatever that is called.
    named = in_words_of(data, checkpoint.labels, spec.source == "bundled")
    base = Model.from_network(dataclasses.replace(checkpoint, labels=named), spec)
    shared = data if data.names == base.labels.names else shared_labels(data, base.labels)
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
    metric = TASKS[task].metric
    log.info(
        "On the held-out images: %s of the base %.4f, of this one %.4f",
        metric, answer["base"].get(metric, math.nan), answer["new"].get(metric, math.nan),
    )  # fmt: skip
    background = None if shared.background is None else shared.names[shared.background]
    return answer | {"classes": list(shared.names), "background": background}


def _plain(score: float) -> float | None:
    return None if math.isnan(score) else score
