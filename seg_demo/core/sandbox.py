"""Untrusted files are opened in processes that can do nothing else: a helper that waits with the libraries imported, a child that it
forks for each file, and what a child may still do once it has locked itself in.

Two helpers' modules are run with it: :mod:`seg_demo.serving.sandbox_child` (checkpoints) and :mod:`seg_demo.inputs.scientific_files`
(pictures of microscopes, scanners and satellites). A locked-in process has no network, no other program, and no file but those it is
given. What :func:`limit_resources` and :func:`confine` do narrows the calling process for good, and all it starts; each measure is taken
as far as the system has it, without asking for rights:

==============================  ==========================================================================================
limits (POSIX)                  memory, processor time, size and number of files, no core dumps: ``setrlimit``
seccomp (Linux, x86-64, arm64)  no socket is made or used, no program or process started, none looked into, limited or
                                signalled, no link or pipe made, and nothing done to files that Landlock does not look at
                                (their rights, their owner)
Landlock (Linux 5.13)           no file outside the folders named is opened for writing, or read where secrets may lie
network namespace (Linux)       no interface at all, where the system lets ordinary users make namespaces
==============================  ==========================================================================================

Where a system has none of the last three (macOS, Windows), what is left are the limits and an environment without logins. Where
processes cannot fork (Windows), a helper does one thing itself and ends with it. Sources: landlock(7), seccomp(2), linux/seccomp.h, linux/audit.h, asm/unistd.h.
"""

from __future__ import annotations

import ctypes
import errno
import gc
import importlib
import json
import os
import platform
import re
import select
import signal
import stat
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any, BinaryIO

from seg_demo.core.errors import Message
from seg_demo.core.requests import begin
from seg_demo.core.settings import PREFIX, Settings

try:
    import resource
except ImportError:  # Windows
    resource = None

