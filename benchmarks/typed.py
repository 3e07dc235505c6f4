"""The first request of a checkpoint that a visitor typed: looked up, downloaded, tried in the sandbox, loaded, answered.

Against plain transformers, ``from_pretrained`` and a pipeline, with its libraries imported before. Both download from the Hub
stand-in, which runs in a process of its own; every request is for another repository with other bytes, so that nothing is
cached. The project is as the demo is once it has loaded its own models: in the first row the sandbox's helper waits, in the
second it has yet to be started.

``python -m benchmarks.typed REPEATS`` measures in a process of its own, whose Hub is the stand-in, and prints JSON; a word ``small`` after it takes a tiny network.
"""

from __future__ import annotations

import json
import os
import statistics
import struct
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from benchmarks.measure import Row

WORK = "first request of a typed checkpoint, SegFormer-B2, 110 MB"
PEER = "`from_pretrained` + pipeline"
TARGET = 1.3
_ROOT = Path(__file__).resolve().parents[1]


def rows(quick: bool, small: bool = False) -> list[Row]:
    """The rows of this file. What is told of memory is the helper's while it waits.

    Args:
        quick: fewer repeats.
        small: a network of a few thousand parameters, to see that it runs.
    """
    repeats = 1 if small else 2 if quick else 5
    with tempfile.TemporaryDirectory() as home:
        environ = {key: value for key, value in os.environ.items() if key not in ("HF_HUB_OFFLINE", "HF_TOKEN")}
        environ |= {"HF_ENDPOINT": f"http://127.0.0.1:{_free_port()}", "HF_HOME": home, "HF_HUB_DISABLE_XET": "1"}
        environ |= {"HF_HUB_DISABLE_TELEMETRY": "1", "HF_HUB_DISABLE_PROGRESS_BARS": "1"}
        words = [sys.executable, "-m", "benchmarks.typed", str(repeats), *(["small"] if small else [])]
        done = subprocess.run(words, cwd=_ROOT, env=environ, stdout=subprocess.PIPE, text=True, check=True)
    found = json.loads(done.stdout.splitlines()[-1])
    waits = f"the helper waits in {found['rss'] / 1e6:.0f} MB (RSS), {found['pss'] / 1e6:.0f} MB (PSS)"
    day = time.strftime("%Y-%m-%d")
    result = f"{found['same']:.4%} of the labels equal; {waits}"
    warm = Row(WORK, PEER, found["warm"], found["plain"], None, None, None, None, result, TARGET, None, repeats, day)
    said = f"{found['same']:.4%} of the labels equal"
    cold = Row(
        f"{WORK}, nothing started", PEER, found["cold"], found["plain"], None, None, None, None, said, None, None, repeats, day
    )
    return [warm, cold]


def measure(repeats: int) -> dict[str, float]:
    """Medians in seconds of ``warm``, ``cold`` and ``plain``, run in turn; the helper's ``rss`` and ``pss`` in bytes while it
    waits; and ``same``, the least share of labels that are the pipeline's."""
    import numpy as np
    from PIL import Image
    from transformers import AutoImageProcessor, AutoModelForSemanticSegmentation, pipeline

    from benchmarks.subjects import photo
    from seg_demo.inference import openvino
    from seg_demo.hub import untrusted
    from seg_demo.serving.predictor import Predictor

    image = photo(480, 640)
    picture = Image.fromarray(image)
    predictor = Predictor()
    for own in ("unet-cells", "segformer-cells"):
        predictor.segment(image, own)
    times: dict[str, list[float]] = {"warm": [], "cold": [], "plain": []}
    memory, same, number = {"rss": 0.0, "pss": 0.0}, 1.0, 0

    def timed(kind: str, call: Callable[[str], Any]) -> Any:
        nonlocal number
        openvino.drain_compiling(600)  # what is compiled after an answer is no part of another
        number += 1
        began = time.perf_counter()
        answer = call(f"ann/model-{number - 1}")
        times[kind].append(time.perf_counter() - began)
        return answer

    def plain(id: str) -> Any:
        model, processor = AutoModelForSemanticSegmentation.from_pretrained(id), AutoImageProcessor.from_pretrained(id)
        found = np.zeros(image.shape[:2], np.int64)
        for part in pipeline("image-segmentation", model=model, image_processor=processor)(picture):
            found[np.asarray(part["mask"]) > 0] = model.config.label2id[part["label"]]
        return found

    for _ in range(repeats + 1):
        _until_it_waits(untrusted)
        memory |= _memory(untrusted._sandbox._process.pid)
        ours = timed("warm", lambda id: predictor.segment(image, id).id_map)
        theirs = timed("plain", plain)
        untrusted.close()
        timed("cold", lambda id: predictor.segment(image, id))
        same = min(same, float((ours == theirs).mean()))
    # The first of each finds libraries that nothing has touched yet.
    return {**{kind: statistics.median(each[1:]) for kind, each in times.items()}, **memory, "same": same}


