"""What the three working tabs share: the image box on the left; viewer, downloads and the session's result on the right."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.i18n import I18nData

from seg_demo.errors import BadRequestError
from seg_demo.ui.i18n import t
from seg_demo.ui.results import KINDS, Result, make_file
from seg_demo.ui.served import store_bytes
from seg_demo.ui.uploads import Photo
from seg_demo.ui.viewer import SegmentationViewer
from seg_demo.ui.work import aside, in_words

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
        self.cancel.click(None, None, None, cancels=[event], queue=False, api_visibility="private", show_progress="hidden")

    def clear_after_failure(self, event: gr.events.Dependency) -> None:
        """Show no older result beside an image or a model that could not be used, but the reason in its place.

        gradio tells the reason only in its toast, whether it is a sentence of ours, its own or that of a queue that is full; so
        the browser takes it from there.
        """
        event.failure(
            lambda: (None, None), None, self.outputs, api_visibility="private", show_progress="hidden", queue=False
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
        for each in others:
            each.render()
        return gr.Button(t("cancel"), size="sm", elem_id=f"{tab}-cancel")


def outcome(tab: str, correctable: bool = False) -> Outcome:
    """Viewer and downloads; a file is made when its button is clicked, from the session's result, by no network.

    Args:
        tab: its id.
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
        buttons = {kind: gr.Button(t(kind), size="sm", elem_id=f"{tab}-{kind}") for kind in KINDS}
    # Clicked by script as soon as the file is there: the visitor clicks once.
    link = gr.DownloadButton("", elem_id=f"{tab}-file", elem_classes="download-link")
    fetch = f"() => setTimeout(() => document.querySelector('#{tab}-file').click(), 60)"
    for kind, button in buttons.items():
        made = button.click(
            download_of(kind),
            result,
            link,
            api_visibility="private",
            concurrency_limit=4,
            concurrency_id="files",
            show_progress="minimal",
        )
        made.success(None, js=fetch, api_visibility="private")
    return Outcome(result, viewer, cancel, correct)


@in_words
def with_doubt(result: Result | None) -> Result:
    """The session's result, with the map of its confidence for the viewer."""
    if result is None:
        raise BadRequestError("There is no result to look at, or it has expired. Segment the image again.")
    if result.shown.confidence is None:
        raise BadRequestError("Regions are computed without a network, so nothing is known about how sure they are.")
    return result.with_doubt()


def download_of(kind: str) -> Callable[[Result | None], str]:
    """The handler of one download button."""

    @in_words
    def download(result: Result | None) -> str:
        if result is None:
            raise BadRequestError("There is no result to download, or it has expired. Segment the image again.")
        with aside():
            name, content = make_file(result, kind)
        return store_bytes(content, name)

    return download


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
        shown.click(lambda index: paths[index], shown, photo, api_visibility="private", show_progress="hidden", queue=False)
    else:
        shown.click(
            lambda index: (paths[index], model),
            shown,
            [photo, picker],
            api_visibility="private",
            show_progress="hidden",
            queue=False,
        )
