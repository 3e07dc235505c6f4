"""The tab in which a person cuts one thing out of a picture, and what the editor's click tool asks there and in the tab Correct.

The tab has an editor of its own, whose drawing becomes files when they are asked for. Its tool and that of Correct is ``static/editor_click.js``: the browser asks past the queue (:data:`ENDPOINTS`), with the place of a picture that it has here, a model and a prompt as ``/prompt`` takes it, and
is answered with run lengths alone. The picture is looked at with the first question; what the model remembers of it is that page's and no
other's, goes when the page is closed, and is made anew where it had to go.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from contextlib import suppress
from functools import wraps
from typing import Any

import gradio as gr
import numpy as np

from seg_demo import networks
from seg_demo.core import INSTANCE, OBJECT, BadRequestError, LabelSet, Options, in_language, read_prompt, requests
from seg_demo.datasets.sample import from_prediction
from seg_demo.gateway.queue import QUIET, UNQUEUED, in_words, predictor, rendering, work_limits
from seg_demo.gateway.visitor import Upload, store_bytes, uploaded
from seg_demo.serving import catalog
from seg_demo.ui import menu
from seg_demo.ui.api import Words
from seg_demo.ui.components import ViewStrip, examples, follow_file, image_box, language_of, reporting, run_dock, t, viewed
from seg_demo.ui.correct_tab import sentence_of
from seg_demo.ui.editor import Document, MaskEditor, Refusal, drawn_result, forget
from seg_demo.ui.results import kinds, make_file

# A page names itself with a number that it draws.
PAGE = re.compile(r"[A-Za-z0-9_-]{16,64}")


def or_the_sentence(handler: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A handler whose failures are ``{"error": sentence}``: gradio's own answer to a failure says no more, and as HTML."""

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return in_words(handler)(*arguments, **named)
        except gr.Error as error:
            return {"error": html.unescape(str(error.message))}

    return answer


def session_of(page: object) -> tuple[str, str] | None:
    """Whose session a question is about: that of a page of a visitor; None for what names no page, of which nothing is kept."""
    viewer = requests.viewer.get()
    return (viewer.owner if viewer else "", page) if isinstance(page, str) and PAGE.fullmatch(page) else None


@or_the_sentence
def click(image: Any, model: Any, prompt: Any, page: Any, preview: Any = "", request: gr.Request = None) -> dict[str, Any]:
    """What a prompt means in a picture, with its notes in the visitor's language.

    Args:
        image: path of a file that this server keeps for the page.
        model: id of a promptable model.
        prompt: JSON text as for ``/prompt``; empty only has the picture looked at.
        page: the page's name.
        preview: text that says that nobody has clicked yet: no object is looked at closely, and ``coarse`` says whether one would be.
        request: gradio's.

    Returns:
        The result as ``/prompt`` has it; for an empty prompt nothing; ``{"gone": True}`` where the file has been deleted meanwhile.
    """
    if not model:
        raise BadRequestError("requests.no_model")
    shown = read_prompt("" if prompt is None else prompt)
    try:
        path = uploaded(image)
    except BadRequestError:
        return {"gone": True}
    with predictor().prompting(path, model, who=session_of(page)) as session:
        if not shown:
            return {}
        result, language = session.answer(shown, closer=not preview), language_of(request)
        coarse = bool(preview) and any(session.is_small(segment.box) for segment in result.segments)
    found = result.to_dict()
    return found | {"notes": [in_language(note, language) for note in found["notes"]], "coarse": coarse}


@or_the_sentence
def click_models(request: gr.Request) -> dict[str, Any]:
    """The models of the menu that answer prompts and what families of such have published, those first that can be used now.

    Returns:
        ``models``: id, title, kinds of ``prompts`` and whether it is ``available``.
    """
    return {"models": models(language_of(request))}


def models(language: str) -> list[dict[str, Any]]:
    """As :func:`click_models` lists them.

    Args:
        language: of their titles.
    """
    rows = {spec.key: (menu.title(spec, language), spec.architecture) for spec in menu.specs()}
    rows |= {row.published: (row.title, row.name) for row in networks.FAMILIES.values() if row.published and row.published not in rows}
    found = [
        {"id": id, "title": title, "prompts": list(kinds), "available": catalog.available(catalog.resolve(id, local_folders=False))}
        for id, (title, architecture) in rows.items()
        if (kinds := networks.prompts_of(architecture))
    ]
    return sorted(found, key=lambda row: not row["available"])


def prepare() -> None:
    """Have the model loaded that the tool begins with, for somebody who has opened the tab and has no picture there yet; if it is one of
    those that come with the demo, for nobody has chosen what would have to be fetched. What goes wrong is said to whoever clicks."""
    with suppress(gr.Error):
        in_words(_prepare, "prepare")()


def _prepare() -> None:
    first = next((spec for spec in menu.specs() if menu.is_clicked(spec) and catalog.available(spec)), None)
    if first is not None and first.source == "bundled":
        # No more than loading: an answer would order the compiled form, which is then made while somebody clicks for the first time.
        with predictor().prompting(NOTHING, first.key):
            pass


@or_the_sentence
def click_ends(page: Any) -> dict[str, Any]:
    """A page is closed: what models remember of its pictures goes."""
    if (who := session_of(page)) is not None:
        predictor().forget(who)
    return {}


# By the name under which the page asks for them, none of which is part of the API.
ENDPOINTS = {"click": click, "click_models": click_models, "click_ends": click_ends}


