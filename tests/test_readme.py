"""What the READMEs tell a newcomer to type runs as it is written."""

from __future__ import annotations

import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from seg_demo.__main__ import main
from seg_demo.core.types import INSTANCE, PANOPTIC, SEMANTIC
from seg_demo.networks import FAMILIES
from tests.served import ROOT

NAMES = ("README.md", "README.zh.md")


def blocks(name: str, language: str) -> list[str]:
    """The code blocks of a README in one language; commands have none."""
    text = (ROOT / name).read_text(encoding="utf-8")
    return [code for said, code in re.findall(r"```(\w*)\n(.*?)```", text, re.DOTALL) if said == language]


@pytest.mark.parametrize("name", NAMES)
def test_the_python_of_a_fresh_clone(name, monkeypatch):
    monkeypatch.chdir(ROOT)
    code = next(each for each in blocks(name, "python") if "load_model" in each)
    known: dict[str, object] = {}
    exec(compile(code, name, "exec"), known)
    assert known["result"].id_map.shape == known["image"].size[::-1] and known["result"].to_dict()["segments"]


def test_the_call_of_a_running_demo(demo_url, monkeypatch):
    monkeypatch.chdir(ROOT)
    code = next(each for each in blocks("README.md", "python") if "gradio_client" in each)
    assert "http://127.0.0.1:7860" in code
    known: dict[str, object] = {}
    exec(compile(code.replace("http://127.0.0.1:7860", demo_url), "README.md", "exec"), known)
    assert len(known["result"]["segments"]) == pytest.approx(24, abs=1) and known["models"]


@pytest.mark.parametrize("examples", [("coins.png", "coffee.jpg"), pytest.param(None, marks=pytest.mark.soak)])
def test_the_commands_that_segment(examples, tmp_path, monkeypatch, capsys):
    """Of the folder of examples, every run takes two and the soak tests take all."""
    monkeypatch.chdir(ROOT)
    folder = "seg_demo/ui/examples"
    if examples:
        (tmp_path / folder).mkdir(parents=True)
        for name in examples:
            shutil.copy(Path(folder, name), tmp_path / folder)
        monkeypatch.chdir(tmp_path)
    lines, chinese = (
        [shlex.split(line, comments=True)[3:] for block in blocks(name, "") for line in block.splitlines() if line.startswith("python -m seg_demo ")] for name in NAMES
    )
    assert lines and chinese and all(words in lines for words in chinese)
    for line in lines:
        words = list(line)
        if "--out" in words:
            place = words.index("--out") + 1
            words[place] = str(tmp_path / words[place])
        assert main(words) == 0, line
    assert (tmp_path / "results" / "counts.csv").is_file()
    capsys.readouterr()


def test_a_reader_that_leaves_early_costs_no_traceback():
    command = f"{shlex.quote(sys.executable)} -m seg_demo models | true"
    done = subprocess.run(command, shell=True, cwd=ROOT, capture_output=True, text=True, timeout=120)
    assert done.stderr == ""


@pytest.mark.parametrize("name", NAMES)
def test_the_table_of_networks_is_the_registrys(name):
    text = (ROOT / name).read_text(encoding="utf-8")
    table = next(part for part in text.split("\n\n") if "| Conditional DETR |" in part)
    rows = [[cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines()[2:]]
    answered = {title: [cell != "–" for cell in cells[:3]] for title, *cells in rows}
    wanted = {row.title: [task in row.tasks for task in (PANOPTIC, INSTANCE, SEMANTIC)] for row in FAMILIES.values() if not row.prompts}
    assert answered == wanted and len(answered) == len(rows)
