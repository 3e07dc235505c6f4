"""The training command's last stage over real HTTP: pushed and loaded, broken off at any point, finished by one command."""

from __future__ import annotations

import json
import shutil
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from seg_demo import load_model, networks
from seg_demo.core.errors import Message
from seg_demo.hub import client
from tests.hub_stand_in import HubStandIn
from tests.train.test_finetune import CHECKPOINT, TOKEN, arguments, data  # noqa: F401
from train import finetune
from train.run import Stopped


@pytest.fixture
def ann(hub, monkeypatch):
    """The Hub, with ann logged in."""
    hub.add_user("ann", TOKEN)
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    return hub


def test_push_ends_in_a_repository_that_plain_libraries_and_the_demo_load(ann, data: Path, tmp_path: Path) -> None:  # noqa: F811
    import segmentation_models_pytorch as smp

    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--max-steps", "2", "--push")) == 0
    repo = f"ann/unet-{data.name.rstrip('0123456789')}".rstrip("-")
    (pushed,) = [name for kind, name in ann.repos if kind == "model" and name.startswith("ann/unet-")]
    assert pushed.startswith(repo)
    files = ann.files(pushed)
    assert CHECKPOINT <= set(files) and files["model.safetensors"] == (run / "best" / "model.safetensors").read_bytes()
    assert not any(TOKEN.encode() in content for content in files.values())
    assert not any(TOKEN.encode() in path.read_bytes() for path in run.rglob("*") if path.is_file())
    image = np.asarray(Image.open(data / "images" / "01.png"))
    demo = load_model(pushed, device="cpu")
    plain = smp.from_pretrained(pushed).eval()
    checkpoint = networks.load(run / "best")
    batch = checkpoint.preprocess(image)
    with torch.no_grad():
        logits = plain(batch)
        assert torch.equal(logits, checkpoint.module(batch))
    assert np.array_equal(demo.predict(image).id_map, logits[0, :, :48, :64].argmax(0).numpy())


def test_a_push_brings_how_robust_it_is(ann, data: Path, tmp_path: Path) -> None:  # noqa: F811
    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--max-steps", "2", "--robustness", "0.3", "--push", "ann/mine")) == 0
    files, facts = ann.files("ann/mine"), json.loads((run / "best" / "training.json").read_text())
    card = (run / "best" / "README.md").read_text()
    assert facts["robustness"]["metric"] == "mean_iou" and len(facts["robustness"]["rows"]) == 7 and facts["onnx"] is None
    assert files["robustness.png"] == (run / "best" / "robustness.png").read_bytes() and "robustness.png" in card
    assert "## How robust it is" in card and "| blur (" in card and "## Without torch" not in card


@pytest.mark.soak
def test_a_push_brings_the_network_without_torch(ann, data: Path, tmp_path: Path) -> None:  # noqa: F811
    """A finished run gets its ONNX file by one command."""
    import onnxruntime

    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--max-steps", "2", "--robustness", "0.3", "--push", "ann/mine")) == 0
    assert finetune.main(["--resume", str(run), "--onnx", "--push", "ann/mine"]) == 0
    files = ann.files("ann/mine")
    assert files["onnx/model.onnx"] == (run / "best" / "onnx" / "model.onnx").read_bytes() and "robustness.png" in files
    card = (run / "best" / "README.md").read_text()
    assert "## Without torch" in card and 'InferenceSession("onnx/model.onnx"' in card and files["README.md"].decode() == card
    session = onnxruntime.InferenceSession(files["onnx/model.onnx"])
    batch = networks.load(run / "best").preprocess(np.asarray(Image.open(data / "images" / "03.png").convert("RGB")))
    with torch.no_grad():
        expected = networks.load(run / "best").module(batch)
    torch.testing.assert_close(torch.from_numpy(session.run(None, {"pixel_values": batch.numpy()})[0]), expected, atol=1e-4, rtol=1e-4)
    assert load_model("ann/mine", device="cpu").spec.architecture == "unet", "and the demo loads what has an ONNX file beside its weights"


