"""The tab for many images: files or a zip in, one zip out.

Results lie on the disk, one image is in memory at a time.
"""

from __future__ import annotations

import html
import json
import math
import secrets
import shutil
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import gradio as gr
from gradio import utils

from seg_demo.core import DETAILS, INSTANCE, TASKS, BadRequestError, BusyError, Message, Options, SegDemoError, Segmentation, View, in_language
from seg_demo.core.settings import settings
from seg_demo.gateway.queue import BATCHES, QUIET, UNQUEUED, as_uploads, in_words, one_batch, predictor, stream_in_words, work_limits
from seg_demo.gateway.visitor import Files, Upload, stem_of, store_file, uploaded
from seg_demo.inputs.archives import SCIENTIFIC_SUFFIXES, SUFFIXES, Refused, apart, page_name, unpack
from seg_demo.inputs.images import Picture, read, views_of
from seg_demo.outputs.batch import RUN, SHEET, ForTools, Summary, pack, picture_of, run_of, write_image
from seg_demo.outputs.export import measured_columns
from seg_demo.outputs.measurements import UNITS, PixelSize, measure, pixel_of
from seg_demo.ui import menu
from seg_demo.ui.components import Choice, Either, Outcome, Slider, ViewStrip, detail_box, follow_file, language_of, looks_box, outcome, reporting, run_dock, t, view_in, words
from seg_demo.ui.finetune_view import idle
from seg_demo.ui.results import TOOLS, CachedResult, Result, preview_of

SHOWN_ROWS = 60
FEW_FAULTS = 3
ZIP = "segmentation.zip"
# What was chosen of the files, beside their results.
FILE_TYPES = ["image", ".zip", *SCIENTIFIC_SUFFIXES]

_stops: dict[str, threading.Event] = {}


@dataclass(frozen=True)
class Ran:
    """What a batch was run with, for whoever looks at its pictures later: by then the controls may say something else.

    Attributes:
        files: that were sent.
        model: its id.
        threshold: as for :func:`run_batch`, and so the rest.
    """

    files: list[str] | None
    model: Any
    threshold: Any = 0.5
    pixel: Any = None
    unit: Any = "um"
    view: Any = None
    detail: Any = DETAILS[0]
    looks: Any = 1


@dataclass(frozen=True)
class BatchTab:
    """What others connect.

    Attributes:
        ran: what the last batch was run with.
        correct: the button that puts its pictures into the queue of corrections.
        shown: one of its pictures with its result.
    """

    ran: gr.State
    correct: gr.Button
    shown: Outcome


