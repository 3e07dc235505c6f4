"""The tab in which a person corrects masks and collects them as a dataset.

A mask is opened to draw on (from a model, a file, or straight from a result of another tab), and taken back; what a browser sends is
checked.

The queue of the tab: many pictures, one after the other, those first of which a model is least sure. The browser keeps the list, what is done
and where it stands (``static/queue.js``), so that a reload loses nothing; the server keeps the pictures among the uploads, and is named one
of them to open. Results are not kept: the model that ranked a picture segments it again when it is opened.
"""

from __future__ import annotations

import contextlib
import html
import re
import secrets
import threading
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from seg_demo.annotations.convert import ONE
from seg_demo.core import (
    INSTANCE, TASKS, BadRequestError, LabelSet, Message, Options, Report, SegDemoError, Segmentation, View, in_language, owner_of, plain_name,
)
from seg_demo.datasets.dataset import Dataset, clean_names, label_set, with_background
from seg_demo.datasets.sample import IGNORE_ID, Drawing, Facts, from_annotations, from_mask, from_prediction
from seg_demo.datasets.store import DRAWN, Store, drawn_as, may_collect, visitor_store
from seg_demo.gateway.queue import BATCHES, QUIET, UNQUEUED, in_words, one_batch, predictor, rendering, work_limits
from seg_demo.gateway.visitor import Files, Upload, stem_of
from seg_demo.inputs.images import read
from seg_demo.inputs.mask_files import read_mask, read_object_map
from seg_demo.ui import menu
from seg_demo.ui.batch_tab import FILE_TYPES, BatchTab, Ran, gathered, patiently, picture_at, planned
from seg_demo.ui.components import STATIC, Choice, Outcome, ViewStrip, examples, follow_file, image_box, language_of, outcome, plain_files, reporting, t, view_in, viewed, words
from seg_demo.ui.editor import (
    NEW, Answer, Counted, Document, MaskEditor, Place, Refusal, SampleList, again, bring_panel, dataset_choices, described_by, drawn_result,
    export_panel, forget, keep, unfit,
)  # fmt: skip
from seg_demo.ui.results import Result

if TYPE_CHECKING:
    from seg_demo.ui.editor import Described


@dataclass(frozen=True)
class CorrectTab:
    """What others fill in.

    Attributes:
        dataset: the picker of datasets.
        editor: shows a :class:`~seg_demo.ui.editor.Document`.
        mappings: what was chosen for classes whose names differ, in the browser.
        queue: of pictures that wait.
        start: what a mask begins with.
        model: that it begins with.
    """

    dataset: gr.Dropdown
    editor: MaskEditor
    mappings: gr.BrowserState
    queue: QueuePanel
    start: gr.Radio
    model: gr.Dropdown


