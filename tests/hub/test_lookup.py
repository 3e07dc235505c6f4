"""The door to the Hub, over real HTTP on loopback: what is fetched, as whom, how long it may take, what is said."""

from __future__ import annotations

import json
import os
import time

import pytest

from seg_demo.core.errors import BadCheckpointError, HubUnavailableError, ModelNotFoundError
from seg_demo.core.settings import Settings, settings
from seg_demo.core.types import ModelSpec
from seg_demo.hub import cache, client, lookup

FILES = {
    "config.json": b'{"model_type": "segformer"}',
    "model.safetensors": os.urandom(200_000),
    "README.md": b"---\nlicense: mit\n---\n",
}


def spec(id: str, revision: str | None = None) -> ModelSpec:
    return ModelSpec(id, revision, "semantic", "", id, "", "hub")

# Less than a Hub is given where nobody is impatient, and much more than one second of patience twice.
IMPATIENT = Settings().hub_timeout - 0.5


@pytest.fixture
def impatient(monkeypatch):
    """Call it, and from then on the Hub must answer within a second, or what is given; returns the seconds."""

    def begin(seconds: float = 1.0) -> float:
        monkeypatch.setenv("SEG_DEMO_HUB_TIMEOUT", str(seconds))
        settings.cache_clear()
        return seconds

    yield begin
    monkeypatch.undo()
    settings.cache_clear()


def test_a_public_model_is_fetched_once_and_then_without_the_network(hub):
    unwanted = {"sub/other.json": b"{}", "tokenizer.json": b"x" * 2_000_000, "pytorch_model.bin": b"x"}
    hub.add_repo("ann/model", {**FILES, **unwanted})
    fractions = []
    folder = lookup.fetch(spec("ann/model"), token=False, report=lambda fraction, text: fractions.append(fraction))
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors"}
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    assert fractions[-1] == 1.0 and all(0 <= fraction <= 1 for fraction in fractions)
    hub.reset_counts()
    assert lookup.fetch(spec("ann/model"), token=False) == folder
    assert hub.count() == 0


def test_words_that_are_in_one_file_are_fetched(hub):
    words = {"tokenizer.json": b"x" * 2_000_000, "tokenizer_config.json": b"{}"}
    hub.add_repo("ann/words", {**FILES, **words})
    folder = lookup.fetch(spec("ann/words"), token=False)
    assert {path.name for path in folder.iterdir()} == {"config.json", "model.safetensors", *words}
    hub.add_repo("ann/more", {**FILES, **words, "vocab.json": b"{}"})
    assert "tokenizer.json" not in {path.name for path in lookup.fetch(spec("ann/more"), token=False).iterdir()}


def test_a_branch_is_looked_up_again_after_a_while_and_a_commit_never(hub, monkeypatch):
    first = hub.add_repo("ann/model", FILES)
    assert lookup.fetch(spec("ann/model"), token=False).name == first
    second = hub.add_repo("ann/model", {**FILES, "config.json": b"{}"})
    assert lookup.fetch(spec("ann/model"), token=False).name == first
    monkeypatch.setattr(lookup, "REFRESH_SECONDS", 0.0)
    assert lookup.fetch(spec("ann/model"), token=False).name == second
    hub.reset_counts()
    assert lookup.fetch(spec("ann/model", first), token=False).name == first
    assert hub.count() == 0


def test_branches_tags_and_commits(hub):
    main = hub.add_repo("ann/model", FILES)
    other = hub.add_repo("ann/model", {**FILES, "config.json": b'{"other": 1}'}, revision="v2")
    nested = hub.add_repo("ann/model", {**FILES, "config.json": b'{"nested": 1}'}, revision="refs/pr/7")
    assert lookup.fetch(spec("ann/model", "v2"), token=False).name == other
    assert lookup.fetch(spec("ann/model", "refs/pr/7"), token=False).name == nested
    assert lookup.fetch(spec("ann/model", main), token=False).name == main
    with pytest.raises(ModelNotFoundError, match="no revision 'v9'"):
        lookup.fetch(spec("ann/model", "v9"), token=False)


