"""Checkpoints of a stranger's choice, and weights that are pickles: neither is touched before a process of its own has been at it.

A checkpoint is loaded and run once there. What kills a loader (a crash in native code, memory without end, a file that keeps it busy for ever)
then kills that process, and the visitor reads a sentence. A helper process imports torch once, forks a child for each checkpoint, and ends when it
has had nothing to do for a while; it has no login and does not talk to the Hub, and its children (:mod:`seg_demo.serving.sandbox_child`) lock
themselves in (:mod:`seg_demo.core.sandbox`). Where processes cannot fork (Windows), the helper does one thing itself and ends with it.

Weights that a repository has only as pickles (``pytorch_model.bin``, whole or in shards) become safetensors, made once and kept. A pickle is a
program. torch reads it with ``weights_only=True``, which builds tensors and refuses everything else, and which had holes until torch 2.10; so it is
read by no other process than such a child, whoever's it is, and what that writes is safetensors, which the server then looks at as at any
stranger's.

Whatever plain transformers reads is read: zip archives, and the files of torch before 1.6, which are a pickle followed by the
numbers. ``.pth``, ``.pt`` and ``.ckpt`` are not: no library loads them by a repository's name alone, as nothing says what
they hold. Where there is a safetensors file, it is taken.

What was made of a Hub model lies beside its snapshot, ``.converted/<commit>/<hash of the pickles>/``: its JSON files, linked,
and ``model.safetensors``, a link to a file that is called by its hash, as in the Hub's own cache. It counts as the model's in
the quota of visitors' models, and is removed with it. What was made of other files lies in this user's cache,
``seg-demo/converted``.
"""

from __future__ import annotations

import errno
import hashlib
import os
import pickle
import re
import shutil
import threading
import time
import uuid
import zipfile
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from seg_demo import networks
from seg_demo.core import BadCheckpointError, BusyError, Message, SegDemoError, StorageError, abandoned, locked
from seg_demo.core.sandbox import Helper, ProcessError
from seg_demo.core.settings import settings
from seg_demo.networks.checkpoint import CONFIG, WEIGHTS, not_weights, read_json

IDLE_SECONDS = 600.0
# How long the process that has imported what networks need waits for a checkpoint; it is half as large again as the helper.
NETWORKS_SECONDS = 15.0
# A checkpoint that was refused is not tried again for so long; the answer is the same.
REFUSED_SECONDS = 600.0
REMEMBERED = 1024
_MODULE = "seg_demo.serving.sandbox_child"


