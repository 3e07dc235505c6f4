"""Slots to work in: how many work at a time, and that the large do not keep the small waiting."""

from __future__ import annotations

import io
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from seg_demo.core import requests
from seg_demo.core.errors import BusyError, Message
from seg_demo.core.requests import Admission, Limiter, SingleFlight
from seg_demo.inputs import images
from seg_demo.inputs.images import LARGE_PIXELS, decode, is_large, pixels_of
from tests.pictures import picture
from tests.served import ROOT

BUSY = Message.of("all are taken")


def until(reached) -> None:
    end = time.monotonic() + 10
    while not reached():
        assert time.monotonic() < end
        time.sleep(0.005)


def working(admission: Admission, large: list[bool], work) -> list[threading.Thread]:
    """Threads that call ``work`` with their number in a place each."""

    def run(number: int, is_large: bool) -> None:
        with admission.admission(), admission.slot(is_large):
            work(number)

    threads = [threading.Thread(target=run, args=pair, daemon=True) for pair in enumerate(large)]
    for thread in threads:
        thread.start()
    return threads


@pytest.mark.parametrize(("places", "most"), [(1, 1), (2, 1), (3, 1), (8, 4)])
def test_of_the_large_half_as_many_work_at_a_time_and_the_small_pass_them(places, most):
    admission, inside, go = Admission(places, 40), [], threading.Event()

    def work(number: int) -> None:
        inside.append(number)
        go.wait(10)

    large = working(admission, [True] * 10, work)
    until(lambda: len(inside) == most)
    small = working(admission, [False] * (places - most), inside.append)
    for thread in small:
        thread.join(10)
    assert len(inside) == places and admission.running == most
    time.sleep(0.05)
    assert len(inside) == places, "no large one took the places of the small ones"
    go.set()
    for thread in large:
        thread.join(10)
    assert len(inside) == places - most + 10 and admission.running == admission.admitted == 0


def test_never_more_than_there_are_places_and_all_are_given_back():
    admission, lock, now, seen = Admission(3, 100), threading.Lock(), [0], []

    def one(number: int) -> None:
        with suppress(ValueError), admission.admission(), admission.slot(number % 3 == 0):
            with lock:
                now[0] += 1
                seen.append(now[0])
            time.sleep(0.002)
            with lock:
                now[0] -= 1
            if number % 5 == 0:
                raise ValueError

    with ThreadPoolExecutor(20) as pool:
        list(pool.map(one, range(60)))
    assert max(seen) == 3
    with admission.slot(True):
        assert admission.running == 1
    assert admission.running == 0


def test_memory_is_given_back_after_a_large_one_and_once_nobody_has_asked_for_a_while(monkeypatch):
    given: list[float] = []
    monkeypatch.setattr(images, "REST_SECONDS", 0.2)
    monkeypatch.setattr(images, "give_back", lambda: given.append(time.monotonic()))
    admission = Admission(2, 4, images.FreedMemory())
    with admission.slot(True):
        assert not given
    assert len(given) == 1
    for _ in range(8):
        with admission.slot():
            time.sleep(0.05)
    ended = time.monotonic()
    assert len(given) == 1, "not while others come"
    until(lambda: len(given) == 2)
    assert given[1] - ended >= 0.19
    with admission.slot():
        pass
    until(lambda: len(given) == 3)


def test_a_request_that_the_interpreter_ends_itself_does_not_keep_it_from_ending():
    code = """
from seg_demo.core.requests import Admission
from seg_demo.inputs.images import FreedMemory

admission = Admission(1, 1, FreedMemory())

def suspended():
    with admission.slot():
        yield

request = suspended()
next(request)
"""
    assert subprocess.run([sys.executable, "-c", code], cwd=ROOT, timeout=60).returncode == 0


