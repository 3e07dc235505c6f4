"""How a row of the table is measured."""

from __future__ import annotations

import gc
import statistics
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Row:
    """One line of the table.

    Attributes:
        work: what was done.
        peer: what it is compared with.
        ours: median seconds of the project.
        theirs: median seconds of the peer.
        our_bytes: peak memory of the project above what was there before, or None.
        their_bytes: likewise of the peer.
        result: how the results compare.
    """

    work: str
    peer: str
    ours: float
    theirs: float
    our_bytes: int | None
    their_bytes: int | None
    result: str

    def line(self) -> str:
        """The row as Markdown."""
        memory = " | "
        if self.our_bytes is not None and self.their_bytes:
            memory = f"{self.our_bytes / 2**20:.0f} / {self.their_bytes / 2**20:.0f} MiB | {self.our_bytes / self.their_bytes:.3f}"
        times = f"{self.ours:.3f} / {self.theirs:.3f} s | {self.ours / self.theirs:.3f}"
        return f"| {self.work} | {self.peer} | {times} | {memory} | {self.result} |"


HEADER = "| work | peer | time: project / peer | ratio | peak memory: project / peer | ratio | result |\n|---|---|---|---|---|---|---|"


def resident_bytes() -> int:
    """Memory of this process that is in RAM, from ``/proc``."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * 4096


def peak_of(work: Callable[[], Any]) -> int:
    """Largest growth of the process's memory while ``work`` runs, in bytes, sampled every 2 ms."""
    gc.collect()
    before, peak, done = resident_bytes(), 0, threading.Event()

    def watch() -> None:
        nonlocal peak
        while not done.is_set():
            peak = max(peak, resident_bytes() - before)
            time.sleep(0.002)

    watcher = threading.Thread(target=watch, daemon=True)
    watcher.start()
    try:
        work()
    finally:
        done.set()
        watcher.join()
    return max(peak, 0)


def compare(
    work: str, peer: str, ours: Callable[[], Any], theirs: Callable[[], Any], result: str, repeats: int = 5, memory: bool = True
) -> Row:
    """Run both, in turn, and take medians; the first pair warms up and is not counted.

    Args:
        work: name of the row.
        peer: name of the peer.
        ours: the project's way.
        theirs: the peer's way.
        result: how the results compare; checked by the caller.
        repeats: counted pairs.
        memory: also measure the peaks, in runs of their own.
    """
    times: tuple[list[float], list[float]] = ([], [])
    for repeat in range(repeats + 1):
        for index, call in enumerate((ours, theirs)):
            began = time.perf_counter()
            call()
            if repeat:
                times[index].append(time.perf_counter() - began)
    peaks = (peak_of(ours), peak_of(theirs)) if memory else (None, None)
    return Row(work, peer, statistics.median(times[0]), statistics.median(times[1]), *peaks, result)
