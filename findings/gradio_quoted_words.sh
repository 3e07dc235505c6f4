#!/usr/bin/env bash
# A quoted word in the script of a gr.HTML that is also the name of one of the component's own settings puts a memory address into the page
# that every visitor is sent, which is another one after each start.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
cd "$folder"
cat > page.py <<'PYTHON'
import json

import gradio


def sent(script: str) -> dict[str, object]:
    """The settings of an HTML component as the page gets them."""
    with gradio.Blocks() as demo:
        gradio.HTML("text", js_on_load=script)
    component = next(each for each in demo.get_config_file()["components"] if each["type"] == "html")
    return component["props"]


words = sent("const days = ['once', 'every', 'never'];")
plain = sent("const days = ['once', 'never'];")
print(json.dumps({"version": gradio.__version__, "plain": plain.get("every"), "quoted": str(words.get("every"))}))
PYTHON
export GRADIO_ANALYTICS_ENABLED=False
venv/bin/python page.py > first.json
venv/bin/python page.py > second.json
venv/bin/python - <<'PYTHON'
import json
import sys

first, second = (json.load(open(name)) for name in ("first.json", "second.json"))
print("gradio", first["version"])
print("  `every` without the word in quotes:", first["plain"])
print("  with it:", first["quoted"])
print("  after another start:", second["quoted"])
wrong = first["plain"] is None and " at 0x" in first["quoted"] and first["quoted"] != second["quoted"]
sys.exit(0 if wrong else 1)
PYTHON
