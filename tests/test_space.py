"""What a Space reads: the front matter in step with the requirements and the menu."""

from __future__ import annotations

import re
from pathlib import Path

import yaml
from packaging.requirements import Requirement
from packaging.version import Version

from seg_demo.serving.catalog import HUB

ROOT = Path(__file__).resolve().parents[1]


def front_matter() -> dict[str, object]:
    _, head, _ = (ROOT / "README.md").read_text(encoding="utf-8").split("---\n", 2)
    return yaml.safe_load(head)


def requirements(name: str) -> dict[str, Requirement]:
    lines = [line.split("#")[0].strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines()]
    made = [Requirement(line) for line in lines if line and not line.startswith("-")]
    return {each.name: each for each in made}


def test_the_sdk_version_is_one_that_the_requirements_allow() -> None:
    head = front_matter()
    assert head["sdk"] == "gradio" and (ROOT / head["app_file"]).is_file()
    assert requirements("requirements.txt")["gradio"].specifier.contains(Version(head["sdk_version"]))


def test_visitors_log_in_with_the_right_to_make_repositories_and_no_more() -> None:
    head = front_matter()
    assert head["hf_oauth"] is True and head["hf_oauth_scopes"] == ["contribute-repos"]


def test_python_is_one_that_transformers_accepts() -> None:
    assert Version(front_matter()["python_version"]) >= Version("3.11")


def test_the_models_are_those_of_the_menu() -> None:
    assert front_matter()["models"] == [spec.id for spec in HUB]


def test_what_the_hub_checks() -> None:
    head = front_matter()
    assert len(head["short_description"]) <= 60
    assert head["license"] == "apache-2.0" and (ROOT / "LICENSE").read_text().lstrip().startswith("Apache License")
    colors = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}
    assert head["colorFrom"] in colors and head["colorTo"] in colors


def test_a_space_can_install_the_requirements_alone() -> None:
    text = (ROOT / "requirements.txt").read_text()
    assert not re.search(r"^\s*-", text, re.MULTILINE), "a Space has only requirements.txt when it installs"
    pins = requirements("requirements.txt")
    assert str(pins["torch"].specifier) == "==2.11.0" and str(pins["torchvision"].specifier) == "==0.26.0"


def test_both_readmes_name_the_same_commands() -> None:
    english, chinese = ((ROOT / name).read_text(encoding="utf-8") for name in ("README.md", "README.zh.md"))
    for command in ("make demo", "make test", "python -m seg_demo segment", "python train/finetune.py --data my_folder"):
        assert command in english and command in chinese


def test_every_setting_is_in_the_readme() -> None:
    from dataclasses import fields

    from seg_demo.core.settings import Settings

    text = (ROOT / "README.md").read_text(encoding="utf-8")
    for each in fields(Settings):
        assert f"`SEG_DEMO_{each.name.upper()}`" in text, each.name
