"""Zip archives that attack by their structure: links that others go through, names that only look alike, lists without end."""

from __future__ import annotations

import io
import random
import stat
import struct
import time
import tracemalloc
import zipfile

import pytest

from seg_demo.core.errors import BadRequestError
from seg_demo.inputs.archives import MAX_LIST_BYTES, unpack
from tests.inputs.test_archives import LIMITS, PNG, names, out, packed  # noqa: F401


def link(name: str, to: str) -> tuple[zipfile.ZipInfo, bytes]:
    entry = zipfile.ZipInfo(name)
    entry.external_attr = (stat.S_IFLNK | 0o777) << 16
    return entry, to.encode()


@pytest.mark.parametrize("name", ["way", "way/", "a/way"])
def test_nothing_goes_through_a_link_that_the_archive_brings(tmp_path, out, name):  # noqa: F811
    members = [link(name, str(tmp_path)), (f"{name.rstrip('/')}/stolen.png", PNG), ("good.png", PNG)]
    done = unpack(packed(tmp_path / "z.zip", members), out, **LIMITS)
    assert names(tmp_path) == {"z.zip", "out/good.png", f"out/{name.rstrip('/')}/stolen.png"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert len(done.files) == 2


@pytest.mark.parametrize("kind", [stat.S_IFLNK, stat.S_IFCHR, stat.S_IFBLK, stat.S_IFIFO, stat.S_IFSOCK])
def test_what_is_no_file_is_left_out(tmp_path, out, kind):  # noqa: F811
    entry = zipfile.ZipInfo("device.png")
    entry.external_attr = (kind | 0o666) << 16
    done = unpack(packed(tmp_path / "z.zip", [(entry, b"/dev/zero"), ("good.png", PNG)]), out, **LIMITS)
    assert names(out) == {"good.png"} and "link or a device" in done.refused[0].why


def test_names_that_a_mac_takes_for_the_same_are_told_apart(tmp_path, out):  # noqa: F811
    members = [("caf\u00e9.png", b"1"), ("cafe\u0301.png", b"2"), ("CAFE\u0301.png", b"3"), ("stra\u00dfe.png", b"4"), ("STRASSE.png", b"5")]
    done = unpack(packed(tmp_path / "z.zip", members), out, **LIMITS)
    assert [path.read_bytes() for path in done.files] == [b"1", b"2", b"3", b"4", b"5"]
    assert sum("-" in path.name for path in done.files) == 3


def test_many_entries_of_one_content_count_each_time(tmp_path, out):  # noqa: F811
    """Entries of the list may all lead to the same bytes: a bomb without nesting."""
    path = packed(tmp_path / "z.zip", [("0.png", bytes(90_000))])
    with zipfile.ZipFile(path, "a") as archive:
        (first,) = archive.infolist()
        for index in range(1, 10):
            twin = zipfile.ZipInfo("0.png")
            for field in ("compress_type", "CRC", "compress_size", "file_size", "header_offset", "external_attr"):
                setattr(twin, field, getattr(first, field))
            twin.orig_filename = twin.filename = "0.png"
            archive.filelist.append(twin)
        archive._didModify = True
    with pytest.raises(BadRequestError, match="more than the"):
        unpack(path, out, **LIMITS)
    assert names(out) == set()


def test_a_list_without_end_is_not_read(tmp_path, out):  # noqa: F811
    """Hidden files and folders count as nothing, so that a count of files alone would not stop it."""
    record = struct.pack("<4s6H3L5H2L", b"PK\x01\x02", 20, 20, 0, 0, 0, 0, 0, 0, 0, 2, 0, 0, 0, 0, 0, 0) + b"d/"
    count = MAX_LIST_BYTES // len(record) + 1
    size = count * len(record)
    end64 = struct.pack("<4sQ2H2L4Q", b"PK\x06\x06", 44, 45, 45, 0, 0, count, count, size, 0) + struct.pack("<4sLQL", b"PK\x06\x07", 0, size, 1)
    end32 = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, 65_535, 65_535, 0xFFFFFFFF, 0xFFFFFFFF, 0)
    plain = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count % 65_536, count % 65_536, size, 0, 0)
    # The place of the list is spelled as the mark by which a record is looked for from behind.
    twice = struct.pack("<4s4H2LH", b"PK\x05\x06", 0, 0, count % 65_536, count % 65_536, size, 0x06054B50, 0)
    for end in (end64 + end32, plain, plain[:-2] + struct.pack("<H", 9) + b"a comment", twice):
        path = tmp_path / "z.zip"
        path.write_bytes(record * count + end)
        tracemalloc.start()
        with pytest.raises(BadRequestError, match="list of files takes"):
            unpack(path, out, **LIMITS)
        assert tracemalloc.get_traced_memory()[1] < 1_000_000
        tracemalloc.stop()
    folders = packed(tmp_path / "z.zip", [(f"{index}/", b"") for index in range(3000)] + [("good.png", PNG)])
    assert len(unpack(folders, out, **LIMITS).files) == 1


@pytest.mark.parametrize("raw", [b"caf\xe9.png", b"\xff\xfe.png", b"a\x00b.png", b"a\x1b[31m\xe2\x80\xae.png"])
@pytest.mark.parametrize("utf8", [False, True])
def test_names_that_are_no_text(tmp_path, out, raw, utf8):  # noqa: F811
    """Left out, or unpacked under a name that is harmless; where the archive lies about their coding it is refused."""
    holder = "n" * len(raw)
    path = packed(tmp_path / "z.zip", [(holder, PNG), ("good.png", PNG)])
    data = path.read_bytes().replace(holder.encode(), raw)
    if utf8:
        data = bytearray(data)
        for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
            struct.pack_into("<H", data, data.index(signature) + offset, 0x800)
    path.write_bytes(data)
    try:
        done = unpack(path, out, **LIMITS)
    except BadRequestError as error:
        assert utf8 and "not a zip archive that can be read" in str(error)
        return
    assert "good.png" in names(out) and len(done.files) + len(done.refused) == 2
    assert all(character.isprintable() or character == "\xa0" for name in names(out) for character in name)


def test_five_hundred_mutated_archives(tmp_path, out):  # noqa: F811
    """Whatever bytes are turned over: files within the folder and the limits, or a sentence, and soon."""
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.png", PNG)
    entry, to = link("link.png", "/etc/passwd")
    members = [("a.png", PNG), ("b/c.png", PNG * 9), (entry, to), ("inner.zip", inner.getvalue()), ("é.png", PNG)]
    whole = packed(tmp_path / "z.zip", members).read_bytes()
    rng = random.Random(7)
    for number in range(500):
        data = bytearray(whole)
        for _ in range(rng.randint(1, 6)):
            data[rng.randrange(len(data))] = rng.choice([0, 0xFF, rng.randrange(256)])
        if rng.random() < 0.2:
            del data[rng.randrange(len(data)) :]
        (tmp_path / "m.zip").write_bytes(data)
        began = time.monotonic()
        try:
            done = unpack(tmp_path / "m.zip", out, **LIMITS)
            assert all(path.resolve().is_relative_to(out.resolve()) and not path.is_symlink() for path in done.files)
        except BadRequestError as error:
            assert len(str(error)) > 20, number
        assert time.monotonic() - began < 5 and names(tmp_path) - {"z.zip", "m.zip"} <= {f"out/{name}" for name in names(out)}
