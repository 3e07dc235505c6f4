"""``python -m seg_demo.jobs.runner FOLDER``: runs a job's command and writes down how it ended, whoever is there to see it.

The server starts it in a session of its own, so that it outlives the server. SIGTERM is handed on to the command, which saves
and exits. Imports nothing heavy: it only waits.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from seg_demo.jobs.files import CHILD, COMMAND, CONSOLE, EXIT, RESULT, write_json
from seg_demo.jobs.processes import identity


def main(folder: Path) -> int:
    """Run the command of a job's folder to its end.

    Args:
        folder: with ``command.json``, a list of words.

    Returns:
        The command's exit code; what a signal ended has minus its number.
    """
    command = json.loads((folder / COMMAND).read_text(encoding="utf-8"))
    part = folder / f"{RESULT}.part"
    with (folder / CONSOLE).open("ab") as console, part.open("wb") as result:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=result, stderr=console)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: child.poll() is None and child.terminate())
        write_json(folder / CHILD, identity(child.pid))
        code = child.wait()
    if code == 0:
        os.replace(part, folder / RESULT)
    else:
        part.unlink(missing_ok=True)
    write_json(folder / EXIT, {"code": code, "when": time.time()})
    return code


if __name__ == "__main__":
    main(Path(sys.argv[1]))
