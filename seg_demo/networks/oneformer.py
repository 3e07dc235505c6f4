"""OneFormer (Jain et al. 2022, arXiv 2211.06220): one network for three tasks, which is asked for one of them in words.

Its repositories hold a tokenizer for that sentence and a table of classes and things beside what all have. Both are read from the
checkpoint's folder (transformers looks for the table relative to the working directory, else on the Hub).
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from transformers import CLIPTokenizer, OneFormerImageProcessor, OneFormerProcessor, PreTrainedConfig

from seg_demo.core import BadCheckpointError
from seg_demo.masks import queries
from seg_demo.masks.queries import Order
from seg_demo.networks import checkpoint, transformers_config
from seg_demo.networks.universal import ClassQueries, Mask2Former, apart, few_places_at_once

if TYPE_CHECKING:
    from seg_demo.core import LabelSet, Segment

CLASS_INFO = "class_info_file"
# The files of a tokenizer, of which a repository has the first two or the last.
TOKENIZER = ("vocab.json", "merges.txt", "tokenizer.json")
# Of a sentence; the network's layer has as many inputs.
MOST_TOKENS = 1024
# Channels of a picture.
COLOURS = 3
LETTERS = "abcdefghijklmnopqrstuvwxyz"


@dataclass
class OneFormer(ClassQueries, family="oneformer"):
    """OneFormer. Its panoptic and instance results never overlap; its resizes are antialiased.

    What is asked travels with the picture, in channels behind its colours, so that one form of the network, compiled for a size, answers
    every task.

    Attributes:
        questions: token ids of the sentence for a task, by the task's name.
        tokenizer: what made them, written with the checkpoint.
    """

    order: ClassVar[Order] = Order(antialias=True)
    # Sizes become constants of the traced graph, so that each has a form of its own; it agrees to 2e-5 of the largest logit.
    engine: ClassVar = Mask2Former.engine
    questions: dict[str, tuple[int, ...]] = field(default_factory=dict)
    tokenizer: Any = None

    @staticmethod
    def default_options() -> dict[str, Any]:
        """A OneFormer of a few million parameters."""
        swin = {"embed_dim": 24, "depths": [1, 1, 2, 1], "num_heads": [1, 2, 4, 8], "window_size": 7}
        return {
            "model_type": "oneformer",
            "backbone_config": {"model_type": "swin", **swin, "out_features": ["stage1", "stage2", "stage3", "stage4"]},
            "hidden_dim": 64,
            "mask_dim": 64,
            "conv_dim": 64,
            "encoder_feedforward_dim": 128,
            "dim_feedforward": 128,
            "encoder_layers": 2,
            "decoder_layers": 4,
            "query_dec_layers": 1,
            "num_attention_heads": 4,
            "num_queries": 50,
        }

    @staticmethod
    def build(num_classes: int, options: dict[str, Any]) -> nn.Module:
        """As :meth:`ClassQueries.build`; a number of its loss has 64 bits otherwise."""
        return ClassQueries.build(num_classes, options).float()

    @staticmethod
    def slim(module: nn.Module) -> None:
        """As :meth:`ClassQueries.slim`: its pixel decoder looks at the maps from some places at a time."""
        few_places_at_once(module)

    @classmethod
    def create(cls, labels: LabelSet, options: dict[str, Any]) -> Self:
        """As :meth:`Network.create`, with a tokenizer that knows single letters."""
        made = super().create(labels, options)
        vocabulary = {letter + end: index for index, (letter, end) in enumerate((a, b) for a in LETTERS for b in ("", "</w>"))}
        ends = {"<|startoftext|>": len(vocabulary), "<|endoftext|>": len(vocabulary) + 1}
        tokenizer = CLIPTokenizer(vocab=vocabulary | ends, merges=[])
        length = made.module.config.task_seq_len
        made.questions, made.tokenizer = _questions(tokenizer, length), tokenizer
        return made._asking_first()

    @classmethod
    def load(cls, folder: Path) -> Self:
        """As :meth:`ClassQueries.load`, with the sentences and the table of classes.

        Raises:
            BadCheckpointError: also if there is no tokenizer, or one for sentences of another length.
        """
        folder = Path(folder)
        tokenizer, questions = cls._questions_in(folder)
        made = super().load(folder)
        made.module.float()
        made.questions, made.tokenizer = questions, tokenizer
        things = _things(folder, checkpoint.processor_data(folder), len(made.labels))
        if things is not None:
            made.labels = replace(made.labels, things=things)
        return made._asking_first()

    @classmethod
    def look(cls, folder: Path, stored: Collection[str] | None) -> None:
        """As :meth:`ClassQueries.look`, with the sentences."""
        cls._questions_in(folder)
        super().look(folder, stored)

    @staticmethod
    def _questions_in(folder: Path) -> tuple[CLIPTokenizer, dict[str, tuple[int, ...]]]:
        """The tokenizer, and what it makes of the sentence for each task."""
        config = checkpoint.read_json(folder, checkpoint.CONFIG)
        if not ((folder / TOKENIZER[2]).is_file() or all((folder / name).is_file() for name in TOKENIZER[:2])):
            raise BadCheckpointError("networks.no_tokenizer", files=", ".join(TOKENIZER[:2]))
        try:
            # Not by an Auto class, which would make a config of config.json, and that a backbone of somebody else's.
            tokenizer = CLIPTokenizer.from_pretrained(folder, local_files_only=True)
            stated = checkpoint.read_optional_json(folder, checkpoint.PROCESSOR).get("task_seq_length", 77)
            questions = _questions(tokenizer, stated if isinstance(stated, int) and 1 <= stated <= MOST_TOKENS else 77)
        except Exception as error:  # whatever a strange file makes transformers raise, it is the file's fault
            raise BadCheckpointError("networks.bad_tokenizer", why=checkpoint.library_message(error, folder)) from error
        length, wanted = len(next(iter(questions.values()))), config.get("task_seq_len", 77)
        if length != wanted:
            raise BadCheckpointError("networks.other_question", length=length, wanted=wanted)
        return tokenizer, questions

    @classmethod
    def read_processor(cls, folder: Path, data: dict[str, Any], config: PreTrainedConfig) -> Any:
        """As :meth:`ClassQueries.read_processor`, with the table of classes from the folder."""
        processor = transformers_config.read_processor(folder, data, config, **_found_here(folder, data))
        processor.repo_path = data.get("repo_path")
        return processor

    def write(self, folder: Path, half: bool) -> None:
        """As :meth:`ClassQueries.write`, with the tokenizer and the table of classes."""
        super().write(folder, half)
        if self.tokenizer is not None:
            self.tokenizer.save_pretrained(folder)
        things = np.ones(len(self.labels), bool) if self.labels.things is None else self.labels.things
        named = zip(self.labels.names, things.tolist(), strict=True)
        table = {str(index): {"name": name, "isthing": int(thing)} for index, (name, thing) in enumerate(named)}
        data = checkpoint.read_json(folder, checkpoint.PREPROCESSOR)
        name = data.get(CLASS_INFO) or "class_info.json"
        checkpoint.write_json(folder, name, table)
        checkpoint.write_json(folder, checkpoint.PREPROCESSOR, {**data, CLASS_INFO: name})

    def preprocess(self, image: np.ndarray) -> Tensor:
        """As :meth:`ClassQueries.preprocess`, with the sentence for the task: float32 (1, 3 + n, h, w), the last channels beginning with the
        numbers of its tokens."""
        batch = super().preprocess(image)
        question = torch.tensor(self.questions[self.task.name], dtype=batch.dtype)
        area = batch.shape[-2] * batch.shape[-1]
        count = -(-len(question) // area)
        asked = F.pad(question, (0, count * area - len(question))).view(1, count, *batch.shape[-2:])
        return torch.cat([batch, asked], 1)

    @staticmethod
    def forward(module: nn.Module, batch: Tensor) -> list[dict[str, Tensor]]:
        """As :meth:`ClassQueries.forward`, of pictures that bring their sentence; without one (B, 3, h, w) they are asked for the first task."""
        return [{"classes": classes, "masks": masks} for classes, masks in zip(*OneFormer.query_logits(module, batch), strict=True)]

    @staticmethod
    def query_logits(module: nn.Module, batch: Tensor) -> tuple[Tensor, ...]:
        """As :meth:`ClassQueries.query_logits`."""
        length = module.question.shape[1]
        question = batch[:, COLOURS:].flatten(1)[:, :length] if batch.shape[1] > COLOURS else module.question.expand(len(batch), -1)
        return transformers_config.query_logits(module(pixel_values=batch[:, :COLOURS], task_inputs=question))

    def replace_head(self, labels: LabelSet) -> Self:
        """As :meth:`Network.replace_head`."""
        return super().replace_head(labels)._asking_first()

    def card_snippet(self, source: str) -> str:
        """Code that loads the checkpoint with plain transformers.

        Args:
            source: folder or Hub id.
        """
        code = transformers_config.loading_code("AutoModelForUniversalSegmentation", "OneFormerProcessor", source, f', repo_path="{source}"')
        return f"""{code}# inputs = processor(images=[image], task_inputs=["{self.tasks[0].name}"], return_tensors="pt")
