"""Clicks of the page: what the editor's click tool asks (``static/editor_click.js``).

The browser asks past the queue (:data:`ENDPOINTS`), with the place of a picture that it has here, a model and a prompt as ``/prompt`` takes it, and
is answered with run lengths alone. The picture is looked at with the first question; what the model remembers of it is that page's and no
other's, goes when the page is closed, and is made anew where it had to go.
"""

from __future__ import annotations

import html
import re
from collections.abc import Callable
from functools import wraps
from typing import Any

import gradio as gr

from seg_demo import networks
from seg_demo.core import requests
from seg_demo.core.errors import BadRequestError
from seg_demo.core.requests import read_prompt
from seg_demo.gateway.files import uploaded
from seg_demo.gateway.queue import UNQUEUED, in_words, predictor
from seg_demo.inference import zerogpu
from seg_demo.serving import catalog
from seg_demo.ui import menu
from seg_demo.ui.api import Words
from seg_demo.ui.components import language_of

# A page names itself with a number that it draws.
PAGE = re.compile(r"[A-Za-z0-9_-]{16,64}")


def or_the_sentence(handler: Callable[..., dict[str, Any]]) -> Callable[..., dict[str, Any]]:
    """A handler whose failures are ``{"error": sentence}``: gradio's own answer to a failure says no more, and as HTML."""

    @wraps(handler)
    def answer(*arguments: Any, **named: Any) -> dict[str, Any]:
        try:
            return in_words(handler)(*arguments, **named)
        except gr.Error as error:
            return {"error": html.unescape(str(error.message))}

    return answer


def session_of(page: object) -> tuple[str, str] | None:
    """Whose session a question is about: that of a page of a visitor; None for what names no page, of which nothing is kept."""
    viewer = requests.viewer.get()
    return (viewer.owner if viewer else "", page) if isinstance(page, str) and PAGE.fullmatch(page) else None


@or_the_sentence
def click(image: Any, model: Any, prompt: Any, page: Any) -> dict[str, Any]:
    """What a prompt means in a picture.

    Args:
        image: path of a file that this server keeps for the page.
        model: id of a promptable model.
        prompt: JSON text as for ``/prompt``; empty only has the picture looked at.
        page: the page's name.

    Returns:
        The result as ``/prompt`` has it; for an empty prompt nothing; ``{"gone": True}`` where the file has been deleted meanwhile.
    """
    if not model:
        raise BadRequestError("requests.no_model")
    shown = read_prompt("" if prompt is None else prompt)
    try:
        path = uploaded(image)
    except BadRequestError:
        return {"gone": True}
    with predictor().prompting(path, model, who=session_of(page)) as session:
        return session.answer(shown).to_dict() if shown else {}


@or_the_sentence
def click_models(request: gr.Request) -> dict[str, Any]:
    """The models of the menu that answer prompts and what families of such have published, those first that can be used now.

    Returns:
        ``models``: id, title, kinds of ``prompts`` and whether it is ``available``; and whether a ``preview`` may be asked for while the
        pointer rests, which costs a visitor of ZeroGPU their time there.
    """
    language = language_of(request)
    rows = {menu.key(spec): (menu.title(spec, language), spec.architecture) for spec in menu.specs()}
    rows |= {row.published: (row.title, row.name) for row in networks.FAMILIES.values() if row.published and row.published not in rows}
    models = [
        {"id": id, "title": title, "prompts": list(kinds), "available": catalog.available(catalog.resolve(id, local_folders=False))}
        for id, (title, architecture) in rows.items()
        if (kinds := networks.prompts_of(architecture))
    ]
    return {"models": sorted(models, key=lambda row: not row["available"]), "preview": not zerogpu.ACTIVE}


@or_the_sentence
def click_ends(page: Any) -> dict[str, Any]:
    """A page is closed: what models remember of its pictures goes."""
    if (who := session_of(page)) is not None:
        predictor().forget(who)
    return {}


# By the name under which the page asks for them, none of which is part of the API.
ENDPOINTS = {"click": click, "click_models": click_models, "click_ends": click_ends}


def add_click_endpoints() -> None:
    """Add what the page asks past the queue to the current Blocks."""
    with gr.Column(visible=False):
        asked = [Words(label=name) for name in ("image", "model", "prompt", "page")]
        answer = gr.JSON(label="answer")
        inputs = {"click": asked, "click_models": None, "click_ends": asked[-1:]}
        for name, handler in ENDPOINTS.items():
            gr.Button().click(handler, inputs[name], answer, api_name=name, **{**UNQUEUED, "api_visibility": "undocumented"})


# With the page's load: the browser's scripts send the visitor's key with what they ask for themselves.
REMEMBER_KEY = "(key) => { window.segDemoVisitor = key; }"
