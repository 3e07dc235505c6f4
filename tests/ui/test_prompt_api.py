"""``/prompt`` as gradio_client sees it, with models typed from the Hub; the sessions of visitors; the command."""

from __future__ import annotations

import json
import pickle
import shutil
import threading
import time
import urllib.request
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from gradio import utils
from gradio_client import Client, handle_file
from gradio_client.exceptions import AppError
from PIL import Image

from seg_demo.__main__ import main
from seg_demo.core import rle
from seg_demo.core.errors import BadRequestError
from seg_demo.core.requests import Prompt
from seg_demo.core.settings import Settings, settings
from seg_demo.gateway.queue import predictor
from seg_demo.hub import lookup
from seg_demo.inference import openvino, prompting, zerogpu
from seg_demo.inference.prompting import Session
from seg_demo.serving.predictor import Predictor, load_model
from seg_demo.ui import click_tab
from seg_demo.ui.demo import build_demo
from tests.hub.test_prompt_layouts import files
from tests.hub_stand_in import HubStandIn
from tests.networks.contract import image_of
from tests.networks.test_clipseg import clipseg_files
from tests.networks.test_sam3 import sam3_files

IMAGE = image_of(75, 110)
CLICK = {"points": [[40, 30]], "labels": [1]}


@pytest.fixture(scope="module")
def served():
    from huggingface_hub import constants

    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    lookup.forget()
    with HubStandIn() as hub:
        hub.add_repo("ann/clicks", files("sam"))
        hub.add_repo("ann/words", clipseg_files())
        hub.add_repo("ann/both", sam3_files("sam3"))
        yield hub
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    lookup.forget()


@pytest.fixture(scope="module")
def picture(tmp_path_factory):
    path = tmp_path_factory.mktemp("picture") / "noise.png"
    Image.fromarray(IMAGE).save(path)
    return path


@pytest.fixture(scope="module")
def client(served):
    demo = build_demo()
    demo.launch(prevent_thread_lock=True, quiet=True, server_name="127.0.0.1")
    yield Client(demo.local_url, verbose=False)
    demo.close()


def test_clicks_boxes_and_earlier_masks_over_http(client, picture, monkeypatch):
    monkeypatch.setattr(prompting, "GRID", 4)

    def ask(**prompt):
        return client.predict(image=handle_file(str(picture)), model="ann/clicks", prompt=json.dumps(prompt), api_name="/prompt")

    result, mask, overlay = ask(objects=[CLICK, {"box": [10, 10, 100, 70]}])
    with load_model("ann/clicks").prompt(IMAGE) as session:
        wanted = session.segment(**CLICK), session.segment(box=[10, 10, 100, 70])
    assert result["task"] == "instance" and [row["id"] for row in result["segments"]] == [1, 2]
    assert result["model"] == {"id": "ann/clicks", "revision": None, "architecture": "sam", "source": "hub"}
    for row, one in zip(result["segments"], wanted, strict=True):
        assert row["segmentation"] == one.to_dict()["segments"][0]["segmentation"] and row["label"] == "object"
    ids = np.asarray(Image.open(mask))
    assert ids.shape == IMAGE.shape[:2] and np.array_equal(ids == 1, rle.decode(result["segments"][0]["segmentation"]))
    assert Image.open(overlay).size == (110, 75) and "embed" in result["seconds"]
    again, _, _ = ask(objects=[{"points": [[40, 30], [100, 5]], "labels": [1, 0], "mask": result["segments"][0]["segmentation"]}])
    assert "embed" not in again["seconds"], "the picture has been looked at"
    everything, _, _ = ask()
    assert everything["task"] == "instance"


def test_words_over_http(client, picture):
    result, _, _ = client.predict(image=handle_file(str(picture)), model="ann/words", prompt='{"text": ["cat", "dog"]}', api_name="/prompt")
    assert [row["label"] for row in result["segments"]] == ["cat", "dog"]
    # Clicks, an example and words of one request, for a model that takes all of them.
    box, prompt = [10, 10, 60, 70], {"objects": [CLICK, {"box": [10, 10, 60, 70], "text": "cat"}], "text": ["dog"]}
    result, _, _ = client.predict(image=handle_file(str(picture)), model="ann/both", prompt=json.dumps(prompt), api_name="/prompt")
    with load_model("ann/both").prompt(IMAGE) as session:
        wanted = session.segment(**CLICK), session.segment(text="cat", box=box), session.segment(text="dog")
    assert [row["segmentation"] for row in result["segments"]] == [row["segmentation"] for one in wanted for row in one.to_dict()["segments"]]
    assert [row["label"] for row in result["segments"]] == ["object", *["cat"] * len(wanted[1].segments), *["dog"] * len(wanted[2].segments)]
    assert len(wanted[1].segments) and [row["score"] for row in result["segments"]] == [segment.score for one in wanted for segment in one.segments]


