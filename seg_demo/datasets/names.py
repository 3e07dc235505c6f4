"""Names that people type → names of files and folders that are safe on every file system."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable

_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def stem_of(name: str, otherwise: str = "image") -> str:
    """A name for a file or folder: letters, digits, ``.``, ``_`` and ``-``, no leading dot, at most 60 characters.

    Args:
        name: any text.
        otherwise: if nothing is left of it.

    >>> stem_of("my photo (1)"), stem_of("../../etc/passwd"), stem_of("..")
    ('my-photo-1', 'etc-passwd', 'image')
    """
    text = unicodedata.normalize("NFC", name)
    text = re.sub(r"[^\w.-]+", "-", text)
    text = re.sub(r"[.-]{2,}", "-", text)[:60].strip("-._")
    return otherwise if not text or _RESERVED.fullmatch(text) else text


def is_stem(name: object) -> bool:
    """Whether a name may have come from :func:`stem_of`, perhaps with a number behind it; such a name leaves no folder.

    >>> is_stem("photo-2"), is_stem("../photo"), is_stem("a/b"), is_stem(".hidden"), is_stem(None)
    (True, False, False, False, False)
    """
    return isinstance(name, str) and len(name) <= 80 and ".." not in name and re.fullmatch(r"\w[\w.-]*", name) is not None


def free_stem(stem: str, taken: Iterable[str]) -> str:
    """The stem, or with the first number after it that is not taken; file systems may ignore case.

    >>> free_stem("photo", ["Photo", "photo-2"])
    'photo-3'
    """
    others = {each.casefold() for each in taken}
    number, found = 1, stem
    while found.casefold() in others:
        number += 1
        found = f"{stem}-{number}"
    return found
