"""Zip archives from strangers → files in a folder: bounded before and while they are unpacked, and never outside it.

What a zip can do to whoever unpacks it: say that it is small and be huge (a bomb), name files that climb out of the folder,
hold links that point anywhere, two files of one name, archives within archives, or ask for a password. Sizes are not
believed but counted while unpacking; every other trick is refused for its own file, with a sentence, and the rest goes on.

Names of files within archives → names that every file system takes, no two the same.

Paths, globs, URLs and parquet files that a person names → pictures, each with a name of its own for its outputs.
"""

from __future__ import annotations

import errno
import glob
import lzma
import re
import stat
import unicodedata
import zipfile
import zlib
from collections import Counter
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

from seg_demo.core import BadImageError, BadRequestError, Message, StorageError
from seg_demo.core.settings import scientific_bytes, settings

if TYPE_CHECKING:
    from seg_demo.core import View

# DEFLATE cannot shrink by more than 1032; other methods can, and nothing that is an image does.
MAX_RATIO = 1100
# The list of files at an archive's end, each of which takes zipfile half a kilobyte: 20,000 files with long names.
MAX_LIST_BYTES = 4_000_000
_PATH_BYTES = 200
# The end of an archive: a comment of at most 65,535 bytes, and the records before it.
_TAIL_BYTES = 65_535 + 22 + 20 + 56
_CHUNK = 1 << 20
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
_ARCHIVES = (b"PK\x03\x04", b"PK\x05\x06", b"\x1f\x8b", b"7z\xbc\xaf", b"Rar!", b"BZh", b"\xfd7zXZ")


@dataclass(frozen=True)
class Refused:
    """A file that was left out.

    Attributes:
        name: as the archive calls it, shortened.
        why: a sentence.
    """

    name: str
    why: str


@dataclass(frozen=True)
class Unpacked:
    """What came out of an archive.

    Attributes:
        files: the files, in the order of the archive, below the folder that was given.
        refused: what was left out, and why.
    """

    files: tuple[Path, ...]
    refused: tuple[Refused, ...]


def unpack(
    path: Path, folder: Path, *, max_files: int, max_bytes: int, suffixes: Collection[str] | None = None
) -> Unpacked:
    """Unpack a zip archive.

    Hidden files and what macOS adds (``__MACOSX``) are left out without a word. Of two files of one name (also where only
    the case differs) the later gets a number.

    Args:
        path: the archive.
        folder: exists, and gets the files; the archive's own folders are kept.
        max_files: most files; an archive of more is refused as a whole.
        max_bytes: most bytes of all files together, unpacked.
        suffixes: lower-case endings of wanted files, such as ``.png``; None wants all. Archives inside are never unpacked, and are refused unless ``.zip`` is wanted by name: ImageJ keeps
            its ROIs in such files.

    Returns:
        The files and what was refused.

    Raises:
        BadRequestError: no zip archive, a damaged one, or more files or bytes than are accepted.
        StorageError: the disk is full or fails.
    """
    try:
        _check_list(path)
        with zipfile.ZipFile(path) as archive:
            wanted = [entry for entry in archive.infolist() if not entry.is_dir() and not hidden(entry.filename)]
            _check_totals(wanted, max_files, max_bytes)
            return _unpack(archive, wanted, folder, max_bytes, suffixes)
    except (zipfile.BadZipFile, zipfile.LargeZipFile, EOFError, UnicodeDecodeError, ValueError, NotImplementedError) as error:
        raise _unreadable(path, error) from error
    except OSError as error:
        if error.errno == errno.EINVAL:  # a place before the file's beginning
            raise _unreadable(path, error) from error
        raise StorageError("archives.not_unpacked", why=error.strerror or error) from error


def _unreadable(path: Path, error: Exception) -> BadRequestError:
    if isinstance(error, NotImplementedError):
        why = Message("archives.way_unknown")
    else:
        why = Message("archives.damaged" if zipfile.is_zipfile(path) else "archives.no_zip")
    return BadRequestError("archives.unreadable", name=path.name[:80], why=why)


