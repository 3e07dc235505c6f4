"""The whole loop against a Hub on loopback: segment → correct → fine-tune → better on the hold-out → push → pick → use.

The server is killed in the middle of the job and started again, as it would be by an update; the job goes on.
"""

from __future__ import annotations

import re
import secrets
import time
from pathlib import Path

import numpy as np
import pytest
from gradio_client import Client, handle_file
from PIL import Image
from sklearn.metrics import jaccard_score

from seg_demo.core.settings import settings
from seg_demo.datasets.store import Store, visitor_store
from seg_demo.gateway.visitor import KEY_HEADER
from tests.served import served

TOKEN = "hf_ann_secret_4711"
WAIT = 900


def tiles(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Textured squares on a mottled ground, which the bundled networks do not take for cells; and their mask."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((96, 128), np.uint8)
    for _ in range(6):
        row, column, side = int(rng.integers(4, 70)), int(rng.integers(4, 100)), int(rng.integers(12, 22))
        mask[row : row + side, column : column + side] = 1
    rows, columns = np.mgrid[:96, :128]
    weave = 70 * (((rows // 2) + (columns // 2)) % 2)
    ground = 110 + 25 * np.sin(rows / 9 + seed) * np.cos(columns / 11)
    image = np.where(mask, 90 + weave, ground)[..., None] + rng.normal(0, 6, (96, 128, 3))
    return image.clip(0, 255).astype(np.uint8), mask


def connect(address: str, visitor: str) -> Client:
    return Client(address, verbose=False, headers={KEY_HEADER: visitor}, httpx_kwargs={"timeout": 600})


def segment(client: Client, picture: Path, model: str) -> tuple[dict, np.ndarray]:
    result, mask, _ = client.predict(image=handle_file(str(picture)), model=model, api_name="/segment")
    return result, np.asarray(Image.open(mask))


def status(client: Client, visitor: str, job: str) -> tuple[str, str]:
    """State of a job, and the page's verdict on it."""
    shown = client.predict(visitor, job, api_name="/finetune_watch")
    return re.search(r'data-state="(\w+)"', shown[0])[1], shown[2]


@pytest.mark.soak
def test_the_loop(hub, tmp_path, monkeypatch):
    hub.add_user("ann", TOKEN)
    visitor = secrets.token_urlsafe(32)
    environ = {"SEG_DEMO_DATA": str(tmp_path / "data"), "SEG_DEMO_JOBS": str(tmp_path / "jobs"), "SEG_DEMO_DEVICE": "cpu"}
    for name, value in environ.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    picture = tmp_path / "new.png"
    image, truth = tiles(100)
    Image.fromarray(image).save(picture)

    with served(**environ) as address:
        client = connect(address, visitor)
        result, before = segment(client, picture, "unet-cells")
        labels = ["background", "cell", "border"]
        assert {each["label"] for each in result["segments"]} <= set(labels)
        # What the Correct tab saves when the masks have been painted over.
        dataset: Store = visitor_store(visitor).create("Woven tiles", labels, "semantic")
        for seed in range(6):
            dataset.add(*tiles(seed), name=f"tile {seed}")
        chosen = (visitor, "", "unet-cells", dataset.key, None, 120, "light", 0, 64, 4, 0.34, 0.1)
        said, draft, *_ = client.predict(chosen[0], *chosen[2:], api_name="/finetune_check")
        assert "border" in said and "never occurs" in said
        said, draft, *_ = client.predict(visitor, draft, api_name="/finetune_skip")
        assert "4 images to train on, 2 held out" in said and "built-in ones" in said
        *_, picker = client.predict(chosen[0], draft, *chosen[2:], api_name="/finetune_start")
        job = picker["value"]
        progress = tmp_path / "jobs" / job / "progress.json"
        until = time.monotonic() + WAIT
        while not (progress.exists() and '"fit"' in progress.read_text()):
            assert time.monotonic() < until
            time.sleep(0.5)
        assert status(client, visitor, job)[0] == "running"

    with served(**environ) as address:
        client = connect(address, visitor)
        while (found := status(client, visitor, job))[0] == "running":
            assert time.monotonic() < until
            time.sleep(1)
        state, verdict = found
        assert state == "done" and re.search(r'data-kind="(better|unclear)"', verdict), verdict
        gained = float(re.findall(r"<dd>([+-]\d\.\d+)</dd>", verdict)[-1])
        assert gained > 0.1, verdict
        with pytest.raises(Exception, match="only read|does not accept|may not push") as caught:
            client.predict(visitor, job, "bob/tiles", TOKEN, False, api_name="/finetune_push")
        assert TOKEN not in str(caught.value)
        told, emptied, *pickers = client.predict(visitor, job, "ann/tiles", TOKEN, False, api_name="/finetune_push")
        id = re.search(r"ann/tiles@[0-9a-f]{40}", told)[0]
        assert emptied == "" and pickers[0]["value"] == id
        assert id in [row["id"] for row in client.predict(api_name="/models")]

    assert "model.safetensors" in hub.files("ann/tiles")
    written = [path for path in tmp_path.rglob("*") if path.is_file()]
    assert not any(TOKEN.encode() in path.read_bytes() for path in written)
    with served(**environ) as address:
        client = connect(address, visitor)
        (row,) = [row for row in client.predict(api_name="/models") if row["id"] == id]
        assert (row["task"], row["labels"], row["source"]) == ("semantic", labels, "hub")
        result, after = segment(client, picture, id)
        assert result["model"]["revision"] == id.partition("@")[2]
    scores = [jaccard_score(truth.ravel() == 1, each.ravel() == 1) for each in (before, after)]
    assert scores[1] > scores[0] + 0.1, scores
    settings.cache_clear()
