"""Errors and all other sentences for people, each under a key with named values, in English and Chinese; and logs without secrets.

An error says what came, what was expected, and what to do next: ``raise BadRequestError("jobs.no_such_job")``. The sentences are two tables, ``locale/en.json`` and ``locale/zh.json``, from key to text. A text may name values as
:meth:`str.format` does: ``"This file has {pages:,} pages; the first is shown."`` A key is ``area.what_is_the_matter``: the noun that
it is about (``images``, ``hub``, ``datasets``), a full stop, and a few words in lower case that say which of its sentences this is,
so that the place that makes it reads without the table: ``raise BadImageError("images.empty")``.

To add a sentence:

1. Put it into **both** tables under one new key, in the order of the alphabet. Both name the same values, each with its format.
2. Say it with :class:`Message` (notes, progress, findings) or raise it: ``raise BadRequestError("datasets.too_many", most=MOST)``.

What may differ within a sentence and is a word itself is a value that is a :class:`Message`: a kind of file, a remedy, the reason of
another error (an exception may be given as it is). Names, numbers and what other libraries say are given as they are. Sentences
that go together but vary by themselves are put behind each other with :func:`sentences`. ``tests/core/test_messages.py`` holds that both
tables have the same keys with the same values, and that each key is used.

Nothing signed reaches any log (:func:`redacted`): addresses lose their query, tokens their letters. The Hub answers with addresses that whoever holds them may use (an upload's, a download's), and the client library writes them
into its warnings when it tries again. Every record of the libraries that talk to the Hub, and every trace, passes through here
before any handler sees it, whatever its level.
"""

from __future__ import annotations

import functools
import json
import logging
import numbers
import re
import string
import threading
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any


class SegDemoError(Exception):
    """Base of every error whose text is meant for the person in front of the screen. Its ``str`` is English."""

    def __init__(self, key: str, /, **values: Any) -> None:
        """Make an error.

        Args:
            key: of the tables; or a whole message (:meth:`Message.of` is what another program said).
            **values: that its text names; see :class:`seg_demo.core.errors.Message`.

        Raises:
            KeyError: there is no such key.
        """
        super().__init__(key if isinstance(key, Message) else Message(key, **values))

    @property
    def message(self) -> Message:
        """What it says, in every language."""
        return self.args[0]


class SettingsError(SegDemoError):
    """A ``SEG_DEMO_*`` environment variable has a value that cannot be used."""


class BadImageError(SegDemoError):
    """What was sent is not an image that can be read, or is larger than the limits allow."""


class BadRequestError(SegDemoError):
    """A parameter of a request (threshold, model id, option) is not one that can be served."""


class ModelNotFoundError(SegDemoError):
    """No model, repository, revision or folder of that name can be seen with the credentials at hand."""


class HubUnavailableError(SegDemoError):
    """The Hub did not answer in time, or answered with a failure that is not about this model."""


class BadCheckpointError(SegDemoError):
    """A checkpoint was found but is refused: unknown architecture, missing or non-finite weights, absurd sizes."""


class EncoderOnlyError(BadCheckpointError):
    """The checkpoint has no segmentation head; it can be trained, but segments nothing yet."""


class BusyError(SegDemoError):
    """The server has as much work as it accepts; the same request will do later."""


class StorageError(SegDemoError):
    """A file could not be written or read: the disk is full, read-only or failing."""


class DataError(SegDemoError):
    """Training data as a whole cannot be used: nothing is there, or a list of it (JSON, CSV, class names) cannot be read."""


class PixelError(ValueError):
    """Pixel values that no picture can be made of; the text is half a sentence that says which."""


class TiffError(ValueError):
    """A TIFF that is not read; the text is half a sentence that says why."""


class Damaged(ValueError):
    """A TIFF whose numbers do not fit together."""


LANGUAGES = ("en", "zh")
FOLDER = Path(__file__).resolve().parents[1] / "locale"
# Under this key is what has no other: what a library or another program said.
AS_IT_IS = "text.as_it_is"
@functools.cache
def table(language: str) -> Mapping[str, str]:
    """Every text of a language by its key; read from disk once.

    Args:
        language: one of :data:`LANGUAGES`.
    """
    return json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"))


class _Formatter(string.Formatter):
    """:meth:`str.format`, in which ``{sentence!p}`` is a sentence as half a one: ``this file is empty``."""

    def convert_field(self, value: Any, conversion: str | None) -> Any:
        if conversion != "p":
            return super().convert_field(value, conversion)
        text = str(value).rstrip(".。")
        return text[:1].lower() + text[1:]


_FORMATTER = _Formatter()


