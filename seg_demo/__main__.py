"""``python -m seg_demo segment PATH... --model M --out DIR``, ``python -m seg_demo prompt IMAGE --points "x,y,1" --model M --out DIR``,
``python -m seg_demo models`` ``python -m seg_demo check ID``, ``python -m seg_demo convert ANNOTATIONS --to FORMAT --out DIR`` and
``python -m seg_demo export MODEL --onnx FILE``.

Exit codes: 0 everything done; 1 some files failed; 2 nothing was started (usage, model, device, output folder); 130 stopped by Ctrl-C.
"""

from __future__ import annotations

import argparse
import csv
import io
import json
import multiprocessing
import os
import signal
import sys
from collections import Counter, deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import BrokenExecutor, Future, ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from seg_demo.core import (
    AUTO, LOOKS, TASKS, BadRequestError, LabelSet, Options, SegDemoError, View, background_of, semantic_segmentation, smoothed, write_atomically,
)
from seg_demo.inputs.archives import Job, find_jobs
from seg_demo.outputs.batch import COCO, RUN, ResultParts, Summary, run_of
from seg_demo.outputs.export import EXPORTS, FORMATS, PANOPTIC_PNG, SEGMENT_COLUMNS, rows_of
from seg_demo.outputs.interchange import loss_sentences
from seg_demo.outputs.measurements import Measurements, PixelSize, measure
from seg_demo.outputs.rasters import LOOKED_AT, UNFINISHED
from seg_demo.workers import Done, Loaded, Order, Windows, Workers

if TYPE_CHECKING:
    import numpy as np

T, R = TypeVar("T"), TypeVar("R")
# More processes than that are a slip of the finger.
MOST_WORKERS = 256
_VIEW = (
    'what of a scientific file is looked at: {"page": 0, "z": 0, "t": 0, "channels": [2, 0, 1], "window": [LO, HI] or "auto", "full", "dicom", '
    '"gamma": 1.0}, each optional (default: the first page, the middle plane, up to three channels)'
)
# From so many pictures on, several processes read back what tables are made of: they take a second to start.
MANY = 200
RESULT = "result.json"
# The folder of rows of results.
RESULTS = "results"


