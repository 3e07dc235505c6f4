"""The editor: a ``gr.HTML`` subclass in plain files in which a person draws a mask at the full size of its image.

The browser holds the mask and its history; the server is asked for superpixels alone, and told when a mask is to be saved
(event ``save``). What it sends is checked, and becomes a sample of a dataset (:func:`keep`) or a result (:func:`drawn_result`).

Beside it stands the list of a dataset's samples, which says what is to be edited or deleted, and below that the dataset as a zip,
its push to the Hub, and its deletion.
"""

from __future__ import annotations

import base64
import contextlib
import html
import io
import math
import os
import re
import secrets
import shutil
import uuid
from dataclasses import asdict, dataclass, field, replace
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np
from gradio import utils
from PIL import Image

from seg_demo.annotations.convert import SUFFIXES, found_on, is_annotations
from seg_demo.core import IGNORE, TASKS, BadRequestError, DataError, LabelSet, Message, Options, in_language
from seg_demo.datasets.dataset import Dataset, clean_names
from seg_demo.datasets.sample import IGNORE_ID, MOST_OBJECTS, THUMBNAIL_SIDE, Drawing, Facts, Sample, corrected, from_sample, truth
from seg_demo.datasets.store import DRAWN, TOOLS, Store, bring, visitor_store, zip_for
from seg_demo.gateway.queue import BATCHES, QUIET, UNQUEUED, in_words, one_batch, only_uploaded, predictor, rendering
from seg_demo.gateway.visitor import Files, Upload, login_offered, stem_of, token_for, uploaded
from seg_demo.inputs.images import decode, decode_mask, read
from seg_demo.masks.regions import PixelClassifier
from seg_demo.outputs import draw
from seg_demo.ui.batch_tab import listed
from seg_demo.ui.components import language_of, plain_files, served_file, spoken, t, words
from seg_demo.ui.results import CachedResult, Result, preview_of

if TYPE_CHECKING:
    from seg_demo.core import View
    from seg_demo.outputs.interchange import Annotated

    # What a file of another tool says about a picture, and how it was read.
    Described = tuple[Annotated, tuple[Message, ...]]

# One scope in the browser, in this order: each file may use the ones before it.
EDITOR_SCRIPTS = (
    "viewer_text.js", "editor_text.js", "viewer_ids.js", "viewer_view.js", "editor_layer.js", "editor_shapes.js",
    "viewer_doubt.js", "editor_predict.js", "editor_png.js", "editor_drafts.js", "editor_document.js", "editor_regions.js", "editor_screen.js", "editor_panel.js", "editor_click.js", "editor_tools.js",
    "editor_input.js", "editor.js", "editor_start.js",
)  # fmt: skip
IGNORE_COLOR = (128, 128, 128)
PATCHES = (2, 5000)


@dataclass(frozen=True, eq=False)
class Document:
    """An image opened for drawing.

    Attributes:
        task: ``semantic`` or ``instance``.
        labels: the classes.
        image: uint8 (H, W, 3), RGB, upright.
        drawing: what to begin with, or None for nothing.
        name: of the image, for the person.
        original: the file that the person sent, which the browser sends back with a new mask; None for stored samples.
        dataset: key of the dataset that it is saved into, or None where nothing can be stored.
        stem: of the sample in the dataset, or None for a new one.
        dataset_name: of that dataset, as a person called it.
        facts: how the mask came about so far.
        notes: what a person should know of how the picture and the mask were read, a sentence each.
        queue: the picture of a queue that it is, by its place among the uploads; None for others.
        view: what of the original is looked at; None for photographs.
        id: tells documents apart.
    """

    task: str
    labels: LabelSet
    image: np.ndarray
    drawing: Drawing | None
    name: str
    original: Path | None
    dataset: str | None
    stem: str | None = None
    dataset_name: str = ""
    facts: Facts = field(default_factory=Facts)
    notes: tuple[str, ...] = ()
    queue: str | None = None
    view: View | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Place:
    """A dataset that a mask can be saved into.

    Attributes:
        key: of the dataset.
        name: as a person called it.
    """

    key: str
    name: str