ROOT = Path(__file__).resolve().parents[2]
# What the helper gets of this process's environment: nothing that logs anyone in.
PASSED = ("PATH", "HOME", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "TMPDIR", "SYSTEMROOT", "OMP_NUM_THREADS", "MKL_NUM_THREADS")
# Begins a child's answer: what ends without it has died, whatever its exit status says.
_DONE = b"done:"
_SIGNALS = {number: number.name for number in signal.Signals}
_DONTNEED, _PARENT_DEATH = 4, 1  # sys/mman.h, linux/prctl.h
_MMAP_THRESHOLD, _LARGE = -3, 1 << 22  # malloc.h; bytes
OPEN_FILES = 256
_LINUX = sys.platform == "linux"
# linux/prctl.h, linux/sched.h
_NO_NEW_PRIVS, _SET_SECCOMP, _FILTER = 38, 22, 2
_NEW_USER, _NEW_NET = 0x10000000, 0x40000000
# Since they came after the tables were made one, these numbers are the same on every processor.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
# linux/landlock.h: rights on files, by the version that brought them.
_EXECUTE, _WRITE_FILE, _READ_FILE, _READ_DIR = 1 << 0, 1 << 1, 1 << 2, 1 << 3
_OF_FILES = _EXECUTE | _WRITE_FILE | _READ_FILE | 1 << 14 | 1 << 15
_RIGHTS = {1: (1 << 13) - 1, 2: 1 << 13, 3: 1 << 14, 5: 1 << 15}
_READ = _READ_FILE | _READ_DIR
# Devices, folders, sockets, pipes and links: what a child leaves behind is opened by the server, and must be an ordinary file.
_MAKE_OTHERS = 1 << 6 | 1 << 7 | 1 << 9 | 1 << 10 | 1 << 11 | 1 << 12
_SCOPES = 0b11  # abstract sockets, signals; since version 6
# linux/audit.h: what seccomp calls a processor; and its own numbers of the calls that are refused.
_PROCESSORS = {"x86_64": 0xC000003E, "aarch64": 0xC00000B7}
_CALLS = {
    "x86_64": {
        "socket": 41, "connect": 42, "accept": 43, "sendto": 44, "sendmsg": 46, "bind": 49, "listen": 50, "accept4": 288,
        "sendmmsg": 307, "execve": 59, "execveat": 322, "ptrace": 101, "process_vm_readv": 310, "process_vm_writev": 311,
        "kill": 62, "tkill": 200, "rt_sigqueueinfo": 129, "rt_tgsigqueueinfo": 297, "unshare": 272, "setns": 308, "mount": 165,
        "umount2": 166, "pivot_root": 155, "chroot": 161, "keyctl": 250, "add_key": 248, "request_key": 249, "bpf": 321,
        "fork": 57, "vfork": 58, "chmod": 90, "fchmod": 91, "fchmodat": 268, "chown": 92, "fchown": 93, "lchown": 94,
        "fchownat": 260, "setxattr": 188, "lsetxattr": 189, "fsetxattr": 190, "removexattr": 197, "lremovexattr": 198,
        "fremovexattr": 199, "setpriority": 141, "symlink": 88, "symlinkat": 266, "mknod": 133, "mknodat": 259,
    },
    "aarch64": {
        "socket": 198, "connect": 203, "accept": 202, "sendto": 206, "sendmsg": 211, "bind": 200, "listen": 201, "accept4": 242,
        "sendmmsg": 269, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "unshare": 97, "setns": 268, "mount": 40,
        "umount2": 39, "pivot_root": 41, "chroot": 51, "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280,
        "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7,
        "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "setpriority": 140, "symlinkat": 36, "mknodat": 33,
    },
}  # fmt: skip
# pidfd_send_signal, io_uring_*, pidfd_open, pidfd_getfd, the mount calls of Linux 5.2, fchmodat2, setxattrat, removexattrat: the
# same everywhere.
_NEW_CALLS = (424, 425, 426, 427, 428, 429, 430, 431, 432, 434, 438, 442, 452, 463, 466)
# Refused unless their first argument is right: a thread is begun and no process; what concerns a process concerns this one.
_CLONE, _TGKILL, _PRLIMIT = {"x86_64": 56, "aarch64": 220}, {"x86_64": 234, "aarch64": 131}, {"x86_64": 302, "aarch64": 261}
# Its first argument lies in memory, where no filter looks; the C library does without it where the system does not have it.
_CLONE3, _THREAD = 435, 0x10000  # linux/sched.h: CLONE_THREAD


def public_environment(environ: Mapping[str, str] = os.environ) -> dict[str, str]:
    """An environment for a process that does not serve visitors: without the settings that only the server may know.

    Args:
        environ: variables.
    """
    secrets = {PREFIX + row.name.upper() for row in fields(Settings) if row.metadata["secret"]}
    return {key: value for key, value in environ.items() if key not in secrets}


