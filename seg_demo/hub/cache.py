"""The local cache of Hub models: huggingface_hub's own folders, whether what lies there is whole, who may remove it and when.

huggingface_hub stores a file under its hash and links to it from ``snapshots/<commit>/``; the link's target therefore says
what the bytes must hash to, and a half-written or rotten file is found before it is loaded.

Where a checkpoint is not just what lies at the top of a commit (a folder of it, weights of another name or of another commit), it
is put together from such links in ``snapshots/<commit>/.seg-demo/<folder>/``, which is removed with the commit.

Locks between the processes that share the cache: who reads a repository (:func:`held`), who removes one (:func:`exclusive`). They
lie in a fixed number of files that are never removed; repositories that share one only wait for each other. Where the system
(Windows) or the disk has no locks, nothing is held.

The disk quota of the models that visitors typed: bounded, the least recently used ones go first, and nobody else's do. The cache is
shared with the owner and with other programs. A revision that a visitor's request brought into it gets a marker,
``.visitors/<commit>`` in its repository's folder: what has none is never removed. The marker's time is that of the last use, its
content the bytes that were promised before the download, which count until it has ended.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import threading
import time
import uuid
import zlib
from collections.abc import Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants
from huggingface_hub.file_download import repo_folder_name

from seg_demo.core import BadCheckpointError, BusyError, SegDemoError, StorageError, storage, write_atomically
from seg_demo.hub import untrusted
from seg_demo.networks.checkpoint import INDEX, read_json, shards_of

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
        return bool(untrusted.sources(folder))
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


# Whether the system has locks.
LOCKS_KNOWN = storage.LOCKS
FILES = 256


def locks_folder() -> Path:
    """Where the locks lie, beside those of huggingface_hub."""
    return Path(constants.HF_HUB_CACHE) / ".locks" / "seg-demo"


@contextmanager
def held(id: str) -> Iterator[None]:
    """Within it no process removes files of ``user/repo``."""
    with _locked(_file_of(repo_folder(id).name), shared=True, wait=True):
        yield


@contextmanager
def exclusive(name: str) -> Iterator[bool]:
    """Within it nobody reads a repository, if nobody does now.

    Args:
        name: of its folder.

    Yields:
        Whether that is so.
    """
    with _locked(_file_of(name), shared=False, wait=False) as got:
        yield got


@contextmanager
def quota_lock() -> Iterator[None]:
    """Within it no other process looks after the quota."""
    with _locked(locks_folder() / "room.lock", shared=False, wait=True):
        yield


def _file_of(name: str) -> Path:
    return locks_folder() / f"{zlib.crc32(name.encode()) % FILES:03d}.lock"


@contextmanager
def _locked(path: Path, *, shared: bool, wait: bool) -> Iterator[bool]:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    except OSError:
        yield shared
        return
    with storage.locked(path, shared=shared, wait=wait) as got:
        yield got


# Revisions that are kept at most, however small: each is looked at when room is made.
MOST_REVISIONS = 1000
# Where the system has no locks, what was used so recently counts as in use.
RECENT_SECONDS = 3600.0
_MARKERS = ".visitors"


@dataclass(frozen=True)
class _Revision:
    """A revision that a visitor's request brought here."""

    repo: Path
    sha: str
    used: float
    promised: int


def marker(id: str, sha: str) -> Path:
    """The file that says that a revision of ``user/repo`` is here for visitors only."""
    return repo_folder(id) / _MARKERS / sha


def touch(id: str, sha: str) -> None:
    """Note that a visitor uses a revision now."""
    try:
        os.utime(marker(id, sha))
    except OSError:
        pass  # the owner's, or a cache that cannot be written to


def claim(id: str, sha: str) -> None:
    """From now on a revision is the owner's, and never removed."""
    try:
        marker(id, sha).unlink(missing_ok=True)
    except OSError:
        pass  # a cache that cannot be written to, from which nothing is removed either


