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
        raise BadCheckpointError(f"The checkpoint has no {name}. A checkpoint folder needs {CONFIG} and {WEIGHTS}.")
    if path.stat().st_size > MAX_JSON_BYTES:
        raise BadCheckpointError(
            f"{name} of the checkpoint has {path.stat().st_size} bytes; at most {MAX_JSON_BYTES} are read."
        )
    try:
        text = path.read_text(encoding="utf-8")
        if text.startswith("\ufeff"):
            raise BadCheckpointError(
                f"{name} of this model begins with a byte order mark, which no library reads. Save it as UTF-8 without one."
            )
        if not text.strip():
            raise BadCheckpointError(f"{name} of this model is empty: its upload failed. Tell its owner, or choose another model.")
        if text.startswith("version https://git-lfs"):
            raise BadCheckpointError(
                f"{name} of this model is a pointer of Git LFS, not the file itself: it was copied without it (git lfs pull fetches it). "
                "Tell its owner, or choose another model."
            )
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadCheckpointError(f"{name} of the checkpoint is not readable JSON ({error}).") from error
    if not isinstance(data, dict):
        raise BadCheckpointError(f"{name} of the checkpoint must be a JSON object, but is a {type(data).__name__}.")
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
        raise BadCheckpointError(f"{INDEX} of the checkpoint must name 1 to {MAX_SHARDS} safetensors files beside it, but does not.")
    return names


def weight_paths(path: Path) -> list[Path]:
    """The files that hold a model's weights, with the index of shards last; empty where there are none yet.

    Args:
        path: checkpoint folder, or a file of weights by itself.

    Raises:
        BadCheckpointError: the index names something else than safetensors files beside it.
    """
    if path.is_file():
        return [path]
    if (path / WEIGHTS).is_file():
        return [path / WEIGHTS]
    if not (path / INDEX).is_file():
        return []
    shards = (path / name for name in shards_of(read_json(path, INDEX)))
    return [*(shard for shard in shards if shard.is_file()), path / INDEX]


def not_weights(path: Path) -> str | None:
    """What a file of weights is instead, where an upload or a copy went wrong, and what to do; None if it may be weights.

    Args:
        path: a file.
    """
    with open(path, "rb") as file:
        first = file.read(200).lstrip()
    if not path.stat().st_size:
        return f"{path.name} of this model is empty: its upload failed. Tell its owner, or choose another model."
    if first.startswith(b"version https://git-lfs"):
        return (
            f"{path.name} of this model is a pointer of Git LFS, not the file itself: it was copied without it (git lfs pull fetches it). "
            "Tell its owner, or choose another model."
        )
    if first.startswith((b"<!", b"<html", b"<HTML", b"<?xml")):
        return f"{path.name} of this model is a web page, not weights. Tell its owner, or choose another model."
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
        raise BadCheckpointError(f"{path} has {len(value)} entries; at most {MAX_OPTION_LENGTH} are accepted.")
    shown = str(value) if isinstance(value, float) or abs(value) < 10**20 else "a number of more than 20 digits"
    raise BadCheckpointError(f"{path} is {shown}; a number from -{MAX_OPTION} to {MAX_OPTION} is expected.")


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


def unsupported_kind(config: Mapping[str, Any]) -> str | None:
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
