"""The tab in which a person corrects masks and collects them as a dataset."""

from __future__ import annotations

import contextlib
import html
import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import wraps
from typing import Any

import gradio as gr

from seg_demo.datasets import Dataset, Store, may_collect, visitor_store
from seg_demo.datasets.drawing import Drawing
from seg_demo.errors import BadRequestError, SegDemoError
from seg_demo.ownership import owner_of
from seg_demo.ui import class_mapping, correct_work, menu
from seg_demo.ui.bench import image_box
from seg_demo.ui.choice import Choice
from seg_demo.ui.correct_export import NEW, dataset_choices, export_panel
from seg_demo.ui.editor import Answer, Document, MaskEditor, Place, Refusal
from seg_demo.ui.guard_seams import only_uploaded
from seg_demo.ui.i18n import language_of, t, words
from seg_demo.ui.i18n_errors import told
from seg_demo.ui.samples import SampleList
from seg_demo.ui.uploads import Photo, Upload
from seg_demo.ui.work import in_words, work_limits

KINDS = ("semantic", "instance", "region")
QUIET = {"api_visibility": "private", "show_progress": "hidden"}


@dataclass(frozen=True)
class CorrectTab:
    """What others fill in.

    Attributes:
        dataset: the picker of datasets.
        editor: shows a :class:`~seg_demo.ui.editor.Document`.
        mappings: what was chosen for classes whose names differ, in the browser.
    """

    dataset: gr.Dropdown
    editor: MaskEditor
    mappings: gr.BrowserState


def correct_tab(tab: gr.Tab, visitor: gr.BrowserState) -> CorrectTab:
    """Build the tab in the current Blocks.

    Args:
        tab: this one; opening it reads the menu anew.
        visitor: the visitor's key, in their browser.
    """
    collects, mappings = may_collect(), class_mapping.mapping_state()
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
            pairs = Choice(
                choices=[], value=[], multiselect=True, visible=False, label=t("correct_pairs"), info=t("correct_pairs_info"),
                elem_id="correct-pairs",
            )  # fmt: skip
            mask = Photo(
                label=t("correct_mask"), show_label=False, placeholder=t("correct_mask_drop"), sources=["upload"], type="filepath",
                buttons=[], height=160, visible=False, elem_id="correct-mask",
            )  # fmt: skip
            opener = gr.Button(t("correct_open"), variant="primary", elem_id="correct-open")
        with gr.Column(scale=10, min_width=300):
            editor = MaskEditor(elem_id="correct-editor")
            with gr.Column(visible=False, elem_id="correct-collected") as collected:
                samples = SampleList(elem_id="correct-samples")
                export_panel(visitor, dataset, samples)
    menu.follow(tab, model, *KINDS)
    opened = opener.click(
        open_new, [visitor, dataset, name, task, classes, photo, start, model, mask, pairs, mappings],
        [editor, dataset, name, mappings, pairs],
        api_visibility="private", show_progress_on=editor, **work_limits(),
    )  # fmt: skip
    opened.success(None, js=INTO_VIEW, **QUIET)
    dataset.change(choose, [visitor, dataset], [fresh, collected, samples], queue=False, **QUIET)
    start.change(
        lambda start: (gr.Dropdown(visible=start == "model"), gr.Image(visible=start == "mask")), start, [model, mask],
        queue=False, **QUIET,
    )  # fmt: skip
    asked = [visitor, dataset, classes, model, start, mappings]
    for event in (dataset.change, classes.blur, model.change, start.change, mappings.change):
        event(pairs_box, asked, pairs, queue=False, trigger_mode="always_last", **QUIET)
    saved = editor.save(save, [visitor, dataset], [editor, samples], concurrency_limit=4, concurrency_id="datasets", **QUIET)
    # Whatever went wrong, be it the queue or the connection: the button does not stay at "Saving …".
    saved.failure(None, js="() => { document.querySelector('#correct-editor .se')?.saveFailed?.(); }", api_visibility="private")
    edited = samples.edit(
        edit, [visitor, dataset], editor, api_visibility="private", show_progress_on=editor, concurrency_limit=4,
        concurrency_id="datasets",
    )  # fmt: skip
    edited.success(None, js=INTO_VIEW, **QUIET)
    samples.remove(remove, [visitor, dataset], samples, concurrency_limit=4, concurrency_id="datasets", **QUIET)
    return CorrectTab(dataset, editor, mappings)