@pytest.mark.parametrize(
    ("model", "prompt", "view", "says"),
    [
        ("unet-cells", {"objects": [CLICK]}, "", "answers no clicks, boxes or words"),
        ("ann/clicks", {"text": ["cat"]}, "", "not words"),
        ("ann/words", {"objects": [CLICK]}, "", "answers words, not clicks"),
        ("ann/words", {}, "", "told none"),
        ("ann/clicks", {"objects": [{"points": [[110, 3]], "labels": [1]}]}, "", "lies outside the picture of 110 x 75"),
        ("ann/clicks", "{", "", "not JSON"),
        ("ann/clicks", {"objects": [CLICK]}, '{"page": 2}', "asks for page 2, but this file has 1"),
    ],
)
def test_what_cannot_be_answered_is_a_sentence(client, picture, model, prompt, view, says):
    text = prompt if isinstance(prompt, str) else json.dumps(prompt)
    with pytest.raises(AppError, match=says):
        client.predict(image=handle_file(str(picture)), model=model, prompt=text, view=view, api_name="/prompt")


def test_models_say_whether_they_are_promptable(served):
    from seg_demo.serving import catalog

    assert [row["id"] for row in catalog.describe() if row["promptable"]] == ["click"]


def test_a_session_is_its_visitors_and_ends(served, monkeypatch):
    predictor = Predictor(Settings())
    opened = []
    plain = prompting.PromptRun.open
    monkeypatch.setattr(prompting.PromptRun, "open", lambda run, *given: opened.append(run) or plain(run, *given))

    def click(who, image=IMAGE, box=None):
        with predictor.prompting(image, "ann/clicks", who=who) as session:
            session.segment([[40, 30]], box=box)
            return session

    first = click("ann")
    assert click("ann") is first and len(opened) == 1, "embedded once"
    assert click("ben") is not first and len(opened) == 2, "never another visitor's"
    click("ann", image_of(60, 80))
    assert len(opened) == 3, "another picture"
    assert click(None) is not click(None), "of nobody, nothing is kept"
    predictor.forget("ann")
    with pytest.raises(BadRequestError, match="session has ended"):
        first.segment([[40, 30]])
    monkeypatch.setattr(prompting, "SESSION_SECONDS", -1.0)
    before = len(opened)
    click("ben")
    assert len(opened) == before + 1, "too old"


def test_sessions_take_half_the_memory_of_models_at_most_and_give_way_to_them(served):
    with load_model("ann/clicks").prompt(IMAGE) as session:
        one = session.nbytes
    model = load_model("ann/clicks").nbytes
    assert one > IMAGE.nbytes + 32 * 8 * 8 * 4 - 1
    predictor = Predictor(replace(Settings(), cache_bytes=model + int(3.5 * one)))
    for who in range(6):
        with predictor.prompting(IMAGE, "ann/clicks", who=who) as session:
            assert len(session.segment([[40, 30]]).segments) == 1
        kept = predictor.state["sessions"]
        assert 1 <= kept <= 3 and predictor._sessions.nbytes <= 3.6 * one + one
    predictor._make_space(model + 3 * one)
    assert predictor.state["sessions"] == 0


def test_on_zerogpu_a_worker_looks_once_and_clicks_are_answered_here(served, monkeypatch):
    """Only plain data crosses to the worker, and of a picture that has been looked at nothing more does."""
    crossed = []

    def across(work):
        def worker(*given):
            crossed.append(work.__name__)
            return pickle.loads(pickle.dumps(work(*pickle.loads(pickle.dumps(given)))))

        return worker

    monkeypatch.setattr(zerogpu, "ACTIVE", True)
    monkeypatch.setattr(zerogpu, "DEVICE", "cpu")
    for name in ("_embed", "_everything"):
        monkeypatch.setattr(zerogpu, name, across(getattr(zerogpu, name)))
    predictor, there = Predictor(Settings()), load_model("ann/clicks").prompt(IMAGE)
    for points in ([[40, 30]], [[40, 30], [5, 8]]):
        with predictor.prompting(IMAGE, "ann/clicks", who="ann") as session:
            found = session.answer([Prompt(points, [1] * len(points))])
        assert np.array_equal(found.id_map, there.segment(points).id_map) and np.array_equal(session.pixels, IMAGE)
    assert crossed == ["_embed"] and predictor.state["sessions"] == 1
    with predictor.prompting(IMAGE, "ann/clicks", much=True) as session:
        found = session.everything()
    assert crossed == ["_embed", "_everything"] and np.array_equal(found.id_map, there.everything().id_map)
    zerogpu._loaded.clear()


