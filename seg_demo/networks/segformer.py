"""SegFormer, and every other transformers model for semantic segmentation whose logits are resized and compared.

The folder is transformers' own. Its image processor preprocesses (:mod:`seg_demo.networks.transformers_config`), so that the label map
equals the processor's ``post_process_semantic_segmentation(outputs, target_sizes=[(H, W)])`` to the pixel, but for checkpoints
that see an image at its own size up to a longest side.

SegFormer's decode head with its projections folded into the fusing convolution (Xie et al. 2021, section 3.2).

The head projects every stage to D channels, resizes all to the largest stage, concatenates them, and fuses the 4 D channels
to D by a 1×1 convolution. Projection, resize and fusion are linear, and a resize keeps constants, so with the fusing weights
split into one block per stage

    fuse(concat(resize(project(x)))) = Σ resize(F·W x) + Σ F·b

where F is the stage's block of the fusion and W, b its projection: one small convolution per stage at the stage's own size
instead of one of 4 D channels at the largest. In evaluation the BatchNorm that follows is affine and folds in as well.

Encoders of transformers without a segmentation head: what tutorials fine-tune (``nvidia/mit-b0``), and a base for training here.

They end in a classifier of whole pictures, or in nothing. Those of a family that has a segmentation head get that (SegFormer, BEiT,
Data2Vec, MobileViT, MobileNetV2), and those that give a pyramid of features get UPerNet's (ConvNeXt, Swin, ResNet, FocalNet), as in
the papers of both. The head has random weights.
"""

from __future__ import annotations

import copy
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers import AutoBackbone, AutoConfig, AutoModelForSemanticSegmentation, SegformerImageProcessor
from transformers.models.segformer.modeling_segformer import SegformerDecodeHead

from seg_demo.core import BadCheckpointError, Message
from seg_demo.networks import base, checkpoint, transformers_config
from seg_demo.networks.base import EngineHints, PixelNetwork, TrainingDefaults
from seg_demo.networks.checkpoint import OUR_KEY
from seg_demo.networks.preprocessing import as_fractions, tensor_of
from seg_demo.networks.transformers_config import (
    ANY_SIZE,
    PYRAMIDS,
    config_of,
    from_config,
    initialise,
    label_set,
    options_from_config,
    own_size,
    quiet,
    read_module,
    refuse_encoder,
    settled,
    write_module,
)
from seg_demo.networks.weights import Takes, check_finite, own_names, read_weights, shapes_of, stored_names

if TYPE_CHECKING:
    from seg_demo.core import LabelSet, Segmentation

PIPELINE_SIZE = 512


@dataclass(frozen=True)
class _Described:
    """What the JSON files of a folder say.

    Attributes:
        config: content of config.json.
        options: of the network.
        count: of output channels, unless the weights say another one.
        processor: of transformers, as far as its frame is the picture's.
        preprocessing: its rule.
        ours: our own entry of it.
        notes: what was changed of it, and None.
        wanted: shapes of the weights.
    """

    config: dict[str, Any]
    options: dict[str, Any]
    count: int
    processor: Any
    preprocessing: transformers_config.Preprocessing
    ours: dict[str, Any]
    notes: list[str | None]
    wanted: dict[str, torch.Size]


