"""A dataset as others take it: one zip, or a Hub dataset repository; both are an imagefolder with ``metadata.jsonl``."""

from __future__ import annotations

import json
import os
import re
import tempfile
import zipfile
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from seg_demo.datasets import journal
from seg_demo.datasets.sample import Sample
from seg_demo.errors import BadRequestError
from seg_demo.storage import write_atomically

if TYPE_CHECKING:
    from seg_demo.datasets.dataset import Dataset


def files(dataset: Dataset) -> Iterator[tuple[str, Path | bytes]]:
    """(path in the archive or repository, file or content) of everything that is exported.

    ``load_dataset("imagefolder", ...)`` of the ``datasets`` library reads ``metadata.jsonl`` and yields the columns image,
    mask (and instances); training here reads it too.
    """
    found, unreadable = dataset.look()
    samples = sorted(found, key=lambda sample: sample.stem)
    yield "README.md", card(dataset, samples, tuple(unreadable.values())).encode()
    yield "labels.json", dataset.path / "labels.json"
    yield "metadata.jsonl", "".join(json.dumps(_row(sample), ensure_ascii=False) + "\n" for sample in samples).encode()
    for sample in samples:
        for path in (sample.image, sample.mask, sample.instances):
            if path is not None:
                yield path.relative_to(dataset.path).as_posix(), path


def _row(sample: Sample) -> dict[str, object]:
    row: dict[str, object] = {"file_name": f"images/{sample.stem}.png", "mask_file_name": f"masks/{sample.stem}.png"}
    if sample.instances is not None:
        row["instances_file_name"] = f"instances/{sample.stem}.png"
    return {**row, "width": sample.width, "height": sample.height, "saved": sample.saved, **asdict(sample.facts)}


def card(dataset: Dataset, samples: list[Sample], unreadable: Sequence[str] = ()) -> str:
    """The dataset card: front matter that the Hub reads, what the numbers in the masks mean, and how it was made.

    Args:
        dataset: what it is about.
        samples: of it.
        unreadable: sentences about those that are left out.
    """
    left_out = "".join(f"\n- {_cell(each)}" for each in unreadable)
    total = sum(sample.width * sample.height for sample in samples) or 1
    rows = "\n".join(
        f"| {index} | {_cell(name)} | {sum(sample.pixels.get(index, 0) for sample in samples) / total:.2%} |"
        for index, name in enumerate(dataset.labels.names)
    )
    objects = sum(sample.objects or 0 for sample in samples)
    minutes = sum(sample.facts.seconds for sample in samples) / 60
    sources = sorted({sample.facts.source for sample in samples} - {"blank", "mask"})
    began = f" Masks began as predictions of {', '.join(map(_cell, sources))} and were corrected." if sources else ""
    maps = (
        "`instances/` numbers the objects (16-bit PNG, 0 is none); `masks/` gives their classes."
        if dataset.task == "instance"
        else "`masks/` holds a class per pixel."
    )
    return f"""---
task_categories:
- image-segmentation
tags:
- {dataset.task}-segmentation
---

# {_cell(dataset.name)}

{len(samples)} images{f" with {objects} objects" if dataset.task == "instance" else ""}. {maps} 255 means: ignore this pixel.

| value | class | share of the pixels |
|---|---|---|
{rows}

The masks were made by hand in the browser, in {minutes:.0f} minutes altogether.{began}
What each of them took (seconds, strokes) stands in `metadata.jsonl`;
`confidence` is the mean margin of the prediction that it began with: how far, in probability, the class of a pixel was ahead
of the runner-up.

```python
from datasets import load_dataset

data = load_dataset("imagefolder", data_dir="this folder")
```

Images are stored upright and without the metadata of their cameras.
{f"{chr(10)}Left out:{chr(10)}{left_out}{chr(10)}" if left_out else ""}"""


def _cell(text: str) -> str:
    """A person's text as Markdown shows it literally."""
    return "".join("\\" + sign if sign in "\\`*_{}[]<>#|!" else sign for sign in text)


def push(dataset: Dataset, repo_id: str, token: str | None, *, private: bool) -> str:
    """As :meth:`seg_demo.datasets.dataset.Dataset.push`. The Hub's client is imported here alone: it takes a second."""
    from seg_demo.models import hub_login, hub_push

    if not isinstance(repo_id, str) or re.fullmatch(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", repo_id) is None:
        came = f"{str(repo_id)[:80]!r} is not the name of a repository." if repo_id else "The name of the repository is missing."
        raise BadRequestError(f"{came} Type your Hub name, a slash, and a name: ann/my-cells.")
    content = dict(files(dataset))
    if not any(name.startswith("images/") for name in content):
        raise BadRequestError(f"The dataset {dataset.name} has no samples yet. Save one first, then push.")
    hub_login.whoami(token)
    folders = ("images/", "masks/", "instances/")
    message = f"{len(dataset)} images"
    return hub_push.push_files(
        content, repo_id, repo_type="dataset", prune=folders, private=private, token=token, message=message,
        kept="; the dataset is kept here",
    )  # fmt: skip


def write_zip(dataset: Dataset, target: Path | None) -> Path:
    """Write the archive.

    Args:
        dataset: to be exported.
        target: the file to write; None makes a temporary one, which the caller removes.

    Returns:
        The file.

    Raises:
        StorageError: the disk is full or fails.
    """
    with journal.storage_errors(dataset.path):
        if target is not None:
            write_atomically(target, lambda file: _zip_into(file, dataset))
            return target
        handle, name = tempfile.mkstemp(prefix=f"{dataset.key}-", suffix=".zip")
        try:
            with os.fdopen(handle, "wb") as file:
                _zip_into(file, dataset)
        except BaseException:
            Path(name).unlink(missing_ok=True)
            raise
        return Path(name)


def _zip_into(file: BinaryIO, dataset: Dataset) -> None:
    with zipfile.ZipFile(file, "w") as archive:
        for name, content in files(dataset):
            # PNG does not get smaller; texts do.
            kind = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(name, data, compress_type=kind)