def _check_list(path: Path) -> None:
    """BadRequestError if the list of files is too long to be read; zipfile believes its size, and reads all of it at once."""
    with path.open("rb") as file:
        file.seek(0, 2)
        size = file.tell()
        file.seek(max(0, size - _TAIL_BYTES))
        tail = file.read()
    # As zipfile looks for it, or an archive could show each of us another list: first where no comment follows.
    plain = len(tail) - 22
    at = plain if tail[plain : plain + 4] == b"PK\x05\x06" and tail[-2:] == b"\0\0" else tail.rfind(b"PK\x05\x06")
    if at < 0 or at + 22 > len(tail):
        return  # no archive, as zipfile will say
    listed = int.from_bytes(tail[at + 12 : at + 16], "little")
    # The form for large archives says it in a record of its own, right before.
    if tail[at - 20 : at - 16] == b"PK\x06\x07" and tail[at - 76 : at - 72] == b"PK\x06\x06":
        listed = int.from_bytes(tail[at - 36 : at - 28], "little")
    if listed > MAX_LIST_BYTES:
        raise BadRequestError("archives.list_too_long", listed=listed / 1e6, most=MAX_LIST_BYTES / 1e6)


def _check_totals(entries: list[zipfile.ZipInfo], max_files: int, max_bytes: int) -> None:
    """BadRequestError if the archive's own list says that there is too much in it."""
    if len(entries) > max_files:
        raise BadRequestError("archives.too_many_files", count=len(entries), most=max_files)
    size = sum(entry.file_size for entry in entries)
    packed = sum(entry.compress_size for entry in entries)
    if size > max_bytes or size > _CHUNK + MAX_RATIO * packed:
        raise _too_large(max_bytes)


def _too_large(max_bytes: int) -> BadRequestError:
    return BadRequestError("archives.too_large", most=max_bytes / 1e6)


def _unpack(
    archive: zipfile.ZipFile, entries: list[zipfile.ZipInfo], folder: Path, max_bytes: int, suffixes: Collection[str] | None
) -> Unpacked:
    files: list[Path] = []
    refused: list[Refused] = []
    names = Names()
    left = max_bytes
    for entry in entries:
        why = _refusal(entry, suffixes)
        if why is None:
            target = names.free(safe(entry.filename))
            path = folder / target
            path.parent.mkdir(parents=True, exist_ok=True)
            packed = (*PACKED, ".zip") if suffixes is not None and ".zip" in suffixes else PACKED
            why, used = _write(archive, entry, path, left, packed, lambda: _too_large(max_bytes))
            left -= used
        if why is None:
            files.append(path)
        else:
            refused.append(Refused(entry.filename[-80:], why))
    return Unpacked(tuple(files), tuple(refused))


def _refusal(entry: zipfile.ZipInfo, suffixes: Collection[str] | None) -> str | None:
    """Why a file is not even opened, or None."""
    name = entry.filename.replace("\\", "/")
    parts = PurePosixPath(name).parts
    kind = stat.S_IFMT(entry.external_attr >> 16)
    if not parts or name.startswith("/") or ".." in parts or re.match(r"[A-Za-z]:", name) or "\0" in name:
        return Message("archives.name_points_outside")
    if len(name.encode("utf-8", "replace")) > _PATH_BYTES:
        return Message("archives.name_too_long", most=_PATH_BYTES)
    if kind not in (0, stat.S_IFREG):
        return Message("archives.link_or_device")
    if entry.flag_bits & 0x1:
        return Message("archives.encrypted")
    if entry.compress_type not in _METHODS:
        return Message("archives.unknown_method")
    if suffixes is not None and not name.lower().endswith(tuple(suffixes)):
        return Message("archives.no_image_name")
    return None


def _write(
    archive: zipfile.ZipFile, entry: zipfile.ZipInfo, path: Path, left: int, packed: tuple[str, ...], too_large: Callable[[], BadRequestError]
) -> tuple[str | None, int]:
    """Unpack one file, counting bytes; an archive only where its name ends as ``packed`` says.

    Returns:
        What is wrong with it, or None; and how many bytes it took of those that are left.

    Raises:
        BadRequestError: there is more in it than is left, whatever the archive said about its size.
    """
    used = 0
    try:
        with archive.open(entry) as source, path.open("wb") as target:
            while chunk := source.read(_CHUNK):
                if used == 0 and chunk.startswith(_ARCHIVES) and not entry.filename.lower().endswith(packed):
                    path.unlink()
                    return Message("archives.inside_archive"), 0
                used += len(chunk)
                if used > left:
                    raise too_large()
                target.write(chunk)
    except (zipfile.BadZipFile, zlib.error, lzma.LZMAError, EOFError, RuntimeError, ValueError, OSError) as error:
        if isinstance(error, OSError) and error.errno not in (None, errno.EINVAL):
            raise  # the disk; bz2 says OSError without a number for damaged data, and a place before the beginning is invalid
        path.unlink(missing_ok=True)
        return Message("archives.damaged_inside"), used
    return None, used


