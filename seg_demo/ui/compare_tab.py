"""The tab that shows two to four models on one image: zoomed together, swiped, where they agree, how much, how fast.

Its viewer has the picture, the id map of every model in common colours, and where they agree; its files are the table of overlaps and
the agreement map.
"""

from __future__ import annotations

import csv
import html
import io
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any

import gradio as gr
import numpy as np

from seg_demo.core import (
    BACKGROUND, DETAILS, IGNORE_16, TASKS, BadCheckpointError, BadRequestError, HubUnavailableError, Message, ModelNotFoundError, Options,
    SegDemoError, Segmentation, distinct_colors, in_language,
)
from seg_demo.gateway.queue import UNQUEUED, in_words, predictor, work_limits
from seg_demo.gateway.visitor import Files, Upload, store_bytes
from seg_demo.inputs.mask_files import MaskFile, numbers_meant, read_mask, read_panoptic
from seg_demo.masks.compare import (
    BOTH,
    EXTRA,
    MATCHED,
    MISSED,
    Common,
    Matching,
    Overlap,
    PanopticQuality,
    Quality,
    SegmentMap,
    agreement,
    common,
    key,
    match_segments,
    matched_pixels,
    named_ids,
    overlap,
    segment_map,
    truth_ids,
)
from seg_demo.outputs import draw
from seg_demo.outputs.export import cell
from seg_demo.ui import menu
from seg_demo.ui.components import Either, Slider, ViewStrip, detail_box, examples, follow_file, image_box, language_of, looks_box, plain_files, run_dock, served_file, t, with_view, words
from seg_demo.ui.results import MAX_VIEWER_PIXELS, preview_of, viewer_ids

if TYPE_CHECKING:
    from seg_demo.inputs.images import Picture
    from seg_demo.serving.predictor import ResolvedModel

MOST = 4
PICTURES = ("coins.png", "nuclei.jpg", "tissue.jpg")
# Results are compared by the names of their classes. Region methods have none: what two of them call "region" is not the same thing.
# A mask, or the segments of COCO's panoptic format with their class names and the crowds among them.
TruthFiles = MaskFile | tuple[np.ndarray, dict[int, str], frozenset[int]]
# What is wrong with one model, and not with the image or the server.
UNUSABLE = (BadCheckpointError, BadRequestError, HubUnavailableError, ModelNotFoundError)


def compare_tab(tab: gr.Tab) -> None:
    """Build the tab in the current Blocks.

    Args:
        tab: this one; opening it reads the menu anew.
    """
    gr.Markdown(t("compare_lead"), elem_classes="lead")
    choices = menu.choices(*menu.learnt())
    first = [identity for _, identity in choices if identity.endswith("-cells")][:2]
    with gr.Row(elem_classes="bench"):
        with gr.Column(scale=4, min_width=280, elem_classes="controls"):
            photo = image_box("compare")
            # In a column of its own: on a phone the result stays below the button.
            with gr.Column(), gr.Column(elem_classes="examples"):
                examples(PICTURES, None, photo, None, t("examples_cells"), "compare-examples")
            strip = ViewStrip(kind="alone", elem_id="compare-view")
            models = gr.Dropdown(
                choices=choices, value=first,
                multiselect=True, max_choices=MOST, allow_custom_value=True, label=t("compare_models"),
                info=t("compare_models_info"), elem_id="compare-models",
            )  # fmt: skip
            threshold = Slider(0, 1, 0.5, step=0.01, label=t("threshold"), elem_id="compare-threshold")
            detail, looks = detail_box("compare"), looks_box("compare", visible=all(map(menu.looks_again, first)))
            truth = Files(
                label=t("compare_truth"), file_count="multiple", file_types=["image", ".json"], height=150, elem_id="compare-truth"
            )
            gr.Markdown(t("compare_truth_info"), elem_classes="note")
            run = gr.Button(t("compare_run"), variant="primary", elem_id="compare-run")
        with gr.Column(scale=9, min_width=300):
            cancel = run_dock("compare")
            viewer = ComparisonViewer(elem_id="compare-viewer")
            table = gr.HTML("", elem_id="compare-table")
            with gr.Row(elem_classes="files"):
                listed = gr.DownloadButton(t("compare_csv"), visible=False, size="sm", elem_id="compare-csv")
                drawn = gr.DownloadButton(t("compare_png"), visible=False, size="sm", elem_id="compare-png")
    menu.follow(tab, models, *menu.learnt())
    models.change(offer_looks, models, looks, **UNQUEUED)
    follow_file(strip, photo)
    done = run.click(
        run_compare, [photo, models, threshold, truth, strip, detail, looks], [viewer, table, listed, drawn], api_name="compare",
        api_visibility="undocumented", show_progress_on=viewer, **work_limits(),
    )  # fmt: skip
    cancel.click(None, None, None, cancels=[done], **UNQUEUED)
    # No older comparison stays beside models or an image that could not be used.
    done.failure(
        lambda: (None, "", *2 * (gr.DownloadButton(visible=False),)), None, [viewer, table, listed, drawn],
        **UNQUEUED,
    )  # fmt: skip