def add_click_endpoints() -> None:
    """Add what the page asks past the queue to the current Blocks."""
    with gr.Column(visible=False):
        asked = [Words(label=name) for name in ("image", "model", "prompt", "page", "preview")]
        answer = gr.JSON(label="answer")
        inputs = {"click": asked, "click_models": None, "click_ends": asked[3:4]}
        for name, handler in ENDPOINTS.items():
            gr.Button().click(handler, inputs[name], answer, api_name=name, **{**UNQUEUED, "api_visibility": "undocumented"})


# With the page's load: the browser's scripts send the visitor's key with what they ask for themselves.
REMEMBER_KEY = "(key) => { window.segDemoVisitor = key; }"


# A picture for a model that nobody has given one yet.
NOTHING = np.zeros((16, 16, 3), np.uint8)
# What is offered first, and what everybody may take away of a result.
DOWNLOADS = ("cutout", *kinds(INSTANCE), "measurements")
LABELS = LabelSet.from_names(("background", OBJECT), 0)
PICTURES = ("cat.jpg", "coffee.jpg", "astronaut.jpg", "coins.png", "rocket.jpg")


def click_tab(tab: gr.Tab) -> None:
    """Build the tab in the current Blocks.

    Args:
        tab: with which the model is loaded.
    """
    tab.select(prepare, None, None, **UNQUEUED)
    gr.Markdown(t("click_lead"), elem_classes="lead")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=3, min_width=270, elem_classes="controls"):
            photo = image_box("click")
            with gr.Column(elem_classes="examples"):
                examples(PICTURES, None, photo, None, t("examples_regions"), "click-examples")
        with gr.Column(scale=10, min_width=300):
            cancel = run_dock("click")
            strip = ViewStrip(kind="elsewhere", elem_id="click-view")
            editor = MaskEditor(kind="click", elem_id="click-editor")
            with gr.Row(elem_classes="downloads", elem_id="click-downloads"):
                buttons = {kind: gr.Button(t(kind), size="sm", elem_id=f"click-{kind}") for kind in DOWNLOADS}
            # Clicked by script as soon as the file is there: the visitor clicks once.
            link = gr.DownloadButton("", elem_id="click-file", elem_classes="download-link")
            drawing = gr.JSON(visible=False)
    limits = {"api_visibility": "private", "show_progress_on": editor, **work_limits()}
    chosen = follow_file(strip, photo)
    # That can not be cancelled, which the dock learns from it.
    opening = {**limits, "show_progress": "minimal"}
    photo.change(viewed(open_picture), [photo, strip], editor, **opening)
    # A picture that has been drawn on stays until the editor has asked.
    chosen.success(viewed(open_picture), [photo, strip], editor, trigger_mode="always_last", **opening)
    found = editor.everything(viewed(everything), [photo, strip], editor, **limits)
    cancel.click(None, None, None, cancels=[found], **UNQUEUED)
    for kind, button in buttons.items():
        made = button.click(
            download_of(kind), drawing, link, js=DRAWING, api_visibility="private", concurrency_limit=4, concurrency_id="files", show_progress="minimal",
        )  # fmt: skip
        made.success(None, js="() => setTimeout(() => document.querySelector('#click-file').click(), 60)", **QUIET)


# The editor's drawing as it is when a file is asked for.
DRAWING = "async () => [await document.querySelector('#click-editor .se').drawing()]"


def said_in_the_editor(handler: Callable[..., Document | None]) -> Callable[..., Any]:
    """A handler whose failures the editor says itself."""

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> Document | Refusal | None:
        try:
            return in_words(handler)(*arguments, **named)
        except gr.Error as error:
            return Refusal(sentence_of(error))

    return answer


@said_in_the_editor
def open_picture(upload: Upload | None) -> Document | None:
    """A picture into the editor."""
    if upload is None:
        return None
    with predictor().work(upload.path, options=Options(view=upload.view)) as work:
        picture = work.picture
        return Document(INSTANCE.name, LABELS, picture.pixels, None, upload.stem, upload.path, None, notes=picture.notes, view=picture.view)


@said_in_the_editor
def everything(
    upload: Upload | None,
    event: gr.EventData,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> Document:
    """All that a click could mean in a picture, each an object of the drawing.

    Args:
        upload: the picture.
        event: has the ``model``.
        progress: told how far it is.
    """
    if upload is None:
        raise BadRequestError("requests.no_image")
    model = event._data.get("model") if isinstance(event._data, dict) else None
    if not model:
        raise BadRequestError("requests.no_model")
    with predictor().work(upload.path, str(model), options=Options(view=upload.view), report=reporting(progress)) as work:
        found = work.segment()
        drawing = from_prediction(found, LABELS, INSTANCE.name, dict.fromkeys(found.labels.names, OBJECT))
        return Document(INSTANCE.name, LABELS, work.picture.pixels, drawing, upload.stem, upload.path, None, notes=found.notes, view=found.view)


def download_of(kind: str) -> Callable[[Any], str]:
    """The handler of one download button: a file of the drawing that the browser has just sent."""

    @in_words
    def download(sent: Any) -> str:
        if not isinstance(sent, dict):
            raise BadRequestError("results.nothing_to_download")
        try:
            result = drawn_result(None, sent)
        finally:
            forget(sent.get("mask"))
        with rendering():
            name, content = make_file(result, kind)
        return store_bytes(content, name)

    return download
