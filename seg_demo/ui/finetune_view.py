"""What the Fine-tune tab shows of a job, as HTML; everything that people or files said is escaped."""

from __future__ import annotations

import base64
import html
import math
from collections.abc import Mapping, Sequence
from typing import Any

from seg_demo.core import Message, in_language
from seg_demo.jobs.job import DRAFT, MARGIN, RUNNING, ClassScore, Job, Verdict
from seg_demo.ui.components import words

SHOWN_FAULTS = 6
METRICS = {"mean_iou": "mean IoU", "mask_ap": "mask AP", "pq": "PQ"}
# The same of one class.
CLASS_METRICS = {"mean_iou": "IoU", "mask_ap": "mask AP", "pq": "PQ"}
# Line drawings: a learning curve, and a contact sheet.
IDLE = {
    "finetune": '<path d="M4 3v42h58"/><path d="M9 12c7 21 17 26 50 27"/><path d="M9 38c12-3 15-24 49-27" stroke-dasharray="3 3"/>',
    "batch": "".join(f'<rect x="{x}" y="{y}" width="17" height="19" rx="3"/>' for y in (3, 26) for x in (3, 24, 45)),
}
_WIDTH, _HEIGHT, _LEFT, _BOTTOM = 640, 190, 44, 24


def note(key: str, language: str, **values: object) -> str:
    """One line, read aloud by screen readers when it changes."""
    return f'<p class="note" role="status"{" data-pushing" * (key == "push_doing")}>{html.escape(words(key, language).format(**values))}</p>'


def idle(tab: str, language: str) -> str:
    """What a tab says where its result will be: what it is for, and what to do.

    Args:
        tab: a key of ``IDLE``; the words are ``<tab>_idle_title`` and ``<tab>_idle``.
        language: ``en`` or ``zh``.
    """
    drawing = f'<svg viewBox="0 0 64 48" aria-hidden="true">{IDLE[tab]}</svg>'
    lines = (html.escape(words(key, language)) for key in (f"{tab}_idle_title", f"{tab}_idle"))
    return '<div class="idle">{}<strong>{}</strong><span>{}</span></div>'.format(drawing, *lines)


def findings(answer: Mapping[str, Any], language: str, picture: bytes | None = None) -> str:
    """The doctor's findings and the plan.

    Args:
        answer: of :meth:`seg_demo.jobs.job.Job.check`.
        language: ``en`` or ``zh``.
        picture: PNG of a sample in each of several readings of the masks, or None.
    """
    diagnosis = answer.get("diagnosis") or {}
    parts = []
    if answer.get("problems") is None and "data" in answer:
        data = answer["data"]
        names = words("separator", language).join(data["classes"][:12]) + (" …" if len(data["classes"]) > 12 else "")
        steps = answer["schedule"]["steps"]
        plan = {"train": data["train_images"], "val": data["val_images"], "classes": names, "steps": steps}
        parts.append(note("finetune_plan", language, **plan) + note("finetune_ok", language))
    faults = diagnosis.get("faults") or ()
    if faults:
        parts.append(_listed("finetune_faults", faults, language))
        if picture is not None and any(fault.get("choices") for fault in faults):
            text = html.escape(words("finetune_readings", language))
            data = base64.b64encode(picture).decode("ascii")
            parts.append(f'<figure class="readings"><img alt="{text}" src="data:image/png;base64,{data}" style="max-width:100%"><figcaption>{text}</figcaption></figure>')
    elif answer.get("problems"):
        problems = in_language(answer["problems"], language)
        parts.append(f'<p class="note fault" role="alert">{html.escape(problems)}</p>')
    if diagnosis.get("notes"):
        parts.append(_listed("finetune_notes", diagnosis["notes"], language))
    assumed = [*(diagnosis.get("assumed") or ()), *(answer.get("network") or {}).get("notes", ())]
    parts += [f'<p class="note">{html.escape(in_language(text, language))}</p>' for text in assumed]
    return f'<div class="findings">{"".join(parts)}</div>'


