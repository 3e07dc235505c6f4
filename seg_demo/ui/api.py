"""The HTTP endpoints, also served as MCP tools: ``/segment`` for every model, ``/prompt`` for those that are clicked or told words, and
``/models``.

And ``POST /segment``: a picture in, its result out, in one round trip, for programs that draw no progress. The same work as the endpoint
``/segment``, with the same limits and refusals, but nothing is uploaded first, waited for in a second request, or written to a disk to be
fetched from there. What an answer holds is asked for: the masks are in the JSON already, so that PNG files are made only for those who
name them.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

import anyio
import gradio as gr
from gradio import utils
from gradio.context import LocalContext
from gradio.data_classes import JsonData
from pydantic import model_serializer
from starlette.responses import JSONResponse, Response

from seg_demo.core import (
    AUTO, DETAILS, TASKS, BadRequestError, BusyError, HubUnavailableError, LeftError, ModelNotFoundError, Options, SegDemoError, StorageError,
    TooLongError, read_prompt, requests, smoothed,
)
from seg_demo.gateway.queue import click_limits, in_words, predictor, sentence_of, underway, work_limits
from seg_demo.gateway.visitor import Photo, Upload, language_of, store_bytes, store_file, viewer_of
from seg_demo.inputs.images import open_raster
from seg_demo.outputs import draw, rasters
from seg_demo.serving import catalog
from seg_demo.ui.components import Either

if TYPE_CHECKING:
    from starlette.requests import Request

    from seg_demo.gateway.guard import Plain
    from seg_demo.inference.model import Model
    from seg_demo.inputs.scientific import Raster

RESULT = (
    "The result as json: task, model, width, height, device, seconds, familiar (false where the picture is unlike what the model "
    "learnt from, else true or null), notes (sentences on how the file was read), limit (so many objects at most were kept and there may be more, or null), view, pixel_size, unit and crs where a scientific file has them, and per segment id, label_id, label, score, area, area_units where there is a pixel size, "
    "area_fraction, bbox as [x, y, width, height], and segmentation as COCO compressed RLE."
)
MASK = "A lossless PNG at the size of the image, whose pixel values are the segments' ids: palette up to 256 ids, else 16-bit grey."
OVERLAY = "A PNG of the image with the segments drawn over it."
FAST = (
    "Programs that draw no progress get the same in one round trip: POST /segment?model=unet-cells with the file as the body; the other "
    "arguments of /segment go into the address too, and files=mask,overlay adds the two files in base64."
)
MODELS = f"A json list, per model: id, title, task, tasks (all that it answers), architecture, source, licence, labels, available, and promptable. {FAST}"


class AnyNumber(gr.Number):
    """gradio's number box whose handler sees what was really sent: NaN, True and texts get an answer in words."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload


class ModelId(gr.Textbox):
    """gradio's text box for a model id, whose handler sees what was really sent, a list or null too."""

    is_template = True

    def example_payload(self) -> str:
        """The id in the snippets of the page "use via API"."""
        return "unet-cells"

    def example_value(self) -> str:
        """As :meth:`example_payload`."""
        return self.example_payload()

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload


class Words(gr.Textbox):
    """gradio's text box whose handler sees what was really sent: an object in place of its JSON text, too."""

    is_template = True

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload


class _Ready(JsonData):
    """JSON that is handed on as it is. gradio's looks at every value of it by itself, in Python, to check and to copy it: the copying in its event loop, 30 ms
    for a few hundred segments beside other work."""

    def model_dump(self, **_: Any) -> Any:
        """What it is."""
        return self.root

    @model_serializer(mode="plain")
    def within(self) -> Any:
        """The same, as a part of an event."""
        return self.root


class Result(gr.JSON):
    """gradio's JSON box for what is JSON already."""

    is_template = True

    def postprocess(self, value: Any) -> JsonData:
        """The value as it is."""
        return _Ready.model_construct(root=value)


class PromptText(gr.Textbox):
    """gradio's text box for a prompt's JSON, whose handler sees what was really sent, an object too."""

    is_template = True

    def example_payload(self) -> str:
        """The prompt in the snippets of the page "use via API"."""
        return '{"objects": [{"points": [[120, 80]], "labels": [1]}]}'

    def example_value(self) -> str:
        """As :meth:`example_payload`."""
        return self.example_payload()

    def preprocess(self, payload: Any) -> Any:
        """The payload as it came."""
        return payload


