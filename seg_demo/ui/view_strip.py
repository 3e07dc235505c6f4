"""The strip above a viewer, for files of microscopes, scanners and satellites alone: which page, channels and intensities are looked at.

In the browser it keeps the ``view`` of the API, in the very same JSON, as the value that handlers receive (``{"of": path, "view": {...}}``, by
:func:`viewed`), and asks for the picture with every change; nothing is segmented before that is asked for. What it shows is the answer of
:func:`shown_as`: what there is to choose from in the file, how its values are distributed, and the picture.
"""

from __future__ import annotations

import html
import inspect
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import wraps
from pathlib import Path
from typing import Any

import gradio as gr

from seg_demo.core import ALL, Picture
from seg_demo.gateway.queue import QUIET, in_words, rendering
from seg_demo.gateway.visitor import Files, Photo, Upload
from seg_demo.inputs.images import look
from seg_demo.outputs.measurements import PixelSize
from seg_demo.ui.components import plain_files, served_file, spoken
from seg_demo.ui.results import preview_of

# Windows of Hounsfield units that radiologists look at a CT through: black and white.
CT_WINDOWS = {"soft": (-160.0, 240.0), "lung": (-1350.0, 150.0), "bone": (-500.0, 1300.0), "brain": (0.0, 80.0)}
# Channels that can be chosen; of more, the first ones.
MOST_CHANNELS = 512


class ViewStrip(gr.HTML):
    """What of a file is looked at; hidden for photographs.

    Its event ``select`` asks for the picture of the view that it holds.

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


def follow(strip: ViewStrip, source: Photo | Files) -> gr.events.Dependency:
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
