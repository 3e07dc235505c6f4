"""SegFormer, and every other transformers model for semantic segmentation whose logits are resized and compared.

The folder is transformers' own. Its image processor preprocesses (:mod:`seg_demo.networks.image_processor`), so that the label map
equals the processor's ``post_process_semantic_segmentation(outputs, target_sizes=[(H, W)])`` to the pixel, but for checkpoints
that see an image at its own size up to a longest side.
"""

from __future__ import annotations

import copy
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import SegformerImageProcessor

from seg_demo.masks.label_map import semantic_from_logits
from seg_demo.networks import base, files, image_processor, names
from seg_demo.networks.base import Checkpoint, Preprocessing, copy_matching, to_batch
from seg_demo.networks.image_processor import MULTIPLE, OUR_KEY
from seg_demo.networks.segformer_config import (
    ANY_SIZE,
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
)
from seg_demo.networks.sizes import Takes
from seg_demo.networks.weights import class_dependent, own_names, read_weights, shapes_of, stored_names
from seg_demo.types import LabelSet, Segmentation

TASK = "semantic"
CELLS_LONGEST_SIDE = 640
PIPELINE_SIZE = 512


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


def create(labels: LabelSet, options: dict[str, Any]) -> Checkpoint:
    """A checkpoint with random weights, ready to be trained.

    Args:
        labels: the classes.
        options: as for :func:`build`.
    """
    size = {"height": PIPELINE_SIZE, "width": PIPELINE_SIZE}
    processor = SegformerImageProcessor(size=size, do_reduce_labels=False)
    preprocessing = Preprocessing(longest_side=CELLS_LONGEST_SIDE, multiple=MULTIPLE)
    return Checkpoint("segformer", build(len(labels), options).eval(), labels, preprocessing, dict(options), processor)


def load(folder: Path) -> Checkpoint:
    """A checkpoint folder written by :func:`save` or by transformers' ``save_pretrained``. No remote code is ever run.

    Args:
        folder: config.json, model.safetensors and preprocessor_config.json.

    Raises:
        BadCheckpointError: a model type that is not supported, absurd sizes, or weights that do not fit the config.
        EncoderOnlyError: an encoder without a segmentation head.
    """
    config = files.read_json(folder, files.CONFIG)
    refuse_encoder(config, lambda: stored_names(folder))
    options, count = options_from_config(config)
    described = config_of(count, options)
    processor_data = image_processor.processor_data(folder)
    ours = processor_data.get(OUR_KEY)
    ours = ours if isinstance(ours, dict) else {}
    processor = image_processor.read_processor(folder, processor_data, described)
    colours = image_processor.colours_of(processor)
    notes: list[str | None] = []
    if ours.get("longest_side") is None:
        # A size or a resampling that it cannot do is the file's fault, and is said now, not at the first picture.
        image_processor.pixels_as_seen(processor, np.zeros((32, 48, 3), np.uint8))
        processor, note = image_processor.without_cropping(processor, colours)
        notes.append(note)
        if options["model_type"] not in ANY_SIZE:
            takes = Takes(lambda: from_config(count, options), forward)
            processor, note = image_processor.fitting(processor, takes, own_size(described))
            notes.append(note)
    preprocessing = image_processor.preprocessing_of(processor, colours, ours)
    wanted = shapes_of(lambda: from_config(count, options), f"{options['model_type']} model")
    state, inside = own_names(read_weights(folder), wanted)
    options, count = settled(options, count, state, wanted)
    labels, named = label_set(config, ours, count)
    module, left = read_module(options, count, state)
    said = (*(note for note in notes if note is not None), *named, *inside, *left)
    return Checkpoint("segformer", module.eval(), labels, preprocessing, options, processor, said)


def save(checkpoint: Checkpoint, folder: Path, half: bool = False) -> None:
    """Write the folder that transformers' Auto classes and ``pipeline("image-segmentation")`` load.

    Args:
        checkpoint: of this network.
        folder: exists.
        half: weights as fp16; config.json says float32, so transformers casts them back on loading.
    """
    described = names.labels_to_dict(checkpoint.labels)
    module = checkpoint.module
    binary = checkpoint.options.get("binary")
    module.config.id2label = {0: checkpoint.labels.names[1]} if binary else dict(enumerate(checkpoint.labels.names))
    module.config.label2id = {name: index for index, name in module.config.id2label.items()}
    state = {name: tensor.detach().cpu() for name, tensor in module.state_dict().items()}
    if half:
        state = {name: tensor.half() if tensor.is_floating_point() else tensor for name, tensor in state.items()}
    with quiet():
        module.save_pretrained(folder, state_dict=state, max_shard_size="50GB")
    # transformers would load weights in the file's own type, and half precision is slow or missing on a CPU.
    files.write_json(folder, files.CONFIG, {**files.read_json(folder, files.CONFIG), "dtype": "float32"})
    data = {} if checkpoint.processor is None else image_processor.to_json(checkpoint.processor)
    ours: dict[str, Any] = {"colors": described["colors"], "background": described["background"]}
    if _by_itself(checkpoint):
        ours |= {"longest_side": checkpoint.preprocessing.longest_side, "multiple": checkpoint.preprocessing.multiple}
    files.write_json(folder, files.PREPROCESSOR, {**data, OUR_KEY: ours})


