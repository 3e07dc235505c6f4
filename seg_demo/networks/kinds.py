"""What a config.json describes, where that is nothing that segments pictures here: a sentence for each kind."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

CHOOSE = "Choose a model for semantic segmentation instead, such as nvidia/segformer-b0-finetuned-ade-512-512, or one of the menu."
# transformers' own heads, by the end of the class's name.
_HEADS = (
    (r"For(ZeroShot)?ObjectDetection", "finds objects and gives boxes, no masks"),
    (r"For(Depth|Pose|NormalsAnd\w*)Estimation", "estimates depth or pose, not classes"),
    (r"For(Keypoint\w*|ImageMatting|ImageToImage|VideoClassification|ImageTextToText|VisualQuestionAnswering|ConditionalGeneration)", "does something else with pictures"),
    (r"For(CausalLM|MaskedLM|SequenceClassification|TokenClassification|QuestionAnswering|Seq2SeqLM)|LMHeadModel", "is a language model"),
    (r"For(CTC|AudioClassification|SpeechSeq2Seq|AudioFrameClassification|XVector)", "is a model of speech or sound"),
    (r"For(Universal|Instance)Segmentation|(Detr|MaskFormer|Eomt\w*|OneFormer)For\w*Segmentation", "assembles masks from class queries, which is not supported yet"),
    (r"(Sam\w*|EdgeTam\w*)Model|CLIPSeg\w*|SegGpt\w*", "needs clicks or words beside the picture, which is not supported yet"),
    (r"CLIPModel|SiglipModel|AlignModel|ChineseCLIPModel", "compares pictures with texts and draws no masks"),
)  # fmt: skip
# Kinds of which a head for segmentation exists, so that training can begin with them.
_ENCODERS = ("segformer", "beit", "data2vec-vision", "mobilevit", "mobilevitv2", "mobilenet_v2", "dpt", "convnext", "convnextv2", "swin", "upernet")
_KNOWN = (*_ENCODERS, "sapiens2")


def refusal(config: Mapping[str, Any]) -> str | None:
    """Why a config.json is of no network that can be used here, in a sentence or two; None if it may be of one.

    Args:
        config: content of config.json; whatever a stranger wrote.
    """
    stated = config.get("architectures")
    named = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
    name, kind = (named[0][:60] if named else ""), config.get("model_type")
    for pattern, does in _HEADS:
        if re.search(rf"(?:{pattern})$", name):
            return f"This model ({name}) {does}. {CHOOSE}"
    if name.endswith("ForImageClassification") and kind not in _ENCODERS:
        return f"This model ({name}) names what a whole picture shows, and draws no masks. {CHOOSE}"
    if isinstance(config.get("auto_map"), dict) and kind not in _KNOWN:
        return f"This model brings code of its own ({_file_of(config['auto_map'])}), and code of strangers is never run here. {CHOOSE}"
    if isinstance(config.get("architecture"), str) and ("pretrained_cfg" in config or "num_features" in config):
        return f"This model is an image classifier of timm ({config['architecture'][:60]}): it names what a whole picture shows, and draws no masks. {CHOOSE}"
    if "base_model_name_or_path" in config and "peft_type" in config:
        return f"This model is an adapter (PEFT, LoRA): it changes another model, and is none without that. {CHOOSE}"
    return None


def _file_of(auto_map: Mapping[str, Any]) -> str:
    """The file in which a repository's own classes are."""
    classes = [str(value[0] if isinstance(value, list) and value else value) for value in auto_map.values()]
    return f"{classes[0].rpartition('--')[2].split('.')[0][:60]}.py" if classes else "auto_map"
