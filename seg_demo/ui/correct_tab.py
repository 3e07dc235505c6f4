"""The tab in which a person corrects masks and collects them as a dataset."""

from __future__ import annotations

import contextlib
import html
import re
from dataclasses import dataclass, replace
from typing import Any

import gradio as gr

from seg_demo.datasets import Dataset, may_collect, visitor_store
from seg_demo.errors import BadRequestError
from seg_demo.ui import correct_work, menu
from seg_demo.ui.bench import image_box
from seg_demo.ui.choice import Choice
from seg_demo.ui.correct_export import NEW, dataset_choices, export_panel
from seg_demo.ui.editor import Answer, Document, MaskEditor
from seg_demo.ui.guard_seams import only_uploaded
from seg_demo.ui.i18n import language_of, t, words
from seg_demo.ui.samples import SampleList
from seg_demo.ui.uploads import Photo, Upload
from seg_demo.ui.visitor import key_or_new
from seg_demo.ui.work import in_words, work_limits

KINDS = ("semantic", "instance", "region")
QUIET = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class CorrectTab:
    """What others fill in.

    Attributes:
        dataset: the picker of datasets.
        editor: shows a :class:`~seg_demo.ui.editor.Document`.
    """

    dataset: gr.Dropdown
    editor: MaskEditor


def correct_tab(tab: gr.Tab, visitor: gr.BrowserState) -> CorrectTab:
    """Build the tab in the current Blocks.

    Args:
        tab: this one; opening it reads the menu anew.
        visitor: the visitor's key, in their browser.
    """
    collects = may_collect()
    gr.Markdown(t("correct_lead"), elem_classes="lead")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=3, min_width=270, elem_classes="controls"):
            if not collects:
                gr.Markdown(t("correct_off"), elem_classes="note")
            dataset = Choice(
                choices=[(t("correct_new"), NEW)], value=NEW, label=t("correct_dataset"), info=t("correct_dataset_info"),
                visible=collects, elem_id="correct-dataset",
            )  # fmt: skip
            with gr.Column(elem_classes="controls", elem_id="correct-fresh") as fresh:
                name = gr.Textbox(label=t("correct_name"), max_length=80, visible=collects, elem_id="correct-name")
                task = gr.Radio(
                    [(t("correct_semantic"), "semantic"), (t("correct_instance"), "instance")], value="semantic",
                    label=t("correct_task"), elem_id="correct-task",
                )  # fmt: skip
                classes = gr.Textbox(
                    label=t("correct_classes"), info=t("correct_classes_info"), lines=2, max_lines=8,
                    elem_id="correct-classes",
                )  # fmt: skip
            photo = image_box("correct")
            start = gr.Radio(
                [(t(f"correct_from_{key}"), key) for key in correct_work.STARTS], value="model", label=t("correct_start"),
                elem_id="correct-start",
            )  # fmt: skip
            choices = [choice for kind in KINDS for choice in menu.choices(kind)]
            model = gr.Dropdown(
                choices, value=menu.at_first("semantic") or menu.at_first("instance"), allow_custom_value=True,
                filterable=True, label=t("model"), elem_id="correct-model",
            )  # fmt: skip
            mask = Photo(
                label=t("correct_mask"), sources=["upload"], type="filepath", buttons=[], height=160, visible=False,
                elem_id="correct-mask",
            )  # fmt: skip
            opener = gr.Button(t("correct_open"), variant="primary", elem_id="correct-open")
        with gr.Column(scale=10, min_width=300):
            editor = MaskEditor(elem_id="correct-editor")
            with gr.Column(visible=False, elem_id="correct-collected") as collected:
                samples = SampleList(elem_id="correct-samples")
                export_panel(visitor, dataset, samples)
    menu.follow(tab, model, *KINDS)
    opened = opener.click(
        open_new, [visitor, dataset, name, task, classes, photo, start, model, mask], [editor, dataset, name],
        api_visibility="private", show_progress_on=editor, **work_limits(),
    )  # fmt: skip
    opened.success(None, js=INTO_VIEW, **QUIET)
    dataset.change(choose, [visitor, dataset], [fresh, collected, samples], queue=False, **QUIET)
    start.change(
        lambda start: (gr.Dropdown(visible=start == "model"), gr.Image(visible=start == "mask")), start, [model, mask],
        queue=False, **QUIET,
    )  # fmt: skip
    editor.save(save, [visitor, dataset], [editor, samples], concurrency_limit=4, concurrency_id="datasets", **QUIET)
    edited = samples.edit(
        edit, [visitor, dataset], editor, api_visibility="private", show_progress_on=editor, concurrency_limit=4,
        concurrency_id="datasets",
    )  # fmt: skip
    edited.success(None, js=INTO_VIEW, **QUIET)
    samples.remove(remove, [visitor, dataset], samples, concurrency_limit=4, concurrency_id="datasets", **QUIET)
    return CorrectTab(dataset, editor)


