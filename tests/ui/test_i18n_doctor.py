"""What the doctor finds, in Chinese: every finding about every broken dataset that there is."""

from __future__ import annotations

import re

import pytest

from seg_demo.ui import finetune_view
from seg_demo.ui.i18n_doctor import finding
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
            said = finding(phrase, "zh")
            assert re.search("[\u4e00-\u9fff]", said), phrase
            if "无法解码" not in said:  # why is the library's own words
                assert not re.search(r"[A-Za-z]{3,} [A-Za-z]{2,}", NAMES.sub("", said)), said
            for number in re.findall(r"\d+", phrase):
                assert number in said, (phrase, said)
            assert finding(phrase, "en") == phrase
    shown = finetune_view.findings({"diagnosis": found.to_dict(), "problems": found.report()}, "zh")
    assert "个问题使其无法开始" in shown and "</i></li>" in shown


def test_what_is_not_known_stays_as_it_is():
    assert finding("is of a kind that nobody foresaw", "zh") == "is of a kind that nobody foresaw"