def _listed(key: str, found: Sequence[Mapping[str, Any]], language: str) -> str:
    def phrase(text: str) -> str:
        return html.escape(in_language(text, language))

    rows = "".join(
        f"<li><b>{phrase(fault['file'])}</b> {phrase(fault['what'])}{words('stop', language)} <i>{phrase(fault['remedy'])}</i></li>"
        for fault in found[:SHOWN_FAULTS]
    )
    more = len(found) - SHOWN_FAULTS
    rest = f"<li>{html.escape(words('finetune_and_more', language).format(count=more))}</li>" if more > 0 else ""
    head = html.escape(words(key, language).format(count=len(found)))
    return f'<div class="note"><p>{head}</p><ul>{rows}{rest}</ul></div>'


def fault(said: str) -> str:
    """Why something that was asked for was not done."""
    return f'<p class="note fault" role="alert">{html.escape(said)}</p>'


def lost(job: Job, shared: bool | None, language: str) -> str:
    """What is gone when a job is deleted.

    Args:
        job: to be deleted.
        shared: whether its model is on everybody's menu; None if it is on none.
        language: ``en`` or ``zh``.
    """
    data = job.check().get("data") or {}
    images = int(data.get("train_images") or 0) + int(data.get("val_images") or 0)
    weights = job.checkpoint / "model.safetensors"
    size = f"{weights.stat().st_size / 1e6:.1f}" if weights.is_file() else None
    parts = [words("finetune_lost" if size else "finetune_lost_early", language).format(name=job.name, size=size, images=images)]
    if shared is not None:
        parts.append(words("finetune_lost_shared" if shared else "finetune_lost_menu", language))
    parts.append(words("finetune_lost_not", language))
    return f'<div class="note" role="alert"><p>{html.escape(("" if language == "zh" else " ").join(parts))}</p></div>'


def status(job: Job, language: str) -> str:
    """Name, state and progress bar of a job, and why it ended before its time."""
    state, progress = job.state(), job.progress()
    line = words(f"state_{state}", language)
    bar = ""
    if state == RUNNING:
        stage = progress.get("stage", "start")
        step, total = int(progress.get("step", 0)), int(progress.get("total", 0))
        line += words("colon", language) + words(f"stage_{stage}", language).format(step=step, total=total)
        left = progress.get("left")
        if stage in ("fit", "advise"):
            key = "finetune_timing" if left is None else "finetune_left" if left >= 60 else "finetune_left_little"
            line += words("separator", language) + words(key, language).format(minutes=math.ceil((left or 0) / 60))
        value = f' value="{step}"' if stage != "start" else ""
        bar = f'<progress class="bar" aria-label="{html.escape(job.name)}" max="{max(1, total)}"{value}></progress>'
    said = in_language(job.reason(), language)
    reason = f'<p class="note fault" role="alert">{html.escape(said)}</p>' if said else ""
    return (
        f'<div class="job" data-state="{state}"><p role="status"><b>{html.escape(job.name)}</b> '
        f"<span>{html.escape(str(job.about.get('base') or ''))}</span></p><p>{html.escape(line)}</p>{reason}{bar}</div>"
    )


def curves(rows: Sequence[Mapping[str, float]], language: str) -> str:
    """Learning curves as SVG: the loss, and the main metric on the held-out images; empty before the first evaluation."""
    if not rows:
        return ""
    metric = next((name for name in METRICS if any(name in row for row in rows)), None)
    colon = words("colon", language)
    charts = [_chart(words("finetune_loss", language) + colon, [(row["step"], row["loss"]) for row in rows if "loss" in row], None)]
    if metric:
        points = [(row["step"], row[metric]) for row in rows if metric in row]
        # The checkpoint is that of the best evaluation, which need not be the last.
        best = words("finetune_best", language).format(value=f"{max(value for _, value in points):.3f}")
        title = METRICS[metric]
        # The verdict leaves the background out; the evaluations, which choose the checkpoint, are drawn as they are.
        if any(name.casefold() == "iou/background" for row in rows for name in row):
            title += words("finetune_with_background", language)
        charts.append(_chart(title + colon, points, 1.0, best))
    return f'<div class="curves">{"".join(charts)}</div>'


