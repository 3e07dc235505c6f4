"""The two tables of sentences, and what carries them: the same keys with the same values, all of them used, in every language."""

from __future__ import annotations

import ast
import json
import pickle
import re
import string
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest

from seg_demo.core import errors
from seg_demo.core.errors import FOLDER, LANGUAGES, BadImageError, BadRequestError, Message, SegDemoError, sentences, table
from seg_demo.inputs.images import decode
from seg_demo.masks.regions import METHODS
from tests.served import ROOT

KEY = re.compile(r"[a-z_]+\.[a-z0-9_]+")
CHINESE = re.compile("[\u4e00-\u9fff]")
# Calls whose first argument is a key.
RAISED = re.compile(r"\w*(?:Error|Message|Sentence)$")
# Those that take nothing else: a text in place of a key is caught as well.
OURS = {"Message", "ConfigError", *(name for name, kind in vars(errors).items() if isinstance(kind, type) and issubclass(kind, SegDemoError))}


def values_of(text: str) -> list[tuple[str, str, str | None]]:
    """The values that a text names: each with its format and conversion, in an order of their own."""
    return sorted((name, spec or "", conversion or "") for _, name, spec, conversion in string.Formatter().parse(text) if name is not None)


@cache
def trees() -> dict[Path, ast.Module]:
    paths = [*(ROOT / "seg_demo").rglob("*.py"), *(ROOT / "train").rglob("*.py"), ROOT / "app.py"]
    return {path: ast.parse(path.read_text(encoding="utf-8")) for path in paths}


def made() -> Iterator[tuple[str, str, set[str] | None]]:
    """Where a key is written in a call: the place, the key, the names that are given (None: not to be told)."""
    for path, tree in trees().items():
        for call in (node for node in ast.walk(tree) if isinstance(node, ast.Call) and node.args):
            name = call.func.id if isinstance(call.func, ast.Name) else call.func.attr if isinstance(call.func, ast.Attribute) else ""
            first = call.args[0]
            if not (isinstance(first, ast.Constant) and isinstance(first.value, str)):
                continue
            if RAISED.match(name) and KEY.fullmatch(first.value) or name in OURS:
                names = {keyword.arg for keyword in call.keywords}
                yield f"{path.relative_to(ROOT)}:{call.lineno}", first.value, None if None in names else names


def test_both_tables_have_the_same_keys_with_the_same_values():
    for language in LANGUAGES:
        pairs = json.loads((FOLDER / f"{language}.json").read_text(encoding="utf-8"), object_pairs_hook=list)
        keys = [key for key, _ in pairs]
        assert keys == sorted(set(keys)), "in the order of the alphabet, and none twice"
    english, chinese = (table(language) for language in LANGUAGES)
    assert english.keys() == chinese.keys()
    for key, text in english.items():
        assert KEY.fullmatch(key), key
        assert values_of(text) == values_of(chinese[key]), key


def test_what_is_written_is_in_the_tables_and_gives_the_values_that_they_name():
    english = table("en")
    for where, key, names in made():
        assert key in english, (where, key)
        if names is not None:
            assert names == {name for name, *_ in values_of(english[key])}, (where, key)


def test_every_key_is_used():
    written, patterns = set(), []
    for tree in trees().values():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                written.add(node.value)
            elif isinstance(node, ast.JoinedStr):
                parts = [re.escape(part.value) if isinstance(part, ast.Constant) else r"\w+" for part in node.values]
                if sum(map(str.isalpha, "".join(part.value for part in node.values if isinstance(part, ast.Constant)))) >= 3:
                    patterns.append(re.compile("".join(parts)))

    sliders = {f"{method}_{parameter.name}" for method, row in METHODS.items() for parameter in row.parameters}
    written |= sliders | {f"{slider}_help" for slider in sliders}

    def used(key: str) -> bool:
        # The page's words are asked for by what follows "page.".
        names = {key, key.removeprefix("page.")}
        return bool(names & written) or any(pattern.fullmatch(name) for pattern in patterns for name in names)

    unused = [key for key in table("en") if not used(key)]
    assert not unused


def test_no_sentence_is_english_in_chinese():
    for key, text in table("zh").items():
        plain = re.sub(r"\{[^}]*\}|`[^`]*`|'[^']*'|https?://\S+|pip install \S+", "", text)
        assert not re.search(r"\b[a-z]+ [a-z]+ [a-z]+\b", plain), key
        if key not in ("text.as_it_is", "text.two_sentences") and re.search(r"[a-z]+ [a-z]+", table("en")[key]):
            assert CHINESE.search(text), key


def test_an_error_speaks_english_and_can_speak_chinese():
    with pytest.raises(BadImageError) as caught:
        decode(b"%PDF-1.7")
    message = caught.value.message
    assert str(caught.value).startswith("This is a PDF document, which cannot be opened as a picture. Accepted are JPEG, PNG")
    assert message.text("zh").startswith("这是 PDF 文档，无法作为图片打开。可接受 JPEG、PNG")
    assert message.text("en") == str(caught.value) == message


@pytest.mark.parametrize("kind", [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, SegDemoError)])
def test_errors_travel_between_processes(kind):
    inner = Message("images.damaged", kind=Message("kinds.png"), reason=ValueError(Message("damage.checksum")))
    error = kind("images.refused", what=inner, limits="none", advice=OSError("it is lost"))
    back = pickle.loads(pickle.dumps(error))
    assert type(back) is kind and str(back) == str(error) and back.message.values == error.message.values
    assert back.message.text("zh") == error.message.text("zh") == "这个 PNG 文件已损坏（内部校验和错误）。可接受 none。it is lost"
    again = Message.from_dict(json.loads(json.dumps(error.message.to_dict())))
    assert (again, again.text("zh")) == (error.message, error.message.text("zh"))


def test_numbers_keep_their_kind():
    note = Message("images.pages", count=np.int64(12_345))
    assert str(note) == "This file has 12,345 pages; the first is shown." and json.dumps(note.to_dict())


def test_what_another_build_wrote_is_read_as_it_is():
    for found in ("An older build's sentence.", {"key": "gone.away", "values": {}, "text": "An older build's sentence."},
                  {"key": "images.pages", "values": {"count": "many"}, "text": "An older build's sentence."}):  # fmt: skip
        assert Message.from_dict(found).text("zh") == "An older build's sentence."


def test_a_value_is_never_taken_for_a_text():
    said = BadRequestError("archives.unreadable", name="{why.__class__}", why="{0}").message
    assert "{why.__class__}" in said and "{why.__class__}" in said.text("zh")


def test_sentences_behind_each_other():
    both = sentences(Message("images.empty"), "", Message("advice.send_image"))
    assert (both, both.text("zh")) == ("This file is empty. Send an image.", "文件是空的。请发送图片。")


def test_a_key_that_is_not_there_is_our_own_mistake():
    with pytest.raises(KeyError):
        Message("images.nothing_of_the_kind")
    with pytest.raises(KeyError):
        Message("images.pages")


def test_a_mistyped_key_is_a_fault_and_no_sentence() -> None:
    """An error whose key is in no table would be English alone for everybody; what another program said is marked as such."""
    with pytest.raises(KeyError):
        SegDemoError("images.emtpy")
    assert str(SegDemoError(Message.of("its own words"))) == "its own words"
