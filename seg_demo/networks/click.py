"""A small network of this project's own that outlines what is clicked, in the manner of RITM and FocalClick.

As RITM (Sofiiuk et al. 2021, arXiv 2102.06583) it takes the picture, discs where somebody clicked, inside and outside, and the mask
that was there before, and is trained with clicks that a program sets where the last answer is most wrong. As FocalClick (Chen et al.
2022, arXiv 2204.02574) it looks twice: at all of the picture, to find how large the thing is, and then closely at its surroundings.
Its answer is held to the picture: what a click says holds for its surroundings up to the next edge, by geodesic distance as in GeoS
(Criminisi et al. 2008) and DeepIGeoS (Wang et al. 2018, arXiv 1707.00652), and outlines follow edges that the picture has and the
smaller one that the network saw has not, by a guided filter (He and Sun 2015, arXiv 1505.00996).
Nothing depends on the picture alone, so what is kept of it between clicks is a pyramid of its pixels.

Its layers are in :mod:`seg_demo.networks.click_net`: a U-Net of its own, or one whose encoder has learnt from photographs.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from scipy import ndimage
from torch import Tensor, nn

from seg_demo.core import BadCheckpointError, Box, EncoderOnlyError, LabelSet, Prompt, Task, tight_box
from seg_demo.masks.instances import Corrected, Resized
from seg_demo.masks.resize import alone, each
from seg_demo.masks.semantic import all_finite
from seg_demo.networks import checkpoint
from seg_demo.networks.base import EngineHints, TrainingDefaults
from seg_demo.networks.click_net import (
    BOXED, ENCODERS, RADIUS, ClickNet, EncodedClickNet, clipped, cut, depth, draw_clicks, guided, longest_side, one_way,
    part, pieces_near, placed, resized, seen_at, shown, spread, unclicked,
)
from seg_demo.networks.preprocessing import Preprocessing, normalised, tensor_of
from seg_demo.networks.promptable import OBJECT, Answer, PromptNetwork, central_pixel, clicks_of, in_turn, next_click, spoiled
from seg_demo.networks.weights import fitting, read_weights, stored_names

# A frame around an object is larger than it by this factor, and has at least so many pixels of the picture to a side.
ROOM, LEAST_FRAME = 1.4, 16
# A small frame is enlarged by at most this factor for the network.
MOST_ENLARGED = 4.0
# The first click of an object is also looked at in windows of these shares of the picture's longer side: what is too small to be seen in
# the whole is seen in one of them.
WINDOWS = (0.6, 0.35, 0.2, 0.12, 0.07, 0.04, 0.024)
# In them it is seen at this share of the size: to say how large it is takes less than to draw it.
GLANCE = 5 / 6
# A first answer whose score is less is compared with that from the window in which the network was the second surest.
UNSURE = 0.6
# How often a frame is made larger when the object goes on beyond it.
MOST_GROWN = 2
# What a box says of the pixels in it where boxes are learnt; what it says to a network that has learnt is :data:`BOXED`.
IN_BOX = 0.5
# Of an earlier mask that somebody else made, what a click does not mean stays, unless the network is as sure as this logit that it is wrong;
# and where the click's difference takes less than this share of the frame, it is looked at closely.
SURE, CLOSE = 2.0, 0.6
# Of such a mask with fewer pixels than the first, a click means what is within this share of the root of their number: the network, which sees
# them enlarged and blurred, knows less of their outline than whoever drew it. Unless it sees something larger by a factor: that was a beginning.
FEW, NEARBY, LARGER = 100, 1 / 3, 3
# What nobody has clicked of such a mask is not seen where it is fewer pixels than these of what the network sees: that it is sure of nothing there,
# because a click is so far away, says nothing.
UNSEEN = 16
# A click outside that lies as deep in what was answered as this share of the root of its pixels says that another thing was meant. Then the picture
# is looked at as if nothing had been answered yet; what is found counts where it is smaller than this share of the corrected answer, and as sure as this.
DEEP, SMALLER, SURE_ENOUGH = 0.2, 0.6, 0.45
# So many clicks that come together are heard one after the other.
IN_TURN = 20
# Outlines are drawn at so many times the scale at which the network saw the picture.
FINER = 2.0

# The probability that pixels are of the object, within a frame as seen at a size (rows, columns): float32.
Chance = Callable[[Box, tuple[int, int]], Tensor]


@dataclass(frozen=True)
class View:
    """What the network has said of a part of the picture.

    Attributes:
        frame: (x0, y0, x1, y1), of the part, in pixels of the upload.
        logits: float32 (h, w) on the CPU.
        picture: float32 (3, h, w) in [0, 1], what it saw; None where it has not looked.
    """

    frame: Box
    logits: Tensor
    picture: Tensor | None = None

    @property
    def score(self) -> float:
        """The IoU that is to be expected if the probabilities are right: their sum inside, over all pixels that may belong to it."""
        chance = self.logits.sigmoid()
        inside = self.logits > 0
        whole = int(inside.sum()) + float(chance[~inside].sum())
        return float(chance[inside].sum()) / whole if whole else 0.0

    def area(self) -> float:
        """Of the mask, in pixels of the upload."""
        x0, y0, x1, y1 = self.frame
        return float((self.logits > 0).float().mean()) * (y1 - y0) * (x1 - x0)

    def box(self) -> Box | None:
        """The smallest box in pixels of the upload around the mask; None without a pixel."""
        return _boxed(self.logits > 0, self.frame)

    def cut_off(self, size: tuple[int, int]) -> bool:
        """Whether the object goes on beyond the frame, where the picture does."""
        inside, (x0, y0, x1, y1) = self.logits > 0, self.frame
        sides = ((x0 > 0, inside[:, 0]), (y0 > 0, inside[0]), (x1 < size[1], inside[:, -1]), (y1 < size[0], inside[-1]))
        return any(beyond and bool(line.any()) for beyond, line in sides)

    def chance(self, frame: Box, size: tuple[int, int]) -> Tensor:
        """The probability within another frame, 0 beyond this one: float32 of a size."""
        return placed(self.logits.sigmoid(), self.frame, frame, size)


@dataclass
class Click(PromptNetwork, family="click"):
    """The clicked network. A box is a mask of which nobody knows more than that the object is in it."""

    engine: ClassVar[EngineHints | None] = EngineHints(free=(2, 3))
    training: ClassVar[TrainingDefaults | None] = TrainingDefaults(
        base="click", lr=1e-3, scratch_lr=3e-3, crop=256, pretrained_crop=256, batch_size=4, scratch_batch_size=4, least_steps=600, passes=12
    )
    together: ClassVar[int] = 4
    # A first click takes it several looks, and its edges are softer than SAM's.
    grid: ClassVar[int | None] = 12
    least: ClassVar[tuple[float, float] | None] = (0.8, 0.6)
    heavy_look: ClassVar[bool] = False

    @staticmethod
    def default_options() -> dict[str, Any]:
        """1.6 million parameters: 3.2 MB in 16 bits."""
        return {"widths": [16, 32, 72, 112, 144], "decoder": [16, 32, 56, 80], "keys": 16}

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights.

        Args:
            num_classes: means nothing here.
            options: ``widths``, ``decoder`` and ``keys`` of :class:`ClickNet`; or ``encoder``, ``decoder`` and ``keys`` of
                :class:`EncodedClickNet`.

        Raises:
            BadCheckpointError: other options.
        """
        checkpoint.check_options(options)
        encoder = options.get("encoder")
        counts = {"widths": 5, "decoder": 4} if encoder is None else {"decoder": 4}
        lists = all(isinstance(options.get(name), list) and len(options[name]) == count for name, count in counts.items())
        numbers = [*options.get("widths", ()), *options.get("decoder", ()), options.get("keys")] if lists else [None]
        sane = all(isinstance(number, int) and not isinstance(number, bool) and 4 <= number <= 1024 for number in numbers)
        if not sane or (encoder is not None and encoder not in ENCODERS):
            raise BadCheckpointError("networks.bad_click_options", options=str(options)[:200])
        if encoder is not None:
            return EncodedClickNet(encoder, options["decoder"], options["keys"])
        return ClickNet(options["widths"], options["decoder"], options["keys"])

    @classmethod
    def fresh_preprocessing(cls, module: nn.Module, options: dict[str, Any]) -> Preprocessing:
        """Longest side of a frame as the network sees it, and the colours that its encoder is used to."""
        seen = {"mean": (0.5,) * 3, "std": (0.5,) * 3} if "encoder" in options else {}
        return Preprocessing(longest_side=192, multiple=32, **seen)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As :meth:`Network.load`.

        Raises:
            EncoderOnlyError: the folder has the weights of an encoder alone, with which :meth:`from_encoder` begins.
        """
        if all(name.startswith("encoder.") for name in stored_names(folder)):
            raise EncoderOnlyError("checkpoints.encoder_only", name=cls.family.title)
        return super().load(folder)

    @classmethod
    def from_encoder(cls, folder: Path, labels: LabelSet) -> tuple[Self, tuple[str, ...]]:
        """As :meth:`Network.from_encoder`: what ``scripts/begin_click.py`` writes.

        Raises:
            BadCheckpointError: options of no network, or weights that are not its encoder's.
        """
        options, count, own = checkpoint.own_config(checkpoint.read_json(folder, checkpoint.CONFIG))
        network = cls.create(own, options)
        known = {f"encoder.{name}": value.shape for name, value in network.module.encoder.state_dict().items()}
        state, _ = fitting(read_weights(folder), known, cls.family.title, set)
        network.module.load_state_dict(state, strict=False)
        fresh = tuple(f"{name}." for name, _ in network.module.named_children() if name != "encoder")
        return replace(network, preprocessing=cls.stored_preprocessing(folder, options)), fresh

    @classmethod
    def classes_of(cls, labels: LabelSet, task: Task) -> LabelSet:
        """There is one, whatever the data calls its objects: what is clicked."""
        return LabelSet.from_names(("background", OBJECT), background=0)

    @property
    def side(self) -> int:
        """Longest side in pixels of what the network sees at once."""
        return self.preprocessing.longest_side or 256

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """Twice as large as one look at the whole: training cuts frames out of this."""
        height, width = image.shape[:2]
        factor = min(1.0, 2 * self.side / max(height, width))
        size = max(1, round(height * factor)), max(1, round(width * factor))
        return np.ascontiguousarray(resized(tensor_of(image), size).permute(1, 2, 0).numpy())

    def optimise(self, device: torch.device) -> None:
        """Channels last, in which a CPU's convolutions are 1.3 times as fast."""
        self.module.to(memory_format=torch.channels_last)

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> Tensor:
        """Logits (B, 1, h, w).

        Args:
            module: of this network.
            batch: float32 (B, 6, h, w), as :meth:`ClickNet.forward` takes it.
        """
        return module(batch)

    def embed(self, image: np.ndarray) -> list[Tensor]:
        """The picture's pixels, and halves of them down to what the network sees at once: uint8 (h, w, 3) each, on the CPU.

        Args:
            image: uint8 (H, W, 3), RGB.
        """
        return alone(self._levels, image)

    def _levels(self, image: np.ndarray) -> list[Tensor]:
        levels = [tensor_of(image)]
        while max(levels[-1].shape[:2]) > 2 * self.side:
            height, width = levels[-1].shape[:2]
            levels.append(resized(levels[-1], ((height + 1) // 2, (width + 1) // 2)).permute(1, 2, 0).contiguous())
        return levels

    def candidates(self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Any) -> list[list[Answer]]:
        """As :meth:`PromptNetwork.candidates`: one guess at every prompt, by one thread each: the maps are so small that several threads wait
        for each other longer than they compute, on a machine that does other things a hundred times as long. Clicks that come together are
        answered as if they had come one by one, as they do from a person and in training (of a mask that somebody brings: those that it does not
        agree with, and the last one)."""
        seen: dict[int, list[View]] = {}
        # Wherever in its pixel the pointer was: all that follows is of the same pixel.
        prompts = [replace(prompt, points=tuple((float(math.floor(x)), float(math.floor(y))) for x, y in prompt.points)) for prompt in prompts]
        said = earlier["clicks"].tolist() if isinstance(earlier, Mapping) else None
        if said is not None and "logits" not in earlier:
            earlier = prompts[0].earlier()
        # A mask of nothing says nothing.
        earlier = None if isinstance(earlier, np.ndarray) and not earlier.any() else earlier
        turns = [in_turn(prompt, earlier, said, IN_TURN) for prompt in prompts]
        if len(prompts) == 1 and prompts[0].box is None and earlier is None:
            # Nobody else keeps the other processors busy.
            seen[0] = each(lambda frame: self._look(embedding, frame, turns[0][0], None, GLANCE), _windows(turns[0][0], size))
        answers = each(lambda turn: self._in_turn(embedding, size, turn[1], earlier, seen.get(turn[0])), enumerate(turns))
        return [[answer] for answer in answers]

    def _in_turn(self, levels: list[Tensor], size: tuple[int, int], turns: Sequence[Prompt], earlier: Any, seen: list[View] | None) -> Answer:
        """The answer to the last of some prompts, which starts from that to the one before, as :meth:`_answer`."""
        for prompt in turns:
            answer = self._answer(levels, size, prompt, earlier, seen)
            answer = replace(answer, logits={**answer.logits, "clicks": torch.tensor(clicks_of(prompt), dtype=torch.float64)})
            earlier, seen = answer.logits, None
            if "logits" not in earlier and prompt is not turns[-1]:
                tight, earlier = answer.mask.tight(), None
                if tight is not None:
                    (x0, y0, x1, y1), mask = tight
                    earlier = np.zeros(size, bool)
                    earlier[y0:y1, x0:x1] = mask
        return answer

    def _answer(self, levels: list[Tensor], size: tuple[int, int], prompt: Prompt, earlier: Any, seen: list[View] | None = None) -> Answer:
        """The answer to one prompt; where nothing is known of the object's size, from views of the windows around the click, if those are there already."""
        before: Chance | None = None
        region = prompt.box and tuple(int(value) for value in (prompt.box[0], prompt.box[1], math.ceil(prompt.box[2]), math.ceil(prompt.box[3])))
        if isinstance(earlier, np.ndarray):
            mask, region = torch.from_numpy(earlier), tight_box(earlier) or region
            before = lambda frame, shape: cut(mask, frame, shape)  # noqa: E731
        elif earlier is not None:
            known = _kept(earlier)
            before, region = known.chance, known.box() or region
        elif region is not None:
            inside = region
            before = lambda frame, shape: placed(BOXED, inside, frame, shape)  # noqa: E731
        if region is None:
            surest, *others = _surest(seen or self._glances(levels, size, prompt), size)
            view = self._begun(levels, size, prompt, surest)
            if others and view.score < UNSURE:
                view = max(view, self._begun(levels, size, prompt, others[0]), key=lambda view: view.score)
        else:
            view = self._whole(levels, size, prompt, _framed(region, prompt, size), before)
        if earlier is None or not prompt.points:
            return self._finished(levels, view, prompt)
        if isinstance(earlier, np.ndarray):
            return self._corrected(levels, view, prompt, size, before, earlier)
        answer = self._corrected(levels, view, prompt, size, before, None)
        if prompt.box is None and _misunderstood(known, prompt):
            return self._afresh(levels, size, prompt, answer) or answer
        return answer

    def _glances(self, levels: list[Tensor], size: tuple[int, int], prompt: Prompt) -> list[View]:
        """The whole picture and windows around the clicks, of which nothing is known yet."""
        return [self._look(levels, window, prompt, None, GLANCE) for window in _windows(prompt, size)]

    def _begun(self, levels: list[Tensor], size: tuple[int, int], prompt: Prompt, view: View) -> View:
        """What a first view has under the clicks, seen so that it and its surroundings are all there is."""
        around = _around(view, prompt)
        frame = view.frame if around is None else _framed(around, prompt, size)
        large = longest_side(frame) > 0.85 * longest_side(view.frame)
        return self._whole(levels, size, prompt, view.frame if large else frame, None if large else view.chance)

    def _whole(self, levels: list[Tensor], size: tuple[int, int], prompt: Prompt, frame: Box, before: Chance | None) -> View:
        """A frame as the network sees it, made larger while the object goes on beyond it."""
        view = self._look(levels, frame, prompt, before)
        for _ in range(MOST_GROWN):
            if not view.cut_off(size):
                break
            view = self._look(levels, _framed(view.frame, prompt, size), prompt, view.chance)
        return view

    def _afresh(self, levels: list[Tensor], size: tuple[int, int], prompt: Prompt, corrected: Answer) -> Answer | None:
        """The answer to all clicks as if none had been answered yet; None where nothing that agrees with them is that much smaller, and sure."""
        view = next((view for view in _surest(self._glances(levels, size, prompt), size) if _agrees(view, prompt)), None)
        if view is None:
            return None
        view = self._begun(levels, size, prompt, view)
        smaller = view.area() < SMALLER * _kept(corrected.logits).area()
        return self._finished(levels, view, prompt) if smaller and view.score > SURE_ENOUGH else None

    def _look(self, levels: list[Tensor], frame: Box, prompt: Prompt, before: Chance | None, share: float = 1.0) -> View:
        """What the network says of a frame, seen at a share of the size that it takes."""
        side = round(share * self.side)
        factor = min(side / longest_side(frame), MOST_ENLARGED)
        frame, pixels = part(levels, frame, factor)
        x0, y0, x1, y1 = frame
        rows, columns = (max(1, min(side, round(length * factor))) for length in (y1 - y0, x1 - x0))
        device = next(self.module.parameters()).device
        seen = shown(pixels, (rows, columns))
        picture = normalised(seen, self.preprocessing)
        marks = torch.zeros(3, rows, columns)
        draw_clicks(marks, _places(prompt, frame, (rows, columns)), prompt.labels)
        if before is not None:
            marks[2] = before(frame, (rows, columns))
        step = self.preprocessing.multiple
        bottom, right = -rows % step, -columns % step
        picture = F.pad(picture, (0, right, 0, bottom), mode="replicate")
        batch = torch.cat([picture, F.pad(marks, (0, right, 0, bottom))[None]], 1)
        logits = self.computed(batch.to(device, memory_format=torch.channels_last))[0, 0, :rows, :columns].float().cpu()
        if not all_finite(logits):
            raise BadCheckpointError("models.invalid_numbers")
        return View(frame, logits.contiguous(), seen[0])

    def _finished(self, levels: list[Tensor], view: View, prompt: Prompt) -> Answer:
        """An answer of one view, held to the picture; several clicks also to what is around them."""
        held = replace(view, logits=view.logits + said(view, prompt)) if len(prompt.points) > 1 else view
        return self._answered(view, held.logits, self._sharpened(levels, held))

    def _corrected(self, levels: list[Tensor], view: View, prompt: Prompt, size: tuple[int, int], before: Chance, drawn: np.ndarray | None) -> Answer:
        """An answer to a further click, by what it changes of the earlier mask.

        The difference that the last click lies in is looked at once more, closely, and drawn into the answer, as FocalClick does; and if
        that mask was `drawn`, bool (H, W), all others stay as they were, to the pixel, but for what the network is sure of and can see, as its
        progressive merge has it: whoever brings a mask has drawn, or looked at, the rest of it. The next answer starts from that mask, then, and
        not from logits, in which there is no room for what is thin.
        """
        held = replace(view, logits=view.logits + said(view, prompt))
        found = self._sharpened(levels, held)
        shape, earlier = found.shape, before(view.frame, found.shape)
        wrong, place = (found > 0) != (earlier > 0.5), _places(prompt, view.frame, shape)[-1]
        near_click = RADIUS * shape[0] / view.logits.shape[0]
        reach, (x0, y0, x1, y1) = math.inf, view.frame
        finer = shape[0] / (y1 - y0)
        if drawn is not None and (pixels := int(drawn[y0:y1, x0:x1].sum())) < FEW and int((found > 0).sum()) < LARGER * pixels * finer**2:
            across = math.sqrt(pixels) * finer
            # A click far from it is of something else.
            if pieces_near(earlier > 0.5, place, across).any():
                reach = max(1.5 * finer, NEARBY * across)
        meant = pieces_near(wrong, place, near_click, reach)
        if drawn is not None:
            rest = unclicked(earlier > 0.5, _places(prompt, view.frame, shape), prompt.labels)
            seen = int(rest.sum()) >= UNSEEN * (shape[0] / view.logits.shape[0]) ** 2
            sure = wrong & (found.abs() > SURE) & (seen | ~rest)
            found = torch.where(meant | sure, found, earlier.logit(1e-4))
        box = _boxed(meant, view.frame)
        frame = box and _framed(box, Prompt(prompt.points[-1:], (1,)), size)
        if frame and longest_side(frame) < CLOSE * longest_side(view.frame):
            near = self._look(levels, frame, prompt, View(view.frame, found).chance)
            near = replace(near, logits=near.logits + said(near, prompt))
            inside = placed(torch.ones(2, 2), near.frame, view.frame, shape) > 0
            closely = placed(self._sharpened(levels, near), near.frame, view.frame, shape)
            meant = meant | pieces_near(inside & ((closely > 0) != (earlier > 0.5)), place, near_click, reach)
            meant = F.max_pool2d(meant[None].float(), 5, 1, 2)[0] > 0
            found = torch.where(meant & inside, closely, found)
        if drawn is None:
            found = one_way(found, earlier > 0.5, prompt.labels[-1])
            return self._answered(view, found, found)
        answer = self._answered(view, found, found)
        if finer > 1:
            # Of a pixel that the network sees enlarged, a part that it changes would be outvoted by what was drawn around it.
            row, column = (min(max(0, round(value - finer / 2)), length - 1) for value, length in zip(place[::-1], shape, strict=True))
            pixel = found[row : row + math.ceil(finer), column : column + math.ceil(finer)]
            pixel[:] = max(9.0, float(pixel.abs().max())) * (1 if prompt.labels[-1] else -1)
        changed = ndimage.binary_dilation(((found > 0) != (earlier > 0.5)).numpy(), np.ones((3, 3)))
        mask = Corrected(found.numpy(), (y1 - y0, x1 - x0), corner=(x0, y0), drawn=drawn[y0:y1, x0:x1], changed=changed)
        return replace(answer, mask=mask, logits={})

    @staticmethod
    def _answered(view: View, logits: Tensor, fine: Tensor) -> Answer:
        """What is said of a view, drawn by finer logits of its frame."""
        x0, y0, x1, y1 = view.frame
        outer = int((view.logits > -1).sum())
        steadiness = int((view.logits > 1).sum()) / outer if outer else 1.0
        mask = Resized(fine.numpy(), (y1 - y0, x1 - x0), corner=(x0, y0))
        kept = {"logits": logits, "frame": torch.tensor(view.frame)}
        return Answer(mask, min(1.0, round(view.score, 6)), steadiness, logits=kept)

    def _sharpened(self, levels: list[Tensor], view: View) -> Tensor:
        """The logits of a view whose frame has more pixels than the network saw, with outlines along the edges of those: float32 (H, W), up to
        :data:`FINER` times as large."""
        x0, y0, x1, y1 = view.frame
        rows, columns = view.logits.shape
        factor = min(1.0, FINER * max(rows / (y1 - y0), columns / (x1 - x0)))
        size = tuple(max(1, round(length * factor)) for length in (y1 - y0, x1 - x0))
        if size[0] <= rows or size[1] <= columns:
            return view.logits
        _, pixels = part(levels, view.frame, factor)
        return guided(view.logits.sigmoid(), shown(pixels, size)[0]).logit(1e-3)

    @staticmethod
    def memory_per_pixel(tiled: bool, confidence: bool) -> int:
        """The pyramid, the masks that are kept and the id map."""
        return 12

    def card_snippet(self, source: str) -> str:
        """Code that asks the checkpoint.

        Args:
            source: folder or Hub id.
        """
        return f"""from seg_demo import load_model

session = load_model("{source}").prompt("picture.jpg")
result = session.segment(points=[(120, 80)], labels=[1])
result = session.segment(points=[(120, 80), (150, 60)], labels=[1, 0], previous=result)
"""

    # How it is trained.

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Callable[[Tensor], Tensor], share: float) -> Tensor:
        """Cross-entropy, of which hard pixels have most (Lin et al. 2017), and Dice, of the mask after some clicks.

        Of every picture two objects are clicked, in a frame around it or in the whole, from nothing, from a box or from a mask that is
        wrong; then the network answers, and the next click goes where the answer is most wrong, up to twelve times. The last answer
        counts.
        """
        turns = min(MOST_CLICKS - 1, int(torch.empty(1).geometric_(0.35)) - 1)
        with torch.no_grad():
            batch, wanted = self._practice(images, truth)
            if batch is None:
                return sum(parameter.sum() for parameter in module.parameters()) * 0.0
            for _ in range(turns):
                self._go_on(batch, wanted, module(batch).float().sigmoid())
        logits = module(batch).float()
        target = wanted.to(logits)
        chance = logits.sigmoid()
        right = torch.where(target > 0.5, chance, 1 - chance)
        entropy = F.binary_cross_entropy_with_logits(logits, target, reduction="none")
        # As RITM's normalised focal loss: the weights of a picture sum to the number of its pixels, however easy it is.
        weight = (1 - right).detach() ** 1.5 + 0.02
        weight = weight / weight.mean((1, 2, 3), keepdim=True)
        common, both = (chance * target).sum((1, 2, 3)), (chance + target).sum((1, 2, 3))
        dice = 1 - (2 * common + 1) / (both + 1)
        focal = (entropy * weight).mean((1, 2, 3)).clamp(max=4)
        return share * (0.5 * focal + dice).mean()

    def _practice(self, images: Tensor, truth: Any) -> tuple[Tensor | None, Tensor | None]:
        """Frames with their first marks, float32 (B, 6, s, s), and the true masks bool (B, 1, s, s); pictures without objects left out."""
        side = PRACTICE[int(torch.randint(len(PRACTICE), ()))]
        pictures, masks = [], []
        for image, objects in zip(images, truth, strict=True):
            if not len(objects["masks"]):
                continue
            # Most things are small; large ones come as often as if there were a few of each.
            weights = objects["masks"].flatten(1).sum(1).float().sqrt()
            for index in torch.multinomial(weights, min(PER_PICTURE, len(weights))).tolist():
                mask = objects["masks"][index]
                whole = _chance(0.25)
                frame = (0, 0, image.shape[2], image.shape[1]) if whole else _practice_frame(mask.cpu().numpy() > 0)
                seen, cover = seen_at(image, frame, side), seen_at(mask[None].float(), frame, side)[0] > 0.5
                if int(cover.sum()) < 12:
                    continue
                for axis in (1, 2):
                    if _chance(0.5):
                        seen, cover = seen.flip(axis), cover.flip(axis - 1)
                if _chance(0.5):
                    seen, cover = seen.transpose(1, 2), cover.T
                pictures.append(_recoloured(seen))
                masks.append(cover.contiguous())
        if not pictures:
            return None, None
        picture = normalised(torch.stack(pictures), self.preprocessing)
        wanted = torch.stack(masks)[:, None]
        marks = torch.zeros_like(picture)
        for mark, mask in zip(marks, masks, strict=True):
            begin(mark, mask.cpu().numpy())
        return torch.cat([picture, marks], 1).to(memory_format=torch.channels_last), wanted

    @staticmethod
    def _go_on(batch: Tensor, wanted: Tensor, chance: Tensor) -> None:
        """The answer becomes the earlier mask, now and then blurred as from a look from afar, and one click more is set; in place."""
        if _chance(0.3):
            chance = F.interpolate(F.avg_pool2d(chance, 4), chance.shape[-2:], mode="bilinear", align_corners=False)
        batch[:, 5:6] = chance
        for row, mask, found in zip(batch, wanted[:, 0].cpu().numpy(), (chance[:, 0] > 0.5).cpu().numpy(), strict=True):
            if _chance(0.8) and (click := next_click(mask, found, randomly=_random)) is not None:
                draw_clicks(row[3:], [(click[0] + 0.5, click[1] + 0.5)], [click[2]])


MOST_CLICKS = 12
# Sides of the frames that are practised on, in pixels of the network, and objects of every picture.
PRACTICE, PER_PICTURE = (128, 128, 160, 192), 2


def begin(marks: Tensor, mask: np.ndarray) -> None:
    """The first marks of an exercise, in place: from nothing a click in the object; or a box around it; or a wrong mask, and a click
    where it is most wrong.

    Args:
        marks: float32 (3, h, w) of zeros.
        mask: bool (h, w), the object.
    """
    kind, known = _random(), None
    if kind < 0.12:
        x0, y0, x1, y1 = tight_box(mask)
        slack = 0.08 * max(x1 - x0, y1 - y0)
        x0, y0, x1, y1 = (value + slack * (2 * _random() - 1) for value in (x0, y0, x1, y1))
        known = np.zeros(mask.shape, np.float32)
        known[max(0, round(y0)) : max(1, round(y1)), max(0, round(x0)) : max(1, round(x1))] = IN_BOX
        marks[2] = torch.from_numpy(known)
        if _random() < 0.6:
            return
    elif kind < 0.4:
        known = spoiled(mask, _random).astype(np.float32)
        marks[2] = torch.from_numpy(known)
        if (click := next_click(mask, known > 0.5, randomly=_random)) is not None:
            draw_clicks(marks, [(click[0] + 0.5, click[1] + 0.5)], [click[2]])
        return
    x, y = central_pixel(mask, None if _random() < 0.3 else _random)
    draw_clicks(marks, [(x + 0.5, y + 0.5)], [1])
    if _random() < 0.15:
        near = ndimage.binary_dilation(mask, iterations=int(2 + 20 * _random())) & ~ndimage.binary_dilation(mask, iterations=2)
        places = np.argwhere(near)
        for index in (int(_random() * len(places)) for _ in range(int(1 + 3 * _random()) if len(places) else 0)):
            draw_clicks(marks, [(places[index][1] + 0.5, places[index][0] + 0.5)], [0])


def _recoloured(picture: Tensor) -> Tensor:
    """A picture float32 (3, s, s) in [0, 1] in other light: colours exchanged, weaker or stronger, grey, inverted."""
    if _chance(0.3):
        picture = picture[torch.randperm(3)]
    if _chance(0.15):
        picture = picture.mean(0, keepdim=True).expand(3, -1, -1)
    if _chance(0.1):
        picture = 1 - picture
    gain = torch.exp(0.2 * torch.randn(3, 1, 1)) * math.exp(0.2 * (2 * _random() - 1))
    return (picture * gain + 0.1 * (2 * _random() - 1)).clamp(0, 1)


def _practice_frame(mask: np.ndarray) -> Box:
    """A frame around an object, from close to far, within the picture; now and then one that shows a part of it alone, so that it is learnt
    that a thing may go on beyond the frame."""
    x0, y0, x1, y1 = tight_box(mask)
    longest, kind = max(x1 - x0, y1 - y0), _random()
    if kind < 0.15:
        side = max(LEAST_FRAME, longest * (0.35 + 0.6 * _random()))
        x, y = central_pixel(mask, _random)
    else:
        side = max(LEAST_FRAME, longest * (1.1 + 0.5 * _random() if kind < 0.65 else 1.2 + 3 * _random()))
        slack = max(0.0, side - longest) / 2
        x, y = ((low + high) / 2 + slack * (2 * _random() - 1) for low, high in ((x0, x1), (y0, y1)))
    size = mask.shape
    side = min(side, *size)
    left, top = (min(max(0.0, place - side / 2), length - side) for place, length in ((x, size[1]), (y, size[0])))
    return int(left), int(top), int(math.ceil(left + side)), int(math.ceil(top + side))


def _random() -> float:
    """In [0, 1), from torch's generator, which a run sets for every step."""
    return float(torch.rand(()))


def _chance(probability: float) -> bool:
    return _random() < probability


def _places(prompt: Prompt, frame: Box, size: tuple[int, int]) -> list[tuple[float, float]]:
    """Where the clicks are in what the network sees of a frame at a size (rows, columns): (x, y), (0.5, 0.5) being the middle of its first pixel. A click
    is on a pixel, and is taken as in its middle, wherever in it the pointer was."""
    (x0, y0, x1, y1), (rows, columns) = frame, size
    return [((math.floor(x) + 0.5 - x0) * columns / (x1 - x0), (math.floor(y) + 0.5 - y0) * rows / (y1 - y0)) for x, y in prompt.points]


def _windows(prompt: Prompt, size: tuple[int, int]) -> list[Box]:
    """Where to look if nothing is known of the object's size: the whole picture, and around the clicks inside windows that are smaller and smaller."""
    height, width = size
    frames = [(0, 0, width, height)]
    inside = [point for point, label in zip(prompt.points, prompt.labels, strict=True) if label]
    if inside:
        lows, highs = ([find(values) for values in zip(*inside, strict=True)] for find in (min, max))
        x, y = ((low + high) / 2 for low, high in zip(lows, highs, strict=True))
        least = max(LEAST_FRAME, *(0.625 * (high - low) for low, high in zip(lows, highs, strict=True)))
        reaches = [share * max(height, width) / 2 for share in WINDOWS]
        frames += [clipped((x - reach, y - reach, x + reach, y + reach), size) for reach in reaches if reach >= least]
    return frames


def _surest(views: Sequence[View], size: tuple[int, int]) -> list[View]:
    """Of views of the whole picture and of windows, those in which an object is whole, the one in which the network is surest first."""
    whole, *near = views
    return sorted([whole, *(view for view in near if view.box() is not None and not view.cut_off(size))], key=lambda view: -view.score)


def _kept(logits: Mapping[str, Tensor]) -> View:
    """What an answer keeps of the view that it was drawn from."""
    return View(tuple(int(value) for value in logits["frame"]), logits["logits"].cpu())


def _misunderstood(view: View, prompt: Prompt) -> bool:
    """Whether the last click says that most of what was answered is not meant."""
    return not prompt.labels[-1] and depth(view.logits > 0, _places(prompt, view.frame, view.logits.shape)[-1]) > DEEP


def _agrees(view: View, prompt: Prompt) -> bool:
    """Whether a view has every click on its side."""
    rows, columns = view.logits.shape
    inside = [0 <= x < columns and 0 <= y < rows and bool(view.logits[int(y), int(x)] > 0) for x, y in _places(prompt, view.frame, (rows, columns))]
    return inside == [bool(label) for label in prompt.labels]


def _boxed(mask: Tensor, frame: Box) -> Box | None:
    """The smallest box in pixels of the upload around a mask bool (h, w) of a frame; None without a pixel."""
    found = tight_box(mask.numpy())
    if found is None:
        return None
    x0, y0, x1, y1 = frame
    across, down = (x1 - x0) / mask.shape[1], (y1 - y0) / mask.shape[0]
    return (
        x0 + math.floor(found[0] * across), y0 + math.floor(found[1] * down),
        x0 + math.ceil(found[2] * across), y0 + math.ceil(found[3] * down),
    )  # fmt: skip


def _around(view: View, prompt: Prompt) -> Box | None:
    """The box of what was found under the clicks, in pixels of the upload; of everything where that is nothing."""
    inside = (view.logits > 0).numpy()
    pieces, count = ndimage.label(inside)
    x0, y0, x1, y1 = view.frame
    down, across = inside.shape[0] / (y1 - y0), inside.shape[1] / (x1 - x0)
    clicked = set()
    for (x, y), label in zip(prompt.points, prompt.labels, strict=True):
        row, column = int((y + 0.5 - y0) * down), int((x + 0.5 - x0) * across)
        if label and 0 <= row < inside.shape[0] and 0 <= column < inside.shape[1]:
            clicked.add(int(pieces[row, column]))
    if clicked - {0}:
        return _boxed(torch.from_numpy(np.isin(pieces, list(clicked - {0}))), view.frame)
    return view.box() if count else None


def _framed(region: Box, prompt: Prompt, size: tuple[int, int]) -> Box:
    """The surroundings of a region and the clicks."""
    xs = [region[0], region[2], *(point[0] for point in prompt.points)]
    ys = [region[1], region[3], *(point[1] for point in prompt.points)]
    if prompt.box is not None:
        xs, ys = [*xs, prompt.box[0], prompt.box[2]], [*ys, prompt.box[1], prompt.box[3]]
    x, y = (min(xs) + max(xs)) / 2, (min(ys) + max(ys)) / 2
    longest = max(max(xs) - min(xs), max(ys) - min(ys))
    wide, high = (max(LEAST_FRAME, span * ROOM, span + 0.15 * longest) / 2 for span in (max(xs) - min(xs), max(ys) - min(ys)))
    # Not too slim: what is beside a thing says what it is.
    wide, high = max(wide, high / 2), max(high, wide / 2)
    return clipped((x - wide, y - high, x + wide, y + high), size)


def said(view: View, prompt: Prompt) -> Tensor:
    """What clicks say of the pixels around them (:func:`spread`); nothing of those beyond the frame.

    Args:
        view: with the picture that the network saw.
        prompt: points in pixels of the upload.

    Returns:
        Logits to add, float32 (h, w).
    """
    x0, y0, x1, y1 = view.frame
    places = _places(prompt, view.frame, view.logits.shape)
    heard = [index for index, (x, y) in enumerate(prompt.points) if x0 <= x < x1 and y0 <= y < y1]
    return spread(view.picture, [places[index] for index in heard], [prompt.labels[index] for index in heard])
