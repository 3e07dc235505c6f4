"""Sentences for people, each under a key with named values, in English and Chinese.

The sentences are two tables, ``locale/en.json`` and ``locale/zh.json``, from key to text. A text may name values as
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
"""

from __future__ import annotations

import functools
import json
import numbers
import string
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

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
    rows = [each for each in messages if isinstance(each, Mapping)] if isinstance(messages, list) else []
    known = {str(row.get("text")): Message.from_dict(row) for row in rows}

    def change(value: Any) -> Any:
        if isinstance(value, str):
            return known.get(value, value)
        if isinstance(value, dict):
            return {key: change(each) for key, each in value.items()}
        return [change(each) for each in value] if isinstance(value, list) else value

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
