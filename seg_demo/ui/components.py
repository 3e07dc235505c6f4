"""What the tabs share: the image box on the left; viewer, the strip above it, downloads and the session's result on the right; dropdown, slider, words.

The viewer is a ``gr.HTML`` subclass in plain files that composites one picture and one id map in the browser.

Hover, opacity, outlines, before/after, hiding classes, zoom and pan never ask the server. The template contains no
expressions, so gradio renders it once and the script keeps its canvases from result to result.

What our components have in common stands in functions, not in a base class: gradio draws a component as its first base.

The page's words, in English and Chinese, are those of the tables of :mod:`seg_demo.core.errors` under ``page.``. Static texts are
translated in the browser by ``gr.I18n``; what the server writes later (about a model, for example) follows the request's ``Accept-Language``, which browsers send
for the same setting. The viewer carries its own words.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
from gradio.blocks import Block
from gradio.i18n import I18nData

from seg_demo.core import ALL, DETAILS, LANGUAGES, LOOKS, BadRequestError, Options, Picture, Report, SegDemoError, in_language, table
from seg_demo.gateway.queue import QUIET, UNQUEUED, in_words, predictor, rendering, work_limits
from seg_demo.gateway.visitor import Files, Photo, Upload, language_of, refused, spoken, store_bytes
from seg_demo.inputs.images import look
from seg_demo.outputs.measurements import PixelSize
from seg_demo.ui.results import TOOLS, Result, Units, kinds, make_file, make_for_tool, measurements_value, preview_of, viewer_doubt, viewer_value, viewer_why

if TYPE_CHECKING:
    from seg_demo.core import Task

EXAMPLES = Path(__file__).parent / "examples"
# A session's result goes half an hour after its last change, or when the page is closed.
RESULT_SECONDS = 1800


@dataclass(frozen=True)
class Outcome:
    """The right-hand side of a tab.

    Attributes:
        result: the session's :class:`~seg_demo.ui.results.Result` or None.
        viewer: shows it.
        cancel: the button that stops a run under way.
        correct: the button that opens it in the editor; None where there is none.
    """

    result: gr.State
    viewer: SegmentationViewer
    cancel: gr.Button
    correct: gr.Button | None = None

    @property
    def outputs(self) -> list[Any]:
        """Where a handler's (result, result) goes."""
        return [self.result, self.viewer]

    @property
    def begins(self) -> str:
        """For the ``js`` of an event that runs something, whose first input is the picture: what an earlier failure said goes,
        here and in its toast; what is asked twice runs once, see ``static/viewer_notes.js``."""
        return f"(...inputs) => {self._node}?.begins?.(inputs) ?? inputs"

    @property
    def _node(self) -> str:
        return f"document.querySelector('#{self.viewer.elem_id} .sv')"

    def cancellable(self, event: gr.events.Dependency) -> None:
        """Let the button stop a run: the request leaves the queue, and what works for it ends at its next stage or tile."""
        self.cancel.click(None, None, None, cancels=[event], **UNQUEUED)

    def clear_after_failure(self, event: gr.events.Dependency) -> None:
        """Show no older result beside an image or a model that could not be used, but the reason in its place.

        gradio tells the reason only in its toast, whether it is a sentence of ours, its own or that of a queue that is full; so
        the browser takes it from there.
        """
        event.failure(
            lambda: (None, None), None, self.outputs, **UNQUEUED
        )
        event.failure(None, js=f"() => {{ {self._node}?.fails?.(); }}", api_visibility="private")


def image_box(tab: str) -> Photo:
    """The box for upload, paste and webcam; what it holds is decoded by us, not by gradio."""
    return Photo(
        label=t("image"),
        show_label=False,
        placeholder=t("drop"),
        sources=["upload", "clipboard", "webcam"],
        type="filepath",
        buttons=[],
        height=225,
        elem_id=f"{tab}-image",
    )


def run_dock(tab: str, *others: gr.Button) -> gr.Button:
    """A strip at the foot of the window while something runs in the current column, wherever the visitor has scrolled to: how far
    it is, copied there by ``static/page.js``, and a button.

    Args:
        tab: its id.
        others: not rendered yet; they stand before the button.

    Returns:
        The button, which the caller connects.
    """
    with gr.Row(elem_classes="run-dock", elem_id=f"{tab}-dock"):
        gr.HTML('<p></p><progress class="bar" max="100"></progress>', elem_classes="dock-state")
        for part in others:
            part.render()
        return gr.Button(t("cancel"), size="sm", elem_id=f"{tab}-cancel")


