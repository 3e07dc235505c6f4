"""Repositories of promptable networks as people have them, over the Hub stand-in: what a plain folder answers, or one sentence."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
from _pytest.mark import ParameterSet

from seg_demo.core.errors import SegDemoError
from seg_demo.serving.catalog import architecture_of
from seg_demo.serving.predictor import load_model
from tests.hub.test_layouts import served  # noqa: F401
from tests.hub_layouts import IMAGE, PROCESSOR, WEIGHTS, Files, pickled, sharded, with_config, with_json, with_tensors, without
from tests.networks.test_sam import made
from tests.networks.test_sam3 import OPTIONS, sam3_files

EXTRA = {"memory_attention.layers.0.linear1.weight": torch.zeros(3, 3)}


@lru_cache(maxsize=None)
def _files(family: str) -> tuple[tuple[str, bytes], ...]:
    with TemporaryDirectory() as folder:
        made(family).save(Path(folder))
        return tuple((path.name, path.read_bytes()) for path in Path(folder).iterdir())


def files(family: str) -> Files:
    """config.json, model.safetensors and preprocessor_config.json as transformers' ``save_pretrained`` writes them."""
    return dict(_files(family))


def nested(family: str) -> Files:
    """As transformers 5 calls the processor's file."""
    import json

    plain = files(family)
    return {**without(plain, PROCESSOR), "processor_config.json": json.dumps({"image_processor": json.loads(plain[PROCESSOR])}).encode()}


ROWS: dict[str, tuple[Callable[[], Files], str]] = {
    "sam": (lambda: files("sam"), "sam"),
    "sam_hq": (lambda: files("sam_hq"), "sam_hq"),
    "sam2": (lambda: nested("sam2"), "sam2"),
    "edgetam": (lambda: files("edgetam"), "edgetam"),
    "sam3_tracker": (lambda: files("sam3_tracker"), "sam3_tracker"),
    "sam as a pickle": (lambda: pickled(files("sam")), "sam"),
    "sam2 in shards": (lambda: sharded(files("sam2")), "sam2"),
    "sam of the Fast processor": (lambda: with_json(files("sam"), PROCESSOR, image_processor_type="SamImageProcessorFast"), "sam"),
    "sam without a processor": (lambda: without(files("sam"), PROCESSOR), "sam"),
    "sam2 that follows videos": (
        lambda: with_tensors(with_config(files("sam2"), model_type="sam2_video", architectures=["Sam2VideoModel"]), lambda state: state | EXTRA), "sam2",
    ),
}  # fmt: skip
# SAM 3 as published, with clicks and words, and what takes words alone; as transformers 5 writes a tokenizer, too, which is in one file.
WORDED: dict[str, tuple[Callable[[], Files], str]] = {
    "sam3": (lambda: sam3_files("sam3"), "sam3"),
    "sam3 in shards": (lambda: sharded(sam3_files("sam3")), "sam3"),
    "sam3 without words of their own": (lambda: {name: data for name, data in sam3_files("sam3").items() if name not in ("vocab.json", "merges.txt")}, "sam3"),
    "sam3 by itself": (lambda: sam3_files("sam3_words"), "sam3_words"),
}  # fmt: skip
# What is shown of another network, too.
REPEATED = ("sam_hq", "sam2 in shards", "sam of the Fast processor", "sam3 in shards", "sam3 without words of their own")


def rows(names: Iterable[str]) -> list[ParameterSet]:
    """Names as parameters; those of what is repeated are for the soak tests."""
    return [pytest.param(name, marks=pytest.mark.soak if name in REPEATED else ()) for name in names]


