"""The HTTP endpoints of the running demo, as gradio_client and as plain HTTP see them."""

from __future__ import annotations

import base64
import io
import json
import urllib.request
from pathlib import Path

import nibabel
import numpy as np
import pytest
import rasterio
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from seg_demo.core import rle
from seg_demo.serving import catalog
from tests.scientific_files import PERSON, PLACES, dicom, raster
from tests.served import ROOT

COINS = str(ROOT / "seg_demo/ui/examples/coins.png")
LOCAL = [spec.id for spec in catalog.menu() if spec.source in ("bundled", "builtin")]


@pytest.fixture(scope="module")
def client(demo_url):
    return Client(demo_url, verbose=False, httpx_kwargs={"timeout": 120})


def test_models_are_listed_as_documented(client):
    rows = client.predict(api_name="/models")
    assert [row["id"] for row in rows] == [row["id"] for row in catalog.describe()]
    for row in rows:
        assert set(row) == {"id", "title", "task", "tasks", "architecture", "source", "licence", "labels", "channels", "available", "promptable"}
    available = {row["id"]: row["available"] for row in rows}
    assert all(available[identity] for identity in LOCAL)
    assert not available["nvidia/segformer-b0-finetuned-ade-512-512"], "no Hub listens here"


def test_the_menu_has_what_the_package_brings():
    assert {"unet-cells", "segformer-cells", "maskrcnn-cells", "unet-instance-cells", "click", "otsu", "watershed", "slic", "felzenszwalb"} == set(LOCAL)


# One of each task, and one without a network; the others are asked for in the soak tests.
ASKED = ("unet-cells", "maskrcnn-cells", "otsu")


@pytest.mark.parametrize("model", [name if name in ASKED else pytest.param(name, marks=pytest.mark.soak) for name in LOCAL])
def test_every_local_model_segments(client, model):
    result, mask, overlay = client.predict(image=handle_file(COINS), model=model, threshold=0.5, api_name="/segment")
    spec = catalog.resolve(model, local_folders=False)
    assert result["task"] == spec.task
    assert result["model"] == {"id": model, "revision": None, "architecture": spec.architecture, "source": spec.source}
    assert (result["width"], result["height"]) == Image.open(COINS).size == Image.open(overlay).size
    assert result["seconds"]["total"] > 0
    ids = np.asarray(Image.open(mask))
    assert ids.shape == (result["height"], result["width"])
    assert result["segments"], "24 coins on a plain ground"
    covered = np.zeros(ids.shape, dtype=bool)
    for segment in result["segments"]:
        full = rle.decode(segment["segmentation"])
        assert segment["area"] == full.sum() == round(segment["area_fraction"] * full.size)
        assert segment["score"] is None or segment["score"] >= 0.5 or spec.task != "instance"
        if spec.task == "semantic":
            assert np.array_equal(ids == segment["id"], full)
        else:
            assert full[ids == segment["id"]].all()
        covered |= full
    assert np.array_equal(covered, (ids != 0) if spec.task != "semantic" else np.ones_like(covered))


def test_the_threshold_has_a_default_and_filters(client):
    counts = []
    for threshold in (0.06, 0.5, 1.0):
        result, _, _ = client.predict(
            image=handle_file(COINS), model="maskrcnn-cells", threshold=threshold, api_name="/segment"
        )
        counts.append(len(result["segments"]))
    plain, _, _ = client.predict(image=handle_file(COINS), model="maskrcnn-cells", api_name="/segment")
    assert counts == sorted(counts, reverse=True)
    assert len(plain["segments"]) == counts[1]


@pytest.mark.parametrize("threshold", [True, "0.5", 1.5, -0.1, None, []])
def test_a_bad_threshold_gets_a_sentence(client, threshold):
    with pytest.raises(AppError, match="threshold must be a number from 0 to 1"):
        client.predict(image=handle_file(COINS), model="otsu", threshold=threshold, api_name="/segment")


def test_smoothing_is_asked_for_by_its_name(client):
    found = [
        len(client.predict(image=handle_file(COINS), model="otsu", api_name="/segment", **asked)[0]["segments"])
        for asked in ({}, {"smoothing": 0}, {"smoothing": 4})
    ]
    assert found[0] == found[1] != found[2]
    for model, smoothing in (("otsu", 99), ("otsu", "1"), ("unet-cells", 1), ("slic", 1)):
        with pytest.raises(AppError, match="moothing"):
            client.predict(image=handle_file(COINS), model=model, smoothing=smoothing, api_name="/segment")


