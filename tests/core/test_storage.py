"""Durable writes of files and folders: every step is failed once, by a full disk and by a kill."""

import os
import shutil
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from seg_demo.core import storage
from seg_demo.core.errors import StorageError
from seg_demo.core.storage import LOCKS, Disk, abandoned, locked, recover_folder, save_folder, write_atomically
from tests.control_disk import ControlDisk, Killed, steps_of


def fill(text: str, disk: Disk):
    """A writer of a checkpoint folder whose own writes can be failed as well."""

    def write(folder: Path) -> None:
        for name in ("config.json", "images/grid.png", "model.safetensors"):
            (folder / name).parent.mkdir(exist_ok=True)
            with disk.create(folder / name) as file:
                disk.write(file, f"{text} {name}".encode())

    return write


def content(folder: Path) -> set[str]:
    return {path.read_text().split()[0] for path in folder.rglob("*") if path.is_file()}


@pytest.mark.parametrize("failure", [Killed, OSError])
def test_every_step_of_a_folder_swap_failed_once(tmp_path, failure):
    best = tmp_path / "best"
    save_folder(best, fill("old", Disk()))
    count = len(steps_of(lambda disk: save_folder(best, fill("new", disk), disk=disk)))
    seen = []
    for step in range(count):
        shutil.rmtree(best)
        save_folder(best, fill("old", Disk()))
        disk = ControlDisk(step, failure)
        with pytest.raises(Killed if failure is Killed else StorageError):
            save_folder(best, fill("new", disk), disk=disk)
        recover_folder(best)
        assert len(list(best.rglob("*.*"))) == 3 and len(content(best)) == 1, f"a mixture after step {step}"
        seen += content(best)
        assert [each.name for each in tmp_path.iterdir()] == ["best"]
        save_folder(best, fill("third", Disk()))
        assert content(best) == {"third"}
    assert set(seen) == {"old", "new"} and seen == sorted(seen, reverse=True)


def test_a_full_disk_hidden_in_a_librarys_error_is_said(tmp_path):
    def write(folder: Path) -> None:
        raise RuntimeError("Error while serializing: I/O error: No space left on device (os error 28)")

    with pytest.raises(StorageError, match="the disk is full"):
        save_folder(tmp_path / "best", write)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_the_writer_is_not_called_a_disk_fault(tmp_path):
    with pytest.raises(ZeroDivisionError):
        write_atomically(tmp_path / "a.txt", lambda stream: stream.write(b"%d" % (1 // 0)))
    assert list(tmp_path.iterdir()) == []


@pytest.mark.skipif(not (LOCKS and hasattr(os, "fork")), reason="this system has no locks, or no forks")
@pytest.mark.parametrize("shared", [False, True])
def test_a_forked_process_keeps_no_lock(tmp_path, shared):
    """Its parent gives the lock back, and others get it at once, though it lives."""
    with locked(tmp_path, shared=shared) as got:
        assert got
        ours, theirs = socket.socketpair()
        child = os.fork()
        if not child:
            try:
                ours.close()
                theirs.send(b"begun")
                theirs.recv(1)  # until its parent has seen
            finally:
                os._exit(0)
        assert ours.recv(5) == b"begun"
    try:
        assert abandoned(tmp_path)
        code = f"from seg_demo.core.storage import abandoned; from pathlib import Path; print(abandoned(Path({str(tmp_path)!r})))"
        assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout == "True\n"
    finally:
        ours.close()
        theirs.close()
        os.waitpid(child, 0)


@pytest.mark.skipif(not (LOCKS and hasattr(os, "fork")), reason="this system has no locks, or no forks")
def test_no_process_is_forked_between_a_lock_and_its_end(tmp_path, monkeypatch):
    """It would have the file open and not know it."""
    ours, theirs = socket.socketpair()
    children, begun = [], threading.Event()

    def fork():
        begun.set()
        child = os.fork()
        if not child:
            try:
                ours.close()
                theirs.recv(1)
            finally:
                os._exit(0)
        children.append(child)

    forking = threading.Thread(target=fork)

    def close(handle, close=os.close):
        if not begun.is_set():
            forking.start()
            forking.join(0.3)
        close(handle)

    monkeypatch.setattr(storage.os, "close", close)
    try:
        with locked(tmp_path):
            pass
        forking.join()
        assert children and abandoned(tmp_path)
    finally:
        ours.close()
        theirs.close()
        for child in children:
            os.waitpid(child, 0)


@pytest.mark.skipif(not LOCKS, reason="the system has no locks")
def test_a_lock_is_given_back_although_a_process_that_was_just_forked_still_has_its_file(tmp_path):
    with locked(tmp_path):
        theirs = os.dup(next(reversed(storage._open_locks.values())))
    try:
        with locked(tmp_path, wait=False) as free:
            assert free
    finally:
        os.close(theirs)
