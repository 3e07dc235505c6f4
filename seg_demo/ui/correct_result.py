"""From a result on the Semantic or Instance tab straight into the editor, without another upload."""

from __future__ import annotations

from typing import Any

import gradio as gr

from seg_demo.datasets import Dataset, Facts, Store, may_collect, visitor_store
from seg_demo.datasets.classes import label_set
from seg_demo.datasets.drawing import from_prediction, same_name
from seg_demo.errors import BadRequestError
from seg_demo.inputs.images import decode
from seg_demo.types import LabelSet, Segmentation
from seg_demo.ui import class_mapping, menu
from seg_demo.ui.bench import Outcome
from seg_demo.ui.correct_export import dataset_choices
from seg_demo.ui.correct_tab import INTO_VIEW, QUIET, CorrectTab, mention
from seg_demo.ui.editor import Document
from seg_demo.ui.i18n import language_of
from seg_demo.ui.results import Result
from seg_demo.ui.work import aside, in_words, work_limits


def correct_results(shown: Outcome, correcting: CorrectTab, visitor: gr.BrowserState, tabs: gr.Tabs) -> None:
    """Connect the button of a result with the editor.

    Args:
        shown: has the result and the button.
        correcting: the tab with the editor.
        visitor: the visitor's key, in their browser.
        tabs: of the page.
    """
    opened = shown.correct.click(
        open_result, [visitor, shown.result, correcting.mappings], [correcting.editor, correcting.dataset, tabs],
        api_visibility="private", show_progress_on=shown.viewer, **work_limits(),
    )  # fmt: skip
    opened.success(None, js=INTO_VIEW, **QUIET)


def open_result(visitor: object, result: Result | None, kept: object, request: gr.Request) -> tuple[Any, Any, Any]:
    """What a model found, as it is shown, to be corrected; why it cannot be is said without a red "Error" over the result."""
    try:
        return in_words(_opened, "open_result")(visitor, result, kept, request)
    except gr.Error as error:
        gr.Warning(str(error.message), duration=15)
        return None, gr.skip(), gr.skip()


def _opened(visitor: object, result: Result | None, kept: object, request: gr.Request) -> tuple[Document, Any, Any]:
    """The document, for the visitor's last dataset that fits, else for a new one."""
    if result is None:
        raise BadRequestError("There is no result to correct, or it has expired. Segment the image again.")
    if not result.upload.path.is_file():
        raise BadRequestError(
            "The uploaded image is no longer on the server, because uploads are deleted after a while. Upload it again."
        )
    found = result.shown
    store = visitor_store(visitor) if may_collect() else None
    dataset, mapping = (None, {}) if store is None else fitting(store, found, kept)
    labels = labels_of(found) if dataset is None else dataset.labels
    with aside():
        image = decode(result.upload.path)
        drawing = from_prediction(found, labels, found.task, mapping)
    if store is not None and dataset is None:
        # More pictures will join it, so it is not called after this one.
        dataset = store.create(found.model.title if found.model else result.upload.stem, labels, found.task)
    facts = Facts(confidence=drawing.confidence, source=(menu.key(found.model) if found.model else "")[:120])
    document = Document(
        found.task, labels, image, drawing, result.upload.stem, result.upload.path,
        None if dataset is None else dataset.key, dataset_name="" if dataset is None else dataset.name, facts=facts,
    )  # fmt: skip
    mention(drawing, language_of(request))
    picker = gr.skip() if dataset is None else gr.Dropdown(dataset_choices(store.list()), value=dataset.key)
    return document, picker, gr.Tabs(selected="correct")


def fitting(store: Store, found: Segmentation, kept: object = None) -> tuple[Dataset | None, dict[str, str]]:
    """The dataset that was changed last among those of the same task that have every class that the model knows, by its name or
    by what the person has said that it becomes there.

    Args:
        store: of the visitor.
        found: a result.
        kept: of :func:`class_mapping.mapping_state`.

    Returns:
        The dataset, or None, and class of the model → class of the dataset where their names differ.
    """
    wanted = {same_name(name) for index, name in enumerate(found.labels.names) if index != found.labels.background}
    for dataset in store.list():
        mapping = class_mapping.remembered(kept, dataset.key, menu.key(found.model)) if found.model else None
        left = wanted - {same_name(name) for name in (*dataset.labels.names, *(mapping or {}))}
        if dataset.task == found.task and not (left - class_mapping.HELPERS if mapping else left):
            return dataset, mapping or {}
    return None, {}


def labels_of(found: Segmentation) -> LabelSet:
    """The classes of a new dataset for a result: its model's; objects need a background, which some models do not name."""
    known = found.labels
    if known.background is None and found.task == "instance":
        return label_set(list(known.names))
    return label_set(known)
