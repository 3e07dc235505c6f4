"""All jobs of a server: made, checked, started one at a time, stopped, resumed; a restarted server finds them as they are.

A job's data are a copy of a dataset's folder, or what an archive holds; the training command's dry run says what is wrong with them
before anything is started. A finished job's network goes to the menu of its owner, into a zip, and to the Hub.
"""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from filelock import FileLock

from seg_demo.core import BadRequestError, Message, StorageError, redacted, replacing, sentences, storage
from seg_demo.core.sandbox import public_environment
from seg_demo.core.settings import settings
from seg_demo.hub import client
from seg_demo.inputs.archives import unpack
from seg_demo.jobs.job import ABOUT, CHECK, CHILD, COMMAND, CONFIG, DATA, DONE, DRAFT, EXIT, PATIENCE, PROGRESS, PUSH, READINGS, RESULT, RESUMABLE, ROOT, RUNNER, RUNNING, Job, launch, no_process, read_json, send_signal, write_json, write_text
from seg_demo.serving import catalog

TRAIN = ROOT / "train" / "finetune.py"
LEAST_FREE = 500_000_000
# Settings that a comparison of networks decides by itself, or leaves to the training that follows.
DECIDED_BY_COMPARISON = ("model", "max_steps", "batch_size", "lr", "baseline", "replay")
DRAFT_SECONDS = 24 * 3600
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


