"""Fine-tuning jobs: the real command in real processes on tiny data, and what a dead server, a recycled id and bad data do."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import time
import zipfile
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo.core.errors import BadRequestError, Message
from seg_demo.core.requests import JOB_OWNER
from seg_demo.core.settings import settings
from seg_demo.jobs import job as job_files
from seg_demo.jobs import store
from seg_demo.jobs.job import DONE, DRAFT, INTERRUPTED, RUNNING, STOPPED, Job, interval, judge
from seg_demo.jobs.store import Jobs, dry_run, push_model, take, use_here
from seg_demo.serving import catalog
from seg_demo.ui import finetune_view
from tests.shifted_domains import DOMAINS, write_folder
from tests.small_datasets import folder
from train import finetune
from train.candidates import BEHIND, LEFT_OUT, RACING, Advice, Candidate
from train.config import parse
from train.run import load_state

QUICK = {
    "model": "unet", "from_scratch": True, "batch_size": 2, "image_size": 32, "device": "cpu", "threads": 1, "baseline": True,
    "save_every": 1, "augment": "none",
}  # fmt: skip
WAIT = 240


@pytest.fixture
def jobs(tmp_path, monkeypatch):
    monkeypatch.setenv("SEG_DEMO_JOBS", str(tmp_path / "jobs"))
    settings.cache_clear()
    mine = Jobs(tmp_path / "jobs")
    yield mine
    for job in mine.list():
        if mine.cancel(job):
            until(lambda job=job: job.state() != RUNNING)
    settings.cache_clear()


def until(true, seconds: float = WAIT) -> None:
    end = time.monotonic() + seconds
    while not true():
        assert time.monotonic() < end, "waited too long"
        time.sleep(0.1)


def in_this_process(words, **_) -> subprocess.CompletedProcess[str]:
    """What the training command says and answers, without the seconds that a process of its own takes to begin."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        code = finetune.main(words[words.index(str(store.TRAIN)) + 1 :])
    return subprocess.CompletedProcess(words, code, out.getvalue(), err.getvalue())


def test_what_a_check_answers_names_no_place_of_this_machine(jobs, tmp_path, monkeypatch):
    monkeypatch.setattr(store.subprocess, "run", in_this_process)
    data = folder(tmp_path / "cells", 3)
    (data / "labels.json").write_text('["cell"', encoding="utf-8")
    answer = jobs.check(jobs.draft("cells", data, QUICK))
    assert "labels.json" in answer["problems"] and str(tmp_path) not in json.dumps(answer), answer


@pytest.mark.parametrize(("code", "raises"), [(2, None), (1, BadRequestError)])
def test_what_a_broken_command_says_of_itself_is_its_last_line(tmp_path, code, raises):
    job = Job(tmp_path / "20260101-000000-abcdef", "20260101-000000-abcdef", {})
    trace = f'Traceback (most recent call last):\n  File "{job.folder}/x.py", line 1\n    secret()\nValueError: {job.folder}/data is odd\n'
    command = [sys.executable, "-c", f"import sys; sys.stderr.write({trace!r}); sys.exit({code})"]
    if raises:
        with pytest.raises(raises, match=r"could not be checked: ValueError: data is odd$"):
            dry_run(command, os.environ, job.in_public)
    else:
        assert dry_run(command, os.environ, job.in_public) == {"problems": "ValueError: data is odd", "diagnosis": None}


