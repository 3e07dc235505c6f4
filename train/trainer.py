"""The stages of a run in its folder: begin, fit, evaluate, publish. Each can be repeated after a crash."""

from __future__ import annotations

import functools
import logging
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from accelerate import Accelerator

from seg_demo import networks
from seg_demo.models.model import Model
from seg_demo.networks.base import Checkpoint
from seg_demo.types import ModelSpec
from train import runs
from train.data.index import CELLS
from train.data.objects import labels_for
from train.data.preload import preload, read_item
from train.data.sample import Sample
from train.data.seen import AsSeen, read_as_seen
from train.loop.batches import CropDataset, local_cores, memory_budget, workers_for
from train.loop.fit import Fit, fit
from train.loop.history import History
from train.loop.pace import Pace
from train.loop.progress import ProgressFile
from train.loop.replay import crops_of
from train.loop.signals import Stopper
from train.loop.state import save_state
from train.loop.storage import recover_folder, save_folder
from train.loop.tasks import InstanceTask, SemanticTask
from train.prepared import Prepared
from train.reading import balanced_weights, count_pixels
from train.remember import remembered
from train.report.live import measure
from train.report.metrics import MAIN_METRIC
from train.report.shared import only_shared, shared_labels
from train.report.trackers import log_line, start_tracker
from train.start import name_of

log = logging.getLogger("train")

# Held-out samples that are kept decoded between evaluations; further ones are read again.
MOST_VAL_BYTES = 96 * 2**20


