#!/usr/bin/env bash
# OpenVINO's cache of compiled models (CACHE_DIR) does not write a file aside and rename it: the blob grows under its final name, for everybody to
# see. Files of the cache are mapped into memory by whoever reads them: of processes that compiled the same model at the same time, two of forty
# died of a bus error in their first inference. Whoever starts several processes with one model has to let them compile one after the other.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet --disable-pip-version-check openvino==2026.4.1 numpy==2.4.6
cd "$folder"
cat > watch.py <<'PYTHON'
"""Notes every size and file number under which the blob of a cache is seen, until it is told to stop."""
import os
import sys
from pathlib import Path

seen, cache, stop = [], Path(sys.argv[1]), Path("stop")
print("ready", flush=True)
while not stop.exists():
    for blob in cache.glob("*.blob"):
        try:
            found = blob.stat()
        except OSError:
            continue
        if not seen or seen[-1] != (found.st_ino, found.st_size):
            seen.append((found.st_ino, found.st_size))
final = seen[-1]
print(len({size for _, size in seen if size < final[1]}), len({number for number, _ in seen}), flush=True)
PYTHON
cat > compile.py <<'PYTHON'
"""Compiles a model with 160 MB of weights, as soon as it is told to."""
import sys
from importlib.metadata import version

import numpy as np
import openvino
from openvino import opset13 as ops

x = ops.parameter([1, 2048], np.float32)
y = x
for number in range(10):
    weights = np.random.default_rng(number).random((2048, 2048), dtype=np.float32) - 0.5
    y = ops.relu(ops.matmul(y, ops.constant(weights), False, True))
model, core = openvino.Model([y], [x], "one"), openvino.Core()
print("openvino", version("openvino"), flush=True)
sys.stdin.readline()
core.compile_model(model, "CPU", {"CACHE_DIR": "cache", "INFERENCE_PRECISION_HINT": "f32"})
PYTHON
venv/bin/python - <<'PYTHON'
import subprocess
import sys
from pathlib import Path

Path("cache").mkdir()
run = lambda name: subprocess.Popen([sys.executable, name, "cache"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
watcher, compiler = run("watch.py"), run("compile.py")
assert watcher.stdout.readline() == "ready\n"
print(compiler.stdout.readline().strip())
compiler.communicate("go\n")
Path("stop").touch()
partial, files = map(int, watcher.communicate()[0].split())
left = [path.name for path in Path("cache").iterdir()]
print(f"seen under the final name: {partial} sizes of a file that was not finished; numbers of files: {files}; left in the cache: {len(left)}")
sys.exit(0 if compiler.returncode == 0 and partial >= 3 and files == 1 and len(left) == 1 else 1)
PYTHON