def _chart(title: str, points: Sequence[tuple[float, float]], top: float | None, more: str = "") -> str:
    """One curve over the steps, from 0 to ``top`` (None: to its largest value); above it a title, the last value, and more in words."""
    if not points:
        return ""
    most = top or max(value for _, value in points) * 1.05 or 1.0
    last = max(1, *(step for step, _ in points))
    inner, high = _WIDTH - _LEFT - 10, _HEIGHT - _BOTTOM - 8
    placed = [(_LEFT + step / last * inner, 8 + (1 - min(1.0, value / most)) * high) for step, value in points]
    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in placed)
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>' for x, y in placed)
    grid = "".join(
        f'<line x1="{_LEFT}" x2="{_WIDTH - 10}" y1="{8 + share * high:.1f}" y2="{8 + share * high:.1f}"/>'
        f'<text x="{_LEFT - 6}" y="{12 + share * high:.1f}" text-anchor="end">{most * (1 - share):.2g}</text>'
        for share in (0, 0.5, 1)
    )
    label = f"{title}{points[-1][1]:.3f}{more}"
    ends = f'<text x="{_WIDTH - 10}" y="{_HEIGHT - 6}" text-anchor="end">{last:.0f}</text>'
    return (
        f'<figure><figcaption>{html.escape(label)}</figcaption><svg viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        f'aria-label="{html.escape(label)}"><g class="grid">{grid}{ends}</g><polyline points="{line}"/>{dots}</svg></figure>'
    )


def verdict(found: Verdict | None, language: str) -> str:
    """What the difference means in a sentence, base and new side by side with its spread, and each class apart."""
    if found is None:
        return ""
    key = f"verdict_{found.kind}"
    if found.kind == "better" and found.few:
        key = "verdict_better_few"
    elif found.kind == "unclear" and found.logged:
        key = "verdict_logged"
    elif found.kind == "same" and found.difference:
        key = "verdict_margin"
    sentence = html.escape(words(key, language).format(count=found.images, margin=f"{MARGIN:g}"))
    if found.kind == "unknown":
        sentence += " " + html.escape(in_language(found.why or "", language))
    rows = [("verdict_base", found.base), ("verdict_new", found.new)]
    known = [(html.escape(words(key, language)), value) for key, value in rows if value is not None]
    cells = "".join(f"<div><dt>{name}</dt><dd>{value:.3f}</dd></div>" for name, value in known)
    if found.difference is not None:
        spread = words("verdict_all" if found.logged else "verdict_one", language)
        if found.low is not None:
            key = "verdict_range" if found.few else "verdict_spread"
            spread = f"{found.low:+.3f} … {found.high:+.3f}, " + words(key, language).format(count=found.images)
        head = html.escape(words("verdict_gain" if found.logged else "verdict_difference", language))
        cells += f"<div><dt>{head}</dt><dd>{found.difference:+.3f}</dd><dd class=spread>{html.escape(spread)}</dd></div>"
    metric = words("verdict_metric", language).format(metric=METRICS.get(found.metric, found.metric))
    if any(row.background for row in found.classes):
        metric += words("verdict_without", language)
    return (
        f'<div class="verdict" data-kind="{found.kind}"><p>{sentence}</p><dl>{cells}</dl><p>{html.escape(metric)}</p>'
        f"{_classes(found, language)}</div>"
    )


