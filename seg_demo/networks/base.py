"""What a network is: the class that a family of networks derives from, and how an upload becomes the batch that it sees.

A new family is one file with a subclass of :class:`Network` (:class:`PixelNetwork` where its answer is logits per pixel) and one row
in :data:`seg_demo.networks.FAMILIES`.

And a network as a :class:`Graph` of tensors alone, between preprocessing and postprocessing: what a runtime other than torch can take
(:mod:`seg_demo.inference.onnx`).
"""

from __future__ import annotations

import copy
from abc import ABC, abstractmethod
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn

from seg_demo.core import BadCheckpointError, BadRequestError
from seg_demo.masks.semantic import semantic_from_logits
from seg_demo.networks import FAMILIES, Family, answers_of, checkpoint, weights
from seg_demo.networks.preprocessing import Preprocessing, normalised, repeated, resized, to_batch

if TYPE_CHECKING:
    from seg_demo.core import LabelSet, Segmentation, Task

# What networks that are trained from scratch here see: their pictures at their own size, up to this side, padded to the coarsest
# grid of any usual encoder.
LONGEST_SIDE, STRIDE = 640, 32
# Longest side of a tile in full detail: larger ones need more memory and gain little.
LARGEST_TILE = 1024


@dataclass(frozen=True)
class EngineHints:
    """What a compiler may do with a network.

    Attributes:
        free: axes of a batch (B, 3, h, w) that one compiled form leaves open; every other size is compiled for itself.
        channels_last: the compiled form keeps its maps in this layout.
        heavy: compiling it takes gigabytes, and so do its maps: they are given back after each answer.
        detector: it is one of torchvision's detectors, whose convolutions and heads are compiled apart
            (:class:`seg_demo.inference.engine.DetectorEngine`); otherwise all of it is one part, whose winning classes must agree.
    """

    free: tuple[int, ...] = (0, 2, 3)
    channels_last: bool = True
    heavy: bool = False
    detector: bool = False


@dataclass(frozen=True)
class TrainingDefaults:
    """What suits a network in training, where the command line does not say it.

    Attributes:
        base: menu key or Hub id that the family's bare name starts from where it can be had, or None.
        pretrained_encoder: options of a network of segmentation_models_pytorch whose encoder the bare name starts from, with the
            ImageNet weights; None for none.
        lr: AdamW's peak learning rate of fresh layers.
        scratch_lr: the same where every layer is fresh; None for ``lr``.
        crop: side of the crops in pixels, for the small bundled networks.
        scratch_crop: the same where every layer is fresh; None for ``crop``.
        pretrained_crop: the same for other pretrained networks.
        batch_size: images per step and process.
        scratch_batch_size: the same where every layer is fresh.
        least_steps: optimizer steps after which twenty pictures are learnt.
        step_cost: of a step with the network's own crops and batch, in those of a small U-Net: measured on one core, with random weights
            where there is no bundled network.
        passes: over the built-in pictures, of which there are many.
    """

    base: str | None = None
    pretrained_encoder: dict[str, Any] | None = None
    lr: float = 1e-3
    scratch_lr: float | None = None
    crop: int = 160
    scratch_crop: int | None = None
    pretrained_crop: int = 384
    batch_size: int = 8
    scratch_batch_size: int = 8
    least_steps: int = 400
    step_cost: float = 1.0
    passes: int = 8


