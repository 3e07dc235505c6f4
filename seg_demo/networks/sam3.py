"""SAM 3 (Carion et al. 2025, "SAM 3: Segment Anything with Concepts"): words or a box in, everything out that is of that kind.

Its detector encodes a picture once; words, or a box around an example, run the text encoder and a DETR. As published it shares the
encoder with a tracker that answers clicks (:class:`seg_demo.networks.sam.Sam3Tracker`). Masks and scores are those of plain
transformers: of ``Sam3Processor``, of ``Sam3Model`` for one text at a time, and of ``post_process_instance_segmentation``. Its
masks are resized as probabilities, all that were found at once; here only around each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
from torch import Tensor, nn
from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

from seg_demo.core import requests
from seg_demo.core.errors import BadCheckpointError, BadRequestError
from seg_demo.core.requests import Prompt
from seg_demo.masks.instances import Resized
from seg_demo.masks.semantic import all_finite
from seg_demo.networks import FAMILIES, checkpoint, transformers_config
from seg_demo.networks.promptable import OBJECT, Answer
from seg_demo.networks.sam import Sam2, Sam3Tracker
from seg_demo.networks.transformers_config import from_config, loading_code
from seg_demo.networks.transformers_prompts import WordPrompts
from seg_demo.networks.weights import write_state

# As ``Sam3Processor`` and ``post_process_instance_segmentation`` have them: tokens of a text; what it is where a box alone shows what to
# look for; the score above which a thing counts; the probability above which a pixel is inside.
TOKENS, EXAMPLE, LEAST_SCORE, INSIDE = 32, "visual", 0.3, 0.5
# Of more than three maps the library resizes each alike.
ALIKE = 4
# Names of the weights as published.
DETECTOR, TRACKER, NECK = "detector_model.", "tracker_model.", "tracker_neck."
# Names in the tracker by itself.
_BACKBONE, _NECK = "vision_encoder.backbone.", "vision_encoder.neck."


class Sam3Words(WordPrompts):
    """SAM 3's detector, for single pictures."""

    family: ClassVar = FAMILIES["sam3_words"]
    library_processor = "Sam3Processor"
    trials: ClassVar[tuple[Prompt, ...]] = (Prompt(text="a"), Prompt(box=(0, 0, 1, 1)))

    fitted = Sam2.fitted

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SAM 3 detector of a few million parameters."""
        layers = {"hidden_size": 64, "intermediate_size": 128, "num_layers": 2, "num_attention_heads": 4}
        text = {"hidden_size": 64, "intermediate_size": 128, "num_hidden_layers": 4, "num_attention_heads": 4}
        vision = {**Sam3Tracker.default_options()["vision_config"], "fpn_hidden_size": 64}
        return {
            "model_type": "sam3", "vision_config": vision, "geometry_encoder_config": layers, "detr_encoder_config": layers,
            "text_config": {"model_type": "clip_text_model", "vocab_size": 49408, "max_position_embeddings": TOKENS, "projection_dim": 64, **text},
            "detr_decoder_config": {**layers, "num_queries": 100}, "mask_decoder_config": {"hidden_size": 64, "num_attention_heads": 4},
        }  # fmt: skip

    @classmethod
    def plain_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of SAM 3 as it is published: its detector."""
        detector = config.get("detector_config")
        return {"model_type": "sam3", **detector} if isinstance(detector, dict) else dict(config)

    @classmethod
    def plain_weights(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """Likewise."""
        inside = {name.removeprefix(DETECTOR): tensor for name, tensor in state.items() if name.startswith(DETECTOR)}
        return inside or state

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> dict[str, Any]:
        """What the detector wants to know of a picture: its three maps (1, C, h, w), the finest first, and the table of positions
        of the last.

        Args:
            module: of this network.
            batch: float32 (1, 3, s, s), normalised.
        """
        return seen_by_detector(module.vision_encoder(batch))

    def candidates(
        self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Tensor | np.ndarray | None
    ) -> list[list[Answer]]:
        """As :meth:`PromptNetwork.candidates`: everything that a text, a box or both mean, the surest first. One after the other: of
        several at once the library would keep as many copies of the picture's maps.

        Raises:
            BadRequestError: a text of more tokens than the network reads.
        """
        return [self._found(embedding, size, prompt) for prompt in prompts]

    def _found(self, embedding: Any, size: tuple[int, int], prompt: Prompt) -> list[Answer]:
        requests.check()
        device = next(self.module.parameters()).device
        asked: dict[str, Tensor] = dict(self._tokens(prompt.text or EXAMPLE))
        if prompt.box is not None:
            x0, y0, x1, y1 = (torch.tensor(prompt.box) / torch.tensor([*size[::-1], *size[::-1]])).unbind()
            asked["input_boxes"] = torch.stack([(x0 + x1) / 2, (y0 + y1) / 2, x1 - x0, y1 - y0])[None, None]
            asked["input_boxes_labels"] = torch.ones((1, 1), dtype=torch.int64)
        # The library leaves out the coarsest map, and asks for the positions of the last alone.
        maps = Sam3VisionEncoderOutput(fpn_hidden_states=(*embedding["maps"], None), fpn_position_encoding=(embedding["positions"], None))
        found = self.module(vision_embeds=maps, **{name: tensor.to(device) for name, tensor in asked.items()})
        scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0].float().cpu()
        kept = scores > LEAST_SCORE
        logits = found.pred_masks[0].float().cpu()[kept]
        if not (all_finite(scores) and all_finite(logits)):
            raise BadCheckpointError("models.invalid_numbers")
        masks = logits.sigmoid()
        label = OBJECT if prompt.box is not None and prompt.text in ("", EXAMPLE) else prompt.text
        answers = [
            Answer(Resized(mask.clone().numpy(), size, together=min(len(masks), ALIKE), threshold=INSIDE), min(1.0, round(score, 6)), label=label)
            for mask, score in zip(masks, scores[kept].tolist(), strict=True)
        ]
        return sorted(answers, key=lambda answer: -answer.score)

    def _tokens(self, text: str) -> Mapping[str, Tensor]:
        """A text's tokens (1, T) and which of them count."""
        most = min(TOKENS, self.module.config.text_config.max_position_embeddings)
        if (count := len(self.tokenizer(text)["input_ids"])) > most:
            raise BadRequestError("prompts.too_many_tokens", count=count, most=most)
        return self.tokenizer([text], padding="max_length", max_length=most, return_tensors="pt")


