"""Files of microscopes and satellites: a stack until it can be looked at, against tifffile and numpy; and a raster beyond the limit of pixels,
window by window, against the same raster in memory, by the command line in full detail, each run in processes of its own."""

from __future__ import annotations

import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import tifffile
from PIL import Image

from benchmarks import subjects
from benchmarks.measure import Row, compare
from seg_demo.inputs import scientific
from seg_demo.inputs.images import read
from seg_demo.inputs.planes import HIGH, LOW
from tests.served import ROOT

TILE = 512
# Height and width in pixels: what both do, and what is done window by window alone: as wide as a gigapixel, whose memory follows its width.
BOTH, ALONE = (3584, 4096), (1024, 32_768)
# Bytes that all processes together may take, and the ratio of times that is aimed at.
MOST, TARGET = 700_000_000, 1.1
# The processes that read are waited for, so that their processor time counts.
COMMAND = """
import sys
from seg_demo.__main__ import main
code = main(sys.argv[1:])
from seg_demo.inputs import scientific
scientific.close()
sys.exit(code)
"""
# Small limits make a raster of every picture, large ones a picture of every raster.
WINDOWS = {"SEG_DEMO_MAX_PIXELS": "100000"}
MEMORY = {"SEG_DEMO_MAX_PIXELS": str(2**31), "SEG_DEMO_MAX_BYTES": str(2**40), "SEG_DEMO_MAX_SIDE": "65535"}


@dataclass(frozen=True)
class Run:
    """What a command took.

    Attributes:
        seconds: on the clock.
        cpu: processor seconds of all its processes.
        nbytes: peak of the memory of all its processes that is in RAM, shared pages counted once.
        resident: likewise, shared pages counted in every process that has them.
    """

    seconds: float
    cpu: float
    nbytes: int
    resident: int


def rows(quick: bool) -> Iterator[Row]:
    """The rows of this file.

    Args:
        quick: a smaller raster, once, and none that is done alone.
    """
    with tempfile.TemporaryDirectory() as folder:
        if before := os.environ.get("BEFORE"):
            yield photograph(Path(folder), before, 1 if quick else 25)
        yield stack(Path(folder), 1 if quick else 9)
        yield against_memory(Path(folder), (2048, 2048) if quick else BOTH, 1 if quick else 3)
        if not quick:
            yield alone(Path(folder), ALONE)