def preprocess(checkpoint: Checkpoint, image: np.ndarray) -> Tensor:
    """An upload as the network sees it: through the checkpoint's image processor, or at its own size (see the module).

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        float32 (1, 3, h, w) on the CPU.
    """
    if _by_itself(checkpoint):
        return to_batch(image, checkpoint.preprocessing)
    processor = checkpoint.processor
    if image_processor.is_plain(processor) and processor.do_resize and checkpoint.preprocessing.size is not None:
        # Its own resize of the pixels as they lie in memory; by itself it would copy all of them three times before that.
        pixels = torch.from_numpy(image).permute(2, 0, 1)[None]
        (resized,) = processor.resize(image=pixels, size=processor.size, resample=processor.resample)
        how = {"do_resize": False, "input_data_format": "channels_first", "return_tensors": "pt"}
        return processor(images=resized, **how)["pixel_values"].float()
    # A PIL image, because an array of 3 x W x 3 could be channels first or last. What neither scales nor normalises leaves bytes.
    return processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"].float()


def pixels_as_seen(checkpoint: Checkpoint, image: np.ndarray) -> np.ndarray:
    """An upload's pixels at the size in which the network sees them, padding apart: what training varies.

    Args:
        checkpoint: of this network.
        image: uint8 (H, W, 3), RGB.

    Returns:
        uint8 (h, w, 3), RGB.
    """
    if _by_itself(checkpoint):
        return base.pixels_as_seen(checkpoint, image)
    return image_processor.pixels_as_seen(checkpoint.processor, image)


def forward(module: nn.Module, batch: Tensor) -> Tensor:
    """Logits of a batch as the network gives them, not resized; differentiable.

    Args:
        module: of this network.
        batch: (B, 3, h, w), normalised.

    Returns:
        (B, C, h', w') logits; SegFormer's are at a quarter of the batch, or half for :func:`default_options`.
    """
    return module(pixel_values=batch).logits


def forward_with_maps(module: nn.Module, batch: Tensor) -> tuple[Tensor, list[Tensor]]:
    """As :func:`forward`, with the encoder's maps, the largest left out.

    Args:
        module: a SegFormer.
        batch: as for :func:`forward`.
    """
    found = module(pixel_values=batch, output_hidden_states=True)
    return found.logits, list(found.hidden_states[1:])


def postprocess(checkpoint: Checkpoint, raw: Tensor, height: int, width: int, confidence: bool = False) -> Segmentation:
    """Logits to the label map at the size of the upload.

    Args:
        checkpoint: of this network.
        raw: (1, C, h', w') logits.
        height: of the upload, in pixels.
        width: of the upload, in pixels.
        confidence: also how sure the network is of every pixel.

    Raises:
        BadCheckpointError: the network returned NaN.
    """
    if not _by_itself(checkpoint):
        return semantic_from_logits(raw[0], checkpoint.labels, height, width, confidence=confidence)
    # The image may end in the middle of a cell of the logit grid: the padding is cut off after the resize, not before.
    rule = checkpoint.preprocessing
    rows, columns = rule.fitted(height, width)
    padded_height = round((rows + -rows % rule.multiple) * height / rows)
    padded_width = round((columns + -columns % rule.multiple) * width / columns)
    return semantic_from_logits(raw[0], checkpoint.labels, height, width, (padded_height, padded_width), confidence)


def head_prefixes(checkpoint: Checkpoint) -> tuple[str, ...]:
    """Names of the parameters that depend on the number of classes: those whose shape changes with it."""
    options = {key: value for key, value in checkpoint.options.items() if key != "binary"}
    count = 1 if checkpoint.options.get("binary") else len(checkpoint.labels)
    return class_dependent(lambda classes: from_config(classes, options), count)


def replace_head(checkpoint: Checkpoint, labels: LabelSet) -> Checkpoint:
    """The same network for other classes: a fresh classifier, everything else kept.

    Args:
        checkpoint: stays as it is.
        labels: the new classes.
    """
    options = {key: value for key, value in checkpoint.options.items() if key != "binary"}
    module = build(len(labels), options).eval()
    copy_matching(checkpoint.module, module, head_prefixes(checkpoint))
    processor = copy.deepcopy(checkpoint.processor)
    if getattr(processor, "do_reduce_labels", False):
        # ADE20K's masks count from 1, and whoever trains on with the plain library would have the new classes shifted.
        processor.do_reduce_labels = False
    return replace(checkpoint, module=module, labels=labels, options=options, processor=processor)


def card_snippet(checkpoint: Checkpoint, source: str) -> str:
    """Code that loads the checkpoint with plain transformers.

    Args:
        checkpoint: of this network.
        source: folder or Hub id.
    """
    return f"""from transformers import pipeline

segment = pipeline("image-segmentation", model="{source}")
# segment("image.png") → [{{"label": ..., "mask": PIL image}}, ...]
model, processor = segment.model, segment.image_processor
"""


def _by_itself(checkpoint: Checkpoint) -> bool:
    """Whether an image keeps its size up to a longest side, instead of going through the processor."""
    rule = checkpoint.preprocessing
    capped = rule.longest_side is not None and rule.size is None and rule.shortest_side is None
    return checkpoint.processor is None or capped
