"""transformers' networks of class queries: each query is a guess at one thing or one kind of stuff, with a mask.

The folder is transformers' own, its image processor preprocesses, and what is made of the queries equals the processor's
``post_process_{semantic,instance,panoptic}_segmentation(outputs, target_sizes=[(H, W)])`` (:mod:`seg_demo.masks.queries`), with two
differences: objects of the instance task lie in the order of their scores, so that none hides one that is surer, and each keeps the
whole of its mask; and segments of the panoptic task are things one by one and stuff one per class, each with a number of its own.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import PreTrainedConfig
from transformers.image_transforms import get_size_with_aspect_ratio

from seg_demo.core import (
    IGNORE_16, INSTANCE, MAX_IDS, PANOPTIC, SEMANTIC, BadCheckpointError, BadImageError, BadRequestError, LabelSet, Segment, Segmentation, Task,
    extents, semantic_segmentation,
)
from seg_demo.masks import instances, queries
from seg_demo.masks.queries import Found, Order, Thresholds
from seg_demo.masks.semantic import MeanScores, argmax_resized, probability_and_margin
from seg_demo.networks import base, checkpoint, transformers_config
from seg_demo.networks.base import EngineHints, Network, TrainingDefaults
from seg_demo.networks.checkpoint import OUR_KEY
from seg_demo.networks.preprocessing import normalised
from seg_demo.networks.transformers_config import config_of, from_config, label_set, options_from_config, read_module
from seg_demo.networks.weights import class_dependent, own_names, read_weights, shapes_of

# Objects that score lower are not looked at, as in torchvision's detectors: every query has some class with some probability.
LEAST_SCORE = 0.05
# Of pictures that a network with random weights sees.
SHORTEST_SIDE, LONGEST_SIDE = 384, 640
# Outputs that are kept with a result, for other thresholds: at least so many queries, and no more bytes.
FEWEST_KEPT, MOST_OUTPUT_BYTES = 8, 16_000_000
# Squares into which EoMT cuts a long picture.
MOST_SQUARES = 16
# Of training: what is pretrained moves slowly, and matching queries with objects takes its time.
SCHEDULE = {"lr": 2e-4, "scratch_lr": 1e-3, "scratch_crop": 160, "batch_size": 4, "least_steps": 600}
# A ResNet-10 learns from scratch in hundreds of steps what a Swin takes thousands for.
STAGES = ["stage1", "stage2", "stage3", "stage4"]
SMALL_RESNET = {
    "model_type": "resnet", "layer_type": "basic", "embedding_size": 32, "hidden_sizes": [32, 64, 96, 128], "depths": [1, 1, 1, 1],
    "out_features": STAGES,
}  # fmt: skip
# Numbers that a pixel decoder sees from some places at once (64 MiB).
MOST_SAMPLES = 1 << 24
# The weights of classes in the loss, of which the answer does not depend.
LOSS_WEIGHT = "criterion.empty_weight"


@dataclass
class ClassQueries(Network):
    """A network of class queries.

    Attributes:
        scales_tiles: its processor scales what it gets to one size, also a smaller tile.
        order: in which masks become values per pixel.
        thresholds: which segments there are.
        none_rows: how many rows more than classes its head has: one where no class is a class.
        output_names: of class and mask logits, as transformers has them.
        sizes_stay_open: a graph of it takes pictures of any size; otherwise sizes become constants of it.
        tasks: what this checkpoint answers, what it was made for first.
        tuned: thresholds that were asked for in place of the library's, by name.
    """

    order: ClassVar[Order] = Order()
    thresholds: ClassVar[Thresholds] = Thresholds()
    scales_tiles: ClassVar[bool] = True
    mirrors: ClassVar[bool] = False
    none_rows: ClassVar[int] = 1
    output_names: ClassVar[tuple[str, str]] = ("class_queries_logits", "masks_queries_logits")
    sizes_stay_open: ClassVar[bool] = False
    tasks: tuple[Task, ...] = field(default=(PANOPTIC, INSTANCE, SEMANTIC))
    tuned: Mapping[str, float] = field(default_factory=dict)

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights; never touches the Hub.

        Args:
            num_classes: beside "none of them".
            options: keys of the transformers config, ``model_type`` among them.

        Raises:
            BadCheckpointError: a config that transformers refuses.
        """
        return from_config(num_classes, options)

    @staticmethod
    def slim(module: nn.Module) -> None:
        """Change the library's network to take less memory: the same weights under the same names, the same answers."""

    def __post_init__(self) -> None:
        self.slim(self.module)

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """As :meth:`Network.create`, with the image processor of its family."""
        module = cls.build(len(labels), options).eval()
        if cls.training is not None:
            transformers_config.initialise(module)
        kind = type(transformers_config.default_processor(module.config))
        processor = kind(size={"shortest_edge": SHORTEST_SIDE, "longest_edge": LONGEST_SIDE})
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        return cls(module, labels, preprocessing, dict(options), processor)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A checkpoint folder written by transformers' ``save_pretrained``. No remote code is ever run, and nothing is asked of the Hub.

        Args:
            folder: config.json, model.safetensors and preprocessor_config.json.

        Raises:
            BadCheckpointError: absurd sizes, or weights that do not fit the config.
        """
        config, options, count, processor, fitted, wanted = cls._described(folder)
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        state, inside = cls.by_network_names(read_weights(folder), wanted)
        count = cls._stated_classes(options, count, state)
        if LOSS_WEIGHT in wanted and LOSS_WEIGHT not in state:
            state[LOSS_WEIGHT] = torch.ones(count + 1)
        data = checkpoint.processor_data(folder)
        ours = data.get(OUR_KEY) if isinstance(data.get(OUR_KEY), dict) else {}
        labels, named = label_set(config, ours, count, binary=False)
        if labels.things is None:
            labels = replace(labels, things=checkpoint.things_of(labels.names))
        module, left = read_module(options, count, state)
        said = (*fitted, *named, *inside, *left)
        return cls(module.eval(), labels, preprocessing, options, processor, said, tasks=cls.family.tasks_in(folder))

    @classmethod
    def look(cls, folder: Path, stored: Collection[str] | None) -> None:
        """As :meth:`Network.look`: sizes, and what preprocesses."""
        cls._described(folder)

    @classmethod
    def _described(cls, folder: Path) -> tuple[dict[str, Any], dict[str, Any], int, Any, tuple[str, ...], dict[str, torch.Size]]:
        """What the JSON files of a folder say: config, options and number of classes, the image processor with what was changed of it, and
        the shapes of the weights."""
        config = checkpoint.without_fetching(checkpoint.read_json(folder, checkpoint.CONFIG))
        options, count = options_from_config(config)
        options.pop("binary", None)
        processor = cls.read_processor(folder, checkpoint.processor_data(folder), config_of(count, options))
        # A size or a resampling that it cannot do is the file's fault, and is said now, not at the first picture.
        transformers_config.pixels_as_seen(processor, np.zeros((32, 48, 3), np.uint8))
        processor, fitted = cls.fitting_processor(processor, count, options)
        wanted = shapes_of(partial(from_config, count, options=options), f"{options['model_type']} model")
        return config, options, count, processor, fitted, wanted

    @classmethod
    def read_processor(cls, folder: Path, data: dict[str, Any], config: PreTrainedConfig) -> Any:
        """As :func:`transformers_config.read_processor`."""
        return transformers_config.read_processor(folder, data, config)

    @classmethod
    def fitting_processor(cls, processor: Any, count: int, options: dict[str, Any]) -> tuple[Any, tuple[str, ...]]:
        """The checkpoint's image processor with a size that the network takes, and what was changed for that, a sentence or none.

        Args:
            processor: of transformers; may be changed in place.
            count: number of classes.
            options: keys of the transformers config.
        """
        return processor, ()

    @classmethod
    def by_network_names(cls, state: dict[str, Tensor], wanted: Collection[str]) -> tuple[dict[str, Tensor], tuple[str, ...]]:
        """As :func:`own_names`; transformers knows the names that its own earlier versions wrote."""
        return own_names(state, wanted)

    @classmethod
    def _stated_classes(cls, options: dict[str, Any], count: int, state: Mapping[str, Tensor]) -> int:
        """The number of classes as the weights have it: class tables are of other lengths now and then."""
        heads = class_dependent(partial(from_config, options=options), count)
        rows = {state[name].shape[0] - cls.none_rows for name in heads if name in state and state[name].ndim and name != LOSS_WEIGHT}
        if len(rows) == 1 and 1 <= (found := rows.pop()) <= MAX_IDS:
            return found
        return count

    def order_for(self, height: int, width: int) -> Order:
        """The order of operations for an upload of a size in pixels."""
        return self.order

    @property
    def used_thresholds(self) -> dict[str, float]:
        """As :attr:`Network.used_thresholds`: the library's, but for what was asked for in their place."""
        return asdict(replace(self.thresholds, **self.tuned))

    def with_thresholds(self, chosen: Mapping[str, float]) -> Self:
        """As :meth:`Network.with_thresholds`, for segments that do not overlap."""
        return replace(self, tuned=dict(chosen)) if chosen and self.task.stuff else super().with_thresholds(chosen)

    def write(self, folder: Path, half: bool) -> None:
        """The files that transformers' Auto classes and ``pipeline("image-segmentation")`` load; config.json says float32, so
        transformers casts halves back on loading."""
        transformers_config.write_module(self.module, self.labels.names, folder, half)
        described = checkpoint.labels_to_dict(self.labels)
        data = {} if self.processor is None else transformers_config.to_json(self.processor)
        ours = {key: value for key, value in described.items() if key not in ("id2label", "label2id")}
        if self.asked is not None:
            ours["task"] = self.asked.name
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, {**data, OUR_KEY: ours})

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload through the checkpoint's image processor.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            float32 (1, 3, h, w) on the CPU.

        Raises:
            BadImageError: a picture so long and narrow that its shorter side would have no pixel.
        """
        try:
            # A PIL image, because an array of 3 x W x 3 could be channels first or last.
            return self.processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"].float()
        except (RuntimeError, ValueError) as error:
            longest, (height, width) = self.preprocessing.longest_side, image.shape[:2]
            if longest is None or max(height, width) <= longest * min(height, width):
                raise
            raise too_thin(height, width, longest) from error

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """As :meth:`Network.pixels_as_seen`, through the image processor."""
        return transformers_config.pixels_as_seen(self.processor, image)

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
        """What the queries say.

        Args:
            module: of this network.
            batch: (B, 3, h, w), normalised.

        Returns:
            Per image ``classes`` (Q, C + 1), the last being none of them, and ``masks`` (Q, h', w'), both logits.
        """
        pairs = zip(*ClassQueries.query_logits(module, batch), strict=True)
        return [{"classes": classes, "masks": masks} for classes, masks in pairs]

    @staticmethod
    def query_logits(module: nn.Module, batch: Tensor) -> tuple[Tensor, ...]:
        """Class logits (B, Q, C + 1) and mask logits (B, Q, h, w): not by picture as :meth:`forward` has them, for going through a batch makes
        the number of its pictures a constant of a graph."""
        return transformers_config.query_logits(module(pixel_values=batch))

    def postprocess(self, raw: Any, height: int, width: int, confidence: bool = False) -> Segmentation:
        """The queries as the network's task has it.

        Args:
            raw: of :meth:`forward`, one image.
            height: of the upload, in pixels.
            width: of the upload, in pixels.
            confidence: also how sure the network is of every pixel: of classes their share in all, of objects whether there is any
                (:func:`seg_demo.masks.instances.presence`), of segments that do not overlap the chance of the query that won it.

        Raises:
            BadCheckpointError: the network returned NaN.
        """
        classes, masks = raw[0]["classes"].float(), raw[0]["masks"].float()
        if self.task.stuff:
            return self._things_and_stuff(classes, masks, height, width, confidence)
        if self.task.objects:
            found = self._instances(classes, masks, height, width)
            found.sort(key=lambda segment: -segment.score)
            id_map, sure = instances.paint_objects(found, height, width), None
            if confidence:
                sure = instances.presence(self.best_scores(classes), masks, height, width, self.order_for(height, width))
                np.subtract(255, sure, out=sure, where=id_map == 0)
            return Segmentation(INSTANCE.name, height, width, self.labels, id_map, tuple(found), confidence=sure)
        return self._of_classes(raw, height, width, confidence)

    def _of_classes(self, raw: Any, height: int, width: int, confidence: bool) -> Segmentation:
        order, scores = self.order_for(height, width), MeanScores()
        maps = queries.of_two(queries.class_maps(raw[0]["classes"].float(), raw[0]["masks"].float(), order, self.none_rows > 0))
        label_map = argmax_resized(maps, height, width, self.order.antialias)
        logits = queries.logarithms(maps)
        scores.add(logits)
        sure = probability_and_margin(logits, height, width) if confidence else (None, None)
        return semantic_segmentation(label_map, self.labels, scores.of(range(len(self.labels))), *sure)

    @staticmethod
    def best_scores(classes: Tensor) -> Tensor:
        """Of every query the score of its best class, (Q,), from logits (Q, C + 1)."""
        return classes.softmax(-1)[:, :-1].amax(-1)

    def _instances(self, classes: Tensor, masks: Tensor, height: int, width: int) -> list[Segment]:
        """Objects that may overlap, in any order."""
        return instances.early_instances(classes, masks, height, width, self.order, LEAST_SCORE)

    def _things_and_stuff(self, classes: Tensor, masks: Tensor, height: int, width: int, confidence: bool) -> Segmentation:
        things = self.labels.things
        stuff = frozenset() if things is None else frozenset(np.flatnonzero(~things).tolist())
        order, thresholds = self.order_for(height, width), self.used_thresholds
        found = queries.without_overlaps(classes, masks, height, width, order, Thresholds(**thresholds), stuff, confidence)
        _, boxes = extents(found.id_map)
        listed = zip(found.label_ids, found.scores, strict=True)
        segments = tuple(
            Segment(label_id, score, tuple(boxes[index].tolist()), None) for index, (label_id, score) in enumerate(listed, start=1)
        )
        outputs = _kept_outputs(classes, masks) if confidence else None
        return Segmentation(
            PANOPTIC.name, height, width, self.labels, found.id_map, segments, confidence=found.confidence, outputs=outputs,
            thresholds=thresholds,
        )  # fmt: skip

    def again(self, result: Segmentation, confidence: bool = False) -> Segmentation | None:
        """As :meth:`Network.again`, at this network's thresholds."""
        if result.outputs is None or self.used_thresholds["score"] < LEAST_SCORE:
            return None
        classes, masks = (torch.from_numpy(values) for values in result.outputs)
        return self.postprocess([{"classes": classes, "masks": masks}], result.height, result.width, confidence)

    def postprocess_tile(self, raw: Any, tile: tuple[int, int], inside: tuple[int, int], confidence: bool = False) -> Segmentation:
        """As :meth:`Network.postprocess_tile`: a mask is as large as the tile, and each segment has one."""
        result = self.postprocess(raw, *tile, confidence)
        found = [instances.cropped(replace(s, mask=result.mask_of(i)) if not s.has_mask else s, *inside) for i, s in enumerate(result.segments)]
        kept = tuple(segment for segment in found if segment is not None)
        sure = None if result.confidence is None else result.confidence[: inside[0], : inside[1]]
        return Segmentation(self.task.name, *inside, self.labels, instances.paint_objects(kept, *inside), kept, confidence=sure)

    def logits(self, raw: Any) -> Tensor:
        """As :meth:`Network.logits`: a class's share in the sum of all is their softmax; at the points where the network has its masks,
        because a family's grid for whole pictures (384 x 384) has nothing to do with a tile's pixels."""
        maps = queries.class_maps(raw[0]["classes"].float(), raw[0]["masks"].float(), Order(), self.none_rows > 0)
        return queries.logarithms(queries.of_two(maps))

    def graph(self) -> base.Graph:
        """As :meth:`Network.graph`: what the queries say, under transformers' names.

        Raises:
            BadRequestError: sizes become constants of its graph, though pictures have many.
        """
        if not self.sizes_stay_open and self.preprocessing.size is None:
            raise BadRequestError("onnx.sizes_become_constants", title=self.family.title)
        answer = base.Tensors(self.module, self.query_logits)
        free = base.ANY_SIZE if self.sizes_stay_open else base.ONE_SIZE
        code = base.OF_QUERIES if self.none_rows else base.OF_SIGMOIDS
        return base.Graph(answer, self.output_names, lambda found: [dict(zip(("classes", "masks"), one)) for one in zip(*found)], free, code=code)

    @staticmethod
    def memory_per_pixel(tiled: bool, confidence: bool) -> int:
        """The id map, the masks that are kept, and what counting takes."""
        return (9 if tiled else 12) + 4 * confidence

    # How it is trained.

    @classmethod
    def classes_of(cls, labels: LabelSet, task: Task) -> LabelSet:
        """As :meth:`Network.classes_of`: "none of them" is no class, so objects come without a background."""
        if not task.objects or task.stuff or labels.background is None or len(labels) == 1:
            return labels
        kept = np.delete(np.arange(len(labels)), labels.background)
        return LabelSet(tuple(labels.names[index] for index in kept), labels.colors[kept])

    def loss(self, module: nn.Module, images: Tensor, truth: Any, per_pixel: Any, share: float) -> Tensor:
        """transformers' own loss: queries are matched with the truth (Hungarian matching), after every layer of the decoder.

        Pixels of no mask are nobody's: the library has none that count for nothing. Its weights of classes are of queries, of which a class
        has one in each picture where it is, so that how few its pixels are says nothing about them.
        """
        masks, classes = zip(*map(_masks_of, truth), strict=True)
        masks = [mask.to(images.dtype) for mask in masks]
        return share * module(pixel_values=self.as_seen(images), mask_labels=masks, class_labels=list(classes)).loss

    @property
    def unused_layers(self) -> bool:
        """Backbones of transformers normalise their last state, which no map of theirs is."""
        return True

    def rehearse(self, module: nn.Module, images: Tensor, truth: Any) -> Any:
        """As :meth:`Network.rehearse`: transformers' losses ask the other processes for the number of their objects."""
        return module(pixel_values=self.as_seen(images))

    def as_seen(self, images: Tensor) -> Tensor:
        """Crops (B, 3, S, S) in [0, 1] with the colours that the network sees."""
        return normalised(images, self.preprocessing)

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with plain transformers.

        Args:
            source: folder or Hub id.
        """
        return f"""from transformers import pipeline

