"""A dataset on disk: ``images/`` and ``masks/`` (and ``instances/``) with the same stems, as training reads them.

Beside them lie ``labels.json`` (the class of each number), ``facts/`` (a JSON file per sample), ``thumbnails/``, ``drafts/``
(which sample a save has made) and ``dataset.json`` (name, task, colours). Every change is journalled, so that a killed server
leaves the old state or the new.

A file that cannot be read costs its own sample alone: it is named and passed over, and nothing of it is touched. Names that people
type become names of files that are safe on every file system. Others take a dataset as one zip or as a Hub dataset repository; both
are an imagefolder with ``metadata.jsonl``.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
import tempfile
import unicodedata
import zipfile
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

import numpy as np

from seg_demo.core import (
    BACKGROUND, IGNORE, TASKS, BadRequestError, DataError, LabelSet, Message, StorageError, background_of, distinct_colors, sentences, storage,
    write_atomically,
)
from seg_demo.datasets.sample import Facts, Sample, check_truth, thumbnail
from seg_demo.inputs.images import Source, decode, decode_mask
from seg_demo.outputs import draw

MAX_SAMPLES = 10_000


class Dataset:
    """A dataset that exists; made by :class:`~seg_demo.datasets.store.Store`. Methods may be called from several threads.

    Args:
        path: its folder.
        room: most bytes that it may still grow by, asked for at every write; None for no limit.

    Attributes:
        path: its folder, which ``python train/finetune.py --data`` takes.
        key: name of the folder, by which the store opens it.
        name: as the person typed it.
        task: ``semantic`` or ``instance``.
        labels: the classes, in the order of their numbers in the masks.
    """

    def __init__(self, path: Path, room: Callable[[], int] | None = None) -> None:
        self.path, self.key, self._room, self._lock = path, path.name, room, storage.lock_of(path)
        self.name, self.task, self.labels = read_header(path)

    def __len__(self) -> int:
        return sum(1 for _ in (self.path / "facts").glob("*.json"))

    @property
    def changed(self) -> float:
        """When a sample was last saved or deleted, in seconds since 1970."""
        return (self.path / "facts").stat().st_mtime

    def samples(self) -> list[Sample]:
        """All samples that can be read, the last changed first."""
        return self.look()[0]

    def look(self) -> tuple[list[Sample], dict[str, str]]:
        """As :func:`seg_demo.datasets.dataset.read_samples`: the samples, and a sentence for each that cannot be read."""
        return read_samples(self.path, self.name)

    def sample(self, stem: str) -> Sample:
        """One sample.

        Raises:
            BadRequestError: there is none of that stem.
            StorageError: what is stored about it cannot be read.
        """
        if not is_stem(stem) or not (self.path / "facts" / f"{stem}.json").is_file():
            raise BadRequestError("datasets.no_sample", name=self.name, sample=str(stem)[:80])
        return read_sample(self.path, self.name, stem)

    def read(self, stem: str) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
        """A sample's pixels.

        Args:
            stem: of the sample.

        Returns:
            Image uint8 (H, W, 3); mask uint8 (H, W), class ids, 255 to ignore; instance map uint16 (H, W) or None.

        Raises:
            BadRequestError: there is no such sample.
            BadImageError: a file of it is damaged.
        """
        sample = self.sample(stem)
        instances = None if sample.instances is None else decode_mask(sample.instances)[0].astype(np.uint16)
        return decode(sample.image.read_bytes(), max_bytes=2**40), decode_mask(sample.mask)[0], instances

    def add(
        self,
        image: Source,
        mask: np.ndarray,
        facts: Facts = Facts(),  # noqa: B008  (frozen)
        *,
        instances: np.ndarray | None = None,
        name: str = "image",
        draft: str | None = None,
    ) -> Sample:
        """Add an image with its mask.

        Args:
            image: anything that :func:`seg_demo.inputs.images.decode` takes; stored upright, without its metadata.
            mask: integer (H, W) at the size of the upright image, a class id per pixel, 255 to ignore.
            facts: how the mask came about.
            instances: integer (H, W), an object number per pixel, 0 for none; needed in, and only in, instance datasets.
            name: of the file, without suffix; a number is added where it is taken.
            draft: what tells this save from others; a second one of the same, of an answer that was lost, gives the sample that
                the first made another mask. None is always a new sample.

        Returns:
            The sample as it is stored.

        Raises:
            BadImageError: the image cannot be read.
            DataError: the mask does not fit the image or the classes.
            StorageError: the disk is full or fails, or the visitor's share of it is used up.
        """
        pixels = decode(image)
        with self._lock:
            if draft and (again := made_by(self.path, self.name, draft)) is not None:
                return self.replace(again, mask, facts, instances=instances)
            if len(self) >= MAX_SAMPLES:
                raise DataError("datasets.too_many_samples", most=MAX_SAMPLES)
            stem = free_stem(stem_of(name), [path.stem for path in (self.path / "facts").glob("*.json")])
            name = unicodedata.normalize("NFC", name)[:120]
            return self._store(stem, name, pixels, mask, instances, facts, draft, new=True)

    def replace(self, stem: str, mask: np.ndarray, facts: Facts, *, instances: np.ndarray | None = None) -> Sample:
        """Give a sample another mask; its image stays.

        Args and Raises: as for :meth:`add`.
        """
        with self._lock:
            old = self.sample(stem)
            pixels = decode(old.image.read_bytes(), max_bytes=2**40)
            return self._store(stem, old.name, pixels, mask, instances, facts, old.draft, new=False)

    def _store(
        self, stem: str, name: str, pixels: np.ndarray, mask: np.ndarray, instances: np.ndarray | None, facts: Facts,
        draft: str | None, *, new: bool,
    ) -> Sample:  # fmt: skip
        if (instances is not None) != TASKS[self.task].objects:
            key = "datasets.takes_instances" if TASKS[self.task].objects else "datasets.takes_mask_alone"
            raise DataError(key, name=self.name, task=self.task)
        checked = check_truth(pixels.shape[:2], self.labels, mask, instances)
        counts = np.bincount(checked.ravel(), minlength=256)
        record = {
            "name": name,
            "width": pixels.shape[1],
            "height": pixels.shape[0],
            "objects": None if instances is None else int(np.count_nonzero(np.bincount(instances.ravel())[1:])),
            "pixels": {int(label): int(counts[label]) for label in np.flatnonzero(counts) if label != IGNORE},
            "saved": datetime.now(UTC).isoformat(timespec="microseconds"),
            "facts": vars(facts),
            "draft": draft,
        }
        files = {f"masks/{stem}.png": draw.encode_png(checked)}
        if instances is not None:
            files[f"instances/{stem}.png"] = draw.encode_png(instances.astype(np.uint16))
        if new:
            files[f"images/{stem}.png"] = draw.encode_png(pixels)
            if draft:
                files[draft_file(draft)] = stem.encode()
        files[f"thumbnails/{stem}.jpg"] = thumbnail(pixels, checked, self.labels, instances)
        files[f"facts/{stem}.json"] = json.dumps(record, ensure_ascii=False).encode()
        self._commit(files)
        return read_sample(self.path, self.name, stem)

    def delete(self, stem: str) -> None:
        """Remove a sample with all its files.

        Raises:
            BadRequestError: there is no such sample.
        """
        with self._lock:
            sample = self.sample(stem)
            gone = [sample.image, sample.mask, sample.instances, sample.thumbnail, self.path / "facts" / f"{stem}.json"]
            names = [path.relative_to(self.path).as_posix() for path in gone if path is not None]
            self._commit({}, [*names, *([draft_file(sample.draft)] if sample.draft else [])])

    def zip(self, target: Path | None = None) -> Path:
        """All of the dataset in one archive: what training reads, and a ``metadata.jsonl`` as imagefolder reads it.

        Args:
            target: the file to write; None makes a temporary one, which the caller removes.

        Returns:
            The file.

        Raises:
            StorageError: the disk is full or fails.
        """
        with self._lock:
            return write_dataset_zip(self, target)

    def push(self, repo_id: str, token: str | None, *, private: bool = True) -> str:
        """Put the dataset into a dataset repository of the Hub, in one commit; samples that are gone here go there too.

        Args:
            repo_id: ``user/name``; made if it is not there.
            token: of the person's login, used for this push alone; None takes the login of this machine.
            private: make a new repository private; an existing one stays as it is.

        Returns:
            The commit's sha.

        Raises:
            BadRequestError: no such name or token, no right to write there, or no samples.
            HubUnavailableError: the Hub does not answer, or fails for good.
        """
        return push_dataset(self, repo_id, token, private=private)

    def add_classes(self, names: Sequence[str]) -> LabelSet:
        """Append classes; those that are there already keep their numbers.

        Args:
            names: of new classes; ones that the dataset has are skipped.

        Returns:
            The classes now, also in ``labels``.

        Raises:
            DataError: too many, or a name that no class can have.
        """
        with self._lock:
            self.name, self.task, self.labels = read_header(self.path)
            longer = extended(self.labels, names)
            if len(longer) > len(self.labels):
                self._commit(header_files(self.name, self.task, longer))
                self.labels = longer
            return self.labels

    def _commit(self, files: dict[str, bytes], removed: Sequence[str] = ()) -> None:
        if files and self._room is not None:
            room, wanted = self._room(), sum(map(len, files.values()))
            if wanted > room:
                raise StorageError("datasets.no_space_left", wanted=wanted / 1e6, left=max(0, room) / 1e6)
        storage.commit(self.path, files, removed)


def read_sample(root: Path, name: str, stem: str) -> Sample:
    """One sample.

    Args:
        root: folder of the dataset.
        name: of the dataset, for the message.
        stem: of the sample.

    Raises:
        StorageError: its file cannot be read.
    """
    path = root / "facts" / f"{stem}.json"
    try:
        sample = Sample.from_json(stem, json.loads(path.read_text(encoding="utf-8")), root)
        if not all(isinstance(text, str) for text in (sample.name, sample.saved, sample.facts.source)):
            raise TypeError("a text was expected")
        if not all(isinstance(number, int) for number in (sample.width, sample.height, *sample.pixels.values())):
            raise TypeError("a number was expected")
        return sample
    except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
        raise StorageError("datasets.facts_damaged", file=path.name, name=name, why=type(error).__name__) from error


def read_samples(root: Path, name: str) -> tuple[list[Sample], dict[str, str]]:
    """All samples.

    Args:
        root: folder of the dataset.
        name: of the dataset, for the messages.

    Returns:
        Those that can be read, the last changed first; and the stems of the others, with a sentence each.
    """
    found, unreadable = [], {}
    for path in sorted((root / "facts").glob("*.json")):
        try:
            found.append(read_sample(root, name, path.stem))
        except StorageError as error:
            unreadable[path.stem] = str(error)
    return sorted(found, key=lambda sample: (sample.saved, sample.stem), reverse=True), unreadable


def draft_file(draft: str) -> str:
    """Where it stands which sample a save has made, relative to the dataset.

    Args:
        draft: what tells the save from others, any text.
    """
    return f"drafts/{hashlib.sha256(draft.encode('utf-8', 'replace')).hexdigest()[:32]}"


def made_by(root: Path, name: str, draft: str) -> str | None:
    """The stem of the sample that a save has made; None if there is none, or it cannot be read any more.

    Args:
        root: folder of the dataset.
        name: of the dataset.
        draft: of the save.
    """
    try:
        stem = (root / draft_file(draft)).read_text(encoding="utf-8")
        return stem if is_stem(stem) and read_sample(root, name, stem).draft == draft else None
    except (OSError, ValueError, StorageError):
        return None


_RESERVED = re.compile(r"(con|prn|aux|nul|com\d|lpt\d)(\..*)?", re.IGNORECASE)


def stem_of(name: str, otherwise: str = "image") -> str:
    """A name for a file or folder: letters, digits, ``.``, ``_`` and ``-``, no leading dot, at most 60 characters.

    Args:
        name: any text.
        otherwise: if nothing is left of it.

    >>> stem_of("my photo (1)"), stem_of("../../etc/passwd"), stem_of("..")
    ('my-photo-1', 'etc-passwd', 'image')
    """
    text = unicodedata.normalize("NFC", name)
    text = re.sub(r"[^\w.-]+", "-", text)
    text = re.sub(r"[.-]{2,}", "-", text)[:60].strip("-._")
    return otherwise if not text or _RESERVED.fullmatch(text) else text


def is_stem(name: object) -> bool:
    """Whether a name may have come from :func:`stem_of`, perhaps with a number behind it; such a name leaves no folder.

    >>> is_stem("photo-2"), is_stem("../photo"), is_stem("a/b"), is_stem(".hidden"), is_stem(None)
    (True, False, False, False, False)
    """
    return isinstance(name, str) and len(name) <= 80 and ".." not in name and re.fullmatch(r"\w[\w.-]*", name) is not None


def free_stem(stem: str, taken: Iterable[str]) -> str:
    """The stem, or with the first number after it that is not taken; file systems may ignore case.

    >>> free_stem("photo", ["Photo", "photo-2"])
    'photo-3'
    """
    others = {name.casefold() for name in taken}
    number, found = 1, stem
    while found.casefold() in others:
        number += 1
        found = f"{stem}-{number}"
    return found


def export_files(dataset: Dataset) -> Iterator[tuple[str, Path | bytes]]:
    """(path in the archive or repository, file or content) of everything that is exported.

    ``load_dataset("imagefolder", ...)`` of the ``datasets`` library reads ``metadata.jsonl`` and yields the columns image,
    mask (and instances); training here reads it too.
    """
    found, unreadable = dataset.look()
    samples = sorted(found, key=lambda sample: sample.stem)
    yield "README.md", dataset_card(dataset, samples, tuple(unreadable.values())).encode()
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


def dataset_card(dataset: Dataset, samples: list[Sample], unreadable: Sequence[str] = ()) -> str:
    """The dataset card: front matter that the Hub reads, what the numbers in the masks mean, and how it was made.

    Args:
        dataset: what it is about.
        samples: of it.
        unreadable: sentences about those that are left out.
    """
    left_out = "".join(f"\n- {_cell(name)}" for name in unreadable)
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
        if TASKS[dataset.task].objects
        else "`masks/` holds a class per pixel."
    )
    return f"""---