class Jobs:
    """The jobs below a folder.

    Args:
        root: the folder; made when the first job is.
        patience: as :data:`seg_demo.jobs.job.PATIENCE`.
    """

    def __init__(self, root: Path | str, patience: tuple[float, float] = PATIENCE) -> None:
        self.root, self._patience = Path(root).expanduser().resolve(), patience

    def list(self) -> list[Job]:
        """All jobs but drafts, the newest first."""
        return [job for job in self._all() if job.state() != DRAFT]

    def open(self, id: object) -> Job:
        """A job by its id.

        Raises:
            BadRequestError: there is none.
        """
        about = read_json(self.root / id / ABOUT) if isinstance(id, str) and _ID.fullmatch(id) else None
        if not isinstance(about, dict):
            raise BadRequestError("jobs.none_such")
        return Job(self.root / id, id, about)

    def running(self) -> Job | None:
        """The job that runs now, or None."""
        return next((job for job in self._all() if job.state() == RUNNING), None)

    def check_free(self, owner: str | None) -> None:
        """One job runs at a time.

        Args:
            owner: who wants to start one; None for somebody without a key.

        Raises:
            BadRequestError: one runs; somebody else's is not named.
        """
        if (other := self.running()) is None:
            return
        if other.owner == owner:
            raise BadRequestError("jobs.one_at_a_time", name=other.name)
        raise BadRequestError("jobs.one_at_a_time_of_others")

    def draft(self, name: str, source: Path, config: Mapping[str, Any], owner: str = "") -> Job:
        """A new job that is not started: a copy of the data and the training command's configuration.

        The data is copied, because a run can only be resumed, evaluated and pushed with the data that it began with, and a
        dataset goes on growing.

        Args:
            name: of the data, as the page and later the pushed repository call it.
            source: folder with ``images/`` and ``masks/`` (and ``instances/``, class lists), or a zip archive of one.
            config: fields of :class:`train.config.Config` beside ``data``.
            owner: whose job it is, as in :mod:`seg_demo.core.requests`; empty for this machine's own.

        Raises:
            BadRequestError: an archive that cannot be used.
            StorageError: the disk is full or fails.
        """
        self._tidy()
        id = f"{time.strftime('%Y%m%d-%H%M%S')}-{secrets.token_hex(3)}"
        folder = self.root / id
        began = time.time()  # what is saved while the data is copied may not be in the copy
        try:
            folder.mkdir(parents=True)
            if shutil.disk_usage(folder).free < LEAST_FREE:
                raise StorageError("jobs.disk_nearly_full", least=LEAST_FREE / 1e6)
            data = take(source, folder / DATA, name)
            self._write_config(folder, {**config, "data": str(data)})
            about = {"name": name, "base": config.get("model"), "owner": owner, "created": began}
            write_json(folder / ABOUT, about)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise StorageError("jobs.data_not_copied", why=error.strerror) from error
            raise
        return self.open(id)

    def configure(self, job: Job, **changes: Any) -> None:
        """Change settings of a draft.

        Raises:
            BadRequestError: it has been started.
        """
        if job.state() != DRAFT:
            raise BadRequestError("jobs.settings_are_fixed")
        self._write_config(job.folder, {**self.config(job), **changes})

    def remember(self, job: Job, **facts: Any) -> None:
        """Add to what is known about a draft; ``job.about`` has it too."""
        job.about.update(facts)
        write_json(job.folder / ABOUT, job.about)

    def config(self, job: Job) -> dict[str, Any]:
        """The training command's configuration of a job."""
        return read_json(job.folder / CONFIG) or {}

    def _write_config(self, folder: Path, config: Mapping[str, Any]) -> None:
        # JSON is YAML, and needs no library here.
        write_json(folder / CONFIG, dict(config))

    def check(self, job: Job) -> dict[str, Any]:
        """Ask the training command what it would do, and what is wrong with the data (``--dry-run --json``).

        Returns:
            Its answer: the plan with ``diagnosis`` and ``problems`` (None if it may start).

        Raises:
            BadRequestError: the command gave no answer.
            BusyError: no process can be started.
        """
        (job.folder / READINGS).unlink(missing_ok=True)
        # Nothing is written to the run's folder, but what is drawn of the data lies beside it.
        command = [*self._command(), "--config", str(job.folder / CONFIG), "--output", str(job.run)]
        answer = dry_run(command, public_environment() | {"SEG_DEMO_JOBS": str(self.root)}, job.in_public)
        write_json(job.folder / CHECK, answer)
        return job.check()

    def mend(self, job: Job, labels: str) -> None:
        """Take the doctor's proposal for what the values of the masks mean.

        Args:
            job: a draft.
            labels: content of ``labels.json``.

        Raises:
            BadRequestError: it is none of the proposals.
        """
        found = (job.check().get("diagnosis") or {}).get("faults") or ()
        if job.state() != DRAFT or labels not in {fault.get("proposal") for fault in found}:
            raise BadRequestError("jobs.suggestion_of_other_data")
        write_text(Path(self.config(job)["data"]) / "labels.json", labels)

    def compare(self, job: Job, minutes: float) -> None:
        """Make of a draft a comparison of networks on its data (``--advise``); what it was to train with waits for :meth:`winner`.

        Args:
            job: a draft.
            minutes: that the comparison may take.

        Raises:
            BadRequestError: it has been started.
        """
        config = self.config(job)
        waiting = {name: config[name] for name in DECIDED_BY_COMPARISON if name in config}
        self.configure(job, advise=True, minutes=minutes)
        compared = {name: value for name, value in self.config(job).items() if name not in waiting}
        self._write_config(job.folder, compared)
        self.remember(job, comparing=waiting, base="")

    def winner(self, job: Job) -> Job:
        """A draft that trains what a comparison has found best, on a copy of its data.

        Raises:
            BadRequestError: it has found nothing, or is no comparison.
            StorageError: the disk is full or fails.
        """
        found = job.advice()
        best = next((row for row in found["rows"] if row["name"] == found["winner"]), None) if found else None
        if best is None:
            raise BadRequestError("jobs.nothing_compared")
        config = {name: value for name, value in self.config(job).items() if name not in ("advise", "minutes", "data")}
        # Its crops come with the network's own batches and learning rate, with which it was compared.
        chosen = {"model": best["model"], "image_size": best["image_size"] or config.get("image_size"), "lr": None, "batch_size": None, "replay": 0.0}
        made = self.draft(job.name, Path(self.config(job)["data"]), {**config, **job.about["comparing"], **chosen}, job.owner)
        if job.about.get("replay") and best["model"] in {spec.id for spec in catalog.BUNDLED}:
            self.remember(made, replay=job.about["replay"])
        return made

    def start(self, job: Job) -> None:
        """Start a draft.

        Raises:
            BadRequestError: another job runs, or it is no draft.
            BusyError: no process can be started.
            StorageError: the disk is full or fails.
        """
        if job.state() != DRAFT:
            raise BadRequestError("jobs.started_before")
        self._launch(job, ["--config", str(job.folder / CONFIG), "--output", str(job.run)])

    def resume(self, job: Job) -> None:
        """Go on with a job that was stopped, killed, or failed.

        Raises:
            BadRequestError: another job runs, or this one runs or is done.
            BusyError: no process can be started.
            StorageError: the disk is full or fails.
        """
        if job.state() not in RESUMABLE:
            raise BadRequestError("jobs.not_resumable")
        begun = (job.run / "config.json").exists()
        again = ["--resume", str(job.run)] if begun else ["--config", str(job.folder / CONFIG), "--output", str(job.run)]
        self._launch(job, again)

    def cancel(self, job: Job) -> bool:
        """Ask a running job to save and end; it does so at the end of its present step.

        Returns:
            Whether it ran.
        """
        child, runner = (read_json(job.folder / name) for name in (CHILD, RUNNER))
        return send_signal(child, signal.SIGTERM) or send_signal(runner, signal.SIGTERM)

    def delete(self, job: Job) -> None:
        """Remove a job with its data and its weights; those that were pushed stay on the Hub.

        Raises:
            BadRequestError: it runs.
        """
        if job.state() == RUNNING:
            raise BadRequestError("jobs.stop_first")
        catalog.remove_trained(job.folder)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _launch(self, job: Job, arguments: list[str]) -> None:
        with self._starting():
            self.check_free(job.owner)
            # A start that fails leaves the job in the state that it was in.
            before = {name: read_json(job.folder / name) for name in (RUNNER, EXIT)}
            # Who ran it before stays until the new one is written down: without any it is a draft, of which old ones are removed.
            for name in (EXIT, CHILD, RESULT, PROGRESS):
                (job.folder / name).unlink(missing_ok=True)
            told = ["--progress-file", str(job.folder / PROGRESS), "--json"]
            try:
                write_json(job.folder / COMMAND, [*self._command(), *arguments, *told])
                launch(job.folder, self.root, self._patience, job.owner)
            except BaseException:
                for name, content in before.items():
                    if content is not None:
                        write_json(job.folder / name, content)
                    else:
                        (job.folder / name).unlink(missing_ok=True)
                raise

    @contextmanager
    def _starting(self) -> Iterator[None]:
        """One start at a time, also of several servers on one folder."""
        self.root.mkdir(parents=True, exist_ok=True)
        with FileLock(self.root / ".starting"):
            yield

    def _all(self) -> list[Job]:
        if not self.root.is_dir():
            return []
        names = sorted((name for name in os.listdir(self.root) if _ID.fullmatch(name)), reverse=True)
        found = ((name, read_json(self.root / name / ABOUT)) for name in names)
        return [Job(self.root / name, name, about) for name, about in found if isinstance(about, dict)]

    def _tidy(self) -> None:
        """Remove drafts that nobody started for a day."""
        for job in self._all():
            if job.state() == DRAFT and time.time() - float(job.about.get("created", 0)) > DRAFT_SECONDS:
                shutil.rmtree(job.folder, ignore_errors=True)

    def _command(self) -> list[str]:
        return [sys.executable, str(TRAIN)]