def main(arguments: Sequence[str] | None = None) -> int:
    """Run a command line.

    Args:
        arguments: without the program's name; None takes the process's.

    Returns:
        The exit code.
    """
    given = list(sys.argv[1:] if arguments is None else arguments)
    # The converter has a parser of its own, and argparse hands no option on that comes first, not even --help (python/cpython#61252).
    options = argparse.Namespace(run=_convert, arguments=given[1:]) if given[:1] == ["convert"] else _parser().parse_args(given)
    try:
        if isinstance(sys.stdout, io.TextIOWrapper):  # names of files and classes may have letters that a terminal lacks
            sys.stdout.reconfigure(errors="backslashreplace")
        code = options.run(options)
        sys.stdout.flush()
        return code
    except SegDemoError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1 if getattr(options, "begun", False) else 2
    except BrokenPipeError:
        # Whoever read along (head, a pager) has seen enough; Python would write to the pipe once more at exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m seg_demo", description="Segment images from the command line.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    segment = commands.add_parser(
        "segment",
        help="segment files and folders",
        description="Segment images. Each gets a folder below DIR with what the page's zip has: mask and overlay PNG, COCO "
        "JSON, GeoJSON and CSV, or with --format those files alone. Without --format DIR itself gets the files about all images together: "
        "coco.json, panoptic.json (of panoptic results), counts.csv, objects.csv or pieces.csv (measured one by one), failed.csv, notes.csv and contact_sheet.png. Exit codes: 0 all done, 1 some files failed, 2 nothing was started.",
    )
    segment.add_argument(
        "paths", nargs="+", metavar="PATH",
        help="image files, folders to search for them, globs, parquet files with a column of images, or URLs of all these that fsspec opens, such as s3://...",
    )  # fmt: skip
    segment.add_argument("--model", required=True, metavar="M", help="menu key, user/repo[/folder][@revision], its page's address, or checkpoint folder")
    segment.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the results go; made if needed")
    segment.add_argument("--threshold", type=float, default=0.5, metavar="T", help="lowest score of objects (default 0.5)")
    segment.add_argument(
        "--pixel-size", metavar="LENGTH", help="side of a pixel in nm, um, mm or m, such as 0.65um: tables then also give lengths and areas in real units"
    )
    segment.add_argument(
        "--detail", choices=("whole", "full"), default="whole",
        help="whole: a large image is shrunk for the model (default); full: its own pixels, tile by tile; a TIFF beyond the pixel limit is read and "
        "written window by window (mask.tif, GeoJSON, CSV), and goes on where it was interrupted",
    )  # fmt: skip
    segment.add_argument(
        "--task", choices=(AUTO, *TASKS), default=AUTO, help="what to answer, for models that answer several (default: what it was made for)"
    )
    segment.add_argument(
        "--looks", type=int, choices=LOOKS, default=1,
        help="networks of classes: the mean of the answers to the picture and to its mirror images (2: mirrored; 4: upside down, too), for as much time (default 1)",
    )  # fmt: skip
    segment.add_argument(
        "--thresholds", default="", metavar="JSON",
        help='panoptic results: {"score": 0.5, "mask": 0.5, "overlap": 0.8}, each optional (default: the model\'s own)',
    )  # fmt: skip
    segment.add_argument(
        "--view", default="", metavar="JSON",
        help=_VIEW + '; "page": "all" gives a result for every page, point in time and plane in depth that the view leaves open, in DIR/NAME/page-0000 and so on',
    )  # fmt: skip
    segment.add_argument(
        "--format", dest="formats", action="extend", nargs="+", choices=tuple(FORMATS), default=[], metavar="F",
        help=f"write these files alone: {', '.join(FORMATS)} (default: all, and the tables about all images)",
    )  # fmt: skip
    segment.add_argument(
        "--smoothing", type=float, metavar="PIXELS",
        help="otsu and watershed: blur before the threshold or the search for edges (default: none for otsu, 2 for watershed)",
    )  # fmt: skip
    segment.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps (default: SEG_DEMO_DEVICE)")
    segment.add_argument(
        "--workers", type=int, metavar="N",
        help="processes that work at the same time, each with the model and its share of the cores; one that dies costs its picture (default 1; "
        "with --ray all that the cluster has cores or GPUs for)",
    )  # fmt: skip
    segment.add_argument(
        "--parquet", action="store_true",
        help="write results as rows with COCO run lengths into parquet files in DIR/results, and no files for each picture but those of --format",
    )  # fmt: skip
    segment.add_argument(
        "--ray", nargs="?", const="", metavar="ADDRESS",
        help="work on the Ray cluster at HOST:PORT, or without an address on the one that is at hand, else on this machine's cores; implies --parquet",
    )  # fmt: skip
    segment.add_argument("--overwrite", action="store_true", help="segment images again even if their results exist")
    segment.set_defaults(run=_segment)
    prompt = commands.add_parser(
        "prompt",
        help="cut one object out of an image",
        description="Cut out what clicks, a box or words show, with a promptable model; without any of them, everything in the picture. "
        "DIR gets what the page's zip has: mask and overlay PNG, COCO JSON, GeoJSON and CSV. Exit codes: 0 done, 2 nothing was written, and why.",
    )
    prompt.add_argument("image", type=Path, metavar="IMAGE", help="an image file")
    prompt.add_argument("--points", metavar='"X,Y,L ..."', help="clicks in pixels: x,y,1 inside the object, x,y,0 outside; x,y is inside")
    prompt.add_argument("--box", metavar="X0,Y0,X1,Y1", help="a box around the object, in pixels")
    prompt.add_argument("--text", metavar="WORDS", help="what to look for, for models that take words; with --box, which is around an example then, what is like that")
    prompt.add_argument("--view", default="", metavar="JSON", help=_VIEW)
    prompt.add_argument("--model", required=True, metavar="M", help="as for segment: a promptable model")
    prompt.add_argument("--out", required=True, type=Path, metavar="DIR", help="where the results go; made if needed")
    prompt.add_argument("--device", metavar="D", help="auto, cpu, cuda, cuda:N or mps (default: SEG_DEMO_DEVICE)")
    prompt.set_defaults(run=_prompt)
    models = commands.add_parser("models", help="list the models on the menu")
    models.add_argument("--json", action="store_true", help="as JSON, with class names")
    models.set_defaults(run=_models)
    check = commands.add_parser(
        "check",
        help="what a model's repository offers, before anything is loaded",
        description="Say what a Hub repository or a checkpoint folder holds: network, classes, where its weights come from and how "
        "large they are. Only its list of files and its config.json are fetched. Exit codes: 0 it can be fetched, 2 it cannot, and why.",
    )
    check.add_argument("id", metavar="ID", help="user/repo[/folder][@revision], the address of its page, a menu key, or a folder")
    check.add_argument("--json", action="store_true", help="as JSON, with all class names")
    check.set_defaults(run=_check)
    export = commands.add_parser(
        "export",
        help="a model as a file that runs without torch",
        description="Write a model's network as an ONNX file, for ONNX Runtime, transformers.js and others. The file is there only if ONNX Runtime "
        "gives every label that torch gives on test pictures of several sizes. Exit codes: 0 done, 2 nothing was written, and why.",
    )
    export.add_argument("model", metavar="MODEL", help="as for segment")
    export.add_argument("--onnx", required=True, type=Path, metavar="FILE", help="the file; replaced if it is there")
    export.set_defaults(run=_export)
    commands.add_parser("convert", help="annotations of one tool into those of another")
    return parser