def offer_looks(models: Any) -> Either:
    """The number of looks, where it is any choice with every model: one that looks once would be left out."""
    return Either.offered(all(map(menu.looks_again, models if isinstance(models, list) else ())), 1)


@in_words
def run_compare(
    upload: Upload | None,
    models: Any,
    threshold: Any,
    truth: Any,
    request: gr.Request,
    progress: gr.Progress = gr.Progress(),  # noqa: B008  (gradio looks for this default)
    view: Any = None,
    detail: Any = DETAILS[0],
    looks: Any = 1,
) -> tuple[Any, ...]:
    """
    Segment one image with several models and compare what they say. A model that cannot be had, or has no answer to this image, is
    told and left out, as long as two are left.

    Args:
        upload: the image.
        models: two to four ids.
        threshold: objects that score lower are left out; from 0 to 1.
        truth: a label mask of the first model's ids, or the PNG and the JSON of COCO's panoptic format; or None.
        view: what of a scientific file is looked at, as for /segment; or None.
        detail: "whole" or "full", as for /segment.
        looks: how often the models look, as for /segment; those that look once are left out.

    Returns:
        What the viewer shows, the table as HTML, the table as CSV, and the agreement map as PNG.
    """
    if upload is None:
        raise BadRequestError("comparisons.no_image")
    chosen = list(dict.fromkeys(model for model in models if isinstance(model, str))) if isinstance(models, list) else []
    if not 2 <= len(chosen) <= MOST:
        raise BadRequestError("comparisons.bad_count", most=MOST, count=len(chosen))
    upload = with_view(upload, view)
    options, failed = Options(threshold, detail, view=upload.view, looks=looks), {}

    def of_each(ask: Callable[[str], Any], ids: Sequence[str], failures: tuple[type[SegDemoError], ...]) -> dict[str, Any]:
        """What those models say that do not fail; the others are written down."""
        said = {}
        for index, model in enumerate(ids):
            progress(index / len(ids), desc=model)
            try:
                said[model] = ask(model)
            except failures as error:
                failed[model] = error
                # The truth has the class numbers of the first.
                if (truth and model == chosen[0]) or len(chosen) - len(failed) < 2:
                    raise
        return said

    # Loaded before the slot is taken, and before their time is.
    ready = of_each(lambda model: _ready(model, options), chosen, UNUSABLE)
    language = language_of(request)
    with predictor().work(upload.path, options=options) as work:
        # What cannot be used is refused before the models have run.
        read = _read_truth(truth, *work.picture.pixels.shape[:2]) if truth else None
        results = of_each(lambda model: work.segment(ready[model][0]).above(options.threshold), list(ready), (BadCheckpointError,))
        shown, rows, *files = _compared(upload, work.picture, results, [ready[model][1] for model in results], read, language)
    return shown, _left_out(failed, language) + rows, *files


def _ready(id: str, options: Options) -> tuple[ResolvedModel, int]:
    """A model that is loaded, and the bytes of its weights.

    Raises:
        SegDemoError: it cannot be had, has no classes to compare, or looks once and is asked to look more often.
    """
    resolved = predictor().resolve(id)
    # Before its looks: that it has no classes is the reason, however often it looks.
    if resolved.path is None:
        raise BadRequestError("comparisons.region_method")
    resolved.check(options)
    model = predictor().load(resolved)
    return resolved, model.nbytes