def test_a_job_from_draft_to_menu(jobs, tmp_path, monkeypatch):
    """Drafted, checked, watched, stopped in the middle, found again by another server, resumed, judged, put on the menu."""
    data = folder(tmp_path / "My cells", 8)
    # Two evaluations are waited for, which are fifty steps apart: a state after every step would be most of their time.
    job = jobs.draft("My cells!", data, {**QUICK, "max_steps": 5000, "save_every": 25})
    assert job.state() == DRAFT and jobs.list() == []
    with monkeypatch.context() as here:
        here.setattr(store.subprocess, "run", in_this_process)
        answer = jobs.check(job)
    assert answer["problems"] is None and answer["data"]["classes"] == ["background", "cell"]
    assert str(tmp_path) not in json.dumps(answer)
    jobs.start(job)
    until(lambda: job.progress().get("step", 0) >= 2)
    assert job.state() == RUNNING
    child = job_files.read_json(job.folder / job_files.CHILD)["pid"]
    if (environ := Path(f"/proc/{child}/environ")).exists():
        assert f"{JOB_OWNER}={job.owner}".encode() in environ.read_bytes().split(b"\0")
    # What is seen of it while it runs.
    until(lambda: job.samples is not None and job.curves())
    assert job.curves()[-1]["step"] < 5000 and job.samples == job.run / "samples.png"
    with Image.open(job.samples) as picture:
        assert picture.format == "PNG" and picture.width > 3 * 100
    until(lambda: (job.progress().get("left") or 0) > 0)
    assert " min left" in finetune_view.status(job, "en") or "than a minute left" in finetune_view.status(job, "en")
    first = job.samples.read_bytes()
    until(lambda: job.samples.read_bytes() != first)
    assert job.state() == RUNNING
    # What a server that was killed leaves is nothing but the folder.
    again = Jobs(jobs.root)
    assert [each.id for each in again.list()] == [job.id] and again.running().id == job.id
    with pytest.raises(BadRequestError, match="only one can run at a time"):
        again.start(again.draft("other", data, QUICK))
    with pytest.raises(BadRequestError, match="Stop it first"):
        again.delete(job)
    assert again.cancel(job)
    until(lambda: job.state() != RUNNING)
    assert (job.state(), job.exit_code()) == (STOPPED, 143)
    assert job.samples is not None, "they stay to be looked at"
    done = load_state(job.run / "last" / "state.pt")["history"]["step"]
    assert job.progress()["step"] <= done < 5000 and "Continue with" in job.log()
    with pytest.raises(BadRequestError, match="not finished"):
        use_here(job)
    # A resumed run keeps its settings; the fewer steps are those of the run itself, as if it had been asked for so many.
    config = json.loads((job.run / "config.json").read_text())
    config["config"]["max_steps"] = done + 3
    (job.run / "config.json").write_text(json.dumps(config))
    again.resume(job)
    until(lambda: job.state() != RUNNING)
    assert job.state() == DONE, job.log()
    assert job.result()["metrics"]["mean_iou"] > 0 and job.verdict().kind == "unknown"
    assert job.curves()[-1]["step"] == done + 3 and job.progress()["stage"] == "evaluate"
    id = use_here(job)
    assert id == "unet-my-cells" == use_here(job)
    spec = catalog.resolve(id, local_folders=False)
    assert (spec.source, spec.task, spec.labels) == ("folder", "semantic", ("background", "cell"))
    assert catalog.trained_folder(id) == job.checkpoint.resolve() and str(tmp_path) not in str(catalog.describe())
    again.delete(job)
    assert catalog.trained_models() == [] and not job.folder.exists()


@pytest.mark.soak
def test_a_killed_job_is_interrupted_and_a_recycled_id_is_not_taken_for_it(jobs, tmp_path):
    job = jobs.draft("data", folder(tmp_path / "data", 4), {**QUICK, "max_steps": 5000})
    jobs.start(job)
    until(lambda: job.progress().get("step", 0) >= 1)
    for name in (job_files.RUNNER, job_files.CHILD):
        os.kill(json.loads((job.folder / name).read_text())["pid"], signal.SIGKILL)
    until(lambda: job.state() == INTERRUPTED)
    # Another process of the same id: this one.
    mine = job_files.process_identity(os.getpid())
    for name in (job_files.RUNNER, job_files.CHILD):
        job_files.write_json(job.folder / name, {**mine, "began": "long ago"})
    assert job.state() == INTERRUPTED and not jobs.cancel(job) and jobs.running() is None
    job_files.write_json(job.folder / job_files.RUNNER, mine)
    assert job.state() == RUNNING
    job_files.write_json(job.folder / job_files.RUNNER, {})
    jobs.resume(job)
    until(lambda: job.progress().get("step", 0) >= 2)
    assert jobs.cancel(job)
    until(lambda: job.state() == STOPPED)


