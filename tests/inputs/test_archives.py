"""Zip archives from strangers: everything that a hostile or clumsy one can hold, and what comes out."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
from pathlib import Path

import pytest

from seg_demo.core.errors import BadRequestError
from seg_demo.inputs.archives import find_jobs, unpack

PNG = b"\x89PNG\r\n\x1a\n" + bytes(range(200))
LIMITS = {"max_files": 20, "max_bytes": 100_000}


def packed(path: Path, members: list[tuple[str | zipfile.ZipInfo, bytes]], method: int = zipfile.ZIP_DEFLATED) -> Path:
    with zipfile.ZipFile(path, "w", method) as archive:
        for name, content in members:
            archive.writestr(name, content)
    return path


@pytest.fixture
def out(tmp_path: Path) -> Path:
    folder = tmp_path / "out"
    folder.mkdir()
    return folder


def names(out: Path) -> set[str]:
    return {path.relative_to(out).as_posix() for path in out.rglob("*") if path.is_file()}


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_files_come_out_as_they_went_in(tmp_path, out, method):
    members = [("a.png", PNG), ("deep/folder/b.png", PNG[::-1]), ("细胞.png", PNG), (".DS_Store", b"x"), ("__MACOSX/._a", b"x")]
    done = unpack(packed(tmp_path / "z.zip", members, method), out, **LIMITS)
    assert [path.relative_to(out).as_posix() for path in done.files] == ["a.png", "deep/folder/b.png", "细胞.png"]
    assert [path.read_bytes() for path in done.files] == [PNG, PNG[::-1], PNG]
    assert done.refused == () and names(out) == {"a.png", "deep/folder/b.png", "细胞.png"}


@pytest.mark.parametrize("name", ["../up.png", "a/../../up.png", "/etc/up.png", "C:\\up.png", "..\\up.png", "\\up.png"])
def test_no_name_climbs_out_and_the_rest_goes_on(tmp_path, out, name):
    done = unpack(packed(tmp_path / "z.zip", [(name, PNG), ("good.png", PNG)]), out, **LIMITS)
    assert names(tmp_path) == {"z.zip", "out/good.png"}
    (refused,) = done.refused
    assert "outside the archive" in refused.why


def test_links_devices_and_nested_archives_are_left_out(tmp_path, out):
    link = zipfile.ZipInfo("link.png")
    link.external_attr = (stat.S_IFLNK | 0o777) << 16
    fifo = zipfile.ZipInfo("fifo.png")
    fifo.external_attr = (stat.S_IFIFO | 0o666) << 16
    inner = io.BytesIO()
    with zipfile.ZipFile(inner, "w") as archive:
        archive.writestr("deep.png", PNG)
    members = [(link, b"/etc/passwd"), (fifo, b""), ("inner.zip", inner.getvalue()), ("named.png", inner.getvalue())]
    done = unpack(packed(tmp_path / "z.zip", [*members, ("good.png", PNG)]), out, **LIMITS)
    assert names(out) == {"good.png"}
    said = {refused.name: refused.why for refused in done.refused}
    assert "link" in said["link.png"] and "link" in said["fifo.png"]
    assert all("archive inside" in said[name] for name in ("inner.zip", "named.png"))


def test_an_encrypted_file_is_named(tmp_path, out):
    path = packed(tmp_path / "z.zip", [("secret.png", PNG), ("good.png", PNG)])
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 6), (b"PK\x01\x02", 8)):
        at = data.index(signature) + offset
        struct.pack_into("<H", data, at, struct.unpack_from("<H", data, at)[0] | 1)
    path.write_bytes(data)
    done = unpack(path, out, **LIMITS)
    assert names(out) == {"good.png"} and "password" in done.refused[0].why


def test_names_that_are_there_twice_are_all_kept(tmp_path, out):
    members = [("a.png", b"1"), ("A.png", b"2"), ("a-2.png", b"3"), ("a", b"4"), ("a/b.png", b"5"), ("d/x", b"6"), ("d", b"7")]
    done = unpack(packed(tmp_path / "z.zip", members), out, **LIMITS)
    assert [path.read_bytes() for path in done.files] == [b"1", b"2", b"3", b"4", b"5", b"6", b"7"]
    assert len({str(path).lower() for path in done.files}) == len(members)


def test_only_wanted_endings(tmp_path, out):
    done = unpack(packed(tmp_path / "z.zip", [("a.PNG", PNG), ("b.txt", b"x")]), out, suffixes={".png"}, **LIMITS)
    assert names(out) == {"a.PNG"} and "not end like that of an image" in done.refused[0].why


def test_too_many_files(tmp_path, out):
    with pytest.raises(BadRequestError, match="21 files, but at most 20"):
        unpack(packed(tmp_path / "z.zip", [(f"{index}.png", b"x") for index in range(21)]), out, **LIMITS)
    assert names(out) == set()


def test_an_honest_bomb_is_refused_before_anything_is_written(tmp_path, out):
    with pytest.raises(BadRequestError, match="more than the"):
        unpack(packed(tmp_path / "z.zip", [("a.png", bytes(200_000))]), out, **LIMITS)
    assert names(out) == set()


def test_a_bomb_that_lies_about_its_size_is_counted(tmp_path, out):
    """The list says 10 bytes; zipfile stops there and finds the checksum wrong, so nothing large is ever written."""
    path = packed(tmp_path / "z.zip", [("a.png", bytes(200_000)), ("good.png", PNG)])
    data = bytearray(path.read_bytes())
    for signature, offset in ((b"PK\x03\x04", 22), (b"PK\x01\x02", 24)):
        struct.pack_into("<I", data, data.index(signature) + offset, 10)
    path.write_bytes(data)
    done = unpack(path, out, **LIMITS)
    assert names(out) == {"good.png"} and "damaged" in done.refused[0].why


def test_a_damaged_member_does_not_stop_the_rest(tmp_path, out):
    for method in (zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA, zipfile.ZIP_STORED):
        path = packed(tmp_path / f"{method}.zip", [("bad.png", PNG * 20), ("good.png", PNG)], method)
        data = bytearray(path.read_bytes())
        at = data.index(b"bad.png") + 12
        data[at : at + 30] = bytes(byte ^ 0xFF for byte in data[at : at + 30])
        path.write_bytes(data)
        done = unpack(path, out, **LIMITS)
        assert [each.name for each in done.refused] == ["bad.png"], method
        assert not (out / "bad.png").exists()


@pytest.mark.parametrize("content", [b"", b"hello", PNG, b"PK\x03\x04" + bytes(40), b"Rar!\x1a\x07"])
def test_what_is_no_archive_gets_a_sentence(tmp_path, out, content):
    path = tmp_path / "z.zip"
    path.write_bytes(content)
    with pytest.raises(BadRequestError, match="not a zip archive"):
        unpack(path, out, **LIMITS)


def test_every_cut_of_an_archive_is_answered(tmp_path, out):
    whole = packed(tmp_path / "z.zip", [("a.png", PNG), ("b/c.png", PNG)]).read_bytes()
    path = tmp_path / "cut.zip"
    for length in range(0, len(whole), 7):
        path.write_bytes(whole[:length])
        with pytest.raises(BadRequestError):
            unpack(path, out, **LIMITS)


def test_what_a_scanner_wrote_is_found_by_its_first_bytes(tmp_path):
    """DICOM files are called by numbers, with dots or without; the list of a disc's files is none, and other files are left alone."""
    magic = bytes(128) + b"DICM" + bytes(20)
    folder = tmp_path / "series"
    folder.mkdir()
    for name in ("IM000001", "IM000002", "1.2.840.113619.2.5", "1.2.840.113619.2.6", "DICOMDIR", ".hidden", "notes.txt"):
        (folder / name).write_bytes(magic)
    (folder / "README").write_bytes(b"no picture")
    (folder / "empty").write_bytes(b"")
    jobs = find_jobs([folder], tmp_path / "out")
    assert [job.source.name for job in jobs] == ["1.2.840.113619.2.5", "1.2.840.113619.2.6", "IM000001", "IM000002"]
    assert len({job.target for job in jobs}) == 4
