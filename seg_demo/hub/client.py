"""How we talk to the Hub: every request has an end, every failure has a sentence.

huggingface_hub's own client waits without end for a server that accepts the connection and never answers. Ours is installed
once per process and gives each request a limit; a look-up or a download that makes no progress is left behind as well, since
name resolution and the Xet library know no such limit.

Also who is logged in, where they may write and what is there already (a token is used and passed on, never stored, printed or put into a
message), which model an address stands for that people paste, and the push of a folder: one commit, and the proof that it arrived.
"""

from __future__ import annotations

import contextvars
import hashlib
import logging
import os
import re
import tempfile
import threading
import time
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import unquote, urlsplit

import httpx2
from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, constants, set_client_factory, snapshot_download
from huggingface_hub.errors import (
    DisabledRepoError,
    GatedRepoError,
    HfHubHTTPError,
    LocalEntryNotFoundError,
    LocalTokenNotFoundError,
    OfflineModeIsEnabled,
    RepositoryNotFoundError,
    RevisionNotFoundError,
)
from huggingface_hub.utils._http import hf_request_event_hook

from seg_demo.core import BadRequestError, HubUnavailableError, Message, ModelNotFoundError, SegDemoError, errors, redacted
from seg_demo.core.requests import begin
from seg_demo.core.settings import settings

if TYPE_CHECKING:
    from seg_demo.core import ModelSpec

T = TypeVar("T")
# What a lost, refused or silent connection raises. HfHubHTTPError and OfflineModeIsEnabled are OSErrors.
TRANSPORT_ERRORS = (httpx2.HTTPError, OSError, TimeoutError)
# Writing may take the Hub a while to answer: a commit waits for its large files to be checked.
WRITE_TIMEOUT = 60.0

_installed = threading.Lock()
_is_installed = False
_silent_since: contextvars.ContextVar[list[float | None] | None] = contextvars.ContextVar("_silent_since", default=None)


def connect() -> None:
    """Give every request that this process makes through huggingface_hub a time limit, and keep what is signed out of the logs.

    Idempotent.
    """
    global _is_installed
    with _installed:
        if not _is_installed:
            set_client_factory(_client)
            errors.install()
            _is_installed = True


def _client() -> httpx2.Client:
    hooks = {"request": [hf_request_event_hook, _limit], "response": [_answered]}
    return httpx2.Client(event_hooks=hooks, follow_redirects=True, timeout=None)


def _limit(request: httpx2.Request) -> None:
    """Cap the limits of one request; what the caller asked for stays if it is shorter."""
    patience = settings().hub_timeout
    limit = patience if request.method in ("GET", "HEAD") else max(patience, WRITE_TIMEOUT)
    asked = request.extensions.get("timeout") or {}
    stages = {"connect": patience, "pool": patience, "read": limit, "write": limit}
    request.extensions["timeout"] = {
        stage: most if asked.get(stage) is None else min(most, asked[stage]) for stage, most in stages.items()
    }
    silent = _silent_since.get()
    if silent is None:
        return
    now = time.monotonic()
    if silent[0] is None:
        silent[0] = now
    elif now - silent[0] >= patience:
        raise HubUnavailableError("hub.silent", host=constants.ENDPOINT, seconds=patience)


def _answered(response: httpx2.Response) -> None:
    silent = _silent_since.get()
    if silent is not None:
        silent[0] = None


@contextmanager
def bounded() -> Iterator[None]:
    """Within it, a library that downloads through huggingface_hub gives up when the Hub stays silent, instead of retrying.

    Raises:
        HubUnavailableError: from the library's call, once no request has been answered for ``hub_timeout`` seconds.
    """
    connect()
    token = _silent_since.set([None])
    try:
        yield
    finally:
        _silent_since.reset(token)


class Progress:
    """When something last moved, and whether the one who waits has left."""

    def __init__(self) -> None:
        self.last = time.monotonic()
        self.abandoned = False

    def touch(self) -> None:
        """Note that something moved; ends the work of a caller that has been given up."""
        self.last = time.monotonic()
        if self.abandoned:
            raise TimeoutError("given up by the one who asked for it")