class Helper:
    """A process that imports what opening files needs and forks a child for each file; the server's end of it. One order at a time.

    Args:
        module: run as ``python -m``; reads orders as lines of JSON, and answers each with a line (:class:`Lines`).
        arguments: of its command line.
    """

    def __init__(self, module: str, *arguments: str) -> None:
        self._module, self._arguments = module, arguments
        self._one = threading.Lock()
        # The helper is started, and written to, by one thread at a time.
        self._pipe = threading.Lock()
        self._why: str | Message | None = None
        self._process: subprocess.Popen[str] | None = None

    def close(self) -> None:
        """End it; the next order starts another one."""
        with self._one:
            self._end()

    def answer(self, order: dict[str, object], seconds: float) -> dict[str, Any] | None:
        """As :meth:`ask`, once the orders before it are answered."""
        with self._one:
            return self.ask(order, seconds)

    def ask(self, order: dict[str, object], seconds: float) -> dict[str, Any] | None:
        """The answer to an order; the caller holds ``_one``.

        Args:
            order: JSON-able.
            seconds: after which a helper that does not answer is ended. It keeps the time of its children itself.

        Returns:
            None where the helper has ended on it.

        Raises:
            ProcessError: the system gives no process.
        """
        process = self._write(order)
        if process is None:
            raise ProcessError(self._why)
        alarm = threading.Timer(seconds, self._kill)
        begin(alarm)
        try:
            line = process.stdout.readline()
            if not line and process.wait(60) == 0 and (process := self._write(order)) is not None:
                line = process.stdout.readline()  # it had been idle for too long at that moment, and left
            answer = json.loads(line)
            if not isinstance(answer, dict):
                raise ValueError("no answer")
        except (OSError, ValueError, AttributeError, subprocess.TimeoutExpired):
            with self._pipe:
                if self._process is process:
                    self._end()
            return None
        finally:
            alarm.cancel()
        if answer.get("busy"):
            raise ProcessError(Message.from_dict(answer["busy"]))
        return answer

    def _kill(self) -> None:
        """End the process that is asked at this moment; what waits for its answer clears up."""
        if (process := self._process) is not None:
            process.kill()

    def _write(self, order: dict[str, object] | None) -> subprocess.Popen[str] | None:
        """Start the helper if there is none, and give it an order; None if the system gives no process."""
        with self._pipe:
            for _ in range(2):  # one that has been idle for too long may end at this moment
                try:
                    process = self._running()
                except OSError as error:
                    self._why = error.strerror
                    return None
                try:
                    if order is not None:
                        process.stdin.write(json.dumps(order) + "\n")
                        process.stdin.flush()
                    return process
                except (OSError, ValueError):
                    self._end()
            self._why = Message("sandbox.process_ended")
            return None

    def _running(self) -> subprocess.Popen[str]:
        if self._process is not None and self._process.poll() is None:
            return self._process
        self._end()
        kept = {key: value for key, value in public_environment().items() if key in PASSED or key.startswith("SEG_DEMO_")}
        path = os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH"))))
        mine = {"PYTHONPATH": path, "HF_HUB_OFFLINE": "1", "HF_HUB_DISABLE_TELEMETRY": "1", "CUDA_VISIBLE_DEVICES": ""}
        # The folder it starts in is everybody's: no module is looked for there.
        mine["PYTHONSAFEPATH"] = "1"
        # Threads that wait for each other wait asleep: spinning, they take twice the time where others compute too.
        mine["OMP_WAIT_POLICY"] = "PASSIVE"
        self._process = subprocess.Popen(
            [sys.executable, "-m", self._module, *self._arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            cwd=tempfile.gettempdir(),
            env={**kept, **mine},
            text=True,
            start_new_session=True,
        )
        return self._process

    def _end(self) -> None:
        process, self._process = self._process, None
        if process is None:
            return
        process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout):
            try:
                pipe.close()
            except OSError:
                pass  # what was written to it can no longer be flushed


def open_written(path: Path, size: int) -> BinaryIO:
    """What a locked-in child has written, for the server to read: nothing that lies there by that name leads anywhere else, or waits.

    Args:
        path: in a folder that the child could write to, which has ended by now.
        size: bytes that it must have.

    Raises:
        ValueError: there is no ordinary file of this size.
    """
    flags = os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        file = os.fdopen(os.open(path, flags), "rb")
    except OSError as error:
        raise ValueError(f"{path.name}: {error.strerror}") from error
    state = os.fstat(file.fileno())
    if not stat.S_ISREG(state.st_mode) or state.st_size != size:
        file.close()
        raise ValueError(f"{path.name} is no file of {size} bytes, but {state.st_size} of {stat.filemode(state.st_mode)}")
    return file


class ProcessError(Exception):
    """No process could be started; its argument says why, or is None."""


class ChildError(Exception):
    """A child that has given no answer; its argument is the signal or exit status that it ended with, None where its time was up."""