def batch_tab(page: gr.Blocks, tab: gr.Tab) -> BatchTab:
    """Build the tab in the current Blocks.

    Args:
        page: whose load event says in the visitor's language what is to be done.
        tab: this one; opening it reads the menu anew.
    """
    gr.Markdown(t("batch_lead"), elem_classes="lead")
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=4, min_width=280, elem_classes="controls"):
            files = Files(
                label=t("batch_files"), file_count="multiple", file_types=FILE_TYPES, height=180,
                elem_id="batch-files",
            )  # fmt: skip
            choices = menu.choices(*TASKS)
            model = gr.Dropdown(
                choices=choices, value=menu.first_network(), allow_custom_value=True,
                filterable=True, label=t("model"), info=t("batch_model_info"), elem_id="batch-model",
            )  # fmt: skip
            scored, closer, averaged = chosen_of(menu.first_network())
            threshold = Slider(0, 1, 0.5, step=0.01, label=t("threshold"), visible=scored, elem_id="batch-threshold")
            detail, looks = detail_box("batch", visible=closer), looks_box("batch", visible=averaged)
            with gr.Row():
                pixel = gr.Number(
                    None, label=t("batch_pixel"), info=t("batch_pixel_info"), minimum=0, scale=2, min_width=140,
                    elem_id="batch-pixel",
                )  # fmt: skip
                unit = gr.Dropdown(
                    [(t(f"unit_{unit}"), unit) for unit in UNITS], value="um", label=t("batch_unit"), filterable=False, scale=1, min_width=110,
                    elem_id="batch-unit",
                )  # fmt: skip
            strip = ViewStrip(kind="alone", pages=True, elem_id="batch-view")
            formats = gr.Dropdown(
                [(t(f"tool_{tool}"), tool) for tool in TOOLS], value=[], multiselect=True, label=t("batch_formats"), info=t("batch_formats_info"),
                elem_id="batch-formats",
            )  # fmt: skip
            run = gr.Button(t("batch_run"), variant="primary", elem_id="batch-run")
        with gr.Column(scale=9, min_width=300):
            cancel = run_dock("batch", stop := gr.Button(t("batch_stop"), visible=False, size="sm", elem_id="batch-stop", render=False))
            status = gr.HTML(idle("batch", "en"), elem_id="batch-status")
            download = gr.DownloadButton(t("batch_download"), visible=False, variant="primary", elem_id="batch-download")
            sheet = gr.Image(
                label=t("batch_sheet"), show_label=False, visible=False, format="png", buttons=["fullscreen"], interactive=False,
                elem_id="batch-sheet",
            )  # fmt: skip
            with gr.Row(visible=False, elem_id="batch-single") as single:
                picture = Choice(choices=[], value=None, filterable=True, label=t("batch_look"), info=t("batch_look_info"), scale=3, elem_id="batch-picture")
                correct = gr.Button(t("batch_correct"), size="sm", scale=1, min_width=200, elem_id="batch-correct-all")
            with gr.Column(elem_classes="outcome", elem_id="batch-one"):
                shown = outcome("batched", INSTANCE, correctable=True)
            table = gr.HTML("", elem_id="batch-table")
    follow_file(strip, files)
    ran = gr.State(None)
    began = run.click(
        lambda *chosen: (gr.Button(interactive=False), gr.Button(visible=True), Ran(*chosen)), [files, model, threshold, pixel, unit, strip, detail, looks],
        [run, stop, ran], **UNQUEUED,
    )  # fmt: skip
    ended = began.then(
        run_batch, [files, model, threshold, pixel, unit, strip, formats, detail, looks], [status, download, sheet, table], api_name="batch",
        api_visibility="undocumented", concurrency_limit=BATCHES, concurrency_id="batch", show_progress="hidden",
    )  # fmt: skip
    # gradio's ``then`` does not follow a failure.
    for after in (ended.success, ended.failure):
        after(lambda: (gr.Button(interactive=True), gr.Button(visible=False)), None, [run, stop], **UNQUEUED)
    ended.failure(left_off, status, status, **UNQUEUED)
    began.then(lambda: (gr.Row(visible=False), None, None), None, [single, *shown.outputs], **UNQUEUED)
    ended.success(pictures_of, ran, [single, picture], **QUIET)
    looked = picture.input(
        look_at, [picture, ran], shown.outputs, api_visibility="private", show_progress_on=picture, trigger_mode="always_last", js=shown.begins,
        **work_limits(),
    )  # fmt: skip
    shown.clear_after_failure(looked)
    shown.cancellable(looked)
    cancel.click(None, None, None, cancels=[ended], **UNQUEUED)
    menu.follow(tab, model, *TASKS)
    model.change(choices_for, model, [threshold, detail, looks], **UNQUEUED)
    page.load(waiting, None, status, **UNQUEUED)
    stop.click(stop_batch, None, None, **UNQUEUED)
    return BatchTab(ran, correct, shown)


def chosen_of(model: object) -> tuple[bool, bool, bool]:
    """Whether a threshold, a detail and a number of looks are any choice with a model: of one that is not on the menu, all may be."""
    spec = menu.spec_of(model)
    if spec is None:
        return True, True, True
    task = TASKS[spec.task]
    return task.scores or task.stuff, task.learnt, menu.looks_again(model)


def choices_for(model: object) -> tuple[Any, Any, Any]:
    """What there is to choose with a model that was picked; what is no choice any more is as it was at first."""
    scored, closer, averaged = chosen_of(model)
    return Slider(visible=scored), Either.offered(closer, DETAILS[0]), Either.offered(averaged, 1)


def waiting(request: gr.Request) -> str:
    """What is said before the first batch."""
    return idle("batch", language_of(request))


@in_words
def pictures_of(ran: Ran) -> tuple[Any, Any]:
    """The pictures of a batch that is done, to be looked at one by one: the picker, and its row on the page."""
    picked, _ = gathered(ran.files or [])
    images, _ = planned(picked, View.parse(view_in(ran.view)))
    return gr.Row(visible=True), Choice(choices=[(image.name, image.named) for image in images], value=None)