def asked(client: Client, name: str, *data: object, **headers: str) -> dict:
    """What the page asks past the queue, as its script sends it."""
    body = json.dumps({"data": data}).encode()
    request = urllib.request.Request(f"{client.src.rstrip('/')}/gradio_api/run/{name}", body, {"Content-Type": "application/json", **headers})
    with urllib.request.urlopen(request, timeout=60) as answer:
        return json.load(answer)["data"][0]


PAGE = "a-page-of-somebody"
MANY = {"points": [[1, 1]] * 10_000, "labels": [1] * 10_000}


def test_the_page_is_answered_with_run_lengths_or_a_sentence(client, picture):
    kept = Path(utils.get_upload_folder(), "of-the-page", "noise.png")
    kept.parent.mkdir(parents=True, exist_ok=True)
    shutil.copy(picture, kept)
    assert asked(client, "click", str(kept), "ann/clicks", "", PAGE) == {}, "looked at"
    found = asked(client, "click", str(kept), "ann/clicks", json.dumps({"objects": [CLICK]}), PAGE)
    with load_model("ann/clicks").prompt(IMAGE) as session:
        assert found["segments"] == session.segment(**CLICK).to_dict()["segments"]
    assert "embed" not in asked(client, "click", str(kept), "ann/clicks", json.dumps({"objects": [CLICK]}), PAGE)["seconds"]
    other = {"size": [10, 10], "counts": "T3"}
    for model, prompt, says in (
        ("ann/clicks", {"objects": [{"points": [[110, 3]]}]}, "lies outside the picture of 110 x 75"),
        ("ann/clicks", '{"objects": [{"points": [[NaN, 3]]}]}', "two finite numbers"),
        ("ann/clicks", {"objects": [{"points": [[1, 3]], "labels": [0]}]}, "Nothing says where the object is"),
        ("ann/clicks", {"objects": [{"box": [5, 5, 5, 9]}]}, "has no area"),
        ("ann/clicks", {"objects": [MANY]}, "10000 points were sent"),
        ("ann/clicks", {"objects": [{"points": [[1, 3]], "mask": other}]}, "earlier mask has the size [10, 10]"),
        ("ann/clicks", {"text": ["cat"]}, "not words"),
        ("ann/words", {"objects": [CLICK]}, "answers words, not clicks"),
        ("unet-cells", {"objects": [CLICK]}, "answers no clicks"),
        ("", {"objects": [CLICK]}, "model"),
    ):
        text = prompt if isinstance(prompt, str) else json.dumps(prompt)
        assert says in asked(client, "click", str(kept), model, text, PAGE)["error"]
    assert asked(client, "click", "/etc/passwd", "ann/clicks", "", PAGE) == {"gone": True}
    chinese = asked(client, "click", str(kept), "ann/clicks", '{"text": ["cat"]}', PAGE, **{"Accept-Language": "zh-CN"})["error"]
    assert "ann/clicks" in chinese and "words" not in chinese
    # Another page's, or another visitor's of the same name, is another session; one that names no page has none.
    sessions = predictor().state["sessions"]
    for page, headers in (("another-page-of-theirs", {}), (PAGE, {"x-seg-demo-key": "k" * 40}), ("short", {})):
        assert "embed" in asked(client, "click", str(kept), "ann/clicks", json.dumps({"objects": [CLICK]}), page, **headers)["seconds"]
    assert predictor().state["sessions"] == sessions + 2
    # It has expired, or the page was closed: looked at anew, with the earlier mask from its pixels.
    predictor()._sessions.shrink(0)
    again = {"objects": [{"points": [[40, 30], [100, 5]], "labels": [1, 0], "mask": found["segments"][0]["segmentation"]}]}
    answer = asked(client, "click", str(kept), "ann/clicks", json.dumps(again), PAGE)
    assert "embed" in answer["seconds"] and len(answer["segments"]) == 1
    asked(client, "click_ends", PAGE)
    assert predictor().state["sessions"] == 0


def test_whoever_clicks_waits_for_no_large_picture(served):
    predictor = Predictor(Settings())
    with predictor._admission.slot(large=True), predictor._admission.slot():
        with predictor.prompting(image_of(2100, 2000), "ann/clicks", who="ann") as session:
            assert len(session.segment([[40, 30]]).segments) == 1


