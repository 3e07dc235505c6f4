"""Networks as ONNX files: written, then run by ONNX Runtime on test pictures, and refused unless every label is torch's; and the code that runs them.

The packages (requirements-onnx.txt) are imported here alone, when somebody exports.
"""

from __future__ import annotations

import importlib
import importlib.util
import json
import logging
import tempfile
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from seg_demo.core import TASKS, BadRequestError, Message, Segmentation, write_atomically
from seg_demo.networks.base import INPUT, Graph

if TYPE_CHECKING:
    from seg_demo.networks.base import Network
    from seg_demo.networks.preprocessing import Preprocessing

PACKAGES = ("onnx", "onnxscript", "onnxruntime")
# Largest difference of an output from torch's, relative to its largest value, and the share of a picture's pixels that may get another
# label: those whose two best classes are closer than rounding. Measured: 1e-6 to 4e-5, which the resize of ONNX Runtime makes.
TOLERANCE, MOST_APART = 1e-4, 1e-4
# What shows objects is sure of them so far.
SHOWN_SCORE = 0.5
# (height, width) of the test pictures; other shapes than the one that the graph was made with, odd ones among them.
SIZES = ((480, 640), (301, 200), (97, 131), (64, 48), (33, 17), (700, 520))
# Protocol buffers end there, and a second file of weights would be one more thing to lose.
MOST_BYTES = 2_000_000_000


@dataclass(frozen=True)
class Exported:
    """An ONNX file that was compared with torch.

    Attributes:
        size: bytes.
        opset: version of ONNX's operators.
        input: its shape, such as ``batch x 3 x 32*height x 32*width``.
        pictures: that were compared.
        pixels: of all of them.
        apart: pixels of other labels; of a network that answers several tasks, in that where there are most.
        worst: largest difference of an output, relative to its largest value; None where there are as many outputs as objects.
        classes: that were seen in the test pictures.
        code: runs it with numpy, Pillow and ONNX Runtime; empty where its preprocessing takes a library.
        note: a sentence on what the network does in this demo beyond the file, or empty.
    """

    size: int
    opset: int
    input: str
    pictures: int
    pixels: int
    apart: int
    worst: float | None
    classes: int
    code: str
    note: str = ""

    def sentence(self) -> str:
        """What the comparison came to, and what is not in the file."""
        key = "onnx.same_labels" if not self.apart else "onnx.nearly_same_labels"
        more = {"apart": self.apart} if self.apart else {}
        return " ".join(filter(None, [Message(key, pictures=self.pictures, pixels=self.pixels, classes=self.classes, **more), self.note]))


def check_packages() -> None:
    """That everything is there which exporting takes.

    Raises:
        BadRequestError: what is missing, and how to get it.
    """
    missing = [name for name in PACKAGES if importlib.util.find_spec(name) is None]
    if missing:
        raise BadRequestError("onnx.not_installed", packages=", ".join(missing))


def export(
    network: Network, path: Path, file: str = "model.onnx", about: dict[str, str] | None = None,
    report: Callable[[Message], None] | None = None,
) -> Exported:
    """Write a network as an ONNX file, which is there only if ONNX Runtime gives the labels that torch gives.

    Args:
        network: on the CPU in fp32; in eval mode.
        path: of the file; replaced if it is there.
        file: what the code that runs it calls it.
        about: more entries of its metadata.
        report: told what is being done.

    Raises:
        BadRequestError: the network has no graph, a package is missing, torch cannot write it, ONNX Runtime gives other labels, or the file
            cannot be written.
    """
    check_packages()
    graph = network.graph()
    size = sum(tensor.numel() * tensor.element_size() for tensor in graph.module.state_dict().values())
    if size > MOST_BYTES:
        raise BadRequestError("onnx.too_large", size=size / 1e9)
    say = report or (lambda message: None)
    say(Message("onnx.writing"))
    with tempfile.TemporaryDirectory() as scratch:
        made = Path(scratch) / "model.onnx"
        _write(network, graph, made)
        opset, shape = _describe(network, graph, made, about or {})
        say(Message("onnx.comparing", pictures=len(SIZES)))
        compared = _compare(network, graph, made)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, made.read_bytes())
        except OSError as error:
            raise BadRequestError("onnx.not_written", path=path, why=error.strerror) from error
    return Exported(path.stat().st_size, opset, shape, **compared, code=runner(graph, network.preprocessing, file), note=graph.note)