def gathered(files: Sequence[str]) -> tuple[list[Picked], list[Refused]]:
    """As :func:`gather`, into a new folder among the uploads, which nobody can guess and whose files go when they do."""
    folder = Path(utils.get_upload_folder()) / secrets.token_hex(16)
    folder.mkdir(parents=True)
    try:
        return gather([Path(file) for file in files], folder)
    except BaseException:
        shutil.rmtree(folder, ignore_errors=True)
        raise
    finally:
        as_uploads(path for path in folder.rglob("*") if path.is_file())


def picture_at(named: object, name: str | None = None) -> Upload:
    """A picture of :func:`gathered`, or an upload, that a browser names.

    Args:
        named: its path, or :attr:`Planned.named`.
        name: that it is called by; None for its file's.

    Raises:
        BadRequestError: it is not there, or no longer.
    """
    path, view = named, None
    if isinstance(named, str) and named.startswith("{"):
        with suppress(ValueError, KeyError, RecursionError):
            path, view = (json.loads(named)[key] for key in ("path", "view"))
    try:
        return Upload(uploaded(path), stem_of((name or str(path))[:200]), view)
    except BadRequestError as error:
        raise BadRequestError("results.upload_is_gone") from error


def size_of(pixel: Any, unit: Any) -> PixelSize | None:
    """The size of a pixel as it was typed; None where nothing was."""
    return PixelSize(float(pixel), unit) if isinstance(pixel, int | float) and pixel else None


@in_words
def look_at(
    picked: object, ran: Ran | None,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
) -> tuple[Result | None, Result | None]:  # fmt: skip
    """One picture of the batch with its result, which is made again as it was then: only files are kept of a batch."""
    if not picked:
        return None, None
    upload = picture_at(picked)
    if ran is None:
        raise BadRequestError("results.upload_is_gone")
    size, options = size_of(ran.pixel, ran.unit), Options(ran.threshold, ran.detail, confidence=True, view=upload.view, looks=ran.looks)
    with predictor().work(upload.path, str(ran.model), options=options, report=reporting(progress)) as work:
        found = work.segment()
        if size is not None:
            found = replace(found, calibration=size.over(found.calibration))
        result = Result(upload, CachedResult(found), options.threshold, preview_of(work.picture.pixels))
    return result, result


def left_off(status: object, request: gr.Request) -> Any:
    """What is said of a batch that failed or was cancelled on its way; of one that had not begun, its toast says enough."""
    return _status("batch_left_off", language_of(request)) if "<progress" in str(status) else gr.skip()


def stop_batch(request: gr.Request) -> None:
    """Ask this page's running batch to end after the present image; what was done is packed."""
    if event := _stops.get(str(request.session_hash)):
        event.set()


@stream_in_words
def run_batch(
    files: list[str] | None, model: Any, threshold: Any, pixel: Any, unit: Any, view: Any = None, formats: Any = None, detail: Any = DETAILS[0],
    looks: Any = 1, request: gr.Request = None,
) -> Iterator[tuple[Any, ...]]:  # fmt: skip
    """
    Segment many images.

    Args:
        files: image files and zip archives.
        model: id of the model.
        threshold: objects that score lower are left out; from 0 to 1.
        pixel: length of a pixel's side; None or 0 for none.
        unit: of that length: nm, um, mm or m.
        view: what of scientific files is looked at, as for /segment; with "page": "all" each of their pages gets a result.
        formats: of other tools, in which the results are wanted too; None or empty for none.
        detail: "whole" or "full", as for /segment.
        looks: how often a network of classes looks, as for /segment.

    Returns:
        Status, the zip of all results, the contact sheet, the table of counts; several times, the last one whole.
    """
    options = Options(threshold, detail, looks=looks)
    size = size_of(pixel, unit)
    looked = View.parse(view_in(view))
    language, session = language_of(request), str(request.session_hash)
    if not files:
        raise BadRequestError("batches.no_file")
    wanted_by = tuple(tool for tool in TOOLS if tool in (formats or ()))
    hidden = (gr.DownloadButton(visible=False), gr.Image(visible=False), "")
    yield (_status("batch_reading", language) + '<progress class="bar"></progress>', *hidden)
    stopped = _stops[session] = threading.Event()
    try:
        with one_batch(), tempfile.TemporaryDirectory(prefix="seg-demo-batch-") as folder:
            work = Path(folder)
            picked, refused = gather([Path(file) for file in files], work / "in")
            (work / "out").mkdir()
            about = run_of(str(model), replace(options, view=looked)) | ({"format": wanted_by} if wanted_by else {})
            about |= {} if size is None else {"pixel_size": f"{size.length:.12g}{size.unit}"}
            report = Report(0)
            (chosen := predictor().resolve(model)).check(options)
            work_on = segment_all(
                picked, refused, lambda image: patiently(lambda: predictor().segment(image, model, options), stopped),
                work / "out", size, stopped, looked, chosen.samples, wanted_by, about,
            )  # fmt: skip
            for report in work_on:
                if not report.finished:
                    yield (_progress(report, language), *hidden)
            shown = store_file(work / "out" / SHEET)
            packed = store_file(pack(work / "out", work / ZIP))
            yield (
                _final(report, stopped.is_set(), language),
                gr.DownloadButton(value=packed, visible=True),
                gr.Image(value=shown, visible=True),
                _table(report, language),
            )
    finally:
        _stops.pop(session, None)


