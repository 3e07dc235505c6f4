"""How soon the page answers, against a demo that imports everything and loads a model before it serves."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
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


def until_first_page(command: list[str]) -> None:
    """Start a server and return when its first page has been answered; the server is stopped."""
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
                            return
                except (urllib.error.URLError, OSError):
                    time.sleep(0.02)
            raise RuntimeError(f"the server of {command} ended with exit code {process.returncode}")
        finally:
            process.kill()
            process.wait()


def rows(quick: bool) -> list[Row]:
    """The row of this file.

    Args:
        quick: fewer repeats.
    """
    return [
        compare(
            "first page",
            "everything imported, U-Net loaded",
            lambda: until_first_page([str(Path(ROOT) / "app.py")]),
            lambda: until_first_page(["-c", EAGER]),
            "the same page",
            repeats=2 if quick else 5,
            memory=False,
        )
    ]
