"""Names and passwords: who may use the demo, over real HTTP; and that the passwords reach nobody else."""

from __future__ import annotations

import concurrent.futures
import time

import httpx
import pytest
from gradio_client import Client, handle_file

from seg_demo.core.errors import SettingsError
from seg_demo.core.sandbox import public_environment
from seg_demo.core.settings import Settings, accounts, load_settings
from seg_demo.ui.demo import launch_arguments
from tests.served import ROOT, served

COINS = ROOT / "seg_demo/ui/examples/coins.png"


def test_pairs_are_read_from_the_variable_and_from_a_file(tmp_path):
    assert accounts("") == []
    assert accounts("ann:one bob:two:three") == [("ann", "one"), ("bob", "two:three")]
    file = tmp_path / "people"
    file.write_text("# who may come in\nann:with a space\n\n bob:2 \n", encoding="utf-8")
    assert accounts(f"@{file}") == [("ann", "with a space"), ("bob", "2")]


@pytest.mark.parametrize("text", ["ann", "ann:", ":hidden", "ann:hidden bob", "ann:hidden ann:hidden2", "@/nowhere/at/all"])
def test_a_fault_is_named_without_a_password(text):
    with pytest.raises(SettingsError, match="SEG_DEMO_AUTH") as refused:
        accounts(text)
    assert "hidden" not in str(refused.value)


def test_nothing_shows_a_password(tmp_path):
    environ = {"SEG_DEMO_AUTH": "ann:hidden", "SEG_DEMO_JOBS": "here", "PATH": "/bin"}
    found = load_settings(environ)
    assert found.auth == "ann:hidden" and "hidden" not in repr(found) and found != Settings()
    assert public_environment(environ) == {"SEG_DEMO_JOBS": "here", "PATH": "/bin"}


def test_mcp_and_passwords_exclude_each_other(monkeypatch):
    from seg_demo.ui import demo

    monkeypatch.setattr(demo, "settings", lambda: Settings(auth="ann:one", mcp=True))
    monkeypatch.setattr(demo, "find_spec", lambda name: object())
    with pytest.raises(SettingsError, match="MCP tools have no login"):
        launch_arguments()


@pytest.fixture(scope="module")
def locked():
    """The address of a demo with two accounts."""
    with served(SEG_DEMO_AUTH="ann:one bob:open:sesame") as address:
        yield address


def test_only_who_knows_a_password_gets_in(locked):
    page = httpx.get(locked)
    assert page.status_code == 200 and '"auth_required":true' in page.text and '"components":[]' in page.text
    # Supervisors have no password.
    assert httpx.get(f"{locked}/health").status_code == 200
    closed = ["/config", "/gradio_api/info", "/gradio_api/queue/data?session_hash=x", f"/gradio_api/file={COINS}"]
    assert [httpx.get(locked + path).status_code for path in closed] == [401] * len(closed)
    for path in ("run/segment", "call/models", "queue/join", "upload"):
        assert httpx.post(f"{locked}/gradio_api/{path}", json={"data": []}).status_code == 401, path

    begun = time.monotonic()
    wrong = httpx.post(f"{locked}/login", data={"username": "bob", "password": "open"})
    assert wrong.status_code == 400 and time.monotonic() - begun >= 1 and not wrong.cookies
    with pytest.raises(ValueError, match="Could not login"):
        Client(locked, auth=("ann", "two"), verbose=False)

    asked = {"url": f"{locked}/segment", "params": {"model": "otsu"}, "content": COINS.read_bytes()}
    assert httpx.post(**asked, timeout=60).status_code == 401
    with httpx.Client(timeout=60) as known:
        assert known.post(**asked, headers={"Cookie": "access-token=one"}).status_code == 401
        # Over plain HTTP only the second of gradio's two cookies is sent back.
        assert known.post(f"{locked}/login", data={"username": "ann", "password": "one"}).status_code == 200
        assert known.post(**asked).json()["segments"]

    client = Client(locked, auth=("bob", "open:sesame"), verbose=False)
    result, mask, _ = client.predict(image=handle_file(COINS), model="otsu", api_name="/segment")
    assert result["segments"] and mask.endswith(".png")


def test_many_guesses_at_a_time_are_sent_away(locked):
    with concurrent.futures.ThreadPoolExecutor(12) as pool:
        guesses = [{"username": "ann", "password": str(number)} for number in range(12)]
        answers = list(pool.map(lambda guess: httpx.post(f"{locked}/login", data=guess, timeout=60).status_code, guesses))
        assert set(answers) == {400, 429} and answers.count(400) >= 4
        assert httpx.post(f"{locked}/login", data={"username": "ann", "password": "one"}).status_code == 200


def test_without_passwords_there_is_no_login(demo_url):
    assert httpx.post(f"{demo_url}/login", data={"username": "a", "password": "b"}).status_code == 404