class Trainer:
    """A prepared run and its folder.

    Attributes:
        stage: ``begin``, ``fit``, ``evaluate`` or ``publish``: how far it has come.
    """

    def __init__(
        self, prepared: Prepared, accelerator: Accelerator, folder: Path, progress: runs.Progress | None = None
    ) -> None:
        """
        Args:
            prepared: what to do.
            accelerator: processes and precision.
            folder: of the run; exists on the main process, which alone writes to it.
            progress: how far the run has come, if it is resumed.
        """
        self.prepared, self.accelerator, self.folder = prepared, accelerator, folder
        self.state = None if progress is None else progress.state
        self.trained = progress is not None and progress.finished
        self.stage = "begin"
        self.tell = ProgressFile(prepared.config.progress_file if accelerator.is_main_process else None)
        self.tell("prepare", total=prepared.total)
        self.pace = Pace(prepared.total, prepared.eval_steps, closing=1 + prepared.config.baseline)
        self._val: dict[int, Sample] | None = None
        self._tracker: Any = None

    def begin(self) -> None:
        """Write what the run is, or tidy up what a killed one left."""
        prepared = self.prepared
        if self.accelerator.is_main_process:
            recover_folder(self.folder / runs.BEST)
            if self.state is None:
                facts = {**prepared.facts(), "processes": prepared.plan.processes, "start": remembered(prepared.start)}
                runs.write_config(self.folder, prepared.config, facts)
        for note in (*prepared.notes, *prepared.start.notes):
            log.info("%s", note)

    def fit(self, stopper: Stopper) -> None:
        """Train to the last step; nothing to do if that has been done, or for ``--epochs 0``."""
        if self.trained:
            log.info("This run has been trained to its end already.")
            return
        prepared = self.prepared
        main = self.accelerator.is_main_process
        if prepared.total == 0:
            if main:
                self._keep(prepared.start.checkpoint)
                save_state(self.folder / runs.LAST, {"history": {**vars(History()), "finished": True}})
            self.trained = True
            return
        crops = self._crops()
        if main:
            step = self.state["history"]["step"] if self.state else 0
            self._tracker = start_tracker(prepared.config, self.folder, step)
        run = Fit(
            config=prepared.config,
            checkpoint=prepared.start.checkpoint,
            fresh=prepared.start.fresh,
            pretrained=prepared.start.pretrained,
            knows=prepared.start.knows,
            task=self._task(crops),
            plan=prepared.plan,
            crops=crops,
            total=prepared.total,
            eval_steps=prepared.eval_steps,
            lr=prepared.lr,
            workers=workers_for(prepared.config.workers, prepared.device),
            accelerator=self.accelerator,
            device=prepared.device if self.accelerator.num_processes == 1 else self.accelerator.device,
            evaluate=self._metrics,
            score=MAIN_METRIC[prepared.task],
            save=functools.partial(save_state, self.folder / runs.LAST),
            keep=self._keep,
            record=self._record,
            tell=self._stepped,
        )
        log.info(
            "%s on %s: %d steps in %s", prepared.start.checkpoint.architecture, prepared.device, prepared.total, self.folder
        )
        self.stage = "fit"
        try:
            fit(run, self.state, stopper)
        finally:
            if self._tracker is not None:
                self._tracker.finish()
        self.trained = True

    def evaluate(self) -> dict[str, float]:
        """Load ``best/`` afresh, evaluate it, and write its card, its figures and ``training.json`` into it.

        Returns:
            The metrics on the held-out images.
        """
        from train.report.finish import write_report

        self.stage = "evaluate"
        self.tell("evaluate", self.prepared.total, self.prepared.total)
        checkpoint = networks.load(self.folder / runs.BEST)
        checkpoint.module.to(self.prepared.device)
        samples, labels = self._val_samples(), None
        if self.prepared.config.epochs == 0:
            data = labels_for(self.prepared.dataset, self.prepared.task)
            if data.names != checkpoint.labels.names:
                labels = shared_labels(data, checkpoint.labels)
                samples = () if labels is None else only_shared(samples, data, labels, self.prepared.task)
        return write_report(self.prepared, self.folder, self._model(checkpoint), samples, checkpoint, labels)

    def measure_base(self) -> dict[str, Any]:
        """What the network that the run started from is worth on the same held-out images, beside ``best/``."""
        from train.report.baseline import measured_against_base

        return measured_against_base(self.prepared, self._best, self._val_samples)

    def publish(self, results: dict[str, float]) -> dict[str, str]:
        """Push ``best/`` and compare what arrived.

        Args:
            results: of :meth:`evaluate`, for the commit message.

        Returns:
            ``repo``, ``url`` and ``revision``.

        Raises:
            PublishError: the push failed; everything is kept and the message has the command that retries.
        """
        from train.publish import publish

        self.stage = "publish"
        self.tell("publish", self.prepared.total, self.prepared.total)
        score = MAIN_METRIC[self.prepared.task]
        start, data = self.prepared.start, self.prepared.dataset.name
        name = name_of(start, data, self.prepared.config.epochs != 0)
        published = publish(
            self.folder / runs.BEST,
            self.prepared.repo_id,
            private=self.prepared.config.private,
            message=f"{name}: {score} {results[score]:.3f}" if score in results else name,
            run_dir=self.folder,
        )
        log.info("Pushed to %s, revision %s", published.url, published.sha)
        return {"repo": self.prepared.repo_id, "url": published.url, "revision": published.sha}

    def _task(self, crops: CropDataset) -> SemanticTask | InstanceTask:
        prepared, config = self.prepared, self.prepared.config
        if prepared.task == "instance":
            return InstanceTask()
        checkpoint = prepared.start.checkpoint
        weights = None
        if config.class_weights == "balanced":
            # Built-in data is not surveyed; its decoded samples say how frequent each class is.
            pixels = prepared.diagnosis.class_pixels or count_pixels(crops.cached.values(), len(checkpoint.labels))
            weights = balanced_weights(pixels, len(checkpoint.labels))
        verbs = networks.network(checkpoint.architecture)
        return SemanticTask(verbs.forward, checkpoint.preprocessing, len(checkpoint.labels), config.loss, weights)

    def _crops(self) -> CropDataset:
        prepared, config = self.prepared, self.prepared.config
        seen = AsSeen(prepared.start.checkpoint)
        read = functools.partial(read_item, prepared.dataset, prepared.train, prepared.task)
        if prepared.dataset.source != CELLS:
            # Photographs are kept at the network's size; what is rendered is small, and its workers know no torch.
            read = functools.partial(read_as_seen, read, seen)
        quiet = config.json or not self.accelerator.is_main_process
        cached = preload(read, prepared.dataset, len(prepared.train), memory_budget(), local_cores(), quiet)
        return crops_of(prepared, read, cached, seen)

    def _val_samples(self) -> Iterator[Sample]:
        prepared = self.prepared
        read = functools.partial(read_item, prepared.dataset, prepared.val, prepared.task)
        if self._val is None:
            budget = min(memory_budget(0.1), MOST_VAL_BYTES)
            self._val = preload(read, prepared.dataset, len(prepared.val), budget, local_cores(), prepared.config.json)
        for index in range(len(prepared.val)):
            yield self._val[index] if index in self._val else read(index)

    def _model(self, checkpoint: Checkpoint) -> Model:
        prepared = self.prepared
        row = networks.NETWORKS[checkpoint.architecture]
        folder = str(self.folder / runs.BEST)
        spec = ModelSpec(folder, None, row.task, checkpoint.architecture, prepared.dataset.name, "", "folder")
        return Model.from_checkpoint(checkpoint, spec)

    def _best(self) -> Model:
        checkpoint = networks.load(self.folder / runs.BEST)
        checkpoint.module.to(self.prepared.device)
        return self._model(checkpoint)

    def _metrics(self, checkpoint: Checkpoint) -> dict[str, float]:
        path = self.folder / runs.SAMPLES if self.prepared.config.progress_file else None
        with self.pace.evaluating():
            return measure(self._model(checkpoint), self._val_samples(), self.prepared.task, path)

    def _stepped(self, step: int, total: int, loss: float) -> None:
        if self.pace.stepped() and self.accelerator.is_main_process:
            log.info(self.pace.sentence(step))
        self.tell("fit", step, total, loss, self.pace.left(step))

    def _keep(self, checkpoint: Checkpoint) -> None:
        half = self.prepared.config.half
        save_folder(self.folder / runs.BEST, lambda folder: networks.save(checkpoint, folder, half))

    def _record(self, history: History) -> None:
        runs.write_metrics(self.folder, history)
        log_line(self._tracker, history.lines[-1])
        log.info("%s%s", history.sentence(MAIN_METRIC[self.prepared.task]), self.pace.rest(history.step))
