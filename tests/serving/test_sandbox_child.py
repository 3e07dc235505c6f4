"""What a process that has locked itself in can still do, seen from inside; and the helper whose children do so."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
import time

import psutil
import pytest

from seg_demo.core.sandbox import Helper
from seg_demo.hub import untrusted
from tests.served import ROOT

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the measures are Linux's")
# Each line of the work is tried on its own; what came of it is written as JSON.
BEGIN = """
import ctypes, json, os, resource, signal, socket, subprocess, sys, threading
from pathlib import Path
from seg_demo.core import sandbox
out, beside, parent, port = Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3]), int(sys.argv[4])
libraries = sandbox.library_folders()
found = {"taken": sandbox.confine(libraries, [out])}
def attempt(name, call):
    try:
        found[name] = str(call())
    except Exception as error:
        found[name] = type(error).__name__
"""
WORK = """
def forked():
    if not (child := os.fork()):
        os._exit(0)
    os.waitpid(child, 0)
def signalled():
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.syscall({"x86_64": 234, "aarch64": 131}[os.uname().machine], parent, parent, 0):  # tgkill
        raise OSError(ctypes.get_errno(), "tgkill")
attempt("process", forked)
attempt("end a thread of the parent", signalled)
attempt("limit the parent", lambda: resource.prlimit(parent, resource.RLIMIT_CORE))
attempt("limit itself", lambda: resource.setrlimit(resource.RLIMIT_CORE, (0, 0)))
attempt("rights beside", lambda: os.chmod(beside / "there", 0o777))
attempt("note beside", lambda: os.setxattr(beside / "there", "user.x", b"1"))
attempt("internet", lambda: socket.create_connection(("127.0.0.1", port), 5))
attempt("unix socket", lambda: socket.socket(socket.AF_UNIX))
attempt("program", lambda: subprocess.run([sys.executable, "-c", "pass"]))
attempt("write beside", lambda: (beside / "new").write_text("x"))
attempt("change beside", lambda: (beside / "there").write_text("x"))
attempt("remove beside", lambda: (beside / "there").unlink())
attempt("cut beside", lambda: os.truncate(beside / "there", 0))
attempt("rename out", lambda: os.rename(out / "a", beside / "b"))
attempt("read beside", lambda: (beside / "there").read_text())
attempt("look at the parent", lambda: Path(f"/proc/{parent}/environ").read_bytes())
attempt("end the parent", lambda: os.kill(parent, 0))
attempt("write own", lambda: (out / "a").write_text("x"))
attempt("rename own", lambda: os.rename(out / "a", out / "b"))
attempt("link own", lambda: os.symlink(beside / "there", out / "link"))
attempt("pipe own", lambda: os.mkfifo(out / "pipe"))
attempt("folder own", lambda: os.mkdir(out / "folder"))
attempt("throw away", lambda: Path(os.devnull).write_text("x"))
attempt("import", lambda: __import__("this_is_not_there" if False else "wave").__name__)
attempt("thread", lambda: threading.Thread(target=lambda: None).start())
print(json.dumps(found))
"""


def run(work: str, *arguments: object) -> dict[str, str]:
    words = [sys.executable, "-c", BEGIN + work, *map(str, arguments)]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_nothing_but_the_own_folder_is_left(tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "beside").mkdir()
    (tmp_path / "beside/there").write_text("kept")
    with socket.create_server(("127.0.0.1", 0)) as server:
        found = run(WORK, tmp_path / "out", tmp_path / "beside", os.getpid(), server.getsockname()[1])
        server.settimeout(0.1)
        with pytest.raises(TimeoutError):
            server.accept()
    taken = found.pop("taken")
    assert "seccomp" in taken, "every Linux that Python runs on has it"
    refused = ("internet", "unix socket", "program", "end the parent", "process", "end a thread of the parent")
    refused += ("limit the parent", "rights beside", "note beside", "link own", "pipe own")
    if "landlock" in taken:
        refused += ("write beside", "change beside", "remove beside", "cut beside", "rename out", "read beside", "look at the parent", "folder own")
        assert (tmp_path / "beside/there").read_text() == "kept" and os.listdir(tmp_path / "beside") == ["there"]
    assert [name for name in refused if found[name] not in ("PermissionError", "FileNotFoundError", "OSError")] == [], found
    assert {name: found[name] for name in ("write own", "rename own", "throw away", "import", "thread", "limit itself")} == {
        "write own": "1", "rename own": "None", "throw away": "1", "import": "wave", "thread": "None", "limit itself": "None",
    }  # fmt: skip


def test_limits_are_held(tmp_path):
    work = """