def test_a_zombie_does_not_run():
    child = subprocess.Popen([sys.executable, "-c", ""])
    known = job_files.process_identity(child.pid)
    until(lambda: not job_files.is_running(known))
    child.wait()
    assert job_files.is_running(job_files.process_identity(os.getpid()))
    assert not any(map(job_files.is_running, (None, {}, {"pid": "1"}, {"pid": os.getpid()}, {"pid": 2**22 + 1, "began": "x"})))


@pytest.mark.soak
def test_faults_come_with_a_proposal_that_mends_them(jobs, tmp_path):
    data = folder(tmp_path / "data", 4, value=255, classes="background\ncell\nborder\n")
    (data / "images" / "3.png").write_bytes(b"no image")
    job = jobs.draft("data", data, {**QUICK, "max_steps": 1})
    faults = jobs.check(job)["diagnosis"]["faults"]
    (proposal,) = {fault["proposal"] for fault in faults} - {None}
    assert json.loads(proposal) == {"0": "background", "255": "cell"}
    with pytest.raises(BadRequestError, match="suggestion does not belong"):
        jobs.mend(job, '{"0": "x"}')
    jobs.mend(job, proposal)
    jobs.configure(job, skip_bad=True)
    answer = jobs.check(job)
    assert answer["problems"] is None and answer["data"]["train_images"] + answer["data"]["val_images"] == 3
    assert not (data / "labels.json").exists(), "the dataset itself is left alone"


def test_data_comes_as_a_zip_of_a_folder_or_of_what_is_in_it(tmp_path):
    data = folder(tmp_path / "d", 2)
    for number, prefix in enumerate(("", "my set/")):
        with zipfile.ZipFile(tmp_path / "z.zip", "w") as archive:
            for path in sorted(each for each in data.rglob("*") if each.is_file()):
                archive.write(path, prefix + path.relative_to(data).as_posix())
        out = take(tmp_path / "z.zip", tmp_path / str(number), "Süß & co")
        assert out == tmp_path / str(number) / "s-co"
        assert {path.name for path in out.iterdir()} == {"images", "masks", "classes.txt"}
    with zipfile.ZipFile(tmp_path / "empty.zip", "w"):
        pass
    with pytest.raises(BadRequestError, match="holds no file"):
        take(tmp_path / "empty.zip", tmp_path / "e", "x")


def result(pairs, **baseline):
    images = [{"name": str(index), "base": base, "new": new} for index, (base, new) in enumerate(pairs)]
    known = [pair for pair in pairs if None not in pair]
    mean = [float(np.mean([pair[side] for pair in known])) if known else None for side in (0, 1)]
    scores = {"base": {"mean_iou": mean[0]}, "new": {"mean_iou": mean[1]}} if known else {"base": {}, "new": {}}
    return {"metrics": {"mean_iou": 0.5}, "baseline": {"metric": "mean_iou", "images": images, "why": None, **scores, **baseline}}


@pytest.mark.parametrize(
    ("pairs", "kind", "offered"),
    [
        ([(0.5, 0.7), (0.4, 0.65), (0.6, 0.72)], "better", True),
        ([(0.5, 0.9), (0.6, 0.5), (0.5, 0.5)], "unclear", True),
        ([(0.5, 0.4), (0.6, 0.69), (0.5, 0.2)], "worse", False),
        ([(0.5, 0.5)], "same", False),
        ([(0.5, 0.5), (0.4, 0.4), (0.6, 0.6)], "same", False),
        ([(0.5, 0.6), (0.4, 0.5), (0.6, 0.6)], "unclear", True),
        ([(0.5, 0.5 + gain) for gain in (0.1, 0.12, 0.08, 0.1, 0.1, -0.01, 0.11)], "better", True),
        ([(0.5, 0.6)], "unclear", True),
        ([(None, 0.6)], "unknown", True),
    ],
)
def test_the_held_out_images_decide(pairs, kind, offered):
    verdict = judge(result(pairs))
    assert (verdict.kind, verdict.offered) == (kind, offered)
    if verdict.difference is not None:
        assert verdict.difference == pytest.approx(np.mean([new - base for base, new in pairs]))


def test_the_spread_of_few_images_is_their_range_and_of_more_an_interval():
    few = judge(result([(0.5, 0.7), (0.4, 0.65), (0.6, 0.72)]))
    assert few.few and (few.low, few.high) == pytest.approx((0.12, 0.25))
    many = judge(result([(0.5, 0.5 + gain) for gain in np.linspace(0.1, 0.3, 9)]))
    assert not many.few and 0.1 < many.low < 0.2 < many.high < 0.3