def correct_tab(tab: gr.Tab, visitor: gr.BrowserState) -> CorrectTab:
    """Build the tab in the current Blocks.

    Args:
        tab: this one; opening it reads the menu anew.
        visitor: the visitor's key, in their browser.
    """
    collects, mappings = may_collect(), menu.mapping_state()
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
                    [(t(f"correct_{task}"), task) for task in DRAWN], value=DRAWN[0],
                    label=t("correct_task"), elem_id="correct-task",
                )  # fmt: skip
                classes = gr.Textbox(
                    label=t("correct_classes"), info=t("correct_classes_info"), lines=2, max_lines=8,
                    elem_id="correct-classes",
                )  # fmt: skip
            if collects:
                bring_panel(visitor, dataset)
            photo, strip = image_box("correct"), ViewStrip(kind="alone", elem_id="correct-view")
            follow_file(strip, photo)
            start = gr.Radio(
                [(t(f"correct_from_{key}"), key) for key in STARTS], value="model", label=t("correct_start"), elem_id="correct-start",
            )  # fmt: skip
            choices = menu.choices(*TASKS)
            model = gr.Dropdown(
                choices, value=menu.first_network(), allow_custom_value=True,
                filterable=True, label=t("model"), elem_id="correct-model",
            )  # fmt: skip
            with gr.Column(visible=menu.spec_of("unet-cells") is not None, elem_classes="examples"):
                examples(("coins.png", "nuclei.jpg", "tissue.jpg"), "unet-cells", photo, model, t("examples_cells"), "correct-examples")
            pairs = Choice(
                choices=[], value=[], multiselect=True, visible=False, label=t("correct_pairs"), info=t("correct_pairs_info"),
                elem_id="correct-pairs",
            )  # fmt: skip
            mask = Files(
                label=t("correct_mask"), file_count="single", file_types=["image", *sorted(ONE), ".npy"], height=160, visible=False, elem_id="correct-mask",
            )  # fmt: skip
            mask_info = gr.Markdown(t("correct_mask_info"), elem_classes="note", visible=False)
            opener = gr.Button(t("correct_open"), variant="primary", elem_id="correct-open")
            queue = queue_panel()
        with gr.Column(scale=10, min_width=300):
            queue.listed.render()
            editor = MaskEditor(elem_id="correct-editor")
            with gr.Column(elem_classes="outcome", elem_id="corrected"):
                gr.Markdown(t("corrected_stale"), elem_classes="note", elem_id="corrected-stale")
                counted = outcome("corrected", INSTANCE)
            with gr.Column(visible=False, elem_id="correct-collected") as collected:
                samples = SampleList(elem_id="correct-samples")
                export_panel(visitor, dataset, samples)
    menu.follow(tab, model, *TASKS)
    before, after, changed = [visitor, dataset, name, task, classes], [start, model, mask, pairs, mappings], [editor, dataset, name, mappings, pairs]
    to_editor = {"api_visibility": "private", "show_progress_on": editor, **work_limits()}
    opened = opener.click(viewed(open_new, len(before)), [*before, photo, strip, *after], changed, **to_editor)
    opened.success(None, js=INTO_VIEW, **QUIET)
    queue.begin.click(make_queue, [queue.files, start, model], queue.listed, show_progress_on=queue.begin, **LONG)
    queue.listed.edit(open_item, [*before, *after], changed, **to_editor).success(None, js=INTO_VIEW, **QUIET)
    dataset.change(choose, [visitor, dataset], [fresh, collected, samples], **UNQUEUED)
    start.change(
        lambda start: (gr.Dropdown(visible=start == "model"), gr.File(visible=start == "mask"), gr.Markdown(visible=start == "mask")), start,
        [model, mask, mask_info], **UNQUEUED,
    )  # fmt: skip
    asked = [visitor, dataset, classes, model, start, mappings]
    for event in (dataset.change, classes.blur, model.change, start.change, mappings.change):
        event(pairs_box, asked, pairs, trigger_mode="always_last", **UNQUEUED)
    saved = editor.save(save, [visitor, dataset], [editor, samples], concurrency_limit=4, concurrency_id="datasets", **QUIET)
    # Whatever went wrong, be it the queue or the connection: the button does not stay at "Saving …".
    saved.failure(None, js="() => { document.querySelector('#correct-editor .se')?.saveFailed?.(); }", api_visibility="private")
    measured = editor.submit(count_drawing, visitor, [*counted.outputs, editor], concurrency_limit=4, concurrency_id="files", **QUIET)
    measured.failure(None, js="() => { document.querySelector('#correct-editor .se')?.countFailed?.(); }", api_visibility="private")
    edited = samples.edit(
        edit, [visitor, dataset], editor, api_visibility="private", show_progress_on=editor, concurrency_limit=4,
        concurrency_id="datasets",
    )  # fmt: skip
    edited.success(None, js=INTO_VIEW, **QUIET)
    samples.remove(remove, [visitor, dataset], samples, concurrency_limit=4, concurrency_id="datasets", **QUIET)
    return CorrectTab(dataset, editor, mappings, queue, start, model)


