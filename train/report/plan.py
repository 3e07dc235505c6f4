"""What ``--dry-run`` says: one screen about what would happen."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from train.prepared import Prepared


def describe(prepared: Prepared) -> str:
    """The plan of a run, for people.

    Args:
        prepared: what would be done.
    """
    facts = prepared.facts()
    data, network, schedule = facts["data"], facts["network"], facts["schedule"]
    lines = [
        "Nothing was started (--dry-run). This is what would happen:",
        "",
        f"  data      {data['source']}: {data['train_images']} images to learn from, {data['val_images']} held out",
        f"  classes   {len(data['classes'])}: {_some(data['classes'])}",
        f"  network   {network['architecture']}, {network['parameters'] / 1e6:.2f} million parameters, from "
        f"{network['base'] or 'random weights'}",
        f"  fresh     {_some(network['fresh_layers']) or 'no layer; all weights are kept'}",
        f"  schedule  {schedule['steps']} steps of {prepared.plan.per_step} crops of {schedule['crop']} x {schedule['crop']} pixels "
        f"({schedule['steps_per_epoch']} steps see every image once), peak learning rate {schedule['lr']:g}, "
        f"augmentation {schedule['augment']}",
        f"  evaluate  every {schedule['steps_between_evaluations']} steps on the held-out images, at their original size",
        f"  device    {facts['device']}, {'fp32' if facts['precision'] == 'no' else facts['precision']}; "
        f"about {facts['memory_bytes'] / 2**20:.0f} MiB for a step",
        f"  push      {_push(facts['push'])}",
    ]
    notes = [*data["notes"], *network["notes"]]
    if notes:
        lines += ["", *(f"  note: {note}" for note in notes)]
    report = prepared.diagnosis.report()
    if report:
        lines += ["", report]
    return "\n".join(lines)


def _some(names: list[str], most: int = 8) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _push(push: dict[str, object] | None) -> str:
    if push is None:
        return "no (--push to push)"
    return f"to {push['repo']} as {push['user']}, {'private' if push['private'] else 'public'}"
