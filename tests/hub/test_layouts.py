"""Every row of ``tests/hub_layouts.py`` over the Hub stand-in: the plain library's labels, or one sentence."""

from __future__ import annotations

import re
import shutil

import numpy as np
import pytest

from seg_demo.core.errors import SegDemoError
from seg_demo.hub import lookup
from seg_demo.serving.catalog import HUB
from seg_demo.serving.predictor import load_model
from tests.hub_layouts import IMAGE, LAYOUTS, Layout, expected

ROWS = [pytest.param(row, id=name, marks=[pytest.mark.soak] if row.soak else []) for name, row in LAYOUTS.items()]


@pytest.fixture(scope="module")
def served():
    """One Hub for all rows; each has a repository of its own."""
    from huggingface_hub import constants

    from tests.hub_stand_in import HubStandIn

    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    lookup.forget()
    with HubStandIn() as hub:
        yield hub
    # Rows have the ids of the menu too: whoever looks at the menu next finds nothing of theirs.
    shutil.rmtree(constants.HF_HUB_CACHE, ignore_errors=True)
    lookup.forget()


def publish(hub, row: Layout) -> str:
    """The repository of a row; what is typed to ask for it."""
    id = row.id or "ann/" + re.sub(r"\W+", "-", row.name)[:80].strip("-")
    hub.add_repo(id, row.files(), kind=row.kind)
    for revision, files in row.branches.items():
        hub.add_repo(id, files(), revision=revision)
    for number, author, status, files in row.pulls:
        hub.add_pull(id, number, files(), author, status)
    hub.repos[row.kind, id].discussions = row.discussions
    hub.moved |= dict.fromkeys(row.before, id)
    return row.typed.format(id=id)


@pytest.mark.parametrize("row", ROWS)
def test_layout(served, row):
    typed = publish(served, row)
    if row.refused is not None:
        with pytest.raises(SegDemoError, match=row.refused) as caught:
            load_model(typed)
        assert 30 < len(str(caught.value)) < 700 and "Traceback" not in str(caught.value)
        assert caught.value.message.text("zh") != str(caught.value), "a page in Chinese says it in Chinese"
        return
    model = load_model(typed)
    result, notes = model.predict(IMAGE), " ".join(model.spec.notes)
    assert re.search(row.says, notes) if row.says else not notes, notes
    assert all(note.text("zh") != note for note in model.spec.notes), notes
    if row.labels is not None:
        assert result.labels.names == row.labels
    wanted = expected((row.like or row.files)())
    assert len(np.unique(wanted)) > 1, "a picture of one class proves nothing"
    np.testing.assert_array_equal(result.id_map, wanted)


def test_every_model_of_the_menu_from_the_hub_is_a_row():
    assert {spec.id for spec in HUB if spec.task == "semantic"} <= {row.id for row in LAYOUTS.values() if not row.soak}


def test_the_table_is_large_enough():
    assert len(LAYOUTS) >= 120
    fast = [row for row in LAYOUTS.values() if not row.soak]
    assert len([row for row in fast if row.refused is None]) >= 60 and len([row for row in fast if row.refused]) >= 40