def seen_by_detector(seen: Any) -> dict[str, Any]:
    """As :meth:`Sam3Words.forward`, of what the detector's vision encoder gives."""
    return {"maps": list(seen.fpn_hidden_states[:-1]), "positions": seen.fpn_position_encoding[-2]}


class Sam3Parts(nn.Module):
    """A detector and a tracker with one encoder, which is the detector's, and a neck for each.

    Args:
        detector: ``Sam3Model`` of transformers.
        tracker: ``Sam3TrackerModel``; its encoder goes.
    """

    def __init__(self, detector: nn.Module, tracker: nn.Module) -> None:
        super().__init__()
        self.detector_model, self.tracker_model = detector, tracker
        tracker.vision_encoder.backbone = detector.vision_encoder.backbone
        # Of what both are preprocessed for.
        self.config = detector.config

    def named_weights(self) -> dict[str, Tensor]:
        """Every weight once, by its name as published."""
        found = {DETECTOR + name: tensor for name, tensor in self.detector_model.state_dict().items()}
        for name, tensor in self.tracker_model.state_dict().items():
            if name.startswith(_NECK):
                found[NECK + name.removeprefix(_NECK)] = tensor
            elif not name.startswith(_BACKBONE):
                found[TRACKER + name] = tensor
        return found


