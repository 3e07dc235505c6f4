"""ModelSpec → verified local checkpoint folder; what datasets, training and the page want of the Hub they import from here.

What was found once is remembered: a second request for a model makes no network call. A branch is looked up again after
``REFRESH_SECONDS``; a commit never. Where the Hub cannot be reached, the local cache serves, and for ``DOWN_SECONDS`` nobody
waits for the Hub again.

Whose token: with ``token=False`` nobody's. The local cache is shared with the owner, so a cached private model must not leak
through it: such a caller is served from the cache only what an anonymous look-up has been answered for before, which a file
``.anonymous/<commit>`` beside the cached snapshots notes.

What people paste to name a Hub model: the address of its page, of a folder or a file of it; → ``user/repo/folder@revision``.
"""

from __future__ import annotations

import re
import threading
import time
import unicodedata
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants, get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from seg_demo.core.errors import BadRequestError, HubUnavailableError, Message, SegDemoError
from seg_demo.core.requests import Report
from seg_demo.core.settings import settings
from seg_demo.core.types import ModelSpec
from seg_demo.hub import cache, client, download as hub_download
from seg_demo.hub.cache import COMMIT, held
from seg_demo.hub.client import TRANSPORT_ERRORS, Head, Login, bounded, can_write, head, host, unseen, whoami
from seg_demo.hub.download import Listing, download, look_up

__all__ = [
    "TRANSPORT_ERRORS",
    "Head",
    "Login",
    "bounded",
    "cached",
    "can_write",
    "fetch",
    "forget",
    "head",
    "held",
    "host",
    "look",
    "reachable",
    "recent",
    "unseen",
    "whoami",
]

REFRESH_SECONDS = 600.0
DOWN_SECONDS = 30.0
UP_SECONDS = 300.0
PROBE_SECONDS = 3.0
REMEMBERED = 1024

_Key = tuple[str, str, bool]


@dataclass
class _Found:
    """Where a model's files are, and when the Hub said so."""

    folder: Path
    when: float


_lock = threading.Lock()
_found: OrderedDict[_Key, _Found] = OrderedDict()
_seen: dict[str, tuple[bool, float]] = {}
_asking: dict[str, threading.Lock] = {}


def forget() -> None:
    """Drop everything remembered in this process: found models, checked files, and whether the Hub could be reached."""
    with _lock:
        _found.clear()
        _seen.clear()
    cache.forget()


def fetch(spec: ModelSpec, *, token: bool, report: Report | None = None, owners: Iterable[tuple[str, str]] = ()) -> Path:
    """The local folder of a Hub model, downloaded if needed; config.json and model.safetensors are in it.

    Args:
        spec: ``id`` is ``user/repo``, or ``user/repo/folder``; ``revision`` a branch, tag or commit, None for the default branch.
        token: whether the login of this machine may be used; False for what a visitor typed, which is bounded on the disk.
        report: called with the fraction that has been downloaded, or None, and a few words.
        owners: repositories and revisions that do not have to make room for what a visitor typed.

    Raises:
        ModelNotFoundError: no such repository or revision can be seen by whose token is used.
        BadCheckpointError: the repository has no config.json, no safetensors weights, or too large ones.
        HubUnavailableError: the Hub does not answer within ``hub_timeout`` seconds, or fails, and nothing is cached.
        BusyError: no room on the disk for what a visitor typed, because all of it is in use.
        StorageError: the disk is full.
    """
    folder = _fetch(spec, token, report, owners)
    (cache.claim if token else cache.touch)(spec.id, cache.commit_in(folder))
    return folder


def recent(spec: ModelSpec, *, token: bool) -> Path | None:
    """The local folder of a model that :func:`fetch` would return without asking the Hub; None if it would ask.

    Args:
        spec: as for :func:`fetch`.
        token: as for :func:`fetch`.
    """
    revision = spec.revision or "main"
    with _lock:
        known = _found.get((spec.id, revision, token))
    if known is None or not cache.complete(known.folder) or not cache.intact(known.folder):
        return None
    fresh = COMMIT.fullmatch(revision) is not None or time.monotonic() - known.when < REFRESH_SECONDS
    return known.folder if fresh else None


def _fetch(spec: ModelSpec, token: bool, report: Report | None, owners: Iterable[tuple[str, str]]) -> Path:
    key = (spec.id, spec.revision or "main", token)
    if (folder := recent(spec, token=token)) is not None:
        return folder
    if COMMIT.fullmatch(key[1]) and (folder := cached(spec, token=token)):
        return _remember(key, folder)
    # Whether there is something newer is not worth as long a wait as what is missing.
    if (folder := cached(spec, token=token)) and not reachable():
        return _remember(key, folder)
    try:
        return _remember(key, _from_hub(spec, token, report, owners))
    except HubUnavailableError:
        folder = cached(spec, token=token)
        if folder is None:
            raise
        return _remember(key, folder)


