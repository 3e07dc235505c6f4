"""The editor: a ``gr.HTML`` subclass in plain files in which a person draws a mask at the full size of its image.

The browser holds the mask and its history; the server is asked for superpixels alone, and told when a mask is to be saved
(event ``save``, whose data :mod:`seg_demo.ui.correct_tab` checks).
"""

from __future__ import annotations

import base64
import uuid
from dataclasses import asdict, dataclass, field
from io import BytesIO
from pathlib import Path
from typing import Any

import gradio as gr
import numpy as np
from gradio import utils
from PIL import Image

from seg_demo.datasets.drawing import IGNORE_ID, Drawing
from seg_demo.datasets.sample import Facts
from seg_demo.errors import BadRequestError
from seg_demo.inputs.images import decode
from seg_demo.models.admission import is_large
from seg_demo.outputs import png, render
from seg_demo.types import LabelSet
from seg_demo.ui.plain_files import plain_files, served_file
from seg_demo.ui.work import in_words, predictor

# One scope in the browser, in this order: each file may use the ones before it.
SCRIPTS = (
    "viewer_text.js", "editor_text.js", "viewer_ids.js", "viewer_view.js", "editor_layer.js", "editor_shapes.js",
    "editor_png.js", "editor_drafts.js", "editor_document.js", "editor_regions.js", "editor_screen.js", "editor_panel.js", "editor_tools.js",
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


class MaskEditor(gr.HTML):
    """Shows a :class:`Document`, is told an :class:`Answer` or a :class:`Refusal`; None leaves it as it is."""

    def __init__(self, value: Document | Answer | Refusal | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("editor", SCRIPTS),
            elem_id=elem_id,
            server_functions=[superpixels],
            render=render,
        )

    def postprocess(self, value: Document | Answer | Refusal | None) -> dict[str, Any] | None:
        """What the browser receives: the picture and the ids as files, the rest as data.

        Args:
            value: a document to open, the answer to a save, or why there is none.
        """
        if value is None:
            return None
        if isinstance(value, Refusal):
            return {"refusal": asdict(value)}
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
        raise BadRequestError(f"count must be a whole number from {PATCHES[0]} to {PATCHES[1]}, but is {str(count)[:40]!r}.")
    path = uploaded(asked.get("path"))
    with predictor().work(large=is_large(path)):
        return render.viewer_id_png(predictor().segment_regions(decode(path), "slic", {"regions": count}))


def uploaded(path: object) -> Path:
    """A file that a browser has uploaded and now names.

    Raises:
        BadRequestError: no text, or no file in the folder of uploads.
    """
    folder = Path(utils.get_upload_folder()).resolve()
    place = Path(path).resolve() if isinstance(path, str) and "\0" not in path else None
    if place is None or not place.is_relative_to(folder) or not place.is_file():
        raise BadRequestError("The file that was sent is not on the server any more. Save it again.")
    return place


def _picture(image: np.ndarray) -> bytes:
    """A JPEG at full size, to draw on; small images without loss, since single pixels are looked at."""
    if image.shape[0] * image.shape[1] <= 1_000_000:
        return png.encode(image)
    file = BytesIO()
    Image.fromarray(image).save(file, "JPEG", quality=92, subsampling=0)
    return file.getvalue()


def _id_png(ids: np.ndarray) -> bytes:
    """uint16 (H, W) as an opaque RGB PNG, id = R + 256 * G: a canvas has 8 bits per channel."""
    split = np.zeros((*ids.shape, 3), dtype=np.uint8)
    split[..., 0], split[..., 1] = ids & 255, ids >> 8
    return png.encode(split)
