"""Promptable networks of transformers: how their folders are read, written and preprocessed.

Beside :mod:`seg_demo.networks.promptable`, which knows no library: whoever asks a network of another kind does not wait for this one.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
from PIL import Image
from torch import Tensor, nn
from transformers import CLIPTokenizer

from seg_demo.core import BadCheckpointError, LabelSet
from seg_demo.networks import checkpoint, transformers_config
from seg_demo.networks.promptable import OBJECT, PromptNetwork
from seg_demo.networks.transformers_config import config_of, from_config, options_from_config, read_module
from seg_demo.networks.weights import own_names, read_weights, shapes_of


class TransformersPrompts(PromptNetwork):
    """A promptable network of transformers: the folder is the library's own, and its image processor preprocesses.

    Attributes:
        library_processor: name of the library's class that prepares pictures and prompts.
    """

    library_processor: ClassVar[str] = "AutoImageProcessor"

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
        return cls.read(folder, checkpoint.read_json(folder, checkpoint.CONFIG), partial(read_weights, folder))

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any], stored: Callable[[], dict[str, Tensor]]) -> Self:
        """As :meth:`load`, of files that are read already.

        Args:
            folder: of the other files.
            config: content of config.json.
            stored: gives the weights by their names in the file; called once the config has been checked.

        Raises:
            BadCheckpointError: as :meth:`load`.
        """
        options, _ = options_from_config(cls.plain_config(config))
        options.pop("binary", None)
        described = config_of(2, options)
        processor = transformers_config.read_processor(folder, checkpoint.processor_data(folder), described)
        processor = cls.fitted(processor, described)
        preprocessing = transformers_config.preprocessing_of(processor, transformers_config.colours_of(processor), {})
        wanted = shapes_of(lambda: from_config(2, options), f"{options['model_type']} model")
        state, inside = own_names(cls.plain_weights(stored()), wanted)
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

    @staticmethod
    def memory_per_pixel(tiled: bool, confidence: bool) -> int:
        """The masks that are kept and the id map."""
        return 8

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with plain transformers.

        Args:
            source: folder or Hub id.
        """
        return transformers_config.loading_code(type(self.module).__name__, self.library_processor, source)

    def preprocess(self, image: np.ndarray) -> Tensor:
        """An upload through the checkpoint's image processor.

        Args:
            image: uint8 (H, W, 3), RGB.

        Returns:
            float32 (1, 3, s, s) on the CPU.
        """
        # A PIL image, because an array of 3 x W x 3 could be channels first or last.
        return self.processor(images=Image.fromarray(image), return_tensors="pt")["pixel_values"].float()


@dataclass
class WordPrompts(TransformersPrompts):
    """A promptable network of transformers that reads words as CLIP does.

    Attributes:
        tokenizer: of its words; None where it has just been made.
    """

    tokenizer: Any = None

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any], stored: Callable[[], dict[str, Tensor]]) -> Self:
        """As :meth:`TransformersPrompts.read`, with the tokenizer.

        Raises:
            BadCheckpointError: also for a tokenizer that is missing or has more words than the network.
        """
        found = super().read(folder, config, stored)
        try:
            found.tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)
        except Exception as error:  # whatever a strange file makes transformers raise, it is the file's fault
            raise BadCheckpointError("checkpoints.no_tokenizer", why=checkpoint.library_message(error, folder)) from error
        known = found.module.config.text_config.vocab_size
        if not 3 < len(found.tokenizer) <= known:
            raise BadCheckpointError("checkpoints.other_tokenizer", count=len(found.tokenizer), known=known)
        return found

    def write(self, folder: Path, half: bool) -> None:
        """As :meth:`TransformersPrompts.write`, with the tokenizer."""
        super().write(folder, half)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)


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
