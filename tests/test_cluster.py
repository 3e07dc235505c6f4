"""``segment`` where the pictures lie elsewhere and results are rows: by this machine's processes and on a Ray cluster alike."""

from __future__ import annotations

import importlib.util
import io
import os
import signal
import socket
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo import __main__ as command
from seg_demo import cluster
from seg_demo.core.errors import BadImageError, BadRequestError
from seg_demo.core.rle import decode
from seg_demo.inputs.archives import Job, find_jobs
from seg_demo.workers import Done, Order

pa, pq = pytest.importorskip("pyarrow"), pytest.importorskip("pyarrow.parquet")
needs_ray = pytest.mark.skipif(importlib.util.find_spec("ray") is None, reason="requirements-ray.txt is not installed")


def picture(seed: int) -> bytes:
    """A disc on noise, PNG."""
    y, x = np.mgrid[0:60, 0:80]
    disc = ((y - 30) ** 2 + (x - 8 * seed) ** 2 < 100) * 200
    file = io.BytesIO()
    noise = np.random.default_rng(seed).integers(0, 30, (60, 80))
    Image.fromarray((disc + noise).astype(np.uint8)).convert("RGB").save(file, "PNG")
    return file.getvalue()


def shard(path: Path, pictures: list[bytes | None], names: list[str | None] | None = None) -> Path:
    """As ``datasets`` writes images: a struct of bytes and path, few rows in a group."""
    cells = [{"bytes": data, "path": None if names is None else names[row]} for row, data in enumerate(pictures)]
    type_ = pa.struct({"bytes": pa.binary(), "path": pa.string()})
    pq.write_table(pa.table({"label": list(range(len(cells))), "image": pa.array(cells, type_)}), path, row_group_size=2)
    return path


def rows(out: Path) -> dict[str, dict[str, object]]:
    """The rows of all parts by their picture; each is there once."""
    found = [row for part in sorted((out / "results").glob("part-*.parquet")) for row in pq.read_table(part).to_pylist()]
    assert len({row["image"] for row in found}) == len(found)
    return {row["image"]: row for row in found}


def sources(tmp_path: Path) -> list[str]:
    """Pictures in a folder, a glob, a tar by URL, and two parquet files; ten together."""
    (tmp_path / "folder").mkdir()
    (tmp_path / "more").mkdir()
    for seed in (1, 2):
        (tmp_path / "folder" / f"{seed}.png").write_bytes(picture(seed))
        (tmp_path / "more" / f"glob-{seed}.png").write_bytes(picture(seed))
        (tmp_path / "more" / f"other-{seed}.png").write_bytes(picture(seed))
    with tarfile.open(tmp_path / "shard.tar", "w") as tar:
        for name, data in (("3.png", picture(3)), ("3.txt", b"a class")):
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    shard(tmp_path / "named.parquet", [picture(4), picture(5), picture(6)], ["a.png", "b.png", "c.png"])
    shard(tmp_path / "plain.parquet", [picture(7), None], None)
    return [
        str(tmp_path / "folder"), str(tmp_path / "more" / "glob-*.png"), f"tar://*.png::file://{tmp_path}/shard.tar", str(tmp_path / "named.parquet"),
        f"file://{tmp_path}/plain.parquet",
    ]  # fmt: skip


NAMES = {"1.png", "2.png", "glob-1.png", "glob-2.png", "3.png", "named/a.png", "named/b.png", "named/c.png", "plain/row-000000"}


def test_pictures_are_found_and_read_where_they_lie(tmp_path):
    jobs = {job.name: job for job in find_jobs(sources(tmp_path), tmp_path / "out")}
    assert set(jobs) == {*NAMES, "plain/row-000001"}
    assert jobs["3.png"].data() == picture(3) and jobs["named/c.png"].data() == picture(6) and jobs["plain/row-000000"].data() == picture(7)
    assert jobs["named/c.png"].target == Path("named/c") and str(jobs["named/c.png"].source).endswith("named.parquet row 2")
    with pytest.raises(BadImageError, match="nothing in column 'image'"):
        jobs["plain/row-000001"].data()
    (tmp_path / "named.parquet").unlink()
    with pytest.raises(BadImageError, match="could not be read"):
        jobs["named/a.png"].data()


