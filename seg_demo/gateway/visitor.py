"""Who a visitor is, and the files that they send and are handed.

For what they make, a visitor is the holder of a random key that is kept in their browser alone; for turns, an address. Also whether a visitor is
the server's owner (off Spaces who sits at the machine, on a Space who is logged in as its author), and the language that the visitor's browser asks
for.

Uploads are bounded local files, answers lie in gradio's cache folder under the hash of their content. Two visitors with the same picture, or with
equal masks, are given the same file. gradio's ``save_bytes_to_cache`` would write it anew in place while the first of them is fetching it.

What a visitor sends, from the browser or through the API, is opened by our own decoder alone: gradio's ``Image`` decodes before the handler
runs: a corrupt file gives a nameless error, 16-bit images are clipped, and a URL is downloaded without bound. Here nothing is decoded or
downloaded, and everything is bounded before it is stored.
"""

from __future__ import annotations

import base64
import binascii
import html
import ipaddress
import os
import re
import secrets
import shutil
import threading
import time
from collections import OrderedDict
from dataclasses import dataclass
from functools import lru_cache
from importlib.util import find_spec
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import gradio as gr
from gradio import processing_utils, utils
from gradio.blocks import Block
from gradio.context import LocalContext
from gradio.data_classes import ImageData

from seg_demo.core import VISITOR_KEY, BadRequestError, Message, Viewer, in_language, owner_of, write_once
from seg_demo.core.settings import settings

# What a program sends its visitor's key in, to see what is theirs; the page sends it with its events.
KEY_HEADER = "x-seg-demo-key"
STORAGE = "seg-demo-visitor"
# Sessions whose owner is remembered; a page sends the key again when a tab is opened.
SESSIONS = 4096
# Headers by which a proxy tells whom it speaks for; a request that has one does not come from this machine.
_FORWARDED = ("forwarded", "x-forwarded-for", "x-forwarded-host", "x-real-ip", "via")

_sessions: OrderedDict[str, str] = OrderedDict()
_lock = threading.Lock()


def visitor_state() -> gr.BrowserState:
    """The visitor's key in the browser's local storage; it survives reloads of the page and restarts of the server.

    Name and secret are fixed so that a restarted server reads what an earlier one wrote; the secret hides nothing from the
    visitor, whose own key it is.
    """
    return gr.BrowserState(None, storage_key=STORAGE, secret=STORAGE)


def key_or_new(value: object) -> str:
    """The key that a browser sent, or a fresh one (256 random bits) for a browser that has none yet."""
    if isinstance(value, str) and VISITOR_KEY.fullmatch(value):
        return value
    return secrets.token_urlsafe(32)


def viewer_of(inputs: dict[str, object], request: Any, session: str | None) -> Viewer:
    """Who an event is from: whoever holds the key that came with it, in its header, or with an earlier event of its session.

    Args:
        inputs: what came for the components that keep something in the browser, by their storage key.
        request: the event's.
        session: of gradio.
    """
    headers = getattr(request, "headers", None) or {}
    owner = owner_of(inputs.get(STORAGE)) or owner_of(headers.get(KEY_HEADER))
    with _lock:
        if owner and session:
            _sessions[session] = owner
            _sessions.move_to_end(session)
            while len(_sessions) > SESSIONS:
                _sessions.popitem(last=False)
        elif session and not owner:
            owner = _sessions.get(session, "")
    return Viewer(owner, request is not None and is_host(request))


def is_host(request: gr.Request) -> bool:
    """Whether the server is the visitor's own: off Spaces, who sits at the machine; on a Space, who is logged in as its author."""
    if not (space := os.environ.get("SPACE_ID")):
        return at_this_machine(request)
    scope = getattr(getattr(request, "request", None), "scope", {})
    login = (scope.get("session") or {}).get("oauth_info") or {}
    name = (login.get("userinfo") or {}).get("preferred_username")
    return bool(name) and name == space.partition("/")[0]