class Message(str):
    """A sentence, or a word within one, that can be said in every language; as a string it is English.

    >>> note = Message("images.pages", count=3)
    >>> str(note), note.text("zh")
    ('This file has 3 pages; the first is shown.', '该文件有 3 页，显示的是第一页。')
    >>> Message.from_dict(note.to_dict()) == note
    True

    Attributes:
        key: in the tables.
        values: by their names in the text: strings, numbers and messages.
    """

    key: str
    values: dict[str, Any]

    def __new__(cls, key: str, /, **values: Any) -> Message:
        """Make a message.

        Args:
            key: of the tables.
            **values: that its text names. A message stays one, an exception stands for its reason, and so does a text; whole numbers and
                fractions are kept as such for the text's format; anything else becomes its ``str``.

        Raises:
            KeyError: there is no such key, or the text names a value that is not given.
        """
        values = {name: _value(value) for name, value in values.items()}
        self = super().__new__(cls, _FORMATTER.vformat(table("en")[key], (), values))
        self.key, self.values = key, values
        return self

    @classmethod
    def of(cls, text: object) -> Message:
        """A message as it is, an exception's, or what somebody else said, which is the same in every language."""
        found = _value(text)
        return found if isinstance(found, Message) else cls(AS_IT_IS, text=str(found))

    def text(self, language: str) -> str:
        """It in a language, its values too.

        Args:
            language: one of :data:`LANGUAGES`.
        """
        values = {name: value.text(language) if isinstance(value, Message) else value for name, value in self.values.items()}
        return _FORMATTER.vformat(table(language)[self.key], (), values)

    def changed(self, change: Callable[[str], str]) -> Message:
        """It with every text among its values changed, such as to leave out where something lies."""
        values = {name: value.changed(change) if isinstance(value, Message) else value for name, value in self.values.items()}
        return type(self)(self.key, **{name: change(value) if type(value) is str else value for name, value in values.items()})

    def to_dict(self) -> dict[str, Any]:
        """It as JSON, for another process or a later one: ``key``, ``values``, and ``text`` (English) for whoever has other tables."""
        values = {name: value.to_dict() if isinstance(value, Message) else value for name, value in self.values.items()}
        return {"key": self.key, "values": values, "text": str(self)}

    @classmethod
    def from_dict(cls, found: object) -> Message:
        """What :meth:`to_dict` gave; a plain text, and one whose key is not in today's tables, stays as it is.

        Args:
            found: from JSON. It may come from an untrusted process: texts are formatted by our tables only.
        """
        if not isinstance(found, Mapping):
            return cls.of("" if found is None else found)
        try:
            values = {str(name): cls.from_dict(value) if isinstance(value, Mapping) else value for name, value in found["values"].items()}
            return cls(found["key"], **values)
        except (KeyError, TypeError, ValueError, AttributeError):
            return cls.of(found.get("text", ""))

    def __getnewargs_ex__(self) -> tuple[tuple[str], dict[str, Any]]:
        """So that it is pickled and copied with its key and values."""
        return (self.key,), self.values


def sentences(*parts: str) -> Message:
    """Sentences behind each other as one message; English has a space between them, Chinese has none.

    >>> sentences(Message("images.empty"), Message("advice.send_image")).text("zh")
    '文件是空的。请发送图片。'

    Args:
        *parts: messages or texts; empty ones are left out.
    """
    return _joined("text.two_sentences", parts)


def lines(*parts: str) -> Message:
    """As :func:`sentences`, a line each."""
    return _joined("text.two_lines", parts)


def paragraphs(*parts: str) -> Message:
    """As :func:`sentences`, with an empty line between them."""
    return _joined("text.two_paragraphs", parts)


def listed(*parts: str) -> Message:
    """As :func:`sentences`, for a few names in a row."""
    return _joined("text.two_names", parts)


def _joined(key: str, parts: Iterable[str]) -> Message:
    given = [Message.of(part) for part in parts if part]
    return functools.reduce(lambda first, then: Message(key, first=first, then=then), given) if given else Message.of("")


def phrase(sentence: str) -> Message:
    """A sentence as half a one, for a sentence around it: ``this file is empty``."""
    return Message("text.phrase", sentence=sentence)


def messages_in(value: object) -> list[Message]:
    """All messages that nested lists and dicts hold as texts, each once.

    >>> messages_in({"notes": ["a text", Message("images.empty")], "more": (Message("images.empty"),)})
    ['This file is empty.']

    Args:
        value: JSON-able.
    """
    found: dict[str, Message] = {}
    todo = [value]
    while todo:
        held = todo.pop()
        if isinstance(held, Message):
            found.setdefault(held, held)
        elif isinstance(held, Mapping):
            todo.extend(held.values())
        elif isinstance(held, (list, tuple)):
            todo.extend(held)
    return list(found.values())


