"""The helper process of :mod:`seg_demo.hub.sandbox`: orders in, as lines of JSON, and a line out for each that is answered.

``python -m seg_demo.serving.sandbox_child IDLE_SECONDS NETWORKS_SECONDS`` ends when its input ends or nothing has come for so long. Three kinds
of process work together, so that little waits in memory and nothing of a stranger's outlives its use:

- the *helper* holds torch and little else: it waits in 350 MB for hours;
- the *networks' process*, forked from it while a checkpoint is looked up and downloaded, imports what networks need, which is
  half as large again, and ends when none has come for ``NETWORKS_SECONDS``;
- a *child*, forked from one of the two for each order, locks itself in (:mod:`seg_demo.serving.sandbox_child`), opens the stranger's
  files, which the other two never do, and ends.

===========  =====================================================================================================
``do``       what happens
===========  =====================================================================================================
``prepare``  the networks' process is started, if there is none; no answer
``try``      a checkpoint is loaded and run once (``path``, ``bytes``, ``seconds``)
``convert``  pickled weights are written as safetensors (``files``, ``output``, ``most``, ``bytes``, ``seconds``)
===========  =====================================================================================================

What a process may still do once it has locked itself in: no network, no other program, no file but those it is given.

Used by the child processes that open files of strangers (:mod:`seg_demo.serving.sandbox_child`). Everything here narrows the
calling process for good, and all it starts; each measure is taken as far as the system has it, without asking for rights:

==============================  ==========================================================================================
limits (POSIX)                  memory, processor time, size and number of files, no core dumps: ``setrlimit``
seccomp (Linux, x86-64, arm64)  no socket is made or used, no program or process started, none looked into, limited or
                                signalled, and nothing done to files that Landlock does not look at (their rights, their owner)
Landlock (Linux 5.13)           no file outside the folders named is opened for writing, or read where secrets may lie
network namespace (Linux)       no interface at all, where the system lets ordinary users make namespaces
==============================  ==========================================================================================

Where a system has none of the last three (macOS, Windows), what is left are the limits, an environment without logins, and a
loader that knows tensors alone. Sources: landlock(7), seccomp(2), linux/seccomp.h, linux/audit.h, asm/unistd.h.
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
import struct
import sys
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

from seg_demo.core.errors import Message

SIDE = 64
# What a child that loads and runs a network may write: nothing of size, and only where its own files are.
TRY_FILE_BYTES = 1 << 20
# What the helper itself imports, what pickles need first; and what the networks' process does, the most frequent first, and then each
# family's file. torchvision and transformers' models bring torch's compiler with them, and scipy.
CONVERTING = ("torch", "safetensors.torch", "numpy", "seg_demo.hub.pickles")
LIGHT = (*CONVERTING, "PIL.Image", "transformers", "seg_demo.networks")
HEAVY = ("transformers.models.segformer.modeling_segformer", "transformers.models.auto.processing_auto", "seg_demo.inference.model")
# Begins a child's answer: what ends without it has died, whatever its exit status says.
_DONE = b"done:"
_SIGNALS = {number: number.name for number in signal.Signals}
_DONTNEED, _PARENT_DEATH = 4, 1  # sys/mman.h, linux/prctl.h


def attempt(path: Path, most: int, seconds: float) -> str:
    """Load a checkpoint and run it once, within limits.

    Args:
        path: checkpoint folder.
        most: bytes of memory beyond what the process has now.
        seconds: of processor time.

    Returns:
        Why it is refused; empty if it is not.
    """
    import numpy as np

    from seg_demo.core.errors import BadImageError, SegDemoError
    from seg_demo.core.types import SEMANTIC, ModelSpec
    from seg_demo.inference import engine
    from seg_demo.inference.model import Model
    from seg_demo.networks import load

    limit_resources(most, seconds, TRY_FILE_BYTES)
    # What ends here for memory has to be told from what is wrong with the files.
    memory = Message("sandbox.too_much_memory", most=most / 1e9)
    try:
        checkpoint = load(path)
        # As it will be served: folded, it answers in half the time.
        checkpoint.module.eval().requires_grad_(False)
        checkpoint.optimise(engine.choose_device("cpu"))
        spec = ModelSpec("checkpoint", None, SEMANTIC.name, "", "checkpoint", "", "folder")
        image = np.random.default_rng(0).integers(0, 256, (SIDE, SIDE, 3), dtype=np.uint8)
        Model.from_network(checkpoint, spec, "fp32").probe(image)
    except (MemoryError, BadImageError):
        return memory
    except SegDemoError as error:
        return error.message
    except Exception as error:  # whatever a library raises at a file made by a stranger
        if engine.out_of_memory(error):
            return memory
        return Message("sandbox.not_loaded", why=type(error).__name__)
    return ""


def convert(order: dict[str, Any]) -> str:
    """Write pickled weights as safetensors, within limits.

    Args:
        order: ``files`` and ``output`` as for :func:`seg_demo.hub.pickles.rewrite`, and what they may take.

    Returns:
        Why they are refused; empty if they are not.
    """
    from seg_demo.core.errors import SegDemoError
    from seg_demo.hub import pickles

    limit_resources(int(order["bytes"]), float(order["seconds"]), int(order["most"]) + TRY_FILE_BYTES)
    try:
        pickles.rewrite([Path(file) for file in order["files"]], Path(order["output"]), int(order["most"]))
    except MemoryError:
        return Message("sandbox.weights_too_large", most=order["bytes"] / 1e9)
    except SegDemoError as error:
        return error.message
    except Exception as error:  # whatever torch raises at a file made by a stranger
        return Message("sandbox.weights_unreadable", why=type(error).__name__)
    return ""


def perform(order: dict[str, Any]) -> str:
    """Do what an order says, in a process that is thrown away afterwards.

    Args:
        order: of kind ``try`` or ``convert``.
    """
    gc.enable()
    libraries = library_folders()
    if order["do"] == "convert":
        confine([*libraries, *_homes(order["files"])], [Path(order["output"])])
        return convert(order)
    path = Path(order["path"])
    confine([*libraries, path, *_homes(path.iterdir() if path.is_dir() else ())])
    return attempt(path, int(order["bytes"]), float(order["seconds"]))


def _homes(files: Any) -> set[Path]:
    """The files themselves, wherever links lead to them."""
    return {Path(file).resolve() for file in files}


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
            _end_with_parent()
            gc.disable()
            for descriptor in (receiver, *own):
                os.close(descriptor)
            work(sender)
        finally:
            os._exit(0)
    os.close(sender)
    return child, receiver


def _end_with_parent() -> None:
    """A process whose parent is killed is of no use to anybody. Linux only; elsewhere it ends with its time."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PARENT_DEATH, signal.SIGKILL, 0, 0, 0)


