"""Teach the bundled checkpoints to say which pictures are unlike those that they learnt from: ``python scripts/familiarity.py``.

For each it renders training pictures with and without objects, asks the encoder for its channels' means and deviations, and fits
the linear rule of :class:`seg_demo.networks.checkpoint.Familiarity`. The threshold is that of held-out rendered pictures: all but a hundredth of
those with objects stay without a warning. Real pictures are only counted, and go onto the card; but which maps are taken, how far
channels are clipped and how strongly the covariance is shrunk was chosen, the same for all, with a look at those of scikit-image. The weights are not touched. On two cores it takes ten minutes.
"""

from __future__ import annotations

import argparse
import json
import sys
from functools import cache
from pathlib import Path

import numpy as np
import torch
from skimage import data as skimage_data

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from seg_demo import networks  # noqa: E402
from seg_demo.inference.engine import statistics  # noqa: E402
from seg_demo.inputs.images import decode  # noqa: E402
from seg_demo.networks.base import Network  # noqa: E402
from seg_demo.networks.checkpoint import FAMILIARITY, MOST_DEVIATIONS, Familiarity, read_familiarity  # noqa: E402
from synthetic import nuclei  # noqa: E402
from synthetic.cells import WITH_CELLS, render  # noqa: E402
from train.data import CELLS_VAL_SEED  # noqa: E402

NAMES = {"unet-cells": "unet", "segformer-cells": "segformer", "maskrcnn-cells": "maskrcnn", "unet-instance-cells": "unet-instance"}
# The maps of ``forward_with_maps`` without what a network makes of them, which takes several times as long.
MAPS = {
    **dict.fromkeys(("unet", "unet-instance"), lambda module, batch: module.encoder(batch)[2:]),
    "segformer": lambda module, batch: module.segformer(pixel_values=batch, output_hidden_states=True).hidden_states[1:],
    "maskrcnn": lambda module, batch: list(module.backbone(module.transform.batch_images(list(batch), module.transform.size_divisible)).values())[1:4],
}
QUIET = 0.99
SHRINKING = 0.3
FIT_SEED, HELD_OUT_SEED = 0, CELLS_VAL_SEED
HEADING = "## Pictures unlike those that it learnt from"
# Pictures that scikit-image and scikit-learn install, and the demo's examples; where nobody could say what is right, they count
# for neither (tissue of kinds that the card speaks of, one colour, gravel, a retina).
KNOWN = ("coins", "cell", "examples/nuclei", "examples/galaxies")
UNKNOWN = (
    "astronaut", "brick", "camera", "chelsea", "clock_motion", "coffee", "grass", "horse", "logo", "motorcycle_left", "page", "rocket",
    "text", "china", "flower",
)  # fmt: skip


@cache
def rendered(seed: int, count: int, crowded: bool) -> list[tuple[np.ndarray, bool]]:
    """The built-in pictures with which networks are trained (seed 0) and judged: (uint8 (256, 256, 3), whether it has objects)."""
    samples = (nuclei.render(seed, index) if crowded else render(seed, index, training=seed == FIT_SEED) for index in range(count))
    return [(sample.image, sample.name.rsplit("-", 1)[1] in (*WITH_CELLS, *nuclei.FIELDS)) for sample in samples]


def real() -> dict[str, np.ndarray]:
    """The pictures of ``KNOWN`` and ``UNKNOWN``."""
    import sklearn

    folders = (Path(skimage_data.__file__).parent, Path(sklearn.__file__).parent / "datasets" / "images", ROOT / "seg_demo" / "ui")
    found = {}
    for name in (*KNOWN, *UNKNOWN):
        paths = [path for folder in folders for path in folder.glob(f"{name}.*") if path.suffix in (".png", ".jpg")]
        found[name] = decode(paths[0])
    return found


def told(checkpoint: Network, image: np.ndarray) -> np.ndarray:
    """float32 (D,): what the encoder says of one picture."""
    with torch.inference_mode():
        return statistics(MAPS[checkpoint.name](checkpoint.module, checkpoint.preprocess(image)))[0].numpy()


def check(checkpoint: Network, image: np.ndarray) -> None:
    """That what is fitted is what is served."""
    with torch.inference_mode():
        _, maps = checkpoint.forward_with_maps(checkpoint.module, checkpoint.preprocess(image))
    assert np.array_equal(statistics(maps)[0].numpy(), told(checkpoint, image)), "the maps are others than those that are served"


