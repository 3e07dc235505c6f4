r"""Files as lists name them, found although another tool, system or machine wrote the name otherwise.

What happens to names on their way: web tools write ``%20`` or ``+`` for a blank, a Mac takes letters and their accents apart
(NFD), Windows writes ``\`` and does not tell upper from lower case, Label Studio puts eight hexadecimal digits before every
upload, and an absolute path names folders of somebody else's machine. A name as it is written always comes first; another
spelling counts only where one file alone fits it, and no path ever leaves the folders that are searched.

Annotations in formats that are not read are known by their files, and it is said how to get masks or COCO from them: Supervisely's JSON beside the images,
an ``annotations.xml`` that is not CVAT's for images, Cityscapes' ``gtFine``, nnU-Net's ``labelsTr``, Cellpose's ``_seg.npy``, one file per object (Data Science Bowl
2018), arrays of numpy, MATLAB files. Those that are read: :mod:`seg_demo.annotations.other_tools`.
"""

from __future__ import annotations

import codecs
import json
import os
import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path, PurePosixPath
from urllib.parse import unquote, unquote_plus

import orjson

from seg_demo.annotations.listing import NOTE, SPLITS, Fault, inside, is_file, is_panoptic
from seg_demo.core import DataError, Message

# The lists of a COCO file.
KEYS = ("images", "annotations", "categories")
UPLOAD = re.compile(r"^[0-9a-f]{8}-(?=.)")


def _composed(name: str) -> str:
    return unicodedata.normalize("NFC", name)


def _small_suffix(name: str) -> str:
    stem, suffix = os.path.splitext(_composed(unquote_plus(name)))
    return stem + suffix.lower()


# Spellings that are taken for one, from those that differ least: a name → what it has in common with its other spellings.
SPELLINGS: tuple[Callable[[str], str], ...] = (
    lambda name: name,
    _composed,
    lambda name: _composed(unquote(name)),
    lambda name: _composed(unquote_plus(name)),
    _small_suffix,
    lambda name: _composed(unquote_plus(name)).casefold(),
    lambda name: UPLOAD.sub("", _composed(unquote_plus(name)).casefold()),
)


def same_file(one: str, other: str) -> bool:
    """Whether two names that became equal may mean one file: two uploads of equal names are two files."""
    first, second = UPLOAD.match(one.lower()), UPLOAD.match(other.lower())
    return not (first and second and first[0] != second[0])


class SeveralFit(Exception):
    """More than one file fits a name that none has as it is written; ``files`` are two of them."""

    def __init__(self, files: Sequence[Path]) -> None:
        self.files = tuple(files[:2])
        super().__init__(", ".join(path.name for path in self.files))


def several_fit(listed: str, files: Sequence[Path], file: str, item: str | None) -> Fault:
    """The fault of a listed name that several files fit.

    Args:
        listed: the name.
        files: two that fit.
        file: the list, as a message names it.
        item: what has to go if the fault is to be skipped.
    """
    what = Message("findings.name_fits_two_files", listed=listed[:200], name=files[0].name, name_2=files[1].name)
    return Fault("two files for one name", file, what, Message("findings.name_the_file"), item=item)


def respelled(found: Sequence[tuple[str, Path]], file: str) -> list[Fault]:
    """What a person should know about files that were found under a name that is spelled differently; nothing if there are none.

    Args:
        found: the name that was looked for, and the file.
        file: what names them, as a message says it.
    """
    if not found:
        return []
    listed, path = found[0]
    what = Message("findings.names_spelled_differently", count=len(found), listed=ascii(listed[:200]), name=ascii(path.name))
    return [Fault("names spelled differently", file, what, Message("findings.check_pairs_or_make_names_equal"), NOTE)]