segment = pipeline("image-segmentation", model="{source}")
# segment("image.png", subtask="{self.task.name}") → [{{"label": ..., "score": ..., "mask": PIL image}}, ...]
model, processor = segment.model, segment.image_processor
"""


class Mask2Former(ClassQueries, family="mask2former"):
    """Mask2Former (Cheng et al. 2021, arXiv 2112.01527)."""

    training = TrainingDefaults(base="facebook/mask2former-swin-tiny-coco-panoptic", **SCHEDULE)
    # Sizes become constants of the traced graph, so that each has a form of its own; it agrees to 2e-6 of the largest logit.
    engine = EngineHints(free=(), channels_last=False, heavy=True)
    # The size of masks in its processor, whatever the network gives.
    order = Order(grid=(384, 384))

    @staticmethod
    def slim(module: nn.Module) -> None:
        """As :meth:`ClassQueries.slim`: its pixel decoder looks at the maps from some places at a time."""
        few_places_at_once(module)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A Mask2Former of 0.8 million parameters, which learns from scratch on a laptop."""
        return {
            "model_type": "mask2former",
            "backbone_config": dict(SMALL_RESNET),
            "feature_size": 64,
            "mask_feature_size": 64,
            "hidden_dim": 64,
            "encoder_feedforward_dim": 128,
            "dim_feedforward": 128,
            "encoder_layers": 1,
            "decoder_layers": 4,
            "num_attention_heads": 4,
            "num_queries": 50,
            "train_num_points": 1600,
        }


