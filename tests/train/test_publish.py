"""Rights before, one commit, comparison after; failures keep everything and say how to go on. Over HTTP, on loopback."""

import logging
import os
from dataclasses import replace

import pytest
import torch
from safetensors.torch import save_file

from seg_demo.core.errors import BadRequestError, HubUnavailableError
from seg_demo.hub import client
from tests.train.test_card import some_facts
from train.finetune import PublishError, publish
from train.report import read_facts, write_card
from train.setup import Rights, check_rights, default_name

TOKEN = "hf_ann_secret_4711"
ASK = {"private": False, "message": "unet on cells: mean_iou 0.812"}


@pytest.fixture
def ann(hub, monkeypatch):
    """The Hub, with ann logged in."""
    hub.add_user("ann", TOKEN, orgs={"lab": "write", "readers": "read"})
    monkeypatch.setenv("HF_TOKEN", TOKEN)
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    return hub


@pytest.fixture
def best(tmp_path):
    """A finished checkpoint folder."""
    folder = tmp_path / "my run" / "best"
    folder.mkdir(parents=True)
    (folder / "config.json").write_text('{"architecture": "fcn"}')
    (folder / "preprocessor_config.json").write_text("{}")
    save_file({"weight": torch.arange(1000.0)}, folder / "model.safetensors")
    write_card(folder, some_facts())
    return folder


def contents(folder) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


def test_names():
    assert default_name("", "ß") == "model"


def test_the_default_repository_is_named_after_network_and_data(ann):
    assert check_rights(None, "unet", "cells", False) == Rights("ann/unet-cells", "ann")
    assert check_rights("lab/x", "unet", "cells", True) == Rights("lab/x", "ann")


@pytest.mark.parametrize(
    ("repo", "said"),
    [
        ("ann", "written USER/REPO"),
        ("ann/a b", "written USER/REPO"),
        ("ann/-x-", "cannot have as a name"),
        ("eve/model", "may not push to eve/model"),
        ("readers/model", "only the role 'read'"),
    ],
)
def test_what_would_fail_after_training_is_refused_before(ann, repo, said):
    with pytest.raises(BadRequestError, match=said):
        check_rights(repo, "unet", "cells", False)


def test_a_login_is_needed_and_must_be_allowed_to_write(hub, monkeypatch):
    with pytest.raises(BadRequestError, match="hf auth login"):
        check_rights(None, "unet", "cells", False)
    hub.add_user("rob", "hf_rob", role="read")
    monkeypatch.setenv("HF_TOKEN", "hf_rob")
    with pytest.raises(BadRequestError, match="may only read"):
        check_rights(None, "unet", "cells", False)
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(BadRequestError) as caught:
        check_rights(None, "unet", "cells", False)
    assert "hf_wrong" not in str(caught.value)


def test_what_should_be_private_is_not_put_into_a_public_repository(ann):
    ann.add_repo("ann/open", {"a.txt": b"a"})
    ann.add_repo("ann/closed", {"a.txt": b"a"}, private=True)
    assert check_rights("ann/closed", "unet", "cells", True).repo_id == "ann/closed"
    with pytest.raises(BadRequestError, match="exists already and is public"):
        check_rights("ann/open", "unet", "cells", True)


def test_a_push_is_one_commit_that_holds_the_folder_and_twice_is_no_second(ann, best, caplog):
    caplog.set_level(logging.DEBUG)
    done = publish(best, "ann/unet-cells", run_dir=best.parent, **ASK)
    assert done.url == f"{os.environ['HF_ENDPOINT']}/ann/unet-cells" and not done.unchanged
    assert ann.commits("ann/unet-cells")[-1] == ASK["message"]
    pushed = {name: data for name, data in ann.files("ann/unet-cells", done.sha).items() if name != ".gitattributes"}
    assert pushed == contents(best)
    assert b'load_model("ann/unet-cells")' in pushed["README.md"], "the card knows where it ended up"
    assert read_facts(best).repo_id == "ann/unet-cells"
    before = ann.commits("ann/unet-cells")
    again = publish(best, "ann/unet-cells", run_dir=best.parent, **ASK)
    assert again == replace(done, unchanged=True) and ann.commits("ann/unet-cells") == before
    for place in (*contents(best).values(), caplog.text.encode()):
        assert TOKEN.encode() not in place


def test_passing_failures_are_retried(ann, best):
    ann.fail("POST .*/commit/", status=503, times=2)
    ann.fail("GET .*/resolve/.*", status=None, times=1)
    ann.fail("GET /api/models/ann/m$", status=503, times=1)
    done = publish(best, "ann/m", run_dir=best.parent, **ASK)
    assert ann.files("ann/m", done.sha)["config.json"] == (best / "config.json").read_bytes()


def test_a_push_that_fails_for_good_keeps_everything_and_says_how_to_retry(ann, best):
    ann.fail("POST .*/commit/", status=503, times=client.ATTEMPTS)
    with pytest.raises(PublishError) as caught:
        publish(best, "ann/m", private=True, message="m", run_dir=best.parent)
    assert isinstance(caught.value.__cause__, HubUnavailableError)
    said = str(caught.value).splitlines()[-1]
    assert said.endswith(f"python train/finetune.py --resume '{best.parent}' --push ann/m --private")
    assert sorted(contents(best)) == [
        "README.md", "config.json", "model.safetensors", "preprocessor_config.json", "training.json",
    ]  # fmt: skip
    assert publish(best, "ann/m", private=True, message="m", run_dir=best.parent).sha
    assert ann.repos["model", "ann/m"].private


def test_what_arrived_different_is_not_called_published(ann, best, monkeypatch):
    sound = client.HfApi.create_commit

    def damaged(self, repo_id, operations, **rest):
        for operation in operations:
            if operation.path_in_repo == "config.json":
                operation.path_or_fileobj = b"{}"
                operation.__post_init__()
        return sound(self, repo_id, operations, **rest)

    monkeypatch.setattr(client.HfApi, "create_commit", damaged)
    with pytest.raises(PublishError, match=r"config.json in ann/m at [0-9a-f]{40} differ(.|\n)*--resume"):
        publish(best, "ann/m", run_dir=best.parent, **ASK)