def _convert(options: argparse.Namespace) -> int:
    """Run the converter, which has arguments of its own."""
    from seg_demo.annotations import convert

    return convert.main(options.arguments)


def _export(options: argparse.Namespace) -> int:
    """Write a network as ONNX, and say how it compares and how it is run."""
    from seg_demo.inference import onnx
    from seg_demo.serving import catalog
    from seg_demo.serving.predictor import load_checkpoint

    if options.onnx.is_dir():
        raise BadRequestError("onnx.wants_a_file", path=options.onnx)
    onnx.check_packages()  # before a model is fetched for nothing
    spec = catalog.resolve(options.model, local_folders=True)
    if spec.source == "builtin":
        raise BadRequestError("onnx.method_without_network", id=spec.id)
    about = {"model": spec.id if spec.source != "folder" else Path(spec.id).name}
    done = onnx.export(load_checkpoint(spec, token=True), options.onnx, options.onnx.name, about, lambda text: print(text, file=sys.stderr))
    print(f"{options.onnx}: {done.size / 1e6:.1f} MB, opset {done.opset}, input {done.input}. {done.sentence()}")
    if done.code:
        print(f"\nWith numpy, Pillow and onnxruntime alone (a picture that is resized for the network may differ by a few pixels on edges):\n\n{done.code}")
    return 0


def _models(options: argparse.Namespace) -> int:
    """List the menu."""
    from seg_demo.serving import catalog

    rows = catalog.describe()
    if options.json:
        print(json.dumps(rows, indent=2, ensure_ascii=False))
        return 0
    width = max(len(row["id"]) for row in rows)
    for row in rows:
        state = "available" if row["available"] else "not available now"
        print(f"{row['id']:<{width}}  {row['task']:<8}  {row['title']}; {row['licence'] or 'licence not stated'}; {state}")
    return 0


def _prompt(options: argparse.Namespace) -> int:
    """Cut out one object, or everything."""
    from seg_demo.core import read_prompt

    shown: dict[str, object] = {}
    if options.points is not None:
        clicks = [_listed(part, "--points") for part in options.points.split()]
        shown["points"] = [click[:2] for click in clicks]
        shown["labels"] = [click[2] if len(click) == 3 else 1 for click in clicks]
        if wrong := [part for part, click in zip(options.points.split(), clicks, strict=True) if len(click) not in (2, 3)]:
            raise BadRequestError("prompts.bad_point", value=wrong[0])
    if options.box is not None:
        shown["box"] = _listed(options.box, "--box")
    words = [] if options.text is None else [options.text]
    if words and set(shown) == {"box"}:  # an example of what the words mean
        shown["text"] = words.pop()
    prompts = read_prompt({"objects": [shown] if shown else [], "text": words})
    from seg_demo.inputs.images import read
    from seg_demo.outputs.export import bundle
    from seg_demo.serving.predictor import load_model

    picture = read(options.image, view=options.view, with_samples=True)
    for prompt in prompts:  # before a model is fetched for nothing
        prompt.check(*picture.pixels.shape[:2])
    with load_model(options.model, device=options.device).prompt(picture) as session:
        result = session.answer(prompts) if prompts else session.everything()
    try:
        options.out.mkdir(parents=True, exist_ok=True)
        for name, data in bundle(picture, result, "", file_name=options.image.name).items():
            write_atomically(options.out / name, data)
    except OSError as error:
        raise BadRequestError("cli.out_not_writable", out=options.out, why=error.strerror) from error
    for note in result.notes:
        print(f"note: {note}", file=sys.stderr)
    print(f"{len(result.segments)} objects with {options.model}, {sum(result.areas):,} pixels; results in {options.out}.")
    return 0


