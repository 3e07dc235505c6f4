"""docs/ARCHITECTURE.md says which files a picture, a typed id and a training folder pass; here it is measured again."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests import schedule, walks

ROOT = Path(__file__).resolve().parents[1]


@pytest.mark.soak
@pytest.mark.parametrize("name", walks.WALKS)
def test_a_walk_passes_the_files_that_the_page_names(name: str) -> None:
    files = walks.passed(name)
    print(f"measured: {name}: {len(files)} files")
    assert len(files) <= walks.TITLES[name][1]
    assert walks.shown(name, files) in walks.PAGE.read_text(encoding="utf-8"), "python -m tests.walks write"


def test_the_workers_share_files_that_are_there() -> None:
    """What tests/schedule.py puts together are files, and all of them that speak to the demo which is started once."""
    named = {*schedule.ON_THE_DEMO, *schedule.SECONDS} - {schedule.BROWSER, schedule.DEMO}
    assert [name for name in named if not (ROOT / "tests" / name).is_file()] == []
    asking = re.compile(r"\bdemo_url\b|^from tests\.(?:surface|gateway\.test_load) import .*\b(?:http|function)\b", re.MULTILINE)
    files = (path for path in (ROOT / "tests").rglob("test_*.py") if asking.search(path.read_text(encoding="utf-8")))
    assert {unit for path in files if (unit := schedule.unit(path.relative_to(ROOT).as_posix())) not in (schedule.BROWSER, schedule.DEMO)} == set()


def test_the_page_names_what_is_there() -> None:
    text = walks.PAGE.read_text(encoding="utf-8")
    head, _, ways = text.partition(walks.MARK)
    for path in re.findall(r"`([\w./]+(?:/|\.py|\.json|\.md))`", head):
        assert any((ROOT / place / path).exists() for place in ("", "seg_demo", "train", "seg_demo/ui")), path
    for place, leaves in re.findall(r"\*\*([\w/]+)\*\* ([\w, ]+)", ways):
        for leaf in leaves.split(", "):
            file = ROOT / (place if place.startswith("train") else f"seg_demo/{place}") / f"{leaf}.py"
            assert file.exists() or place in ("synthetic",), file
