"""What every test runs under: one thread for torch, no real Hub, caches and logins of its own.

huggingface_hub and torch read these variables when they are imported, so they are set before any test module is.
"""

from __future__ import annotations

import atexit
import gc
import os
import random
import shutil
import socket
import sys
import tempfile
from pathlib import Path

import pytest


def _free_port() -> int:
    """A port below the range that systems hand to outgoing connections, so that it stays free while nobody listens."""
    for port in random.sample(range(20_000, 32_000), 100):
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise RuntimeError("No free port between 20000 and 32000 on 127.0.0.1.")


gc.disable()  # until the tests begin: nothing of thousands of tests and of all that they import is garbage, but each collection looks through it
assert "huggingface_hub" not in sys.modules, "huggingface_hub was imported before this file could point it to loopback"
for _name in [name for name in os.environ if name.startswith(("SEG_DEMO_", "HF_", "HUGGING_FACE_"))]:
    del os.environ[_name]
_HOME = tempfile.mkdtemp(prefix="seg-demo-tests-")
atexit.register(shutil.rmtree, _HOME, ignore_errors=True)
os.environ.update(
    HF_ENDPOINT=f"http://127.0.0.1:{_free_port()}",
    HF_HOME=f"{_HOME}/hf",
    # Uploads are kept by their content: another worker that closes its demo would delete those of this one.
    GRADIO_TEMP_DIR=f"{_HOME}/gradio",
    TORCH_HOME=f"{_HOME}/torch",
    HF_HUB_DISABLE_XET="1",
    HF_HUB_DISABLE_TELEMETRY="1",
    HF_HUB_DISABLE_UPDATE_CHECK="1",
    HF_HUB_DISABLE_PROGRESS_BARS="1",
    GRADIO_ANALYTICS_ENABLED="False",
    # Nothing compiles in the background of a test that is not about it (tests/engines.py).
    SEG_DEMO_ENGINE="eager",
)
for _name in ("OMP_NUM_THREADS", "MKL_NUM_THREADS"):
    os.environ.setdefault(_name, "1")


def pytest_collection_modifyitems(items):
    from tests import schedule

    items[:] = schedule.ordered(items)


def pytest_collection_finish(session):
    gc.collect()
    gc.freeze()
    gc.enable()


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config, log):
    from tests import schedule

    return schedule.scheduler(config, log) if config.getvalue("dist") == "loadfile" else None


@pytest.hookimpl(trylast=True)
def pytest_runtest_teardown(item, nextitem):
    """One Chromium for all files that look at the page; what comes after them runs event loops, which Playwright's would forbid."""
    pages = sys.modules.get("tests.pages")
    if pages is not None and (nextitem is None or not nextitem.nodeid.partition("::")[0].endswith("_browser.py")):
        pages.close()


def pytest_sessionstart(session):
    """The process that has imported what networks need waits for all tests of a worker: to import it takes as long as ten checkpoints."""
    from seg_demo.hub import untrusted

    untrusted.NETWORKS_SECONDS = untrusted.IDLE_SECONDS


def pytest_terminal_summary(terminalreporter, config):
    """`make soak` gathers what its tests have measured, and shows it at its end."""
    # A worker of pytest-xdist ends with a summary, too, which nobody sees.
    if (kept := os.environ.get("SOAK_FIGURES")) is not None and not hasattr(config, "workerinput"):
        from tests import schedule

        reports = [report for kind in ("passed", "failed", "error") for report in terminalreporter.stats.get(kind, [])]
        with open(kept, "a", encoding="utf-8") as file:
            file.writelines(f"{line}\n" for line in schedule.figures(reports))


@pytest.fixture
def hub(monkeypatch):
    """A running Hub stand-in with an empty local cache, nobody logged in, and nothing remembered by this process."""
    from seg_demo.hub import lookup
    from tests.hub_stand_in import HubStandIn

    for name in ("HF_TOKEN", "SEG_DEMO_HUB_TIMEOUT"):
        monkeypatch.delenv(name, raising=False)
    shutil.rmtree(Path(os.environ["HF_HOME"]), ignore_errors=True)
    lookup.forget()
    with HubStandIn() as running:
        yield running
    lookup.forget()


@pytest.fixture(scope="session")
def folders(tmp_path_factory):
    """Small checkpoints with random weights, one folder per kind: see tests/checkpoints.py."""
    from tests.checkpoints import write_each

    root = tmp_path_factory.mktemp("checkpoints")
    write_each(root)
    return root


@pytest.fixture
def loads(monkeypatch):
    """The paths that are loaded into memory during a test."""
    from seg_demo.serving import predictor

    seen, load = [], predictor.load
    monkeypatch.setattr(predictor, "load", lambda spec, path: seen.append(path) or load(spec, path))
    return seen


@pytest.fixture(scope="session")
def demo_folder(tmp_path_factory):
    """Where the demo of ``demo_url`` keeps what its visitors made: ``datasets/`` and ``jobs/``."""
    return tmp_path_factory.mktemp("demo")


@pytest.fixture(scope="session")
def demo_url(demo_folder):
    """The address of the demo, started once for all tests that look at it from outside: a start takes ten seconds. A clock in its event loop
    writes ``callbacks.jsonl`` (:mod:`tests.clocked_app`)."""
    from tests.served import CLOCKED, served

    clock = str(demo_folder / "callbacks.jsonl")
    with served(command=CLOCKED, CLOCKED=clock, SEG_DEMO_DATA=str(demo_folder / "datasets"), SEG_DEMO_JOBS=str(demo_folder / "jobs"), SEG_DEMO_RASTER_PIXELS="2500000") as address:
        yield address