def test_a_failed_push_keeps_everything_and_one_command_finishes_it(ann, data: Path, tmp_path: Path, capsys) -> None:  # noqa: F811
    run = tmp_path / "run"
    ann.fail("POST .*/commit/", status=503, times=100)
    assert finetune.main(arguments(data, run, "--max-steps", "2", "--push", "ann/mine")) == 4
    said = capsys.readouterr().err
    assert f"--resume {run} --push ann/mine" in said and TOKEN not in said
    weights = (run / "best" / "model.safetensors").read_bytes()
    ann._failures.clear()
    assert finetune.main(["--resume", str(run), "--push", "ann/mine"]) == 0
    assert ann.files("ann/mine")["model.safetensors"] == weights
    assert len(json.loads((run / "best" / "training.json").read_text())["metrics"]) > 0


@pytest.fixture
def pauses(monkeypatch) -> list[float]:
    """Seconds of every pause between attempts, of the client library's own and of ours; none is really waited for."""
    waited: list[float] = []
    sleep = time.sleep

    def pause(seconds: float) -> None:
        # Threads of others sleep by the same function.
        asking = sys._getframe(1).f_globals.get("__name__", "")
        waited.append(seconds) if asking.startswith(("huggingface_hub", "seg_demo.hub")) else sleep(seconds)

    monkeypatch.setattr(time, "sleep", pause)
    monkeypatch.setattr(client, "FIRST_PAUSE", 1.0)
    return waited


def secrets_in(run: Path, said: str) -> list[str]:
    written = [path.name for path in run.rglob("*") if path.is_file() and TOKEN.encode() in path.read_bytes()]
    return written + ["output"] * (TOKEN in said)


def test_a_connection_lost_in_the_middle_of_the_weights_is_retried(
    ann: HubStandIn, data: Path, tmp_path: Path, pauses: list[float], capfd  # noqa: F811
) -> None:
    """A large file travels in a request of its own, under its hash; twice the connection ends after part of its body."""
    run = tmp_path / "run"
    ann.fail("PUT /lfs/", status=None, after=5_000, times=2)
    assert finetune.main(arguments(data, run, "--max-steps", "1", "--push", "ann/mine")) == 0
    assert len(ann.dropped) == 2 and all(0 < received < whole for *_, received, whole in ann.dropped)
    assert pauses == sorted(pauses) and len(pauses) == 2, "each pause is longer than the last"
    assert ann.commits("ann/mine")[1:] and len(ann.commits("ann/mine")) == 2, "one commit, and that of the new repository"
    assert ann.files("ann/mine")["model.safetensors"] == (run / "best" / "model.safetensors").read_bytes()
    assert secrets_in(run, "".join(capfd.readouterr())) == []