@pytest.mark.parametrize("model", ["no-such-model", "../etc", "", None, [], "/etc/passwd"])
def test_an_unknown_model_gets_a_sentence(client, model):
    with pytest.raises(AppError, match="model"):
        client.predict(image=handle_file(COINS), model=model, api_name="/segment")


def test_a_hub_id_without_a_hub_is_answered_in_words(client):
    with pytest.raises(AppError, match="Hub"):
        client.predict(image=handle_file(COINS), model="somebody/something", api_name="/segment")


@pytest.mark.parametrize("content", [b"", b"hello", b"%PDF-1.4 nothing", b"\x89PNG\r\n\x1a\n" + b"\0" * 50])
def test_what_is_no_image_gets_a_sentence_and_the_server_goes_on(client, tmp_path, content):
    path = tmp_path / "upload.png"
    path.write_bytes(content)
    with pytest.raises(AppError, match=r"Accepted are|empty") as caught:
        client.predict(image=handle_file(str(path)), model="otsu", api_name="/segment")
    assert "Traceback" not in str(caught.value)
    assert client.predict(image=handle_file(COINS), model="otsu", api_name="/segment")


def test_a_rotated_photo_comes_back_upright_and_named_after_the_upload(client, tmp_path):
    picture = Image.fromarray(np.tile(np.uint8([[0, 255]]).repeat(40, 1), (30, 1)))
    exif = Image.Exif()
    exif[274] = 6
    path = tmp_path / "my photo (1).jpg"
    picture.save(path, exif=exif)
    result, mask, overlay = client.predict(image=handle_file(str(path)), model="otsu", api_name="/segment")
    assert (result["width"], result["height"]) == (30, 80)
    assert mask.endswith("my-photo-1_mask.png") and overlay.endswith("my-photo-1_overlay.png")


def test_no_image_and_unsafe_addresses_get_a_sentence(client, demo_url):
    with pytest.raises(AppError, match="No image was sent"):
        client.predict(image=None, model="otsu", api_name="/segment")
    data = {"path": f"{demo_url}/favicon.ico", "meta": {"_type": "gradio.FileData"}}
    with pytest.raises(AppError, match="addresses are not downloaded"):
        client.predict(image=data, model="otsu", api_name="/segment")


def test_a_data_url_is_decoded_and_bounded(demo_url):
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "PNG")
    good = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    assert '"width": 8' in call(demo_url, {"url": good})
    assert "damaged" in call(demo_url, {"url": "data:image/png;base64,§§"})
    assert "bytes" in call(demo_url, {"url": "data:image/png;base64," + "A" * 27_000_000})


@pytest.mark.parametrize(
    ("model", "thresholds", "said"),
    [
        ("segformer-cells", '{"score": 0.5}', "SegFormer has no such thresholds for the task 'semantic'"),
        ("otsu", '{"mask": 0.5}', "otsu has no such thresholds"),
        ("otsu", "score", "must be JSON such as"),
        ("otsu", {"best": 1}, "score, mask, overlap"),
        ("otsu", '{"score": true}', "number from 0 to 1"),
    ],
)
def test_thresholds_of_segments_are_for_those_who_have_such(client, model, thresholds, said):
    with pytest.raises(AppError, match=said):
        client.predict(image=handle_file(COINS), model=model, thresholds=thresholds, api_name="/segment")


@pytest.mark.parametrize("threshold", [float("nan"), float("inf")])
def test_numbers_that_only_plain_http_can_send(demo_url, threshold):
    file = io.BytesIO()
    Image.new("RGB", (8, 6)).save(file, "PNG")
    url = "data:image/png;base64," + base64.b64encode(file.getvalue()).decode()
    assert "threshold must be a number from 0 to 1" in call(demo_url, {"url": url}, threshold)


def test_scientific_files_and_views_of_them_over_http(client, tmp_path):
    scan = np.arange(2000, dtype="i2").reshape(40, 50)
    dicom(tmp_path / "scan.dcm", scan, WindowCenter=1000, WindowWidth=800)
    result, mask, _ = client.predict(image=handle_file(tmp_path / "scan.dcm"), model="otsu", api_name="/segment")
    assert (result["view"]["window"], result["pixel_size"], result["unit"]) == ("dicom", [0.75, 0.5], "millimeter")
    assert Image.open(mask).size == (50, 40) and Path(mask).name == "scan_mask.png"
    assert result["segments"][0]["area_units"] == result["segments"][0]["area"] * 0.375 and PERSON not in json.dumps(result)
    volume = np.zeros((30, 20, 5), "i2")
    volume[5:10, 5:10, 4] = 900
    nibabel.Nifti1Image(volume, np.diag([2, 2, 3, 1])).to_filename(tmp_path / "scan.nii.gz")
    asked = {"image": handle_file(tmp_path / "scan.nii.gz"), "model": "otsu", "api_name": "/segment"}
    areas = [segment["area"] for segment in client.predict(**asked, view='{"z": 4, "window": [0, 1000]}')[0]["segments"]]
    assert areas == [25]
    with pytest.raises(AppError, match="asks for z 5, but this file has 5"):
        client.predict(**asked, view='{"z": 5}')