@in_words
def segment(
    image: Upload | None,
    model: Any,
    threshold: Any = 0.5,
    detail: Any = "whole",
    smoothing: Any = None,
    task: Any = "auto",
    thresholds: Any = "",
    view: Any = "",
    looks: Any = 1,
) -> tuple[dict[str, object], str, str]:
    """
    Segment an image with any model of the demo: semantic, instance, panoptic or region segmentation. Three values come back: the
    result as JSON, the mask as a PNG of ids at the size of the image, and the image with the segments drawn over it.

    Args:
        image: The picture: a file in any common format, at most 20 MB and 50 megapixels by default, a stack of a microscope or scanner 200 MB. URLs are not fetched.
        model: An id from /models ("unet-cells", "maskrcnn-cells", "otsu", ...), or a Hugging Face id "user/repo[@revision]".
        threshold: Objects of instance models that score lower are left out; from 0 to 1. Other models ignore it.
        detail: "whole" shrinks a large image to what the network takes; "full" goes over it tile by tile (slower, sees small things).
        smoothing: For "otsu" (null: none) and "watershed" (null: 2): blur in pixels, at most 8; others refuse it. Send it by its name.
        task: "auto" is what the model was made for; for models that answer several: "semantic", "instance" or "panoptic". Send it by its name.
        thresholds: For panoptic results, JSON text with any of "score", "mask" and "overlap" from 0 to 1, such as {"score": 0.8}; what is left out is the model's own. Others refuse it. Send it by its name.
        view: JSON text that says what of a scientific file is looked at: {"page": 0, "z": 0, "t": 0, "channels": [2, 0, 1], "window": [lo, hi] or "auto", "full", "dicom", "gamma": 1.0}, every key optional. Left empty: the first page, the middle plane, up to three channels. Send it by its name.
        looks: How often a network of classes looks, its answers averaged: 1, 2 (also mirrored) or 4 (also upside down), for as much time. Others refuse more than 1. Send it by its name.

    Returns:
        The result as JSON (task, model, width, height, device, seconds, familiar, notes, limit where a detector stopped at so many objects, and per segment: id, label_id, label, score, area,
        area_fraction, bbox as [x, y, width, height], and the mask as COCO compressed RLE); the mask as a lossless PNG at
        the size of the image, whose pixel values are the segments' ids; and the image with the segments drawn over it. Of a TIFF beyond the
        limit of pixels, where the owner accepts such in full detail: no RLE, the mask as a GeoTIFF, and an overlay of at most 2048 pixels a side.
    """
    if image is None:
        raise BadRequestError("requests.no_image")
    options = Options(threshold, detail, parameters=smoothed(smoothing), task=task, thresholds=thresholds, view=view, looks=looks)
    with predictor().work(image.path, model, options=options) as work:
        if options.detail == "full" and (raster := open_raster(image.path, options.view, channels=work.samples)) is not None:
            with _segmented(raster, predictor().get(model), options) as (said, files):
                mask, overlay = (store_file(file.rename(file.with_name(f"{image.stem}_{file.name}"))) for file in files.values())
                return said, mask, overlay
        result = work.segment().above(options.threshold)
        mask = store_bytes(draw.id_map_png(result), image.stem + "_mask.png")
        overlay = store_bytes(draw.overlay_png(work.picture.pixels, result), image.stem + "_overlay.png")
        return result.to_dict(), mask, overlay


@contextmanager
def _segmented(raster: Raster, model: Model, options: Options) -> Iterator[tuple[dict[str, object], dict[str, Path]]]:
    """The result of a TIFF beyond the limit of pixels, and its files; what does not get done before the request's time is up is lost."""
    with tempfile.TemporaryDirectory(prefix="seg-demo-raster-") as folder, raster:
        rasters.segment(model, raster, Path(folder), options, ["geotiff"], overlay=True)
        said = json.loads(Path(folder, rasters.RESULT).read_text(encoding="utf-8"))
        yield said, {"mask": Path(folder, rasters.MASK), "overlay": Path(folder, rasters.OVERLAY)}


