"""The local cache of Hub models: huggingface_hub's own folders, and whether what lies there is whole.

huggingface_hub stores a file under its hash and links to it from ``snapshots/<commit>/``; the link's target therefore says
what the bytes must hash to, and a half-written or rotten file is found before it is loaded.

Where a checkpoint is not just what lies at the top of a commit (a folder of it, weights of another name or of another commit), it
is put together from such links in ``snapshots/<commit>/.seg-demo/<folder>/``, which is removed with the commit.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import uuid
from collections.abc import Mapping
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from seg_demo.errors import BadCheckpointError
from seg_demo.models import pickles
from seg_demo.networks.files import INDEX, read_json, shards_of
from seg_demo.storage import write_atomically

COMMIT = re.compile(r"[0-9a-f]{40}")
REQUIRED = ("config.json", "model.safetensors")
COMPOSED = ".seg-demo"
_CHUNK = 1 << 20

_lock = threading.Lock()
_sound: dict[Path, tuple[object, ...]] = {}


def forget() -> None:
    """Check every file again when it is next asked for."""
    with _lock:
        _sound.clear()


def split(id: str) -> tuple[str, str]:
    """``user/repo/folder`` as (``user/repo``, ``folder``); the folder is empty for the top of the repository."""
    parts = id.split("/")
    return "/".join(parts[:2]), "/".join(parts[2:])


def repo_folder(id: str) -> Path:
    """Where everything about ``user/repo``, or the repository of ``user/repo/folder``, is cached."""
    return Path(constants.HF_HUB_CACHE) / repo_folder_name(repo_id=split(id)[0], repo_type="model")


def snapshot(id: str, sha: str) -> Path:
    """The folder with the files of one commit."""
    return repo_folder(id) / "snapshots" / sha


def composed(id: str, sha: str) -> Path:
    """The folder in which a checkpoint is put together that is not just the top of a commit."""
    return snapshot(id, sha) / COMPOSED / (split(id)[1].replace("/", "--") or "top")


def commit_in(folder: Path) -> str:
    """The commit that a checkpoint's folder is of."""
    parts = folder.parts
    return parts[len(parts) - 1 - parts[::-1].index("snapshots") + 1]


def compose(folder: Path, files: Mapping[str, Path]) -> None:
    """Put a checkpoint together: links to stored files, copies where the system has no links.

    Args:
        folder: made if needed; whatever else lies in it goes.
        files: file in a snapshot by the name that it gets.

    Raises:
        OSError: it cannot be written.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for name, source in files.items():
        fresh = folder / f".{name}.{uuid.uuid4().hex[:8]}"
        try:
            if source.is_symlink():
                stored = os.path.normpath(source.parent / os.readlink(source))
                os.symlink(os.path.relpath(stored, folder), fresh)
            else:
                shutil.copyfile(source, fresh)
            os.replace(fresh, folder / name)
        finally:
            fresh.unlink(missing_ok=True)
    for path in folder.iterdir():
        if path.name not in files:
            path.unlink(missing_ok=True)


def complete(folder: Path) -> bool:
    """Whether the files that every checkpoint has are there; the weights may be shards or pickles, all of them."""
    if all((folder / name).is_file() for name in REQUIRED):
        return True
    try:
        if not (folder / REQUIRED[0]).is_file():
            return False
        if (folder / INDEX).is_file():
            return all((folder / name).is_file() for name in shards_of(read_json(folder, INDEX)))
        return bool(pickles.sources(folder))
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
    top = () if split(id)[1] else (snapshot(id, sha),)
    return next((folder for folder in (composed(id, sha), *top) if complete(folder) and intact(folder)), None)


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
