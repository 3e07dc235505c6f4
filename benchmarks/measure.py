"""How a row of the table is measured."""

from __future__ import annotations

import ctypes
import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        work: what was done.
        peer: what it is compared with.
        ours: median seconds of the project, or None where it is no matter of time.
        theirs: median seconds of the peer, None if it was not run.
        our_cpu: median processor seconds of the project, all threads together; None where another process works.
        their_cpu: likewise of the peer.
        our_bytes: peak memory of the project above what was there with everything loaded, or None.
        their_bytes: likewise of the peer.
        result: how the results compare.
        time_target: ratio of the times that is aimed at, or None.
        memory_target: ratio of the peaks that is aimed at, or None.
        repeats: timed runs of each.
        when: day of the measurement.
    """

    work: str
    peer: str
    ours: float | None
    theirs: float | None
    our_cpu: float | None
    their_cpu: float | None
    our_bytes: int | None
    their_bytes: int | None
    result: str
    time_target: float | None
    memory_target: float | None
    repeats: int
    when: str

    def to_dict(self) -> dict[str, Any]:
        """JSON-able form; ``Row(**data)`` is its inverse."""
        return asdict(self)

    def line(self) -> str:
        """The row as Markdown."""
        cells = [self.work, self.peer, _pair(self.ours, self.theirs, 1.0, "s")]
        cells.append(_ratio(self.ours, self.theirs, self.time_target))
        cells.append(_ratio(self.our_cpu, self.their_cpu, None))
        cells.append(_pair(self.our_bytes, self.their_bytes, 2**20, "MiB"))
        cells.append(_ratio(self.our_bytes, self.their_bytes, self.memory_target))
        return "| " + " | ".join([*cells, self.result]) + " |"


def _pair(ours: float | None, theirs: float | None, unit: float, name: str) -> str:
    if ours is None:
        return ""
    form = ".3g" if unit == 1 else ".0f"
    each = ["not run" if value is None else format(value / unit, form) for value in (ours, theirs)]
    return f"{' / '.join(each)} {name}"


def _ratio(ours: float | None, theirs: float | None, target: float | None) -> str:
    """The ratio, and the one aimed at, with the word where it is missed."""
    if ours is None or not theirs:
        return ""
    ratio = ours / theirs
    if target is None:
        return f"{ratio:.3f}"
    return f"{ratio:.3f} (≤ {target:g}{'' if ratio <= target else ', missed'})"


HEADER = (
    "| work | peer | time: project / peer | ratio (target) | ratio of processor time | peak memory: project / peer "
    "| ratio (target) | result |\n|---|---|---|---|---|---|---|---|"
)


def resident_bytes() -> int:
    """Memory of this process that is in RAM, from ``/proc``."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def peak_of(work: Callable[[], Any]) -> tuple[int, Any]:
    """Largest growth of the process's memory while ``work`` runs, in bytes, sampled every 2 ms; and what it returns."""
    gc.collect()
    try:
        # What an earlier row freed must not be used again unseen.
        ctypes.CDLL(None).malloc_trim(0)
    except (OSError, AttributeError):
        pass
    before, peak, done = resident_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident_bytes() - before)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        result = work()
    finally:
        done.set()
        watcher.join()
    return max(peak, 0), result


def compare(
    work: str,
    peer: str,
    ours: Callable[[], Any],
    theirs: Callable[[], Any] | None,
    check: Callable[[Any, Any], str],
    *,
    targets: tuple[float | None, float | None] = (None, None),
    repeats: int = 5,
    memory: bool = True,
    settle: Callable[[], Any] | None = None,
    processor: bool = True,
    peer_once: bool = False,
) -> Row:
    """Run both, in turn, and take medians. The first runs warm up, the second give the results to compare and the memory.

    Args:
        work: name of the row.
        peer: name of the peer.
        ours: the project's way.
        theirs: the peer's way; None where the machine has too little memory for it.
        check: both results → how they compare.
        targets: ratios of time and memory that are aimed at.
        repeats: timed pairs.
        memory: also measure the peaks.
        settle: called after the first run of ours: an engine has then been compiled. What that takes once is told beside the
            result, for the peaks are those of a request above the loaded model.
        processor: whether the work is this process's own, so that its processor time says something.
        peer_once: the peer takes so long that one run gives its time, memory and result.
    """

    def first() -> None:
        ours()
        if settle is not None:
            settle()

    once, _ = peak_of(first)
    our_peak, mine = peak_of(ours)
    their_peak, other = None, None
    alone: tuple[float, float] | None = None
    if theirs is not None:
        if not peer_once:
            theirs()
        began = time.perf_counter(), time.process_time()
        their_peak, other = peak_of(theirs)
        alone = time.perf_counter() - began[0], time.process_time() - began[1]
    result = check(mine, other)
    if memory and settle is not None:
        result += f"; compiling took {once / 2**20:.0f} MiB once"
    del mine, other
    calls = [ours] if theirs is None or peer_once else [ours, theirs]
    wall: list[list[float]] = [[] for _ in calls]
    cpu: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for index, call in enumerate(calls):
            began = time.perf_counter(), time.process_time()
            call()
            wall[index].append(time.perf_counter() - began[0])
            cpu[index].append(time.process_time() - began[1])
    seconds, processors = ([statistics.median(each) for each in clock] for clock in (wall, cpu))
    if peer_once and alone is not None:
        seconds, processors = [*seconds, alone[0]], [*processors, alone[1]]
    seconds, processors = [*seconds, None], [*processors, None] if processor else [None, None]
    peaks = (our_peak, their_peak) if memory else (None, None)
    return Row(work, peer, *seconds[:2], *processors[:2], *peaks, result, *targets, repeats, time.strftime("%Y-%m-%d"))