def fork(work: Callable[[int], None], *own: int) -> tuple[int, int]:
    """Start work in a forked process.

    Args:
        work: gets a file descriptor for its answers; the process ends with it, whatever happens.
        own: file descriptors of this process that the other must not keep open.

    Returns:
        The process's number, and the file descriptor that its answers come from.

    Raises:
        OSError: the system gives no more processes.
    """
    receiver, sender = os.pipe()
    try:
        child = os.fork()
    except OSError:
        os.close(receiver)
        os.close(sender)
        raise
    if child == 0:
        try:
            end_with_parent()
            gc.disable()
            for descriptor in (receiver, *own):
                os.close(descriptor)
            work(sender)
        finally:
            os._exit(0)
    os.close(sender)
    return child, receiver


def end_with_parent(by: signal.Signals = signal.SIGKILL) -> None:
    """A process whose parent is killed is of no use to anybody. Linux only; elsewhere it ends with its time.

    Args:
        by: the signal that it gets then.
    """
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, by, 0, 0, 0)


def in_child(work: Callable[[], Any], seconds: float, *own: int) -> Any:
    """What work comes to in a forked child, which is killed when its time is up and ends with its work.

    Args:
        work: what it gives is JSON-able.
        seconds: from now.
        own: as for :func:`fork`.

    Raises:
        ChildError: it has given no answer.
        OSError: the system gives no more processes.
    """
    child, receiver = fork(lambda sender: _answer(sender, _DONE + json.dumps(work()).encode()), *own)
    parts, until = [], time.monotonic() + seconds
    ended = False
    while not ended and (left := until - time.monotonic()) > 0:
        if select.select([receiver], [], [], left)[0]:
            parts.append(os.read(receiver, 1 << 16))
            ended = not parts[-1]
    os.close(receiver)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ended:
        raise ChildError(None)
    answer = b"".join(parts)
    if not answer.startswith(_DONE):
        raise ChildError(_SIGNALS.get(os.WTERMSIG(status), "") if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}")
    return json.loads(answer.removeprefix(_DONE))


def _answer(sender: int, text: bytes) -> None:
    while text:
        text = text[os.write(sender, text) :]


def serve(perform: Callable[[dict[str, Any]], dict[str, Any]], modules: list[str], idle: float, needs: Callable[[dict[str, Any]], Iterable[str]]) -> None:
    """Be the helper that a :class:`Helper` talks to: a child for each order, and between orders imports what they need.

    Args:
        perform: what a child does with an order.
        modules: to be imported; those that are not installed are left out.
        idle: seconds without an order after which to end.
        needs: the modules of an order, which are imported before its child is made, so that the next one finds them.
    """
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    gc.disable()
    lines, missing, own = Lines(sys.stdin.fileno()), list(modules), (sys.stdin.fileno(), output.fileno())
    forks = hasattr(os, "fork")
    while True:
        while missing and not (forks and lines.ready()):
            _import_one(missing, missing[0])
        line = lines.next(idle if forks else None)
        if not line:
            return
        order = json.loads(line)
        for module in needs(order):
            _import_one(missing, module)
        if not forks:
            print(json.dumps(perform(order)), file=output, flush=True)
            return  # its limits stay with the process
        print(json.dumps(_performed(perform, order, *own)), file=output, flush=True)


def _performed(perform: Callable[[dict[str, Any]], dict[str, Any]], order: dict[str, Any], *own: int) -> dict[str, Any]:
    """A child's answer; ``ended`` with how where it gave none, ``busy`` where there is no process for it."""
    try:
        return in_child(partial(perform, order), float(order["seconds"]), *own)
    except ChildError as error:
        return {"ended": error.args[0]}
    except OSError as error:
        return {"busy": error.strerror or type(error).__name__}


def _import_one(missing: list[str], module: str) -> None:
    if module in missing:
        missing.remove(module)
        with suppress(ImportError):
            importlib.import_module(module)
        if not missing:
            slim()


