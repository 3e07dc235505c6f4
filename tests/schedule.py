"""Which tests share a worker, and in which order the workers take them.

A worker takes one unit after another: a file, or all files that look at the page in Chromium, or all that speak to the running demo,
so that one browser and one demo serve them all. The longest units go first; otherwise the last worker would be left alone with them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import pytest

BROWSER, DEMO = "tests in Chromium", "tests of the running demo"
# Those of the demo that is shared (conftest.demo_url); files in Chromium are told by their names.
ON_THE_DEMO = {
    "gateway/test_answers_whole.py", "gateway/test_auth.py", "gateway/test_guard.py", "gateway/test_large.py", "gateway/test_load.py", "gateway/test_loop_held.py", "gateway/test_turns.py",
    "inputs/test_images_hostile.py", "inputs/test_images_stranger.py", "test_faults.py", "test_ownership.py", "test_readme.py",
    "ui/test_api.py", "ui/test_detail_surface.py", "ui/test_plain.py",
}  # fmt: skip
# Seconds, roughly, of the units that take more than ten (`make test` with --junitxml). A wrong number costs time and nothing else.
SECONDS = {
    BROWSER: 180, DEMO: 150, "jobs/test_ends.py": 60, "hub/test_sandbox.py": 60, "jobs/test_jobs.py": 50, "networks/test_universal.py": 40,
    "train/test_finetune.py": 35, "outputs/test_rasters.py": 35, "hub/test_stranger.py": 30, "hub/test_layouts.py": 25, "networks/test_image_processor.py": 25,
    "inference/test_onnx.py": 20, "networks/test_maskrcnn.py": 20, "train/test_class_queries.py": 15, "networks/test_sam.py": 15, "masks/test_queries.py": 15,
    "inference/test_object_limit.py": 15, "networks/test_rfdetr.py": 15, "ui/test_prompt_api.py": 15, "train/test_finetune_push.py": 15, "inference/test_openvino.py": 15,
    "hub/test_query_layouts.py": 15, "hub/test_prompt_layouts.py": 14, "inference/test_tiled.py": 14, "test_workers.py": 14, "train/test_resume.py": 14,
    "jobs/test_runner.py": 14, "hub/test_cache.py": 12, "inference/test_familiarity.py": 12, "serving/test_bundled.py": 12, "train/test_channels.py": 12, "hub/test_pickles.py": 12,
}  # fmt: skip
ROOT = Path(__file__).parent


def unit(nodeid: str) -> str:
    """The unit that a test belongs to.

    Args:
        nodeid: as pytest prints it, ``tests/ui/test_browser.py::test_...``.
    """
    file = nodeid.partition("::")[0].removeprefix("tests/")
    if file.endswith("_browser.py"):
        return BROWSER
    return DEMO if file in ON_THE_DEMO else file


def ordered(items: Sequence[pytest.Item]) -> list[pytest.Item]:
    """Tests unit by unit, the longest unit first; within one they stay as they are.

    Args:
        items: as they were collected.
    """
    place: dict[str, int] = {}
    for item in items:
        place.setdefault(unit(item.nodeid), len(place))
    return sorted(items, key=lambda item: (-SECONDS.get(unit(item.nodeid), 0), place[unit(item.nodeid)]))


def scheduler(config: pytest.Config, log: object) -> object:
    """pytest-xdist's scheduler of whole files, for units instead, in the order of :func:`ordered`.

    When a worker dies, pytest-xdist 3.8 hands out again all that it ever had: a unit of which nothing is left to do is handed out as nothing, and
    whoever gets it waits for ever (pytest-dev/pytest-xdist#1378); the test that it died of would end the next one, too. Here what is left of its
    units goes on without that test, which counts as failed. A new worker is handed two units at once: it begins a test when it knows of the one after it.
    """
    from xdist.scheduler import LoadFileScheduling

    class Units(LoadFileScheduling):
        def _split_scope(self, nodeid: str) -> str:
            return unit(nodeid)

        def remove_node(self, node: Any) -> str | None:
            left = [(name, [test for test, done in tests.items() if not done]) for name, tests in self.assigned_work.pop(node).items()]
            left = [(name, tests) for name, tests in left if tests]
            died_of = left[0][1].pop(0) if left else None
            self.workqueue.update({name: dict.fromkeys(tests, False) for name, tests in left if tests})
            for other in self.assigned_work:
                self._reschedule(other)
            return died_of

        def schedule(self) -> None:
            super().schedule()
            for node in self.nodes:
                self._reschedule(node)

        def _assign_work_unit(self, node: Any) -> None:
            name, tests = next(iter(self.workqueue.items()))
            try:
                super()._assign_work_unit(node)
            except OSError:  # it has died, too, and will be removed next
                del self.assigned_work[node][name]
                self.workqueue[name] = tests
                self.workqueue.move_to_end(name, last=False)

        def _reschedule(self, node: Any) -> None:
            if node in self.registered_collections:  # one of two new workers may still be looking for tests
                super()._reschedule(node)

    config.option.loadscopereorder = False  # it would put the units with the most tests first
    return Units(config, log)


# Begins a line that a test prints of what it has measured.
MEASURED = "measured: "


def figures(reports: Iterable[pytest.TestReport]) -> list[str]:
    """What tests have measured, by their folder and file: how many they were, how long they took, and the lines that they have printed of it.

    Args:
        reports: of every phase of every test.
    """
    families: dict[str, list[pytest.TestReport]] = {}
    for report in reports:
        families.setdefault(report.nodeid.partition("::")[0].removeprefix("tests/"), []).append(report)
    lines = []
    for name, found in sorted(families.items()):
        ran = {report.nodeid for report in found if report.when == "call"}
        failed = {report.nodeid for report in found if report.failed}
        lines.append(f"{name}: {len(ran)} run, {len(failed)} failed, {sum(report.duration for report in found):.0f} s")
        said = (line for report in found if report.when == "call" for line in report.capstdout.splitlines())
        lines += [f"    {line.removeprefix(MEASURED)}" for line in said if line.startswith(MEASURED)]
    return lines