def _from_hub(spec: ModelSpec, token: bool, report: Report | None, owners: Iterable[tuple[str, str]]) -> Path:
    """Look the model up, download what is missing, and note what the next one needs to know."""
    if constants.is_offline_mode():
        raise client.unavailable(OfflineModeIsEnabled(), Message("hub.not_in_cache", id=spec.id))
    if _remembered(constants.ENDPOINT) is False:
        raise client.unavailable(TimeoutError(), Message("hub.not_in_cache", id=spec.id))
    try:
        listing, anonymous = _look_up_as(spec, token)
        _note(constants.ENDPOINT, True)
        folder = hub_download.folder(spec, listing)
        if not hub_download.here(spec, listing):
            if not token:
                most = settings().visitor_models_bytes
                cache.reserve(spec.id, listing.sha, listing.every, most, owners, listing.pickled)
                if listing.lender is not None:
                    cache.lend(spec.id, listing.sha, listing.lender)
            try:
                with held(spec.id):
                    download(spec, listing, token=not anonymous, report=report)
            finally:
                if not token:
                    cache.settle(spec.id, listing.sha, listing.pickled if cache.complete(folder) else 0)
    except (*TRANSPORT_ERRORS, SegDemoError, ValueError, RuntimeError) as error:
        if client.is_silence(error):
            _note(constants.ENDPOINT, False)
        raise client.sentence(error, spec, token) from error
    if not hub_download.here(spec, listing):
        raise HubUnavailableError("hub.arrived_damaged", id=spec.id)
    cache.note(spec.id, spec.revision or "main", listing.sha, public=anonymous)
    return folder


def look(spec: ModelSpec) -> tuple[Listing, Path]:
    """What the Hub has of a model, and the folder with its config.json, the one file that is fetched. The login is used.

    Args:
        spec: of source ``hub``.

    Raises:
        SegDemoError: as for :func:`fetch`.
    """
    if constants.is_offline_mode():
        raise client.unavailable(OfflineModeIsEnabled(), Message("hub.not_looked_at", id=spec.id))
    try:
        listing, anonymous = _look_up_as(spec, True)
        return listing, hub_download.small_files(spec, listing, token=not anonymous)
    except (*TRANSPORT_ERRORS, SegDemoError, ValueError, RuntimeError) as error:
        raise client.sentence(error, spec, True) from error


def _look_up_as(spec: ModelSpec, token: bool) -> tuple[Listing, bool]:
    """What the Hub says, and whether it said so to nobody in particular."""
    if not token:
        return look_up(spec, token=False), True
    try:
        return look_up(spec, token=True), False
    except TRANSPORT_ERRORS as error:
        if not client.wrong_token(error):
            raise
        try:  # the Hub refuses a stale login even for what everyone may see
            return look_up(spec, token=False), True
        except TRANSPORT_ERRORS:
            raise error from None


def cached(spec: ModelSpec, *, token: bool) -> Path | None:
    """The local folder of a Hub model as it was last seen, without any network call; None if it has to be fetched.

    Args:
        spec: of source ``hub``.
        token: whether the login may be used; False serves only what is known to be public.
    """
    return cache.find(spec.id, spec.revision or "main", public_only=not token)


def reachable(address: str | None = None) -> bool:
    """Whether the Hub (or another server) answers now. Takes at most a few seconds, and is remembered.

    Args:
        address: another server's address, such as ``https://download.pytorch.org``; None for the Hub.
    """
    address = address or constants.ENDPOINT
    remembered = _remembered(address)
    if remembered is not None:
        return remembered
    if constants.is_offline_mode():
        return False

    def ask() -> bool:
        return get_session().head(address, follow_redirects=False).status_code < 500

    with _lock:
        asking = _asking.setdefault(address, threading.Lock())
    with asking:  # whoever else wants to know meanwhile waits for this answer
        remembered = _remembered(address)
        if remembered is not None:
            return remembered
        try:
            answer = client.within(min(PROBE_SECONDS, settings().hub_timeout), ask)
        except TRANSPORT_ERRORS:
            answer = False
        _note(address, answer)
    return answer


def _remembered(address: str) -> bool | None:
    """What is still known about a server: answers, does not, or nothing."""
    with _lock:
        answer, when = _seen.get(address, (False, -float("inf")))
    age = time.monotonic() - when
    return answer if age < (UP_SECONDS if answer else DOWN_SECONDS) else None


def _note(address: str, answers: bool) -> None:
    with _lock:
        _seen[address] = (answers, time.monotonic())


def _remember(key: _Key, folder: Path) -> Path:
    with _lock:
        _found[key] = _Found(folder, time.monotonic())
        _found.move_to_end(key)
        while len(_found) > REMEMBERED:
            _found.popitem(last=False)
    return folder