def photograph(folder: Path, before: str, repeats: int) -> Row:
    """A JPEG of 12 megapixels, which takes the way that it took before files of the trades were read: as fast.

    Args:
        folder: for the file.
        before: a checkout of the commit before that, dcfa0ff (``git worktree add FOLDER dcfa0ff``).
        repeats: of each.
    """
    path = folder / "photo.jpg"
    Image.fromarray(subjects.photo(3000, 4000)).save(path, quality=90)
    code = f"import sys; from seg_demo.inputs.images import read\nfor line in sys.stdin: print(read({str(path)!r}).pixels.sum(dtype='u8'), flush=True)"
    with subprocess.Popen([sys.executable, "-c", code], cwd=before, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as old:

        def theirs() -> int:
            old.stdin.write("\n")
            old.stdin.flush()
            return int(old.stdout.readline())

        row = compare(
            "JPEG of 12 MP to a picture", "the build before files of the trades, in a process of its own", lambda: int(read(path).pixels.sum(dtype="u8")), theirs,
            lambda mine, other: "identical" if mine == other else "DIFFERENT", targets=(1.02, None), repeats=repeats, memory=False, processor=False,
        )  # fmt: skip
        old.stdin.close()
    return row


def stack(folder: Path, repeats: int) -> Row:
    """An OME-TIFF of 2048² pixels and four channels of 16 bits as a person sees it: three of them, each within its percentiles.

    Args:
        folder: for the file.
        repeats: of each.
    """
    path, side = folder / "four.ome.tif", 2048
    rows, columns = np.mgrid[:side, :side]
    noise = np.random.default_rng(0)
    waves = (np.sin(columns / (40 + 9 * number)) * np.cos(rows / (31 + 5 * number)) for number in range(4))
    channels = [(2000 + 1500 * wave + noise.normal(0, 120, wave.shape)).clip(0, 65_535).astype(np.uint16) for wave in waves]
    tifffile.imwrite(path, np.stack(channels), ome=True, photometric="minisblack", metadata={"axes": "CYX"})

    def plain() -> np.ndarray:
        values, shown = tifffile.imread(path), np.empty((side, side, 3), dtype=np.uint8)
        for number in range(3):
            low, high = np.percentile(values[number], (LOW, HIGH))
            shown[..., number] = ((values[number].astype(np.float32) - low) * (255 / (high - low))).clip(0, 255)
        return shown

    def check(mine: np.ndarray, other: np.ndarray) -> str:
        return f"equal to ±{np.abs(mine.astype(int) - other).max()}; ours is decoded in another process, which is there already"

    try:
        return compare(
            "OME-TIFF, 2048², 4 channels of 16 bits, to a picture", "tifffile + numpy's percentiles", lambda: read(path).pixels, plain, check,
            targets=(1.3, None), repeats=repeats, memory=False, processor=False,
        )  # fmt: skip
    finally:
        scientific.close()


def write(path: Path, height: int, width: int) -> Path:
    """A tiled, compressed BigTIFF of a photograph's texture, uint8 (height, width, 3), that is never in memory as a whole."""
    down, across = height // TILE, width // TILE
    photo = subjects.photo(4 * TILE, 4 * TILE)
    tiles = [photo[y : y + TILE, x : x + TILE] for y in range(0, 4 * TILE, TILE) for x in range(0, 4 * TILE, TILE)]
    packed = [zlib.compress(np.ascontiguousarray(tile), 6) for tile in tiles]
    # Neighbours repeat after a prime number of tiles, so that no row of them is like the one above.
    content = (packed[number * 7 % len(packed)] for number in (row * 13 + column for row in range(down) for column in range(across)))
    tifffile.imwrite(path, content, shape=(height, width, 3), dtype=np.uint8, tile=(TILE, TILE), photometric="rgb", compression="zlib", bigtiff=True)
    return path


def run(path: Path, out: Path, limits: dict[str, str], kind: str = "segformer-b0") -> Run:
    """``python -m seg_demo segment`` in full detail.

    Args:
        path: of the raster.
        out: folder of the result.
        limits: :data:`WINDOWS` or :data:`MEMORY`.
        kind: of :func:`benchmarks.subjects.folder`.

    Raises:
        RuntimeError: it failed.
    """
    asked = ["segment", str(path), "--model", str(subjects.folder(kind)), "--detail", "full", "--out", str(out), "--overwrite", "--format", "geotiff" if limits is WINDOWS else "png"]
    with tempfile.TemporaryFile("w+") as output:
        began, done = time.perf_counter(), threading.Event()
        process = subprocess.Popen([sys.executable, "-c", COMMAND, *asked], cwd=ROOT, env=os.environ | limits, stdout=output, stderr=output)
        peaks = [0, 0]
        watcher = threading.Thread(target=_watch, args=(process.pid, peaks, done), daemon=True)
        watcher.start()
        _, status, used = os.wait4(process.pid, 0)
        seconds = time.perf_counter() - began
        done.set()
        watcher.join()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode:
            output.seek(0)
            raise RuntimeError(f"the command ended with exit code {process.returncode}: {output.read()[-2000:]}")
    return Run(seconds, used.ru_utime + used.ru_stime, *peaks)


def _watch(pid: int, peaks: list[int], done: threading.Event) -> None:
    while not done.wait(0.1):
        found = [_memory(one) for one in _with_children(pid)]
        peaks[:] = [max(peak, sum(column)) for peak, column in zip(peaks, zip(*found, strict=True), strict=False)] or peaks


def _with_children(pid: int) -> list[int]:
    """A process and all that it and they have started."""
    try:
        tasks = Path(f"/proc/{pid}/task").iterdir()
        children = [int(child) for task in tasks for child in (task / "children").read_text().split()]
    except OSError:  # it has ended
        return [pid]
    return [pid, *(one for child in children for one in _with_children(child))]


def _memory(pid: int) -> tuple[int, int]:
    """Bytes in RAM: shared pages divided among those that have them, and not."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0, 0
    found = {line.split(":")[0]: int(line.split()[1]) * 1024 for line in lines[1:] if line.split()[0] in ("Pss:", "Rss:")}
    return found.get("Pss", 0), found.get("Rss", 0)


def against_memory(folder: Path, size: tuple[int, int], repeats: int) -> Row:
    """Both ways in turn, of a raster and of its beginning. What lies between the two is time for pixels: starting, loading and compiling, which
    take longer where two processes do it, are in both.

    Args:
        folder: for the files.
        size: of the raster, height and width in pixels.
        repeats: of each.
    """
    sizes = {"whole": size, "part": (2 * TILE, size[1])}
    paths = {name: write(folder / f"{name}.tif", *sides) for name, sides in sizes.items()}
    limits = {"windows": WINDOWS, "memory": MEMORY}
    runs: dict[tuple[str, str], list[Run]] = {(way, name): [] for way in limits for name in sizes}
    run(paths["part"], folder / "compiled", MEMORY)
    for _ in range(repeats):
        for way, name in runs:
            runs[way, name].append(run(paths[name], folder / way, limits[way]))
    masks = tifffile.imread(folder / "windows" / "whole" / "mask.tif"), np.asarray(Image.open(folder / "memory" / "whole" / "mask.png"))
    equal = "labels identical" if np.array_equal(*masks) else f"{(masks[0] != masks[1]).mean():.2e} of the labels differ"
    middle = {key: (statistics.median(one.seconds for one in found), statistics.median(one.cpu for one in found)) for key, found in runs.items()}
    ours, theirs = (np.subtract(middle[way, "whole"], middle[way, "part"]).tolist() for way in limits)
    peaks = [max(one.nbytes for one in runs[way, "whole"]) for way in limits]
    megapixels, first = (sides[0] * sides[1] / 1e6 for sides in sizes.values())
    with_start = " and ".join(f"{middle[way, 'whole'][0]:.0f} s" for way in limits)
    result = f"{equal}; {ours[1] / (megapixels - first):.3f} processor s per MP; times are those of the last {megapixels - first:.1f} MP ({with_start} for all with the start), peaks are of all processes"
    return Row(
        f"SegFormer-B0, 150 classes, raster of {megapixels:.0f} MP in full detail, window by window", "the same raster in memory", ours[0], theirs[0],
        ours[1], theirs[1], *peaks, result, TARGET, None, repeats, time.strftime("%Y-%m-%d"),
    )  # fmt: skip


def alone(folder: Path, size: tuple[int, int]) -> Row:
    """Window by window what would hardly fit into memory.

    Args:
        folder: for the files.
        size: of the raster, height and width in pixels.
    """
    path = write(folder / "raster.tif", *size)
    took = run(path, folder / "windows", WINDOWS)
    megapixels = size[0] * size[1] / 1e6
    within = "within" if took.nbytes <= MOST else "above"
    result = f"{took.cpu / megapixels:.3f} processor s per MP with the start; the peak of all processes is {within} {MOST / 1e6:.0f} MB ({took.nbytes / 1e6:.0f}; {took.resident / 1e6:.0f} with shared pages counted in each)"
    return Row(
        f"SegFormer-B0, 150 classes, raster of {megapixels:.0f} MP, {size[1]} pixels wide, in full detail, window by window", "none", took.seconds, None, took.cpu, None,
        took.nbytes, None, result, None, None, 1, time.strftime("%Y-%m-%d"),
    )  # fmt: skip