def test_a_private_model_is_for_who_may_see_it_also_from_the_cache(hub, monkeypatch):
    hub.add_user("ann", "hf_ann")
    hub.add_repo("ann/secret", FILES, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_ann")
    with pytest.raises(ModelNotFoundError, match="no public model ann/secret"):
        lookup.fetch(spec("ann/secret"), token=False)
    folder = lookup.fetch(spec("ann/secret"), token=True)
    with pytest.raises(ModelNotFoundError):
        lookup.fetch(spec("ann/secret"), token=False)
    with pytest.raises(ModelNotFoundError):
        lookup.fetch(spec("ann/secret", folder.name), token=False)
    assert lookup.cached(spec("ann/secret"), token=True) == folder
    assert lookup.cached(spec("ann/secret"), token=False) is None
    hub.__exit__()
    lookup.forget()
    with pytest.raises(HubUnavailableError):
        lookup.fetch(spec("ann/secret"), token=False)
    assert lookup.fetch(spec("ann/secret"), token=True) == folder
    hub.__enter__()


def test_a_stale_login_does_not_lock_out_of_public_models(hub, monkeypatch):
    hub.add_user("ann", "hf_ann")
    hub.add_repo("ann/model", FILES)
    hub.add_repo("ann/secret", FILES, private=True)
    monkeypatch.setenv("HF_TOKEN", "hf_expired")
    assert lookup.fetch(spec("ann/model"), token=True).is_dir()
    with pytest.raises(HubUnavailableError, match="does not accept the login token"):
        lookup.fetch(spec("ann/secret"), token=True)


def test_what_cannot_be_used_is_refused_before_it_is_downloaded(hub, monkeypatch):
    hub.add_repo("ann/pickle", {"config.json": b"{}", "model.pth": b"x"})
    with pytest.raises(BadCheckpointError, match="no model.safetensors; what it has, model.pth, is a pickle that no library loads"):
        lookup.fetch(spec("ann/pickle"), token=False)
    hub.add_repo("ann/bare", {"model.safetensors": b"x"})
    with pytest.raises(BadCheckpointError, match="no config.json"):
        lookup.fetch(spec("ann/bare"), token=False)
    hub.add_repo("ann/gated", FILES, gated=True)
    with pytest.raises(ModelNotFoundError, match="gated"):
        lookup.fetch(spec("ann/gated"), token=False)
    with pytest.raises(ModelNotFoundError, match="no public model ann/none"):
        lookup.fetch(spec("ann/none"), token=False)
    hub.add_repo("ann/large", FILES)
    monkeypatch.setenv("SEG_DEMO_MAX_MODEL_BYTES", "1000")
    settings.cache_clear()
    try:
        with pytest.raises(BadCheckpointError, match="200000 bytes, but at most 1000"):
            lookup.fetch(spec("ann/large"), token=False)
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert hub.count("GET .*/resolve/") == 0


def test_old_weights_that_the_hub_has_converted_are_taken_and_nothing_else(hub, monkeypatch):
    """The bot's branch is older than what the owner wrote since: config.json and its like come from the revision asked for."""
    main = {"config.json": b'{"model_type": "segformer", "id2label": {"0": "new"}}', "pytorch_model.bin": b"x", "preprocessor_config.json": b"{}"}
    commit = hub.add_repo("ann/old", main)
    hub.add_pull("ann/old", 1, {**FILES, "model.safetensors": b"first", "preprocessor_config.json": b"[]"}, "SFconvertbot")
    hub.add_pull("ann/old", 2, {**FILES, "model.safetensors": b"newest"}, "SFconvertbot")
    hub.add_pull("ann/old", 3, {**FILES, "model.safetensors": b"a stranger's"}, "mallory")
    hub.add_pull("ann/old", 4, {**FILES, "model.safetensors": b"closed"}, "SFconvertbot", "closed")
    for revision in (commit, None, "main"):
        lookup.forget()
        folder = lookup.fetch(spec("ann/old", revision), token=False)
        assert folder.parts[-3:] == (commit, ".seg-demo", "top")
        assert {path.name: path.read_bytes() for path in folder.iterdir()} == {
            "config.json": main["config.json"], "preprocessor_config.json": b"{}", "model.safetensors": b"newest",
        }  # fmt: skip
    hub.reset_counts()
    assert lookup.fetch(spec("ann/old"), token=False) == folder and hub.count() == 0
    hub.add_pull("ann/old", 5, {**FILES, "model.safetensors": b"newer still"}, "SFconvertbot")
    monkeypatch.setattr(lookup, "REFRESH_SECONDS", 0.0)
    assert (lookup.fetch(spec("ann/old"), token=False) / "model.safetensors").read_bytes() == b"newer still"
    # What was converted are not an older commit's weights.
    hub.add_repo("ann/old", {**main, "pytorch_model.bin": b"others"})
    before = lookup.look_up(spec("ann/old", commit), token=False)
    assert before.lender is None and before.pickled == len(main["pytorch_model.bin"])
    assert lookup.look_up(spec("ann/old"), token=False).lender is not None
    hub.__exit__()
    lookup.forget()
    assert lookup.cached(spec("ann/old"), token=False) == folder and cache.intact(folder)
    hub.__enter__()


def test_a_folder_of_a_repository_is_a_model(hub):
    both = {f"{name}/{file}": data for name in ("b0", "b1") for file, data in {**FILES, "config.json": b'{"of": "%s"}' % name.encode()}.items()}
    sha = hub.add_repo("ann/zoo", both)
    folder = lookup.fetch(spec("ann/zoo/b1"), token=False)
    assert folder.parts[-3:] == (sha, ".seg-demo", "b1") and (folder / "config.json").read_bytes() == b'{"of": "b1"}'
    assert hub.count("GET .*/resolve/.*/b0/") == 0
    with pytest.raises(BadCheckpointError, match="holds 2 models, each in a folder. Type the one that is meant: ann/zoo/b0, ann/zoo/b1"):
        lookup.fetch(spec("ann/zoo"), token=False)
    with pytest.raises(BadCheckpointError, match="no folder 'b2'. Its models are ann/zoo/b0, ann/zoo/b1"):
        lookup.fetch(spec("ann/zoo/b2"), token=False)
    lookup.forget()
    assert lookup.cached(spec("ann/zoo/b1"), token=False) == folder and lookup.cached(spec("ann/zoo"), token=False) is None


@pytest.mark.parametrize("known", [False, True], ids=["unknown", "cached"])
def test_a_hub_that_accepts_and_never_answers(hub, impatient, monkeypatch, known):
    hub.add_repo("ann/model", FILES)
    if known:
        folder = lookup.fetch(spec("ann/model"), token=False)
        lookup.forget()
    hub.hanging = True
    # What is cached does not wait as long as what is missing, by far: a machine that others keep busy must not hide it.
    impatient(20.0 if known else 1.0)
    monkeypatch.setattr(lookup, "PROBE_SECONDS", 0.3)
    began = time.monotonic()
    if known:
        assert lookup.fetch(spec("ann/model"), token=False) == folder
    else:
        with pytest.raises(HubUnavailableError, match="does not answer, and ann/model is not in the local cache"):
            lookup.fetch(spec("ann/model"), token=False)
    assert time.monotonic() - began < (10 if known else IMPATIENT)
    asked = hub.count()
    assert not lookup.reachable()
    with pytest.raises(HubUnavailableError):
        lookup.fetch(spec("ann/other"), token=False)
    assert hub.count() == asked, "it is known to be silent, and nobody waits for it again"


def test_a_download_that_stalls_is_left_behind(hub, impatient):
    hub.add_repo("ann/model", FILES)
    impatient()
    hub.fail("HEAD .*/resolve/", status=None, times=100)
    began = time.monotonic()
    with pytest.raises(HubUnavailableError):
        lookup.fetch(spec("ann/model"), token=False)
    assert time.monotonic() - began < IMPATIENT


def test_a_download_that_breaks_off_goes_on(hub):
    hub.add_repo("ann/model", FILES)
    hub.fail("GET .*safetensors", status=None, after=50_000)
    folder = lookup.fetch(spec("ann/model"), token=False)
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]