REFUSED: dict[str, tuple[Callable[[], Files], str]] = {
    "weights of another network": (lambda: {**files("sam"), WEIGHTS: files("sam2")[WEIGHTS]}, "weights"),
    "a shard is missing": (lambda: without(sharded(files("sam")), "model-00002-of-00003.safetensors"), "00002-of-00003"),
    "a billion channels": (lambda: with_config(files("sam"), vision_config={"hidden_size": 10**9}), "hidden_size"),
    "a backbone of the Hub": (
        lambda: with_config(files("edgetam"), vision_config={"backbone_config": {"model_type": "timm_wrapper", "architecture": "hf-hub:some/else"}}), "hf-hub:some/else",
    ),
    "sam3 without a tracker": (lambda: with_tensors(sam3_files("sam3"), lambda state: {name: value for name, value in state.items() if "tracker" not in name}), "lacks .* weights of the sam3_tracker"),
    "sam3 of a billion channels": (lambda: with_config(sam3_files("sam3"), detector_config={**OPTIONS["sam3_words"], "detr_encoder_config": {"hidden_size": 10**9}}), "hidden_size"),
    "sam3 of a billion words": (lambda: with_config(sam3_files("sam3_words"), text_config={"vocab_size": 10**9}), "vocab_size is 1000000000; .* to 1000000"),
    "sam3 of a million wide words": (lambda: with_config(sam3_files("sam3_words"), text_config={"vocab_size": 10**6, "hidden_size": 8192}), "more than 1000000000 parameters"),
    "sam3 with somebody else's text encoder": (lambda: with_config(sam3_files("sam3_words"), text_config={"model_type": "bert"}), "sam3 model that can be built"),
    "sam3 without a tokenizer": (
        lambda: {name: data for name, data in sam3_files("sam3").items() if name not in ("vocab.json", "merges.txt", "tokenizer.json")}, "tokenizer",
    ),
    "a pickle that is none": (lambda: {**without(files("sam"), WEIGHTS), "pytorch_model.bin": b"no weights"}, "pytorch_model.bin"),
}  # fmt: skip


def from_hub_and_folder(served, name: str, repository: dict[str, bytes], family: str, plain: dict[str, bytes], folder: Path):  # noqa: F811
    """A repository of some layout as it is loaded, and the same network from the library's own files."""
    id = "ann/" + re.sub(r"\W+", "-", name)
    served.add_repo(id, repository)
    model = load_model(id)
    assert model.spec.architecture == family and not model.spec.notes, model.spec.notes
    for file, data in plain.items():
        (folder / file).write_bytes(data)
    assert architecture_of(folder) == family
    return model, load_model(str(folder))


@pytest.mark.parametrize("name", rows(ROWS))
def test_prompt_layout(served, name: str, tmp_path: Path) -> None:  # noqa: F811
    make, family = ROWS[name]
    models = from_hub_and_folder(served, name, make(), family, files(family), tmp_path)
    ours, plain = (one.prompt(IMAGE).segment([[40, 30], [3, 3]], [1, 0]) for one in models)
    np.testing.assert_array_equal(ours.id_map, plain.id_map)
    assert 0 < np.count_nonzero(ours.id_map) and ours.segments[0].score == plain.segments[0].score


@pytest.mark.parametrize("name", rows(WORDED))
def test_layout_of_words(served, name: str, tmp_path: Path) -> None:  # noqa: F811
    make, family = WORDED[name]
    models = from_hub_and_folder(served, name, make(), family, sam3_files(family), tmp_path)
    ours, plain = (one.prompt(IMAGE).segment(text="cat") for one in models)
    np.testing.assert_array_equal(ours.id_map, plain.id_map)
    # Weights of shards lie elsewhere in memory, which decides the last bit of a sum; scores are told with six digits.
    assert ours.segments and [row.score for row in ours.segments] == pytest.approx([row.score for row in plain.segments], abs=1e-5)


@pytest.mark.parametrize("name", REFUSED)
def test_prompt_layout_is_refused(served, name: str) -> None:  # noqa: F811
    make, says = REFUSED[name]
    id = "ann/no-prompt-" + re.sub(r"\W+", "-", name)
    served.add_repo(id, make())
    with pytest.raises(SegDemoError, match=says) as caught:
        load_model(id)
    assert 30 < len(str(caught.value)) < 700 and "Traceback" not in str(caught.value)
    assert caught.value.message.text("zh") != str(caught.value)
