"""The server's surface: what it serves, what it takes, and what its answers say."""

from __future__ import annotations

import json
import os
import time
import uuid
from contextlib import closing
from http.client import HTTPConnection
from pathlib import Path

import pytest
from gradio_client import Client, handle_file

from seg_demo.core.settings import settings
from seg_demo.gateway import guard, queue, visitor
from tests.served import ROOT
from tests.surface import API, COINS, SECRETS, called, file_data, functions, http, metric, uploaded  # noqa: F401  (fixtures)


def test_every_answer_carries_the_headers(http):  # noqa: F811
    path = uploaded(http, COINS.read_bytes())
    for address in ("/", "/config", "/nothing", f"{API}/file=/etc/passwd", f"{API}/file={path}", "/health"):
        headers = http.get(address).headers
        assert headers["x-content-type-options"] == "nosniff"
        assert headers["referrer-policy"] == "strict-origin-when-cross-origin"
        policy = headers["content-security-policy"]
        assert ("sandbox" in policy) == (f"{API}/file=" in address)
        assert "object-src 'none'" in policy or "default-src 'none'" in policy
    assert "frame-ancestors 'self' https://huggingface.co" in http.get("/").headers["content-security-policy"]
    assert "frame-ancestors 'self' https://a.org" in guard.security_headers("https://a.org")["Content-Security-Policy"]


def test_the_page_says_where_it_was_asked_for(http):  # noqa: F811
    """It is made once for each address, not for each visitor."""
    for host in ("a.example", "b.example", "a.example"):
        page, config = (http.get(path, headers={"host": host}) for path in ("/", "/config"))
        assert config.json()["root"] == f"http://{host}" and f"http://{host}" in page.text
    assert http.get("/", headers={"host": "b.example", "user-agent": "x"}).content == http.get("/", headers={"host": "b.example"}).content
    for host, other in (("c.example", "d.example"), ("d.example", "c.example")):
        told = http.get("/gradio_api/info", headers={"host": host})
        assert "/segment" in told.json()["named_endpoints"] and host in told.text and other not in told.text, "the first one's address is nobody else's"
    assert http.get("/config", headers={"x-forwarded-host": "c.example", "x-forwarded-proto": "https"}).json()["root"] == "https://c.example"


@pytest.mark.parametrize(
    "address",
    [
        "/monitoring", "/monitoring/summary", "/monitoring/x", f"{API}/runs", f"{API}/run-history/records",
        f"{API}/dev/reload",
        f"{API}/deep_link?session_hash=a", "/?deep_link=abc", f"{API}/proxy=https://a.hf.space/x", f"{API}/vibe-code",
        f"{API}/custom_component/a/client/b/c", f"{API}/token", f"{API}/profiling/summary", "/pwa_icon/9999", "/docs",
        f"{API}/stream/a/b/1/playlist.m3u8", "/login", "/.env", "/app.py", "/.git/config",
    ],
)  # fmt: skip
def test_what_the_page_does_not_need_is_not_there(http, address):  # noqa: F811
    answer = http.get(address)
    assert (answer.status_code, answer.json()) == (404, {"detail": "There is nothing at this address."})


@pytest.mark.parametrize("address", ["vibe-edit", "process_recording", "stream/x", "undo-vibe-edit", "file=x", "deep_link"])
def test_nothing_else_can_be_posted_to(http, address):  # noqa: F811
    assert http.post(f"{API}/{address}", json={}).status_code == 404
    assert http.put(f"{API}/upload").status_code == http.delete("/").status_code == 404


@pytest.mark.parametrize(
    "path",
    [
        "/etc/passwd", "/proc/self/environ", str(ROOT / "README.md"), str(ROOT / "seg_demo/core/settings.py"), "README.md",
        ".env",
        "../../etc/passwd", "..%2f..%2f..%2fetc%2fpasswd", "https://example.org/x.png", "file:///etc/passwd", "//etc/passwd",
        str(ROOT / "seg_demo/ui/examples/../../settings.py"), "~/.bashrc", "", "%00", "data:text/html,x",
    ],
)  # fmt: skip
def test_the_file_route_serves_no_other_file(http, path):  # noqa: F811
    answer = http.get(f"{API}/file={path}")
    assert answer.status_code in (403, 404) and len(answer.text) < 300 and "root:" not in answer.text


