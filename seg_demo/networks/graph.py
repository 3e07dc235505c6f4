"""A network as a graph of tensors alone, between preprocessing and postprocessing: what a runtime other than torch can take, and the
code that runs it with nothing but numpy, Pillow and that runtime.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

if TYPE_CHECKING:
    from seg_demo.networks.preprocessing import Preprocessing

# The input's name, by which transformers, transformers.js and optimum know it.
INPUT = "pixel_values"
# Axes of (B, C, h, w) that may have any size.
ANY_SIZE, ONE_SIZE = (0, 2, 3), ()


@dataclass(frozen=True)
class Graph:
    """The part of a network that is computed on tensors.

    Attributes:
        module: in eval mode; float32 (B, C, h, w), normalised, to a tuple of tensors.
        outputs: their names, as the library of the family has them.
        raw: the tensors of one picture as :meth:`seg_demo.networks.base.Network.forward` gives them, for its ``postprocess``.
        free: axes of the input that may have any size, h and w multiples of ``Preprocessing.multiple``.
        traced: how many objects there are, decides what is computed; ``torch.export`` refuses that, torch's tracer does not.
        code: lines of Python that make something of ``outputs``, a list of arrays; empty where that takes a library.
        note: a sentence on what the network does in this demo beyond its graph; empty where that is all.
    """

    module: nn.Module
    outputs: tuple[str, ...]
    raw: Callable[[tuple[Tensor, ...]], Any]
    free: tuple[int, ...] = ANY_SIZE
    traced: bool = False
    code: tuple[str, ...] = ()
    note: str = ""


class Tensors(nn.Module):
    """A module whose answer is made into a tuple of tensors.

    Args:
        module: of a family.
        answer: the module and a batch to the tuple.
    """

    def __init__(self, module: nn.Module, answer: Callable[[nn.Module, Tensor], tuple[Tensor, ...]]) -> None:
        super().__init__()
        self.module, self._answer = module, answer
        self.train(module.training)

    def forward(self, pixel_values: Tensor) -> tuple[Tensor, ...]:
        """The tuple of a batch."""
        return self._answer(self.module, pixel_values)


def runner(graph: Graph, rule: Preprocessing, file: str) -> str:
    """Code that runs a graph on a picture with numpy, Pillow and ONNX Runtime alone; empty where ``graph.code`` is.

    Pillow's resize is not torch's: where a picture is resized, a few pixels on edges may get another label. A network of other channels than red,
    green and blue gets an array of numpy's.

    Args:
        graph: that was exported.
        rule: how an upload becomes a batch.
        file: name of the file.
    """
    if not graph.code:
        return ""
    channels = "[..., ::-1]" if rule.bgr else ""
    if rule.samples is None:
        opened = ['picture = Image.open("image.png").convert("RGB")', *_resized(rule)]
        pixels = f"np.asarray(seen){channels} / 255"
    else:
        low, high = ([ends[side] for ends in rule.ranges or [(0.0, 255.0)] * rule.samples] for side in (0, 1))
        cut = ".clip(0, 1)" if rule.clipped else ""
        opened = [
            f'values = np.load("image.npy").astype("float32")  # (height, width, {rule.samples}), the numbers of a file as they are',
            f'low, high = np.array([{low}, {high}], dtype="float32")',
            f"planes = [Image.fromarray(plane) for plane in ((values - low) / (high - low)){cut}.transpose(2, 0, 1).copy()]",
            "picture = planes[0]",
            *_resized(rule),
        ]
        pixels = f"np.stack([plane.resize(seen.size, Image.BILINEAR) for plane in planes], -1){channels}"
    lines = [
        "import json",
        "import numpy as np, onnxruntime",
        "from PIL import Image",
        "",
        f'session = onnxruntime.InferenceSession("{file}", providers=["CPUExecutionProvider"])',
        'labels = json.loads(session.get_modelmeta().custom_metadata_map["labels"])',
        *opened,
        f"batch = ({pixels} - {_short(rule.mean)}) / {_short(rule.std)}",
        'batch = batch.astype("float32").transpose(2, 0, 1)[None]',
    ]
    if rule.multiple > 1 and not graph.traced:
        lines.append(f'batch = np.pad(batch, ((0, 0), (0, 0), (0, -seen.height % {rule.multiple}), (0, -seen.width % {rule.multiple})), "reflect")')
    return "\n".join([*lines, f'outputs = session.run(None, {{"{INPUT}": batch}})', *graph.code]) + "\n"


def _resized(rule: Preprocessing) -> list[str]:
    """Lines that make ``seen``, the picture as the network sees it, of ``picture``."""
    if rule.size is not None:
        return [f"seen = picture.resize({(rule.size[1], rule.size[0])}, Image.BILINEAR)"]
    scales = [] if rule.shortest_side is None else [f"{rule.shortest_side} / min(picture.size)"]
    scales += [] if rule.longest_side is None else [f"{rule.longest_side} / max(picture.size)"]
    if not scales:
        return ["seen = picture"]
    scale = f"min({', '.join(scales if rule.shortest_side else ['1', *scales])})" if rule.longest_side else scales[0]
    return [f"scale = {scale}", "seen = picture.resize([max(1, round(side * scale)) for side in picture.size], Image.BILINEAR)"]


def _short(values: tuple[float, ...]) -> list[float]:
    return [round(value, 7) for value in values]


# Logits at any size of their own are about the whole batch: resized to it, the padding is cut off, and what is left is the picture.
PIXELS = (
    "maps = [Image.fromarray(plane).resize(batch.shape[:1:-1], Image.BILINEAR) for plane in outputs[0][0]]",
    "maps = [plane.crop((0, 0, *seen.size)).resize(picture.size, Image.BILINEAR) for plane in maps]",
)
OF_CLASSES = (*PIXELS, "label_map = np.argmax(maps, 0)  # (height, width), of the picture", "print({labels[index] for index in np.unique(label_map)})")
OF_TWO = (*PIXELS, "label_map = (np.asarray(maps[0]) > 0).astype(int)  # (height, width), of the picture", "print(labels, label_map.mean())")
_QUERIES = (
    "for query in np.flatnonzero(chances.max(1) > 0.5):",
    "    mask = np.asarray(Image.fromarray(masks[query]).resize(picture.size, Image.BILINEAR)) > 0  # (height, width)",
    "    print(labels[chances[query].argmax()], chances[query].max(), mask.sum())",
)
OF_QUERIES = (
    "classes, masks = (output[0] for output in outputs)",
    "chances = np.exp(classes - classes.max(1, keepdims=True))",
    "chances = (chances / chances.sum(1, keepdims=True))[:, :len(labels)]",
    *_QUERIES,
)
OF_SIGMOIDS = ("classes, masks = (output[0] for output in outputs)", "chances = 1 / (1 + np.exp(-classes))", *_QUERIES)
OF_BOXES = (
    "scale = np.array([picture.width / seen.width, picture.height / seen.height] * 2)",
    "for box, label, score, mask in zip(*outputs):",
    "    x0, y0, x1, y1 = (box * scale).round().astype(int).tolist()",
    "    mask = np.asarray(Image.fromarray(mask[0]).resize((max(1, x1 - x0), max(1, y1 - y0)), Image.BILINEAR)) > 0.5  # in that box",
    "    print(labels[label], score, (x0, y0, x1, y1), mask.sum()) if score > 0.5 else None",
)
