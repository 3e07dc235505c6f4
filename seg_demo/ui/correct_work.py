"""What the tab Correct does on the server: open a mask to draw on, take one back. What a browser sends is checked."""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import numpy as np

from seg_demo.datasets import Dataset, Facts, Sample, Store
from seg_demo.datasets.classes import clean_names, label_set
from seg_demo.datasets.drawing import MOST_OBJECTS, Drawing, from_mask, from_prediction, from_sample, truth
from seg_demo.errors import BadRequestError, DataError
from seg_demo.inputs.images import decode, decode_mask
from seg_demo.inputs.mask_files import read_mask, read_object_map
from seg_demo.models.admission import is_large
from seg_demo.types import LabelSet
from seg_demo.ui.editor import Document, uploaded
from seg_demo.ui.uploads import Upload
from seg_demo.ui.work import aside, predictor

STARTS = ("model", "mask", "blank")
# The score that a predicted object must reach to be drawn.
THRESHOLD = 0.5
Report = Callable[[float | None, str], None]


def class_names(text: object) -> list[str]:
    """The class names that a person typed, one per line or with commas between.

    Raises:
        DataError: a name that no class can have.
    """
    return clean_names([name for name in re.split(r"[\n,;，；、]+", str(text or "")) if name.strip()])


def labels_for(typed: object, model: object, task: object) -> LabelSet:
    """The classes of a new dataset: as typed, else those of the model that the first mask starts from.

    Args:
        typed: class names as a person typed them, perhaps none.
        model: id of a model, or None if no model is used.
        task: of the dataset.

    Raises:
        BadRequestError: none are typed, and there is no model that has any.
        DataError: too many, or a name that no class can have.
        SegDemoError: the model cannot be loaded.
    """
    names = class_names(typed)
    if not names and model:
        known = predictor().get(str(model)).labels
        if known is not None and known.names != ("background", "region"):
            whole = known.background is not None or task == "semantic"
            return label_set(known if whole else list(known.names))
    if not names:
        raise BadRequestError("Type the classes of the dataset, such as: cell, border.")
    return label_set(names)


def begin(
    upload: Upload | None, labels: LabelSet, task: str, start: object, model: object, mask: Upload | None, mapping: dict[str, str],
    report: Report,
) -> Document:  # fmt: skip
    """A document for a new sample.

    Args:
        upload: the image.
        labels: of the dataset.
        task: of the dataset.
        start: one of ``STARTS``.
        model: id of the model, for ``model``.
        mask: the file, for ``mask``.
        mapping: class of the model → class of the dataset, for ``model``.
        report: told about downloads.

    Returns:
        The document, without a dataset.

    Raises:
        SegDemoError: anything that cannot be used.
    """
    if upload is None:
        raise BadRequestError("There is no image to correct. Drop one into the box first.")
    if start not in STARTS:
        raise BadRequestError(f"A mask starts from one of {', '.join(STARTS)}, but got {str(start)[:40]!r}.")
    if start == "mask" and mask is None:
        raise BadRequestError("There is no mask file. Choose one, or another starting point.")
    drawing: Drawing | None = None
    facts = Facts(source=str(start))
    with predictor().work(model if start == "model" else None, large=is_large(upload.path), report=report):
        image = decode(upload.path)
        if start == "model":
            result = predictor().segment_all(image, model, confidence=True, report=report).above(THRESHOLD)
            drawing = from_prediction(result, labels, task, mapping)
            facts = Facts(confidence=drawing.confidence, source=str(model)[:120])
        elif start == "mask":
            read = read_object_map if task == "instance" else read_mask
            drawing = from_mask(read(mask.path), image.shape[:2], labels, task)
    return Document(task, labels, image, drawing, upload.stem, upload.path, None, facts=facts)


def again(dataset: Dataset, stem: str) -> Document:
    """A document for a stored sample.

    Raises:
        SegDemoError: it is gone or damaged.
    """
    sample = dataset.sample(stem)
    with aside():
        image, mask, instances = dataset.read(stem)
        drawing = from_sample(mask, instances, dataset.labels)
    return Document(
        dataset.task, dataset.labels, image, drawing, sample.name, None, dataset.key, stem, dataset.name, sample.facts
    )


