"""The viewer of a comparison: the picture, the id map of every model in common colours, and where they agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import gradio as gr
import numpy as np

from seg_demo.masks.agreement import BACKGROUND, Common, key
from seg_demo.outputs import compare, png
from seg_demo.types import Segmentation, distinct_colors
from seg_demo.ui.plain_files import plain_files, served_file
from seg_demo.ui.results import MAX_VIEWER_PIXELS, viewer_ids

SCRIPTS = ("viewer_view.js", "viewer_ids.js", "compare.js")


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the viewer shows.

    Attributes:
        preview: the picture, a JPEG.
        results: one per model, at the threshold.
        titles: of the models.
        memory: of their weights, in bytes.
        together: the results in one numbering of classes.
        agreeing: uint8 (H, W), how many models say what most say.
    """

    preview: bytes
    results: tuple[Segmentation, ...]
    titles: tuple[str, ...]
    memory: tuple[int, ...]
    together: Common
    agreeing: np.ndarray


class ComparisonViewer(gr.HTML):
    """Shows a :class:`Comparison`, or an invitation if there is none."""

    def __init__(self, value: Comparison | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("compare", SCRIPTS),
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Comparison | None) -> dict[str, Any] | None:
        """What the browser receives: pictures as files, colours as data; one colour per class name over all models."""
        if value is None:
            return None
        names = value.together.names
        background = names.index(BACKGROUND) if BACKGROUND in names else None
        palette = distinct_colors(len(names), background)
        count = len(value.results)
        return {
            "image": served_file(self, value.preview, "image.jpg"),
            "width": value.results[0].width,
            "height": value.results[0].height,
            "models": [
                {"title": title, "facts": facts(result, size), "ids": served_file(self, viewer_ids(result), f"{index}.png"),
                 "colors": _colors(result, names, palette)}
                for index, (result, title, size) in enumerate(zip(value.results, value.titles, value.memory, strict=True))
            ],
            "agreement": {
                "ids": served_file(self, _agreement_ids(value.agreeing), "agreement.png"),
                "colors": [[index, compare.agreement_colors(count)[index].tolist()] for index in range(1, count)],
            },
            "classes": [
                {"name": names[index], "color": palette[index].tolist()} for index in _present(value) if index != background
            ],
        }  # fmt: skip

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "picture, id map of every model, agreement map, classes"}


def facts(result: Segmentation, size: int) -> str:
    """Time and memory of one result in a few words: ``0.42 s · 5.1 MB``."""
    memory = f" · {size / 1e6:.1f} MB" if size else ""
    return f"{result.seconds.get('total', 0):.2f} s{memory}"


def _colors(result: Segmentation, names: tuple[str, ...], palette: np.ndarray) -> list[list[Any]]:
    """[id in the id map, colour of its class] of everything but background."""
    pairs = []
    for identity, segment in zip(result.ids, result.segments, strict=True):
        name = key(result.labels.names[segment.label_id])
        if name != BACKGROUND:
            pairs.append([identity, palette[names.index(name)].tolist()])
    return pairs


def _present(value: Comparison) -> list[int]:
    """The classes that any result shows, by rising id."""
    found = sum(np.bincount(each.ravel(), minlength=len(value.together.names)) for each in value.together.maps)
    return np.flatnonzero(found).tolist()


def _agreement_ids(agreeing: np.ndarray) -> bytes:
    step = max(1, int(np.ceil(np.sqrt(agreeing.size / MAX_VIEWER_PIXELS))))
    thin = agreeing[step // 2 :: step, step // 2 :: step]
    return png.encode(np.stack([thin, np.zeros_like(thin), np.zeros_like(thin)], axis=-1))
