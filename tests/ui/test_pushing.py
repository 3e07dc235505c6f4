"""With whose right something is pushed: nobody pushes as the owner of the server but who sits at it."""

from __future__ import annotations

import time
from importlib.util import find_spec

import gradio as gr
import pytest
from gradio.helpers import special_args
from starlette.requests import Request

from seg_demo.core.errors import BadRequestError
from seg_demo.core.settings import Settings, settings
from seg_demo.gateway import visitor
from seg_demo.ui.editor import push_to_hub
from seg_demo.ui.finetune_tab import push

USERINFO = {"name": "Ann", "preferred_username": "ann", "profile": "https://hub/ann", "picture": "https://hub/ann.png"}


def request(client: str = "127.0.0.1", session: dict | None = None, **headers: str) -> gr.Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": "POST", "path": "/", "query_string": b"", "headers": raw, "client": (client, 5)}
    return gr.Request(Request(scope | {"session": session or {}}))


def test_a_typed_token_goes_before_the_login_and_both_before_the_machines():
    login = gr.OAuthToken(token="hf_login", scope="", expires_at=0)
    assert visitor.token_for(" hf_typed ", login, request()) == "hf_typed"
    assert visitor.token_for("  ", login, request("8.8.8.8")) == "hf_login"
    assert visitor.token_for(None, None, request()) is None
    assert visitor.token_for("", None, request("::1")) is None


@pytest.mark.parametrize(
    "stranger",
    [request("8.8.8.8"), request("192.168.1.7"), request(x_forwarded_for="8.8.8.8"), request(forwarded="for=8.8.8.8"), request("")],
)
def test_strangers_do_not_push_with_the_login_of_the_machine(stranger):
    with pytest.raises(BadRequestError, match="You are not logged in. Type an access token"):
        visitor.token_for("", None, stranger)


def test_with_passwords_nobody_is_the_owner_for_where_a_request_comes_from(monkeypatch):
    """A bare proxy on the machine (nginx without a Host or X-Forwarded-For of the visitor) speaks like a browser on it."""
    bare = request(host="127.0.0.1:7860")
    assert visitor.is_host(bare) and visitor.token_for("", None, bare) is None
    monkeypatch.setattr(visitor, "settings", lambda: Settings(auth="ann:one"))
    for through in (bare, request(), request(host="localhost:7860", origin="http://localhost:7860")):
        assert not visitor.is_host(through) and not visitor.viewer_of({}, through, None).host
        with pytest.raises(BadRequestError, match="You are not logged in"):
            visitor.token_for("", None, through)
    assert visitor.token_for("hf_typed", None, bare) == "hf_typed"


def test_on_a_space_nobody_does(monkeypatch):
    monkeypatch.setenv("SPACE_ID", "ann/demo")
    with pytest.raises(BadRequestError, match="You are not logged in"):
        visitor.token_for("", None, request())


@pytest.mark.parametrize("handler", [push, push_to_hub])
def test_gradio_hands_the_visitors_login_over(handler):
    """As its queue does it: by the annotation of a wrapped function, from the session of the request."""
    info = {"access_token": "hf_session", "scope": "contribute-repos", "expires_at": time.time() + 60, "userinfo": USERINFO}
    for session, wanted in (({"oauth_info": info}, "hf_session"), ({"oauth_info": info | {"expires_at": 1}}, None), ({}, None)):
        given = request(session=session)
        filled, *_ = special_args(handler, [1, 2, 3, 4, 5], given)
        assert filled[:6] == [1, 2, 3, 4, 5, given]
        assert (filled[6] and filled[6].token) == wanted


@pytest.mark.parametrize("client", ["", "id"])
def test_a_space_has_the_button_only_where_it_works(monkeypatch, client):
    """Without ``hf_oauth: true`` gradio would refuse to launch a page with the button."""
    from seg_demo.ui.demo import build_demo

    for name, value in {"SPACE_ID": "ann/demo", "SEG_DEMO_FINETUNE": "on", "OAUTH_CLIENT_ID": client}.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    try:
        installed = all(map(find_spec, ("authlib", "itsdangerous")))
        assert build_demo().expects_oauth == bool(client and installed) == visitor.login_offered()
    finally:
        settings.cache_clear()
