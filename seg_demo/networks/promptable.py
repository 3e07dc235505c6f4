"""What a network is that answers clicks, boxes, earlier masks or words: it looks at a picture once, and then answers prompts.

A family of them is one file with a subclass of :class:`PromptNetwork`; sessions (:mod:`seg_demo.inference.prompting`) ask it.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from seg_demo.core.requests import Prompt
from seg_demo.core.types import LabelSet, Segmentation
from seg_demo.masks.instances import Resized
from seg_demo.networks import checkpoint, transformers_config
from seg_demo.networks.base import Network
from seg_demo.networks.transformers_config import config_of, from_config, options_from_config, read_module
from seg_demo.networks.weights import own_names, read_weights, shapes_of

# What an object is called that was clicked and not named.
OBJECT = "object"


@dataclass(frozen=True)
class Answer:
    """One guess at an object.

    Attributes:
        mask: where it is, at the size of the upload once it is asked for.
        score: in [0, 1], how good the network takes the mask to be.
        steadiness: in [0, 1], how little the mask changes with its threshold.
        label: what it is called.
        logits: what the same network takes as an earlier mask; None where it takes none.
    """

    mask: Resized
    score: float
    steadiness: float = 1.0
    label: str = OBJECT
    logits: Tensor | None = None


@dataclass
class PromptNetwork(Network):
    """A network that answers prompts, none of which are classes.

    Attributes:
        together: prompts of one kind that it answers at a time.
        trial: a prompt that it answers on every picture.
    """

    together: ClassVar[int] = 16
    trial: ClassVar[Prompt] = Prompt(points=((0, 0),), labels=(1,))

    @abstractmethod
    def candidates(
        self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Tensor | np.ndarray | None
    ) -> list[list[Answer]]:
        """The guesses at every prompt.

        Args:
            embedding: what :meth:`embed` made of the picture.
            size: (height, width) of the upload in pixels, in which prompts are.
            prompts: with as many points each, all with a box or none, all of words or none.
            earlier: of the only prompt an earlier mask of the object: ``Answer.logits``, or bool (height, width).
        """

    def embed(self, image: np.ndarray) -> Any:
        """What is computed once per picture: tensors on the module's device, in lists and dicts if need be.

        Args:
            image: uint8 (H, W, 3), RGB.
        """
        device = next(self.module.parameters()).device
        return self.forward(self.module, self.preprocess(image).to(device))

    def postprocess(self, raw: Any, height: int, width: int, confidence: bool = False) -> Segmentation:
        """Never called: a picture by itself has no answer."""
        raise NotImplementedError(f"{self.family.title} answers prompts, not pictures.")


class TransformersPrompts(PromptNetwork):
    """A promptable network of transformers: the folder is the library's own, and its image processor preprocesses."""

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """A network with random weights; never touches the Hub.

        Args:
            num_classes: means nothing here.
            options: keys of the transformers config, ``model_type`` among them.

        Raises:
            BadCheckpointError: a config that transformers refuses.
        """
        return from_config(num_classes, options)

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """As :meth:`Network.create`, with the image processor of its family."""
        module = cls.build(len(labels), options).eval()
        processor = cls.fitted(transformers_config.default_processor(module.config), module.config)
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        return cls(module, labels, cls.framed(preprocessing, module.config), dict(options), processor)

    @classmethod
    def load(cls, folder: Path) -> Self:
        """A checkpoint folder written by transformers' ``save_pretrained``. No remote code is ever run, and nothing is asked of the Hub.

        Args:
            folder: config.json, model.safetensors and preprocessor_config.json.

        Raises:
            BadCheckpointError: absurd sizes, or weights that do not fit the config.
        """
        config = cls.plain_config(checkpoint.read_json(folder, checkpoint.CONFIG))
        options, _ = options_from_config(config)
        options.pop("binary", None)
        described = config_of(2, options)
        processor = transformers_config.read_processor(folder, checkpoint.processor_data(folder), described)
        processor = cls.fitted(processor, described)
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        wanted = shapes_of(lambda: from_config(2, options), f"{options['model_type']} model")
        state, inside = own_names(cls.plain_weights(read_weights(folder)), wanted)
        module, left = read_module(options, 2, state)
        labels = LabelSet.from_names((OBJECT,))
        return cls(module.eval(), labels, cls.framed(preprocessing, described), options, processor, (*inside, *left))

    @classmethod
    def plain_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """The part of a config.json that describes the network, where that may be one of a larger one."""
        return dict(config)

    @classmethod
    def plain_weights(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """The weights of that part."""
        return state

    @classmethod
    @abstractmethod
    def fitted(cls, processor: Any, config: Any) -> Any:
        """The image processor of a checkpoint, with the one size that its network takes."""

    @classmethod
    def framed(cls, preprocessing: Any, config: Any) -> Any:
        """The preprocessing with the size that pictures have in the batch, padding included."""
        side = image_side(config)
        return replace(preprocessing, size=(side, side), shortest_side=None, longest_side=None)

    def write(self, folder: Path, half: bool) -> None:
        """The files that transformers' ``from_pretrained`` loads."""
        transformers_config.write_module(self.module, self.labels.names, folder, half)
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, transformers_config.to_json(self.processor))

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload through the checkpoint's image processor.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            float32 (1, 3, s, s) on the CPU.
        """
        # A PIL image, because an array of 3 x W x 3 could be channels first or last.
        return self.processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"].float()


def image_side(config: Any) -> int:
    """The side in pixels of the square that a network takes, by its config."""
    vision = config.vision_config
    for part in (config, vision, getattr(config, "prompt_encoder_config", None)):
        size = getattr(part, "image_size", None)
        if isinstance(size, (list, tuple)) and size:
            size = size[0]
        if isinstance(size, int) and size > 0:
            return size
    return 1024


def tensors_in(value: Any) -> list[Tensor]:
    """The tensors in nested lists, tuples and dicts."""
    if isinstance(value, torch.Tensor):
        return [value]
    if isinstance(value, Mapping):
        value = list(value.values())
    return [tensor for part in value for tensor in tensors_in(part)] if isinstance(value, (list, tuple)) else []