def _status(key: str, language: str, **values: object) -> str:
    """A line about the batch, read aloud by screen readers when it changes."""
    return f'<p class="note" role="status">{html.escape(words(key, language).format(**values))}</p>'


def _progress(report: Report, language: str) -> str:
    done = report.done + len(report.failed)
    line = _status(
        "batch_progress", language, done=done + 1, total=report.total, failed=len(report.failed), name=report.name[-60:]
    )
    label = html.escape(words("batch", language))
    return f'{line}<progress class="bar" aria-label="{label}" max="{report.total}" value="{done}"></progress>'


def _final(report: Report, stopped: bool, language: str) -> str:
    line = _status("batch_stopped" if stopped else "batch_done", language, done=report.done, total=report.total)
    if report.limited:
        name, most = report.limited[0]
        more = words("batch_limit_closer", language) if report.shrunk else ""
        line += _status("batch_limit", language, count=len(report.limited), most=f"{most:,}", name=name[-60:], more=more)
    line += listed("batch_lost", [(words(f"tool_{name}", language), sentence) for name, sentence in report.lost], language)
    return line + listed("batch_failed", [(refused.name, refused.why) for refused in report.failed], language) + listed("batch_notes", report.notes, language)


def listed(key: str, sentences: list[tuple[str, str]], language: str) -> str:
    """What is to say about single files, to be opened where it is much: many lines would push the results off the screen."""
    if not sentences:
        return ""
    lines = "".join(f"<li><b>{html.escape(name)}</b> {html.escape(in_language(why, language))}</li>" for name, why in sentences[:SHOWN_ROWS])
    head = html.escape(words(key, language).format(count=len(sentences)))
    opened = " open" if len(sentences) <= FEW_FAULTS else ""
    return f'<details class="note"{opened}><summary>{head}</summary><ul>{lines}</ul></details>'


def _table(report: Report, language: str) -> str:
    """The counts as an HTML table; everything that comes from strangers is escaped."""
    pixel = report.pixel
    unit = words("batch_pixels", language) if pixel is None else pixel.unit.replace("u", "µ") + "²"
    names = [words("image", language), words("batch_class", language)]
    names += [words("batch_pieces" if report.pieces else "batch_count", language), f"{words('batch_area', language)} ({unit})"]
    names += [f"{words('batch_mean', language)} ({unit})", words("batch_share", language)]
    area, mean = ("area_pixels", "mean_area_pixels") if pixel is None else (f"area_{pixel.unit}2", f"mean_area_{pixel.unit}2")
    lines = []
    for row in report.rows[:SHOWN_ROWS]:
        shown = dict(zip(report.header, row, strict=True))
        numbers = [f"{shown['count']:,}", _number(shown[area]), _number(shown[mean]), f"{shown['share']:.1%}"]
        cells = "".join(f"<td>{html.escape(str(value))}</td>" for value in (shown["image"], shown["label"]))
        lines.append(f"<tr>{cells}{''.join(f'<td class=num>{number}</td>' for number in numbers)}</tr>")
    head = "".join(f"<th scope=col>{html.escape(name)}</th>" for name in names)
    more = len(report.rows) - SHOWN_ROWS
    rest = _status("batch_more_rows", language, count=more) if more > 0 else ""
    body = f'<table class="counts"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    label = html.escape(words("batch_table", language))
    return f'<div class="scroll" tabindex="0" role="region" aria-label="{label}">{body}</div>{rest}'


