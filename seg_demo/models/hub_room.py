"""Room on the disk for the models that visitors typed: bounded, the least recently used ones go first, and nobody else's do.

The cache of the Hub is shared with the owner and with other programs. A revision that a visitor's request brought into it
gets a marker, ``.visitors/<commit>`` in its repository's folder: what has none is never removed. The marker's time is that
of the last use, its content the bytes that were promised before the download, which count until it has ended. Whoever reads a
repository's files shares its lock (``hub_locks.held``); removing takes the lock alone.
"""

from __future__ import annotations

import os
import shutil
import time
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from huggingface_hub import constants

from seg_demo.errors import BadCheckpointError, BusyError, SegDemoError, StorageError
from seg_demo.models import disk, hub_cache, hub_locks, pickles
from seg_demo.storage import write_atomically

# Revisions that are kept at most, however small: each is looked at when room is made.
MOST = 1000
# Where the system has no locks, what was used so recently counts as in use.
RECENT_SECONDS = 3600.0
_MARKERS = ".visitors"


@dataclass(frozen=True)
class _Kept:
    """A revision that a visitor's request brought here."""

    repo: Path
    sha: str
    used: float
    promised: int


def marker(id: str, sha: str) -> Path:
    """The file that says that a revision of ``user/repo`` is here for visitors only."""
    return hub_cache.repo_folder(id) / _MARKERS / sha


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
        raise BadCheckpointError(
            f"{id} takes {wanted / 1e6:,.0f} MB on the disk, more than the {most / 1e6:,.0f} MB that models typed by visitors "
            "may take here. Choose a smaller one (an owner can raise SEG_DEMO_VISITOR_MODELS_BYTES)."
        )
    mine = marker(id, sha)
    try:
        with hub_locks.room():
            new, had = _missing(id, sha, files) + made, mine.is_file()
            if hub_cache.snapshot(id, sha).is_dir() and not had:
                # Brought by somebody else, whose it stays, if only in part: no marker, but no full disk either.
                _refuse_if_full(id, wanted, new)
                return
            for name, revision in owners:
                claim(name, hub_cache.commit_of(name, revision) or revision)
            mine.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(mine, str(wanted))
            try:
                if not _make_room(mine, new, most):
                    raise BusyError(
                        "The disk space for models that visitors typed is full, and all of them are in use. Try again in a few "
                        "minutes, or choose another model."
                    )
                _refuse_if_full(id, wanted, new)
            except SegDemoError:
                if not had:
                    _unmark(mine)
                raise
    except OSError as error:
        raise StorageError(f"The model cannot be stored on the server: {error.strerror}. Try again later.") from error


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
        if marker(id, sha).is_file() and not hub_cache.snapshot(id, other).is_dir():
            marker(id, other).write_text("0", encoding="ascii")
    except OSError as error:
        raise StorageError(f"The model cannot be stored on the server: {error.strerror}. Try again later.") from error


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


def _refuse_if_full(id: str, wanted: int, new: int) -> None:
    """
    Args:
        id: ``user/repo``.
        wanted: bytes of the whole model.
        new: bytes of it that will be written to the disk.

    Raises:
        StorageError: the disk has no room for them.
    """
    if new and disk.room(constants.HF_HUB_CACHE) < new:
        raise StorageError(
            f"The server's disk has no room for {id} ({wanted / 1e6:,.0f} MB). Choose a model without ○ in the menu, or "
            "try again later."
        )


def _unmark(mine: Path) -> None:
    """Take a marker back, and the folders that were made for it alone."""
    mine.unlink(missing_ok=True)
    for folder in (mine.parent, mine.parent.parent):
        if not any(folder.iterdir()):
            folder.rmdir()


def _make_room(mine: Path, new: int, most: int) -> bool:
    """Remove revisions, the least recently used first, until those that are left and the new one fit.

    Args:
        mine: marker of the new one.
        new: bytes of it that will be written to the disk.
        most: bytes that all may take.

    Returns:
        Whether they fit.
    """
    found = sorted(_all(), key=lambda each: each.used)
    sizes = {repo: _size(repo, found) for repo in {each.repo for each in found}}
    left = len(found)
    for each in found:
        if sum(sizes.values()) <= most and left <= MOST and disk.room(constants.HF_HUB_CACHE) >= new:
            return True
        if (each.repo, each.sha) == (mine.parent.parent, mine.name):
            continue
        with hub_locks.alone(each.repo.name) as alone:
            if alone and (hub_locks.KNOWN or time.time() - each.used > RECENT_SECONDS):
                _remove(each.repo, each.sha)
                sizes[each.repo] = _size(each.repo, _of(each.repo))
                left -= 1
    return sum(sizes.values()) <= most


def _missing(id: str, sha: str, files: Mapping[str, int]) -> int:
    """Bytes that still have to be downloaded."""
    return sum(size for name, size in files.items() if not (hub_cache.snapshot(id, sha) / name).is_file())


def _all() -> list[_Kept]:
    """Every marked revision in the cache."""
    return [each for folder in Path(constants.HF_HUB_CACHE).glob(f"models--*/{_MARKERS}") for each in _of(folder.parent)]


def _of(repo: Path) -> list[_Kept]:
    """The marked revisions of one repository's folder."""
    found = []
    for path in (repo / _MARKERS).glob("*"):
        try:
            found.append(_Kept(repo, path.name, path.stat().st_mtime, int(path.read_text(encoding="ascii") or 0)))
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


def _size(repo: Path, found: Collection[_Kept]) -> int:
    """Bytes that a repository's marked revisions take; while one may be arriving, at least what was promised for them."""
    mine = [each for each in found if each.repo == repo]
    marked = {each.sha for each in mine}
    owners = _blobs(repo, marked)
    stored = [path for path in (repo / "blobs").glob("*") if path.name not in owners]
    for part in ("snapshots", pickles.FOLDER):
        stored += [path for sha in marked for path in (repo / part / sha).rglob("*") if not path.is_symlink()]
    total = 0
    for path in stored:
        try:
            total += path.stat().st_size if path.is_file() else 0
        except OSError:
            continue  # a download that has just ended
    return total + sum(each.promised for each in mine if not _arrived(repo / "snapshots" / each.sha))


def _arrived(snapshot: Path) -> bool:
    """Whether nothing more is to be downloaded, nor made of it."""
    places = (snapshot, *snapshot.glob(f"{hub_cache.COMPOSED}/*"))
    return any(hub_cache.complete(place) and pickles.ready(place) is not None for place in places)


def _remove(repo: Path, sha: str) -> None:
    """Remove one revision, and whatever no other revision needs. The caller has the repository for itself."""
    shutil.rmtree(repo / "snapshots" / sha, ignore_errors=True)
    pickles.forget(repo, sha)
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
        shutil.rmtree(hub_locks.folder().parent / repo.name, ignore_errors=True)