def import_next(missing: list[str]) -> None:
    """Import the first of some modules, and give back what only importing needed once they are all there."""
    importlib.import_module(missing.pop(0))
    if not missing:
        slim()


class Lines:
    """Lines of an input, with an end to the waiting for them.

    Args:
        input: a file descriptor.
    """

    def __init__(self, input: int) -> None:
        self._input, self._buffer = input, b""

    def ready(self) -> bool:
        """Whether there is something to read, or the input has ended."""
        return b"\n" in self._buffer or bool(select.select([self._input], [], [], 0)[0])

    def next(self, seconds: float | None) -> str | None:
        """The next line; empty if none has come for so long, None if the input has ended.

        Args:
            seconds: to wait; None waits for ever.
        """
        while b"\n" not in self._buffer:
            if seconds is not None and not select.select([self._input], [], [], seconds)[0]:
                return ""
            part = os.read(self._input, 1 << 16)
            if not part:
                return None
            self._buffer += part
        line, self._buffer = self._buffer.split(b"\n", 1)
        return line.decode()


def slim() -> None:
    """Give back the memory that is not needed while the helper waits: garbage, free blocks, and pages of files.

    What was read of the libraries' files can be read again at any time, from the system's own cache of files. Children find
    what is left where it was, and do not copy it by looking for garbage in it.
    """
    gc.collect()
    gc.freeze()
    release()


def release() -> None:
    """Give free blocks back to the system, and the pages of libraries that are as they are in their files; what is used of them comes again."""
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        with _held(libc) as libraries:
            for start, size in _unwritten(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="surrogateescape"), libraries):
                libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _DONTNEED)
    except (OSError, AttributeError, TypeError):
        pass  # macOS, Windows, or a C library without malloc_trim


@contextmanager
def _held(libc: ctypes.CDLL) -> Iterator[set[str]]:
    """Paths of libraries that have been loaded to the end, and cannot be unloaded meanwhile.

    Another thread may be loading one: it is mapped as its file says, whole and read-only, before its data are put there, which would be taken away from
    under it. dlopen(3) waits until other threads are done with that, and counts us among those who need what it finds.
    """
    libc.dlopen.restype, libc.dlopen.argtypes, libc.dlclose.argtypes = ctypes.c_void_p, (ctypes.c_char_p, ctypes.c_int), (ctypes.c_void_p,)
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8", errors="surrogateescape")
    held = {}
    try:
        for path in set(re.findall(r" (/.*\.so[.\d]*)$", mapped, re.MULTILINE)):
            if handle := libc.dlopen(os.fsencode(path), os.RTLD_LAZY | os.RTLD_NOLOAD):
                held[path] = handle
        yield set(held)
    finally:
        for handle in held.values():
            libc.dlclose(handle)


def map_large_blocks() -> None:
    """Have large blocks mapped by themselves from now on, so that each goes back to the system once it is free.

    glibc raises the size from which on it does so (``M_MMAP_THRESHOLD``, mallopt(3)) to that of whatever was freed, up to 32 MB, and keeps what lies
    between blocks that are still used. This holds for the whole process, where large blocks that come and go cost a little more time then.
    """
    try:
        ctypes.CDLL(None).mallopt(_MMAP_THRESHOLD, _LARGE)
    except (OSError, AttributeError, TypeError):
        pass  # another C library


def _unwritten(text: str, libraries: Collection[str]) -> list[tuple[int, int]]:
    """(start, bytes) of what is mapped from libraries and is as it is in the file, for nothing was ever written there.

    Other files are left out: a thread might close one meanwhile, and something else be there at the same place.

    Args:
        text: of ``/proc/self/smaps``, see proc_pid_smaps(5).
        libraries: paths of those that stay where they are meanwhile.
    """
    found = []
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +(/.*)$", block, re.MULTILINE)
        if head and head[3] in libraries and re.search(r"^Anonymous: +0 kB", block, re.MULTILINE):
            start, end = int(head[1], 16), int(head[2], 16)
            found.append((start, end - start))
    return found