def within(seconds: float, call: Callable[[], T], progress: Progress | None = None) -> T:
    """The result of a call, or an end to the waiting.

    Args:
        seconds: how long to wait; with ``progress``, how long nothing may move.
        call: runs in a thread of its own, which is left behind if it takes longer.
        progress: touched by the call whenever something moves.

    Raises:
        TimeoutError: nothing came in time.
        BusyError: the system gives no more threads.
    """
    connect()
    moved = progress or Progress()
    outcome: list[tuple[bool, Any]] = []
    done = threading.Event()

    def work() -> None:
        try:
            outcome.append((True, call()))
        except BaseException as error:  # handed over to the caller's thread, whatever it is
            outcome.append((False, error))
        done.set()

    begin(threading.Thread(target=contextvars.copy_context().run, args=(work,), name="hub", daemon=True))
    while not done.wait(max(0.01, moved.last + seconds - time.monotonic())):
        if time.monotonic() - moved.last >= seconds:
            moved.abandoned = True
            raise TimeoutError(f"nothing came for {seconds:g} s")
    succeeded, value = outcome[0]
    if not succeeded:
        raise value
    return value


def host() -> str:
    """The Hub's address for messages."""
    return constants.ENDPOINT


def status_of(error: BaseException) -> int | None:
    """HTTP status of an answer that was turned into an error, or None."""
    return error.response.status_code if isinstance(error, HfHubHTTPError) and error.response is not None else None


def unseen(error: BaseException) -> bool:
    """Whether the Hub shows this login no such repository, or says that it may not see it."""
    return status_of(error) in (401, 403, 404)


def is_silence(error: BaseException) -> bool:
    """Whether an error means that no answer came at all. LocalEntryNotFoundError is what a lost connection ends as."""
    if isinstance(error, HfHubHTTPError):
        return False
    return isinstance(error, (httpx2.TransportError, TimeoutError, ConnectionError, LocalEntryNotFoundError))


def may_pass(error: BaseException) -> bool:
    """Whether the same request may succeed later: no answer, too many requests, or a failure of the Hub itself."""
    status = status_of(error)
    return is_silence(error) if status is None else status in (408, 429) or status >= 500


def wrong_token(error: BaseException) -> bool:
    """Whether the Hub refused the login itself; it does so for public repositories too."""
    return status_of(error) == 401 and "Invalid credentials" in str(error)


def sentence(error: BaseException, spec: ModelSpec, token: bool) -> SegDemoError:
    """What to tell a person about a failed look-up or download.

    Args:
        error: what the client raised.
        spec: the model that was asked for.
        token: whether the login was used.
    """
    if isinstance(error, SegDemoError):
        return error
    name = "/".join(spec.id.split("/")[:2])
    page = f"{constants.ENDPOINT}/{name}"
    if isinstance(error, GatedRepoError):
        return ModelNotFoundError("hub.gated", name=name, page=page)
    if isinstance(error, RevisionNotFoundError):
        wanted = spec.revision or "main"
        if re.fullmatch(r"[0-9a-f]{6,39}", wanted):
            return ModelNotFoundError("hub.short_commit", name=name, revision=wanted, page=page)
        return ModelNotFoundError("hub.no_revision", name=name, revision=wanted, page=page)
    if isinstance(error, DisabledRepoError):
        return ModelNotFoundError("hub.disabled", name=name)
    if wrong_token(error):
        return HubUnavailableError("hub.token_not_accepted")
    if isinstance(error, RepositoryNotFoundError) or status_of(error) in (401, 403, 404):
        if token:
            return ModelNotFoundError("hub.not_shown_to_login", name=name, page=page)
        return ModelNotFoundError("hub.no_public_model", name=name, page=page)
    return unavailable(error, Message("hub.not_in_cache", id=name))