def restored(content: Any, messages: object) -> Any:
    """Content with messages again where it has their texts.

    Args:
        content: from JSON.
        messages: that :func:`messages_in` found, each as :meth:`Message.to_dict`, from JSON.
    """
    rows = [row for row in messages if isinstance(row, Mapping)] if isinstance(messages, list) else []
    known = {str(row.get("text")): Message.from_dict(row) for row in rows}

    def change(value: Any) -> Any:
        if isinstance(value, str):
            return known.get(value, value)
        if isinstance(value, dict):
            return {key: change(inner) for key, inner in value.items()}
        return [change(inner) for inner in value] if isinstance(value, list) else value

    return change(content)


def in_language(text: str, language: str) -> str:
    """A message in a language; any other text as it is."""
    return text.text(language) if isinstance(text, Message) else text


def _value(value: object) -> Any:
    """A value as a message holds it."""
    if isinstance(value, BaseException):
        value = value.args[0] if value.args and isinstance(value.args[0], Message) else str(value)
    if isinstance(value, (Message, bool)):
        return value
    if isinstance(value, numbers.Integral):
        return int(value)
    if isinstance(value, numbers.Real):
        return float(value)
    return str(value)


# Loggers whose records are looked at; of the others only traces are.
_LOGGERS = (
    "huggingface_hub", "hf_xet", "httpx2", "httpx", "httpcore2", "httpcore", "urllib3", "fsspec", "datasets", "transformers",
    "seg_demo", "train",
)  # fmt: skip
_RULES = (
    # Who logs in by an address, and what signs it; what follows a # names a chapter, unless it is a list of values.
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://)[^\s/?#@'\"<>]+@"), r"\1***@"),
    (re.compile(r"(?i)\b([a-z][a-z0-9+.-]*://[^\s?#'\"<>]*)(?:\?|#[^\s'\"<>]*=)[^\s'\"<>]*"), r"\1?***"),
    # Names of functions and packages (hf_hub_download, hf_transfer) are words in small letters.
    (re.compile(r"\bhf_(?!(?:[a-z]+_)+[a-z]+\b|transfer\b)[A-Za-z0-9_-]{8,}"), "hf_***"),
    (re.compile(r"\beyJ[\w-]{8,}\.[\w-]+(\.[\w-]*)?"), "***"),
    # Words in a sentence have no digits.
    (re.compile(r"(?i)\b(bearer|basic)\s+(?:(?=[\w.~+/-]*[\d=])[\w.~+/=-]{8,}|[\w.~+/=-]{24,})"), r"\1 ***"),
    # Of cookies there may be several.
    (re.compile(r"(?i)(\b(?:set-)?cookie(?:['\"]?\s*:\s*(?:b?['\"])?|['\"]\s*,\s*b?['\"]))(?!\s*\*\*\*)[^'\"\n]+"), r"\1***"),
    # The names of headers and parameters that carry a right, however they are written down.
    (
        re.compile(
            r"(?i)((?:authorization|x-xet-access-token|access_?token|x-amz-\w+(?:-\w+)*|signature|key-pair-id|casurl_?token)"
            r"(?:['\"]?\s*[:=]\s*(?:b?['\"])?|['\"]\s*,\s*b?['\"])(?:(?:bearer|basic|token)\s+)?)"
            r"(?!\*\*\*|hf_\*\*\*|(?:bearer|basic|token)\s)[^\s'\",;&()]+"
        ),
        r"\1***",
    ),
)

_lock = threading.Lock()


def redacted(text: str) -> str:
    """A text without what gives anybody a right: queries of addresses, logins in them, tokens, signatures.

    Args:
        text: a message, or a trace.

    >>> redacted("PUT https://s3.example/lfs/ab?X-Amz-Signature=12 failed for Bearer hf_abcdefghij")
    'PUT https://s3.example/lfs/ab?*** failed for Bearer hf_***'
    """
    for pattern, put in _RULES:
        text = pattern.sub(put, text)
    return text


def install() -> None:
    """Look at every record of this process from now on. Idempotent."""
    with _lock:
        make = logging.getLogRecordFactory()
        if getattr(make, "redacts", False):
            return

        def record(*arguments: Any, **named: Any) -> logging.LogRecord:
            made = make(*arguments, **named)
            if made.name.split(".")[0] in _LOGGERS:
                try:
                    text = made.getMessage()
                except Exception:  # a message that does not fit its arguments; its handler will complain
                    text = f"{made.msg} {made.args}"
                made.msg, made.args = redacted(text), None
            if made.exc_info and made.exc_info[0] is not None:
                # What formatters take in place of writing the trace themselves.
                made.exc_text = redacted("".join(traceback.format_exception(*made.exc_info)).rstrip("\n"))
            return made

        record.redacts = True
        logging.setLogRecordFactory(record)
