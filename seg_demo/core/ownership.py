"""Whose something is that a visitor made: datasets, fine-tuning jobs with their pictures, and the models that come of them.

One rule for all of it. A visitor holds a random key, which lies in their browser; what they make carries the key's hash, and
they alone see it, on the page and through the API. The server's owner may share a model that they made with everybody. The
programs of this machine (the command line, Python, the training command) see everything.
"""

from __future__ import annotations

import hashlib
import re
from contextvars import ContextVar
from dataclasses import dataclass

VISITOR_KEY = re.compile(r"[A-Za-z0-9_-]{32,64}")


@dataclass(frozen=True)
class Viewer:
    """Who asks for something.

    Attributes:
        owner: of :func:`owner_of`; empty for somebody without a key.
        host: whether this server is theirs. What nobody owns (it was made before anything had an owner) is theirs, too.
    """

    owner: str = ""
    host: bool = False

    def owns(self, owner: object) -> bool:
        """Whether what carries this owner is theirs.

        >>> Viewer("a").owns("a"), Viewer("a").owns("b"), Viewer().owns(""), Viewer("a", host=True).owns("")
        (True, False, False, True)
        """
        return owner == self.owner if owner else self.host


# Who is being answered; None is this machine itself, which sees everything.
viewer: ContextVar[Viewer | None] = ContextVar("viewer", default=None)


def owner_of(key: object) -> str:
    """What things carry whose visitor holds a key. The disk knows only this hash, so that a listing of it opens nothing.

    Args:
        key: 32 to 64 letters, digits, ``_`` and ``-``, drawn at random; anything else is no key.

    Returns:
        32 hexadecimal digits, or an empty text for what is no key.
    """
    if not isinstance(key, str) or VISITOR_KEY.fullmatch(key) is None:
        return ""
    return hashlib.sha256(key.encode("ascii")).hexdigest()[:32]


def of_key(key: object) -> Viewer:
    """The viewer with a key: what a handler was given with it counts, whoever its session has been before."""
    now = viewer.get()
    return Viewer(owner_of(key), host=now is not None and now.host)
