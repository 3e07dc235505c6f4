"""Make a finished run a bundled checkpoint: ``python scripts/bundle.py runs/unet-cells unet-cells``.

Copies ``best/`` to seg_demo/bundled/NAME with the card's name, says on the card what the checkpoint does on real photographs, and
reduces the size and the colours of the card's pictures, so that the whole folder stays small.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from scipy import ndimage
from skimage import data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from benchmarks.click import coins, flawed, mean_clicks, our_clicks, peers_clicks, photographs  # noqa: E402
from seg_demo import load_model, networks  # noqa: E402
from seg_demo.core.types import LabelSet  # noqa: E402
from seg_demo.networks.checkpoint import PREPROCESSOR  # noqa: E402
from seg_demo.networks.weights import write_weights  # noqa: E402
from synthetic import nuclei  # noqa: E402
from train import finetune  # noqa: E402
from train.metrics import MOST_CLICKS  # noqa: E402
from train.metrics import InstanceMeter  # noqa: E402
from train.report import read_facts, write_card

MAX_BYTES = 6_000_000
PICTURE_SIDE = 640
# Training seeds are even, the one of validation is 1.
CROWDED_SEED, CROWDED = 2027, 40
# Levels of 255 of the brightest things in a bright one of them, and in the same where it is dark.
BRIGHT, DIM = 150, 20
# The demo's own threshold.
SCORE = 0.5


def painted(folder: Path, image: np.ndarray) -> tuple[int, float]:
    """What a checkpoint finds in an image uint8 (H, W[, 3]): the number of cells, and the share of the pixels that they take."""
    result = load_model(str(folder)).predict(Image.fromarray(image).convert("RGB"))
    if result.task == "semantic":
        mask = result.id_map == result.labels.names.index("cell")
        return ndimage.label(mask, np.ones((3, 3)))[1], float(mask.mean())
    kept = [number for number, segment in enumerate(result.segments, start=1) if segment.score >= SCORE]
    return len(kept), float(np.isin(result.id_map, kept).mean())


def on_photographs(folder: Path) -> str:
    """A sentence for the card: the checkpoint on pictures that scikit-image ships and that it was not trained on."""
    coins, cells = (painted(folder, image)[0] for image in (data.coins(), data.cell()))
    shares = ", ".join(
        f"{painted(folder, load())[1]:.1%} of {load.__name__}()" for load in (data.coffee, data.astronaut, data.chelsea)
    )
    return (
        f"On scikit-image's pictures, none of which it learnt from, it finds {coins} objects in coins() (there are 24) and "
        f"{cells} in cell() (there is 1), and wrongly paints {shares}."
    )


def clicked_photographs(folder: Path) -> str:
    """The same for a network that is clicked."""
    reached = our_clicks(coins(), 1, model=str(folder))
    good = sum(row[0] >= 0.9 for row in reached)
    objects = photographs()
    ours = our_clicks(objects, MOST_CLICKS, model=str(folder))
    corrected = our_clicks(objects, MOST_CLICKS, flawed, model=str(folder))
    theirs = [peers_clicks(picture, truth, MOST_CLICKS) for _, picture, truth in objects]
    to85, to90 = ([mean_clicks(rows, goal) for rows in (ours, theirs, corrected)] for goal in (0.85, 0.9))
    return (
        f"On scikit-image's pictures, none of which it learnt from, one click outlines {good} of the {len(reached)} coins of coins() with an "
        f"IoU of 0.90 or more. {len(objects)} things in astronaut(), chelsea(), coffee(), rocket() and horse() with outlines drawn by hand take "
        f"{to85[0]:.1f} clicks to an IoU of 0.85 and {to90[0]:.1f} to 0.90 on average (20 at most); a random walker from the same clicks takes "
        f"{to85[1]:.1f} and {to90[1]:.1f}. A mask of them whose IoU is between 0.75 and 0.85 is corrected to these by "
        f"{to85[2]:.1f} and {to90[2]:.1f} clicks."
    )


def on_crowds(folder: Path) -> str:
    """A sentence for the card: the checkpoint on rendered fields of crowded nuclei of a seed that nothing learns from."""
    model, meter, each, sizes = load_model(str(folder)), InstanceMeter(LabelSet.from_names(nuclei.CLASS_NAMES, 0)), [], []
    for index in range(CROWDED):
        sample = nuclei.render(CROWDED_SEED, index, kind="crowded")
        each.append(meter.add(sample, model.predict_all(sample.image)))
        sizes += np.sqrt(np.bincount(sample.instance_map.ravel())[1:] * 4 / np.pi).tolist()
    # Of F1, 2 hits / (2 hits + false + missed).
    each = np.array(each) / (2 - np.array(each))
    return (
        f"On {CROWDED} rendered fields of crowded nuclei of another seed (synthetic.nuclei.render, seed {CROWDED_SEED}, kind crowded), "
        f"{len(sizes)} objects, half of them less than {np.median(sizes):.0f} pixels across, hits / (hits + false + missed) at an IoU of 0.5 is "
        f"{meter.result()['accuracy_50']:.2f} over all objects and {np.mean(each):.2f} in the mean of the pictures."
    )


def in_the_dark(folder: Path) -> str:
    """A sentence for the card: the checkpoint on the bright ones of the same fields, and on them as an exposure for brighter things shows them."""
    model, meters = load_model(str(folder)), [InstanceMeter(LabelSet.from_names(nuclei.CLASS_NAMES, 0)) for _ in (0, 1)]
    count = 0
    for sample in (nuclei.render(CROWDED_SEED, index, kind="crowded") for index in range(CROWDED)):
        if (top := np.percentile(sample.image, 99.5)) > BRIGHT:
            count += 1
            for meter, image in zip(meters, (sample.image, np.rint(sample.image * (DIM / top)).clip(0, 255).astype(np.uint8)), strict=True):
                meter.add(replace(sample, image=image), model.predict_all(image))
    bright, dark = (meter.result()["accuracy_50"] for meter in meters)
    return (
        f"Dark pictures are brightened before they are seen (seg_demo.networks.unet_instance.brightening): of the {count} of these fields that are brighter "
        f"than {BRIGHT} of 255 levels it is {bright:.2f} over all objects, and {dark:.2f} where they are shown with {DIM} levels instead. Not where noise, or the "
        "blocks of a JPEG, would be brightened too."
    )


def set_longest_side(folder: Path, side: int) -> None:
    """Has larger uploads seen at this size, so that large cells are no larger than those of the training pictures."""
    path = folder / PREPROCESSOR
    config = json.loads(path.read_text())
    config.get("seg_demo", config)["longest_side"] = side
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def take_last(run: Path, target: Path) -> dict[str, float]:
    """Gives a copy of a run's best checkpoint the averaged weights of its last step, and measures it on the same held-out images.

    Returns:
        The metrics.
    """
    network = networks.load(target)
    network.module.load_state_dict(torch.load(run / "last" / "state.pt", map_location="cpu", weights_only=True)["average"])
    write_weights(network.module, target, half=True)
    with tempfile.TemporaryDirectory() as folder:
        words = ["--model", str(target), "--data", read_facts(target).data_source, "--epochs", "0", "--half", "--output", f"{folder}/measured"]
        if finetune.main(words):
            raise SystemExit("The last weights cannot be measured.")
        shutil.copy(f"{folder}/measured/best/samples.png", target)
        return read_facts(Path(folder) / "measured/best").metrics


def main() -> None:
    """Copy, measure, shrink, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("name", help="menu key of the checkpoint")
    parser.add_argument("--command", help="what the card says reproduces it; default: what the run recorded")
    parser.add_argument("--note", action="append", default=[], help="a sentence for the card about how it was trained; repeatable")
    parser.add_argument("--longest-side", type=int, help="size in pixels at which larger uploads are seen; default: the network's")
    parser.add_argument("--last", action="store_true", help="take the weights of the last step instead of those with the best score")
    chosen = parser.parse_args()
    target = ROOT / "seg_demo" / "bundled" / chosen.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(chosen.run / "best", target)
    metrics = take_last(chosen.run, target) if chosen.last else read_facts(target).metrics
    for path in target.glob("*.png"):
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((PICTURE_SIDE, PICTURE_SIDE * 2))
            picture.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    if chosen.longest_side:
        set_longest_side(target, chosen.longest_side)
    facts = read_facts(target)
    base = Path(facts.base).parent.name if facts.base and Path(facts.base).name == "best" else facts.base
    crowds = (on_crowds(target), in_the_dark(target)) if facts.data_source == "nuclei" else ()
    # Everything that it learnt from is drawn by this project, so that it has the project's licence.
    facts = replace(
        facts,
        name=chosen.name,
        base=base,
        metrics=metrics,
        licence="apache-2.0",
        notes=(*facts.notes, *chosen.note),
        limits=(*facts.limits, (clicked_photographs if networks.prompts_of(facts.architecture) else on_photographs)(target), *crowds),
    )
    write_card(target, replace(facts, command=chosen.command) if chosen.command else facts)
    for path in target.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"That is more than {MAX_BYTES / 1e6:.0f} MB; train with --half, or a smaller network.")


if __name__ == "__main__":
    main()