def _listed(text: str, flag: str) -> list[float]:
    """Numbers with commas between them."""
    try:
        return [float(part) for part in text.split(",")]
    except ValueError:
        raise BadRequestError("cli.no_numbers", flag=flag, value=text[:60]) from None


def _check(options: argparse.Namespace) -> int:
    """Look at a model without loading it."""
    from dataclasses import asdict

    from seg_demo.serving.predictor import offer

    found = offer(options.id)
    print(json.dumps(asdict(found), indent=2, ensure_ascii=False) if options.json else "\n".join(f"{name:<9} {value}" for name, value in found.rows().items()))
    return 0 if found.loads else 2


def _segment(options: argparse.Namespace) -> int:
    """Segment every image; a bad one is reported and the rest goes on."""
    jobs = find_jobs(options.paths, options.out)
    wanted = Options(
        options.threshold, options.detail, parameters=smoothed(options.smoothing), task=options.task, thresholds=options.thresholds, view=options.view,
        looks=options.looks,
    )  # fmt: skip
    run, view = run_of(options.model, wanted), wanted.view
    formats = sorted(set(options.formats), key=list(FORMATS).index)
    if formats:
        run["format"] = formats
    pixel = None if options.pixel_size is None else PixelSize.parse(options.pixel_size)
    if pixel is not None:  # lengths and areas that are on the disk already are in its unit
        run["pixel_size"] = options.pixel_size
    kept = options.parquet or options.ray is not None
    if kept:
        run["parquet"] = True
    if not options.overwrite:
        _refuse_to_mix(options.out, run)
    parts = ResultParts(options.out / RESULTS) if kept else None
    summarised = not formats and not kept
    jobs, failed = _planes(jobs, view, options.detail)
    # The last of the files that are written: its presence says that an image is done.
    last = EXPORTS[FORMATS[formats[-1]][-1]].file if formats else RESULT
    readable = [job for job in jobs if job.target not in failed]
    waiting = [job for job in readable if options.overwrite or not _is_done(job, options.out, last, parts)]
    if len(waiting) < len(readable):
        skipped = len(readable) - len(waiting)
        print(f"{skipped} of {len(jobs)} images have results in {options.out} already; --overwrite segments them again.")
    if not waiting:
        if failed:
            _prepare(options.out, run)
        options.begun = True
        if summarised:
            _summarise(jobs, options.out, None, failed, pixel, options.workers)
        return 1 if failed else 0
    asked = {
        "threshold": wanted.threshold, "detail": wanted.detail, "smoothing": options.smoothing, "task": wanted.task,
        "thresholds": dict(wanted.thresholds), "looks": wanted.looks,
    }  # fmt: skip
    order = Order(options.model, options.device, options.out, asked, formats, last, pixel, options.overwrite, kept)
    done = 0
    lost: dict[str, Counter[str]] = {name: Counter() for name in formats}
    # Only now is it certain that there is something to do: loading a model takes seconds.
    with _carried_out(order, options.workers, options.ray, waiting) as (model, run_all):
        for note in model.spec.notes:
            print(f"note: {model.spec.id}: {note}", file=sys.stderr)
        rows_of(formats, TASKS[model.spec.task if options.task == AUTO else options.task])
        _prepare(options.out, run)
        options.begun = True  # what goes wrong from here on leaves results behind
        if parts is not None and options.overwrite:
            parts.clear()
        with _bar(len(waiting)) as bar, _written(parts, options.out):
            for outcome in run_all(waiting, bar):
                job = outcome.job
                if outcome.full:
                    raise BadRequestError("cli.results_not_written", out=options.out, why=outcome.problem)
                if outcome.problem is None:
                    done += 1
                    if parts is not None:
                        parts.add(job.name, str(job.source), outcome.result)
                else:
                    failed[job.target] = outcome.problem
                    bar.write(f"failed: {job.source}: {outcome.problem}", file=sys.stderr)
                for note in outcome.notes:
                    bar.write(f"note: {job.source}: {note}", file=sys.stderr)
                for name, count in outcome.lost.items():
                    lost[name].update(count)
                bar.update()
    if summarised:
        _summarise(jobs, options.out, model.labels, failed, pixel, options.workers)
    for name in formats:
        for sentence in loss_sentences(name, lost[name]):
            print(f"lost: {sentence}")
    print(f"{done} of {len(waiting)} images segmented with {model.spec.id}; results in {options.out}.")
    return 1 if failed else 0