def _compared(
    upload: Upload, picture: Picture, found: dict[str, Segmentation], sizes: list[int], read: TruthFiles | None, language: str
) -> tuple[Any, ...]:
    """What :func:`run_compare` answers; it makes the pictures of all models, so its caller has a slot."""
    results = list(found.values())
    titles = tuple(_title(result, id, language) for id, result in found.items())
    together = common(results)
    heard: list[Message] = []
    known = None if read is None else _truth(read, results[0], together, heard)
    rows = list(overlaps(titles, together, known, results))
    agreeing = agreement(together.maps)
    truth_named, colon = words("compare_with_truth", language), words("colon", language)
    about: list[tuple[str, Sequence[str]]] = [("", picture.notes), (truth_named[:1].upper() + truth_named[1:], heard)]
    for result, title in zip(results, titles, strict=True):
        own = [note for note in result.notes if note not in picture.notes]
        about.append((title, [*own, *(result.model.notes if result.model else ())]))
    notes = [(name and name + colon) + in_language(note, language) for name, said in about for note in said]
    matched = tuple(
        Matched(first, second, matching, _thin(matched_pixels(*sides, matching)))
        for first, second, matching, sides in _against(titles, together, known, results)
    )
    shown = Comparison(preview_of(picture.pixels), tuple(results), titles, tuple(sizes), together, agreeing, tuple(notes), matched)
    files = [
        (f"{upload.stem}_comparison.csv", comparison_table(rows).encode("utf-8", "replace")),
        (f"{upload.stem}_agreement.png", agreement_png(agreeing, len(results))),
    ]
    paths = [store_bytes(data, name) for name, data in files]
    listed = _table(rows, len(titles), agreeing, language)
    return shown, listed, *(gr.DownloadButton(value=path, visible=True) for path in paths)


def _left_out(failed: dict[str, SegDemoError], language: str) -> str:
    """Which models could not be had, and why, as HTML; everything is escaped."""
    return "".join(
        f'<p class="note fault" role="alert"><b>{html.escape(id)}</b> {html.escape(in_language(error.message, language))}</p>'
        for id, error in failed.items()
    )


def _title(result: Segmentation, id: str, language: str) -> str:
    return menu.title(result.model, language) if result.model is not None and result.model.source != "hub" else id


def _read_truth(paths: str | list[str], height: int, width: int) -> TruthFiles:
    """What the files of the correct mask hold.

    Raises:
        BadRequestError: they are not a mask, nor the PNG and the JSON of COCO's panoptic format, or not of the picture's size.
    """
    files = [Path(path) for path in ([paths] if isinstance(paths, str) else paths)]
    tables = [file for file in files if file.suffix.lower() == ".json"]
    pictures = [file for file in files if file not in tables]
    if len(pictures) != 1 or len(tables) > 1:
        raise BadRequestError("truth.which_files", pictures=len(pictures), tables=len(tables))
    try:
        read = read_panoptic(pictures[0], tables[0].read_bytes(), pictures[0].name) if tables else read_mask(pictures[0])
        came = (read.numbers if isinstance(read, MaskFile) else read[0]).shape
        if came[:2] != (height, width):
            raise ValueError(Message("truth.other_size", came=f"{came[1]} x {came[0]}", wanted=f"{width} x {height}"))
        return read
    except ValueError as error:
        raise BadRequestError("truth.unusable", reason=error) from error


def _truth(read: TruthFiles, first: Segmentation, together: Common, notes: list[Message]) -> Truth:
    """The correct mask in the common numbering; how it was read is appended to ``notes``."""
    try:
        if isinstance(read, MaskFile):
            return Truth(truth_ids(numbers_meant(read, len(first.labels), notes), first, together.names, notes))
        ids, named, crowds = read
        names = sorted(set(named.values()))
        segments = SegmentMap(ids, {i: names.index(name) for i, name in named.items()}, crowds)
        return Truth(*named_ids(segments, names, together.names))
    except ValueError as error:
        raise BadRequestError("truth.unusable", reason=error) from error


