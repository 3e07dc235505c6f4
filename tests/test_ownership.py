"""What a visitor made is theirs alone: two visitors on one server, over HTTP, by every endpoint that names a job or a model."""

from __future__ import annotations

import json
import os
import secrets
import time
import zipfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from gradio_client import Client, handle_file

from seg_demo.core.errors import BadRequestError
from seg_demo.core.requests import JOB_OWNER, Viewer, owner_of, viewer
from seg_demo.core.settings import settings
from seg_demo.gateway.visitor import KEY_HEADER
from seg_demo.jobs import job as job_files
from seg_demo.jobs import store as publish
from seg_demo.jobs.store import Jobs
from seg_demo.serving import catalog
from tests.finished_jobs import finished
from tests.pages import COINS
from tests.surface import API
from train.candidates import candidates
from train.config import Config

ANN, BOB = (secrets.token_urlsafe(32) for _ in range(2))


@pytest.fixture
def jobs(demo_folder: Path) -> Path:
    return demo_folder / "jobs"


@pytest.fixture
def address(demo_url: str) -> str:
    return demo_url


@pytest.fixture
def job(jobs, tmp_path):
    made = finished(jobs, tmp_path, owner_of(ANN))
    yield made
    for left in Jobs(jobs).list():
        Jobs(jobs).delete(left)
    (jobs / catalog.TRAINED_FILE).unlink(missing_ok=True)


def connect(address: str, key: str | None = None, **headers: str) -> Client:
    known = {KEY_HEADER: key} if key else {}
    return Client(address, verbose=False, headers=known | headers, httpx_kwargs={"timeout": 120})


def ids(client: Client) -> list[str]:
    return [row["id"] for row in client.predict(api_name="/models")]


def pressed(address: str, target: str, data: list[object], session: str, event: str = "click") -> str:
    """What an event of the page answers that has no name in the API: by the id of its button, as the page asks for it."""
    with httpx.Client(base_url=address, timeout=60) as http:
        config = http.get("/config").json()
        names = {each["id"]: each.get("props", {}).get("elem_id") for each in config["components"]}
        (fn, *_) = [
            row["id"] for row in config["dependencies"]
            if row["backend_fn"] and any(names.get(id) == target and name == event for id, name in row["targets"])
        ]  # fmt: skip
        body = {"data": data, "fn_index": fn, "session_hash": session}
        assert http.post(f"{API}/queue/join", json=body).status_code == 200
        with http.stream("GET", f"{API}/queue/data", params={"session_hash": session}) as stream:
            for line in stream.iter_lines():
                if line.startswith("data:") and json.loads(line[5:])["msg"] == "process_completed":
                    return line
    raise AssertionError("no answer")


def test_nobody_reaches_anothers_job(address, job, jobs):
    ann, bob = connect(address), connect(address)
    shown = ann.predict(ANN, job.id, api_name="/finetune_watch")
    assert 'data-state="done"' in shown[0] and "My cells" in shown[0] and shown[3]["visible"]
    asked = {
        "/finetune_watch": (BOB, job.id), "/finetune_use": (BOB, job.id), "/finetune_download": (BOB, job.id),
        "/finetune_delete": (BOB, job.id), "/finetune_share": (BOB, job.id, True),
        "/finetune_push": (BOB, job.id, "bob/x", "hf_x", False), "/finetune_skip": (BOB, job.id),
        "/finetune_train": (BOB, job.id),
    }  # fmt: skip
    for name, arguments in asked.items():
        for key in (BOB, "", None, "x" * 32, owner_of(ANN)):
            with pytest.raises(Exception, match="no such job"):
                bob.predict(key, *arguments[1:], api_name=name)
    for button in ("finetune-stop", "finetune-resume", "finetune-delete", "finetune-mend"):
        answer = pressed(address, button, [BOB, job.id], secrets.token_hex(6))
        assert "There is no such job" in answer and "My cells" not in answer, button
    assert job.folder.is_dir() and job.state() == "done"
    # Nor by the file's own address.
    for path in (job.checkpoint / "model.safetensors", job.checkpoint / "samples.png", jobs / catalog.TRAINED_FILE):
        assert httpx.get(f"{address}{API}/file={path}").status_code in (403, 404)


def test_a_model_is_on_its_makers_menu_alone_until_the_owner_of_the_server_shares_it(address, job):
    ann, bob, bobs_page = connect(address, ANN), connect(address, BOB), connect(address)
    told, *_ = ann.predict(ANN, job.id, api_name="/finetune_use")
    id = "segformer-my-cells"
    assert id in told and id in ids(ann) and id not in ids(bob) and id not in ids(connect(address))
    assert id not in httpx.get(f"{address}/config").text
    segment = {"image": handle_file(str(COINS)), "model": id, "api_name": "/segment"}
    assert ann.predict(**segment)[0]["model"]["id"] == id
    for stranger in (bob, bobs_page):
        with pytest.raises(Exception, match="There is no model") as caught:
            stranger.predict(**segment)
        assert id not in str(caught.value).replace(repr(id), "", 1), "the menu that is listed is the stranger's own"
        with pytest.raises(Exception, match="There is no model"):
            stranger.predict([handle_file(str(COINS))], id, 0.5, None, "um", api_name="/batch")
    # A session that has shown its key keeps it; a page does with its first event.
    page = connect(address)
    page.predict(ANN, job.id, api_name="/finetune_watch")
    assert id in ids(page)
    # Only who sits at the server may share; a proxy in front of it is somebody else's browser.
    with pytest.raises(Exception, match="Only the owner of this server"):
        connect(address, ANN, **{"X-Forwarded-For": "8.8.8.8"}).predict(ANN, job.id, True, api_name="/finetune_share")
    assert "Everybody" in ann.predict(ANN, job.id, True, api_name="/finetune_share")
    assert id in ids(bob) and bob.predict(**segment)[0]["model"]["id"] == id
    with pytest.raises(Exception, match="no such job"):
        bob.predict(BOB, job.id, False, api_name="/finetune_share")
    ann.predict(ANN, job.id, False, api_name="/finetune_share")
    assert id not in ids(bob) and id in ids(ann)


