"""Further repositories of strangers: headers, configurations and labels that libraries read in more than one way."""

from __future__ import annotations

import json
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np

from tests.hostile_repos import Canary, Files, _config, _first, _header, _processor, _raw, _weights

Change = Callable[[Files], Files]


def _tensors(files: Files) -> tuple[dict[str, dict[str, object]], bytes]:
    data = files["model.safetensors"]
    (size,) = struct.unpack("<Q", data[:8])
    return json.loads(data[8 : 8 + size]), data[8 + size :]


def _with_header(change: Callable[[dict[str, dict[str, object]]], str]) -> Change:
    """Another header, as text, before the same numbers."""

    def changed(files: Files) -> Files:
        header, body = _tensors(files)
        text = change(header).encode("utf-8", "surrogatepass")
        return {**files, "model.safetensors": struct.pack("<Q", len(text)) + text + body}

    return changed


def _twice(header: dict[str, dict[str, object]]) -> str:
    """Every tensor is listed again under its own name, with the bytes of the first one."""
    names = sorted(set(header) - {"__metadata__"})
    again = ",".join(f"{json.dumps(name)}:{json.dumps(header[names[0]])}" for name in names)
    return json.dumps(header)[:-1] + "," + again + "}"


def _each(**changes: object) -> Callable[[dict[str, dict[str, object]]], str]:
    return lambda header: json.dumps({name: {**row, **changes} if name != "__metadata__" else row for name, row in header.items()})


def weights() -> dict[str, Change]:
    """Weight files."""
    return {
        "names are there twice": _with_header(_twice),
        "sizes of 2^63": _header(a={"dtype": "F32", "shape": [2**63], "data_offsets": [0, 2**63]}),
        "sizes of 2^64 - 1": _header(a={"dtype": "U8", "shape": [2**64 - 1], "data_offsets": [0, 2**64 - 1]}),
        "a gap between tensors": _header(a={"dtype": "F32", "shape": [2], "data_offsets": [0, 8]}, b={"dtype": "F32", "shape": [2], "data_offsets": [16, 24]}),
        "fractions as sizes": _with_header(_each(shape=[1.5, 2])),
        "no shape at all": _with_header(_each(shape=[])),
        "another type of the same width": _with_header(_each(dtype="I32")),
        "metadata that is no text": _with_header(lambda header: json.dumps({**header, "__metadata__": {"a": [1]}})),
        "metadata of half a megabyte": _with_header(lambda header: json.dumps({**header, "__metadata__": {"format": "pt", "a": "x" * 500_000}})),
        "names that are paths": _with_header(lambda header: json.dumps({f"../../{name}": row for name, row in header.items()})),
        "a name that is half a letter": _with_header(lambda header: json.dumps(header)[:-1] + ',"\udc80":{"dtype":"F32","shape":[0],"data_offsets":[0,0]}}'),
        "deep within a tensor": _with_header(lambda header: json.dumps(header)[:-1] + ',"a":' + '{"b":' * 2000 + "1" + "}" * 2000 + "}"),
        "the smallest numbers": _weights(lambda tensors: [each.fill(1e-45) for each in tensors.values() if each.dtype == np.float32]),
        "negative infinity at the end": _weights(lambda tensors: _first(tensors).reshape(-1)[-1:].fill(-np.inf)),
        "not a number in whole numbers' place": _weights(lambda tensors: tensors.update({sorted(tensors)[0]: np.full((3,), np.nan)})),
    }


