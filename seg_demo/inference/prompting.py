"""Clicks, boxes, earlier masks and words: a picture is embedded once, and its session answers many prompts.

``model.prompt(image)`` gives a :class:`Session`, the same for every promptable network (:mod:`seg_demo.networks.promptable`). What the
network says of an object is brought to the size of the upload around that object alone. An object that is too small for what has been
embedded is embedded once more with its surroundings alone, and so are its neighbours. A session keeps the embedding, the picture and
the logits of its last answers, so that an answer that comes back as an earlier mask is continued from its logits and not from its
pixels; it may be closed by whoever keeps it (:class:`Sessions`), and then answers with a sentence.
"""

from __future__ import annotations

import hashlib
import math
import os
import threading
import time
from collections import OrderedDict
from collections.abc import Callable, Collection, Hashable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torchvision.ops import nms

from seg_demo.core import (
    INSTANCE, BadImageError, BadRequestError, Box, LabelSet, Limit, Message, ModelSpec, PackedRuns, Prompt, Report, Segment, Segmentation, Task,
    encode_crop, paint, requests, tight_box,
)
from seg_demo.inference import engine
from seg_demo.inputs.images import Picture, Source
from seg_demo.masks.instances import KEPT, Deferred
from seg_demo.networks import CLICKS, EXAMPLES, WORDS

if TYPE_CHECKING:
    from seg_demo.networks.promptable import Answer, PromptNetwork

# Answers whose logits a session keeps.
LAST_ANSWERS = 20
# Everything: points along the longer side, and what is kept, as in segment_anything/automatic_mask_generator.py.
GRID, LEAST_SCORE, LEAST_STEADINESS, MOST_ALIKE = 32, 0.88, 0.95, 0.7
# Guesses that are compared at a time (of 256 x 256 logits: 100 MB).
MOST_GUESSES = 400
# An object of fewer cells of the embedding than this, along its longer side, is looked at closely: in a square that is larger than it by
# this factor, and not smaller than this share of what the network takes. A session keeps as many close looks.
FEW_CELLS, SURROUNDINGS, LEAST_LOOK, CLOSE_LOOKS = 4, 8, 0.25, 2
# A session that nobody has asked for so long is closed.
SESSION_SECONDS = 900.0

Previous = Segmentation | Segment | np.ndarray | Mapping[str, Any]


@dataclass(frozen=True)
class Close:
    """What an answer of a close look was made of.

    Attributes:
        frame: (x0, y0, x1, y1) of the part that was looked at, in pixels of the upload.
        logits: of :class:`seg_demo.networks.promptable.Answer`.
    """

    frame: Box
    logits: Any


class PromptRun:
    """A promptable network at work.

    Args:
        network: on the device that computes.
        precision: ``auto``, ``fp32``, ``fp16`` or ``bf16``, of the encoder; the decoder is small and computes in fp32.
        engine: of :func:`seg_demo.inference.engine.choose`, for a module that is not trained any more; None is eager torch.
    """

    def __init__(self, network: PromptNetwork, precision: str, engine: engine.Engine | None = None) -> None:
        self.network, self._precision, self.engine = network, precision, engine
        if engine is not None:
            network.compiled = engine

    def check(self, detail: str, task: Task, thresholds: Mapping[str, float]) -> None:
        """BadRequestError for thresholds, and for full detail."""
        if thresholds:
            raise BadRequestError("requests.no_thresholds", title=self.network.family.title, task=task.name)
        if detail == "full":
            raise BadRequestError("prompts.no_full_detail")

    def __call__(
        self, image: np.ndarray, detail: str, confidence: bool, report: Report | None, task: Task, thresholds: Mapping[str, float]
    ) -> Segmentation:
        """Everything that is in a picture."""
        self.check(detail, task, thresholds)
        session = self.open(Picture(image), ModelSpec("", None, task.name, self.network.name, "", "", "folder"))
        return session.everything(report)

    def open(self, picture: Picture, spec: ModelSpec, embed: Callable[[Picture], Any] | None = None) -> Session:
        """A session on a picture.

        Args:
            picture: as it was read.
            spec: what the model is called.
            embed: looks at the picture elsewhere, and gives tensors on the device of the network here; None has it look itself.

        Raises:
            BadImageError: too large for the memory that is free.
        """
        began = time.perf_counter()
        height, width = picture.pixels.shape[:2]
        engine.check_memory(self.network, height, width, "whole", False)
        requests.check()
        try:
            if embed is None:
                embedding = self.embed(picture.pixels)
            else:
                with torch.inference_mode():
                    embedding = _single(embed(picture))
        except (RuntimeError, MemoryError) as error:
            if not engine.out_of_memory(error):
                raise
            raise BadImageError("memory.not_enough", width=width, height=height, id=spec.id) from error
        requests.check()
        return Session(self, spec, picture, embedding, time.perf_counter() - began, closer=embed is None)

    def embed(self, pixels: np.ndarray) -> Any:
        """The embedding of a picture, or of a part of one, computed here.

        Args:
            pixels: uint8 (h, w, 3).
        """
        with torch.inference_mode():
            given = np.ascontiguousarray(pixels)
            return _single(engine.arithmetic(self.network.module, self.device, self._precision, lambda: self.network.embed(given)))

    @property
    def device(self) -> torch.device:
        """Where it computes."""
        return next(self.network.module.parameters()).device