class MaskFormer(ClassQueries, family="maskformer"):
    """MaskFormer (Cheng et al. 2021, arXiv 2107.06278)."""

    sizes_stay_open = True
    # A Swin's windows are cut to the size of the traced example: 4e-6 of the largest logit in a form per size.
    engine = EngineHints(free=(), channels_last=False, heavy=True)
    training = TrainingDefaults(base="facebook/maskformer-swin-tiny-coco", **SCHEDULE)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A MaskFormer of a few million parameters."""
        return {
            "model_type": "maskformer",
            "backbone_config": dict(SMALL_RESNET),
            "decoder_config": {
                "model_type": "detr",
                "d_model": 64,
                "encoder_layers": 0,
                "decoder_layers": 3,
                "encoder_ffn_dim": 128,
                "decoder_ffn_dim": 128,
                "encoder_attention_heads": 4,
                "decoder_attention_heads": 4,
                "num_queries": 50,
            },
            "fpn_feature_size": 64,
            "mask_feature_size": 64,
        }


class Eomt(ClassQueries, family="eomt"):
    """EoMT, a plain vision transformer with queries (Kerssies et al. 2025, arXiv 2503.19108), on DINOv2 or DINOv3.

    Its processor pads pictures where the checkpoint is of things, and cuts them into squares where it is of classes; neither can
    do the other's: the library would stretch the padding over the picture, or have several answers to one.
    """

    # All pictures have one size, and the compiled form agrees to rounding (1e-6 of the largest logit).
    engine = EngineHints(free=(), channels_last=False)
    training = TrainingDefaults(base="tue-mps/coco_panoptic_eomt_base_640_2x", **SCHEDULE)
    thresholds = Thresholds(score=0.8)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """An EoMT of a few million parameters."""
        return {
            "model_type": "eomt",
            "hidden_size": 96,
            "num_hidden_layers": 6,
            "num_attention_heads": 4,
            "image_size": 256,
            "num_blocks": 2,
            "num_queries": 50,
            "num_register_tokens": 0,
        }

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """As :meth:`Network.create`, with a processor that pads to the one size that the network takes."""
        module = cls.build(len(labels), options).eval()
        side = module.config.image_size
        kind = type(transformers_config.default_processor(module.config))
        processor = kind(size={"shortest_edge": side, "longest_edge": side}, do_pad=True, do_split_image=False)
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        return cls(module, labels, preprocessing, dict(options), processor, tasks=cls.family.tasks_of({"do_pad": True}))

    @classmethod
    def _tasks(cls, processor: Any) -> tuple[Task, ...]:
        return cls.family.tasks_of({name: getattr(processor, name) for name in ("do_pad", "do_split_image")})

    def trained_for(self, task: Task) -> Self:
        """As :meth:`Network.trained_for`, with a processor that cuts pictures into squares for classes, and pads them for things."""
        if task in self._tasks(self.processor):
            return super().trained_for(task)
        side, processor = self.module.config.image_size, copy.deepcopy(self.processor)
        processor.do_pad, processor.do_split_image = task.objects, not task.objects
        processor.size = type(processor)(size={"shortest_edge": side, "longest_edge": side if task.objects else None}).size
        rule = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        return replace(self, processor=processor, preprocessing=rule, tasks=self._tasks(processor), asked=task)

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """As :meth:`Network.pixels_as_seen`: the picture before it is padded or cut into squares."""
        return transformers_config.pixels_as_seen(self.processor, image, ("do_pad", "do_split_image"))

    def graph(self) -> base.Graph:
        """As :meth:`ClassQueries.graph`, for the one size that it takes; its processor pads, or cuts into squares of which there may be many."""
        answer = base.Tensors(self.module, self.query_logits)
        free = (0,) if self.processor.do_split_image else base.ONE_SIZE
        return base.Graph(answer, self.output_names, lambda found: [dict(zip(("classes", "masks"), one)) for one in zip(*found)], free)

    def square(self, wanted: int) -> int | None:
        """The one size that it takes."""
        return self.module.config.image_size

    def order_for(self, height: int, width: int) -> Order:
        """Masks have the processor's size first, from which the padding is cut off; sigmoids are taken last."""
        short, long = self._sides
        return Order(grid=(short, long or short), crop=self._fitted(height, width), late=True, cut=True)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """As :meth:`ClassQueries.preprocess`, of one or several squares: float32 (N, 3, s, s).

        Raises:
            BadImageError: a picture so long that it would be very many, or nothing would be left of its shorter side.
        """
        height, width = image.shape[:2]
        if self.processor.do_split_image and max(height, width) > MOST_SQUARES * min(height, width):
            raise BadImageError("networks.too_long", width=width, height=height, most=MOST_SQUARES)
        batch, config = super().preprocess(image), self.module.config
        # Of a side of two or three pixels the library rounds so that the other becomes longer than the padding.
        if any(side // config.patch_size != config.image_size // config.patch_size for side in batch.shape[-2:]):
            raise too_thin(height, width, config.image_size)
        return batch

    def _instances(self, classes: Tensor, masks: Tensor, height: int, width: int) -> list[Segment]:
        return instances.late_instances(classes, masks, height, width, self.order_for(height, width), LEAST_SCORE)

    def _of_classes(self, raw: Any, height: int, width: int, confidence: bool) -> Segmentation:
        squares = self.squares(raw, height, width)
        label_map, scores = squares.labels(height, width), squares.scores()
        sure = squares.probability_and_margin(height, width) if confidence else (None, None)
        return semantic_segmentation(label_map, self.labels, scores, *sure)

    def squares(self, raw: Any, height: int, width: int) -> queries.Squares:
        """What is compared for a label map, by the squares that a picture was cut into; by itself where it was not.

        Args:
            raw: of :meth:`forward`, all its squares.
            height: of the upload, in pixels.
            width: of the upload, in pixels.
        """
        short, long = self._sides
        side = short, long or short
        said = (torch.stack([part[name].float() for part in raw]) for name in ("classes", "masks"))
        if not self.processor.do_split_image:
            return queries.Squares(*said, side, side, ((0, side[1]),), False)
        fitted = self._fitted(height, width)
        # Which squares there are is the library's own business.
        _, offsets = self.processor._split_image(torch.empty((1, 1, *fitted), device="meta"), self.processor.size, [0])
        return queries.Squares(*said, side, fitted, tuple((begin, end) for _, begin, end in offsets), height > width)

    @property
    def _sides(self) -> tuple[int, int | None]:
        size = self.processor.size
        return size["shortest_edge"], size["longest_edge"]

    def _fitted(self, height: int, width: int) -> tuple[int, int]:
        """The size that a picture has in the batch, as the library rounds it."""
        return get_size_with_aspect_ratio((height, width), *self._sides)


def too_thin(height: int, width: int, longest: int) -> BadImageError:
    """The error of a picture of which too little is left where its longer side is scaled to some pixels."""
    return BadImageError("networks.too_thin", width=width, height=height, longest=longest)


def more_queries_than_places(config: PreTrainedConfig, height: int, width: int) -> BadCheckpointError:
    """The error of an RF-DETR that sees too few places in a picture of its size to begin with."""
    places = (height // config.backbone_config.patch_size) * (width // config.backbone_config.patch_size)
    return BadCheckpointError("networks.more_queries_than_places", queries=config.num_queries, places=places, height=height, width=width)


class FewPlaces(nn.Module):
    """The deformable attention of a pixel decoder (Mask2Former's and OneFormer's ``...EncoderMultiscaleDeformableAttention``), from some places
    at a time, with the library's bits.

    Each place looks at four points of every level. The library has all that all places see at once, and the same once more when it is
    weighed: 440 MB for a picture of 800 x 1088.
    """

    def forward(
        self,
        hidden_states: Tensor,
        attention_mask: Tensor | None = None,
        encoder_hidden_states: Tensor | None = None,
        position_embeddings: Tensor | None = None,
        reference_points: Tensor | None = None,
        spatial_shapes_list: list[tuple[int, int]] | None = None,
        **_: Any,
    ) -> tuple[Tensor, Tensor]:
        """What every place takes from the maps, (B, N, D), and how it weighs what it sees, (B, N, heads, levels, points).

        Args:
            hidden_states: (B, N, D), of the places.
            attention_mask: bool (B, S), true where a map is padding.
            encoder_hidden_states: (B, S, D), the maps.
            position_embeddings: (B, N, D), added to the places.
            reference_points: (B, N, levels, 2), where they are.
            spatial_shapes_list: (height, width) of every level.
        """
        places = hidden_states if position_embeddings is None else hidden_states + position_embeddings
        value = self.value_proj(encoder_hidden_states)
        if attention_mask is not None:
            value = value.masked_fill(attention_mask[..., None], 0.0)
        (batch, count, width), points = places.shape, (self.n_heads, self.n_levels, self.n_points)
        value = value.view(batch, -1, self.n_heads, width // self.n_heads)
        weights = self.attention_weights(places).view(batch, count, self.n_heads, -1).softmax(-1).view(batch, count, *points)
        sides = torch.tensor([(across, down) for down, across in spatial_shapes_list], device=places.device)
        offsets = self.sampling_offsets(places).view(batch, count, *points, 2)
        where = reference_points[:, :, None, :, None, :] + offsets / sides[:, None]
        step = max(1, MOST_SAMPLES // (batch * width * self.n_levels * self.n_points))
        pairs = zip(where.split(step, 1), weights.split(step, 1), strict=True)
        found = [self.look(value, spatial_shapes_list, *some) for some in pairs]
        return self.output_proj(torch.cat(found, 1)), weights


def few_places_at_once(module: nn.Module) -> None:
    """Make the deformable attentions of a pixel decoder :class:`FewPlaces`, with the same weights under the same names."""
    for parent in list(module.modules()):
        for name, child in parent.named_children():
            if type(child).__name__.endswith("PixelDecoderEncoderMultiscaleDeformableAttention"):
                few = FewPlaces()
                few.__dict__.update(child.__dict__)
                few.look = sys.modules[type(child).__module__].multi_scale_deformable_attention
                setattr(parent, name, few)


def _masks_of(truth: Tensor | dict[str, Tensor]) -> tuple[Tensor, Tensor]:
    """Masks (N, S, S) and classes int64 (N,) of one picture: of its objects and stuff, or of a label map int64 (S, S), one per class."""
    if isinstance(truth, dict):
        return truth["masks"], truth["labels"]
    classes = torch.unique(truth)
    classes = classes[classes != IGNORE_16]
    return truth[None] == classes[:, None, None], classes


def apart(found: Found) -> list[Segment]:
    """Segments that do not overlap, each with a mask of its own."""
    _, boxes = extents(found.id_map)
    segments = []
    for index, (label_id, score) in enumerate(zip(found.label_ids, found.scores, strict=True), start=1):
        x0, y0, x1, y1 = box = tuple(boxes[index].tolist())
        segments.append(Segment(label_id, score, box, found.id_map[y0:y1, x0:x1] == index))
    return segments


def _kept_outputs(classes: Tensor, masks: Tensor) -> tuple[np.ndarray, np.ndarray] | None:
    """Class logits float32 (K, C + 1) and mask logits (K, h, w) of the queries that may count at any threshold from
    :data:`LEAST_SCORE`; None if they are more than :data:`MOST_OUTPUT_BYTES`."""
    scores, label_ids = classes.softmax(-1).max(-1)
    counts = label_ids.ne(classes.shape[-1] - 1) & (scores > LEAST_SCORE)
    if int(counts.sum()) < FEWEST_KEPT:
        # F.interpolate takes other kernels for few maps.
        counts[:FEWEST_KEPT] = True
    if sum(masks.shape[1:]) <= queries.SMALL_OUTPUT:
        counts[:] = True
    if int(counts.sum()) * masks[0].numel() * 4 > MOST_OUTPUT_BYTES:
        return None
    return classes[counts].cpu().numpy(), masks[counts].cpu().numpy()
