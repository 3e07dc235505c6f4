"""The examples in the docstrings are true."""

from __future__ import annotations

import doctest
import importlib

import numpy as np
import pytest

from tests.served import ROOT

FILES = sorted(path for top in ("seg_demo", "train", "synthetic") for path in (ROOT / top).rglob("*.py"))
WITH_EXAMPLES = [path.relative_to(ROOT) for path in FILES if ">>>" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=str)
def test_docstring_examples(path):
    module = importlib.import_module(".".join(path.with_suffix("").parts))
    outcome = doctest.testmod(module, extraglobs={"np": np})
    assert outcome.attempted and not outcome.failed