class FileFinder:
    """Finds the files that a list names, below some folders, and counts those that are spelled otherwise there.

    Args:
        roots: folders below which the files may lie, those first that are meant first.
    """

    def __init__(self, roots: Sequence[Path]) -> None:
        self._roots = list(dict.fromkeys(roots))
        self._entries: dict[tuple[Path, int], dict[str, list[str]]] = {}
        self.respelled: list[tuple[str, Path]] = []

    def find(self, listed: str) -> Path | None:
        """The file that a name means, or None.

        First the name as it is written, then in other spellings, then without its first folders, one after the other: those
        may be of the machine where the list was written.

        Args:
            listed: path with ``/`` or ``\\``, relative, absolute or with ``..``; also an address.

        Raises:
            SeveralFit: two files fit equally well.
        """
        for root in self._roots:
            direct = inside(root, listed)
            if direct is not None and is_file(direct):
                return direct
        for parts in _parts(listed):
            for skipped in range(len(parts)):
                for spelling in range(len(SPELLINGS)):
                    for root in self._roots:
                        found = self._below(root, parts[skipped:], spelling)
                        if len(found) > 1:
                            raise SeveralFit(found)
                        if found:
                            self.respelled.append((listed, found[0]))
                            return found[0]
        return None

    def note(self, file: str) -> list[Fault]:
        """What a person should know about names that were found in another spelling; nothing where there were none.

        Args:
            file: the list, as a message names it.
        """
        return respelled(self.respelled, file)

    def _below(self, root: Path, parts: Sequence[str], spelling: int) -> list[Path]:
        folders = [root]
        for part in parts[:-1]:
            folders = [folder / name for folder in folders for name in self._named(folder, part, spelling)]
        names = ((folder, name) for folder in folders for name in self._named(folder, parts[-1], spelling))
        return [folder / name for folder, name in names if same_file(parts[-1], name) and is_file(folder / name)]

    def _named(self, folder: Path, part: str, spelling: int) -> list[str]:
        key = folder, spelling
        if key not in self._entries:
            index: dict[str, list[str]] = defaultdict(list)
            for name in self._names(folder):
                index[SPELLINGS[spelling](name)].append(name)
            self._entries[key] = dict(index)
        return self._entries[key].get(SPELLINGS[spelling](part), [])

    def _names(self, folder: Path) -> list[str]:
        try:
            return sorted(os.listdir(folder))
        except OSError:
            return []


class OnePicture:
    """As a :class:`FileFinder`, where there is one picture, which lies elsewhere: it is what a name fits, and the only name that there is.

    Args:
        image: the picture.
    """

    def __init__(self, image: Path) -> None:
        self._image, self.only = image, False

    def expect(self, names: Sequence[str]) -> OnePicture:
        """Take into account which pictures a file is about."""
        self.only = len(set(names)) == 1 and not self._named(names[0])
        return self

    def find(self, listed: str) -> Path | None:
        """The picture, if it is meant."""
        return self._image if self.only or self._named(listed) else None

    def note(self, file: str) -> list[Fault]:
        """Nothing: names are expected to differ."""
        return []

    def _named(self, listed: str) -> bool:
        stem = _plain(self._image.stem)
        return any(_plain(PurePosixPath(parts[-1]).stem) == stem or _plain(parts[-1]) == stem for parts in _parts(listed))


def _plain(name: str) -> str:
    """A name as it is compared where files were renamed on their way: Label Studio puts eight hexadecimal digits before it."""
    text = UPLOAD.sub("", _composed(unquote(name)).casefold())
    return re.sub(r"[\W_]+", "-", text).strip("-")


def _parts(listed: str) -> list[list[str]]:
    """The folders and the name of a listed path, without what leads out of a folder; a second reading where ``%2F`` hides some."""
    # Label Studio serves local files as /data/local-files/?d=folder/name.png.
    text = listed.split("?d=", 1)[-1] if "?d=" in listed else listed
    # What an address ends with besides is a signature, or says how large the picture shall be.
    text = re.split(r"[?#]", text)[0] if re.match(r"[A-Za-z][\w+.-]+://", text) else text
    texts = list(dict.fromkeys((text, unquote(text))))
    split = [re.sub(r"^[A-Za-z]:", "", text).replace("\\", "/").split("/") for text in texts]
    cleaned = [[part for part in parts if part not in ("", ".", "..") and "\0" not in part] for parts in split]
    return [parts for index, parts in enumerate(cleaned) if parts and parts not in cleaned[:index]]


