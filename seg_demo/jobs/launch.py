"""How a job's processes are started: the one that watches (:mod:`seg_demo.jobs.runner`), which starts the command."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

from seg_demo.errors import BusyError
from seg_demo.jobs import files, processes
from seg_demo.settings import public_environment

ROOT = Path(__file__).resolve().parents[2]
# Seconds in which a command must have said how far it is for the first time, and for which it may stand still.
PATIENCE = (600.0, 900.0)
# Seconds in which the process that watches over a command must have started it.
LAUNCH_SECONDS = 60.0


def launch(folder: Path, root: Path, patience: tuple[float, float]) -> None:
    """Start the process that watches over a command; return when that has started the command, or has said why it could not.

    Args:
        folder: of the job, with ``command.json`` and nothing of an earlier start.
        root: of all jobs.
        patience: as :data:`PATIENCE`.

    Raises:
        BusyError: no process can be started; none is left behind.
        StorageError: the disk is full or fails.
    """
    nowhere = {stream: subprocess.DEVNULL for stream in ("stdin", "stdout", "stderr")}
    words = [sys.executable, "-m", "seg_demo.jobs.runner", str(folder), *map(str, patience)]
    environ = public_environment() | {"SEG_DEMO_JOBS": str(root)}
    try:
        runner = subprocess.Popen(words, cwd=ROOT, env=environ, start_new_session=True, **nowhere)
    except OSError as error:
        raise no_process(error.strerror) from error
    try:
        files.write_json(folder / files.RUNNER, processes.identity(runner.pid))
        until = time.monotonic() + LAUNCH_SECONDS
        while not any((folder / name).exists() for name in (files.CHILD, files.EXIT)):
            if runner.poll() is not None and not (folder / files.EXIT).exists():
                raise no_process("it ended at once")
            if time.monotonic() > until:
                raise no_process(f"nothing came of it for {LAUNCH_SECONDS:g} s")
            time.sleep(0.02)
    except BaseException:
        runner.terminate()  # it hands that on to a command that it may have started meanwhile
        try:
            runner.wait(LAUNCH_SECONDS)
        except subprocess.TimeoutExpired:
            runner.kill()
            runner.wait()
        raise


def no_process(why: str | None) -> BusyError:
    """What to tell whoever wanted a job to be worked on."""
    return BusyError(f"No process could be started for this job ({why}). Close other programs or try again in a few minutes.")
