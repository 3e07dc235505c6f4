"""The last stage of a run: what the best checkpoint is worth, written where whoever loads it will look."""

from __future__ import annotations

import dataclasses
import logging
import shutil
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

from tqdm import tqdm

from seg_demo import networks
from seg_demo.models.model import Model
from train import runs
from train.data.sample import Sample
from train.loop.state import load_state
from train.loop.storage import save_folder
from train.prepared import Prepared
from train.report.card import CURVES_PNG, SAMPLES_PNG, write_card
from train.report.facts import SOURCE, CardFacts
from train.report.figures import CURVES, learning_curves, sample_grid
from train.report.instances_ap import STANDARD_CAP
from train.report.metrics import evaluate
from train.start import name_of

if TYPE_CHECKING:
    from seg_demo.networks.base import Checkpoint
    from seg_demo.types import LabelSet

log = logging.getLogger("train")

CELLS_LIMITS = (
    "Made for cells, nuclei, coins, pills, seeds and other separate round things on a background that is not too busy.",
    "It knows no everyday objects: people, animals, furniture and streets are background to it; what it paints there is wrong.",
    "All its training pictures were drawn by a program. Dense small nuclei in stained tissue, and cells much larger than a "
    "quarter of the picture, are its weak spots; on a clean picture a plain Otsu threshold can be better.",
)


def write_report(
    prepared: Prepared,
    folder: Path,
    model: Model,
    samples: Iterable[Sample],
    checkpoint: Checkpoint,
    labels: LabelSet | None = None,
) -> dict[str, float]:
    """Evaluate a checkpoint and add card, ``training.json``, sample grid and learning curves to its folder.

    Args:
        prepared: the run.
        folder: of the run; ``best/`` in it is replaced by itself with the report, atomically.
        model: ``best/``, loaded afresh.
        samples: the held-out images; none if there is nothing to measure.
        checkpoint: of the model.
        labels: classes of the samples; None if they are the model's.

    Returns:
        The metrics, which are those of the card.
    """
    quiet = prepared.config.json or None
    with tqdm(total=len(prepared.val), desc="evaluating", unit="image", disable=quiet, leave=False) as bar:
        metrics, results = evaluate(
            model, samples, task=prepared.task, labels=labels, progress=lambda done: bar.update(done - bar.n)
        )
    facts = dataclasses.replace(card_facts(prepared, folder, checkpoint, metrics), val_images=len(results))
    pictures = [result.picture for result in results if result.picture is not None]

    def write(fresh: Path) -> None:
        shutil.copytree(folder / runs.BEST, fresh, dirs_exist_ok=True)
        if pictures:
            sample_grid(pictures, fresh / SAMPLES_PNG)
        if (folder / "metrics.jsonl").is_file():
            learning_curves(folder / "metrics.jsonl", fresh / CURVES_PNG)
        write_card(fresh, facts)

    save_folder(folder / runs.BEST, write)
    log.info("On %d held-out image%s, at the original size:", len(results), "" if len(results) == 1 else "s")
    for name, title in CURVES.items():
        if name in metrics:
            log.info("  %-16s %.4f%s", title, metrics[name], beside_standard(name, metrics))
    log.info("The checkpoint and its card: %s", folder / runs.BEST)
    return metrics


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


def card_facts(prepared: Prepared, folder: Path, checkpoint: Checkpoint, metrics: dict[str, float]) -> CardFacts:
    """What the card says about a run.

    Args:
        prepared: the run.
        folder: of the run.
        checkpoint: that was evaluated.
        metrics: of the held-out images.
    """
    config, start, dataset = prepared.config, prepared.start, prepared.dataset
    row = networks.NETWORKS[checkpoint.architecture]
    history = load_state(folder / runs.LAST)["history"]
    given = any(item.split == "val" for item in dataset.items)
    by_hash = f"Held out: {config.val_fraction:.0%} of the images, by the hash of their content and seed {config.seed}."
    base, trained = start.base, history["step"] > 0
    first = history["lines"][0] if history["lines"] and history["lines"][0]["step"] == 0 else {}
    knows_cells = dataset.source == "cells" and (trained or (base is not None and base.source == "bundled"))
    return CardFacts(
        name=name_of(start, dataset.name, trained),
        architecture=checkpoint.architecture,
        task=prepared.task,
        labels=checkpoint.labels,
        library=row.library,
        snippet=networks.network(checkpoint.architecture).card_snippet(checkpoint, SOURCE),
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
        licence=(base.licence or None) if base else "apache-2.0" if dataset.source == "cells" else None,
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
