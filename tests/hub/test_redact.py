"""Whatever goes wrong with the Hub, no log has an address that somebody could use, nor a token: at any level, of any library."""

from __future__ import annotations

import io
import logging
import os
import subprocess
import sys

import pytest

from seg_demo.core.errors import SegDemoError, install, redacted
from seg_demo.hub import client
from tests.hub_stand_in_routes import SIGNED
from tests.served import ROOT

TOKEN = "hf_" + "AbCdEfGhIj" * 3
SECRETS = [TOKEN, "Signature=5166", "AKIAEXAMPLE", SIGNED]


@pytest.mark.parametrize(
    ("text", "kept"),
    [
        (f"PUT https://s3.example/lfs/ab?{SIGNED} timed out", "PUT https://s3.example/lfs/ab?*** timed out"),
        (f"'https://ann:{TOKEN}@hub.example/a/b'", "'https://***@hub.example/a/b'"),
        (f"{{'Authorization': 'Bearer {TOKEN}'}}", "{'Authorization': 'Bearer hf_***'}"),
        (f"[(b'authorization', b'Bearer {TOKEN}')]", "[(b'authorization', b'Bearer hf_***')]"),
        ("-H 'X-Xet-Access-Token: abc.def'", "-H 'X-Xet-Access-Token: ***'"),
        ("token eyJhbGciOiJI.eyJzdWIiOiIx.SflKxw", "token ***"),
        ("POST https://hub.example/api/models#x&access_token=abc done", "POST https://hub.example/api/models?*** done"),
        ("[(b'set-cookie', b'a=1; session=23'), (b'x', b'y')]", "[(b'set-cookie', b'***'), (b'x', b'y')]"),
        ("Cookie: a=1; session=23\nHost: x", "Cookie: ***\nHost: x"),
        ("authorization: Basic YW5uOnB3", "authorization: Basic ***"),
        ("'Authorization': 'Token abcdefgh'", "'Authorization': 'Token ***'"),
        ("login hf_oauth_eyJhbGciOiJ", "login hf_***"),
        ("loss: 0.25, key: 5, https://hub.example/ann/cells is there", None),
        # What people need to find out what went wrong.
        ("in hf_hub_download, hf_raise_for_status; import hf_transfer, hf_xet", None),
        ("see https://hub.example/docs/hub#offline-mode", None),
        ("an unexpected signature: (B, 3, H, W); basic segmentation, Basic configuration, bearer of news", None),
        ("def of(signature, authorization): cookie = jar.get(name)", None),
    ],
)
def test_what_is_taken_out_and_what_stays(text, kept):
    assert redacted(text) == (text if kept is None else kept)
    assert redacted(redacted(text)) == redacted(text)


@pytest.fixture
def everything():
    """All that any logger says, at every level, traces too; the libraries' own settings are put back."""
    stream = io.StringIO()
    handler = logging.StreamHandler(stream)
    handler.setFormatter(logging.Formatter("%(name)s %(levelname)s %(message)s"))
    names = ["", "huggingface_hub", "httpx2", "httpcore", "httpcore2", "seg_demo", "train"]
    loggers = [logging.getLogger(name) for name in names]
    before = [(each.level, each.disabled) for each in loggers]
    for each in loggers:
        each.setLevel(logging.DEBUG)
        each.addHandler(handler)
    yield stream
    for each, (level, disabled) in zip(loggers, before, strict=True):
        each.removeHandler(handler)
        each.setLevel(level)
        each.disabled = disabled


@pytest.mark.parametrize("fault", [{"status": 503}, {"status": 500}, {"status": 403}, {"status": None, "after": 1000}, {"status": 400}])
def test_a_push_that_fails_at_the_upload(hub, tmp_path, monkeypatch, everything, fault):
    monkeypatch.setattr(client, "FIRST_PAUSE", 0.01)
    monkeypatch.setattr(client, "ATTEMPTS", 2)
    monkeypatch.setattr(client.constants, "HF_DEBUG", True)
    monkeypatch.setattr("huggingface_hub.utils._http.time.sleep", lambda seconds: None)
    (tmp_path / "model.safetensors").write_bytes(os.urandom(50_000))
    hub.add_user("ann", TOKEN)
    hub.fail("PUT /lfs/", times=100, **fault)
    try:
        client.push(tmp_path, "ann/new", token=TOKEN)
        said = ""
    except SegDemoError as error:
        said = str(error)
        logging.getLogger("seg_demo.test").exception("the push failed")
    text = everything.getvalue()
    assert said and "/lfs/" in text, "the library has spoken of the upload"
    for secret in SECRETS:
        assert secret not in text and secret not in said


def test_other_loggers_keep_their_messages_and_lose_only_what_traces_hold(everything):
    install()
    install()
    try:
        raise ValueError(f"https://s3.example/a?{SIGNED}")
    except ValueError:
        logging.getLogger("other").warning("%s of %d", "one", 2, exc_info=True)
    text = everything.getvalue()
    assert "other WARNING one of 2\n" in text and "ValueError: https://s3.example/a?***" in text and "5166" not in text
    record = logging.getLogRecordFactory()("uvicorn.access", 20, "", 0, "%s %s", ("a", "b?c=d"), None)
    assert record.args == ("a", "b?c=d"), "uvicorn's formatter wants its arguments"
    wrong = logging.getLogRecordFactory()("huggingface_hub", 20, "", 0, "%d %d", ("a",), None)
    assert "%d %d" in wrong.getMessage()


def test_a_bug_of_the_command_prints_no_signed_address():
    code = (
        "import sys; from train import finetune\n"
        f"def broken(*_): raise KeyError('https://s3.example/lfs/ab?{SIGNED} {TOKEN}')\n"
        "finetune.parse = broken; sys.exit(finetune.main([]))"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, timeout=60)
    assert done.returncode == 1 and "KeyError" in done.stderr and "please report it" in done.stderr
    for secret in SECRETS:
        assert secret not in done.stderr + done.stdout