task_categories:
- image-segmentation
tags:
- {dataset.task}-segmentation
---

# {_cell(dataset.name)}

{len(samples)} images{f" with {objects} objects" if TASKS[dataset.task].objects else ""}. {maps} 255 means: ignore this pixel.

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


def push_dataset(dataset: Dataset, repo_id: str, token: str | None, *, private: bool) -> str:
    """As :meth:`seg_demo.datasets.dataset.Dataset.push`. The Hub's client is imported here alone: it takes a second."""
    from seg_demo.hub import client

    if not isinstance(repo_id, str) or re.fullmatch(r"[\w-][\w.-]{0,95}/[\w-][\w.-]{0,95}", repo_id) is None:
        came = Message("push.bad_repository", repo=str(repo_id)[:80]) if repo_id else Message("push.no_repository")
        raise BadRequestError(sentences(came, Message("push.write_name_so")))
    content = dict(export_files(dataset))
    if not any(name.startswith("images/") for name in content):
        raise BadRequestError("datasets.empty", name=dataset.name)
    client.whoami(token)
    folders = ("images/", "masks/", "instances/")
    message = f"{len(dataset)} images"
    return client.push_files(
        content, repo_id, repo_type="dataset", prune=folders, private=private, token=token, message=message,
        kept="; the dataset is kept here",
    )  # fmt: skip


