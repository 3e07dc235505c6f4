"""Signals ask during the steps and act at once elsewhere."""

from __future__ import annotations

import os
import signal

import pytest

from train.run import Stopped, Stopper


def test_outside_the_steps_a_signal_acts_at_once() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with Stopper():
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGTERM)
        assert stopped.value.exit_code == 143
    assert signal.getsignal(signal.SIGTERM) == before


def test_during_the_steps_the_first_one_waits_and_the_second_does_not() -> None:
    with Stopper() as stopper, stopper.deferred():
        os.kill(os.getpid(), signal.SIGINT)
        assert stopper.signal == signal.SIGINT
        with pytest.raises(Stopped) as stopped:
            os.kill(os.getpid(), signal.SIGINT)
        assert stopped.value.exit_code == 130


def test_an_evaluation_between_steps_can_be_left() -> None:
    with Stopper() as stopper, stopper.deferred():
        with pytest.raises(Stopped), stopper.deferred(on=False):
            os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Stopped), stopper.deferred(on=False):
            raise AssertionError("a signal that came before is not forgotten")
    assert not isinstance(Stopped(None), Exception)