# What some file system does not take, and what turns the reading direction, which makes a name look like another one.
_RESERVED = re.compile('[\x00-\x1f\x7f-\x9f<>:"|?*\u202a-\u202e\u2066-\u2069]')


def hidden(name: str) -> bool:
    """Whether an entry is a hidden file, or one that macOS adds."""
    parts = PurePosixPath(name.replace("\\", "/")).parts
    return any(part == "__MACOSX" or (part.startswith(".") and part not in (".", "..")) for part in parts)


def safe(name: str) -> PurePosixPath:
    """A name that every file system takes; that it does not climb has been seen to before."""
    parts = [_RESERVED.sub("_", part) for part in PurePosixPath(name.replace("\\", "/")).parts]
    return PurePosixPath(*parts)


class Names:
    """The names that are given out already, so that no file takes another's place, also where case, or the way in which an
    accented letter is put together, makes no difference (macOS)."""

    def __init__(self) -> None:
        self._files: set[str] = set()
        self._folders: set[str] = set()

    def free(self, path: PurePosixPath) -> PurePosixPath:
        """The path, with a number where a file or folder of that name is there, or its folder is the name of a file."""
        number, free = 1, path
        while self._clashes(free):
            number += 1
            inside = any(_folded(parent) in self._files for parent in path.parents)
            base = PurePosixPath("_".join(path.parts)) if inside else path
            free = base.with_name(f"{base.stem}-{number}{base.suffix}")
        self._files.add(_folded(free))
        self._folders.update(_folded(parent) for parent in free.parents)
        return free

    def _clashes(self, path: PurePosixPath) -> bool:
        name = _folded(path)
        return name in self._files or name in self._folders or any(_folded(parent) in self._files for parent in path.parents)


def _folded(path: PurePosixPath) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", str(path)).casefold())


# What browsers do not know as pictures.
SCIENTIFIC_SUFFIXES = (".dcm", ".dicom", ".nii", ".nii.gz", ".npy")
# What a folder is searched for; a file that is named is tried whatever it is called.
SUFFIXES = frozenset(
    {
        ".avif", ".bmp", ".gif", ".heic", ".heif", ".hif", ".jfif", ".jpeg", ".jpg", ".png", ".tif", ".tiff", ".webp", *SCIENTIFIC_SUFFIXES,
    }
)  # fmt: skip
# A volume that is compressed as a whole, which is a picture and no archive.
PACKED = ".nii.gz"
# Endings that belong together.
_DOUBLE = (PACKED, ".ome.tif", ".ome.tiff")


PARQUET = ".parquet"


@dataclass(frozen=True)
class Remote:
    """A picture that is no file of this machine: one that fsspec opens, or a row of a parquet file.

    Attributes:
        files: the file system, an ``fsspec.AbstractFileSystem``; it is pickled with what it was made of.
        path: of the file, as that file system calls it.
        column: of a parquet file, the column of pictures.
        row: its row there, counted from 0; None for a file that is a picture.
    """

    files: Any
    path: str
    column: str = ""
    row: int | None = None

    def __str__(self) -> str:
        """Its URL, with the row."""
        url = self.files.unstrip_protocol(self.path)
        return url if self.row is None else f"{url} row {self.row}"

    @property
    def name(self) -> str:
        """Of its file."""
        return PurePosixPath(self.path).name

    def read(self) -> bytes:
        """Its file's bytes.

        Raises:
            BadImageError: it cannot be read any more, or the row is empty.
        """
        try:
            if self.row is None:
                with self.files.open(self.path, "rb") as opened:  # no more than is refused for being too much
                    return opened.read(scientific_bytes(settings()) + 1)
            group, place = _place(self.files, self.path, self.row)
            data = _group(self.files, self.path, self.column, group)[place].as_py()
        except Exception as error:  # of whichever library fsspec opens it with
            raise BadImageError("files.not_fetched", url=str(self), why=error) from error
        if not data:
            raise BadImageError("files.empty_row", url=str(self), column=self.column)
        return data


