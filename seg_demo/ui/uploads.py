"""What a visitor sends, from the browser or through the API, as a bounded local file that our own decoder opens.

gradio's ``Image`` decodes before the handler runs: a corrupt file gives a nameless error, 16-bit images are clipped, and
a URL is downloaded without bound. Here nothing is decoded, and everything is bounded before it is stored.
"""

from __future__ import annotations

import base64
import binascii
import html
import re
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urljoin

import gradio as gr
import httpx
import safehttpx
from gradio import processing_utils
from gradio.data_classes import ImageData

from seg_demo.settings import settings

URL_TIMEOUT = 10.0
MAX_REDIRECTS = 5


@dataclass(frozen=True)
class Upload:
    """A visitor's file.

    Attributes:
        path: where it lies, not yet looked into.
        stem: its name without suffix, letters, digits, ``.``, ``_`` and ``-`` only; downloads are named after it.
    """

    path: Path
    stem: str


class Photo(gr.Image):
    """gradio's image box whose value reaches handlers as an :class:`Upload`, undecoded."""

    is_template = True

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
        return Upload(Path(processing_utils.save_bytes_to_cache(data, "image.bin", self.GRADIO_CACHE)), "image")

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """As gradio's, but a URL is downloaded only up to the size limit, within seconds, and from public hosts."""
        if isinstance(url_or_file_path, str) and re.match(r"https?://", url_or_file_path):
            data = await download(url_or_file_path)
            name = Path(httpx.URL(url_or_file_path).path).name or "image"
            path = processing_utils.save_bytes_to_cache(data, stem_of(name) + ".bin", self.GRADIO_CACHE)
            self.temp_files.add(path)
            return path
        return await super().async_move_resource_to_block_cache(url_or_file_path)


class Files(gr.File):
    """gradio's file box whose files reach handlers as paths; addresses are not fetched, since nothing would bound them."""

    is_template = True

    async def async_move_resource_to_block_cache(self, url_or_file_path: str | Path | None) -> str | None:
        """As gradio's, for files only.

        Raises:
            gr.Error: an address was sent.
        """
        if isinstance(url_or_file_path, str) and re.match(r"https?://", url_or_file_path):
            raise refused("Here files are needed, but an address was sent. Download it and upload the file.")
        return await super().async_move_resource_to_block_cache(url_or_file_path)

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
        raise refused("The image came as text that is no base64 data: URL. Send a file, or a URL that begins with https://.")
    if len(body) * 3 // 4 > limit + 2:
        raise refused(too_large(len(body) * 3 // 4))
    try:
        return base64.b64decode(body, validate=True)
    except (binascii.Error, ValueError):
        raise refused("The image came as a data: URL whose base64 text is damaged. Send the file again.") from None


async def download(url: str) -> bytes:
    """Fetch a public URL, reading no more than the size limit; each redirect is checked anew.

    Raises:
        gr.Error: not reachable, not public, not answered with 200, or too large.
    """
    limit = settings().max_bytes
    try:
        for _ in range(MAX_REDIRECTS + 1):
            address = await safehttpx.async_validate_url(httpx.URL(url).host)
            transport = safehttpx.AsyncSecureTransport(address)
            async with (
                httpx.AsyncClient(transport=transport, timeout=URL_TIMEOUT) as client,
                client.stream("GET", url) as answer,
            ):
                if answer.has_redirect_location:
                    url = urljoin(url, answer.headers["Location"])
                    continue
                if answer.status_code != 200:
                    raise refused(f"The image's address answered with HTTP {answer.status_code}. Upload the file instead.")
                data = bytearray()
                async for chunk in answer.aiter_bytes():
                    data += chunk
                    if len(data) > limit:
                        raise refused(too_large(len(data)))
                return bytes(data)
    except (httpx.HTTPError, httpx.InvalidURL, ValueError, OSError):
        raise refused(
            "The image's address cannot be reached from here, or is not public. Upload the file instead."
        ) from None
    raise refused(f"The image's address redirects more than {MAX_REDIRECTS} times. Upload the file instead.")


def too_large(size: int) -> str:
    """The sentence for a file over the limit of bytes."""
    limit = settings().max_bytes
    return f"The file has at least {size:,} bytes, but at most {limit:,} are accepted. Send a smaller image, or a JPEG."


def refused(sentence: str) -> gr.Error:
    """An error that the visitor reads; gradio shows its text as HTML, so it is escaped."""
    return gr.Error(html.escape(sentence, quote=False), title="", print_exception=False)