def outcome(tab: str, task: Task, correctable: bool = False) -> Outcome:
    """Viewer and downloads; a file is made when its button is clicked, from the session's result, by no network.

    Args:
        tab: its id.
        task: of its results.
        correctable: whether there is a button that opens the result in the editor.
    """
    cancel = run_dock(tab)
    result = gr.State(None, time_to_live=RESULT_SECONDS)
    viewer = SegmentationViewer(elem_id=f"{tab}-viewer")
    viewer.select(
        with_doubt, result, viewer, api_visibility="private", show_progress="hidden", trigger_mode="always_last",
        concurrency_limit=4, concurrency_id="files",
    )  # fmt: skip
    with gr.Row(elem_classes="downloads"):
        correct = gr.Button(t("correct_this"), variant="primary", size="sm", elem_id=f"{tab}-correct") if correctable else None
        buttons = {kind: gr.Button(t(kind), size="sm", elem_id=f"{tab}-{kind}") for kind in kinds(task)}
        # Seven more buttons would hide the six that most people want.
        tools = gr.Dropdown(
            [(t("for_tool"), ""), *((t(f"tool_{tool}"), tool) for tool in TOOLS)], value="", label=t("for_tool"), show_label=False, container=False,
            filterable=False, scale=0, min_width=180, elem_id=f"{tab}-tools",
        )  # fmt: skip
    # Clicked by script as soon as the file is there: the visitor clicks once.
    link = gr.DownloadButton("", elem_id=f"{tab}-file", elem_classes="download-link")
    fetch = f"() => setTimeout(() => document.querySelector('#{tab}-file').click(), 60)"
    units = gr.State(None, time_to_live=RESULT_SECONDS)
    table = MeasurementTable(elem_id=f"{tab}-measured")
    # Of what is asked meanwhile gradio asks the last, but with the data of the first: the browser says what is held by then.
    held = f"(result, sent) => [result, document.querySelector('#{table.elem_id} .ms')?.held?.() ?? null]"
    table.select(
        measure_result, [result, table], [table, units], api_visibility="private", show_progress="hidden", trigger_mode="always_last",
        concurrency_limit=4, concurrency_id="files", js=held,
    )  # fmt: skip
    # The table has buttons of its own, which click on these.
    for kind in ("measurements", "measurements_json"):
        buttons[kind] = gr.Button("", elem_id=f"{tab}-{kind}", elem_classes="download-link")
    for kind, button in buttons.items():
        made = button.click(
            download_of(kind),
            [result, units],
            link,
            api_visibility="private",
            concurrency_limit=4,
            concurrency_id="files",
            show_progress="minimal",
        )
        made.success(None, js=fetch, api_visibility="private")
    picked = tools.input(
        download_for, [result, tools], [link, tools], api_visibility="private", concurrency_limit=4, concurrency_id="files",
        show_progress="minimal",
    )  # fmt: skip
    picked.success(None, js=fetch, api_visibility="private")
    made = Outcome(result, viewer, cancel, correct)
    asked = viewer.input(
        because, [result, viewer], viewer, api_visibility="private", show_progress_on=viewer, trigger_mode="always_last",
        js=f"(result, sent) => [result, {made._node}?.asks?.() ?? null]", **work_limits(),
    )  # fmt: skip
    asked.failure(None, js=f"() => {{ {made._node}?.unexplained?.(); }}", api_visibility="private")
    made.cancellable(asked)
    return made