def fit(rows: np.ndarray, known: np.ndarray, held: np.ndarray, held_known: np.ndarray) -> tuple[Familiarity, dict[str, float]]:
    """The rule, and what it does on held-out rendered pictures.

    Args:
        rows: (N, D) statistics of training pictures.
        known: (N,) bool, those with objects.
        held: as ``rows``, of held-out pictures.
        held_known: as ``known``.
    """
    mean, deviation = rows.mean(0), rows.std(0) + 1e-4
    clipped = np.clip((rows - mean) / deviation, -MOST_DEVIATIONS, MOST_DEVIATIONS).astype(np.float64)
    centres = [clipped[chosen].mean(0) for chosen in (known, ~known)]
    within = np.cov((clipped - np.where(known[:, None], *centres)).T)
    weights = np.linalg.solve(within + SHRINKING * np.eye(len(within)), centres[1] - centres[0]).astype(np.float32)
    scores = np.array([Familiarity(mean, deviation, weights, 0.0).score(row) for row in held])
    threshold = float(np.quantile(scores[held_known], QUIET))
    apart = float((scores[~held_known][:, None] > scores[held_known][None]).mean())
    figures = {"auc": apart, "warned_without_objects": float((scores[~held_known] > threshold).mean())}
    return Familiarity(mean, deviation, weights, threshold), figures


def rounded(values: np.ndarray) -> list[float]:
    """Four digits are more than the rule needs."""
    return [float(f"{value:.4g}") for value in values]


def on_card(folder: Path, figures: dict[str, float], warned: dict[str, bool]) -> None:
    """Write the paragraph on the card, in place of an older one, before the section on how it was trained."""
    path = folder / "README.md"
    text = path.read_text(encoding="utf-8")
    if HEADING in text:
        before, after = text.split(HEADING)
        text = before + "## " + after.split("\n## ", 1)[1] if "\n## " in after else before
    quiet, missed = [name for name in KNOWN if warned[name]], [name for name in UNKNOWN if not warned[name]]
    said = (
        f"{HEADING}\n\nThe demo warns of a picture that is unlike those in which this model learnt to find things, told by its encoder's "
        f"own features (`{FAMILIARITY}`, made by `scripts/familiarity.py`). Of held-out rendered pictures with objects it warns of 1 % (that is how "
        f"the threshold is set), of those without objects of {figures['warned_without_objects']:.0%}. Of {len(KNOWN)} real pictures that it "
        f"works on ({', '.join(KNOWN)}) it warns of {len(quiet)}{': ' + ', '.join(quiet) if quiet else ''}; of {len(UNKNOWN)} real "
        f"pictures of other things ({', '.join(UNKNOWN)}) it warns of {len(UNKNOWN) - len(missed)}"
        f"{', and misses ' + ', '.join(missed) if missed else ''}. A missing warning is no promise.\n\n"
    )
    place = text.find("\n## Use it") + 1
    path.write_text(text[:place] + said + text[place:], encoding="utf-8")


def write(folder: Path, checkpoint: Network, rule: Familiarity, figures: dict[str, float]) -> None:
    """The rule beside the weights, and what it says of real pictures on the card."""
    data = {"mean": rounded(rule.mean), "deviation": rounded(rule.deviation), "weights": rounded(rule.weights)}
    figures = {key: round(value, 4) for key, value in figures.items()}
    text = json.dumps({**data, "threshold": float(f"{rule.threshold:.4g}"), "held_out": figures}, separators=(",", ":"))
    (folder / FAMILIARITY).write_text(text + "\n", encoding="ascii")
    kept = read_familiarity(folder)
    warned = {key: not kept.knows([told(checkpoint, image)]) for key, image in real().items()}
    on_card(folder, figures, warned)
    print(folder.name, figures, "warned:", ", ".join(key for key, value in warned.items() if value), flush=True)
    print(folder.name, "quiet:", ", ".join(key for key, value in warned.items() if not value), flush=True)


def main() -> None:
    """Fit, measure, write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", default=list(NAMES), metavar="NAME", help=f"of {', '.join(NAMES)}; default: all")
    parser.add_argument("--pictures", type=int, default=500, help="rendered pictures to fit on; half as many are held out")
    chosen = parser.parse_args()
    for name in chosen.names:
        crowded = name == "unet-instance-cells"
        training, held = rendered(FIT_SEED, chosen.pictures, crowded), rendered(HELD_OUT_SEED, chosen.pictures // 2, crowded)
        folder = ROOT / "seg_demo" / "bundled" / name
        checkpoint = networks.network(NAMES[name]).load(folder)
        checkpoint.module.eval()
        check(checkpoint, training[0][0])
        parts = [(np.array([told(checkpoint, image) for image, _ in part]), np.array([known for _, known in part])) for part in (training, held)]
        write(folder, checkpoint, *fit(*parts[0], *parts[1]))


if __name__ == "__main__":
    main()