sandbox.limit_resources(200_000_000, 2, 1000)
attempt("memory", lambda: len(bytearray(300_000_000)))
attempt("some memory", lambda: len(bytearray(50_000_000)))
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
attempt("large file", lambda: (out / "a").write_bytes(bytes(2000)))
attempt("small file", lambda: (out / "b").write_bytes(bytes(999)))
kept = []
attempt("files", lambda: [kept.append(open(os.devnull)) for _ in range(400)])
[each.close() for each in kept]
found["opened"] = len(kept)
print(json.dumps(found), flush=True)
"""
    found = run(work, tmp_path, tmp_path, os.getpid(), 0)
    assert found["memory"] == "MemoryError" and found["some memory"] == "50000000"
    assert found["large file"] == "OSError" and found["small file"] == "999"
    assert found["files"] == "OSError" and found["opened"] < 256
    words = [sys.executable, "-c", BEGIN + "sandbox.limit_resources(10**9, 0, 1000)\nwhile True: pass", tmp_path, tmp_path, "1", "0"]
    assert subprocess.run(words, cwd=ROOT, timeout=60).returncode < 0, "it is ended when its processor time is used up"


def test_a_child_that_opens_a_strangers_files_is_locked_in(tmp_path):
    """Through the real helper: what a checkpoint's loader would try is refused to it."""
    order = {"do": "try", "path": str(tmp_path), "bytes": 10**9, "seconds": 60}
    code = f"""
import json, sys
from pathlib import Path
from seg_demo.serving import sandbox_child as child
def attempt(order):
    said = []
    for name, call in (("net", lambda: __import__("socket").socket()), ("write", lambda: Path({str(tmp_path)!r}, "new").write_text("x"))):
        try:
            call()
            said.append(name)
        except OSError:
            pass
    return ",".join(said) + "."
child.attempt = attempt
print(child.verdict(json.loads({json.dumps(json.dumps(order))})))
"""
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stdout.strip() == ".", (done.stdout, done.stderr)


def test_a_helper_that_left_and_whose_successor_hangs_is_ended_in_time(tmp_path, monkeypatch):
    (tmp_path / "leaver.py").write_text(
        "import sys, time\nfrom pathlib import Path\nsys.stdin.readline()\nif Path(sys.argv[1]).exists():\n    time.sleep(60)\nPath(sys.argv[1]).touch()\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    helper = Helper("leaver", str(tmp_path / "left"))
    began = time.monotonic()
    try:
        assert helper.answer({}, 1.5) is None
    finally:
        helper.close()
    assert time.monotonic() - began < 30


@pytest.mark.soak
def test_the_helper_waits_in_little_memory_and_leaves(folders, monkeypatch):
    monkeypatch.setattr(untrusted, "IDLE_SECONDS", 4.0)
    monkeypatch.setattr(untrusted, "NETWORKS_SECONDS", 2.0)
    mine = untrusted.Sandbox()
    try:
        mine.warm()
        mine.inspect(folders / "tiny")
        helper = psutil.Process(mine._process.pid)
        until = time.monotonic() + untrusted.NETWORKS_SECONDS + 30
        waits = helper.memory_info().rss
        print(f"measured: the helper waits in {waits / 1e6:.0f} MB")
        assert 0 < waits < 350e6
        ended = threading.Event()
        threading.Thread(target=lambda: (mine._process.wait(60), ended.set()), daemon=True).start()
        assert ended.wait(until - time.monotonic()), "it leaves when it has had nothing to do"
        assert mine._process.returncode == 0
        mine.inspect(folders / "other")
        assert mine._process.pid != helper.pid
    finally:
        mine.close()


@pytest.mark.soak
def test_the_process_that_has_imported_networks_is_made_ahead_and_leaves_first(folders, monkeypatch):
    mine = untrusted.Sandbox()
    try:
        mine.prepare()
        helper = psutil.Process(mine._process.pid)
        wait_for(lambda: len(helper.children()) == 1)
        (networks,) = helper.children()
        mine.inspect(folders / "tiny")
        mine.inspect(folders / "other")
        assert helper.children() == [networks] and networks.children() == [], "a child is thrown away after its one checkpoint"
        networks.kill()
        mine.inspect(folders / "third")
        assert helper.is_running() and helper.children() != [networks]
    finally:
        mine.close()
    wait_for(lambda: not networks.is_running() and not helper.is_running())


def wait_for(condition, seconds: float = 60) -> None:
    until = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.05)