def call(address: str, image: dict, threshold: float = 0.5) -> str:
    """What the endpoint streams back to a plain HTTP client."""
    body = json.dumps({"data": [image, "otsu", threshold]}).encode()
    request = urllib.request.Request(f"{address}/gradio_api/call/segment", body, {"Content-Type": "application/json"})
    with urllib.request.urlopen(request, timeout=120) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{address}/gradio_api/call/segment/{event}", timeout=120) as answer:
        return answer.read().decode()


def test_a_raster_beyond_the_limit_comes_back_in_full_detail_where_the_owner_allows_it(client, tmp_path):
    """Longer than a side may be, and therefore no picture."""
    path = tmp_path / "strip.tif"
    strip = np.tile(np.asarray(Image.open(COINS).convert("RGB"))[:100], (1, 53, 1))[:, :20_100]
    raster(path, strip.transpose(2, 0, 1), *PLACES["utm"], tiled=True, blockxsize=256, blockysize=256, compress="deflate")
    asked = {"image": handle_file(str(path)), "api_name": "/segment"}
    with pytest.raises(AppError, match="20,100 x 100 pixels"):
        client.predict(model="segformer-cells", **asked)
    with pytest.raises(AppError, match="classes of pixels alone"):
        client.predict(model="maskrcnn-cells", detail="full", **asked)
    result, mask, overlay = client.predict(model="segformer-cells", detail="full", **asked)
    assert (result["width"], result["height"], result["crs"]) == (20_100, 100, "EPSG:32633")
    with rasterio.open(mask) as found, rasterio.open(path) as source:
        assert (found.crs, found.transform, found.shape) == (source.crs, source.transform, (100, 20_100))
        counts = np.bincount(found.read(1).ravel())
    assert {segment["id"]: segment["area"] for segment in result["segments"]} == {index: count for index, count in enumerate(counts.tolist()) if count}
    assert len(result["segments"]) > 1 and max(Image.open(overlay).size) <= 2048
    assert Path(mask).name == "strip_mask.tif"
    raster(path, np.zeros((1, 200, 20_100), np.uint8), *PLACES["utm"])
    with pytest.raises(AppError, match="4.0 megapixels"):
        client.predict(model="segformer-cells", detail="full", image=handle_file(str(path)), api_name="/segment")


def test_only_the_documented_endpoints_are_public(client):
    described = client.view_api(return_format="dict")
    assert set(described["named_endpoints"]) == {"/segment", "/prompt", "/models"}
    asked = [(each["parameter_name"], each["parameter_has_default"]) for each in described["named_endpoints"]["/prompt"]["parameters"]]
    assert asked == [("image", False), ("model", False), ("prompt", False), ("view", True)]
    parameters = described["named_endpoints"]["/segment"]["parameters"]
    assert [(each["parameter_name"], each["parameter_has_default"]) for each in parameters] == [
        ("image", False),
        ("model", False),
        ("threshold", True),
        ("detail", True),
        ("smoothing", True),
        ("task", True),
        ("thresholds", True),
        ("view", True),
        ("looks", True),
    ]
    assert [each["parameter_default"] for each in parameters[2:]] == [0.5, "whole", None, "auto", "", "", 1]
    assert parameters[0]["component"] == "Image"


def test_the_page_use_via_api_says_what_each_value_is(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    for endpoint in endpoints.values():
        assert len(endpoint["description"].split()) > 8
        for value in (*endpoint["parameters"], *endpoint["returns"]):
            assert len(value["python_type"]["description"].split()) > 5, value["label"]
    image, model = endpoints["/segment"]["parameters"][:2]
    # Snippets with an address would be refused.
    assert image["example_input"]["path"] == "image.png" and model["example_input"] == "unet-cells"
    assert [value["python_type"]["type"] for value in endpoints["/segment"]["returns"]][1:] == ["filepath", "filepath"]