# As static/editor_start.js names what it uploads.
OWN_MASK = re.compile(r"mask(?:-\d+){4}\.png")
# On a phone the editor is below the controls. It grows, and the controls shrink, once the image is in it: that is waited for, a
# while, because nothing comes where the image could not be opened.
INTO_VIEW = """() => {
  const editor = document.querySelector('#correct-editor'), behavior = matchMedia('(prefers-reduced-motion: reduce)').matches ? 'auto' : 'smooth';
  const place = () => { const box = editor.getBoundingClientRect(); return box.top + scrollY + ' ' + box.height; };
  const until = performance.now() + 3000;
  const beside = editor.getBoundingClientRect().top < document.querySelector('#correct-open').getBoundingClientRect().top;
  let before = null, still = 0;
  const look = () => {
    const now = place();
    still = now === before && editor.querySelector('.se').dataset.state === 'open' ? still + 1 : 0;
    if (still > 2 || beside || performance.now() > until) return editor.scrollIntoView({ block: 'nearest', behavior });
    before = now;
    requestAnimationFrame(look);
  };
  look();
}"""


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
    return gr.Column(visible=False), gr.Column(visible=True), visitor_store(visitor).open(chosen)


def sentence_of(error: gr.Error) -> str:
    """What an error says, as text: gradio shows errors as HTML, so that ours are escaped."""
    return html.unescape(str(error.message))


def or_say_why(handler: Callable[..., Any]) -> Callable[..., Any]:
    """A handler whose failures the editor says itself: gradio would write "Error" over it, and the sentence would pass by.

    Args:
        handler: answers a value for the editor, or a tuple that begins with one.
    """

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> Any:
        try:
            return in_words(handler)(*arguments, **named)
        except gr.Error as error:
            refusal = Refusal(sentence_of(error))
            return refusal if handler is edit_sample else (refusal, *[gr.skip()] * 4)

    return answer


def pairs_box(visitor: object, chosen: object, classes: object, model: object, start: object, kept: object) -> Any:
    """The box of pairs for what is chosen now."""
    if start != "model":
        return gr.Dropdown(visible=False)
    store = visitor_store(visitor) if may_collect() and owner_of(visitor) else None
    try:
        typed = correct_work.class_names(classes)
    except SegDemoError:
        typed = []
    return class_mapping.box(kept, store, chosen, typed, model)


@or_say_why
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
    pairs: object,
    kept: object,
    request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Document, Any, Any, Any, Any]:
    """An image into the editor; a new dataset is made for it if none is chosen.

    Returns:
        The document, the picker of datasets, the emptied name, what is kept of class mappings, and their box.
    """
    language, guide = language_of(request), model if start == "model" else None
    mapping = class_mapping.pairs_of(pairs) if guide else {}

    def report(part: float | None, text: str) -> None:
        progress(part, desc=text)

    if not may_collect():
        if task not in ("semantic", "instance"):
            raise BadRequestError(f"The kind of masks is semantic or instance, but got {str(task)[:40]!r}.")
        labels = correct_work.labels_for(classes, guide, task)
        document = correct_work.begin(upload, labels, str(task), start, model, mask, mapping, report)
        mention(document.drawing, language)
        return document, gr.skip(), gr.skip(), gr.skip(), gr.skip()
    store = visitor_store(visitor)
    if chosen != NEW:
        dataset = store.open(chosen)
        document = correct_work.begin(upload, dataset.labels, dataset.task, start, model, mask, mapping, report)
        mention(document.drawing, language)
        kept, box = _remembered(store, dataset.key, guide, mapping, kept)
        return replace(document, dataset=dataset.key, dataset_name=dataset.name), gr.skip(), gr.skip(), kept, box
    labels = correct_work.labels_for(classes, guide, task)
    # Only an image that could be opened makes a dataset.
    document = correct_work.begin(upload, labels, str(task), start, model, mask, mapping, report)
    dataset = store.create(str(name or "").strip() or document.name, labels, str(task))
    mention(document.drawing, language)
    picker = gr.Dropdown(dataset_choices(store.list()), value=dataset.key)
    kept, box = _remembered(store, dataset.key, guide, mapping, kept)
    return replace(document, dataset=dataset.key, dataset_name=dataset.name), picker, "", kept, box


