"""The queue of the tab *Correct*: many pictures, one after the other, those first of which a model is least sure.

The browser keeps the list, what is done and where it stands (``static/queue.js``), so that a reload loses nothing; the server keeps the
pictures among the uploads, and is named one of them to open. Results are not kept: the model that ranked a picture segments it again when it is opened.
"""

from __future__ import annotations

import secrets
import threading
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import gradio as gr

from seg_demo.core.errors import BadRequestError, SegDemoError, in_language
from seg_demo.core.requests import Options
from seg_demo.gateway.queue import BATCHES, in_words, one_batch, predictor
from seg_demo.gateway.visitor import Files
from seg_demo.ui.batch_tab import FILE_TYPES, batch_folder, gather, patiently
from seg_demo.ui.components import language_of, plain_files, t

# More pictures than anybody corrects in a row; the browser keeps a line for each.
MOST_ITEMS = 1000


@dataclass(frozen=True)
class Item:
    """A picture that waits.

    Attributes:
        name: as the person called it, its folder in an archive included.
        path: where it lies among the uploads.
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
) -> Queue:  # fmt: skip
    """A queue of uploaded images and archives; with a model, every picture is segmented once, and the least sure come first.

    Raises:
        BadRequestError: there is no picture, or too many.
        SegDemoError: the model cannot be had.
    """
    if not files:
        raise BadRequestError("batches.no_file")
    with one_batch():
        picked, refused = gather([Path(path) for path in files], batch_folder())
        if len(picked) > MOST_ITEMS:
            raise BadRequestError("batches.too_many_images", most=MOST_ITEMS)
        failed, items = [(left.name, left.why) for left in refused], []
        for number, picture in enumerate(picked):
            progress((number, len(picked)), desc=picture.name[-60:])
            try:
                items.append(Item(picture.name, str(picture.path), margin_of(picture.path, model) if start == "model" else None))
            except SegDemoError as error:
                failed.append((picture.name, error.message))
                if number == len(failed) - 1 == len(picked) - 1:
                    raise  # of none: then the fault is not a picture's
    language = language_of(request)
    return Queue(ranked(items), tuple((name, in_language(why, language)) for name, why in failed))


def margin_of(path: Path, model: object) -> float | None:
    """How sure a model is of a picture: the mean margin of its pixels in [0, 1]; None of methods that know no doubt.

    Raises:
        SegDemoError: a picture or a model that cannot be used.
    """
    if not model:
        raise BadRequestError("requests.no_model")

    def segmented() -> float | None:
        with predictor().work(path, str(model), options=Options(confidence=True)) as work:
            found = work.segment().above(0.5)
            return None if found.confidence is None else float(found.margin_sums.sum()) / found.id_map.size

    return patiently(segmented, threading.Event())


def ranked(items: Sequence[Item]) -> tuple[Item, ...]:
    """The least sure first, those of which nothing is known last, in their order."""
    return tuple(sorted(items, key=lambda item: (item.margin is None, item.margin)))
