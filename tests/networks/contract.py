"""What every network must hold: a subclass names the network and says how the plain library runs it."""

from __future__ import annotations

import json
import warnings
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import nn

from seg_demo import networks
from seg_demo.core.errors import BadCheckpointError
from seg_demo.core.types import LabelSet
from seg_demo.networks import weights
from seg_demo.networks.base import Network

LABELS = LabelSet(("background", "cell <b>", "border"), np.array([[0, 0, 0], [9, 200, 30], [250, 1, 2]], np.uint8), 0)
SIZES = ((1, 1), (17, 33), (64, 48), (301, 200))


def image_of(height: int, width: int, seed: int = 0) -> np.ndarray:
    """Noise: uint8 (height, width, 3)."""
    return np.random.default_rng([seed, height, width]).integers(0, 256, (height, width, 3), dtype=np.uint8)


def randomise(module: nn.Module, seed: int = 0) -> nn.Module:
    """Statistics of normalisation that are not those of a fresh network, so that losing them would be seen."""
    generator = torch.Generator().manual_seed(seed)
    for name, buffer in module.named_buffers():
        if buffer.is_floating_point():
            noise = torch.rand(buffer.shape, generator=generator)
            buffer.copy_(noise * 0.2 if name.endswith("mean") else 0.8 + noise * 0.4)
    return module.eval()


def same(first: Any, second: Any) -> bool:
    """Whether two raw outputs have the same bits."""
    if isinstance(first, torch.Tensor):
        return torch.equal(first, second)
    return all(torch.equal(one[key], other[key]) for one, other in zip(first, second, strict=True) for key in one)


def copy_without_weights(folder: Path, target: Path) -> None:
    """The files of a checkpoint but for model.safetensors."""
    for path in folder.iterdir():
        if path.name != "model.safetensors":
            (target / path.name).write_bytes(path.read_bytes())


@lru_cache(maxsize=1)
def of_the_library(module: Any, processor: Any, folder: Path) -> tuple[Any, Any]:
    """The plain library's network and processor of a folder that does not change."""
    # OneFormer's looks for its table of classes where it is told to; the others do not mind.
    return module.from_pretrained(folder).eval(), processor.from_pretrained(folder, repo_path=str(folder))


