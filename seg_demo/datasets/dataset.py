"""A dataset on disk: ``images/`` and ``masks/`` (and ``instances/``) with the same stems, as training reads them.

Beside them lie ``labels.json`` (the class of each number), ``facts/`` (a JSON file per sample), ``thumbnails/``, ``drafts/``
(which sample a save has made) and ``dataset.json`` (name, task, colours). Every change is journalled, so that a killed server
leaves the old state or the new.
"""

from __future__ import annotations

import json
import unicodedata
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from seg_demo.datasets import classes, exports, journal, records
from seg_demo.datasets.names import free_stem, is_stem, stem_of
from seg_demo.datasets.sample import IGNORE, Facts, Sample, check_truth, thumbnail
from seg_demo.errors import BadRequestError, DataError, StorageError
from seg_demo.inputs.images import Source, decode, decode_mask
from seg_demo.outputs import png
from seg_demo.types import LabelSet

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
        self.path, self.key, self._room, self._door = path, path.name, room, journal.door(path)
        self.name, self.task, self.labels = classes.read_header(path)

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
        """As :func:`seg_demo.datasets.records.look`: the samples, and a sentence for each that cannot be read."""
        return records.look(self.path, self.name)

    def sample(self, stem: str) -> Sample:
        """One sample.

        Raises:
            BadRequestError: there is none of that stem.
            StorageError: what is stored about it cannot be read.
        """
        if not is_stem(stem) or not (self.path / "facts" / f"{stem}.json").is_file():
            raise BadRequestError(f"The dataset {self.name} has no sample {str(stem)[:80]!r}. It may have been deleted.")
        return records.read(self.path, self.name, stem)

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
        with self._door:
            if draft and (again := records.made_by(self.path, self.name, draft)) is not None:
                return self.replace(again, mask, facts, instances=instances)
            if len(self) >= MAX_SAMPLES:
                raise DataError(f"A dataset has at most {MAX_SAMPLES} samples. Delete some, or start another dataset.")
            stem = free_stem(stem_of(name), [path.stem for path in (self.path / "facts").glob("*.json")])
            name = unicodedata.normalize("NFC", name)[:120]
            return self._store(stem, name, pixels, mask, instances, facts, draft, new=True)

    def replace(self, stem: str, mask: np.ndarray, facts: Facts, *, instances: np.ndarray | None = None) -> Sample:
        """Give a sample another mask; its image stays.

        Args and Raises: as for :meth:`add`.
        """
        with self._door:
            old = self.sample(stem)
            pixels = decode(old.image.read_bytes(), max_bytes=2**40)
            return self._store(stem, old.name, pixels, mask, instances, facts, old.draft, new=False)

    def _store(
        self, stem: str, name: str, pixels: np.ndarray, mask: np.ndarray, instances: np.ndarray | None, facts: Facts,
        draft: str | None, *, new: bool,
    ) -> Sample:  # fmt: skip
        if (instances is not None) != (self.task == "instance"):
            wanted = "an instance map beside the mask" if self.task == "instance" else "a mask alone"
            raise DataError(f"{self.name} is a dataset of task {self.task}, which takes {wanted}.")
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
        files = {f"masks/{stem}.png": png.encode(checked)}
        if instances is not None:
            files[f"instances/{stem}.png"] = png.encode(instances.astype(np.uint16))
        if new:
            files[f"images/{stem}.png"] = png.encode(pixels)
            if draft:
                files[records.draft_file(draft)] = stem.encode()
        files[f"thumbnails/{stem}.jpg"] = thumbnail(pixels, checked, self.labels, instances)
        files[f"facts/{stem}.json"] = json.dumps(record, ensure_ascii=False).encode()
        self._commit(files)
        return records.read(self.path, self.name, stem)

    def delete(self, stem: str) -> None:
        """Remove a sample with all its files.

        Raises:
            BadRequestError: there is no such sample.
        """
        with self._door:
            sample = self.sample(stem)
            gone = [sample.image, sample.mask, sample.instances, sample.thumbnail, self.path / "facts" / f"{stem}.json"]
            names = [path.relative_to(self.path).as_posix() for path in gone if path is not None]
            self._commit({}, [*names, *([records.draft_file(sample.draft)] if sample.draft else [])])

    def zip(self, target: Path | None = None) -> Path:
        """All of the dataset in one archive: what training reads, and a ``metadata.jsonl`` as imagefolder reads it.

        Args:
            target: the file to write; None makes a temporary one, which the caller removes.

        Returns:
            The file.

        Raises:
            StorageError: the disk is full or fails.
        """
        with self._door:
            return exports.write_zip(self, target)

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
        return exports.push(self, repo_id, token, private=private)

    def add_classes(self, names: Sequence[str]) -> LabelSet:
        """Append classes; those that are there already keep their numbers.

        Args:
            names: of new classes; ones that the dataset has are skipped.

        Returns:
            The classes now, also in ``labels``.

        Raises:
            DataError: too many, or a name that no class can have.
        """
        with self._door:
            self.name, self.task, self.labels = classes.read_header(self.path)
            longer = classes.extended(self.labels, names)
            if len(longer) > len(self.labels):
                self._commit(classes.header_files(self.name, self.task, longer))
                self.labels = longer
            return self.labels

    def _commit(self, files: dict[str, bytes], removed: Sequence[str] = ()) -> None:
        if files and self._room is not None:
            room, wanted = self._room(), sum(map(len, files.values()))
            if wanted > room:
                raise StorageError(
                    f"This needs {wanted / 1e6:.1f} MB, but {max(0, room) / 1e6:.1f} MB are left of the space "
                    "that each visitor has here. Export what you have and delete samples, or run the demo on your own machine."
                )
        journal.commit(self.path, files, removed)
