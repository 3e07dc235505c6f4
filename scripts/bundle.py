"""Make a finished run a bundled checkpoint: ``python scripts/bundle.py runs/unet-cells unet-cells``.

Copies ``best/`` to seg_demo/bundled/NAME with the card's name, and reduces the size and the colours of the card's pictures, so that the
whole folder stays small.
"""

from __future__ import annotations

import argparse
import shutil
import sys
from dataclasses import replace
from pathlib import Path

from PIL import Image

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
from train.report.card import write_card  # noqa: E402
from train.report.facts import read_facts  # noqa: E402

MAX_BYTES = 4_000_000
LONGEST_SIDE = 640


def main() -> None:
    """Copy, shrink, check."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("run", type=Path, help="folder of the run")
    parser.add_argument("name", help="menu key of the checkpoint")
    parser.add_argument("--command", help="what the card says reproduces it; default: what the run recorded")
    chosen = parser.parse_args()
    target = ROOT / "seg_demo" / "bundled" / chosen.name
    shutil.rmtree(target, ignore_errors=True)
    shutil.copytree(chosen.run / "best", target)
    for path in target.glob("*.png"):
        with Image.open(path) as picture:
            picture = picture.convert("RGB")
            picture.thumbnail((LONGEST_SIDE, LONGEST_SIDE * 2))
            picture.quantize(96, dither=Image.Dither.NONE).save(path, optimize=True)
    facts = replace(read_facts(target), name=chosen.name)
    write_card(target, replace(facts, command=chosen.command) if chosen.command else facts)
    for path in target.iterdir():
        path.chmod(0o644)
    size = sum(path.stat().st_size for path in target.iterdir())
    print(f"{target}: {size / 1e6:.2f} MB")
    if size > MAX_BYTES:
        raise SystemExit(f"That is more than {MAX_BYTES / 1e6:.0f} MB; train with --half, or a smaller network.")


if __name__ == "__main__":
    main()
