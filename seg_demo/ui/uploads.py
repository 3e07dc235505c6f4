"""What a visitor sends, from the browser or through the API, as a bounded local file that our own decoder opens.

gradio's ``Image`` decodes before the handler runs: a corrupt file gives a nameless error, 16-bit images are clipped, and
a URL is downloaded without bound. Here nothing is decoded or downloaded, and everything is bounded before it is stored.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.blocks import Block
from gradio.data_classes import ImageData

from seg_demo.settings import settings
from seg_demo.ui.i18n_errors import spoken
from seg_demo.ui.served import store_bytes

DISK_FULL = (
    "The server's disk is full, so the result could not be stored. Nothing is wrong with what you sent: try again in an hour."
)


@dataclass(frozen=True)
class Upload:
    """A visitor's file.

    Attributes:
        path: where it lies, not yet looked into.
        stem: its name without suffix, letters, digits, ``.``, ``_`` and ``-`` only; downloads are named after it.
    """

    path: Path
    stem: str


async def _files_only(self: Block, url_or_file_path: str | Path | None) -> str | None:
    """For components that take files: an address is not fetched, since it may lead anywhere and nothing would bound it.

    A method that classes share by assignment, because gradio draws a component as its first base.

    Raises:
        gr.Error: an address was sent.
    """
    if isinstance(url_or_file_path, str) and re.match(r"https?://", url_or_file_path, re.IGNORECASE):
        raise refused("A web address was sent, but addresses are not downloaded here. Download the file and send that.")
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
    """
    stem = re.sub(r"[^\w.-]+", "-", Path(name).stem).strip("-._")
    return stem[:80] or "image"


def bytes_of_data_url(url: str) -> bytes:
    """The content of a base64 ``data:`` URL.

    Raises:
        gr.Error: not such a URL, or more than the size limit.
    """
    head, _, body = url.partition(",")
    limit = settings().max_bytes
    if not head.startswith("data:") or not head.endswith(";base64"):
        raise refused("The image came as text that is no base64 data: URL. Send a file; addresses are not fetched here.")
    if len(body) * 3 // 4 > limit + 2:
        raise refused(too_large(len(body) * 3 // 4))
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise refused("The image came as a data: URL whose base64 text is damaged. Send the file again.") from None


def too_large(size: int) -> str:
    """The sentence for a file over the limit of bytes."""
    limit = settings().max_bytes
    return f"The file has at least {size:,} bytes, but at most {limit:,} are accepted. Send a smaller image, or a JPEG."


class Refused(gr.Error):
    """A sentence of ours, escaped already."""


def refused(sentence: str) -> Refused:
    """An error that the visitor reads, in their language; gradio shows its text as HTML, so it is escaped."""
    return Refused(html.escape(spoken(sentence), quote=False), title="", print_exception=False)
