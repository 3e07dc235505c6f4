"""``make bench``, or ``python -m benchmarks [--quick] [--only NAME ...] [--gpu]``: measure, print, and write benchmarks/RESULTS.md (with --quick benchmarks/quick/RESULTS.md).

Each file of rows is one name. What has been measured is kept in results.json, so that names can be run one after another;
RESULTS.md shows all of it. ``--gpu`` measures what needs a GPU, and nothing else.
"""

from __future__ import annotations

import argparse
import importlib
import os
import tempfile

from benchmarks import report
from benchmarks.measure import HEADER

NAMES = ("masks", "queries", "overlays", "metrics", "forwards", "requests", "small", "training", "first_page", "typed", "click", "onnx", "conversion", "scientific", "growth")


def main() -> None:
    """Measure every row."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="smaller images, fewer repeats, at most five minutes")
    parser.add_argument("--only", nargs="+", choices=NAMES, metavar="NAME", help=f"some of: {', '.join(NAMES)}")
    parser.add_argument("--gpu", action="store_true", help="what needs a GPU, and nothing else: less than eight minutes on one card")
    options = parser.parse_args()
    if options.gpu:
        import torch

        if options.only:
            parser.error("--gpu measures rows of its own. Leave --only out.")
        if not torch.cuda.is_available():
            parser.error("torch finds no CUDA device here. Run this on a machine with an NVIDIA GPU and its driver.")
    # Other runs' compiled networks are not ours to profit from, and gradio's copies of images are of no use afterwards.
    with tempfile.TemporaryDirectory() as folder:
        os.environ |= {"XDG_CACHE_HOME": folder, "GRADIO_TEMP_DIR": folder, "HF_HUB_OFFLINE": "1"}
        print(HEADER)
        for name in ["gpu"] if options.gpu else options.only or NAMES:
            for row in importlib.import_module(f"benchmarks.{name}").rows(options.quick):
                report.keep(name, row, options.quick)
                print(row.line(), flush=True)


if __name__ == "__main__":
    main()
