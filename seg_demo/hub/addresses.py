"""What people paste to name a Hub model: the address of its page, of a folder or a file of it; → ``user/repo/folder@revision``."""

from __future__ import annotations

import re
import unicodedata
from urllib.parse import unquote, urlsplit

from huggingface_hub import constants

from seg_demo.core.errors import BadRequestError, Message

_HOSTS = ("huggingface.co", "www.huggingface.co", "hf.co", "www.hf.co", "hf-mirror.com", "www.hf-mirror.com")
_ADDRESS = re.compile(r"(?:https?://)?(?P<host>[\w.-]+(?::\d+)?)(?:/(?P<path>[^?#\s]*))?(?:[?#]\S*)?", re.ASCII | re.IGNORECASE)
# What stands around an id where people copy it: a command, a call, a link in Markdown, git's address, a folder of the Hub's cache.
_AROUND = (
    re.compile(r"(?:git\s+clone|(?:hf|huggingface-cli)\s+download)\s+(?:-\S+\s+)*(\S+)(?:\s.*)?"),
    re.compile(r"[\w.\s=]*(?:from_pretrained|pipeline|load_model)\(\s*(?:.*\bmodel\s*=\s*)?[\"']([^\"']+)[\"'].*"),
    re.compile(r"(?:--)?model[\s=:]+[\"']?([^\"'\s]+)[\"']?,?"),
    re.compile(r"\[[^\]]*\]\(([^()\s]+)\)"),
    re.compile(r"(?:ssh://)?git@((?:hf\.co|huggingface\.co)[:/]\S+)"),
)
_CACHED = re.compile(r"models--([\w.-]+?)--([\w.-]+)", re.ASCII)
_QUOTES = "<>\"'`“”‘’«»„‹›「」《》"
# Pages of the site that are nobody's.
_SITE = (
    "models", "docs", "papers", "collections", "blog", "learn", "settings", "join", "login", "pricing", "search", "new",
    "organizations", "tasks", "chat", "api", "posts", "enterprise", "support", "inference", "notifications",
)  # fmt: skip
_OTHER_KINDS = {"datasets": Message("addresses.dataset"), "spaces": Message("addresses.space")}
_CHOOSE = Message("addresses.type_an_id")


def id_of(text: str) -> str:
    """A pasted address as an id; any other text as it is, without quotes around it.

    >>> id_of("https://huggingface.co/ann/cells/tree/main/"), id_of("hf.co/ann/zoo/blob/v2/b0/config.json"), id_of("ann/cells")
    ('ann/cells', 'ann/zoo/b0@v2', 'ann/cells')

    Args:
        text: what a person typed.

    Raises:
        BadRequestError: the address, or the text, is of a dataset, a Space, a person or another page of the Hub.
    """
    text = _bare(text)
    path = text.removeprefix("hf://").removeprefix("models/")
    match = _ADDRESS.fullmatch(text)
    named = match is not None and match["host"].lower() in (*_HOSTS, urlsplit(constants.ENDPOINT).netloc.lower())
    if named:
        path = match["path"] or ""
    parts = [unquote(part) for part in path.split("/") if part] if named or path != text else path.split("/")
    if len(parts) >= 2 and parts[0] in _OTHER_KINDS:
        kind, name = _OTHER_KINDS[parts[0]], "/".join(parts[1:3])[:120]
        raise BadRequestError("addresses.other_kind", name=name, kind=kind, advice=_CHOOSE)
    if not named:
        return path
    if parts[:2] == ["api", "models"]:
        parts = parts[2:]
    if len(parts) < 2 or parts[0] in _SITE:
        raise BadRequestError("addresses.other_page", text=text[:80], advice=_CHOOSE)
    user, repo, rest = parts[0], parts[1].removesuffix(".git"), parts[2:]
    revision, folder = _within(rest)
    return "/".join((user, repo, *folder)) + (f"@{revision}" if revision not in (None, "main") else "")


def _bare(text: str) -> str:
    """A text without what is around an id or an address where people copy one from."""
    # Full-width letters and marks that no screen shows come with texts from chats and from PDFs.
    text = "".join(letter for letter in unicodedata.normalize("NFKC", text) if unicodedata.category(letter) != "Cf").strip()
    for pattern in _AROUND:
        if (match := pattern.fullmatch(text)) is not None:
            text = match[1].replace("hf.co:", "hf.co/").replace("huggingface.co:", "huggingface.co/")
            break
    text = text.rstrip(f"{_QUOTES}.,; ").lstrip(f"{_QUOTES} ")
    if (match := _CACHED.fullmatch(text)) is not None:
        return f"{match[1]}/{match[2]}"
    text = re.sub(r"\s*@\s*", "@", text)
    return text.rstrip("/") if re.fullmatch(r"[\w.-]+/[\w.-]+/", text) else text


def _within(rest: list[str]) -> tuple[str | None, list[str]]:
    """Revision and folder that the end of an address names: ``tree/REVISION/FOLDER``, ``blob/REVISION/FOLDER/FILE``."""
    if len(rest) < 2 or rest[0] not in ("tree", "blob", "resolve", "raw", "blame", "edit", "commits", "commit"):
        return None, []
    length = 3 if rest[1] == "refs" else 1
    revision, below = "/".join(rest[1 : 1 + length]), rest[1 + length :]
    if rest[0] in ("commits", "commit"):
        return revision, []
    return revision.removeprefix("refs/heads/"), below if rest[0] == "tree" else below[:-1]