class Sandbox(Helper):
    """The helper process and what it has found."""

    def __init__(self) -> None:
        super().__init__(_MODULE, str(IDLE_SECONDS), str(NETWORKS_SECONDS))
        # What is known already is answered at once, also while the helper is busy with somebody else's model.
        self._known = threading.Lock()
        self._refused: dict[str, tuple[str, float]] = {}
        self._passed: set[str] = set()

    def inspect(self, path: Path) -> None:
        """Return if a checkpoint can be loaded and gives numbers for a small image. Each is tried once.

        Args:
            path: checkpoint folder.

        Raises:
            BadCheckpointError: it is refused, or it kills or overtaxes its loader.
            BusyError: no process can be started to try it in, which says nothing about it.
        """
        name = identity(path)
        if (reason := self._verdict(name)) is None:
            with self._one:
                if (reason := self._verdict(name)) is None:  # somebody else may have asked meanwhile
                    reason = self._ask(path)
                    self._note(name, reason)
        if reason:
            raise BadCheckpointError(reason)

    def look(self, path: Path, stored: Collection[str] | None) -> str:
        """Why a checkpoint is refused for what its JSON files tell, or an empty text.

        Args:
            path: checkpoint folder, perhaps without weights.
            stored: names of its weights; None where nobody knows them.

        Raises:
            BusyError: no process can be started to look in.
        """
        kind = networks.network(networks.identify(path))
        if not kind.__module__.startswith(f"{networks.__name__}."):
            # Another program has registered this class: the helper does not know it, and the checkpoint is that program's own.
            try:
                kind.look(path, stored)
            except SegDemoError as error:
                return str(error)
            return ""
        with self._one:
            return self._answer_to({"do": "try", "path": str(path), "stored": None if stored is None else list(stored)})

    def passed(self, path: Path) -> bool:
        """Whether a checkpoint has been tried and found good.

        Args:
            path: checkpoint folder.
        """
        return self._verdict(identity(path)) == ""

    def _verdict(self, name: str) -> str | None:
        """Why a checkpoint was refused lately, empty if it passed, None if it has to be tried."""
        with self._known:
            if name in self._passed:
                return ""
            reason, when = self._refused.get(name, (None, 0.0))
            return reason if time.monotonic() - when <= REFUSED_SECONDS else None

    def _note(self, name: str, reason: str) -> None:
        with self._known:
            if len(self._passed) + len(self._refused) > REMEMBERED:
                self._passed.clear()
                self._refused.clear()
            if reason:
                self._refused[name] = (reason, time.monotonic())
            else:
                self._passed.add(name)

    def warm(self) -> None:
        """Have the helper ready: it takes seconds to start, and waits in little memory for a while."""
        self._write(None)

    def prepare(self) -> None:
        """Have it import what networks need, which goes on while a checkpoint is looked up and downloaded."""
        self._write({"do": "prepare"})

    def convert(self, files: Sequence[Path], output: Path, most: int) -> None:
        """Have pickled weights written as ``output/model.safetensors``, by a process that can do nothing else.

        Args:
            files: the pickles, all together the weights.
            output: an empty folder.
            most: bytes that may be written.

        Raises:
            BadCheckpointError: they hold more than tensors, or kill or overtax the process that reads them.
            BusyError: no process can be started for it.
        """
        order = {"do": "convert", "files": [str(file) for file in files], "output": str(output), "most": most}
        with self._one:
            reason = self._answer_to(order)
        if reason:
            raise BadCheckpointError(reason)

    def _ask(self, path: Path) -> str:
        """Why a checkpoint is refused, or an empty text."""
        return self._answer_to({"do": "try", "path": str(path)})

    def _answer_to(self, order: dict[str, object]) -> str:
        """Why an order was refused, or an empty text. One at a time: the caller holds ``_one``."""
        owner = settings()
        order |= {"bytes": owner.quarantine_bytes, "seconds": owner.quarantine_seconds}
        try:
            # The helper keeps the time of its children; this one is for a helper that hangs itself.
            answer = self.ask(order, owner.quarantine_seconds + 60)
            return Message("sandbox.ended_process") if answer is None else Message.from_dict(answer["refused"])
        except ProcessError as error:
            raise _no_process(error.args[0]) from error
        except (KeyError, TypeError):
            return Message("sandbox.ended_process")


def _no_process(why: str | None) -> BusyError:
    return BusyError("sandbox.no_process", why=why)


_sandbox = Sandbox()
inspect = _sandbox.inspect
look = _sandbox.look
warm = _sandbox.warm
prepare = _sandbox.prepare
convert = _sandbox.convert
passed = _sandbox.passed
close = _sandbox.close


def identity(path: Path) -> str:
    """What a checkpoint is: the hash of its files' names and hashes.

    Args:
        path: checkpoint folder; in huggingface_hub's cache a link names its file's hash, which was checked before.
    """
    digest = hashlib.sha256()
    for file in sorted(found for found in path.iterdir() if found.is_file()):
        stored = os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        if len(stored) not in (40, 64):
            with open(file, "rb") as opened:
                stored = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{file.name}:{stored}\n".encode())
    return digest.hexdigest()


WHOLE, INDEX = "pytorch_model.bin", "pytorch_model.bin.index.json"
FOLDER = ".converted"
# Below, weights_only could be got round.
OLDEST_TORCH = (2, 10)
# What is made of files that are in no Hub cache: the least recently used goes when all together take more, in bytes.
LIMIT = 10 << 30
# Part of the name of what was made: another number when it would be made otherwise.
_RULES = b"1"
_SHARD = re.compile(r"pytorch_model-\d{5}-of-\d{5}\.bin")
# What programs call the weights beside their epoch and their optimizer.
_HOLDERS = ("state_dict", "model_state_dict", "model")
# Tensors may share memory in a pickle, and each has its own in safetensors: so many times the file's size is still honest.
_GROWS = 4
# Where a converted checkpoint's weights lie within its folder; how folders are called that are still being filled, and when
# nobody can be filling them any more, where that cannot be seen; when whoever has made one has said that it is theirs.
_STORED, _NEW, _LEFT_SECONDS, _TAKEN_SECONDS = "weights", ".new-", 86_400.0, 60.0


def refusal() -> str | None:
    """Why no pickle is read here, or None: the owner's setting, or a torch that is too old for it."""
    if settings().pickles == "refuse":
        return Message("pickles.not_accepted")
    found = _torch()
    if found < OLDEST_TORCH:
        least = ".".join(map(str, OLDEST_TORCH))
        return Message("pickles.old_torch", least=least, found=".".join(map(str, found)))
    return None


