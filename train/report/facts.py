"""Everything that a checkpoint's card says, as data: what `training.json` holds, and the card is written from."""

from __future__ import annotations

import json
import platform
import re
import shlex
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import huggingface_hub
import numpy as np

from seg_demo import __version__
from seg_demo.types import LabelSet
from train.loop.storage import write_atomically

FACTS = "training.json"
# Stands in code snippets for the repository that is not known yet.
SOURCE = "USER/REPO"
LIBRARIES = ("torch", "torchvision", "transformers", "segmentation-models-pytorch", "timm")


def versions() -> dict[str, str]:
    """Versions of this project, Python, and the libraries whose arithmetic decides a result."""
    from importlib.metadata import PackageNotFoundError, version

    found = {"seg_demo": __version__, "python": platform.python_version()}
    for name in LIBRARIES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


@dataclass(frozen=True, kw_only=True)
class CardFacts:
    """What is known about a trained checkpoint. All text is shown as text, whatever characters are in it.

    Attributes:
        name: of the model, such as ``unet-cells``.
        architecture: row of the table of networks.
        task: ``semantic`` or ``instance``.
        labels: the classes.
        library: what the checkpoint is loaded with, such as ``segmentation_models_pytorch``.
        snippet: code that loads it in the plain library, with :data:`SOURCE` for the repository.
        data_name: short name of the data.
        data_source: as given to ``--data``.
        data_sha256: hash of the data; empty if unknown.
        train_images: number of images learnt from.
        val_images: number of held-out images, which the metrics are of.
        split: a sentence: how the held-out images were chosen.
        config: every setting of the run, JSON-able.
        command: the command line that reproduces it.
        metrics: of the held-out images, in [0, 1]: what :func:`train.report.metrics.evaluate` returned.
        before: metrics of what the run began with on the same images; empty where it knew nothing of these classes.
        licence: of the checkpoint: inherited from the base, or the data's own; None where nobody stated one.
        base: id of the checkpoint it started from; None from random weights.
        base_on_hub: whether ``base`` is a Hub id.
        fresh_layers: prefixes of the layers that were trained from random weights.
        parameters: number of weights.
        steps: optimizer steps; 0 for a checkpoint that was republished as it was.
        seconds: duration of the training.
        device: where it was trained, and in which precision.
        notes: sentences: what was done to the data, what was left out.
        limits: sentences: what the model does not know.
        repo_id: ``user/repo`` where it is pushed, or None.
        versions: of the libraries.
    """

    name: str
    architecture: str
    task: str
    labels: LabelSet
    library: str
    snippet: str
    data_name: str
    data_source: str
    data_sha256: str
    train_images: int
    val_images: int
    split: str
    config: dict[str, Any]
    command: str
    metrics: dict[str, float]
    before: dict[str, float] = field(default_factory=dict)
    licence: str | None = None
    base: str | None = None
    base_on_hub: bool = False
    fresh_layers: tuple[str, ...] = ()
    parameters: int = 0
    steps: int = 0
    seconds: float = 0.0
    device: str = ""
    notes: tuple[str, ...] = ()
    limits: tuple[str, ...] = ()
    repo_id: str | None = None
    versions: dict[str, str] = field(default_factory=versions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form without secrets and without folders of this machine; inverse of :meth:`from_dict`."""
        plain = {each.name: getattr(self, each.name) for each in fields(self) if each.name != "labels"}
        plain["labels"] = {
            "names": list(self.labels.names),
            "colors": self.labels.colors.tolist(),
            "background": self.labels.background,
        }
        plain["command"] = public_command(self.command)
        plain["config"] = {name: _last_part(value) for name, value in self.config.items()}
        plain["data_source"] = _last_part(self.data_source)
        plain["base"] = _last_part(self.base)
        return public(plain)

    @classmethod
    def from_dict(cls, data: dict[str, Any]) -> CardFacts:
        """Facts from what :meth:`to_dict` made."""
        labels = data["labels"]
        colors = np.array(labels["colors"], dtype=np.uint8)
        values = {each.name: data[each.name] for each in fields(cls) if each.name in data}
        for name in ("fresh_layers", "notes", "limits"):
            values[name] = tuple(values.get(name, ()))
        return cls(**{**values, "labels": LabelSet(tuple(labels["names"]), colors, labels["background"])})


def write_facts(folder: Path, facts: CardFacts) -> None:
    """Write ``training.json`` into a checkpoint folder.

    Raises:
        StorageError: the disk is full or fails.
    """
    write_atomically(folder / FACTS, json.dumps(facts.to_dict(), indent=2, ensure_ascii=False) + "\n")


def read_facts(folder: Path) -> CardFacts | None:
    """The facts in a checkpoint folder, or None where it has none (then nobody here trained it)."""
    try:
        return CardFacts.from_dict(json.loads((folder / FACTS).read_text(encoding="utf-8")))
    except (OSError, ValueError, KeyError, TypeError):
        return None


def public(value: Any) -> Any:
    """The same data with access tokens blotted out and the home folder as ``~``, in every text at any depth.

    >>> public({"a": ["hf_" + "x" * 30]})
    {'a': ['hf_***']}
    """
    if isinstance(value, str):
        text = re.sub(r"\bhf_[A-Za-z0-9]{20,}", "hf_***", value)
        token = huggingface_hub.get_token()
        text = text.replace(token, "hf_***") if token else text
        home = str(Path.home())
        return re.sub(rf"{re.escape(home)}(?=/|\b)", "~", text) if len(home) > 1 else text
    if isinstance(value, dict):
        return {public(key): public(each) for key, each in value.items()}
    if isinstance(value, (list, tuple)):
        return [public(each) for each in value]
    return value


def public_command(command: str) -> str:
    """A command line in which absolute paths are cut to their last part: other people have other folders.

    >>> public_command("python train/finetune.py --data '/home/ann/my cells' --output=/tmp/a/b --lr 0.1")
    "python train/finetune.py --data 'my cells' --output=b --lr 0.1"
    """
    words = []
    for word in shlex.split(command):
        flag, equals, value = word.partition("=") if word.startswith("--") else ("", "", word)
        words.append(flag + equals + _last_part(value))
    return shlex.join(words)


def _last_part(value: Any) -> Any:
    """An absolute path without its folders; anything else as it is."""
    return Path(value).name if isinstance(value, str) and (Path(value).is_absolute() or value.startswith("~")) else value
