"""The resume state of a run: one file, replaced atomically, checked when it is read.

The file is an ordinary ``torch.save`` archive. Its own CRC-32 per record is the checksum: torch writes it and ignores it
when loading, so it is compared here, and half a file or a flipped bit is named instead of trained on.
"""

from __future__ import annotations

import zipfile
from collections import OrderedDict
from pathlib import Path
from typing import Any

import torch

from seg_demo.errors import SegDemoError
from train.loop.storage import DISK, Disk, storage_errors, write_atomically

# What ``torch.load(weights_only=True)`` reads back. A numpy float is a Python float to isinstance, but not to it.
PLAIN = (type(None), bool, int, float, str, bytes)


class BadStateError(SegDemoError):
    """A resume state is missing, incomplete or damaged."""


def save_state(path: Path, state: dict[str, Any], *, disk: Disk = DISK) -> None:
    """Replace the resume state by a new one; a reader finds the old or the new one, whole, at every moment.

    Args:
        path: the file, ``last/state.pt`` of a run folder.
        state: dicts, lists and tuples of tensors, numbers and text (state dicts of module, optimizer and average, random
            states, position, history).
        disk: the steps of the write.

    Raises:
        TypeError: the state holds something that could not be read back safely (our own mistake).
        StorageError: the disk is full or fails; the old state is untouched.
    """
    _check_plain(state, "state")
    write_atomically(path, lambda stream: torch.save(state, stream), disk=disk)


def load_state(path: Path) -> dict[str, Any]:
    """Read a resume state; no code in it is run.

    Args:
        path: the file.

    Returns:
        What :func:`save_state` got, tensors on the CPU.

    Raises:
        BadStateError: there is none, or it is incomplete or damaged.
        StorageError: the disk fails.
    """
    if not path.is_file():
        raise BadStateError(
            f"{path} does not exist, so there is nothing to resume. Give the folder of a run that has started (it holds "
            "config.json and last/), or start a new run without --resume."
        )
    with storage_errors(path):
        try:
            with zipfile.ZipFile(path) as archive:
                damaged = archive.testzip()
            state = None if damaged else torch.load(path, map_location="cpu", weights_only=True)
        except OSError:
            raise
        except Exception as error:  # damage surfaces as whatever the first reader to meet it raises
            reason = str(error).splitlines()[0] if str(error) else type(error).__name__
            raise BadStateError(_damaged(path, reason)) from error
    if damaged:
        raise BadStateError(_damaged(path, f"record {damaged} does not match its checksum"))
    return state


def _damaged(path: Path, reason: str) -> str:
    size = path.stat().st_size
    return (
        f"{path} ({size} bytes) is incomplete or damaged: {reason}. It cannot be resumed. The weights in best/ are kept: "
        f"start a new run from them with --model {path.parent.parent / 'best'}."
    )


def _check_plain(value: Any, where: str) -> None:
    if type(value) in PLAIN or isinstance(value, torch.Tensor):
        return
    if type(value) in (dict, OrderedDict):
        for key, each in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(each, f"{where}[{key!r}]")
    elif type(value) in (list, tuple):
        for index, each in enumerate(value):
            _check_plain(each, f"{where}[{index}]")
    else:
        raise TypeError(f"{where} is a {type(value).__module__}.{type(value).__name__}, which cannot be read back safely.")