def reserve(
    id: str, sha: str, files: Mapping[str, int], most: int, owners: Iterable[tuple[str, str]], made: int = 0
) -> None:
    """Make room for a revision that is about to be downloaded for a visitor, and mark it as theirs.

    Args:
        id: ``user/repo``.
        sha: commit.
        files: size in bytes of each file that will be downloaded.
        most: bytes that all such revisions may take.
        owners: repositories and revisions of the owner's menu, whoever fetched them.
        made: bytes of what will be made of them: safetensors of pickles.

    Raises:
        BadCheckpointError: it takes more than all of them may.
        BusyError: the room is taken by models that are in use now.
        StorageError: the disk itself is too full.
    """
    wanted = sum(files.values()) + made
    if wanted > most:
        raise BadCheckpointError("disk.model_too_large", id=id, wanted=wanted / 1e6, most=most / 1e6)
    mine = marker(id, sha)
    try:
        with quota_lock():
            new, had = _missing(id, sha, files) + made, mine.is_file()
            if snapshot(id, sha).is_dir() and not had:
                # Brought by somebody else, whose it stays, if only in part: no marker, but no full disk either.
                _refuse_if_full(id, wanted, new)
                return
            for name, revision in owners:
                claim(name, commit_of(name, revision) or revision)
            mine.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(mine, str(wanted))
            try:
                if not _make_space(mine, new, most):
                    raise BusyError("disk.models_in_use")
                _refuse_if_full(id, wanted, new)
            except SegDemoError:
                if not had:
                    _unmark(mine)
                raise
    except OSError as error:
        raise StorageError("disk.model_not_stored", why=error.strerror) from error


def lend(id: str, sha: str, other: str) -> None:
    """Mark a revision of which another one takes the weights as theirs who brought that one, if it is not here yet.

    Args:
        id: ``user/repo``.
        sha: commit that takes them.
        other: commit that has them.

    Raises:
        StorageError: the marker cannot be written.
    """
    try:
        if marker(id, sha).is_file() and not snapshot(id, other).is_dir():
            marker(id, other).write_text("0", encoding="ascii")
    except OSError as error:
        raise StorageError("disk.model_not_stored", why=error.strerror) from error


def settle(id: str, sha: str, made: int = 0) -> None:
    """A visitor's download has ended, well or not: from now on only what is on the disk counts.

    Args:
        id: ``user/repo``.
        sha: commit.
        made: bytes of what is still to be made of it, which count until that is there.
    """
    mine = marker(id, sha)
    try:
        if mine.is_file():
            write_atomically(mine, str(made))
    except OSError:
        pass  # a full disk: what was promised goes on counting


def reserve_small(id: str, sha: str, files: Mapping[str, int], most: int, owners: Iterable[tuple[str, str]], lender: str | None) -> None:
    """Mark a revision as visitors' before the first files of it are fetched, of which a visitor sees what it is: what lies there without a marker is the
    owner's, and whatever is fetched later would be too. One that has a marker may be arriving, and what was promised for it goes on counting.

    Args:
        id: ``user/repo``.
        sha: commit.
        files: size in bytes of each file that may be fetched.
        most: as for :func:`reserve`.
        owners: as for :func:`reserve`.
        lender: commit that has its weights instead, or None.

    Raises:
        SegDemoError: as for :func:`reserve`.
    """
    if marker(id, sha).is_file():
        return
    reserve(id, sha, files, most, owners)
    settle(id, sha)
    if lender is not None:
        lend(id, sha, lender)


def _refuse_if_full(id: str, wanted: int, new: int) -> None:
    """
    Args:
        id: ``user/repo``.
        wanted: bytes of the whole model.
        new: bytes of it that will be written to the disk.

    Raises:
        StorageError: the disk has no room for them.
    """
    if new and storage.free_space(constants.HF_HUB_CACHE) < new:
        raise StorageError("disk.no_room_for_model", id=id, wanted=wanted / 1e6)


def _unmark(mine: Path) -> None:
    """Take a marker back, and the folders that were made for it alone."""
    mine.unlink(missing_ok=True)
    for folder in (mine.parent, mine.parent.parent):
        if not any(folder.iterdir()):
            folder.rmdir()