# As static/editor_start.js names what it uploads.
OWN_MASK = re.compile(r"mask(?:-\d+){4}\.png")
# On a phone the editor is below the controls.
INTO_VIEW = """() => document.querySelector('#correct-editor').scrollIntoView({
  block: 'nearest', behavior: matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth'
})"""


def filled(key: str) -> Any:
    """The picker of datasets as the page opens: the visitor's last one is chosen."""
    if not may_collect():
        return gr.skip()
    datasets = in_words(lambda: visitor_store(key).list())()
    return gr.Dropdown(dataset_choices(datasets), value=datasets[0].key if datasets else NEW)


@in_words
def choose(visitor: object, chosen: object) -> tuple[Any, Any, Dataset | None]:
    """The fields of a new dataset, or the samples of the one that was chosen and what can be done with them."""
    if chosen == NEW or not may_collect():
        return gr.Column(visible=True), gr.Column(visible=False), None
    return gr.Column(visible=False), gr.Column(visible=True), visitor_store(key_or_new(visitor)).open(chosen)


@in_words
def open_new(
    visitor: object,
    chosen: object,
    name: object,
    task: object,
    classes: object,
    upload: Upload | None,
    start: object,
    model: object,
    mask: Upload | None,
    request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Document, Any, Any]:
    """An image into the editor; a new dataset is made for it if none is chosen."""
    language, guide = language_of(request), model if start == "model" else None

    def report(part: float | None, text: str) -> None:
        progress(part, desc=text)

    if not may_collect():
        if task not in ("semantic", "instance"):
            raise BadRequestError(f"The kind of masks is semantic or instance, but got {str(task)[:40]!r}.")
        labels = correct_work.labels_for(classes, guide, task)
        document, missing = correct_work.begin(upload, labels, str(task), start, model, mask, report)
        mention(missing, language)
        return document, gr.skip(), gr.skip()
    store = visitor_store(key_or_new(visitor))
    if chosen != NEW:
        dataset = store.open(chosen)
        document, missing = correct_work.begin(upload, dataset.labels, dataset.task, start, model, mask, report)
        mention(missing, language)
        return replace(document, dataset=dataset.key), gr.skip(), gr.skip()
    labels = correct_work.labels_for(classes, guide, task)
    # Only an image that could be opened makes a dataset.
    document, missing = correct_work.begin(upload, labels, str(task), start, model, mask, report)
    dataset = store.create(str(name or "").strip() or document.name, labels, str(task))
    mention(missing, language)
    picker = gr.Dropdown(dataset_choices(store.list()), value=dataset.key)
    return replace(document, dataset=dataset.key), picker, ""


def mention(missing: tuple[str, ...], language: str) -> None:
    """Tell the visitor which predicted classes the dataset does not have."""
    if missing:
        names = words("separator", language).join(missing[:8]) + (" …" if len(missing) > 8 else "")
        gr.Info(html.escape(words("correct_missing", language).format(names=names)))


def save(visitor: object, chosen: object, event: gr.EventData) -> tuple[Answer, Any]:
    """What the editor sent becomes a sample; a failure is said, and the editor keeps what was drawn."""
    sent = event._data if isinstance(event._data, dict) else {}
    try:
        dataset, sample = in_words(correct_work.keep)(in_words(visitor_store)(key_or_new(visitor)), sent)
    except gr.Error as error:
        gr.Warning(str(error.message), duration=15)
        return Answer(str(sent.get("doc")), None), gr.skip()
    finally:
        _forget(sent.get("mask"))
    return Answer(str(sent.get("doc")), sample.stem), dataset if dataset.key == chosen else gr.skip()


def _forget(path: object) -> None:
    """Delete an uploaded mask: it has been stored, or will be sent again. What was named may be anything; what has not the
    editor's own kind of name may be another visitor's too, whose file has the same content."""
    with contextlib.suppress(BadRequestError, OSError):
        mask = correct_work.uploaded(path)
        if OWN_MASK.fullmatch(mask.name) and only_uploaded(str(mask)):
            mask.unlink()


@in_words
def edit(visitor: object, chosen: object, event: gr.EventData) -> Document:
    """A stored sample into the editor."""
    return correct_work.again(visitor_store(key_or_new(visitor)).open(chosen), _stem(event))


@in_words
def remove(visitor: object, chosen: object, event: gr.EventData) -> Dataset:
    """Delete a sample; the list without it."""
    dataset = visitor_store(key_or_new(visitor)).open(chosen)
    dataset.delete(_stem(event))
    return dataset


def _stem(event: gr.EventData) -> Any:
    return event._data.get("stem") if isinstance(event._data, dict) else None
