"""CLIPSeg (Lüddecke and Ecker 2022, arXiv 2112.10003): a picture and words in, where they are out.

The picture is encoded once; words run the text encoder and a small decoder. Logits are those of plain transformers; its processor has no
post-processing, and what is done here is what the model's documentation shows: bilinear to the upload, a pixel is inside where its
probability is above one half.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, ClassVar

import numpy as np
from torch import Tensor, nn

from seg_demo.core import Prompt
from seg_demo.masks.instances import Resized
from seg_demo.networks.promptable import Answer
from seg_demo.networks.transformers_prompts import WordPrompts, image_side


class ClipSeg(WordPrompts, family="clipseg"):
    """CLIPSeg of transformers."""

    library_processor = "CLIPSegProcessor"
    trials: ClassVar[tuple[Prompt, ...]] = (Prompt(text="a"),)

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A CLIPSeg of a few million parameters."""
        layers = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
        vision, text = {**layers, "image_size": 224, "patch_size": 16}, {**layers, "vocab_size": 49408}
        return {
            "model_type": "clipseg", "vision_config": vision, "text_config": text, "projection_dim": 64, "extract_layers": [1, 2, 3],
            "reduce_dim": 32, "decoder_num_attention_heads": 4, "decoder_intermediate_size": 64,
        }  # fmt: skip

    @classmethod
    def fitted(cls, processor: Any, config: Any) -> Any:
        """Squares alone can be decoded; of any size, for the table of positions is stretched."""
        size = processor.size or {}
        side = size.get("height") or size.get("shortest_edge") or image_side(config)
        patch = config.vision_config.patch_size
        processor.do_resize, processor.size = True, type(processor)(size={"height": max(patch, side), "width": max(patch, side)}).size
        if hasattr(processor, "do_center_crop"):
            processor.do_center_crop = False
        return processor

    @classmethod
    def framed(cls, preprocessing: Any, config: Any) -> Any:
        """The processor's own square."""
        return preprocessing

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> list[Tensor]:
        """The layers of the picture's encoder that the decoder looks at: (1, N, C) each.

        Args:
            module: of this network.
            batch: float32 (1, 3, s, s), normalised.
        """
        seen = module.clip.get_image_features(batch, interpolate_pos_encoding=True, output_hidden_states=True)
        return [seen.hidden_states[layer + 1] for layer in module.extract_layers]

    def candidates(
        self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Tensor | np.ndarray | None
    ) -> list[list[Answer]]:
        """As :meth:`PromptNetwork.candidates`: one guess at every text, none where it is nowhere."""
        device = next(self.module.parameters()).device
        words = [prompt.text for prompt in prompts]
        limit = self.module.config.text_config.max_position_embeddings
        tokens = self.tokenizer(words, padding=True, truncation=True, max_length=limit, return_tensors="pt").to(device)
        meaning = self.module.get_conditional_embeddings(len(words), tokens["input_ids"], tokens["attention_mask"])
        layers = [layer.expand(len(words), -1, -1) for layer in embedding]
        logits = self.module.decoder(layers, meaning).logits.float().reshape(len(words), *self._grid(layers[0])).cpu()
        self.check_finite(logits)
        return [self._answers(text, one.clone(), size) for text, one in zip(words, logits, strict=True)]

    def _grid(self, layer: Tensor) -> tuple[int, int]:
        """(height, width) of the decoder's logits."""
        side = round((layer.shape[1] - 1) ** 0.5) * self.module.config.vision_config.patch_size
        return side, side

    def _answers(self, text: str, logits: Tensor, size: tuple[int, int]) -> list[Answer]:
        inside = logits > 0
        if not bool(inside.any()):
            return []
        return [Answer(Resized(logits.numpy(), size), round(float(logits[inside].sigmoid().mean()), 6), label=text)]