INTO_VIEW = (STATIC / "into_view.js").read_text(encoding="utf-8").strip()


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
        typed = class_names(classes)
    except SegDemoError:
        typed = []
    return menu.box(kept, store, chosen, typed, model)


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
    mask: str | None,
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
    mapping = menu.pairs_of(pairs) if guide else {}
    file = Upload(Path(mask), stem_of(mask)) if mask else None
    described = described_by(file, upload) if start == "mask" else None

    def begun(labels: LabelSet, task: str) -> Document:
        return begin(upload, labels, task, start, model, file, mapping, reporting(progress), language, described)

    if not may_collect():
        if task not in DRAWN:
            raise BadRequestError("corrections.bad_task", value=str(task)[:40])
        labels = labels_for(classes, guide, task, described)
        return begun(labels, str(task)), gr.skip(), gr.skip(), gr.skip(), gr.skip()
    store = visitor_store(visitor)
    if chosen != NEW:
        dataset = store.open(chosen)
        document = begun(dataset.labels, dataset.task)
        kept, box = _remembered(store, dataset.key, guide, mapping, kept)
        return replace(document, dataset=dataset.key, dataset_name=dataset.name), gr.skip(), gr.skip(), kept, box
    labels = labels_for(classes, guide, task, described)
    # Only an image that could be opened makes a dataset.
    document = begun(labels, str(task))
    dataset = store.create(str(name or "").strip() or document.name, labels, str(task))
    picker = gr.Dropdown(dataset_choices(store.list()), value=dataset.key)
    kept, box = _remembered(store, dataset.key, guide, mapping, kept)
    return replace(document, dataset=dataset.key, dataset_name=dataset.name), picker, "", kept, box


@or_say_why
def open_item(
    visitor: object, chosen: object, name: object, task: object, classes: object, start: object, model: object, mask: str | None,
    pairs: object, kept: object, event: gr.EventData,
    request: gr.Request, progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Document, Any, Any, Any, Any]:  # fmt: skip
    """A picture of the queue into the editor: as the sample that it has become, else as :func:`open_new` opens it."""
    sent = event._data.get("item") if isinstance(event._data, dict) else None
    item = sent if isinstance(sent, dict) else {}
    path, done = str(item.get("path")), item.get("done")
    if isinstance(done, dict) and may_collect():
        with contextlib.suppress(SegDemoError):  # deleted meanwhile: it begins anew
            stored = again(visitor_store(visitor).open(done.get("dataset")), done.get("stem"))
            return replace(stored, queue=path), *[gr.skip()] * 4
    upload = picture_at(path, str(item.get("name")))
    # More pictures will join a new dataset, so it is not called after this one.
    name = str(name or "").strip() or words("queue_dataset", language_of(request))
    document, *others = open_new.__wrapped__(visitor, chosen, name, task, classes, upload, start, model, mask, pairs, kept, request, progress)
    return replace(document, queue=path), *others


def _remembered(store: Store, dataset: str, model: object, mapping: dict[str, str], kept: object) -> tuple[Any, Any]:
    """What the browser keeps of a mapping, and the box anew: by now the model is loaded, and its classes are known."""
    if not model:
        return gr.skip(), gr.skip()
    _, suggested = menu.offered(kept, store, dataset, [], model)
    if mapping or suggested:
        # Also that a suggestion was not wanted.
        kept = menu.with_chosen(kept, dataset, menu.menu_key(model), mapping)
    return kept, menu.box(kept, store, dataset, [], model)


def notes_of(drawing: Drawing | None, language: str) -> tuple[str, ...]:
    """How a mask file was read, and which predicted classes the dataset does not have."""
    if drawing is None or not drawing.missing:
        return () if drawing is None else drawing.notes
    names = words("separator", language).join(drawing.missing[:8]) + (" …" if len(drawing.missing) > 8 else "")
    return (*drawing.notes, words("correct_missing", language).format(names=names))


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
        dataset, sample = in_words(keep)(store, sent)
    except gr.Error as error:
        return Answer(doc, None, why=sentence_of(error)), gr.skip()
    finally:
        forget(sent.get("mask"))
    return Answer(doc, sample.stem, Place(dataset.key, dataset.name)), dataset if dataset.key == chosen else gr.skip()


def count_drawing(visitor: object, event: gr.EventData) -> tuple[Any, Any, Any]:
    """What the editor sent as a result, to be counted and measured; a failure is said in the editor."""
    sent = event._data if isinstance(event._data, dict) else {}
    try:
        result = in_words(drawn_result)(visitor, sent)
    except gr.Error as error:
        return gr.skip(), gr.skip(), Counted(str(sent.get("doc")), why=sentence_of(error))
    finally:
        forget(sent.get("mask"))
    return result, result, Counted(str(sent.get("doc")))


