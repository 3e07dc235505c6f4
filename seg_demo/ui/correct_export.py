"""Below the samples: the dataset as a zip, its push to the Hub, and its deletion."""

from __future__ import annotations

import html
import os
import secrets
import shutil
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import utils

from seg_demo.datasets import Dataset, visitor_store
from seg_demo.ui.i18n import language_of, t, words
from seg_demo.ui.pushing import login_offered, token_for
from seg_demo.ui.samples import SampleList
from seg_demo.ui.work import in_words

NEW = "+"


def export_panel(visitor: gr.BrowserState, dataset: gr.Dropdown, samples: SampleList) -> None:
    """Build the panel in the current Blocks.

    Args:
        visitor: the visitor's key.
        dataset: the picker of datasets.
        samples: the list, emptied when its dataset is deleted.
    """
    with gr.Row(elem_classes="downloads shown"):
        pack = gr.Button(t("correct_zip"), size="sm", elem_id="correct-zip")
        delete = gr.Button(t("correct_delete"), size="sm", elem_id="correct-delete")
        sure = gr.Button(t("correct_delete_sure"), size="sm", variant="stop", visible=False, elem_id="correct-delete-sure")
    # Clicked by script as soon as the file is there: the visitor clicks once.
    link = gr.DownloadButton("", elem_id="correct-file", elem_classes="download-link")
    with gr.Accordion(t("correct_hub"), open=False, elem_id="correct-hub"):
        if login_offered():
            gr.LoginButton()
        with gr.Row():
            repo = gr.Textbox(label=t("correct_repo"), info=t("correct_repo_info"), max_length=200, elem_id="correct-repo")
            token = gr.Textbox(
                label=t("correct_token"), info=t("correct_token_info"), type="password", max_length=400,
                elem_id="correct-token", placeholder=None if os.environ.get("SPACE_ID") else t("push_token_local"),
            )  # fmt: skip
        with gr.Row():
            private = gr.Checkbox(True, label=t("correct_private"), elem_id="correct-private")
            push = gr.Button(t("correct_push"), elem_id="correct-push")
        said = gr.HTML("", elem_id="correct-pushed")
    quiet = {"api_visibility": "private", "show_progress": "hidden"}
    made = pack.click(
        zip_of, [visitor, dataset], link, api_visibility="private", concurrency_limit=2, concurrency_id="zips",
        show_progress="minimal",
    )  # fmt: skip
    made.success(None, js="() => setTimeout(() => document.querySelector('#correct-file').click(), 60)", **quiet)
    delete.click(lambda: (gr.Button(visible=False), gr.Button(visible=True)), None, [delete, sure], queue=False, **quiet)
    gone = sure.click(drop, [visitor, dataset], [dataset, samples], queue=False, **quiet)
    # gradio's ``then`` does not follow a failure.
    for event in (gone.success, gone.failure, dataset.change):
        event(lambda: (gr.Button(visible=True), gr.Button(visible=False)), None, [delete, sure], queue=False, **quiet)
    # The token leaves the page with the request: the box is emptied whether the push succeeds or not.
    pushed = push.click(
        push_to_hub, [visitor, dataset, repo, token, private], said, api_visibility="private", concurrency_limit=2,
        concurrency_id="pushes", show_progress="minimal",
    )  # fmt: skip
    for after in (pushed.success, pushed.failure):
        after(lambda: "", None, token, queue=False, **quiet)


def dataset_choices(datasets: list[Dataset]) -> list[tuple[Any, str]]:
    """(text, key) for the picker."""
    return [*((dataset.name, dataset.key) for dataset in datasets), (t("correct_new"), NEW)]


@in_words
def zip_of(visitor: object, chosen: object) -> str:
    """The dataset's archive, where gradio may serve it from."""
    dataset = visitor_store(visitor).open(chosen)
    # A folder of its own that nobody can guess.
    folder = Path(utils.get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        return str(dataset.zip(folder / f"{dataset.key}.zip"))
    except BaseException:
        shutil.rmtree(folder)
        raise


@in_words
def drop(visitor: object, chosen: object) -> tuple[Any, None]:
    """Delete a dataset; the picker without it."""
    store = visitor_store(visitor)
    store.delete(chosen)
    left = store.list()
    return gr.Dropdown(dataset_choices(left), value=left[0].key if left else NEW), None


@in_words
def push_to_hub(
    visitor: object, chosen: object, repo: object, token: object, private: object, request: gr.Request,
    login: gr.OAuthToken | None,
) -> str:  # fmt: skip
    """Push the dataset with the visitor's token or login; HTML that says where it is now."""
    dataset = visitor_store(visitor).open(chosen)
    repository = str(repo or "").strip()
    sha = dataset.push(repository, token_for(token, login, request), private=private is not False)
    said = words("correct_pushed", language_of(request))
    return f'<p class="note">{html.escape(said)}: {html.escape(repository)} <code>{html.escape(sha[:12])}</code></p>'