def configurations(canary: Path) -> dict[str, Change]:
    """Configurations: numbers that are none, keys that make libraries fetch or run something, and such as are merely odd."""
    code = f"open({str(canary)!r}, 'w').write('fired')\n".encode()
    numbers = {
        "a NaN": {"layer_norm_eps": float("nan")}, "infinity": {"initializer_range": float("inf")}, "400 digits": {"hidden_dropout_prob": 10**400},
        "texts for whole numbers": {"num_encoder_blocks": "4"}, "a truth for a number": {"num_channels": True}, "fractions": {"depths": [1.5, 1, 1, 1]},
        "strides of zero": {"strides": [0, 0, 0, 0]}, "negative strides": {"strides": [-1] * 4}, "patches of zero": {"patch_sizes": [0] * 4},
        "ratios of zero": {"sr_ratios": [0] * 4}, "giant ratios": {"mlp_ratios": [10**6] * 4}, "no blocks": {"num_encoder_blocks": 0},
        "more blocks than sizes": {"num_encoder_blocks": 60}, "empty lists": {"hidden_sizes": [], "depths": []}, "lists in lists": {"depths": [[1], [1], [1], [1]]},
        "null": {"hidden_sizes": None}, "an activation that is code": {"hidden_act": "__import__('os')"}, "an activation that is a number": {"hidden_act": 7},
        "odd heads": {"num_attention_heads": [3, 3, 3, 3]}, "dropout of 9": {"drop_path_rate": 9.0},
    }  # fmt: skip
    keys = {
        "attention from somebody's repository": {"_attn_implementation": "evil/kernel", "attn_implementation": "evil/kernel"},
        "a pipeline of its own": {"custom_pipelines": {"x": {"impl": "evil.Pipe", "pt": ["AutoModel"]}}},
        "quantised": {"quantization_config": {"quant_method": "bitsandbytes", "load_in_4bit": True}}, "an evil type": {"dtype": "evil", "torch_dtype": "__import__"},
        "eight bits": {"dtype": "int8"}, "pruned heads": {"pruned_heads": {"0": [0, 1, 2]}}, "a base from elsewhere": {"_name_or_path": "/etc/passwd", "backbone": "evil/model"},
        "a backbone of timm": {"use_timm_backbone": True, "backbone_config": {"model_type": "timm_backbone", "backbone": "hf-hub:evil/x"}}, "adapters": {"adapter_path": "../.."},
        "outputs of another shape": {"return_dict": False, "output_hidden_states": True, "torchscript": True}, "keys of Python": {"__class__": "x", "__init__": "y", "to_dict": 3},
    }  # fmt: skip
    processors = {
        "a class of its own": {"image_processor_type": "evil.Processor", "auto_map": {"AutoImageProcessor": "evil.Processor"}}, "factor NaN": {"rescale_factor": float("nan")},
        "factor 1e300": {"rescale_factor": 1e300}, "seven means": {"image_mean": [0.5] * 7}, "deviations of 1e-300": {"image_std": [1e-300] * 3}, "filter 99": {"resample": 99},
        "yes": {"do_resize": "yes", "do_normalize": "no"}, "an edge of zero": {"size": {"shortest_edge": 0}}, "a size of text": {"size": "512x512"}, "a size of infinity": {"size": {"height": float("inf"), "width": 5}},
        "a long edge": {"size": {"longest_edge": 10**9}}, "a crop": {"do_center_crop": True, "crop_size": {"height": 10**6, "width": 10**6}}, "padding": {"do_pad": True, "pad_size": {"height": 10**6, "width": 10**6}},
        "reduced labels": {"do_reduce_labels": True},
    }  # fmt: skip
    made = {f"config: {name}": _config(**change) for name, change in (numbers | keys).items()}
    made |= {f"processor: {name}": _processor(**change) for name, change in processors.items()}
    again = lambda files: {**files, "config.json": files["config.json"].rstrip()[:-1] + b', "model_type": "segformer", "model_type": "evil"}'}  # noqa: E731
    made |= {"config: keys that are there twice": again, "config: with a mark": lambda files: {**files, "config.json": b"\xef\xbb\xbf" + files["config.json"]}}
    made |= {"config: of UTF-16": lambda files: {**files, "config.json": files["config.json"].decode().encode("utf-16")}, "processor: nested": _raw("preprocessor_config.json", b"[" * 90_000)}
    made |= {"code that adapters bring": lambda files: {**files, "adapter_config.json": b'{"base_model_name_or_path": "/etc"}', "evil.py": code}}
    return made


def labels() -> dict[str, Change]:
    """Class names that look like something else, are no names, or are much too long."""
    names = {
        "control characters": ["\x00\x1b[2J", "\r\n\t"], "turned round": ["\u202eabc", "\u2066x"], "nothing to see": ["\u200b\u200c\ufeff", "\u2060"],
        "all the same": ["cell", "cell"], "empty": ["", " "], "half letters": ["\ud800", "\udfff"], "of half a megabyte": ["x" * 250_000, "y" * 250_000],
        "numbers": [1, 2.5], "nothing": [None, None], "lists": [["a"], {"b": "c"}], "thousands of marks": ["a" + "\u0301" * 5000, "z\u0489"], "spreadsheet formulas": ["=cmd|'/c x'!A1", "@SUM(1)"],
    }  # fmt: skip
    made = {f"labels: {name}": _config(id2label=dict(enumerate(values)), label2id={}) for name, values in names.items()}
    made |= {f"label ids: {name}": _config(id2label={key: "x" for key in keys}) for name, keys in (
        ("negative", ("-1", "0")), ("with gaps", ("0", "7")), ("of Arabic digits", ("\u0660", "\u0661")), ("with signs", ("+0", "0x1")), ("twice", ("0", "00")), ("empty", ("", "0")), ("superscript", ("\u00b9", "0")),
    )}  # fmt: skip
    return made


def all_of_them(canary: Path) -> dict[str, Change]:
    """All of them by name; none may write the file ``canary``."""
    import pickle

    beside = {"pickles beside": _raw("training_args.bin", pickle.dumps(Canary(canary)))}
    return weights() | configurations(canary) | labels() | beside