# processor.post_process_{self.tasks[0].name}_segmentation(model(**inputs), target_sizes=[(height, width)])
"""

    def _asking_first(self) -> Self:
        """The same, whose module knows the sentence of its first task."""
        self.module.register_buffer("question", _as_input(self.questions[self.tasks[0].name], self.module), persistent=False)
        return self

    def _instances(self, classes: Tensor, masks: Tensor, height: int, width: int) -> list[Segment]:
        order = replace(self.order, logits=True)
        return apart(queries.best_pairs_without_overlaps(classes, masks, height, width, order, self.thresholds))


def _as_input(question: tuple[int, ...], module: nn.Module) -> Tensor:
    return torch.tensor([question], device=next(module.parameters()).device)


def _questions(tokenizer: CLIPTokenizer, length: int) -> dict[str, tuple[int, ...]]:
    """Token ids by the name of the task, as the processor's call has them."""
    names = [task.name for task in OneFormer.family.tasks]
    processor = OneFormerProcessor(OneFormerImageProcessor(), tokenizer)
    tokens = processor._preprocess_text([f"the task is {name}" for name in names], max_length=length)
    return {name: tuple(row) for name, row in zip(names, tokens.tolist(), strict=True)}


def _found_here(folder: Path, data: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments with which transformers finds the table of classes in the folder, or does not look for it anywhere."""
    return {CLASS_INFO: None} if _table_file(folder, data) is None else {"repo_path": str(folder.resolve())}


def _table_file(folder: Path, data: Mapping[str, Any]) -> str | None:
    name = data.get(CLASS_INFO)
    plain = isinstance(name, str) and re.fullmatch(r"[\w.-]+\.json", name) is not None
    return name if plain and (folder / name).is_file() else None


def _things(folder: Path, data: Mapping[str, Any], count: int) -> np.ndarray | None:
    """Which classes are of things, by the table: bool (count,); None without one that tells some from others."""
    name = _table_file(folder, data)
    table = {} if name is None else checkpoint.read_json(folder, name)
    rows = [table.get(str(index)) for index in range(count)]
    if not rows or not all(isinstance(row, dict) and row.get("isthing") in (0, 1) for row in rows):
        return None
    things = np.array([bool(row["isthing"]) for row in rows])
    return None if things.all() else things