def test_places_are_taken_in_the_order_of_coming():
    admission, go, order = Admission(1, 40), threading.Event(), []
    first = working(admission, [False], lambda _: go.wait(10))
    until(lambda: admission.running == 1)
    gone, others = threading.Event(), []

    def impatient() -> None:
        with requests.opened(requests.Request("test", left=gone.is_set)), suppress(requests.LeftError), admission.slot():
            order.append("impatient")

    for number in range(6):
        ahead = len(admission._all._waiting)
        target = impatient if number == 2 else None
        if target is None:
            others += working(admission, [False], lambda _, number=number: order.append(number))
        else:
            others.append(threading.Thread(target=target, daemon=True))
            others[-1].start()
        until(lambda ahead=ahead: len(admission._all._waiting) == ahead + 1)
    gone.set()
    until(lambda: len(admission._all._waiting) == 5)
    go.set()
    for thread in (*first, *others):
        thread.join(10)
    assert order == [0, 1, 3, 4, 5] and admission.running == 0
    with admission.slot():
        assert admission.running == 1


def test_who_would_rather_be_refused_than_wait_is_refused_after_a_moment(monkeypatch):
    monkeypatch.setattr(requests, "PATIENCE_SECONDS", 0.05)
    limit, began = Limiter(1), time.monotonic()
    with limit.slot():
        with pytest.raises(BusyError, match="all are taken"), limit.slot(BUSY):
            pass
        assert 0.05 < time.monotonic() - began < 5
    with limit.slot(BUSY), pytest.raises(BusyError), limit.slot(BUSY):
        pass
    with limit.slot(BUSY):
        pass  # who was refused has taken nothing


def test_a_call_goes_on_for_the_others_when_who_began_it_has_gone():
    flight, go, gone, outcomes = SingleFlight(), threading.Event(), threading.Event(), []

    def call() -> str:
        go.wait(10)
        requests.check()  # asked by whatever works in it: nobody's request is withdrawn here
        return "made"

    def ask(left: threading.Event) -> None:
        try:
            with requests.opened(requests.Request("test", left=left.is_set)):
                outcomes.append(flight.run("key", call))
        except requests.LeftError:
            outcomes.append("left")

    first, second = (threading.Thread(target=ask, args=(event,), daemon=True) for event in (gone, threading.Event()))
    first.start()
    until(lambda: len(flight) == 1)
    second.start()
    gone.set()
    first.join(10)
    assert outcomes == ["left"]
    go.set()
    second.join(10)
    assert outcomes == ["left", "made"] and len(flight) == 0


def test_who_leaves_while_a_large_one_is_worked_on_leaves_at_once():
    admission, go, gone = Admission(2, 4), threading.Event(), threading.Event()
    threads = working(admission, [True], lambda _: go.wait(10))
    until(lambda: admission.running == 1)
    threading.Timer(0.1, gone.set).start()
    with pytest.raises(requests.LeftError), requests.opened(requests.Request("test", left=gone.is_set)), admission.slot(True):
        pass
    with admission.slot(False):
        assert admission.running == 2
    go.set()
    threads[0].join(10)
    with admission.slot(True):
        assert admission.running == 1


@pytest.mark.parametrize("format", ["PNG", "JPEG", "WEBP", "TIFF", "GIF", "BMP", "AVIF"])
def test_how_many_pixels_an_image_says_it_has(format, tmp_path):
    file = io.BytesIO()
    Image.fromarray(picture()).save(file, format)
    path = Path(tmp_path, "image.bin")
    path.write_bytes(file.getvalue())
    expected = decode(path)
    for source in (path, str(path), file.getvalue(), expected, Image.fromarray(expected)):
        assert pixels_of(source) == expected.shape[0] * expected.shape[1]
        assert not is_large(source) and is_large(source, "full")


def test_what_is_large(tmp_path):
    side = int(np.ceil(LARGE_PIXELS**0.5))
    path = tmp_path / "flat.png"
    Image.new("L", (side, side)).save(path)
    assert is_large(path) and not is_large(np.zeros((side - 1, side - 1), np.uint8))
    for refused in (b"", b"no image", tmp_path, tmp_path / "missing", path.read_bytes()[:20], 7, None):
        assert pixels_of(refused) == 0