@dataclass(frozen=True)
class Answer:
    """What became of a save.

    Attributes:
        doc: id of the document.
        stem: of the sample; None if it was not saved.
        place: where it was saved; or, where it was not saved because another dataset has been chosen meanwhile, the one that it
            was opened for, if that is still there.
        other: the one that was chosen meanwhile, if it can be saved there.
        chosen: name of what was chosen meanwhile; None if that is no dataset yet.
        asks: whether the person is to say which.
        why: why it was not saved, in words.
        id: tells answers apart: the page is told only of a value that differs from the one before.
    """

    doc: str
    stem: str | None
    place: Place | None = None
    other: Place | None = None
    chosen: str | None = None
    asks: bool = False
    why: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Refusal:
    """Why nothing was opened.

    Attributes:
        text: a sentence.
        id: tells refusals apart.
    """

    text: str
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


@dataclass(frozen=True)
class Counted:
    """That a drawing has been counted, or why not.

    Attributes:
        doc: id of the document.
        why: why not, in words; None where it was.
        id: tells answers apart.
    """

    doc: str
    why: str | None = None
    id: str = field(default_factory=lambda: uuid.uuid4().hex)


class MaskEditor(gr.HTML):
    """Shows a :class:`Document`, is told an :class:`Answer`, a :class:`Counted` or a :class:`Refusal`; None leaves it as it is.

    Its ``kind`` is ``correct``, or ``click`` for the tab in which one thing is cut out of a picture.
    """

    def __init__(
        self, value: Document | Answer | Counted | Refusal | None = None, *, kind: str = "correct", elem_id: str | None = None, render: bool = True
    ) -> None:
        super().__init__(
            value=value,
            kind=kind,
            **plain_files("editor", EDITOR_SCRIPTS),
            elem_id=elem_id,
            server_functions=[superpixels, predicted],
            render=render,
        )

    def postprocess(self, value: Document | Answer | Counted | Refusal | None) -> dict[str, Any] | None:
        """What the browser receives: the picture and the ids as files, the rest as data.

        Args:
            value: a document to open, the answer to a save, or why there is none.
        """
        if value is None:
            return None
        if isinstance(value, Refusal):
            return {"refusal": asdict(value)}
        if isinstance(value, Counted):
            return {"counted": asdict(value)}
        if isinstance(value, Answer):
            return {"answer": asdict(value) | {"failed": value.stem is None}}
        height, width = value.image.shape[:2]
        labels, drawing, facts = value.labels, value.drawing, value.facts
        classes = [{"id": index, "name": name, "color": labels.colors[index].tolist()} for index, name in enumerate(labels.names)]
        objects = {} if drawing is None or drawing.objects is None else drawing.objects
        return {
            "doc": value.id,
            "task": value.task,
            "width": width,
            "height": height,
            "name": value.name,
            "classes": [*classes, {"id": IGNORE_ID, "name": "", "color": list(IGNORE_COLOR)}],
            "background": labels.background,
            "objects": [list(pair) for pair in objects.items()],
            "image": served_file(self, _picture(value.image), value.name + ".jpg"),
            "ids": None if drawing is None else served_file(self, _id_png(drawing.ids), "ids.png"),
            "original": None if value.original is None else served_file(self, value.original.read_bytes(), value.original.name),
            "dataset": value.dataset,
            "datasetName": value.dataset_name,
            "writable": value.dataset is not None,
            "stem": value.stem,
            "source": facts.source,
            "confidence": facts.confidence,
            "seconds": facts.seconds,
            "strokes": facts.strokes,
            "notes": [spoken(note) for note in value.notes],
            "queue": value.queue,
            "view": None if value.view is None else value.view.to_dict(),
        }

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "picture, ids and classes of a mask that is being drawn"}


