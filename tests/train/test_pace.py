"""How long a run will take, said from its own steps: against runs whose steps take a known time, by a clock of the test's."""

from __future__ import annotations

import random
import re

import pytest

from train.run import LEAST, Pace, in_words


class Clock:
    """Seconds that pass when told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def run_through(
    total: int, every: int, step: float, evaluation: float, *, warm: float = 0.0, knows: bool = True, jitter: float = 0.0
):
    """A run as the loop makes it: yields after each step (steps done, said, estimate of the rest, what the rest really takes)."""
    clock, rng = Clock(), random.Random(5)
    pace = Pace(total, every, closing=2, clock=clock)
    takes = [step * (1 + jitter * rng.uniform(-1, 1)) for _ in range(total)]
    after = [index for index in range(1, total + 1) if index % every == 0 or index == total]

    def evaluate() -> None:
        with pace.evaluating():
            clock.now += evaluation

    if knows:
        evaluate()
    for done in range(1, total + 1):
        clock.now += takes[done - 1] + (warm if done == 1 else 0.0)
        said = pace.stepped()
        true = sum(takes[done:]) + evaluation * (sum(index >= done for index in after) + 2)
        yield done, said, pace.left(done), true, pace
        if done in after:
            evaluate()


def test_steady_steps_and_evaluations_give_the_exact_rest_whatever_the_first_step_takes():
    said_at = []
    for done, said, left, true, pace in run_through(50, 20, 0.5, 7.0, warm=30.0):
        if said:
            said_at.append(done)
            assert pace.whole(done) == pytest.approx(50 * 0.5 + 7.0 * (3 + 2))
        if done <= LEAST:
            assert left is None, "too little has been measured"
        else:
            assert left == pytest.approx(true), "an evaluation that comes next is counted"
    assert said_at == [LEAST + 1], "once, as soon as the first step and four more are done"


def test_unsteady_steps_are_met_closely_and_an_unmeasured_evaluation_is_not_invented():
    first, second = [], []
    for done, _, left, true, pace in run_through(400, 100, 1.0, 40.0, knows=False, jitter=0.5):
        if done == LEAST + 1:
            assert "not counted yet" in pace.sentence(done) and "400 steps" in pace.sentence(done)
        if done >= 50 and done % 100:
            (first if done < 100 else second).append(abs(left - true) / true)
    assert max(second) < 0.1, "after the first evaluation"
    assert min(first) > 0.2, "six evaluations were still unknown"


def test_a_machine_that_slows_down_is_noticed():
    clock = Clock()
    pace = Pace(1000, 2000, closing=0, clock=clock)
    for done in range(1, 301):
        clock.now += 1.0 if done <= 150 else 3.0
        pace.stepped()
    assert pace.left(300) == pytest.approx(700 * 3.0)


def test_the_end_of_a_run_leaves_its_closing_evaluations_and_says_nothing_more():
    *_, (done, _, left, true, pace) = run_through(10, 3, 1.0, 5.0)
    assert (done, left) == (10, pytest.approx(3 * 5.0)) and pace.rest(10) == ""
    assert left == pytest.approx(true), "its own evaluation comes right after"
    assert pace.left(10) == pytest.approx(2 * 5.0), "and then it is over"


def test_words_never_promise_less_than_is_known():
    for seconds in range(60, 5400, 7):
        minutes = int(re.search(r"\d+", in_words(seconds))[0])
        assert 60 * (minutes - 1) <= seconds <= 60 * minutes