def pair_names(one: Iterable[str], other: Iterable[str], endings: Sequence[str] = ("",)) -> dict[str, str]:
    """Pairs names of two folders whose spellings differ, where one alone fits one.

    Args:
        one: names without a partner that is spelled the same.
        other: likewise, of the other folder.
        endings: what a name of the other folder may add.

    Returns:
        Name of the one → name of the other.

    >>> pair_names(["my cell"], ["my%20cell_mask", "other"], ("", "_mask"))
    {'my cell': 'my%20cell_mask'}
    """
    left, right = list(one), list(other)
    pairs: dict[str, str] = {}
    taken: set[str] = set()
    for spelling in SPELLINGS:
        firsts: dict[str, list[str]] = defaultdict(list)
        seconds: dict[str, list[str]] = defaultdict(list)
        for name in left:
            firsts[_spelled(name, spelling)].append(name)
        for name in right:
            for ending in endings:
                if name.endswith(ending):
                    seconds[_spelled(name[: len(name) - len(ending)], spelling)].append(name)
        for key, names in firsts.items():
            fitting = [name for name in seconds.get(key, ()) if same_file(names[0].rpartition("/")[2], name.rpartition("/")[2])]
            if len(names) == len(fitting) == 1 and fitting[0] not in taken:
                pairs[names[0]] = fitting[0]
                taken.add(fitting[0])
        left = [name for name in left if name not in pairs]
        right = [name for name in right if name not in taken]
    return pairs


def pair_affixes(one: Sequence[str], other: Sequence[str]) -> dict[str, str]:
    """Pairs the names of two folders of which one kind all begin or end otherwise than the other: ``img_1`` and ``mask_1``,
    ``21_training`` and ``21_manual1``.

    What all names of a folder begin and end with is left away, but for digits, which may be the name itself.

    Args:
        one: at least two names; of the other kind as well.
        other: of the other folder.

    Returns:
        Name of the one → name of the other; nothing where a name fits two.

    >>> pair_affixes(["img_1", "img_2"], ["mask_2", "mask_1", "mask_3"])
    {'img_1': 'mask_1', 'img_2': 'mask_2'}
    """
    if len(one) < 2 or len(other) < 2:
        return {}
    cores, others = _cores(one), _cores(other)
    if len(cores) < len(one) or len(others) < len(other):
        return {}
    pairs = {name: others[core] for core, name in cores.items() if core in others}
    return pairs if 2 * len(pairs) >= min(len(one), len(other)) else {}


def _cores(names: Sequence[str]) -> dict[str, str]:
    """What tells the names apart → name."""
    begin = os.path.commonprefix(list(names)).rstrip("0123456789")
    end = os.path.commonprefix([name[len(begin) :][::-1] for name in names])[::-1].lstrip("0123456789")
    return {name[len(begin) : len(name) - len(end)]: name for name in names}


def _spelled(path: str, spelling: Callable[[str], str]) -> str:
    """A path of folders and a name, each part in one spelling."""
    return "/".join(map(spelling, path.split("/")))


_LOOKED_AT = 2000
_ARRAYS = {
    ".txt": (Message("findings.holds_text_files_not_pictures_outlines"),
             Message("findings.convert_outlines_to_masks_or_coco")),
    ".json": (Message("findings.holds_json_files_not_pictures"), Message("findings.export_coco_json_or_masks")),
    ".xml": (Message("findings.holds_xml_files_not_pictures"), Message("findings.export_coco_json_or_masks")),
    ".npy": (Message("findings.holds_arrays_of_numpy_not_pictures"), Message("findings.save_each_as_a_png")),
    ".npz": (Message("findings.holds_arrays_of_numpy_not_pictures"), Message("findings.save_each_as_a_png")),
    ".mat": (Message("findings.holds_matlab_files_not_pictures"), Message("findings.save_the_numbers_in_each")),
}  # fmt: skip


