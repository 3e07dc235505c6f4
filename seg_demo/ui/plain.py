"""``POST /segment``: a picture in, its result out, in one round trip, for programs that draw no progress.

The same work as the endpoint ``/segment`` of gradio (:mod:`seg_demo.ui.api`), with the same limits and refusals, but nothing is
uploaded first, waited for in a second request, or written to a disk to be fetched from there. What an answer holds is asked for: the
masks are in the JSON already, so that PNG files are made only for those who name them.
"""

from __future__ import annotations

import base64
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import gradio as gr
from gradio.context import LocalContext
from starlette.responses import JSONResponse, Response

from seg_demo.core import requests
from seg_demo.core.errors import BadRequestError, BusyError, HubUnavailableError, ModelNotFoundError, SegDemoError, StorageError
from seg_demo.core.requests import LeftError, Options, TooLongError, smoothed
from seg_demo.gateway.queue import predictor, sentence_of, underway
from seg_demo.gateway.visitor import language_of, viewer_of
from seg_demo.outputs import draw

if TYPE_CHECKING:
    from starlette.requests import Request

    from seg_demo.gateway.guard import Plain

# What the address may name beside the model, as the arguments of gradio's endpoint.
PARAMETERS = ("model", "threshold", "detail", "smoothing", "task", "thresholds", "view", "files")
FILES = ("mask", "overlay")
# Of errors, the status; any other sentence is about what was sent (400), and what has none is our own fault (500).
STATUSES = (
    (ModelNotFoundError, 404), (HubUnavailableError, 502), (BusyError, 503), (TooLongError, 504), (LeftError, 499), (StorageError, 507),
    (SegDemoError, 400),
)  # fmt: skip
NAME = "segment"


def plain(blocks: gr.Blocks) -> Plain:
    """What answers ``POST /segment`` of a page, for :class:`seg_demo.gateway.guard.Guard`.

    Args:
        blocks: the page, whose queue and visitors these requests are among.
    """
    return partial(_answer, blocks)


async def _answer(blocks: gr.Blocks, data: bytes | Path, request: Request) -> Response:
    # As gradio sets them for a handler: who asks, in which language, and on ZeroGPU on whose account.
    asked = gr.Request(request)
    LocalContext.blocks.set(blocks)
    LocalContext.request.set(asked)
    requests.viewer.set(viewer_of({}, asked, None))
    return await anyio.to_thread.run_sync(_in_words, data, request)


def _in_words(data: bytes | Path, request: Request) -> Response:
    """The answer, or a sentence and the status that goes with it."""
    try:
        with underway(NAME):
            return JSONResponse(segment(data, dict(request.query_params), request.headers.get("content-type", "")))
    except Exception as error:
        status = next((status for kind, status in STATUSES if isinstance(error, kind)), 500)
        again = {"Retry-After": "1"} if status == 503 else None
        return JSONResponse({"detail": sentence_of(error, NAME).text(language_of(request))}, status, again)


def segment(data: bytes | Path, asked: dict[str, str], kind: str = "") -> dict[str, object]:
    """A picture's result.

    Args:
        data: a file in any of the formats that are read, or where it lies.
        asked: of :data:`PARAMETERS`, as the address has them; what is left out is as for ``/segment``. ``files`` is ``mask``, ``overlay``,
            or both with a comma between them.
        kind: what the request says that its body is.

    Returns:
        :meth:`Segmentation.to_dict`; where files are asked for also ``files``, by their names: the same PNG files as from ``/segment``, in
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
        thresholds=asked.get("thresholds", ""), view=asked.get("view", ""),
    )  # fmt: skip
    with predictor().work(data, asked.get("model", ""), options=options) as work:
        result = work.segment().above(options.threshold)
        made = {"mask": lambda: draw.id_map_png(result), "overlay": lambda: draw.overlay_png(work.picture.pixels, result)}
        drawn = {name: base64.b64encode(made[name]()).decode("ascii") for name in files}
        return {**result.to_dict(), "files": drawn} if files else result.to_dict()


def _number(text: str) -> float | str:
    """A number, or the text for whoever refuses it with a sentence."""
    try:
        return float(text)
    except ValueError:
        return text