def superpixels(request: Any) -> dict[str, str]:
    """SLIC superpixels of a picture that the browser has uploaded.

    Args:
        request: ``path`` of the upload, and ``count``, about how many there shall be.

    Returns:
        ``png``: base64 of an RGB PNG at the size of the picture, id = R + 256 * G; or ``error``: why there is none.
    """
    try:
        return {"png": base64.b64encode(_superpixels(request)).decode("ascii")}
    except gr.Error as error:
        return {"error": str(error.message)}


@in_words
def _superpixels(request: Any) -> bytes:
    asked = request if isinstance(request, dict) else {}
    count = asked.get("count")
    if not isinstance(count, int) or isinstance(count, bool) or not PATCHES[0] <= count <= PATCHES[1]:
        raise BadRequestError("editor.bad_count", low=PATCHES[0], high=PATCHES[1], value=str(count)[:40])
    path = uploaded(asked.get("path"))
    with predictor().work(path, "slic", options=Options(parameters={"regions": count})) as work:
        return draw.viewer_id_png(work.segment())


# Of the pixels of a map of margins: what a screen shows.
MOST_MARGINS = 4_000_000


def predicted(request: Any) -> dict[str, str]:
    """The rest of a picture of which a part has been painted, by a classifier of pixels that is made for it.

    Args:
        request: ``path`` of the picture and ``mask`` of the strokes, a grey PNG of class ids with 255 where nothing is painted; both uploads.

    Returns:
        ``ids``: base64 of an RGB PNG at the size of the picture, id = R + 256 * G; ``margin``: of a grey one, 255 where it is sure, perhaps thinned; or ``error``:
        why there is none.
    """
    try:
        ids, margin = (base64.b64encode(png).decode("ascii") for png in _predicted(request))
        return {"ids": ids, "margin": margin}
    except gr.Error as error:
        return {"error": html.unescape(str(error.message))}


