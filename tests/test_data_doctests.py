"""The examples in the docstrings of the data modules are true."""

from __future__ import annotations

import doctest
import importlib

import pytest


@pytest.mark.parametrize("name", ["classes", "histogram", "listing"])
def test_docstring_examples(name):
    outcome = doctest.testmod(importlib.import_module(f"train.data.{name}"))
    assert outcome.attempted and not outcome.failed