def test_a_connection_lost_again_and_again_keeps_everything_and_needs_no_data_to_go_on(
    ann: HubStandIn, data: Path, tmp_path: Path, pauses: list[float], capfd, monkeypatch  # noqa: F811
) -> None:
    """It ends with 4; by then the data has moved and another login would do: the run folder is all that the retry reads."""
    run, here = tmp_path / "run", tmp_path / "data"
    shutil.copytree(data, here)
    ann.fail("PUT /lfs/", status=None, after=5_000, times=10_000)
    assert finetune.main(arguments(here, run, "--max-steps", "1", "--push", "ann/mine", "--private")) == 4
    said = "".join(capfd.readouterr())
    assert f"--resume {run} --push ann/mine --private" in said and str(run / "best") in said
    assert "attempt 2 of 5" in said and f"attempt {client.ATTEMPTS} of 5" in said
    assert len(ann.dropped) >= client.ATTEMPTS and all(received < whole for *_, received, whole in ann.dropped)
    assert ann.commits("ann/mine") == ["initial commit"] and not ann.lfs, "nothing half-sent is in the repository"
    assert secrets_in(run, said) == []
    before = {path.relative_to(run): path.read_bytes() for path in (run / "best").iterdir()}
    assert {path.name for path in before} == CHECKPOINT
    metrics = json.loads(before[Path("best/training.json")])["metrics"]

    shutil.rmtree(here)
    assert finetune.main(["--resume", str(run), "--push", "--json"]) == 4
    kept = {"run": str(run), "checkpoint": str(run / "best"), "metrics": metrics, "baseline": None, "pushed": None, "messages": []}
    assert json.loads(capfd.readouterr().out) == kept
    ann._failures.clear()
    monkeypatch.setattr("train.trainer.Trainer.fit", lambda *_: pytest.fail("a finished run is not trained again"))
    assert finetune.main(["--resume", str(run), "--push", "--json"]) == 0
    printed = json.loads(capfd.readouterr().out)
    assert printed["pushed"]["repo"] == "ann/mine" and printed["metrics"] == metrics != {}
    assert ann.repos["model", "ann/mine"].private
    pushed = {Path("best") / name: content for name, content in ann.files("ann/mine").items() if name != ".gitattributes"}
    assert pushed == before
    assert ann.commits("ann/mine")[-1] == f"unet-data: mean_iou {metrics['mean_iou']:.3f}"

    commits = ann.commits("ann/mine")
    assert finetune.main(["--resume", str(run), "--push"]) == 0 and finetune.main(["--resume", str(run)]) == 0
    assert ann.commits("ann/mine") == commits, "what is there already makes no second commit"


def test_what_forbids_the_push_of_a_finished_run_is_said_before(ann, data: Path, tmp_path: Path, capsys, monkeypatch) -> None:  # noqa: F811
    run = tmp_path / "run"
    assert finetune.main(arguments(data, run, "--max-steps", "1")) == 0
    assert finetune.main(["--resume", str(run), "--push", "eve/theirs"]) == 2
    assert "may not push to eve/theirs" in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    assert finetune.main(["--resume", str(run), "--push"]) == 2
    assert "hf auth login" in capsys.readouterr().err
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    (run / "best" / "model.safetensors").write_bytes(b"half")
    assert finetune.main(["--resume", str(run), "--push"]) == 2
    assert "model.safetensors" in capsys.readouterr().err and not ann.repos


def test_without_its_evaluation_a_finished_run_still_needs_the_data(
    ann, data: Path, tmp_path: Path, capsys, monkeypatch  # noqa: F811
) -> None:
    """Stopped between the last step and the card: the numbers are missing, so it says which data it looks for."""
    run, here = tmp_path / "run", tmp_path / "data"
    shutil.copytree(data, here)

    def stopped(*_: object) -> None:
        raise Stopped(15)

    with monkeypatch.context() as patch:
        patch.setattr("train.report.write_report", stopped)
        assert finetune.main(arguments(here, run, "--max-steps", "1")) == 143
    here.rename(tmp_path / "moved")
    assert finetune.main(["--resume", str(run), "--push"]) == 2
    said = capsys.readouterr().err
    assert str(here) in said and "before its evaluation" in said and "Put the data back" in said
    (tmp_path / "moved").rename(here)
    assert finetune.main(["--resume", str(run), "--push"]) == 0
    assert json.loads((run / "best" / "training.json").read_text())["metrics"]


def test_a_run_whose_push_failed_prints_what_it_has(ann: HubStandIn, data: Path, tmp_path: Path, capfd, monkeypatch) -> None:  # noqa: F811
    run = tmp_path / "run"

    def refused(*_):
        raise finetune.PublishError(Message("training.server_out_of_reach"))

    monkeypatch.setattr(finetune, "push_best", refused)
    assert finetune.main(arguments(data, run, "--max-steps", "1", "--push", "ann/mine", "--json")) == 4
    printed = json.loads(capfd.readouterr().out)
    metrics = json.loads((run / "best" / "training.json").read_text())["metrics"]
    assert printed["run"] == str(run) and printed["metrics"] == metrics != {} and printed["pushed"] is None and "baseline" in printed