def in_child(order: dict[str, Any], *own: int) -> str:
    """:func:`perform` in a forked child that is killed when its time is up.

    Args:
        order: of kind ``try`` or ``convert``.
        own: as for :func:`fork`.

    Returns:
        Why it was refused; empty if it was not.

    Raises:
        OSError: the system gives no more processes.
    """
    seconds = float(order["seconds"])
    child, receiver = fork(lambda sender: _answer(sender, _DONE + json.dumps(Message.of(perform(order)).to_dict()).encode()), *own)
    answer, until = b"", time.monotonic() + seconds
    ended = False
    while not ended and (left := until - time.monotonic()) > 0:
        if select.select([receiver], [], [], left)[0]:
            part = os.read(receiver, 4096)
            answer, ended = answer + part, not part
    os.close(receiver)
    if not ended:
        os.kill(child, signal.SIGKILL)
    _, status = os.waitpid(child, 0)
    if not ended:
        what = Message("sandbox.loaded_and_run") if order["do"] == "try" else Message("sandbox.converted")
        return Message("sandbox.too_slow", what=what, seconds=seconds)
    if not answer.startswith(_DONE):
        name = _SIGNALS.get(os.WTERMSIG(status), "") if os.WIFSIGNALED(status) else f"exit {os.WEXITSTATUS(status)}"
        return Message("sandbox.ended_process_with", why=name)
    return Message.from_dict(json.loads(answer.removeprefix(_DONE)))


def _answer(sender: int, text: bytes) -> None:
    os.write(sender, text)


def answered(order: dict[str, Any], *own: int) -> dict[str, str]:
    """What an order came to: ``refused`` with the reason or nothing, or ``busy`` where there is no process to do it in."""
    try:
        return {"refused": in_child(order, *own).to_dict()}
    except OSError as error:
        return {"busy": error.strerror or type(error).__name__}


