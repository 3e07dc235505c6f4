"""transformers' networks that are clicked: SAM, SAM-HQ, SAM 2, EdgeTAM and the image part of SAM 3's tracker.

The picture is encoded once; a prompt runs the decoder alone. Masks and scores are those of plain transformers: of the processor's
coordinates, ``model(..., multimask_output=...)``, and ``post_process_masks`` at the size of the upload. One click may mean a thing or a
part of it: then the network makes three guesses, of which the one counts that it takes for the best, as in the authors' demo; where a
box, more clicks or an earlier mask say which, it makes one (Kirillov et al. 2023, arXiv 2304.02643, section 3 and appendix A).

Unlike the processor, prompts are never padded to a common number of points: padding changes the answer, because the decoder attends
to it.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.requests import Prompt
from seg_demo.masks.instances import Resized
from seg_demo.masks.semantic import all_finite
from seg_demo.networks import FAMILIES
from seg_demo.networks.promptable import Answer
from seg_demo.networks.transformers_prompts import TransformersPrompts, image_side

# A mask that comes as yes and no becomes logits as in SAM 2's ``_use_mask_as_output``: sigmoid(-10) is next to nothing.
SURE = 10.0
# How far the threshold moves in the measure of steadiness, as in segment_anything/automatic_mask_generator.py.
OFFSET = 1.0
PARTS = ("vision_config", "prompt_encoder_config", "mask_decoder_config", "initializer_range")


class MaskGeneration(TransformersPrompts):
    """A network of the family of Segment Anything."""

    # In which type the processor hands coordinates on.
    coordinates: ClassVar[torch.dtype] = torch.float64

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> dict[str, Any]:
        """What the decoder wants to know of a picture, as arguments of the module: tensors, or lists of them.

        Args:
            module: of this network.
            batch: float32 (1, 3, s, s), normalised.
        """
        return {"image_embeddings": module.get_image_embeddings(batch)}

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """By how much x and y of an upload are multiplied for the network."""
        raise NotImplementedError

    def cell(self, height: int, width: int) -> float:
        """As :meth:`PromptNetwork.cell`: an upload that is shrunk has more to show."""
        factor = min(self.scale(height, width))
        return 0.0 if factor >= 1 else image_side(self.module.config) / self.module.prompt_encoder.image_embedding_size[0] / factor

    def fit(self, logits: Tensor, size: tuple[int, int], together: int) -> Resized:
        """A mask as the processor's ``post_process_masks`` enlarges it.

        Args:
            logits: float32 (h, w) on the CPU.
            size: (height, width) of the upload.
            together: how many guesses the network made.
        """
        return Resized(logits.numpy(), size, together=together)

    def prompted_mask(self, mask: np.ndarray) -> Tensor:
        """Logits as the network takes them as an earlier mask: float32 (1, 1, h, w).

        Args:
            mask: bool (H, W), of the size of the upload.
        """
        side = self.mask_side
        inside = torch.from_numpy(mask)[None, None].float()
        return (F.interpolate(inside, (side, side), mode="bilinear", align_corners=False, antialias=True) * 2 - 1) * SURE

    @property
    def mask_side(self) -> int:
        """The side of the masks that it makes and takes: a quarter of an embedding's cell is a pixel."""
        return 4 * self.module.prompt_encoder.image_embedding_size[0]

    def candidates(
        self, embedding: Any, size: tuple[int, int], prompts: Sequence[Prompt], earlier: Tensor | np.ndarray | None
    ) -> list[list[Answer]]:
        """As :meth:`PromptNetwork.candidates`: three guesses at a single click, one at everything else."""
        device = next(self.module.parameters()).device
        kind = torch.float32 if device.type == "mps" else self.coordinates
        factor = torch.tensor(self.scale(*size), dtype=torch.float64)
        asked: dict[str, Any] = {}
        if prompts[0].points:
            points = torch.tensor([[prompt.points for prompt in prompts]], dtype=self.coordinates)
            asked["input_points"] = (points * factor).to(kind).to(device)
            asked["input_labels"] = torch.tensor([[prompt.labels for prompt in prompts]], device=device)
        if prompts[0].box is not None:
            # Boxes are single precision before they are scaled in every processor.
            boxes = torch.tensor([[prompt.box for prompt in prompts]], dtype=torch.float32)
            asked["input_boxes"] = (boxes.to(self.coordinates) * factor.repeat(2)).to(kind).to(device)
        if earlier is not None:
            given = earlier if isinstance(earlier, Tensor) else self.prompted_mask(earlier)
            asked["input_masks"] = given.to(device)
        ambiguous = len(prompts[0].points) == 1 and prompts[0].box is None and earlier is None
        found = self.module(**embedding, **asked, multimask_output=ambiguous)
        maps, scores = found.pred_masks[0].float().cpu(), found.iou_scores[0].float().cpu()
        if not (all_finite(maps) and all_finite(scores)):
            raise BadCheckpointError("models.invalid_numbers")
        return [
            [self._answer(logits, float(score), size, maps.shape[1]) for logits, score in zip(guesses, sure, strict=True)]
            for guesses, sure in zip(maps, scores, strict=True)
        ]

    def _answer(self, logits: Tensor, score: float, size: tuple[int, int], together: int) -> Answer:
        outer = int((logits > -OFFSET).sum())
        steadiness = int((logits > OFFSET).sum()) / outer if outer else 1.0
        # A copy: a view would keep the guesses at all other prompts.
        logits = logits.clone()
        return Answer(self.fit(logits, size, together), min(1.0, max(0.0, round(score, 6))), steadiness, logits=logits[None, None])


