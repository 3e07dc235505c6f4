"""The JSON files of a checkpoint folder: read as what a stranger sent.

What a config.json describes, where that is nothing that segments pictures here: a sentence for each kind.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NoReturn

from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.messages import Message

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
MAX_SHARDS = 1000
PREPROCESSOR = "preprocessor_config.json"
MAX_JSON_BYTES = 8_000_000
# No published network has a wider layer or more of them; a config that asks for more is a mistake or an attack.
MAX_OPTION = 8192
MAX_OPTION_LENGTH = 64
# Letters of a library's message that are handed on.
SAID = 300


def read_json(folder: Path, name: str) -> dict[str, Any]:
    """One JSON object of a checkpoint folder.

    Args:
        folder: the checkpoint.
        name: file name.

    Raises:
        BadCheckpointError: the file is missing, too large, or not a JSON object.
    """
    path = Path(folder) / name
    if not path.is_file():
        raise BadCheckpointError("checkpoints.file_missing", name=name)
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BadCheckpointError("checkpoints.file_too_large", name=name, size=path.stat().st_size, most=MAX_JSON_BYTES)
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):
            raise BadCheckpointError("checkpoints.byte_order_mark", name=name)
        if not text.strip():
            raise BadCheckpointError("weights.empty", name=name)
        if text.startswith("version https://git-lfs"):
            raise BadCheckpointError("weights.lfs_pointer", name=name)
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadCheckpointError("checkpoints.no_json", name=name, why=error) from error
    if not isinstance(data, dict):
        raise BadCheckpointError("checkpoints.no_json_object", name=name, kind=type(data).__name__)
    return data


def read_optional_json(folder: Path, name: str) -> dict[str, Any]:
    """Like :func:`read_json`, but a missing file is an empty object."""
    return read_json(folder, name) if (Path(folder) / name).is_file() else {}


def write_json(folder: Path, name: str, data: dict[str, Any]) -> None:
    """Write one JSON object, keys sorted so that the same checkpoint is the same file."""
    (Path(folder) / name).write_text(json.dumps(data, indent=2, sort_keys=True) + "\n", encoding="utf-8")


def shards_of(index: Mapping[str, object]) -> list[str]:
    """The files beside an index of sharded weights that it names, in order.

    Args:
        index: content of ``model.safetensors.index.json`` as transformers writes it.

    Raises:
        BadCheckpointError: it names none, or something else than safetensors files beside it.
    """
    where = index.get("weight_map")
    names = sorted(set(where.values())) if isinstance(where, dict) and all(isinstance(name, str) for name in where.values()) else []
    if not 1 <= len(names) <= MAX_SHARDS or not all(re.fullmatch(r"\w[\w.-]*\.safetensors", name) for name in names):
        raise BadCheckpointError("weights.bad_index", most=MAX_SHARDS)
    return names


def weight_paths(path: Path, *, whole: bool = False) -> list[Path]:
    """The files that hold a model's weights: model.safetensors, or its shards and then their index.

    Args:
        path: checkpoint folder, or a file of weights by itself.
        whole: they are about to be read: every one must be there, and the index is left out. Otherwise what is missing is left out.

    Raises:
        BadCheckpointError: the index names something else than safetensors files beside it; with ``whole``, a file is missing.
    """
    if path.is_file():
        return [path]
    if (path / WEIGHTS).is_file():
        return [path / WEIGHTS]
    if not (path / INDEX).is_file():
        if whole:
            raise BadCheckpointError("weights.none")
        return []
    shards = [path / name for name in shards_of(read_json(path, INDEX))]
    missing = [shard.name for shard in shards if not shard.is_file()]
    if whole and missing:
        raise BadCheckpointError("weights.part_missing", count=len(shards), missing=missing[0])
    return shards if whole else [*(shard for shard in shards if shard.name not in missing), path / INDEX]


def not_weights(path: Path) -> str | None:
    """What a file of weights is instead, where an upload or a copy went wrong, and what to do; None if it may be weights.

    Args:
        path: a file.
    """
    with open(path, "rb") as file:
        first = file.read(200).lstrip()
    if not path.stat().st_size:
        return Message("weights.empty", name=path.name)
    if first.startswith(b"version https://git-lfs"):
        return Message("weights.lfs_pointer", name=path.name)
    if first.startswith((b"<!", b"<html", b"<HTML", b"<?xml")):
        return Message("weights.web_page", name=path.name)
    return None


def library_message(error: Exception, folder: Path | None = None) -> str:
    """What a library says is wrong with a checkpoint, for whoever chose it: its first lines, without where that lies.

    Args:
        error: of the library; its text may name files, and hold what the checkpoint's author wrote.
        folder: the checkpoint; None where it cannot be named.
    """
    text = str(error) or type(error).__name__
    for path in () if folder is None else (str(folder), str(Path(folder).resolve())):
        text = text.replace(path, "of this checkpoint")
    return " ".join(text.split())[:SAID]


def check_options(options: object, path: str = CONFIG) -> None:
    """Refuse numbers in a config that no real network has, before anything is built from them.

    Args:
        options: JSON data of which every part is built from.
        path: where it stands, for the message.

    Raises:
        BadCheckpointError: names the key.
    """
    for where, value in oversized(options):
        refuse_option(where, value, path)


def refuse_option(where: tuple[str | int, ...], value: object, path: str = CONFIG) -> NoReturn:
    """
    Raises:
        BadCheckpointError: says what is wrong with a part of a config that :func:`oversized` found.
    """
    path = ": ".join((path, *(str(key) for key in where if isinstance(key, str))))
    if isinstance(value, list):
        raise BadCheckpointError("checkpoints.option_too_long", path=path, count=len(value), most=MAX_OPTION_LENGTH)
    shown = str(value) if isinstance(value, float) or abs(value) < 10**20 else "a number of more than 20 digits"
    raise BadCheckpointError("checkpoints.bad_option", path=path, value=shown, most=MAX_OPTION)


def oversized(options: object, where: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], object]]:
    """The numbers and lists in a config that are larger than those of any real network's layers: (path of keys, value).

    Args:
        options: JSON data.
        where: its own path.
    """
    if isinstance(options, dict):
        return [found for key, value in options.items() for found in oversized(value, (*where, key))]
    if isinstance(options, list):
        if len(options) > MAX_OPTION_LENGTH:
            return [(where, options)]
        return [found for index, value in enumerate(options) for found in oversized(value, (*where, index))]
    large = isinstance(options, (int, float)) and not abs(options) <= MAX_OPTION
    return [(where, options)] if large else []


def with_options(options: Any, changes: Mapping[tuple[str | int, ...], object]) -> Any:
    """A copy of JSON data with other values at some paths.

    Args:
        options: JSON data.
        changes: value by path of keys, as :func:`oversized` names them.
    """
    copy = json.loads(json.dumps(options))
    for where, value in changes.items():
        part = copy
        for key in where[:-1]:
            part = part[key]
        part[where[-1]] = value
    return copy


CHOOSE = Message("model_kinds.choose_semantic")
# transformers' own heads, by the end of the class's name, and what they do: a key of the sentences.
_HEADS = (
    (r"For(ZeroShot)?ObjectDetection", "finds_boxes"),
    (r"For(Depth|Pose|NormalsAnd\w*)Estimation", "estimates_depth"),
    (r"For(Keypoint\w*|ImageMatting|ImageToImage|VideoClassification|ImageTextToText|VisualQuestionAnswering|ConditionalGeneration)", "does_something_else"),
    (r"For(CausalLM|MaskedLM|SequenceClassification|TokenClassification|QuestionAnswering|Seq2SeqLM)|LMHeadModel", "is_language_model"),
    (r"For(CTC|AudioClassification|SpeechSeq2Seq|AudioFrameClassification|XVector)", "is_sound_model"),
    (r"For(Universal|Instance)Segmentation|(Detr|MaskFormer|Eomt\w*|OneFormer)For\w*Segmentation", "assembles_from_queries"),
    (r"(Sam\w*|EdgeTam\w*)Model|CLIPSeg\w*|SegGpt\w*", "needs_prompts"),
    (r"CLIPModel|SiglipModel|AlignModel|ChineseCLIPModel", "compares_with_texts"),
)  # fmt: skip
# Kinds of which a head for segmentation exists, so that training can begin with them.
_ENCODERS = ("segformer", "beit", "data2vec-vision", "mobilevit", "mobilevitv2", "mobilenet_v2", "dpt", "convnext", "convnextv2", "swin", "upernet")
_KNOWN = (*_ENCODERS, "sapiens2")


def unsupported_kind(config: Mapping[str, Any]) -> Message | None:
    """Why a config.json is of no network that can be used here, in a sentence or two; None if it may be of one.

    Args:
        config: content of config.json; whatever a stranger wrote.
    """
    stated = config.get("architectures")
    named = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
    name, kind = (named[0][:60] if named else ""), config.get("model_type")
    for pattern, does in _HEADS:
        if re.search(rf"(?:{pattern})$", name):
            return Message(f"model_kinds.{does}", name=name, advice=CHOOSE)
    if name.endswith("ForImageClassification") and kind not in _ENCODERS:
        return Message("model_kinds.classifies_pictures", name=name, advice=CHOOSE)
    if isinstance(config.get("auto_map"), dict) and kind not in _KNOWN:
        return Message("model_kinds.brings_code", file=_file_of(config["auto_map"]), advice=CHOOSE)
    if isinstance(config.get("architecture"), str) and ("pretrained_cfg" in config or "num_features" in config):
        return Message("model_kinds.timm_classifier", name=config["architecture"][:60], advice=CHOOSE)
    if "base_model_name_or_path" in config and "peft_type" in config:
        return Message("model_kinds.adapter", advice=CHOOSE)
    return None


def unknown(config: Mapping[str, Any]) -> Message:
    """What a config.json is that no family recognises, and what is supported.

    Args:
        config: content of config.json; whatever a stranger wrote.
    """
    if isinstance(config.get("encoder_name"), str):
        return Message("checkpoints.no_model_class", encoder=config["encoder_name"][:60])
    return Message("checkpoints.no_segmentation", about=json.dumps(config.get("architectures") or sorted(config)[:8])[:200])


def _file_of(auto_map: Mapping[str, Any]) -> str:
    """The file in which a repository's own classes are."""
    classes = [str(value[0] if isinstance(value, list) and value else value) for value in auto_map.values()]
    return f"{classes[0].rpartition('--')[2].split('.')[0][:60]}.py" if classes else "auto_map"