@in_words
def _predicted(request: Any) -> tuple[bytes, bytes]:
    asked = request if isinstance(request, dict) else {}
    picture, strokes = uploaded(asked.get("path")), uploaded(asked.get("mask"))
    with rendering():
        image, painted = decode(picture), decode_mask(strokes)[0]
        if painted.shape != image.shape[:2]:
            came, wanted = (f"{shape[1]} x {shape[0]}" for shape in (painted.shape, image.shape))
            raise DataError("drawings.other_size", came=came, wanted=wanted)
        if np.unique(painted[painted != IGNORE]).size < 2:
            raise BadRequestError("editor.too_few_classes")
        ids, margins = PixelClassifier.fit(image, painted, IGNORE).predict(image)
    step = math.ceil(math.sqrt(margins.size / MOST_MARGINS))
    return _id_png(ids), draw.encode_png(np.ascontiguousarray(margins[step // 2 :: step, step // 2 :: step]))


def _picture(image: np.ndarray) -> bytes:
    """A JPEG at full size, to draw on; small images without loss, since single pixels are looked at."""
    if image.shape[0] * image.shape[1] <= 1_000_000:
        return draw.encode_png(image)
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _id_png(ids: np.ndarray) -> bytes:
    """uint16 (H, W) as an opaque RGB PNG, id = R + 256 * G: a canvas has 8 bits per channel."""
    split = np.zeros((*ids.shape, 3), dtype=np.uint8)
    split[..., 0], split[..., 1] = ids & 255, ids >> 8
    return draw.encode_png(split)


def pairs_of(value: object, kind: type, most: int) -> dict[int, Any]:
    """[[whole number, ``kind``], ...] as a dictionary."""
    wrong = DataError("corrections.facts_unreadable")
    if not isinstance(value, list) or len(value) > most:
        raise wrong
    found = {}
    for pair in value:
        if not isinstance(pair, list) or len(pair) != 2 or not whole(pair[0], 65_535):
            raise wrong
        if not isinstance(pair[1], kind) or (kind is int and not whole(pair[1], 65_535)):
            raise wrong
        found[pair[0]] = pair[1]
    return found


def whole(value: object, most: int) -> bool:
    """Whether it is a whole number from 0 to ``most``."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= most


def facts_of(sent: dict[str, Any]) -> Facts:
    """The facts as sent; what cannot be is left out, for a mask must not be lost over a clock."""
    seconds, confidence = sent.get("seconds"), sent.get("confidence")
    return Facts(
        seconds=float(seconds) if _finite(seconds) and seconds >= 0 else 0.0,
        strokes=sent["strokes"] if whole(sent.get("strokes"), 2**31) else 0,
        confidence=float(confidence) if _finite(confidence) and 0 <= confidence <= 1 else None,
        source=str(sent.get("source") or "blank")[:120],
    )


def _finite(value: object) -> bool:
    # Before it is asked whether it is finite: a whole number may be larger than any float.
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) < 1e300 and math.isfinite(value)


SAMPLES_SCRIPTS = ("viewer_text.js", "samples.js")
# The last changed and the most doubtful ones; more would make the page slow.
LISTED = 150


class SampleList(gr.HTML):
    """Shows the samples of a :class:`~seg_demo.datasets.dataset.Dataset`; events ``edit`` and ``remove`` carry a ``stem``."""

    def __init__(self, value: Dataset | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("samples", SAMPLES_SCRIPTS),
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Dataset | None) -> dict[str, Any] | None:
        """What the browser receives: facts and thumbnails.

        Args:
            value: a dataset, or None for none.
        """
        if value is None:
            return None
        samples, unreadable = value.look()
        known = [sample for sample in samples if sample.facts.confidence is not None]
        doubtful = sorted(known, key=lambda sample: sample.facts.confidence)[:LISTED]
        shown = {sample.stem: sample for sample in (*samples[:LISTED], *doubtful)}
        rows = [
            {
                "stem": sample.stem,
                "name": sample.name,
                "width": sample.width,
                "height": sample.height,
                "objects": sample.objects,
                "saved": sample.saved,
                "seconds": sample.facts.seconds,
                "strokes": sample.facts.strokes,
                "confidence": sample.facts.confidence,
                "thumbnail": served_file(self, _thumbnail(sample), sample.stem + ".jpg"),
            }
            for sample in shown.values()
        ]
        named = [f"facts/{stem}.json" for stem in unreadable][:LISTED]
        return {"rows": rows, "total": len(samples), "dataset": value.key, "unreadable": named}

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "samples of a dataset"}


def _thumbnail(sample: Sample) -> bytes:
    """A sample's small picture; an empty one if that is gone, which costs nothing else."""
    try:
        return sample.thumbnail.read_bytes()
    except OSError:
        file = io.BytesIO()
        Image.new("L", (THUMBNAIL_SIDE, THUMBNAIL_SIDE), "grey").save(file, "JPEG")
        return file.getvalue()


NEW = "+"


def export_panel(visitor: gr.BrowserState, dataset: gr.Dropdown, samples: SampleList) -> None:
    """Build the panel in the current Blocks.

    Args:
        visitor: the visitor's key.
        dataset: the picker of datasets.
        samples: the list, emptied when its dataset is deleted.
    """
    with gr.Row(elem_classes="downloads shown"):
        pack = gr.Button(t("correct_zip"), size="sm", elem_id="correct-zip")
        tools = gr.Dropdown(
            [(t("for_tool"), ""), *((t(f"tool_{tool}"), tool) for tool in TOOLS)], value="", label=t("for_tool"), show_label=False, container=False,
            filterable=False, scale=0, min_width=180, elem_id="correct-tools",
        )  # fmt: skip
        delete = gr.Button(t("correct_delete"), size="sm", elem_id="correct-delete")
        sure = gr.Button(t("correct_delete_sure"), size="sm", variant="stop", visible=False, elem_id="correct-delete-sure")
    # Clicked by script as soon as the file is there: the visitor clicks once.
    link = gr.DownloadButton("", elem_id="correct-file", elem_classes="download-link")
    with gr.Accordion(t("correct_hub"), open=False, elem_id="correct-hub"):
        if login_offered():
            gr.LoginButton()
        with gr.Row():
            repo = gr.Textbox(label=t("correct_repo"), info=t("correct_repo_info"), max_length=200, elem_id="correct-repo")
            token = gr.Textbox(
                label=t("correct_token"), info=t("correct_token_info"), type="password", max_length=400,
                elem_id="correct-token", placeholder=None if os.environ.get("SPACE_ID") else t("push_token_local"),
            )  # fmt: skip
        with gr.Row():
            private = gr.Checkbox(True, label=t("correct_private"), elem_id="correct-private")
            push = gr.Button(t("correct_push"), elem_id="correct-push")
        said = gr.HTML("", elem_id="correct-pushed")
    made = pack.click(
        zip_of, [visitor, dataset], link, api_visibility="private", concurrency_limit=2, concurrency_id="zips",
        show_progress="minimal",
    )  # fmt: skip
    picked = tools.input(
        zip_for_tool, [visitor, dataset, tools], [link, tools], api_visibility="private", concurrency_limit=2, concurrency_id="zips",
        show_progress="minimal",
    )  # fmt: skip
    for event in (made, picked):
        event.success(None, js="() => setTimeout(() => document.querySelector('#correct-file').click(), 60)", **QUIET)
    delete.click(lambda: (gr.Button(visible=False), gr.Button(visible=True)), None, [delete, sure], **UNQUEUED)
    gone = sure.click(drop, [visitor, dataset], [dataset, samples], **UNQUEUED)
    # gradio's ``then`` does not follow a failure.
    for event in (gone.success, gone.failure, dataset.change):
        event(lambda: (gr.Button(visible=True), gr.Button(visible=False)), None, [delete, sure], **UNQUEUED)
    # The token leaves the page with the request: the box is emptied whether the push succeeds or not.
    pushed = push.click(
        push_to_hub, [visitor, dataset, repo, token, private], said, api_visibility="private", concurrency_limit=2,
        concurrency_id="pushes", show_progress="minimal",
    )  # fmt: skip
    for after in (pushed.success, pushed.failure):
        after(lambda: "", None, token, **UNQUEUED)


def bring_panel(visitor: gr.BrowserState, dataset: gr.Dropdown) -> None:
    """Build the controls that bring in a data set of another tool in the current Blocks.

    Args:
        visitor: the visitor's key.
        dataset: the picker of datasets, which is set to the new one.
    """
    with gr.Accordion(t("correct_bring"), open=False, elem_id="correct-bring-box"):
        gr.Markdown(t("correct_bring_lead"), elem_classes="note")
        files = Files(
            label=t("correct_bring_files"), file_count="multiple", file_types=["image", *sorted(SUFFIXES)], height=140, elem_id="correct-bring-files",
        )  # fmt: skip
        begin = gr.Button(t("correct_bring_run"), elem_id="correct-bring")
        told = gr.HTML("", elem_id="correct-brought")
    begin.click(
        bring_in, [visitor, files], [dataset, told], concurrency_limit=BATCHES, concurrency_id="batch", api_visibility="private", show_progress_on=begin,
    )  # fmt: skip


@in_words
def bring_in(
    visitor: object, files: list[str] | None, request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Any, str]:  # fmt: skip
    """Another tool's data set as a new one of the visitor's; the picker set to it, and what is to know, as HTML."""
    store, language = visitor_store(visitor), language_of(request)
    with one_batch():
        found = bring(store, [Path(path) for path in files or []], lambda done, total: progress((done, total)))
    line = html.escape(words("correct_brought", language).format(count=found.count, name=found.dataset.name))
    text = f'<p class="note" role="status">{line}</p>' + listed("correct_brought_notes", [("", note) for note in found.notes], language)
    text += listed("correct_brought_failed", [(str(name), why) for name, why in found.failed], language)
    return gr.Dropdown(dataset_choices(store.list()), value=found.dataset.key), text


def dataset_choices(datasets: list[Dataset]) -> list[tuple[Any, str]]:
    """(text, key) for the picker."""
    return [*((dataset.name, dataset.key) for dataset in datasets), (t("correct_new"), NEW)]


@in_words
def zip_of(visitor: object, chosen: object) -> str:
    """The dataset's archive, where gradio may serve it from."""
    dataset = visitor_store(visitor).open(chosen)
    # A folder of its own that nobody can guess.
    folder = Path(utils.get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        return str(dataset.zip(folder / f"{dataset.key}.zip"))
    except BaseException:
        shutil.rmtree(folder)
        raise


@in_words
def zip_for_tool(visitor: object, chosen: object, tool: object, request: gr.Request) -> tuple[Any, str]:
    """The dataset's archive in another tool's format, and the menu as it was; what the format cannot hold is said."""
    if not tool:
        return gr.skip(), ""
    dataset = visitor_store(visitor).open(chosen)
    folder = Path(utils.get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        path = folder / f"{dataset.key}-{tool}.zip"
        lost = zip_for(dataset, str(tool), path)
    except BaseException:
        shutil.rmtree(folder)
        raise
    if lost:
        gr.Info("<br>".join(html.escape(in_language(sentence, language_of(request))) for sentence in lost[:6]), duration=15)
    return str(path), ""


@in_words
def drop(visitor: object, chosen: object) -> tuple[Any, None]:
    """Delete a dataset; the picker without it."""
    store = visitor_store(visitor)
    store.delete(chosen)
    left = store.list()
    return gr.Dropdown(dataset_choices(left), value=left[0].key if left else NEW), None


@in_words
def push_to_hub(
    visitor: object, chosen: object, repo: object, token: object, private: object, request: gr.Request,
    login: gr.OAuthToken | None,
) -> str:  # fmt: skip
    """Push the dataset with the visitor's token or login; HTML that says where it is now."""
    dataset = visitor_store(visitor).open(chosen)
    repository = str(repo or "").strip()
    sha = dataset.push(repository, token_for(token, login, request), private=private is not False)
    said = words("correct_pushed", language_of(request))
    return f'<p class="note">{html.escape(said)}: {html.escape(repository)} <code>{html.escape(sha[:12])}</code></p>'


def described_by(file: Upload | None, upload: Upload | None) -> Described | None:
    """What a file of another tool says about the picture, and how it was read; None where it is a mask, or one of them is missing.

    Raises:
        SegDemoError: it cannot be read, or is about other pictures.
    """
    if file is None or upload is None or not is_annotations(file.path):
        return None
    with rendering():
        shown = read(upload.path, view=upload.view)
        return found_on(file.path, upload.path, shown.pixels.shape[:2], shown)


def again(dataset: Dataset, stem: str) -> Document:
    """A document for a stored sample.

    Raises:
        SegDemoError: it is gone or damaged.
    """
    sample = dataset.sample(stem)
    with rendering():
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
            ``source``, ``background`` (class id), ``view`` (what of the upload was drawn on, or None), ``confidence``, ``seconds``, ``strokes``, and ``doc``, which tells a save that is sent twice, because
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
    classes = pairs_of(sent.get("classes"), str, 255)
    objects = pairs_of(sent.get("objects"), int, MOST_OBJECTS)
    with rendering():
        raw = decode_mask(uploaded(sent.get("mask")))[0]
        if elsewhere:
            # Only what is painted joins another dataset's classes.
            used = set(objects.values()) if TASKS[dataset.task].objects else set(np.unique(raw).tolist())
            ground = sent.get("background") if dataset.labels.background is not None else None
            classes = {identity: name for identity, name in classes.items() if identity in used and identity != ground}
        labels = dataset.add_classes(list(classes.values()))
        known = {name.casefold(): index for index, name in enumerate(labels.names)}
        # Names pass through the same cleaning as they did when the dataset took them.
        numbers = {identity: known[clean_names([name])[0].casefold()] for identity, name in classes.items()}
        if elsewhere and whole(ground, 65_535):
            numbers[ground] = labels.background
        mask, instances = truth(raw, dataset.task, numbers, objects, labels.background)
        facts = facts_of(sent)
        if sent.get("stem") is not None:
            return dataset, dataset.replace(sent["stem"], mask, facts, instances=instances)
        image = read(uploaded(sent.get("image")), view=sent.get("view"))
        name, draft = str(sent.get("name") or "image")[:200], sent.get("doc")
        known = draft if isinstance(draft, str) and 0 < len(draft) <= 64 else None
        return dataset, dataset.add(image, mask, facts, instances=instances, name=name, draft=known)


def unfit(dataset: Dataset, sent: dict[str, Any]) -> str:
    """Why a mask cannot be saved into another dataset than that which it was opened for; empty if it can."""
    if sent.get("stem") is not None:
        return Message("corrections.sample_of_other_dataset")
    if sent.get("task") != dataset.task:
        return Message("corrections.other_kind_of_masks", name=dataset.name)
    return ""


def drawn_result(visitor: object, sent: dict[str, Any]) -> Result:
    """A result from what the editor sent: as :func:`keep` takes it, with ``task``.

    Raises:
        SegDemoError: whatever does not fit.
    """
    classes, objects = pairs_of(sent.get("classes"), str, 255), pairs_of(sent.get("objects"), int, MOST_OBJECTS)
    if sent.get("task") not in DRAWN or not classes:
        raise DataError("corrections.facts_unreadable")
    if sent.get("stem") is not None:
        stored = visitor_store(visitor).open(sent.get("dataset")).sample(sent["stem"])
        upload = Upload(stored.image, stem_of(stored.name))
    else:
        path = uploaded(sent.get("image"))
        upload = Upload(path, stem_of(str(sent.get("name") or "image")[:200]))
    with rendering():
        picture, raw = read(upload.path, view=sent.get("view") if sent.get("stem") is None else None), decode_mask(uploaded(sent.get("mask")))[0]
        image = picture.pixels
        if raw.shape[:2] != image.shape[:2]:
            raise DataError("drawings.other_size", came=f"{raw.shape[1]} x {raw.shape[0]}", wanted=f"{image.shape[1]} x {image.shape[0]}")
        numbers = {identity: index for index, identity in enumerate(classes)}
        names, ground = list(classes.values()), numbers.get(sent.get("background"))
        labels = LabelSet.from_names(names, ground)
        with contextlib.suppress(TypeError, ValueError, OverflowError):  # colours as in the editor, where they are such
            labels = replace(labels, colors=np.array(sent.get("colors"), dtype=np.uint8))
        found = corrected(raw, sent["task"], labels, numbers, objects)
        return Result(upload, CachedResult(replace(found, **picture.facts)), 0.0, preview_of(image))


# As static/editor_start.js names what it uploads.
OWN_MASK = re.compile(r"mask(?:-\d+){4}\.png")


def forget(path: object) -> None:
    """Delete an uploaded mask: it has been stored, or will be sent again. What was named may be anything; what has not the
    editor's own kind of name may be another visitor's too, whose file has the same content."""
    with contextlib.suppress(BadRequestError, OSError):
        mask = uploaded(path)
        if OWN_MASK.fullmatch(mask.name) and only_uploaded(str(mask)):
            mask.unlink()