def write_dataset_zip(dataset: Dataset, target: Path | None) -> Path:
    """Write the archive.

    Args:
        dataset: to be exported.
        target: the file to write; None makes a temporary one, which the caller removes.

    Returns:
        The file.

    Raises:
        StorageError: the disk is full or fails.
    """
    with storage.storage_errors(dataset.path, public=True):
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
        for name, content in export_files(dataset):
            # PNG does not get smaller; texts do.
            kind = zipfile.ZIP_STORED if name.endswith(".png") else zipfile.ZIP_DEFLATED
            data = content if isinstance(content, bytes) else content.read_bytes()
            archive.writestr(name, data, compress_type=kind)


VERSION = 1
MAX_CLASSES = 255


def label_set(labels: LabelSet | Sequence[str]) -> LabelSet:
    """Classes as a dataset can store them: names that differ, not too many, and a background.

    Args:
        labels: a label set, whose numbers are kept; or names, of which a missing ``background`` is put first.

    Raises:
        DataError: none, too many, or a name that no class can have.
    """
    if isinstance(labels, LabelSet):
        names = _distinct(labels.names)
        chosen = LabelSet(names, labels.colors, labels.background, labels.things)
    else:
        names = clean_names(labels)
        if not names:
            raise DataError("datasets.no_class")
        if background_of(names) is None:
            names = [BACKGROUND, *names]
        chosen = LabelSet.from_names(names, background=background_of(names))
    if len(chosen) > MAX_CLASSES:
        raise DataError("datasets.too_many_classes", most=MAX_CLASSES, count=len(chosen))
    return chosen