class Sam3(WordPrompts):
    """SAM 3 as it is published: words, examples and clicks about a picture that is encoded once."""

    family: ClassVar = FAMILIES["sam3"]
    trials: ClassVar[tuple[Prompt, ...]] = (Prompt(text="a"), Prompt(points=((0, 0),), labels=(1,)))

    fitted = Sam2.fitted

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SAM 3 of a few million parameters."""
        return {"model_type": "sam3_video", "detector_config": Sam3Words.default_options(), "tracker_config": Sam3Tracker.default_options()}

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """As :meth:`TransformersPrompts.build`, both parts."""
        return Sam3Parts(*(from_config(num_classes, options[key]) for key in ("detector_config", "tracker_config")))

    @classmethod
    def read(cls, folder: Path, config: Mapping[str, Any], stored: Callable[[], dict[str, Tensor]]) -> Self:
        """As :meth:`WordPrompts.read`. Whatever the tracker says of the encoder, it is the detector's, as in ``Sam3VideoModel``."""
        stored, tracker = cache(stored), config.get("tracker_config")
        detector = Sam3Words.plain_config(config)
        if isinstance(tracker, dict) and "vision_config" in detector:
            config = {**config, "tracker_config": {**tracker, "vision_config": detector["vision_config"]}}
        words, clicks = (part.read(folder, config, stored) for part in (Sam3Words, Sam3Tracker))
        options = {"model_type": config["model_type"], "detector_config": words.options, "tracker_config": clicks.options}
        module, notes = Sam3Parts(words.module, clicks.module), tuple(dict.fromkeys((*words.notes, *clicks.notes)))
        return cls(module.eval(), clicks.labels, clicks.preprocessing, options, clicks.processor, notes, tokenizer=words.tokenizer)

    def write(self, folder: Path, half: bool) -> None:
        """The files that transformers' ``Sam3Model`` and ``Sam3TrackerModel`` load."""
        tracker = {**self.options["tracker_config"], "model_type": "sam3_tracker_video"}
        described = {**self.options, "tracker_config": tracker, "architectures": ["Sam3VideoModel"], "dtype": "float32"}
        checkpoint.write_json(folder, checkpoint.CONFIG, described)
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, transformers_config.to_json(self.processor))
        write_state(self.module.named_weights(), folder, half)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)

    def card_snippet(self, source: str) -> str:
        """As :meth:`TransformersPrompts.card_snippet`, for words and for clicks."""
        clicks = loading_code("Sam3TrackerModel", "Sam3TrackerProcessor", source)
        clicks = clicks.replace("\nmodel = ", "\ntracker = ").replace("\nprocessor = ", "\ntracker_processor = ")
        return f"{loading_code('Sam3Model', 'Sam3Processor', source)}\n# And the part that answers clicks:\n{clicks}"

    @property
    def words(self) -> Sam3Words:
        """The part that answers words and examples, weights shared."""
        return Sam3Words(
            self.module.detector_model, self.labels, self.preprocessing, self.options["detector_config"], self.processor, tokenizer=self.tokenizer
        )  # fmt: skip

    @property
    def clicks(self) -> Sam3Tracker:
        """The part that answers clicks, boxes and earlier masks, weights shared."""
        return Sam3Tracker(self.module.tracker_model, self.labels, self.preprocessing, self.options["tracker_config"], self.processor)

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> dict[str, Any]:
        """What either part wants to know of a picture, from one look.

        Args:
            module: of this network.
            batch: float32 (1, 3, s, s), normalised.
        """
        detector, tracker = module.detector_model, module.tracker_model
        seen = detector.vision_encoder(batch)
        patch = detector.config.vision_config.backbone_config.patch_size
        height, width = (side // patch for side in batch.shape[-2:])
        maps = tracker.vision_encoder.neck(seen.last_hidden_state.unflatten(1, (height, width)).permute(0, 3, 1, 2))[0]
        return {"words": seen_by_detector(seen), "clicks": seen_by_tracker(tracker, maps)}

    def candidates(self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Any) -> list[list[Answer]]:
        """As :meth:`PromptNetwork.candidates`, of the part that answers such prompts: a box without words outlines what is in it."""
        if prompts[0].text:
            return self.words.candidates(embedding["words"], size, prompts, earlier)
        return self.clicks.candidates(embedding["clicks"], size, prompts, earlier)


def seen_by_tracker(tracker: nn.Module, maps: Sequence[Tensor]) -> dict[str, Any]:
    """As :meth:`seg_demo.networks.sam.MaskGeneration.forward`, of what the tracker's neck gives: ``get_image_embeddings`` of
    ``Sam3TrackerModel``, which begins with the picture.

    Args:
        tracker: of transformers.
        maps: (1, C, h, w) each, the finest first.
    """
    decoder = tracker.mask_decoder
    found = [decoder.conv_s0(maps[0]), decoder.conv_s1(maps[1]), *maps[2:]]
    # To the last, even where that is one more than the decoder looks at.
    found[-1] = found[-1] + tracker.no_memory_embedding.reshape(1, -1, 1, 1)
    return {"image_embeddings": found[: len(tracker.backbone_feature_sizes)]}
