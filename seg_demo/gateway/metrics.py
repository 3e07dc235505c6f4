"""What an owner can see of a running demo: a line per request, counters, and how it is. Never what a visitor sent.

A line is JSON: time, request (a random id), endpoint, outcome (``ok``, or the class of the error), seconds, and, as far as
the request came, model, architecture, width, height, device, ``waited`` and the seconds of the stages. No address, session,
file name or picture is in it.
"""

from __future__ import annotations

import json
import logging
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import seg_demo
from seg_demo.core import Request, SegDemoError
from seg_demo.core.requests import opened
from seg_demo.core.settings import settings

BUCKETS = (0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0)
OK, FAILED = "ok", "failed"
# A request that runs for so many times its limit has a thread that will never end: a load balancer should replace us.
STUCK = 2.0

log = logging.getLogger("seg_demo.requests")

_lock = threading.Lock()
_outcomes: Counter[tuple[str, str]] = Counter()
_durations: Counter[tuple[str, float]] = Counter()
_seconds: Counter[str] = Counter()
_started = time.monotonic()


class _Lines(logging.Formatter):
    """A log record as one line of JSON."""

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created))
        line = {"time": f"{at}.{int(record.msecs):03d}Z", "level": record.levelname.lower()}
        entry = getattr(record, "entry", None)
        line |= entry if entry is not None else {"logger": record.name, "message": record.getMessage()}
        if record.exc_info:
            line["traceback"] = record.exc_text or self.formatException(record.exc_info)
        return json.dumps(line, default=str)


def configure() -> None:
    """Write this package's log to standard error as lines of JSON, if the setting ``log`` says so."""
    package = logging.getLogger("seg_demo")
    if settings().log == "json" and not package.handlers:
        handler = logging.StreamHandler(sys.stderr)
        handler.setFormatter(_Lines())
        package.addHandler(handler)
        package.setLevel(logging.INFO)
        package.propagate = False


@contextmanager
def observed(request: Request) -> Iterator[Request]:
    """Within it this thread works on a request; afterwards it has been counted and told to the log.

    Args:
        request: just begun.
    """
    outcome = FAILED
    try:
        with opened(request):
            yield request
        outcome = OK
    except SegDemoError as error:
        outcome = type(error).__name__
        raise
    finally:
        count(request.endpoint, outcome, time.monotonic() - request.began, request=request.id, **request.facts)


def count(endpoint: str, outcome: str, took: float = 0.0, **facts: object) -> None:
    """Count an answer and tell it to the log.

    Args:
        endpoint: a name of ours.
        outcome: ``ok``, or what went wrong.
        took: seconds.
        facts: further entries of its line.
    """
    with _lock:
        _outcomes[endpoint, outcome] += 1
        _seconds[endpoint] += took
        for bucket in BUCKETS:
            _durations[endpoint, bucket] += took <= bucket
    entry = {"endpoint": endpoint, "outcome": outcome, "took": round(took, 3), **facts}
    log.log(logging.ERROR if outcome == FAILED else logging.INFO, endpoint, extra={"entry": entry})


def health(state: dict[str, float] | None, waiting: int) -> tuple[int, dict[str, object]]:
    """How the server is, for a load balancer.

    Args:
        state: of the predictor; None before torch has been imported.
        waiting: requests in the queue.

    Returns:
        HTTP status (503 if work has been running for so long that it will not end) and a JSON-able answer.
    """
    now = state or {"models": 0, "running": 0, "admitted": 0, "longest": 0.0}
    stuck = now["longest"] > STUCK * settings().request_seconds
    return 503 if stuck else 200, {
        "status": "stuck" if stuck else "ok" if state else "starting",
        "version": seg_demo.__version__,
        "models": now["models"],
        "running": now["running"],
        "waiting": waiting + now["admitted"] - now["running"],
        "seconds": round(time.monotonic() - _started, 1),
    }


def metrics(state: dict[str, float] | None, waiting: int) -> str:
    """The counters in the text format of Prometheus.

    Args:
        state: as for :func:`health`.
        waiting: as for :func:`health`.
    """
    answer = health(state, waiting)[1]
    lines = [f"# TYPE seg_demo_{name} gauge\nseg_demo_{name} {answer[name]}" for name in ("models", "running", "waiting")]
    with _lock:
        outcomes, durations, seconds = dict(_outcomes), dict(_durations), dict(_seconds)
    lines.append("# TYPE seg_demo_requests_total counter")
    for (endpoint, outcome), number in sorted(outcomes.items()):
        lines.append(f'seg_demo_requests_total{{endpoint="{endpoint}",outcome="{outcome}"}} {number}')
    lines.append("# TYPE seg_demo_request_seconds histogram")
    for endpoint in sorted(seconds):
        total = sum(number for (name, _), number in outcomes.items() if name == endpoint)
        for bucket in BUCKETS:
            lines.append(
                f'seg_demo_request_seconds_bucket{{endpoint="{endpoint}",le="{bucket:g}"}} {durations[endpoint, bucket]}'
            )
        lines.append(f'seg_demo_request_seconds_bucket{{endpoint="{endpoint}",le="+Inf"}} {total}')
        lines.append(f'seg_demo_request_seconds_sum{{endpoint="{endpoint}"}} {seconds[endpoint]:.6f}')
        lines.append(f'seg_demo_request_seconds_count{{endpoint="{endpoint}"}} {total}')
    return "\n".join(lines) + "\n"