def unavailable(
    error: BaseException, consequence: Message, advice: Message = Message("hub.try_later_or_another")
) -> HubUnavailableError:
    """The sentence for a Hub that could not be talked to.

    Args:
        error: what the client raised.
        consequence: what does not work because of it, as half a sentence.
        advice: what to do, as a sentence.
    """
    if isinstance(error, HubUnavailableError):
        return error
    status = status_of(error)
    if isinstance(error, OfflineModeIsEnabled):
        why = Message("hub.is_offline")
    elif status == 429:
        why = Message("hub.asks_to_slow_down", host=constants.ENDPOINT)
    elif status is not None:
        why = Message("hub.answers_with_error", host=constants.ENDPOINT, status=status)
    elif isinstance(error, OSError) and error.errno is not None and not is_silence(error):
        why = Message("hub.files_not_stored", why=os.strerror(error.errno))
    else:
        why = Message("hub.does_not_answer", host=constants.ENDPOINT)
    return HubUnavailableError("hub.unavailable", why=why, consequence=consequence, advice=advice)


WRITING_ROLES = ("admin", "write", "contributor")


@dataclass(frozen=True)
class Login:
    """Who is logged in.

    Attributes:
        name: of the user.
        role: of the token: ``read``, ``write``, ``fineGrained``, or empty if the Hub does not say.
        orgs: the user's role by organisation.
        scopes: for a fine-grained token, the users, organisations and repositories it may write to; else None.
    """

    name: str
    role: str
    orgs: dict[str, str]
    scopes: frozenset[str] | None


def whoami(token: str | None = None) -> Login:
    """Who a token belongs to.

    Args:
        token: None takes the login of this machine.

    Raises:
        BadRequestError: nobody is logged in, or the Hub does not know the token.
        HubUnavailableError: the Hub does not answer within ``hub_timeout`` seconds.
    """
    try:
        answer = within(settings().hub_timeout, lambda: HfApi(token=token).whoami())
    except LocalTokenNotFoundError:
        raise BadRequestError("login.none") from None
    except TRANSPORT_ERRORS as error:
        if status_of(error) in (401, 403):
            raise BadRequestError("login.token_not_accepted") from None
        raise unavailable(error, Message("hub.nothing_pushed_now")) from error
    orgs = {org["name"]: org.get("roleInOrg") or "" for org in answer.get("orgs") or ()}
    access = (answer.get("auth") or {}).get("accessToken") or {}
    fine = access.get("fineGrained")
    return Login(answer["name"], access.get("role") or "", orgs, None if fine is None else _write_scopes(fine))


def _write_scopes(fine: dict[str, Any]) -> frozenset[str]:
    """Names of the entities that a fine-grained token may write repositories of."""
    scoped = fine.get("scoped") or ()
    return frozenset(entry["entity"]["name"] for entry in scoped if "repo.write" in (entry.get("permissions") or ()))


def can_write(repo_id: str, token: str | None = None) -> bool:
    """Check, before hours of training, that a push would be allowed.

    Args:
        repo_id: ``user/repo``; it need not exist.
        token: None takes the login of this machine.

    Returns:
        True.

    Raises:
        BadRequestError: nobody is logged in, or this login may not write there; the message says why.
        HubUnavailableError: the Hub does not answer.
    """
    login = whoami(token)
    namespace = repo_id.split("/")[0]
    if login.role == "read":
        raise BadRequestError("login.reads_only", name=login.name)
    if login.scopes is not None and not login.scopes & {namespace, repo_id}:
        raise BadRequestError("login.fine_grained", name=login.name, repo=repo_id)
    if namespace != login.name and login.orgs.get(namespace) not in WRITING_ROLES:
        role = login.orgs.get(namespace)
        if role:
            raise BadRequestError("login.other_role", name=login.name, role=role, space=namespace, repo=repo_id)
        raise BadRequestError("login.no_member", name=login.name, space=namespace, repo=repo_id)
    try:
        within(settings().hub_timeout, lambda: HfApi(token=token).auth_check(repo_id, write=True))
    except RepositoryNotFoundError:
        return True  # it will be created
    except TRANSPORT_ERRORS as error:
        if status_of(error) in (401, 403):
            raise BadRequestError("login.may_not_write", name=login.name, repo=repo_id) from None
        raise unavailable(error, Message("hub.nothing_pushed_now")) from error
    return True


@dataclass(frozen=True)
class Head:
    """What is in a repository now.

    Attributes:
        sha: the newest commit of the default branch.
        private: whether only its owner sees it.
    """

    sha: str
    private: bool


