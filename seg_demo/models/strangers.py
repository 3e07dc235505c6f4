"""Models of visitors' choice: fetched by nobody's login, tried where they can do no harm, and in nobody's way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

from seg_demo.errors import BusyError
from seg_demo.models import hub, loading, pickles, quarantine, zerogpu
from seg_demo.models.hub_download import Report
from seg_demo.types import ModelSpec

# Models that are fetched and tried at the same time; as many again may wait for that.
MOST = 2


class Strangers:
    """The way in for Hub models that are not on the owner's menu.

    Args:
        tries: whether they are tried in a process of their own; never on ZeroGPU.
    """

    def __init__(self, tries: bool) -> None:
        self._wanted = tries
        self._places = threading.BoundedSemaphore(MOST)

    def ready(self, spec: ModelSpec) -> Path | None:
        """The folder of a model that has been fetched and tried; it waits behind nobody whose model has not.

        Args:
            spec: of source ``hub``.
        """
        folder = hub.recent(spec, token=False)
        try:
            path = None if folder is None else pickles.ready(folder)
            if path is None or (self._tries() and not quarantine.passed(path)):
                return None
        except OSError:
            return None  # removed meanwhile to make room for others: it is fetched again
        return loading.locate(spec, token=False)

    def check(self, spec: ModelSpec, under_way: int) -> None:
        """Refuse a model that has to be fetched while many are.

        Args:
            spec: of source ``hub``.
            under_way: models that are being fetched now.

        Raises:
            BusyError: too many.
        """
        if under_way >= 2 * MOST and hub.cached(spec, token=False) is None:
            raise BusyError("Several models are being downloaded for other visitors. Try again in a minute, or choose another.")

    def bring(self, spec: ModelSpec, report: Report | None) -> Path:
        """Fetch a model and try it.

        Args:
            spec: of source ``hub``.
            report: told about it.

        Raises:
            SegDemoError: it cannot be had, or is refused.
        """
        with self._places:
            if self._tries():
                # Meanwhile: the file that is largest takes longer to come than the libraries to be imported.
                quarantine.prepare()
            path = loading.locate(spec, token=False, report=report)
            if self._tries():
                if report is not None:
                    report(None, f"Trying {spec.title}")
                with stays(spec, path):
                    quarantine.inspect(path)
        return path

    def _tries(self) -> bool:
        return self._wanted and not zerogpu.ACTIVE


@contextmanager
def stays(spec: ModelSpec, path: Path) -> Iterator[None]:
    """Within it a model's files are not removed to make room for others.

    Args:
        spec: the model.
        path: where its files are.

    Raises:
        BusyError: they were removed already.
    """
    with hub.held(spec.id) if spec.source == "hub" else nullcontext():
        if not path.exists():
            raise BusyError("This model was removed from the disk to make room for others. Try again, and it is downloaded again.")
        yield
