"""The demo as people run it: ``python app.py`` in a process of its own, on loopback."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
START_SECONDS = 240
# The demo with a clock in its event loop, which writes into the file ``CLOCKED``.
CLOCKED = ("-m", "tests.clocked_app")


def free_port() -> int:
    """A port on which nobody listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def served(keep: Path | None = None, command: Sequence[str] = ("app.py",), **environ: str) -> Iterator[str]:
    """Run the demo and yield its address; its log is shown if it does not start.

    Args:
        keep: file that gets what the demo wrote on its standard output and error, once it has ended.
        command: Python's arguments; by default the demo as people run it.
        environ: further environment variables.
    """
    port = int(environ.get("GRADIO_SERVER_PORT") or free_port())
    address = f"http://127.0.0.1:{port}"
    with tempfile.TemporaryDirectory(prefix="seg-demo-served-") as folder, open(Path(folder, "log.txt"), "w+") as log:
        own = {"GRADIO_SERVER_NAME": "127.0.0.1", "GRADIO_SERVER_PORT": str(port), "GRADIO_TEMP_DIR": folder}
        own |= {"SEG_DEMO_DATA": f"{folder}/datasets", "SEG_DEMO_JOBS": f"{folder}/jobs", **environ}
        process = subprocess.Popen(
            [sys.executable, *command], cwd=ROOT, env=os.environ | own, stdout=log, stderr=subprocess.STDOUT
        )
        try:
            until = time.monotonic() + START_SECONDS
            while not _answers(address):
                if process.poll() is not None or time.monotonic() > until:
                    log.seek(0)
                    raise RuntimeError(f"The demo did not start within {START_SECONDS} s:\n{log.read()[-4000:]}")
                time.sleep(0.2)
            yield address
        finally:
            process.terminate()
            try:
                process.wait(10)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
            if keep is not None:
                log.seek(0)
                keep.write_text(log.read())


def _answers(address: str) -> bool:
    try:
        with urllib.request.urlopen(address, timeout=5) as answer:
            return answer.status == 200
    except (urllib.error.URLError, OSError):
        return False