@in_words
def because(
    result: Result | None,
    sent: object,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> Result:
    """The session's result, with what the answer rests on at the pixel that was clicked."""
    if result is None:
        raise BadRequestError("results.nothing_to_look_at")
    asked, shown = sent if isinstance(sent, dict) else {}, result.shown
    try:
        at = int(asked["x"]), int(asked["y"])
    except (KeyError, TypeError, ValueError, OverflowError):
        raise BadRequestError("results.nothing_to_look_at") from None
    options = Options(detail="full" if shown.seen is None else "whole", view=result.upload.view)
    with predictor().work(result.upload.path, shown.model.key, options=options, report=reporting(progress)) as work:
        return result.because(work.explain(shown, at))


@in_words
def with_doubt(result: Result | None) -> Result:
    """The session's result, with the map of its confidence for the viewer."""
    if result is None:
        raise BadRequestError("results.nothing_to_look_at")
    if result.shown.confidence is None:
        raise BadRequestError("results.regions_have_no_doubt")
    return result.with_doubt()


def measure_result(result: Result | None, sent: object) -> tuple[dict[str, Any], Any]:
    """The session's result measured as the table asks, and how, for the downloads; a length that none can have is said in the table."""
    asked = sent if isinstance(sent, dict) else {}

    @in_words
    def found() -> tuple[dict[str, Any], Units]:
        if result is None:
            raise BadRequestError("results.nothing_to_look_at")
        units = Units.of(asked)
        with rendering():
            return measurements_value(result, units), units

    try:
        value, units = found()
    except gr.Error as error:
        return {"ask": asked.get("ask"), "why": html.unescape(str(error.message))}, gr.skip()
    return {"ask": asked.get("ask"), **value}, units


def download_of(kind: str) -> Callable[[Result | None, Units | None], str]:
    """The handler of one download button."""

    @in_words
    def download(result: Result | None, units: Units | None = None) -> str:
        if result is None:
            raise BadRequestError("results.nothing_to_download")
        with rendering():
            name, content = make_file(result, kind, units)
        return store_bytes(content, name)

    return download


@in_words
def download_for(result: Result | None, tool: object, request: gr.Request) -> tuple[Any, str]:
    """The handler of the menu of other tools: its file, and the menu as it was; what the format cannot hold of this result is said beside it."""
    if tool not in TOOLS:
        return gr.skip(), ""
    if result is None:
        raise BadRequestError("results.nothing_to_download")
    with rendering():
        name, content, lost = make_for_tool(result, str(tool))
    if lost:
        gr.Info("<br>".join(html.escape(in_language(sentence, language_of(request))) for sentence in lost), duration=15)
    return store_bytes(content, name), ""


def examples(
    names: Sequence[str], model: str | None, photo: Photo, picker: gr.Dropdown | None, label: I18nData, elem_id: str
) -> None:
    """Pictures to click; a click fills in the image, whose change starts the run.

    ``gr.Examples`` would set every property of the picker back to how it was built, with it what is known to be available.

    Args:
        names: files in the examples folder.
        model: id to pick with them.
        photo: the image box.
        picker: takes ``model``; None where there is none to pick.
        label: heading.
        elem_id: id in the page.
    """
    paths = [str(EXAMPLES / name) for name in names]
    shown = gr.Dataset(
        components=[photo],
        samples=[[path] for path in paths],
        label=label,
        type="index",
        samples_per_page=8,
        elem_id=elem_id,
    )
    if picker is None:
        shown.click(lambda index: paths[index], shown, photo, **UNQUEUED)
    else:
        shown.click(
            lambda index: (paths[index], model),
            shown,
            [photo, picker],
            **UNQUEUED,
        )


def reporting(progress: gr.Progress) -> Report:
    """What tells a visitor, in their language, how far their request has come.

    Args:
        progress: of the handler.
    """

    def report(part: float | None, text: str) -> None:
        # gradio shows no words without a number: what has none (loading) follows a download, and finds the bar full.
        progress(1.0 if part is None else part, desc=spoken(text))

    return report


class Choice(gr.Dropdown):
    """gradio's dropdown whose handler checks the value: a restarted server no longer knows what it offered to a page."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload


class Either(gr.Radio):
    """gradio's radio buttons for one of a few values, whose handler checks what was sent and refuses it in words."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload

    @classmethod
    def offered(cls, shown: bool, first: Any) -> Either:
        """The buttons as they are, or hidden and at their first value, for what is no choice any more.

        Args:
            shown: whether there is a choice.
            first: that value.
        """
        return cls(visible=True) if shown else cls(visible=False, value=first)


def detail_box(tab: str, visible: bool = True) -> Either:
    """How closely a model looks: one of :data:`seg_demo.core.requests.DETAILS`.

    Args:
        tab: its id.
        visible: whether the models of the tab have a choice.
    """
    choices = [(t(f"detail_{detail}"), detail) for detail in DETAILS]
    return Either(choices, value=DETAILS[0], label=t("detail"), info=t("detail_info"), visible=visible, elem_id=f"{tab}-detail")


def looks_box(tab: str, visible: bool = True) -> Either:
    """How often a network of classes looks: one of :data:`seg_demo.core.requests.LOOKS`.

    Args:
        tab: its id.
        visible: whether the models of the tab have a choice.
    """
    choices = [(t(f"looks_{looks}"), looks) for looks in LOOKS]
    return Either(choices, value=1, label=t("looks"), info=t("looks_info"), visible=visible, elem_id=f"{tab}-looks")


class Slider(gr.Slider):
    """gradio's slider. An emptied box of its number means the value that it began with, and a number beyond an end that end;
    gradio itself would answer that the request cannot be understood. What is no number is left to the handler."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """A number from the slider's least to its largest value.

        Args:
            payload: as the browser sent it; None while the box is empty.
        """
        if payload is None:
            payload = self.value
        if isinstance(payload, bool) or not isinstance(payload, int | float) or payload != payload:
            return payload
        return super().preprocess(min(max(payload, self.minimum), self.maximum))


# One scope in the browser, in this order: each file may use the ones before it.
SCRIPTS = (
    "viewer_text.js", "viewer_ids.js", "viewer_view.js", "viewer_legend.js", "viewer_doubt.js", "viewer_why.js", "viewer_notes.js", "viewer.js",
)  # fmt: skip


class SegmentationViewer(gr.HTML):
    """Shows a :class:`~seg_demo.ui.results.Result`, or an invitation if there is none.

    In the browser it also says why the last run failed, see ``static/viewer_notes.js``.
    Its event ``select`` asks for the same result with its doubt, whose map is the largest of what is sent and seldom wanted; ``input`` with the ``x`` and ``y`` of
    the pixel of the upload that the browser holds by then asks what the answer there rests on.
    """

    def __init__(self, value: Result | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("viewer", SCRIPTS),
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Result | None) -> dict[str, Any] | None:
        """What the browser receives: both pictures as files, and the legend as data.

        Args:
            value: a result, or None for the invitation.

        Raises:
            gr.Error: it had to make room for others' since its handler answered; gradio would hide our own errors here.
        """
        if value is None:
            return None
        try:
            shown = value.shown
            made = {
                "image": served_file(self, value.preview, value.upload.stem + ".jpg"),
                "ids": served_file(self, value.ids, "ids.png"),
                "doubt": served_file(self, viewer_doubt(shown), "doubt.png") if value.doubt else None,
                "why": None if value.why is None else {
                    "map": served_file(self, viewer_why(value.why, shown), "why.png"),
                    "label": value.why.label, "at": value.why.at, "frame": value.why.frame, "most": float(value.why.values.max()), "beyond": value.why.beyond,
                },
                **viewer_value(value),
                "notes": [spoken(note) for note in (*shown.notes, *(shown.model.notes if shown.model else ()))],
            }
        except SegDemoError as error:
            raise refused(error.message) from error
        value.cached.answered()
        return made

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "picture, id map, classes and segments of one result"}


class MeasurementTable(gr.HTML):
    """The objects of a tab's result, measured: a table, totals and a histogram, of :func:`~seg_demo.ui.results.measurements_value`.

    Closed at first: nothing is measured that nobody looks at. Its event ``select`` asks for it with what the browser holds by then: ``length``, ``unit``, ``inside``
    and ``ask``, a number that tells answers apart.
    """

    def __init__(self, value: dict[str, Any] | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(value=value, **plain_files("measurements", ("viewer_text.js", "measurements.js")), elem_id=elem_id, render=render)

    def postprocess(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """The value as it is."""
        return value

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "measurements of one result"}


# Windows of Hounsfield units that radiologists look at a CT through: black and white.
CT_WINDOWS = {"soft": (-160.0, 240.0), "lung": (-1350.0, 150.0), "bone": (-500.0, 1300.0), "brain": (0.0, 80.0)}
# Channels that can be chosen; of more, the first ones.
MOST_CHANNELS = 512


class ViewStrip(gr.HTML):
    """The strip above a viewer, for files of microscopes, scanners and satellites alone: which page, channels and intensities are looked at.

    In the browser it keeps the ``view`` of the API, in the very same JSON, as the value that handlers receive (``{"of": path, "view": {...}}``, by
    :func:`viewed`), and asks for the picture with every change, by its event ``select``; nothing is segmented before that is asked for. What it shows is
    the answer of :func:`shown_as`: what there is to choose from in the file, how its values are distributed, and the picture.

    Args:
        kind: where the picture is shown: ``viewer``, above which it stands; ``alone``, in the strip; or ``elsewhere``, by whoever follows it.
        pages: whether all pages can be chosen, each of which gets a result.
    """

    def __init__(
        self, value: dict[str, Any] | None = None, *, kind: str = "viewer", pages: bool = False, elem_id: str | None = None, render: bool = True
    ) -> None:
        files = plain_files("strip", ("viewer_text.js", "strip_histogram.js", "strip.js"))
        super().__init__(value=value, kind=kind, pages=pages, **files, elem_id=elem_id, elem_classes="strip", render=render)

    def postprocess(self, value: dict[str, Any] | None) -> dict[str, Any] | None:
        """The value, its picture as a file that has an address.

        Args:
            value: of :func:`shown_as`.
        """
        if value is None or "picture" not in value:
            return value
        return {**value, "picture": served_file(self, value["picture"], "view.jpg")}

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "what of a file is looked at"}


def follow_file(strip: ViewStrip, source: Photo | Files) -> gr.events.Dependency:
    """Let a strip show what the file of a box offers, and anew whatever is chosen in it.

    Returns:
        The event of a choice, for whoever shows it elsewhere.
    """
    limits: dict[str, Any] = {"concurrency_limit": 4, "concurrency_id": "views", "trigger_mode": "always_last", **QUIET}
    source.change(first_look, source, strip, **limits)
    # Of what is asked meanwhile gradio asks the last, but with the data of the first: the browser says what is held by then.
    held = f"(source, sent) => [source, document.querySelector('#{strip.elem_id} .vs')?.held?.() ?? sent]"
    return strip.select(look_again, [source, strip], strip, js=held, **limits)


def first_look(source: Upload | Sequence[str] | None) -> dict[str, Any] | None:
    """What a strip is told of a new file, of several the first that is no photograph; None where there is none, or none can be read: what runs
    on it says why."""
    for path in _paths(source):
        try:
            if (value := look_at_view(path, None)) is not None:
                return {"of": str(path), "ask": 0, **value}
        except gr.Error:
            continue
    return None


def look_again(source: Upload | Sequence[str] | None, sent: object) -> Any:
    """What a strip is told of the view that it holds; of one that the file does not have, why not."""
    asked = sent if isinstance(sent, dict) else {}
    path = next((path for path in _paths(source) if str(path) == asked.get("of")), None)
    if path is None:
        return gr.skip()
    told, view = {"of": str(path), "ask": asked.get("ask")}, view_in(sent)
    try:
        # Of all pages the one is shown that the file would show.
        value = look_at_view(path, {**view, "page": None} if isinstance(view, dict) and view.get("page") == ALL else view)
    except gr.Error as error:
        return {**told, "why": html.unescape(str(error.message))}
    return gr.skip() if value is None else told | value


def _paths(source: Upload | Sequence[str] | None) -> list[Path]:
    if source is None:
        return []
    return [source.path] if isinstance(source, Upload) else [Path(path) for path in source if not str(path).lower().endswith(".zip")]


@in_words
def look_at_view(path: Path, view: object) -> dict[str, Any] | None:
    with rendering():
        picture = look(path, view)
        return None if picture is None else shown_as(picture)


def shown_as(picture: Picture) -> dict[str, Any]:
    """What a strip shows.

    Args:
        picture: of :func:`seg_demo.inputs.images.look`.

    Returns:
        ``size`` ([width, height]), ``bits``, ``counts`` (of pages, points in time, planes in depth), ``channels`` (names), ``view`` (complete, as in
        the API), ``windows`` (name → black and white; ``dicom`` for each that the file states), ``ends`` and ``histogram`` (of
        :class:`seg_demo.core.picture.Distribution`, or None), ``empty`` (a sentence where the view holds no data, or None), ``pixel_size``, ``unit``, ``crs`` and ``metres`` (sides of a pixel, or None), and ``picture``, a JPEG.
    """
    stack, found, calibration = picture.stack, picture.distribution, picture.calibration
    windows = [["dicom", *ends] for ends in stack.windows]
    if calibration is not None and (calibration.series or {}).get("Modality") == "CT":
        windows += [[name, *ends] for name, ends in CT_WINDOWS.items()]
    size = None if calibration is None else PixelSize.stated(calibration.pixel_size, calibration.unit)
    return {
        "size": list(picture.pixels.shape[1::-1]), "bits": stack.bits, "counts": {"page": stack.pages, "t": stack.t, "z": stack.z},
        "channels": list(picture.channels[:MOST_CHANNELS]), "view": picture.view.to_dict(), "windows": windows,
        "ends": None if found is None else [list(pair) for pair in found.ends],
        "histogram": None if found is None else {"low": found.low, "high": found.high, "counts": [list(counts) for counts in found.counts]},
        "empty": next((spoken(note) for note in picture.notes if note.key == "views.nothing_here"), None),
        **({} if calibration is None else calibration.to_dict()), "metres": None if size is None else list(size.within("m").sides),
        "picture": preview_of(picture.pixels),
    }  # fmt: skip


def view_in(sent: object) -> object:
    """The view that a strip holds, or that a client sent without one, as :meth:`seg_demo.core.picture.View.parse` takes it; None where nothing was
    chosen."""
    return sent.get("view") if isinstance(sent, dict) and "of" in sent else sent


def with_view(upload: Upload | None, sent: object) -> Upload | None:
    """An upload with the view that a strip holds for it, or that a client sent without a strip around it; a strip that still holds what was
    chosen for another file says nothing."""
    others = isinstance(sent, dict) and "of" in sent and upload is not None and sent["of"] != str(upload.path)
    return upload if upload is None or others else replace(upload, view=view_in(sent))


def viewed(handler: Callable[..., Any], place: int = 0) -> Callable[..., Any]:
    """A handler of an upload, for events with a strip as the input after it: the upload comes :func:`with_view`.

    Args:
        handler: of the upload.
        place: of the upload among its inputs.
    """

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> Any:
        before, (upload, sent, *after) = arguments[:place], arguments[place:]
        return handler(*before, with_view(upload, sent), *after, **named)

    # gradio finds what it has to add (progress, the request) by its place among the parameters.
    parameters = list(inspect.signature(handler).parameters.values())
    parameters.insert(place + 1, inspect.Parameter("sent", inspect.Parameter.POSITIONAL_OR_KEYWORD))
    answer.__signature__ = inspect.Signature(parameters)
    return answer


STATIC = Path(__file__).parent / "static"


def plain_files(name: str, scripts: Sequence[str]) -> dict[str, Any]:
    """Arguments of ``gr.HTML`` for a component that is written in plain files.

    Args:
        name: stem of its html and css files.
        scripts: js files in the order in which they share one scope.
    """
    return {
        "html_template": _read(f"{name}.html"),
        "css_template": _read(f"{name}.css"),
        "js_on_load": "\n".join(map(_read, scripts)),
        "apply_default_css": False,
    }


def served_file(component: Block, data: bytes, name: str) -> dict[str, Any]:
    """A file that gradio gives an address to: it looks for this ``meta`` anywhere in a value.

    Args:
        component: whose value it is part of.
        data: its content.
        name: its name in the browser.
    """
    path = store_bytes(data, name, component.GRADIO_CACHE)
    return {"path": path, "orig_name": name, "meta": {"_type": "gradio.FileData"}}


def _read(name: str) -> str:
    return (STATIC / name).read_text(encoding="utf-8")


__all__ = ["I18N", "SPOKEN", "WORDS", "language_of", "spoken", "t", "task_words", "words"]

_AREA = "page."
# key: (English, Chinese)
WORDS: dict[str, tuple[str, str]] = {
    key.removeprefix(_AREA): (text, table("zh")[key]) for key, text in table("en").items() if key.startswith(_AREA)
}
# What gradio tells screen readers without having words for it (6.31): they would hear the key.
SPOKEN: dict[str, tuple[str, str]] = {
    key: tuple(table(language)[f"spoken.{key.replace('.', '_')}"] for language in LANGUAGES)
    for key in ("common.complete", "status.queue_position")
}

# Gradio keeps its own words in the same table, so ours carry a prefix.
PREFIX = "seg_"
_LOCALES = (("en", 0), ("zh", 1), ("zh-CN", 1), ("zh-TW", 1))
I18N = gr.I18n(
    **{
        locale: {key: both[which] for key, both in [*((PREFIX + key, both) for key, both in WORDS.items()), *SPOKEN.items()]}
        for locale, which in _LOCALES
    }
)


def t(key: str) -> I18nData:
    """A static text that the browser translates.

    Raises:
        KeyError: no such text.
    """
    if key not in WORDS:
        raise KeyError(key)
    return I18N(PREFIX + key)


def task_words(task: Task, language: str | None = None) -> tuple[I18nData | str, I18nData | str]:
    """Title of a task and what to say about it first; its bare name where nobody has written words for it.

    Args:
        task: of the table.
        language: ``en`` or ``zh``; None for static texts, which the browser translates.
    """
    title = task.title or task.name

    def text(key: str, otherwise: str) -> I18nData | str:
        if key not in WORDS:
            return otherwise
        return t(key) if language is None else words(key, language)

    return text(title, task.name.capitalize()), text(f"{title}_lead", "")


def words(key: str, language: str) -> str:
    """A text that the server writes, in ``en`` or ``zh``."""
    english, chinese = WORDS[key]
    return chinese if language == "zh" else english
