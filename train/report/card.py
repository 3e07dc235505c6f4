"""The model card: what a checkpoint is, how good, how to load it, and how it was made."""

from __future__ import annotations

import html
import json
import re
from pathlib import Path

from huggingface_hub import EvalResult, ModelCardData

from seg_demo import networks
from train.loop.storage import write_atomically
from train.report.facts import SOURCE, CardFacts, write_facts
from train.report.figures import CURVES
from train.report.instances_ap import STANDARD_CAP

SAMPLES_PNG = "samples.png"
CURVES_PNG = "curves.png"
MOST_CLASSES = 200
PER_CLASS = {"semantic": ("iou", "dice", "boundary_iou"), "instance": ("mask_ap",)}
COLUMNS = {"iou": "IoU", "dice": "Dice", "boundary_iou": "boundary IoU", "mask_ap": "mask AP"}
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
    pictures = [name for name in (SAMPLES_PNG, CURVES_PNG) if (folder / name).is_file()]
    write_facts(folder, facts)
    write_atomically(folder / "README.md", card_text(shown, pictures))


def card_text(facts: CardFacts, pictures: list[str]) -> str:
    """The whole card: YAML front matter and Markdown.

    Args:
        facts: what to say.
        pictures: which of ``samples.png`` and ``curves.png`` there are.
    """
    parts = [
        f"---\n{_metadata(facts).to_yaml()}\n---",
        f"# {as_text(facts.name)}",
        _what(facts),
        "## Classes\n\n" + _classes(facts),
        "## How good it is\n\n" + _metrics(facts, pictures),
        "## Use it\n\n" + _use(facts),
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
    text = html.escape("".join(each for each in text if each.isprintable()), quote=False)
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
    title = networks.NETWORKS[facts.architecture].title
    semantic = facts.task == "semantic"
    does = "gives every pixel one class" if semantic else "finds objects, each with its own mask, class and score"
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
    kinds = [kind for kind in PER_CLASS[facts.task] if any(key.startswith(f"{kind}/") for key in facts.metrics)]
    header = ["id", "class", "colour", *(COLUMNS[kind] for kind in kinds)]
    rows = [header, ["---"] * len(header)]
    for index, name in enumerate(facts.labels.names[:MOST_CLASSES]):
        note = " (background)" if index == facts.labels.background else ""
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
    present = [key for key in CURVES if key in facts.metrics]
    before = {key: f" {_number(facts.before.get(key))} |" if facts.before else "" for key in present}
    rows = [f"| {CURVES[key]} | {facts.metrics[key]:.4f} |{before[key]}" for key in present]
    if not facts.val_images:
        return "It was not measured here."
    if not rows:
        return "The held-out images have nothing in them that could be measured."
    about = (
        f"On {facts.val_images} held-out images at their original size, through the same code that serves predictions, "
        "after loading this folder afresh."
    )
    if facts.task == "semantic":
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


def _use(facts: CardFacts) -> str:
    source = facts.repo_id or SOURCE
    demo = (
        "from PIL import Image\nfrom seg_demo import load_model\n\n"
        f'result = load_model("{source}").predict(Image.open("image.png"))\n'
        "result.id_map    # (H, W), at the size of the image\nresult.to_dict() # JSON with one COCO RLE per segment"
    )
    return (
        f"With {as_text(facts.library)} alone:\n\n{_code(facts.snippet.replace(SOURCE, source), 'python')}\n\n"
        f"With the demo's code, or by typing `{source}` into its model picker:\n\n{_code(demo, 'python')}"
    )


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