def _torch() -> tuple[int, ...]:
    try:
        return tuple(int(part) for part in re.findall(r"\d+", version("torch"))[:2])
    except PackageNotFoundError:
        return (0,)


def offered(names: Iterable[str]) -> tuple[str, ...]:
    """The files that hold a repository's weights as pickles: one, or an index and its shards; none if it has none.

    Args:
        names: of the files in the repository.
    """
    there = set(names)
    if WHOLE in there:
        return (WHOLE,)
    shards = sorted(name for name in there if _SHARD.fullmatch(name))
    return (INDEX, *shards) if INDEX in there and shards else ()


def sources(folder: Path) -> tuple[Path, ...]:
    """The pickles that a folder's weights are in, all of them there; none if it has safetensors, or no weights.

    Args:
        folder: with a checkpoint.

    Raises:
        BadCheckpointError: the index of the shards is none, or names a file that is not there.
    """
    if not folder.is_dir() or any(folder.glob("*.safetensors")):
        return ()
    if (folder / WHOLE).is_file():
        return (folder / WHOLE,)
    if not (folder / INDEX).is_file():
        return ()
    table = read_json(folder, INDEX).get("weight_map")
    names = sorted(set(table.values())) if isinstance(table, dict) and all(isinstance(name, str) for name in table.values()) else []
    lost = [name for name in names if not _SHARD.fullmatch(name) or not (folder / name).is_file()]
    if lost or not names:
        raise BadCheckpointError(Message("pickles.part_lost", name=str(lost[0])[:80]) if lost else Message("pickles.bad_index"))
    return tuple(folder / name for name in names)


def ready(folder: Path) -> Path | None:
    """The folder that a checkpoint is loaded from, if that needs no conversion any more: itself, where it has no pickles.

    Args:
        folder: with a checkpoint.
    """
    try:
        files = sources(folder)
    except BadCheckpointError:
        return None
    if not files:
        return folder
    made = _home(folder, files)
    return made if (made / CONFIG).is_file() and (made / WEIGHTS).is_file() else None


def converted(folder: Path, *, visitor: bool = False) -> Path:
    """The folder that a checkpoint is loaded from, its pickles converted if it has nothing else; at once where that was done.

    Args:
        folder: with a checkpoint: a snapshot in the Hub's cache, or any other folder.
        visitor: whether a visitor named it; then the quota is looked after by :mod:`seg_demo.hub.cache`.

    Raises:
        BadCheckpointError: the pickles are not to be read here, hold more than tensors, or overtax the child that reads them.
        BusyError: no process can be started for it.
        StorageError: what is made cannot be stored.
    """
    # The cache imports this module, and the child of the sandbox needs nothing of it.
    from seg_demo.hub import cache

    if (found := ready(folder)) is not None and (found == folder or cache.intact(found)):
        _touch(found)
        return found
    files = sources(folder)
    if (why := refusal()) is not None:
        raise BadCheckpointError("pickles.weights_in_pickle", name=files[0].name, why=why)
    made = _home(folder, files)
    with _fresh(made) as fresh:
        _make(files, fresh / _STORED, settings().max_model_bytes if visitor else None)
        _furnish(folder, fresh)
    if not _in_hub_cache(folder):
        _prune(made)
    return made


def converted_file(path: Path) -> Path:
    """A safetensors file with the weights of one pickle of the owner's choice, such as torchvision's; made once and kept.

    Args:
        path: the pickle.

    Raises:
        BadCheckpointError, BusyError, StorageError: as for :func:`converted`.
    """
    made = root() / _name([path])
    if not (made / WEIGHTS).is_file():
        with _fresh(made) as fresh:
            _make([path], fresh, None)
    _touch(made)
    _prune(made)
    return made / WEIGHTS


def forget(repo: Path, sha: str) -> None:
    """Remove what was made of one commit.

    Args:
        repo: the repository's folder in the Hub's cache.
        sha: the commit.
    """
    shutil.rmtree(repo / FOLDER / sha, ignore_errors=True)
    try:
        (repo / FOLDER).rmdir()
    except OSError:
        pass  # of other commits, or there is none


def root() -> Path:
    """Where that lies which was made of files outside the Hub's cache (``XDG_CACHE_HOME``, else ``~/.cache``); not made here."""
    return Path(os.environ.get("XDG_CACHE_HOME") or "~/.cache").expanduser() / "seg-demo" / "converted"


