"""Which files of this project a thing passes on its way: every function that is called is looked at, by whichever thread.

    python -m tests.walks picture       # a picture, uploaded as a browser does, until the viewer has its result
    python -m tests.walks id            # a typed Hub id, until its network is in memory
    python -m tests.walks folder        # a training folder, until its checkpoint is a repository

prints a JSON list of paths. Hub and repositories are the stand-in's. ``python -m tests.walks write`` makes all three and writes the
lists into ``docs/ARCHITECTURE.md``.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
PACKAGES = tuple(f"{ROOT / name}{os.sep}" for name in ("seg_demo", "train", "synthetic"))

_called: set[str] = set()
_looking = False


def _look(frame: FrameType, event: str, _: object) -> None:
    if _looking and event == "call":
        code = frame.f_code
        if code.co_filename.startswith(PACKAGES) and code.co_filename not in _called and not _imports(frame):
            _called.add(code.co_filename)


def _imports(frame: FrameType | None) -> bool:
    """Whether a module is being imported further up: what it does then is no step on the way."""
    while frame is not None and "importlib" not in frame.f_code.co_filename:
        frame = frame.f_back
    return frame is not None


@contextmanager
def looking() -> Iterator[None]:
    """What is called within it counts; threads count that were started after this module was run."""
    global _looking
    _looking = True
    try:
        yield
    finally:
        _looking = False


def picture() -> None:
    """Upload, queue, network, viewer: the page's own event. The model is loaded and the first page opened before."""
    import httpx

    from seg_demo.ui.demo import build_demo, launch_arguments
    from tests.crowd import API, file_data
    from tests.served import free_port

    demo = build_demo()
    arguments = launch_arguments(demo) | {"server_name": "127.0.0.1", "server_port": free_port()}
    demo.launch(**arguments, prevent_thread_lock=True, quiet=True)
    event = next(each for each in demo.config["dependencies"] if each["api_name"] == "run_network")
    with httpx.Client(base_url=f"http://127.0.0.1:{arguments['server_port']}", timeout=240) as http:

        def segment(file: Path, session: str) -> None:
            sent = http.post(f"{API}/upload", files={"files": (file.name, file.read_bytes())}).json()[0]
            values: list[Any] = [file_data(sent), None, "unet-cells", 0.5, "whole", None]
            body = {"data": values, "fn_index": event["id"], "session_hash": session, "trigger_id": None, "event_data": None}
            http.post(f"{API}/queue/join", json=body).raise_for_status()
            with http.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as lines:
                for line in lines.iter_lines():
                    if "process_completed" in line:
                        assert json.loads(line.removeprefix("data: "))["success"], line
                        return

        examples = ROOT / "seg_demo" / "ui" / "examples"
        segment(examples / "coins.png", "before")
        with looking():
            segment(examples / "nuclei.jpg", "walk")


def id() -> None:
    """Looked up, fetched, tried in the sandbox, loaded."""
    from seg_demo.serving.predictor import Predictor
    from tests.checkpoints import write_each
    from tests.hub_stand_in import HubStandIn

    with tempfile.TemporaryDirectory() as folder, HubStandIn() as hub:
        write_each(Path(folder))
        hub.add_repo("ann/model", Path(folder) / "unet")
        predictor = Predictor()
        with looking():
            predictor.get("ann/model")


def folder() -> None:
    """``python train/finetune.py --data FOLDER --push``, two steps long."""
    import numpy as np
    from PIL import Image

    from tests.hub_stand_in import HubStandIn
    from train import finetune

    with tempfile.TemporaryDirectory() as place, HubStandIn() as hub:
        for kind in ("images", "masks"):
            (Path(place) / "data" / kind).mkdir(parents=True)
        for index in range(6):
            mask = np.zeros((48, 64), np.uint8)
            mask[10:30, 5 * index : 5 * index + 20] = 1
            noise = np.random.default_rng(index).integers(0, 60, (48, 64, 1)).astype(np.uint8)
            Image.fromarray((mask[..., None] * 160 + noise).repeat(3, axis=2)).save(f"{place}/data/images/{index}.png")
            Image.fromarray(mask).save(f"{place}/data/masks/{index}.png")
        Path(place, "data", "classes.txt").write_text("background\ndisc\n")
        hub.add_user("ann", "hf_walks")
        os.environ["HF_TOKEN"] = "hf_walks"
        words = ["--data", f"{place}/data", "--output", f"{place}/run", "--from-scratch", "--max-steps", "2", "--batch-size", "2"]
        with looking():
            assert finetune.main([*words, "--image-size", "32", "--device", "cpu", "--push"]) == 0


WALKS = {"picture": picture, "id": id, "folder": folder}
# What each is called on the page, and the most files that it may pass.
TITLES = {
    "picture": ("A picture, uploaded, until the viewer shows its result", 36),
    "id": ("A typed Hub id, until its network is in memory", 19),
    "folder": ("A training folder, until its checkpoint is a repository", 42),
}
PAGE = ROOT / "docs" / "ARCHITECTURE.md"
MARK = "<!-- walks -->"


def passed(name: str) -> list[str]:
    """The files that one walk passes, measured in a process of its own.

    Args:
        name: of :data:`WALKS`.
    """
    words = [sys.executable, "-m", "tests.walks", name]
    done = subprocess.run(words, cwd=ROOT, capture_output=True, text=True, timeout=600)
    if done.returncode:
        raise RuntimeError(done.stderr[-4000:])
    return json.loads(done.stdout.splitlines()[-1])


def shown(name: str, files: list[str]) -> str:
    """A walk as the page has it."""
    folders: dict[str, list[str]] = {}
    for file in files:
        place, _, leaf = file.rpartition("/")
        folders.setdefault(place.removeprefix("seg_demo/"), []).append(leaf.removesuffix(".py"))
    listed = "; ".join(f"**{place}** {', '.join(leaves)}" for place, leaves in folders.items())
    return f"**{TITLES[name][0]}** ({len(files)} files): {listed}."


def write() -> None:
    """Measure all walks and write them into the page."""
    text = PAGE.read_text(encoding="utf-8").split(MARK)[0]
    PAGE.write_text(text + MARK + "\n\n" + "\n\n".join(shown(name, passed(name)) for name in WALKS) + "\n", encoding="utf-8")


def main() -> None:
    """One walk, in a process of its own: what other tests have cached would shorten it."""
    if sys.argv[1:] == ["write"]:
        return write()
    import tests.conftest  # noqa: F401  (the stand-in's address, and caches of its own)

    with tempfile.TemporaryDirectory() as own:
        os.environ.update(GRADIO_TEMP_DIR=own, SEG_DEMO_DATA=f"{own}/datasets", SEG_DEMO_JOBS=f"{own}/jobs")
        threading.setprofile(_look)
        sys.setprofile(_look)
        WALKS[sys.argv[1]]()
        sys.setprofile(None)
        print(json.dumps(sorted(str(Path(name).relative_to(ROOT)) for name in _called)), flush=True)
    os._exit(0)  # the page's threads do not end by themselves


if __name__ == "__main__":
    main()
