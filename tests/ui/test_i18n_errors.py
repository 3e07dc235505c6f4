"""What goes wrong, in Chinese: real errors leave no English behind, and the table keeps step with what is raised."""

from __future__ import annotations

import re
from collections.abc import Callable

import gradio as gr
import numpy as np
import pytest
from gradio.context import LocalContext
from huggingface_hub.errors import OfflineModeIsEnabled

from seg_demo.core.errors import Message, SegDemoError, in_language
from seg_demo.core.requests import check_threshold
from seg_demo.core.types import LabelSet
from seg_demo.datasets import dataset
from seg_demo.datasets.dataset import clean_names
from seg_demo.datasets.sample import from_mask
from seg_demo.datasets.store import Store
from seg_demo.gateway import visitor
from seg_demo.hub import client
from seg_demo.inputs.images import decode, read
from seg_demo.gateway.visitor import token_for
from seg_demo.jobs.store import Jobs
from seg_demo.serving import catalog
from tests.served import ROOT
from tests.stranger_tiffs import tiff as made

SPEC = catalog.hub_spec("ann/cells", "v2")
# Names that are the same in every language.
NAMES = r"JPEG|PNG|WebP|GIF|BMP|TIFF|AVIF|HEIC|MB|PDF|ZIP|SVG|RGB|NaN|inf|Hub|Hugging Face|HF_HUB_OFFLINE|user/repo|revision|ID|https?://\S+|huggingface.co/settings/tokens|ann/my-cells|'[^']*'|DICOM|NIfTI|NumPy"


def raised(call: Callable[[], object]) -> str:
    with pytest.raises(SegDemoError) as caught:
        call()
    return caught.value.message


FILES = {
    "empty": b"", "text": b"some text", "pdf": b"%PDF-1.7", "svg": b"<svg/>", "zip": b"PK\x03\x04", "page": b"<html>",
    "unknown": bytes(99), "broken": b"\x89PNG\r\n\x1a\n" + bytes(64), "cut": (ROOT / "seg_demo/ui/examples/coins.png").read_bytes()[:5000],
}  # fmt: skip
NOTES = {
    "This file has 3 pages; the first is shown.": Message("images.pages", count=3),
    "This animation has more than 200 frames; the first is shown.": Message("images.more_frames", count=200),
    "This file holds 2 pictures; its main picture is shown.": Message("images.pictures", count=2),
    "This file has 5 channels; channels 1, 2 and 3 are shown as red, green and blue.":
        Message("images.channels_as_rgb", count=5, red=1, green=2, blue=3),
    "This file has 2 channels; channel 1 is shown as grey.": Message("images.channel_as_grey", count=2, channel=1),
    "This file has 4 channels; channel 4 was read as transparency.": Message("images.channel_as_alpha", channels=4, channel=4),
    "This file has 6 channels; the first 4 are shown.": Message("images.first_channels", count=6, shown=4),
    "3.33% of the pixels hold no data (-9999, NaN); they are shown black.":
        Message("images.no_data", share=0.0333, values="-9999, NaN"),
    "0.05% of the values lie far outside the range of all others (0 to 1); they are shown as its ends.":
        Message("images.far_outside", share=0.0005, low=0, high=1),
}  # fmt: skip


def tiff(**tags: list[int]) -> bytes:
    """A grey TIFF of 16 bits with other tags."""
    known = {"t256": [6], "t257": [5], "t258": [16], "t259": [1], "t262": [1], "t273": [0], "t277": [1], "t279": [60]} | tags
    return made({int(name[1:]): (4 if name in ("t273", "t279") else 3, values) for name, values in known.items()}, bytes(60))


MESSAGES = {
    "complex": raised(lambda: decode(tiff(t258=[64], t339=[6]))),
    "24 bits": raised(lambda: decode(tiff(t258=[24]))),
    "sensor": raised(lambda: decode(tiff(t262=[32803]))),
    "lerc": raised(lambda: decode(tiff(t259=[34887]))),
    "mixed": raised(lambda: decode(tiff(t258=[8, 16, 8], t277=[3], t262=[2]))),
    "short": raised(lambda: decode(tiff(t279=[60], t256=[60]))),
    **{f"note {number}": note for number, note in enumerate(NOTES.values())},
    **{name: raised(lambda data=data: decode(data)) for name, data in FILES.items()},
    "wide": raised(lambda: decode((ROOT / "seg_demo/ui/examples/cat.jpg").read_bytes(), max_pixels=100)),
    "heavy": raised(lambda: decode((ROOT / "seg_demo/ui/examples/cat.jpg").read_bytes(), max_bytes=100)),
    "key": raised(lambda: catalog.resolve("unet", local_folders=False)),
    "path": raised(lambda: catalog.resolve("/etc", local_folders=False)),
    "threshold": raised(lambda: check_threshold(float("nan"))),
    "silent": client.unavailable(TimeoutError(), Message("hub.not_in_cache", id=SPEC.id)).message,
    "offline": client.unavailable(OfflineModeIsEnabled(), Message("hub.not_in_cache", id=SPEC.id)).message,
    "repository": raised(lambda: dataset.push_dataset(None, "", None, private=True)),
    "names": raised(lambda: clean_names(["x" * 90])),
    "owner": raised(lambda: token_for("", None, gr.Request(headers={"x-forwarded-for": "8.8.8.8"}))),
    "size": raised(lambda: from_mask(np.zeros((3, 4), np.uint8), (5, 4), LabelSet.from_names(("background", "cell"), 0), "semantic")),
    "job": raised(lambda: Jobs("nowhere").open("x")),
    "dataset": raised(lambda: Store("nowhere").open("x")),
    "bytes": visitor.too_large(30_000_000),
}


def test_every_note_on_how_a_picture_was_read_is_here():
    """A note that is reworded where it is made would silently be English again; these are made."""
    data = made({256: (3, [4]), 257: (3, [2]), 258: (3, [16] * 5), 259: (3, [1]), 262: (3, [1]), 273: (4, [0]), 277: (3, [5])}, bytes(80))
    assert read(data).notes == (list(NOTES)[3],) and all(english == note for english, note in NOTES.items())


@pytest.mark.parametrize("name", MESSAGES)
def test_a_real_error_leaves_no_english_behind(name):
    said = MESSAGES[name].text("zh")
    menu = "|".join(re.escape(spec.id) for spec in catalog.menu())
    left = re.sub(f"{menu}|{re.escape(SPEC.id)}|{NAMES}", "", said)
    assert re.search("[\u4e00-\u9fff]", said) and not re.search(r"[A-Za-z]{3,}", left), said
    for number in re.findall(r"\d[\d,.]*\d", MESSAGES[name]):
        assert number in said


def test_what_is_not_known_stays_as_it_is():
    assert in_language("Something new. Send an image.", "zh") == "Something new. Send an image."
    assert Message("models.not_on_menu", id="'{0}' {n}", keys="slic").text("zh").startswith("没有名为 '{0}' {n} 的模型。菜单中有 slic；")


class Browser:
    def __init__(self, language: str) -> None:
        self.headers = {"accept-language": language}


@pytest.mark.parametrize(("language", "said"), [("zh-CN,zh;q=0.9", "文件是空的。"), ("en-US", "This file is empty."), ("", "This file is empty.")])
def test_the_browser_says_which_language(language, said):
    token = LocalContext.request.set(Browser(language))
    try:
        assert str(visitor.refused(Message("images.empty")).message) == said
    finally:
        LocalContext.request.reset(token)
    assert str(visitor.refused(Message("images.empty")).message) == "This file is empty."