class Sam(MaskGeneration):
    """SAM (Kirillov et al. 2023, arXiv 2304.02643): pictures keep their shape and are padded to a square."""

    family = FAMILIES["sam"]

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SAM of a few million parameters."""
        vision = {"hidden_size": 96, "num_hidden_layers": 4, "num_attention_heads": 4, "global_attn_indexes": [1, 3], "mlp_dim": 192}
        return {"model_type": "sam", **_square(vision, 512)}

    @classmethod
    def fitted(cls, processor: Any, config: Any) -> Any:
        """As the class says: the longer side is that of the square, and the rest is padded."""
        side = image_side(config)
        own = type(processor)(size={"longest_edge": side}, pad_size={"height": side, "width": side})
        longest = (processor.size or {}).get("longest_edge")
        if not (processor.do_resize and longest and longest <= side):
            processor.do_resize, processor.size = True, own.size
        processor.do_pad, processor.pad_size = True, own.pad_size
        return processor

    def _shape(self, height: int, width: int) -> tuple[int, int]:
        """(height, width) that a picture has in the square, rounded as the processor rounds it."""
        factor = self.processor.size["longest_edge"] * 1.0 / max(height, width)
        return int(height * factor + 0.5), int(width * factor + 0.5)

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """As the processor's ``_normalize_coordinates``."""
        tall, wide = self._shape(height, width)
        return wide / width, tall / height

    def fit(self, logits: Tensor, size: tuple[int, int], together: int) -> Resized:
        """To the square, of which the padding is cut off, and then to the upload."""
        side = image_side(self.module.config)
        return Resized(logits.numpy(), size, (side, side), self._shape(*size), together)

    def prompted_mask(self, mask: np.ndarray) -> Tensor:
        """As :meth:`MaskGeneration.prompted_mask`: above left in the square, nothing in the padding."""
        side, large = self.mask_side, image_side(self.module.config)
        tall, wide = (max(1, math.ceil(length * side / large)) for length in self._shape(*mask.shape))
        inside = F.interpolate(torch.from_numpy(mask)[None, None].float(), (tall, wide), mode="bilinear", align_corners=False, antialias=True)
        return (F.pad(inside, (0, side - wide, 0, side - tall)) * 2 - 1) * SURE