@pytest.mark.parametrize(
    ("source", "sentence"),
    [
        ("gone/*.png", "cannot be found"), ("nowhere://bucket/*.png", "Protocol not known: nowhere"), ("file:///nothing/here", "cannot be opened"),
        ("file:///nothing/*.png", "cannot be found"), ("{tmp}/bare.parquet", "no column of images"), ("{tmp}/torn.parquet", "cannot be opened"),
    ],
)  # fmt: skip
def test_a_source_that_cannot_be_opened_starts_nothing(tmp_path, capsys, source, sentence):
    pq.write_table(pa.table({"label": [1, 2]}), tmp_path / "bare.parquet")
    (tmp_path / "torn.parquet").write_bytes(b"PAR1 torn")
    out = tmp_path / "out"
    assert command.main(["segment", source.format(tmp=tmp_path), "--model", "otsu", "--out", str(out)]) == 2
    assert sentence in capsys.readouterr().err and not out.exists()


def test_rows_hold_what_files_hold_and_what_is_done_is_not_done_again(tmp_path, capsys):
    asked = ["segment", *sources(tmp_path), "--model", "otsu", "--format", "png", "--workers", "2", "--parquet", "--out", str(tmp_path / "out")]
    assert command.main(asked) == 1
    assert "row 1: " in capsys.readouterr().err
    found = rows(tmp_path / "out")
    assert set(found) == NAMES
    assert command.main(["segment", *asked[1:6], "--model", "otsu", "--out", str(tmp_path / "files")]) == 1
    for job in find_jobs(asked[1:6], tmp_path / "out"):
        if job.name not in NAMES:
            continue
        row, mask = found[job.name], np.asarray(Image.open(tmp_path / "out" / job.target / "mask.png"))
        assert (row["height"], row["width"]) == mask.shape and row["task"] == "region" and row["source"] == str(job.source)
        assert (mask == np.asarray(Image.open(tmp_path / "files" / job.target / "mask.png"))).all()
        for segment in row["segments"]:
            where = decode({"size": list(mask.shape), "counts": segment["counts"]})
            assert (where == (mask == segment["id"])).all() and segment["area"] == where.sum()
    # A new picture alone is worked on, and parts that are there are not touched.
    (tmp_path / "folder" / "9.png").write_bytes(picture(9))
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "results").iterdir()}
    capsys.readouterr()
    here = [*asked, "--workers", "1"]  # that several do is seen above
    assert command.main(here) == 1
    assert "1 of 2 images segmented" in capsys.readouterr().out and set(rows(tmp_path / "out")) == NAMES | {"9.png"}
    assert all(path.read_bytes() == data for path, data in before.items())
    assert command.main([*here, "--overwrite"]) == 1 and set(rows(tmp_path / "out")) == NAMES | {"9.png"}
    next(iter((tmp_path / "out" / "results").iterdir())).write_bytes(b"torn")
    assert command.main(here) == 2 and "holds no results that can be read" in capsys.readouterr().err


def test_what_was_made_before_a_stop_is_kept(tmp_path, monkeypatch):
    class Stopped(Order):
        def make(self, model: object, job: Job, report: object = None) -> Done:
            if job.name == "named/b.png":
                raise KeyboardInterrupt
            return super().make(model, job, report)

    monkeypatch.setattr(command, "Order", Stopped)
    asked = ["segment", str(shard(tmp_path / "named.parquet", [picture(4), picture(5)], ["a.png", "b.png"])), "--model", "otsu", "--parquet"]
    with pytest.raises(KeyboardInterrupt):
        command.main([*asked, "--out", str(tmp_path / "out")])
    assert set(rows(tmp_path / "out")) == {"named/a.png"}


class Deadly(Order):
    """An order of which one picture kills whatever opens it, and another only the first that does."""

    def make(self, model: object, job: Job, report: object = None) -> Done:
        """As any order."""
        if "deadly" in job.name:
            os.kill(os.getpid(), signal.SIGKILL)
        if "once" in job.name and not (mark := self.out.parent / "died").exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return super().make(model, job, report)