def _table(rows: Sequence[tuple[str, str, Overlap, Segments | None]], count: int, agreeing: np.ndarray, language: str) -> str:
    """Pairs, their IoU, the share of equal pixels and, where both have segments, their panoptic quality as HTML; everything is
    escaped."""
    segmented = any(segments is not None for *_, segments in rows)
    named = ("compare_pair", "compare_classes", "compare_iou", "compare_same", *(("compare_pq", "compare_segments") if segmented else ()))
    head = "".join(f"<th scope=col>{html.escape(words(name, language))}</th>" for name in named)
    lines = []
    for first, second, found, segments in rows:
        name = words("compare_with_truth", language) if first == TRUTH else first
        per_class = sorted(found.iou.items(), key=lambda row: -row[1])[:8]
        listed = "".join(f"<span>{html.escape(label)} {value:.3f}</span>" for label, value in per_class)
        mean = "–" if found.mean is None else f"{found.mean:.3f}"
        lines.append(
            f"<tr><td>{html.escape(name)} ↔ {html.escape(second)}</td><td class=each>{listed or '–'}</td>"
            f"<td class=num>{mean}</td><td class=num>{found.same:.1%}</td>{_quality_cells(segments) if segmented else ''}</tr>"
        )
    share = float((agreeing == count).mean())
    line = html.escape(words("compare_all", language).format(share=share))
    body = f'<table class="counts"><thead><tr>{head}</tr></thead><tbody>{"".join(lines)}</tbody></table>'
    label = html.escape(words("compare_iou", language))
    return f'<p class="note" role="status">{line}</p><div class="scroll" tabindex="0" role="region" aria-label="{label}">{body}</div>'


def _quality_cells(segments: Segments | None) -> str:
    """Two cells: PQ, and how many segments are matched, missed and in excess."""
    if segments is None:
        return "<td class=num>–</td><td class=num>–</td>"
    quality, counts = segments.quality, " / ".join(map(str, segments.counts))
    return f"<td class=num>{'–' if quality is None else f'{quality.pq:.3f}'}</td><td class=num>{counts}</td>"


SCRIPTS = ("viewer_view.js", "viewer_ids.js", "compare.js")


@dataclass(frozen=True, eq=False)
class Truth:
    """The correct answer, in the common numbering of classes.

    Attributes:
        label_map: uint16 (H, W), 65535 to ignore.
        segments: where it says which these are, else None.
    """

    label_map: np.ndarray
    segments: SegmentMap | None = None


@dataclass(frozen=True)
class Segments:
    """How well the segments of two results match.

    Attributes:
        quality: over the classes that both know; None where neither has any segment of them.
        counts: how many are matched, only in the first, and only in the second.
    """

    quality: Quality | None
    counts: tuple[int, int, int]

    @classmethod
    def of(cls, matching: Matching, classes: int) -> Segments:
        """Counted of one matching."""
        quality = PanopticQuality(classes)
        quality.add(matching)
        return cls(quality.mean(), (len(matching.matches), len(matching.missed), len(matching.extra)))


@dataclass(frozen=True, eq=False)
class Matched:
    """Where the segments of one result are those of another.

    Attributes:
        first: title of what counts as true.
        second: title of the other.
        matching: of their segments.
        pixels: uint8, of :func:`seg_demo.masks.compare.matched_pixels`, thinned for the screen.
    """

    first: str
    second: str
    matching: Matching
    pixels: np.ndarray


@dataclass(frozen=True, eq=False)
class Comparison:
    """What the viewer shows.

    Attributes:
        preview: the picture, a JPEG.
        results: one per model, at the threshold.
        titles: of the models.
        memory: of their weights, in bytes.
        together: the results in one numbering of classes.
        agreeing: uint8 (H, W), how many models say what most say.
        notes: what to know of how the picture and the truth were read, and of what the models say; sentences in the visitor's language.
        matched: of the truth and each model with segments; without one of the first of these models and each other.
    """

    preview: bytes
    results: tuple[Segmentation, ...]
    titles: tuple[str, ...]
    memory: tuple[int, ...]
    together: Common
    agreeing: np.ndarray
    notes: tuple[str, ...] = ()
    matched: tuple[Matched, ...] = ()


