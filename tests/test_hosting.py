"""docs/HOSTING.md is in step with the code."""

from __future__ import annotations

import runpy
from dataclasses import fields

from seg_demo.core.settings import PREFIX, Settings
from tests.served import ROOT


def test_the_table_of_settings_is_what_the_code_says():
    script = runpy.run_path(str(ROOT / "scripts/settings_table.py"))
    document = script["DOCUMENT"].read_text(encoding="utf-8")
    assert script["written"](document) == document, "run python scripts/settings_table.py"
    for row in fields(Settings):
        assert f"| `{PREFIX}{row.name.upper()}` |" in document
