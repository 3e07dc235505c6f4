"""One run per folder, as long as its process lives."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from train.run import RunInUseError, run_lock

ROOT = Path(__file__).resolve().parents[2]
HOLD = "import sys, time; from pathlib import Path; from train.run import run_lock\n\
with run_lock(Path(sys.argv[1])):\n    print('held', flush=True); time.sleep(60)"


def test_a_second_run_in_the_folder_is_refused_and_a_dead_one_ignored(tmp_path):
    holder = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], cwd=ROOT, stdout=subprocess.PIPE, text=True)
    try:
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(RunInUseError, match=f"in use by process {holder.pid} on .* since 20"), run_lock(tmp_path):
            pass
        holder.send_signal(signal.SIGKILL)
        holder.wait()
        assert (tmp_path / ".lock").exists(), "a kill leaves the file behind"
        with run_lock(tmp_path):
            with pytest.raises(RunInUseError, match=str(os.getpid())), run_lock(tmp_path):
                pass
        assert list(tmp_path.iterdir()) == []
    finally:
        holder.kill()
        holder.wait()
        holder.stdout.close()