def which(store: Store, sent: dict[str, Any], chosen: object) -> Answer:
    """The question into which dataset a mask is to be saved: that which it was opened for, or that which is chosen now.

    Raises:
        BadRequestError: neither can take it; the message says why.
    """
    known = {dataset.key: dataset for dataset in store.list()}
    opened, now = known.get(str(sent.get("dataset"))), known.get(str(chosen))
    reason = unfit(now, sent) if now is not None else ""
    other = Place(now.key, now.name) if now is not None and not reason else None
    if opened is None and other is None:
        raise BadRequestError(reason or Message("corrections.dataset_deleted"))
    place = None if opened is None else Place(opened.key, opened.name)
    return Answer(str(sent.get("doc")), None, place, other, None if now is None else now.name, asks=True)


def edit_sample(visitor: object, chosen: object, event: gr.EventData) -> Document:
    """A stored sample into the editor."""
    return again(visitor_store(visitor).open(chosen), _stem(event))


edit = or_say_why(edit_sample)


@in_words
def remove(visitor: object, chosen: object, event: gr.EventData) -> Dataset:
    """Delete a sample; the list without it."""
    dataset = visitor_store(visitor).open(chosen)
    dataset.delete(_stem(event))
    return dataset


def _stem(event: gr.EventData) -> Any:
    return event._data.get("stem") if isinstance(event._data, dict) else None


STARTS = ("model", "mask", "blank", "paint")
# The score that a predicted object must reach to be drawn.
THRESHOLD = 0.5


def class_names(text: object) -> list[str]:
    """The class names that a person typed, one per line or with commas between.

    Raises:
        DataError: a name that no class can have.
    """
    return clean_names([name for name in re.split(r"[\n,;，；、]+", str(text or "")) if name.strip()])


def labels_for(typed: object, model: object, task: object, described: Described | None = None) -> LabelSet:
    """The classes of a new dataset: as typed, else those of the model or of the file that the first mask starts from.

    Args:
        typed: class names as a person typed them, perhaps none.
        model: id of a model, or None if no model is used.
        task: of the dataset.
        described: of :func:`described_by`.

    Raises:
        BadRequestError: none are typed, and there is no model and no file that has any.
        DataError: too many, or a name that no class can have.
        SegDemoError: the model cannot be loaded.
    """
    names = class_names(typed)
    if not names and model:
        known = predictor().get(str(model)).labels
        if known is not None and known.names != ("background", "region"):
            return with_background(known) if TASKS[task].objects else label_set(known)
    if not names and described is not None:
        known = described[0].segmentation.labels
        names = [name for index, name in enumerate(known.names) if index != known.background]
    if not names:
        raise BadRequestError("corrections.type_classes")
    return label_set(names)


