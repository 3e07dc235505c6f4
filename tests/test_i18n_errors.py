"""What goes wrong, in Chinese: real errors leave no English behind, and the table keeps step with what is raised."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext
from huggingface_hub.errors import OfflineModeIsEnabled

from seg_demo.datasets import Store, exports
from seg_demo.datasets.classes import clean_names
from seg_demo.datasets.drawing import from_mask
from seg_demo.errors import SegDemoError
from seg_demo.inputs.images import decode
from seg_demo.jobs.store import Jobs
from seg_demo.models import catalog, hub_client
from seg_demo.models.model import check_threshold
from seg_demo.types import LabelSet
from seg_demo.ui import uploads
from seg_demo.ui.i18n_doctor import PHRASES
from seg_demo.ui.i18n_errors import SENTENCES, in_chinese
from seg_demo.ui.pushing import token_for
from tests.served import ROOT

SPEC = catalog.hub_spec("ann/cells", "v2")
# Names that are the same in every language.
NAMES = r"JPEG|PNG|WebP|GIF|BMP|TIFF|AVIF|HEIC|MB|PDF|ZIP|SVG|Hub|Hugging Face|HF_HUB_OFFLINE|user/repo|revision|ID|https?://\S+|huggingface.co/settings/tokens|ann/my-cells|'[^']*'"


def raised(call: Callable[[], object]) -> str:
    with pytest.raises(SegDemoError) as caught:
        call()
    return str(caught.value)


FILES = {
    "empty": b"", "text": b"some text", "pdf": b"%PDF-1.7", "svg": b"<svg/>", "zip": b"PK\x03\x04", "page": b"<html>",
    "unknown": bytes(99), "broken": b"\x89PNG\r\n\x1a\n" + bytes(64), "cut": (ROOT / "seg_demo/ui/examples/coins.png").read_bytes()[:5000],
}  # fmt: skip
MESSAGES = {
    **{name: raised(lambda data=data: decode(data)) for name, data in FILES.items()},
    "wide": raised(lambda: decode((ROOT / "seg_demo/ui/examples/cat.jpg").read_bytes(), max_pixels=100)),
    "heavy": raised(lambda: decode((ROOT / "seg_demo/ui/examples/cat.jpg").read_bytes(), max_bytes=100)),
    "key": raised(lambda: catalog.resolve("unet", local_folders=False)),
    "path": raised(lambda: catalog.resolve("/etc", local_folders=False)),
    "threshold": raised(lambda: check_threshold(float("nan"))),
    "silent": str(hub_client.unavailable(TimeoutError(), f"{SPEC.id} is not in the local cache")),
    "offline": str(hub_client.unavailable(OfflineModeIsEnabled(), f"{SPEC.id} is not in the local cache")),
    "repository": raised(lambda: exports.push(None, "", None, private=True)),
    "names": raised(lambda: clean_names(["x" * 90])),
    "owner": raised(lambda: token_for("", None, gr.Request(headers={"x-forwarded-for": "8.8.8.8"}))),
    "size": raised(lambda: from_mask(np.zeros((3, 4), np.uint8), (5, 4), LabelSet.from_names(("background", "cell"), 0), "semantic")),
    "job": raised(lambda: Jobs("nowhere").open("x")),
    "dataset": raised(lambda: Store("nowhere").open("x")),
    "bytes": uploads.too_large(30_000_000),
}


@pytest.mark.parametrize("name", MESSAGES)
def test_a_real_error_leaves_no_english_behind(name):
    said = in_chinese(MESSAGES[name])
    menu = "|".join(re.escape(spec.id) for spec in catalog.menu())
    left = re.sub(f"{menu}|{re.escape(SPEC.id)}|{NAMES}", "", said)
    assert re.search("[\u4e00-\u9fff]", said) and not re.search(r"[A-Za-z]{3,}", left), said
    for number in re.findall(r"\d[\d,.]*\d", MESSAGES[name]):
        assert number in said


def test_what_is_not_known_stays_as_it_is():
    assert in_chinese("Something new. Send an image.") == "Something new. Send an image."
    assert in_chinese("There is no model '{0}' {n}. Choose another model.") == "没有名为 '{0}' {n} 的模型。请选择另一个模型。"


def test_every_sentence_is_one_that_is_raised():
    """A sentence that is reworded where it is raised would silently be English again."""
    texts = []
    for path in (*(ROOT / "seg_demo").rglob("*.py"), *(ROOT / "train").rglob("*.py")):
        if path.name not in ("i18n_errors.py", "i18n_loop_errors.py", "i18n_doctor.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    texts.append(node.value)
    said = "\n".join(texts)
    for english in [*SENTENCES, *PHRASES]:
        for part in re.split(r"\{\w+\}|[,.();:] ?", english):
            assert part.strip().removeprefix("and ").removeprefix("but ") in said, (english, part)


class Browser:
    def __init__(self, language: str) -> None:
        self.headers = {"accept-language": language}


@pytest.mark.parametrize(("language", "said"), [("zh-CN,zh;q=0.9", "文件是空的。"), ("en-US", "This file is empty."), ("", "This file is empty.")])
def test_the_browser_says_which_language(language, said):
    token = LocalContext.request.set(Browser(language))
    try:
        assert str(uploads.refused("This file is empty.").message) == said
    finally:
        LocalContext.request.reset(token)
    assert str(uploads.refused("This file is empty.").message) == "This file is empty."
