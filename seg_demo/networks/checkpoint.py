"""The JSON files of a checkpoint folder, read as what a stranger sent: its config (and what that describes, where it is nothing that
segments pictures here), class names and colours, and the rule that tells unfamiliar pictures.

A network says "cell, 0.83" of an astronaut's cap as well. The encoder's channels, averaged over the picture, tell the two apart far
better: a linear rule between the training pictures that hold objects and those that hold none (Fisher 1936, shrunk towards the
identity), fitted once by ``scripts/familiarity.py`` on rendered pictures and kept beside the weights. Its threshold leaves all but a
hundredth of held-out rendered pictures with objects alone. No pass is added: means and deviations of maps that exist are taken.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from seg_demo.core import INSTANCE, MAX_IDS, MOST_CHANNELS, PANOPTIC, SEMANTIC, BadCheckpointError, LabelSet, Message, distinct_colors, is_background

CONFIG = "config.json"
WEIGHTS = "model.safetensors"
INDEX = f"{WEIGHTS}.index.json"
MAX_SHARDS = 1000
PREPROCESSOR = "preprocessor_config.json"
MAX_JSON_BYTES = 8_000_000
# No published network has a wider layer or more of them; a config that asks for more is a mistake or an attack.
MAX_OPTION = 8192
# Larger ones, by their key: words that a network reads, of which CLIP knows 49,408 (what they take is bounded with all parameters), the
# numbers of some of them, and the base of rotations, of which nothing is built.
LARGER = {"vocab_size": 1_000_000, "bos_token_id": 1_000_000, "eos_token_id": 1_000_000, "pad_token_id": 1_000_000, "rope_theta": 100_000_000}
MAX_OPTION_LENGTH = 64
# How many layers there are: of fewer than none a library builds none, and their weights would be left out.
LAYERS = frozenset({"depths", "num_hidden_layers", "encoder_layers", "decoder_layers"})
# Letters of a library's message that are handed on.
MOST_LETTERS = 300


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


# What transformers 5 saves beside, or instead of, preprocessor_config.json, and the part of it that is about pictures.
PROCESSOR, NESTED = "processor_config.json", "image_processor"
OUR_KEY = "seg_demo"


def processor_data(folder: Path) -> dict[str, Any]:
    """What the folder says about its image processor, as ``AutoImageProcessor`` would read it; empty if nothing.

    Args:
        folder: the checkpoint.

    Raises:
        BadCheckpointError: a file that is not JSON.
    """
    nested = read_optional_json(folder, PROCESSOR).get(NESTED)
    own = read_optional_json(folder, PREPROCESSOR)
    if isinstance(nested, dict):
        return {**({OUR_KEY: own[OUR_KEY]} if OUR_KEY in own else {}), **nested}
    return own


def made_for(folder: Path, config: Mapping[str, Any]) -> str | None:
    """The task that a checkpoint of several was trained for, which its name says and no key of its config: ``...-ade-semantic``.

    Args:
        folder: the checkpoint; a snapshot of the Hub's cache lies in a folder of its repository's name.
        config: content of config.json.

    Returns:
        The task's name; None where the name has none, or several.
    """
    path = Path(folder).absolute()
    named = (config.get("_name_or_path"), path.name, *(part for part in path.parts if part.startswith("models--")))
    names = " ".join(str(name) for name in named).lower()
    stated = [task.name for task in (SEMANTIC, INSTANCE, PANOPTIC) if task.name in names]
    return stated[0] if len(stated) == 1 else None


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


def refuse_missing_part(id: str, weights: Collection[str]) -> None:
    """
    Args:
        id: of the repository, perhaps with a folder.
        weights: names of the files that hold the weights, which say how many there are.

    Raises:
        BadCheckpointError: one is missing.
    """
    parts = [match for name in weights if (match := re.fullmatch(r"(.+)-(\d+)-of-(\d+)\.safetensors", name))]
    for stem, count in sorted({(part[1], part[3]) for part in parts}):
        there, all_of_them = {int(part[2]) for part in parts}, range(1, int(count) + 1)
        if int(count) <= MAX_SHARDS and (missing := [number for number in all_of_them if number not in there]):
            name = f"{stem}-{missing[0]:0{len(count)}}-of-{count}.safetensors"
            raise BadCheckpointError("layouts.part_missing", id=id, count=int(count), missing=name)


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


def weights_size(folder: Path) -> int:
    """Bytes of the files that hold a checkpoint's weights."""
    return sum(path.stat().st_size for path in weight_paths(folder) if path.suffix == ".safetensors")


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
    return " ".join(text.split())[:MOST_LETTERS]


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
    raise BadCheckpointError("checkpoints.bad_option", path=path, value=shown, least=_least(where), most=_most(where))