@dataclass
class Network(ABC):
    """A network in memory with everything that a prediction needs; its class says everything about its family.

    Attributes:
        family: the row of :data:`seg_demo.networks.FAMILIES`: name, title, library, tasks; its key stands in the class's header,
            ``class UNet(PixelNetwork, family="unet")``.
        engine: what a compiler may do with it; None is always eager torch.
        training: what suits it in training; None where it cannot be trained here.
        forward_with_maps: as :meth:`forward`, with a list of the encoder's maps (B, C, h, w), the largest left out, by which pictures
            are told apart that are unlike those that it learnt from; None where it has none.
        scales_tiles: a picture of any size is scaled to the size of its tile, as detectors do, so that smaller tiles are no use.
        mirrors: in a tile of objects, what lies outside the picture mirrors it; not where mirrored ones would take from few queries.
        averages: the mean of its answers to a picture and to its mirror images is an answer too.
        loss_per_pixel: it learns by the configured loss of logits per pixel (:meth:`loss`); otherwise by one of its own.
        enlarged: how many times as high and wide a second look (:meth:`closer`) shows a picture at most.
        channels_option: key of ``options`` that says how many channels it takes; None where it always takes red, green and blue.
        module: in eval mode, fp32 on the CPU when loaded.
        labels: the classes; the index is the label id.
        preprocessing: how an upload becomes a batch.
        options: JSON-able arguments: ``build(len(labels), options)`` makes the same module with fresh weights.
        processor: the library's own image processor (transformers', or a :class:`seg_demo.networks.preprocessing.Pipeline`) where
            that preprocesses, else None.
        notes: what differs from what the repository says, and why: a sentence each, for whoever uses or trains it.
        familiarity: :class:`seg_demo.networks.checkpoint.Familiarity` of these weights, or None.
        asked: which of its tasks it answers; None for what it was made for.
    """

    family: ClassVar[Family]
    engine: ClassVar[EngineHints | None] = None
    training: ClassVar[TrainingDefaults | None] = None
    forward_with_maps: ClassVar[Callable[[nn.Module, Tensor], tuple[Any, list[Tensor]]] | None] = None
    scales_tiles: ClassVar[bool] = False
    mirrors: ClassVar[bool] = True
    channels_option: ClassVar[str | None] = None
    averages: ClassVar[bool] = False
    loss_per_pixel: ClassVar[bool] = False
    enlarged: ClassVar[float] = 1.0

    module: nn.Module
    labels: LabelSet
    preprocessing: Preprocessing
    options: dict[str, Any] = field(default_factory=dict)
    processor: Any = None
    notes: tuple[str, ...] = ()
    familiarity: Any = None
    asked: Task | None = None

    def __init_subclass__(cls, family: str | None = None, **arguments: Any) -> None:
        super().__init_subclass__(**arguments)
        if family is not None:
            cls.family = FAMILIES[family]

    @property
    def name(self) -> str:
        """The family's name."""
        return self.family.name

    @property
    def tasks(self) -> tuple[Task, ...]:
        """What it can answer; the first is what it was made for."""
        return self.family.tasks

    @property
    def answers(self) -> dict[str, Any]:
        """As :func:`seg_demo.networks.answers_of`: the task that it answers now, and all that it can."""
        return answers_of((self.task, *(task for task in self.tasks if task != self.task)))

    @property
    def task(self) -> Task:
        """What it answers."""
        return self.asked or self.tasks[0]

    def answering(self, task: Task) -> Self:
        """The same network, weights shared, answering one of its tasks."""
        return self if task == self.task else replace(self, asked=task)

    def with_thresholds(self, chosen: Mapping[str, float]) -> Self:
        """The same network, weights shared, that chooses its segments by other thresholds.

        Args:
            chosen: of :data:`seg_demo.core.requests.THRESHOLDS`; what is left out stays as it is.

        Raises:
            BadRequestError: what it answers has no such thresholds.
        """
        if not chosen:
            return self
        raise BadRequestError("requests.no_thresholds", title=self.family.title, task=self.task.name)

    @property
    def used_thresholds(self) -> dict[str, float]:
        """In [0, 1], by which it chooses segments that do not overlap, by :data:`seg_demo.core.requests.THRESHOLDS`; empty where it has none."""
        return {}

    @property
    def channels(self) -> int:
        """Channels of the pictures that it takes."""
        return len(self.preprocessing.mean)

    @property
    def unused_layers(self) -> bool:
        """Whether its answer may not depend on all of its layers."""
        return False

    @property
    def nbytes(self) -> int:
        """Memory of all parameters and buffers in bytes."""
        tensors = [*self.module.parameters(), *self.module.buffers()]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)

    # How it is made, read and written.

    @staticmethod
    @abstractmethod
    def default_options() -> dict[str, Any]:
        """Options of a small network that learns from scratch on a laptop."""

    @staticmethod
    @abstractmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A module with random weights; never touches the Hub.

        Args:
            num_classes: background included.
            options: JSON-able; of :meth:`default_options`, or of a checkpoint.

        Raises:
            BadCheckpointError: options that describe no network.
        """

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """A network with random weights, ready to be trained.

        Args:
            labels: the classes.
            options: as for :meth:`build`.
        """
        module = cls.build(len(labels), options).eval()
        return cls(module, labels, cls.fresh_preprocessing(module, options), dict(options))

    @classmethod
    def fresh_preprocessing(cls, module: nn.Module, options: dict[str, Any]) -> Preprocessing:
        """How uploads become batches where nothing has been learnt yet."""
        return Preprocessing(longest_side=LONGEST_SIDE, multiple=STRIDE)

    @classmethod
    def stored_preprocessing(cls, folder: Path, options: dict[str, Any]) -> Preprocessing:
        """What a checkpoint folder written by :meth:`write` says about it."""
        return Preprocessing.from_dict(checkpoint.read_json(folder, checkpoint.PREPROCESSOR))

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A checkpoint folder written by :meth:`save`.

        Args:
            folder: config.json, model.safetensors, preprocessor_config.json.

        Raises:
            BadCheckpointError: a config that describes no network of sane size, or weights that do not fit it.
        """
        config = checkpoint.read_json(folder, checkpoint.CONFIG)
        options, count, labels = checkpoint.own_config(config)
        preprocessing = cls.stored_preprocessing(folder, options)
        what = str(options.get("variant", cls.family.title))
        module, notes = weights.construct(partial(cls.build, count, options=options), weights.read_weights(folder), what)
        return cls(module, labels, preprocessing, options, notes=(*checkpoint.table_notes(config, count), *notes))

    @classmethod
    def look(cls, folder: Path, stored: Collection[str] | None) -> None:
        """Refuse a checkpoint for what its JSON files tell, before its weights are fetched.

        Args:
            folder: without weights.
            stored: names of its weights; None where nobody knows them.

        Raises:
            BadCheckpointError: as :meth:`load` would say it; nothing is known that early of most families.
        """

    @classmethod
    def from_encoder(cls, folder: Path, labels: LabelSet) -> tuple[Self, tuple[str, ...]]:
        """An encoder alone with a fresh head, of families whose :meth:`load` raises ``EncoderOnlyError`` of such a checkpoint.

        Args:
            folder: the checkpoint.
            labels: the classes.

        Returns:
            The network, and prefixes of the names of its fresh parameters.
        """
        raise NotImplementedError(f"{cls.family.title} has no encoders by themselves.")

    def save(self, folder: Path, half: bool = False) -> None:
        """Write a checkpoint folder that the family's plain library loads with identical logits.

        Args:
            folder: made if it does not exist; files of the same names are replaced.
            half: weights as fp16, which the library casts back.
        """
        Path(folder).mkdir(parents=True, exist_ok=True)
        self.write(Path(folder), half)

    def write(self, folder: Path, half: bool) -> None:
        """The files of :meth:`save`, which a family with a format of its own overrides."""
        checkpoint.write_json(folder, checkpoint.CONFIG, checkpoint.own_config_of(self.name, self.options, self.labels))
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, self.preprocessing.to_dict())
        weights.write_weights(self.module, folder, half)

    @abstractmethod
    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with the plain library.

        Args:
            source: folder or Hub id.
        """

    # How it is run.

    def exposed(self, image: np.ndarray) -> np.ndarray:
        """An upload as bright as the network wants it, before it is resized or cut into tiles, so that all of them are of one picture; as it is, of most.

        Args:
            image: as for :meth:`preprocess`.

        Returns:
            The same shape and type; the image itself where nothing changes.
        """
        return image

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload as the network sees it.

        Args:
            image: uint8 (H, W, 3), RGB; of a network of other channels (H, W, C) of :func:`seg_demo.inputs.planes.for_network`.

        Returns:
            float32 (1, C, h, w) on the CPU.
        """
        return to_batch(image, self.preprocessing)

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """An upload's pixels at the size in which the network sees them, padding apart: what training varies.

        Args:
            image: as for :meth:`preprocess`.

        Returns:
            uint8 (h, w, 3), RGB; of other channels float32 (h, w, C), 0 and 1 where ``ranges`` has them.
        """
        return resized(image, self.preprocessing)[0].permute(1, 2, 0).contiguous().numpy()

    @staticmethod
    @abstractmethod
    def forward(module: nn.Module, batch: Tensor) -> Any:
        """The network's answer to a batch; without its state, because what stands in for the module may be a copy of it.

        Args:
            module: of this family.
            batch: float32 (B, 3, h, w) of :meth:`preprocess`.

        Returns:
            Tensors, in lists and dicts if need be; by image where it is a list, and along the first axis where it is a tensor.
        """

    @abstractmethod
    def postprocess(self, raw: Any, height: int, width: int, confidence: bool = False) -> Segmentation:
        """The answer to one image as a result at the size of the upload.

        Args:
            raw: of :meth:`forward`, one image.
            height: of the upload, in pixels.
            width: of the upload, in pixels.
            confidence: also how sure the network is of every pixel.

        Raises:
            BadCheckpointError: the network returned NaN.
        """

    def postprocess_tile(self, raw: Any, tile: tuple[int, int], inside: tuple[int, int], confidence: bool = False) -> Segmentation:
        """The answer to one tile of a larger image, for a task of objects.

        Args:
            raw: of :meth:`forward`, one tile.
            tile: (height, width) in pixels.
            inside: (height, width) in pixels of its part above left that lies in the image, which is the result's size.
            confidence: also how sure the network is of every pixel.
        """
        return self.postprocess(raw, *inside, confidence)

    def seeing(self, size: tuple[int, int]) -> Self:
        """The network, weights shared, as it sees every picture at (height, width) in pixels; for those that preprocess by their rule alone."""
        return replace(self, preprocessing=replace(self.preprocessing, size=size, shortest_side=None, longest_side=None))

    def closer(self, result: Segmentation) -> Self | None:
        """The network as it looks at a picture once more, larger, weights shared, where what it found shows that this may pay; else None.

        Args:
            result: of :meth:`postprocess`, of a picture or of a tile's part of it.
        """
        return None

    def again(self, result: Segmentation, confidence: bool = False) -> Segmentation | None:
        """What the network says of a picture that it has seen, without seeing it again; None where too little of that is kept.

        Args:
            result: of :meth:`postprocess`, with ``outputs``.
            confidence: also how sure the network is of every pixel.
        """
        return None

    def logits(self, raw: Any) -> Tensor:
        """The answer to one tile of a larger image, for a task of classes: what is blended and compared, (C, h', w').

        Args:
            raw: of :meth:`forward`, one tile.
        """
        return raw[0]

    def optimise(self, device: torch.device) -> None:
        """Let the module compute in the order and memory layout that is fastest on a device; its state dict stays as it is.

        Logits change by rounding only.

        Args:
            device: where it will compute; it is not moved.
        """

    def for_tiles(self) -> Self:
        """The network as it takes tiles: with a preprocessing that does not pad or resize them by steps of its own."""
        return self

    def graph(self) -> Graph:
        """The part of the network that other runtimes than torch can compute.

        Raises:
            BadRequestError: there is none, and why, or what to do instead.
        """
        raise BadRequestError("onnx.no_graph", title=self.family.title)

    def tile(self) -> tuple[int, int]:
        """(height, width) in pixels of the tiles that it takes in full detail at their own pixels."""
        rule = self.preprocessing
        if rule.size is not None:
            return rule.size
        unit = rule.multiple if rule.multiple > 1 else STRIDE
        side = min(LARGEST_TILE, rule.longest_side or LARGEST_TILE, rule.shortest_side or LARGEST_TILE)
        return (max(4, side // unit) * unit,) * 2

    @staticmethod
    def memory_per_pixel(tiled: bool, confidence: bool) -> int:
        """Bytes per pixel of the upload that a prediction takes beside the decoded image and the forward pass, rounded up.

        As measured for objects: the id map, the masks that are kept, and the largest as float32 while it is pasted; in tiles
        the id map of 16 bits and the masks.

        Args:
            tiled: in full detail.
            confidence: whether it is asked for.
        """
        return (9 if tiled else 12) + 4 * confidence

    # How it is trained.

    @classmethod
    def classes_of(cls, labels: LabelSet, task: Task) -> LabelSet:
        """The classes that a network learns from data.

        Args:
            labels: of the data; of objects with ``background`` as class 0.
            task: what it learns.
        """
        return labels

    def trained_for(self, task: Task) -> Self:
        """The network as it learns one of its family's tasks, weights shared: it says so from then on, wherever it is written to."""
        return replace(self, asked=task)

    def optimise_training(self, device: torch.device, precision: str) -> None:
        """As :meth:`optimise`, for training.

        Args:
            device: where it is trained; it is not moved.
            precision: ``no``, ``bf16`` or ``fp16``, as accelerate names it.
        """
        self.optimise(device)

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Callable[[Tensor], Tensor], share: float) -> Tensor:
        """What training minimises, for one micro-batch.

        Args:
            module: of this network, in training, perhaps wrapped for several processes.
            images: float32 (B, 3, S, S) in [0, 1], RGB.
            truth: where the task is of classes int64 (B, S, S); of objects per image ``boxes``, ``labels`` and ``masks``, as
                torchvision's detectors take them; where it is of stuff too, one mask more for every class of it.
            per_pixel: the configured loss of logits (B, C, h, w): this micro-batch's share in that of the whole step.
            share: of this micro-batch in the step, for losses that are a mean over their batch.

        Returns:
            A number.
        """
        raise NotImplementedError(f"{self.family.title} cannot be trained here.")

    def rehearse(self, module: nn.Module, images: Tensor, truth: Any) -> Any:
        """What a step keeps for its backward pass hangs on this, by which its memory is measured; never waits for other processes.

        Args:
            module: as for :meth:`loss`.
            images: as for :meth:`loss`.
            truth: as for :meth:`loss`; None where the task is of classes.
        """
        return self.loss(module, images, truth, lambda logits: logits, 1.0)

    def with_channels(self, count: int) -> Self:
        """The same network for pictures of other channels than red, green and blue, its first layer taken over
        (:func:`seg_demo.networks.weights.inflated`); this one stays as it is.

        Args:
            count: of the channels.

        Raises:
            BadCheckpointError: it takes three and no others, or has learnt others already.
        """
        if count == self.channels:
            return self
        if self.channels_option is None:
            raise BadCheckpointError("networks.only_three_channels", network=self.family.title)
        if self.channels != 3:
            raise BadCheckpointError("networks.other_channels_learnt", network=self.family.title, has=self.channels, count=count)
        options = self.options_for(count)
        module = self.build(len(self.labels), options).eval()
        module.load_state_dict(weights.inflated(self.module.state_dict(), module.state_dict(), count))
        rule = self.preprocessing
        rule = replace(rule, mean=repeated(rule.mean, count), std=repeated(rule.std, count), bgr=False)
        return replace(self, module=module, options=options, preprocessing=rule)

    def options_for(self, channels: int) -> dict[str, Any]:
        """Its options, for another number of channels."""
        return {**self.options, self.channels_option: channels}

    def measuring(self, ranges: Sequence[tuple[float, float]]) -> Self:
        """The same network for values of files as they are, weights shared.

        Args:
            ranges: per channel the values that become 0 and 1.
        """
        return replace(self, preprocessing=replace(self.preprocessing, ranges=tuple(ranges), clipped=True))

    def square(self, wanted: int) -> int | None:
        """The side of a square crop that it takes, as near to a wanted one as it gets; None if it takes none that was tried."""
        return wanted

    def head_options(self) -> dict[str, Any]:
        """Options of the same network with a fresh head for any number of classes."""
        return {key: value for key, value in self.options.items() if key != "binary"}

    def head_prefixes(self) -> tuple[str, ...]:
        """Names of the parameters that depend on the number of classes begin with one of these: those whose shape changes with it."""
        options = self.head_options()
        count = 1 if self.options.get("binary") else len(self.labels)
        return weights.class_dependent(partial(self.build, options=options), count)

    def replace_head(self, labels: LabelSet) -> Self:
        """The same network for other classes: a fresh head, everything else kept; this one stays as it is.

        Args:
            labels: the new classes.
        """
        options = self.head_options()
        module = self.build(len(labels), options).eval()
        weights.copy_matching(self.module, module, self.head_prefixes())
        return replace(self, module=module, labels=labels, options=options, processor=copy.deepcopy(self.processor))


class PixelNetwork(Network):
    """A network whose answer is logits per class and pixel, (B, C, h, w); one channel of logits is about two classes."""

    engine: ClassVar[EngineHints | None] = EngineHints()
    averages: ClassVar[bool] = True
    loss_per_pixel: ClassVar[bool] = True

    def postprocess(self, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
        """Logits to the label map at the size of the upload.

        Args:
            raw: (1, C, h, w) logits, at the size of the batch, padding included.
            height: of the upload, in pixels.
            width: of the upload, in pixels.
            confidence: also how sure the network is of every pixel.

        Raises:
            BadCheckpointError: the network returned NaN.
        """
        rows, columns = self.preprocessing.fitted(height, width)
        return self.label_map(raw[0, :, :rows, :columns], height, width, confidence=confidence)

    def label_map(self, logits: Tensor, height: int, width: int, padded: tuple[int, int] | None = None, confidence: bool = False) -> Segmentation:
        """As :func:`seg_demo.masks.semantic.semantic_from_logits`, with the network's classes."""
        return semantic_from_logits(logits, self.labels, height, width, padded, confidence)

    def graph(self) -> Graph:
        """As :meth:`Network.graph`: the logits. Where every picture gets one size, the graph may take that alone."""
        answer = Tensors(self.module, lambda module, batch: (self.forward(module, batch),))
        free = ANY_SIZE if self.preprocessing.size is None else ONE_SIZE
        code = OF_TWO if self.options.get("binary") else OF_CLASSES
        return Graph(answer, ("logits",), lambda found: found[0], free, code=code)

    @staticmethod
    def memory_per_pixel(tiled: bool, confidence: bool) -> int:
        """As measured: a copy in the layout of tensors, the id map and what counting it takes; in tiles the id map."""
        return (4 if tiled else 9) + 2 * confidence

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Callable[[Tensor], Tensor], share: float) -> Tensor:
        """The configured loss of the logits."""
        return per_pixel(self.forward(module, normalised(images, self.preprocessing)))

    def square(self, wanted: int) -> int | None:
        """As :meth:`Network.square`, tried on shapes alone."""
        takes = weights.Takes(partial(self.build, len(self.labels), options=self.options), self.forward, self.channels)
        rule = self.preprocessing
        # Patches of 14, 16 and 32 pixels, windows of 7 and 8 of those, and the size that uploads get.
        near = {round(wanted / step) * step for step in (rule.multiple, 14, 16, 32, 64, 224, 256)}
        tried = {side for side in near | set(rule.size or ()) if side > 0}
        sides = [wanted, *sorted(tried, key=lambda side: (abs(side - wanted), side))]
        return next((side for side in sides if takes(side, side)), None)


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
        raw: the tensors of one picture as :meth:`Network.forward` gives them, for its ``postprocess``.
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
