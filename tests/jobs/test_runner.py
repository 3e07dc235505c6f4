"""Every job ends in a stated outcome: commands that cannot start, die at once, never begin, stand still or ignore what they are told.

Real processes, each a few lines of Python in the place of the training command, which is told apart by nothing but its words.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time

import pytest

from seg_demo.core.errors import BusyError
from seg_demo.jobs import job as job_files
from seg_demo.jobs.job import DONE, DRAFT, FAILED, INTERRUPTED, ROOT, RUNNING, STOPPED
from seg_demo.jobs.store import Jobs
from seg_demo.ui import finetune_view
from tests.jobs.test_jobs import QUICK, until
from tests.small_datasets import folder

# The words that follow are --config FILE --output DIR --progress-file FILE --json.
SAYS = "import json, os, signal, sys, time; told = sys.argv[sys.argv.index('--progress-file') + 1]\n"
BEGINS = SAYS + "open(told, 'w').write(json.dumps({'stage': 'prepare', 'step': 0, 'total': 9}))\n"
# Long enough for an interpreter to start, and for a second of work in it, on a machine that others keep busy.
PATIENCE = (30.0, 5.0)


class Commands(Jobs):
    """Jobs whose command is another one."""

    words: list[str]

    def _command(self) -> list[str]:
        return self.words


@pytest.fixture
def ended(tmp_path):
    """What became of a job whose command is this Python, and how long it took; nothing of it may run afterwards."""
    store = Commands(tmp_path / "jobs", PATIENCE)
    data = folder(tmp_path / "data", 2)

    def run(code: str | list[str], during=lambda job: None, patience: tuple[float, float] = PATIENCE):
        store._patience = patience
        store.words = code if isinstance(code, list) else [sys.executable, "-c", code]
        job = store.draft("data", data, QUICK)
        began = time.monotonic()
        store.start(job)
        during(job)
        until(lambda: job.state() != RUNNING, 60)
        took = time.monotonic() - began
        for name in (job_files.RUNNER, job_files.CHILD):
            until(lambda name=name: not job_files.is_running(job_files.read_json(job.folder / name)), 10)
        return job, took

    yield run
    for job in store.list():
        store.cancel(job)


def said(job) -> str:
    shown = finetune_view.status(job, "en")
    assert job.reason() and 'role="alert"' in shown and str(job.folder) not in shown
    assert finetune_view.status(job, "zh") != shown
    return job.reason()


def test_a_command_that_is_not_there(ended):
    job, _ = ended(["/nowhere/python"])
    assert job.state() == FAILED and "No such file" in said(job)


@pytest.mark.parametrize(
    ("code", "reason"),
    [
        ("import sys; sys.exit('pthread_create failed: Resource temporarily unavailable')", "before it could begin"),
        ("import os; os.abort()", "The operating system stopped it (SIGABRT)"),
        (BEGINS + "os.kill(os.getpid(), signal.SIGKILL)", "The operating system stopped it (SIGKILL)"),
    ],
)
def test_a_command_that_dies_at_once(ended, code, reason):
    job, took = ended(code)
    assert job.state() == FAILED and reason in said(job) and took < 30, "nobody waited for it"
    if "pthread" in code:
        assert "pthread_create failed" in job.log(), "what it said is to be read"


def test_a_command_that_never_begins(ended):
    job, took = ended("import threading; lock = threading.Lock(); lock.acquire(); lock.acquire()", patience=(2.0, 30.0))
    assert job.state() == FAILED and "did not begin within 2 s" in said(job) and took < 30, "and not that it made no progress"


def test_a_command_that_stands_still_is_asked_first(ended):
    job, _ = ended(BEGINS + "signal.signal(signal.SIGTERM, lambda *_: sys.exit(print('saved', file=sys.stderr) or 143))\ntime.sleep(600)")
    assert job.state() == FAILED and "made no progress for 5 s" in said(job)
    assert "saved" in (job.folder / job_files.CONSOLE).read_text()


def test_a_command_that_stands_still_and_hears_nothing_is_ended_with_all_that_it_started(ended, monkeypatch, tmp_path):
    # What it started stands still too, and would outlive it.
    pid = tmp_path / "pid"
    deaf = BEGINS + "signal.signal(signal.SIGTERM, signal.SIG_IGN)\nimport subprocess\n"
    deaf += f"open({str(pid)!r}, 'w').write(str(subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)']).pid))\n"
    store_time = "from seg_demo.jobs import job; job.END_SECONDS = 1.0; import sys; from pathlib import Path; "
    code = store_time + "job.main(Path(sys.argv[1]), 30.0, 5.0)"
    real = subprocess.Popen
    monkeypatch.setattr(
        job_files.subprocess, "Popen", lambda words, **options: real([sys.executable, "-c", code, words[3]], **options)
    )
    job, took = ended(deaf + "time.sleep(600)")
    assert job.state() == FAILED and "made no progress" in said(job) and took < 50, "END_SECONDS were not waited for"
    until(lambda: job_files.process_start(int(pid.read_text())) is None, 10)


@pytest.mark.soak
def test_what_computes_or_writes_is_left_alone(ended):
    # Longer than it may stand still: computing without a word, then writing without computing.
    busy = "end = time.monotonic() + 8\nwhile time.monotonic() < end: sum(range(10**5))\n"
    writing = "for number in range(14): time.sleep(0.5); print(number, file=sys.stderr, flush=True)\n"
    job, took = ended(BEGINS + busy + writing + "print('{}')")
    assert job.state() == DONE and took > 15 and job.reason() == ""


def test_a_machine_that_was_paused_has_not_stood_still(tmp_path, monkeypatch):
    """A container that is frozen for an hour, and its clock goes on: the command is given its time from there."""
    now = [1000.0]
    monkeypatch.setattr(job_files.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(job_files, "LOOK_SECONDS", 4.0)  # each look asks the system for all processes
    watch = job_files.Watch(tmp_path, 2**22 + 1, 600.0, 900.0)

    def looks(seconds: float) -> str:
        for _ in range(int(seconds / job_files.LOOK_SECONDS)):
            now[0] += job_files.LOOK_SECONDS
            if fault := watch.fault():
                return fault
        return ""

    assert looks(500) == ""
    now[0] += 3600
    assert watch.fault() == "" and looks(80) == ""
    assert "did not begin" in looks(30)
    (tmp_path / job_files.PROGRESS).write_text("{}")
    assert looks(880) == ""
    now[0] += 3600
    assert watch.fault() == "" and "made no progress for 900 s" in looks(30)


def test_a_stop_that_comes_before_the_command_reaches_it(ended):
    def stop(job):
        runner = json.loads((job.folder / job_files.RUNNER).read_text())
        assert job_files.send_signal(runner, signal.SIGTERM)

    job, took = ended("import time; time.sleep(600)", stop)
    assert job.state() == STOPPED and took < 30


def test_where_no_process_can_be_started_nothing_has_changed(tmp_path, monkeypatch):
    store = Commands(tmp_path / "jobs", PATIENCE)
    store.words = [sys.executable, "-c", "raise SystemExit(3)"]
    job = store.draft("data", folder(tmp_path / "data", 2), QUICK)

    def full(*_, **__):
        raise BlockingIOError(11, "Resource temporarily unavailable")

    with monkeypatch.context() as patched:
        patched.setattr(job_files.subprocess, "Popen", full)
        with pytest.raises(BusyError, match="Resource temporarily unavailable"):
            store.start(job)
    assert job.state() == DRAFT and store.running() is None
    # A watcher that dies before it has said anything: too little memory for an interpreter.
    real = subprocess.Popen
    starved = lambda words, **options: real(  # noqa: E731
        words, **options, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (2**23, 2**23))
    )
    with monkeypatch.context() as patched:
        patched.setattr(job_files.subprocess, "Popen", starved)
        with pytest.raises(BusyError, match="ended at once"):
            store.start(job)
    assert job.state() == DRAFT
    store.start(job)
    until(lambda: job.state() != RUNNING, 30)
    before = job.state()
    with monkeypatch.context() as patched:
        patched.setattr(job_files.subprocess, "Popen", full)
        with pytest.raises(BusyError):
            store.resume(job)
    assert job.state() == before != DRAFT, "it can be resumed later"


def test_a_job_is_no_draft_while_it_is_resumed(tmp_path, monkeypatch):
    """It has no process for a moment, or for good where the server is killed in it; old drafts are removed."""
    store = Commands(tmp_path / "jobs", PATIENCE)
    store.words = []
    job = store.draft("data", folder(tmp_path / "data", 2), QUICK)
    store.remember(job, created=0.0)
    job_files.write_json(job.folder / job_files.RUNNER, {"pid": 0, "began": "x"})
    job_files.write_json(job.folder / job_files.EXIT, {"code": 143})
    seen = []

    def launch(*_):
        store._tidy()
        seen.append((job.state(), [one.id for one in store.list()]))

    monkeypatch.setattr("seg_demo.jobs.store.launch", launch)
    store.resume(job)
    assert seen == [(INTERRUPTED, [job.id])]


def test_the_training_command_with_too_little_memory_to_begin_ends_and_says_so(tmp_path):
    """Whatever numpy's and torch's threads do when they cannot be made, the job ends."""
    store = Commands(tmp_path / "jobs", (60.0, 60.0))
    code = "import os, resource, sys; resource.setrlimit(resource.RLIMIT_AS, (600_000_000,) * 2); os.execv(sys.executable, sys.argv)"
    job = store.draft("data", folder(tmp_path / "data", 4), {**QUICK, "max_steps": 2})
    store.words = [sys.executable, "-c", code.replace("sys.argv)", "[sys.executable, *sys.argv[1:]])"), str(ROOT / "train/finetune.py")]
    store.start(job)
    until(lambda: job.state() != RUNNING, 90)
    assert job.state() == FAILED and said(job)
    assert store.running() is None and job.state() != INTERRUPTED


def test_processor_time_is_counted_for_a_group():
    child = subprocess.Popen([sys.executable, "-c", "while True: pass"], process_group=0)
    try:
        until(lambda: job_files.processor_seconds(child.pid) > 0.3, 60)
        assert job_files.processor_seconds(child.pid) < 60 and job_files.processor_seconds(2**22 + 1) == 0
    finally:
        os.killpg(child.pid, signal.SIGKILL)
        child.wait()
    assert job_files._clock("1-02:03:04") == 93_784 and job_files._clock("00:01.50") == 1.5