class Session:
    """A picture that a promptable model has looked at.

    Attributes:
        spec: the model.
        pixels: uint8 (H, W, 3), the picture.
        notes: on how it was read.
        looks: gives the turn that a close look waits for.
    """

    def __init__(self, run: PromptRun, spec: ModelSpec, picture: Picture, embedding: Any, seconds: float, closer: bool = True) -> None:
        self.spec, self.pixels, self.notes, self._facts = spec, picture.pixels, picture.notes, picture.facts
        self._run, self._embedding = run, embedding
        self._seconds = {"embed": seconds}
        self._last: OrderedDict[str, tuple[Box | None, Any]] = OrderedDict()  # by the mask's counts: where it was found, and its logits
        self._close: OrderedDict[Box, Any] = OrderedDict()
        self._cell = run.network.cell(*self.size) if closer else 0.0
        self._lock, self._looking = threading.Lock(), threading.Lock()
        self.looks: Callable[[], AbstractContextManager[object]] = nullcontext

    def __enter__(self) -> Session:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    @property
    def size(self) -> tuple[int, int]:
        """(height, width) of the picture in pixels."""
        return self.pixels.shape[0], self.pixels.shape[1]

    @property
    def embedding(self) -> Any:
        """What the network's encoder says of the picture: tensors in lists and dicts if need be; None once the session is closed."""
        return self._embedding

    @property
    def nbytes(self) -> int:
        """Memory that it takes, in bytes."""
        with self._lock:
            looked, last = (sum(tensor.numel() * tensor.element_size() for tensor in _tensors_in(value)) for value in (self._embedding, list(self._last.values())))
        # Room for the close looks that it may come to, each as large as the look at the whole.
        return self.pixels.nbytes + looked * (1 + CLOSE_LOOKS * bool(self._cell)) + last

    def close(self) -> None:
        """Forget the picture's embedding; whoever asks afterwards gets a sentence."""
        with self._lock:
            self._embedding = None
            self._last.clear()
            self._close.clear()

    def segment(
        self,
        points: Sequence[Sequence[float]] | None = None,
        labels: Sequence[int] | None = None,
        box: Sequence[float] | None = None,
        text: str | None = None,
        previous: Previous | None = None,
    ) -> Segmentation:
        """One object, or for words each thing that they find; with a box, which is an example then, each that is like what is in it.

        Args:
            points: (x, y) in pixels of the upload, one for every click.
            labels: 1 inside the object or 0 outside, one for every click; None takes all for inside.
            box: (x0, y0, x1, y1) around the object, in pixels of the upload.
            text: words for what to find.
            previous: an earlier mask of the object that the answer shall start from: a result or a segment, of which the first object
                counts; bool (H, W); or COCO RLE. One of the session's last :data:`LAST_ANSWERS` answers is continued from the network's logits; any
                other, also one of a session that has ended, from its pixels, which the bundled network takes for somebody's drawing.

        Returns:
            A result of the task ``instance``. An object of which no pixel was found is there with an empty mask, and a note.

        Raises:
            BadRequestError: a prompt that is none, that lies outside the picture, or of a kind that the model does not answer.
        """
        given = () if points is None else points
        marks = [1] * len(given) if labels is None else labels
        return self.answer([Prompt(given, marks, box, None if previous is None else self._run_lengths(previous), text or "")])

    def answer(self, prompts: Sequence[Prompt], closer: bool = True) -> Segmentation:
        """Several objects, in their order: the first has the id 1.

        Args:
            prompts: at least one.
            closer: small objects are looked at closely, which takes as long as looking at the picture did.

        Raises:
            BadRequestError: as :meth:`segment`.
        """
        began = time.perf_counter()
        for prompt in prompts:
            self._check(prompt)
        found: list[list[Answer]] = [[] for _ in prompts]
        near = {index: answer for index, prompt in enumerate(prompts) if closer and (answer := self._continued(prompt)) is not None}
        for index, answer in near.items():
            found[index] = [answer]
        for group in _alike(prompts, self._run.network.together, leave=near):
            for index, guesses in zip(group, self._guess([prompts[index] for index in group]), strict=True):
                best = _best(guesses)
                if closer and best is not None and not self._means_all(prompts[index]):
                    best = self._closely(prompts[index], best)
                found[index] = guesses if self._means_all(prompts[index]) else [best] if best is not None else []
        kept = _Kept(*self.size)
        notes, silent, empty = [], [], 0
        for prompt, answers in zip(prompts, found, strict=True):
            before = len(kept.segments)
            for answer in answers:
                segment = kept.add(answer)
                if segment is None and self._means_all(prompt):
                    continue
                if segment is None:
                    empty += 1
                    x, y = (int(value) for value in _place(prompt))
                    segment = kept.put(Segment(0, answer.score, (x, y, x + 1, y + 1), np.zeros((1, 1), bool)), answer.label)
                self._remember(segment, answer, anew=closer)
            if len(kept.segments) == before and self._means_all(prompt):
                silent.append(prompt)
        if words := [prompt.text for prompt in silent if prompt.box is None]:
            notes.append(Message("prompts.nothing_found_words", words=", ".join(words)))
        if len(words) < len(silent):
            notes.append(Message("prompts.nothing_alike"))
        if empty:
            notes.append(Message("prompts.nothing_found", count=empty, total=len(kept.segments)))
        return self._result(kept, notes, time.perf_counter() - began)

    def _check(self, prompt: Prompt) -> None:
        """Refuse a prompt that lies outside the picture, or that the model does not answer."""
        kinds, id = self._run.network.family.prompts, self.spec.id
        prompt.check(*self.size)
        clicked, boxed = bool(prompt.points) or prompt.mask is not None, prompt.box is not None
        if prompt.text and WORDS not in kinds:
            raise BadRequestError("prompts.no_words", id=id)
        if CLICKS not in kinds and (clicked or boxed and EXAMPLES not in kinds):
            raise BadRequestError("prompts.words_and_examples" if EXAMPLES in kinds else "prompts.words_alone", id=id)
        if prompt.text and (clicked or boxed and EXAMPLES not in kinds):
            raise BadRequestError("prompts.words_and_clicks")

    def _means_all(self, prompt: Prompt) -> bool:
        """Whether a prompt asks for everything of a kind: words, or the box of an example. Otherwise for one object."""
        return bool(prompt.text) or CLICKS not in self._run.network.family.prompts

    def everything(self, report: Report | None = None, grid: int | None = None) -> Segmentation:
        """Every object that a click on one of a grid of points would mean, the surest first; what is found twice is there once.

        As ``SamAutomaticMaskGenerator`` of segment_anything does it without crops, with points that are as far apart down as across.

        Args:
            report: called as it goes on.
            grid: points along the longer side; None takes the network's, or :data:`GRID`.

        Raises:
            BadRequestError: the model answers words alone.
        """
        network, began = self._run.network, time.perf_counter()
        if CLICKS not in network.family.prompts:
            raise BadRequestError("prompts.needs_words", id=self.spec.id or network.family.title)
        height, width = self.size
        least_score, least_steadiness = network.least or (LEAST_SCORE, LEAST_STEADINESS)
        across, down = (max(1, math.ceil((grid or network.grid or GRID) * side / max(height, width))) for side in (width, height))
        places = [((i + 0.5) * width / across, (j + 0.5) * height / down) for j in range(down) for i in range(across)]
        guesses: list[tuple[Answer, tuple[int, int, int, int]]] = []
        limit: Limit | None = None
        for start in range(0, len(places), network.together):
            requests.check()
            if report is not None:
                report(start / len(places), Message("progress.looking_everywhere", done=start, total=len(places)))
            clicks = [Prompt((place,), (1,)) for place in places[start : start + network.together]]
            for answer in (answer for answers in self._guess(clicks) for answer in answers):
                if answer.score > least_score and answer.steadiness >= least_steadiness:
                    shape = answer.mask.tight()
                    if shape is not None:
                        guesses.append((replace(answer, logits=None), shape[0]))
            if len(guesses) > MOST_GUESSES:
                guesses = _distinct(guesses)
                if len(guesses) > MOST_GUESSES // 2:
                    guesses = guesses[: MOST_GUESSES // 2]
                    limit = Limit(len(guesses), guesses[-1][0].score)
        kept = _Kept(height, width)
        for answer, _ in _distinct(guesses):
            kept.add(answer)
        return replace(self._result(kept, [], time.perf_counter() - began), limit=limit)

    def _guess(self, prompts: Sequence[Prompt]) -> list[list[Answer]]:
        """The network's guesses at prompts that it answers together."""
        with self._lock:
            embedding = self._embedding
        if embedding is None:
            raise BadRequestError("prompts.expired")
        earlier = self._earlier(prompts[0], None)
        requests.check()
        with torch.inference_mode():
            return self._run.network.candidates(embedding, self.size, prompts, earlier)

    def _made(self, prompt: Prompt) -> tuple[Box | None, Any]:
        """Where a prompt's earlier mask was found, None being in all of the picture, and its logits; None for both where that is not known any more."""
        counts = None if prompt.mask is None else prompt.mask.get("counts")
        with self._lock:
            if not isinstance(counts, str) or counts not in self._last:
                return None, None
            # Shown, and clicked on: what is shown meanwhile where the pointer rests shall not push it out.
            self._last.move_to_end(counts)
            return self._last[counts]

    def _earlier(self, prompt: Prompt, frame: Box | None) -> Any:
        """What the network takes for a prompt's earlier mask in a part of the picture, None being all of it: its own logits where it
        made the mask there; else the mask, bool of the part's size; None without one."""
        where, logits = self._made(prompt)
        if logits is not None and where == frame:
            return logits
        mask = prompt.earlier()
        if mask is None or frame is None:
            return mask
        x0, y0, x1, y1 = frame
        return np.ascontiguousarray(mask[y0:y1, x0:x1])

    def is_small(self, box: Sequence[float]) -> bool:
        """Whether an object is so small in the embedding that it is worth a close look.

        Args:
            box: (x0, y0, x1, y1) around it, in pixels of the upload.
        """
        return max(box[2] - box[0], box[3] - box[1]) < FEW_CELLS * self._cell

    def _closely(self, prompt: Prompt, answer: Answer) -> Answer:
        """The answer of a close look at an object, where the whole picture shows it in a few cells; the same answer where that is no use."""
        shape = self._cell and answer.mask.tight()
        if not shape or not self.is_small(shape[0]):
            return answer
        boxes = [shape[0], *(box for box in (prompt.box, *((x, y, x, y) for x, y in prompt.points)) if box is not None)]
        if (mask := prompt.earlier()) is not None and (box := tight_box(mask)) is not None:
            boxes.append(box)
        lefts, tops, rights, bottoms = zip(*boxes, strict=True)
        frame = self._frame_for((math.floor(min(lefts)), math.floor(min(tops)), math.ceil(max(rights)), math.ceil(max(bottoms))))
        return answer if frame is None else self._within(prompt, frame) or answer

    def _continued(self, prompt: Prompt) -> Answer | None:
        """The answer of the close look by which the earlier mask of a prompt was found, if its clicks lie there; else None."""
        frame, _ = self._made(prompt)
        if frame is None or not all(frame[0] <= x < frame[2] and frame[1] <= y < frame[3] for x, y in prompt.points):
            return None
        return self._within(prompt, frame)

    def _within(self, prompt: Prompt, frame: Box) -> Answer | None:
        """The answer of a part of the picture; None where there is nothing, or the object goes on beyond the part."""
        x0, y0, x1, y1 = frame
        points = tuple((x - x0, y - y0) for x, y in prompt.points)
        box = prompt.box and (max(0, prompt.box[0] - x0), max(0, prompt.box[1] - y0), min(x1, prompt.box[2]) - x0, min(y1, prompt.box[3]) - y0)
        embedding, before = self._looked_at(frame), self._earlier(prompt, frame)
        with torch.inference_mode():
            found = _best(self._run.network.candidates(embedding, (y1 - y0, x1 - x0), [replace(prompt, points=points, box=box)], before)[0])
        near = None if found is None else found.mask.tight()
        if near is None:
            return None
        left, top, right, bottom = near[0]
        cut = (left == 0 < x0, top == 0 < y0, right == x1 - x0 and x1 < self.size[1], bottom == y1 - y0 and y1 < self.size[0])
        return None if any(cut) else replace(found, mask=replace(found.mask, corner=(x0, y0)), logits=Close(frame, found.logits))

    def _frame_for(self, region: Box) -> Box | None:
        """The part of the picture in which a region is looked at closely: one that has been looked at, or a square around it; None where
        that would be most of the picture."""
        (height, width), longest = self.size, max(region[2] - region[0], region[3] - region[1])
        margin, largest = max(1, longest // 2), max(self.size)
        with self._lock:
            for x0, y0, x1, y1 in reversed(self._close):
                near = (x0 > 0 and region[0] - x0 < margin, y0 > 0 and region[1] - y0 < margin, x1 < width and x1 - region[2] < margin, y1 < height and y1 - region[3] < margin)
                if not any(near) and longest >= FEW_CELLS * self._cell * max(x1 - x0, y1 - y0) / largest:
                    return x0, y0, x1, y1
        side = round(max(SURROUNDINGS * longest, LEAST_LOOK * max(self._run.network.preprocessing.size or (0,))))
        if 2 * side > largest:
            return None
        x0, x1 = _around(region[0], region[2], side, width)
        y0, y1 = _around(region[1], region[3], side, height)
        return x0, y0, x1, y1

    def _looked_at(self, frame: Box) -> Any:
        """The embedding of a part of the picture, which is kept for its neighbourhood."""
        # One visitor's clicks come one after the other; a second one on the same place does not look again.
        with self._looking:
            with self._lock:
                if (known := self._close.get(frame)) is not None:
                    self._close.move_to_end(frame)
                    return known
            requests.check()
            x0, y0, x1, y1 = frame
            with self.looks():
                found = self._run.embed(self.pixels[y0:y1, x0:x1])
            requests.check()
            with self._lock:
                if self._embedding is None:
                    raise BadRequestError("prompts.expired")
                self._close[frame] = found
                while len(self._close) > CLOSE_LOOKS:
                    self._close.popitem(last=False)
            return found

    def _remember(self, segment: Segment, answer: Answer, anew: bool) -> None:
        """Keep what an answer's mask was made of, for when it comes back as an earlier mask; of a mask that is known already only if ``anew``."""
        if answer.logits is None:
            return
        counts = segment.runs(self.size[0]).encoded(self.size[1])["counts"]
        with self._lock:
            if self._embedding is None:
                return
            if anew or counts not in self._last:
                self._last[str(counts)] = (answer.logits.frame, answer.logits.logits) if isinstance(answer.logits, Close) else (None, answer.logits)
            self._last.move_to_end(str(counts))
            while len(self._last) > LAST_ANSWERS:
                self._last.popitem(last=False)

    def _run_lengths(self, previous: Previous) -> Mapping[str, Any]:
        """An earlier mask as COCO RLE of the picture's size."""
        if isinstance(previous, Mapping):
            return previous
        if isinstance(previous, Segmentation):
            if not previous.segments:
                raise BadRequestError("prompts.nothing_inside")
            if (previous.height, previous.width) != self.size:
                raise BadRequestError("prompts.other_size", size=[previous.height, previous.width], height=self.size[0], width=self.size[1])
            return encode_crop(previous.mask_of(0), previous.segments[0].box, *self.size)
        if isinstance(previous, Segment):
            if previous.box[2] > self.size[1] or previous.box[3] > self.size[0]:
                raise BadRequestError("prompts.other_size", size=list(previous.box), height=self.size[0], width=self.size[1])
            return encode_crop(previous.mask, previous.box, *self.size)
        mask = np.asarray(previous)
        if mask.shape != self.size:
            raise BadRequestError("prompts.other_size", size=list(mask.shape), height=self.size[0], width=self.size[1])
        mask = mask.astype(bool)
        x0, y0, x1, y1 = box = tight_box(mask) or (0, 0, 1, 1)
        return encode_crop(mask[y0:y1, x0:x1], box, *self.size)

    def _result(self, kept: _Kept, notes: Sequence[str], seconds: float) -> Segmentation:
        names = list(dict.fromkeys(kept.labels)) or list(self._run.network.labels.names)
        labels = LabelSet.from_names(names)
        segments = tuple(replace_label(segment, names.index(name)) for segment, name in zip(kept.segments, kept.labels, strict=True))
        spent = {**self._seconds, "answer": seconds}
        self._seconds = {}
        return Segmentation(
            INSTANCE.name, *self.size, labels, paint(segments, *self.size), segments, model=self.spec, device=str(self._run.device),
            seconds={stage: round(value, 6) for stage, value in {**spent, "total": sum(spent.values())}.items()},
            notes=(*self.notes, *notes),
            **self._facts,
        )  # fmt: skip


class _Kept:
    """Objects of one picture: their masks, as long as they take little memory together."""

    def __init__(self, height: int, width: int) -> None:
        self.segments: list[Segment] = []
        self.labels: list[str] = []
        self._left = KEPT * height * width

    def add(self, answer: Answer) -> Segment | None:
        """An answer as an object, of which the runs are kept: what is made of it (its box, its area, run lengths) is made of these. None
        without a pixel."""
        if answer.mask.height is None:  # runs of a part of the picture
            shape = answer.mask.tight()
            return None if shape is None else self.put(Segment(0, answer.score, *shape), answer.label)
        runs = answer.mask.runs()
        if runs.box is None:
            return None
        packed = PackedRuns.of(runs)
        fits = packed.nbytes <= self._left
        self._left -= packed.nbytes if fits else 0
        return self.put(Deferred(0, answer.score, runs.box, packed if fits else answer.mask), answer.label)

    def put(self, segment: Segment, label: str) -> Segment:
        """An object as it is, with what it is called."""
        self.segments.append(segment)
        self.labels.append(label)
        return segment


def replace_label(segment: Segment, label_id: int) -> Segment:
    """The same object, called otherwise."""
    if label_id == segment.label_id:
        return segment
    if isinstance(segment, Deferred):
        return segment.labelled(label_id)
    return replace(segment, label_id=label_id)


def _best(guesses: Sequence[Answer]) -> Answer | None:
    """The surest of several guesses at one object."""
    return max(guesses, key=lambda answer: answer.score, default=None)


def _around(low: int, high: int, length: int, end: int) -> tuple[int, int]:
    """A span of a length around another one, within [0, end)."""
    length = min(length, end)
    start = min(max(0, (low + high - length) // 2), end - length)
    return start, start + length


def _alike(prompts: Sequence[Prompt], together: int, leave: Collection[int] = ()) -> list[list[int]]:
    """Indices of prompts that a network can answer at a time: with as many points, with a box or none, of words or none; one that
    starts from a mask by itself. Some are left out."""
    groups: dict[Hashable, list[int]] = {}
    for index, prompt in enumerate(prompts):
        if index in leave:
            continue
        alone = index if prompt.mask is not None else None
        groups.setdefault((len(prompt.points), prompt.box is None, bool(prompt.text), alone), []).append(index)
    return [group[start : start + together] for group in groups.values() for start in range(0, len(group), together)]


def _place(prompt: Prompt) -> tuple[float, float]:
    """Where an object was asked for."""
    if prompt.points:
        return next((point for point, label in zip(prompt.points, prompt.labels, strict=True) if label), prompt.points[0])
    return (0.0, 0.0) if prompt.box is None else prompt.box[:2]


def _distinct(guesses: list[tuple[Answer, tuple[int, int, int, int]]]) -> list[tuple[Answer, tuple[int, int, int, int]]]:
    """Those that are nearly in the box of none that is surer, the surest first."""
    if not guesses:
        return []
    boxes = torch.tensor([box for _, box in guesses], dtype=torch.float32)
    scores = torch.tensor([answer.score for answer, _ in guesses])
    return [guesses[index] for index in nms(boxes, scores, MOST_ALIKE).tolist()]


def _single(value: Any) -> Any:
    """Tensors in nested lists, tuples and dicts in single precision, without what they are views of."""
    if isinstance(value, torch.Tensor):
        return value.float() if value.is_floating_point() else value
    if isinstance(value, Mapping):
        return {key: _single(part) for key, part in value.items()}
    return type(value)(_single(part) for part in value) if isinstance(value, (list, tuple)) else value


def _tensors_in(value: Any) -> list[torch.Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in _tensors_in(part)] if isinstance(value, (list, tuple)) else []


def fingerprint(image: Source) -> str:
    """What tells one picture from another: a hash of the file, or of the pixels."""
    found = hashlib.blake2b(digest_size=20)
    if isinstance(image, Picture):
        image = image.pixels
    if isinstance(image, np.ndarray):
        found.update(repr((image.shape, image.dtype.str)).encode())
        found.update(np.ascontiguousarray(image).view(np.uint8).data)
    elif isinstance(image, (bytes, bytearray)):
        found.update(image)
    elif isinstance(image, os.PathLike) or (isinstance(image, str) and not image.startswith("data:")):
        try:
            with open(image, "rb") as file:
                return hashlib.file_digest(file, lambda: found).hexdigest()
        except OSError:
            found.update(os.fsencode(image))
    elif isinstance(image, str):
        found.update(image.encode())
    else:
        found.update(repr((image.mode, image.size)).encode() + image.tobytes())
    return found.hexdigest()


@dataclass
class _Entry:
    session: Session
    when: float


class Sessions:
    """The sessions of a server's visitors: the least recently used go first when memory is short, and all after a while. A visitor's is
    never another's, even on the same picture. Whoever is being answered from one that goes gets the answer."""

    def __init__(self) -> None:
        self._entries: OrderedDict[Hashable, _Entry] = OrderedDict()
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def nbytes(self) -> int:
        """Memory of all of them, in bytes."""
        with self._lock:
            return sum(entry.session.nbytes for entry in self._entries.values())

    def get(self, key: Hashable) -> Session | None:
        """A session that is kept; those that are too old go first.

        Args:
            key: visitor, model and picture.
        """
        now = time.monotonic()
        with self._lock:
            for old in [name for name, entry in self._entries.items() if now - entry.when > SESSION_SECONDS]:
                del self._entries[old]
            entry = self._entries.get(key)
            if entry is None:
                return None
            entry.when = now
            self._entries.move_to_end(key)
            return entry.session

    def keep(self, key: Hashable, session: Session, most: int) -> None:
        """Keep a session, and drop as many others as that takes; one that by itself takes more than all may is not kept.

        Args:
            key: visitor, model and picture.
            session: open.
            most: bytes that all of them may take.
        """
        if session.nbytes > most:
            return
        self.shrink(most - session.nbytes)
        with self._lock:
            self._entries[key] = _Entry(session, time.monotonic())

    def shrink(self, most: int) -> None:
        """Drop the least recently used until all take no more than so many bytes."""
        with self._lock:
            sizes = {key: entry.session.nbytes for key, entry in self._entries.items()}
            total = sum(sizes.values())
            for key in list(self._entries):
                if total <= most:
                    return
                total -= sizes[key]
                del self._entries[key]

    def forget(self, visitor: Hashable) -> None:
        """Close what a visitor has, who has left the page.

        Args:
            visitor: the first part of the keys.
        """
        with self._lock:
            for key in [key for key in self._entries if isinstance(key, tuple) and key[0] == visitor]:
                self._entries.pop(key).session.close()
