"""The network that a run started from, measured on the same held-out images: whether anything was gained, image by image."""

from __future__ import annotations

import dataclasses
import logging
import math
from collections.abc import Callable, Iterable
from typing import Any

from seg_demo.errors import SegDemoError
from seg_demo.models.loading import load_checkpoint
from seg_demo.models.model import Model
from train.data.objects import labels_for
from train.data.sample import Sample
from train.prepared import Prepared
from train.report.metrics import MAIN_METRIC, evaluate
from train.report.shared import only_shared, shared_labels
from train.start import in_words_of

log = logging.getLogger("train")


def measured_against_base(
    prepared: Prepared, new: Callable[[], Model], samples: Callable[[], Iterable[Sample]]
) -> dict[str, Any]:
    """Base and new network on the held-out images, on the classes that data and base share by name.

    Args:
        prepared: the run.
        new: loads ``best/`` afresh.
        samples: gives the held-out images anew at every call.

    Returns:
        JSON-able: ``model`` (id of the base, or None), ``why`` (why nothing could be compared, or None), ``metric`` (the main
        metric's name), ``classes`` that were measured, ``background`` (its name among them, or None), ``base`` and ``new``
        (the metrics of :func:`train.report.metrics.evaluate`), ``images``: per held-out image ``name``, ``base`` and ``new``
        (its score in [0, 1], see :class:`train.report.metrics.ImageResult`; None where nothing is labelled), and
        ``base_things`` and ``new_things`` (likewise, without the background).
    """
    spec, task = prepared.start.base, prepared.task
    answer: dict[str, Any] = {"model": spec and spec.id, "why": None, "metric": MAIN_METRIC[task], "classes": [], "background": None}
    answer |= {"base": {}, "new": {}, "images": []}
    if spec is None or spec.id.startswith("smp-hub/"):
        return answer | {"model": None, "why": "It was trained from weights that could not segment anything yet."}
    try:
        checkpoint = load_checkpoint(spec, token=True)
    except SegDemoError as error:
        return answer | {"why": f"The base cannot be loaded any more: {error}"}
    checkpoint.module.to(prepared.device)
    data = labels_for(prepared.dataset, task)
    # The names by which training took the base's classes over: a cell is the data's only kind of thing, whatever that is called.
    named = in_words_of(data, checkpoint.labels, spec.source == "bundled")
    base = Model.from_checkpoint(dataclasses.replace(checkpoint, labels=named), spec)
    shared = data if data.names == base.labels.names else shared_labels(data, base.labels)
    if shared is None:
        return answer | {"why": "The base knows none of these classes."}
    whole = shared.names == data.names
    results = {}
    for name, model in (("base", base), ("new", new())):
        held_out = samples() if whole else only_shared(samples(), data, shared, task)
        answer[name], results[name] = evaluate(model, held_out, task=task, labels=shared, pictures=0)
    of_new = {result.name: result for result in results["new"]}
    answer["images"] = [
        {
            "name": result.name, "base": _plain(result.score), "new": _plain(of_new[result.name].score),
            "base_things": _plain(result.things), "new_things": _plain(of_new[result.name].things),
        }
        for result in sorted(results["base"], key=lambda result: result.name)
    ]  # fmt: skip
    metric = MAIN_METRIC[task]
    log.info(
        "On the held-out images: %s of the base %.4f, of this one %.4f",
        metric, answer["base"].get(metric, math.nan), answer["new"].get(metric, math.nan),
    )  # fmt: skip
    background = None if shared.background is None else shared.names[shared.background]
    return answer | {"classes": list(shared.names), "background": background}


def _plain(score: float) -> float | None:
    return None if math.isnan(score) else score