@needs_ray
def test_a_cluster_does_what_processes_do_and_loses_only_what_kills_it(tmp_path, capsys, monkeypatch):
    asked = ["segment", *sources(tmp_path), "--model", "otsu", "--format", "png"]
    (tmp_path / "folder" / "deadly.png").write_bytes(picture(8))
    (tmp_path / "folder" / "once.png").write_bytes(picture(9))
    monkeypatch.setattr(command, "Order", Deadly)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(Path(__file__).parents[1]))
        assert command.main([*asked, "--out", str(tmp_path / "ray"), "--ray", "--workers", "2"]) == 1
    printed = capsys.readouterr()
    assert "10 of 12 images segmented with otsu" in printed.out, printed
    failed = [line for line in printed.err.splitlines() if line.startswith("failed: ")]
    assert len(failed) == 2 and "deadly.png: The process that worked on it died twice" in "".join(failed) and "row 1: " in "".join(failed)
    monkeypatch.undo()
    (tmp_path / "folder" / "deadly.png").unlink()
    # Processes of this machine go on where the cluster ended, and make the same.
    assert command.main([*asked, "--parquet", "--out", str(tmp_path / "ray")]) == 1
    assert "10 of 11 images have results" in capsys.readouterr().out
    assert command.main([*asked, "--parquet", "--out", str(tmp_path / "here")]) == 1
    mine, theirs = rows(tmp_path / "here"), rows(tmp_path / "ray")
    assert set(mine) == set(theirs) == NAMES | {"once.png"}
    for name in mine:
        for row in (mine[name], theirs[name]):
            del row["seconds"]
        assert mine[name] == theirs[name]
    masks = sorted(path.relative_to(tmp_path / "here") for path in (tmp_path / "here").rglob("mask.png"))
    assert len(masks) == 10 and all((tmp_path / "ray" / path).read_bytes() == (tmp_path / "here" / path).read_bytes() for path in masks)


@needs_ray
def test_a_model_that_is_not_there_is_refused_by_the_first_node(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(picture(1))
    assert command.main(["segment", str(tmp_path / "a.png"), "--model", "resnet", "--out", str(tmp_path / "out"), "--ray", "--workers", "1"]) == 2
    assert "There is no model 'resnet'" in capsys.readouterr().err and not (tmp_path / "out").exists()


@needs_ray
@pytest.mark.parametrize("address", ["127.0.0.1:1", "ray://127.0.0.1:1", "a place"])
def test_an_address_that_does_not_answer_is_a_sentence(tmp_path, capsys, address):
    (tmp_path / "a.png").write_bytes(picture(1))
    assert command.main(["segment", str(tmp_path / "a.png"), "--model", "otsu", "--out", str(tmp_path / "out"), "--ray", address]) == 2
    told = capsys.readouterr().err
    assert f"No Ray cluster answers at {address}" in told and len(told.splitlines()) == 1 and not (tmp_path / "out").exists()


def test_who_takes_a_connection_and_says_nothing_does_not_answer(monkeypatch):
    monkeypatch.setattr(cluster, "ANSWER_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent, pytest.raises(BadRequestError, match="No Ray cluster answers"):
        cluster._check_answers(f"127.0.0.1:{silent.getsockname()[1]}")


@pytest.mark.skipif(importlib.util.find_spec("ray") is not None, reason="Ray is installed")
def test_without_ray_its_option_names_the_other_way(tmp_path, capsys):
    (tmp_path / "a.png").write_bytes(picture(1))
    assert command.main(["segment", str(tmp_path / "a.png"), "--model", "otsu", "--out", str(tmp_path / "out"), "--ray"]) == 2
    assert "--workers N --parquet" in capsys.readouterr().err


def test_nodes_of_another_version_are_refused():
    with pytest.raises(BadRequestError, match="has version .* but version 0.0.1 asks"):
        cluster.Worker(b"", "0.0.1")


@needs_ray
@pytest.mark.soak
def test_a_node_that_dies_costs_nothing(tmp_path):
    """Two nodes of this machine; one is killed half-way. Every result is there once, with the values that one process gives."""
    from ray.cluster_utils import Cluster

    folder = tmp_path / "folder"
    folder.mkdir()
    for seed in range(120):
        (folder / f"{seed}.png").write_bytes(picture(seed))
    root, out = Path(__file__).parents[1], tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("PYTHONPATH", str(root))
        nodes = Cluster(initialize_head=True, head_node_args={"num_cpus": 1})
        second = nodes.add_node(num_cpus=1)
        try:
            asked = [sys.executable, "-m", "seg_demo", "segment", str(folder), "--model", "watershed", "--parquet", "--format", "png"]
            running = subprocess.Popen([*asked, "--out", str(out), "--ray", nodes.address], cwd=root, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            until = time.monotonic() + 600
            while len(list(out.rglob("mask.png"))) < 60:
                assert running.poll() is None and time.monotonic() < until, running.communicate()
                time.sleep(0.1)
            nodes.remove_node(second, allow_graceful=False)
            printed, told = running.communicate(timeout=600)
        finally:
            nodes.shutdown()
    assert running.returncode == 0 and "120 of 120 images segmented" in printed, printed + told
    assert command.main([*asked[3:], "--out", str(tmp_path / "here")]) == 0
    mine, theirs = rows(tmp_path / "here"), rows(out)
    assert len(theirs) == 120
    for name, row in mine.items():
        assert row["segments"] == theirs[name]["segments"]