def test_worse_over_all_pixels_is_worse_even_if_the_mean_of_the_images_is_not():
    assert judge(result([(0.5, 0.7), (0.5, 0.6)], new={"mean_iou": 0.3}, base={"mean_iou": 0.5})).kind == "worse"


def test_the_interval_covers_the_mean_as_often_as_it_says():
    rng = np.random.default_rng(5)
    covered = 0
    for _ in range(100):
        low, high = interval(rng.normal(0.1, 1, 60))
        covered += low <= 0.1 <= high
    assert 88 <= covered <= 100
    assert interval(np.array([0.3])) == (None, None) and interval(np.array([0.2, 0.2])) == pytest.approx((0.2, 0.2))


CLASSES = {"mean_iou": 0.503, "iou/background": 0.686, "iou/coin": 0.32}
FIRST = {"step": 0, "seconds": 0.0, "mean_iou": 0.364, "iou/background": 0.6, "iou/coin": 0.128}


@pytest.mark.parametrize("why", ["The base knows none of these classes.", None])
def test_what_the_log_has_from_before_the_first_step_is_compared_where_images_are_not(why):
    answer = {"metrics": CLASSES, "baseline": {"metric": "mean_iou", "why": why, "base": {}, "new": {}, "images": []}}
    verdict = judge(answer, [FIRST, {"step": 40, "loss": 0.4, **CLASSES}])
    assert (verdict.kind, verdict.logged, verdict.offered) == ("unclear", True, True)
    assert (verdict.base, verdict.new) == (0.128, 0.32), "of the coin alone"
    assert [(row.name, row.base, row.new, row.background) for row in verdict.classes] == [
        ("coin", 0.128, 0.32, False), ("background", 0.6, 0.686, True),
    ]  # fmt: skip
    assert judge(answer, [{"step": 40, "loss": 0.4, **CLASSES}]).kind == "unknown"
    assert judge(answer, [{**FIRST, **CLASSES, "step": 0}]).kind == "same"
    assert judge(answer, [{**FIRST, "iou/coin": 0.4}]).kind == "worse"


@pytest.mark.parametrize(
    ("gain", "kind"), [(0.0002, "same"), (-0.0002, "same"), (0.0049, "same"), (0.0051, "better"), (-0.0051, "worse")]
)
def test_a_difference_of_a_thousandth_is_none(gain, kind):
    assert judge(result([(0.5, 0.5 + gain + wave) for wave in (0, 1e-5, -1e-5, 2e-5, 0, 1e-5, 0, 1e-5)])).kind == kind


def test_the_background_does_not_judge():
    """Both networks find all of the background, which is most of each image; of the things the new one finds less."""
    images = [{"name": str(i), "base": 0.6, "new": 0.62, "base_things": 0.4, "new_things": 0.3} for i in range(8)]
    sides = {"base": {"mean_iou": 0.6, "iou/nothing": 0.8, "iou/cell": 0.4}, "new": {"mean_iou": 0.62, "iou/nothing": 0.94, "iou/cell": 0.3}}
    verdict = judge({"metrics": {}, "baseline": {"metric": "mean_iou", "images": images, "background": "nothing", **sides}})
    assert verdict.kind == "worse" and verdict.difference == pytest.approx(-0.1) and (verdict.base, verdict.new) == (0.4, 0.3)
    assert [row.background for row in verdict.classes] == [False, True]


