"""What has been measured so far, as data and as a page."""

from __future__ import annotations

import json
import os
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks.measure import HEADER, Row

FOLDER = Path(__file__).parent
# What --quick measures never replaces what was measured in full; git ignores it.
QUICK_FOLDER = FOLDER / "quick"
# The file of rows that stands in a section of its own.
GPU = "gpu"
_LIBRARIES = ("torch", "torchvision", "transformers", "segmentation-models-pytorch", "openvino", "gradio", "numpy")


def keep(name: str, row: Row, quick: bool, folder: Path | None = None) -> None:
    """Add a row, in place of an earlier one of the same work, and write the page.

    Args:
        name: of the file of rows.
        row: just measured.
        quick: whether with ``--quick``.
        folder: where results.json and RESULTS.md are; None is that of such rows.
    """
    folder = folder or (QUICK_FOLDER if quick else FOLDER)
    folder.mkdir(exist_ok=True)
    path = folder / "results.json"
    data: dict[str, Any] = json.loads(path.read_text(encoding="utf-8")) if path.is_file() else {"rows": []}
    load = os.getloadavg()[0] if hasattr(os, "getloadavg") else 0.0
    entry = {"name": name, "quick": quick, "machine": machine(), "card": card() if name == GPU else "", "load": round(load, 1), **row.to_dict()}
    rows = [each for each in data["rows"] if each["work"] != row.work] + [entry]
    path.write_text(json.dumps({"rows": rows}, indent=1) + "\n", encoding="utf-8")
    (folder / "RESULTS.md").write_text(page(rows, folder), encoding="utf-8")


def machine() -> str:
    """Processor, cores, versions."""
    found = []
    for name in _LIBRARIES:
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return f"{os.cpu_count()} cores of {processor()}, Python {platform.python_version()}, {', '.join(found)}"


def card() -> str:
    """The GPU's name and memory; empty without one."""
    import torch

    if not torch.cuda.is_available():
        return ""
    about = torch.cuda.get_device_properties(0)
    return f"{about.name}, {about.total_memory / 2**30:.0f} GiB, CUDA {torch.version.cuda}"


def processor() -> str:
    """The processor's name, as far as the system tells."""
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            return next(line.split(":", 1)[1].strip() for line in file if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.machine()


def page(rows: list[dict[str, Any]], folder: Path) -> str:
    """RESULTS.md.

    Args:
        rows: entries of results.json.
        folder: where the plots are, and what is said of missed targets, of the engine and of growth.
    """
    fields = Row.__dataclass_fields__
    lines, on_gpu = (
        [Row(**{name: row[name] for name in fields}).line() for row in rows if (row["name"] == GPU) is there] for there in (False, True)
    )
    days = sorted({each["when"] for each in rows})
    loads = [each["load"] for each in rows]
    text = [
        "# Measurements",
        "",
        f"`make bench` writes this page. Measured on {' and '.join(days)} on:",
        "",
        *[f"- {each}" for each in sorted({each["machine"] for each in rows})],
        "",
        "Project and peer run in turn in one process; times are medians. Memory is the largest growth of the process above",
        "what it has with the model loaded; what compiling an engine takes once, after the first answer, is told beside the",
        "result. The ratio of processor time counts all threads and hardly changes when other programs use the machine. A peer",
        "that would not fit into the memory that was free is `not run`. Networks have the real architectures and random",
        "weights.",
        "",
    ]
    if max(loads) > 1.5 * (os.cpu_count() or 1):
        span = f"{min(loads):.0f} and {max(loads):.0f}"
        text += [
            f"**The machine was shared**: its load average was between {span}. Times in seconds are",
            "far above what it needs alone; ratios, above all those of processor time, are meaningful.",
            "",
        ]
    if any(each["quick"] for each in rows):
        text += ["Some rows were measured with `--quick`: smaller images and fewer repeats.", ""]
    text += [HEADER, *lines, "", "## On a GPU", ""]
    if on_gpu:
        cards = " and ".join(sorted({row["card"] for row in rows if row["name"] == GPU}))
        text += [f"`python -m benchmarks --gpu`, on {cards}. Memory is the GPU's, beyond the weights.", "", HEADER, *on_gpu, ""]
    else:
        text += ["Not run: `python -m benchmarks --gpu` measures it on a machine with one, in less than eight minutes.", ""]
    for more in (folder / "missed.md", folder / "engine.md", folder / "growth.md", folder / "growth-queries.md"):
        if more.is_file():
            text += [more.read_text(encoding="utf-8")]
    return "\n".join(text)
