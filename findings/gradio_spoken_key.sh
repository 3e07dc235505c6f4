#!/usr/bin/env bash
# gradio's page tells screen readers the end of a run by a text that none of its languages has, so that they read out its key.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import re
import sys
from pathlib import Path

import gradio

print("gradio", gradio.__version__)
scripts = [path.read_text(encoding="utf-8") for path in (Path(gradio.__file__).parent / "templates/frontend/assets").glob("*.js")]
asked = sum("i18n(`common.complete`)" in each for each in scripts)
# A language's table of common words, whatever its language: they all have "loading".
tables = [found for each in scripts for found in re.findall(r"\{[^{}]*?\bloading:`[^{}]*\}", each) if "submit:`" in found or "clear:`" in found]
having = sum(bool(re.search(r"[{,]complete:`", each)) for each in tables)
print(f"  scripts that say common.complete: {asked}; tables of common words: {len(tables)}, with an entry for it: {having}")
sys.exit(0 if asked and tables and not having else 1)
PYTHON