def _until_it_waits(quarantine: Any) -> None:
    """Until the helper has nothing to do and nothing but itself in memory."""
    import psutil

    quarantine.warm()
    helper = psutil.Process(quarantine._sandbox._process.pid)
    before = -1.0
    while helper.children() or (now := helper.cpu_times().user + helper.cpu_times().system) > before:
        before = -1.0 if helper.children() else now
        time.sleep(1.0)


def _memory(pid: int) -> dict[str, float]:
    lines = [line.split() for line in Path(f"/proc/{pid}/smaps_rollup").read_text(encoding="ascii").splitlines()]
    found = {line[0]: int(line[1]) * 1024 for line in lines if len(line) == 3}
    return {"rss": found["Rss:"], "pss": found["Pss:"]}


def _free_port() -> int:
    from tests.served import free_port

    return free_port()


def _checkpoint(folder: Path, small: bool) -> None:
    """A SegFormer-B2 of 150 classes with random weights, or a small one."""
    import torch
    from transformers import SegformerConfig, SegformerForSemanticSegmentation, SegformerImageProcessor

    torch.manual_seed(0)
    shape = {"depths": [3, 4, 6, 3], "hidden_sizes": [64, 128, 320, 512], "decoder_hidden_size": 768}
    if small:
        shape = {"depths": [1] * 4, "hidden_sizes": [4, 8, 12, 16], "num_attention_heads": [1] * 4, "decoder_hidden_size": 8}
    config = SegformerConfig(**shape, num_labels=150)
    SegformerForSemanticSegmentation(config).save_pretrained(folder)
    SegformerImageProcessor().save_pretrained(folder)


def _serve(port: int, count: int, small: bool) -> None:
    """The stand-in with so many repositories, which differ in a word of the weights' header."""
    from tests.hub_stand_in import HubStandIn

    with tempfile.TemporaryDirectory() as folder:
        _checkpoint(Path(folder), small)
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    weights = files["model.safetensors"]
    (size,) = struct.unpack("<Q", weights[:8])
    header = json.loads(weights[8 : 8 + size])
    with HubStandIn(port) as hub:
        for number in range(count):
            text = json.dumps({**header, "__metadata__": {"format": "pt", "number": str(number)}}).encode()
            text += b" " * (-len(text) % 8)
            hub.add_repo(
                f"ann/model-{number}",
                {**files, "model.safetensors": struct.pack("<Q", len(text)) + text + weights[8 + size :]},
            )
        print("serving", flush=True)
        threading.Event().wait()


def main(arguments: list[str]) -> None:
    """Measure, or serve for whoever measures."""
    if arguments[0] == "serve":
        _serve(int(arguments[1]), int(arguments[2]), arguments[3:] == ["small"])
        return
    repeats = int(arguments[0])
    port = os.environ["HF_ENDPOINT"].rsplit(":", 1)[1]
    words = [sys.executable, "-m", "benchmarks.typed", "serve", port, str(3 * (repeats + 1)), *arguments[1:]]
    server = subprocess.Popen(words, cwd=_ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None and server.stdout.readline() == "serving\n"
        print(json.dumps(measure(repeats)))
    finally:
        server.kill()
        server.wait()


if __name__ == "__main__":
    main(sys.argv[1:])
