"""All jobs of a server: made, checked, started one at a time, stopped, resumed; a restarted server finds them as they are."""

from __future__ import annotations

import os
import re
import secrets
import shutil
import signal
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from filelock import FileLock

from seg_demo.errors import BadRequestError, StorageError
from seg_demo.jobs import files, processes
from seg_demo.jobs.data import take
from seg_demo.jobs.dry_run import dry_run
from seg_demo.jobs.job import DRAFT, RESUMABLE, RUNNING, Job
from seg_demo.jobs.launch import PATIENCE, ROOT, launch
from seg_demo.models import own
from seg_demo.settings import public_environment

TRAIN = ROOT / "train" / "finetune.py"
LEAST_FREE = 500_000_000
DRAFT_SECONDS = 24 * 3600
_ID = re.compile(r"[0-9]{8}-[0-9]{6}-[0-9a-f]{6}")


class Jobs:
    """The jobs below a folder.

    Args:
        root: the folder; made when the first job is.
        patience: as :data:`seg_demo.jobs.launch.PATIENCE`.
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
        about = files.read_json(self.root / id / files.ABOUT) if isinstance(id, str) and _ID.fullmatch(id) else None
        if not isinstance(about, dict):
            raise BadRequestError("There is no such job. It may have been deleted; reload the page.")
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
            raise BadRequestError(f"The job {other.name!r} is running, and only one can run at a time. Wait until it finishes, or stop it.")
        raise BadRequestError("Another visitor's job is running, and only one can run at a time. Try again when it has finished.")

    def draft(self, name: str, source: Path, config: Mapping[str, Any], owner: str = "") -> Job:
        """A new job that is not started: a copy of the data and the training command's configuration.

        The data is copied, because a run can only be resumed, evaluated and pushed with the data that it began with, and a
        dataset goes on growing.

        Args:
            name: of the data, as the page and later the pushed repository call it.
            source: folder with ``images/`` and ``masks/`` (and ``instances/``, class lists), or a zip archive of one.
            config: fields of :class:`train.config.Config` beside ``data``.
            owner: whose job it is, as in :mod:`seg_demo.ownership`; empty for this machine's own.

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
                raise StorageError(f"Less than {LEAST_FREE / 1e6:.0f} MB are free on the disk. Delete old jobs or other files.")
            data = take(source, folder / files.DATA, name)
            self._write_config(folder, {**config, "data": str(data)})
            about = {"name": name, "base": config.get("model"), "owner": owner, "created": began}
            files.write_json(folder / files.ABOUT, about)
        except BaseException as error:
            shutil.rmtree(folder, ignore_errors=True)
            if isinstance(error, OSError):
                raise StorageError(f"The data could not be copied ({error.strerror}). Free some space.") from error
            raise
        return self.open(id)

    def configure(self, job: Job, **changes: Any) -> None:
        """Change settings of a draft.

        Raises:
            BadRequestError: it has been started.
        """
        if job.state() != DRAFT:
            raise BadRequestError("This job has been started, so its settings cannot be changed. Make a new one.")
        self._write_config(job.folder, {**self.config(job), **changes})

    def remember(self, job: Job, **facts: Any) -> None:
        """Add to what is known about a draft; ``job.about`` has it too."""
        job.about.update(facts)
        files.write_json(job.folder / files.ABOUT, job.about)

    def config(self, job: Job) -> dict[str, Any]:
        """The training command's configuration of a job."""
        return files.read_json(job.folder / files.CONFIG) or {}

    def _write_config(self, folder: Path, config: Mapping[str, Any]) -> None:
        # JSON is YAML, and needs no library here.
        files.write_json(folder / files.CONFIG, dict(config))

    def check(self, job: Job) -> dict[str, Any]:
        """Ask the training command what it would do, and what is wrong with the data (``--dry-run --json``).

        Returns:
            Its answer: the plan with ``diagnosis`` and ``problems`` (None if it may start).

        Raises:
            BadRequestError: the command gave no answer.
            BusyError: no process can be started.
        """
        (job.folder / files.READINGS).unlink(missing_ok=True)
        # Nothing is written to the run's folder, but what is drawn of the data lies beside it.
        command = [*self._command(), "--config", str(job.folder / files.CONFIG), "--output", str(job.run)]
        answer = dry_run(command, public_environment() | {"SEG_DEMO_JOBS": str(self.root)}, job.in_public)
        files.write_json(job.folder / files.CHECK, answer)
        return answer

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
            raise BadRequestError("This suggestion does not belong to this data. Check the data again.")
        files.write_text(Path(self.config(job)["data"]) / "labels.json", labels)

    def start(self, job: Job) -> None:
        """Start a draft.

        Raises:
            BadRequestError: another job runs, or it is no draft.
            BusyError: no process can be started.
            StorageError: the disk is full or fails.
        """
        if job.state() != DRAFT:
            raise BadRequestError("This job has been started before. Resume it, or make a new one.")
        self._launch(job, ["--config", str(job.folder / files.CONFIG), "--output", str(job.run)])

    def resume(self, job: Job) -> None:
        """Go on with a job that was stopped, killed, or failed.

        Raises:
            BadRequestError: another job runs, or this one runs or is done.
            BusyError: no process can be started.
            StorageError: the disk is full or fails.
        """
        if job.state() not in RESUMABLE:
            raise BadRequestError("This job is running or finished, so it cannot be resumed.")
        begun = (job.run / "config.json").exists()
        again = ["--resume", str(job.run)] if begun else ["--config", str(job.folder / files.CONFIG), "--output", str(job.run)]
        self._launch(job, again)

    def cancel(self, job: Job) -> bool:
        """Ask a running job to save and end; it does so at the end of its present step.

        Returns:
            Whether it ran.
        """
        child, runner = (files.read_json(job.folder / name) for name in (files.CHILD, files.RUNNER))
        return processes.send(child, signal.SIGTERM) or processes.send(runner, signal.SIGTERM)

    def delete(self, job: Job) -> None:
        """Remove a job with its data and its weights; those that were pushed stay on the Hub.

        Raises:
            BadRequestError: it runs.
        """
        if job.state() == RUNNING:
            raise BadRequestError("This job is running. Stop it first.")
        own.remove(job.folder)
        shutil.rmtree(job.folder, ignore_errors=True)

    def _launch(self, job: Job, arguments: list[str]) -> None:
        with self._starting():
            self.check_free(job.owner)
            # A start that fails leaves the job in the state that it was in.
            before = {name: files.read_json(job.folder / name) for name in (files.RUNNER, files.EXIT)}
            for name in (files.RUNNER, files.EXIT, files.CHILD, files.RESULT, files.PROGRESS):
                (job.folder / name).unlink(missing_ok=True)
            told = ["--progress-file", str(job.folder / files.PROGRESS), "--json"]
            try:
                files.write_json(job.folder / files.COMMAND, [*self._command(), *arguments, *told])
                launch(job.folder, self.root, self._patience)
            except BaseException:
                for name, content in before.items():
                    if content is not None:
                        files.write_json(job.folder / name, content)
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
        found = ((name, files.read_json(self.root / name / files.ABOUT)) for name in names)
        return [Job(self.root / name, name, about) for name, about in found if isinstance(about, dict)]

    def _tidy(self) -> None:
        """Remove drafts that nobody started for a day."""
        for job in self._all():
            if job.state() == DRAFT and time.time() - float(job.about.get("created", 0)) > DRAFT_SECONDS:
                shutil.rmtree(job.folder, ignore_errors=True)

    def _command(self) -> list[str]:
        return [sys.executable, str(TRAIN)]
