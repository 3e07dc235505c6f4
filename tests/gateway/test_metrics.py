"""The log, the counters and the health address: what they tell, and what they never tell."""

from __future__ import annotations

import io
import json
import logging
import sys
from dataclasses import replace

import pytest

from seg_demo.core.errors import BadImageError, Message
from seg_demo.core.requests import Request, note
from seg_demo.core.settings import Settings, settings
from seg_demo.gateway import metrics, queue


@pytest.fixture
def lines(monkeypatch):
    """What the app's own configuration of the log writes, line by line."""
    package = logging.getLogger("seg_demo")
    monkeypatch.setattr(package, "handlers", [])
    monkeypatch.setattr(package, "propagate", True)
    monkeypatch.setattr(package, "level", package.level)
    metrics.configure()
    assert package.handlers[0].stream is sys.stderr
    written = io.StringIO()
    package.handlers[0].setStream(written)
    return lambda: [json.loads(line) for line in written.getvalue().splitlines()]


def test_a_request_is_one_line_with_its_facts(lines):
    @queue.in_words
    def handler(secret):
        note(model="unet-cells", width=40, height=30, seconds={"forward": 0.1})

    handler("secret.png")
    (line,) = lines()
    assert (line["endpoint"], line["outcome"], line["model"], line["width"]) == ("handler", "ok", "unet-cells", 40)
    assert len(line["request"]) == 16 and line["took"] >= 0 and line["time"].endswith("Z") and "secret" not in str(line)


def test_refusals_are_named_and_our_own_mistakes_have_a_traceback_in_the_log_alone(lines):
    @queue.in_words
    def refuse():
        raise BadImageError(Message.of("no image"))

    @queue.in_words
    def fail():
        raise ZeroDivisionError("inside")

    before = metrics._outcomes["refuse", "BadImageError"]
    for handler in (refuse, fail):
        with pytest.raises(Exception) as caught:
            handler()
        assert "inside" not in str(caught.value)
    told = lines()
    assert [each.get("outcome") for each in told] == ["BadImageError", "failed", None]
    assert told[1]["level"] == "error" and "ZeroDivisionError: inside" in told[2]["traceback"]
    assert metrics._outcomes["refuse", "BadImageError"] == before + 1


def test_the_log_can_be_off(monkeypatch):
    package = logging.getLogger("seg_demo")
    monkeypatch.setattr(package, "handlers", [])
    monkeypatch.setattr(metrics, "settings", lambda: replace(Settings(), log="off"))
    metrics.configure()
    assert package.handlers == []


def test_health_says_how_the_server_is():
    assert metrics.health(None, 0)[1]["status"] == "starting"
    state = {"models": 2, "running": 1, "admitted": 3, "longest": 1.0}
    status, answer = metrics.health(state, 4)
    assert status == 200 and (answer["status"], answer["models"], answer["running"], answer["waiting"]) == ("ok", 2, 1, 6)
    status, answer = metrics.health({**state, "longest": 2.1 * settings().request_seconds}, 0)
    assert (status, answer["status"]) == (503, "stuck"), "a load balancer takes it out"


def test_counters_are_in_the_format_of_prometheus():
    metrics.count("probe", "ok", 0.2)
    metrics.count("probe", "BusyError", 5.0)
    text = metrics.metrics(None, 0)
    with observed_request("probe"):
        pass
    assert 'seg_demo_requests_total{endpoint="probe",outcome="BusyError"} 1' in text
    assert 'seg_demo_request_seconds_bucket{endpoint="probe",le="0.3"} 1' in text
    assert 'seg_demo_request_seconds_bucket{endpoint="probe",le="+Inf"} 2' in text
    assert 'seg_demo_request_seconds_sum{endpoint="probe"} 5.2' in text
    assert 'seg_demo_request_seconds_count{endpoint="probe"} 3' in metrics.metrics(None, 0)


def observed_request(name: str):
    return metrics.observed(Request(name))