_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co", "hf-mirror.com", "www.hf-mirror.com")
_ADDRESS = re.compile(r"(?:https?://)?(?P<host>[\w.-]+(?::\d+)?)(?:/(?P<path>[^?#\s]*))?(?:[?#]\S*)?", re.ASCII | re.IGNORECASE)
# What stands around an id where people copy it: a command, a call, a link in Markdown, git's address, a folder of the Hub's cache.
_AROUND = (
    re.compile(r"(?:git\s+clone|(?:hf|huggingface-cli)\s+download)\s+(?:-\S+\s+)*(\S+)(?:\s.*)?"),
    re.compile(r"[\w.\s=]*(?:from_pretrained|pipeline|load_model)\(\s*(?:.*\bmodel\s*=\s*)?[\"']([^\"']+)[\"'].*"),
    re.compile(r"(?:--)?model[\s=:]+[\"']?([^\"'\s]+)[\"']?,?"),
    re.compile(r"\[[^\]]*\]\(([^()\s]+)\)"),
    re.compile(r"(?:ssh://)?git@((?:hf\.co|huggingface\.co)[:/]\S+)"),
)
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)", re.ASCII)
_QUOTES = "<>\"'`“”‘’«»„‹›「」《》"
# Pages of the site that are nobody's.
_SITE = (
    "models", "docs", "papers", "collections", "blog", "learn", "settings", "join", "login", "pricing", "search", "new",
    "organizations", "tasks", "chat", "api", "posts", "enterprise", "support", "inference", "notifications",
)  # fmt: skip
_OTHER_KINDS = {"datasets": Message("addresses.dataset"), "spaces": Message("addresses.space")}
_CHOOSE = Message("addresses.type_an_id")


def id_of(text: str) -> str:
    """A pasted address as an id; any other text as it is, without quotes around it.

    >>> id_of("https://huggingface.co/ann/cells/tree/main/"), id_of("hf.co/ann/zoo/blob/v2/b0/config.json"), id_of("ann/cells")
    ('ann/cells', 'ann/zoo/b0@v2', 'ann/cells')

    Args:
        text: what a person typed.

    Raises:
        BadRequestError: the address, or the text, is of a dataset, a Space, a person or another page of the Hub.
    """
    text = _bare(text)
    path = text.removeprefix("hf://").removeprefix("models/")
    match = _ADDRESS.fullmatch(text)
    named = match is not None and match["host"].lower() in (*_HOSTS, urlsplit(constants.ENDPOINT).netloc.lower())
    if named:
        path = match["path"] or ""
    parts = [unquote(part) for part in path.split("/") if part] if named or path != text else path.split("/")
    if len(parts) >= 2 and parts[0] in _OTHER_KINDS:
        kind, name = _OTHER_KINDS[parts[0]], "/".join(parts[1:3])[:120]
        raise BadRequestError("addresses.other_kind", name=name, kind=kind, advice=_CHOOSE)
    if not named:
        return path
    if parts[:2] == ["api", "models"]:
        parts = parts[2:]
    if len(parts) < 2 or parts[0] in _SITE:
        raise BadRequestError("addresses.other_page", text=text[:80], advice=_CHOOSE)
    user, repo, rest = parts[0], parts[1].removesuffix(".git"), parts[2:]
    revision, folder = _within(rest)
    return "/".join((user, repo, *folder)) + (f"@{revision}" if revision not in (None, "main") else "")


def _bare(text: str) -> str:
    """A text without what is around an id or an address where people copy one from."""
    # Full-width letters and marks that no screen shows come with texts from chats and from PDFs.
    text = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf").strip()
    for pattern in _AROUND:
        if (match := pattern.fullmatch(text)) is not None:
            text = match[1].replace("hf.co:", "hf.co/").replace("huggingface.co:", "huggingface.co/")
            break
    text = text.rstrip(f"{_QUOTES}.,; ").lstrip(f"{_QUOTES} ")
    if (match := _CACHED.fullmatch(text)) is not None:
        return f"{match[1]}/{match[2]}"
    text = re.sub(r"\s*@\s*", "@", text)
    return text.rstrip("/") if re.fullmatch(r"[\w.-]+/[\w.-]+/", text) else text


def _within(rest: list[str]) -> tuple[str | None, list[str]]:
    """Revision and folder that the end of an address names: ``tree/REVISION/FOLDER``, ``blob/REVISION/FOLDER/FILE``."""
    if len(rest) < 2 or rest[0] not in ("tree", "blob", "resolve", "raw", "blame", "edit", "commits", "commit"):
        return None, []
    length = 3 if rest[1] == "refs" else 1
    revision, below = "/".join(rest[1 : 1 + length]), rest[1 + length :]
    if rest[0] in ("commits", "commit"):
        return revision, []
    return revision.removeprefix("refs/heads/"), below if rest[0] == "tree" else below[:-1]
