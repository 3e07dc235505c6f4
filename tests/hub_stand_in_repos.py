"""What the Hub stand-in holds: repositories with their commits, users, injected faults."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import Any

LARGE = (".safetensors", ".bin", ".pth", ".png", ".jpg", ".parquet")


def git_blob_id(data: bytes) -> str:
    """The id that git gives a file's content: sha1 hex of its header and bytes."""
    return hashlib.sha1(b"blob %d\0" % len(data) + data).hexdigest()


@dataclass
class Repo:
    """One repository.

    Attributes:
        id: ``user/name``.
        kind: ``model`` or ``dataset``.
        private: seen by its owner and the owner's organisation only.
        gated: its files are withheld from everyone but its owner.
        commits: files by path, per commit sha.
        messages: one line per commit, oldest first.
        refs: commit sha by branch or tag.
        pulls: author and status of pull requests by number, where they are not the conversion bot's open ones.
        discussions: whether people may discuss here; the Hub answers 403 where they may not.
    """

    id: str
    kind: str
    private: bool = False
    gated: bool = False
    commits: dict[str, dict[str, bytes]] = field(default_factory=dict)
    messages: list[str] = field(default_factory=list)
    refs: dict[str, str] = field(default_factory=dict)
    pulls: dict[int, tuple[str, str]] = field(default_factory=dict)
    discussions: bool = True

    def commit(self, files: dict[str, bytes], revision: str, message: str) -> str:
        """Put a new commit with exactly these files on a branch; returns its sha."""
        seed = "".join([self.id, message, str(len(self.messages)), *sorted(files)])
        sha = hashlib.sha1(seed.encode() + b"".join(files[name] for name in sorted(files))).hexdigest()
        self.commits[sha] = files
        self.messages.append(message)
        self.refs[revision] = sha
        return sha

    def sha(self, revision: str) -> str | None:
        """The commit that a branch, tag or sha names, or None."""
        return self.refs.get(revision) or (revision if revision in self.commits else None)


@dataclass
class User:
    """A login: ``role`` is that of the token (``read`` or ``write``), ``orgs`` maps organisations to the role within."""

    name: str
    role: str
    orgs: dict[str, str]


@dataclass
class Failure:
    """An injected fault, for the next ``times`` requests whose ``METHOD /path`` matches."""

    pattern: str
    status: int | None
    times: int
    after: int | None
    headers: dict[str, str]


def upload_mode(path: str) -> str:
    """How the Hub wants a file: ``lfs`` or ``regular``."""
    return "lfs" if path.endswith(LARGE) else "regular"


def entry(path: str, data: bytes) -> dict[str, Any]:
    """A file in the wording of the Hub's ``tree`` route."""
    row: dict[str, Any] = {"type": "file", "path": path, "size": len(data), "oid": git_blob_id(data)}
    if upload_mode(path) == "lfs":
        row["lfs"] = {"oid": hashlib.sha256(data).hexdigest(), "size": len(data), "pointerSize": 134}
    return row