def at_this_machine(request: gr.Request) -> bool:
    """Whether a request comes from a browser on the machine that serves it, and through no proxy.

    The browser's own words count too: a proxy that adds no header, and a foreign page whose name was made to lead here (DNS
    rebinding), are addressed by another name. A proxy may also hide that name, and whoever comes through it may forge words; a
    demo with passwords is there for others, so with them nobody is known by where a request comes from.
    """
    if settings().auth:
        return False
    if any(request.headers.get(name) for name in _FORWARDED):
        return False
    named = [request.headers.get("host"), request.headers.get("origin")]
    client = getattr(request.client, "host", None)
    return all(_is_here(urlsplit(name if "//" in name else f"//{name}").hostname) for name in named if name) and _is_here(client)


def _is_here(host: str | None) -> bool:
    """Whether a host name or address is the loopback."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host or "").is_loopback
    except ValueError:
        return False


# What gradio's login routes import; a Space installs them with gradio[oauth].
_NEEDED = ("authlib", "itsdangerous")


def login_offered() -> bool:
    """Whether visitors can log in to the Hub here: on a Space with ``hf_oauth: true``; elsewhere the button stops the launch."""
    return bool(os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID")) and all(map(find_spec, _NEEDED))


def token_for(typed: object, login: gr.OAuthToken | None, request: gr.Request) -> str | None:
    """The token to push with; used and passed on, kept nowhere.

    Args:
        typed: what the visitor typed into the box of the token.
        login: of the visitor, where they are logged in.
        request: of the visitor.

    Returns:
        The typed token, else that of the login; None for the login of this machine, which only who sits at it may use.

    Raises:
        BadRequestError: there is none.
    """
    if isinstance(typed, str) and typed.strip():
        return typed.strip()
    if login is not None and login.token:
        return login.token
    if not os.environ.get("SPACE_ID") and at_this_machine(request):
        return None
    if login_offered():
        raise BadRequestError("login.use_button_or_token")
    raise BadRequestError("login.type_a_token")


def address_of(scope: dict[str, Any]) -> str | None:
    """Who sent a request, as far as it can be known: a public address. Inside a network it is a proxy's, and tells nothing.

    uvicorn has put the address from X-Forwarded-For into the scope already, where the proxy is one that
    ``FORWARDED_ALLOW_IPS`` trusts.

    Args:
        scope: of ASGI.
    """
    return _public((scope.get("client") or ("",))[0])


@lru_cache(maxsize=4096)  # asked again for everyone who waits, with each request
def _public(host: str) -> str | None:
    try:
        return host if ipaddress.ip_address(host).is_global else None
    except ValueError:
        return None


def whose(request: Any, session: str | None) -> str:
    """Whose turn an event takes: that of an address, or of a browser's session where the address tells nothing."""
    return address_of(request.scope) or f"session {session}"


def language_of(request: gr.Request | None) -> str:
    """``zh`` if the browser asks for Chinese first, else ``en``."""
    wanted = (request.headers.get("accept-language") or "") if request is not None else ""
    return "zh" if wanted.lower().startswith("zh") else "en"


def spoken(message: str) -> str:
    """A message in the language of the browser whose request is being answered; English for all other clients."""
    return in_language(message, language_of(LocalContext.request.get(None)))


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


def sweep_partial(folder: str, age: float) -> None:
    """Delete what uploads that were broken off have left: gradio writes them as ``tmp...`` and knows them no more.

    Args:
        folder: of uploads.
        age: seconds since they were last written to.
    """
    for path in Path(folder).glob("tmp*"):
        try:
            if path.is_file() and time.time() - path.stat().st_mtime > age:
                path.unlink()
        except OSError:
            continue  # another process was faster


class Refused(gr.Error):
    """A sentence of ours, escaped already."""


def refused(sentence: str) -> Refused:
    """An error that the visitor reads, in their language; gradio shows its text as HTML, so it is escaped."""
    return Refused(html.escape(spoken(sentence), quote=False), title="", print_exception=False)