def test_what_is_downloaded_is_the_checkpoint_and_what_is_deleted_is_gone(address, job):
    ann = connect(address, ANN)
    first, again = (ann.predict(ANN, job.id, api_name="/finetune_download") for _ in range(2))
    with zipfile.ZipFile(first) as archive:
        assert archive.testzip() is None
        held = {name: archive.read(name) for name in archive.namelist()}
    assert held == {f"my-cells/{path.name}": path.read_bytes() for path in job.checkpoint.iterdir()}
    assert Path(again).read_bytes() == Path(first).read_bytes()
    ann.predict(ANN, job.id, api_name="/finetune_use")
    asked = pressed(address, "finetune-delete", [ANN, job.id], secrets.token_hex(6))
    assert "its trained weights" in asked and "8 images" in asked and "disappears from your menu" in asked and job.folder.exists()
    ann.predict(ANN, job.id, api_name="/finetune_delete")
    assert not job.folder.exists() and "segformer-my-cells" not in ids(ann)


def test_two_visitors_may_give_their_data_the_same_name(address, job, jobs, tmp_path):
    other = finished(jobs, tmp_path / "bob", owner_of(BOB))
    ann, bob = connect(address, ANN), connect(address, BOB)
    made = [client.predict(key, one.id, api_name="/finetune_use")[0] for client, key, one in ((ann, ANN, job), (bob, BOB, other))]
    mine, theirs = ({id for id in ids(client) if "my-cells" in id} for client in (ann, bob))
    assert len(mine) == len(theirs) == 1 and not mine & theirs and made[0] != made[1]


def test_two_visitors_who_ask_at_once_are_given_two_ids(tmp_path, monkeypatch):
    monkeypatch.setenv("SEG_DEMO_JOBS", str(tmp_path / "jobs"))
    settings.cache_clear()
    free_id = catalog.free_id
    monkeypatch.setattr(catalog, "free_id", lambda *arguments: (free_id(*arguments), time.sleep(0.3))[0])
    try:
        made = [finished(tmp_path / "jobs", tmp_path / key, owner_of(key)) for key in (ANN, BOB)]
        with ThreadPoolExecutor(2) as pool:
            ids = list(pool.map(publish.use_here, made))
        assert [catalog.trained_folder(id) for id in ids] == [job.checkpoint.resolve() for job in made]
    finally:
        settings.cache_clear()


def test_who_has_no_key_is_not_told_what_runs(tmp_path):
    store = Jobs(tmp_path / "jobs")
    job = finished(tmp_path / "jobs", tmp_path, "", "old")
    (job.folder / job_files.EXIT).unlink()
    job_files.write_json(job.folder / job_files.RUNNER, job_files.process_identity(os.getpid()))
    with pytest.raises(BadRequestError, match="Another visitor's job"):
        store.check_free(None)
    with pytest.raises(BadRequestError, match="'old' is running"):
        store.check_free("")


def test_what_earlier_versions_made_is_the_server_owners(jobs, tmp_path, monkeypatch):
    monkeypatch.setenv("SEG_DEMO_JOBS", str(tmp_path / "jobs"))
    settings.cache_clear()
    try:
        old, hers = finished(tmp_path / "jobs", tmp_path, "", "old"), finished(tmp_path / "jobs", tmp_path, owner_of(ANN), "hers")
        for job, id in ((old, "old"), (hers, "hers")):
            catalog.add_trained(catalog.of_folder(job.checkpoint, id, "folder"), job.checkpoint)
        rows = json.loads((tmp_path / "jobs" / catalog.TRAINED_FILE).read_text())
        (tmp_path / "jobs" / catalog.TRAINED_FILE).write_text(json.dumps([{"model": row["model"], "folder": row["folder"]} for row in rows]))

        def seen(who: Viewer | None) -> set[str]:
            before = viewer.set(who)
            try:
                return {spec.id for spec in catalog.trained_models()}
            finally:
                viewer.reset(before)

        assert seen(None) == {"old", "hers"} and seen(Viewer(host=True)) == {"old"}
        assert seen(Viewer(owner_of(ANN))) == {"hers"} and seen(Viewer(owner_of(BOB))) == seen(Viewer()) == set()
        # A comparison of networks looks at the menu of the visitor whose job it is.
        for owner, there in ((owner_of(ANN), {"hers"}), (owner_of(BOB), set()), ("", {"old"})):
            monkeypatch.setenv(JOB_OWNER, owner)
            assert {"old", "hers"} & {known.model for known in candidates(Config(), (), "semantic")} == there
        # At a terminal it is everything, whatever a scheduler calls its jobs' owner.
        monkeypatch.delenv(JOB_OWNER)
        monkeypatch.setenv("JOB_OWNER", "ci")
        assert {"old", "hers"} <= {known.model for known in candidates(Config(), (), "semantic")}
    finally:
        settings.cache_clear()