def _make_space(mine: Path, new: int, most: int) -> bool:
    """Remove revisions, the least recently used first, until those that are left and the new one fit.

    Args:
        mine: marker of the new one.
        new: bytes of it that will be written to the disk.
        most: bytes that all may take.

    Returns:
        Whether they fit.
    """
    found = sorted(_all(), key=lambda revision: revision.used)
    sizes = {repo: _size(repo, found) for repo in {revision.repo for revision in found}}
    left = len(found)
    for revision in found:
        if sum(sizes.values()) <= most and left <= MOST_REVISIONS and storage.free_space(constants.HF_HUB_CACHE) >= new:
            return True
        if (revision.repo, revision.sha) == (mine.parent.parent, mine.name):
            continue
        with exclusive(revision.repo.name) as alone:
            if alone and (LOCKS_KNOWN or time.time() - revision.used > RECENT_SECONDS):
                _remove(revision.repo, revision.sha)
                sizes[revision.repo] = _size(revision.repo, _of(revision.repo))
                left -= 1
    return sum(sizes.values()) <= most


def _missing(id: str, sha: str, files: Mapping[str, int]) -> int:
    """Bytes that still have to be downloaded."""
    return sum(size for name, size in files.items() if not (snapshot(id, sha) / name).is_file())


def _all() -> list[_Revision]:
    """Every marked revision in the cache."""
    return [revision for folder in Path(constants.HF_HUB_CACHE).glob(f"models--*/{_MARKERS}") for revision in _of(folder.parent)]


def _of(repo: Path) -> list[_Revision]:
    """The marked revisions of one repository's folder."""
    found = []
    for path in (repo / _MARKERS).glob("*"):
        try:
            found.append(_Revision(repo, path.name, path.stat().st_mtime, int(path.read_text(encoding="ascii") or 0)))
        except (OSError, ValueError):
            continue  # removed, or half written, at this moment
    return found


def _blobs(repo: Path, marked: Collection[str] | None) -> set[str]:
    """Names of the stored files that snapshots lead to: those that are not among ``marked``, or, with None, all of them."""
    found = set()
    for snapshot in (repo / "snapshots").glob("*"):
        if marked is None or snapshot.name not in marked:
            found |= {os.path.basename(os.readlink(path)) for path in snapshot.rglob("*") if path.is_symlink()}
    return found


def _size(repo: Path, found: Collection[_Revision]) -> int:
    """Bytes that a repository's marked revisions take; while one may be arriving, at least what was promised for them."""
    mine = [revision for revision in found if revision.repo == repo]
    marked = {revision.sha for revision in mine}
    owners = _blobs(repo, marked)
    stored = [path for path in (repo / "blobs").glob("*") if path.name not in owners]
    for part in ("snapshots", untrusted.FOLDER):
        stored += [path for sha in marked for path in (repo / part / sha).rglob("*") if not path.is_symlink()]
    total = 0
    for path in stored:
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # a download that has just ended
    return total + sum(revision.promised for revision in mine if not _arrived(repo / "snapshots" / revision.sha))


def _arrived(snapshot: Path) -> bool:
    """Whether nothing more is to be downloaded, nor made of it."""
    places = (snapshot, *snapshot.glob(f"{COMPOSED}/*"))
    return any(complete(place) and untrusted.ready(place) is not None for place in places)


def _remove(repo: Path, sha: str) -> None:
    """Remove one revision, and whatever no other revision needs. The caller has the repository for itself."""
    shutil.rmtree(repo / "snapshots" / sha, ignore_errors=True)
    untrusted.forget(repo, sha)
    for path in (repo / "refs").rglob("*"):
        if path.is_file() and path.read_text(encoding="ascii", errors="replace").strip() == sha:
            path.unlink(missing_ok=True)
    needed = _blobs(repo, None)
    for path in (repo / "blobs").glob("*"):
        # Whoever downloads without our lock (the owner's other programs) loses nothing that may still be arriving.
        arriving = path.suffix == ".incomplete" and time.time() - path.stat().st_mtime < RECENT_SECONDS
        if path.name not in needed and not arriving:
            path.unlink(missing_ok=True)
    if (repo / "snapshots" / sha).exists():
        return  # not ours to delete, or open on Windows: it goes on counting
    for folder in (_MARKERS, ".anonymous"):
        (repo / folder / sha).unlink(missing_ok=True)
    if not any((repo / "snapshots").glob("*")) and not any((repo / "blobs").glob("*")) and not _of(repo):
        shutil.rmtree(repo, ignore_errors=True)
        shutil.rmtree(locks_folder().parent / repo.name, ignore_errors=True)
