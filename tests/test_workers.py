"""``segment --workers``: several processes do what one does, and lose nothing when one of them dies."""

from __future__ import annotations

import errno
import os
import signal
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo import __main__ as command
from seg_demo import workers
from seg_demo.inputs.archives import Job
from seg_demo.workers import Done, Order
from tests.hostile_images import mutations
from tests.surface import SECRETS

# Files that name the moment or the path are compared by what else they hold.
SAME = ("mask.png", "overlay.png", "coco_rle.json", "segments.geojson", "segments.csv", "classes.csv")


class Deadly(Order):
    """An order of which one picture kills whatever opens it, as a fault in a native library does."""

    def carry_out(self, model: object, job: Job, report: object = None) -> Done:
        """As any order."""
        if job.source.name == "deadly.png":
            os.kill(os.getpid(), signal.SIGKILL)
        return super().carry_out(model, job, report)


def write_image(path: Path, seed: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    discs = np.zeros((60, 80, 3), np.uint8)
    y, x = np.mgrid[0:60, 0:80]
    discs[(y - 30) ** 2 + (x - 10 * seed) ** 2 < 100] = 200
    Image.fromarray(discs + np.random.default_rng(seed).integers(0, 30, discs.shape, np.uint8)).save(path)


def test_a_picture_that_kills_its_worker_is_named_and_the_others_are_done(tmp_path, capsys, monkeypatch):
    images, one, two = tmp_path / "images", tmp_path / "one", tmp_path / "two"
    for number in range(1, 7):
        write_image(images / f"{number}.png", number)
    (images / "bad.png").write_text("no image")
    assert command.main(["segment", str(images), "--model", "otsu", "--out", str(one)]) == 1
    write_image(images / "deadly.png", 7)
    monkeypatch.setattr(command, "Order", Deadly)
    capsys.readouterr()
    asked = ["segment", str(images), "--model", "otsu", "--out", str(two), "--workers", "2"]
    assert command.main(asked) == 1
    printed = capsys.readouterr()
    assert "6 of 8 images segmented with otsu" in printed.out
    failures = [line for line in printed.err.splitlines() if line.startswith("failed: ")]
    assert len(failures) == 2 and "bad.png" in "".join(failures)
    assert any("deadly.png" in line and "died (SIGKILL)" in line for line in failures)
    for number in range(1, 7):
        for name in SAME:
            assert (two / str(number) / name).read_bytes() == (one / str(number) / name).read_bytes(), (number, name)
    assert not (two / "deadly").exists() and "deadly.png" in (two / "failed.csv").read_text()

    # The same command goes on with what is not done.
    (images / "deadly.png").unlink()
    write_image(images / "bad.png", 8)
    before = {path: path.stat().st_mtime_ns for path in two.rglob("mask.png")}
    assert command.main([*asked, "--workers", "1"]) == 0
    assert "6 of 7 images have results" in capsys.readouterr().out and len(before) == 6
    assert all(path.stat().st_mtime_ns == written for path, written in before.items()) and (two / "bad" / "mask.png").is_file()
    # Tables of many pictures are made of what several processes have read back: the same tables.
    tables = {path: path.read_bytes() for path in two.iterdir() if path.is_file()}
    monkeypatch.setattr(command, "MANY", 1)
    assert command.main(asked) == 0 and tables == {path: path.read_bytes() for path in two.iterdir() if path.is_file()}
    (two / "3" / "result.json").write_text("{")
    monkeypatch.setattr(command, "_is_done", lambda *_: True)
    assert command.main(asked) == 1 and "tables" in capsys.readouterr().err


def test_a_destination_that_fills_up_ends_the_command_which_goes_on_there(tmp_path, capsys, monkeypatch):
    for number in range(1, 5):
        write_image(tmp_path / "images" / f"{number}.png", number)
    room, write = [2], workers.write_atomically

    def filling(path: Path, data: bytes) -> None:
        room[0] -= 1
        if room[0] < 0:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        write(path, data)

    monkeypatch.setattr(workers, "write_atomically", filling)
    asked = ["segment", str(tmp_path / "images"), "--model", "otsu", "--out", str(tmp_path / "out"), "--format", "png"]
    assert command.main(asked) == 1
    (sentence,) = capsys.readouterr().err.splitlines()
    assert "No space left" in sentence and "run the same command again" in sentence
    room[0] = 9
    assert command.main(asked) == 0
    printed = capsys.readouterr().out
    assert "2 of 4 images have results" in printed and "2 of 2 images segmented" in printed


@pytest.mark.parametrize(("workers", "sentence"), [("0", "from 1 to 256"), ("2", "There is no model 'resnet'")])
def test_what_cannot_work_starts_nothing(tmp_path, capsys, workers, sentence):
    write_image(tmp_path / "a.png", 1)
    out = tmp_path / "out"
    assert command.main(["segment", str(tmp_path / "a.png"), "--model", "resnet", "--out", str(out), "--workers", workers]) == 2
    assert sentence in capsys.readouterr().err and not out.exists()


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_a_thousand_mutated_files_have_a_result_or_a_sentence_each(tmp_path, capsys):
    """And those that have one have that of a single process, mask for mask."""
    images, one, two = tmp_path / "images", tmp_path / "one", tmp_path / "two"
    images.mkdir()
    for number, data in enumerate(mutations(1000, 2)):
        (images / f"{number:04}.png").write_bytes(data)
    said = []
    for out, more in ((two, ["--workers", "2"]), (one, [])):
        assert command.main(["segment", str(images), "--model", "otsu", "--out", str(out), "--format", "png", *more]) == 1
        failures = dict(line.removeprefix("failed: ").split(": ", 1) for line in capsys.readouterr().err.splitlines() if line.startswith("failed: "))
        done = {path.parent.name: path.read_bytes() for path in out.glob("*/mask.png")}
        assert len(done) + len(failures) == 1000 and len(done) > 100, (len(done), len(failures))
        assert not [text for text in failures.values() if "died" in text or len(text) < 40 or any(secret in text for secret in SECRETS)]
        said.append((failures, done))
        print(f"measured: {len(done)} masks and {len(failures)} sentences of 1,000 mutated files, {' '.join(more) or 'one process'}")
    assert said[0] == said[1]
