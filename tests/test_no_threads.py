"""A system that gives no more threads or processes: a sentence each time, nobody waits for ever, and nothing is blamed for it."""

from __future__ import annotations

import os
import subprocess
import sys
import threading

import pytest

from seg_demo.errors import BusyError
from seg_demo.models import hub_client, quarantine
from seg_demo.models.once import Once


@pytest.fixture
def no_threads():
    """Threads want more memory for their stack than there is, so that the system refuses them."""
    before = threading.stack_size(2**46)
    yield
    threading.stack_size(before)


def test_a_call_that_gets_no_thread_is_not_waited_for_by_the_next_one(no_threads):
    once = Once()
    for _ in range(2):
        with pytest.raises(BusyError, match="no more threads"):
            once.run("key", lambda: 1)
    assert len(once) == 0
    threading.stack_size(0)
    assert once.run("key", lambda: 1) == 1


def test_a_look_up_that_gets_no_thread(no_threads):
    with pytest.raises(BusyError, match="no more threads"):
        hub_client.within(5, lambda: 1)


def test_a_model_is_not_blamed_when_no_process_is_left_to_try_it_in(folders, monkeypatch):
    """The helper cannot fork (its fork always fails); afterwards another helper tries the same model, and it passes."""
    mine, real = quarantine.Quarantine(), subprocess.Popen
    code = (
        "import os, sys, errno\nfrom seg_demo.models import quarantine_child\n"
        "def fork(): raise BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN))\n"
        "os.fork = fork\nquarantine_child.serve(60.0)"
    )
    try:
        with monkeypatch.context() as patched:
            patched.setattr(quarantine.subprocess, "Popen", lambda words, **options: real([sys.executable, "-c", code], **options))
            for _ in range(2):
                with pytest.raises(BusyError, match=r"Resource temporarily unavailable.*Try again"):
                    mine.inspect(folders / "tiny")
        os.kill(mine._process.pid, 9)
        mine._process.wait()
        mine.inspect(folders / "tiny")
        assert mine.passed(folders / "tiny")
    finally:
        mine.close()