class SegFormer(PixelNetwork, family="segformer"):
    """SegFormer, and transformers' other networks whose logits per class and pixel are resized and compared."""

    channels_option = "num_channels"
    # Measured: attention takes twice as long where sizes are left open; convolutions do not mind.
    engine = EngineHints(free=())
    training = TrainingDefaults(base="nvidia/segformer-b0-finetuned-ade-512-512")

    @property
    def unused_layers(self) -> bool:
        """Some of transformers' networks have layers that their logits do not depend on; SegFormer uses each."""
        return self.options["model_type"] != "segformer"

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SegFormer of 1.3 million parameters that learns from scratch on a laptop; its logits are at half the size."""
        return {
            "model_type": "segformer",
            "depths": [2, 2, 2, 2],
            "hidden_sizes": [24, 48, 96, 144],
            "num_attention_heads": [1, 2, 4, 6],
            "sr_ratios": [8, 4, 2, 1],
            "patch_sizes": [7, 3, 3, 3],
            "strides": [2, 2, 2, 2],
            "mlp_ratios": [4, 4, 4, 4],
            "decoder_hidden_size": 128,
            "drop_path_rate": 0.0,
            "classifier_dropout_prob": 0.1,
        }

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights; never touches the Hub.

        SegFormers get Xavier and Kaiming initialisation: with transformers' own (deviation 0.02 everywhere) they hardly
        learn from scratch.

        Args:
            num_classes: output channels.
            options: keys of the transformers config, ``model_type`` among them.

        Raises:
            BadCheckpointError: a model type that is none of transformers' semantic segmentation, or a config it refuses.
        """
        module = from_config(num_classes, options)
        if options["model_type"] == "segformer":
            initialise(module)
        return module

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """As :meth:`Network.create`, with the image processor that transformers' pipeline needs."""
        made = super().create(labels, options)
        size = {"height": PIPELINE_SIZE, "width": PIPELINE_SIZE}
        made.processor = SegformerImageProcessor(size=size, do_reduce_labels=False)
        return made

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A checkpoint folder written by :meth:`save` or by transformers' ``save_pretrained``. No remote code is ever run.

        Args:
            folder: config.json, model.safetensors and preprocessor_config.json.

        Raises:
            BadCheckpointError: a model type that is not supported, absurd sizes, or weights that do not fit the config.
            EncoderOnlyError: an encoder without a segmentation head.
        """
        refuse_encoder(checkpoint.read_json(folder, checkpoint.CONFIG), lambda: stored_names(folder))
        said = cls._described(folder)
        state, inside = own_names(read_weights(folder), said.wanted)
        options, count = settled(said.options, said.count, state, said.wanted)
        labels, named = label_set(said.config, said.ours, count)
        module, left = read_module(options, count, state)
        notes = (*(note for note in said.notes if note is not None), *named, *inside, *left)
        return cls(module.eval(), labels, said.preprocessing, options, said.processor, notes)

    @classmethod
    def look(cls, folder: Path, stored: Collection[str] | None) -> None:
        """As :meth:`Network.look`: sizes, what preprocesses, and whether there is a head."""
        config = checkpoint.read_json(folder, checkpoint.CONFIG)
        if stored is not None or config.get("model_type") in PYRAMIDS:
            refuse_encoder(config, lambda: stored or ())
        cls._described(folder)

    @classmethod
    def _described(cls, folder: Path) -> _Described:
        config = checkpoint.read_json(folder, checkpoint.CONFIG)
        options, count = options_from_config(config, any_channels=True)
        channels = checkpoint.channels_of(options)
        described = config_of(count, options)
        processor_data = checkpoint.processor_data(folder)
        ours = processor_data.get(OUR_KEY)
        ours = ours if isinstance(ours, dict) else {}
        processor = transformers_config.read_processor(folder, processor_data, described)
        colours = transformers_config.colours_of(processor)
        notes: list[str | None] = []
        if channels != 3 and len(processor_data.get("image_mean") or ()) != channels:
            notes.append(Message("preprocessing.channels_unsaid", count=channels))
        if ours.get("longest_side") is None:
            # A size or a resampling that it cannot do is the file's fault, and is said now, not at the first picture.
            transformers_config.pixels_as_seen(processor, np.zeros((32, 48, channels), np.uint8))
            processor, note = transformers_config.without_cropping(processor, colours)
            notes.append(note)
            if options["model_type"] not in ANY_SIZE:
                takes = Takes(partial(from_config, count, options=options), cls.forward, channels)
                processor, note = transformers_config.fitting(processor, takes, own_size(described))
                notes.append(note)
        preprocessing = transformers_config.preprocessing_of(processor, colours, ours)
        wanted = shapes_of(partial(from_config, count, options=options), f"{options['model_type']} model")
        return _Described(config, options, count, processor, preprocessing, ours, notes, wanted)

    @classmethod
    def from_encoder(cls, folder: Path, labels: LabelSet) -> tuple[Self, tuple[str, ...]]:
        """An encoder with a fresh segmentation head.

        Args:
            folder: config.json, the weights, and perhaps an image processor, whose colours are kept.
            labels: the classes.

        Returns:
            The network, and prefixes of the names of its fresh parameters.

        Raises:
            BadCheckpointError: a config that builds nothing, or weights that are not the encoder's.
        """
        config = checkpoint.read_json(folder, checkpoint.CONFIG)
        options = _options(config)
        described = config_of(len(labels), options)
        module = cls.build(len(labels), options).eval()
        fresh = _fill(module, folder, options, described)
        processor = _processor(folder, config, options, described)
        colours = transformers_config.colours_of(processor)
        preprocessing = transformers_config.preprocessing_of(processor, colours, {})
        head = "UPerNet's" if options["model_type"] == "upernet" else "its family's"
        notes = (
            f"The base is an encoder without a segmentation head: its layers are kept, and {head} head with random weights is added, which "
            "only training can teach.",
        )
        return cls(module, labels, preprocessing, options, processor, notes), fresh

    def write(self, folder: Path, half: bool) -> None:
        """The files that transformers' Auto classes and ``pipeline("image-segmentation")`` load; config.json says float32, so
        transformers casts halves back on loading."""
        described = checkpoint.labels_to_dict(self.labels)
        write_module(self.module, self.labels.names[1:] if self.options.get("binary") else self.labels.names, folder, half)
        data = {} if self.processor is None else transformers_config.to_json(self.processor)
        ours: dict[str, Any] = {"colors": described["colors"], "background": described["background"]}
        if self._by_itself():
            ours |= {"longest_side": self.preprocessing.longest_side, "multiple": self.preprocessing.multiple}
        if self.preprocessing.ranges is not None and self.preprocessing.clipped:
            ours["channel_ranges"] = [list(ends) for ends in self.preprocessing.ranges]
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, {**data, OUR_KEY: ours})

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload as the network sees it: through the checkpoint's image processor, or at its own size (see the module).

        Args:
            image: as for :meth:`Network.preprocess`.

        Returns:
            float32 (1, C, h, w) on the CPU.
        """
        if self._by_itself():
            return super().preprocess(image)
        processor = self.processor
        if self.preprocessing.samples is not None:
            return processor(**transformers_config.given(self._clipped(image)))["pixel_values"].float()
        if transformers_config.is_plain(processor) and processor.do_resize and self.preprocessing.size is not None:
            # Its own resize of the pixels as they lie in memory; by itself it would copy all of them three times before that.
            pixels = tensor_of(image).permute(2, 0, 1)[None]
            (resized,) = processor.resize(image=pixels, size=processor.size, resample=processor.resample)
            how = {"do_resize": False, "input_data_format": "channels_first", "return_tensors": "pt"}
            return processor(images=resized, **how)["pixel_values"].float()
        # What neither scales nor normalises leaves bytes.
        return processor(**transformers_config.given(image))["pixel_values"].float()

    def pixels_as_seen(self, image: np.ndarray) -> np.ndarray:
        """As :meth:`Network.pixels_as_seen`, through the image processor."""
        if self._by_itself():
            return super().pixels_as_seen(image)
        if self.preprocessing.samples is None:
            return transformers_config.pixels_as_seen(self.processor, image)
        return as_fractions(transformers_config.pixels_as_seen(self.processor, self._clipped(image)), self.preprocessing)

    def _clipped(self, image: np.ndarray) -> np.ndarray:
        """Values of a file within the ranges that were learnt, what is no number at the lower end (0 where none were): all that the processor
        does not do."""
        rule = self.preprocessing
        low, high = (0.0, None) if rule.ranges is None or not rule.clipped else np.array(rule.ranges, dtype=np.float32).T
        values = image if high is None else np.clip(image, low, high)
        return np.where(np.isnan(image), np.float32(low), values) if image.dtype.kind == "f" else values

    def options_for(self, channels: int) -> dict[str, Any]:
        """As :meth:`Network.options_for`; a backbone says it for itself."""
        backbone = self.options.get("backbone_config")
        if isinstance(backbone, dict) and "num_channels" not in self.options:
            return {**self.options, "backbone_config": {**backbone, "num_channels": channels}}
        return super().options_for(channels)

    def with_channels(self, count: int) -> Self:
        """As :meth:`Network.with_channels`, and so the image processor."""
        made = super().with_channels(count)
        if count != self.channels and made.processor is not None:
            made.processor = transformers_config.of_channels(copy.deepcopy(made.processor), count)
            made.processor.image_mean, made.processor.image_std = list(made.preprocessing.mean), list(made.preprocessing.std)
            made.processor.do_normalize = made.processor.do_rescale = True
            made.processor.rescale_factor = 1 / 255
            if hasattr(made.processor, "do_flip_channel_order"):
                made.processor.do_flip_channel_order = False
        return made

    def measuring(self, ranges: Sequence[tuple[float, float]]) -> Self:
        """As :meth:`Network.measuring`; the image processor takes the file's values too, so that the plain library gives the same logits
        of what lies within the ranges."""
        made = super().measuring(ranges)
        if made.processor is not None:
            made.processor, rule = copy.deepcopy(made.processor), made.preprocessing
            made.processor.do_rescale, made.processor.rescale_factor = True, 1.0
            made.processor.image_mean = [low + mean * (high - low) for mean, (low, high) in zip(rule.mean, rule.ranges, strict=True)]
            made.processor.image_std = [std * (high - low) for std, (low, high) in zip(rule.std, rule.ranges, strict=True)]
        return made

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> Tensor:
        """Logits of a batch as the network gives them, not resized; differentiable.

        Args:
            module: of this network.
            batch: (B, channels, h, w), normalised.

        Returns:
            (B, C, h', w') logits; SegFormer's are at a quarter of the batch, or half for :meth:`default_options`.
        """
        return module(pixel_values=batch).logits

    @staticmethod
    def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
        """As :meth:`forward`, with the encoder's maps, the largest left out.

        Args:
            module: a SegFormer.
            batch: as for :meth:`forward`.
        """
        found = module(pixel_values=batch, output_hidden_states=True)
        return found.logits, list(found.hidden_states[1:])

    def postprocess(self, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
        """As :meth:`PixelNetwork.postprocess`, of logits (1, C, h', w') at a size of their own."""
        if not self._by_itself():
            return self.label_map(raw[0], height, width, confidence=confidence)
        # The image may end in the middle of a cell of the logit grid: the padding is cut off after the resize, not before.
        rule = self.preprocessing
        rows, columns = rule.fitted(height, width)
        padded_height = round((rows + -rows % rule.multiple) * height / rows)
        padded_width = round((columns + -columns % rule.multiple) * width / columns)
        return self.label_map(raw[0], height, width, (padded_height, padded_width), confidence)

    def graph(self) -> base.Graph:
        """As :meth:`PixelNetwork.graph`; a SegFormer takes any size, also where its pictures get one."""
        made = super().graph()
        return replace(made, free=base.ANY_SIZE) if self.options["model_type"] == "segformer" else made

    def optimise(self, device: torch.device) -> None:
        """The head is folded (see :mod:`seg_demo.networks.segformer`)."""
        fold_head(self.module)

    def replace_head(self, labels: LabelSet) -> Self:
        """As :meth:`Network.replace_head`."""
        made = super().replace_head(labels)
        if getattr(made.processor, "do_reduce_labels", False):
            # ADE20K's masks count from 1, and whoever trains on with the plain library would have the new classes shifted.
            made.processor.do_reduce_labels = False
        return made

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with plain transformers.

        Args:
            source: folder or Hub id.
        """
        return f"""from transformers import pipeline

segment = pipeline("image-segmentation", model="{source}")
# segment("image.png") → [{{"label": ..., "mask": PIL image}}, ...]
model, processor = segment.model, segment.image_processor
"""

    def _by_itself(self) -> bool:
        """Whether an image keeps its size up to a longest side, instead of going through the processor."""
        rule = self.preprocessing
        capped = rule.longest_side is not None and rule.size is None and rule.shortest_side is None
        return self.processor is None or capped


class FoldedDecodeHead(SegformerDecodeHead):
    """transformers' decode head, its parameters and their names unchanged, computed in the folded order.

    The weights are composed anew in each pass, which costs far less than the pass: nothing can go stale, gradients reach the
    parameters of the head as they are, and a module that is copied, moved, saved or trained needs no care.
    """

    def forward(self, encoder_hidden_states: tuple[Tensor, ...], **_: object) -> Tensor:
        """Logits from the feature maps of the stages.

        Args:
            encoder_hidden_states: (B, C_i, h_i, w_i) of each stage, the largest first.

        Returns:
            (B, classes, h_0, w_0).
        """
        size = encoder_hidden_states[0].shape[-2:]
        norm = None if self.training else self.batch_norm
        scale = None if norm is None else norm.weight * torch.rsqrt(norm.running_var + norm.eps)
        # The fusion expects the stages concatenated from the last to the first.
        blocks = self.linear_fuse.weight.flatten(1).chunk(len(encoder_hidden_states), dim=1)[::-1]
        fused, shift = None, 0
        for features, layer, block in zip(encoder_hidden_states, self.linear_projections, blocks, strict=True):
            block = block if scale is None else block * scale[:, None]
            shift = shift + block @ layer.proj.bias
            part = resize(nn.functional.conv2d(features, (block @ layer.proj.weight)[:, :, None, None]), size)
            fused = part if fused is None else fused + part
        if norm is None:
            hidden = self.batch_norm(fused + shift[:, None, None])
        else:
            hidden = fused + (shift - norm.running_mean * scale + norm.bias)[:, None, None]
        return self.classifier(self.dropout(self.activation(hidden)))


def fold_head(module: nn.Module) -> nn.Module:
    """Let a SegFormer compute its head in the folded order; other networks are left alone.

    Args:
        module: of transformers; changed in place. Its state dict stays as it is.
    """
    head = getattr(module, "decode_head", None)
    if type(head) is SegformerDecodeHead and head.config.reshape_last_stage:
        head.__class__ = FoldedDecodeHead
    return module


def resize(features: Tensor, size: tuple[int, int]) -> Tensor:
    """Bilinear resize without aligned corners, as ``F.interpolate`` does it.

    Where gradients are wanted, both axes are multiplied with their interpolation matrices: the backward pass of
    ``F.interpolate`` on a CPU takes four times as long as these products.

    Args:
        features: (B, C, h, w).
        size: (height, width) of the result.
    """
    if tuple(features.shape[-2:]) == tuple(size):
        return features
    if not (torch.is_grad_enabled() and features.requires_grad):
        return nn.functional.interpolate(features, size, mode="bilinear", align_corners=False)
    rows = _matrix(features.shape[-2], size[0], features)
    columns = _matrix(features.shape[-1], size[1], features)
    return rows @ (features @ columns.T)


def _matrix(before: int, after: int, like: Tensor) -> Tensor:
    """(after, before) weights of a linear resize: its answer to every unit vector."""
    units = torch.eye(before, device=like.device)[None]
    return nn.functional.interpolate(units, after, mode="linear", align_corners=False)[0].T.to(like.dtype)


STAGES = ["stage1", "stage2", "stage3", "stage4"]
# Side to which pictures are resized where the network takes any: what segmentation networks of these families were trained at.
SIDE = 512


def _options(config: dict[str, Any]) -> dict[str, Any]:
    options, _ = options_from_config({key: value for key, value in config.items() if key not in ("id2label", "label2id")})
    options.pop("binary", None)
    if options["model_type"] in PYRAMIDS:
        for key in ("out_indices", "_out_indices"):
            options.pop(key, None)
        return {"model_type": "upernet", "backbone_config": {**options, "out_features": STAGES}, "use_auxiliary_head": False}
    if options["model_type"] in ("beit", "data2vec-vision"):
        layers = int(options.get("num_hidden_layers", 12))
        # The layers that its authors took for segmentation: 3, 5, 7 and 11 of 12.
        chosen = [round(layers * share / 12) for share in (3, 5, 7, 11)]
        chosen = chosen if chosen == sorted(set(chosen)) else list(range(layers - 3, layers + 1))
        for key in ("out_features", "stage_names"):
            options.pop(key, None)
        return {**options, "out_indices": chosen, "use_auxiliary_head": False}
    if options["model_type"].startswith("mobile"):
        return {**options, "output_stride": 16}
    return options


def _fill(module: nn.Module, folder: Path, options: dict[str, Any], described: Any) -> tuple[str, ...]:
    """Give a network the encoder's weights, by transformers' own rules about names; says what stays fresh."""
    state = read_weights(folder)
    check_finite(state.items())
    pyramid = options["model_type"] == "upernet"
    kind, inner = (AutoBackbone, described.backbone_config) if pyramid else (AutoModelForSemanticSegmentation, described)
    before = "backbone." if pyramid else ""
    with torch.device("meta"):
        cls = type(kind.from_config(inner))
    try:
        with quiet():
            loaded, report = cls.from_pretrained(
                None, config=inner, state_dict=state, dtype=torch.float32, ignore_mismatched_sizes=True, output_loading_info=True
            )
    except Exception as error:  # transformers and torch have their own
        raise BadCheckpointError("weights.not_loaded", why=checkpoint.library_message(error)) from error
    absent = {*report["missing_keys"], *(row[0] for row in report["mismatched_keys"])}
    encoder = "" if pyramid else f"{cls.base_model_prefix}."
    lost = sorted(name for name in absent if name.startswith(encoder) and not name.startswith("hidden_states_norms."))
    if lost:
        raise BadCheckpointError("weights.encoder_incomplete", count=len(lost), name=lost[0])
    given = {before + name: tensor for name, tensor in loaded.state_dict().items() if name not in absent}
    module.load_state_dict(given, strict=False)
    left = sorted(name for name, _ in module.named_parameters() if name not in given)
    # One prefix for a part of which nothing came from the encoder.
    parts = {name.split(".")[0] for name in left} - {name.split(".")[0] for name in given}
    whole = tuple(f"{part}." for part in sorted(parts))
    return (*whole, *(name for name in left if not name.startswith(whole)))


def _processor(folder: Path, config: dict[str, Any], options: dict[str, Any], described: Any) -> Any:
    """The segmentation family's own image processor, with the encoder's colours and a size that suits."""
    encoder = AutoConfig.for_model(config["model_type"])
    own = transformers_config.colours_of(transformers_config.read_processor(folder, checkpoint.processor_data(folder), encoder))
    size = own_size(described)
    takes = Takes(partial(from_config, 2, options=options), SegFormer.forward)
    free = options["model_type"] in ANY_SIZE or options["model_type"] == "upernet" or size is None or not takes(*size)
    side = {"height": SIDE, "width": SIDE} if free else {"height": size[0], "width": size[1]}
    kind = type(transformers_config.default_processor(described))
    processor = kind(size=side, do_center_crop=False, image_mean=list(own.mean), image_std=list(own.std), rescale_factor=1 / 255)
    if transformers_config.colours_of(processor).bgr != own.bgr:
        processor.do_flip_channel_order = own.bgr
    return processor
