"""With whose right something is pushed to the Hub: a token typed for one push, the visitor's login, or that of this machine."""

from __future__ import annotations

import os
from importlib.util import find_spec

import gradio as gr

from seg_demo.errors import BadRequestError
from seg_demo.ui.visitor import at_this_machine

# What gradio's login routes import; a Space installs them with gradio[oauth].
_NEEDED = ("authlib", "itsdangerous")


def login_offered() -> bool:
    """Whether visitors can log in to the Hub here: on a Space with ``hf_oauth: true``; elsewhere the button stops the launch."""
    return bool(os.environ.get("SPACE_ID") and os.environ.get("OAUTH_CLIENT_ID")) and all(map(find_spec, _NEEDED))


def token_for(typed: object, login: gr.OAuthToken | None, request: gr.Request) -> str | None:
    """The token to push with; used and passed on, kept nowhere.

    Args:
        typed: what the visitor typed into the box of the token.
        login: of the visitor, where they are logged in.
        request: of the visitor.

    Returns:
        The typed token, else that of the login; None for the login of this machine, which only who sits at it may use.

    Raises:
        BadRequestError: there is none.
    """
    if isinstance(typed, str) and typed.strip():
        return typed.strip()
    if login is not None and login.token:
        return login.token
    if not os.environ.get("SPACE_ID") and at_this_machine(request):
        return None
    if login_offered():
        raise BadRequestError("You are not logged in. Log in with the button above, or type an access token with write permission.")
    raise BadRequestError("You are not logged in. Type an access token with write permission, from huggingface.co/settings/tokens.")