class Networks:
    """The process that has imported what networks need.

    Args:
        seconds: for which it waits for a checkpoint.
        own: file descriptors of the helper that it must not keep open.
    """

    def __init__(self, seconds: float, *own: int) -> None:
        self._seconds, self._own = seconds, own
        self._pid: int | None = None
        self._orders = self._answers = -1
        self._used = 0.0

    @property
    def ends(self) -> float | None:
        """When it has waited long enough, on the monotonic clock; None if there is none."""
        return None if self._pid is None else self._used + self._seconds

    @property
    def pipes(self) -> tuple[int, ...]:
        """The helper's ends of what leads to it and from it."""
        return () if self._pid is None else (self._orders, self._answers)

    def start(self) -> None:
        """Have one.

        Raises:
            OSError: the system gives no more processes.
        """
        self._used = time.monotonic()
        if self._pid is not None and os.waitpid(self._pid, os.WNOHANG)[0]:
            self._close()
        if self._pid is None:
            incoming, orders = os.pipe()
            try:
                self._pid, self._answers = fork(lambda sender: self._work(incoming, sender), orders, *self._own)
            except OSError:
                os.close(orders)
                raise
            finally:
                os.close(incoming)
            self._orders = orders

    def ask(self, order: dict[str, Any]) -> dict[str, str]:
        """What an order of kind ``try`` came to; see :func:`answered`."""
        for _ in range(2):  # this process opens no stranger's file: that it has ended says nothing about the checkpoint
            try:
                self.start()
            except OSError as error:
                return {"busy": error.strerror or type(error).__name__}
            try:
                os.write(self._orders, json.dumps(order).encode() + b"\n")
                answer = b""
                while not answer.endswith(b"\n"):
                    part = os.read(self._answers, 1 << 16)
                    if not part:
                        raise OSError("it has ended")
                    answer += part
            except OSError:
                self.stop()
                continue
            self._used = time.monotonic()
            return json.loads(answer)
        return {"busy": Message("sandbox.libraries_process_ended").to_dict()}

    def stop(self) -> None:
        """End it, if there is one."""
        if self._pid is not None:
            os.kill(self._pid, signal.SIGKILL)
            os.waitpid(self._pid, 0)
            self._close()

    def _close(self) -> None:
        os.close(self._orders)
        os.close(self._answers)
        self._pid = None

    @staticmethod
    def _work(incoming: int, sender: int) -> None:
        """In the process: an order goes before what is still to be imported, since it may do without."""
        from seg_demo.networks import FAMILIES

        # A class that was registered is imported already.
        files = (row.where.partition(":")[0] for row in FAMILIES.values() if isinstance(row.where, str))
        lines, missing = _Lines(incoming), [*HEAVY, *files]
        while True:
            while missing and not lines.ready():
                import_next(missing)
            line = lines.next(None)
            if line is None:
                return
            os.write(sender, json.dumps(answered(json.loads(line), incoming, sender)).encode() + b"\n")


def serve(idle: float, waits: float) -> None:
    """Answer orders until there are none.

    Args:
        idle: seconds without an order after which to end.
        waits: seconds without a checkpoint after which the networks' process ends.
    """
    # Answers have the output for themselves; what a library prints goes where errors go.
    output = os.fdopen(os.dup(1), "w")
    os.dup2(2, 1)
    # Imports make a million objects that stay; looking through them for garbage is a sixth of the time.
    gc.disable()
    forks = hasattr(os, "fork")
    # Neither the orders nor the answers are a child's to read or write.
    own = (sys.stdin.fileno(), output.fileno())
    lines, networks, missing = _Lines(own[0]), Networks(waits, *own), list(LIGHT)
    until = time.monotonic() + idle
    while True:
        while missing and not (forks and lines.ready()):
            import_next(missing)
        soonest = min(until, networks.ends or until)
        line = lines.next(max(0.0, soonest - time.monotonic()) if forks else None)
        if line == "":  # nothing came
            if networks.ends is not None and time.monotonic() >= networks.ends:
                networks.stop()
            if time.monotonic() >= until:
                line = None
            else:
                continue
        if line is None:
            networks.stop()
            return
        order, until = json.loads(line), time.monotonic() + idle
        while missing and (order["do"] != "convert" or missing[0] in CONVERTING):
            import_next(missing)
        if order["do"] == "prepare":
            try:
                if forks:
                    networks.start()
            except OSError:
                pass  # the order itself will say so
            continue
        if not forks:
            answer = {"refused": alone(order)}
        else:
            answer = networks.ask(order) if order["do"] == "try" else answered(order, *own, *networks.pipes)
        print(json.dumps(answer), file=output, flush=True)
        if not forks:
            return  # its limits stay with the process