# What a dataset of the store keeps for itself; training needs none of it, and hidden files are its journal.
_LEFT_OUT = ("facts", "thumbnails", "drafts", "dataset.json", ".*")


def take(source: Path, target: Path, name: str) -> Path:
    """Copy or unpack data into a job's folder.

    Args:
        source: a folder, or a zip archive.
        target: new folder to put it in.
        name: of the data; the folder within ``target`` is called after it, and with it the repository that is pushed.

    Returns:
        The folder that ``--data`` takes.

    Raises:
        BadRequestError: an archive that cannot be used, or holds nothing.
        OSError: the disk is full or fails.
    """
    folder = target / (re.sub(r"[^A-Za-z0-9]+", "-", name).strip("-").lower()[:40] or "data")
    if source.is_dir():
        shutil.copytree(source, folder, ignore=shutil.ignore_patterns(*_LEFT_OUT))
        return folder
    folder.mkdir(parents=True)
    # An image and its mask are two files, so that a dataset of an archive may have as many images as a batch.
    unpacked = unpack(
        source, folder, max_files=2 * settings().max_batch_files + 10, max_bytes=settings().max_batch_bytes
    )
    if not unpacked.files:
        if unpacked.refused:
            raise BadRequestError("jobs.no_file_in_archive_but", name=unpacked.refused[0].name, why=unpacked.refused[0].why)
        raise BadRequestError("jobs.no_file_in_archive")
    inside = sorted(folder.iterdir())
    if len(inside) == 1 and inside[0].is_dir() and inside[0].name.lower() not in ("images", "masks", "train", "val"):
        # The archive of a folder holds that folder; what training wants lies in it.
        wrapped = folder.with_name(folder.name + ".unpacked")
        folder.rename(wrapped)
        (wrapped / inside[0].name).rename(folder)
        wrapped.rmdir()
    return folder


CHECK_SECONDS = 900