def begin(
    upload: Upload | None, labels: LabelSet, task: str, start: object, model: object, mask: Upload | None, mapping: dict[str, str],
    report: Report, language: str = "en", described: Described | None = None,
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
        language: of the notes.
        described: what ``mask`` says, where it is a file of another tool.

    Returns:
        The document, without a dataset.

    Raises:
        SegDemoError: anything that cannot be used.
    """
    if upload is None:
        raise BadRequestError("corrections.no_image")
    if start not in STARTS:
        raise BadRequestError("corrections.bad_start", starts=", ".join(STARTS), value=str(start)[:40])
    if start == "mask" and mask is None:
        raise BadRequestError("corrections.no_mask_file")
    drawing: Drawing | None = None
    facts = Facts(source=str(start))
    models = [model] if start == "model" else []
    options = Options(THRESHOLD, confidence=True, view=upload.view)
    with predictor().work(upload.path, *models, options=options, report=report) as work:
        image, notes, view = work.picture.pixels, work.picture.notes, work.picture.view
        if start == "model":
            result = work.segment().above(options.threshold)
            notes = result.notes
            drawing = from_prediction(result, labels, task, mapping)
            facts = Facts(confidence=drawing.confidence, source=str(model)[:120])
        elif described is not None:
            drawing = from_annotations(described[0], labels, task)
            notes += described[1]
        elif start == "mask":
            opened = (read_object_map if TASKS[task].objects else read_mask)(mask.path)
            drawing = from_mask(opened, image.shape[:2], labels, task)
        elif start == "paint":
            if TASKS[task].objects:
                raise BadRequestError("corrections.paint_classes")
            drawing = Drawing(np.full(image.shape[:2], IGNORE_ID, dtype=np.uint16), None, notes=(Message("corrections.paint_first"),))
    notes += notes_of(drawing, language)
    return Document(task, labels, image, drawing, upload.stem, upload.path, None, facts=facts, notes=notes, view=view)


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


def correct_batch(batched: BatchTab, correcting: CorrectTab, tabs: gr.Tabs) -> None:
    """Connect the button of a batch with the queue: its pictures and its model, the least sure first."""
    made = batched.correct.click(
        lambda ran: (gr.Radio(value="model"), gr.Dropdown(visible=True, **({"value": ran.model} if ran else {})), gr.Tabs(selected="correct")),
        batched.ran, [correcting.start, correcting.model, tabs], **UNQUEUED,
    )  # fmt: skip
    made.then(queue_of_batch, batched.ran, correcting.queue.listed, show_progress_on=correcting.editor, **LONG)


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
        raise BadRequestError("results.nothing_to_correct")
    if not result.upload.path.is_file():
        raise BadRequestError("results.upload_is_gone")
    found, task = result.shown, drawn_as(result.shown.task)
    store = visitor_store(visitor) if may_collect() else None
    dataset, mapping = (None, {}) if store is None else fitting(store, found, kept)
    labels = labels_of(found) if dataset is None else dataset.labels
    with rendering():
        image = read(result.upload.path, view=found.view).pixels
        drawing = from_prediction(found, labels, task, mapping)
    if store is not None and dataset is None:
        # More pictures will join it, so it is not called after this one.
        dataset = store.create(found.model.title if found.model else result.upload.stem, labels, task)
    facts = Facts(confidence=drawing.confidence, source=(found.model.key if found.model else "")[:120])
    document = Document(
        task, labels, image, drawing, result.upload.stem, result.upload.path,
        None if dataset is None else dataset.key, dataset_name="" if dataset is None else dataset.name, facts=facts,
        notes=found.notes + notes_of(drawing, language_of(request)), view=found.view,
    )  # fmt: skip
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
    wanted = {plain_name(name) for index, name in enumerate(found.labels.names) if index != found.labels.background}
    for dataset in store.list():
        mapping = menu.remembered(kept, dataset.key, found.model.key) if found.model else None
        left = wanted - {plain_name(name) for name in (*dataset.labels.names, *(mapping or {}))}
        if dataset.task == drawn_as(found.task) and not (left - menu.HELPERS if mapping else left):
            return dataset, mapping or {}
    return None, {}


def labels_of(found: Segmentation) -> LabelSet:
    """The classes of a new dataset for a result: its model's; objects need a background, which some models do not name."""
    return with_background(found.labels) if TASKS[found.task].objects else label_set(found.labels)


# More pictures than anybody corrects in a row; the browser keeps a line for each.
MOST_ITEMS = 1000


@dataclass(frozen=True)
class Item:
    """A picture that waits.

    Attributes:
        name: as the person called it, its folder in an archive included.
        path: what the browser names it by: where it lies among the uploads, and what of it is looked at (:attr:`~seg_demo.ui.batch_tab.Planned.named`).
        margin: how sure the model is of it: the mean margin of its pixels in [0, 1]; None where nothing was predicted.
    """

    name: str
    path: str
    margin: float | None = None


@dataclass(frozen=True)
class Queue:
    """What the browser is given.

    Attributes:
        items: in the order in which they come.
        failed: names of files that cannot be used, and why.
        id: tells queues apart.
    """

    items: tuple[Item, ...]
    failed: tuple[tuple[str, str], ...] = ()
    id: str = field(default_factory=lambda: secrets.token_hex(8))


class QueueList(gr.HTML):
    """Shows a :class:`Queue`; its event ``edit`` carries the ``item`` that is to be opened: ``name``, ``path``, and ``done``, the sample that it has become."""

    def __init__(self, value: Queue | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(value=value, **plain_files("queue", ("viewer_text.js", "queue.js")), elem_id=elem_id, render=render)

    def postprocess(self, value: Queue | None) -> dict[str, Any] | None:
        """What the browser receives.

        Args:
            value: a new queue; None leaves the one that is there.
        """
        return None if value is None else asdict(value)

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "pictures that wait to be corrected"}


@dataclass(frozen=True)
class QueuePanel:
    """The controls of the queue.

    Attributes:
        files: images and archives.
        begin: the button that makes a queue of them.
        listed: the queue.
    """

    files: Files
    begin: gr.Button
    listed: QueueList


def queue_panel() -> QueuePanel:
    """Build the controls in the current Blocks; :func:`make_queue` is connected by the tab."""
    with gr.Accordion(t("queue"), open=False, elem_id="correct-queue-box"):
        gr.Markdown(t("queue_lead"), elem_classes="note")
        files = Files(label=t("queue_files"), file_count="multiple", file_types=FILE_TYPES, height=120, elem_id="correct-queue-files")
        begin = gr.Button(t("queue_begin"), elem_id="correct-queue-begin")
    return QueuePanel(files, begin, QueueList(elem_id="correct-queue", render=False))


# Event arguments of what goes through many pictures.
LONG: dict[str, Any] = {"concurrency_limit": BATCHES, "concurrency_id": "batch", "api_visibility": "private"}


@in_words
def make_queue(
    files: list[str] | None, start: object, model: object, request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
    view: View | None = None,
) -> Queue:  # fmt: skip
    """A queue of uploaded images and archives; with a model, every picture is segmented once, and the least sure come first.

    With a view of all pages each of them is a picture.

    Raises:
        BadRequestError: there is no picture, or too many.
        SegDemoError: the model cannot be had.
    """
    if not files:
        raise BadRequestError("batches.no_file")
    with one_batch():
        picked, refused = gathered(files)
        images, unknown = planned(picked, view)
        if len(images) > MOST_ITEMS:
            raise BadRequestError("batches.too_many_images", most=MOST_ITEMS)
        failed, items = [(left.name, left.why) for left in (*refused, *unknown)], []
        for number, picture in enumerate(images):
            progress((number, len(images)), desc=picture.name[-60:])
            try:
                items.append(Item(picture.name, picture.named, margin_of(picture.path, model, picture.view) if start == "model" else None))
            except SegDemoError as error:
                failed.append((picture.name, error.message))
                if number == len(images) - 1 and not items:
                    raise  # of none: then the fault is not a picture's
    language = language_of(request)
    return Queue(ranked(items), tuple((name, in_language(why, language)) for name, why in failed))


@in_words
def queue_of_batch(
    ran: Ran | None, request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> Queue:  # fmt: skip
    """The queue of a batch that is done: of what was looked at of its files, by the model that it was run with."""
    if ran is None:
        raise BadRequestError("results.upload_is_gone")
    return make_queue.__wrapped__(ran.files, "model", ran.model, request, progress, View.parse(view_in(ran.view)))


def margin_of(path: Path, model: object, view: View | None = None) -> float | None:
    """How sure a model is of a picture: the mean margin of its pixels in [0, 1]; None of methods that know no doubt.

    Raises:
        SegDemoError: a picture or a model that cannot be used.
    """
    if not model:
        raise BadRequestError("requests.no_model")

    def segmented() -> float | None:
        with predictor().work(path, str(model), options=Options(confidence=True, view=view)) as work:
            found = work.segment().above(0.5)
            return None if found.confidence is None else float(found.margin_sums.sum()) / found.id_map.size

    return patiently(segmented, threading.Event())


def ranked(items: Sequence[Item]) -> tuple[Item, ...]:
    """The least sure first, those of which nothing is known last, in their order."""
    return tuple(sorted(items, key=lambda item: (item.margin is None, item.margin)))
