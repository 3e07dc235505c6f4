"""ModelSpec → verified local checkpoint folder; what datasets, training and the page want of the Hub they import from here.

What was found once is remembered: a second request for a model makes no network call. A branch is looked up again after
``REFRESH_SECONDS``; a commit never. Where the Hub cannot be reached, the local cache serves, and for ``DOWN_SECONDS`` nobody
waits for the Hub again.

Whose token: with ``token=False`` nobody's. The local cache is shared with the owner, so a cached private model must not leak
through it: such a caller is served from the cache only what an anonymous look-up has been answered for before, which a file
``.anonymous/<commit>`` beside the cached snapshots notes.
"""

from __future__ import annotations

import threading
import time
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants, get_session
from huggingface_hub.errors import OfflineModeIsEnabled

from seg_demo.core.errors import HubUnavailableError, Message, SegDemoError
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