def with_background(labels: LabelSet) -> LabelSet:
    """Classes as a dataset of objects can store them: as :func:`label_set` of their names, and which are things where that is known.

    Raises:
        DataError: as there.
    """
    chosen = label_set(labels if labels.background is not None else list(labels.names))
    if labels.things is None or chosen.things is not None:
        return chosen
    counted = {clean_names([name])[0].casefold() for name, thing in zip(labels.names, labels.things, strict=True) if thing}
    return replace(chosen, things=np.array([name.casefold() in counted for name in chosen.names]))


def _distinct(names: Sequence[str]) -> tuple[str, ...]:
    """The names, those that occur again with a number: some checkpoints have ten classes ``N/A``."""
    seen: set[str] = set()
    found = []
    for name in names:
        text, number = clean_names([name])[0], 1
        while (candidate := text if number == 1 else f"{text} {number}").casefold() in seen:
            number += 1
        seen.add(candidate.casefold())
        found.append(candidate)
    return tuple(found)


def extended(labels: LabelSet, names: Sequence[str]) -> LabelSet:
    """The classes with further ones behind them; names that are there already, in any case of letters, are skipped.

    Raises:
        DataError: too many, or a name that no class can have.
    """
    known = {name.casefold() for name in labels.names}
    fresh = [name for name in clean_names(names) if name.casefold() not in known]
    count = len(labels) + len(fresh)
    if count > MAX_CLASSES:
        raise DataError("datasets.would_be_too_many_classes", most=MAX_CLASSES, count=count)
    colors = np.concatenate([labels.colors, distinct_colors(count, labels.background)[len(labels) :]])
    # What a person adds is counted until they say otherwise.
    things = None if labels.things is None else np.concatenate([labels.things, np.ones(len(fresh), bool)])
    return LabelSet((*labels.names, *fresh), colors, labels.background, things)