def advice(found: Mapping[str, Any] | None, language: str) -> str:
    """What a comparison of networks has found so far: what to train, and a table, the best first; empty before anything was measured.

    Args:
        found: of :meth:`seg_demo.jobs.job.Job.advice`.
        language: ``en`` or ``zh``.
    """
    if found is None:
        return ""
    rows = [row for row in found["rows"] if row["scores"]]
    first, second = (next((row for row in rows if row["place"] == place), None) for place in (1, 2))
    said = ""
    if found["done"] and first is not None:
        key = "undecided" if found["undecided"] else "best" if second is not None else "only_one"
        values = {"first": first["name"], "second": second and second["name"], "folds": found["folds"]}
        said = Message(f"candidates.{key}", **{name: value for name, value in values.items() if value is not None}).text(language)
        took = words("advise_takes", language).format(minutes=max(1, math.ceil(first["minutes_to_train"])))
        said = f"<p>{html.escape(said)}</p><p>{html.escape(took)}</p>"
    names = ("advise_network", "advise_score", "advise_trained")
    metric = METRICS.get(found["metric"], found["metric"])
    head = "".join(f"<th scope=col>{html.escape(words(name, language).format(metric=metric))}</th>" for name in names)
    body = "".join(_candidate_row(row, row is first and found["done"], language) for row in rows)
    label = html.escape(words("advise_caption", language).format(pictures=found["pictures"], folds=found["folds"]))
    notes = "".join(f"<p>{html.escape(in_language(text, language))}</p>" for text in found["notes"])
    others = "".join(
        f"<li>{html.escape(row['name'])}{words('colon', language)}{html.escape(in_language(row['why'], language))}</li>" for row in found["rows"] if row["why"]
    )
    if others:
        notes += f"<p>{html.escape(words('advise_others', language))}</p><ul>{others}</ul>"
    table = (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="counts"><caption>{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )
    return f'<div class="verdict" data-kind="advice">{said}{table if rows else ""}{notes}</div>'


def _candidate_row(row: Mapping[str, Any], best: bool, language: str) -> str:
    about = []
    if row["base"] is None:
        about.append(words("advise_random", language))
    elif row["base"] != row["model"]:
        about.append(words("advise_base", language).format(base=row["base"]))
    if best or row["state"] == "behind":
        about.append(words("advise_best" if best else "advise_behind", language))
    below = f"<br><small>{html.escape(words('separator', language).join(about))}</small>" if about else ""
    score = f"{row['mean']:.3f}" + ("" if row["spread"] is None else f" ± {row['spread']:.3f}")
    trained = words("advise_seconds", language).format(seconds=f"{row['trained']:.0f}", steps=row["steps"])
    return f"<tr><th scope=row>{html.escape(row['name'])}{below}</th><td class=num>{score}</td><td class=num>{html.escape(trained)}</td></tr>"


def _classes(found: Verdict, language: str) -> str:
    """Each class in a table, the background apart at its foot; empty where single classes are not known."""
    if not found.classes:
        return ""
    names = ("verdict_class", "verdict_base", "verdict_new", "verdict_gain")
    head = "".join(f"<th scope=col>{html.escape(words(name, language))}</th>" for name in names)
    body = "".join(_class_row(row) for row in found.classes if not row.background)
    ground = "".join(_class_row(row) for row in found.classes if row.background)
    label = html.escape(words("verdict_per_class", language).format(metric=CLASS_METRICS.get(found.metric, found.metric)))
    return (
        f'<div class="scroll" tabindex="0" role="region" aria-label="{label}"><table class="counts"><caption>{label}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>{f'<tfoot>{ground}</tfoot>' if ground else ''}</table></div>"
    )


def _class_row(row: ClassScore) -> str:
    values = [None if score is None else f"{score:.3f}" for score in (row.base, row.new)]
    values.append(None if None in (row.base, row.new) else f"{row.new - row.base:+.3f}")
    cells = "".join(f"<td class=num>{value or '–'}</td>" for value in values)
    return f"<tr><th scope=row>{html.escape(row.name)}</th>{cells}</tr>"


def log(job: Job, language: str) -> str:
    """The last lines of the log, folded away while all is well."""
    text = job.log()
    if not text or job.state() == DRAFT:
        return ""
    opened = " open" if job.state() in ("refused", "failed", "diverged") else ""
    head = html.escape(words("finetune_log", language))
    return f'<details class="log"{opened}><summary>{head}</summary><pre tabindex="0">{html.escape(text)}</pre></details>'