def _is_done(job: Job, out: Path, last: str, parts: ResultParts | None) -> bool:
    """Whether a picture has its result: its last file, all of a raster, or its row."""
    folder = out / job.target
    return job.name in parts.done if parts is not None else (folder / last).is_file() and not (folder / UNFINISHED).is_dir()


@contextmanager
def _written(parts: ResultParts | None, out: Path) -> Iterator[None]:
    """Rows that are added within it are on the disk after it, whatever happens.

    Raises:
        BadRequestError: the disk is full or fails; the parts that are there stay.
    """
    try:
        try:
            yield
        finally:
            if parts is not None:
                parts.flush()
    except BrokenPipeError:  # whoever read along
        raise
    except OSError as error:
        raise BadRequestError("cli.results_not_written", out=out, why=error.strerror or error) from error


@contextmanager
def _carried_out(order: Order, workers: int | None, ray: str | None, jobs: Sequence[Job]) -> Iterator[tuple[Loaded, Callable[[Sequence[Job], Any], Iterator[Done]]]]:
    """The model of an order, and what carries the order out for pictures, a bar beside it: this process, several of its own, or a cluster.

    Args:
        order: what to do with each picture.
        workers: processes; 1 is this one. None takes 1, or as many as a cluster has room for.
        ray: address of a cluster; None works without one.
        jobs: the pictures.

    Raises:
        BadRequestError: no number of processes.
        SegDemoError: the model cannot be found, fetched or loaded.
    """
    if workers is not None and not 1 <= workers <= MOST_WORKERS:
        raise BadRequestError("cli.bad_workers", value=workers, most=MOST_WORKERS)
    if ray is not None:
        from seg_demo.cluster import Cluster

        with Cluster(order, ray, workers) as cluster:
            yield cluster.loaded, lambda jobs, bar: cluster.run(jobs)
        return
    if workers is not None and workers > 1:
        with Workers(order, min(workers, len(jobs))) as processes:
            yield processes.loaded, lambda jobs, bar: processes.run(jobs)
        return
    if order.few_and_large(jobs):
        with Windows(order) as windows:
            yield windows.loaded, lambda jobs, bar: windows.run(jobs, bar.set_postfix_str)
        return
    model = order.load()
    yield Loaded.of(model), lambda jobs, bar: (order.carry_out(model, job, lambda _, tile: bar.set_postfix_str(tile)) for job in jobs)


def _planes(jobs: Sequence[Job], view: View | None, detail: str) -> tuple[list[Job], dict[Path, str]]:
    """The jobs with what is looked at of their files, one for each plane where that is all; and why those fail that cannot be read that far, by
    their target."""
    if view is None or not view.every:
        return [replace(job, view=view) for job in jobs], {}
    from seg_demo.inputs.images import MOST_RASTER, views_of

    found, failed = [], {}
    for job in jobs:
        try:
            found += job.pages(views_of(job.data(), view, MOST_RASTER if detail == "full" else 0))
        except SegDemoError as error:
            found.append(job)
            failed[job.target] = str(error)
            print(f"failed: {job.source}: {error}", file=sys.stderr)
    return found, failed


@contextmanager
def _in_order(work: Callable[[T], R], items: Sequence[T], count: int) -> Iterator[Iterator[R]]:
    """What a function makes of each item, in their order, by several processes of which none runs far ahead of whoever takes what they make.

    Args:
        work: of a module, so that other processes find it; what it raises is raised here.
        items: what it is called with.
        count: of processes; 1 is this one.

    Raises:
        BrokenExecutor: a process has died.
    """
    if count == 1:
        yield map(work, items)
        return
    context = multiprocessing.get_context("spawn")
    # Ctrl-C is the command's affair, here too.
    with ProcessPoolExecutor(min(count, len(items)), context, signal.signal, (signal.SIGINT, signal.SIG_IGN)) as pool:

        def results() -> Iterator[R]:
            under_way: deque[Future[R]] = deque()
            for item in items:
                under_way.append(pool.submit(work, item))
                if len(under_way) > 4 * count:
                    yield under_way.popleft().result()
            while under_way:
                yield under_way.popleft().result()

        try:
            yield results()
        finally:
            pool.shutdown(cancel_futures=True)


