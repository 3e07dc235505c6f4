"""CLIPSeg with random weights: the logits of plain transformers, brought to the upload as its documentation shows."""

from __future__ import annotations

import json
from functools import lru_cache
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image
from transformers import CLIPSegConfig, CLIPSegForImageSegmentation, CLIPSegProcessor

from seg_demo import load_model, networks
from seg_demo.core.errors import BadCheckpointError, BadRequestError
from seg_demo.core.requests import read_prompt
from seg_demo.core.types import LabelSet
from seg_demo.networks.transformers_config import options_from_config
from tests.networks.contract import image_of

LETTERS = [chr(code) for code in (*range(33, 127), *range(161, 173), *range(174, 512))][:256]
MERGES = [("c", "a"), ("ca", "t</w>"), ("d", "o"), ("do", "g</w>")]
WORDS = [*LETTERS, *(letter + "</w>" for letter in LETTERS), *("".join(pair) for pair in MERGES), "<|startoftext|>", "<|endoftext|>"]
LAYERS = {"hidden_size": 32, "intermediate_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2}
OPTIONS = {
    "model_type": "clipseg", "projection_dim": 16, "extract_layers": [0, 1, 2], "reduce_dim": 16, "decoder_num_attention_heads": 2,
    "decoder_intermediate_size": 16, "vision_config": {**LAYERS, "image_size": 64, "patch_size": 16},
    "text_config": {**LAYERS, "vocab_size": len(WORDS), "eos_token_id": len(WORDS) - 1, "bos_token_id": len(WORDS) - 2},
}  # fmt: skip


@lru_cache(maxsize=None)
def clipseg_files() -> dict[str, bytes]:
    """A repository as people have it: vocab.json and merges.txt beside the weights."""
    torch.manual_seed(1)
    made = networks.network("clipseg").create(LabelSet.from_names(("object",)), OPTIONS)
    made.processor.size = type(made.processor)(size={"height": 96, "width": 96}).size
    with torch.no_grad():
        for parameter in made.module.decoder.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.2)
        batch = made.preprocess(image_of(64, 96))
        ids = torch.tensor([[len(WORDS) - 2, 40, len(WORDS) - 1]])
        made.module.decoder.transposed_convolution.bias -= made.module(input_ids=ids, pixel_values=batch).logits.mean()
    with TemporaryDirectory() as folder:
        made.save(Path(folder))
        files = {path.name: path.read_bytes() for path in Path(folder).iterdir()}
    files["vocab.json"] = json.dumps({word: index for index, word in enumerate(WORDS)}).encode()
    files["merges.txt"] = "\n".join(["#version: 0.2", *(" ".join(pair) for pair in MERGES), ""]).encode()
    files["tokenizer_config.json"] = json.dumps({"tokenizer_class": "CLIPTokenizer", "model_max_length": 77}).encode()
    return files


def written(folder: Path, *without: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name, data in clipseg_files().items():
        if name not in without:
            (folder / name).write_bytes(data)
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return written(tmp_path_factory.mktemp("clipseg"))


@pytest.mark.parametrize("size", [(301, 200), (64, 48), (90, 517)])
def test_words_get_the_plain_librarys_masks(folder: Path, size: tuple[int, int]) -> None:
    image, words = image_of(*size), ["cat", "a red dog", "x"]
    processor, module = CLIPSegProcessor.from_pretrained(folder), CLIPSegForImageSegmentation.from_pretrained(folder).eval()
    inputs = processor(text=words, images=[Image.fromarray(image)] * 3, padding=True, return_tensors="pt")
    with torch.inference_mode():
        logits = module(**inputs).logits[:, None]
    wanted = (F.interpolate(logits, size, mode="bilinear", align_corners=False).sigmoid() > 0.5)[:, 0].numpy()
    assert all(0 < mask.mean() < 1 for mask in wanted) and not np.array_equal(wanted[0], wanted[1])
    with load_model(str(folder), device="cpu").prompt(image) as session:
        result = session.answer(read_prompt({"text": words}))
        alone = session.segment(text="cat")
    assert result.labels.names == tuple(words) and [row["label"] for row in result.to_dict()["segments"]] == words
    for segment, mask, one in zip(result.segments, wanted, logits, strict=True):
        whole = np.zeros(size, bool)
        x0, y0, x1, y1 = segment.box
        whole[y0:y1, x0:x1] = segment.mask
        # One copy of the picture per word rounds otherwise than one picture.
        assert (whole != mask).mean() < 1e-4
        assert segment.score == pytest.approx(float(one[one > 0].sigmoid().mean()), abs=1e-5)
    assert (alone.segments[0].mask != result.segments[0].mask).mean() < 1e-3


def test_what_it_does_not_answer_is_a_sentence(folder: Path, tmp_path: Path) -> None:
    model = load_model(str(folder), device="cpu")
    with model.prompt(image_of(40, 50)) as session, pytest.raises(BadRequestError, match="answers words, not clicks"):
        session.segment([[3, 3]], [1])
    with pytest.raises(BadRequestError, match="told none"):
        model.predict(image_of(40, 50))
    with pytest.raises(BadCheckpointError, match="tokenizer"):
        load_model(str(written(tmp_path, "vocab.json", "merges.txt")), device="cpu")


def test_sizes_of_the_published_network_are_no_mistake() -> None:
    """A vocabulary is larger than any layer, and yet built."""
    published = json.loads(CLIPSegConfig().to_json_string(use_diff=False))
    options, _ = options_from_config(published)
    assert options["text_config"]["vocab_size"] == 49408
    with pytest.raises(BadCheckpointError, match="hidden_size is 49408; a number from -8192 to 8192"):
        options_from_config({**published, "text_config": {**published["text_config"], "hidden_size": 49408}})