class NetworkContract:
    """Subclass it and set ``name``, ``options`` and ``plain``."""

    name: str
    options: dict[str, Any] = {}
    # What is said of each of its checkpoints.
    always_said = 0

    def plain(self, folder: Path, checkpoint: Network, batch: torch.Tensor) -> Any:
        """Raw output of the plain library for a batch, loaded from a folder."""
        raise NotImplementedError

    @pytest.fixture(scope="class")
    def checkpoint(self) -> Network:
        torch.manual_seed(0)
        family = networks.network(self.name)
        made = family.create(LABELS, {**family.default_options(), **self.options})
        randomise(made.module)
        return made

    @pytest.fixture(scope="class")
    def folder(self, checkpoint: Network, tmp_path_factory: pytest.TempPathFactory) -> Path:
        folder = tmp_path_factory.mktemp(self.name)
        checkpoint.save(folder)
        return folder

    def raw(self, checkpoint: Network, image: np.ndarray) -> Any:
        with torch.inference_mode():
            return checkpoint.forward(checkpoint.module, checkpoint.preprocess(image))

    @pytest.mark.parametrize("size", SIZES)
    def test_result_has_the_size_of_the_upload(self, checkpoint: Network, size: tuple[int, int]) -> None:
        result = checkpoint.postprocess(self.raw(checkpoint, image_of(*size)), *size)
        assert (result.height, result.width) == size == result.id_map.shape
        assert result.task == networks.family(self.name).tasks[0].name
        assert result.labels == LABELS

    def test_a_read_only_picture_is_taken_without_a_warning(self, checkpoint: Network) -> None:
        image, told = image_of(90, 70), torch.is_warn_always_enabled()
        expected = checkpoint.preprocess(image)
        image.flags.writeable = False
        torch.set_warn_always(True)
        try:
            with warnings.catch_warnings():
                warnings.filterwarnings("error", message=".*not writable")
                assert torch.equal(checkpoint.preprocess(image), expected)
        finally:
            torch.set_warn_always(told)

    def test_save_and_load_give_identical_logits(self, checkpoint: Network, folder: Path) -> None:
        loaded = networks.load(folder)
        assert networks.identify(folder) == self.name == loaded.name
        assert loaded.labels == checkpoint.labels
        assert loaded.preprocessing == checkpoint.preprocessing
        assert loaded.nbytes == checkpoint.nbytes
        assert not loaded.module.training
        image = image_of(70, 50)
        assert same(self.raw(checkpoint, image), self.raw(loaded, image))

    def test_options_rebuild_the_module(self, folder: Path) -> None:
        loaded = networks.load(folder)
        json.dumps(loaded.options)
        rebuilt = networks.network(self.name).build(len(loaded.labels), loaded.options)
        shapes = {key: tensor.shape for key, tensor in rebuilt.state_dict().items()}
        assert shapes == {key: tensor.shape for key, tensor in loaded.module.state_dict().items()}

    def test_shapes_are_known_without_memory_and_found_once(self, checkpoint: Network) -> None:
        built: list[int] = []

        def build(count: int, options: dict[str, Any]) -> nn.Module:
            built.append(count)
            return checkpoint.build(count, options)

        found = [weights.shapes_of(partial(build, count, options=checkpoint.head_options()), "network") for count in (2, 3, 2)]
        assert built == [2, 3] and found[0] == found[2] != found[1]
        real = checkpoint.build(2, checkpoint.head_options()).state_dict()
        assert found[0] == {key: tensor.shape for key, tensor in real.items()}
        found[0].clear()
        assert weights.shapes_of(partial(build, 2, options=checkpoint.head_options()), "network") == found[2] and built == [2, 3]

    @pytest.mark.parametrize("half", [False, True])
    def test_plain_library_gives_identical_logits(self, checkpoint: Network, tmp_path: Path, half: bool) -> None:
        checkpoint.save(tmp_path, half)
        loaded = networks.load(tmp_path)
        batch = loaded.preprocess(image_of(64, 96))
        with torch.inference_mode():
            ours = loaded.forward(loaded.module, batch)
            assert same(ours, self.plain(tmp_path, loaded, batch))

    def test_half_is_half_the_bytes_and_loads_as_fp32(self, checkpoint: Network, folder: Path, tmp_path: Path) -> None:
        checkpoint.save(tmp_path, half=True)
        whole, half = ((path / "model.safetensors").stat().st_size for path in (folder, tmp_path))
        assert half < 0.6 * whole
        loaded = networks.load(tmp_path).module.state_dict()
        for key, tensor in checkpoint.module.state_dict().items():
            assert loaded[key].dtype == tensor.dtype
            torch.testing.assert_close(loaded[key], tensor, rtol=1e-3, atol=1e-4)

    def test_replace_head_keeps_the_rest(self, checkpoint: Network) -> None:
        prefixes = checkpoint.head_prefixes()
        labels = LabelSet.from_names(("background", "a", "b", "c", "d"), 0)
        replaced = checkpoint.replace_head(labels)
        assert replaced.labels == labels and replaced.name == self.name
        before, after = checkpoint.module.state_dict(), replaced.module.state_dict()
        kept = {key for key in after if not key.startswith(prefixes)}
        assert kept and kept < set(after)
        assert all(torch.equal(before[key], after[key]) for key in kept)
        assert any(before[key].shape != after[key].shape for key in set(after) - kept if key in before)
        assert not replaced.module.training
        self.raw(replaced, image_of(40, 40))

    @pytest.mark.parametrize("damage", ["missing", "shape", "nan", "infinite half"])
    def test_damaged_weights_are_refused_by_name(self, folder: Path, tmp_path: Path, damage: str) -> None:
        state = load_file(folder / "model.safetensors")
        key = next(key for key in sorted(state) if state[key].ndim == 4)
        if damage == "missing":
            del state[key]
        elif damage == "shape":
            state[key] = state[key][:-1].contiguous()
        elif damage == "nan":
            state[key].view(-1)[3] = torch.nan
        else:
            state[key] = state[key].half()
            state[key].view(-1)[3] = torch.inf
        copy_without_weights(folder, tmp_path)
        save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
        with pytest.raises(BadCheckpointError, match=key.split(".")[-1]):
            networks.load(tmp_path)

    def test_what_the_network_does_not_have_is_left_out_and_said(self, checkpoint: Network, folder: Path, tmp_path: Path) -> None:
        state = load_file(folder / "model.safetensors")
        copy_without_weights(folder, tmp_path)
        save_file({**state, "stranger.weight": torch.zeros(2)}, tmp_path / "model.safetensors", metadata={"format": "pt"})
        loaded = networks.load(tmp_path)
        assert len(loaded.notes) == 1 + self.always_said and "1 weights" in loaded.notes[0] and "stranger.weight'" in loaded.notes[0]
        assert len(networks.load(folder).notes) == self.always_said
        for key, tensor in checkpoint.module.state_dict().items():
            assert torch.equal(loaded.module.state_dict()[key], tensor), key

    def test_class_names_that_are_not_exactly_the_networks_are_placed_where_they_can_be(self, folder: Path, tmp_path: Path) -> None:
        for path in folder.iterdir():
            (tmp_path / path.name).write_bytes(path.read_bytes())
        count = len(networks.load(folder).labels)
        for name in ("config.json", "preprocessor_config.json"):
            data = json.loads((folder / name).read_text())
            if "id2label" in data:
                (tmp_path / name).write_text(json.dumps({**data, "id2label": {"1": "first", "255": "void"}, "label2id": {}}))
        loaded = networks.load(tmp_path)
        assert loaded.labels.names[1] == "first" and loaded.labels.names[0] == "class 0" and len(loaded.labels) == count
        assert any("'void' for 255" in note for note in loaded.notes)

    @pytest.mark.parametrize("content", [None, b"", b"no weights at all", b"\xff" * 64])
    def test_unreadable_weights_are_refused(self, folder: Path, tmp_path: Path, content: bytes | None) -> None:
        copy_without_weights(folder, tmp_path)
        if content is not None:
            (tmp_path / "model.safetensors").write_bytes(content)
        with pytest.raises(BadCheckpointError, match="model.safetensors"):
            networks.load(tmp_path)

    def test_nan_from_the_network_is_a_sentence(self, folder: Path) -> None:
        loaded = networks.load(folder)
        with torch.no_grad():
            next(parameter for parameter in loaded.module.parameters() if parameter.ndim == 4).fill_(torch.nan)
        with pytest.raises(BadCheckpointError, match="NaN"):
            loaded.postprocess(self.raw(loaded, image_of(30, 30)), 30, 30)

    def test_config_that_asks_for_absurd_sizes_is_refused(self, folder: Path, tmp_path: Path) -> None:
        copy_without_weights(folder, tmp_path)
        (tmp_path / "model.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
        config = json.loads((folder / "config.json").read_text())
        for damaged in self.absurd(config):
            (tmp_path / "config.json").write_text(json.dumps(damaged))
            with pytest.raises(BadCheckpointError):
                networks.load(tmp_path)

    def absurd(self, config: dict[str, Any]) -> list[dict[str, Any]]:
        """Configs that must be refused before anything is allocated."""
        raise NotImplementedError

    def test_card_snippet_runs(self, folder: Path) -> None:
        loaded = networks.load(folder)
        scope: dict[str, Any] = {}
        exec(loaded.card_snippet(str(folder)), scope)
        ours = loaded.module.state_dict()
        plain = scope["model"].state_dict()
        assert set(plain) == set(ours) and all(torch.equal(plain[key], ours[key]) for key in ours)