@in_words
def prompt(image: Upload | None, model: Any, prompt: Any = "", view: Any = "", request: gr.Request = None) -> tuple[dict[str, object], str, str]:
    """
    Cut out the objects that clicks, boxes, earlier masks or words show, with a promptable model such as one of the SAM family. The picture
    is looked at once; further prompts on it are answered at once. Three values come back, as from /segment.

    Args:
        image: The picture: a file in any common format, as for /segment.
        model: The id of a promptable model: one of /models, or a Hugging Face id "user/repo[@revision]".
        prompt: JSON text: {"objects": [{"points": [[x, y], ...], "labels": [1, 0, ...], "box": [x0, y0, x1, y1], "mask": COCO RLE of an earlier mask}, ...], "text": ["cat", ...]}, every key optional; pixels of the picture as uploaded; label 1 is inside the object, 0 outside. An object {"box": [...], "text": "cat"} is an example, for models such as SAM 3: all that is like what is in the box; "visual" stands for no words. Clicks are sent in their order: the bundled model hears one after the other, as on the page. An earlier mask that is not an answer to this client about this picture counts as drawn. Left empty: everything in the picture.
        view: As for /segment: what of a scientific file is looked at, as JSON text. Left empty: the file's own choice.

    Returns:
        The result as JSON (task "instance", as from /segment): one segment per object in their order, the id of the first being 1, and for
        words and examples one segment per thing found, the surest first, whose label is the words; the mask as a lossless PNG at the size of the image, whose pixel
        values are the segments' ids; and the image with the segments drawn over it.
    """
    if image is None:
        raise BadRequestError("requests.no_image")
    shown = read_prompt("" if prompt is None else prompt)
    who = getattr(request, "session_hash", None)
    with predictor().prompting(image.path, model, who=who, much=not shown, view=view) as session:
        result = session.answer(shown) if shown else session.everything()
        mask = store_bytes(draw.id_map_png(result), image.stem + "_mask.png")
        overlay = store_bytes(draw.overlay_png(session.pixels, result), image.stem + "_overlay.png")
        return result.to_dict(), mask, overlay


@in_words
def models() -> list[dict[str, object]]:
    """
    List the models that /segment and /prompt accept, beside Hugging Face ids. Programs that draw no progress get a picture's result in one
    round trip: POST /segment?model=unet-cells with the file as the body.

    Returns:
        One entry per model: id, title, task (semantic, instance, panoptic or region: what it was made for), tasks (all that it answers), architecture, source, licence, labels (class
        names as far as they are known before loading), channels (3 for red, green and blue; of more a file must have as many), available (whether it can be used right now), and promptable (whether /prompt accepts it).
    """
    return catalog.describe()


def documented(box: gr.components.Component, said: str) -> gr.components.Component:
    """A box that says on the page "use via API" what its value is; gradio itself would only name the kind of box.

    Args:
        box: of an endpoint.
        said: one or two sentences. gradio takes what is described as "json" for any JSON value.
    """
    schema = {**box.api_info(), "additional_description": said, "description": said}
    box.api_info = lambda: schema
    return box


def add_endpoints() -> None:
    """Add the endpoints to the current Blocks. Hidden boxes carry their types, so that clients upload files."""
    _, parts, _ = utils.get_function_description(segment)
    with gr.Column(visible=False):
        image = documented(Photo(label="image", type="filepath"), parts["image"])
        model = documented(ModelId(label="model"), parts["model"])
        threshold = documented(AnyNumber(0.5, label="threshold"), parts["threshold"])
        detail = documented(Either(list(DETAILS), value=DETAILS[0], label="detail"), parts["detail"])
        smoothing = documented(AnyNumber(None, label="smoothing"), parts["smoothing"])
        task = documented(Either([AUTO, *TASKS], value=AUTO, label="task"), parts["task"])
        thresholds = documented(Words(label="thresholds", value=""), parts["thresholds"])
        result = documented(Result(label="result"), RESULT)
        mask = documented(gr.File(label="mask"), MASK)
        overlay = documented(gr.File(label="overlay"), OVERLAY)
        listed = documented(gr.JSON(label="models"), MODELS)
        looked = documented(Words(label="view", value=""), parts["view"])
        looks = documented(AnyNumber(1, label="looks"), parts["looks"])
        asked = [image, model, threshold, detail, smoothing, task, thresholds, looked, looks]
        gr.Button().click(segment, asked, [result, mask, overlay], api_name="segment", **work_limits())
        told = utils.get_function_description(prompt)[1]
        shown = documented(PromptText(label="prompt"), told["prompt"])
        view = documented(Words("", label="view"), told["view"])
        gr.Button().click(prompt, [image, model, shown, view], [result, mask, overlay], api_name="prompt", **click_limits())
        gr.Button().click(models, None, listed, api_name="models", concurrency_limit=4)


# What the address may name beside the model, as the arguments of gradio's endpoint.
PARAMETERS = ("model", "threshold", "detail", "smoothing", "task", "thresholds", "view", "looks", "files")
FILES = ("mask", "overlay")
# Of errors, the status; any other sentence is about what was sent (400), and what has none is our own fault (500).
STATUSES = (
    (ModelNotFoundError, 404), (HubUnavailableError, 502), (BusyError, 503), (TooLongError, 504), (LeftError, 499), (StorageError, 507),
    (SegDemoError, 400),
)  # fmt: skip