def _write(network: Network, graph: Graph, path: Path) -> None:
    """torch's exporter: ``torch.export`` with open axes, or the tracer where the number of objects decides what is computed."""
    example = network.preprocess(seen_by(network, *SIZES[0]))
    # One picture would be taken for the only number, and a square for the only shape.
    if 2 in graph.free and example.shape[2] == example.shape[3]:
        example = example[:, :, : example.shape[2] * 3 // 4 // 32 * 32 or 32]
    if 0 in graph.free and len(example) == 1:
        example = torch.cat([example, example.flip(-1)])
    names = {"input_names": [INPUT], "output_names": list(graph.outputs)}
    how: dict[str, Any]
    if graph.traced:
        axes = {INPUT: {2: "height", 3: "width"}, **{name: {0: "objects"} for name in graph.outputs}}
        how = {"dynamo": False, "dynamic_axes": axes}
    else:
        how = {"dynamo": True, "external_data": False, "optimize": True, "verbose": False}
        if graph.free:
            how["dynamic_shapes"] = {INPUT: _open(graph, network.preprocessing.multiple)}
    module = graph.module.eval()
    try:
        with torch.no_grad(), _quiet():
            torch.onnx.export(module, (example,), str(path), **names, **how)
    except Exception as error:  # torch's exporters raise whatever they meet
        why = " ".join(str(error).split())[:300] or type(error).__name__
        raise BadRequestError("onnx.not_exported", title=network.family.title, why=why) from error


def _open(graph: Graph, multiple: int) -> dict[int, Any]:
    """Axes that stay open; sides as multiples where the batch is padded to them."""
    from torch.export import Dim

    if multiple == 1:
        return {axis: Dim.AUTO for axis in graph.free}
    named = {0: Dim("batch", min=1, max=1024), 2: multiple * Dim("height", min=1, max=4096), 3: multiple * Dim("width", min=1, max=4096)}
    return {axis: named[axis] for axis in graph.free}


@contextmanager
def _quiet() -> Iterator[None]:
    """Exporters print their progress and warn of what is compared afterwards."""
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "onnxscript", "onnx_ir", "torch.export")]
    before = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, before, strict=True):
            logger.setLevel(level)


def _describe(network: Network, graph: Graph, path: Path, about: dict[str, str]) -> tuple[int, str]:
    """Put labels, preprocessing and task into the file's metadata, and take out what names folders of this machine; the opset and the
    shape of the input."""
    onnx = importlib.import_module("onnx")
    model = onnx.load(path)
    colors = ["#{:02x}{:02x}{:02x}".format(*color) for color in network.labels.colors]
    facts = {
        "architecture": network.name,
        "task": network.task.name,
        "labels": json.dumps(list(network.labels.names), ensure_ascii=False),
        "colors": json.dumps(colors),
        "background": json.dumps(network.labels.background),
        "preprocessing": json.dumps(network.preprocessing.to_dict()),
        **about,
    }
    onnx.helper.set_model_props(model, facts)
    model.graph.name, model.doc_string = network.name, ""
    for node in [*model.graph.node, *(node for function in model.functions for node in function.node)]:
        node.ClearField("metadata_props")
        node.ClearField("doc_string")
    for value in (*model.graph.value_info, *model.graph.initializer, *model.graph.input, *model.graph.output):
        value.ClearField("metadata_props")
    onnx.save(model, path)
    sides = model.graph.input[0].type.tensor_type.shape.dim
    opset = next(entry.version for entry in model.opset_import if entry.domain in ("", "ai.onnx"))
    return opset, " x ".join(side.dim_param or str(side.dim_value) for side in sides)