@dataclass(frozen=True)
class Job:
    """One image to segment.

    Attributes:
        source: the file, here or elsewhere.
        target: folder that its outputs go into, below the output folder.
        name: what the tables about all images call it: its path within the folder that was searched.
        view: what of it is looked at; None leaves that to the file.
    """

    source: Path | Remote
    target: Path
    name: str
    view: View | None = None

    def data(self) -> Path | bytes:
        """What is decoded: a path of this machine, or the bytes of what lies elsewhere.

        Raises:
            BadImageError: those cannot be read.
        """
        return self.source.read() if isinstance(self.source, Remote) else self.source

    def pages(self, views: Sequence[View]) -> list[Job]:
        """One for each plane of the file, in folders of their own: ``NAME/page-0003``, counted from 0."""
        return [
            Job(self.source, self.target / page_name(number), f"{self.name}/{page_name(number)}", view) for number, view in enumerate(views)
        ]


def page_name(number: int) -> str:
    """What the results of one of a file's planes are called.

    >>> page_name(3)
    'page-0003'
    """
    return f"page-{number:04}"


def find_jobs(sources: Sequence[Path | str], out: Path) -> list[Job]:
    """The images that sources stand for, each with a folder of its own.

    What scanners write has no suffix, or the end of a number for one, and is known by its first bytes. A file's outputs go to ``<stem>``; those of a file found in a folder keep its path within that folder. Where two would
    get the same folder, all of them are told apart by their suffix, and then by a number.

    Args:
        sources: files, taken whatever they are called; folders, searched for image files; globs of these; URLs that fsspec opens
            (``s3://``, ``hf://``, ``tar://*.png::shard.tar``) of the same; and parquet files, of which every row is an image.
        out: the output folder; what lies in it is no input.

    Raises:
        BadRequestError: a source that does not exist or cannot be opened, or no image at all; the message lists them.
    """
    found: dict[Path | Remote, Path] = {}
    missing, inside = [], out.resolve()
    for source in sources:
        if "://" in str(source):
            found |= _elsewhere(str(source))
            continue
        path = Path(source)
        paths = [path] if path.exists() else [Path(name) for name in sorted(glob.glob(str(source), recursive=True))]
        if not paths:
            missing.append(str(source))
        for path in paths:
            if path.suffix.lower() == PARQUET and path.is_file():
                found |= _elsewhere(path.resolve().as_uri())
            elif path.is_dir():
                base = path.resolve()
                for file in sorted(child for child in path.rglob("*") if (child.name.lower().endswith(tuple(SUFFIXES)) or _is_dicom(child)) and child.is_file()):
                    name = file.relative_to(path)
                    # Links to folders are not followed, so that a file alone may be one.
                    real = file.resolve() if file.is_symlink() else base / name
                    if not real.is_relative_to(inside):
                        found.setdefault(real, name)
            else:
                found.setdefault(path.resolve(), Path(path.name))
    if missing:
        raise BadRequestError("files.not_found", missing=", ".join(missing))
    if not found:
        where = ", ".join(map(str, sources))
        raise BadRequestError("files.no_images", where=where, suffixes=", ".join(sorted(SUFFIXES)))
    named = Counter(path.as_posix() for path in found.values())
    return [
        Job(source, target, path.as_posix() if named[path.as_posix()] == 1 else f"{target.as_posix()}{path.suffix}")
        for (source, path), target in zip(found.items(), apart(list(found.values())), strict=True)
    ]


def _elsewhere(url: str) -> dict[Remote, Path]:
    """What a URL stands for, and what each is called: a file, all images of a folder, or those that a glob matches.

    Raises:
        BadRequestError: it cannot be looked at, or there is nothing.
    """
    try:
        import fsspec

        files, root = fsspec.core.url_to_fs(url)
        if glob.has_magic(root):
            paths = sorted(path for path in files.glob(root) if not files.isdir(path))
            base = _before_magic(root)
        elif files.isdir(root):
            paths = sorted(path for path in files.find(root) if path.lower().endswith((*SUFFIXES, PARQUET)) and not hidden(path[len(root) :]))
            base = PurePosixPath(root)
        else:
            files.info(root)
            paths, base = [root], PurePosixPath(root).parent
        found: dict[Remote, Path] = {}
        for path in paths:
            name = PurePosixPath(path)
            name = safe(str(name.relative_to(base) if name.is_relative_to(base) else name.name))
            if path.lower().endswith(PARQUET):
                column, names = _rows(files, path)
                found |= {Remote(files, path, column, row): Path(name.with_suffix(""), safe(called)) for row, called in enumerate(names)}
            else:
                found[Remote(files, path)] = Path(name)
    except BadRequestError:
        raise
    except Exception as error:  # of whichever library fsspec opens it with
        raise BadRequestError("files.url_not_opened", url=url, why=str(error) or type(error).__name__) from error
    if not found:
        raise BadRequestError("files.not_found", missing=url)
    return found