class _Instruction(ctypes.Structure):
    """``struct sock_filter`` of linux/filter.h."""

    _fields_ = (("code", ctypes.c_uint16), ("yes", ctypes.c_uint8), ("no", ctypes.c_uint8), ("k", ctypes.c_uint32))


class _Program(ctypes.Structure):
    """``struct sock_fprog`` of linux/filter.h."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.POINTER(_Instruction)))


def limit_resources(memory: int, seconds: float, file_bytes: int) -> None:
    """Bound what this process may take, from now on and for good.

    Args:
        memory: bytes of address space beyond what it has now. Linux holds it, macOS does not.
        seconds: of processor time beyond what it has used.
        file_bytes: largest file that it may write.
    """
    if resource is None:
        return
    used = resource.getrusage(resource.RUSAGE_SELF)
    limits = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_FSIZE: file_bytes,
        resource.RLIMIT_CPU: int(used.ru_utime + used.ru_stime + seconds) + 1,
        resource.RLIMIT_NOFILE: OPEN_FILES,
    }
    try:
        pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[0])
        limits[resource.RLIMIT_AS] = pages * os.sysconf("SC_PAGE_SIZE") + memory
    except OSError:
        pass  # no /proc, as on macOS, where that limit is not held either
    for which, value in limits.items():
        hard = resource.getrlimit(which)[1]
        value = value if hard == resource.RLIM_INFINITY else min(value, hard)
        try:
            resource.setrlimit(which, (value, value))
        except (ValueError, OSError):
            pass  # a system that does not know it


def confine(readable: Iterable[Path], writable: Iterable[Path] = ()) -> tuple[str, ...]:
    """Take from this process the network, other programs, and all files but those named; for good, as far as can be had.

    Threads that run already keep what they have, so it is called while there is one. Called again, it narrows further.

    Args:
        readable: files and folders that may be read. Those that do not exist are left out.
        writable: folders in which ordinary files may be written, replaced and removed.

    Returns:
        What the system has taken: some of ``seccomp``, ``landlock`` and ``namespace``.
    """
    if not _LINUX:
        return ()
    libc = ctypes.CDLL(None, use_errno=True)
    # Asked for first: neither of the other two is given to a process that could still become a more powerful one.
    if libc.prctl(_NO_NEW_PRIVS, 1, 0, 0, 0):
        return ()
    measures = {
        "namespace": lambda: _no_interfaces(libc),
        "landlock": lambda: _only_files(libc, readable, writable),
        "seccomp": lambda: _no_calls(libc),
    }
    return tuple(name for name, take in measures.items() if take())


def library_folders() -> tuple[Path, ...]:
    """Where Python, its packages and the system's own files lie: what code that is imported later must be able to read."""
    # Of /proc this process alone: the others' environment may hold a login. Of /etc, /opt and /usr not all: passwords lie in the
    # first, people's data may lie in the others.
    own = ("/proc/self", "/proc/meminfo", "/proc/cpuinfo", "/proc/stat", "/proc/filesystems", "/proc/sys")
    etc = ("ld.so.cache", "localtime", "mime.types", "nsswitch.conf", "os-release", "passwd", "ssl", "OpenCL")
    shared = (f"{place}/{name}" for place in ("", "/usr", "/usr/local") for name in ("lib", "lib32", "lib64", "share"))
    devices = ("/dev/null", "/dev/zero", "/dev/random", "/dev/urandom")
    system = (*shared, *(f"/etc/{name}" for name in etc), *devices, "/nix", "/sys", *own)
    # Beside this package may lie what visitors have stored.
    here = Path(__file__).resolve().parents[1]
    beside = [path for path in sys.path if path and Path(path).resolve() != here.parent]
    python = (sys.prefix, sys.base_prefix, sys.exec_prefix, here, *beside)
    found = {Path(path).resolve() for path in (*system, *python)}
    return tuple(sorted(path for path in found if path.exists() and path != Path("/") and path != Path.home().resolve()))


