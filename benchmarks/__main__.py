"""``make bench``, or ``python -m benchmarks [--quick]``: print the table and write it to benchmarks/RESULTS.md."""

from __future__ import annotations

import argparse
import os
import platform
import time
from importlib.metadata import version
from pathlib import Path

from benchmarks import first_page, masks
from benchmarks.measure import HEADER


def main() -> None:
    """Measure every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer repeats, at most five minutes")
    quick = parser.parse_args().quick
    lines = [HEADER]
    print(HEADER)
    for module in (first_page, masks):
        for row in module.rows(quick):
            lines.append(row.line())
            print(lines[-1], flush=True)
    Path(__file__).with_name("RESULTS.md").write_text(report(lines, quick), encoding="utf-8")


def report(lines: list[str], quick: bool) -> str:
    """The page that keeps the last run."""
    libraries = ", ".join(f"{name} {version(name)}" for name in ("torch", "torchvision", "transformers", "gradio"))
    machine = f"{os.cpu_count()} cores of {processor()}, Python {platform.python_version()}, {libraries}"
    how = "`python -m benchmarks --quick`" if quick else "`python -m benchmarks`"
    return (
        f"# Measurements\n\nLast run on {time.strftime('%Y-%m-%d')} with {how} on {machine}. Project and peer run in turn in one\n"
        "process; times are medians; memory is the largest growth of the process while the work runs.\n\n" + "\n".join(lines) + "\n"
    )


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


if __name__ == "__main__":
    main()
