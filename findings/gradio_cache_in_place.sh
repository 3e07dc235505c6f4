#!/usr/bin/env bash
# gradio's save_bytes_to_cache names a file after its content and writes it anew in place all the same: whoever has the file of an
# equal earlier answer open finds it emptied. save_file_to_cache beside it writes once.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check gradio==6.31.0
cd "$folder"
venv/bin/python - <<'PYTHON'
import os
import sys
from pathlib import Path

import gradio
from gradio import processing_utils

print("gradio", gradio.__version__)
data = bytes(range(256)) * 400
path = processing_utils.save_bytes_to_cache(data, "mask.png", "cache")
before = os.stat(path).st_mtime_ns
truncated = []


def watch(event, arguments):
    """Note the size of the file at the moment when it has been opened for writing."""
    if event == "open" and os.path.realpath(str(arguments[0])) == path and "w" in str(arguments[1]):
        truncated.append(path)


sys.addaudithook(watch)
again = processing_utils.save_bytes_to_cache(data, "mask.png", "cache")
written_anew = again == path and bool(truncated) and os.stat(path).st_mtime_ns != before
print("  save_bytes_to_cache, equal content: the same path", again == path, "- opened for writing again:", bool(truncated))
Path("source.png").write_bytes(data)
copy = processing_utils.save_file_to_cache("source.png", "cache")
inode = os.stat(copy).st_ino
once = processing_utils.save_file_to_cache("source.png", "cache") == copy and os.stat(copy).st_ino == inode
print("  save_file_to_cache, equal content: kept as it is:", once)
sys.exit(0 if written_anew and once else 1)
PYTHON
