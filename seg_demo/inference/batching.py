"""Requests for one model that come at about the same time, computed as one batch.

A GPU computes eight small images in hardly more time than one. So, while other requests for the model are under way, the
first waits a moment for them and computes with those whose input has the same size; each gets what it would have got alone.
A CPU gains nothing by this: there, requests queue.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor

# Seconds in which others may join: little beside a forward pass and the sending of its result.
WINDOW = 0.005
# Images of one batch at most.
MOST = 8


@dataclass
class _Group:
    """Requests that are computed together.

    Attributes:
        batches: (1, C, H, W) of each, all of one shape.
        answers: of each, or the error that it met; empty until ``done``.
        full: set when nobody may join any more.
        done: set when the answers are there.
    """

    batches: list[Tensor] = field(default_factory=list)
    answers: list[Any] = field(default_factory=list)
    full: threading.Event = field(default_factory=threading.Event)
    done: threading.Event = field(default_factory=threading.Event)


class Batcher:
    """A forward pass that many threads may call.

    Args:
        forward: a batch (B, C, H, W) → a tensor (B, ...), a list of B answers, or a tuple of such.
        window: seconds for which the first of a group waits for others that are under way.
        most: requests of one group at most.
    """

    def __init__(self, forward: Callable[[Tensor], Any], window: float = WINDOW, most: int = MOST) -> None:
        self._forward, self._window, self._most = forward, window, most
        self._lock = threading.Lock()
        self._open: dict[tuple[int, ...], _Group] = {}
        self._underway = 0

    @contextmanager
    def underway(self) -> Iterator[None]:
        """A request, from before its input is made until its result is; nobody waits for what is not under way."""
        with self._lock:
            self._underway += 1
        try:
            yield
        finally:
            with self._lock:
                self._underway -= 1

    def __call__(self, batch: Tensor) -> Any:
        """The answer to one request.

        Args:
            batch: (1, C, H, W).

        Returns:
            As ``forward`` gives it for this batch alone, but for rounding.

        Raises:
            Exception: what ``forward`` raises for this batch alone.
        """
        shape = tuple(batch.shape)
        with self._lock:
            group = self._open.setdefault(shape, _Group())
            place = len(group.batches)
            group.batches.append(batch)
            if len(group.batches) >= min(self._most, self._underway):
                del self._open[shape]
                group.full.set()
        if place == 0:
            self._lead(group, shape)
        group.done.wait()
        answer = group.answers[place]
        if isinstance(answer, BaseException):
            raise answer
        return answer

    def _lead(self, group: _Group, shape: tuple[int, ...]) -> None:
        """Wait for others, then compute for all of them."""
        try:
            group.full.wait(self._window)
            with self._lock:
                if self._open.get(shape) is group:
                    del self._open[shape]
            group.answers = self._answers(group.batches)
        except BaseException as error:
            group.answers = [error] * self._most
            raise
        finally:
            group.done.set()

    def _answers(self, batches: list[Tensor]) -> list[Any]:
        if len(batches) > 1:
            try:
                return _split(self._forward(torch.cat(batches)), len(batches))
            except Exception:
                # Too little memory for all at once, or one of them cannot be computed: then each gets its own answer.
                pass
        return [self._alone(each) for each in batches]

    def _alone(self, batch: Tensor) -> Any:
        try:
            return self._forward(batch)
        except Exception as error:
            return error


def _split(raw: Any, count: int) -> list[Any]:
    """The answer to each image of a batch, as a batch of one."""
    if isinstance(raw, tuple):
        return list(zip(*(_split(part, count) for part in raw), strict=True))
    assert len(raw) == count, (len(raw), count)
    return [raw[index : index + 1] for index in range(count)]