def _compare(network: Network, graph: Graph, path: Path) -> dict[str, Any]:
    """Run the file on every test picture.

    Raises:
        BadRequestError: it does not run, or other labels come out.
    """
    runtime = importlib.import_module("onnxruntime")
    pixels = apart = 0
    worst, seen = 0.0, set()
    try:
        session = runtime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
        for height, width in SIZES:
            image = seen_by(network, height, width)
            batch = network.preprocess(image)
            found = tuple(map(torch.from_numpy, session.run(None, {INPUT: batch.numpy()})))
            with torch.no_grad():
                raw = network.forward(network.module, batch)
                if not graph.traced:
                    worst = max(worst, _difference(graph.module(batch), found))
            others = []
            for task in network.tasks:
                answering = network.answering(task)
                expected, result = (answering.postprocess(answer, height, width).above(SHOWN_SCORE) for answer in (raw, graph.raw(found)))
                others.append(_other_labels(expected, result))
                seen |= {segment.label_id for segment in expected.segments}
            if (other := max(others)) > MOST_APART * height * width:
                raise BadRequestError("onnx.other_labels", width=width, height=height, count=other, share=MOST_APART)
            apart, pixels = apart + other, pixels + height * width
    except BadRequestError:
        raise
    except Exception as error:  # ONNX Runtime's own, of which there are many
        raise BadRequestError("onnx.not_run", why=" ".join(str(error).split())[:300]) from error
    if not worst <= TOLERANCE:
        raise BadRequestError("onnx.other_outputs", worst=worst, most=TOLERANCE)
    return {"pictures": len(SIZES), "pixels": pixels, "apart": apart, "worst": None if graph.traced else worst, "classes": len(seen)}


def _difference(expected: Sequence[Tensor], found: Sequence[Tensor]) -> float:
    """Largest difference of an output, relative to its largest value; infinite where shapes differ."""
    if [tensor.shape for tensor in expected] != [tensor.shape for tensor in found]:
        return float("inf")
    pairs = zip(expected, found, strict=True)
    return max(float((one - other).abs().max() / one.abs().max().clamp(min=1e-12)) for one, other in pairs)


def _other_labels(expected: Segmentation, found: Segmentation) -> int:
    """Pixels that have another label; all of them where other objects were found."""
    maps = [expected.id_map, found.id_map]
    if TASKS[expected.task].objects:
        names = [[-1, *(segment.label_id for segment in result.segments)] for result in (expected, found)]
        if sorted(names[0]) != sorted(names[1]):
            return expected.id_map.size
        maps = [np.array(labels)[ids] for labels, ids in zip(names, maps, strict=True)]
    return int(np.count_nonzero(maps[0] != maps[1]))


def seen_by(network: Network, height: int, width: int) -> np.ndarray:
    """A test picture as a network's ``preprocess`` takes it.

    Args:
        network: of any channels.
        height: in pixels.
        width: in pixels.

    Returns:
        uint8 (height, width, 3); of other channels (height, width, C), float32 over the ranges of a network that has some.
    """
    picture, rule = drawn(height, width), network.preprocessing
    if rule.samples is None:
        return picture
    picture = np.ascontiguousarray(picture[..., [channel % 3 for channel in range(rule.samples)]])
    if rule.ranges is None:
        return picture
    low, high = np.array(rule.ranges, dtype=np.float32).T
    return low + picture / np.float32(255) * (high - low)


def drawn(height: int, width: int) -> np.ndarray:
    """A test picture, always the same for a size: bright and coloured discs on uneven light, with grain.

    Args:
        height: in pixels.
        width: in pixels.

    Returns:
        uint8 (height, width, 3).
    """
    rng = np.random.default_rng([height, width])
    rows, columns = np.mgrid[:height, :width].astype(np.float32)
    picture = 50 + 40 * (rows / height)[..., None] + rng.normal(0, 5, (height, width, 3)).astype(np.float32)
    for _ in range(max(3, height * width // 9000)):
        radius = rng.uniform(0.03, 0.12) * min(height, width) + 3
        y, x = rng.uniform(0, height), rng.uniform(0, width)
        inside = np.clip(radius - np.hypot(rows - y, columns - x), 0, 1)[..., None]
        picture = picture * (1 - inside) + inside * (rng.uniform(110, 240) + rng.uniform(-40, 40, 3))
    return picture.clip(0, 255).astype(np.uint8)


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
