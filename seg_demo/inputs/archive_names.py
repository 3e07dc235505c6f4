"""Names of files within archives → names that every file system takes, no two the same."""

from __future__ import annotations

import re
import unicodedata
from pathlib import PurePosixPath

# What some file system does not take, and what turns the reading direction, which makes a name look like another one.
_RESERVED = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*\u202a-\u202e\u2066-\u2069]')


def hidden(name: str) -> bool:
    """Whether an entry is a hidden file, or one that macOS adds."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


def safe(name: str) -> PurePosixPath:
    """A name that every file system takes; that it does not climb has been seen to before."""
    parts = [_RESERVED.sub("_", part) for part in PurePosixPath(name.replace("\\", "/")).parts]
    return PurePosixPath(*parts)


class Names:
    """The names that are given out already, so that no file takes another's place, also where case, or the way in which an
    accented letter is put together, makes no difference (macOS)."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def free(self, path: PurePosixPath) -> PurePosixPath:
        """The path, with a number where a file or folder of that name is there, or its folder is the name of a file."""
        number, free = 1, path
        while self._clashes(free):
            number += 1
            inside = any(_folded(parent) in self._files for parent in path.parents)
            base = PurePosixPath("_".join(path.parts)) if inside else path
            free = base.with_name(f"{base.stem}-{number}{base.suffix}")
        self._files.add(_folded(free))
        self._folders.update(_folded(parent) for parent in free.parents)
        return free

    def _clashes(self, path: PurePosixPath) -> bool:
        name = _folded(path)
        return name in self._files or name in self._folders or any(_folded(parent) in self._files for parent in path.parents)


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())