def header_files(name: str, task: str, labels: LabelSet) -> dict[str, bytes]:
    """``dataset.json``, and ``labels.json`` as training reads it: the class of each number in the masks."""
    colors = labels.colors.tolist()
    header = {"version": VERSION, "name": name, "task": task, "labels": labels.names, "colors": colors}
    classes = {"id2label": {str(index): label for index, label in enumerate(labels.names)}, "colors": colors}
    if labels.things is not None:
        classes["things"] = [name for name, thing in zip(labels.names, labels.things, strict=True) if thing]
        header["things"] = labels.things.tolist()
    return {
        "dataset.json": json.dumps({**header, "background": labels.background}, ensure_ascii=False, indent=1).encode(),
        "labels.json": json.dumps(classes, ensure_ascii=False, indent=1).encode(),
    }


def clean_names(names: Sequence[str]) -> list[str]:
    """Class names without surrounding blanks, control characters and repetitions.

    Raises:
        DataError: an empty or over-long name.
    """
    cleaned: dict[str, str] = {}
    for name in names:
        text = unicodedata.normalize("NFC", " ".join(str(name).split()))
        if not text or len(text) > 80 or not text.isprintable():
            raise DataError("datasets.bad_class_name", name=str(name)[:40])
        cleaned.setdefault(text.casefold(), text)
    return list(cleaned.values())


def read_header(folder: Path) -> tuple[str, str, LabelSet]:
    """Name, task and classes of a dataset, as :func:`header_files` wrote them.

    Raises:
        StorageError: the file is missing or damaged.
    """
    try:
        header = json.loads((folder / "dataset.json").read_text(encoding="utf-8"))
        colors = np.array(header["colors"], dtype=np.uint8)
        things = None if header.get("things") is None else np.array(header["things"], dtype=bool)
        return str(header["name"]), str(header["task"]), LabelSet(tuple(header["labels"]), colors, header["background"], things)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StorageError("datasets.damaged", name=folder.name, why=error) from error