class SamHq(Sam):
    """SAM-HQ (Ke et al. 2023, arXiv 2306.01567), whose decoder also looks at an early layer of the encoder."""

    family = FAMILIES["sam_hq"]

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SAM-HQ of a few million parameters."""
        options = {**Sam.default_options(), "model_type": "sam_hq"}
        return {**options, "mask_decoder_config": {"vit_dim": options["vision_config"]["hidden_size"]}}

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> dict[str, Any]:
        """As :meth:`MaskGeneration.forward`, with the early layer; the later ones are not looked at."""
        found, layers = module.get_image_embeddings(batch)
        return {"image_embeddings": found, "intermediate_embeddings": list(layers[:1])}


class Sam2(MaskGeneration):
    """SAM 2 and 2.1 (Ravi et al. 2024, arXiv 2408.00714) for single pictures, which are stretched to a square."""

    family = FAMILIES["sam2"]
    coordinates = torch.float32

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SAM 2 of a few million parameters."""
        backbone = {
            "model_type": "sam2_hiera_det_model",
            "hidden_size": 48,
            "blocks_per_stage": [1, 1, 2, 1],
            "embed_dim_per_stage": [48, 96, 192, 384],
            "global_attention_blocks": [3],
            "image_size": [512, 512],
        }
        vision = {"model_type": "sam2_vision_model", "backbone_config": backbone, "backbone_channel_list": [384, 192, 96, 48]}
        vision["backbone_feature_sizes"] = [[128, 128], [64, 64], [32, 32]]
        return {"model_type": "sam2", "vision_config": vision, "prompt_encoder_config": {"image_size": 512, "patch_size": 16}}

    @classmethod
    def plain_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of a network that tracks objects through videos: what looks at a single picture."""
        return {"model_type": cls.family.name, **{key: config[key] for key in PARTS if key in config}}

    @classmethod
    def fitted(cls, processor: Any, config: Any) -> Any:
        """As the class says."""
        side = image_side(config)
        processor.do_resize, processor.size = True, type(processor)(size={"height": side, "width": side}).size
        return processor

    def scale(self, height: int, width: int) -> tuple[float, float]:
        """As the processor's ``_normalize_coordinates``."""
        side = image_side(self.module.config)
        return side / width, side / height


class EdgeTam(Sam2):
    """EdgeTAM (Zhou et al. 2025, arXiv 2501.07256): SAM 2 with a small convolutional encoder, one of timm's."""

    family = FAMILIES["edgetam"]

    @staticmethod
    def default_options() -> dict[str, Any]:
        """An EdgeTAM as published, for smaller pictures."""
        backbone = {
            "model_type": "timm_wrapper",
            "architecture": "repvit_m1",
            "num_classes": 2,
            "model_args": {"in_chans": 3, "features_only": True, "out_indices": [0, 1, 2, 3]},
        }
        vision = {"model_type": "edgetam_vision_model", "backbone_config": backbone}
        vision["backbone_feature_sizes"] = [[128, 128], [64, 64], [32, 32]]
        return {"model_type": "edgetam", "vision_config": vision, "prompt_encoder_config": {"image_size": 512, "patch_size": 16}}


class Sam3Tracker(Sam2):
    """What SAM 3 (Meta 2025) answers to clicks and boxes: its tracker, for single pictures."""

    family = FAMILIES["sam3_tracker"]

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A SAM 3 tracker of a few million parameters."""
        backbone = {
            "model_type": "sam3_vit_model",
            "hidden_size": 96,
            "intermediate_size": 192,
            "num_hidden_layers": 4,
            "num_attention_heads": 4,
            "global_attn_indexes": [3],
            "image_size": 504,
            "window_size": 12,
            "pretrain_image_size": 336,
        }
        vision = {"model_type": "sam3_vision_model", "backbone_config": backbone, "backbone_feature_sizes": [[144, 144], [72, 72], [36, 36]]}
        return {"model_type": "sam3_tracker", "vision_config": vision, "prompt_encoder_config": {"image_size": 504, "patch_size": 14}}

    @classmethod
    def plain_config(cls, config: Mapping[str, Any]) -> dict[str, Any]:
        """Of SAM 3 as it is published, with a detector that takes words (:mod:`seg_demo.networks.sam3`): its tracker."""
        tracker = config.get("tracker_config")
        return super().plain_config(tracker if isinstance(tracker, dict) else config)

    @classmethod
    def plain_weights(cls, state: dict[str, Tensor]) -> dict[str, Tensor]:
        """As ``transformers/conversion_mapping.py`` renames them: the tracker uses the detector's encoder."""
        if not any(name.startswith("tracker_model.") for name in state):
            return state
        found = {}
        for name, tensor in state.items():
            renamed = name.removeprefix("tracker_model.").replace("detector_model.vision_encoder.backbone.", "vision_encoder.backbone.")
            renamed = renamed.replace("tracker_neck.", "vision_encoder.neck.")
            if not renamed.startswith("detector_model."):
                found[renamed] = tensor
        return found


def _square(vision: dict[str, Any], side: int) -> dict[str, Any]:
    """The configs of a SAM for pictures of one side."""
    sizes = {"image_size": side, "patch_size": 16}
    return {"vision_config": {**vision, **sizes}, "prompt_encoder_config": sizes}