def _number(value: float | None) -> str:
    if value is None:
        return "–"
    if value == int(value) or value >= 1000:
        return f"{value:,.0f}"
    return f"{value:.{max(0, 2 - math.floor(math.log10(value)))}f}"


# How long a batch waits for its turn on a busy server before it gives an image up, in seconds.
PATIENCE = 600


@dataclass(frozen=True)
class Picked:
    """One file of a batch.

    Attributes:
        path: where it lies.
        name: what the tables call it: its path in the archive, or its own name.
    """

    path: Path
    name: str


@dataclass(frozen=True)
class Planned:
    """One image of a batch: a file, or a plane of it.

    Attributes:
        path: of the file.
        name: what the tables call it.
        stem: of its results.
        view: what of the file is looked at; None leaves that to it.
    """

    path: Path
    name: str
    stem: Path
    view: View | None

    @property
    def named(self) -> str:
        """What the picker of pictures sends back."""
        return str(self.path) if self.view is None else json.dumps({"path": str(self.path), "view": self.view.to_dict()})


@dataclass
class Report:
    """How far a batch has come.

    Attributes:
        total: files.
        done: images that were segmented.
        failed: files that were not, and why.
        name: of the file that is being worked on.
        finished: the files about all images are written.
        header: of the table of counts, once finished.
        rows: of that table.
        limited: images in which a detector stopped at a number of objects although there may be more, and that number.
        shrunk: whether one of those was not looked at in full detail, in which more are found.
        notes: image and what is to know about how it was read.
        pieces: whether what is counted are connected pieces of a class, not objects.
        pixel: size of a pixel that areas are in, or None.
        lost: format of another tool, and a sentence on what it could not hold.
    """

    total: int
    done: int = 0
    failed: list[Refused] = field(default_factory=list)
    name: str = ""
    finished: bool = False
    header: list[str] = field(default_factory=list)
    rows: list[list[Any]] = field(default_factory=list)
    limited: list[tuple[str, int]] = field(default_factory=list)
    shrunk: bool = False
    notes: list[tuple[str, str]] = field(default_factory=list)
    pieces: bool = False
    pixel: PixelSize | None = None
    lost: list[tuple[str, Message]] = field(default_factory=list)


def gather(files: Sequence[Path], folder: Path) -> tuple[list[Picked], list[Refused]]:
    """The images that were sent, archives unpacked.

    Args:
        files: as they were uploaded.
        folder: new; gets what archives hold.

    Returns:
        The images, and what was left out of archives.

    Raises:
        BadRequestError: an archive that cannot be read, no image at all, or more than the settings accept.
    """
    most, left = settings().max_batch_files, settings().max_batch_bytes
    picked: list[Picked] = []
    refused: list[Refused] = []
    for number, path in enumerate(files):
        if path.suffix.lower() == ".zip":
            inside = folder / str(number)
            inside.mkdir(parents=True)
            found = unpack(path, inside, max_files=most, max_bytes=left, suffixes=SUFFIXES)
            picked += [Picked(file, file.relative_to(inside).as_posix()) for file in found.files]
            refused += found.refused
            left -= sum(file.stat().st_size for file in found.files)
        else:
            picked.append(Picked(path, path.name))
            left -= path.stat().st_size
        if len(picked) > most:
            raise BadRequestError("batches.too_many_images", most=most)
        if left < 0:
            limit = settings().max_batch_bytes / 1e6
            raise BadRequestError("batches.too_large", most=limit)
    if not picked:
        if refused:
            raise BadRequestError("batches.no_images_but", name=refused[0].name, why=refused[0].why)
        raise BadRequestError("batches.no_images")
    return picked, refused


def planned(picked: Sequence[Picked], view: View | None) -> tuple[list[Planned], list[Refused]]:
    """The images of a batch, of all pages one for each, and the files of which nobody can tell which pages they have.

    Args:
        picked: the files.
        view: what of every one is looked at.

    Raises:
        BadRequestError: more images than the settings accept.
    """
    most, images, refused = settings().max_batch_files, [], []
    for file, stem in zip(picked, apart([Path(file.name) for file in picked]), strict=True):
        if view is None or not view.every:
            images.append(Planned(file.path, file.name, stem, view))
            continue
        try:
            views = views_of(file.path, view)
        except SegDemoError as error:
            refused.append(Refused(file.name, error.message))
            continue
        images += [Planned(file.path, f"{file.name}/{page_name(number)}", stem / page_name(number), one) for number, one in enumerate(views[: most + 1])]
        if len(images) > most:
            raise BadRequestError("batches.too_many_images", most=most)
    return images, refused


