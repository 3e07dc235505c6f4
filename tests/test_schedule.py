"""A worker that dies takes one test with it, not the run."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = f"""
import sys
sys.path.insert(0, {str(Path(__file__).parent.parent)!r})

def pytest_xdist_make_scheduler(config, log):
    from tests import schedule

    return schedule.scheduler(config, log)
"""
# One test in a file, several, the first and one in between; with two workers, so that both may have to be replaced.
FILES = {
    "test_alone.py": "import os\ndef test_dies(): os._exit(1)\n",
    "test_first.py": "import os\ndef test_dies(): os._exit(1)\ndef test_after(): pass\n",
    "test_between.py": "import os\ndef test_before(): pass\ndef test_dies(): os._exit(1)\ndef test_after(): pass\n",
    "test_sound.py": "def test_one(): pass\ndef test_two(): pass\n",
    "test_last.py": "def test_one(): pass\n",
}


def test_what_a_dead_worker_had_left_is_run_but_for_the_test_that_it_died_of(tmp_path):
    for name, text in {"conftest.py": CONFTEST, "pytest.ini": "[pytest]\n", **FILES}.items():
        (tmp_path / name).write_text(text)
    command = [sys.executable, "-m", "pytest", "-q", "-n", "2", "--dist", "loadfile", "-p", "no:cacheprovider", "--rootdir", ".", "."]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=120)
    assert "3 failed, 6 passed" in done.stdout, done.stdout + done.stderr