def described(root: Path, deeper: bool = True) -> str | None:
    """What a folder holds in whose layout nothing is found, as sentences with what to do; None for what is not known.

    Args:
        root: the dataset's folder.
        deeper: whether to look into the folders of its splits, or its only one, as well.
    """
    children = sorted(child for child in root.iterdir() if not child.name.startswith("."))
    folders = {child.name.lower(): child for child in children if child.is_dir()}
    if "gtfine" in folders or "gtcoarse" in folders:
        return Message("other_tools.cityscapes")
    if "imagestr" in folders and "labelstr" in folders:
        return Message("other_tools.nnunet")
    if (root / "annotations.xml").is_file():
        return Message("other_tools.cvat")
    below = [folder for folder in folders.values() if (folder / "images").is_dir() and (folder / "masks").is_dir()]
    if len(below) > 1:
        return Message("other_tools.folder_per_image")
    if any((folder / "ann").is_dir() for folder in [root, *folders.values()]):
        return Message("other_tools.supervisely")
    if any(child.name.endswith("_seg.npy") for child in children):
        return Message("other_tools.cellpose")
    if any(is_panoptic(path) for path in islice((child for child in children if child.suffix.lower() == ".json"), 5)):
        return Message("other_tools.panoptic")
    for ending in ("_masks", "_mask", "_labels", "_label", "_annotations", "_gt", "annot", "masks", "labels"):
        if (pair := next((name for name in folders if name + ending in folders), None)) is not None:
            beside = folders[pair + ending].name
            return Message("other_tools.masks_beside", beside=beside, name=folders[pair].name)
    inner = [folder for name, folder in folders.items() if name in SPLITS] or (list(folders.values()) if len(folders) == 1 else [])
    if deeper and inner and (found := described(inner[0], deeper=False)) is not None:
        return found
    twins = Counter(child.stem.lower().rsplit("_", 1)[-1] for child in children if child.is_file())
    ending = next((word for word in ("masks", "mask", "label", "labels", "gt", "seg", "segmentation") if twins[word] > 1), None)
    if ending is not None:
        return Message("other_tools.one_folder", ending=ending)
    return None


# What a file held whose kind was looked for, for whoever reads it next: a list of a hundred thousand objects takes a second to parse.
_DIGITS = bytes.maketrans(b"123456789", b"0" * 9)
_parsed: dict[tuple[str, int, int], object] = {}


def parsed(path: Path, wanted: Callable[[object], bool] | None = None) -> object:
    """The content of a JSON file.

    Args:
        path: the file.
        wanted: whether it is kept for whoever asks next, who takes it along and may change it; what was kept of another file goes.

    Raises:
        OSError, ValueError, RecursionError: it cannot be read.
    """
    facts = path.stat()
    key = str(path), facts.st_mtime_ns, facts.st_size
    data = _parsed.pop(key, None)
    if data is None:
        data = _loads(path.read_bytes())
    _parsed.clear()
    if wanted is not None and wanted(data):
        _parsed[key] = data
    return data


def _loads(text: bytes) -> object:
    """As ``json.loads`` of UTF-8, in a third of its time.

    Raises:
        ValueError, RecursionError: as there.
    """
    # Whole numbers of more than 64 bits lose their last digits in orjson; and it takes neither NaN nor halves of surrogate pairs.
    if b"0" * 19 not in text.translate(_DIGITS):
        with suppress(orjson.JSONDecodeError):
            return orjson.loads(text.removeprefix(codecs.BOM_UTF8))
    return json.loads(text.decode("utf-8-sig"))


def read_lists(path: Path) -> dict:
    """The content of a JSON file of COCO's, of objects or panoptic: lists of images, annotations and categories.

    Raises:
        DataError: it is no JSON, or lacks one of the lists.
    """
    try:
        data = parsed(path)
    except UnicodeDecodeError as error:
        raise DataError("coco.no_utf8", path=path, why=error.reason, byte=error.start) from error
    except (json.JSONDecodeError, RecursionError) as error:
        raise DataError("coco.no_json", path=path, why=error) from error
    missing = [key for key in KEYS if not (isinstance(data, dict) and isinstance(data.get(key), list))]
    if missing:
        raise DataError("coco.no_lists", path=path, missing=", ".join(missing), keys=", ".join(KEYS))
    return data


def other_files(folder: Path) -> tuple[str, str] | None:
    """What a folder of truth holds instead of pictures, as (what, remedy); None if it holds none of what is known."""
    found = Counter(path.suffix.lower() for path in islice(folder.rglob("*"), _LOOKED_AT) if path.is_file())
    kinds = [suffix for suffix, _ in found.most_common() if suffix in _ARRAYS]
    return _ARRAYS[kinds[0]] if kinds else None