def _before_magic(path: str) -> PurePosixPath:
    """The folders of a glob that are no pattern."""
    parts = PurePosixPath(path).parts[:-1]
    return PurePosixPath(*parts[: next((place for place, part in enumerate(parts) if glob.has_magic(part)), len(parts))])


def _rows(files: Any, path: str) -> tuple[str, list[str]]:
    """The column of pictures of a parquet file, and what each row is called: by its file's name, or its number.

    Raises:
        BadRequestError: there is no such column.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    with files.open(path) as opened:
        table = pq.ParquetFile(opened)
        for column in table.schema_arrow:
            parts = {part.name for part in column.type} if pa.types.is_struct(column.type) else set()
            if "bytes" not in parts and not pa.types.is_binary(column.type) and not pa.types.is_large_binary(column.type):
                continue
            names = [None] * table.metadata.num_rows
            if "path" in parts:
                held = table.read(columns=[f"{column.name}.path"])[column.name].to_pylist()
                names = [None if cell is None else cell["path"] for cell in held]
            called = [f"row-{row:06}" if not name else PurePosixPath(str(name).replace("\\", "/")).name for row, name in enumerate(names)]
            return column.name, called
    raise BadRequestError("files.no_picture_column", path=path, columns=", ".join(table.schema_arrow.names[:20]))


@lru_cache(maxsize=8)
def _groups(files: Any, path: str) -> tuple[int, ...]:
    """How many rows the groups of a parquet file have."""
    import pyarrow.parquet as pq

    with files.open(path) as opened:
        about = pq.ParquetFile(opened).metadata
        return tuple(about.row_group(group).num_rows for group in range(about.num_row_groups))


def _place(files: Any, path: str, row: int) -> tuple[int, int]:
    """The group of a row, and its place there."""
    for group, rows in enumerate(_groups(files, path)):
        if row < rows:
            return group, row
        row -= rows
    raise IndexError(row)


@lru_cache(maxsize=1)
def _group(files: Any, path: str, column: str, group: int) -> Any:
    """The pictures of one group of rows, which come one after the other: its bytes are fetched once."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with files.open(path) as opened:
        cells = pq.ParquetFile(opened).read_row_group(group, columns=[column])[column].combine_chunks()
    return cells.field("bytes") if pa.types.is_struct(cells.type) else cells


def _is_dicom(path: Path) -> bool:
    """Whether a file that is not called so is DICOM; the list of a folder's files is none. Source: DICOM PS3.10, 7.1."""
    if path.suffix[1:].isalpha() or hidden(path.name) or path.name.upper() == "DICOMDIR" or not path.is_file():
        return False
    try:
        with path.open("rb") as file:
            return file.read(132)[128:] == b"DICM"
    except OSError:
        return False


def apart(relative: Sequence[Path]) -> list[Path]:
    """A name for the outputs of each file: its path without suffix, no two the same (also where case is ignored).

    Where two would get the same, all of them are told apart by their suffix, and then by a number.

    Args:
        relative: paths of files.
    """
    stems = [_without_suffix(path) for path in relative]
    counts: dict[str, int] = {}
    for stem in stems:
        counts[str(stem).lower()] = counts.get(str(stem).lower(), 0) + 1
    taken: set[str] = set()
    targets = []
    for path, stem in zip(relative, stems, strict=True):
        target = stem if counts[str(stem).lower()] == 1 else path.with_name(path.name.replace(".", "_"))
        base, number = target, 1
        while str(target).lower() in taken:
            number += 1
            target = base.with_name(f"{base.name}-{number}")
        taken.add(str(target).lower())
        targets.append(target)
    return targets


def _without_suffix(path: Path) -> Path:
    """A path without its ending, also one of two parts such as ``.nii.gz``."""
    double = next((ending for ending in _DOUBLE if path.name.lower().endswith(ending) and len(path.name) > len(ending)), "")
    return path.with_name(path.name[: -len(double)]) if double else path.with_suffix("")
