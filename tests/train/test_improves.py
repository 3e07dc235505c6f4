"""Twenty pictures and one command without further flags: better on pictures that the run never saw than the bundled network."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from seg_demo import load_model
from seg_demo.core.types import LabelSet
from tests.shifted_domains import DOMAINS, picture_of, write_folder
from train import finetune
from train.data.listing import Sample
from train.evaluate import evaluate

TAUGHT, TESTED = 20, 12
LABELS = LabelSet.from_names(["background", "cell"], background=0)
# The promise is ten minutes on two cores.
MOST_SECONDS = 600


def unseen(domain: str) -> Iterator[Sample]:
    return (picture_of(domain, 2, index) for index in range(TESTED))


def score(model: str, domain: str, task: str) -> float:
    """Mask AP, or IoU of everything that is not background: the base's class between touching cells is no mistake here."""
    network = load_model(model, device="cpu")
    if task == "instance":
        return evaluate(network, unseen(domain), task=task, labels=LABELS, pictures=0)[0]["mask_ap"]
    common = either = 0
    for sample in unseen(domain):
        found, truth = network.predict(sample.image).id_map > 0, sample.label_map > 0
        common, either = common + np.count_nonzero(found & truth), either + np.count_nonzero(found | truth)
    return common / either


@pytest.mark.soak
@pytest.mark.timeout(1500)
@pytest.mark.parametrize("domain", sorted(DOMAINS))
@pytest.mark.parametrize("model", ["unet-cells", "segformer-cells", "maskrcnn-cells"])
def test_twenty_pictures_make_a_bundled_network_better(model: str, domain: str, tmp_path: Path) -> None:
    task = "instance" if model.startswith("maskrcnn") else "semantic"
    data = write_folder(tmp_path / "data", domain, 1, TAUGHT, objects=task == "instance")
    began = time.monotonic()
    assert finetune.main(["--model", model, "--data", str(data), "--output", str(tmp_path / "run")]) == 0
    spent = time.monotonic() - began
    before, after = score(model, domain, task), score(str(tmp_path / "run" / "best"), domain, task)
    print(f"{model} on {domain}: {before:.3f} -> {after:.3f} in {spent:.0f} s")
    assert after > before + 0.01
    assert spent < MOST_SECONDS
