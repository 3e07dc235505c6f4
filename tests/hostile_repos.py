"""Repositories that strangers might publish to do harm: files by name, made from a small checkpoint that is sound."""

from __future__ import annotations

import json
import pickle
import struct
from collections.abc import Callable
from pathlib import Path

import numpy as np
from safetensors.numpy import load, save

Files = dict[str, bytes]


class Canary:
    """Unpickled, it writes a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def __reduce__(self) -> tuple[object, ...]:
        return Path.write_text, (self.path, "fired")


def _config(**changes: object) -> Callable[[Files], Files]:
    return lambda files: {**files, "config.json": json.dumps({**json.loads(files["config.json"]), **changes}).encode()}


def _processor(**changes: object) -> Callable[[Files], Files]:
    name = "preprocessor_config.json"
    return lambda files: {**files, name: json.dumps({**json.loads(files[name]), **changes}).encode()}


def _weights(change: Callable[[dict[str, np.ndarray]], object]) -> Callable[[Files], Files]:
    def changed(files: Files) -> Files:
        tensors = {name: array.copy() for name, array in load(files["model.safetensors"]).items()}
        change(tensors)
        return {**files, "model.safetensors": save(tensors)}

    return changed


def _header(**tensors: object) -> Callable[[Files], Files]:
    text = json.dumps(tensors).encode()
    return lambda files: {**files, "model.safetensors": struct.pack("<Q", len(text)) + text + bytes(64)}


def _json(entries: dict[str, object], **changes: object) -> bytes:
    return json.dumps({**entries, **changes}).encode()


def _raw(name: str, data: bytes) -> Callable[[Files], Files]:
    return lambda files: {**files, name: data}


def _first(tensors: dict[str, np.ndarray]) -> np.ndarray:
    return tensors[sorted(name for name, each in tensors.items() if each.dtype.kind == "f")[0]]


def _fill(value: float) -> Callable[[dict[str, np.ndarray]], object]:
    return lambda tensors: _first(tensors).fill(value)


def refused(canary: Path) -> dict[str, Callable[[Files], Files]]:
    """Repositories that must not be served, by what is wrong with them.

    Args:
        canary: file that none of them may write.
    """
    evil = pickle.dumps(Canary(canary))
    code = f"open({str(canary)!r}, 'w').write('fired')\n".encode()
    without = lambda files: {name: data for name, data in files.items() if name != "model.safetensors"}  # noqa: E731
    mapped = {"AutoModelForSemanticSegmentation": "evil.Model", "AutoConfig": "evil.Config"}
    remote = {"auto_map": mapped, "model_type": "evil"}
    smp = {"_model_class": "Unet", "encoder_name": "resnet18", "classes": 2}
    return {
        "pickle only": lambda files: {**without(files), "pytorch_model.bin": evil},
        "pickle as pth": lambda files: {**without(files), "model.pth": evil},
        "pickle as ckpt": lambda files: {**without(files), "model.ckpt": evil},
        "pickle called safetensors": _raw("model.safetensors", evil),
        "zip called safetensors": _raw("model.safetensors", b"PK\x03\x04" + bytes(200)),
        "code called safetensors": _raw("model.safetensors", code),
        "empty weights": _raw("model.safetensors", b""),
        "eight bytes": _raw("model.safetensors", bytes(8)),
        "endless header": _raw("model.safetensors", b"\xff" * 8 + b"{}"),
        "header longer than the file": _raw("model.safetensors", struct.pack("<Q", 10**6) + b"{}"),
        "header is no JSON": _raw("model.safetensors", struct.pack("<Q", 8) + b"{nothing" + bytes(8)),
        "header is a list": _raw("model.safetensors", struct.pack("<Q", 2) + b"[]"),
        "header nests": _raw("model.safetensors", struct.pack("<Q", 40_000) + b"[" * 40_000),
        "offsets beyond the end": _header(a={"dtype": "F32", "shape": [10**9], "data_offsets": [0, 4 * 10**9]}),
        "offsets run backwards": _header(a={"dtype": "F32", "shape": [4], "data_offsets": [32, 16]}),
        "offsets are negative": _header(a={"dtype": "F32", "shape": [4], "data_offsets": [-16, 0]}),
        "shape overflows": _header(a={"dtype": "F32", "shape": [2**32, 2**32], "data_offsets": [0, 64]}),
        "unknown dtype": _header(a={"dtype": "EVIL", "shape": [4], "data_offsets": [0, 16]}),
        "tensors overlap": _header(
            a={"dtype": "F32", "shape": [8], "data_offsets": [0, 32]},
            b={"dtype": "F32", "shape": [8], "data_offsets": [16, 48]},
        ),
        "truncated": lambda files: {**files, "model.safetensors": files["model.safetensors"][:-50]},
        "a tensor is missing": _weights(lambda tensors: tensors.pop(sorted(tensors)[0])),
        "most tensors are missing": _weights(lambda tensors: [tensors.pop(name) for name in sorted(tensors)[3:]]),
        "a tensor of another shape": _weights(
            lambda tensors: tensors.update({sorted(tensors)[0]: np.zeros((1, 2), np.float32)})
        ),
        "NaN": _weights(_fill(np.nan)),
        "infinity": _weights(_fill(np.inf)),
        "forward overflows": _weights(_fill(3e38)),
        "config is empty": _raw("config.json", b""),
        "config is a list": _raw("config.json", b"[]"),
        "config is a number": _raw("config.json", b"7"),
        "config is no text": _raw("config.json", b"\xff\xfe\x00\x01"),
        "config nests": _raw("config.json", b'{"a":' * 50_000),
        "config is missing": lambda files: {name: data for name, data in files.items() if name != "config.json"},
        "no such architecture": _config(model_type="evil", architectures=["Evil"]),
        "remote code": lambda files: {**_config(**remote)(files), "evil.py": code},
        "a path as architecture": _config(model_type="../../etc/passwd", architectures=["/etc/passwd"]),
        "giant widths": _config(hidden_sizes=[10**9] * 4),
        "giant decoder": _config(decoder_hidden_size=10**8),
        "endless depth": _config(depths=[10**7] * 4),
        "negative depth": _config(depths=[-1] * 4),
        "no heads": _config(num_attention_heads=[0] * 4),
        "texts for numbers": _config(hidden_sizes=["a"] * 4),
        "endless channels": _config(num_channels=10**7),
        "picture of 100,000 pixels a side": _processor(size={"height": 100_000, "width": 100_000}),
        "a deviation of zero": _processor(image_std=[0, 0, 0]),
        "a mean that is no number": _processor(image_mean=["a", None, {}]),
        "a negative size": _processor(size={"height": -5, "width": -5}),
        "smp with an encoder of a path": _raw("config.json", _json(smp, encoder_name="../../../etc/passwd")),
        "smp with giant decoders": _raw("config.json", _json(smp, decoder_channels=[10**6] * 5)),
        "smp of a dunder class": _raw("config.json", _json(smp, _model_class="__import__")),
    }


def served(canary: Path) -> dict[str, Callable[[Files], Files]]:
    """Repositories with something evil in them that is not touched; the model itself is sound.

    Args:
        canary: as for :func:`refused`.
    """
    evil, code = pickle.dumps(Canary(canary)), f"open({str(canary)!r}, 'w')".encode()
    image = "<img src=x onerror=\"document.title='fired'\">"
    html = {"0": "<script>document.title='fired'</script>", "1": image, "2": "a\u202eb"}
    return {
        "a pickle beside": _raw("pytorch_model.bin", evil),
        "code beside": lambda files: {**files, "modeling.py": code, "__init__.py": code, "setup.py": code},
        "a tensor too many": _weights(lambda tensors: tensors.update(evil=np.zeros(3, np.float32))),
        "100,000 classes": _config(id2label={str(index): "x" for index in range(100_000)}),
        "a class id like 10^12": _config(id2label={"0": "a", str(10**12): "b"}),
        "labels are a number": _config(id2label=3),
        "HTML as labels": _config(id2label=html, label2id={label: int(key) for key, label in html.items()}),
    }