def head(repo_id: str, token: str | None = None) -> Head | None:
    """The newest commit of a repository.

    Args:
        repo_id: ``user/repo``.
        token: None takes the login of this machine.

    Returns:
        None if there is no such repository that this login may see.

    Raises:
        HubUnavailableError: the Hub does not answer within ``hub_timeout`` seconds.
    """
    try:
        info = within(settings().hub_timeout, lambda: HfApi(token=token).model_info(repo_id))
    except RepositoryNotFoundError:
        return None
    except TRANSPORT_ERRORS as error:
        raise unavailable(error, Message("hub.not_looked_at_now", id=repo_id)) from error
    return Head(info.sha, bool(info.private))


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
_NAME = r"\w(?:[\w.-]{0,94}\w)?"
_ID = re.compile(rf"(?P<id>(?P<repo>{_NAME}/{_NAME})(?:/{_NAME}){{0,4}})(?:@(?P<revision>\w(?:[\w./-]{{0,198}}\w)?))?", re.ASCII)
_OTHER_KINDS = {"datasets": Message("addresses.dataset"), "spaces": Message("addresses.space")}
_CHOOSE = Message("addresses.type_an_id")


def parse_id(text: str) -> tuple[str, str | None] | None:
    """``user/repo``, ``user/repo/folder`` or either with ``@revision`` as (id, revision), or None if it is neither; :attr:`ModelSpec.key` is the
    way back.

    >>> parse_id("ann/cells@v2"), parse_id("../etc"), parse_id("ann/zoo/b0")
    (('ann/cells', 'v2'), None, ('ann/zoo/b0', None))
    """
    match = _ID.fullmatch(text)
    if match is None or ".." in text or "--" in match["repo"] or "//" in text or match["repo"].endswith(".git"):
        return None
    return match["id"], match["revision"]


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


ATTEMPTS = 5
FIRST_PAUSE = 1.0
LONGEST_PAUSE = 60.0
GIVE_UP_SECONDS = 300.0
LATER = Message("push.try_later")

_log = logging.getLogger(__name__)


def push(
    folder: Path,
    repo_id: str,
    *,
    private: bool = False,
    token: str | None = None,
    message: str = "Upload checkpoint",
    say: Callable[[str], None] = _log.warning,
) -> str:
    """Put the files of a folder into a Hub repository in one commit; the repository is created if needed.

    Failures that may pass (lost connections, 429, 5xx) are retried with growing pauses. A commit whose answer was lost is
    found again, since unchanged files make no second commit.

    Args:
        folder: its files, those in sub-folders such as ``onnx/`` too.
        repo_id: ``user/repo``.
        private: make a new repository private; an existing one stays as it is.
        token: None takes the login of this machine.
        message: of the commit.
        say: told about each retry.

    Returns:
        The commit's sha.

    Raises:
        BadRequestError: nobody is logged in, no right to write, or a card that the Hub refuses.
        HubUnavailableError: it still fails after all retries.
    """
    files = _files_in(folder)
    kept = Message("hub.folder_kept", folder=folder)
    return push_files(files, repo_id, private=private, token=token, message=message, say=say, kept=kept)


