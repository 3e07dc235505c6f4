"""``POST /segment``: the picture as the body, the result as the answer; the same as gradio's endpoint gives, within the same limits."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import httpx
import numpy as np
import pytest
import tifffile
from PIL import Image

from tests.surface import API, COINS, file_data, http, uploaded  # noqa: F401  (fixtures)

PICTURE = COINS.read_bytes()


def asked(http, data: bytes = PICTURE, headers: dict[str, str] | None = None, **parameters: object) -> httpx.Response:  # noqa: F811
    return http.post("/segment", params=parameters, content=data, headers=headers)


@pytest.mark.parametrize(
    ("model", "named"),
    [("otsu", {"smoothing": 2.5}), ("unet-cells", {"detail": "full", "task": "semantic"}), ("maskrcnn-cells", {"threshold": 0.7})],
)
def test_it_answers_what_the_queue_answers(http, model, named):  # noqa: F811
    path = uploaded(http, PICTURE)
    sent = [file_data(path), model, named.get("threshold", 0.5), named.get("detail", "whole"), named.get("smoothing"), named.get("task", "auto")]
    result, *files = http.post(f"{API}/run/segment", json={"data": sent}).json()["data"]
    answer = asked(http, model=model, files="mask,overlay", **named)
    assert answer.status_code == 200 and answer.headers["x-content-type-options"] == "nosniff"
    found = answer.json()
    drawn = [base64.b64decode(found["files"][name]) for name in ("mask", "overlay")]
    assert drawn == [http.get(f"{API}/file={file['path']}").content for file in files]
    del found["files"]
    assert found.pop("seconds")["total"] > 0 < result.pop("seconds")["total"]
    assert found == result and len(found["segments"]) > 1
    alone = asked(http, model=model, **named).json()
    assert alone.pop("seconds") and alone == result, "nothing is drawn that nobody asked for"


def test_nothing_is_written_to_the_disk(http):  # noqa: F811
    folder = Path(uploaded(http, b"a neighbour")).parents[1]
    before = sorted(folder.rglob("*"))
    noise = np.random.default_rng(7).integers(0, 256, (40, 50, 3), np.uint8)
    file = io.BytesIO()
    Image.fromarray(noise).save(file, "PNG")
    assert asked(http, file.getvalue(), model="otsu", files="overlay").json()["width"] == 50
    assert sorted(folder.rglob("*")) == before


def test_what_of_a_scientific_file_is_looked_at(http):  # noqa: F811
    planes = np.zeros((3, 30, 40), np.uint16)
    planes[2, 5:20, 8:30] = 40_000
    file = io.BytesIO()
    tifffile.imwrite(file, planes, imagej=True, metadata={"axes": "ZYX"})
    found = asked(http, file.getvalue(), model="otsu", view='{"z": 2}').json()
    assert found["view"]["z"] == 2 and [segment["area"] for segment in found["segments"]][-1] == 15 * 22


def test_a_refusal_is_a_status_and_a_sentence(http):  # noqa: F811
    answer = asked(http)
    assert answer.status_code == 400 and "not the id of a model" in answer.json()["detail"], answer.text