def _summarise(
    jobs: Sequence[Job], out: Path, labels: LabelSet | None, failed: Mapping[Path, str], pixel: PixelSize | None, workers: int | None
) -> None:
    """Write the files about all images from the results that are on the disk, also those of earlier runs.

    Raises:
        BadRequestError: the disk is full or fails.
    """
    try:
        summary = Summary(out, len(jobs), labels or _labels_before(out), pixel)
    except OSError as error:
        raise BadRequestError("cli.out_not_writable", out=out, why=error.strerror) from error
    there = [job for job in jobs if job.target not in failed]
    try:
        with _in_order(partial(_read_back, out, labels), there, (workers or 1) if len(there) >= MANY else 1) as found:
            for job in jobs:
                if job.target in failed:
                    summary.fail(job.name, failed[job.target])
                else:
                    result, id_map, measured, pieces = next(found)
                    # A raster's is as large as is looked at, whatever pictures may have.
                    overlay = partial(_overlay_before, out / job.target / "overlay.png", LOOKED_AT**2 if id_map is None else None)
                    summary.add(job.name, result, id_map, overlay, (job.target / PANOPTIC_PNG).as_posix(), measured, pieces)
        summary.close()
    except (OSError, ValueError, KeyError, SegDemoError, BrokenExecutor) as error:
        summary.abandon()
        raise BadRequestError("cli.tables_not_written", out=out, why=error) from error


def _read_back(
    out: Path, labels: LabelSet | None, job: Job
) -> tuple[dict[str, Any], np.ndarray | None, tuple[Sequence[str], Sequence[Sequence[str]]], Measurements | None]:
    """What the tables of all images need of a picture that is done: its result, id map, measurements of its objects, or of its pieces; of a raster its
    result alone, which has its areas and pieces: its id map may be larger than memory."""
    from seg_demo.inputs.images import decode_mask, read

    folder = out / job.target
    result = json.loads((folder / RESULT).read_text(encoding="utf-8"))
    if "windows" in result:
        return result, None, ((), ()), None
    id_map, _ = decode_mask(folder / "mask.png")
    measured, pieces = _measured_before(folder / EXPORTS["segments"].file), None
    if not TASKS[result["task"]].objects:
        pieces = measure(semantic_segmentation(id_map, labels or _labels_in(result)), read(job.data(), view=result.get("view"), with_samples=True), pieces=True)
    return result, id_map, measured, pieces


def _overlay_before(path: Path, most: int | None) -> np.ndarray:
    """A picture's overlay, which is decoded only if the contact sheet has room for it."""
    from seg_demo.inputs.images import decode

    return decode(path.read_bytes(), max_bytes=2**40, max_pixels=most)


def _measured_before(path: Path) -> tuple[list[str], list[list[str]]]:
    """The columns of measurements of an image's table of segments, and the values."""
    with path.open(encoding="utf-8", newline="") as file:
        header, *rows = csv.reader(file)
    begin = len(SEGMENT_COLUMNS)
    return header[begin:], [row[begin:] for row in rows]


def _labels_in(result: Mapping[str, Any]) -> LabelSet:
    """The classes that a semantic result names."""
    known = {segment["label_id"]: segment["label"] for segment in result["segments"]}
    names = [known.get(index, "") for index in range(max(known, default=0) + 1)]
    return LabelSet.from_names(names, background_of(names))


def _labels_before(out: Path) -> LabelSet | None:
    """The classes that an earlier run has written down; no model is loaded only to ask it again."""
    try:
        names = [row["name"] for row in json.loads((out / COCO).read_text(encoding="ascii"))["categories"]]
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return LabelSet.from_names(names, background_of(names)) if names else None


def _bar(total: int) -> object:
    """A progress bar, drawn only where somebody looks."""
    from tqdm import tqdm

    return tqdm(total=total, unit="image", disable=None)


def _refuse_to_mix(out: Path, run: dict[str, object]) -> None:
    """BadRequestError if the output folder holds results of another model or threshold, which would be taken for these."""
    try:
        before = json.loads((out / RUN).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return
    if before != run:
        raise BadRequestError("cli.other_results", out=out, before=before)


def _prepare(out: Path, run: dict[str, object]) -> None:
    """Make the output folder and note in it what the results are of; an unwritable one is known before the work."""
    try:
        out.mkdir(parents=True, exist_ok=True)
        write_atomically(out / RUN, json.dumps(run).encode())
    except OSError as error:
        raise BadRequestError("cli.out_not_writable", out=out, why=error.strerror) from error


if __name__ == "__main__":
    try:
        code = main()
    except KeyboardInterrupt:  # whoever presses it knows why; what is written stays
        print("Stopped.", file=sys.stderr)
        code = 130
    sys.exit(code)
