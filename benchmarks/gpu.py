"""What a GPU makes of the same work; ``python -m benchmarks --gpu`` runs all of it in less than eight minutes.

Whole requests beside the libraries' own on the same GPU, half precision beside single, requests at the same time with and without a window,
post-processing on the GPU, clicks and steps of training. Memory is what torch's allocator held at most beyond the weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F

from benchmarks import requests, subjects, training
from benchmarks.measure import Row, compare
from seg_demo import networks
from seg_demo.core.types import LabelSet, ModelSpec, Segmentation
from seg_demo.inference.model import WINDOW, Model
from seg_demo.masks.semantic import argmax_resized
from seg_demo.networks.base import Network
from seg_demo.networks.sam import Sam2

# No further row begins after so many seconds: the longest of all takes less than a minute.
LIMIT = 400.0
KINDS = ("unet-r34", "segformer-b0", "maskrcnn-r50", "mask2former-swin-t", "rfdetr-seg-nano")
REQUESTS = ("segformer-b0", "maskrcnn-r50")
# Clients that ask at the same time.
CLIENTS = 16


def rows(quick: bool, device: str = "cuda", clock: Callable[[], float] = time.monotonic) -> Iterator[Row]:
    """The rows of this file, as many as fit into :data:`LIMIT`; what does not is printed.

    Args:
        quick: smaller pictures, fewer repeats.
        device: ``cuda``, or whatever torch calls one.
        clock: seconds.
    """
    size, repeats = ("tiny" if "tiny" in subjects.SIZES else "0.3 MP", 1) if quick else ("12 MP", 5)
    work: list[Callable[[], Row]] = [
        *(partial(request_row, kind, size, device, repeats) for kind in REQUESTS),
        *(partial(half_row, kind, size if quick else "2 MP", device, repeats) for kind in KINDS),
        partial(labels_row, size, device, repeats),
        partial(together_row, "segformer-b0", size if quick else "0.3 MP", device, repeats),
        partial(click_row, sam2, size, device, repeats),
        *(partial(row, *given, precision, repeats, torch.device(device)) for row, given in steps(quick) for precision in ("fp32", "bf16")),
    ]
    began = clock()
    for index, row in enumerate(work):
        if clock() - began > LIMIT:
            left = [each.args[0] if isinstance(each.args[0], str) else each.func.__name__ for each in work[index:]]
            print(f"After {LIMIT:.0f} seconds not measured any more: {', '.join(map(str, left))}.")
            return
        yield row()


def steps(quick: bool) -> list[tuple[Callable[..., Row], tuple[Any, ...]]]:
    """Rows of training and what they take."""
    if quick:
        return [(training.segformer_row, (64, 2))]
    small = networks.network("maskrcnn").default_options()
    return [
        (training.segformer_row, (512, 8)), (training.unet_row, (256, 16)),
        (training.maskrcnn_row, (", R50-FPN", {"variant": "maskrcnn_resnet50_fpn"}, 512)), (training.maskrcnn_row, (", small", small, 512)),
    ]  # fmt: skip


def network_on(kind: str, device: str) -> Network:
    """A network of the real architecture, laid out for a device."""
    network = networks.load(subjects.folder(kind))
    network.module.eval().requires_grad_(False).to(device)
    network.optimise(torch.device(device))
    return network


def model_on(network: Network, precision: str = "auto", window: float | None = None) -> Model:
    """It as the demo serves it on a GPU."""
    return Model.from_network(network, ModelSpec("benchmark", None, network.task.name, "", "", "", "folder"), precision, window=window)


def request_row(kind: str, size: str, device: str, repeats: int) -> Row:
    """A camera's JPEG in, mask and overlay out, beside the library's pipeline on the same GPU.

    Args:
        kind: ``segformer-b0`` or ``maskrcnn-r50``.
        size: key of ``subjects.SIZES``.
        device: of both.
        repeats: timed pairs.
    """
    network, file = network_on(kind, device), subjects.jpeg(*subjects.SIZES[size])
    model = model_on(network)
    if kind == "segformer-b0":
        from transformers import pipeline

        pipe = pipeline("image-segmentation", model=str(subjects.folder(kind)), device=device)
        theirs = partial(requests.plain_segformer, pipe, file, model.labels.colors)
        ours, check, peer = partial(requests.project, model, file), requests.same_labels, "transformers pipeline + blend + `gr.Image`"
    else:
        module = requests.plain(network_on(kind, "cpu")).to(device)
        theirs, peer = partial(requests.plain_maskrcnn, module, file, device), "torchvision eval + draw_segmentation_masks + `gr.Image`"
        ours = partial(requests.served, model, file, 0.0)

        def check(mine: Segmentation, other: tuple[torch.Tensor, list[int]]) -> str:
            return requests.same_objects(
                requests.listed(model_on(network, "fp32").predict(file, 0.0)), requests.listed(mine), requests.cropped(*other)
            ).replace("with the engine", "in half precision")

    return on_gpu(f"{kind} on a GPU, {size}, JPEG in, mask and overlay out", peer, ours, theirs, check, device=device, repeats=repeats)


def half_row(kind: str, size: str, device: str, repeats: int) -> Row:
    """Half precision as it is served, beside single precision: pixels in, result out."""
    network, pixels = network_on(kind, device), subjects.photo(*subjects.SIZES[size])
    half, single = model_on(network), model_on(network, "fp32")

    def check(mine: Segmentation, other: Segmentation) -> str:
        same = float((mine.id_map == other.id_map).mean()) if len(mine.segments) == len(other.segments) else float("nan")
        objects = f", {len(mine.segments)} and {len(other.segments)} segments" if mine.segments or other.segments else ""
        return f"{100 * same:.3f} % of the pixels equal{objects}"

    threshold = 0.05 if network.task.objects else 0.5
    return on_gpu(
        f"{kind} on a GPU, half precision, {size}", "the same in single precision",
        lambda: half.predict(pixels, threshold), lambda: single.predict(pixels, threshold), check, device=device, repeats=repeats,
    )  # fmt: skip


def labels_row(size: str, device: str, repeats: int) -> Row:
    """The label map of 150 classes from logits that are on the GPU."""
    height, width = subjects.SIZES[size]
    generator = torch.Generator().manual_seed(0)
    coarse = torch.randn(1, subjects.CLASSES, 16, 16, generator=generator)
    logits = F.interpolate(coarse, (128, 128), mode="bilinear", align_corners=False).to(device)

    def theirs() -> np.ndarray:
        return F.interpolate(logits, (height, width), mode="bilinear", align_corners=False)[0].argmax(0).to(torch.uint8).cpu().numpy()

    return on_gpu(
        f"label map on a GPU, {subjects.CLASSES} classes, {size}", "`F.interpolate` and argmax there",
        lambda: argmax_resized(logits[0], height, width), theirs, requests.same_labels, device=device, repeats=repeats,
    )  # fmt: skip


def together_row(kind: str, size: str, device: str, repeats: int) -> Row:
    """Requests that come at the same time, computed together, beside each computed alone."""
    network, pixels = network_on(kind, device), subjects.photo(*subjects.SIZES[size])
    joined, alone = model_on(network, window=WINDOW), model_on(network)

    def all_at_once(model: Model) -> list[Segmentation]:
        with ThreadPoolExecutor(CLIENTS) as pool:
            return list(pool.map(lambda _: model.predict(pixels), range(CLIENTS)))

    def check(mine: list[Segmentation], other: list[Segmentation]) -> str:
        return requests.same_labels(mine[0].id_map, other[0].id_map)

    return on_gpu(
        f"{CLIENTS} requests at once on a GPU, {kind}, {size}", "without a window",
        lambda: all_at_once(joined), lambda: all_at_once(alone), check, device=device, repeats=repeats,
    )  # fmt: skip


def sam2() -> Network:
    """SAM 2.1 tiny with random weights."""
    torch.manual_seed(0)
    return Sam2.create(LabelSet.from_names(("object",)), {"model_type": "sam2"})


def click_row(make: Callable[[], Network], size: str, device: str, repeats: int) -> Row:
    """A further click, beside the first one, for which the picture is looked at.

    Args:
        make: gives the network.
        size: key of ``subjects.SIZES``.
        device: where it computes.
        repeats: timed pairs.
    """
    network = make()
    network.module.eval().requires_grad_(False).to(device)
    model, pixels = model_on(network), subjects.photo(*subjects.SIZES[size])
    height, width = pixels.shape[:2]
    session = model.prompt(pixels)

    def further() -> Segmentation:
        return session.segment([(width // 2, height // 2), (width // 3, height // 3)], [1, 0])

    def first() -> Segmentation:
        with model.prompt(pixels) as fresh:
            return fresh.segment([(width // 2, height // 2), (width // 3, height // 3)], [1, 0])

    return on_gpu(
        f"a further click on a GPU, {network.family.title}, {size}", "a first click", further, first,
        lambda mine, other: "identical" if np.array_equal(mine.id_map, other.id_map) else "DIFFERENT", device=device, repeats=repeats,
    )  # fmt: skip


def on_gpu(work: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any], check: Any, *, device: str, repeats: int) -> Row:
    """A row of which memory is the GPU's; what a call has started there is waited for."""
    there = torch.device(device).type == "cuda"

    def waited(call: Callable[[], Any]) -> Callable[[], Any]:
        def run() -> Any:
            result = call()
            if there:
                torch.cuda.synchronize()
            return result

        return run

    ours, theirs = waited(ours), waited(theirs)
    row = compare(work, peer, ours, theirs, check, repeats=repeats, memory=False)
    if not there:
        return row
    return replace(row, our_bytes=_peak(ours), their_bytes=_peak(theirs))


def _peak(call: Callable[[], Any]) -> int:
    """Largest growth of what torch's allocator holds, in bytes."""
    torch.cuda.empty_cache()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    return max(0, torch.cuda.max_memory_allocated() - before)
