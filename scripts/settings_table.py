"""Writes the table of settings in docs/HOSTING.md anew: ``python scripts/settings_table.py``."""

from __future__ import annotations

import re
import sys
from dataclasses import fields
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from seg_demo.core.settings import PREFIX, Settings  # noqa: E402

DOCUMENT = ROOT / "docs" / "HOSTING.md"
BEGIN, END = "<!-- settings: written by scripts/settings_table.py -->", "<!-- end of settings -->"


def meanings() -> dict[str, str]:
    """What each setting is, from the docstring of ``Settings``, by its name."""
    entries = re.findall(r"^        (\w+): (.+?)(?=^        \w+: |\Z)", Settings.__doc__ or "", re.MULTILINE | re.DOTALL)
    return {name: " ".join(text.split()).replace("``", "`") for name, text in entries}


def table() -> str:
    """The table in Markdown, one row per setting."""
    told = meanings()
    rows = ["| variable | default | meaning |", "|---|---|---|"]
    for row in fields(Settings):
        default = str(row.default).lower() if isinstance(row.default, bool) else str(row.default)
        rows.append(f"| `{PREFIX}{row.name.upper()}` | {f'`{default}`' if default else ''} | {told[row.name]} |")
    return "\n".join(rows)


def written(document: str) -> str:
    """A document with the table as it is now between its two marks."""
    before, rest = document.split(BEGIN)
    return f"{before}{BEGIN}\n{table()}\n{END}{rest.split(END)[1]}"


if __name__ == "__main__":
    DOCUMENT.write_text(written(DOCUMENT.read_text(encoding="utf-8")), encoding="utf-8")
