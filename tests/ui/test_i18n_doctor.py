"""What the doctor finds, in Chinese: every finding about every broken dataset that there is."""

from __future__ import annotations

import html
import json
import re

import pytest

from seg_demo.core.errors import Message, messages_in, restored
from seg_demo.ui import finetune_view
from tests.broken_datasets import BROKEN
from tests.train.data.test_doctor import look

# Names of files, formats, settings and classes are the same in every language, and so is what a file itself says.
NAMES = re.compile(
    r"[\w./*-]+[./][\w./*-]*|'[^']*'|\{.*\}|--[a-z-]+|[A-Z]{2,}[A-Z_]*|SEG_\w+|image,mask|\b(?:background|labels|instances|masks?|train|val|test)\b"
)


@pytest.mark.parametrize("name", sorted(name for name, case in BROKEN.items() if case.kind is not None))
def test_every_finding_about_a_broken_dataset_is_said_in_chinese(name, tmp_path):
    _, found = look(BROKEN[name].build(tmp_path))
    for each in (*found.faults, *found.notes):
        for phrase in (each.what, each.remedy):
            said = phrase.text("zh")
            assert re.search("[\u4e00-\u9fff]", said), phrase
            if "无法解码" not in said:  # why is the library's own words
                assert not re.search(r"[A-Za-z]{3,} [A-Za-z]{2,}", NAMES.sub("", said)), said
            for number in re.findall(r"\d+", phrase):
                assert number in said, (phrase, said)
            assert Message.from_dict(phrase.to_dict()).text("zh") == said
    diagnosis = found.to_dict()
    messages = [message.to_dict() for message in messages_in(diagnosis)]
    answer = json.loads(json.dumps({"diagnosis": diagnosis, "problems": found.report(), "messages": messages}))
    answer = restored(answer, answer["messages"])
    shown = finetune_view.findings(answer, "zh")
    assert "个问题使其无法开始" in shown and "</i></li>" in shown
    for each in found.faults[: finetune_view.SHOWN_FAULTS]:
        assert html.escape(each.remedy.text("zh")) in shown and html.escape(each.remedy) in finetune_view.findings(answer, "en")


def test_what_is_not_known_stays_as_it_is():
    """Such as what an earlier version wrote into a job."""
    fault = {"file": "a.png", "what": "is of a kind that nobody foresaw", "remedy": "wait", "choices": []}
    assert "is of a kind that nobody foresaw" in finetune_view.findings({"diagnosis": {"faults": [fault]}, "problems": "x"}, "zh")
