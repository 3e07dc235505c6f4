"""The examples in the docstrings of the training package are true."""

from __future__ import annotations

import doctest
import importlib
from pathlib import Path

import numpy as np
import pytest

import train

ROOT = Path(train.__file__).parent
WITH_EXAMPLES = sorted(path for path in ROOT.rglob("*.py") if ">>>" in path.read_text(encoding="utf-8"))


@pytest.mark.parametrize("path", WITH_EXAMPLES, ids=lambda path: path.stem)
def test_docstring_examples(path):
    name = ".".join(("train", *path.relative_to(ROOT).with_suffix("").parts))
    outcome = doctest.testmod(importlib.import_module(name), extraglobs={"np": np})
    assert outcome.attempted and not outcome.failed