@pytest.mark.parametrize("model", ["unet-cells", pytest.param("maskrcnn-cells", marks=pytest.mark.soak)])
def test_a_bases_cell_is_compared_with_the_datas_only_thing(tmp_path, capsys, model):
    """Training takes the cell for the coin; so does the comparison with what it started from."""
    data = write_folder(tmp_path / "data", sorted(DOMAINS)[0], 1, 4, objects=model.startswith("mask"))
    (data / "classes.txt").write_text("background\ncoin\n")
    for name in ("labels.json", "instances.json"):
        (data / name).unlink(missing_ok=True)
    small = ["--max-steps", "1", "--batch-size", "1", "--image-size", "64", "--device", "cpu", "--threads", "1", "--val-fraction", "0.5"]
    command = ["--model", model, "--data", str(data), "--output", str(tmp_path / "run"), *small, "--baseline", "--json", "--replay", "0"]
    assert finetune.main(command) == 0
    answer = json.loads(capsys.readouterr().out)
    found = answer["baseline"]
    assert found["why"] is None and found["background"] == "background" and "coin" in found["classes"] and found["images"]
    verdict = judge(answer)
    assert verdict.kind != "unknown" and verdict.base is not None and not verdict.logged
    assert any(row.name == "coin" and not row.background for row in verdict.classes)


@pytest.mark.parametrize("repo", ["", "cells", "../x/y", "a/b@c", "a/b c", "https://huggingface.co/a/b"])
def test_a_push_to_no_repository_is_refused(jobs, tmp_path, repo, monkeypatch):
    job = jobs.draft("data", folder(tmp_path / "data", 2), QUICK)
    job_files.write_json(job.folder / job_files.EXIT, {"code": 0})
    with pytest.raises(BadRequestError, match="name of (a|the) repository"):
        push_model(job, repo, "hf_x", False)


def test_ids_of_jobs_are_no_paths(jobs):
    for id in ("..", "../../etc", "", None, 3, "20261123-023601-abcdeg", "20261123-023601-abcdef"):
        with pytest.raises(BadRequestError, match="no such job"):
            jobs.open(id)


def test_a_comparison_decides_what_is_trained_with_what_was_asked_for(jobs, tmp_path):
    asked = {**QUICK, "model": "segformer-cells", "from_scratch": False, "max_steps": 120, "lr": 0.5, "replay": 0.0}
    draft = jobs.draft("cells", folder(tmp_path / "cells", 3), asked, "me")
    jobs.remember(draft, replay=0.25)
    jobs.compare(draft, 5)
    words = ["--config", str(draft.folder / job_files.CONFIG), "--output", str(draft.run), "--json"]
    config, given = parse(words)
    assert config.advise and config.minutes == 5 and config.image_size == 32 and "model" not in given
    with pytest.raises(BadRequestError, match="not found a network"):
        jobs.winner(draft)
    rows = [
        Candidate(model, None, (0, 400), state, base=base, architecture="unet", crop=160, scores=[[0.5, score]], total=400, paces=[0.2])
        for model, state, base, score in (("unet-cells", RACING, "unet-cells", 0.7), ("fcn", BEHIND, None, 0.2))
    ]
    rows.append(Candidate("<b>mask</b>", state=LEFT_OUT, why=Message("candidates.no_time")))
    advice = Advice("cells", "x", "semantic", "mean_iou", 5, 3, 3, 2, rows, sizes=[2], targets=[7.0], done=True)
    draft.run.mkdir(parents=True)
    job_files.write_json(draft.run / "advice.json", advice.to_dict(config))
    job_files.write_json(draft.folder / job_files.RUNNER, {"pid": 0, "began": "x"})
    job_files.write_json(draft.folder / job_files.RESULT, {"advice": {}})
    job_files.write_json(draft.folder / job_files.EXIT, {"code": 0, "when": 0, "why": ""})
    done = jobs.open(draft.id)
    assert done.state() == DONE and done.verdict() is None
    shown = finetune_view.advice(done.advice(), "en")
    assert "unet-cells (160) is the best: it is ahead on each of the 2 folds" in shown and "0.600 ± 0.141" in shown
    assert "left out for want of time" in shown and "&lt;b&gt;mask" in shown and "<b>mask" not in shown
    assert "时间不够" in finetune_view.advice(done.advice(), "zh")
    made = jobs.winner(done)
    config, _ = parse(["--config", str(made.folder / job_files.CONFIG), "--output", str(made.run), "--json"])
    assert (config.model, config.max_steps, config.lr, config.batch_size, config.baseline) == ("unet-cells", 120, None, None, True)
    assert not config.advise and made.about["replay"] == 0.25 and made.owner == "me" and not made.compares
    assert made.state() == DRAFT and len(list((made.folder / job_files.DATA / "cells" / "images").iterdir())) == 3