def plain(blocks: gr.Blocks, most: int) -> Plain:
    """What answers ``POST /segment`` of a page, for :class:`seg_demo.gateway.guard.Guard`.

    Args:
        blocks: the page, whose queue and visitors these requests are among.
        most: requests that are let in at a time.
    """
    # Threads of their own: the page's files are read in anyio's, of which there are forty, and would wait behind those who wait for a slot.
    return partial(_answer, blocks, anyio.CapacityLimiter(most))


async def _answer(blocks: gr.Blocks, threads: anyio.CapacityLimiter, data: bytes | Path, request: Request) -> Response:
    # As gradio sets them for a handler: who asks, in which language, and on ZeroGPU on whose account.
    asked = gr.Request(request)
    LocalContext.blocks.set(blocks)
    LocalContext.request.set(asked)
    requests.viewer.set(viewer_of({}, asked, None))
    return await anyio.to_thread.run_sync(_in_words, data, request, limiter=threads)


def _in_words(data: bytes | Path, request: Request) -> Response:
    """The answer, or a sentence and the status that goes with it."""
    try:
        with underway("segment"):
            text = b"".join(result_of(data, dict(request.query_params), request.headers.get("content-type", "")))
            return Response(text, media_type="application/json")
    except Exception as error:
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        again = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse({"detail": sentence_of(error, "segment").text(language_of(request))}, status, again)


def result_of(data: bytes | Path, asked: dict[str, str], kind: str = "") -> list[bytes]:
    """A picture's result, as JSON in parts.

    Args:
        data: a file in any of the formats that are read, or where it lies.
        asked: of :data:`PARAMETERS`, as the address has them; what is left out is as for ``/segment``. ``files`` is ``mask``, ``overlay``,
            or both with a comma between them.
        kind: what the request says that its body is.

    Returns:
        :meth:`Segmentation.to_dict`; where files are asked for also ``files``, by their names: the same files as from ``/segment``, in
        base64.

    Raises:
        SegDemoError: a parameter that there is not, or whatever :meth:`Predictor.work` refuses.
    """
    if unknown := sorted(set(asked) - set(PARAMETERS)):
        raise BadRequestError("requests.unknown_parameter", name=unknown[0][:40], names=", ".join(PARAMETERS))
    files = [name for name in asked.get("files", "").split(",") if name]
    if not set(files) <= set(FILES):
        raise BadRequestError("requests.unknown_file", value=asked["files"][:40], names=", ".join(FILES))
    if kind.startswith("multipart/"):
        raise BadRequestError("requests.file_in_a_form")
    if not data:
        raise BadRequestError("requests.no_image")
    smoothing = smoothed(_number(asked["smoothing"])) if "smoothing" in asked else {}
    options = Options(
        _number(asked.get("threshold", "0.5")), asked.get("detail", "whole"), parameters=smoothing, task=asked.get("task", requests.AUTO),
        thresholds=asked.get("thresholds", ""), view=asked.get("view", ""), looks=_number(asked.get("looks", "1")),
    )  # fmt: skip
    with _for_windows(data, options) as data, predictor().work(data, model := asked.get("model", ""), options=options) as work:
        if options.detail == "full" and isinstance(data, Path) and (raster := open_raster(data, options.view, channels=work.samples)) is not None:
            with _segmented(raster, predictor().get(model), options) as (said, written):
                del said["files"]
                return [*draw.json_parts(said, {name: written[name].read_bytes() for name in files})]
        result = work.segment().above(options.threshold)
        made = {"mask": lambda: draw.id_map_png(result), "overlay": lambda: draw.overlay_png(work.picture.pixels, result)}
        return [*draw.json_parts(result.to_dict(), {name: made[name]() for name in files})]


@contextmanager
def _for_windows(data: bytes | Path, options: Options) -> Iterator[bytes | Path]:
    """A picture of which windows can be read: a TIFF, where it may be too large to be read at once, lies in a file meanwhile."""
    if isinstance(data, Path) or options.detail != "full" or data[:2] not in (b"II", b"MM"):
        yield data
        return
    with tempfile.NamedTemporaryFile(prefix="seg-demo-body-") as file:
        file.write(data)
        file.flush()
        yield Path(file.name)


def _number(text: str) -> float | str:
    """A number, or the text for whoever refuses it with a sentence."""
    try:
        return float(text)
    except ValueError:
        return text
