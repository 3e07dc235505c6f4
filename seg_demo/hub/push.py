"""Folder → Hub repository: one commit, and the proof that it arrived.

A token is used and passed on, never stored, printed or put into a message.
"""

from __future__ import annotations

import hashlib
import logging
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from huggingface_hub import CommitOperationAdd, CommitOperationDelete, HfApi, snapshot_download
from huggingface_hub.errors import HfHubHTTPError, LocalTokenNotFoundError

from seg_demo.core.errors import BadRequestError, Message, redacted
from seg_demo.hub import client

T = TypeVar("T")
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
        folder: its files, without sub-folders.
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
    files = {path.name: path for path in sorted(Path(folder).iterdir()) if path.is_file()}
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
    client.connect()
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
    except (*client.TRANSPORT_ERRORS, RuntimeError) as error:
        status = client.status_of(error)
        if status in (401, 403):
            raise BadRequestError("push.may_not_write", repo=repo_id) from None
        if status is not None and not _passes(error):
            raise BadRequestError("push.refused_with_status", repo=repo_id, status=status) from error
        raise client.unavailable(error, Message("hub.not_pushed", id=repo_id, kept=kept), LATER) from error


def _retried(call: Callable[[], T], say: Callable[[str], None], do: str = "take the upload") -> T:
    """The result of a call that is repeated while it fails in a way that may pass; ``do`` is what the Hub did not do."""
    began = time.monotonic()
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return call()
        except (*client.TRANSPORT_ERRORS, RuntimeError) as error:
            pause = _pause(error, attempt)
            if not _passes(error) or attempt == ATTEMPTS or time.monotonic() + pause - began > GIVE_UP_SECONDS:
                raise
            what = client.status_of(error) or type(error).__name__
            say(f"The Hub did not {do} ({what}); attempt {attempt + 1} of {ATTEMPTS} in {pause:.0f} s.")
            time.sleep(pause)
    raise AssertionError("the last attempt returns or raises")


def _passes(error: BaseException) -> bool:
    """Whether the same call may succeed later. The client wraps a failed large file in a RuntimeError."""
    cause = error.__cause__ if isinstance(error, RuntimeError) and error.__cause__ is not None else error
    return client.may_pass(cause)


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
    files = sorted(path for path in Path(folder).iterdir() if path.is_file())
    with tempfile.TemporaryDirectory() as scratch:

        def fetch() -> str:
            names = [path.name for path in files]
            return snapshot_download(repo_id, revision=revision, local_dir=scratch, allow_patterns=names, token=token)

        try:
            client.connect()
            _retried(fetch, _log.warning, "give back what was pushed")
        except client.TRANSPORT_ERRORS as error:
            raise client.unavailable(error, Message("hub.not_compared", id=repo_id, folder=folder), LATER) from error
        return [path.name for path in files if not _same(path, Path(scratch) / path.name)]


def _same(left: Path, right: Path) -> bool:
    if not right.is_file() or left.stat().st_size != right.stat().st_size:
        return False
    with open(left, "rb") as one, open(right, "rb") as other:
        return hashlib.file_digest(one, "sha256").digest() == hashlib.file_digest(other, "sha256").digest()