def _commit(folder: Path) -> tuple[Path, str] | None:
    """The repository's folder in the Hub's cache and the commit that a checkpoint's folder is of, or None."""
    for place in (folder, *folder.parents[:2]):  # a snapshot, or what was put together from one, two folders further down
        if place.parent.name == "snapshots" and place.parent.parent.name.startswith("models--"):
            return place.parent.parent, place.name
    return None


def _described(folder: Path) -> list[Path]:
    """What lies beside the weights of a folder: its JSON files, and the rules by which words are split."""
    return sorted([*folder.glob("*.json"), *folder.glob("merges.txt")])


def _in_hub_cache(folder: Path) -> bool:
    return _commit(folder) is not None


def _home(folder: Path, files: Sequence[Path]) -> Path:
    """Where that lies, or will lie, which is made of a folder."""
    if (commit := _commit(folder)) is not None:
        return commit[0] / FOLDER / commit[1] / _name(files if folder.name == commit[1] else [*files, *_described(folder)])
    return root() / _name([*files, *_described(folder)])


def _name(files: Sequence[Path]) -> str:
    """Names what files hold, by their names and hashes."""
    digest = hashlib.sha256(_RULES)
    for file in files:
        stored = os.path.basename(os.readlink(file)) if file.is_symlink() else ""
        if len(stored) not in (40, 64):
            with open(file, "rb") as opened:
                stored = hashlib.file_digest(opened, "sha256").hexdigest()
        digest.update(f"{file.name}:{stored}\n".encode())
    return digest.hexdigest()[:32]


def _make(files: Sequence[Path], output: Path, most: int | None) -> None:
    """Have a child write ``model.safetensors`` into a folder.

    Args:
        files: the pickles.
        output: made here.
        most: bytes that the owner allows a weight file, or None where it is the owner's own.
    """
    output.mkdir(exist_ok=True)
    size = sum(file.stat().st_size for file in files)
    if shutil.disk_usage(output).free < size:
        raise _not_stored(os.strerror(errno.ENOSPC))
    bound = _GROWS * size + (1 << 20)
    convert(files, output, bound if most is None else min(bound, max(most, size)))
    if (output / WEIGHTS).is_symlink() or not (output / WEIGHTS).is_file():
        raise BadCheckpointError("pickles.not_converted")