def test_failures_of_the_hub_are_said_and_the_cache_serves(hub):
    hub.fail("GET /api/models", status=503)
    with pytest.raises(HubUnavailableError, match=r"answers with an error \(503\)"):
        lookup.fetch(spec("ann/model"), token=False)
    hub.add_repo("ann/model", FILES)
    folder = lookup.fetch(spec("ann/model"), token=False)
    lookup.forget()
    hub.fail("GET /api/models", status=429)
    assert lookup.fetch(spec("ann/model"), token=False) == folder


def test_damaged_and_half_written_files_are_fetched_again(hub):
    hub.add_repo("ann/model", FILES)
    folder = lookup.fetch(spec("ann/model"), token=False)
    blob = (folder / "model.safetensors").resolve()
    blob.write_bytes(FILES["model.safetensors"][:1000])
    lookup.forget()
    assert lookup.fetch(spec("ann/model"), token=False) == folder
    assert (folder / "model.safetensors").read_bytes() == FILES["model.safetensors"]
    (folder / "config.json").resolve().write_bytes(b"{}")
    cache.forget()
    assert lookup.cached(spec("ann/model"), token=False) is None


def test_offline_mode_is_named(hub, monkeypatch):
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    with pytest.raises(HubUnavailableError, match="HF_HUB_OFFLINE is set"):
        lookup.fetch(spec("ann/model"), token=False)
    assert not lookup.reachable() and hub.count() == 0


def test_a_library_that_retries_gives_up_within_bounded(hub, impatient):
    import huggingface_hub

    impatient()
    hub.hanging = True
    began = time.monotonic()
    with pytest.raises(HubUnavailableError), client.bounded():
        huggingface_hub.hf_hub_download("ann/encoder", "config.json")
    assert time.monotonic() - began < IMPATIENT


def test_check_says_what_a_repository_offers_and_fetches_no_weights(hub, folders, capsys):
    from seg_demo.__main__ import main

    files = {path.name: path.read_bytes() for path in (folders / "tiny").iterdir()}
    hub.add_repo("ann/zoo", {f"{name}/{file}": data for name in ("b0", "b1") for file, data in files.items()})
    assert main(["check", f"{hub.url}/ann/zoo/tree/main/b0"]) == 0
    said = capsys.readouterr().out
    assert "ann/zoo/b0" in said and "SegFormer (semantic" in said and "3: background, cell, border" in said and "b0/model.safetensors" in said
    # The beginning of the file alone, which names them.
    assert hub.count("GET .*resolve/.*safetensors") == 1 and lookup.cached(spec("ann/zoo/b0"), token=True) is None
    assert main(["check", "ann/zoo"]) == 2
    assert "ann/zoo/b0, ann/zoo/b1" in capsys.readouterr().err
    assert main(["check", str(folders / "unet"), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["architecture"] == "unet"