def import_next(missing: list[str]) -> None:
    """Import the first of some modules, and give back what only importing needed once they are all there."""
    importlib.import_module(missing.pop(0))
    if not missing:
        slim()


def alone(order: dict[str, Any]) -> str:
    """Do what an order says in the helper itself, where processes cannot fork; it ends afterwards."""
    if order["do"] == "convert":
        return convert(order)
    return attempt(Path(order["path"]), int(order["bytes"]), float(order["seconds"]))


class _Lines:
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
    try:
        libc = ctypes.CDLL(None)
        libc.malloc_trim(0)
        for start, size in _unwritten(Path("/proc/self/smaps").read_text(encoding="utf-8", errors="replace")):
            libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(size), _DONTNEED)
    except (OSError, AttributeError):
        pass  # macOS, or a C library without malloc_trim


def _unwritten(text: str) -> list[tuple[int, int]]:
    """(start, bytes) of what is mapped from files and is as it is in the file, for nothing was ever written there.

    Args:
        text: of ``/proc/self/smaps``, see proc_pid_smaps(5).
    """
    found = []
    for block in re.split(r"^(?=[0-9a-f]+-[0-9a-f]+ )", text, flags=re.MULTILINE):
        head = re.match(r"([0-9a-f]+)-([0-9a-f]+) r-[x-]p \S+ \S+ [1-9]\d* +/", block)
        if head and re.search(r"^Anonymous: +0 kB", block, re.MULTILINE):
            start, end = int(head[1], 16), int(head[2], 16)
            found.append((start, end - start))
    return found


try:
    import resource
except ImportError:  # Windows
    resource = None

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
        "fremovexattr": 199, "setpriority": 141,
    },
    "aarch64": {
        "socket": 198, "connect": 203, "accept": 202, "sendto": 206, "sendmsg": 211, "bind": 200, "listen": 201, "accept4": 242,
        "sendmmsg": 269, "execve": 221, "execveat": 281, "ptrace": 117, "process_vm_readv": 270, "process_vm_writev": 271,
        "kill": 129, "tkill": 130, "rt_sigqueueinfo": 138, "rt_tgsigqueueinfo": 240, "unshare": 97, "setns": 268, "mount": 40,
        "umount2": 39, "pivot_root": 41, "chroot": 51, "keyctl": 219, "add_key": 217, "request_key": 218, "bpf": 280,
        "fchmod": 52, "fchmodat": 53, "fchownat": 54, "fchown": 55, "setxattr": 5, "lsetxattr": 6, "fsetxattr": 7,
        "removexattr": 14, "lremovexattr": 15, "fremovexattr": 16, "setpriority": 140,
    },
}  # fmt: skip
# pidfd_send_signal, io_uring_*, pidfd_open, pidfd_getfd, the mount calls of Linux 5.2, fchmodat2, setxattrat, removexattrat: the
# same everywhere.
_NEW_CALLS = (424, 425, 426, 427, 428, 429, 430, 431, 432, 434, 438, 442, 452, 463, 466)
# Refused unless their first argument is right: a thread is begun and no process; what concerns a process concerns this one.
_CLONE, _TGKILL, _PRLIMIT = {"x86_64": 56, "aarch64": 220}, {"x86_64": 234, "aarch64": 131}, {"x86_64": 302, "aarch64": 261}
# Its first argument lies in memory, where no filter looks; the C library does without it where the system does not have it.
_CLONE3, _THREAD = 435, 0x10000  # linux/sched.h: CLONE_THREAD


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
        writable: folders below which files may be written, replaced and removed.

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
        given = [(path, _READ) for path in readable] + [(path, rights) for path in writable]
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


if __name__ == "__main__":
    serve(float(sys.argv[1]), float(sys.argv[2]))