class ComparisonViewer(gr.HTML):
    """Shows a :class:`Comparison`, or an invitation if there is none."""

    def __init__(self, value: Comparison | None = None, *, elem_id: str | None = None, render: bool = True) -> None:
        super().__init__(
            value=value,
            **plain_files("compare", SCRIPTS),
            elem_id=elem_id,
            render=render,
        )

    def postprocess(self, value: Comparison | None) -> dict[str, Any] | None:
        """What the browser receives: pictures as files, colours as data; one colour per class name over all models."""
        if value is None:
            return None
        names = value.together.names
        background = names.index(BACKGROUND) if BACKGROUND in names else None
        palette = distinct_colors(len(names), background)
        count = len(value.results)
        return {
            "image": served_file(self, value.preview, "image.jpg"),
            "width": value.results[0].width,
            "height": value.results[0].height,
            "models": [
                {"title": title, "facts": facts(result, size), "ids": served_file(self, viewer_ids(result), f"{index}.png"),
                 "colors": _colors(result, names, palette)}
                for index, (result, title, size) in enumerate(zip(value.results, value.titles, value.memory, strict=True))
            ],
            "agreement": {
                "ids": served_file(self, _agreement_ids(value.agreeing), "agreement.png"),
                "colors": [[index, agreement_colors(count)[index].tolist()] for index in range(1, count)],
            },
            "matched": [
                {"first": None if pair.first == TRUTH else pair.first, "second": pair.second,
                 "counts": [len(pair.matching.matches), len(pair.matching.missed), len(pair.matching.extra)],
                 "ids": served_file(self, _coded(pair.pixels), f"matched-{index}.png")}
                for index, pair in enumerate(value.matched)
            ],
            "matchedColors": [[code, list(color)] for code, color in MATCHED_COLORS.items()],
            "classes": [
                {"name": names[index], "color": palette[index].tolist()} for index in _present(value) if index != background
            ],
            "notes": list(value.notes),
        }  # fmt: skip

    def api_info(self) -> dict[str, Any]:
        """The JSON schema of the value."""
        return {"type": "object", "description": "picture, id map of every model, agreement map, classes"}


def facts(result: Segmentation, size: int) -> str:
    """Time and memory of one result in a few words: ``0.42 s · 5.1 MB``."""
    memory = f" · {size / 1e6:.1f} MB" if size else ""
    return f"{result.seconds.get('total', 0):.2f} s{memory}"


def _colors(result: Segmentation, names: tuple[str, ...], palette: np.ndarray) -> list[list[Any]]:
    """[id in the id map, colour of its class] of everything but background."""
    pairs = []
    for identity, segment in zip(result.ids, result.segments, strict=True):
        name = key(result.labels.names[segment.label_id])
        if name != BACKGROUND:
            pairs.append([identity, palette[names.index(name)].tolist()])
    return pairs


def _present(value: Comparison) -> list[int]:
    """The classes that any result shows, by rising id."""
    found = sum(np.bincount(labels.ravel(), minlength=len(value.together.names)) for labels in value.together.maps)
    return np.flatnonzero(found).tolist()


def _agreement_ids(agreeing: np.ndarray) -> bytes:
    return _coded(_thin(agreeing))