def push_files(
    files: Mapping[str, Path | bytes],
    repo_id: str,
    *,
    repo_type: str = "model",
    prune: Sequence[str] = (),
    private: bool = False,
    token: str | None = None,
    message: str,
    say: Callable[[str], None] = _log.warning,
    kept: Message | str = "",
) -> str:
    """Put files into a Hub repository in one commit; the repository is created if needed.

    Args:
        files: file or content by path in the repository.
        repo_id: ``user/name``.
        repo_type: ``model`` or ``dataset``.
        prune: folders of the repository, such as ``images/``, whose files go unless they are among ``files``.
        private: make a new repository private; an existing one stays as it is.
        token: None takes the login of this machine.
        message: of the commit.
        say: told about each retry.
        kept: end of the message of a failure: what the person still has.

    Returns:
        The commit's sha.

    Raises:
        BadRequestError: nobody is logged in, no right to write, or a card that the Hub refuses.
        HubUnavailableError: it still fails after all retries.
    """
    connect()
    api = HfApi(token=token)

    def commit() -> str:
        # Fresh operations each time: the client marks those that it has used. Not upload_folder, which may split a folder
        # into several commits where Xet is installed.
        operations: list[CommitOperationAdd | CommitOperationDelete] = [
            CommitOperationAdd(name, content) for name, content in files.items()
        ]
        if prune:
            there = api.list_repo_files(repo_id, repo_type=repo_type)
            gone = [name for name in there if name.startswith(tuple(prune)) and name not in files]
            operations += [CommitOperationDelete(name) for name in gone]
        return api.create_commit(repo_id, operations, commit_message=message, repo_type=repo_type).oid

    try:
        _retried(lambda: api.create_repo(repo_id, repo_type=repo_type, private=private, exist_ok=True), say)
        return _retried(commit, say)
    except LocalTokenNotFoundError:
        raise BadRequestError("login.none") from None
    except ValueError as error:
        raise BadRequestError("push.refused", repo=repo_id, why=redacted(str(error))) from error
    except (*TRANSPORT_ERRORS, RuntimeError) as error:
        status = status_of(error)
        if status in (401, 403):
            raise BadRequestError("push.may_not_write", repo=repo_id) from None
        if status is not None and not _passes(error):
            raise BadRequestError("push.refused_with_status", repo=repo_id, status=status) from error
        raise unavailable(error, Message("hub.not_pushed", id=repo_id, kept=kept), LATER) from error


def _retried(call: Callable[[], T], say: Callable[[str], None], do: str = "take the upload") -> T:
    """The result of a call that is repeated while it fails in a way that may pass; ``do`` is what the Hub did not do."""
    began = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except (*TRANSPORT_ERRORS, RuntimeError) as error:
            pause = _pause(error, attempt)
            if not _passes(error) or attempt == ATTEMPTS or time.monotonic() + pause - began > GIVE_UP_SECONDS:
                raise
            what = status_of(error) or type(error).__name__
            say(f"The Hub did not {do} ({what}); attempt {attempt + 1} of {ATTEMPTS} in {pause:.0f} s.")
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _passes(error: BaseException) -> bool:
    """Whether the same call may succeed later. The client wraps a failed large file in a RuntimeError."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    return may_pass(cause)


def _pause(error: BaseException, attempt: int) -> float:
    """Seconds until the next attempt: what the Hub asks for, else 1, 2, 4, ..."""
    asked = error.response.headers.get("Retry-After", "") if isinstance(error, HfHubHTTPError) else ""
    return min(LONGEST_PAUSE, float(asked) if asked.isdigit() else FIRST_PAUSE * 2 ** (attempt - 1))


def verify(repo_id: str, revision: str, folder: Path, token: str | None = None) -> list[str]:
    """Download a pushed revision and compare it with the folder that it came from, by hash.

    Args:
        repo_id: ``user/repo``.
        revision: the pushed commit.
        folder: what was pushed.
        token: None takes the login of this machine.

    Returns:
        Names of the files that are missing there or differ; empty if all arrived.

    Raises:
        HubUnavailableError: the download fails.
    """
    files = _files_in(folder)
    with tempfile.TemporaryDirectory() as scratch:

        def fetch() -> str:
            return snapshot_download(repo_id, revision=revision, local_dir=scratch, allow_patterns=list(files), token=token)

        try:
            connect()
            _retried(fetch, _log.warning, "give back what was pushed")
        except TRANSPORT_ERRORS as error:
            raise unavailable(error, Message("hub.not_compared", id=repo_id, folder=folder), LATER) from error
        return [name for name, path in files.items() if not _same(path, Path(scratch) / name)]


def _files_in(folder: Path) -> dict[str, Path]:
    """The files of a checkpoint folder by their path in the repository."""
    found = sorted(path for path in Path(folder).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): path for path in found}


def _same(left: Path, right: Path) -> bool:
    if not right.is_file() or left.stat().st_size != right.stat().st_size:
        return False
    with open(left, "rb") as one, open(right, "rb") as other:
        return hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()
