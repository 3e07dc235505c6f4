"""What a finished checkpoint says of itself: `training.json`, the facts; `README.md`, the model card; figures."""

from __future__ import annotations

import dataclasses
import html
import json
import logging
import platform
import re
import shlex
import shutil
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import huggingface_hub
import numpy as np
from huggingface_hub import EvalResult, ModelCardData

from seg_demo import __version__, networks
from seg_demo.core import TASKS, LabelSet, ModelSpec, SegDemoError, save_file, save_folder
from seg_demo.hub.licences import inherited
from seg_demo.inference import onnx
from seg_demo.networks import CLICKED
from train import robustness
from train import run as runs
from train.data import BUILT_IN, CELLS
from train.evaluate import COUNTS, CURVES, HeldOut, comparable, evaluate_best, learning_curves, model_of, sample_grid
from train.metrics import OBJECTS, STANDARD_CAP
from train.run import load_state

if TYPE_CHECKING:
    from seg_demo.networks.base import Network
    from train.setup import Prepared

log = logging.getLogger("train")

FACTS = "training.json"
ONNX_FILE = "onnx/model.onnx"
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
        architecture: family of networks.
        task: a name of :data:`seg_demo.core.types.TASKS`.
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
        metrics: of the held-out images, in [0, 1]: what :func:`train.evaluate.evaluate` returned.
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
        robustness: what :func:`train.robustness.measure` returned; None where it was not asked for.
        onnx: of :data:`ONNX_FILE`, ``opset``, ``input``, ``compared`` (a sentence) and ``code``; None where there is none.
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
    robustness: dict[str, Any] | None = None
    onnx: dict[str, Any] | None = None
    versions: dict[str, str] = field(default_factory=versions)

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form without secrets and without folders of this machine; inverse of :meth:`from_dict`."""
        plain = {fact.name: getattr(self, fact.name) for fact in fields(self) if fact.name != "labels"}
        plain["labels"] = {
            "names": list(self.labels.names),
            "colors": self.labels.colors.tolist(),
            "background": self.labels.background,
        }
        if self.labels.things is not None:
            plain["labels"]["isthing"] = self.labels.things.astype(int).tolist()
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
        values = {fact.name: data[fact.name] for fact in fields(cls) if fact.name in data}
        for name in ("fresh_layers", "notes", "limits"):
            values[name] = tuple(values.get(name, ()))
        things = np.array(labels["isthing"], dtype=bool) if "isthing" in labels else None
        return cls(**{**values, "labels": LabelSet(tuple(labels["names"]), colors, labels["background"], things)})


def write_facts(folder: Path, facts: CardFacts) -> None:
    """Write ``training.json`` into a checkpoint folder.

    Raises:
        StorageError: the disk is full or fails.
    """
    save_file(folder / FACTS, json.dumps(facts.to_dict(), indent=2, ensure_ascii=False) + "\n")


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
        return {public(key): public(part) for key, part in value.items()}
    if isinstance(value, (list, tuple)):
        return [public(part) for part in value]
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


SAMPLES_PNG = "samples.png"
CURVES_PNG = "curves.png"
ROBUSTNESS_PNG = "robustness.png"
MOST_CLASSES = 200
COLUMNS = {"iou": "IoU", "dice": "Dice", "boundary_iou": "boundary IoU", "mask_ap": "mask AP", "pq": "PQ", "sq": "SQ", "rq": "RQ"}
# The licence ids that the Hub accepts and that people use; any other name goes into `license_name`.
LICENCES = {
    "apache-2.0", "mit", "bsd", "bsd-2-clause", "bsd-3-clause", "isc", "unlicense", "cc0-1.0", "cc-by-4.0", "cc-by-sa-4.0",
    "cc-by-nc-4.0", "cc-by-nc-sa-4.0", "cc-by-nd-4.0", "gpl-3.0", "lgpl-3.0", "agpl-3.0", "mpl-2.0", "openrail", "other",
}  # fmt: skip


def write_card(folder: Path, facts: CardFacts) -> None:
    """Write ``README.md`` and ``training.json`` into a checkpoint folder; the same facts give the same bytes.

    The card shows ``samples.png`` and ``curves.png`` if they are in the folder.

    Args:
        folder: the checkpoint.
        facts: what to say.

    Raises:
        StorageError: the disk is full or fails.
    """
    shown = CardFacts.from_dict(facts.to_dict())  # without secrets and without folders of this machine
    pictures = [name for name in (SAMPLES_PNG, CURVES_PNG, ROBUSTNESS_PNG) if (folder / name).is_file()]
    write_facts(folder, facts)
    save_file(folder / "README.md", card_text(shown, pictures))


def card_text(facts: CardFacts, pictures: list[str]) -> str:
    """The whole card: YAML front matter and Markdown.

    Args:
        facts: what to say.
        pictures: which of ``samples.png``, ``curves.png`` and ``robustness.png`` there are.
    """
    parts = [
        f"---\n{_metadata(facts).to_yaml()}\n---",
        f"# {as_text(facts.name)}",
        _what(facts),
        "## Classes\n\n" + _classes(facts),
        "## How good it is\n\n" + _metrics(facts, pictures),
        *(["## How robust it is\n\n" + _robust(facts, pictures)] if facts.robustness else []),
        "## Use it\n\n" + _use(facts),
        *(["## Without torch\n\n" + _without_torch(facts)] if facts.onnx else []),
        "## Data\n\n" + _data(facts),
        "## Training\n\n" + _training(facts, pictures),
        "## Limits\n\n" + _limits(facts),
        "## Licence\n\n" + _licence(facts),
    ]
    return "\n\n".join(parts) + "\n"


def as_text(value: object, longest: int = 300) -> str:
    r"""Anything as Markdown that shows just these characters: no markup, no HTML, no link, one line.

    >>> print(as_text("<b>my_cells*</b>"))
    &lt;b&gt;my\_cells\*&lt;/b&gt;
    """
    text = " ".join(str(value).split())
    text = text if len(text) <= longest else text[: longest - 1] + "…"
    text = html.escape("".join(letter for letter in text if letter.isprintable()), quote=False)
    text = re.sub(r"([\\`*_{}\[\]|~$#!@])", r"\\\1", text)
    return re.sub(r":(?=//)", r"\\:", re.sub(r"(?i)(www)\.", r"\1\\.", text))


def _metadata(facts: CardFacts) -> ModelCardData:
    kind, _, dataset = facts.data_source.partition(":")
    on_hub = kind == "hub" and bool(dataset)
    results = [
        EvalResult(
            task_type="image-segmentation",
            task_name=f"{facts.task} segmentation",
            dataset_type=dataset if on_hub else _slug(facts.data_name),
            dataset_name=facts.data_name,
            dataset_split="held out",
            dataset_args={"sha256": facts.data_sha256} if facts.data_sha256 else None,
            metric_type=key,
            metric_name=name,
            metric_value=round(facts.metrics[key], 4),
        )
        for key, name in CURVES.items()
        if key in facts.metrics
    ]
    licence, licence_name = _licence_fields(facts.licence)
    return ModelCardData(
        base_model=facts.base if facts.base_on_hub else None,
        datasets=[dataset] if on_hub and facts.steps else None,
        library_name=facts.library.replace("_", "-"),
        license=licence,
        license_name=licence_name,
        pipeline_tag="image-segmentation",
        tags=["image-segmentation", f"{facts.task}-segmentation", facts.architecture],
        model_name=facts.name,
        # Without a result there is no model-index to write, and the name alone would be refused.
        eval_results=results or None,
    )


def _slug(name: str) -> str:
    return re.sub(r"[^a-z0-9.-]+", "-", name.lower()).strip("-.") or "data"


def _licence_fields(licence: str | None) -> tuple[str | None, str | None]:
    if not licence:
        return None, None
    known = licence.strip().lower()
    return (known, None) if known in LICENCES else ("other", _slug(licence))


def _what(facts: CardFacts) -> str:
    title = networks.title_of(facts.architecture)
    task = TASKS[facts.task]
    if task.stuff:
        does = "gives every pixel one segment, things one by one and stuff one per class"
    elif task.objects:
        does = f"finds objects, each with its own mask{', class and score' if task.scores else ' and class'}"
    else:
        does = "gives every pixel one class"
    start = f"fine-tuned from {as_text(facts.base)}" if facts.base else "trained from random weights"
    if facts.base and not facts.steps:
        start = f"the weights of {as_text(facts.base)}, as they are"
    size = f", {facts.parameters / 1e6:.2f} million weights" if facts.parameters else ""
    data = f" Data: {as_text(facts.data_name)}." if facts.steps else ""
    return (
        f"A {title} ({facts.library}{size}) that {does}: {facts.task} segmentation with {len(facts.labels)} classes, "
        f"{start}.{data}"
    )


def _classes(facts: CardFacts) -> str:
    kinds = [kind for kind in COLUMNS if any(key.startswith(f"{kind}/") for key in facts.metrics)]
    header = ["id", "class", "colour", *(COLUMNS[kind] for kind in kinds)]
    rows = [header, ["---"] * len(header)]
    for index, name in enumerate(facts.labels.names[:MOST_CLASSES]):
        note = " (background)" if index == facts.labels.background else ""
        if facts.labels.things is not None and TASKS[facts.task].stuff:
            note += " (thing)" if facts.labels.is_thing(index) else " (stuff)"
        color = "`#{:02x}{:02x}{:02x}`".format(*facts.labels.colors[index])
        scores = [_number(facts.metrics.get(f"{kind}/{name}")) for kind in kinds]
        rows.append([str(index), as_text(name) + note, color, *scores])
    table = "\n".join(f"| {' | '.join(row)} |" for row in rows)
    left = len(facts.labels) - MOST_CLASSES
    more = f"\n\nand {left} more, in `config.json`." if left > 0 else ""
    return table + more + "\n\nA dash: the class is neither in the held-out images nor in what was predicted for them."


def _number(value: float | None) -> str:
    return "–" if value is None else f"{value:.3f}"


def _metrics(facts: CardFacts, pictures: list[str]) -> str:
    names = {TASKS[facts.task].metric: TASKS[facts.task].metric} | CURVES | COUNTS
    present = [key for key in (*CURVES, *COUNTS, *(names.keys() - CURVES.keys() - COUNTS.keys())) if key in facts.metrics]
    before = {key: f" {_number(facts.before.get(key))} |" if facts.before else "" for key in present}
    rows = [f"| {names[key]} | {facts.metrics[key]:.4f} |{before[key]}" for key in present]
    if not facts.val_images:
        return "It was not measured here."
    if not rows:
        return "The held-out images have nothing in them that could be measured."
    about = (
        f"On {facts.val_images} held-out images at their original size, through the same code that serves predictions, "
        "after loading this folder afresh."
    )
    if TASKS[facts.task].stuff:
        about += " Panoptic quality (Kirillov et al. 2019) by panopticapi's rules: PQ = SQ x RQ per class, then the mean over the classes."
    elif CLICKED in facts.metrics:
        about += " Clicks are set by a program: in the middle of an object, then in the middle of the largest region that is wrong (Xu et al. 2016),"
        about += f" in up to {OBJECTS} objects of every image."
    elif not TASKS[facts.task].objects:
        about += " Pixels are summed over all images. Boundary IoU after Cheng et al. 2021, within 2 % of the diagonal."
    else:
        lifted = {key: value for key, value in facts.metrics.items() if key.endswith(f"@{STANDARD_CAP}")}
        about += " COCO's average precision"
        capped = ", ".join(f"{CURVES[key.partition('@')[0]]} {value:.4f}" for key, value in lifted.items())
        about += ", at most 100 objects per image." if not lifted else (
            f"; but COCO counts at most {STANDARD_CAP} objects of a class per image, and some of these images hold more: here all "
            f"count. With COCO's cap: {capped}."
        )
    shown = f"\n\nThe worst held-out images: image, truth, prediction.\n\n![worst samples]({SAMPLES_PNG})"
    header = "| metric | value | before training |\n| --- | --- | --- |" if facts.before else "| metric | value |\n| --- | --- |"
    table = "\n".join([header, *rows])
    return f"{about}\n\n{table}" + (shown if SAMPLES_PNG in pictures else "")


def _robust(facts: CardFacts, pictures: list[str]) -> str:
    found = facts.robustness
    metric = CURVES.get(found["metric"], found["metric"])
    text = f"{metric} on {found['images']} held-out images that were changed; as they are, {found['clean']:.3f} (seed {found['seed']}). "
    text += "Truth is turned and resized as the image is. A dash: not measured in the time that was given."
    if any(row["name"] == robustness.FGSM for row in found["rows"]):
        text += " FGSM (Goodfellow et al. 2015) moves every pixel up the gradient of the loss, in crops of the size that the network sees; 0 is the score of these."
    if looks := found.get("looks"):
        means = " and ".join(f"of {count} {value:.3f}" for count, value in looks.items() if value is not None)
        text += f" The mean of several looks at the images as they are (`looks=` when predicting: also mirrored, also upside down) gives: {means}."
    plot = f"\n\n![score over the strength of every change]({ROBUSTNESS_PNG})" if ROBUSTNESS_PNG in pictures else ""
    return f"{text}{plot}\n\n{robustness.table(found)}"


def _use(facts: CardFacts) -> str:
    source = facts.repo_id or SOURCE
    demo = (
        "from PIL import Image\nfrom seg_demo import load_model\n\n"
        f'result = load_model("{source}").predict(Image.open("image.png"))\n'
        "result.id_map    # (H, W), at the size of the image\nresult.to_dict() # JSON with one COCO RLE per segment"
    )
    if facts.library == "seg_demo":  # a network of this project's own has no other library
        return _code(facts.snippet.replace(SOURCE, source), "python")
    return (
        f"With {as_text(facts.library)} alone:\n\n{_code(facts.snippet.replace(SOURCE, source), 'python')}\n\n"
        f"With the demo's code, or by typing `{source}` into its model picker:\n\n{_code(demo, 'python')}"
    )


def _without_torch(facts: CardFacts) -> str:
    about = facts.onnx
    places = ", where transformers.js and optimum look for it" if facts.library == "transformers" else ""
    text = f"`{ONNX_FILE}`{places}: ONNX opset {about['opset']}, input `{as_text(about['input'])}`. {as_text(about['compared'], 1000)} "
    text += "Class names, task and preprocessing are in its metadata."
    if not about["code"]:
        return f"{text} Pictures are preprocessed as the files of this repository say."
    return f"{text} With numpy, Pillow and onnxruntime alone:\n\n{_code(about['code'], 'python')}"


def _data(facts: CardFacts) -> str:
    if not facts.steps and not facts.val_images:
        return "\n".join(["- It was neither trained nor measured here.", *(f"- {as_text(note)}" for note in facts.notes)])
    lines = [
        f"- {as_text(facts.data_name)} (`--data`: {as_text(facts.data_source)}): {facts.train_images} images to learn from, "
        f"{facts.val_images} held out.",
        f"- Split: {as_text(facts.split)}",
    ]
    if facts.data_sha256:
        lines.append(f"- SHA-256 of the data: `{as_text(facts.data_sha256)}`")
    return "\n".join(lines + [f"- {as_text(note)}" for note in facts.notes])


def _training(facts: CardFacts, pictures: list[str]) -> str:
    parts = []
    if facts.steps:
        where = f" on {as_text(facts.device)}" if facts.device else ""
        took = f" in {facts.seconds / 60:.0f} minutes" if facts.seconds >= 60 else ""
        seed = facts.config.get("seed")
        parts.append(f"{facts.steps} steps{took}{where}" + (f", seed {seed}." if seed is not None else "."))
        if facts.base and facts.fresh_layers:
            names = ", ".join(as_text(name.rstrip(".")) for name in facts.fresh_layers)
            parts.append(f"Layers that are new for these classes: {names}.")
    else:
        parts.append("Not trained here: evaluated and published as it was.")
    if CURVES_PNG in pictures:
        parts.append(f"![learning curves]({CURVES_PNG})")
    parts.append(f"The command that reproduces it:\n\n{_code(facts.command, 'bash')}")
    settings = json.dumps({"config": facts.config, "versions": facts.versions}, indent=2, ensure_ascii=False)
    parts.append(f"<details>\n<summary>Every setting</summary>\n\n{_code(settings, 'json')}\n\n</details>")
    return "\n\n".join(parts)


def _limits(facts: CardFacts) -> str:
    figures = (
        f"The figures hold for images like the {facts.val_images} that were held out of the same data; other cameras, "
        "scales and subjects can be far worse. Try it on your own images before you rely on it."
    )
    classes = "It knows only the classes above: anything else in a picture gets one of these classes, or none."
    lines = (*facts.limits, *[figures] * bool(facts.val_images), classes)
    return "\n".join(f"- {as_text(line, 1000)}" for line in lines)


def _inherited(base: ModelSpec) -> str | None:
    """The licence of a base, or of what that was made from where its terms are narrower."""
    return (inherited(base.id, base.licence) if base.source == "hub" else base.licence) or None


def _licence(facts: CardFacts) -> str:
    if not facts.licence:
        return "No licence is stated for the weights or the data; ask their owner before you use them."
    if facts.base:
        return f"{as_text(facts.licence)}, inherited from {as_text(facts.base)}. The licence of the data may apply as well."
    return f"{as_text(facts.licence)}."


def _code(text: str, language: str) -> str:
    """A fenced block that nothing in the text can close."""
    longest = max((len(run) for run in re.findall(r"`+", text)), default=0)
    fence = "`" * max(3, longest + 1)
    return f"{fence}{language}\n{text.rstrip()}\n{fence}"

CELLS_LIMITS = (
    "Made for cells, nuclei, coins, pills, seeds and other separate round things on a background that is not too busy.",
    "It knows no everyday objects: people, animals, furniture and streets are background to it; what it paints there is wrong.",
    "All its training pictures were drawn by a program. Dense small nuclei in stained tissue, and cells much larger than a "
    "quarter of the picture, are its weak spots; on a clean picture a plain Otsu threshold can be better.",
)


def write_report(prepared: Prepared, folder: Path, held_out: HeldOut) -> dict[str, float]:
    """Evaluate the best checkpoint of a run and add card, ``training.json``, sample grid and learning curves to its folder.

    Args:
        prepared: the run.
        folder: of the run; ``best/`` in it is replaced by itself with the report, atomically.
        held_out: the images that it is evaluated on.

    Returns:
        The metrics, which are those of the card.
    """
    metrics, results, checkpoint = evaluate_best(prepared, folder, held_out)
    facts = dataclasses.replace(card_facts(prepared, folder, checkpoint, metrics), val_images=len(results))
    if prepared.config.robustness:
        facts = dataclasses.replace(facts, robustness=_measured(prepared, folder, checkpoint, held_out))
    pictures = [result.picture for result in results if result.picture is not None]

    def write(fresh: Path) -> None:
        shutil.copytree(folder / runs.BEST, fresh, dirs_exist_ok=True)
        if pictures:
            sample_grid(pictures, fresh / SAMPLES_PNG)
        if (folder / "metrics.jsonl").is_file():
            learning_curves(folder / "metrics.jsonl", fresh / CURVES_PNG)
        if facts.robustness is not None:
            robustness.draw(facts.robustness, fresh / ROBUSTNESS_PNG)
        write_card(fresh, with_onnx(fresh, facts) if prepared.config.onnx else facts)

    save_folder(folder / runs.BEST, write)
    log.info("On %d held-out image%s, at the original size:", len(results), "" if len(results) == 1 else "s")
    for name, title in (CURVES | COUNTS).items():
        if name in metrics:
            log.info("  %-16s %.4f%s", title, metrics[name], beside_standard(name, metrics))
    log.info("The checkpoint and its card: %s", folder / runs.BEST)
    return metrics


def _measured(prepared: Prepared, folder: Path, checkpoint: Network, held_out: HeldOut) -> dict[str, Any] | None:
    """How robust the best network of a run is; None where there is nothing to measure."""
    config = prepared.config
    samples, labels = comparable(prepared, checkpoint, held_out)
    if labels is None:
        return None
    return robustness.measure(
        model_of(checkpoint, folder / runs.BEST, prepared.dataset.name), checkpoint, iter(samples), labels, task=prepared.task, loss=config.loss,
        minutes=config.robustness, seed=config.seed, quiet=config.json,
    )  # fmt: skip


def with_onnx(folder: Path, facts: CardFacts) -> CardFacts:
    """Write a checkpoint as ONNX beside its weights, where transformers.js and optimum look.

    Args:
        folder: the checkpoint.
        facts: about it.

    Returns:
        With ``onnx``; as they are, and no file is written, where the file would not give torch's labels, which is logged.
    """
    try:
        done = onnx.export(networks.load(folder), folder / ONNX_FILE, ONNX_FILE, {"model": facts.name}, lambda text: log.info("%s", text))
    except SegDemoError as error:
        log.warning("There is no %s: %s", ONNX_FILE, error)
        return facts
    log.info("%s", done.sentence())
    return dataclasses.replace(facts, onnx={"opset": done.opset, "input": done.input, "compared": done.sentence(), "code": done.code})


def add_onnx(folder: Path, facts: CardFacts) -> CardFacts:
    """As :func:`with_onnx`, to a checkpoint folder that has its card already; it is replaced by itself, atomically."""

    def write(fresh: Path) -> None:
        shutil.copytree(folder, fresh, dirs_exist_ok=True)
        write_card(fresh, with_onnx(fresh, facts))

    save_folder(folder, write)
    return read_facts(folder)


def beside_standard(name: str, metrics: dict[str, float]) -> str:
    """COCO's figure beside one whose cap on the objects of an image was lifted, as the end of a line; else nothing.

    Args:
        name: of the figure.
        metrics: of the held-out images.
    """
    standard = metrics.get(f"{name}@{STANDARD_CAP}")
    if standard is None:
        return ""
    return f" (images hold more than {STANDARD_CAP} objects, and all count; with COCO's cap of {STANDARD_CAP}: {standard:.4f})"


def card_facts(prepared: Prepared, folder: Path, checkpoint: Network, metrics: dict[str, float]) -> CardFacts:
    """What the card says about a run.

    Args:
        prepared: the run.
        folder: of the run.
        checkpoint: that was evaluated.
        metrics: of the held-out images.
    """
    config, start, dataset = prepared.config, prepared.start, prepared.dataset
    history = load_state(folder / runs.LAST)["history"]
    given = any(item.split == "val" for item in dataset.items)
    by_hash = f"Held out: {config.val_fraction:.0%} of the images, by the hash of their content and seed {config.seed}."
    base, trained = start.base, history["step"] > 0
    first = history["lines"][0] if history["lines"] and history["lines"][0]["step"] == 0 else {}
    knows_cells = dataset.source == CELLS and (trained or (base is not None and base.source == "bundled"))
    return CardFacts(
        name=start.result_name(dataset.name, trained),
        architecture=checkpoint.name,
        task=prepared.task,
        labels=checkpoint.labels,
        library=checkpoint.family.library,
        snippet=checkpoint.card_snippet(SOURCE),
        data_name=dataset.name,
        data_source=config.data,
        data_sha256=dataset.digest,
        train_images=len(prepared.train) if trained else 0,
        val_images=len(prepared.val),
        split="The held-out images are those that the data gives." if given else by_hash,
        config=config.to_dict(),
        command=runs.command_of(config),
        metrics=metrics,
        before={key: first[key] for key in CURVES if key in first},
        licence=_inherited(base) if base else "apache-2.0" if dataset.source in BUILT_IN else None,
        base=base.id if base else None,
        base_on_hub=base is not None and base.source == "hub",
        fresh_layers=start.fresh,
        parameters=sum(parameter.numel() for parameter in checkpoint.module.parameters()),
        steps=history["step"],
        seconds=history["lines"][-1]["seconds"] if history["lines"] else 0.0,
        device=f"{prepared.device.type}, {'fp32' if prepared.precision == 'no' else prepared.precision}",
        notes=(*prepared.notes, *start.notes) if trained or metrics else start.notes,
        limits=CELLS_LIMITS if knows_cells else (),
    )