def _no_interfaces(libc: ctypes.CDLL) -> bool:
    """A network namespace of its own, which has no interface that is up."""
    return libc.unshare(_NEW_NET) == 0 or libc.unshare(_NEW_USER | _NEW_NET) == 0


def _only_files(libc: ctypes.CDLL, readable: Iterable[Path], writable: Iterable[Path]) -> bool:
    version = libc.syscall(_CREATE_RULESET, None, 0, 1)
    if version < 1:
        return False
    rights = sum(right for since, right in _RIGHTS.items() if since <= version) & ~_EXECUTE
    fields = [rights] + ([0b11] if version >= 4 else []) + ([_SCOPES] if version >= 6 else [])
    asked = struct.pack(f"={len(fields)}Q", *fields)
    rules = libc.syscall(_CREATE_RULESET, asked, len(asked), 0)
    if rules < 0:
        return False
    try:
        given = [(path, _READ) for path in readable] + [(path, rights & ~_MAKE_OTHERS) for path in writable]
        # What programs throw away they write there.
        given += [(Path(os.devnull), _READ_FILE | _WRITE_FILE)]
        for path, right in given:
            try:
                handle = os.open(path, os.O_PATH | os.O_CLOEXEC)
            except OSError as error:
                if error.errno in (errno.ENOENT, errno.EACCES, errno.ENOTDIR):
                    continue
                raise
            try:
                allowed = right & rights if os.path.isdir(path) else right & rights & _OF_FILES
                rule = struct.pack("=Qi", allowed, handle)
                if libc.syscall(_ADD_RULE, rules, 1, rule, 0):
                    return False
            finally:
                os.close(handle)
        return libc.syscall(_RESTRICT_SELF, rules, 0) == 0
    finally:
        os.close(rules)


def _no_calls(libc: ctypes.CDLL) -> bool:
    """A filter of system calls: those listed end with EPERM, see seccomp(2) and the kernel's ``seccomp_filter.rst``."""
    processor = platform.machine()
    if processor not in _PROCESSORS or struct.calcsize("P") != 8:
        return False
    # linux/bpf_common.h: load a word of struct seccomp_data, compare it and jump over so many lines, end with an answer.
    load, equal, at_least, any_bit, give = 0x20, 0x15, 0x35, 0x45, 0x06
    number, architecture, argument = 0, 4, 16
    allow, refuse, unknown = 0x7FFF0000, 0x00050000 | errno.EPERM, 0x00050000 | errno.ENOSYS
    lines = [(load, 0, 0, architecture), (equal, 1, 0, _PROCESSORS[processor]), (give, 0, 0, refuse)]
    # From here on the numbers of x86-64's other calls, those with pointers of 32 bits.
    lines += [(load, 0, 0, number), (at_least, 0, 1, 0x40000000), (give, 0, 0, refuse)]
    for call in (*_CALLS[processor].values(), *_NEW_CALLS):
        lines += [(equal, 0, 1, call), (give, 0, 0, refuse)]
    lines += [(equal, 0, 1, _CLONE3), (give, 0, 0, unknown)]
    own = os.getpid()
    for calls, compare, right in ((_CLONE, any_bit, _THREAD), (_TGKILL, equal, own), (_PRLIMIT, equal, 0)):
        lines += [(equal, 0, 4, calls[processor]), (load, 0, 0, argument), (compare, 1, 0, right), (give, 0, 0, refuse), (give, 0, 0, allow)]
    lines += [(give, 0, 0, allow)]
    program = (_Instruction * len(lines))(*(_Instruction(*line) for line in lines))
    return libc.prctl(_SET_SECCOMP, _FILTER, ctypes.byref(_Program(len(lines), program)), 0, 0) == 0