def keep(store: Store, sent: dict[str, Any]) -> tuple[Dataset, Sample]:
    """Store what the editor sent with its ``save`` event.

    Args:
        store: of the visitor.
        sent: ``dataset`` (key), ``stem`` (of the sample, or None), ``image`` (path of the upload, for new samples), ``mask``
            (path of the upload), ``classes`` ([[id, name], ...]), ``objects`` ([[number, class id], ...]), ``name``,
            ``source``, ``background`` (class id), ``confidence``, ``seconds``, ``strokes``, and ``doc``, which tells a save that is sent twice, because
            no answer came in time, from two; and ``into``, another dataset that the person chose to save it in.

    Returns:
        The dataset and the sample.

    Raises:
        SegDemoError: whatever does not fit.
    """
    elsewhere = sent.get("into") is not None and sent["into"] != sent.get("dataset")
    dataset = store.open(sent["into"] if elsewhere else sent.get("dataset"))
    if elsewhere and (reason := unfit(dataset, sent)):
        raise BadRequestError(reason)
    classes = _pairs(sent.get("classes"), str, 255)
    objects = _pairs(sent.get("objects"), int, MOST_OBJECTS)
    with aside():
        raw = decode_mask(uploaded(sent.get("mask")))[0]
        if elsewhere:
            # Only what is painted joins another dataset's classes.
            used = set(np.unique(raw).tolist()) if dataset.task == "semantic" else set(objects.values())
            ground = sent.get("background") if dataset.labels.background is not None else None
            classes = {identity: name for identity, name in classes.items() if identity in used and identity != ground}
        labels = dataset.add_classes(list(classes.values()))
        known = {name.casefold(): index for index, name in enumerate(labels.names)}
        # Names pass through the same cleaning as they did when the dataset took them.
        numbers = {identity: known[clean_names([name])[0].casefold()] for identity, name in classes.items()}
        if elsewhere and _whole(ground, 65_535):
            numbers[ground] = labels.background
        mask, instances = truth(raw, dataset.task, numbers, objects, labels.background)
        facts = _facts(sent)
        if sent.get("stem") is not None:
            return dataset, dataset.replace(sent["stem"], mask, facts, instances=instances)
        image = uploaded(sent.get("image"))
        name, draft = str(sent.get("name") or "image")[:200], sent.get("doc")
        known = draft if isinstance(draft, str) and 0 < len(draft) <= 64 else None
        return dataset, dataset.add(image, mask, facts, instances=instances, name=name, draft=known)


def unfit(dataset: Dataset, sent: dict[str, Any]) -> str:
    """Why a mask cannot be saved into another dataset than that which it was opened for; empty if it can."""
    if sent.get("stem") is not None:
        return "This sample belongs to the dataset that it was opened from. Choose that one again, or save it there."
    if sent.get("task") != dataset.task:
        return f"The dataset {dataset.name!r} holds another kind of masks. Choose one of the same kind."
    return ""


def _pairs(value: object, kind: type, most: int) -> dict[int, Any]:
    """[[whole number, ``kind``], ...] as a dictionary."""
    wrong = DataError("What was sent with the mask cannot be read. Reload the page, and save again.")
    if not isinstance(value, list) or len(value) > most:
        raise wrong
    found = {}
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not _whole(pair[0], 65_535):
            raise wrong
        if not isinstance(pair[1], kind) or (kind is int and not _whole(pair[1], 65_535)):
            raise wrong
        found[pair[0]] = pair[1]
    return found


def _whole(value: object, most: int) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def _facts(sent: dict[str, Any]) -> Facts:
    """The facts as sent; what cannot be is left out, for a mask must not be lost over a clock."""
    seconds, confidence = sent.get("seconds"), sent.get("confidence")
    return Facts(
        seconds=float(seconds) if _finite(seconds) and seconds >= 0 else 0.0,
        strokes=sent["strokes"] if _whole(sent.get("strokes"), 2**31) else 0,
        confidence=float(confidence) if _finite(confidence) and 0 <= confidence <= 1 else None,
        source=str(sent.get("source") or "blank")[:120],
    )


def _finite(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