@pytest.mark.soak
@pytest.mark.alone
@pytest.mark.parametrize(("large", "model"), [(0, "ann/clicks"), (0, "click"), (8, "click")])
def test_twenty_visitors_click_at_once(client, tmp_path, large, model):
    """Each on a picture of their own, also while large pictures wait in the queue; a click is answered within a second, in the median. Somebody has
    been there before, so that what is clicked has its compiled form."""
    kept = []
    for number in range(20):
        kept.append(Path(utils.get_upload_folder(), f"of-visitor-{number}", "noise.png"))
        kept[-1].parent.mkdir(parents=True, exist_ok=True)
        Image.fromarray(np.roll(image_of(480, 640), number, axis=1)).save(kept[-1])
    Image.fromarray(image_of(3000, 4000)).save(tmp_path / "large.png")
    jobs = [client.submit(image=handle_file(str(tmp_path / "large.png")), model="unet-cells", detail="full", api_name="/segment") for _ in range(large)]
    together, seconds = threading.Barrier(20), []
    asked(client, "click", str(kept[0]), model, json.dumps({"objects": [CLICK]}), PAGE)
    assert openvino.drain_compiling(60)

    def visit(number: int) -> None:
        page, last = f"the-page-of-visitor-{number}", None
        assert asked(client, "click", str(kept[number]), model, "", page) == {}
        together.wait(120)
        for click in range(5):
            shown = {"points": [[100 + 30 * click, 200]]} | ({} if last is None else {"mask": last})
            began = time.perf_counter()
            answer = asked(client, "click", str(kept[number]), model, json.dumps({"objects": [shown]}), page)
            seconds.append(time.perf_counter() - began)
            last = answer["segments"][0]["segmentation"]
            assert "embed" not in answer["seconds"] or click == 0

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(visit, range(20)))
    print(f"measured: {model}, {large} large: median {np.median(seconds):.3f} s, p95 {np.percentile(seconds, 95):.3f} s; {sum(job.done() for job in jobs)} of them done meanwhile")
    for job in jobs:
        job.cancel()
    assert np.median(seconds) <= 1.0


def test_the_page_is_told_which_models_answer_prompts(client):
    told = asked(client, "click_models")
    assert {row["id"]: row["prompts"] for row in told["models"]}["CIDAS/clipseg-rd64-refined"] == ["words"]
    names = client.view_api(return_format="dict")["named_endpoints"]
    assert "/prompt" in names and not {"/click", "/click_models", "/click_ends"} & set(names)


def test_whoever_opens_the_tab_has_the_model_of_the_demo_loaded_and_nothing_fetched(client, served, monkeypatch):
    monkeypatch.setattr(Session, "answer", lambda *_: pytest.fail("its compiled form would be made while somebody clicks for the first time"))
    for menu, ready in (("unet-cells, click", 1), ("unet-cells", 0)):
        monkeypatch.setenv("SEG_DEMO_MODELS", menu)
        settings.cache_clear()
        own = Predictor(Settings())
        monkeypatch.setattr(click_tab, "predictor", lambda own=own: own)
        served.requests.clear()
        click_tab.prepare()
        assert own.state["models"] == ready and own.state["sessions"] == 0 and not served.requests, menu
    monkeypatch.undo()
    settings.cache_clear()
    wired = [fn for fn in client.config["dependencies"] if ["select"] == [event for _, event in fn["targets"]] and not fn["queue"]]
    assert any(fn["inputs"] == fn["outputs"] == [] for fn in wired)


def test_the_command_cuts_out_what_is_clicked(served, picture, tmp_path, capsys):
    out = tmp_path / "out"
    assert main(["prompt", str(picture), "--points", "40,30,1 100,5,0", "--model", "ann/clicks", "--out", str(out)]) == 0
    assert "1 objects with ann/clicks" in capsys.readouterr().out
    result = json.loads((out / "result.json").read_text())
    assert len(result["segments"]) == 1 and {"mask.png", "overlay.png", "coco_rle.json"} <= {path.name for path in out.iterdir()}
    with load_model("ann/clicks").prompt(IMAGE) as session:
        assert result["segments"][0]["segmentation"] == session.segment([[40, 30], [100, 5]], [1, 0]).to_dict()["segments"][0]["segmentation"]
    assert main(["prompt", str(picture), "--text", "cat", "--model", "ann/words", "--out", str(tmp_path / "words")]) == 0
    assert main(["prompt", str(picture), "--text", "cat", "--box", "10,10,60,70", "--model", "ann/both", "--out", str(tmp_path / "alike")]) == 0
    assert {row["label"] for row in json.loads((tmp_path / "alike" / "result.json").read_text())["segments"]} == {"cat"}
    for bad in (["--points", "a,b,1"], ["--points", "400,3,1"], ["--box", "1,2,1,9"], ["--text", "cat"]):
        assert main(["prompt", str(picture), *bad, "--model", "ann/clicks", "--out", str(tmp_path / "bad")]) == 2
        assert capsys.readouterr().err.startswith("error: ") and not (tmp_path / "bad").exists()
