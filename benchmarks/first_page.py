"""How soon the page answers, against a demo that imports everything and loads a model before it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from dataclasses import replace
from pathlib import Path

from benchmarks.measure import Row, compare
from tests.served import ROOT, free_port

EAGER = """
import os
import gradio, torch, torchvision, transformers, timm, segmentation_models_pytorch, skimage.segmentation
from seg_demo import load_model
from seg_demo.ui.demo import build_demo, launch_arguments
load_model("unet-cells")
build_demo().launch(**launch_arguments())
"""


def until_first_page(command: list[str]) -> int:
    """Start a server; memory in bytes that it has when its first page has been answered. It is stopped."""
    port = free_port()
    with tempfile.TemporaryDirectory() as folder:
        own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
        own["PYTHONPATH"] = str(ROOT)
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=os.environ | own, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while process.poll() is None:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}", timeout=5) as answer:
                        if answer.status == 200:
                            return memory_of(process.pid)
                except (urllib.error.URLError, OSError):
                    time.sleep(0.02)
            raise RuntimeError(f"the server of {command} ended with exit code {process.returncode}")
        finally:
            process.kill()
            process.wait()


def memory_of(pid: int) -> int:
    """Memory of a process that is in RAM, in bytes, from ``/proc``."""
    with open(f"/proc/{pid}/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def rows(quick: bool) -> list[Row]:
    """The row of this file. Its memory is that of the whole server at that moment.

    Args:
        quick: fewer repeats.
    """
    memory: dict[str, int] = {}

    def ours() -> None:
        memory["ours"] = until_first_page([str(Path(ROOT) / "app.py")])

    def theirs() -> None:
        memory["theirs"] = until_first_page(["-c", EAGER])

    row = compare(
        "first page", "everything imported, U-Net loaded", ours, theirs, lambda mine, other: "the same page",
        targets=(0.45, 0.30), repeats=2 if quick else 5, memory=False, processor=False,
    )  # fmt: skip
    return [replace(row, our_bytes=memory["ours"], their_bytes=memory["theirs"])]