def _most(where: tuple[str | int, ...]) -> int:
    """The largest number that may stand at a path of keys."""
    return LARGER.get(where[-1], MAX_OPTION) if where else MAX_OPTION


def _least(where: tuple[str | int, ...]) -> int:
    """The smallest number that may stand at a path of keys."""
    return -_most(where) if LAYERS.isdisjoint(where) else 0


def oversized(options: object, where: tuple[str | int, ...] = ()) -> list[tuple[tuple[str | int, ...], object]]:
    """The numbers and lists in a config that are larger than those of any real network's layers, or fewer than none: (path of keys, value).

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
    wrong = isinstance(options, (int, float)) and not _least(where) <= options <= _most(where)
    return [(where, options)] if wrong else []


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


# Keys by which transformers takes a backbone from somewhere else.
FETCHES = ("backbone", "use_pretrained_backbone", "use_timm_backbone", "backbone_kwargs")


def without_fetching(config: Mapping[str, Any]) -> dict[str, Any]:
    """A config that makes transformers ask nobody for a backbone where it describes that, or names one of timm's: all weights are in
    the folder.

    Args:
        config: content of config.json.
    """
    described, name = config.get("backbone_config"), config.get("backbone")
    plain = {key: value for key, value in config.items() if key not in FETCHES}
    if isinstance(decoder := config.get("decoder_config"), dict):
        # MaskFormer's is a DETR's, whose backbone is never built.
        plain["decoder_config"] = {key: value for key, value in decoder.items() if key not in (*FETCHES, "backbone_config")}
    if str(config.get("model_type")).startswith("eomt"):
        return plain  # which is one with its backbone
    if config.get("model_type") == "oneformer":
        plain["is_training"] = False  # with what reads descriptions of pictures, which only its loss needs
    if isinstance(described, dict):
        return {**plain, "backbone_config": {key: value for key, value in described.items() if key != "use_pretrained_backbone"}}
    if config.get("model_type") not in ("detr", "conditional_detr") or not isinstance(name, str) or not re.fullmatch(r"\w+", name, re.ASCII):
        return dict(config)
    if config.get("use_timm_backbone", True) is not True:
        return dict(config)
    # As DetrConfig makes it of the same keys.
    given = config.get("backbone_kwargs") if isinstance(config.get("backbone_kwargs"), dict) else {}
    made = {"model_type": "timm_backbone", "backbone": name, "num_channels": 3, "features_only": True}
    made |= {"use_pretrained_backbone": False, "out_indices": given.get("out_indices", [1, 2, 3, 4])}
    return {**plain, "backbone_config": made | ({"output_stride": given.get("output_stride", 16)} if config.get("dilation") else {})}


CHOOSE, CHOOSE_MASKS = Message("model_kinds.choose_semantic"), Message("model_kinds.choose_instance")
# Networks with code of their own that cut the main thing out of a picture, by the beginning of the class's name.
_CUTS_OUT = re.compile(r"BiRefNet|BriaRMBG|RMBG|ISNet|InSPyReNet|MODNet|U2Net|BEN")
# transformers' own heads, by the end of the class's name, and what they do: a key of the sentences.
_HEADS = (
    (r"Videomt\w*", "reads_videos"),
    (r"For(ZeroShot)?ObjectDetection", "finds_boxes"),
    (r"For(Depth|Pose|NormalsAnd\w*)Estimation", "estimates_depth"),
    (r"For(Keypoint\w*|ImageMatting|ImageToImage|VideoClassification|ImageTextToText|VisualQuestionAnswering|ConditionalGeneration)", "does_something_else"),
    (r"For(CausalLM|MaskedLM|SequenceClassification|TokenClassification|QuestionAnswering|Seq2SeqLM)|LMHeadModel", "is_language_model"),
    (r"For(CTC|AudioClassification|SpeechSeq2Seq|AudioFrameClassification|XVector)", "is_sound_model"),
    (r"For(Universal|Instance)Segmentation|(Detr|MaskFormer|Eomt\w*|OneFormer)For\w*Segmentation", "assembles_from_queries"),
    (r"(Sam\w*|EdgeTam\w*)Model|CLIPSeg\w*|SegGpt\w*", "needs_prompts"),
    (r"CLIPModel|SiglipModel|AlignModel|ChineseCLIPModel", "compares_with_texts"),
    (r"\w+(Model|Backbone)", "has_no_head"),
)  # fmt: skip
# Kinds of which a head for segmentation exists, so that training can begin with them.
_ENCODERS = ("segformer", "beit", "data2vec-vision", "mobilevit", "mobilevitv2", "mobilenet_v2", "dpt", "convnext", "convnextv2", "swin", "upernet")
_KNOWN = (*_ENCODERS, "sapiens2")
# Networks of class queries that have a family here.
QUERY_TYPES = ("mask2former", "maskformer", "oneformer", "eomt", "eomt_dinov3", "detr", "conditional_detr", "rf_detr")
# Networks that answer prompts, by the class of transformers, and those that track objects through videos with one of these inside.
PROMPT_TYPES = {
    "sam": "SamModel", "sam_hq": "SamHQModel", "sam2": "Sam2Model", "edgetam": "EdgeTamModel", "sam3_tracker": "Sam3TrackerModel",
    "clipseg": "CLIPSegForImageSegmentation", "sam3": "Sam3Model", "sam3_lite_text": "Sam3LiteTextModel",
}  # fmt: skip
VIDEO_TYPES = ("sam2_video", "edgetam_video", "sam3_video", "sam3_tracker_video")
# What is a family's own although its class's name says otherwise, by what it would be taken for.
_HAVE_FAMILY = {
    "assembles_from_queries": QUERY_TYPES, "needs_prompts": (*PROMPT_TYPES, *VIDEO_TYPES),
    "has_no_head": (*_KNOWN, "swinv2", "focalnet", "resnet", *QUERY_TYPES, *PROMPT_TYPES, *VIDEO_TYPES),
}  # fmt: skip


def unsupported_kind(config: Mapping[str, Any]) -> Message | None:
    """Why a config.json is of no network that can be used here, in a sentence or two; None if it may be of one.

    Args:
        config: content of config.json; whatever a stranger wrote.
    """
    stated = config.get("architectures")
    named = [name for name in stated if isinstance(name, str)] if isinstance(stated, list) else []
    name, kind = (named[0][:60] if named else ""), config.get("model_type")
    for pattern, does in _HEADS:
        if re.search(rf"(?:{pattern})$", name) and kind not in _HAVE_FAMILY.get(does, ()):
            return Message(f"model_kinds.{does}", name=name, advice=CHOOSE_MASKS if does == "finds_boxes" else CHOOSE)
    if name.endswith("ForImageClassification") and kind not in _ENCODERS:
        return Message("model_kinds.classifies_pictures", name=name, advice=CHOOSE)
    if isinstance(config.get("auto_map"), dict) and kind not in (*_KNOWN, *QUERY_TYPES):
        if _CUTS_OUT.match(name):
            return Message("model_kinds.cuts_out", name=name, file=_file_of(config["auto_map"]))
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
    # That of the network rather than of its config.
    listed = [auto_map[key] for key in sorted(map(str, auto_map), key=lambda key: not key.startswith("AutoModel")) if key in auto_map]
    classes = [str(value[0] if isinstance(value, list) and value else value) for value in listed]
    return f"{classes[0].rpartition('--')[2].split('.')[0][:60]}.py" if classes else "auto_map"


def channels_of(config: Mapping[str, Any]) -> int:
    """Channels of the pictures that a network takes, by its config.json.

    >>> channels_of({"num_channels": 4}), channels_of({"backbone_config": {"num_channels": 2}}), channels_of({"_model_class": "Unet"})
    (4, 2, 3)

    Args:
        config: its content: ``in_channels`` of segmentation_models_pytorch, ``num_channels`` of transformers, there or in the backbone's part.

    Raises:
        BadCheckpointError: no whole number from 1 to 64.
    """
    key = "in_channels" if isinstance(config.get("_model_class"), str) else "num_channels"
    backbone = config.get("backbone_config")
    inner = backbone.get(key) if isinstance(backbone, Mapping) else None
    count = config.get(key, 3 if inner is None else inner)
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MOST_CHANNELS:
        raise BadCheckpointError("checkpoints.no_count_of_channels", channels=str(count)[:40], most=MOST_CHANNELS)
    return count


def samples_of(folder: Path) -> int | None:
    """Channels of a file's own samples that a checkpoint takes, as :attr:`seg_demo.networks.preprocessing.Preprocessing.samples`, without its weights.

    Args:
        folder: the checkpoint; of the files the JSON alone are read.

    Raises:
        BadCheckpointError: a file that is not JSON, or no number of channels.
    """
    count, data = channels_of(read_json(folder, CONFIG)), processor_data(folder)
    ours = data.get(OUR_KEY)
    measured = "channel_ranges" in data or (isinstance(ours, dict) and "channel_ranges" in ours)
    return count if count != 3 or measured else None


def labels_to_dict(labels: LabelSet) -> dict[str, Any]:
    """``id2label``, ``label2id``, ``colors`` and ``background`` of a label set, JSON-able; ``isthing`` (0 or 1 by label id, as COCO calls it)
    where it is known."""
    described = {
        "id2label": {str(index): name for index, name in enumerate(labels.names)},
        "label2id": {name: index for index, name in enumerate(labels.names)},
        "colors": labels.colors.tolist(),
        "background": labels.background,
    }
    return described if labels.things is None else {**described, "isthing": labels.things.astype(int).tolist()}


def class_table(data: dict[str, Any]) -> dict[int, str]:
    """The class names that a config states, by id, in whatever form it has them; what is no name or no id is left out.

    ``id2label`` with ids as numbers or as text, or the wrong way round, or as a list; else ``label2id``.

    >>> class_table({"id2label": {"1": "cell", "255": "ignore"}}), class_table({"label2id": {"cell": 1}})
    ({1: 'cell', 255: 'ignore'}, {1: 'cell'})
    """
    for key in ("id2label", "label2id"):
        table = data.get(key)
        if isinstance(table, list):
            table = dict(enumerate(table))
        if not isinstance(table, dict):
            continue
        forward = {_id(id): name for id, name in reversed(table.items())}
        backward = {_id(id): name for name, id in reversed(table.items())}
        found = max((forward, backward), key=lambda names: len(names) - (None in names))
        names = {id: str(name)[:200] for id, name in found.items() if id is not None and name is not None and str(name).strip()}
        if names:
            return dict(sorted(names.items()))
    return {}


def _id(value: object) -> int | None:
    """A label id as a config writes it, or None."""
    if isinstance(value, str):
        match = re.fullmatch(r"\s*(?:LABEL_)?([0-9]{1,9})\s*", value)
        return int(match[1]) if match else None
    whole = isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value < 10**9 and int(value) == value
    return int(value) if whole else None


def labels_from_dict(data: dict[str, Any], count: int) -> LabelSet | None:
    """The label set that a config describes. An id is the number of an output channel, as in transformers' own pipelines.

    Args:
        data: has ``id2label`` (id → name) or ``label2id``, and perhaps ``colors``, ``background`` and ``isthing``.
        count: number of classes that the network has.

    Returns:
        None if no name belongs to a class. A class without a name is called ``class`` and its number. Without ``background``,
        class 0 is it where its name says so.

    Raises:
        BadCheckpointError: absurdly many classes, or colours or a background that are none.
    """
    check_count(count)
    table = class_table(data)
    if not any(index < count for index in table):
        return None
    ordered = tuple(table.get(index, f"class {index}") for index in range(count))
    background = data.get("background", first_background(ordered))
    if background is not None and (not isinstance(background, int) or not 0 <= background < count):
        raise BadCheckpointError("class_tables.bad_background", most=count - 1, value=background)
    things = data.get("isthing")
    known = isinstance(things, list) and len(things) == count and all(value in (0, 1) for value in things)
    return LabelSet(ordered, _colors(data.get("colors"), count, background), background, np.array(things, dtype=bool) if known else None)


def binary_labels(table: Mapping[int, str]) -> LabelSet:
    """The two classes of a network with one channel, which is about the class that is not the background.

    >>> binary_labels({0: "cell"}).names, binary_labels({0: "sky", 1: "bird"}).names, binary_labels({0: "background"}).names
    (('background', 'cell'), ('sky', 'bird'), ('background', 'foreground'))

    Args:
        table: of :func:`class_table`; two names are those of both, one is the class's.
    """
    if 0 in table and 1 in table:
        return LabelSet.from_names((table[0], table[1]), background=0)
    named = table.get(1, table.get(0, next(iter(table.values()), "foreground")))
    return LabelSet.from_names(("background", "foreground" if first_background((named,)) == 0 else named), background=0)


def table_notes(data: dict[str, Any], count: int) -> tuple[str, ...]:
    """What a person should know about a class table that is not exactly the network's: a sentence each.

    Args:
        data: as for :func:`labels_from_dict`.
        count: number of classes that the network has.
    """
    table, notes = class_table(data), []
    nameless = [index for index in range(count) if index not in table]
    homeless = [index for index in table if index >= count]
    if table and nameless:
        notes.append(Message("class_tables.nameless", count=len(nameless), total=count))
    if homeless:
        first = homeless[0]
        notes.append(Message("class_tables.homeless", count=count, last=count - 1, homeless=len(homeless), name=table[first][:40], id=first))
    return tuple(notes)


# Share of a data set's things that are among the classes of whoever was trained on it.
KNOWN_SHARE = 0.9
# Cityscapes' (Cordts et al. 2016), COCO's (Lin et al. 2014) and ADE20K's (Zhou et al. 2017) classes with instances.
CITYSCAPES_THINGS = frozenset("person rider car truck bus train motorcycle bicycle".split())
COCO_THINGS = frozenset(
    "person/bicycle/car/motorcycle/airplane/bus/train/truck/boat/traffic light/fire hydrant/stop sign/parking meter/bench/bird/cat/dog/"
    "horse/sheep/cow/elephant/bear/zebra/giraffe/backpack/umbrella/handbag/tie/suitcase/frisbee/skis/snowboard/sports ball/kite/"
    "baseball bat/baseball glove/skateboard/surfboard/tennis racket/bottle/wine glass/cup/fork/knife/spoon/bowl/banana/apple/sandwich/"
    "orange/broccoli/carrot/hot dog/pizza/donut/cake/chair/couch/potted plant/bed/dining table/toilet/tv/laptop/mouse/remote/keyboard/"
    "cell phone/microwave/oven/toaster/sink/refrigerator/book/clock/vase/scissors/teddy bear/hair drier/toothbrush".split("/")
)
ADE_THINGS = frozenset(
    "bed/windowpane/cabinet/person/door/table/curtain/chair/car/painting/sofa/shelf/mirror/armchair/seat/fence/desk/wardrobe/lamp/bathtub/"
    "railing/cushion/box/column/signboard/chest of drawers/counter/sink/fireplace/refrigerator/stairs/case/pool table/pillow/screen door/"
    "bookcase/coffee table/toilet/flower/book/bench/countertop/stove/palm/kitchen island/computer/swivel chair/boat/arcade machine/bus/"
    "towel/light/truck/chandelier/awning/streetlight/booth/television receiver/airplane/apparel/pole/bannister/ottoman/bottle/van/ship/"
    "fountain/washer/plaything/stool/barrel/basket/bag/minibike/oven/ball/food/step/trade name/microwave/pot/animal/bicycle/dishwasher/"
    "screen/sculpture/hood/sconce/vase/traffic light/tray/ashcan/fan/plate/monitor/bulletin board/radiator/glass/clock/flag".split("/")
)


def things_of(names: Sequence[str]) -> np.ndarray | None:
    """Which classes are of things, by the names that the data sets of panoptic segmentation have: bool (K,), or None where it is not known.

    >>> things_of(["road", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"]).tolist()[:3]
    [False, False, True]

    Args:
        names: of the classes; of several words for one (``airplane, aeroplane``) the first counts.
    """
    first = [re.split(r"[,;]", name)[0].strip().lower() for name in names]
    for things in (COCO_THINGS, ADE_THINGS, CITYSCAPES_THINGS):
        if len(things & set(first)) >= KNOWN_SHARE * len(things):
            return np.array([name in things for name in first])
    return None


def first_background(names: tuple[str, ...]) -> int | None:
    """0 if the first class is called background, else None."""
    return 0 if is_background(names[0]) else None


def check_count(count: object) -> None:
    """Refuse a number of classes that no label map can hold.

    Raises:
        BadCheckpointError: not an integer from 1 to 65535.
    """
    if not isinstance(count, int) or isinstance(count, bool) or not 1 <= count <= MAX_IDS:
        raise BadCheckpointError("class_tables.bad_count", count=count, most=MAX_IDS)


def _colors(data: object, count: int, background: int | None) -> np.ndarray:
    if data is None:
        return distinct_colors(count, background)
    try:
        colors = np.array(data, dtype=np.int64)
    except (ValueError, TypeError, OverflowError) as error:
        raise BadCheckpointError("class_tables.colors_unreadable", why=error) from error
    if colors.shape != (count, 3) or colors.min() < 0 or colors.max() > 255:
        raise BadCheckpointError("class_tables.bad_colors", count=count, shape=colors.shape)
    return colors.astype(np.uint8)


def own_config_of(name: str, options: dict[str, Any], labels: LabelSet) -> dict[str, Any]:
    """config.json of a network whose library has no format; ``num_classes`` and ``options`` are arguments as the Hub's mixin keeps them."""
    return {"architecture": name, "num_classes": len(labels), "options": options, **labels_to_dict(labels)}


def own_config(config: dict[str, Any]) -> tuple[dict[str, Any], int, LabelSet]:
    """Options, number of classes and class names from a config.json that :func:`own_config_of` made.

    Args:
        config: its content.

    Raises:
        BadCheckpointError: no options, absurd numbers, or class names that are not the network's.
    """
    options, count = config.get("options"), config.get("num_classes")
    check_count(count)
    if not isinstance(options, dict) or count < 2:
        raise BadCheckpointError("checkpoints.no_options")
    check_options(options)
    labels = labels_from_dict(config, count)
    if labels is None:
        labels = LabelSet.from_names(("background", *(f"class {index}" for index in range(1, count))), background=0)
    return options, count, labels


FAMILIARITY = "familiarity.json"
# A channel that is further off than this many deviations counts no more than that: pictures of other kinds leave any linear range.
MOST_DEVIATIONS = 2.0
_MOST_STATISTICS = 4096
UNFAMILIAR = Message("models.unfamiliar_picture")


@dataclass(frozen=True, eq=False)
class Familiarity:
    """A rule for one checkpoint.

    Attributes:
        mean: float32 (D,), of the statistics of training pictures.
        deviation: float32 (D,), positive.
        weights: float32 (D,), of the statistics less ``mean``, in deviations, clipped to ``CLIP``.
        threshold: scores above it are unfamiliar.
    """

    mean: np.ndarray
    deviation: np.ndarray
    weights: np.ndarray
    threshold: float

    def score(self, statistics: np.ndarray) -> float:
        """How unlike the pictures with objects one is; larger is less familiar.

        Args:
            statistics: (D,), of :func:`statistics`.
        """
        return float(np.clip((statistics - self.mean) / self.deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS) @ self.weights)

    def knows(self, statistics: Sequence[np.ndarray]) -> bool | None:
        """Whether a picture is familiar, of which a network has seen one part or several; None if none.

        Args:
            statistics: (D,) each, of the whole picture or of its tiles, whose mean counts.
        """
        if not statistics or statistics[0].shape != self.mean.shape:
            return None
        return self.score(np.mean(statistics, axis=0)) <= self.threshold


def read_familiarity(folder: Path) -> Familiarity | None:
    """The rule of a checkpoint folder, or None if it has none.

    Raises:
        BadCheckpointError: the file holds something else.
    """
    data = read_optional_json(folder, FAMILIARITY) if Path(folder).is_dir() else {}
    if not data:
        return None
    try:
        rows = [np.asarray(data[key], dtype=np.float32) for key in ("mean", "deviation", "weights")]
        threshold = float(data["threshold"])
    except (KeyError, TypeError, ValueError) as error:
        raise BadCheckpointError("checkpoints.familiarity_no_numbers", file=FAMILIARITY) from error
    good = all(row.ndim == 1 and row.shape == rows[0].shape and np.isfinite(row).all() for row in rows)
    if not good or not 1 <= rows[0].size <= _MOST_STATISTICS or rows[1].min() <= 0 or not np.isfinite(threshold):
        raise BadCheckpointError("checkpoints.familiarity_bad_numbers", file=FAMILIARITY, most=_MOST_STATISTICS)
    return Familiarity(*rows, threshold)
