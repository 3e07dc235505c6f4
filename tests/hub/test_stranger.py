"""Further repositories of strangers: each is served with numbers and texts that are some, or refused with a reason; nothing runs."""

from __future__ import annotations

import json
import time

import numpy as np
import pytest

from seg_demo.core.errors import SegDemoError
from seg_demo.core.settings import Settings
from seg_demo.hub import untrusted
from seg_demo.serving.predictor import Predictor
from tests.checkpoints import IMAGE
from tests.stranger_repos import all_of_them
from tests.hub.test_hostile import publish, seconds


def attack(hub, folders, canary, only: slice) -> None:
    changes = all_of_them(canary)
    changes = {name: changes[name] for name in sorted(changes)[only]}
    predictor = Predictor(Settings())
    predictor.segment(IMAGE, "unet-cells")
    usual, served, worst = seconds(predictor), [], 0.0
    for name, identity in publish(hub, folders, changes).items():
        began = time.monotonic()
        try:
            result = predictor.segment(IMAGE, identity)
        except SegDemoError as error:
            text = str(error)
            assert len(text) > 30 and "on the server's side" not in text, (name, text)
            assert len(text) < 2000 and "/snapshots/" not in text and "Traceback" not in text, (name, text)
        else:
            served.append(name)
            assert np.asarray(result.id_map).shape == IMAGE.shape[:2], name
            told = result.to_dict()
            assert all(isinstance(each, str) and len(each) <= 200 for each in result.labels.names), (name, result.labels.names)
            json.dumps(told, allow_nan=False).encode()
        worst = max(worst, time.monotonic() - began)
        assert worst < 60, name
        assert not canary.exists(), name
    print(f"measured: {len(changes)} repositories, {len(served)} served ({', '.join(served)}), worst {worst:.1f} s")
    assert seconds(predictor) < 2 * usual + 1.0


def test_they_are_served_soundly_or_refused(hub, folders, tmp_path):
    assert len(all_of_them(tmp_path / "fired")) >= 80
    attack(hub, folders, tmp_path / "fired", slice(None, None, 16))


@pytest.mark.soak
@pytest.mark.timeout(1800)
def test_all_are_served_soundly_or_refused(hub, folders, tmp_path):
    attack(hub, folders, tmp_path / "fired", slice(None))
    untrusted.close()
