"""The local cache of Hub models: huggingface_hub's own folders, and whether what lies there is whole.

huggingface_hub stores a file under its hash and links to it from ``snapshots/<commit>/``; the link's target therefore says
what the bytes must hash to, and a half-written or rotten file is found before it is loaded.
"""

from __future__ import annotations

import hashlib
import os
import re
import threading
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from seg_demo.errors import BadCheckpointError
from seg_demo.models import pickles
from seg_demo.storage import write_atomically

COMMIT = re.compile(r"[0-9a-f]{40}")
REQUIRED = ("config.json", "model.safetensors")
_CHUNK = 1 << 20

_lock = threading.Lock()
_sound: dict[Path, tuple[object, ...]] = {}


def forget() -> None:
    """Check every file again when it is next asked for."""
    with _lock:
        _sound.clear()


def repo_folder(id: str) -> Path:
    """Where everything about ``user/repo`` is cached."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=id, repo_type="model")


def snapshot(id: str, sha: str) -> Path:
    """The folder with the files of one commit."""
    return repo_folder(id) / "snapshots" / sha


def complete(folder: Path) -> bool:
    """Whether the files that every checkpoint has are there; the weights may be pickles, all of them."""
    if all((folder / name).is_file() for name in REQUIRED):
        return True
    try:
        return (folder / REQUIRED[0]).is_file() and bool(pickles.sources(folder))
    except BadCheckpointError:
        return False


def intact(folder: Path) -> bool:
    """Whether every cached file has the hash that it is stored under; damaged ones are deleted, to be fetched again.

    A folder is hashed once per process, and again once a file of it has another size or time. Where links are not possible
    there is no stored hash; the file is taken as it is.
    """
    before = _state(folder)
    with _lock:
        if before is not None and _sound.get(folder) == before:
            return True
    sound = True
    try:
        for path in list(folder.iterdir()):
            blob = Path(os.path.normpath(folder / os.readlink(path))) if path.is_symlink() else None
            if blob is not None and not _hashes_to(blob, blob.name):
                blob.unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                sound = False
    except OSError:
        # Another process removes the model at this moment, or its files: what is left is fetched again.
        return False
    if sound and before is not None:
        with _lock:
            _sound[folder] = before
    return sound


def _state(folder: Path) -> tuple[object, ...] | None:
    """What tells whether a file was written to since: name, number, size and time of each; None if one is not there."""
    try:
        stats = [(path.name, path.stat()) for path in sorted(folder.iterdir())]
    except OSError:
        return None
    return tuple((name, stat.st_ino, stat.st_size, stat.st_mtime_ns) for name, stat in stats)


def _hashes_to(blob: Path, name: str) -> bool:
    """Whether a file's bytes have the hash in its name: sha256 for large files, git's own for the others."""
    if re.fullmatch(r"[0-9a-f]{64}", name):
        digest = hashlib.sha256()
    elif COMMIT.fullmatch(name):
        try:
            size = blob.stat().st_size
        except OSError:
            return False
        digest = hashlib.sha1(b"blob %d\0" % size, usedforsecurity=False)
    else:
        return True
    try:
        with open(blob, "rb") as file:
            while chunk := file.read(_CHUNK):
                digest.update(chunk)
    except OSError:
        return False
    return digest.hexdigest() == name


def commit_of(id: str, revision: str) -> str | None:
    """The commit that a branch, tag or commit named when it was last looked up; None if it never was."""
    try:
        path = repo_folder(id) / "refs" / revision
        sha = revision if COMMIT.fullmatch(revision) else path.read_text(encoding="ascii").strip()
    except (OSError, ValueError):
        return None
    return sha if COMMIT.fullmatch(sha) else None


def find(id: str, revision: str, public_only: bool) -> Path | None:
    """A cached model as it was last seen.

    Args:
        id: ``user/repo``.
        revision: branch, tag or commit.
        public_only: find only what an anonymous look-up has been answered for.

    Returns:
        Its folder, complete and intact, or None.
    """
    sha = commit_of(id, revision)
    if sha is None or (public_only and not (repo_folder(id) / ".anonymous" / sha).is_file()):
        return None
    folder = snapshot(id, sha)
    return folder if complete(folder) and intact(folder) else None


def note(id: str, revision: str, sha: str, public: bool) -> None:
    """Remember on disk which commit a revision named, and whether everyone may see it.

    A cache that cannot be written to serves this process all the same, so that is no error.
    """
    root = repo_folder(id)
    try:
        if not COMMIT.fullmatch(revision):
            _write(root / "refs" / revision, sha)
        if public:
            _write(root / ".anonymous" / sha, "")
    except OSError:
        pass


def _write(path: Path, text: str) -> None:
    """Replace a small file at once, so that nobody reads half of it."""
    if path.is_file() and path.read_text(encoding="ascii") == text:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, text)
