"""A finished job's network → the menu of its owner, a zip, and the Hub."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import threading
import zipfile
from dataclasses import dataclass, replace
from pathlib import Path

from seg_demo.errors import BadRequestError, StorageError
from seg_demo.jobs import files
from seg_demo.jobs.job import DONE, Job
from seg_demo.jobs.launch import ROOT, no_process
from seg_demo.jobs.store import TRAIN
from seg_demo.models import catalog, disk, own
from seg_demo.models.redact import redacted
from seg_demo.settings import public_environment
from seg_demo.storage import replacing

PUSH_SECONDS = 3600
_naming = threading.Lock()


@dataclass(frozen=True)
class Pushed:
    """Where a checkpoint went.

    Attributes:
        id: by which the menu knows it, ``user/repo@revision``.
        url: of the repository.
    """

    id: str
    url: str


def use_here(job: Job) -> str:
    """Put a finished job's checkpoint on the menu of its owner, without the Hub.

    Args:
        job: that is done.

    Returns:
        The id by which the menu knows it; the same one again for the same job.

    Raises:
        BadRequestError: the job is not done.
        StorageError: the list cannot be written.
    """
    _check_done(job)
    slug = short_name(job)
    spec = catalog.of_folder(job.checkpoint, f"tuned-{slug}", "folder")
    # Two visitors at once would be given the same id, and one of them the other's model.
    with _naming:
        if (known := own.of_folder(job.checkpoint)) is not None:
            return known.spec.id
        # Also those that this visitor does not see: an id means one model.
        id = own.free_id(f"{spec.architecture}-{slug}", {each.id for each in catalog.menu(every=True)})
        own.add(replace(spec, id=id, title=f"{spec.title}, {job.name}"[:80], licence=_licence(job)), job.checkpoint, job.owner)
        return id


def pack(job: Job, file: Path) -> Path:
    """A finished job's checkpoint folder as a zip, written bit by bit: it takes no memory to speak of.

    Args:
        job: that is done.
        file: to write, in a folder that is there; it appears whole or not at all.

    Returns:
        The file.

    Raises:
        BadRequestError: the job is not done.
        StorageError: the disk has no room, or fails.
    """
    _check_done(job)
    parts = sorted(path for path in job.checkpoint.iterdir() if path.is_file() and not path.name.startswith("."))
    try:
        if sum(path.stat().st_size for path in parts) > disk.room(file.parent):
            raise StorageError("The disk has no room for the zip. Try again in two hours, when other downloads have been deleted.")
        # Weights are noise to deflate: stored, they take no time.
        with replacing(file) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            for path in parts:
                archive.write(path, f"{file.stem}/{path.name}")
    except OSError as error:
        raise StorageError(f"The zip could not be written ({error.strerror}). Free some space and try again.") from error
    return file


def short_name(job: Job) -> str:
    """A job's name as part of an id or a file's name.

    >>> short_name(Job(Path("x"), "x", {"name": "My cells!"}))
    'my-cells'
    """
    return re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")[:40] or "data"


def push(job: Job, repo: str, token: str | None, private: bool) -> Pushed:
    """Push a finished job by the training command (``--resume RUN --push USER/REPO``), and put what arrived on the menu.

    Args:
        job: that is done.
        repo: ``user/repo``.
        token: whose right it is; handed to the command in its environment, which nobody else reads, and kept nowhere. None
            takes the login of this machine.
        private: whether a new repository is private.

    Raises:
        BadRequestError: the job is not done, or the Hub did not take it; nothing is lost, and the message says why.
        BusyError: no process can be started.
        StorageError: the list of own models cannot be written.
    """
    _check_done(job)
    if catalog.parse_hub_id(repo) is None or "@" in repo or repo.count("/") != 1:
        came = f"{repo[:80]!r} is not the name of a repository." if repo else "The name of the repository is missing."
        raise BadRequestError(f"{came} Type your Hub name, a slash, and a name: ann/my-cells.")
    command = [sys.executable, str(TRAIN), "--resume", str(job.run), "--push", repo, "--json", *["--private"] * private]
    environ = public_environment()
    if token:
        environ["HF_TOKEN"] = token
    pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    try:
        child = subprocess.Popen(command, cwd=ROOT, env=environ, text=True, **pipes)
    except OSError as error:
        raise no_process(error.strerror) from error
    try:
        answer, said = child.communicate(timeout=PUSH_SECONDS)
    except subprocess.TimeoutExpired:
        raise BadRequestError(f"The push took more than {PUSH_SECONDS // 60} minutes. Nothing is lost; try again.") from None
    finally:
        # Also when the visitor has gone: what a push has not finished, the next one begins again.
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode != 0:
        raise BadRequestError(f"It was not pushed; nothing is lost. {_reason(said, token)}")
    pushed = json.loads(answer)["pushed"]
    spec = catalog.of_folder(job.checkpoint, pushed["repo"], "hub")
    # Pinned: a repository that is pushed to again is another model at once, whatever was fetched before.
    title = f"{pushed['repo']} ({spec.title})"
    own.add(replace(spec, revision=pushed["revision"], title=title, licence=_licence(job)), owner=job.owner)
    return Pushed(f"{pushed['repo']}@{pushed['revision']}", pushed["url"])


def _check_done(job: Job) -> None:
    if job.state() != DONE:
        raise BadRequestError("This job is not finished, so there is no trained model yet. Wait until it finishes, or resume it.")


def _licence(job: Job) -> str:
    facts = files.read_json(job.checkpoint / "training.json")
    return str((facts or {}).get("licence") or "")[:80]


def _reason(said: str, token: str | None) -> str:
    """The last thing that the command said, without what is signed, and the token, should it ever be in it."""
    text = said.replace("Nothing was started:", "")
    lines = [line.strip() for line in text.splitlines() if line.strip() and "Warning" not in line]
    lines = [line for line in lines if not line.startswith(("Nothing is lost", "image = "))]
    found = " ".join(lines[-3:])[-600:] or "The training command gave no reason."
    found = redacted(found)
    return found.replace(token, "***") if token else found