def _remembered(store: Store, dataset: str, model: object, mapping: dict[str, str], kept: object) -> tuple[Any, Any]:
    """What the browser keeps of a mapping, and the box anew: by now the model is loaded, and its classes are known."""
    if not model:
        return gr.skip(), gr.skip()
    _, suggested = class_mapping.offered(kept, store, dataset, [], model)
    if mapping or suggested:
        # Also that a suggestion was not wanted.
        kept = class_mapping.with_chosen(kept, dataset, class_mapping.menu_key(model), mapping)
    return kept, class_mapping.box(kept, store, dataset, [], model)


def mention(drawing: Drawing | None, language: str) -> None:
    """Tell the visitor how a mask file was read, and which predicted classes the dataset does not have."""
    if drawing is None:
        return
    for note in drawing.notes:
        gr.Info(html.escape(told(note, language)))
    if missing := drawing.missing:
        names = words("separator", language).join(missing[:8]) + (" …" if len(missing) > 8 else "")
        gr.Info(html.escape(words("correct_missing", language).format(names=names)))


def save(visitor: object, chosen: object, event: gr.EventData) -> tuple[Answer, Any]:
    """What the editor sent becomes a sample; a failure is said, and the editor keeps what was drawn.

    Where another dataset has been chosen since the image was opened, nothing is saved until the person has said which it is.
    """
    sent = event._data if isinstance(event._data, dict) else {}
    doc = str(sent.get("doc"))
    try:
        store = in_words(visitor_store)(visitor)
        if sent.get("into") is None and chosen != sent.get("dataset"):
            return in_words(which)(store, sent, chosen), gr.skip()
        dataset, sample = in_words(correct_work.keep)(store, sent)
    except gr.Error as error:
        return Answer(doc, None, why=sentence_of(error)), gr.skip()
    finally:
        _forget(sent.get("mask"))
    return Answer(doc, sample.stem, Place(dataset.key, dataset.name)), dataset if dataset.key == chosen else gr.skip()


def which(store: Store, sent: dict[str, Any], chosen: object) -> Answer:
    """The question into which dataset a mask is to be saved: that which it was opened for, or that which is chosen now.

    Raises:
        BadRequestError: neither can take it; the message says why.
    """
    known = {dataset.key: dataset for dataset in store.list()}
    opened, now = known.get(str(sent.get("dataset"))), known.get(str(chosen))
    reason = correct_work.unfit(now, sent) if now is not None else ""
    other = Place(now.key, now.name) if now is not None and not reason else None
    if opened is None and other is None:
        raise BadRequestError(reason or "The dataset that this image was opened for has been deleted. Choose another one, then save again.")
    place = None if opened is None else Place(opened.key, opened.name)
    return Answer(str(sent.get("doc")), None, place, other, None if now is None else now.name, asks=True)


def _forget(path: object) -> None:
    """Delete an uploaded mask: it has been stored, or will be sent again. What was named may be anything; what has not the
    editor's own kind of name may be another visitor's too, whose file has the same content."""
    with contextlib.suppress(BadRequestError, OSError):
        mask = correct_work.uploaded(path)
        if OWN_MASK.fullmatch(mask.name) and only_uploaded(str(mask)):
            mask.unlink()


def edit_sample(visitor: object, chosen: object, event: gr.EventData) -> Document:
    """A stored sample into the editor."""
    return correct_work.again(visitor_store(visitor).open(chosen), _stem(event))


edit = or_say_why(edit_sample)


@in_words
def remove(visitor: object, chosen: object, event: gr.EventData) -> Dataset:
    """Delete a sample; the list without it."""
    dataset = visitor_store(visitor).open(chosen)
    dataset.delete(_stem(event))
    return dataset


def _stem(event: gr.EventData) -> Any:
    return event._data.get("stem") if isinstance(event._data, dict) else None