def segment_all(
    picked: Sequence[Picked],
    refused: Sequence[Refused],
    segment: Callable[[Picture], Segmentation],
    folder: Path,
    pixel: PixelSize | None,
    stopped: threading.Event,
    view: View | None = None,
    channels: int | None = None,
    formats: Sequence[str] = (),
    about: Mapping[str, Any] | None = None,
) -> Iterator[Report]:
    """Segment every image; a bad one is noted and the rest goes on.

    Args:
        picked: the images.
        refused: what was left out before.
        segment: a picture → its result.
        folder: exists; gets ``masks/``, ``geojson/`` and what :class:`~seg_demo.outputs.batch.Summary` writes.
        pixel: size of a pixel, or None.
        stopped: once set, the batch ends after the present image, and what was done is summarised.
        view: what of every file is looked at; of all pages each gets a result.
        channels: of a file's own samples that the model takes; None for what a person sees.
        formats: of other tools; each gets a folder.
        about: what all results have in common, for :data:`RUN`; None writes none.

    Yields:
        The same report before every image, and once it is finished.

    Raises:
        SegDemoError: of the first image, if none could be segmented: then the fault is not an image's (a model that cannot be
            had, a full disk).
    """
    images, unread = planned(picked, view)
    refused = [*refused, *unread]
    report = Report(len(images) + len(refused), failed=list(refused))
    summary: Summary | None = None
    others: ForTools | None = None
    early: list[Refused] = []
    last: SegDemoError | None = None
    try:
        if about is not None:
            (folder / RUN).write_text(json.dumps(about), encoding="utf-8")
        for upload in images:
            stem = upload.stem
            if stopped.is_set():
                break
            report.name = upload.name
            yield report
            try:
                picture = read(upload.path, view=upload.view, channels=channels, with_samples=True)
                result = segment(picture)
                others = others or ForTools(folder, formats, result.labels)
                write_image(folder, stem.as_posix(), result, pixel_of(result, pixel))
                others.add(f"{stem.as_posix()}{Path(upload.name).suffix}", result)
            except SegDemoError as error:
                last = error
                fault = Refused(upload.name, error.message)
                report.failed.append(fault)
                (early.append(fault) if summary is None else summary.fail(fault.name, fault.why))
                continue
            if summary is None:
                # Only a result tells the classes of a model that was never loaded before.
                summary = Summary(folder, report.total, result.labels, pixel)
                for fault in (*refused, *early):
                    summary.fail(fault.name, fault.why)
            report.pieces = not TASKS[result.task].objects
            measured = measure(result, picture, pieces=report.pieces)
            columns = ((), ()) if report.pieces else measured_columns(measured, pixel_of(result, pixel), len(result.segments))
            summary.add(
                upload.name, result.to_dict(), result.id_map, picture_of(picture.pixels, result), f"{stem.as_posix()}.png", columns,
                measured if report.pieces else None,
            )  # fmt: skip
            report.done += 1
            report.shrunk |= result.limit is not None and result.seen is not None
        if summary is None:
            raise last or BadRequestError("batches.stopped_early")
        summary.close()
        report.lost = others.close()
        report.header, report.rows = summary.table()
        report.limited, report.notes, report.pixel = summary.limited(), summary.notes, summary.pixel
        report.finished = True
        yield report
    except OSError as error:
        raise BadRequestError("batches.not_written", why=error.strerror) from error
    finally:
        for open_files in (summary, others):
            if open_files is not None:
                open_files.abandon()


def patiently(work: Callable[[], Segmentation], stopped: threading.Event) -> Segmentation:
    """The result of some work, tried again while the server is busy with other visitors.

    Raises:
        BusyError: it still is after ten minutes, or the batch was stopped meanwhile.
    """
    until = time.monotonic() + PATIENCE
    while True:
        try:
            return work()
        except BusyError:
            if time.monotonic() > until or stopped.wait(1):
                raise