def _furnish(folder: Path, fresh: Path) -> None:
    """Complete what has been made of a folder: the weights under their hash, and the folder's JSON files beside them."""
    stored = fresh / _STORED / WEIGHTS
    with open(stored, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    try:
        os.symlink(os.path.join(_STORED, digest), fresh / WEIGHTS)
        os.replace(stored, stored.with_name(digest))
    except (OSError, NotImplementedError):  # a system without links
        os.replace(stored, fresh / WEIGHTS)
    for path in _described(folder):
        if path.name == INDEX or not path.is_file():
            continue
        if path.is_symlink() and _in_hub_cache(folder):
            stored = os.path.normpath(path.parent / os.readlink(path))
            os.symlink(os.path.relpath(stored, fresh), fresh / path.name)
        else:
            shutil.copyfile(path, fresh / path.name)


@contextmanager
def _fresh(made: Path) -> Iterator[Path]:
    """A folder to be filled, which then is put into its place at once, unless somebody was faster and made the same.

    Args:
        made: its place.

    Raises:
        StorageError: it cannot be written.
    """
    fresh = made.with_name(f"{_NEW}{uuid.uuid4().hex[:12]}")
    try:
        fresh.mkdir(parents=True)
        with locked(fresh):
            _sweep(made.parent)
            yield fresh
            try:
                os.rename(fresh, made)
            except OSError:
                if not made.is_dir():
                    raise
                if not all((made / path.name).exists() for path in fresh.iterdir()):  # damaged
                    shutil.rmtree(made, ignore_errors=True)
                    os.rename(fresh, made)
    except OSError as error:
        raise _not_stored(error.strerror or type(error).__name__) from error
    finally:
        shutil.rmtree(fresh, ignore_errors=True)


def _sweep(folder: Path) -> None:
    """Remove what processes have left that were killed while they filled a folder here."""
    for left in folder.glob(f"{_NEW}*"):
        try:
            age = time.time() - left.stat().st_mtime
            if age > _LEFT_SECONDS or (age > _TAKEN_SECONDS and abandoned(left)):
                shutil.rmtree(left, ignore_errors=True)
        except OSError:
            continue  # finished meanwhile


def _not_stored(why: str) -> StorageError:
    return StorageError("pickles.not_stored", why=why)


def _touch(made: Path) -> None:
    try:
        os.utime(made)
    except OSError:
        pass  # somebody else's cache


def _prune(keep: Path) -> None:
    """Remove what was made of other files than those of the Hub's cache and was not used for longest, until the rest fits."""
    found = []
    for folder in root().glob("*"):
        try:
            if not folder.name.startswith(_NEW):
                size = sum(path.lstat().st_size for path in folder.rglob("*"))
                found.append((time.time() - folder.stat().st_mtime, size, folder))
        except OSError:
            continue  # removed meanwhile
    total = sum(size for _, size, _ in found)
    for _, size, folder in sorted(found, reverse=True):
        if folder != keep and total > LIMIT:
            shutil.rmtree(folder, ignore_errors=True)
            total -= size


def rewrite(files: Sequence[Path], output: Path, most: int) -> None:
    """Read pickles and write their tensors to ``output/model.safetensors``. For a child process that has locked itself in.

    safetensors wants every tensor contiguous and in memory of its own: tensors that share theirs (tied weights, views) are
    written once each, under every name that they have.

    Args:
        files: of torch.save, each a mapping of names to tensors; all together are the weights.
        output: exists.
        most: bytes that all tensors may have together.

    Raises:
        BadCheckpointError: they hold anything but names and tensors, or the file is damaged.
        StorageError: the disk is full or fails.
    """
    import torch
    from safetensors import SafetensorError
    from safetensors.torch import save_file
    from torch import Tensor

    state: dict[str, Tensor] = {}
    for file in files:
        try:
            # As transformers does it: only archives can be mapped into memory.
            found = torch.load(file, map_location="cpu", weights_only=True, mmap=zipfile.is_zipfile(file))
        except (pickle.UnpicklingError, EOFError, RuntimeError, ValueError, KeyError, OSError) as error:
            if named := re.search(r"GLOBAL `?([\w.]+)", str(error)):
                raise _more_than_tensors(file.name, Message("pickles.holds", named=named[1][:80])) from error
            if (why := not_weights(file)) is not None:
                raise BadCheckpointError(why) from error
            raise BadCheckpointError("pickles.unreadable", name=file.name, why=type(error).__name__) from error
        found = _weights_in(found)
        if not isinstance(found, dict):
            raise _more_than_tensors(file.name, Message("pickles.is_a", type=type(found).__name__))
        for name, tensor in found.items():
            if not isinstance(name, str):
                raise _more_than_tensors(file.name, Message("pickles.name_is_a", type=type(name).__name__))
            if not isinstance(tensor, Tensor):
                raise _more_than_tensors(file.name, Message("pickles.value_is_a", name=str(name)[:80], type=type(tensor).__name__))
            if tensor.layout is not torch.strided or tensor.is_quantized or tensor.device.type != "cpu":
                raise _more_than_tensors(file.name, Message("pickles.special_tensor", name=name[:80]))
            state[name] = tensor.detach()
    if sum(tensor.numel() * tensor.element_size() for tensor in state.values()) > most:
        raise BadCheckpointError("pickles.too_large_unpacked", most=most / 1e6)
    taken: set[int] = set()
    for name, tensor in state.items():
        memory = tensor.untyped_storage().data_ptr()
        state[name] = tensor.clone(memory_format=torch.contiguous_format) if memory in taken else tensor.contiguous()
        taken.add(memory)
    try:
        save_file(state, output / WEIGHTS, metadata={"format": "pt"})
    except (OSError, SafetensorError) as error:
        # safetensors tells what the system said only in its text.
        if (found := re.search(r"os error (\d+)", str(error))) is None and not isinstance(error, OSError):
            raise
        raise _not_stored(os.strerror(int(found[1])) if found else error.strerror or "it cannot be written") from error


def _weights_in(found: object) -> object:
    """The weights in what a training program pickles together: ``{"state_dict": …, "epoch": …}``; anything else as it is."""
    for key in _HOLDERS if isinstance(found, dict) else ():
        inner = found.get(key)
        if isinstance(inner, dict) and inner and all(isinstance(name, str) for name in inner):
            return inner
    return found


def _more_than_tensors(name: str, what: Message) -> BadCheckpointError:
    return BadCheckpointError("pickles.more_than_weights", name=name, what=what)