def dry_run(command: Sequence[str], environ: Mapping[str, str], in_public: Callable[[str], str]) -> dict[str, Any]:
    """Run the training command with ``--dry-run --json``.

    Args:
        command: with its configuration.
        environ: variables of the process.
        in_public: makes of what the command says what a visitor may read.

    Returns:
        Its answer: the plan with ``diagnosis`` and ``problems`` (None if it may start), every text fit for a visitor.

    Raises:
        BadRequestError: the command gave no answer.
        BusyError: no process can be started.
    """
    command = [*command, "--dry-run", "--json"]
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=CHECK_SECONDS, stdin=subprocess.DEVNULL, cwd=ROOT, env=dict(environ)
        )
    except OSError as error:
        raise no_process(error.strerror) from error
    except subprocess.TimeoutExpired:
        raise BadRequestError("jobs.check_too_long", minutes=CHECK_SECONDS // 60) from None
    said = in_public(done.stderr).strip()
    if done.returncode not in (0, 2):
        raise BadRequestError("jobs.not_checked", why=said[-600:])
    try:
        return _each_text(json.loads(done.stdout), in_public)
    except ValueError:
        return {"problems": said.removeprefix("Nothing was started:").strip()[-4000:], "diagnosis": None}


def _each_text(value: Any, change: Callable[[str], str]) -> Any:
    """JSON with each of its texts changed; names of values stay."""
    if isinstance(value, str):
        return change(value)
    if isinstance(value, list):
        return [_each_text(inner, change) for inner in value]
    if isinstance(value, dict):
        return {key: _each_text(inner, change) for key, inner in value.items()}
    return value


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
        if (known := catalog.trained_in(job.checkpoint)) is not None:
            return known.spec.id
        # Also those that this visitor does not see: an id means one model.
        id = catalog.free_id(f"{spec.architecture}-{slug}", {row.id for row in catalog.menu(every=True)})
        catalog.add_trained(replace(spec, id=id, title=f"{spec.title}, {job.name}"[:80], licence=_licence(job)), job.checkpoint, job.owner)
        return id


def pack_model(job: Job, file: Path) -> Path:
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
        if sum(path.stat().st_size for path in parts) > storage.free_space(file.parent):
            raise StorageError("jobs.no_room_for_zip")
        # Weights are noise to deflate: stored, they take no time.
        with replacing(file) as new, zipfile.ZipFile(new, "w", zipfile.ZIP_STORED) as archive:
            for path in parts:
                archive.write(path, f"{file.stem}/{path.name}")
    except OSError as error:
        raise StorageError("jobs.zip_not_written", why=error.strerror) from error
    return file


def short_name(job: Job) -> str:
    """A job's name as part of an id or a file's name.

    >>> short_name(Job(Path("x"), "x", {"name": "My cells!"}))
    'my-cells'
    """
    return re.sub(r"[^a-z0-9]+", "-", job.name.lower()).strip("-")[:40] or "data"


def push_model(job: Job, repo: str, token: str | None, private: bool) -> Pushed:
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
    if client.parse_id(repo) != (repo, None) or repo.count("/") != 1:
        came = Message("push.bad_repository", repo=repo[:80]) if repo else Message("push.no_repository")
        raise BadRequestError(sentences(came, Message("push.write_name_so")))
    report = job.folder / PUSH
    report.unlink(missing_ok=True)
    command = [sys.executable, str(TRAIN), "--resume", str(job.run), "--push", repo, "--json", *["--private"] * private]
    command += ["--progress-file", str(report)]
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
        raise BadRequestError("jobs.push_too_long", minutes=PUSH_SECONDS // 60) from None
    finally:
        # Also when the visitor has gone: what a push has not finished, the next one begins again.
        if child.poll() is None:
            child.kill()
            child.communicate()
    if child.returncode != 0:
        ended = read_json(report)
        if isinstance(ended, dict) and ended.get("error"):
            why = Message.from_dict(ended["error"]).changed(lambda text: _without_secrets(text, token))
        else:
            why = _reason(said, token)
        raise BadRequestError("jobs.not_pushed", why=why)
    pushed = json.loads(answer)["pushed"]
    spec = catalog.of_folder(job.checkpoint, pushed["repo"], "hub")
    # Pinned: a repository that is pushed to again is another model at once, whatever was fetched before.
    title = f"{pushed['repo']} ({spec.title})"
    spec = replace(spec, revision=pushed["revision"], title=title, licence=_licence(job))
    catalog.add_trained(spec, owner=job.owner)
    return Pushed(spec.key, pushed["url"])


def _check_done(job: Job) -> None:
    if job.state() != DONE:
        raise BadRequestError("jobs.not_finished")


def _licence(job: Job) -> str:
    facts = read_json(job.checkpoint / "training.json")
    return str((facts or {}).get("licence") or "")[:80]


def _reason(said: str, token: str | None) -> str:
    """The last thing that the command said, without what is signed, and the token, should it ever be in it."""
    text = said.replace("Nothing was started:", "")
    lines = [line.strip() for line in text.splitlines() if line.strip() and "Warning" not in line]
    lines = [line for line in lines if not line.startswith(("Nothing is lost", "image = "))]
    found = " ".join(lines[-3:])[-600:] or "The training command gave no reason."
    return _without_secrets(found, token)


def _without_secrets(text: str, token: str | None) -> str:
    text = redacted(text)
    return text.replace(token, "***") if token else text
