"""transformers' networks of the family of Segment Anything: SAM, SAM-HQ, SAM 2, EdgeTAM and the image part of SAM 3's tracker are clicked; SAM 3's
detector takes words.

The picture is encoded once; a prompt runs the decoder alone. Masks and scores are those of plain transformers: of the processor's
coordinates, ``model(..., multimask_output=...)``, and ``post_process_masks`` at the size of the upload. One click may mean a thing or a
part of it: then the network makes three guesses, of which the one counts that it takes for the best, as in the authors' demo; where a
box, more clicks or an earlier mask say which, it makes one (Kirillov et al. 2023, arXiv 2304.02643, section 3 and appendix A).

Unlike the processor, prompts are never padded to a common number of points: padding changes the answer, because the decoder attends
to it.

SAM 3 (Carion et al. 2025, "SAM 3: Segment Anything with Concepts"): words or a box in, everything out that is of that kind. Its detector encodes
a picture once; words, or a box around an example, run the text encoder and a DETR. As published it shares the encoder with a tracker that
answers clicks (:class:`Sam3Tracker`). Masks and scores are those of plain transformers: of ``Sam3Processor``, of ``Sam3Model`` for one text at
a time, and of ``post_process_instance_segmentation``. Its masks are resized as probabilities, all that were found at once; here only around each.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from seg_demo.core import BadImageError, BadRequestError, Prompt, requests
from seg_demo.masks.instances import Resized
from seg_demo.networks import checkpoint, transformers_config
from seg_demo.networks.promptable import OBJECT, Answer
from seg_demo.networks.transformers_config import from_config, loading_code
from seg_demo.networks.transformers_prompts import TransformersPrompts, WordPrompts, image_side
from seg_demo.networks.weights import write_state

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
        self.check_finite(maps, scores)
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


class Sam(MaskGeneration, family="sam"):
    """SAM (Kirillov et al. 2023, arXiv 2304.02643): pictures keep their shape and are padded to a square."""

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

    def preprocess(self, image: np.ndarray) -> Tensor:
        """As :meth:`TransformersPrompts.preprocess`.

        Raises:
            BadImageError: of a picture as thin as this nothing is left in the square.
        """
        height, width = image.shape[:2]
        if 0 in self._shape(height, width):
            raise BadImageError("networks.too_thin", width=width, height=height, longest=image_side(self.module.config))
        return super().preprocess(image)

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


class SamHq(Sam, family="sam_hq"):
    """SAM-HQ (Ke et al. 2023, arXiv 2306.01567), whose decoder also looks at an early layer of the encoder."""

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


class Sam2(MaskGeneration, family="sam2"):
    """SAM 2 and 2.1 (Ravi et al. 2024, arXiv 2408.00714) for single pictures, which are stretched to a square."""

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


class EdgeTam(Sam2, family="edgetam"):
    """EdgeTAM (Zhou et al. 2025, arXiv 2501.07256): SAM 2 with a small convolutional encoder, one of timm's."""

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


class Sam3Tracker(Sam2, family="sam3_tracker"):
    """What SAM 3 (Meta 2025) answers to clicks and boxes: its tracker, for single pictures."""

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
        """Of SAM 3 as it is published, with a detector that takes words (:class:`Sam3Words`): its tracker."""
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


# As ``Sam3Processor`` and ``post_process_instance_segmentation`` have them: tokens of a text; what it is where a box alone shows what to
# look for; the score above which a thing counts; the probability above which a pixel is inside.
TOKENS, EXAMPLE, LEAST_SCORE, INSIDE = 32, "visual", 0.3, 0.5
# Of more than three maps the library resizes each alike.
ALIKE = 4
# Names of the weights as published.
DETECTOR, TRACKER, NECK = "detector_model.", "tracker_model.", "tracker_neck."
# Names in the tracker by itself.
_BACKBONE, _NECK = "vision_encoder.backbone.", "vision_encoder.neck."


class Sam3Words(WordPrompts, family="sam3_words"):
    """SAM 3's detector, for single pictures."""

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
        # Half a second, for which the other networks do not wait.
        from transformers.models.sam3.modeling_sam3 import Sam3VisionEncoderOutput

        # The library leaves out the coarsest map, and asks for the positions of the last alone.
        maps = Sam3VisionEncoderOutput(fpn_hidden_states=(*embedding["maps"], None), fpn_position_encoding=(embedding["positions"], None))
        found = self.module(vision_embeds=maps, **{name: tensor.to(device) for name, tensor in asked.items()})
        scores = (found.pred_logits.sigmoid() * found.presence_logits.sigmoid())[0].float().cpu()
        kept = scores > LEAST_SCORE
        logits = found.pred_masks[0].float().cpu()[kept]
        self.check_finite(scores, logits)
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


class Sam3(WordPrompts, family="sam3"):
    """SAM 3 as it is published: words, examples and clicks about a picture that is encoded once."""

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
    """As :meth:`MaskGeneration.forward`, of what the tracker's neck gives: ``get_image_embeddings`` of
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