def _thin(pixels: np.ndarray) -> np.ndarray:
    """Every n-th pixel of a map, as many as the viewer is sent."""
    step = max(1, int(np.ceil(np.sqrt(pixels.size / MAX_VIEWER_PIXELS))))
    return np.ascontiguousarray(pixels[step // 2 :: step, step // 2 :: step])


def _coded(values: np.ndarray) -> bytes:
    """uint8 (H, W) as the viewer reads ids: an RGB PNG, id = R."""
    return draw.encode_png(np.stack([values, np.zeros_like(values), np.zeros_like(values)], axis=-1))


TRUTH = "truth"
# Segments that both have, that only the true side has or only the other, and where one of each lies.
MATCHED_COLORS = {MATCHED: (40, 160, 90), MISSED: (205, 45, 60), EXTRA: (50, 110, 225), BOTH: (150, 70, 190)}
# Of pixels on which a share of the models agrees: none at 1, from yellow to red the fewer they are.
_FEW, _MOST = np.array([200, 30, 40]), np.array([250, 200, 60])


def overlaps(
    titles: Sequence[str], together: Common, truth: Truth | None, results: Sequence[Segmentation] = ()
) -> Iterator[tuple[str, str, Overlap, Segments | None]]:
    """The overlap of every pair of models, then of the truth with every model.

    Args:
        titles: of the models.
        together: their results.
        truth: or None.
        results: the same results, for those whose segments are things of their own; empty for none.

    Yields:
        Both titles, the overlap of their classes, and how well their segments match where both have some.
    """
    classes = len(together.names)
    for first, second in combinations(range(len(titles)), 2):
        shared = together.shared(first, second)
        found = overlap(together.maps[first], together.maps[second], together.names, shared, None)
        sides = [_segments_of(results, index, together, shared) for index in (first, second)]
        matching = None if None in sides else Segments.of(match_segments(*sides), classes)
        yield titles[first], titles[second], found, matching
    if truth is not None:
        for index, title in enumerate(titles):
            known = together.shared(index, index)
            sides = _true_segments(truth, known), _segments_of(results, index, together, known)
            matching = None if None in sides else Segments.of(match_segments(*sides), classes)
            yield TRUTH, title, overlap(truth.label_map, together.maps[index], together.names, known, IGNORE_16), matching


def _segments_of(results: Sequence[Segmentation], index: int, together: Common, classes: Sequence[int]) -> SegmentMap | None:
    """The segments of a result that are of some classes, in the common numbering; None where it has classes alone."""
    if not results or not TASKS[results[index].task].objects:
        return None
    names = {label: together.names.index(key(name)) for label, name in enumerate(results[index].labels.names)}
    return segment_map(results[index], {label: number for label, number in names.items() if number in set(classes)})


def _true_segments(truth: Truth, classes: Sequence[int]) -> SegmentMap | None:
    """Those of the truth of some classes."""
    if truth.segments is None:
        return None
    kept = {i: number for i, number in truth.segments.label_ids.items() if number in set(classes)}
    return replace(truth.segments, label_ids=kept, crowds=truth.segments.crowds & kept.keys())


def _against(
    titles: Sequence[str], together: Common, truth: Truth | None, results: Sequence[Segmentation]
) -> Iterator[tuple[str, str, Matching, tuple[SegmentMap, SegmentMap]]]:
    """The matchings that are drawn: of the truth, else of the first result with segments, and every other such result."""
    having = [index for index, result in enumerate(results) if TASKS[result.task].objects]
    reference = None
    if (truth is None or truth.segments is None) and having:
        reference = having.pop(0)
    for index in having:
        shared = together.shared(index if reference is None else reference, index)
        true = _true_segments(truth, shared) if reference is None else _segments_of(results, reference, together, shared)
        sides = true, _segments_of(results, index, together, shared)
        yield TRUTH if reference is None else titles[reference], titles[index], match_segments(*sides), sides


def comparison_table(rows: Sequence[tuple[str, str, Overlap, Segments | None]]) -> str:
    """CSV with one row per pair and shared class.

    Args:
        rows: of :func:`overlaps`.
    """
    text = io.StringIO()
    writer = csv.writer(text)
    writer.writerow(["first", "second", "class", "iou", "mean_iou", "same_pixels", "pq", "sq", "rq", "matched", "only_first", "only_second"])
    for first, second, found, segments in rows:
        quality = None if segments is None else segments.quality
        of_segments = [getattr(quality, name, None) for name in ("pq", "sq", "rq")]
        of_segments += [None] * 3 if segments is None else segments.counts
        for name, value in found.iou.items() or ((None, None),):
            writer.writerow([cell(shown) for shown in (first, second, name, value, found.mean, found.same, *of_segments)])
    return text.getvalue()


def agreement_colors(count: int) -> np.ndarray:
    """The colour of every number of agreeing models.

    Args:
        count: of models.

    Returns:
        uint8 (count + 1, 3); what all agree on, and 0, is black.
    """
    colors = np.zeros((count + 1, 3), dtype=np.uint8)
    for agreeing in range(1, count):
        share = (agreeing - 1) / max(1, count - 2)
        colors[agreeing] = np.round(_FEW + (_MOST - _FEW) * share)
    return colors


def agreement_png(agreeing: np.ndarray, count: int) -> bytes:
    """The agreement map as a palette PNG, whose values are the numbers of agreeing models.

    Args:
        agreeing: uint8 (H, W), of :func:`seg_demo.masks.compare.agreement`.
        count: of models.
    """
    return draw.encode_png(agreeing, agreement_colors(count))
