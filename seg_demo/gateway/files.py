"""Files that come and go: uploads as bounded local files, answers in gradio's cache folder under the hash of their content.

Two visitors with the same picture, or with equal masks, are given the same file. gradio's ``save_bytes_to_cache`` would write it
anew in place while the first of them is fetching it.

What a visitor sends, from the browser or through the API, is opened by our own decoder alone: gradio's ``Image`` decodes before the handler runs: a corrupt file gives a nameless error, 16-bit images are clipped, and
a URL is downloaded without bound. Here nothing is decoded or downloaded, and everything is bounded before it is stored.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import processing_utils, utils
from gradio.blocks import Block
from gradio.data_classes import ImageData

from seg_demo.core.errors import BadRequestError, Message
from seg_demo.core.settings import settings
from seg_demo.core.storage import write_once
from seg_demo.gateway.visitor import spoken


def store_bytes(data: bytes, name: str, folder: str | None = None) -> str:
    """Store what will be fetched.

    Args:
        data: the content.
        name: of the file in the browser.
        folder: gradio's cache; None takes that of uploads.

    Returns:
        Its path, whose folder nobody can guess who does not know the content and this server's seed.

    Raises:
        OSError: the disk is full or fails.
    """
    path = Path(folder or utils.get_upload_folder(), processing_utils.hash_bytes(data), Path(name).name)
    write_once(path, data, len(data))
    return str(path.resolve())


def store_file(source: Path, folder: str | None = None) -> str:
    """Store a copy of a file under its name; see :func:`store_bytes`.

    Args:
        source: written by nobody meanwhile.
        folder: gradio's cache; None takes that of uploads.

    Raises:
        OSError: it cannot be read, or the disk is full or fails.
    """
    path = Path(folder or utils.get_upload_folder(), processing_utils.hash_file(source), source.name)
    with source.open("rb") as content:
        write_once(path, lambda file: shutil.copyfileobj(content, file, 1 << 20), source.stat().st_size)
    return str(path.resolve())


DISK_FULL = (
    Message("results.disk_full")
)


@dataclass(frozen=True)
class Upload:
    """A visitor's file.

    Attributes:
        path: where it lies, not yet looked into.
        stem: its name without suffix, letters, digits, ``.``, ``_`` and ``-`` only; downloads are named after it.
        view: what of it is looked at, as :meth:`seg_demo.core.picture.View.parse` takes it, not yet checked; None leaves that to the file.
    """

    path: Path
    stem: str
    view: Any = None


async def _files_only(self: Block, url_or_file_path: str | Path | None) -> str | None:
    """For components that take files: an address is not fetched, since it may lead anywhere and nothing would bound it.

    A method that classes share by assignment, because gradio draws a component as its first base.

    Raises:
        gr.Error: an address was sent.
    """
    if isinstance(url_or_file_path, str) and re.match(r"https?://", url_or_file_path, re.IGNORECASE):
        raise refused(Message("uploads.web_address"))
    return await Block.async_move_resource_to_block_cache(self, url_or_file_path)


class Photo(gr.Image):
    """gradio's image box whose value reaches handlers as an :class:`Upload`, undecoded."""

    is_template = True
    async_move_resource_to_block_cache = _files_only

    def example_payload(self) -> dict[str, Any]:
        """The example of the page "use via API": a file, as clients send one; gradio's is an address, and none is fetched."""
        return {"path": "image.png", "url": "image.png", "meta": {"_type": "gradio.FileData"}}

    def preprocess(self, payload: ImageData | None) -> Upload | None:
        """The visitor's file; a ``data:`` URL is stored as a file first.

        Raises:
            gr.Error: a ``data:`` URL that cannot be decoded or is too large.
        """
        if payload is None or (payload.path is None and not payload.url):
            return None
        if payload.path is not None:
            return Upload(Path(payload.path), stem_of(payload.orig_name or payload.path))
        data = bytes_of_data_url(payload.url or "")
        path = store_bytes(data, "image.bin", self.GRADIO_CACHE)
        self.temp_files.add(path)  # so that it is deleted after a while, as uploads are
        return Upload(Path(path), "image")


class Files(gr.File):
    """gradio's file box whose files reach handlers as paths."""

    is_template = True
    async_move_resource_to_block_cache = _files_only

    def _download_files(self, value: str | list[str]) -> str | list[str]:
        return value


def stem_of(name: str) -> str:
    """A file name without its suffix that is safe in any file system; ``image`` if nothing is left.

    >>> stem_of("my photo (1).jpeg")
    'my-photo-1'
    >>> stem_of("brain.nii.gz")
    'brain'
    """
    plain = re.sub(r"(?i)(?<=.)(\.nii\.gz|\.ome\.tiff?)$", "", Path(name).name)
    stem = re.sub(r"[^\w.-]+", "-", plain if plain != Path(name).name else Path(name).stem).strip("-._")
    return stem[:80] or "image"


def bytes_of_data_url(url: str) -> bytes:
    """The content of a base64 ``data:`` URL.

    Raises:
        gr.Error: not such a URL, or more than the size limit.
    """
    head, _, body = url.partition(",")
    limit = settings().max_bytes
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise refused(Message("uploads.no_data_url"))
    if len(body) * 3 // 4 > limit + 2:
        raise refused(too_large(len(body) * 3 // 4))
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise refused(Message("uploads.damaged_data_url")) from None


def too_large(size: int) -> str:
    """The sentence for a file over the limit of bytes."""
    limit = settings().max_bytes
    return Message("uploads.too_large", size=size, most=limit)


def uploaded(path: object) -> Path:
    """A file that a browser has uploaded and now names.

    Raises:
        BadRequestError: no text, or no file in the folder of uploads.
    """
    folder = Path(utils.get_upload_folder()).resolve()
    place = Path(path).resolve() if isinstance(path, str) and "\0" not in path else None
    if place is None or not place.is_relative_to(folder) or not place.is_file():
        raise BadRequestError("editor.file_is_gone")
    return place


class Refused(gr.Error):
    """A sentence of ours, escaped already."""


def refused(sentence: str) -> Refused:
    """An error that the visitor reads, in their language; gradio shows its text as HTML, so it is escaped."""
    return Refused(html.escape(spoken(sentence), quote=False), title="", print_exception=False)