def test_results_and_uploads_have_unguessable_addresses(http):  # noqa: F811
    path = uploaded(http, COINS.read_bytes(), "a.png")
    assert len(path.split("/")[-2]) == 64, "the folder is the hash of the content"
    assert http.get(f"{API}/file={path}").content == COINS.read_bytes()
    for near in (path.rsplit("/", 1)[0], path.rsplit("/", 2)[0], path[:-1]):
        assert http.get(f"{API}/file={near}").status_code == 403
    page = uploaded(http, b"<script>alert(1)</script>", "a.html")
    answer = http.get(f"{API}/file={page}")
    assert answer.headers["content-disposition"].startswith("attachment")
    assert "sandbox" in answer.headers["content-security-policy"]


def test_bodies_are_bounded(http):  # noqa: F811
    most = settings().max_bytes
    for route in ("call/segment", "upload", "queue/join"):
        with closing(HTTPConnection(http.base_url.host, http.base_url.port, timeout=30)) as line:
            line.putrequest("POST", f"{API}/{route}")
            line.putheader("Content-Length", "9" * 12)
            line.endheaders()
            answer = line.getresponse()
            assert answer.status == 413 and b"Send a smaller image" in answer.read(), "what promises too much is not read"
    answer = http.post(f"{API}/queue/join", content=b'{"data": [' + b"1," * 300_000 + b"1]}")
    assert answer.status_code == 400 and "parts" in answer.json()["detail"]
    large = uploaded(http, COINS.read_bytes() + bytes(most))
    event, content = called(http, [file_data(large), "otsu", 0.5])
    assert event == "error" and "more than is accepted" in content

    def endless():
        for _ in range(most // 2**18 * 2):
            yield bytes(2**20)

    answer = http.post(f"{API}/call/segment", content=endless())
    assert answer.status_code == 413
    for text in ("[" * 100_000, "{" * 10, '{"data": ' + "[" * 5000 + "]" * 5000 + "}", "null", "", "\xff"):
        answer = http.post(f"{API}/call/segment", content=text.encode("latin-1"))
        assert 400 <= answer.status_code < 500 and len(answer.text) < 500


@pytest.mark.parametrize("url", ["https://example.org/x", "HTTP://127.0.0.1/x", "http://169.254.169.254/x", "ftp://a/b"])
def test_addresses_are_not_fetched(http, url):  # noqa: F811
    for value in (file_data(url), {"url": url}, {"path": url, "url": url, "meta": {"_type": "gradio.FileData"}}):
        event, content = called(http, [value, "otsu", 0.5])
        assert event == "error" and len(json.loads(content)["error"]) > 20, content


@pytest.mark.parametrize(
    "image",
    [
        file_data("/etc/passwd"), file_data(str(ROOT / "README.md")), file_data("../../../etc/passwd"), {"path": 3}, [],
        "x", 7,
        file_data(""), {"path": None, "url": None}, file_data("data:image/png;base64,AAAA"), {"url": "data:,"},
        file_data("\0"),
    ],
)  # fmt: skip
def test_a_local_file_or_nonsense_as_image_gets_a_sentence(http, image):  # noqa: F811
    event, content = called(http, [image, "otsu", 0.5])
    assert event in ("error", "refused") and not any(secret in content for secret in SECRETS)
    sentence = json.loads(content)
    sentence = sentence.get("error", sentence.get("detail"))
    assert sentence and len(str(sentence)) > 20


def test_malformed_requests_get_a_sentence_and_leave_the_server_well(http, functions):  # noqa: F811
    session = uuid.uuid4().hex
    bodies = [
        {}, {"data": None}, {"data": []}, {"data": [1] * 50}, {"data": {}}, {"data": [None], "fn_index": 10**9},
        {"data": [], "fn_index": -1}, {"data": [], "fn_index": "x"}, {"data": [], "fn_index": None, "session_hash": "x"},
        {"data": [], "session_hash": {"a": 1}}, {"data": [], "event_data": 7, "fn_index": functions["segment"]},
        {"data": ["<script>", "<img src=x>", "<b>"], "fn_index": functions["segment"], "session_hash": session},
        {"data": [{"__proto__": 1}], "trigger_id": 10**30}, {"data": [], "batched": True, "fn_index": functions["segment"]},
    ]  # fmt: skip
    for route in ("queue/join", "call/segment", "call/x", "call/v2/segment", "call/v2/x", "run/segment", "run/x", "api/x"):
        for body in bodies:
            answer = http.post(f"{API}/{route}", json=body)
            assert not any(secret in answer.text for secret in SECRETS), (route, body, answer.text)
            if answer.status_code != 200:
                assert len(answer.text) > 20 and answer.headers["content-type"].startswith("application/json"), (route, body)
    for route in ("cancel", "reset", "upload"):
        assert http.post(f"{API}/{route}", json={"event_id": "x"}).status_code in (200, 400, 422)
    for address in (f"{API}/queue/data", f"{API}/queue/data?session_hash=y", f"{API}/call/segment/x", f"{API}/call/x/y"):
        answer = http.get(address)
        assert not any(secret in answer.text for secret in SECRETS)
    assert called(http, [file_data(uploaded(http, COINS.read_bytes())), "otsu", 0.5])[0] == "complete"


def test_health_and_counters(http):  # noqa: F811
    state = http.get("/health")
    assert state.status_code == 200 and set(state.json()) == {"status", "version", "models", "running", "waiting", "seconds"}
    before = metric(http.get("/metrics").text, "ok")
    called(http, [file_data(uploaded(http, COINS.read_bytes())), "otsu", 0.5])
    text = http.get("/metrics").text
    assert metric(text, "ok") == before + 1
    assert 'seg_demo_request_seconds_bucket{endpoint="segment",le="+Inf"}' in text and "coins" not in text


def test_broken_off_uploads_do_not_stay(tmp_path):
    for name, age in (("tmpold", 700), ("tmpnew", 0), ("other", 700)):
        (tmp_path / name).write_bytes(b"x")
        os.utime(tmp_path / name, (time.time() - age,) * 2)
    visitor.sweep_partial(str(tmp_path), guard.PARTIAL_SECONDS)
    assert {path.name for path in tmp_path.iterdir()} == {"tmpnew", "other"}


def test_an_upload_that_is_broken_off_or_too_large_leaves_nothing(http):  # noqa: F811
    folder = Path(uploaded(http, COINS.read_bytes())).parents[1]
    before = set(folder.glob("tmp*"))  # of other tests' visitors
    head = b'--B\r\nContent-Disposition: form-data; name="files"; filename="x.png"\r\n\r\n'
    for promised, sent in ((10_000_000, 2_000_000), (None, 3 * 2**20)):
        with closing(HTTPConnection(http.base_url.host, http.base_url.port, timeout=30)) as line:
            line.putrequest("POST", f"{API}/upload")
            line.putheader("Content-Type", "multipart/form-data; boundary=B")
            if promised:
                line.putheader("Content-Length", str(promised))
            else:
                line.putheader("Transfer-Encoding", "chunked")
            line.endheaders()
            body = head + bytes(sent)
            line.send(body if promised else b"%x\r\n%b\r\n" % (len(body), body))
            until = time.monotonic() + 10
            while set(folder.glob("tmp*")) <= before and time.monotonic() < until:
                time.sleep(0.02)
            assert not set(folder.glob("tmp*")) <= before, "it has begun"
        until = time.monotonic() + 10
        while not set(folder.glob("tmp*")) <= before:
            assert time.monotonic() < until
            time.sleep(0.02)


def test_a_full_disk_is_said(monkeypatch):
    monkeypatch.setattr(guard.storage, "free_space", lambda path: -1)
    page = queue.Page()
    answer = guard.Guard(None, page)._refusal(f"{API}/upload", {"method": "POST", "query_string": b""})
    assert answer.status_code == 507 and b"no room" in answer.body


def test_keyword_names_still_work_from_the_client(demo_url):
    client = Client(demo_url, verbose=False, httpx_kwargs={"timeout": 120})
    assert client.predict(image=handle_file(str(COINS)), model="otsu", api_name="/segment")[0]["task"] == "region"
